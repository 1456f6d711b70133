//! What a student handed in: a directory, read with the care that a stranger's directory needs.
//!
//! What counts are the chapters' Rust sources. Manifests, build scripts, tests, the exercises' drivers and the harness are the
//! grader's own: whoever changed them has changed nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

/// The largest source, in bytes; the largest of Cooper's own has 20,000.
const LARGEST: u64 = 1 << 20;
/// The most sources of a submission.
const MOST: usize = 2000;
/// How deep directories may lie in one another.
const DEEPEST: usize = 8;

/// A directory to be graded, and what it is called in the reports.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The directory's name.
    pub name: String,
    directory: PathBuf,
}

/// Submissions by the names of their directories.
///
/// # Errors
/// Two have the same name: nobody could tell their grades apart.
pub fn named(directories: &[PathBuf]) -> Result<Vec<Submission>> {
    let mut names = BTreeSet::new();
    let mut submissions = Vec::new();
    for directory in directories {
        // `.` has a name, too.
        let name = directory.canonicalize().unwrap_or_else(|_| directory.clone());
        let name = name.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
        ensure!(names.insert(name.clone()), "two submissions are called {name:?}: rename one of the directories");
        submissions.push(Submission { name, directory: directory.clone() });
    }
    Ok(submissions)
}

impl Submission {
    /// Copies its sources to `to`, as far as they differ from those of `house`: what is the same need not be compiled again.
    ///
    /// # Errors
    /// It has no chapters; it holds something else than directories and files, or too much.
    pub fn copy(&self, to: &Path, house: &Path) -> Result<()> {
        let root = File::open(&self.directory).with_context(|| format!("cannot open {}", self.directory.display()))?;
        let chapters = fs::read_dir(house.join("chapters")).context("cannot list the chapters")?;
        let mut count = 0;
        let mut found = false;
        for chapter in chapters {
            let sources = Path::new("chapters").join(chapter?.file_name()).join("src");
            // A chapter that is not there is the grader's own.
            let Ok(directory) = open(&root, &sources, OFlag::O_DIRECTORY) else { continue };
            found = true;
            self.walk(&root, directory, &sources, &mut |path, bytes| {
                count += 1;
                ensure!(count <= MOST, "more than {MOST} sources");
                if fs::read(house.join(path)).is_ok_and(|there| there == bytes) {
                    return Ok(());
                }
                let parent = path.parent().context("a file without a directory")?;
                fs::create_dir_all(to.join(parent)).context("cannot make a directory")?;
                fs::write(to.join(path), bytes).with_context(|| format!("cannot write {}", path.display()))
            })?;
        }
        ensure!(
            found,
            "{}: no sources in chapters/*/src: this is no workspace of `lab init`",
            self.directory.display()
        );
        Ok(())
    }

    fn walk(
        &self,
        root: &File,
        directory: OwnedFd,
        path: &Path,
        keep: &mut impl FnMut(&Path, &[u8]) -> Result<()>,
    ) -> Result<()> {
        ensure!(path.components().count() <= DEEPEST, "{}: too deep", path.display());
        let mut listed =
            nix::dir::Dir::from_fd(directory).with_context(|| format!("cannot list {}", path.display()))?;
        let names = listed.iter().map(|entry| Ok(entry?.file_name().to_owned())).collect::<Result<Vec<_>>>()?;
        for name in names {
            let name = name.to_str().with_context(|| format!("{}: a name that is no UTF-8", path.display()))?;
            let below = path.join(name);
            if name.starts_with('.') {
                continue;
            }
            if let Ok(directory) = open(root, &below, OFlag::O_DIRECTORY) {
                self.walk(root, directory, &below, keep)?;
            } else if name.ends_with(".rs") {
                let bytes = read(root, &below).with_context(|| below.display().to_string())?;
                keep(&below, &bytes)?;
            }
        }
        Ok(())
    }
}

/// Opens below `root`, through no symbolic link: a link to a file of the grader's would be read with the grader's eyes, and
/// shown in an error message.
fn open(root: &File, path: &Path, kind: OFlag) -> Result<OwnedFd> {
    // Not blocking: a named pipe would wait for somebody to write.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | kind;
    let how = OpenHow::new().flags(flags).mode(Mode::empty());
    let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(root.as_fd(), path, how).with_context(|| format!("openat2 {}", path.display()))
}

fn read(root: &File, path: &Path) -> Result<Vec<u8>> {
    let file = File::from(open(root, path, OFlag::empty())?);
    let about = file.metadata().context("cannot look at it")?;
    if !about.is_file() {
        bail!("no ordinary file");
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).context("cannot read it")?;
    ensure!(bytes.len() as u64 <= LARGEST, "larger than {LARGEST} bytes");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A house of one chapter, and a submission with the same file.
    fn scene() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let [house, handed_in, copy] = ["house", "handed-in", "copy"].map(|name| place.path().join(name));
        for root in [&house, &handed_in] {
            fs::create_dir_all(root.join("chapters/01-process/src")).unwrap();
            fs::write(root.join("chapters/01-process/src/lib.rs"), "// the same\n").unwrap();
        }
        fs::create_dir(&copy).unwrap();
        (place, house, handed_in, copy)
    }

    fn copied(house: &Path, handed_in: &Path, copy: &Path) -> Result<()> {
        named(&[handed_in.to_owned()]).unwrap()[0].copy(copy, house)
    }

    #[test]
    fn only_sources_that_differ_are_taken() {
        let (_place, house, handed_in, copy) = scene();
        let chapter = handed_in.join("chapters/01-process");
        fs::write(chapter.join("src/mine.rs"), "// mine\n").unwrap();
        fs::write(chapter.join("build.rs"), "fn main() {}\n").unwrap();
        fs::write(chapter.join("Cargo.toml"), "[package]\n").unwrap();
        copied(&house, &handed_in, &copy).unwrap();
        assert!(!copy.join("chapters/01-process/src/lib.rs").exists());
        assert!(!copy.join("chapters/01-process/build.rs").exists());
        assert!(!copy.join("chapters/01-process/Cargo.toml").exists());
        assert_eq!(fs::read(copy.join("chapters/01-process/src/mine.rs")).unwrap(), b"// mine\n");
    }

    #[test]
    fn a_link_to_a_file_of_the_graders_is_refused() {
        let (_place, house, handed_in, copy) = scene();
        let link = handed_in.join("chapters/01-process/src/secret.rs");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let error = copied(&house, &handed_in, &copy).unwrap_err();
        assert!(format!("{error:#}").contains("secret.rs: ELOOP"), "{error:#}");
        fs::remove_file(&link).unwrap();
        // Nor is one that stands for a whole directory.
        fs::remove_dir_all(handed_in.join("chapters/01-process/src")).unwrap();
        std::os::unix::fs::symlink("/etc", handed_in.join("chapters/01-process/src")).unwrap();
        let error = copied(&house, &handed_in, &copy).unwrap_err();
        assert!(error.to_string().contains("no workspace of `lab init`"), "{error:#}");
    }

    #[test]
    fn a_pipe_a_huge_file_and_a_deep_tree_are_refused() {
        let (_place, house, handed_in, copy) = scene();
        let sources = handed_in.join("chapters/01-process/src");
        let refused = |what: &str| {
            let error = copied(&house, &handed_in, &copy).unwrap_err();
            assert!(format!("{error:#}").contains(what), "{error:#}");
        };
        nix::unistd::mkfifo(&sources.join("pipe.rs"), Mode::S_IRWXU).unwrap();
        refused("pipe.rs: no ordinary file");
        fs::remove_file(sources.join("pipe.rs")).unwrap();
        File::create(sources.join("huge.rs")).unwrap().set_len(1 << 40).unwrap();
        refused("huge.rs: larger than");
        fs::remove_file(sources.join("huge.rs")).unwrap();
        fs::create_dir_all(sources.join("a/b/c/d/e/f")).unwrap();
        refused("too deep");
    }

    #[test]
    fn two_of_one_name_cannot_be_told_apart() {
        let error = named(&["a/anna".into(), "b/anna".into()]).unwrap_err();
        assert_eq!(error.to_string(), "two submissions are called \"anna\": rename one of the directories");
    }
}
