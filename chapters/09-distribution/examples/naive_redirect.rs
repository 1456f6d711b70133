//! The naive way to follow a redirect: the same request once more, to wherever the server says.
//!
//! Registries redirect all the time, since their blobs lie with somebody else. `cargo run --example naive_redirect` has a
//! registry that wants a password, and sends whoever shows it to a stranger. What does the stranger get to read?
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use distribution::{Client, Credentials, Login, Options, resolve};

const USER: &str = "reader";
const PASSWORD: &str = "secret";

/// Never do this: a redirect is a new request, and what it may say is decided anew.
fn naive_get(mut url: String, authorization: &str) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().new_agent();
    for _ in 0..5 {
        // All that we said to the one, we say to the other.
        let answer = agent.get(&url).header("authorization", authorization).call().unwrap();
        match answer.headers().get("location") {
            Some(next) => url = next.to_str().unwrap().to_owned(),
            None => return,
        }
    }
}

/// The library's way to the same document.
fn hardened_get(registry: SocketAddr) {
    let registry = registry.to_string();
    let credentials = Credentials::anonymous().with(&registry, Login::new(USER, PASSWORD));
    // The stranger has no such image: an error is what is expected.
    let _ = resolve(&Client::new(credentials, Options::default()), &format!("{registry}/app:1").parse().unwrap());
}

/// A server that answers every request with what `answer` makes of its `Authorization`, which it also tells.
fn server(answer: impl Fn(Option<&str>) -> String + Send + 'static) -> (SocketAddr, Receiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (said, heard) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let named = |line: &String| line.to_ascii_lowercase().starts_with("authorization:");
            let shown = head.iter().find(|line| named(line)).map(|line| line["authorization: ".len()..].to_owned());
            let _ = write!(
                stream,
                "HTTP/1.1 {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                answer(shown.as_deref())
            );
            let _ = said.send(shown);
        }
    });
    (address, heard)
}

/// What a stranger hears, to whom the registry sends a client that has shown its password.
fn overheard(get: impl Fn(SocketAddr)) -> Option<String> {
    let (stranger, heard) = server(|_| "404 Not Found".to_owned());
    let (registry, _) = server(move |shown| match shown {
        Some(_) => format!("307 Temporary Redirect\r\nlocation: http://{stranger}/blob"),
        None => "401 Unauthorized\r\nwww-authenticate: Basic realm=\"registry\"".to_owned(),
    });
    get(registry);
    heard.recv().unwrap()
}

fn main() {
    // "reader:secret" in base64, as everybody can read who has the header.
    let naive =
        overheard(|registry| naive_get(format!("http://{registry}/v2/app/manifests/1"), "Basic cmVhZGVyOnNlY3JldA=="));
    println!("naive:    the stranger hears {}", naive.as_deref().unwrap_or("nothing"));
    println!("hardened: the stranger hears {}", overheard(hardened_get).as_deref().unwrap_or("nothing"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_form_tells_the_stranger_the_password_and_ours_does_not() {
        let naive = overheard(|registry| naive_get(format!("http://{registry}/v2/app/manifests/1"), "Basic eA=="));
        assert_eq!(naive.as_deref(), Some("Basic eA=="));
        assert_eq!(overheard(hardened_get), None);
    }
}
