//! A container's life on the command line, as root and as an ordinary user: run, look, enter, stop, remove.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use process::{Pid, PidFd, Signal, needs};
use tests::engine::{Cooper, Who, run};

/// Both users need root here: a test can become `learner` only from root.
fn ready(who: Who) -> bool {
    needs::root() && (who == Who::Caller || (needs::account("learner") && needs::user_namespaces()))
}

fn a_whole_life(who: Who) {
    let cooper = Cooper::new(who).unwrap();
    let script = "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.05; done";
    let id = cooper.run(&["run", "-d", "--name", "web", "--network", "none", "host", "sh", "-c", script]).ok();
    let deadline = Instant::now() + Duration::from_secs(10);
    while cooper.run(&["logs", "web"]).ok() != "hello\n" {
        assert!(Instant::now() < deadline, "it does not say hello");
    }
    assert!(cooper.run(&["ps"]).ok().contains(&id[..12]));
    assert_eq!(cooper.run(&["exec", "web", "sh", "-c", "hostname; exit 6"]).code, 6);
    assert_eq!(cooper.run(&["exec", "web", "hostname"]).ok().trim(), &id[..12]);
    cooper.run(&["exec", "web", "no-such-program"]).fails(127);
    assert!(cooper.run(&["top", "web"]).ok().contains("trap 'echo bye"));
    cooper.run(&["rename", "web", "site"]).ok();
    cooper.run(&["restart", "-t", "0", "site"]).ok();
    cooper.run(&["rename", "site", "web"]).ok();
    let greetings = || cooper.run(&["logs", "web"]).ok();
    // Whether it still says goodbye before it is killed depends on the moment.
    while greetings().matches("hello\n").count() < 2 {
        assert!(Instant::now() < deadline, "{:?}", greetings());
    }
    cooper.run(&["exec", "web", "touch", "/etc/mine"]).ok();
    assert_eq!(cooper.run(&["diff", "web"]).ok(), "C /etc\nA /etc/mine\n");
    if who == Who::Caller {
        cooper.run(&["pause", "web"]).ok();
        assert!(cooper.run(&["ps"]).ok().contains("(Paused)"));
        cooper.run(&["unpause", "web"]).ok();
    }
    assert!(cooper.run(&["rm", "web"]).code != 0, "a container that runs is not removed by mistake");
    cooper.run(&["stop", "web"]).ok();
    assert!(greetings().ends_with("hello\nbye\n"), "{:?}", greetings());
    assert!(cooper.run(&["ps", "-a"]).ok().contains("Exited (3)"));
    cooper.run(&["rm", "web"]).ok();
    assert!(!cooper.run(&["ps", "-a"]).ok().contains("web"));
    cooper.finish();
}

fn exit_codes(who: Who) {
    let cooper = Cooper::new(who).unwrap();
    let run = |words: &[&str]| cooper.run(&[&["run", "--rm", "--network", "none", "host"], words].concat());
    assert_eq!(run(&["sh", "-c", "exit 42"]).code, 42);
    assert_eq!(
        run(&["sh", "-c", "kill -9 $$ & wait; exec sh -c 'sleep 0.1; exit 7'"]).code,
        7,
        "pid 1 is not killed from inside"
    );
    run(&["no-such-program"]).fails(127);
    run(&["/etc"]).fails(126);
    cooper.run(&["run", "--rm", "no-such-image.example:1/x:y:z"]).fails(125);
    assert!(cooper.run(&["ps", "-aq"]).ok().is_empty(), "--rm removes what did not start, too");
    cooper.finish();
}

/// The pids of a container's first process and of its monitor.
fn pids(cooper: &Cooper, name: &str) -> [Pid; 2] {
    let said = cooper.run(&["inspect", "--format", "{{.State.Pid}} {{.Id}}", name]).ok();
    let (pid, id) = said.trim().split_once(' ').unwrap();
    let file = cooper.root().join("run/containers").join(id).join("monitor.json");
    let monitor: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    [pid, &monitor["pid"].to_string()].map(|pid| pid.parse().unwrap())
}

fn kill(pid: Pid) {
    PidFd::open(pid).unwrap().signal(Signal::SIGKILL).unwrap();
}

/// Who has ended stays in the table until the machine's first process has heard of it.
fn is_alive(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Nobody was there to see how it ended: that is what everybody says.
fn ended_unseen(cooper: &Cooper, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !cooper.run(&["ps", "-a"]).ok().contains("Exited (unknown)") {
        assert!(Instant::now() < deadline, "{}", cooper.run(&["ps", "-a"]).ok());
    }
    let state = cooper.run(&["inspect", "--format", "{{.State.Status}} {{.State.Pid}} {{.State.Error}}", name]).ok();
    assert!(state.starts_with("exited 0 exit code unknown"), "{state}");
    assert!(cooper.run(&["wait", name]).fails(1).contains("exit code is unknown"));
}

/// Whether some hierarchy has a control group of this container's.
fn has_group(id: &str) -> bool {
    let top = std::path::Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path());
    hierarchies.chain([top.to_owned()]).any(|place| place.join("cooper").join(id).exists())
}

/// A name, an address and a port that were in use when the power went are free for the same container and for another.
#[test]
fn after_a_killed_monitor_and_after_a_reboot_states_are_honest_and_everything_is_free() {
    if !ready(Who::Caller) || !needs::program("nft") {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    cooper.run(&["network", "create", "--subnet", "10.213.7.0/24", "lan"]).ok();
    let address = tests::peers::free_address().unwrap();
    let publish = format!("{address}:80");
    let place = ["--name", "web", "--network", "lan", "--ip", "10.213.7.9", "-p", &publish, "--restart", "always"];
    let run = [["run", "-d"].as_slice(), &place, &["host", "sleep", "100000"]].concat();

    cooper.run(&run).ok();
    let [process, monitor] = pids(&cooper, "web");
    kill(monitor);
    ended_unseen(&cooper, "web");
    cooper.run(&["rm", "web"]).ok();
    assert!(!is_alive(process), "what it left running has ended with it");

    cooper.run(&run).ok();
    let [process, monitor] = pids(&cooper, "web");
    kill(monitor);
    kill(process);
    std::fs::remove_dir_all(cooper.root().join("run")).unwrap();
    ended_unseen(&cooper, "web");
    assert_eq!(cooper.run(&["system", "boot"]).ok(), "web\n");
    let place = "{{.State.Running}} {{.NetworkSettings.Networks.lan.IPAddress}}";
    assert_eq!(cooper.run(&["inspect", "--format", place, "web"]).ok(), "true 10.213.7.9\n");
    assert_eq!(cooper.run(&["port", "web", "80"]).ok().trim(), address);

    let [process, monitor] = pids(&cooper, "web");
    let id = cooper.run(&["inspect", "--format", "{{.Id}}", "web"]).ok();
    assert!(has_group(id.trim()));
    kill(monitor);
    kill(process);
    std::fs::remove_dir_all(cooper.root().join("run")).unwrap();
    cooper.run(&["rm", "-f", "web"]).ok();
    assert!(!has_group(id.trim()), "its control groups are still there");
    cooper.run(&run).ok();
    cooper.run(&["rm", "-f", "web"]).ok();
    cooper.finish();
}

#[test]
fn a_container_lives_and_ends_for_root() {
    if ready(Who::Caller) {
        a_whole_life(Who::Caller);
    }
}

#[test]
fn a_container_lives_and_ends_for_an_ordinary_user() {
    if ready(Who::Learner) {
        a_whole_life(Who::Learner);
    }
}

#[test]
fn exit_codes_are_right_for_root() {
    if ready(Who::Caller) {
        exit_codes(Who::Caller);
    }
}

#[test]
fn exit_codes_are_right_for_an_ordinary_user() {
    if ready(Who::Learner) {
        exit_codes(Who::Learner);
    }
}

/// `newuidmap` comes with a package that not every machine has; an image whose files are all root's needs none.
#[test]
fn an_ordinary_user_without_newuidmap_runs_hello() {
    if ready(Who::Learner) {
        let cooper = Cooper::new(Who::Learner).unwrap();
        let usual = cooper.command(&["run", "--rm", "hello"]);
        let words: Vec<_> = usual.get_args().skip_while(|word| *word != "--").skip(1).collect();
        let mut bare = Command::new("runuser");
        bare.args(["-u", "learner", "--", "env", "PATH=/nowhere"]).args(words);
        bare.env("COOPER_ROOT", cooper.root()).env_remove("XDG_RUNTIME_DIR").current_dir(cooper.work());
        assert!(run(&mut bare).unwrap().ok().starts_with("Hello"));
        cooper.finish();
    }
}
