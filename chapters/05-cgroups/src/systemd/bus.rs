//! The conversation: a socket, a few lines of greeting, then messages.
//!
//! ```text
//! us    \0 AUTH EXTERNAL        who we are, the kernel tells them
//! them  DATA                    and that is all?
//! us    DATA
//! them  OK 1234deadbeef
//! us    BEGIN                   from here on messages
//! ```
//!
//! systemd listens on a socket of its own, which root and the user whose manager it is may use; that works before there is a
//! bus, and without one. Else the bus is asked, and passes on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use process::{CallError, During as _, step};

use super::Manager;
use super::message::{self, Body, FIXED, Kind, Message, Target};
use crate::Error;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_OBJECT: &str = "/org/freedesktop/systemd1";
const BUS: &str = "org.freedesktop.DBus";
/// How long an answer may take. Starting a scope takes milliseconds, unless the machine is just booting.
const PATIENCE: Duration = Duration::from_secs(25);
/// Longer lines than this do not belong to a greeting.
const LONGEST_LINE: usize = 512;

/// A connection to systemd.
#[derive(Debug)]
pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Whether others are on it too: then messages need an address, and signals must be asked for.
    shared: bool,
    /// Jobs that ended while an answer was waited for: their paths and results.
    ended: Vec<(String, String)>,
}

/// What went wrong in a conversation.
#[derive(Debug)]
pub(crate) struct BusError {
    name: Option<String>,
    text: String,
}

impl BusError {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { name: None, text: text.into() }
    }

    /// D-Bus's name for the error, if the other side made it.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn about(self, unit: &str) -> Error {
        let text = match self.name {
            Some(name) => format!("{name}: {}", self.text),
            None => self.text,
        };
        CallError::refused("ask systemd for", unit, text).into()
    }
}

impl From<&str> for BusError {
    fn from(text: &str) -> Self {
        Self::failed(format!("what it answered is malformed: {text}"))
    }
}

impl From<std::io::Error> for BusError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Self::failed(format!("no answer within {} s", PATIENCE.as_secs()))
            }
            _ => Self::failed(error.to_string()),
        }
    }
}

impl Bus {
    /// Connects to systemd itself, or to the bus that it is on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where neither is there.
    pub(crate) fn connect(manager: Manager) -> Result<Self, Error> {
        let mut tried = Vec::new();
        for (path, shared) in places(manager) {
            match UnixStream::connect(&path) {
                Ok(stream) => {
                    step!(5, "connect", "unix(7)", "talk to systemd", "{}", path.display());
                    let mut bus = Self { stream, serial: 0, shared, ended: Vec::new() };
                    bus.stream.set_read_timeout(Some(PATIENCE)).during("setsockopt", path.display())?;
                    bus.stream.set_write_timeout(Some(PATIENCE)).during("setsockopt", path.display())?;
                    bus.greet().map_err(|error| error.about(&path.display().to_string()))?;
                    return Ok(bus);
                }
                Err(error) => tried.push(format!("{}: {error}", path.display())),
            }
        }
        Err(Error::Unavailable { reason: format!("systemd cannot be asked for a scope ({})", tried.join("; ")) })
    }

    fn greet(&mut self) -> Result<(), BusError> {
        self.stream.write_all(b"\0AUTH EXTERNAL\r\n")?;
        self.expect("DATA")?;
        self.stream.write_all(b"DATA\r\n")?;
        self.expect("OK ")?;
        self.stream.write_all(b"BEGIN\r\n")?;
        if self.shared {
            self.send_to(BUS, "/org/freedesktop/DBus", BUS, "Hello", &Body::default())?;
        }
        Ok(())
    }

    fn expect(&mut self, beginning: &str) -> Result<(), BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LONGEST_LINE {
                return Err(BusError::failed("it does not speak D-Bus"));
            }
        }
        match line.starts_with(beginning.as_bytes()) {
            true => Ok(()),
            false => Err(BusError::failed(format!("it lets us not in: {}", String::from_utf8_lossy(&line).trim_end()))),
        }
    }

    /// Asks for the signals that tell of ended jobs. systemd's own socket sends them anyway.
    ///
    /// # Errors
    /// [`Error`] with what was answered.
    pub(crate) fn listen_for_jobs(&mut self) -> Result<(), Error> {
        if !self.shared {
            return Ok(());
        }
        let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        let listening = self
            .send_to(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", &Body::default().text(rule))
            .and_then(|_| self.call(super::MANAGER, "Subscribe", &Body::default()));
        listening.map(drop).map_err(|error| error.about("its signals"))
    }

    /// Calls a method of systemd's one object.
    ///
    /// # Errors
    /// What was answered instead.
    pub(crate) fn call(&mut self, interface: &str, member: &str, body: &Body) -> Result<Message, BusError> {
        self.send_to(SYSTEMD, SYSTEMD_OBJECT, interface, member, body)
    }

    /// Reads a property that is a text.
    ///
    /// # Errors
    /// What was answered instead.
    pub(crate) fn property(&mut self, object: &str, interface: &str, name: &str) -> Result<String, BusError> {
        let body = Body::default().text(interface).text(name);
        self.send_to(SYSTEMD, object, "org.freedesktop.DBus.Properties", "Get", &body)?.first_text()
    }

    /// How a job ended: `done`, `failed`, `timeout`...
    ///
    /// # Errors
    /// When nothing is heard of it in time.
    pub(crate) fn outcome_of(&mut self, job: &str) -> Result<String, BusError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(ended, _)| ended == job) {
                return Ok(result.clone());
            }
            if Instant::now() > deadline {
                return Err(BusError::failed(format!("its job {job} does not end")));
            }
            self.receive()?;
        }
    }

    fn send_to(
        &mut self,
        destination: &str,
        object: &str,
        interface: &str,
        member: &str,
        body: &Body,
    ) -> Result<Message, BusError> {
        step!(5, "sendmsg", "org.freedesktop.systemd1(5)", "a call over D-Bus", "{member}");
        self.serial += 1;
        let serial = self.serial;
        let target = Target { destination, object, interface, member };
        self.stream.write_all(&message::call(serial, target, body))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.receive()?;
            match answer.kind {
                Kind::Answer if answer.answers == Some(serial) => return Ok(answer),
                Kind::Error if answer.answers == Some(serial) => {
                    let text = answer.texts().ok().and_then(|texts| texts.first().cloned()).unwrap_or_default();
                    return Err(BusError { name: Some(answer.name), text });
                }
                _ if Instant::now() > deadline => return Err(BusError::failed(format!("no answer to {member}"))),
                _ => {}
            }
        }
    }

    /// The next message. Signals of ended jobs are noted on the way.
    fn receive(&mut self) -> Result<Message, BusError> {
        let mut first = [0; FIXED];
        self.stream.read_exact(&mut first)?;
        let mut bytes = first.to_vec();
        bytes.resize(FIXED + message::rest_of(&first)?, 0);
        self.stream.read_exact(&mut bytes[FIXED..])?;
        let message = Message::read(&bytes)?;
        if message.kind == Kind::Signal && message.name == "JobRemoved" {
            // The job, the unit, the result.
            if let [job, _, result] = &message.texts()?[..] {
                self.ended.push((job.clone(), result.clone()));
            }
        }
        Ok(message)
    }
}

impl Message {
    /// The first text among the arguments.
    pub(crate) fn first_text(&self) -> Result<String, BusError> {
        self.texts()?.into_iter().next().ok_or_else(|| BusError::failed("an answer without the text that was due"))
    }
}

/// Where systemd can be reached, and whether others are there too.
fn places(manager: Manager) -> Vec<(PathBuf, bool)> {
    match manager {
        Manager::System => {
            vec![("/run/systemd/private".into(), false), ("/run/dbus/system_bus_socket".into(), true)]
        }
        Manager::User => {
            let run = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
            let named =
                address.split([';', ',']).find_map(|part| Some(PathBuf::from(part.strip_prefix("unix:path=")?)));
            let own = run.iter().map(|run| (run.join("systemd/private"), false));
            let usual = run.iter().map(|run| (run.join("bus"), true));
            own.chain(named.map(|path| (path, true))).chain(usual).collect()
        }
    }
}
