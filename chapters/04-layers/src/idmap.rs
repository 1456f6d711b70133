//! Whom this process may name: is it in a user namespace, and which ids exist there?

use std::sync::OnceLock;

/// What this process's user namespace means for overlayfs and `chown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// The initial user namespace: every id exists, and the `trusted.` attributes are ours.
    Host,
    /// A user namespace: some ids exist, overlayfs speaks `user.` attributes, devices cannot be made.
    Namespace,
}

impl Ids {
    /// What this process has. Read once: an engine enters its user namespace before it looks at layers.
    pub fn here() -> Self {
        static ROOTLESS: OnceLock<bool> = OnceLock::new();
        match ROOTLESS.get_or_init(namespaces::rootless::is_rootless) {
            true => Self::Namespace,
            false => Self::Host,
        }
    }

    /// The attribute prefix that overlayfs reads here: its `userxattr` mode or its usual one.
    ///
    /// # References
    /// Linux Documentation/filesystems/overlayfs.rst, "User xattr"
    pub(crate) fn overlay_prefix(self) -> &'static str {
        match self {
            Self::Host => "trusted.overlay.",
            Self::Namespace => "user.overlay.",
        }
    }
}
