//! `--chown` and `--chmod`: whose the copied files are, and what may be done with them.
//!
//! A name means what `/etc/passwd` and `/etc/group` *in the image* say: chapter 11 reads it, as it reads `--user`.

use rootfs::Root;

/// Resolves `user`, `user:group`, `uid` or `uid:gid`; a lone user stands for its own group, and a
/// lone number for the group of the same number.
///
/// # Errors
/// A message for a name that the image does not know and for what is no id.
pub fn resolve(root: &Root, spec: &str) -> Result<(u32, u32), String> {
    containers::user::owner(root, spec).map_err(|error| format!("--chown: {}", reason(&error)))
}

/// What the engine was doing is left out: the reader of a Dockerfile knows the line.
fn reason(error: &containers::Error) -> String {
    match error {
        containers::Error::Below { reason, .. } => reason.to_string(),
        error => error.to_string(),
    }
}

/// Resolves `--chmod`: octal digits, at most `7777`.
///
/// # Errors
/// A message for anything else.
pub fn mode(text: &str) -> Result<u32, String> {
    let fine = !text.is_empty() && text.len() <= 5;
    match u32::from_str_radix(text, 8) {
        Ok(mode) if fine && mode <= 0o7777 => Ok(mode),
        _ => Err(format!("invalid --chmod {text:?}: octal digits such as 755 are expected")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_numbers_become_ids() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:\napp:x:100:101::/:\nodd:x:y\n").unwrap();
        std::fs::write(dir.path().join("etc/group"), "www:x:33:\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        for (spec, ids) in
            [("5", (5, 5)), ("5:6", (5, 6)), ("app", (100, 101)), ("app:www", (100, 33)), ("7:www", (7, 33))]
        {
            assert_eq!(resolve(&root, spec), Ok(ids), "{spec}");
        }
        assert_eq!(
            resolve(&root, "nobody").unwrap_err(),
            r#"--chown: user "nobody": the container's /etc/passwd has no such user"#
        );
        for spec in ["-1", "4294967296", "4294967295", "0x0", "1:", ":1", "", "nobody", "app:nogroup", "odd", "1:-1"] {
            assert!(resolve(&root, spec).is_err(), "{spec}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("755"), Ok(0o755));
        assert_eq!(mode("04755"), Ok(0o4755));
        for bad in ["", "8", "u+x", "77777", "-1", "000755"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }
}
