//! What the handlers share: the engine, and how to call it from asynchronous code.
//!
//! The engine is synchronous and may wait: for a disk, for a container to end. So each call runs
//! on a thread of its own kind (`spawn_blocking`), and handlers await its answer. That makes this
//! process threaded, and a threaded process must not clone a container: `Engine::start`
//! executes the engine's binary afresh as the container's monitor, and `exec` runs it as
//! `cooper exec`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use containers::{Engine, Paths};
use images::ImageConfig;

use crate::error::{ApiError, Error};
use crate::exec::Session;
use crate::runs::Runs;

/// What the daemon is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen: a path, with or without `unix://` in front.
    pub socket: String,
    /// Where the engine keeps its things.
    pub paths: Paths,
    /// The value of `--root`, if the paths came from one: `exec` passes it on.
    pub root: Option<PathBuf>,
    /// The `cooper` binary, which `exec` runs.
    pub exe: PathBuf,
    /// What carries out the lines of `commit --change` and `import --change`.
    pub amend: Amend,
}

/// Changes an image's configuration as lines of a Dockerfile say; what is wrong is a sentence.
///
/// That language is chapter 12's, which this one does not know: whoever starts the daemon hands it over.
pub type Amend = fn(&mut ImageConfig, &[String]) -> Result<(), String>;

/// The state of the API: the engine, and the exec sessions that clients have made.
#[derive(Debug)]
pub struct Api {
    engine: Engine,
    config: Config,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    runs: Arc<Runs>,
}

impl Api {
    /// Opens the engine.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn open(config: Config) -> Result<Self, Error> {
        let engine = Engine::open(config.paths.clone())?;
        Ok(Self { engine, config, sessions: Mutex::default(), runs: Arc::default() })
    }

    /// Runs a call that may block, elsewhere.
    ///
    /// # Errors
    /// What the call says; 500 if it panicked.
    pub async fn call<T, F>(self: &Arc<Self>, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> Result<T, ApiError> + Send + 'static,
    {
        let api = Arc::clone(self);
        let joined = tokio::task::spawn_blocking(move || work(&api.engine)).await;
        joined.map_err(|e| ApiError::internal(format!("the call did not finish: {e}")))?
    }

    /// The engine, for callers that may block.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The directory of images and containers.
    pub fn data(&self) -> &Path {
        &self.config.paths.data
    }

    /// A command that runs `cooper` on this daemon's engine.
    pub fn cooper(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.config.exe);
        if let Some(root) = &self.config.root {
            command.arg("--root").arg(root);
        }
        command
    }

    /// What carries out `--change`.
    pub(crate) fn amend(&self) -> Amend {
        self.config.amend
    }

    /// Who waits for which container.
    pub(crate) fn runs(&self) -> &Arc<Runs> {
        &self.runs
    }

    /// The exec sessions by id.
    pub fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        // A panic elsewhere leaves a map that is still a map.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
