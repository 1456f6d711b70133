//! A client of a container's streams.

use std::os::unix::net::UnixStream;

use process::{Signal, pty};

use crate::console::{Console, Ended, Input, Notice, Output};
use crate::detach::DetachKeys;
use crate::error::Result;
use crate::framing::{Stream, Unframer};
use crate::monitor::client::Request;

/// A connection to a running container's streams.
#[derive(Debug)]
pub struct Attachment {
    pub(crate) streams: UnixStream,
    pub(crate) run: std::path::PathBuf,
    pub(crate) terminal: bool,
    /// Whether the container's program has drawn its screen for somebody else before.
    pub(crate) late: bool,
}

/// How an attached session behaves.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// `-i`: pass standard input on.
    pub interactive: bool,
    /// `--sig-proxy=false`: keep signals to ourselves.
    pub keep_signals: bool,
    /// Outputs that are not printed: those that `-a` leaves out.
    pub muted: Vec<Stream>,
    /// `--detach-keys`.
    pub detach_keys: DetachKeys,
}

impl Attachment {
    /// The raw connection, for a server that passes it on: framed as [`framing`](crate::framing) draws it, or plain with a terminal.
    pub fn into_stream(self) -> UnixStream {
        self.streams
    }

    /// Whether the container has a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Copies between this process's standard streams and the container, until its outputs end or the user leaves.
    /// `signal` passes a signal on to the container.
    ///
    /// # Errors
    /// When our own streams fail.
    pub fn run(self, options: &AttachOptions, signal: &mut dyn FnMut(Signal)) -> Result<Ended> {
        let (run, mut late) = (self.run, self.late);
        converse(self.streams, self.terminal, options, &mut |notice| match notice {
            // A container that ended in this moment has no size any more.
            Notice::Resized(size) => {
                // A full-screen program draws itself anew when its screen changes, and for no other reason.
                if std::mem::take(&mut late) {
                    drop(resize(&run, pty::Size { rows: size.rows.saturating_add(1), ..size }));
                }
                drop(resize(&run, size));
            }
            Notice::Signal(number) => signal(number),
        })
    }
}

/// Copies between this process's standard streams and a container that is at the other end of a socket, wherever that is: plain
/// with a terminal, else framed as [`framing`](crate::framing) draws it. `notify` tells the other side what no stream can carry.
///
/// # Errors
/// When our own streams fail.
pub fn converse(
    streams: UnixStream,
    terminal: bool,
    options: &AttachOptions,
    notify: &mut dyn FnMut(Notice),
) -> Result<Ended> {
    let writer = streams.try_clone().map_err(process_error("dup"))?;
    let output = match terminal {
        true => Output::Plain(streams.into(), Stream::Stdout),
        false => Output::Framed(streams, Unframer::default()),
    };
    let console = Console {
        input: options.interactive.then_some(Input::Socket(writer)),
        outputs: vec![output],
        muted: options.muted.clone(),
        terminal,
        signals: !options.keep_signals,
        until: None,
        keys: options.detach_keys.clone(),
    };
    Ok(console.run(notify)?)
}

/// Tells a monitor the size of its client's terminal.
pub(crate) fn resize(run: &std::path::Path, size: pty::Size) -> Result<()> {
    let control = crate::sockets::connect(run, crate::monitor::CONTROL)?;
    send(&control, Request::Resize(size))
}

/// Sends one request on a control connection.
pub(crate) fn send(mut control: &UnixStream, request: Request) -> Result<()> {
    use std::io::Write as _;
    let mut line = serde_json::to_vec(&request).map_err(|error| process_error("encode")(error.into()))?;
    line.push(b'\n');
    control.write_all(&line).map_err(process_error("write"))
}

fn process_error(operation: &'static str) -> impl Fn(std::io::Error) -> crate::error::Error {
    use process::During as _;
    move |error| match Err::<(), _>(error).during(operation, "attach") {
        Err(error) => error.into(),
        Ok(()) => unreachable!("it was an error"),
    }
}
