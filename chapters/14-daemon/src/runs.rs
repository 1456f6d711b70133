//! Who is waiting for a container that may not even have started.
//!
//! `docker run` is five requests, and their order matters:
//!
//! ```text
//! create -> attach -> wait?condition=next-exit -> start -> (resize)
//! ```
//!
//! The client attaches and waits *before* it starts, so that neither the first byte of output nor the exit
//! of a program that lives for a millisecond is missed. The engine attaches as part of starting, and a
//! start's [`Running`] alone surely learns the exit code. So requests that come early leave word here,
//! and `start` serves them all.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use containers::{ContainerId, Running};
use tokio::sync::{oneshot, watch};

/// How a run ended: the exit code, or nothing where nobody can say.
pub(crate) type Code = Option<u8>;

/// Requests that wait for runs, by container.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<HashMap<ContainerId, Entry>>);

#[derive(Debug)]
struct Entry {
    attach: Vec<oneshot::Sender<UnixStream>>,
    ended: watch::Sender<Option<Code>>,
    started: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self { attach: Vec::new(), ended: watch::Sender::new(None), started: false }
    }
}

impl Runs {
    /// The end of the run that goes on, or of the next one.
    pub(crate) fn next_end(&self, id: &ContainerId) -> watch::Receiver<Option<Code>> {
        self.lock().entry(id.clone()).or_default().ended.subscribe()
    }

    /// The end of the run that this daemon started and that goes on.
    pub(crate) fn current_end(&self, id: &ContainerId) -> Option<watch::Receiver<Option<Code>>> {
        self.lock().get(id).filter(|entry| entry.started).map(|entry| entry.ended.subscribe())
    }

    /// The streams of the next run, from its first byte.
    pub(crate) fn next_streams(&self, id: &ContainerId) -> oneshot::Receiver<UnixStream> {
        let (sender, receiver) = oneshot::channel();
        self.lock().entry(id.clone()).or_default().attach.push(sender);
        receiver
    }

    /// Whether anybody waits for the next run's streams.
    pub(crate) fn wants_streams(&self, id: &ContainerId) -> bool {
        self.lock().get(id).is_some_and(|entry| entry.attach.iter().any(|sender| !sender.is_closed()))
    }

    /// A run has begun: whoever wanted its streams gets them, and a thread waits for its end.
    pub(crate) fn began(self: &Arc<Self>, id: ContainerId, mut running: Running, streams: Vec<UnixStream>) {
        let mut map = self.lock();
        let entry = map.entry(id.clone()).or_default();
        entry.started = true;
        let waiting = entry.attach.drain(..).filter(|sender| !sender.is_closed());
        for (sender, stream) in waiting.zip(streams) {
            // A client that left in this very moment wants nothing any more.
            let _left = sender.send(stream);
        }
        drop(map);
        let runs = Arc::clone(self);
        // A thread of its own, not one of the pool: a container may run for years.
        std::thread::spawn(move || {
            let code = running.wait().unwrap_or(None);
            runs.ended(&id, code);
        });
    }

    /// A run has ended, or could not begin: whoever waits is told.
    pub(crate) fn ended(&self, id: &ContainerId, code: Code) {
        if let Some(entry) = self.lock().remove(id) {
            entry.ended.send_replace(Some(code));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Entry>> {
        // A panic elsewhere leaves a map that is still a map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
