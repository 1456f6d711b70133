//! Init is data: what a child does between clone and exec is a list of steps.
//!
//! The parent plans the list, the child's interpreter ([`spawn`](crate::spawn())) runs it from the first step
//! to the last. A step is an enum's variant with plain values in it, so a plan can be printed, compared
//! and tested without making a process. Each chapter supplies the kinds of steps it teaches; chapter 7
//! wraps them all in one enum and decides their order.

use std::fmt::Debug;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::PROC_SUPER_MAGIC;
use nix::sys::resource::{Resource, setrlimit};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use crate::channel::Inside;
use crate::error::{CallError, During};
use crate::program::Program;
use crate::pty::{self, Size};
use crate::scheduling::{self, IoPriority, Scheduling};
use crate::signals::Signal;
use crate::{descriptors, step, sys};

/// One thing that a child does before exec.
pub trait Step: Debug {
    /// What earlier steps leave for later ones: a descriptor of the new root, for instance.
    type State: Default;

    /// The step's name, as errors and `--explain` show it: the kernel call at its heart.
    fn name(&self) -> &'static str;

    /// Does it. Runs in the child: no thread, no subscriber, no destructor of the parent's.
    ///
    /// # Errors
    /// Whatever fails; the interpreter sends it to the parent and ends the child.
    fn run(&self, state: &mut Self::State, channel: &mut Inside) -> Result<(), CallError>;
}

/// The steps of this chapter.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessStep {
    /// Say that this point is reached and wait until the parent has done its part.
    Checkpoint(&'static str),
    /// Go on in a new process, a sibling of this one: how one gets *into* a pid namespace after `setns`.
    Fork,
    /// A session of its own, so that no terminal of the parent's can send signals or take input.
    NewSession,
    /// Put three inherited descriptors at 0, 1 and 2.
    Stdio([RawFd; 3]),
    /// Open a new pseudo-terminal at `/dev/ptmx`, make it standard input, output and error and the
    /// controlling terminal, and hand its master to the parent at the checkpoint `terminal`.
    Terminal {
        /// Rows and columns to begin with.
        size: Size,
        /// Who owns the terminal inside.
        owner: u32,
    },
    /// Default actions for all signals, none blocked. Rust programs ignore SIGPIPE; their children must not.
    ResetSignals,
    /// The same, and what an init passes on held back, until it asks what has come. A first process does not hear what it has no
    /// handler for, and a signal in its first instant would be lost.
    HoldSignals,
    /// Die when the parent dies.
    DieWithParent(Signal),
    /// A resource limit, soft and hard.
    Limit(Resource, u64, u64),
    /// How readily the kernel picks this process when memory runs out: -1000 (never) to 1000 (first).
    OomScore(i32),
    /// The turn at a disk.
    IoPriority(IoPriority),
    /// The turn on a CPU.
    Scheduling(Scheduling),
    /// The CPUs to run on.
    Affinity(Vec<usize>),
    /// As which Linux the process shows itself: `PER_LINUX32` makes `uname` say i686.
    Personality(u64),
    /// The working directory. It must lie inside the root.
    ChangeDirectory(PathBuf),
    /// The file creation mask.
    Umask(u32),
    /// Everything but standard streams and `preserve` descriptors after them is closed at exec.
    CloseOnExec {
        /// How many descriptors from 3 on are handed to the program.
        preserve: u32,
    },
    /// Wait until somebody connects to this listening socket and says `s`: `create` has ended, `start` comes later.
    ///
    /// The wait may be long, and whatever the parent had open is let go of first: a pipe held open here is one that
    /// somebody else reads for ever.
    AwaitStart {
        /// The socket.
        listener: RawFd,
        /// How many descriptors from 3 on are kept for the program.
        preserve: u32,
    },
    /// See, from this directory, whether there is such a program: an error now rather than later.
    Find(Program, PathBuf),
    /// Become the program.
    Exec(Program),
    /// Become the program that this descriptor is open on; the arguments are only what it is told.
    ExecDescriptor(RawFd, Program),
}

impl Step for ProcessStep {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Checkpoint(name) => name,
            Self::Fork => "clone3",
            Self::NewSession => "setsid",
            Self::Stdio(_) => "dup2",
            Self::Terminal { .. } => "openpt",
            Self::ResetSignals => "sigaction",
            Self::HoldSignals => "sigprocmask",
            Self::DieWithParent(_) => "prctl",
            Self::Limit(..) => "setrlimit",
            Self::OomScore(_) => "oom_score_adj",
            Self::IoPriority(_) => "ioprio_set",
            Self::Scheduling(_) => "sched_setattr",
            Self::Affinity(_) => "sched_setaffinity",
            Self::Personality(_) => "personality",
            Self::ChangeDirectory(_) => "chdir",
            Self::Umask(_) => "umask",
            Self::CloseOnExec { .. } => "close_range",
            Self::AwaitStart { .. } => "accept",
            // A program that is missing is missing in the same words now as it would be later.
            Self::Find(..) | Self::Exec(_) => "execve",
            Self::ExecDescriptor(..) => "execveat",
        }
    }

    fn run(&self, (): &mut (), channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Checkpoint(name) => channel.reach(name, None),
            Self::Fork => fork(channel),
            Self::NewSession => {
                step!(1, "setsid", "setsid(2)", "leave the parent's terminal and its signals", "");
                rustix::process::setsid().map(drop).during("setsid", "")
            }
            Self::Stdio(streams) => descriptors::place_stdio(streams),
            Self::Terminal { size, owner } => open_terminal(*size, *owner, channel),
            Self::ResetSignals => {
                sys::reset_signals();
                Ok(())
            }
            Self::HoldSignals => {
                sys::reset_signals();
                sys::signal_set(Signal::passed_on().map(Signal::number))
                    .thread_block()
                    .during("sigprocmask", "SIG_BLOCK")
            }
            Self::DieWithParent(signal) => die_with_parent(*signal, channel),
            Self::Limit(resource, soft, hard) => limit(*resource, *soft, *hard),
            Self::OomScore(score) => set_oom_score(*score),
            Self::IoPriority(priority) => scheduling::set_io_priority(*priority),
            Self::Scheduling(wanted) => scheduling::set_scheduling(wanted),
            Self::Affinity(cpus) => scheduling::set_affinity(cpus),
            Self::Personality(persona) => scheduling::set_personality(*persona),
            Self::ChangeDirectory(path) => change_directory(path),
            Self::Umask(mask) => {
                step!(1, "umask", "umask(2)", "what new files are not allowed", "{mask:03o}");
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            Self::CloseOnExec { preserve } => descriptors::close_on_exec(*preserve),
            Self::AwaitStart { listener, preserve } => await_start(*listener, *preserve, channel),
            Self::Find(program, directory) => program.find(directory),
            Self::Exec(program) => program.exec(channel),
            Self::ExecDescriptor(file, program) => program.exec_descriptor(*file, channel),
        }
    }
}

/// The grandchild goes on with the remaining steps; the child hands over its pidfd and ends.
///
/// The grandchild waits until the child has said so: were its own first word heard earlier, the parent would take
/// it for the child's, and remember a process that is about to end.
fn fork(channel: &mut Inside) -> Result<(), CallError> {
    use std::os::fd::AsFd as _;
    let (told, telling) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during("pipe", "fork")?;
    step!(1, "clone3", "clone3(2)", "be born inside the pid namespace just joined", "CLONE_PARENT");
    match sys::clone3(libc::CLONE_PARENT as u64, 0, None).during("clone3", "CLONE_PARENT")? {
        sys::Side::Child => {
            drop(telling);
            // Nothing is ever written: the end of file is the child's end.
            rustix::io::read(&told, &mut [0; 1]).during("wait for", "fork").map(drop)
        }
        sys::Side::Parent(_, pidfd) => {
            channel.forked(pidfd.as_fd())?;
            sys::exit_now(0)
        }
    }
}

fn die_with_parent(signal: Signal, channel: &Inside) -> Result<(), CallError> {
    step!(1, "prctl", "prctl(2)", "die when the parent dies", "PR_SET_PDEATHSIG {signal}");
    sys::set_parent_death_signal(signal.number()).during("prctl PR_SET_PDEATHSIG", signal)?;
    // A parent that died before the call sends nothing any more.
    match channel.parent_is_there()? {
        true => Ok(()),
        false => Err(CallError::refused("prctl PR_SET_PDEATHSIG", signal, "the parent is gone already")),
    }
}

fn limit(resource: Resource, soft: u64, hard: u64) -> Result<(), CallError> {
    step!(1, "setrlimit", "getrlimit(2)", "bound one resource", "{resource:?} {soft}:{hard}");
    setrlimit(resource, soft, hard).map_err(|errno| {
        let needs = if errno == Errno::EPERM { ", and to raise a hard limit needs CAP_SYS_RESOURCE" } else { "" };
        let data = format_args!("soft {soft}, hard {hard}{needs}");
        CallError::new("setrlimit", format_args!("{resource:?}"), errno).with(data)
    })
}

/// Writes the score into the kernel's own file: what an image put in the place of `/proc` could be any file of its own.
fn set_oom_score(score: i32) -> Result<(), CallError> {
    let path = "/proc/self/oom_score_adj";
    step!(1, "write", "proc_pid_oom_score_adj(5)", "who goes first when memory runs out", "{score}");
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).during("open", path)?;
    if rustix::fs::fstatfs(&file).during("fstatfs", path)?.f_type != PROC_SUPER_MAGIC {
        return Err(CallError::refused("write", path, "it is not procfs that is mounted on /proc"));
    }
    match rustix::io::write(&file, score.to_string().as_bytes()) {
        Err(rustix::io::Errno::ACCESS) => {
            let reason = format_args!("{score}: a score below the one that was inherited needs CAP_SYS_RESOURCE");
            Err(CallError::new("write", path, Errno::EACCES).with(reason))
        }
        written => written.map(drop).during("write", path).map_err(|error| error.with(score)),
    }
}

fn open_terminal(size: Size, owner: u32, channel: &mut Inside) -> Result<(), CallError> {
    use std::os::fd::AsFd as _;
    step!(1, "open", "pty(7)", "a terminal of the container's own", "/dev/ptmx {}x{}", size.rows, size.columns);
    let pty = pty::open(Path::new("/dev/ptmx"))?;
    pty::resize(pty.master.as_fd(), size)?;
    rustix::fs::fchown(&pty.peer, Some(rustix::fs::Uid::from_raw(owner)), None).during("fchown", "terminal")?;
    channel.reach("terminal", Some(pty.master.as_fd()))?;
    let peer = pty.peer.as_raw_fd();
    descriptors::place_stdio(&[peer, peer, peer])?;
    sys::take_controlling_terminal().during("ioctl TIOCSCTTY", "terminal")
}

fn change_directory(path: &Path) -> Result<(), CallError> {
    step!(1, "chdir", "chdir(2)", "start where the image says", "{}", path.display());
    rustix::process::chdir(path).during("chdir", path.display())?;
    // A path such as /proc/self/fd/7 can lead to a directory of the host that a leaked descriptor holds
    // (CVE-2024-21626). The kernel then reports the directory as unreachable from this root.
    let here = rustix::process::getcwd(Vec::new()).during("getcwd", path.display())?;
    if here.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(CallError::refused("chdir", path.display(), "the directory lies outside the root"))
    }
}

fn await_start(listener: RawFd, preserve: u32, channel: &Inside) -> Result<(), CallError> {
    descriptors::let_go(preserve, listener, channel)?;
    loop {
        let peer = match rustix::net::accept_with(sys::borrow(listener), rustix::net::SocketFlags::CLOEXEC) {
            Err(rustix::io::Errno::INTR) => continue,
            peer => peer.during("accept", "start socket")?,
        };
        let mut word = [0; 1];
        // Somebody who connects and says nothing has not started us: wait for the next.
        if let Ok(1) = rustix::io::read(&peer, &mut word)
            && word == *b"s"
        {
            crate::spawn::answer_on(peer);
            return Ok(());
        }
    }
}
