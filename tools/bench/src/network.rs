//! `bench network`: bytes a second through a published port and between containers, beside a bare cable; names a second.
//!
//! The yardstick is a veth cable between two network namespaces with nothing else on the way: no bridge, no rules. It is
//! measured in turn with the others, so that a disturbance of the machine hits all alike.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How many questions are on their way at a time.
const WINDOW: usize = 32;

/// A bare cable: two namespaces of its own, so that nothing of the machine's network is touched. `$1` is the time in seconds.
const BARE: &str = "ip link set lo up
unshare --net sleep 60 & there=$!
while [ \"$(readlink /proc/$there/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.05; done
ip link add cable type veth peer name cable netns $there
ip addr add 10.99.0.1/24 dev cable; ip link set cable up
nsenter --net=/proc/$there/ns/net sh -c 'ip addr add 10.99.0.2/24 dev cable; ip link set cable up'
nsenter --net=/proc/$there/ns/net iperf3 --server --one-off >/dev/null & sleep 0.5
iperf3 --client 10.99.0.2 --time $1 --json
kill $there";

/// What was measured, in the order in which it is told.
pub(crate) struct Rates {
    /// By name; the yardstick first.
    pub(crate) rates: Vec<(&'static str, Rate)>,
    /// Answers a second, and what one costs the monitor: microseconds of a processor.
    pub(crate) names: (f64, f64),
}

/// What was seen of one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Gigabits a second.
    pub(crate) speed: f64,
    /// Milliseconds of a processor, both ends together, for a gigabit. On a machine that has other things to do, this says how fast it
    /// would be alone.
    pub(crate) cost: f64,
}

/// Measures everything `rounds` times in turn, each for `seconds`.
pub(crate) fn measure(cooper: &Path, rounds: usize, seconds: u64) -> Result<Rates> {
    for program in ["iperf3", "unshare", "nsenter", "ip"] {
        ensure!(Command::new(program).arg("--help").output().is_ok(), "{program} is not installed");
    }
    let scene = Scene::new(cooper)?;
    let (port, inside) = (scene.published()?, scene.address()?);
    let duration = seconds.to_string();
    let (mut bare, mut through, mut between) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(rate(Command::new("unshare").args(["--net", "sh", "-c", BARE, "sh", &duration]))?);
        let client = ["--client", "127.0.0.1", "--port", &port, "--time", &duration, "--json"];
        through.push(rate(Command::new("iperf3").args(client))?);
        let client = ["exec", "client", "/usr/bin/iperf3", "--client", &inside, "--time", &duration, "--json"];
        between.push(rate(scene.cooper().args(client))?);
    }
    let rates = vec![
        ("a bare veth cable", middle(&bare)),
        ("host to published port", middle(&through)),
        ("container to container", middle(&between)),
    ];
    let names: Vec<(f64, f64)> = (0..rounds).map(|_| scene.names(seconds)).collect::<Result<_>>()?;
    let part = |part: fn(&(f64, f64)) -> f64| median(names.iter().map(part).collect());
    Ok(Rates { rates, names: (part(|it| it.0), part(|it| it.1)) })
}

fn middle(rates: &[Rate]) -> Rate {
    let part = |part: fn(&Rate) -> f64| median(rates.iter().map(part).collect());
    Rate { speed: part(|it| it.speed), cost: part(|it| it.cost) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// As iperf3's receiver saw it.
fn rate(command: &mut Command) -> Result<Rate> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let end = &report["end"];
    let bits = end["sum_received"]["bits_per_second"].as_f64();
    let speed = bits.with_context(|| format!("{command:?}: {}", report["error"]))? / 1e9;
    let share = |end_of_it: &str| end["cpu_utilization_percent"][end_of_it].as_f64().context("no processor time");
    Ok(Rate { speed, cost: (share("host_total")? + share("remote_total")?) * 10.0 / speed })
}

/// A server with a published port and a client on one network.
struct Scene {
    cooper: PathBuf,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(cooper: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("cooper-bench-").tempdir().context("no temporary directory")?;
        let scene = Self { cooper: cooper.to_owned(), directory };
        scene.run(&["network", "create", "bench"])?;
        // This machine's own programs, so that no image need be fetched.
        let common = ["run", "--detach", "--network", "bench", "-v", "/usr:/usr:ro"];
        let server = ["--name", "server", "--publish", "5201", "host", "/usr/bin/iperf3", "--server"];
        scene.run(&[common.as_slice(), server.as_slice()].concat())?;
        scene.run(&[common.as_slice(), ["--name", "client", "host", "sleep", "1000"].as_slice()].concat())?;
        Ok(scene)
    }

    fn cooper(&self) -> Command {
        let mut command = Command::new(&self.cooper);
        command.arg("--root").arg(self.directory.path());
        command
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.cooper().args(words).stdin(Stdio::null()).output().context("cannot run cooper")?;
        if !output.status.success() {
            bail!("cooper {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn document(&self, name: &str) -> Result<Value> {
        let documents: Value = serde_json::from_str(&self.run(&["inspect", name])?).context("inspect is not JSON")?;
        Ok(documents[0].clone())
    }

    fn published(&self) -> Result<String> {
        let document = self.document("server")?;
        let port = &document["NetworkSettings"]["Ports"]["5201/tcp"][0]["HostPort"];
        Ok(port.as_str().context("no published port")?.to_owned())
    }

    fn address(&self) -> Result<String> {
        let address = &self.document("server")?["NetworkSettings"]["Networks"]["bench"]["IPAddress"];
        Ok(address.as_str().context("no address")?.to_owned())
    }

    /// Answers a second from the client's own resolver, asked from inside its network by this very program; and what one cost.
    fn names(&self, seconds: u64) -> Result<(f64, f64)> {
        let pid = self.document("client")?["State"]["Pid"].as_u64().context("no process")?;
        let this = std::env::current_exe().context("cannot find this program")?;
        let before = self.monitors()?;
        let asker: Child = Command::new("nsenter")
            .arg(format!("--net=/proc/{pid}/ns/net"))
            .arg(this)
            .args(["ask", "server", &seconds.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run nsenter")?;
        let output = asker.wait_with_output().context("cannot wait for nsenter")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate: f64 = text.trim().parse().with_context(|| format!("the asker said {text:?}"))?;
        Ok((rate, (self.monitors()? - before) * 1e6 / (rate * seconds as f64)))
    }

    /// Seconds of a processor that this scene's monitors have used. Only one of them has anything to do.
    fn monitors(&self) -> Result<f64> {
        crate::memory::seconds_of_monitors(self.directory.path())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for words in [["rm", "-f", "server", "client"].as_slice(), &["system", "prune", "-f"]] {
            if let Err(error) = self.run(words) {
                eprintln!("bench: {error:#}");
            }
        }
    }
}

/// Asks 127.0.0.11 for a name, again and again, and counts the answers a second that hold an address.
pub(crate) fn ask(name: &str, seconds: u64) -> Result<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("cannot bind")?;
    socket.connect("127.0.0.11:53").context("cannot connect")?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).context("cannot set a time-out")?;
    let question = question(name);
    let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
    let (mut answers, mut waiting, mut buffer) = (0u64, 0, [0; 512]);
    while began.elapsed() < limit {
        while waiting < WINDOW {
            socket.send(&question).context("cannot ask")?;
            waiting += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                // Bytes 6 and 7 count the answers.
                ensure!(length > 12 && buffer[7] >= 1, "an answer without an address");
                (answers, waiting) = (answers + 1, waiting - 1);
            }
            // Some were lost: ask again.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => waiting = 0,
            Err(error) => return Err(error).context("cannot hear"),
        }
    }
    Ok(answers as f64 / began.elapsed().as_secs_f64())
}

/// "What is the IPv4 address of ...?", as RFC 1035 has it.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}
