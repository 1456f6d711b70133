//! From an image's name to an image: built in, here already, or pulled.

use containers::{Engine, Event, ImageEvent};
use distribution::{Bars, Client, Lines, Progress, Silent};
use images::{Image, Reference, builtin};

use crate::flags::Pull;
use crate::reach::Reach;

/// The image that `run IMAGE` means.
///
/// An image of the store comes first, so that whoever tags something `hello` gets that. Then the names that this
/// engine makes by itself, which need no network. Then the registry.
///
/// # Errors
/// No such image, here or there; a registry that cannot be reached or asks for a login.
pub(crate) fn image(engine: &Engine, name: &str, pull: Pull) -> anyhow::Result<Image> {
    if pull != Pull::Always {
        match engine.store().find(name) {
            Ok(image) => return Ok(image),
            Err(images::Error::NoImage(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(image) = builtin::ensure(name, engine.store(), engine.snapshots())? {
        return Ok(image);
    }
    match pull {
        Pull::Never => Err(images::Error::NoImage(name.to_owned()).into()),
        Pull::Missing => {
            eprintln!("Unable to find image '{name}' locally");
            fetch(engine, &Reach::strict().client()?, &name.parse()?, &*progress())
        }
        Pull::Always => fetch(engine, &Reach::strict().client()?, &name.parse()?, &*progress()),
    }
}

/// Pulls an image.
pub(crate) fn fetch(
    engine: &Engine,
    client: &Client,
    reference: &Reference,
    progress: &dyn Progress,
) -> anyhow::Result<Image> {
    let image = distribution::pull(client, reference, engine.store(), engine.snapshots(), progress)?;
    engine.events().record(&Event::of_image(&image, ImageEvent::Pull(reference)));
    Ok(image)
}

/// Bars for a person, lines for a log.
pub(crate) fn progress() -> Box<dyn Progress> {
    match rustix::termios::isatty(std::io::stderr()) {
        true => Box::new(Bars::new()),
        false => Box::new(Lines::stderr()),
    }
}

/// Says nothing: `--quiet`.
pub(crate) fn quiet() -> Box<dyn Progress> {
    Box::new(Silent)
}
