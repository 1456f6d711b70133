//! What the explorer shows, and what each key does to that. It knows no terminal.

use images::{Anatomy, LayerAnatomy};

use super::rows::{Choice, Row, rows};

/// A key, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    Enter,
    Escape,
    Backspace,
    Interrupt,
    Char(char),
}

/// Which half of the screen the keys are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Layers,
    Files,
}

/// How far a page key goes.
const PAGE: usize = 20;

/// The explorer between two keys.
#[derive(Debug)]
pub(super) struct State {
    headline: String,
    anatomy: Anatomy,
    pane: Pane,
    layer: usize,
    /// The row under the cursor.
    cursor: usize,
    choice: Choice,
    rows: Vec<Row>,
    typing: bool,
    over: bool,
}

impl State {
    /// The first layer of an image, unfolded.
    pub(super) fn new(headline: String, anatomy: Anatomy) -> Self {
        let mut state = Self {
            headline,
            anatomy,
            pane: Pane::Layers,
            layer: 0,
            cursor: 0,
            choice: Choice::default(),
            rows: Vec::new(),
            typing: false,
            over: false,
        };
        state.lay_out();
        state
    }

    pub(super) fn headline(&self) -> &str {
        &self.headline
    }

    pub(super) fn layers(&self) -> &[LayerAnatomy] {
        &self.anatomy.layers
    }

    pub(super) fn layer(&self) -> usize {
        self.layer
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    pub(super) fn pane(&self) -> Pane {
        self.pane
    }

    pub(super) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Whether a filter is being typed.
    pub(super) fn is_typing(&self) -> bool {
        self.typing
    }

    /// Whether nothing more is to be shown.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// One key further.
    pub(super) fn press(&mut self, key: Key) {
        match key {
            Key::Interrupt => self.over = true,
            key if self.typing => self.type_filter(key),
            Key::Char('q') => self.over = true,
            Key::Escape if self.choice.filter.is_empty() => self.over = true,
            Key::Escape => self.choose(|choice| choice.filter.clear()),
            Key::Char('/') => {
                self.typing = true;
                self.pane = Pane::Files;
            }
            Key::Char('w') => self.choose(|choice| choice.wasted = !choice.wasted),
            Key::Char('s') => self.choose(|choice| choice.by_size = !choice.by_size),
            Key::Tab => self.pane = if self.pane == Pane::Layers { Pane::Files } else { Pane::Layers },
            Key::Up | Key::Char('k') => self.step(|at| at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.step(|at| at + 1),
            Key::PageUp => self.step(|at| at.saturating_sub(PAGE)),
            Key::PageDown => self.step(|at| at + PAGE),
            Key::Home => self.step(|_| 0),
            Key::End => self.step(|_| usize::MAX),
            Key::Right if self.pane == Pane::Layers => self.pane = Pane::Files,
            Key::Enter if self.pane == Pane::Layers => self.pane = Pane::Files,
            Key::Enter | Key::Char(' ') => self.fold(None),
            Key::Right => self.fold(Some(false)),
            Key::Left => self.leave(),
            Key::Backspace | Key::Char(_) => {}
        }
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Char(character) => self.choose(|choice| choice.filter.push(character)),
            Key::Backspace => self.choose(|choice| {
                choice.filter.truncate(choice.filter.floor_char_boundary(choice.filter.len().saturating_sub(1)))
            }),
            Key::Enter | Key::Tab | Key::Down => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.choose(|choice| choice.filter.clear());
            }
            _ => {}
        }
    }

    /// Moves the cursor of the pane that has the keys.
    fn step(&mut self, to: impl Fn(usize) -> usize) {
        let last = |length: usize| length.saturating_sub(1);
        match self.pane {
            Pane::Files => self.cursor = to(self.cursor).min(last(self.rows.len())),
            Pane::Layers => {
                self.layer = to(self.layer).min(last(self.anatomy.layers.len()));
                self.cursor = 0;
                self.lay_out();
            }
        }
    }

    /// Folds or unfolds the directory under the cursor; the other way round than it is, if it is not said.
    fn fold(&mut self, wanted: Option<bool>) {
        let Some(row) = self.rows.get(self.cursor).filter(|row| row.directory) else { return };
        let (path, fold) = (row.path.clone(), wanted.unwrap_or(!row.folded));
        self.choose(|choice| match fold {
            true => drop(choice.folded.insert(path)),
            false => drop(choice.folded.remove(&path)),
        });
    }

    /// Left: folds a directory, goes from a file to its directory, and from the top to the layers.
    fn leave(&mut self) {
        if self.pane == Pane::Layers {
            return;
        }
        match self.rows.get(self.cursor) {
            Some(row) if row.directory && !row.folded && self.choice.filter.is_empty() => self.fold(Some(true)),
            Some(row) if row.depth > 0 => {
                let above = row.path.parent().map(|above| above.to_owned());
                let place = self.rows.iter().position(|other| Some(&other.path) == above.as_ref());
                self.cursor = place.unwrap_or(self.cursor);
            }
            _ => self.pane = Pane::Layers,
        }
    }

    /// Changes what is shown; the cursor stays on its path if that is still there.
    fn choose(&mut self, change: impl FnOnce(&mut Choice)) {
        let at = self.rows.get(self.cursor).map(|row| row.path.clone());
        change(&mut self.choice);
        self.lay_out();
        let place = self.rows.iter().position(|row| Some(&row.path) == at.as_ref());
        self.cursor = place.unwrap_or(0);
    }

    fn lay_out(&mut self) {
        let files = self.anatomy.layers.get(self.layer).map_or(&[][..], |layer| &layer.files);
        self.rows = rows(files, &self.choice);
        self.cursor = self.cursor.min(self.rows.len().saturating_sub(1));
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
