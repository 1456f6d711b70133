//! Chapter 6: who a process is, what it may do, and what a filter answers.

use super::Ask;
use crate::scene::Scene;
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("users-are-resolved", users_are_resolved),
    ("calls-are-found", calls_are_found),
    ("arguments-are-compared", arguments_are_compared),
    ("bounding-set-is-limited", bounding_set_is_limited),
];

/// Names and numbers, with and without a group, against a passwd file with traps in it.
fn users_are_resolved(scene: &Scene) -> Asked {
    let [user, group, other] = [scene.name(), scene.name(), scene.name()];
    let (uid, gid, extra, stranger) = (
        scene.number(1000, 9999),
        scene.number(1000, 9999),
        scene.number(10_000, 19_999),
        scene.number(20_000, 29_999),
    );
    let passwd = format!("root:x:0:0::/root:/bin/sh\nbroken line\n{user}:x:{uid}:{gid}::/home/{user}:/bin/sh\n");
    let groups = format!("root:x:0:\n{group}:x:{extra}:{user}\n{other}:x:{}:someone\n", extra + 1);
    let because = "a name must exist, a number need not; the groups of the group file count unless one is given (chapter 6, \"Who one is\")";
    for (spec, expected) in [
        (user.clone(), format!("{uid} {gid} [{extra}]")),
        (uid.to_string(), format!("{uid} {gid} [{extra}]")),
        (stranger.to_string(), format!("{stranger} 0 []")),
        (format!("{user}:{other}"), format!("{uid} {} []", extra + 1)),
        (format!("{stranger}:{group}"), format!("{stranger} {extra} []")),
        (format!("{user}:{stranger}"), format!("{uid} {stranger} []")),
    ] {
        let ran = scene.run(scene.program().args(["user", &spec, &passwd, &groups]))?;
        if ran.line() != expected {
            let expected = format!("{spec:?}: uid, gid and groups {expected}");
            return Err(wrong(
                "your process is somebody else",
                expected,
                if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() },
                because,
            ));
        }
    }
    for spec in [other.clone(), format!("{user}:{user}"), format!("{user}:"), "-1".to_owned(), "4294967296".to_owned()]
    {
        let ran = scene.run(scene.program().args(["user", &spec, &passwd, &groups]))?;
        if !ran.line().starts_with("refused:") {
            let because = "who is not found is nobody: taken for root, it would be the worst of guesses (chapter 6, \"Who one is\")";
            return Err(wrong(
                "your process is somebody although nobody is called so",
                format!("{spec:?} is refused"),
                ran.line(),
                because,
            ));
        }
    }
    Ok(())
}

const CALLS: [&str; 24] = [
    "read",
    "write",
    "mmap",
    "brk",
    "ioctl",
    "dup",
    "nanosleep",
    "socket",
    "kill",
    "uname",
    "fcntl",
    "mkdirat",
    "fchmodat",
    "ptrace",
    "getuid",
    "personality",
    "mount",
    "reboot",
    "gettid",
    "openat",
    "unshare",
    "bpf",
    "openat2",
    "clone3",
];

/// A filter without conditions, with so many calls that a search has to go wrong somewhere if it is wrong.
fn calls_are_found(scene: &Scene) -> Asked {
    let rules: Vec<(&str, u64)> =
        CALLS.iter().filter(|_| scene.number(0, 3) > 0).map(|name| (*name, scene.number(2, 100))).collect();
    let written: Vec<serde_json::Value> = rules
        .iter()
        .map(|(name, errno)| serde_json::json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}))
        .collect();
    // Every call in between is allowed, and those that are named answer with an errno each.
    let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": written}).to_string();
    let allow = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}).to_string();
    let calls: Vec<String> = CALLS.iter().map(|name| format!("{name}=0")).collect();
    let plain = scene.run(scene.program().args(["answer", &allow]).args(&calls))?;
    let ran = scene.run(scene.program().args(["answer", &profile]).args(&calls))?;
    for (index, name) in CALLS.iter().enumerate() {
        let line = |text: &str| text.lines().nth(index).unwrap_or("nothing").to_owned();
        let (allowed, found) = (line(&plain.out), line(&ran.out));
        let ruled = rules.iter().find(|(ruled, _)| ruled == name);
        let right = match ruled {
            Some((_, errno)) => found != allowed && found.contains(&errno_word(*errno)),
            None => found == allowed,
        };
        if !right {
            let expected = ruled.map_or_else(
                || format!("{name} is allowed"),
                |(_, errno)| format!("{name} answers {}", errno_word(*errno)),
            );
            let because = "a filter runs at every call, so it halves the numbers instead of going through them (chapter 6, \"The filter, assembled\")";
            let found = if ran.out.is_empty() { ran.told() } else { found };
            return Err(wrong("your filter answers for another call", expected, found, because));
        }
    }
    Ok(())
}

/// How the chapter's program prints an errno.
fn errno_word(errno: u64) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno as i32))
}

/// Comparisons of 64 bits at the places where 32 bits go wrong.
fn arguments_are_compared(scene: &Scene) -> Asked {
    let (high, low) = (scene.number(1, 0xffff), scene.number(2, 0xffff_fffe));
    let value = high << 32 | low;
    let around = [value, value - 1, value + 1, value + (1 << 32), value - (1 << 32), low, high << 32, 0, u64::MAX];
    type Holds = fn(u64, u64) -> bool;
    let operations: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |asked, value| asked == value),
        ("SCMP_CMP_NE", |asked, value| asked != value),
        ("SCMP_CMP_LT", |asked, value| asked < value),
        ("SCMP_CMP_LE", |asked, value| asked <= value),
        ("SCMP_CMP_GE", |asked, value| asked >= value),
        ("SCMP_CMP_GT", |asked, value| asked > value),
    ];
    for (operation, holds) in operations {
        let rule = serde_json::json!({"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": [{"index": 0, "value": value, "op": operation}]});
        check_condition(scene, operation, value, &rule, &around, |asked| holds(asked, value))?;
    }
    let mask = scene.number(1, u64::from(u32::MAX)) << 16;
    let rule = serde_json::json!({"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": [{"index": 0, "value": mask, "valueTwo": value & mask, "op": "SCMP_CMP_MASKED_EQ"}]});
    check_condition(scene, "SCMP_CMP_MASKED_EQ", mask, &rule, &around, |asked| asked & mask == value & mask)
}

fn check_condition(
    scene: &Scene,
    operation: &str,
    value: u64,
    rule: &serde_json::Value,
    around: &[u64],
    holds: impl Fn(u64) -> bool,
) -> Asked {
    let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}).to_string();
    let calls: Vec<String> = around.iter().map(|asked| format!("mount={asked}")).collect();
    let ran = scene.run(scene.program().args(["answer", &profile]).args(&calls))?;
    for (index, &asked) in around.iter().enumerate() {
        let line = ran.out.lines().nth(index).unwrap_or_default();
        if line.is_empty() || line.contains("EACCES") != holds(asked) {
            let expected = format!(
                "{operation} {value:#x} {} for the argument {asked:#x}",
                if holds(asked) { "holds" } else { "does not hold" }
            );
            let because = "a filter loads 32 bits at a time; the low word decides only where the high words are equal (chapter 6, \"The filter, assembled\")";
            let found = if line.is_empty() { ran.told() } else { line.to_owned() };
            return Err(wrong("your filter compares two halves as if they were two numbers", expected, found, because));
        }
    }
    Ok(())
}

/// The probe's bounding set, as the kernel shows it: what is kept, and nothing that only a newer kernel knows.
fn bounding_set_is_limited(scene: &Scene) -> Asked {
    // The default eleven, by number; some of them are dropped by name.
    let defaults = [
        ("CHOWN", 0),
        ("DAC_OVERRIDE", 1),
        ("FOWNER", 3),
        ("FSETID", 4),
        ("KILL", 5),
        ("SETGID", 6),
        ("SETUID", 7),
        ("NET_BIND_SERVICE", 10),
        ("SYS_CHROOT", 18),
        ("SETFCAP", 31),
    ];
    let dropped: Vec<&(&str, u32)> = defaults.iter().filter(|_| scene.number(0, 1) == 1).collect();
    let mut expected = defaults.iter().fold(1_u64 << 8, |mask, (_, number)| mask | 1 << number);
    let mut command = scene.program();
    for (name, number) in dropped {
        command.args(["--cap-drop", name]);
        expected &= !(1 << number);
    }
    command.args(["run", "--"]).arg(scene.probe_outside()).arg("--hold");
    let live = scene.start(&mut command)?;
    let status = live.proc("status")?;
    let found = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default().trim().to_owned();
    if u64::from_str_radix(&found, 16).ok() != Some(expected) {
        let because = "what is left in the bounding set, a program with file capabilities brings back at execve (chapter 6, \"The bounding set\")";
        return Err(wrong(
            "your container may regain what it should have lost",
            format!("CapBnd: {expected:016x}"),
            format!("CapBnd: {found}"),
            because,
        ));
    }
    Ok(())
}
