//! `restore`: a container that goes on where a checkpoint has stopped it.

use std::ffi::OsString;
use std::path::Path;

use cgroups::{Cgroup, CgroupPath};
use namespaces::{Join, NamespaceKind, Plan, isolate};
use oci_spec::runtime::Spec;
use process::{During as _, Event, Pid, PidFd, ProcessStep, Program, Signal, kernel_file};
use rootfs::RootfsStep;

use crate::cgroup;
use crate::checkpoint::{self, Criu, Frozen, binds, confinement_of, frozen};
use crate::create::Started;
use crate::error::Error;
use crate::options::CreateOptions;
use crate::spec::Checked;
use crate::spec::refuse;
use crate::state::{Record, StateDir, Status};
use crate::step::RuntimeStep;

/// The checkpoint of a child at which the container's root is read-only.
const READ_ONLY: &str = "read-only root";

/// A container to let go on.
pub struct Restore<'a> {
    /// Its id, unique in `state`; it need not be the one that it had.
    pub id: &'a str,
    /// Its configuration.
    pub spec: &'a Checked,
    /// The directory that relative paths of the configuration begin at.
    pub bundle: &'a Path,
    /// Where its state lives.
    pub state: &'a StateDir,
    /// How CRIU is called.
    pub criu: Criu<'a>,
}

/// Lets a container go on from its images. Its standard streams, where they lead out, are this process's own.
///
/// Its processes are stopped when CRIU is done with them. They go on only if they are confined as those were that had been
/// written down.
///
/// # Errors
/// [`Error::Criu`] with what CRIU said; [`Error::Weaker`]; a configuration whose hooks prepare what is there already. Then
/// nothing is left.
///
/// # References
/// criu(8), "restore"; runc-restore(8)
pub fn restore(request: &Restore<'_>) -> Result<Started, Error> {
    check(request.spec)?;
    let frozen = frozen(request.criu.images)?;
    let directory = request.state.reserve(request.id)?;
    let mut made = None;
    let restored = go_on(request, &directory, &frozen, &mut made);
    if restored.is_err() {
        made.iter().for_each(checkpoint::discard);
        // The first error is the one to report.
        let _ = std::fs::remove_dir_all(&directory);
    }
    restored
}

fn check(spec: &Spec) -> Result<(), Error> {
    checkpoint::check(spec)?;
    #[allow(deprecated)]
    let early = |hooks: &oci_spec::runtime::Hooks| {
        hooks.prestart().iter().flatten().chain(hooks.create_runtime().iter().flatten()).count()
    };
    match spec.hooks().as_ref().map_or(0, early) {
        0 => Ok(()),
        _ => Err(refuse("hooks", "a container whose hooks prepare its namespaces cannot be restored".to_owned())),
    }
}

fn go_on(
    request: &Restore<'_>,
    directory: &Path,
    frozen: &Frozen,
    made: &mut Option<Cgroup>,
) -> Result<Started, Error> {
    let Restore { id, spec, .. } = *request;
    let mut record = record_of(request)?;
    request.state.write(&record)?;
    request.state.write_spec(id, spec)?;
    let options = CreateOptions { cgroup: crate::IfNoCgroup::Fail, ..CreateOptions::default() };
    let cgroup = cgroup::of_nobody_yet(spec, id, &options)?;
    let cgroup = made.insert(cgroup.ok_or_else(|| refuse("linux.cgroupsPath", "no cgroup could be made".to_owned()))?);
    record.cgroup = Some(cgroup.path().clone());
    request.state.write(&record)?;

    let root = directory.join("criu-root");
    std::fs::create_dir(&root).during("mkdir", root.display())?;
    let pid_file = directory.join("restored");
    let arguments = arguments(request, frozen, cgroup.path(), &root, &pid_file)?;
    run(request, &root, arguments)?;
    let pid = kernel_file::read_text(&pid_file).during("read", pid_file.display())?;
    let pid: Pid = pid.trim().parse()?;
    let pidfd = PidFd::open(pid)?;
    if spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        make_root_read_only(pid)?;
    }
    compare(&frozen.confinement, &confinement_of(pid)?)?;

    record.state.pid = Some(pid);
    record.start_time = Some(pid.start_time()?);
    record.state.status = Status::Running;
    record.creator = None;
    request.state.write(&record)?;
    for process in cgroup.processes()? {
        PidFd::open(process)?.signal(Signal::SIGCONT)?;
    }
    std::fs::remove_file(&pid_file).during("unlink", pid_file.display())?;
    std::fs::remove_dir(&root).during("rmdir", root.display())?;
    Ok(Started { pid, pidfd, console: None, warnings: Vec::new() })
}

fn record_of(request: &Restore<'_>) -> Result<Record, Error> {
    Ok(Record {
        creator: Some((Pid::this(), Pid::this().start_time()?)),
        rootfs: request.spec.root().as_ref().map(|root| request.bundle.join(root.path())),
        ..Record::begun(request.id, request.spec, request.bundle)
    })
}

fn arguments(
    request: &Restore<'_>,
    frozen: &Frozen,
    cgroup: &CgroupPath,
    root: &Path,
    pid_file: &Path,
) -> Result<Vec<OsString>, Error> {
    let mut arguments: Vec<OsString> = vec![request.criu.program.into(), "restore".into()];
    // Its parent shall be this process, and not CRIU, which ends.
    arguments.extend(["--restore-detached", "--restore-sibling", "--leave-stopped"].map(OsString::from));
    arguments.extend(["--root".into(), root.into(), "--pidfile".into(), pid_file.into()]);
    for (target, source) in binds(request.spec) {
        let source = request.bundle.join(source);
        arguments.extend(["--external".into(), format!("mnt[{}]:{}", target.display(), source.display()).into()]);
    }
    let mut seen = Vec::new();
    for (number, stream) in frozen.streams.iter().enumerate().filter(|(_, stream)| !stream.is_empty()) {
        if !seen.contains(&stream) {
            arguments.extend(["--inherit-fd".into(), format!("fd[{number}]:{stream}").into()]);
            seen.push(stream);
        }
    }
    let trees = kernel_file::read_text("/proc/self/cgroup").during("read", "/proc/self/cgroup")?;
    for controllers in trees.lines().filter_map(|line| line.split(':').nth(1)) {
        match controllers {
            "" => arguments.extend(["--cgroup-root".into(), cgroup.as_str().into()]),
            // Nobody is limited in a named tree, and no group is made there.
            named if named.starts_with("name=") => {}
            _ => arguments.extend(["--cgroup-root".into(), format!("{controllers}:{cgroup}").into()]),
        }
    }
    arguments.extend(request.criu.arguments("restore"));
    Ok(arguments)
}

/// Runs CRIU in a mount namespace of its own, in which the root is a mount: CRIU asks for one, and the machine has none.
fn run(request: &Restore<'_>, root: &Path, arguments: Vec<OsString>) -> Result<(), Error> {
    let source = request.spec.root().as_ref().map(|wanted| request.bundle.join(wanted.path()));
    let source = source.ok_or_else(|| refuse("root", "missing".to_owned()))?;
    let mut steps: Vec<RuntimeStep> = vec![
        RootfsStep::Isolate(rootfs::MountPropagationFlags::DOWNSTREAM).into(),
        RootfsStep::BindRoot(source).into(),
        RootfsStep::AttachRoot(root.to_owned()).into(),
    ];
    steps.push(ProcessStep::ResetSignals.into());
    let environment = std::env::vars_os().map(|(name, value)| {
        let mut entry = name;
        entry.push("=");
        entry.push(value);
        entry
    });
    let program = Program { arguments, environment: environment.collect() };
    steps.push(ProcessStep::Exec(program).into());
    let plan = Plan { create: vec![NamespaceKind::Mount], join: Vec::new() };
    let mut child = isolate(&plan, None, None, steps)?;
    match child.next_event()? {
        Event::Execed => {}
        Event::Failed(error) if error.step.starts_with("execve") => {
            let said = format!("{}; checkpoint and restore are CRIU's work", error.error);
            return Err(Error::Criu { operation: "restore", said });
        }
        Event::Failed(error) => return Err(error.into()),
        Event::Reached(name, _) => {
            child.discard();
            return Err(process::CallError::refused("run", name, "none of the plan's checkpoints").into());
        }
    }
    match child.into_pidfd().wait()?.code() {
        0 => Ok(()),
        _ => Err(request.criu.error("restore")),
    }
}

/// CRIU needs a root in which it can make a directory, so the root is made read-only when it is done: by a child that
/// enters the container's mount namespace while nobody moves there.
fn make_root_read_only(pid: Pid) -> Result<(), Error> {
    let plan = Plan { create: Vec::new(), join: vec![Join::Process(PidFd::open(pid)?, vec![NamespaceKind::Mount])] };
    let steps: Vec<RuntimeStep> = vec![RootfsStep::ReadOnlyRoot.into(), ProcessStep::Checkpoint(READ_ONLY).into()];
    let mut child = isolate(&plan, None, None, steps)?;
    match child.next_event()? {
        Event::Reached(..) => {
            child.discard();
            Ok(())
        }
        Event::Failed(error) => Err(error.into()),
        Event::Execed => Err(process::CallError::refused("run", READ_ONLY, "the plan has no program").into()),
    }
}

/// Whether what went on is as confined as what was stopped: CRIU before 4.0 forgets `no_new_privs`, for one.
fn compare(
    was: &std::collections::BTreeMap<String, String>,
    is: &std::collections::BTreeMap<String, String>,
) -> Result<(), Error> {
    match was.iter().find(|(name, value)| is.get(*name) != Some(value)) {
        None => Ok(()),
        Some((name, value)) => Err(Error::Weaker {
            field: name.clone(),
            was: value.clone(),
            is: is.get(name).cloned().unwrap_or_default(),
        }),
    }
}
