//! The engine that holds the submissions: `cooper`, called as anybody calls it.
//!
//! A container gets what compiling and the harness need, and no more: the machine's programs and the Rust toolchain, read-only; a
//! directory in memory of bounded size; user namespaces of its own. It runs as an ordinary user without capabilities. Since
//! the harness mounts a `/proc` of its own in them, and the kernel allows that only where `/proc` is not covered, nothing of it
//! is masked: an ordinary user can change nothing there.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::ground::Ground;

/// The ordinary user inside, where the grader is root: nobody on any machine.
const NOBODY: u32 = 64_321;
/// How much of what a container says is read, in bytes.
const MOST: u64 = 8 << 20;
/// How long an ended container may take to be gone.
const GRACE: Duration = Duration::from_secs(30);
/// A processor's worth of compiler, and the largest of what readers' programs may take.
const MEMORY: &str = "3g";
/// What a submission may write, in memory.
const DISK: &str = "1g";

/// What an ordinary user may ask the kernel for, less what nobody needs to compile or to learn.
const SECCOMP: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO", "errnoRet": 1, "names": [
    "add_key", "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl",
    "perf_event_open", "request_key", "userfaultfd"]}]}
"#;

/// What bounds a container's memory, processes and processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bounds {
    /// Control groups: all processes of a container together.
    Groups,
    /// Each process by itself, where no control groups can be had: weaker, since many small ones can still be much.
    Processes,
}

impl Bounds {
    /// What the engine is told.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Groups => &["--memory", MEMORY, "--memory-swap", MEMORY, "--pids-limit", "512", "--cpus", "1"],
            Self::Processes => &["--ulimit", "nproc=512", "--ulimit", "as=4294967296", "--ulimit", "cpu=300"],
        }
    }
}

/// How to call the engine.
#[derive(Debug)]
pub struct Engine {
    program: PathBuf,
    root: PathBuf,
    bounds: Bounds,
    /// Held as long as this engine is.
    _alone: File,
}

/// What a container is for.
#[derive(Debug)]
pub enum Purpose<'a> {
    /// Build what all have in common.
    Prepare {
        /// Where it lies.
        ground: &'a Ground,
        /// Words for cargo.
        build: Vec<String>,
    },
    /// Grade a submission.
    Grade {
        /// What it has in common with the others.
        ground: &'a Ground,
        /// Where its files lie.
        submission: &'a Path,
        /// The plan for the program inside.
        plan: String,
    },
}

/// A container that is over.
#[derive(Debug)]
pub struct Ran {
    /// What it printed.
    pub out: String,
    err: String,
    status: Option<ExitStatus>,
    patience: Duration,
}

impl Ran {
    /// Whether its command ended well.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Why it is over, for people.
    pub fn why(&self) -> String {
        // The last lines: compilers and engines say there what stopped them.
        let lines: Vec<&str> = self.err.lines().filter(|line| !line.trim().is_empty()).collect();
        let said = lines[lines.len().saturating_sub(12)..].join("\n");
        match self.status {
            None => format!("its container was ended after {} s", self.patience.as_secs()),
            Some(status) if status.code() == Some(137) => {
                format!("its container was killed: more than {MEMORY} of memory\n{said}").trim_end().to_owned()
            }
            Some(status) => format!("its container ended with {status}\n{said}").trim_end().to_owned(),
        }
    }
}

impl Engine {
    /// The engine `program`, which keeps everything of its own below `root`.
    ///
    /// # Errors
    /// There is no such program, `root` cannot be made, somebody else grades there, or containers cannot be bounded so.
    pub fn new(program: PathBuf, root: PathBuf, bounds: Bounds) -> Result<Self> {
        ensure!(
            program.is_file(),
            "no engine at {}: `cargo build -p cooper`, or name one with --engine",
            program.display()
        );
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let alone = File::create(root.join("grade.lock")).context("cannot make a lock")?;
        alone.try_lock().with_context(|| format!("another `lab grade` works in {}", root.display()))?;
        let engine = Self { program, root, bounds, _alone: alone };
        fs::write(engine.seccomp(), SECCOMP).context("cannot write the seccomp profile")?;
        // What an earlier run that was killed has left.
        engine.clear()?;
        engine.try_bounds()?;
        Ok(engine)
    }

    /// Removes every container of this root.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn clear(&self) -> Result<()> {
        let listed = self.cooper().args(["ps", "--all", "--quiet"]).output().context("cannot run the engine")?;
        for id in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            self.remove(id)?;
        }
        Ok(())
    }

    /// Gives a directory and what is below it to the user inside.
    ///
    /// # Errors
    /// chown(2) fails.
    pub fn admit(&self, directory: &Path) -> Result<()> {
        let user = self.user();
        if user == 0 {
            return Ok(());
        }
        let about =
            fs::symlink_metadata(directory).with_context(|| format!("cannot look at {}", directory.display()))?;
        if about.uid() != user {
            std::os::unix::fs::lchown(directory, Some(user), Some(user)).context("cannot hand over a directory")?;
        }
        // What was built there belongs to that user already.
        if about.is_dir() && !directory.ends_with("target") {
            for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
                self.admit(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Runs a container to its end, or ends it when the time is over.
    ///
    /// # Errors
    /// The engine cannot be called, or what is left of a container cannot be removed.
    pub fn run(&self, name: &str, purpose: &Purpose<'_>, patience: Duration) -> Result<Ran> {
        let mut command = self.cooper();
        command.args(["run", "--rm", "--name", name, "--network", "none", "--read-only", "--cap-drop", "ALL"]);
        command.args(["--init", "--user", &format!("{0}:{0}", self.user())]);
        if self.user() == 0 {
            // The harness makes user namespaces with a root of their own. To map that to root here takes this one capability
            // (user_namespaces(7), since Linux 5.12). It gains nothing else: without new privileges no file's capabilities count.
            command.args(["--cap-add", "SETFCAP"]);
        }
        command.args(["--security-opt", "no-new-privileges", "--security-opt", "unmask=ALL"]);
        command.arg("--security-opt").arg(format!("seccomp={}", self.seccomp().display()));
        self.furnish(&mut command, purpose)?;
        self.bound(&mut command, purpose);
        command.arg("hello");
        match purpose {
            Purpose::Prepare { build, .. } => command.arg("cargo").args(build),
            Purpose::Grade { .. } => command.args(["/lab", "inside", "grade"]),
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        self.wait(name, child.with_context(|| format!("cannot run {}", self.program.display()))?, patience)
    }

    /// Runs a container with the bounds that submissions get, to learn before anything is built whether they can be had.
    fn try_bounds(&self) -> Result<()> {
        let mut command = self.cooper();
        command.args(["run", "--rm", "--network", "none"]).args(self.bounds.words()).arg("hello");
        let output = command.output().with_context(|| format!("cannot run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let help = match self.bounds {
            Bounds::Groups => "; `--bounds processes` does with less: it bounds each process by itself",
            Bounds::Processes => "",
        };
        ensure!(output.status.success(), "submissions cannot be held: {}{help}", said.trim());
        Ok(())
    }

    /// What a container sees of the machine.
    fn furnish(&self, command: &mut Command, purpose: &Purpose<'_>) -> Result<()> {
        let mut see = |from: &Path, to: &str, how: &str| {
            command.arg("--volume").arg(format!("{}:{to}:{how}", from.display()));
        };
        for directory in ["/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", "/etc/ld.so.cache"] {
            if Path::new(directory).exists() {
                see(Path::new(directory), directory, "ro");
            }
        }
        see(&toolchain()?, "/toolchain", "ro");
        match purpose {
            Purpose::Prepare { ground, .. } => {
                see(&ground.dependencies(), "/vendor", "ro");
                see(&ground.house(), "/cooper", "rw");
            }
            Purpose::Grade { ground, submission, .. } => {
                see(&ground.dependencies(), "/vendor", "ro");
                see(&ground.house(), "/house", "ro");
                see(submission, "/submission", "ro");
                see(&std::env::current_exe().context("cannot find this program")?, "/lab", "ro");
                // Where both are laid over each other.
                command.args(["--tmpfs", "/cooper:size=64k"]);
            }
        }
        command.args(["--tmpfs", &format!("/work:exec,mode=1777,size={DISK}"), "--workdir", "/cooper"]);
        let environment = [
            ("PATH", "/toolchain/bin:/usr/local/bin:/usr/bin:/bin"),
            ("HOME", "/work"),
            ("CARGO_HOME", "/work/cargo"),
            ("TMPDIR", "/work"),
            ("LANG", "C.UTF-8"),
            // Smaller programs, and nothing for a second compilation, which there will not be.
            ("CARGO_PROFILE_DEV_DEBUG", "false"),
            ("CARGO_INCREMENTAL", "0"),
        ];
        for (name, value) in environment {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        if let Purpose::Grade { plan, .. } = purpose {
            command.arg("--env").arg(format!("LAB_GRADE={plan}"));
        }
        Ok(())
    }

    fn bound(&self, command: &mut Command, purpose: &Purpose<'_>) {
        command.args(["--ulimit", "core=0", "--ulimit", "nofile=4096"]);
        // What all have in common is the grader's own, and may use the whole machine.
        if let Purpose::Prepare { .. } = purpose {
            return;
        }
        command.args(self.bounds.words());
    }

    fn wait(&self, name: &str, mut child: Child, patience: Duration) -> Result<Ran> {
        let begun = Instant::now();
        let (out, err) = (child.stdout.take().context("no output")?, child.stderr.take().context("no output")?);
        let [out, err] = [Box::new(out) as Box<dyn Read + Send>, Box::new(err)]
            .map(|stream| std::thread::spawn(move || listen(stream)));
        let mut status = None;
        while begun.elapsed() < patience && status.is_none() {
            std::thread::sleep(Duration::from_millis(20));
            status = child.try_wait().context("cannot wait for the engine")?;
        }
        if status.is_none() {
            self.remove(name)?;
            let deadline = Instant::now() + GRACE;
            while child.try_wait().context("cannot wait for the engine")?.is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            // Gone already, as a rule.
            let _ = child.kill();
            child.wait().context("cannot wait for the engine")?;
        }
        let [out, err] = [out, err].map(|heard| heard.join().unwrap_or_default());
        Ok(Ran { out, err, status, patience })
    }

    fn remove(&self, name: &str) -> Result<()> {
        let output = self.cooper().args(["rm", "--force", name]).output().context("cannot run the engine")?;
        let said = String::from_utf8_lossy(&output.stderr);
        // It may have ended by itself meanwhile.
        ensure!(output.status.success() || said.to_lowercase().contains("no such container"), "{}", said.trim());
        Ok(())
    }

    fn cooper(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).env_remove("COOPER_ROOT");
        command
    }

    fn seccomp(&self) -> PathBuf {
        self.root.join("grade-seccomp.json")
    }

    /// The user inside. An ordinary grader's containers have root for that: it is the grader, and root nowhere else.
    fn user(&self) -> u32 {
        if nix::unistd::geteuid().is_root() { NOBODY } else { 0 }
    }
}

/// Reads all, and keeps what fits: whoever stops reading stops the writer.
fn listen(mut stream: impl Read) -> String {
    let mut kept = Vec::new();
    // A stream that breaks has said what it had to say.
    let _ = stream.by_ref().take(MOST).read_to_end(&mut kept);
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// Where the Rust toolchain lies.
fn toolchain() -> Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().context("cannot run rustc")?;
    ensure!(output.status.success(), "rustc names no directory: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
