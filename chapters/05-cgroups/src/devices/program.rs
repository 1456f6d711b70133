//! The device rules as a program that the kernel runs at every `mknod` and `open` of a device node.
//!
//! v2 has no `devices.allow`. A cgroup has a program instead, in the instructions of eBPF; it is given the question in
//! a small structure and answers 1 or 0. The same rules are assembled into one, from the last to the first, because the
//! last rule that matches decides. What is still undecided is a set of bits, and each bit is decided by itself: if rules
//! let a node be read and forbid writing it, then opening it for both is refused.
//!
//! ```text
//! struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }    access_type = access << 16 | type
//!
//! r2 = type (1 block, 2 character)    r3 = access still undecided (1 mknod, 2 read, 4 write)
//! r4 = major                          r5 = minor
//!
//! allow c 1:3 rw                      deny c 10:* w
//!     if r2 != 2  goto next               if r2 != 2  goto next
//!     if r4 != 1  goto next               if r4 != 10 goto next
//!     if r5 != 3  goto next               if r3 & 4   goto refuse
//!     r3 &= ~6                            goto next
//!     if r3 != 0  goto next           refuse:
//!     return 1                            return 0
//! ```

use std::fmt;

use super::{DeviceKind, DeviceRule};

/// One eBPF instruction, as the kernel takes it.
///
/// # References
/// linux/Documentation/bpf/standardization/instruction-set.rst
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, source and operation.
    pub code: u8,
    /// The destination register in the low half, the source register in the high one.
    pub registers: u8,
    /// How far to jump, counted from the next instruction; or where in the structure to load from.
    pub offset: i16,
    /// The constant.
    pub immediate: i32,
}

/// `r0 = *(u32 *)(r1 + offset)`: BPF_LDX | BPF_MEM | BPF_W.
pub(super) const LOAD: u8 = 0x61;
/// Copies a register: BPF_ALU | BPF_MOV | BPF_X, 32 bits wide like all that follow.
pub(super) const COPY: u8 = 0xbc;
/// Sets a register to a constant.
pub(super) const SET: u8 = 0xb4;
/// Keeps those bits of a register that the constant has.
pub(super) const AND: u8 = 0x54;
/// Shifts a register to the right.
pub(super) const SHIFT_RIGHT: u8 = 0x74;
/// Jumps: BPF_JMP | BPF_JA.
pub(super) const JUMP: u8 = 0x05;
/// Jumps if a register is not the constant: BPF_JMP32 (Linux 5.1), so that large numbers are not extended by their sign.
pub(super) const JUMP_IF_NOT: u8 = 0x56;
/// Jumps if a register has one of the constant's bits.
pub(super) const JUMP_IF_BIT: u8 = 0x46;
/// Returns `r0`.
pub(super) const EXIT: u8 = 0x95;

const ANSWER: u8 = 0;
const QUESTION: u8 = 1;
const KIND: u8 = 2;
const UNDECIDED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The kernel's numbers for the two kinds of nodes.
pub(super) const BLOCK: u32 = 1;
pub(super) const CHARACTER: u32 = 2;

/// The letters of `rwm` as the kernel's bits.
pub(super) fn access_bits(letters: &str) -> u32 {
    letters.chars().fold(0, |bits, letter| {
        bits | match letter {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => 0,
        }
    })
}

/// Rules, assembled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProgram(Vec<Instruction>);

impl DeviceProgram {
    /// Assembles rules. Whatever none of them matches is refused.
    // hole: assemble-device-rules
    pub fn of(rules: &[DeviceRule]) -> Self {
        let mut program = Self(Vec::new());
        program.load_question();
        for rule in rules.iter().rev() {
            if rule.kind == DeviceKind::All {
                // It matches everything: whatever stands before it in the list decides nothing.
                program.answer(rule.allow);
                return program;
            }
            let mut jumps = program.unless_it_matches(rule);
            if rule.allow {
                program.put(AND, UNDECIDED, 0, !access_bits(&rule.access));
                jumps.push(program.put(JUMP_IF_NOT, UNDECIDED, 0, 0));
                program.answer(true);
            } else {
                let refuse = program.put(JUMP_IF_BIT, UNDECIDED, 0, access_bits(&rule.access));
                jumps.push(program.put(JUMP, 0, 0, 0));
                program.land(&[refuse]);
                program.answer(false);
            }
            program.land(&jumps);
        }
        program.answer(false);
        program
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    fn load_question(&mut self) {
        self.load(KIND, 0);
        self.copy(UNDECIDED, KIND);
        self.put(AND, KIND, 0, 0xffff);
        self.put(SHIFT_RIGHT, UNDECIDED, 0, 16);
        self.load(MAJOR, 4);
        self.load(MINOR, 8);
    }

    /// Jumps, still without a target, that are taken if the rule is about another node.
    fn unless_it_matches(&mut self, rule: &DeviceRule) -> Vec<usize> {
        let kind = if rule.kind == DeviceKind::Block { BLOCK } else { CHARACTER };
        let wanted = [(KIND, Some(kind)), (MAJOR, rule.major), (MINOR, rule.minor)];
        let wanted = wanted.into_iter().filter_map(|(register, number)| Some((register, number?)));
        wanted.map(|(register, number)| self.put(JUMP_IF_NOT, register, 0, number)).collect()
    }

    fn answer(&mut self, allow: bool) {
        self.put(SET, ANSWER, 0, u32::from(allow));
        self.put(EXIT, 0, 0, 0);
    }

    fn load(&mut self, register: u8, offset: i16) {
        self.put(LOAD, register | QUESTION << 4, offset, 0);
    }

    fn copy(&mut self, to: u8, from: u8) {
        self.put(COPY, to | from << 4, 0, 0);
    }

    /// Appends an instruction, and returns where it stands.
    fn put(&mut self, code: u8, registers: u8, offset: i16, immediate: u32) -> usize {
        self.0.push(Instruction { code, registers, offset, immediate: immediate.cast_signed() });
        self.0.len() - 1
    }

    /// Lets jumps lead here. No rule has more than eight instructions, so the distance always fits.
    fn land(&mut self, jumps: &[usize]) {
        let here = self.0.len();
        for jump in jumps {
            self.0[*jump].offset = (here - jump - 1) as i16;
        }
    }
}

/// A listing, one instruction a line.
impl fmt::Display for DeviceProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, instruction) in self.0.iter().enumerate() {
            let Instruction { code, registers, offset, immediate } = *instruction;
            let (to, from) = (registers & 15, registers >> 4);
            let target = at as i64 + 1 + i64::from(offset);
            write!(f, "{at:4}  ")?;
            match code {
                LOAD => writeln!(f, "r{to} = *(u32 *)(r{from} + {offset})")?,
                COPY => writeln!(f, "r{to} = r{from}")?,
                SET => writeln!(f, "r{to} = {immediate}")?,
                AND => writeln!(f, "r{to} &= {immediate:#x}")?,
                SHIFT_RIGHT => writeln!(f, "r{to} >>= {immediate}")?,
                JUMP => writeln!(f, "goto {target}")?,
                JUMP_IF_NOT => writeln!(f, "if r{to} != {} goto {target}", immediate.cast_unsigned())?,
                JUMP_IF_BIT => writeln!(f, "if r{to} & {immediate:#x} goto {target}")?,
                _ => writeln!(f, "return r0")?,
            }
        }
        Ok(())
    }
}
