//! Pull, push and look up images, and hear the conversation with the registry.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use distribution::{Client, Credentials, Lines, Options, catalogue, document, pull, push, referrers, resolve, tags};
use images::{Reference, Store};
use layers::Snapshots;

/// Talk to a registry as docker and podman do, and see each request and answer.
///
/// With a registry on this machine (`ch13-registry ROOT`, or docker-registry):
///
///   ch09-distribution --explain resolve localhost:5000/app:1
///   ch09-distribution --explain pull localhost:5000/app:1 DIR
///   ch09-distribution push DIR localhost:5000/app:1 localhost:5000/team/app:2
///
/// DIR/images is a standard OCI layout, which other tools open as oci:DIR/images, and
/// DIR/layers has the layers extracted. Plain http is spoken on loopback only.
#[derive(Parser)]
#[command(name = "ch09-distribution", verbatim_doc_comment)]
struct Arguments {
    /// Tell the conversation on standard error, as a story or as JSON lines.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story", value_name = "FORMAT")]
    explain: Option<process::explain::Format>,
    /// Speak plain http to this registry.
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    insecure: Vec<String>,
    /// Blobs that move at the same time; 1 makes the story of a transfer easy to follow.
    #[arg(long, global = true, value_name = "N", default_value_t = Options::default().parallel)]
    parallel: usize,
    /// Seconds for which a server may send nothing.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    stall: Duration,
    /// Seconds that a busy server is waited for.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    patience: Duration,
    /// How often a broken connection is made again, with the first time.
    #[arg(long, global = true, value_name = "N", default_value_t = Options::default().attempts)]
    attempts: u32,
    #[command(subcommand)]
    command: Command,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[derive(Subcommand)]
enum Command {
    /// Ask what a name stands for, and fetch nothing else.
    Resolve {
        /// The image's name.
        name: Reference,
    },
    /// List the tags of the repository that a name is in.
    Tags {
        /// The repository's name.
        name: Reference,
    },
    /// List all repositories of a registry.
    Catalogue {
        /// The registry: HOST[:PORT].
        registry: String,
    },
    /// List what refers to an image: signatures, lists of contents.
    Referrers {
        /// The image's name.
        name: Reference,
    },
    /// Bring an image into a directory, verified and extracted.
    Pull {
        /// The image's name.
        name: Reference,
        /// The directory; made if missing.
        dir: PathBuf,
    },
    /// Send an image that was pulled.
    Push {
        /// The directory of an earlier pull.
        dir: PathBuf,
        /// The image's name in it.
        image: Reference,
        /// The name that it gets.
        name: Reference,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        process::explain::install(format);
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ch09-distribution: {error}");
            if let Some(hint) = error.downcast_ref::<distribution::Error>().and_then(distribution::Error::hint) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(125)
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { insecure, parallel, stall, patience, attempts, .. } = arguments;
    let options = Options { insecure, parallel, stall, patience, attempts, ..Options::default() };
    let client = Client::new(Credentials::from_docker_config()?, options);
    let progress = Lines::stderr();
    match arguments.command {
        Command::Resolve { name } => {
            let resolved = resolve(&client, &name)?;
            println!("{name}");
            println!("is       {} {}", resolved.target.digest, resolved.target.media_type);
            println!("manifest {}", resolved.manifest_descriptor.digest);
            println!("config   {} {} bytes", resolved.manifest.config.digest, resolved.manifest.config.size);
            for layer in &resolved.manifest.layers {
                println!("layer    {} {} bytes", layer.digest, layer.size);
            }
        }
        Command::Tags { name } => tags(&client, &name)?.iter().for_each(|tag| println!("{tag}")),
        Command::Catalogue { registry } => catalogue(&client, &registry)?.iter().for_each(|name| println!("{name}")),
        Command::Referrers { name } => {
            let (subject, _) = document(&client, &name)?;
            for found in referrers(&client, &name, &subject.digest)? {
                println!("{} {} {} bytes", found.digest, found.media_type, found.size);
            }
        }
        Command::Pull { name, dir } => {
            let (store, snapshots) = (Store::open(dir.join("images"))?, Snapshots::open(dir.join("layers"))?);
            let image = pull(&client, &name, &store, &snapshots, &progress)?;
            println!("{}", image.id);
        }
        Command::Push { dir, image, name } => {
            let store = Store::open(dir.join("images"))?;
            let image = store.find(&image.to_string())?;
            let descriptor = push(&client, &name, &store, &image, &progress)?;
            println!("{}", descriptor.digest);
        }
    }
    Ok(())
}
