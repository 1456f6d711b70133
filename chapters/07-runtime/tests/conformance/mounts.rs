//! config.md, "Mounts"; config-linux.md, masked and read-only paths, propagation of the root.

use serde_json::{Value, json};

use crate::Case;
use crate::scene::{Scene, Verdict, holds, mount};

pub(crate) const CASES: &[Case] = &[
    Case { section: "config.md#mounts", rule: "mounts are made in their order", test: order },
    Case {
        section: "config.md#mounts",
        rule: "a destination that is relative begins at the root",
        test: relative_destination,
    },
    Case { section: "config.md#mounts", rule: "a source that is relative begins at the bundle", test: relative_source },
    Case { section: "config.md#mounts", rule: "a mount that cannot be made is an error", test: impossible },
    Case { section: "config.md#linux-mount-options", rule: "attributes of a mount", test: attributes },
    Case { section: "config.md#linux-mount-options", rule: "times of access", test: times },
    Case {
        section: "config.md#linux-mount-options",
        rule: "options of a superblock: sync, dirsync, lazytime",
        test: superblock,
    },
    Case { section: "config.md#linux-mount-options", rule: "options that are there to say the usual", test: usual },
    Case { section: "config.md#linux-mount-options", rule: "bind takes one mount, rbind those below it", test: bind },
    Case { section: "config.md#linux-mount-options", rule: "remount changes what is mounted", test: remount },
    Case {
        section: "config.md#linux-mount-options",
        rule: "private, slave, shared, unbindable, and their recursive forms",
        test: propagation,
    },
    Case { section: "config.md#linux-mount-options", rule: "rro holds for the mounts below", test: recursive },
    Case { section: "config.md#linux-mount-options", rule: "tmpcopyup begins with what was there", test: copy_up },
    Case { section: "config.md#linux-mount-options", rule: "idmap with mappings of its own", test: id_mapped },
    Case {
        section: "config.md#linux-mount-options",
        rule: "idmap without mappings and without a user namespace is an error",
        test: id_map_of_nobody,
    },
    Case {
        section: "config.md#posix-platform-mounts",
        rule: "uidMappings without gidMappings is an error",
        test: half_a_map,
    },
    Case { section: "config-linux.md#masked-paths", rule: "masked paths cannot be read", test: masked },
    Case { section: "config-linux.md#masked-paths", rule: "a masked path must be absolute", test: relative_mask },
    Case { section: "config-linux.md#readonly-paths", rule: "read-only paths cannot be written", test: read_only },
    Case {
        section: "config-linux.md#rootfs-mount-propagation",
        rule: "shared, slave, private, unbindable",
        test: root_propagation,
    },
];

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// What mountinfo says of the mount at `/m`: its attributes and tags, or those of its superblock.
const LOOK: &str = "grep ' /m ' /proc/self/mountinfo";

fn order(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run(": > /a/b/x && ls /a", |config| {
        mount(config, tmpfs("/a", &[]));
        mount(config, tmpfs("/a/b", &[]));
    });
    seen.prints("b", "the second is not in the first")?;
    let seen = scene.run("ls /a | grep -c b", |config| {
        mount(config, tmpfs("/a/b", &[]));
        mount(config, tmpfs("/a", &[]));
    });
    holds(seen.out.trim() == "0", "the second does not cover the first")
}

fn relative_destination(scene: &Scene<'_>) -> Verdict {
    scene
        .run("grep -c ' /data ' /proc/self/mountinfo", |config| mount(config, tmpfs("data", &[])))
        .prints("1", "elsewhere")
}

fn relative_source(scene: &Scene<'_>) -> Verdict {
    std::fs::create_dir(scene.path("source")).unwrap();
    std::fs::write(scene.path("source/x"), "").unwrap();
    let bind = json!({"destination": "/data", "type": "bind", "source": "source", "options": ["bind"]});
    scene.run("ls /data", |config| mount(config, bind)).prints("x", "another directory")
}

fn impossible(scene: &Scene<'_>) -> Verdict {
    let nonsense = json!({"destination": "/m", "type": "nonsense", "source": "x"});
    scene.run("true", |config| mount(config, nonsense)).fails("it is left out")?;
    scene.run("true", |config| mount(config, tmpfs("/m", &["nonsense=1"]))).fails("its option is left out")
}

fn attributes(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run(LOOK, |config| mount(config, tmpfs("/m", &["ro", "nosuid", "nodev", "noexec"])));
    holds(seen.out.contains(" ro,nosuid,nodev,noexec"), "one is missing")?;
    let back = &["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec"];
    let seen = scene.run(LOOK, |config| mount(config, tmpfs("/m", back)));
    holds(seen.out.contains(" /m rw,relatime "), "one is not taken back")
}

fn times(scene: &Scene<'_>) -> Verdict {
    let with = |options: &[&str]| {
        let seen = scene.run(LOOK, |config| mount(config, tmpfs("/m", options)));
        seen.out.split(' ').nth(5).unwrap_or_default().to_owned()
    };
    holds(with(&["noatime"]) == "rw,noatime", "noatime")?;
    holds(with(&["nodiratime"]).contains("nodiratime"), "nodiratime")?;
    holds(with(&["strictatime"]) == "rw", "strictatime")?;
    holds(with(&["noatime", "atime", "nodiratime", "diratime"]) == "rw,relatime", "atime, diratime")?;
    holds(with(&["relatime"]) == "rw,relatime", "relatime")
}

fn superblock(scene: &Scene<'_>) -> Verdict {
    let options = |options: &[&str]| {
        let seen = scene.run(LOOK, |config| mount(config, tmpfs("/m", options)));
        seen.out.trim_end().rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let all = options(&["sync", "dirsync", "lazytime"]);
    holds(["sync", "dirsync", "lazytime"].iter().all(|word| all.split(',').any(|has| has == *word)), "one is missing")?;
    let none = options(&["sync", "async", "lazytime", "nolazytime"]);
    holds(!none.contains("sync") && !none.contains("lazytime"), "one is not taken back")
}

fn usual(scene: &Scene<'_>) -> Verdict {
    let words = ["defaults", "silent", "loud", "iversion", "noiversion", "norelatime", "nostrictatime", "nomand"];
    for word in words {
        scene.run("echo ran", |config| mount(config, tmpfs("/m", &[word]))).prints("ran", "one is not known")?;
    }
    Ok(())
}

/// A directory of the machine with a mount in it: its own `/dev` has pts.
fn machine(option: &str) -> Value {
    json!({"destination": "/m", "type": "bind", "source": "/dev", "options": [option]})
}

fn bind(scene: &Scene<'_>) -> Verdict {
    let count = "grep -c ' /m' /proc/self/mountinfo";
    scene.run(count, |config| mount(config, machine("bind"))).prints("1", "bind takes more")?;
    let seen = scene.run(count, |config| mount(config, machine("rbind")));
    holds(seen.out.trim().parse::<u32>().is_ok_and(|count| count > 1), "rbind takes no more")
}

fn remount(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("(: > /m/x) 2>/dev/null && echo written || echo refused", |config| {
        mount(config, tmpfs("/m", &[]));
        mount(config, tmpfs("/m", &["remount", "ro"]));
    });
    seen.prints("refused", "it is not changed")
}

fn propagation(scene: &Scene<'_>) -> Verdict {
    let with = |option: &str| {
        let seen = scene.run(LOOK, |config| mount(config, tmpfs("/m", &[option])));
        let tags = seen.out.split(" - ").next().unwrap_or_default().split(' ').nth(6).unwrap_or_default().to_owned();
        tags.split(':').next().unwrap_or_default().to_owned()
    };
    for (option, tag) in [("shared", "shared"), ("unbindable", "unbindable"), ("private", ""), ("slave", "")] {
        holds(with(option) == tag, "one is not as it must be")?;
        holds(with(&format!("r{option}")) == tag, "a recursive one is not as it must be")?;
    }
    Ok(())
}

fn recursive(scene: &Scene<'_>) -> Verdict {
    let seen = scene.run("grep ' /m/pts ' /proc/self/mountinfo", |config| {
        let options = ["rbind", "rro", "rnosuid"];
        mount(config, json!({"destination": "/m", "type": "bind", "source": "/dev", "options": options}));
    });
    holds(seen.code == Some(0), "the runtime refuses it")?;
    holds(seen.out.contains(" /m/pts ro,nosuid"), "they are as they were")
}

fn copy_up(scene: &Scene<'_>) -> Verdict {
    let inner = scene.path("rootfs/m/inner");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("file"), "content\n").unwrap();
    std::os::unix::fs::symlink("inner/file", scene.path("rootfs/m/link")).unwrap();
    std::os::unix::fs::chown(inner.join("file"), Some(12), Some(34)).unwrap();
    let script = "cat /m/link; stat -c '%u %g' /m/inner/file; : > /m/new";
    let seen = scene.run(script, |config| mount(config, tmpfs("/m", &["tmpcopyup", "nosuid"])));
    seen.prints("content\n12 34", "it begins otherwise")?;
    holds(!scene.path("rootfs/m/new").exists(), "it is the image's own")
}

fn one(container: u32, host: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": 1}])
}

fn id_mapped(scene: &Scene<'_>) -> Verdict {
    std::fs::create_dir(scene.path("source")).unwrap();
    std::os::unix::fs::chown(scene.path("source"), Some(1000), Some(1000)).unwrap();
    let seen = scene.run("stat -c '%u %g' /data", |config| {
        mount(
            config,
            json!({"destination": "/data", "type": "bind", "source": scene.path("source"),
            "options": ["bind", "idmap"], "uidMappings": one(1000, 5), "gidMappings": one(1000, 6)}),
        );
    });
    seen.prints("5 6", "the owner is another")
}

fn id_map_of_nobody(scene: &Scene<'_>) -> Verdict {
    let bind = json!({"destination": "/data", "type": "bind", "source": "/tmp", "options": ["bind", "idmap"]});
    scene.run("true", |config| mount(config, bind)).fails("it is mounted without")
}

fn half_a_map(scene: &Scene<'_>) -> Verdict {
    let bind = json!({"destination": "/data", "type": "bind", "source": "/tmp", "options": ["bind"], "uidMappings": one(0, 0)});
    scene.run("true", |config| mount(config, bind)).fails("it is mounted")
}

fn masked(scene: &Scene<'_>) -> Verdict {
    std::fs::write(scene.path("rootfs/data/secret"), "secret").unwrap();
    std::fs::write(scene.path("rootfs/etc/secret"), "secret").unwrap();
    let change = |config: &mut Value| config["linux"]["maskedPaths"] = json!(["/data", "/etc/secret", "/nowhere"]);
    scene.run("ls /data; cat /etc/secret", change).prints("", "they can be read")
}

fn relative_mask(scene: &Scene<'_>) -> Verdict {
    scene.run("true", |config| config["linux"]["maskedPaths"] = json!(["data"])).fails("it is taken, or left out")
}

fn read_only(scene: &Scene<'_>) -> Verdict {
    let change = |config: &mut Value| config["linux"]["readonlyPaths"] = json!(["/data", "/nowhere"]);
    let script = "(: > /data/x) 2>/dev/null && echo written; : > /x && echo elsewhere";
    scene.run(script, change).prints("elsewhere", "they can be written")
}

fn root_propagation(scene: &Scene<'_>) -> Verdict {
    let with = |wanted: &str| {
        let line = "grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ' /proc/self/mountinfo";
        let seen = scene.run(line, |config| {
            config["linux"]["rootfsPropagation"] = json!(wanted);
        });
        holds(seen.code == Some(0), "the runtime refuses one").map(|()| seen.out)
    };
    holds(with("shared")?.contains(" shared:"), "shared: it is not")?;
    let line = with("private")?;
    holds(!line.contains("shared:") && !line.contains("master:"), "private: it is not")?;
    holds(!with("slave")?.contains("shared:"), "slave: it is shared")?;
    holds(with("unbindable")?.contains("unbindable"), "unbindable: it is not")
}
