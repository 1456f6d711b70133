//! A kernel call that failed, told in a fixed order.

use std::borrow::Cow;
use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// A kernel call that failed: operation, object, data, errno, in that order.
///
/// ```text
/// mount overlay on "merged" (lowerdir=..., MS_NODEV): EINVAL
/// ```
///
/// Every chapter's own error wraps this one, so that whoever reads a message finds the same four
/// facts in the same places. The record also travels from the child to the parent (see
/// [`channel`](crate::channel)), which is why it owns its strings and can be serialized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    /// What was tried: a kernel call's name, or a call and a preposition (`mount proc on`).
    pub operation: Cow<'static, str>,
    /// What it was tried on: a path, a pid, a name. Printed in quotes; empty if there is none.
    pub object: String,
    /// Arguments worth knowing, flags by their symbolic names. Printed in parentheses; may be empty.
    pub data: String,
    /// The raw errno; 0 where no kernel call but a check of our own refused.
    pub errno: i32,
}

impl CallError {
    /// An error of `operation` on `object` with what the kernel answered.
    pub fn new(operation: impl Into<Cow<'static, str>>, object: impl fmt::Display, errno: Errno) -> Self {
        Self { operation: operation.into(), object: object.to_string(), data: String::new(), errno: errno as i32 }
    }

    /// An error that a check of our own found: `reason` stands where the errno would.
    pub fn refused(
        operation: impl Into<Cow<'static, str>>,
        object: impl fmt::Display,
        reason: impl fmt::Display,
    ) -> Self {
        Self { operation: operation.into(), object: object.to_string(), data: reason.to_string(), errno: 0 }
    }

    /// The same error with its arguments named.
    #[must_use]
    pub fn with(mut self, data: impl fmt::Display) -> Self {
        self.data = data.to_string();
        self
    }

    /// The errno as a typed value; `UnknownErrno` for a refusal of our own.
    pub fn errno(&self) -> Errno {
        Errno::from_raw(self.errno)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        if !self.object.is_empty() {
            write!(f, " {:?}", self.object)?;
        }
        match (self.errno, self.data.is_empty()) {
            (0, _) => write!(f, ": {}", self.data),
            (_, true) => write!(f, ": {:?}", self.errno()),
            (_, false) => write!(f, " ({}): {:?}", self.data, self.errno()),
        }
    }
}

impl std::error::Error for CallError {}

/// What a kernel call's wrapper returned, before anybody said what it was about.
///
/// Implemented for the results of `rustix`, `nix` and `std::io`, so that a chapter can use whichever
/// wrapper it likes and still speak with one voice.
pub trait During<T> {
    /// Names the operation and its object.
    ///
    /// # Errors
    /// The call's own failure, as a [`CallError`].
    fn during(self, operation: impl Into<Cow<'static, str>>, object: impl fmt::Display) -> Result<T, CallError>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, operation: impl Into<Cow<'static, str>>, object: impl fmt::Display) -> Result<T, CallError> {
        self.map_err(|errno| CallError::new(operation, object, errno))
    }
}

impl<T> During<T> for Result<T, rustix::io::Errno> {
    fn during(self, operation: impl Into<Cow<'static, str>>, object: impl fmt::Display) -> Result<T, CallError> {
        self.map_err(|errno| CallError::new(operation, object, Errno::from_raw(errno.raw_os_error())))
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, operation: impl Into<Cow<'static, str>>, object: impl fmt::Display) -> Result<T, CallError> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => CallError::new(operation, object, Errno::from_raw(raw)),
            None => CallError::refused(operation, object, error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_operation_object_data_errno() {
        let error = CallError::new("mount overlay on", "merged", Errno::EINVAL).with("MS_NODEV");
        assert_eq!(error.to_string(), r#"mount overlay on "merged" (MS_NODEV): EINVAL"#);
    }

    #[test]
    fn a_refusal_of_our_own_shows_its_reason_instead() {
        let error = CallError::refused("exec", "/bin/sh", "not executable");
        assert_eq!(error.to_string(), r#"exec "/bin/sh": not executable"#);
    }
}
