//! Netlink: the message language in which Linux is told about links, addresses and routes.
//!
//! Read [`message`] for the shape of a request, then [`socket`] for the conversation.
//! What is asked for stands in [`link`](crate::link) and [`route`](crate::route).

pub mod message;
pub mod socket;

pub use message::{Attributes, Message, Received};
pub use socket::{Request, Socket};
