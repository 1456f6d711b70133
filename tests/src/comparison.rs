//! The same commands given to `docker` and to `cooper`.
//!
//! What docker says to them was recorded once, from a real daemon; a test gives them to `cooper` and compares. What differs
//! on purpose stands in [`DIFFERENT`] with its reason, and must really differ.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::engine::{Said, run};
use crate::house::House;

/// Commands whose outcome is another one on purpose, and why.
pub const DIFFERENT: &[(&str, &str)] = &[
    ("run --rm --network none -u 1:2:3 bb:1 id", "what is no user is refused, not cut short (CVE-2026-30892)"),
    ("inspect -f '{{.Nope}}' made", "docker prints an empty line before it fails"),
    (
        "inspect -f '{{.Name' made",
        "a malformed value of a flag is 125 for every flag, where docker has 64 for this one",
    ),
    (
        "exec web no-such-program",
        "127, as docker's manual says; the daemon says 126, and its message on standard output",
    ),
    ("update --restart sometimes web", "a malformed value of a flag is 125 for every flag"),
    ("run --rm --network none --annotation a=b bb:1 true", "the recorded daemon is too old for annotations"),
    ("run --rm --network none --device /no/such bb:1 true", "docker takes the missing node for a missing command: 127"),
    (
        "run --rm --network none --blkio-weight 5 bb:1 true",
        "where the kernel has no weights, docker warns and drops what was asked, be it possible or not",
    ),
    ("run -d -a stdout --network none bb:1 true", "flags that contradict each other are 125, as every wrong flag is"),
];

/// The commands, in order.
///
/// # Errors
/// The file cannot be read.
pub fn script() -> Result<Vec<String>> {
    let text = fs::read_to_string(directory()?.join("script.txt")).context("cannot read the script")?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// What docker said: for each command its exit code and its standard output.
///
/// # Errors
/// The file cannot be read.
pub fn recorded() -> Result<Map<String, Value>> {
    let text = fs::read_to_string(directory()?.join("docker.json")).context("cannot read docker's answers")?;
    serde_json::from_str(&text).context("docker.json")
}

/// Where script and answers are.
///
/// # Errors
/// The test runs from an unusual place.
pub fn directory() -> Result<PathBuf> {
    Ok(House::here()?.root().join("tests/recorded"))
}

/// The words of a command, as a shell would split them; single quotes keep words together.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        match character {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            other => {
                word.push(other);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// An outcome, with what varies from run to run replaced by its name. Error messages are not part of it: everybody has
/// their own words.
pub fn outcome(said: &Said) -> Value {
    json!({ "code": said.code, "out": normalised(&said.out) })
}

/// Ids become `[ID]`, and lines are compared without white space at their ends.
fn normalised(text: &str) -> String {
    let mut clean = String::new();
    let mut run = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_hexdigit() && !character.is_ascii_uppercase() {
            run.push(character);
            continue;
        }
        clean.push_str(if run.len() == 64 || run.len() == 12 { "[ID]" } else { &run });
        run.clear();
        clean.push(character);
    }
    let clean = clean.trim_end_matches('\0').replace("sha256:[ID]", "[ID]");
    clean.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Writes an archive of the image `bb:1`, which both sides load: busybox under its names, and nothing else.
///
/// # Errors
/// No busybox, tar or sha256sum.
pub fn archive(into: &Path) -> Result<PathBuf> {
    let tree = into.join("tree");
    for directory in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    let busybox = process::needs::find_program("busybox").context("no busybox")?;
    fs::copy(busybox, tree.join("bin/busybox")).context("cannot copy busybox")?;
    let names = "sh echo cat id pwd hostname touch chown mount grep sleep kill true ls";
    for name in names.split(' ') {
        std::os::unix::fs::symlink("busybox", tree.join("bin").join(name))?;
    }
    let layer = into.join("layer.tar");
    run(Command::new("tar").arg("-C").arg(&tree).arg("-cf").arg(&layer).arg("."))?.ok();
    let digest = run(Command::new("sha256sum").arg(&layer))?.ok();
    let digest = digest.split(' ').next().unwrap_or_default();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "busybox" }],
    });
    fs::write(into.join("config.json"), config.to_string())?;
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["bb:1"], "Layers": ["layer.tar"] }]);
    fs::write(into.join("manifest.json"), manifest.to_string())?;
    let archive = into.join("bb.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(into).arg("-cf").arg(&archive).args(["manifest.json", "config.json", "layer.tar"]);
    run(&mut tar)?.ok();
    Ok(archive)
}

/// Gives every command of the script to a program, and collects what it said.
///
/// # Errors
/// It cannot be started.
pub fn play(program: &dyn Fn(&[String]) -> Command) -> Result<Map<String, Value>> {
    let mut answers = Map::new();
    for line in script()? {
        let mut command = program(&words(&line));
        let said = run(command.stdin(Stdio::null()))?;
        // The same command may come twice, and mean something else the second time.
        let times = answers.keys().filter(|known| known.split(" #").next() == Some(&line)).count();
        let key = if times == 0 { line.clone() } else { format!("{line} #{}", times + 1) };
        ensure!(!answers.contains_key(&key), "{key:?} twice");
        answers.insert(key, outcome(&said));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words("run 'a b' c ''"), ["run", "a b", "c", ""]);
    }

    #[test]
    fn ids_have_a_name() {
        let id = "0123456789ab";
        assert_eq!(normalised(&format!("{id} web  \nsha256:{}", "ab".repeat(32))), "[ID] web\n[ID]\n");
    }
}
