//! Chapter 7: a `config.json`, and the process that came of it.

use std::os::unix::fs::MetadataExt;

use anyhow::Context;
use nix::sched::CloneFlags;
use serde_json::{Value, json};

use super::Ask;
use crate::scene::{Live, Scene, write};
use crate::verdict::{Asked, Stop, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("limits-are-set", limits_are_set),
    ("namespaces-are-as-written", namespaces_are_as_written),
    ("program-is-as-written", program_is_as_written),
];

/// A specification with nothing in it but the probe and two namespaces.
fn specification(scene: &Scene) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true, "args": [scene.probe_outside(), "--hold"], "env": ["PATH=/bin"]},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}]}
    })
}

fn started(scene: &Scene, mode: &str, specification: &Value) -> Result<Live, Stop> {
    let bundle = scene.scratch().join(scene.name());
    std::fs::create_dir_all(bundle.join("rootfs")).context("mkdir")?;
    write(&bundle.join("config.json"), &specification.to_string(), 0o644)?;
    scene.start(scene.program().arg(mode).arg(&bundle))
}

/// `process.rlimits`, as `/proc/PID/limits` shows them.
fn limits_are_set(scene: &Scene) -> Asked {
    let (soft, hard, core) = (scene.number(20, 200), scene.number(300, 900), scene.number(1, 9) << 12);
    let mut specification = specification(scene);
    specification["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}, {"type": "RLIMIT_FSIZE", "soft": core, "hard": core}]);
    let live = started(scene, "limits", &specification)?;
    let limits = &live.report["limits"];
    for (name, soft, hard) in [("Max open files", soft, hard), ("Max file size", core, core)] {
        let expected = json!({"soft": soft, "hard": hard});
        if limits[name] != expected {
            let because = "a limit is a pair: the soft one holds, up to the hard one it may be raised again (chapter 7, \"The code\")";
            return Err(wrong(
                "your container has other limits than it was given",
                format!("{name}: {expected}"),
                format!("{name}: {}", limits[name]),
                because,
            ));
        }
    }
    Ok(())
}

/// `linux.namespaces`: without a path a new one, with a path that one, what is not named is shared.
fn namespaces_are_as_written(scene: &Scene) -> Asked {
    let apart = scene.apart(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS)?;
    let kinds = [("ipc", "ipc"), ("net", "network"), ("uts", "uts")];
    // Each of the three is new, joined or shared, in another order in every check.
    let turn = scene.number(0, 2) as usize;
    let roles: Vec<usize> = (0..3).map(|index| (index + turn) % 3).collect();
    let mut list = vec![json!({"type": "mount"})];
    for ((file, kind), role) in kinds.iter().zip(&roles) {
        match role {
            0 => list.push(json!({"type": kind})),
            1 => list.push(json!({"type": kind, "path": format!("/proc/{}/ns/{file}", apart.pid())})),
            _ => {}
        }
    }
    let mut specification = specification(scene);
    specification["linux"]["namespaces"] = Value::from(list);
    let live = started(scene, "namespaces", &specification)?;
    for ((file, _), role) in kinds.iter().zip(&roles) {
        let of =
            |pid: &str| std::fs::metadata(format!("/proc/{pid}/ns/{file}")).map(|link| link.ino()).unwrap_or_default();
        let (ours, theirs, its) = (of("self"), of(&apart.pid().to_string()), of(&live.pid.to_string()));
        let (what, right) = match role {
            0 => ("a new one", its != ours && its != theirs),
            1 => ("the one at the path", its == theirs),
            _ => ("the caller's", its == ours),
        };
        if !right {
            let because = "no path means a new namespace, a path that one, and what is not in the list is shared (chapter 7, \"The code\")";
            let found = format!("{its}; the caller's is {ours}, the one at the path {theirs}");
            return Err(wrong(
                "your container is in another namespace than was written",
                format!("{file}: {what}"),
                found,
                because,
            ));
        }
    }
    specification["linux"]["namespaces"] = json!([{"type": "uts"}]);
    // There must be one probe alone when the next is looked for.
    drop(live);
    let outcome = started(scene, "namespaces", &specification);
    if let Err(Stop::Broken(error)) = outcome {
        return Err(error.into());
    }
    if outcome.is_ok() {
        let because =
            "without a mount namespace of its own, a container's mounts are the machine's (chapter 7, \"The code\")";
        return Err(wrong(
            "your container mounts on the machine",
            "a list without a mount namespace is refused",
            "it runs",
            because,
        ));
    }
    Ok(())
}

/// `process`: words, environment, directory, score, privileges, in an order that works.
fn program_is_as_written(scene: &Scene) -> Asked {
    let [name, value, directory] = [scene.name(), scene.name(), scene.name()];
    let cwd = scene.scratch().join(&directory);
    std::fs::create_dir_all(&cwd).context("mkdir")?;
    let score = scene.number(100, 900);
    let mut specification = specification(scene);
    specification["process"]["env"] = json!([format!("{name}={value}")]);
    specification["process"]["cwd"] = json!(cwd);
    specification["process"]["oomScoreAdj"] = json!(score);
    specification["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]);
    let live = started(scene, "process", &specification)?;
    let report = &live.report;
    let because = "all of `process` is the caller's word about the program, and none of it may be left out (chapter 7, \"The code\")";
    for (what, found, expected) in [
        ("its environment", &report["environment"], json!({name: value})),
        ("its working directory", &report["cwd"], json!(cwd)),
        ("oom_score_adj", &report["oom_score_adj"], json!(score.to_string())),
        ("no_new_privs", &report["no_new_privs"], json!(1)),
        ("its limit of open files", &report["limits"]["Max open files"]["hard"], json!(77)),
        ("its blocked signals", &report["signals"]["blocked"], json!("0000000000000000")),
    ] {
        if *found != expected {
            return Err(wrong(
                "your program is not as it was written",
                format!("{what}: {expected}"),
                format!("{what}: {found}"),
                because,
            ));
        }
    }
    Ok(())
}
