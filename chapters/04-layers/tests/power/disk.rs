//! A disk whose machine may lose power: an ext4 in a file. The tests of chapter 8 use it, too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Whence, lseek};
use rootfs::{DetachedMount, MountAttrFlags};

/// Runs a program that must succeed; what it printed.
fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A mounted file system in a file. It is in no mount table, and gone with its descriptor.
pub(crate) struct Disk {
    image: PathBuf,
    mount: DetachedMount,
}

impl Disk {
    fn mount(image: PathBuf) -> Self {
        let device = run(&["losetup", "--find", "--show", image.to_str().unwrap()]);
        let mount = DetachedMount::filesystem("ext4", &device, &[], MountAttrFlags::empty());
        // In use, it is only marked: the kernel lets it go with its last user, however this process ends.
        run(&["losetup", "--detach", &device]);
        Self { image, mount: mount.unwrap() }
    }

    /// A new one of so many bytes.
    pub(crate) fn new(image: PathBuf, size: u64) -> Self {
        fs::File::create(&image).unwrap().set_len(size).unwrap();
        run(&["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image.to_str().unwrap()]);
        Self::mount(image)
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.mount.as_fd().as_raw_fd()))
    }

    /// The disk as a power cut in this moment would leave it.
    pub(crate) fn picture(&self) -> Picture {
        Picture { image: self.image.clone(), extents: at_one_moment(&self.image) }
    }
}

/// What a disk holds, from offset to bytes, without its holes.
type Extents = Vec<(u64, Vec<u8>)>;

/// What a disk held at one moment.
#[derive(PartialEq)]
pub(crate) struct Picture {
    image: PathBuf,
    extents: Extents,
}

impl Picture {
    /// A disk with that on it, mounted.
    pub(crate) fn boot(&self) -> Disk {
        let copy = self.image.with_extension("copy");
        let file = fs::File::create_new(&copy).unwrap();
        file.set_len(fs::metadata(&self.image).unwrap().len()).unwrap();
        for (offset, bytes) in &self.extents {
            file.write_all_at(bytes, *offset).unwrap();
        }
        let disk = Disk::mount(copy.clone());
        // The next picture is another file: a mount goes with its last user, which may be a child of another test that is just
        // starting, and what it writes as it goes must not come upon a new disk.
        fs::remove_file(&copy).unwrap();
        disk
    }
}

/// What a file held at one moment, even while others write to it: two readings, one after the other, that agree are what it
/// held between them. A single reading would mix moments: old data, and the journal that says they are new.
fn at_one_moment(path: &Path) -> Extents {
    let file = fs::File::open(path).unwrap();
    let mut before = extents(&file);
    loop {
        let after = extents(&file);
        if before == after {
            return after;
        }
        before = after;
    }
}

fn extents(file: &fs::File) -> Extents {
    let mut extents = Vec::new();
    let mut end = 0;
    // ENXIO: there is nothing but a hole from here on.
    while let Ok(start) = lseek(file, end, Whence::SeekData) {
        end = lseek(file, start, Whence::SeekHole).unwrap();
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact_at(&mut bytes, start as u64).unwrap();
        extents.push((start as u64, bytes));
    }
    extents
}
