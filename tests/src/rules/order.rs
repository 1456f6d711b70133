//! **The dependency graph is the curriculum.** A chapter imports only earlier chapters, and only those that
//! ARCHITECTURE.md's table allows it.
//!
//! A reader of chapter 3 must never need chapter 7. `cargo` cannot say that, so a test does: it reads the edges from
//! `cargo metadata` and the permissions from the document that people read, and holds one against the other.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::house::{Breach, House};

/// A library of the curriculum and the libraries that it imports, in chapter order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The library's name: `rootfs`.
    pub chapter: String,
    /// The names of the libraries that it imports, or may import.
    pub imports: Vec<String>,
    /// The names of the libraries that only its tests import.
    pub tests: Vec<String>,
}

impl Row {
    /// A row of the table, or of what cargo says.
    pub fn new(chapter: &str, imports: &[&str]) -> Self {
        let imports = imports.iter().map(|&name| name.to_owned()).collect();
        Self { chapter: chapter.to_owned(), imports, tests: Vec::new() }
    }

    /// The same row with what its tests import.
    #[must_use]
    pub fn tested_with(mut self, tests: &[&str]) -> Self {
        self.tests = tests.iter().map(|&name| name.to_owned()).collect();
        self
    }
}

/// Reads the table `| chapter | may import |` out of ARCHITECTURE.md's text.
///
/// Names stand in backquotes; whatever else a cell says is for people.
///
/// # Errors
/// There is no such table, or a row has no chapter.
pub fn table(markdown: &str) -> Result<Vec<Row>> {
    let mut lines = markdown.lines().skip_while(|line| cells(line) != ["chapter", "may import"]).skip(2);
    let rows: Vec<Row> = lines
        .by_ref()
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = cells(line);
            let chapter = cells.first().and_then(|cell| quoted(cell).into_iter().next());
            let chapter = chapter.with_context(|| format!("no chapter in the row {line:?} of ARCHITECTURE.md"))?;
            Ok(Row { chapter, imports: cells.get(1).map(|cell| quoted(cell)).unwrap_or_default(), tests: Vec::new() })
        })
        .collect::<Result<_>>()?;
    if rows.is_empty() {
        bail!("ARCHITECTURE.md has no table `| chapter | may import |`");
    }
    Ok(rows)
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The edges that cargo sees, in the order of the chapters' directories.
///
/// Tests may import any earlier chapter; a test that needs a later one would be a circle.
///
/// # Errors
/// `cargo metadata` failed.
pub fn edges(house: &House) -> Result<Vec<Row>> {
    let metadata = MetadataCommand::new()
        .manifest_path(house.root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .context("cargo metadata failed")?;
    // Package name -> library name, in the order of the directories, which is the reading order.
    let mut chapters: BTreeMap<String, (String, &cargo_metadata::Package)> = BTreeMap::new();
    for package in &metadata.packages {
        let directory = package.manifest_path.parent().context("a manifest without a directory")?;
        if directory.parent().is_some_and(|parent| parent.ends_with("chapters")) {
            let library = package.targets.iter().find(|target| target.is_lib()).map(|target| target.name.clone());
            let name = library.unwrap_or_else(|| package.name.to_string());
            chapters.insert(directory.to_string(), (name, package));
        }
    }
    let library_of: BTreeMap<String, String> =
        chapters.values().map(|(name, package)| (package.name.to_string(), name.clone())).collect();
    let imports = |package: &cargo_metadata::Package, kind: DependencyKind| -> Vec<String> {
        let relevant = package.dependencies.iter().filter(|dependency| dependency.kind == kind);
        relevant.filter_map(|dependency| library_of.get(&dependency.name).cloned()).collect()
    };
    let row = |(name, package): &(String, &cargo_metadata::Package)| Row {
        chapter: name.clone(),
        imports: imports(package, DependencyKind::Normal),
        tests: imports(package, DependencyKind::Development),
    };
    Ok(chapters.values().map(row).collect())
}

/// Holds the edges against the table, and both against the order of the chapters.
pub fn check(edges: &[Row], table: &[Row]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let place = |name: &str| edges.iter().position(|row| row.chapter == name);
    for (index, row) in edges.iter().enumerate() {
        for import in row.imports.iter().chain(&row.tests) {
            if place(import).is_none_or(|other| other >= index) {
                breaches
                    .push(Breach::new(&row.chapter, format!("imports `{import}`, which is not an earlier chapter")));
            }
        }
        let Some(allowed) = table.iter().find(|allowed| allowed.chapter == row.chapter) else {
            breaches.push(Breach::new(&row.chapter, "has no row in ARCHITECTURE.md's table of edges"));
            continue;
        };
        for import in row.imports.iter().filter(|import| !allowed.imports.contains(import)) {
            breaches
                .push(Breach::new(&row.chapter, format!("imports `{import}`, which ARCHITECTURE.md does not allow")));
        }
    }
    for row in table {
        let Some(index) = place(&row.chapter) else {
            breaches.push(Breach::new("ARCHITECTURE.md", format!("`{}` is no chapter", row.chapter)));
            continue;
        };
        for import in row.imports.iter().filter(|import| place(import).is_none_or(|other| other >= index)) {
            let reason = format!("allows `{}` to import `{import}`, which is not an earlier chapter", row.chapter);
            breaches.push(Breach::new("ARCHITECTURE.md", reason));
        }
    }
    breaches
}
