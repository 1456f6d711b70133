//! A supervisor: some of a command's system calls stop, are told, and are answered here.

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use privileges::seccomp::{Action, Call, Listener, Notification, Profile, Reply, Rule, default_profile};
use privileges::{CapSet, Confinement};
use process::reaper;

/// Runs the command and answers its `calls`, until nobody is left behind the filter.
pub(crate) fn run(
    calls: &[String],
    deny: bool,
    command: Vec<OsString>,
    mut confinement: Confinement,
) -> anyhow::Result<u8> {
    for call in calls {
        if Call::named(call).is_none() {
            bail!("{call}: no such system call here");
        }
        if matches!(call.as_str(), "execve" | "execveat") {
            bail!("{call}: the command itself begins with it, before anybody is there to answer");
        }
    }
    confinement.seccomp = Some(asking(calls).compile(&CapSet::EMPTY)?);
    let signals = reaper::listen()?;
    let (child, listener) = super::start::begin(command, &confinement.steps(), 0, None)?;
    let listener = Listener::new(listener.context("the filter came without its listener")?);
    while let Some(notification) = listener.receive()? {
        let (reply, told) =
            if deny { (Reply::Fail(nix::errno::Errno::EPERM), "EPERM") } else { (Reply::GoOn, "go on") };
        eprintln!("{}: {told}", describe(&notification));
        listener.answer(&notification, reply)?;
    }
    Ok(reaper::supervise(child.pidfd(), child.pid(), &signals)?.code())
}

/// A profile that asks about these calls and allows all others.
fn asking(calls: &[String]) -> Profile {
    let rule = Rule { names: calls.to_vec(), action: Action::Notify, ..default_profile().syscalls.remove(0) };
    Profile { default_action: Action::Allow, default_errno_ret: None, syscalls: vec![rule], ..default_profile() }
}

fn describe(notification: &Notification) -> String {
    let Notification { pid, call, .. } = notification;
    let arguments: Vec<String> = call.arguments.iter().map(|argument| format!("{argument:#x}")).collect();
    let name = call.name().unwrap_or("an unknown call");
    let pid = pid.map_or_else(|| "somebody".to_owned(), |pid| format!("process {pid}"));
    format!("{pid} calls {name}({})", arguments.join(", "))
}
