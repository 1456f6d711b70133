//! The tiny init: pid 1 of a container whose program was not written to be that. `run --init` puts it there.
//!
//! A process that is pid 1 has two duties that nobody else has. Orphans become its children, and stay zombies until it
//! waits for them. And a signal that it has no handler for does nothing: a program that relies on SIGTERM's default
//! action, as most do, cannot be stopped. So this one stands in front: it makes the program its child, passes every
//! signal on, reaps whoever ends, and exits as the program did.
//!
//! It is the same idea as `process::reaper`, without a library: one static file that runs in any root file system.

#[path = "../../passed_on.rs"]
mod passed_on;
mod sys;

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::ExitCode;

use sys::Ended;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    arguments.next_if(|word| word == "--");
    // What the kernel gave us as an argument has no NUL byte in it.
    let arguments: Vec<CString> =
        arguments.map(|word| CString::new(word.into_vec())).collect::<Result<_, _>>().unwrap_or_default();
    if arguments.is_empty() {
        eprintln!("init: no program named: init [--] PROGRAM [ARGUMENT...]");
        return ExitCode::from(125);
    }
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("init: {error}");
            ExitCode::from(125)
        }
    }
}

/// Runs the program until it ends, and returns the code to exit with.
fn run(arguments: &[CString]) -> std::io::Result<u8> {
    if std::process::id() != 1 {
        sys::adopt_orphans()?;
    }
    // Before there is a child, so that no signal falls between the two.
    let signals = sys::hold_back((1..=passed_on::LAST).filter(|number| passed_on::is_passed_on(*number)))?;
    let child = sys::start(arguments, &signals)?;
    loop {
        match signals.wait()? {
            sys::CHILD => {
                if let Some(code) = reap(child)? {
                    return Ok(code);
                }
            }
            // It may have ended in this instant; the next signal says so.
            signal => sys::send(child, signal),
        }
    }
}

/// Reaps everybody who has ended; the exit code once the program is among them.
fn reap(child: i32) -> std::io::Result<Option<u8>> {
    let mut code = None;
    while let Some(Ended { pid, status, signal }) = sys::reap_one()? {
        if pid == child {
            code = Some(passed_on::exit_code(status, signal));
        }
    }
    Ok(code)
}
