//! From names to numbers: a resolved profile as a decision table.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::Arch;
use super::profile::{Action, Argument, Profile, Rule};
use crate::Error;

/// The highest errno that a filter can answer; the kernel cuts what is above.
const MAX_ERRNO: u32 = 4095;
/// What a tracer is told has 16 bits.
const MAX_MESSAGE: u32 = 0xffff;
/// A call has six arguments.
const ARGUMENTS: u32 = 6;

/// What to answer: the filter's return value, action in the high half, errno in the low one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer(pub(super) u32);

impl Answer {
    /// What a foreign architecture gets: its call numbers mean other calls, so no rule could be right.
    pub(super) const KILL_PROCESS: Answer = Answer(0x8000_0000);
    /// "This kernel has no such call": programs fall back to what they did before the call existed.
    pub(super) const NO_SUCH_CALL: Answer = Answer(0x0005_0000 | Errno::ENOSYS as u32);
    /// Whoever holds the listener decides.
    pub(super) const NOTIFY: Answer = Answer(0x7fc0_0000);

    fn of(action: Action, errno: Option<u32>, place: impl Fn() -> String) -> Result<Self, Error> {
        let refuse = |reason: String| Err(Error::Profile { place: place(), reason });
        match (action, errno) {
            (Action::Errno, Some(errno)) if errno > MAX_ERRNO => {
                return refuse(format!("errno {errno} is above {MAX_ERRNO}"));
            }
            (Action::Trace, Some(errno)) if errno > MAX_MESSAGE => {
                return refuse(format!("{errno} is above {MAX_MESSAGE}"));
            }
            (_, None) | (Action::Errno | Action::Trace, _) => {}
            // An errno that nobody would ever see is a mistake of the profile's author.
            (_, Some(errno)) => return refuse(format!("errno {errno}, but {action:?} answers none")),
        }
        let errno = errno.unwrap_or(Errno::EPERM as u32);
        Ok(match action {
            Action::KillThread => Self(0),
            Action::KillProcess => Self::KILL_PROCESS,
            Action::Trap => Self(0x0003_0000),
            Action::Errno => Self(0x0005_0000 | errno),
            Action::Notify => Self::NOTIFY,
            Action::Trace => Self(0x7ff0_0000 | errno),
            Action::Log => Self(0x7ffc_0000),
            Action::Allow => Self(0x7fff_0000),
        })
    }
}

/// One way through a call's rules: if all conditions hold, the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) conditions: Vec<Argument>,
    pub(super) answer: Answer,
}

/// For each architecture its calls and their branches, and what everything else gets.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) default: Answer,
    /// All ways through the rules, in the profile's order.
    pub(super) branches: Vec<Branch>,
    /// A call's number, and one of its branches: sorted, so that for one number the profile's order holds. The machine's own
    /// architecture is always there. x32's numbers have bit 30 set.
    pub(super) calls: BTreeMap<Arch, Vec<(u32, usize)>>,
}

impl Table {
    /// Reads a resolved profile.
    // hole: seccomp-table
    pub(super) fn of(profile: &Profile) -> Result<Self, Error> {
        let default = Answer::of(profile.default_action, profile.default_errno_ret, || "defaultErrnoRet".to_owned())?;
        let named = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
        let mut branches = Vec::new();
        let mut calls: BTreeMap<Arch, Vec<(u32, usize)>> =
            profile.called_architectures()?.into_iter().map(|arch| (arch, Vec::with_capacity(named))).collect();
        for (place, rule) in profile.syscalls.iter().enumerate() {
            let answer = Answer::of(rule.action, rule.errno_ret, || format!("syscalls[{place}].errnoRet"))?;
            let first = branches.len();
            branches.extend(alternatives(rule, place)?.into_iter().map(|conditions| Branch { conditions, answer }));
            for (arch, calls) in &mut calls {
                // A name that this architecture lacks can never be called there.
                for number in rule.names.iter().filter_map(|name| arch.number_of(name)) {
                    calls.extend((first..branches.len()).map(|branch| (number, branch)));
                }
            }
        }
        for calls in calls.values_mut() {
            calls.sort_unstable();
            // Behind a branch without conditions nothing is ever reached.
            calls.dedup_by(|later, earlier| later.0 == earlier.0 && branches[earlier.1].conditions.is_empty());
        }
        Ok(Self { default, branches, calls })
    }

    /// Whether any call at all is answered like this.
    pub(super) fn answers(&self, answer: Answer) -> bool {
        let mut calls = self.calls.values().flatten();
        self.default == answer || calls.any(|(_, branch)| self.branches[*branch].answer == answer)
    }

    /// Whether some form of this call of the machine's own is answered like this.
    pub(super) fn may_answer(&self, call: &str, answer: Answer) -> bool {
        let number = Arch::NATIVE.number_of(call);
        let calls = self.calls.get(&Arch::NATIVE).into_iter().flatten();
        let branches: Vec<&Branch> =
            calls.filter(|(called, _)| Some(*called) == number).map(|(_, branch)| &self.branches[*branch]).collect();
        let falls_through = branches.last().is_none_or(|last| !last.conditions.is_empty());
        branches.iter().any(|branch| branch.answer == answer) || (falls_through && self.default == answer)
    }
}

/// The sets of conditions of which one must hold.
///
/// Conditions of a rule must all hold, with one exception that runc introduced and everybody keeps: if two of them
/// are about the same argument, each condition stands for itself.
fn alternatives(rule: &Rule, place: usize) -> Result<Vec<Vec<Argument>>, Error> {
    if rule.names.is_empty() {
        let place = format!("syscalls[{place}].names");
        return Err(Error::Profile { place, reason: "no call is named".to_owned() });
    }
    for (position, argument) in rule.args.iter().enumerate() {
        if argument.index >= ARGUMENTS {
            let place = format!("syscalls[{place}].args[{position}].index");
            return Err(Error::Profile { place, reason: format!("{} is above 5", argument.index) });
        }
    }
    let repeated = rule
        .args
        .iter()
        .enumerate()
        .any(|(position, argument)| rule.args[..position].iter().any(|earlier| earlier.index == argument.index));
    Ok(if repeated { rule.args.iter().map(|argument| vec![*argument]).collect() } else { vec![rule.args.clone()] })
}
