//! Paths in JSON, which knows only Unicode: a byte that is none is written `\xNN`, and so is the backslash itself.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

fn escape(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str("\\x5c"),
                letter => text.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.extend(b"\\x");
                rest = after;
            }
        }
    }
    bytes.extend(rest.as_bytes());
    OsString::from_vec(bytes).into()
}

/// `#[serde(with)]` for a list of paths.
pub(crate) mod list {
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        paths.iter().map(|path| super::escape(path)).collect::<Vec<_>>().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<String>::deserialize(deserializer)?.iter().map(|text| super::unescape(text)).collect())
    }
}

/// `#[serde(with)]` for pairs of paths.
pub(crate) mod pairs {
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(pairs: &[(PathBuf, PathBuf)], serializer: S) -> Result<S::Ok, S::Error> {
        let escaped = pairs.iter().map(|(one, other)| (super::escape(one), super::escape(other)));
        escaped.collect::<Vec<_>>().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(PathBuf, PathBuf)>, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        Ok(pairs.iter().map(|(one, other)| (super::unescape(one), super::unescape(other))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_and_most_stay_readable() {
        assert_eq!(escape(Path::new("usr/größe")), "usr/größe");
        for name in [&b"plain"[..], b"a\xff\xfeb", b"\\", b"\\x41", b"\xc3", "ü\\xff".as_bytes(), b""] {
            let path = PathBuf::from(OsString::from_vec(name.to_vec()));
            assert_eq!(unescape(&escape(&path)), path, "{path:?}");
        }
        assert_eq!(unescape("\\xzz"), Path::new("\\xzz"));
    }
}
