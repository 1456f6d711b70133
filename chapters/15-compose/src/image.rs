//! A service's image: built, found here, built in, or pulled.

use std::io::Write;

use build::{BuildOptions, Plain, Reasons};
use containers::{Engine, Event, ImageEvent};
use distribution::{Client, Credentials, Options};
use images::{Image, Reference, builtin};

use crate::error::Error;
use crate::model::{Build, Service};

/// Whether images are built that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rebuild {
    /// `--build`.
    Always,
    /// Only if the image is missing.
    IfMissing,
}

/// Brings the image of a service, its layers extracted.
///
/// # Errors
/// A failed build, an image that is nowhere.
pub(crate) fn bring(engine: &Engine, service: &Service, rebuild: Rebuild, out: &mut dyn Write) -> Result<Image, Error> {
    let during = |what: &str| format!("service {}: {what} {}", service.name, service.image);
    let (store, snapshots) = (engine.store(), engine.snapshots());
    let reference: Reference =
        service.image.parse().map_err(|error| Error::engine(during("read the image's name"), Box::new(error)))?;
    let here = store.resolve(&reference).map_err(|error| Error::engine(during("find"), error))?;
    let image = match (&service.build, here) {
        (Some(build), None) => self::build(engine, service, build, reference, out)?,
        (Some(build), Some(_)) if rebuild == Rebuild::Always => self::build(engine, service, build, reference, out)?,
        (_, Some(image)) => image,
        (None, None) => {
            let made = builtin::ensure(&service.image, store, snapshots);
            match made.map_err(|error| Error::engine(during("make"), error))? {
                Some(image) => image,
                None => {
                    let credentials = Credentials::from_docker_config()
                        .map_err(|error| Error::engine("read the registry's credentials", error))?;
                    let client = Client::new(credentials, Options::default());
                    let image = distribution::pull(&client, &reference, store, snapshots, &distribution::Silent)
                        .map_err(|error| Error::engine(during("pull"), error))?;
                    engine.events().record(&Event::of_image(&image, ImageEvent::Pull(&reference)));
                    image
                }
            }
        }
    };
    images::unpack(store, snapshots, &image).map_err(|error| Error::engine(during("unpack"), error))?;
    Ok(image)
}

fn build(
    engine: &Engine,
    service: &Service,
    build: &Build,
    tag: Reference,
    out: &mut dyn Write,
) -> Result<Image, Error> {
    let options = BuildOptions {
        dockerfile: Some(build.dockerfile.clone()),
        tags: vec![tag],
        target: build.target.clone(),
        build_args: build.args.clone(),
        ..BuildOptions::new(&build.context)
    };
    let mut progress = Plain::new(out, Reasons::Hide);
    build::build(engine, &options, &mut progress)
        .map_err(|reason| Error::Build { service: service.name.clone(), reason })
}
