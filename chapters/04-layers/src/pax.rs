//! PAX records: what does not fit into a header of 1988.

use crate::acl;
use crate::member::Time;
use crate::sparse::SparseRecords;
use crate::tarball::Xattrs;

/// The most bytes of records before one member: long names, capabilities and some attributes fit many times.
pub(crate) const LARGEST: u64 = 1 << 20;
/// What attributes are called in records.
pub(crate) const XATTR: &str = "SCHILY.xattr.";

/// What records say about the next member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: Xattrs,
    pub(crate) sparse: SparseRecords,
}

/// Reads records of the form `LENGTH KEY=VALUE\n`, where the length counts itself.
///
/// # References
/// POSIX.1-2017, pax, "pax Extended Header"
pub(crate) fn parse(mut records: &[u8]) -> Result<Extension, String> {
    let mut extension = Extension::default();
    while !records.is_empty() {
        let (key, value, rest) = first_record(records).ok_or("a malformed extension record")?;
        records = rest;
        // No value means: as if the key had not been given.
        if value.is_empty() && !key.starts_with(XATTR.as_bytes()) {
            continue;
        }
        match key {
            b"path" => extension.path = Some(value.to_vec()),
            b"linkpath" => extension.link = Some(value.to_vec()),
            b"size" => extension.size = Some(decimal(value)?),
            b"uid" => extension.uid = Some(decimal(value)?),
            b"gid" => extension.gid = Some(decimal(value)?),
            b"mtime" => extension.mtime = Some(time(value)?),
            b"SCHILY.acl.access" => extension.add_acl(acl::ACCESS, value),
            b"SCHILY.acl.default" => extension.add_acl(acl::DEFAULT, value),
            // Times of access, names of users, remarks: nothing that a layer keeps.
            _ => {
                if let Some(name) = key.strip_prefix(XATTR.as_bytes()) {
                    extension.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    extension.sparse.take(key, value)?;
                }
            }
        }
    }
    Ok(extension)
}

impl Extension {
    /// A list in text is an attribute like any other; one with names of another machine's users becomes one that the
    /// kernel refuses, so that it is counted as left out. (An empty one it would take, as a removal.)
    fn add_acl(&mut self, attribute: &[u8], text: &[u8]) {
        self.xattrs.push((attribute.to_vec(), acl::attribute_of(text).unwrap_or(vec![0])));
    }
}

/// Key and value of the first record, and what follows it.
fn first_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().take(8).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&records[..blank]).ok()?).ok()?;
    let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    (equals > 0).then(|| (&record[..equals], &record[equals + 1..], &records[length..]))
}

pub(crate) fn decimal(digits: &[u8]) -> Result<u64, String> {
    let malformed = || format!("{:?} is not a number", String::from_utf8_lossy(digits));
    // `parse` alone would take "+5".
    match !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        true => std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(malformed),
        false => Err(malformed()),
    }
}

/// `SECONDS[.FRACTION]`, possibly negative.
fn time(text: &[u8]) -> Result<Time, String> {
    let malformed = || format!("{:?} is not a time", String::from_utf8_lossy(text));
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|&b| b == b'.').unwrap_or(text.len());
    let fraction = text.get(dot + 1..).unwrap_or_default();
    let seconds = decimal(&text[..dot]).and_then(|s| i64::try_from(s).map_err(|_| malformed()));
    let seconds = seconds.map_err(|_| malformed())?;
    if text[..dot].is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |&b| u32::from(b - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, at| sum * 10 + digit(at));
    Ok(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        // -1.25 is two seconds before 1970 and three quarters after that.
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// `SECONDS[.FRACTION]`, as short as it can be.
pub(crate) fn time_text(time: Time) -> String {
    let Time { seconds, nanoseconds } = time;
    let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
        (true, 1..) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (false, _) => ("", seconds.unsigned_abs(), nanoseconds),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One record, with the length that counts itself.
pub(crate) fn record(key: impl AsRef<[u8]>, value: &[u8]) -> Vec<u8> {
    let key = key.as_ref();
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_as_they_were_written() {
        for length in [1, 5, 80, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 985, 990, 999, 5000] {
            let value = vec![b'x'; length];
            let record = record("path", &value);
            assert_eq!(parse(&record).unwrap().path, Some(value));
        }
        let records = [record("uid", b"7"), record("SCHILY.xattr.user.a", b"1\n2=3")].concat();
        let extension = parse(&records).unwrap();
        assert_eq!(extension.uid, Some(7));
        assert_eq!(extension.xattrs, [(b"user.a".to_vec(), b"1\n2=3".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b\n7",
            b"99 a=b\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"+6 a=b\n",
            b"-6 a=b\n",
            b"18446744073709551616 a=b\n",
            b"5 ab\n",
            b"5 =b\n",
            b"9 size=x\n",
            b"11 size=-5\n",
            b"25 GNU.sparse.major=1.00\n",
            b"22 GNU.sparse.map=1,,2\n",
        ] {
            assert!(parse(records).is_err(), "{}", String::from_utf8_lossy(records));
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        let at = |seconds, nanoseconds| Time { seconds, nanoseconds };
        assert_eq!(time(b"1700000000.123456789").unwrap(), at(1_700_000_000, 123_456_789));
        assert_eq!(time(b"1.5").unwrap(), at(1, 500_000_000));
        assert_eq!(time(b"1.0000000019").unwrap(), at(1, 1));
        assert_eq!(time(b"-1.25").unwrap(), at(-2, 750_000_000));
        for moment in [at(1, 5), at(-2, 750_000_000), at(-1, 1), at(-3, 0), at(0, 0), at(10, 0), at(7, 120)] {
            assert_eq!(time(time_text(moment).as_bytes()).unwrap(), moment);
        }
        assert_eq!(time_text(at(10, 0)), "10");
        assert!(time(b".5").is_err() && time(b"1.x").is_err() && time(b"--1").is_err());
    }
}
