//! mdbook as a library: load the book, expand the includes, write HTML.

use anyhow::{Context, Result};
use mdbook_driver::MDBook;
use mdbook_driver::book::{Book, BookItem};

use crate::pages::House;
use crate::{generated, item};

/// Renders the book into the directory that `book.toml` names; gives that directory.
///
/// # Errors
/// The book is malformed, or an include names what is not there.
pub fn build(house: &House) -> Result<std::path::PathBuf> {
    let mut config = mdbook_driver::config::Config::from_disk(house.book().join("book.toml"))?;
    // `book.toml` names this tool as a preprocessor for the sake of plain `mdbook`; here it is a function call.
    config.set("preprocessor", std::collections::BTreeMap::<String, String>::new())?;
    let mut book = MDBook::load_with_config(house.book(), config).context("cannot load the book")?;
    expand(house, &mut book.book)?;
    book.build().context("cannot render the book")?;
    Ok(book.build_dir_for("html"))
}

/// Expands the includes of every chapter of a loaded book.
///
/// # Errors
/// An include names what is not there.
pub fn expand(house: &House, book: &mut Book) -> Result<()> {
    let mut outcome = Ok(());
    book.for_each_mut(|part| {
        if let BookItem::Chapter(chapter) = part
            && outcome.is_ok()
        {
            let page = chapter.source_path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            let expanded = item::expand(house.root(), &page, &chapter.content);
            match expanded.and_then(|text| generated::expand(house, &page, &text)) {
                Ok(text) => chapter.content = text,
                Err(error) => outcome = Err(error),
            }
        }
    });
    outcome
}
