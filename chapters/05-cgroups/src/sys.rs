//! The raw kernel calls of this chapter: the only place with `unsafe`.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::devices::Instruction;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Several programs may be attached; all of them must agree.
const BPF_F_ALLOW_MULTI: u32 = 2;
/// The kernel's own limit of programs at one cgroup.
const MOST_PROGRAMS: usize = 64;

/// `union bpf_attr` for BPF_PROG_LOAD, as of Linux 4.15.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// For BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// For BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// For BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// # Safety
/// `attributes` must be the structure of `command`, and every pointer in it valid for what the command does with it.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_int, Errno> {
    // SAFETY: the caller vouches for the structure; its size is passed along, and the kernel takes what is missing for 0.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    Errno::result(result as libc::c_int)
}

/// Loads a device program; with `log`, the verifier writes its words there.
///
/// # References
/// bpf(2), `BPF_PROG_LOAD`
pub(crate) fn load_device_program(instructions: &[Instruction], log: Option<&mut [u8]>) -> Result<OwnedFd, Errno> {
    let (log, log_size) = log.map_or((0, 0), |log| (log.as_mut_ptr() as u64, log.len() as u32));
    let mut attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        // The program calls none of the kernel's functions, so any licence would do.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: u32::from(log_size > 0),
        log_size,
        log,
        kernel_version: 0,
        flags: 0,
        name: *b"cooper_devices\0\0",
    };
    // SAFETY: the instructions, the licence and the log outlive the call and have the sizes that are given.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup, beside those that it has.
///
/// # References
/// bpf(2), `BPF_PROG_ATTACH`
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the structure holds no pointers.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(drop)
}

/// Takes a device program away from a cgroup.
///
/// # References
/// bpf(2), `BPF_PROG_DETACH`
pub(crate) fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: the structure holds no pointers.
    unsafe { bpf(BPF_PROG_DETACH, &mut attributes) }.map(drop)
}

/// The ids of the device programs that a cgroup has itself.
///
/// # References
/// bpf(2), `BPF_PROG_QUERY`
pub(crate) fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attributes = Query {
        target: cgroup.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MOST_PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: `ids` outlives the call and has room for `count` numbers.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    Ok(ids.into_iter().take(attributes.count as usize).collect())
}

/// A program by its id.
///
/// # References
/// bpf(2), `BPF_PROG_GET_FD_BY_ID`
pub(crate) fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attributes = ById { id, next_id: 0, open_flags: 0 };
    // SAFETY: the structure holds no pointers.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes) }?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Borrows a descriptor by its number, which a step of init carries.
pub(crate) fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: steps are planned by a parent that holds the descriptor open until the child has been cloned, and the
    // child's copy stays open until exec. Were the number wrong, the next call would answer EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}
