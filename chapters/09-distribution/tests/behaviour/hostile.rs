//! A registry that lies, and one that wants passwords which are not its own.
use std::sync::Arc;
use std::time::Duration;

use crate::sample;
use crate::scripted::{Answer, Asked, Scripted, answer};
use distribution::{Client, Credentials, Error, Login, Options, Silent, pull, resolve};
use images::{Descriptor, Manifest, Reference, Store, media};
use layers::Snapshots;

const BASIC: &str = "Basic YWxpY2U6c2VjcmV0"; // alice:secret

fn client(registry: &str) -> Client {
    let credentials = Credentials::anonymous().with(registry, Login::new("alice", "secret"));
    Client::new(credentials, Options { stall: Duration::from_secs(2), attempts: 3, ..Options::default() })
}

fn name(registry: &str) -> Reference {
    format!("{registry}/app:1").parse().unwrap()
}

fn not_found() -> Answer {
    answer("404 Not Found", &[], b"{}")
}

/// An image of one layer, as the documents that a registry would send.
struct Sample {
    config: Vec<u8>,
    layer: Vec<u8>,
    manifest: Vec<u8>,
}

impl Sample {
    fn new() -> Sample {
        let archive = sample::archive(&[("data", &sample::noise(600_000))]);
        let diff_id = layers::Digest::of(&archive);
        let layer = sample::gzip(&archive);
        let config =
            format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
        let parts = vec![Descriptor::of(media::OCI_LAYER_GZIP, &layer)];
        let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, config.as_bytes()), parts).to_bytes();
        Sample { config: config.into_bytes(), layer, manifest }
    }

    fn manifest_answer(&self) -> Answer {
        answer("200 OK", &[format!("Content-Type: {}", media::OCI_MANIFEST)], &self.manifest)
    }

    /// Answers honestly for everything but the layer.
    fn but_the_layer(&self, asked: &Asked, layer: impl Fn() -> Answer) -> Answer {
        let config = layers::Digest::of(&self.config).to_string();
        match asked.target.as_str() {
            target if target.contains("/manifests/") => self.manifest_answer(),
            target if target.ends_with(&config) => answer("200 OK", &[], &self.config),
            target if target.contains("/blobs/") => layer(),
            _ => not_found(),
        }
    }
}

fn pull_from(registry: &Scripted) -> Result<images::Image, Error> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
    let name = name(&registry.address());
    let result = pull(&client(&registry.address()), &name, &store, &snapshots, &Silent);
    assert_eq!(store.resolve(&name).unwrap().is_some(), result.is_ok(), "a name without its image");
    result
}

#[test]
fn a_redirect_carries_no_password_to_another_server() {
    let sample = Arc::new(Sample::new());
    let layer = sample.layer.clone();
    // The other server asks for a password, too; it must not get one.
    let storage = Scripted::at("127.0.0.1", move |asked| match asked.target.contains("greedy") {
        true => answer("401 Unauthorized", &["WWW-Authenticate: Basic realm=x".into()], b""),
        false => answer("200 OK", &[], &layer),
    });
    for place in ["plain", "greedy"] {
        let (sample, target) = (Arc::clone(&sample), format!("http://{}/{place}", storage.address()));
        let registry = Scripted::at("127.0.0.1", move |asked| match asked.authorization.as_deref() {
            Some(BASIC) => {
                sample.but_the_layer(asked, || answer("307 Temporary Redirect", &[format!("Location: {target}")], b""))
            }
            _ => answer("401 Unauthorized", &["WWW-Authenticate: Basic realm=x".into()], b""),
        });
        let result = pull_from(&registry);
        assert_eq!(result.is_ok(), place == "plain", "{place}");
        assert!(registry.asked().iter().any(|asked| asked.authorization.is_some()));
    }
    assert!(storage.asked().len() >= 2);
    assert!(storage.asked().iter().all(|asked| asked.authorization.is_none()), "{:?}", storage.asked());
}

#[test]
fn a_realm_elsewhere_gets_no_password() {
    let collector = Scripted::at("127.0.0.2", |_| answer("200 OK", &[], br#"{"token":"t"}"#));
    let realm = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"x\"", collector.address());
    let registry = Scripted::at("127.0.0.1", move |_| answer("401 Unauthorized", std::slice::from_ref(&realm), b""));
    let error = resolve(&client(&registry.address()), &name(&registry.address())).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let asked = collector.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
}

#[test]
fn a_redirect_into_the_open_or_to_a_strange_scheme_is_refused() {
    for target in ["http://192.0.2.1/x", "file:///etc/passwd", "gopher://127.0.0.1/", "//192.0.2.1/x", ""] {
        let location = format!("Location: {target}");
        let registry = Scripted::at("127.0.0.1", move |_| answer("302 Found", std::slice::from_ref(&location), b""));
        let error = resolve(&client(&registry.address()), &name(&registry.address())).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{target}: {error}");
    }
    let registry =
        Scripted::at("127.0.0.1", |asked| answer("302 Found", &[format!("Location: {}", asked.target)], b""));
    let error = resolve(&client(&registry.address()), &name(&registry.address())).unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
}

#[test]
fn a_manifest_that_is_not_its_digest_or_too_large_is_refused() {
    let sample = Sample::new();
    let digest = layers::Digest::of(b"something else");
    let headers = [format!("Content-Type: {}", media::OCI_MANIFEST), format!("Docker-Content-Digest: {digest}")];
    let registry = Scripted::at("127.0.0.1", move |_| answer("200 OK", &headers, &sample.manifest));
    let error = resolve(&client(&registry.address()), &name(&registry.address())).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");

    let endless = Scripted::at("127.0.0.1", |_| answer("200 OK", &[], &vec![b' '; 5 << 20]));
    let error = resolve(&client(&endless.address()), &name(&endless.address())).unwrap_err();
    assert!(error.to_string().contains("more than 4194304 bytes"), "{error}");

    let head = Scripted::at("127.0.0.1", |_| answer("200 OK", &[format!("X: {}", "x".repeat(1 << 20))], b""));
    resolve(&client(&head.address()), &name(&head.address())).unwrap_err();
}

#[test]
fn a_layer_of_the_wrong_bytes_or_length_is_refused() {
    let sample = Arc::new(Sample::new());
    let other = sample::gzip(&sample::archive(&[("data", b"other")]));
    let mut flipped = sample.layer.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let longer = [&sample.layer[..], b"x"].concat();
    for wrong in [other, flipped, longer] {
        let sample = Arc::clone(&sample);
        let registry =
            Scripted::at("127.0.0.1", move |asked| sample.but_the_layer(asked, || answer("200 OK", &[], &wrong)));
        let error = pull_from(&registry).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. } | Error::Layer { .. }), "{error}");
    }
}

#[test]
fn a_connection_that_breaks_is_made_again_and_goes_on_where_it_was() {
    let sample = Arc::new(Sample::new());
    for ranges in [true, false] {
        let sample = Arc::clone(&sample);
        let registry = Scripted::at("127.0.0.1", move |asked| {
            sample.but_the_layer(asked, || {
                let size = sample.layer.len();
                let start = asked
                    .range
                    .as_deref()
                    .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
                match start {
                    // The first time the line goes dead in the middle.
                    None => answer("200 OK", &[], &sample.layer)[..size / 2].to_vec(),
                    Some(start) if ranges => {
                        let range = format!("Content-Range: bytes {start}-{}/{size}", size - 1);
                        answer("206 Partial Content", &[range], &sample.layer[start..])
                    }
                    Some(_) => answer("200 OK", &[], &sample.layer),
                }
            })
        });
        pull_from(&registry).unwrap();
        assert_eq!(registry.asked().iter().filter(|asked| asked.range.is_some()).count(), 1);
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let sample = Sample::new();
    let registry = Scripted::at("127.0.0.1", move |asked| {
        sample.but_the_layer(asked, || {
            std::thread::sleep(Duration::from_secs(20));
            Vec::new()
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    let snapshots = Snapshots::open(dir.path().join("layers")).unwrap();
    let impatient = Options { stall: Duration::from_millis(200), attempts: 2, ..Options::default() };
    let client = Client::new(Credentials::anonymous(), impatient);
    let began = std::time::Instant::now();
    let error = pull(&client, &name(&registry.address()), &store, &snapshots, &Silent).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_says() {
    let sample = Sample::new();
    let times = std::sync::atomic::AtomicU32::new(0);
    let registry = Scripted::at("127.0.0.1", move |_| match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => answer("429 Too Many Requests", &["Retry-After: 1".into()], b""),
        _ => sample.manifest_answer(),
    });
    let began = std::time::Instant::now();
    resolve(&client(&registry.address()), &name(&registry.address())).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
}
