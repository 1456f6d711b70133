//! Killed at any moment, the engine leaves nothing that `prune` does not find.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::time::Duration;

use containers::{CreateOptions, Network, StartOptions};
use process::{PidFd, Signal};
use sandbox::{Sandbox, eventually, sh};

#[test]
fn a_monitor_that_is_killed_anywhere_leaves_nothing_that_prune_cannot_remove() {
    let Some(sandbox) = Sandbox::new() else { return };
    for step in 0..24 {
        let options = CreateOptions { network: Network::default(), ..sh("exec sleep 1000") };
        let container = sandbox.create(options).unwrap();
        let file = container.run_directory().join("monitor.json");
        std::thread::scope(|scope| {
            // Whether it says "started" or "the monitor ended before" depends on the moment.
            scope.spawn(|| drop(sandbox.engine.start(container.id(), &StartOptions::default())));
            let watcher = eventually(|| serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).ok()?).ok());
            std::thread::sleep(Duration::from_millis(step * 2));
            let pid = watcher.unwrap()["pid"].to_string().parse().unwrap();
            PidFd::open(pid).unwrap().signal(Signal::SIGKILL).unwrap();
        });
        let pruned = eventually(|| sandbox.engine.prune().unwrap().containers.pop());
        assert_eq!(pruned.as_ref(), Some(container.id()), "killed {} ms after its birth", step * 2);
        let leaks = eventually(|| Some(sandbox.leaks_of(container.id())).filter(Vec::is_empty));
        assert!(leaks.is_some(), "killed {} ms after its birth: {:?}", step * 2, sandbox.leaks_of(container.id()));
    }
}

#[test]
fn a_half_made_container_is_swept_away() {
    let Some(sandbox) = Sandbox::new() else { return };
    let directory = sandbox.root.path().join("containers").join("ab".repeat(32));
    std::fs::create_dir_all(directory.join("init")).unwrap();
    std::fs::write(sandbox.root.path().join("names/lost"), "ab".repeat(32)).unwrap();
    sandbox.engine.prune().unwrap();
    assert!(!directory.exists());
    sandbox.engine.prune().unwrap();
    assert!(!sandbox.root.path().join("names/lost").exists());
    sandbox.create(CreateOptions { name: Some("lost".into()), ..sh("true") }).unwrap();
}
