//! The historical escapes that a root file system must hold, each tried twice: against this chapter's step, and
//! against the naive way of doing the same, which the same check must catch.
//!
//! A process with threads never clones, so this is a program of its own, which runs one test after another.
#![allow(clippy::unwrap_used)]

mod attempt;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use process::{CallError, CloneArgs, During as _, ExitStatus, ProcessStep, Signal, needs, spawn};
use rootfs::{Device, DeviceSupply, MountAttrFlags, MountEntry, Recursion, Root, RootState, RootfsStep, Source};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::attempt::{Attempt, Place, home, outcome};

/// How often a race is run.
const TRIES: usize = 10_000;

fn tmpfs(target: &str) -> MountEntry {
    let (kind, source) = ("tmpfs".to_owned(), "tmpfs".to_owned());
    MountEntry {
        source: Source::Filesystem { kind, source, options: Vec::new() },
        target: target.into(),
        attributes: MountAttrFlags::empty(),
        reach: Recursion::One,
        propagation: None,
        copy_up: false,
    }
}

fn proc() -> Attempt {
    let entry = rootfs::standard_mounts().into_iter().find(|entry| entry.target == Path::new("/proc")).unwrap();
    RootfsStep::Mount(entry).into()
}

fn naive_mount(kind: &str, target: &Path) -> Result<(), CallError> {
    rustix::mount::mount(kind, target, kind, MountFlags::empty(), None).during("mount", target.display())
}

fn look_outside(place: &Place, _: &mut RootState) -> Result<Option<&'static str>, CallError> {
    Ok(Some(if place.is_mounted_on()? { "escaped" } else { "stayed" }))
}

#[track_caller]
fn expect(found: &str, wanted: &str) {
    assert!(found.contains(wanted), "expected {wanted:?}, found {found:?}");
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: the image brings a link where the kernel's file systems go.
fn a_link_in_place_of_proc_sys_or_dev() {
    for name in ["proc", "sys", "dev"] {
        let (_home, place) =
            home(|place| std::os::unix::fs::symlink(place.outside(), place.root().join(name)).unwrap());
        let mount = RootfsStep::Mount(tmpfs(&format!("/{name}")));
        let found = outcome(&place, [mount.into(), place.deed(look_outside)]);
        expect(&found, "a symbolic link of the image is in its place");
        let naive = place.deed(|place, _| {
            let link = ["proc", "sys", "dev"].iter().map(|name| place.root().join(name)).find(|path| path.is_symlink());
            naive_mount("tmpfs", &link.unwrap_or_default()).map(|()| None)
        });
        expect(&outcome(&place, [naive, place.deed(look_outside)]), "escaped");
    }
}

/// CVE-2026-41579: devices are made in a `/dev` that is a link to a directory of the machine's.
fn devices_planted_through_a_link() {
    let (_home, place) = home(|place| std::os::unix::fs::symlink(place.outside(), place.root().join("dev")).unwrap());
    let look = |place: &Place, _: &mut RootState| -> Result<Option<&'static str>, CallError> {
        let planted = std::fs::read_dir(place.outside()).during("read", "outside")?.count() > 1;
        Ok(Some(if planted { "escaped" } else { "stayed" }))
    };
    let null: Vec<Device> = rootfs::default_devices().into_iter().take(1).collect();
    for supply in [DeviceSupply::BindFromHost, DeviceSupply::Make] {
        let found = outcome(&place, [RootfsStep::Devices(null.clone(), supply).into(), place.deed(look)]);
        expect(&found, "refused: ");
        assert_eq!(std::fs::read_dir(place.outside()).unwrap().count(), 1, "{found}");
    }
    let naive = place
        .deed(|place, _| std::fs::write(place.root().join("dev/null"), "").during("create", "dev/null").map(|()| None));
    expect(&outcome(&place, [naive, place.deed(look)]), "escaped");
}

/// Exchanges a directory of the image and a link that leads outside, without end.
fn exchange(place: &Place, _: &mut RootState) -> Result<Option<&'static str>, CallError> {
    let (one, other) = (place.root().join("target"), place.root().join("trap"));
    loop {
        match rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE) {
            // What is mounted upon cannot be renamed: until it is unmounted again.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(errno) => return Err(errno).during("renameat2", "target"),
        }
    }
}

/// Mounts 10,000 times while another process exchanges the target; stops at the first that lands outside.
fn race(place: &Place, mount: impl Fn() -> Result<(), CallError>) -> Result<Option<&'static str>, CallError> {
    let steps = [ProcessStep::DieWithParent(Signal::SIGKILL).into(), place.deed(exchange)];
    let racer = spawn(&CloneArgs::default(), &steps)?;
    let mut mounted = 0;
    for _ in 0..TRIES {
        // A target that is a link just now may be refused: that is no escape.
        if mount().is_err() {
            continue;
        }
        mounted += 1;
        if place.is_mounted_on()? {
            return Ok(Some("escaped"));
        }
        // It lies on the directory, which has one of two names, or on what the link means inside the root.
        let names = ["target", "trap", "outside"].map(|name| place.root().join(name));
        let gone = (0..1000).any(|turn| {
            rustix::mount::unmount(&names[turn % 3], UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok()
        });
        if !gone {
            return Err(CallError::refused("umount2", "target", "found under no name"));
        }
    }
    racer.pidfd().signal(Signal::SIGKILL)?;
    if racer.pidfd().wait()? != ExitStatus::Signaled(Signal::SIGKILL) {
        return Err(CallError::refused("race", "target", "nobody exchanged it to the end"));
    }
    Ok(Some(if mounted > 0 { "stayed" } else { "nothing was ever mounted" }))
}

/// CVE-2021-30465, CVE-2024-45310: the target is exchanged for a link between check and mount.
fn a_target_that_is_exchanged_during_setup() {
    let (_home, place) = home(|place| {
        std::fs::create_dir(place.root().join("target")).unwrap();
        std::os::unix::fs::symlink("../outside", place.root().join("trap")).unwrap();
    });
    let careful = place.deed(|place, _| {
        let root = Root::open(&place.root())?;
        race(place, || tmpfs("/target").mount(&root))
    });
    expect(&outcome(&place, [careful]), "stayed");
    let naive = place.deed(|place, _| {
        race(place, || {
            let target = place.root().join("target");
            if target.is_symlink() {
                return Err(CallError::refused("mount on", "target", "it is a link"));
            }
            // The worst moment will come: here it is waited for, so that few tries are enough.
            (0..1000).take_while(|_| !target.is_symlink()).for_each(|_| std::thread::yield_now());
            naive_mount("tmpfs", &target)
        })
    });
    expect(&outcome(&place, [naive]), "escaped");
}

fn look_at_secret(_: &Place, _: &mut RootState) -> Result<Option<&'static str>, CallError> {
    let seen = std::fs::read_to_string("/secret").during("read", "/secret")?;
    Ok(Some(if seen.is_empty() { "masked" } else { "uncovered" }))
}

/// CVE-2025-31133: what a mask is made of is exchanged for a file that shows, or is written to.
fn a_null_device_that_is_none() {
    let arrange = |place: &Place| {
        std::fs::create_dir(place.root().join("dev")).unwrap();
        std::fs::write(place.root().join("secret"), "of the kernel").unwrap();
        std::fs::write(place.root().join("decoy"), "shown").unwrap();
    };
    let mask = || -> Attempt { RootfsStep::Mask(vec!["/secret".into()]).into() };
    let (_home, honest) = home(arrange);
    let null = rootfs::default_devices().into_iter().take(1).collect();
    let devices = RootfsStep::Devices(null, DeviceSupply::BindFromHost).into();
    let found = outcome(&honest, [devices, RootfsStep::PivotRoot.into(), mask(), honest.deed(look_at_secret)]);
    expect(&found, "masked");

    for link in [true, false] {
        let (_home, place) = home(arrange);
        let null = place.root().join("dev/null");
        if link {
            std::os::unix::fs::symlink("/decoy", null).unwrap()
        } else {
            std::fs::write(null, "shown").unwrap()
        }
        let found = outcome(&place, [RootfsStep::PivotRoot.into(), mask(), place.deed(look_at_secret)]);
        expect(&found, r#"mask with "/dev/null": it is not the null device"#);
        let naive =
            place.deed(|_, _| rustix::mount::mount_bind("/dev/null", "/secret").during("mount", "").map(|()| None));
        expect(&outcome(&place, [RootfsStep::PivotRoot.into(), naive, place.deed(look_at_secret)]), "uncovered");
    }
}

/// CVE-2025-52565: `/dev/console` is a link to a file that the terminal would then cover.
fn a_console_that_is_a_link() {
    let (_home, place) = home(|place| {
        std::fs::create_dir(place.root().join("dev")).unwrap();
        std::fs::write(place.root().join("victim"), "guards something").unwrap();
        std::fs::write(place.root().join("terminal"), "").unwrap();
        std::os::unix::fs::symlink("/victim", place.root().join("dev/console")).unwrap();
    });
    let terminal = || {
        place.deed(|_, _| {
            let file = rustix::fs::open("/terminal", OFlags::RDWR, Mode::empty()).during("open", "/terminal")?;
            rustix::stdio::dup2_stdin(&file).during("dup2", "/terminal").map(|()| None)
        })
    };
    let look = |_: &Place, _: &mut RootState| -> Result<Option<&'static str>, CallError> {
        let seen = std::fs::read_to_string("/victim").during("read", "/victim")?;
        Ok(Some(if seen.is_empty() { "covered" } else { "untouched" }))
    };
    let careful = [RootfsStep::PivotRoot.into(), terminal(), RootfsStep::Console.into(), place.deed(look)];
    expect(&outcome(&place, careful), r#"mount on "/dev/console": a symbolic link is in its place"#);
    let naive = place.deed(|_, _| {
        rustix::mount::mount_bind("/terminal", "/dev/console").during("mount", "/dev/console").map(|()| None)
    });
    expect(&outcome(&place, [RootfsStep::PivotRoot.into(), terminal(), naive, place.deed(look)]), "covered");
}

const FORWARD: &str = "proc/sys/net/ipv4/ip_forward";

/// CVE-2019-16884, CVE-2025-52881: `/proc/sys` is covered, so that what is written there goes elsewhere.
fn a_procfs_that_is_none() {
    let cover = |place: &Place, _: &mut RootState| -> Result<Option<&'static str>, CallError> {
        let sys = place.root().join("proc/sys");
        naive_mount("tmpfs", &sys)?;
        let file = place.root().join(FORWARD);
        std::fs::create_dir_all(file.parent().unwrap_or(&sys)).during("mkdir", file.display())?;
        std::fs::write(&file, "untouched").during("write", file.display()).map(|()| None)
    };
    let look = |_: &Place, _: &mut RootState| -> Result<Option<&'static str>, CallError> {
        let seen = std::fs::read_to_string(Path::new("/").join(FORWARD)).during("read", FORWARD)?;
        Ok(Some(if seen == "untouched" { "untouched" } else { "written through" }))
    };
    let (_home, place) = home(|place| std::fs::create_dir(place.root().join("proc")).unwrap());
    let set = RootfsStep::Parameters(vec![("net.ipv4.ip_forward".to_owned(), "1".to_owned())]);
    let found =
        outcome(&place, [proc(), place.deed(cover), RootfsStep::PivotRoot.into(), set.into(), place.deed(look)]);
    // Root has a procfs of its own to write to. A user namespace gets none while parts of /proc are covered, and
    // finds the cover in the mounted one.
    let refused = found.contains("EXDEV");
    assert!(found == "untouched" || refused, "{found}");
    let naive =
        place.deed(|_, _| std::fs::write(Path::new("/").join(FORWARD), "1").during("write", FORWARD).map(|()| None));
    let found = outcome(&place, [proc(), place.deed(cover), RootfsStep::PivotRoot.into(), naive, place.deed(look)]);
    expect(&found, "written through");
}

/// A procfs that the image brings as plain files: nothing is written there.
fn a_procfs_of_plain_files() {
    let (_home, place) = home(|place| {
        let file = place.root().join(FORWARD);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "untouched").unwrap();
    });
    let set = RootfsStep::Parameters(vec![("net.ipv4.ip_forward".to_owned(), "1".to_owned())]);
    let found = outcome(&place, [RootfsStep::PivotRoot.into(), set.into(), place.deed(|_, _| Ok(Some("done")))]);
    assert!(found == "done" || found.contains("it is another file system"), "{found}");
    assert_eq!(std::fs::read_to_string(place.root().join(FORWARD)).unwrap(), "untouched");
}

/// The descriptor's number: high, so that nothing else takes it.
const LEAKED: i32 = 77;

/// CVE-2024-21626: the working directory is a descriptor of the machine's that was left open.
fn a_working_directory_through_a_leaked_descriptor() {
    let (_home, place) = home(|place| std::fs::create_dir(place.root().join("proc")).unwrap());
    let leak = || {
        place.deed(|place, _| {
            let directory = OFlags::PATH | OFlags::DIRECTORY;
            let fd = rustix::fs::open(place.outside(), directory, Mode::empty()).during("open", "outside")?;
            let high = rustix::io::fcntl_dupfd_cloexec(&fd, LEAKED).during("dup", "outside")?;
            // Left open on purpose, for as long as the child lives.
            std::mem::forget(high);
            Ok(None)
        })
    };
    let look = |_: &Place, _: &mut RootState| -> Result<Option<&'static str>, CallError> {
        Ok(Some(if Path::new("secret").exists() { "escaped" } else { "stayed" }))
    };
    let path = PathBuf::from(format!("/proc/self/fd/{LEAKED}"));
    let careful = ProcessStep::ChangeDirectory(path);
    let found = outcome(&place, [leak(), proc(), RootfsStep::PivotRoot.into(), careful.into(), place.deed(look)]);
    expect(&found, "the directory lies outside the root");
    let naive = place.deed(|_, _| {
        rustix::process::chdir(format!("/proc/self/fd/{LEAKED}").as_str()).during("chdir", "fd").map(|()| None)
    });
    expect(&outcome(&place, [leak(), proc(), RootfsStep::PivotRoot.into(), naive, place.deed(look)]), "escaped");
}

fn main() {
    let escapes: [(&str, fn()); 8] = [
        ("a_link_in_place_of_proc_sys_or_dev", a_link_in_place_of_proc_sys_or_dev),
        ("devices_planted_through_a_link", devices_planted_through_a_link),
        ("a_target_that_is_exchanged_during_setup", a_target_that_is_exchanged_during_setup),
        ("a_null_device_that_is_none", a_null_device_that_is_none),
        ("a_console_that_is_a_link", a_console_that_is_a_link),
        ("a_procfs_that_is_none", a_procfs_that_is_none),
        ("a_procfs_of_plain_files", a_procfs_of_plain_files),
        ("a_working_directory_through_a_leaked_descriptor", a_working_directory_through_a_leaked_descriptor),
    ];
    let trial = |(name, work): (&str, fn())| {
        Trial::test(name, move || {
            if needs::user_namespaces() {
                work();
            }
            Ok::<(), Failed>(())
        })
    };
    // One thread means this very thread.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, escapes.into_iter().map(trial).collect()).exit();
}
