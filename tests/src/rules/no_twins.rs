//! **No drawer for odds and ends.** A file or module named `utils` says nothing about what is in it, so everything ends up
//! there, and soon twice. A thing belongs to the first chapter that needs it, under its own noun.

use anyhow::Result;
use syn::visit::{self, Visit};

use crate::house::{Breach, Source};

const DRAWERS: [&str; 8] = ["utils", "util", "common", "helpers", "helper", "misc", "shared", "stuff"];

/// Files, directories and inline modules with a name that says nothing.
///
/// # Errors
/// A source is not Rust.
pub fn check(sources: &[Source]) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for source in sources {
        for part in source.path.split('/').map(|part| part.trim_end_matches(".rs")) {
            if DRAWERS.contains(&part) {
                breaches.push(Breach::new(&source.path, format!("`{part}` is no noun: name what is in it")));
            }
        }
        for module in inline_modules(&source.syntax()?) {
            if DRAWERS.contains(&module.as_str()) {
                breaches.push(Breach::new(&source.path, format!("module `{module}` is no noun: name what is in it")));
            }
        }
    }
    Ok(breaches)
}

fn inline_modules(file: &syn::File) -> Vec<String> {
    struct Modules(Vec<String>);
    impl<'ast> Visit<'ast> for Modules {
        fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
            if module.content.is_some() {
                self.0.push(module.ident.to_string());
            }
            visit::visit_item_mod(self, module);
        }
    }
    let mut modules = Modules(Vec::new());
    modules.visit_file(file);
    modules.0
}
