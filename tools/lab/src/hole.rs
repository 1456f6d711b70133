//! Holes: function bodies that can be taken out of a source and put back, byte by byte.
//!
//! The syntax tree says where a body begins and ends; the rest of the file is never touched, so comments, blank lines
//! and formatting survive. A hole is marked by a line `// hole: NAME` between a function's doc comment and its `fn`.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const MARK: &str = "// hole:";

/// A hole in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The name after the marker.
    pub name: String,
    /// The function's name.
    pub function: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// The bytes of the whole function, with its documentation and marker.
    pub item: Range<usize>,
    /// The bytes between the braces, without them.
    pub body: Range<usize>,
}

/// All holes of a source, in the order of the text.
///
/// # Errors
/// The text is not Rust; a marker stands over something else than a function; or over one that cannot be emptied (a
/// `const fn`, or one that returns `impl Trait`, because `todo!()` is neither).
pub fn all(text: &str) -> Result<Vec<Hole>> {
    let functions = functions(text)?;
    let mut holes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(name) = line.trim().strip_prefix(MARK) else { continue };
        let name = name.trim().to_owned();
        let after = text.lines().skip(index + 1).take_while(|line| {
            let line = line.trim_start();
            line.starts_with("#[") || line.starts_with("//")
        });
        let first = index + 2 + after.count();
        let found = functions.iter().find(|function| function.line == first);
        let Some(function) = found else { bail!("line {}: hole {name:?} stands over no function", index + 1) };
        if let Some(why) = function.cannot_be_empty {
            bail!("line {}: hole {name:?} is {why}, whose body `todo!()` cannot replace", index + 1);
        }
        let (item, body) = (function.item.clone(), function.body.clone());
        holes.push(Hole { name, function: function.name.clone(), line: function.line, item, body });
    }
    Ok(holes)
}

/// The hole called `name`.
///
/// # Errors
/// As for [`all`], or there is none of that name.
pub fn find(text: &str, name: &str) -> Result<Hole> {
    let found = all(text)?.into_iter().find(|hole| hole.name == name);
    found.with_context(|| format!("no line `{MARK} {name}`"))
}

/// The text with another body in `hole`.
pub fn fill(text: &str, hole: &Hole, body: &str) -> String {
    format!("{}{}{}", &text[..hole.body.start], body, &text[hole.body.end..])
}

struct Function {
    name: String,
    line: usize,
    item: Range<usize>,
    body: Range<usize>,
    cannot_be_empty: Option<&'static str>,
}

fn functions(text: &str) -> Result<Vec<Function>> {
    struct Functions(Vec<Function>);
    impl Functions {
        fn add(&mut self, item: Range<usize>, vis: &syn::Visibility, sig: &syn::Signature, block: &syn::Block) {
            let start = match vis {
                syn::Visibility::Inherited => sig.span(),
                shown => shown.span(),
            };
            let open = block.brace_token.span.open().byte_range().end;
            let close = block.brace_token.span.close().byte_range().start;
            let name = sig.ident.to_string();
            let line = start.start().line;
            self.0.push(Function { name, line, item, body: open..close, cannot_be_empty: cannot_be_empty(sig) });
        }
    }
    impl<'ast> Visit<'ast> for Functions {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            self.add(item.span().byte_range(), &item.vis, &item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
            self.add(item.span().byte_range(), &item.vis, &item.sig, &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }
    let file = syn::parse_file(text).context("not Rust")?;
    let mut functions = Functions(Vec::new());
    functions.visit_file(&file);
    Ok(functions.0)
}

fn cannot_be_empty(signature: &syn::Signature) -> Option<&'static str> {
    if signature.constness.is_some() {
        return Some("a const fn");
    }
    match &signature.output {
        syn::ReturnType::Type(_, kind) if matches!(**kind, syn::Type::ImplTrait(_)) => {
            Some("a function that returns impl Trait")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "//! A file — with a dash.\n\n/// Doc.\n// hole: one\n#[must_use]\npub fn a(x: u8) -> u8 {\n    \
                        x + 1 // kept?\n}\n\nstruct S;\nimpl S {\n    // hole: two\n    fn b(&self) {}\n}\n";

    #[test]
    fn holes_are_found_with_their_functions() {
        let holes = all(TEXT).unwrap();
        let names: Vec<_> = holes.iter().map(|hole| (hole.name.as_str(), hole.function.as_str(), hole.line)).collect();
        assert_eq!(names, [("one", "a", 6), ("two", "b", 13)]);
        assert!(
            TEXT[holes[0].item.clone()].starts_with("/// Doc.") && TEXT[holes[0].item.clone()].ends_with("kept?\n}")
        );
    }

    #[test]
    fn only_the_body_changes() {
        let hole = find(TEXT, "one").unwrap();
        let punched = fill(TEXT, &hole, " todo!() ");
        assert_eq!(punched, TEXT.replace("\n    x + 1 // kept?\n", " todo!() "));
        let back = fill(&punched, &find(&punched, "one").unwrap(), &TEXT[hole.body.clone()]);
        assert_eq!(back, TEXT);
    }

    #[test]
    fn a_marker_over_no_function_is_an_error_with_its_line() {
        let error = all("// hole: x\nstruct S;\n").unwrap_err();
        assert_eq!(error.to_string(), "line 1: hole \"x\" stands over no function");
    }

    #[test]
    fn a_body_that_todo_cannot_replace_is_an_error() {
        let error = all("// hole: x\nconst fn f() {}\n").unwrap_err();
        assert_eq!(error.to_string(), "line 1: hole \"x\" is a const fn, whose body `todo!()` cannot replace");
        assert!(all("// hole: x\nfn f() -> impl Iterator<Item = u8> { [1].into_iter() }\n").is_err());
    }
}
