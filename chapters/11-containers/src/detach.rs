//! The keys that leave an attached terminal without ending the container.

/// `ctrl-p ctrl-q`, unless others are given.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Looks for a sequence of keys in what is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self { sequence: DEFAULT.to_vec(), matched: 0 }
    }
}

impl DetachKeys {
    /// Takes what was typed; what belongs to the program is added to `typed`. True when the sequence is whole.
    ///
    /// Keys that begin the sequence are held back until the next one tells what they were.
    // hole: filter-detach-keys
    pub fn filter(&mut self, keys: &[u8], typed: &mut Vec<u8>) -> bool {
        for key in keys {
            if self.sequence.get(self.matched) == Some(key) {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    return true;
                }
                continue;
            }
            typed.extend_from_slice(&self.sequence[..self.matched]);
            self.matched = usize::from(self.sequence.first() == Some(key));
            if self.matched == 0 {
                typed.push(*key);
            }
        }
        false
    }
}

impl std::str::FromStr for DetachKeys {
    type Err = crate::error::Error;

    /// `ctrl-p,ctrl-q`, `ctrl-x,a`; the empty text means that no keys detach.
    ///
    /// # Errors
    /// A key that is neither one letter nor `ctrl-` and one of `a-z @ [ \\ ] ^ _`.
    // hole: read-detach-keys
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            Self::Err::bad("--detach-keys", text, "keys are letters, or ctrl- and one of a-z @ [ \\ ] ^ _, with commas")
        };
        let mut sequence = Vec::new();
        for key in text.split(',').filter(|key| !key.is_empty()) {
            sequence.push(match (key.strip_prefix("ctrl-"), key.as_bytes()) {
                (Some(control), _) => match control.as_bytes() {
                    [letter @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => letter & 0x1f,
                    _ => return Err(bad()),
                },
                (None, [letter]) => *letter,
                _ => return Err(bad()),
            });
        }
        Ok(Self { sequence, matched: 0 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn typed(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut keys, mut typed) = (DetachKeys::default(), Vec::new());
        let left = pieces.iter().any(|piece| keys.filter(piece, &mut typed));
        (typed, left)
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_everything_else_goes_through() {
        assert_eq!(typed(&[b"ab\x10", b"\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(typed(&[b"a\x10b\x11"]), (b"a\x10b\x11".to_vec(), false));
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn keys_can_be_chosen_or_turned_off() {
        let mut keys: DetachKeys = "ctrl-x,a".parse().unwrap();
        assert!(keys.filter(b"\x18a", &mut Vec::new()));
        let mut none: DetachKeys = "".parse().unwrap();
        assert!(!none.filter(b"\x10\x11", &mut Vec::new()));
        assert!("ctrl-!".parse::<DetachKeys>().is_err());
    }
}
