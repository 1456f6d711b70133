//! A container's map as text.

use std::fmt::Write as _;

use crate::map::{Group, Scene, size};

/// The whole map, a line a fact.
pub(crate) fn draw(scene: &Scene) -> String {
    let mut text = format!("{}  {}  {}\n", scene.name, scene.id, scene.image);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "├─ process     {}  (pid {} here, uid {})", scene.command, scene.pid, scene.user);
    branch(&mut text, "namespaces", &namespaces(scene));
    branch(&mut text, "mounts", &mounts(scene));
    branch(&mut text, "cgroup", &group(&scene.group));
    branch(&mut text, "privileges", &privileges(scene));
    let lines = network(scene);
    for (index, line) in lines.iter().enumerate() {
        let head = if index == 0 { "└─ network    " } else { "              " };
        let _ = writeln!(text, "{head} {line}");
    }
    text
}

fn branch(text: &mut String, title: &str, lines: &[String]) {
    for (index, line) in lines.iter().enumerate() {
        let head = if index == 0 { format!("├─ {title:11}") } else { format!("│  {:11}", "") };
        let _ = writeln!(text, "{head} {line}");
    }
}

fn namespaces(scene: &Scene) -> Vec<String> {
    let list = |shared: bool| {
        let some = scene.namespaces.iter().filter(|namespace| namespace.shared == shared);
        some.map(|namespace| format!("{}:[{}]", namespace.kind, namespace.number)).collect::<Vec<_>>().join(" ")
    };
    let (own, shared) = (list(false), list(true));
    let shared = (!shared.is_empty()).then(|| format!("shared with this command: {shared}"));
    [format!("its own: {own}")].into_iter().chain(shared).collect()
}

fn mounts(scene: &Scene) -> Vec<String> {
    let widest = scene.mounts.iter().map(|mount| mount.target.chars().count()).max().unwrap_or(0).min(40);
    let line = |mount: &crate::map::Mount| {
        let access = if mount.read_only { "ro" } else { "rw" };
        format!("{:widest$}  {access}  {:8} {}", mount.target, mount.kind, mount.source)
    };
    let covered = (!scene.covered.is_empty()).then(|| format!("masked or made read-only: {}", scene.covered.join(" ")));
    scene.mounts.iter().map(line).chain(covered).collect()
}

fn group(group: &Group) -> Vec<String> {
    let most = |limit: Option<u64>, show: fn(u64) -> String| limit.map_or("no limit".to_owned(), show);
    vec![
        group.path.clone(),
        format!(
            "memory {} of {}, processes {} of {}, {:.2} s of processor time",
            size(group.memory.0),
            most(group.memory.1, size),
            group.pids.0,
            most(group.pids.1, |count| count.to_string()),
            group.cpu
        ),
    ]
}

fn privileges(scene: &Scene) -> Vec<String> {
    let nnp = if scene.no_new_privileges { "no_new_privs" } else { "may gain privileges by exec" };
    let list = if scene.capabilities.is_empty() { "none".to_owned() } else { scene.capabilities.join(" ") };
    vec![format!("capabilities: {list}"), format!("seccomp: {}, {nnp}", scene.seccomp)]
}

fn network(scene: &Scene) -> Vec<String> {
    let mut lines = Vec::new();
    for wire in &scene.wires {
        lines.push(format!("{} {} {}", wire.interface, wire.addresses.join(" "), wire.mac));
        if !wire.bridged {
            lines.push(format!("  └ network {}, made by a plugin", wire.network));
            continue;
        }
        lines.push(format!(
            "  ╚═ {} ═ bridge {} {} (network {})",
            wire.host_end, wire.bridge, wire.gateway, wire.network
        ));
        lines.push(format!("     └ table inet {}: {}", wire.table, wire.way_out));
    }
    if lines.is_empty() {
        let shared = scene.namespaces.iter().any(|namespace| namespace.kind == "net" && namespace.shared);
        lines.push(if shared { "this machine's own" } else { "no network of this engine's bridges" }.to_owned());
    }
    lines.extend(scene.ports.iter().map(|port| format!("published {port}")));
    lines
}
