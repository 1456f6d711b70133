//! The image's config: how to run it, and which layers it is made of.

use indexmap::IndexMap;
use layers::{DiffId, Digest};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::manifest::json_bytes;

/// The config document. Its digest is the image's id.
///
/// Docker's fields that the OCI specification does not know (`Healthcheck`, `Shell`, `OnBuild`) are typed here, and
/// fields that nobody told us of stay in `other`: whoever changes a label must not lose a health check.
///
/// # References
/// OCI image specification, config.md; Docker image specification v1.3
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor it runs on: `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// The processor's variant: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system: `linux`.
    #[serde(default)]
    pub os: String,
    /// How to run it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// What made each layer, lowest first; steps that changed no file have an entry too.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that this engine does not know, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The layers, by what they change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed archives, lowest first.
    #[serde(deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One step of the image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark; BuildKit signs with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True if the step added no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Fields that this engine does not know, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a container of the image runs unless told otherwise.
///
/// `Cmd` and `Entrypoint` are options because Docker tells "not set" from "set to nothing": the second one
/// erases what a base image said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// `USER[:GROUP]`, names or numbers; empty for root.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that the program listens on: `80/tcp`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "IndexMap::is_empty")]
    pub exposed_ports: IndexMap<String, Map<String, Value>>,
    /// The environment, `NAME=VALUE`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What is always run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments, or the command if there is no entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories that get a volume each.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "IndexMap::is_empty")]
    pub volumes: IndexMap<String, Map<String, Value>>,
    /// Where the program starts; empty for `/`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "IndexMap::is_empty")]
    pub labels: IndexMap<String, String>,
    /// The signal that asks the program to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How to see whether the program is well. Docker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell of RUN, CMD and ENTRYPOINT in their shell form. Docker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Instructions for builds on top of this image. Docker's.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Fields that this engine does not know, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A health check. Times are nanoseconds, as Docker writes them; 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", LINE]`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// For one check.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// While failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks during the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

impl ImageConfig {
    /// Reads a config whose digest was already verified.
    ///
    /// # Errors
    /// Malformed JSON, with line and column.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::Document { digest: Digest::of(bytes), reason: error.to_string() })
    }

    /// The document's bytes, as a *new* config is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        json_bytes(self)
    }
}

/// Go writes `null` where a list is empty.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DOCKERS: &str = r#"{
        "architecture": "amd64", "os": "linux", "docker_version": "20.10.24",
        "config": {
            "Hostname": "", "User": "", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/bin"], "Cmd": null,
            "Entrypoint": [], "Image": "sha256:00", "Volumes": null, "OnBuild": ["RUN true"], "Labels": null,
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000, "Retries": 3},
            "Shell": ["/bin/bash", "-c"]
        },
        "rootfs": {"type": "layers", "diff_ids": null},
        "history": [{"created_by": "/bin/sh -c #(nop)", "empty_layer": true}]
    }"#;

    #[test]
    fn what_docker_alone_knows_survives_a_round_trip() {
        let config = ImageConfig::parse(DOCKERS.as_bytes()).unwrap();
        let again = ImageConfig::parse(&config.to_bytes()).unwrap();
        assert_eq!(config, again);
        let healthcheck = again.config.healthcheck.unwrap();
        assert_eq!((healthcheck.interval, healthcheck.retries), (30_000_000_000, 3));
        assert_eq!(again.config.shell.unwrap(), ["/bin/bash", "-c"]);
        assert_eq!(again.config.on_build, ["RUN true"]);
        assert_eq!(again.config.other["Image"], "sha256:00");
        assert_eq!(again.other["docker_version"], "20.10.24");
    }

    #[test]
    fn not_set_and_set_to_nothing_differ() {
        let config = ImageConfig::parse(DOCKERS.as_bytes()).unwrap().config;
        assert_eq!((config.cmd, config.entrypoint), (None, Some(Vec::new())));
    }

    #[test]
    fn a_config_that_is_not_one_says_where() {
        let error = ImageConfig::parse(b"{\"rootfs\": {\"type\": \"layers\", \"diff_ids\": [\"../x\"]}}").unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
