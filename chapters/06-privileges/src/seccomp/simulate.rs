//! What a filter will answer, without loading it: a machine for the few instructions that filters use.
//!
//! It serves tests (every call, many arguments, held against the table) and `ch06-privileges ask`.

use std::fmt;

use nix::errno::Errno;

use super::Arch;
use super::bpf::{self, Program};

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The architecture's audit number.
    pub arch: u32,
    /// The call's number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// A call of this machine by name, all arguments zero; `None` if there is no such call here.
    pub fn named(name: &str) -> Option<Self> {
        Self::named_on(Arch::NATIVE, name)
    }

    /// A call as a program of another architecture makes it.
    pub fn named_on(arch: Arch, name: &str) -> Option<Self> {
        arch.number_of(name).map(|number| Self { arch: arch.audit(), number, arguments: [0; 6] })
    }

    /// The call's name, if its number has one on its architecture.
    pub fn name(&self) -> Option<&'static str> {
        let number = self.number as usize;
        match self.arch {
            arch if arch == Arch::NATIVE.audit() => syscalls::Sysno::new(number).map(|call| call.name()),
            arch if arch == Arch::X86.audit() => syscalls::x86::Sysno::new(number).map(|call| call.name()),
            _ => None,
        }
    }

    /// The same call with one argument set. An index above 5 changes nothing.
    #[must_use]
    pub fn with(mut self, index: usize, value: u64) -> Self {
        if let Some(argument) = self.arguments.get_mut(index) {
            *argument = value;
        }
        self
    }

    /// The word of `struct seccomp_data` at a byte offset; `None` outside of it or between words.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            bpf::NUMBER => Some(self.number),
            bpf::ARCHITECTURE => Some(self.arch),
            8 | 12 => Some(0),
            16..=60 if offset.is_multiple_of(4) => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                Some(if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 })
            }
            _ => None,
        }
    }
}

/// A filter's answer: the action in the high half, an errno or a tracer's number in the low one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict(pub u32);

impl Verdict {
    /// Whether the call is made.
    pub fn is_allowed(self) -> bool {
        matches!(self.0 & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000)
    }

    /// The errno that the caller sees, if that is the answer.
    pub fn errno(self) -> Option<Errno> {
        (self.0 & 0xffff_0000 == 0x0005_0000).then(|| Errno::from_raw((self.0 & 0xffff) as i32))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 & 0xffff_0000, self.errno()) {
            (_, Some(errno)) => write!(f, "{errno:?}"),
            (0, _) => f.write_str("kill thread"),
            (0x8000_0000, _) => f.write_str("kill process"),
            (0x0003_0000, _) => f.write_str("SIGSYS"),
            (0x7fc0_0000, _) => f.write_str("ask the listener"),
            (0x7ff0_0000, _) => f.write_str("ask the tracer"),
            (0x7ffc_0000, _) => f.write_str("allow, log"),
            (0x7fff_0000, _) => f.write_str("allow"),
            (other, _) => write!(f, "{other:#010x}"),
        }
    }
}

impl Program {
    /// What the program answers to a call; `None` if it is malformed (the kernel would not load it).
    pub fn answer(&self, call: &Call) -> Option<Verdict> {
        let (mut accumulator, mut next) = (0_u32, 0_usize);
        // Jumps go forward only, so this ends.
        loop {
            let instruction = self.instructions.get(next)?;
            next += 1;
            let k = instruction.k;
            let holds = match instruction.code {
                bpf::RETURN => return Some(Verdict(k)),
                bpf::JUMP => {
                    next += k as usize;
                    continue;
                }
                bpf::LOAD => {
                    accumulator = call.word(k)?;
                    continue;
                }
                bpf::AND => {
                    accumulator &= k;
                    continue;
                }
                bpf::EQUAL => accumulator == k,
                bpf::GREATER => accumulator > k,
                bpf::AT_LEAST => accumulator >= k,
                _ => return None,
            };
            next += usize::from(if holds { instruction.jt } else { instruction.jf });
        }
    }
}
