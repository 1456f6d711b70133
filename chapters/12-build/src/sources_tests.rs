#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rootfs::Root;
use tempfile::TempDir;

use super::*;
use crate::ignore::Ignore;
use crate::tree::Owners;

fn context() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("a.py", "a"), ("b.py", "b"), ("src/main.py", "main"), ("src/deep/x", "x"), ("secret", "s")]
    {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    symlink("src", dir.path().join("current")).unwrap();
    symlink("../../../../etc/passwd", dir.path().join("climb")).unwrap();
    symlink("/secret", dir.path().join("src/absolute")).unwrap();
    symlink("loop", dir.path().join("loop")).unwrap();
    dir
}

fn gather(dir: &TempDir, ignore: &str, pattern: &str) -> Result<Vec<String>, CallError> {
    let ignore = Ignore::parse(Path::new(".dockerignore"), ignore).unwrap();
    let tree = Tree::new(Root::open(dir.path()).unwrap(), ignore, Owners::Root);
    let sources = Sources::gather(&tree, &[pattern.to_owned()], Unpack::Archives)?;
    Ok(sources.contents.into_keys().collect())
}

#[test]
fn a_pattern_stays_in_its_directory_and_a_directory_brings_all() {
    let dir = context();
    assert_eq!(gather(&dir, "", "*.py").unwrap(), ["a.py", "b.py"]);
    assert_eq!(
        gather(&dir, "", "s*c/*").unwrap(),
        ["src/absolute", "src/deep", "src/deep/x", "src/main.py"][..].to_vec()
    );
    assert_eq!(gather(&dir, "", "/src/deep/").unwrap(), ["src/deep", "src/deep/x"]);
    assert!(gather(&dir, "", "*.rs").unwrap_err().to_string().contains("no file matches"));
    assert!(gather(&dir, "", "nope").unwrap_err().to_string().contains("ENOENT"));
}

#[test]
fn a_named_link_is_followed_inside_the_tree_only() {
    let dir = context();
    assert_eq!(gather(&dir, "", "current/main.py").unwrap(), ["current/main.py"]);
    assert_eq!(gather(&dir, "", "src/absolute").unwrap(), ["src/absolute"]);
    // Both mean the tree's own /etc/passwd, which is not there.
    assert!(gather(&dir, "", "climb").unwrap_err().to_string().contains("ENOENT"));
    assert!(gather(&dir, "", "../../etc/passwd").unwrap_err().to_string().contains("ENOENT"));
    assert!(gather(&dir, "", "loop").unwrap_err().to_string().contains("too many symbolic links"));
}

#[test]
fn what_is_ignored_is_not_there_not_even_through_a_link() {
    let dir = context();
    let hidden = gather(&dir, "secret", "src/absolute").unwrap_err().to_string();
    assert!(hidden.contains("excluded by .dockerignore"), "{hidden}");
    assert_eq!(
        gather(&dir, "*\n!src/deep", "."),
        Ok(vec![".".into(), "src".into(), "src/deep".into(), "src/deep/x".into()])
    );
}

#[test]
fn contents_name_what_matters_and_no_time() {
    let dir = context();
    let read = || {
        let tree = Tree::new(Root::open(dir.path()).unwrap(), Ignore::default(), Owners::Root);
        Sources::gather(&tree, &["a.py".to_owned()], Unpack::Nothing).unwrap().contents
    };
    let before = read();
    assert_eq!(before["a.py"], format!("file 644 0:0 {}", layers::Digest::of(b"a")));
    let file = fs::File::options().write(true).open(dir.path().join("a.py")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(read(), before);
    fs::set_permissions(dir.path().join("a.py"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(read(), before);
}

#[test]
fn an_archive_is_known_by_its_content() {
    let dir = context();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(dir.path().join("a.py"), "a.py").unwrap();
    let bytes = archive.into_inner().unwrap();
    fs::write(dir.path().join("data"), &bytes).unwrap();
    fs::write(dir.path().join("fake.tar"), "x".repeat(600)).unwrap();
    fs::write(dir.path().join("zip.bz2"), "BZh9".repeat(10)).unwrap();
    let tree = Tree::new(Root::open(dir.path()).unwrap(), Ignore::default(), Owners::Root);
    let archives = |name: &str, unpack| {
        let sources = Sources::gather(&tree, &[name.to_owned()], unpack)?;
        Ok::<_, CallError>(matches!(sources.found[0], Source::Archive(_)))
    };
    assert!(archives("data", Unpack::Archives).unwrap());
    assert!(!archives("data", Unpack::Nothing).unwrap());
    assert!(!archives("fake.tar", Unpack::Archives).unwrap());
    assert!(archives("zip.bz2", Unpack::Archives).unwrap_err().to_string().contains("not supported"));
}
