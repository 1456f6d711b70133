//! The container's terminal, on our side: handed to somebody else, or shown on our own terminal.

use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use process::pty::{self, RawMode};
use process::signals::SignalFd;
use process::{CallError, During as _, ExitStatus, Pid, PidFd, Signal, reaper};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// Sends a terminal's master to whoever listens on a console socket.
///
/// # Errors
/// When nobody listens.
///
/// # References
/// runc's docs/terminals.md, "Detached"; unix(7), `SCM_RIGHTS`
pub fn hand_over(master: BorrowedFd<'_>, socket: &Path) -> Result<(), CallError> {
    let stream = UnixStream::connect(socket).during("connect console socket", socket.display())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(&stream, &[IoSlice::new(b"/dev/ptmx")], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .during("send terminal to", socket.display())
}

/// Shows a container's terminal on ours until its first process ends; returns how it ended.
///
/// Our terminal is in raw mode meanwhile, so that control characters reach the one inside, and is restored on
/// every way out.
///
/// # Errors
/// Those of `poll(2)`, `read(2)` and `write(2)`.
pub fn relay(master: OwnedFd, main: &PidFd, pid: Pid, signals: &SignalFd) -> Result<ExitStatus, CallError> {
    let stdin = std::io::stdin();
    let mut keyboard = Some(stdin.as_fd());
    let _raw = RawMode::enter(stdin.as_fd()).ok();
    follow_size(&master);
    let mut screen = true;
    let mut ended = None;
    loop {
        if let (Some(status), false) = (ended, screen) {
            return Ok(status);
        }
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        fds.extend(screen.then(|| PollFd::new(&master, PollFlags::IN)));
        fds.extend(keyboard.filter(|_| screen).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).during("poll", "terminal"),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[0] {
            while let Some(received) = signals.receive()? {
                match received.signal {
                    Signal::SIGCHLD => ended = reaper::reap(pid)?.or(ended),
                    Signal::SIGWINCH => follow_size(&master),
                    _ => reaper::pass_on(main, pid, received)?,
                }
            }
        }
        if ready.get(1) == Some(&true) {
            screen = copy(master.as_fd(), |bytes| std::io::stdout().write_all(bytes).during("write", "terminal"))?;
        }
        if ready.get(2) == Some(&true)
            && let Some(fd) = keyboard
            && !copy(fd, |bytes| write_all(&master, bytes))?
        {
            keyboard = None;
        }
    }
}

/// Gives the inner terminal the size of ours, where ours is one.
fn follow_size(master: &OwnedFd) {
    if let Ok(size) = pty::size(std::io::stdin().as_fd()) {
        // The container may have closed its end already.
        let _ = pty::resize(master.as_fd(), size);
    }
}

/// Copies what can be read now; false at the end.
fn copy(from: BorrowedFd<'_>, to: impl Fn(&[u8]) -> Result<(), CallError>) -> Result<bool, CallError> {
    let mut buffer = [0; 8192];
    match rustix::io::read(from, &mut buffer) {
        // The last process with the terminal open has gone: Linux says EIO.
        Ok(0) | Err(rustix::io::Errno::IO) => Ok(false),
        Ok(length) => {
            to(&buffer[..length])?;
            std::io::stdout().flush().during("write", "terminal")?;
            Ok(true)
        }
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(true),
        Err(errno) => Err(errno).during("read", "terminal"),
    }
}

fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> Result<(), CallError> {
    while !bytes.is_empty() {
        let written = rustix::io::write(to, bytes).during("write", "terminal")?;
        bytes = &bytes[written..];
    }
    Ok(())
}
