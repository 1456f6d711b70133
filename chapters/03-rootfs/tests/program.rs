//! What chapter 3's program shows, and what its naive example cannot hold.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use process::needs;

fn ch03(arguments: &[&str]) -> std::process::Output {
    Command::new(cargo_bin("ch03-rootfs")).args(arguments).output().unwrap()
}

/// Everything that a machine decides, by its name.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"ch03-rootfs\.\d+", "ch03-rootfs.[PID]");
    settings.add_filter(r"(?m)^ch 2  write .*\n", "");
    settings
}

#[test]
fn the_root_holds_what_was_put_there_and_leads_nowhere() {
    if !needs::user_namespaces() {
        return;
    }
    let output =
        ch03(&["--", "sh", "-c", "cd /..; ls -d bin dev proc sys usr; hostname; ls /dev; test -e /etc/passwd"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn the_story_names_each_step_in_order() {
    if !needs::root() {
        return;
    }
    let output = ch03(&["--explain", "--", "true"]);
    // Kernels differ in which of these exist; the order of everything else is ours.
    let story: String = String::from_utf8(output.stderr).unwrap();
    let story: Vec<&str> = story.lines().filter(|line| !line.contains("tells too much")).collect();
    settings().bind(|| insta::assert_snapshot!(story.join("\n")));
}

#[test]
fn a_root_that_does_not_exist_is_named() {
    let output = ch03(&["--root", "/nonexistent/root", "--", "sh"]);
    assert_eq!(output.status.code(), Some(125));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}

#[test]
fn proc_as_a_link_of_the_image_is_refused() {
    if !needs::user_namespaces() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", root.path().join("proc")).unwrap();
    let output = ch03(&["--root", root.path().to_str().unwrap(), "--", "/bin/sh"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(r#"mount on "proc": a symbolic link of the image is in its place"#), "{message}");
}

#[test]
fn one_climbs_out_of_chroot_and_not_out_of_pivot_root() {
    if !needs::user_namespaces() {
        return;
    }
    let example = cargo_bin("ch03-rootfs").parent().unwrap().join("examples/climb_out");
    assert!(Path::new(&example).exists(), "{example:?} is built with the tests");
    let output = Command::new(example).output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}
