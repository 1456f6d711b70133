//! `run`, `create`, `attach`: a container, and this terminal in front of it.

use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};
use containers::{AttachOptions, AttachedStream, Attachment, Container, ContainerId, CreateOptions, DetachKeys, Ended};
use containers::{Engine, RemoveOptions, Running, StartOptions, Stream};

use crate::acquire;
use crate::cli::Place;
use crate::flags::Flags;
use crate::stdout::say;

/// Create and run a new container from an image
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
#[command(override_usage = "cooper run [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct Run {
    /// The image: a name, an id, or one that is built in (hello, host); then what to run instead of its own command
    // One list, so that whatever follows the image is the command's, also what looks like a flag of ours.
    #[arg(required = true, value_name = "IMAGE", trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) console: Console,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

/// Create a new container
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
#[command(override_usage = "cooper create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct Create {
    /// The image: a name, an id, or one that is built in (hello, host); then what to run instead of its own command
    // One list, so that whatever follows the image is the command's, also what looks like a flag of ours.
    #[arg(required = true, value_name = "IMAGE", trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

/// Attach local standard input, output, and error streams to a running container
#[derive(Args, Debug)]
pub(crate) struct Attach {
    #[command(flatten)]
    pub(crate) console: Console,
    /// Do not attach STDIN
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Name or id
    pub(crate) container: String,
}

/// How this terminal stands in front of a container.
#[derive(Args, Debug, Clone)]
pub(crate) struct Console {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Proxy all received signals to the process
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", value_name = "BOOL")]
    sig_proxy: bool,
}

impl Console {
    /// Attach options for this console.
    pub(crate) fn options(&self, interactive: bool) -> AttachOptions {
        AttachOptions {
            interactive,
            keep_signals: !self.sig_proxy,
            muted: Vec::new(),
            detach_keys: self.detach_keys.clone().unwrap_or_default(),
        }
    }
}

impl Run {
    /// Returns the container's exit code; 0 after `-d` and after the detach keys.
    // spine
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        if self.detach && !self.flags.attach.is_empty() {
            bail!("conflicting options: cannot specify both --attach and --detach");
        }
        let streams = self.streams();
        let interactive = self.flags.interactive && streams.contains(&AttachedStream::Stdin);
        if interactive && self.flags.tty {
            needs_terminal()?;
        }
        let engine = place.engine()?;
        let container = create(&engine, &self.flags, &self.words, &streams)?;
        let id = container.id();

        // Attaching is part of starting: what the first instruction prints must not be lost.
        let options = StartOptions { attach: !self.detach, explain: place.explain() };
        let mut running = match engine.start(id, &options) {
            Ok(running) => running,
            Err(error) => {
                if self.flags.rm {
                    discard(&engine, id);
                }
                return Err(error.into());
            }
        };
        let Some(attachment) = running.attachment.take() else {
            say!("{id}");
            return Ok(0);
        };
        let options = AttachOptions { muted: muted(&streams), ..self.console.options(interactive) };
        if options.muted.len() == 2 {
            say!("{id}");
        }
        follow(&engine, id, attachment, &mut running, &options)
    }

    /// The streams that this terminal is attached to.
    fn streams(&self) -> Vec<AttachedStream> {
        if self.detach { Vec::new() } else { streams(&self.flags) }
    }
}

/// `-a`; without it both outputs, and with `-i` the input.
pub(crate) fn streams(flags: &Flags) -> Vec<AttachedStream> {
    if !flags.attach.is_empty() {
        return flags.attach.clone();
    }
    let stdin = flags.interactive.then_some(AttachedStream::Stdin);
    stdin.into_iter().chain([AttachedStream::Stdout, AttachedStream::Stderr]).collect()
}

/// The outputs that are not among them.
pub(crate) fn muted(streams: &[AttachedStream]) -> Vec<Stream> {
    let outputs = [(AttachedStream::Stdout, Stream::Stdout), (AttachedStream::Stderr, Stream::Stderr)];
    outputs.into_iter().filter(|(attached, _)| !streams.contains(attached)).map(|(_, stream)| stream).collect()
}

impl Create {
    /// Prints the new container's id.
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let container = create(&engine, &self.flags, &self.words, &streams(&self.flags))?;
        say!("{}", container.id());
        Ok(0)
    }
}

impl Attach {
    /// Returns the container's exit code.
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let container = engine.find(&self.container)?;
        let id = container.id();
        let interactive = container.record().options.interactive && !self.no_stdin;
        let attachment = engine.attach(id)?;
        match console(&engine, id, attachment, &self.console.options(interactive))? {
            Ended::Detached => Ok(0),
            Ended::Closed => code(id, engine.wait(id)?),
        }
    }
}

fn create(engine: &Engine, flags: &Flags, words: &[String], streams: &[AttachedStream]) -> anyhow::Result<Container> {
    let Some((name, command)) = words.split_first() else { bail!("which image?") };
    let options = flags.options(name, command)?;
    let stdin_once = options.interactive && streams.contains(&AttachedStream::Stdin);
    if let Some(path) = flags.cidfile.as_deref().filter(|path| path.exists()) {
        bail!("container ID file found, make sure the other container isn't running or delete {}", path.display());
    }
    let image = acquire::image(engine, name, flags.pull)?;
    let container = engine.create(&image, CreateOptions { stdin_once, attached: streams.to_vec(), ..options })?;
    if let Some(path) = &flags.cidfile {
        write_id(path, container.id().as_str())?;
    }
    Ok(container)
}

pub(crate) fn write_id(path: &Path, id: &str) -> anyhow::Result<()> {
    std::fs::write(path, id).with_context(|| format!("write --cidfile {path:?}"))
}

/// Stays in front of a run until it ends or the user leaves.
pub(crate) fn follow(
    engine: &Engine,
    id: &ContainerId,
    attachment: Attachment,
    running: &mut Running,
    options: &AttachOptions,
) -> anyhow::Result<u8> {
    match console(engine, id, attachment, options)? {
        Ended::Detached => Ok(0),
        Ended::Closed => code(id, running.wait()?),
    }
}

fn console(
    engine: &Engine,
    id: &ContainerId,
    attachment: Attachment,
    options: &AttachOptions,
) -> anyhow::Result<Ended> {
    // A signal that comes when the container has just ended has nobody to go to any more.
    let ended = attachment.run(options, &mut |signal| drop(engine.kill(id, signal)))?;
    Ok(ended)
}

/// An exit code that nobody saw is not made up.
pub(crate) fn code(id: &ContainerId, code: Option<u8>) -> anyhow::Result<u8> {
    code.with_context(|| format!("container {}: its exit code is unknown: its monitor was killed", id.short()))
}

/// `-it` from a pipe would wait for keys that nobody can press.
pub(crate) fn needs_terminal() -> anyhow::Result<()> {
    match rustix::termios::isatty(std::io::stdin()) {
        true => Ok(()),
        false => Err(crate::failure::NotATerminal.into()),
    }
}

/// Removes a container that was to be removed at its end and did not begin. The error that is about to be
/// reported is the reason; a second one would hide it.
fn discard(engine: &Engine, id: &ContainerId) {
    drop(engine.remove(id, RemoveOptions { force: true, volumes: true }));
}
