//! `create`: a container that is complete, confined, and waits.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cgroups::{Cgroup, Entrance};
use namespaces::{NamespaceKind, NamespaceStep, Plan, isolate};
use oci_spec::runtime::{Hook, Spec};
use process::pty::Size;
use process::{CallError, During as _, Event, Pid, PidFd, ProcessStep, Spawned, Step};
use rootfs::DetachedMount;

use crate::cgroup::{self, cgroup_path};
use crate::error::Error;
use crate::handle::Handle;
use crate::hooks;
use crate::id_maps;
use crate::options::{CgroupManager, CreateOptions};
use crate::plan::{self, CREATED, Request, RootSource, Streams};
use crate::prepared::Prepared;
use crate::spec::Checked;
use crate::start::{self, StartSocket};
use crate::state::{Record, StateDir, Status, file_of};

/// Directories that every machine has, and that no step after the root's attachment looks into.
const REACHABLE: [&str; 3] = ["/mnt", "/srv", "/tmp"];

/// What the caller does between namespaces and file system, given the container's pid.
pub type OnNamespaces<'a> = &'a mut dyn FnMut(Pid) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// From a request to the steps of init: [`plan::init_steps`], or something around it.
pub trait Planner<S>: FnOnce(&Request<'_>) -> Result<Vec<S>, Error> {}

impl<S, F: FnOnce(&Request<'_>) -> Result<Vec<S>, Error>> Planner<S> for F {}

/// A container to make.
pub struct Create<'a> {
    /// Its id, unique in `state`.
    pub id: &'a str,
    /// Its configuration.
    pub spec: &'a Checked,
    /// The directory that relative paths of the configuration begin at.
    pub bundle: &'a Path,
    /// Its root.
    pub root: RootSource,
    /// Its standard streams.
    pub stdio: Stdio,
    /// Where its state lives.
    pub state: &'a StateDir,
    /// Bind mounts of the configuration that the caller has made already, by their destinations: what no path leads to.
    pub mounts: Vec<(PathBuf, DetachedMount)>,
    /// Called in this process when the namespaces exist and before the file system is set up: the network.
    pub on_namespaces: Option<OnNamespaces<'a>>,
    /// What the host asks for beside the configuration.
    pub options: CreateOptions,
}

/// Standard streams of a container.
#[derive(Debug)]
pub enum Stdio {
    /// This process's own.
    Inherit,
    /// These.
    Descriptors {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A terminal, whose master [`Created::console`] is.
    Terminal {
        /// Its size to begin with.
        size: Size,
    },
}

impl Stdio {
    /// The same, by the numbers that a plan has for them.
    pub(crate) fn streams(&self) -> Streams {
        match self {
            Self::Inherit => Streams::Descriptors([0, 1, 2]),
            Self::Descriptors { stdin, stdout, stderr } => {
                Streams::Descriptors([stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()])
            }
            Self::Terminal { size } => Streams::Terminal(*size),
        }
    }
}

/// A container that waits to be started.
#[derive(Debug)]
pub struct Created {
    /// Its first process.
    pub pid: Pid,
    /// The terminal's master, if it has a terminal. Take it.
    pub console: Option<OwnedFd>,
    child: Spawned,
    handle: Handle,
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Started {
    /// Its first process.
    pub pid: Pid,
    /// The same, as a descriptor: to wait for, to signal.
    pub pidfd: PidFd,
    /// The terminal's master, if it has one and it was not taken before.
    pub console: Option<OwnedFd>,
    /// What failed on the way and stopped nothing: hooks after the start.
    pub warnings: Vec<Error>,
}

/// Makes a container. When this returns, all of it stands but its program.
///
/// On an error nothing is left: not the cgroup, not the state, not the process.
///
/// # Errors
/// The step that failed, in this process or in the container's init.
///
/// # References
/// OCI runtime spec, runtime.md, "Create"
pub fn create(request: Create<'_>) -> Result<Created, Error> {
    create_planned(request, plan::init_steps)
}

/// As [`create`], with another planner: what init does is data, and whoever makes a container may change the data.
///
/// # Errors
/// The planner's, and as [`create`].
pub fn create_planned<S>(mut request: Create<'_>, planner: impl Planner<S>) -> Result<Created, Error>
where
    S: Step + From<NamespaceStep> + From<ProcessStep>,
{
    let directory = request.state.reserve(request.id)?;
    let made = make(&mut request, &directory, planner);
    if let Err(error) = &made {
        discard(request.spec, request.id, &directory);
        if hooks::failed(error) {
            // The error that is told is the first; a later one changes nothing any more.
            drop(hooks::after_end(request.spec.hooks().as_ref(), new_record(&request).state));
        }
    }
    made
}

fn make<S>(request: &mut Create<'_>, directory: &Path, planner: impl Planner<S>) -> Result<Created, Error>
where
    S: Step + From<NamespaceStep> + From<ProcessStep>,
{
    let Create { id, spec, bundle, .. } = *request;
    let mut record = announce(request)?;
    let attach_at = attachment_point(&request.root, spec, directory)?;
    let socket = StartSocket::listen(directory)?;
    let mut cgroup = cgroup::of_nobody_yet(spec, id, &request.options)?;
    record.cgroup = cgroup.as_ref().map(|cgroup| cgroup.path().clone());
    let entrance = cgroup.as_ref().map(Cgroup::entrance).transpose()?;
    let prepared = Prepared::of(spec, bundle)?.with(spec, bundle, std::mem::take(&mut request.mounts))?;
    let plan = plan::namespaces(spec)?;
    let visited = is_visited(request, &plan);
    let steps = planner(&Request {
        id,
        spec,
        bundle,
        root: &request.root,
        attach_at: &attach_at,
        prepared: &prepared,
        entrance: entrance.as_ref(),
        streams: request.stdio.streams(),
        start_socket: socket.as_raw_fd(),
        visited,
        options: request.options,
        state: record.state.clone(),
    })?;

    let maps = plan::has_own(spec, NamespaceKind::User).then(|| id_maps::of(spec));
    let isolated = isolate(&plan, entrance.as_ref().and_then(Entrance::birth), maps.as_ref(), steps)?;
    // From here on the child exists, and must not outlive an error.
    let mut guard = Guard(Some(isolated));
    let child = guard.child()?;
    match visited {
        true => visit(request, child, &mut record, &mut cgroup)?,
        false => remember(request, child, &mut record)?,
    }
    let console = run_to_created(child)?;
    record.state.status = Status::Created;
    record.creator = None;
    request.state.write(&record)?;
    child.go()?;
    let child = guard.release()?;
    let handle = Handle { state: request.state.clone(), record, spec: spec.clone(), cgroup };
    Ok(Created { pid: child.pid(), console, child, handle })
}

/// Whether somebody works on the container from outside before its root is set up, so that init has to wait. One that forks
/// waits as well: it is known by its pid only afterwards.
fn is_visited(request: &Create<'_>, plan: &Plan) -> bool {
    let by_systemd = request.options.cgroup_manager == CgroupManager::Systemd;
    by_systemd || request.on_namespaces.is_some() || plan.needs_fork() || !early_hooks(request.spec).is_empty()
}

/// What is done from outside while init waits: systemd's scope, the caller's part, hooks.
fn visit(
    request: &mut Create<'_>,
    child: &mut Spawned,
    record: &mut Record,
    cgroup: &mut Option<Cgroup>,
) -> Result<(), Error> {
    await_limits(child)?;
    if request.options.cgroup_manager == CgroupManager::Systemd {
        let scope = cgroup.insert(cgroup::scope_around(request.spec, request.id, child.pid())?);
        record.cgroup = Some(scope.path().clone());
    }
    remember(request, child, record)?;
    if let Some(on_namespaces) = &mut request.on_namespaces {
        on_namespaces(child.pid()).map_err(Error::Caller)?;
    }
    hooks::run(&early_hooks(request.spec), &record.state)?;
    Ok(child.go()?)
}

/// Writes down which process init is, and what it was made from: hooks and later calls ask for both. As a rule init is at work
/// meanwhile.
fn remember(request: &Create<'_>, init: &Spawned, record: &mut Record) -> Result<(), Error> {
    record.init = file_of("/proc/self/exe");
    record.state.pid = Some(init.pid());
    record.start_time = Some(init.pid().start_time()?);
    request.state.write(record)?;
    request.state.write_spec(request.id, request.spec)
}

/// Writes down, first of all, what is about to be made: were we killed now, `delete` would know what to look for.
fn announce(request: &Create<'_>) -> Result<Record, Error> {
    let mut record = new_record(request);
    record.creator = Some((Pid::this(), Pid::this().start_time()?));
    if request.options.cgroup_manager == CgroupManager::Files {
        record.cgroup = Some(cgroup_path(request.spec, request.id)?);
    }
    request.state.write(&record)?;
    Ok(record)
}

/// The directory at which the root is attached: a bundle's own, or, for layers, an empty one of the state's. Whoever is somebody
/// else in a user namespace of its own does not get that far, and takes one that everybody can reach: what it covers there, it
/// covers in its own mount namespace, and leaves behind when it pivots.
fn attachment_point(root: &RootSource, spec: &Spec, directory: &Path) -> Result<PathBuf, Error> {
    let path = match root {
        RootSource::Directory(path) => return Ok(path.clone()),
        _ if plan::has_own(spec, NamespaceKind::User) => {
            let reached = |path: &&&str| std::fs::metadata(path).is_ok_and(|it| it.is_dir() && it.mode() & 0o001 != 0);
            let found = REACHABLE.iter().find(reached);
            let refused = || CallError::refused("attach", "root", format!("none of {} is there", REACHABLE.join(", ")));
            return Ok(found.map(PathBuf::from).ok_or_else(refused)?);
        }
        RootSource::Overlay(_) | RootSource::Mounted(_) => directory.join("root"),
    };
    std::fs::create_dir(&path).during("mkdir", path.display())?;
    Ok(path)
}

impl Created {
    /// What need not be looked up to delete it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts the program. Returns once it has been executed.
    ///
    /// # Errors
    /// [`Error::CommandNotFound`] and [`Error::NotExecutable`] for the program; a hook's failure.
    pub fn start(mut self) -> Result<Started, Error> {
        let warnings = match start::start_made(&self.handle) {
            Err(error) => return Err(self.give_up(error)?),
            Ok(warnings) => warnings,
        };
        // Emits what init told of its last steps.
        while !matches!(self.child.next_event()?, Event::Execed) {}
        Ok(Started { pid: self.pid, pidfd: self.child.into_pidfd(), console: self.console, warnings })
    }

    /// Ends an init that could not be started: it is our child, so it is ours to reap. Where it broke the connection off,
    /// what it said itself tells more; where we did, that we are gone is all that it has to say.
    fn give_up(mut self, error: Error) -> Result<Error, Error> {
        self.child.pidfd().signal(process::Signal::SIGKILL).or_else(gone_already)?;
        let error = match self.child.next_event() {
            Ok(Event::Failed(reported)) if start::was_broken_off(&error) => reported.into(),
            _ => error,
        };
        self.child.discard();
        Ok(error)
    }

    /// Gives the container to whoever reaps this process's children next; `start` can be called by anybody.
    pub fn leave(self) -> Pid {
        self.pid
    }
}

fn gone_already(error: process::CallError) -> Result<(), process::CallError> {
    if error.errno() == nix::errno::Errno::ESRCH { Ok(()) } else { Err(error) }
}

/// A child that is killed and reaped if nobody takes it.
struct Guard(Option<Spawned>);

impl Guard {
    fn child(&mut self) -> Result<&mut Spawned, Error> {
        self.0.as_mut().ok_or_else(|| process::CallError::refused("use", "init", "it was given away").into())
    }

    fn release(mut self) -> Result<Spawned, Error> {
        self.0.take().ok_or_else(|| process::CallError::refused("use", "init", "it was given away").into())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            child.discard();
        }
    }
}

/// Waits until init is in its namespaces and its cgroup.
fn await_limits(child: &mut Spawned) -> Result<(), Error> {
    match child.next_event()? {
        Event::Reached(name, _) if name == plan::LIMITED => Ok(()),
        Event::Failed(error) => Err(error.into()),
        Event::Reached(..) | Event::Execed => {
            Err(process::CallError::refused("run", "init", "it did not move into its cgroup").into())
        }
    }
}

/// Lets init run until the container stands; returns the terminal's master.
fn run_to_created(child: &mut Spawned) -> Result<Option<OwnedFd>, Error> {
    let mut console = None;
    loop {
        match child.next_event()? {
            Event::Reached(name, _) if name == CREATED => return Ok(console),
            Event::Reached(_, descriptor) => {
                console = descriptor.or(console);
                child.go()?;
            }
            Event::Failed(error) => return Err(error.into()),
            Event::Execed => {
                return Err(process::CallError::refused("run", "init", "it did not wait to be started").into());
            }
        }
    }
}

fn new_record(request: &Create<'_>) -> Record {
    Record {
        rootfs: match &request.root {
            RootSource::Directory(path) => Some(path.clone()),
            RootSource::Overlay(_) | RootSource::Mounted(_) => None,
        },
        ..Record::begun(request.id, request.spec, request.bundle)
    }
}

/// Hooks that run outside before the root is set up. `prestart` is deprecated, and hosts still use it.
fn early_hooks(spec: &Spec) -> Vec<Hook> {
    let Some(hooks) = spec.hooks() else { return Vec::new() };
    #[allow(deprecated)]
    let prestart = hooks.prestart().iter().flatten();
    prestart.chain(hooks.create_runtime().iter().flatten()).cloned().collect()
}

/// Removes what a failed `create` has made. The child is gone already.
fn discard(spec: &Spec, id: &str, directory: &Path) {
    // The first error is the one to report; what cannot be removed now, `delete --force` removes.
    if let Ok(path) = cgroup_path(spec, id)
        && let Ok(cgroup) = Cgroup::open(&path)
    {
        let _ = cgroup.remove();
    }
    let _ = std::fs::remove_dir_all(directory);
}
