//! What a test needs of its machine, declared: a test that cannot run says so, and CI does not let it pass.
//!
//! ```no_run
//! # fn a_test() {
//! if !process::needs::root() || !process::needs::program("skopeo") {
//!     return;
//! }
//! # }
//! ```

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The test needs to be root of the machine.
pub fn root() -> bool {
    met(rustix::process::geteuid().is_root(), "root")
}

/// The test needs to be an ordinary user.
pub fn ordinary_user() -> bool {
    met(!rustix::process::geteuid().is_root(), "an ordinary user")
}

/// The test needs a program.
pub fn program(name: &str) -> bool {
    met(find_program(name).is_some(), &format!("the program {name}"))
}

/// The test needs a file of some package, in a place of its own outside of `PATH`.
pub fn file(path: &str) -> bool {
    met(Path::new(path).exists(), path)
}

/// The test needs a shared library, by its file's name.
pub fn library(name: &str) -> bool {
    // Where Debian, others with 64-bit directories, and the rest keep them.
    let directories =
        ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib", "/lib"];
    let found = directories.iter().any(|directory| PathBuf::from(directory).join(name).exists());
    met(found, &format!("the library {name}"))
}

/// The test needs an account on this machine.
pub fn account(name: &str) -> bool {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    met(accounts.lines().any(|line| line.split(':').next() == Some(name)), &format!("the account {name}"))
}

/// The test needs user namespaces that an ordinary user may make.
pub fn user_namespaces() -> bool {
    let limit = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    met(limit.trim().parse::<u64>().is_ok_and(|limit| limit > 0), "user namespaces")
}

/// The test needs a cgroup v2 hierarchy that has controllers.
pub fn cgroup_v2() -> bool {
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    met(controllers.contains("memory"), "cgroup v2 with its controllers")
}

/// The test needs a device that it may read and write, such as `/dev/net/tun`.
pub fn device(path: &str) -> bool {
    met(opens(path), &format!("the device {path}"))
}

/// The test needs loop devices, to have a file system of its own in a file.
pub fn loop_devices() -> bool {
    met(opens("/dev/loop-control"), "loop devices")
}

fn opens(device: &str) -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open(device).is_ok()
}

/// Where a program is, if it is in `PATH` or in the directories of the administrator's programs.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrator = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(administrator).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Copies a program that the test is going to execute. To `into`'s directory, which exists; mode 0755.
///
/// A test shares its process with others. Whatever one of them starts holds, until it executes, a copy of every descriptor, also of
/// the one by which this copy is just being written, and nobody executes a file that somebody writes (ETXTBSY). So a process of its own
/// writes it.
///
/// # Panics
/// The copy was not made.
pub fn copy_program(program: impl AsRef<Path>, into: impl AsRef<Path>) {
    let (program, into) = (program.as_ref(), into.as_ref());
    let status = Command::new("install").args(["-m", "755", "--"]).args([program, into]).status();
    let done = status.is_ok_and(|status| status.success());
    assert!(done, "cannot copy {} to {}", program.display(), into.display());
}

/// What root puts before the words of a command, so that an ordinary user in it may use a device that only root may on this machine.
/// Most machines let everybody. The command sees, in a mount namespace of its own, another file in the device's place; `place` is a
/// directory for it.
pub fn lending(device: &str, place: &Path) -> Vec<String> {
    let script = r#"mount -t tmpfs none "$0" && mknod -m 666 "$0/it" $(stat -c 'c 0x%t 0x%T' "$1") &&
        mount --bind "$0/it" "$1" && shift && exec "$@""#;
    ["unshare", "--mount", "sh", "-c", script, &place.to_string_lossy(), device].map(str::to_owned).into()
}

/// Prints a skip, or makes it a failure where skips are not allowed.
fn met(met: bool, need: &str) -> bool {
    if !met {
        assert!(std::env::var_os("CI").is_none(), "CI lacks what this test needs: {need}");
        // Not eprintln!: the test harness swallows what a passing test prints, and a skip must be seen.
        std::io::stderr().write_all(format!("SKIP: needs {need}\n").as_bytes()).unwrap_or_default();
    }
    met
}
