//! The archive that a kernel unpacks at boot: cpio, "newc".
//!
//! ```text
//! 070701 ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namelen check   (8 hex digits each)
//! name NUL, padded to 4;  data, padded to 4;  ...;  an entry TRAILER!!!
//! ```
//!
//! # References
//! linux/Documentation/driver-api/early-userspace/buffer-format.rst

use std::io::{self, Write};

/// Writes entries to `out`.
pub(crate) struct Archive<W> {
    out: W,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_755;
const SYMLINK: u32 = 0o120_777;
const PROGRAM: u32 = 0o100_755;

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// A directory; its parent must be there already.
    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY, &[])
    }

    /// A file that may be executed.
    pub(crate) fn program(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.entry(name, PROGRAM, contents)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(name, SYMLINK, target.as_bytes())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, format!("{name} does not fit into cpio"));
        let size = u32::try_from(data.len()).map_err(too_long)?;
        let name_length = u32::try_from(name.len() + 1).map_err(too_long)?;
        self.entries += 1;
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_length, 0];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        // The header has 110 bytes; header and name together are padded, then the data by itself.
        self.out.write_all(&[0; 4][..1 + padding(110 + name.len() + 1)])?;
        self.out.write_all(data)?;
        self.out.write_all(&[0; 4][..padding(data.len())])
    }
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_part_begins_at_a_multiple_of_four() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("d").unwrap();
        archive.program("d/file", b"12345").unwrap();
        archive.link("link", "d").unwrap();
        let bytes = archive.finish().unwrap();
        let heads: Vec<usize> =
            bytes.windows(6).enumerate().filter(|(_, w)| w == b"070701").map(|(at, _)| at).collect();
        assert_eq!(heads.len(), 4);
        assert!(heads.iter().all(|at| at.is_multiple_of(4)));
        assert!(bytes.len().is_multiple_of(4));
    }
}
