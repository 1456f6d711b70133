//! `system`, `info`, `version`: the engine about itself.

use clap::{Args, Subcommand};
use containers::{All, Status};
use daemon::system::{architecture, cgroup_version, kernel_release, memory_total, operating_system};
use daemon::{catalogue, words};
use serde_json::{Value, json};

use crate::check;
use crate::cli::Place;
use crate::disk;
use crate::later::Later;
use crate::look::{json_only, message};
use crate::stdout::say;
use crate::table::Format;

/// Manage the engine's own things
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Display system-wide information
    Info(Later<Info>),
    /// Say what this machine can run, and the remedy for what it cannot
    Doctor(Later<Doctor>),
    /// Show disk usage
    Df(Later<disk::Df>),
    /// Compare every stored byte with its name, and heal what is damaged
    Check(Later<check::Check>),
    /// Remove stopped containers, unused networks, and whatever a crash left behind
    Prune(Later<disk::Prune>),
    /// Start the containers whose restart policy wants them to run
    Boot(Later<Boot>),
    /// Get real time events from the engine
    Events(Later<crate::stats::Events>),
}

impl Command {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        match self {
            Self::Info(command) => command.run(place),
            Self::Doctor(command) => command.run(),
            Self::Df(command) => command.run(place),
            Self::Check(command) => command.run(place),
            Self::Prune(command) => command.run(place),
            Self::Boot(command) => command.run(place),
            Self::Events(command) => command.run(place),
        }
    }
}

/// Display system-wide information
#[derive(Args, Debug)]
pub(crate) struct Info {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    pub(crate) format: Option<Format>,
}

impl Info {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let all = engine.list(All::Yes)?;
        let running = all.iter().filter(|c| c.life().is_ok_and(|life| life.status == Status::Running)).count();
        let images = catalogue::list(&engine).map_err(message)?.len();
        let rootless = namespaces::rootless::is_rootless();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let choice = engine.snapshots().stacking()?;
        let driver = format!("{} ({})", choice.stacking, choice.reason);
        let facts: [(&str, Value); 15] = [
            ("Containers", json!(all.len())),
            ("Running", json!(running)),
            ("Stopped", json!(all.len() - running)),
            ("Images", json!(images)),
            ("Storage Driver", json!(driver)),
            ("Version", json!(env!("CARGO_PKG_VERSION"))),
            ("Data", json!(place.paths().data)),
            ("Run", json!(place.paths().run)),
            ("Rootless", json!(rootless)),
            ("Security Options", json!(security())),
            ("Cgroup Version", json!(cgroup_version())),
            ("Kernel Version", json!(kernel_release())),
            ("Operating System", json!(operating_system())),
            ("Architecture", json!(architecture())),
            ("CPUs", json!(cpus)),
        ];
        let mut facts = serde_json::Map::from_iter(facts.map(|(name, value)| (name.to_owned(), value)));
        facts.insert("Total Memory".to_owned(), json!(words::size(memory_total())));
        self.print(facts)
    }

    /// Prints what is known of an engine, whichever it is.
    pub(crate) fn print(&self, facts: serde_json::Map<String, Value>) -> anyhow::Result<u8> {
        match &self.format {
            Some(format) => say!("{}", format.document(&Value::Object(facts))?),
            None => facts.iter().for_each(|(name, value)| match value {
                Value::String(text) => say!("{name}: {text}"),
                value => say!("{name}: {value}"),
            }),
        }
        Ok(0)
    }
}

/// What confines containers here, and aloud that nothing does of the kind that only an administrator can set up.
fn security() -> String {
    let controls = containers::security::controls().join(", ").replace("name=", "");
    match privileges::SecurityModule::active().is_empty() {
        true => format!("{controls} (no security module: neither AppArmor nor SELinux is active)"),
        false => controls,
    }
}

/// Say what this machine can run, and the remedy for what it cannot
///
/// Ends with 0 where containers run, even if with less speed or confinement, and with 1 where they do not.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    format: Option<Format>,
}

impl Doctor {
    fn run(&self) -> anyhow::Result<u8> {
        let findings = doctor::examine(&doctor::Facts::gather());
        match &self.format {
            Some(format) => say!("{}", format.document(&serde_json::to_value(&findings)?)?),
            None => findings.iter().for_each(|finding| say!("{finding}")),
        }
        Ok(u8::from(!doctor::is_fit(&findings)))
    }
}

/// Start the containers whose restart policy wants them to run
///
/// For machines without `cooper daemon`, which does the same when it begins. While a container's monitor lives, it
/// keeps to the policy by itself; after a reboot nobody does, until this is run: by a systemd unit with
/// `Type=oneshot`, `After=network-online.target` and `ExecStart=cooper system boot`.
#[derive(Args, Debug)]
pub(crate) struct Boot {}

impl Boot {
    fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let mut failed = false;
        for (container, failure) in place.engine()?.revive()? {
            match failure {
                None => say!("{}", container.name()),
                Some(error) => {
                    eprintln!("cooper: {}: {error}", container.name());
                    failed = true;
                }
            }
        }
        Ok(failed.into())
    }
}

/// Show the version information
#[derive(Args, Debug)]
pub(crate) struct Version {
    /// Format of the output: json, or a template
    #[arg(short, long, value_name = "FORMAT", value_parser = json_only)]
    pub(crate) format: Option<Format>,
}

impl Version {
    pub(crate) fn run(&self) -> anyhow::Result<u8> {
        let facts = own_version();
        match &self.format {
            Some(format) => say!("{}", format.document(&facts)?),
            None => say!("Cooper:\n{}", version_lines(&facts)),
        }
        Ok(0)
    }
}

/// What this program is.
pub(crate) fn own_version() -> Value {
    json!({ "Version": env!("CARGO_PKG_VERSION"), "ApiVersion": daemon::system::API_VERSION,
            "Os/Arch": format!("linux/{}", architecture()), "KernelVersion": kernel_release() })
}

/// The same in lines.
pub(crate) fn version_lines(facts: &Value) -> String {
    let lines =
        [("Version", "Version"), ("API version", "ApiVersion"), ("OS/Arch", "Os/Arch"), ("Kernel", "KernelVersion")];
    let line = |(title, name): (&str, &str)| {
        format!(" {:<18} {}", format!("{title}:"), facts[name].as_str().unwrap_or_default())
    };
    lines.map(line).join("\n")
}
