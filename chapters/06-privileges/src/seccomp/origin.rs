//! Where each decision of the default profile comes from.

use super::default::{
    EVENTS, FILES, FILES_ELSEWHERE, IDENTITY, MEMORY, PROCESSES, SINCE_LINUX_4_8, SOCKETS, WITH_CAPABILITY,
};

/// A decision about a call, and why it was made so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What is decided: `allowed`, `EPERM`, `allowed with CAP_SYS_TIME, else EPERM`.
    pub decision: String,
    /// Why.
    pub because: &'static str,
}

/// The lists of calls that everybody may make, and why.
const ALWAYS: [(&str, &str); 7] = [
    (FILES, "files: which of them is decided by the file system, its owners and modes"),
    (FILES_ELSEWHERE, "files, by a name that only other architectures have"),
    (EVENTS, "waiting for descriptors, events and time"),
    (MEMORY, "memory, the process's own or shared within its IPC namespace"),
    (PROCESSES, "processes and threads, of which it sees those in its pid namespace"),
    (
        IDENTITY,
        "identity: the kernel asks for a capability where more would be gained; what is given up is its own affair",
    ),
    (SOCKETS, "sockets that exist: which may be made is looked at by `socket`"),
];

/// What is never allowed, and why.
const REASONS: [(&str, &str); 7] = [
    (
        "io_uring_setup io_uring_enter io_uring_register",
        "a second way into the kernel, behind the filter's back, and for years its most broken part",
    ),
    ("userfaultfd vmsplice", "they stop the kernel in the middle of a copy, which makes races winnable"),
    ("add_key request_key keyctl", "keys know no namespaces: they are the machine's"),
    ("kexec_load kexec_file_load", "another kernel in this one's place"),
    ("swapon swapoff", "the machine's swap"),
    ("modify_ldt", "code segments of 16 bits: a large attack surface for programs of the nineties"),
    (
        "uselib ustat sysfs nfsservctl create_module query_module get_kernel_syms _sysctl",
        "calls that the kernel has given up or should have",
    ),
];

/// Where the decisions about a call come from, in the order in which they are looked at.
pub fn origins(call: &str) -> Vec<Origin> {
    let lists = |list: &str| list.split_whitespace().any(|name| name == call);
    let mut found = Vec::new();
    for (_, because) in ALWAYS.iter().filter(|(list, _)| lists(list)) {
        found.push(Origin { decision: "allowed".to_owned(), because });
    }
    for (_, because) in REASONS.iter().filter(|(list, _)| lists(list)) {
        found.push(Origin { decision: "EPERM".to_owned(), because });
    }
    if lists(SINCE_LINUX_4_8) {
        let because = "tracing one's own children; before Linux 4.8 a tracer could change a call behind the filter";
        found.push(Origin { decision: "allowed since Linux 4.8".to_owned(), because });
    }
    for (capability, _) in WITH_CAPABILITY.iter().filter(|(_, list)| lists(list)) {
        found.push(Origin {
            decision: format!("allowed with {capability}, else EPERM"),
            because: "the kernel asks for this capability too; without it only its code for refusing would be reached",
        });
    }
    found.extend(by_argument(call));
    if found.is_empty() {
        found.push(Origin {
            decision: "ENOSYS".to_owned(),
            because: "on no list, perhaps younger than these: programs fall back to the older call",
        });
    }
    found
}

/// The four calls whose arguments are looked at.
fn by_argument(call: &str) -> Option<Origin> {
    let (decision, because) = match call {
        "clone" => (
            "allowed without flags for namespaces",
            "a new user namespace gives back, inside, every capability that was taken, and with them the kernel's code",
        ),
        "clone3" => (
            "ENOSYS without CAP_SYS_ADMIN",
            "its flags are behind a pointer, where no filter sees them; libc falls back to clone",
        ),
        "socket" => (
            "allowed but for AF_ALG and AF_VSOCK",
            "the one talks to the hypervisor past every network namespace, the other to the kernel's whole crypto code",
        ),
        "personality" => ("allowed for five harmless values", "the others switch off what makes attacks hard"),
        _ => return None,
    };
    Some(Origin { decision: decision.to_owned(), because })
}

#[cfg(test)]
mod tests {
    use super::super::default::NEVER;
    use super::*;
    use crate::seccomp::default_profile;

    #[test]
    fn every_call_of_the_profile_comes_from_somewhere_and_no_other_does() {
        let profile = default_profile();
        let named = |call: &str| profile.syscalls.iter().any(|rule| rule.names.iter().any(|name| name == call));
        for name in profile.syscalls.iter().flat_map(|rule| &rule.names) {
            assert!(origins(name).iter().all(|origin| origin.decision != "ENOSYS"), "{name}");
        }
        for call in syscalls::Sysno::iter().map(|call| call.name()).filter(|name| !named(name)) {
            assert_eq!(origins(call)[0].decision, "ENOSYS", "{call}");
        }
        assert!(NEVER.split_whitespace().all(|name| origins(name)[0].decision == "EPERM"));
    }
}
