//! Logins are found by exactly the name that they were given for.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn config(content: &Value) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    fs::write(&path, content.to_string()).unwrap();
    (directory, path)
}

#[test]
fn a_login_is_found_by_its_registry_and_by_no_other_name() {
    let auth = STANDARD.encode("alice:se:cret");
    let (_directory, path) = config(&json!({ "auths": {
        "https://index.docker.io/v1/": { "auth": auth },
        "localhost:5000": { "auth": auth },
        "https://old.example.org/v2/": { "auth": auth },
    }}));
    let credentials = Credentials::from_file(&path).unwrap();
    for registry in ["docker.io", "localhost:5000", "old.example.org"] {
        assert_eq!(credentials.find(registry).unwrap(), Some(Login::new("alice", "se:cret")), "{registry}");
    }
    for registry in ["localhost", "localhost:5001", "example.org", "x.old.example.org", "io"] {
        assert_eq!(credentials.find(registry).unwrap(), None, "{registry}");
    }
}

#[test]
fn storing_keeps_what_others_wrote_and_makes_the_file_private() {
    let (_directory, path) = config(&json!({ "psFormat": "table", "auths": { "a": { "auth": "eDp5" } } }));
    let login = Login::new("bob", "hunter2");
    DockerConfig::store(&path, "localhost:5000", &login).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let credentials = Credentials::from_file(&path).unwrap();
    assert_eq!(credentials.find("localhost:5000").unwrap(), Some(login));
    assert_eq!(credentials.find("a").unwrap(), Some(Login::new("x", "y")));
    assert!(fs::read_to_string(&path).unwrap().contains("psFormat"));
    assert!(DockerConfig::erase(&path, "localhost:5000").unwrap());
    assert!(!DockerConfig::erase(&path, "localhost:5000").unwrap());
    assert_eq!(Credentials::from_file(&path).unwrap().find("localhost:5000").unwrap(), None);
}

#[test]
fn no_file_is_no_logins_and_a_broken_file_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    assert_eq!(Credentials::from_file(&path).unwrap().find("a").unwrap(), None);
    fs::write(&path, "{ oops").unwrap();
    let error = Credentials::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("line 1"), "{error}");
    fs::write(&path, r#"{"auths":{"a":{"auth":"!"}}}"#).unwrap();
    let error = Credentials::from_file(&path).unwrap().find("a").unwrap_err().to_string();
    assert!(error.contains("auths.\"a\".auth"), "{error}");
}

#[test]
fn a_secret_is_in_no_debug_output() {
    let credentials = Credentials::anonymous().with("a", Login::new("alice", "hunter2"));
    let shown = format!("{credentials:?} {:?}", Login::IdentityToken("hunter2".into()));
    assert!(shown.contains("alice") && !shown.contains("hunter2"), "{shown}");
}
