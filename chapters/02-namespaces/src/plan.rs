//! Which namespaces a child is given, as data, and the rules of their order.

use std::os::fd::{AsFd as _, AsRawFd as _};

use process::{CallError, Pid, PidFd};

use crate::fd::NamespaceFd;
use crate::kind::NamespaceKind;
use crate::step::NamespaceStep;

/// Which namespaces a child is given: new ones, those of others, and by silence the parent's.
///
/// A kind that is in neither list is *shared*: the child has the parent's. What the order must be, and what
/// breaks otherwise, says [`RULES`].
#[derive(Debug, Default)]
pub struct Plan {
    /// Kinds to make.
    pub create: Vec<NamespaceKind>,
    /// Namespaces to join.
    pub join: Vec<Join>,
}

/// What is joined.
#[derive(Debug)]
pub enum Join {
    /// One namespace, held open: by a path, by a link in `/proc/PID/ns`, or by a file it was kept on.
    One(NamespaceFd),
    /// Several kinds of one process's at once, by its pidfd: all of them or none, and never those of another
    /// process that has been given the same number meanwhile.
    Process(PidFd, Vec<NamespaceKind>),
}

/// A rule of order, and what breaks without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What comes before what.
    pub rule: &'static str,
    /// Why.
    pub otherwise: &'static str,
    /// Where the kernel's documentation says so.
    pub reference: &'static str,
}

/// The rules that [`Plan`] and [`isolate`](crate::isolate()) keep.
pub const RULES: [Rule; 7] = [
    Rule {
        rule: "join first, make afterwards",
        otherwise: "new namespaces would belong to the old user namespace, and root of the joined one has no power over them",
        reference: "user_namespaces(7)",
    },
    Rule {
        rule: "the user namespace is joined before the others",
        otherwise: "setns answers EPERM: the capabilities that it asks for come from there",
        reference: "setns(2)",
    },
    Rule {
        rule: "the mount namespace is joined last",
        otherwise: "paths that lead to the others would be looked up in the new one's files",
        reference: "mount_namespaces(7)",
    },
    Rule {
        rule: "new namespaces are made all at once, the user namespace among them",
        otherwise: "those made before it would belong to its parent; in one clone3 the kernel makes it first",
        reference: "clone3(2)",
    },
    Rule {
        rule: "after joining a pid namespace, fork once more",
        otherwise: "the process itself stays where it was: only its children are inside",
        reference: "pid_namespaces(7)",
    },
    Rule {
        rule: "id maps are written from outside, while the child waits",
        otherwise: "a process without maps is nobody, and may not write them, nor become root",
        reference: "user_namespaces(7)",
    },
    Rule {
        rule: "clocks are set between unshare and the first process in the time namespace",
        otherwise: "timens_offsets answers EACCES: clocks must not jump under a process",
        reference: "time_namespaces(7)",
    },
];

impl From<NamespaceFd> for Join {
    fn from(namespace: NamespaceFd) -> Self {
        Self::One(namespace)
    }
}

impl Join {
    /// The kinds that are joined by it.
    pub fn kinds(&self) -> Vec<NamespaceKind> {
        match self {
            Self::One(namespace) => vec![namespace.kind()],
            Self::Process(_, kinds) => kinds.clone(),
        }
    }

    fn step(&self) -> NamespaceStep {
        match self {
            Self::One(namespace) => NamespaceStep::Join(namespace.kind(), namespace.as_fd().as_raw_fd()),
            Self::Process(pidfd, kinds) => NamespaceStep::JoinProcess(kinds.clone(), pidfd.as_fd().as_raw_fd()),
        }
    }
}

impl Plan {
    /// A plan that makes these kinds and shares the rest.
    pub fn create(kinds: impl IntoIterator<Item = NamespaceKind>) -> Self {
        Self { create: kinds.into_iter().collect(), join: Vec::new() }
    }

    /// A plan that enters the whole set of a running process: every kind in which it differs from the caller.
    ///
    /// Kinds that are the same must stay out: the kernel refuses to enter the user namespace one is in.
    ///
    /// # Errors
    /// ESRCH when there is no such process, EACCES when it is not ours to look at.
    // hole: enter-a-process
    pub fn enter(pid: Pid) -> Result<Self, CallError> {
        // Held before it is looked at: if it ends meanwhile, what we read below may be another's, and joining
        // through this descriptor answers ESRCH.
        let process = PidFd::open(pid)?;
        let mut kinds = Vec::new();
        for kind in NamespaceKind::ALL {
            if NamespaceFd::of(pid, kind)?.id()? != NamespaceFd::own(kind)?.id()? {
                kinds.push(kind);
            }
        }
        let join = if kinds.is_empty() { Vec::new() } else { vec![Join::Process(process, kinds)] };
        Ok(Self { create: Vec::new(), join })
    }

    /// Refuses what has no meaning: a kind that is named twice.
    ///
    /// # Errors
    /// The kind.
    pub fn check(&self) -> Result<(), CallError> {
        let mut named: Vec<_> = self.join.iter().flat_map(Join::kinds).chain(self.create.iter().copied()).collect();
        named.sort_unstable();
        match named.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(CallError::refused("plan namespaces", pair[0], "named twice: make it or join it, once")),
            None => Ok(()),
        }
    }

    /// The flags for `clone3`. Those of the time namespace stay out: see [`NamespaceStep::OwnTime`]. Where
    /// something is joined first, all of them stay out, and [`NamespaceStep::Unshare`] follows the joining.
    pub fn clone_flags(&self) -> u64 {
        if !self.join.is_empty() {
            return 0;
        }
        self.created_now().map(NamespaceKind::bits).fold(0, |flags, bit| flags | bit)
    }

    /// The steps that complete what [`Plan::clone_flags`] began.
    pub fn steps(&self) -> Vec<NamespaceStep> {
        // A process's set goes where its earliest kind belongs: with the user namespace in it, before all else.
        let mut joined: Vec<_> = self.join.iter().map(|join| (join.kinds().into_iter().min(), join.step())).collect();
        joined.sort_by_key(|(earliest, _)| *earliest);
        let mut steps: Vec<_> = joined.into_iter().map(|(_, step)| step).collect();
        if !self.join.is_empty() {
            steps.extend(self.created_now().map(NamespaceStep::Unshare));
        }
        steps
    }

    /// Whether the child must fork once more to be inside its pid namespace.
    pub fn needs_fork(&self) -> bool {
        self.join.iter().any(|join| join.kinds().contains(&NamespaceKind::Pid))
            || (!self.join.is_empty() && self.create.contains(&NamespaceKind::Pid))
    }

    fn created_now(&self) -> impl Iterator<Item = NamespaceKind> {
        let mut kinds = self.create.clone();
        kinds.sort_unstable();
        kinds.into_iter().filter(|kind| *kind != NamespaceKind::Time)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn own(kind: NamespaceKind) -> Join {
        NamespaceFd::own(kind).unwrap().into()
    }

    fn names(plan: &Plan) -> Vec<String> {
        let name = |step: &NamespaceStep| match step {
            NamespaceStep::Join(kind, _) => format!("join {kind}"),
            NamespaceStep::JoinProcess(kinds, _) => {
                format!("join {}", kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"))
            }
            NamespaceStep::Unshare(kind) => format!("make {kind}"),
            other => format!("{other:?}"),
        };
        plan.steps().iter().map(name).collect()
    }

    #[test]
    fn what_is_made_is_made_by_clone3_all_at_once_and_time_comes_later() {
        use NamespaceKind::{Mount, Pid, Time, User};
        let plan = Plan::create([Mount, User, Time, Pid]);
        assert_eq!(plan.clone_flags(), Mount.bits() | User.bits() | Pid.bits());
        assert_eq!(names(&plan), [""; 0]);
        assert!(!plan.needs_fork());
    }

    #[test]
    fn joining_comes_first_the_user_namespace_before_all_and_mounts_last() {
        use NamespaceKind::{Ipc, Mount, Net, Pid, User};
        let plan = Plan { create: vec![Pid, Ipc], join: vec![own(Mount), own(Net), own(User)] };
        assert_eq!(plan.clone_flags(), 0);
        assert_eq!(names(&plan), ["join user", "join net", "join mount", "make ipc", "make pid"]);
        assert!(plan.needs_fork(), "a pid namespace made by unshare holds children only");
    }

    #[test]
    fn a_process_is_joined_in_one_call() {
        use NamespaceKind::{Mount, Net, Pid, User};
        let this = PidFd::open(process::Pid::this()).unwrap();
        let plan = Plan { create: vec![], join: vec![own(Net), Join::Process(this, vec![User, Pid, Mount])] };
        assert_eq!(names(&plan), ["join user+pid+mount", "join net"]);
        assert!(plan.needs_fork());
    }

    #[test]
    fn entering_a_process_that_shares_everything_joins_nothing() {
        let plan = Plan::enter(process::Pid::this()).unwrap();
        assert!(plan.join.is_empty() && plan.create.is_empty());
    }

    #[test]
    fn a_kind_named_twice_is_refused() {
        let plan = Plan { create: vec![NamespaceKind::Net], join: vec![own(NamespaceKind::Net)] };
        assert_eq!(
            plan.check().unwrap_err().to_string(),
            r#"plan namespaces "net": named twice: make it or join it, once"#
        );
    }
}
