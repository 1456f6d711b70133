//! The tiny init, as bytes to put into a container: see `src/init/src/main.rs` for the program itself.

/// The program: an executable for this machine's architecture. `init [--] PROGRAM [ARGUMENT...]` runs the program as its
/// child, passes signals on to it, reaps orphans, and exits as the program did (128 and the number for a signal).
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// Whether [`INIT`] needs no library. If it does, it only runs in a root that has this machine's libc.
pub const IS_STATIC: bool = matches!(env!("INIT_IS_STATIC").as_bytes(), b"true");

#[cfg(test)]
mod tests {
    use super::INIT;

    #[test]
    fn the_init_is_a_small_executable() {
        assert!(INIT.starts_with(b"\x7fELF"));
        assert!(INIT.len() < 2 << 20, "{} bytes", INIT.len());
    }
}
