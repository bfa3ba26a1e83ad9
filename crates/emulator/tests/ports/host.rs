//! What the tests of ports share: a host that talks to the modem over a descriptor, and never waits for
//! ever.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};

/// One end of a port, as a program on the host has it.
pub struct Host<S> {
    pub stream: S,
    /// Received and not looked at yet.
    pub pending: Vec<u8>,
}

impl Host<File> {
    /// Opens a tty without making it the controlling one.
    pub fn open(path: &Path) -> Host<File> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = open(path, flags, Mode::empty());
        Host::new(File::from(descriptor.unwrap_or_else(|error| panic!("{}: {error}", path.display()))))
    }
}

impl<S: Read + Write + AsFd> Host<S> {
    /// A host at a non-blocking stream.
    pub fn new(stream: S) -> Self {
        Host { stream, pending: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::OUT),
                Err(error) => panic!("the port does not take {} bytes: {error}", rest.len()),
            }
        }
    }

    /// Reads until `expected` is there and returns everything before it.
    pub fn until(&mut self, expected: &[u8]) -> Vec<u8> {
        loop {
            let found = self.pending.windows(expected.len()).position(|window| window == expected);
            if let Some(position) = found {
                let before = self.pending[..position].to_vec();
                self.pending.drain(..position + expected.len());
                return before;
            }
            self.read_more(&expected.escape_ascii().to_string());
        }
    }

    /// Demands that these bytes come next.
    pub fn expect(&mut self, expected: &[u8]) {
        while self.pending.len() < expected.len() && expected.starts_with(&self.pending) {
            self.read_more(&expected.escape_ascii().to_string());
        }
        let seen = self.pending[..self.pending.len().min(expected.len())].escape_ascii().to_string();
        assert_eq!(seen, expected.escape_ascii().to_string());
        self.pending.drain(..expected.len());
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count {
            self.read_more("payload");
        }
        self.pending.drain(..count).collect()
    }

    /// A command and its answer up to OK, echo left out.
    pub fn command(&mut self, command: &str) -> String {
        self.send(format!("{command}\r").as_bytes());
        String::from_utf8_lossy(&self.until(b"\r\nOK\r\n")).into_owned()
    }

    pub fn read_more(&mut self, what_for: &str) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the port ended while waiting for {what_for:?}, had {}", self.shown()),
                Ok(count) => return self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let ready = poll_for(&self.stream, PollFlags::IN);
                    assert!(ready, "waited in vain for {what_for:?}, had {}", self.shown());
                }
                Err(error) => panic!("the port cannot be read: {error}"),
            }
        }
    }

    fn wait(&mut self, flags: PollFlags) {
        assert!(poll_for(&self.stream, flags), "the port takes nothing, had {}", self.shown());
    }

    fn shown(&self) -> String {
        self.pending.escape_ascii().to_string()
    }
}

/// Waits at most 30 s.
pub fn poll_for(stream: &impl AsFd, flags: PollFlags) -> bool {
    let mut descriptors = [PollFd::new(stream, flags)];
    let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
    poll(&mut descriptors, Some(&patience)).is_ok_and(|count| count > 0)
}

/// Turns `question` over until it is answered with yes, at most 30 s; for facts that nothing announces.
pub fn eventually(what: &str, mut question: impl FnMut() -> bool) {
    let give_up = now() + Duration::from_secs(30);
    while !question() {
        assert!(now() < give_up, "{what} did not come true");
        std::thread::yield_now();
    }
}

pub fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "real ports live in real time")]
    Instant::now()
}
