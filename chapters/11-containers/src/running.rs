//! Starting: a monitor of its own for each container.
//!
//! `start` executes this very binary once more, as `monitor --data D --run R ID`, and hears from it on its standard output:
//!
//! ```text
//!   start                          monitor
//!     |-- exec, fork away ---------->|  (the first process ends at once: no zombie, no parent)
//!     |                              |  layers, network, runtime
//!     |<-- {"started":{"pid":42}} ---|  or {"failed":{...}}
//!     :                              :
//!     |<-- {"exited":{"code":0}} ----|  when it has ended and everything is released
//! ```
//!
//! With `attach`, the monitor's standard input is a socket that is connected already: the first client of
//! the container's streams is there before the container is.

use std::io::{BufRead as _, BufReader, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use process::{During as _, step};
use serde::{Deserialize, Serialize};

use crate::attachment::Attachment;
use crate::console;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::record::Container;

/// How `start` goes about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// Attach before the container begins, so that nothing that it prints is missed.
    pub attach: bool,
    /// Narrate the monitor's steps to standard error, as the caller narrates its own.
    pub explain: Option<process::explain::Format>,
}

/// What a monitor reports, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Report {
    /// The container's program runs.
    Started {
        /// Its first process.
        pid: process::Pid,
    },
    /// It does not.
    Failed {
        /// Why.
        message: String,
        /// As `docker run` exits.
        exit_code: u8,
    },
    /// It has ended, and everything is released.
    Exited {
        /// How.
        code: u8,
    },
}

/// A container that was started.
#[derive(Debug)]
pub struct Running {
    /// Its streams, if they were asked for.
    pub attachment: Option<Attachment>,
    /// Its first process.
    pub pid: process::Pid,
    report: BufReader<PipeReader>,
}

impl Engine {
    /// Starts a container, and returns when its program runs.
    ///
    /// Starting one that runs already changes nothing, and is an error that says so.
    ///
    /// # Errors
    /// [`Error::Start`] with the monitor's reason and exit code: 127 when the command was not found, 126 when it
    /// cannot be executed, 125 otherwise. Everything is released then.
    pub fn start(&self, id: &ContainerId, options: &StartOptions) -> Result<Running> {
        let container = self.container(id)?;
        let (report, told) = std::io::pipe().during("pipe", "report")?;
        let (streams, input) = match options.attach {
            true => {
                UnixStream::pair().during("socketpair", "attach").map(|(ours, theirs)| (Some(ours), Some(theirs)))?
            }
            false => (None, None),
        };
        step!(
            11,
            "execve",
            "execve(2)",
            "give the container a parent that outlives this command",
            "{}",
            self.monitor().display()
        );
        let mut monitor = Command::new(self.monitor());
        monitor.arg("monitor").arg("--data").arg(&self.paths().data).arg("--run").arg(&self.paths().run);
        monitor.args(options.explain.map(|format| format!("--explain={format}")));
        // A program that asks for its terminal's size at once should hear the user's.
        let size = container.record.options.console_size;
        let size = size.or_else(|| if options.attach { console::size() } else { None });
        monitor.args(size.map(|size| format!("--size={}x{}", size.rows, size.columns)));
        monitor.args(options.attach.then_some("--attached")).arg(id.as_str());
        monitor.stdin(input.map_or_else(Stdio::null, |socket| Stdio::from(OwnedFd::from(socket))));
        monitor.stdout(told);
        if options.explain.is_none() {
            monitor.stderr(complaints(&container)?);
        }
        let mut first = monitor.spawn().during("spawn", self.monitor().display())?;
        // Our copies of its ends go with the command: what remains open is the monitor's alone.
        drop(monitor);
        first.wait().during("wait", "monitor")?;

        let mut report = BufReader::new(report);
        match next(&mut report)? {
            Some(Report::Started { pid }) => {
                let terminal = container.record.options.terminal;
                let run = container.run_directory();
                let attachment = streams.map(|streams| Attachment { streams, run, terminal, late: false });
                Ok(Running { attachment, pid, report })
            }
            Some(Report::Failed { message, exit_code }) => Err(Error::Start { message, exit_code }),
            Some(Report::Exited { .. }) | None => {
                let message = format!("the monitor of container {} ended before it could start it", id.short());
                Err(Error::Start { message, exit_code: 125 })
            }
        }
    }
}

impl Running {
    /// Waits until the container has ended and everything that it held is released; with `--rm`, until it is removed.
    /// `None` if nobody can say how it ended: its monitor was killed.
    ///
    /// # Errors
    /// When the monitor's report cannot be read.
    pub fn wait(&mut self) -> Result<Option<u8>> {
        Ok(match next(&mut self.report)? {
            Some(Report::Exited { code }) => Some(code),
            _ => None,
        })
    }
}

/// Where a monitor says what nobody else would hear: a panic.
fn complaints(container: &Container) -> Result<std::fs::File> {
    let path = container.directory().join("monitor.log");
    Ok(std::fs::File::create(&path).during("open", path.display())?)
}

/// The next report; `None` when the monitor is gone.
fn next(report: &mut BufReader<PipeReader>) -> Result<Option<Report>> {
    let mut line = String::new();
    report.read_line(&mut line).during("read", "report")?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| Error::bad("monitor", line.trim_end(), error.to_string()))
}
