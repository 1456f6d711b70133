//! A user's day with images: logged in, pulled, changed, committed, pushed, removed, and carried to another machine in a pipe.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Stdio};

use process::needs;
use tests::engine::{Cooper, Said, Who};
use tests::peers::{Containers, Server, free_address};

fn able() -> bool {
    ["docker-registry", "buildah", "busybox", "htpasswd"].iter().all(|name| needs::program(name)) && needs::root()
}

/// Debian's registry, which lets in `me` with `secret` and nobody else.
fn private_registry(directory: &std::path::Path) -> Server {
    let address = free_address().unwrap();
    let made = Command::new("htpasswd").args(["-Bbn", "me", "secret"]).output().unwrap();
    fs::write(directory.join("htpasswd"), made.stdout).unwrap();
    let text = format!(
        "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {0}/private }}\n\
         auth:\n  htpasswd: {{ realm: here, path: {0}/htpasswd }}\nhttp: {{ addr: \"{address}\" }}\n",
        directory.display()
    );
    fs::write(directory.join("private.yml"), text).unwrap();
    Server::start(Command::new("docker-registry").arg("serve").arg(directory.join("private.yml")), address).unwrap()
}

struct Day {
    cooper: Cooper,
}

impl Day {
    /// With logins of its own.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.cooper.command(arguments);
        command.env("DOCKER_CONFIG", self.cooper.work().join("docker"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        tests::engine::run(&mut self.command(arguments)).unwrap()
    }

    fn login(&self, address: &str, password: &str) -> Said {
        let mut login = self.command(&["login", "-u", "me", "--password-stdin", address]);
        let child = login.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn a_day(who: Who) {
    let day = Day { cooper: Cooper::new(who).unwrap() };
    let place = tempfile::tempdir().unwrap();
    let public = Server::docker_registry(place.path()).unwrap();
    Containers::new(place.path()).unwrap().push_busybox(public.address());
    let private = private_registry(place.path());
    let base = format!("{}/busybox:1", public.address());
    let mine = format!("{}/me/app:1", private.address());

    assert!(day.login(private.address(), "wrong").fails(1).contains("401"));
    assert!(day.login(private.address(), "secret").ok().contains("Login Succeeded"));

    day.run(&["pull", "-q", &base]).ok();
    let run = ["run", "--name", "work", "--network", "none", &base, "sh", "-c", "echo 'echo I am $0 of $FROM' > /app"];
    day.run(&run).ok();
    let change = "CMD [\"sh\", \"/app\"]";
    let id = day.run(&["commit", "-m", "it works", "-a", "me", "-c", change, "-c", "ENV BY=me", "work", "app"]).ok();
    assert_eq!(day.run(&["run", "--rm", "--network", "none", "app"]).ok(), "I am /app of buildah\n");
    let history = day.run(&["history", "app"]).ok();
    assert!(history.lines().nth(1).unwrap().ends_with("it works"), "{history}");

    day.run(&["tag", "app", &mine]).ok();
    day.run(&["push", "-q", &mine]).ok();
    day.run(&["rm", "work"]).ok();
    let said = day.run(&["rmi", "app", &mine, &base]).ok();
    assert!(said.contains(&format!("Deleted: {}", id.trim())), "{said}");
    assert_eq!(day.run(&["images", "-q"]).ok(), "");

    assert_eq!(
        day.run(&["run", "--rm", "--network", "none", "--pull", "always", &mine]).ok(),
        "I am /app of buildah\n"
    );
    assert_eq!(day.run(&["images", "-q", "--no-trunc"]).ok(), id, "what comes back is what was pushed");

    carried(&day, &mine);
    day.run(&["logout", private.address()]).ok();
    day.run(&["rmi", &mine]).ok();
    day.run(&["system", "prune", "-f"]).ok();
    nothing_is_left(&day);
    day.cooper.finish();
}

/// `save | ssh elsewhere load`, without the ssh.
fn carried(day: &Day, image: &str) {
    let elsewhere = day.cooper.work().join("elsewhere");
    let mut save = day.command(&["save", image]).stdout(Stdio::piped()).spawn().unwrap();
    let mut load = day.command(&["load"]);
    load.env("COOPER_ROOT", &elsewhere).stdin(save.stdout.take().unwrap());
    assert_eq!(tests::engine::run(&mut load).unwrap().ok(), format!("Loaded image: {image}\n"));
    assert!(save.wait().unwrap().success());
    let mut there = day.command(&["run", "--rm", "--network", "none", "--pull", "never", image]);
    let there = tests::engine::run(there.env("COOPER_ROOT", &elsewhere)).unwrap();
    assert_eq!(there.ok(), "I am /app of buildah\n");
    let mut prune = day.command(&["system", "prune", "-af"]);
    tests::engine::run(prune.env("COOPER_ROOT", &elsewhere)).unwrap().ok();
}

/// Neither blobs nor layers, and `df` says so.
fn nothing_is_left(day: &Day) {
    for kind in ["images/blobs/sha256", "layers/sha256", "layers/tmp", "images/tmp"] {
        let left: Vec<_> = fs::read_dir(day.cooper.root().join(kind)).unwrap().collect();
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
    let df = day.run(&["system", "df", "--format", "json"]).ok();
    let images: serde_json::Value = serde_json::from_str(df.lines().next().unwrap()).unwrap();
    assert_eq!((&images["Type"], &images["TotalCount"]), (&"Images".into(), &"0".into()));
}

#[test]
fn a_day_of_root() {
    if able() {
        a_day(Who::Caller);
    }
}

#[test]
fn a_day_of_an_ordinary_user() {
    if able() && needs::account("learner") && needs::user_namespaces() {
        a_day(Who::Learner);
    }
}

/// As docker writes sizes: three digits, in thousands.
fn size(bytes: u64) -> String {
    let (mut value, mut units) = (bytes as f64, ["B", "kB", "MB", "GB"].iter());
    let mut unit = units.next().unwrap();
    while value >= 1000.0 {
        (value, unit) = (value / 1000.0, units.next().unwrap());
    }
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Every number of `df` against `du`, and what a prune says against what comes back.
#[test]
fn df_and_prune_agree_with_du() {
    if !needs::root() || !needs::program("busybox") {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    cooper
        .run(&["run", "--name", "one", "--network", "none", "host", "sh", "-c", "head -c 3000000 /dev/urandom > /big"])
        .ok();
    cooper.run(&["commit", "one", "two"]).ok();
    cooper
        .run(&[
            "run",
            "--name",
            "user",
            "--network",
            "none",
            "-v",
            "data:/data",
            "host",
            "sh",
            "-c",
            "cp /bin/sh /data",
        ])
        .ok();
    let du = |path: &str| {
        let output = Command::new("du").args(["-s", "-B1"]).arg(cooper.root().join(path)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let df = |line: usize| {
        let said = cooper.run(&["system", "df", "--format", "json"]).ok();
        serde_json::from_str::<serde_json::Value>(said.lines().nth(line).unwrap()).unwrap()
    };
    assert_eq!(df(0)["Size"], size(du("images") + du("layers")));
    assert_eq!(df(2)["Size"], size(du("volumes/data/_data")));
    let containers = fs::read_dir(cooper.root().join("containers")).unwrap();
    let containers: u64 =
        containers.map(|entry| du(&format!("containers/{}", entry.unwrap().file_name().to_string_lossy()))).sum();
    assert_eq!(df(1)["Size"], size(containers));

    // `two` is used by nobody: what it alone takes comes back.
    let reclaimable = df(0)["Reclaimable"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    let before = du("images") + du("layers");
    let said = cooper.run(&["image", "prune", "-af"]).ok();
    assert!(said.contains("Untagged: two:latest"), "{said}");
    assert!(said.ends_with(&format!("Total reclaimed space: {reclaimable}\n")), "{said}, {reclaimable}");
    assert_eq!(size(before - du("images") - du("layers")), reclaimable);
    cooper.finish();
}

/// All files below a directory.
fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap() {
            metadata if metadata.is_dir() => all.extend(files(&path)),
            metadata if metadata.is_file() && metadata.len() > 0 => all.push(path),
            _ => {}
        }
    }
    all.sort();
    all
}

/// Turns a bit in the middle of a file.
fn spoil(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// `bitrot`, with a registry that has what was lost.
#[test]
fn a_check_finds_a_flipped_byte_in_every_file_and_a_repair_pulls_again() {
    if !able() {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    let place = tempfile::tempdir().unwrap();
    let registry = Server::docker_registry(place.path()).unwrap();
    Containers::new(place.path()).unwrap().push_busybox(registry.address());
    let image = format!("{}/busybox:1", registry.address());
    cooper.run(&["pull", "-q", &image]).ok();
    assert!(cooper.run(&["system", "check"]).ok().contains("3 blobs"));
    let stored = || [files(&cooper.root().join("images/blobs")), files(&cooper.root().join("layers/sha256"))].concat();
    let all = stored();
    assert!(all.len() >= 5, "config, manifest, layer, its note and its file: {all:?}");
    for path in &all {
        spoil(path);
        let said = cooper.run(&["system", "check"]);
        assert!(said.code == 1 && said.out.contains("damaged: "), "{}: {}", path.display(), said.out);
        let said = cooper.run(&["system", "check", "--repair"]).ok();
        assert!(said.contains("healed: "), "{}: {said}", path.display());
        cooper.run(&["system", "check"]).ok();
    }
    all.iter().filter(|path| path.starts_with(cooper.root().join("images"))).for_each(|path| spoil(path));
    // Nothing of it can be read, and still it is listed by its name, and what cannot be had again is said.
    assert!(cooper.run(&["images"]).err.contains(&image));
    drop(registry);
    let said = cooper.run(&["system", "check", "--repair"]);
    assert!(said.code == 1 && said.out.contains("not healed: sha256:"), "{}", said.out);
    assert!(cooper.run(&["rmi", &image]).ok().starts_with("Untagged: "));
    cooper.run(&["system", "prune", "-f"]).ok();
    assert_eq!(stored(), Vec::<std::path::PathBuf>::new());
    cooper.finish();
}
