//! The raw kernel calls of this chapter: the only place with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;

use crate::seccomp::{FilterFlags, Instruction};
use crate::{CapSet, Capabilities, Capability};

/// `struct __user_cap_header_struct` of `linux/capability.h`.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`; version 3 takes two, the low 32 capabilities and the high ones.
#[repr(C)]
#[derive(Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;

/// Sets the caller's effective, permitted and inheritable sets in one call.
pub(crate) fn capset(sets: &Capabilities) -> Result<(), Errno> {
    let header = CapHeader { version: LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let half = |set: CapSet, shift: u32| (set.bits() >> shift) as u32;
    let data = [0, 32].map(|shift| CapData {
        effective: half(sets.effective, shift),
        permitted: half(sets.permitted, shift),
        inheritable: half(sets.inheritable, shift),
    });
    // SAFETY: both pointers are to live values in the kernel's layout; version 3 reads two data records.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Whether `capability` is in the bounding set; `EINVAL` if the kernel does not know it.
pub(crate) fn bounding_has(capability: Capability) -> Result<bool, Errno> {
    prctl(libc::PR_CAPBSET_READ, capability as libc::c_ulong, 0).map(|answer| answer == 1)
}

/// Drops one capability from the bounding set, for good.
pub(crate) fn bounding_drop(number: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0).map(drop)
}

/// Whether a change from uid 0 keeps the permitted set. `execve` resets it.
pub(crate) fn keep_capabilities(keep: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0).map(drop)
}

/// Empties the ambient set.
pub(crate) fn ambient_clear() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map(drop)
}

/// Adds one capability to the ambient set; it must be permitted and inheritable.
pub(crate) fn ambient_raise(capability: Capability) -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, capability as libc::c_ulong).map(drop)
}

/// From here on no `execve` grants anything that the caller does not have.
pub(crate) fn no_new_privs() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Joins a fresh session keyring with this name.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    // SAFETY: `name` is a live C string; the call reads it and nothing else.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) }).map(drop)
}

/// Puts a filter in front of the caller's system calls, for good. Returns its listener, if the flags ask for one.
pub(crate) fn seccomp(program: &[Instruction], flags: FilterFlags) -> Result<Option<OwnedFd>, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    // The kernel only reads the filter; the pointer is `mut` for historical reasons.
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `Instruction` is `repr(C)` with the fields of `struct sock_filter`, the length is the slice's, and
    // both outlive the call, which copies them.
    let answer = Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.bits(), &raw const filter)
    })?;
    // SAFETY: with this flag the kernel answers a new descriptor, which nobody else knows of.
    Ok(flags.new_listener.then(|| unsafe { OwnedFd::from_raw_fd(answer as i32) }))
}

/// Waits for the next call that a filter asks about.
pub(crate) fn next_notification(listener: BorrowedFd<'_>) -> Result<libc::seccomp_notif, Errno> {
    // SAFETY: the structure is plain numbers, for which zero is a value; the kernel insists on zeroes.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request's argument is this structure, which the kernel fills.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) })?;
    Ok(notification)
}

/// Answers a call that a filter asked about.
pub(crate) fn answer_notification(listener: BorrowedFd<'_>, answer: &libc::seccomp_notif_resp) -> Result<(), Errno> {
    // SAFETY: the request's argument is this structure, which the kernel reads.
    Errno::result(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, answer) }).map(drop)
}

/// `struct landlock_ruleset_attr`, up to version 4.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    ports: u64,
}

/// `struct landlock_path_beneath_attr`, which has no padding.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;
const LANDLOCK_RULE_NET_PORT: u32 = 2;

/// The version of Landlock that the kernel offers.
pub(crate) fn landlock_version() -> Result<u32, Errno> {
    let nothing = std::ptr::null::<RulesetAttributes>();
    // SAFETY: with this flag the kernel reads nothing: it asks for a null pointer and a size of zero.
    let answer = Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, LANDLOCK_CREATE_RULESET_VERSION)
    })?;
    u32::try_from(answer).map_err(|_| Errno::EINVAL)
}

/// A set of rules over these deeds, which are all forbidden until a rule allows them.
pub(crate) fn landlock_create_ruleset(files: u64, ports: u64) -> Result<OwnedFd, Errno> {
    let attributes = RulesetAttributes { files, ports };
    // Version 3 refuses what it does not know, unless that is zero; a shorter structure it takes as well.
    let size = if ports == 0 { size_of::<u64>() } else { size_of::<RulesetAttributes>() };
    // SAFETY: the structure is the kernel's, alive, and at least as long as the size says.
    let answer =
        Errno::result(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0_u32) })?;
    // SAFETY: the kernel answers a new descriptor, which nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(answer as i32) })
}

/// Allows deeds below a directory, or on a file.
pub(crate) fn landlock_allow_below(ruleset: BorrowedFd<'_>, parent: BorrowedFd<'_>, allowed: u64) -> Result<(), Errno> {
    let rule = PathBeneath { allowed, parent: parent.as_raw_fd() };
    // SAFETY: this type of rule has this structure, which the kernel reads.
    Errno::result(unsafe {
        let (set, kind) = (ruleset.as_raw_fd(), LANDLOCK_RULE_PATH_BENEATH);
        libc::syscall(libc::SYS_landlock_add_rule, set, kind, &raw const rule, 0_u32)
    })
    .map(drop)
}

/// Allows deeds with a TCP port.
pub(crate) fn landlock_allow_port(ruleset: BorrowedFd<'_>, port: u16, allowed: u64) -> Result<(), Errno> {
    let rule = NetPort { allowed, port: port.into() };
    // SAFETY: this type of rule has this structure, which the kernel reads.
    Errno::result(unsafe {
        let (set, kind) = (ruleset.as_raw_fd(), LANDLOCK_RULE_NET_PORT);
        libc::syscall(libc::SYS_landlock_add_rule, set, kind, &raw const rule, 0_u32)
    })
    .map(drop)
}

/// Puts the caller, and all that it starts from here on, under the rules.
pub(crate) fn landlock_restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: both arguments are numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) }).map(drop)
}

fn prctl(option: libc::c_int, second: libc::c_ulong, third: libc::c_ulong) -> Result<libc::c_int, Errno> {
    // The kernel refuses most options unless the unused arguments are zero, at full width.
    let zero: libc::c_ulong = 0;
    // SAFETY: every option used in this module takes numbers only: no pointer is passed.
    Errno::result(unsafe { libc::prctl(option, second, third, zero, zero) })
}
