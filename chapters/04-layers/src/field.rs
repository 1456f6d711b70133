//! The fields of a tar header: numbers in two notations, and what happens where two places give one number.

/// The size on which header and extension agree. A header cannot hold 8 GiB in octal and then says 0.
pub(crate) fn agreed_size(header: u64, extension: Option<u64>) -> Result<u64, String> {
    match extension {
        None => Ok(header),
        Some(size) if size == header || (header == 0 && size >= 8 << 30) => Ok(size),
        Some(size) => Err(format!("its size is {header} in the header and {size} in the extension")),
    }
}

pub(crate) fn valid_id(id: u64) -> Result<u32, String> {
    // 4294967295 is -1, which means "leave it alone" to chown(2).
    u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or_else(|| format!("its owner {id} is out of range"))
}

pub(crate) fn unsigned(number: i128) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| "a number in its header is out of range".to_owned())
}

pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or(bytes)
}

/// A number in a header: octal digits, or, with the highest bit set, two's complement in what is left (base 256).
///
/// Digits may have blanks in front, and end at a blank or a zero byte, or at the field's end; after that there is nothing
/// but these two. A field of nothing is 0. In base 256 the first byte is 0x80, or 0xff for a negative number.
///
/// # Errors
/// Everything else.
///
/// # References
/// POSIX.1-2017, pax, "ustar Interchange Format"; tar(5), "GNU tar archives"
pub(crate) fn number(field: &[u8]) -> Result<i128, String> {
    let malformed = || format!("{:?} is not a number", String::from_utf8_lossy(field));
    match field {
        [first @ (0x80 | 0xff), rest @ ..] => {
            let negative = *first == 0xff;
            let start = if negative { -1 } else { 0 };
            // 11 bytes hold 88 bits, so an i128 takes them all; whether they make sense is for the caller.
            Ok(rest.iter().fold(start, |number, &b| (number << 8) | i128::from(b)))
        }
        _ => {
            let text = field.trim_ascii_start();
            let end = text.iter().position(|&b| b == 0 || b == b' ').unwrap_or(text.len());
            let digits = &text[..end];
            if !digits.iter().all(|b| matches!(b, b'0'..=b'7')) || !text[end..].iter().all(|&b| b == 0 || b == b' ') {
                return Err(malformed());
            }
            Ok(digits.iter().fold(0, |number, &b| (number << 3) | i128::from(b - b'0')))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"   644 \0").unwrap(), 0o644);
        assert_eq!(number(b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\0").unwrap(), 256);
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        for malformed in [&b"0000648\0"[..], b"12 34\0\0\0", b"-0000644", b"\x81\0\0\0\0\0\0\0"] {
            assert!(number(malformed).is_err(), "{malformed:?}");
        }
        assert!(unsigned(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").unwrap()).is_err());
    }

    #[test]
    fn sizes_must_agree_unless_the_header_cannot_hold_them() {
        assert_eq!(agreed_size(5, None), Ok(5));
        assert_eq!(agreed_size(5, Some(5)), Ok(5));
        assert_eq!(agreed_size(0, Some(9 << 30)), Ok(9 << 30));
        for (header, extension) in [(5, 6), (6, 5), (0, 512), (512, 0)] {
            assert!(agreed_size(header, Some(extension)).is_err());
        }
    }
}
