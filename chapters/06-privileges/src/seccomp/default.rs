//! The default profile: what a container may call unless it asks for more.
//!
//! It has the shape of Docker's: a list of what ordinary programs need, calls that need a capability anyway only
//! together with that capability, and four calls by their arguments. It is data; [`super::Profile`] gives it meaning.
//!
//! Two answers to what is not allowed. A call that is *known and privileged* gets EPERM, as if the capability were
//! missing, because programs print that well. A call that is *unknown*, often younger than this list, gets ENOSYS,
//! because then programs fall back to the older call; EPERM there once broke every container on a newer libc.
//!
//! Left out on purpose, although Docker's list has or had them: `io_uring_*` (a third of the kernel exploits of
//! 2022 went through it, and it makes calls behind the filter's back), `userfaultfd` and `vmsplice` (they make
//! races winnable), `keyctl` and its kin (keys know no namespaces), AF_VSOCK and AF_ALG sockets.

use std::collections::BTreeMap;

use super::profile::{Action, Argument, Comparison, Condition, Profile, Rule};
use crate::Capability;

/// Files and directories: names, contents, attributes.
pub(super) const FILES: &str = "
    access faccessat faccessat2 chdir fchdir getcwd chmod fchmod fchmodat fchmodat2 chown fchown fchownat lchown
    close close_range creat open openat openat2 dup dup2 dup3 fcntl flock umask
    link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek truncate ftruncate fallocate
    copy_file_range sendfile splice tee readahead fadvise64 sync syncfs fsync fdatasync sync_file_range cachestat
    stat lstat fstat newfstatat statx statfs fstatfs readlink readlinkat getdents getdents64 name_to_handle_at
    utime utimes futimesat utimensat ioctl
    getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat
    setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
    file_getattr file_setattr";

/// The same files, names of 32-bit and other architectures. Here they have no number and are passed over.
pub(super) const FILES_ELSEWHERE: &str = "
    _llseek chown32 fchown32 lchown32 fcntl64 fstat64 fstatat64 fstatfs64 lstat64 stat64 statfs64 ftruncate64
    truncate64 fadvise64_64 sendfile64 readdir _newselect arm_fadvise64_64 arm_sync_file_range sync_file_range2
    utimensat_time64";

/// Waiting for descriptors, events and time.
pub(super) const EVENTS: &str = "
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old
    epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 pipe pipe2
    timerfd_create timerfd_settime timerfd_gettime timer_create timer_delete timer_getoverrun timer_gettime
    timer_settime alarm getitimer setitimer nanosleep clock_nanosleep clock_gettime clock_getres clock_adjtime
    adjtimex gettimeofday time times
    io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
    ppoll_time64 pselect6_time64 timerfd timerfd_gettime64 timerfd_settime64 timer_gettime64 timer_settime64
    clock_adjtime64 clock_getres_time64 clock_gettime64 clock_nanosleep_time64 io_pgetevents_time64";

/// Memory.
pub(super) const MEMORY: &str = "
    brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall
    memfd_create memfd_secret mseal map_shadow_stack membarrier remap_file_pages
    pkey_alloc pkey_free pkey_mprotect get_mempolicy mbind set_mempolicy set_mempolicy_home_node
    shmat shmctl shmdt shmget semctl semget semop semtimedop semtimedop_time64 msgctl msgget msgrcv msgsnd ipc
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mq_timedreceive_time64
    mq_timedsend_time64";

/// Processes, threads and their scheduling.
pub(super) const PROCESSES: &str = "
    execve execveat exit exit_group fork vfork wait4 waitid waitpid
    getpid gettid getppid getpgid getpgrp getsid setpgid setsid
    pidfd_open pidfd_send_signal kill tkill tgkill pause process_mrelease
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sigaltstack restart_syscall rt_sigtimedwait_time64
    sigaction signal sigpending sigprocmask sigreturn sigsuspend
    futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue get_robust_list set_robust_list rseq
    set_tid_address set_thread_area get_thread_area arch_prctl set_tls prctl
    getpriority setpriority ioprio_get ioprio_set getcpu
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_setaffinity sched_getattr sched_setattr
    sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_yield
    getrlimit setrlimit prlimit64 ugetrlimit getrusage sysinfo uname getrandom";

/// Who a process is, and what it may give up: `seccomp` and Landlock only ever take away.
pub(super) const IDENTITY: &str = "
    getuid geteuid getresuid setuid setreuid setresuid setfsuid
    getgid getegid getresgid setgid setregid setresgid setfsgid getgroups setgroups
    getuid32 geteuid32 getresuid32 setuid32 setreuid32 setresuid32 setfsuid32
    getgid32 getegid32 getresgid32 setgid32 setregid32 setresgid32 setfsgid32 getgroups32 setgroups32
    capget capset seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules";

/// Sockets, once they exist: `socket` itself is looked at below.
pub(super) const SOCKETS: &str = "
    accept accept4 bind connect getpeername getsockname getsockopt setsockopt listen shutdown socketpair
    recv recvfrom recvmmsg recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto socketcall";

/// Calls that are allowed together with one capability, and answer EPERM without it.
pub(super) const WITH_CAPABILITY: &[(Capability, &str)] = &[
    (Capability::DacReadSearch, "open_by_handle_at"),
    (
        Capability::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
        open_tree open_tree_attr listmount statmount perf_event_open pivot_root quotactl quotactl_fd setdomainname
        sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SysBoot, "reboot"),
    (Capability::SysChroot, "chroot"),
    (Capability::SysModule, "delete_module init_module finit_module"),
    (Capability::SysPacct, "acct"),
    (Capability::SysPtrace, "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    (Capability::SysRawio, "iopl ioperm"),
    (Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SysTtyConfig, "vhangup"),
    (Capability::SysNice, "migrate_pages move_pages"),
    (Capability::Syslog, "syslog"),
    (Capability::Bpf, "bpf"),
    (Capability::Perfmon, "perf_event_open"),
];

/// Tracing one's own children is safe since Linux 4.8: before, a tracer could change a call behind the filter.
pub(super) const SINCE_LINUX_4_8: &str = "ptrace process_vm_readv process_vm_writev";

/// Calls that no container of ours may make, and that programs know to be privileged.
pub(super) const NEVER: &str = "
    add_key request_key keyctl kexec_load kexec_file_load swapon swapoff userfaultfd vmsplice uselib ustat sysfs
    nfsservctl io_uring_setup io_uring_enter io_uring_register modify_ldt create_module query_module
    get_kernel_syms _sysctl";

/// `PER_LINUX`, `PER_LINUX32`, the first with and without address randomisation, and "what is it now?".
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Every namespace flag of `clone`: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// The default profile, in Docker's form: [`Profile::compile`] adapts it to a container's capabilities.
pub fn default_profile() -> Profile {
    let always = [FILES, FILES_ELSEWHERE, EVENTS, MEMORY, PROCESSES, IDENTITY, SOCKETS].join(" ");
    let mut syscalls = vec![allow(&always), refuse(NEVER, libc::EPERM)];
    syscalls.push(Rule {
        includes: Condition { min_kernel: "4.8".to_owned(), ..Condition::default() },
        ..allow(SINCE_LINUX_4_8)
    });
    syscalls.extend(
        PERSONALITIES.map(|value| Rule { args: vec![when(0, Comparison::Equal, value)], ..allow("personality") }),
    );
    syscalls.extend(sockets());
    syscalls.extend(clones());
    for (capability, names) in WITH_CAPABILITY {
        let condition = Condition { caps: vec![*capability], ..Condition::default() };
        syscalls.push(Rule { includes: condition, ..allow(names) });
    }
    syscalls.extend(refusals());
    Profile {
        default_action: Action::Errno,
        default_errno_ret: Some(libc::ENOSYS as u32),
        architectures: Vec::new(),
        arch_map: Vec::new(),
        flags: Vec::new(),
        listener_path: String::new(),
        listener_metadata: String::new(),
        syscalls,
    }
}

/// Any socket but two families: AF_VSOCK talks to the hypervisor past every network namespace, AF_ALG offers the
/// kernel's whole crypto code to everybody.
fn sockets() -> [Rule; 5] {
    let socket = |op, family| Rule { args: vec![when(0, op, family)], ..allow("socket") };
    let refused =
        |family| Rule { args: vec![when(0, Comparison::Equal, family)], ..refuse("socket", libc::EAFNOSUPPORT) };
    [
        socket(Comparison::Less, AF_ALG),
        refused(AF_ALG),
        socket(Comparison::Equal, AF_ALG + 1),
        refused(AF_VSOCK),
        socket(Comparison::Greater, AF_VSOCK),
    ]
}

/// Without CAP_SYS_ADMIN: threads and processes, but no new namespaces. `clone3` has its flags behind a pointer, where
/// no filter can see them; ENOSYS makes libc use `clone`.
fn clones() -> Vec<Rule> {
    let excludes = || Condition { caps: vec![Capability::SysAdmin], ..Condition::default() };
    let none_of_them = when(0, Comparison::MaskedEqual, NAMESPACE_FLAGS);
    let mut rules = vec![
        Rule { args: vec![none_of_them], excludes: excludes(), ..allow("clone") },
        Rule { excludes: excludes(), ..refuse("clone3", libc::ENOSYS) },
    ];
    // "Any of them" cannot be said in one condition, so each flag is refused by itself.
    for bit in (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| NAMESPACE_FLAGS & bit != 0) {
        let this_one = Argument { value_two: bit, ..when(0, Comparison::MaskedEqual, bit) };
        rules.push(Rule { args: vec![this_one], excludes: excludes(), ..refuse("clone", libc::EPERM) });
    }
    rules
}

/// The other half of [`WITH_CAPABILITY`]: EPERM where *no* rule allows the call.
///
/// No call is both allowed and refused in one resolved profile, so the rules mean the same in any order. Engines that
/// leave the assembly to libseccomp need that: there an unconditional rule wins over all others.
fn refusals() -> Vec<Rule> {
    let mut allowed_by: BTreeMap<&str, Condition> = BTreeMap::new();
    for (capability, names) in WITH_CAPABILITY {
        for name in names.split_whitespace() {
            allowed_by.entry(name).or_default().caps.push(*capability);
        }
    }
    for name in SINCE_LINUX_4_8.split_whitespace() {
        allowed_by.entry(name).or_default().min_kernel = "4.8".to_owned();
    }
    // Theirs is said in `clones`.
    for name in ["clone", "clone3"] {
        allowed_by.remove(name);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (name, excludes) in allowed_by {
        match rules.iter_mut().find(|rule| rule.excludes == excludes) {
            Some(rule) => rule.names.push(name.to_owned()),
            None => rules.push(Rule { excludes, ..refuse(name, libc::EPERM) }),
        }
    }
    rules
}

fn allow(names: &str) -> Rule {
    Rule {
        names: names.split_whitespace().map(str::to_owned).collect(),
        action: Action::Allow,
        errno_ret: None,
        args: Vec::new(),
        includes: Condition::default(),
        excludes: Condition::default(),
    }
}

fn refuse(names: &str, errno: i32) -> Rule {
    Rule { action: Action::Errno, errno_ret: Some(errno as u32), ..allow(names) }
}

fn when(index: u32, op: Comparison, value: u64) -> Argument {
    Argument { index, value, value_two: 0, op }
}
