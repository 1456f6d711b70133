//! What people do all day: build, run in the background, ask it over the network, stop; and a project of two services.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use process::needs;
use tests::engine::{Cooper, Who};
use tests::peers::{Beside, free_address};

fn everybody() -> bool {
    Beside::able() && needs::program("nft")
}

/// Asks `address` for `/` until it answers; at most ten seconds.
fn fetch(address: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let mut answer = String::new();
            let asked = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut answer));
            if asked.is_ok() && !answer.is_empty() {
                return answer;
            }
        }
        assert!(Instant::now() < deadline, "nobody answers on {address}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Which steps of a build ran and which came from the cache.
fn cached(progress: &str) -> usize {
    progress.lines().filter(|line| line.ends_with("CACHED")).count()
}

fn classic(cooper: &Cooper, base: &str) {
    let steps = ["WORKDIR /app", "COPY requirements.txt .", "RUN cat requirements.txt > /installed", "COPY . ."];
    let tail = "EXPOSE 8000\nENV MODE=test\nCMD [\"httpd\", \"-f\", \"-v\", \"-p\", \"8000\", \"-h\", \"/app\"]\n";
    cooper.write("app/Dockerfile", &format!("FROM {base}\n{}\n{tail}", steps.join("\n")));
    cooper.write("app/requirements.txt", "nothing==1\n");
    cooper.write("app/index.html", "first\n");
}

#[test]
fn a_build_is_cached_a_touched_file_rebuilds_from_its_copy_and_the_result_serves() {
    if !everybody() {
        return;
    }
    let Beside { cooper, registry: _registry, busybox, place: _place, .. } = Beside::new(Who::Caller).unwrap();
    classic(&cooper, &busybox);
    let build = |tag: &str| {
        let said = cooper.run(&["build", "-t", tag, "app"]);
        assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
        cached(&(said.out + &said.err))
    };
    assert_eq!(build("web:1"), 0, "the first build runs each step");
    let all = build("web:1");
    assert!(all >= 4, "the second is wholly cached: {all}");
    cooper.write("app/index.html", "second\n");
    assert_eq!(build("web:2"), all - 1, "only the last COPY runs again");

    let address = free_address().unwrap();
    let port = address.rsplit(':').next().unwrap();
    cooper.run(&["run", "-d", "-p", &format!("127.0.0.1:{port}:8000"), "--name", "web", "web:2"]).ok();
    assert!(fetch(&address).ends_with("second\n"));
    assert!(cooper.run(&["ps"]).ok().contains("web"));
    assert_eq!(cooper.run(&["exec", "web", "sh", "-c", "cat /installed; echo $MODE"]).ok(), "nothing==1\ntest\n");
    let said = cooper.run(&["run", "--rm", "--name", "web", "web:2"]).fails(125);
    assert!(said.contains("web"), "a name in use: {said}");
    let taken = cooper.run(&["run", "--rm", "-p", &format!("127.0.0.1:{port}:8000"), "web:2"]).fails(125);
    assert!(taken.contains(port), "a port in use: {taken}");
    cooper.run(&["logs", "web"]).ok();
    cooper.run(&["stop", "-t", "1", "web"]).ok();
    cooper.run(&["rm", "web"]).ok();
    cooper.finish();
}

#[test]
fn an_unknown_instruction_is_an_error_with_file_and_line() {
    let cooper = Cooper::new(Who::Caller).unwrap();
    cooper.write("Dockerfile", "FROM scratch\n\nCPOY a b\n");
    let told = cooper.run(&["build", "."]).fails(1);
    assert!(told.contains("Dockerfile:3") && told.contains("CPOY"), "{told}");
    cooper.finish();
}

#[test]
fn a_command_that_is_missing_is_127_and_one_that_is_no_program_126() {
    if !needs::user_namespaces() {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    let run = |command: &str| cooper.run(&["run", "--rm", "--network", "none", "host", command]);
    run("/no/such/program").fails(127);
    run("/etc").fails(126);
    let said = cooper.run(&["run", "--rm", "--network", "none", "host", "sh", "-c", "exit 42"]);
    assert_eq!(said.code, 42, "{}", said.err);
    cooper.run(&["run", "--rm", "no.such.image/x"]).fails(125);
    cooper.finish();
}

#[test]
fn limits_are_in_force() {
    if !needs::root() {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    // Version 2 or 1: the container sees its own group.
    let script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; \
                  cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null; true";
    let limits = ["-m", "256m", "--cpus", "0.5", "--network", "none"];
    let said = cooper.run(&[["run", "--rm"].as_slice(), &limits, &["host", "sh", "-c", script]].concat()).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.first(), Some(&"268435456"), "{said}");
    assert!(lines.get(1).is_some_and(|line| line.starts_with("50000")), "{said}");
    cooper.finish();
}

#[test]
fn two_services_reach_each_other_by_name_and_down_leaves_nothing() {
    if !everybody() {
        return;
    }
    let Beside { cooper, registry: _registry, busybox: image, place: _place, .. } = Beside::new(Who::Caller).unwrap();
    cooper.write("site/index.html", "reached\n");
    let server = "httpd -f -p 80 -h /site";
    let client = "until wget -q -O - http://server/; do sleep 0.2; done; sleep 60";
    cooper.write(
        "compose.yaml",
        &format!(
            "services:\n  server:\n    image: {image}\n    command: {server}\n    volumes: [\"./site:/site:ro\"]\n  client:\n    \
             image: {image}\n    depends_on: [server]\n    environment: {{ WHO: client }}\n    command: [\"sh\", \"-c\", \"{client}\"]\n"
        ),
    );
    cooper.run(&["compose", "-p", "pair", "up", "-d"]).ok();
    let listed = cooper.run(&["compose", "-p", "pair", "ps"]).ok();
    assert!(listed.contains("server") && listed.contains("client"), "{listed}");
    let deadline = Instant::now() + Duration::from_secs(15);
    let ids = cooper.run(&["ps", "-q", "--no-trunc"]).ok();
    while !ids.split_whitespace().any(|id| cooper.run(&["logs", id]).out.contains("reached")) {
        assert!(Instant::now() < deadline, "the client never reached the server");
        std::thread::sleep(Duration::from_millis(200));
    }
    cooper.run(&["compose", "-p", "pair", "down"]).ok();
    assert_eq!(cooper.run(&["ps", "-aq"]).ok(), "");
    cooper.finish();
}
