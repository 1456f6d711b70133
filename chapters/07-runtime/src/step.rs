//! All steps of init, of every chapter so far, as one enum for one interpreter.

use cgroups::CgroupStep;
use layers::Overlay;
use namespaces::NamespaceStep;
use oci_spec::runtime::Hook;
use process::channel::Inside;
use process::{CallError, Pid, ProcessStep, Step};
use rootfs::{DetachedMount, RootState, RootfsStep};

use crate::hooks;
use crate::state::State;

/// One step of a container's init.
#[derive(Debug, Clone, PartialEq)]
pub enum RuntimeStep {
    /// Chapter 1: the process itself.
    Process(ProcessStep),
    /// Chapter 2: its namespaces.
    Namespace(NamespaceStep),
    /// Chapter 3: its root.
    Rootfs(RootfsStep),
    /// Chapter 4: the layers that the root is made of.
    Overlay(Overlay),
    /// Chapter 5: the way into its cgroup, where it could not be born there.
    Cgroup(CgroupStep),
    /// Chapter 6: what it may not do.
    Privilege(privileges::Step),
    /// This chapter: hooks that run inside, with the state they read on standard input. In it the pid is the one inside.
    Hooks(Vec<Hook>, State),
}

impl Step for RuntimeStep {
    type State = RootState;

    fn name(&self) -> &'static str {
        match self {
            Self::Process(step) => step.name(),
            Self::Namespace(step) => step.name(),
            Self::Rootfs(step) => step.name(),
            Self::Overlay(_) => "overlay",
            Self::Cgroup(step) => step.name(),
            Self::Privilege(step) => step.name(),
            Self::Hooks(..) => hooks::STEP,
        }
    }

    fn run(&self, state: &mut RootState, channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Process(step) => step.run(&mut (), channel),
            Self::Namespace(step) => step.run(&mut (), channel),
            Self::Rootfs(step) => step.run(state, channel),
            Self::Overlay(overlay) => {
                state.mount = Some(DetachedMount::from(overlay.mount()?));
                Ok(())
            }
            Self::Cgroup(step) => step.run(&mut (), channel),
            Self::Privilege(step) => step.run(&mut (), channel),
            Self::Hooks(list, state) => {
                let state = State { pid: Some(Pid::this()), ..state.clone() };
                hooks::run(list, &state).map_err(|error| CallError::refused("run", hooks::STEP, error))
            }
        }
    }
}

impl From<ProcessStep> for RuntimeStep {
    fn from(step: ProcessStep) -> Self {
        Self::Process(step)
    }
}

impl From<NamespaceStep> for RuntimeStep {
    fn from(step: NamespaceStep) -> Self {
        Self::Namespace(step)
    }
}

impl From<RootfsStep> for RuntimeStep {
    fn from(step: RootfsStep) -> Self {
        Self::Rootfs(step)
    }
}

impl From<CgroupStep> for RuntimeStep {
    fn from(step: CgroupStep) -> Self {
        Self::Cgroup(step)
    }
}

impl From<privileges::Step> for RuntimeStep {
    fn from(step: privileges::Step) -> Self {
        Self::Privilege(step)
    }
}
