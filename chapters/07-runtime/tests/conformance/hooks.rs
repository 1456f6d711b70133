//! config.md, "POSIX-platform Hooks", and what runtime.md says of hooks that fail.

use serde_json::{Value, json};

use crate::Case;
use crate::scene::{Scene, Verdict, holds};

pub(crate) const CASES: &[Case] = &[
    Case {
        section: "config.md#posix-platform-hooks",
        rule: "hooks are called in their order, at their points",
        test: order,
    },
    Case {
        section: "config.md#posix-platform-hooks",
        rule: "each reads the state, with the status of its point",
        test: states,
    },
    Case { section: "config.md#posix-platform-hooks", rule: "args and env are the hook's", test: args_and_env },
    Case { section: "config.md#posix-platform-hooks", rule: "a path must be absolute", test: relative_path },
    Case { section: "config.md#posix-platform-hooks", rule: "a timeout must be more than zero", test: no_timeout },
    Case { section: "config.md#posix-platform-hooks", rule: "a hook that outlasts its timeout fails", test: timeout },
    Case {
        section: "config.md#createruntime-hooks",
        rule: "prestart and createRuntime run in the runtime's namespaces",
        test: outside,
    },
    Case {
        section: "config.md#createcontainer-hooks",
        rule: "createContainer: a path of the runtime's, the container's namespaces",
        test: create_container,
    },
    Case {
        section: "config.md#startcontainer-hooks",
        rule: "startContainer: a path of the container's, its namespaces",
        test: start_container,
    },
    Case { section: "config.md#poststart", rule: "poststart runs before start returns", test: poststart },
    Case {
        section: "config.md#poststop",
        rule: "poststop runs after the deletion, before delete returns",
        test: poststop,
    },
    Case {
        section: "runtime.md#lifecycle",
        rule: "a failing prestart, createRuntime or createContainer stops the container",
        test: failing_early,
    },
    Case {
        section: "runtime.md#lifecycle",
        rule: "a failing createRuntime is followed by the poststop hooks",
        test: failing_then_poststop,
    },
    Case {
        section: "runtime.md#lifecycle",
        rule: "a failing startContainer stops the container; the program never runs",
        test: failing_start,
    },
    Case {
        section: "runtime.md#lifecycle",
        rule: "a failing poststart is a warning (until 1.2), and the rest goes on",
        test: failing_poststart,
    },
    Case {
        section: "runtime.md#lifecycle",
        rule: "a failing poststart stops the container (since 1.3)",
        test: failing_poststart_later,
    },
    Case {
        section: "runtime.md#lifecycle",
        rule: "a failing poststop is a warning, and the rest goes on",
        test: failing_poststop,
    },
];

/// Hooks of the container's own point: their program is looked up inside.
fn inside(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]})
}

fn failing() -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; exit 1"]})
}

fn order(scene: &Scene<'_>) -> Verdict {
    let note = |name: &str| scene.hook(&format!("echo {name} >> HERE/log"));
    let twice = |name: &str| json!([note(name), note(name)]);
    scene.configure("echo program >> /log", |config| {
        config["hooks"] = json!({
            "poststop": twice("poststop"),
            "poststart": [scene.hook("cat HERE/rootfs/log >> HERE/log; echo poststart >> HERE/log")],
            // It takes a while: who does not wait for it is found out each time.
            "startContainer": [inside("cat > /dev/null; sleep 0.3; echo startContainer >> /log")],
            "createContainer": twice("createContainer"),
            "createRuntime": twice("createRuntime"),
            "prestart": twice("prestart"),
        });
    });
    holds(scene.create(), "the runtime refuses it")?;
    let created = "prestart prestart createRuntime createRuntime createContainer createContainer";
    holds(scene.read("log").replace('\n', " ") == created, "another order at create")?;
    holds(scene.start(), "it does not start")?;
    scene.stopped()?;
    let log = scene.read("log").replace('\n', " ");
    // The program may have written its line or not when poststart looks.
    holds(
        log.starts_with(&format!("{created} startContainer")) && log.ends_with(" poststart"),
        "another order at start",
    )?;
    scene.call(&["delete", &scene.id()]);
    holds(scene.read("log").ends_with("poststart\npoststop\npoststop"), "another order at delete")
}

fn states(scene: &Scene<'_>) -> Verdict {
    let keep = |name: &str| json!([scene.hook(&format!("cat > HERE/{name}.json"))]);
    scene.configure("true", |config| {
        config["annotations"] = json!({"org.example.x": "y"});
        config["hooks"] = json!({
            "createRuntime": keep("createRuntime"), "createContainer": keep("createContainer"),
            "startContainer": [inside("cat > /startContainer.json")],
            "poststart": keep("poststart"), "poststop": keep("poststop"),
        });
    });
    holds(scene.create() && scene.start(), "it does not start")?;
    scene.stopped()?;
    scene.call(&["delete", &scene.id()]);
    let points = [
        ("createRuntime.json", "creating"),
        ("createContainer.json", "creating"),
        ("rootfs/startContainer.json", "created"),
        ("poststart.json", "running"),
        ("poststop.json", "stopped"),
    ];
    for (file, status) in points {
        let state: Value = serde_json::from_str(&scene.read(file)).map_err(|_| "one reads no state")?;
        holds(state["id"] == scene.id().as_str() && state["ociVersion"].is_string(), "a state without id or version")?;
        holds(state["bundle"].as_str() == scene.path("").to_str().map(|path| path.trim_end_matches('/')), "no bundle")?;
        holds(status == "stopped" || state["pid"].as_i64().is_some_and(|pid| pid > 0), "a state without a pid")?;
        holds(state["annotations"]["org.example.x"] == "y", "a state without its annotations")?;
        holds(state["status"] == status, "a status that is not its point's")?;
    }
    Ok(())
}

fn args_and_env(scene: &Scene<'_>) -> Verdict {
    let mut hook = scene.hook("echo \"$0 $A\" > HERE/log");
    hook["args"][0] = json!("called");
    hook["args"].as_array_mut().unwrap().push(json!("zeroth"));
    hook["env"] = json!(["A=b"]);
    scene.run("true", |config| config["hooks"] = json!({"createRuntime": [hook]}));
    holds(scene.read("log") == "zeroth b", "other ones")
}

fn relative_path(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| config["hooks"] = json!({"createRuntime": [{"path": "cat"}]})).fails("it is taken")
}

fn no_timeout(scene: &Scene<'_>) -> Verdict {
    for timeout in [0, -1] {
        // It takes a moment, in which a runtime that takes the number at its word has ended it.
        let mut hook = scene.hook("sleep 0.1");
        hook["timeout"] = json!(timeout);
        scene.run("true", |config| config["hooks"] = json!({"createRuntime": [hook]})).fails("it is taken")?;
    }
    Ok(())
}

fn timeout(scene: &Scene<'_>) -> Verdict {
    let began = std::time::Instant::now();
    let hook = json!({"path": "/bin/sleep", "args": ["sleep", "15"], "timeout": 1});
    scene.run("true", |config| config["hooks"] = json!({"createRuntime": [hook]})).fails("it is taken for success")?;
    holds(began.elapsed().as_secs() < 8, "it is waited for")
}

/// A namespace of a hook.
const WHERE: &str = "readlink /proc/self/ns/uts > HERE/NAME";

fn outside(scene: &Scene<'_>) -> Verdict {
    let look = |name: &str| json!([scene.hook(&WHERE.replace("NAME", name))]);
    scene.run("true", |config| {
        config["hooks"] = json!({"prestart": look("prestart"), "createRuntime": look("runtime")})
    });
    let link = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    holds(["prestart", "runtime"].iter().all(|name| scene.read(name).starts_with(&link("uts"))), "another's namespaces")
}

fn create_container(scene: &Scene<'_>) -> Verdict {
    let hook = scene.hook(&WHERE.replace("NAME", "log"));
    scene.configure("readlink /proc/self/ns/uts", |config| {
        config["hooks"] = json!({"createContainer": [hook]});
    });
    let seen = scene.call(&["run", &scene.id()]);
    holds(seen.code == Some(0), "the runtime refuses it")?;
    holds(!seen.out.is_empty() && scene.read("log") == seen.out.trim_end(), "another's namespaces")
}

fn start_container(scene: &Scene<'_>) -> Verdict {
    // Only inside is this a program.
    std::fs::hard_link(scene.path("rootfs/bin/busybox"), scene.path("rootfs/readlink")).unwrap();
    let hook = json!({"path": "/readlink", "args": ["readlink", "/proc/self/ns/uts"]});
    let seen = scene.run("readlink /proc/self/ns/uts", |config| config["hooks"] = json!({"startContainer": [hook]}));
    holds(seen.code == Some(0), "the runtime refuses it")
}

fn poststart(scene: &Scene<'_>) -> Verdict {
    let hook = scene.hook("sleep 0.2; echo ran > HERE/log");
    scene.configure("sleep 100", |config| config["hooks"] = json!({"poststart": [hook]}));
    holds(scene.create(), "the runtime refuses it")?;
    holds(scene.read("log").is_empty(), "it runs before start")?;
    holds(scene.start() && scene.read("log") == "ran", "start returns before")
}

fn poststop(scene: &Scene<'_>) -> Verdict {
    let hook = scene
        .hook("sleep 0.2; test -e HERE/state/$(basename HERE) && echo still there > HERE/log || echo ran > HERE/log");
    scene.configure("true", |config| config["hooks"] = json!({"poststop": [hook]}));
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    scene.stopped()?;
    holds(scene.read("log").is_empty(), "it runs before delete")?;
    scene.call(&["delete", &scene.id()]);
    holds(scene.read("log") == "ran", "it runs before the deletion, or after delete returns")
}

fn failing_early(scene: &Scene<'_>) -> Verdict {
    for point in ["prestart", "createRuntime", "createContainer"] {
        scene.configure("echo ran > /log", |config| config["hooks"] = json!({point: [failing()]}));
        holds(!scene.create(), "create succeeds")?;
        holds(scene.state().is_null() && scene.read("rootfs/log").is_empty(), "something is left")?;
    }
    Ok(())
}

fn failing_then_poststop(scene: &Scene<'_>) -> Verdict {
    scene.configure("true", |config| {
        let poststop = scene.hook("echo ran > HERE/log");
        config["hooks"] = json!({"createRuntime": [failing()], "poststop": [poststop]});
    });
    holds(!scene.create(), "create succeeds")?;
    holds(scene.read("log") == "ran", "they do not run")
}

fn failing_start(scene: &Scene<'_>) -> Verdict {
    scene.configure("echo ran > /log", |config| {
        config["hooks"] = json!({"startContainer": [inside("cat > /dev/null; exit 3")]})
    });
    holds(scene.create(), "create fails")?;
    holds(!scene.start(), "start succeeds")?;
    let gone = scene.until("stopped").is_ok() || scene.state().is_null();
    holds(gone && scene.read("rootfs/log").is_empty(), "it goes on")
}

fn failing_poststart(scene: &Scene<'_>) -> Verdict {
    let second = scene.hook("echo ran > HERE/log");
    scene.configure("sleep 100", |config| config["hooks"] = json!({"poststart": [failing(), second]}));
    holds(scene.create() && scene.start(), "it is an error")?;
    holds(scene.read("log") == "ran", "the remaining hooks are left out")?;
    holds(scene.status() == "running", "the container is stopped")
}

fn failing_poststart_later(scene: &Scene<'_>) -> Verdict {
    scene.configure("sleep 100", |config| {
        config["ociVersion"] = json!("1.3.0");
        config["hooks"] = json!({"poststart": [failing()]});
    });
    holds(scene.create() && !scene.start(), "it is no error")?;
    let gone = scene.until("stopped").is_ok() || scene.state().is_null();
    holds(gone, "it goes on")
}

fn failing_poststop(scene: &Scene<'_>) -> Verdict {
    let second = scene.hook("echo ran > HERE/log");
    scene.configure("true", |config| config["hooks"] = json!({"poststop": [failing(), second]}));
    holds(scene.create() && scene.start(), "the runtime refuses it")?;
    scene.stopped()?;
    scene.call(&["delete", &scene.id()]).prints("", "it prints")?;
    holds(scene.state().is_null(), "it is still there")?;
    holds(scene.read("log") == "ran", "the remaining hooks are left out")
}
