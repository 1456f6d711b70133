//! A busy server: when it wants to be asked again, and what it says about its limits.

use std::time::{Duration, SystemTime};

use crate::answer::printable;

/// The first pause where the server does not say how long; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Longest text of a limit that is passed on, in characters.
const LONGEST: usize = 40;

/// What `Retry-After` asks for: seconds (some servers send fractions), or a date. What is neither is no answer.
pub(crate) fn asked_for(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        // More than fits is forever, and less than nothing, or no number, is nonsense.
        return (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let then = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    // A date that has passed means: now.
    Some(SystemTime::from(then).duration_since(now).unwrap_or_default())
}

/// How long to leave a busy server alone, at the `n`th time (from 1), if we have `left` of our patience. `None`: longer than that.
pub(crate) fn pause(retry_after: Option<&str>, n: u32, left: Duration) -> Option<Duration> {
    let asked = retry_after.and_then(|value| asked_for(value, SystemTime::now()));
    // A server that says "now", or nothing, is not asked in a tight loop.
    let own = FIRST_PAUSE * 2_u32.saturating_pow(n.min(8));
    Some(asked.map_or(own, |asked| asked.max(FIRST_PAUSE))).filter(|pause| *pause <= left)
}

/// What an answer's headers say about limits, as a clause; empty if nothing.
pub(crate) fn limits<'a>(header: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut parts = Vec::new();
    for (name, word) in
        [("ratelimit-limit", "limit"), ("ratelimit-remaining", "remaining"), ("retry-after", "try again after")]
    {
        if let Some(value) = header(name) {
            parts.push(format!("{word} {}", printable(value).chars().take(LONGEST).collect::<String>()));
        }
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("3", Some(3.0)),
            (" 0 ", Some(0.0)),
            ("1.5", Some(1.5)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10.0)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0.0)),
            ("-1", None),
            ("1e400", Some(Duration::MAX.as_secs_f64())),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(asked_for(value, now).map(|pause| pause.as_secs_f64()), seconds, "{value}");
        }
    }

    #[test]
    fn nobody_is_waited_for_longer_than_we_have_patience() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(Some("1"), 1, second), Some(second));
        assert_eq!(pause(Some("2"), 1, second), None);
        assert_eq!(pause(Some("18446744073709551615"), 1, second), None);
        assert_eq!(pause(Some("0"), 1, second), Some(FIRST_PAUSE));
        assert_eq!(pause(Some("soon"), 1, second), Some(2 * FIRST_PAUSE));
        assert_eq!(pause(None, 9, Duration::MAX), pause(None, 8, Duration::MAX));
    }
}
