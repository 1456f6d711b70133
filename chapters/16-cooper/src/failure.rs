//! What a person reads when something did not work, and the code that a script sees.
//!
//! The message is the chapter's own, printed once. Under it, where there is one, a line that
//! begins with `hint:` and names what to do; hints live here, because only the binary
//! knows which of its commands would help.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use clap::error::ErrorKind;

use crate::hints;
use crate::stdout::say;

/// Whose exit code an error is, where the error itself does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// `run`: 125, since every other code may be the container's.
    Engine,
    /// All other commands: 1.
    Command,
}

/// The exit code of a command that ended with `error`.
pub(crate) fn exit_code(error: &anyhow::Error, blame: Blame) -> u8 {
    if let Some(Exit(code)) = error.downcast_ref() {
        return *code;
    }
    let start = error.chain().find_map(|e| e.downcast_ref::<containers::Error>());
    match (start.map(containers::Error::exit_code), blame) {
        // 126 and 127 say the same about `run`, `start` and `exec`.
        (Some(code @ (126 | 127)), _) => code,
        (_, Blame::Engine) => 125,
        (_, Blame::Command) => 1,
    }
}

/// An exit code after everything that is to be said was said.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub(crate) struct Exit(pub(crate) u8);

/// `-it`, and no terminal.
#[derive(Debug, thiserror::Error)]
#[error("the input device is not a TTY")]
pub(crate) struct NotATerminal;

/// `login`, and a registry that does not believe it. Its hint is not to log in.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct LoginRefused(pub(crate) distribution::Error);

/// An ordinary user, and no user namespace to be root in.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoNamespace(pub(crate) process::CallError);

/// Does something to each of several things: a failure of one is reported and does not stop the others.
///
/// # Errors
/// [`Exit`] with 1 when any of them failed.
pub(crate) fn each(names: &[String], act: impl Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<u8> {
    let mut failed = false;
    for name in names {
        if let Err(error) = act(name) {
            report(&error);
            failed = true;
        }
    }
    if failed { Err(Exit(1).into()) } else { Ok(0) }
}

/// How many things are done at once, as docker does it.
const AT_ONCE: usize = 50;

/// As [`each`], but at once: most of the time is spent waiting for containers to end. `act` says what is to be printed; it is, in
/// the order of the names.
///
/// # Errors
/// [`Exit`] with 1 when any of them failed.
pub(crate) fn each_at_once(
    names: &[String],
    act: impl Fn(&str) -> anyhow::Result<Option<String>> + Sync,
) -> anyhow::Result<u8> {
    if let [name] = names {
        return each(names, |_| act(name).map(|told| told.iter().for_each(|told| say!("{told}"))));
    }
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..names.len().min(AT_ONCE) {
            let (sender, next, act) = (sender.clone(), &next, &act);
            scope.spawn(move || {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(name) = names.get(number)
                {
                    // Whoever listens does so until all senders are gone.
                    drop(sender.send((number, act(name))));
                }
            });
        }
        drop(sender);
        let mut arrived: BTreeMap<usize, anyhow::Result<Option<String>>> = BTreeMap::new();
        let mut failed = false;
        for wanted in 0..names.len() {
            let result = loop {
                match arrived.remove(&wanted) {
                    Some(result) => break result,
                    None => arrived.extend([results.recv()?]),
                }
            };
            match result {
                Ok(told) => told.iter().for_each(|told| say!("{told}")),
                Err(error) => {
                    report(&error);
                    failed = true;
                }
            }
        }
        if failed { Err(Exit(1).into()) } else { Ok(0) }
    })
}

/// Prints an error and its hint to stderr.
pub(crate) fn report(error: &anyhow::Error) {
    if error.is::<Exit>() {
        return;
    }
    eprint!("{}", render(error));
}

/// `cooper: MESSAGE`, and `hint: ...` where there is something to do about it.
pub(crate) fn render(error: &anyhow::Error) -> String {
    let mut text = format!("cooper: {error:#}\n");
    if let Some(hint) = hints::hint(error) {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// Prints what clap found wrong, and returns docker's code for it: 125 for a flag, 1 for a
/// missing argument or an unknown command.
pub(crate) fn usage(error: &clap::Error) -> u8 {
    // Nothing is left to do where stderr is closed.
    let _unwritable = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => 0,
        ErrorKind::UnknownArgument | ErrorKind::InvalidValue | ErrorKind::ValueValidation => 125,
        ErrorKind::NoEquals | ErrorKind::TooManyValues | ErrorKind::ArgumentConflict => 125,
        _ => 1,
    }
}
