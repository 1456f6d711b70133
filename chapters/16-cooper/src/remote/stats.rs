//! `stats` of a daemon's containers: its figures in the columns that this machine's have.

use serde_json::Value;

use super::client::Client;
use super::containers::path;
use super::look::text;
use crate::stats::{Figures, Stats, StatsRow};

impl Stats {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        self.show(|| {
            let names = self.names(far)?;
            // A daemon looks twice, a second apart, before it answers: all at once, not one after the other.
            std::thread::scope(|scope| {
                let asked: Vec<_> = names.iter().map(|name| scope.spawn(|| row(far, name))).collect();
                let answers = asked.into_iter().map(|answer| {
                    // A thread of ours that panicked has a bug; there is nothing to tell that its message did not.
                    answer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that asked panicked")))
                });
                answers.collect()
            })
        })
    }

    /// Those that were named, else those that the daemon has.
    fn names(&self, far: &Client) -> anyhow::Result<Vec<String>> {
        if !self.containers.is_empty() {
            return Ok(self.containers.clone());
        }
        let found = far.get("/containers/json", &[("all", self.all.to_string())])?;
        Ok(found.as_array().into_iter().flatten().map(|container| text(&container["Id"])).collect())
    }
}

fn row(far: &Client, name: &str) -> anyhow::Result<StatsRow> {
    let found = far.get(&path(name, "json"), &[])?;
    let runs = found["State"]["Running"] == true;
    let stats = if runs { far.get(&path(name, "stats"), &[("stream", "false".to_owned())])? } else { Value::Null };
    Ok(StatsRow {
        id: text(&found["Id"]),
        name: text(&found["Name"]).trim_start_matches('/').to_owned(),
        labels: serde_json::from_value(found["Config"]["Labels"].clone()).unwrap_or_default(),
        // It may have ended between the two questions; then the answer has no processes.
        figures: stats["pids_stats"]["current"].as_u64().map(|pids| figures(&stats, pids)),
    })
}

/// What docker's own client makes of the same document.
///
/// # References
/// Docker Engine API v1.47, `ContainerStats`, "cpu usage percentage"
fn figures(stats: &Value, pids: u64) -> Figures {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let grown = |path: &str| {
        let (now, before) = (stats["cpu_stats"].pointer(path), stats["precpu_stats"].pointer(path));
        now.map_or(0, number).saturating_sub(before.map_or(0, number)) as f64
    };
    let (used, passed) = (grown("/cpu_usage/total_usage"), grown("/system_cpu_usage"));
    let cpus = number(&stats["cpu_stats"]["online_cpus"]).max(1) as f64;
    let memory = &stats["memory_stats"];
    // What can be given back at once counts for nobody. cgroup v1 has another name for it.
    let idle = ["total_inactive_file", "inactive_file"].iter().find_map(|name| memory["stats"][name].as_u64());
    let networks = stats["networks"].as_object().into_iter().flatten();
    let disks = stats["blkio_stats"]["io_service_bytes_recursive"].as_array().into_iter().flatten();
    let disk = disks.fold((0, 0), |(read, written), entry| match text(&entry["op"]).to_lowercase().as_str() {
        "read" => (read + number(&entry["value"]), written),
        "write" => (read, written + number(&entry["value"])),
        _ => (read, written),
    });
    Figures {
        cpu: if passed > 0.0 { used / passed * cpus * 100.0 } else { 0.0 },
        memory: number(&memory["usage"]).saturating_sub(idle.unwrap_or_default()),
        limit: number(&memory["limit"]),
        traffic: networks
            .fold((0, 0), |sum, (_, it)| (sum.0 + number(&it["rx_bytes"]), sum.1 + number(&it["tx_bytes"]))),
        disk,
        pids,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_docker_s() {
        let stats = json!({
            "cpu_stats": { "cpu_usage": { "total_usage": 300 }, "system_cpu_usage": 2000, "online_cpus": 2 },
            "precpu_stats": { "cpu_usage": { "total_usage": 100 }, "system_cpu_usage": 1000 },
            "memory_stats": { "usage": 5000, "limit": 10_000, "stats": { "total_inactive_file": 1000, "inactive_file": 1 } },
            "networks": { "eth0": { "rx_bytes": 1, "tx_bytes": 2 }, "eth1": { "rx_bytes": 10, "tx_bytes": 20 } },
            "blkio_stats": { "io_service_bytes_recursive": [
                { "op": "Read", "value": 7 }, { "op": "write", "value": 8 }, { "op": "Total", "value": 15 } ] },
        });
        let wanted = Figures { cpu: 40.0, memory: 4000, limit: 10_000, traffic: (11, 22), disk: (7, 8), pids: 3 };
        assert_eq!(figures(&stats, 3), wanted);
        assert_eq!(figures(&json!({}), 0).cpu, 0.0);
    }
}
