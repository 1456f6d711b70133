//! A web server that answers as a test tells it to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it arrived: path and query, and two headers.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) target: String,
    /// `Authorization`, if it was sent.
    pub(crate) authorization: Option<String>,
    /// `Range`, if it was sent.
    pub(crate) range: Option<String>,
}

/// What to answer: bytes, written as they are, then the connection is closed.
pub(crate) type Answer = Vec<u8>;

/// The server. Its thread ends when the test's process does; it owns nothing but a socket.
pub(crate) struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Listens on a loopback address and answers every request with `script`.
    pub(crate) fn at(ip: &str, script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), seen, script) = (stream, Arc::clone(&seen), Arc::clone(&script)) else { return };
                thread::spawn(move || serve(stream, &seen, &*script));
            }
        });
        Scripted { address, asked }
    }

    /// `IP:PORT`
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Asked>>, script: &(dyn Fn(&Asked) -> Answer + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let target = words.nth(1).unwrap_or_default();
    let mut asked = Asked { target, authorization: None, range: None };
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => asked.authorization = Some(value.trim().to_owned()),
            "range" => asked.range = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
    let answer = script(&asked);
    seen.lock().unwrap().push(asked);
    // A client that does not want the rest has gone; that is its right.
    let _ = stream.write_all(&answer);
}

/// An answer with a status, headers (`Name: value` lines) and a body.
pub(crate) fn answer(status: &str, headers: &[String], body: &[u8]) -> Answer {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    [format!("{head}\r\n").as_bytes(), body].concat()
}
