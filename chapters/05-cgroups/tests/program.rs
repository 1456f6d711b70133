//! The chapter's program, as a reader runs it.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn output(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ch05-cgroups")).args(arguments).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Values that differ between machines and generations, by name.
fn filters() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m)^(memory|cpu|pids)\.[a-z_.]+ <- .*\n", "");
    settings.add_filter(r"cpu: \d+ ms used", "cpu: [USED] ms used");
    settings.add_filter(r"running: \d+ ms", "running: [USED] ms");
    settings.add_filter(
        r"waited for \d+ ms, everybody at once for \d+ ms",
        "waited for [TIME], everybody at once for [TIME]",
    );
    settings
        .add_filter(r"throttled in \d+ of \d+ periods, for \d+ ms", "throttled in [PERIODS] periods, for [TIME] ms");
    settings
}

fn usable() -> bool {
    process::needs::root() && cgroups::Hierarchy::detect().is_usable()
}

/// What differs between the generations has a snapshot for each.
fn generation() -> &'static str {
    if cgroups::Hierarchy::detect().version() == Some(cgroups::Version::V2) { "on_v2" } else { "on_v1" }
}

#[test]
fn a_guest_that_wants_too_much_memory_is_killed_and_counted() {
    if !usable() {
        return;
    }
    filters().bind(|| insta::assert_snapshot!(output(&["oom", "--memory", "16"])));
}

#[test]
fn a_spinning_guest_is_throttled() {
    if !usable() {
        return;
    }
    let text = output(&["throttle", "--milliseconds", "500"]);
    filters().bind(|| insta::assert_snapshot!(text));
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    if !usable() {
        return;
    }
    filters().bind(|| insta::assert_snapshot!(output(&["forkbomb", "--pids", "8"])));
}

#[test]
fn the_exit_code_is_the_commands() {
    if !usable() {
        return;
    }
    let run = |script: &str| {
        let program = env!("CARGO_BIN_EXE_ch05-cgroups");
        Command::new(program).args(["run", "--pids", "20", "--", "sh", "-c", script]).output().unwrap().status.code()
    };
    assert_eq!(run("exit 7"), Some(7));
    assert_eq!(run("kill -9 $$"), Some(137));
}

#[test]
fn a_command_is_in_its_group_from_its_first_instruction() {
    if !usable() {
        return;
    }
    let text = output(&["run", "--", "cat", "/proc/self/cgroup"]);
    let hierarchy = cgroups::Hierarchy::detect();
    let is_inside = |line: &str| line.split(':').nth(2).is_some_and(|path| path.starts_with("/cooper/ch05-"));
    if hierarchy.version() == Some(cgroups::Version::V2) {
        assert!(text.lines().any(|line| line.starts_with("0::") && is_inside(line)), "{text}");
        return;
    }
    // v1: a place in every tree, but in the one for which nobody asked.
    for controller in ["memory", "cpu", "cpuacct", "pids", "blkio", "devices", "freezer"] {
        let of_tree =
            |line: &&str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|n| n == controller));
        let line = text.lines().find(of_tree);
        assert!(line.is_none_or(is_inside), "{controller}: {text}");
    }
}

#[test]
fn a_frozen_guest_uses_nothing_and_on_v1_does_not_even_die() {
    if !usable() {
        return;
    }
    filters().bind(|| insta::assert_snapshot!(format!("freeze_{}", generation()), output(&["freeze"])));
}

#[test]
fn a_guest_is_refused_a_device_by_a_program_that_can_be_read() {
    if !usable() {
        return;
    }
    filters().bind(|| insta::assert_snapshot!(output(&["devices"])));
}

#[test]
fn a_crowd_waits_and_v2_counts_for_how_long() {
    if !usable() {
        return;
    }
    filters().bind(|| insta::assert_snapshot!(format!("pressure_{}", generation()), output(&["pressure"])));
}

#[test]
fn who_is_moved_in_after_the_start_leaves_children_outside() {
    if !usable() {
        return;
    }
    let examples = std::path::Path::new(env!("CARGO_BIN_EXE_ch05-cgroups")).with_file_name("examples");
    let output = Command::new(examples.join("late_entry")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn what_was_found_is_explained() {
    let text = output(&["where"]);
    assert!(text.starts_with("found: "), "{text}");
    let verdict = text.lines().last().unwrap();
    assert!(verdict == "groups can be made" || verdict.starts_with("no group can be made: "), "{text}");
}
