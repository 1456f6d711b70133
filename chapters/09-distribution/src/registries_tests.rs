//! What a configuration makes of a name.
#![allow(clippy::unwrap_used)]

use super::*;

fn registries(text: &str) -> Registries {
    Registries { rules: parse(text).unwrap() }
}

fn asked(registries: &Registries, name: &str) -> Vec<String> {
    let reference: Reference = name.parse().unwrap();
    let endpoints = registries.to_pull(&reference).unwrap();
    let mark = |at: &Endpoint| if at.insecure { "!" } else { "" };
    endpoints.iter().map(|at| format!("{}{}/{}", mark(at), at.registry, at.repository)).collect()
}

#[test]
fn mirrors_come_first_and_the_longest_prefix_wins() {
    let all = registries(
        r#"
        unqualified-search-registries = ["evil.example"]
        [[registry]]
        prefix = "docker.io"
        location = "hub.internal:5000/proxy/"
        [[registry.mirror]]
        location = "localhost:5001"
        insecure = true
        [[registry.mirror]]
        location = "mirror.example/hub"
        pull-from-mirror = "digest-only"
        [[registry]]
        location = "docker.io/library/busybox"
        [[registry]]
        prefix = "*.example.org"
        insecure = true
        "#,
    );
    let digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(asked(&all, "alpine"), ["!localhost:5001/library/alpine", "hub.internal:5000/proxy/library/alpine"]);
    assert_eq!(asked(&all, &format!("a/b{digest}"))[1], "mirror.example/hub/a/b");
    assert_eq!(asked(&all, "busybox:1"), ["docker.io/library/busybox"]);
    assert_eq!(
        asked(&all, "busybox2"),
        ["!localhost:5001/library/busybox2", "hub.internal:5000/proxy/library/busybox2"]
    );
    assert_eq!(asked(&all, "a.b.example.org/x"), ["!a.b.example.org/x"]);
    assert_eq!(asked(&all, "example.org/x"), ["example.org/x"]);
    assert_eq!(asked(&all, "docker.io.example/x"), ["docker.io.example/x"]);
}

#[test]
fn another_port_is_another_place_and_a_blocked_one_is_no_place() {
    let all = registries("[[registry]]\nlocation = \"example.org\"\nblocked = true");
    assert_eq!(asked(&all, "example.org:5000/x"), ["example.org:5000/x"]);
    let error = all.to_pull(&"example.org/x".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "example.org/x:latest: registries.conf blocks example.org");
    all.to_push(&"example.org/x".parse().unwrap()).unwrap_err();
}

#[test]
fn a_later_file_replaces_a_rule_and_a_malformed_one_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let (file, more) = (dir.path().join("registries.conf"), dir.path().join("registries.conf.d"));
    fs::create_dir(&more).unwrap();
    fs::write(&file, "[[registry]]\nlocation = \"a.example\"\nblocked = true").unwrap();
    fs::write(more.join("1.conf"), "[[registry]]\nlocation = \"a.example\"").unwrap();
    fs::write(more.join("README"), "not toml").unwrap();
    let places = [file.clone(), more, dir.path().join("absent.conf")];
    assert_eq!(asked(&Registries::read(&places).unwrap(), "a.example/x"), ["a.example/x"]);
    for (text, reason) in [
        ("[[registry]]\nlocation = 5", "line 2"),
        ("[[registry]]\nlocation = \"https://a\"", "without a scheme"),
        ("[[registry]]\ninsecure = true", "needs a location"),
        ("[registries.search]\nregistries = ['a']", "version 1"),
    ] {
        fs::write(&file, text).unwrap();
        let error = Registries::read(&places).unwrap_err().to_string();
        assert!(error.starts_with(&file.display().to_string()) && error.contains(reason), "{error}");
    }
}
