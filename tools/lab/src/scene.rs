//! What a question has at hand: an empty root, a program that reports from inside, random names, and the reader's program
//! to run. All of it lies inside the namespaces that the harness made.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::observation::Look;
use crate::sandbox::{self, Plan};
use crate::verdict::{Stop, wrong};

/// The longest that one run of the reader's program may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How much of what it prints is read, in bytes.
const MOST: u64 = 1 << 20;

/// The scene of one check.
#[derive(Debug)]
pub struct Scene {
    plan: Plan,
    state: Cell<u64>,
}

/// A run of the reader's program that is over.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub out: String,
    /// What it said on standard error.
    pub err: String,
}

impl Ran {
    /// How it ended and what it said, for a message.
    pub fn told(&self) -> String {
        let said = telling_lines(&self.err);
        if said.is_empty() { self.status.to_string() } else { format!("{}\n{said}", self.status) }
    }

    /// Its last line of output that says something.
    pub fn line(&self) -> &str {
        self.out.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
    }
}

/// The probe, alive inside what the reader's program made, with what it reported.
#[derive(Debug)]
pub struct Live {
    child: Child,
    /// The report, as `tools/probe` prints it.
    pub report: serde_json::Value,
    /// Its number, as we see it.
    pub pid: u32,
}

impl Live {
    /// The number of the reader's program.
    pub fn parent(&self) -> u32 {
        self.child.id()
    }

    /// How the reader's program ended, if it has.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for the program")
    }

    /// A file of `/proc/PID` of the probe, as we see it.
    ///
    /// # Errors
    /// It is gone.
    pub fn proc(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }

    /// Lets the probe go on, and waits for the reader's program.
    ///
    /// # Errors
    /// It does not end.
    pub fn finish(mut self) -> Result<ExitStatus, Stop> {
        drop(self.child.stdin.take());
        wait(&mut self.child)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Over already, or about to be: pid 1's end takes the rest.
        let _ = self.child.kill();
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.pid.cast_signed()),
            nix::sys::signal::Signal::SIGKILL,
        );
        let _ = self.child.wait();
    }
}

/// A process in namespaces of its own, for the reader's program to enter.
#[derive(Debug)]
pub struct Apart(Child);

impl Apart {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // pid 1's end takes it with it in any case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scene {
    /// Furnishes the plan's scratch directory.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn furnish(plan: Plan) -> Result<Self> {
        let scene = Self { state: Cell::new(plan.seed), plan };
        for directory in ["proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(scene.root().join(directory)).context("cannot furnish the root")?;
        }
        scene.place_probe(&scene.root())?;
        scene.place_probe(&scene.plan.scratch)?;
        fs::write(scene.plan.marker(), "You should not be able to read this.\n").context("cannot write the marker")?;
        Ok(scene)
    }

    fn place_probe(&self, directory: &Path) -> Result<()> {
        let program = directory.join(&self.plan.name);
        fs::write(&program, probe::PROBE).context("cannot write the reporting program")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context("cannot make it executable")
    }

    /// An empty root: the probe, and directories that a container expects.
    pub fn root(&self) -> PathBuf {
        self.plan.scratch.join("root")
    }

    /// A directory for files of the question; a tmpfs that goes with the scene.
    pub fn scratch(&self) -> &Path {
        &self.plan.scratch
    }

    /// A file of the host that no container should reach.
    pub fn marker(&self) -> PathBuf {
        self.plan.marker()
    }

    /// The probe's path in [`Scene::root`].
    pub fn probe(&self) -> String {
        format!("/{}", self.plan.name)
    }

    /// The probe's path outside.
    pub fn probe_outside(&self) -> PathBuf {
        self.plan.scratch.join(&self.plan.name)
    }

    /// A number from `low` to `high`, other in every check.
    pub fn number(&self, low: u64, high: u64) -> u64 {
        // splitmix64: more than random enough for names.
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (mixed ^ (mixed >> 31)) % (high - low + 1)
    }

    /// A name of eight letters, other in every check.
    pub fn name(&self) -> String {
        (0..8).map(|_| char::from(b'a' + self.number(0, 25) as u8)).collect()
    }

    /// One of several.
    pub fn one_of<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.number(0, all.len() as u64 - 1) as usize]
    }

    /// The reader's program.
    pub fn program(&self) -> Command {
        let mut command = Command::new(&self.plan.program);
        command.env_remove("LAB_PLAN").env("RUST_BACKTRACE", "0").envs(self.plan.environment.clone());
        // Whatever it leaves lying about goes with the tmpfs.
        command.env("TMPDIR", &self.plan.scratch);
        command
    }

    /// The reader's program, started by an ordinary user with these ids, in a user namespace that knows no others.
    pub fn as_user(&self, uid: u64, gid: u64) -> Command {
        let program = self.program();
        let mut command = Command::new("/proc/self/exe");
        command.args(["inside", &format!("user:{uid}:{gid}")]).arg(program.get_program());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("LAB_PLAN", serde_json::to_string(&self.plan).unwrap_or_default());
        command
    }

    /// A process that has left these namespaces for new ones, and waits.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn apart(&self, flags: nix::sched::CloneFlags) -> Result<Apart> {
        let plan = serde_json::to_string(&self.plan)?;
        let mut child = sandbox::stage(&format!("apart:{}", flags.bits()), &plan)?;
        let mut line = String::new();
        let output = child.stdout.take().context("no standard output")?;
        BufReader::new(output).read_line(&mut line).context("cannot hear from the other process")?;
        match line.trim() == "apart" {
            true => Ok(Apart(child)),
            false => bail!("the other process did not start: {:?}", child.wait_with_output()),
        }
    }

    /// Runs to the end, with nothing on standard input.
    ///
    /// # Errors
    /// The exercise's function is not written, or the program does not end.
    pub fn run(&self, command: &mut Command) -> Result<Ran, Stop> {
        self.run_with(command, "")
    }

    /// The same, with something on standard input.
    ///
    /// # Errors
    /// As for [`Scene::run`].
    pub fn run_with(&self, command: &mut Command, input: &str) -> Result<Ran, Stop> {
        // Files and not pipes: nobody has to read while we wait.
        let [out, err, fed] = ["out", "err", "in"].map(|name| self.plan.scratch.join(format!(".{name}")));
        fs::write(&fed, input).context("cannot write the input")?;
        let file = |path: &Path| fs::File::create(path).context("cannot make a file for the output");
        command.stdin(fs::File::open(&fed).context("cannot open the input")?).stdout(file(&out)?).stderr(file(&err)?);
        let mut child = command.spawn().context("cannot run the program")?;
        let status = wait(&mut child);
        let ran = Ran { status: status.as_ref().copied().unwrap_or_default(), out: read(&out)?, err: read(&err)? };
        self.refuse_unwritten(&ran.err, &ran.status.to_string())?;
        status.map(|_| ran)
    }

    /// Starts it, and waits for the report of the probe that it is to run with `--hold`.
    ///
    /// # Errors
    /// The exercise's function is not written, or no probe lives.
    pub fn start(&self, command: &mut Command) -> Result<Live, Stop> {
        let err = self.plan.scratch.join(".err");
        let errors = fs::File::create(&err).context("cannot make a file for the errors")?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().context("cannot run the program")?;
        let mut line = String::new();
        let output = child.stdout.take().context("no standard output")?.take(MOST);
        BufReader::new(output).read_line(&mut line).context("cannot read the report")?;
        if line.starts_with('{') {
            let report: serde_json::Value = serde_json::from_str(&line).context("the probe's report is cut off")?;
            if let Some(pid) = find(&self.plan.name)
                && let Ok(ours) = fs::metadata(format!("/proc/{pid}/ns/mnt"))
            {
                // The probe's own word, held against ours: else something else than the probe answered.
                if report["namespaces"]["mnt"].as_u64().is_some_and(|theirs| theirs != ours.ino()) {
                    return Err(anyhow::anyhow!("the report is not the probe's").into());
                }
                return Ok(Live { child, report, pid });
            }
            // It spoke, and then somebody ended it: the reader's program is about to say why.
        }
        let status = wait(&mut child)?;
        let said = read(&err)?;
        self.refuse_unwritten(&said, &status.to_string())?;
        let ran = Ran { status, out: line, err: said };
        let number = self.plan.number;
        Err(wrong(
            "your container never came up",
            "a process that runs the command",
            ran.told(),
            &format!("its init stopped before it became the command (chapter {number}, \"The code\")"),
        ))
    }

    /// Waits for the reader's program, which somebody has just sent a signal. The probe is not asked to end.
    ///
    /// # Errors
    /// It does not end, or the exercise's function is not written.
    pub fn after_signal(&self, mut live: Live) -> Result<Ran, Stop> {
        let kept = live.child.stdin.take();
        let status = wait(&mut live.child)?;
        drop(kept);
        let err = read(&self.plan.scratch.join(".err"))?;
        self.refuse_unwritten(&err, &status.to_string())?;
        Ok(Ran { status, out: String::new(), err })
    }

    /// What somebody finds who steps into the mount namespace of `pid`. From a process of its own, because whoever
    /// enters a mount namespace does not come back.
    ///
    /// # Errors
    /// It cannot be entered.
    pub fn look(&self, pid: u32) -> Result<Look> {
        let child = sandbox::stage(&format!("look:{pid}"), &serde_json::to_string(&self.plan)?)?;
        let output = child.wait_with_output().context("cannot wait for the look")?;
        let told = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("cannot look into the container: {}", told.trim()))
    }

    fn refuse_unwritten(&self, errors: &str, how: &str) -> Result<(), Stop> {
        let found = || format!("{how}\n{}", telling_lines(errors));
        if errors.contains(&self.plan.unwritten) {
            let because = format!("`todo!()` still stands in {} (chapter {})", self.plan.source, self.plan.number);
            return Err(wrong("your function is not written yet", "a function that returns", found(), &because));
        }
        // Another exercise's.
        if errors.contains("not yet implemented: ") && errors.contains(": see chapter ") {
            let because = "this exercise calls a function that another one asks for: `lab list` shows the order";
            return Err(wrong(
                "a function before this one is not written yet",
                "a function that returns",
                found(),
                because,
            ));
        }
        Ok(())
    }
}

fn wait(child: &mut Child) -> Result<ExitStatus, Stop> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the program")? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            child.kill().context("cannot end the program")?;
            child.wait().context("cannot wait for the program")?;
            return Err(too_long());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// What is said of a program that does not end.
pub fn too_long() -> Stop {
    let seconds = PATIENCE.as_secs();
    let because =
        "something waits for what never comes, or a loop never ends; it was ended, and all that it had started";
    wrong("your program does not end", format!("an end within {seconds} s"), "none", because)
}

fn read(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(MOST).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of an error output that tell something: no backtraces, at most six.
fn telling_lines(errors: &str) -> String {
    let lines = errors.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("note: run with"));
    lines.take(6).collect::<Vec<_>>().join("\n")
}

/// The process whose program has the random name.
fn find(name: &str) -> Option<u32> {
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        // One that has ended and that nobody reaped has still a name, and no namespaces.
        let named = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
        named && fs::metadata(format!("/proc/{pid}/ns/mnt")).is_ok()
    };
    pids.into_iter().find(is_it)
}

/// Writes a file of the scene, with the directories that it needs.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let mut file = fs::File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| format!("chmod {}", path.display()))
}
