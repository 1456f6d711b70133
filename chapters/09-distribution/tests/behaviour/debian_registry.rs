//! Debian's `docker-registry`, started by a test on a loopback port and ended with it.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running registry; dropped, it is gone with all that it stored.
pub(crate) struct DebianRegistry {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl DebianRegistry {
    /// A registry for everybody.
    pub(crate) fn open() -> Self {
        Self::start("")
    }

    /// A registry for one account.
    pub(crate) fn for_account(user: &str, password: &str) -> Self {
        let output = Command::new("htpasswd").args(["-Bbn", user, password]).output().unwrap();
        assert!(output.status.success());
        Self::start(&String::from_utf8(output.stdout).unwrap())
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Flips one byte of a stored blob.
    pub(crate) fn damage(&self, digest: &layers::Digest) {
        let hex = digest.hex();
        let path = format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        let path = self.dir.path().join(path);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::File::create(path).unwrap().write_all(&bytes).unwrap();
    }

    /// A registry with more lines in its configuration; `http` are lines of that part, indented by two.
    pub(crate) fn configured(http: &str, rest: &str) -> Self {
        Self::start_with("", http, rest)
    }

    fn start(htpasswd: &str) -> Self {
        Self::start_with(htpasswd, "", "")
    }

    fn start_with(htpasswd: &str, http: &str, rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let root = dir.path().display();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\n  \
             delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{rest}"
        );
        if !htpasswd.is_empty() {
            fs::write(dir.path().join("htpasswd"), htpasswd).unwrap();
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {root}/htpasswd\n"));
        }
        let path = dir.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = DebianRegistry { child, port, dir };
        let patience = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < patience, "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        // It may have ended by itself; waiting for it leaves no zombie either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
