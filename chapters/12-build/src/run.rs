//! RUN: a container whose only purpose is what it leaves behind.
//!
//! ```text
//!   create on the chain ── start ── read its output ── wait ── exit code 0?
//!                                                               │ yes: its upper directory is the layer
//!                                                               └ no:  the build fails with the code
//!   remove, whatever happened
//! ```

use std::io::Read;
use std::os::fd::AsFd;

use containers::settings::Defaults;
use containers::{
    Container, CreateOptions, Engine, Network, NetworkMode, RemoveOptions, RootChain, StartOptions, Stream, Unframer,
};
use jiff::Timestamp;
use layers::DiffId;
use process::Signal;
use process::signals::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};

use crate::draft::{self, Layer};
use crate::error::Error;
use crate::progress::Reporter;

/// The longest line of output that is shown as one; a longer one is shown in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// What a RUN step runs, all expanded.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The layers below it.
    pub(crate) chain: Vec<DiffId>,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// `NAME=VALUE`.
    pub(crate) env: Vec<String>,
    /// Absolute.
    pub(crate) workdir: String,
    /// As USER wrote it; empty for root.
    pub(crate) user: String,
    /// What it reaches.
    pub(crate) network: NetworkMode,
}

/// How a RUN step ended.
pub(crate) enum Outcome {
    /// With success.
    Layer(Box<Layer>),
    /// With this code.
    Failed(u8),
}

/// A container that is removed when the step is over, however that came.
struct Temporary<'e> {
    engine: &'e Engine,
    container: Container,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // Nobody is left to tell; `system prune` finds what could not be removed.
        self.engine.remove(self.container.id(), RemoveOptions { force: true, volumes: true }).ok();
    }
}

/// Runs the job and makes a layer of what it changed.
///
/// # Errors
/// Those of the engine; an interrupt by the user.
pub(crate) fn run(
    engine: &Engine,
    job: &Job,
    epoch: Option<Timestamp>,
    reporter: &mut Reporter<'_>,
) -> Result<Outcome, Error> {
    let during = |error| Error::engine("run the command", error);
    let options = CreateOptions {
        image: "build".to_owned(),
        command: job.command.clone(),
        // The same name each time: what a step writes must not depend on chance.
        hostname: Some("build".to_owned()),
        network: Network { mode: job.network.clone(), ..Network::default() },
        labels: [("cooper.build".to_owned(), "step".to_owned())].into(),
        ..CreateOptions::default()
    };
    let defaults =
        Defaults { env: job.env.clone(), workdir: job.workdir.clone(), user: job.user.clone(), ..Defaults::default() };
    // Before anything exists that an interrupt could leave behind.
    let interrupts = Interrupts::watch().map_err(during)?;
    let container = engine.create_on(RootChain::Layers(job.chain.clone(), defaults), options);
    let step = Temporary {
        engine,
        container: container.map_err(|error| Error::engine("create the step's container", error))?,
    };
    let start = StartOptions { attach: true, ..StartOptions::default() };
    let mut running = engine
        .start(step.container.id(), &start)
        .map_err(|error| Error::engine("start the step's container", error))?;
    if let Some(attachment) = running.attachment.take() {
        relay(attachment.into_stream(), &interrupts, reporter)?;
    }
    let code = running.wait().map_err(|error| Error::engine("wait for the step's container", error))?;
    match code {
        Some(0) => {
            let lower = draft::lower(engine, &job.chain)?;
            let upper = engine.upper(step.container.id());
            let upper = upper.map_err(|error| Error::engine("gather the step's changes", error))?;
            draft::keep(engine, &upper, &lower, epoch).map(|layer| Outcome::Layer(Box::new(layer)))
        }
        Some(code) => Ok(Outcome::Failed(code)),
        None => {
            Err(Error::engine("wait for the step's container", "nobody knows how it ended: its monitor was killed"))
        }
    }
}

/// Passes the container's output on, line by line, until it ends or the user interrupts.
fn relay(mut stream: impl Read + AsFd, interrupts: &Interrupts, reporter: &mut Reporter<'_>) -> Result<(), Error> {
    let during = |error| Error::engine("read the step's output", error);
    let mut unframer = Unframer::default();
    // A line of one stream must not be torn apart by the other's.
    let mut lines = [Vec::new(), Vec::new()];
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let mut ready = [PollFd::new(&stream, PollFlags::IN), PollFd::new(&interrupts.0, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.map_err(|errno| Error::engine("poll", std::io::Error::from(errno)))?,
        };
        let (has_output, interrupted) = (!ready[0].revents().is_empty(), !ready[1].revents().is_empty());
        if interrupted {
            return Err(Error::engine("build", "interrupted"));
        }
        if !has_output {
            continue;
        }
        let length = stream.read(&mut buffer).map_err(|error| during(Box::new(error)))?;
        if length == 0 {
            break;
        }
        unframer
            .feed(&buffer[..length], |from, bytes| {
                let line = &mut lines[usize::from(from == Stream::Stderr)];
                line.extend_from_slice(bytes);
                report(line, reporter);
                Ok::<(), String>(())
            })
            .map_err(|message| Error::engine("read the step's output", message))?;
    }
    for line in lines.iter().filter(|line| !line.is_empty()) {
        reporter.output(&String::from_utf8_lossy(line));
    }
    Ok(())
}

/// Reports the whole lines at the beginning of `pending` and keeps the rest.
fn report(pending: &mut Vec<u8>, reporter: &mut Reporter<'_>) {
    while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
        reporter.output(String::from_utf8_lossy(&pending[..end]).trim_end_matches('\r'));
        pending.drain(..=end);
    }
    if pending.len() >= LONGEST_LINE {
        reporter.output(&String::from_utf8_lossy(pending));
        pending.clear();
    }
}

/// SIGINT and SIGTERM as something to poll for, so that an interrupted build still removes its
/// container; both are as they were when it is let go.
struct Interrupts(SignalFd, nix::sys::signal::SigSet);

impl Interrupts {
    fn watch() -> Result<Interrupts, process::CallError> {
        use process::During;
        let before = nix::sys::signal::SigSet::thread_get_mask().during("sigprocmask", "")?;
        Ok(Interrupts(SignalFd::block([Signal::SIGINT, Signal::SIGTERM])?, before))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // It was the mask a moment ago; the kernel has no reason to refuse it.
        self.1.thread_set_mask().ok();
    }
}
