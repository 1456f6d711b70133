//! **No kernel call is silent, and their order is the lesson.** What `--explain` tells of a run, of an exec and of a run without
//! root, each as the sequence of its steps.

#![allow(clippy::unwrap_used)]

use process::needs;
use serde_json::Value;
use tests::engine::{Cooper, Said, Who};

/// The steps of a story in their order: chapter, call and purpose, without the values, which vary.
///
/// Steps that repeat are one line: how many hierarchies a machine has, or files to mask, is not the order. On a machine
/// with cgroup v2 alone the lines of chapter 5 are others, so they are told here only as a chapter.
fn steps(told: &Said) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in told.err.lines() {
        let step: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let word = |name: &str| step[name].as_str().unwrap().to_owned();
        let line = match step["chapter"].as_u64().unwrap() {
            5 => "ch 5  limits, and accounting".to_owned(),
            chapter => format!("ch {chapter:<2} {:<16} {}", word("call"), word("purpose")),
        };
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// Both users need root here: a test can become `learner` only from root.
fn engine(who: Who) -> Option<Cooper> {
    let ready = needs::root() && (who == Who::Caller || (needs::account("learner") && needs::user_namespaces()));
    ready.then(|| Cooper::new(who).unwrap())
}

/// A run with the `host` image made beforehand: how an image is made is another story.
fn run(who: Who) -> Option<String> {
    let cooper = engine(who)?;
    cooper.run(&["run", "--rm", "--network", "none", "host", "true"]).ok();
    // While anybody is left in a user's namespace it would be joined and not made.
    cooper.settle();
    let told = cooper.run(&["run", "--explain=json", "--rm", "--network", "none", "host", "true"]);
    assert_eq!(told.code, 0, "{}", told.err);
    cooper.finish();
    Some(steps(&told))
}

#[test]
fn a_run_tells_its_chapters_in_order() {
    if let Some(steps) = run(Who::Caller) {
        insta::assert_snapshot!("run", steps);
    }
}

#[test]
fn a_run_without_root_is_the_same_path_with_other_data() {
    if let Some(steps) = run(Who::Learner) {
        insta::assert_snapshot!("run-rootless", steps);
    }
}

#[test]
fn an_exec_joins_what_a_run_has_made() {
    let Some(cooper) = engine(Who::Caller) else { return };
    cooper.run(&["run", "-d", "--name", "cask", "--network", "none", "host", "sleep", "1000"]).ok();
    let told = cooper.run(&["exec", "--explain=json", "cask", "true"]);
    assert_eq!(told.code, 0, "{}", told.err);
    cooper.run(&["rm", "-f", "cask"]).ok();
    cooper.finish();
    insta::assert_snapshot!("exec", steps(&told));
}
