//! Chapter 4's program: stack layers, change them, see the difference, commit it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use layers::{
    ApplyOptions, Compression, HashingReader, Overlay, apply, changes, decompress, diff, diff_trees, lay_out,
};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use process::explain;
use rootfs::{DetachedMount, MountPropagationFlags, Root};
use rustix::mount::UnmountFlags;

/// Stack directories as layers, change what they show, and turn the change into an archive.
///
/// Works for ordinary users too, in a user namespace of their own. Try:
///
///   mkdir base; echo hello > base/greeting
///   ch04-layers change --lower base --upper new -- sh -c 'rm greeting; echo bye > farewell'
///   ch04-layers diff   --lower base --upper new
///   ch04-layers stack  new base                         # side by side: who says what, and who is heard
///   ch04-layers commit --lower base --upper new layer.tar
///   ch04-layers digest layer.tar; ch04-layers apply layer.tar copy
#[derive(Parser)]
#[command(name = "ch04-layers", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command in the stacked tree; its changes go to the upper directory.
    Change {
        #[command(flatten)]
        stack: Stack,
        /// Copy the layers instead of mounting them, as is done where the kernel has no overlayfs.
        #[arg(long)]
        copy: bool,
        /// The command and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
    /// Show layers side by side: what each says about a path, and what is seen.
    Stack {
        /// The layers' directories; the first one is the topmost.
        #[arg(required = true)]
        layers: Vec<PathBuf>,
    },
    /// List what the upper directory changes: Added, Changed, Deleted.
    Diff(Stack),
    /// Write the change as an archive, with whiteouts as images have them, and print its diff id.
    Commit {
        #[command(flatten)]
        stack: Stack,
        /// The archive to write.
        archive: PathBuf,
    },
    /// Extract an archive, compressed or not, into a new directory, as one layer.
    Apply {
        /// The archive.
        archive: PathBuf,
        /// The directory; made if it is missing.
        directory: PathBuf,
    },
    /// Show what an archive is called: its digest as it is, and its diff id.
    Digest {
        /// The archive.
        archive: PathBuf,
    },
}

#[derive(clap::Args)]
struct Stack {
    /// A directory to see through; the first one is the topmost.
    #[arg(long, required = true, value_name = "DIR")]
    lower: Vec<PathBuf>,
    /// The directory that takes the changes.
    #[arg(long, value_name = "DIR")]
    upper: PathBuf,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let code = run(arguments.command).unwrap_or_else(|error| {
        eprintln!("ch04-layers: {error:#}");
        125
    });
    std::process::exit(code);
}

fn run(command: Command) -> anyhow::Result<i32> {
    // An ordinary user becomes root of a user namespace, where mounting overlays is allowed.
    let holders = tempfile::tempdir()?;
    namespaces::rootless::enter(holders.path())?;
    match command {
        Command::Change { stack, copy: true, command } => return change_a_copy(&stack, &command),
        Command::Change { stack, command, .. } => return change(&stack, &command),
        Command::Stack { layers } => show(&layers)?,
        Command::Diff(stack) => {
            for change in changes(&Root::open(&stack.upper)?, &stack.lower)? {
                println!("{change}");
            }
        }
        Command::Commit { stack, archive } => {
            let file = File::create(&archive).with_context(|| format!("create {archive:?}"))?;
            let made = diff(&Root::open(&stack.upper)?, &stack.lower, BufWriter::new(file))?;
            println!("diff id {}\nsize    {}", made.diff_id, made.size);
        }
        Command::Apply { archive, directory } => extract(&archive, &directory)?,
        Command::Digest { archive } => digest(&archive)?,
    }
    Ok(0)
}

/// Mounts the stack where only this process and the command can see it, and runs the command in it.
fn change(stack: &Stack, command: &[OsString]) -> anyhow::Result<i32> {
    let work = stack.upper.with_extension("work");
    let absolute = |path: &PathBuf| std::path::absolute(path).with_context(|| format!("find {path:?}"));
    let overlay = Overlay {
        lower: stack.lower.iter().map(absolute).collect::<anyhow::Result<_>>()?,
        upper_work: Some((absolute(&stack.upper)?, absolute(&work)?)),
        ..Overlay::default()
    };
    overlay.prepare()?;
    let mount = match overlay.mount() {
        Err(error) if error.errno() == Errno::ENODEV => return change_a_copy(stack, command),
        result => DetachedMount::from(result?),
    };
    unshare(CloneFlags::CLONE_NEWNS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let place = tempfile::tempdir()?;
    mount.attach(Root::open(place.path())?.as_fd())?;
    let status = std::process::Command::new(&command[0]).args(&command[1..]).current_dir(place.path()).status();
    // The directory that it was mounted on can go once it is not.
    rustix::mount::unmount(place.path(), UnmountFlags::DETACH)?;
    Ok(status.with_context(|| format!("run {:?}", command[0]))?.code().unwrap_or(125))
}

/// The same without overlayfs: lays the stack out, runs the command in that, and looks for what it changed.
fn change_a_copy(stack: &Stack, command: &[OsString]) -> anyhow::Result<i32> {
    eprintln!("note: no overlay is used: the layers are copied, and what changes is found by comparing");
    let place = tempfile::tempdir()?;
    let upper = stack.upper.exists().then(|| stack.upper.clone());
    let all: Vec<PathBuf> = upper.into_iter().chain(stack.lower.clone()).collect();
    lay_out(&all, &Root::open(place.path())?)?;
    let status = std::process::Command::new(&command[0]).args(&command[1..]).current_dir(place.path()).status();
    let mut archive = tempfile::tempfile()?;
    diff_trees(&stack.lower, &Root::open(place.path())?, BufWriter::new(&archive))?;
    archive.rewind()?;
    // The upper directory as an overlay would have left it: all changes, and nothing but them.
    if stack.upper.exists() {
        std::fs::remove_dir_all(&stack.upper).with_context(|| format!("remove {:?}", stack.upper))?;
    }
    std::fs::create_dir_all(&stack.upper).with_context(|| format!("mkdir {:?}", stack.upper))?;
    apply(BufReader::new(archive), &Root::open(&stack.upper)?, &ApplyOptions::default())?;
    Ok(status.with_context(|| format!("run {:?}", command[0]))?.code().unwrap_or(125))
}

/// A column for each layer, the topmost on the left; the layer that is heard in brackets.
fn show(layers: &[PathBuf]) -> anyhow::Result<()> {
    let rows = layers::side_by_side(layers)?;
    let width = rows.iter().map(|row| row.path.as_os_str().len()).max().unwrap_or(0).max(4);
    let names: String = layers
        .iter()
        .map(|layer| format!("{:<12}", layer.file_name().unwrap_or(layer.as_os_str()).display().to_string()))
        .collect();
    println!("{:<width$}  {names}seen", "");
    for row in rows {
        let cell = |(index, cell): (usize, &layers::Cell)| match row.seen == Some(index) {
            true => format!("{:<12}", format!("[{cell}]")),
            false => format!("{cell:<12}"),
        };
        let cells: String = row.cells.iter().enumerate().map(cell).collect();
        let seen = row.seen.map_or("nothing".to_owned(), |index| row.cells[index].to_string());
        println!("{:<width$}  {cells}{seen}", row.path.display().to_string());
    }
    Ok(())
}

fn extract(archive: &Path, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("mkdir {directory:?}"))?;
    let options = ApplyOptions::default();
    let source = decompress(open(archive)?, options.limits.bytes)?;
    let applied = apply(BufReader::with_capacity(128 << 10, source), &Root::open(directory)?, &options)?;
    println!("{} members, {} bytes, {} whiteouts", applied.entries, applied.bytes, applied.whiteouts);
    for (count, what) in [
        (applied.owners_ignored, "owners do not exist here: those files are yours, without setuid"),
        (applied.devices_skipped, "device nodes cannot be made here"),
        (applied.xattrs_skipped, "extended attributes were not set"),
    ] {
        if count > 0 {
            println!("note: {count} {what}");
        }
    }
    Ok(())
}

fn digest(archive: &Path) -> anyhow::Result<()> {
    let mut start = Vec::new();
    open(archive)?.take(4).read_to_end(&mut start)?;
    let mut blob = HashingReader::new(open(archive)?);
    std::io::copy(&mut blob, &mut std::io::sink())?;
    let mut plain = HashingReader::new(decompress(open(archive)?, layers::Limits::default().bytes)?);
    std::io::copy(&mut plain, &mut std::io::sink())?;
    println!(
        "blob    {} ({} bytes, {})",
        blob.finish().0,
        std::fs::metadata(archive)?.len(),
        Compression::detect(&start)
    );
    println!("diff id {}", plain.finish().0);
    std::io::stdout().flush().map_err(Into::into)
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("open {path:?}"))
}
