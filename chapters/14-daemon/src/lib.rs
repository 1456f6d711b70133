//! Chapter 14: the Docker Engine API.
//!
//! Every tool that "speaks docker" sends HTTP requests to a unix socket. Whoever answers them as
//! Docker does *is* Docker to these tools. This chapter answers them with the engine of the
//! chapters before, and adds nothing to it: no state but who is waiting for whom, no container
//! that would die with it.
//!
//! ```text
//!  docker run hello                       this daemon                     the engine
//!    | POST /containers/create               |                                |
//!    |-------------------------------------->| Engine::create --------------->| container.json
//!    | POST /containers/ID/attach  Upgrade   |                                |
//!    |<============ 101, then streams ======>|                                |
//!    | POST /containers/ID/wait              | (remembered until the start)   |
//!    | POST /containers/ID/start             |                                |
//!    |-------------------------------------->| Engine::start ------ exec ---->| cooper monitor
//!    |<========= stdout and stderr, framed ==|<==== its socket ===============|
//!    |<----- {"StatusCode":0} ---------------|                                |
//! ```
//!
//! # Reading order
//!
//! 1. [`server`]: the socket, private from its first moment
//! 2. [`router`]: the API on one page (the chapter's spine)
//! 3. [`engine`]: calling synchronous code from asynchronous code, [`error`], and [`query`]: filters
//! 4. [`create`] and its `host_config` and `mounts`: what a client may ask for, and why unknown fields are refused
//! 5. [`container`], [`summary`], [`words`]: made, listed, stopped, removed
//! 6. `runs`, [`attach`], [`wait`], [`resize`]: the dance of `docker run`
//! 7. `upgrade`, `pieces`, `framed`: streams over HTTP; [`logs`], [`stats`], [`events`], [`exec`] and its `terminal`
//! 8. [`image`], [`catalogue`], [`pull`], [`archive`], [`commit`], [`disk`]; [`copy`]; [`network`], [`volume`], [`system`]
//!
//! # References
//! Docker Engine API v1.47.

#![forbid(unsafe_code)]

pub mod archive;
pub mod attach;
pub mod catalogue;
pub mod commit;
pub mod container;
pub mod copy;
pub mod create;
pub mod disk;
pub mod engine;
pub mod error;
pub mod events;
pub mod exec;
mod framed;
mod host_config;
pub mod image;
pub mod logs;
mod mounts;
pub mod network;
mod pieces;
pub mod pull;
pub mod query;
pub mod resize;
pub mod router;
mod runs;
pub mod server;
pub mod stats;
pub mod summary;
pub mod system;
mod terminal;
mod upgrade;
pub mod volume;
pub mod wait;
pub mod words;

pub use engine::{Amend, Config};
pub use error::{ApiError, Error};
pub use query::Filters;
pub use server::run;
