//! `image tree`: an image's layers, file by file, as text or JSON.

use std::path::Path;

use clap::Args;
use daemon::words;
use images::{Anatomy, Image, LayerAnatomy, LayerFile};
use serde_json::json;

use crate::acquire;
use crate::cli::Place;
use crate::flags::Pull;
use crate::stdout::say;
use crate::table::{Format, ellipsis, parse_format};

/// How many files of a layer are shown unless all are asked for.
const LARGEST: usize = 10;

/// Show what each layer of an image adds, changes and hides, and what is wasted
///
/// A: the layer adds a file. C: it changes one. D: it removes one. A file that a later layer changes or removes is still
/// part of the image: its bytes are wasted.
#[derive(Args, Debug)]
pub(crate) struct Tree {
    /// Show every file, not only the largest of each layer
    #[arg(short, long)]
    all: bool,
    /// Show only files that a later layer hides
    #[arg(long)]
    wasted: bool,
    /// Format of the output: table, json (one document with everything), or a template
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parse_format)]
    format: Format,
    /// Name or id
    image: String,
}

impl Tree {
    pub(crate) fn run(&self, place: &Place) -> anyhow::Result<u8> {
        let engine = place.engine()?;
        let image = acquire::image(&engine, &self.image, Pull::Never)?;
        let anatomy = Anatomy::of(engine.store(), &image)?;
        match &self.format {
            Format::Table => {
                say!("{}", headline(&image, &anatomy));
                anatomy.layers.iter().enumerate().for_each(|(number, layer)| self.layer(number, layer));
            }
            format => {
                let summary = json!({
                    "id": image.id, "size": anatomy.size(), "wasted": anatomy.wasted(),
                    "efficiency": anatomy.efficiency(), "layers": anatomy.layers,
                });
                say!("{}", format.document(&summary)?);
            }
        }
        Ok(0)
    }

    fn layer(&self, number: usize, layer: &LayerAnatomy) {
        let wasted = match layer.wasted() {
            0 => String::new(),
            bytes => format!(", {} wasted", words::size(bytes)),
        };
        let (size, made) = (words::size(layer.size()), printable(&layer.created_by));
        say!("\nlayer {}  {}  {size}{wasted}  {}", number + 1, layer.diff_id.0.short(), ellipsis(&made, 60));
        let mut files: Vec<&LayerFile> = layer.files.iter().filter(|file| self.shows(file)).collect();
        let more = match self.all {
            true => 0,
            false => {
                // The largest, and then in their own order again.
                files.sort_by_key(|file| (std::cmp::Reverse(file.size), &file.path));
                let more = files.len().saturating_sub(LARGEST);
                files.truncate(LARGEST);
                files.sort_by(|one, other| one.path.cmp(&other.path));
                more
            }
        };
        for file in files {
            let slash = if file.directory { "/" } else { "" };
            let hidden = file.hidden_by.map_or(String::new(), |by| format!("   hidden by layer {}", by + 1));
            let size = if file.directory { String::new() } else { words::size(file.size) };
            say!("  {} {size:>8}  /{}{slash}{hidden}", file.change.letter(), shown(&file.path));
        }
        if more > 0 {
            say!("    {more} more (--all shows them)");
        }
    }

    fn shows(&self, file: &LayerFile) -> bool {
        match self.wasted {
            true => file.hidden_by.is_some() && !file.directory,
            // A directory alone says little where files are shown.
            false => self.all || !file.directory || file.change.letter() == 'D',
        }
    }
}

/// The image in one line.
pub(crate) fn headline(image: &Image, anatomy: &Anatomy) -> String {
    format!(
        "image {}: {}, {} in files, {} wasted: {}% can be seen",
        image.id.short(),
        match anatomy.layers.len() {
            1 => "1 layer".to_owned(),
            count => format!("{count} layers"),
        },
        words::size(anatomy.size()),
        words::size(anatomy.wasted()),
        anatomy.efficiency(),
    )
}

/// A path as it can be shown on a terminal: names in an image are a stranger's, and may try to steer it.
pub(crate) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// A text with every control character as its escape.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => safe.extend(character.escape_default()),
            false => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(shown(Path::new("a\u{1b}[2Jb\n")), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(Path::new("größe")), "größe");
    }
}
