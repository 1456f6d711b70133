//! The explorer in a real terminal: tmux's.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

struct Terminal {
    dir: tempfile::TempDir,
}

impl Terminal {
    fn open(words: &str) -> Terminal {
        let dir = tempfile::tempdir().unwrap();
        let terminal = Terminal { dir };
        let shell = format!("{words}; echo ended $?; stty -a | grep -o '.echo '; sleep 60");
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "24", &shell]);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> Output {
        Command::new("tmux")
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .arg("-S")
            .arg(self.dir.path().join("socket"))
            .args(words)
            .output()
            .unwrap()
    }

    fn press(&self, keys: &[&str]) {
        assert!(self.tmux(&[&["send-keys"], keys].concat()).status.success());
    }

    /// The screen, once it shows these words.
    fn shows(&self, words: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap();
            if screen.contains(words) {
                return screen;
            }
            assert!(Instant::now() < deadline, "{words:?} did not appear:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn the_explorer_walks_filters_resizes_and_gives_the_terminal_back() {
    if !process::needs::root() || !process::needs::program("tmux") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cooper = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        let output = command.arg("--root").arg(root.path()).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let script = "mkdir -p /deep/er; echo x > /deep/er/file; echo y > /other; printf z > '/od\u{1b}[31md'; rm /bin/sh";
    cooper(&["run", "--name", "talker", "--network", "none", "host", "sh", "-c", script]);
    cooper(&["commit", "talker", "changed"]);
    cooper(&["rm", "talker"]);
    let tree = cooper(&["image", "tree", "changed"]);
    assert!(tree.contains("D       0B  /bin/sh") || tree.contains("/bin/sh"), "{tree}");
    assert!(!tree.contains('\u{1b}'), "{tree:?}");
    let json: serde_json::Value =
        serde_json::from_str(&cooper(&["image", "tree", "--format", "json", "changed"])).unwrap();
    assert_eq!(json["layers"].as_array().unwrap().len(), 2);
    assert!(json["wasted"].as_u64().unwrap() > 0);

    let program = format!("{} --root {} image explore changed", env!("CARGO_BIN_EXE_cooper"), root.path().display());
    let terminal = Terminal::open(&program);
    let screen = terminal.shows("layers");
    assert!(screen.contains("2 layers") && screen.contains(" wasted"), "{screen}");
    // The second layer: what the container changed.
    terminal.press(&["Down"]);
    let screen = terminal.shows("other");
    assert!(screen.contains("od\\u{1b}[31md"), "{screen}");
    assert!(screen.contains("▾ deep/"), "{screen}");
    terminal.press(&["Tab", "/", "f", "i", "l", "e"]);
    let screen = terminal.shows("filter: file");
    assert!(screen.contains("er/") && !screen.contains("other"), "{screen}");
    terminal.press(&["Enter", "Escape"]);
    terminal.shows("other");
    terminal.tmux(&["resize-window", "-x", "60", "-y", "12"]);
    let screen = terminal.shows("q quit  ↑↓ move  Tab pane  ←→ Enter fold  / filter");
    assert!(screen.lines().filter(|line| !line.is_empty()).count() <= 12, "{screen}");
    terminal.press(&["q"]);
    let screen = terminal.shows("ended 0");
    terminal.shows(" echo");
    assert!(!screen.contains("layers──"), "the screen from before is back:\n{screen}");
}
