//! Whole projects, by the chapter's own program, from the built-in image `host`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A project's directory `shop` and an engine's root, for one test.
struct Shop {
    dir: TempDir,
}

impl Shop {
    /// `None`, with a printed reason, where containers cannot run.
    fn new(compose: &str) -> Option<Shop> {
        if !process::needs::root() || !process::needs::program("nft") {
            return None;
        }
        let shop = Shop { dir: tempfile::Builder::new().prefix("ch15-").tempdir().unwrap() };
        fs::create_dir(shop.dir.path().join("shop")).unwrap();
        shop.write(compose);
        Some(shop)
    }

    fn write(&self, compose: &str) {
        fs::write(self.dir.path().join("shop/compose.yaml"), compose).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let root = self.dir.path().join("root");
        let output = Command::new(env!("CARGO_BIN_EXE_ch15-compose"))
            .current_dir(self.dir.path().join("shop"))
            .arg("--root")
            .arg(root)
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, said) = self.command(arguments);
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// What all containers have printed so far.
    fn logs(&self) -> String {
        let logs = fs::read_dir(self.dir.path().join("root/containers")).unwrap();
        logs.map(|entry| fs::read_to_string(entry.unwrap().path().join("log.json")).unwrap_or_default()).collect()
    }

    /// Waits until `done`, at most twenty seconds.
    fn until(&self, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn left_nothing(&self) {
        let root = self.dir.path().join("root");
        for name in ["containers", "networks", "volumes", "run/containers"] {
            let entries = fs::read_dir(root.join(name)).into_iter().flatten().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = entries.filter(|name| !name.to_string_lossy().starts_with('.')).collect();
            assert!(left.is_empty(), "{name}: {left:?}");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&root.display().to_string()), "{mounts}");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // After a failed assertion, too, nothing may run on.
        self.command(&["down", "-v"]);
    }
}

const PAIR: &str = r#"
services:
  server:
    image: host
    command: ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"]
    networks: {back: {aliases: [www]}}
    volumes: ["data:/data"]
  client:
    image: host
    depends_on: [server]
    networks: [back]
    environment: {WHO: client}
    command: ["sh", "-c", "trap 'exit 0' TERM; echo I am $$WHO; while true; do sleep 0.1; done"]
networks: {back: }
volumes: {data: }
"#;

#[test]
fn up_does_what_is_missing_and_down_leaves_nothing() {
    let Some(shop) = Shop::new(PAIR) else { return };
    insta::assert_snapshot!("first-up", shop.ok(&["up", "-d"]));
    let listed = shop.ok(&["ps"]);
    assert!(listed.contains("shop-server-1") && listed.contains("Up "), "{listed}");
    shop.until(|| shop.logs().contains("I am client"));
    insta::assert_snapshot!("second-up", shop.ok(&["up", "-d"]));
    shop.write(&PAIR.replace("WHO: client", "WHO: somebody else"));
    insta::assert_snapshot!("up-after-an-edit", shop.ok(&["up", "-d"]));
    insta::assert_snapshot!("down", shop.ok(&["down", "-v"]));
    assert_eq!(shop.ok(&["down"]), "", "going down twice is fine");
    shop.left_nothing();
}

const PARTING: &str = r#"
services:
  one: &singer
    image: host
    volumes: ["hall:/hall"]
    environment: {ME: one, OTHER: two}
    command:
      - sh
      - -c
      - |
        trap 'touch /hall/$$ME; until [ -e /hall/$$OTHER ]; do sleep 0.05; done; touch /hall/$$ME.heard; exit 0' TERM
        touch /hall/$$ME.ready
        while true; do sleep 0.05; done
  two:
    <<: *singer
    environment: {ME: two, OTHER: one}
volumes: {hall: }
"#;

#[test]
fn services_that_do_not_depend_on_each_other_are_stopped_at_the_same_time() {
    let Some(shop) = Shop::new(PARTING) else { return };
    shop.ok(&["up", "-d"]);
    let hall = shop.dir.path().join("root/volumes/shop_hall/_data");
    shop.until(|| hall.join("one.ready").exists() && hall.join("two.ready").exists());
    // Each ends only when the other has been asked to end as well: one after the other, the first would be killed.
    shop.ok(&["down"]);
    assert!(hall.join("one.heard").exists() && hall.join("two.heard").exists());
    shop.ok(&["down", "-v"]);
    shop.left_nothing();
}

const NAMES: &str = r#"
services:
  web:
    image: host
    command: ["busybox", "httpd", "-f", "-p", "80", "-h", "/etc"]
    networks: {default: {aliases: [www]}}
  asks:
    image: host
    depends_on: [web]
    command:
      - sh
      - -c
      - |
        for name in web www shop-web-1; do
          until busybox wget -q -O - http://$$name/hostname > /dev/null; do sleep 0.1; done
          echo reached $$name
        done
        exit 7
"#;

#[test]
fn services_find_each_other_by_name_and_by_alias() {
    if !process::needs::program("busybox") {
        return;
    }
    let Some(shop) = Shop::new(NAMES) else { return };
    shop.ok(&["up", "-d", "asks"]);
    shop.until(|| shop.ok(&["ps", "-a"]).contains("Exited (7)"));
    for name in ["web", "www", "shop-web-1"] {
        assert!(shop.logs().contains(&format!("reached {name}")), "{}", shop.logs());
    }
}

#[test]
fn in_the_foreground_output_is_prefixed_and_the_failure_is_the_exit_code() {
    let file = r#"
services:
  one: {image: host, network_mode: none, command: ["echo", "from one"]}
  second: {image: host, network_mode: none, depends_on: [one], command: ["sh", "-c", "echo from two; exit 3"]}
"#;
    let Some(shop) = Shop::new(file) else { return };
    let (code, said) = shop.command(&["up"]);
    assert_eq!(code, Some(3), "{said}");
    for line in ["one-1     | from one\n", "second-1  | from two\n", "second-1 exited with code 3\n"] {
        assert!(said.contains(line), "{said}");
    }
    shop.ok(&["down"]);
    shop.left_nothing();
}

#[test]
fn a_service_is_built_where_it_has_a_context() {
    let file = "services: {web: {build: ., network_mode: none, command: [cat, /made]}}\n";
    let Some(shop) = Shop::new(file) else { return };
    fs::write(shop.dir.path().join("shop/Dockerfile"), "FROM host\nCOPY compose.yaml /made\n").unwrap();
    let (code, said) = shop.command(&["up"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("[2/2] COPY compose.yaml /made") && said.contains("web-1  | services:"), "{said}");
    fs::write(shop.dir.path().join("shop/Dockerfile"), "FROM host\nRUN exit 1\n").unwrap();
    let (code, said) = shop.command(&["up", "--build"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("service web: ") && said.contains("Dockerfile:2: "), "{said}");
}

#[test]
fn help_says_what_it_shows() {
    let output = Command::new(env!("CARGO_BIN_EXE_ch15-compose")).arg("--help").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}
