#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::ignore::Ignore;
use crate::instruction::Unpack;

struct Case {
    context: TempDir,
    image: TempDir,
}

fn case() -> Case {
    let case = Case { context: tempfile::tempdir().unwrap(), image: tempfile::tempdir().unwrap() };
    let context = case.context.path();
    fs::create_dir_all(context.join("src/deep")).unwrap();
    fs::write(context.join("a"), "a").unwrap();
    fs::write(context.join("b"), "b").unwrap();
    fs::write(context.join("src/main"), "main").unwrap();
    symlink("main", context.join("src/link")).unwrap();
    fs::create_dir(case.image.path().join("there")).unwrap();
    case
}

impl Case {
    fn copy(&self, patterns: &[&str], to: &str) -> Result<(), CallError> {
        self.copy_as(patterns, Target::new("/work", to, own(), None))
    }

    fn copy_as(&self, patterns: &[&str], target: Target) -> Result<(), CallError> {
        let tree = Tree::new(Root::open(self.context.path())?, Ignore::default(), Owners::Root);
        let patterns: Vec<String> = patterns.iter().map(|p| p.to_string()).collect();
        let sources = Sources::gather(&tree, &patterns, Unpack::Nothing)?;
        write(&Root::open(self.image.path())?, &tree, &sources, &target)
    }

    fn has(&self, path: &str) -> bool {
        self.image.path().join(path).symlink_metadata().is_ok()
    }
}

/// The test may run as anybody, and only root may give files away.
fn own() -> Option<(u32, u32)> {
    Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()))
}

#[test]
fn a_file_lands_where_docker_puts_it() {
    let case = case();
    case.copy(&["a"], "x").unwrap();
    case.copy(&["a"], "/y/").unwrap();
    case.copy(&["a"], "/there").unwrap();
    case.copy(&["a", "b"], ".").unwrap();
    for path in ["work/x", "y/a", "there/a", "work/a", "work/b"] {
        assert!(case.has(path), "{path}");
    }
}

#[test]
fn a_directory_gives_its_contents() {
    let case = case();
    case.copy(&["src"], "/app").unwrap();
    for path in ["app/main", "app/link", "app/deep"] {
        assert!(case.has(path), "{path}");
    }
    assert_eq!(fs::read_link(case.image.path().join("app/link")).unwrap(), Path::new("main"));
    assert_eq!(fs::metadata(case.image.path().join("app")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn modes_and_times_are_kept_unless_overruled() {
    let case = case();
    let a = case.context.path().join("a");
    fs::set_permissions(&a, fs::Permissions::from_mode(0o4750)).unwrap();
    fs::File::open(&a).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    case.copy(&["a"], "/kept").unwrap();
    let kept = fs::metadata(case.image.path().join("kept")).unwrap();
    assert_eq!((kept.mode() & 0o7777, kept.mtime()), (0o4750, 0));
    case.copy_as(&["src"], Target::new("/", "/m", own(), Some(0o700))).unwrap();
    assert_eq!(fs::metadata(case.image.path().join("m/main")).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn links_in_the_image_never_lead_out_of_it() {
    let case = case();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), case.image.path().join("etc")).unwrap();
    symlink(outside.path().join("file"), case.image.path().join("last")).unwrap();
    case.copy(&["a"], "/etc/key").unwrap();
    case.copy(&["a"], "/last").unwrap();
    case.copy(&["a"], "/../../../../climbed").unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(case.has("climbed"));
    assert!(fs::symlink_metadata(case.image.path().join("last")).unwrap().is_file());
}

#[test]
fn a_directory_and_a_file_do_not_replace_each_other() {
    let case = case();
    fs::create_dir(case.image.path().join("there/a")).unwrap();
    assert!(case.copy(&["a"], "/there/").unwrap_err().to_string().contains("cannot replace a directory"));
    case.copy(&["a"], "/f").unwrap();
    assert!(case.copy(&["src"], "/f").is_err());
}
