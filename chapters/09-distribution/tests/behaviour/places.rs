//! Where registries are and whom to trust there: encryption, certificates, mirrors, proxies, a token server; all of it real.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use distribution::{Client, Credentials, Error, Lines, Login, Machine, Options, Proxies, Silent, pull, push, resolve};
use images::{Reference, Store};
use layers::Snapshots;
use serde_json::json;

use crate::authority::{Authority, openssl};
use crate::debian_registry::DebianRegistry;
use crate::sample;
use crate::scripted::{Scripted, answer};

fn needs_met() -> bool {
    process::needs::root() && process::needs::program("docker-registry") && process::needs::program("openssl")
}

/// A client whose machine has these directories of certificates and this `registries.conf`.
fn client(dir: &Path, insecure: &[&str], proxies: Proxies) -> Client {
    let machine = Machine {
        registries: vec![dir.join("registries.conf")],
        certificates: vec![dir.join("certs.d")],
        authorities: Vec::new(),
        proxies,
    };
    let insecure = insecure.iter().map(|&name| name.to_owned()).collect();
    let options = Options { insecure, machine, attempts: 2, stall: Duration::from_secs(5), ..Options::default() };
    Client::new(Credentials::anonymous(), options)
}

fn encrypted(authority: &Authority, more: &str) -> DebianRegistry {
    authority.sign("server");
    let (certificate, key) = (authority.path("server.crt"), authority.path("server.key"));
    let http = format!("  tls:\n    certificate: {}\n    key: {}\n{more}", certificate.display(), key.display());
    DebianRegistry::configured(&http, "")
}

#[test]
fn an_encrypted_registry_is_trusted_for_its_authority_or_not_at_all() {
    if !needs_met() {
        return;
    }
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let authorities = format!("    clientcas:\n      - {}\n", authority.path("ca.crt").display());
    let (registry, strict) = (encrypted(&authority, ""), encrypted(&authority, &authorities));
    let name: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    let image = sample::image(&store, &name, &[&[("a", b"a")]]);
    let as_is = || client(dir.path(), &[], Proxies::default());

    // Without a word about it, this machine's own registries are spoken to in plain http.
    let error = push(&as_is(), &name, &store, &image, &Silent).unwrap_err();
    assert!(matches!(&error, Error::Status { status: 400, .. }), "{error}");
    assert!(error.hint().unwrap().contains("certs.d"), "{:?}", error.hint());
    // Told not to care, we find out that it is encrypted, and go on without proof.
    push(&client(dir.path(), &["*"], Proxies::default()), &name, &store, &image, &Silent).unwrap();

    let (place, other) = (dir.path().join("certs.d").join(registry.address()), Authority::new());
    other.install("ca.crt", &place, "ca.crt");
    let error = resolve(&as_is(), &name).unwrap_err();
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("certificate")), "{error}");
    assert!(error.hint().unwrap().contains("--tls-verify=false"), "{:?}", error.hint());
    authority.install("ca.crt", &place, "ca.crt");
    resolve(&as_is(), &name).unwrap();

    // One that wants to see a certificate, too.
    let private: Reference = format!("{}/app:1", strict.address()).parse().unwrap();
    let place = dir.path().join("certs.d").join(strict.address());
    authority.install("ca.crt", &place, "ca.crt");
    let error = push(&as_is(), &private, &store, &image, &Silent).unwrap_err();
    assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    authority.sign("client");
    authority.install("client.crt", &place, "client.cert");
    authority.install("client.key", &place, "client.key");
    push(&as_is(), &private, &store, &image, &Silent).unwrap();
}

#[test]
fn a_proxy_is_the_way_out_and_sees_only_where_to() {
    if !needs_met() {
        return;
    }
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let registry = encrypted(&authority, "");
    let (proxy, address) = (TcpListener::bind("127.0.0.1:0").unwrap(), registry.address());
    let url = format!("http://user:secret@{}", proxy.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    // It ends with the test's process.
    thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        tell.send(head).unwrap();
        let mut there = TcpStream::connect(address).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut up, mut down) = (stream.try_clone().unwrap(), there.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut up, &mut down));
        let _ = std::io::copy(&mut there, &mut stream);
    });
    authority.install("ca.crt", &dir.path().join("certs.d/registry.test:5000"), "ca.crt");
    let name: Reference = "registry.test:5000/app:1".parse().unwrap();
    let proxies = Proxies { https: Some(url), ..Proxies::default() };
    let error = resolve(&client(dir.path(), &[], proxies), &name).unwrap_err();
    assert!(matches!(error, Error::UnknownImage { .. }), "{error}");
    let head = told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(head[0], "CONNECT registry.test:5000 HTTP/1.1");
    let wanted = format!("proxy-authorization: Basic {}", STANDARD.encode("user:secret"));
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case(&wanted)), "{head:?}");
}

#[test]
fn a_mirror_is_asked_first_and_a_broken_one_hinders_nobody() {
    if !needs_met() {
        return;
    }
    let (dir, home, mirror) = (tempfile::tempdir().unwrap(), DebianRegistry::open(), DebianRegistry::open());
    let store = Store::open(dir.path().join("images")).unwrap();
    let plain = client(dir.path(), &[], Proxies::default());
    let send = |registry: &DebianRegistry, repository: &str| {
        let name: Reference = format!("{}/{repository}:1", registry.address()).parse().unwrap();
        let image = sample::image(&store, &name, &[&[("where", registry.address().as_bytes())]]);
        push(&plain, &name, &store, &image, &Silent).unwrap();
        image
    };
    let (at_home, _) = (send(&home, "proxy/library/app"), send(&home, "proxy/library/other"));
    let at_mirror = send(&mirror, "hub/library/app");
    let conf = format!(
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"{}/proxy\"\n\
         [[registry.mirror]]\nlocation = \"127.0.0.1:1\"\n[[registry.mirror]]\nlocation = \"{}/hub\"\n",
        home.address(),
        mirror.address()
    );
    fs::write(dir.path().join("registries.conf"), conf).unwrap();
    let client = client(dir.path(), &[], Proxies::default());
    let to = tempfile::tempdir().unwrap();
    let (store, snapshots) = (Store::open(to.path().join("i")).unwrap(), Snapshots::open(to.path().join("l")).unwrap());
    let lines = Lines::to(Vec::new());
    let name: Reference = "app:1".parse().unwrap();
    let pulled = pull(&client, &name, &store, &snapshots, &lines).unwrap();
    assert_eq!(pulled.id, at_mirror.id);
    assert!(store.resolve(&name).unwrap().is_some(), "it has the name that was asked for");
    let told = String::from_utf8(lines.into_inner()).unwrap();
    assert!(told.contains("127.0.0.1:1") && told.contains("asking the next place"), "{told}");
    // Only the registry itself has this one; and what is pushed goes there and to no mirror.
    resolve(&client, &"other:1".parse().unwrap()).unwrap();
    push(&client, &name, &store, &pulled, &Silent).unwrap();
    let there = resolve(&plain, &format!("{}/proxy/library/app:1", home.address()).parse().unwrap()).unwrap();
    assert_eq!(there.target.digest, at_mirror.target.digest);
    assert_ne!(there.target.digest, at_home.target.digest);
}

/// A token server whose tokens Debian's registry believes: `alice:secret` may do what she asks for, others only read.
fn token_server(dir: &Path) -> Scripted {
    let (key, certificate) = (dir.join("token.key"), dir.join("token.crt"));
    let file = |path: &Path| path.display().to_string();
    openssl(
        &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens"],
        &["-keyout", &file(&key), "-out", &file(&certificate)],
    );
    let der = STANDARD.encode(openssl(&["x509", "-outform", "DER"], &["-in", &file(&certificate)]));
    let (signed, one_at_a_time) = (dir.join("signed"), Mutex::new(()));
    Scripted::at("127.0.0.1", move |asked| {
        let query = asked.target.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
        let scope = query.split("scope=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        let parts: Vec<&str> = scope.split(':').collect();
        let alice = asked.authorization.as_deref() == Some("Basic YWxpY2U6c2VjcmV0");
        let actions: Vec<&str> = parts[2].split(',').filter(|action| alice || *action == "pull").collect();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let head = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
        let claims = json!({ "iss": "a test", "sub": "", "aud": "a registry", "exp": now + 300, "nbf": now - 10, "iat": now,
                             "jti": "1", "access": [{ "type": parts[0], "name": parts[1], "actions": actions }] });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(head), encode(claims));
        let _alone = one_at_a_time.lock().unwrap();
        fs::write(&signed, &text).unwrap();
        let signature =
            openssl(&["dgst", "-sha256", "-sign", &key.display().to_string()], &[&signed.display().to_string()]);
        let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        answer("200 OK", &[], json!({ "token": token, "expires_in": 300 }).to_string().as_bytes())
    })
}

#[test]
fn a_registry_with_a_token_server_lets_in_whom_it_should() {
    if !needs_met() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tokens = token_server(dir.path());
    let auth = format!(
        "auth:\n  token:\n    realm: http://{}/token\n    service: a registry\n    issuer: a test\n    rootcertbundle: {}\n",
        tokens.address(),
        dir.path().join("token.crt").display()
    );
    let registry = DebianRegistry::configured("", &auth);
    let name: Reference = format!("{}/team/app:1", registry.address()).parse().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    let image = sample::three_layers(&store, &name);
    let anybody = Client::new(Credentials::anonymous(), Options::default());
    let error = push(&anybody, &name, &store, &image, &Silent).unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let login = Credentials::anonymous().with(&registry.address(), Login::new("alice", "secret"));
    let before = tokens.asked().len();
    push(&Client::new(login, Options::default()), &name, &store, &image, &Silent).unwrap();
    assert_eq!(tokens.asked().len(), before + 1, "one token for four blobs at once");
    let to = tempfile::tempdir().unwrap();
    let (store, snapshots) = (Store::open(to.path().join("i")).unwrap(), Snapshots::open(to.path().join("l")).unwrap());
    assert_eq!(pull(&anybody, &name, &store, &snapshots, &Silent).unwrap().id, image.id);
}
