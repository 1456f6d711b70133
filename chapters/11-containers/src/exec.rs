//! Another process in a running container.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Process, Spec};
use process::{During as _, Pid, PidFd, pty, state};
use rootfs::Root;
use runtime::{Exec, Stdio};
use serde_json::{Value, json};

use crate::console::{self, Console, Input, Notice, Output};
use crate::detach::DetachKeys;
use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::framing::Stream;
use crate::id::ContainerId;
use crate::mounts::clean;
use crate::record::Container;
use crate::settings::set;
use crate::user;

/// What `exec` may be asked.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `-t`.
    pub terminal: bool,
    /// `-i`.
    pub interactive: bool,
    /// `-d`: do not wait for it.
    pub detach: bool,
    /// `-e`, on top of the container's own environment.
    pub env: Vec<String>,
    /// `-w`; the container's if absent.
    pub workdir: Option<String>,
    /// `-u`; the container's if absent.
    pub user: Option<String>,
    /// `--privileged`.
    pub privileged: bool,
    /// `--detach-keys`.
    pub detach_keys: DetachKeys,
}

/// Our ends of the new process's streams.
struct Ours {
    stdin: Option<OwnedFd>,
    outputs: Vec<(OwnedFd, Stream)>,
}

impl Engine {
    /// Runs a program in a running container with this process's standard streams, and returns its exit code.
    ///
    /// The new process is a child of the caller, which must have one thread: a server executes the CLI instead.
    ///
    /// # Errors
    /// [`Error::WrongState`] when the container does not run; 126 and 127 for a program that cannot be executed or found.
    pub fn exec(&self, id: &ContainerId, options: &ExecOptions) -> Result<u8> {
        self.exec_from(id, options, None)
    }

    /// The same for a program of the caller's, which need not be in the container: the command is only what it is told.
    ///
    /// `program` is open on an executable that needs no library, and that nobody can write to any more (a sealed memfd).
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub fn exec_program(&self, id: &ContainerId, options: &ExecOptions, program: BorrowedFd<'_>) -> Result<u8> {
        self.exec_from(id, options, Some(program))
    }

    fn exec_from(&self, id: &ContainerId, options: &ExecOptions, program: Option<BorrowedFd<'_>>) -> Result<u8> {
        let container = self.running(id, "exec")?;
        let process = plan(&container, options)?;
        let (stdio, ours) = streams(options)?;
        let state = self.runtime();
        let started = runtime::exec(Exec {
            id: id.as_str(),
            process: &process,
            program,
            stdio,
            state: &state,
            options: Default::default(),
        });
        let started = started.map_err(|error| {
            let exit_code = error.exit_code();
            Error::Below {
                operation: "exec in",
                object: container.name().to_owned(),
                reason: Box::new(error),
                exit_code,
            }
        })?;
        if options.detach {
            return Ok(0);
        }
        let terminal =
            started.console.as_ref().map(|master| master.try_clone()).transpose().during("dup", "terminal")?;
        let console = console(options, ours, started.console, PidFd::open(started.pid)?)?;
        let ended = console.run(&mut |notice| match (notice, &terminal) {
            // The process may have ended in this moment; then nobody is there to be told.
            (Notice::Resized(size), Some(terminal)) => drop(pty::resize(std::os::fd::AsFd::as_fd(terminal), size)),
            (Notice::Signal(signal), _) => drop(started.pidfd.signal(signal)),
            (Notice::Resized(_), None) => {}
        })?;
        match ended {
            console::Ended::Detached => Ok(0),
            console::Ended::Closed => Ok(started.pidfd.wait()?.code()),
        }
    }
}

/// The container's own process, with what is asked changed.
pub(crate) fn plan(container: &Container, options: &ExecOptions) -> Result<Process> {
    if options.command.is_empty() {
        return Err(Error::bad("exec", "", "no command was given"));
    }
    let spec: Spec = state::read_json(&container.directory().join("config.json"))?;
    let mut process = serde_json::to_value(spec.process()).doing("read", "config.json")?;
    process["args"] = json!(options.command);
    process["terminal"] = json!(options.terminal);

    let mut env: Vec<String> = serde_json::from_value(process["env"].take()).unwrap_or_default();
    if options.terminal && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    if let Some(wanted) = &options.user {
        // In the container's own files as they are now, through its own root, which no link of it leaves.
        let pid = container.life()?.pid.ok_or_else(|| Error::bad("exec", container.name(), "it has just ended"))?;
        let (identity, home) = user::resolve(&root_of(pid)?, wanted, &container.record().options.groups)?;
        process["user"] = json!({ "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups });
        if !container.record().settings.env.iter().any(|entry| entry.starts_with("HOME=")) {
            set(&mut env, &format!("HOME={}", home.as_deref().unwrap_or("/")));
        }
    }
    for entry in &options.env {
        set(&mut env, entry);
    }
    process["env"] = json!(env);
    if let Some(workdir) = &options.workdir {
        if !workdir.starts_with('/') {
            return Err(Error::bad("--workdir", workdir, "the working directory must be an absolute path"));
        }
        process["cwd"] = json!(clean(Path::new(workdir)));
    }
    if options.privileged {
        let all = privileges::CapSet::obtainable();
        process["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all,
                                          "inheritable": Value::Array(vec![]), "ambient": Value::Array(vec![]) });
    }
    serde_json::from_value(process).doing("plan", "exec")
}

fn root_of(pid: Pid) -> Result<Root> {
    Ok(Root::open(Path::new(&format!("/proc/{pid}/root")))?)
}

/// Pipes even where our own streams are at hand: a container never gets a descriptor of the host's terminal.
fn streams(options: &ExecOptions) -> Result<(Stdio, Ours)> {
    if options.terminal {
        return Ok((
            Stdio::Terminal { size: console::size().unwrap_or_default() },
            Ours { stdin: None, outputs: Vec::new() },
        ));
    }
    let null = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").during("open", "/dev/null");
    if options.detach {
        let stdio = Stdio::Descriptors { stdin: null()?.into(), stdout: null()?.into(), stderr: null()?.into() };
        return Ok((stdio, Ours { stdin: None, outputs: Vec::new() }));
    }
    let (stdin, ours): (OwnedFd, Option<OwnedFd>) = match options.interactive {
        true => std::io::pipe().map(|(theirs, ours)| (theirs.into(), Some(ours.into()))).during("pipe", "stdin")?,
        false => (null()?.into(), None),
    };
    let (out, stdout) = std::io::pipe().during("pipe", "stdout")?;
    let (err, stderr) = std::io::pipe().during("pipe", "stderr")?;
    let stdio = Stdio::Descriptors { stdin, stdout: stdout.into(), stderr: stderr.into() };
    Ok((stdio, Ours { stdin: ours, outputs: vec![(out.into(), Stream::Stdout), (err.into(), Stream::Stderr)] }))
}

fn console(options: &ExecOptions, ours: Ours, master: Option<OwnedFd>, process: PidFd) -> Result<Console> {
    let (input, outputs) = match master {
        Some(master) => {
            let typed = master.try_clone().during("dup", "terminal")?;
            (options.interactive.then_some(Input::Terminal(typed)), vec![Output::Plain(master, Stream::Stdout)])
        }
        None => {
            let outputs = ours.outputs.into_iter().map(|(fd, stream)| Output::Plain(fd, stream)).collect();
            (ours.stdin.map(Input::Pipe), outputs)
        }
    };
    Ok(Console {
        muted: Vec::new(),
        input,
        outputs,
        terminal: options.terminal,
        signals: true,
        until: Some(process),
        keys: options.detach_keys.clone(),
    })
}
