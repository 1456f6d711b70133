//! The only `unsafe` of this chapter: a descriptor's number, read from a plan, becomes a borrow again.

#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, RawFd};

/// Borrows a descriptor that the parent holds open across clone, by its number.
pub(crate) fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: steps are planned by a parent that owns the descriptor until the child has been cloned, and the
    // child's copy stays open until exec. Were the number wrong, `setns` would answer EBADF or EINVAL.
    unsafe { BorrowedFd::borrow_raw(number) }
}
