    // "It changes the root, does it not?" It changes one process's idea of it.
    rustix::process::fchdir(new_root).during("fchdir", "new root")?;
    rustix::process::chroot(".").during("chroot", ".")?;
    rustix::process::chdir("/").during("chdir", "/")
