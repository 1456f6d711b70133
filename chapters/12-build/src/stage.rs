//! A stage while it is built: its layers so far, its configuration, its variables.
//!
//! Most instructions change no file. They only write into the configuration that the image will
//! carry, and this module is those: each is a few lines that say what the field means.

use containers::Engine;
use images::config::Healthcheck as ImageHealthcheck;
use images::{History, Image, ImageConfig};
use layers::DiffId;

use crate::draft::Layer;
use crate::instruction::{Command, Healthcheck, Instruction, Statement};
use crate::scope::Scope;
use crate::words;

/// The shell that runs shell forms until SHELL says otherwise.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Who wrote a history entry.
pub const SIGNATURE: &str = "cooper.build.v0";

/// A stage's result so far; another stage may stand on it.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// The image's configuration so far.
    pub config: ImageConfig,
    /// Its variables.
    pub scope: Scope,
    /// When its last step that could change files was executed, RFC 3339. Lines that only configure take it too:
    /// they cost nothing to do again, and must not make an image look new.
    pub moment: String,
    /// Whether CMD was given in this stage: then ENTRYPOINT leaves it alone.
    cmd_given: bool,
}

impl Stage {
    /// A stage on nothing, begun at `moment`.
    pub fn scratch(scope: Scope, moment: String) -> Stage {
        let mut config =
            ImageConfig { architecture: "amd64".to_owned(), os: "linux".to_owned(), ..ImageConfig::default() };
        config.rootfs.kind = "layers".to_owned();
        Stage { layers: Vec::new(), config, scope, moment, cmd_given: false }
    }

    /// A stage on an image, begun at `moment`.
    pub fn on_image(image: &Image, mut scope: Scope, moment: String) -> Stage {
        scope.inherit(&image.config.config.env);
        let layers = image.diff_ids().iter().zip(&image.manifest.layers);
        let layers = layers.map(|(diff_id, blob)| Layer { diff_id: *diff_id, blob: blob.clone() }).collect();
        Stage { layers, config: image.config.clone(), scope, moment, cmd_given: false }
    }

    /// A stage on another: it goes on where that one ended, variables and all.
    pub fn on_stage(other: &Stage) -> Stage {
        Stage { cmd_given: false, ..other.clone() }
    }

    /// The names of its layers, lowest first.
    pub fn chain(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// The shell of shell forms.
    pub fn shell(&self) -> Vec<String> {
        self.config.config.shell.clone().unwrap_or_else(|| SHELL.map(str::to_owned).to_vec())
    }

    /// The working directory, absolute.
    pub fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            workdir => workdir,
        }
    }

    /// Expands one word with the variables as they are now.
    ///
    /// # Errors
    /// A message for a form that is none.
    pub fn expand(&self, word: &str, escape: char) -> Result<String, String> {
        words::expand(word, escape, &|name| self.scope.lookup(name))
    }

    /// Adds a step's layer, if it made one, and its line to the history.
    pub fn push(&mut self, created_by: String, created: &str, layer: Option<Layer>) {
        self.config.history.push(History {
            created: Some(created.to_owned()),
            created_by: Some(created_by),
            comment: Some(SIGNATURE.to_owned()),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        self.layers.extend(layer);
    }

    /// Carries out an instruction that changes no file.
    ///
    /// # Errors
    /// A message for a value that cannot be; nothing is changed then.
    pub fn configure(&mut self, statement: &Statement, escape: char) -> Result<(), String> {
        let expand = |word: &str| self.expand(word, escape);
        match &statement.instruction {
            Instruction::Env(pairs) => {
                // All values of one line are expanded before any is set: `ENV a=1 b=$a` uses the old a.
                let pairs = expand_pairs(pairs, &expand)?;
                for (name, value) in &pairs {
                    self.scope.set_env(name, value);
                }
                self.config.config.env = self.scope.env();
            }
            Instruction::Arg(pairs) => {
                for (name, default) in pairs {
                    let default = default.as_ref().map(|text| self.expand(text, escape)).transpose()?;
                    self.scope.declare(name, default);
                }
            }
            Instruction::Label(pairs) => {
                let pairs = expand_pairs(pairs, &expand)?;
                self.config.config.labels.extend(pairs);
            }
            Instruction::User(user) => self.config.config.user = checked_user(expand(user)?)?,
            Instruction::Expose(ports) => {
                let expanded = ports.iter().map(|port| expand(port)).collect::<Result<Vec<_>, _>>()?;
                let ports = exposed(&expanded)?.into_iter().map(|port| (port, Default::default()));
                self.config.config.exposed_ports.extend(ports);
            }
            Instruction::Volume(paths) => {
                let paths = volumes(paths.iter().map(|path| expand(path)))?;
                self.config.config.volumes.extend(paths.into_iter().map(|path| (path, Default::default())));
            }
            Instruction::StopSignal(signal) => {
                let signal = expand(signal)?;
                process::signals::parse(&signal).map_err(|_| format!("STOPSIGNAL {signal}: no such signal"))?;
                self.config.config.stop_signal = Some(signal);
            }
            Instruction::Cmd(command) => {
                self.config.config.cmd = Some(command.arguments(&self.shell()));
                self.cmd_given = true;
            }
            Instruction::Entrypoint(command) => {
                self.config.config.entrypoint = Some(command.arguments(&self.shell()));
                // The base's CMD were arguments of another program.
                if !self.cmd_given {
                    self.config.config.cmd = None;
                }
            }
            Instruction::Shell(words) => self.config.config.shell = Some(words.clone()),
            Instruction::Healthcheck(check) => self.config.config.healthcheck = Some(health(check)),
            Instruction::OnBuild(line) => self.config.config.on_build.push(line.clone()),
            Instruction::Maintainer(name) => self.config.author = Some(name.clone()),
            Instruction::From { .. } | Instruction::Run { .. } | Instruction::Copy(_) | Instruction::Workdir(_) => {}
        }
        Ok(())
    }

    /// Makes sure that the files of every layer are there to be stacked.
    ///
    /// # Errors
    /// A layer whose archive is gone or damaged.
    pub fn unpack(&self, engine: &Engine) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        for layer in &self.layers {
            if !engine.snapshots().has(&layer.diff_id) {
                engine.snapshots().extract(&layer.diff_id, engine.store().blob(&layer.blob.digest)?)?;
            }
        }
        Ok(())
    }
}

fn expand_pairs(
    pairs: &[(String, String)],
    expand: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Vec<(String, String)>, String> {
    pairs.iter().map(|(name, value)| Ok((expand(name)?, expand(value)?))).collect()
}

/// The expanded paths of a VOLUME, none of them empty.
fn volumes(paths: impl Iterator<Item = Result<String, String>>) -> Result<Vec<String>, String> {
    let paths = paths.collect::<Result<Vec<_>, _>>()?;
    match paths.iter().any(String::is_empty) {
        true => Err("VOLUME specified can not be an empty string".to_owned()),
        false => Ok(paths),
    }
}

/// What USER expands to, if it can be anybody at all.
fn checked_user(user: String) -> Result<String, String> {
    if user.trim().is_empty() {
        return Err("USER expands to nothing".to_owned());
    }
    containers::user::check(&user).map_err(|error| error.to_string())?;
    Ok(user)
}

/// `80`, `80/udp`, `8000-8002`, as `80/tcp`, `80/udp`, `8000/tcp` and so on.
fn exposed(words: &[String]) -> Result<Vec<String>, String> {
    let mut ports = Vec::new();
    for word in words.iter().flat_map(|word| word.split_whitespace()) {
        let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>(), protocol.as_str()) {
            (Ok(first), Ok(last), "tcp" | "udp" | "sctp") if first > 0 && first <= last => {
                ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
            }
            _ => return Err(format!("invalid containerPort: {word}")),
        }
    }
    Ok(ports)
}

/// A health check as an image's configuration holds it.
fn health(check: &Healthcheck) -> ImageHealthcheck {
    let test = match &check.command {
        None => vec!["NONE".to_owned()],
        Some(Command::Shell(line)) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Some(Command::Exec(words)) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
    };
    ImageHealthcheck {
        test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
