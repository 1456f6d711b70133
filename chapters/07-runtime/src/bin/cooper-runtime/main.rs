//! The OCI runtime, as a program that other engines call.

mod arguments;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arguments::{Arguments, Command, Create, Exec, Kill};
use clap::Parser as _;
use process::{ExitStatus, Pid, pty::Size, reaper, signals, signals::SignalFd};
use runtime::{All, Force, RootSource, Spec, Started, StateDir, Stdio, console, spec};

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        process::explain::install(format);
    }
    let log = arguments.log.clone().map(|file| (file, arguments.log_format.clone()));
    let code = run(arguments).unwrap_or_else(|error| {
        report(&error, log.as_ref());
        error.downcast_ref().map_or(1, runtime::Error::exit_code)
    });
    std::process::exit(i32::from(code));
}

/// Hosts read the last line of the log file, in logrus' shape, to show it to their users.
fn report(error: &anyhow::Error, log: Option<&(PathBuf, String)>) {
    eprintln!("cooper-runtime: {error:#}");
    let Some((file, format)) = log else { return };
    let message = format!("{error:#}");
    let line = if format == "json" {
        let time = jiff::Timestamp::now().to_string();
        serde_json::json!({"level": "error", "msg": message, "time": time}).to_string()
    } else {
        format!("level=error msg={message:?}")
    };
    let appended = std::fs::OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| {
        use std::io::Write as _;
        writeln!(file, "{line}")
    });
    if let Err(error) = appended {
        eprintln!("cooper-runtime: write {file:?}: {error}");
    }
}

fn run(arguments: Arguments) -> anyhow::Result<u8> {
    if matches!(arguments.command, Command::Create(_) | Command::Run(_) | Command::Exec(_)) {
        rootfs::self_exe::protect()?;
    }
    let state = StateDir::new(arguments.root.unwrap_or_else(default_root));
    match arguments.command {
        Command::Create(wanted) => create(&state, &wanted).map(|_| 0),
        Command::Start { id } => runtime::start(&state, &id).map(|()| 0).map_err(Into::into),
        Command::Run(wanted) => run_whole(&state, &wanted),
        Command::State { id } => {
            println!("{}", serde_json::to_string_pretty(&runtime::state(&state, &id)?)?);
            Ok(0)
        }
        Command::Kill(Kill { all, id, signal }) => {
            let all = if all { All::Yes } else { All::No };
            runtime::kill(&state, &id, signals::parse(&signal)?, all)?;
            Ok(0)
        }
        Command::Delete { force, id } => {
            runtime::delete(&state, &id, if force { Force::Yes } else { Force::No })?;
            Ok(0)
        }
        Command::Exec(wanted) => exec(&state, wanted),
        Command::List { format, quiet } => list(&state, &format, quiet),
        Command::Spec { rootless } => write_spec(rootless),
    }
}

fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) if !rustix::process::geteuid().is_root() => Path::new(&directory).join("cooper-runtime"),
        _ => PathBuf::from("/run/cooper-runtime"),
    }
}

fn create(state: &StateDir, wanted: &Create) -> anyhow::Result<runtime::Created> {
    let bundle = wanted.bundle.canonicalize().with_context(|| format!("open bundle {:?}", wanted.bundle))?;
    let spec = spec::load(&bundle)?;
    let root = spec.root().as_ref().context("config.json: root: missing")?;
    let root = RootSource::Directory(bundle.join(root.path()));
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    let stdio = if terminal { Stdio::Terminal { size: size(&spec) } } else { Stdio::Inherit };
    let mut created = runtime::create(runtime::Create {
        id: &wanted.id,
        spec: &spec,
        bundle: &bundle,
        root,
        stdio,
        state,
        on_namespaces: None,
        preserve: wanted.preserve_fds,
    })?;
    if let Some(socket) = &wanted.console_socket {
        let master = created.console.take().context("--console-socket: the configuration asks for no terminal")?;
        use std::os::fd::AsFd as _;
        console::hand_over(master.as_fd(), socket)?;
    }
    write_pid(wanted.pid_file.as_deref(), created.pid)?;
    Ok(created)
}

fn size(spec: &Spec) -> Size {
    let size = spec.process().as_ref().and_then(|process| process.console_size());
    let cut = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    size.map_or_else(Size::default, |size| Size { rows: cut(size.height()), columns: cut(size.width()) })
}

fn write_pid(file: Option<&Path>, pid: Pid) -> anyhow::Result<()> {
    file.map_or(Ok(()), |file| std::fs::write(file, pid.to_string()).with_context(|| format!("write {file:?}")))
}

fn run_whole(state: &StateDir, wanted: &arguments::Run) -> anyhow::Result<u8> {
    let signals = reaper::listen()?;
    let id = &wanted.create.id;
    let started = create(state, &wanted.create).and_then(|created| Ok(created.start()?));
    match started {
        Ok(_) if wanted.detach => Ok(0),
        Ok(started) => {
            let status = follow(started, &signals);
            runtime::delete(state, id, Force::Yes)?;
            Ok(status?.code())
        }
        Err(error) => {
            // An id that was taken belongs to another container.
            if !matches!(error.downcast_ref(), Some(runtime::Error::Exists(_))) {
                runtime::delete(state, id, Force::Yes)?;
            }
            Err(error)
        }
    }
}

/// Waits for a process that is our child, its terminal shown on ours if it has one.
fn follow(started: Started, signals: &SignalFd) -> anyhow::Result<ExitStatus> {
    let Started { pid, pidfd, console } = started;
    match console {
        Some(master) => Ok(console::relay(master, &pidfd, pid, signals)?),
        None => Ok(reaper::supervise(&pidfd, pid, signals)?),
    }
}

fn exec(state: &StateDir, wanted: Exec) -> anyhow::Result<u8> {
    let signals = reaper::listen()?;
    let process = process_of(state, &wanted)?;
    let terminal = process.terminal().unwrap_or(false);
    let stdio = if terminal { Stdio::Terminal { size: Size::default() } } else { Stdio::Inherit };
    let mut started = runtime::exec(runtime::Exec { id: &wanted.id, process: &process, program: None, stdio, state })?;
    if let Some(socket) = &wanted.console_socket {
        let master = started.console.take().context("--console-socket: the process asks for no terminal")?;
        use std::os::fd::AsFd as _;
        console::hand_over(master.as_fd(), socket)?;
    }
    write_pid(wanted.pid_file.as_deref(), started.pid)?;
    if wanted.detach { Ok(0) } else { Ok(follow(started, &signals)?.code()) }
}

/// The process of `exec`: from a file, or the container's own with another command.
fn process_of(state: &StateDir, wanted: &Exec) -> anyhow::Result<oci_spec::runtime::Process> {
    if let Some(file) = &wanted.process {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {file:?}"))?;
        return serde_json::from_str(&text).with_context(|| format!("read {file:?}"));
    }
    anyhow::ensure!(!wanted.command.is_empty(), "exec: no command given");
    let spec = spec::load(&state.container(&wanted.id)?)?;
    let mut process = spec.process().clone().context("config.json: process: missing")?;
    let mut environment = process.env().clone().unwrap_or_default();
    environment.extend(wanted.env.iter().cloned());
    process.set_args(Some(wanted.command.clone())).set_env(Some(environment)).set_terminal(Some(wanted.tty));
    if let Some(directory) = &wanted.cwd {
        process.set_cwd(directory.clone());
    }
    Ok(process)
}

fn list(state: &StateDir, format: &str, quiet: bool) -> anyhow::Result<u8> {
    let records = runtime::list(state)?;
    if format == "json" {
        let row = |record: &runtime::Record| {
            let mut row = serde_json::json!(record.state);
            row["created"] = serde_json::json!(record.created);
            row["pid"] = serde_json::json!(record.state.pid.map_or(0, Pid::get));
            row
        };
        println!("{}", serde_json::Value::from_iter(records.iter().map(row)));
        return Ok(0);
    }
    if !quiet {
        println!("{:<24} {:>8} {:<8} {:<32} CREATED", "ID", "PID", "STATUS", "BUNDLE");
    }
    for runtime::Record { state, created, .. } in &records {
        let (pid, status) = (state.pid.map_or(0, Pid::get), state.status.to_string());
        match quiet {
            true => println!("{}", state.id),
            false => println!("{:<24} {pid:>8} {status:<8} {:<32} {created}", state.id, state.bundle.display()),
        }
    }
    Ok(0)
}

fn write_spec(rootless: bool) -> anyhow::Result<u8> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let spec = spec::example(rootless.then_some((uid, gid)));
    let file = std::fs::File::create_new("config.json").context("create config.json")?;
    serde_json::to_writer_pretty(file, &spec).context("write config.json")?;
    Ok(0)
}
