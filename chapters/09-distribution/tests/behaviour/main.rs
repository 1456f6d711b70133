//! What pull and push do: with a real registry, with one that plays a part, and with one that lies.
#![allow(clippy::unwrap_used)]

mod debian_registry;
mod exchange;
mod hostile;
mod output;
mod sample;
mod scripted;
mod token;
