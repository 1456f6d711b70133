//! Signals on their way to a child: none is lost, none is renamed.

use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::SigSet;
use process::{Event, ExitStatus, PidFd, ProcessStep, Program, Signal, reaper, signals};

use crate::Tests;
use crate::scene::{Act, child, output, shell};

pub const TESTS: Tests = crate::tests! {
    a_signal_between_clone_and_exec_is_not_lost
    a_signal_before_the_child_exists_is_not_lost
    a_signal_before_an_init_listens_is_passed_on
    a_real_time_signal_is_passed_on_and_reported_as_itself
    every_signal_that_ends_a_process_is_reported_as_itself
    orphans_are_reaped_on_the_way_and_the_programs_status_is_its_own
};

/// Forgets what is blocked and pending, for the next behaviour.
struct Unblocked;

impl Drop for Unblocked {
    fn drop(&mut self) {
        SigSet::empty().thread_set_mask().unwrap();
    }
}

fn a_signal_between_clone_and_exec_is_not_lost() {
    let _after = Unblocked;
    let signals = reaper::listen().unwrap();
    let steps: Vec<Act> = vec![
        ProcessStep::Checkpoint("born").into(),
        ProcessStep::ResetSignals.into(),
        shell("while :; do sleep 1; done").into(),
    ];
    let mut child = child(&steps);
    assert!(matches!(child.next_event().unwrap(), Event::Reached(..)));
    // It has our mask still: the signal waits for it.
    child.pidfd().signal(Signal::SIGTERM).unwrap();
    assert!(!child.pidfd().ended_within(std::time::Duration::ZERO).unwrap());
    child.go().unwrap();
    let status = reaper::supervise(child.pidfd(), child.pid(), &signals).unwrap();
    assert_eq!(status, ExitStatus::Signaled(Signal::SIGTERM));
}

fn a_signal_before_an_init_listens_is_passed_on() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), process::init::INIT).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = file.into_temp_path();
    let script = ["sh", "-c", "while :; do sleep 1; done"];
    let arguments = [file.as_os_str().to_owned()].into_iter().chain(script.map(Into::into)).collect();
    let program = Program { arguments, environment: vec!["PATH=/usr/bin:/bin".into()] };
    let steps: Vec<Act> = vec![
        ProcessStep::HoldSignals.into(),
        ProcessStep::Checkpoint("held").into(),
        ProcessStep::Exec(program).into(),
    ];
    let mut child = child(&steps);
    assert!(matches!(child.next_event().unwrap(), Event::Reached(..)));
    child.pidfd().signal(Signal::SIGTERM).unwrap();
    child.go().unwrap();
    child.run_to_exec().unwrap();
    // It was the program that the signal ended; the init itself has no action for it.
    assert_eq!(child.pidfd().wait().unwrap(), ExitStatus::Exited(128 + 15));
}

fn a_signal_before_the_child_exists_is_not_lost() {
    let _after = Unblocked;
    let signals = reaper::listen().unwrap();
    PidFd::open(process::Pid::this()).unwrap().signal(Signal::SIGUSR1).unwrap();
    let mut child = child(&[ProcessStep::ResetSignals.into(), shell("while :; do sleep 1; done").into()]);
    child.run_to_exec().unwrap();
    let status = reaper::supervise(child.pidfd(), child.pid(), &signals).unwrap();
    assert_eq!(status, ExitStatus::Signaled(Signal::SIGUSR1));
}

fn a_real_time_signal_is_passed_on_and_reported_as_itself() {
    let _after = Unblocked;
    let signals = reaper::listen().unwrap();
    let real_time = signals::parse("RTMIN+3").unwrap();
    PidFd::open(process::Pid::this()).unwrap().signal(real_time).unwrap();
    let mut child = child(&[ProcessStep::ResetSignals.into(), shell("while :; do sleep 1; done").into()]);
    child.run_to_exec().unwrap();
    let status = reaper::supervise(child.pidfd(), child.pid(), &signals).unwrap();
    assert_eq!((status, status.code()), (ExitStatus::Signaled(real_time), 128 + 37));
}

fn every_signal_that_ends_a_process_is_reported_as_itself() {
    let harmless = [Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGURG, Signal::SIGWINCH];
    let stopping = [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
    for signal in (1..=64).filter_map(Signal::from_number) {
        if harmless.contains(&signal) || stopping.contains(&signal) {
            continue;
        }
        let no_core = ProcessStep::Limit(process::Resource::RLIMIT_CORE, 0, 0);
        let script = format!("kill -{} $$; exit 0", signal.number());
        let (_, status) = output(vec![no_core, ProcessStep::ResetSignals, shell(&script)]);
        assert_eq!(status, ExitStatus::Signaled(signal));
    }
}

fn orphans_are_reaped_on_the_way_and_the_programs_status_is_its_own() {
    let _after = Unblocked;
    reaper::adopt_orphans().unwrap();
    let signals = reaper::listen().unwrap();
    let script = "for i in 1 2 3 4 5; do (sh -c 'exit 1' &); done; exit 9";
    let mut child = child(&[ProcessStep::ResetSignals.into(), shell(script).into()]);
    child.run_to_exec().unwrap();
    assert_eq!(reaper::supervise(child.pidfd(), child.pid(), &signals).unwrap(), ExitStatus::Exited(9));
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
    nix::sys::prctl::set_child_subreaper(false).unwrap();
}
