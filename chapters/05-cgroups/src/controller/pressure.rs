//! Pressure: for how much of the time members wanted a resource and had to wait for it.
//!
//! Usage tells how much a group has; pressure tells whether that is enough. v2 only, and only where the kernel was
//! built and booted with it.
//!
//! ```text
//! some avg10=12.34 avg60=5.60 avg300=1.20 total=1234567     at least one member waited
//! full avg10=0.00 avg60=0.00 avg300=0.00 total=12345        all that had something to do waited
//! ```

use process::CallError;

use super::{Controller, Read};
use crate::stats::{Pressure, Pressures, Waiting};

/// `None` where the kernel counts none.
///
/// # References
/// linux/Documentation/accounting/psi.rst
pub(super) fn counted(read: &Read<'_>) -> Result<Option<Pressures>, CallError> {
    let of = |controller: Controller| -> Result<Option<Pressure>, CallError> {
        Ok(read(controller, &format!("{}.pressure", controller.name()))?.as_deref().and_then(parse))
    };
    let (cpu, memory, io) = (of(Controller::Cpu)?, of(Controller::Memory)?, of(Controller::Io)?);
    Ok(match (cpu, memory, io) {
        (Some(cpu), Some(memory), Some(io)) => Some(Pressures { cpu, memory, io }),
        _ => None,
    })
}

fn parse(text: &str) -> Option<Pressure> {
    let line = |name: &str| text.lines().find_map(|line| waiting(line.strip_prefix(name)?));
    // Before Linux 5.13 nobody counted `full` for the CPU.
    Some(Pressure { some: line("some ")?, full: line("full ").unwrap_or_default() })
}

fn waiting(line: &str) -> Option<Waiting> {
    let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    Some(Waiting {
        average_10_s: value("avg10")?.parse().ok()?,
        average_60_s: value("avg60")?.parse().ok()?,
        average_300_s: value("avg300")?.parse().ok()?,
        total_us: value("total")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_lines_are_read_and_an_older_kernel_has_one() {
        let text =
            "some avg10=12.34 avg60=5.60 avg300=1.20 total=1234567\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=9\n";
        let pressure = parse(text).unwrap();
        assert_eq!((pressure.some.average_10_s, pressure.some.total_us, pressure.full.total_us), (12.34, 1_234_567, 9));
        let old = parse(text.lines().next().unwrap()).unwrap();
        assert_eq!(old.full, Waiting::default());
        assert!(parse("").is_none());
        assert!(parse("some avg10=x avg60=5.60 avg300=1.20 total=1").is_none());
    }
}
