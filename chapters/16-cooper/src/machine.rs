//! The flags about the machine that a container runs on: its devices, its disks, where its output goes.

use anyhow::{Context as _, anyhow};
use clap::Args;
use containers::{CreateOptions, DeviceRequest, DeviceRule, DiskRate, DiskWeight, LogConfig};

use crate::values;

/// What it gets of the machine.
#[derive(Args, Debug)]
#[command(next_help_heading = "Devices and disks")]
pub(crate) struct Machine {
    /// Add a host device to the container
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]")]
    device: Vec<DeviceRequest>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<DeviceRule>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_name = "DISK:BYTES")]
    device_read_bps: Vec<String>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_name = "DISK:BYTES")]
    device_write_bps: Vec<String>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_name = "DISK:NUMBER")]
    device_read_iops: Vec<String>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_name = "DISK:NUMBER")]
    device_write_iops: Vec<String>,
    /// Block IO weight (relative device weight)
    #[arg(long, value_name = "DISK:WEIGHT")]
    blkio_weight_device: Vec<String>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// Logging driver for the container: json-file, local, or none
    #[arg(long, value_name = "DRIVER", default_value = "json-file", hide_default_value = true)]
    log_driver: String,
    /// Log driver options
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,
}

impl Machine {
    /// Adds what was given.
    ///
    /// # Errors
    /// The first value that is none, named with its flag.
    pub(crate) fn fill(&self, options: &mut CreateOptions) -> anyhow::Result<()> {
        options.devices.clone_from(&self.device);
        options.device_rules.clone_from(&self.device_cgroup_rule);
        let resources = &mut options.resources;
        let bytes = |text: &str| values::bytes(text);
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
        resources.device_read_bps = rates("--device-read-bps", &self.device_read_bps, bytes)?;
        resources.device_write_bps = rates("--device-write-bps", &self.device_write_bps, bytes)?;
        resources.device_read_iops = rates("--device-read-iops", &self.device_read_iops, number)?;
        resources.device_write_iops = rates("--device-write-iops", &self.device_write_iops, number)?;
        let weights = rates("--blkio-weight-device", &self.blkio_weight_device, number)?;
        let weight = |disk: DiskRate| {
            let weight = u16::try_from(disk.rate).context("--blkio-weight-device: a weight is from 10 to 1000")?;
            Ok(DiskWeight { path: disk.path, weight })
        };
        resources.blkio_weight_devices = weights.into_iter().map(weight).collect::<anyhow::Result<_>>()?;
        options.cgroup_parent.clone_from(&self.cgroup_parent);
        options.log = LogConfig { driver: self.log_driver.parse()?, options: values::labels(&self.log_opt) };
        Ok(())
    }
}

/// `DISK:RATE`, each.
fn rates(flag: &str, list: &[String], read: impl Fn(&str) -> Result<u64, String>) -> anyhow::Result<Vec<DiskRate>> {
    let rate = |text: &String| {
        let (path, rate) = text.split_once(':').ok_or_else(|| anyhow!("{flag} {text:?}: write DISK:RATE"))?;
        if !path.starts_with("/dev/") {
            return Err(anyhow!("{flag} {text:?}: {path:?} is no path of a device"));
        }
        let rate = read(rate).map_err(|reason| anyhow!("{flag} {text:?}: {reason}"))?;
        Ok(DiskRate { path: path.into(), rate })
    };
    list.iter().map(rate).collect()
}
