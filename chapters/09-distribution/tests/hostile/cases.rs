//! The ways in which a registry may misbehave, each by a name and what it does.

use images::media;
use layers::Digest;
use serde_json::json;

use crate::sample;
use crate::server::{Act, Asked, head, whole};
use crate::world::World;

/// A name, and a registry.
pub(crate) type Case = (&'static str, Box<dyn Fn(&Asked) -> Act + Send + Sync>);

/// A registry that always does the same.
fn always(name: &'static str, act: Act) -> Case {
    (name, Box::new(move |_| act.clone()))
}

/// A registry whose image is spoilt, and which is honest about that.
fn image(name: &'static str, world: World) -> Case {
    (name, Box::new(move |asked| world.answer(asked)))
}

/// A registry that is honest about everything but its layer.
fn layer(name: &'static str, act: impl Fn(&World, &Asked) -> Act + Send + Sync + 'static) -> Case {
    let world = World::honest();
    let script = move |asked: &Asked| if world.is_layer(asked) { act(&world, asked) } else { world.answer(asked) };
    (name, Box::new(script))
}

/// A registry that wants a token from `realm`, where it says `token`.
fn realm(name: &'static str, realm: &'static str, token: Act) -> Case {
    let script = move |asked: &Asked| {
        if asked.target.starts_with("/token") {
            return token.clone();
        }
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{}\"", realm.replace("HOST", &asked.host));
        whole("401 Unauthorized", &[&challenge], b"")
    };
    (name, Box::new(script))
}

pub(crate) fn all() -> Vec<Case> {
    [answers(), doormen(), redirects(), manifests(), indexes(), configs(), layers(), archives()]
        .into_iter()
        .flatten()
        .collect()
}

fn answers() -> Vec<Case> {
    let json = |text: &str| format!(r#"{{"errors":[{{"code":"X","message":"{text}"}}]}}"#).into_bytes();
    let far = "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT";
    vec![
        always("no such image", whole("404 Not Found", &[], &json("manifest unknown"))),
        always("an error of its own, each time", whole("500 Internal Server Error", &[], b"<html>")),
        always("busy for an hour", whole("503 Service Unavailable", &["Retry-After: 3600"], b"")),
        always("busy until the end of time", whole("429 Too Many Requests", &[far], b"")),
        always("busy, in no words of this world", whole("429 Too Many Requests", &["Retry-After: soon"], b"")),
        always(
            "a limit is reached",
            whole(
                "429 Too Many Requests",
                &["Retry-After: 86400", "RateLimit-Limit: 100;w=21600", "RateLimit-Remaining: 0;w=21600"],
                &json("You have reached your pull rate limit"),
            ),
        ),
        always("it hangs up without a word", Act::Send(Vec::new())),
        always("it says nothing", Act::Stall(Vec::new())),
        always("it stalls in the middle of a head", Act::Stall(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec())),
        always("a head, byte by byte", Act::Trickle(Vec::new(), head("200 OK", &["X: y"; 100]))),
        always(
            "a head without end",
            Act::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: yyyyyyyyyyyyyyyyyyyyyy\r\n".to_vec()),
        ),
        always("another protocol", Act::Send(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        always(
            "an error that moves the cursor",
            whole("400 Bad Request", &[], &json("a\\u001b[2J\\r\\nb\\u202ec\\u0000")),
        ),
        always("an error without end", Act::Endless(head("400 Bad Request", &[]), vec![b'x'; 4096])),
    ]
}

fn doormen() -> Vec<Case> {
    let refused = |challenge: &str| whole("401 Unauthorized", &[challenge], b"");
    vec![
        always("no way in is named", whole("401 Unauthorized", &[], b"")),
        always("a password is never enough", refused("WWW-Authenticate: Basic realm=\"x\"")),
        always("a challenge that nobody understands", refused("WWW-Authenticate: Bearer realm=\"x")),
        always("access is denied", whole("403 Forbidden", &[], br#"{"errors":[{"code":"DENIED"}]}"#)),
        realm("tokens come from a strange network", "http://192.0.2.1/token", Act::Send(Vec::new())),
        realm("tokens come from a file", "file:///etc/passwd", Act::Send(Vec::new())),
        realm("the token is none", "http://HOST/token", whole("200 OK", &[], b"{}")),
        realm("the token is no JSON", "http://HOST/token", whole("200 OK", &[], b"<html>")),
        realm("the token has a line end", "http://HOST/token", whole("200 OK", &[], br#"{"token":"a\r\nX: y"}"#)),
        realm("the token is huge", "http://HOST/token", Act::Endless(head("200 OK", &[]), vec![b' '; 1 << 16])),
        realm("the token server stalls", "http://HOST/token", Act::Stall(head("200 OK", &["Content-Length: 9"]))),
        realm("a token that opens nothing", "http://HOST/token", whole("200 OK", &[], br#"{"token":"t"}"#)),
    ]
}

fn redirects() -> Vec<Case> {
    let to = |location: &str| whole("307 Temporary Redirect", &[&format!("Location: {location}")], b"");
    vec![
        ("redirects in a ring", Box::new(move |asked: &Asked| to(&asked.target))),
        always("a redirect into the open", to("http://192.0.2.1/x")),
        always("a redirect to a file", to("file:///etc/passwd")),
        always("a redirect with a name in it", to("http://user:secret@127.0.0.1/")),
        always("a redirect to nowhere", whole("302 Found", &[], b"")),
        layer("a layer that is always elsewhere", |_, asked| {
            whole("302 Found", &[&format!("Location: {}?again", asked.target)], b"")
        }),
    ]
}

fn manifests() -> Vec<Case> {
    let typed = |name, media_type: &str, bytes: &[u8]| image(name, World::honest().document(media_type, bytes));
    let honest = World::honest();
    let digest_of_other = format!("Docker-Content-Digest: {}", Digest::of(b"other"));
    let announced = format!("Content-Type: {}", media::OCI_MANIFEST);
    let both = World::honest().manifest(|manifest| manifest["manifests"] = json!([]));
    let with = |key: &'static str, value: serde_json::Value| {
        World::honest().manifest(move |manifest| manifest["layers"][0][key] = value)
    };
    let long = format!("Content-Length: {}", honest.manifest.len() + 100);
    vec![
        always("another digest than announced", whole("200 OK", &[&announced, &digest_of_other], &honest.manifest)),
        always("a manifest of 5 MiB", whole("200 OK", &[&announced], &vec![b' '; 5 << 20])),
        always("a manifest without end", Act::Endless(head("200 OK", &[&announced]), vec![b' '; 1 << 16])),
        always("a manifest, byte by byte", Act::Trickle(head("200 OK", &[&announced]), honest.manifest.clone())),
        always("half a manifest", Act::Send([head("200 OK", &[&announced, &long]), honest.manifest.clone()].concat())),
        typed("deep JSON", media::OCI_MANIFEST, "[".repeat(100_000).as_bytes()),
        typed("a page to log in at", "text/html", b"<html>Please log in</html>"),
        typed("a manifest that says it is an index", media::OCI_INDEX, &honest.manifest),
        image("manifest and index at once", both),
        typed("schema 1", media::DOCKER_SCHEMA1_SIGNED, br#"{"schemaVersion":1}"#),
        image("a digest that climbs", with("digest", json!("sha256:../../../../etc/passwd"))),
        image("a digest in capitals", with("digest", json!(format!("sha256:{}", "A".repeat(64))))),
        image("a digest of unknown kind", with("digest", json!(format!("md5:{}", "a".repeat(32))))),
        image("a layer of an exbibyte", with("size", json!(1_u64 << 60))),
        image("a layer of less than nothing", with("size", json!(-1))),
        image("a layer of a strange type", with("mediaType", json!("application/x-evil\u{1b}[2J"))),
        image(
            "no image but an artifact",
            World::honest().manifest(|manifest| {
                manifest["config"]["mediaType"] = json!("application/vnd.example.thing\u{202e}");
            }),
        ),
    ]
}

fn indexes() -> Vec<Case> {
    let entry = |size: u64, platform: serde_json::Value, media_type: &str| {
        let digest = Digest::of(&World::honest().manifest);
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [
            { "mediaType": media_type, "digest": digest, "size": size, "platform": platform } ] });
        index.to_string().into_bytes()
    };
    let (host, length) = (images::Platform::host(), World::honest().manifest.len() as u64);
    let served = |name, index: Vec<u8>, inner: Vec<u8>| -> Case {
        let script = move |asked: &Asked| {
            let (media_type, bytes) = match asked.target.ends_with("/1") {
                true => (media::OCI_INDEX, &index),
                false => (media::OCI_MANIFEST, &inner),
            };
            whole("200 OK", &[&format!("Content-Type: {media_type}")], bytes)
        };
        (name, Box::new(script))
    };
    let own = json!({ "os": "linux", "architecture": host.architecture });
    let manifest = World::honest().manifest;
    vec![
        served(
            "only for another machine",
            entry(length, json!({ "os": "plan9", "architecture": "pdp11\u{1b}[2J" }), media::OCI_MANIFEST),
            manifest.clone(),
        ),
        served("an index inside an index", entry(length, own.clone(), media::OCI_INDEX), manifest.clone()),
        served(
            "an entry that lies about its size",
            entry(length + 1, own.clone(), media::OCI_MANIFEST),
            manifest.clone(),
        ),
        served("other bytes than the entry's digest", entry(length, own, media::OCI_MANIFEST), b"{}".to_vec()),
    ]
}

fn configs() -> Vec<Case> {
    let many = json!({ "architecture": "amd64", "os": "linux",
                       "rootfs": { "type": "layers", "diff_ids": vec![Digest::of(b""); 3] } });
    let lying = World::honest();
    let other = move |asked: &Asked| match lying.is_config(asked) {
        true => whole("200 OK", &[], &vec![b' '; lying.config.len()]),
        false => lying.answer(asked),
    };
    vec![
        image("a config that is none", World::honest().with_config(b"[1, 2]")),
        image("deep JSON in a config", World::honest().with_config("{\"a\":".repeat(50_000).as_bytes())),
        image("more layers than the manifest has", World::honest().with_config(many.to_string().as_bytes())),
        image(
            "a config of a gibibyte",
            World::honest().manifest(|manifest| manifest["config"]["size"] = json!(1_u64 << 30)),
        ),
        ("other bytes for a config", Box::new(other)),
    ]
}

fn layers() -> Vec<Case> {
    let half = |world: &World| world.layer[..world.layer.len() / 2].to_vec();
    let length = |world: &World| format!("Content-Length: {}", world.layer.len());
    vec![
        layer("the layer is missing", |_, _| whole("404 Not Found", &[], b"{}")),
        layer("the layer never comes whole", move |world, _| {
            Act::Send([head("200 OK", &[&length(world)]), half(world)].concat())
        }),
        layer("the layer stalls in the middle", move |world, _| {
            Act::Stall([head("200 OK", &[&length(world)]), half(world)].concat())
        }),
        layer("the layer, byte by byte", move |world, _| {
            Act::Trickle(head("200 OK", &[&length(world)]), world.layer.clone())
        }),
        layer("a flipped bit in the layer", |world, _| {
            let mut layer = world.layer.clone();
            layer[world.layer.len() / 2] ^= 1;
            whole("200 OK", &[], &layer)
        }),
        layer("a longer layer than promised", |world, _| whole("200 OK", &[], &[&world.layer[..], b"x"].concat())),
        layer("a layer without end", |world, _| {
            Act::Endless([head("200 OK", &[]), world.layer.clone()].concat(), vec![0; 4096])
        }),
        layer("a part that nobody asked for", |world, _| {
            whole("206 Partial Content", &["Content-Range: bytes 5-9/10"], &world.layer[5..9])
        }),
        layer("the wrong part", move |world, asked| match asked.range {
            None => Act::Send([head("200 OK", &[&length(world)]), half(world)].concat()),
            Some(_) => whole("206 Partial Content", &["Content-Range: bytes 0-9/10"], &world.layer[..10]),
        }),
        layer("an error for a layer, each time", |_, _| whole("502 Bad Gateway", &[], b"")),
    ]
}

fn archives() -> Vec<Case> {
    let climbing = |name: &str| {
        // The library that makes archives refuses such names, so the header is changed afterwards.
        let mut archive = sample::archive(&[("AAAAAAAAAAAAAAAAAA", b"x")]);
        archive[..18].copy_from_slice(format!("{name:\0<18}").as_bytes());
        archive[148..156].copy_from_slice(b"        ");
        let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
        archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        World::of_archive(&archive)
    };
    let zeros = vec![0; 96 << 20];
    let garbage = sample::noise(100_000);
    vec![
        image("a file that climbs out", climbing("../../tmp/escaped")),
        image("a name with a climb in it", climbing("a/../../escaped")),
        image(
            "other files than the config promises",
            World::of(sample::gzip(&sample::archive(&[("a", b"a")])), &Digest::of(b"")),
        ),
        image("a hundred megabytes of nothing", World::of(sample::gzip(&zeros), &Digest::of(b""))),
        image("noise in place of an archive", World::of(garbage.clone(), &Digest::of(&garbage))),
        image(
            "an archive that is cut off",
            World::of_archive(&sample::archive(&[("data", &sample::noise(9000))])[..4000]),
        ),
    ]
}
