//! What a driver keeps that takes everything a USB modem sends, whether anybody reads it or not.
//!
//! `option` and its like ask the device for more as soon as they have something, and give it to the kernel's tty layer,
//! which has room for so much and drops the rest without counting it. A read of a tty gives a few KiB of it, until one
//! finds nothing. As long as less than the layer has room for is read between two such moments, nothing was dropped.

/// How many bytes were read since the port was last read empty.
#[derive(Debug)]
pub struct Unread {
    /// How many the kernel surely keeps.
    keeps_bytes: usize,
    since_empty_bytes: usize,
}

impl Unread {
    /// Nothing waits in the port.
    pub fn new() -> Self {
        Unread {
            keeps_bytes: kept_by(&rustix::system::uname().release().to_string_lossy()),
            since_empty_bytes: 0,
        }
    }

    /// So many bytes were read.
    pub fn read(&mut self, count: usize) {
        self.since_empty_bytes = self.since_empty_bytes.saturating_add(count);
    }

    /// There was nothing to read.
    pub fn found_empty(&mut self) {
        self.since_empty_bytes = 0;
    }

    /// Whether bytes may be missing in what was read last.
    pub fn may_have_dropped(&self) -> bool {
        self.since_empty_bytes > self.keeps_bytes
    }
}

/// How many bytes the tty layer of this kernel surely keeps: three quarters of its limit, as the last of its buffers may
/// not be filled. Linux 5.17 has raised the limit from 64 to 640 KiB.
fn kept_by(release: &str) -> usize {
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map_while(|part| part.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let limit = if version >= (5, 17) { 640 * 1024 } else { 64 * 1024 };
    limit / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_depends_on_the_kernel() {
        for (release, keeps) in [
            ("6.1.0-41-amd64", 491_520),
            ("5.17.0", 491_520),
            ("5.16.20", 49_152),
            ("5.4.0-1.el8", 49_152),
            ("4.14", 49_152),
            ("10.0-rc1", 491_520),
            ("a router's own", 49_152),
        ] {
            assert_eq!(kept_by(release), keeps, "{release}");
        }
    }

    #[test]
    fn only_what_is_read_without_finding_the_port_empty_counts() {
        let mut unread = Unread { keeps_bytes: 10_000, since_empty_bytes: 0 };
        for _ in 0..10 {
            unread.read(4_095);
            unread.read(4_095);
            assert!(!unread.may_have_dropped());
            unread.found_empty();
        }
        unread.read(10_000);
        assert!(!unread.may_have_dropped());
        unread.read(1);
        assert!(unread.may_have_dropped());
        unread.found_empty();
        assert!(!unread.may_have_dropped());
    }
}
