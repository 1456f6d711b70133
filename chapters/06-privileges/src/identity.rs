//! Who a process is: user, group, supplementary groups; and how `USER name:group` is resolved.
//!
//! [`UserSpec`] says what the text may be; here it meets the container's own `/etc/passwd` and `/etc/group`, which are
//! as hostile as the text.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::user::{UserSpec, Who, number};

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
/// groups are those of the group file that list the user, unless a group is given.
///
/// # Errors
/// Names that do not exist, numbers out of range, and every form that could be read in two ways.
///
/// # References
/// OCI image config, `config.User`; passwd(5), group(5)
// hole: resolve-user
pub fn resolve_user(spec: &str, passwd: &str, group: &str) -> Result<Identity, Error> {
    let unknown = |what: &str| Error::User { spec: spec.to_owned(), reason: what.to_owned() };
    let wanted: UserSpec = spec.parse()?;
    let account = match &wanted.user {
        Who::Id(uid) => accounts(passwd).find(|account| account.uid == *uid),
        Who::Name(name) => {
            let account = accounts(passwd).find(|account| account.name == name);
            Some(account.ok_or_else(|| unknown("the container's /etc/passwd has no such user"))?)
        }
    };
    let uid = match (&wanted.user, &account) {
        (Who::Id(uid), _) => *uid,
        (Who::Name(_), account) => account.as_ref().map_or(0, |account| account.uid),
    };
    match &wanted.group {
        None => {
            let groups = account.as_ref().map_or_else(Vec::new, |account| memberships(account, group));
            Ok(Identity { uid, gid: account.map_or(0, |account| account.gid), groups, umask: None })
        }
        Some(wanted) => {
            let gid = group_id(wanted, group).ok_or_else(|| unknown("the container's /etc/group has no such group"))?;
            Ok(Identity { uid, gid, groups: Vec::new(), umask: None })
        }
    }
}

/// Resolves the owner of copied files (`COPY --chown`): as [`resolve_user`], but a lone number stands for the group of
/// the same number too.
///
/// # Errors
/// As [`resolve_user`].
pub fn resolve_owner(spec: &str, passwd: &str, group: &str) -> Result<(u32, u32), Error> {
    if spec.is_empty() {
        return Err(Error::User { spec: String::new(), reason: "nobody is named".to_owned() });
    }
    match spec.parse()? {
        UserSpec { user: Who::Id(id), group: None } => Ok((id, id)),
        UserSpec { .. } => resolve_user(spec, passwd, group).map(|identity| (identity.uid, identity.gid)),
    }
}

/// Resolves `--group-add`: a name in the group file, or a number.
///
/// # Errors
/// As [`resolve_user`].
pub fn resolve_group(spec: &str, group: &str) -> Result<u32, Error> {
    let refuse = |reason: String| Error::User { spec: spec.to_owned(), reason };
    if spec.is_empty() {
        return Err(refuse("no group is named".to_owned()));
    }
    let wanted = Who::parse(spec).map_err(|reason| refuse(format!("group {reason}")))?;
    group_id(&wanted, group).ok_or_else(|| refuse("the container's /etc/group has no such group".to_owned()))
}

fn group_id(wanted: &Who, group: &str) -> Option<u32> {
    match wanted {
        Who::Id(gid) => Some(*gid),
        Who::Name(name) => groups(group).find(|entry| entry.name == name).map(|entry| entry.gid),
    }
}

/// The home directory of a user id, for `HOME`; `None` if it has no account or a home that is no absolute path.
pub fn home_of(uid: u32, passwd: &str) -> Option<String> {
    accounts(passwd)
        .find(|account| account.uid == uid)
        .map(|account| account.home.to_owned())
        .filter(|home| home.starts_with('/') && !home.contains('\0'))
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
    fn a_number_is_a_number_even_where_an_account_is_called_by_it() {
        assert_eq!(resolve("1000").unwrap(), identity(1000, 0, &[]));
    }

    #[test]
    fn an_owner_that_is_a_lone_number_has_the_group_of_that_number() {
        let owner = |spec| resolve_owner(spec, PASSWD, GROUP);
        assert_eq!(owner("33").unwrap(), (33, 33));
        assert_eq!(owner("web").unwrap(), (33, 34));
        assert_eq!(owner("7:tape").unwrap(), (7, 26));
        assert!(owner("").is_err() && owner("1:").is_err());
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
            "010",
            "0:",
        ];
        for form in forms {
            assert!(resolve(form).is_err(), "{form:?} was accepted");
        }
    }

    #[test]
    fn the_refusal_says_what_and_why() {
        assert_eq!(resolve("1:").unwrap_err().to_string(), r#"user "1:": a half is empty"#);
        let unknown = resolve_user("web", "", "").unwrap_err().to_string();
        assert_eq!(unknown, r#"user "web": the container's /etc/passwd has no such user"#);
    }

    #[test]
    fn home_comes_from_the_containers_own_file() {
        assert_eq!(home_of(33, PASSWD).as_deref(), Some("/srv"));
        assert_eq!(home_of(5, PASSWD), None);
        assert_eq!(home_of(5, "x:x:5:5::relative:/bin/sh"), None);
    }
}
