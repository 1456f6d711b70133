//! Archives made byte by byte: what no well-meaning program would write.

use tar::{EntryType, Header};

/// One raw member: header fields as they are given, then the body, filled up.
pub(crate) fn raw(name: &[u8], kind: EntryType, link: &[u8], body: &[u8]) -> Vec<u8> {
    raw_with(name, kind, link, body, |_| {})
}

pub(crate) fn raw_with(
    name: &[u8],
    kind: EntryType,
    link: &[u8],
    body: &[u8],
    change: impl Fn(&mut Header),
) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
    header.set_gid(u64::from(rustix::process::getegid().as_raw()));
    header.set_mtime(1);
    header.set_size(body.len() as u64);
    change(&mut header);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(crate) fn file(name: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Regular, b"", b"hostile")
}

pub(crate) fn dir(name: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Directory, b"", b"")
}

pub(crate) fn link(name: &str, to: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Symlink, to.as_bytes(), b"")
}

pub(crate) fn hard(name: &str, to: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Link, to.as_bytes(), b"")
}

pub(crate) fn pax(records: &[u8]) -> Vec<u8> {
    raw(b"pax", EntryType::XHeader, b"", records)
}

/// One PAX record with its right length.
pub(crate) fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
    format!("{length} {key}={value}\n").into_bytes()
}

pub(crate) fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// A member of GNU's old sparse form: its pairs, and the size that it claims.
pub(crate) fn old_sparse(pairs: &[(u64, u64)], size: u64, body: &[u8]) -> Vec<u8> {
    raw_with(b"sparse", EntryType::GNUSparse, b"", body, |header| {
        let gnu = header.as_gnu_mut().unwrap();
        for (entry, (offset, length)) in gnu.sparse.iter_mut().zip(pairs) {
            entry.offset.copy_from_slice(format!("{offset:011o}\0").as_bytes());
            entry.numbytes.copy_from_slice(format!("{length:011o}\0").as_bytes());
        }
        gnu.set_real_size(size);
    })
}
