//! Chapter 11: the life of a container.
//!
//! Chapter 7 runs a bundle and forgets it. An engine remembers: a container has a name, a log, volumes and an exit code, it
//! goes on when the terminal that started it is closed, and it can be asked how it is. Where is all
//! that kept, if there is no daemon?
//!
//! In files, and in one small process for each container. The files ([`record`]) say what it is and how far it got. The
//! process ([`monitor`]) is its parent: it holds what only a living process can hold (pipes, a terminal, a
//! pidfd) and writes down how the container ends. Everybody else, the command line or a daemon, is a visitor who
//! reads files and knocks at a socket; whoever of them dies, the container does not notice.
//!
//! ```text
//!   cooper run ──exec──> monitor ──clone3──> container
//!       │                  │ log.json
//!       └── attach.sock ───┘ state.json
//! ```
//!
//! In reading order:
//!
//! - [`options`], [`networking`], [`security`], [`mounts`], [`devices`], [`logging`], [`sharing`], [`owners`], `own_ids`,
//!   [`settings`]: what is asked, and what the image says to it
//! - [`paths`], [`id`], [`record`], [`volumes`], `copy_up`, `plugins` and `lending`: the files; [`error`]
//! - [`engine`], then `creation`, [`user`], `stack` and `copy_up`: a container that does not run yet
//! - [`spec`]: the pure function from a container to the OCI's document
//! - [`running`], [`monitor`] (its `watch` is the spine) and `watcher`: a container that runs;
//!   `watcher` and `sockets` are how it is found, `sys` is what the compiler cannot check
//! - [`framing`], `sockets`, [`attachment`], [`console`], [`detach`]: its streams, from both sides
//! - [`logs`], [`processes`], [`exec`], [`endpoints`], [`inspect`], [`usage`], [`update`], [`mod@commit`], `lifecycle`,
//!   `removal`, `copying`: everything that is done to it
//! - [`restart`], [`health`]: when a container is started again, and whether it is well; [`events`], [`image_events`]: what
//!   happened

pub mod attachment;
pub mod commit;
pub mod console;
mod copy_up;
mod copying;
mod creation;
pub mod detach;
pub mod devices;
pub mod endpoints;
pub mod engine;
pub mod error;
pub mod events;
pub mod exec;
pub mod framing;
pub mod health;
pub mod id;
pub mod image_events;
pub mod inspect;
mod lending;
mod lifecycle;
pub mod logging;
pub mod logs;
pub mod monitor;
pub mod mounts;
pub mod networking;
pub mod options;
mod own_ids;
pub mod owners;
pub mod paths;
mod plugins;
pub mod processes;
pub mod record;
mod removal;
pub mod restart;
pub mod running;
pub mod security;
pub mod settings;
pub mod sharing;
mod sockets;
pub mod spec;
mod stack;
mod sys;
pub mod update;
pub mod usage;
pub mod user;
pub mod volumes;
mod watcher;

pub use attachment::{AttachOptions, Attachment, converse};
pub use commit::{Commit, Meanwhile};
pub use console::{Ended, Notice};
pub use copying::NewOwner;
pub use detach::DetachKeys;
pub use devices::{DeviceRequest, DeviceRule, DiskRate, DiskWeight};
pub use engine::{All, Engine, Pruned, RemoveOptions, RootChain, Survey};
pub use error::{Error, Result};
pub use events::{Event, EventOptions, Events, Journal};
pub use exec::ExecOptions;
pub use framing::{Stream, Unframer};
pub use health::{Health, HealthCheck, HealthResult, HealthStatus};
pub use id::ContainerId;
pub use image_events::ImageEvent;
pub use inspect::mount_document;
pub use logging::{LogConfig, LogDriver};
pub use logs::{LogLine, LogOptions, Logs};
pub use mounts::{MountRequest, Source, VolumeWishes};
pub use network::{PortMapping, Protocol};
pub use networking::{Connection, HostAddress, Network, NetworkMode, exposed_port};
pub use options::{AttachedStream, CreateOptions, Resources, Ulimit};
pub use own_ids::id_range;
pub use owners::{Owners, OwnersRequest};
pub use paths::Paths;
pub use processes::ProcessRow;
pub use record::{Container, Life, Record, Status};
pub use restart::RestartPolicy;
pub use running::{Running, StartOptions};
pub use security::{Seccomp, Security};
pub use settings::{Defaults, Settings};
pub use sharing::{Ipc, Share, Sharing};
pub use update::Update;
pub use usage::{Traffic, Usage};
pub use volumes::{LOCAL, MountKind, MountPoint, Volume, VolumeRequest, Volumes};
