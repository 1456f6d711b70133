//! The guests that run into the limits. Each is bounded, should the limit not hold.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Subcommand;

/// How much the memory guest takes at most, in MiB.
const MOST_MEBIBYTES: usize = 512;
/// How many children the fork bomb starts at most.
const MOST_CHILDREN: usize = 500;

/// What a guest does.
#[derive(clap::Args)]
pub(crate) struct Part {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Take memory and touch it.
    Memory,
    /// Use CPU.
    Spin { milliseconds: u64 },
    /// Start children.
    Fork,
    /// Be such a child.
    Sleep,
    /// Use CPU with four threads.
    Crowd { milliseconds: u64 },
    /// Open device nodes.
    Devices,
}

impl Part {
    /// Does it, and says how far it came.
    pub(crate) fn play(&self) -> anyhow::Result<u8> {
        match self.role {
            Role::Memory => take_memory(),
            Role::Spin { milliseconds } => spin(Duration::from_millis(milliseconds)),
            Role::Fork => start_children().context("start children")?,
            Role::Sleep => std::thread::sleep(Duration::from_secs(20)),
            Role::Crowd { milliseconds } => crowd(Duration::from_millis(milliseconds)),
            Role::Devices => open_devices(),
        }
        Ok(0)
    }
}

/// Memory that is only allocated costs nothing: the kernel charges a page when it is first written.
fn take_memory() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while taken.len() < MOST_MEBIBYTES {
        taken.push(vec![1; 1 << 20]);
        std::hint::black_box(&taken);
    }
    println!("guest: took {MOST_MEBIBYTES} MiB and nobody minded");
}

fn spin(length: Duration) {
    let end = Instant::now() + length;
    let mut turns = 0_u64;
    while Instant::now() < end {
        turns = std::hint::black_box(turns + 1);
    }
}

fn crowd(length: Duration) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| spin(length));
        }
    });
}

/// The nodes are there, and root may open them; whether the driver is reached is another question.
fn open_devices() {
    for path in ["/dev/null", "/dev/zero", "/dev/kmsg"] {
        match std::fs::File::open(path) {
            Ok(_) => println!("guest: open {path}: it works"),
            Err(error) => println!("guest: open {path}: {error}"),
        }
    }
}

fn start_children() -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let mut children: Vec<Child> = Vec::new();
    let end = loop {
        if children.len() == MOST_CHILDREN {
            break "and nobody minded".to_owned();
        }
        match Command::new(&program).args(["guest", "sleep"]).stdin(Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(error) => break format!("then: {error}"),
        }
    };
    println!("guest: {} children, {end}", children.len());
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}
