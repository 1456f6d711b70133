//! The listening part: connections in, answers out, an orderly end.
//!
//! A registry is reached by anybody who can reach the port, so each thing a stranger can hold
//! on to has a bound: the number of connections, the time and size of a request's head, the
//! silence between two pieces of a body.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::answer::{Registry, respond};
use crate::error::Error;

/// Connections served at once; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 512;

/// Time in which a request's head must have arrived, and the life of an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest request head, in bytes, and the buffer of a connection.
const LARGEST_HEAD: usize = 64 << 10;

/// How long requests under way may take once the registry is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What a registry needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// The directory that holds everything; made if missing.
    pub root: PathBuf,
    /// Accounts (`htpasswd -B`); without it everybody may read and write.
    pub htpasswd: Option<PathBuf>,
}

/// Whether each request is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// One line a request on standard error.
    Lines,
    /// Nothing.
    Silent,
}

/// A registry that has its address and serves once [`Bound::serve`] is awaited.
pub struct Bound {
    listener: TcpListener,
    registry: Arc<Registry>,
    address: SocketAddr,
}

impl Bound {
    /// Opens the directory, then the address.
    ///
    /// # Errors
    /// Those of [`Registry::open`]; the address is taken or not this machine's.
    pub async fn bind(config: &Config) -> Result<Bound, Error> {
        let registry = Arc::new(Registry::open(config)?);
        let address = config.listen;
        let failed = |reason| Error::Listen { address, reason };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound { listener, registry, address })
    }

    /// The address that clients reach, with the port that the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then lets requests under way end, for 10 s at most.
    pub async fn serve(self, journal: Journal, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let (stop, stopping) = watch::channel(());
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            // A place first: a connection that cannot be served is better not accepted.
            let place = tokio::select! {
                () = &mut shutdown => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                // Out of descriptors or memory: a moment later some connection has ended.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let connection = connection(Arc::clone(&self.registry), stream, peer, journal, stopping.clone());
            connections.spawn(async move {
                connection.await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
        drop(self.listener);
        drop(stop);
        let all = async { while connections.join_next().await.is_some() {} };
        // Whoever is not done by then is cut off when the set is dropped.
        let _ = tokio::time::timeout(GRACE, all).await;
    }
}

/// Serves a registry inside a runtime of the caller's.
///
/// # Errors
/// Those of [`Bound::bind`].
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Bound::bind(&config).await?.serve(Journal::Silent, shutdown).await;
    Ok(())
}

/// Serves a registry until SIGTERM or SIGINT, and says on standard output where it listens.
///
/// # Errors
/// Those of [`Bound::bind`]; no runtime or signal handler could be set up.
pub fn run(config: Config) -> Result<(), Error> {
    let setup = Error::io("set up", &config.root);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Err(setup(error)),
    };
    runtime.block_on(async {
        let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
        let (mut terminate, mut interrupt) = signals.map_err(setup)?;
        let bound = Bound::bind(&config).await?;
        announce(&config, bound.address());
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        bound.serve(Journal::Lines, shutdown).await;
        println!("stopped");
        Ok(())
    })
}

fn announce(config: &Config, address: SocketAddr) {
    println!("listening on http://{address}, storing in {}", config.root.display());
    if !address.ip().is_loopback() {
        let accounts = if config.htpasswd.is_some() { "passwords and images" } else { "images" };
        eprintln!(
            "warning: {address} is not a loopback address and this is plain http: {accounts} can be read and changed on the way"
        );
        if config.htpasswd.is_none() {
            eprintln!("warning: without an htpasswd file anybody who reaches {address} can replace your images");
        }
    }
}

/// One client, request after request, until it goes or the registry stops.
async fn connection(
    registry: Arc<Registry>,
    stream: TcpStream,
    peer: SocketAddr,
    journal: Journal,
    mut stopping: watch::Receiver<()>,
) {
    // Answers are small and waited for. Where the option is missing they are only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let registry = Arc::clone(&registry);
        async move { Ok::<_, Infallible>(journalled(registry, request.map(Body::new), peer, journal).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks the protocol or goes away is no news to anybody else.
        _ = connection.as_mut() => {}
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Answers, and writes the journal's line: who, what, with which result, how long until the
/// answer's head was ready.
async fn journalled(
    registry: Arc<Registry>,
    request: Request,
    peer: SocketAddr,
    journal: Journal,
) -> hyper::Response<Body> {
    if journal == Journal::Silent {
        return respond(registry, request).await;
    }
    let began = Instant::now();
    // A path with control characters cannot be parsed as a URI, so this is safe for a terminal.
    let asked = format!("{} {}", request.method(), request.uri());
    let response = respond(registry, request).await;
    eprintln!("{} {asked} -> {} ({:.1?})", peer.ip(), response.status().as_u16(), began.elapsed());
    response
}
