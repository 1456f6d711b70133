//! `lab` without a command: checks the current exercise whenever its chapter's sources change, and listens to keys.
//!
//! Changes are found by looking at the times of a few dozen files, several times a second. That works wherever a file can be
//! read: on file systems that tell nobody of changes (shared folders of virtual machines), and with editors that write a new
//! file in the old one's place.

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use crate::check;
use crate::exercise::Exercise;
use crate::progress::Progress;
use crate::starter;
use crate::verdict::Verdict;
use crate::workspace::Workspace;

/// How often the files are looked at, in milliseconds.
const LOOK: u16 = 250;
/// An editor that saves may touch a file twice: so long nothing must have changed.
const SETTLE: Duration = Duration::from_millis(100);

const KEYS: &str = "keys: h hint   n next   l list   r reset   c check   q quit";

/// Watches until somebody quits or standard input ends.
///
/// # Errors
/// The workspace cannot be read, or the harness failed.
pub fn watch(workspace: &Workspace, out: &mut impl Write) -> Result<()> {
    let exercises = workspace.exercises()?;
    let _keys = Keys::one_by_one()?;
    let Some(mut at) = first(workspace, &exercises)? else {
        writeln!(out, "All {} exercises are passed: the engine is yours.", exercises.len())?;
        return Ok(());
    };
    show(workspace, &exercises[at], out)?;
    let mut seen = newest(&workspace.root().join(&exercises[at].chapter));
    loop {
        match key()? {
            Some(b'q' | 3 | 4) => return Ok(()),
            Some(b'h') => hint(workspace, &exercises[at], out)?,
            Some(b'l') => write!(out, "{}", Progress::of(workspace)?.picture(&exercises))?,
            Some(b'c') => show(workspace, &exercises[at], out)?,
            Some(b'r') => {
                let saved = starter::reset(workspace, &exercises[at])?;
                writeln!(out, "{} is a hole again; your version is in {}", exercises[at].id, saved.display())?;
            }
            Some(b'n') => {
                at = after(workspace, &exercises, at)?;
                show(workspace, &exercises[at], out)?;
                seen = newest(&workspace.root().join(&exercises[at].chapter));
            }
            Some(_) => writeln!(out, "{KEYS}")?,
            None => {
                let now = newest(&workspace.root().join(&exercises[at].chapter));
                if now != seen {
                    seen = settled(&workspace.root().join(&exercises[at].chapter), now);
                    show(workspace, &exercises[at], out)?;
                }
            }
        }
    }
}

fn first(workspace: &Workspace, exercises: &[Exercise]) -> Result<Option<usize>> {
    let progress = Progress::of(workspace)?;
    Ok(exercises.iter().position(|exercise| !progress.record(&exercise.id).passed))
}

/// The next one that has not passed; from the last one on, the first.
fn after(workspace: &Workspace, exercises: &[Exercise], at: usize) -> Result<usize> {
    let progress = Progress::of(workspace)?;
    let open = |index: &usize| !progress.record(&exercises[*index].id).passed;
    Ok((at + 1..exercises.len()).chain(0..at).find(open).unwrap_or(at))
}

fn show(workspace: &Workspace, exercise: &Exercise, out: &mut impl Write) -> Result<()> {
    writeln!(out, "\n{}: {}   ({})", exercise.id, exercise.title, exercise.source().display())?;
    out.flush()?;
    let begun = Instant::now();
    let verdict = check::check(workspace, exercise)?;
    let passed = verdict == Verdict::Passed;
    match verdict {
        Verdict::Passed => {
            writeln!(out, "{}: passed, in {:.1} s. n goes on.", exercise.id, begun.elapsed().as_secs_f32())?
        }
        Verdict::Failed(failure) => writeln!(out, "{failure}")?,
        Verdict::Skipped(reason) => writeln!(out, "{}: SKIPPED, not passed: {reason}", exercise.id)?,
    }
    Progress::of(workspace)?.note_check(&exercise.id, passed)?;
    writeln!(out, "{KEYS}")?;
    Ok(())
}

fn hint(workspace: &Workspace, exercise: &Exercise, out: &mut impl Write) -> Result<()> {
    let mut progress = Progress::of(workspace)?;
    let step = (progress.record(&exercise.id).hints + 1).min(3);
    writeln!(out, "hint {step} of 3. {}", exercise.hints[usize::from(step - 1)].trim())?;
    progress.note_hint(&exercise.id, step)
}

/// The newest time among a chapter's sources, and how many there are.
fn newest(directory: &Path) -> (Option<SystemTime>, usize) {
    let mut found = (None, 0);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = newest(&path);
            found = (found.0.max(below.0), found.1 + below.1);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found = (found.0.max(entry.metadata().ok().and_then(|file| file.modified().ok())), found.1 + 1);
        }
    }
    found
}

/// Waits until nothing changes any more.
fn settled(directory: &Path, mut seen: (Option<SystemTime>, usize)) -> (Option<SystemTime>, usize) {
    loop {
        std::thread::sleep(SETTLE);
        let now = newest(directory);
        if now == seen {
            return now;
        }
        seen = now;
    }
}

/// A key, if one is pressed within the time between two looks. The end of the input is `q`.
fn key() -> Result<Option<u8>> {
    let input = std::io::stdin();
    let mut polled = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::from(LOOK)) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(None),
        Ok(_) => {}
        Err(errno) => return Err(errno).context("cannot wait for a key"),
    }
    let mut byte = [0];
    // Not through the buffer of `Stdin`, of which poll knows nothing.
    match nix::unistd::read(&input, &mut byte).context("cannot read a key")? {
        0 => Ok(Some(b'q')),
        // The end of a line, where keys come as lines.
        _ if byte == *b"\n" => Ok(None),
        _ => Ok(Some(byte[0])),
    }
}

/// Keys without waiting for the end of a line; the terminal is given back at the end.
struct Keys(Option<Termios>);

impl Keys {
    fn one_by_one() -> Result<Self> {
        let input = std::io::stdin();
        if !input.is_terminal() {
            return Ok(Self(None));
        }
        let before = termios::tcgetattr(&input).context("cannot ask the terminal")?;
        let mut raw = before.clone();
        // Ctrl-C comes as a key, too: else it would end us before the terminal is given back.
        raw.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        termios::tcsetattr(&input, SetArg::TCSANOW, &raw).context("cannot set the terminal")?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // There is nobody left to tell.
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
