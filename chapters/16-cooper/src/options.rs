//! From flags to `containers::CreateOptions`: every value is checked here, before anything is made.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail};
use containers::{CreateOptions, MountRequest, Resources, Share, Sharing, Source};
use images::Healthcheck;

use crate::flags::{self, Flags, Health, Limits, Security};
use crate::values;

impl Flags {
    /// What the flags, the image's name and the command ask for.
    ///
    /// # Errors
    /// The first value that is none, named with its flag.
    pub(crate) fn options(&self, image: &str, command: &[String]) -> anyhow::Result<CreateOptions> {
        self.refused.check()?;
        let mut options = CreateOptions {
            name: self.name.clone(),
            image: image.to_owned(),
            command: command.to_vec(),
            entrypoint: self.entrypoint.as_deref().map(entrypoint),
            env: self.variables()?,
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            groups: self.group_add.clone(),
            hostname: self.hostname.clone(),
            domainname: self.domainname.clone(),
            attached: self.attach.clone(),
            labels: self.labels()?,
            terminal: self.tty,
            interactive: self.interactive,
            auto_remove: self.rm,
            mounts: self.mounts()?,
            init: self.init,
            read_only: self.read_only,
            shm_size: self.shm_size,
            security: self.security.options()?,
            resources: self.limits.options()?,
            ulimits: parsed(&self.limits.ulimit)?,
            sysctls: self.security.sysctls()?,
            network: self.network.options()?,
            sharing: self.sharing()?,
            id_maps: self.id_maps(),
            oom_score_adj: self.oom_score_adj,
            annotations: values::labels(&self.annotation),
            volumes_from: self.volumes_from.clone(),
            restart: self.restart,
            health: self.health.options()?,
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            ..CreateOptions::default()
        };
        self.machine.fill(&mut options)?;
        Ok(options)
    }

    /// Files first, then `-l`, which takes the place of a file's.
    fn labels(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut labels = Vec::new();
        for path in &self.label_file {
            let text = std::fs::read_to_string(path).with_context(|| format!("read --label-file {path:?}"))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            labels.extend(lines.map(str::to_owned));
        }
        labels.extend(self.label.iter().cloned());
        Ok(values::labels(&labels))
    }

    /// Of users and groups, the one that is not given is as the other.
    fn id_maps(&self) -> Option<namespaces::IdMaps> {
        let or = |one: &[namespaces::IdMap], other: &[namespaces::IdMap]| {
            if one.is_empty() { other.to_vec() } else { one.to_vec() }
        };
        let maps = namespaces::IdMaps { users: or(&self.uidmap, &self.gidmap), groups: or(&self.gidmap, &self.uidmap) };
        (!maps.users.is_empty()).then_some(maps)
    }

    fn sharing(&self) -> anyhow::Result<Sharing> {
        if matches!(self.cgroupns, Share::Container(_)) {
            bail!("--cgroupns {}: host or private", self.cgroupns);
        }
        let (pid, ipc, uts, cgroup) = (&self.pid, &self.ipc, &self.uts, &self.cgroupns);
        Ok(Sharing { pid: pid.clone(), ipc: ipc.clone(), uts: uts.clone(), cgroup: cgroup.clone() })
    }

    /// Files first, then `-e`: of two values of a name the later one counts.
    fn variables(&self) -> anyhow::Result<Vec<String>> {
        let environment = |name: &str| std::env::var(name).ok();
        let mut variables = Vec::new();
        for path in &self.env_file {
            let text = std::fs::read_to_string(path).with_context(|| format!("read --env-file {path:?}"))?;
            let read = values::env_file(path, &text, environment);
            variables.extend(read.map_err(|e| anyhow!(e))?);
        }
        for text in &self.env {
            let read = values::variable(text, environment);
            variables.extend(read.map_err(|e| anyhow!("--env {e}"))?);
        }
        Ok(variables)
    }

    fn mounts(&self) -> anyhow::Result<Vec<MountRequest>> {
        let volumes = self.volume.iter().map(|text| volume(text));
        let mounts = self.mount.iter().map(|text| Ok(MountRequest::mount(text)?));
        let tmpfs = self.tmpfs.iter().map(|text| Ok(MountRequest::tmpfs(text)?));
        let mut all = volumes.chain(mounts).chain(tmpfs).collect::<anyhow::Result<Vec<MountRequest>>>()?;
        for mount in all.iter_mut().filter(|mount| matches!(mount.source, Source::Volume { .. })) {
            mount.volume.driver = mount.volume.driver.take().or(self.volume_driver.clone());
        }
        Ok(all)
    }
}

/// `--entrypoint ""` clears the image's; anything else is one program, without arguments.
fn entrypoint(program: &str) -> Vec<String> {
    match program {
        "" => Vec::new(),
        program => vec![program.to_owned()],
    }
}

/// A `-v` whose source may be relative to the working directory: `.`, `./data`, `../x`.
fn volume(text: &str) -> anyhow::Result<MountRequest> {
    let relative = ["./", "../", ".:", "..:"].iter().any(|start| text.starts_with(start));
    if !relative {
        return Ok(MountRequest::volume(text)?);
    }
    let (source, rest) = text.split_once(':').unwrap_or((text, ""));
    let source = std::path::absolute(source).with_context(|| format!("--volume {text:?}"))?;
    Ok(MountRequest::volume(&format!("{}:{rest}", source.display()))?)
}

fn parsed<T: std::str::FromStr<Err = containers::Error>>(texts: &[String]) -> anyhow::Result<Vec<T>> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

impl Health {
    /// What was asked for; `None` leaves everything to the image.
    fn options(&self) -> anyhow::Result<Option<Healthcheck>> {
        let test = self.health_cmd.iter().flat_map(|line| ["CMD-SHELL".to_owned(), line.clone()]);
        let asked = Healthcheck {
            test: test.collect(),
            interval: self.health_interval.unwrap_or(0),
            timeout: self.health_timeout.unwrap_or(0),
            start_period: self.health_start_period.unwrap_or(0),
            start_interval: self.health_start_interval.unwrap_or(0),
            retries: self.health_retries.unwrap_or(0).into(),
        };
        match (self.no_healthcheck, asked == Healthcheck::default()) {
            (true, true) => Ok(Some(Healthcheck { test: vec!["NONE".to_owned()], ..asked })),
            (true, false) => bail!("--no-healthcheck conflicts with --health-* options"),
            (false, nothing) => Ok((!nothing).then_some(asked)),
        }
    }
}

impl flags::Resources {
    /// The limits that were given.
    ///
    /// # Errors
    /// Two flags that say the same thing.
    pub(crate) fn options(&self) -> anyhow::Result<Resources> {
        if self.cpus.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            bail!("--cpus and --cpu-period or --cpu-quota say the same thing: give one of them");
        }
        Ok(Resources {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            nano_cpus: self.cpus,
            cpu_quota: self.cpu_quota,
            cpu_period: self.cpu_period,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids_limit: self.pids_limit,
            cpu_rt_period: self.cpu_rt_period,
            cpu_rt_runtime: self.cpu_rt_runtime,
            blkio_weight: self.blkio_weight,
            ..Resources::default()
        })
    }
}

impl Limits {
    /// The limits of a new container.
    fn options(&self) -> anyhow::Result<Resources> {
        // Docker's default, written out, is -1.
        let swappiness = self.memory_swappiness.filter(|swappiness| *swappiness != -1);
        let memory_swappiness = swappiness
            .map(|swappiness| u64::try_from(swappiness).context("--memory-swappiness: from 0 to 100"))
            .transpose()?;
        let oom_kill_disable = self.oom_kill_disable;
        let resources = Resources { memory_swappiness, oom_kill_disable, ..self.resources.options()? };
        if resources.memory_swap.is_some() && resources.memory.is_none() {
            bail!("--memory-swap counts memory and swap together: give --memory too");
        }
        Ok(resources)
    }
}

impl Security {
    fn options(&self) -> anyhow::Result<containers::Security> {
        let mut security = containers::Security {
            privileged: self.privileged,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            ..containers::Security::default()
        };
        for option in &self.security_opt {
            security.set(option, |file| std::fs::read_to_string(file))?;
        }
        Ok(security)
    }

    fn sysctls(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let pair = |text: &String| {
            let (key, value) = text.split_once('=').ok_or_else(|| anyhow!("--sysctl {text:?}: write KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        self.sysctl.iter().map(pair).collect()
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
