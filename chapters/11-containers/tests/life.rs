//! A container's life, from the outside: what it prints, how it ends, what remains.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::time::{Duration, Instant};

use containers::{CreateOptions, Error, LogOptions, RemoveOptions, StartOptions, Status};
use sandbox::{Sandbox, command, eventually, sh};

#[test]
fn a_short_container_prints_everything_and_its_code_comes_back() {
    let Some(sandbox) = Sandbox::new() else { return };
    for round in 0..5 {
        let outcome = sandbox.run(sh("echo out; echo err >&2; exit 7")).unwrap();
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.code),
            ("out\n", "err\n", Some(7)),
            "{round}"
        );
    }
    let long = sandbox.run(sh("seq 1 100000")).unwrap();
    assert_eq!(long.stdout.lines().count(), 100_000);
}

#[test]
fn input_reaches_the_container_and_ends_there() {
    let Some(sandbox) = Sandbox::new() else { return };
    let interactive = CreateOptions { interactive: true, stdin_once: true, ..command(&["/bin/cat"]) };
    // Both ways at once, and more than every buffer on the way holds.
    let input = "0123456789abcde\n".repeat(1 << 16);
    let outcome = sandbox.run_with_input(interactive, input.as_bytes()).unwrap();
    assert_eq!((outcome.stdout.len(), outcome.code), (input.len(), Some(0)));
    assert!(outcome.stdout == input);
    assert_eq!(sandbox.run(command(&["/bin/wc", "-c"])).unwrap().stdout.trim(), "0", "without -i there is no input");
}

#[test]
fn exit_codes_are_docker_s() {
    let Some(sandbox) = Sandbox::new() else { return };
    let code = |options| match sandbox.run(options) {
        Ok(outcome) => outcome.code.unwrap(),
        Err(error) => error.exit_code(),
    };
    assert_eq!(code(command(&["/bin/true"])), 0);
    assert_eq!(code(command(&["/bin/false"])), 1);
    assert_eq!(code(command(&["/no/such/program"])), 127);
    assert_eq!(code(command(&["no-such-program"])), 127);
    assert_eq!(code(command(&["/bin/no-program"])), 126);
    assert_eq!(code(command(&["/tmp"])), 126);
    assert_eq!(code(sh("kill -TERM $$; sleep 1")), 0, "the first process ignores signals that it does not handle");
    assert_eq!(code(CreateOptions { user: Some("nobody-here".into()), ..sh("true") }), 125);
}

#[test]
fn a_spoilt_record_hides_no_other_container_and_can_be_removed() {
    let Some(sandbox) = Sandbox::new() else { return };
    let (spoilt, sound) = (sandbox.create(sh("true")).unwrap(), sandbox.create(sh("true")).unwrap());
    std::fs::write(spoilt.directory().join("container.json"), "{ \"id\": ").unwrap();
    let listed = sandbox.engine.list(containers::All::Yes).unwrap();
    assert_eq!(listed.iter().map(|it| it.id()).collect::<Vec<_>>(), [sound.id()]);
    let damaged = sandbox.engine.survey().unwrap().damaged;
    assert_eq!(damaged[0].0, *spoilt.id());
    assert!(damaged[0].1.to_string().contains("container.json"), "{}", damaged[0].1);
    let mine = sandbox.engine.volumes().ensure(Some("mine")).unwrap().0;
    assert!(sandbox.engine.remove_volume(&mine.name).is_err(), "who knows whose it is?");

    let id = sandbox.engine.resolve(spoilt.id().short()).unwrap();
    assert!(sandbox.engine.remove(&id, RemoveOptions::default()).is_err(), "not by mistake");
    sandbox.engine.remove(&id, RemoveOptions { force: true, volumes: false }).unwrap();
    assert!(sandbox.engine.survey().unwrap().damaged.is_empty() && !spoilt.directory().exists());
    sandbox.engine.remove_volume(&mine.name).unwrap();
    // Its name is free again.
    sandbox.create(CreateOptions { name: Some(spoilt.name().into()), ..sh("true") }).unwrap();
}

#[test]
fn a_record_holds_what_was_asked_for_and_reads_back_whole() {
    let Some(sandbox) = Sandbox::new() else { return };
    let asked = CreateOptions { terminal: true, stop_timeout: Some(3), ..sh("true") };
    let written = sandbox.create(asked.clone()).unwrap();
    let text = std::fs::read_to_string(written.directory().join("container.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&record["options"]["terminal"], &record["options"]["stop_timeout"]), (&true.into(), &3.into()));
    assert!(!text.contains("cap_add") && !text.contains("read_only"), "nobody asked for these: {text}");
    let read = sandbox.engine.container(written.id()).unwrap();
    assert_eq!(read.record(), written.record());
    // As records were written before, with everything that nobody asked for.
    let mut long = record.clone();
    long["options"] = serde_json::to_value(&read.record().options).unwrap();
    assert!(long["options"]["security"]["cap_add"].is_array());
    std::fs::write(written.directory().join("container.json"), long.to_string()).unwrap();
    assert_eq!(sandbox.engine.container(written.id()).unwrap().record(), written.record());
}

/// What a power cut leaves of a container that was to go away at its end: names of files, perhaps, and nothing in them.
#[test]
fn a_record_left_empty_is_no_container_and_is_swept() {
    let Some(sandbox) = Sandbox::new() else { return };
    let created = sandbox.create(CreateOptions { auto_remove: true, ..sh("true") }).unwrap();
    let name = sandbox.engine.paths().names().join(created.name());
    for file in [&created.directory().join("container.json"), &name] {
        std::fs::write(file, "").unwrap();
    }
    let survey = sandbox.engine.survey().unwrap();
    assert!(survey.sound.is_empty() && survey.damaged.is_empty());
    assert!(sandbox.engine.find(created.name()).is_err());
    // Its name can be had before anybody sweeps.
    let other = sandbox.create(CreateOptions { name: Some(created.name().into()), ..sh("true") }).unwrap();
    assert_eq!(sandbox.engine.find(created.name()).unwrap().id(), other.id());
    sandbox.engine.prune().unwrap();
    assert!(!created.directory().exists());
}

#[test]
fn a_restart_keeps_what_rm_would_remove_and_the_next_end_does_not() {
    let Some(sandbox) = Sandbox::new() else { return };
    let options = CreateOptions { auto_remove: true, ..sh("echo again >> /log; exec sleep 1000") };
    let container = sandbox.run_detached(options);
    let id = container.id();
    let first = container.life().unwrap().pid;
    for _ in 0..2 {
        sandbox.engine.restart(id, Some(Duration::ZERO), &StartOptions::default()).unwrap();
    }
    assert_ne!(container.life().unwrap().pid, first);
    let log = container.upper().join("log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    assert!(eventually(|| (lines() == 3).then_some(())).is_some(), "{}", lines());
    sandbox.engine.stop(id, Some(Duration::ZERO)).unwrap();
    assert!(eventually(|| (!container.directory().exists()).then_some(())).is_some());
}

#[test]
fn processes_and_changes_are_seen_from_outside() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(sh("echo x > /added; rm /etc/group; sleep 1000 & exec sleep 2000"));
    let commands = || -> Vec<String> {
        sandbox.engine.processes(container.id()).unwrap().into_iter().map(|row| row.command).collect()
    };
    assert!(eventually(|| (commands() == ["sleep 2000", "sleep 1000"]).then_some(())).is_some(), "{:?}", commands());
    let changes = sandbox.engine.changes(container.id()).unwrap();
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["A /added", "C /etc", "D /etc/group"]);
    sandbox.engine.stop(container.id(), Some(Duration::ZERO)).unwrap();
    assert!(matches!(sandbox.engine.processes(container.id()), Err(Error::WrongState { .. })));
    assert_eq!(sandbox.engine.changes(container.id()).unwrap().len(), 3, "they outlive the run");
}

#[test]
fn a_name_belongs_to_one_container() {
    let Some(sandbox) = Sandbox::new() else { return };
    let named = |name: &str| CreateOptions { name: Some(name.into()), ..sh("true") };
    let first = sandbox.create(named("web")).unwrap();
    let error = sandbox.create(named("web")).unwrap_err();
    assert!(matches!(&error, Error::NameInUse { name, .. } if name == "web"), "{error}");
    assert!(error.to_string().contains(first.id().short()));
    sandbox.engine.rename(first.id(), "old").unwrap();
    let second = sandbox.create(named("web")).unwrap();
    assert_eq!(sandbox.engine.find("old").unwrap().id(), first.id());
    assert_eq!(sandbox.engine.find(&second.id().as_str()[..20]).unwrap().name(), "web");
    sandbox.engine.remove(second.id(), RemoveOptions::default()).unwrap();
    sandbox.create(named("web")).unwrap();
}

#[test]
fn a_container_lives_on_is_logged_and_stops() {
    let Some(sandbox) = Sandbox::new() else { return };
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let container = sandbox.run_detached(sh(script));
    let logs = |options: &LogOptions| -> Vec<String> {
        sandbox.engine.logs(container.id(), options).unwrap().map(|line| line.unwrap().log).collect()
    };
    eventually(|| (logs(&LogOptions::default()) == ["ready\n"]).then_some(())).unwrap();
    assert_eq!(container.life().unwrap().status, Status::Running);
    let refused = sandbox.engine.remove(container.id(), RemoveOptions::default()).unwrap_err();
    assert!(matches!(refused, Error::WrongState { .. }), "{refused}");
    let again = sandbox.engine.start(container.id(), &StartOptions::default()).unwrap_err();
    assert!(again.to_string().contains("running"), "{again}");

    let follower = std::thread::scope(|scope| {
        let follower = scope.spawn(|| logs(&LogOptions { follow: true, ..LogOptions::default() }));
        sandbox.engine.stop(container.id(), Some(Duration::from_secs(5))).unwrap();
        follower.join().unwrap()
    });
    assert_eq!(follower, ["ready\n", "bye\n"]);
    let life = container.life().unwrap();
    assert_eq!((life.status, life.exit_code), (Status::Exited, Some(3)));
    assert!(life.finished_at > life.started_at);

    let second = sandbox.engine.start(container.id(), &StartOptions::default()).unwrap();
    assert!(second.attachment.is_none());
    sandbox.engine.stop(container.id(), Some(Duration::from_secs(5))).unwrap();
}

#[test]
fn what_does_not_stop_is_killed() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(command(&["/bin/sleep", "1000"]));
    let begin = Instant::now();
    sandbox.engine.stop(container.id(), Some(Duration::from_millis(300))).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(sandbox.engine.wait(container.id()).unwrap(), Some(137));
}

#[test]
fn rm_leaves_nothing_of_a_container_with_rm() {
    let Some(sandbox) = Sandbox::new() else { return };
    let outcome = sandbox.run(CreateOptions { auto_remove: true, ..sh("exit 5") }).unwrap();
    assert_eq!(outcome.code, Some(5));
    assert!(sandbox.engine.list(containers::All::Yes).unwrap().is_empty());
    assert!(sandbox.run(CreateOptions { auto_remove: true, ..command(&["/nope"]) }).is_err());
    assert!(sandbox.engine.list(containers::All::Yes).unwrap().is_empty());
}

#[test]
fn a_monitor_s_death_is_noticed_and_everything_can_still_be_removed() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(command(&["/bin/sleep", "1000"]));
    let watcher = std::fs::read_to_string(container.run_directory().join("monitor.json")).unwrap();
    let watcher: serde_json::Value = serde_json::from_str(&watcher).unwrap();
    let first = container.life().unwrap().pid.unwrap();
    process::PidFd::open(watcher["pid"].to_string().parse().unwrap())
        .unwrap()
        .signal(process::Signal::SIGKILL)
        .unwrap();
    let life = eventually(|| container.life().ok().filter(|life| life.status == Status::Exited)).unwrap();
    assert_eq!(life.exit_code, None, "nobody saw how it ended");
    // Its process outlives the monitor, until somebody looks: nobody is told that it is over while it is not.
    let ended = || process::PidFd::open(first).map_or(true, |it| it.ended_within(Duration::ZERO).unwrap());
    assert!(!ended());
    assert_eq!(sandbox.engine.inspect(container.id()).unwrap()["State"]["ExitCode"], -1);
    assert!(ended(), "whoever says that it is over has ended it");
    assert!(sandbox.leaks().is_empty(), "{:?}", sandbox.leaks());
    assert_eq!(sandbox.engine.wait(container.id()).unwrap(), None);
    sandbox.engine.remove(container.id(), RemoveOptions { force: true, volumes: true }).unwrap();
    eventually(|| (!std::path::Path::new(&format!("/proc/{first}")).exists()).then_some(())).unwrap();
}

#[test]
fn who_runs_is_told_by_the_monitor_that_wrote_it_or_by_the_one_that_is_there() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(command(&["/bin/sleep", "1000"]));
    let status = || container.life().unwrap().status;
    let (named, aside) = (container.run_directory().join("monitor.json"), container.run_directory().join("aside"));
    let state = container.directory().join("state.json");
    let written = std::fs::read_to_string(&state).unwrap();
    let of_another = |start_time: u64| {
        let mut life: serde_json::Value = serde_json::from_str(&written).unwrap();
        life["monitor"]["start_time"] = start_time.into();
        std::fs::write(&state, life.to_string()).unwrap();
    };
    // It lives, and its word is enough: what the file says is not asked.
    std::fs::copy(&named, &aside).unwrap();
    std::fs::write(&named, "").unwrap();
    assert_eq!(status(), Status::Running);
    // Another process has its number now: nobody watches.
    of_another(1);
    assert_eq!(status(), Status::Exited);
    // The state is of an earlier monitor, or tells of none; one is there all the same.
    std::fs::rename(&aside, &named).unwrap();
    assert_eq!(status(), Status::Running);
    // The directory of runs was emptied: nobody watches, whatever the state says.
    std::fs::write(&state, &written).unwrap();
    std::fs::rename(&named, &aside).unwrap();
    assert_eq!(status(), Status::Exited);
    std::fs::rename(&aside, &named).unwrap();
    std::fs::write(&state, "{\"status\":\"running\"}").unwrap();
    assert_eq!(status(), Status::Running);
    std::fs::write(&state, &written).unwrap();
    sandbox.engine.stop(container.id(), Some(Duration::ZERO)).unwrap();
    assert_eq!(status(), Status::Exited);
}

#[test]
fn a_frozen_container_can_be_thawed_and_stopped() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(sh("trap 'exit 4' TERM; while :; do sleep 0.05; done"));
    sandbox.engine.pause(container.id()).unwrap();
    assert_eq!(container.life().unwrap().status, Status::Paused);
    sandbox.engine.unpause(container.id()).unwrap();
    sandbox.engine.pause(container.id()).unwrap();
    sandbox.engine.stop(container.id(), Some(Duration::from_secs(5))).unwrap();
    assert_eq!(container.life().unwrap().exit_code, Some(4));
}
