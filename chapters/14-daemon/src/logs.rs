//! `logs`: what a container has printed, in the format of `attach`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use containers::framing::{Stream, header as frame};
use containers::{LogLine, LogOptions};
use jiff::Timestamp;

use crate::engine::Api;
use crate::error::ApiError;
use crate::pieces;
use crate::query::{Query, flag, text};

/// What is sent of each line.
#[derive(Debug, Clone, Copy)]
struct Shown {
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    framed: bool,
}

/// `GET /containers/{id}/logs`.
pub async fn logs(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<Response, ApiError> {
    let options = LogOptions {
        follow: flag(&query, "follow"),
        tail: tail(text(&query, "tail"))?,
        since: moment(text(&query, "since"), "since")?,
        until: moment(text(&query, "until"), "until")?,
    };
    let (stdout, stderr) = (flag(&query, "stdout"), flag(&query, "stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad_request("Bad parameters: you must choose at least one stream"));
    }
    let timestamps = flag(&query, "timestamps");
    let (lines, terminal) = api
        .call(move |engine| {
            let container = engine.find(&id)?;
            Ok((engine.logs(container.id(), &options)?, container.record().options.terminal))
        })
        .await?;
    let shown = Shown { stdout, stderr, timestamps, framed: !terminal };
    let (sender, body) = pieces::channel();
    // A thread of its own: a log may be followed for as long as its container lives.
    std::thread::spawn(move || {
        // A line that cannot be read ends the answer; so does a client that has gone.
        for line in lines.map_while(Result::ok) {
            if let Some(bytes) = shown.bytes(&line)
                && sender.send(bytes).is_err()
            {
                return;
            }
        }
    });
    let kind = match terminal {
        true => "application/vnd.docker.raw-stream",
        false => "application/vnd.docker.multiplexed-stream",
    };
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

impl Shown {
    fn bytes(self, line: &LogLine) -> Option<Vec<u8>> {
        let wanted = match line.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        if !wanted {
            return None;
        }
        let mut text = match self.timestamps {
            true => format!("{} ", stamp(line.time)),
            false => String::new(),
        };
        text.push_str(&line.log);
        let mut bytes = match self.framed {
            // An entry is at most some 16 KiB, so the cast loses nothing.
            true => frame(line.stream, text.len() as u32).to_vec(),
            false => Vec::new(),
        };
        bytes.extend_from_slice(text.as_bytes());
        Some(bytes)
    }
}

/// RFC 3339 with nine digits of a second, always: columns of a log line up.
pub fn stamp(time: Timestamp) -> String {
    format!("{time:.9}")
}

fn tail(text: Option<&str>) -> Result<Option<usize>, ApiError> {
    match text {
        None | Some("all") => Ok(None),
        // Docker takes what is no number for "all"; so do we with negative ones, and refuse the rest.
        Some(text) if text.starts_with('-') => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| ApiError::bad_request(format!("tail={text}: not a number"))),
    }
}

/// Seconds since 1970 with a fraction, as the client computes them.
pub(crate) fn moment(text: Option<&str>, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text.filter(|text| *text != "0") else { return Ok(None) };
    let bad = || ApiError::bad_request(format!("{name}={text}: not a time"));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = fraction.get(..9).unwrap_or(fraction);
    let nanoseconds: i32 = format!("{digits:0<9}").parse().map_err(|_| bad())?;
    Timestamp::new(seconds.parse().map_err(|_| bad())?, nanoseconds).map(Some).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_framed_stamped_and_filtered() {
        let line = LogLine { log: "hi\n".into(), stream: Stream::Stderr, time: Timestamp::new(1, 5).unwrap() };
        let all = Shown { stdout: true, stderr: true, timestamps: false, framed: true };
        assert_eq!(all.bytes(&line).unwrap(), b"\x02\0\0\0\0\0\0\x03hi\n");
        let stamped = Shown { timestamps: true, framed: false, ..all };
        assert_eq!(stamped.bytes(&line).unwrap(), b"1970-01-01T00:00:01.000000005Z hi\n");
        assert!(Shown { stderr: false, ..all }.bytes(&line).is_none());
    }

    #[test]
    fn a_moment_is_seconds_with_a_fraction() {
        let at = |text| moment(Some(text), "since").map(|m| m.map(|m| m.to_string()));
        assert_eq!(at("12.000000034").unwrap().unwrap(), "1970-01-01T00:00:12.000000034Z");
        assert_eq!(at("12").unwrap().unwrap(), "1970-01-01T00:00:12Z");
        assert_eq!(at("0").unwrap(), None);
        assert!(at("soon").is_err());
    }
}
