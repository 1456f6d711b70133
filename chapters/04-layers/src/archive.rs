//! Reading a tar archive that somebody else wrote: 512-byte headers, each followed by a body.
//!
//! ```text
//! | header of "x" | records: path=..., mtime=... |   PAX: extends the next header
//! | header        | body, filled up to 512 bytes |   a member
//! | header        | ...                          |
//! | zeros         | zeros                        |   the end
//! ```
//!
//! The `tar` library knows where a header's fields are. The order of headers, the bounds, and what to do
//! where two fields contradict each other are ours, because there the attacks are: if two programs disagree about
//! where the next header begins, one archive has two contents, and only one of them was looked at.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::error::{Error, Result};
use crate::field::{agreed_size, number, unsigned, until_zero, valid_id};
use crate::member::{Kind, Member, Time, link_text, path_inside};
use crate::pax::{self, Extension};
use crate::sparse::{MapLines, SparseMap, SparseRecords, too_many};

/// How much an archive may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members, and directories that only members' names imply.
    pub entries: u64,
    /// Bytes of the whole uncompressed archive.
    pub bytes: u64,
    /// Components of one path. Each level may cost a descriptor while a tree is removed.
    pub depth: usize,
}

impl Default for Limits {
    /// Room for the largest images that people use, and an end for those that have none.
    fn default() -> Self {
        Self { entries: 4_000_000, bytes: 256 << 30, depth: 400 }
    }
}

const BLOCK: usize = 512;
/// Where the pairs of a sparse map end in a block of them; the next byte says whether another block follows.
const SPARSE_END: usize = 21 * 24;

/// The members of an archive, one after the other.
#[derive(Debug)]
pub struct Members<R> {
    archive: R,
    limits: Limits,
    /// Headers so far, those of extensions included.
    headers: u64,
    /// What is left of the current body, and of the zeros that fill its last block.
    body: u64,
    padding: u64,
}

/// What headers before a member said about it.
#[derive(Default, PartialEq)]
struct Said {
    extension: Extension,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Members<R> {
    /// Reads an uncompressed archive.
    pub fn new(archive: R, limits: Limits) -> Self {
        Self { archive, limits, headers: 0, body: 0, padding: 0 }
    }

    /// The next member; whatever is left of the one before is skipped.
    ///
    /// # Errors
    /// [`Error::Archive`] for a malformed header, [`Error::Limit`], [`Error::Read`] for an archive that ends in the
    /// middle of something.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        let mut said = Said::default();
        loop {
            self.skip_body()?;
            let Some(header) = self.next_header()? else {
                return match said == Said::default() {
                    true => Ok(None),
                    false => Err(self.refuse(b"", "an extension header without a member: unexpected end of file")),
                };
            };
            let size = number(&header.as_old().size).and_then(unsigned).map_err(|why| self.refuse(b"", &why))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.extension_body(size)?;
                    said.extension = pax::parse(&records).map_err(|why| self.refuse(b"", &why))?;
                }
                // About all members at once; git and some builders leave remarks there. Nothing to obey.
                EntryType::XGlobalHeader => drop(self.extension_body(size)?),
                EntryType::GNULongName => said.long_name = Some(until_zero(&self.extension_body(size)?).to_vec()),
                EntryType::GNULongLink => said.long_link = Some(until_zero(&self.extension_body(size)?).to_vec()),
                EntryType::GNUSparse => {
                    let map = self.old_sparse_map(&header, said.extension.size.unwrap_or(size))?;
                    return self.member(&header, size, said, Some(map)).map(Some);
                }
                _ => return self.member(&header, size, said, None).map(Some),
            }
        }
    }

    /// The body of the member that [`next_member`](Self::next_member) returned last.
    pub fn body(&mut self) -> impl Read {
        Body(self)
    }

    /// An error about the header read last.
    fn refuse(&self, name: &[u8], reason: &str) -> Error {
        let shown = &name[..name.len().min(200)];
        Error::Archive {
            member: self.headers,
            path: String::from_utf8_lossy(shown).into_owned(),
            reason: reason.to_owned(),
        }
    }

    /// The next header; `None` at the archive's end.
    fn next_header(&mut self) -> Result<Option<Header>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block == [0; BLOCK] {
            // Two blocks of zeros end an archive. After a single one some programs stop and others go on,
            // and that must not decide what an image contains.
            return match self.block()? {
                Some(next) if next != [0; BLOCK] => {
                    Err(self.refuse(b"", "a single block of zeros stands between members"))
                }
                _ => Ok(None),
            };
        }
        self.headers += 1;
        if self.headers > self.limits.entries {
            return Err(Error::Limit { limit: self.limits.entries, what: "members" });
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum is the sum of all bytes, its own eight counted as blanks.
        let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
        let own: u64 = header.as_old().cksum.iter().map(|&b| u64::from(b)).sum();
        match number(&header.as_old().cksum) {
            Ok(stored) if stored == i128::from(sum - own + 8 * u64::from(b' ')) => Ok(Some(header)),
            _ => Err(self.refuse(b"", "the header's checksum is wrong")),
        }
    }

    /// The next 512 bytes; `None` if there is nothing left.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.archive.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Error::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        Ok(Some(block))
    }

    /// The body of an extension header, which is read at once and so must be small.
    fn extension_body(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > pax::LARGEST {
            return Err(self.refuse(b"", &format!("an extension header of {size} bytes")));
        }
        self.start_body(size);
        let mut bytes = Vec::new();
        Body(self).read_to_end(&mut bytes).map_err(Error::Read)?;
        Ok(bytes)
    }

    fn start_body(&mut self, size: u64) {
        self.body = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip_body(&mut self) -> Result<()> {
        io::copy(&mut Body(self), &mut io::sink()).map_err(Error::Read)?;
        let padding = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut (&mut self.archive).take(padding), &mut io::sink()).map_err(Error::Read)?;
        match skipped == padding {
            true => Ok(()),
            false => Err(Error::Read(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Puts together what the header and its extensions say.
    fn member(&mut self, header: &Header, size: u64, said: Said, map: Option<SparseMap>) -> Result<Member> {
        let extension = said.extension;
        // A sparse member's own name is one that programs may use which cannot put it together.
        let name = extension.sparse.name.clone().or(extension.path);
        let name = name.or(said.long_name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extension.link.or(said.long_link);
        let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let read = || {
            let size = agreed_size(size, extension.size)?;
            let fields = header.as_old();
            let id = |pax: Option<u64>, field: &[u8]| match pax {
                Some(id) => valid_id(id),
                None => number(field).and_then(unsigned).and_then(valid_id),
            };
            let seconds = || i64::try_from(number(&fields.mtime)?).map_err(|_| "its time is out of range".to_owned());
            Ok::<_, String>(Member {
                number: self.headers,
                path: path_inside(&name, self.limits.depth)?,
                kind: match &map {
                    Some(map) => Kind::Sparse(map.clone()),
                    None => kind(header, &name, &link, size, self.limits.depth)?,
                },
                mode: (unsigned(number(&fields.mode)?)? & 0o7777) as u32,
                uid: id(extension.uid, &fields.uid)?,
                gid: id(extension.gid, &fields.gid)?,
                mtime: match extension.mtime {
                    Some(time) => time,
                    None => Time { seconds: seconds()?, nanoseconds: 0 },
                },
                xattrs: extension.xattrs,
            })
        };
        let mut member = read().map_err(|why| self.refuse(&name, &why))?;
        match &member.kind {
            Kind::File(size) => {
                self.start_body(*size);
                if let Some(map) = self.pax_sparse_map(&extension.sparse, *size, &name)? {
                    member.kind = Kind::Sparse(map);
                }
            }
            Kind::Sparse(map) => self.start_body(map.segments.iter().map(|segment| segment.length).sum()),
            _ => {}
        }
        match &member.kind {
            // The data is bounded by the archive's size, the holes by nothing else.
            Kind::Sparse(map) if map.size > self.limits.bytes => {
                Err(Error::Limit { limit: self.limits.bytes, what: "bytes in a sparse file" })
            }
            _ => Ok(member),
        }
    }

    /// The map of a member of type `S`: in its header and in the blocks that follow it.
    fn old_sparse_map(&mut self, header: &Header, stored: u64) -> Result<SparseMap> {
        let refuse = |this: &Self, why: String| this.refuse(&header.path_bytes(), &why);
        let Some(gnu) = header.as_gnu() else {
            return Err(refuse(self, "a sparse member without GNU's header".into()));
        };
        let mut numbers = Vec::new();
        let mut pair = |offset: &[u8], length: &[u8]| -> Result<(), String> {
            // A pair that is not used is all zeros; one that is has digits.
            if length[0] != 0 {
                numbers.extend([number(offset).and_then(unsigned)?, number(length).and_then(unsigned)?]);
            }
            if numbers.len() > 2 * crate::sparse::MOST_SEGMENTS { Err(too_many()) } else { Ok(()) }
        };
        for entry in &gnu.sparse {
            pair(&entry.offset, &entry.numbytes).map_err(|why| refuse(self, why))?;
        }
        let mut more = gnu.isextended[0] != 0;
        while more {
            let Some(block) = self.block()? else { return Err(Error::Read(io::ErrorKind::UnexpectedEof.into())) };
            for entry in block[..SPARSE_END].chunks_exact(24) {
                pair(&entry[..12], &entry[12..]).map_err(|why| refuse(self, why))?;
            }
            more = block[SPARSE_END] != 0;
        }
        let size = number(&gnu.realsize).and_then(unsigned);
        size.and_then(|size| SparseMap::new(size, &numbers, stored)).map_err(|why| refuse(self, why))
    }

    /// The map of a member that records call sparse; in version 1.0 it is the beginning of the body.
    fn pax_sparse_map(&mut self, said: &SparseRecords, stored: u64, name: &[u8]) -> Result<Option<SparseMap>> {
        let Some(size) = said.size else { return Ok(None) };
        let mut lines = MapLines::default();
        let mut numbers = said.numbers.as_slice();
        let mut stored = stored;
        if said.map_in_body().map_err(|why| self.refuse(name, &why))? {
            loop {
                let mut block = [0; BLOCK];
                if stored < BLOCK as u64 {
                    return Err(self.refuse(name, "its sparse map is malformed"));
                }
                Body(self).read_exact(&mut block).map_err(Error::Read)?;
                stored -= BLOCK as u64;
                if lines.take(&block).map_err(|why| self.refuse(name, &why))? {
                    break;
                }
            }
            numbers = lines.numbers();
        }
        SparseMap::new(size, numbers, stored).map(Some).map_err(|why| self.refuse(name, &why))
    }
}

/// Reads the current body, and not a byte more.
struct Body<'a, R>(&'a mut Members<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.body).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.0.archive.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.body -= n as u64;
        Ok(n)
    }
}

/// What kind of member a header describes. Only files may have a body.
fn kind(header: &Header, name: &[u8], link: &[u8], size: u64, depth: usize) -> Result<Kind, String> {
    let device = |field: Option<&[u8; 8]>| {
        let id = field.map_or(Ok(0), |field| number(field).and_then(unsigned))?;
        u32::try_from(id).map_err(|_| "its device number is out of range".to_owned())
    };
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (Some(&ustar.dev_major), Some(&ustar.dev_minor)),
        (_, Some(gnu)) => (Some(&gnu.dev_major), Some(&gnu.dev_minor)),
        _ => (None, None),
    };
    let kind = match header.entry_type() {
        // Before 1988 a directory was a file whose name ends in a slash.
        EntryType::Regular if header.as_bytes()[156] == 0 && name.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => return Ok(Kind::File(size)),
        EntryType::Directory => Kind::Directory,
        EntryType::Link => Kind::HardLink(path_inside(link, depth).map_err(|why| format!("a hard link: {why}"))?),
        EntryType::Symlink => Kind::Symlink(link_text(link)?),
        EntryType::Char => Kind::CharDevice(device(major)?, device(minor)?),
        EntryType::Block => Kind::BlockDevice(device(major)?, device(minor)?),
        EntryType::Fifo => Kind::Fifo,
        other => return Err(format!("members of type {:?} are not supported", char::from(other.as_byte()))),
    };
    match size {
        0 => Ok(kind),
        _ => Err(format!("it is no file, and has a body of {size} bytes")),
    }
}
