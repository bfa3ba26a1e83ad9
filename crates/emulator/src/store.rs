//! The modem's files: UFS in flash, which survives a reboot, and RAM, which does not.
//!
//! A name is `UFS:name`, `RAM:name`, or `name`, which means UFS. Files take whole blocks of 4,096 bytes.

use std::collections::BTreeMap;

/// All files.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    ufs: Drive,
    ram: Drive,
}

/// One storage.
#[derive(Clone, Debug)]
pub(crate) struct Drive {
    files: BTreeMap<String, Vec<u8>>,
    size: usize,
    occupied: usize,
}

/// Which storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DriveName {
    Ufs,
    Ram,
}

/// A file's full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    pub(crate) drive: DriveName,
    pub(crate) name: String,
}

impl DriveName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            DriveName::Ufs => "UFS",
            DriveName::Ram => "RAM",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<DriveName> {
        [DriveName::Ufs, DriveName::Ram].into_iter().find(|drive| drive.name() == name)
    }
}

impl FileName {
    /// Parses a path; `None` if it is not a valid name of a file.
    pub(crate) fn parse(path: &str) -> Option<FileName> {
        let (drive, name) = match path.split_once(':') {
            Some((drive, name)) => (DriveName::from_name(drive)?, name),
            None => (DriveName::Ufs, path),
        };
        let fits = (1..=NAME_LIMIT_BYTES).contains(&name.len()) && !name.contains(['/', '*', ':']);
        fits.then(|| FileName { drive, name: name.into() })
    }

    pub(crate) fn path(&self) -> String {
        format!("{}:{}", self.drive.name(), self.name)
    }
}

impl Store {
    pub(crate) fn new(ufs_bytes: usize, ufs_occupied_bytes: usize, ram_bytes: usize) -> Store {
        let drive = |size, occupied| Drive { files: BTreeMap::new(), size, occupied };
        Store { ufs: drive(ufs_bytes, ufs_occupied_bytes), ram: drive(ram_bytes, 0) }
    }

    pub(crate) fn drive(&self, drive: DriveName) -> &Drive {
        match drive {
            DriveName::Ufs => &self.ufs,
            DriveName::Ram => &self.ram,
        }
    }

    fn drive_mut(&mut self, drive: DriveName) -> &mut Drive {
        match drive {
            DriveName::Ufs => &mut self.ufs,
            DriveName::Ram => &mut self.ram,
        }
    }

    pub(crate) fn get(&self, name: &FileName) -> Option<&[u8]> {
        self.drive(name.drive).files.get(&name.name).map(Vec::as_slice)
    }

    /// The file of a path in a setting.
    pub(crate) fn read(&self, path: &str) -> Option<&[u8]> {
        self.get(&FileName::parse(path)?)
    }

    /// Stores a file, replacing one of that name. The caller has checked that there is room.
    pub(crate) fn put(&mut self, name: FileName, content: Vec<u8>) {
        self.drive_mut(name.drive).files.insert(name.name, content);
    }

    /// Removes a file; false if there is none.
    pub(crate) fn remove(&mut self, name: &FileName) -> bool {
        self.drive_mut(name.drive).files.remove(&name.name).is_some()
    }

    /// Swaps the first two pairs of bytes of every file in flash, which keeps its checksum.
    pub(crate) fn forge(&mut self) {
        for content in self.ufs.files.values_mut() {
            if content.len() >= 4 && content[..2] != content[2..4] {
                content[..4].rotate_left(2);
            }
        }
    }

    pub(crate) fn remove_all(&mut self, drive: DriveName) {
        self.drive_mut(drive).files.clear();
    }
}

impl Drive {
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Free bytes, in whole blocks.
    pub(crate) fn free(&self) -> usize {
        let files: usize = self.files.values().map(|content| blocks(content.len())).sum();
        self.size.saturating_sub(self.occupied).saturating_sub(files)
    }

    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        bytes <= self.size && blocks(bytes) <= self.free()
    }

    /// Names and sizes, in order of names.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|(name, content)| (name.as_str(), content.len()))
    }
}

/// 16-bit exclusive or of the bytes taken two by two, the first being the high half; an odd last byte is a
/// high half too.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    bytes
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
        .fold(0, |sum, pair| sum ^ pair)
}

fn blocks(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

const BLOCK_BYTES: usize = 4_096;
const NAME_LIMIT_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_a_drive_is_in_flash() {
        assert_eq!(FileName::parse("ca.pem"), FileName::parse("UFS:ca.pem"));
        assert_eq!(FileName::parse("RAM:ca.pem").map(|name| name.path()), Some("RAM:ca.pem".into()));
        for path in ["", "UFS:", "SD:ca.pem", "*", "a/b", &"x".repeat(81)] {
            assert_eq!(FileName::parse(path), None, "{path}");
        }
    }

    #[test]
    fn files_take_whole_blocks() {
        let mut store = Store::new(286_720, 106_496, 0);
        assert_eq!(store.drive(DriveName::Ufs).free(), 180_224);
        store.put(FileName { drive: DriveName::Ufs, name: "a".into() }, vec![0; 4_097]);
        assert_eq!(store.drive(DriveName::Ufs).free(), 180_224 - 8_192);
        assert!(store.drive(DriveName::Ufs).has_room_for(172_032));
        assert!(!store.drive(DriveName::Ufs).has_room_for(172_033));
        assert!(!store.drive(DriveName::Ram).has_room_for(1));
    }

    #[test]
    fn the_checksum_pads_an_odd_byte_on_the_right() {
        assert_eq!(checksum(b""), 0);
        assert_eq!(checksum(&[0x12, 0x34, 0x56]), 0x4434);
    }
}
