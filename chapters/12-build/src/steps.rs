//! The three steps that change files: RUN, COPY (and ADD), WORKDIR.
//!
//! All three go the same way, and the way is the cache's: write down what the result depends on,
//! ask for it, and only if nobody knows, do the work and keep what it gave.

use images::Image;
use rustix::fs::OFlags;

use crate::base;
use crate::builder::{Builder, Position};
use crate::cache::{Inputs, Record, Verdict, is_there};
use crate::copy::{self, Target};
use crate::dockerfile::Origin;
use crate::draft::{self, Draft, Layer};
use crate::error::{Error, Place};
use crate::ignore::Ignore;
use crate::instruction::{Command, Copy, RunNetwork, Unpack};
use crate::owner;
use crate::run::{self, Job, Outcome};
use crate::sources::Sources;
use crate::stage::Stage;
use crate::tree::{Owners, Tree, components};
use crate::words;

/// A tree of another stage or image, with what has to live as long.
struct Foreign {
    tree: Tree,
    _held: draft::Held,
}

impl Builder<'_> {
    /// `RUN`.
    pub(crate) fn run(
        &mut self,
        stage: &mut Stage,
        place: &Place,
        command: &Command,
        network: RunNetwork,
        at: &Position,
    ) -> Result<(), Error> {
        self.reporter.begin(&at.name(&place.text));
        let network = match network {
            RunNetwork::Default => self.options.network.clone(),
            RunNetwork::None => containers::NetworkMode::None,
        };
        let arguments = command.arguments(&stage.shell());
        let mut inputs = Inputs::new(
            stage.chain(),
            [
                // As JSON: `["a b"]` and `["a", "b"]` are two commands.
                ("command", serde_json::to_string(&arguments).unwrap_or_default()),
                ("directory", stage.workdir().to_owned()),
                ("user", stage.config.config.user.clone()),
                ("network", network.as_str().to_owned()),
            ],
        );
        let run_env = stage.scope.run_env();
        let pairs = run_env.iter().filter_map(|entry| entry.split_once('='));
        inputs.env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let job = Job {
            chain: stage.chain(),
            command: arguments.clone(),
            env: run_env.into_iter().chain(stage.scope.proxies()).collect(),
            workdir: stage.workdir().to_owned(),
            user: stage.config.config.user.clone(),
            network,
        };
        let created_by = format!("RUN {}", arguments.join(" "));
        self.step(stage, place, inputs, created_by, |builder, stage| {
            stage.unpack(builder.engine).map_err(|error| Error::engine("unpack the layers below", error))?;
            match run::run(builder.engine, &job, builder.options.epoch, &mut builder.reporter)? {
                Outcome::Layer(layer) => Ok(Some(*layer)),
                Outcome::Failed(code) => Err(Error::Run { place: place.clone(), command: job.command.join(" "), code }),
            }
        })
    }

    /// `COPY` and `ADD`.
    pub(crate) fn copy(
        &mut self,
        index: usize,
        stage: &mut Stage,
        place: &Place,
        copy: &Copy,
        at: &Position,
    ) -> Result<(), Error> {
        self.reporter.begin(&at.name(&place.text));
        let escape = self.file.escape;
        let wrong = |message: String| Error::dockerfile(place, message);
        let expand = |word: &str| stage.expand(word, escape).map_err(wrong);
        let patterns = copy.sources.iter().map(|source| expand(source)).collect::<Result<Vec<_>, _>>()?;
        let destination = expand(&copy.destination)?;
        let chown = copy.chown.as_deref().map(expand).transpose()?;
        let chmod = copy.chmod.as_deref().map(expand).transpose()?;
        let mode = chmod.as_deref().map(owner::mode).transpose().map_err(wrong)?;

        let foreign = match &copy.from {
            None => None,
            Some(from) => Some(self.foreign(&self.file.copy_origin(index, place, from)?, place)?),
        };
        let tree = foreign.as_ref().map_or(&self.context, |foreign| &foreign.tree);
        let gathered = Sources::gather(tree, &patterns, copy.unpack);
        let mut sources = gathered.map_err(|error| Error::engine("read what is to be copied", error).at(place))?;
        add_inline(&mut sources, copy, stage, escape).map_err(wrong)?;
        let mut target = Target::new(stage.workdir(), &destination, None, mode);
        if sources.found.len() > 1 && !target.is_directory {
            let keyword = place.text.split_whitespace().next().unwrap_or("COPY");
            return Err(wrong(format!(
                "when using {keyword} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let mut inputs = Inputs::new(
            stage.chain(),
            [
                ("sources", patterns.join(" ")),
                ("destination", format!("{}{}", target.path.display(), if target.is_directory { "/" } else { "" })),
                ("owner", chown.clone().unwrap_or_default()),
                ("mode", chmod.unwrap_or_default()),
                ("archives", if copy.unpack == Unpack::Archives { "unpacked" } else { "" }.to_owned()),
            ],
        );
        inputs.files = std::mem::take(&mut sources.contents);
        self.step(stage, place, inputs, place.text.clone(), |builder, stage| {
            stage.unpack(builder.engine).map_err(|error| Error::engine("unpack the layers below", error))?;
            let draft = Draft::open(builder.engine, &stage.chain())?;
            if let Some(spec) = &chown {
                target.owner =
                    Some(owner::resolve(draft.root(), spec).map_err(|message| Error::dockerfile(place, message))?);
            }
            let tree = foreign.as_ref().map_or(&builder.context, |foreign| &foreign.tree);
            copy::write(draft.root(), tree, &sources, &target)
                .map_err(|error| Error::engine("copy into the image", error))?;
            draft.commit(builder.engine, builder.options.epoch).map(Some)
        })
    }

    /// `WORKDIR`: makes the directory if it is not there, and remembers it.
    pub(crate) fn workdir(&mut self, stage: &mut Stage, place: &Place, path: &str, at: &Position) -> Result<(), Error> {
        self.reporter.begin(&at.name(&place.text));
        let path = stage.expand(path, self.file.escape).map_err(|message| Error::dockerfile(place, message))?;
        if path.is_empty() {
            return Err(Error::dockerfile(place, "WORKDIR expands to nothing"));
        }
        let mut full = std::path::PathBuf::from("/");
        full.extend(components(&std::path::Path::new(stage.workdir()).join(&path)));
        stage.config.config.working_dir = full.to_string_lossy().into_owned();
        let inputs = Inputs::new(stage.chain(), [("directory", stage.config.config.working_dir.clone())]);
        self.step(stage, place, inputs, place.text.clone(), |builder, stage| {
            stage.unpack(builder.engine).map_err(|error| Error::engine("unpack the layers below", error))?;
            let draft = Draft::open(builder.engine, &stage.chain())?;
            if draft.root().open_in(&full, OFlags::PATH | OFlags::DIRECTORY).is_ok() {
                return Ok(None);
            }
            draft
                .root()
                .mkdir_all(&full, rustix::fs::Mode::from_raw_mode(0o755))
                .map_err(|error| Error::engine("make the working directory", error))?;
            draft.commit(builder.engine, builder.options.epoch).map(Some)
        })
    }

    /// The way of every step: look its inputs up, execute it if they are unknown, keep its result.
    fn step(
        &mut self,
        stage: &mut Stage,
        place: &Place,
        inputs: Inputs,
        created_by: String,
        execute: impl FnOnce(&mut Self, &Stage) -> Result<Option<Layer>, Error>,
    ) -> Result<(), Error> {
        let verdict = match self.options.cache {
            crate::options::CacheUse::Ignore => Verdict::Unknown { why: "the cache is not to be used".to_owned() },
            crate::options::CacheUse::Reuse => self.cache.look_up(place, &inputs, |layer| is_there(self.engine, layer)),
        };
        let (layer, created) = match verdict {
            Verdict::Known { layer, created, why } => {
                self.reporter.because(&why);
                self.cache.touch(place, &inputs)?;
                self.reporter.cached();
                // A date that was asked for holds for every step, whenever it was executed.
                let created = if self.options.epoch.is_some() { self.created.clone() } else { created };
                (layer.map(|layer| *layer), created)
            }
            Verdict::Unknown { why } => {
                self.reporter.because(&why);
                let layer = execute(self, stage).map_err(|error| error.at(place))?;
                let created = self.created.clone();
                let instruction = place.text.clone();
                let record = Record { instruction, inputs, layer: layer.clone(), created: created.clone() };
                self.cache.keep(place, &record)?;
                self.reporter.done();
                (layer, created)
            }
        };
        stage.push(created_by, &created, layer);
        stage.moment = created;
        Ok(())
    }

    /// The files of another stage, or of an image that no stage stands on.
    fn foreign(&mut self, origin: &Origin, place: &Place) -> Result<Foreign, Error> {
        let image: Image;
        let chain = match origin {
            Origin::Scratch => Vec::new(),
            Origin::Stage(index) => {
                let stage = self.stages[*index].as_ref();
                let stage = stage.ok_or_else(|| Error::dockerfile(place, "that stage was not built"))?;
                stage.unpack(self.engine).map_err(|error| Error::engine("unpack a stage's layers", error).at(place))?;
                stage.chain()
            }
            Origin::Image(name) => {
                image = base::bring(self.engine, name, self.options.pull, &mut self.reporter)
                    .map_err(|error| error.at(place))?;
                image.diff_ids().to_vec()
            }
        };
        let (root, held) = draft::read_only(self.engine, &chain).map_err(|error| error.at(place))?;
        Ok(Foreign { tree: Tree::new(root, Ignore::default(), Owners::Kept), _held: held })
    }
}

/// Here-documents among the sources: files that stand in the Dockerfile itself.
fn add_inline(sources: &mut Sources, copy: &Copy, stage: &Stage, escape: char) -> Result<(), String> {
    for (name, content, expands) in &copy.inline {
        let lookup = |name: &str| stage.scope.lookup(name);
        let content = match expands {
            true => words::expand_text(content, escape, &lookup)?,
            false => content.clone(),
        };
        sources.add_inline(name.clone(), content);
    }
    Ok(())
}
