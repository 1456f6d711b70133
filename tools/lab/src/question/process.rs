//! Chapter 1: what a careful parent owes its children.

use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Ask;
use crate::scene::{Scene, write};
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("program-is-found", program_is_found),
    ("signals-are-fresh", signals_are_fresh),
    ("signals-reach-the-child", signals_reach_the_child),
    ("orphans-are-reaped", orphans_are_reaped),
];

/// The first *executable* file of that name in `PATH`, and 126 or 127 where there is none.
fn program_is_found(scene: &Scene) -> Asked {
    let (name, word, directory) = (scene.name(), scene.name(), scene.scratch().join(scene.name()));
    // In front of the right one: a directory of that name, and a file that may not be executed.
    let script = format!("#!/bin/sh\necho {word}\n");
    std::fs::create_dir_all(directory.join("a").join(&name)).context("mkdir")?;
    write(&directory.join("b").join(&name), "not a program\n", 0o644)?;
    write(&directory.join("c").join(&name), &script, 0o755)?;
    write(&directory.join("d").join(&name), "#!/bin/sh\necho too late\n", 0o755)?;
    let path = |parts: &str| {
        let all = parts.chars().map(|part| directory.join(part.to_string()).display().to_string());
        all.collect::<Vec<_>>().join(":")
    };
    let run = |name: &str, parts: &str| scene.run(scene.program().args(["plain", name]).env("PATH", path(parts)));
    let because = "a shell takes the first regular file that it may execute, and passes everything else by (chapter 1, \"The code\")";
    let found = run(&name, "abcd")?;
    if found.line() != word {
        let expected = format!("the script in the third of four directories of PATH, which prints {word}");
        return Err(wrong(
            "your program finds another file than a shell would",
            expected,
            found.out + &found.err,
            because,
        ));
    }
    let codes = [run(&name, "ab")?, run(&name, "x")?].map(|ran| ran.status.code());
    if codes != [Some(126), Some(127)] {
        let expected = "exit code 126 (EACCES) where a file may not be executed, 127 (ENOENT) where there is none";
        let because = "scripts decide by these codes; docker and every shell give the same (chapter 1, \"The code\")";
        return Err(wrong(
            "your program says the wrong thing about a program that it cannot run",
            expected,
            format!("{codes:?}"),
            because,
        ));
    }
    Ok(())
}

/// No signal blocked, none ignored, whatever the parent was started with.
fn signals_are_fresh(scene: &Scene) -> Asked {
    let all = ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "WINCH", "34", "40", "64"];
    let ignored = [scene.one_of(&all[..8]), scene.one_of(&all[8..])].map(|name| format!("trap '' {name}")).join("; ");
    let mut shell = std::process::Command::new("/bin/sh");
    let program = scene.program();
    shell.args(["-c", &format!("{ignored}; exec \"$@\""), "sh"]).arg(program.get_program()).arg("fresh");
    shell.arg(scene.probe_outside()).arg("--hold");
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove("LAB_PLAN");
    let live = scene.start(&mut shell)?;
    let set = |name: &str| {
        let status = live.proc("status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        // SIGPIPE: the probe's own runtime ignores it.
        u64::from_str_radix(&mask, 16).unwrap_or(u64::MAX) & !(1 << 12)
    };
    let (blocked, ignored_now) = (set("SigBlk:"), set("SigIgn:"));
    if blocked != 0 {
        let because = "the parent blocks what it reads from its signalfd, and a mask survives execve: this child hears no SIGTERM (chapter 1, \"Run it\")";
        return Err(wrong(
            "your child is deaf to signals that its parent blocks",
            "SigBlk: 0000000000000000",
            format!("SigBlk: {blocked:016x}"),
            because,
        ));
    }
    if ignored_now != 0 {
        let because = "an ignored signal stays ignored across execve, and nobody in the child asked for that (chapter 1, \"Run it\")";
        return Err(wrong(
            "your child ignores what somebody above it ignored",
            "SigIgn: 0000000000000000",
            format!("SigIgn: {ignored_now:016x} ({ignored})"),
            because,
        ));
    }
    Ok(())
}

/// A signal that the parent gets arrives at the child, the same one; and one that comes too late is no error.
fn signals_reach_the_child(scene: &Scene) -> Asked {
    let signals = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM, Signal::SIGTERM];
    for signal in [*scene.one_of(&signals[..2]), *scene.one_of(&signals[2..])] {
        let live = scene.start(scene.program().arg("signals").arg(scene.probe_outside()).arg("--hold"))?;
        kill(Pid::from_raw(live.parent().cast_signed()), signal).context("kill")?;
        let ran = scene.after_signal(live)?;
        let expected = 128 + signal as i32;
        if ran.status.code() != Some(expected) {
            let because =
                "whoever signals a container signals its parent, and means the container (chapter 1, \"The code\")";
            return Err(wrong(
                "a signal to the parent does not reach the child",
                format!("{signal} sent to the parent ends the child: exit code {expected}"),
                ran.told(),
                because,
            ));
        }
    }
    Ok(())
}

/// A small init has no zombies a moment after its orphans ended.
fn orphans_are_reaped(scene: &Scene) -> Asked {
    let count = scene.number(12, 24);
    // Each is started by a shell that ends at once, so its parent becomes the init. They end together.
    let script = format!(
        "i=0; while [ $i -lt {count} ]; do (sleep 0.3 & ); i=$((i+1)); done; exec {} --hold",
        scene.probe_outside().display()
    );
    let mut live = scene.start(scene.program().args(["init", "--", "/bin/sh", "-c", &script]))?;
    let parent = live.parent();
    // It sleeps while they end: so many ends, and one SIGCHLD that tells of them.
    let init = Pid::from_raw(parent.cast_signed());
    kill(init, Signal::SIGSTOP).context("kill")?;
    std::thread::sleep(Duration::from_millis(600));
    kill(init, Signal::SIGCONT).context("kill")?;
    let deadline = Instant::now() + Duration::from_secs(2);
    std::thread::sleep(Duration::from_millis(100));
    if let Some(status) = live.ended()? {
        let because = "only the main child's end is the container's end; orphans come and go (chapter 1, \"The code\")";
        return Err(wrong(
            "your init gives up while its child lives",
            "it waits for its main child",
            status.to_string(),
            because,
        ));
    }
    loop {
        let zombies = zombies_of(parent);
        if zombies == 0 {
            break;
        }
        if Instant::now() > deadline {
            let because = "a zombie keeps its pid and its place in every limit until its parent waits; SIGCHLD comes once for many (chapter 1, \"Run it\")";
            let found = format!("{zombies} zombies whose parent is the init, of {count} orphans");
            return Err(wrong(
                "your init does not reap what it adopts",
                "no process in state Z below the init",
                found,
                because,
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    live.finish()?;
    Ok(())
}

fn zombies_of(parent: u32) -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            // The name in parentheses may hold anything; after it come the state and the parent.
            let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            let mut fields = rest.split_whitespace();
            fields.next() == Some("Z") && fields.next().and_then(|ppid| ppid.parse().ok()) == Some(parent)
        })
        .count()
}
