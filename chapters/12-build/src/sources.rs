//! Gathering what a COPY copies, and telling it apart from what another COPY would.
//!
//! Before a COPY does anything, its files are found and *read*: what they contain, how they may
//! be used, what they link to. That list is the step's input, so it is what the cache goes by. The
//! time at which a file was modified is not in it: a fresh checkout of the same commit is the
//! same input.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use layers::{Compression, HashingReader};
use process::{CallError, During};

use crate::instruction::Unpack;
use crate::tree::{Entry, Found, Kind, Tree};

/// One source of a COPY, found.
#[derive(Debug)]
pub enum Source {
    /// A file, a link or a directory of a tree, with everything below it.
    Tree {
        /// The entry that was named.
        top: Found,
        /// If that is a directory, what is below it, parents first.
        below: Vec<Entry>,
    },
    /// An archive whose contents are meant (`ADD`).
    Archive(Found),
    /// A here-document: its name and content.
    Inline(String, Vec<u8>),
}

/// All sources of a COPY, and the cache's view of them.
#[derive(Debug, Default)]
pub struct Sources {
    /// In the order in which they were named; what comes later lies on top.
    pub found: Vec<Source>,
    /// For each file its name and what it is: `"app/main.py": "file 644 0:0 sha256:..."`.
    pub contents: BTreeMap<String, String>,
}

impl Sources {
    /// Finds `patterns` in `tree` and reads them all.
    ///
    /// # Errors
    /// A source that is not there, and those of reading it.
    pub fn gather(tree: &Tree, patterns: &[String], unpack: Unpack) -> Result<Sources, CallError> {
        let mut sources = Sources::default();
        for pattern in patterns {
            for top in tree.find(pattern)? {
                let below = match top.entry.kind {
                    Kind::Directory => tree.below(&top.entry.path)?,
                    _ => Vec::new(),
                };
                sources.contents.insert(label(&top.named), describe(tree, &top.entry)?);
                for entry in &below {
                    let inside = entry.path.strip_prefix(&top.entry.path).unwrap_or(&entry.path);
                    sources.contents.insert(label(&top.named.join(inside)), describe(tree, entry)?);
                }
                let unpacked = unpack == Unpack::Archives && is_archive(tree, &top.entry)?;
                sources.found.push(match unpacked {
                    true => Source::Archive(top),
                    false => Source::Tree { top, below },
                });
            }
        }
        Ok(sources)
    }

    /// Adds a here-document.
    pub fn add_inline(&mut self, name: String, content: String) {
        let digest = layers::Digest::of(content.as_bytes());
        self.contents.insert(format!("<<{name}"), format!("file 644 0:0 {digest}"));
        self.found.push(Source::Inline(name, content.into_bytes()));
    }
}

/// What the cache knows of an entry.
fn describe(tree: &Tree, entry: &Entry) -> Result<String, CallError> {
    let Entry { mode, uid, gid, .. } = entry;
    Ok(match &entry.kind {
        Kind::Directory => format!("directory {mode:o} {uid}:{gid}"),
        Kind::Link(target) => format!("link {uid}:{gid} -> {}", label(target)),
        Kind::File(_) => {
            let mut reader = HashingReader::new(tree.open(&entry.path)?);
            std::io::copy(&mut reader, &mut std::io::sink()).during("read", entry.path.display())?;
            format!("file {mode:o} {uid}:{gid} {}", reader.finish().0)
        }
    })
}

/// A path as a key of JSON. Two names that differ only in bytes that are no text must not become
/// one, so such names are written with their escapes.
fn label(path: &Path) -> String {
    match path.to_str() {
        Some("") => ".".to_owned(),
        Some(text) => text.to_owned(),
        None => format!("{path:?}"),
    }
}

/// Whether a file is a tar archive, compressed or not, by its content: names prove nothing.
fn is_archive(tree: &Tree, entry: &Entry) -> Result<bool, CallError> {
    let Kind::File(size) = entry.kind else { return Ok(false) };
    if size < 20 {
        return Ok(false);
    }
    let mut first = [0; 6];
    tree.open(&entry.path)?.read_exact(&mut first).during("read", entry.path.display())?;
    if first.starts_with(b"BZh") || first.starts_with(b"\xfd7zXZ\0") {
        let why = "ADD unpacks tar archives that are plain, gzip or zstd; bzip2 and xz are not supported";
        return Err(CallError::refused("unpack", entry.path.display(), why));
    }
    // What claims to be gzip and is not is an ordinary file, and so is a compressed one that holds no tar.
    let file = tree.open(&entry.path)?;
    let mut header = [0; 512];
    let begins = match Compression::detect(&first) {
        Compression::None => { file }.read_exact(&mut header),
        _ => layers::decompress(file, u64::MAX).and_then(|mut plain| plain.read_exact(&mut header)),
    };
    Ok(begins.is_ok() && is_tar_header(&header))
}

/// Whether a block is a tar header: its checksum fits, and it is not all zeros.
fn is_tar_header(block: &[u8; 512]) -> bool {
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    // The checksum's own eight bytes count as blanks.
    let sum: u32 =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    block[0] != 0 && header.cksum().is_ok_and(|stored| stored == sum)
}

/// The last component of a source's path, which names it in a directory; none for the tree itself.
pub fn base_name(path: &Path) -> PathBuf {
    path.file_name().map(PathBuf::from).unwrap_or_default()
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
