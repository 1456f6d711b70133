//! A monitor that has started its container gives back what it needed for that.
//!
//! Starting is most of what a monitor ever does; afterwards it sleeps, perhaps for a year, and there may be a thousand of it.
//! Three kinds of memory are left over: free pieces of the heap, the stack's depths, and the pages of the program that
//! nothing will be executed from any more. The last are no cost to the machine, which has them once for all monitors, but they are
//! counted for each of them.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::exchange::Service;
use crate::sys;

/// A container that lives no longer than this needs no slim monitor.
const SOON: Duration = Duration::from_secs(1);

/// Gives memory back, once.
pub(super) struct Slimming(Option<Instant>);

impl Slimming {
    /// In a moment.
    pub(super) fn soon() -> Self {
        Self(Some(Instant::now() + SOON))
    }
}

impl Service for Slimming {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn deadline(&self) -> Option<Instant> {
        self.0
    }

    fn serve(&mut self) {
        self.0 = None;
        give_back();
    }
}

/// Gives back whatever the kernel or the allocator can make anew. Where `/proc` hides how the memory looks, less is given back.
fn give_back() {
    let mappings = read(&std::fs::read_to_string("/proc/self/smaps").unwrap_or_default());
    sys::trim_heap();
    sys::forget_stack_below(mappings.iter().map(|mapping| &mapping.addresses));
    // Last, since all of the above is program, too.
    for mapping in mappings.into_iter().filter(|mapping| mapping.as_in_its_file) {
        sys::forget_unchanged_pages(mapping.addresses);
    }
}

/// A mapping of this process.
struct Mapping {
    addresses: Range<usize>,
    /// Whether it is one of a file, which was never written to: the kernel reads it again when it is needed.
    as_in_its_file: bool,
}

/// # References
/// proc_pid_smaps(5)
fn read(smaps: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        if let Some(mapping) = header(line) {
            mappings.push(mapping);
        } else if let (Some(changed), Some(mapping)) = (line.strip_prefix("Anonymous:"), mappings.last_mut()) {
            mapping.as_in_its_file &= changed.trim() == "0 kB";
        }
    }
    mappings
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`; no other line begins with two numbers.
fn header(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let addresses = number(start)?..number(end)?;
    let (permissions, inode) = (words.next()?, words.nth(2)?);
    Some(Mapping { addresses, as_in_its_file: !permissions.contains('w') && inode != "0" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_files_that_nobody_has_written_to_are_given_back() {
        let smaps = "1000-2000 r-xp 00000000 fd:00 7 /bin/cooper\nRss: 4 kB\nAnonymous:             0 kB\n\
                     2000-3000 r--p 00001000 fd:00 7 /bin/cooper\nAnonymous:             4 kB\n\
                     3000-4000 rw-p 00002000 fd:00 7 /bin/cooper\nAnonymous:             0 kB\n\
                     4000-5000 r-xp 00000000 00:00 0 [vdso]\nAnonymous:             0 kB\n";
        let unchanged: Vec<_> = read(smaps).into_iter().map(|mapping| mapping.as_in_its_file).collect();
        assert_eq!(unchanged, [true, false, false, false]);
        assert_eq!(read(smaps)[0].addresses, 0x1000..0x2000);
    }

    #[test]
    fn a_program_goes_on_after_it() {
        let kept: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        drop(kept.iter().map(|text| text.repeat(10)).collect::<Vec<_>>());
        give_back();
        assert_eq!(kept.iter().map(String::len).sum::<usize>(), 38_890);
    }
}
