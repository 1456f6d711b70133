//! The controllers, one a file: what each is told for a limit, and what it has counted.
//!
//! Each file holds pure functions only. One makes the pairs of file and value that a [`Limits`] means to its
//! controller in either generation; the other turns the texts of its files into numbers. Who writes and who reads is
//! the business of `v2` and `v1`.

use std::borrow::Cow;
use std::fmt;

use process::CallError;
use serde::{Deserialize, Serialize};

use crate::{Limits, Stats};

pub(crate) mod cpu;
mod cpuset;
pub(crate) mod hugetlb;
pub(crate) mod io;
pub(crate) mod memory;
pub(crate) mod net;
mod pids;
mod pressure;
pub(crate) mod rdma;

/// A generation of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// A tree for each controller.
    V1,
    /// One tree.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        })
    }
}

/// A part of the kernel that limits or counts one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Controller {
    Cpu,
    /// v1 counts CPU time apart; on v2 it is part of `cpu`.
    Cpuacct,
    Cpuset,
    Memory,
    Pids,
    /// Reading and writing of disks: `blkio` on v1.
    Io,
    /// Huge pages.
    Hugetlb,
    /// v1 has files for it; on v2 it is a BPF program.
    Devices,
    /// v1; on v2 every cgroup can be frozen.
    Freezer,
    /// Classes of packets; v1.
    NetCls,
    /// Priorities of packets; v1.
    NetPrio,
    /// RDMA devices.
    Rdma,
}

impl Controller {
    /// Every controller that this engine uses.
    pub const ALL: [Controller; 12] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Pids,
        Controller::Io,
        Controller::Hugetlb,
        Controller::Devices,
        Controller::Freezer,
        Controller::NetCls,
        Controller::NetPrio,
        Controller::Rdma,
    ];

    /// The kernel's name in v2, and in v1 but for [`Controller::Io`].
    pub const fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Io => "io",
            Controller::Hugetlb => "hugetlb",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
            Controller::NetCls => "net_cls",
            Controller::NetPrio => "net_prio",
            Controller::Rdma => "rdma",
        }
    }

    /// The kernel's name in one generation.
    pub const fn name_in(self, version: Version) -> &'static str {
        match (self, version) {
            (Controller::Io, Version::V1) => "blkio",
            _ => self.name(),
        }
    }

    /// The controller whose files begin with this word: `memory` for `memory.high`.
    pub(crate) fn of_file(file: &str) -> Option<Self> {
        let (prefix, _) = file.split_once('.')?;
        Self::ALL.into_iter().find(|controller| controller.name() == prefix)
    }
}

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Whose file it is.
    pub controller: Controller,
    /// Its name in the cgroup's directory.
    pub file: Cow<'static, str>,
    /// What to write.
    pub value: String,
    /// What to do where a kernel has no such file.
    pub if_missing: IfMissing,
}

/// What to do where a kernel lacks a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum IfMissing {
    /// The limit cannot be kept: an error.
    Fail,
    /// Go without. Only where the limit was not asked for by itself, and its lack lets nobody out.
    GoWithout,
    /// Another part of the kernel has the same limit under another name, in its own numbers.
    Write(&'static str, String),
}

impl Setting {
    fn new(controller: Controller, file: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        Self { controller, file: file.into(), value: value.to_string(), if_missing: IfMissing::Fail }
    }

    fn or(self, if_missing: IfMissing) -> Self {
        Self { if_missing, ..self }
    }
}

impl Limits {
    /// The files that express these limits, in the order in which they are written.
    ///
    /// Devices are not among them: see [`crate::devices`].
    ///
    /// # References
    /// cgroups(7); linux/Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/; OCI runtime spec, config-linux.md
    // hole: limits-to-files
    pub fn files(&self, version: Version) -> Vec<Setting> {
        let parts = match version {
            Version::V2 => [
                memory::on_v2(self),
                cpu::on_v2(self),
                cpuset::on_either(self),
                pids::on_either(self),
                io::on_v2(self),
                hugetlb::on_v2(self),
                rdma::on_either(self),
                Vec::new(),
            ],
            Version::V1 => [
                memory::on_v1(self),
                cpu::on_v1(self),
                cpuset::on_either(self),
                pids::on_either(self),
                io::on_v1(self),
                hugetlb::on_v1(self),
                rdma::on_either(self),
                net::on_v1(self),
            ],
        };
        let mut files = parts.concat();
        // Last, so that a file that is named outright has the last word.
        files.extend(
            self.unified
                .iter()
                .filter_map(|(file, value)| Some(Setting::new(Controller::of_file(file)?, file.clone(), value))),
        );
        files
    }
}

/// Reads one file of a group, by its controller and its name; `None` if this kernel has no such file.
pub(crate) type Read<'a> = dyn Fn(Controller, &str) -> Result<Option<String>, CallError> + 'a;

/// Everything that v2 has counted for a group.
pub(crate) fn counted_by_v2(read: &Read<'_>, page_sizes: &[String]) -> Result<Stats, CallError> {
    Ok(Stats {
        memory: memory::counted_by_v2(read)?,
        cpu: cpu::counted_by_v2(read)?,
        pids: pids::counted(read)?,
        io: io::counted_by_v2(read)?,
        hugetlb: hugetlb::counted_by_v2(read, page_sizes)?,
        pressure: pressure::counted(read)?,
    })
}

/// Everything that v1 has counted for a group.
pub(crate) fn counted_by_v1(read: &Read<'_>, page_sizes: &[String]) -> Result<Stats, CallError> {
    Ok(Stats {
        memory: memory::counted_by_v1(read)?,
        cpu: cpu::counted_by_v1(read)?,
        pids: pids::counted(read)?,
        io: io::counted_by_v1(read)?,
        hugetlb: hugetlb::counted_by_v1(read, page_sizes)?,
        // Pressure is v2's; a hybrid machine counts it for the groups of its v2 tree, in which our processes are not.
        pressure: None,
    })
}

/// The word for "no limit", or the number.
fn or_max(number: Option<u64>) -> String {
    number.map_or_else(|| "max".to_owned(), |number| number.to_string())
}

/// A number from a file with nothing else in it; `None` where there is no such file or no limit.
fn number(read: &Read<'_>, controller: Controller, file: &str) -> Result<Option<u64>, CallError> {
    Ok(read(controller, file)?.and_then(|text| crate::file::ceiling(&text)))
}

/// A keyed file's text; empty where there is no such file.
fn text(read: &Read<'_>, controller: Controller, file: &str) -> Result<String, CallError> {
    Ok(read(controller, file)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
