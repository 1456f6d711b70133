//! Every MUST of the OCI runtime specification for Linux, as a table: the section, the rule, and a test of it.
//!
//! The same table is run against runc and crun, which tests the tests; what each of the three makes of it is kept in a
//! snapshot. A rule that we break on purpose is in [`ON_PURPOSE`], with the reason.
#![allow(clippy::unwrap_used)]

mod config;
mod hooks;
mod life;
mod linux;
mod mounts;
mod scene;

use std::fmt::Write as _;
use std::path::Path;

use assert_cmd::cargo::cargo_bin;
use libtest_mimic::{Arguments, Failed, Trial};
use process::needs;
use scene::{Runtime, Scene, Verdict, groups, sweep};

/// A rule.
pub(crate) struct Case {
    /// Where the specification has it.
    pub(crate) section: &'static str,
    /// What it says, in few words.
    pub(crate) rule: &'static str,
    /// Whether a runtime keeps to it.
    pub(crate) test: fn(&Scene<'_>) -> Verdict,
}

/// Rules that our runtime breaks, and why.
const ON_PURPOSE: [(&str, &str); 1] = [(
    "a mount namespace that is not listed is inherited",
    "a container in the machine's mount namespace would mount, mask and pivot there; it is refused by name",
)];

fn cases() -> impl Iterator<Item = &'static Case> {
    [config::CASES, mounts::CASES, hooks::CASES, linux::CASES, life::CASES].into_iter().flatten()
}

fn main() {
    let arguments = Arguments::from_args();
    if !needs::root() || !needs::program("busybox") {
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    // A container without a mount namespace of its own mounts in ours: let that not be the machine's.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let slave = nix::mount::MsFlags::MS_SLAVE | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(None::<&str>, "/", None::<&str>, slave, None::<&str>).unwrap();
    // On the disk, in a directory that users of user namespaces can come through.
    let home = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir();
    let home = home.unwrap();
    let busybox = home.path().join("busybox");
    needs::copy_program(needs::find_program("busybox").unwrap(), &busybox);
    let ours = Runtime { name: "cooper-runtime", command: vec![cargo_bin("cooper-runtime").display().to_string()] };
    let mut trials: Vec<Trial> = cases()
        .map(|case| {
            let (ours, busybox) = (ours.clone(), busybox.clone());
            let name = format!("{}: {}", case.section, case.rule);
            Trial::test(name, move || judge(case, Scene::new(&ours, &busybox)))
        })
        .collect();
    let place = busybox.clone();
    trials.push(Trial::test("what_runc_and_crun_make_of_the_same_table", move || compare(&place)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(home);
    sweep("conformance");
    conclusion.exit();
}

fn judge(case: &Case, scene: Scene<'_>) -> Result<(), Failed> {
    let broken_on_purpose = ON_PURPOSE.iter().any(|(rule, _)| *rule == case.rule);
    let verdict = (case.test)(&scene);
    let id = scene.id();
    drop(scene);
    if !groups(&id).is_empty() {
        sweep(&id);
        return Err("a cgroup is left".into());
    }
    match (verdict, broken_on_purpose) {
        (Ok(()), false) | (Err(_), true) => Ok(()),
        (Err(how), false) => Err(how.into()),
        (Ok(()), true) => Err("the rule is kept: take it off the list of those that are not".into()),
    }
}

/// runc, and crun as far as it works here: 1.8 takes a hybrid machine for one with v2 only if it sees the v2 tree.
fn peers(directory: &Path) -> Option<[Runtime; 2]> {
    if !["runc", "crun", "unshare"].iter().all(|name| needs::program(name)) {
        return None;
    }
    let (draft, wrapper) = (directory.join("crun.sh"), directory.join("crun"));
    let script = "#!/bin/sh\nexec unshare -m sh -c 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec crun \"$@\"' crun \"$@\"\n";
    std::fs::write(&draft, script).unwrap();
    needs::copy_program(&draft, &wrapper);
    let runtime = |name, command: &Path| Runtime { name, command: vec![command.display().to_string()] };
    Some([runtime("runc", Path::new("runc")), runtime("crun", &wrapper)])
}

/// The table of all three: where all keep a rule, only their number is told.
fn compare(busybox: &Path) -> Result<(), Failed> {
    let Some(peers) = peers(busybox.parent().unwrap()) else { return Ok(()) };
    let verdicts: Vec<Vec<Verdict>> = std::thread::scope(|scope| {
        let run = |peer: &'static str, runtime: Runtime| {
            scope.spawn(move || {
                assert_eq!(runtime.name, peer);
                cases().map(|case| outcome(case, Scene::new(&runtime, busybox))).collect()
            })
        };
        let [runc, crun] = peers;
        let running = [run("runc", runc), run("crun", crun)];
        running.into_iter().map(|peer| peer.join().unwrap()).collect()
    });
    let mut table = String::new();
    let mut kept = [0; 3];
    for (place, case) in cases().enumerate() {
        let on_purpose = ON_PURPOSE.iter().find(|(rule, _)| *rule == case.rule);
        let ours = on_purpose.map_or(Ok(()), |(_, reason)| Err(*reason));
        let row = [ours, verdicts[0][place], verdicts[1][place]];
        row.iter().zip(&mut kept).for_each(|(verdict, kept)| *kept += usize::from(verdict.is_ok()));
        if row.iter().all(Result::is_ok) {
            continue;
        }
        writeln!(table, "{}: {}", case.section, case.rule).unwrap();
        for (name, verdict) in ["cooper-runtime", "runc", "crun"].iter().zip(row) {
            writeln!(
                table,
                "    {name:<15} {}",
                verdict.map_or_else(|how| format!("no: {how}"), |()| "yes".to_owned())
            )
            .unwrap();
        }
    }
    let versions = [version("runc"), version("crun")];
    let summary = format!(
        "of {} rules cooper-runtime keeps {}, {} {}, {} {}\n\n",
        cases().count(),
        kept[0],
        versions[0],
        kept[1],
        versions[1],
        kept[2]
    );
    insta::assert_snapshot!("table", summary + &table);
    Ok(())
}

/// What a peer makes of a rule; what it leaves is removed.
fn outcome(case: &Case, scene: Scene<'_>) -> Verdict {
    let verdict = (case.test)(&scene);
    let id = scene.id();
    drop(scene);
    sweep(&id);
    verdict
}

/// `runc version 1.1.5+ds1` is `runc 1.1.5`.
fn version(program: &str) -> String {
    let output = std::process::Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(2).unwrap_or_default();
    format!("{program} {}", number.split('+').next().unwrap_or_default())
}
