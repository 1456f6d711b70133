//! What is mounted: the kernel's own list, parsed.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use process::{CallError, During, kernel_file};

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
        Self::read_those(path, |_| true)
    }

    /// The mounts of file systems of some types alone: a machine with many containers has thousands of others.
    ///
    /// # Errors
    /// As [`MountInfo::read`].
    pub fn read_of(path: &Path, types: &[&str]) -> Result<Vec<Self>, CallError> {
        // The type stands behind the dash, and no name before it has a space.
        let types: Vec<Vec<u8>> = types.iter().map(|kind| format!(" - {kind} ").into_bytes()).collect();
        Self::read_those(path, |line| types.iter().any(|kind| line.windows(kind.len()).any(|part| part == kind)))
    }

    fn read_those(path: &Path, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Self>, CallError> {
        let text = kernel_file::read(path).during("read", path.display())?;
        Self::parse_all(&text, wanted).map_err(|(number, line)| {
            CallError::refused("read", path.display(), format!("line {number}: not a mount: {line:?}"))
        })
    }

    /// All lines that are wanted; the first that is no mount, with its number.
    fn parse_all(text: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Self>, (usize, String)> {
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && wanted(line));
        // Every byte as a character of the same number: names of files are bytes, and need not be text.
        let lines = lines.map(|(number, line)| (number, line.iter().map(|byte| char::from(*byte)).collect::<String>()));
        lines.map(|(number, line)| Self::parse(&line).ok_or((number + 1, line))).collect()
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
            root: OsString::from_vec(unescape(fields.next()?)).into(),
            target: OsString::from_vec(unescape(fields.next()?)).into(),
            options: list(fields.next()?),
            tags: fields.map(str::to_owned).collect(),
            kind: filesystem.next()?.to_owned(),
            source: String::from_utf8_lossy(&unescape(filesystem.next()?)).into_owned(),
            super_options: list(filesystem.next()?),
        })
    }
}

/// The kernel writes space, tab, newline, backslash and `#` as three octal digits. Read from left to right, once: what
/// an escape stands for is never read as the beginning of another.
fn unescape(text: &str) -> Vec<u8> {
    if !text.contains('\\') {
        return text.chars().map(|character| character as u8).collect();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let code =
            rest.strip_prefix('\\').and_then(|rest| rest.get(..3)).and_then(|code| u8::from_str_radix(code, 8).ok());
        // Back from a character to the byte that it was.
        bytes.push(code.unwrap_or(first as u8));
        rest = &rest[if code.is_some() { 4 } else { first.len_utf8() }..];
    }
    bytes
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
    fn names_are_bytes_and_escapes_are_read_once() {
        let line = b"36 35 98:0 / /a\\134040\\011\xff\xc3 rw - tmpfs some\\040where\\043 rw\n";
        let mount = MountInfo::parse_all(line, |_| true).unwrap().remove(0);
        assert_eq!(mount.target.as_os_str().as_encoded_bytes(), b"/a\\040\t\xff\xc3");
        assert_eq!(mount.source, "some where#");
    }

    #[test]
    fn a_line_that_is_no_mount_is_named_with_its_number() {
        let good = "36 35 98:0 / / rw - ext4 /dev/root rw\n";
        for bad in
            ["36 35 98:0 / / rw ext4 /dev/root rw", "x 35 98:0 / / rw - ext4 a rw", "36 35", "1 2 0:1 / / rw - a b"]
        {
            let (number, line) = MountInfo::parse_all(format!("{good}{bad}\n").as_bytes(), |_| true).unwrap_err();
            assert_eq!((number, line.as_str()), (2, bad));
        }
    }

    #[test]
    fn this_process_has_a_root_mount_and_a_procfs() {
        let mounts = MountInfo::read(Path::new("/proc/self/mountinfo")).unwrap();
        assert!(mounts.iter().any(|mount| mount.target == Path::new("/")));
        let of_processes = MountInfo::read_of(Path::new("/proc/self/mountinfo"), &["proc"]).unwrap();
        let same: Vec<_> = mounts.into_iter().filter(|mount| mount.kind == "proc").collect();
        assert_eq!(of_processes, same);
        assert!(!same.is_empty());
    }
}
