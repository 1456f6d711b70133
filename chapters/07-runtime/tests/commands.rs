//! The commands that look at a container or change it while it runs, each beside runc's where hosts read what it prints.
#![allow(clippy::unwrap_used)]

#[path = "scenery/busybox.rs"]
mod busybox;
#[path = "scenery/config.rs"]
mod config;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use process::needs;
use serde_json::{Value, json};

/// One runtime with a container that sleeps; a cgroup and a state directory of its own.
struct Scene {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Scene {
    fn new(program: PathBuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        busybox::install(home.path(), &["sh", "sleep", "cat", "echo", "ls"]);
        let spec = Command::new(cargo_bin("cooper-runtime")).arg("spec").current_dir(home.path()).status();
        assert!(spec.unwrap().success());
        let scene = Self { program, home };
        scene.change(|config| {
            config["process"]["args"] = json!(["sleep", "1000"]);
            config["process"]["env"] = json!(["PATH=/bin"]);
            config["process"]["terminal"] = json!(false);
            config["process"]["rlimits"] = json!([]);
            config["linux"]["cgroupsPath"] = json!(format!("/{}", scene.id()));
            config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
        });
        scene
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        config::change(self.home.path(), change);
    }

    fn id(&self) -> String {
        format!("commands-{}", self.home.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.home.path().join("state"));
        command.args(words).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// What it prints, and whether it succeeds. Into a file: a container would hold a pipe open.
    fn run(&self, words: &[&str]) -> Result<String, String> {
        let path = self.home.path().join("said");
        let said = File::create(&path).unwrap();
        let status = self.command(words).stdout(said.try_clone().unwrap()).stderr(said).status().unwrap();
        let said = std::fs::read_to_string(&path).unwrap();
        if status.success() { Ok(said) } else { Err(said) }
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.run(words).unwrap();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }

    fn started(self) -> Self {
        self.run(&["run", "--detach", &self.id()]).unwrap();
        self
    }

    fn status(&self) -> String {
        self.json(&["state", &self.id()])["status"].as_str().unwrap().to_owned()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = self.run(&["delete", "--force", &self.id()]);
    }
}

/// Our runtime, and runc where there is one; `None`, with the reason printed, where neither can run.
fn ours_and_runc_s() -> Option<(Scene, Scene)> {
    if !needs::root() || !needs::program("busybox") || !needs::program("runc") {
        return None;
    }
    let runc = needs::find_program("runc").unwrap();
    Some((Scene::new(cargo_bin("cooper-runtime")), Scene::new(runc)))
}

fn ours() -> Option<Scene> {
    (needs::root() && needs::program("busybox")).then(|| Scene::new(cargo_bin("cooper-runtime")))
}

/// A container's directories in the machine's trees of control groups.
fn trees_of(id: &str) -> Vec<PathBuf> {
    let trees = std::fs::read_dir("/sys/fs/cgroup").unwrap().filter_map(Result::ok);
    let trees = trees.map(|tree| tree.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
    trees.map(|tree| tree.join(id)).filter(|group| group.join("cgroup.procs").exists()).collect()
}

/// Every path to a value, with its kind: what a host's decoder sees. What a list holds is one kind.
fn shape(value: &Value) -> BTreeSet<String> {
    let mut shape = BTreeSet::new();
    walk(value, String::new(), &mut shape);
    shape
}

fn walk(value: &Value, at: String, shape: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Object(fields) => {
            return fields.iter().for_each(|(name, value)| walk(value, format!("{at}.{name}"), shape));
        }
        Value::Array(items) => return items.iter().for_each(|item| walk(item, format!("{at}[]"), shape)),
        // Go writes null for a list that nobody made.
        Value::Null => return,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    };
    shape.insert(format!("{at}: {kind}"));
}

#[test]
fn state_list_and_ps_have_runc_s_shapes() {
    let Some((ours, theirs)) = ours_and_runc_s() else { return };
    let (ours, theirs) = (ours.started(), theirs.started());
    let both = |words: &dyn Fn(&Scene) -> Vec<String>| {
        [&ours, &theirs].map(|scene| {
            let words = words(scene);
            scene.json(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })
    };
    for command in [&["state"][..], &["ps", "--format", "json"]] {
        let [ours, theirs] = both(&|scene| command.iter().map(|&word| word.to_owned()).chain([scene.id()]).collect());
        assert_eq!(shape(&ours), shape(&theirs), "{command:?}");
    }
    let [listed, by_runc] = both(&|_| ["list", "--format", "json"].map(str::to_owned).to_vec());
    assert_eq!(shape(&listed), shape(&by_runc));
    assert_eq!(listed[0]["owner"], by_runc[0]["owner"]);
    let heading = |scene: &Scene| scene.run(&["list"]).unwrap().lines().next().unwrap().split_whitespace().count();
    assert_eq!(heading(&ours), heading(&theirs));
    assert_eq!(ours.run(&["list", "--quiet"]).unwrap(), format!("{}\n", ours.id()));
    let processes = ours.run(&["ps", &ours.id()]).unwrap();
    assert!(processes.lines().count() == 2 && processes.contains("sleep 1000"), "{processes}");
}

#[test]
fn stats_have_runc_s_fields() {
    let Some((ours, theirs)) = ours_and_runc_s() else { return };
    let (ours, theirs) = (ours.started(), theirs.started());
    let stats = |scene: &Scene| scene.json(&["events", "--stats", &scene.id()]);
    let (mine, runc_s) = (stats(&ours), stats(&theirs));
    assert_eq!((&mine["type"], &mine["id"]), (&json!("stats"), &json!(ours.id())));
    // What the kernel calls its own is no field of the runtime's, and a disk is there when it was used.
    let fields = |stats: &Value| -> BTreeSet<String> {
        let all = ["cpu.usage.total", "cpu.usage.kernel", "cpu.usage.user", "cpu.throttling.periods", "memory.cache"];
        let more = [
            "memory.usage.limit",
            "memory.usage.usage",
            "memory.raw",
            "pids.current",
            "pids.limit",
            "blkio",
            "hugetlb",
        ];
        let has =
            |path: &&str| !stats["data"].pointer(&format!("/{}", path.replace('.', "/"))).is_none_or(Value::is_null);
        all.into_iter().chain(more).filter(has).map(str::to_owned).collect()
    };
    let missing: Vec<String> = fields(&runc_s).difference(&fields(&mine)).cloned().collect();
    assert_eq!(missing, Vec::<String>::new(), "{mine:#}\n{runc_s:#}");
    assert_eq!(mine["data"]["memory"]["usage"]["limit"], runc_s["data"]["memory"]["usage"]["limit"]);
    assert_eq!(mine["data"]["pids"]["current"], json!(1));
}

#[test]
fn what_is_paused_says_so_takes_nobody_in_and_goes_on() {
    let Some((ours, theirs)) = ours_and_runc_s() else { return };
    for scene in [ours.started(), theirs.started()] {
        let id = scene.id();
        assert!(scene.run(&["resume", &id]).is_err(), "it is not paused");
        scene.run(&["pause", &id]).unwrap();
        assert_eq!(scene.status(), "paused");
        assert!(scene.run(&["exec", &id, "echo", "in"]).is_err());
        scene.run(&["resume", &id]).unwrap();
        assert_eq!(scene.status(), "running");
        assert_eq!(scene.run(&["exec", &id, "echo", "in"]).unwrap(), "in\n");
    }
}

#[test]
fn an_update_is_what_the_kernel_then_holds() {
    let Some((ours, theirs)) = ours_and_runc_s() else { return };
    for scene in [ours.started(), theirs.started()] {
        let id = scene.id();
        let limit = |path: &str| scene.json(&["events", "--stats", &id])["data"].pointer(path).unwrap().clone();
        scene.run(&["update", "--memory", "50331648", "--memory-swap", "50331648", &id]).unwrap();
        assert_eq!(limit("/memory/usage/limit"), json!(50_331_648));
        // The same from a file, and what is not in it stays.
        std::fs::write(scene.home.path().join("limits"), json!({ "pids": { "limit": 77 } }).to_string()).unwrap();
        scene.run(&["update", "--resources", "limits", &id]).unwrap();
        assert_eq!((limit("/pids/limit"), limit("/memory/usage/limit")), (json!(77), json!(50_331_648)));
    }
}

#[test]
fn exec_goes_into_a_group_below_and_hands_on_what_was_promised() {
    let Some(scene) = ours().map(Scene::started) else { return };
    let id = scene.id();
    assert!(scene.run(&["exec", "--cgroup", "/below", &id, "echo"]).is_err(), "it does not exist");
    for tree in trees_of(&id) {
        std::fs::create_dir(tree.join("below")).unwrap();
        // v1: nobody comes into a group that has no CPU and no memory to run on.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(own) = std::fs::read_to_string(tree.join(file)) {
                std::fs::write(tree.join("below").join(file), own).unwrap();
            }
        }
    }
    let groups = scene.run(&["exec", "--cgroup", "/below", &id, "cat", "/proc/self/cgroup"]).unwrap();
    assert!(groups.lines().any(|line| line.ends_with(":/below")), "{groups}");
    // The shell opens the fourth descriptor, one more than is promised.
    let root = scene.home.path().join("state");
    let script = format!(
        "exec 3</dev/null 4</dev/null; exec {} --root {} exec --preserve-fds 1 {id} ls /proc/self/fd",
        scene.program.display(),
        root.display()
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    // The last is the directory that `ls` reads.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n1\n2\n3\n4\n", "{:?}", output.stderr);
    let plain = scene.run(&["exec", &id, "ls", "/proc/self/fd"]).unwrap();
    assert_eq!(plain, "0\n1\n2\n3\n");
}

#[test]
fn without_pivot_root_the_root_is_another_all_the_same() {
    let Some(scene) = ours() else { return };
    scene.change(|config| config["process"]["args"] = json!(["sh", "-c", "ls / && ls /.."]));
    let (pivoted, moved) = (scene.run(&["run", &scene.id()]), scene.run(&["run", "--no-pivot", &scene.id()]));
    assert_eq!(pivoted.unwrap(), moved.unwrap());
}

#[test]
fn the_log_s_last_line_is_json_with_runc_s_keys() {
    let Some((ours, theirs)) = ours_and_runc_s() else { return };
    let last = |scene: &Scene| -> (String, BTreeSet<String>) {
        let log = scene.home.path().join("log.json");
        let words = ["--log", log.to_str().unwrap(), "--log-format", "json", "start", "nobody"];
        assert!(scene.run(&words).is_err());
        let text = std::fs::read_to_string(&log).unwrap();
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (line["level"].as_str().unwrap().to_owned(), shape(&line))
    };
    assert_eq!(last(&ours), last(&theirs));
}

#[test]
fn a_process_comes_from_standard_input_as_from_a_file() {
    let Some(scene) = ours().map(Scene::started) else { return };
    let process =
        json!({ "args": ["echo", "from outside"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    let file: &Path = &scene.home.path().join("process.json");
    std::fs::write(file, process.to_string()).unwrap();
    assert_eq!(scene.run(&["exec", "--process", "process.json", &scene.id()]).unwrap(), "from outside\n");
    let mut child = scene.command(&["exec", "--process", "-", &scene.id()]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(process.to_string().as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"from outside\n");
}
