//! How far the clocks of a time namespace are ahead of the machine's, or behind.

use std::fmt;
use std::str::FromStr;

use process::CallError;

/// The distance of one clock from the machine's: seconds, which may be negative, and nanoseconds on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockOffset {
    seconds: i64,
    nanoseconds: u32,
}

/// The clocks that a time namespace has of its own. The wall clock is not among them: it is the machine's.
///
/// # References
/// time_namespaces(7)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockOffsets {
    /// CLOCK_MONOTONIC: what timers and timeouts count by.
    pub monotonic: ClockOffset,
    /// CLOCK_BOOTTIME: what `uptime` shows.
    pub boottime: ClockOffset,
}

impl ClockOffset {
    /// An offset.
    ///
    /// # Errors
    /// More nanoseconds than make a second: the kernel would answer EINVAL and not say to what.
    pub fn new(seconds: i64, nanoseconds: u32) -> Result<Self, CallError> {
        if nanoseconds >= 1_000_000_000 {
            let reason = "nanoseconds must be fewer than 1000000000";
            return Err(CallError::refused("read clock offset", format!("{seconds}.{nanoseconds:09}"), reason));
        }
        Ok(Self { seconds, nanoseconds })
    }
}

impl fmt::Display for ClockOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.seconds, self.nanoseconds) {
            (seconds, 0) => write!(f, "{seconds:+} s"),
            // The nanoseconds count upwards also from a negative second: -2 and 500000000 is -1.5.
            (seconds @ ..0, nanoseconds) => {
                write!(f, "-{}.{:09} s", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
            }
            (seconds, nanoseconds) => write!(f, "+{seconds}.{nanoseconds:09} s"),
        }
    }
}

impl FromStr for ClockOffset {
    type Err = CallError;

    /// Reads seconds with up to nine digits behind the point: `3600`, `-1.5`.
    ///
    /// # Errors
    /// What is not a whole number, or one with a point and digits on both sides of it.
    // hole: read-clock-offset
    fn from_str(text: &str) -> Result<Self, CallError> {
        let bad = || CallError::refused("read clock offset", text, "expected seconds, as 3600 or -1.5");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty();
        if fraction.len() > 9 || !digits(fraction) || !digits(whole.trim_start_matches(['-', '+'])) {
            return Err(bad());
        }
        let seconds: i64 = whole.parse().map_err(|_| bad())?;
        let nanoseconds: u32 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
        if whole.starts_with('-') && nanoseconds > 0 {
            return Self::new(seconds.checked_sub(1).ok_or_else(bad)?, 1_000_000_000 - nanoseconds);
        }
        Self::new(seconds, nanoseconds)
    }
}

impl ClockOffsets {
    /// Both clocks by the same distance, as if the machine had been started at another time.
    pub fn both(offset: ClockOffset) -> Self {
        Self { monotonic: offset, boottime: offset }
    }

    /// As `/proc/PID/timens_offsets` takes them.
    pub fn lines(&self) -> String {
        let line = |name, offset: ClockOffset| format!("{name} {} {}\n", offset.seconds, offset.nanoseconds);
        line("monotonic", self.monotonic) + &line("boottime", self.boottime)
    }
}

impl fmt::Display for ClockOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "monotonic {}, boottime {}", self.monotonic, self.boottime)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_written_as_the_kernel_counts() {
        let offset = |text: &str| ClockOffsets::both(text.parse().unwrap()).lines().lines().next().unwrap().to_owned();
        assert_eq!(offset("3600"), "monotonic 3600 0");
        assert_eq!(offset("1.5"), "monotonic 1 500000000");
        assert_eq!(offset("-1.5"), "monotonic -2 500000000");
        assert_eq!(offset("-0.000000001"), "monotonic -1 999999999");
    }

    #[test]
    fn an_offset_reads_back_as_it_was_written() {
        for text in ["+3600 s", "-1.500000000 s", "-0.000000001 s", "+0.000000001 s", "-7 s"] {
            let offset: ClockOffset = text.trim_end_matches(" s").parse().unwrap();
            assert_eq!(offset.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_offset_is_refused() {
        for text in ["", "x", "1.", "1.0000000001", ".5", "--1", "1e3", "9223372036854775808", "-9223372036854775808.5"]
        {
            assert!(text.parse::<ClockOffset>().is_err(), "{text:?}");
        }
        assert!(ClockOffset::new(0, 1_000_000_000).is_err());
    }
}
