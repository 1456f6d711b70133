//! What a monitor does by itself: starts again what ended, and looks whether what runs is well.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::time::{Duration, Instant};

use containers::{
    Container, CreateOptions, EventOptions, HealthStatus, RemoveOptions, Resources, StartOptions, Status, Update,
    events,
};
use images::Healthcheck;
use process::{PidFd, Signal};
use sandbox::{Sandbox, eventually, sh};

fn restarting(policy: &str, script: &str) -> CreateOptions {
    CreateOptions { restart: policy.parse().unwrap(), ..sh(script) }
}

fn status(container: &Container) -> Status {
    container.life().unwrap().status
}

/// The first process, as soon as it is another one than `before`.
fn next_pid(container: &Container, before: Option<process::Pid>) -> process::Pid {
    eventually(|| container.life().unwrap().pid.filter(|pid| Some(*pid) != before)).expect("it is not started again")
}

#[test]
fn a_failure_is_tried_again_as_often_as_was_said() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(restarting("on-failure:2", "echo run; exit 3"));
    eventually(|| (status(&container) == Status::Exited).then_some(())).unwrap();
    let life = container.life().unwrap();
    assert_eq!((life.restart_count, life.exit_code, life.stopped), (2, Some(3), false));
    let logs = sandbox.engine.logs(container.id(), &containers::LogOptions::default()).unwrap();
    assert_eq!(logs.count(), 3);
    let good = sandbox.run_detached(restarting("on-failure", "exit 0"));
    eventually(|| (status(&good) == Status::Exited).then_some(())).unwrap();
    assert_eq!(good.life().unwrap().restart_count, 0);
    assert!(sandbox.create(CreateOptions { auto_remove: true, ..restarting("always", "true") }).is_err());
}

#[test]
fn what_is_killed_from_outside_comes_back_and_what_is_stopped_does_not() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(restarting("unless-stopped", "exec sleep 1000"));
    let first = next_pid(&container, None);
    PidFd::open(first).unwrap().signal(Signal::SIGKILL).unwrap();
    let second = next_pid(&container, Some(first));
    assert_eq!(container.life().unwrap().restart_count, 1);
    sandbox.engine.stop(container.id(), Some(Duration::ZERO)).unwrap();
    let life = container.life().unwrap();
    assert_eq!((life.status, life.stopped, life.exit_code), (Status::Exited, true, Some(137)), "after {second}");
    assert!(sandbox.engine.revive().unwrap().is_empty(), "somebody stopped it");

    // As after a reboot: its monitor is gone and nobody had stopped it.
    sandbox.engine.start(container.id(), &StartOptions::default()).unwrap();
    let file = container.run_directory().join("monitor.json");
    let watcher: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    PidFd::open(watcher["pid"].to_string().parse().unwrap()).unwrap().signal(Signal::SIGKILL).unwrap();
    eventually(|| (status(&container) == Status::Exited).then_some(())).unwrap();
    let revived = sandbox.engine.revive().unwrap();
    assert_eq!(revived.len(), 1);
    assert!(revived[0].1.is_none(), "{:?}", revived[0].1);
    next_pid(&container, None);
}

#[test]
fn between_two_runs_it_can_be_waited_for_stopped_and_removed() {
    let Some(sandbox) = Sandbox::new() else { return };
    let make = || {
        let container = sandbox.run_detached(restarting("always", "exit 5"));
        // The fourth pause is 800 ms long.
        eventually(|| (container.life().unwrap().restart_count >= 4).then_some(())).unwrap();
        eventually(|| (status(&container) == Status::Restarting).then_some(())).unwrap();
        container
    };
    let container = make();
    assert_eq!(sandbox.engine.wait(container.id()).unwrap(), Some(5));
    assert!(sandbox.engine.remove(container.id(), RemoveOptions::default()).is_err(), "it is about to run");
    let begun = Instant::now();
    sandbox.engine.stop(container.id(), None).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let life = container.life().unwrap();
    assert_eq!((life.status, life.exit_code, life.stopped), (Status::Exited, Some(5), true));
    let other = make();
    sandbox.engine.remove(other.id(), RemoveOptions { force: true, volumes: false }).unwrap();
    assert!(sandbox.engine.find(other.id().as_str()).is_err());
}

#[test]
fn a_container_is_as_well_as_its_checks_say_and_everybody_hears_of_it() {
    let Some(sandbox) = Sandbox::new() else { return };
    let check = |test: &str, retries| Healthcheck {
        test: vec!["CMD-SHELL".into(), test.into()],
        interval: 40_000_000,
        timeout: 400_000_000,
        retries,
        ..Healthcheck::default()
    };
    let mut heard = sandbox.engine.events().follow(EventOptions::default()).unwrap();
    let probe = "echo looked; test -e /tmp/well || { test -e /tmp/slow && sleep 100; exit 1; }";
    let options = CreateOptions { health: Some(check(probe, 2)), ..sh("exec sleep 1000") };
    let container = sandbox.run_detached(options);
    let health = || container.health().unwrap().unwrap();
    assert_eq!(health().status, HealthStatus::Starting);
    let becomes =
        |wanted| assert!(eventually(|| (health().status == wanted).then_some(())).is_some(), "{:?}", health());
    becomes(HealthStatus::Unhealthy);
    let log = health().log;
    assert_eq!((log[0].exit_code, log[0].output.as_str()), (1, "looked\n"));
    let sh = |script: &str| sandbox.command(&["exec", container.id().as_str(), "sh", "-c", script]);
    assert!(sh("touch /tmp/well").status.success());
    becomes(HealthStatus::Healthy);
    assert_eq!(health().failing_streak, 0);
    assert!(sh("touch /tmp/slow; rm /tmp/well").status.success());
    becomes(HealthStatus::Unhealthy);
    let last = eventually(|| health().log.pop().filter(|last| last.exit_code == -1)).unwrap();
    assert_eq!(last.output, "Health check exceeded timeout (400ms)");
    assert!(health().log.len() <= 5);
    sandbox.engine.pause(container.id()).unwrap();
    let looked = health();
    std::thread::sleep(Duration::from_millis(200));
    assert!(health().log.len() <= looked.log.len() + 1, "nobody looks at what is paused");
    // Nothing holds up its end, not even a check that goes on.
    sandbox.engine.stop(container.id(), Some(Duration::ZERO)).unwrap();
    let mut actions = Vec::new();
    while let events::Next::Event(event) = heard.within(Duration::ZERO).unwrap() {
        actions.push(event.action);
    }
    let told: Vec<&str> = actions.iter().filter_map(|action| action.strip_prefix("health_status: ")).collect();
    assert_eq!(told, ["unhealthy", "healthy", "unhealthy"]);
    actions.retain(|action| !action.starts_with("health") && !action.starts_with("exec"));
    // Its shell, as process 1, does not hear SIGTERM: asked first, then made.
    assert_eq!(actions, ["create", "start", "pause", "unpause", "kill", "kill", "die", "stop"]);
}

#[test]
fn limits_and_policies_change_while_a_container_runs() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(restarting("always", "exec sleep 1000"));
    let resources = Resources { pids_limit: Some(33), memory: Some(64 << 20), ..Resources::default() };
    let restart = Some("no".parse().unwrap());
    sandbox.engine.update(container.id(), &Update { resources, restart, ..Update::default() }).unwrap();
    let counted = sandbox.engine.usage(container.id()).unwrap().counted;
    assert_eq!((counted.pids.limit, counted.memory.limit), (Some(33), Some(64 << 20)));
    let wrong = Resources { memory: Some(1), ..Resources::default() };
    sandbox.engine.update(container.id(), &Update { resources: wrong, ..Update::default() }).unwrap_err();
    let kept = sandbox.engine.find(container.id().as_str()).unwrap().record().options.resources.clone();
    assert_eq!((kept.memory, kept.pids_limit), (Some(64 << 20), Some(33)));
    PidFd::open(next_pid(&container, None)).unwrap().signal(Signal::SIGKILL).unwrap();
    eventually(|| (status(&container) == Status::Exited).then_some(())).expect("its policy is another one now");
}
