//! The chapter's program, as a reader runs it.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn output(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ch06-privileges")).args(arguments).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether this process holds what the deeds need, so that "before" is what root may do.
fn powerful() -> bool {
    process::needs::root() && {
        let held = privileges::Capabilities::of("self").unwrap().effective;
        let needed: privileges::CapSet = "SYS_ADMIN NET_RAW MKNOD SYS_NICE SETPCAP".parse().unwrap();
        let powerful = held.and(needed) == needed;
        assert!(powerful || std::env::var_os("CI").is_none(), "CI lacks capabilities");
        if !powerful {
            eprintln!("SKIP: needs {needed}");
        }
        powerful
    }
}

#[test]
fn root_loses_most_deeds_and_keeps_some() {
    if !powerful() {
        return;
    }
    // Whether this kernel has its crypto sockets at all differs; the filter's answer does not.
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(crypto code +nothing +)\w+ +", "$1[BEFORE] ");
    settings.bind(|| insta::assert_snapshot!(output(&["compare"])));
}

#[test]
fn the_five_sets_no_new_privs_and_the_filter_are_in_the_kernels_own_words() {
    if !powerful() {
        return;
    }
    insta::assert_snapshot!(output(&["run", "--", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"]));
}

#[test]
fn somebody_who_is_not_root_holds_nothing() {
    if !powerful() {
        return;
    }
    let script = "id -u; id -g; id -G; grep -E '^Cap(Eff|Prm)' /proc/self/status";
    insta::assert_snapshot!(output(&["run", "--user", "12345:23456", "--", "sh", "-c", script]));
}

#[test]
fn without_no_new_privs_the_filter_is_loaded_early_and_still_holds() {
    if !powerful() {
        return;
    }
    let text = output(&[
        "run",
        "--new-privileges",
        "--",
        "sh",
        "-c",
        "grep -E '^(NoNew|Seccomp:)' /proc/self/status; unshare -U true",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn users_that_could_be_misread_are_refused() {
    for user in ["1:", ":1", "-1", "4294967296", "0x0"] {
        let text = output(&[&format!("--user={user}"), "run", "--", "id"]);
        assert!(text.starts_with("ch06-privileges: user "), "{user}: {text}");
    }
}

#[test]
fn the_filter_can_be_asked() {
    assert_eq!(output(&["ask", "mount"]), "mount: EPERM\n");
    assert_eq!(output(&["ask", "mount", "--cap-add", "SYS_ADMIN"]), "mount: allow\n");
    assert_eq!(output(&["ask", "socket", "40"]), "socket: EAFNOSUPPORT\n");
}

#[test]
fn every_rule_of_the_order_breaks_something_when_it_is_turned_around() {
    if powerful() {
        insta::assert_snapshot!(output(&["order"]));
    }
}

#[test]
fn a_supervisor_sees_a_call_and_lets_it_go_on_or_refuses_it() {
    if !powerful() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("ch06-watch-{}", std::process::id()));
    let directory = directory.to_str().unwrap();
    let script = format!("mkdir {directory} && rmdir {directory}; echo $?");
    let run = |how: &[&str]| output(&[&["watch", "mkdir,rmdir"], how, &["--", "sh", "-c", &script]].concat());
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"process \d+", "process [PID]");
    settings.add_filter(r"0x[0-9a-f]+", "[VALUE]");
    settings.add_filter(directory, "[DIRECTORY]");
    settings.bind(|| {
        insta::assert_snapshot!("watch_go_on", run(&[]));
        insta::assert_snapshot!("watch_deny", run(&["--deny"]));
    });
}

#[test]
fn a_supervisor_is_asked_about_every_process_behind_the_filter_until_the_last_has_ended() {
    if !powerful() {
        return;
    }
    let text = output(&["watch", "getppid", "--", "sh", "-c", "for i in 1 2 3; do sh -c : & done; wait"]);
    let asked = text.lines().filter(|line| line.contains("calls getppid")).count();
    assert!(asked >= 4, "{text}");
}

/// The program as `learner`, who is root of a user namespace with one id.
fn as_learner(arguments: &[&str]) -> Option<String> {
    if !process::needs::root() || !process::needs::account("learner") || !process::needs::user_namespaces() {
        return None;
    }
    let program = ["-u", "learner", "--", env!("CARGO_BIN_EXE_ch06-privileges")];
    let output = Command::new("runuser").args(program).args(arguments).current_dir("/").output().unwrap();
    Some(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn an_ordinary_users_root_may_less_before_and_the_same_after() {
    let Some(text) = as_learner(&["compare"]) else { return };
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(crypto code +nothing +)\w+ +", "$1[BEFORE] ");
    settings.bind(|| insta::assert_snapshot!(text));
}

#[test]
fn an_ordinary_user_who_wants_to_be_somebody_else_is_told_which_ids_there_are() {
    let Some(text) = as_learner(&["run", "--user", "12345:0", "--", "true"]) else { return };
    assert!(text.contains(r#"setresuid "12345" (no such id in this user namespace; uid_map: 0 "#), "{text}");
}

#[test]
fn an_ordinary_user_watches_calls_too() {
    let Some(text) = as_learner(&["watch", "getppid", "--deny", "--", "sh", "-c", "exit 3"]) else { return };
    assert!(text.contains("calls getppid(") && text.contains(": EPERM"), "{text}");
}
