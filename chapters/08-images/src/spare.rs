//! Room on a full disk for taking a name away.
//!
//! Removing an image frees disk, but first the index must be written anew, without its name, beside the old one: a rename
//! is what makes that safe. On a disk without a free block even this little fails, and the one command that would help
//! does not work. So the store keeps a few blocks in hand.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use nix::errno::Errno;
use process::state::write_json;

use crate::error::Result;
use crate::manifest::Index;
use crate::store::Store;

/// The least that is kept, bytes: an index of a hundred images has half of it.
const LEAST: u64 = 64 << 10;

/// Writes the index. If that `shrinks` it and the disk is full, what is kept for this moment is given away first.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write(store: &Store, path: &Path, index: &Index, shrinks: bool) -> Result<()> {
    match write_json(path, index) {
        Err(error) if shrinks && matches!(error.errno(), Errno::ENOSPC | Errno::EDQUOT) => {
            // Not there any more: then the second try fails as the first one did, which is what there is to say.
            let _ = fs::remove_file(store.dir().join(".spare"));
            Ok(write_json(path, index)?)
        }
        written => Ok(written?),
    }
}

/// Sets room aside for an index of twice the size of today's, unless it is there or the disk has none.
pub(crate) fn keep(store: &Store, path: &Path) {
    let spare = store.dir().join(".spare");
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let wanted = LEAST.max(2 * size(path));
    if size(&spare) >= wanted {
        return;
    }
    // Written, and not with zeros: a hole or a compressed block would be room that nobody has.
    let filling: Vec<u8> =
        (0_u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(wanted as usize).collect();
    let written = fs::File::create(&spare).and_then(|mut file| file.write_all(&filling));
    if written.is_err() {
        let _ = fs::remove_file(&spare);
    }
}
