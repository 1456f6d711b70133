    // The new root is in place, `ls /` shows the right files, and the old root lies on top of it.
    rustix::process::fchdir(new_root).during("fchdir", "new root")?;
    rustix::process::pivot_root(".", ".").during("pivot_root", ".")?;
    rustix::process::chdir("/").during("chdir", "/")
