//! Each step of a real plan made to fail in turn: the error names it, and nothing is left of the container.
//!
//! Containers are made in this very process, which therefore has one thread.
#![allow(clippy::unwrap_used)]

#[path = "scenery/busybox.rs"]
mod busybox;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Trial};
use namespaces::NamespaceStep;
use process::channel::Inside;
use process::{CallError, ProcessStep, Step, needs};
use rootfs::RootState;
use runtime::plan::{self, Request};
use runtime::{Checked, Create, Error, Force, RootSource, RuntimeStep, Spec, StateDir, Stdio};
use serde_json::json;

fn main() {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("whichever_step_fails_is_named_and_nothing_is_left", whichever_step_fails_is_named_and_nothing_is_left),
        trial("a_planner_that_fails_leaves_nothing", a_planner_that_fails_leaves_nothing),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A step of a plan, or what was put in its place.
#[derive(Debug)]
enum Injected {
    Real(RuntimeStep),
    /// Fails, under the name of the step whose place it has.
    Refusal(&'static str),
}

impl Step for Injected {
    type State = RootState;

    fn name(&self) -> &'static str {
        match self {
            Self::Real(step) => step.name(),
            Self::Refusal(name) => name,
        }
    }

    fn run(&self, state: &mut RootState, channel: &mut Inside) -> Result<(), CallError> {
        match self {
            Self::Real(step) => step.run(state, channel),
            Self::Refusal(_) => Err(CallError::new("attempt", "what cannot be", nix::errno::Errno::EXDEV)),
        }
    }
}

impl From<ProcessStep> for Injected {
    fn from(step: ProcessStep) -> Self {
        Self::Real(step.into())
    }
}

impl From<NamespaceStep> for Injected {
    fn from(step: NamespaceStep) -> Self {
        Self::Real(step.into())
    }
}

/// A bundle with busybox, a state directory, and a specification that asks for a bit of everything.
struct Scene {
    home: tempfile::TempDir,
    spec: Checked,
}

impl Scene {
    /// `None`, with the reason printed, where the machine cannot run it.
    fn new() -> Option<Self> {
        if !needs::root() || !needs::program("busybox") {
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        busybox::install(home.path(), &["true"]);
        let mut document = serde_json::to_value(Spec::default()).unwrap();
        document["hostname"] = json!("cask");
        document["process"]["terminal"] = json!(true);
        document["process"]["args"] = json!(["true"]);
        document["process"]["oomScoreAdj"] = json!(1000);
        document["linux"]["sysctl"] = json!({"kernel.shm_rmid_forced": "1"});
        document["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        let hook = json!([{"path": "/bin/true"}]);
        document["hooks"] = json!({"createContainer": hook, "startContainer": hook});
        Some(Self { home, spec: Checked::made(serde_json::from_value(document).unwrap()).unwrap() })
    }

    fn state(&self) -> StateDir {
        StateDir::new(self.home.path().join("state"))
    }

    /// Part of the cgroup's path, and tests run side by side.
    fn id(&self) -> String {
        format!("every-step-{}", process::Pid::this())
    }

    fn create<S>(&self, planner: impl runtime::Planner<S>) -> Result<runtime::Created, Error>
    where
        S: Step + From<NamespaceStep> + From<ProcessStep>,
    {
        let request = Create {
            id: &self.id(),
            spec: &self.spec,
            bundle: self.home.path(),
            root: RootSource::Directory(self.home.path().join("rootfs")),
            stdio: Stdio::Terminal { size: process::pty::Size::default() },
            state: &self.state(),
            mounts: Vec::new(),
            on_namespaces: None,
            options: runtime::CreateOptions::default(),
        };
        runtime::create_planned(request, planner)
    }

    /// Creates and starts with the `nth` step replaced; the error, and the name of the step.
    fn with_a_refusal_at(&self, nth: usize) -> (Option<Error>, &'static str) {
        let mut name = "";
        let planner = |request: &Request<'_>| {
            let mut steps: Vec<_> = plan::init_steps(request)?.into_iter().map(Injected::Real).collect();
            name = steps[nth].name();
            steps[nth] = Injected::Refusal(name);
            Ok(steps)
        };
        let error = self.create(planner).and_then(|created| {
            let console = created.console.as_ref().map(|master| master.try_clone().unwrap());
            let started = created.start();
            drop(console);
            started
        });
        (error.err(), name)
    }

    /// How many steps there are.
    fn length(&self) -> usize {
        let mut length = 0;
        let counting = |request: &Request<'_>| {
            length = plan::init_steps(request)?.len();
            Err::<Vec<Injected>, _>(CallError::refused("plan", "", "only counted").into())
        };
        assert!(self.create(counting).is_err());
        length
    }

    /// Nothing of the kernel's, and no file.
    fn is_clean(&self, before: &Seen, when: &str) {
        let state = std::fs::read_dir(self.home.path().join("state")).unwrap().count();
        assert_eq!(state, 0, "a state directory is left {when}");
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let ours = hierarchies.map(|entry| entry.path().join("cooper").join(self.id()));
        let left: Vec<PathBuf> = ours.filter(|path| path.exists()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "a cgroup is left {when}");
        let children = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        assert!(matches!(children, Err(rustix::io::Errno::CHILD)), "a child is left {when}: {children:?}");
        assert_eq!(&Seen::now(self.home.path()), before, "{when}");
    }
}

/// What this process and the machine hold.
#[derive(Debug, PartialEq)]
struct Seen {
    descriptors: BTreeSet<(String, PathBuf)>,
    mounts: usize,
}

impl Seen {
    fn now(home: &Path) -> Self {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let named = entries.map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read_link(entry.path()).unwrap_or_default())
        });
        let descriptors = named.filter(|(_, path)| !path.starts_with("/proc")).collect();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let shown = home.display().to_string();
        Self { descriptors, mounts: mounts.lines().filter(|line| line.contains(&shown)).count() }
    }
}

fn whichever_step_fails_is_named_and_nothing_is_left() {
    let Some(scene) = Scene::new() else { return };
    let before = Seen::now(scene.home.path());
    let length = scene.length();
    assert!(length > 25, "{length} steps");
    let mut seen = BTreeSet::new();
    for nth in 0..length {
        let (error, name) = scene.with_a_refusal_at(nth);
        let error = error.unwrap_or_else(|| panic!("step {nth}, {name}, was not missed")).to_string();
        let expected = r#"attempt "what cannot be" "#;
        if name.starts_with("execve") {
            // The last step's own error is the program's, and named like it.
            assert_eq!(error, expected.trim_end().to_owned() + ": EXDEV");
        } else {
            assert_eq!(error, format!("{name}: {}: EXDEV", expected.trim_end()));
        }
        // What has been created and could not be started is the caller's to delete, as `run` does.
        runtime::delete(&scene.state(), &scene.id(), Force::Yes).unwrap();
        scene.is_clean(&before, &format!("after step {nth}, {name}"));
        seen.insert(name);
    }
    // The plan was one with a bit of everything.
    for name in ["setsid", "pivot_root", "openpt", "accept", "hooks", "oom_score_adj", "seccomp", "execve"] {
        assert!(seen.contains(name), "{name} is not among {seen:?}");
    }
}

fn a_planner_that_fails_leaves_nothing() {
    let Some(scene) = Scene::new() else { return };
    let before = Seen::now(scene.home.path());
    let refusing = |_: &Request<'_>| Err::<Vec<Injected>, _>(CallError::refused("plan", "", "not today").into());
    let Err(error) = scene.create(refusing) else { panic!("it was created") };
    assert_eq!(error.to_string(), "plan: not today");
    scene.is_clean(&before, "after a plan that failed");
}
