//! Profiles that nobody would write, to find out whether an assembler means what they say.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeSet;

use privileges::seccomp::{Action, Argument, Comparison, Profile, Rule, default_profile};

/// Numbers from a seed: every run asks the same.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Values on both sides of every comparison that the profile makes, and of every word's edge.
pub fn values(profile: &Profile) -> Vec<u64> {
    let arguments = profile.syscalls.iter().flat_map(|rule| &rule.args);
    let compared = arguments.flat_map(|argument| [argument.value, argument.value_two]);
    let edges = compared.chain([0, 1 << 31, 1 << 32, 1 << 63, u64::from(u32::MAX), u64::MAX]);
    let around = edges.flat_map(|value| [value.wrapping_sub(1), value, value.wrapping_add(1), value ^ 1 << 40]);
    around.collect::<BTreeSet<_>>().into_iter().collect()
}

/// How the rules of one call relate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// One rule, or several of which at most one can hold.
    Never,
    /// Whatever comes; their answers differ too.
    Often,
}

/// Rules for a sixth of all calls, with every action and comparison.
pub fn profile(dice: &mut Dice, overlap: Overlap) -> Profile {
    let mut syscalls = Vec::new();
    for name in syscalls::Sysno::iter().map(|call| call.name()).filter(|name| *name != "sendmsg") {
        if dice.below(6) > 0 {
            continue;
        }
        let mut answer = action(dice);
        let index = dice.below(6) as u32;
        let several = if overlap == Overlap::Often { 1 + dice.below(5) } else { dice.below(4) };
        for edge in EDGES.iter().take(several).copied() {
            let args = match overlap {
                Overlap::Never if several > 1 => {
                    vec![Argument { index, value: edge, value_two: 0, op: Comparison::Equal }]
                }
                _ => conditions(dice),
            };
            if overlap == Overlap::Often {
                answer = action(dice);
            }
            syscalls.push(rule(name, answer, args));
        }
    }
    let (default_action, default_errno_ret) = [(Action::Errno, Some(38)), (Action::Allow, None)][dice.below(2)];
    Profile { default_action, default_errno_ret, syscalls, ..default_profile() }
}

const EDGES: [u64; 10] = [0, 1, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 5 << 32 | 7, 1 << 63, u64::MAX];

fn conditions(dice: &mut Dice) -> Vec<Argument> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, MaskedEqual, NotEqual};
    let comparisons = [NotEqual, Less, LessOrEqual, Equal, GreaterOrEqual, Greater, MaskedEqual];
    let chosen: Vec<u32> = (0..6).filter(|_| dice.below(3) == 0).collect();
    let condition = |index| {
        let (value, op) = (dice.pick(&EDGES), dice.pick(&comparisons));
        Argument { index, value, value_two: value & dice.pick(&EDGES), op }
    };
    chosen.into_iter().map(condition).collect()
}

fn action(dice: &mut Dice) -> (Action, Option<u32>) {
    dice.pick(&[
        (Action::Allow, None),
        (Action::Errno, Some(5)),
        (Action::Errno, None),
        (Action::Log, None),
        (Action::Trace, Some(77)),
        (Action::Trap, None),
        (Action::KillProcess, None),
        (Action::KillThread, None),
        (Action::Notify, None),
    ])
}

fn rule(name: &str, (action, errno_ret): (Action, Option<u32>), args: Vec<Argument>) -> Rule {
    Rule { names: vec![name.to_owned()], action, errno_ret, args, ..default_profile().syscalls.remove(0) }
}
