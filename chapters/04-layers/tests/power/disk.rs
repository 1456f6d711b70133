//! A disk whose machine may lose power: an ext4 in a file. The tests of chapter 8 use it, too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::Command;

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

    /// The disk as a power cut in this moment would leave it, after the next boot.
    pub(crate) fn after_a_power_cut(&self) -> Self {
        let copy = self.image.with_extension("copy");
        run(&["cp", "--sparse=always", self.image.to_str().unwrap(), copy.to_str().unwrap()]);
        Self::mount(copy)
    }
}
