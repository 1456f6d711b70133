//! Every exercise of the workspace: the starter fails as stated, the reference passes, each mutant is caught, and what a
//! reader is told is what an author has read.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::prelude::*;
use lab::workspace::Workspace;
use lab::{hole, starter};

fn lab() -> Command {
    let mut lab = Command::cargo_bin("lab").unwrap();
    lab.arg("-C").arg(Path::new(env!("CARGO_MANIFEST_DIR")));
    lab
}

fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// Whether exercises can be run here; if not, says so, and fails where a skip is not accepted.
fn user_namespaces() -> bool {
    let (_, findings) = output(lab().arg("doctor"));
    let usable = findings.lines().any(|line| line.starts_with("ok   user namespaces"));
    if !usable {
        assert!(std::env::var("CI").is_err(), "CI must have user namespaces:\n{findings}");
        // Not eprintln!: the test harness swallows what a passing test prints, and a skip must be seen.
        std::io::stderr().write_all(format!("SKIP: user namespaces\n{findings}").as_bytes()).unwrap();
    }
    usable
}

#[test]
fn each_wrong_answer_is_told_what_the_kernel_says() {
    if !user_namespaces() {
        return;
    }
    let (success, text) = output(lab().args(["verify", "--messages"]));
    let mut settings = insta::Settings::clone_current();
    // Mount ids, device and options of this machine's root; process, mount and namespace numbers.
    settings.add_filter(r"found     \d+ \d+ \d+:\d+ / / .*", "found     [ID] [PARENT] [DEVICE] / / [OPTIONS]");
    settings.add_filter(r"found     \d+ \d+ \d+:\d+ / (/\S+) .*", "found     [ID] [PARENT] [DEVICE] / $1 [OPTIONS]");
    settings.add_filter(r"\.rs:\d+:\d+", ".rs:[LINE]");
    settings.add_filter(r"\(\d+\) panicked", "([PID]) panicked");
    settings.add_filter(r"pid \d+", "pid [PID]");
    settings.add_filter(r"\b4[0-2]\d{8}\b", "[INODE]");
    settings.add_filter(r"/lab-[0-9A-Za-z]{6}", "/[SCRATCH]");
    // Where this test stands.
    settings.add_filter(r#""[^"\n]*/tools/lab""#, "\"[HERE]\"");
    settings.add_filter(r"\d+ zombies whose", "[COUNT] zombies whose");
    settings.bind(|| insta::assert_snapshot!(text));
    assert!(success);
}

#[test]
fn an_unknown_exercise_is_answered_with_those_that_there_are() {
    let (success, text) = output(lab().args(["check", "swim"]));
    assert!(!success);
    let expected = "lab: no exercise is called \"swim\"; there are: look-up, reset-signals, pass-on, reap-all, ";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_starter_has_its_holes_and_its_history_and_no_solutions() {
    let directory = tempfile::tempdir().unwrap();
    let workspace = directory.path().join("mine");
    let (success, text) = output(lab().arg("init").arg(&workspace));
    assert!(success, "{text}");
    let source = std::fs::read_to_string(workspace.join("chapters/03-rootfs/src/pivot.rs")).unwrap();
    assert!(source.contains("{\n    todo!(\"pivot-root: see chapter 3\")\n}"), "{source}");
    assert!(!workspace.join("chapters/03-rootfs/lab/mutants.toml").exists());
    let (_, log) = output(Command::new("git").arg("-C").arg(&workspace).args(["log", "--format=%s"]));
    assert_eq!(log, "Start: the sources, with holes\n");
    let (success, text) = output(lab().arg("init").arg(&workspace));
    assert!(!success && text.contains("exists and is not empty"), "{text}");
}

#[test]
fn a_workspace_whose_holes_are_filled_is_the_engine_letter_by_letter() {
    let directory = tempfile::tempdir().unwrap();
    let cooper = Workspace::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mine = directory.path().join("mine");
    let original = starter::sources(&cooper).unwrap();
    for exercise in starter::init(&cooper, &mine).unwrap() {
        let text = String::from_utf8(original[&exercise.source()].clone()).unwrap();
        let reference = hole::find(&text, &exercise.id).unwrap();
        starter::replace_body(&mine, &exercise, &text[reference.body]).unwrap();
    }
    for (path, bytes) in original {
        assert!(std::fs::read(mine.join(&path)).unwrap() == bytes, "{} differs", path.display());
    }
}

/// The first steps of a reader: a hint, a look at the picture, a first answer, and the loop that notices it.
#[test]
fn a_reader_is_told_what_comes_next_and_sees_the_first_exercise_pass() {
    if !user_namespaces() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mine = directory.path().join("mine");
    let cooper = Workspace::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let exercise = starter::init(&cooper, &mine).unwrap().remove(0);
    let told = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("lab").unwrap();
        output(command.arg("-C").arg(&mine).args(arguments)).1
    };
    assert!(
        told(&["next"]).starts_with("look-up: Find the program that a name means\nchapters/01-process/src/program.rs:")
    );
    assert!(told(&["hint", "look-up"]).starts_with("hint 1 of 3. Where to look:"));
    assert!(told(&["hint", "look-up"]).starts_with("hint 2 of 3. How to think:"));
    assert_eq!(told(&["diff", "look-up"]), "lab: look-up has not passed yet: the reference is for afterwards\n");
    let picture = told(&["progress"]);
    assert!(
        picture.starts_with("chapter  1   [>] look-up  [ ] reset-signals  [ ] pass-on  [ ] reap-all  "),
        "{picture}"
    );

    let mut watch = Command::cargo_bin("lab").unwrap();
    let mut watch = watch.arg("-C").arg(&mine).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "look-up: your function is not written yet"), "the starter is noticed");
    assert!(lines.any(|line| line.starts_with("keys: ")));
    let text = std::fs::read_to_string(cooper.root().join(exercise.source())).unwrap();
    let reference = hole::find(&text, "look-up").unwrap();
    starter::replace_body(&mine, &exercise, &text[reference.body]).unwrap();
    let saved = Instant::now();
    assert!(lines.any(|line| line.starts_with("look-up: Find the program")));
    assert!(saved.elapsed() < Duration::from_secs(1), "it took {:?} to notice", saved.elapsed());
    assert!(lines.any(|line| line.starts_with("look-up: passed, in ")), "the answer passes");
    watch.stdin.take().unwrap().write_all(b"q").unwrap();
    assert!(watch.wait().unwrap().success());
    assert_eq!(told(&["diff", "look-up"]), "look-up: yours and the reference are the same, letter by letter.\n");
    let picture = told(&["progress"]);
    assert!(
        picture.starts_with("chapter  1   [x] look-up  [>] reset-signals  [ ] pass-on  [ ] reap-all  "),
        "{picture}"
    );
    assert!(picture.contains(" 1 of  8 points\n"), "{picture}");
    assert!(told(&["next"]).starts_with("reset-signals: "));
}

#[test]
fn reset_saves_what_the_reader_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let workspace = directory.path().join("mine");
    assert!(output(lab().arg("init").arg(&workspace)).0);
    let path = workspace.join("chapters/03-rootfs/src/pivot.rs");
    let starter = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, starter.replace("todo!(\"pivot-root: see chapter 3\")", "Ok(()) // my first try")).unwrap();
    let mut reset = Command::cargo_bin("lab").unwrap();
    let (success, text) = output(reset.arg("-C").arg(&workspace).args(["reset", "pivot-root"]));
    assert!(success, "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), starter);
    assert!(std::fs::read_to_string(workspace.join(".lab/pivot-root-1.rs")).unwrap().contains("my first try"));
}

#[test]
fn the_harness_refuses_to_run_outside_its_own_namespaces() {
    let plan = r#"{"program":"/bin/true","environment":[],"scratch":"/tmp","seed":0,"name":"r0","forbidden":0,"id":"x",
        "number":1,"source":"x","unwritten":"x","checks":[]}"#;
    let (success, text) = output(lab().args(["inside", "first"]).env("LAB_PLAN", plan));
    assert!(!success);
    assert_eq!(text, "lab: refused: not the first process of a pid namespace\n");
}

/// `lab list | head -n 1`: whoever has read enough goes away, and that is nobody's fault.
#[test]
fn a_list_that_nobody_reads_to_its_end_ends_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = lab().arg("list").stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(!output.status.success());
}
