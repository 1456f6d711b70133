//! A root directory with busybox in it.

use std::os::unix::fs::symlink;
use std::path::Path;

/// Makes `rootfs` below a bundle's home, with busybox and these tools of it.
pub(crate) fn install(home: &Path, tools: &[&str]) {
    let bin = home.join("rootfs/bin");
    std::fs::create_dir_all(&bin).unwrap();
    process::needs::copy_program(process::needs::find_program("busybox").unwrap(), bin.join("busybox"));
    tools.iter().for_each(|tool| symlink("busybox", bin.join(tool)).unwrap());
}
