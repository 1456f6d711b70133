//! A reader's whole way: a workspace of `lab init`, filled hole by hole, and in the end an engine of their own.

#![allow(clippy::unwrap_used)]

use lab::exercise::Exercise;
use lab::workspace::Workspace;
use lab::{hole, starter};
use process::needs;
use tests::House;
use tests::engine::{Cooper, Who, program};
use tests::peers::Beside;
use tests::reader::Reader;

/// The workspace on the reader's desk.
const MINE: &str = "my-cooper";

fn able() -> bool {
    // skopeo looks at what the finished engine pushed.
    Beside::able() && needs::program("skopeo") && needs::account("learner") && needs::user_namespaces()
}

/// Each exercise in the reading order: its check sees a hole, and once the reference stands there it passes.
fn fill(reader: &Reader, exercises: &[Exercise]) {
    let (cooper, mine) = (House::here().unwrap(), reader.desk().join(MINE));
    let check = |name: &str| reader.run("my-cooper/lab", &["check", name]);
    for exercise in exercises {
        let name = exercise.id.as_str();
        let before = check(name);
        let unwritten = format!("{name}: your function is not written yet\n");
        assert!(before.code == 1 && before.out.starts_with(&unwritten), "{}{}", before.out, before.err);
        let text = cooper.read(exercise.source().to_str().unwrap()).unwrap();
        let reference = hole::find(&text, name).unwrap();
        starter::replace_body(&mine, exercise, &text[reference.body]).unwrap();
        assert_eq!(check(name).ok(), format!("{name}: passed\n"));
    }
}

/// Pulls a stranger's image, runs it, builds one on top, and pushes that; who reads it back had no part in any of it.
fn engine_works(cooper: Cooper) {
    let Beside { cooper, registry, peers, busybox, place: _place } = Beside::engine(cooper).unwrap();
    assert_eq!(cooper.run(&["pull", &busybox]).ok().trim(), busybox);
    let hello = ["run", "--rm", "--network", "none", &busybox, "sh", "-c", "echo $FROM $$"];
    assert_eq!(cooper.run(&hello).ok(), "buildah 1\n");
    let note = format!("{}/me/note:1", registry.address());
    cooper.write("Dockerfile", &format!("FROM {busybox}\nRUN echo mine > /note\nCMD [\"cat\", \"/note\"]\n"));
    cooper.run(&["build", "--tag", &note, "."]).ok();
    cooper.run(&["push", &note]).ok();
    let seen = peers.skopeo(&["inspect", "--config", "--tls-verify=false", &format!("docker://{note}")]).ok();
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["config"]["Cmd"], serde_json::json!(["cat", "/note"]));
    // What runs now comes from the registry.
    cooper.run(&["rmi", &note]).ok();
    assert_eq!(cooper.run(&["run", "--rm", "--network", "none", &note]).ok(), "mine\n");
    cooper.finish();
}

#[test]
fn a_workspace_filled_hole_by_hole_passes_each_check_and_is_an_engine() {
    if !able() {
        return;
    }
    let reader = Reader::at("filled").unwrap();
    reader.hand(&program("lab").unwrap(), "lab");
    let exercises = Workspace::find(House::here().unwrap().root()).unwrap().exercises().unwrap();
    let said = reader.run("../lab", &["-C", "../cooper", "init", MINE]).ok();
    assert!(said.starts_with(&format!("{MINE} is yours: {} holes to fill in.\n", exercises.len())), "{said}");
    reader.take_over(MINE).unwrap();

    fill(&reader, &exercises);
    let all = format!("All {} exercises are passed: the engine is yours.\n", exercises.len());
    assert_eq!(reader.run("my-cooper/lab", &["next"]).ok(), all);

    let build = ["build", "--quiet", "--manifest-path", "my-cooper/Cargo.toml", "-p", "cooper"];
    reader.run("cargo", &build).ok();
    let built = reader.desk().join(MINE).join("target/debug/cooper");
    engine_works(Cooper::of(&built, Who::Learner).unwrap());
}
