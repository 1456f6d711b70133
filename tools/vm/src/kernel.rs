//! Debian's cloud kernel: downloaded once, unpacked beside the build, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The package that always depends on the newest kernel of this kind.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// `vmlinuz`.
    pub(crate) image: PathBuf,
    /// The directory with its modules.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// The kernel in the cache; if there is none, it is fetched with apt.
    pub(crate) fn obtain(cache: &Path) -> anyhow::Result<Self> {
        let unpacked = cache.join("kernel");
        if !unpacked.exists() {
            fetch(cache, &unpacked)?;
        }
        let image = only_entry(&unpacked.join("boot"), "vmlinuz-")?;
        // Debian 13 moved /lib to /usr/lib.
        let places = [unpacked.join("lib/modules"), unpacked.join("usr/lib/modules")];
        let place = places.iter().find(|place| place.is_dir()).context("the kernel package has no modules")?;
        Ok(Self { image, modules: only_entry(place, "")? })
    }
}

/// Downloads and unpacks into a temporary directory first: an interrupted run leaves no half kernel.
fn fetch(cache: &Path, unpacked: &Path) -> anyhow::Result<()> {
    let package = newest_package()?;
    eprintln!("vm: fetching {package}");
    let work = tempfile::tempdir_in(cache).context("make a work directory")?;
    run(Command::new("apt-get").args(["download", "-qq", &package]).current_dir(work.path()))?;
    let archive = only_entry(work.path(), "linux-image-")?;
    let contents = work.path().join("contents");
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&contents))?;
    fs::rename(&contents, unpacked).with_context(|| format!("keep {}", unpacked.display()))
}

fn newest_package() -> anyhow::Result<String> {
    let output = Command::new("apt-cache").args(["depends", META_PACKAGE]).output().context("run apt-cache")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Depends: ").filter(|name| name.starts_with("linux-image-")))
        .map(str::to_owned)
        .with_context(|| format!("apt knows no {META_PACKAGE}: this needs Debian's package lists (apt-get update)"))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}: {}", command.get_program().display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn only_entry(directory: &Path, prefix: &str) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes())))
        .with_context(|| format!("{} has no {prefix}*", directory.display()))
}
