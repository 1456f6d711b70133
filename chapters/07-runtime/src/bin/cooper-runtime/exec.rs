//! `exec`: one more process, from a file or put together from the container's own.

use std::io::Read as _;

use anyhow::Context as _;
use oci_spec::runtime::{Capability, Process};
use process::pty::Size;
use process::reaper;
use runtime::{ExecOptions, IfPaused, StateDir, Stdio};

use crate::arguments::Exec;
use crate::container;

pub(crate) fn exec(state: &StateDir, wanted: &Exec) -> anyhow::Result<u8> {
    let mut process = process_of(state, wanted)?;
    let terminal = process.terminal().unwrap_or(false);
    if terminal && wanted.detach && wanted.console_socket.is_none() {
        anyhow::bail!("exec --detach: who would hold the terminal? --console-socket says it");
    }
    let listening = container::listening();
    if listening > 0 {
        process.set_env(Some(container::with_listening(process.env().clone(), listening)));
    }
    let signals = reaper::listen()?;
    let size = process.console_size().map_or_else(Size::default, |size| {
        let cut = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        Size { rows: cut(size.height()), columns: cut(size.width()) }
    });
    let mut started = runtime::exec(runtime::Exec {
        id: &wanted.id,
        process: &process,
        program: None,
        stdio: if terminal { Stdio::Terminal { size } } else { Stdio::Inherit },
        state,
        options: ExecOptions {
            preserve: wanted.preserve_fds + listening,
            cgroup: wanted.cgroup.clone(),
            if_paused: if wanted.ignore_paused { IfPaused::Wait } else { IfPaused::Refuse },
        },
    })?;
    let handed_over = container::hand_over(wanted.console_socket.as_deref(), &mut started.console)
        .and_then(|()| container::write_pid(wanted.pid_file.as_deref(), started.pid));
    if let Err(error) = handed_over {
        // Nobody could ever reach it: it must not outlive the error. It may have ended by itself.
        let _ = started.pidfd.signal(process::Signal::SIGKILL);
        return Err(error);
    }
    if wanted.detach { Ok(0) } else { Ok(container::follow(started, &signals)?.code()) }
}

/// The process: from a file (`-` is standard input), or the container's own with another command.
fn process_of(state: &StateDir, wanted: &Exec) -> anyhow::Result<Process> {
    let mut process: Process = match &wanted.process {
        Some(file) => {
            let mut text = String::new();
            if file.as_os_str() == "-" {
                std::io::stdin().read_to_string(&mut text).context("read the process from standard input")?;
            } else {
                text = std::fs::read_to_string(file).with_context(|| format!("read {file:?}"))?;
            }
            serde_json::from_str(&text).with_context(|| format!("read {file:?}"))?
        }
        None => {
            anyhow::ensure!(!wanted.command.is_empty(), "exec: no command given");
            let spec = state.spec(&wanted.id)?;
            let mut process = spec.process().clone().context("config.json: process: missing")?;
            process.set_terminal(Some(false)).set_args(Some(wanted.command.clone()));
            process
        }
    };
    change(&mut process, wanted)?;
    Ok(process)
}

/// What the flags say about it.
fn change(process: &mut Process, wanted: &Exec) -> anyhow::Result<()> {
    if wanted.tty {
        process.set_terminal(Some(true));
    }
    let mut environment = process.env().clone().unwrap_or_default();
    environment.extend(wanted.env.iter().cloned());
    process.set_env(Some(environment));
    if let Some(directory) = &wanted.cwd {
        process.set_cwd(directory.clone());
    }
    let mut user = process.user().clone();
    if let Some(text) = &wanted.user {
        anyhow::ensure!(!text.is_empty(), "--user: nobody is named");
        // No account is looked up: a name is refused, as is every number that could be read in two ways.
        let identity = privileges::resolve_user(text, "", "").context("--user takes numbers")?;
        user.set_uid(identity.uid);
        if text.contains(':') {
            user.set_gid(identity.gid);
        }
    }
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    groups.extend(&wanted.additional_gids);
    user.set_additional_gids(Some(groups));
    process.set_user(user);
    if wanted.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(label) = &wanted.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &wanted.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    add_capabilities(process, &wanted.cap)
}

/// Not to the inheritable set: what is in it comes back with every file that has capabilities (CVE-2022-29162).
fn add_capabilities(process: &mut Process, names: &[String]) -> anyhow::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut sets = process.capabilities().clone().unwrap_or_default();
    for name in names {
        let read = || serde_json::from_value::<Capability>(name.to_ascii_uppercase().into()).ok();
        let capability = read().with_context(|| format!("--cap {name:?}: no such capability"))?;
        let with = |set: &Option<oci_spec::runtime::Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective, permitted) = (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    }
    process.set_capabilities(Some(sets));
    Ok(())
}
