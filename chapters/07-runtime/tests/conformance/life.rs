//! runtime.md: scope, state, life cycle, operations, errors.

use serde_json::{Value, json};

use crate::Case;
use crate::scene::{Scene, Verdict, groups, holds};

pub(crate) const CASES: &[Case] = &[
    Case { section: "runtime.md#state", rule: "ociVersion, id, status, pid, bundle, annotations", test: state },
    Case { section: "runtime.md#state", rule: "created, then running, then stopped", test: statuses },
    Case { section: "runtime.md#query-state", rule: "without an id it is an error", test: state_of_nobody },
    Case {
        section: "runtime.md#query-state",
        rule: "of a container that does not exist it is an error",
        test: state_of_none,
    },
    Case { section: "runtime.md#create", rule: "without an id it is an error", test: create_nobody },
    Case { section: "runtime.md#create", rule: "without a configuration it is an error", test: create_nothing },
    Case {
        section: "runtime.md#create",
        rule: "an id that is taken is an error, and its owner is not touched",
        test: taken,
    },
    Case { section: "runtime.md#create", rule: "an id that is none is an error", test: no_id },
    Case { section: "runtime.md#create", rule: "the program does not run yet", test: not_yet },
    Case {
        section: "runtime.md#create",
        rule: "changes of the configuration afterwards have no effect",
        test: changed_afterwards,
    },
    Case { section: "runtime.md#create", rule: "what cannot be applied leaves no container", test: nothing_is_left },
    Case { section: "runtime.md#start", rule: "without an id it is an error", test: start_nobody },
    Case { section: "runtime.md#start", rule: "runs the program", test: start },
    Case {
        section: "runtime.md#start",
        rule: "of a container that is not created it is an error without effect",
        test: start_twice,
    },
    Case { section: "runtime.md#start", rule: "without a process it is an error", test: no_process },
    Case { section: "runtime.md#kill", rule: "without an id it is an error", test: kill_nobody },
    Case { section: "runtime.md#kill", rule: "sends the signal that is asked for", test: kill },
    Case { section: "runtime.md#kill", rule: "works on a created container", test: kill_created },
    Case { section: "runtime.md#kill", rule: "of a stopped container it is an error", test: kill_stopped },
    Case { section: "runtime.md#delete", rule: "without an id it is an error", test: delete_nobody },
    Case {
        section: "runtime.md#delete",
        rule: "of a running container it is an error without effect",
        test: delete_running,
    },
    Case {
        section: "runtime.md#delete",
        rule: "of a created container it is an error without effect",
        test: delete_created,
    },
    Case { section: "runtime.md#delete", rule: "removes what create has made", test: delete },
    Case { section: "runtime.md#delete", rule: "leaves alone what others have made", test: delete_spares },
];

fn state(scene: &Scene<'_>) -> Verdict {
    scene.configure("sleep 100", |config| config["annotations"] = json!({"org.example.x": "y"}));
    holds(scene.create(), "the runtime refuses it")?;
    let state = scene.state();
    holds(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "no ociVersion")?;
    holds(state["id"] == scene.id().as_str(), "another id")?;
    holds(state["status"] == "created", "another status")?;
    let pid = state["pid"].as_i64().unwrap_or(0);
    holds(std::path::Path::new(&format!("/proc/{pid}")).exists() && pid > 1, "no pid")?;
    holds(
        state["bundle"].as_str() == scene.path("").to_str().map(|path| path.trim_end_matches('/')),
        "another bundle",
    )?;
    holds(state["annotations"]["org.example.x"] == "y", "no annotations")
}

fn statuses(scene: &Scene<'_>) -> Verdict {
    scene.configure("sleep 100", |_| {});
    holds(scene.create() && scene.status() == "created", "it is not created")?;
    holds(scene.start() && scene.status() == "running", "it is not running")?;
    scene.call(&["kill", &scene.id(), "KILL"]);
    scene.until("stopped")
}

fn state_of_nobody(scene: &Scene<'_>) -> Verdict {
    scene.call(&["state"]).fails("it is none")
}

fn state_of_none(scene: &Scene<'_>) -> Verdict {
    scene.call(&["state", "nobody-has-this-id"]).fails("it is none")
}

fn create_nobody(scene: &Scene<'_>) -> Verdict {
    scene.configure("true", |_| {});
    scene.call(&["create"]).fails("it is none")
}

fn create_nothing(scene: &Scene<'_>) -> Verdict {
    holds(!scene.create() && scene.state().is_null(), "it is none")
}

fn taken(scene: &Scene<'_>) -> Verdict {
    scene.configure("sleep 100", |_| {});
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    let before = scene.state();
    holds(!scene.create(), "a second is made")?;
    holds(scene.state() == before, "the first is touched")
}

fn no_id(scene: &Scene<'_>) -> Verdict {
    scene.configure("true", |_| {});
    for id in ["", "../x", "a/b", "a b"] {
        scene.call(&["run", id]).fails("one is taken")?;
    }
    Ok(())
}

fn not_yet(scene: &Scene<'_>) -> Verdict {
    scene.configure("echo ran", |_| {});
    holds(scene.create(), "the runtime refuses it")?;
    std::thread::sleep(std::time::Duration::from_millis(50));
    holds(scene.printed().is_empty(), "it does")
}

fn changed_afterwards(scene: &Scene<'_>) -> Verdict {
    scene.configure("echo first", |_| {});
    holds(scene.create(), "the runtime refuses it")?;
    scene.configure("echo second", |_| {});
    holds(scene.start(), "it does not start")?;
    holds(scene.stopped()? == "first", "they have")
}

fn nothing_is_left(scene: &Scene<'_>) -> Verdict {
    let path = format!("/conformance/{}", scene.id());
    scene.configure("true", |config| {
        config["linux"]["cgroupsPath"] = json!(path);
        let nonsense = json!({"destination": "/m", "type": "nonsense", "source": "x"});
        config["mounts"].as_array_mut().unwrap().push(nonsense);
    });
    holds(!scene.create(), "it is created")?;
    holds(scene.state().is_null(), "a container is left")?;
    holds(groups(&scene.id()).is_empty(), "a cgroup is left")
}

fn start_nobody(scene: &Scene<'_>) -> Verdict {
    scene.call(&["start"]).fails("it is none")
}

fn start(scene: &Scene<'_>) -> Verdict {
    scene.configure("echo ran", |_| {});
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    holds(scene.stopped()? == "ran", "it does not")
}

fn start_twice(scene: &Scene<'_>) -> Verdict {
    scene.configure("echo ran; sleep 100", |_| {});
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    holds(!scene.start() && scene.status() == "running", "a running one is started")?;
    scene.call(&["kill", &scene.id(), "KILL"]);
    scene.until("stopped")?;
    holds(!scene.start() && scene.status() == "stopped" && scene.printed() == "ran", "a stopped one is started")
}

fn no_process(scene: &Scene<'_>) -> Verdict {
    scene.configure("true", |config| {
        config.as_object_mut().unwrap().remove("process");
    });
    holds(scene.create(), "create fails, though only start has to")?;
    holds(!scene.start(), "it is none")
}

fn kill_nobody(scene: &Scene<'_>) -> Verdict {
    scene.call(&["kill"]).fails("it is none")
}

fn kill(scene: &Scene<'_>) -> Verdict {
    scene.configure("trap 'echo usr1; exit' USR1; echo ready; while :; do sleep 0.01; done", |_| {});
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    while scene.printed().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    scene.call(&["kill", &scene.id(), "USR1"]);
    holds(scene.stopped()? == "ready\nusr1", "another is sent")
}

fn kill_created(scene: &Scene<'_>) -> Verdict {
    scene.configure("true", |_| {});
    holds(scene.create(), "the runtime refuses it")?;
    holds(scene.call(&["kill", &scene.id(), "KILL"]).code == Some(0), "it does not")?;
    scene.until("stopped")
}

fn stopped(scene: &Scene<'_>) -> Verdict {
    scene.configure("true", |_| {});
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    scene.until("stopped")
}

fn kill_stopped(scene: &Scene<'_>) -> Verdict {
    stopped(scene)?;
    scene.call(&["kill", &scene.id(), "KILL"]).fails("it is none")
}

fn delete_nobody(scene: &Scene<'_>) -> Verdict {
    scene.call(&["delete"]).fails("it is none")
}

fn delete_running(scene: &Scene<'_>) -> Verdict {
    scene.configure("sleep 100", |_| {});
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    scene.call(&["delete", &scene.id()]).fails("it is none")?;
    holds(scene.status() == "running", "it has an effect")
}

fn delete_created(scene: &Scene<'_>) -> Verdict {
    scene.configure("sleep 100", |_| {});
    holds(scene.create(), "the runtime refuses it")?;
    scene.call(&["delete", &scene.id()]).fails("it is none")?;
    holds(scene.status() == "created", "it has an effect")
}

fn delete(scene: &Scene<'_>) -> Verdict {
    let path = format!("/conformance/{}", scene.id());
    scene.configure("true", |config: &mut Value| config["linux"]["cgroupsPath"] = json!(path));
    holds(scene.create() && !groups(&scene.id()).is_empty() && scene.start(), "the runtime refuses it")?;
    scene.until("stopped")?;
    holds(scene.call(&["delete", &scene.id()]).code == Some(0), "it fails")?;
    holds(scene.state().is_null(), "the container is left")?;
    holds(groups(&scene.id()).is_empty(), "a cgroup is left")
}

fn delete_spares(scene: &Scene<'_>) -> Verdict {
    stopped(scene)?;
    scene.call(&["delete", &scene.id()]);
    holds(scene.path("config.json").exists() && scene.path("rootfs/bin/busybox").exists(), "the bundle is gone")
}
