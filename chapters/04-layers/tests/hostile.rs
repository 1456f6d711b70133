//! A hostile archive changes nothing outside its root.
//!
//! Each case is an archive made here, byte by byte where need be. Around the root lies a small world with a secret and a
//! canary; after every case, that world must be byte for byte what it was before.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use layers::{ApplyOptions, Error, Limits, apply};
use rootfs::Root;
use tar::{EntryType, Header};

/// One raw member: header fields as they are given, then the body, filled up.
fn raw(name: &[u8], kind: EntryType, link: &[u8], body: &[u8]) -> Vec<u8> {
    raw_with(name, kind, link, body, |_| {})
}

fn raw_with(name: &[u8], kind: EntryType, link: &[u8], body: &[u8], change: impl Fn(&mut Header)) -> Vec<u8> {
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

fn file(name: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Regular, b"", b"hostile")
}

fn dir(name: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Directory, b"", b"")
}

fn link(name: &str, to: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Symlink, to.as_bytes(), b"")
}

fn hard(name: &str, to: &str) -> Vec<u8> {
    raw(name.as_bytes(), EntryType::Link, to.as_bytes(), b"")
}

fn pax(records: &[u8]) -> Vec<u8> {
    raw(b"pax", EntryType::XHeader, b"", records)
}

/// One PAX record with its right length.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
    format!("{length} {key}={value}\n").into_bytes()
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// A directory with a root in it and things beside the root that nobody may touch.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("outside/dir")).unwrap();
        fs::write(dir.path().join("outside/secret"), b"secret").unwrap();
        fs::write(dir.path().join("canary"), b"alive").unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn outside(&self) -> String {
        self.dir.path().join("outside").display().to_string()
    }

    fn apply(&self, archive: &[u8], limits: Limits) -> layers::Result<layers::Applied> {
        let options = ApplyOptions { limits, ..ApplyOptions::default() };
        apply(archive, &Root::open(&self.root()).unwrap(), &options)
    }

    /// Everything but the root: names, kinds, modes, owners, link counts, contents.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        look(self.dir.path(), &self.root(), &mut seen);
        seen
    }
}

fn look(path: &Path, except: &Path, seen: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path == except {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let (mtime, nlink) = ((meta.mtime(), meta.mtime_nsec()), meta.nlink());
        seen.insert(path.clone(), format!("{:o} {} {nlink} {mtime:?} {content:?}", meta.mode(), meta.uid()));
        if meta.is_dir() {
            look(&path, except, seen);
        }
    }
}

/// Small limits, so that what must hit one does so soon.
const LIMITS: Limits = Limits { entries: 1000, bytes: 1 << 20, depth: 100 };

/// Applies a case, and holds the outside against what it was.
fn try_case(name: &str, members: &dyn Fn(&World) -> Vec<u8>) -> Result<World, Error> {
    let world = World::new();
    let before = world.snapshot();
    let bytes = members(&world);
    let result = world.apply(&bytes, LIMITS);
    assert_eq!(world.snapshot(), before, "{name}: the outside changed");
    result.map(|_| world)
}

/// The case must fail, and for this reason: a test of an attack that fails for another one tests nothing.
fn refused(name: &str, reason: &str, members: &dyn Fn(&World) -> Vec<u8>) {
    match try_case(name, members) {
        Ok(_) => panic!("{name}: was accepted"),
        Err(error) => assert!(error.to_string().contains(reason), "{name}: {error}"),
    }
}

fn contained(name: &str, members: &dyn Fn(&World) -> Vec<u8>) -> World {
    try_case(name, members).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn names_that_climb_out_are_refused() {
    for name in ["../x", "a/../../x", "a/..", "..", "./../../canary", "/../canary"] {
        refused(name, "climbs out", &|_| archive(&[file(name)]));
        refused(name, "climbs out", &|_| archive(&[file("a"), hard("b", name)]));
    }
}

#[test]
fn absolute_names_lie_below_the_root() {
    let world = contained("absolute", &|world| archive(&[file(&format!("{}/secret", world.outside()))]));
    assert!(world.root().join(world.outside().trim_start_matches('/')).join("secret").exists());
}

#[test]
fn nothing_is_written_through_a_symbolic_link() {
    let world = contained("write through an absolute link", &|world| {
        archive(&[link("out", &world.outside()), file("out/secret"), file("out/new")])
    });
    // The link was resolved as a container would resolve it: inside its own root.
    assert!(world.root().join(world.outside().trim_start_matches('/')).join("new").exists());
    contained("write through a relative link", &|_| archive(&[link("out", "../outside"), file("out/secret")]));
    contained("a link to a file is replaced", &|world| {
        archive(&[link("f", &format!("{}/secret", world.outside())), file("f")])
    });
    contained("link, then directory of the same name", &|world| {
        archive(&[link("d", &world.outside()), dir("d"), file("d/secret")])
    });
    contained("links in a chain", &|world| {
        archive(&[link("a", "b"), link("b", "c"), link("c", &world.outside()), file("a/secret")])
    });
    refused("links in a ring", "ELOOP", &|_| archive(&[link("a", "b"), link("b", "a"), file("a/x")]));
    contained("/proc/self/root", &|_| archive(&[link("p", "/proc/self/root"), file("p/canary")]));
}

#[test]
fn modes_owners_times_and_attributes_stop_at_the_link() {
    contained("a directory's attributes through a link", &|world| {
        let records = record("SCHILY.xattr.user.x", "yes");
        let times = raw_with(b"d", EntryType::Directory, b"", b"", |header| {
            header.set_mode(0o4777);
            header.set_mtime(99);
        });
        archive(&[link("d", &format!("{}/dir", world.outside())), pax(&records), times])
    });
    contained("a link's own attributes", &|world| {
        let records = record("SCHILY.xattr.user.x", "yes");
        archive(&[pax(&records), link("l", &format!("{}/secret", world.outside()))])
    });
}

#[test]
fn hard_links_reach_nothing_outside() {
    refused("to an absolute path", "no such file in this layer", &|world| {
        archive(&[hard("h", &format!("{}/secret", world.outside()))])
    });
    refused("through a symbolic link", "no such file in this layer", &|world| {
        archive(&[link("out", &world.outside()), hard("h", "out/secret")])
    });
    refused("to nothing", "no such file in this layer", &|_| archive(&[hard("h", "nothing")]));
    refused("to itself", "to itself", &|_| archive(&[file("h"), hard("h", "h")]));
    refused("to a directory", "is a directory", &|_| archive(&[dir("d"), hard("h", "d")]));
    refused("to the root", "to itself or to the root", &|_| archive(&[hard("h", "/")]));
    let world = contained("to a symbolic link, then written to", &|world| {
        archive(&[link("l", &format!("{}/secret", world.outside())), hard("h", "l"), file("h")])
    });
    assert_eq!(fs::read(world.root().join("h")).unwrap(), b"hostile");
}

#[test]
fn whiteouts_remove_nothing() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b"] {
        refused(name, "whiteout", &|_| archive(&[dir("a"), file(name)]));
    }
    if !process::needs::root() {
        return;
    }
    contained("a whiteout through a link", &|world| archive(&[link("out", &world.outside()), file("out/.wh.secret")]));
    contained("an opaque mark through a link", &|world| {
        archive(&[link("out", &world.outside()), file("out/.wh..wh..opq")])
    });
    refused("overlay's whiteout as a device", "overlayfs's whiteout", &|_| {
        archive(&[raw(b"dev", EntryType::Char, b"", b"")])
    });
}

#[test]
fn attributes_of_overlayfs_do_not_come_out_of_archives() {
    for attribute in ["trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.redirect"] {
        let record = record(&format!("SCHILY.xattr.{attribute}"), "/etc");
        let world = contained(attribute, &|_| archive(&[pax(&record), dir("d")]));
        let mut list = [0; 256];
        let length = rustix::fs::listxattr(world.root().join("d"), &mut list[..]).unwrap();
        assert!(!String::from_utf8_lossy(&list[..length]).contains("overlay"), "{attribute}");
    }
}

#[test]
fn malformed_names_are_refused() {
    let long = "x".repeat(256);
    let deep = "d/".repeat(10_000);
    for (name, reason, path) in [("long", "longer than 255", long.as_str()), ("deep", "longer than 4095", &deep)] {
        let body = [path.as_bytes(), b"\0"].concat();
        refused(name, reason, &|_| archive(&[raw(b"long", EntryType::GNULongName, b"", &body), file("x")]));
        refused(name, reason, &|_| archive(&[pax(&record("path", path)), file("x")]));
    }
    refused("empty", "has no name", &|_| archive(&[file("")]));
    refused("zero byte", "zero byte", &|_| archive(&[pax(b"14 path=a\0b/x\n"), file("x")]));
    refused("empty link", "link to nothing", &|_| archive(&[link("l", "")]));
}

#[test]
fn two_sizes_for_one_member_are_refused() {
    for size in ["1", "512", "1024", "99999999"] {
        refused(size, "in the extension", &|_| archive(&[pax(&record("size", size)), file("x")]));
    }
    refused("a directory with a body", "has a body", &|_| archive(&[raw(b"d", EntryType::Directory, b"", b"body")]));
    refused("a hard link with a body", "has a body", &|_| {
        archive(&[file("f"), raw(b"h", EntryType::Link, b"f", b"body")])
    });
}

#[test]
fn malformed_headers_are_refused() {
    for records in [&b"x"[..], b"0 path=x\n", b"9999 path=x\n", b"9999999 path=x\n", b"-9 path=x\n", b"10 path=x\0"] {
        refused("PAX length", "extension record", &|_| archive(&[pax(records), file("x")]));
    }
    let overflow = raw_with(b"x", EntryType::Regular, b"", b"", |header| {
        header.as_old_mut().size = *b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    });
    refused("base-256 overflow", "out of range", &|_| archive(std::slice::from_ref(&overflow)));
    let negative = raw_with(b"x", EntryType::Regular, b"", b"", |header| header.as_old_mut().size = [0xff; 12]);
    refused("negative size", "out of range", &|_| archive(std::slice::from_ref(&negative)));
    let mut damaged = file("x");
    damaged[0] ^= 1;
    refused("checksum", "checksum", &|_| archive(std::slice::from_ref(&damaged)));
    let owner = raw_with(b"x", EntryType::Regular, b"", b"", |header| header.set_uid(u64::from(u32::MAX)));
    refused("owner -1", "out of range", &|_| archive(std::slice::from_ref(&owner)));
    refused("unknown type", "not supported", &|_| archive(&[raw(b"x", EntryType::new(b'V'), b"", b"")]));
}

#[test]
fn truncated_archives_are_refused() {
    let whole = archive(&[file("a"), file("b")]);
    for length in [1, 511, 513, 1024 + 300, 1536 + 100] {
        refused("truncated", "end of file", &|_| whole[..length].to_vec());
    }
    refused("a member behind a lone block of zeros", "single block of zeros", &|_| {
        [file("a"), vec![0; 512], file("b")].concat()
    });
}

#[test]
fn bombs_stop_at_a_limit() {
    refused("ten million members", "more than 1000 members", &|_| archive(&vec![link("l", "x"); 1001]));
    refused("implied directories", "implied directories", &|_| {
        archive(&(0..200).map(|n| file(&format!("{n}/a/a/a/a/a/a"))).collect::<Vec<_>>())
    });
    let sparse = raw_with(b"s", EntryType::GNUSparse, b"", b"", |header| {
        header.as_gnu_mut().unwrap().set_real_size(8 << 60);
    });
    refused("a sparse file of 8 EiB", "bytes in a sparse file", &|_| archive(std::slice::from_ref(&sparse)));
    let claims = raw_with(b"huge", EntryType::XHeader, b"", b"", |header| header.set_size(1 << 40));
    refused("an extension header of a terabyte", "extension header of 1099511627776", &|_| {
        archive(std::slice::from_ref(&claims))
    });

    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&raw_with(b"big", EntryType::Regular, b"", b"", |header| header.set_size(64 << 20))).unwrap();
    bomb.write_all(&vec![0; 64 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let world = World::new();
    let bytes = layers::decompress(&bomb[..], LIMITS.bytes).unwrap();
    let root = Root::open(&world.root()).unwrap();
    assert!(apply(bytes, &root, &ApplyOptions::default()).is_err());
    assert!(fs::metadata(world.root().join("big")).unwrap().len() <= LIMITS.bytes);
}

#[test]
fn devices_are_made_by_root_and_by_nobody_else() {
    if !process::needs::root() {
        return;
    }
    let null = raw_with(b"null", EntryType::Char, b"", b"", |header| {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    });
    let world = contained("a device", &|_| archive(std::slice::from_ref(&null)));
    assert!(fs::symlink_metadata(world.root().join("null")).unwrap().file_type().is_char_device());
}

#[test]
fn what_lay_in_the_root_before_is_replaced_and_not_followed() {
    let world = World::new();
    symlink(world.outside(), world.root().join("d")).unwrap();
    let before = world.snapshot();
    world.apply(&archive(&[dir("d"), file("d/secret")]), LIMITS).unwrap();
    assert_eq!(world.snapshot(), before);
    assert!(world.root().join("d/secret").exists());
}
