//! Processes and threads: a fork above the limit answers EAGAIN. The same files in both generations.

use process::CallError;

use super::{Controller, Read, Setting, number, or_max, text};
use crate::Limits;
use crate::file;
use crate::stats::PidsStats;

pub(super) fn on_either(limits: &Limits) -> Vec<Setting> {
    let value = |pids| or_max(u64::try_from(pids).ok().filter(|pids| *pids > 0));
    limits.pids.map(|pids| Setting::new(Controller::Pids, "pids.max", value(pids))).into_iter().collect()
}

pub(super) fn counted(read: &Read<'_>) -> Result<PidsStats, CallError> {
    let events = text(read, Controller::Pids, "pids.events")?;
    Ok(PidsStats {
        current: number(read, Controller::Pids, "pids.current")?.unwrap_or(0),
        limit: number(read, Controller::Pids, "pids.max")?,
        peak: number(read, Controller::Pids, "pids.peak")?,
        refused: file::table(&events).get("max").copied().unwrap_or(0),
    })
}
