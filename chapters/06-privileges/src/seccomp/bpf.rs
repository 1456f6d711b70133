//! Classic BPF: the instructions that the kernel's filter understands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One instruction, in the layout of the kernel's `struct sock_filter`.
///
/// # References
/// `linux/filter.h`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Instruction {
    /// What to do: class, size, source.
    pub code: u16,
    /// How many instructions to pass over if a comparison holds.
    pub jt: u8,
    /// How many if it does not.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

/// Load a 32-bit word of `struct seccomp_data` into the accumulator.
pub(super) const LOAD: u16 = 0x20;
/// `accumulator &= k`.
pub(super) const AND: u16 = 0x54;
/// Jump forward by `k`, always.
pub(super) const JUMP: u16 = 0x05;
/// Compare `accumulator == k`.
pub(super) const EQUAL: u16 = 0x15;
/// Compare `accumulator > k`, unsigned.
pub(super) const GREATER: u16 = 0x25;
/// Compare `accumulator >= k`, unsigned.
pub(super) const AT_LEAST: u16 = 0x35;
/// Return `k`: the filter's answer.
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data { int nr; u32 arch; u64 instruction_pointer; u64 args[6]; }`.
pub(super) const NUMBER: u32 = 0;
/// See [`NUMBER`].
pub(super) const ARCHITECTURE: u32 = 4;

/// The offsets of an argument's high and low word. Both architectures here are little-endian.
pub(super) const fn argument(index: u8) -> (u32, u32) {
    let low = 16 + 8 * index as u32;
    (low + 4, low)
}

impl Instruction {
    /// An instruction that does not branch.
    pub(super) const fn plain(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }

    /// A comparison with its two forward jumps.
    pub(super) const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Self {
        Self { code, jt, jf, k }
    }
}

/// Readable assembly, as `seccomp-tools` and `bpfc` write it.
impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, jt, jf, k } = *self;
        match code {
            LOAD if k == NUMBER => write!(f, "ld   [nr]"),
            LOAD if k == ARCHITECTURE => write!(f, "ld   [arch]"),
            LOAD => write!(f, "ld   [args+{}]", k.wrapping_sub(16)),
            AND => write!(f, "and  #{k:#x}"),
            JUMP => write!(f, "ja   +{k}"),
            EQUAL => write!(f, "jeq  #{k:#x}, +{jt}, +{jf}"),
            GREATER => write!(f, "jgt  #{k:#x}, +{jt}, +{jf}"),
            AT_LEAST => write!(f, "jge  #{k:#x}, +{jt}, +{jf}"),
            RETURN => write!(f, "ret  {k:#010x}"),
            _ => write!(f, "?    {code:#x} {jt} {jf} {k:#x}"),
        }
    }
}

/// What `seccomp(2)` is asked besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FilterFlags {
    /// Log every answer but `ALLOW` (SECCOMP_FILTER_FLAG_LOG).
    pub log: bool,
    /// Do not switch speculative store bypass off (SECCOMP_FILTER_FLAG_SPEC_ALLOW).
    pub spec_allow: bool,
    /// Hand out the descriptor on which `NOTIFY` is answered (SECCOMP_FILTER_FLAG_NEW_LISTENER).
    pub new_listener: bool,
    /// Once a notification has been received, only a fatal signal ends the wait for its answer
    /// (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19).
    pub wait_killable: bool,
}

impl FilterFlags {
    /// The kernel's mask.
    pub fn bits(self) -> u64 {
        let Self { log, spec_allow, new_listener, wait_killable } = self;
        u64::from(log) << 1 | u64::from(spec_allow) << 2 | u64::from(new_listener) << 3 | u64::from(wait_killable) << 5
    }
}

impl fmt::Display for FilterFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.log, "LOG"),
            (self.spec_allow, "SPEC_ALLOW"),
            (self.new_listener, "NEW_LISTENER"),
            (self.wait_killable, "WAIT_KILLABLE_RECV"),
        ];
        let set: Vec<&str> = names.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        if set.is_empty() { f.write_str("no flags") } else { f.write_str(&set.join("|")) }
    }
}

/// An assembled filter: plain data that a child can load without thinking.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Program {
    /// The instructions, at most [`Program::LONGEST`].
    pub instructions: Vec<Instruction>,
    /// How to load it.
    pub flags: FilterFlags,
}

impl Program {
    /// The kernel's limit, BPF_MAXINSNS.
    pub const LONGEST: usize = 4096;
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, instruction) in self.instructions.iter().enumerate() {
            writeln!(f, "{line:4}  {instruction}")?;
        }
        Ok(())
    }
}
