//! The naive way to extract an archive: join each name to the directory, and write there.
//!
//! It is what anybody writes first, it works on every archive that one makes oneself, and it hands the whole
//! machine to whoever makes an archive for it. `cargo run --example naive_extract` attacks it, and then
//! attacks [`layers::apply`] with the same bytes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::path::Path;

use layers::{ApplyOptions, Attributes, Tarball};
use rootfs::Root;

/// Never do this.
fn naive_extract(archive: &[u8], into: &Path) {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        // "../x" climbs out, and "/x" does not even begin inside: joining an absolute path replaces the directory.
        let path = into.join(entry.path().unwrap());
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(path).unwrap(),
            // The link may point anywhere, and the next member's name may lead through it.
            tar::EntryType::Symlink => std::os::unix::fs::symlink(entry.link_name().unwrap().unwrap(), path).unwrap(),
            _ => {
                let mut body = Vec::new();
                entry.read_to_end(&mut body).unwrap();
                // Follows a link that stands there already.
                fs::write(path, body).unwrap();
            }
        }
    }
}

/// Two archives that mean harm to what lies beside the directory.
fn attacks() -> [(&'static str, Vec<u8>); 2] {
    let owner = Attributes {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        ..Attributes::plain(0o644)
    };
    let mut climb = Tarball::new(Vec::new());
    climb.file(Path::new("../canary"), 4, &owner, &b"dead"[..]).unwrap();
    let mut through = Tarball::new(Vec::new());
    through.symlink(Path::new("out"), b"..", &owner).unwrap();
    through.file(Path::new("out/canary"), 4, &owner, &b"dead"[..]).unwrap();
    [("a name that climbs out", climb.finish().unwrap()), ("a write through a link", through.finish().unwrap())]
}

/// What the canary beside the root says after an extraction.
fn canary_after(extract: impl Fn(&Path)) -> String {
    let world = tempfile::tempdir().unwrap();
    fs::write(world.path().join("canary"), "alive").unwrap();
    fs::create_dir(world.path().join("root")).unwrap();
    extract(&world.path().join("root"));
    fs::read_to_string(world.path().join("canary")).unwrap()
}

fn hardened_extract(archive: &[u8], into: &Path) {
    // An error is a fine answer to an attack.
    let _ = layers::apply(archive, &Root::open(into).unwrap(), &ApplyOptions::default());
}

fn main() {
    for (name, archive) in attacks() {
        println!("{name}:");
        println!("  naive:    the canary is {}", canary_after(|root| naive_extract(&archive, root)));
        println!("  hardened: the canary is {}", canary_after(|root| hardened_extract(&archive, root)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attacks_work_against_the_naive_form_and_fail_against_ours() {
        for (name, archive) in attacks() {
            assert_eq!(canary_after(|root| naive_extract(&archive, root)), "dead", "{name}");
            assert_eq!(canary_after(|root| hardened_extract(&archive, root)), "alive", "{name}");
        }
    }
}
