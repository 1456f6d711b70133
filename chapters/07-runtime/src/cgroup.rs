//! The container's cgroup: where it is, and who makes it, this runtime or systemd.

use cgroups::systemd::Manager;
use cgroups::{Cgroup, CgroupPath, Hierarchy, Scope};
use process::Pid;

use crate::error::Error;
use crate::options::{CgroupManager, CreateOptions, IfNoCgroup};
use crate::resources::limits_of_new_cgroup;
use crate::spec::Spec;

/// The container's cgroup: at the path that the configuration names, or at our own choice.
pub(crate) fn cgroup_path(spec: &Spec, id: &str) -> Result<CgroupPath, Error> {
    let wanted = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    match wanted.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Ok(path.to_string_lossy().parse()?),
        None => Ok(CgroupPath::of_container(id)?),
    }
}

/// Has systemd make the cgroup, with the waiting child in it.
pub(crate) fn scope_around(spec: &Spec, id: &str, child: Pid) -> Result<Cgroup, Error> {
    let manager = Manager::of_caller();
    let wanted = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    let scope = match wanted.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Scope::parse(&path.to_string_lossy(), manager)?,
        None => Scope::of_container(id, manager)?,
    };
    Ok(Hierarchy::detect().create_scope(&scope, child, &wanted_limits(spec)?)?)
}

fn wanted_limits(spec: &Spec) -> Result<cgroups::Limits, Error> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    Ok(resources.map(limits_of_new_cgroup).transpose()?.unwrap_or_default())
}

/// Makes the cgroup before there is anybody to be in it. Where none can be made and no limit was asked for, the container
/// does without. A scope of systemd's has to wait: it is made around a process that exists.
pub(crate) fn of_nobody_yet(spec: &Spec, id: &str, options: &CreateOptions) -> Result<Option<Cgroup>, Error> {
    if options.cgroup_manager == CgroupManager::Systemd {
        return Ok(None);
    }
    let limits = wanted_limits(spec)?;
    let hierarchy = Hierarchy::detect();
    let asked = cgroups::Limits { devices: None, ..limits.clone() };
    if !hierarchy.is_usable() && asked.is_empty() && options.cgroup == IfNoCgroup::GoWithout {
        return Ok(None);
    }
    Ok(Some(hierarchy.create(&cgroup_path(spec, id)?, &limits)?))
}
