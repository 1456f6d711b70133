//! A server that sends, and so slowly that it will never be done.
//!
//! A limit on silence is not enough: one byte every second is never silent. So what comes in each stretch of
//! waiting must also be worth waiting for. Time in which *we* were busy does not count against the server.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// A reader that gives up on a source that is too slow.
pub(crate) struct Paced<R> {
    inner: R,
    /// Bytes that each stretch must bring.
    least: u64,
    stretch: Duration,
    waited: Duration,
    moved: u64,
}

impl<R: Read> Paced<R> {
    /// Wants `least` bytes in each `stretch` of waiting.
    pub(crate) fn new(inner: R, least: u64, stretch: Duration) -> Paced<R> {
        Paced { inner, least, stretch, waited: Duration::ZERO, moved: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let began = Instant::now();
        let n = self.inner.read(buffer)?;
        self.waited += began.elapsed();
        self.moved += n as u64;
        if n > 0 && self.waited >= self.stretch {
            if self.moved < self.least {
                let reason = format!("only {} bytes came in {:?}", self.moved, self.stretch);
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            (self.waited, self.moved) = (Duration::ZERO, 0);
        }
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Slow(Duration, usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(self.0);
            Ok(buffer.len().min(self.1))
        }
    }

    #[test]
    fn a_trickle_is_an_error_and_our_own_slowness_is_not() {
        let stretch = Duration::from_millis(20);
        let mut trickle = Paced::new(Slow(Duration::from_millis(5), 1), 100, stretch);
        let error = io::copy(&mut trickle, &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "only 4 bytes came in 20ms".replace('4', &trickle.moved.to_string()));
        assert!(trickle.moved < 10);

        let mut quick = Paced::new(Slow(Duration::ZERO, 1), 100, stretch);
        for _ in 0..5 {
            std::thread::sleep(stretch);
            quick.read_exact(&mut [0; 2]).unwrap();
        }
    }
}
