//! What an ordinary user is told where the machine gives little: no lent ids, no user namespaces.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use process::needs;

/// A directory that everybody may write to.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    directory
}

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

fn learner_is_there() -> bool {
    needs::root() && needs::account("learner") && needs::user_namespaces() && needs::program("runuser")
}

/// `cooper` as `learner`, who finds no `newuidmap`: of all ids there is only its own.
fn alone(root: &Path, words: &[&str]) -> Output {
    let mut command = Command::new("runuser");
    command.args(["-u", "learner", "--", "env", "PATH=/nowhere", env!("CARGO_BIN_EXE_cooper"), "--root"]);
    command.arg(root.join("store")).args(words).current_dir(root).output().unwrap()
}

fn clean_up(root: &Path) {
    alone(root, &["system", "prune", "-f"]);
}

#[test]
fn with_one_id_a_container_runs_and_what_it_cannot_be_is_said() {
    if !learner_is_there() {
        return;
    }
    let root = open_directory();
    let run = |words: &[&str]| text(&alone(root.path(), &[&["run", "--rm", "--network", "none"], words].concat()));
    assert_eq!(run(&["host", "/bin/sh", "-c", "id -u"]), "0\n");
    let other = run(&["-u", "1000", "host", "/bin/sh", "-c", "id -u"]);
    assert!(
        other.contains("no such id in this user namespace; gid_map: 0 ") || other.contains("uid_map: 0 "),
        "{other}"
    );
    assert!(other.contains("hint: ") && other.contains("cooper system doctor"), "{other}");
    let chown = run(&["host", "/bin/sh", "-c", ": > /tmp/f && /bin/chown 7 /tmp/f || echo refused"]);
    assert!(chown.contains("Invalid argument") && chown.contains("refused\n"), "{chown}");
    clean_up(root.path());
}

#[test]
fn with_one_id_a_build_cannot_give_files_away_and_says_what_would_help() {
    if !learner_is_there() {
        return;
    }
    let root = open_directory();
    std::fs::write(root.path().join("f"), "").unwrap();
    std::fs::write(root.path().join("Dockerfile"), "FROM host\nCOPY --chown=5:6 f /f\n").unwrap();
    for file in ["f", "Dockerfile"] {
        std::fs::set_permissions(root.path().join(file), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let built = text(&alone(root.path(), &["build", "-f", "Dockerfile", "."]));
    assert!(built.contains("Dockerfile:2") && built.contains("EINVAL"), "{built}");
    assert!(built.contains("hint: containers of this user have few ids"), "{built}");
    clean_up(root.path());
}

#[test]
fn the_doctor_tells_an_ordinary_user_what_is_missing_for_more_ids() {
    if !learner_is_there() || !needs::program("newuidmap") {
        return;
    }
    let root = open_directory();
    // In a mount namespace of its own nothing is where it was: the machine's newuidmap stays as it is.
    let script = "mount --bind /dev/null /usr/bin/newuidmap && exec runuser -u learner -- \"$0\" system doctor";
    let words = ["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_cooper")];
    let output = Command::new("unshare").args(words).current_dir(root.path()).output().unwrap();
    let said = text(&output);
    assert!(said.contains("weak newuidmap"), "{said}");
    assert!(said.contains("sudo apt install uidmap") || said.contains("sudo chmod u+s /usr/bin/newuidmap"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
}

/// A user namespace's own limit can be lowered from inside, so nothing of the machine is touched.
#[test]
fn where_no_user_namespace_is_allowed_doctor_and_run_say_so_with_the_remedy() {
    if !learner_is_there() || !needs::program("newuidmap") || !needs::program("setpriv") {
        return;
    }
    let root = open_directory();
    let within = |words: &str| {
        let script = format!(
            "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --reuid=1 --regid=1 --clear-groups \
             env HOME=/nowhere {} --root {}/store {words}",
            env!("CARGO_BIN_EXE_cooper"),
            root.path().display()
        );
        let inside = ["unshare", "-U", "--map-auto", "--map-root-user", "sh", "-c", &script];
        Command::new("runuser").args(["-u", "learner", "--"]).args(inside).current_dir("/").output().unwrap()
    };
    let before = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    let doctor = within("system doctor");
    let said = text(&doctor);
    assert!(said.contains("MISS user namespaces  none are allowed"), "{said}");
    assert!(said.contains("-> sudo sysctl -w user.max_user_namespaces=15000"), "{said}");
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    let run = within("run --rm hello");
    let said = text(&run);
    assert!(said.contains(r#"unshare "user": ENOSPC"#), "{said}");
    assert!(said.contains("hint: none are allowed: sudo sysctl -w user.max_user_namespaces=15000"), "{said}");
    assert_eq!(run.status.code(), Some(125), "{said}");
    assert_eq!(std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap(), before);
}

#[test]
fn the_doctors_findings_are_json_too() {
    let output = Command::new(env!("CARGO_BIN_EXE_cooper")).args(["system", "doctor", "--format", "json"]).output();
    let findings: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let kernel = &findings[0];
    assert_eq!((&kernel["what"], &kernel["grade"]), (&"kernel".into(), &"good".into()), "{findings}");
}

#[test]
fn an_ordinary_user_s_containers_share_memory_too() {
    if !learner_is_there() || !needs::program("newuidmap") {
        return;
    }
    let root = open_directory();
    let cooper = |words: &[&str]| {
        let mut command = Command::new("runuser");
        command.args(["-u", "learner", "--", env!("CARGO_BIN_EXE_cooper"), "--root"]).arg(root.path().join("store"));
        text(&command.args(words).current_dir(root.path()).output().unwrap())
    };
    let lender = ["run", "-d", "--name", "lender", "--network", "none", "--ipc", "shareable", "host", "sh", "-c"];
    cooper(&[&lender[..], &["echo lent > /dev/shm/lent; readlink /proc/self/ns/ipc; exec sleep 1000"]].concat());
    let join = ["run", "--rm", "--network", "none", "--ipc", "container:lender", "host", "sh", "-c"];
    let wait = "until test -s /dev/shm/lent; do sleep 0.1; done; cat /dev/shm/lent; readlink /proc/self/ns/ipc";
    let joined = cooper(&[&join[..], &[wait]].concat());
    let theirs = cooper(&["logs", "lender"]);
    assert!(theirs.starts_with("ipc:["), "{theirs}");
    assert_eq!(joined, format!("lent\n{theirs}"));
    cooper(&["stop", "-t", "0", "lender"]);
    let late = cooper(&[&join[..], &["true"]].concat());
    assert!(late.contains("it does not run, and so has no namespaces to join"), "{late}");
    cooper(&["rm", "-f", "lender"]);
    clean_up(root.path());
}
