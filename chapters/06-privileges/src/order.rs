//! Each rule of the order turned around: the plan with two steps exchanged, executed for real.

use privileges::confinement::{ORDER, OrderRule};
use privileges::landlock::{self, Ruleset};
use privileges::seccomp::{Action, Profile, Rule, default_profile};
use privileges::{CapSet, Capabilities, Confinement, Identity, Label, SecurityModule, Step};
use process::Step as _;

/// Prints every rule, why it is one, and what the kernel says to its opposite.
pub(crate) fn try_each() -> anyhow::Result<()> {
    for rule in &ORDER {
        println!("{} before {}: {}", rule.first, rule.then, rule.because);
        println!("    otherwise: {}", outcome(rule)?);
    }
    Ok(())
}

/// What becomes of a process whose plan has the two steps of a rule the other way round.
fn outcome(rule: &OrderRule) -> anyhow::Result<String> {
    if about_landlock(rule) && landlock::version().is_none_or(|version| version < 3) {
        return Ok("not tried: this kernel does not offer Landlock, or too little of it".to_owned());
    }
    let about_labels = rule.first == "label";
    if about_labels && SecurityModule::active().is_empty() {
        return Ok("not tried: no security module is active here".to_owned());
    }
    let steps = turned(strictest(rule)?.steps(), rule);
    Ok(match super::start::start(vec!["true".into()], &steps, 0, None) {
        Ok(_) => "nothing broke here".to_owned(),
        Err(error) => format!("{error:#}"),
    })
}

fn about_landlock(rule: &OrderRule) -> bool {
    rule.first == "landlock" || rule.then == "landlock"
}

/// A confinement in which the rule counts: nothing is kept, and the filter forbids what the steps themselves do.
fn strictest(rule: &OrderRule) -> anyhow::Result<Confinement> {
    let no_new_privs = rule.counts(true);
    let root = nix::unistd::geteuid().is_root();
    let active = SecurityModule::active().first().copied().filter(|_| rule.first == "label");
    let forbidden = if no_new_privs { "keyctl capset write landlock_restrict_self" } else { "" };
    Ok(Confinement {
        keyring: Some("ch06-privileges".to_owned()),
        // An ordinary user's namespace has no other user than root.
        identity: if root { Identity { uid: 12345, gid: 12345, ..Identity::default() } } else { Identity::default() },
        capabilities: Some(Capabilities::container(CapSet::EMPTY)),
        no_new_privs,
        labels: active.map(|module| Label { module, text: "unconfined".to_owned() }).into_iter().collect(),
        landlock: about_landlock(rule).then(Ruleset::default),
        seccomp: Some(forbidding(forbidden).compile(&CapSet::EMPTY)?),
    })
}

fn forbidding(names: &str) -> Profile {
    let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    let rule = Rule { names, action: Action::Errno, errno_ret: None, ..default_profile().syscalls.remove(0) };
    let syscalls = if rule.names.is_empty() { Vec::new() } else { vec![rule] };
    Profile { default_action: Action::Allow, default_errno_ret: None, syscalls, ..default_profile() }
}

/// The earlier step of the rule put right behind the later one.
fn turned(mut steps: Vec<Step>, rule: &OrderRule) -> Vec<Step> {
    let place = |name| steps.iter().position(|step| step.name() == name);
    if let (Some(first), Some(then)) = (place(rule.first), place(rule.then)) {
        steps[first..=then].rotate_left(1);
    }
    steps
}
