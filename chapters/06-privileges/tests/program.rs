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

#[test]
fn root_itself_writes_nowhere_but_inside_its_fence() {
    if privileges::landlock::version().is_none_or(|version| version < 4) {
        assert!(std::env::var_os("CI").is_none(), "CI lacks Landlock, version 4");
        eprintln!("SKIP: needs Landlock, version 4 (Linux 6.7)");
        return;
    }
    if !process::needs::program("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("inside")).unwrap();
    std::fs::write(dir.path().join("outside"), "as it was").unwrap();
    let inside = dir.path().join("inside");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Write, make, cut off, rename out, bind, connect: all that a rule is for, and reading, which is left alone.
    let script = format!(
        "cd {}
        python3 - <<'END'
import errno, os, socket
def attempt(what, deed):
    try: deed(); print(what, 'ok')
    except OSError as error: print(what, errno.errorcode[error.errno])
attempt('write inside', lambda: open('inside/file', 'w').write('x'))
attempt('read outside', lambda: open('outside').read())
attempt('write outside', lambda: open('outside', 'w'))
attempt('cut off outside', lambda: os.truncate('outside', 0))
attempt('make outside', lambda: os.mkdir('new'))
attempt('rename out', lambda: os.rename('inside/file', 'file'))
attempt('connect', lambda: socket.create_connection(('127.0.0.1', {port})).close())
attempt('connect elsewhere', lambda: socket.create_connection(('127.0.0.1', 9)))
attempt('bind', lambda: socket.create_server(('127.0.0.1', 0)))
END",
        dir.path().display()
    );
    let (inside, port) = (inside.to_str().unwrap(), port.to_string());
    insta::assert_snapshot!(output(&[
        "fence",
        "--write",
        inside,
        "--write",
        "/dev/null",
        "--connect",
        &port,
        "--",
        "sh",
        "-c",
        &script
    ]));
    assert_eq!(std::fs::read_to_string(dir.path().join("outside")).unwrap(), "as it was");
}

#[test]
fn each_answer_of_the_filter_has_a_reason() {
    insta::assert_snapshot!(output(&[
        "why",
        "read",
        "mount",
        "ptrace",
        "clone",
        "socket",
        "keyctl",
        "io_uring_setup",
        "a_call_of_tomorrow"
    ]));
}
