//! Archives that other programs wrote: GNU tar in each of its formats, and Python's tarfile.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use layers::{ApplyOptions, apply};
use rootfs::Root;

/// A tree with what archives find hard: long names, holes, links, times before 1970.
fn tree(root: &Path) {
    let deep = root.join("a-long-name/".repeat(25));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(200)), b"deep").unwrap();
    fs::write(root.join("file"), b"content").unwrap();
    fs::hard_link(root.join("file"), root.join("second")).unwrap();
    symlink("x".repeat(150), root.join("link")).unwrap();
    fs::set_permissions(root.join("file"), PermissionsExt::from_mode(0o4711)).unwrap();
    let mut sparse = fs::File::create(root.join("sparse")).unwrap();
    for offset in (0..60).map(|n| n * 65_536 + 4096) {
        sparse.seek(SeekFrom::Start(offset)).unwrap();
        sparse.write_all(b"data").unwrap();
    }
    sparse.set_len(5 << 20).unwrap();
    let old = std::time::UNIX_EPOCH - std::time::Duration::from_secs(2);
    fs::File::open(root.join("file")).unwrap().set_modified(old).unwrap();
}

/// Names, modes, sizes, whole seconds, link counts, contents.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = match (meta.is_file(), meta.is_symlink()) {
                (true, _) => layers::Digest::of(&fs::read(&path).unwrap()).to_string(),
                (_, true) => fs::read_link(&path).unwrap().display().to_string(),
                _ => String::new(),
            };
            let size = if meta.is_dir() { 0 } else { meta.size() };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            let name = path.strip_prefix(root).unwrap().display().to_string();
            lines.push(format!("{name} {:o} {size} {} {links} {content}", meta.mode(), meta.mtime()));
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
    lines.sort();
    lines
}

/// Lets a program write an archive of the tree, applies that, and holds the result against the tree.
fn comes_back(name: &str, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    fs::create_dir(dir.path().join("copy")).unwrap();
    tree(&dir.path().join("tree"));
    let output = Command::new(words[0]).args(&words[1..]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let archive = fs::read(dir.path().join("archive")).unwrap();
    apply(&archive[..], &Root::open(&dir.path().join("copy")).unwrap(), &ApplyOptions::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let (found, expected) = (listing(&dir.path().join("copy")), listing(&dir.path().join("tree")));
    let different: Vec<_> = found.iter().zip(&expected).filter(|(found, expected)| found != expected).collect();
    assert!(different.is_empty() && found.len() == expected.len(), "{name}: {different:?}");
    // The holes are holes again, where the archive knew of them.
    if words.contains(&"--sparse") {
        assert!(fs::metadata(dir.path().join("copy/sparse")).unwrap().blocks() * 512 < 1 << 20, "{name}: no holes");
    }
}

#[test]
fn what_gnu_tar_writes_in_each_of_its_formats_comes_back() {
    if !process::needs::program("tar") {
        return;
    }
    let formats: [&[&str]; 7] = [
        &["--format=gnu"],
        &["--format=posix"],
        &["--format=gnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix", "--sparse", "--xattrs", "--acls"],
    ];
    for format in formats {
        let words = [&["tar", "-cf", "archive", "-C", "tree", "--numeric-owner"], format, &["."]].concat();
        comes_back(&format.join(" "), &words);
    }
}

#[test]
fn what_pythons_tarfile_writes_comes_back() {
    if !process::needs::program("python3") {
        return;
    }
    for format in ["GNU_FORMAT", "PAX_FORMAT"] {
        let script = format!(
            "import tarfile; archive = tarfile.open('archive', 'w', format=tarfile.{format}); archive.add('tree', '.'); archive.close()"
        );
        comes_back(format, &["python3", "-c", &script]);
    }
}
