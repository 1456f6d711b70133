//! Lists in pages: which repositories, which tags.
//!
//! A client may ask for `n` entries after `last`. Whatever it asks for, one answer has at most
//! [`LARGEST_PAGE`] entries and collecting it needs no more memory than that: `n=2147483648`
//! has brought registries down (CVE-2023-2253).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Code, Refusal};
use crate::name::RepositoryName;
use crate::storage::{Storage, found};

/// Most entries in one answer, and the number that a client gets that names none.
pub(crate) const LARGEST_PAGE: usize = 1000;

/// Directories below one another while looking for repositories: as many components as the
/// longest name can have.
const DEEPEST: usize = 128;

/// Which part of a list a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Entries, at most.
    pub(crate) size: usize,
    /// Only entries that sort after this one.
    pub(crate) after: String,
}

impl Page {
    /// From the query's `n` and `last`.
    ///
    /// # Errors
    /// `PAGINATION_NUMBER_INVALID` if `n` is no number; a large one is simply made smaller.
    pub(crate) fn new(n: Option<&str>, last: Option<&str>) -> Result<Page, Refusal> {
        let size = match n {
            None => LARGEST_PAGE,
            Some(n) if !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More digits than a number can hold still only mean "many".
                n.parse().map_or(LARGEST_PAGE, |n: usize| n.min(LARGEST_PAGE))
            }
            Some(_) => {
                return Err(Refusal::new(Code::PaginationNumberInvalid, "n must be a number of entries"));
            }
        };
        Ok(Page { size, after: last.unwrap_or_default().to_owned() })
    }
}

/// The smallest names after a given one, kept while more are offered.
pub(crate) struct Collected {
    page: Page,
    names: BTreeSet<String>,
    /// Whether a name had to be left out.
    pub(crate) more: bool,
}

impl Collected {
    pub(crate) fn new(page: Page) -> Collected {
        Collected { page, names: BTreeSet::new(), more: false }
    }

    /// Offers a name, in any order.
    pub(crate) fn offer(&mut self, name: &str) {
        if name <= self.page.after.as_str() {
            return;
        }
        self.names.insert(name.to_owned());
        if self.names.len() > self.page.size {
            self.names.pop_last();
            self.more = true;
        }
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// The `Link` header that leads to the next page, if there is one.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        let last = self.names.last().filter(|_| self.more)?;
        let n = self.page.size;
        Some(format!("<{path}?n={n}&last={last}>; rel=\"next\""))
    }
}

impl Storage {
    /// Offers every repository that has at least one manifest.
    pub(crate) fn catalog(&self, page: Page) -> io::Result<Collected> {
        let mut collected = Collected::new(page);
        walk(&self.repositories(), "", DEEPEST, &mut collected)?;
        Ok(collected)
    }
}

fn walk(directory: &Path, name: &str, depth: usize, collected: &mut Collected) -> io::Result<()> {
    let Some(entries) = found(fs::read_dir(directory))? else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let component = entry.file_name();
        let component = component.to_string_lossy();
        if component == "_manifests" && has_file(&entry.path().join("sha256"))? {
            collected.offer(name);
        }
        let below = if name.is_empty() { component.into_owned() } else { format!("{name}/{component}") };
        // The grammar leaves out `_manifests` and whatever else is no part of a name.
        if depth > 0 && below.parse::<RepositoryName>().is_ok() && entry.file_type()?.is_dir() {
            walk(&entry.path(), &below, depth - 1, collected)?;
        }
    }
    Ok(())
}

fn has_file(directory: &Path) -> io::Result<bool> {
    Ok(found(fs::read_dir(directory))?.is_some_and(|mut entries| entries.next().is_some()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_enormous_page_is_an_ordinary_one() {
        for n in ["1001", "2147483648", "18446744073709551616", "99999999999999999999999999"] {
            assert_eq!(Page::new(Some(n), None).unwrap().size, LARGEST_PAGE, "{n}");
        }
        assert_eq!(Page::new(Some("2"), Some("x")).unwrap(), Page { size: 2, after: "x".into() });
        for n in ["", "-1", "x", "1.5", "+1"] {
            assert!(Page::new(Some(n), None).is_err(), "{n}");
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let names = ["d", "a", "c", "e", "b"];
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let mut collected = Collected::new(Page { size: 2, after: after.clone() });
            names.iter().for_each(|name| collected.offer(name));
            seen.extend(collected.names().into_iter().map(str::to_owned));
            after = collected.names().last().unwrap().to_string();
            match collected.link("/v2/_catalog") {
                Some(link) => assert_eq!(link, format!("</v2/_catalog?n=2&last={after}>; rel=\"next\"")),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn no_entries_can_be_asked_for() {
        let mut collected = Collected::new(Page::new(Some("0"), None).unwrap());
        collected.offer("a");
        assert!(collected.names().is_empty());
        assert_eq!(collected.link("/"), None);
    }
}
