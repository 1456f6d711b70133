//! Health checks: a command run in the container now and then, and what its answers add up to.
//!
//! ```text
//!              1 success                     `retries` failures in a row
//!   starting ───────────> healthy <───────────────────────────> unhealthy
//!       └──────────────────── `retries` failures in a row ──────────^
//! ```
//!
//! What to run comes from the image (`HEALTHCHECK`) with the user's `--health-*` laid over it. The monitor runs it; its
//! results are in `health.json`.

use std::time::Duration;

use images::Healthcheck;
use jiff::Timestamp;
use process::{CallError, state};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::Container;

/// The file in a container's directory. It need not survive a power cut: after one, nothing runs that could be well.
const FILE: &str = "health.json";

/// How many results are kept.
const KEPT: usize = 5;

/// How much of a check's output is kept, bytes.
pub(crate) const OUTPUT: usize = 4096;

/// A health check with nothing left open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// As it was written: `["CMD-SHELL", LINE]` or `["CMD", ...]`.
    pub test: Vec<String>,
    /// From the end of a check to the next.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// For so long after the start, failures do not count.
    pub start_period: Duration,
    /// From check to check during that time.
    pub start_interval: Duration,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
}

impl HealthCheck {
    /// Lays what the user says over what the image says; `None` if there is nothing to run, or it was switched off.
    ///
    /// # Errors
    /// [`Error::BadValue`]: a time below a millisecond, a negative number, a word that is no kind of test.
    pub fn merge(image: Option<&Healthcheck>, user: Option<&Healthcheck>, shell: &[String]) -> Result<Option<Self>> {
        let none = Healthcheck::default();
        let (image, user) = (image.unwrap_or(&none), user.unwrap_or(&none));
        let test = if user.test.is_empty() { &image.test } else { &user.test };
        let pick = |user: i64, image: i64| if user == 0 { image } else { user };
        let time = |option: &'static str, user: i64, image: i64, default: u64| match pick(user, image) {
            0 => Ok(Duration::from_secs(default)),
            short if short < 1_000_000 => Err(Error::bad(option, format!("{short}ns"), "at least one millisecond")),
            nanoseconds => Ok(Duration::from_nanos(nanoseconds.unsigned_abs())),
        };
        let retries = pick(user.retries, image.retries);
        let retries = u32::try_from(if retries == 0 { 3 } else { retries })
            .map_err(|_| Error::bad("--health-retries", retries.to_string(), "a number that is not negative"))?;
        let check = Self {
            command: command(test, shell)?,
            test: test.clone(),
            interval: time("--health-interval", user.interval, image.interval, 30)?,
            timeout: time("--health-timeout", user.timeout, image.timeout, 30)?,
            start_period: time("--health-start-period", user.start_period, image.start_period, 0)?,
            start_interval: time("--health-start-interval", user.start_interval, image.start_interval, 5)?,
            retries,
        };
        Ok((!check.command.is_empty()).then_some(check))
    }

    /// How long to wait before the next check, `age` after the container's start.
    pub(crate) fn pause(&self, age: Duration, status: HealthStatus) -> Duration {
        match status == HealthStatus::Starting && age < self.start_period {
            true => self.start_interval,
            false => self.interval,
        }
    }
}

/// The words of a test; none where there is no test.
fn command(test: &[String], shell: &[String]) -> Result<Vec<String>> {
    let bad = |reason: &str| Error::bad("health check", test.join(" "), reason);
    match test.split_first() {
        None => Ok(Vec::new()),
        Some((kind, _)) if kind == "NONE" => Ok(Vec::new()),
        Some((kind, [])) if kind == "CMD" || kind == "CMD-SHELL" => Err(bad("it has no command")),
        Some((kind, words)) if kind == "CMD" => Ok(words.to_vec()),
        Some((kind, words)) if kind == "CMD-SHELL" => {
            let default = ["/bin/sh".to_owned(), "-c".to_owned()];
            let shell = if shell.is_empty() { &default } else { shell };
            Ok(shell.iter().chain(words).cloned().collect())
        }
        Some(_) => Err(bad("it begins with none of NONE, CMD and CMD-SHELL")),
    }
}

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No check has succeeded yet, and not enough have failed.
    #[default]
    Starting,
    /// The last check that counted was good.
    Healthy,
    /// Too many in a row were not.
    Unhealthy,
}

impl HealthStatus {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check, as `docker inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 is well; -1 is a check that could not be run, or not to its end.
    pub exit_code: i32,
    /// What it printed: the first 4,096 bytes.
    pub output: String,
}

/// What the checks so far add up to: `health.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// How it is.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five results, oldest first.
    pub log: Vec<HealthResult>,
}

impl Health {
    /// Takes a result in; says whether the status is another one now. `age` is how old the container's run was when the
    /// check began.
    pub(crate) fn note(&mut self, check: &HealthCheck, result: HealthResult, age: Duration) -> bool {
        let before = self.status;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || age >= check.start_period {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.push(result);
        let excess = self.log.len().saturating_sub(KEPT);
        self.log.drain(..excess);
        self.status != before
    }
}

impl Container {
    /// How the container's checks went; `None` for one that has none, or that never ran.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn health(&self) -> Result<Option<Health>, CallError> {
        if self.record.settings.health.is_none() {
            return Ok(None);
        }
        state::read_run_json(&self.directory().join(FILE))
    }

    pub(crate) fn write_health(&self, health: &Health) -> Result<(), CallError> {
        state::write_run_json(&self.directory().join(FILE), health)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(user: Healthcheck) -> HealthCheck {
        let image = Healthcheck { test: vec!["CMD-SHELL".into(), "true".into()], retries: 2, ..Healthcheck::default() };
        HealthCheck::merge(Some(&image), Some(&user), &[]).unwrap().unwrap()
    }

    fn result(exit_code: i32) -> HealthResult {
        let start = Timestamp::UNIX_EPOCH;
        HealthResult { start, end: start, exit_code, output: exit_code.to_string() }
    }

    #[test]
    fn what_the_user_says_is_laid_over_what_the_image_says() {
        let check = check(Healthcheck { interval: 5_000_000, ..Healthcheck::default() });
        assert_eq!(check.command, ["/bin/sh", "-c", "true"]);
        assert_eq!((check.interval, check.timeout), (Duration::from_millis(5), Duration::from_secs(30)));
        assert_eq!((check.retries, check.start_interval), (2, Duration::from_secs(5)));
        let merge = |user: &Healthcheck| HealthCheck::merge(None, Some(user), &["/bin/bash".into(), "-c".into()]);
        let test = |words: &[&str]| Healthcheck {
            test: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Healthcheck::default()
        };
        assert_eq!(merge(&test(&["CMD-SHELL", "x"])).unwrap().unwrap().command, ["/bin/bash", "-c", "x"]);
        assert_eq!(merge(&test(&["CMD", "x", "y"])).unwrap().unwrap().command, ["x", "y"]);
        assert_eq!(merge(&test(&["NONE"])).unwrap(), None);
        assert_eq!(merge(&Healthcheck { retries: 3, ..Healthcheck::default() }).unwrap(), None, "nothing to run");
        merge(&test(&["CMD"])).unwrap_err();
        merge(&test(&["SHELL", "x"])).unwrap_err();
        merge(&Healthcheck { interval: 10, ..test(&["CMD", "x"]) }).unwrap_err();
        merge(&Healthcheck { retries: -1, ..test(&["CMD", "x"]) }).unwrap_err();
    }

    #[test]
    fn failures_count_in_a_row_and_one_success_is_enough() {
        let (check, mut health) = (check(Healthcheck::default()), Health::default());
        let mut note = |code| {
            let changed = health.note(&check, result(code), Duration::from_secs(1));
            (changed, health.status.as_str(), health.failing_streak)
        };
        assert_eq!(note(1), (false, "starting", 1));
        assert_eq!(note(-1), (true, "unhealthy", 2));
        assert_eq!(note(0), (true, "healthy", 0));
        assert_eq!(note(1), (false, "healthy", 1));
        assert_eq!(note(0), (false, "healthy", 0));
    }

    #[test]
    fn failures_do_not_count_while_the_container_starts() {
        let check = check(Healthcheck { start_period: 10_000_000_000, ..Healthcheck::default() });
        let mut health = Health::default();
        for _ in 0..7 {
            assert!(!health.note(&check, result(1), Duration::from_secs(9)));
        }
        assert_eq!((health.status, health.failing_streak, health.log.len()), (HealthStatus::Starting, 0, KEPT));
        assert_eq!(check.pause(Duration::from_secs(9), health.status), Duration::from_secs(5));
        assert_eq!(check.pause(Duration::from_secs(10), health.status), Duration::from_secs(30));
        // Once it was well, the time for starting is over.
        health.note(&check, result(0), Duration::from_secs(9));
        health.note(&check, result(1), Duration::from_secs(9));
        assert!(health.note(&check, result(1), Duration::from_secs(9)));
        assert_eq!(health.status, HealthStatus::Unhealthy);
    }
}
