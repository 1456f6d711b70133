//! `system check`: is every stored byte what its name says, and if not, where can it be had again?

use std::collections::BTreeSet;

use clap::Args;
use containers::{All, Engine};
use daemon::words;
use distribution::Silent;
use images::{Descriptor, Mended, Reference, Repair, Verified, VerifiedLayers, builtin};

use crate::cli::Place;
use crate::stdout::say;

/// Compare every stored byte with its name, and heal what is damaged
///
/// Archives are hashed; extracted layers are extracted once more, in a corner of the engine's directory, and compared with
/// what lies there. Ends with 0 where everything is sound, or is again, and with 1 otherwise.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Heal what is damaged: extract again, compress again, pull again (by digest, from where it came)
    #[arg(long)]
    repair: bool,
}

impl Check {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let (blobs, layers) = examine(&engine)?;
        say!("{} blobs, {}: sound", blobs.sound, words::size(blobs.bytes));
        say!("{} extracted layers: sound", layers.sound);
        blobs.damaged.iter().for_each(|digest| say!("damaged: blob {digest}"));
        blobs.missing.iter().for_each(|digest| say!("missing: blob {digest}"));
        layers.damaged.iter().for_each(|layer| say!("damaged: extracted layer {layer}"));
        // Not damage: an image that was removed while a container stands on it has no archives any more.
        layers
            .unknown
            .iter()
            .for_each(|layer| say!("cannot be compared: extracted layer {layer} (its archive is not here)"));
        let damage = blobs.damaged.len() + blobs.missing.len() + layers.damaged.len();
        match (damage, self.repair) {
            (0, _) => Ok(0),
            (_, false) => {
                eprintln!("hint: `cooper system check --repair` heals what can be had again");
                Ok(1)
            }
            (_, true) => report(&heal(&engine, &blobs, &layers)?),
        }
    }
}

fn examine(engine: &Engine) -> anyhow::Result<(Verified, VerifiedLayers)> {
    let blobs = engine.store().verify()?;
    let scratch = engine.paths().data.join("check");
    let layers = engine.store().verify_layers(engine.snapshots(), &scratch);
    // It is empty but for its frame; one that a killed check left is used, and removed, by the next.
    let _ = std::fs::remove_dir_all(&scratch);
    Ok((blobs, layers?))
}

fn heal(engine: &Engine, blobs: &Verified, layers: &VerifiedLayers) -> anyhow::Result<Mended> {
    let mut standing = BTreeSet::new();
    for container in engine.list(All::No)? {
        standing.extend(container.record().layers.iter().copied());
    }
    let fetch = |name: &Reference, target: &Descriptor| again(engine, name, target);
    let repair = Repair { snapshots: engine.snapshots(), fetch: &fetch, standing: &standing };
    Ok(repair.run(engine.store(), blobs, layers)?)
}

/// Brings an image once more: exactly this one, whatever its name points to elsewhere by now.
fn again(engine: &Engine, name: &Reference, target: &Descriptor) -> Result<(), String> {
    let store = engine.store();
    let builtin = [builtin::HELLO, builtin::HOST].into_iter().find(|own| own.parse().as_ref() == Ok(name));
    if let Some(own) = builtin {
        let image = builtin::make(own, store).map_err(|error| error.to_string())?;
        return match image.target.digest == target.digest {
            true => Ok(()),
            false => Err(format!("this machine makes another {own} by now, and that has the name")),
        };
    }
    let client = crate::reach::Reach::strict().client().map_err(|error| format!("{error:#}"))?;
    let pinned = name.with_digest(target.digest);
    let pulled = distribution::pull(&client, &pinned, store, engine.snapshots(), &Silent);
    // The name that it had is enough.
    let untagged = store.untag(&pinned).map_err(|error| error.to_string());
    pulled.map_err(|error| error.to_string()).and(untagged.map(drop))
}

fn report(mended: &Mended) -> anyhow::Result<u8> {
    mended.blobs.iter().for_each(|digest| say!("healed: blob {digest}"));
    mended.dropped.iter().for_each(|digest| say!("removed, since nothing needs it: blob {digest}"));
    mended.layers.iter().for_each(|layer| say!("healed: extracted layer {layer}"));
    mended.lost.iter().for_each(|(what, why)| say!("not healed: {what}: {why}"));
    Ok(u8::from(!mended.lost.is_empty()))
}
