//! What chapter 7's exercises call: a process of a specification, with no more around it than the exercise needs.

use std::path::PathBuf;

use anyhow::Context as _;
use namespaces::{Plan, isolate};
use process::{ProcessStep, Program};
use runtime::plan::{self, Streams};
use runtime::{RuntimeStep, confinement, id_maps, spec};

/// `limits BUNDLE` runs the process of a `config.json` with its limits alone, `namespaces BUNDLE` in its namespaces alone,
/// `process BUNDLE` as `exec` would.
fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let mode = words.next().unwrap_or_default();
    let spec = spec::load(&PathBuf::from(words.next().unwrap_or_default()))?;
    let process = spec.process().as_ref().context("no process")?;
    let arguments = process.args().iter().flatten().map(Into::into).collect();
    let program = || RuntimeStep::from(ProcessStep::Exec(Program { arguments, environment: Vec::new() }));
    let (namespaces, steps) = match mode.to_string_lossy().as_ref() {
        "limits" => {
            let mut steps: Vec<RuntimeStep> =
                confinement::limits_of_process(process)?.into_iter().map(RuntimeStep::from).collect();
            steps.push(program());
            (Plan::default(), steps)
        }
        "namespaces" => (plan::namespaces(&spec)?, vec![program()]),
        _ => (Plan::default(), plan::exec_steps(&spec, process, "lab", None, Streams::Descriptors([0, 1, 2]), 0)?),
    };
    let mut child = isolate(&namespaces, None, Some(&id_maps::of(&spec)), steps)?;
    child.run_to_exec()?;
    std::process::exit(i32::from(child.pidfd().wait()?.code()))
}
