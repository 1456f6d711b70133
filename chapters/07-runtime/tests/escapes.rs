//! The historical escapes that only a whole runtime can hold, each with a naive form that the same check catches.
#![allow(clippy::unwrap_used)]

#[path = "scenery/busybox.rs"]
mod busybox;
#[path = "scenery/config.rs"]
mod config;

use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use assert_cmd::cargo::cargo_bin;
use nix::errno::Errno;
use process::needs;
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

/// A bundle with busybox in it, beside a copy of the runtime and a directory of the machine's.
struct Bundle {
    home: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Programs are copied here and executed at once. A child that another test makes in between would hold the copy open
/// for writing, and the kernel would refuse to execute it (ETXTBSY).
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Bundle {
    fn new(arguments: &[&str]) -> Option<Self> {
        if !needs::root() || !needs::program("busybox") {
            return None;
        }
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let bundle = Self { home: tempfile::tempdir().unwrap(), _alone: alone };
        busybox::install(bundle.home.path(), &["sh", "ls", "sleep", "cat"]);
        std::fs::create_dir(bundle.path("outside")).unwrap();
        // A copy, so that nobody else on this machine runs the same file.
        needs::copy_program(cargo_bin("cooper-runtime"), bundle.runtime());
        assert!(bundle.run(&["spec"]).status.success());
        bundle.change(|config| config["process"]["args"] = json!(arguments));
        Some(bundle)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn runtime(&self) -> PathBuf {
        self.path("runtime")
    }

    fn id(&self) -> String {
        format!("escape-{}", self.home.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'))
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        config::change(self.home.path(), change);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.runtime());
        command.arg("--root").arg(self.path("state")).args(arguments).current_dir(self.home.path());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What lies in the machine's directory.
    fn planted(&self) -> usize {
        std::fs::read_dir(self.path("outside")).unwrap().count()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

/// What the attacker of CVE-2019-5736 does: takes hold of a process's program file, waits until nobody runs it any
/// more, and writes.
fn overwrite_program_of(pid: u32, end: impl FnOnce()) -> Result<(), Errno> {
    use std::os::fd::AsRawFd as _;
    let held = rustix::fs::open(format!("/proc/{pid}/exe"), OFlags::PATH, Mode::empty()).unwrap();
    end();
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    let opened = loop {
        match rustix::fs::open(&path, OFlags::WRONLY | OFlags::APPEND, Mode::empty()) {
            // Somebody runs it still.
            Err(rustix::io::Errno::TXTBSY) => std::thread::yield_now(),
            opened => break opened.map_err(|errno| Errno::from_raw(errno.raw_os_error()))?,
        }
    };
    rustix::io::write(&opened, b"evil").map(drop).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}

#[test]
fn the_runtimes_own_program_cannot_be_overwritten_from_inside() {
    let Some(bundle) = Bundle::new(&["sleep", "100"]) else { return };
    let before = std::fs::metadata(bundle.runtime()).unwrap().len();
    // A created container waits as what it was cloned from: the runtime.
    let mut create = Command::new(bundle.runtime());
    create.arg("--root").arg(bundle.path("state")).args(["create", "--pid-file", "pid", &bundle.id()]);
    let null = || Stdio::null();
    assert!(
        create.current_dir(bundle.path("")).stdin(null()).stdout(null()).stderr(null()).status().unwrap().success()
    );
    let pid = std::fs::read_to_string(bundle.path("pid")).unwrap().parse().unwrap();
    let written = overwrite_program_of(pid, || {
        assert!(bundle.run(&["delete", "--force", &bundle.id()]).status.success());
    });
    assert_eq!(written, Err(Errno::EROFS));
    assert_eq!(std::fs::metadata(bundle.runtime()).unwrap().len(), before);

    // The naive form: a program that runs from where it lies.
    let naive = bundle.path("naive");
    needs::copy_program(needs::find_program("busybox").unwrap(), &naive);
    // Under another first word busybox would look for a tool of that name, and end.
    let mut child = Command::new(&naive).arg0("busybox").args(["sleep", "100"]).spawn().unwrap();
    let written = overwrite_program_of(child.id(), || {
        child.kill().unwrap();
        child.wait().unwrap();
    });
    assert_eq!(written, Ok(()), "the naive form must be caught");
    assert!(std::fs::read(&naive).unwrap().ends_with(b"evil"));
}

#[test]
fn an_ordinary_users_runtime_runs_from_a_sealed_copy() {
    let Some(bundle) = Bundle::new(&["sh"]) else { return };
    if !needs::account("learner") {
        return;
    }
    // Without privilege there is no read-only view. What cannot run at all for lack of it is told by the same program.
    let script = "exec \"$0\" --root /nonexistent --explain run --bundle /nonexistent x";
    let mode = || std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bundle.path(""), mode()).unwrap();
    let output = Command::new("runuser")
        .args(["-u", "learner", "--", "sh", "-c", script])
        .arg(bundle.runtime())
        .current_dir("/")
        .output()
        .unwrap();
    let said = text(&output);
    assert!(said.contains("a sealed copy in memory"), "{said}");
    assert_eq!(said.matches("a sealed copy in memory").count(), 1, "executed again once, and not for ever: {said}");
    assert!(said.contains(r#"open bundle "/nonexistent""#), "its arguments were kept: {said}");
}

/// Whether anything but the standard streams and the directory that `ls` itself reads is open.
fn leaks(listing: &str) -> bool {
    let numbers = listing.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    numbers.filter(|number| *number > 3).count() > 0
}

#[test]
fn a_leaked_descriptor_reaches_neither_the_program_nor_its_working_directory() {
    let Some(bundle) = Bundle::new(&["ls", "/proc/self/fd"]) else { return };
    let leaking = |command: &str| {
        let script = format!("exec 7<{}; exec {command}", bundle.path("outside").display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(bundle.path("")).stdin(Stdio::null());
        text(&shell.output().unwrap())
    };
    let run = format!("./runtime --root state run {}", bundle.id());
    let inside = leaking(&run);
    assert!(inside.contains('2') && !leaks(&inside), "{inside}");
    assert!(leaks(&leaking("rootfs/bin/busybox ls /proc/self/fd")), "the naive form must be caught");

    bundle.change(|config| config["process"]["cwd"] = json!("/proc/self/fd/7"));
    let refused = leaking(&run);
    // The resolver follows no magic link; had it been one, chdir would have seen that it lies outside.
    assert!(refused.contains(r#"openat2 "/proc/self/fd/7": ELOOP"#), "{refused}");
    bundle.change(|config| config["process"]["cwd"] = json!("/"));
    assert!(!leaking(&run).contains("cooper-runtime: "), "nothing was left behind by the refusal");
}

#[test]
fn links_in_place_of_proc_sys_and_dev_are_refused_and_nothing_is_planted() {
    for name in ["proc", "sys", "dev"] {
        let Some(bundle) = Bundle::new(&["sh"]) else { return };
        symlink(bundle.path("outside"), bundle.path("rootfs").join(name)).unwrap();
        let output = text(&bundle.run(&["run", &bundle.id()]));
        assert!(output.contains("a symbolic link of the image is in its place"), "{name}: {output}");
        assert_eq!(bundle.planted(), 0, "{name}");
        // The naive form joins strings.
        std::fs::write(bundle.path("rootfs").join(name).join("ptmx"), "").unwrap();
        assert_eq!(bundle.planted(), 1, "the naive form must be caught");
    }
}

/// CVE-2026-41579: links and nodes of `/dev` made on the machine, through a link of the image. A runtime that falls for it
/// proves that the bundle is one to fall for.
#[test]
fn an_older_runtime_plants_what_ours_refuses_to() {
    let Some(bundle) = Bundle::new(&["ls"]) else { return };
    bundle.change(|config| config["process"]["terminal"] = json!(false));
    symlink(bundle.path("outside"), bundle.path("rootfs/dev")).unwrap();
    let output = text(&bundle.run(&["run", &bundle.id()]));
    assert!(output.contains("mount on \"dev\": a symbolic link of the image is in its place"), "{output}");
    assert_eq!(bundle.planted(), 0);
    let runc =
        |words: &[&str]| Command::new("runc").args(words).current_dir(bundle.path(".")).stdin(Stdio::null()).output();
    let version = runc(&["--version"]).map_or_else(|error| error.to_string(), |output| text(&output));
    if version.starts_with("runc version 1.1.5+ds1\n") {
        let state = bundle.path("older");
        let output = text(&runc(&["--root", state.to_str().unwrap(), "run", &bundle.id()]).unwrap());
        assert!(bundle.planted() >= 5, "{output}");
    } else {
        println!("no runtime that is known to fall for it: {version}");
    }
}

#[test]
fn parameters_are_not_written_to_files_of_the_image() {
    let Some(bundle) = Bundle::new(&["cat", "/proc/sys/net/ipv4/ip_forward"]) else { return };
    let file = Path::new("proc/sys/net/ipv4/ip_forward");
    let image = bundle.path("rootfs").join(file);
    std::fs::create_dir_all(image.parent().unwrap()).unwrap();
    std::fs::write(&image, "untouched\n").unwrap();
    bundle.change(|config| {
        // Nothing is mounted on /proc: what the program sees there is the image's.
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    });
    assert_eq!(text(&bundle.run(&["run", &bundle.id()])), "untouched\n");
    std::fs::write(&image, "1").unwrap();
    assert_eq!(text(&bundle.run(&["run", &bundle.id()])), "1", "the naive form would be seen like this");
}

/// CVE-2023-25809: `/sys` shown read-only, and the control groups that are mounted in it were not.
#[test]
fn the_machines_control_groups_cannot_be_written_below_a_read_only_sys() {
    // Where this machine's memory groups are: its own tree on v1, the only one on v2.
    let tree = ["fs/cgroup/memory", "fs/cgroup"].into_iter().find(|tree| Path::new("/sys").join(tree).is_dir());
    let Some(bundle) = Bundle::new(&["true"]) else { return };
    let group = format!("{}/{}", tree.unwrap(), bundle.id());
    let attempt = |place: &str| {
        bundle.change(|config| {
            config["process"]["args"] = json!(["sh", "-c", format!("busybox mkdir {place}/{group}")]);
            // Where the directories are not writable for their owner, root needs this.
            for set in ["bounding", "permitted", "effective"] {
                config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
            }
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup" && mount["destination"] != "/sys");
            mounts.retain(|mount| mount["destination"] != "/m");
            let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
            mounts.push(json!({"destination": place, "type": "none", "source": "/sys", "options": options}));
        });
        let output = bundle.run(&["run", &bundle.id()]);
        let made = std::fs::remove_dir(Path::new("/sys").join(&group)).is_ok();
        (made, text(&output))
    };
    let (made, said) = attempt("/sys");
    assert!(!made && said.contains("Read-only file system"), "{said}");
    let (made, said) = attempt("/m");
    assert!(made, "elsewhere `ro` is of one mount only, and this is what happened: {said}");
}

/// CVE-2026-30892: `exec --user` that was read as root.
#[test]
fn exec_takes_no_user_that_can_be_read_in_two_ways() {
    let Some(bundle) = Bundle::new(&["sleep", "100"]) else { return };
    let id = bundle.id();
    let mut create = Command::new(bundle.runtime());
    create.arg("--root").arg(bundle.path("state")).args(["run", "--detach", &id]).current_dir(bundle.path("."));
    let quiet = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(quiet.status().unwrap().success());
    let exec = |user: &str| bundle.run(&["exec", "--user", user, &id, "busybox", "id", "-u"]);
    for user in ["1:", ":1", "-1", "4294967296", "0x0", "root", "", "+1", " 1", "1:2:3"] {
        let output = exec(user);
        assert!(!output.status.success() && output.stdout.is_empty(), "{user:?}: {}", text(&output));
    }
    assert_eq!(text(&exec("7:8")), "7\n");
    bundle.run(&["delete", "--force", &id]);
}
