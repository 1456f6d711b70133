//! A screen with somebody before it: tmux's, which is a terminal like any other, and can be read.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// One terminal with one program; it ends with the test.
#[derive(Debug)]
pub struct Terminal {
    directory: tempfile::TempDir,
}

impl Terminal {
    /// Runs a shell's command line in a new terminal of 80 columns and 24 rows. When it has ended, the screen says
    /// `ended CODE`, and whether what is typed is shown again.
    ///
    /// # Panics
    /// tmux is not installed.
    pub fn open(line: &str) -> Self {
        let terminal = Self { directory: tempfile::tempdir().expect("no temporary directory") };
        let shell = format!("{line}; echo ended $?; stty -a | grep -o '.echo '; exec sleep 100000");
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", &shell]);
        // A line of tmux's own is no part of the screen.
        terminal.tmux(&["set-option", "-g", "status", "off"]);
        terminal.resize(80, 24);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8").arg("-S").arg(self.directory.path().join("socket"));
        command.args(words).output().expect("tmux is not installed")
    }

    /// Types: keys by tmux's names (`C-p`, `Enter`, `Escape`), anything else as it is.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line, and Enter.
    pub fn enter(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What is to be seen now.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// The screen, once it is as `wanted` says.
    ///
    /// # Panics
    /// It is not, for a minute; with what is to be seen instead.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "not to be seen: {what}\n--- the screen\n{screen}---");
            sleep(Duration::from_millis(30));
        }
    }

    /// The screen, once it has a line like this.
    ///
    /// # Panics
    /// As [`until`](Self::until).
    #[track_caller]
    pub fn shows(&self, line: &str) -> String {
        self.until(line, |screen| screen.lines().any(|shown| shown.trim_end() == line))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
