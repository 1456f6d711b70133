//! The same commands mean the same as to docker.

#![allow(clippy::unwrap_used)]

use process::needs;
use tests::comparison::{self, DIFFERENT};
use tests::engine::{Cooper, Who};

#[test]
fn commands_say_and_end_as_docker_s_do() {
    if !needs::root() || !needs::program("busybox") {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    let archive = comparison::archive(&cooper.work()).unwrap();
    cooper.run(&["load", "-i", archive.to_str().unwrap()]).ok();
    let program = |words: &[String]| cooper.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let ours = comparison::play(&program).unwrap();
    let docker = comparison::recorded().unwrap();
    let mut wrong = Vec::new();
    for (line, answer) in &docker {
        let known = DIFFERENT.iter().find(|(different, _)| different == line);
        match (ours.get(line) == Some(answer), known) {
            (true, None) | (false, Some(_)) => {}
            (true, Some((_, reason))) => {
                wrong.push(format!("{line}\n  is the same by now, and yet said to differ: {reason}"))
            }
            (false, None) => {
                let ours = ours.get(line).map_or_else(|| "nothing: record anew".to_owned(), ToString::to_string);
                wrong.push(format!("{line}\n  docker: {answer}\n  cooper: {ours}"));
            }
        }
    }
    let unknown = DIFFERENT.iter().filter(|(line, _)| !docker.contains_key(*line)).map(|(line, _)| (*line).to_owned());
    wrong.extend(unknown);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), docker.len(), wrong.join("\n"));
    cooper.finish();
}
