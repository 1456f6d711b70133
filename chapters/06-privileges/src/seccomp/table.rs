//! From names to numbers: a resolved profile as a decision table.

use std::collections::BTreeMap;

use nix::errno::Errno;
use syscalls::Sysno;

use super::profile::{Action, Argument, Profile, Rule};
use crate::Error;

/// The highest errno that a filter can answer; the kernel cuts what is above.
const MAX_ERRNO: u32 = 4095;
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

    fn of(action: Action, errno: Option<u32>, place: impl Fn() -> String) -> Result<Self, Error> {
        let errno = errno.unwrap_or(Errno::EPERM as u32);
        if errno > MAX_ERRNO {
            return Err(Error::Profile { place: place(), reason: format!("errno {errno} is above {MAX_ERRNO}") });
        }
        Ok(Self(match action {
            Action::KillThread => 0,
            Action::KillProcess => Self::KILL_PROCESS.0,
            Action::Trap => 0x0003_0000,
            Action::Errno => 0x0005_0000 | errno,
            Action::Trace => 0x7ff0_0000 | errno,
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }))
    }
}

/// One way through a call's rules: if all conditions hold, the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) conditions: Vec<Argument>,
    pub(super) answer: Answer,
}

/// For each call number its branches in the profile's order, and what everything else gets.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) default: Answer,
    pub(super) calls: BTreeMap<u32, Vec<Branch>>,
}

impl Table {
    /// Reads a resolved profile.
    // hole: seccomp-table
    pub(super) fn of(profile: &Profile) -> Result<Self, Error> {
        let default = Answer::of(profile.default_action, profile.default_errno_ret, || "defaultErrnoRet".to_owned())?;
        let mut calls: BTreeMap<u32, Vec<Branch>> = BTreeMap::new();
        for (place, rule) in profile.syscalls.iter().enumerate() {
            let answer = Answer::of(rule.action, rule.errno_ret, || format!("syscalls[{place}].errnoRet"))?;
            let alternatives = alternatives(rule, place)?;
            // A name that this architecture lacks can never be called here.
            for number in rule.names.iter().filter_map(|name| number_of(name)) {
                let branches = calls.entry(number).or_default();
                for conditions in &alternatives {
                    // Behind a branch without conditions nothing is ever reached.
                    if branches.last().is_none_or(|last| !last.conditions.is_empty()) {
                        branches.push(Branch { conditions: conditions.clone(), answer });
                    }
                }
            }
        }
        Ok(Self { default, calls })
    }
}

/// The number of a call on this architecture.
pub(super) fn number_of(name: &str) -> Option<u32> {
    name.parse::<Sysno>().ok().map(|call| call.id() as u32)
}

/// The sets of conditions of which one must hold.
///
/// Conditions of a rule must all hold, with one exception that runc introduced and everybody keeps: if two of them
/// are about the same argument, each condition stands for itself.
fn alternatives(rule: &Rule, place: usize) -> Result<Vec<Vec<Argument>>, Error> {
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
