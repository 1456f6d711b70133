//! Many children: nothing of any of them remains.

use process::ProcessStep;

use crate::Tests;
use crate::scene::{Act, Held, child, shell, words};

pub const TESTS: Tests = crate::tests! {
    five_hundred_in_a_row_leave_nothing_and_memory_is_flat
    fifty_at_once_leave_nothing
    a_child_that_nobody_asks_about_is_still_a_zombie_until_it_is_waited_for
};

fn short_lived() -> [Act; 2] {
    [ProcessStep::ResetSignals.into(), ProcessStep::Exec(words(&["true"])).into()]
}

/// Memory of our own, in kilobytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn five_hundred_in_a_row_leave_nothing_and_memory_is_flat() {
    let before = Held::now();
    let mut after_hundred = 0;
    for round in 0..500 {
        if round == 100 {
            after_hundred = memory();
        }
        let mut child = child(&short_lived());
        child.run_to_exec().unwrap();
        assert_eq!(child.pidfd().wait().unwrap().code(), 0);
        drop(child);
        if round % 100 == 0 {
            before.is_all_there_is();
        }
    }
    before.is_all_there_is();
    // 400 children more: a leak of one kilobyte each would show.
    assert!(memory() < after_hundred + 256, "{after_hundred} kB, then {} kB", memory());
}

fn fifty_at_once_leave_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    use std::os::fd::AsRawFd as _;
    let streams = ProcessStep::Stdio([reader.as_raw_fd(), 1, 2]);
    // Each waits for its input to end: they are all there at once.
    let steps = [streams.into(), ProcessStep::CloseOnExec { preserve: 0 }.into(), shell("read line; exit 7").into()];
    let mut children: Vec<_> = (0..50).map(|_| child(&steps)).collect();
    for child in &mut children {
        child.run_to_exec().unwrap();
        assert!(!child.pidfd().ended_within(std::time::Duration::ZERO).unwrap());
    }
    drop((reader, writer));
    for child in children {
        assert_eq!(child.pidfd().wait().unwrap().code(), 7);
    }
}

fn a_child_that_nobody_asks_about_is_still_a_zombie_until_it_is_waited_for() {
    let mut child = child(&short_lived());
    child.run_to_exec().unwrap();
    assert!(child.pidfd().ended_within(std::time::Duration::from_secs(60)).unwrap());
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
    child.pidfd().wait().unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}", child.pid())).exists());
    // Its number may be anybody's by now; the descriptor still means the one that has ended.
    assert_eq!(child.pidfd().signal(process::Signal::SIGKILL).unwrap_err().errno(), nix::errno::Errno::ESRCH);
}
