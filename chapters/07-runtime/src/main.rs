//! Chapter 7's program: what a runtime is going to do, before it does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use process::explain;
use runtime::plan::{self, Request, RootSource, Streams};
use runtime::{CreateOptions, Prepared, State, Status, spec};

/// Read a bundle and show the plan: every step of its container's init, in order.
///
/// `cooper-runtime`, beside this program, executes such plans. Try:
///
///   mkdir -p bundle/rootfs && cd bundle && cooper-runtime spec && cd ..
///   ch07-runtime plan bundle
#[derive(Parser)]
#[command(name = "ch07-runtime", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the steps.
    Plan {
        /// The bundle's directory.
        bundle: PathBuf,
    },
    /// Check a bundle's configuration.
    Check {
        /// The bundle's directory.
        bundle: PathBuf,
    },
}

fn main() {
    process::signals::end_by_broken_pipe();
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let result = match arguments.command {
        Command::Plan { bundle } => print_plan(&bundle),
        Command::Check { bundle } => spec::load(&bundle).map(|_| println!("{}: fine", bundle.display())),
    };
    if let Err(error) = result {
        eprintln!("ch07-runtime: {error}");
        std::process::exit(125);
    }
}

fn print_plan(bundle: &Path) -> Result<(), runtime::Error> {
    let spec = spec::load(bundle)?;
    let root = spec.root().as_ref().map_or_else(|| PathBuf::from("rootfs"), |root| root.path().clone());
    let prepared = Prepared::of(&spec, bundle)?;
    let steps = plan::init_steps(&Request {
        id: "example",
        spec: &spec,
        bundle,
        root: &RootSource::Directory(bundle.join(&root)),
        attach_at: &bundle.join(&root),
        prepared: &prepared,
        streams: Streams::Descriptors([0, 1, 2]),
        entrance: None,
        start_socket: 3,
        visited: false,
        options: CreateOptions::default(),
        state: State {
            oci_version: spec.version().clone(),
            id: "example".to_owned(),
            status: Status::Creating,
            pid: None,
            bundle: bundle.to_owned(),
            annotations: BTreeMap::new(),
        },
    })?;
    let made: Vec<_> = plan::namespaces(&spec)?.create.iter().map(ToString::to_string).collect();
    println!("clone3 with namespaces: {}", made.join(" "));
    for (number, step) in steps.iter().enumerate() {
        println!("{:>3}. {}", number + 1, shorten(&format!("{step:?}")));
    }
    Ok(())
}

/// A seccomp filter has hundreds of instructions; a line has room for few.
fn shorten(text: &str) -> String {
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(100).collect();
    if characters.next().is_some() { format!("{start}...") } else { start }
}
