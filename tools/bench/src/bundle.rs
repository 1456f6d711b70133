//! The bundles that `bench start` gives to OCI runtimes: busybox, and a configuration that asks for more or for less.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// How much of a container is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// What an engine asks for: all namespaces, limits, eleven capabilities, a filter of three hundred calls.
    Whole,
    /// Without a network namespace.
    NoNetwork,
    /// Without limits and a cgroup namespace. Runtimes make the group all the same.
    NoLimits,
    /// Without a filter.
    NoFilter,
    /// Without any of the three.
    Bare,
}

impl Ask {
    /// All, the most first.
    pub(crate) const ALL: [Self; 5] = [Self::Whole, Self::NoNetwork, Self::NoLimits, Self::NoFilter, Self::Bare];

    /// As tables call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Whole => "run: whole",
            Self::NoNetwork => "run: no network namespace",
            Self::NoLimits => "run: no limits",
            Self::NoFilter => "run: no seccomp",
            Self::Bare => "run: none of these",
        }
    }

    /// Whether a network namespace is asked for.
    pub(crate) fn network(self) -> bool {
        !matches!(self, Self::NoNetwork | Self::Bare)
    }

    /// Whether limits are asked for, and a cgroup namespace with them.
    pub(crate) fn limits(self) -> bool {
        !matches!(self, Self::NoLimits | Self::Bare)
    }

    fn filter(self) -> bool {
        !matches!(self, Self::NoFilter | Self::Bare)
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::NoNetwork => "no-network",
            Self::NoLimits => "no-limits",
            Self::NoFilter => "no-filter",
            Self::Bare => "bare",
        }
    }
}

/// One root, and a bundle around it for each way to ask.
#[derive(Debug)]
pub(crate) struct Bundles {
    directory: tempfile::TempDir,
}

impl Bundles {
    /// Puts them together from this machine's busybox and the example that `runtime spec` writes.
    pub(crate) fn new(runtime: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("cooper-bench-").tempdir().context("no temporary directory")?;
        let bundles = Self { directory };
        let bin = bundles.root().join("bin");
        fs::create_dir_all(&bin).context("cannot make a root")?;
        fs::copy(busybox()?, bin.join("busybox")).context("cannot copy busybox")?;
        for applet in ["true", "sleep"] {
            symlink("busybox", bin.join(applet)).context("cannot link busybox")?;
        }
        // Their places are there already, so that no contender pays for making them.
        for place in ["proc", "dev", "sys"] {
            fs::create_dir(bundles.root().join(place)).context("cannot make a root")?;
        }
        let written = Command::new(runtime).arg("spec").current_dir(bundles.path()).status();
        ensure!(written.context("cannot run cooper-runtime")?.success(), "`cooper-runtime spec` failed");
        let example = fs::read(bundles.path().join("config.json")).context("cannot read the example")?;
        let example: Value = serde_json::from_slice(&example).context("the example is not JSON")?;
        for ask in Ask::ALL {
            let bundle = bundles.bundle(ask);
            fs::create_dir(&bundle).context("cannot make a bundle")?;
            fs::write(bundle.join("config.json"), bundles.config(&example, ask)?.to_string())
                .context("cannot write a bundle")?;
        }
        Ok(bundles)
    }

    /// The directory of all of them.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The root that they share.
    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// The bundle that asks for this.
    pub(crate) fn bundle(&self, ask: Ask) -> PathBuf {
        self.path().join(ask.directory())
    }

    /// Makes the first process of all bundles another one.
    pub(crate) fn command(&self, words: &[&str]) -> Result<()> {
        self.change(|config| config["process"]["args"] = json!(words))
    }

    /// Gives all bundles this cgroup.
    pub(crate) fn group(&self, path: &str) -> Result<()> {
        self.change(|config| config["linux"]["cgroupsPath"] = json!(path))
    }

    fn change(&self, change: impl Fn(&mut Value)) -> Result<()> {
        for ask in Ask::ALL {
            let file = self.bundle(ask).join("config.json");
            let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
            change(&mut config);
            fs::write(&file, config.to_string()).context("cannot write a bundle")?;
        }
        Ok(())
    }

    fn config(&self, example: &Value, ask: Ask) -> Result<Value> {
        let mut config = example.clone();
        config["root"] = json!({ "path": self.root(), "readonly": true });
        config["process"]["args"] = json!(["true"]);
        config["process"]["env"] = json!(["PATH=/bin"]);
        config["process"]["terminal"] = json!(false);
        // Who may raise limits differs from machine to machine, and it costs nobody anything.
        config["process"]["rlimits"] = json!([]);
        let kinds: &[&str] = match (ask.network(), ask.limits()) {
            (true, true) => &["pid", "mount", "ipc", "uts", "network", "cgroup"],
            (true, false) => &["pid", "mount", "ipc", "uts", "network"],
            (false, true) => &["pid", "mount", "ipc", "uts", "cgroup"],
            (false, false) => &["pid", "mount", "ipc", "uts"],
        };
        config["linux"]["namespaces"] = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        // As engines do, who have a directory for all their containers: none is made and removed around each.
        config["linux"]["cgroupsPath"] = json!(format!("/cooper-bench-{}", std::process::id()));
        if ask.limits() {
            config["linux"]["resources"]["memory"] = json!({ "limit": 256 << 20 });
            config["linux"]["resources"]["pids"] = json!({ "limit": 2048 });
            config["linux"]["resources"]["cpu"] = json!({ "shares": 512, "quota": 150_000, "period": 100_000 });
        }
        if ask.filter() {
            config["linux"]["seccomp"] = filter()?;
        }
        Ok(config)
    }
}

/// A static busybox: it runs in a root where there is nothing else.
fn busybox() -> Result<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    places.into_iter().find(|place| place.is_file()).context("busybox is not installed")
}

/// Podman's profile in the form of the runtime specification, for a container without further capabilities.
fn filter() -> Result<Value> {
    let file = "/usr/share/containers/seccomp.json";
    let profile = fs::read(file).with_context(|| format!("cannot read {file}; podman's package has it"))?;
    let profile: Value = serde_json::from_slice(&profile).with_context(|| format!("{file} is not JSON"))?;
    let mut rules = Vec::new();
    for rule in profile["syscalls"].as_array().context("a profile without syscalls")? {
        let arches = rule["includes"]["arches"].as_array();
        if rule["includes"]["caps"].is_null() && arches.is_none_or(|arches| arches.contains(&json!("amd64"))) {
            let fields = ["names", "action", "args", "errnoRet"].into_iter().filter(|field| !rule[*field].is_null());
            rules.push(Value::from_iter(fields.map(|field| (field.to_owned(), rule[field].clone()))));
        }
    }
    if rules.len() < 3 {
        bail!("{file} has another form than expected");
    }
    let architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    Ok(
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": architectures, "syscalls": rules }),
    )
}
