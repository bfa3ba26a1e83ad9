//! The yardstick: accepts one TCP client, sends a fixed sequence of AT commands, moves the client's bytes, and does
//! nothing else.
//!
//! It relies on the bench's modem and on nothing ever going wrong. It does not recover, does not check, does not
//! record, serves no other client, and ends when its client does. The difference to this program is the cost of
//! what the tunnel adds.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Opens a tty and lets all bytes pass as they are.
pub fn open_raw(device: &Path) -> File {
    let tty = rustix::fs::open(device, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the device");
    let mut termios = tcgetattr(&tty).expect("a tty");
    termios.make_raw();
    tcsetattr(&tty, OptionalActions::Now, &termios).expect("a tty");
    File::from(tty)
}

/// Serves one client and exits when that client has ended. `mode` is that of AT+QSSLOPEN or AT+QIOPEN.
pub fn run(device: &str, has_tls: bool, mode: u8) -> ! {
    let mut rote = Rote {
        tty: open_raw(Path::new(device)),
        mode,
        words: if has_tls { &TLS } else { &PLAIN },
        heard: Vec::with_capacity(BUFFER_BYTES),
        up: Vec::with_capacity(BUFFER_BYTES),
        down: Vec::with_capacity(BUFFER_BYTES),
        stage: Stage::Idle,
        readable: false,
        receives_next: false,
    };
    for line in ["ATE0", "AT+IFC=2,2", "AT+QIACT=1", "AT+QSSLCFG=\"seclevel\",0,0"] {
        rote.ask(line, "OK\r\n");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    println!("listening on {}", listener.local_addr().expect("it is bound"));
    let (client, _) = listener.accept().expect("a client");
    client.set_nodelay(true).expect("TCP");
    client.set_nonblocking(true).expect("TCP");
    rote.ask(&format!("{}{mode}", rote.words.open), if mode == 2 { "CONNECT\r\n" } else { "OPEN: 0,0\r\n" });
    let flags = rustix::fs::fcntl_getfl(&rote.tty).expect("a tty");
    rustix::fs::fcntl_setfl(&rote.tty, flags | OFlags::NONBLOCK).expect("a tty");
    match mode {
        2 => rote.copy(client),
        _ => rote.carry(client),
    }
    std::process::exit(0)
}

/// What differs between the commands of TLS and of plain connections.
#[derive(Clone, Copy)]
pub struct Words {
    /// Opens, with the mode after it.
    pub open: &'static str,
    /// Sends, with the number of bytes after it.
    pub send: &'static str,
    /// Reads.
    pub receive: &'static [u8],
    /// Before the payload of a read, with its length after it.
    pub header: &'static [u8],
    /// Before pushed payload, with its length after it.
    pub pushed: &'static [u8],
    /// Payload waits.
    pub announced: &'static [u8],
}

pub const TLS: Words = Words {
    open: "AT+QSSLOPEN=1,0,0,\"server.test\",443,",
    send: "AT+QSSLSEND=0,",
    receive: b"AT+QSSLRECV=0,1460\r",
    header: b"+QSSLRECV: ",
    pushed: b"+QSSLURC: \"recv\",0,",
    announced: b"+QSSLURC: \"recv\",0",
};

pub const PLAIN: Words = Words {
    open: "AT+QIOPEN=1,0,\"TCP\",\"server.test\",443,0,",
    send: "AT+QISEND=0,",
    receive: b"AT+QIRD=0,1500\r",
    header: b"+QIRD: ",
    pushed: b"+QIURC: \"recv\",0,",
    announced: b"+QIURC: \"recv\",0",
};

struct Rote {
    tty: File,
    mode: u8,
    words: &'static Words,
    /// From the modem, not yet parsed.
    heard: Vec<u8>,
    /// From the client, not yet sent.
    up: Vec<u8>,
    /// For the client.
    down: Vec<u8>,
    stage: Stage,
    /// Buffer mode: received data may wait in the modem.
    readable: bool,
    /// Sends and receives take turns.
    receives_next: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    Idle,
    /// AT+QSSLSEND has announced this many bytes.
    Prompt(usize),
    SendOk,
    /// AT+QSSLRECV was sent; its header has not come yet.
    Header,
    Ok,
}

impl Rote {
    /// Sends a line and waits for the end of its answer.
    fn ask(&mut self, line: &str, end: &str) {
        self.tty.write_all(format!("{line}\r").as_bytes()).expect("the modem takes it");
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(end.as_bytes()) {
            self.tty.read_exact(&mut byte).expect("the modem answers");
            answer.push(byte[0]);
            assert!(!answer.ends_with(b"ERROR"), "{line}: {}", answer.escape_ascii());
        }
    }

    /// Push and buffer mode.
    fn carry(&mut self, mut client: TcpStream) {
        let mut buffer = vec![0; BUFFER_BYTES];
        self.readable = self.mode == 0;
        loop {
            self.speak();
            let mut wanted = PollFlags::empty();
            if self.up.len() < CHUNK {
                wanted |= PollFlags::IN;
            }
            if !self.down.is_empty() {
                wanted |= PollFlags::OUT;
            }
            let mut fds = [PollFd::new(&self.tty, PollFlags::IN), PollFd::new(&client, wanted)];
            poll(&mut fds, None).expect("poll");
            let (from_modem, from_client) = (fds[0].revents(), fds[1].revents());
            if from_modem.contains(PollFlags::IN) {
                let count = self.tty.read(&mut buffer).expect("the modem is there");
                self.heard.extend_from_slice(&buffer[..count]);
                while self.understand() {}
            }
            if from_client.contains(PollFlags::IN) && self.up.len() < CHUNK {
                match client.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => self.up.extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("the client: {error}"),
                }
            }
            if !self.down.is_empty() {
                match client.write(&self.down) {
                    Ok(count) => drop(self.down.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("the client: {error}"),
                }
            }
        }
    }

    /// Sends the next command, if none is under way.
    fn speak(&mut self) {
        if !matches!(self.stage, Stage::Idle) {
            return;
        }
        let receives = self.readable && (self.receives_next || self.up.is_empty()) && self.down.len() < CHUNK;
        if receives {
            self.write(self.words.receive);
            self.stage = Stage::Header;
            self.receives_next = false;
        } else if !self.up.is_empty() {
            let count = self.up.len().min(CHUNK);
            self.write(format!("{}{count}\r", self.words.send).as_bytes());
            self.stage = Stage::Prompt(count);
            self.receives_next = true;
        }
    }

    /// Takes one message out of the received bytes.
    fn understand(&mut self) -> bool {
        let heard = &self.heard[..];
        if let (Stage::Prompt(count), Some(b"\r\n> ")) = (self.stage, heard.get(..4)) {
            self.heard.drain(..4);
            let payload: Vec<u8> = self.up.drain(..count).collect();
            self.write(&payload);
            self.stage = Stage::SendOk;
            return true;
        }
        let Some(begin) = heard.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else { return false };
        let Some(end) = heard[begin..].windows(2).position(|two| two == b"\r\n") else { return false };
        let line = &heard[begin..begin + end];
        let rest = begin + end + 2;
        let length = |prefix: &[u8]| -> Option<usize> {
            std::str::from_utf8(line.strip_prefix(prefix)?).ok()?.parse().ok()
        };
        let payload = length(self.words.pushed).or(length(self.words.header));
        if let Some(length) = payload {
            if heard.len() < rest + length {
                return false;
            }
            self.down.extend_from_slice(&heard[rest..rest + length]);
            if matches!(self.stage, Stage::Header) {
                self.readable = length > 0;
                self.stage = Stage::Ok;
            }
            self.heard.drain(..rest + length);
            return true;
        }
        match line {
            b"SEND OK" | b"OK" => self.stage = Stage::Idle,
            line if line == self.words.announced => self.readable = true,
            other => panic!("the modem says {}", other.escape_ascii()),
        }
        self.heard.drain(..rest);
        self.speak();
        true
    }

    /// Transparent mode.
    fn copy(&mut self, mut client: TcpStream) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let to_modem = if self.up.is_empty() { PollFlags::IN } else { PollFlags::empty() };
            let to_client = if self.down.is_empty() { PollFlags::IN } else { PollFlags::empty() };
            let blocked =
                |bytes: &Vec<u8>| if bytes.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut fds = [
                PollFd::new(&self.tty, to_client | blocked(&self.up)),
                PollFd::new(&client, to_modem | blocked(&self.down)),
            ];
            poll(&mut fds, None).expect("poll");
            let (from_modem, from_client) = (fds[0].revents(), fds[1].revents());
            if from_modem.contains(PollFlags::IN) && self.down.is_empty() {
                let count = self.tty.read(&mut buffer).expect("the modem is there");
                self.down.extend_from_slice(&buffer[..count]);
            }
            if from_client.contains(PollFlags::IN) && self.up.is_empty() {
                match client.read(&mut buffer) {
                    Ok(0) => return,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("the client: {error}"),
                    Ok(count) => self.up.extend_from_slice(&buffer[..count]),
                }
            }
            if !self.up.is_empty() {
                match self.tty.write(&self.up) {
                    Ok(count) => drop(self.up.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("the modem is there: {error}"),
                }
            }
            if !self.down.is_empty() {
                match client.write(&self.down) {
                    Ok(count) => drop(self.down.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("the client: {error}"),
                }
            }
        }
    }

    /// Commands and payload fit into what a tty takes at once, unless the line is slow.
    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.tty.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::from_borrowed_fd(self.tty.as_fd(), PollFlags::OUT)], None)
                        .expect("poll");
                }
                Err(error) => panic!("the modem is there: {error}"),
            }
        }
    }
}

const CHUNK: usize = 1_460;
const BUFFER_BYTES: usize = 64 * 1024;
