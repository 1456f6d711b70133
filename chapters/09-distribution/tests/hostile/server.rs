//! A registry that does exactly what a case says, also what no server may do: it writes bytes, not answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What was asked.
pub(crate) struct Asked {
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<u64>,
    /// The server's own address.
    pub(crate) host: String,
}

/// What the server does with a connection.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends all of it and hangs up.
    Send(Vec<u8>),
    /// Sends it, and then nothing, as long as the client stays.
    Stall(Vec<u8>),
    /// Sends the first part at once and the rest byte by byte.
    Trickle(Vec<u8>, Vec<u8>),
    /// Sends the first part, and then the second again and again, as long as the client takes it.
    Endless(Vec<u8>, Vec<u8>),
    /// Sends the first part, and then the second so many bytes at a time, with a pause after each.
    Paced(Vec<u8>, Vec<u8>, usize, Duration),
}

/// Starts a server; it ends with the test's process.
pub(crate) fn serve(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            thread::spawn(move || answer(stream, &*script));
        }
    });
    address
}

/// A client that has gone does not want the rest, so no error of writing is one.
fn answer(mut stream: TcpStream, script: &dyn Fn(&Asked) -> Act) {
    let Some(asked) = read(&stream) else { return };
    match script(&asked) {
        Act::Send(bytes) => drop(stream.write_all(&bytes)),
        Act::Stall(bytes) => {
            let _ = stream.write_all(&bytes);
            // Until the client hangs up.
            let _ = stream.read(&mut [0]);
        }
        Act::Trickle(first, rest) => {
            let _ = stream.write_all(&first);
            for byte in rest {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Act::Paced(first, rest, size, pause) => {
            let _ = stream.write_all(&first);
            for piece in rest.chunks(size) {
                if stream.write_all(piece).is_err() {
                    return;
                }
                thread::sleep(pause);
            }
        }
        Act::Endless(first, piece) => {
            let _ = stream.write_all(&first);
            while stream.write_all(&piece).is_ok() {}
        }
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let target = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let host = stream.local_addr().ok()?.to_string();
    let mut asked = Asked { target, authorization: None, range: None, host };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => asked.authorization = Some(value.to_owned()),
            "range" => asked.range = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            _ => {}
        }
    }
    Some(asked)
}

/// An answer's head, with lines of its own.
pub(crate) fn head(status: &str, lines: &[&str]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{lines}\r\n").into_bytes()
}

/// A whole answer whose length is right.
pub(crate) fn whole(status: &str, lines: &[&str], body: &[u8]) -> Act {
    let length = format!("Content-Length: {}", body.len());
    Act::Send([head(status, &[&[length.as_str()], lines].concat()), body.to_vec()].concat())
}
