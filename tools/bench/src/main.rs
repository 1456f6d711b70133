//! `bench`: Cooper beside what somebody would use instead, in one run, on one machine, with one image.
//!
//! Absolute times mean little on a machine that others share, so what is reported is a median and a ratio. A peer that is not
//! installed, or does not work here, is left out by name.

mod contender;
mod picture;
mod timing;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::contender::{Contender, Scene};

/// Compares Cooper with the engines that are installed.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// From the command to its end: a container that prints a line and is removed.
    Start {
        /// How often each contender runs.
        #[arg(long, default_value_t = 15)]
        runs: usize,
        /// Where the picture goes.
        #[arg(long, default_value = "target/bench-start.svg")]
        svg: PathBuf,
    },
}

fn main() -> ExitCode {
    let Arguments { command: Command::Start { runs, svg } } = Arguments::parse();
    match start(runs.max(1), &svg) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(runs: usize, svg: &std::path::Path) -> Result<()> {
    let scene = Scene::new()?;
    let contenders = Contender::all(&scene);
    let results = timing::measure(&contenders, runs);
    let own = results.iter().find(|result| result.name == contender::OWN).context("cooper itself did not run")?.median;
    println!("{:24} {:>10} {:>10} {:>14}", "hello, started to ended", "median", "fastest", "cooper takes");
    for result in &results {
        let ratio = own / result.median;
        println!("{:24} {:>7.1} ms {:>7.1} ms {:>13.2}x", result.name, result.median, result.fastest, ratio);
    }
    let skipped = contenders.iter().filter(|contender| contender.skipped.is_some());
    for contender in skipped {
        println!("{:24} skipped: {}", contender.name, contender.skipped.as_deref().unwrap_or_default());
    }
    if let Some(parent) = svg.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::write(svg, picture::bars(&results)).with_context(|| format!("cannot write {}", svg.display()))?;
    println!("{} medians of {runs} runs; the picture is in {}", results.len(), svg.display());
    Ok(())
}
