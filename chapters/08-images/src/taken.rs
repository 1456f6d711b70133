//! What a directory takes on disk, as `du` counts.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Bytes of disk that a directory takes with all that is in it, itself included: blocks, and a file with several names
/// once. What cannot be read counts nothing. No link is followed.
pub fn taken(directory: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut open = vec![directory.to_owned()];
    let mut blocks = 0;
    while let Some(path) = open.pop() {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        blocks += metadata.blocks();
        if metadata.is_dir() {
            open.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    blocks * 512
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_takes_what_du_says() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(dir.path().join("sub/file"), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("link")).unwrap();
        let du = std::process::Command::new("du").args(["-s", "-B1"]).arg(dir.path()).output().unwrap();
        let said = String::from_utf8(du.stdout).unwrap();
        assert_eq!(said.split_whitespace().next().unwrap(), taken(dir.path()).to_string());
    }
}
