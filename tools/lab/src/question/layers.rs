//! Chapter 4: archives that a stranger wrote. The question writes them itself, byte by byte.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use anyhow::Context;

use super::Ask;
use crate::scene::{Ran, Scene};
use crate::verdict::{Asked, Stop, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("names-stay-inside", names_stay_inside),
    ("whiteouts-are-read", whiteouts_are_read),
    ("numbers-are-read", numbers_are_read),
];

/// One member: a name, a kind (`0` file, `5` directory), content, and the two fields that the questions vary.
struct Member<'a> {
    name: &'a str,
    kind: u8,
    content: &'a [u8],
    size: Option<[u8; 12]>,
    time: [u8; 12],
}

fn member<'a>(name: &'a str, kind: u8, content: &'a [u8]) -> Member<'a> {
    Member { name, kind, content, size: None, time: *b"00000000000\0" }
}

/// A ustar archive.
fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in members {
        let mut header = [0_u8; 512];
        // A longer name is split at a slash.
        let cut = if one.name.len() <= 100 { 0 } else { one.name.len() - 100 };
        let cut = if cut == 0 { 0 } else { cut + one.name[cut..].find('/').unwrap_or(0) + 1 };
        let (prefix, name) = (&one.name[..cut.saturating_sub(1)], &one.name[cut..]);
        let size = one.size.unwrap_or_else(|| octal(one.content.len() as u64));
        let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
        put(0, name.as_bytes());
        put(100, if one.kind == b'5' { b"0000755\0" } else { b"0000644\0" });
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, &size);
        put(136, &one.time);
        put(148, b"        ");
        put(156, &[one.kind]);
        put(257, b"ustar\x0000");
        put(345, prefix.as_bytes());
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(one.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn octal(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
    field
}

/// Two's complement in the last eleven bytes, after a first byte that says so.
fn base_256(number: i64) -> [u8; 12] {
    let mut field = if number < 0 { [0xff; 12] } else { [0; 12] };
    field[0] = if number < 0 { 0xff } else { 0x80 };
    field[4..].copy_from_slice(&number.to_be_bytes());
    field
}

/// Extracts members into a fresh directory.
fn extracted(scene: &Scene, members: &[Member<'_>]) -> Result<(Ran, PathBuf), Stop> {
    let place = scene.scratch().join(scene.name());
    let file = place.join("layer.tar");
    std::fs::create_dir_all(&place).context("mkdir")?;
    std::fs::write(&file, archive(members)).context("cannot write the archive")?;
    let directory = place.join("root");
    let ran = scene.run(scene.program().arg("apply").arg(&file).arg(&directory))?;
    Ok((ran, directory))
}

/// Names as tar programs write them become paths below the root; a name with `..` is refused, wherever that stands.
fn names_stay_inside(scene: &Scene) -> Asked {
    let [a, b] = [scene.name(), scene.name()];
    for (name, path) in [
        (format!("{a}/{b}"), format!("{a}/{b}")),
        (format!("./{a}//{b}"), format!("{a}/{b}")),
        (format!("/{a}/./{b}"), format!("{a}/{b}")),
        (format!("..{a}/{b}.."), format!("..{a}/{b}..")),
    ] {
        let (ran, directory) = extracted(scene, &[member(&name, b'0', b"x")])?;
        if !directory.join(&path).is_file() {
            let because = "tar programs write `./etc//passwd` and `/etc/passwd`, and mean a file below the root (chapter 4, \"Whose name is it\")";
            return Err(wrong(
                "your reader does not understand a harmless name",
                format!("{name:?} becomes {path}"),
                ran.told(),
                because,
            ));
        }
    }
    let because = "`..` has no use in a layer; once a part of the path is a link, it leads elsewhere than it says (chapter 4, \"Whose name is it\")";
    for name in [format!("../{a}"), format!("{a}/../../{b}"), format!("{a}/.."), format!("{a}/../{b}")] {
        let (ran, directory) = extracted(scene, &[member(&a, b'5', b""), member(&name, b'0', b"x")])?;
        if ran.status.success() {
            let made = std::fs::read_dir(&directory).into_iter().flatten().flatten().count();
            let found = format!("it was taken; {made} names are in the root");
            return Err(wrong("your reader takes a name that climbs", format!("{name:?} is an error"), found, because));
        }
    }
    let deep = "x/".repeat(60) + &"y/".repeat(60) + "z";
    let long = format!("{}/{a}", "n".repeat(99));
    let (ran, directory) = extracted(scene, &[member(&deep, b'0', b"x"), member(&long, b'0', b"x")])?;
    if !ran.status.success() || !directory.join(&deep).is_file() {
        let because = "depth is bounded, and far above what anybody means (chapter 4, \"Whose name is it\")";
        return Err(wrong("your reader refuses a deep name", "121 directories are not too many", ran.told(), because));
    }
    Ok(())
}

/// `.wh.NAME` hides one name, `.wh..wh..opq` all of a directory; what hides nothing that has a name is refused.
fn whiteouts_are_read(scene: &Scene) -> Asked {
    let [directory, gone, other] = [scene.name(), scene.name(), scene.name()];
    let name = format!("{directory}/.wh.{gone}");
    let aufs = format!("{directory}/.wh..wh.{other}");
    let (ran, root) =
        extracted(scene, &[member(&directory, b'5', b""), member(&name, b'0', b""), member(&aufs, b'0', b"")])?;
    let hidden = std::fs::symlink_metadata(root.join(&directory).join(&gone));
    let is_whiteout = hidden.as_ref().is_ok_and(|node| node.file_type().is_char_device() && node.rdev() == 0);
    if !is_whiteout {
        let found = hidden.map_or_else(
            |error| format!("{error}; {}", ran.told()),
            |node| format!("a node of mode {:o}", node.mode()),
        );
        let because = "an archive says it with an empty file, overlayfs with a device 0/0 (chapter 4, \"A change is an archive\")";
        return Err(wrong(
            "your layer does not hide what it should",
            format!("{name} becomes a device 0/0 called {gone}"),
            found,
            because,
        ));
    }
    let count = std::fs::read_dir(root.join(&directory)).context("the directory is gone")?.count();
    if count != 1 {
        let because = "aufs wrote names like .wh..wh.plnk for itself; they mean nothing to others (chapter 4, \"A change is an archive\")";
        return Err(wrong(
            "your layer takes aufs's own marks for whiteouts",
            "nothing is made of them",
            format!("{count} names in the directory"),
            because,
        ));
    }
    for bad in [format!("{directory}/.wh."), format!("{directory}/.wh.."), format!("{directory}/.wh...")] {
        let (ran, _) = extracted(scene, &[member(&directory, b'5', b""), member(&bad, b'0', b"")])?;
        if ran.status.success() {
            let because = "a whiteout of `..`, applied blindly, removes the parent's parent (chapter 4, \"A change is an archive\")";
            return Err(wrong(
                "your layer hides what has no name",
                format!("{bad} is an error"),
                "it was taken",
                because,
            ));
        }
    }
    if !tmpfs_has_user_attributes() {
        return Ok(());
    }
    let opaque = format!("{directory}/.wh..wh..opq");
    let (ran, _) = extracted(scene, &[member(&directory, b'5', b""), member(&opaque, b'0', b"")])?;
    if !ran.out.contains(" 1 whiteouts") {
        let because = "an opaque directory shows nothing of the layers below: whoever replaces a directory writes it so (chapter 4, \"A change is an archive\")";
        return Err(wrong(
            "your layer shows through where it is opaque",
            format!("{opaque}: one whiteout"),
            ran.out + &ran.err,
            because,
        ));
    }
    Ok(())
}

/// The scene lies on a tmpfs, which has attributes of users since Linux 6.6.
fn tmpfs_has_user_attributes() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).filter_map(|number| number.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

/// Sizes and times in octal, in octal with blanks, and in base 256, also below zero.
fn numbers_are_read(scene: &Scene) -> Asked {
    let name = scene.name();
    let (then, before) = (scene.number(1 << 30, 1 << 32), scene.number(1, 1 << 30).cast_signed());
    let length = scene.number(9, 90) as usize;
    let content = vec![b'x'; length];
    let blanks: [u8; 12] = std::array::from_fn(|at| format!("{then:>11o} ").as_bytes()[at]);
    let far = i64::from(u32::MAX) * 9;
    for (what, size, time, expected) in [
        ("octal digits", octal(length as u64), octal(then), then.cast_signed()),
        ("octal digits, blanks in front and behind", octal(length as u64), blanks, then.cast_signed()),
        ("base 256", base_256(length as i64), base_256(far), far),
        ("base 256, below zero", octal(length as u64), base_256(-before), -before),
    ] {
        let (ran, root) = extracted(scene, &[Member { size: Some(size), time, ..member(&name, b'0', &content) }])?;
        let found = std::fs::metadata(root.join(&name)).map(|file| (file.len(), file.mtime()));
        if found.as_ref().ok() != Some(&(length as u64, expected)) {
            let found = found.map_or_else(|_| ran.told(), |(size, time)| format!("{size} bytes, of second {time}"));
            let because = "octal digits end at 8 GiB and at 1970; what lies beyond is written in base 256 (chapter 4, \"The code\")";
            return Err(wrong(
                "your reader reads another number than was written",
                format!("{what}: {length} bytes, of second {expected}"),
                found,
                because,
            ));
        }
    }
    for bad in [*b"0000000008\0\0", *b"12 34\0\0\0\0\0\0\0", *b"-0000000001\0"] {
        let (ran, _) = extracted(scene, &[Member { time: bad, ..member(&name, b'0', b"") }])?;
        if ran.status.success() {
            let shown = String::from_utf8_lossy(&bad).replace('\0', "\\0");
            let because = "two readers that guess differently see two archives in one: what is malformed is refused (chapter 4, \"The code\")";
            return Err(wrong(
                "your reader guesses",
                format!("the field {shown:?} is an error"),
                "it was taken",
                because,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_one_that_tar_lists() {
        let deep = "x/".repeat(60) + "z";
        let bytes = archive(&[member("a/b", b'0', b"hello"), member(&deep, b'5', b"")]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.tar");
        std::fs::write(&file, bytes).unwrap();
        let listed = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), format!("a/b\n{deep}/\n"));
    }
}
