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

/// Names that Docker's own tests try its grammar with, and what they mean there.
const ACCEPTED: &[(&str, &str)] = &[
    ("test_com", "docker.io/library/test_com:latest"),
    ("test.com:tag", "docker.io/library/test.com:tag"),
    ("test.com:5000", "docker.io/library/test.com:5000"),
    ("test.com/repo:tag", "test.com/repo:tag"),
    ("test:5000/repo", "test:5000/repo:latest"),
    ("test:5000/repo:tag", "test:5000/repo:tag"),
    ("test:5000/repo@sha256:F64", "test:5000/repo@sha256:F64"),
    ("test:5000/repo:tag@sha256:F64", "test:5000/repo:tag@sha256:F64"),
    ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"),
    ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com/bar/baz/quux:latest"),
    ("b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io/test.example.com/my-app:test.example.com"),
    ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
    ("xn--7o8h.com/myimage:xn--7o8h.com@sha512:F128", "xn--7o8h.com/myimage:xn--7o8h.com@sha512:F128"),
    ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
    ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
    ("192.168.0.1", "docker.io/library/192.168.0.1:latest"),
    ("192.168.0.1:80", "docker.io/library/192.168.0.1:80"),
    ("192.168.0.1:8/debian", "192.168.0.1:8/debian:latest"),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo:5050"),
    ("[2001:db8::1]/repo", "[2001:db8::1]/repo:latest"),
    ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag"),
    ("[2001:db8::]:5000/repo", "[2001:db8::]:5000/repo:latest"),
    ("[fc00:1:2:3:4:5:6:7]:5000/library/debian", "[fc00:1:2:3:4:5:6:7]:5000/library/debian:latest"),
    ("localhost/library/debian", "localhost/library/debian:latest"),
    ("LOCALDOMAIN/debian", "LOCALDOMAIN/debian:latest"),
    ("Docker/docker", "Docker/docker:latest"),
    ("MyRegistry/foo", "MyRegistry/foo:latest"),
    ("docker.io/ID", "docker.io/library/ID:latest"),
    ("ID:1", "docker.io/library/ID:1"),
    ("SONG", "docker.io/library/SONG:latest"),
    ("docker---rules/docker", "docker.io/docker---rules/docker:latest"),
    ("d/docker", "docker.io/d/docker:latest"),
    ("dock__er/docker", "docker.io/dock__er/docker:latest"),
];

/// Names that they expect to be refused.
const REFUSED: &[&str] = &[
    ":justtag",
    "@sha256:F64",
    "repo@sha256:ffffffffffffffffffffffffffffffffff",
    "validname@invaliddigest:F128",
    "Uppercase:tag",
    "test:5000/Uppercase/lowercase:tag",
    "A128/a:tag",
    "aa/asdf$$^/aa",
    "https://github.com/docker/docker",
    "docker/Docker",
    "-docker",
    "-docker/docker",
    "-docker.io/docker/docker",
    "docker///docker",
    "docker.io/docker/Docker",
    "docker.io/docker///docker",
    "_docker/_docker",
    "docker-/docker",
    "docker_/docker",
    "dock___er/docker",
    "____/____",
    "[2001:db8::1]",
    "[2001:db8::1]:5000",
    "[2001:db8::1]:tag",
    "fc00::1:5000/debian",
    "[fe80::1%eth0]:5000/debian",
    "[fe80::1%@invalidzone]:5000/repo",
    "[2001:db8:3:4::192.0.2.33]:5000/debian",
    "ID",
];

/// The long parts of those names.
fn spelled_out(template: &str) -> String {
    let id = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";
    let song = "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev";
    let text = template.replace("ID", id).replace("SONG", song).replace("A128/", &"a/".repeat(128));
    text.replace("F128", &"f".repeat(128)).replace("F64", &"f".repeat(64))
}

/// Facts, whatever one thinks of them.
#[test]
fn docker_s_table_of_odd_names() {
    for (typed, meant) in ACCEPTED {
        assert_eq!(full(&spelled_out(typed)), spelled_out(meant), "{typed}");
    }
    for typed in REFUSED {
        assert!(spelled_out(typed).parse::<Reference>().is_err(), "{typed} was accepted");
    }
}
