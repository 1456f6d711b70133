//! A careful parent on a terminal: its keys reach the child once, and the shell behind it is not left waiting.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use process::{Pid, PidFd, Signal, needs, pty};
use rustix::event::{PollFd, PollFlags};

/// A shell on a terminal of its own, and the far end of the terminal.
struct Desk {
    shell: Child,
    terminal: std::fs::File,
    seen: String,
}

impl Desk {
    /// `None`, with the reason printed, where the machine cannot run it.
    fn new(script: &str) -> Option<Self> {
        if !needs::program("setsid") {
            return None;
        }
        let terminal = pty::open(Path::new("/dev/ptmx")).unwrap();
        let end = || Stdio::from(terminal.peer.try_clone().unwrap());
        let mut shell = Command::new("setsid");
        shell.args(["--ctty", "--wait", "sh", "-c", script, "sh"]).arg(cargo_bin("ch01-process"));
        let shell = shell.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Some(Self { shell, terminal: terminal.master.into(), seen: String::new() })
    }

    /// Reads until the screen shows this, and returns what came before.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let mut piece = [0; 1024];
        let patience = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
        while !self.seen.contains(text) {
            let mut fds = [PollFd::new(&self.terminal, PollFlags::IN)];
            assert!(rustix::event::poll(&mut fds, Some(&patience)).unwrap() > 0, "no {text:?} but {:?}", self.seen);
            let read = self.terminal.read(&mut piece).unwrap_or_else(|error| panic!("{error}: {:?}", self.seen));
            assert!(read > 0, "no {text:?} but {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        let (before, after) = self.seen.split_once(text).unwrap();
        let (before, after) = (before.to_owned(), after.to_owned());
        self.seen = after;
        before
    }

    fn press(&mut self, key: u8) {
        self.terminal.write_all(&[key]).unwrap();
    }
}

#[test]
fn an_interrupt_from_the_keyboard_reaches_the_child_once() {
    let guest = r#"n=0; trap 'n=$((n+1)); echo heard' INT; trap 'echo in all $n; exit 7' TERM
                   echo above me $PPID. ; while :; do sleep 0.05; done"#;
    let Some(mut desk) = Desk::new(&format!("exec \"$1\" run -- sh -c '{}'", guest.replace('\'', r"'\''"))) else {
        return;
    };
    desk.wait_for("above me ");
    let number = desk.wait_for(".");
    desk.press(3);
    desk.wait_for("heard");
    // Passed on, were it done, the interrupt would be on its way to the child before this is.
    let parent: Pid = number.parse().unwrap();
    PidFd::open(parent).unwrap().signal(Signal::SIGTERM).unwrap();
    desk.wait_for("in all 1");
    assert_eq!(desk.shell.wait().unwrap().code(), Some(7));
}

#[test]
fn a_terminal_that_hangs_up_ends_the_child_too() {
    let guest = r#"trap "exit 9" HUP; echo ready; while :; do sleep 0.05; done"#;
    let Some(mut desk) = Desk::new(&format!("exec \"$1\" run -- sh -c '{guest}'")) else { return };
    desk.wait_for("ready");
    let Desk { terminal, mut shell, .. } = desk;
    drop(terminal);
    assert_eq!(shell.wait().unwrap().code(), Some(9));
}

#[test]
fn a_job_that_is_stopped_gives_the_shell_back_and_goes_on() {
    // It waits in a command of its own: a shell that is just making a process with vfork(2) cannot stop while that one,
    // stopped before its exec, does not go on.
    let guest = r#"trap "echo continued; exit 4" CONT; echo ready; while :; do read line; done"#;
    let script = format!("set -m; \"$1\" run -- sh -c '{guest}'; echo back at the shell; fg >/dev/null; echo code $?.");
    let Some(mut desk) = Desk::new(&script) else { return };
    desk.wait_for("ready");
    desk.press(26);
    desk.wait_for("back at the shell");
    desk.wait_for("continued");
    desk.wait_for("code 4.");
    desk.shell.wait().unwrap();
}
