//! This chapter's step of init: an overlay as the new root.

use process::channel::Inside;
use process::{CallError, Step};
use rootfs::RootState;

use crate::overlay::Overlay;

/// The steps of this chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayersStep {
    /// Stack layers, detached; [`RootfsStep::AttachRoot`](rootfs::RootfsStep::AttachRoot) gives the stack its place.
    ///
    /// The child does this itself, in its own mount namespace and user namespace, so that the machine never
    /// sees the mount and the kernel removes it with the container.
    MountOverlay(Overlay),
}

impl Step for LayersStep {
    type State = RootState;

    fn name(&self) -> &'static str {
        match self {
            Self::MountOverlay(_) => "mount overlay",
        }
    }

    fn run(&self, state: &mut RootState, _: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::MountOverlay(overlay) => {
                state.mount = Some(overlay.mount()?.into());
                Ok(())
            }
        }
    }
}
