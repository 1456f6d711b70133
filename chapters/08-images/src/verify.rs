//! Is everything still what its name says? Disks forget bits, and people edit files.

use std::io;

use layers::Digest;

use crate::error::Result;
use crate::manifest::Document;
use crate::store::{Store, blob_directories};

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs that are what their names say.
    pub sound: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that are something else.
    pub damaged: Vec<Digest>,
    /// Blobs that a name reaches and that are not here.
    pub missing: Vec<Digest>,
}

impl Store {
    /// Reads every blob and compares it with its name, and looks for what is named and not here.
    ///
    /// An index may name manifests of other machines that were never fetched: those are not missing.
    ///
    /// # Errors
    /// Those of reading directories. Damage is a result, not an error.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        for (digest, size) in blob_directories(self)? {
            match io::copy(&mut self.blob(&digest)?, &mut io::sink()) {
                Ok(_) => {
                    verified.sound += 1;
                    verified.bytes += size;
                }
                Err(_) => verified.damaged.push(digest),
            }
        }
        for entry in self.list()? {
            if !self.has(&entry.target.digest) {
                verified.missing.push(entry.target.digest);
            }
            let manifests = match self.document(&entry.target) {
                Ok(Document::Manifest(manifest)) => vec![manifest],
                Ok(Document::Index(index)) => {
                    let read = |entry| match self.document(entry) {
                        Ok(Document::Manifest(manifest)) => Some(manifest),
                        _ => None,
                    };
                    index.manifests.iter().filter_map(read).collect()
                }
                Err(_) => Vec::new(),
            };
            for manifest in manifests {
                let parts = manifest.layers.iter().chain([&manifest.config]);
                verified.missing.extend(parts.map(|part| part.digest).filter(|digest| !self.has(digest)));
            }
        }
        verified.missing.sort();
        verified.missing.dedup();
        Ok(verified)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn a_flipped_byte_and_a_lost_blob_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let image = builtin::make(builtin::HELLO, &store).unwrap();
        assert_eq!(store.verify().unwrap().sound, 3);

        let layer = image.manifest.layers[0].digest;
        let mut bytes = std::fs::read(store.blob_path(&layer)).unwrap();
        bytes[100] ^= 1;
        std::fs::write(store.blob_path(&layer), bytes).unwrap();
        std::fs::remove_file(store.blob_path(&image.id)).unwrap();
        let verified = store.verify().unwrap();
        assert_eq!((verified.sound, verified.damaged, verified.missing), (1, vec![layer], vec![image.id]));
    }
}
