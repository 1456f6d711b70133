//! A class of eight, five of whom handed in what hurts: everybody is graded, and nobody for what another did.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use assert_cmd::prelude::*;
use lab::exercise::Exercise;
use lab::hole;
use lab::workspace::Workspace;
use serde_json::Value;

/// What stands in the hole `look-up` of each, and what the class is told about it.
const CLASS: [(&str, &str, &str); 8] = [
    ("anna", REFERENCE, ""),
    (
        "abort",
        "let _ = (name, environment); std::process::abort()",
        "your program finds another file than a shell would",
    ),
    ("bomb", BOMB, "your program does not end"),
    ("bruno", "let x: u8 = \"no number\";", "your code does not compile"),
    ("endless", "let _ = (name, environment); loop { std::hint::spin_loop(); }", "your program does not end"),
    ("panic", "let _ = (name, environment); panic!(\"no idea\")", "your program finds another file than a shell would"),
    ("writer", WRITER, "your program finds another file than a shell would"),
    ("zoe", REFERENCE, ""),
];

const REFERENCE: &str = "the reference";

const BOMB: &str = "
    let _ = (name, environment);
    loop {
        let _ = std::process::Command::new(\"/proc/self/exe\").args(std::env::args_os().skip(1)).spawn();
    }";

/// Ten gigabytes, wherever they fit.
const WRITER: &str = "
    use std::io::Write as _;
    let _ = (name, environment);
    let block = vec![7; 1 << 20];
    let scratch = std::env::var(\"TMPDIR\").unwrap_or_default();
    let mut wrote = 0;
    for number in 0..500 {
        for place in [\"/tmp\", \"/work\", \"/cooper\", \"/dev/shm\", \".\", &scratch] {
            if let Ok(mut file) = std::fs::File::create(format!(\"{place}/big-{number}\")) {
                while wrote < 10_240 && file.write_all(&block).is_ok() {
                    wrote += 1;
                }
            }
        }
    }
    panic!(\"wrote {wrote} MiB\")";

/// One class at a time: `lab grade` refuses to share the place where it works.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn cooper_itself() -> Workspace {
    Workspace::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The engine of this build, beside the lab.
fn engine() -> PathBuf {
    let programs = Command::cargo_bin("lab").unwrap().get_program().to_owned();
    let programs = Path::new(&programs).parent().unwrap().to_owned();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The whole workspace: one package alone asks less of its dependencies, and they would be compiled a second time.
    cargo.args(["build", "--quiet", "--workspace", "--bin", "cooper", "--target-dir"]).arg(programs.parent().unwrap());
    assert!(cargo.current_dir(cooper_itself().root()).status().unwrap().success());
    programs.join("cooper")
}

/// Hands in the file of the exercise, and nothing else.
fn hand_in(place: &Path, name: &str, body: &str, exercise: &Exercise) -> PathBuf {
    let directory = place.join(name);
    let path = directory.join(exercise.source());
    let text = std::fs::read_to_string(cooper_itself().root().join(exercise.source())).unwrap();
    let hole = hole::find(&text, &exercise.id).unwrap();
    let body = if body == REFERENCE { &text[hole.body.clone()] } else { body };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, hole::fill(&text, &hole, body)).unwrap();
    directory
}

fn names_below(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        names.push(entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() && entry.file_name() != "vendor" {
            names.extend(names_below(&entry.path()));
        }
    }
    names
}

/// Whether this machine can hold submissions; if not, says so, and fails where a skip is not accepted.
fn can_grade() -> bool {
    // From a program of the lab: to find out, it starts itself.
    let doctor = Command::cargo_bin("lab").unwrap().arg("doctor").output().unwrap();
    let findings = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let usable = findings.lines().any(|line| line.starts_with("ok   user namespaces"));
    let lacking = if usable { lab::doctor::control_groups() } else { Err(findings) };
    if let Err(why) = &lacking {
        assert!(std::env::var("CI").is_err(), "CI must be able to grade: {why}");
        std::io::stderr().write_all(format!("SKIP: lab grade: {why}\n").as_bytes()).unwrap();
    }
    lacking.is_ok()
}

/// Where submissions lie, and the exercise that all of them are about.
struct Classroom {
    place: tempfile::TempDir,
    look_up: Exercise,
    _alone: MutexGuard<'static, ()>,
}

impl Classroom {
    /// `None`, with the reason printed, where the machine cannot grade.
    fn open() -> Option<Self> {
        if !can_grade() {
            return None;
        }
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let look_up = cooper_itself().exercise("look-up").unwrap();
        Some(Self { place: tempfile::tempdir().unwrap(), look_up, _alone: alone })
    }
}

#[test]
fn a_class_is_graded_though_five_of_eight_do_harm() {
    let Some(Classroom { place, look_up, _alone }) = Classroom::open() else { return };
    let submissions = CLASS.map(|(name, body, _)| hand_in(place.path(), name, body, &look_up));
    let [csv, json, junit] = ["grades.csv", "grades.json", "grades.xml"].map(|name| place.path().join(name));
    let mut command = Command::cargo_bin("lab").unwrap();
    command
        .arg("-C")
        .arg(cooper_itself().root())
        .args(["grade", "--exercise", "look-up"])
        .arg("--engine")
        .arg(engine());
    command.arg("--csv").arg(&csv).arg("--json").arg(&json).arg("--junit").arg(&junit).args(submissions);
    let begun = Instant::now();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let told = std::fs::read_to_string(&json).unwrap();
    let grades: Vec<Value> = serde_json::from_str(&told).unwrap();
    for ((name, _, summary), grade) in CLASS.iter().zip(&grades) {
        assert_eq!(grade["submission"], *name, "{told}");
        assert_eq!(grade["points"] == grade["of"], summary.is_empty(), "{grade:#}");
        let message = grade["exercises"][0]["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with(&if summary.is_empty() { String::new() } else { format!("look-up: {summary}") }),
            "{grade:#}"
        );
    }
    // The 10 GiB went to memory that is gone: nothing of them lies where the class was graded.
    assert!(!names_below(&cooper_itself().root().join("target/lab-grade")).iter().any(|name| name.starts_with("big-")));
    let table = std::fs::read_to_string(&csv).unwrap();
    assert!(table.starts_with("submission,points,of,look-up,seconds,note\r\nanna,"), "{table}");
    assert_eq!(std::fs::read_to_string(&junit).unwrap().matches("<failure").count(), 6);
    assert!(begun.elapsed() < Duration::from_secs(900), "{:?}", begun.elapsed());
}

/// A student's file is opened in the container alone, and no file of the grader's is there to be opened.
#[test]
fn a_submission_reads_no_solution_and_no_file_of_the_graders() {
    let Some(Classroom { place, look_up, _alone }) = Classroom::open() else { return };
    // Read by the compiler, which would then show it.
    let secret = place.path().join("secret");
    std::fs::write(&secret, "!! do not read").unwrap();
    let body = |path: &Path| format!("let _ = (name, environment); include!({path:?})");
    let mutants = cooper_itself().root().join("chapters/01-process/lab/mutants.toml");
    let submissions = [
        hand_in(place.path(), "spy", &body(&secret), &look_up),
        hand_in(place.path(), "cheat", &body(&mutants), &look_up),
        hand_in(place.path(), "there", &body(Path::new("/cooper/chapters/01-process/lab/mutants.toml")), &look_up),
    ];
    let json = place.path().join("grades.json");
    let mut command = Command::cargo_bin("lab").unwrap();
    command
        .arg("-C")
        .arg(cooper_itself().root())
        .args(["grade", "--exercise", "look-up"])
        .arg("--engine")
        .arg(engine());
    let output = command.arg("--json").arg(&json).args(submissions).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = std::fs::read_to_string(&json).unwrap();
    assert_eq!(told.matches("No such file or directory").count(), 3, "{told}");
    assert!(!told.contains("do not read"), "{told}");
    // The holes of what is there are empty.
    let house = cooper_itself().root().join("target/lab-grade/house");
    for exercise in cooper_itself().exercises().unwrap() {
        let text = std::fs::read_to_string(house.join(exercise.source())).unwrap();
        let hole = hole::find(&text, &exercise.id).unwrap();
        assert_eq!(text[hole.body].trim(), exercise.starter().trim());
    }
}
