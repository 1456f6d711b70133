//! `bench pull` and `bench push`: an image between a registry on this machine and the stores of those who are installed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::bound;
use crate::contender::build;
use crate::cost::{self, Cost};
use crate::depot::{REGISTRY, Served, remove};
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
    /// Before each run, not measured; `{to}` is a directory that is new with each run, `{run}` the run's number.
    before: Vec<Vec<String>>,
    words: Vec<String>,
    /// After each run, not measured.
    after: Vec<Vec<String>>,
    served: Option<Served>,
    skipped: Option<String>,
}

impl Mover {
    fn new(name: &'static str, before: &[&str], words: &str, after: &[&str]) -> Self {
        let split = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let all = |list: &[&str]| list.iter().map(|text| split(text)).collect();
        Self { name, before: all(before), words: split(words), after: all(after), served: None, skipped: None }
    }

    fn with(mut self, served: Result<Served>) -> Self {
        match served {
            Ok(served) => self.served = Some(served),
            Err(error) => self.skipped = Some(format!("{error:#}")),
        }
        self
    }

    /// One run from a cold store.
    fn go(&self, to: &Path, number: usize) -> Result<Cost> {
        fs::create_dir_all(to).context("cannot make a directory")?;
        let command = |words: &[String]| {
            let fill =
                |word: &String| word.replace("{to}", &to.to_string_lossy()).replace("{run}", &number.to_string());
            let mut command = Command::new(fill(&words[0]));
            command.args(words[1..].iter().map(fill)).env("HOME", to);
            command
        };
        self.before.iter().try_for_each(|words| run(&mut command(words)))?;
        // What others left to be written must not be paid for by this one.
        rustix::fs::sync();
        let daemons = self.served.as_ref().map(Served::processes).unwrap_or_default();
        let cost = cost::of(&mut command(&self.words), &daemons);
        self.after.iter().try_for_each(|words| run(&mut command(words)))?;
        remove(to)?;
        cost
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

/// The comparison: what everybody took, in the table's order, and who did not take part.
pub(crate) fn compare(
    way: Way,
    runs: usize,
    layers: u64,
    megabytes: u64,
) -> Result<(Vec<Timing>, Vec<(&'static str, String)>)> {
    let cooper = build("cooper")?;
    let dir = tempfile::Builder::new().prefix("cooper-bench-").tempdir().context("no temporary directory")?;
    let made = Made::new(dir.path(), layers, megabytes)?;
    let _registry = Served::registry(dir.path())?;
    let image = format!("{REGISTRY}/made");
    let source = format!("oci:{}:{NAME}", made.layout.display());
    run(Command::new("skopeo")
        .args(["copy", "--quiet", "--dest-tls-verify=false", &source])
        .arg(format!("docker://{image}:1")))?;
    let mut movers = match way {
        Way::Pull => pullers(dir.path(), &cooper),
        Way::Push => pushers(dir.path(), &cooper, &source),
    };
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); movers.len()];
    let mut bounds = Vec::new();
    for number in 0..runs {
        for (mover, costs) in movers.iter_mut().zip(&mut costs).filter(|(mover, _)| mover.skipped.is_none()) {
            match mover.go(&dir.path().join("to"), number) {
                Ok(cost) => costs.push(cost),
                Err(error) => mover.skipped = Some(format!("{error:#}")),
            }
        }
        if way == Way::Pull {
            rustix::fs::sync();
            bounds.push(bound::measure(&made.layers, &dir.path().join("bound"))?);
        }
    }
    let skipped = movers.iter().filter_map(|mover| Some((mover.name, mover.skipped.clone()?))).collect();
    let results = table(&movers, &costs, bounds);
    // The daemons end before their directory goes.
    drop(movers);
    remove(dir.path())?;
    Ok((results, skipped))
}

fn pullers(dir: &Path, cooper: &Path) -> Vec<Mover> {
    let cooper = cooper.display();
    let (docker, containerd) = (dir.join("docker.sock"), dir.join("containerd.sock"));
    let client = format!("docker --host unix://{}", docker.display());
    let ctr = format!("ctr --address {}", containerd.display());
    let podman = "podman --root {to}/store --runroot {to}/run --storage-driver overlay";
    vec![
        Mover::new(OWN, &[], &format!("{cooper} --root {{to}} pull --quiet {REGISTRY}/made:1"), &[]),
        Mover::new(
            "docker",
            &[],
            &format!("{client} pull --quiet {REGISTRY}/made:1"),
            &[&format!("{client} rmi --force {REGISTRY}/made:1")],
        )
        .with(Served::docker(dir, &docker)),
        Mover::new("podman", &[], &format!("{podman} pull --quiet --tls-verify=false {REGISTRY}/made:1"), &[]),
        Mover::new(
            "ctr",
            &[],
            &format!("{ctr} image pull --plain-http {REGISTRY}/made:1"),
            &[&format!("{ctr} image rm --sync {REGISTRY}/made:1"), &format!("{ctr} content prune references")],
        )
        .with(Served::containerd(dir, &containerd)),
        Mover::new(
            "skopeo, not unpacked",
            &[],
            &format!("skopeo copy --quiet --src-tls-verify=false docker://{REGISTRY}/made:1 oci:{{to}}/layout:1"),
            &[],
        ),
    ]
}

fn pushers(dir: &Path, cooper: &Path, source: &str) -> Vec<Mover> {
    let cooper = cooper.display();
    let docker = dir.join("docker.sock");
    let client = format!("docker --host unix://{}", docker.display());
    let podman = "podman --root {to}/store --runroot {to}/run --storage-driver overlay";
    let pull = format!("pull --quiet {REGISTRY}/made:1");
    vec![
        Mover::new(
            OWN,
            &[
                &format!("{cooper} --root {{to}} {pull}"),
                &format!("{cooper} --root {{to}} tag {REGISTRY}/made:1 {REGISTRY}/cooper-{{run}}:1"),
                &format!("{cooper} --root {{to}} rmi {REGISTRY}/made:1"),
            ],
            &format!("{cooper} --root {{to}} push --quiet {REGISTRY}/cooper-{{run}}:1"),
            &[],
        ),
        Mover::new(
            "skopeo",
            &[],
            &format!("skopeo copy --quiet --dest-tls-verify=false {source} docker://{REGISTRY}/skopeo-{{run}}:1"),
            &[],
        ),
        Mover::new(
            "podman",
            &[&format!("{podman} {pull} --tls-verify=false")],
            &format!("{podman} push --quiet --tls-verify=false {REGISTRY}/made:1 {REGISTRY}/podman-{{run}}:1"),
            &[],
        ),
        Mover::new(
            "docker",
            &[&format!("{client} {pull}"), &format!("{client} tag {REGISTRY}/made:1 {REGISTRY}/docker-{{run}}:1")],
            &format!("{client} push --quiet {REGISTRY}/docker-{{run}}:1"),
            &[&format!("{client} rmi --force {REGISTRY}/made:1 {REGISTRY}/docker-{{run}}:1")],
        )
        .with(Served::docker(dir, &docker)),
    ]
}

/// Prints what everybody took, and returns the times on the wall.
fn table(movers: &[Mover], costs: &[Vec<Cost>], mut bounds: Vec<f64>) -> Vec<Timing> {
    println!("{:24} {:>12} {:>14} {:>12}", "", "wall", "processor", "memory");
    let mut results = Vec::new();
    for (mover, runs) in movers.iter().zip(costs).filter(|(_, runs)| !runs.is_empty()) {
        let cost = cost::median(runs);
        println!("{:24} {:>9.0} ms {:>11.0} ms {:>8.1} MiB", mover.name, cost.wall, cost.processor, cost.memory);
        let fastest = runs.iter().map(|run| run.wall).fold(f64::INFINITY, f64::min);
        results.push(Timing { name: mover.name, median: cost.wall, fastest });
    }
    bounds.sort_by(f64::total_cmp);
    if let (Some(bound), Some(own)) = (bounds.get(bounds.len() / 2), results.first()) {
        println!("{:24} {bound:>9.0} ms   (sha256, inflate, sha256, write, on all processors)", "the bound");
        println!("cooper reaches {:.0} % of the bound", 100.0 * bound / own.median);
    }
    results
}

/// The directory of the picture is made by whoever draws; this is its name.
pub(crate) fn picture(way: Way) -> PathBuf {
    match way {
        Way::Pull => "target/bench-pull.svg".into(),
        Way::Push => "target/bench-push.svg".into(),
    }
}
