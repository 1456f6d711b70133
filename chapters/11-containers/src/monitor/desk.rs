//! The monitor's control socket: who waits there, and what was asked.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use process::pty;

use super::client::{Control, Reply, Request};
use super::switchboard::Switchboard;

/// Where requests about a container are made.
pub(super) struct Desk {
    listener: UnixListener,
    clients: Vec<Control>,
    /// How the container ended, once that may be told.
    ended: Option<u8>,
    /// Whether somebody wants it to stay after its end, to start it again.
    kept: bool,
    /// Whether somebody wants it to end and not to be restarted.
    stopped: bool,
    /// Who publishes its ports.
    switchboard: Switchboard,
}

impl Desk {
    pub(super) fn new(listener: UnixListener, switchboard: Switchboard) -> Self {
        Self { listener, clients: Vec::new(), ended: None, kept: false, stopped: false, switchboard }
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.iter().map(|client| client.as_fd())
    }

    /// Whether the container is to stay, whatever `--rm` says.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether the container is not to run again, whatever its restart policy says.
    pub(super) fn wants_stop(&self) -> bool {
        self.stopped
    }

    /// Tells everybody who waits how the container ended, now and later: a request may be on its way.
    pub(super) fn announce(&mut self, code: u8) {
        self.ended = Some(code);
        for client in &mut self.clients {
            client.exited(code);
        }
    }

    /// It is going to run again: whoever asks from now on waits for its next end.
    pub(super) fn expect_another(&mut self) {
        self.ended = None;
    }

    /// Those who wait, for the desk of the next run.
    pub(super) fn hand_over(&mut self) -> Vec<Control> {
        std::mem::take(&mut self.clients)
    }

    /// Goes on with those who waited at the desk of the run before: a run may be over before they could ask again.
    pub(super) fn take_over(&mut self, waiting: Vec<Control>) {
        self.clients.extend(waiting);
    }

    pub(super) fn accept(&mut self) {
        if let Ok((socket, _)) = self.listener.accept() {
            self.clients.extend(Control::new(socket));
        }
    }

    pub(super) fn serve(&mut self, index: usize, terminal: Option<&OwnedFd>) {
        for request in self.clients[index].requests() {
            match (request, terminal) {
                (Request::Resize(size), Some(terminal)) => {
                    // A size that the kernel refuses changes nothing, and the client has no use for the reason.
                    let _ = pty::resize(terminal.as_fd(), size);
                }
                // After its end it is too late: what `--rm` says has been done.
                (Request::Keep, _) if self.ended.is_none() => {
                    self.kept = true;
                    self.clients[index].answer(Reply::Kept);
                }
                (Request::Stop, _) => {
                    self.stopped = true;
                    self.clients[index].answer(Reply::Stopping);
                }
                (Request::Ports, _) => {
                    let reply = match self.switchboard.refresh() {
                        Ok(ports) => Reply::Published { ports },
                        Err(error) => Reply::Refused { reason: error.to_string() },
                    };
                    self.clients[index].answer(reply);
                }
                _ => {}
            }
        }
        if let Some(code) = self.ended {
            self.clients[index].exited(code);
        }
    }

    pub(super) fn forget_the_gone(&mut self) {
        self.clients.retain(|client| !client.gone());
    }
}
