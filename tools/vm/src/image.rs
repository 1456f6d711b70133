//! What is inside the machine: busybox, the modules, the programs, and the script that is its init.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::archive::Archive;
use crate::kernel::Kernel;
use crate::modules;

/// The first program of the machine. Its own root, an initramfs, can be neither pivoted from nor unmounted, so it
/// moves everything to a tmpfs first, as every distribution's does.
const STAGE_ONE: &str = "#!/bin/busybox sh
/bin/busybox mkdir /new
/bin/busybox mount -t tmpfs -o size=80%,mode=755 root /new
for entry in /*; do
    [ $entry = /new ] || /bin/busybox cp -a $entry /new/
done
exec /bin/busybox switch_root /new /vm/init
";

/// The second: file systems, modules, then the command. The kernel's messages go to the second serial line, the
/// command's output alone to the first.
const STAGE_TWO: &str = "#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=linux
/bin/busybox --install -s /bin
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=0666 pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 -o nosuid,nodev,noexec cgroup /sys/fs/cgroup
for module in /vm/modules/*; do insmod $module; done
hostname vm
ip link set lo up
chmod 1777 /tmp /dev/shm
chown 1000:1000 /home/learner
cd /root
if [ -e /vm/command ]; then
    stty -F /dev/ttyS0 raw -echo
    sh /vm/command </dev/null >/dev/ttyS0 2>&1
    code=$?
    # Setting it again waits until the line has sent everything.
    stty -F /dev/ttyS0 raw -echo
    echo vm-exit $code >/dev/ttyS1
else
    setsid sh -c 'exec sh -l </dev/ttyS0 >/dev/ttyS0 2>&1'
    echo vm-exit $? >/dev/ttyS1
fi
stty -F /dev/ttyS1 raw
poweroff -f
";

/// The contents of the machine.
pub(crate) struct Image {
    programs: BTreeMap<String, PathBuf>,
    modules: Vec<PathBuf>,
}

impl Image {
    /// Busybox and the kernel's modules.
    pub(crate) fn new(kernel: &Kernel) -> anyhow::Result<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let busybox = busybox.context("no busybox here: apt-get install busybox-static")?;
        if !libraries(&busybox)?.is_empty() {
            bail!("{} needs libraries: apt-get install busybox-static", busybox.display());
        }
        let programs = BTreeMap::from([("bin/busybox".to_owned(), busybox)]);
        Ok(Self { programs, modules: modules::in_loading_order(&kernel.modules)? })
    }

    /// Copies a program and the libraries that it needs; to its own path, or to `inside`.
    pub(crate) fn add_program(&mut self, path: &Path, inside: Option<&str>) -> anyhow::Result<()> {
        let absolute = std::path::absolute(path).with_context(|| format!("find {}", path.display()))?;
        if !absolute.is_file() {
            bail!("{}: no such file", path.display());
        }
        for library in libraries(&absolute)? {
            self.programs.insert(relative(&library), library);
        }
        let inside = inside.map_or_else(|| relative(&absolute), |inside| inside.trim_start_matches('/').to_owned());
        self.programs.insert(inside, absolute);
        Ok(())
    }

    /// Copies a file as it is, to its own path.
    pub(crate) fn add_file(&mut self, path: PathBuf) {
        self.programs.insert(relative(&path), path);
    }

    /// Writes the initramfs; without a command the machine gives a shell.
    pub(crate) fn write(&self, path: &Path, command: Option<&str>) -> anyhow::Result<()> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let mut archive = Archive::new(BufWriter::new(file));
        for directory in self.directories() {
            archive.directory(&directory)?;
        }
        archive.program("init", STAGE_ONE.as_bytes())?;
        archive.program("vm/init", STAGE_TWO.as_bytes())?;
        archive
            .program("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nlearner:x:1000:1000::/home/learner:/bin/sh\n")?;
        archive.program("etc/group", b"root:x:0:\nlearner:x:1000:\n")?;
        archive.link("tmp", "run/tmp")?;
        archive.directory("run/tmp")?;
        for (inside, program) in &self.programs {
            let contents = fs::read(program).with_context(|| format!("read {}", program.display()))?;
            archive.program(inside, &contents)?;
        }
        for (number, module) in self.modules.iter().enumerate() {
            let contents = fs::read(module).with_context(|| format!("read {}", module.display()))?;
            archive.program(&format!("vm/modules/{number:03}.ko"), &contents)?;
        }
        if let Some(script) = command {
            archive.program("vm/command", script.as_bytes())?;
        }
        archive.finish()?.flush().with_context(|| format!("write {}", path.display()))
    }

    /// Every directory that is needed, parents first.
    fn directories(&self) -> BTreeSet<String> {
        let always = [
            "bin",
            "dev",
            "etc",
            "home/learner",
            "proc",
            "root",
            "run",
            "sbin",
            "sys",
            "usr/bin",
            "var/lib",
            "vm/modules",
        ];
        let mut found = BTreeSet::new();
        let parents = self.programs.keys().filter_map(|path| Path::new(path).parent());
        for directory in always.iter().map(Path::new).chain(parents) {
            found.extend(directory.ancestors().map(|path| path.display().to_string()).filter(|path| !path.is_empty()));
        }
        found
    }
}

/// The command as a script. A relative program was copied to its absolute path.
pub(crate) fn script(words: &[OsString]) -> anyhow::Result<String> {
    let mut words = words.to_vec();
    if let Some(first) = words.first_mut().filter(|word| word.as_encoded_bytes().contains(&b'/')) {
        *first = std::path::absolute(&*first)?.into_os_string();
    }
    Ok(format!("exec {}\n", line(&words)?))
}

/// Words as a line of shell.
pub(crate) fn line(words: &[OsString]) -> anyhow::Result<String> {
    let quoted: anyhow::Result<Vec<String>> = words.iter().map(|word| quoted(word)).collect();
    Ok(quoted?.join(" "))
}

/// A word of shell that means itself.
pub(crate) fn quoted(word: &OsStr) -> anyhow::Result<String> {
    let text = word.to_str().with_context(|| format!("{}: not UTF-8", word.display()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// The libraries of a program, from the dynamic linker itself; none if it is static.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("not found") {
        bail!("{}: {}", program.display(), text.trim());
    }
    Ok(text
        .lines()
        .flat_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect())
}

fn relative(path: &Path) -> String {
    path.display().to_string().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_reach_the_machine_as_they_are() {
        let words = ["echo", "a b", "it's", "$HOME"].map(OsString::from);
        assert_eq!(script(&words).unwrap(), "exec 'echo' 'a b' 'it'\\''s' '$HOME'\n");
    }
}
