//! Chapter 5: what would be written to the kernel, held against what its documentation says.

use super::Ask;
use crate::scene::Scene;
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("group-paths-are-read", group_paths_are_read),
    ("limits-are-files", limits_are_files),
    ("devices-are-decided", devices_are_decided),
];

/// A group's name is cleaned, and never leads to another group than it says.
fn group_paths_are_read(scene: &Scene) -> Asked {
    let [a, b] = [scene.name(), scene.name()];
    for (text, path) in [(format!("{a}//{b}/"), format!("/{a}/{b}")), (format!("/{a}"), format!("/{a}"))] {
        let ran = scene.run(scene.program().args(["path", &text]))?;
        if ran.line() != path {
            let because = "one group must have one name: it is compared, and kept in files (chapter 5, \"The idea\")";
            return Err(wrong(
                "your group has another name",
                format!("{text:?} is {path}"),
                ran.out + &ran.err,
                because,
            ));
        }
    }
    let deep = "x/".repeat(17);
    let bad = [
        "/",
        "",
        &format!("{a}/../../{b}"),
        &format!("{a}/./{b}"),
        &format!("{a}/cgroup.procs"),
        &format!("{a}\n{b}"),
        &deep,
    ];
    for text in bad {
        let ran = scene.run(scene.program().args(["path", text]))?;
        if !ran.line().starts_with("refused:") {
            let because = "a name that climbs limits somebody else's group, and one that begins with `cgroup.` is the kernel's (chapter 5, \"The idea\")";
            return Err(wrong(
                "your program takes a name that leads elsewhere",
                format!("{text:?} is refused"),
                ran.out + &ran.err,
                because,
            ));
        }
    }
    Ok(())
}

/// Limits as both generations write them; what is named outright has the last word.
fn limits_are_files(scene: &Scene) -> Asked {
    let memory = scene.number(64, 512) << 20;
    let (both, quota, pids) = (memory * 2, scene.number(10_000, 90_000), scene.number(10, 500));
    let period = 100_000;
    let json = format!(
        r#"{{"memory":{memory},"memory_swap":{both},"cpu_quota_us":{quota},"cpu_period_us":{period},"pids":{pids},"memory.max":{}}}"#,
        memory + 4096
    );
    let unified = format!("memory.max {}", memory + 4096);
    let expected = [
        (
            "v2",
            vec![
                format!("memory.max {memory}"),
                format!("memory.swap.max {memory}"),
                format!("cpu.max {quota} {period}"),
                format!("pids.max {pids}"),
            ],
        ),
        (
            "v1",
            vec![
                format!("memory.limit_in_bytes {memory}"),
                format!("memory.memsw.limit_in_bytes {both}"),
                format!("cpu.cfs_period_us {period}"),
                format!("cpu.cfs_quota_us {quota}"),
                format!("pids.max {pids}"),
            ],
        ),
    ];
    for (version, files) in expected {
        let ran = scene.run(scene.program().args(["limits", version, &json]))?;
        let lines: Vec<&str> = ran.out.lines().collect();
        let missing = files.iter().find(|file| !lines.contains(&file.as_str()));
        if let Some(missing) = missing {
            let because = "v1 and v2 have other files for the same limit, and other units (chapter 5, \"From a limit to a file\")";
            let found = if lines.is_empty() { ran.told() } else { lines.join("\n") };
            return Err(wrong(
                "a limit is not where the kernel looks for it",
                format!("{version}: {missing}"),
                found,
                because,
            ));
        }
        // In order: v1 refuses memory and swap together below memory alone, and a quota is held against its period.
        let places: Vec<usize> = files.iter().filter_map(|file| lines.iter().position(|line| line == file)).collect();
        if !places.is_sorted() || (version == "v2" && lines.last() != Some(&unified.as_str())) {
            let because = "each file is checked against those before it, and one that is named outright comes last (chapter 5, \"From a limit to a file\")";
            return Err(wrong(
                "your limits are written in another order",
                format!("{version}: {}\n... {unified}", files.join(", ")),
                lines.join("\n"),
                because,
            ));
        }
    }
    Ok(())
}

/// Rules that contradict each other: for each letter the last rule that matches decides.
fn devices_are_decided(scene: &Scene) -> Asked {
    let majors: Vec<u64> = (0..3).map(|_| scene.number(1, 200)).collect();
    let letters = ["r", "w", "m", "rw", "rm", "rwm"];
    let mut rules = Vec::new();
    for _ in 0..scene.number(6, 12) {
        let allow = scene.number(0, 1) == 1;
        let kind = *scene.one_of(&["c", "b", "c"]);
        let major = (scene.number(0, 3) > 0).then(|| *scene.one_of(&majors));
        let minor = (scene.number(0, 2) > 0).then(|| scene.number(0, 2));
        rules.push((allow, kind, major, minor, *scene.one_of(&letters)));
    }
    // One that allows reading alone, after which writing is still not allowed.
    rules.push((true, "c", Some(majors[0]), Some(7), "r"));
    let written: Vec<serde_json::Value> = rules
        .iter()
        .map(|(allow, kind, major, minor, access)| serde_json::json!({"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}))
        .collect();
    let mut requests = vec![("c", majors[0], 7, "rw"), ("c", majors[0], 7, "r"), ("b", 9999, 1, "r")];
    for _ in 0..40 {
        requests.push((
            *scene.one_of(&["c", "b"]),
            *scene.one_of(&majors),
            scene.number(0, 3),
            *scene.one_of(&letters),
        ));
    }
    let mut command = scene.program();
    command.args(["devices", &serde_json::Value::from(written).to_string()]);
    command.args(requests.iter().map(|(kind, major, minor, access)| format!("{kind} {major}:{minor} {access}")));
    let ran = scene.run(&mut command)?;
    let answers: Vec<&str> = ran.out.lines().collect();
    for (index, (kind, major, minor, access)) in requests.iter().enumerate() {
        let letter = |letter: char| {
            let deciding = rules.iter().rfind(|(_, of, wanted_major, wanted_minor, letters)| {
                of == kind
                    && wanted_major.is_none_or(|it| it == *major)
                    && wanted_minor.is_none_or(|it| it == *minor)
                    && letters.contains(letter)
            });
            deciding.is_some_and(|rule| rule.0)
        };
        let expected = if access.chars().all(letter) { "yes" } else { "no" };
        if answers.get(index) != Some(&expected) {
            let because = "the kernel asks one program about all the letters at once, and for each the last rule that matches decides (chapter 5, \"The code\")";
            let shown = rules.iter().map(|(allow, kind, major, minor, access)| {
                let number = |number: &Option<u64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
                format!("{} {kind} {}:{} {access}", if *allow { "allow" } else { "deny" }, number(major), number(minor))
            });
            let expected =
                format!("{kind} {major}:{minor} {access}: {expected}, after\n{}", shown.collect::<Vec<_>>().join("\n"));
            let found = answers.get(index).map_or_else(|| ran.told(), |answer| (*answer).to_owned());
            return Err(wrong("your program decides otherwise than the rules", expected, found, because));
        }
    }
    Ok(())
}
