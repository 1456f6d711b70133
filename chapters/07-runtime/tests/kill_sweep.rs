//! `kill -9` of the runtime before every call with which it changes something: what it tells afterwards is true, and
//! `delete --force` leaves nothing.
//!
//! The runtime runs under a small tracer that counts its system calls. The container's init is not traced: it has to find
//! out for itself that nobody is there any more.
#![allow(clippy::unwrap_used)]

#[path = "scenery/busybox.rs"]
mod busybox;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use process::needs;
use serde_json::{Value, json};

/// How long what dies by itself may take to do so.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose runtime it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Root,
    Learner,
}

/// A bundle, a state directory, and a program that is told from all others by what it sleeps.
struct Scene {
    home: tempfile::TempDir,
    who: Who,
    seconds: String,
}

impl Scene {
    fn new(who: Who) -> Option<Self> {
        let able = needs::root() && needs::program("busybox") && needs::program("setpriv");
        if !able || (who == Who::Learner && !(needs::account("learner") && needs::user_namespaces())) {
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let scene = Self { seconds: format!("{}0", 900_000 + std::process::id()), home, who };
        busybox::install(scene.path(), &["sleep", "true"]);
        // Where anybody may execute it, whoever built it.
        needs::copy_program(cargo_bin("cooper-runtime"), scene.program());
        if who == Who::Learner {
            let given = Command::new("chown").args(["-R", "learner:"]).arg(scene.path()).status().unwrap();
            assert!(given.success());
        }
        let words: &[&str] = if who == Who::Learner { &["spec", "--rootless"] } else { &["spec"] };
        assert!(scene.runtime(words).status.success());
        let file = scene.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["process"]["args"] = json!(["sleep", scene.seconds]);
        config["process"]["terminal"] = json!(false);
        config["process"]["rlimits"] = json!([]);
        std::fs::write(&file, config.to_string()).unwrap();
        Some(scene)
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn program(&self) -> PathBuf {
        self.path().join("cooper-runtime")
    }

    fn id(&self) -> String {
        format!("sweep{}", self.seconds)
    }

    /// A command as the scene's user; with no pipes, which an orphan would hold open.
    fn command(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = match self.who {
            Who::Root => Command::new(program),
            Who::Learner => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", "learner", "--regid", "learner", "--init-groups", "--"]).arg(program);
                command
            }
        };
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn words<'a>(&self, root: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        ["--root", root].iter().copied().chain(words.iter().copied()).collect()
    }

    /// Runs the runtime to its end. `create` and the like leave a process behind, so what it says goes to a file.
    fn runtime(&self, words: &[&str]) -> Output {
        let state = self.path().join("state").display().to_string();
        let out = std::fs::File::create(self.path().join("said")).unwrap();
        let mut command = self.command(&self.program(), &self.words(&state, words));
        let status = command.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        Output { status, stdout: std::fs::read(self.path().join("said")).unwrap(), stderr: Vec::new() }
    }

    /// Runs the runtime, and kills it before its `nth` call that changes something. Says which that was; `None` if it
    /// came to its end before.
    #[allow(clippy::zombie_processes, reason = "`trace` waits for it")]
    fn killed_before(&self, nth: usize, words: &[&str]) -> Option<String> {
        let state = self.path().join("state").display().to_string();
        let program = self.program().display().to_string();
        // It stops itself until it is traced, and only then becomes the runtime.
        let mut all = vec!["-c", "kill -STOP $$; exec \"$@\"", "sh", &program];
        all.extend(self.words(&state, words));
        let mut command = self.command(Path::new("/bin/sh"), &all);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        while !matches!(waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(..)) {}
        ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).unwrap();
        kill(pid, Signal::SIGCONT).unwrap();
        trace(pid, nth)
    }

    fn status(&self) -> Result<(String, Option<i64>), String> {
        let output = self.runtime(&["state", &self.id()]);
        let text = String::from_utf8(output.stdout).unwrap();
        if !output.status.success() {
            return Err(text);
        }
        let state: Value = serde_json::from_str(&text).unwrap();
        Ok((state["status"].as_str().unwrap().to_owned(), state["pid"].as_i64()))
    }

    /// What `state` says is what the kernel shows. An init that has lost its parent may need a moment to notice.
    fn is_honest(&self, when: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.status();
            // The program; before it, init is the runtime, or a copy of it in memory.
            let becomes = |pid: &Option<i64>| {
                let exe = pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
                exe.map(|exe| exe.ends_with("busybox"))
            };
            let honest = match &told {
                Ok((status, pid)) => match status.as_str() {
                    "creating" | "created" => becomes(pid) == Some(false),
                    "running" => becomes(pid) == Some(true),
                    "stopped" => pid.unwrap_or(0) == 0 && self.processes().is_empty(),
                    _ => false,
                },
                Err(text) => text.contains("does not exist") && self.processes().is_empty(),
            };
            if honest {
                let listed = self.runtime(&["list", "--format", "json"]);
                assert!(listed.status.success(), "{when}: {}", String::from_utf8_lossy(&listed.stdout));
                return told.map_or_else(|_| "unknown".to_owned(), |(status, _)| status);
            }
            let processes = self.processes();
            assert!(Instant::now() < deadline, "{when}: it says {told:?}, and there are {processes:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Deletes the container, whatever is there of it.
    fn leaves_nothing(&self, when: &str) {
        let deleted = self.runtime(&["delete", "--force", &self.id()]);
        assert!(deleted.status.success(), "{when}: {}", String::from_utf8_lossy(&deleted.stdout));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{when}, left behind: {left:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything of the container that can be seen from outside.
    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self.processes();
        let directory = self.path().join("state").join(self.id());
        left.extend(directory.exists().then(|| directory.display().to_string()));
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let groups = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        let groups = groups.map(|base| base.join("cooper").join(self.id())).filter(|group| group.exists());
        left.extend(groups.map(|group| group.display().to_string()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let home = self.path().display().to_string();
        left.extend(mounts.lines().filter(|line| line.contains(&home)).map(str::to_owned));
        left
    }

    /// Living processes that have the container's id or program in their command line.
    fn processes(&self) -> Vec<String> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&self.seconds).then(|| format!("{} {line}", entry.path().display()))
        });
        lines.collect()
    }

    fn done(&self, words: &[&str]) {
        let output = self.runtime(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Also where a test fails nothing is left running.
        self.runtime(&["delete", "--force", &self.id()]);
    }
}

/// Lets the process go on from call to call, and kills it before the `nth` that counts.
fn trace(pid: Pid, nth: usize) -> Option<String> {
    let (mut entering, mut executed, mut seen) = (true, false, 0);
    // Of several alike in a row, such as the lines of a list of devices, the first two say all.
    let (mut last, mut alike) = (-1, 0);
    loop {
        match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceSyscall(_) => {
                let (number, arguments) = if entering { call(pid) } else { (-1, [0; 3]) };
                if executed && changes(number, &arguments) {
                    alike = if number == last { alike + 1 } else { 0 };
                    last = number;
                    if alike < 2 && seen == nth {
                        kill(pid, Signal::SIGKILL).unwrap();
                        while !matches!(waitpid(pid, None), Ok(WaitStatus::Signaled(..)) | Err(_)) {}
                        return Some(format!("call {number}, the {nth}th that changes something"));
                    }
                    seen += usize::from(alike < 2);
                }
                executed |= number == libc::SYS_execve;
                entering = !entering;
                ptrace::syscall(pid, None).unwrap();
            }
            WaitStatus::PtraceEvent(..) => ptrace::syscall(pid, None).unwrap(),
            WaitStatus::Stopped(_, signal) => ptrace::syscall(pid, Some(signal)).unwrap(),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return None,
            _ => {}
        }
    }
}

/// The call that a stopped process is about to make: its number and its first arguments.
///
/// # References
/// proc_pid_syscall(5)
fn call(pid: Pid) -> (i64, [u64; 3]) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let mut words = text.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(-1);
    let mut argument = || words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    (number, [(); 3].map(|()| argument().unwrap_or_default()))
}

/// Whether a call changes anything that outlives the process, or that another process sees.
fn changes(number: i64, arguments: &[u64; 3]) -> bool {
    let creates = |flags: u64| flags & libc::O_CREAT as u64 != 0;
    match number {
        libc::SYS_openat => creates(arguments[2]),
        libc::SYS_write => arguments[0] > 2,
        _ => CHANGING.contains(&number),
    }
}

const CHANGING: [i64; 15] = [
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_clone3,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_move_mount,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
];

/// Kills `words` before each of its changes in turn. `prepare` makes what they begin with; `allowed` are the states that
/// may be found afterwards. Returns in how many places it was killed.
fn sweep(scene: &Scene, words: &[&str], prepare: &[&[&str]], allowed: &[&str]) -> usize {
    for nth in 0.. {
        for before in prepare {
            scene.done(before);
        }
        let Some(place) = scene.killed_before(nth, words) else {
            scene.leaves_nothing("when it came to its end");
            return nth;
        };
        let when = format!("{} killed before {place}", words[0]);
        let found = scene.is_honest(&when);
        assert!(allowed.contains(&found.as_str()), "{when}: {found}");
        scene.leaves_nothing(&when);
    }
    unreachable!("a sweep ends with the command")
}

fn sweep_all(who: Who) {
    let Some(scene) = Scene::new(who) else { return };
    let id = &*scene.id();
    let (create, start): (&[&str], &[&str]) = (&["create", id], &["start", id]);
    let killed = [
        sweep(&scene, create, &[], &["unknown", "creating", "created", "stopped"]),
        sweep(&scene, start, &[create], &["created", "running"]),
        sweep(&scene, &["exec", id, "true"], &[create, start], &["running"]),
        sweep(&scene, &["delete", "--force", id], &[create, start], &["running", "stopped", "unknown"]),
    ];
    // Fewer would mean that the tracer does not see what it should.
    assert!(killed.iter().zip([12, 4, 2, 4]).all(|(count, least)| *count >= least), "{killed:?}");
}

#[test]
fn a_runtime_killed_anywhere_tells_the_truth_and_can_be_cleaned_up_after() {
    sweep_all(Who::Root);
}

#[test]
fn so_does_an_ordinary_user_s() {
    sweep_all(Who::Learner);
}

#[test]
fn the_tracer_kills_where_it_says() {
    let Some(scene) = Scene::new(Who::Root) else { return };
    assert!(scene.killed_before(0, &["create", &scene.id()]).is_some());
    assert!(!scene.path().join("state").exists(), "its first change is to make that directory");
    assert_eq!(scene.killed_before(usize::MAX, &["list"]), None, "it came to its end");
}
