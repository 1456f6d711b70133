//! A user's day with images: logged in, pulled, changed, committed, pushed, removed, and carried to another machine in a pipe.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use process::needs;
use tests::engine::{Cooper, Said, Who, run};
use tests::peers::{Beside, Containers, Server, free_address};

fn able() -> bool {
    Beside::able() && needs::program("htpasswd")
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

/// What the image says that is made in the course of the day.
const SAID: &str = "snake 3 for 7:8\nof buildah by me\n";

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

/// Pushes an image as languages have them, `ADDRESS/snake:3`: on busybox a layer with a library and one with an
/// interpreter, an environment, a user, an entrypoint that is not the command.
fn push_language(peers: &Containers, place: &Path, address: &str) -> String {
    let here = place.join("containers");
    fs::write(here.join("library"), "echo \"snake $SNAKE for $(id -u):$(id -g)\"\n").unwrap();
    fs::write(here.join("snake"), "#!/bin/sh\n. /lib/library\n. \"$1\"\n").unwrap();
    fs::set_permissions(here.join("snake"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(here.join("hello"), "echo hello\n").unwrap();
    let mut base = "busybox:1".to_owned();
    for (image, copied) in [("library", ["library", "/lib/library"]), ("snake", ["snake", "/bin/snake"])] {
        let container = peers.buildah(&["from", &base]).ok();
        let container = container.trim();
        peers.buildah(&["copy", "--quiet", container, copied[0], copied[1]]).ok();
        if image == "snake" {
            peers.buildah(&["copy", "--quiet", container, "hello", "/hello"]).ok();
            let how = ["--env", "SNAKE=3", "--user", "7:8", "--entrypoint", "[\"snake\"]", "--cmd", "/hello"];
            peers.buildah(&[&["config"], &how[..], &[container]].concat()).ok();
        }
        peers.buildah(&["commit", "--quiet", "--rm", container, image]).ok();
        base = image.to_owned();
    }
    peers.buildah(&["push", "--quiet", "--tls-verify=false", "snake", &format!("docker://{address}/snake:3")]).ok();
    format!("{address}/snake:3")
}

fn a_day(who: Who) {
    let Beside { cooper, registry: public, peers, place, .. } = Beside::new(who).unwrap();
    let base = push_language(&peers, place.path(), public.address());
    let day = Day { cooper };
    let private = private_registry(place.path());
    let mine = format!("{}/me/app:1", private.address());

    assert!(day.login(private.address(), "wrong").fails(1).contains("401"));
    assert!(day.login(private.address(), "secret").ok().contains("Login Succeeded"));

    day.run(&["pull", "-q", &base]).ok();
    let said = day.run(&["run", "--rm", "--network", "none", &base]).ok();
    assert_eq!(said, "snake 3 for 7:8\nhello\n");
    let write = "echo 'echo of $FROM by $BY' > /app";
    let run = ["run", "--name", "work", "--network", "none", "-u", "0", "--entrypoint", "sh", &base, "-c", write];
    day.run(&run).ok();
    let changes = ["ENTRYPOINT [\"snake\"]", "CMD [\"/app\"]", "USER 7:8", "ENV BY=me"];
    let changes: Vec<&str> = changes.iter().flat_map(|change| ["-c", change]).collect();
    let id = day.run(&[&["commit", "-m", "it works", "-a", "me"], &changes[..], &["work", "app"]].concat()).ok();
    assert_eq!(day.run(&["run", "--rm", "--network", "none", "app"]).ok(), SAID);
    let history = day.run(&["history", "app"]).ok();
    assert!(history.lines().nth(1).unwrap().ends_with("it works"), "{history}");

    day.run(&["tag", "app", &mine]).ok();
    day.run(&["push", "-q", &mine]).ok();
    day.run(&["rm", "work"]).ok();
    let said = day.run(&["rmi", "app", &mine, &base]).ok();
    assert!(said.contains(&format!("Deleted: {}", id.trim())), "{said}");
    assert_eq!(day.run(&["images", "-q"]).ok(), "");

    assert_eq!(day.run(&["run", "--rm", "--network", "none", "--pull", "always", &mine]).ok(), SAID);
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
    assert_eq!(there.ok(), SAID);
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

/// Each deed with an image is in the journal, in docker's words: recorded from docker 20.10 doing the same.
#[test]
fn what_happens_to_images_is_in_the_journal_as_docker_says_it() {
    if !Beside::able() {
        return;
    }
    let Beside { cooper, registry: _registry, busybox, place: _place, .. } = Beside::new(Who::Caller).unwrap();
    let mine = busybox.replace("busybox", "mine");
    let archive = cooper.work().join("saved.tar").display().to_string();
    cooper.run(&["pull", "-q", &busybox]).ok();
    let id = cooper.run(&["images", "-q", "--no-trunc"]).ok().trim().to_owned();
    cooper.run(&["tag", &busybox, &mine]).ok();
    cooper.run(&["push", "-q", &mine]).ok();
    cooper.run(&["save", "-o", &archive, &mine]).ok();
    cooper.run(&["rmi", &mine, &busybox]).ok();
    cooper.run(&["load", "-i", &archive]).ok();
    cooper.run(&["rmi", "-f", &mine]).ok();
    run(Command::new("tar").args(["-cf", "files.tar", "saved.tar"]).current_dir(cooper.work())).unwrap().ok();
    let files = cooper.run(&["import", "-c", "LABEL a=b", "files.tar", "files:1"]).ok().trim().to_owned();
    let said = cooper.run(&["events", "--since", "1", "--until", "0s"]).ok();
    // An image's labels are named before its name; this one's say which buildah made it.
    let label = |line: &str| Some(line.split_once("(io.buildah")?.1.split_once(", ")?.0.to_owned());
    let told = |line: &str| {
        let event = line.split_once(' ').unwrap().1;
        label(event).map_or(event.to_owned(), |label| event.replace(&format!("io.buildah{label}, "), ""))
    };
    let said: Vec<String> = said.lines().map(told).collect();
    let of = |action: &str| format!("image {action} {id} (name={id})");
    assert_eq!(
        said,
        [
            format!("image pull {busybox} (name={})", busybox.trim_end_matches(":1")),
            format!("image tag {id} (name={mine})"),
            format!("image push {mine} (name={})", mine.trim_end_matches(":1")),
            of("save"),
            of("untag"),
            of("untag"),
            of("delete"),
            of("load"),
            of("untag"),
            of("delete"),
            format!("image tag {files} (a=b, name=files:1)"),
            format!("image import {files} (a=b, name={files})"),
        ]
    );
    let filter = ["events", "--since", "1", "--until", "0s", "--filter", "event=push", "--format", "{{.Actor.ID}}"];
    assert_eq!(cooper.run(&filter).ok(), format!("{mine}\n"));
    cooper.finish();
}

/// The drafts of state files in an engine's root.
fn drafts(cooper: &Cooper) -> Vec<String> {
    let find = ["-name", ".*.new", "-type", "f"];
    let said = run(Command::new("find").arg(cooper.root()).args(find)).unwrap().ok();
    said.lines().map(str::to_owned).collect()
}

/// A command that is killed while it writes a state file leaves the draft; a prune takes it away, or the next writer.
#[test]
fn what_killed_writers_left_is_swept() {
    if !needs::root() || !needs::program("strace") {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    cooper.run(&["create", "--name", "kept", "--network", "none", "host", "true"]).ok();
    let killed = |words: &[&str]| {
        let kill = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=?rename,?renameat,renameat2"];
        let plain = cooper.command(words);
        let mut command = Command::new("strace");
        command.args(kill).args(["-e", "inject=?rename,?renameat,renameat2:signal=SIGKILL:when=1"]);
        command.arg(plain.get_program()).args(plain.get_args()).env("COOPER_ROOT", cooper.root());
        assert_eq!(run(&mut command).unwrap().code, 128 + 9, "{words:?}");
    };
    for words in [
        &["volume", "create", "data"][..],
        &["network", "create", "--internal", "net"],
        &["update", "--restart", "no", "kept"],
        &["create", "--name", "other", "--network", "none", "host", "true"],
    ] {
        killed(words);
        assert_ne!(drafts(&cooper), Vec::<String>::new(), "{words:?} was killed too early or too late");
        // Who writes the same file again takes the draft over.
        if words[0] != "update" {
            cooper.run(&["system", "prune", "-f"]).ok();
            cooper.run(&["create", "--name", "kept", "--network", "none", "host", "true"]).ok();
        } else {
            cooper.run(words).ok();
        }
        assert_eq!(drafts(&cooper), Vec::<String>::new(), "{words:?}");
    }
    cooper.run(&["rm", "kept"]).ok();
    cooper.finish();
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
    let Beside { cooper, registry, busybox: image, place: _place, .. } = Beside::new(Who::Caller).unwrap();
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
