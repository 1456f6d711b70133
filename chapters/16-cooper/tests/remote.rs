//! `-H`: the same commands, done by a daemon. What is printed is what the same command prints beside its engine.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const COOPER: &str = env!("CARGO_BIN_EXE_cooper");

/// A daemon of this build, and its engine's directory.
struct Far {
    child: Child,
    root: tempfile::TempDir,
}

impl Far {
    fn start() -> Option<Self> {
        if !process::needs::root() {
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("far.sock");
        let mut command = Command::new(COOPER);
        command.arg("--root").arg(root.path()).args(["daemon", "-H"]).arg(&socket).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("API listen on "), "{line:?}");
        Some(Self { child, root })
    }

    fn address(&self) -> String {
        format!("unix://{}", self.root.path().join("far.sock").display())
    }

    /// `cooper -H ADDRESS WORDS`.
    fn sent(&self, words: &[&str]) -> Output {
        Command::new(COOPER).arg("-H").arg(self.address()).args(words).stdin(Stdio::null()).output().unwrap()
    }

    /// The same beside the engine.
    fn here(&self, words: &[&str]) -> Output {
        Command::new(COOPER).arg("--root").arg(self.root.path()).args(words).stdin(Stdio::null()).output().unwrap()
    }

    /// What it printed; it must have succeeded.
    fn ok(&self, words: &[&str]) -> String {
        let output = self.sent(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The exit code and what was said.
    fn fails(&self, words: &[&str]) -> (i32, String) {
        let output = self.sent(words);
        (output.status.code().unwrap(), text(&output.stderr))
    }

    /// Waits until the container has printed its one line.
    fn until_it_said(&self, name: &str) {
        until("what it prints", || self.ok(&["logs", name]) == "said\n");
    }

    /// Sent or not, a command prints the same and ends the same. Why something failed is said in the daemon's words, which
    /// are docker's, where clients look for them.
    fn same(&self, words: &[&str]) {
        let (sent, here) = (self.sent(words), self.here(words));
        let told = |output: &Output| (output.status.code(), text(&output.stdout));
        assert_eq!(told(&sent), told(&here), "{words:?}: {}{}", text(&sent.stderr), text(&here.stderr));
        assert_eq!(sent.stderr.is_empty(), here.stderr.is_empty(), "{words:?}");
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // Whatever a failed test left running; nothing else may hide the test's own failure.
        let all = text(&self.here(&["ps", "-aq"]).stdout);
        let ids: Vec<&str> = all.split_whitespace().collect();
        drop(self.here(&[&["rm", "-f", "-v"][..], &ids].concat()));
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.here(&["system", "prune", "-f"]));
    }
}

/// Whoever waits longer for what takes a moment waits for what will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until it is so.
fn until(awaited: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "gave up after {} s waiting for {awaited}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Times of day are told by whole seconds: what says how long ago is asked for where it cannot change meanwhile.
const COLUMNS: &str = "{{.ID}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.Status}} {{.State}} {{.Ports}} {{.Names}} {{.Labels}} \
                   {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.Size}} {{.Label \"tier\"}}";

/// What is asked of both, of one state.
const ALIKE: &[&[&str]] = &[
    &["ps", "-a", "--format", COLUMNS],
    &["ps", "-a", "-s", "--no-trunc", "--format", COLUMNS],
    &["ps", "-q"],
    &["ps", "-aq", "--filter", "label=tier=back"],
    &["ps", "-aq", "--filter", "name=nobody"],
    &["container", "ls", "-ql"],
    &["images"],
    &["images", "--digests", "--no-trunc", "--format", "json"],
    &["image", "ls", "-q", "me/*"],
    &["volume", "ls"],
    &["volume", "ls", "-q", "--filter", "name=oth"],
    &["network", "ls", "--format", "json"],
    &["inspect", "idle", "host", "quiet", "kept", "nobody"],
    &["inspect", "--type", "volume", "idle"],
    &["container", "inspect", "-f", "{{.Config.Env}} {{.HostConfig.Binds}}", "idle"],
    &["image", "inspect", "host"],
    &["network", "inspect", "bridge"],
    &["volume", "inspect", "kept"],
    &["port", "idle"],
    &["stats", "-a", "--no-stream"],
    &["diff", "idle"],
    &["logs", "idle"],
    &["events", "--since", "1", "--until", "2026-01-01T00:00:00Z"],
    &["kill", "idle"],
    &["rm", "nobody"],
    &["rmi", "nobody"],
    &["network", "rm", "bridge"],
    &["volume", "rm", "kept"],
    &["rename", "idle", "no/name"],
];

#[test]
fn what_is_printed_is_what_the_same_command_prints_beside_the_engine() {
    let Some(far) = Far::start() else { return };
    let made =
        ["--network", "none", "-v", "kept:/data", "-v", "/tmp:/t:ro", "-v", "/loose", "-l", "tier=back", "-e", "A=b c"];
    let id = far.ok(&[&["create", "--name", "idle"][..], &made, &["host", "sleep", "1000"]].concat());
    assert_eq!(id.trim().len(), 64);
    far.ok(&["tag", "host", "localhost:5000/me/host:2"]);
    far.ok(&["volume", "create", "--label", "a=b", "other"]);
    far.ok(&[
        "network",
        "create",
        "--internal",
        "--subnet",
        "10.214.0.0/24",
        "--gateway",
        "10.214.0.9",
        "--label",
        "a=b",
        "quiet",
    ]);
    let pool = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}} {{.Internal}} {{.Labels}}";
    assert_eq!(far.ok(&["network", "inspect", "-f", pool, "quiet"]), "10.214.0.0/24 10.214.0.9 true map[a:b]\n");

    ALIKE.iter().for_each(|words| far.same(words));
    far.ok(&["rm", "-v", "idle"]);
    assert_eq!(far.ok(&["rm", "-f", "idle"]), "");
    assert_eq!(far.ok(&["rmi", "localhost:5000/me/host:2"]), "Untagged: localhost:5000/me/host:2\n");
    far.ok(&["network", "rm", "quiet"]);
    far.ok(&["volume", "rm", "kept", "other"]);
}

#[test]
fn a_container_runs_there_with_this_terminal_in_front_of_it() {
    let Some(far) = Far::start() else { return };
    let run = ["run", "--rm", "--network", "none"];
    let with = |words: &[&'static str]| [&run[..], words].concat();
    let output = far.sent(&with(&["host", "sh", "-c", "echo out; echo err >&2; exit 7"]));
    assert_eq!((output.status.code(), &output.stdout[..], &output.stderr[..]), (Some(7), &b"out\n"[..], &b"err\n"[..]));
    assert_eq!(far.ok(&with(&["-t", "host", "sh", "-c", "test -t 1 && echo terminal"])), "terminal\r\n");
    assert_eq!(far.ok(&with(&["-a", "stderr", "host", "echo", "unseen"])), "");

    // More than any pipe holds, so that both directions have to go on at once.
    let mut command = Command::new(COOPER);
    command.arg("-H").arg(far.address()).args(with(&["-i", "host", "cat"]));
    let mut cat = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, typed) = (cat.stdin.take().unwrap(), vec![b'x'; 1 << 20]);
    let sent = typed.clone();
    let typist = std::thread::spawn(move || keys.write_all(&sent).unwrap());
    let echoed = cat.wait_with_output().unwrap();
    typist.join().unwrap();
    assert!(echoed.status.success() && echoed.stdout == typed, "{} bytes came back", echoed.stdout.len());

    // What fails before it begins has docker's codes, and leaves nothing.
    assert_eq!(far.fails(&with(&["host", "no-such-command"])).0, 127);
    assert_eq!(far.fails(&with(&["host", "/etc"])).0, 126);
    let (code, said) = far.fails(&with(&["--pull", "never", "localhost:1/nope", "true"]));
    assert!(code == 125 && said.contains("No such image"), "{said}");
    assert_eq!(far.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_container_s_life_there_is_led_from_here() {
    let Some(far) = Far::start() else { return };
    let id = far.ok(&[
        "run",
        "-d",
        "--name",
        "sleeper",
        "--network",
        "none",
        "host",
        "sh",
        "-c",
        "echo said; exec sleep 1000",
    ]);
    let state = |template: &str| far.ok(&["inspect", "-f", template, "sleeper"]).trim().to_owned();
    assert_eq!(state("{{.Id}} {{.State.Status}}"), format!("{} running", id.trim()));
    let output = far.sent(&[
        "exec",
        "-e",
        "A=b",
        "-w",
        "/tmp",
        "-u",
        "1:2",
        "sleeper",
        "sh",
        "-c",
        "id -u; pwd; echo $A >&2; exit 5",
    ]);
    assert_eq!(
        (output.status.code(), text(&output.stdout), text(&output.stderr)),
        (Some(5), "1\n/tmp\n".into(), "b\n".into())
    );
    assert_eq!(far.ok(&["exec", "-t", "sleeper", "sh", "-c", "test -t 0 && echo terminal"]), "terminal\r\n");
    far.ok(&["exec", "-d", "sleeper", "touch", "/mine"]);
    until("the file that it makes", || far.ok(&["diff", "sleeper"]).contains("A /mine\n"));
    assert!(far.ok(&["top", "sleeper"]).contains("sleep 1000"));
    far.until_it_said("sleeper");
    far.same(&["logs", "-t", "sleeper"]);
    far.same(&["stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.Name}} {{.NetIO}}", "sleeper"]);

    far.ok(&["pause", "sleeper"]);
    assert_eq!(state("{{.State.Status}}"), "paused");
    far.ok(&["unpause", "sleeper"]);
    assert_eq!(far.ok(&["update", "--restart", "on-failure:2", "--pids-limit", "99", "sleeper"]), "sleeper\n");
    assert_eq!(state("{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.PidsLimit}}"), "on-failure 99");
    let first = state("{{.State.Pid}}");
    far.ok(&["restart", "-t", "0", "sleeper"]);
    assert_ne!(state("{{.State.Pid}}"), first);
    far.ok(&["rename", "sleeper", "walker"]);
    far.ok(&["rm", "-f", "walker"]);
}

#[test]
fn whoever_follows_sees_the_end_and_whoever_waits_its_code() {
    let Some(far) = Far::start() else { return };
    far.ok(&["run", "-d", "--name", "walker", "--network", "none", "host", "sh", "-c", "echo said; exec sleep 1000"]);
    far.until_it_said("walker");
    let mut command = Command::new(COOPER);
    command.arg("-H").arg(far.address()).stdout(Stdio::piped());
    let follower = command.args(["logs", "-f", "walker"]).spawn().unwrap();
    assert_eq!(far.ok(&["kill", "-s", "KILL", "walker"]), "walker\n");
    assert_eq!(far.ok(&["wait", "walker"]), "137\n");
    assert_eq!(text(&follower.wait_with_output().unwrap().stdout), "said\n");
    far.ok(&["rm", "walker"]);

    // Started again with its streams, and left to end by itself.
    far.ok(&["create", "--name", "talker", "-i", "--network", "none", "host", "sh", "-c", "cat; exit 4"]);
    let mut command = Command::new(COOPER);
    command.arg("-H").arg(far.address()).args(["start", "-ai", "talker"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut talker = command.spawn().unwrap();
    talker.stdin.take().unwrap().write_all(b"word\n").unwrap();
    let output = talker.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), "word\n".to_owned()));
}

#[test]
fn what_is_not_sent_says_so_and_is_not_done_here() {
    let Some(far) = Far::start() else { return };
    let refused = |words: &[&str]| {
        let (code, said) = far.fails(words);
        assert_ne!(code, 0, "{words:?}");
        said
    };
    for words in [&["build", "."][..], &["cp", "a", "b:c"], &["image", "tree", "host"], &["system", "prune", "-f"]] {
        let said = refused(words);
        assert!(said.contains(" cannot be sent to a daemon"), "{words:?}: {said}");
    }
    assert!(refused(&["image", "tree", "host"]).starts_with("cooper: image tree cannot be sent"));
    let flags: [&[&str]; 5] = [
        &["update", "--publish-add", "80", "x"],
        &["pull", "--all-tags", "x"],
        &["network", "inspect", "--firewall", "x"],
        &["create", "-v", "/tmp:/t:idmap", "host"],
        &["--explain", "ps"],
    ];
    for words in flags {
        assert!(refused(words).contains("cannot be sent to a daemon"), "{words:?}");
    }
    assert!(refused(&["--root", "/nowhere", "ps"]).contains("name two engines"));
    let at = |address: &str| {
        let output = Command::new(COOPER).env("COOPER_HOST", address).arg("ps").output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(at(&far.address()).0, Some(0));
    assert!(at("tcp://127.0.0.1:2375").1.contains("only unix:///PATH can be reached"));
    let (code, said) = at(&format!("unix://{}", far.root.path().join("nobody").display()));
    assert!(code == Some(1) && said.contains("connect to the daemon at") && said.contains("No such file"), "{said}");
}

#[test]
fn images_come_from_a_registry_and_go_there_by_way_of_the_daemon() {
    let Some(far) = Far::start() else { return };
    let storage = tempfile::tempdir().unwrap();
    let mut command = Command::new(COOPER);
    command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--storage"]).arg(storage.path());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut registry = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(registry.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_, address) = line.split_once("http://").unwrap();
    let address = address.split(',').next().unwrap().to_owned();
    let name = format!("{address}/me/host:1");
    far.ok(&["create", "--name", "idle", "--network", "none", "host", "true"]);
    far.ok(&["tag", "host", &name]);
    let pushed = far.ok(&["push", &name]);
    assert!(pushed.starts_with("1: digest: sha256:") && pushed.contains(" size: "), "{pushed}");
    assert_eq!(far.ok(&["push", "-q", &name]), format!("{name}\n"));
    far.ok(&["rmi", &name]);
    assert_eq!(far.ok(&["pull", "-q", &name]), format!("{name}\n"));
    far.ok(&["rmi", &name]);
    // Not there: it is pulled by whoever runs it, and said on the side.
    let ran = far.sent(&["run", "--rm", "--network", "none", &name, "echo", "ran"]);
    assert_eq!(text(&ran.stdout), "ran\n", "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).starts_with(&format!("Unable to find image '{name}' locally\n")));
    let (code, said) = far.fails(&["pull", &format!("{address}/me/nothing:1")]);
    assert!(code == 1 && said.contains("nothing"), "{said}");
    registry.kill().unwrap();
    registry.wait().unwrap();
}
