//! A bundle's whole life under `cooper-runtime`. What podman, dockerd and containerd make of it stands in `tests/tests`.
#![allow(clippy::unwrap_used)]

#[path = "scenery/busybox.rs"]
mod busybox;
#[path = "scenery/config.rs"]
mod config;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use process::needs;
use serde_json::{Value, json};

/// A bundle with busybox in it, and a state directory.
struct Bundle {
    home: tempfile::TempDir,
}

impl Bundle {
    /// `None`, with the reason printed, where the machine cannot run it.
    fn new(arguments: &[&str]) -> Option<Self> {
        if !needs::root() || !needs::program("busybox") {
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        busybox::install(home.path(), &["sh", "cat", "id", "sleep", "hostname", "ls", "test", "grep"]);
        let bundle = Self { home };
        let spec = Command::new(cargo_bin("cooper-runtime")).arg("spec").current_dir(bundle.path()).output().unwrap();
        assert!(spec.status.success(), "{spec:?}");
        bundle.change(|config| {
            config["process"]["args"] = json!(arguments);
            config["hostname"] = json!("cask");
        });
        Some(bundle)
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        config::change(self.path(), change);
    }

    fn runtime(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cargo_bin("cooper-runtime"));
        command.arg("--root").arg(self.path().join("state")).args(arguments).current_dir(self.path());
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// The id is part of a cgroup's path, and tests run side by side.
    fn id(&self) -> String {
        format!("test-{}", self.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'))
    }

    fn status(&self) -> String {
        let output = self.runtime(&["state", &self.id()]);
        let state: Value = serde_json::from_slice(&output.stdout).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    fn cgroup_directories(&self) -> Vec<PathBuf> {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok);
        let ours = hierarchies.map(|entry| entry.path().join("cooper").join(self.id()));
        ours.filter(|path| path.exists()).collect()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

#[test]
fn a_bundle_runs_and_leaves_nothing() {
    let Some(bundle) = Bundle::new(&["sh", "-c", "hostname; id -u; (: > /x) 2>/dev/null || echo read-only; exit 5"])
    else {
        return;
    };
    let output = bundle.runtime(&["run", &bundle.id()]);
    assert_eq!(text(&output), "cask\n0\nread-only\n");
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(std::fs::read_dir(bundle.path().join("state")).unwrap().count(), 0);
    assert_eq!(bundle.cgroup_directories(), Vec::<PathBuf>::new());
}

#[test]
fn create_start_exec_kill_delete_in_turn() {
    let Some(bundle) = Bundle::new(&["sleep", "100"]) else { return };
    let id = bundle.id();
    // Inherited pipes would keep `output()` waiting for as long as the container lives.
    let created = Command::new(cargo_bin("cooper-runtime"))
        .args(["--root", bundle.path().join("state").to_str().unwrap(), "create", "--pid-file", "pid", &id])
        .current_dir(bundle.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(created.success());
    assert_eq!(bundle.status(), "created");
    assert!(text(&bundle.runtime(&["delete", &id])).contains("cannot delete"));
    assert!(bundle.runtime(&["start", &id]).status.success());
    assert_eq!(bundle.status(), "running");
    assert!(text(&bundle.runtime(&["start", &id])).contains("it is running"));
    let inside = bundle.runtime(&["exec", &id, "sh", "-c", "echo $$; cat /proc/1/cmdline"]);
    assert_eq!(text(&inside), "2\nsleep\x00100\0");
    assert_eq!(bundle.runtime(&["exec", &id, "nothing"]).status.code(), Some(127));
    assert!(bundle.runtime(&["kill", &id, "KILL"]).status.success());
    while bundle.status() != "stopped" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(bundle.runtime(&["delete", &id]).status.success());
    assert!(text(&bundle.runtime(&["state", &id])).contains("does not exist"));
    assert_eq!(bundle.cgroup_directories(), Vec::<PathBuf>::new());
}

/// Its example asks for ambient capabilities that are not inheritable, which no kernel grants.
#[test]
fn runc_s_own_example_has_the_same_capabilities_here_and_there() {
    let Some(bundle) = Bundle::new(&["grep", "Cap", "/proc/1/status"]) else { return };
    if !needs::program("runc") {
        return;
    }
    let config = bundle.path().join("config.json");
    std::fs::remove_file(&config).unwrap();
    assert!(Command::new("runc").arg("spec").current_dir(bundle.path()).status().unwrap().success());
    bundle.change(|config| {
        config["process"]["args"] = json!(["grep", "Cap", "/proc/1/status"]);
        config["process"]["terminal"] = json!(false);
    });
    let ours = bundle.runtime(&["run", &bundle.id()]);
    let state = bundle.path().join("runc");
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(&state).args(["run", &bundle.id()]).current_dir(bundle.path());
    let theirs = runc.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(text(&theirs).contains("CapAmb"), "{}", text(&theirs));
    assert_eq!(text(&ours), text(&theirs));
}

#[test]
fn what_cannot_be_executed_has_its_own_exit_code_and_leaves_nothing() {
    let Some(bundle) = Bundle::new(&["nothing"]) else { return };
    assert_eq!(bundle.runtime(&["run", &bundle.id()]).status.code(), Some(127));
    bundle.change(|config| config["process"]["args"] = json!(["/proc/version"]));
    assert_eq!(bundle.runtime(&["run", &bundle.id()]).status.code(), Some(126));
    assert_eq!(std::fs::read_dir(bundle.path().join("state")).unwrap().count(), 0);
    assert_eq!(bundle.cgroup_directories(), Vec::<PathBuf>::new());
}

#[test]
fn a_failing_step_is_named_and_leaves_nothing() {
    let Some(bundle) = Bundle::new(&["sh"]) else { return };
    bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/x", "type": "nosuchfs", "source": "x"}));
    });
    let output = bundle.runtime(&["run", &bundle.id()]);
    assert!(text(&output).contains(r#"fsopen "nosuchfs" (on /x): ENODEV"#), "{}", text(&output));
    assert_eq!(std::fs::read_dir(bundle.path().join("state")).unwrap().count(), 0);
    assert_eq!(bundle.cgroup_directories(), Vec::<PathBuf>::new());
}

#[test]
fn options_of_mounts_are_kept_and_unknown_ones_refused() {
    let Some(bundle) = Bundle::new(&["grep", " /data\\| /proc ", "/proc/self/mountinfo"]) else { return };
    let with = |options: &[&str]| {
        bundle.change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/data");
            mounts.push(json!({"destination": "/data", "type": "bind", "source": ".", "options": options}));
            for mount in mounts.iter_mut().filter(|mount| mount["destination"] == "/proc") {
                mount["options"] = json!(["nosuid", "hidepid=invisible"]);
            }
        });
        text(&bundle.runtime(&["run", &bundle.id()]))
    };
    let kept = with(&["rbind", "rro", "noatime", "nodev", "rprivate"]);
    assert!(kept.contains(" /data ro,nodev,noatime "), "{kept}");
    assert!(kept.contains(" /proc rw,nosuid,relatime - proc proc rw,hidepid=invisible"), "{kept}");
    let refused = with(&["bind", "sideways"]);
    assert!(refused.contains(r#"option "sideways" is none of a bind mount"#), "{refused}");
}

#[test]
fn hooks_run_at_their_points_and_a_failing_one_stops_everything() {
    let Some(bundle) = Bundle::new(&["sh", "-c", "echo program"]) else { return };
    let log = bundle.path().join("log");
    let hook =
        |name: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} >> {}", log.display())]}]);
    bundle.change(|config| {
        config["hooks"] =
            json!({"createRuntime": hook("createRuntime"), "poststart": hook("poststart"), "poststop": hook("poststop")});
    });
    assert!(bundle.runtime(&["run", &bundle.id()]).status.success());
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "createRuntime\npoststart\npoststop\n");
    bundle.change(|config| config["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]}));
    let output = bundle.runtime(&["run", &bundle.id()]);
    assert!(text(&output).contains("hook /bin/false"), "{}", text(&output));
    assert_eq!(std::fs::read_dir(bundle.path().join("state")).unwrap().count(), 0);
}

#[test]
fn promised_descriptors_arrive_and_no_others() {
    let script = "for fd in 3 4 5 6 7 8 9; do test -e /proc/self/fd/$fd && echo $fd; done; exit 0";
    let Some(bundle) = Bundle::new(&["sh", "-c", script]) else { return };
    // A caller with more open than it promised.
    let open = "exec 3</dev/null 4</dev/zero 5</dev/full 6</ 7</proc; exec \"$@\"";
    let careless = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", open, "sh"]).args(words).current_dir(bundle.path());
        text(&command.output().unwrap())
    };
    let (program, root) = (cargo_bin("cooper-runtime"), bundle.path().join("state"));
    let run = |preserve: &str| {
        let id = bundle.id();
        let (program, root) = (program.to_str().unwrap(), root.to_str().unwrap());
        careless(&[program, "--root", root, "run", "--preserve-fds", preserve, &id])
    };
    assert_eq!(run("0"), "");
    assert_eq!(run("2"), "3\n4\n");
    // More than there are: what the runtime itself holds at those numbers is not among them. (Whoever started this
    // test may have left something open, too.)
    assert_eq!(run("100"), careless(&["sh", "-c", script]));
}

#[test]
fn the_plan_of_the_example_is_the_chapters_table_of_contents() {
    let Some(bundle) = Bundle::new(&["sh"]) else { return };
    let output =
        Command::new(cargo_bin("ch07-runtime")).args(["plan", "."]).current_dir(bundle.path()).output().unwrap();
    let plan = text(&output);
    // One line a step: its kind. Mounts of v1 hierarchies are as many as the machine has.
    let mut kinds: Vec<String> = plan.lines().skip(1).map(kind).collect();
    kinds.dedup();
    insta::assert_snapshot!(kinds.join("\n"));
}

/// `12. Rootfs(PivotRoot)` is `Rootfs PivotRoot`.
fn kind(line: &str) -> String {
    let step = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    let mut words = step.split(['(', ' ', ')', '{']).filter(|word| !word.is_empty());
    [words.next(), words.next()].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A seccomp agent at `socket` for two processes: each `getppid` of theirs is answered with 4711. Returns the states
/// that it was sent.
fn agent(socket: &Path) -> std::thread::JoinHandle<Vec<Value>> {
    use privileges::seccomp::{Listener, Reply};
    let server = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let serve = |_| {
            let (peer, _) = server.accept().unwrap();
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = rustix::net::RecvAncillaryBuffer::new(&mut space);
            let mut bytes = vec![0; 65536];
            let mut buffers = [std::io::IoSliceMut::new(&mut bytes)];
            let flags = rustix::net::RecvFlags::CMSG_CLOEXEC;
            let length = rustix::net::recvmsg(&peer, &mut buffers, &mut ancillary, flags).unwrap().bytes;
            let mut rights = ancillary.drain().filter_map(|message| match message {
                rustix::net::RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                _ => None,
            });
            let listener = Listener::new(rights.next().unwrap().next().unwrap());
            let state = serde_json::from_slice(&bytes[..length]).unwrap();
            let answering = std::thread::spawn(move || {
                while let Some(asked) = listener.receive().unwrap() {
                    listener.answer(&asked, Reply::Done(4711)).unwrap();
                }
            });
            (state, answering)
        };
        let served: Vec<_> = (0..2).map(serve).collect();
        let wait = |(state, answering): (Value, std::thread::JoinHandle<()>)| answering.join().map(|()| state).unwrap();
        served.into_iter().map(wait).collect()
    })
}

#[test]
fn a_filter_that_asks_finds_its_agent_on_start_and_on_exec() {
    let Some(bundle) = Bundle::new(&["sh", "-c", "echo $PPID; while test ! -e /tmp/go; do sleep 0.05; done"]) else {
        return;
    };
    let socket = bundle.path().join("agent.sock");
    bundle.change(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": socket, "listenerMetadata": "cask",
            "syscalls": [{ "names": ["getppid"], "action": "SCMP_ACT_NOTIFY" }],
        });
        let tmp = json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" });
        config["mounts"].as_array_mut().unwrap().push(tmp);
    });
    let states = agent(&socket);
    let running = std::thread::scope(|scope| {
        let running = scope.spawn(|| bundle.runtime(&["run", &bundle.id()]));
        while !running.is_finished() && !text(&bundle.runtime(&["state", &bundle.id()])).contains("\"running\"") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let exec = bundle.runtime(&["exec", &bundle.id(), "sh", "-c", "echo $PPID; : > /tmp/go"]);
        if text(&exec) != "4711\n" {
            bundle.runtime(&["kill", &bundle.id(), "KILL"]);
        }
        assert_eq!(text(&exec), "4711\n");
        running.join().unwrap()
    });
    assert_eq!(text(&running), "4711\n");
    let states = states.join().unwrap();
    for state in &states {
        assert_eq!((&state["fds"], &state["metadata"]), (&json!(["seccompFd"]), &json!("cask")), "{state}");
        assert_eq!(state["state"]["id"], json!(bundle.id()), "{state}");
        assert!(state["pid"].as_i64().is_some_and(|pid| pid > 1), "{state}");
    }
    assert_eq!(states[0]["pid"], states[0]["state"]["pid"]);
    assert_ne!(states[1]["pid"], states[1]["state"]["pid"]);
}

#[test]
fn a_filter_that_asks_nobody_is_refused() {
    let Some(bundle) = Bundle::new(&["sh", "-c", "echo ran"]) else { return };
    let refused = |seccomp: Value| {
        bundle.change(|config| config["linux"]["seccomp"] = seccomp);
        let output = bundle.runtime(&["run", &bundle.id()]);
        assert!(!output.status.success());
        text(&output)
    };
    let notify = |call: &str| json!([{ "names": [call], "action": "SCMP_ACT_NOTIFY" }]);
    let missing = refused(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": notify("getppid") }));
    assert!(missing.contains("linux.seccomp.listenerPath: missing"), "{missing}");
    let nobody =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": notify("getppid"), "listenerPath": "/nowhere" });
    let nobody = refused(nobody);
    assert!(nobody.contains(r#"connect to the seccomp agent "/nowhere": ENOENT"#), "{nobody}");
    let own = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": notify("sendmsg"), "listenerPath": "/nowhere" });
    let own = refused(own);
    assert!(own.contains("sendmsg is answered by SCMP_ACT_NOTIFY"), "{own}");
}

#[test]
fn a_label_that_nobody_would_enforce_is_refused_by_its_field() {
    let Some(bundle) = Bundle::new(&["sh", "-c", "echo ran"]) else { return };
    for (field, module) in [
        ("apparmorProfile", privileges::SecurityModule::AppArmor),
        ("selinuxLabel", privileges::SecurityModule::SELinux),
    ] {
        if module.is_active() {
            continue;
        }
        bundle.change(|config| config["process"][field] = json!("strict"));
        let output = text(&bundle.runtime(&["run", &bundle.id()]));
        assert!(output.contains(&format!("process.{field}")) && output.contains("is not active"), "{output}");
        bundle.change(|config| config["process"][field] = json!(""));
    }
    assert_eq!(text(&bundle.runtime(&["run", &bundle.id()])), "ran\n");
}

#[test]
fn a_program_runs_behind_a_filter_that_forbids_what_init_says() {
    let Some(bundle) = Bundle::new(&["sh", "-c", "echo ran"]) else { return };
    bundle.change(|config| {
        let forbidden = json!([{ "names": ["sendmsg", "sendto"], "action": "SCMP_ACT_ERRNO" }]);
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": forbidden });
    });
    assert_eq!(text(&bundle.runtime(&["run", &bundle.id()])), "ran\n");
}
