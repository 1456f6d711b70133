//! A reader: the ordinary user `learner`, with the Rust toolchain, a checkout of Cooper and a desk to work at.
//!
//! The toolchain, what cargo has fetched and the checkout are those of whoever runs the test. They often lie where no other
//! user may look, so a mount namespace shows them in the reader's home; with the last of the reader's processes it is gone.
//!
//! ```text
//! ~/toolchain             rustc and cargo
//! ~/cooper                the checkout
//! ~/desk                  the reader's own, in the build's target directory
//! ~/desk/cargo            CARGO_HOME; of its registry, `index` and `cache` are shown and `src` is unpacked by the reader
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::engine::{Said, binaries, run};
use crate::house::House;

/// Shows directories, given as pairs of a place and a name, in the reader's home; what comes after `--` is done by the reader.
const LOG_IN: &str = r#"
set -e
home=$1
shift
while [ "$1" != -- ]; do mount --bind "$1" "$home/$2"; shift 2; done
shift
learner=~learner
mount --rbind "$home" "$learner"
cd "$learner/desk"
exec runuser -u learner -- env -i HOME="$learner" USER=learner LANG=C.UTF-8 CARGO_HOME="$learner/desk/cargo" \
    CARGO_NET_OFFLINE=true PATH="$learner/toolchain/bin:/usr/local/bin:/usr/bin:/bin" "$@"
"#;

/// The reader, and what was shown to them.
#[derive(Debug)]
pub struct Reader {
    home: tempfile::TempDir,
    shown: Vec<(PathBuf, &'static str)>,
    desk: PathBuf,
}

impl Reader {
    /// Clears the desk called `name`, which lies in the build's target directory. What was compiled there stays: a workspace that
    /// is made there takes it over with [`take_over`](Self::take_over).
    ///
    /// # Errors
    /// There is no toolchain or no room, or this is not root, who alone can become `learner`.
    pub fn at(name: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("cooper-reader-").tempdir().context("no temporary directory")?;
        let target = binaries()?.parent().context("no target directory")?.to_owned();
        let desk = target.join(name);
        let registry = cargo_home()?.join("registry");
        let shown = vec![
            (toolchain()?, "toolchain"),
            (House::here()?.root().to_owned(), "cooper"),
            (desk.clone(), "desk"),
            // Not what was unpacked of it: some packages come with files that nobody else may read.
            (registry.join("index"), "desk/cargo/registry/index"),
            (registry.join("cache"), "desk/cargo/registry/cache"),
        ];
        for name in ["toolchain", "cooper", "desk"] {
            fs::create_dir(home.path().join(name)).context("cannot make a directory")?;
        }
        for name in ["index", "cache"] {
            let place = desk.join(CARGO).join("registry").join(name);
            fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        }
        let config = desk.join(CARGO).join("config.toml");
        fs::write(&config, QUICK).with_context(|| format!("cannot write {}", config.display()))?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).context("chmod")?;
        let reader = Self { home, shown, desk };
        reader.clear()?;
        let cargo = reader.desk.join(CARGO);
        for place in [reader.home.path(), &reader.desk, &cargo, &cargo.join("registry")] {
            let given = run(Command::new("chown").arg("learner:").arg(place))?;
            ensure!(given.code == 0, "cannot give a directory to learner: {}", given.err);
        }
        Ok(reader)
    }

    /// Copies a program to the reader's home: on the desk it is `../NAME`.
    ///
    /// # Panics
    /// There is none at this place.
    pub fn hand(&self, built: &Path, name: &str) {
        process::needs::copy_program(built, self.home.path().join(name));
    }

    /// The desk, as the test sees it.
    pub fn desk(&self) -> &Path {
        &self.desk
    }

    /// A command of the reader's, who sits at the desk. `~` is no shell's here: name programs as the desk sees them.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", LOG_IN, "log-in"]);
        command.arg(self.home.path());
        for (from, name) in &self.shown {
            command.arg(from).arg(name);
        }
        command.args(["--", program]);
        command
    }

    /// Runs a command of the reader's to its end.
    ///
    /// # Panics
    /// It could not be started.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> Said {
        run(self.command(program).args(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Gives the workspace at `desk/NAME` what was compiled for one before it. Of that only dependencies are of use: the
    /// sources of the new workspace are newer than what was made of the old one's.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn take_over(&self, name: &str) -> Result<()> {
        let kept = self.desk.join(KEPT);
        match kept.exists() {
            true => fs::rename(kept, self.desk.join(name).join("target")).context("cannot move what was compiled"),
            false => Ok(()),
        }
    }

    /// Removes all workspaces of the desk; what the last of them compiled is kept.
    fn clear(&self) -> Result<()> {
        let kept = self.desk.join(KEPT);
        for entry in fs::read_dir(&self.desk).context("cannot list the desk")? {
            let path = entry.context("cannot list the desk")?.path();
            if path == kept || path.ends_with(CARGO) {
                continue;
            }
            if path.join("target").is_dir() {
                if kept.exists() {
                    fs::remove_dir_all(&kept).context("cannot remove what was compiled")?;
                }
                fs::rename(path.join("target"), &kept).context("cannot keep what was compiled")?;
            }
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

/// How the reader compiles: what the test waits for is the compiler, not what it made.
const QUICK: &str = "[profile.dev]\ndebug = false\n[profile.dev.package.\"*\"]\nopt-level = 0\n";

/// The reader's CARGO_HOME, on the desk.
const CARGO: &str = "cargo";
/// What workspaces hand on to each other.
const KEPT: &str = "compiled";

/// Where rustc and cargo lie: rustup's own programs would look for their toolchain in the reader's home.
fn toolchain() -> Result<PathBuf> {
    let said = run(Command::new("rustc").args(["--print", "sysroot"]))?;
    ensure!(said.code == 0, "rustc names no directory: {}", said.err);
    Ok(PathBuf::from(said.out.trim()))
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(named));
    }
    Ok(std::env::home_dir().context("no home directory")?.join(".cargo"))
}
