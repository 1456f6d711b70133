//! What chapter 3's exercises call that its program cannot show alone: a root with no more in it than the exercise needs.

use std::path::PathBuf;

use namespaces::{IdMaps, NamespaceKind, Plan, isolate};
use process::{ProcessStep, Program};
use rootfs::{DeviceSupply, MountPropagationFlags, RootedStep, RootfsStep};

/// `bare ROOT COMMAND...` gives the command a root with mounts and nothing else; `devices ROOT COMMAND...` also devices.
fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let mode = words.next().unwrap_or_default();
    let root = PathBuf::from(words.next().unwrap_or_default());
    let program = Program { arguments: words.collect(), environment: Vec::new() };
    let mut steps: Vec<RootedStep> = vec![
        RootfsStep::Isolate(MountPropagationFlags::DOWNSTREAM).into(),
        RootfsStep::BindRoot(root.clone()).into(),
        RootfsStep::AttachRoot(root).into(),
    ];
    steps.extend(rootfs::standard_mounts().into_iter().map(|mount| RootfsStep::Mount(mount).into()));
    if mode == "devices" {
        steps.push(RootfsStep::Devices(rootfs::default_devices(), DeviceSupply::BindFromHost).into());
    }
    steps.push(RootfsStep::PivotRoot.into());
    steps.push(ProcessStep::Exec(program).into());
    let kinds =
        NamespaceKind::ALL.into_iter().filter(|kind| !matches!(kind, NamespaceKind::User | NamespaceKind::Time));
    let mut child = isolate(&Plan::create(kinds), None, Some(&IdMaps::only_root()), steps)?;
    child.run_to_exec()?;
    std::process::exit(i32::from(child.pidfd().wait()?.code()))
}
