//! `state`, `list` and `ps`: what there is, in runc's shapes.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::Context as _;
use process::Pid;
use runtime::{Record, StateDir};
use serde_json::{Value, json};

use crate::arguments::Ps;

pub(crate) fn state(state: &StateDir, id: &str) -> anyhow::Result<u8> {
    let record = state.record_now(id)?;
    println!("{}", serde_json::to_string_pretty(&document(&record, ""))?);
    Ok(0)
}

/// A record as runc prints it: the specification's state, and what hosts have come to rely on beside it.
fn document(record: &Record, owner: &str) -> Value {
    let state = &record.state;
    let mut document = json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "pid": state.pid.map_or(0, Pid::get),
        "status": state.status,
        "bundle": state.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "owner": owner,
    });
    if !state.annotations.is_empty() {
        document["annotations"] = json!(state.annotations);
    }
    document
}

pub(crate) fn list(state: &StateDir, format: &str, quiet: bool) -> anyhow::Result<u8> {
    let records = runtime::list(state)?;
    if quiet {
        records.iter().for_each(|record| println!("{}", record.state.id));
        return Ok(0);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    // Deleted meanwhile: then nobody owns it.
    let owner = |record: &Record| state.owner(&record.state.id).map(|uid| name_of(uid, &accounts)).unwrap_or_default();
    if format == "json" {
        println!("{}", Value::from_iter(records.iter().map(|record| document(record, &owner(record)))));
        return Ok(0);
    }
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |record: &Record| {
        let (pid, status) = (record.state.pid.map_or(0, Pid::get).to_string(), record.state.status.to_string());
        let bundle = record.state.bundle.display().to_string();
        [record.state.id.clone(), pid, status, bundle, record.created.clone(), owner(record)]
    };
    print_table(&std::iter::once(heading).chain(records.iter().map(row)).collect::<Vec<_>>());
    Ok(0)
}

/// Columns of at least twelve, three of them between the longest word and the next column.
fn print_table(rows: &[[String; 6]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: String = cells
            .map(|(place, (cell, width))| if place == 5 { cell.clone() } else { format!("{cell:<width$}") })
            .collect();
        println!("{line}");
    }
}

fn name_of(uid: u32, accounts: &str) -> String {
    let account = accounts.lines().find(|line| line.split(':').nth(2) == Some(uid.to_string().as_str()));
    account.and_then(|line| line.split(':').next()).map_or_else(|| format!("#{uid}"), str::to_owned)
}

/// The machine's `ps`, with no other lines than those of the container's processes.
pub(crate) fn ps(state: &StateDir, wanted: &Ps) -> anyhow::Result<u8> {
    let pids = runtime::processes(state, &wanted.id)?;
    if wanted.format == "json" {
        println!("{}", json!(pids));
        return Ok(0);
    }
    let options = if wanted.options.is_empty() { vec!["-ef".to_owned()] } else { wanted.options.clone() };
    let output = Command::new("ps").args(&options).output().context("run ps")?;
    anyhow::ensure!(output.status.success(), "ps: {}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let heading = lines.next().context("ps: no output")?;
    let column = heading.split_whitespace().position(|word| word == "PID");
    let column = column.context("ps: its output has no column PID, by which processes are told apart")?;
    let ours: BTreeSet<String> = pids.iter().map(ToString::to_string).collect();
    println!("{heading}");
    let is_ours = |line: &&str| line.split_whitespace().nth(column).is_some_and(|pid| ours.contains(pid));
    lines.filter(is_ours).for_each(|line| println!("{line}"));
    Ok(0)
}
