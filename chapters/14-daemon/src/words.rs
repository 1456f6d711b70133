//! How long ago, and how big: the words that listings use.
//!
//! `docker ps` says "Up 19 seconds" and "Exited (0) 2 minutes ago". The words are made on the
//! server's side of the API, so that every client prints the same ones; the command line
//! of this engine borrows them from here.

use std::time::Duration;

/// A duration as a person would say it, rounded down to one unit: "Less than a second",
/// "19 seconds", "About an hour", "3 weeks".
///
/// # References
/// Docker's units: minutes end at 60, hours at 48, days at 14, weeks at 60 days, months at
/// two years.
pub fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let minutes = seconds / 60;
    // Hours alone are rounded to the nearest; everything else is cut.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// How long before `now` the moment `then` was; a clock that was set back counts as zero.
pub fn since(then: jiff::Timestamp, now: jiff::Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Bytes in decimal units with three significant digits, as `docker images` prints them:
/// "5.95MB", "213B".
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value), UNITS[unit])
}

/// Bytes in binary units with four significant digits, as `docker stats` prints memory: "1.949MiB", "23.54GiB".
pub fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        v if v < 10.0 => 3,
        v if v < 100.0 => 2,
        v if v < 1000.0 => 1,
        _ => 0,
    };
    format!("{}{}", trimmed(format!("{value:.decimals$}")), UNITS[unit])
}

/// C's `%.3g` for values from 0 to 1000: three digits, no trailing zeros.
fn significant(value: f64) -> String {
    let decimals = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    trimmed(format!("{value:.decimals$}"))
}

/// Without zeros at its end that say nothing.
fn trimmed(text: String) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_one_unit() {
        let said = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(said(0), "Less than a second");
        assert_eq!(said(1), "1 second");
        assert_eq!(said(59), "59 seconds");
        assert_eq!(said(61), "About a minute");
        assert_eq!(said(150), "2 minutes");
        assert_eq!(said(3600), "About an hour");
        assert_eq!(said(36 * 3600), "36 hours");
        assert_eq!(said(5 * 86400), "5 days");
        assert_eq!(said(21 * 86400), "3 weeks");
        assert_eq!(said(90 * 86400), "3 months");
        assert_eq!(said(800 * 86400), "2 years");
    }

    #[test]
    fn sizes_have_three_digits_in_decimal_units() {
        assert_eq!(size(0), "0B");
        assert_eq!(size(213), "213B");
        assert_eq!(size(5_946_768), "5.95MB");
        assert_eq!(size(1_000), "1kB");
        assert_eq!(size(123_456_789), "123MB");
        assert_eq!(size(90_500_000), "90.5MB");
        assert_eq!(binary_size(2_043_904), "1.949MiB");
        assert_eq!(
            (binary_size(0), binary_size(1 << 30), binary_size(1023 << 20)),
            ("0B".into(), "1GiB".into(), "1023MiB".into())
        );
    }
}
