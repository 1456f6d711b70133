//! `lab`: the exercises of Cooper.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use lab::verdict::Verdict;
use lab::workspace::Workspace;
use lab::{check, doctor, hole, sandbox, starter, verify};

/// Exercises in the real code: fill a hole, and ask the kernel whether you did.
#[derive(Debug, Parser)]
#[command(name = "lab")]
struct Arguments {
    /// Work in the workspace at DIR instead of the current directory's.
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".", global = true)]
    directory: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What this machine can run, and what to do about the rest.
    Doctor,
    /// Make a workspace of your own: the sources, with holes.
    Init {
        /// A directory that does not exist yet, or is empty.
        dir: PathBuf,
    },
    /// All exercises.
    List,
    /// The statement of one: the function's own documentation.
    Show { name: String },
    /// Check some exercises, or all; exit code 0 only if each of them passed.
    Check { names: Vec<String> },
    /// Three hints, one at a time: where to look, how to think, almost the code.
    Hint {
        name: String,
        /// Which hint.
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
        step: u8,
    },
    /// The starter again; your version is saved.
    Reset { name: String },
    /// For authors: does each check catch what it says it catches?
    Verify {
        /// Print what each wrong answer is told.
        #[arg(long)]
        messages: bool,
    },
    /// The harness calls itself; not for people.
    #[command(hide = true)]
    Inside { stage: String },
}

fn main() -> ExitCode {
    // The doctor tries what can only be tried in a child, which is this program again.
    if let Some(code) = ::doctor::trial::if_asked(std::env::args_os()) {
        return code;
    }
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Doctor => return Ok(examine()),
        Command::Inside { stage } => return sandbox::inside(stage),
        _ => {}
    }
    let workspace = Workspace::find(&arguments.directory)?;
    match &arguments.command {
        Command::Init { dir } => {
            let exercises = starter::init(&workspace, dir)?;
            println!("{} is yours: {} to fill in.", dir.display(), holes(exercises.len()));
            println!("Begin with:  cd {} && cargo run -q -p lab -- list", dir.display());
        }
        Command::List => list(&workspace)?,
        Command::Show { name } => show(&workspace, name)?,
        Command::Check { names } => return check_all(&workspace, names),
        Command::Hint { name, step } => println!("{}", workspace.exercise(name)?.hints[usize::from(step - 1)].trim()),
        Command::Reset { name } => {
            let saved = starter::reset(&workspace, &workspace.exercise(name)?)?;
            println!("{name} is a hole again; your version is in {}", saved.display());
        }
        Command::Verify { messages } => return verify_all(&workspace, *messages),
        Command::Doctor | Command::Inside { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn holes(count: usize) -> String {
    if count == 1 { "1 hole".to_owned() } else { format!("{count} holes") }
}

fn list(workspace: &Workspace) -> Result<()> {
    for exercise in workspace.exercises()? {
        let (number, id, title) = (exercise.number(), &exercise.id, &exercise.title);
        println!("chapter {number:2}  {id:16} {title} ({} points, {} minutes)", exercise.points, exercise.minutes);
    }
    Ok(())
}

fn show(workspace: &Workspace, name: &str) -> Result<()> {
    let exercise = workspace.exercise(name)?;
    let path = workspace.root().join(exercise.source());
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hole = hole::find(&text, &exercise.hole)?;
    println!("{}: {}\n{}:{}\n", exercise.id, exercise.title, exercise.source().display(), hole.line);
    // In a reader's workspace the body is theirs; here it is the solution, which `show` keeps to itself.
    println!("{}...}}", &text[hole.item.start..hole.body.start]);
    println!("\nlab hint {name} helps; lab check {name} asks the kernel.");
    Ok(())
}

fn check_all(workspace: &Workspace, names: &[String]) -> Result<ExitCode> {
    let exercises = match names.is_empty() {
        true => workspace.exercises()?,
        false => names.iter().map(|name| workspace.exercise(name)).collect::<Result<_>>()?,
    };
    let mut passed = 0;
    for exercise in &exercises {
        match check::check(workspace, exercise)? {
            Verdict::Passed => {
                passed += 1;
                println!("{}: passed", exercise.id);
            }
            Verdict::Failed(failure) => println!("{failure}"),
            Verdict::Skipped(reason) => println!("{}: SKIPPED, not passed: {reason}", exercise.id),
        }
    }
    Ok(if passed == exercises.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verify_all(workspace: &Workspace, messages: bool) -> Result<ExitCode> {
    let trials = verify::verify(workspace, |trial| {
        match &trial.surprise {
            None => println!("ok    {}", trial.name),
            Some(surprise) => println!("WRONG {}: {surprise}", trial.name),
        }
        if let (true, Verdict::Failed(failure)) = (messages, &trial.verdict) {
            println!("{failure}\n");
        }
    })?;
    let wrong = trials.iter().filter(|trial| trial.surprise.is_some()).count();
    println!("{} trials, {wrong} wrong", trials.len());
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine() -> ExitCode {
    let findings = doctor::examine();
    for finding in &findings {
        println!("{finding}");
    }
    if ::doctor::is_fit(&findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
