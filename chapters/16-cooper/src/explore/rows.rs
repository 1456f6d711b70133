//! From a layer's files to the rows of a tree, some of it folded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use images::{Change, LayerFile};

/// A line of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Below the image's root.
    pub(super) path: PathBuf,
    /// How many directories it is in.
    pub(super) depth: usize,
    /// Whether it is a directory.
    pub(super) directory: bool,
    /// Whether what is in it is left out.
    pub(super) folded: bool,
    /// What the layer does to it; none for a directory that only leads to others.
    pub(super) change: Option<Change>,
    /// Bytes, of a directory those of all that is in it.
    pub(super) size: u64,
    /// The layer, from 0, that hides it later.
    pub(super) hidden_by: Option<usize>,
}

/// Which files are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// A part of the path, capital letters or not; all if empty.
    pub(super) filter: String,
    /// Only what a later layer hides.
    pub(super) wasted: bool,
    /// Directories that are folded.
    pub(super) folded: BTreeSet<PathBuf>,
    /// The largest first, instead of by name.
    pub(super) by_size: bool,
}

impl Choice {
    fn takes(&self, file: &LayerFile) -> bool {
        let wasted = !self.wasted || file.hidden_by.is_some();
        let path = || file.path.to_string_lossy().to_lowercase();
        wasted && (self.filter.is_empty() || path().contains(&self.filter.to_lowercase()))
    }
}

/// A directory's or a file's place in the tree.
#[derive(Debug, Default)]
struct Node<'a> {
    file: Option<&'a LayerFile>,
    size: u64,
    below: BTreeMap<&'a std::ffi::OsStr, Node<'a>>,
}

/// The rows of a layer. Directories above what is chosen are shown too, whether the layer has them or not.
pub(super) fn rows(files: &[LayerFile], choice: &Choice) -> Vec<Row> {
    let mut top = Node::default();
    for file in files.iter().filter(|file| choice.takes(file)) {
        let mut node = &mut top;
        for part in &file.path {
            node = node.below.entry(part).or_default();
            node.size += file.size;
        }
        // A directory may be emptied and described by the same layer: the emptying is what matters.
        if node.file.is_none_or(|before| before.change != Change::Emptied) {
            node.file = Some(file);
        }
    }
    let mut rows = Vec::new();
    lay_out(&top, Path::new(""), 0, choice, &mut rows);
    rows
}

fn lay_out(node: &Node<'_>, path: &Path, depth: usize, choice: &Choice, rows: &mut Vec<Row>) {
    let mut children: Vec<_> = node.below.iter().collect();
    if choice.by_size {
        children.sort_by_key(|(_, child)| std::cmp::Reverse(child.size));
    }
    for (name, child) in children {
        let path = path.join(name);
        let directory = !child.below.is_empty() || child.file.is_some_and(|file| file.directory);
        // Whoever filters wants to see what was found.
        let folded = choice.filter.is_empty() && choice.folded.contains(&path);
        rows.push(Row {
            depth,
            directory,
            folded,
            change: child.file.map(|file| file.change),
            size: child.size,
            hidden_by: child.file.and_then(|file| file.hidden_by),
            path: path.clone(),
        });
        if !folded {
            lay_out(child, &path, depth + 1, choice, rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64, hidden_by: Option<usize>) -> LayerFile {
        let directory = path.ends_with('/');
        LayerFile { path: PathBuf::from(path.trim_end_matches('/')), change: Change::Added, directory, size, hidden_by }
    }

    fn shown(choice: &Choice) -> Vec<String> {
        let files = [
            file("bin/", 0, None),
            file("bin/sh", 100, Some(1)),
            file("etc/app/conf", 7, None),
            file("README", 300, None),
        ];
        rows(&files, choice)
            .iter()
            .map(|row| format!("{}{} {}", " ".repeat(row.depth), row.path.display(), row.size))
            .collect()
    }

    #[test]
    fn files_stand_below_their_directories_whose_sizes_are_sums() {
        let all = shown(&Choice::default());
        assert_eq!(all, ["README 300", "bin 100", " bin/sh 100", "etc 7", " etc/app 7", "  etc/app/conf 7"]);
        let by_size = shown(&Choice { by_size: true, ..Choice::default() });
        assert_eq!(by_size[0], "README 300");
        assert_eq!(by_size[3], "etc 7");
    }

    #[test]
    fn folding_hides_and_filtering_finds_what_is_folded() {
        let folded = BTreeSet::from([PathBuf::from("etc"), PathBuf::from("bin")]);
        let choice = Choice { folded, ..Choice::default() };
        assert_eq!(shown(&choice), ["README 300", "bin 100", "etc 7"]);
        let choice = Choice { filter: "CONF".to_owned(), ..choice };
        assert_eq!(shown(&choice), ["etc 7", " etc/app 7", "  etc/app/conf 7"]);
        assert_eq!(shown(&Choice { wasted: true, ..Choice::default() }), ["bin 100", " bin/sh 100"]);
    }
}
