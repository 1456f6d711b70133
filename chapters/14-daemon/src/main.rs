//! Shows chapter 14 alone: the Engine API on a socket of your choice.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use containers::Paths;
use images::ImageConfig;

/// Serves the Docker Engine API on a unix socket, so that the real docker client can be pointed at it:
///
///   ch14-daemon /tmp/demo/api.sock --root /tmp/demo
///   DOCKER_HOST=unix:///tmp/demo/api.sock docker version
#[derive(Parser)]
#[command(name = "ch14-daemon", verbatim_doc_comment)]
struct Arguments {
    /// The socket to serve on; only this user may connect to it
    socket: String,
    /// Keep images and containers under this directory
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// The cooper binary, which runs `docker exec` (default: cooper beside this one)
    #[arg(long, value_name = "FILE")]
    cooper: Option<PathBuf>,
    /// Tell each kernel step on stderr
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story", value_name = "FORMAT")]
    explain: Option<process::explain::Format>,
}

fn main() -> ExitCode {
    // A container's monitor is this very binary, started again (see Engine::start).
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "monitor") {
        return containers::monitor::main(words);
    }
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        process::explain::install(format);
    }
    let beside = || std::env::current_exe().map(|exe| exe.with_file_name("cooper"));
    let exe = match arguments.cooper.map_or_else(beside, Ok) {
        Ok(exe) => exe,
        Err(error) => return fail(&error),
    };
    let paths = Paths::at(&arguments.root);
    let config = daemon::Config { socket: arguments.socket, paths, root: Some(arguments.root), exe, amend };
    match daemon::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// `--change` is written in the language of chapter 12, which this program does without.
fn amend(_: &mut ImageConfig, changes: &[String]) -> Result<(), String> {
    match changes {
        [] => Ok(()),
        [change, ..] => Err(format!("--change {change:?}: only `cooper daemon` knows Dockerfiles")),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("ch14-daemon: {error}");
    ExitCode::from(125)
}
