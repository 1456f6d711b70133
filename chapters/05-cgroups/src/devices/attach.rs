//! A device program on its way into the kernel: loaded, checked by the verifier, attached to the cgroup's directory.
//!
//! It belongs to the cgroup from then on. Nobody has to hold it open, and it goes when the directory goes.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use process::{CallError, During as _, step};
use rustix::fs::{Mode, OFlags};

use super::DeviceRule;
use super::program::DeviceProgram;
use crate::sys;

/// Gives a cgroup the program of these rules, instead of whatever programs it had.
///
/// The new program is attached beside the old ones, and then they are taken away. In between all of them are asked, and
/// one refusal is enough: what both old and new rules permit works throughout, and at no moment does more.
///
/// # Errors
/// EPERM without CAP_BPF (or CAP_SYS_ADMIN) and CAP_NET_ADMIN over the machine, which root of a user namespace never
/// has; EINVAL or EACCES with the verifier's words.
///
/// # References
/// bpf(2); linux/Documentation/admin-guide/cgroup-v2.rst, "Device controller"
pub(crate) fn attach(directory: &Path, rules: &[DeviceRule]) -> Result<(), CallError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let group = rustix::fs::open(directory, flags, Mode::empty()).during("open", directory.display())?;
    let program = load(&DeviceProgram::of(rules))?;
    let before = attached(&group, directory)?;
    step!(
        5,
        "bpf",
        "bpf(2)",
        "ask it at every open of a device",
        "BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, {}",
        directory.display()
    );
    sys::attach_device_program(group.as_fd(), program.as_fd())
        .during("bpf", directory.display())
        .map_err(|error| error.with("BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI"))?;
    for old in before {
        sys::detach_device_program(group.as_fd(), old.as_fd())
            .during("bpf", directory.display())
            .map_err(|error| error.with("BPF_PROG_DETACH, BPF_CGROUP_DEVICE"))?;
    }
    Ok(())
}

fn load(program: &DeviceProgram) -> Result<OwnedFd, CallError> {
    let instructions = program.instructions();
    step!(5, "bpf", "bpf(2)", "the device rules as a program", "BPF_PROG_LOAD, {} instructions", instructions.len());
    match sys::load_device_program(instructions, None) {
        Ok(program) => Ok(program),
        Err(errno @ Errno::EPERM) => Err(CallError::new("bpf", "device program", errno).with("BPF_PROG_LOAD")),
        Err(errno) => {
            // Once more, for the verifier's words; they are too long to ask for every time.
            let mut log = vec![0_u8; 64 << 10];
            // Whether it fails again or not, the first answer is the one that counts.
            let _ = sys::load_device_program(instructions, Some(&mut log));
            let log = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
            let last = log.lines().rev().find(|line| !line.is_empty()).unwrap_or("no word of the verifier").to_owned();
            Err(CallError::new("bpf", "device program", errno).with(format!("BPF_PROG_LOAD: {last}")))
        }
    }
}

/// The programs that the group has itself; those of its parents are asked too and stay as they are.
fn attached(group: &OwnedFd, directory: &Path) -> Result<Vec<OwnedFd>, CallError> {
    let ids = sys::device_programs(group.as_fd())
        .during("bpf", directory.display())
        .map_err(|error| error.with("BPF_PROG_QUERY, BPF_CGROUP_DEVICE"))?;
    ids.into_iter().map(|id| sys::program_by_id(id).during("bpf", format!("program {id}"))).collect()
}
