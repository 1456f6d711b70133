//! A certificate authority of a test's own, made with openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// An authority, and what it has signed; dropped, all of it is gone.
pub(crate) struct Authority {
    dir: TempDir,
}

impl Authority {
    /// A new authority.
    pub(crate) fn new() -> Authority {
        let authority = Authority { dir: tempfile::tempdir().unwrap() };
        let (key, certificate) = (authority.path("ca.key"), authority.path("ca.crt"));
        openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
            &["-subj", "/CN=a test's authority", "-keyout", &text(&key), "-out", &text(&certificate)],
        );
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Signs a certificate for `127.0.0.1` and `registry.test`, and for showing to servers. `NAME.crt` and `NAME.key`.
    pub(crate) fn sign(&self, name: &str) {
        let file = |end: &str| text(&self.path(&format!("{name}.{end}")));
        let extensions = "subjectAltName=IP:127.0.0.1,DNS:registry.test\nextendedKeyUsage=serverAuth,clientAuth\n";
        fs::write(self.path("extensions"), extensions).unwrap();
        openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-subj", "/CN=a test's server", "-keyout", &file("key"), "-out", &file("csr")],
        );
        let (ca, key) = (text(&self.path("ca.crt")), text(&self.path("ca.key")));
        openssl(
            &["x509", "-req", "-days", "2", "-CAcreateserial", "-CA", &ca, "-CAkey", &key],
            &["-in", &file("csr"), "-extfile", &text(&self.path("extensions")), "-out", &file("crt")],
        );
    }

    /// Copies a file into a directory of certificates, as `name`.
    pub(crate) fn install(&self, file: &str, into: &Path, name: &str) {
        fs::create_dir_all(into).unwrap();
        fs::copy(self.path(file), into.join(name)).unwrap();
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs openssl; what it printed.
pub(crate) fn openssl(first: &[&str], rest: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(first).args(rest).output().unwrap();
    assert!(output.status.success(), "openssl {first:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
