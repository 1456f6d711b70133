//! **A library begins with a map.** `lib.rs` opens with the idea in a few lines and names each of its modules, so that a
//! reader knows where to go before reading any code.

use anyhow::Result;

use crate::house::{Breach, Source};

/// Modules that mean the same in every chapter: its error, and the only place of `unsafe`.
const EVERYWHERE: [&str; 2] = ["error", "sys"];

/// The shortest map, in lines of documentation.
pub const MAP_LINES: usize = 5;

/// Chapters' libraries that begin with something else, say too little, or keep a module off the map.
///
/// # Errors
/// A source is not Rust.
pub fn check(sources: &[Source]) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.is_chapter_code() && source.file_name() == "lib.rs") {
        let map: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if map.len() < MAP_LINES {
            let reason = format!("begins with {} lines of map, fewer than {MAP_LINES}", map.len());
            breaches.push(Breach::new(&source.path, reason));
            continue;
        }
        let map = map.join("\n");
        for module in modules(&source.syntax()?).iter().filter(|module| !EVERYWHERE.contains(&module.as_str())) {
            // A module may stand there as a function of the same name, or disambiguated for rustdoc.
            let names = [format!("`{module}`"), format!("`{module}()`"), format!("`mod@{module}`")];
            if !names.iter().any(|name| map.contains(name)) {
                breaches.push(Breach::new(&source.path, format!("module `{module}` is not on the map")));
            }
        }
    }
    Ok(breaches)
}

/// The modules that a reader is led to: all but those that exist for tests.
fn modules(file: &syn::File) -> Vec<String> {
    let modules = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.attrs.iter().all(|attribute| !attribute.path().is_ident("cfg")) => {
            Some(module.ident.to_string())
        }
        _ => None,
    });
    modules.collect()
}
