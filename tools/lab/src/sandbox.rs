//! A reader's program runs here: in a user, mount, pid, ipc, uts and network namespace that the harness made.
//!
//! A wrong answer must not hurt the machine. Three processes see to that:
//!
//! ```text
//! lab check ─── lab (unshares, maps itself to root) ─── lab (pid 1 inside: asks) ─── the reader's program
//!    │                        │                                │
//!    └ waits, bounded         └ dies with its parent           └ its death kills everything inside
//! ```
//!
//! The kernel itself cleans up: when pid 1 of a pid namespace ends, so does everything in it, and with the last process go the
//! mounts. The bounds are on time, memory, processes, open files and file sizes.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid, getpid};
use serde::{Deserialize, Serialize};

use crate::exercise::Exercise;
use crate::observation;
use crate::question;
use crate::scene::{Scene, too_long};
use crate::sys;
use crate::verdict::{Asked, Failure, Stop, Verdict};

/// The longest that a check may take after its program was built.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// What to run, and what to ask. Plain data: it travels to the processes inside as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The reader's program.
    pub program: PathBuf,
    /// More for its environment; `lab verify` chooses bodies with it.
    pub environment: Vec<(String, String)>,
    /// An empty directory of the host; inside, a tmpfs covers it.
    pub scratch: PathBuf,
    /// Where random names and numbers come from: nothing can be hard-coded.
    pub seed: u64,
    /// The probe's name, random as well.
    pub name: String,
    /// The mount namespace of whoever asks. To run in that one is refused.
    pub forbidden: u64,
    /// The exercise's id.
    pub id: String,
    /// Its chapter.
    pub number: u32,
    /// Its file.
    pub source: String,
    /// What its function says while it is unwritten.
    pub unwritten: String,
    /// The questions to ask.
    pub checks: Vec<String>,
}

impl Plan {
    /// A plan to ask an exercise's questions of `program`. Without a seed, names and numbers are other in every run.
    ///
    /// # Errors
    /// This build has no static program to report from inside, or the kernel gives no random bytes.
    pub fn new(exercise: &Exercise, program: PathBuf, scratch: &Path, seed: Option<u64>) -> Result<Self> {
        ensure!(
            probe::IS_STATIC,
            "this machine has no static libc, so nothing can report from an empty root: install libc6-dev"
        );
        let seed = match seed {
            Some(seed) => seed,
            None => {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).context("no random bytes")?;
                u64::from_ne_bytes(bytes)
            }
        };
        Ok(Self {
            program,
            environment: Vec::new(),
            scratch: scratch.to_owned(),
            seed,
            name: format!("r{:010x}", seed & 0xff_ffff_ffff),
            forbidden: namespace("mnt")?,
            id: exercise.id.clone(),
            number: exercise.number(),
            source: exercise.source().display().to_string(),
            unwritten: exercise.unwritten(),
            checks: exercise.checks.clone(),
        })
    }

    /// Runs the plan in its namespaces, bounded in time.
    ///
    /// # Errors
    /// The harness itself failed: no user namespaces.
    pub fn run(&self) -> Result<Verdict> {
        let plan = serde_json::to_string(self)?;
        let mut outer = stage("outer", &plan)?;
        let deadline = Instant::now() + PATIENCE;
        while outer.try_wait().context("cannot wait for the harness")?.is_none() {
            if Instant::now() > deadline {
                // Its child, pid 1 inside, dies with it, and everything inside with that.
                outer.kill().context("cannot end the harness")?;
                outer.wait().context("cannot wait for the harness")?;
                return self.judge(Err(too_long()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = outer.wait_with_output().context("cannot read from the harness")?;
        let text = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str(text.lines().last().unwrap_or_default()) {
            Ok(verdict) => Ok(verdict),
            Err(_) => bail!("{}", String::from_utf8_lossy(&output.stderr).trim()),
        }
    }

    /// Where the marker lies: a file of the host, from inside a container.
    pub fn marker(&self) -> PathBuf {
        self.scratch.join(format!("{}.host", self.name))
    }

    /// Asks one question after the other, until an answer is wrong.
    fn ask(&self) -> Result<Verdict> {
        let scene = Scene::furnish(self.clone())?;
        let all = self.checks.iter().try_for_each(|name| match question::named(name) {
            Some(ask) => ask(&scene),
            None => Err(Stop::Broken(anyhow::anyhow!("no check {name:?}"))),
        });
        self.judge(all)
    }

    fn judge(&self, asked: Asked) -> Result<Verdict> {
        match asked {
            Ok(()) => Ok(Verdict::Passed),
            Err(Stop::Wrong(failure)) => Ok(Verdict::Failed(Failure { id: self.id.clone(), ..failure })),
            Err(Stop::Broken(error)) => Err(error),
        }
    }
}

/// The process's own namespace of a kind, as an inode number.
fn namespace(kind: &str) -> Result<u64> {
    let path = format!("/proc/self/ns/{kind}");
    Ok(fs::metadata(&path).with_context(|| format!("cannot open {path}"))?.ino())
}

/// Starts this program again, as another stage of the harness.
///
/// # Errors
/// It cannot be started.
pub fn stage(name: &str, plan: &str) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["inside", name])
        .env("LAB_PLAN", plan)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().context("cannot start the harness")
}

/// `lab inside STAGE`: not for people.
///
/// # Errors
/// A kernel call of the harness failed.
pub fn inside(name: &str, rest: &[OsString]) -> Result<ExitCode> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("prctl PR_SET_PDEATHSIG")?;
    if name == "grade" {
        return crate::grade::inside::run();
    }
    let text = std::env::var("LAB_PLAN").context("only `lab check` calls this")?;
    let plan: Plan = serde_json::from_str(&text).context("only `lab check` calls this")?;
    match name.split_once(':') {
        None if name == "outer" => outer(&text),
        None if name == "first" => first(&plan),
        Some(("look", pid)) => {
            let look = observation::look(pid.parse()?, &plan.marker().to_string_lossy())?;
            println!("{}", serde_json::to_string(&look)?);
            Ok(ExitCode::SUCCESS)
        }
        Some(("apart", flags)) => {
            unshare(CloneFlags::from_bits_retain(flags.parse()?)).context("unshare")?;
            println!("apart");
            loop {
                nix::unistd::pause();
            }
        }
        Some(("user", ids)) => become_user(ids, rest),
        _ => bail!("no stage {name:?}"),
    }
}

/// Becomes a program, as an ordinary user of a user namespace that maps no other.
fn become_user(ids: &str, program: &[OsString]) -> Result<ExitCode> {
    let (uid, gid) = ids.split_once(':').context("two ids")?;
    unshare(CloneFlags::CLONE_NEWUSER).context("unshare CLONE_NEWUSER")?;
    map_ids(&format!("{uid} 0 1"), &format!("{gid} 0 1"))?;
    let (program, arguments) = program.split_first().context("no program")?;
    // Its capabilities end here: whoever is not root has none after exec.
    Err(Command::new(program).args(arguments).env_remove("LAB_PLAN").exec()).context("cannot run the program")
}

pub(crate) fn map_ids(users: &str, groups: &str) -> Result<()> {
    // setgroups first: the kernel lets nobody write gid_map who could still drop a group that denies him something.
    fs::write("/proc/self/setgroups", "deny").context("write /proc/self/setgroups")?;
    fs::write("/proc/self/uid_map", users).context("write /proc/self/uid_map")?;
    fs::write("/proc/self/gid_map", groups).context("write /proc/self/gid_map")
}

/// Makes the namespaces, becomes root in them, and starts their first process.
fn outer(plan: &str) -> Result<ExitCode> {
    sys::listen_to_every_signal();
    let (uid, gid) = (geteuid(), getegid());
    let all = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET;
    unshare(all).context("this machine forbids user namespaces (`lab doctor` says why): unshare CLONE_NEWUSER")?;
    map_ids(&format!("0 {uid} 1"), &format!("0 {gid} 1"))?;
    let output = stage("first", plan)?.wait_with_output().context("cannot wait for pid 1")?;
    std::io::stdout().write_all(&output.stdout)?;
    std::io::stderr().write_all(&output.stderr)?;
    Ok(if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pid 1: prepares the scene, asks, and tells.
fn first(plan: &Plan) -> Result<ExitCode> {
    ensure!(getpid().as_raw() == 1, "refused: not the first process of a pid namespace");
    ensure!(namespace("mnt")? != plan.forbidden, "refused: this is the host's mount namespace");
    bound()?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make / private")?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    // The reader's own files are visible here, and a wrong answer may remove or fill what it can write to.
    sys::make_all_read_only().context("mount_setattr / read-only (needs Linux 5.12)")?;
    mount(Some("proc"), "/proc", Some("proc"), quiet | MsFlags::MS_NOEXEC, none).context("mount proc on /proc")?;
    mount(Some("tmpfs"), &plan.scratch, Some("tmpfs"), quiet, Some("size=64m,mode=0755")).context("mount tmpfs")?;
    let verdict = plan.ask()?;
    println!("{}", serde_json::to_string(&verdict)?);
    Ok(ExitCode::SUCCESS)
}

/// Bounds that the reader's program inherits.
fn bound() -> Result<()> {
    // Should memory run out all the same, the kernel shall end us and not whoever checks.
    fs::write("/proc/self/oom_score_adj", "1000").context("write /proc/self/oom_score_adj")?;
    let bounds = [
        (Resource::RLIMIT_CPU, 10),
        (Resource::RLIMIT_AS, 2 << 30),
        (Resource::RLIMIT_NPROC, 128),
        // Also so that what a check finds does not depend on whose shell it was started from.
        (Resource::RLIMIT_NOFILE, 1024),
        (Resource::RLIMIT_FSIZE, 64 << 20),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, most) in bounds {
        setrlimit(resource, most, most).with_context(|| format!("setrlimit {resource:?}"))?;
    }
    Ok(())
}
