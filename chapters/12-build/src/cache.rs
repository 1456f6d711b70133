//! Remembering what a step gave: the build cache.
//!
//! A step is a function: from the layers below it, its words and what it reads, to one layer. So
//! its [`Inputs`] are written down as JSON and hashed, and the hash is the name under which its
//! result is kept. Nothing else decides: not the time, not the Dockerfile's name, not what other
//! steps are around it. A label above a RUN does not disturb it, and two projects that begin
//! alike share their beginning.
//!
//! ```text
//! build/cache/HEX.json          inputs -> layer             HEX is the hash of the inputs
//! build/cache/places/HEX.json   a line's last key           so that a miss can say what changed
//! ```
//!
//! Each file is a few lines of JSON: `cat` tells why a step was cached. A result whose layer has
//! been collected meanwhile is no result, and says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use containers::Engine;
use layers::{DiffId, Digest};
use process::state;
use serde::{Deserialize, Serialize};

use crate::draft::Layer;
use crate::error::{Error, Place};

/// Changes whenever the meaning of a key does: then nothing older is ever taken for known.
const FORMAT: u32 = 2;

/// Everything that a step's result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    format: u32,
    /// The layers below, lowest first.
    pub below: Vec<DiffId>,
    /// The words: `command`, `user`, `destination` and so on.
    pub words: BTreeMap<String, String>,
    /// The environment of a RUN, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The files that a COPY reads, and what each is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// What a step gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The instruction, for whoever reads the file.
    pub instruction: String,
    /// What it depended on.
    pub inputs: Inputs,
    /// Its layer; none if it changed no file.
    pub layer: Option<Layer>,
    /// When it was executed, RFC 3339. A build that finds it cached writes this moment into its image, so that
    /// building again gives the same image and not a new one that differs in a date.
    pub created: String,
}

/// What the cache knows of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Its result.
    Known {
        /// The layer, if it made one.
        layer: Option<Box<Layer>>,
        /// When it was executed.
        created: String,
        /// Why it holds.
        why: String,
    },
    /// It has to be executed.
    Unknown {
        /// What is different from last time.
        why: String,
    },
}

impl Inputs {
    /// Inputs on a chain of layers.
    pub fn new(below: Vec<DiffId>, words: impl IntoIterator<Item = (&'static str, String)>) -> Inputs {
        let words = words.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Inputs { format: FORMAT, below, words, env: BTreeMap::new(), files: BTreeMap::new() }
    }

    /// The key: the hash of the inputs' JSON, whose maps are sorted by name.
    pub fn key(&self) -> Digest {
        // Maps of strings always have a JSON form.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// What is the same, for a step that is known.
    fn agreement(&self) -> String {
        let mut same = vec!["the layers below".to_owned()];
        let said = self.words.iter().filter(|(_, value)| !value.is_empty());
        same.extend(said.map(|(name, _)| format!("its {name}")));
        if !self.env.is_empty() {
            same.push("its environment".to_owned());
        }
        match self.files.len() {
            0 => {}
            1 => same.push("the one file that it reads".to_owned()),
            many => same.push(format!("the {many} files that it reads")),
        }
        format!("nothing changed: {}", same.join(", "))
    }

    /// What is different from `before`, in the order in which it matters.
    pub fn difference(&self, before: &Inputs) -> String {
        let mut changes = Vec::new();
        if self.below != before.below {
            changes.push("a layer below it changed".to_owned());
        }
        for (map, old, what) in [
            (&self.words, &before.words, "its "),
            (&self.env, &before.env, "the variable "),
            (&self.files, &before.files, ""),
        ] {
            changes.extend(compare(map, old, what));
        }
        match changes.len() {
            0 => "what is known about it has another format".to_owned(),
            1..=4 => changes.join(", "),
            more => format!("{}, and {} more", changes[..3].join(", "), more - 3),
        }
    }
}

/// One phrase for each entry that is new, gone or different.
fn compare<'a>(
    now: &'a BTreeMap<String, String>,
    before: &'a BTreeMap<String, String>,
    what: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let gone = before.keys().filter(|name| !now.contains_key(*name)).map(move |name| format!("{what}{name} is gone"));
    let changed = now.iter().filter_map(move |(name, value)| match before.get(name) {
        None => Some(format!("{what}{name} is new")),
        Some(old) if old != value => Some(format!("{what}{name} changed")),
        Some(_) => None,
    });
    changed.chain(gone)
}

/// The cache of an engine.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache in `build/cache/` of the engine's data directory, made if it is missing.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn open(engine: &Engine) -> Result<Cache, Error> {
        Cache::at(engine.paths().data.join("build").join("cache"))
    }

    /// The cache in a directory of its own.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn at(directory: PathBuf) -> Result<Cache, Error> {
        let places = directory.join("places");
        std::fs::create_dir_all(&places)
            .map_err(|error| Error::engine(format!("mkdir {}", places.display()), error))?;
        Ok(Cache { directory })
    }

    /// Looks a step up. `is_there` says whether a layer still is in the engine's stores.
    pub fn look_up(&self, place: &Place, inputs: &Inputs, is_there: impl Fn(&Layer) -> bool) -> Verdict {
        // A damaged file is as good as none: the step runs again and writes it anew.
        match state::read_json::<Record>(&self.record(&inputs.key())) {
            Ok(Record { layer, created, .. }) if layer.as_ref().is_none_or(&is_there) => {
                Verdict::Known { layer: layer.map(Box::new), created, why: inputs.agreement() }
            }
            Ok(_) => Verdict::Unknown { why: "its layer is no longer in the store".to_owned() },
            Err(_) => Verdict::Unknown { why: self.what_changed(place, inputs) },
        }
    }

    /// Keeps a step's result.
    ///
    /// # Errors
    /// Those of writing two files.
    pub fn keep(&self, place: &Place, record: &Record) -> Result<(), Error> {
        let during = |error| Error::engine("keep a step in the build cache", error);
        let key = record.inputs.key();
        state::write_json(&self.record(&key), record).map_err(during)?;
        state::write_json(&self.place(place), &key).map_err(during)
    }

    /// Remembers which key a line had when it was found known, for the next miss to compare with.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn touch(&self, place: &Place, inputs: &Inputs) -> Result<(), Error> {
        let file = self.place(place);
        let key = inputs.key();
        if state::read_json::<Digest>(&file).is_ok_and(|old| old == key) {
            return Ok(());
        }
        state::write_json(&file, &key).map_err(|error| Error::engine("keep a step in the build cache", error))
    }

    fn what_changed(&self, place: &Place, inputs: &Inputs) -> String {
        let before = state::read_json::<Digest>(&self.place(place))
            .and_then(|key| state::read_json::<Record>(&self.record(&key)));
        match before {
            Ok(record) => inputs.difference(&record.inputs),
            Err(_) => "it has not been built before".to_owned(),
        }
    }

    fn record(&self, key: &Digest) -> PathBuf {
        self.directory.join(format!("{}.json", key.hex()))
    }

    /// Where a line's last key is noted. The line's number may move and its text stay, or the other
    /// way round; whoever edits a Dockerfile mostly edits text, so the number and the word count.
    fn place(&self, place: &Place) -> PathBuf {
        let keyword = place.text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let file = std::path::absolute(&place.file).unwrap_or_else(|_| place.file.clone());
        let name = format!("{}\0{}\0{keyword}", file.display(), place.line);
        self.directory.join("places").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }
}

/// Whether a layer is in both stores; its files may have been removed and can be extracted again.
pub fn is_there(engine: &Engine, layer: &Layer) -> bool {
    engine.store().has(&layer.blob.digest)
}

/// A directory name for tests and tools that look at the cache of an engine's data directory.
pub fn directory(data: &Path) -> PathBuf {
    data.join("build").join("cache")
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
