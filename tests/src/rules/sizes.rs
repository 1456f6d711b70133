//! **It fits in a reader's head.** A file has at most 400 lines, a function at most 60, and every chapter marks one
//! function, its *spine*, with a line `// spine`: the function that the book prints whole.

use std::collections::BTreeMap;

use anyhow::Result;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::house::{Breach, Source};

/// The longest file, in lines.
pub const FILE_LINES: usize = 400;
/// The longest function, in lines, from its signature to its closing brace.
pub const FUNCTION_LINES: usize = 60;

/// Files that are too long.
pub fn files(sources: &[Source]) -> Vec<Breach> {
    let long = sources.iter().filter(|source| source.text.lines().count() > FILE_LINES);
    long.map(|source| {
        let lines = source.text.lines().count();
        Breach::new(&source.path, format!("{lines} lines, more than {FILE_LINES}: it holds more than one idea"))
    })
    .collect()
}

/// Functions that are too long.
///
/// # Errors
/// A source is not Rust.
pub fn functions(sources: &[Source]) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for source in sources {
        for function in lengths(&source.syntax()?).into_iter().filter(|function| function.lines() > FUNCTION_LINES) {
            let place = format!("{}:{}", source.path, function.first);
            let reason = format!("`{}` has {} lines, more than {FUNCTION_LINES}", function.name, function.lines());
            breaches.push(Breach::new(place, reason));
        }
    }
    Ok(breaches)
}

/// Chapters without a spine, with two, or with a marker that stands over something else than a function.
///
/// # Errors
/// A source is not Rust.
pub fn spines(sources: &[Source]) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    let mut spines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_chapter_code()) {
        let marks = spines.entry(source.chapter().unwrap_or_default()).or_default();
        let functions = lengths(&source.syntax()?);
        for (index, _) in source.text.lines().enumerate().filter(|(_, line)| line.trim() == "// spine") {
            let place = format!("{}:{}", source.path, index + 1);
            // Attributes may stand between the marker and the `fn`; nothing else.
            let next = source.text.lines().skip(index + 1).position(|line| !line.trim_start().starts_with("#["));
            let line = index + 2 + next.unwrap_or(0);
            match functions.iter().any(|function| function.first == line) {
                true => marks.push(place),
                false => breaches.push(Breach::new(place, "`// spine` does not stand right above a function")),
            }
        }
    }
    for (chapter, marks) in spines {
        match marks.len() {
            1 => {}
            0 => breaches.push(Breach::new(format!("chapters/{chapter}"), "no function is marked `// spine`")),
            _ => breaches.push(Breach::new(format!("chapters/{chapter}"), format!("two spines: {}", marks.join(", ")))),
        }
    }
    Ok(breaches)
}

/// A function's name and lines.
struct Length {
    name: String,
    first: usize,
    last: usize,
}

impl Length {
    fn lines(&self) -> usize {
        self.last - self.first + 1
    }
}

fn lengths(file: &syn::File) -> Vec<Length> {
    struct Functions(Vec<Length>);
    impl Functions {
        fn add(&mut self, start: proc_macro2::Span, signature: &syn::Signature, block: &syn::Block) {
            let last = block.brace_token.span.close().end().line;
            self.0.push(Length { name: signature.ident.to_string(), first: start.start().line, last });
        }
    }
    impl<'ast> Visit<'ast> for Functions {
        fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
            self.add(start(&function.vis, &function.sig), &function.sig, &function.block);
            visit::visit_item_fn(self, function);
        }
        fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
            self.add(start(&function.vis, &function.sig), &function.sig, &function.block);
            visit::visit_impl_item_fn(self, function);
        }
        fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
            if let Some(block) = &function.default {
                self.add(function.sig.span(), &function.sig, block);
            }
            visit::visit_trait_item_fn(self, function);
        }
    }
    let mut functions = Functions(Vec::new());
    functions.visit_file(file);
    functions.0
}

/// Where the function starts for a reader: at `pub`, or at the signature if it is private.
fn start(visibility: &syn::Visibility, signature: &syn::Signature) -> proc_macro2::Span {
    match visibility {
        syn::Visibility::Inherited => signature.span(),
        shown => shown.span(),
    }
}
