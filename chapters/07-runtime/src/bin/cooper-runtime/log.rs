//! What hosts read when something fails: the last line of the log file, in logrus' shape.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use process::narrate::Told;

/// Where errors, warnings and, if wanted, kernel calls are written to, besides standard error.
#[derive(Clone)]
pub(crate) struct Log {
    file: Option<PathBuf>,
    json: bool,
}

impl Log {
    pub(crate) fn new(file: Option<PathBuf>, format: &str) -> Self {
        Self { file, json: format == "json" }
    }

    /// Says why the program ends.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.say("error", &in_hosts_words(error));
    }

    /// Says what went wrong and stopped nothing.
    pub(crate) fn warnings(&self, warnings: Vec<runtime::Error>) {
        for warning in warnings {
            self.say("warning", &warning.to_string());
        }
    }

    /// Writes every kernel call from here on.
    pub(crate) fn follow(&self) {
        let log = self.clone();
        process::explain::install_listener(move |told: &Told, at: Duration| {
            let Told { call, subject, purpose, .. } = told;
            log.write("debug", &format!("{call}: {purpose}: {subject} (at {} us)", at.as_micros()));
        });
    }

    fn say(&self, level: &str, message: &str) {
        // Nobody may be there to hear it.
        let _ = writeln!(std::io::stderr(), "cooper-runtime: {message}");
        self.write(level, message);
    }

    fn write(&self, level: &str, message: &str) {
        let Some(file) = &self.file else { return };
        let time = jiff::Timestamp::now().to_string();
        let line = if self.json {
            serde_json::json!({"level": level, "msg": message, "time": time}).to_string()
        } else {
            format!("time={time:?} level={level} msg={message:?}")
        };
        let appended = std::fs::OpenOptions::new().create(true).append(true).open(file);
        if let Err(error) = appended.and_then(|mut file| writeln!(file, "{line}")) {
            // A log that cannot be written ends nothing, and nobody may be there to hear of it.
            let _ = writeln!(std::io::stderr(), "cooper-runtime: write {file:?}: {error}");
        }
    }
}

/// dockerd, containerd and podman tell a program that is missing from one that may not be executed, and a container that
/// has ended from other failures, by words of runc's.
fn in_hosts_words(error: &anyhow::Error) -> String {
    let words = match error.downcast_ref() {
        Some(runtime::Error::CommandNotFound(_)) => ": executable file not found in $PATH: no such file or directory",
        Some(runtime::Error::NotExecutable(_)) => ": permission denied",
        Some(runtime::Error::Status { status, .. }) if status == "stopped" => ": container not running",
        _ => "",
    };
    format!("{error:#}{words}")
}
