//! What may be asked of a build: plain data, one field for each flag.

use std::collections::BTreeMap;
use std::path::PathBuf;

use containers::NetworkMode;
use images::Reference;
use jiff::Timestamp;

/// Whether earlier results may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// A step whose key is known is not executed again.
    #[default]
    Reuse,
    /// `--no-cache`: every step is executed; its result still replaces what was cached.
    Ignore,
}

/// When base images are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When they are not here.
    #[default]
    Missing,
    /// `--pull`: always ask the registry.
    Always,
}

/// Everything that `build` lets one ask for. `Default` with a context is what
/// `docker build CONTEXT` means.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The directory whose files COPY and ADD may read.
    pub context: PathBuf,
    /// `-f`, relative to the current directory; `CONTEXT/Dockerfile` if absent.
    pub dockerfile: Option<PathBuf>,
    /// `-t`, any number.
    pub tags: Vec<Reference>,
    /// `--target`: the stage to build; the last one if absent.
    pub target: Option<String>,
    /// `--build-arg NAME=VALUE`. (A bare `NAME` is looked up by the CLI, in its own environment.)
    pub build_args: BTreeMap<String, String>,
    /// `--label`, laid over the Dockerfile's.
    pub labels: Vec<(String, String)>,
    /// `--no-cache`.
    pub cache: CacheUse,
    /// `--pull`.
    pub pull: Pull,
    /// `--network`, for RUN steps: bridge, host, none or a network's name.
    pub network: NetworkMode,
    /// `SOURCE_DATE_EPOCH`: the moment to write wherever an image records one, so that the same
    /// build twice is the same image to the last bit.
    pub epoch: Option<Timestamp>,
}

impl BuildOptions {
    /// A build of `context`, everything else as `docker build` has it by default.
    pub fn new(context: impl Into<PathBuf>) -> BuildOptions {
        BuildOptions { context: context.into(), ..BuildOptions::default() }
    }

    /// Reads an epoch as the environment variable `SOURCE_DATE_EPOCH` holds it: seconds since 1970.
    ///
    /// # Errors
    /// A message if it is no number, or no moment of the calendar.
    ///
    /// # References
    /// <https://reproducible-builds.org/specs/source-date-epoch/>
    pub fn parse_epoch(text: &str) -> Result<Timestamp, String> {
        let seconds: i64 =
            text.trim().parse().map_err(|_| format!("SOURCE_DATE_EPOCH={text:?} is no number of seconds"))?;
        Timestamp::from_second(seconds).map_err(|error| format!("SOURCE_DATE_EPOCH={text}: {error}"))
    }
}
