//! `bench start --where`: the time of one container by kernel call, from what `--explain=json` tells.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::bundle::{Ask, Bundles};

/// What is not between two calls: two starts of the program, its arguments, and the end.
const OUTSIDE: &str = "(starting and ending)";
/// Until the first call that makes something of the container's: the configuration is read.
const BEFORE: &str = "(reading the configuration)";
/// The first chapter that makes something outside of the container: its control group.
const MAKES: u8 = 5;

/// A kernel call, and the time from it to the next one: the call's own, and that of what this program does with it.
pub(crate) struct Place {
    /// Its chapter and name.
    pub(crate) name: String,
    /// How often it is made in one run.
    pub(crate) calls: usize,
    /// Of all of them in one run, in milliseconds.
    pub(crate) median: f64,
}

/// Where the time goes.
pub(crate) struct Whole {
    /// The most expensive first.
    pub(crate) places: Vec<Place>,
    /// Of a run, in milliseconds.
    pub(crate) median: f64,
}

/// One line of the story.
#[derive(Deserialize)]
struct Line {
    chapter: u8,
    call: String,
    at_us: u64,
}

/// By call: how often, and how many microseconds.
type Spent = BTreeMap<String, (usize, u64)>;

/// Starts the whole bundle `runs` times.
pub(crate) fn measure(own: &Path, runs: usize) -> Result<Whole> {
    let bundles = Bundles::new(own)?;
    let state = tempfile::Builder::new().prefix("cooper-bench-").tempdir_in("/dev/shm").context("no state")?;
    let (mut walls, mut all) = (Vec::new(), Vec::new());
    // The first run warms caches.
    for run in 0..=runs {
        let mut command = Command::new(own);
        command.arg("--explain=json").arg("--root").arg(state.path()).args(["run", "--bundle"]);
        command.arg(bundles.bundle(Ask::Whole)).arg(format!("bench-where-{run}")).stdin(Stdio::null());
        let began = Instant::now();
        let output = command.output().context("cannot run cooper-runtime")?;
        let wall = began.elapsed().as_micros() as u64;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {text}", output.status);
        if run > 0 {
            walls.push(wall as f64 / 1000.0);
            all.push(spent(&text, wall)?);
        }
    }
    let names: Vec<&String> = all.iter().max_by_key(|spent| spent.len()).context("no run")?.keys().collect();
    let place = |name: &&String| {
        let of = |spent: &Spent| spent.get(*name).copied().unwrap_or_default();
        Place {
            name: (*name).clone(),
            calls: all.iter().map(|spent| of(spent).0).max().unwrap_or_default(),
            median: median(all.iter().map(|spent| of(spent).1 as f64 / 1000.0).collect()),
        }
    };
    let mut places: Vec<Place> = names.iter().map(place).collect();
    places.sort_by(|one, other| other.median.total_cmp(&one.median));
    Ok(Whole { places, median: median(walls) })
}

fn spent(story: &str, wall: u64) -> Result<Spent> {
    let read = |line: &str| serde_json::from_str(line).with_context(|| format!("{line:?} is no line of the story"));
    let mut lines = story.lines().map(read).collect::<Result<Vec<Line>>>()?;
    // The clock begins again where the program is executed again, after the first line. Of a child's steps its parent tells
    // when it hears of them.
    ensure!(lines.len() > 1, "a story without steps");
    lines.remove(0);
    lines.sort_by_key(|line| line.at_us);
    let mut spent = Spent::new();
    let mut add = |name: String, time: u64| {
        let place = spent.entry(name).or_default();
        *place = (place.0 + 1, place.1 + time);
    };
    let first = lines.iter().position(|line| line.chapter >= MAKES).context("a story without a control group")?;
    add(BEFORE.to_owned(), lines[first].at_us);
    for pair in lines[first..].windows(2) {
        add(format!("ch {} {}", pair[0].chapter, pair[0].call), pair[1].at_us - pair[0].at_us);
    }
    let last = lines.last().map_or(0, |line| line.at_us);
    add(OUTSIDE.to_owned(), wall.saturating_sub(last));
    Ok(spent)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
