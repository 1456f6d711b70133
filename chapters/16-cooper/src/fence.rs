//! Where the engine's words end and the container's begin.
//!
//! In `run -e A=b IMAGE sh -c 'exit 3'` the `-c` is the shell's. clap sees that too, once the command has begun; but in
//! `run --entrypoint sh IMAGE -c 'exit 3'` it would take the `-c` for an option of its own. docker's rule is that options
//! end at the first word that is none. So a `--` is put after that word, which clap understands.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory as _};

use crate::cli::Cli;

/// The words of a command line with a `--` before those that are a container's.
pub(crate) fn fenced(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let suspects = ["run", "create", "exec"];
    if words.iter().any(|word| suspects.iter().any(|suspect| word == suspect))
        && let Some(at) = last_own_word(&words)
    {
        words.insert(at + 1, "--".into());
    }
    words
}

/// The place of the image or the container; `None` if the command takes no words for it.
fn last_own_word(words: &[OsString]) -> Option<usize> {
    let root = Cli::command();
    let mut command = &root;
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let word = word.to_str()?;
        if word == "--" {
            return None;
        }
        if word.starts_with('-') {
            at += 1 + usize::from(takes_the_next(word, &[command, &root]));
            continue;
        }
        let Some(found) = command.find_subcommand(word) else {
            let own = command.get_positionals().count() == 2;
            return (own && command.get_positionals().last()?.is_trailing_var_arg_set()).then_some(at);
        };
        command = found;
        at += 1;
    }
    None
}

/// Whether the value of an option is the word behind it: `--name web`, `-p 80:80`; not `--name=web`, `-p80:80`, `-it`.
fn takes_the_next(word: &str, commands: &[&Command]) -> bool {
    let all = || commands.iter().flat_map(|command| command.get_arguments());
    let takes = |option: Option<&Arg>| {
        let needs = |arg: &Arg| arg.get_num_args().is_none_or(|values| values.min_values() > 0);
        option.is_some_and(|arg| arg.get_action().takes_values() && needs(arg))
    };
    if let Some(long) = word.strip_prefix("--") {
        let named = |arg: &&Arg| {
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
        };
        return takes(all().find(named));
    }
    let mut letters = word.chars().skip(1);
    while let Some(letter) = letters.next() {
        if takes(all().find(|arg| arg.get_short() == Some(letter))) {
            return letters.next().is_none();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;

    fn fence(line: &str) -> String {
        let words = fenced(line.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_end_at_the_image() {
        for line in [
            "cooper run --rm -it image | -c x",
            "cooper run --entrypoint sh image | -c x --name y",
            "cooper --root /r run -e A=b -p80:80 -itv /a:/b --name=n image | sh -c -e",
            "cooper run -m 1g image | -- x",
            "cooper container run image | -e",
            "cooper create --pull never image |",
            "cooper exec -it web | -c",
        ] {
            assert_eq!(fence(&line.replace(" |", "")), line.replace('|', "--"));
            Cli::try_parse_from(fenced(line.replace(" |", "").split(' ').map(OsString::from))).unwrap();
        }
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in ["cooper run -- image -c", "cooper run", "cooper ps -a", "cooper run --name", "cooper tag run exec"]
        {
            assert_eq!(fence(line), line);
        }
    }
}
