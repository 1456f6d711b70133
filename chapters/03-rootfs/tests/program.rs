//! What chapter 3's program shows, and what its naive example cannot hold.
#![allow(clippy::unwrap_used)]

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

/// What an example prints. It is built with the tests.
fn example(name: &str) -> String {
    let example = cargo_bin("ch03-rootfs").parent().unwrap().join("examples").join(name);
    let output = Command::new(&example).output().unwrap();
    assert!(output.status.success(), "{example:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_climbs_out_of_chroot_and_not_out_of_pivot_root() {
    if !needs::user_namespaces() {
        return;
    }
    insta::assert_snapshot!(example("climb_out"));
}

#[test]
fn a_mount_reaches_the_machine_unless_it_is_cut_off_first() {
    if !needs::user_namespaces() {
        return;
    }
    insta::assert_snapshot!(example("mount_reaches_out"));
}

#[test]
fn a_mask_is_worth_what_the_next_chapters_take_away() {
    if !needs::user_namespaces() {
        return;
    }
    insta::assert_snapshot!(example("uncover_mask"));
}

#[test]
fn a_path_is_shown_as_a_string_and_as_it_is_resolved() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/hosts"), "").unwrap();
    std::os::unix::fs::symlink("/etc", root.join("there")).unwrap();
    let shown = |path: &str| {
        let output = ch03(&["--root", root.to_str().unwrap(), "--resolve", path]);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let story = ["there/hosts", "../../../../../../../etc/hosts", "nowhere"].map(shown).join("\n");
    let mut settings = settings();
    settings.add_filter(&home.path().canonicalize().unwrap().display().to_string(), "[HOME]");
    settings.bind(|| insta::assert_snapshot!(story));
}

#[test]
fn outside_and_inside_are_shown_side_by_side() {
    if !needs::user_namespaces() {
        return;
    }
    let output = ch03(&["--show", "--", "true"]);
    let mut settings = settings();
    settings.add_filter(r"(?m)^(mounts|names in /) +\d+ +\d+", "$1 [COUNT] [COUNT]");
    settings.add_filter(
        r"(?m)^(/ is) +\S+ of a file system \S+ +\S+ of a file system \S+",
        "$1 / of a file system [TYPE] [DIRECTORY] of a file system [TYPE]",
    );
    settings.bind(|| insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap()));
}

#[test]
fn the_procfs_inside_can_be_told_to_show_less() {
    if !needs::user_namespaces() {
        return;
    }
    let files = |options: &[&str]| {
        let command = ["--", "sh", "-c", "test -e /proc/meminfo && echo all; test -e /proc/self/status && echo own"];
        String::from_utf8(ch03(&[options, &command].concat()).stdout).unwrap()
    };
    assert_eq!(files(&[]), "all\nown\n");
    assert_eq!(files(&["--proc", "hidepid=2,subset=pid"]), "own\n");
    let refused = ch03(&["--proc", "hidepid=elephant", "--", "true"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("fsconfig \"hidepid=elephant\""));
}
