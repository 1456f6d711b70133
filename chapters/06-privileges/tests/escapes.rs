//! Escapes that were once possible, each beside the reading or the plan that made it so.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use privileges::{CapSet, Capabilities, resolve_user};

/// An image that calls an account `1000`, and root's id by other names.
const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n1000:x:0:0::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:34:\n";

/// A reading of `USER[:GROUP]` that was somewhere shipped, or might have been.
type Reading = fn(&str) -> Option<(u32, u32)>;

fn halves(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}

/// Wraps around at 2^32, as a C cast does (CVE-2024-40635).
fn wrapping(text: &str) -> Option<(u32, u32)> {
    let half = |text: &str| text.parse::<i64>().map_or(0, |number| number as u32);
    let (user, group) = halves(text);
    Some((half(user), half(group)))
}

/// Takes an empty half for zero (CVE-2026-30892).
fn empty_is_zero(text: &str) -> Option<(u32, u32)> {
    let half = |text: &str| if text.is_empty() { Some(0) } else { text.parse().ok() };
    let (user, group) = halves(text);
    Some((half(user)?, half(group)?))
}

/// Reads hexadecimal and octal, as `strtol` with base 0 does.
fn any_base(text: &str) -> Option<(u32, u32)> {
    let half = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let (user, group) = halves(text);
    Some((half(user)?, half(group).unwrap_or(0)))
}

/// Stops at the first character that is no digit, as `atoi` does.
fn as_far_as_it_goes(text: &str) -> Option<(u32, u32)> {
    let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
    Some((digits.parse().unwrap_or(0), 0))
}

/// Takes whom it does not find for root.
fn unknown_is_root(text: &str) -> Option<(u32, u32)> {
    Some(resolve_user(text, "", "").map_or((0, 0), |identity| (identity.uid, identity.gid)))
}

/// Looks for an account called like the number first.
fn names_first(text: &str) -> Option<(u32, u32)> {
    let line = PASSWD.lines().find(|line| line.split(':').next() == Some(text))?;
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
}

#[test]
fn no_user_is_misread_as_it_once_was() {
    let misreadings: [(&str, Reading); 15] = [
        ("4294967296", wrapping),
        ("4294967296:4294967296", wrapping),
        ("-1", wrapping),
        ("-4294967296", wrapping),
        ("1:", empty_is_zero),
        (":1", empty_is_zero),
        (":", empty_is_zero),
        ("0x0", any_base),
        ("00", any_base),
        ("010", any_base),
        ("0 web", as_far_as_it_goes),
        ("0\nweb", as_far_as_it_goes),
        ("0,33", as_far_as_it_goes),
        ("nobody", unknown_is_root),
        ("1000", names_first),
    ];
    for (text, wrong) in misreadings {
        let misread = wrong(text).unwrap_or_else(|| panic!("the wrong reading of {text:?} does not accept it"));
        if let Ok(identity) = resolve_user(text, PASSWD, GROUP) {
            assert_ne!((identity.uid, identity.gid), misread, "{text:?} is misread");
            assert_eq!((text, identity.uid), ("1000", 1000));
        }
    }
}

/// CVE-2022-29162, CVE-2022-27649, CVE-2022-24769: a container's processes had inheritable capabilities, and any program
/// of the image with file capabilities gave them back to an ordinary user.
#[test]
fn inheritable_capabilities_end_at_the_containers_door() {
    if !process::needs::root() || !process::needs::program("setpriv") {
        return;
    }
    let line = |command: &[&str]| {
        let mut words = vec!["--inh-caps", "+chown,+kill"];
        words.extend(command);
        words.extend(["grep", "CapInh", "/proc/self/status"]);
        String::from_utf8(Command::new("setpriv").args(words).output().unwrap().stdout).unwrap()
    };
    // Without a confinement they pass through every execve: this is what the kernel does if nobody stops it.
    assert_eq!(line(&[]), "CapInh:\t0000000000000021\n");
    assert_eq!(line(&[env!("CARGO_BIN_EXE_ch06-privileges"), "run", "--"]), "CapInh:\t0000000000000000\n");
    assert_eq!(line(&[env!("CARGO_BIN_EXE_ch06-privileges"), "run", "--user=33", "--"]), "CapInh:\t0000000000000000\n");
}

#[test]
fn what_a_container_is_given_is_never_inheritable_nor_ambient() {
    for set in [CapSet::EMPTY, CapSet::engine_default(), CapSet::all()] {
        let sets = Capabilities::container(set);
        assert_eq!((sets.inheritable, sets.ambient), (CapSet::EMPTY, CapSet::EMPTY));
    }
    // What the engines of 2022 gave.
    let once = Capabilities { inheritable: CapSet::docker(), ..Capabilities::container(CapSet::docker()) };
    assert_ne!(once, Capabilities::container(CapSet::docker()));
}

/// A caller under other rules for root would hand them down, and a server in the container that becomes an ordinary user
/// would keep every capability until its next execve.
#[test]
fn the_callers_rules_for_root_end_at_the_containers_door() {
    if !process::needs::root() || !process::needs::program("setpriv") {
        return;
    }
    let rules = |command: &[&str]| {
        let mut words = vec!["--securebits", "+no_setuid_fixup"];
        words.extend(command);
        words.extend(["setpriv", "--dump"]);
        let output = Command::new("setpriv").args(words).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        text.lines().find(|line| line.starts_with("Securebits")).unwrap().to_owned()
    };
    assert_eq!(rules(&[]), "Securebits: no_setuid_fixup");
    assert_eq!(rules(&[env!("CARGO_BIN_EXE_ch06-privileges"), "run", "--"]), "Securebits: [none]");
}
