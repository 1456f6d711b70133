//! Chapter 4: archives that a stranger wrote. The question writes them itself, byte by byte.

use std::path::PathBuf;

use anyhow::Context;

use super::Ask;
use crate::scene::{Ran, Scene};
use crate::verdict::{Asked, Stop, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("names-stay-inside", names_stay_inside),
    ("whiteouts-are-read", whiteouts_are_read),
    ("digests-are-read", digests_are_read),
];

/// One member: a name, a kind (`0` file, `5` directory) and content.
struct Member<'a> {
    name: &'a str,
    kind: u8,
    content: &'a [u8],
}

fn member<'a>(name: &'a str, kind: u8, content: &'a [u8]) -> Member<'a> {
    Member { name, kind, content }
}

/// The longest name of a ustar header, in bytes; a longer one comes in a member of its own, as GNU's tar writes it.
const LONGEST: usize = 255;

/// A ustar archive.
fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in members {
        let mut header = [0_u8; 512];
        if one.name.len() > LONGEST {
            let long = archive(&[member("././@LongLink", b'L', format!("{}\0", one.name).as_bytes())]);
            bytes.extend_from_slice(&long[..long.len() - 1024]);
        }
        let one = member(&one.name[..one.name.len().min(LONGEST)], one.kind, one.content);
        // A longer name is split at a slash.
        let cut = if one.name.len() <= 100 { 0 } else { one.name.len() - 100 };
        let cut = if cut == 0 { 0 } else { cut + one.name[cut..].find('/').unwrap_or(0) + 1 };
        let (prefix, name) = (&one.name[..cut.saturating_sub(1)], &one.name[cut..]);
        let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
        put(0, name.as_bytes());
        put(100, if one.kind == b'5' { b"0000755\0" } else { b"0000644\0" });
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, &octal(one.content.len() as u64));
        put(136, &octal(0));
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
    only_the_root_has_no_parts(scene)?;
    depth_is_bounded(scene)
}

/// `./` is the root itself, and nearly every archive begins with it. A name of no bytes is none.
fn only_the_root_has_no_parts(scene: &Scene) -> Asked {
    let file = scene.name();
    let because = "`./` is how tar programs write the root; a member without any name names nothing (chapter 4, \"Whose name is it\")";
    for root in ["./", "/", "."] {
        let (ran, directory) = extracted(scene, &[member(root, b'5', b""), member(&file, b'0', b"x")])?;
        if !directory.join(&file).is_file() {
            return Err(wrong(
                "your reader does not know the root",
                format!("{root:?} is the root"),
                ran.told(),
                because,
            ));
        }
    }
    let (ran, _) = extracted(scene, &[member(&file, b'0', b"x"), member("", b'5', b"")])?;
    if ran.status.success() {
        let found = "it was taken for the root";
        return Err(wrong("your reader takes a member without a name", "an empty name is an error", found, because));
    }
    Ok(())
}

/// Components are counted, not bytes; and they are counted.
fn depth_is_bounded(scene: &Scene) -> Asked {
    let file = scene.name();
    let because = "depth is bounded, and far above what anybody means (chapter 4, \"Whose name is it\")";
    let deep = "x/".repeat(60) + &"y/".repeat(60) + "z";
    let long = format!("{}/{file}", "n".repeat(99));
    let (ran, directory) = extracted(scene, &[member(&deep, b'0', b"x"), member(&long, b'0', b"x")])?;
    if !ran.status.success() || !directory.join(&deep).is_file() {
        return Err(wrong("your reader refuses a deep name", "121 directories are not too many", ran.told(), because));
    }
    // More than the engine ever asks for, and still a path that the kernel would take in one piece.
    let (ran, _) = extracted(scene, &[member(&("d/".repeat(1000) + &file), b'0', b"x")])?;
    if ran.status.success() {
        let expected = "more components than `depth` are an error";
        return Err(wrong("your reader goes as deep as it is told", expected, "1001 were taken", because));
    }
    Ok(())
}

/// `.wh.NAME` hides one name, `.wh..wh..opq` all of a directory; what hides nothing that has a name is refused, and
/// what lies in a whiteout.
fn whiteouts_are_read(scene: &Scene) -> Asked {
    let [directory, name] = [scene.name(), scene.name()];
    for (path, expected) in [
        (format!("{directory}/{name}"), "None".to_owned()),
        (format!("{directory}/.wh.{name}"), format!("Gone({directory:?}, {name:?})")),
        (format!(".wh.{name}"), format!("Gone(\"\", {name:?})")),
        (format!("{directory}/.wh..wh..opq"), format!("Opaque({directory:?})")),
        (format!("{directory}/.wh..wh.{name}"), "Ignored".to_owned()),
    ] {
        let ran = scene.run(scene.program().args(["mark", &path]))?;
        if ran.line() != expected {
            let because = "an empty file of the right name says that something below is gone; aufs's own marks say nothing (chapter 4, \"A change is an archive\")";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong(
                "your layer understands something else than it says",
                format!("{path}: {expected}"),
                found,
                because,
            ));
        }
    }
    for path in [".wh.", ".wh..", ".wh..."].map(|bad| format!("{directory}/{bad}")) {
        let ran = scene.run(scene.program().args(["mark", &path]))?;
        if !ran.line().starts_with("refused:") {
            let because = "a whiteout of `..`, applied blindly, removes the parent's parent (chapter 4, \"A change is an archive\")";
            return Err(wrong("your layer hides what has no name", format!("{path} is refused"), ran.line(), because));
        }
    }
    for path in [format!(".wh.{directory}/{name}"), format!("{directory}/.wh..wh..opq/{name}")] {
        let ran = scene.run(scene.program().args(["mark", &path]))?;
        if !ran.line().starts_with("refused:") {
            let because = "a whiteout is an empty file: whoever writes names below it means to confuse (chapter 4, \"A change is an archive\")";
            return Err(wrong(
                "your layer puts a file into a whiteout",
                format!("{path} is refused"),
                ran.line(),
                because,
            ));
        }
    }
    Ok(())
}

/// Exactly one spelling for each content.
fn digests_are_read(scene: &Scene) -> Asked {
    let digits = |count: usize| (0..count).map(|_| format!("{:x}", scene.number(0, 15))).collect::<String>();
    let (short, long) = (format!("{}a", digits(63)), digits(128));
    for text in [format!("sha256:{short}"), format!("sha512:{long}")] {
        let ran = scene.run(scene.program().args(["digest", &text]))?;
        if ran.line() != text {
            let because =
                "sha256 has 32 bytes and sha512 has 64, two digits each (chapter 4, \"Names made of content\")";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong("your program does not know a digest", text, found, because));
        }
    }
    let capitals = format!("sha256:{}", short.to_uppercase());
    if !scene.run(scene.program().args(["digest", &capitals]))?.line().starts_with("refused:") {
        let because = "digests are compared as text, and are files' names: two spellings are two names (chapter 4, \"Names made of content\")";
        return Err(wrong("one content has two names", format!("{capitals} is refused"), "it was taken", because));
    }
    let bad = [
        format!("md5:{short}"),
        format!("sha256:{}", &short[1..]),
        format!("sha256:{short}0"),
        format!("sha512:{short}"),
        format!("sha256:../{}", &short[3..]),
        short.clone(),
        format!("sha256:{short}\n"),
    ];
    for text in bad {
        let ran = scene.run(scene.program().args(["digest", &text]))?;
        if !ran.line().starts_with("refused:") {
            let because = "a digest becomes a file's name: what is not one must never get there (chapter 4, \"Names made of content\")";
            return Err(wrong(
                "your program takes what is no digest",
                format!("{text:?} is refused"),
                ran.line(),
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
        let deepest = "y/".repeat(500) + "z";
        let bytes = archive(&[member("a/b", b'0', b"hello"), member(&deep, b'5', b""), member(&deepest, b'0', b"x")]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.tar");
        std::fs::write(&file, bytes).unwrap();
        let listed = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), format!("a/b\n{deep}\n{deepest}\n"));
    }
}
