//! Chapter 3: a root of its own, as its mount namespace shows it.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use anyhow::Context;

use super::Ask;
use crate::observation::{own_root, place, what};
use crate::scene::{Live, Scene, write};
use crate::verdict::{Asked, Stop, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("root-is-its-own", root_is_its_own),
    ("devices-are-there", devices_are_there),
    ("secrets-are-masked", secrets_are_masked),
    ("walk-stays-inside", walk_stays_inside),
];

fn contained(scene: &Scene) -> Result<Live, Stop> {
    scene.start(scene.program().arg("--root").arg(scene.root()).args(["--", &scene.probe(), "--hold"]))
}

fn driven(scene: &Scene, mode: &str) -> Result<Live, Stop> {
    scene.start(scene.program().arg(mode).arg(scene.root()).args([&scene.probe(), "--hold"]))
}

/// Is the host's root gone from the container's mount namespace?
fn root_is_its_own(scene: &Scene) -> Asked {
    let host_root = own_root()?;
    let live = driven(scene, "bare")?;
    let inside = live.proc("mountinfo")?;
    let is_host_root = |line: &&str| what(line).is_some() && what(line) == what(&host_root);
    if let Some(line) = inside.lines().find(is_host_root) {
        return Err(wrong(
            "your container still sees the host's root",
            "no mount of the host's / in /proc/1/mountinfo",
            line,
            "after pivot_root the old root stays mounted until you detach it (chapter 3, \"Letting go\")",
        ));
    }
    let look = scene.look(live.pid)?;
    if let Some(line) = look.mounts.iter().map(String::as_str).find(is_host_root) {
        return Err(wrong(
            "your container only looks away from the host's root",
            "no mount of the host's / at the root of its mount namespace",
            line,
            "chroot changes what one process calls /, the mount namespace keeps the host's tree (chapter 3, \"Why not chroot\")",
        ));
    }
    if look.marker_reachable {
        return Err(wrong(
            "a file of the host can be opened in your container",
            "ENOENT for a file that lies outside the new root",
            "it was opened, from the root of the mount namespace",
            "some mount of the host is still there (chapter 3, \"Letting go\")",
        ));
    }
    Ok(())
}

/// `/dev`: six devices, each with the right number, and the links that programs expect.
fn devices_are_there(scene: &Scene) -> Asked {
    let live = driven(scene, "devices")?;
    let dev = format!("/proc/{}/root/dev", live.pid);
    let because = "programs open these by name, and a wrong number is another device (chapter 3, \"The code\")";
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let expected = format!("/dev/{name}: a character device {major}:{minor}");
        let found = match std::fs::symlink_metadata(format!("{dev}/{name}")) {
            Ok(node) if node.file_type().is_char_device() && node.rdev() == nix::sys::stat::makedev(major, minor) => {
                continue;
            }
            Ok(node) => format!("mode {:o}, device {}:{}", node.mode(), node.rdev() >> 8, node.rdev() & 0xff),
            Err(error) => error.to_string(),
        };
        return Err(wrong("a device is missing in your container", expected, found, because));
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("ptmx", "pts/ptmx")] {
        let found = std::fs::read_link(format!("{dev}/{name}"));
        if found.as_deref().ok() != Some(Path::new(target)) {
            let because =
                "shells write /dev/stderr, and openpty(3) opens /dev/ptmx: both are links (chapter 3, \"The code\")";
            let found = found.map_or_else(|error| error.to_string(), |path| path.display().to_string());
            return Err(wrong(
                "a link is missing in your container's /dev",
                format!("/dev/{name} -> {target}"),
                found,
                because,
            ));
        }
    }
    Ok(())
}

/// Every masked path that this kernel has is covered; a directory by an empty one, a file by `/dev/null`.
fn secrets_are_masked(scene: &Scene) -> Asked {
    let live = contained(scene)?;
    let root = format!("/proc/{}/root", live.pid);
    let mounts = live.proc("mountinfo")?;
    let covered: BTreeMap<&str, &str> = mounts.lines().filter_map(|line| Some((place(line)?, line))).collect();
    let masked = [
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/acpi",
        "/sys/firmware",
        "/sys/dev/block",
    ];
    for path in masked {
        // What the machine itself does not have cannot be masked.
        let Ok(there) = std::fs::metadata(path) else { continue };
        let because = "what is masked tells of the whole machine, or changes it (chapter 3, \"The code\")";
        let Some(line) = covered.get(path) else {
            return Err(wrong(
                "your container can read what it should not",
                format!("{path} is covered by a mount"),
                "no mount there",
                because,
            ));
        };
        let cover = std::fs::metadata(format!("{root}{path}")).context("the probe is gone")?;
        let right = match there.is_dir() {
            true => {
                line.contains(" - tmpfs ")
                    && std::fs::read_dir(format!("{root}{path}")).is_ok_and(|mut dir| dir.next().is_none())
            }
            false => cover.rdev() == nix::sys::stat::makedev(1, 3),
        };
        if !right {
            let expected = format!("{path}: {}", if there.is_dir() { "an empty tmpfs" } else { "/dev/null" });
            return Err(wrong("something else than nothing covers a secret", expected, *line, because));
        }
        if there.is_dir() && !line.split(' ').nth(5).is_some_and(|options| options.split(',').any(|one| one == "ro")) {
            let because = "a cover that can be written to is a place to hide things, in a path that tools trust (chapter 3, \"The code\")";
            return Err(wrong("your container can write into a cover", format!("{path}: mounted ro"), *line, because));
        }
    }
    Ok(())
}

/// Paths with links and `..`, walked by hand: they end where the kernel's own resolver would, and never outside.
fn walk_stays_inside(scene: &Scene) -> Asked {
    let root = scene.scratch().join(scene.name());
    let [a, b, file, link, up, far] = std::array::from_fn(|_| scene.name());
    write(&root.join(&a).join(&b).join(&file), "inside\n", 0o644)?;
    write(&root.join("etc").join(&file), "inside\n", 0o644)?;
    symlink(format!("/{a}/{b}"), root.join(&a).join(&link)).context("symlink")?;
    symlink(format!("../../../etc/{file}"), root.join(&a).join(&up)).context("symlink")?;
    symlink(format!("{link}/../{b}"), root.join(&a).join(&far)).context("symlink")?;
    let cases = [
        (format!("{a}/{b}/{file}"), format!("{a}/{b}/{file}"), "a plain path"),
        (format!("{a}/{link}/{file}"), format!("{a}/{b}/{file}"), "a link with an absolute target"),
        (format!("../../{a}/./{b}/../{b}/{file}"), format!("{a}/{b}/{file}"), "`..` at the root"),
        (format!("{a}/{up}"), format!("etc/{file}"), "a link that climbs"),
        (format!("{a}/{far}/{file}"), format!("{a}/{b}/{file}"), "a link through a link"),
    ];
    for (path, expected, what) in cases {
        let ran = scene.run(scene.program().arg("--root").arg(&root).args(["--resolve", &path]))?;
        let found = ran.out.lines().find_map(|line| line.strip_prefix("by walking")).unwrap_or_default().trim();
        if Path::new(found) != root.join(&expected) {
            let outside = Path::new(found).is_absolute() && !Path::new(found).starts_with(&root);
            let summary =
                if outside { "your walk leaves the root" } else { "your walk ends elsewhere than the kernel's" };
            let because = "a link's target takes the link's place in the path, and the root is as high as it goes (chapter 3, \"Break it\")";
            let told = |place: &str| place.replace(&root.display().to_string(), "ROOT");
            let found = if found.is_empty() { ran.told() } else { told(found) };
            return Err(wrong(summary, format!("{what}: {path} is ROOT/{expected}"), found, because));
        }
    }
    // The slash stands behind the link's name, and its target has none.
    let path = format!("{a}/{up}/");
    let ran = scene.run(scene.program().arg("--root").arg(&root).args(["--resolve", &path]))?;
    let found = ran.out.lines().find_map(|line| line.strip_prefix("by walking")).unwrap_or_default().trim();
    if !found.starts_with("nothing:") || !found.contains("ENOTDIR") {
        let because =
            "a path that ends in a slash means a directory, whatever a link in it says (chapter 3, \"Break it\")";
        let expected = "a link to a file, and a slash behind it: ENOTDIR";
        return Err(wrong(
            "your walk forgets a slash",
            expected,
            found.replace(&root.display().to_string(), "ROOT"),
            because,
        ));
    }
    Ok(())
}
