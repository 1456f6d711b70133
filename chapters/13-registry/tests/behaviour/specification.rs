//! The distribution specification, endpoint by endpoint, and what hostile requests get.

use std::net::SocketAddr;

use layers::Digest;

use crate::serving::Serving;
use crate::wire::{Answer, ask, raw};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn get(to: SocketAddr, target: &str) -> Answer {
    ask(to, &format!("GET {target}"), &[], b"")
}

/// Uploads in one request.
fn put_blob(to: SocketAddr, name: &str, content: &[u8]) -> Digest {
    let digest = Digest::of(content);
    let answer = ask(to, &format!("POST /v2/{name}/blobs/uploads/?digest={digest}"), &[], content);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location").unwrap(), format!("/v2/{name}/blobs/{digest}"));
    digest
}

fn manifest(config: &Digest, rest: &str) -> String {
    let config = format!(r#"{{"mediaType":"application/x","digest":"{config}","size":2}}"#);
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[]{rest}}}"#)
}

fn put_manifest(to: SocketAddr, name: &str, tag: &str, text: &str) -> Answer {
    let line = format!("PUT /v2/{name}/manifests/{tag}");
    ask(to, &line, &[("Content-Type", MANIFEST)], text.as_bytes())
}

#[test]
fn a_blob_is_uploaded_whole_and_read_whole_or_in_part() {
    let serving = Serving::open();
    let to = serving.address;
    let digest = put_blob(to, "a/b", b"hello world");
    let target = format!("/v2/a/b/blobs/{digest}");
    let head = ask(to, &format!("HEAD {target}"), &[], b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("11"), 0));
    assert_eq!(get(to, &target).text(), "hello world");
    let part = ask(to, &format!("GET {target}"), &[("Range", "bytes=6-")], b"");
    assert_eq!((part.status, part.text()), (206, "world"));
    assert_eq!(part.header("content-range"), Some("bytes 6-10/11"));
    let beyond = ask(to, &format!("GET {target}"), &[("Range", "bytes=11-")], b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */11")));
    // Another repository does not have it, and cannot read it by knowing its digest.
    let other = get(to, &format!("/v2/other/blobs/{digest}"));
    assert_eq!((other.status, other.code().as_str()), (404, "BLOB_UNKNOWN"));
    assert_eq!(ask(to, &format!("DELETE {target}"), &[], b"").status, 202);
    assert_eq!(get(to, &target).status, 404);
}

#[test]
fn an_upload_in_pieces_goes_on_where_it_was() {
    let serving = Serving::open();
    let to = serving.address;
    let begun = ask(to, "POST /v2/a/blobs/uploads/", &[], b"");
    let session = begun.header("location").unwrap().to_owned();
    assert_eq!(begun.status, 202);
    let patched = ask(to, &format!("PATCH {session}"), &[("Content-Range", "0-4")], b"hello");
    assert_eq!((patched.status, patched.header("range")), (202, Some("0-4")));
    let gap = ask(to, &format!("PATCH {session}"), &[("Content-Range", "9-13")], b"world");
    assert_eq!((gap.status, gap.header("range")), (416, Some("0-4")));
    let status = get(to, &session);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let digest = Digest::of(b"helloworld");
    let done = ask(to, &format!("PUT {session}?digest={digest}"), &[("Content-Range", "5-9")], b"world");
    assert_eq!(done.status, 201, "{done:?}");
    assert_eq!(get(to, &format!("/v2/a/blobs/{digest}")).text(), "helloworld");
    assert_eq!(get(to, &session).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_wrong_digest_and_a_cancelled_upload_leave_no_file() {
    let serving = Serving::open();
    let to = serving.address;
    let wrong = Digest::of(b"other");
    let answer = ask(to, &format!("POST /v2/a/blobs/uploads/?digest={wrong}"), &[], b"hello");
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    let begun = ask(to, "POST /v2/a/blobs/uploads/", &[], b"");
    let session = begun.header("location").unwrap();
    assert_eq!(ask(to, &format!("PATCH {session}"), &[], b"hello").status, 202);
    assert_eq!(ask(to, &format!("DELETE {session}"), &[], b"").status, 204);
    for directory in ["uploads", "blobs/sha256", "repositories"] {
        assert_eq!(std::fs::read_dir(serving.root().join(directory)).unwrap().count(), 0, "{directory}");
    }
}

#[test]
fn a_blob_is_mounted_from_a_repository_that_has_it() {
    let serving = Serving::open();
    let to = serving.address;
    let digest = put_blob(to, "from", b"hello");
    let mount = |from: &str| ask(to, &format!("POST /v2/to/blobs/uploads/?mount={digest}&from={from}"), &[], b"");
    assert_eq!(mount("nobody").status, 202);
    assert_eq!(get(to, &format!("/v2/to/blobs/{digest}")).status, 404);
    assert_eq!(mount("from").status, 201);
    assert_eq!(get(to, &format!("/v2/to/blobs/{digest}")).text(), "hello");
}

#[test]
fn a_manifest_needs_its_parts_and_is_read_by_tag_and_digest() {
    let serving = Serving::open();
    let to = serving.address;
    let text = manifest(&Digest::of(b"{}"), "");
    assert_eq!(put_manifest(to, "a", "1", &text).code(), "MANIFEST_BLOB_UNKNOWN");
    put_blob(to, "a", b"{}");
    let digest = Digest::of(text.as_bytes());
    assert_eq!(put_manifest(to, "a", &Digest::of(b"x").to_string(), &text).code(), "DIGEST_INVALID");
    let put = put_manifest(to, "a", "1", &text);
    assert_eq!((put.status, put.header("docker-content-digest")), (201, Some(digest.to_string().as_str())));
    for selector in ["1", &digest.to_string()] {
        let got = get(to, &format!("/v2/a/manifests/{selector}"));
        assert_eq!((got.text(), got.header("content-type")), (text.as_str(), Some(MANIFEST)));
    }
    assert_eq!(ask(to, &format!("DELETE /v2/a/manifests/{digest}"), &[], b"").status, 202);
    assert_eq!(get(to, "/v2/a/manifests/1").code(), "MANIFEST_UNKNOWN");
    let oversized = format!("{text}{}", " ".repeat(5 << 20));
    assert_eq!(put_manifest(to, "a", "1", &oversized).status, 413);
}

#[test]
fn what_refers_to_a_manifest_is_listed_and_filtered() {
    let serving = Serving::open();
    let to = serving.address;
    let config = put_blob(to, "a", b"{}");
    let subject = manifest(&config, "");
    put_manifest(to, "a", "1", &subject);
    let subject = Digest::of(subject.as_bytes());
    let list = |filter: &str| -> serde_json::Value {
        let answer = get(to, &format!("/v2/a/referrers/{subject}{filter}"));
        assert_eq!(answer.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
        serde_json::from_slice(&answer.body).unwrap()
    };
    assert_eq!(list("")["manifests"].as_array().unwrap().len(), 0);
    let rest = format!(
        r#","artifactType":"x/signature","subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":1}}"#
    );
    let signature = manifest(&config, &rest);
    let put = put_manifest(to, "a", &Digest::of(signature.as_bytes()).to_string(), &signature);
    assert_eq!(put.header("oci-subject"), Some(subject.to_string().as_str()));
    assert_eq!(list("")["manifests"][0]["artifactType"], "x/signature");
    assert_eq!(list("?artifactType=x/signature")["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(list("?artifactType=other")["manifests"].as_array().unwrap().len(), 0);
}

#[test]
fn lists_come_in_pages_and_an_enormous_page_is_an_ordinary_one() {
    let serving = Serving::open();
    let to = serving.address;
    for (name, tags) in [("a", ["1", "2", "3"]), ("b/c", ["x", "y", "z"])] {
        let config = put_blob(to, name, b"{}");
        for tag in tags {
            assert_eq!(put_manifest(to, name, tag, &manifest(&config, "")).status, 201);
        }
    }
    assert_eq!(get(to, "/v2/_catalog?n=2147483648").text(), r#"{"repositories":["a","b/c"]}"#);
    let first = get(to, "/v2/_catalog?n=1");
    assert_eq!(first.header("link"), Some("</v2/_catalog?n=1&last=a>; rel=\"next\""));
    let page = get(to, "/v2/b/c/tags/list?n=2&last=x");
    assert_eq!((page.text(), page.header("link")), (r#"{"name":"b/c","tags":["y","z"]}"#, None));
    assert_eq!(get(to, "/v2/_catalog?n=-1").code(), "PAGINATION_NUMBER_INVALID");
    assert_eq!(get(to, "/v2/nobody/tags/list").code(), "NAME_UNKNOWN");
}

#[test]
fn no_request_reaches_a_file_outside() {
    let serving = Serving::open();
    let to = serving.address;
    for target in [
        "/v2/../../etc/passwd",
        "/v2/a/manifests/..%2f..%2f..%2fetc%2fpasswd",
        "/v2/..%2f..%2fetc/tags/list",
        "/v2/a/blobs/sha256:../../lock",
        "/v2/a/blobs/uploads/../../../lock",
        "/v2/A/tags/list",
        "/v2/a/_manifests/tags/list",
        "/",
        "/lock",
    ] {
        assert!(matches!(get(to, target).status, 400 | 404), "{target}");
    }
    assert_eq!(ask(to, "BREW /v2/", &[], b"").status, 405);
    assert_eq!(raw(to, b"nonsense\r\n\r\n").status, 400);
    assert_eq!(raw(to, format!("GET /v2/ HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes()).status, 431);
    assert_eq!(get(to, "/v2/").status, 200);
}

#[test]
fn a_private_registry_challenges_strangers() {
    let serving = Serving::private();
    let to = serving.address;
    let stranger = get(to, "/v2/");
    assert_eq!((stranger.status, stranger.code().as_str()), (401, "UNAUTHORIZED"));
    assert!(stranger.header("www-authenticate").unwrap().starts_with("Basic realm="));
    let with = |value: &str| ask(to, "GET /v2/", &[("Authorization", value)], b"").status;
    assert_eq!(with("Basic YWxpY2U6c2VjcmV0"), 200); // alice:secret
    assert_eq!(with("Basic YWxpY2U6Z3Vlc3M="), 401); // alice:guess
}
