//! Whole processes, timed from outside.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::contender::Contender;

/// What one contender took.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    /// The contender's name.
    pub(crate) name: &'static str,
    /// Milliseconds: half of the runs were faster.
    pub(crate) median: f64,
    /// Milliseconds: no run was faster.
    pub(crate) fastest: f64,
}

/// Between two runs. An engine goes on tidying up after its command has ended, podman with a process of its own: whoever
/// comes next would pay for it.
const REST: Duration = Duration::from_millis(500);

/// Runs each contender `runs` times, in turn, so that a disturbance of the machine hits all alike.
pub(crate) fn measure(contenders: &[Contender], runs: usize) -> Vec<Timing> {
    let able: Vec<&Contender> = contenders.iter().filter(|contender| contender.skipped.is_none()).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); able.len()];
    for run in 0..runs {
        for (contender, times) in able.iter().zip(&mut times) {
            let mut command = contender.command(&format!("bench-{}-{run}", std::process::id()));
            std::thread::sleep(REST);
            let began = Instant::now();
            let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            let took = began.elapsed().as_secs_f64() * 1000.0;
            match status.is_ok_and(|status| status.success()) {
                true => times.push(took),
                false => eprintln!("bench: a run of {} failed and does not count", contender.name),
            }
        }
    }
    let results = able.iter().zip(&mut times).filter(|(_, times)| !times.is_empty());
    results
        .map(|(contender, times)| {
            times.sort_by(f64::total_cmp);
            Timing { name: contender.name, median: times[times.len() / 2], fastest: times[0] }
        })
        .collect()
}
