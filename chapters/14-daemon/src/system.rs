//! Who is this? `ping`, `version`, `info`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::engine::Api;
use crate::error::ApiError;

/// The newest version of the API that is spoken here.
pub const API_VERSION: &str = "1.47";

/// The oldest.
pub const MIN_API_VERSION: &str = "1.24";

/// The `Server` header.
pub const SERVER: &str = concat!("Cooper/", env!("CARGO_PKG_VERSION"), " (linux)");

/// `GET` and `HEAD /_ping`: the headers are what a client wants; it picks the version to speak by them.
pub async fn ping() -> impl IntoResponse {
    let headers = [
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        // "1" would promise the builder that docker's client no longer carries itself.
        (header::HeaderName::from_static("builder-version"), "1"),
    ];
    (headers, "OK")
}

/// `GET /version`.
pub async fn version() -> Json<Value> {
    let kernel = kernel_release();
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({
        "Platform": { "Name": "Cooper" },
        "Components": [{
            "Name": "Engine",
            "Version": version,
            "Details": {
                "ApiVersion": API_VERSION,
                "Arch": architecture(),
                "Experimental": "false",
                "KernelVersion": kernel,
                "MinAPIVersion": MIN_API_VERSION,
                "Os": "linux",
            },
        }],
        "Version": version,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel,
        "BuildTime": "",
    }))
}

/// `GET /info`.
pub async fn info(State(api): State<Arc<Api>>) -> Result<Json<Value>, ApiError> {
    let counts = api.call(count).await?;
    let mut info = json!({
        "ID": "cooper",
        "Driver": "overlay",
        "Plugins": { "Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["json-file"] },
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version(),
        "LoggingDriver": "json-file",
        "KernelVersion": kernel_release(),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory_total(),
        "SystemTime": jiff::Timestamp::now().to_string(),
        "DockerRootDir": api.data(),
        "Name": host_name(),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": { "InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {}, "Mirrors": [] },
        "DefaultRuntime": "cooper",
        "Runtimes": { "cooper": { "path": "cooper-runtime" } },
        "Swarm": { "LocalNodeState": "inactive" },
        "LiveRestoreEnabled": true,
        "SecurityOptions": containers::security::controls(),
        "Warnings": null,
    });
    if let (Value::Object(info), Value::Object(counts)) = (&mut info, counts) {
        info.extend(counts);
    }
    Ok(Json(info))
}

fn count(engine: &containers::Engine) -> Result<Value, ApiError> {
    let all = engine.list(containers::All::Yes)?;
    let running = all.iter().filter(|c| c.life().is_ok_and(|life| life.status.is_live())).count();
    let images = crate::catalogue::list(engine)?.len();
    Ok(json!({
        "Containers": all.len(),
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": all.len() - running,
        "Images": images,
    }))
}

/// Go's name of this machine's architecture, which is what images are labelled with.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The kernel's release, as `uname -r`.
pub fn kernel_release() -> String {
    first_line("/proc/sys/kernel/osrelease")
}

/// The host's name.
pub fn host_name() -> String {
    first_line("/proc/sys/kernel/hostname")
}

/// The distribution's name from os-release(5).
pub fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Bytes of memory, from `/proc/meminfo`.
pub fn memory_total() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// "2" where the unified hierarchy holds the controllers, else "1".
pub fn cgroup_version() -> &'static str {
    match std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => "2",
        false => "1",
    }
}

fn first_line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
