//! What a program gets of its parent's descriptors: three, and those that it was promised.

use std::io::Write as _;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use process::ProcessStep;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::Tests;
use crate::scene::{Act, careless, child, output, shell, words};

pub const TESTS: Tests = crate::tests! {
    no_descriptor_of_a_careless_parent_reaches_the_program
    a_parent_that_closes_nothing_leaks_everything
    promised_descriptors_arrive_and_no_others
    an_init_that_waits_for_start_holds_nothing_of_its_parents
    a_program_can_be_a_descriptor_that_no_path_leads_to
};

/// What the shell itself has open, by number.
const LIST: &str = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done";

fn no_descriptor_of_a_careless_parent_reaches_the_program() {
    let _open = [careless("/etc"), careless("/dev/null"), careless("/proc")];
    let (numbers, _) = output(vec![ProcessStep::CloseOnExec { preserve: 0 }, shell(LIST)]);
    // The directory that the shell reads is one more; where it is not, this is one fewer.
    let numbers: Vec<&str> = numbers.lines().collect();
    assert!(numbers.len() <= 4 && numbers[..3] == ["0", "1", "2"], "{numbers:?}");
}

fn a_parent_that_closes_nothing_leaks_everything() {
    let open = careless("/etc");
    let (numbers, _) = output(vec![shell(LIST)]);
    assert!(numbers.lines().any(|number| number == open.as_raw_fd().to_string()), "{numbers}");
}

fn promised_descriptors_arrive_and_no_others() {
    let first = careless("/dev/zero");
    let (promised, other) = (first.as_raw_fd() as u32, careless("/dev/full"));
    assert!(other.as_raw_fd() as u32 > promised);
    let script = format!("readlink /proc/$$/fd/{promised}; readlink /proc/$$/fd/{} || echo closed", other.as_raw_fd());
    let (seen, _) = output(vec![ProcessStep::CloseOnExec { preserve: promised - 2 }, shell(&script)]);
    assert_eq!(seen, "/dev/zero\nclosed\n");
}

/// Whether the other end of a pipe is closed everywhere, within a time that a loaded machine has, too.
fn is_at_its_end(reader: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(reader, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 30, tv_nsec: 0 })).unwrap() == 1
        && fds[0].revents().contains(PollFlags::HUP)
}

fn an_init_that_waits_for_start_holds_nothing_of_its_parents() {
    use std::os::fd::AsFd as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("start");
    let listener = UnixListener::bind(&path).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let careless_writer = rustix::io::dup(&writer).unwrap();
    let steps: Vec<Act> = vec![
        ProcessStep::AwaitStart { listener: listener.as_raw_fd(), preserve: 0 }.into(),
        ProcessStep::CloseOnExec { preserve: 0 }.into(),
        shell("exit 6").into(),
    ];
    let mut waiting = child(&steps);
    drop((writer, careless_writer, listener));
    assert!(is_at_its_end(reader.as_fd()), "the waiting child still holds the pipe");
    // It is there, and does what it is for.
    assert!(!waiting.pidfd().ended_within(Duration::ZERO).unwrap());
    let mut starter = UnixStream::connect(&path).unwrap();
    starter.write_all(b"s").unwrap();
    waiting.run_to_exec().unwrap();
    assert!(is_at_its_end(starter.as_fd()), "exec closes the connection, and says so by that");
    assert_eq!(waiting.pidfd().wait().unwrap().code(), 6);
}

fn a_program_can_be_a_descriptor_that_no_path_leads_to() {
    let shell = std::fs::read("/bin/sh").unwrap();
    let memory = rustix::fs::memfd_create("program", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    std::fs::File::from(memory.try_clone().unwrap()).write_all(&shell).unwrap();
    let program = words(&["any name", "-c", "readlink /proc/$$/exe"]);
    let (seen, _) = output(vec![ProcessStep::ExecDescriptor(memory.as_raw_fd(), program)]);
    assert_eq!(seen, "/memfd:program (deleted)\n");
}
