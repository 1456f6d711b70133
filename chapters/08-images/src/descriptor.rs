//! Descriptors: a promise about some bytes elsewhere.

use indexmap::IndexMap;
use layers::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What some bytes are, what they hash to, and how many they are: all that is needed to fetch them from
/// a stranger and know whether one got them.
///
/// # References
/// OCI image specification, descriptor.md
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: String,
    /// What they hash to.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// Where else they may be had. Kept, never fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// In an index: whom the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes by whoever made the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<IndexMap<String, String>>,
    /// Fields that this engine does not know, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor of content that exists.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            platform: None,
            annotations: None,
            other: Map::new(),
        }
    }

    /// A descriptor of `bytes`.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The annotation `key`.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// A kind of machine, in Go's words: `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// The processor's variant: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system's version; Windows only.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Fields that this engine does not know, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
            other: Map::new(),
        }
    }

    /// How well an image for `self` runs on `machine`: `None` not at all, else the smaller the better.
    ///
    /// A missing variant means the architecture's usual one, and an arm image runs on every later variant.
    // hole: platform-fits
    pub fn fits(&self, machine: &Platform) -> Option<u8> {
        if self.os != machine.os || self.architecture != machine.architecture {
            return None;
        }
        let variant = |platform: &Platform| match (&platform.variant, platform.architecture.as_str()) {
            (Some(variant), _) => variant.trim_start_matches('v').parse::<u8>().ok(),
            (None, "arm") => Some(7),
            (None, "arm64") => Some(8),
            (None, _) => Some(1),
        };
        match (variant(self), variant(machine)) {
            (Some(wanted), Some(have)) => have.checked_sub(wanted),
            _ => (self.variant == machine.variant).then_some(0),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl std::str::FromStr for Platform {
    type Err = String;

    /// Reads `OS/ARCHITECTURE[/VARIANT]`; `x86_64` and `aarch64` are taken for what the specification calls them.
    ///
    /// # Errors
    /// Another number of parts, or one that is not made of letters, digits, `_`, `.` and `-`.
    // hole: read-a-platform
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(format!("{text:?} is not a platform: expected OS/ARCHITECTURE[/VARIANT]")),
        };
        let word =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !parts.iter().all(|part| word(part)) {
            return Err(format!("{text:?} is not a platform: expected OS/ARCHITECTURE[/VARIANT]"));
        }
        // The names that `uname -m` and people use.
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
            other: Map::new(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive() {
        let text = r#"{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"artifactType":"x","data":""}"#;
        let descriptor: Descriptor = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&descriptor).unwrap(), text);
    }

    #[test]
    fn a_negative_size_or_a_path_for_a_digest_is_refused() {
        for (digest, size) in [("sha256:../../x", "0"), ("sha256:00", "0"), (&Digest::of(b"").to_string(), "-1")] {
            let text = format!(r#"{{"mediaType":"a/b","digest":{digest:?},"size":{size}}}"#);
            assert!(serde_json::from_str::<Descriptor>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_older_variant_runs_and_a_newer_one_does_not() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert_eq!(platform("linux/arm/v6").fits(&platform("linux/arm/v7")), Some(1));
        assert_eq!(platform("linux/arm/v7").fits(&platform("linux/arm/v6")), None);
        assert_eq!(platform("linux/arm64").fits(&platform("linux/arm64/v8")), Some(0));
        assert_eq!(platform("linux/x86_64").fits(&platform("linux/amd64")), Some(0));
        assert_eq!(platform("windows/amd64").fits(&platform("linux/amd64")), None);
        assert!("linux".parse::<Platform>().is_err());
        assert!("linux//v7".parse::<Platform>().is_err());
    }
}
