//! `bench scale`: what the thousandth container costs beside the first, and what listing them takes.
//!
//! Two ways to have many. *Churn* is a thousand that come and go, some at a time: afterwards the kernel and the engine's
//! directory must look as before. *A crowd* is a thousand that stay: each start is timed, and `ps` every now and then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::contender;
use crate::memory::{self, Resident};
use crate::picture;

/// A half of `scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Many {
    /// Those that come and go.
    Churn,
    /// Those that stay.
    Crowd,
}

/// Measures, and prints what was found.
///
/// # Errors
/// Something is left behind by those that came and went; a container that did not start.
pub(crate) fn report(count: usize, at_a_time: usize, only: Option<Many>, svg: &Path) -> Result<()> {
    let cooper = &contender::build("cooper")?;
    if only != Some(Many::Crowd) {
        let Churned { took, seconds, left } = Crowd::new(cooper)?.churn(count, at_a_time)?;
        println!("{count} with a bridge and a port came and went, {at_a_time} at a time, in {seconds:.1} s");
        println!("{:32} {:>8.1} ms, {:.1} ms", "median of the first, last tenth", tenth(&took).0, tenth(&took).1);
        ensure!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
        println!("{:32} nothing", "left behind");
    }
    if only != Some(Many::Churn) {
        let stood = Crowd::new(cooper)?.stand(count)?;
        println!("{count} with a bridge and a port stay");
        println!(
            "{:32} {:>8.1} ms, {:.1} ms",
            "start, first and last tenth",
            tenth(&stood.starts).0,
            tenth(&stood.starts).1
        );
        for (number, took) in stood.lists.iter().filter(|(number, _)| number % (count / 5).max(1) == 0) {
            println!("{:32} {took:>8.1} ms", format!("ps with {number}"));
        }
        for (what, took) in [("stats", stood.stats), ("stop all", stood.stop), ("rm all", stood.remove)] {
            println!("{what:32} {took:>8.2} s");
        }
        let (first, all) = stood.monitors;
        for (what, it) in [("the first monitor", first), ("a monitor, mean", all)] {
            println!("{what:32} {:>8} KiB of its own, {} KiB resident in all", it.anonymous, it.all);
        }
        crate::write(&picture(&stood), svg)?;
        println!("the picture is in {}", svg.display());
    }
    Ok(())
}

/// The medians of the first tenth and of the last.
fn tenth(times: &[f64]) -> (f64, f64) {
    let tenth = (times.len() / 10).max(1);
    (median(&times[..tenth]), median(&times[times.len() - tenth..]))
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// What each start took, and each `ps`, by how many containers there were.
fn picture(stood: &Stood) -> String {
    let starts: Vec<(f64, f64)> =
        stood.starts.iter().enumerate().map(|(number, took)| (number as f64, *took)).collect();
    let few = starts.chunks((starts.len() / 50).max(1));
    let middle =
        few.map(|few| (few[few.len() / 2].0, median(&few.iter().map(|it| it.1).collect::<Vec<_>>()))).collect();
    let lists = stood.lists.iter().map(|(number, took)| (*number as f64, *took)).collect();
    picture::plots(&[("start of one more container, ms", starts, middle), ("ps, ms", Vec::new(), lists)])
}

/// What a container does that stays: nothing, until it is asked to end.
const STAY: &str = "trap 'exit 0' TERM; sleep 100000 & wait";

/// An engine with an empty root.
pub(crate) struct Crowd {
    cooper: PathBuf,
    directory: tempfile::TempDir,
}

/// What a thousand that came and went took, in milliseconds, in the order in which they began, and what they left.
pub(crate) struct Churned {
    pub(crate) took: Vec<f64>,
    pub(crate) seconds: f64,
    pub(crate) left: Vec<String>,
}

/// What a thousand that stay take, in milliseconds unless it says otherwise.
pub(crate) struct Stood {
    /// Each start.
    pub(crate) starts: Vec<f64>,
    /// How many there were, and how long `ps` took.
    pub(crate) lists: Vec<(usize, f64)>,
    /// Seconds.
    pub(crate) stats: f64,
    /// Seconds.
    pub(crate) stop: f64,
    /// Seconds.
    pub(crate) remove: f64,
    /// A monitor's memory: of the first, and the mean of all.
    pub(crate) monitors: (Resident, Resident),
}

impl Crowd {
    /// Makes the root, and the image in it.
    pub(crate) fn new(cooper: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("cooper-bench-").tempdir().context("no temporary directory")?;
        let crowd = Self { cooper: cooper.to_owned(), directory };
        crowd.run(&["run", "--rm", "host", "true"])?;
        Ok(crowd)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.cooper);
        command.arg("--root").arg(self.directory.path()).args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words).output().context("cannot run cooper")?;
        if !output.status.success() {
            bail!("cooper {}: {}", words[0], String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Milliseconds that a command takes.
    fn time(&self, words: &[&str]) -> Result<f64> {
        let began = Instant::now();
        self.run(words)?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    }

    /// `count` containers with a bridge and a published port, `at_a_time` of them at once, each gone as soon as it has begun.
    pub(crate) fn churn(&self, count: usize, at_a_time: usize) -> Result<Churned> {
        let leaks = contender::build_of("tests", "leaks")?;
        let before = self.directory.path().join("before");
        let picture = Command::new(&leaks).arg("snapshot").output().context("cannot run leaks")?;
        fs::write(&before, picture.stdout).context("cannot keep the picture")?;
        let files = self.files()?;
        let (next, took) = (AtomicUsize::new(0), Mutex::new(vec![0.0; count]));
        let began = Instant::now();
        let worker = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let time = self.time(&["run", "--rm", "--publish", "80", "host", "true"])?;
                if let Ok(mut took) = took.lock() {
                    took[number] = time;
                }
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| bail!("a worker panicked")))
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let compared = Command::new(&leaks).arg("compare").arg(&before).output().context("cannot run leaks")?;
        let told = String::from_utf8_lossy(&compared.stdout).into_owned();
        let mut left: Vec<String> = told.lines().filter(|_| !compared.status.success()).map(str::to_owned).collect();
        left.extend(self.files()?.into_iter().filter(|file| !files.contains(file)).map(|file| format!("file: {file}")));
        let took = took.into_inner().unwrap_or_default();
        Ok(Churned { took, seconds, left })
    }

    /// Every file of the engine's, but those in which it keeps what happened.
    fn files(&self) -> Result<Vec<String>> {
        let listed = Command::new("find").arg(self.directory.path()).args(["-not", "-path", "*/events/*"]).output();
        let listed = listed.context("cannot run find")?;
        ensure!(listed.status.success(), "find failed");
        Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
    }

    /// `count` containers that stay, one after the other.
    pub(crate) fn stand(&self, count: usize) -> Result<Stood> {
        let (mut starts, mut lists) = (Vec::new(), Vec::new());
        let step = (count / 20).max(1);
        let mut first = None;
        for number in 1..=count {
            starts.push(self.time(&["run", "--detach", "--publish", "80", "host", "sh", "-c", STAY])?);
            if number == 1 {
                first = memory::of_monitors(self.directory.path())?.first().copied();
            }
            if number % step == 0 {
                let mut times = (0..7).map(|_| self.time(&["ps"])).collect::<Result<Vec<_>>>()?;
                times.sort_by(f64::total_cmp);
                lists.push((number, times[3]));
            }
        }
        let monitors = memory::of_monitors(self.directory.path())?;
        ensure!(monitors.len() == count, "{} monitors watch {count} containers", monitors.len());
        let monitors = (first.context("no monitor")?, memory::mean(&monitors));
        let stats = self.time(&["stats", "--no-stream"])? / 1000.0;
        let ids = self.run(&["ps", "--quiet"])?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        ensure!(ids.len() == count, "{} containers are left of {count}", ids.len());
        let stop = self.time(&[["stop"].as_slice(), &ids].concat())? / 1000.0;
        let remove = self.time(&[["rm"].as_slice(), &ids].concat())? / 1000.0;
        Ok(Stood { starts, lists, stats, stop, remove, monitors })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let ids = self.run(&["ps", "--all", "--quiet"]).unwrap_or_default();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        let removed =
            if ids.is_empty() { Ok(String::new()) } else { self.run(&[["rm", "-f"].as_slice(), &ids].concat()) };
        if let Err(error) = removed.and_then(|_| self.run(&["system", "prune", "--force"])) {
            eprintln!("bench: {error:#}");
        }
    }
}
