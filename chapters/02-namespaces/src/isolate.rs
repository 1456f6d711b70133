//! Making a child that sees less.

use process::{CallError, CloneArgs, Event, ProcessStep, Spawned, Step, spawn};

use crate::idmap::IdMaps;
use crate::kind::NamespaceKind;
use crate::plan::Plan;
use crate::step::NamespaceStep;

/// The checkpoint at which a child waits for its id maps.
const UNMAPPED: &str = "unmapped";

/// Why a child could not be isolated.
#[derive(Debug, thiserror::Error)]
pub enum IsolateError {
    /// A call in the parent.
    #[error(transparent)]
    Parent(#[from] CallError),
    /// A step in the child.
    #[error(transparent)]
    Child(#[from] process::ChildError),
}

/// Spawns a child in the namespaces of `plan`, gives its user namespace `maps`, and lets it go on with `rest`.
///
/// The id maps can only be written from outside: a process inside a user namespace without maps is nobody and
/// may do nothing. So the child waits, its parent writes, and only then does the child become root inside. Who has more to do from
/// outside (network interfaces, a look around) begins `rest` with a checkpoint; who has not, waits for nothing.
///
/// # Errors
/// What fails in the parent or, by its step, in the child before it has its maps. Then there is no child any more.
///
/// # References
/// clone3(2), setns(2), user_namespaces(7)
// spine
pub fn isolate<S>(
    plan: &Plan,
    cgroup: Option<std::os::fd::BorrowedFd<'_>>,
    maps: Option<&IdMaps>,
    rest: Vec<S>,
) -> Result<Spawned, IsolateError>
where
    S: Step + From<NamespaceStep> + From<ProcessStep>,
{
    plan.check()?;
    let mut steps: Vec<S> = plan.steps().into_iter().map(S::from).collect();
    if plan.needs_fork() {
        steps.push(ProcessStep::Fork.into());
    }
    let maps = maps.filter(|_| plan.create.contains(&NamespaceKind::User));
    if maps.is_some() {
        steps.extend([ProcessStep::Checkpoint(UNMAPPED).into(), NamespaceStep::BecomeRoot.into()]);
    }
    steps.extend(rest);

    let mut child = spawn(&CloneArgs { namespaces: plan.clone_flags(), cgroup }, &steps)?;
    let Some(maps) = maps else { return Ok(child) };
    match child.next_event()? {
        Event::Reached(..) => {}
        Event::Failed(error) => return Err(error.into()),
        Event::Execed => return Err(CallError::refused("run", "init", "it skipped its first checkpoint").into()),
    }
    if let Err(error) = maps.write(child.pid()).and_then(|()| child.go()) {
        // Nobody else knows of the child yet: it must not outlive the error.
        child.discard();
        return Err(error.into());
    }
    Ok(child)
}

/// The steps that a child of this chapter alone can take.
#[derive(Debug, Clone, PartialEq)]
pub enum IsolatedStep {
    /// One of chapter 1.
    Process(ProcessStep),
    /// One of this chapter.
    Namespace(NamespaceStep),
}

impl From<ProcessStep> for IsolatedStep {
    fn from(step: ProcessStep) -> Self {
        Self::Process(step)
    }
}

impl From<NamespaceStep> for IsolatedStep {
    fn from(step: NamespaceStep) -> Self {
        Self::Namespace(step)
    }
}

impl Step for IsolatedStep {
    type State = ();

    fn name(&self) -> &'static str {
        match self {
            Self::Process(step) => step.name(),
            Self::Namespace(step) => step.name(),
        }
    }

    fn run(&self, state: &mut (), channel: &mut process::channel::Inside) -> Result<(), CallError> {
        match self {
            Self::Process(step) => step.run(state, channel),
            Self::Namespace(step) => step.run(state, channel),
        }
    }
}
