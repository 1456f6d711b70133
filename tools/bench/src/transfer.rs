//! `bench pull` and `bench push`: an image between a registry on this machine and the stores of those who are installed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::Transfer;
use crate::bound::{self, Source};
use crate::contender::build;
use crate::cost::{self, Cost};
use crate::depot::{EMPTY, REGISTRY, Served, remove};
use crate::layers::run;
use crate::made::{Made, NAME};
use crate::timing::Timing;

/// Cooper's name in the table.
pub(crate) const OWN: &str = "cooper";

/// Set in the environment of the process that has a network of its own.
const ALONE: &str = "COOPER_BENCH_ALONE";

/// Which way the image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Pull,
    Push,
}

/// One program that moves the image.
struct Mover {
    name: &'static str,
    /// Before each run, not measured; `{to}` is a directory that is new with each run. It stays
    /// until the end: ext4 gives out no inode that was deleted a minute ago, and looking for others would cost the next.
    before: Vec<Vec<String>>,
    words: Vec<String>,
    /// The daemon that it needs. Each run has its own, with a store that is new.
    daemon: Option<fn(&Path) -> Result<Served>>,
    skipped: Option<String>,
}

impl Mover {
    fn new(name: &'static str, before: &[&str], words: &str) -> Self {
        let split = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        Self {
            name,
            before: before.iter().map(|text| split(text)).collect(),
            words: split(words),
            daemon: None,
            skipped: None,
        }
    }

    fn with(self, daemon: fn(&Path) -> Result<Served>) -> Self {
        Self { daemon: Some(daemon), ..self }
    }

    /// One run from a cold store.
    fn go(&self, to: &Path) -> Result<Cost> {
        fs::create_dir_all(to).context("cannot make a directory")?;
        let command = |words: &[String]| {
            let fill = |word: &String| word.replace("{to}", &to.to_string_lossy());
            let mut command = Command::new(fill(&words[0]));
            command.args(words[1..].iter().map(fill)).env("HOME", to);
            command
        };
        let _empty = Served::registry(to, EMPTY)?;
        let served = self.daemon.map(|daemon| daemon(to)).transpose()?;
        self.before.iter().try_for_each(|words| run(&mut command(words)))?;
        // What others left to be written must not be paid for by this one.
        rustix::fs::sync();
        let daemons = served.as_ref().map(Served::processes).unwrap_or_default();
        cost::of(&mut command(&self.words), &daemons)
    }
}

/// Does the rest of the work in a process with a network of its own, in which the daemons disturb nobody. Returns only there.
///
/// # Errors
/// unshare(1) or ip(8) is not installed, or root is needed.
pub(crate) fn alone() -> Result<()> {
    if std::env::var_os(ALONE).is_some() {
        return run(Command::new("ip").args(["link", "set", "lo", "up"]));
    }
    let own = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--"]).arg(own).args(std::env::args_os().skip(1)).env(ALONE, "1");
    Err(command.exec()).context("cannot run unshare")
}

/// Who did not take part, with the reason.
type Skipped = Vec<(&'static str, String)>;

/// The comparison: what everybody took, in the table's order, and who did not take part.
pub(crate) fn compare(way: Way, wanted: &Transfer) -> Result<(Vec<Timing>, Skipped)> {
    let cooper = build("cooper")?;
    let dir = tempfile::Builder::new().prefix("cooper-bench-").tempdir().context("no temporary directory")?;
    let made = Made::new(dir.path(), wanted.layers, wanted.size)?;
    let _registry = Served::registry(dir.path(), REGISTRY)?;
    let image = format!("{REGISTRY}/made");
    let source = format!("oci:{}:{NAME}", made.layout.display());
    run(Command::new("skopeo")
        .args(["copy", "--quiet", "--dest-tls-verify=false", &source])
        .arg(format!("docker://{image}:1")))?;
    let mut movers = match way {
        Way::Pull => pullers(&cooper),
        Way::Push => pushers(&cooper, &source),
    };
    if wanted.own {
        movers.truncate(1);
    }
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); movers.len()];
    let mut bounds = [(Source::Files, Vec::new()), (Source::Registry, Vec::new())];
    for number in 0..wanted.runs {
        for (mover, costs) in movers.iter_mut().zip(&mut costs).filter(|(mover, _)| mover.skipped.is_none()) {
            let place = format!("to/{number}/{}", mover.name.split(',').next().unwrap_or_default());
            match mover.go(&dir.path().join(place)) {
                Ok(cost) => costs.push(cost),
                Err(error) => mover.skipped = Some(format!("{error:#}")),
            }
        }
        for (source, costs) in bounds.iter_mut().filter(|_| way == Way::Pull) {
            rustix::fs::sync();
            costs.push(bound::measure(&made.layers, *source, &dir.path().join(format!("bound-{source:?}-{number}")))?);
        }
    }
    let skipped = movers.iter().filter_map(|mover| Some((mover.name, mover.skipped.clone()?))).collect();
    let results = table(&movers, &costs, &bounds);
    remove(dir.path())?;
    Ok((results, skipped))
}

const PODMAN: &str = "podman --root {to}/store --runroot {to}/run --storage-driver overlay";
const DOCKER: &str = "docker --host unix://{to}/docker.sock";
const CTR: &str = "ctr --address {to}/containerd.sock";

fn pullers(cooper: &Path) -> Vec<Mover> {
    let (cooper, image) = (cooper.display(), format!("{REGISTRY}/made:1"));
    let skopeo = format!("skopeo copy --quiet --src-tls-verify=false docker://{image} oci:{{to}}/layout:1");
    vec![
        Mover::new(OWN, &[], &format!("{cooper} --root {{to}} pull --quiet {image}")),
        Mover::new("docker", &[], &format!("{DOCKER} pull --quiet {image}")).with(Served::docker),
        Mover::new("podman", &[], &format!("{PODMAN} pull --quiet --tls-verify=false {image}")),
        Mover::new("ctr", &[], &format!("{CTR} image pull --plain-http {image}")).with(Served::containerd),
        Mover::new("skopeo, not unpacked", &[], &skopeo),
    ]
}

fn pushers(cooper: &Path, source: &str) -> Vec<Mover> {
    let (cooper, image) = (cooper.display(), format!("{REGISTRY}/made:1"));
    let cooper = format!("{cooper} --root {{to}}");
    let tag = |engine: &str, name: &str| format!("{engine} tag {image} {EMPTY}/{name}:1");
    let pull = |engine: &str| format!("{engine} pull --quiet {image}");
    vec![
        Mover::new(OWN, &[&pull(&cooper), &tag(&cooper, "cooper")], &format!("{cooper} push --quiet {EMPTY}/cooper:1")),
        Mover::new(
            "skopeo",
            &[],
            &format!("skopeo copy --quiet --dest-tls-verify=false {source} docker://{EMPTY}/skopeo:1"),
        ),
        Mover::new(
            "podman",
            &[&format!("{PODMAN} pull --quiet --tls-verify=false {image}")],
            &format!("{PODMAN} push --quiet --tls-verify=false {image} {EMPTY}/podman:1"),
        ),
        Mover::new(
            "docker",
            &[&pull(DOCKER), &tag(DOCKER, "docker")],
            &format!("{DOCKER} push --quiet {EMPTY}/docker:1"),
        )
        .with(Served::docker),
    ]
}

/// Prints what everybody took, and returns the times on the wall.
fn table(movers: &[Mover], costs: &[Vec<Cost>], bounds: &[(Source, Vec<Cost>)]) -> Vec<Timing> {
    println!("{:24} {:>12} {:>14} {:>12}", "", "wall", "processor", "memory");
    let mut results = Vec::new();
    for (mover, runs) in movers.iter().zip(costs).filter(|(_, runs)| !runs.is_empty()) {
        let cost = cost::median(runs);
        println!("{:24} {:>9.0} ms {:>11.0} ms {:>8.1} MiB", mover.name, cost.wall, cost.processor, cost.memory);
        let fastest = runs.iter().map(|run| run.wall).fold(f64::INFINITY, f64::min);
        results.push(Timing { name: mover.name, median: cost.wall, fastest });
    }
    if let Some(own) = costs.first().filter(|runs| !runs.is_empty()) {
        beside_bounds(cost::median(own), bounds);
    }
    results
}

/// Prints the bounds, how near we came, and what they are made of.
fn beside_bounds(own: Cost, bounds: &[(Source, Vec<Cost>)]) {
    for (source, runs) in bounds.iter().filter(|(_, runs)| !runs.is_empty()) {
        let bound = cost::median(runs);
        let (wall, processor) = (100.0 * bound.wall / own.wall, 100.0 * bound.processor / own.processor);
        println!("{:24} {:>9.0} ms {:>11.0} ms", source.name(), bound.wall, bound.processor);
        println!("{:24} cooper reaches {wall:.0} % of it, {processor:.0} % in processor time", "");
        println!("{:24} ({})", "", source.content());
    }
}

/// The directory of the picture is made by whoever draws; this is its name.
pub(crate) fn picture(way: Way) -> PathBuf {
    match way {
        Way::Pull => "target/bench-pull.svg".into(),
        Way::Push => "target/bench-push.svg".into(),
    }
}
