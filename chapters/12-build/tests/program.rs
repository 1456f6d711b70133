//! What the chapter's program says where nothing has to run.

#![allow(clippy::unwrap_used)]

use std::process::Command;

fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ch12-build")).args(arguments).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn help_says_what_it_shows() {
    insta::assert_snapshot!(run(&["--help"]));
}

#[test]
fn a_dockerfile_is_drawn_as_a_graph_and_a_mistake_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("Dockerfile");
    let stages = "FROM host AS a\nRUN make\nFROM host AS b\nRUN test\nFROM scratch\nCOPY --from=a /x /x\n";
    std::fs::write(&file, stages).unwrap();
    let path = file.to_str().unwrap();
    insta::assert_snapshot!("graph", run(&["parse", path]));
    std::fs::write(&file, "FROM host\nHELTHCHECK NONE\n").unwrap();
    insta::assert_snapshot!("mistake", run(&["parse", path]).replace(path, "[FILE]"));
}
