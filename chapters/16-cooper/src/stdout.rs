//! Standard output, which may be a pipe that somebody closes: `cooper ps | head -1`.
//!
//! `println!` panics there. A program in a pipeline ends quietly instead, with the code that a shell shows for
//! SIGPIPE. The signal itself stays ignored, as Rust starts every program: a daemon must not die of a client's leaving.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// 128 + SIGPIPE.
const CLOSED: i32 = 141;

/// Prints to standard output; ends the program where nobody reads any more.
pub(crate) fn print(text: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) else {
        return;
    };
    if error.kind() != ErrorKind::BrokenPipe {
        eprintln!("cooper: write stdout: {error}");
    }
    std::process::exit(CLOSED);
}

/// A line on standard output.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::stdout::print(format_args!("{}\n", format_args!($($words)*)))
    };
}

pub(crate) use say;
