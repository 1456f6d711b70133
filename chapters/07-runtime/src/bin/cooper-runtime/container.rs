//! `create` and `run`.

use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::Context as _;
use process::pty::Size;
use process::signals::SignalFd;
use process::{ExitStatus, Pid, reaper};
use runtime::{
    CgroupManager, Checked, CreateOptions, Force, IfNoCgroup, Keyring, RootChange, RootSource, Spec, Started, StateDir,
    Stdio, console, spec,
};

use crate::arguments::{Create, Run, Settings};
use crate::log::Log;

pub(crate) fn create(state: &StateDir, wanted: &Create, settings: &Settings) -> anyhow::Result<runtime::Created> {
    let bundle = wanted.bundle.canonicalize().with_context(|| format!("open bundle {:?}", wanted.bundle))?;
    let spec = spec::load(&bundle)?;
    if terminal(&spec) && wanted.console_socket.is_none() {
        anyhow::bail!("config.json: process.terminal: who would hold the terminal? --console-socket says it");
    }
    make(state, wanted, settings, &bundle, spec)
}

fn make(
    state: &StateDir,
    wanted: &Create,
    settings: &Settings,
    bundle: &Path,
    spec: Checked,
) -> anyhow::Result<runtime::Created> {
    let root = spec.root().as_ref().context("config.json: root: missing")?;
    let root = RootSource::Directory(bundle.join(root.path()));
    let stdio = if terminal(&spec) { Stdio::Terminal { size: size(&spec) } } else { Stdio::Inherit };
    let listening = listening();
    let spec = if listening > 0 { told_of_sockets(&spec, listening)? } else { spec };
    let mut created = runtime::create(runtime::Create {
        id: &wanted.id,
        spec: &spec,
        bundle,
        root,
        stdio,
        state,
        mounts: Vec::new(),
        on_namespaces: None,
        options: CreateOptions {
            preserve: wanted.preserve_fds + listening,
            root_change: if wanted.no_pivot { RootChange::Move } else { RootChange::Pivot },
            keyring: if wanted.no_new_keyring { Keyring::Callers } else { Keyring::Fresh },
            cgroup_manager: match settings.systemd_cgroup || settings.cgroup_manager == "systemd" {
                true => CgroupManager::Systemd,
                false => CgroupManager::Files,
            },
            cgroup: if settings.rootless == "false" { IfNoCgroup::Fail } else { IfNoCgroup::GoWithout },
        },
    })?;
    let handed_over = hand_over(wanted.console_socket.as_deref(), &mut created.console)
        .and_then(|()| write_pid(wanted.pid_file.as_deref(), created.pid));
    if let Err(error) = handed_over {
        runtime::delete(state, &wanted.id, Force::Yes)?;
        return Err(error);
    }
    Ok(created)
}

/// The same configuration, whose program hears of sockets that are open for it.
fn told_of_sockets(spec: &Checked, listening: u32) -> anyhow::Result<Checked> {
    let mut told = Spec::clone(spec);
    if let Some(process) = told.process_mut() {
        process.set_env(Some(with_listening(process.env().clone(), listening)));
    }
    Ok(Checked::made(told)?)
}

fn terminal(spec: &Spec) -> bool {
    spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false)
}

fn size(spec: &Spec) -> Size {
    let size = spec.process().as_ref().and_then(|process| process.console_size());
    let cut = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    size.map_or_else(Size::default, |size| Size { rows: cut(size.height()), columns: cut(size.width()) })
}

/// How many sockets a service manager has opened for us, from descriptor 3 on.
///
/// # References
/// sd_listen_fds(3)
pub(crate) fn listening() -> u32 {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let ours = number("LISTEN_PID").is_some_and(|pid| pid == std::process::id());
    number("LISTEN_FDS").filter(|_| ours).unwrap_or(0)
}

/// The environment of a program that is given such sockets. Inside, its pid is another; 1 is what hosts agreed on.
pub(crate) fn with_listening(environment: Option<Vec<String>>, count: u32) -> Vec<String> {
    let mut environment = environment.unwrap_or_default();
    environment.extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()]);
    environment
}

/// Sends the terminal's master to the socket, where one is named.
pub(crate) fn hand_over(socket: Option<&Path>, master: &mut Option<std::os::fd::OwnedFd>) -> anyhow::Result<()> {
    let Some(socket) = socket else { return Ok(()) };
    let master = master.take().context("--console-socket: the process asks for no terminal")?;
    Ok(console::hand_over(master.as_fd(), socket)?)
}

/// Whoever waits for the file sees it with the pid in it, or not at all.
pub(crate) fn write_pid(file: Option<&Path>, pid: Pid) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let name = file.file_name().with_context(|| format!("--pid-file: {file:?} is no file"))?;
    let new = file.with_file_name(format!(".{}", name.to_string_lossy()));
    let written = std::fs::write(&new, pid.to_string()).and_then(|()| std::fs::rename(&new, file));
    written.with_context(|| format!("write {file:?}"))
}

pub(crate) fn run(state: &StateDir, wanted: &Run, settings: &Settings, log: &Log) -> anyhow::Result<u8> {
    if wanted.detach {
        let created = create(state, &wanted.create, settings)?;
        let started = created.start();
        return finish(state, wanted, started.map(|started| log.warnings(started.warnings)).map(|()| 0), log);
    }
    if !wanted.no_subreaper {
        reaper::adopt_orphans()?;
    }
    let signals = reaper::listen()?;
    let bundle = &wanted.create.bundle;
    let bundle = bundle.canonicalize().with_context(|| format!("open bundle {bundle:?}"))?;
    let created = make(state, &wanted.create, settings, &bundle, spec::load(&bundle)?)?;
    let handle = created.handle();
    let ended = match created.start() {
        Ok(mut started) => {
            log.warnings(std::mem::take(&mut started.warnings));
            let status = follow(started, &signals);
            if !wanted.keep {
                log.warnings(handle.delete()?);
            }
            return Ok(status?.code());
        }
        Err(error) => Err(error),
    };
    finish(state, wanted, ended, log)
}

/// What could not be started is deleted, whatever was asked.
fn finish(state: &StateDir, wanted: &Run, ended: Result<u8, runtime::Error>, log: &Log) -> anyhow::Result<u8> {
    if ended.is_err() {
        log.warnings(runtime::delete(state, &wanted.create.id, Force::Yes)?);
    }
    Ok(ended?)
}

/// Waits for a process that is our child, its terminal shown on ours if it has one.
pub(crate) fn follow(started: Started, signals: &SignalFd) -> anyhow::Result<ExitStatus> {
    let Started { pid, pidfd, console, .. } = started;
    match console {
        Some(master) => Ok(console::relay(master, &pidfd, pid, signals)?),
        None => Ok(reaper::supervise(&pidfd, pid, signals)?),
    }
}
