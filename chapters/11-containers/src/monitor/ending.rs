//! The end of a run: everything is taken back, and how it ended is written down.

use std::time::Duration;

use jiff::Timestamp;
use network::Departure;

use super::exchange::Exchange;
use super::launch;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::record::{Container, Life, Status};
use crate::restart::Restarts;

/// Takes back everything, and writes down how it ended. With `--rm`, nothing of it remains. The answer is how long to
/// pause before the next run, if there is to be one, and the container's cables, which are to be taken away when everybody
/// knows of its end.
///
/// How it ended is still to be told, even where a full disk keeps it from being written down; and what could not be
/// removed, prune will.
pub(super) fn finish(
    engine: &Engine,
    container: &Container,
    code: u8,
    exchange: &mut Exchange,
    (restarts, ran): (&mut Restarts, Duration),
) -> (Option<Duration>, Option<Departure>) {
    let oom_killed = launch::was_oom_killed(engine, container.id());
    let event = |action: &str| Event::of(container, action);
    if oom_killed {
        engine.events().record(&event("oom"));
    }
    let seconds = ran.as_secs();
    engine.events().record(&event("die").with("exitCode", code).with("execDuration", seconds));
    // The policy may have been changed since it was started.
    let policy =
        engine.container(container.id()).map_or(container.record().options.restart, |it| it.record.options.restart);
    let wanted = (!exchange.desk.wants_stop()).then(|| restarts.next(policy, code, ran)).flatten();
    let life = Life {
        status: if wanted.is_some() { Status::Restarting } else { Status::Exited },
        finished_at: Some(Timestamp::now()),
        exit_code: Some(code),
        oom_killed,
        restart_count: restarts.count(),
        stopped: exchange.desk.wants_stop(),
        log_lines_lost: exchange.finish_log(),
        ..Life::default()
    };
    match write_down(engine, container, life, exchange) {
        Ok(departure) => (wanted, Some(departure)),
        Err(error) => {
            eprintln!("monitor: {error}");
            (None, None)
        }
    }
}

/// Releases, writes state.json, and only then lets go of the run directory, all under the container's lock.
///
/// A container whose run directory is gone counts as one that does not run: whoever saw it gone before the end was
/// written would take the exit code for unknown, and a `start` in between would have its new state overwritten by ours.
fn write_down(engine: &Engine, container: &Container, life: Life, exchange: &Exchange) -> Result<Departure> {
    let _lock = container.lock()?;
    let restarting = life.status == Status::Restarting;
    let released = engine.release_kernel_objects(container.id());
    let written = if container.record.options.auto_remove && !exchange.desk.is_kept() {
        engine.remove_files(container, true)
    } else {
        let error = released.as_ref().err().map(Error::to_string).unwrap_or_default();
        let started_at = container.life()?.started_at;
        container.write_life(&Life { error, started_at, ..life }).map_err(Error::from)
    };
    let departure = released?;
    written?;
    // As long as the run directory is there, prune finds what could not be released.
    if !restarting {
        engine.forget_run(container.id())?;
    }
    Ok(departure)
}

/// It was to run again, and somebody does not want that.
pub(super) fn stay_down(engine: &Engine, container: &Container, exchange: &mut Exchange, code: u8) -> Result<()> {
    let lock = container.lock()?;
    let life = Life { status: Status::Exited, stopped: true, ..container.life()? };
    let written = container.write_life(&life);
    engine.forget_run(container.id())?;
    drop(lock);
    exchange.desk.announce(code);
    Ok(written?)
}

/// The container did not start: nothing of the attempt remains but the reason.
///
/// The error of the start is the one to tell, whatever else goes wrong; what could not be released, prune will.
pub(super) fn give_up(engine: &Engine, container: &Container, error: &Error) {
    let released = engine.release(container.id());
    let noted = match container.record.options.auto_remove {
        true => engine.remove_files(container, true),
        false => container.life().map_err(Error::from).and_then(|life| {
            let status = if life.status == Status::Restarting { Status::Exited } else { life.status };
            let (error, exit_code) = (error.to_string(), Some(error.exit_code()));
            Ok(container.write_life(&Life { status, error, exit_code, ..life })?)
        }),
    };
    if let Err(second) = released.and(noted) {
        eprintln!("monitor: {second}");
    }
}
