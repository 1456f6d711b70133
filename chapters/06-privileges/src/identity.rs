//! Who a process is: user, group, supplementary groups; and how `USER name:group` is resolved.
//!
//! The text comes from an image's author or a command line, the two files from the image itself: all hostile.
//! Other engines have read `-1` as "leave it" (root), `4294967296` as 0 (root), `1:` and `:1` as something with root
//! in it (CVE-2024-40635, CVE-2026-30892). So: only names and plain decimal numbers below 2^32 - 1, no empty halves.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Who a process will be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// User id, inside the user namespace.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// File mode creation mask; the parent's if none.
    #[serde(default)]
    pub umask: Option<u32>,
}

/// Lines longer than this are not read: no account needs them.
const LONGEST_LINE: usize = 64 * 1024;

/// One line of `/etc/passwd`: `name:password:uid:gid:gecos:home:shell`.
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// One line of `/etc/group`: `name:password:gid:member,member`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `spec` (`user`, `user:group`, each a name or a number; empty means root) against the text of the
/// container's own `/etc/passwd` and `/etc/group`.
///
/// As the field does it: a name must exist; a number needs no entry, and without one its group is 0; supplementary
/// groups are those of the group file that list the user, unless a group is given. A name wins over a number, so
/// an account that is called `1000` is found first.
///
/// # Errors
/// Names that do not exist, numbers out of range, and every form that could be read in two ways.
///
/// # References
/// OCI image config, `config.User`; passwd(5), group(5)
// hole: resolve-user
pub fn resolve_user(spec: &str, passwd: &str, group: &str) -> Result<Identity, Error> {
    let refuse = |reason: String| Error::User { spec: spec.to_owned(), reason };
    let spec = if spec.is_empty() { "0" } else { spec };
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    if user.is_empty() || wanted_group.is_some_and(str::is_empty) {
        return Err(refuse("a half is empty".to_owned()));
    }

    let by_name = accounts(passwd).find(|account| account.name == user);
    let (uid, account) = match by_name {
        Some(account) => (account.uid, Some(account)),
        None => {
            let uid = number(user).map_err(|reason| refuse(format!("user {user:?}: {reason}")))?;
            (uid, accounts(passwd).find(|account| account.uid == uid))
        }
    };
    let Some(wanted_group) = wanted_group else {
        let groups = account.as_ref().map_or_else(Vec::new, |account| memberships(account, group));
        return Ok(Identity { uid, gid: account.map_or(0, |account| account.gid), groups, umask: None });
    };
    let gid = match groups(group).find(|entry| entry.name == wanted_group) {
        Some(entry) => entry.gid,
        None => number(wanted_group).map_err(|reason| refuse(format!("group {wanted_group:?}: {reason}")))?,
    };
    Ok(Identity { uid, gid, groups: Vec::new(), umask: None })
}

/// Resolves `--group-add`: a name in the group file, or a number.
///
/// # Errors
/// As [`resolve_user`].
pub fn resolve_group(spec: &str, group: &str) -> Result<u32, Error> {
    match groups(group).find(|entry| entry.name == spec) {
        Some(entry) => Ok(entry.gid),
        None => {
            number(spec).map_err(|reason| Error::User { spec: spec.to_owned(), reason: format!("group: {reason}") })
        }
    }
}

/// The home directory of a user id, for `HOME`; `None` if it has no account or a home that is no absolute path.
pub fn home_of(uid: u32, passwd: &str) -> Option<String> {
    accounts(passwd)
        .find(|account| account.uid == uid)
        .map(|account| account.home.to_owned())
        .filter(|home| home.starts_with('/') && !home.contains('\0'))
}

/// A user or group id in plain decimal. 2^32 - 1 is `(uid_t) -1`, which the kernel reads as "do not change".
fn number(text: &str) -> Result<u32, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("no such name, and not a plain decimal number");
    }
    match text.parse::<u32>() {
        Ok(u32::MAX) | Err(_) => Err("out of range (0 to 4294967294)"),
        Ok(number) => Ok(number),
    }
}

/// The accounts of a passwd file; lines that are malformed are passed over, as libc does.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (number(fields.nth(1)?).ok()?, number(fields.next()?).ok()?);
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or("") })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some(Group { name, gid: number(fields.nth(1)?).ok()?, members: fields.next().unwrap_or("") })
    })
}

fn memberships(account: &Account<'_>, group: &str) -> Vec<u32> {
    let mut found: Vec<u32> = groups(group)
        .filter(|entry| entry.members.split(',').any(|member| member == account.name))
        .map(|entry| entry.gid)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.len() <= LONGEST_LINE && !line.starts_with(['#', '+', '-']))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nweb:x:33:34:Web:/srv:/bin/false\n\
        evil:x:4294967296:0::/:\nminus:x:-1:-1::/:\n1000:x:7:7::/odd:\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:44:web,root\ntape:x:26:web\nevil:x:4294967295:web\n";

    fn resolve(spec: &str) -> Result<Identity, Error> {
        resolve_user(spec, PASSWD, GROUP)
    }

    fn identity(uid: u32, gid: u32, groups: &[u32]) -> Identity {
        Identity { uid, gid, groups: groups.to_vec(), umask: None }
    }

    #[test]
    fn a_name_brings_its_group_and_memberships() {
        assert_eq!(resolve("web").unwrap(), identity(33, 34, &[26, 44]));
        assert_eq!(resolve("33").unwrap(), identity(33, 34, &[26, 44]));
        assert_eq!(resolve("").unwrap(), identity(0, 0, &[44]));
    }

    #[test]
    fn a_group_that_is_given_replaces_all_others() {
        assert_eq!(resolve("web:tape").unwrap(), identity(33, 26, &[]));
        assert_eq!(resolve("12:99").unwrap(), identity(12, 99, &[]));
    }

    #[test]
    fn a_number_without_an_account_has_group_zero() {
        assert_eq!(resolve("1234").unwrap(), identity(1234, 0, &[]));
        assert_eq!(resolve_user("65534", "", "").unwrap(), identity(65534, 0, &[]));
    }

    #[test]
    fn a_name_that_looks_like_a_number_wins_over_the_number() {
        assert_eq!(resolve("1000").unwrap(), identity(7, 7, &[]));
    }

    #[test]
    fn every_form_that_was_once_misread_is_refused() {
        let forms = [
            "1:",
            ":1",
            ":",
            "-1",
            "4294967295",
            "4294967296",
            "0x0",
            "+1",
            " 0",
            "0 ",
            "1:-1",
            "1:0x0",
            "0:4294967296",
            "evil",
            "minus",
            "nobody-here",
            "web:none",
            "1:2:3",
            "\n",
            "0\0",
            "٣",
        ];
        for form in forms {
            assert!(resolve(form).is_err(), "{form:?} was accepted");
        }
    }

    #[test]
    fn the_refusal_says_what_and_why() {
        assert_eq!(resolve("1:").unwrap_err().to_string(), r#"user "1:": a half is empty"#);
        assert_eq!(
            resolve("-1").unwrap_err().to_string(),
            r#"user "-1": user "-1": no such name, and not a plain decimal number"#
        );
    }

    #[test]
    fn home_comes_from_the_containers_own_file() {
        assert_eq!(home_of(33, PASSWD).as_deref(), Some("/srv"));
        assert_eq!(home_of(5, PASSWD), None);
        assert_eq!(home_of(5, "x:x:5:5::relative:/bin/sh"), None);
    }
}
