//! The naive forms, each broken, beside the library's, which is not.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use assert_cmd::cargo::cargo_bin;

/// What an example prints.
fn example(name: &str) -> String {
    let program = cargo_bin("ch01-process").parent().unwrap().join("examples").join(name);
    let output = Command::new(&program).output().unwrap();
    assert!(output.status.success(), "{program:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_parent_that_never_reaps_fills_the_limit_with_the_dead() {
    insta::assert_snapshot!(example("zombie_farm"));
}

#[test]
fn a_signal_before_the_parent_listens_is_lost() {
    insta::assert_snapshot!(example("lost_signal"));
}

#[test]
fn a_descriptor_that_was_forgotten_leads_out() {
    insta::assert_snapshot!(example("leaked_descriptor"));
}

#[test]
fn a_terminal_that_is_restored_at_the_end_is_not_restored_by_a_signal() {
    insta::assert_snapshot!(example("raw_terminal"));
}
