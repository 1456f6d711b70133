//! `exec`: a session is described first, started later, and asked for its exit code last.
//!
//! This process has threads and may not clone a process into a container, so a session runs
//! `cooper exec` and carries its streams. With a terminal, `cooper exec -t` gets one of its own to
//! read the size from and to put into raw mode: a pseudoterminal whose master is held here.

use std::fs::File;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::framing::Stream;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use process::pty::Size;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::engine::Api;
use crate::error::ApiError;
use crate::{framed, terminal, upgrade};

/// How many sessions are remembered. A client inspects its session right after the end.
const REMEMBERED: usize = 1024;

/// What a client asks to run.
///
/// # References
/// Docker Engine API v1.41, `ContainerExec`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Process {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    cmd: Vec<String>,
    env: Option<Vec<String>>,
    user: String,
    working_dir: String,
    privileged: bool,
}

/// A command in a container: described, running or ended.
#[derive(Debug)]
pub struct Session {
    container: String,
    process: Process,
    state: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    started: bool,
    pid: Option<u32>,
    code: Option<i32>,
    terminal: Option<File>,
}

/// `POST /containers/{id}/exec`.
pub async fn create(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Json(process): Json<Process>,
) -> Result<Response, ApiError> {
    if process.cmd.is_empty() {
        return Err(ApiError::bad_request("No exec command specified"));
    }
    if process.privileged {
        return Err(ApiError::not_implemented("Privileged is not supported by exec"));
    }
    let (container, running) = api
        .call(move |engine| {
            let container = engine.find(&id)?;
            Ok((container.id().to_string(), container.life()?.status.is_live()))
        })
        .await?;
    if !running {
        return Err(ApiError::conflict(format!("container {container} is not running")));
    }
    let id = session_id()?;
    let session = Session { container, process, state: Mutex::default() };
    let mut sessions = api.sessions();
    if sessions.len() >= REMEMBERED {
        sessions.retain(|_, session| session.progress(|p| p.code.is_none() && p.started));
    }
    sessions.insert(id.clone(), Arc::new(session));
    Ok((StatusCode::CREATED, Json(json!({ "Id": id }))).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StartBody {
    detach: bool,
}

/// `POST /exec/{id}/start`.
pub async fn start(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let session = find(&api, &id)?;
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 64 << 10).await;
    let bytes = bytes.map_err(|e| ApiError::bad_request(format!("read the body: {e}")))?;
    let asked: StartBody = match bytes.is_empty() {
        true => StartBody::default(),
        false => serde_json::from_slice(&bytes)
            .map_err(|e| ApiError::bad_request(format!("invalid body of exec start: {e}")))?,
    };
    if session.progress(|p| std::mem::replace(&mut p.started, true)) {
        return Err(ApiError::conflict(format!("exec {id} was started already")));
    }
    let command = session.command(&api);
    if asked.detach {
        let child = session.spawn(command, Stdio::null(), Stdio::null(), Stdio::null())?;
        tokio::spawn(async move { session.ended(child).await });
        return Ok(StatusCode::OK.into_response());
    }
    let request = Request::from_parts(parts, axum::body::Body::empty());
    upgrade::hijack(request, move |client| async move {
        match session.process.tty {
            true => session.run_terminal(command, client).await,
            false => session.run_pipes(command, client).await,
        }
    })
}

/// `GET /exec/{id}/json`.
pub async fn inspect(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let session = find(&api, &id)?;
    let process = &session.process;
    let (running, code, pid) = session.progress(|p| (p.started && p.code.is_none(), p.code, p.pid));
    let (program, arguments) = process.cmd.split_first().map_or(("", &[][..]), |(p, a)| (p, a));
    Ok(Json(json!({
        "ID": id,
        "Running": running,
        "ExitCode": code,
        "ProcessConfig": {
            "tty": process.tty,
            "entrypoint": program,
            "arguments": arguments,
            "privileged": false,
            "user": process.user,
        },
        "OpenStdin": process.attach_stdin,
        "OpenStdout": process.attach_stdout,
        "OpenStderr": process.attach_stderr,
        "CanRemove": !running,
        "ContainerID": session.container,
        "DetachKeys": "",
        "Pid": pid.unwrap_or(0),
    })))
}

/// A session by its id.
///
/// # Errors
/// 404.
pub fn find(api: &Api, id: &str) -> Result<Arc<Session>, ApiError> {
    let session = api.sessions().get(id).cloned();
    session.ok_or_else(|| ApiError::not_found(format!("No such exec instance: {id}")))
}

impl Session {
    /// Gives the session's terminal a new size, and tells `cooper exec` to look at it.
    pub(crate) fn resize(&self, size: Size) -> std::io::Result<()> {
        self.progress(|p| match (&p.terminal, p.pid) {
            (Some(master), Some(pid)) => terminal::resize(master, pid, size),
            _ => Ok(()),
        })
    }

    fn progress<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The command line of `cooper exec` for this session.
    fn command(&self, api: &Api) -> Command {
        let process = &self.process;
        let mut command = api.cooper();
        command.arg("exec");
        for (flag, on) in [("-i", process.attach_stdin), ("-t", process.tty)] {
            if on {
                command.arg(flag);
            }
        }
        for variable in process.env.iter().flatten() {
            command.arg("-e").arg(variable);
        }
        for (flag, value) in [("-u", &process.user), ("-w", &process.working_dir)] {
            if !value.is_empty() {
                command.arg(flag).arg(value);
            }
        }
        command.arg("--").arg(&self.container).args(&process.cmd);
        command
    }

    fn spawn(
        &self,
        mut command: Command,
        stdin: impl Into<Stdio>,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Result<Child, ApiError> {
        let spawned = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
        let child = spawned.map_err(|e| ApiError::internal(format!("run cooper exec: {e}")))?;
        self.progress(|p| p.pid = child.id());
        Ok(child)
    }

    /// Waits for `cooper exec`: its exit code is the command's.
    async fn ended(&self, mut child: Child) {
        let code = child.wait().await.ok().and_then(|status| status.code());
        self.progress(|p| {
            p.code = Some(code.unwrap_or(125));
            p.terminal = None;
        });
    }

    /// Without a terminal: two pipes out, framed, and one in.
    async fn run_pipes(&self, command: Command, client: TokioIo<Upgraded>) -> std::io::Result<()> {
        let stdin = || if self.process.attach_stdin { Stdio::piped() } else { Stdio::null() };
        let spawned = self.spawn(command, stdin(), Stdio::piped(), Stdio::piped());
        let mut child = spawned.map_err(|e| std::io::Error::other(e.message))?;
        let (mut from, to) = tokio::io::split(client);
        let to = tokio::sync::Mutex::new(to);
        let input = child.stdin.take().map(|mut stdin| {
            // Ends by itself when the client has said everything, and is cut off when the command ends.
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut stdin).await })
        });
        let (out, err) = (child.stdout.take(), child.stderr.take());
        if let (Some(out), Some(err)) = (out, err) {
            let copies = (framed::copy(Stream::Stdout, out, &to), framed::copy(Stream::Stderr, err, &to));
            // The client may be gone; the command's end is awaited all the same.
            let _gone = tokio::join!(copies.0, copies.1);
        }
        self.ended(child).await;
        if let Some(input) = input {
            input.abort();
        }
        to.into_inner().shutdown().await
    }

    /// With a terminal: both directions raw.
    async fn run_terminal(&self, command: Command, client: TokioIo<Upgraded>) -> std::io::Result<()> {
        let (master, slave) = terminal::open()?;
        self.progress(|p| p.terminal = master.try_clone().ok());
        let spawned = self.spawn(command, slave.try_clone()?, slave.try_clone()?, slave);
        let child = spawned.map_err(|e| std::io::Error::other(e.message))?;
        let (mut from, mut to) = tokio::io::split(client);
        let mut keys = tokio::fs::File::from_std(master.try_clone()?);
        let input = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                if keys.write_all(&buffer[..length]).await.is_err() || keys.flush().await.is_err() {
                    break;
                }
            }
        });
        let mut screen = tokio::fs::File::from_std(master);
        // EIO is how a master says that the last holder of the terminal has gone.
        let _closed = tokio::io::copy(&mut screen, &mut to).await;
        self.ended(child).await;
        input.abort();
        to.shutdown().await
    }
}

fn session_id() -> Result<String, ApiError> {
    let id = containers::ContainerId::random()?;
    Ok(id.to_string())
}
