//! config.md: version, root, process, user, names, annotations, extensibility.

use serde_json::{Value, json};

use crate::Case;
use crate::scene::{Scene, Verdict, holds};

pub(crate) const CASES: &[Case] = &[
    Case {
        section: "config.md#specification-version",
        rule: "any version of the first generation is accepted",
        test: any_version,
    },
    Case { section: "config.md#specification-version", rule: "what is no version is an error", test: no_version },
    Case { section: "config.md#root", rule: "path may be relative to the bundle, or absolute", test: root_path },
    Case { section: "config.md#root", rule: "a directory must exist at path", test: root_missing },
    Case {
        section: "config.md#root",
        rule: "readonly makes the root read-only, and its absence does not",
        test: root_readonly,
    },
    Case { section: "config.md#process", rule: "cwd is the working directory", test: cwd },
    Case { section: "config.md#process", rule: "cwd must be absolute", test: relative_cwd },
    Case { section: "config.md#process", rule: "env is the environment, and nothing else is in it", test: env },
    Case { section: "config.md#process", rule: "args are handed on as they are", test: args },
    Case { section: "config.md#process", rule: "consoleSize is ignored without a terminal", test: console_size },
    Case { section: "config.md#posix-process", rule: "rlimits are what getrlimit says, soft and hard", test: rlimits },
    Case {
        section: "config.md#posix-process",
        rule: "an rlimit that the kernel does not have is an error",
        test: unknown_rlimit,
    },
    Case { section: "config.md#posix-process", rule: "an rlimit that is given twice is an error", test: rlimit_twice },
    Case { section: "config.md#linux-process", rule: "capabilities are those of each set", test: capabilities },
    Case { section: "config.md#linux-process", rule: "noNewPrivileges is set", test: no_new_privileges },
    Case { section: "config.md#linux-process", rule: "oomScoreAdj is set", test: oom_score },
    Case {
        section: "config.md#linux-process",
        rule: "without oomScoreAdj the score is not changed",
        test: oom_score_kept,
    },
    Case { section: "config.md#linux-process", rule: "ioPriority is set", test: io_priority },
    Case { section: "config.md#linux-process", rule: "scheduler is set", test: scheduler },
    Case { section: "config.md#posix-platform-user", rule: "uid, gid and additionalGids are those inside", test: user },
    Case { section: "config.md#posix-platform-user", rule: "umask is set", test: umask },
    Case { section: "config.md#hostname", rule: "hostname is what the container sees", test: hostname },
    Case { section: "config.md#domainname", rule: "domainname is what the container sees", test: domainname },
    Case { section: "config.md#annotations", rule: "a key that is empty is an error", test: empty_annotation },
    Case { section: "config.md#annotations", rule: "an unknown key is no error", test: unknown_annotation },
    Case { section: "config.md#extensibility", rule: "an unknown property is ignored", test: unknown_property },
    Case { section: "config.md#valid-values", rule: "an invalid value is an error", test: invalid_value },
];

fn any_version(scene: &Scene<'_>) -> Verdict {
    for version in ["1.0.0", "1.1.0", "1.2.1", "1.3.0", "1.99.0-rc.1"] {
        let seen = scene.run("echo ran", |config| config["ociVersion"] = json!(version));
        seen.prints("ran", "it does not run")?;
    }
    Ok(())
}

fn no_version(scene: &Scene<'_>) -> Verdict {
    for version in ["", "one", "1.two.3"] {
        scene.run("true", |config| config["ociVersion"] = json!(version)).fails("it runs all the same")?;
    }
    Ok(())
}

fn root_path(scene: &Scene<'_>) -> Verdict {
    let absolute = scene.path("rootfs");
    scene.run("echo ran", |config| config["root"]["path"] = json!("./rootfs")).prints("ran", "not relative")?;
    scene.run("echo ran", |config| config["root"]["path"] = json!(absolute)).prints("ran", "not absolute")
}

fn root_missing(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| config["root"]["path"] = json!("nowhere")).fails("it runs without a root")
}

fn root_readonly(scene: &Scene<'_>) -> Verdict {
    let script = "(: > /x) 2>/dev/null && echo written || echo refused";
    scene.run(script, |config| config["root"]["readonly"] = json!(true)).prints("refused", "it can be written to")?;
    scene.run(script, |_| {}).prints("written", "it cannot be written to")
}

fn cwd(scene: &Scene<'_>) -> Verdict {
    scene.run("pwd", |config| config["process"]["cwd"] = json!("/data")).prints("/data", "another directory")
}

fn relative_cwd(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| config["process"]["cwd"] = json!("data")).fails("a relative path is taken")
}

fn env(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("", |config| {
        config["process"]["args"] = json!(["env"]);
        config["process"]["env"] = json!(["PATH=/bin", "A=b c", "EMPTY="]);
    });
    let mut lines: Vec<_> = seen.out.lines().filter(|line| !line.starts_with("HOME=")).collect();
    lines.sort_unstable();
    holds(lines == ["A=b c", "EMPTY=", "PATH=/bin"], "another environment")
}

fn args(scene: &Scene<'_>) -> Verdict {
    let change =
        |config: &mut Value| config["process"]["args"] = json!(["sh", "-c", "echo \"$0|$1|$2\"", "", "a b", "*"]);
    scene.run("", change).prints("|a b|*", "other arguments")
}

fn console_size(scene: &Scene<'_>) -> Verdict {
    let size = json!({"height": 10, "width": 20});
    scene.run("echo ran", |config| config["process"]["consoleSize"] = size).prints("ran", "it matters")
}

fn rlimits(scene: &Scene<'_>) -> Verdict {
    let limits =
        json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c";
    scene.run(script, |config| config["process"]["rlimits"] = limits).prints("100\n200\n0", "other limits")
}

fn unknown_rlimit(scene: &Scene<'_>) -> Verdict {
    let limits = json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]);
    scene.run("true", |config| config["process"]["rlimits"] = limits).fails("it is ignored")
}

fn rlimit_twice(scene: &Scene<'_>) -> Verdict {
    let limit = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200});
    scene.run("true", |config| config["process"]["rlimits"] = json!([limit, limit])).fails("one of both is taken")
}

fn capabilities(scene: &Scene<'_>) -> Verdict {
    // CHOWN is bit 0, KILL bit 5, SETGID bit 6.
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    });
    // Of a user other than root, execve leaves the ambient ones alone.
    let seen = scene.run("grep '^Cap' /proc/self/status | cut -f 2", |config| {
        config["process"]["capabilities"] = sets;
        config["process"]["user"] = json!({"uid": 7, "gid": 7});
    });
    let expected = ["20", "20", "20", "61", "20"].map(|set| format!("{set:0>16}")).join("\n");
    seen.prints(&expected, "other sets")
}

fn no_new_privileges(scene: &Scene<'_>) -> Verdict {
    let script = "grep NoNewPrivs /proc/self/status | cut -f 2";
    scene.run(script, |config| config["process"]["noNewPrivileges"] = json!(true)).prints("1", "it is not")?;
    scene.run(script, |_| {}).prints("0", "it is, unasked")
}

fn oom_score(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| config["process"]["oomScoreAdj"] = json!(321);
    scene.run("cat /proc/self/oom_score_adj", change).prints("321", "another score")
}

fn oom_score_kept(scene: &Scene<'_>) -> Verdict {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    scene.run("cat /proc/self/oom_score_adj", |_| {}).prints(own.trim_end(), "another score")
}

fn io_priority(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| {
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 3});
    };
    let seen = scene.run("ionice -p $$", change);
    holds(seen.code == Some(0), "the runtime refuses it")?;
    holds(seen.out.starts_with("idle"), "it is ignored")
}

fn scheduler(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| {
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    };
    // Fields 19 and 41 of proc_pid_stat(5): nice, and policy, 3 for SCHED_BATCH.
    scene.run("cut -d ' ' -f 19,41 /proc/self/stat", change).prints("5 3", "it is ignored")
}

fn user(scene: &Scene<'_>) -> Verdict {
    let user = json!({"uid": 12, "gid": 34, "additionalGids": [56, 78]});
    let change = |config: &mut Value| config["process"]["user"] = user;
    scene.run("id -u; id -g; id -G", change).prints("12\n34\n34 56 78", "other ids")
}

fn umask(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| config["process"]["user"]["umask"] = json!(0o027);
    scene.run("umask", change).prints("0027", "another mask")
}

fn hostname(scene: &Scene<'_>) -> Verdict {
    scene.run("hostname", |config| config["hostname"] = json!("cask")).prints("cask", "another name")
}

fn domainname(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| config["domainname"] = json!("cellar");
    scene.run("cat /proc/sys/kernel/domainname", change).prints("cellar", "it is ignored")
}

fn empty_annotation(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| config["annotations"] = json!({"": "x"})).fails("it is taken")
}

fn unknown_annotation(scene: &Scene<'_>) -> Verdict {
    scene.run("echo ran", |config| config["annotations"] = json!({"org.example.x": "y"})).prints("ran", "it matters")
}

fn unknown_property(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| {
        config["nobodyKnowsThis"] = json!({"x": [1]});
        config["process"]["norThis"] = json!(true);
        config["linux"]["norThat"] = json!("x");
    };
    scene.run("echo ran", change).prints("ran", "it matters")
}

fn invalid_value(scene: &Scene<'_>) -> Verdict {
    let wrong: [fn(&mut Value); 4] = [
        |config| config["process"]["terminal"] = json!("perhaps"),
        |config| config["process"]["args"] = json!("sh"),
        |config| config["linux"]["namespaces"] = json!([{"type": "nonsense"}, {"type": "mount"}]),
        |config| config["linux"]["rootfsPropagation"] = json!("sideways"),
    ];
    wrong.iter().try_for_each(|change| scene.run("true", change).fails("one is taken"))
}
