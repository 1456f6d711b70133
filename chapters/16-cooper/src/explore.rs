//! `image explore`: an image's layers in the terminal.
//!
//! What is shown is decided in [`state`], which knows keys and no terminal; [`view`] draws it and decides nothing.

mod rows;
mod state;
mod view;

use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use clap::Args;
use images::Anatomy;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::acquire;
use crate::anatomy::headline;
use crate::cli::Place;
use crate::flags::Pull;
use state::{Key, State};

/// Walk through the layers of an image in the terminal
///
/// Arrow keys move, Tab changes between layers and files, Enter folds and unfolds, / filters, q ends.
#[derive(Args, Debug)]
pub(crate) struct Explore {
    /// Name or id
    image: String,
}

impl Explore {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            bail!("explore needs a terminal; `cooper image tree {}` prints what it shows", self.image);
        }
        let engine = place.engine()?;
        let image = acquire::image(&engine, &self.image, Pull::Never)?;
        let anatomy = Anatomy::of(engine.store(), &image)?;
        let mut state = State::new(headline(&image, &anatomy), anatomy);
        let mut terminal = ratatui::try_init().context("take the terminal")?;
        let outcome = converse(&mut terminal, &mut state);
        // Whatever went wrong is read on a terminal that works.
        ratatui::try_restore().context("give the terminal back")?;
        outcome.map(|()| 0)
    }
}

fn converse(terminal: &mut ratatui::DefaultTerminal, state: &mut State) -> anyhow::Result<()> {
    while !state.is_over() {
        terminal.draw(|frame| view::draw(frame, state)).context("draw")?;
        if let Event::Key(pressed) = event::read().context("read a key")?
            && pressed.kind != KeyEventKind::Release
            && let Some(key) = key(pressed)
        {
            state.press(key);
        }
    }
    Ok(())
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match pressed.code {
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Tab | KeyCode::BackTab => Key::Tab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Char(character) => Key::Char(character),
        _ => return None,
    })
}
