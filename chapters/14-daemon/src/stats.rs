//! `stats`: what a container uses, once or each second.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use containers::{ContainerId, Engine, Usage};
use serde_json::{Map, Value, json};

use crate::engine::Api;
use crate::error::ApiError;
use crate::pieces;
use crate::query::{Query, flag};

/// From one look to the next: Docker's.
const TICK: Duration = Duration::from_secs(1);

/// `GET /containers/{id}/stats`: a document each second, or with `stream=false` one that holds two looks. With
/// `one-shot=true` the second look is left out.
pub async fn stats(State(api): State<Arc<Api>>, Path(id): Path<String>, query: Query) -> Result<Response, ApiError> {
    let stream = query.get("stream").is_none() || flag(&query, "stream");
    let once = flag(&query, "one-shot");
    let (id, name, first) = api
        .call(move |engine| {
            let container = engine.find(&id)?;
            let usage = usage(engine, container.id())?;
            Ok((container.id().clone(), container.name().to_owned(), usage))
        })
        .await?;
    let (sender, body) = pieces::channel();
    tokio::spawn(async move {
        let mut before = (!once || stream).then_some(first);
        loop {
            if before.is_some() {
                tokio::time::sleep(TICK).await;
            }
            let asked = id.clone();
            let now = api.call(move |engine| usage(engine, &asked)).await;
            let Ok(now) = now else { return };
            let document = document(&id, &name, now.as_ref(), before.as_ref().and_then(Option::as_ref));
            if sender.push(format!("{document}\n")).await.is_err() || !stream {
                return;
            }
            before = Some(now);
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// What it uses now; `None` for one that does not run, of which Docker's clients expect empty numbers.
fn usage(engine: &Engine, id: &ContainerId) -> Result<Option<Usage>, ApiError> {
    match engine.usage(id) {
        Ok(usage) => Ok(Some(usage)),
        Err(containers::Error::WrongState { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Two looks in Docker's shape.
pub fn document(id: &ContainerId, name: &str, now: Option<&Usage>, before: Option<&Usage>) -> Value {
    let never = "0001-01-01T00:00:00Z".to_owned();
    let time = |usage: Option<&Usage>| usage.map_or_else(|| never.clone(), |usage| usage.at.to_string());
    let mut document = json!({
        "id": id,
        "name": format!("/{name}"),
        "read": time(now),
        "preread": time(before),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": now.map_or(json!({}), cpu),
        "precpu_stats": before.map_or(json!({}), cpu),
        "pids_stats": now.map_or(json!({}), |usage| json!({ "current": usage.counted.pids.current, "limit": usage.counted.pids.limit })),
        "memory_stats": now.map_or(json!({}), memory),
        "blkio_stats": now.map_or(json!({}), disks),
    });
    if let Some(usage) = now.filter(|usage| !usage.interfaces.is_empty()) {
        document["networks"] = networks(usage);
    }
    document
}

/// Nanoseconds, as Docker counts.
fn cpu(usage: &Usage) -> Value {
    let cpu = &usage.counted.cpu;
    json!({
        "cpu_usage": {
            "total_usage": cpu.usage_us * 1000,
            "usage_in_usermode": cpu.user_us * 1000,
            "usage_in_kernelmode": cpu.system_us * 1000,
        },
        "system_cpu_usage": usage.machine_us * 1000,
        "online_cpus": usage.cpus,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_us * 1000,
        },
    })
}

fn memory(usage: &Usage) -> Value {
    let memory = &usage.counted.memory;
    let stats = json!({ "anon": memory.anonymous, "file": memory.file, "inactive_file": memory.inactive_file });
    json!({ "usage": memory.usage, "max_usage": memory.peak, "limit": usage.memory_limit, "stats": stats })
}

fn disks(usage: &Usage) -> Value {
    let entry = |major: u32, minor: u32, op: &str, value: u64| json!({ "major": major, "minor": minor, "op": op, "value": value });
    let bytes = usage.counted.io.iter();
    let bytes = bytes.flat_map(|disk| {
        [
            entry(disk.major, disk.minor, "read", disk.read_bytes),
            entry(disk.major, disk.minor, "write", disk.written_bytes),
        ]
    });
    let times = usage.counted.io.iter();
    let times = times.flat_map(|disk| {
        [entry(disk.major, disk.minor, "read", disk.reads), entry(disk.major, disk.minor, "write", disk.writes)]
    });
    json!({ "io_service_bytes_recursive": bytes.collect::<Vec<_>>(), "io_serviced_recursive": times.collect::<Vec<_>>() })
}

fn networks(usage: &Usage) -> Value {
    let mut networks = Map::new();
    for (name, traffic) in &usage.interfaces {
        let ([rx_bytes, rx_packets, rx_errors, rx_dropped], [tx_bytes, tx_packets, tx_errors, tx_dropped]) =
            (traffic.received, traffic.sent);
        let document = json!({
            "rx_bytes": rx_bytes, "rx_packets": rx_packets, "rx_errors": rx_errors, "rx_dropped": rx_dropped,
            "tx_bytes": tx_bytes, "tx_packets": tx_packets, "tx_errors": tx_errors, "tx_dropped": tx_dropped,
        });
        networks.insert(name.clone(), document);
    }
    Value::Object(networks)
}
