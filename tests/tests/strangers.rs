//! Images travel between Cooper and the tools that others use, through registries of both sides.

#![allow(clippy::unwrap_used)]

use process::needs;
use tests::engine::{Cooper, Who};
use tests::peers::{Beside, Containers, Server, free_address};

fn everybody() -> bool {
    Beside::able() && ["skopeo", "podman"].iter().all(|name| needs::program(name))
}

/// A stranger's image, pulled and run.
fn pull_and_run(who: Who) {
    let Beside { cooper, registry: _registry, busybox: image, place: _place, .. } = Beside::new(who).unwrap();
    cooper.run(&["pull", &image]).ok();
    assert!(cooper.run(&["images"]).ok().contains("busybox"));
    let said = cooper.run(&["run", "--rm", "--network", "none", &image, "sh", "-c", "echo $FROM $$; hostname"]).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "buildah 1", "its environment, and pid 1");
    assert_eq!(lines[1].len(), 12, "a short id as its host name: {said}");

    cooper.write("data/file", "from outside\n");
    let volume = format!("{}:/data:ro", cooper.work().join("data").display());
    let script = "cat file; echo $A; touch /data/x";
    let run =
        ["run", "--rm", "--network", "none", "-e", "A=b", "-v", &volume, "-w", "/data", &image, "sh", "-c", script];
    let said = cooper.run(&run);
    assert_eq!(said.out, "from outside\nb\n");
    assert!(said.err.contains("Read-only file system"), "{}", said.err);
    cooper.finish();
}

#[test]
fn an_image_of_buildah_is_pulled_and_run() {
    if everybody() {
        pull_and_run(Who::Caller);
    }
}

#[test]
fn an_ordinary_user_pulls_and_runs_it_too() {
    if everybody() && needs::account("learner") && needs::user_namespaces() {
        pull_and_run(Who::Learner);
    }
}

#[test]
fn what_cooper_builds_and_pushes_is_read_by_skopeo_and_run_by_podman() {
    if !everybody() {
        return;
    }
    let Beside { cooper, registry, peers: others, busybox: base, place: _place } = Beside::new(Who::Caller).unwrap();
    cooper.write("Dockerfile", &format!("FROM {base}\nRUN echo made by cooper > /note\nCMD [\"cat\", \"/note\"]\n"));
    cooper.run(&["build", "-t", "note", "."]).ok();
    let target = format!("{}/me/note:1", registry.address());
    cooper.run(&["tag", "note", &target]).ok();
    cooper.run(&["push", &target]).ok();

    let inspected = others.skopeo(&["inspect", "--tls-verify=false", &format!("docker://{target}")]).ok();
    assert!(inspected.contains("me/note"), "{inspected}");
    others.podman(&["pull", "--quiet", "--tls-verify=false", &target]).ok();
    let said = others.podman(&["run", "--rm", "--network", "none", &target]).ok();
    assert_eq!(said, "made by cooper\n");
    cooper.finish();
}

#[test]
fn a_registry_of_ours_serves_skopeo_cooper_and_podman() {
    if !everybody() {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    let place = tempfile::tempdir().unwrap();
    let others = Containers::new(place.path()).unwrap();
    let address = free_address().unwrap();
    let storage = place.path().join("ours");
    let serve = ["registry", "serve", "--listen", &address, "--storage", &storage.to_string_lossy()];
    let registry = Server::start(&mut cooper.command(&serve), address.clone()).unwrap();

    others.push_busybox(registry.address());
    let copied = format!("docker://{address}/copied:1");
    let from = format!("docker://{address}/busybox:1");
    others.skopeo(&["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &copied]).ok();
    cooper.run(&["run", "--rm", "hello"]).ok();
    let ours = format!("{address}/hello:1");
    cooper.run(&["tag", "hello", &ours]).ok();
    cooper.run(&["push", &ours]).ok();

    others.podman(&["pull", "--quiet", "--tls-verify=false", &format!("{address}/copied:1")]).ok();
    others.podman(&["pull", "--quiet", "--tls-verify=false", &ours]).ok();
    drop(registry);
    cooper.finish();
}

#[test]
fn a_registry_that_nobody_answers_for_is_a_clear_error() {
    let cooper = Cooper::new(Who::Caller).unwrap();
    let image = format!("{}/nothing:1", free_address().unwrap());
    let told = cooper.run(&["pull", &image]).fails(1);
    assert!(told.contains("refused"), "{told}");
    let told = cooper.run(&["run", "--rm", &image]).fails(125);
    assert!(told.contains(&image), "{told}");
    cooper.finish();
}
