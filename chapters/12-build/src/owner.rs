//! `--chown`: from a name to numbers, by the files of the image that is being built.
//!
//! A name means what `/etc/passwd` and `/etc/group` *in the image* say, never what the building
//! machine's say. They are read inside the image's root and their size is bounded: both are
//! somebody else's files.

use std::path::Path;

use rootfs::Root;

/// The most that is read of `/etc/passwd` or `/etc/group`, in bytes.
const MAX_DATABASE: u64 = 4 << 20;

/// Resolves `user`, `user:group`, `uid` or `uid:gid`; a lone user stands for its own group, and a
/// lone number for the group of the same number.
///
/// # Errors
/// A message for a name that the image does not know and for what is no id.
pub fn resolve(root: &Root, spec: &str) -> Result<(u32, u32), String> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let (uid, own_group) = match number(user)? {
        Some(uid) => (uid, uid),
        None => {
            let fields = entry(root, "/etc/passwd", user)?;
            (field(&fields, 2, user)?, field(&fields, 3, user)?)
        }
    };
    let gid = match group {
        None => own_group,
        Some(group) => match number(group)? {
            Some(gid) => gid,
            None => field(&entry(root, "/etc/group", group)?, 2, group)?,
        },
    };
    Ok((uid, gid))
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

/// A number, if `text` looks like one. `-1`, `0x0` and 2^32 look like one and are none: an id
/// that is read as another id is how strangers became root.
fn number(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() {
        return Err("invalid --chown: an empty name".to_owned());
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return Ok(None);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(id) if digits && id != u32::MAX => Ok(Some(id)),
        _ => Err(format!("invalid --chown: {text:?} is no id")),
    }
}

/// The fields of `name`'s line in a database of the image.
fn entry(root: &Root, database: &str, name: &str) -> Result<Vec<String>, String> {
    let bytes = root
        .read(Path::new(database), MAX_DATABASE)
        .map_err(|error| format!("--chown needs {database} to look up {name:?}: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let line = line.ok_or_else(|| format!("--chown: no {name:?} in the image's {database}"))?;
    Ok(line.split(':').map(str::to_owned).collect())
}

fn field(fields: &[String], index: usize, name: &str) -> Result<u32, String> {
    let parsed = fields.get(index).and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("--chown: the image's entry of {name:?} has no proper id"))
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
