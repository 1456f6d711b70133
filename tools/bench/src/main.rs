//! `bench`: Cooper beside what somebody would use instead, in one run, on one machine, with one image.
//!
//! Absolute times mean little on a machine that others share, so what is reported is a median and a ratio. A peer that is not
//! installed, or does not work here, is left out by name.

mod bound;
mod bundle;
mod by_hand;
mod contender;
mod cost;
mod depot;
mod entering;
mod layers;
mod made;
mod memory;
mod network;
mod picture;
mod runtimes;
mod scale;
mod timing;
mod transfer;
mod whereabouts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::contender::{Contender, Scene};
use crate::entering::Inside;
use crate::scale::Many;
use crate::timing::Timing;
use crate::transfer::Way;

/// Compares Cooper with the engines that are installed.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// From the command to its end: a container that prints a line and is removed, by engines; a bundle, by OCI runtimes.
    Start {
        /// Only engines, or only runtimes.
        #[arg(long)]
        only: Option<Only>,
        /// Instead: where the time of one container goes, by kernel call.
        #[arg(long = "where", conflicts_with_all = ["only", "svg"])]
        whereabouts: bool,
        /// How often each contender runs.
        #[arg(long, default_value_t = 15)]
        runs: usize,
        /// Where the picture goes.
        #[arg(long, default_value = "target/bench-start.svg")]
        svg: PathBuf,
    },
    /// From a compressed archive to files, and from a hundred layers to one tree.
    Layers {
        /// How often each contender runs.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// The size of the layer, in MiB.
        #[arg(long, default_value_t = 300)]
        size: u64,
        /// Where the picture goes.
        #[arg(long, default_value = "target/bench-layers.svg")]
        svg: PathBuf,
    },
    /// From a registry on this machine to an unpacked image, beside the bound that the processors set.
    ///
    /// The bound is what no pull can be faster than: for each layer, sha256 of the blob, inflate, sha256 of the archive, the blob
    /// written, and every file with its mode and time; as many layers at a time as there are processors, with the
    /// libraries that Cooper uses, and one sync at the end. It has no conversation, store or look at a name, and it reads the
    /// blobs from files.
    ///
    /// A registry on this machine works on the same processors. So the second figure, "registry too", is what the same work takes
    /// with the blobs asked of that registry: how fast a client can be that shares the processors with it.
    Pull(Transfer),
    /// From the store to a registry on this machine.
    Push(Transfer),
    /// Bytes a second through a published port and between containers, beside a bare cable; names a second.
    Network {
        /// How often each is measured.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// How long each measurement takes.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
    /// The thousandth container beside the first: many that come and go, many that stay, and how long `ps` takes.
    Scale {
        /// How many containers.
        #[arg(long, default_value_t = 1000)]
        containers: usize,
        /// How many come and go at a time.
        #[arg(long, default_value_t = 8)]
        at_a_time: usize,
        /// Only those that come and go, or only those that stay.
        #[arg(long)]
        only: Option<Many>,
        /// Where the picture goes.
        #[arg(long, default_value = "target/bench-scale.svg")]
        svg: PathBuf,
    },
    /// Ask this network's resolver for a name, as often as it answers.
    #[command(hide = true)]
    Ask { name: String, seconds: u64 },
}

#[derive(Debug, clap::Args)]
struct Transfer {
    /// How often each contender runs.
    #[arg(long, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    runs: usize,
    /// The image's layers.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    layers: u64,
    /// The size of all layers' files together, in MiB.
    #[arg(long, default_value_t = 300)]
    size: u64,
    /// Only Cooper, and what it is held against if it pulls.
    #[arg(long)]
    own: bool,
}

/// A half of `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// `cooper run`, podman, docker.
    Engines,
    /// `cooper-runtime`, crun, runc, bwrap, and what can be done by hand.
    Runtimes,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Start { whereabouts: true, runs, .. } => show_whereabouts(runs.max(1)),
        Command::Start { only, runs, svg, .. } => start(only, runs.max(1), &svg),
        Command::Network { rounds, seconds } => throughput(rounds.max(1), seconds.max(1)),
        Command::Scale { containers, at_a_time, only, svg } => {
            scale::report(containers.max(20), at_a_time.max(1), only, &svg)
        }
        Command::Ask { name, seconds } => network::ask(&name, seconds).map(|rate| println!("{rate:.0}")),
        Command::Layers { runs, size, svg } => compare_layers(runs.max(1), size, &svg),
        Command::Pull(transfer) => compare_transfer(Way::Pull, &transfer),
        Command::Push(transfer) => compare_transfer(Way::Push, &transfer),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(only: Option<Only>, runs: usize, svg: &Path) -> Result<()> {
    if only != Some(Only::Engines) {
        compare_runtimes(runs, &svg.with_extension("runtimes.svg"))?;
    }
    if only == Some(Only::Runtimes) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let contenders = Contender::all(&scene);
    let results = timing::measure(&contenders, runs);
    report("hello, started to ended", contender::OWN, &results, left_out(&contenders))?;
    let inside = Inside::new(&scene);
    let entered = timing::measure(&inside.contenders, runs);
    report("true, in a running one", entering::OWN, &entered, left_out(&inside.contenders))?;
    draw(&results, contender::OWN, runs, svg)
}

fn left_out(contenders: &[Contender]) -> Vec<(&'static str, String)> {
    contenders.iter().filter_map(|contender| Some((contender.name, contender.skipped.clone()?))).collect()
}

fn compare_runtimes(runs: usize, svg: &Path) -> Result<()> {
    let own = contender::build_static("ch07-runtime", "cooper-runtime")?;
    let comparisons = runtimes::compare(&own, runs)?;
    for comparison in &comparisons {
        report(comparison.title, runtimes::OWN, &comparison.wall, comparison.skipped.clone())?;
        let cpu = comparison.wall.iter().zip(&comparison.cpu).map(|(one, cpu)| format!("{} {cpu:.1}", one.name));
        println!("processor time, all processes, ms: {}\n", cpu.collect::<Vec<_>>().join(", "));
    }
    let groups: Vec<_> = comparisons.iter().map(|comparison| (comparison.title, comparison.wall.as_slice())).collect();
    write(&picture::groups(&groups, runtimes::OWN), svg)?;
    println!("medians of {runs} runs; the picture is in {}", svg.display());
    Ok(())
}

fn show_whereabouts(runs: usize) -> Result<()> {
    let own = contender::build_static("ch07-runtime", "cooper-runtime")?;
    let whole = whereabouts::measure(&own, runs)?;
    println!("{:28} {:>6} {:>10} {:>7}", "until the next call", "calls", "median", "of all");
    for place in &whole.places {
        let share = 100.0 * place.median / whole.median;
        println!("{:28} {:>6} {:>7.3} ms {share:>6.1}%", place.name, place.calls, place.median);
    }
    println!("{:28} {:>6} {:>7.3} ms; medians of {runs} runs", "all", "", whole.median);
    Ok(())
}

fn compare_layers(runs: usize, size: u64, svg: &Path) -> Result<()> {
    let own = contender::build("ch04-layers")?;
    let (ours, bare) = layers::mount(100, runs.max(21))?;
    println!("100 layers stacked in {ours:.2} ms; the mount calls alone take {bare:.2} ms");
    let extraction = layers::extract(size, runs, &own)?;
    report(&format!("{size} MiB, gzip, one CPU"), layers::OWN, &extraction.wall, extraction.skipped)?;
    report("of that, at work", layers::OWN, &extraction.cpu, Vec::new())?;
    draw(&extraction.wall, layers::OWN, runs, svg)
}

fn compare_transfer(way: Way, transfer: &Transfer) -> Result<()> {
    transfer::alone()?;
    let (results, skipped) = transfer::compare(way, transfer)?;
    report(&format!("{} layers, {} MiB", transfer.layers, transfer.size), transfer::OWN, &results, skipped)?;
    draw(&results, transfer::OWN, transfer.runs, &transfer::picture(way))
}

fn throughput(rounds: usize, seconds: u64) -> Result<()> {
    let network::Rates { rates, names } = network::measure(&contender::build("cooper")?, rounds, seconds)?;
    let (_, bare) = *rates.first().context("nothing was measured")?;
    println!("{:24} {:>14} {:>6} {:>22} {:>6}", "TCP, one stream", "median", "", "processor time", "");
    for (name, rate) in &rates {
        let parts = (100.0 * rate.speed / bare.speed, 100.0 * rate.cost / bare.cost);
        println!(
            "{name:24} {:>7.2} Gbit/s {:>5.0}% {:>14.0} ms/Gbit {:>5.0}%",
            rate.speed, parts.0, rate.cost, parts.1
        );
    }
    println!("names looked up: {:.0} a second, {:.1} us of a processor each", names.0, names.1);
    Ok(())
}

/// The table, with what our own took against each.
fn report(title: &str, own: &str, results: &[Timing], skipped: Vec<(&str, String)>) -> Result<()> {
    let median = results.iter().find(|result| result.name == own).with_context(|| format!("{own} did not run"))?.median;
    println!("{title:24} {:>10} {:>10} {:>14}", "median", "fastest", "cooper takes");
    for result in results {
        let ratio = median / result.median;
        println!("{:24} {:>7.1} ms {:>7.1} ms {:>13.2}x", result.name, result.median, result.fastest, ratio);
    }
    for (name, reason) in skipped {
        println!("{name:24} skipped: {reason}");
    }
    Ok(())
}

fn draw(results: &[Timing], own: &str, runs: usize, svg: &Path) -> Result<()> {
    write(&picture::bars(results, own), svg)?;
    println!("{} medians of {runs} runs; the picture is in {}", results.len(), svg.display());
    Ok(())
}

fn write(picture: &str, svg: &Path) -> Result<()> {
    if let Some(parent) = svg.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    std::fs::write(svg, picture).with_context(|| format!("cannot write {}", svg.display()))
}
