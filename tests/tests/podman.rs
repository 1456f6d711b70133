//! What podman and buildah do with `cooper-runtime`, beside what they do with runc: a table of deeds, each done twice.

#![allow(clippy::unwrap_used)]

use process::needs;
use tests::deeds::{Deed, compare, words};
use tests::engine::{Who, program};
use tests::hosts::Podman;

/// Lines of podman's; `HERE` is the directory of the test.
const DEEDS: &[Deed] = &[
    ("an exit code", &["run --rm busybox:1 sh -c 'echo out; exit 3'"]),
    ("a program that is missing", &["run --rm busybox:1 nothing"]),
    ("a directory for a program", &["run --rm busybox:1 /bin"]),
    (
        "a user, a directory, an environment, a host name",
        &["run --rm -u 1000:2000 -w /tmp -e A=b --hostname h1 busybox:1 sh -c 'id; pwd; echo $A; hostname'"],
    ),
    (
        "a volume, read-only and not",
        &[
            "run --rm -v HERE/volume:/data:ro busybox:1 sh -c 'cat /data/file; touch /data/x'",
            "run --rm -v HERE/volume:/data busybox:1 sh -c 'echo NAME > /data/written && cat /data/written'",
        ],
    ),
    (
        "limits",
        &["run --rm --memory 64m --pids-limit 50 --cpus 0.5 busybox:1 sh -c 'cd /sys/fs/cgroup; \
         cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us 2>/dev/null || cat memory.max pids.max cpu.max'"],
    ),
    (
        "a read-only root with temporary directories",
        &[
            "run --rm --read-only busybox:1 sh -c 'touch /x; touch /tmp/y && echo written'",
            "run --rm --tmpfs /t:size=1m busybox:1 grep ' /t ' /proc/mounts",
        ],
    ),
    (
        "capabilities",
        &[
            "run --rm --cap-drop all busybox:1 grep Cap /proc/self/status",
            "run --rm --cap-drop chown --cap-add net_admin busybox:1 grep Cap /proc/self/status",
            "run --rm -u 1 --cap-add net_raw busybox:1 grep Cap /proc/self/status",
        ],
    ),
    (
        "a filter from a file",
        &[
            "run --rm --security-opt seccomp=HERE/filter.json busybox:1 sh -c 'mkdir /x; echo $?; grep Seccomp: /proc/self/status'",
            "run --rm --security-opt seccomp=unconfined busybox:1 grep Seccomp: /proc/self/status",
            "run --rm --security-opt no-new-privileges busybox:1 grep NoNewPrivs /proc/self/status",
        ],
    ),
    (
        "a user namespace",
        &[
            "run --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 busybox:1 sh -c 'id -u; cat /proc/self/uid_map; touch /x && ls -ln /x | grep -c \" 0 \"'",
            "run --rm --userns host busybox:1 cat /proc/self/uid_map",
        ],
    ),
    (
        "namespaces of the machine's",
        &[
            "run --rm --pid host busybox:1 sh -c 'test $$ -gt 1 && echo many'",
            "run --rm --ipc host --uts host --cgroupns private busybox:1 sh -c 'grep -c :/$ /proc/self/cgroup'",
        ],
    ),
    (
        "everything allowed",
        &[
            "run --rm --privileged busybox:1 sh -c 'mount -t tmpfs x /tmp && echo mounted; test -c /dev/full && echo full'",
        ],
    ),
    (
        "a device, a parameter, memory to share, a score",
        &[
            "run --rm --device /dev/fuse busybox:1 sh -c 'ls -l /dev/fuse | grep -c ^crw'",
            "run --rm --sysctl net.ipv4.ip_forward=1 busybox:1 cat /proc/sys/net/ipv4/ip_forward",
            "run --rm --shm-size 1m --oom-score-adj 500 busybox:1 sh -c 'grep /dev/shm /proc/mounts; cat /proc/self/oom_score_adj'",
        ],
    ),
    ("a terminal", &["run --rm -t busybox:1 sh -c 'test -t 0 && test -t 1 && test -c /dev/console && echo terminal'"]),
    ("an init", &["run --rm --init busybox:1 sh -c 'grep -c init /proc/1/cmdline'"]),
    (
        "a life: logs, exec, pause, stats, update, stop, restart, kill",
        &[
            "run -d --name NAME --pids-limit 20 busybox:1 sh -c 'trap \"exit 7\" TERM; echo out; echo err >&2; while :; do sleep 0.05; done'",
            "until logs NAME is out err",
            "exec -u 1000:2000 -e A=b -w /tmp NAME sh -c 'id; pwd; echo $A; exit 9'",
            "exec NAME nothing",
            "exec -t NAME test -t 0",
            "exec --privileged NAME grep CapEff /proc/self/status",
            "pause NAME",
            "inspect -f '{{.State.Status}}' NAME",
            "unpause NAME",
            "stats --no-stream --format '{{.PIDs}}' NAME",
            "update --memory 32m NAME",
            "exec NAME sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'",
            "stop NAME",
            "inspect -f '{{.State.Status}} {{.State.ExitCode}}' NAME",
            "restart NAME",
            "kill NAME",
            "wait NAME",
            "rm -f NAME",
            "inspect -f '{{.State.Status}}' NAME",
        ],
    ),
    (
        "a pod",
        &[
            "pod create --name NAME --network none --infra-image busybox:1 --infra-command '/bin/sleep 1000' --share ipc,uts,net,pid --hostname pod",
            "run -d --name NAME-in --pod NAME busybox:1 sleep 1000",
            "exec NAME-in sh -c 'hostname; ps | grep -c [s]leep'",
            "pod pause NAME",
            "pod unpause NAME",
            "pod rm -f -t 0 NAME",
        ],
    ),
];

#[test]
fn podman_sees_no_difference_to_runc() {
    let able = ["podman", "buildah", "runc", "busybox", "unshare", "nsenter", "ip"];
    if !needs::root() || !able.iter().all(|name| needs::program(name)) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let podman = Podman::new(place.path(), Who::Caller).unwrap();
    std::fs::create_dir(place.path().join("volume")).unwrap();
    std::fs::write(place.path().join("volume/file"), "from outside\n").unwrap();
    let filter = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#;
    std::fs::write(place.path().join("filter.json"), filter).unwrap();
    let ours = program("cooper-runtime").unwrap().display().to_string();
    let here = place.path().display().to_string();
    let run = |runtime: &str, arguments: &[String]| {
        let mut arguments: Vec<String> = arguments.iter().map(|word| word.replace("HERE", &here)).collect();
        let placed = arguments.iter().any(|word| ["--network", "--pod", "-p"].contains(&word.as_str()));
        if arguments[0] == "run" && !placed {
            arguments.splice(1..1, words("--network none"));
        }
        podman.podman(if runtime == "runc" { runtime } else { &ours }, &arguments)
    };
    let differences = compare(DEEDS, "runc", run).unwrap();
    assert!(differences.is_empty(), "{differences}");

    // A published port, and a build: what is seen is not podman's own output.
    for (name, runtime) in [("theirs-port", "runc"), ("own-port", &*ours)] {
        let line = format!("run -d --name {name} -p 127.0.0.1:8080:80 busybox:1 httpd -f -p 80 -h /etc");
        podman.podman(runtime, &words(&line)).unwrap().ok();
        let said = podman.fetch("127.0.0.1:8080/page").unwrap();
        assert_eq!(said.out, "served\n", "{name}: {}", said.err);
        podman.podman(runtime, &words(&format!("rm -f -t 0 {name}"))).unwrap().ok();
        std::fs::write(place.path().join("Containerfile.two"), "FROM busybox:1\nRUN id -u > /made; cat /made\n")
            .unwrap();
        let built = podman.buildah(runtime, &words("--no-cache --file Containerfile.two .")).unwrap();
        assert!(built.code == 0 && built.out.contains("\n0\n"), "{name}: {}{}", built.out, built.err);
    }
}

const OF_LEARNER: &[Deed] = &[
    ("a run", &["run --rm --network none busybox:1 sh -c 'id; cat /proc/self/uid_map; echo $$; exit 3'"]),
    (
        "confinement",
        &[
            "run --rm --network none --read-only --cap-drop all busybox:1 sh -c 'touch /x; grep -E \"Cap|Seccomp:\" /proc/self/status'",
            "run --rm --network none -u 1000:2000 -v HERE/volume:/data busybox:1 sh -c 'id -u; cat /data/file'",
            "run --rm --network none busybox:1 nothing",
        ],
    ),
    (
        "a life",
        &[
            "run -d --name NAME --network none busybox:1 sh -c 'trap \"exit 7\" TERM; echo out; while :; do sleep 0.05; done'",
            "until logs NAME is out",
            "exec -e A=b NAME sh -c 'echo $A; exit 9'",
            "stop NAME",
            "inspect -f '{{.State.Status}} {{.State.ExitCode}}' NAME",
            "rm NAME",
        ],
    ),
];

#[test]
fn an_ordinary_user_s_podman_sees_no_difference_either() {
    let able = ["podman", "buildah", "runc", "busybox", "unshare", "nsenter", "ip", "newuidmap", "runuser"];
    if !needs::root() || !able.iter().all(|name| needs::program(name)) {
        return;
    }
    if !needs::account("learner") || !needs::user_namespaces() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("volume")).unwrap();
    std::fs::write(place.path().join("volume/file"), "from outside\n").unwrap();
    let ours = place.path().join("cooper-runtime");
    process::needs::copy_program(program("cooper-runtime").unwrap(), &ours);
    let podman = Podman::new(place.path(), Who::Learner).unwrap();
    let here = place.path().display().to_string();
    let run = |runtime: &str, arguments: &[String]| {
        let arguments: Vec<String> = arguments.iter().map(|word| word.replace("HERE", &here)).collect();
        podman.podman(if runtime == "runc" { runtime } else { ours.to_str().unwrap() }, &arguments)
    };
    let differences = compare(OF_LEARNER, "runc", run).unwrap();
    assert!(differences.is_empty(), "{differences}");
}
