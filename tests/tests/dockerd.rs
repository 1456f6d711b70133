//! What dockerd and containerd do with `cooper-runtime`, beside what they do with runc.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use process::needs;
use tests::deeds::{Deed, compare, words};
use tests::engine::program;
use tests::hosts::{Containerd, Docker, left_working_in};

const OF_DOCKER: &[Deed] = &[
    (
        "exit codes",
        &["run --rm busybox:1 sh -c 'echo out; exit 3'", "run --rm busybox:1 nothing", "run --rm busybox:1 /etc"],
    ),
    (
        "limits",
        &["run --rm --memory 64m --pids-limit 50 --cpus 0.5 busybox:1 sh -c 'cd /sys/fs/cgroup; \
         cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us 2>/dev/null || cat memory.max pids.max cpu.max'"],
    ),
    (
        "confinement",
        &[
            "run --rm busybox:1 grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status",
            "run --rm --read-only --cap-drop all -u 1:2 --tmpfs /t busybox:1 sh -c 'touch /x; touch /t/x; id; grep CapEff /proc/self/status'",
        ],
    ),
    (
        "a life: health, exec, update, pause, stats, stop",
        &[
            "run -d --name NAME --health-cmd 'test -e /tmp/well' --health-interval 0.5s busybox:1 \
         sh -c 'touch /tmp/well; trap \"exit 7\" TERM; while :; do sleep 0.05; done'",
            "exec -u 1:2 -e A=b -w /tmp NAME sh -c 'id -u; id -g; pwd; echo $A; exit 5'",
            "exec NAME nothing",
            "until inspect -f '{{.State.Health.Status}}' NAME is healthy",
            "update --memory 48m --memory-swap -1 NAME",
            "exec NAME sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'",
            "pause NAME",
            "inspect -f '{{.State.Status}}' NAME",
            "unpause NAME",
            "stop NAME",
            "inspect -f '{{.State.Status}} {{.State.ExitCode}}' NAME",
            "start NAME",
            "kill NAME",
            "wait NAME",
            "rm NAME",
        ],
    ),
    (
        "a restart policy",
        &[
            "run -d --name NAME --restart on-failure:2 busybox:1 sh -c 'exit 4'",
            "until inspect -f '{{.RestartCount}} {{.State.ExitCode}} {{.State.Status}}' NAME is 2 4 exited",
            "rm -f NAME",
        ],
    ),
    ("an init, a terminal", &["run --rm -t busybox:1 sh -c 'test -t 0 && test -c /dev/console && echo terminal'"]),
];

const OF_CTR: &[Deed] = &[
    ("exit codes", &["run --rm NAME /bin/sh -c 'echo out; exit 3'"]),
    (
        "a life",
        &[
            "run -d NAME /bin/sleep 1000",
            "task exec --exec-id first NAME /bin/sh -c 'echo inside; exit 4'",
            "task pause NAME",
            "task exec --exec-id second NAME /bin/true",
            "task resume NAME",
            "task kill -s KILL NAME",
            "task delete --force NAME",
            "container delete NAME",
            "container ls -q",
        ],
    ),
    ("a terminal", &["run --rm -t NAME /bin/sh -c 'test -t 0 && test -c /dev/console && echo terminal'"]),
];

fn ours(place: &Path) -> PathBuf {
    // Where shims look for it, whatever the build does meanwhile.
    let copy = place.join("cooper-runtime");
    process::needs::copy_program(program("cooper-runtime").unwrap(), &copy);
    copy
}

/// A shim takes a moment to end.
fn leaves_nobody(place: &Path) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !left_working_in(place).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", left_working_in(place));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn dockerd_sees_no_difference_to_runc() {
    let able = ["dockerd", "docker", "containerd", "runc", "busybox", "unshare", "nsenter", "ip", "tar"];
    if !needs::root() || !able.iter().all(|name| needs::program(name)) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let docker = Docker::new(place.path(), &ours(place.path())).unwrap();
    let run = |runtime: &str, arguments: &[String]| {
        let mut arguments = arguments.to_vec();
        if arguments[0] == "run" {
            arguments.splice(1..1, ["--network", "none", "--runtime", runtime].map(str::to_owned));
        }
        docker.docker(&arguments)
    };
    let differences = compare(OF_DOCKER, "runc", run).unwrap();
    assert!(differences.is_empty(), "{differences}");

    // Without --runtime it is the daemon's default, for builds too, and with the bridge that the daemon makes.
    std::fs::write(
        place.path().join("Dockerfile"),
        "FROM busybox:1\nRUN id -u > /made\nCMD cat /made; ls /sys/class/net\n",
    )
    .unwrap();
    let build = words(&format!("build --quiet --tag built --file {0}/Dockerfile {0}/tree", place.path().display()));
    docker.docker(&build).unwrap().ok();
    docker.docker(&words("run --name last built")).unwrap().ok();
    assert_eq!(docker.docker(&words("logs last")).unwrap().ok(), "0\neth0\nlo\n");
    let used = docker.docker(&words("inspect -f {{.HostConfig.Runtime}} last")).unwrap().ok();
    assert_eq!(used.trim(), "cooper-runtime");
    drop(docker);
    leaves_nobody(place.path());
}

#[test]
fn containerd_sees_no_difference_to_runc() {
    let able = ["containerd", "ctr", "runc", "busybox", "unshare", "nsenter", "ip", "script"];
    if !needs::root() || !able.iter().all(|name| needs::program(name)) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let containerd = Containerd::new(place.path()).unwrap();
    let (ours, runc) = (ours(place.path()), PathBuf::from("runc"));
    let run = |runtime: &str, words: &[String]| containerd.ctr(if runtime == "runc" { &runc } else { &ours }, words);
    let differences = compare(OF_CTR, "runc", run).unwrap();
    assert!(differences.is_empty(), "{differences}");
    drop(containerd);
    leaves_nobody(place.path());
}
