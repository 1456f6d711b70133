//! The built binaries, as a user meets them: a program on the path, a root of its own, an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};

use crate::house::House;
use crate::leaks::Snapshot;

/// The directory with the binaries of this build.
///
/// # Errors
/// The test runs from an unusual place.
pub fn binaries() -> Result<PathBuf> {
    let mut directory = std::env::current_exe().context("cannot find the test's own program")?;
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    Ok(directory)
}

/// Builds a program of the workspace once more, so that a test of the `tests` package never sees an old one, and gives
/// its path.
///
/// `cargo test --workspace` has built it already and this costs a fraction of a second; `cargo test -p tests` has not. The whole
/// workspace is named for that: one package alone asks less of its dependencies, and they would be compiled a second time.
///
/// # Errors
/// The build failed.
pub fn program(name: &str) -> Result<PathBuf> {
    let house = House::here()?;
    let directory = binaries()?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--workspace", "--bin", name]).current_dir(house.root());
    // DIR/debug -> DIR: the same target directory, the same profile.
    cargo.arg("--target-dir").arg(directory.parent().context("no target directory")?);
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo build --bin {name} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(directory.join(name))
}

/// What a finished command said, all in one place, for assertions and their messages.
#[derive(Debug, Clone)]
pub struct Said {
    /// The exit code; 128 + n for a signal.
    pub code: i32,
    /// Standard output, with line ends as they were.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    fn from(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The output of a command that had to succeed.
    ///
    /// # Panics
    /// It did not; both streams are shown.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0, "exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.out, self.err);
        self.out
    }

    /// The error output of a command that had to fail with `code`.
    ///
    /// # Panics
    /// It ended otherwise.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert!(
            self.code == code,
            "exit code {}, not {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.out,
            self.err
        );
        self.err
    }
}

/// Runs any command to its end.
///
/// # Errors
/// It could not be started.
pub fn run(command: &mut Command) -> Result<Said> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    Ok(Said::from(&output))
}

/// As whom `cooper` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the test.
    Caller,
    /// The ordinary user `learner`; the test itself must run as root to become that user.
    Learner,
}

/// One engine at a time: the leak check of one test must not see the containers of another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// `cooper` with a root of its own, and a picture of the kernel from before.
#[derive(Debug)]
pub struct Cooper {
    program: PathBuf,
    directory: tempfile::TempDir,
    who: Who,
    before: Snapshot,
    _alone: MutexGuard<'static, ()>,
}

impl Cooper {
    /// Builds `cooper` if need be, copies it to where `who` may run it, and gives it an empty root.
    ///
    /// # Errors
    /// The build failed, or there is no room for a root.
    pub fn new(who: Who) -> Result<Self> {
        Self::of(&self::program("cooper")?, who)
    }

    /// Copies a `cooper` that somebody else built to where `who` may run it, and gives it an empty root.
    ///
    /// # Errors
    /// There is no such program, or no room for a root.
    pub fn of(built: &Path, who: Who) -> Result<Self> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::Builder::new().prefix("cooper-test-").tempdir().context("no temporary directory")?;
        let program = directory.path().join("cooper");
        process::needs::copy_program(built, &program);
        fs::create_dir(directory.path().join("root")).context("cannot make a root")?;
        fs::create_dir(directory.path().join("work")).context("cannot make a directory to work in")?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).context("chmod")?;
        if who == Who::Learner {
            let owner =
                Command::new("chown").args(["-R", "learner:"]).arg(directory.path()).status().context("chown")?;
            anyhow::ensure!(owner.success(), "cannot give the root to learner");
        }
        Ok(Self { program, directory, who, before: Snapshot::take(), _alone: alone })
    }

    /// The engine's root directory.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A directory to keep files of the test in; commands start there.
    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// A command that can still be changed: environment, directory, streams.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.who {
            Who::Caller => Command::new(&self.program),
            Who::Learner => {
                let mut command = Command::new("runuser");
                command.args(["-u", "learner", "--"]).arg(&self.program);
                command
            }
        };
        command.env("COOPER_ROOT", self.root()).env_remove("XDG_RUNTIME_DIR").current_dir(self.work()).args(arguments);
        command
    }

    /// Runs `cooper ARGUMENTS` to its end.
    ///
    /// # Panics
    /// It could not be started.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Writes a file into the working directory.
    ///
    /// # Panics
    /// It cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        let path = self.work().join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        made.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Waits until what has ended has gone: a monitor outlives its container by a moment.
    ///
    /// # Panics
    /// Something is left in the kernel.
    #[track_caller]
    pub fn settle(&self) {
        self.before.assert_unchanged();
    }

    /// Ends a test: removes what it made, and looks for what is left.
    ///
    /// # Panics
    /// A container cannot be removed, or something is left in the kernel.
    pub fn finish(self) {
        self.tidy();
        self.settle();
    }

    fn tidy(&self) {
        for id in self.run(&["ps", "-aq"]).out.split_whitespace() {
            self.run(&["rm", "-f", id]);
        }
        self.run(&["system", "prune", "-f"]);
    }
}

impl Drop for Cooper {
    /// Also a test that failed leaves nothing behind for the next.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tidy();
        }
    }
}
