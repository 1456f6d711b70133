//! YAML, behind one door.
//!
//! YAML has more meanings than anybody meant: `no` is a country, `1:30` a time, `&a [*a, *a]` a bomb. This module
//! is the only one that knows the YAML library; what leaves it is plain JSON data. Booleans are only
//! `true` and `false`, a key may stand only once, and documents are bounded.

use std::path::Path;

use serde_json::Value;

use crate::error::Error;

/// The longest compose file, in bytes.
pub const MAX_SIZE: u64 = 1 << 20;

/// Reads a document.
///
/// # Errors
/// What is wrong with the text, with line and column.
pub fn parse(file: &Path, text: &str) -> Result<Value, Error> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| Error::text(file, error))
}

/// Reads a text file of bounded size.
///
/// # Errors
/// A file that is not there, too long, or no text.
pub fn read(file: &Path) -> Result<String, Error> {
    let metadata = std::fs::metadata(file).map_err(|error| Error::text(file, error))?;
    if !metadata.is_file() || metadata.len() > MAX_SIZE {
        return Err(Error::text(file, format!("not a regular file of at most {MAX_SIZE} bytes")));
    }
    std::fs::read_to_string(file).map_err(|error| Error::text(file, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, Error> {
        parse(Path::new("compose.yaml"), text)
    }

    #[test]
    fn words_stay_words() {
        let value = read("a: no\nb: true\nc: 1\nd: '1'\ne: 22:22\nf: ~\ng: on").unwrap();
        assert_eq!(value, json!({"a": "no", "b": true, "c": 1, "d": "1", "e": "22:22", "f": null, "g": "on"}));
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let value = read("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n").unwrap();
        assert_eq!(value["y"], json!({"a": 1, "b": 3}));
    }

    #[test]
    fn bad_documents_and_bombs_are_refused() {
        assert!(read("a: [").unwrap_err().to_string().starts_with("compose.yaml: "));
        assert!(read("a: 1\na: 2").is_err());
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let line = format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
            bomb.push_str(&line);
        }
        assert!(read(&bomb).is_err());
    }
}
