//! Exchanges of one datagram each: through the tunnel, and by the dialogue alone.
//!
//! The second is what the tunnel's figures are compared with: the bench itself sends the AT commands and waits for their
//! answers, with no client, no socket of the host, and no program in between.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use qssl_core::settings::Mode;
use qssl_test_common::world::FarEnd;

use crate::modem::{Direct, Modem, Settings};
use crate::program::{Carried, Program};
use crate::rote::{self, Words};

const PAYLOAD: [u8; 64] = [b'.'; 64];
/// Its length, at the end of a line.
const LENGTH: &[u8] = b"64\r\n";

fn modem() -> Modem {
    Modem::start(Settings { baud: 0, far_end: FarEnd::Echo, direct: Direct::Never })
}

/// A client of a tunnel that carries datagrams. Its session is open.
pub struct DatagramLink {
    // In the order in which they are dropped.
    client: UdpSocket,
    /// The tunnel.
    pub program: Program,
    _modem: Modem,
}

impl DatagramLink {
    /// A tunnel with a modem of its own.
    pub fn new(carried: Carried, mode: Mode) -> DatagramLink {
        let modem = modem();
        let program = Program::tunnel(modem.path(), carried, mode, 115_200);
        let mut link = DatagramLink { client: program.datagrams(), program, _modem: modem };
        link.ping();
        link
    }

    /// Sends a datagram and receives its echo. Returns the time of both.
    pub fn ping(&mut self) -> Duration {
        let mut buffer = [0; 2 * PAYLOAD.len()];
        let begin = Instant::now();
        self.client.send(&PAYLOAD).expect("the tunnel reads");
        let count = self.client.recv(&mut buffer).expect("the server echoes");
        let took = begin.elapsed();
        assert_eq!(buffer[..count], PAYLOAD);
        took
    }
}

/// The dialogue of one connection, played by the bench.
pub struct Bare {
    tty: File,
    mode: Mode,
    words: Words,
    /// From the modem, not yet looked at.
    heard: Vec<u8>,
    _modem: Modem,
}

const UDP: Words = Words { open: "AT+QIOPEN=1,0,\"UDP\",\"server.test\",443,0,", ..rote::PLAIN };

impl Bare {
    /// A connection of a modem of its own.
    pub fn new(carried: Carried, mode: Mode) -> Bare {
        let modem = modem();
        let words = if carried.has_tls() { rote::TLS } else { UDP };
        let tty = rote::open_raw(modem.path());
        let mut bare = Bare { tty, mode, words, heard: Vec::new(), _modem: modem };
        for line in ["ATE0", "AT+QIACT=1", "AT+QSSLCFG=\"seclevel\",0,0", "AT+QSSLCFG=\"dtls\",0,1"] {
            bare.write(format!("{line}\r").as_bytes());
            bare.wait_for(b"OK\r\n");
        }
        bare.write(format!("{}{}\r", words.open, mode as u8).as_bytes());
        bare.wait_for(b"OPEN: 0,0\r\n");
        bare
    }

    /// Sends a datagram and receives its echo. Returns the time of both.
    pub fn ping(&mut self) -> Duration {
        let words = self.words;
        let begin = Instant::now();
        self.write(format!("{}64\r", words.send).as_bytes());
        self.wait_for(b"\r\n> ");
        self.write(&PAYLOAD);
        if self.mode == Mode::Push {
            self.wait_for(words.pushed);
            self.wait_for(LENGTH);
            self.wait_for(&PAYLOAD);
            return begin.elapsed();
        }
        self.wait_for(words.announced);
        self.wait_for(b"\r\n");
        self.write(words.receive);
        self.wait_for(words.header);
        self.wait_for(LENGTH);
        self.wait_for(&PAYLOAD);
        let took = begin.elapsed();
        self.wait_for(b"OK\r\n");
        // More is announced only after a read that found nothing.
        self.write(words.receive);
        self.wait_for(b"OK\r\n");
        took
    }

    fn write(&mut self, bytes: &[u8]) {
        self.tty.write_all(bytes).expect("the modem takes it");
    }

    /// Reads until this has come, and drops everything up to its end.
    fn wait_for(&mut self, words: &[u8]) {
        let mut buffer = [0; 4_096];
        loop {
            if let Some(at) = self.heard.windows(words.len()).position(|some| some == words) {
                self.heard.drain(..at + words.len());
                return;
            }
            let count = self.tty.read(&mut buffer).expect("the modem answers");
            self.heard.extend_from_slice(&buffer[..count]);
            assert!(!self.heard.ends_with(b"ERROR\r\n"), "{}", self.heard.escape_ascii());
        }
    }
}
