//! `checkpoint` and `restore`: a container written to disk, and let go on.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use process::reaper;
use runtime::{Afterwards, Allowed, Checkpoint, Criu, Force, Restore, StateDir, spec};

use crate::arguments::Settings;
use crate::container;
use crate::log::Log;

/// What both commands are told of CRIU.
#[derive(Args)]
pub(crate) struct Images {
    /// The directory of the images.
    #[arg(long, default_value = "checkpoint", value_name = "DIR")]
    image_path: PathBuf,
    /// The directory of CRIU's log; that of the images if none.
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Include open TCP connections.
    #[arg(long)]
    tcp_established: bool,
    /// Include Unix sockets whose other end is outside.
    #[arg(long)]
    ext_unix_sk: bool,
    /// Include a session that was begun outside.
    #[arg(long)]
    shell_job: bool,
    /// Include file locks; nobody outside may hold one of them.
    #[arg(long)]
    file_locks: bool,
    /// Remove from earlier images what later ones have anew.
    #[arg(long)]
    auto_dedup: bool,
    /// Make this namespace, and restore nothing into it.
    #[arg(long, value_name = "NAMESPACE", value_parser = ["network"])]
    empty_ns: Option<String>,
    /// What CRIU does about properties of cgroups: it keeps those that are there.
    #[arg(long, value_name = "MODE", default_value = "soft", value_parser = ["soft"])]
    manage_cgroups_mode: String,
}

#[derive(Args)]
pub(crate) struct Frozen {
    #[command(flatten)]
    images: Images,
    /// The images of an earlier --pre-dump, as a path that begins at those of this.
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Let it run on.
    #[arg(long)]
    leave_running: bool,
    /// Write only its memory, and let it run on.
    #[arg(long)]
    pre_dump: bool,
    /// The container.
    id: String,
}

#[derive(Args)]
pub(crate) struct Thawed {
    #[command(flatten)]
    images: Images,
    /// The bundle's directory.
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    bundle: PathBuf,
    /// Do not wait for it.
    #[arg(short, long)]
    detach: bool,
    /// Write the first process's pid to this file.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Leave processes that lose their parent to others.
    #[arg(long)]
    no_subreaper: bool,
    /// The container's id.
    id: String,
}

impl Images {
    fn allowed(&self) -> Vec<Allowed> {
        let asked = [
            (self.tcp_established, Allowed::TcpEstablished),
            (self.ext_unix_sk, Allowed::ExternalUnixSockets),
            (self.shell_job, Allowed::ShellJob),
            (self.file_locks, Allowed::FileLocks),
            (self.auto_dedup, Allowed::AutoDedup),
            (self.empty_ns.is_some(), Allowed::EmptyNetwork),
        ];
        asked.into_iter().filter_map(|(asked, allowed)| asked.then_some(allowed)).collect()
    }

    fn criu<'a>(&'a self, program: &'a Path, allowed: &'a [Allowed]) -> Criu<'a> {
        Criu { program, images: &self.image_path, work: self.work_path.as_deref(), allowed }
    }
}

pub(crate) fn checkpoint(state: &StateDir, wanted: &Frozen, settings: &Settings, log: &Log) -> anyhow::Result<u8> {
    let allowed = wanted.images.allowed();
    let warnings = runtime::checkpoint(&Checkpoint {
        id: &wanted.id,
        state,
        criu: wanted.images.criu(&settings.criu, &allowed),
        parent: wanted.parent_path.as_deref(),
        afterwards: match (wanted.pre_dump, wanted.leave_running) {
            (true, _) => Afterwards::Again,
            (false, true) => Afterwards::Running,
            (false, false) => Afterwards::Deleted,
        },
    })?;
    log.warnings(warnings);
    Ok(0)
}

pub(crate) fn restore(state: &StateDir, wanted: &Thawed, settings: &Settings, log: &Log) -> anyhow::Result<u8> {
    if !wanted.detach && !wanted.no_subreaper {
        reaper::adopt_orphans()?;
    }
    let signals = reaper::listen()?;
    let bundle = wanted.bundle.canonicalize().with_context(|| format!("open bundle {:?}", wanted.bundle))?;
    let spec = spec::load(&bundle)?;
    let allowed = wanted.images.allowed();
    let criu = wanted.images.criu(&settings.criu, &allowed);
    let started = runtime::restore(&Restore { id: &wanted.id, spec: &spec, bundle: &bundle, state, criu })?;
    if let Err(error) = container::write_pid(wanted.pid_file.as_deref(), started.pid) {
        runtime::delete(state, &wanted.id, Force::Yes)?;
        return Err(error);
    }
    if wanted.detach {
        return Ok(0);
    }
    let status = container::follow(started, &signals);
    log.warnings(runtime::delete(state, &wanted.id, Force::Yes)?);
    Ok(status?.code())
}
