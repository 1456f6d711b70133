//! Chapter 3's program: a command in a root of its own.

mod demo;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use namespaces::{IdMaps, NamespaceKind, NamespaceStep, Plan, isolate, rootless};
use process::{Event, ProcessStep, Program, explain, reaper};
use rootfs::{DeviceSupply, MountEntry, MountOptions, MountPropagationFlags, RootedStep, RootfsStep};

/// Run a command inside a directory that is all it can see, and try to climb out.
///
/// Without --root a root is put together from this machine's /usr, shown read-only. Try:
///
///   ch03-rootfs -- sh -c 'ls /; ls /..; cat /proc/1/mountinfo'
///   ch03-rootfs --explain --root DIR -- /bin/sh
///   ch03-rootfs --show --proc hidepid=2,subset=pid -- ls /proc
///   ch03-rootfs --root DIR --resolve ../../etc/passwd
#[derive(Parser)]
#[command(name = "ch03-rootfs", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    /// The directory that becomes the root.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Options of the procfs inside, as mount(8) takes them.
    #[arg(long, value_delimiter = ',', value_name = "OPTION")]
    proc: Vec<String>,
    /// Show what this process and the command find at `/`, side by side.
    #[arg(long)]
    show: bool,
    /// Run nothing, and show where this path leads in the root: as a string, and by the resolver.
    #[arg(long, value_name = "PATH", requires = "root")]
    resolve: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(required_unless_present = "resolve", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The checkpoint at which the root is complete, and nothing is executed yet.
const COMPLETE: &str = "complete";

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let code = run(arguments).unwrap_or_else(|error| {
        eprintln!("ch03-rootfs: {error:#}");
        125
    });
    std::process::exit(i32::from(code));
}

fn run(arguments: Arguments) -> anyhow::Result<u8> {
    if let (Some(path), Some(root)) = (&arguments.resolve, &arguments.root) {
        return demo::resolve(root, path).map(|()| 0);
    }
    let signals = reaper::listen()?;
    let borrowed = Borrowed::new()?;
    let (root, mut mounts) = match &arguments.root {
        Some(root) => (root.canonicalize().with_context(|| format!("open root {root:?}"))?, Vec::new()),
        None => (borrowed.path.clone(), borrowed.mounts()?),
    };
    mounts.extend(rootfs::standard_mounts());
    for entry in mounts.iter_mut().filter(|entry| entry.target == Path::new("/proc")) {
        entry.add_options(&MountOptions::parse(&arguments.proc)?);
    }
    let plan = Plan::create(kinds());
    let program = Program {
        arguments: arguments.command,
        environment: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
    };
    let maps = IdMaps::only_root();
    let mut child = isolate(&plan, None, Some(&maps), steps(&root, mounts, program))?;
    match child.next_event()? {
        Event::Reached(..) if arguments.show => demo::side_by_side(child.pid())?,
        Event::Reached(..) => {}
        Event::Failed(error) => return Err(error.into()),
        Event::Execed => anyhow::bail!("init skipped its checkpoint {COMPLETE:?}"),
    }
    child.go()?;
    child.run_to_exec()?;
    Ok(reaper::supervise(child.pidfd(), child.pid(), &signals)?.code())
}

/// A root, from the mount namespace's first moment to the program's.
fn steps(root: &Path, mounts: Vec<MountEntry>, program: Program) -> Vec<RootedStep> {
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
    let mut steps: Vec<RootedStep> = vec![
        NamespaceStep::HostName("cask".to_owned()).into(),
        RootfsStep::Isolate(MountPropagationFlags::DOWNSTREAM).into(),
        RootfsStep::BindRoot(root.to_owned()).into(),
        RootfsStep::AttachRoot(root.to_owned()).into(),
    ];
    steps.extend(mounts.into_iter().map(|mount| RootfsStep::Mount(mount).into()));
    steps.extend([
        RootfsStep::Devices(rootfs::default_devices(), device_supply()).into(),
        RootfsStep::PivotRoot.into(),
        RootfsStep::ReadOnly(paths(&rootfs::READ_ONLY)).into(),
        RootfsStep::Mask(paths(&rootfs::MASKED)).into(),
        ProcessStep::Checkpoint(COMPLETE).into(),
        ProcessStep::ResetSignals.into(),
        ProcessStep::CloseOnExec { preserve: 0 }.into(),
        ProcessStep::Exec(program).into(),
    ]);
    steps
}

/// Device nodes are made by the machine's root alone; a user namespace borrows them.
fn device_supply() -> DeviceSupply {
    let root = rustix::process::geteuid().is_root() && !rootless::is_rootless();
    if root { DeviceSupply::Make } else { DeviceSupply::BindFromHost }
}

fn kinds() -> Vec<NamespaceKind> {
    let root = rustix::process::geteuid().is_root();
    let wanted = |kind: &NamespaceKind| *kind != NamespaceKind::Time && !(root && *kind == NamespaceKind::User);
    NamespaceKind::ALL.into_iter().filter(wanted).collect()
}

/// A directory to put a root together in, removed at the end. The mounts in it are the child's alone.
struct Borrowed {
    path: PathBuf,
}

impl Borrowed {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("ch03-rootfs.{}", process::Pid::this()));
        std::fs::create_dir(&path).with_context(|| format!("create {path:?}"))?;
        Ok(Self { path })
    }

    /// `/usr`, and what of `/bin`, `/lib` and their like is not a mere link into it.
    fn mounts(&self) -> anyhow::Result<Vec<MountEntry>> {
        let mut mounts = vec![rootfs::borrowed(Path::new("/usr"))];
        for name in ["bin", "sbin", "lib", "lib64"] {
            let host = Path::new("/").join(name);
            match std::fs::read_link(&host) {
                Ok(target) => std::os::unix::fs::symlink(target, self.path.join(name))?,
                Err(_) if host.is_dir() => mounts.push(rootfs::borrowed(&host)),
                Err(_) => {}
            }
        }
        Ok(mounts)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // A directory that cannot be removed is an empty one in /tmp, which is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
