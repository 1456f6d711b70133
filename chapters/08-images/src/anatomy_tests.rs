#![allow(clippy::unwrap_used)]

use layers::{Attributes, Tarball};

use super::*;

/// What layers of these members do: a name ends in a slash for a directory, and begins with `.wh.` for a whiteout.
fn dissect(layers: &[&[(&str, usize)]]) -> Anatomy {
    let mut dissection = Dissection::default();
    for members in layers {
        let mut archive = Tarball::new(Vec::new());
        for (name, size) in *members {
            match name.strip_suffix('/') {
                Some(directory) => archive.directory(Path::new(directory), &Attributes::plain(0o755)).unwrap(),
                None => {
                    archive.file(Path::new(name), *size as u64, &Attributes::plain(0o644), &vec![7; *size][..]).unwrap()
                }
            }
        }
        let bytes = archive.finish().unwrap();
        let digest = Digest::of(&bytes);
        let files = dissection.layer(&bytes[..], Limits::default()).unwrap();
        let layer = LayerAnatomy { diff_id: DiffId(digest), digest, packed: 0, created_by: String::new(), files };
        dissection.anatomy.layers.push(layer);
    }
    dissection.anatomy
}

/// `LETTER path [hidden by layer]` of one layer.
fn lines(layer: &LayerAnatomy) -> Vec<String> {
    let line = |file: &LayerFile| {
        let hidden = file.hidden_by.map_or(String::new(), |by| format!(" ({by})"));
        format!("{} {}{hidden}", file.change.letter(), file.path.display())
    };
    layer.files.iter().map(line).collect()
}

#[test]
fn a_change_a_whiteout_and_an_opaque_directory_hide_what_is_below() {
    let anatomy = dissect(&[
        &[("app", 100), ("cache/", 0), ("cache/big", 900), ("etc/", 0), ("etc/a", 10), ("etc/b", 20), ("same", 1)],
        &[("app", 200), (".wh.cache", 0)],
        &[("etc/", 0), ("etc/.wh..wh..opq", 0), ("etc/c", 5)],
    ]);
    assert_eq!(
        lines(&anatomy.layers[0]),
        ["A app (1)", "A cache (1)", "A cache/big (1)", "A etc", "A etc/a (2)", "A etc/b (2)", "A same"]
    );
    assert_eq!(lines(&anatomy.layers[1]), ["C app", "D cache"]);
    assert_eq!(lines(&anatomy.layers[2]), ["D etc", "C etc", "A etc/c"]);
    assert_eq!((anatomy.size(), anatomy.wasted()), (1236, 1030));
    assert_eq!(anatomy.efficiency(), 16);
}

#[test]
fn a_file_in_place_of_a_directory_hides_all_of_it_and_neighbours_with_like_names_stay() {
    let anatomy = dissect(&[&[("d/", 0), ("d/x", 3), ("d.txt", 4), ("d2", 5)], &[("d", 1)]]);
    assert_eq!(lines(&anatomy.layers[0]), ["A d (1)", "A d/x (1)", "A d.txt", "A d2"]);
}

#[test]
fn a_name_that_is_removed_and_made_again_is_new() {
    let anatomy = dissect(&[&[("x", 1)], &[(".wh.x", 0)], &[("x", 2)], &[("x", 3)]]);
    assert_eq!(lines(&anatomy.layers[0]), ["A x (1)"]);
    assert_eq!(lines(&anatomy.layers[2]), ["A x (3)"]);
    assert_eq!(lines(&anatomy.layers[3]), ["C x"]);
}

#[test]
fn the_same_layer_removes_and_replaces() {
    // As overlayfs leaves it where a directory took the place of one.
    let anatomy = dissect(&[&[("d/", 0), ("d/old", 7)], &[("d/", 0), ("d/.wh.old", 0), ("d/new", 1)]]);
    assert_eq!(lines(&anatomy.layers[0]), ["A d", "A d/old (1)"]);
    assert_eq!(lines(&anatomy.layers[1]), ["C d", "A d/new", "D d/old"]);
}

#[test]
fn an_image_s_layers_have_the_words_of_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = crate::builtin::make(crate::builtin::HELLO, &store).unwrap();
    let anatomy = Anatomy::of(&store, &image).unwrap();
    assert_eq!((anatomy.layers.len(), anatomy.wasted(), anatomy.efficiency()), (1, 0, 100));
    assert!(!anatomy.layers[0].created_by.is_empty());
    assert_eq!(anatomy.layers[0].packed, image.manifest.layers[0].size);
}
