//! config-linux.md and runtime-linux.md: namespaces, devices, cgroups, sysctl, seccomp, personality.

use serde_json::{Value, json};

use crate::Case;
use crate::scene::{Scene, Verdict, holds, namespace, without_namespace};

pub(crate) const CASES: &[Case] = &[
    Case {
        section: "config-linux.md#namespaces",
        rule: "a namespace without a path is a new one",
        test: new_namespaces,
    },
    Case { section: "config-linux.md#namespaces", rule: "a namespace with a path is joined", test: joined },
    Case {
        section: "config-linux.md#namespaces",
        rule: "a path to a namespace of another type is an error",
        test: wrong_type,
    },
    Case { section: "config-linux.md#namespaces", rule: "a path must be absolute", test: relative_path },
    Case { section: "config-linux.md#namespaces", rule: "a type that is not listed is inherited", test: inherited },
    Case {
        section: "config-linux.md#namespaces",
        rule: "a mount namespace that is not listed is inherited",
        test: inherited_mounts,
    },
    Case { section: "config-linux.md#namespaces", rule: "a type that is listed twice is an error", test: twice },
    Case { section: "config-linux.md#user-namespace-mappings", rule: "ids are mapped", test: mapped },
    Case { section: "config-linux.md#offset-for-time-namespace", rule: "clocks differ by the offsets", test: clocks },
    Case { section: "config-linux.md#devices", rule: "a device has its type, numbers, mode and owner", test: device },
    Case { section: "config-linux.md#devices", rule: "something else in a device's place is an error", test: occupied },
    Case {
        section: "config-linux.md#default-devices",
        rule: "null zero full random urandom tty ptmx",
        test: default_devices,
    },
    Case { section: "runtime-linux.md#dev-symbolic-links", rule: "fd stdin stdout stderr", test: links },
    Case { section: "runtime-linux.md#file-descriptors", rule: "only the three streams are open", test: descriptors },
    Case { section: "config-linux.md#cgroups-path", rule: "an absolute path begins at the mount", test: absolute_path },
    Case {
        section: "config-linux.md#cgroups-path",
        rule: "a relative path leads to the same place each time",
        test: relative_group,
    },
    Case {
        section: "config-linux.md#allowed-device-list",
        rule: "entries are applied in their order",
        test: device_rules,
    },
    Case { section: "config-linux.md#memory", rule: "limit, swap, reservation", test: memory },
    Case { section: "config-linux.md#cpu", rule: "shares, quota, period, cpus", test: cpu },
    Case { section: "config-linux.md#pids", rule: "limit, and -1 for none", test: pids },
    Case { section: "config-linux.md#unified", rule: "a controller that is not present is an error", test: unified },
    Case { section: "config-linux.md#intelrdt", rule: "without resctrl it is an error", test: intel_rdt },
    Case { section: "config-linux.md#sysctl", rule: "parameters are set inside", test: sysctl },
    Case {
        section: "config-linux.md#sysctl",
        rule: "a parameter of the machine's is not set there",
        test: sysctl_of_the_machine,
    },
    Case { section: "config-linux.md#seccomp", rule: "a call is answered as its rule says", test: seccomp },
    Case { section: "config-linux.md#seccomp", rule: "a rule must name a call", test: nameless_rule },
    Case {
        section: "config-linux.md#seccomp",
        rule: "errnoRet beside an action that answers none is an error",
        test: pointless_errno,
    },
    Case {
        section: "config-linux.md#seccomp",
        rule: "listenerMetadata without listenerPath is an error",
        test: metadata_alone,
    },
    Case {
        section: "config-linux.md#seccomp",
        rule: "a listenerPath where nobody listens is an error",
        test: nobody_listens,
    },
    Case { section: "config-linux.md#personality", rule: "LINUX32 shows another machine", test: personality },
    Case { section: "config-linux.md#personality", rule: "a domain that is none is an error", test: no_personality },
];

fn link(kind: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

fn new_namespaces(scene: &Scene<'_>) -> Verdict {
    let script = "for kind in pid mnt ipc uts net cgroup; do readlink /proc/self/ns/$kind; done";
    let seen = scene.run(script, |config| namespace(config, json!({"type": "cgroup"})));
    holds(seen.code == Some(0) && seen.out.lines().count() == 6, "the runtime refuses it")?;
    let ours = ["pid", "mnt", "ipc", "uts", "net", "cgroup"].map(link);
    holds(seen.out.lines().zip(&ours).all(|(inside, outside)| inside != outside), "one is the runtime's")
}

/// Somebody with namespaces of its own, to join.
struct Other(std::process::Child);

impl Other {
    fn new() -> Self {
        let mut child = std::process::Command::new("unshare")
            .args(["--uts", "--ipc", "--net", "sh", "-c", "echo ready; exec sleep 30"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Self(child)
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn joined(scene: &Scene<'_>) -> Verdict {
    let other = Other::new();
    let seen = scene.run("readlink /proc/self/ns/uts; readlink /proc/self/ns/net", |config| {
        for (kind, name) in [("uts", "uts"), ("network", "net")] {
            without_namespace(config, kind);
            namespace(config, json!({"type": kind, "path": other.path(name)}));
        }
    });
    let links = ["uts", "net"].map(|kind| std::fs::read_link(other.path(kind)).unwrap().display().to_string());
    seen.prints(&links.join("\n"), "it is in others")
}

fn wrong_type(scene: &Scene<'_>) -> Verdict {
    let other = Other::new();
    let with = |path: String| {
        scene.run("true", move |config| {
            without_namespace(config, "uts");
            namespace(config, json!({"type": "uts", "path": path}));
        })
    };
    with(other.path("ipc")).fails("another type is joined")?;
    with("/dev/null".to_owned()).fails("what is no namespace is taken")
}

fn relative_path(scene: &Scene<'_>) -> Verdict {
    let other = Other::new();
    std::os::unix::fs::symlink(other.path("uts"), scene.path("uts")).unwrap();
    let seen = scene.run("true", |config| {
        without_namespace(config, "uts");
        namespace(config, json!({"type": "uts", "path": "uts"}));
    });
    seen.fails("it is taken")
}

fn inherited(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("readlink /proc/self/ns/uts", |config| {
        without_namespace(config, "uts");
    });
    holds(seen.out.lines().last() == Some(link("uts").as_str()), "it is another")
}

fn inherited_mounts(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("readlink /proc/self/ns/mnt", |config| {
        without_namespace(config, "mount");
        config["mounts"] = json!([]);
    });
    seen.prints(&link("mnt"), "it is another")
}

fn twice(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| namespace(config, json!({"type": "uts"}))).fails("one of both is taken")
}

fn mapped(scene: &Scene<'_>) -> Verdict {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    std::os::unix::fs::chown(scene.path("rootfs"), Some(100_000), Some(100_000)).unwrap();
    let seen = scene.run("cat /proc/self/uid_map /proc/self/gid_map; id -u", |config| {
        namespace(config, json!({"type": "user"}));
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    let words = seen.out.split_whitespace().collect::<Vec<_>>().join(" ");
    holds(words == "0 100000 1000 0 100000 1000 0", "they are not")
}

fn clocks(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("cat /proc/self/timens_offsets; cut -d . -f 1 /proc/uptime", |config| {
        namespace(config, json!({"type": "time"}));
        config["linux"]["timeOffsets"] =
            json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 7}});
    });
    holds(seen.code == Some(0), "the runtime refuses it")?;
    let uptime = seen.out.lines().last().and_then(|line| line.parse::<u64>().ok());
    holds(uptime.is_some_and(|seconds| seconds > 1_000_000), "they do not")
}

fn device(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("stat -c '%F %t %T %a %u %g' /dev/x /dev/pipe", |config| {
        config["linux"]["devices"] = json!([
            {"path": "/dev/x", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 12, "gid": 34},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        ]);
    });
    seen.prints("character special file 1 5 640 12 34\nfifo 0 0 600 0 0", "it has others")
}

fn occupied(scene: &Scene<'_>) -> Verdict {
    let devices = json!([{"path": "/data/x", "type": "c", "major": 1, "minor": 5}]);
    std::fs::write(scene.path("rootfs/data/x"), "").unwrap();
    scene.run("true", |config| config["linux"]["devices"] = devices).fails("it is taken, or covered")
}

fn default_devices(scene: &Scene<'_>) -> Verdict {
    let script = "for name in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$name; done; test -e /dev/ptmx && echo ptmx";
    let expected = "/dev/null 1:3\n/dev/zero 1:5\n/dev/full 1:7\n/dev/random 1:8\n/dev/urandom 1:9\n/dev/tty 5:0\nptmx";
    scene.run(script, |_| {}).prints(expected, "one is missing")
}

fn links(scene: &Scene<'_>) -> Verdict {
    let script = "for name in fd stdin stdout stderr; do readlink /dev/$name; done";
    let expected = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2";
    scene.run(script, |_| {}).prints(expected, "one is missing")
}

fn descriptors(scene: &Scene<'_>) -> Verdict {
    // ls has a fourth open: the directory itself.
    scene.run("", |config| config["process"]["args"] = json!(["ls", "/proc/self/fd"])).prints("0\n1\n2\n3", "more are")
}

/// The container's group of one controller, as it sees it itself without a cgroup namespace.
const MEMORY: &str = "grep -E '(:memory:|^0::)' /proc/self/cgroup | cut -d : -f 3 | grep conform | sort -u";

fn absolute_path(scene: &Scene<'_>) -> Verdict {
    let path = format!("/conformance/{}", scene.id());
    scene.run(MEMORY, |config| config["linux"]["cgroupsPath"] = json!(path)).prints(&path, "it is elsewhere")
}

fn relative_group(scene: &Scene<'_>) -> Verdict {
    let path = format!("conformance-{}", scene.id());
    let run = || scene.run(MEMORY, |config| config["linux"]["cgroupsPath"] = json!(path)).out;
    let first = run();
    holds(first.trim_end().ends_with(&path) && first == run(), "it is elsewhere")
}

fn device_rules(scene: &Scene<'_>) -> Verdict {
    let with = |rules: Value| {
        scene.run("(: < /dev/x) 2> /dev/null && echo opened || echo refused", move |config| {
            config["linux"]["devices"] =
                json!([{"path": "/dev/x", "type": "c", "major": 10, "minor": 235, "fileMode": 0o666}]);
            config["linux"]["resources"]["devices"] = rules;
        })
    };
    let deny = json!({"allow": false, "access": "rwm"});
    let allow = json!({"allow": true, "type": "c", "major": 10, "minor": 235, "access": "rwm"});
    // Without permission the kernel answers before it looks whether there is such a device (EPERM, not ENXIO).
    with(json!([deny])).prints("refused", "all are allowed")?;
    with(json!([allow, deny])).prints("refused", "the first counts")?;
    with(json!([deny, allow])).prints(if opens() { "opened" } else { "refused" }, "the last does not count")
}

/// Whether there is a driver behind the number that [`device_rules`] uses (autofs).
fn opens() -> bool {
    std::fs::read_to_string("/proc/misc").is_ok_and(|misc| misc.lines().any(|line| line.trim().starts_with("235 ")))
}

/// A file of the container's group, read from outside.
fn limit(scene: &Scene<'_>, controller: &str, v1: &str, v2: &str) -> String {
    let pid = scene.state()["pid"].to_string();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let place = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let own = controllers.split(',').any(|name| name == controller);
        let directory =
            if own { format!("/sys/fs/cgroup/{controller}{path}/{v1}") } else { format!("/sys/fs/cgroup{path}/{v2}") };
        std::fs::read_to_string(directory).ok().filter(|_| own || controllers.is_empty())
    };
    groups.lines().find_map(place).unwrap_or_default().trim_end().to_owned()
}

fn created(scene: &Scene<'_>, resources: Value) -> Verdict {
    scene.configure("true", |config| {
        for (name, value) in resources.as_object().unwrap() {
            config["linux"]["resources"][name] = value.clone();
        }
    });
    holds(scene.create(), "the runtime refuses it")
}

fn memory(scene: &Scene<'_>) -> Verdict {
    created(scene, json!({"memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20}}))?;
    let file = |v1, v2| limit(scene, "memory", v1, v2);
    holds(file("memory.limit_in_bytes", "memory.max") == "67108864", "limit: another")?;
    holds(file("memory.soft_limit_in_bytes", "memory.low") == "33554432", "reservation: another")?;
    let swap = file("memory.memsw.limit_in_bytes", "memory.swap.max");
    holds(["100663296", "33554432", ""].contains(&swap.as_str()), "swap: another")
}

fn cpu(scene: &Scene<'_>) -> Verdict {
    created(scene, json!({"cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"}}))?;
    let quota = limit(scene, "cpu", "cpu.cfs_quota_us", "cpu.max");
    holds(["50000", "50000 100000"].contains(&quota.as_str()), "quota: another")?;
    holds(["512", "59", "20"].contains(&limit(scene, "cpu", "cpu.shares", "cpu.weight").as_str()), "shares: others")?;
    holds(limit(scene, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0", "cpus: others")
}

fn pids(scene: &Scene<'_>) -> Verdict {
    created(scene, json!({"pids": {"limit": 17}}))?;
    holds(limit(scene, "pids", "pids.max", "pids.max") == "17", "another")?;
    scene.call(&["delete", "--force", &scene.id()]);
    created(scene, json!({"pids": {"limit": -1}}))?;
    holds(limit(scene, "pids", "pids.max", "pids.max") == "max", "a limit all the same")
}

fn unified(scene: &Scene<'_>) -> Verdict {
    created(scene, json!({"unified": {"nonsense.max": "1"}})).map_or(Ok(()), |()| Err("it is left out"))
}

fn intel_rdt(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| config["linux"]["intelRdt"] = json!({"closID": "x"})).fails("it is left out")
}

fn sysctl(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| {
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4321"});
    };
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    scene.run(script, change).prints("1\n4321", "they are not")
}

fn sysctl_of_the_machine(scene: &Scene<'_>) -> Verdict {
    // What it is already: whoever sets it all the same does no harm.
    let now = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    let seen = scene.run("true", |config| {
        without_namespace(config, "network");
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": now.trim_end()});
    });
    seen.fails("it is")
}

fn seccomp(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("mkdir /x 2>&1; hostname other 2>&1; echo end", |config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
                {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"},
            ],
        });
    });
    holds(seen.code == Some(0), "the runtime refuses it")?;
    let lines: Vec<_> = seen.out.lines().collect();
    holds(lines.len() == 3 && lines[0].contains("No space left") && lines[1].contains("not permitted"), "otherwise")
}

fn with_seccomp(scene: &Scene<'_>, seccomp: Value, otherwise: &'static str) -> Verdict {
    scene.run("true", |config| config["linux"]["seccomp"] = seccomp).fails(otherwise)
}

fn nameless_rule(scene: &Scene<'_>) -> Verdict {
    let rules = json!([{"names": [], "action": "SCMP_ACT_ERRNO"}]);
    with_seccomp(scene, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}), "it is left out")
}

fn pointless_errno(scene: &Scene<'_>) -> Verdict {
    with_seccomp(scene, json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}), "it is left out")
}

fn metadata_alone(scene: &Scene<'_>) -> Verdict {
    with_seccomp(scene, json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}), "it is left out")
}

fn nobody_listens(scene: &Scene<'_>) -> Verdict {
    let rules = json!([{"names": ["getppid"], "action": "SCMP_ACT_NOTIFY"}]);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": scene.path("nobody"), "syscalls": rules});
    with_seccomp(scene, profile, "it runs")
}

fn personality(scene: &Scene<'_>) -> Verdict {
    scene
        .run("uname -m", |config| config["linux"]["personality"] = json!({"domain": "LINUX32"}))
        .prints("i686", "it is ignored")
}

fn no_personality(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| config["linux"]["personality"] = json!({"domain": "HURD"})).fails("it is ignored")
}
