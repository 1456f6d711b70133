//! The workspace as the rules see it: a directory, its Rust sources, its dependency edges.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One broken rule: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// The file, relative to the workspace; with a line where one is known.
    pub place: String,
    /// What is wrong there, in a sentence.
    pub reason: String,
}

impl Breach {
    /// A breach at `place`.
    pub fn new(place: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { place: place.to_string(), reason: reason.to_string() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// One Rust file.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path relative to the workspace, with forward slashes.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A source that exists only in a test.
    pub fn imagined(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The file as a syntax tree.
    ///
    /// # Errors
    /// The file is not Rust.
    pub fn syntax(&self) -> Result<syn::File> {
        syn::parse_file(&self.text).with_context(|| format!("cannot parse {}", self.path))
    }

    /// The chapter's directory name (`03-rootfs`) if the file belongs to one.
    pub fn chapter(&self) -> Option<&str> {
        self.path.strip_prefix("chapters/")?.split('/').next()
    }

    /// Whether the file is a chapter's library or binary: what a reader reads, as opposed to what tests it.
    pub fn is_chapter_code(&self) -> bool {
        self.chapter().is_some() && self.path.split('/').nth(2) == Some("src")
    }

    /// The file's name without its directories.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The workspace.
#[derive(Debug)]
pub struct House {
    root: PathBuf,
}

impl House {
    /// The workspace that this package was built in.
    ///
    /// # Errors
    /// The sources are no longer where they were compiled.
    pub fn here() -> Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests package stands in no workspace")?;
        Ok(Self { root: root.canonicalize().context("the workspace has moved since it was built")? })
    }

    /// The workspace's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the workspace as text.
    ///
    /// # Errors
    /// It is not there, or is not UTF-8.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// Every Rust file of the workspace's packages, in the order of their paths.
    ///
    /// Only the directories that cargo compiles from are walked: replacement bodies in `lab/` are not whole files.
    ///
    /// # Errors
    /// A directory or file cannot be read.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let mut found = Vec::new();
        for package in self.packages()? {
            for part in ["src", "tests", "examples", "benches"] {
                self.walk(&package.join(part), &mut found)?;
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn packages(&self) -> Result<Vec<PathBuf>> {
        let mut found = vec![self.root.join("tests")];
        for group in ["chapters", "tools"] {
            let directory = self.root.join(group);
            for entry in
                std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?
            {
                found.push(entry?.path());
            }
        }
        Ok(found)
    }

    fn walk(&self, directory: &Path, found: &mut Vec<Source>) -> Result<()> {
        if !directory.is_dir() {
            return Ok(());
        }
        for entry in std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                self.walk(&path, found)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let relative = path.strip_prefix(&self.root)?.to_string_lossy().into_owned();
                found.push(Source { path: relative, text });
            }
        }
        Ok(())
    }
}
