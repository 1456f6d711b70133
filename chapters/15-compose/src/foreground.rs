//! `up` without `-d`: many containers, one terminal.
//!
//! ```text
//!   web-1  | listening on 80
//!   db-1   | ready
//! ```
//!
//! One loop polls every container's stream and the signals. Each stream is cut into whole lines
//! before it is printed, so that two services never share a line. The first interrupt stops the
//! services; a second one kills them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use containers::{Attachment, Container, Engine, Stream, Unframer};
use process::Signal;
use process::signals::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};

use crate::error::Error;
use crate::up::say;

/// A line longer than this is printed in pieces, bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// A service's container that is listened to.
#[derive(Debug)]
pub(crate) struct Voice {
    name: String,
    container: Container,
    stream: UnixStream,
    unframer: Option<Unframer>,
    pending: [Vec<u8>; 2],
    open: bool,
}

impl Voice {
    /// Listens to `attachment`.
    pub(crate) fn new(name: String, container: Container, attachment: Attachment) -> Voice {
        // With a terminal there is one stream, and it comes as it is.
        let unframer = (!attachment.is_terminal()).then(Unframer::default);
        Voice { name, container, stream: attachment.into_stream(), unframer, pending: Default::default(), open: true }
    }

    /// Reads what has come, and returns its whole lines.
    fn lines(&mut self) -> Result<Vec<String>, String> {
        let mut buffer = [0; 16 * 1024];
        let length = self.stream.read(&mut buffer).map_err(|error| error.to_string())?;
        let mut lines = Vec::new();
        if length == 0 {
            self.open = false;
            let rest = self.pending.iter_mut().filter(|pending| !pending.is_empty());
            lines.extend(rest.map(|pending| String::from_utf8_lossy(&std::mem::take(pending)).into_owned()));
            return Ok(lines);
        }
        let pending = &mut self.pending;
        let mut take = |from: Stream, bytes: &[u8]| {
            let pending = &mut pending[usize::from(from == Stream::Stderr)];
            pending.extend_from_slice(bytes);
            while let Some(end) = pending
                .iter()
                .position(|byte| *byte == b'\n')
                .or((pending.len() >= LONGEST_LINE).then(|| pending.len() - 1))
            {
                let line: Vec<u8> = pending.drain(..=end).collect();
                lines.push(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned());
            }
            Ok::<(), String>(())
        };
        match &mut self.unframer {
            Some(unframer) => unframer.feed(&buffer[..length], take)?,
            None => take(Stream::Stdout, &buffer[..length])?,
        }
        Ok(lines)
    }
}

/// Prints what the services say until all have ended, and returns the first exit code that is not 0.
pub(crate) fn listen(engine: &Engine, mut voices: Vec<Voice>, out: &mut dyn Write) -> Result<u8, Error> {
    let during = |error| Error::engine("watch for signals", error);
    let signals = SignalFd::block([Signal::SIGINT, Signal::SIGTERM]).map_err(during)?;
    let width = voices.iter().map(|voice| voice.name.len()).max().unwrap_or(0);
    let mut interrupts = 0;
    while voices.iter().any(|voice| voice.open) {
        let ready = ready(&voices, &signals)?;
        if ready.is_empty() && signals.take().map_err(during)?.is_some() {
            interrupts += 1;
            say(out, if interrupts == 1 { "Gracefully stopping... (once more to force)" } else { "Killing..." });
            silence(engine, &voices, interrupts > 1)?;
        }
        for index in ready {
            let voice = &mut voices[index];
            let lines = voice.lines().map_err(|message| Error::engine(format!("read from {}", voice.name), message))?;
            for line in lines {
                // A reader that went away must not stop the services.
                writeln!(out, "{:width$}  | {line}", voice.name).ok();
            }
        }
        out.flush().ok();
    }
    let mut first_failure = 0;
    for voice in &voices {
        let code = engine.wait(voice.container.id());
        let code = code.map_err(|error| Error::engine(format!("wait for {}", voice.name), error))?;
        let shown = code.map_or("unknown".to_owned(), |code| code.to_string());
        writeln!(out, "{} exited with code {shown}", voice.name).ok();
        if first_failure == 0 && interrupts == 0 {
            first_failure = code.unwrap_or(1);
        }
    }
    Ok(first_failure)
}

/// Waits until something can be read: the voices that have something, none if it is a signal.
fn ready(voices: &[Voice], signals: &SignalFd) -> Result<Vec<usize>, Error> {
    let open: Vec<usize> = (0..voices.len()).filter(|index| voices[*index].open).collect();
    let streams = open.iter().map(|index| PollFd::new(&voices[*index].stream, PollFlags::IN));
    let mut polled: Vec<PollFd<'_>> = streams.chain([PollFd::new(signals, PollFlags::IN)]).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(Error::engine("poll", std::io::Error::from(errno))),
    }
    if !polled[open.len()].revents().is_empty() {
        return Ok(Vec::new());
    }
    Ok(open.into_iter().zip(&polled).filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| index).collect())
}

/// Stops what still speaks, the last started first; at once if that was asked twice.
fn silence(engine: &Engine, voices: &[Voice], at_once: bool) -> Result<(), Error> {
    for voice in voices.iter().rev().filter(|voice| voice.open) {
        let id = voice.container.id();
        let stopped = if at_once { engine.kill(id, Signal::SIGKILL) } else { engine.stop(id, None) };
        stopped.map_err(|error| Error::engine(format!("stop {}", voice.name), error))?;
    }
    Ok(())
}
