//! Two hosts that talk, and a port the world can reach, on a machine made for the occasion.

mod demo;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use nix::sched::{CloneFlags, unshare};

/// Shows how containers get a network: cables, a switch, addresses, published ports, names.
#[derive(Parser)]
#[command(name = "ch10-network", version)]
struct Arguments {
    /// Tell each kernel call on standard error, as a story or as JSON lines.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story", value_name = "FORMAT")]
    explain: Option<process::explain::Format>,
    #[command(subcommand)]
    show: Show,
}

#[derive(Subcommand)]
enum Show {
    /// Wire two hosts to a bridge, publish a port, print everything that was made, and take it away again.
    ///
    /// It all happens in a network namespace of its own (and for an ordinary user, in a user namespace too): the real
    /// machine's links, routes and firewall are not touched.
    Demo,
    /// Be a host: go into a fresh network namespace, say so, and stay until standard input ends.
    #[command(hide = true)]
    Host,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        process::explain::install(format);
    }
    let done = match arguments.show {
        Show::Demo => machine_of_its_own().and_then(|()| demo::run(&mut std::io::stdout().lock())),
        Show::Host => be_a_host(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ch10-network: {error:#}");
            if let Some(hint) = error.downcast_ref::<network::Error>().and_then(network::Error::hint) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(125)
        }
    }
}

/// Moves this process to a network in which nothing but a silent loopback is.
fn machine_of_its_own() -> Result<()> {
    leave_the_machine()?;
    // A new network takes over from the machine's whether it passes packets on. The demonstration begins as most machines do.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").context("write /proc/sys/net/ipv4/ip_forward")
}

fn leave_the_machine() -> Result<()> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if user.is_root() {
        return unshare(CloneFlags::CLONE_NEWNET).context("unshare CLONE_NEWNET");
    }
    // Whoever makes a user namespace is root in it, and so may do to its network what only root may do.
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).context("unshare CLONE_NEWUSER, CLONE_NEWNET")?;
    std::fs::write("/proc/self/setgroups", "deny").context("write /proc/self/setgroups")?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1")).context("write /proc/self/gid_map")?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1")).context("write /proc/self/uid_map")
}

fn be_a_host() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare CLONE_NEWNET")?;
    println!("ready");
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
