//! Chapter 15: projects of services.
//!
//! One container is seldom an application. A compose file says which containers are: their images, ports and
//! volumes, who needs whom, and under which names they find each other. There is hardly anything
//! new underneath: a project is a network, some volumes, and containers with labels, all made by
//! the calls of the chapters before. What is new is *comparison*: `up` reads what should be, looks
//! at what is, and does the difference.
//!
//! ```text
//!   compose.yaml ── yaml ── interpolation ── field, service, project ── Project   (pure)
//!                                                                        │
//!   engine: networks, volumes, images, containers  <── up, down, ps ─────┘
//! ```
//!
//! In reading order:
//!
//! - [`yaml`], [`interpolation`], [`dotenv`]: the text and its variables
//! - [`field`], `service`, `mounts`, `command`: understanding it, with a path for every complaint
//! - [`model`], [`project`], [`order`]: the project, and who starts before whom
//! - [`error`]: why not
//! - [`labels`], `image`, [`up`], `foreground`, [`down`]: making it so, and taking it away
//!
//! The spine is [`up`](up::up).

mod command;
pub mod dotenv;
pub mod down;
pub mod error;
pub mod field;
mod foreground;
mod image;
pub mod interpolation;
pub mod labels;
pub mod model;
mod mounts;
pub mod order;
pub mod project;
mod service;
pub mod up;
pub mod yaml;

pub use down::{DownOptions, Row, down, ps};
pub use error::Error;
pub use model::{Project, Service};
pub use up::{UpOptions, up};
