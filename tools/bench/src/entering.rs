//! `exec`: one more program in a container that runs already, by those who run containers that stay.

use std::process::{Command, Stdio};

use crate::contender::{Contender, Scene, trial};

/// Cooper's name in the table.
pub(crate) const OWN: &str = "cooper exec";

/// The name of the container.
const NAME: &str = "cooper-bench-inside";

/// A container of each engine, and who enters it. They end with this.
pub(crate) struct Inside {
    engines: Vec<Vec<String>>,
    /// Those that enter.
    pub(crate) contenders: Vec<Contender>,
}

impl Inside {
    /// Starts a container in each engine that can.
    pub(crate) fn new(scene: &Scene) -> Self {
        let (mut engines, mut contenders) = (Vec::new(), Vec::new());
        for engine in scene.engines("host") {
            let name = match engine.name {
                "cooper" => OWN,
                "docker" => "docker exec",
                _ => "podman exec",
            };
            let run = ["run", "--detach", "--name", NAME, &engine.image, "sleep", "100000"];
            let enter = called(&engine.words, &["exec", NAME, "true"]);
            let start = || trial(&mut to_command(&called(&engine.words, &run)));
            let skipped = engine.skipped.clone().map_or_else(start, Err).err().or_else(|| {
                engines.push(engine.words.clone());
                trial(&mut to_command(&enter)).err()
            });
            contenders.push(scene.contender(name, enter, skipped));
        }
        Self { engines, contenders }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        for engine in &self.engines {
            if let Err(error) = trial(&mut to_command(&called(engine, &["rm", "--force", NAME]))) {
                eprintln!("bench: {error}");
            }
        }
    }
}

fn called(engine: &[String], words: &[&str]) -> Vec<String> {
    engine.iter().cloned().chain(words.iter().map(|&word| word.to_owned())).collect()
}

fn to_command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}
