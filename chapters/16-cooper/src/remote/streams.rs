//! Containers with this terminal in front of them, at a daemon: `run`, `create`, `start`, `attach`, `exec`, `logs`.
//!
//! The console is chapter 11's, the same as in front of a container of this machine: a daemon's connection carries what a
//! monitor's socket does, in Docker's stream format. Only sizes and signals go another way, as requests of their own.

use distribution::address::percent_encoded;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, bail};
use containers::{AttachOptions, AttachedStream, Ended, Notice, converse};
use serde_json::{Value, json};

use super::body::body;
use super::client::{Client, Refusal, document};
use super::containers::{code, path};
use super::http::Answer;
use super::{images, look};
use crate::exec::Exec;
use crate::failure::{Exit, each, report};
use crate::flags::{Flags, Pull};
use crate::lifecycle::Start;
use crate::logs::Logs;
use crate::run::{Attach, Create, Run, muted, needs_terminal, streams, write_id};
use crate::stdout::say;
use crate::values;

impl Run {
    /// As at home: attached before the start, so that nothing is missed, neither output nor the exit code.
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { words, detach, console, flags } = self;
        if *detach && !flags.attach.is_empty() {
            bail!("conflicting options: cannot specify both --attach and --detach");
        }
        let wanted = if *detach { Vec::new() } else { streams(flags) };
        let interactive = flags.interactive && wanted.contains(&AttachedStream::Stdin);
        if interactive && flags.tty {
            needs_terminal()?;
        }
        let id = create(far, flags, words, &wanted)?;
        if *detach {
            began(far, &id, flags.rm)?;
            say!("{id}");
            return Ok(0);
        }
        let options = AttachOptions { muted: muted(&wanted), ..console.options(interactive) };
        if options.muted.len() == 2 {
            say!("{id}");
        }
        let session = Session { far, id: &id, terminal: flags.tty };
        session.start(&options, flags.rm)
    }
}

impl Create {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { words, flags } = self;
        say!("{}", create(far, flags, words, &streams(flags))?);
        Ok(0)
    }
}

fn create(far: &Client, flags: &Flags, words: &[String], wanted: &[AttachedStream]) -> anyhow::Result<String> {
    let Some((name, command)) = words.split_first() else { bail!("which image?") };
    let mut options = flags.options(name, command)?;
    options.stdin_once = options.interactive && wanted.contains(&AttachedStream::Stdin);
    options.attached = wanted.to_vec();
    if let Some(path) = flags.cidfile.as_deref().filter(|path| path.exists()) {
        bail!("container ID file found, make sure the other container isn't running or delete {}", path.display());
    }
    if flags.pull == Pull::Always {
        images::pull(far, &name.parse()?, None, images::Told::Progress)?;
    }
    let query: Vec<_> = options.name.iter().map(|name| ("name", name.clone())).collect();
    let body = body(far, options)?;
    let created = match far.post("/containers/create", &query, Some(&body)) {
        Err(error) if flags.pull == Pull::Missing && images::is_missing(&error) => {
            eprintln!("Unable to find image '{name}' locally");
            images::pull(far, &name.parse()?, None, images::Told::Progress)?;
            far.post("/containers/create", &query, Some(&body))
        }
        created => created,
    }?;
    for warning in created["Warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("WARNING: {warning}");
    }
    let id = created["Id"].as_str().context("the daemon did not say what the container's id is")?.to_owned();
    if let Some(path) = &flags.cidfile {
        write_id(path, &id)?;
    }
    Ok(id)
}

/// Starts a container. One that was to be removed at its end and did not begin is removed.
fn began(far: &Client, id: &str, discard: bool) -> anyhow::Result<()> {
    let Err(error) = far.post(&path(id, "start"), &[], None) else { return Ok(()) };
    if discard {
        // It may be gone already; the error that is about to be reported is the reason.
        drop(far.delete(&format!("/containers/{id}"), &[("force", "true".to_owned()), ("v", "true".to_owned())]));
    }
    let words = error.downcast_ref().map(|refusal: &Refusal| refusal.message.to_lowercase()).unwrap_or_default();
    match start_code(&words) {
        None => Err(error),
        Some(code) => {
            report(&error);
            Err(Exit(code).into())
        }
    }
}

/// The exit code that docker gives a start that failed, read off the words as docker does: the API has no other way.
fn start_code(words: &str) -> Option<u8> {
    let has = |list: &[&str]| list.iter().any(|part| words.contains(part));
    let not_found = ["executable file not found", "no such file or directory", "system cannot find the file"];
    match (has(&not_found), has(&["permission denied", "is a directory"])) {
        (true, _) => Some(127),
        (_, true) => Some(126),
        _ => None,
    }
}

/// A container with this terminal in front of it.
struct Session<'a> {
    far: &'a Client,
    id: &'a str,
    terminal: bool,
}

impl Session<'_> {
    /// Attaches, starts, and stays until the end or the detach keys.
    fn start(&self, options: &AttachOptions, removed: bool) -> anyhow::Result<u8> {
        let connection = self.attach(options)?;
        // The head of this answer says that the end will be noticed; its body is the end.
        let until = if removed { "removed" } else { "next-exit" };
        let mut end = self.far.ask("POST", &path(self.id, "wait"), &[("condition", until.to_owned())], None)?;
        began(self.far, self.id, removed)?;
        self.follow(connection, options, &mut end)
    }

    fn attach(&self, options: &AttachOptions) -> anyhow::Result<UnixStream> {
        let yes = |wanted: bool| if wanted { "1" } else { "0" }.to_owned();
        let shows = |stream| yes(!options.muted.contains(&stream));
        let query = [
            ("stream", yes(true)),
            ("stdin", yes(options.interactive)),
            ("stdout", shows(containers::Stream::Stdout)),
            ("stderr", shows(containers::Stream::Stderr)),
        ];
        self.far.hijack(&path(self.id, "attach"), &query, None)
    }

    fn follow(&self, connection: UnixStream, options: &AttachOptions, end: &mut Answer) -> anyhow::Result<u8> {
        // A container that ended in this moment has neither a size nor anybody to hear a signal.
        let ended = converse(connection, self.terminal, options, &mut |notice| match notice {
            Notice::Resized(size) => drop(self.far.post(&path(self.id, "resize"), &sides(size), None)),
            Notice::Signal(signal) => {
                drop(self.far.post(&path(self.id, "kill"), &[("signal", signal.as_str().to_owned())], None));
            }
        })?;
        match ended {
            Ended::Detached => Ok(0),
            Ended::Closed => code(&document(end)?),
        }
    }
}

fn sides(size: process::pty::Size) -> [(&'static str, String); 2] {
    [("h", size.rows.to_string()), ("w", size.columns.to_string())]
}

impl Start {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { attach, interactive, console, containers } = self;
        if !attach && !interactive {
            return each(containers, |name| {
                began(far, name, false)?;
                say!("{name}");
                Ok(())
            });
        }
        let [name] = containers.as_slice() else {
            bail!("you cannot start and attach multiple containers at once");
        };
        let found = far.get(&path(name, "json"), &[])?;
        let id = found["Id"].as_str().unwrap_or(name);
        let terminal = found["Config"]["Tty"] == true;
        let removed = found["HostConfig"]["AutoRemove"] == true;
        Session { far, id, terminal }.start(&console.options(*interactive), removed)
    }
}

impl Attach {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { console, no_stdin, container } = self;
        let found = far.get(&path(container, "json"), &[])?;
        if found["State"]["Running"] != true {
            bail!("container {container} is not running: it has no streams to attach to");
        }
        let id = found["Id"].as_str().unwrap_or(container);
        let options = console.options(found["Config"]["OpenStdin"] == true && !no_stdin);
        let session = Session { far, id, terminal: found["Config"]["Tty"] == true };
        let connection = session.attach(&options)?;
        let mut end = far.ask("POST", &path(id, "wait"), &[], None)?;
        session.follow(connection, &options, &mut end)
    }
}

impl Exec {
    /// A session is described first, started with a connection, and asked for its exit code last.
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { detach, interactive, tty, env, workdir, user, privileged, detach_keys, words } = self;
        let Some((name, command)) = words.split_first() else { bail!("in which container?") };
        if *interactive && *tty && !detach {
            needs_terminal()?;
        }
        let mut variables = Vec::new();
        for text in env {
            let read = values::variable(text, |name| std::env::var(name).ok());
            variables.extend(read.map_err(|e| anyhow::anyhow!("--env {e}"))?);
        }
        let session = json!({
            "AttachStdin": *interactive && !detach, "AttachStdout": !detach, "AttachStderr": !detach,
            "Tty": tty, "Cmd": command, "Env": variables, "User": user.clone().unwrap_or_default(),
            "WorkingDir": workdir.clone().unwrap_or_default(), "Privileged": privileged, "Detach": detach,
        });
        let created = far.post(&path(name, "exec"), &[], Some(&session))?;
        let id = created["Id"].as_str().context("the daemon did not say what the session's id is")?;
        let exec = |deed: &str| format!("/exec/{}/{deed}", percent_encoded(id));
        let start = json!({ "Detach": detach, "Tty": tty });
        if *detach {
            far.post(&exec("start"), &[], Some(&start))?;
            return Ok(0);
        }
        let connection = far.hijack(&exec("start"), &[], Some(&start))?;
        let options = AttachOptions {
            interactive: *interactive,
            // As docker does: a signal that ends us leaves the command to itself.
            keep_signals: true,
            muted: Vec::new(),
            detach_keys: detach_keys.clone().unwrap_or_default(),
        };
        let ended = converse(connection, *tty, &options, &mut |notice| {
            if let Notice::Resized(size) = notice {
                // A command that ended in this moment has no size any more.
                drop(far.post(&exec("resize"), &sides(size), None));
            }
        })?;
        match ended {
            Ended::Detached => Ok(0),
            Ended::Closed => session_code(far, &exec("json")),
        }
    }
}

/// The exit code of a session whose output has ended. The command itself may take a moment longer.
fn session_code(far: &Client, path: &str) -> anyhow::Result<u8> {
    loop {
        let session = far.get(path, &[])?;
        if session["Running"] != true {
            let code = session["ExitCode"].as_u64().and_then(|code| u8::try_from(code).ok());
            return code.context("the daemon did not say how the command ended");
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

impl Logs {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { follow, since: _, until: _, tail: _, timestamps, container } = self;
        let options = self.options()?;
        let found = far.get(&path(container, "json"), &[])?;
        let yes = |wanted: bool| if wanted { "1" } else { "0" }.to_owned();
        let mut query = vec![
            ("stdout", yes(true)),
            ("stderr", yes(true)),
            ("follow", yes(*follow)),
            ("timestamps", yes(*timestamps)),
            ("tail", options.tail.map_or("all".to_owned(), |lines| lines.to_string())),
        ];
        query.extend(look::span(options.since, options.until));
        let answer = far.ask("GET", &path(container, "logs"), &query, None)?;
        print(answer, found["Config"]["Tty"] == true)
    }
}

/// Prints a log as it comes, each stream on its own.
fn print(mut answer: Answer, terminal: bool) -> anyhow::Result<u8> {
    use std::io::{ErrorKind, Read as _, Write as _};

    let mut unframer = containers::Unframer::default();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = match answer.body.read(&mut buffer) {
            Ok(0) => return Ok(0),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("read the daemon's answer"),
        };
        let write = |stream, piece: &[u8]| match stream {
            containers::Stream::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(piece).and_then(|()| stdout.flush())
            }
            containers::Stream::Stderr => std::io::stderr().lock().write_all(piece),
        };
        let mut written = Ok(());
        if terminal {
            written = write(containers::Stream::Stdout, &buffer[..read]);
        } else {
            unframer
                .feed(&buffer[..read], |stream, piece| {
                    written = std::mem::replace(&mut written, Ok(())).and_then(|()| write(stream, piece));
                    Ok::<(), String>(())
                })
                .map_err(|reason| anyhow::anyhow!("{reason}"))?;
        }
        match written {
            // `cooper logs web | head`: enough was read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
            written => written?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_failed_has_the_exit_code_that_its_words_mean() {
        assert_eq!(start_code("exec: \"nope\": executable file not found in $path: unknown"), Some(127));
        assert_eq!(start_code("exec /etc: permission denied"), Some(126));
        assert_eq!(start_code("the name \"web\" is in use"), None);
    }
}
