//! What is mounted: the kernel's own list, parsed.

use std::path::{Path, PathBuf};

use process::{CallError, During};

/// One line of `/proc/PID/mountinfo`.
///
/// ```text
/// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
/// (id)(parent)(dev)(root)(target)(options)(tags) -  (type) (source) (super options)
/// ```
///
/// # References
/// proc_pid_mountinfo(5)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// Unique number of the mount.
    pub id: u64,
    /// Number of the mount that it is mounted on.
    pub parent: u64,
    /// Which directory of its file system is its root.
    pub root: PathBuf,
    /// Where, relative to the reader's root.
    pub target: PathBuf,
    /// Attributes of the mount: `rw`, `nosuid`, ...
    pub options: Vec<String>,
    /// Propagation: `shared:N`, `master:N`, ...
    pub tags: Vec<String>,
    /// File system type.
    pub kind: String,
    /// What it was mounted from.
    pub source: String,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

impl MountInfo {
    /// Reads a process's mounts; `path` is `/proc/self/mountinfo` or another's.
    ///
    /// # Errors
    /// ENOENT and the like; a malformed line is named with its number.
    pub fn read(path: &Path) -> Result<Vec<Self>, CallError> {
        let text = std::fs::read_to_string(path).during("read", path.display())?;
        let parse = |(number, line)| {
            Self::parse(line).ok_or_else(|| {
                CallError::refused("read", path.display(), format!("line {}: not a mount: {line:?}", number + 1))
            })
        };
        text.lines().enumerate().map(parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let mut filesystem = filesystem.splitn(3, ' ');
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        let (id, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let _device = fields.next()?;
        Some(Self {
            id,
            parent,
            root: unescape(fields.next()?).into(),
            target: unescape(fields.next()?).into(),
            options: list(fields.next()?),
            tags: fields.map(str::to_owned).collect(),
            kind: filesystem.next()?.to_owned(),
            source: unescape(filesystem.next()?),
            super_options: list(filesystem.next()?),
        })
    }
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_tags_and_escapes_is_understood() {
        let line = r"36 35 98:0 / /mnt/a\040b rw,nosuid shared:1 master:2 - ext4 /dev/root rw,errors=continue";
        let mount = MountInfo::parse(line).unwrap();
        assert_eq!(mount.target, Path::new("/mnt/a b"));
        assert_eq!(mount.tags, ["shared:1", "master:2"]);
        assert_eq!(mount.kind, "ext4");
    }

    #[test]
    fn this_process_has_a_root_mount() {
        let mounts = MountInfo::read(Path::new("/proc/self/mountinfo")).unwrap();
        assert!(mounts.iter().any(|mount| mount.target == Path::new("/")));
    }
}
