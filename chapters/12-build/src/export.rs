//! From a finished stage to an image with a name.
//!
//! The layers are in the store already. What is missing are two small documents: the *config*
//! (how to run it, which layers, how it was made), whose digest is the image's id, and the
//! *manifest*, which names the config and the compressed layers and is what a name points to.

use containers::{Engine, Event, ImageEvent};
use images::{Descriptor, Image, Manifest, media};

use crate::error::Error;
use crate::options::BuildOptions;
use crate::progress::Reporter;
use crate::stage::Stage;

/// Writes the image of `stage` and names it.
///
/// # Errors
/// Those of writing to the store.
pub(crate) fn export(
    engine: &Engine,
    options: &BuildOptions,
    mut stage: Stage,
    reporter: &mut Reporter<'_>,
) -> Result<Image, Error> {
    let during = |error: images::Error| Error::engine("write the image", error);
    let store = engine.store();
    reporter.begin("exporting to image");
    stage.config.created = Some(stage.moment.clone());
    stage.config.config.env = stage.scope.env();
    stage.config.config.labels.extend(options.labels.iter().cloned());
    stage.config.rootfs.diff_ids = stage.chain();
    reporter.remark(&format!("exporting layers done ({})", stage.layers.len()));

    let config = serde_json::to_vec(&stage.config).map_err(|error| Error::engine("write the image's config", error))?;
    let (digest, size) = store.put(&config).map_err(during)?;
    reporter.remark(&format!("writing image {digest} done"));
    let config = Descriptor::new(media::OCI_CONFIG, digest, size);
    let layers = stage.layers.iter().map(|layer| oci(&layer.blob)).collect();
    let manifest = Manifest::new(config, layers).to_bytes();
    let (digest, size) = store.put(&manifest).map_err(during)?;
    let target = Descriptor::new(media::OCI_MANIFEST, digest, size);
    for name in &options.tags {
        store.tag(name, &target).map_err(during)?;
        reporter.remark(&format!("naming to {name} done"));
    }
    if options.tags.is_empty() {
        // Without a name in the index the next collection would take it.
        store.keep(&target).map_err(during)?;
    }
    let image = store.image(&target).map_err(during)?;
    for name in &options.tags {
        engine.events().record(&Event::of_image(&image, ImageEvent::Tag(name)));
    }
    reporter.done();
    Ok(image)
}

/// A layer of a base image may carry Docker's media type; in an OCI manifest the same bytes have
/// OCI's name for them.
fn oci(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        media::DOCKER_LAYER_GZIP => media::OCI_LAYER_GZIP,
        media::DOCKER_LAYER => media::OCI_LAYER,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => media::OCI_LAYER_ZSTD,
        other => other,
    };
    Descriptor { media_type: media_type.to_owned(), ..layer.clone() }
}
