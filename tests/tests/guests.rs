//! Real programs as guests: PostgreSQL, Redis and nginx, from Debian's packages, in images that Cooper builds.
//!
//! Each is reached from the machine through a published port and from another container by its name, is healthy by its own
//! check, comes back when its process is killed, and finds its data again in a named volume when it was removed and made anew.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use process::{PidFd, Signal, needs};
use tests::engine::{Cooper, Who};
use tests::packages;

const PACKAGES: &[&str] = &["postgresql", "redis-server", "nginx-light", "busybox-static", "base-passwd", "base-files"];

/// How long a server may take on a loaded machine to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is an answer.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One server, and how to run it.
struct Guest<'a> {
    cooper: &'a Cooper,
    name: &'a str,
    image: &'a str,
    volume: &'a str,
    port: &'a str,
}

impl Guest<'_> {
    fn start(&self) {
        let run = ["run", "-d", "--name", self.name, "--network", "office", "--restart", "on-failure"];
        let own = ["-v", self.volume, "-p", self.port, self.image];
        self.cooper.run(&[run.as_slice(), &own].concat()).ok();
    }

    fn inspect(&self, format: &str) -> String {
        self.cooper.run(&["inspect", "--format", format, self.name]).ok().trim().to_owned()
    }

    fn is_well(&self) {
        let told = || (self.inspect("{{.State.Health.Status}}"), self.cooper.run(&["logs", self.name]));
        let healthy = || (told().0 == "healthy").then_some(());
        until(&format!("{} is healthy", self.name), || {
            assert_ne!(self.inspect("{{.State.Status}}"), "exited", "{:?}", told());
            healthy()
        });
    }

    /// What it answers to `question`, through the published port.
    fn asked_from_outside(&self, question: &[u8]) -> String {
        let address = self.cooper.run(&["port", self.name, self.port]).ok();
        let port: u16 = address.lines().next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(question)?;
            let (mut buffer, mut answer) = ([0; 4096], Vec::new());
            // Some close the connection after their answer, and some wait for the next question.
            while !answer.ends_with(b"\n") && answer.len() != 1 {
                match stream.read(&mut buffer)? {
                    0 => break,
                    length => answer.extend_from_slice(&buffer[..length]),
                }
            }
            std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        until(&format!("{} answers on port {port}", self.name), || ask().ok().filter(|answer| !answer.is_empty()))
    }

    /// What a command in another container of the same network says.
    fn asked_by_another(&self, command: &[&str]) -> String {
        let run = ["run", "--rm", "--network", "office", self.image];
        until(&format!("{} answers {command:?}", self.name), || {
            let said = self.cooper.run(&[run.as_slice(), command].concat());
            (said.code == 0).then_some(said.out)
        })
    }

    /// Its first process is killed as by the kernel in need of memory; its policy brings it back.
    fn comes_back(&self) {
        let before = self.inspect("{{.State.Pid}}");
        PidFd::open(before.parse().unwrap()).unwrap().signal(Signal::SIGKILL).unwrap();
        until(&format!("{} runs again", self.name), || {
            let now = self.inspect("{{.State.Running}} {{.RestartCount}} {{.State.Pid}}");
            (now.starts_with("true 1 ") && !now.ends_with(&format!(" {before}"))).then_some(())
        });
        self.is_well();
    }

    /// The container goes; its volume stays, and another one finds what it held.
    fn moves_out_and_in(&self) {
        self.cooper.run(&["rm", "-f", self.name]).ok();
        self.start();
        self.is_well();
    }
}

fn postgres(cooper: &Cooper) {
    let guest = Guest { cooper, name: "db", image: "postgres", volume: "rows:/data", port: "5432" };
    guest.start();
    guest.is_well();
    let sql = |text: &str| guest.asked_by_another(&["psql", "-h", "db", "-U", "postgres", "-At", "-c", text]);
    assert_eq!(
        sql("create table casks (wood text); insert into casks values ('oak'), ('ash')"),
        "CREATE TABLE\nINSERT 0 2\n"
    );
    // SSLRequest: length 8, code 80877103. A server without a certificate says N.
    assert_eq!(guest.asked_from_outside(&[0, 0, 0, 8, 4, 210, 22, 47]), "N");
    guest.comes_back();
    assert_eq!(sql("insert into casks values ('elm')"), "INSERT 0 1\n");
    guest.moves_out_and_in();
    assert_eq!(sql("select string_agg(wood, ' ' order by wood) from casks"), "ash elm oak\n");
    // The files are the user's whom the image names, also in a volume that was empty.
    let owner = cooper.run(&["exec", "db", "stat", "-c", "%u %a", "/data"]).ok();
    assert_eq!(owner, "70 700\n");
}

fn redis(cooper: &Cooper) {
    let guest = Guest { cooper, name: "cache", image: "redis", volume: "keys:/data", port: "6379" };
    guest.start();
    guest.is_well();
    let ask = |words: &[&str]| guest.asked_by_another(&[["redis-cli", "-h", "cache"].as_slice(), words].concat());
    assert_eq!(ask(&["set", "wood", "oak"]), "OK\n");
    assert_eq!(guest.asked_from_outside(b"PING\r\n"), "+PONG\r\n");
    guest.comes_back();
    assert_eq!(ask(&["append", "wood", "en"]), "5\n");
    guest.moves_out_and_in();
    assert_eq!(ask(&["get", "wood"]), "oaken\n");
}

fn nginx(cooper: &Cooper) {
    let guest = Guest { cooper, name: "site", image: "nginx", volume: "pages:/site", port: "80" };
    guest.start();
    guest.is_well();
    let get = |path: &str| guest.asked_from_outside(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
    assert!(get("/").ends_with("\r\n\r\nfirst\n"), "the image's page, copied into the volume: {}", get("/"));
    cooper.run(&["exec", "site", "sh", "-c", "echo second > /site/index.html"]).ok();
    assert_eq!(guest.asked_by_another(&["wget", "-q", "-O", "-", "http://site/"]), "second\n");
    guest.comes_back();
    // Another nginx asks 127.0.0.11 for `site` each time, and so finds it wherever it is.
    let front = Guest { name: "front", volume: "front:/site", ..guest };
    front.start();
    front.is_well();
    let through = || front.asked_from_outside(b"GET /site/index.html HTTP/1.0\r\n\r\n");
    assert!(through().ends_with("\r\n\r\nsecond\n"), "{}", through());
    guest.moves_out_and_in();
    until("the front finds the new one", || through().ends_with("\r\n\r\nsecond\n").then_some(()));
}

#[test]
fn databases_and_web_servers_are_at_home_here() {
    if !needs::root() || !["apt-get", "dpkg-deb", "nft"].iter().all(|name| needs::program(name)) {
        return;
    }
    let cooper = Cooper::new(Who::Caller).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    packages::unpack(PACKAGES, scratch.path(), &cooper.work().join("tree")).unwrap();
    cooper.write("Dockerfile", include_str!("guests/Dockerfile"));
    for image in ["postgres", "redis", "nginx"] {
        let said = cooper.run(&["build", "--target", image, "-t", image, "."]);
        assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    }
    cooper.run(&["network", "create", "office"]).ok();
    postgres(&cooper);
    redis(&cooper);
    nginx(&cooper);
    cooper.finish();
    // Volumes, networks and images are kept in the root, which goes with the test.
}
