//! An instructor who is not root: a small class is graded in containers of an ordinary user, and a fork bomb costs its own points.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use lab::exercise::Exercise;
use lab::workspace::Workspace;
use lab::{hole, starter};
use process::needs;
use tests::House;
use tests::engine::{Said, program, run};
use tests::reader::Reader;

/// The instructor's checkout, on the desk.
const CHECKOUT: &str = "cooper";

/// What stands in the hole `look-up` of each, and what the class is told about it; nothing stands for the reference.
const CLASS: [(&str, Option<&str>, Option<&str>); 4] = [
    ("anna", None, None),
    ("bomb", Some(BOMB), Some("look-up: your program does not end")),
    ("bruno", Some("let x: u8 = \"no number\";"), Some("look-up: your code does not compile")),
    (
        "panic",
        Some("let _ = (name, environment); panic!(\"no idea\")"),
        Some("look-up: your program finds another file than a shell would"),
    ),
];

const BOMB: &str = "
    let _ = (name, environment);
    loop {
        let _ = std::process::Command::new(\"/proc/self/exe\").args(std::env::args_os().skip(1)).spawn();
    }";

fn checkout(reader: &Reader) -> Workspace {
    let house = Workspace::find(House::here().unwrap().root()).unwrap();
    let mine = reader.desk().join(CHECKOUT);
    fs::create_dir(&mine).unwrap();
    starter::lay_out(&mine, &starter::sources(&house).unwrap()).unwrap();
    run(Command::new("git").args(["init", "--quiet"]).arg(&mine)).unwrap().ok();
    reader.take_over(CHECKOUT).unwrap();
    house
}

/// Hands in the one file of the exercise.
fn hand_in(reader: &Reader, exercise: &Exercise, name: &str, body: Option<&str>) {
    let path = reader.desk().join("in").join(name).join(exercise.source());
    let text = House::here().unwrap().read(exercise.source().to_str().unwrap()).unwrap();
    let hole = hole::find(&text, &exercise.id).unwrap();
    let body = body.unwrap_or(&text[hole.body.clone()]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, hole::fill(&text, &hole, body)).unwrap();
}

fn grade(reader: &Reader, more: &[&str]) -> Said {
    let usual =
        ["-C", CHECKOUT, "grade", "--exercise", "look-up", "--engine", "../cooper-bin", "--json", "in/grades.json"];
    let submissions = CLASS.map(|(name, ..)| format!("in/{name}"));
    let submissions: Vec<&str> = submissions.iter().map(String::as_str).collect();
    reader.run("../lab", &[&usual, more, &submissions].concat())
}

#[test]
fn an_ordinary_user_grades_a_class() {
    if !needs::root() || !needs::account("learner") || !needs::user_namespaces() {
        return;
    }
    let reader = Reader::at("class").unwrap();
    reader.hand(&program("lab").unwrap(), "lab");
    reader.hand(&program("cooper").unwrap(), "cooper-bin");
    let house = checkout(&reader);
    let look_up = house.exercise("look-up").unwrap();
    for (name, body, _) in CLASS {
        hand_in(&reader, &look_up, name, body);
    }
    run(Command::new("chown").args(["-R", "learner:"]).arg(reader.desk().join(CHECKOUT)).arg(reader.desk().join("in")))
        .unwrap()
        .ok();

    // No control group is this user's: that is said at once, and nobody has no points for it.
    let refused = grade(&reader, &[]).fails(2);
    assert!(refused.starts_with("lab: submissions cannot be held: "), "{refused}");
    assert!(
        refused.trim_end().ends_with("; `--bounds processes` does with less: it bounds each process by itself"),
        "{refused}"
    );
    assert!(!reader.desk().join("in/grades.json").exists());

    let said = grade(&reader, &["--bounds", "processes"]);
    let told = said.err.clone();
    said.ok();
    let grades: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(reader.desk().join("in/grades.json")).unwrap()).unwrap();
    assert_eq!(grades.len(), CLASS.len());
    for ((name, _, expected), grade) in CLASS.iter().zip(&grades) {
        assert_eq!(grade["submission"], *name);
        assert_eq!(grade["points"] == grade["of"], expected.is_none(), "{grade:#}\n{told}");
        let message = grade["exercises"][0]["message"].as_str();
        assert_eq!(message.and_then(|message| message.lines().next()), *expected, "{grade:#}");
    }
}
