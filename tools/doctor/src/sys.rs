//! The one kernel call without a wrapper.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// The version of Landlock that the kernel offers.
///
/// # References
/// landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION
pub(crate) fn landlock_version() -> Result<u32, Errno> {
    const VERSION: u32 = 1;
    let (no_attributes, no_size) = (std::ptr::null::<u8>(), 0_usize);
    // SAFETY: with this flag the kernel reads nothing and answers a number.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, no_attributes, no_size, VERSION) };
    Errno::result(answer).map(|version| version as u32)
}
