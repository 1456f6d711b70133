//! Dockerfile builds that say why.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use build::{BuildOptions, CacheUse, Dockerfile, Plain, Reasons};
use clap::{Parser, Subcommand};
use containers::{Engine, Paths};
use process::explain::Format;

/// Build an image from a Dockerfile and say of each step why it was cached or not; or draw the stages of a Dockerfile.
///
/// Bases that need no network: `scratch`, and the built-in images `hello` and `host`. Try it twice, then change a
/// file that is copied, and read the lines with "because".
#[derive(Parser)]
#[command(name = "ch12-build", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the image of a directory that holds a Dockerfile.
    Build(Build),
    /// Draw the stages of a Dockerfile, what each reads, and which are needed.
    Parse {
        /// The Dockerfile.
        file: PathBuf,
        /// The stage that is wanted; the last one if absent.
        #[arg(long)]
        target: Option<String>,
    },
}

#[derive(clap::Args)]
struct Build {
    /// Keep everything below this directory instead of the system's; COOPER_ROOT does the same.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Tell each kernel call on standard error.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "story", value_name = "FORMAT")]
    explain: Option<Format>,
    /// The Dockerfile; CONTEXT/Dockerfile if absent.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// The image's name.
    #[arg(short, long)]
    tag: Vec<String>,
    /// The stage to build; the last one if absent.
    #[arg(long)]
    target: Option<String>,
    /// An argument, NAME=VALUE.
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// The network of RUN steps: bridge, none, host.
    #[arg(long, default_value = "bridge")]
    network: String,
    /// Execute every step, known or not.
    #[arg(long)]
    no_cache: bool,
    /// The directory whose files may be copied.
    context: PathBuf,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "monitor") {
        return containers::monitor::main(words);
    }
    let done = match Arguments::parse().command {
        Command::Build(build) => build.run(),
        Command::Parse { file, target } => parse(&file, target.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ch12-build: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(file: &Path, target: Option<&str>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    print!("{}", Dockerfile::parse(file, &text)?.picture(target, &|_| None)?);
    Ok(())
}

impl Build {
    fn run(self) -> anyhow::Result<()> {
        if let Some(format) = self.explain {
            process::explain::install(format);
        }
        let root = self.root.or_else(|| std::env::var_os("COOPER_ROOT").map(PathBuf::from));
        let paths = root.map_or_else(Paths::default_for_user, Paths::at);
        std::fs::create_dir_all(&paths.run)?;
        namespaces::rootless::enter(&paths.run)?;
        let mut options = BuildOptions {
            dockerfile: self.file,
            target: self.target,
            cache: if self.no_cache { CacheUse::Ignore } else { CacheUse::Reuse },
            network: self.network.parse()?,
            ..BuildOptions::new(self.context)
        };
        for tag in &self.tag {
            options.tags.push(tag.parse().context("--tag")?);
        }
        for argument in &self.build_arg {
            let (name, value) =
                argument.split_once('=').with_context(|| format!("--build-arg {argument}: NAME=VALUE"))?;
            options.build_args.insert(name.to_owned(), value.to_owned());
        }
        if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
            options.epoch = Some(BuildOptions::parse_epoch(&text).map_err(anyhow::Error::msg)?);
        }
        let engine = Engine::open(paths)?;
        let image = build::build(&engine, &options, &mut Plain::new(std::io::stdout(), Reasons::Show))?;
        println!("{}", image.id);
        Ok(())
    }
}
