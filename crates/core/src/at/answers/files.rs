//! Files in the modem (PROTOCOL section 5; FILE application note).

use std::fmt;

use super::{Answer, values};
use crate::counted;

/// `+QFLDS: <free>,<total>`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Room that is left, in bytes.
    pub free_bytes: u64,
    /// Room in all, in bytes.
    pub total_bytes: Option<u64>,
}

impl Answer<'_> for Storage {
    fn of(line: &str) -> Option<Self> {
        let mut all = values(line, "+QFLDS")?;
        Some(Storage { free_bytes: all.number()?, total_bytes: all.number() })
    }
}

/// `+QFLST: "<name>",<size>`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedFile<'a> {
    /// Its name without the storage.
    pub name: &'a str,
    /// Its size.
    pub bytes: u64,
}

impl<'a> Answer<'a> for ListedFile<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut all = values(line, "+QFLST")?;
        Some(ListedFile { name: without_storage(all.next()?), bytes: all.number()? })
    }
}

/// The name of a file without the usual storage in front of it.
pub fn without_storage(name: &str) -> &str {
    name.strip_prefix("UFS:").unwrap_or(name)
}

/// What was stored or handed out: `+QFUPL: <size>,<checksum>`, `+QFDWL: <size>,<checksum>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSum {
    /// In bytes.
    pub size: usize,
    /// 16-bit XOR of big-endian byte pairs, an odd last byte in the high half.
    pub checksum: u16,
}

impl FileSum {
    /// That of these bytes.
    pub fn of_content(content: &[u8]) -> Self {
        FileSum { size: content.len(), checksum: checksum(content) }
    }
}

impl fmt::Display for FileSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, checksum {:04x}", counted(self.size, "byte"), self.checksum)
    }
}

impl Answer<'_> for FileSum {
    fn of(line: &str) -> Option<Self> {
        let mut all = values(line, "+QFUPL").or_else(|| values(line, "+QFDWL"))?;
        Some(FileSum { size: all.number()?, checksum: u16::from_str_radix(all.next()?, 16).ok()? })
    }
}

fn checksum(content: &[u8]) -> u16 {
    content
        .chunks(2)
        .fold(0, |sum, pair| sum ^ (u16::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u16::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_modules() {
        assert_eq!(checksum(b"\x12\x34\x56"), 0x1234 ^ 0x5600);
        assert_eq!(checksum(b""), 0);
    }

    #[test]
    fn files_and_their_storage_are_read() {
        // An EG800K's.
        assert_eq!(
            Storage::of("+QFLDS: 180224,286720"),
            Some(Storage { free_bytes: 180_224, total_bytes: Some(286_720) })
        );
        assert_eq!(Storage::of("+QFLDS: 5"), Some(Storage { free_bytes: 5, total_bytes: None }));
        let file = |line| ListedFile::of(line).map(|file| (file.name, file.bytes));
        assert_eq!(file("+QFLST: \"UFS:isrgx1.pem\",1939"), Some(("isrgx1.pem", 1939)));
        assert_eq!(file("+QFLST: \"/cert/a,b.pem\",7"), Some(("/cert/a,b.pem", 7)));
        for line in
            ["+QFLST: \"UFS:a.pem\"", "+QFLST: \"a.pem\",-1", "+QFLST: \"a.pem\",99999999999999999999"]
        {
            assert_eq!(file(line), None, "{line}");
        }
    }

    #[test]
    fn a_checksum_is_hexadecimal_with_or_without_zeros() {
        let sum = |line| FileSum::of(line).map(|sum| (sum.size, sum.checksum));
        assert_eq!(sum("+QFUPL: 1939,4f64"), Some((1939, 0x4F64)));
        assert_eq!(sum("+QFDWL: 3,b"), Some((3, 0xB)));
        for line in ["+QFUPL: 1939", "+QFUPL: 1939,10000", "+QFUPL: -3,b", "+QFUPL: 3,xyz", "+QFLST: 3,b"] {
            assert_eq!(sum(line), None, "{line}");
        }
    }
}
