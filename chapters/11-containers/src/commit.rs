//! A container's files as an image (`commit`) and as an archive (`export`).
//!
//! ```text
//!  upper/   what the container changed  -- diff -->  one layer more          commit: image + container
//!  init/    what the engine put there                (left out)
//!  layers   the image                   -- named in the new manifest -->     the same layers
//!
//!  all of it, stacked                   -- diff against nothing -->          export: files, no history
//! ```

use std::io::Write;

use images::{ContainerConfig, History, Image, ImageConfig, Reference};
use jiff::Timestamp;

use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::events::Event;
use crate::id::ContainerId;
use crate::image_events::ImageEvent;
use crate::record::{Container, Record, Status};
use crate::stack::Stack;
use crate::volumes::MountKind;

/// What a container does while its files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Meanwhile {
    /// It is frozen, so that no file is caught half written.
    #[default]
    Paused,
    /// It runs on: `--pause=false`.
    Running,
}

/// Changes a new image's configuration; what is wrong is a sentence.
pub type Amend<'a> = &'a dyn Fn(&mut ImageConfig) -> Result<(), String>;

/// How a container is made an image.
pub struct Commit<'a> {
    /// The image's name; without one it is found by its id.
    pub name: Option<Reference>,
    /// `--author`.
    pub author: Option<String>,
    /// `--message`.
    pub message: Option<String>,
    /// `--pause`.
    pub meanwhile: Meanwhile,
    /// `--change`: the last to have a say.
    pub amend: Amend<'a>,
}

impl Engine {
    /// Makes an image of a container: its image's layers, one more with what it changed, and how it runs.
    ///
    /// Volumes and bind mounts are no part of it. When this returns, the image is on the disk.
    ///
    /// # Errors
    /// [`Error::BadValue`] for a change that makes no sense; a container whose image was removed.
    pub fn commit(&self, id: &ContainerId, how: &Commit<'_>) -> Result<Image> {
        let container = self.container(id)?;
        let store = self.store();
        let _lease = store.lease().doing("lock", "the image store")?;
        let base = self.image_of(&container)?;
        let mut config = ImageConfig { config: configuration(&base, container.record()), ..base.config.clone() };
        (how.amend)(&mut config).map_err(|reason| Error::bad("--change", "", reason))?;

        let mut layers = base.manifest.layers.clone();
        let changed = {
            let _frozen = self.freeze(&container, how.meanwhile)?;
            match self.changes(id)?.is_empty() {
                true => None,
                false => Some(self.changes_as_layer(&container)?),
            }
        };
        if let Some((diff_id, blob)) = &changed {
            let archive = store.blob(&blob.digest).doing("read", blob.digest)?;
            self.snapshots().extract(diff_id, archive).doing("extract", diff_id)?;
            config.rootfs.diff_ids.push(*diff_id);
            layers.push(blob.clone());
        }
        let now = Timestamp::now().to_string();
        config.author = how.author.clone();
        config.history.push(History {
            created: Some(now.clone()),
            created_by: Some(container.record().settings.cmd.join(" ")),
            author: how.author.clone(),
            comment: how.message.clone(),
            empty_layer: changed.is_none(),
            ..History::default()
        });
        config.created = Some(now);
        let image = store.put_image(&config, layers).doing("commit", container.name())?;
        // What the new layer takes from those below it is made now, so that what is wrong with that is said now.
        self.snapshots().stack(image.diff_ids()).doing("stack", "the layers")?;
        let named = match &how.name {
            Some(name) => store.tag(name, &image.target),
            None => store.keep(&image.target),
        };
        named.doing("name", image.id)?;
        if let Some(name) = &how.name {
            self.events().record(&Event::of_image(&image, ImageEvent::Tag(name)));
        }
        let name = how.name.as_ref().map(Reference::familiar).unwrap_or_default();
        let event = Event::of(&container, "commit").with("imageID", image.id).with("imageRef", name);
        self.events().record(&event.with("comment", how.message.as_deref().unwrap_or_default()));
        Ok(image)
    }

    /// Writes all of a container's files as one archive: its image's and its own, without volumes and bind mounts.
    ///
    /// A container that runs is not paused for it, as docker does not.
    ///
    /// # Errors
    /// Those of reading the files and of writing to `out`.
    pub fn export(&self, id: &ContainerId, out: impl Write) -> Result<()> {
        let container = self.container(id)?;
        let mut out = std::io::BufWriter::with_capacity(1 << 20, out);
        Stack::of(&container, self.snapshots()).look(|root| {
            layers::diff(root, &[], &mut out).doing("export", container.name())?;
            out.flush().doing("export", container.name())
        })?;
        self.events().record(&Event::of(&container, "export"));
        Ok(())
    }

    fn image_of(&self, container: &Container) -> Result<Image> {
        let Some(id) = &container.record().image_id else {
            return Err(Error::bad("container", container.name(), "it was not made of an image"));
        };
        match self.store().find(&id.to_string()) {
            Err(images::Error::NoImage(_)) => {
                let reason = format!("its image {} was removed, and the new one would need its layers", id.short());
                Err(Error::bad("container", container.name(), reason))
            }
            found => found.doing("find", id),
        }
    }

    /// The container's own changes in the image store.
    fn changes_as_layer(&self, container: &Container) -> Result<(layers::DiffId, images::Descriptor)> {
        let mut layer = self.store().layer_writer().doing("write", "a layer")?;
        Stack::of(container, self.snapshots()).archive_changes(&mut layer)?;
        layer.commit().doing("write", "a layer")
    }

    /// Freezes a container that runs, for as long as the result lives.
    fn freeze(&self, container: &Container, meanwhile: Meanwhile) -> Result<Option<Frozen<'_>>> {
        let running = container.life()?.status == Status::Running;
        match meanwhile {
            Meanwhile::Paused if running => {
                self.pause(container.id())?;
                Ok(Some(Frozen { engine: self, id: container.id().clone() }))
            }
            _ => Ok(None),
        }
    }
}

/// A container that goes on when this is dropped.
struct Frozen<'a> {
    engine: &'a Engine,
    id: ContainerId,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // It may have been killed or thawed meanwhile, and then it needs nothing.
        let _ = self.engine.unpause(&self.id);
    }
}

/// How the image's configuration differs in a container: what it was given stays, what the engine added does not.
fn configuration(base: &Image, record: &Record) -> ContainerConfig {
    let (settings, options, was) = (&record.settings, &record.options, &base.config.config);
    let given = |entry: &String| was.env.contains(entry) || options.env.contains(entry);
    let hostname = format!("HOSTNAME={}", settings.hostname);
    let own = |entry: &&String| given(entry) || (**entry != hostname && (!options.terminal || **entry != "TERM=xterm"));
    let words = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let anonymous =
        record.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Volume { anonymous: true, .. }));
    let volumes = anonymous.map(|mount| (mount.target.to_string_lossy().into_owned(), serde_json::Map::new()));
    ContainerConfig {
        user: settings.user.clone(),
        exposed_ports: settings.exposed_ports.iter().map(|port| (port.clone(), serde_json::Map::new())).collect(),
        env: settings.env.iter().filter(own).cloned().collect(),
        entrypoint: words(&settings.entrypoint),
        cmd: words(&settings.cmd),
        volumes: was.volumes.clone().into_iter().chain(volumes).collect(),
        working_dir: match (was.working_dir.as_str(), settings.workdir.as_str()) {
            ("", "/") => String::new(),
            (_, workdir) => workdir.to_owned(),
        },
        labels: settings.labels.clone().into_iter().collect(),
        stop_signal: options.stop_signal.clone().or_else(|| was.stop_signal.clone()),
        ..was.clone()
    }
}
