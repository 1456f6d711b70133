//! Containers at a real terminal: a full-screen program beside the same program without a container (the same keys, the same
//! screen), and a shell in a container that a daemon runs.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use process::needs;
use tests::engine::{Cooper, Who};
use tests::terminal::Terminal;

/// As busybox's vi draws it when it is new: tildes to the last line but one.
fn drawn(screen: &str, rows: usize) -> bool {
    let lines: Vec<&str> = screen.lines().collect();
    lines.len() == rows && lines[rows - 2].starts_with('~') && !lines[rows - 1].trim().is_empty()
}

/// All but the last line, which vi draws when it next has time for it.
fn text(screen: &str) -> Vec<&str> {
    let lines: Vec<&str> = screen.lines().collect();
    lines[..lines.len().saturating_sub(1)].to_vec()
}

/// The same keys at both terminals, until both screens are the same and as `wanted`.
#[track_caller]
fn both(at: [&Terminal; 2], keys: &[&str], wanted: impl Fn(&str) -> bool) {
    at.iter().for_each(|terminal| terminal.press(keys));
    let alone = at[0].until("the program alone", &wanted);
    at[1].until(&format!("as the program alone, after {keys:?}:\n{alone}"), |screen| {
        let now = at[0].screen();
        screen == now && wanted(&now)
    });
}

#[test]
fn an_editor_draws_resizes_is_left_and_found_again_with_its_screen() {
    if !needs::root() || !["tmux", "busybox"].iter().all(|name| needs::program(name)) {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    cooper.write("draft", "one\ntwo\n");
    let volume = format!("{}:/work", cooper.work().display());
    let program = |words: &str| {
        let command = cooper.command(&[]);
        format!("COOPER_ROOT={} {} {words}", cooper.root().display(), command.get_program().display())
    };
    let run = format!("run -it --name desk --network none -v {volume} -w /work host sh");
    let (alone, inside) = (Terminal::open("exec sh"), Terminal::open(&program(&run)));
    let copy = tempfile::tempdir().unwrap();
    let copied = std::fs::copy(cooper.work().join("draft"), copy.path().join("draft"));
    copied.unwrap();
    alone.enter(&format!("cd {}; clear", copy.path().display()));
    inside.enter("stty size");
    inside.shows("24 80");
    inside.enter("clear");

    // Typed before the editor has its terminal, keys would be the shell's.
    let at = [&alone, &inside];
    at.iter().for_each(|terminal| terminal.enter("busybox vi draft"));
    both(at, &[], |screen| drawn(screen, 24) && screen.starts_with("one\ntwo\n~"));
    // One at a time: keys that come right after Escape are taken for the rest of a cursor key.
    let status = |screen: &str, wanted: &str| screen.lines().last().is_some_and(|line| line.starts_with(wanted));
    both(at, &["G"], |screen| screen.contains(" 2/2 "));
    both(at, &["o"], |screen| status(screen, "I "));
    both(at, &["three"], |screen| screen.starts_with("one\ntwo\nthree\n~"));
    both(at, &["Escape"], |screen| status(screen, "- "));
    both(at, &["k"], |screen| screen.contains(" 2/3 "));
    both(at, &["x"], |screen| screen.starts_with("one\ntw\nthree\n~"));
    for (columns, rows) in [(100, 30), (50, 12)] {
        at.iter().for_each(|terminal| terminal.resize(columns, rows));
        both(at, &[], |screen| drawn(screen, rows.into()));
    }

    let before = inside.screen();
    inside.press(&["C-p", "C-q"]);
    inside.until("the shell that started it, with its echo", |screen| screen.contains("ended 0\n echo"));
    assert_eq!(cooper.run(&["inspect", "--format", "{{.State.Running}}", "desk"]).ok().trim(), "true");
    // Another terminal of another size; then as large as the first was.
    let again = Terminal::open(&program("attach desk"));
    again.until("the editor, found again", |screen| screen.starts_with("one\ntw\nthree\n~"));
    again.resize(50, 12);
    again.until(&format!("the screen that was left:\n{before}"), |screen| text(screen) == text(&before));
    let at = [&alone, &again];
    both(at, &["A", "!"], |screen| screen.starts_with("one\ntw!\nthree\n~"));
    both(at, &["Escape"], |screen| status(screen, "- "));

    at.iter().for_each(|terminal| terminal.enter(":wq"));
    again.enter("clear; stty size; cat draft; exit 7");
    again.until("the container's end", |screen| {
        screen.starts_with("12 50\none\ntw!\nthree\n") && screen.contains("ended 7")
    });
    assert_eq!(std::fs::read_to_string(cooper.work().join("draft")).unwrap(), "one\ntw!\nthree\n");
    cooper.finish();
}

/// A daemon, which ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_gives_a_container_the_terminal_of_who_calls_it() {
    if !needs::root() || !["tmux", "busybox"].iter().all(|name| needs::program(name)) {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    let socket = cooper.work().join("far.sock");
    let mut command = cooper.command(&["daemon", "-H", socket.to_str().unwrap()]);
    let mut daemon = Daemon(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("API listen on "), "{said:?}");

    let program = command.get_program().display().to_string();
    let far = format!("{program} -H unix://{}", socket.display());
    let inside = Terminal::open(&format!("{far} run -it --rm --name far --network none host sh"));
    inside.enter("stty size");
    inside.shows("24 80");
    inside.resize(100, 30);
    inside.until("its new size", |screen| screen.lines().count() == 30);
    inside.enter("stty size");
    inside.shows("30 100");
    inside.press(&["C-p", "C-q"]);
    inside.until("the shell that started it, with its echo", |screen| screen.contains("ended 0\n echo"));
    let again = Terminal::open(&format!("{far} attach far"));
    again.enter("echo $((6 * 7)); exit 7");
    again.shows("42");
    again.until("the container's end", |screen| screen.contains("ended 7\n echo"));
    drop(daemon);
    cooper.finish();
}
