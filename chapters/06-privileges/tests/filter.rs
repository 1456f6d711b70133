//! The assembled filter, run in the simulator and held against the profile's plain meaning.
#![allow(clippy::unwrap_used)]

use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, MaskedEqual, NotEqual};
use privileges::seccomp::{Action, Argument, Call, Comparison, Profile, Rule, Verdict, default_profile};
use privileges::{CapSet, Capability};

mod invented;
use invented::{Dice, Overlap, values};

const ENOSYS: Verdict = Verdict(0x0005_0026);
const EPERM: Verdict = Verdict(0x0005_0001);
const ALLOW: Verdict = Verdict(0x7fff_0000);
const KILL_PROCESS: Verdict = Verdict(0x8000_0000);

fn ask(capabilities: CapSet, call: Call) -> Verdict {
    default_profile().compile(&capabilities).unwrap().answer(&call).unwrap()
}

fn ordinary(name: &str) -> Verdict {
    ask(CapSet::engine_default(), Call::named(name).unwrap())
}

/// The default answers of the default profile, with one rule of the test's own.
fn single(names: &[&str], args: Vec<Argument>) -> Profile {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let rule = Rule { names, args, ..default_profile().syscalls.remove(0) };
    Profile { syscalls: vec![rule], ..default_profile() }
}

/// The first rule that matches decides: the meaning of a profile, without any cleverness.
fn meaning(profile: &Profile, name: &str, call: &Call) -> Verdict {
    let holds = |argument: &Argument| {
        let value = call.arguments[argument.index as usize];
        match argument.op {
            Equal => value == argument.value,
            NotEqual => value != argument.value,
            Less => value < argument.value,
            LessOrEqual => value <= argument.value,
            Greater => value > argument.value,
            GreaterOrEqual => value >= argument.value,
            MaskedEqual => value & argument.value == argument.value_two,
        }
    };
    let matches = |rule: &&Rule| rule.names.iter().any(|other| other == name) && rule.args.iter().all(holds);
    let (action, errno) = match profile.syscalls.iter().find(matches) {
        Some(rule) => (rule.action, rule.errno_ret),
        None => (profile.default_action, profile.default_errno_ret),
    };
    Verdict(match action {
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Errno => 0x0005_0000 | errno.unwrap_or(1),
        Action::Notify => 0x7fc0_0000,
        Action::Trace => 0x7ff0_0000 | errno.unwrap_or(1),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    })
}

#[test]
fn every_call_is_answered_as_the_profile_says() {
    let firsts = [0, 1, 8, 16, 38, 39, 40, 41, 0x2_0000, 0x0200_0000, 0x1000_0000, 0xffff_ffff, 1 << 40, u64::MAX];
    for capabilities in [CapSet::EMPTY, CapSet::engine_default(), CapSet::docker(), CapSet::all()] {
        let program = default_profile().compile(&capabilities).unwrap();
        let resolved = default_profile().resolve(capabilities, (6, 12));
        let mut seen = 0;
        for name in (0..600).filter_map(syscalls::Sysno::new).map(|call| call.name()) {
            for first in firsts {
                let asked = Call::named(name).unwrap().with(0, first);
                let expected = meaning(&resolved, name, &asked);
                assert_eq!(program.answer(&asked), Some(expected), "{name}({first:#x}) with {capabilities}");
            }
            seen += 1;
        }
        assert!(seen > 300, "only {seen} calls were looked at");
    }
}

#[test]
fn of_many_rules_for_one_call_the_first_that_matches_decides() {
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let profile = invented::profile(&mut dice, Overlap::Often);
        let program = profile.compile(&CapSet::EMPTY).unwrap();
        let values = values(&profile);
        for name in syscalls::Sysno::iter().map(|call| call.name()) {
            for _ in 0..16 {
                let mut call = Call::named(name).unwrap();
                call.arguments = call.arguments.map(|_| dice.pick(&values));
                assert_eq!(program.answer(&call), Some(meaning(&profile, name, &call)), "{seed}: {name}: {call:x?}");
            }
        }
    }
}

#[test]
fn the_program_is_small() {
    let program = default_profile().compile(&CapSet::engine_default()).unwrap();
    assert!(program.instructions.len() < 400, "{} instructions", program.instructions.len());
}

#[test]
fn what_is_known_and_privileged_is_refused_and_what_is_unknown_does_not_exist() {
    assert_eq!(ordinary("read"), ALLOW);
    assert_eq!(ordinary("io_uring_setup"), EPERM);
    assert_eq!(ordinary("keyctl"), EPERM);
    let unknown = Call { number: 5000, ..Call::named("read").unwrap() };
    assert_eq!(ask(CapSet::all(), unknown), ENOSYS);
}

#[test]
fn mounting_needs_the_capability_that_the_kernel_wants_too() {
    for name in ["mount", "umount2", "pivot_root", "setns", "unshare", "fsopen", "move_mount", "bpf"] {
        assert_eq!(ordinary(name), EPERM, "{name}");
        assert_eq!(ask(CapSet::EMPTY.with(Capability::SysAdmin), Call::named(name).unwrap()), ALLOW, "{name}");
    }
    assert_eq!(ask(CapSet::EMPTY.with(Capability::Bpf), Call::named("bpf").unwrap()), ALLOW);
}

#[test]
fn threads_may_be_made_but_no_namespaces() {
    let clone = |flags| ask(CapSet::engine_default(), Call::named("clone").unwrap().with(0, flags));
    assert_eq!(clone(0x003d_0f00), ALLOW);
    for namespace in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(clone(namespace | 17), EPERM, "{namespace:#x}");
    }
    assert_eq!(ordinary("clone3"), ENOSYS);
}

#[test]
fn two_socket_families_are_shut() {
    let socket = |family| ask(CapSet::engine_default(), Call::named("socket").unwrap().with(0, family));
    for open in [1, 2, 10, 16, 17, 39, 41] {
        assert_eq!(socket(open), ALLOW, "family {open}");
    }
    for shut in [38, 40] {
        assert_eq!(socket(shut).to_string(), "EAFNOSUPPORT", "family {shut}");
    }
}

#[test]
fn another_architecture_is_killed_and_x32_is_unknown() {
    let read = Call::named("read").unwrap();
    assert_eq!(ask(CapSet::all(), Call { arch: 0x4000_0003, ..read }), KILL_PROCESS);
    assert_eq!(ask(CapSet::all(), Call { number: 0x4000_0000 | read.number, ..read }), ENOSYS);
    // Also where the profile is a deny-list, which x32 would step around.
    let permissive =
        Profile { default_action: Action::Allow, default_errno_ret: None, syscalls: vec![], ..default_profile() };
    let program = permissive.compile(&CapSet::all()).unwrap();
    assert_eq!(program.answer(&Call { number: 0x4000_0000, ..read }), Some(ENOSYS));
    assert_eq!(program.answer(&read), Some(ALLOW));
}

#[test]
fn arguments_are_compared_as_64_bits_unsigned() {
    let edges =
        [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 1, 5 << 32 | 7, u64::MAX - 1, u64::MAX];
    for op in [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual, MaskedEqual] {
        for value in edges {
            for value_two in [0, value, 1 << 32] {
                let profile = single(&["read"], vec![Argument { index: 3, value, value_two, op }]);
                let program = profile.compile(&CapSet::EMPTY).unwrap();
                for given in edges {
                    let call = Call::named("read").unwrap().with(3, given);
                    let expected = meaning(&profile, "read", &call);
                    assert_eq!(program.answer(&call), Some(expected), "{given:#x} {op:?} {value:#x} {value_two:#x}");
                }
            }
        }
    }
}

#[test]
fn all_conditions_must_hold_unless_two_are_about_one_argument() {
    let equal = |index, value| Argument { index, value, value_two: 0, op: Equal };
    let answers = |args: Vec<Argument>| {
        let program = single(&["read"], args).compile(&CapSet::EMPTY).unwrap();
        let answer =
            |first, second| program.answer(&Call::named("read").unwrap().with(0, first).with(1, second)) == Some(ALLOW);
        [answer(1, 2), answer(1, 0), answer(0, 2), answer(2, 0)]
    };
    assert_eq!(answers(vec![equal(0, 1), equal(1, 2)]), [true, false, false, false]);
    assert_eq!(answers(vec![equal(0, 1), equal(0, 2)]), [true, true, false, true]);
}

#[test]
fn dockers_own_profile_file_is_understood() {
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[
          {"names":["read","elsewhere"],"action":"SCMP_ACT_ALLOW","args":null,"comment":"","includes":{},"excludes":{}},
          {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
          {"names":["getpid"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}},
          {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
          {"names":["gettid"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}}]}"#;
    let profile: Profile = serde_json::from_str(text).unwrap();
    let program = profile.compile(&CapSet::engine_default()).unwrap();
    let answer = |name| program.answer(&Call::named(name).unwrap()).unwrap();
    assert_eq!((answer("read"), answer("ptrace")), (ALLOW, ALLOW));
    for refused in ["getpid", "mount", "gettid"] {
        assert_eq!(answer(refused), EPERM, "{refused}");
    }
}

#[test]
fn a_bad_profile_is_refused_with_its_place() {
    let error =
        |text: &str| serde_json::from_str::<Profile>(text).unwrap().compile(&CapSet::EMPTY).unwrap_err().to_string();
    let index = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO",
        "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#;
    assert_eq!(error(index), "seccomp profile, syscalls[0].args[0].index: 6 is above 5");
    let errno = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":70000}"#;
    assert_eq!(error(errno), "seccomp profile, defaultErrnoRet: errno 70000 is above 4095");
    let flag = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#;
    assert_eq!(error(flag), r#"seccomp profile, flags[0]: "SECCOMP_FILTER_FLAG_NEW_LISTENER" is not supported"#);
    assert!(serde_json::from_str::<Profile>(r#"{"defaultAction":"SCMP_ACT_GUESS"}"#).is_err());
}

#[test]
fn the_default_profile_is_written_and_read_back_in_the_fields_json() {
    let text = serde_json::to_string(&default_profile()).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), default_profile());
}
