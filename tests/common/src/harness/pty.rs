//! A serial device with nobody but the test behind it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The test's end of a pseudoterminal.
pub struct Pty {
    master: File,
    path: PathBuf,
}

impl Pty {
    /// A new one.
    pub fn new() -> Pty {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudoterminal is available");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name").into_bytes();
        Pty { master: File::from(master), path: PathBuf::from(OsString::from_vec(name)) }
    }

    /// What the program opens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The test's end, to read and write.
    pub fn end(&self) -> File {
        self.master.try_clone().expect("a descriptor is free")
    }

    /// What the program has written so far, at most 64 KiB.
    pub fn received(&self) -> String {
        let flags = fcntl_getfl(&self.master).expect("it is open");
        fcntl_setfl(&self.master, flags | OFlags::NONBLOCK).expect("it is open");
        let mut buffer = vec![0; 65_536];
        // Where nobody has the other end open, reading fails when all was read.
        let count = self.end().read(&mut buffer).unwrap_or(0);
        fcntl_setfl(&self.master, flags).expect("it is open");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }
}

impl Default for Pty {
    fn default() -> Self {
        Pty::new()
    }
}
