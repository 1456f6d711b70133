//! Sparse files: an archive holds their data, and a map says where it goes.
//!
//! GNU tar has invented four forms of that map, and all of them are still met:
//!
//! ```text
//! old GNU   type `S`; four pairs in the header, more in blocks that follow it
//! PAX 0.0   records GNU.sparse.offset and GNU.sparse.numbytes, again and again
//! PAX 0.1   one record GNU.sparse.map=OFFSET,LENGTH,OFFSET,LENGTH...
//! PAX 1.0   lines of decimal numbers before the data: COUNT, OFFSET, LENGTH, OFFSET...
//! ```
//!
//! # References
//! GNU tar manual, "Storing Sparse Files" and "The GNU tar Archive Format"

use crate::pax::decimal;

/// A stretch of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// Where the data of a sparse file goes. What lies between the segments reads as zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseMap {
    /// The file's size, holes included.
    pub size: u64,
    /// In the order of their offsets, without overlaps, all within the size.
    pub segments: Vec<Segment>,
}

/// The most segments of one file: a map has to be held in memory.
pub(crate) const MOST_SEGMENTS: usize = 1 << 16;

impl SparseMap {
    /// Checks a map: `numbers` are offsets and lengths in turn, and `stored` is what the archive holds of the file.
    pub(crate) fn new(size: u64, numbers: &[u64], stored: u64) -> Result<Self, String> {
        let (pairs, odd) = numbers.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("its sparse map has an offset without a length".into());
        }
        let mut end = 0;
        let mut sum = 0_u64;
        let mut segments = Vec::new();
        for &[offset, length] in pairs {
            let after = offset.checked_add(length).filter(|&after| after <= size);
            let (true, Some(after)) = (offset >= end, after) else {
                return Err(format!("its sparse map does not fit into its {size} bytes, or overlaps"));
            };
            // It cannot overflow: segments do not overlap, and end before `size`.
            sum += length;
            end = after;
            // The last pair often only marks the end of the file.
            if length > 0 {
                segments.push(Segment { offset, length });
            }
        }
        match sum == stored {
            true => Ok(Self { size, segments }),
            false => Err(format!("its sparse map has {sum} bytes of data, and the archive {stored}")),
        }
    }
}

/// What PAX records say about a sparse file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    major: u64,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) numbers: Vec<u64>,
}

impl SparseRecords {
    /// Takes a record `GNU.sparse.KEY`.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            b"major" => self.major = decimal(value)?,
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"offset" | b"numbytes" => self.numbers.push(decimal(value)?),
            b"map" => self.numbers = value.split(|&b| b == b',').map(decimal).collect::<Result<_, _>>()?,
            // How many pairs there are is seen from the pairs; there never was a minor version that mattered.
            _ => {}
        }
        match self.numbers.len() > 2 * MOST_SEGMENTS {
            true => Err(too_many()),
            false => Ok(()),
        }
    }

    /// Whether the map stands before the data.
    pub(crate) fn map_in_body(&self) -> Result<bool, String> {
        match (self.major, self.size) {
            (0, _) | (_, None) => Ok(false),
            (1, Some(_)) => Ok(true),
            (other, _) => Err(format!("its sparse map is of an unknown version, {other}")),
        }
    }
}

/// Reads decimal numbers, a line each, the first of which says how many pairs follow.
#[derive(Debug, Default)]
pub(crate) struct MapLines {
    digits: Vec<u8>,
    numbers: Vec<u64>,
}

impl MapLines {
    /// Takes one more block; `true` once the map is complete. What follows it in its last block is filling.
    pub(crate) fn take(&mut self, block: &[u8]) -> Result<bool, String> {
        for &byte in block {
            if byte != b'\n' {
                self.digits.push(byte);
                // No number has more digits.
                if self.digits.len() > 20 {
                    return Err("its sparse map is malformed".into());
                }
                continue;
            }
            let number = if self.digits.is_empty() { Err(String::new()) } else { decimal(&self.digits) };
            self.numbers.push(number.map_err(|_| "its sparse map is malformed".to_owned())?);
            self.digits.clear();
            if self.numbers[0] > MOST_SEGMENTS as u64 {
                return Err(too_many());
            }
            if self.numbers.len() as u64 == 1 + 2 * self.numbers[0] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Offsets and lengths in turn.
    pub(crate) fn numbers(&self) -> &[u64] {
        self.numbers.get(1..).unwrap_or_default()
    }
}

pub(crate) fn too_many() -> String {
    format!("its sparse map has more than {MOST_SEGMENTS} segments")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_map_fits_its_file_and_its_data() {
        let map = SparseMap::new(100, &[10, 5, 90, 10, 100, 0], 15).unwrap();
        assert_eq!(map.segments, [Segment { offset: 10, length: 5 }, Segment { offset: 90, length: 10 }]);
        for (size, numbers, stored) in [
            (100, &[10, 5][..], 6),
            (100, &[10, 5, 14, 1], 6),
            (100, &[50, 5, 10, 5], 10),
            (100, &[90, 11], 11),
            (100, &[u64::MAX, 2], 2),
            (100, &[10], 0),
        ] {
            assert!(SparseMap::new(size, numbers, stored).is_err(), "{numbers:?}");
        }
    }

    #[test]
    fn a_map_before_the_data_is_read_over_the_edges_of_blocks() {
        let mut lines = MapLines::default();
        assert!(!lines.take(b"2\n0\n5").unwrap());
        assert!(!lines.take(b"12\n1024").unwrap());
        assert!(lines.take(b"\n0\n\0\0\0").unwrap());
        assert_eq!(lines.numbers(), [0, 512, 1024, 0]);
        for malformed in [&b"x\n"[..], b"\n", b"-1\n", b"65537\n", b"111111111111111111111"] {
            assert!(MapLines::default().take(malformed).is_err());
        }
    }
}
