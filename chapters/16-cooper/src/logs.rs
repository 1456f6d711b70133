//! `logs`: what a container has printed.

use std::io::{ErrorKind, Write as _};

use anyhow::anyhow;
use clap::Args;
use containers::{LogOptions, Stream};
use jiff::Timestamp;

use crate::cli::Place;
use crate::values;

/// Fetch the logs of a container
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Follow log output
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show logs since timestamp (2013-01-02T13:23:37Z) or relative (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Show logs before a timestamp (2013-01-02T13:23:37Z) or relative (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES", allow_hyphen_values = true)]
    pub(crate) tail: String,
    /// Show timestamps
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Name or id
    pub(crate) container: String,
}

impl Logs {
    /// Which lines are wanted.
    ///
    /// # Errors
    /// A time or a number that is none.
    pub(crate) fn options(&self) -> anyhow::Result<LogOptions> {
        let now = Timestamp::now();
        let moment = |text: &Option<String>| {
            let read = text.as_deref().map(|text| values::moment(text, now));
            read.transpose().map_err(|e| anyhow!(e))
        };
        Ok(LogOptions {
            follow: self.follow,
            tail: tail(&self.tail)?,
            since: moment(&self.since)?,
            until: moment(&self.until)?,
        })
    }

    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let options = self.options()?;
        let engine = place.engine()?;
        let container = engine.find(&self.container)?;
        for line in engine.logs(container.id(), &options)? {
            let line = line?;
            let stamp = match self.timestamps {
                true => format!("{:.9} ", line.time),
                false => String::new(),
            };
            let text = format!("{stamp}{}", line.log);
            let written = match line.stream {
                Stream::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
                Stream::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
            };
            match written {
                // `cooper logs web | head`: enough was read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                written => written?,
            }
        }
        Ok(0)
    }
}

/// `all`, a number, or (as docker has it) a negative number for all.
fn tail(text: &str) -> anyhow::Result<Option<usize>> {
    match text {
        "all" => Ok(None),
        text if text.starts_with('-') => Ok(None),
        text => Ok(Some(text.parse().map_err(|_| anyhow!("--tail {text:?}: a number or all"))?)),
    }
}
