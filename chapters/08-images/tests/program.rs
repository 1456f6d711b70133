//! What chapter 8's program prints.
#![allow(clippy::unwrap_used)]

use assert_cmd::Command;

fn run(store: &std::path::Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::cargo_bin("ch08-images").unwrap();
    let output = command.arg("--store").arg(store).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap().replace(&store.display().to_string(), "[STORE]");
    (output.status.code().unwrap(), text)
}

#[test]
fn a_built_in_image_is_made_listed_shown_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut said = String::new();
    for arguments in [&["builtin", "hello"][..], &["list"], &["show", "hello"], &["verify"], &["gc"]] {
        let (code, text) = run(&store, arguments);
        assert_eq!(code, 0, "{text}");
        said += &format!("$ ch08-images {}\n{text}", arguments.join(" "));
    }
    // Nothing is redacted: the digests are the same on every machine.
    insta::assert_snapshot!(said);
}

#[test]
fn damage_is_told_and_changes_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (_, id) = run(dir.path(), &["builtin", "hello"]);
    std::fs::remove_file(dir.path().join("blobs").join(id.trim().replace(':', "/"))).unwrap();
    insta::assert_snapshot!(format!("{:?}", run(dir.path(), &["verify"])));
}

#[test]
fn what_is_not_there_is_an_error_with_a_name() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(run(&dir.path().join("none"), &["list"]).1);
    run(dir.path(), &["builtin", "hello"]);
    insta::assert_snapshot!(run(dir.path(), &["show", "nothing"]).1);
    insta::assert_snapshot!(run(dir.path(), &["name", "Python:3"]).1);
}
