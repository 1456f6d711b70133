//! Images that this engine makes by itself, so that a fresh machine without a network can run something at once.

mod hello;
mod host;
mod layer;

use std::collections::BTreeMap;

use layers::{DiffId, Snapshots};
use serde_json::Map;

use crate::config::{ContainerConfig, History, ImageConfig, RootFs};
use crate::descriptor::{Descriptor, Platform};
use crate::error::Result;
use crate::image::{Image, unpack};
use crate::manifest::Manifest;
use crate::media;
use crate::reference::Reference;
use crate::store::Store;

pub use hello::{hello_program, message as hello_message};

/// The name of the image with one tiny program.
pub const HELLO: &str = "hello";
/// The name of the image made of this machine's own tools.
pub const HOST: &str = "host";

/// The built-in image `name`, made on the spot if no such image is tagged, and unpacked; `None` for any other name.
///
/// An image that somebody tagged `hello` or `host` wins: built-in names are defaults and take nothing away.
///
/// # Errors
/// What is missing on this machine, or a failing store.
pub fn ensure(name: &str, store: &Store, snapshots: &Snapshots) -> Result<Option<Image>> {
    let Ok(reference) = name.parse::<Reference>() else { return Ok(None) };
    let image = match store.resolve(&reference)? {
        Some(image) if builtin_name(&reference).is_some() => image,
        Some(_) => return Ok(None),
        None => match builtin_name(&reference) {
            Some(name) => make(name, store)?,
            None => return Ok(None),
        },
    };
    unpack(store, snapshots, &image)?;
    Ok(Some(image))
}

/// Makes a built-in image and tags it; `name` is [`HELLO`] or [`HOST`].
///
/// # Errors
/// What is missing on this machine, or a failing store.
pub fn make(name: &'static str, store: &Store) -> Result<Image> {
    let _lease = store.lease()?;
    let recipe = if name == HOST { host::recipe()? } else { hello::recipe() };
    let target = recipe.store(store)?;
    let reference = name.parse()?;
    store.tag(&reference, &target)?;
    store.image(&target)
}

fn builtin_name(reference: &Reference) -> Option<&'static str> {
    [HELLO, HOST].into_iter().find(|name| name.parse().as_ref() == Ok(reference))
}

/// An image of one layer, as data.
struct Recipe {
    files: BTreeMap<String, layer::Entry>,
    platform: Platform,
    run: ContainerConfig,
    remark: String,
}

/// The time of everything built in: two machines that make the same files make the same digest.
const LONG_AGO: &str = "1970-01-01T00:00:00Z";

impl Recipe {
    /// Stores layer, config and manifest, in this order: what is named exists already.
    fn store(&self, store: &Store) -> Result<Descriptor> {
        let mut writer = store.writer()?;
        layer::write(&self.files, &mut writer)?;
        // Not compressed, so that the blob's digest is the diff id, whatever compressor a build has.
        let (digest, size) = writer.commit(None)?;
        let config = ImageConfig {
            created: Some(LONG_AGO.into()),
            architecture: self.platform.architecture.clone(),
            variant: self.platform.variant.clone(),
            os: self.platform.os.clone(),
            config: self.run.clone(),
            rootfs: RootFs { kind: "layers".into(), diff_ids: vec![DiffId(digest)] },
            history: vec![History {
                created: Some(LONG_AGO.into()),
                created_by: Some(self.remark.clone()),
                ..History::default()
            }],
            ..ImageConfig::default()
        }
        .to_bytes();
        store.put(&config)?;
        let layers = vec![Descriptor::new(media::OCI_LAYER, digest, size)];
        let manifest = Manifest::new(Descriptor::of(media::OCI_CONFIG, &config), layers).to_bytes();
        store.put(&manifest)?;
        Ok(Descriptor::of(media::OCI_MANIFEST, &manifest))
    }
}

/// The search path of programs that every image of ours has.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn run(command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        env: vec![PATH.into()],
        cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        other: Map::new(),
        ..ContainerConfig::default()
    }
}
