//! What happens to images, as Docker says it in the journal of [`events`](crate::events).
//!
//! A transfer happens to a *name*: `image pull site:1 (name=site)`. Everything else happens to an *image*, which may have
//! several names or none: `image untag sha256:4f... (name=sha256:4f...)`. Only `tag` says which name it is about.

use images::{Image, Reference};

use crate::events::Event;

/// What happened to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageEvent<'a> {
    /// It came from a registry under this name.
    Pull(&'a Reference),
    /// It went to a registry under this name.
    Push(&'a Reference),
    /// It was given this name.
    Tag(&'a Reference),
    /// It lost a name.
    Untag,
    /// It is gone.
    Delete,
    /// It came out of an archive of images.
    Load,
    /// It went into an archive of images.
    Save,
    /// It was made of an archive of files.
    Import,
}

impl Event {
    /// Something that happens to an image now.
    pub fn of_image(image: &Image, what: ImageEvent<'_>) -> Self {
        let id = image.id.to_string();
        let (action, subject, name) = match what {
            ImageEvent::Pull(name) => ("pull", name.familiar(), name.familiar_name()),
            ImageEvent::Push(name) => ("push", name.familiar(), name.familiar_name()),
            ImageEvent::Tag(name) => ("tag", id, name.familiar()),
            ImageEvent::Untag => ("untag", id.clone(), id),
            ImageEvent::Delete => ("delete", id.clone(), id),
            ImageEvent::Load => ("load", id.clone(), id),
            ImageEvent::Save => ("save", id.clone(), id),
            ImageEvent::Import => ("import", id.clone(), id),
        };
        let mut event = Self::now("image", action, subject);
        // An image that is gone has no labels that could be read.
        if what != ImageEvent::Delete {
            let labels = image.config.config.labels.iter();
            event.actor.attributes.extend(labels.map(|(name, value)| (name.clone(), value.clone())));
        }
        event.with("name", name)
    }
}
