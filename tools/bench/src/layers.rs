//! `bench layers`: extracting a large layer, beside the programs that do the same; and stacking a hundred.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use layers::{Attributes, Overlay, Tarball};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::timing::Timing;

/// Cooper's own name in the table.
pub(crate) const OWN: &str = "ch04-layers apply";

/// Contenders that did not take part, or of which a run failed, with the reason.
type Skipped = Vec<(&'static str, String)>;

/// One program that extracts the layer.
struct Extractor {
    name: &'static str,
    /// The command; `{to}` stands for a directory that is new with each run.
    words: Vec<String>,
    skipped: Option<String>,
}

/// The scene: an archive of about 300 MB, compressed, and the same as an image for those that take only images.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new(megabytes: u64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("cooper-bench-").tempdir().context("no temporary directory")?;
        let scene = Self { dir };
        write_layer(&scene.path("layer.tar"), megabytes << 20, 1)?;
        run(Command::new("gzip").args(["-6", "--keep"]).arg(scene.path("layer.tar")))?;
        Ok(scene)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn extractors(&self, own: &Path) -> Vec<Extractor> {
        let text = |name: &str| self.path(name).to_string_lossy().into_owned();
        let (archive, layout) = (text("layer.tar.gz"), text("layout"));
        let image = format!("{layout}:bench");
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let made = run(Command::new("umoci").args(["init", "--layout", &layout]))
            .and_then(|()| run(Command::new("umoci").args(["new", "--image", &image])))
            .and_then(|()| {
                run(Command::new("umoci").args(["raw", "add-layer", "--image", &image]).arg(self.path("layer.tar")))
            });
        // A store of its own in plain directories, so that nothing is left mounted; `{to}` makes it a fresh one.
        let podman = ["podman", "--root", "{to}/store", "--runroot", "{to}/run", "--storage-driver", "vfs"];
        let none = |program: &str| run(Command::new(program).arg("--version")).err().map(|error| error.to_string());
        let own = own.to_string_lossy();
        vec![
            Extractor { name: OWN, words: words(&[&own, "apply", &archive, "{to}"]), skipped: None },
            Extractor {
                name: "tar -xzf",
                words: words(&["tar", "-xzf", &archive, "--numeric-owner", "-C", "{to}"]),
                skipped: none("tar"),
            },
            Extractor {
                name: "umoci raw unpack",
                words: words(&["umoci", "raw", "unpack", "--image", &image, "{to}/rootfs"]),
                skipped: made.err().map(|error| error.to_string()),
            },
            Extractor {
                name: "podman import",
                words: [words(&podman), words(&["import", "--quiet", &archive, "bench"])].concat(),
                skipped: none("podman"),
            },
        ]
    }
}

/// What the extractors took.
pub(crate) struct Extraction {
    /// By the clock on the wall.
    pub(crate) wall: Vec<Timing>,
    /// On the CPU, in and out of the kernel: what the wall clock would show if nobody else were there.
    pub(crate) cpu: Vec<Timing>,
    pub(crate) skipped: Skipped,
}

/// Runs all contenders `runs` times in turn, all of them on one CPU: `tar -xzf` is two processes, and others use threads.
pub(crate) fn extract(megabytes: u64, runs: usize, own: &Path) -> Result<Extraction> {
    let scene = Scene::new(megabytes)?;
    let extractors = scene.extractors(own);
    stay_on_one_cpu()?;
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); extractors.len()];
    let mut cpu_times = times.clone();
    let mut skipped: Vec<_> = extractors.iter().filter_map(|one| Some((one.name, one.skipped.clone()?))).collect();
    for _ in 0..runs {
        let series = extractors.iter().zip(times.iter_mut().zip(&mut cpu_times));
        for (extractor, (times, cpu_times)) in series.filter(|(one, _)| one.skipped.is_none()) {
            let to = scene.path("to");
            fs::create_dir(&to).context("cannot make a directory")?;
            // What others left to be written must not be paid for by the next one.
            rustix::fs::sync();
            let words: Vec<String> =
                extractor.words.iter().map(|word| word.replace("{to}", &to.to_string_lossy())).collect();
            let (began, used) = (Instant::now(), cpu_time_of_children()?);
            let result = run(Command::new(&words[0]).args(&words[1..]));
            match result {
                Ok(()) => {
                    times.push(began.elapsed().as_secs_f64() * 1000.0);
                    cpu_times.push(cpu_time_of_children()? - used);
                }
                Err(error) => skipped.push((extractor.name, error.to_string())),
            }
            fs::remove_dir_all(&to).with_context(|| format!("cannot remove {}", to.display()))?;
        }
    }
    Ok(Extraction { wall: timings(&extractors, times), cpu: timings(&extractors, cpu_times), skipped })
}

fn timings(extractors: &[Extractor], series: Vec<Vec<f64>>) -> Vec<Timing> {
    let able = extractors.iter().zip(series).filter(|(_, times)| !times.is_empty());
    able.map(|(one, mut times)| {
        times.sort_by(f64::total_cmp);
        Timing { name: one.name, median: times[times.len() / 2], fastest: times[0] }
    })
    .collect()
}

/// This process and all that it starts from here on share the first CPU that they may use.
fn stay_on_one_cpu() -> Result<()> {
    let may = rustix::thread::sched_getaffinity(None).context("cannot ask for CPUs")?;
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| may.is_set(*cpu)).context("no CPU at all")?;
    let mut one = rustix::thread::CpuSet::new();
    one.set(first);
    rustix::thread::sched_setaffinity(None, &one).context("cannot stay on one CPU")
}

/// Milliseconds of CPU that children have used which were waited for, and theirs; in steps of 10.
fn cpu_time_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    // The name, in parentheses, may hold anything; the fields behind it are counted from the third.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() * 10.0)
}

/// What a stack of `count` layers takes, in milliseconds: with the library, and with the bare kernel calls.
pub(crate) fn mount(count: usize, runs: usize) -> Result<(f64, f64)> {
    let dir = tempfile::tempdir().context("no temporary directory")?;
    let lower: Vec<PathBuf> = (0..count).map(|n| dir.path().join(n.to_string())).collect();
    for layer in &lower {
        fs::create_dir(layer).context("cannot make a layer")?;
    }
    let overlay = Overlay { lower, ..Overlay::default() };
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let began = Instant::now();
        drop(overlay.mount()?);
        ours.push(began.elapsed().as_secs_f64() * 1000.0);
        let began = Instant::now();
        drop(bare_mount(&overlay.lower)?);
        bare.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    ours.sort_by(f64::total_cmp);
    bare.sort_by(f64::total_cmp);
    Ok((ours[runs / 2], bare[runs / 2]))
}

fn bare_mount(lower: &[PathBuf]) -> Result<std::os::fd::OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        rustix::mount::fsconfig_set_string(&context, "lowerdir+", layer)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// Files as an image of an operating system has them: most of them small, a few large, all of them half-way compressible.
/// Another seed makes another layer.
pub(crate) fn write_layer(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    let file = std::io::BufWriter::new(fs::File::create(path).context("cannot make the layer")?);
    let mut tarball = Tarball::new(file);
    let mut seed = seed;
    let mut random = || {
        // Knuth's linear congruential generator: the same layer on every machine.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let words: Vec<String> = (0..4096).map(|_| format!("{:x} ", random() % 1_000_000)).collect();
    let mut written = 0;
    for number in 0.. {
        if written >= bytes {
            break;
        }
        let directory = format!("usr/lib/package-{}", number / 40);
        if number % 40 == 0 {
            tarball.directory(Path::new(&directory), &Attributes::plain(0o755))?;
        }
        let size = if number % 400 == 399 { 4 << 20 } else { 1000 + random() % 24_000 };
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend_from_slice(words[random() as usize % words.len()].as_bytes());
        }
        let path = format!("{directory}/file-{number}");
        tarball.file(Path::new(&path), size, &Attributes::plain(0o644), &body[..])?;
        written += size;
    }
    tarball.finish()?.flush().context("cannot write the layer")
}

/// Runs a command; the last line of what it says if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{program} is not installed"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{program}: {}", told.lines().last().unwrap_or("failed without a word"));
    }
    Ok(())
}
