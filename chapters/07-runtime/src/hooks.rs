//! Hooks: programs that a bundle wants run at points of a container's life.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::{Hook, Hooks};

use crate::error::Error;
use crate::state::{State, Status};

/// Runs hooks one after the other; each reads the container's state, as JSON, from its standard input.
///
/// # Errors
/// The first hook that cannot be run, exits with another code than 0, or outlasts its timeout.
///
/// # References
/// OCI runtime spec, config.md, "POSIX-platform Hooks"
pub fn run(hooks: &[Hook], state: &State) -> Result<(), Error> {
    let state = serde_json::json!(state).to_string();
    hooks.iter().try_for_each(|hook| run_one(hook, &state))
}

/// Runs hooks one after the other, also those that come after one that fails; returns the failures.
pub(crate) fn run_to_the_end(hooks: &[Hook], state: &State) -> Vec<Error> {
    let state = serde_json::json!(state).to_string();
    hooks.iter().filter_map(|hook| run_one(hook, &state).err()).collect()
}

/// Runs the hooks of a container that has been deleted; returns the failures.
pub(crate) fn after_end(hooks: Option<&Hooks>, state: State) -> Vec<Error> {
    let hooks = hooks.and_then(|hooks| hooks.poststop().as_deref()).unwrap_or_default();
    if hooks.is_empty() {
        return Vec::new();
    }
    run_to_the_end(hooks, &State { status: Status::Stopped, pid: None, ..state })
}

/// Whether it was a hook that failed: outside, or inside as a step of init. Then there was a container, and its life ends
/// as every container's does, with the hooks after its deletion.
pub(crate) fn failed(error: &Error) -> bool {
    match error {
        Error::Hook { .. } => true,
        Error::Init(error) => error.step == STEP,
        _ => false,
    }
}

/// The name of the step that runs hooks inside.
pub(crate) const STEP: &str = "hooks";

fn run_one(hook: &Hook, state: &str) -> Result<(), Error> {
    let failed = |reason: String| Error::Hook { path: hook.path().clone(), reason };
    let mut command = Command::new(hook.path());
    // The first of `args` is the name that the hook sees itself called by.
    if let Some((name, rest)) = hook.args().as_ref().and_then(|args| args.split_first()) {
        use std::os::unix::process::CommandExt as _;
        command.arg0(name).args(rest);
    }
    command.env_clear();
    for entry in hook.env().iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(name, value);
    }
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A hook that does not read its input breaks the pipe, which is its right.
        let _ = input.write_all(state.as_bytes());
    }
    let limit = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let began = Instant::now();
    loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(failed(status.to_string())),
            None if limit.is_some_and(|limit| began.elapsed() > limit) => {
                // It may have ended this very moment; either way it is reaped below.
                let _ = child.kill();
                child.wait().map_err(|error| failed(error.to_string()))?;
                return Err(failed(format!("still running after {} s", began.elapsed().as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}
