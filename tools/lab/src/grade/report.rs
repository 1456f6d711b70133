//! Grades as a table for people, CSV for a spreadsheet, JSON for a program, JUnit for what shows test results.
//!
//! What a submission's programs print ends up here. So everything is escaped, and a cell never begins with what a
//! spreadsheet takes for a formula.

use std::fmt::Write as _;

use serde_json::json;

use super::{Graded, Outcome};
use crate::verdict::Verdict;

/// The outcome in one word.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Checked(Verdict::Passed) => "passed",
        Outcome::Checked(Verdict::Failed(_)) => "failed",
        Outcome::Checked(Verdict::Skipped(_)) => "skipped",
        Outcome::NotChecked(_) => "not checked",
    }
}

/// What is to be said about an outcome.
fn message(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Checked(Verdict::Passed) => None,
        Outcome::Checked(Verdict::Failed(failure)) => Some(failure.to_string()),
        Outcome::Checked(Verdict::Skipped(why)) | Outcome::NotChecked(why) => Some(why.clone()),
    }
}

/// A line for people.
pub fn line(graded: &Graded) -> String {
    let not_passed = graded.outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Checked(Verdict::Passed));
    let told = not_passed.map(|(exercise, outcome)| match outcome {
        Outcome::Checked(Verdict::Failed(failure)) => format!("{}: {}", exercise.id, failure.summary),
        other => format!("{}: {}", exercise.id, word(other)),
    });
    let told: Vec<String> = match &graded.note {
        Some(note) => vec![note.lines().next().unwrap_or_default().to_owned()],
        None => told.collect(),
    };
    let (points, of, seconds) = (graded.points(), graded.of(), graded.took.as_secs_f32());
    printable(&format!("{:20} {points:3} of {of:3} points {seconds:6.1} s   {}", graded.name, told.join("; ")))
        .trim_end()
        .to_owned()
}

/// One row a submission: its name, points, points that there are, an outcome for each exercise, seconds, a note.
pub fn csv(all: &[Graded]) -> String {
    let mut text = String::new();
    let mut row = |cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    };
    if let Some(first) = all.first() {
        let ids = first.outcomes.iter().map(|(exercise, _)| exercise.id.clone());
        let head = ["submission", "points", "of"].map(str::to_owned).into_iter().chain(ids);
        row(head.chain(["seconds", "note"].map(str::to_owned)).collect());
    }
    for graded in all {
        let mut cells = vec![graded.name.clone(), graded.points().to_string(), graded.of().to_string()];
        cells.extend(graded.outcomes.iter().map(|(_, outcome)| word(outcome).to_owned()));
        cells.push(format!("{:.1}", graded.took.as_secs_f32()));
        cells.push(graded.note.clone().unwrap_or_default());
        row(cells);
    }
    text
}

fn cell(text: &str) -> String {
    let text = printable(text);
    let formula = text.starts_with(['=', '+', '-', '@', '\t']);
    let text = if formula { format!("'{text}") } else { text };
    match text.contains([',', '"', '\n', '\'']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// An array of submissions, each with its exercises under their stable ids.
pub fn json(all: &[Graded]) -> String {
    let one = |graded: &Graded| {
        let exercises: Vec<_> = graded
            .outcomes
            .iter()
            .map(|(exercise, outcome)| {
                let passed = *outcome == Outcome::Checked(Verdict::Passed);
                json!({
                    "id": exercise.id,
                    "chapter": exercise.number(),
                    "outcome": word(outcome),
                    "points": if passed { exercise.points } else { 0 },
                    "of": exercise.points,
                    "message": message(outcome),
                })
            })
            .collect();
        json!({
            "submission": graded.name,
            "points": graded.points(),
            "of": graded.of(),
            "seconds": (graded.took.as_secs_f64() * 10.0).round() / 10.0,
            "note": graded.note,
            "exercises": exercises,
        })
    };
    let all: Vec<_> = all.iter().map(one).collect();
    format!("{:#}\n", serde_json::Value::Array(all))
}

/// A test suite a submission, a test case an exercise.
pub fn junit(all: &[Graded]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for graded in all {
        let count = |wanted: &str| graded.outcomes.iter().filter(|(_, outcome)| word(outcome) == wanted).count();
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.1}\">",
            escaped(&graded.name),
            graded.outcomes.len(),
            count("failed"),
            count("not checked"),
            count("skipped"),
            graded.took.as_secs_f32()
        );
        for (exercise, outcome) in &graded.outcomes {
            let (class, name) = (escaped(&graded.name), escaped(&exercise.id));
            let _ = write!(text, "    <testcase classname=\"{class}\" name=\"{name}\"");
            let told = escaped(&message(outcome).unwrap_or_default());
            let _ = match outcome {
                Outcome::Checked(Verdict::Passed) => writeln!(text, "/>"),
                Outcome::Checked(Verdict::Failed(failure)) => {
                    let summary = escaped(&failure.summary);
                    writeln!(text, "><failure message=\"{summary}\">{told}</failure></testcase>")
                }
                Outcome::Checked(Verdict::Skipped(_)) => writeln!(text, "><skipped message=\"{told}\"/></testcase>"),
                Outcome::NotChecked(_) => writeln!(text, "><error message=\"not checked\">{told}</error></testcase>"),
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}

/// Without what moves a terminal's cursor, and what XML has no way to say.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn escaped(text: &str) -> String {
    let text = printable(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::exercise::{Exercise, Runs};
    use crate::verdict::Failure;

    fn exercise(id: &str) -> Exercise {
        Exercise {
            id: id.to_owned(),
            title: "A title".to_owned(),
            file: "src/lib.rs".into(),
            runs: Runs::Program,
            points: 2,
            minutes: 10,
            needs: Vec::new(),
            checks: Vec::new(),
            hints: ["a", "b", "c"].map(str::to_owned),
            mutants: Vec::new(),
            chapter: "chapters/01-process".into(),
        }
    }

    fn graded() -> Vec<Graded> {
        let failure = Failure {
            id: "reap-all".to_owned(),
            summary: "it <hangs> & \"waits\"".to_owned(),
            expected: "an end".to_owned(),
            found: "\u{1b}[31m]]>\0".to_owned(),
            because: "so".to_owned(),
        };
        let outcomes = vec![
            (exercise("look-up"), Outcome::Checked(Verdict::Passed)),
            (exercise("reap-all"), Outcome::Checked(Verdict::Failed(failure))),
            (exercise("pass-on"), Outcome::Checked(Verdict::Skipped("no user namespaces".to_owned()))),
        ];
        let lost = vec![(exercise("look-up"), Outcome::NotChecked("ended".to_owned()))];
        let took = Duration::from_millis(4250);
        vec![
            Graded { name: "=cmd()".to_owned(), outcomes, took, note: None },
            Graded {
                name: "zo\u{eb}, \"z\"".to_owned(),
                outcomes: lost,
                took,
                note: Some("ended\nafter 5 s".to_owned()),
            },
        ]
    }

    #[test]
    fn each_report_says_the_same() {
        let all = graded();
        let lines: Vec<String> = all.iter().map(line).collect();
        insta::assert_snapshot!(format!("{}\n\n{}\n{}\n{}", lines.join("\n"), csv(&all), json(&all), junit(&all)));
    }
}
