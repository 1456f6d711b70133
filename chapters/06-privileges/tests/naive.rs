//! The naive way to take root's power, broken, beside the library's, which is not.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn emptied_sets_are_full_again_after_execve_and_limited_ones_are_not() {
    if !process::needs::user_namespaces() {
        return;
    }
    let example = Path::new(env!("CARGO_BIN_EXE_ch06-privileges")).with_file_name("examples").join("emptied_sets");
    let output = Command::new(&example).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let expected =
        "emptied sets: after execve, root may mount again\nlimited bounding set: after execve, root holds nothing\n";
    assert_eq!(text, expected);
}
