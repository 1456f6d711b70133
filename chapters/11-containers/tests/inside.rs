//! A container's life, from the inside: who it is, what it sees, what it may.
#![allow(clippy::unwrap_used)]

mod sandbox;

use containers::{CreateOptions, Defaults, Ipc, MountRequest, Resources, Security, Sharing};
use sandbox::{Sandbox, command, eventually, sh};

#[test]
fn a_container_has_its_own_name_processes_and_home() {
    let Some(sandbox) = Sandbox::new() else { return };
    let options = CreateOptions { hostname: Some("cask".into()), env: vec!["A=b c".into()], ..sh("") };
    let script =
        "hostname; cat /etc/hostname; echo $$; echo \"$A\"; echo $HOME; pwd; ls /proc | grep -c '^[0-9]' || true";
    let options = CreateOptions { command: sh(script).command, workdir: Some("/new/dir".into()), ..options };
    let outcome = sandbox.run(options).unwrap();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[..6], ["cask", "cask", "1", "b c", "/root", "/new/dir"], "{outcome:?}");
}

#[test]
fn the_user_is_the_container_s() {
    let Some(sandbox) = Sandbox::new() else { return };
    let id =
        |user: &str| sandbox.run(CreateOptions { user: Some(user.into()), ..sh("id -u; id -g; id -G; echo $HOME") });
    assert_eq!(id("web").unwrap().stdout, "33\n34\n34 44\n/srv\n");
    assert_eq!(id("12:99").unwrap().stdout, "12\n99\n99\n/\n");
    assert!(id("1:").is_err() && id("-1").is_err() && id("nobody-here").is_err());
}

#[test]
fn capabilities_and_filters_are_in_force() {
    let Some(sandbox) = Sandbox::new() else { return };
    let script = "while read -r k v; do case $k in CapEff:|CapBnd:|CapInh:|Seccomp:|NoNewPrivs:) echo $k $v;; esac; done < /proc/self/status";
    insta::assert_snapshot!(sandbox.sh(script), @r"
    CapInh: 0000000000000000
    CapEff: 00000000800405fb
    CapBnd: 00000000800405fb
    NoNewPrivs: 0
    Seccomp: 2
    ");
    let none = Security { cap_drop: vec!["ALL".into()], no_new_privileges: true, ..Security::default() };
    let outcome = sandbox.run(CreateOptions { security: none, ..sh(script) }).unwrap();
    assert!(outcome.stdout.contains("CapBnd: 0000000000000000\nNoNewPrivs: 1"), "{outcome:?}");
}

#[test]
fn limits_are_in_force() {
    let Some(sandbox) = Sandbox::new() else { return };
    let resources = Resources { memory: Some(16 << 20), pids_limit: Some(20), ..Resources::default() };
    // dd takes its block in memory at once.
    let hungry = sh(
        "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo $?; exec dd if=/dev/zero of=/dev/null bs=64M",
    );
    let container = sandbox.create(CreateOptions { resources, ..hungry }).unwrap();
    let outcome = sandbox.run_again(&container, b"").unwrap();
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("137\n", Some(137)), "{outcome:?}");
    assert!(container.life().unwrap().oom_killed);
}

#[test]
fn volumes_outlive_their_container_and_begin_with_the_image_s_content() {
    let Some(sandbox) = Sandbox::new() else { return };
    let with = |volume: &str, script: &str| {
        sandbox.run(CreateOptions { mounts: vec![MountRequest::volume(volume).unwrap()], ..sh(script) }).unwrap()
    };
    assert_eq!(with("kept:/srv/data", "cat /srv/data/from-the-image; echo x > /srv/data/new").stdout, "here\n");
    assert_eq!(with("kept:/other", "ls /other").stdout, "from-the-image\nnew\n");
    let refused = with("kept:/other:ro", "touch /other/no");
    assert_ne!(refused.code, Some(0));
    assert!(sandbox.engine.remove_volume("kept").unwrap_err().to_string().contains("in use"));
    sandbox.engine.prune().unwrap();
    sandbox.engine.remove_volume("kept").unwrap();
}

#[test]
fn a_bind_mount_is_the_host_s_directory() {
    let Some(sandbox) = Sandbox::new() else { return };
    let host = sandbox.root.path().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("f"), "from the host").unwrap();
    let file = MountRequest::volume(&format!("{}:/file:ro", host.join("f").display())).unwrap();
    let directory = MountRequest::volume(&format!("{}:/d", host.display())).unwrap();
    let made = MountRequest::volume(&format!("{}:/made", host.join("made").display())).unwrap();
    let options =
        CreateOptions { mounts: vec![file, directory, made], ..sh("cat /file; echo y > /d/g; touch /made/h") };
    let outcome = sandbox.run(options).unwrap();
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("from the host", Some(0)), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(host.join("g")).unwrap(), "y\n");
    assert!(host.join("made/h").exists());
}

#[test]
fn an_image_s_volume_is_anonymous_and_goes_with_rm() {
    let Some(sandbox) = Sandbox::new() else { return };
    let image = Defaults { volumes: vec!["/srv/data".into()], ..Defaults::default() };
    let options = CreateOptions { auto_remove: true, ..sh("mount | grep -c /srv/data; cat /srv/data/from-the-image") };
    let options = CreateOptions {
        command: vec!["/bin/sh".into(), "-c".into(), "cat /srv/data/from-the-image".into()],
        ..options
    };
    let container = sandbox.create_with(image, options).unwrap();
    assert_eq!(sandbox.engine.volumes().list().unwrap().len(), 1);
    assert_eq!(sandbox.run_again(&container, b"").unwrap().stdout, "here\n");
    assert!(sandbox.engine.volumes().list().unwrap().is_empty());
}

#[test]
fn the_upper_directory_holds_only_what_the_container_changed() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.create(sh("echo new > /tmp/file; rm /srv/data/from-the-image; mkdir -p /a/b")).unwrap();
    assert_eq!(sandbox.run_again(&container, b"").unwrap().code, Some(0));
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(container.upper()).unwrap() {
        names.push(entry.unwrap().file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["a", "srv", "tmp"]);
}

#[test]
fn a_read_only_root_is_read_only() {
    let Some(sandbox) = Sandbox::new() else { return };
    let options = CreateOptions { read_only: true, mounts: vec![MountRequest::tmpfs("/scratch").unwrap()], ..sh("") };
    let script = "touch /x 2>/dev/null && echo bad; touch /scratch/y && echo good";
    let outcome = sandbox.run(CreateOptions { command: sh(script).command, ..options }).unwrap();
    assert_eq!(outcome.stdout, "good\n", "{outcome:?}");
}

#[test]
fn a_terminal_is_a_terminal() {
    let Some(sandbox) = Sandbox::new() else { return };
    let options = CreateOptions {
        terminal: true,
        ..sh("test -t 0 && test -t 1 && echo yes; readlink /proc/self/fd/0; echo $TERM")
    };
    let outcome = sandbox.run(options).unwrap();
    assert_eq!(outcome.stdout, "yes\r\n/dev/pts/0\r\nxterm\r\n", "{outcome:?}");
}

#[test]
fn exec_joins_a_running_container() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(CreateOptions { name: Some("box".into()), ..sh("echo up; exec sleep 1000") });
    let exec = |words: &[&str]| {
        let output = sandbox.command(&[&["exec", "box"], words].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(exec(&["sh", "-c", "hostname; exit 9"]), (9, format!("{}\n", container.id().short())));
    assert_eq!(exec(&["no-such-program"]).0, 127);
    assert_eq!(exec(&["/bin/no-program"]).0, 126);
    let processes = exec(&["sh", "-c", "ps | grep -c 'sleep 1000'"]).1;
    assert_ne!(processes.trim(), "0");
    sandbox.engine.kill(container.id(), process::Signal::SIGKILL).unwrap();
    eventually(|| (!container.life().unwrap().status.is_live()).then_some(())).unwrap();
    assert_eq!(exec(&["true"]).0, 125);
}

#[test]
fn an_init_stands_in_front_of_the_program_and_does_what_it_does_not() {
    let Some(sandbox) = Sandbox::new() else { return };
    let with_init = |script: &str| CreateOptions { init: true, ..sh(script) };
    // It is the first process, and nothing of it can be written to.
    let script = "cat /proc/1/cmdline; echo; echo $$; (: > /sbin/docker-init) 2>/dev/null || echo no; exit 3";
    let outcome = sandbox.run(with_init(script)).unwrap();
    assert!(outcome.stdout.starts_with("/sbin/docker-init\0--\0/bin/sh\0"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("\n2\nno\n"), "{outcome:?}");
    assert_eq!(outcome.code, Some(3));
    // A signal's default action, which a first process would not have.
    assert_eq!(sandbox.run(with_init("kill -TERM $$; sleep 100")).unwrap().code, Some(143));
    assert_eq!(sandbox.run(with_init("kill -37 $$; sleep 100")).unwrap().code, Some(128 + 37));
    // An orphan that has ended is nobody's zombie: its pid is gone.
    let orphan = "(sh -c 'echo $$ > /tmp/pid; exit 0' &); while [ ! -s /tmp/pid ]; do sleep 0.01; done; \
                  while [ -e /proc/$(cat /tmp/pid) ]; do sleep 0.01; done; echo reaped";
    assert_eq!(sandbox.run(with_init(orphan)).unwrap().stdout, "reaped\n");
    assert_eq!(sandbox.run(CreateOptions { init: true, ..command(&["/no/such/program"]) }).unwrap().code, Some(127));
}

#[test]
fn a_stopped_container_with_an_init_ends_by_the_signal_that_it_was_sent() {
    let Some(sandbox) = Sandbox::new() else { return };
    let container = sandbox.run_detached(CreateOptions { init: true, ..command(&["/bin/sleep", "1000"]) });
    // Without an init the first process would not hear SIGTERM, and be killed after the patience: 137.
    sandbox.engine.stop(container.id(), Some(std::time::Duration::from_secs(60))).unwrap();
    assert_eq!(container.life().unwrap().exit_code, Some(143));
}

#[test]
fn namespaces_are_shared_with_whom_one_asks_for() {
    let Some(sandbox) = Sandbox::new() else { return };
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let other = CreateOptions {
        name: Some("other".into()),
        mounts: vec![MountRequest::volume("kept:/kept").unwrap()],
        ..sh("echo y > /kept/file; exec sleep 1000")
    };
    let other = sandbox.run_detached(other);
    eventually(|| sandbox.engine.look_at(other.id(), std::path::Path::new("/kept/file")).ok()).unwrap();
    let share = |text: &str| text.parse().unwrap();
    let (pid, host) = (share("container:other"), share("host"));
    let joined = Sharing { pid, ipc: Ipc::Host, uts: host, ..Sharing::default() };
    let script = "cat /proc/1/cmdline; echo; cat /kept/file; hostname; cat /proc/self/oom_score_adj; echo no > /kept/x";
    let options = CreateOptions {
        sharing: joined.clone(),
        volumes_from: vec!["other:ro".into()],
        oom_score_adj: Some(500),
        ..sh(script)
    };
    let outcome = sandbox.run(options).unwrap();
    assert_eq!(outcome.stdout, format!("sleep\01000\0\ny\n{host_name}500\n"), "{outcome:?}");
    assert!(outcome.code != Some(0) && other.life().unwrap().status.is_live());
    sandbox.engine.stop(other.id(), Some(std::time::Duration::ZERO)).unwrap();
    let late = sandbox.create(CreateOptions { sharing: joined, ..sh("true") }).unwrap();
    let refused = sandbox.run_again(&late, b"").unwrap_err().to_string();
    assert!(refused.contains("no namespaces to join"), "{refused}");
    sandbox.engine.prune().unwrap();
    sandbox.engine.remove_volume("kept").unwrap();
}

#[test]
fn shared_memory_is_seen_by_whom_it_is_shared_with_and_by_nobody_else() {
    let Some(sandbox) = Sandbox::new() else { return };
    let wish = |text: &str| Sharing { ipc: text.parse().unwrap(), ..Sharing::default() };
    let with = |text: &str, script: &str| CreateOptions { sharing: wish(text), ..sh(script) };
    let script = "echo lent > /dev/shm/lent; readlink /proc/self/ns/ipc > /ready; \
                  until test -e /dev/shm/back; do sleep 0.1; done; cat /dev/shm/back > /told; exec sleep 1000";
    let lender = CreateOptions { name: Some("lender".into()), ..with("shareable", script) };
    let lender = sandbox.run_detached(lender);
    let file = |name: &str| {
        let text = sandbox.engine.look_at(lender.id(), std::path::Path::new(name)).is_ok().then(|| {
            std::fs::read_to_string(format!("/proc/{}/root{name}", lender.life().unwrap().pid.unwrap())).unwrap()
        });
        text.filter(|text| text.ends_with('\n'))
    };
    let theirs = eventually(|| file("/ready")).unwrap();

    // The same files and the same namespace; what is mounted stays what it was, for all that one can do with it.
    let look = "cat /dev/shm/lent; readlink /proc/self/ns/ipc; echo borrowed > /dev/shm/back; \
                while read -r a b c d place how rest; do case $place in /dev/shm) echo $how;; esac; done \
                < /proc/self/mountinfo";
    let joined = sandbox.run(with("container:lender", look)).unwrap();
    assert_eq!(joined.stdout, format!("lent\n{theirs}rw,nosuid,nodev,noexec,relatime\n"), "{joined:?}");
    assert_eq!(eventually(|| file("/told")).as_deref(), Some("borrowed\n"));
    let alone = sandbox.run(sh("ls /dev/shm; readlink /proc/self/ns/ipc")).unwrap();
    assert!(alone.stdout.starts_with("ipc:") && alone.stdout != theirs, "{alone:?}");
    let none = sandbox.run(with("none", "test -e /dev/shm || echo none")).unwrap();
    assert_eq!(none.stdout, "none\n", "{none:?}");

    // What does not run any more lends nothing.
    let late = sandbox.create(with("container:lender", "true")).unwrap();
    sandbox.engine.stop(lender.id(), Some(std::time::Duration::ZERO)).unwrap();
    let refused = sandbox.run_again(&late, b"").unwrap_err().to_string();
    assert!(refused.contains("\"lender\": it does not run, and so has no namespaces to join"), "{refused}");
    sandbox.engine.prune().unwrap();
}

#[test]
fn shared_memory_is_lent_by_those_alone_that_were_made_to() {
    let Some(sandbox) = Sandbox::new() else { return };
    let wish = |text: &str| Sharing { ipc: text.parse().unwrap(), ..Sharing::default() };
    let refusal = |lender: &str| {
        let name = Some(format!("of-{lender}"));
        sandbox.create(CreateOptions { name, sharing: wish(lender), ..sh("true") }).unwrap();
        let sharing = wish(&format!("container:of-{lender}"));
        sandbox.create(CreateOptions { sharing, ..sh("true") }).map(|_| String::new()).unwrap_or_else(|e| e.to_string())
    };
    let told = ["private", "none", "host", "shareable"].map(refusal).join("\n");
    insta::assert_snapshot!(told, @r#"
    --ipc "container:of-private": its IPC namespace is its own alone: create it with --ipc shareable
    --ipc "container:of-none": it has no /dev/shm (--ipc none): create it with --ipc shareable
    --ipc "container:of-host": it uses the machine's: say --ipc host
    "#);
    let sized = CreateOptions { sharing: wish("none"), shm_size: Some(1 << 20), ..sh("true") };
    let refused = sandbox.create(sized).unwrap_err().to_string();
    assert_eq!(refused, "--shm-size \"1048576\": with --ipc none it has no /dev/shm of its own");
    sandbox.engine.prune().unwrap();
}
