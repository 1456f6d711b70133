//! Checkpoint and restore: a container's processes written to files, and let go on from them.
//!
//! What a process consists of besides its memory (descriptors, timers, sockets, how it is confined) only the kernel knows,
//! in a hundred places. CRIU knows the places, and is called here as a program. A runtime adds what CRIU cannot know: which
//! mounts and streams lead out of the container, in which root and cgroup its processes go on, and whether what went on is
//! as confined as what was stopped.
//!
//! ```text
//!   checkpoint:  criu dump ------> images + frozen.json ------> restore: cgroup, root ---> criu restore
//!                     |                                                                        |
//!              the processes end                        compare, then let go <--- stopped processes
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cgroups::Cgroup;
use oci_spec::runtime::Spec;
use process::{During as _, Pid, kernel_file, state, step};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lifecycle::{self, Force};
use crate::pause::cgroup_of;
use crate::spec::refuse;
use crate::state::{Record, StateDir, Status};

/// What lies beside CRIU's images: what a restore needs to know, and CRIU does not.
const FROZEN: &str = "frozen.json";

/// A container to write down.
pub struct Checkpoint<'a> {
    /// The container.
    pub id: &'a str,
    /// Where its state lives.
    pub state: &'a StateDir,
    /// How CRIU is called.
    pub criu: Criu<'a>,
    /// The images of an earlier [`Afterwards::Again`], as a path that begins at this one's: only what has changed since
    /// is written.
    pub parent: Option<&'a Path>,
    /// What becomes of the container.
    pub afterwards: Afterwards,
}

/// How CRIU is called.
#[derive(Debug, Clone, Copy)]
pub struct Criu<'a> {
    /// The program.
    pub program: &'a Path,
    /// The directory of the images.
    pub images: &'a Path,
    /// The directory of its log; that of the images if none.
    pub work: Option<&'a Path>,
    /// What it may touch that reaches out of the container.
    pub allowed: &'a [Allowed],
}

/// What CRIU refuses to touch unless told so, because somebody outside may notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Open TCP connections.
    TcpEstablished,
    /// Unix sockets whose other end is outside.
    ExternalUnixSockets,
    /// A session that was begun outside.
    ShellJob,
    /// File locks, held by nobody outside.
    FileLocks,
    /// Removing from earlier images what later ones have anew.
    AutoDedup,
    /// A network namespace that is made, and into which nothing is restored.
    EmptyNetwork,
}

/// What becomes of a container that has been written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// It ends, and is deleted.
    Deleted,
    /// It goes on.
    Running,
    /// It goes on; only its memory was written, and another checkpoint will follow.
    Again,
}

/// What a restore is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frozen {
    /// The standard streams, in the names that CRIU has for what is outside; empty for those inside.
    pub(crate) streams: Vec<String>,
    /// The first process's confinement: lines of `/proc/PID/status`.
    pub(crate) confinement: BTreeMap<String, String>,
}

/// The lines of `/proc/PID/status` that say what a process may do.
const CONFINEMENT: [&str; 11] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
];

/// Writes a running container to disk.
///
/// # Errors
/// [`Error::Status`] when it does not run; [`Error::Criu`] with what CRIU said; a configuration that cannot be written down:
/// with a terminal, or in other containers' namespaces.
///
/// # References
/// criu(8), "dump"; runc-checkpoint(8)
pub fn checkpoint(request: &Checkpoint<'_>) -> Result<Vec<Error>, Error> {
    {
        let _lock = request.state.lock(request.id)?;
        let record = request.state.record_now(request.id)?;
        let pid = match (record.state.status, record.state.pid) {
            (Status::Running | Status::Paused, Some(pid)) => pid,
            (status, _) => {
                let (id, status) = (request.id.to_owned(), status.to_string());
                return Err(Error::Status { operation: "checkpoint", id, status });
            }
        };
        let spec = request.state.spec(request.id)?;
        check(&spec)?;
        make_directory(request.criu.images)?;
        request.criu.work.map_or(Ok(()), make_directory)?;
        let frozen = Frozen { streams: outside_streams(pid)?, confinement: confinement_of(pid)? };
        if request.afterwards != Afterwards::Again {
            state::write_run_json(&request.criu.images.join(FROZEN), &frozen)?;
        }
        request.criu.run("dump", &dump_arguments(request, &record, &spec, pid, &frozen)?)?;
    }
    match request.afterwards {
        Afterwards::Deleted => lifecycle::delete(request.state, request.id, Force::Yes),
        Afterwards::Running | Afterwards::Again => Ok(Vec::new()),
    }
}

fn dump_arguments(
    request: &Checkpoint<'_>,
    record: &Record,
    spec: &Spec,
    pid: Pid,
    frozen: &Frozen,
) -> Result<Vec<OsString>, Error> {
    let again = request.afterwards == Afterwards::Again;
    let mut arguments: Vec<OsString> = vec![if again { "pre-dump" } else { "dump" }.into()];
    arguments.extend(["--tree".into(), pid.to_string().into()]);
    // Without it CRIU would stop one process after another, and lose those that are born meanwhile.
    let freezer =
        |directory: &PathBuf| ["cgroup.freeze", "freezer.state"].iter().any(|file| directory.join(file).exists());
    if let Some(directory) = cgroup_of(record)?.directories().into_iter().find(freezer) {
        arguments.extend(["--freeze-cgroup".into(), directory.into()]);
    }
    if again || request.parent.is_some() {
        arguments.push("--track-mem".into());
    }
    if let Some(parent) = request.parent {
        arguments.extend(["--prev-images-dir".into(), parent.into()]);
    }
    if request.afterwards == Afterwards::Running {
        arguments.push("--leave-running".into());
    }
    for target in binds(spec).map(|(target, _)| target) {
        arguments.extend(["--external".into(), format!("mnt[{}]:{}", target.display(), target.display()).into()]);
    }
    let files = frozen.streams.iter().filter(|stream| stream.starts_with("file["));
    arguments.extend(files.flat_map(|file| [OsString::from("--external"), file.into()]));
    Ok(arguments)
}

/// The bind mounts of a configuration: where, and what.
pub(crate) fn binds(spec: &Spec) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let is_bind = |mount: &&oci_spec::runtime::Mount| {
        let options = mount.options().iter().flatten();
        mount.typ().as_deref() == Some("bind")
            || options.into_iter().any(|option| option == "bind" || option == "rbind")
    };
    spec.mounts()
        .iter()
        .flatten()
        .filter(is_bind)
        .filter_map(|mount| Some((Path::new("/").join(mount.destination()), mount.source().clone()?)))
}

/// What is in the way of being written down, or of going on elsewhere.
///
/// # Errors
/// The field.
pub(crate) fn check(spec: &Spec) -> Result<(), Error> {
    if spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false) {
        return Err(refuse(
            "process.terminal",
            "a terminal cannot be checkpointed: its other end is outside".to_owned(),
        ));
    }
    let namespaces = spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten();
    if namespaces.into_iter().any(|namespace| namespace.path().is_some()) {
        let reason = "a container in namespaces of others cannot be checkpointed".to_owned();
        return Err(refuse("linux.namespaces", reason));
    }
    Ok(())
}

/// The standard streams that were opened outside: files by mount and inode, pipes by inode.
fn outside_streams(pid: Pid) -> Result<Vec<String>, Error> {
    let mounts = kernel_file::read_text(format!("/proc/{pid}/mountinfo")).during("read", "mountinfo")?;
    let is_inside = |mount: &str| mounts.lines().any(|line| line.split(' ').next() == Some(mount));
    let stream = |number: i32| {
        let path = format!("/proc/{pid}/fd/{number}");
        // A stream may be closed.
        let Ok(link) = std::fs::read_link(&path) else { return Ok(String::new()) };
        if let Some(pipe) = link.to_string_lossy().strip_prefix("pipe:") {
            return Ok(format!("pipe:{pipe}"));
        }
        let information = kernel_file::read_text(format!("/proc/{pid}/fdinfo/{number}")).during("read", &path)?;
        let mount = information.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default().trim();
        if is_inside(mount) || !link.is_absolute() {
            return Ok(String::new());
        }
        let inode = std::fs::metadata(&path).during("stat", &path)?.ino();
        Ok(format!("file[{:x}:{inode:x}]", mount.parse::<u64>().unwrap_or_default()))
    };
    (0..3).map(stream).collect()
}

/// How a process is confined, as the kernel says it.
pub(crate) fn confinement_of(pid: Pid) -> Result<BTreeMap<String, String>, Error> {
    let path = format!("/proc/{pid}/status");
    let text = kernel_file::read_text(&path).during("read", &path)?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let known = lines.filter(|(name, _)| CONFINEMENT.contains(name));
    Ok(known.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// What was written down beside the images.
pub(crate) fn frozen(images: &Path) -> Result<Frozen, Error> {
    Ok(state::read_json(&images.join(FROZEN))?)
}

fn make_directory(path: &Path) -> Result<(), Error> {
    // What a container had in memory is nobody else's business.
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    Ok(made.during("mkdir", path.display())?)
}

impl Allowed {
    fn flag(self) -> &'static str {
        match self {
            Self::TcpEstablished => "--tcp-established",
            Self::ExternalUnixSockets => "--ext-unix-sk",
            Self::ShellJob => "--shell-job",
            Self::FileLocks => "--file-locks",
            Self::AutoDedup => "--auto-dedup",
            Self::EmptyNetwork => "--empty-ns=net",
        }
    }
}

impl Criu<'_> {
    /// What is the same for both directions.
    pub(crate) fn arguments(&self, operation: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--images-dir".into(), self.images.into()];
        arguments.extend(["--work-dir".into(), self.work.unwrap_or(self.images).into()]);
        arguments.extend(["--log-file".into(), format!("{operation}.log").into(), "-v4".into()]);
        arguments.push("--manage-cgroups=soft".into());
        arguments.extend(self.allowed.iter().map(|allowed| allowed.flag().into()));
        arguments
    }

    fn run(&self, operation: &'static str, arguments: &[OsString]) -> Result<(), Error> {
        step!(7, "criu", "criu(8)", "write what the kernel knows of every process", "{}", self.images.display());
        let mut command = Command::new(self.program);
        command.args(arguments).args(self.arguments(operation));
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(self.error(operation)),
            Err(error) => {
                let said = format!("{}: {error}; checkpoint and restore are CRIU's work", self.program.display());
                Err(Error::Criu { operation, said })
            }
        }
    }

    /// What it says last in its log.
    pub(crate) fn error(&self, operation: &'static str) -> Error {
        let log = self.work.unwrap_or(self.images).join(format!("{operation}.log"));
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let errors: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("Error ").map(|(_, error)| error)).collect();
        let last = errors[errors.len().saturating_sub(3)..].join("; ");
        let said = if last.is_empty() { "it failed without a word".to_owned() } else { last };
        Error::Criu { operation, said: format!("{said} ({})", log.display()) }
    }
}

/// Kills what a failed restore has left, and removes its cgroup.
pub(crate) fn discard(cgroup: &Cgroup) {
    // The first error is the one to report; what cannot be removed now, `delete --force` removes.
    let _ = cgroup.kill();
    let _ = cgroup.remove();
}
