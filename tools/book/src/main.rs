//! `book`: builds Cooper's companion book and keeps it true.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use book::check::{Changes, check};
use book::pages::House;
use book::{look, render};
use clap::{Parser, Subcommand};

/// Builds the companion book, and checks that it is true.
#[derive(Debug, Parser)]
#[command(name = "book")]
struct Arguments {
    /// Work in the workspace at DIR instead of the current directory's.
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".", global = true)]
    directory: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Render it as HTML.
    Build,
    /// Check includes, links and spelling; execute every console block and compare its output.
    Check {
        /// Write changed outputs into the pages instead of reporting them.
        #[arg(long)]
        accept: bool,
    },
    /// Open what was rendered in a browser, Chromium: no console error, no request to elsewhere, search; and pictures to look at.
    Look {
        /// Where the pictures go.
        #[arg(value_name = "DIR")]
        pictures: PathBuf,
    },
    /// For plain `mdbook`: whether a renderer is supported (each is).
    #[command(hide = true)]
    Supports { renderer: String },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("book: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Some(Command::Supports { .. }) => {}
        Some(Command::Build) => {
            let out = render::build(&House::find(&arguments.directory)?)?;
            println!("the book is at {}", out.join("index.html").display());
        }
        Some(Command::Check { accept }) => {
            let changes = if *accept { Changes::Accept } else { Changes::Refuse };
            return report(&House::find(&arguments.directory)?, changes);
        }
        Some(Command::Look { pictures }) => {
            let seen = look::look(&render::build(&House::find(&arguments.directory)?)?, pictures)?;
            for line in &seen.wrong {
                println!("WRONG {line}");
            }
            println!("{} pages, {} pictures in {}", seen.pages, seen.pictures.len(), pictures.display());
            return Ok(if seen.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        None => preprocess(&House::find(&arguments.directory)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn report(house: &House, changes: Changes) -> Result<ExitCode> {
    let report = check(house, changes)?;
    for line in &report.wrong {
        println!("WRONG {line}");
    }
    for line in &report.not_run {
        println!("not run {line}");
    }
    for line in &report.not_checked {
        println!("not checked {line}");
    }
    for line in &report.accepted {
        println!("accepted {line}");
    }
    let (pages, executed, skipped, excused) = (report.pages, report.executed, report.not_run.len(), report.excused);
    let wrong = report.wrong.len();
    println!("{pages} pages, {executed} console blocks executed, {skipped} not run ({excused} excused), {wrong} wrong");
    Ok(if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plain `mdbook` hands us context and book as JSON, and takes the book back.
fn preprocess(house: &House) -> Result<()> {
    let input = std::io::stdin().lock();
    let (_context, mut book): (serde_json::Value, mdbook_driver::book::Book) =
        serde_json::from_reader(input).context("without a command, `book` expects what mdbook sends a preprocessor")?;
    render::expand(house, &mut book)?;
    serde_json::to_writer(std::io::stdout().lock(), &book).context("cannot answer mdbook")
}
