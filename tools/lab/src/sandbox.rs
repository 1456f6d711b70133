//! A reader's program runs here: in a user, mount, pid, ipc, uts and network namespace that the harness made.
//!
//! A wrong answer must not hurt the machine. Three processes see to that:
//!
//! ```text
//! lab check ─── lab (unshares, maps itself to root) ─── lab (pid 1 inside) ─── the reader's program
//!    │                        │                                │
//!    └ waits, bounded         └ dies with its parent           └ its death kills everything inside
//! ```
//!
//! The kernel itself cleans up: when pid 1 of a pid namespace ends, so does everything in it, and with the last process go the
//! mounts. The bounds are on time, memory, processes and file sizes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
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

use crate::observation::{self, Look, Observation};

/// The longest that a check may take after its program was built.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What to run, and what to run it against. Plain data: it travels to the processes inside as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The reader's program.
    pub program: PathBuf,
    /// Its arguments, with `{root}` and `{probe}` in them.
    pub arguments: Vec<String>,
    /// An empty directory of the host; inside, a tmpfs covers it.
    pub scratch: PathBuf,
    /// A random name, so that nothing can be hard-coded: the marker's, and the reporting program's.
    pub name: String,
    /// The mount namespace of whoever asks. To run in that one is refused.
    pub forbidden: u64,
}

impl Plan {
    /// A plan for `program`, with fresh random names.
    ///
    /// # Errors
    /// This build has no static program to report from inside, or the kernel gives no random bytes.
    pub fn new(program: PathBuf, arguments: Vec<String>, scratch: &Path) -> Result<Self> {
        ensure!(
            probe::IS_STATIC,
            "this machine has no static libc, so nothing can report from an empty root: install libc6-dev"
        );
        let mut bytes = [0; 5];
        getrandom::fill(&mut bytes).context("no random bytes")?;
        let name = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let forbidden = namespace("mnt")?;
        Ok(Self { program, arguments, scratch: scratch.to_owned(), name: format!("r{name}"), forbidden })
    }

    /// Runs the plan and gives back what was seen.
    ///
    /// # Errors
    /// The harness itself failed: no user namespaces, or no time left.
    pub fn run(&self) -> Result<Observation> {
        let plan = serde_json::to_string(self)?;
        let mut outer = stage("outer", &plan)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if outer.try_wait().context("cannot wait for the harness")?.is_some() {
                break;
            }
            if Instant::now() > deadline {
                // Its child, pid 1 inside, dies with it, and everything inside with that.
                outer.kill().context("cannot end the harness")?;
                outer.wait().context("cannot wait for the harness")?;
                bail!("no answer after {} s: the container was ended", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = outer.wait_with_output().context("cannot read from the harness")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let answer = text.lines().last().unwrap_or_default();
        match serde_json::from_str(answer) {
            Ok(seen) => Ok(seen),
            Err(_) => bail!("{}", String::from_utf8_lossy(&output.stderr).trim()),
        }
    }
}

/// The process's own namespace of a kind, as an inode number.
fn namespace(kind: &str) -> Result<u64> {
    namespace_of("self", kind)
}

fn namespace_of(process: &str, kind: &str) -> Result<u64> {
    let path = format!("/proc/{process}/ns/{kind}");
    Ok(fs::metadata(&path).with_context(|| format!("cannot open {path}"))?.ino())
}

fn stage(name: &str, plan: &str) -> Result<Child> {
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
pub fn inside(name: &str) -> Result<ExitCode> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("prctl PR_SET_PDEATHSIG")?;
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
        _ => bail!("no stage {name:?}"),
    }
}

/// Makes the namespaces, becomes root in them, and starts their first process.
fn outer(plan: &str) -> Result<ExitCode> {
    let (uid, gid) = (geteuid(), getegid());
    let all = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET;
    unshare(all).context("this machine forbids user namespaces (`lab doctor` says why): unshare CLONE_NEWUSER")?;
    // setgroups first: the kernel lets nobody write gid_map who could still drop a group that denies him something.
    fs::write("/proc/self/setgroups", "deny").context("write /proc/self/setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("write /proc/self/uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("write /proc/self/gid_map")?;
    let output = stage("first", plan)?.wait_with_output().context("cannot wait for pid 1")?;
    std::io::stdout().write_all(&output.stdout)?;
    std::io::stderr().write_all(&output.stderr)?;
    Ok(if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pid 1: prepares the scene, runs the reader's program, looks, and tells.
fn first(plan: &Plan) -> Result<ExitCode> {
    ensure!(getpid().as_raw() == 1, "refused: not the first process of a pid namespace");
    ensure!(namespace("mnt")? != plan.forbidden, "refused: this is the host's mount namespace");
    bound()?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make / private")?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("proc"), "/proc", Some("proc"), quiet | MsFlags::MS_NOEXEC, none).context("mount proc on /proc")?;
    mount(Some("tmpfs"), &plan.scratch, Some("tmpfs"), quiet, Some("size=64m,mode=0755")).context("mount tmpfs")?;
    plan.furnish()?;
    let seen = plan.observe()?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(ExitCode::SUCCESS)
}

/// Bounds that the reader's program inherits.
fn bound() -> Result<()> {
    let bounds = [
        (Resource::RLIMIT_CPU, 10),
        (Resource::RLIMIT_AS, 2 << 30),
        (Resource::RLIMIT_NPROC, 128),
        (Resource::RLIMIT_FSIZE, 64 << 20),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, most) in bounds {
        setrlimit(resource, most, most).with_context(|| format!("setrlimit {resource:?}"))?;
    }
    Ok(())
}

impl Plan {
    fn marker(&self) -> PathBuf {
        self.scratch.join(format!("{}.host", self.name))
    }

    fn root(&self) -> PathBuf {
        self.scratch.join("root")
    }

    /// A root with nothing but the reporting program and the directories that a container expects; beside it the marker.
    fn furnish(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        for directory in ["proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(self.root().join(directory)).context("cannot furnish the root")?;
        }
        let program = self.root().join(&self.name);
        fs::write(&program, probe::PROBE).context("cannot write the reporting program")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context("cannot make it executable")?;
        fs::write(self.marker(), "You should not be able to read this.\n").context("cannot write the marker")
    }

    fn observe(&self) -> Result<Observation> {
        let mut seen = Observation { host_root: observation::own_root()?, ..Observation::default() };
        let fill = |argument: &String| {
            argument.replace("{root}", &self.root().to_string_lossy()).replace("{probe}", &format!("/{}", self.name))
        };
        let mut command = Command::new(&self.program);
        command.args(self.arguments.iter().map(fill)).env_remove("LAB_PLAN").env("RUST_BACKTRACE", "0");
        // Whatever it leaves lying about goes with the tmpfs.
        command.env("TMPDIR", &self.scratch);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        let mut report = String::new();
        let output = child.stdout.take().context("no standard output")?.take(1 << 20);
        BufReader::new(output).read_line(&mut report).context("cannot read the report")?;
        if report.starts_with('{') {
            let report: serde_json::Value = serde_json::from_str(&report).context("the probe's report is cut off")?;
            let pid = find(&self.name)?;
            // The probe's own word, held against ours: else something else than the probe answered.
            let theirs = report["namespaces"]["mnt"].as_u64();
            ensure!(theirs == Some(namespace_of(&pid.to_string(), "mnt")?), "the report is not the probe's");
            seen.inside = lines(&format!("/proc/{pid}/mountinfo"))?;
            let look = self.look(pid)?;
            seen.namespace = look.mounts;
            seen.marker_reachable = look.marker_reachable;
            return Ok(seen);
        }
        let mut errors = Vec::new();
        child
            .stderr
            .take()
            .context("no standard error")?
            .take(8 << 10)
            .read_to_end(&mut errors)
            .context("cannot read its errors")?;
        seen.errors = String::from_utf8_lossy(&errors).into_owned();
        seen.ended = Some(format!("the program ended: {}", child.wait().context("cannot wait for it")?));
        Ok(seen)
    }

    /// Looks from a process of its own, because whoever enters a mount namespace does not come back.
    fn look(&self, pid: u32) -> Result<Look> {
        let child = stage(&format!("look:{pid}"), &serde_json::to_string(self)?)?;
        let output = child.wait_with_output().context("cannot wait for the look")?;
        let told = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cannot look into the container: {}", told.trim()))
    }
}

fn lines(path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The process whose program has the random name.
fn find(name: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc").context("cannot list /proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name) {
            return Ok(pid);
        }
    }
    bail!("the reporting program said that it lives, but /proc does not show it")
}
