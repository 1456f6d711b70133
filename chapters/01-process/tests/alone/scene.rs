//! What every behaviour here needs: a step that goes wrong, a shell to become, and a look at what is left.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use process::channel::Inside;
use process::{CallError, CloneArgs, ExitStatus, ProcessStep, Program, Spawned, Step, spawn};

/// The chapter's steps, and some that no plan of ours would have.
#[derive(Debug)]
pub enum Act {
    /// One of the chapter's.
    Real(ProcessStep),
    /// In the place of a step: fails with its name.
    Refuse(&'static str),
    /// Fails with a text of this length.
    RefuseAtLength(usize),
    /// Says more at a checkpoint than a record holds.
    SayTooMuch,
    /// A mistake of ours.
    Panic,
    /// Ends without a word.
    Vanish(i32),
    /// Is killed without a word.
    KillSelf,
}

impl From<ProcessStep> for Act {
    fn from(step: ProcessStep) -> Self {
        Self::Real(step)
    }
}

impl Step for Act {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Real(step) => step.name(),
            Self::Refuse(name) => name,
            _ => "act",
        }
    }

    fn run(&self, state: &mut (), channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Real(step) => step.run(state, channel),
            Self::Refuse(_) => Err(CallError::new("attempt", "what cannot be", nix::errno::Errno::EPERM)),
            Self::RefuseAtLength(length) => {
                let long = "/very-long".repeat(length / 10);
                Err(CallError::new("open", &long, nix::errno::Errno::ENAMETOOLONG).with(&long))
            }
            Self::SayTooMuch => channel.reach(&"x".repeat(process::channel::LIMIT), None),
            Self::Panic => panic!("a mistake of ours"),
            Self::Vanish(code) => std::process::exit(*code),
            Self::KillSelf => {
                process::PidFd::open(process::Pid::this())?.signal(process::Signal::SIGKILL)?;
                loop {
                    std::thread::park();
                }
            }
        }
    }
}

/// `sh -c SCRIPT` as the last step.
pub fn shell(script: &str) -> ProcessStep {
    ProcessStep::Exec(words(&["/bin/sh", "-c", script]))
}

/// A program without an environment but for its search path.
pub fn words(words: &[&str]) -> Program {
    let environment = vec!["PATH=/usr/bin:/bin".into()];
    Program { arguments: words.iter().map(Into::into).collect(), environment }
}

/// Clones a child that runs `steps`.
pub fn child(steps: &[Act]) -> Spawned {
    spawn(&CloneArgs::default(), steps).unwrap()
}

/// Runs `steps`, whose last is an exec, to the end; what the program printed and how it ended.
pub fn output(steps: Vec<ProcessStep>) -> (String, ExitStatus) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let streams = ProcessStep::Stdio([null.as_raw_fd(), writer.as_raw_fd(), writer.as_raw_fd()]);
    let steps: Vec<Act> = std::iter::once(streams).chain(steps).map(Act::from).collect();
    let mut child = child(&steps);
    child.run_to_exec().unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (text, child.pidfd().wait().unwrap())
}

/// What this process holds: its descriptors, by what they are open on. Children it must have none.
#[derive(Debug, PartialEq)]
pub struct Held(BTreeMap<i32, PathBuf>);

impl Held {
    pub fn now() -> Self {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap);
        let number = |entry: &std::fs::DirEntry| entry.file_name().to_str().unwrap().parse().unwrap();
        let all = entries.map(|entry| (number(&entry), std::fs::read_link(entry.path()).unwrap_or_default()));
        // The directory that is being read is open, too.
        Self(all.filter(|(_, path)| !path.starts_with("/proc")).collect())
    }

    /// No more and no fewer descriptors than then, and no child, running or zombie.
    pub fn is_all_there_is(&self) {
        assert_eq!(&Self::now(), self, "descriptors");
        let children = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        assert!(matches!(children, Err(rustix::io::Errno::CHILD)), "a child is left: {children:?}");
    }
}

/// A descriptor that a careless caller left open: not close-on-exec.
pub fn careless(path: &str) -> OwnedFd {
    rustix::io::dup(std::fs::File::open(path).unwrap()).unwrap()
}
