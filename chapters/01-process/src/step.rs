//! Init is data: what a child does between clone and exec is a list of steps.
//!
//! The parent plans the list, the child's interpreter ([`spawn`](crate::spawn())) runs it from the first step
//! to the last. A step is an enum's variant with plain values in it, so a plan can be printed, compared
//! and tested without making a process. Each chapter supplies the kinds of steps it teaches; chapter 7
//! wraps them all in one enum and decides their order.

use std::ffi::OsString;
use std::fmt::Debug;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use rustix::fs::Mode;
use rustix::pipe::PipeFlags;

use crate::channel::Inside;
use crate::error::{CallError, During};
use crate::pty::{self, Size};
use crate::{step, sys};

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
    /// Die when the parent dies.
    DieWithParent(Signal),
    /// A resource limit, soft and hard.
    Limit(Resource, u64, u64),
    /// How readily the kernel picks this process when memory runs out: -1000 (never) to 1000 (first).
    OomScore(i32),
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
    /// Become the program.
    Exec(Program),
}

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Arguments; the first names the program, searched in `PATH` of `environment` if it has no slash.
    pub arguments: Vec<OsString>,
    /// `NAME=value` each.
    pub environment: Vec<OsString>,
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
            Self::DieWithParent(_) => "prctl",
            Self::Limit(..) => "setrlimit",
            Self::OomScore(_) => "oom_score_adj",
            Self::ChangeDirectory(_) => "chdir",
            Self::Umask(_) => "umask",
            Self::CloseOnExec { .. } => "close_range",
            Self::AwaitStart { .. } => "accept",
            Self::Exec(_) => "execve",
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
            Self::Stdio(descriptors) => place_stdio(descriptors),
            Self::Terminal { size, owner } => open_terminal(*size, *owner, channel),
            Self::ResetSignals => {
                sys::reset_signals();
                Ok(())
            }
            Self::DieWithParent(signal) => {
                step!(1, "prctl", "prctl(2)", "die when the parent dies", "PR_SET_PDEATHSIG {}", signal.as_str());
                prctl::set_pdeathsig(*signal).during("prctl PR_SET_PDEATHSIG", signal.as_str())
            }
            Self::Limit(resource, soft, hard) => {
                step!(1, "setrlimit", "getrlimit(2)", "bound one resource", "{resource:?} {soft}:{hard}");
                setrlimit(*resource, *soft, *hard).during("setrlimit", format!("{resource:?} {soft}:{hard}"))
            }
            Self::OomScore(score) => {
                let path = "/proc/self/oom_score_adj";
                step!(1, "write", "proc_pid_oom_score_adj(5)", "who goes first when memory runs out", "{score}");
                std::fs::write(path, score.to_string()).during("write", path).map_err(|error| error.with(score))
            }
            Self::ChangeDirectory(path) => change_directory(path),
            Self::Umask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            Self::CloseOnExec { preserve } => {
                step!(1, "close_range", "close_range(2)", "hand no descriptor to the program", "from {}", 3 + preserve);
                sys::close_on_exec_from(3 + preserve).during("close_range", format!("from {}", 3 + preserve))
            }
            Self::AwaitStart { listener, preserve } => await_start(*listener, *preserve, channel),
            Self::Exec(program) => exec(program, channel),
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

fn place_stdio(descriptors: &[RawFd; 3]) -> Result<(), CallError> {
    // A source below 3 could be overwritten before its turn, so first lift each out of the way.
    let mut lifted = Vec::with_capacity(3);
    for &fd in descriptors {
        lifted.push(rustix::io::fcntl_dupfd_cloexec(sys::borrow(fd), 3).during("fcntl F_DUPFD_CLOEXEC", fd)?);
    }
    for (fd, target) in lifted.iter().zip(0..) {
        sys::place(fd.as_raw_fd(), target).during("dup2", target)?;
    }
    Ok(())
}

fn open_terminal(size: Size, owner: u32, channel: &mut Inside) -> Result<(), CallError> {
    use std::os::fd::AsFd as _;
    step!(1, "open", "pty(7)", "a terminal of the container's own", "/dev/ptmx {}x{}", size.rows, size.columns);
    let pty = pty::open(Path::new("/dev/ptmx"))?;
    pty::resize(pty.master.as_fd(), size)?;
    rustix::fs::fchown(&pty.peer, Some(rustix::fs::Uid::from_raw(owner)), None).during("fchown", "terminal")?;
    channel.reach("terminal", Some(pty.master.as_fd()))?;
    let peer = pty.peer.as_raw_fd();
    place_stdio(&[peer, peer, peer])?;
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
    let mut kept = [listener, channel.as_fd().as_raw_fd()];
    kept.sort_unstable();
    sys::close_all_but(3 + preserve, kept).during("close_range", format!("all but {kept:?}"))?;
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

/// Looks the program up and becomes it. Returns only on failure: ENOENT "not found", EACCES "not executable".
fn exec(program: &Program, channel: &mut Inside) -> Result<(), CallError> {
    let name = program.arguments.first().ok_or_else(|| CallError::refused("execve", "", "no program named"))?;
    let path = look_up(Path::new(name), &program.environment)?;
    step!(1, "execve", "execve(2)", "become the program; this descriptor list ends here", "{}", path.display());
    let c_string = |text: &OsString| {
        std::ffi::CString::new(text.as_bytes())
            .map_err(|_| CallError::refused("execve", text.display(), "a NUL byte in an argument"))
    };
    let arguments = program.arguments.iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let environment = program.environment.iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let file = c_string(&path.clone().into_os_string())?;
    channel.ready()?;
    let Err(errno) = nix::unistd::execve(&file, &arguments, &environment);
    Err(CallError::new("execve", path.display(), errno))
}

/// Searches as a shell does: the first executable regular file of that name in `PATH`.
fn look_up(name: &Path, environment: &[OsString]) -> Result<PathBuf, CallError> {
    if name.as_os_str().as_bytes().contains(&b'/') {
        return Ok(name.to_owned());
    }
    let path = environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH=")).unwrap_or_default();
    let mut found_unexecutable = false;
    for directory in path.split(|byte| *byte == b':').filter(|directory| !directory.is_empty()) {
        let candidate = Path::new(std::ffi::OsStr::from_bytes(directory)).join(name);
        if candidate.is_file() {
            match rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK) {
                Ok(()) => return Ok(candidate),
                Err(_) => found_unexecutable = true,
            }
        }
    }
    let errno = if found_unexecutable { Errno::EACCES } else { Errno::ENOENT };
    Err(CallError::new("execve", name.display(), errno).with("searched in PATH"))
}
