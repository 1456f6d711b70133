//! RDMA devices: handles and objects of each. The same file in both generations.

use serde::{Deserialize, Serialize};

use super::{Controller, Setting, or_max};
use crate::Limits;

/// What may be taken of one RDMA device. What is `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdmaLimit {
    /// The device's name: `mlx5_1`.
    pub device: String,
    /// Handles of the device (`hca_handle`).
    pub handles: Option<u32>,
    /// Objects of the device (`hca_object`).
    pub objects: Option<u32>,
}

pub(super) fn on_either(limits: &Limits) -> Vec<Setting> {
    let line = |limit: &RdmaLimit| {
        let (handles, objects) = (or_max(limit.handles.map(u64::from)), or_max(limit.objects.map(u64::from)));
        Setting::new(
            Controller::Rdma,
            "rdma.max",
            format!("{} hca_handle={handles} hca_object={objects}", limit.device),
        )
    };
    limits.rdma.iter().map(line).collect()
}
