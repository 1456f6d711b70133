//! Health checks, run from the monitor's loop: one at a time, and never waited for.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use process::{During as _, PidFd, Signal};
use runtime::{Exec, StateDir, Stdio};

use super::exchange::Service;
use crate::error::{Error, Result};
use crate::events::{Event, Journal};
use crate::exec::{ExecOptions, plan};
use crate::health::{Health, HealthCheck, HealthResult, HealthStatus, OUTPUT};
use crate::record::{Container, Status};

/// The checks of one run of a container.
pub(super) struct Probe {
    container: Container,
    runtime: StateDir,
    events: Journal,
    check: HealthCheck,
    health: Health,
    born: Instant,
    next: Instant,
    trial: Option<Trial>,
}

/// A check that goes on.
struct Trial {
    process: PidFd,
    output: Option<OwnedFd>,
    said: Vec<u8>,
    began: Timestamp,
    age: Duration,
    deadline: Instant,
    /// It took too long and was killed; what it ends with now does not matter.
    late: bool,
}

impl Probe {
    /// The checks of `container`, which is about to start; `None` if it has none.
    pub(super) fn new(container: &Container, runtime: StateDir, events: Journal) -> Result<Option<Self>> {
        let Some(check) = container.record().settings.health.clone() else { return Ok(None) };
        let (health, born) = (Health::default(), Instant::now());
        container.write_health(&health)?;
        let next = born + check.pause(Duration::ZERO, HealthStatus::Starting);
        let container = container.clone();
        Ok(Some(Self { container, runtime, events, check, health, born, next, trial: None }))
    }

    fn begin(&mut self) {
        self.next = Instant::now() + self.check.pause(self.born.elapsed(), self.health.status);
        // Held so that nobody freezes the container between our look and the birth: we would wait for a process that
        // does not move.
        let Ok(_lock) = self.container.lock() else { return };
        if self.container.life().is_ok_and(|life| life.status != Status::Running) {
            return;
        }
        let (began, age) = (Timestamp::now(), self.born.elapsed());
        match self.spawn() {
            Ok((process, output)) => {
                let deadline = Instant::now() + self.check.timeout;
                let output = Some(output);
                self.trial = Some(Trial { process, output, said: Vec::new(), began, age, deadline, late: false });
            }
            Err(error) => self.conclude(began, age, -1, error.to_string()),
        }
    }

    fn spawn(&self) -> Result<(PidFd, OwnedFd)> {
        let options = ExecOptions { command: self.check.command.clone(), ..ExecOptions::default() };
        let process = plan(&self.container, &options)?;
        let (ours, stdout) = std::io::pipe().during("pipe", "health check")?;
        let stderr = stdout.try_clone().during("dup", "health check")?;
        let stdin = std::fs::File::open("/dev/null").during("open", "/dev/null")?;
        let stdio = Stdio::Descriptors { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
        let id = self.container.id().as_str();
        let started = runtime::exec(Exec {
            id,
            process: &process,
            program: None,
            stdio,
            state: &self.runtime,
            options: runtime::ExecOptions::default(),
        });
        let started = started.map_err(|error| Error::Below {
            operation: "health check of",
            object: self.container.name().to_owned(),
            reason: Box::new(error),
            exit_code: 125,
        })?;
        let ours = OwnedFd::from(ours);
        rustix::io::ioctl_fionbio(&ours, true).during("ioctl FIONBIO", "health check")?;
        Ok((started.pidfd, ours))
    }

    fn conclude(&mut self, start: Timestamp, age: Duration, exit_code: i32, output: String) {
        let result = HealthResult { start, end: Timestamp::now(), exit_code, output };
        let changed = self.health.note(&self.check, result, age);
        self.next = Instant::now() + self.check.pause(self.born.elapsed(), self.health.status);
        // A full disk costs the result, as it costs log lines.
        let _ = self.container.write_health(&self.health);
        if changed {
            let action = format!("health_status: {}", self.health.status.as_str());
            self.events.record(&Event::of(&self.container, action));
        }
    }
}

impl Service for Probe {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let trial = self.trial.iter();
        trial.flat_map(|trial| trial.output.iter().map(|fd| fd.as_fd()).chain([trial.process.as_fd()])).collect()
    }

    fn deadline(&self) -> Option<Instant> {
        Some(match &self.trial {
            None => self.next,
            // What is killed ends; if it is stuck in the kernel, there is nothing to do but to wait.
            Some(trial) if trial.late => return None,
            Some(trial) => trial.deadline,
        })
    }

    fn serve(&mut self) {
        let now = Instant::now();
        let Some(trial) = &mut self.trial else {
            if now >= self.next {
                self.begin();
            }
            return;
        };
        trial.listen();
        if trial.process.ended_within(Duration::ZERO).unwrap_or(true) {
            let Some(trial) = self.trial.take() else { return };
            // Waited for at once: as long as it is a zombie, the container's first process cannot end.
            let code = trial.process.wait().map_or(-1, |status| i32::from(status.code()));
            let (code, output) = match trial.late {
                false => (code, String::from_utf8_lossy(&trial.said).into_owned()),
                true => (-1, format!("Health check exceeded timeout ({})", go_duration(self.check.timeout))),
            };
            self.conclude(trial.began, trial.age, code, output);
        } else if now >= trial.deadline && !trial.late {
            trial.late = true;
            // It may have ended in this very moment, which the next look will show.
            let _ = trial.process.signal(Signal::SIGKILL);
        }
    }
}

impl Drop for Probe {
    /// The container has ended, and so it is not well.
    fn drop(&mut self) {
        if let Some(trial) = &self.trial {
            let _ = trial.process.signal(Signal::SIGKILL);
        }
        self.health.status = HealthStatus::Unhealthy;
        // With --rm the directory is gone by now, and nobody will ask.
        let _ = self.container.write_health(&self.health);
    }
}

impl Trial {
    /// Takes what it has printed; beyond the limit it is read and forgotten, so that the check does not wait for us.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut buffer) {
                Ok(read) if read > 0 => {
                    let room = OUTPUT - self.said.len();
                    self.said.extend_from_slice(&buffer[..read.min(room)]);
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                _ => self.output = None,
            }
        }
    }
}

/// As Go prints a duration: `1.5s`, `300ms`, `1m30s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0 => format!("{}ms", duration.as_secs_f64() * 1000.0),
        whole if whole < 60 => format!("{seconds}s"),
        whole if whole < 3600 => format!("{}m{}s", whole / 60, seconds - (whole / 60 * 60) as f64),
        whole => format!("{}h{}m{}s", whole / 3600, whole / 60 % 60, seconds - (whole / 60 * 60) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        let said = |milliseconds| go_duration(Duration::from_millis(milliseconds));
        assert_eq!([said(300), said(1_500), said(30_000), said(90_000)], ["300ms", "1.5s", "30s", "1m30s"]);
        assert_eq!(said(3_600_000), "1h0m0s");
    }
}
