//! The probe: a small static program that says what it can see of its confinement, as JSON.
//!
//! Checks and tests drop it into a container's root, run it there, and hold what it prints against the host's own
//! view. It reads `/proc` and `/sys` and calls nothing unusual, so whatever it does not see is really not there.

/// The program: an executable for this machine's architecture.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));

/// Whether [`PROBE`] needs no library. If it does, it only runs in a root that has this machine's libc.
pub const IS_STATIC: bool = matches!(env!("PROBE_IS_STATIC").as_bytes(), b"true");

#[cfg(test)]
mod tests {
    use super::PROBE;

    #[test]
    fn the_probe_is_a_small_executable() {
        assert!(PROBE.starts_with(b"\x7fELF"));
        assert!(PROBE.len() < 4 << 20, "{} bytes", PROBE.len());
    }
}
