//! A device program, run here instead of in the kernel: so that its verdicts can be tested one by one, and shown where
//! no kernel would load it.

use super::program::{
    AND, BLOCK, CHARACTER, COPY, DeviceProgram, EXIT, JUMP, JUMP_IF_BIT, JUMP_IF_NOT, LOAD, SET, SHIFT_RIGHT,
    access_bits,
};
use super::{DeviceKind, DeviceRule};

/// What somebody wants of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRequest<'a> {
    /// [`DeviceKind::Block`], else a character device.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Letters of `rwm`; all of them are wanted at once.
    pub access: &'a str,
}

impl DeviceProgram {
    /// The program's verdict. A program that the kernel's verifier would refuse (it jumps out, it does not end, it has
    /// an instruction that [`DeviceProgram::of`] never makes) permits nothing.
    pub fn permits(&self, request: &DeviceRequest<'_>) -> bool {
        let kind = if request.kind == DeviceKind::Block { BLOCK } else { CHARACTER };
        let question = [access_bits(request.access) << 16 | kind, request.major, request.minor];
        let mut registers = [0_u32; 16];
        let mut at = 0_usize;
        while let Some(instruction) = self.instructions().get(at) {
            at += 1;
            let constant = instruction.immediate.cast_unsigned();
            let (to, from) = (usize::from(instruction.registers & 15), usize::from(instruction.registers >> 4));
            let jumps = match instruction.code {
                LOAD => {
                    registers[to] = question.get(instruction.offset as usize / 4).copied().unwrap_or(0);
                    false
                }
                COPY => {
                    registers[to] = registers[from];
                    false
                }
                SET => {
                    registers[to] = constant;
                    false
                }
                AND => {
                    registers[to] &= constant;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= constant;
                    false
                }
                JUMP => true,
                JUMP_IF_NOT => registers[to] != constant,
                JUMP_IF_BIT => registers[to] & constant != 0,
                EXIT => return registers[0] == 1,
                _ => return false,
            };
            // Only forwards, as in a program without loops; so this ends.
            match usize::try_from(instruction.offset) {
                Ok(distance) if jumps => at += distance,
                Err(_) => return false,
                Ok(_) => {}
            }
        }
        false
    }
}

impl DeviceRequest<'_> {
    /// What the rules say in so many words: each letter is decided by the last rule that matches it.
    pub fn is_permitted_by(&self, rules: &[DeviceRule]) -> bool {
        let matches = |rule: &DeviceRule, letter: char| {
            let is_node = rule.kind == self.kind
                && rule.major.is_none_or(|major| major == self.major)
                && rule.minor.is_none_or(|minor| minor == self.minor);
            // The kernel's rule `a` ignores everything that comes after it.
            rule.kind == DeviceKind::All || (is_node && rule.access.contains(letter))
        };
        self.access.chars().all(|letter| rules.iter().rev().find(|rule| matches(rule, letter)).is_some_and(|r| r.allow))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::devices::default_rules;

    fn rule(text: &str) -> DeviceRule {
        let words: Vec<&str> = text.split([' ', ':']).collect();
        let number = |word: &str| word.parse().ok();
        match words[..] {
            [verb, "a"] => DeviceRule { allow: verb == "allow", ..DeviceRule::everything().remove(0) },
            [verb, kind, major, minor, access] => DeviceRule {
                allow: verb == "allow",
                kind: if kind == "b" { DeviceKind::Block } else { DeviceKind::Character },
                major: number(major),
                minor: number(minor),
                access: access.to_owned(),
            },
            _ => panic!("{text}"),
        }
    }

    /// The verdicts on every request that could tell rules about small numbers apart.
    fn verdicts(rules: &[DeviceRule]) -> usize {
        let program = DeviceProgram::of(rules);
        let mut allowed = 0;
        for kind in [DeviceKind::Character, DeviceKind::Block] {
            for (major, minor) in (0..4).flat_map(|major| (0..4).map(move |minor| (major, minor))) {
                for access in ["r", "w", "m", "rw", "rm", "wm", "rwm"] {
                    let request = DeviceRequest { kind, major, minor, access };
                    let permitted = program.permits(&request);
                    assert_eq!(permitted, request.is_permitted_by(rules), "{request:?} by {rules:?}\n{program}");
                    allowed += usize::from(permitted);
                }
            }
        }
        allowed
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let all = 2 * 16 * 7;
        let lists: [(&[&str], usize); 8] = [
            (&[], 0),
            (&["allow a"], all),
            (&["deny a"], 0),
            (&["deny a", "allow c 1:3 rwm"], 7),
            (&["allow a", "deny c 1:3 w"], all - 4),
            (&["allow c 1:3 rw", "allow c 1:3 m"], 7),
            (&["allow c 1:* rw", "deny c 1:3 r", "allow c 1:3 r"], 12),
            (&["allow b *:* rwm", "deny a", "allow b *:2 m"], 4),
        ];
        for (rules, allowed) in lists {
            let rules: Vec<_> = rules.iter().map(|text| rule(text)).collect();
            assert_eq!(verdicts(&rules), allowed, "{rules:?}");
        }
    }

    #[test]
    fn no_list_of_rules_is_understood_in_two_ways() {
        // A small linear congruential generator: the same three hundred lists at every run.
        let mut state = 1_u64;
        let mut pick = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let rules: Vec<DeviceRule> = (0..pick(7))
                .map(|_| DeviceRule {
                    allow: pick(2) == 0,
                    kind: [DeviceKind::Character, DeviceKind::Block, DeviceKind::All][(pick(9) / 4) as usize],
                    major: u32::try_from(pick(5)).ok().filter(|major| *major < 3),
                    minor: u32::try_from(pick(5)).ok().filter(|minor| *minor < 3),
                    access: ["r", "w", "m", "rw", "rwm"][pick(5) as usize].to_owned(),
                })
                .collect();
            verdicts(&rules);
        }
    }

    #[test]
    fn the_default_lets_a_container_use_null_and_nothing_of_the_machine() {
        let program = DeviceProgram::of(&default_rules());
        let permits = |kind, major, minor, access| program.permits(&DeviceRequest { kind, major, minor, access });
        assert!(permits(DeviceKind::Character, 1, 3, "rw"), "/dev/null");
        assert!(permits(DeviceKind::Character, 136, 7, "rw"), "a pseudo-terminal");
        assert!(permits(DeviceKind::Block, 8, 0, "m"), "a node may be made");
        assert!(!permits(DeviceKind::Block, 8, 0, "r"), "and not opened");
        assert!(!permits(DeviceKind::Character, 1, 11, "r"), "/dev/kmsg");
        assert!(!permits(DeviceKind::Character, 1, 1, "r"), "/dev/mem");
        assert!(!permits(DeviceKind::Character, 10, 200, "w"), "/dev/net/tun");
    }

    #[test]
    fn a_large_number_is_compared_whole() {
        let program = DeviceProgram::of(&[rule("allow c 4294967295:1 r")]);
        let request = DeviceRequest { kind: DeviceKind::Character, major: u32::MAX, minor: 1, access: "r" };
        assert!(program.permits(&request));
        assert!(!program.permits(&DeviceRequest { major: 0x7fff_ffff, ..request }));
    }

    #[test]
    fn a_listing_can_be_read() {
        insta::assert_snapshot!(DeviceProgram::of(&[rule("deny a"), rule("allow c 1:3 rw"), rule("deny c 10:* w")]));
    }
}
