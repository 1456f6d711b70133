//! A pseudoterminal between `cooper exec -t` and a client far away.
//!
//! # References
//! pts(4), ioctl_tty(2)

use std::fs::File;
use std::os::fd::OwnedFd;

use process::pty::Size;
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

/// Opens a pair: the master for this side, the slave for the command. It carries bytes and changes none: what a terminal makes
/// of them, the container's own has done already, also where nobody types and the command leaves this one as it is.
pub(crate) fn open() -> std::io::Result<(File, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    // By descriptor, not by name: /dev/pts may be another one's here.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    Ok((File::from(master), slave))
}

/// Sets the size. The command has no controlling terminal, so the kernel sends it no SIGWINCH: it
/// is sent from here.
pub(crate) fn resize(master: &File, pid: u32, size: Size) -> std::io::Result<()> {
    tcsetwinsize(master, Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        rustix::process::kill_process(pid, Signal::WINCH)?;
    }
    Ok(())
}
