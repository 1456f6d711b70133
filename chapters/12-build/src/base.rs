//! Base images: from this engine's store, built in, or from a registry.

use containers::{Engine, Event, ImageEvent};
use distribution::{Client, Credentials, Options};
use images::{Image, Reference, builtin};
use layers::Digest;

use crate::error::Error;
use crate::options::Pull;
use crate::progress::Reporter;

/// The most bytes that an image's id needs to be told from a name.
const ID_LENGTH: usize = 12;

/// Brings the image `name`, with its layers' files extracted.
///
/// The order is the one that costs least: what is tagged here, what is built in (`hello`, `host`), what
/// a registry has. With [`Pull::Always`] a registry is asked first, except for built-in names.
///
/// # Errors
/// A name that is none, an image that is nowhere, and those of pulling it.
pub(crate) fn bring(engine: &Engine, name: &str, pull: Pull, reporter: &mut Reporter<'_>) -> Result<Image, Error> {
    let during = |what: &str| format!("{what} {name}");
    let (store, snapshots) = (engine.store(), engine.snapshots());
    if looks_like_id(name) {
        return store.find(name).map_err(|error| Error::engine(during("find the base image"), error));
    }
    let reference: Reference =
        name.parse().map_err(|error| Error::engine("read the base image's name", Box::new(error)))?;
    let local = store.resolve(&reference).map_err(|error| Error::engine(during("find the base image"), error))?;
    let image = match (local, pull) {
        (Some(image), Pull::Missing) => Some(image),
        _ => builtin::ensure(name, store, snapshots)
            .map_err(|error| Error::engine(during("make the built-in image"), error))?,
    };
    let image = match image {
        Some(image) => image,
        None => {
            let credentials = Credentials::from_docker_config()
                .map_err(|error| Error::engine("read the registry's credentials", error))?;
            let client = Client::new(credentials, Options::default());
            let image = distribution::pull(&client, &reference, store, snapshots, &distribution::Silent)
                .map_err(|error| Error::engine(during("pull the base image"), error))?;
            engine.events().record(&Event::of_image(&image, ImageEvent::Pull(&reference)));
            reporter.remark(&format!("pulled {reference} {}", image.target.digest));
            image
        }
    };
    images::unpack(store, snapshots, &image).map_err(|error| Error::engine(during("unpack the base image"), error))?;
    Ok(image)
}

/// Whether a name is an image's id rather than its name: a digest, or enough of one.
fn looks_like_id(name: &str) -> bool {
    name.parse::<Digest>().is_ok()
        || (name.len() >= ID_LENGTH
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()))
}
