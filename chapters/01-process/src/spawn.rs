//! Making a child: clone3, and the interpreter that runs its steps.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::channel::{self, ChildError, Heard, Inside, Outside};
use crate::error::{CallError, During};
use crate::narrate;
use crate::pid::{ExitStatus, Pid, PidFd};
use crate::signals::Signal;
use crate::step::Step;
use crate::{step, sys};

/// How a child differs from its parent from its first instruction on.
#[derive(Debug, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` flags: the namespaces that are made together with the child.
    pub namespaces: u64,
    /// A cgroup v2 directory to be born in (`CLONE_INTO_CGROUP`): no moment outside its limits.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A child on its way to exec.
#[derive(Debug)]
pub struct Spawned {
    pidfd: PidFd,
    pid: Pid,
    channel: Outside,
    ready: bool,
}

/// What a child on its way to exec does next.
#[derive(Debug)]
pub enum Event {
    /// It waits at this checkpoint for [`Spawned::go`]; a descriptor may come along.
    Reached(String, Option<OwnedFd>),
    /// A step failed, and the child has ended.
    Failed(ChildError),
    /// It has become the program.
    Execed,
}

/// Clones a child that runs `steps`.
///
/// The child gets a copy of this process's memory, and with it copies of every lock as it was held at this
/// instant. If another thread held one, nobody in the child would ever release it. So a threaded process is
/// refused: programs with threads start containers by executing a single-threaded one.
///
/// # Errors
/// When this process has more than one thread; those of `clone3(2)`.
///
/// # References
/// clone3(2), pidfd_open(2)
// spine
pub fn spawn<S: Step>(arguments: &CloneArgs<'_>, steps: &[S]) -> Result<Spawned, CallError> {
    refuse_threads("clone3", "")?;
    let narrated = narrate::wanted();
    let (outside, mut inside) = channel::pair()?;
    let flags = arguments.namespaces;
    step!(1, "clone3", "clone3(2)", "a child, with its namespaces, held by a pidfd", "{}", flag_names(flags));
    let side = sys::clone3(flags, libc::SIGCHLD, arguments.cgroup);
    match side.map_err(|errno| CallError::new("clone3", "", errno).with(flag_names(flags)))? {
        sys::Side::Parent(pid, pidfd) => {
            // Our copy of the child's end must go, or we would never see it closed.
            drop(inside);
            Ok(Spawned { pidfd: PidFd::from_owned(pidfd), pid: Pid::new(pid)?, channel: outside, ready: false })
        }
        sys::Side::Child => {
            drop(outside);
            narrate::from_child(narrated.then(|| inside.as_fd()));
            report_panics(&inside);
            let (name, error) = interpret(steps, &mut inside);
            inside.failed(name, error.clone());
            answer_start(name, error);
            sys::exit_now(127)
        }
    }
}

/// Runs the steps. Comes back only if one fails, or if none of them was an exec.
fn interpret<'a, S: Step>(steps: &'a [S], channel: &mut Inside) -> (&'a str, CallError) {
    let mut state = S::State::default();
    for step in steps {
        if let Err(error) = step.run(&mut state, channel) {
            return (step.name(), error);
        }
    }
    ("init", CallError::refused("run", "steps", "the plan ended without an exec"))
}

/// A panic in the child reaches the parent as a failed step instead of a mangled line on somebody's terminal.
fn report_panics(channel: &Inside) {
    let fd = channel.as_fd().as_raw_fd();
    std::panic::set_hook(Box::new(move |panic| {
        channel::failed_on(fd, "panic", CallError::refused("panic in", "init", panic));
        sys::exit_now(127)
    }));
}

/// Where `start` waits for the outcome of exec, once it has connected. -1 before.
static STARTER: AtomicI32 = AtomicI32::new(-1);

/// Keeps the starter's connection: close-on-exec, so a successful exec is an end of file on its side.
pub(crate) fn answer_on(peer: OwnedFd) {
    use std::os::fd::IntoRawFd as _;
    STARTER.store(peer.into_raw_fd(), Ordering::Relaxed);
}

/// The starter's connection, once somebody has started this process.
pub(crate) fn starter() -> Option<BorrowedFd<'static>> {
    let fd = STARTER.load(Ordering::Relaxed);
    (fd >= 0).then(|| sys::borrow(fd))
}

/// Tells a waiting `start` which step failed, and why: a [`ChildError`] as JSON.
fn answer_start(step: &str, error: CallError) {
    if let Some(starter) = starter()
        && let Ok(bytes) = serde_json::to_vec(&ChildError::fitting(step, error))
    {
        // The starter may have gone away; the child ends either way.
        let _ = rustix::io::write(starter, &bytes);
    }
}

impl Spawned {
    /// The child's pid, in the parent's pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The child.
    pub fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Gives up the channel and keeps the child.
    pub fn into_pidfd(self) -> PidFd {
        self.pidfd
    }

    /// Kills the child and reaps it: for a parent whose own part has failed.
    pub fn discard(self) {
        // It may have ended and been reaped already, having reported why; then neither call finds it.
        let _ = self.pidfd.signal(Signal::SIGKILL);
        let _ = self.pidfd.wait();
    }

    /// Waits for the child's next event; narration on the way is emitted here.
    ///
    /// # Errors
    /// When the child died without a word before it was ready to exec.
    pub fn next_event(&mut self) -> Result<Event, CallError> {
        loop {
            match self.channel.hear()? {
                Heard::Reached(name, descriptor) => return Ok(Event::Reached(name, descriptor)),
                Heard::Forked(pidfd) => self.follow(PidFd::from_owned(pidfd))?,
                Heard::Ready => self.ready = true,
                Heard::Failed(error) => {
                    self.pidfd.wait()?;
                    return Ok(Event::Failed(error));
                }
                Heard::Closed if self.ready => return Ok(Event::Execed),
                Heard::Closed => return Err(self.died_early()),
            }
        }
    }

    /// Lets the child go on from its checkpoint.
    ///
    /// # Errors
    /// EPIPE when the child is gone.
    pub fn go(&mut self) -> Result<(), CallError> {
        self.channel.go()
    }

    /// Lets the child run through every checkpoint until it is the program.
    ///
    /// What it hands over on the way is dropped: a child with a terminal of its own is followed by
    /// [`next_event`](Self::next_event), for a master that is closed hangs up on it.
    ///
    /// # Errors
    /// The failed step's error.
    pub fn run_to_exec(&mut self) -> Result<(), ChildError> {
        loop {
            match self.next_event() {
                Ok(Event::Execed) => return Ok(()),
                Ok(Event::Failed(error)) => return Err(error),
                Ok(Event::Reached(..)) => {
                    self.go().map_err(|error| ChildError { step: "checkpoint".to_owned(), error })?;
                }
                Err(error) => return Err(ChildError { step: "run".to_owned(), error }),
            }
        }
    }

    /// The child forked: reap what ended, hold what goes on.
    fn follow(&mut self, successor: PidFd) -> Result<(), CallError> {
        self.pid = successor.pid()?;
        let before = std::mem::replace(&mut self.pidfd, successor);
        before.wait().map(drop)
    }

    fn died_early(&self) -> CallError {
        let how = match self.pidfd.wait() {
            Ok(ExitStatus::Exited(code)) => format!("exited with {code}"),
            Ok(ExitStatus::Signaled(signal)) => format!("was killed by {}", signal.as_str()),
            Err(error) => error.to_string(),
        };
        CallError::refused("run", "init", format!("the child {how} before exec"))
    }
}

/// Refuses `operation` on `object` in a process with threads: of a copy of the process only the caller's thread would
/// go on, and of one that enters a namespace only that thread would move.
///
/// # Errors
/// When there are other threads, with their number.
///
/// # References
/// proc_pid_task(5), fork(2), setns(2)
pub fn refuse_threads(operation: &'static str, object: impl std::fmt::Display) -> Result<(), CallError> {
    let threads = std::fs::read_dir("/proc/self/task").during("read", "/proc/self/task")?.count();
    if threads == 1 {
        return Ok(());
    }
    let reason = format!("this process has {threads} threads, and what they hold or see would not come along");
    Err(CallError::refused(operation, object, reason))
}

/// The `CLONE_NEW*` flags by their names.
fn flag_names(flags: u64) -> String {
    const NAMES: [(i32, &str); 8] = [
        (libc::CLONE_NEWUSER, "CLONE_NEWUSER"),
        (libc::CLONE_NEWNS, "CLONE_NEWNS"),
        (libc::CLONE_NEWUTS, "CLONE_NEWUTS"),
        (libc::CLONE_NEWIPC, "CLONE_NEWIPC"),
        (libc::CLONE_NEWNET, "CLONE_NEWNET"),
        (libc::CLONE_NEWPID, "CLONE_NEWPID"),
        (libc::CLONE_NEWCGROUP, "CLONE_NEWCGROUP"),
        (libc::CLONE_NEWTIME, "CLONE_NEWTIME"),
    ];
    let named = NAMES.iter().filter(|(flag, _)| flags & u64::from(*flag as u32) != 0).map(|(_, name)| *name);
    let names: Vec<_> = std::iter::once("CLONE_PIDFD").chain(named).collect();
    names.join("|")
}
