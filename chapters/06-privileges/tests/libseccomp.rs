//! Our assembler's filters and libseccomp's, made of the same rules and asked the same calls.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use privileges::seccomp::{
    Action, Arch, Argument, Call, Comparison, FilterFlags, Instruction, Profile, Program, default_profile,
};
use privileges::{CapSet, Capability};

mod invented;
use invented::{Dice, Overlap, values};

/// libseccomp, behind a small C program that speaks lines.
struct Libseccomp(PathBuf);

impl Libseccomp {
    /// `None` where it is not installed; then a skip has been printed.
    fn find() -> Option<Self> {
        if !process::needs::program("gcc") || !process::needs::library("libseccomp.so.2") {
            return None;
        }
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libseccomp-{}", std::process::id()));
        let built = program.with_extension(format!("{:?}", std::thread::current().id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/libseccomp.c");
        let status = Command::new("gcc").arg("-o").arg(&built).arg(source).arg("-l:libseccomp.so.2").status();
        assert!(status.unwrap().success());
        Some(Self(built))
    }

    fn ask(&self, lines: &str) -> String {
        let mut child = Command::new(&self.0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It reads everything before it prints more than a pipe holds.
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "libseccomp refused:\n{lines}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The numbers of calls on an architecture, in the order of the names.
    fn numbers(&self, arch: Arch, names: &[&str]) -> Vec<Option<u32>> {
        let lines: String = names.iter().map(|name| format!("number {} {name}\n", token(arch))).collect();
        let number = |line: &str| line.strip_prefix("number ")?.parse::<i64>().ok()?.try_into().ok();
        self.ask(&lines).lines().map(number).collect()
    }

    /// The filter that it makes of a resolved profile.
    fn filter(&self, profile: &Profile) -> Program {
        let default = action(profile.default_action, profile.default_errno_ret);
        let mut lines = format!("default {default}\n");
        for arch in [Arch::X86, Arch::X32].iter().filter(|arch| profile.architectures.contains(&arch.name().to_owned()))
        {
            lines += &format!("arch {}\n", token(*arch));
        }
        for rule in &profile.syscalls {
            let answer = action(rule.action, rule.errno_ret);
            // libseccomp refuses a rule that says what is said already.
            for name in rule.names.iter().filter(|_| answer != default) {
                let conditions: String = rule.args.iter().map(condition).collect();
                lines += &format!("rule {answer} {name} {}{conditions}\n", rule.args.len());
            }
        }
        lines += "export\n";
        let instruction = |line: &str| {
            let numbers: Vec<u32> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            Instruction { code: numbers[0] as u16, jt: numbers[1] as u8, jf: numbers[2] as u8, k: numbers[3] }
        };
        let instructions = self.ask(&lines).lines().map(instruction).collect();
        Program { instructions, flags: FilterFlags::default() }
    }
}

impl Drop for Libseccomp {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn token(arch: Arch) -> u32 {
    if arch == Arch::X32 { 0x4000_003e } else { arch.audit() }
}

fn action(action: Action, errno: Option<u32>) -> u32 {
    match action {
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Errno => 0x0005_0000 | errno.unwrap_or(1),
        Action::Notify => 0x7fc0_0000,
        Action::Trace => 0x7ff0_0000 | errno.unwrap_or(1),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    }
}

fn condition(argument: &Argument) -> String {
    let op = match argument.op {
        Comparison::NotEqual => 1,
        Comparison::Less => 2,
        Comparison::LessOrEqual => 3,
        Comparison::Equal => 4,
        Comparison::GreaterOrEqual => 5,
        Comparison::Greater => 6,
        Comparison::MaskedEqual => 7,
    };
    format!(" {} {op} {} {}", argument.index, argument.value, argument.value_two)
}

/// All names that x86_64 or 32-bit x86 has.
fn names() -> Vec<&'static str> {
    let native = syscalls::Sysno::iter().map(|call| call.name());
    native.chain(syscalls::x86::Sysno::iter().map(|call| call.name())).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Holds the two filters of a profile against each other. Returns how many calls were asked.
fn compare(libseccomp: &Libseccomp, profile: &Profile, archs: &[Arch], dice: &mut Dice) -> usize {
    let ours = profile.compile(&CapSet::EMPTY).unwrap();
    let theirs = libseccomp.filter(profile);
    let (names, values) = (names(), values(profile));
    let mut asked = 0;
    for &arch in archs {
        for (name, known) in names.iter().zip(libseccomp.numbers(arch, &names)) {
            // Younger than this libseccomp: it left the rules out.
            let Some(call) = Call::named_on(arch, name).filter(|call| known == Some(call.number)) else { continue };
            for _ in 0..24 {
                let mut call = call;
                for argument in &mut call.arguments {
                    let value = dice.pick(&values);
                    // With short pointers libseccomp looks at the low words only; we look at all that the kernel shows.
                    *argument = if arch == Arch::X86_64 { value } else { value & 0xffff_ffff };
                }
                let (ours, theirs) = (ours.answer(&call).unwrap(), theirs.answer(&call).unwrap());
                assert_eq!(ours, theirs, "{name} on {arch:?}: {call:x?}: ours {ours}, theirs {theirs}");
                asked += 1;
            }
        }
    }
    asked
}

fn with_sub_architectures(profile: &Profile) -> Profile {
    let architectures = [Arch::X86, Arch::X32].map(|arch| arch.name().to_owned()).to_vec();
    Profile { architectures, ..profile.clone() }
}

#[test]
fn our_call_numbers_are_libseccomps() {
    let Some(libseccomp) = Libseccomp::find() else { return };
    let names = names();
    for (arch, at_least) in [(Arch::X86_64, 340), (Arch::X86, 400), (Arch::X32, 330)] {
        let theirs = libseccomp.numbers(arch, &names);
        let mut known = 0;
        for (name, theirs) in names.iter().zip(theirs) {
            let Some(theirs) = theirs else {
                // A name that it does not know at all may be younger than it; one that it knows elsewhere is not here.
                continue;
            };
            assert_eq!(arch.number_of(name), Some(theirs), "{name} on {arch:?}");
            known += 1;
        }
        assert!(known > at_least, "{arch:?}: only {known} calls were compared");
    }
}

#[test]
fn calls_that_x32_lacks_are_those_that_libseccomp_says_it_lacks() {
    let Some(libseccomp) = Libseccomp::find() else { return };
    let names = names();
    let native = libseccomp.numbers(Arch::X86_64, &names);
    let theirs = libseccomp.numbers(Arch::X32, &names);
    for ((name, native), theirs) in names.iter().zip(native).zip(theirs) {
        if native.is_some() {
            assert_eq!(Arch::X32.number_of(name), theirs, "{name}");
        }
    }
}

#[test]
fn the_default_profile_means_the_same_to_libseccomp() {
    let Some(libseccomp) = Libseccomp::find() else { return };
    let mut dice = Dice(1);
    let sets = [
        CapSet::EMPTY,
        CapSet::engine_default(),
        CapSet::docker().with(Capability::Bpf),
        CapSet::engine_default().with(Capability::SysAdmin).with(Capability::SysPtrace),
        CapSet::all(),
    ];
    let mut asked = 0;
    for capabilities in sets {
        for kernel in [(4, 4), (6, 12)] {
            let profile = default_profile().resolve(capabilities, kernel);
            asked += compare(&libseccomp, &profile, &[Arch::X86_64], &mut dice);
            let all = [Arch::X86_64, Arch::X86, Arch::X32];
            asked += compare(&libseccomp, &with_sub_architectures(&profile), &all, &mut dice);
        }
    }
    assert!(asked > 100_000, "only {asked} calls were asked");
}

/// libseccomp merges the rules of a call into one tree, and where two of them have several conditions each and overlap,
/// it loses some (2.5 and before). So here a call has one rule, or several that compare the same argument for equality;
/// any number of any rules is held against their plain meaning in `filter.rs`.
#[test]
fn invented_profiles_mean_the_same_to_libseccomp() {
    let Some(libseccomp) = Libseccomp::find() else { return };
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let profile = invented::profile(&mut dice, Overlap::Never);
        let asked = compare(&libseccomp, &profile, &[Arch::X86_64], &mut dice);
        assert!(asked > 5_000, "seed {seed}: only {asked} calls were asked");
    }
}

/// Rules with several conditions each that overlap, which libseccomp merges, and up to 2.5 loses or makes up some of them on
/// the way. With one action for all of them, what they mean is not in question: ours is their meaning in each case, and
/// libseccomp's in nearly all.
#[test]
fn where_rules_overlap_ours_is_what_they_say_and_libseccomps_nearly_always() {
    let Some(libseccomp) = Libseccomp::find() else { return };
    let (mut asked, mut differs) = (0, 0);
    for seed in 100..104 {
        let mut dice = Dice(seed);
        let mut profile = invented::profile(&mut dice, Overlap::Often);
        profile.default_action = Action::Errno;
        profile.default_errno_ret = Some(38);
        // Merging takes libseccomp long.
        profile.syscalls.truncate(70);
        profile.syscalls.iter_mut().for_each(|rule| (rule.action, rule.errno_ret) = (Action::Allow, None));
        let (ours, theirs) = (profile.compile(&CapSet::EMPTY).unwrap(), libseccomp.filter(&profile));
        let values = values(&profile);
        let named: Vec<&str> = profile.syscalls.iter().map(|rule| rule.names[0].as_str()).collect();
        let known = libseccomp.numbers(Arch::X86_64, &named);
        for (name, _) in named.iter().zip(known).filter(|(_, known)| known.is_some()) {
            for _ in 0..60 {
                let mut call = Call::named(name).unwrap();
                call.arguments.iter_mut().for_each(|argument| *argument = dice.pick(&values));
                let meant = profile.syscalls.iter().any(|rule| rule.names[0] == *name && holds(rule, &call));
                let found = |program: &Program| program.answer(&call).unwrap().is_allowed();
                assert_eq!(found(&ours), meant, "{name}: {call:x?}");
                asked += 1;
                differs += usize::from(meant != found(&theirs));
            }
        }
    }
    assert!(asked > 10_000, "only {asked} calls were asked");
    assert!(differs * 20 < asked, "libseccomp means something else in {differs} of {asked} cases");
}

/// The plain meaning of a rule's conditions.
fn holds(rule: &privileges::seccomp::Rule, call: &Call) -> bool {
    rule.args.iter().all(|argument| {
        let (is, value) = (call.arguments[argument.index as usize], argument.value);
        match argument.op {
            Comparison::NotEqual => is != value,
            Comparison::Less => is < value,
            Comparison::LessOrEqual => is <= value,
            Comparison::Equal => is == value,
            Comparison::GreaterOrEqual => is >= value,
            Comparison::Greater => is > value,
            Comparison::MaskedEqual => is & value == argument.value_two,
        }
    })
}

/// The profile that podman's package installs, as it is.
#[test]
fn podmans_profile_means_the_same_to_libseccomp() {
    let Some(libseccomp) = Libseccomp::find() else { return };
    if !process::needs::program("podman") {
        return;
    }
    let text = std::fs::read_to_string("/usr/share/containers/seccomp.json").unwrap();
    let profile: Profile = serde_json::from_str(&text).unwrap();
    let mut dice = Dice(7);
    let mut asked = 0;
    for capabilities in [CapSet::EMPTY, CapSet::engine_default(), CapSet::all()] {
        let resolved = profile.resolve(capabilities, (6, 12));
        asked += compare(&libseccomp, &resolved, &[Arch::X86_64, Arch::X86], &mut dice);
    }
    assert!(asked > 30_000, "only {asked} calls were asked");
}

#[test]
fn a_wrong_filter_is_noticed() {
    let Some(libseccomp) = Libseccomp::find() else { return };
    let mut profile = default_profile().resolve(CapSet::EMPTY, (6, 12));
    let theirs = libseccomp.filter(&profile);
    // One bit of one mask.
    let clone = profile.syscalls.iter_mut().find(|rule| rule.names == ["clone"]).unwrap();
    clone.args[0].value ^= 1 << 29;
    let ours = profile.compile(&CapSet::EMPTY).unwrap();
    let differs = |flags: u64| {
        let call = Call::named("clone").unwrap().with(0, flags);
        ours.answer(&call) != theirs.answer(&call)
    };
    assert!(differs(1 << 29) && !differs(1 << 28));
}
