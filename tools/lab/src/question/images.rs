//! Chapter 8: what an image is called, and which machine it is for.

use super::Ask;
use crate::scene::Scene;
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("names-are-complete", names_are_complete),
    ("platforms-are-read", platforms_are_read),
    ("platforms-fit", platforms_fit),
];

/// Is the first part of a name a registry, or the beginning of a path?
fn names_are_complete(scene: &Scene) -> Asked {
    let [a, b, host] = [scene.name(), scene.name(), scene.name()];
    let port = scene.number(1000, 9999);
    for (text, full) in [
        (a.clone(), format!("docker.io/library/{a}:latest")),
        (format!("{a}/{b}"), format!("docker.io/{a}/{b}:latest")),
        (format!("{host}.example/{a}"), format!("{host}.example/{a}:latest")),
        (format!("{host}:{port}/{a}"), format!("{host}:{port}/{a}:latest")),
        (format!("localhost/{a}"), format!("localhost/{a}:latest")),
        (format!("index.docker.io/{a}"), format!("docker.io/library/{a}:latest")),
        (format!("docker.io/{a}/{b}"), format!("docker.io/{a}/{b}:latest")),
    ] {
        let ran = scene.run(scene.program().args(["name", &text]))?;
        if ran.line() != full {
            let because =
                "a registry has a dot, a port or a capital letter, or is localhost; all else is the Hub's (chapter 8)";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong(
                "your image comes from another registry than it says",
                format!("{text}: {full}"),
                found,
                because,
            ));
        }
    }
    Ok(())
}

/// `OS/ARCHITECTURE[/VARIANT]`, with the two names that `uname` has for what the specification calls otherwise.
fn platforms_are_read(scene: &Scene) -> Asked {
    let word = scene.name();
    for (text, expected) in [
        ("linux/x86_64".to_owned(), "linux/amd64".to_owned()),
        ("linux/aarch64/v8".to_owned(), "linux/arm64/v8".to_owned()),
        (format!("linux/{word}"), format!("linux/{word}")),
    ] {
        let ran = scene.run(scene.program().args(["platform", &text]))?;
        if ran.line() != expected {
            let because = "people write what `uname -m` prints; images say amd64 and arm64 (chapter 8)";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong("your platform has another name", format!("{text}: {expected}"), found, because));
        }
    }
    for text in ["linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/am d64"] {
        let ran = scene.run(scene.program().args(["platform", text]))?;
        if !ran.line().starts_with("refused:") {
            let because =
                "a platform that is not understood fits no image, and the message would blame the image (chapter 8)";
            return Err(wrong(
                "your program takes what is no platform",
                format!("{text:?} is refused"),
                ran.line(),
                because,
            ));
        }
    }
    Ok(())
}

/// An image for an older variant runs, one for a newer does not, and the nearest is the best.
fn platforms_fit(scene: &Scene) -> Asked {
    let (old, new) = (scene.number(5, 6), 7);
    for (image, machine, expected) in [
        ("linux/amd64".to_owned(), "linux/amd64", "Some(0)".to_owned()),
        (format!("linux/arm/v{old}"), "linux/arm/v7", format!("Some({})", new - old)),
        ("linux/arm/v7".to_owned(), "linux/arm/v6", "None".to_owned()),
        ("linux/arm".to_owned(), "linux/arm/v7", "Some(0)".to_owned()),
        ("linux/arm64".to_owned(), "linux/arm64/v8", "Some(0)".to_owned()),
        ("linux/amd64/v3".to_owned(), "linux/amd64", "None".to_owned()),
        ("linux/arm64".to_owned(), "linux/amd64", "None".to_owned()),
        ("windows/amd64".to_owned(), "linux/amd64", "None".to_owned()),
    ] {
        let ran = scene.run(scene.program().args(["fits", &image, machine]))?;
        if ran.line() != expected {
            let because = "an index offers one image for each machine: the wrong one ends with \"exec format error\", or an illegal instruction (chapter 8)";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong(
                "your machine is offered an image that is not for it",
                format!("{image} on {machine}: {expected}"),
                found,
                because,
            ));
        }
    }
    Ok(())
}
