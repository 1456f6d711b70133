//! Volumes that are more than a directory: parts of one, mounted ones, and those of a plugin.
#![allow(clippy::unwrap_used)]

mod sandbox;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containers::{CreateOptions, MountRequest, VolumeRequest};
use sandbox::{Sandbox, eventually, sh};
use serde_json::{Value, json};

fn with(mounts: &[&str], script: &str) -> CreateOptions {
    let mounts = mounts.iter().map(|text| MountRequest::mount(text).unwrap()).collect();
    CreateOptions { mounts, ..sh(script) }
}

fn volume(name: &str, driver: &str, options: &[(&str, &str)]) -> VolumeRequest {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    VolumeRequest { name: Some(name.into()), driver: Some(driver.into()), options, ..VolumeRequest::default() }
}

/// Whether anything is mounted there or below, in this engine's directory.
fn is_mounted(sandbox: &Sandbox, path: &str) -> bool {
    let place = sandbox.root.path().join(path);
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(place.to_str().unwrap())
}

#[test]
fn a_part_of_a_volume_is_mounted_and_no_link_leads_out_of_it() {
    let Some(sandbox) = Sandbox::new() else { return };
    let fill = "mkdir -p /v/a/b; echo deep > /v/a/b/file; /bin/busybox ln -s /etc /v/out; /bin/busybox ln -s a/b /v/in";
    sandbox.run(with(&["type=volume,src=parts,dst=/v"], fill)).unwrap();
    let part = |subpath: &str| {
        let mount = format!("type=volume,src=parts,dst=/p,volume-subpath={subpath}");
        sandbox.run(with(&[&mount], "cat /p/file 2>/dev/null || cat /p 2>/dev/null || ls /p"))
    };
    assert_eq!(part("a/b").unwrap().stdout, "deep\n");
    assert_eq!(part("in").unwrap().stdout, "deep\n");
    assert_eq!(part("a/b/file").unwrap().stdout, "deep\n");
    // Inside the volume, /etc is the volume's own.
    for wrong in ["out", "a/none"] {
        let error = part(wrong).unwrap_err().to_string();
        assert!(error.contains("volume-subpath") && error.contains(wrong), "{error}");
    }
    let mount = "type=volume,src=parts,dst=/p,volume-subpath=in";
    let still = sandbox.create(with(&[mount], "true")).unwrap();
    sandbox.engine.look_at(still.id(), Path::new("/p/file")).unwrap();
    assert!(!is_mounted(&sandbox, "run/volumes/.parts"));
    sandbox.engine.prune().unwrap();
    sandbox.engine.remove_volume("parts").unwrap();
}

#[test]
fn a_volume_begins_empty_when_its_content_is_not_wanted() {
    let Some(sandbox) = Sandbox::new() else { return };
    let seen = |mount: &str| sandbox.run(with(&[mount], "ls /srv/data")).unwrap().stdout;
    assert_eq!(seen("type=volume,src=one,dst=/srv/data,volume-nocopy"), "");
    assert_eq!(seen("type=volume,src=two,dst=/srv/data"), "from-the-image\n");
    sandbox.engine.prune().unwrap();
    ["one", "two"].iter().for_each(|name| sandbox.engine.remove_volume(name).unwrap());
}

#[test]
fn a_volume_in_memory_is_shared_while_anybody_has_it_and_then_gone() {
    let Some(sandbox) = Sandbox::new() else { return };
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,mode=1770")];
    sandbox.engine.volumes().make(&volume("fast", "local", &options)).unwrap();
    let first = sandbox.run_detached(with(&["type=volume,src=fast,dst=/f"], "echo here > /f/file; exec sleep 1000"));
    eventually(|| sandbox.engine.look_at(first.id(), Path::new("/f/file")).ok()).unwrap();
    let second = sandbox.run(with(&["type=volume,src=fast,dst=/f"], "cat /f/file; mount | grep ' /f '")).unwrap();
    assert!(second.stdout.starts_with("here\n") && second.stdout.contains("size=1024k"), "{second:?}");
    sandbox.engine.stop(first.id(), Some(Duration::ZERO)).unwrap();
    assert!(!is_mounted(&sandbox, "volumes/fast/_data"));
    assert_eq!(sandbox.run(with(&["type=volume,src=fast,dst=/f"], "ls /f")).unwrap().stdout, "");
    sandbox.engine.prune().unwrap();
    sandbox.engine.remove_volume("fast").unwrap();
}

#[test]
fn a_directory_of_the_machine_can_be_a_volume_and_wrong_options_are_named() {
    let Some(sandbox) = Sandbox::new() else { return };
    let outside = tempfile::tempdir().unwrap();
    let device = outside.path().to_str().unwrap();
    let options = [("type", "none"), ("device", device), ("o", "bind")];
    sandbox.engine.volumes().make(&volume("mine", "local", &options)).unwrap();
    // Empty as it is, it begins with what the image has there.
    sandbox.run(with(&["type=volume,src=mine,dst=/srv/data"], "echo new > /srv/data/new")).unwrap();
    assert_eq!(std::fs::read_to_string(outside.path().join("new")).unwrap(), "new\n");
    assert_eq!(std::fs::read_to_string(outside.path().join("from-the-image")).unwrap(), "here\n");
    let refused = |options: &[(&str, &str)]| {
        sandbox.engine.volumes().make(&volume("bad", "local", options)).unwrap_err().to_string()
    };
    assert!(refused(&[("colour", "red")]).contains("colour"));
    assert!(refused(&[("type", "tmpfs")]).contains("missing device"));
    assert!(sandbox.engine.volumes().make(&volume("bad", "no-such-driver", &[])).is_err());
    let none = [("type", "no-such-file-system"), ("device", "x")];
    sandbox.engine.volumes().make(&volume("none", "local", &none)).unwrap();
    let error = sandbox.create(with(&["type=volume,src=none,dst=/n"], "true")).unwrap_err().to_string();
    assert!(error.contains("no-such-file-system"), "{error}");
    sandbox.engine.prune().unwrap();
    ["mine", "none"].iter().for_each(|name| sandbox.engine.remove_volume(name).unwrap());
    assert!(outside.path().join("new").exists(), "the volume's directory is not the engine's to empty");
}

/// A volume plugin that keeps each volume in a directory, and what it was asked.
struct Server {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(socket: &Path, files: PathBuf) -> Self {
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let (mut line, mut length) = (String::new(), 0);
                reader.read_line(&mut line).unwrap();
                let method = line.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let answer = answer(&method, &body, &files).to_string();
                log.lock().unwrap().push(method);
                write!(reader.get_mut(), "HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\n{answer}").unwrap();
            }
        });
        Self { asked }
    }

    fn count(&self, method: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == method).count()
    }
}

fn answer(method: &str, body: &Value, files: &Path) -> Value {
    let directory = files.join(body["Name"].as_str().unwrap_or_default());
    match method {
        "Plugin.Activate" => json!({ "Implements": ["VolumeDriver"] }),
        "VolumeDriver.Create" if body["Opts"]["fail"] == "yes" => json!({ "Err": "the disks are on strike" }),
        "VolumeDriver.Create" => {
            std::fs::create_dir(&directory).unwrap();
            json!({ "Err": "" })
        }
        "VolumeDriver.Mount" | "VolumeDriver.Path" => json!({ "Mountpoint": directory, "Err": "" }),
        "VolumeDriver.Remove" => {
            std::fs::remove_dir_all(&directory).unwrap();
            json!({ "Err": "" })
        }
        _ => json!({ "Err": "" }),
    }
}

#[test]
fn a_plugin_s_volume_is_mounted_while_a_container_runs() {
    let Some(sandbox) = Sandbox::new() else { return };
    let files = tempfile::tempdir().unwrap();
    let server = Server::start(&sandbox.root.path().join("plugins/shelf.sock"), files.path().to_path_buf());
    let error = sandbox.engine.volumes().make(&volume("bad", "shelf", &[("fail", "yes")])).unwrap_err().to_string();
    assert!(error.contains("shelf") && error.contains("on strike"), "{error}");

    let mount = "type=volume,src=far,dst=/srv/data,volume-driver=shelf";
    let container = sandbox.run_detached(with(&[mount], "echo far > /srv/data/file; exec sleep 1000"));
    eventually(|| std::fs::read_to_string(files.path().join("far/file")).ok().filter(|text| text == "far\n")).unwrap();
    assert!(files.path().join("far/from-the-image").exists());
    // Once for the content, once for the run.
    assert_eq!((server.count("VolumeDriver.Mount"), server.count("VolumeDriver.Unmount")), (2, 1));
    assert_eq!(sandbox.engine.inspect(container.id()).unwrap()["Mounts"][0]["Driver"], "shelf");
    sandbox.engine.stop(container.id(), Some(Duration::ZERO)).unwrap();
    assert_eq!(server.count("VolumeDriver.Unmount"), 2);
    // Also for as long as it is looked at.
    sandbox.engine.look_at(container.id(), Path::new("/srv/data/file")).unwrap();
    assert_eq!((server.count("VolumeDriver.Mount"), server.count("VolumeDriver.Unmount")), (3, 3));
    let listed: BTreeMap<_, _> =
        sandbox.engine.volumes().list().unwrap().into_iter().map(|it| (it.name, it.driver)).collect();
    assert_eq!(listed, BTreeMap::from([("far".to_owned(), "shelf".to_owned())]));
    sandbox.engine.prune().unwrap();
    sandbox.engine.remove_volume("far").unwrap();
    assert!(!files.path().join("far").exists());
}

#[test]
fn what_a_killed_monitor_had_mounted_is_given_back() {
    let Some(sandbox) = Sandbox::new() else { return };
    let options = [("type", "tmpfs"), ("device", "tmpfs")];
    sandbox.engine.volumes().make(&volume("fast", "local", &options)).unwrap();
    let container = sandbox.run_detached(with(&["type=volume,src=fast,dst=/f"], "exec sleep 1000"));
    let monitor = std::fs::read_to_string(container.run_directory().join("monitor.json")).unwrap();
    let monitor: Value = serde_json::from_str(&monitor).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(monitor["pid"].as_i64().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually(|| (!container.life().unwrap().status.is_live()).then_some(())).unwrap();
    sandbox.engine.prune().unwrap();
    assert!(!is_mounted(&sandbox, "volumes/fast/_data"));
    sandbox.engine.remove_volume("fast").unwrap();
}
