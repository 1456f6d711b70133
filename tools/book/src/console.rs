//! Console blocks: commands after `$ `, and below each the output that it printed.
//!
//! ````text
//! ```console
//! $ ch01-process --version
//! ch01-process 0.1.0
//! ```
//! ````
//!
//! A command that takes several lines goes on after `> `, as in a terminal. A block runs in a fresh directory with the
//! built programs on its path and nothing of the author's environment. Both streams are shown as one, as a terminal would;
//! a command that fails shows a last line `[exit 1]`. An example is called as a reader calls it, `cargo run -q -p
//! ch01-process --example zombie_farm`, and is built beforehand. A block that cannot be executed says why, in a comment
//! right above it: `<!-- not run: needs a terminal -->`. One that runs on some machines only names a command that tells
//! which: `<!-- needs: ch05-cgroups where | grep -q 'can be made' -->`.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::placeholder;

const REASON: &str = "<!-- not run:";
/// The longest that one command may take, in seconds.
const PATIENCE: &str = "60";
const NEEDS: &str = "<!-- needs:";

/// A block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    /// Why it is not executed, if it is not.
    pub not_run: Option<String>,
    /// The command that succeeds where it can be executed, if that is not everywhere.
    pub needs: Option<String>,
    /// Its commands.
    pub commands: Vec<Shown>,
}

/// A command and the output that the page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What stands after `$ `.
    pub command: String,
    /// The lines below it.
    pub output: Vec<String>,
}

/// The console blocks of a page.
///
/// # Errors
/// A block has output before its first command, or never ends.
pub fn blocks(page: &str, text: &str) -> Result<Vec<Block>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        if lines[index].trim_end() != "```console" {
            index += 1;
            continue;
        }
        let length = lines[index + 1..].iter().position(|line| line.trim_end() == "```");
        let length = length.with_context(|| format!("{page}:{}: this block never ends", index + 1))?;
        let above = lines[..index].iter().rev().find(|line| !line.trim().is_empty());
        let label = |prefix| {
            let text = above.and_then(|line| line.trim().strip_prefix(prefix)?.strip_suffix("-->"));
            text.map(|text: &str| text.trim().to_owned())
        };
        let mut commands: Vec<Shown> = Vec::new();
        for line in &lines[index + 1..=index + length] {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push(Shown { command: command.to_owned(), output: Vec::new() }),
                // As a shell asks for the rest: the command goes on.
                (None, Some(last)) if last.output.is_empty() && line.starts_with("> ") => {
                    last.command.push('\n');
                    last.command.push_str(&line[2..]);
                }
                (None, Some(last)) => last.output.push((*line).to_owned()),
                (None, None) => anyhow::bail!("{page}:{}: output before the first command", index + 2),
            }
        }
        ensure!(!commands.is_empty(), "{page}:{}: a console block without a command", index + 1);
        blocks.push(Block { line: index + 1, not_run: label(REASON), needs: label(NEEDS), commands });
        index += length + 2;
    }
    Ok(blocks)
}

/// The page's text with other blocks in place of its own, which `blocks` gave.
pub fn replace(text: &str, blocks: &[Block]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        out.push(lines[index].to_owned());
        index += 1;
        if let Some(block) = blocks.iter().find(|block| block.line == index) {
            for shown in &block.commands {
                out.push(format!("$ {}", shown.command.replace('\n', "\n> ")));
                out.extend(shown.output.iter().cloned());
            }
            while index < lines.len() && lines[index].trim_end() != "```" {
                index += 1;
            }
        }
    }
    out.join("\n") + "\n"
}

/// Runs a block's commands, one shell each, in `directory`; gives the block as it came out.
///
/// Lines that the page shows with placeholders keep them where they match.
///
/// # Errors
/// There is no shell.
pub fn run(block: &Block, directory: &Path, programs: &Path) -> Result<Block> {
    let mut came_out = block.clone();
    for shown in &mut came_out.commands {
        let printed = execute(&shown.command, directory, programs)?;
        shown.output = printed
            .into_iter()
            .enumerate()
            .map(|(index, line)| match shown.output.get(index) {
                Some(expected) if placeholder::matches(expected, &line) => expected.clone(),
                _ => line,
            })
            .collect();
    }
    Ok(came_out)
}

/// The package and the name of the example that a command runs, if it is `cargo run` of one.
pub fn example(command: &str) -> Option<(&str, &str)> {
    let (package, name) = command.strip_prefix("cargo run -q -p ")?.split_once(" --example ")?;
    let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (word(package) && word(name)).then_some((package, name))
}

/// A command of the lab, as it is called here: what makes a workspace finds the sources, what works in one is there already.
fn lab(command: &str) -> String {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let begun = command.replace("cargo run -q -p lab -- init ", &format!("lab -C {sources} init "));
    begun.replace("cargo run -q -p lab -- ", "lab ")
}

/// Whether this machine has what the block needs.
///
/// # Errors
/// There is no shell.
pub fn can_run(block: &Block, directory: &Path, programs: &Path) -> Result<bool> {
    let Some(needs) = &block.needs else { return Ok(true) };
    Ok(!execute(needs, directory, programs)?.last().is_some_and(|line| line.starts_with("[exit ")))
}

/// Gives its owner back every right on what a block made: overlayfs keeps a directory that even its owner may not list, and
/// what cannot be listed cannot be removed.
///
/// # Errors
/// A directory that cannot be changed or listed.
pub fn open_up(directory: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

fn execute(command: &str, directory: &Path, programs: &Path) -> Result<Vec<String>> {
    // Cargo would find no workspace in the block's directory, and nothing to build.
    let command = example(command).map_or_else(|| lab(command), |(_, name)| name.to_owned());
    let mut path: OsString = programs.into();
    path.push(":");
    path.push(programs.join("examples"));
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut shell = Command::new("timeout");
    shell
        .args(["--kill-after=5", PATIENCE, "sh", "-c"])
        .arg(format!("exec 2>&1\n{command}"))
        .current_dir(directory)
        .stdin(Stdio::null())
        .env_clear();
    shell.env("PATH", path).env("HOME", directory).env("COOPER_ROOT", directory.join("cooper-root"));
    shell.env("LC_ALL", "C.UTF-8").env("TERM", "dumb").env("COLUMNS", "100").env("RUST_BACKTRACE", "0");
    let output = shell.output().context("cannot run timeout and sh")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    // timeout(1): it had to end the command.
    if output.status.code() == Some(124) {
        lines.push(format!("[ended after {PATIENCE} s]"));
    } else if !output.status.success() {
        lines.push(format!("[exit {}]", output.status.code().map_or("signal".to_owned(), |code| code.to_string())));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "# A\n\n```console\n$ echo hi; echo $$\nhi\n[PID]\n$ false\n```\n\n<!-- not run: a picture -->\n```console\n$ reboot\n```\n";

    #[test]
    fn a_block_that_tells_the_truth_comes_out_as_it_stands() {
        let found = blocks("a.md", TEXT).unwrap();
        assert_eq!(found[1].not_run.as_deref(), Some("a picture"));
        let directory = tempfile::tempdir().unwrap();
        let came_out = run(&found[0], directory.path(), directory.path()).unwrap();
        assert_eq!(came_out.commands[0], found[0].commands[0]);
        // `false` failed, and the page did not say so.
        assert_eq!(came_out.commands[1].output, ["[exit 1]"]);
        assert_eq!(replace(TEXT, &[came_out]), TEXT.replace("$ false\n", "$ false\n[exit 1]\n"));
    }

    #[test]
    fn a_command_of_several_lines_is_one_command() {
        let text = "```console\n$ cat <<END\n> a\n> > b\n> END\na\n> b\n```\n";
        let found = blocks("a.md", text).unwrap();
        assert_eq!(found[0].commands[0].command, "cat <<END\na\n> b\nEND");
        let directory = tempfile::tempdir().unwrap();
        let came_out = run(&found[0], directory.path(), directory.path()).unwrap();
        assert_eq!(replace(text, &[came_out]), text);
    }

    #[test]
    fn nothing_of_the_authors_environment_reaches_a_block() {
        let directory = tempfile::tempdir().unwrap();
        let found = blocks("a.md", "```console\n$ env | grep -c CARGO\n```\n").unwrap();
        let came_out = run(&found[0], directory.path(), directory.path()).unwrap();
        assert_eq!(came_out.commands[0].output, ["0", "[exit 1]"]);
    }

    #[test]
    fn a_command_that_never_ends_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let found = blocks("a.md", "```console\n$ exit 124\n```\n").unwrap();
        let came_out = run(&found[0], directory.path(), directory.path()).unwrap();
        assert_eq!(came_out.commands[0].output, ["[ended after 60 s]"]);
    }

    #[test]
    fn an_example_is_called_as_a_reader_calls_it() {
        assert_eq!(
            example("cargo run -q -p ch01-process --example zombie_farm"),
            Some(("ch01-process", "zombie_farm"))
        );
        assert_eq!(example("cargo run -q -p ch01-process --example a; rm x"), None);
        assert_eq!(example("cargo run -p lab -- list"), None);
    }

    #[test]
    fn a_block_that_needs_something_runs_only_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let text = "<!-- needs: test -d there -->\n```console\n$ true\n```\n";
        let block = &blocks("a.md", text).unwrap()[0];
        assert!(!can_run(block, directory.path(), directory.path()).unwrap());
        std::fs::create_dir(directory.path().join("there")).unwrap();
        assert!(can_run(block, directory.path(), directory.path()).unwrap());
    }

    #[test]
    fn a_directory_that_nobody_may_list_is_opened_up() {
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().join("outer/closed");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        open_up(directory.path()).unwrap();
        assert_eq!(closed.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_block_without_an_end_is_an_error_with_its_line() {
        let error = blocks("a.md", "x\n```console\n$ a\n").unwrap_err();
        assert_eq!(error.to_string(), "a.md:2: this block never ends");
    }
}
