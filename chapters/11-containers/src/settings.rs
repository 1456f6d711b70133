//! What runs in a container: the image's configuration with the user's wishes laid over it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::health::HealthCheck;
use crate::id::ContainerId;
use crate::mounts::clean;
use crate::options::CreateOptions;

/// Where commands are looked for when neither image nor user says.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image says about the containers made of it: the part of its configuration that matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Defaults {
    /// `NAME=VALUE`, in the image's order.
    pub env: Vec<String>,
    /// In front of the command.
    pub entrypoint: Vec<String>,
    /// The command if the user gives none.
    pub cmd: Vec<String>,
    /// `/` if empty.
    pub workdir: String,
    /// Root if empty.
    pub user: String,
    /// Ports that the image expects to serve: `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Paths that become volumes.
    pub volumes: Vec<PathBuf>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM` if absent.
    pub stop_signal: Option<String>,
    /// How to see whether the program is well.
    pub health: Option<images::Healthcheck>,
    /// What runs a line of words; `/bin/sh -c` if empty.
    pub shell: Vec<String>,
}

impl From<&images::config::ContainerConfig> for Defaults {
    fn from(config: &images::config::ContainerConfig) -> Self {
        Self {
            env: config.env.clone(),
            entrypoint: config.entrypoint.clone().unwrap_or_default(),
            cmd: config.cmd.clone().unwrap_or_default(),
            workdir: config.working_dir.clone(),
            user: config.user.clone(),
            exposed_ports: config.exposed_ports.keys().cloned().collect(),
            volumes: config.volumes.keys().map(PathBuf::from).collect(),
            labels: config.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            stop_signal: config.stop_signal.clone(),
            health: config.healthcheck.clone(),
            shell: config.shell.clone().unwrap_or_default(),
        }
    }
}

/// What runs: decided at `create`, kept in `container.json`, never changed afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The entrypoint that counts.
    pub entrypoint: Vec<String>,
    /// The command that counts.
    pub cmd: Vec<String>,
    /// The environment, in order, each name once.
    pub env: Vec<String>,
    /// Absolute, in the container.
    pub workdir: String,
    /// As it was written: resolved against the container's own files at each start.
    pub user: String,
    /// The container's host name.
    pub hostname: String,
    /// The image's labels and the user's.
    pub labels: BTreeMap<String, String>,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// What asks it to stop.
    pub stop_signal: String,
    /// How its monitor sees whether it is well.
    #[serde(default)]
    pub health: Option<HealthCheck>,
}

impl Settings {
    /// Lays `options` over what the image says, by Docker's rules.
    ///
    /// - A command replaces the image's `Cmd`; an entrypoint replaces the image's and drops its `Cmd`.
    /// - The environment is Docker's basics, then the image's, then the user's: a later value takes
    ///   the place of an earlier one. `-e NAME` without a value removes it.
    ///
    /// # Errors
    /// [`Error::BadValue`]: nothing to run, an unknown signal, a relative working directory, an impossible host name.
    pub fn merge(defaults: &Defaults, options: &CreateOptions, id: &ContainerId) -> Result<Self> {
        let (entrypoint, image_cmd) = match &options.entrypoint {
            Some(entrypoint) => (entrypoint.clone(), Vec::new()),
            None => (defaults.entrypoint.clone(), defaults.cmd.clone()),
        };
        let cmd = if options.command.is_empty() { image_cmd } else { options.command.clone() };
        if entrypoint.is_empty() && cmd.is_empty() {
            return Err(Error::bad(
                "IMAGE",
                &options.image,
                "it has neither a command nor an entrypoint, and none was given",
            ));
        }
        let hostname = match &options.hostname {
            Some(name) => check_hostname(name)?.to_owned(),
            None => id.short().to_owned(),
        };
        let stop_signal = options.stop_signal.as_ref().or(defaults.stop_signal.as_ref());
        let stop_signal = stop_signal.map_or("SIGTERM", String::as_str);
        process::signals::parse(stop_signal).map_err(|_| Error::bad("--stop-signal", stop_signal, "no such signal"))?;
        let user = options.user.as_ref().unwrap_or(&defaults.user).clone();
        crate::user::check(&user)?;
        let mut labels = defaults.labels.clone();
        labels.extend(options.labels.clone());
        let mut exposed_ports = defaults.exposed_ports.clone();
        exposed_ports
            .extend(options.network.publish.iter().map(|port| format!("{}/{}", port.container_port, port.protocol)));
        for text in &options.network.expose {
            let ports = crate::networking::exposed_port(text)?;
            exposed_ports.extend(ports.iter().map(|port| format!("{}/{}", port.container_port, port.protocol)));
        }
        exposed_ports.sort();
        exposed_ports.dedup();
        Ok(Self {
            env: environment(defaults, options, &hostname)?,
            entrypoint,
            cmd,
            workdir: workdir(options.workdir.as_deref().unwrap_or(&defaults.workdir))?,
            user,
            hostname,
            labels,
            exposed_ports,
            stop_signal: stop_signal.to_owned(),
            health: HealthCheck::merge(defaults.health.as_ref(), options.health.as_ref(), &defaults.shell)?,
        })
    }

    /// The program and its arguments.
    pub fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }
}

fn environment(defaults: &Defaults, options: &CreateOptions, hostname: &str) -> Result<Vec<String>> {
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if options.terminal {
        env.push("TERM=xterm".to_owned());
    }
    for entry in &defaults.env {
        set(&mut env, entry);
    }
    for entry in &options.env {
        if entry.contains('\0') || entry.is_empty() || entry.starts_with('=') {
            return Err(Error::bad("--env", entry, "expected NAME=VALUE"));
        }
        set(&mut env, entry);
    }
    Ok(env)
}

/// Sets one variable where it stands, or at the end; an entry without `=` removes it.
pub(crate) fn set(env: &mut Vec<String>, entry: &str) {
    let name = |entry: &str| entry.split_once('=').map_or(entry.to_owned(), |(name, _)| name.to_owned());
    let place = env.iter().position(|there| name(there) == name(entry));
    match (place, entry.contains('=')) {
        (Some(place), true) => env[place] = entry.to_owned(),
        (Some(place), false) => drop(env.remove(place)),
        (None, true) => env.push(entry.to_owned()),
        (None, false) => {}
    }
}

fn workdir(text: &str) -> Result<String> {
    match text {
        "" => Ok("/".to_owned()),
        path if path.contains('\0') => Err(Error::bad("--workdir", path, "a path has no NUL byte")),
        path if path.starts_with('/') => Ok(clean(path.as_ref()).to_string_lossy().into_owned()),
        path => Err(Error::bad("--workdir", path, "the working directory must be an absolute path")),
    }
}

fn check_hostname(name: &str) -> Result<&str> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if name.is_empty() || name.len() > 63 || !plain || name.starts_with('-') {
        return Err(Error::bad(
            "--hostname",
            name,
            "1 to 63 letters, digits, dots and hyphens (the kernel takes 64 bytes)",
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn merge(defaults: &Defaults, options: &CreateOptions) -> Result<Settings> {
        Settings::merge(defaults, options, &"ab".repeat(32).parse().unwrap())
    }

    #[test]
    fn commands_and_entrypoints_combine_as_docker_s_table_says() {
        let image = Defaults { entrypoint: words("entry"), cmd: words("a b"), ..Defaults::default() };
        let args = |entrypoint: Option<&str>, command: &str| {
            let options = CreateOptions {
                entrypoint: entrypoint.map(words),
                command: words(command),
                ..CreateOptions::default()
            };
            merge(&image, &options).map(|settings| settings.args().join(" ")).unwrap_or_else(|_| "error".into())
        };
        assert_eq!(args(None, ""), "entry a b");
        assert_eq!(args(None, "x y"), "entry x y");
        assert_eq!(args(Some("other"), ""), "other");
        assert_eq!(args(Some("other"), "x"), "other x");
        assert_eq!(args(Some(""), "x"), "x");
        assert_eq!(args(Some(""), ""), "error");
    }

    #[test]
    fn the_environment_keeps_its_order_and_each_name_once() {
        let image = Defaults { env: words("PATH=/bin LANG=C A=1"), cmd: words("sh"), ..Defaults::default() };
        let options = CreateOptions { env: words("A=2 B=3 LANG"), terminal: true, ..CreateOptions::default() };
        assert_eq!(merge(&image, &options).unwrap().env, words("PATH=/bin HOSTNAME=abababababab TERM=xterm A=2 B=3"));
    }

    #[test]
    fn impossible_wishes_are_named() {
        let image = Defaults { cmd: words("sh"), ..Defaults::default() };
        let cases = [
            CreateOptions { workdir: Some("data".into()), ..CreateOptions::default() },
            CreateOptions { hostname: Some("a b".into()), ..CreateOptions::default() },
            CreateOptions { stop_signal: Some("SIGNOPE".into()), ..CreateOptions::default() },
            CreateOptions { env: vec!["=x".into()], ..CreateOptions::default() },
        ];
        let said: Vec<String> = cases.iter().map(|options| merge(&image, options).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        --workdir "data": the working directory must be an absolute path
        --hostname "a b": 1 to 63 letters, digits, dots and hyphens (the kernel takes 64 bytes)
        --stop-signal "SIGNOPE": no such signal
        --env "=x": expected NAME=VALUE
        "#);
    }
}
