//! POSIX access control lists: as archives of GNU tar spell them, and as the kernel takes them.
//!
//! ```text
//! SCHILY.acl.access=user::rw-,user:1000:r--,group::r--,mask::r--,other::r--     star, GNU tar
//! SCHILY.xattr.system.posix_acl_access=BYTES                                    most image tools
//! ```
//!
//! # References
//! acl(5); linux/posix_acl_xattr.h

/// The attribute with a file's list.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute with the list that new files in a directory inherit.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

/// The kernel's form of a list in text; `None` if it names users or groups of another machine, or is none.
pub(crate) fn attribute_of(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let entries = text.split([',', '\n']).map(|entry| entry.split('#').next().unwrap_or_default().trim());
    let mut entries =
        entries.filter(|entry| !entry.is_empty()).map(entry_of).collect::<Option<Vec<(u16, u32, u16)>>>()?;
    // The kernel takes them in this order only.
    entries.sort_unstable();
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in &entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    (!entries.is_empty()).then_some(bytes)
}

/// Tag, id and permissions of one entry: `TAG:[ID]:PERMISSIONS`, or star's `TAG:NAME:PERMISSIONS:ID`.
fn entry_of(entry: &str) -> Option<(u16, u32, u16)> {
    let fields: Vec<&str> = entry.split(':').collect();
    let [tag, who, permissions, rest @ ..] = fields.as_slice() else { return None };
    let id = match (who.is_empty(), rest) {
        (true, _) => NO_ID,
        (false, [id, ..]) => id.parse().ok()?,
        (false, []) => who.parse().ok()?,
    };
    let tag = match (*tag, id) {
        ("user" | "u", NO_ID) => 0x01,
        ("user" | "u", _) => 0x02,
        ("group" | "g", NO_ID) => 0x04,
        ("group" | "g", _) => 0x08,
        ("mask" | "m", NO_ID) => 0x10,
        ("other" | "o", NO_ID) => 0x20,
        _ => return None,
    };
    let mut bits = 0;
    for (place, &byte) in permissions.as_bytes().iter().enumerate() {
        bits |= match (place, byte) {
            (0, b'r') => 4,
            (1, b'w') => 2,
            (2, b'x') => 1,
            (0..=2, b'-') => 0,
            _ => return None,
        };
    }
    (permissions.len() == 3).then_some((tag, id, bits))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_text_becomes_the_kernels_form_in_its_order() {
        let bytes = attribute_of(b"other::r--,user::rw-,user:1000:r-x,mask::r-x\ngroup::---").unwrap();
        let entry = |tag: u8, bits: u8, id: u32| [&[tag, 0, bits, 0][..], &id.to_le_bytes()].concat();
        let expected = [
            vec![2, 0, 0, 0],
            entry(1, 6, NO_ID),
            entry(2, 5, 1000),
            entry(4, 0, NO_ID),
            entry(0x10, 5, NO_ID),
            entry(0x20, 4, NO_ID),
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(attribute_of(b"user:lisa:rwx:7"), attribute_of(b"user:7:rwx"));
    }

    #[test]
    fn what_is_no_list_here_is_none() {
        for text in ["", "user:lisa:rwx", "user::rw", "user::wr-", "mask:5:rwx", "nobody::rwx", "user"] {
            assert_eq!(attribute_of(text.as_bytes()), None, "{text}");
        }
    }
}
