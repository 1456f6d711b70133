//! Whom to trust: the machine's certificate authorities, and those that its owner added for one registry.
//!
//! ```text
//! /etc/docker/certs.d/registry.example:5000/     the directory is named as references name the registry
//!     ca.crt                  an authority that vouches for it   (*.crt)
//!     client.cert, client.key what we show it                    (*.cert with its *.key)
//! ```
//!
//! # References
//! docker's "Verify repository client with certificates"; containers-certs.d(5)

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, Result};

/// Largest file of certificates that is read, in bytes.
const LARGEST: u64 = 8 << 20;

/// Where distributions keep the authorities that everybody trusts; the first that exists is taken.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What it means that there is no directory for a registry.
const ABSENT: [io::ErrorKind; 3] =
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::PermissionDenied];

/// What the `certs.d` directories say about one registry.
#[derive(Default)]
pub(crate) struct Trust {
    authorities: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl Trust {
    /// Reads the directory of a registry in each of `places`.
    ///
    /// # Errors
    /// A certificate without its key, or a file that is no PEM.
    pub(crate) fn of(registry: &str, places: &[PathBuf]) -> Result<Trust> {
        let mut trust = Trust::default();
        // A name is a host and a port; anything else must not become a path.
        if registry.contains('/') || registry.starts_with('.') {
            return Ok(trust);
        }
        for place in places {
            trust.add(&place.join(registry))?;
        }
        Ok(trust)
    }

    /// Whether anything is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.client.is_none()
    }

    fn add(&mut self, dir: &Path) -> Result<()> {
        let wrong = |error: io::Error| Error::configuration(dir, error.to_string());
        let entries = match fs::read_dir(dir) {
            // What only root may see is not meant for us.
            Err(error) if ABSENT.contains(&error.kind()) => return Ok(()),
            entries => entries.map_err(wrong)?,
        };
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(wrong)?;
        files.sort();
        for file in files {
            match file.extension().and_then(|end| end.to_str()) {
                Some("crt") => self.authorities.extend(certificates(&file)?),
                Some("cert") => {
                    let key = file.with_extension("key");
                    if !key.exists() {
                        let reason = format!("its key {} is missing (an authority's file ends in .crt)", key.display());
                        return Err(Error::configuration(&file, reason));
                    }
                    self.client = Some(ClientCert::new_with_certs(&certificates(&file)?, private_key(&key)?));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// How an encrypted connection is made: whom `registry` adds to the machine's authorities, and what `own`, the
/// directory of the very server that is called, has to show it.
pub(crate) fn config(machine: &[Certificate<'static>], registry: &Trust, own: &Trust, verify: bool) -> TlsConfig {
    let roots: Vec<_> = machine.iter().chain(&registry.authorities).chain(&own.authorities).cloned().collect();
    let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::from(roots) };
    TlsConfig::builder().root_certs(roots).client_cert(own.client.clone()).disable_verification(!verify).build()
}

/// The files of authorities that this machine trusts: `SSL_CERT_FILE` and `SSL_CERT_DIR`, or where its distribution has
/// them.
pub(crate) fn places() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let named: Vec<PathBuf> = set("SSL_CERT_FILE")
        .map(PathBuf::from)
        .into_iter()
        .chain(set("SSL_CERT_DIR").iter().flat_map(std::env::split_paths).collect::<Vec<_>>())
        .collect();
    if named.is_empty() {
        BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()).into_iter().collect()
    } else {
        named
    }
}

/// All certificates of files, and of the files in directories. In a directory anything may lie: what is no certificate
/// there is skipped.
///
/// # Errors
/// A file that was named and cannot be read.
pub(crate) fn authorities(places: &[PathBuf]) -> Result<Vec<Certificate<'static>>> {
    let mut all = Vec::new();
    for place in places {
        if !place.is_dir() {
            all.extend(certificates(place)?);
            continue;
        }
        let entries = fs::read_dir(place).map_err(|error| Error::configuration(place, error.to_string()))?;
        all.extend(entries.flatten().filter_map(|entry| certificates(&entry.path()).ok()).flatten());
    }
    Ok(all)
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = read(file)?;
    let items = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = items.collect();
    if found.is_empty() {
        Err(Error::configuration(file, "there is no certificate in it".to_owned()))
    } else {
        Ok(found)
    }
}

fn private_key(file: &Path) -> Result<PrivateKey<'static>> {
    PrivateKey::from_pem(&read(file)?).map_err(|error| Error::configuration(file, error.to_string()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let wrong = |reason: String| Error::configuration(file, reason);
    match fs::metadata(file) {
        Ok(metadata) if metadata.len() > LARGEST => Err(wrong("larger than 8 MiB".to_owned())),
        _ => fs::read(file).map_err(|error| wrong(error.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_without_its_key_and_a_file_without_one_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().to_owned()];
        let own = dir.path().join("registry.example:5000");
        assert!(Trust::of("registry.example:5000", &places).unwrap().is_empty());
        fs::create_dir(&own).unwrap();
        fs::write(own.join("client.cert"), "").unwrap();
        let error = Trust::of("registry.example:5000", &places).err().unwrap().to_string();
        assert!(error.contains("client.cert") && error.contains("client.key is missing"), "{error}");
        fs::write(own.join("ca.crt"), "not PEM").unwrap();
        let error = Trust::of("registry.example:5000", &places).err().unwrap().to_string();
        assert!(error.contains("ca.crt: there is no certificate"), "{error}");
    }

    #[test]
    fn a_registrys_name_is_no_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.crt"), "not PEM").unwrap();
        let inner = [dir.path().join("certs.d")];
        fs::create_dir(&inner[0]).unwrap();
        for name in ["..", "../", ".", "a/.."] {
            assert!(Trust::of(name, &inner).unwrap().is_empty(), "{name}");
        }
    }
}
