//! Programs and test programs of this workspace, built and ready to be copied in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// What cargo has built.
#[derive(Default)]
pub(crate) struct Built {
    /// Programs that a reader runs.
    pub(crate) programs: Vec<PathBuf>,
    /// Test programs, each with the directory of its package.
    pub(crate) tests: Vec<(PathBuf, PathBuf)>,
}

/// A line of `cargo --message-format=json`, as far as it matters.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Built {
    /// Builds the programs of packages.
    pub(crate) fn programs(packages: &[String]) -> anyhow::Result<Self> {
        if packages.is_empty() {
            return Ok(Self::default());
        }
        cargo(&["build"], packages)
    }

    /// Builds the tests of packages, and the programs that these tests start.
    pub(crate) fn tests(packages: &[String]) -> anyhow::Result<Self> {
        cargo(&["test", "--no-run"], packages)
    }

    /// The snapshots that the tests compare with: every file below a directory of that name.
    pub(crate) fn snapshots(&self) -> anyhow::Result<Vec<PathBuf>> {
        let packages: BTreeSet<&PathBuf> = self.tests.iter().map(|(_, package)| package).collect();
        let mut found = Vec::new();
        for package in packages {
            for part in ["src", "tests"].map(|part| package.join(part)).iter().filter(|part| part.is_dir()) {
                collect(part, &mut found)?;
            }
        }
        Ok(found)
    }
}

/// The directory of the workspace that a package belongs to: where the paths in its snapshots begin.
pub(crate) fn workspace_of(package: &Path) -> &Path {
    package.ancestors().find(|directory| directory.join("Cargo.lock").exists()).unwrap_or(package)
}

fn cargo(verb: &[&str], packages: &[String]) -> anyhow::Result<Built> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(verb).args(["--quiet", "--message-format=json-render-diagnostics"]);
    for package in packages {
        command.args(["-p", package]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("run cargo")?;
    if !output.status.success() {
        bail!("cargo {} -p {}: {}", verb.join(" "), packages.join(" -p "), output.status);
    }
    let mut built = Built::default();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Message = serde_json::from_slice(line).context("read what cargo says")?;
        let (Some(executable), Some(profile)) = (message.executable, message.profile) else { continue };
        match message.manifest_path.as_deref().and_then(Path::parent) {
            Some(package) if profile.test => built.tests.push((executable, package.to_owned())),
            _ => built.programs.push(executable),
        }
    }
    Ok(built)
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry.with_context(|| format!("read {}", directory.display()))?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "snap") {
            found.push(path);
        }
    }
    Ok(())
}

/// A program without what only a debugger reads, which is most of it: the machine unpacks every byte by emulation.
///
/// Where there is no `strip`, it is taken as it is.
pub(crate) fn slim(program: &Path, work: &Path) -> PathBuf {
    let name = program.file_name().unwrap_or_default();
    let slim = work.join(name);
    let mut strip = Command::new("strip");
    match strip.arg("--strip-debug").arg("-o").arg(&slim).arg(program).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => slim,
        _ => program.to_owned(),
    }
}
