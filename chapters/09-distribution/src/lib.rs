//! Chapter 9: pull and push.
//!
//! An image travels in parts. The registry is asked what a name stands for and answers with a
//! *manifest*, a short document that names the parts by digest; then each part is fetched, from
//! whomever, and checked. Push is the same backwards: the parts that are missing, then the
//! manifest. Between the two stands a doorman, and his rules are the longer half of the chapter:
//! who may know a password, for how long, and where it must never go.
//!
//! ```text
//! name --> [challenge] --> [token] --> manifest --> config --> layers, several at a time
//!                                                               |-- blob, hashed
//!                                                               '-- inflated, hashed, extracted
//! ```
//!
//! # Reading order
//!
//! 1. [`address`], [`registries`]: where a registry is, and what is the same place
//! 1. [`certificates`], [`proxy`]: whom to trust, and which way out
//! 2. [`challenge`] and [`token`]: what the doorman wants
//! 3. [`credentials`], [`credential_helper`], [`login()`](fn@login): what we have to show, shared with docker
//! 4. [`client`], [`conversation`], [`answer`]: one request seen through, secrets kept; [`busy`] and [`pace`]: patience
//! 5. [`resolve()`](fn@resolve): what a name means
//! 6. [`pull()`](fn@pull) (the chapter's spine), [`fetch`], [`download`], [`crew`]
//! 7. [`push()`](fn@push), [`upload`]
//! 8. [`listing`] and [`search()`](fn@search): what a registry has
//! 9. [`progress`] and [`error`]: what people are told
//!
//! # References
//! OCI distribution-spec 1.1; Docker's token authentication specification.

#![forbid(unsafe_code)]

pub mod address;
mod answer;
mod busy;
mod certificates;
pub mod challenge;
pub mod client;
mod conversation;
mod credential_helper;
pub mod credentials;
mod crew;
mod download;
pub mod error;
mod fetch;
pub mod listing;
mod login;
mod pace;
pub mod progress;
pub mod proxy;
mod pull;
mod push;
mod registries;
mod resolve;
mod search;
mod token;
mod upload;

pub use client::{Client, Machine, Options};
pub use credentials::{Credentials, Login};
pub use error::{Error, Result};
pub use listing::{catalogue, referrers, tags};
pub use login::{login, login_at, logout};
pub use progress::{Bars, Lines, Progress, Silent};
pub use proxy::Proxies;
pub use pull::pull;
pub use push::push;
pub use resolve::{Resolved, document, resolve};
pub use search::{Found, search};
