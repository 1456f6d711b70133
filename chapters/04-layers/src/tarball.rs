//! Writing an archive: the same headers for the same files, on every machine.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::Stat;
use tar::{EntryType, Header};

use crate::member::Time;
use crate::pax;

/// Extended attributes: names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a header says about a member besides its name and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was changed last, in seconds since 1970.
    pub mtime: i64,
    /// The nanoseconds after that; they take a PAX record, unless they are zero.
    pub mtime_nanoseconds: u32,
    /// Extended attributes, sorted by name.
    pub xattrs: Xattrs,
}

impl Attributes {
    /// What `stat` says; attributes are not part of that.
    pub(crate) fn of(stat: &Stat) -> Self {
        let time = Time::of(stat);
        Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: time.seconds,
            mtime_nanoseconds: time.nanoseconds,
            xattrs: Vec::new(),
        }
    }

    /// Root's, with this mode, of 1970: for members that no file stands behind.
    pub fn plain(mode: u32) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// An archive being written: ustar headers, with PAX records where those have no room.
///
/// Members appear in the order of the calls; whoever wants the same digest twice calls in the same order.
#[derive(Debug)]
pub struct Tarball<W> {
    out: W,
}

const BLOCK: u64 = 512;

impl<W: Write> Tarball<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// A regular file whose `size` bytes come from `body`.
    ///
    /// # Errors
    /// A body that is shorter (the file shrank while it was read: the header is written already); writing.
    pub fn file(&mut self, path: &Path, size: u64, attributes: &Attributes, body: impl Read) -> io::Result<()> {
        self.header(path, EntryType::Regular, size, b"", (0, 0), attributes)?;
        // A file that grows meanwhile is cut where it ended when we looked.
        let written = io::copy(&mut body.take(size), &mut self.out)?;
        if written != size {
            let message = format!("{} shrank from {size} to {written} bytes while it was read", path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.fill(size)
    }

    /// An empty file with no owner and time of its own, such as a whiteout.
    ///
    /// # Errors
    /// Those of writing; so for all that follow.
    pub fn empty_file(&mut self, path: &Path) -> io::Result<()> {
        self.file(path, 0, &Attributes::plain(0), io::empty())
    }

    /// A directory.
    ///
    /// # Errors
    /// Those of writing.
    pub fn directory(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        self.header(path, EntryType::Directory, 0, b"", (0, 0), attributes)
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// Those of writing.
    pub fn symlink(&mut self, path: &Path, target: &[u8], attributes: &Attributes) -> io::Result<()> {
        // Linux gives every link the same mode, some file systems another one.
        let attributes = Attributes { mode: 0o777, ..attributes.clone() };
        self.header(path, EntryType::Symlink, 0, target, (0, 0), &attributes)
    }

    /// A second name for an earlier member.
    ///
    /// # Errors
    /// Those of writing.
    pub fn hard_link(&mut self, path: &Path, target: &Path, attributes: &Attributes) -> io::Result<()> {
        self.header(path, EntryType::Link, 0, target.as_os_str().as_bytes(), (0, 0), attributes)
    }

    /// A device or a FIFO.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn device(
        &mut self,
        path: &Path,
        kind: EntryType,
        device: u64,
        attributes: &Attributes,
    ) -> io::Result<()> {
        let numbers = (rustix::fs::major(device), rustix::fs::minor(device));
        self.header(path, kind, 0, b"", numbers, attributes)
    }

    /// Writes the end mark and returns the writer.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(self.out)
    }

    fn header(
        &mut self,
        path: &Path,
        kind: EntryType,
        size: u64,
        link: &[u8],
        device: (u32, u32),
        attributes: &Attributes,
    ) -> io::Result<()> {
        let mut name = path.as_os_str().as_bytes().to_vec();
        if kind == EntryType::Directory {
            name.push(b'/');
        }
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode);
        set_name(&mut header, &name, &mut records);
        if link.len() <= 100 {
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        } else {
            records.extend(pax::record("linkpath", link));
        }
        set_number(&mut header.as_old_mut().uid, attributes.uid.into(), "uid", &mut records);
        set_number(&mut header.as_old_mut().gid, attributes.gid.into(), "gid", &mut records);
        set_number(&mut header.as_old_mut().size, size.into(), "size", &mut records);
        set_time(&mut header, attributes, &mut records);
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.set_device_major(device.0);
            ustar.set_device_minor(device.1);
        }
        for (name, value) in &attributes.xattrs {
            records.extend(pax::record([pax::XATTR.as_bytes(), name].concat(), value));
        }
        if !records.is_empty() {
            self.records(&records)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    /// A PAX header for the member that follows.
    fn records(&mut self, records: &[u8]) -> io::Result<()> {
        let size = records.len() as u64;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        // Programs that do not know PAX extract this as a file, so it has a name.
        header.as_old_mut().name[..10].copy_from_slice(b"PaxHeaders");
        header.set_mode(0o644);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(records)?;
        self.fill(size)
    }

    /// Zeros up to the next block.
    fn fill(&mut self, size: u64) -> io::Result<()> {
        let missing = (size.wrapping_neg() % BLOCK) as usize;
        self.out.write_all(&[0; BLOCK as usize][..missing])
    }
}

/// A name of up to 100 bytes, or up to 255 if a slash divides it well; a longer one becomes a record.
fn set_name(header: &mut Header, name: &[u8], records: &mut Vec<u8>) {
    let Some(ustar) = header.as_ustar_mut() else { return };
    if name.len() <= 100 {
        ustar.name[..name.len()].copy_from_slice(name);
        return;
    }
    let divides = |&at: &usize| name[at] == b'/' && at <= 155 && name.len() - at - 1 <= 100 && at + 1 < name.len();
    match (0..name.len()).find(divides) {
        Some(at) if at > 0 => {
            ustar.prefix[..at].copy_from_slice(&name[..at]);
            ustar.name[..name.len() - at - 1].copy_from_slice(&name[at + 1..]);
        }
        _ => {
            // The start of it, for programs that do not know PAX.
            ustar.name[..100].copy_from_slice(&name[..100]);
            records.extend(pax::record("path", name));
        }
    }
}

/// The whole seconds, and a record if there is more to say.
fn set_time(header: &mut Header, attributes: &Attributes, records: &mut Vec<u8>) {
    let exact = Time { seconds: attributes.mtime, nanoseconds: attributes.mtime_nanoseconds };
    if exact.nanoseconds == 0 {
        return set_number(&mut header.as_old_mut().mtime, exact.seconds.into(), "mtime", records);
    }
    // The header's own digits are for programs that do not know PAX; what they cannot hold is in the record anyway.
    set_number(&mut header.as_old_mut().mtime, exact.seconds.into(), "mtime", &mut Vec::new());
    records.extend(pax::record("mtime", pax::time_text(exact).as_bytes()));
}

/// Octal digits with a final zero byte, or zero and a record.
fn set_number(field: &mut [u8], number: i128, key: &str, records: &mut Vec<u8>) {
    let digits = field.len() - 1;
    let fits = number >= 0 && number < 1 << (3 * digits);
    let text = format!("{:0digits$o}", if fits { number } else { 0 });
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
    if !fits {
        records.extend(pax::record(key, number.to_string().as_bytes()));
    }
}
