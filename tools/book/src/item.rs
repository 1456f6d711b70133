//! `{{#item FILE NAME}}`: the source of one item, found by name in the syntax tree and cut out of the file byte by byte.
//!
//! `NAME` is a function, type, trait, constant or macro; `Type::method` is a method. Documentation and comments come along; the
//! markers `// spine` and `// hole: ...` do not, they are for tools.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use syn::spanned::Spanned;

const OPEN: &str = "{{#item ";

/// Replaces every include of a page by the source that it names.
///
/// # Errors
/// A file or an item is missing; the message names the page and the line.
pub fn expand(root: &Path, page: &str, text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        match directive(line) {
            Some(words) => {
                let source = include(root, words).with_context(|| format!("{page}:{}", index + 1))?;
                out.push_str(&source);
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    Ok(out)
}

fn directive(line: &str) -> Option<&str> {
    line.trim().strip_prefix(OPEN)?.strip_suffix("}}")
}

fn include(root: &Path, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let [file, name] = words.as_slice() else { bail!("an include is {OPEN}FILE NAME}}}}") };
    // A page includes sources of the workspace, and nothing else of the author's machine.
    ensure!(!file.starts_with('/') && !file.split('/').any(|part| part == ".."), "{file} is outside the workspace");
    let text = fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
    find(&text, name).with_context(|| format!("in {file}"))
}

/// The source of the item called `name` in `text`, without the tools' markers and without indentation.
///
/// # Errors
/// The text is not Rust, or has no such item.
pub fn find(text: &str, name: &str) -> Result<String> {
    let file = syn::parse_file(text).context("not Rust")?;
    let Some(range) = look(&file.items, name) else { bail!("no item is called {name}") };
    let item = &text[range.clone()];
    let indent = text[..range.start].rsplit('\n').next().unwrap_or_default();
    let lines = item.lines().filter(|line| !is_marker(line)).map(|line| line.strip_prefix(indent).unwrap_or(line));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn is_marker(line: &str) -> bool {
    line.trim() == "// spine" || line.trim().starts_with("// hole:")
}

fn look(items: &[syn::Item], name: &str) -> Option<Range<usize>> {
    items.iter().find_map(|item| match item {
        syn::Item::Impl(block) => method(block, name),
        syn::Item::Mod(module) => look(&module.content.as_ref()?.1, name),
        item => (ident(item)? == name).then(|| item.span().byte_range()),
    })
}

fn method(block: &syn::ItemImpl, name: &str) -> Option<Range<usize>> {
    let (kind, method) = name.split_once("::")?;
    let syn::Type::Path(path) = &*block.self_ty else { return None };
    if path.path.segments.last()?.ident != kind {
        return None;
    }
    block.items.iter().find_map(|item| match item {
        syn::ImplItem::Fn(function) if function.sig.ident == method => Some(function.span().byte_range()),
        _ => None,
    })
}

fn ident(item: &syn::Item) -> Option<&syn::Ident> {
    match item {
        syn::Item::Fn(item) => Some(&item.sig.ident),
        syn::Item::Struct(item) => Some(&item.ident),
        syn::Item::Enum(item) => Some(&item.ident),
        syn::Item::Trait(item) => Some(&item.ident),
        syn::Item::Type(item) => Some(&item.ident),
        syn::Item::Const(item) => Some(&item.ident),
        syn::Item::Static(item) => Some(&item.ident),
        syn::Item::Macro(item) => item.ident.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "/// Döc.\n// hole: x\npub fn a() {\n    // why\n}\n\nimpl S {\n    /// M.\n    // spine\n    fn m(&self) {\n        1;\n    }\n}\n";

    #[test]
    fn an_item_comes_whole_and_without_the_tools_markers() {
        assert_eq!(find(TEXT, "a").unwrap(), "/// Döc.\npub fn a() {\n    // why\n}");
        assert_eq!(find(TEXT, "S::m").unwrap(), "/// M.\nfn m(&self) {\n    1;\n}");
    }

    #[test]
    fn a_missing_item_is_an_error_that_names_page_and_line() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.rs"), TEXT).unwrap();
        let error = expand(directory.path(), "03.md", "# Title\n\n{{#item a.rs gone}}\n").unwrap_err();
        assert_eq!(format!("{error:#}"), "03.md:3: in a.rs: no item is called gone");
        let error = expand(directory.path(), "03.md", "{{#item ../a.rs a}}\n").unwrap_err();
        assert_eq!(format!("{error:#}"), "03.md:1: ../a.rs is outside the workspace");
    }
}
