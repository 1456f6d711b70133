//! The build: from options to an image.

use std::path::{Path, PathBuf};

use containers::Engine;
use images::Image;
use jiff::Timestamp;
use rootfs::Root;

use crate::base;
use crate::cache::Cache;
use crate::dockerfile::{Dockerfile, Origin};
use crate::error::Error;
use crate::export::export;
use crate::ignore::Ignore;
use crate::instruction::{Instruction, Statement};
use crate::lines::{Line, MAX_SIZE};
use crate::options::BuildOptions;
use crate::parser;
use crate::progress::{Progress, Reporter};
use crate::scope::Scope;
use crate::stage::Stage;
use crate::tree::{Owners, Tree};

/// Builds an image as `options` say, in this process, and returns it.
///
/// Parse, find out what the target needs, build that stage by stage, export. A failed build
/// leaves no image, no container and no file but the cached layers of the steps that succeeded.
/// This process must have one thread only: RUN steps are started from it.
///
/// # Errors
/// [`Error::Dockerfile`] and [`Error::File`] for what the author can mend, [`Error::Run`] for a command that failed,
/// [`Error::Step`] and [`Error::Engine`] for the rest.
///
/// # References
/// <https://docs.docker.com/reference/cli/docker/buildx/build/>
// spine
pub fn build(engine: &Engine, options: &BuildOptions, progress: &mut dyn Progress) -> Result<Image, Error> {
    // While a layer has no name yet, nobody may collect it.
    let _lease = engine.store().lease().map_err(|error| Error::engine("lock the image store", error))?;
    let mut reporter = Reporter::new(progress);
    let (file, context) = load(options, &mut reporter)?;

    let given = |name: &str| options.build_args.get(name).cloned();
    let bases = file.bases(&given)?;
    let target = file.target(options.target.as_deref());
    let target = target.map_err(|message| Error::engine("choose the stage to build", message))?;
    let needed = file.needed(target, &bases)?;

    let globals = file.globals(&given)?;
    let cache = Cache::open(engine)?;
    let created = options.epoch.unwrap_or_else(Timestamp::now).to_string();
    let stages = vec![None; file.stages.len()];
    let mut builder =
        Builder { engine, options, file: &file, bases, globals, context, cache, reporter, created, stages };
    for index in needed {
        let stage = builder.stage(index)?;
        builder.stages[index] = Some(stage);
    }
    let Some(stage) = builder.stages[target].take() else {
        return Err(Error::engine("build", "the target was not among the stages that it needs"));
    };
    export(engine, options, stage, &mut builder.reporter)
}

/// A build under way.
pub(crate) struct Builder<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) options: &'a BuildOptions,
    pub(crate) file: &'a Dockerfile,
    pub(crate) context: Tree,
    pub(crate) cache: Cache,
    pub(crate) reporter: Reporter<'a>,
    /// The moment that is written wherever an image records one.
    pub(crate) created: String,
    /// The stages that are done.
    pub(crate) stages: Vec<Option<Stage>>,
    bases: Vec<Origin>,
    globals: Vec<(String, String)>,
}

/// Where a step stands in its stage: what `[builder 2/4]` is made of.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    stage: Option<String>,
    step: usize,
    of: usize,
}

impl Position {
    /// The step's name in the progress.
    pub(crate) fn name(&self, text: &str) -> String {
        let stage = self.stage.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        format!("[{stage}{}/{}] {text}", self.step, self.of)
    }
}

impl Builder<'_> {
    /// Builds one stage.
    fn stage(&mut self, index: usize) -> Result<Stage, Error> {
        let file = self.file;
        let lines = &file.stages[index];
        let several = file.stages.len() > 1;
        let mut at = Position { stage: several.then(|| file.stage_name(index)), step: 1, of: 1 };
        at.of += lines.statements.iter().filter(|statement| makes_layer(statement)).count();

        let mut stage = self.begin(index, &at)?;
        let triggers = self.triggers(index, &mut stage)?;
        at.of += triggers.iter().filter(|statement| makes_layer(statement)).count();
        for statement in triggers.iter().chain(&lines.statements) {
            if makes_layer(statement) {
                at.step += 1;
            }
            self.statement(index, &mut stage, statement, &at).inspect_err(|error| {
                if makes_layer(statement) {
                    self.reporter.failed(&error.to_string());
                }
            })?;
        }
        Ok(stage)
    }

    /// What a stage stands on.
    fn begin(&mut self, index: usize, at: &Position) -> Result<Stage, Error> {
        let scope = Scope::new(&self.globals, &self.options.build_args);
        let place = &self.file.stages[index].place;
        match &self.bases[index] {
            Origin::Scratch => Ok(Stage::scratch(scope, self.created.clone())),
            Origin::Stage(other) => {
                let other = self.stages[*other].as_ref();
                other.map(Stage::on_stage).ok_or_else(|| Error::dockerfile(place, "its base stage was not built"))
            }
            Origin::Image(name) => {
                self.reporter.begin(&at.name(&format!("FROM {name}")));
                let image = base::bring(self.engine, name, self.options.pull, &mut self.reporter);
                let image = image
                    .map_err(|error| error.at(place))
                    .inspect_err(|error| self.reporter.failed(&error.to_string()))?;
                self.reporter.done();
                let made = image.config.created.clone().filter(|_| self.options.epoch.is_none());
                let moment = made.unwrap_or_else(|| self.created.clone());
                Ok(Stage::on_image(&image, scope, moment))
            }
        }
    }

    /// The lines that the base image's author left for this moment with `ONBUILD`. They stand, so to
    /// say, on the `FROM` line, and are not passed on.
    fn triggers(&self, index: usize, stage: &mut Stage) -> Result<Vec<Statement>, Error> {
        let place = &self.file.stages[index].place;
        let lines = match self.bases[index] {
            Origin::Image(_) => std::mem::take(&mut stage.config.config.on_build),
            _ => Vec::new(),
        };
        lines
            .into_iter()
            .map(|text| {
                let line = Line { number: place.line, text, heredocs: Vec::new() };
                parser::statement(&place.file, &line, self.file.escape)
            })
            .collect()
    }

    /// Carries out one line.
    fn statement(
        &mut self,
        index: usize,
        stage: &mut Stage,
        statement: &Statement,
        at: &Position,
    ) -> Result<(), Error> {
        let place = &statement.place;
        match &statement.instruction {
            Instruction::Run { command, network } => self.run(stage, place, command, *network, at),
            Instruction::Copy(copy) => self.copy(index, stage, place, copy, at),
            Instruction::Workdir(path) => self.workdir(stage, place, path, at),
            _ => {
                stage.configure(statement, self.file.escape).map_err(|message| Error::dockerfile(place, message))?;
                let moment = stage.moment.clone();
                stage.push(place.text.clone(), &moment, None);
                Ok(())
            }
        }
    }
}

/// Whether an instruction may change files, and so is a numbered step.
fn makes_layer(statement: &Statement) -> bool {
    matches!(statement.instruction, Instruction::Run { .. } | Instruction::Copy(_) | Instruction::Workdir(_))
}

/// Reads the Dockerfile and the rules of what the context hides.
fn load(options: &BuildOptions, reporter: &mut Reporter<'_>) -> Result<(Dockerfile, Tree), Error> {
    let path = options.dockerfile.clone().unwrap_or_else(|| options.context.join("Dockerfile"));
    reporter.begin(&format!("[internal] load build definition from {}", file_name(&path)));
    let loaded = read(&path).and_then(|text| Dockerfile::parse(&path, &text));
    let file = loaded.inspect_err(|error| reporter.failed(&error.to_string()))?;
    reporter.done();

    reporter.begin("[internal] load .dockerignore");
    let ignore = read_ignore(options, &path).inspect_err(|error| reporter.failed(&error.to_string()))?;
    let root = Root::open(&options.context).map_err(|error| Error::engine("open the build context", error))?;
    reporter.done();
    Ok((file, Tree::new(root, ignore, Owners::Root)))
}

/// `NAME.dockerignore` beside the Dockerfile, or else the context's `.dockerignore`.
fn read_ignore(options: &BuildOptions, dockerfile: &Path) -> Result<Ignore, Error> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), options.context.join(".dockerignore")] {
        if path.exists() {
            return Ignore::parse(&path, &read(&path)?);
        }
    }
    Ok(Ignore::default())
}

/// Reads a text of bounded size.
fn read(path: &Path) -> Result<String, Error> {
    let wrong = |message: String| Error::File { file: path.to_owned(), message };
    let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > MAX_SIZE as u64 {
        return Err(wrong(format!("not a regular file of at most {MAX_SIZE} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| wrong(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
