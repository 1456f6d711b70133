//! Names: the resolver that a container finds at 127.0.0.11.
//!
//! Containers of a network know each other by name. The C library inside only knows how to ask a server on
//! port 53, so the engine puts one there: sockets opened inside the container's namespace, answered by the
//! container's monitor outside. Read [`resolver`] for what is answered, [`server`] for the loop that never waits,
//! then [`upstream`] and [`stream`] for the questions that are passed on, over UDP and over TCP.

pub mod resolver;
pub mod server;
pub mod stream;
pub mod upstream;

pub use resolver::{Answer, Resolver};
pub use server::Server;
pub use simple_dns::{RCODE, TYPE};
