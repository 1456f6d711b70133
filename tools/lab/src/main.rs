//! `lab`: the exercises of Cooper.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use lab::exercise::Exercise;
use lab::grade::engine::{Bounds, Engine};
use lab::grade::{self, Rules, report};
use lab::progress::Progress;
use lab::verdict::Verdict;
use lab::workspace::Workspace;
use lab::{check, doctor, export, hole, sandbox, starter, verify, watch};

/// Exercises in the real code: fill a hole, and ask the kernel whether you did.
///
/// Without a command: watch. Checks the current exercise whenever you save, until you press q.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Arguments {
    /// Work in the workspace at DIR instead of the current directory's.
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".", global = true)]
    directory: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
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
    /// All exercises, and which of them have passed.
    List,
    /// The statement of the first exercise that has not passed.
    Next,
    /// The statement of one: the function's own documentation.
    Show { name: String },
    /// Check some exercises, or all; exit code 0 only if each of them passed.
    Check { names: Vec<String> },
    /// Three hints, one at a time: where to look, how to think, almost the code.
    Hint {
        name: String,
        /// Which hint; the next one that you have not read, if none is named.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
        step: Option<u8>,
    },
    /// Your version beside the reference, once it has passed.
    Diff { name: String },
    /// How far you have come, as a picture.
    Progress {
        /// Write a page instead, for a class's wall.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// For instructors: a bundle for a class without a network, with no solutions in it.
    Export {
        /// A directory that does not exist yet, or is empty.
        #[arg(long, value_name = "OUT")]
        student: PathBuf,
        /// Leave out the built book.
        #[arg(long)]
        no_book: bool,
    },
    /// For instructors: check many submissions at once, each in a container of its own.
    Grade(Grade),
    /// The starter again; your version is saved.
    Reset { name: String },
    /// For authors: does each check catch what it says it catches?
    Verify {
        /// Only these exercises.
        names: Vec<String>,
        /// Print what each wrong answer is told.
        #[arg(long)]
        messages: bool,
    },
    /// The harness calls itself; not for people.
    #[command(hide = true)]
    Inside {
        stage: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
}

/// What to grade, and how.
#[derive(Debug, Args)]
struct Grade {
    /// The directories that were handed in: workspaces of `lab init` or `lab export`.
    #[arg(required = true, value_name = "DIR")]
    submissions: Vec<PathBuf>,
    /// Only this exercise; may be given again. All exercises count, unless some are named.
    #[arg(long, value_name = "NAME")]
    exercise: Vec<String>,
    /// Only this chapter's exercises; may be given again.
    #[arg(long, value_name = "NUMBER")]
    chapter: Vec<u32>,
    /// A table for a spreadsheet: one row a submission.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Everything, with the messages, under the exercises' stable ids.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// For whatever shows test results.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The longest that one submission may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    patience: u64,
    /// How many at once; as many as there are processors, unless said otherwise.
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<usize>,
    /// What bounds memory, processes and processor time.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "groups")]
    bounds: Bounds,
    /// The engine that makes the containers; `cooper` beside this program, unless said otherwise.
    #[arg(long, value_name = "PROGRAM")]
    engine: Option<PathBuf>,
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

impl Command {
    /// Whether it prints and does nothing else, so that a reader who goes away may end it.
    fn only_prints(&self) -> bool {
        matches!(self, Self::List | Self::Next | Self::Show { .. } | Self::Diff { .. })
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.command.as_ref().is_some_and(Command::only_prints) {
        lab::end_by_broken_pipe();
    }
    match &arguments.command {
        Some(Command::Doctor) => return Ok(examine()),
        Some(Command::Inside { stage, rest }) => return sandbox::inside(stage, rest),
        _ => {}
    }
    let workspace = Workspace::find(&arguments.directory)?;
    let Some(command) = &arguments.command else {
        ensure!(workspace.is_readers(), "watching works in a workspace made by `lab init`: here nothing is left to do");
        watch::watch(&workspace, &mut std::io::stdout())?;
        return Ok(ExitCode::SUCCESS);
    };
    match command {
        Command::Init { dir } => {
            let exercises = starter::init(&workspace, dir)?;
            println!("{} is yours: {} to fill in.", dir.display(), holes(exercises.len()));
            println!("Begin with:  cd {} && ./lab next", dir.display());
        }
        Command::List => list(&workspace)?,
        Command::Next => next(&workspace)?,
        Command::Show { name } => show(&workspace, &workspace.exercise(name)?)?,
        Command::Check { names } => return check_all(&workspace, names),
        Command::Hint { name, step } => hint(&workspace, name, *step)?,
        Command::Reset { name } => {
            let saved = starter::reset(&workspace, &workspace.exercise(name)?)?;
            println!("{name} is a hole again; your version is in {}", saved.display());
        }
        Command::Diff { name } => diff(&workspace, name)?,
        Command::Progress { html } => progress(&workspace, html.as_deref())?,
        Command::Export { student, no_book } => {
            let count = export::student(&workspace, student, !no_book)?;
            println!(
                "{}: {}, all dependencies{}, no solutions.",
                student.display(),
                holes(count),
                if *no_book { "" } else { ", the book" }
            );
            println!("It builds with no network:  cd {} && ./lab next", student.display());
        }
        Command::Grade(grade) => grade_all(&workspace, grade)?,
        Command::Verify { names, messages } => return verify_all(&workspace, names, *messages),
        Command::Doctor | Command::Inside { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn holes(count: usize) -> String {
    if count == 1 { "1 hole".to_owned() } else { format!("{count} holes") }
}

fn list(workspace: &Workspace) -> Result<()> {
    let progress = Progress::of(workspace)?;
    for exercise in workspace.exercises()? {
        let (number, id, title) = (exercise.number(), &exercise.id, &exercise.title);
        let mark = if progress.record(id).passed { 'x' } else { ' ' };
        println!(
            "[{mark}] chapter {number:2}  {id:22} {title} ({} points, {} minutes)",
            exercise.points, exercise.minutes
        );
    }
    Ok(())
}

fn next(workspace: &Workspace) -> Result<()> {
    let exercises = workspace.exercises()?;
    match Progress::of(workspace)?.next(&exercises) {
        Some(exercise) => show(workspace, exercise),
        None => {
            println!("All {} exercises are passed: the engine is yours.", exercises.len());
            Ok(())
        }
    }
}

fn show(workspace: &Workspace, exercise: &Exercise) -> Result<()> {
    let path = workspace.root().join(exercise.source());
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hole = hole::find(&text, &exercise.id)?;
    println!("{}: {}\n{}:{}\n", exercise.id, exercise.title, exercise.source().display(), hole.line);
    // In a reader's workspace the body is theirs; here it is the solution, which `show` keeps to itself.
    let statement: Vec<&str> = text[hole.item.start..hole.body.start].lines().collect();
    let indent = statement[1..].iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let statement: Vec<&str> =
        statement.iter().enumerate().map(|(index, line)| &line[if index == 0 { 0 } else { indent }..]).collect();
    println!("{}...}}", statement.join("\n"));
    let lab = if workspace.is_readers() { "./lab" } else { "lab" };
    println!(
        "\n`{lab} hint {0}` helps; `{lab} check {0}` asks the kernel; `{lab}` alone checks whenever you save.",
        exercise.id
    );
    Ok(())
}

fn hint(workspace: &Workspace, name: &str, step: Option<u8>) -> Result<()> {
    let exercise = workspace.exercise(name)?;
    let mut progress = Progress::of(workspace)?;
    let step = step.unwrap_or((progress.record(name).hints + 1).min(3));
    println!("hint {step} of 3. {}", exercise.hints[usize::from(step - 1)].trim());
    progress.note_hint(name, step)
}

fn diff(workspace: &Workspace, name: &str) -> Result<()> {
    let exercise = workspace.exercise(name)?;
    ensure!(workspace.is_readers(), "diff works in a workspace made by `lab init`: here there is nothing to compare");
    ensure!(Progress::of(workspace)?.record(name).passed, "{name} has not passed yet: the reference is for afterwards");
    let difference = starter::difference(workspace, &exercise)?;
    match difference.is_empty() {
        true => println!("{name}: yours and the reference are the same, letter by letter."),
        false => print!("{difference}"),
    }
    Ok(())
}

fn progress(workspace: &Workspace, html: Option<&Path>) -> Result<()> {
    let (exercises, progress) = (workspace.exercises()?, Progress::of(workspace)?);
    match html {
        None => print!("{}", progress.picture(&exercises)),
        Some(path) => {
            std::fs::write(path, progress.page(&exercises))
                .with_context(|| format!("cannot write {}", path.display()))?;
            println!("the picture is in {}", path.display());
        }
    }
    Ok(())
}

fn check_all(workspace: &Workspace, names: &[String]) -> Result<ExitCode> {
    let exercises = match names.is_empty() {
        true => workspace.exercises()?,
        false => names.iter().map(|name| workspace.exercise(name)).collect::<Result<_>>()?,
    };
    let mut passed = 0;
    let mut progress = Progress::of(workspace)?;
    for exercise in &exercises {
        let verdict = check::check(workspace, exercise)?;
        progress.note_check(&exercise.id, verdict == Verdict::Passed)?;
        match verdict {
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

fn grade_all(workspace: &Workspace, arguments: &Grade) -> Result<()> {
    let named = |exercise: &Exercise| {
        let all = arguments.exercise.is_empty() && arguments.chapter.is_empty();
        all || arguments.exercise.contains(&exercise.id) || arguments.chapter.contains(&exercise.number())
    };
    for name in &arguments.exercise {
        workspace.exercise(name)?;
    }
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("cooper"));
    let program = arguments.engine.clone().map_or_else(beside, Ok).context("cannot find the engine")?;
    let rules = Rules {
        exercises: workspace.exercises()?.into_iter().filter(named).collect(),
        engine: Engine::new(program, workspace.root().join("target/lab-grade/engine"), arguments.bounds)?,
        jobs: arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get)),
        patience: Duration::from_secs(arguments.patience),
    };
    eprintln!("building what all submissions have in common: minutes the first time, seconds later");
    let count = arguments.submissions.len();
    let done = AtomicUsize::new(0);
    let seen = |graded: &grade::Graded| {
        eprintln!("[{}/{count}] {}", done.fetch_add(1, Ordering::Relaxed) + 1, report::line(graded));
    };
    let graded = grade::grade(workspace, &arguments.submissions, &rules, seen)?;
    for one in &graded {
        println!("{}", report::line(one));
    }
    let reports = [
        (&arguments.csv, report::csv as fn(&[grade::Graded]) -> String),
        (&arguments.json, report::json),
        (&arguments.junit, report::junit),
    ];
    for (path, write) in reports {
        if let Some(path) = path {
            std::fs::write(path, write(&graded)).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn verify_all(workspace: &Workspace, names: &[String], messages: bool) -> Result<ExitCode> {
    let trials = verify::verify(workspace, |exercise| names.is_empty() || names.contains(&exercise.id))?;
    for trial in &trials {
        match &trial.surprise {
            None => println!("ok    {}", trial.name),
            Some(surprise) => println!("WRONG {}: {surprise}", trial.name),
        }
        if let (true, Verdict::Failed(failure)) = (messages, &trial.verdict) {
            println!("{failure}\n");
        }
    }
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
