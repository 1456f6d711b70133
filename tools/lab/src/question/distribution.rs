//! Chapter 9: what a registry says, and where it may lead.

use super::Ask;
use crate::scene::Scene;
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("challenges-are-read", challenges_are_read),
    ("redirects-are-judged", redirects_are_judged),
    ("locations-are-resolved", locations_are_resolved),
];

/// Parameters as servers write them, and as an attacker would.
fn challenges_are_read(scene: &Scene) -> Asked {
    let [host, service, name] = [scene.name(), scene.name(), scene.name()];
    let realm = format!("https://{host}.example/token");
    let shown =
        |scope: &str| format!("Some(Bearer {{ realm: {realm:?}, service: Some({service:?}), scope: {scope} }})");
    let full = shown(&format!("Some(\"repository:{name}:pull,push\")"));
    for (header, expected) in [
        (format!("Bearer realm=\"{realm}\",service=\"{service}\",scope=\"repository:{name}:pull,push\""), full.clone()),
        (format!("bearer  realm=\"{realm}\" , service={service} ,, scope=\"repository:{name}:pull,push\""), full),
        (format!("Bearer service={service},realm=\"{realm}\""), shown("None")),
        (
            format!("Bearer service=\"a\\\"{service}\",realm=\"{realm}\""),
            shown("None").replace(&format!("Some({service:?})"), &format!("Some(\"a\\\"{service}\")")),
        ),
        (format!("Bearer realm=\"{realm}"), "None".to_owned()),
        (format!("Bearer {}realm=\"{realm}\"", "x=y,".repeat(40)), "None".to_owned()),
    ] {
        let ran = scene.run(scene.program().args(["challenge", &header]))?;
        if ran.line() != expected {
            let because = "a token is fetched from the address that stands here: read wrongly, it is fetched from somebody else (chapter 9)";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong(
                "your client understands another challenge",
                format!("{}: {expected}", header.chars().take(90).collect::<String>()),
                found,
                because,
            ));
        }
    }
    Ok(())
}

/// Where a request may go on, and where a stranger must not lead it.
fn redirects_are_judged(scene: &Scene) -> Asked {
    let [a, b] = [scene.name(), scene.name()].map(|name| format!("{name}.example"));
    for (from, to, allowed) in [
        (format!("https://{a}"), format!("https://{b}"), true),
        (format!("https://{a}"), format!("http://{a}"), false),
        (format!("https://{a}"), "http://127.0.0.1:5000".to_owned(), false),
        (format!("https://{a}"), "https://localhost".to_owned(), false),
        ("http://127.0.0.1:5000".to_owned(), "http://127.0.0.1:5001".to_owned(), true),
        ("http://localhost:5000".to_owned(), format!("https://{b}"), true),
        (format!("http://{a}"), format!("http://{a}"), true),
        (format!("http://{a}"), format!("http://{b}"), false),
    ] {
        let ran = scene.run(scene.program().args(["leads", &from, &to]))?;
        if ran.line() != allowed.to_string() {
            let because = "a registry may point elsewhere, but never into the open, nor to servers that only this machine can reach (chapter 9)";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong(
                "a stranger leads your client where it must not go, or not where it may",
                format!("from {from} to {to}: {allowed}"),
                found,
                because,
            ));
        }
    }
    Ok(())
}

/// `Location` headers: whole URLs and absolute paths, and nothing that has to be guessed.
fn locations_are_resolved(scene: &Scene) -> Asked {
    let [a, b, path] = [scene.name(), scene.name(), scene.name()];
    let port = scene.number(1000, 9999);
    let asked = format!("https://{a}.example:{port}/v2/x");
    for (location, expected) in [
        (format!("/v2/{path}?q=1"), format!("https://{a}.example:{port}/v2/{path}?q=1")),
        (format!("https://{b}.example/{path}"), format!("https://{b}.example/{path}")),
        (format!("//{b}.example/{path}"), "refused".to_owned()),
        (format!("{path}/next"), "refused".to_owned()),
        (format!("ftp://{b}.example/{path}"), "refused".to_owned()),
        (format!("https://{a}.example@{b}.example/"), "refused".to_owned()),
    ] {
        let ran = scene.run(scene.program().args(["location", &asked, &location]))?;
        if ran.line() != expected {
            let because = "a URL that is misunderstood is worse than one that is not followed (chapter 9)";
            let found = if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() };
            return Err(wrong(
                "your client goes on at another place",
                format!("{location}: {expected}"),
                found,
                because,
            ));
        }
    }
    Ok(())
}
