//! An attempt to escape: steps of init, with deeds between them that only a test does.

use std::path::{Path, PathBuf};

use namespaces::{IdMaps, NamespaceKind, Plan, isolate};
use process::channel::Inside;
use process::{CallError, During as _, Event, Signal, Step};
use rootfs::{MountPropagationFlags, RootState, RootedStep, RootfsStep};

/// A step of the library's, or something that only this test does.
#[derive(Debug)]
pub(crate) enum Attempt {
    Rooted(RootedStep),
    Deed(Deed),
}

/// What is done, given the place. A text that it returns is the test's outcome, and ends the child.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    place: Place,
    work: fn(&Place, &mut RootState) -> Result<Option<&'static str>, CallError>,
}

/// ```text
/// home/outside/       a directory of the machine's, which must stay untouched
/// home/root/          the image
/// ```
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) home: PathBuf,
}

impl Place {
    pub(crate) fn root(&self) -> PathBuf {
        self.home.join("root")
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.home.join("outside")
    }

    /// Whether something has been mounted on the machine's directory.
    pub(crate) fn is_mounted_on(&self) -> Result<bool, CallError> {
        let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev).during("stat", path.display());
        Ok(device(&self.outside())? != device(&self.home)?)
    }

    pub(crate) fn deed(&self, work: fn(&Place, &mut RootState) -> Result<Option<&'static str>, CallError>) -> Attempt {
        Attempt::Deed(Deed { place: self.clone(), work })
    }
}

impl<T: Into<RootedStep>> From<T> for Attempt {
    fn from(step: T) -> Self {
        Self::Rooted(step.into())
    }
}

impl Step for Attempt {
    type State = RootState;

    fn name(&self) -> &'static str {
        match self {
            Self::Rooted(step) => step.name(),
            Self::Deed(_) => "deed",
        }
    }

    fn run(&self, state: &mut RootState, channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Rooted(step) => step.run(state, channel),
            Self::Deed(deed) => match (deed.work)(&deed.place, state)? {
                Some(outcome) => channel.reach(outcome, None),
                None => Ok(()),
            },
        }
    }
}

/// A home with an image, as `arrange` makes it.
pub(crate) fn home(arrange: impl FnOnce(&Place)) -> (tempfile::TempDir, Place) {
    let home = tempfile::tempdir().unwrap();
    let place = Place { home: home.path().canonicalize().unwrap() };
    std::fs::create_dir(place.root()).unwrap();
    std::fs::create_dir(place.outside()).unwrap();
    std::fs::write(place.outside().join("secret"), "of the machine").unwrap();
    arrange(&place);
    (home, place)
}

/// Runs the steps in namespaces of their own: what a deed said, or the error of the step that refused.
pub(crate) fn outcome(place: &Place, steps: impl IntoIterator<Item = Attempt>) -> String {
    let mut kinds = vec![NamespaceKind::Mount, NamespaceKind::Pid, NamespaceKind::Net];
    if !rustix::process::geteuid().is_root() {
        kinds.push(NamespaceKind::User);
    }
    let mut all: Vec<Attempt> = vec![
        RootfsStep::Isolate(MountPropagationFlags::PRIVATE).into(),
        RootfsStep::BindRoot(place.root()).into(),
        RootfsStep::AttachRoot(place.root()).into(),
    ];
    all.extend(steps);
    let mut child = isolate(&Plan::create(kinds), None, Some(&IdMaps::only_root()), all).unwrap();
    match child.next_event().unwrap() {
        Event::Reached(outcome, _) => {
            child.pidfd().signal(Signal::SIGKILL).unwrap();
            child.pidfd().wait().unwrap();
            outcome
        }
        Event::Failed(error) => format!("refused: {error}"),
        Event::Execed => unreachable!("no step executes anything"),
    }
}
