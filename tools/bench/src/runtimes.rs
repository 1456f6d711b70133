//! `bench start`, runtimes: one bundle, started by each runtime that is installed, and by hand.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::bundle::{Ask, Bundles};
use crate::by_hand;
use crate::timing::Timing;

/// Cooper's name in these tables.
pub(crate) const OWN: &str = "cooper-runtime";
/// Between two runs: the kernel takes a container's namespaces down when nobody waits for it any more but who comes next.
const REST: Duration = Duration::from_millis(50);
/// An id that is new with each run stands in its place.
const ID: &str = "{id}";

/// Commands that are timed together, one after another.
struct Contender {
    name: &'static str,
    commands: Vec<Vec<String>>,
}

/// A comparison: what was compared, how long it took, and who did not take part.
pub(crate) struct Comparison {
    /// What was compared.
    pub(crate) title: &'static str,
    /// Wall time.
    pub(crate) wall: Vec<Timing>,
    /// Processor time of all processes together, in milliseconds, in the order of `wall`.
    pub(crate) cpu: Vec<f64>,
    /// Who was left out, and why.
    pub(crate) skipped: Vec<(&'static str, String)>,
}

/// Runs all comparisons, each contender `runs` times in turn.
pub(crate) fn compare(own: &Path, runs: usize) -> Result<Vec<Comparison>> {
    let bundles = Bundles::new(own)?;
    let states = tempfile::Builder::new().prefix("cooper-bench-").tempdir_in(state_parent()).context("no state")?;
    let runtimes = Runtimes { own, states: states.path(), bundles: &bundles };
    leave_v2_out(&runtimes)?;
    let mut all = Vec::new();
    for ask in Ask::ALL {
        all.push(measure(ask.title(), runtimes.run(ask), runs));
    }
    all.push(measure("create, start, delete", runtimes.stages(), runs));
    bundles.command(&["sleep", "1000"])?;
    all.push(runtimes.exec(runs)?);
    Ok(all)
}

/// Where machines keep such state: in memory.
fn state_parent() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/run") }
}

struct Runtimes<'a> {
    own: &'a Path,
    states: &'a Path,
    bundles: &'a Bundles,
}

impl Runtimes<'_> {
    /// The OCI runtimes: name, program, and its options before the command.
    fn programs(&self) -> [(&'static str, Vec<String>); 3] {
        let rooted = |name: &'static str, program: &Path| {
            let state = self.states.join(name);
            (name, vec![program.display().to_string(), "--root".to_owned(), state.display().to_string()])
        };
        [rooted(OWN, self.own), rooted("crun", Path::new("crun")), rooted("runc", Path::new("runc"))]
    }

    fn bundle(&self, ask: Ask) -> String {
        self.bundles.bundle(ask).display().to_string()
    }

    fn run(&self, ask: Ask) -> Vec<Contender> {
        let bundle = self.bundle(ask);
        let mut all: Vec<Contender> = self
            .programs()
            .map(|(name, program)| Contender {
                name,
                commands: vec![command(&program, &["run", "--bundle", &bundle, ID])],
            })
            .into();
        let root = self.bundles.root().display().to_string();
        let mut sandbox = vec!["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts"];
        sandbox.extend(ask.network().then_some("--unshare-net"));
        sandbox.extend(ask.limits().then_some("--unshare-cgroup"));
        sandbox.extend(["--ro-bind", &root, "/", "--proc", "/proc", "--dev", "/dev", "true"]);
        all.push(Contender { name: "bwrap", commands: vec![command(&[], &sandbox)] });
        let root = self.bundles.root();
        all.push(Contender { name: by_hand::FLOOR, commands: vec![by_hand::floor(&root, ask)] });
        all.push(Contender { name: by_hand::GROUPED, commands: vec![by_hand::grouped(&root, ask, ID)] });
        all
    }

    fn stages(&self) -> Vec<Contender> {
        let bundle = self.bundle(Ask::Whole);
        let stages = |program: Vec<String>| {
            vec![
                command(&program, &["create", "--bundle", &bundle, ID]),
                command(&program, &["start", ID]),
                command(&program, &["delete", "--force", ID]),
            ]
        };
        self.programs().map(|(name, program)| Contender { name, commands: stages(program) }).into()
    }

    /// One more process in a container that runs already; by hand, `nsenter`.
    fn exec(&self, runs: usize) -> Result<Comparison> {
        let bundle = self.bundle(Ask::Whole);
        let id = format!("bench-exec-{}", std::process::id());
        let mut contenders = Vec::new();
        let mut pid = None;
        for (name, program) in self.programs() {
            // Each has the group to itself: their containers run at the same time.
            self.bundles.group(&format!("/cooper-bench-{name}"))?;
            let started = attempt(&command(&program, &["run", "--detach", "--bundle", &bundle, &id]));
            if started.is_ok() && name == OWN {
                pid = Some(pid_of(&program, &id)?);
            }
            contenders.push(Contender { name, commands: vec![command(&program, &["exec", &id, "true"])] });
        }
        if let Some(pid) = pid {
            let by_hand =
                ["nsenter", "--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "true"];
            contenders.push(Contender { name: "nsenter", commands: vec![command(&[], &by_hand)] });
        }
        let comparison = measure("exec", contenders, runs);
        for (_, program) in self.programs() {
            // Whoever is not installed has nothing to delete.
            let _ = attempt(&command(&program, &["delete", "--force", &id]));
        }
        Ok(comparison)
    }
}

fn command(program: &[String], words: &[&str]) -> Vec<String> {
    program.iter().cloned().chain(words.iter().map(|&word| word.to_owned())).collect()
}

fn pid_of(program: &[String], id: &str) -> Result<String> {
    let words = command(program, &["state", id]);
    let output = Command::new(&words[0]).args(&words[1..]).output().context("cannot ask for a state")?;
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).context("a state that is not JSON")?;
    Ok(state["pid"].to_string())
}

/// crun before 1.9 cannot work where a tree of cgroup v2 is mounted beside those of v1. Then this process, and all that
/// it starts, does without that tree.
fn leave_v2_out(runtimes: &Runtimes<'_>) -> Result<()> {
    let crun = runtimes.run(Ask::Whole).into_iter().find(|contender| contender.name == "crun");
    let beside = Path::new("/sys/fs/cgroup/unified");
    if !beside.join("cgroup.procs").exists() || crun.is_none_or(|crun| crun.once("bench-trial").is_ok()) {
        return Ok(());
    }
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).context("cannot have a mount namespace of its own")?;
    nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .context("cannot keep mounts to itself")?;
    nix::mount::umount2(beside, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", beside.display()))
}

impl Contender {
    /// Runs its commands once, with a name for the container.
    fn once(&self, id: &str) -> Result<()> {
        for words in &self.commands {
            let words: Vec<String> = words.iter().map(|word| word.replace(ID, id)).collect();
            attempt(&words)?;
        }
        Ok(())
    }
}

/// Runs one command; its exit status if it fails. Nothing of what it says is read: a pipe would be held by the container.
fn attempt(words: &[String]) -> Result<()> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`{}`: {status}", words.join(" ")),
        Err(_) => bail!("not installed"),
    }
}

/// What children have cost so far, in milliseconds of processor time.
fn spent() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| usage.user_time() + usage.system_time());
    usage.map_or(0.0, |time| time.num_microseconds() as f64 / 1000.0)
}

fn measure(title: &'static str, contenders: Vec<Contender>, runs: usize) -> Comparison {
    let mut skipped = Vec::new();
    let mut able = Vec::new();
    for contender in contenders {
        // The first run warms caches, and shows who can run at all.
        match contender.once("bench-trial") {
            Ok(()) => able.push((contender, Vec::new(), Vec::new())),
            Err(error) => skipped.push((contender.name, error.to_string())),
        }
    }
    for run in 0..runs {
        for (contender, wall, cpu) in &mut able {
            std::thread::sleep(REST);
            let (began, before) = (Instant::now(), spent());
            match contender.once(&format!("bench-{}-{run}", std::process::id())) {
                Ok(()) => {
                    wall.push(began.elapsed().as_secs_f64() * 1000.0);
                    cpu.push(spent() - before);
                }
                Err(error) => eprintln!("bench: {title}: {error}: this run does not count"),
            }
        }
    }
    let able: Vec<_> = able.into_iter().filter(|(_, wall, _)| !wall.is_empty()).collect();
    let timing = |name, mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        Timing { name, median: times[times.len() / 2], fastest: times[0] }
    };
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for (contender, walls, cpus) in able {
        wall.push(timing(contender.name, walls));
        cpu.push(timing(contender.name, cpus).median);
    }
    Comparison { title, wall, cpu, skipped }
}
