//! Draws the explorer's state.

use daemon::words;
use images::{Change, LayerAnatomy};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, List, ListItem, ListState, Paragraph};

use super::rows::Row;
use super::state::{Pane, State};
use crate::anatomy::{printable, shown};

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let [head, middle, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let [left, right] = Layout::horizontal([Constraint::Percentage(40), Constraint::Percentage(60)]).areas(middle);
    frame.render_widget(Paragraph::new(state.headline()).style(Modifier::BOLD), head);
    layers(frame, state, left);
    files(frame, state, right);
    frame.render_widget(Paragraph::new(hint(state)), foot);
}

fn layers(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let items: Vec<ListItem<'_>> = state.layers().iter().enumerate().map(|(at, layer)| layer_item(at, layer)).collect();
    list(frame, items, "layers", state.layer(), state.pane() == Pane::Layers, area);
}

fn layer_item(at: usize, layer: &LayerAnatomy) -> ListItem<'static> {
    let wasted = match layer.wasted() {
        0 => String::new(),
        bytes => format!("  {} wasted", words::size(bytes)),
    };
    let facts = format!("{:>2} {} {:>8}", at + 1, layer.diff_id.0.short(), words::size(layer.size()));
    ListItem::new(vec![
        Line::from(vec![Span::raw(facts), Span::styled(wasted, Color::Red)]),
        Line::styled(format!("   {}", printable(&layer.created_by)), Modifier::DIM),
    ])
}

fn files(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let items: Vec<ListItem<'_>> = state.rows().iter().map(|row| ListItem::new(row_line(row))).collect();
    let title = match (state.choice().filter.as_str(), state.choice().wasted) {
        ("", false) => "files".to_owned(),
        ("", true) => "files that are hidden later".to_owned(),
        (filter, _) => format!("files with {}", printable(filter)),
    };
    list(frame, items, &title, state.cursor(), state.pane() == Pane::Files, area);
}

fn row_line(row: &Row) -> Line<'static> {
    let (letter, color) = match row.change {
        None => (' ', Color::Reset),
        Some(change @ Change::Added) => (change.letter(), Color::Green),
        Some(change @ Change::Changed) => (change.letter(), Color::Yellow),
        Some(change) => (change.letter(), Color::Red),
    };
    let name = row.path.file_name().map_or_else(String::new, |name| shown(name.as_ref()));
    let fold = match (row.directory, row.folded) {
        (true, true) => "▸ ",
        (true, false) => "▾ ",
        (false, _) => "  ",
    };
    let slash = if row.directory { "/" } else { "" };
    let mut spans = vec![
        Span::styled(format!("{letter} {:>8} ", words::size(row.size)), color),
        Span::raw(format!("{}{fold}{name}{slash}", "  ".repeat(row.depth))),
    ];
    if let Some(by) = row.hidden_by {
        spans.push(Span::styled(format!("  hidden by layer {}", by + 1), Modifier::DIM));
    }
    Line::from(spans)
}

fn list(frame: &mut Frame<'_>, items: Vec<ListItem<'_>>, title: &str, at: usize, active: bool, area: Rect) {
    let border = if active { Style::new().fg(Color::Cyan) } else { Style::new() };
    let marked = if active { Modifier::REVERSED } else { Modifier::BOLD };
    let block = Block::bordered().title(title.to_owned()).border_style(border);
    let mut selected = ListState::default().with_selected((!items.is_empty()).then_some(at));
    frame.render_stateful_widget(List::new(items).block(block).highlight_style(marked), area, &mut selected);
}

fn hint(state: &State) -> Line<'static> {
    match state.is_typing() {
        true => Line::from(format!("filter: {}█   Enter keeps it, Esc drops it", printable(&state.choice().filter))),
        false => Line::styled("q quit  ↑↓ move  Tab pane  ←→ Enter fold  / filter  w wasted  s by size", Modifier::DIM),
    }
}
