//! What a host may ask for beside the configuration: by flags of its command line, not by a field.

/// How a container is made, where its configuration says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Descriptors from 3 on that the program inherits.
    pub preserve: u32,
    /// How the root is changed.
    pub root_change: RootChange,
    /// Whose keys the program can reach.
    pub keyring: Keyring,
    /// What to do where no cgroup can be made and no limit is asked for.
    pub cgroup: IfNoCgroup,
    /// Who makes the cgroup.
    pub cgroup_manager: CgroupManager,
}

/// How a container's root becomes its root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RootChange {
    /// `pivot_root(2)`: the old root is gone.
    #[default]
    Pivot,
    /// A mount moved over `/`, and `chroot(2)`: for machines whose own root is an initramfs, which cannot be pivoted from.
    /// The old root stays underneath, and whoever has CAP_SYS_CHROOT inside can climb to it.
    Move,
}

/// Whose keys a program can reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keyring {
    /// Those of a fresh session keyring: none.
    #[default]
    Fresh,
    /// The caller's.
    Callers,
}

/// Who makes a container's cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// This library: a cgroup is a directory.
    #[default]
    Files,
    /// systemd, as a scope: `linux.cgroupsPath` is then `SLICE:PREFIX:NAME`.
    Systemd,
}

/// What to do where no cgroup can be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfNoCgroup {
    /// Do without, unless a limit was asked for.
    #[default]
    GoWithout,
    /// That is an error.
    Fail,
}

/// How a process comes into a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Descriptors from 3 on that the program inherits.
    pub preserve: u32,
    /// A group inside the container's own, which must exist; the container's own if none.
    pub cgroup: Option<String>,
    /// What to do where the container is paused.
    pub if_paused: IfPaused,
}

/// What to do where a container is paused: a process that comes in stands still like all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfPaused {
    /// That is an error.
    #[default]
    Refuse,
    /// Come in all the same, and wait until somebody resumes it.
    Wait,
}
