//! Restart policies: whether a container that has ended is started again, and after how long.
//!
//! The monitor decides, because it is there when the container ends. After a reboot there is no monitor, and nobody
//! else either: [`Engine::revive`] is what a daemon does when it begins, and what `cooper system boot` does on a
//! machine without one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{All, Engine};
use crate::error::{Error, Result};
use crate::record::{Container, Life, Status};
use crate::running::StartOptions;

/// The pause before the first restart; each further one is twice as long.
const SHORTEST: Duration = Duration::from_millis(100);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// A container that ran for as long as this is well, and its next pause is the shortest again.
const WELL: Duration = Duration::from_secs(10);

/// `--restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// What has ended stays ended.
    #[default]
    No,
    /// Started again when it ends with another code than 0.
    OnFailure {
        /// So often at most; without end if absent.
        most: Option<u32>,
    },
    /// Started again, however it ends; at boot too, even if somebody had stopped it.
    Always,
    /// Started again, and at boot too unless somebody had stopped it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Docker's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// How often at most, in Docker's way: 0 for no limit.
    pub fn most(self) -> u32 {
        match self {
            Self::OnFailure { most } => most.unwrap_or(0),
            _ => 0,
        }
    }

    /// From Docker's two fields.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a name that is none, and a number where it means nothing.
    pub fn from_parts(name: &str, most: i64) -> Result<Self> {
        let most = u32::try_from(most)
            .map_err(|_| Error::bad("--restart", most.to_string(), "maximum retry count cannot be negative"))?;
        let policy = match name {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => return Ok(Self::OnFailure { most: (most > 0).then_some(most) }),
            _ => return Err(Error::bad("--restart", name, "no, on-failure[:NUMBER], always or unless-stopped")),
        };
        match most {
            0 => Ok(policy),
            _ => Err(Error::bad("--restart", name, "a maximum retry count goes with on-failure alone")),
        }
    }

    /// Whether a run that ended with `code` after `count` restarts is followed by another.
    fn again(self, code: u8, count: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { most } => code != 0 && most.is_none_or(|most| count < most),
            Self::Always | Self::UnlessStopped => true,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnFailure { most: Some(most) } => write!(f, "on-failure:{most}"),
            policy => f.write_str(policy.name()),
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, most) = text.split_once(':').unwrap_or((text, "0"));
        let most = most.parse().map_err(|_| Error::bad("--restart", text, "a maximum retry count is a number"))?;
        Self::from_parts(name, most)
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}

/// The restarts of one monitor's container so far.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    count: u32,
    pause: Duration,
}

impl Restarts {
    /// How many there were.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How long to pause before the next run, or `None` if there is to be none. `ran` is how long the last one took.
    pub(crate) fn next(&mut self, policy: RestartPolicy, code: u8, ran: Duration) -> Option<Duration> {
        if !policy.again(code, self.count) {
            return None;
        }
        self.pause = if ran >= WELL { SHORTEST } else { (self.pause * 2).clamp(SHORTEST, LONGEST) };
        self.count += 1;
        Some(self.pause)
    }
}

impl Engine {
    /// Starts the containers whose policy wants them to run and that do not: after a reboot, or when a daemon begins.
    ///
    /// A container that was never started, or whose monitor still lives, is left alone. Each is tried; the names and
    /// reasons of those that could not be started come back.
    ///
    /// # Errors
    /// Those of listing the containers.
    pub fn revive(&self) -> Result<Vec<(Container, Option<Error>)>> {
        let mut revived = Vec::new();
        for container in self.list(All::Yes)? {
            let policy = container.record().options.restart;
            if container.life().is_ok_and(|life| wants_life(policy, &life)) {
                let failure = self.start(container.id(), &StartOptions::default()).err();
                revived.push((container, failure));
            }
        }
        Ok(revived)
    }
}

/// Whether a container that ended like this is to run again when the machine or the daemon comes back.
fn wants_life(policy: RestartPolicy, life: &Life) -> bool {
    // An end that nobody saw was not a good one.
    let code = life.exit_code.unwrap_or(1);
    match policy {
        _ if life.status != Status::Exited => false,
        RestartPolicy::Always => true,
        policy => !life.stopped && policy.again(code, life.restart_count),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn policy(text: &str) -> RestartPolicy {
        text.parse().unwrap()
    }

    #[test]
    fn a_policy_reads_back_as_it_was_written() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(policy(text).to_string(), text);
        }
        assert_eq!(policy("on-failure:0"), RestartPolicy::OnFailure { most: None });
        for wrong in ["never", "always:2", "on-failure:-1", "on-failure:x"] {
            wrong.parse::<RestartPolicy>().unwrap_err();
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_ten_good_seconds() {
        let mut restarts = Restarts::default();
        let mut next =
            |ran: u64| restarts.next(RestartPolicy::Always, 0, Duration::from_secs(ran)).unwrap().as_millis();
        assert_eq!([next(0), next(0), next(9)], [100, 200, 400]);
        let mut last = 0;
        for _ in 0..20 {
            last = next(1);
        }
        assert_eq!((last, next(10), next(0)), (60_000, 100, 200));
    }

    #[test]
    fn on_failure_counts_and_looks_at_the_code() {
        let mut restarts = Restarts::default();
        let mut again = |code| restarts.next(policy("on-failure:2"), code, Duration::ZERO).is_some();
        assert_eq!([again(0), again(1), again(9), again(1)], [false, true, true, false]);
    }

    #[test]
    fn after_a_reboot_a_stopped_container_stays_down_unless_it_is_to_run_always() {
        let life = |stopped| Life { status: Status::Exited, exit_code: Some(137), stopped, ..Life::default() };
        assert!(wants_life(policy("always"), &life(true)));
        assert!(!wants_life(policy("unless-stopped"), &life(true)));
        assert!(wants_life(policy("unless-stopped"), &life(false)));
        assert!(!wants_life(policy("on-failure"), &life(true)));
        assert!(wants_life(policy("on-failure"), &Life { exit_code: None, ..life(false) }));
        assert!(!wants_life(policy("on-failure"), &Life { exit_code: Some(0), ..life(false) }));
        assert!(!wants_life(policy("always"), &Life::default()), "one that was never started");
    }
}
