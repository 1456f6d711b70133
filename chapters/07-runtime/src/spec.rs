//! The bundle's `config.json`: read, and checked for what this runtime does not do.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

pub use oci_spec::runtime::Spec;
use process::During as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::Error;
use crate::rules;

/// What is looked at before the types read a configuration, which pass over what they do not know.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Outline {
    oci_version: Value,
    vm: Value,
    windows: Value,
    solaris: Value,
    zos: Value,
    freebsd: Value,
    #[serde(deserialize_with = "null_is_none")]
    linux: LinuxOutline,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LinuxOutline {
    intel_rdt: Value,
    memory_policy: Value,
    net_devices: Value,
    personality: Value,
    devices: Value,
}

/// Some write `null` for a part that they do not use.
fn null_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LinuxOutline, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Outline {
    fn read(file: &Path, text: &str) -> Result<Self, Error> {
        let outline: Self = serde_json::from_str(text).map_err(|error| config(file, "", error.to_string()))?;
        let version = outline.oci_version.as_str().unwrap_or_default();
        if !is_first_version(version) {
            return Err(config(file, "ociVersion", format!("{version:?} is not a 1.x version such as 1.2.1")));
        }
        match outline.unsupported() {
            Some((field, reason)) => Err(config(file, field, reason.to_owned())),
            None => Ok(outline),
        }
    }

    /// What this runtime does not do. A configuration that asks for it is refused: ignoring a field would mean a container
    /// with less confinement, or other behaviour, than its author wrote down. Fields that no specification knows are ignored,
    /// as it asks.
    fn unsupported(&self) -> Option<(&str, &str)> {
        let fields = [
            ("vm", &self.vm, "virtual machines are somebody else's business"),
            ("windows", &self.windows, "this runtime is for Linux"),
            ("solaris", &self.solaris, "this runtime is for Linux"),
            ("zos", &self.zos, "this runtime is for Linux"),
            ("freebsd", &self.freebsd, "this runtime is for Linux"),
            ("linux.intelRdt", &self.linux.intel_rdt, "not supported"),
            ("linux.memoryPolicy", &self.linux.memory_policy, "not supported: it is of version 1.3"),
            ("linux.netDevices", &self.linux.net_devices, "not supported: it is of version 1.3"),
            (
                "linux.personality.flags",
                &self.linux.personality["flags"],
                "not supported: the specification names none",
            ),
        ];
        fields.into_iter().find(|(_, value, _)| !is_empty(value)).map(|(field, _, reason)| (field, reason))
    }
}

/// A configuration that this runtime does in every field: what [`load`] gives, and [`Checked::made`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checked(Arc<Configuration>);

#[derive(Debug)]
struct Configuration {
    spec: Spec,
    text: String,
}

impl Checked {
    /// Checks a configuration that was not read from a file but made.
    ///
    /// # Errors
    /// A field that is not supported, by name.
    pub fn made(spec: Spec) -> Result<Self, Error> {
        let file = Path::new("config.json");
        let text = serde_json::to_string(&spec).map_err(|error| config(file, "", error.to_string()))?;
        let outline = Outline::read(file, &text)?;
        Self::whole(file, &outline, spec, text)
    }

    fn read(file: &Path, text: String) -> Result<Self, Error> {
        let outline = Outline::read(file, &text)?;
        let spec = serde_json::from_str(&text).map_err(|error| config(file, "", error.to_string()))?;
        Self::whole(file, &outline, spec, text)
    }

    fn whole(file: &Path, outline: &Outline, spec: Spec, text: String) -> Result<Self, Error> {
        rules::check(&spec, &outline.linux.devices).map_err(|broken| config(file, &broken.field, broken.reason))?;
        Ok(Self(Arc::new(Configuration { spec, text })))
    }

    /// The JSON that it was read from.
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }
}

impl Deref for Checked {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        &self.0.spec
    }
}

/// The largest configuration that is read, in bytes.
const LIMIT: u64 = 8 << 20;

/// An example to begin from, as `spec` writes it: a shell in `rootfs`, confined. With ids, for an ordinary user who has these.
///
/// # References
/// runc-spec(8)
pub fn example(rootless: Option<(u32, u32)>) -> Spec {
    let mut spec = rootless.map_or_else(Spec::default, |(uid, gid)| Spec::rootless(uid, gid));
    spec.set_hostname(Some("cask".to_owned()));
    let Some(process) = spec.process_mut() else { return spec };
    process.set_no_new_privileges(Some(true));
    // What is inheritable comes back with a file that has capabilities (CVE-2022-29162), and ambient ones need it.
    let mut capabilities = process.capabilities().clone().unwrap_or_default();
    capabilities.set_inheritable(None).set_ambient(None);
    process.set_capabilities(Some(capabilities));
    spec
}

/// Reads and checks a bundle's configuration.
///
/// # Errors
/// A missing or malformed file, with line and column; a field that is not supported, by name.
///
/// # References
/// OCI runtime spec, bundle.md and config.md
pub fn load(bundle: &Path) -> Result<Checked, Error> {
    read(&bundle.join("config.json"))
}

/// Reads and checks one configuration file.
///
/// # Errors
/// As [`load`].
pub fn read(file: &Path) -> Result<Checked, Error> {
    let length = std::fs::metadata(file).during("stat", file.display())?.len();
    if length > LIMIT {
        return Err(config(file, "", format!("longer than {LIMIT} bytes")));
    }
    let text = std::fs::read_to_string(file).during("read", file.display())?;
    Checked::read(file, text)
}

/// Any version of the first generation, in the form of SemVer: three numbers, and perhaps more behind them.
fn is_first_version(version: &str) -> bool {
    let numbers: Vec<&str> = version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.len() == 3 && numbers[0] == "1" && numbers.iter().all(is_number)
}

/// Hosts write empty objects and lists where they ask for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

pub(crate) fn config(file: &Path, field: &str, reason: String) -> Error {
    let field = if field.is_empty() { "config" } else { field };
    Error::Config { file: file.to_owned(), field: field.to_owned(), reason }
}

/// The second number of the version that the configuration was written for: 2 of 1.2.1.
pub(crate) fn minor_version(spec: &Spec) -> u32 {
    spec.version().split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

/// A field of whatever configuration is at hand that is refused.
pub(crate) fn refuse(field: &str, reason: impl Into<String>) -> Error {
    config(Path::new("config.json"), field, reason.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<(), String> {
        Checked::read(Path::new("config.json"), json.to_owned()).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn any_version_one_is_accepted() {
        for version in ["1.0.0", "1.2.1", "1.99.0-rc.1"] {
            let json = format!(
                r#"{{"ociVersion":"{version}","process":{{"user":{{"uid":0,"gid":0}},"args":["sh"],"cwd":"/"}}}}"#
            );
            assert_eq!(checked(&json), Ok(()));
        }
    }

    #[test]
    fn what_is_no_version_one_is_refused() {
        for version in ["", "1", "1.2", "2.0.0", "0.9.0", "1.x.0", "1..0", "11.0.0"] {
            let json = format!(r#"{{"ociVersion":"{version}"}}"#);
            assert!(checked(&json).unwrap_err().contains("ociVersion"), "{version}");
        }
    }

    #[test]
    fn an_unsupported_field_is_named() {
        let json = r#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"args":["sh"],"cwd":"/"},
            "linux":{"intelRdt":{"closID":"guaranteed"}}}"#;
        assert_eq!(checked(json).unwrap_err(), "config.json: linux.intelRdt: not supported");
    }

    #[test]
    fn an_empty_unsupported_field_asks_for_nothing() {
        let json = r#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"args":["sh"],"cwd":"/"},
            "linux":{"intelRdt":{}, "memoryPolicy":null}}"#;
        assert_eq!(checked(json), Ok(()));
        assert_eq!(
            checked(r#"{"ociVersion":"1.0.0","linux":null,"windows":null,"process":null,"hooks":null}"#),
            Ok(())
        );
    }

    #[test]
    fn a_relative_working_directory_is_refused() {
        let json = r#"{"ociVersion":"1.0.0","process":{"user":{"uid":0,"gid":0},"args":["sh"],"cwd":"x"}}"#;
        assert_eq!(checked(json).unwrap_err(), "config.json: process.cwd: not an absolute path");
    }

    #[test]
    fn a_field_of_a_wrong_type_is_named_with_its_place() {
        let error = checked("{\"ociVersion\":\"1.0.0\",\n\"hostname\":7}").unwrap_err();
        assert!(error.contains("line 2 column 12"), "{error}");
    }
}
