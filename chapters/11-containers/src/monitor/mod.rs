//! The monitor: the parent that a container has all its life.
//!
//! One small process a container. It starts the container, holds its streams and its terminal, writes its log,
//! answers its questions about names, waits for its end, and takes back everything that it held. It outlives the command
//! that started it, and if it dies itself nobody else does: the container's name is then in nobody's hands but `prune`'s.
//!
//! It has one thread. That is what allows it to make the container in its own process (invariant 3), and it keeps
//! it small.

pub(crate) mod client;
mod desk;
mod ending;
mod exchange;
pub(crate) mod journal;
mod launch;
mod probe;
mod slimming;
mod switchboard;
mod wiring;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use network::Departure;
use process::{During as _, pty};

use crate::engine::Engine;
use crate::error::{Result, While as _};
use crate::events::Event;
use crate::id::ContainerId;
use crate::paths::Paths;
use crate::record::Container;
use crate::restart::Restarts;
use crate::running::Report;
use crate::sys;
use crate::watcher::Watcher;
use launch::Launched;

/// The socket of the streams, in a container's run directory.
pub(crate) const ATTACH: &str = "attach.sock";
/// The socket of requests.
pub(crate) const CONTROL: &str = "control.sock";

/// How long clients that do not read are waited for after the container's end.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a network's bridge and rules wait for another container after the last one.
const MOMENT: Duration = Duration::from_secs(2);

/// What a binary does that is told to be a monitor; `args` are those after the word `monitor`.
///
/// Call it from `main` before anything else makes a thread.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let orders = match Orders::parse(args) {
        Ok(orders) => orders,
        Err(reason) => {
            eprintln!("monitor: {reason} (this command is for the engine itself)");
            return ExitCode::from(125);
        }
    };
    if let Err(error) = rootfs::self_exe::protect() {
        eprintln!("monitor: {error}");
        return ExitCode::from(125);
    }
    let Ok((reports, attached)) = leave_the_caller(&orders) else { return ExitCode::from(125) };
    if let Some(format) = orders.explain {
        process::explain::install(format);
    }
    let mut reporter = Reporter(reports);
    match watch(&orders, attached, &mut reporter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            reporter.say(&Report::Failed { message: error.to_string(), exit_code: error.exit_code() });
            ExitCode::FAILURE
        }
    }
}

/// What `start` wrote on the command line.
struct Orders {
    paths: Paths,
    id: ContainerId,
    attached: bool,
    explain: Option<process::explain::Format>,
    size: Option<pty::Size>,
}

impl Orders {
    fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut data, mut run, mut id, mut attached, mut explain, mut size) = (None, None, None, false, None, None);
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--data") => data = args.next(),
                Some("--run") => run = args.next(),
                Some("--attached") => attached = true,
                Some(text) if text.starts_with("--explain=") => explain = Some(text["--explain=".len()..].parse()?),
                Some(text) if text.starts_with("--size=") => size = Some(read_size(&text["--size=".len()..])?),
                Some(text) => id = Some(text.parse::<ContainerId>().map_err(|error| error.to_string())?),
                None => return Err(format!("{arg:?} is no argument of it")),
            }
        }
        let (Some(data), Some(run), Some(id)) = (data, run, id) else {
            return Err("expected --data DIR --run DIR ID".to_owned());
        };
        Ok(Self { paths: Paths { data: data.into(), run: run.into() }, id, attached, explain, size })
    }
}

/// `ROWSxCOLUMNS`.
fn read_size(text: &str) -> Result<pty::Size, String> {
    let number = |text: &str| text.parse::<u16>().map_err(|error| error.to_string());
    let (rows, columns) = text.split_once('x').ok_or("a size is ROWSxCOLUMNS")?;
    Ok(pty::Size { rows: number(rows)?, columns: number(columns)? })
}

/// Becomes a process of its own: no parent that waits, no terminal, no session that could be hung up.
///
/// The standard streams that `start` left are taken away from where a program that the monitor runs (nft, pasta)
/// would inherit them.
fn leave_the_caller(orders: &Orders) -> Result<(OwnedFd, Option<UnixStream>)> {
    sys::close_inherited();
    sys::fork_away()?;
    std::env::set_current_dir("/").during("chdir", "/")?;
    // Fails only for a leader of a process group, which a process that was just forked is not.
    let _ = rustix::process::setsid();
    // Whoever the runtime leaves behind (a hook's child) becomes ours to reap, and not init's to puzzle over.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).during("prctl", "PR_SET_CHILD_SUBREAPER")?;
    let take = |fd: rustix::fd::BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3).during("dup", "standard stream");
    let reports = take(rustix::stdio::stdout())?;
    let attached = orders.attached.then(|| take(rustix::stdio::stdin()).map(UnixStream::from)).transpose()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").during("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).during("dup2", "stdin")?;
    rustix::stdio::dup2_stdout(&null).during("dup2", "stdout")?;
    Ok((reports, attached))
}

/// A container's whole life, from the monitor's side: a run, and more of them where its restart policy says so.
// spine
fn watch(orders: &Orders, mut attached: Option<UnixStream>, reporter: &mut Reporter) -> Result<()> {
    let engine = Engine::open(orders.paths.clone())?;
    if namespaces::rootless::is_rootless() {
        namespaces::rootless::hold(&orders.paths.run)?;
    }
    let (mut restarts, mut waiting) = (Restarts::default(), Vec::new());
    loop {
        // Read anew for each run: it may have been renamed, or given other limits.
        let container = engine.container(&orders.id)?;
        let launched = begin(&engine, &container, attached.take(), orders.size, &restarts);
        let Launched { mut exchange, process, pid, holdings, .. } = launched.inspect_err(|error| {
            if restarts.count() > 0 {
                eprintln!("monitor: {error}")
            }
        })?;
        exchange.desk.take_over(std::mem::take(&mut waiting));
        let began = Instant::now();
        reporter.say(&Report::Started { pid });
        if orders.explain.is_some() && !orders.attached {
            reporter.go_quiet()?;
        }

        exchange.until_exit(&process)?;
        let code = process.wait()?.code();
        reap_orphans();
        let (again, departure) =
            ending::finish(&engine, &container, code, &mut exchange, (&mut restarts, began.elapsed()));
        let networks = holdings.wiring.networks();
        drop(holdings);
        reporter.say(&Report::Exited { code });
        exchange.desk.announce(code);
        exchange.hang_up();
        departure.map(Departure::finish).transpose().doing("disconnect", container.name())?;
        let Some(pause) = again else {
            // Everything is released and everybody knows. What remains is to let slow readers read, and to put the
            // lights out where this was the last container.
            exchange.drain(PATIENCE)?;
            return engine.networks().linger(&networks, MOMENT).doing("clean up", "networks");
        };
        exchange.desk.expect_another();
        exchange.rest(pause)?;
        if exchange.desk.wants_stop() {
            return ending::stay_down(&engine, &container, &mut exchange, code);
        }
        waiting = exchange.desk.hand_over();
    }
}

/// Starts a run, under the container's lock: of two that start it at once, the other finds it running.
fn begin(
    engine: &Engine,
    container: &Container,
    attached: Option<UnixStream>,
    size: Option<pty::Size>,
    restarts: &Restarts,
) -> Result<Launched> {
    let _lock = container.lock()?;
    if restarts.count() == 0 {
        if container.life()?.status.is_live() {
            return Err(crate::lifecycle::wrong_state(container, "start", "not running")?);
        }
        engine.release(container.id())?; // what an earlier monitor's death may have left
        crate::paths::private_directory(&container.run_directory())?;
        Watcher::this()?.write(&container.run_directory())?;
    }
    let launched = launch::launch(engine, container, attached, size).and_then(|mut launched| {
        launched.life.restart_count = restarts.count();
        // A container that nobody could find in its state.json (a full disk) has not started either.
        container.write_life(&launched.life)?;
        Ok(launched)
    });
    match &launched {
        Ok(_) => engine.events().record(&Event::of(container, "start")),
        Err(error) => ending::give_up(engine, container, error),
    }
    launched
}

/// Waits for processes that were left to us. None is the usual number.
fn reap_orphans() {
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
}

/// The way back to `start`.
struct Reporter(OwnedFd);

impl Reporter {
    /// Says it, if anybody still listens: a command that has ended does not, and that is its right.
    fn say(&mut self, report: &Report) {
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            let _ = rustix::io::write(&self.0, &line);
        }
    }

    /// Lets go of the caller's standard error, which it may be waiting for the end of.
    fn go_quiet(&self) -> Result<()> {
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").during("open", "/dev/null")?;
        Ok(rustix::stdio::dup2_stderr(&null).during("dup2", "stderr")?)
    }
}
