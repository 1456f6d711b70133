//! **`unsafe` stands in `src/sys.rs` and nowhere else.** Whoever audits a chapter opens one file.

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use crate::house::{Breach, Source};

/// Every place outside a `src/sys.rs` with the keyword `unsafe`, or with an attribute that lets it in.
///
/// Tokens are read, not text: comments and strings may speak of it, macros may not hide it.
///
/// # Errors
/// A source is not Rust.
pub fn check(sources: &[Source]) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| !source.path.ends_with("src/sys.rs")) {
        let tokens: TokenStream = source
            .text
            .parse()
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("cannot read {}", source.path))?;
        for line in lines(tokens) {
            breaches.push(Breach::new(format!("{}:{line}", source.path), "`unsafe` outside src/sys.rs"));
        }
    }
    Ok(breaches)
}

fn lines(tokens: TokenStream) -> Vec<usize> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => found.extend(lines(group.stream())),
            TokenTree::Ident(ident) if ident == "unsafe" => found.push(ident.span().start().line),
            _ => {}
        }
    }
    found
}
