//! **A message names its cause or hands it on, not both.** Whoever prints an error prints its chain of sources too, so a
//! cause that stands in the message and is a source is read twice: `cannot read x: no such file: no such file`.
//!
//! In this house the message is whole, because much of what prints an error (a daemon's answer, a record, a log) prints
//! its message alone. A field that the message shows is called `reason`, which `thiserror` does not take for a source.

use anyhow::Result;
use proc_macro2::TokenStream;
use syn::visit::{self, Visit};
use syn::{Attribute, Fields};

use crate::house::{Breach, Source};

/// Errors of `thiserror` whose message shows the field that is their source.
///
/// # Errors
/// A source is not Rust.
pub fn check(sources: &[Source]) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for source in sources {
        let mut messages = Messages { path: &source.path, breaches: &mut breaches };
        messages.visit_file(&source.syntax()?);
    }
    Ok(breaches)
}

struct Messages<'a> {
    path: &'a str,
    breaches: &'a mut Vec<Breach>,
}

impl Messages<'_> {
    fn look(&mut self, name: &syn::Ident, attributes: &[Attribute], fields: &Fields) {
        let Some(message) = attributes.iter().find(|attribute| attribute.path().is_ident("error")) else { return };
        let Ok(list) = message.meta.require_list() else { return };
        for field in sources_of(fields) {
            if shows(&list.tokens, &field) {
                let place = format!("{}:{}", self.path, name.span().start().line);
                let reason = format!("`{name}` shows its source `{field}` in its message: it is printed twice");
                self.breaches.push(Breach::new(place, reason));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Messages<'_> {
    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.look(&variant.ident, &variant.attrs, &variant.fields);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.look(&item.ident, &item.attrs, &item.fields);
        visit::visit_item_struct(self, item);
    }
}

/// The names, or the numbers, of the fields that `thiserror` takes for a source.
fn sources_of(fields: &Fields) -> Vec<String> {
    let named = fields
        .iter()
        .enumerate()
        .map(|(at, field)| (field.ident.as_ref().map_or(at.to_string(), ToString::to_string), &field.attrs));
    let marked = |attributes: &[Attribute]| {
        attributes.iter().any(|attribute| attribute.path().is_ident("source") || attribute.path().is_ident("from"))
    };
    named.filter(|(name, attributes)| name == "source" || marked(attributes)).map(|(name, _)| name).collect()
}

/// Whether a format string with its arguments shows a field: `{source}`, `{0:?}`, `source.display()`, `.0`.
fn shows(message: &TokenStream, field: &str) -> bool {
    let mut tokens = message.clone().into_iter();
    let text = tokens.next().map(|first| first.to_string()).unwrap_or_default();
    let inside = text.split('{').skip(1).any(|piece| piece.split(['}', ':']).next() == Some(field));
    let words = tokens.collect::<TokenStream>().to_string();
    inside || words.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == field)
}
