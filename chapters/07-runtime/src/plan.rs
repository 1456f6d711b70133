//! The plan: from a specification to the list of steps that init takes, in the one order that works.

use std::borrow::Cow;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cgroups::Entrance;
use layers::Overlay;
use namespaces::{ClockOffset, ClockOffsets, NamespaceFd, NamespaceKind, NamespaceStep, Plan, rootless};
use oci_spec::runtime::{Hook, LinuxNamespaceType, Process, Spec};
use process::pty::Size;
use process::{ProcessStep, Program};
use rootfs::{DeviceSupply, MountPropagationFlags, Propagation, RootfsStep};

use crate::error::Error;
use crate::options::{CreateOptions, Keyring, RootChange};
use crate::prepared::Prepared;
use crate::spec::{config, refuse};
use crate::state::{State, Status};
use crate::step::RuntimeStep;
use crate::{confinement, id_maps, mounts, scheduling};

/// The checkpoint at which a container is complete and waits to be started.
pub const CREATED: &str = "created";
/// The checkpoint at which a container's first process is in its namespaces and its cgroup, and somebody outside has work to do.
pub const LIMITED: &str = "limited";

/// Where a container's root comes from.
#[derive(Debug, Clone)]
pub enum RootSource {
    /// A directory, as the OCI specification has it.
    Directory(PathBuf),
    /// Layers, which init itself stacks inside its mount namespace: nothing is mounted on the machine, so
    /// nothing can be left behind there.
    Overlay(Overlay),
    /// A mount that the caller has made and attached nowhere: a file system that a program serves.
    Mounted(Arc<OwnedFd>),
}

/// Standard streams, by the numbers of inherited descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// These three.
    Descriptors([RawFd; 3]),
    /// A terminal of the container's own, whose master goes to the parent.
    Terminal(Size),
}

/// What the planner needs besides the specification.
#[derive(Debug)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The configuration.
    pub spec: &'a Spec,
    /// The directory that relative paths begin at.
    pub bundle: &'a Path,
    /// The root.
    pub root: &'a RootSource,
    /// Where the root is attached, inside the container's mount namespace only.
    pub attach_at: &'a Path,
    /// Mounts that the parent has made already.
    pub prepared: &'a Prepared,
    /// How init comes into its cgroup; none if the container has none.
    pub entrance: Option<&'a Entrance>,
    /// Whether somebody works on the container from outside before its root is set up: hooks, the caller, systemd.
    pub visited: bool,
    /// Standard streams.
    pub streams: Streams,
    /// The listening socket on which `start` will say so.
    pub start_socket: RawFd,
    /// What the host asks for beside the configuration.
    pub options: CreateOptions,
    /// The state that hooks inside read.
    pub state: State,
}

/// All steps of a new container's init, after its namespaces exist.
///
/// The order is the lesson. Each line stands where it does because of another: the cgroup comes first, so that nothing
/// is done outside its limits; the cgroup namespace only then, because it takes the cgroup that we are in for its root;
/// mounts come before the pivot, as their sources lie in the old root; the terminal after it, as it is the container's own;
/// masks after every mount they could cover; the wait for `start` while we still may do what hooks need; privileges
/// go last, and after them nothing is done but exec.
///
/// # Errors
/// A field of the specification that is malformed or not supported.
// spine
pub fn init_steps(request: &Request<'_>) -> Result<Vec<RuntimeStep>, Error> {
    let Request { spec, .. } = request;
    let process = &*process_of(spec);
    let mut steps = entering(request);
    steps.extend(own_cgroup_namespace(spec).map(RuntimeStep::from));
    steps.push(ProcessStep::NewSession.into());
    steps.extend(names_and_clocks(spec)?.into_iter().map(RuntimeStep::from));

    let propagation = root_propagation(spec)?;
    steps.push(RootfsStep::Isolate(propagation.machine).into());
    steps.push(match request.root {
        RootSource::Directory(path) => RootfsStep::BindRoot(path.clone()).into(),
        RootSource::Overlay(overlay) => RuntimeStep::Overlay(overlay.clone()),
        RootSource::Mounted(mount) => RootfsStep::TakeRoot(mount.as_raw_fd()).into(),
    });
    steps.push((propagation.attach)(request.attach_at.to_owned()).into());
    let mounts = mounts::entries(spec, request.id, request.bundle, &id_maps::of_groups(spec), request.prepared)?;
    steps.extend(mounts.into_iter().map(|mount| RootfsStep::Mount(mount).into()));
    steps.push(RootfsStep::Devices(mounts::devices(spec)?, device_supply(spec)).into());
    steps.push(RootfsStep::Directory(process.cwd().clone()).into());
    steps.extend(hooks_inside(spec, request, HookPoint::CreateContainer));
    steps.push(change_root(request.options.root_change).into());
    steps.extend(propagation.inside.map(|wanted| RootfsStep::RootPropagation(wanted).into()));

    steps.push(RootfsStep::Parameters(parameters(spec)).into());
    steps.extend(streams(request.streams, process));
    let (read_only, masked) = hidden(spec);
    steps.push(RootfsStep::ReadOnly(read_only).into());
    steps.push(RootfsStep::Mask(masked).into());
    if spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        steps.push(RootfsStep::ReadOnlyRoot.into());
    }

    steps.extend(program_exists(process).map(RuntimeStep::from));
    steps.push(ProcessStep::Checkpoint(CREATED).into());
    let CreateOptions { preserve, keyring, .. } = request.options;
    steps.push(ProcessStep::AwaitStart { listener: request.start_socket, preserve }.into());
    steps.extend(hooks_inside(spec, request, HookPoint::StartContainer));
    steps.extend(become_program(spec, process, request.id, preserve, keyring)?);
    Ok(steps)
}

fn change_root(change: RootChange) -> RootfsStep {
    match change {
        RootChange::Pivot => RootfsStep::PivotRoot,
        RootChange::Move => RootfsStep::MoveRoot,
    }
}

/// Where a child cannot be born in its cgroup it moves in, first of all. Then it waits, if there are those who may look at its
/// cgroup from outside, or change it.
fn entering(request: &Request<'_>) -> Vec<RuntimeStep> {
    let moved = request.entrance.and_then(Entrance::step).map(RuntimeStep::from);
    let limited = request.visited.then_some(ProcessStep::Checkpoint(LIMITED).into());
    moved.into_iter().chain(limited).collect()
}

/// The steps of a process that joins a running container. [`namespaces::isolate`] has put it inside.
///
/// It moves into the container's cgroup first of all, where it was not born there: not one instruction of the program
/// runs outside the container's limits.
///
/// # Errors
/// As [`init_steps`].
pub fn exec_steps(
    spec: &Spec,
    process: &Process,
    id: &str,
    entrance: Option<&Entrance>,
    wanted: Streams,
    preserve: u32,
) -> Result<Vec<RuntimeStep>, Error> {
    let affinity = scheduling::affinity(spec, process)?;
    // The CPUs to begin with count before the cgroup's own do; those to end with, after.
    let mut steps: Vec<RuntimeStep> = affinity.initial.map(RuntimeStep::from).into_iter().collect();
    steps.extend(entrance.and_then(Entrance::step).map(RuntimeStep::from));
    steps.extend(affinity.last.map(RuntimeStep::from));
    steps.push(ProcessStep::NewSession.into());
    steps.extend(streams(wanted, process).into_iter().filter(|step| {
        // The console is the first process's.
        *step != RuntimeStep::Rootfs(RootfsStep::Console)
    }));
    steps.extend(become_program(spec, process, id, preserve, Keyring::Fresh)?);
    Ok(steps)
}

/// What `create` and `exec` end with: give everything up, and become the program.
///
/// The limits come first, while we may still raise one; the working directory before the user changes, who might not be let
/// in; descriptors and signals before the filter, which might not let us; and after the confinement there is nothing but exec.
///
/// # Errors
/// A limit, a label or a filter that the specification asks for and that cannot be had.
// hole: become-a-program
fn become_program(
    spec: &Spec,
    process: &Process,
    id: &str,
    preserve: u32,
    keyring: Keyring,
) -> Result<Vec<RuntimeStep>, Error> {
    let mut steps: Vec<RuntimeStep> = Vec::new();
    steps.extend(confinement::limits_of_process(process)?.into_iter().map(RuntimeStep::from));
    steps.extend(scheduling::steps(spec, process)?.into_iter().map(RuntimeStep::from));
    if let Some(score) = process.oom_score_adj() {
        steps.push(ProcessStep::OomScore(score).into());
    }
    steps.push(ProcessStep::ChangeDirectory(process.cwd().clone()).into());
    steps.push(ProcessStep::ResetSignals.into());
    steps.push(ProcessStep::CloseOnExec { preserve }.into());
    let keyring = (keyring == Keyring::Fresh).then(|| id.to_owned());
    let confinement = confinement::confinement(spec, process, keyring)?;
    steps.extend(confinement.steps().into_iter().map(RuntimeStep::from));
    steps.push(ProcessStep::Exec(program(process)).into());
    Ok(steps)
}

fn program(process: &Process) -> Program {
    let words = |list: &Option<Vec<String>>| list.iter().flatten().map(Into::into).collect();
    Program { arguments: words(process.args()), environment: words(process.env()) }
}

/// A program that is missing is `create`'s error, as hosts expect; where none is named, there is nothing to look for.
fn program_exists(process: &Process) -> Option<ProcessStep> {
    let named = process.args().as_ref().is_some_and(|arguments| !arguments.is_empty());
    named.then(|| ProcessStep::Find(program(process), process.cwd().clone()))
}

/// The namespaces of a specification. The cgroup namespace is not among them: see [`init_steps`].
///
/// # Errors
/// A path that is no namespace; a mount namespace that is not the container's own.
// hole: namespaces-of-a-spec
pub fn namespaces(spec: &Spec) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    for wanted in spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten() {
        let kind = kind(wanted.typ());
        match wanted.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => plan.join.push(NamespaceFd::open(path, kind)?.into()),
            None if kind == NamespaceKind::Cgroup => {}
            None => plan.create.push(kind),
        }
    }
    if plan.create.contains(&NamespaceKind::Mount) {
        return Ok(plan);
    }
    let reason = "a container needs a mount namespace of its own".to_owned();
    Err(config(Path::new("config.json"), "linux.namespaces", reason))
}

pub(crate) fn kind(kind: LinuxNamespaceType) -> NamespaceKind {
    match kind {
        LinuxNamespaceType::Mount => NamespaceKind::Mount,
        LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
        LinuxNamespaceType::Uts => NamespaceKind::Uts,
        LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
        LinuxNamespaceType::User => NamespaceKind::User,
        LinuxNamespaceType::Pid => NamespaceKind::Pid,
        LinuxNamespaceType::Network => NamespaceKind::Net,
        LinuxNamespaceType::Time => NamespaceKind::Time,
    }
}

/// The process of a specification; one without a program where there is none: it can be created, and never started.
fn process_of(spec: &Spec) -> Cow<'_, Process> {
    spec.process().as_ref().map_or_else(
        || {
            let mut process = Process::default();
            process.set_args(None);
            Cow::Owned(process)
        },
        Cow::Borrowed,
    )
}

pub(crate) fn has_own(spec: &Spec, kind_wanted: NamespaceKind) -> bool {
    let namespaces = spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten();
    let is_new = |path: &Option<PathBuf>| path.as_ref().is_none_or(|path| path.as_os_str().is_empty());
    namespaces.into_iter().any(|namespace| kind(namespace.typ()) == kind_wanted && is_new(namespace.path()))
}

/// Whether a configuration names a namespace of this kind, be it new or another's.
fn wants(spec: &Spec, kind_wanted: NamespaceKind) -> bool {
    let namespaces = spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten();
    namespaces.into_iter().any(|namespace| kind(namespace.typ()) == kind_wanted)
}

fn own_cgroup_namespace(spec: &Spec) -> Option<NamespaceStep> {
    has_own(spec, NamespaceKind::Cgroup).then_some(NamespaceStep::Unshare(NamespaceKind::Cgroup))
}

fn names_and_clocks(spec: &Spec) -> Result<Vec<NamespaceStep>, Error> {
    let mut steps = Vec::new();
    // Also where the namespace is one that is joined: it is the container's all the same.
    if wants(spec, NamespaceKind::Uts) {
        steps.extend(spec.hostname().clone().map(NamespaceStep::HostName));
        steps.extend(spec.domainname().clone().map(NamespaceStep::DomainName));
    }
    if has_own(spec, NamespaceKind::Time) {
        steps.push(NamespaceStep::OwnTime(clocks(spec)?));
    }
    Ok(steps)
}

/// How far the container's clocks are from the machine's.
fn clocks(spec: &Spec) -> Result<ClockOffsets, Error> {
    let offsets = spec.linux().as_ref().and_then(|linux| linux.time_offsets().clone()).unwrap_or_default();
    let refused = |field: &str, reason: String| config(Path::new("config.json"), field, reason);
    if let Some(unknown) = offsets.keys().find(|clock| !["monotonic", "boottime"].contains(&clock.as_str())) {
        return Err(refused("linux.timeOffsets", format!("{unknown:?} is no clock of a time namespace")));
    }
    let offset = |clock: &str| match offsets.get(clock) {
        Some(offset) => ClockOffset::new(offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0))
            .map_err(|error| refused(&format!("linux.timeOffsets.{clock}"), error.to_string())),
        None => Ok(ClockOffset::default()),
    };
    Ok(ClockOffsets { monotonic: offset("monotonic")?, boottime: offset("boottime")? })
}

/// How mounts travel to and from a container's root.
struct RootPropagation {
    /// Between the machine's mounts and their copies in the container's namespace.
    machine: MountPropagationFlags,
    /// From the directory that becomes the root.
    attach: fn(PathBuf) -> RootfsStep,
    /// From the root on, to what is made of it inside.
    inside: Option<Propagation>,
}

/// No mount of the container's reaches the machine, whatever is asked for: what is shared is a peer group of its own.
///
/// # References
/// OCI runtime spec, config-linux.md, "Rootfs Mount Propagation"
fn root_propagation(spec: &Spec) -> Result<RootPropagation, Error> {
    let (follow, cut) = (MountPropagationFlags::DOWNSTREAM, MountPropagationFlags::PRIVATE);
    let apart: fn(PathBuf) -> RootfsStep = RootfsStep::AttachRoot;
    let wanted = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default();
    let (machine, attach, inside) = match wanted {
        "" => (follow, apart, None),
        "slave" | "rslave" => (follow, RootfsStep::AttachFollowingRoot as fn(PathBuf) -> RootfsStep, None),
        "private" | "rprivate" => (cut, apart, None),
        "shared" | "rshared" => (follow, apart, Some(Propagation::Shared)),
        "unbindable" | "runbindable" => (cut, apart, Some(Propagation::Unbindable)),
        other => return Err(refuse("linux.rootfsPropagation", format!("{other:?} is no propagation"))),
    };
    Ok(RootPropagation { machine, attach, inside })
}

/// Nodes are made by the machine's root alone; inside a user namespace they are borrowed.
fn device_supply(spec: &Spec) -> DeviceSupply {
    let confined = has_own(spec, NamespaceKind::User) || rootless::is_rootless();
    if confined { DeviceSupply::BindFromHost } else { DeviceSupply::Make }
}

fn parameters(spec: &Spec) -> Vec<(String, String)> {
    let parameters = spec.linux().as_ref().and_then(|linux| linux.sysctl().clone()).unwrap_or_default();
    let mut sorted: Vec<_> = parameters.into_iter().collect();
    sorted.sort_unstable();
    sorted
}

fn streams(wanted: Streams, process: &Process) -> Vec<RuntimeStep> {
    match wanted {
        Streams::Descriptors(numbers) => vec![ProcessStep::Stdio(numbers).into()],
        Streams::Terminal(size) => {
            vec![ProcessStep::Terminal { size, owner: process.user().uid() }.into(), RootfsStep::Console.into()]
        }
    }
}

/// Read-only and masked paths.
fn hidden(spec: &Spec) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let linux = spec.linux().as_ref();
    let paths = |list: Option<&Vec<String>>| list.into_iter().flatten().map(PathBuf::from).collect::<Vec<_>>();
    let mut read_only = paths(linux.and_then(|linux| linux.readonly_paths().as_ref()));
    read_only.extend(mounts::read_only_afterwards(spec));
    (read_only, paths(linux.and_then(|linux| linux.masked_paths().as_ref())))
}

#[derive(Clone, Copy)]
enum HookPoint {
    CreateContainer,
    StartContainer,
}

fn hooks_inside(spec: &Spec, request: &Request<'_>, point: HookPoint) -> Option<RuntimeStep> {
    let hooks = spec.hooks().as_ref()?;
    let (list, status): (Vec<Hook>, _) = match point {
        HookPoint::CreateContainer => (hooks.create_container().clone()?, Status::Creating),
        HookPoint::StartContainer => (hooks.start_container().clone()?, Status::Created),
    };
    (!list.is_empty()).then(|| RuntimeStep::Hooks(list, State { status, ..request.state.clone() }))
}
