//! What a registry has: names, tags, referrers, and what a search finds.

use distribution::{Client, Credentials, Error, Found, Options, catalogue, referrers, search, tags};
use images::Reference;
use layers::Digest;

use crate::scripted::{Scripted, answer};

fn client() -> Client {
    Client::new(Credentials::anonymous(), Options::default())
}

/// A registry whose lists come in pages, `next` being where the second one is.
fn pages(next: &'static str) -> Scripted {
    Scripted::at("127.0.0.1", move |asked| {
        let link = format!("Link: <{next}>; rel=\"next\"");
        match asked.target.as_str() {
            "/v2/_catalog?n=1000" => answer("200 OK", &[link], br#"{"repositories":["a/app","b"]}"#),
            "/v2/_catalog?last=b" => answer("200 OK", &[], br#"{"repositories":["c/app","x\u001b[2J"]}"#),
            "/v2/app/tags/list?n=1000" => answer("200 OK", &[], br#"{"name":"app","tags":["1","2"]}"#),
            "/v2/none/tags/list?n=1000" => answer("200 OK", &[], br#"{"name":"none","tags":null}"#),
            _ => answer("404 Not Found", &[], b"{}"),
        }
    })
}

#[test]
fn lists_come_in_pages_and_end() {
    let registry = pages("/v2/_catalog?last=b");
    assert_eq!(catalogue(&client(), &registry.address()).unwrap(), ["a/app", "b", "c/app"]);
    let of = |name: &str| tags(&client(), &format!("{}/{name}", registry.address()).parse().unwrap());
    assert_eq!(of("app").unwrap(), ["1", "2"]);
    assert!(of("none").unwrap().is_empty());
    assert!(matches!(of("unknown").unwrap_err(), Error::UnknownImage { .. }));
    for next in ["/v2/_catalog?n=1000", "http://127.0.0.2/v2/_catalog", "//evil/", "x"] {
        let error = catalogue(&client(), &pages(next).address()).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{next}: {error}");
    }
}

#[test]
fn a_search_asks_the_old_question_and_else_looks_through_the_names() {
    let registry = pages("/v2/_catalog?last=b");
    let names = search(&client(), &registry.address(), "app", 25).unwrap();
    assert_eq!(names.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["a/app", "c/app"]);
    let hub = Scripted::at("127.0.0.1", |asked| {
        assert_eq!(asked.target, "/v1/search?q=nginx%20alpine&n=3");
        let results =
            br#"{"results":[{"name":"nginx","description":"a \u001b[2J server","star_count":7,"is_official":true}]}"#;
        answer("200 OK", &[], results)
    });
    let found = search(&client(), &hub.address(), "nginx alpine", 3).unwrap();
    let nginx = Found { name: "nginx".into(), description: "a  [2J server".into(), stars: 7, official: true };
    assert_eq!(found, [nginx]);
}

#[test]
fn referrers_are_found_at_old_registries_and_new_ones() {
    let subject = Digest::of(b"subject");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{subject}","size":7}}]}}"#
    );
    for path in [format!("/v2/app/referrers/{subject}"), format!("/v2/app/manifests/sha256-{}", subject.hex())] {
        let (path, index) = (path.clone(), index.clone());
        let registry = Scripted::at("127.0.0.1", move |asked| match asked.target == path {
            true => {
                answer("200 OK", &["Content-Type: application/vnd.oci.image.index.v1+json".into()], index.as_bytes())
            }
            false => answer("404 Not Found", &[], b"{}"),
        });
        let name: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
        assert_eq!(referrers(&client(), &name, &subject).unwrap()[0].digest, subject);
    }
    let none = Scripted::at("127.0.0.1", |_| answer("404 Not Found", &[], b"{}"));
    let name: Reference = format!("{}/app:1", none.address()).parse().unwrap();
    assert!(referrers(&client(), &name, &subject).unwrap().is_empty());
}
