//! The naive holder of a terminal, who tidies up at the end and is ended before.
//!
//! A program that passes keys on puts the user's terminal into raw mode: no echo, no lines, no Ctrl-C. That is a property
//! of the terminal and not of the program: it stays when the program is gone. Restoring it at the end of `main` helps
//! in one way out of many, and a user with an invisible shell has to know the word `reset`.
//!
//! Run it: `cargo run -p ch01-process --example raw_terminal`.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::Path;

use anyhow::Context as _;
use process::pty::{self, RawMode};
use process::{CloneArgs, ProcessStep, Program, spawn};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["naive", ending] => hold_naively(ending),
        ["careful", ending] => hold_carefully(ending),
        _ => {
            println!("{:<16} {:<14} RawMode", "the holder ends", "naively");
            for ending in ["return", "error", "panic", "SIGTERM", "SIGHUP", "SIGINT"] {
                println!("{ending:<16} {:<14} {}", outcome("naive", ending)?, outcome("careful", ending)?);
            }
            Ok(())
        }
    }
}

fn hold_naively(ending: &str) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
    work(ending)?;
    Ok(tcsetattr(&stdin, OptionalActions::Drain, &before)?)
}

fn hold_carefully(ending: &str) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    let _raw = RawMode::enter(stdin.as_fd())?;
    work(ending)
}

/// What is done in raw mode, and how it ends.
fn work(ending: &str) -> anyhow::Result<()> {
    println!("raw");
    std::io::stdout().flush()?;
    match ending {
        "return" => Ok(()),
        "error" => anyhow::bail!("something went wrong"),
        "panic" => panic!("a mistake of ours"),
        _ => loop {
            std::thread::park();
        },
    }
}

/// Runs a holder on a terminal of its own, ends it, and looks at the terminal.
fn outcome(way: &str, ending: &str) -> anyhow::Result<&'static str> {
    let terminal = pty::open(Path::new("/dev/ptmx"))?;
    let (said, saying) = std::io::pipe().context("pipe")?;
    let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
    let streams = [terminal.peer.as_raw_fd(), saying.as_raw_fd(), nowhere.as_raw_fd()];
    let arguments = vec![std::env::current_exe()?.into_os_string(), way.into(), ending.into()];
    let steps = [
        ProcessStep::Stdio(streams),
        // Whoever runs us in the background of a script has us ignore SIGINT, and the holder with us.
        ProcessStep::ResetSignals,
        ProcessStep::CloseOnExec { preserve: 0 },
        ProcessStep::Exec(Program { arguments, environment: Vec::new() }),
    ];
    let mut holder = spawn(&CloneArgs::default(), &steps)?;
    holder.run_to_exec()?;
    drop(saying);
    BufReader::new(said).read_line(&mut String::new())?;
    if let Ok(signal) = process::signals::parse(ending) {
        holder.pidfd().signal(signal)?;
    }
    holder.pidfd().wait()?;
    Ok(if is_raw(terminal.peer.as_fd())? { "stays raw" } else { "given back" })
}

fn is_raw(terminal: BorrowedFd<'_>) -> anyhow::Result<bool> {
    Ok(!tcgetattr(terminal)?.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO))
}
