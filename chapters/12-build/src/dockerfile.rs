//! A whole Dockerfile: its stages, and which of them a target needs.
//!
//! A file with several `FROM`s is a small graph. Each `FROM` opens a stage; a stage stands on
//! an image, on nothing (`scratch`), or on an earlier stage, and its `COPY --from` lines read
//! from others. Only what the target can reach is built:
//!
//! ```text
//!   FROM golang AS compile ----COPY --from=compile----> FROM scratch AS ship   <- the target
//!   FROM compile AS test                                 (nothing reaches `test`: skipped)
//! ```
//!
//! References go to earlier stages only, so the graph has no cycles by construction, and the
//! order of the file is an order to build in.

use std::fmt::Write as _;
use std::path::Path;

use crate::error::{Error, Place};
use crate::instruction::{Instruction, Statement};
use crate::{lines, parser, words};

/// No file has more stages.
const MAX_STAGES: usize = 256;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character, which expansion needs too.
    pub escape: char,
    /// The `ARG`s before the first `FROM`: (name, default), for the `FROM` lines alone.
    pub arguments: Vec<Statement>,
    /// The stages, in the file's order; never empty.
    pub stages: Vec<Stage>,
}

/// One `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its `AS` name, lower case.
    pub name: Option<String>,
    /// Where its `FROM` stands.
    pub place: Place,
    /// What it stands on, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// What follows, in order.
    pub statements: Vec<Statement>,
}

/// What a stage, or a `COPY --from`, reads.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nothing: the empty root.
    Scratch,
    /// Another stage, by its index.
    Stage(usize),
    /// An image, by its name.
    Image(String),
}

impl Dockerfile {
    /// Parses the text of `file`, whose name appears in errors.
    ///
    /// # Errors
    /// [`Error::Dockerfile`] at the first line that is wrong.
    pub fn parse(file: &Path, text: &str) -> Result<Dockerfile, Error> {
        let (directives, lines) = lines::split(file, text)?;
        let mut parsed = Dockerfile { escape: directives.escape, arguments: Vec::new(), stages: Vec::new() };
        for line in &lines {
            let statement = parser::statement(file, line, directives.escape)?;
            match statement.instruction {
                Instruction::From { base, name, platform } => {
                    let stage = Stage { name, place: statement.place, base, platform, statements: Vec::new() };
                    parsed.open(stage)?;
                }
                _ => match parsed.stages.last_mut() {
                    Some(stage) => stage.statements.push(statement),
                    None if matches!(statement.instruction, Instruction::Arg(_)) => parsed.arguments.push(statement),
                    None => {
                        return Err(Error::dockerfile(
                            &statement.place,
                            "no build stage in current context: a FROM comes first",
                        ));
                    }
                },
            }
        }
        if parsed.stages.is_empty() {
            return Err(Error::File { file: file.to_owned(), message: "no FROM in it, so no build stage".to_owned() });
        }
        Ok(parsed)
    }

    fn open(&mut self, stage: Stage) -> Result<(), Error> {
        if self.stages.len() >= MAX_STAGES {
            return Err(Error::dockerfile(&stage.place, format!("more than {MAX_STAGES} stages")));
        }
        if let Some(name) = &stage.name
            && self.stages.iter().any(|other| other.name.as_ref() == Some(name))
        {
            return Err(Error::dockerfile(
                &stage.place,
                format!("duplicate name {name:?}, stage names should be unique"),
            ));
        }
        self.stages.push(stage);
        Ok(())
    }

    /// The index of the stage that `--target` names, by name or number; the last one without.
    ///
    /// # Errors
    /// A message that lists the stages there are.
    pub fn target(&self, target: Option<&str>) -> Result<usize, String> {
        let Some(target) = target else { return Ok(self.stages.len() - 1) };
        self.find(target, self.stages.len()).ok_or_else(|| {
            let names: Vec<_> = self.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
            format!("target stage {target:?} could not be found (stages: {})", names.join(", "))
        })
    }

    /// The stage before `before` that `name` means, by its name or its number.
    fn find(&self, name: &str, before: usize) -> Option<usize> {
        let named = self.stages[..before]
            .iter()
            .position(|stage| stage.name.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(name)));
        named.or_else(|| name.parse().ok().filter(|index| *index < before))
    }

    /// What each stage stands on. `build_args` are the user's `--build-arg`s, which win over
    /// the defaults of the `ARG`s before the first `FROM`.
    ///
    /// # Errors
    /// A base that expands to nothing, or a platform that is not this machine's.
    pub fn bases(&self, build_args: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Origin>, Error> {
        let globals = self.globals(build_args)?;
        let lookup = |name: &str| globals.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let expand = |place: &Place, text: &str| {
            words::expand(text, self.escape, &lookup).map_err(|message| Error::dockerfile(place, message))
        };
        self.stages
            .iter()
            .enumerate()
            .map(|(index, stage)| {
                if let Some(platform) = &stage.platform {
                    supported(&stage.place, &expand(&stage.place, platform)?)?;
                }
                let base = expand(&stage.place, &stage.base)?;
                match base.as_str() {
                    "" => {
                        Err(Error::dockerfile(&stage.place, format!("base name ({}) should not be blank", stage.base)))
                    }
                    "scratch" => Ok(Origin::Scratch),
                    // A base is a stage only by name: a number could be an image's name.
                    name => Ok(self.stages[..index]
                        .iter()
                        .position(|other| other.name.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(name)))
                        .map_or_else(|| Origin::Image(base.clone()), Origin::Stage)),
                }
            })
            .collect()
    }

    /// The arguments before the first `FROM`, with their values where they have one.
    ///
    /// # Errors
    /// A default that does not expand.
    pub fn globals(&self, build_args: &dyn Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, Error> {
        let mut globals: Vec<(String, String)> = platform_arguments();
        for statement in &self.arguments {
            let Instruction::Arg(pairs) = &statement.instruction else { continue };
            for (name, default) in pairs {
                let lookup = |name: &str| globals.iter().rev().find(|(known, _)| known == name).map(|(_, v)| v.clone());
                let default = match default {
                    Some(text) => Some(
                        words::expand(text, self.escape, &lookup)
                            .map_err(|message| Error::dockerfile(&statement.place, message))?,
                    ),
                    None => None,
                };
                if let Some(value) = build_args(name).or(default) {
                    globals.push((name.clone(), value));
                }
            }
        }
        Ok(globals)
    }

    /// What `COPY --from=from` in stage `index` reads.
    ///
    /// # Errors
    /// A variable in it, which BuildKit does not expand either, and a stage that names itself.
    pub fn copy_origin(&self, index: usize, place: &Place, from: &str) -> Result<Origin, Error> {
        if from.contains('$') {
            let message = "variable expansion is not supported for --from: define a new stage with FROM, which expands";
            return Err(Error::dockerfile(place, message));
        }
        if let Some(stage) = self.find(from, index) {
            return Ok(Origin::Stage(stage));
        }
        if from.parse::<usize>().is_ok() || self.stages[index].name.as_deref() == Some(from) {
            return Err(Error::dockerfile(place, format!("--from={from}: no such stage before this one")));
        }
        match from {
            "scratch" => Ok(Origin::Scratch),
            image => Ok(Origin::Image(image.to_owned())),
        }
    }

    /// The stages that `target` needs, itself last, in an order to build in.
    ///
    /// # Errors
    /// As [`copy_origin`](Dockerfile::copy_origin), for needed stages alone: what is skipped
    /// may be wrong.
    pub fn needed(&self, target: usize, bases: &[Origin]) -> Result<Vec<usize>, Error> {
        let mut needed = vec![false; self.stages.len()];
        needed[target] = true;
        // Edges point backwards only, so one sweep from the end finds everything.
        for index in (0..=target).rev() {
            if !needed[index] {
                continue;
            }
            for origin in self.origins(index, bases)? {
                if let Origin::Stage(stage) = origin {
                    needed[stage] = true;
                }
            }
        }
        Ok((0..=target).filter(|index| needed[*index]).collect())
    }

    /// Everything that stage `index` reads: its base first, then each `COPY --from`.
    fn origins(&self, index: usize, bases: &[Origin]) -> Result<Vec<Origin>, Error> {
        let mut origins = vec![bases[index].clone()];
        for statement in &self.stages[index].statements {
            if let Instruction::Copy(copy) = &statement.instruction
                && let Some(from) = &copy.from
            {
                origins.push(self.copy_origin(index, &statement.place, from)?);
            }
        }
        Ok(origins)
    }

    /// The stage's name, or the `stage-N` that BuildKit calls it in its progress.
    pub fn stage_name(&self, index: usize) -> String {
        self.stages[index].name.clone().unwrap_or_else(|| format!("stage-{index}"))
    }

    /// The graph as text: each stage, what it reads, and its instructions with their lines.
    ///
    /// # Errors
    /// As [`bases`](Dockerfile::bases) and [`needed`](Dockerfile::needed).
    pub fn picture(&self, target: Option<&str>, build_args: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
        let bases = self.bases(build_args)?;
        let target = self.target(target).map_err(|message| Error::dockerfile(&self.stages[0].place, message))?;
        let needed = self.needed(target, &bases)?;
        let mut text = String::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let role = match (index == target, needed.contains(&index)) {
                (true, _) => "  <- target",
                (_, true) => "",
                _ => "  (not needed: skipped)",
            };
            let mut origins = Vec::new();
            for origin in self.origins(index, &bases)? {
                let named = match origin {
                    Origin::Scratch => "scratch".to_owned(),
                    Origin::Stage(stage) => format!("stage {}", self.stage_name(stage)),
                    Origin::Image(image) => format!("image {image}"),
                };
                if !origins.contains(&named) {
                    origins.push(named);
                }
            }
            // Writing to a String can not fail.
            writeln!(text, "{} <- {}{role}", self.stage_name(index), origins.join(", ")).ok();
            for statement in &stage.statements {
                writeln!(text, "  {:>4}  {}", statement.place.line, statement.place.text).ok();
            }
        }
        Ok(text)
    }
}

/// The arguments that describe the platform; every stage may declare them and has their value.
pub fn platform_arguments() -> Vec<(String, String)> {
    let mut arguments = Vec::new();
    for side in ["TARGET", "BUILD"] {
        for (part, value) in [("PLATFORM", "linux/amd64"), ("OS", "linux"), ("ARCH", "amd64"), ("VARIANT", "")] {
            arguments.push((format!("{side}{part}"), value.to_owned()));
        }
    }
    arguments
}

/// Refuses a platform that is not this engine's.
fn supported(place: &Place, platform: &str) -> Result<(), Error> {
    match platform {
        "linux/amd64" | "linux/x86_64" => Ok(()),
        other => Err(Error::dockerfile(place, format!("platform {other:?} is not supported: only linux/amd64"))),
    }
}

#[cfg(test)]
#[path = "dockerfile_tests.rs"]
mod tests;
