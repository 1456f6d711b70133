//! `tar-corpus`: a hostile archive changes nothing outside its root.
//!
//! Each case is an archive made here, byte by byte where need be. Around the root lies a small world with a secret and a
//! canary; after every case, that world must be byte for byte what it was before. All of it runs as root and, again, in
//! an ordinary user's namespace.
#![allow(clippy::unwrap_used)]

mod archives;
mod programs;
mod world;

use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use layers::{ApplyOptions, DiffId, Digest, Error, Snapshots, apply};
use namespaces::rootless::is_rootless;
use rootfs::Root;
use tar::EntryType;

use crate::archives::{archive, dir, file, hard, link, old_sparse, pax, raw, raw_with, record};
use crate::world::{LIMITS, World, contained, refused};

/// The same member again and again, without holding them all.
struct Repeated {
    member: Vec<u8>,
    at: usize,
    left: u64,
}

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let n = (&self.member[self.at..]).read(buffer)?;
        self.at += n;
        if self.at == self.member.len() {
            (self.at, self.left) = (0, self.left - 1);
        }
        Ok(n)
    }
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
fn sparse_maps_that_lie_are_refused() {
    for (pairs, size) in [
        (&[(0, 7), (3, 4)][..], 100),
        (&[(50, 4), (0, 3)], 100),
        (&[(98, 7)], 100),
        (&[(0, 6)], 100),
        (&[(0, 8)], 100),
        (&[(0o77777777777, 7)], 0o77777777777),
    ] {
        refused("old GNU", "sparse map", &|_| archive(&[old_sparse(pairs, size, b"hostile")]));
        let numbers: Vec<String> = pairs.iter().flat_map(|(a, b)| [a.to_string(), b.to_string()]).collect();
        let size = record("GNU.sparse.size", &size.to_string());
        let map = record("GNU.sparse.map", &numbers.join(","));
        refused("PAX 0.1", "sparse map", &|_| archive(&[pax(&[size.clone(), map.clone()].concat()), file("x")]));
    }
    let version = |major: &str| [record("GNU.sparse.major", major), record("GNU.sparse.realsize", "9")].concat();
    refused("a version to come", "unknown version", &|_| archive(&[pax(&version("2")), file("x")]));
    for (lines, reason) in
        [("x\n", "malformed"), ("9999999\n", "segments"), ("2\n0\n7\n", "malformed"), ("", "malformed")]
    {
        let body = [lines.as_bytes(), &vec![b'\n'; 512 - lines.len()], b"hostile"].concat();
        refused("PAX 1.0", reason, &|_| archive(&[pax(&version("1")), raw(b"x", EntryType::Regular, b"", &body)]));
    }
    refused("a map longer than its body", "malformed", &|_| archive(&[pax(&version("1")), file("x")]));
    let extended = |more: u8| {
        let mut header = old_sparse(&[(0, 7)], 7, b"");
        header[482] = more;
        header[124..136].copy_from_slice(b"00000000007\0");
        let sum: u64 =
            header.iter().enumerate().map(|(at, &b)| if (148..156).contains(&at) { 32 } else { b.into() }).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    };
    // Each block says that another one follows; the archive ends first.
    let blocks = [extended(1), vec![b'1'; 512 * 9]].concat();
    refused("maps without end", "end of file", &|_| blocks.clone());
}

#[test]
fn bombs_stop_at_a_limit() {
    refused("ten million members", "more than 1000 members", &|_| archive(&vec![link("l", "x"); 1001]));
    let world = World::new();
    let endless =
        std::io::Cursor::new(link("l", "x")).chain(Repeated { member: link("l", "x"), at: 0, left: 10_000_000 });
    let options = ApplyOptions { limits: LIMITS, ..ApplyOptions::default() };
    assert!(matches!(apply(endless, &Root::open(&world.root()).unwrap(), &options), Err(Error::Limit { .. })));
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
    let null = raw_with(b"null", EntryType::Char, b"", b"", |header| {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    });
    let world = contained("a device", &|_| archive(&[null.clone(), file("x")]));
    if is_rootless() || !rustix::process::geteuid().is_root() {
        assert!(!world.root().join("null").exists(), "an ordinary user has made a device");
        return;
    }
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

#[test]
fn access_lists_are_set_and_those_for_new_files_are_given_to_nobody_on_the_way() {
    let lists = [
        record("SCHILY.acl.access", "user::rwx,group::r-x,other::r--,mask::r-x,user:0:r-x"),
        record("SCHILY.acl.default", "user::rwx,user:0:rwx,group::r-x,mask::rwx,other::---"),
        record("SCHILY.xattr.user.note", "kept"),
    ];
    let foreign = record("SCHILY.acl.access", "user::rwx,user:lisa:rwx,group::r-x,mask::rwx,other::---");
    let world = World::new();
    let members = [pax(&lists.concat()), dir("d"), file("d/new"), pax(&foreign), file("theirs")];
    let applied = world.apply(&archive(&members), LIMITS).unwrap();
    assert_eq!(applied.xattrs_skipped, 1, "a list with a name of another machine");
    let length = |path: &str, name: &str| rustix::fs::getxattr(world.root().join(path), name, &mut [0; 256][..]);
    // A version, and eight bytes for each of five entries.
    assert_eq!(length("d", "system.posix_acl_access"), Ok(44));
    assert_eq!(length("d", "system.posix_acl_default"), Ok(44));
    assert_eq!(length("d", "user.note"), Ok(4));
    assert_eq!(length("d/new", "system.posix_acl_access"), Err(rustix::io::Errno::NODATA));
}

#[test]
fn an_archive_of_another_diff_id_leaves_nothing() {
    let world = World::new();
    let before = world.snapshot();
    let snapshots = Snapshots::open(world.root()).unwrap();
    let expected = DiffId(Digest::of(b"another one"));
    let error = snapshots.extract(&expected, &archive(&[file("x")])[..]).unwrap_err();
    assert!(matches!(error, Error::DiffId { .. }), "{error}");
    assert!(!snapshots.has(&expected) && snapshots.list().unwrap().is_empty());
    assert_eq!((snapshots.prune().unwrap(), world.snapshot()), (0, before));
}

#[test]
fn names_as_deep_as_allowed_are_made_and_deeper_ones_are_refused() {
    let path = |depth: usize| format!("{}x", "d/".repeat(depth - 1));
    let deep = |depth: usize| archive(&[pax(&record("path", &path(depth))), file("x")]);
    let world = contained("a hundred levels", &|_| deep(100));
    assert!(world.root().join(path(100)).exists());
    refused("a hundred and one", "directories deep", &|_| deep(101));
}

#[test]
fn whatever_the_archive_is_cut_at_it_is_refused_or_whole() {
    let whole = archive(&[pax(&record("path", "a")), file("x"), dir("d"), hard("d/h", "a"), link("l", "a")]);
    for length in (0..whole.len()).filter(|length| length % 512 == 0 || length % 61 == 0) {
        let world = World::new();
        let before = world.snapshot();
        let result = world.apply(&whole[..length], LIMITS);
        assert_eq!(world.snapshot(), before, "cut at {length}");
        // Without its end mark an archive is still whole, as it is for every tar program.
        let whole_members = length % 512 == 0 && !(512..2048).contains(&length);
        assert!(result.is_err() || whole_members, "cut at {length}: was accepted");
    }
}

#[test]
fn a_file_that_cannot_be_given_away_lends_no_rights() {
    let given = raw_with(b"su", EntryType::Regular, b"", b"x", |header| {
        header.set_mode(0o6755);
        header.set_uid(4242);
        header.set_gid(4242);
    });
    let world = World::new();
    let applied = world.apply(&archive(&[given]), LIMITS).unwrap();
    let mode = fs::metadata(world.root().join("su")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, if applied.owners_ignored > 0 { 0o755 } else { 0o6755 });
}

#[test]
fn every_case_holds_in_an_ordinary_users_namespace_too() {
    if is_rootless() {
        // This is that very run.
        return;
    }
    if !process::needs::user_namespaces() || !process::needs::program("unshare") {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut words = vec!["unshare", "--user", "--map-root-user", program.to_str().unwrap(), "--test-threads=2"];
    if rustix::process::geteuid().is_root() {
        if !process::needs::program("runuser") || !process::needs::account("learner") {
            return;
        }
        words.splice(0..0, ["runuser", "-u", "learner", "--"]);
    }
    let output = std::process::Command::new(words[0]).args(&words[1..]).current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("test nothing_is_written_through_a_symbolic_link ... ok"), "{said}");
}
