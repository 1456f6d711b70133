#![allow(clippy::unwrap_used)]

use super::*;

fn full(text: &str) -> String {
    text.parse::<Reference>().unwrap_or_else(|error| panic!("{error}")).to_string()
}

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn names_mean_what_they_mean_to_docker() {
    for (typed, meant) in [
        ("python", "docker.io/library/python:latest"),
        ("python:3.9-slim", "docker.io/library/python:3.9-slim"),
        ("user/app", "docker.io/user/app:latest"),
        ("library/python", "docker.io/library/python:latest"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/python", "docker.io/library/python:latest"),
        ("docker.io/user/app:1", "docker.io/user/app:1"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("localhost:5000/x:5000", "localhost:5000/x:5000"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x:latest"),
        ("example.org/a__b/c.d/e-f/g---h", "example.org/a__b/c.d/e-f/g---h:latest"),
        ("Upper/app", "Upper/app:latest"),
        ("x_y:_TAG.-9", "docker.io/library/x_y:_TAG.-9"),
        ("a", "docker.io/library/a:latest"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
        ("xn--n3h.com/myimage", "xn--n3h.com/myimage:latest"),
    ] {
        assert_eq!(full(typed), meant, "{typed}");
    }
}

#[test]
fn a_digest_pins_and_takes_no_default_tag() {
    let pinned = format!("example.org/a@sha256:{HEX}");
    assert_eq!(full(&pinned), pinned);
    let both = format!("a:1@sha256:{HEX}");
    assert_eq!(full(&both), format!("docker.io/library/{both}"));
    assert_eq!(both.parse::<Reference>().unwrap().tag(), Some("1"));
}

#[test]
fn what_docker_refuses_is_refused() {
    let long = format!("example.org/{}", "a".repeat(256));
    let long_tag = format!("a:{}", "t".repeat(129));
    let short_digest = format!("a@sha256:{}", &HEX[1..]);
    let with_id_port = format!("{HEX}:1");
    for text in [
        "",
        ":tag",
        "a:",
        "a@",
        "/a",
        "a/",
        "a//b",
        "A",
        "user/App",
        "docker.io/",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "a b",
        "a:b:c",
        "a:.hidden",
        "a:-dash",
        "../etc/passwd",
        "example.org/../x",
        "http://example.org/x",
        "-host.org/x",
        "host-.org/x",
        "localhost:port/x",
        "localhost:99999/x",
        "localhost:+80/x",
        "[::1/x",
        "[zz]:5000/x",
        "[::1]5000/x",
        "a\u{0}b",
        "é/x",
        "a@md5:00",
        HEX,
        &with_id_port,
        &long,
        &long_tag,
        &short_digest,
    ] {
        assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
    }
}

#[test]
fn familiar_is_what_people_write() {
    for (typed, familiar) in [
        ("python", "python:latest"),
        ("docker.io/library/python:3", "python:3"),
        ("user/app", "user/app:latest"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
    ] {
        let reference: Reference = typed.parse().unwrap();
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference, "{typed}");
    }
}

#[test]
fn parts_and_changes_of_parts() {
    let reference: Reference = "localhost:5000/a/b:1".parse().unwrap();
    assert_eq!((reference.registry(), reference.repository()), ("localhost:5000", "a/b"));
    assert_eq!((reference.tag(), reference.digest()), (Some("1"), None));
    assert_eq!(reference.with_tag("2").unwrap().to_string(), "localhost:5000/a/b:2");
    assert!(reference.with_tag("no/slash").is_err());
    let pinned = reference.with_digest(Digest::of(b""));
    assert_eq!(pinned.to_string(), format!("localhost:5000/a/b@sha256:{HEX}"));
}
