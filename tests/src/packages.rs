//! Real programs for images: Debian's packages with all that they need, unpacked and not installed. None of their scripts
//! runs, and nothing of the machine's own packages changes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::engine::run;

/// What packages depend on for their installation, for languages and for other programs than those that serve: half of the
/// bytes, and no part of a server.
const DISPENSABLE: &[&str] = &[
    "adduser",
    "debconf",
    "dpkg",
    "iproute2",
    "libbpf",
    "libdb5",
    "libelf",
    "libfile-find",
    "libgdbm",
    "libjson-perl",
    "libc-l10n",
    "libllvm",
    "libnumber",
    "libpam-modules",
    "libperl",
    "libsemanage",
    "libtext-glob",
    "libz3",
    "locales",
    "mawk",
    "passwd",
    "perl",
    "postgresql-common",
    "ssl-cert",
    "tar",
    "ucf",
    "usrmerge",
];

/// Fetches these packages and what they depend on, and unpacks them into `tree`; `scratch` is for the archives.
///
/// # Errors
/// apt or dpkg failed, with what they said.
pub fn unpack(wanted: &[&str], scratch: &Path, tree: &Path) -> Result<()> {
    fs::create_dir_all(tree).context("cannot make a tree")?;
    fs::create_dir_all(scratch.join("cache/archives/partial")).context("cannot make a directory")?;
    fs::write(scratch.join("status"), "").context("cannot write a file")?;
    let needed = closure(wanted, scratch)?;
    let mut download = Command::new("apt-get");
    // Not as the user _apt, who cannot write here.
    download.args(["download", "-qq", "-o", "APT::Sandbox::User=root"]).args(&needed).current_dir(scratch);
    let said = run(&mut download)?;
    ensure!(said.code == 0, "apt-get download: {}", said.err);
    for entry in fs::read_dir(scratch).context("cannot read a directory")? {
        let path = entry.context("cannot read a directory")?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            extract(&path, tree)?;
        }
    }
    // Nobody reads in an image that lives for a minute.
    for place in ["usr/share/doc", "usr/share/man", "usr/share/locale"] {
        fs::remove_dir_all(tree.join(place)).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error).with_context(|| format!("cannot remove {place}")),
        })?;
    }
    Ok(())
}

/// The names of all packages that a machine with none would install.
fn closure(wanted: &[&str], scratch: &Path) -> Result<Vec<String>> {
    let mut simulate = Command::new("apt-get");
    simulate.args(["install", "--simulate", "-qq", "--no-install-recommends", "-o", "Debug::NoLocking=1"]);
    simulate.arg("-o").arg(format!("Dir::State::status={}", scratch.join("status").display()));
    simulate.arg("-o").arg(format!("Dir::Cache={}", scratch.join("cache").display()));
    let said = run(simulate.args(wanted))?;
    ensure!(said.code == 0, "apt-get install --simulate: {}", said.err);
    let names = said.out.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    let needed = names.filter(|name| !DISPENSABLE.iter().any(|prefix| name.starts_with(prefix)));
    Ok(needed.map(str::to_owned).collect())
}

/// `dpkg-deb --extract`, but a link to a directory stays one (`/bin`, where it is `/usr/bin`).
fn extract(package: &Path, tree: &Path) -> Result<()> {
    let mut archive = Command::new("dpkg-deb");
    let mut archive =
        archive.arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn().context("no dpkg-deb")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--directory"]).arg(tree);
    let unpacked = tar.stdin(archive.stdout.take().context("no output")?).status().context("no tar")?;
    let read = archive.wait().context("cannot wait for dpkg-deb")?;
    ensure!(unpacked.success() && read.success(), "cannot unpack {}", package.display());
    Ok(())
}
