//! The machines that a filter can be for, and the numbers that calls have on each.
//!
//! One kernel serves several tables of calls. An x86_64 kernel has three: its own, that of 32-bit programs (entered by
//! `int 0x80` from any program, whatever it was compiled for), and x32, which is its own with bit 30 set. The same
//! number means `write` in one and `exit` in another, so a filter that does not look at the architecture first
//! filters nothing: a program would just use another door.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Bit 30 of a call number on x86_64 selects the x32 ABI: the same kernel entry, another table of calls. A deny-list
/// that forgets it is no list at all. No architecture has ordinary numbers up there.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// A table of system calls that a kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "SCMP_ARCH_X86_64")]
    X86_64,
    /// 32-bit x86.
    #[serde(rename = "SCMP_ARCH_X86")]
    X86,
    /// 64-bit x86 with 32-bit pointers.
    #[serde(rename = "SCMP_ARCH_X32")]
    X32,
    /// 64-bit ARM.
    #[serde(rename = "SCMP_ARCH_AARCH64")]
    Aarch64,
}

impl Arch {
    /// The machine that this program was built for.
    pub const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

    /// The name in a profile: `SCMP_ARCH_X86`.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "SCMP_ARCH_X86_64",
            Arch::X86 => "SCMP_ARCH_X86",
            Arch::X32 => "SCMP_ARCH_X32",
            Arch::Aarch64 => "SCMP_ARCH_AARCH64",
        }
    }

    /// Go's name, which Docker's `includes` and `excludes` use.
    pub fn go(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::X86 => "386",
            Arch::X32 => "x32",
            Arch::Aarch64 => "arm64",
        }
    }

    /// What the kernel puts into `seccomp_data.arch`: `AUDIT_ARCH_*` of `linux/audit.h`. x32 has none of its own.
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
        }
    }

    /// The number of a call here; `None` if there is no such call.
    pub fn number_of(self, call: &str) -> Option<u32> {
        match self {
            Arch::X86 => call.parse::<syscalls::x86::Sysno>().ok().map(|call| call.id() as u32),
            Arch::X32 => x32_number(call).map(|number| number | X32_BIT),
            native if native == Self::NATIVE => call.parse::<syscalls::Sysno>().ok().map(|call| call.id() as u32),
            Arch::X86_64 | Arch::Aarch64 => None,
        }
    }

    /// Whether a program on this machine can make calls of this table.
    pub fn is_offered_here(self) -> bool {
        self == Self::NATIVE || (Self::NATIVE == Arch::X86_64 && matches!(self, Arch::X86 | Arch::X32))
    }

    /// An architecture by its name in a profile; `None` for one that cannot be called on this machine: profiles serve
    /// many.
    ///
    /// # Errors
    /// What has not the form of an architecture's name.
    pub(super) fn parse(name: &str, place: &str) -> Result<Option<Self>, Error> {
        if !name.starts_with("SCMP_ARCH_") {
            return Err(Error::Profile { place: place.to_owned(), reason: format!("{name:?} is no SCMP_ARCH_ name") });
        }
        let all = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64];
        Ok(all.into_iter().find(|arch| arch.name() == name && arch.is_offered_here()))
    }
}

/// Calls that take other structures when pointers are short, and so have numbers of their own.
///
/// # References
/// `arch/x86/entry/syscalls/syscall_64.tbl`, the entries with ABI `x32`
fn x32_own(call: &str) -> Option<u32> {
    Some(match call {
        "rt_sigaction" => 512,
        "rt_sigreturn" => 513,
        "ioctl" => 514,
        "readv" => 515,
        "writev" => 516,
        "recvfrom" => 517,
        "sendmsg" => 518,
        "recvmsg" => 519,
        "execve" => 520,
        "ptrace" => 521,
        "rt_sigpending" => 522,
        "rt_sigtimedwait" => 523,
        "rt_sigqueueinfo" => 524,
        "sigaltstack" => 525,
        "timer_create" => 526,
        "mq_notify" => 527,
        "kexec_load" => 528,
        "waitid" => 529,
        "set_robust_list" => 530,
        "get_robust_list" => 531,
        "vmsplice" => 532,
        "move_pages" => 533,
        "preadv" => 534,
        "pwritev" => 535,
        "rt_tgsigqueueinfo" => 536,
        "recvmmsg" => 537,
        "sendmmsg" => 538,
        "process_vm_readv" => 539,
        "process_vm_writev" => 540,
        "setsockopt" => 541,
        "getsockopt" => 542,
        "io_setup" => 543,
        "io_submit" => 544,
        "execveat" => 545,
        "preadv2" => 546,
        "pwritev2" => 547,
        _ => return None,
    })
}

/// Calls that x32 never had: they were old already when it was new, or it was when they were.
fn is_without_x32(call: &str) -> bool {
    matches!(
        call,
        "uselib"
            | "_sysctl"
            | "create_module"
            | "get_kernel_syms"
            | "query_module"
            | "nfsservctl"
            | "set_thread_area"
            | "get_thread_area"
            | "epoll_ctl_old"
            | "epoll_wait_old"
            | "vserver"
            | "map_shadow_stack"
            | "uretprobe"
            | "uprobe"
    )
}

fn x32_number(call: &str) -> Option<u32> {
    x32_own(call).or_else(|| if is_without_x32(call) { None } else { Arch::X86_64.number_of(call) })
}
