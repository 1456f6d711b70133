use std::path::PathBuf;

use images::{Change, LayerFile};
use layers::{DiffId, Digest};

use super::*;

fn layer(paths: &[&str]) -> LayerAnatomy {
    let file = |path: &&str| LayerFile {
        path: PathBuf::from(path),
        change: Change::Added,
        directory: false,
        size: path.len() as u64,
        hidden_by: None,
    };
    let digest = Digest::of(paths.concat().as_bytes());
    let files = paths.iter().map(file).collect();
    LayerAnatomy { diff_id: DiffId(digest), digest, packed: 0, created_by: "RUN".to_owned(), files }
}

fn state() -> State {
    let layers = vec![layer(&["bin/ls", "bin/sh", "etc/app/conf"]), layer(&["srv/data"])];
    State::new(String::new(), Anatomy { layers })
}

fn press(state: &mut State, keys: &[Key]) {
    keys.iter().for_each(|key| state.press(*key));
}

fn under_cursor(state: &State) -> String {
    state.rows()[state.cursor()].path.display().to_string()
}

#[test]
fn arrows_walk_layers_and_files_and_stop_at_the_ends() {
    let mut state = state();
    press(&mut state, &[Key::Down, Key::Down, Key::Down]);
    assert_eq!((state.layer(), under_cursor(&state)), (1, "srv".to_owned()));
    press(&mut state, &[Key::Home, Key::Right, Key::End]);
    assert_eq!((state.layer(), under_cursor(&state)), (0, "etc/app/conf".to_owned()));
    press(&mut state, &[Key::PageUp, Key::Up]);
    assert_eq!(under_cursor(&state), "bin");
}

#[test]
fn left_folds_then_climbs_then_leaves() {
    let mut state = state();
    press(&mut state, &[Key::Tab, Key::Down, Key::Left]);
    assert_eq!(under_cursor(&state), "bin");
    press(&mut state, &[Key::Left]);
    assert!(state.rows()[0].folded);
    assert_eq!(state.rows().len(), 4);
    press(&mut state, &[Key::Left]);
    assert_eq!(state.pane(), Pane::Layers);
    press(&mut state, &[Key::Enter, Key::Enter]);
    assert!(!state.rows()[0].folded);
}

#[test]
fn a_filter_is_typed_kept_and_taken_back() {
    let mut state = state();
    press(&mut state, &[Key::Char('/'), Key::Char('C'), Key::Char('o'), Key::Char('q'), Key::Backspace]);
    assert!(state.is_typing() && !state.is_over());
    assert_eq!(state.rows().len(), 3, "the file and the two directories above it");
    press(&mut state, &[Key::Enter]);
    assert!(!state.is_typing());
    press(&mut state, &[Key::Escape]);
    assert_eq!((state.choice().filter.as_str(), state.rows().len(), state.is_over()), ("", 6, false));
    press(&mut state, &[Key::Escape]);
    assert!(state.is_over());
}

#[test]
fn an_image_without_layers_or_files_is_no_panic() {
    let every =
        [Key::Up, Key::Down, Key::Left, Key::Right, Key::Tab, Key::Enter, Key::End, Key::Char('w'), Key::Char('s')];
    for layers in [Vec::new(), vec![layer(&[])]] {
        let mut state = State::new(String::new(), Anatomy { layers });
        press(&mut state, &every);
        press(&mut state, &every);
        assert!(state.rows().is_empty());
    }
}
