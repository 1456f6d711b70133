//! Waiting, stopping, killing, pausing: what is done to a container that runs.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use cgroups::{Cgroup, CgroupPath};
use process::{During as _, Signal, pty, signals};

use crate::attachment::{Attachment, resize, send};
use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::events::Event;
use crate::id::ContainerId;
use crate::monitor::client::{Reply, Request};
use crate::monitor::{ATTACH, CONTROL};
use crate::record::{Container, Life, Status};
use crate::restart::RestartPolicy;
use crate::running::{Running, StartOptions};
use crate::sockets;

/// What a container is given to end by itself, unless it or the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a monitor may take to answer, and to clean up once the container's process has ended.
const CLEANING: Duration = Duration::from_secs(5);

/// How long an end may take in all, before somebody is told what it waits for. The kernel may have a whole disk to write first: with a
/// container's last process goes its overlay, and with that what it wrote.
pub(crate) const WHOLE: Duration = Duration::from_secs(15);

/// The file in a container's run directory that names its control group, where that is not the usual one.
const GROUP: &str = "cgroup";

/// How a wait ended.
enum Waited {
    /// The container ended; `None` if nobody knows how.
    Ended(Option<u8>),
    /// It did not, in the time that was given.
    StillThere,
}

impl Engine {
    /// Connects to the streams of a running container: what it prints from now on.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it does not run.
    pub fn attach(&self, id: &ContainerId) -> Result<Attachment> {
        let container = self.running(id, "attach")?;
        let run = container.run_directory();
        let terminal = container.record.options.terminal;
        Ok(Attachment { streams: sockets::connect(&run, ATTACH)?, run, terminal, late: true })
    }

    /// Tells a container with a terminal how large the user's is.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it does not run.
    pub fn resize(&self, id: &ContainerId, size: pty::Size) -> Result<()> {
        resize(&self.running(id, "resize")?.run_directory(), size)
    }

    /// Waits until a container does not run, and says how it ended; at once if it does not run now.
    /// `None` means that nobody knows: its monitor was killed.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], and those of talking to its monitor.
    pub fn wait(&self, id: &ContainerId) -> Result<Option<u8>> {
        match wait_for(&self.container(id)?, None)? {
            Waited::Ended(code) => Ok(code),
            Waited::StillThere => Ok(None),
        }
    }

    /// Asks a container to end, and after `patience` (its own, else 10 s) makes it. Fine if it does not run.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when even SIGKILL does not end it: a process is stuck in the kernel.
    pub fn stop(&self, id: &ContainerId, patience: Option<Duration>) -> Result<()> {
        let container = self.container(id)?;
        if !container.life()?.status.is_live() {
            return self.bury(&container);
        }
        if self.forbid_restart(&container)? {
            return Ok(());
        }
        let own = container.record.options.stop_timeout.map(Duration::from_secs);
        let patience = patience.or(own).unwrap_or(PATIENCE);
        let signal = signals::parse(&container.record.settings.stop_signal)?;
        // A frozen process takes no signal until it is thawed.
        self.thaw_if_paused(&container)?;
        self.send_signal(&container, signal)?;
        self.events().record(&Event::of(&container, "kill").with("signal", signal.number()));
        if let Waited::StillThere = wait_for(&container, Some(patience))? {
            self.kill_and_wait(&container, WHOLE.saturating_sub(patience).max(CLEANING))?;
        }
        self.events().record(&Event::of(&container, "stop"));
        Ok(())
    }

    /// Sees to it that a container's next end is its last, whatever its restart policy says. True if it has ended
    /// already and was only waiting for its next start.
    fn forbid_restart(&self, container: &Container) -> Result<bool> {
        // Its policy may have been taken back while its monitor waits already for the time of its next start.
        let waits = container.life()?.status == Status::Restarting;
        if container.record.options.restart == RestartPolicy::No && !waits {
            return Ok(false);
        }
        ask(container, Request::Stop)?;
        if container.life()?.status != Status::Restarting {
            return Ok(!container.life()?.status.is_live());
        }
        match wait_for(container, Some(CLEANING))? {
            Waited::Ended(_) => Ok(true),
            Waited::StillThere => Ok(!container.life()?.status.is_live()),
        }
    }

    /// Stops a container as [`stop`](Engine::stop) does, if it runs, and starts it. One that was run with `--rm` stays for it.
    ///
    /// # Errors
    /// Those of `stop` and of [`start`](Engine::start).
    pub fn restart(&self, id: &ContainerId, patience: Option<Duration>, options: &StartOptions) -> Result<Running> {
        let container = self.container(id)?;
        if container.life()?.status.is_live() && container.record.options.auto_remove {
            let kept = ask(&container, Request::Keep)?;
            kept.ok_or_else(|| Error::NoSuchContainer(container.name().to_owned()))?;
        }
        self.stop(id, patience)?;
        let running = self.start(id, options)?;
        self.events().record(&Event::of(&container, "restart"));
        Ok(running)
    }

    /// Sends a signal to a container's first process.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it does not run.
    pub fn kill(&self, id: &ContainerId, signal: Signal) -> Result<()> {
        let container = self.container(id)?;
        if !container.life()?.status.is_live() {
            return Err(wrong_state(&container, "kill", "running")?);
        }
        // Whoever sends one of these two wants it to end, and whoever wants that wants it to stay down.
        let last = signal == Signal::SIGKILL || signals::parse(&container.record.settings.stop_signal)? == signal;
        if last && self.forbid_restart(&container)? {
            return Ok(());
        }
        if signal == Signal::SIGKILL {
            self.thaw_if_paused(&container)?;
        }
        self.send_signal(&container, signal)?;
        self.events().record(&Event::of(&container, "kill").with("signal", signal.number()));
        Ok(())
    }

    /// Kills a container and waits until everything is released, but no longer than `limit`.
    pub(crate) fn kill_and_wait(&self, container: &Container, limit: Duration) -> Result<()> {
        if self.forbid_restart(container)? {
            return Ok(());
        }
        // Not written down, since it is about to end: a full disk must not keep it alive.
        if container.life()?.status == Status::Paused {
            self.cgroup(container.id())?.thaw().doing("unpause", container.name())?;
        }
        self.send_signal(container, Signal::SIGKILL)?;
        self.events().record(&Event::of(container, "kill").with("signal", Signal::SIGKILL.number()));
        match wait_for(container, Some(limit))? {
            Waited::Ended(_) => Ok(()),
            Waited::StillThere => Err(Error::TimedOut {
                operation: "kill",
                object: container.name().to_owned(),
                seconds: limit.as_secs(),
                awaited: match container.life()?.pid {
                    Some(pid) => format!("process {pid} to end (see /proc/{pid}/stack: it is stuck in the kernel)"),
                    None => "its monitor to clean up".to_owned(),
                },
            }),
        }
    }

    /// Freezes every process of a container.
    ///
    /// # Errors
    /// [`Error::WrongState`]; where cgroups cannot freeze, why not.
    pub fn pause(&self, id: &ContainerId) -> Result<()> {
        let container = self.running(id, "pause")?;
        let _lock = container.lock()?;
        self.cgroup(id)?.freeze().doing("pause", container.name())?;
        container.write_life(&Life { status: Status::Paused, ..container.life()? })?;
        self.events().record(&Event::of(&container, "pause"));
        Ok(())
    }

    /// Lets a frozen container go on.
    ///
    /// # Errors
    /// [`Error::WrongState`].
    pub fn unpause(&self, id: &ContainerId) -> Result<()> {
        let container = self.container(id)?;
        if container.life()?.status != Status::Paused {
            return Err(wrong_state(&container, "unpause", "paused")?);
        }
        self.thaw_if_paused(&container)
    }

    fn thaw_if_paused(&self, container: &Container) -> Result<()> {
        let _lock = container.lock()?;
        let life = container.life()?;
        if life.status == Status::Paused {
            self.cgroup(container.id())?.thaw().doing("unpause", container.name())?;
            container.write_life(&Life { status: Status::Running, ..life })?;
            self.events().record(&Event::of(container, "unpause"));
        }
        Ok(())
    }

    fn send_signal(&self, container: &Container, signal: Signal) -> Result<()> {
        let sent = runtime::kill(&self.runtime(), container.id().as_str(), signal, runtime::All::No);
        match sent {
            // It ended while we made up our mind: that is what the signal was for. Its monitor may be just about to say so.
            Err(runtime::Error::Status { status, .. }) if status == runtime::Status::Stopped.to_string() => Ok(()),
            Err(_) if !container.claims_to_live() => Ok(()),
            sent => sent.doing("signal", container.name()),
        }
    }

    /// Where a container's control group is: below the engine's own, or where its run directory says (`--cgroup-parent`).
    ///
    /// Found without its record, which may be spoilt or removed already.
    ///
    /// # Errors
    /// A note that names no control group.
    pub fn cgroup_path(&self, id: &ContainerId) -> Result<CgroupPath> {
        let note = std::fs::read_to_string(self.paths().container_run(id).join(GROUP));
        match note {
            Ok(path) => path.parse(),
            Err(_) => CgroupPath::of_container(id.as_str()),
        }
        .doing("name", "cgroup")
    }

    /// The cgroup of a container that runs.
    pub(crate) fn cgroup(&self, id: &ContainerId) -> Result<Cgroup> {
        Cgroup::open(&self.cgroup_path(id)?).doing("open", "cgroup")
    }

    /// Notes where a container's control group is going to be, if that is not the usual place.
    pub(crate) fn note_cgroup(&self, container: &Container) -> Result<()> {
        let Some(parent) = container.record.options.cgroup_parent.as_deref() else { return Ok(()) };
        let path = crate::spec::group(container.id(), Some(parent))?;
        let note = container.run_directory().join(GROUP);
        Ok(std::fs::write(&note, path.as_str()).during("write", note.display())?)
    }

    /// The runtime's state directory.
    pub(crate) fn runtime(&self) -> runtime::StateDir {
        runtime::StateDir::new(self.paths().runtime())
    }

    /// A container that must be running for `operation`.
    pub(crate) fn running(&self, id: &ContainerId, operation: &'static str) -> Result<Container> {
        let container = self.container(id)?;
        if container.life()?.status != Status::Running {
            return Err(wrong_state(&container, operation, "running")?);
        }
        Ok(container)
    }
}

/// The error for a container in the wrong state.
pub(crate) fn wrong_state(container: &Container, operation: &'static str, needed: &'static str) -> Result<Error> {
    let status = container.life()?.status.as_str().to_owned();
    Ok(Error::WrongState { id: container.id().short().to_owned(), status, operation, needed })
}

/// Asks something of a container's monitor. `None` if there is none any more.
pub(crate) fn ask(container: &Container, request: Request) -> Result<Option<Reply>> {
    let end = Instant::now() + CLEANING;
    while container.monitor().is_some() {
        if let Some(reply) = ask_once(container, request, end)? {
            return Ok(Some(reply));
        }
        if Instant::now() >= end {
            return Err(Error::TimedOut {
                operation: "ask",
                object: container.name().to_owned(),
                seconds: CLEANING.as_secs(),
                awaited: "its monitor to answer".to_owned(),
            });
        }
        // Between two runs it has other sockets for a moment: what was said to the old ones nobody has heard.
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

/// Says it once, and waits for the answer until `end`. `None` if nobody answers.
fn ask_once(container: &Container, request: Request, end: Instant) -> Result<Option<Reply>> {
    let Ok(control) = sockets::connect(&container.run_directory(), CONTROL) else { return Ok(None) };
    if send(&control, request).is_err() {
        return Ok(None);
    }
    let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    control.set_read_timeout(Some(left)).during("setsockopt SO_RCVTIMEO", "control")?;
    let mut line = String::new();
    // A connection that breaks is one that nobody answers on.
    Ok(BufReader::new(control).read_line(&mut line).ok().and_then(|_| serde_json::from_str(&line).ok()))
}

/// Waits for a container's end, through its monitor.
fn wait_for(container: &Container, limit: Option<Duration>) -> Result<Waited> {
    let end = limit.map(|limit| Instant::now() + limit);
    let far = || Instant::now() + Duration::from_secs(3600);
    loop {
        let Some(monitor) = container.monitor() else { return Ok(Waited::Ended(container.life()?.exit_code)) };
        // Between a monitor's birth and its sockets, between two runs, and between its sockets' end and its own, there is
        // nobody to ask: look again.
        if let Some(Reply::Exited { code }) = ask_once(container, Request::Wait, end.unwrap_or_else(far))? {
            return Ok(Waited::Ended(Some(code)));
        }
        if monitor.ended_within(Duration::from_millis(20))? || !container.claims_to_live() {
            return Ok(Waited::Ended(container.life()?.exit_code));
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(Waited::StillThere);
        }
    }
}
