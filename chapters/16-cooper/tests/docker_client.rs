//! The real docker client in front of this engine.
//!
//! One test, in the order in which a person would try things: each step stands on the one before.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

struct Daemon {
    child: Child,
    socket: PathBuf,
    root: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Daemon {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("docker.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_cooper"))
            .arg("--root")
            .arg(root.path())
            .args(["daemon", "-H"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("API listen on "), "{line:?}");
        Daemon { child, socket, root }
    }

    fn docker(&self, words: &[&str]) -> Output {
        Command::new("docker")
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_CONFIG", self.root.path().join("client"))
            .args(words)
            .output()
            .unwrap()
    }

    /// What docker printed; it must have succeeded.
    fn ok(&self, words: &[&str]) -> String {
        let output = self.docker(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "docker {words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code and what docker said on stderr.
    fn fails(&self, words: &[&str]) -> (i32, String) {
        let output = self.docker(words);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let cooper = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
            command.arg("--root").arg(self.root.path()).args(words).output()
        };
        // Whatever a failed test left running; nothing else may hide the test's own failure.
        drop(cooper(&["rm", "-f", "sleeper", "talker"]));
        drop(self.child.kill());
        drop(self.child.wait());
        drop(cooper(&["system", "prune", "-f"]));
    }
}

#[test]
fn docker_runs_lists_reads_stops_and_removes() {
    if !process::needs::root() || !process::needs::program("docker") {
        return;
    }
    let daemon = Daemon::start();
    assert_eq!(daemon.ok(&["version", "-f", "{{.Server.APIVersion}}"]), "1.47\n");
    assert!(daemon.ok(&["run", "--rm", "hello"]).to_lowercase().contains("hello"));
    assert!(daemon.ok(&["images"]).contains("hello"));
    assert_eq!(daemon.ok(&["ps", "-aq"]), "", "--rm must have removed it");

    let id = daemon.ok(&["run", "-d", "--name", "sleeper", "host", "sleep", "1000"]);
    let listed = daemon.ok(&["ps", "-a"]);
    assert!(listed.contains(&id[..12]) && listed.contains("Up ") && listed.contains("sleeper"), "{listed}");
    assert_eq!(daemon.ok(&["inspect", "-f", "{{.State.Status}} {{.Name}}", "sleeper"]), "running /sleeper\n");
    assert_eq!(daemon.ok(&["exec", "sleeper", "sh", "-c", "echo in; exit 0"]), "in\n");
    assert_eq!(daemon.fails(&["exec", "sleeper", "sh", "-c", "exit 3"]).0, 3);
    let (code, said) = daemon.fails(&["run", "-d", "--name", "sleeper", "host", "true"]);
    assert!(code == 125 && said.contains("already in use"), "{said}");
    let (_, said) = daemon.fails(&["rm", "sleeper"]);
    assert!(said.contains("running"), "{said}");

    daemon.ok(&["stop", "-t", "1", "sleeper"]);
    assert!(daemon.ok(&["ps", "-a", "--filter", "name=sleeper"]).contains("Exited ("));
    daemon.ok(&["rm", "sleeper"]);
    assert_eq!(daemon.ok(&["ps", "-aq"]), "");
}

#[test]
fn docker_pauses_renames_restarts_and_looks_inside() {
    if !process::needs::root() || !process::needs::program("docker") {
        return;
    }
    let daemon = Daemon::start();
    daemon.ok(&["run", "-d", "--name", "talker", "host", "sh", "-c", "touch /mine; exec sleep 1000"]);
    daemon.ok(&["pause", "talker"]);
    assert!(daemon.ok(&["ps"]).contains("(Paused)"));
    daemon.ok(&["unpause", "talker"]);
    daemon.ok(&["rename", "talker", "sleeper"]);
    let first = daemon.ok(&["inspect", "-f", "{{.State.Pid}}", "sleeper"]);
    daemon.ok(&["restart", "-t", "0", "sleeper"]);
    assert_ne!(daemon.ok(&["inspect", "-f", "{{.State.Pid}}", "sleeper"]), first);
    let top = daemon.ok(&["top", "sleeper"]);
    assert!(top.starts_with("UID") && top.contains("sleep 1000"), "{top}");
    assert_eq!(daemon.ok(&["diff", "sleeper"]), "A /mine\n");
    daemon.ok(&["rm", "-f", "sleeper"]);
}

#[test]
fn docker_saves_loads_and_reads_the_history() {
    if !process::needs::root() || !process::needs::program("docker") {
        return;
    }
    let daemon = Daemon::start();
    daemon.ok(&["pull", "-q", "hello"]);
    daemon.ok(&["tag", "hello", "greeting:1"]);
    let archive = daemon.root.path().join("greeting.tar");
    let archive = archive.to_str().unwrap();
    daemon.ok(&["save", "-o", archive, "greeting:1"]);
    daemon.ok(&["rmi", "greeting:1", "hello"]);
    assert_eq!(daemon.ok(&["images", "-q"]), "");
    assert!(daemon.ok(&["load", "-i", archive]).contains("Loaded image: greeting:1"));
    assert!(daemon.ok(&["run", "--rm", "greeting:1"]).contains("Hello"));
    let history = daemon.ok(&["history", "greeting:1"]);
    assert!(history.starts_with("IMAGE") && history.lines().count() > 1, "{history}");
    assert!(daemon.fails(&["save", "-o", archive, "nothing-of-the-kind"]).1.contains("No such image"));
    daemon.ok(&["rmi", "greeting:1"]);
    let until = jiff::Timestamp::now().to_string();
    let words = ["events", "--since", "1", "--until", &until, "--filter", "type=image", "--format", "{{.Action}}"];
    let actions = "tag save untag untag delete load untag delete";
    assert_eq!(daemon.ok(&words).split_whitespace().collect::<Vec<_>>().join(" "), actions);
}

#[test]
fn docker_searches_a_registry() {
    let programs = ["docker", "docker-registry"].iter().all(|program| process::needs::program(program));
    if !process::needs::root() || !programs {
        return;
    }
    let daemon = Daemon::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let config = daemon.root.path().join("registry.yml");
    let storage = daemon.root.path().join("registry");
    let text = format!(
        "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp: {{ addr: \"{address}\" }}\n",
        storage.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut registry = Command::new("docker-registry").arg("serve").arg(&config).stderr(Stdio::null()).spawn().unwrap();
    while std::net::TcpStream::connect(&address).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (ours, other) = (format!("{address}/me/greeting:1"), format!("{address}/me/other:1"));
    daemon.ok(&["pull", "-q", "hello"]);
    for name in [&ours, &other] {
        daemon.ok(&["tag", "hello", name]);
        daemon.ok(&["push", "-q", name]);
    }
    let found = daemon.docker(&["search", "--format", "{{.Name}}", &format!("{address}/greet")]);
    registry.kill().unwrap();
    registry.wait().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "me/greeting\n", "{}", String::from_utf8_lossy(&found.stderr));
}

#[test]
fn docker_commits_exports_imports_counts_and_prunes() {
    if !process::needs::root() || !process::needs::program("docker") {
        return;
    }
    let daemon = Daemon::start();
    daemon.ok(&["run", "--name", "talker", "-e", "BY=me", "host", "sh", "-c", "echo changed > /mine"]);
    let id = daemon.ok(&["commit", "-m", "why", "-a", "me", "-c", "CMD [\"cat\", \"/mine\"]", "talker", "mine:1"]);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(daemon.ok(&["run", "--rm", "mine:1"]), "changed\n");
    assert_eq!(daemon.ok(&["inspect", "-f", "{{.Author}} {{index .Config.Env 1}}", "mine:1"]), "me BY=me\n");
    assert!(daemon.ok(&["history", "mine:1"]).lines().nth(1).unwrap().trim_end().ends_with("why"));
    let (_, said) = daemon.fails(&["commit", "-c", "RUN true", "talker"]);
    assert!(said.contains("RUN is not a valid change command"), "{said}");

    let archive = daemon.root.path().join("files.tar");
    let archive = archive.to_str().unwrap();
    daemon.ok(&["export", "-o", archive, "talker"]);
    let id = daemon.ok(&["import", "-m", "from files", "-c", "CMD cat /mine", archive, "flat"]);
    assert_eq!(daemon.ok(&["run", "--rm", "flat"]), "changed\n");
    assert_eq!(daemon.ok(&["images", "-q", "--no-trunc", "flat"]), id);
    assert_eq!(daemon.ok(&["history", "--format", "{{.Comment}}", "flat"]), "from files\n");

    let df = daemon.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    assert!(df.starts_with("Images 3 1\nContainers 1 0\n"), "{df}");
    assert!(daemon.ok(&["system", "df", "-v"]).contains("mine"));
    let pruned = daemon.ok(&["image", "prune", "-af"]);
    assert!(pruned.contains("untagged: flat:latest") && pruned.contains("untagged: mine:1"), "{pruned}");
    assert!(!pruned.contains("reclaimed space: 0B"), "{pruned}");
    assert_eq!(daemon.ok(&["images", "--format", "{{.Repository}}"]), "host\n", "a container uses it");
    daemon.ok(&["rm", "talker"]);
}

#[test]
fn docker_sees_output_logs_and_exit_codes() {
    if !process::needs::root() || !process::needs::program("docker") {
        return;
    }
    let daemon = Daemon::start();
    let output = daemon.docker(&["run", "--name", "talker", "host", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    let logs = daemon.docker(&["logs", "talker"]);
    assert_eq!((&logs.stdout[..], &logs.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(daemon.ok(&["wait", "talker"]), "7\n");
    daemon.ok(&["rm", "talker"]);
    assert_eq!(daemon.fails(&["run", "--rm", "host", "no-such-command"]).0, 127);
    assert_eq!(daemon.fails(&["run", "--rm", "host", "/etc"]).0, 126);
    assert_eq!(daemon.ok(&["run", "--rm", "-t", "host", "sh", "-c", "test -t 1 && echo terminal"]), "terminal\r\n");
    let (code, said) = daemon.fails(&["run", "--rm", "--pull", "never", "localhost:1/nope", "true"]);
    assert!(code == 125 && said.contains("No such image"), "{said}");
}

#[test]
fn docker_copies_watches_and_sees_restarts_and_health() {
    if !process::needs::root() || !process::needs::program("docker") {
        return;
    }
    let daemon = Daemon::start();
    let since = jiff::Timestamp::now().to_string();
    let script = "touch /well; exec sleep 1000";
    let check = ["--health-cmd", "test -e /well", "--health-interval", "100ms", "--restart", "unless-stopped"];
    daemon.ok(&[&["run", "-d", "--name", "sleeper"], &check[..], &["host", "sh", "-c", script]].concat());
    let inspect = |template: &str| daemon.ok(&["inspect", "-f", template, "sleeper"]).trim().to_owned();
    let becomes = |template: &str, wanted: &str| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while inspect(template) != wanted {
            assert!(std::time::Instant::now() < end, "{template} is {:?}, not {wanted:?}", inspect(template));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    becomes("{{.State.Health.Status}}", "healthy");
    assert!(daemon.ok(&["ps"]).contains("(healthy)"));
    let stats = daemon.ok(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "sleeper"]);
    assert!(stats.starts_with("sleeper ") && stats != "sleeper 0\n", "{stats}");

    let here = daemon.root.path().join("here");
    std::fs::create_dir_all(here.join("dir/sub")).unwrap();
    std::fs::write(here.join("dir/sub/file"), "from here\n").unwrap();
    let path = |name: &str| here.join(name).to_str().unwrap().to_owned();
    daemon.ok(&["cp", &path("dir"), "sleeper:/srv-new"]);
    assert_eq!(daemon.ok(&["exec", "sleeper", "cat", "/srv-new/sub/file"]), "from here\n");
    daemon.ok(&["cp", "sleeper:/srv-new/.", &path("back")]);
    assert_eq!(std::fs::read_to_string(here.join("back/sub/file")).unwrap(), "from here\n");
    assert_eq!(daemon.fails(&["cp", "sleeper:/nothing", &path("x")]).0, 1);

    let pid = inspect("{{.State.Pid}}").parse().unwrap();
    process::PidFd::open(pid).unwrap().signal(process::Signal::SIGKILL).unwrap();
    becomes("{{.RestartCount}} {{.State.Status}}", "1 running");
    daemon.ok(&["update", "--restart", "no", "--pids-limit", "77", "sleeper"]);
    assert_eq!(inspect("{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.PidsLimit}}"), "no 77");
    daemon.ok(&["rm", "-f", "sleeper"]);
    let until = jiff::Timestamp::now().to_string();
    let words =
        ["events", "--since", &since, "--until", &until, "--filter", "type=container", "--format", "{{.Action}}"];
    let events = daemon.ok(&words);
    for action in ["create", "start", "health_status: healthy", "die", "update", "kill", "destroy"] {
        assert!(events.lines().any(|line| line == action), "no {action} in {events}");
    }
}

#[test]
fn the_daemon_s_death_stops_no_container() {
    if !process::needs::root() || !process::needs::program("docker") {
        return;
    }
    let mut daemon = Daemon::start();
    daemon.ok(&["run", "-d", "--name", "sleeper", "host", "sleep", "1000"]);
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let listed = Command::new(env!("CARGO_BIN_EXE_cooper"))
        .arg("--root")
        .arg(daemon.root.path())
        .args(["ps", "--format", "json"])
        .output()
        .unwrap();
    let line: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(line["State"], "running");
}

#[test]
fn docker_makes_joins_leaves_and_prunes_networks() {
    if !process::needs::root() || !process::needs::program("docker") || !process::needs::program("nft") {
        return;
    }
    let daemon = Daemon::start();
    let subnets = ["--subnet", "10.213.0.0/24", "--ip-range", "10.213.0.128/25", "--subnet", "fd00:213::/64", "--ipv6"];
    daemon.ok(&[&["network", "create"], subnets.as_slice(), &["--label", "tier=back", "back"]].concat());
    daemon.ok(&["network", "create", "--internal", "unused"]);
    assert!(daemon.fails(&["network", "create", "back"]).1.contains("already exists"));
    assert!(daemon.fails(&["network", "create", "-o", "moon=full", "odd"]).1.contains("not supported"));
    assert_eq!(daemon.ok(&["network", "ls", "-q", "--filter", "label=tier=back"]).lines().count(), 1);
    let pools =
        daemon.ok(&["network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}};{{end}}", "back"]);
    assert_eq!(pools, "10.213.0.0/24 10.213.0.128/25;fd00:213::/64 ;\n");

    daemon.ok(&["run", "-d", "--name", "sleeper", "--network", "back", "--ip", "10.213.0.7", "host", "sleep", "1000"]);
    daemon.ok(&["run", "-d", "--name", "talker", "host", "sleep", "1000"]);
    daemon.ok(&["network", "connect", "--alias", "voice", "back", "talker"]);
    let shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}};{{end}}";
    assert_eq!(daemon.ok(&["inspect", "-f", shown, "sleeper"]), "10.213.0.7 fd00:213::7;\n");
    let talker = "{{with index .NetworkSettings.Networks \"back\"}}{{.IPAddress}} {{.Aliases}}{{end}}";
    assert!(daemon.ok(&["inspect", "-f", talker, "talker"]).starts_with("10.213.0.128 [voice "));
    assert!(daemon.fails(&["network", "rm", "back"]).1.contains("in use"));
    assert!(daemon.fails(&["network", "connect", "back", "talker"]).0 != 0);

    daemon.ok(&["network", "disconnect", "back", "talker"]);
    let holders = "{{range .Containers}}{{.Name}} {{.IPv4Address}};{{end}}";
    assert_eq!(daemon.ok(&["network", "inspect", "-f", holders, "back"]), "sleeper 10.213.0.7/24;\n");
    assert_eq!(daemon.ok(&["network", "prune", "-f"]).trim(), "Deleted Networks:\nunused");
    daemon.ok(&["rm", "-f", "sleeper", "talker"]);
    assert!(daemon.ok(&["network", "prune", "-f"]).contains("back"));
}
