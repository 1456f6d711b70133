//! What pull and push do: with a real registry, with one that plays a part, and with one that lies.
#![allow(clippy::unwrap_used)]

mod authority;
mod concurrency;
mod debian_registry;
mod exchange;
mod hostile;
mod listing;
mod output;
mod places;
mod sample;
mod scripted;
#[path = "../hostile/server.rs"]
#[allow(dead_code)]
mod server;
mod token;
mod uploads;
