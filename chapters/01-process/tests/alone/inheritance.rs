//! What a program inherits besides descriptors: limits, a mask, a score, a terminal.

use process::{ProcessStep, Resource, needs};

use crate::Tests;
use crate::scene::{Act, child, output, shell};

pub const TESTS: Tests = crate::tests! {
    limits_mask_and_score_are_the_programs
    a_hard_limit_cannot_be_raised_without_the_capability
    a_score_below_ones_own_needs_the_capability
    a_program_on_a_terminal_hears_of_its_size
};

fn limits_mask_and_score_are_the_programs() {
    let steps = vec![
        ProcessStep::Limit(Resource::RLIMIT_NOFILE, 64, 128),
        ProcessStep::Limit(Resource::RLIMIT_CORE, 0, 0),
        ProcessStep::Umask(0o027),
        ProcessStep::OomScore(1000),
        shell("ulimit -Sn; ulimit -Hn; ulimit -c; umask; cat /proc/self/oom_score_adj"),
    ];
    assert_eq!(output(steps).0, "64\n128\n0\n0027\n1000\n");
}

/// Whether this process has CAP_SYS_RESOURCE.
fn may_raise() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    u64::from_str_radix(effective, 16).unwrap() & (1 << 24) != 0
}

fn a_hard_limit_cannot_be_raised_without_the_capability() {
    let lowered = ProcessStep::Limit(Resource::RLIMIT_NOFILE, 64, 64);
    let raised = ProcessStep::Limit(Resource::RLIMIT_NOFILE, 64, 4096);
    let steps: Vec<Act> = vec![lowered.into(), raised.into(), shell("exit 0").into()];
    let mut child = child(&steps);
    let result = child.run_to_exec();
    if may_raise() {
        result.unwrap();
        child.pidfd().wait().unwrap();
    } else {
        let reason = "soft 64, hard 4096, and to raise a hard limit needs CAP_SYS_RESOURCE";
        assert_eq!(result.unwrap_err().to_string(), format!(r#"setrlimit "RLIMIT_NOFILE" ({reason}): EPERM"#));
    }
}

fn a_score_below_ones_own_needs_the_capability() {
    let steps: Vec<Act> = vec![ProcessStep::OomScore(-1000).into(), shell("exit 0").into()];
    let mut child = child(&steps);
    let result = child.run_to_exec();
    if may_raise() {
        result.unwrap();
        child.pidfd().wait().unwrap();
    } else {
        let reason = "-1000: a score below the one that was inherited needs CAP_SYS_RESOURCE";
        let expected = format!(r#"oom_score_adj: write "/proc/self/oom_score_adj" ({reason}): EACCES"#);
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}

fn a_program_on_a_terminal_hears_of_its_size() {
    use std::io::{BufRead as _, BufReader};
    use std::os::fd::AsFd as _;
    if !needs::program("stty") {
        return;
    }
    let size = |rows, columns| process::pty::Size { rows, columns };
    let script = "trap 'stty size; exit 5' WINCH; stty size; while :; do read line; done";
    let owner = rustix::process::geteuid().as_raw();
    let steps: Vec<Act> = vec![
        ProcessStep::NewSession.into(),
        ProcessStep::Terminal { size: size(30, 100), owner }.into(),
        ProcessStep::ResetSignals.into(),
        ProcessStep::CloseOnExec { preserve: 0 }.into(),
        shell(script).into(),
    ];
    let mut child = child(&steps);
    let process::Event::Reached(_, Some(master)) = child.next_event().unwrap() else { panic!("no terminal") };
    child.go().unwrap();
    child.run_to_exec().unwrap();
    let mut lines = BufReader::new(std::fs::File::from(master.try_clone().unwrap())).lines();
    assert_eq!(lines.next().unwrap().unwrap().trim(), "30 100");
    process::pty::resize(master.as_fd(), size(50, 132)).unwrap();
    assert_eq!(process::pty::size(master.as_fd()).unwrap(), size(50, 132));
    assert_eq!(lines.next().unwrap().unwrap().trim(), "50 132");
    assert_eq!(child.pidfd().wait().unwrap().code(), 5);
}
