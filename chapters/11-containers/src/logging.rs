//! Where a container's output is kept, and how much of it: `--log-driver` and `--log-opt`.
//!
//! Two drivers write the same file, Docker's JSON lines, and differ in what is kept unless it is said; a third keeps
//! nothing. Each is bounded from the start: a log that fills the disk is the oldest complaint about containers.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `--log-driver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// One JSON object a line, as Docker's files are: four of 16 MiB unless it is said otherwise.
    #[default]
    JsonFile,
    /// The same with the bounds of Docker's `local`: five of 20 MiB.
    Local,
    /// Nothing is kept; whoever is attached sees what is printed.
    None,
}

impl LogDriver {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
        }
    }
}

impl FromStr for LogDriver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "json-file" => Ok(Self::JsonFile),
            "local" => Ok(Self::Local),
            "none" => Ok(Self::None),
            other => Err(Error::bad("--log-driver", other, "not supported: json-file, local, or none")),
        }
    }
}

/// A driver and what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `--log-driver`.
    pub driver: LogDriver,
    /// `--log-opt`: `max-size`, `max-file`.
    pub options: BTreeMap<String, String>,
}

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// A file of this many bytes is put aside, and a new one begun.
    pub(crate) rotate_at: u64,
    /// How many files there are at most, the current one included.
    pub(crate) files: u32,
}

/// More files than that nobody could read.
const MOST_FILES: u32 = 1000;

impl LogConfig {
    /// How much is kept; `None` where nothing is.
    ///
    /// # Errors
    /// [`Error::BadValue`] for an option that the driver has not, or a value that is none.
    pub(crate) fn retention(&self) -> Result<Option<Retention>> {
        let mut kept = match self.driver {
            LogDriver::JsonFile => Retention { rotate_at: 16 << 20, files: 4 },
            LogDriver::Local => Retention { rotate_at: 20 << 20, files: 5 },
            LogDriver::None => match self.options.keys().next() {
                Some(name) => {
                    return Err(Error::bad(OPTION, name, "the driver none keeps nothing, and has no options"));
                }
                None => return Ok(None),
            },
        };
        for (name, value) in &self.options {
            let bad = |reason: &str| Error::bad(OPTION, format!("{name}={value}"), reason);
            match name.as_str() {
                "max-size" if value == "-1" => kept.rotate_at = u64::MAX,
                "max-size" => {
                    kept.rotate_at =
                        size(value).ok_or_else(|| bad("a size is a number and k, m or g, or -1 for no bound"))?;
                }
                "max-file" => {
                    let files = value.parse().ok().filter(|files| (1..=MOST_FILES).contains(files));
                    kept.files = files.ok_or_else(|| bad("from 1 to 1000 files"))?;
                }
                // What is written is on its way to the disk before the container goes on.
                "mode" if value == "blocking" => {}
                "compress" if value == "false" => {}
                _ => {
                    return Err(bad(
                        "not supported: the options are max-size, max-file, mode=blocking and compress=false",
                    ));
                }
            }
        }
        Ok(Some(kept))
    }
}

const OPTION: &str = "--log-opt";

/// `10m`: a number and a unit, of 1,024.
fn size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(driver: &str, options: &[(&str, &str)]) -> Result<Option<(u64, u32)>> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = LogConfig { driver: driver.parse()?, options };
        Ok(config.retention()?.map(|kept| (kept.rotate_at, kept.files)))
    }

    #[test]
    fn a_log_is_bounded_whatever_is_said() {
        assert_eq!(kept("json-file", &[]).unwrap(), Some((16 << 20, 4)));
        assert_eq!(kept("local", &[("max-file", "2")]).unwrap(), Some((20 << 20, 2)));
        assert_eq!(kept("json-file", &[("max-size", "10k"), ("max-file", "1")]).unwrap(), Some((10 << 10, 1)));
        assert_eq!(kept("none", &[]).unwrap(), None);
    }

    #[test]
    fn what_no_driver_can_do_is_refused_by_name() {
        assert!(kept("syslog", &[]).unwrap_err().to_string().contains("syslog"));
        for option in
            [("max-size", "0"), ("max-size", "x"), ("max-file", "0"), ("labels", "a"), ("mode", "non-blocking")]
        {
            assert!(kept("json-file", &[option]).unwrap_err().to_string().contains(option.0), "{option:?}");
        }
        assert!(kept("none", &[("max-size", "1m")]).is_err());
    }
}
