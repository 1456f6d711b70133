//! Values as people write them: sizes, cpus, variables, durations. All pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Bytes with docker's binary suffixes: `256m` is 268 435 456, `1g`, `64k`, `512b`, `100`; also
/// `1.5g`, `64MB` and `64MiB`, case-insensitive.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write a number and b, k, m, g or t (256m)");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number * 1024_f64.powi(power);
    // 2^63: what the kernel's files take; it also refuses NaN, infinity and negatives.
    match (0.0..9.2e18).contains(&bytes) {
        true => Ok(bytes as u64),
        false => Err(wrong()),
    }
}

/// `--memory-swap`: a size, or -1 for no limit.
pub(crate) fn swap(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        text => Ok(bytes(text)?.try_into().unwrap_or(i64::MAX)),
    }
}

/// `--cpus 0.5` in billionths of a cpu, exactly: a float would make 0.07 cost a microsecond.
pub(crate) fn nano_cpus(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no number of cpus: write 1.5 or 0.25");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if part.len() > 9 || !digits(whole) || !digits(part) || whole.len() + part.len() == 0 {
        return Err(wrong());
    }
    let nanos: u64 = format!("{whole}{part:0<9}").parse().map_err(|_| wrong())?;
    match nanos {
        0 => Err(wrong()),
        nanos => Ok(nanos),
    }
}

/// `-e A=b` as it stands; `-e A` takes A from `environment`, and is dropped where it is unset.
///
/// # Errors
/// A variable without a name.
pub(crate) fn variable(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("{text:?}: a variable needs a name")),
        None if text.is_empty() => Err("an empty variable: write NAME=VALUE".to_owned()),
        Some(_) => Ok(Some(text.to_owned())),
        None => Ok(environment(text).map(|value| format!("{text}={value}"))),
    }
}

/// The variables of an `--env-file`: a `NAME=VALUE` or `NAME` a line; `#` begins a comment line;
/// values stand as they are, quotes and all.
///
/// # Errors
/// The file, the line and what is wrong there.
pub(crate) fn env_file(
    path: &Path,
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start().trim_end_matches('\r');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: String| format!("{}:{}: {what}", path.display(), number + 1);
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.contains(char::is_whitespace) {
            return Err(at(format!("variable {name:?} contains whitespaces")));
        }
        variables.extend(variable(line, &environment).map_err(at)?);
    }
    Ok(variables)
}

/// Labels: `KEY=VALUE`, or `KEY` alone with an empty value; the last of a key counts.
pub(crate) fn labels(list: &[String]) -> BTreeMap<String, String> {
    let pairs = list.iter().map(|label| match label.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (label.clone(), String::new()),
    });
    pairs.collect()
}

/// A moment for `logs --since`: RFC 3339, a date, seconds since 1970, or how long ago (`42m`).
///
/// # Errors
/// A sentence for the user.
pub(crate) fn moment(text: &str, now: jiff::Timestamp) -> Result<jiff::Timestamp, String> {
    let wrong = || format!("{text:?} is no time: write 2013-01-02T13:23:37Z or 42m");
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        let zoned = date.to_zoned(jiff::tz::TimeZone::system());
        return zoned.map(|zoned| zoned.timestamp()).map_err(|_| wrong());
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let span = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        return jiff::Timestamp::UNIX_EPOCH.checked_add(span).map_err(|_| wrong());
    }
    now.checked_sub(go_duration(text).ok_or_else(wrong)?).map_err(|_| wrong())
}

/// A duration in Go's words, as Docker's API has it: nanoseconds.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn nanoseconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no duration: write 30s, 1m30s or 500ms");
    i64::try_from(go_duration(text).ok_or_else(wrong)?.as_nanos()).map_err(|_| wrong())
}

/// Go's durations: `1h30m`, `1.5s`, `300ms`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(unit);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let seconds = match &tail[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = &tail[end..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_binary_as_docker_s_are() {
        assert_eq!(bytes("256m"), Ok(256 << 20));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        assert_eq!(bytes("1.5k"), Ok(1536));
        assert_eq!(bytes("64MB"), Ok(64 << 20));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("512b"), Ok(512));
        assert_eq!(bytes("100"), Ok(100));
        for wrong in ["", "m", "-1", "1x", "1e300t", "nan", "inf"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(swap("-1"), Ok(-1));
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(nano_cpus("0.5"), Ok(500_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert_eq!(nano_cpus(".07"), Ok(70_000_000));
        for wrong in ["", "0", ".", "-1", "1e3", "0.0000000001", "99999999999999999999"] {
            assert!(nano_cpus(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_variable_without_a_value_is_taken_from_the_environment_or_dropped() {
        let environment = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let read = |text| variable(text, environment);
        assert_eq!(read("A=b=c"), Ok(Some("A=b=c".to_owned())));
        assert_eq!(read("HOME"), Ok(Some("HOME=/root".to_owned())));
        assert_eq!(read("NOPE"), Ok(None));
        assert!(read("=x").is_err() && read("").is_err());
    }

    #[test]
    fn an_env_file_names_the_line_at_fault() {
        let path = Path::new("vars");
        let good = env_file(path, "# c\nA=1\n\nB='x y'\r\n", |_| None);
        assert_eq!(good.unwrap(), ["A=1", "B='x y'"]);
        let bad = env_file(path, "A=1\nB C=2\n", |_| None).unwrap_err();
        assert_eq!(bad, "vars:2: variable \"B C\" contains whitespaces");
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let at = |text| moment(text, now).map(|m| m.to_string());
        assert_eq!(at("42m").unwrap(), "2026-01-01T11:18:00Z");
        assert_eq!(at("1h30m").unwrap(), "2026-01-01T10:30:00Z");
        assert_eq!(at("2013-01-02T13:23:37Z").unwrap(), "2013-01-02T13:23:37Z");
        assert_eq!(at("0").unwrap(), "1970-01-01T00:00:00Z");
        assert!(at("soon").is_err() && at("").is_err());
    }
}
