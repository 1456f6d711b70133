//! Names made of content: digests, diff ids, chain ids.
//!
//! ```text
//! blob        the bytes that travel            sha256 of the compressed archive    Digest
//! diff id     what one layer changes           sha256 of the uncompressed archive  DiffId
//! chain id    a layer on top of other layers   sha256("CHAIN_BELOW DIFF_ID")       ChainId
//! ```
//!
//! The same files compressed twice are two blobs and one diff id: that is why everything that this
//! engine keeps on disk is named by diff id, and why digests of blobs appear only where bytes travel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A digest: an algorithm and what it computed. Written `sha256:` and 64 lower-case hex digits.
///
/// A `Digest` that exists is well formed, so its [`hex`](Self::hex) may become a file name without
/// another look. Checking that late, or never, is how CVE-2024-3727 wrote outside an image store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256: what every registry and tool uses.
    Sha256([u8; 32]),
    /// SHA-512: permitted by the specification, rarely seen.
    Sha512([u8; 64]),
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: {reason}")]
pub struct ParseDigestError {
    text: String,
    reason: &'static str,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(bytes).into())
    }

    /// The algorithm's registered name, which is also the directory's name in an image layout.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The digest in lower-case hex, without its algorithm.
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(bytes) => hex::encode(bytes),
            Self::Sha512(bytes) => hex::encode(bytes),
        }
    }

    /// The first twelve hex digits: what people read in listings.
    pub fn short(&self) -> String {
        let mut text = self.hex();
        text.truncate(12);
        text
    }

    /// A running hash of this digest's algorithm.
    pub(crate) fn algorithm_state(&self) -> State {
        match self {
            Self::Sha256(_) => State::Sha256(Sha256::new()),
            Self::Sha512(_) => State::Sha512(Sha512::new()),
        }
    }
}

/// A hash under way, of either algorithm.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl State {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(state) => Digest::Sha256(state.finalize().into()),
            Self::Sha512(state) => Digest::Sha512(state.finalize().into()),
        }
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    /// Reads `ALGORITHM:HEX`, in the one spelling that it has: lower-case digits, exactly as many as the algorithm gives.
    ///
    /// # Errors
    /// Another algorithm than sha256 and sha512, another number of digits, and anything else between or around them.
    ///
    /// # References
    /// OCI image specification, descriptor.md, "Digests"
    // hole: read-a-digest
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let refuse = |reason| {
            // A hostile text may be long; the message need not be.
            Err(ParseDigestError { text: text.chars().take(160).collect(), reason })
        };
        let Some((algorithm, digits)) = text.split_once(':') else {
            return refuse("expected ALGORITHM:HEX");
        };
        // `hex` would take capitals, and then one content would have two names.
        if !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return refuse("expected lower-case hex digits");
        }
        match algorithm {
            "sha256" => {
                let mut bytes = [0; 32];
                match hex::decode_to_slice(digits, &mut bytes) {
                    Ok(()) => Ok(Self::Sha256(bytes)),
                    Err(_) => refuse("sha256 has 64 digits"),
                }
            }
            "sha512" => {
                let mut bytes = [0; 64];
                match hex::decode_to_slice(digits, &mut bytes) {
                    Ok(()) => Ok(Self::Sha512(bytes)),
                    Err(_) => refuse("sha512 has 128 digits"),
                }
            }
            _ => refuse("the algorithm must be sha256 or sha512"),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The digest of a layer's uncompressed archive: the name of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl FromStr for DiffId {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a stack of layers: what a layer is called when the layers below it matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain id of `layers`, lowest first; `None` for no layers at all.
    ///
    /// ```text
    /// chain([a])    = a
    /// chain([a, b]) = sha256("sha256:<a> sha256:<b>")
    /// ```
    ///
    /// # References
    /// OCI image specification, config.md, "Layer ChainID"
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        let chain = rest.iter().fold(first.0, |below, layer| Digest::of(format!("{below} {layer}").as_bytes()));
        Some(Self(chain))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_reads_back_as_it_was_written() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap(), format!("{EMPTY:?}"));
        let sha512 = format!("sha512:{}", "ab".repeat(64));
        assert_eq!(sha512.parse::<Digest>().unwrap().to_string(), sha512);
    }

    #[test]
    fn what_is_not_exactly_a_digest_is_refused() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        let long = format!("{EMPTY}00");
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../../../etc/passwd",
            &EMPTY[..70],
            &long,
            &upper,
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha256:e3b0c44298fc1c149afbf4c8996fb924\u{0}7ae41e4649b934ca495991b7852b855",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_chain_of_one_is_its_layer_and_order_matters() {
        let [a, b] = [DiffId(Digest::of(b"a")), DiffId(Digest::of(b"b"))];
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]), Some(ChainId(a.0)));
        assert_eq!(ChainId::of(&[a, b]), Some(ChainId(Digest::of(format!("{a} {b}").as_bytes()))));
        assert_ne!(ChainId::of(&[a, b]), ChainId::of(&[b, a]));
    }
}
