//! From a record to a running program: streams, plan, network, runtime, in this order.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use cgroups::Controller;
use jiff::Timestamp;
use layers::Stacking;
use layers::fuse::Keeper;
use process::{During as _, Pid, PidFd, ProcessStep, pty};
use runtime::plan::{self, Request};
use runtime::{Checked, Create, CreateOptions, RuntimeStep, Spec, Stdio};

use super::exchange::{Exchange, Service, Streams};
use super::journal::Journal;
use super::probe::Probe;
use super::slimming::Slimming;
use super::switchboard::Switchboard;
use super::wiring::{Wiring, wire};
use super::{ATTACH, CONTROL};
use crate::devices::{self, Device};
use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::framing::Stream;
use crate::id::ContainerId;
use crate::paths::INIT_FILE;
use crate::record::{Container, Life, Status};
use crate::sharing::Places;
use crate::sockets;
use crate::spec::Plan;
use crate::stack::Stack;
use crate::user;
use crate::volumes::MountPoint;
use crate::watcher::Watcher;

/// A container that runs, and what its monitor holds of it.
pub(super) struct Launched {
    /// The loop to be in from now on.
    pub(super) exchange: Exchange,
    /// Its first process.
    pub(super) process: PidFd,
    pub(super) pid: Pid,
    /// What state.json is to say.
    pub(super) life: Life,
    /// Held ports and helpers, which end when they are dropped.
    pub(super) holdings: Holdings,
}

/// What a monitor holds for its container, and gives up by dropping it.
pub(super) struct Holdings {
    /// Its place in networks.
    pub(super) wiring: Wiring,
    /// Who serves its files, where the kernel does not.
    _files: Option<Keeper>,
}

/// Starts the container. On an error the caller releases whatever was made.
pub(super) fn launch(
    engine: &Engine,
    container: &Container,
    attached: Option<UnixStream>,
    size: Option<pty::Size>,
) -> Result<Launched> {
    let mut mounts = engine.lend_volumes(container)?;
    let _until_it_is_made = engine.mount_parts(container.id(), &mut mounts)?;
    let places = container.record().options.sharing.places(engine)?;
    let spec = Checked::made(plan(engine, container, &mounts, places)?).map_err(|error| because(error, container))?;
    write_spec(container, &spec)?;
    engine.note_cgroup(container)?;
    if container.record().stacking == Stacking::Overlay {
        empty_directory(&container.directory().join("work"))?;
    }
    make_files(container)?;

    let listeners = listeners(container)?;
    let journal = journal(container)?;
    let (stdio, mut streams) = streams(container, size)?;

    let switchboard = Switchboard::of(engine, container.id());
    let mut wiring = Wiring::new(switchboard.clone());
    let mut on_namespaces = |pid: Pid| wire(engine, container, pid, &mut wiring).map_err(Into::into);
    let (root, keeper) = Stack::of(container, engine.snapshots()).source()?;
    let request = Create {
        id: container.id().as_str(),
        spec: &spec,
        bundle: &container.directory(),
        root,
        stdio,
        state: &engine.runtime(),
        mounts: places.joined_mounts()?,
        on_namespaces: Some(&mut on_namespaces),
        options: CreateOptions::default(),
    };
    let created = runtime::create_planned(request, |request| planned(request, container.record().options.init));
    let mut created = created.map_err(|error| because(error, container))?;
    streams.take_terminal(created.console.take(), container)?;
    let mut services: Vec<Box<dyn Service>> = Vec::new();
    services.extend(wiring.names.take().map(|names| Box::new(names) as Box<dyn Service>));
    let probe = Probe::new(container, engine.runtime(), engine.events())?;
    services.extend(probe.map(|probe| Box::new(probe) as Box<dyn Service>));
    services.push(Box::new(Slimming::soon()));
    let mut exchange = Exchange::new(streams, journal, listeners, services, switchboard)?;
    attached.map_or(Ok(()), |socket| exchange.join(socket))?;

    let holdings = Holdings { wiring, _files: keeper };
    let started = created.start().map_err(|error| because(error, container))?;
    let life = Life {
        status: Status::Running,
        pid: Some(started.pid),
        started_at: Some(Timestamp::now()),
        endpoints: holdings.wiring.endpoints.clone(),
        ports: holdings.wiring.ports(),
        monitor: Watcher::this().ok(),
        ..Life::default()
    };
    Ok(Launched { exchange, process: started.pidfd, pid: started.pid, life, holdings })
}

/// Where clients attach, and where they ask for something.
fn listeners(container: &Container) -> Result<(UnixListener, UnixListener)> {
    let run = container.run_directory();
    Ok((sockets::listen(&run, ATTACH)?, sockets::listen(&run, CONTROL)?))
}

/// Where its output is kept, if it is.
fn journal(container: &Container) -> Result<Option<Journal>> {
    let kept = container.record().options.log.retention()?;
    Ok(kept.map(|kept| Journal::open(&container.log_file(), kept)).transpose()?)
}

/// The container's spec, with its user looked up in its own files as they are now.
/// What the first process does before it is the program. An init passes on what it was sent: nothing that comes before it asks
/// shall be lost.
fn planned(request: &Request<'_>, init: bool) -> std::result::Result<Vec<RuntimeStep>, runtime::Error> {
    let mut steps = plan::init_steps(request)?;
    let deaf = RuntimeStep::from(ProcessStep::ResetSignals);
    for step in steps.iter_mut().filter(|step| init && **step == deaf) {
        *step = ProcessStep::HoldSignals.into();
    }
    Ok(steps)
}

fn plan(engine: &Engine, container: &Container, mounts: &[MountPoint], places: Places) -> Result<Spec> {
    let record = container.record();
    let stack = Stack::of(container, engine.snapshots());
    let user = stack.look(|root| user::resolve(root, &record.settings.user, &record.options.groups))?;
    let devices = found_devices(&record.options)?;
    let (rootless, can_limit) = (namespaces::rootless::is_rootless(), can_limit());
    check_groups(&record.options, rootless, can_limit)?;
    Plan {
        id: container.id(),
        settings: &record.settings,
        options: &record.options,
        user,
        mounts,
        files: container.directory(),
        network: engine.shared_network(container)?,
        rootless,
        can_limit,
        obtainable: privileges::CapSet::obtainable(),
        places,
        devices: &devices,
        disks: devices::disks(&record.options.resources)?,
        kernel: kernel(),
    }
    .spec()
}

/// Wishes about control groups that nobody could grant here, and that must not be taken for granted.
fn check_groups(options: &crate::options::CreateOptions, rootless: bool, can_limit: bool) -> Result<()> {
    if let Some(parent) = options.cgroup_parent.as_ref().filter(|_| !can_limit) {
        let reason = "this user has no control groups on this machine in which one could be made";
        return Err(Error::bad("--cgroup-parent", parent, reason));
    }
    let reason = "without root no control group narrows what a device's own permissions allow";
    if let Some(rule) = options.device_rules.first().filter(|_| rootless) {
        return Err(Error::bad("--device-cgroup-rule", rule.to_string(), reason));
    }
    match options.devices.iter().find(|device| rootless && device.access.len() < 3) {
        Some(device) => Err(Error::bad("--device", format!("{}:{}", device.host.display(), device.access), reason)),
        None => Ok(()),
    }
}

/// The devices that it gets: those that were asked for, and with `--privileged` all that whoever runs this may open.
fn found_devices(options: &crate::options::CreateOptions) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    for request in &options.devices {
        found.extend(request.find()?);
    }
    if options.security.privileged {
        let may = |device: &Device| {
            let access = rustix::fs::Access::READ_OK;
            !namespaces::rootless::is_rootless() || rustix::fs::access(&device.host, access).is_ok()
        };
        let named = |device: &Device| found.iter().any(|other: &Device| other.inside == device.inside);
        let all: Vec<Device> = Device::all()?.into_iter().filter(|device| !named(device) && may(device)).collect();
        found.extend(all);
    }
    Ok(found)
}

/// The spec, for readers and for `exec`. It is made anew at every start, so that it need not survive a power cut.
fn write_spec(container: &Container, spec: &Spec) -> Result<()> {
    let path = container.directory().join("config.json");
    let text = serde_json::to_vec_pretty(spec).doing("write", path.display())?;
    Ok(fs::write(&path, text).during("write", path.display())?)
}

/// What is mounted of the container's directory and has to be there by then.
fn make_files(container: &Container) -> Result<()> {
    if container.record().options.init {
        let path = container.directory().join(INIT_FILE);
        // The tiny init, for the container's own eyes: made anew at every start, like the spec.
        fs::write(&path, process::init::INIT).during("write", path.display())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).during("chmod", path.display())?;
    }
    if container.record().options.id_maps.is_some() {
        // Mounts with mapped ids are made before the network is, which says what stands in these: it is written into them.
        for name in ["hosts", "hostname", "resolv.conf"] {
            let path = container.directory().join(name);
            fs::write(&path, "").during("write", path.display())?;
        }
    }
    Ok(())
}

/// Whether this engine may set limits on this machine.
fn can_limit() -> bool {
    let hierarchy = cgroups::Hierarchy::detect();
    hierarchy.is_usable() && hierarchy.controllers().contains(&Controller::Pids)
}

/// The running kernel's version: major and minor.
fn kernel() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The container's ends of its streams, and ours.
fn streams(container: &Container, size: Option<pty::Size>) -> Result<(Stdio, Streams)> {
    let options = &container.record().options;
    let mut ours = Streams { terminal: None, stdin: None, outputs: Vec::new(), stdin_once: options.stdin_once };
    if options.terminal {
        return Ok((Stdio::Terminal { size: size.unwrap_or_default() }, ours));
    }
    let stdin: OwnedFd = if options.interactive {
        let (theirs, our) = std::io::pipe().during("pipe", "stdin")?;
        ours.stdin = Some(our.into());
        theirs.into()
    } else {
        fs::File::open("/dev/null").during("open", "/dev/null")?.into()
    };
    let (out, stdout) = std::io::pipe().during("pipe", "stdout")?;
    let (err, stderr) = std::io::pipe().during("pipe", "stderr")?;
    ours.outputs = vec![(out.into(), Stream::Stdout), (err.into(), Stream::Stderr)];
    Ok((Stdio::Descriptors { stdin, stdout: stdout.into(), stderr: stderr.into() }, ours))
}

impl Streams {
    /// A terminal's master carries both directions; input only if that was asked for.
    fn take_terminal(&mut self, master: Option<OwnedFd>, container: &Container) -> Result<()> {
        let Some(master) = master else { return Ok(()) };
        if container.record().options.interactive {
            self.stdin = Some(master.try_clone().during("dup", "terminal")?);
        }
        self.terminal = Some(master);
        Ok(())
    }
}

/// overlayfs wants its work directory empty; after a crash it may not be.
fn empty_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.during("remove", path.display())?,
    }
    Ok(fs::create_dir(path).during("mkdir", path.display())?)
}

/// The runtime's error with its exit code.
fn because(error: runtime::Error, container: &Container) -> Error {
    let exit_code = error.exit_code();
    Error::Below { operation: "start", object: container.name().to_owned(), reason: Box::new(error), exit_code }
}

/// Whether the kernel killed something in the container for want of memory. Asked before the cgroup goes.
pub(super) fn was_oom_killed(engine: &Engine, id: &ContainerId) -> bool {
    engine.cgroup(id).is_ok_and(|cgroup| cgroup.oom_kills().is_ok_and(|kills| kills > 0))
}
