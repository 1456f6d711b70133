//! Chapter 2: namespaces, as the kernel shows them from outside.

use anyhow::Context;
use nix::sched::CloneFlags;
use std::os::unix::fs::MetadataExt;

use super::Ask;
use crate::scene::Scene;
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("ids-are-mapped", ids_are_mapped),
    ("process-is-entered", process_is_entered),
    ("clocks-are-ahead", clocks_are_ahead),
];

/// An ordinary user's user namespace: one line in each map.
fn ids_are_mapped(scene: &Scene) -> Asked {
    let (uid, gid) = (scene.number(1000, 60000), scene.number(1000, 60000));
    let mut command = scene.as_user(uid, gid);
    command.args(["--keep", "net,time,cgroup", "--"]).arg(scene.probe_outside()).arg("--hold");
    let live = scene.start(&mut command)?;
    // From inside: the file shows ids as its reader's parent namespace has them.
    for (name, id) in [("uid_map", uid), ("gid_map", gid)] {
        let expected = serde_json::json!([{"inside": 0, "outside": id, "count": 1}]);
        if live.report[name] != expected {
            let because =
                "a process whose namespace maps no 0 is nobody: it may do nothing inside (chapter 2, \"The map\")";
            return Err(wrong(
                "your container's ids are not mapped",
                format!("{name}: 0 {id} 1"),
                format!("{name}: {}", live.report[name]),
                because,
            ));
        }
    }
    Ok(())
}

/// Entering a process means all the namespaces in which it differs, and no other.
fn process_is_entered(scene: &Scene) -> Asked {
    let kinds = [
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("net", CloneFlags::CLONE_NEWNET),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    // Two or more of them, another selection in every check; the last is always among them.
    let chosen = scene.number(1, 15) | 16;
    let flags = kinds.iter().enumerate().filter(|(index, _)| chosen & (1 << index) != 0);
    let flags = flags.fold(CloneFlags::empty(), |flags, (_, (_, flag))| flags | *flag);
    let apart = scene.apart(flags)?;
    let pid = apart.pid();
    let mut command = scene.program();
    command.args(["--enter", &pid.to_string(), "--"]).arg(scene.probe_outside()).arg("--hold");
    let live = scene.start(&mut command)?;
    let mut missed = Vec::new();
    for (kind, _) in kinds {
        let of = |pid: u32| std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|link| link.ino());
        let (theirs, ours) = (of(pid).context("the process is gone")?, of(live.pid).context("the probe is gone")?);
        if theirs != ours {
            missed.push(format!("{kind}: the process is in {theirs}, yours in {ours}"));
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    let because = "half inside is nowhere: a program would see one container's network and another's files (chapter 2, \"The code\")";
    Err(wrong(
        "your program is not where the process is",
        "the same number in each of /proc/PID/ns",
        missed.join("\n"),
        because,
    ))
}

/// `--clock` with a fraction, negative or not, as the kernel stores it.
fn clocks_are_ahead(scene: &Scene) -> Asked {
    for sign in ["", "-"] {
        // A fraction with a zero in front: 0.05 is fifty million nanoseconds.
        let (seconds, fraction) = (scene.number(2, 900), scene.number(1, 9));
        let text = format!("{sign}{seconds}.0{fraction}");
        let mut command = scene.program();
        command.args(["--clock", &text, "--"]).arg(scene.probe_outside()).arg("--hold");
        let live = scene.start(&mut command)?;
        let offsets = live.proc("timens_offsets")?;
        let nanoseconds = fraction * 10_000_000;
        let expected = match sign {
            "" => (seconds.cast_signed(), nanoseconds),
            // The kernel's nanoseconds count upwards, also from a negative second.
            _ => (-seconds.cast_signed() - 1, 1_000_000_000 - nanoseconds),
        };
        let numbers: Vec<i64> = offsets.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if numbers.get(..2) != Some(&[expected.0, expected.1.cast_signed()]) {
            let because = "timens_offsets takes whole seconds, and nanoseconds that are never negative: -1.5 is -2 and 500000000 (chapter 2, \"What the kernel saw\")";
            let found = offsets.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(wrong(
                "your container's clock is off",
                format!("--clock {text}: monotonic {} {}", expected.0, expected.1),
                found,
                because,
            ));
        }
    }
    for text in ["1.", ".5", "1e3", "--1"] {
        let ran = scene.run(scene.program().args([&format!("--clock={text}"), "--", "true"]))?;
        if ran.status.success() {
            let because = "what is not understood is refused: half a number is somebody's mistake (chapter 2, \"What the kernel saw\")";
            return Err(wrong(
                "your program takes what is no number of seconds",
                format!("--clock={text} is an error"),
                "it ran",
                because,
            ));
        }
    }
    Ok(())
}
