//! `cooper`: the sixteen chapters as one engine.
//!
//! Nothing happens here that an earlier chapter does not do: this binary reads the command line
//! that container users' fingers know, calls the chapter, and prints what came back. One module
//! a family of commands; [`cli`] is the map.

mod acquire;
mod anatomy;
mod archive;
mod build;
mod check;
mod cli;
mod compose;
mod container;
mod copy;
mod daemon;
mod disk;
mod exec;
mod explore;
mod failure;
mod flags;
mod hints;
mod image;
mod later;
mod lifecycle;
mod logs;
mod look;
mod machine;
mod map;
mod map_picture;
mod map_text;
mod network;
mod networking;
mod options;
mod probe;
mod reach;
mod refused;
mod registry;
mod remote;
mod run;
mod search;
mod stats;
mod stdout;
mod system;
mod table;
mod template;
mod transfer;
mod values;
mod volume;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

fn main() -> ExitCode {
    // A container's monitor is this very program, started again: its arguments are the engine's, not a person's.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "monitor") {
        return containers::monitor::main(words);
    }
    if let Some(code) = doctor::trial::if_asked(std::env::args_os()) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(failure::usage(&error)),
    };
    let blame = cli.command.blame();
    match cli.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            failure::report(&error);
            ExitCode::from(failure::exit_code(&error, blame))
        }
    }
}
