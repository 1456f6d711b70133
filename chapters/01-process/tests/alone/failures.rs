//! A child that fails on its way: its parent learns of it, and nothing is left.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use process::{ChildError, Event, ProcessStep, Resource, Signal, Spawned};

use crate::Tests;
use crate::scene::{Act, Held, child, shell, words};

pub const TESTS: Tests = crate::tests! {
    whichever_step_fails_is_named_and_nothing_is_left
    every_step_says_what_it_could_not_do
    a_panic_in_the_child_reaches_the_parent
    an_end_before_ready_is_an_error
    an_error_too_long_for_the_channel_still_arrives
    a_checkpoint_too_long_for_the_channel_is_refused
    a_plan_without_an_exec_is_an_error
};

/// How far a child gets.
fn failure(steps: &[Act]) -> ChildError {
    let before = Held::now();
    let error = follow(&mut child(steps)).unwrap_err();
    before.is_all_there_is();
    error
}

/// Lets a child run to its exec, and holds what it hands over until then.
fn follow(child: &mut Spawned) -> Result<Vec<OwnedFd>, ChildError> {
    let mut handed_over = Vec::new();
    loop {
        let event = child.next_event().map_err(|error| ChildError { step: "run".to_owned(), error })?;
        match event {
            Event::Reached(_, descriptor) => handed_over.extend(descriptor),
            Event::Failed(error) => return Err(error),
            Event::Execed => return Ok(handed_over),
        }
        child.go().unwrap();
    }
}

/// A whole plan of this chapter.
fn plan() -> Vec<ProcessStep> {
    vec![
        ProcessStep::DieWithParent(Signal::SIGKILL),
        ProcessStep::Checkpoint("made"),
        ProcessStep::Fork,
        ProcessStep::NewSession,
        ProcessStep::Terminal { size: process::pty::Size::default(), owner: rustix::process::geteuid().as_raw() },
        ProcessStep::Limit(Resource::RLIMIT_CORE, 0, 0),
        ProcessStep::OomScore(1000),
        ProcessStep::Umask(0o027),
        ProcessStep::ChangeDirectory("/".into()),
        ProcessStep::ResetSignals,
        ProcessStep::CloseOnExec { preserve: 0 },
        shell("exit 0"),
    ]
}

fn whichever_step_fails_is_named_and_nothing_is_left() {
    for nth in 0..plan().len() {
        let mut steps: Vec<Act> = plan().into_iter().map(Act::from).collect();
        let name = process::Step::name(&steps[nth]);
        steps[nth] = Act::Refuse(name);
        let error = failure(&steps);
        assert_eq!(error.to_string(), format!(r#"{name}: attempt "what cannot be": EPERM"#));
    }
    // And with none replaced, it is a plan that works.
    let steps: Vec<Act> = plan().into_iter().map(Act::from).collect();
    let mut whole = child(&steps);
    let _terminal = follow(&mut whole).unwrap();
    assert_eq!(whole.pidfd().wait().unwrap().code(), 0);
}

fn every_step_says_what_it_could_not_do() {
    let nowhere = PathBuf::from("/no/such/directory");
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let impossible = [
        ProcessStep::Stdio([0, 1, 9999]),
        ProcessStep::Limit(Resource::RLIMIT_NOFILE, 10, 5),
        ProcessStep::OomScore(2000),
        ProcessStep::ChangeDirectory(nowhere),
        ProcessStep::ChangeDirectory("/etc/passwd".into()),
        ProcessStep::AwaitStart { listener: 9999, preserve: 0 },
        ProcessStep::Exec(words(&[])),
        ProcessStep::Exec(words(&["no-such-program"])),
        ProcessStep::Exec(words(&["/etc/passwd"])),
        ProcessStep::Exec(words(&["/bin/sh", "-c", "a\0b"])),
        ProcessStep::ExecDescriptor(9999, words(&["x"])),
        ProcessStep::ExecDescriptor(file.as_raw_fd(), words(&["x"])),
    ];
    let said: Vec<String> = impossible.into_iter().map(|step| failure(&[step.into()]).to_string()).collect();
    insta::with_settings!({filters => [(r"descriptor \d{1,2}\b", "descriptor [FD]"), (r"\[\d, 9999\]", "[[FD], 9999]")]}, {
        insta::assert_snapshot!(said.join("\n"));
    });
}

fn a_panic_in_the_child_reaches_the_parent() {
    let error = failure(&[Act::Panic]);
    assert_eq!(error.step, "panic");
    assert!(error.to_string().contains("a mistake of ours"), "{error}");
    assert!(error.to_string().contains("scene.rs"), "where it happened: {error}");
}

fn an_end_before_ready_is_an_error() {
    let vanished = failure(&[Act::Vanish(3)]);
    assert_eq!(vanished.to_string(), r#"run "init": the child exited with 3 before exec"#);
    let killed = failure(&[Act::KillSelf]);
    assert_eq!(killed.to_string(), r#"run "init": the child was killed by SIGKILL before exec"#);
    // Exit code 0 is no excuse.
    assert!(failure(&[Act::Vanish(0)]).to_string().contains("exited with 0 before exec"));
}

fn an_error_too_long_for_the_channel_still_arrives() {
    let error = failure(&[Act::RefuseAtLength(100_000)]).error;
    assert_eq!((error.operation.as_ref(), error.errno()), ("open", Errno::ENAMETOOLONG));
    assert!(error.object.starts_with("/very-long/very-long") && error.object.ends_with("... (cut)"));
    assert!(serde_json::to_vec(&error).unwrap().len() < process::channel::LIMIT);
}

fn a_checkpoint_too_long_for_the_channel_is_refused() {
    assert!(failure(&[Act::SayTooMuch]).to_string().contains("longer than the channel's limit"));
}

fn a_plan_without_an_exec_is_an_error() {
    let error = failure(&[ProcessStep::Umask(0o22).into()]);
    assert!(error.to_string().contains("ended without an exec"), "{error}");
}
