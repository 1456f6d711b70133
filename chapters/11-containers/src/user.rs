//! Who a `USER[:GROUP]` is inside a root: for a container's first process, `exec`, and files that a build copies.
//!
//! Names mean what the root's own `/etc/passwd` and `/etc/group` say, never what the machine's say. Both files are somebody
//! else's: they are read below a handle of the root, and only so far.

use std::path::Path;

use privileges::identity::resolve_group;
use privileges::{Identity, UserSpec};
use rootfs::Root;

use crate::error::{Error, Result, While as _};

/// `/etc/passwd` and `/etc/group` of a container are read up to here, bytes.
const LARGEST_ACCOUNTS: u64 = 4 << 20;

/// Checks the form of a user without looking anybody up: what is wrong in any container is said before one is made.
///
/// # Errors
/// A form that could be read in two ways; a number out of range.
pub fn check(user: &str) -> Result<()> {
    let checked = user.parse::<UserSpec>();
    checked.map(drop).map_err(|error| match error {
        privileges::Error::User { spec, reason } => Error::bad("--user", spec, reason),
        error => Error::bad("--user", user, error.to_string()),
    })
}

/// The owner that `--chown` names, by the files of this root.
///
/// # Errors
/// A name that the root does not know; what is no user.
pub fn owner(root: &Root, spec: &str) -> Result<(u32, u32)> {
    let (passwd, group) = (read_text(root, "etc/passwd"), read_text(root, "etc/group"));
    privileges::resolve_owner(spec, &passwd, &group).doing("find", "the owner")
}

/// Who `user` (`name|uid[:group|gid]`) is in this root, with that user's home directory.
pub(crate) fn resolve(root: &Root, user: &str, groups: &[String]) -> Result<(Identity, Option<String>)> {
    let passwd = read_text(root, "etc/passwd");
    let group = read_text(root, "etc/group");
    let mut identity = privileges::resolve_user(user, &passwd, &group).doing("find", "the user")?;
    for name in groups {
        identity.groups.push(resolve_group(name, &group).doing("find", "the group")?);
    }
    let home = privileges::home_of(identity.uid, &passwd);
    Ok((identity, home))
}

/// Images without accounts are common, and then only numbers can be users: a file that cannot be read is an empty one.
fn read_text(root: &Root, path: &str) -> String {
    root.read(Path::new(path), LARGEST_ACCOUNTS)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_accounts_are_the_roots_own_and_a_link_in_it_leads_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let etc = directory.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        std::fs::write(etc.join("passwd"), "app:x:100:101::/srv:/bin/sh\n").unwrap();
        std::os::unix::fs::symlink("/../../../../../../../../etc/group", etc.join("group")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        assert_eq!(owner(&root, "app").unwrap(), (100, 101));
        assert_eq!(owner(&root, "5").unwrap(), (5, 5));
        // The machine has a group `root`; this root has none.
        let error = owner(&root, "app:root").unwrap_err();
        assert!(format!("{error:?}").contains("no such group"), "{error:?}");
        assert_eq!(resolve(&root, "app", &["7".to_owned()]).unwrap().0.groups, [7]);
    }

    #[test]
    fn a_user_that_nobody_could_be_is_refused_by_the_option() {
        assert_eq!(check("1:").unwrap_err().to_string(), r#"--user "1:": a half is empty"#);
        assert!(check("web:www").is_ok() && check("").is_ok());
    }
}
