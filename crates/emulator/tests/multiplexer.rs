//! Goal of this test: a driver that was written against modules enters the multiplexer over a real port, and has a
//! verified TLS session of real OpenSSL on one channel while it asks for the signal on another.
//!
//! The host's frames are put together here, bit by bit, from the standard's text.

#![cfg(feature = "program")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::{PortLocation, spawn};
use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, ServerOptions, TestServer, fill_pattern,
};

/// A host at a raw TCP port.
struct Host {
    link: TcpStream,
    /// Bytes that no frame and no answer were made of yet.
    bytes: Vec<u8>,
    /// What arrived on each channel.
    channels: [Vec<u8>; 3],
}

impl Host {
    /// Reads on; at least one byte comes within 10 s.
    fn read(&mut self) {
        let mut buffer = [0; 4_096];
        let count = self.link.read(&mut buffer).expect("the modem sends something");
        assert!(count > 0, "the port was closed");
        self.bytes.extend_from_slice(&buffer[..count]);
    }

    /// Sends a command without frames and returns its answer.
    fn ask_plainly(&mut self, command: &str) -> String {
        self.link.write_all(format!("{command}\r").as_bytes()).expect("the port takes it");
        loop {
            let answer = String::from_utf8_lossy(&self.bytes).into_owned();
            if ["OK\r\n", "ERROR\r\n", "CONNECT\r\n"].iter().any(|end| answer.ends_with(end)) {
                self.bytes.clear();
                return answer;
            }
            self.read();
        }
    }

    /// A frame with P/F set, as ArduPilot's driver sets it.
    fn send(&mut self, dlci: u8, control: u8, information: &[u8]) {
        let mut frame = vec![dlci << 2 | 3, control | 0x10];
        match information.len() {
            count @ 0..128 => frame.push((count as u8) << 1 | 1),
            count => frame.extend([(count as u8) << 1, (count >> 7) as u8]),
        }
        let check = check(&frame);
        let bytes = [&[0xF9], &frame[..], information, &[check, 0xF9]].concat();
        self.link.write_all(&bytes).expect("the port takes it");
    }

    /// Takes whole frames off `bytes`.
    fn sort(&mut self) {
        loop {
            let start = self.bytes.iter().take_while(|byte| **byte == 0xF9).count();
            let [address, control, first, ..] = self.bytes[start..] else { return };
            let (length, header) = match first & 1 {
                1 => (usize::from(first >> 1), 3),
                _ => match self.bytes.get(start + 3) {
                    Some(high) => (usize::from(first >> 1) + 128 * usize::from(*high), 4),
                    None => return,
                },
            };
            let end = start + header + length;
            if self.bytes.len() < end + 2 {
                return;
            }
            assert_eq!(self.bytes[end], check(&self.bytes[start..start + header]), "FCS");
            assert_eq!(self.bytes[end + 1], 0xF9, "the closing flag");
            assert!(length <= 512, "{length} bytes in a frame");
            if control & !0x10 == 0xEF {
                let information = self.bytes[start + header..end].to_vec();
                self.channels[usize::from(address >> 2)].extend(information);
            }
            self.bytes.drain(..end + 1);
        }
    }

    fn until(&mut self, dlci: usize, is_complete: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        loop {
            self.sort();
            if is_complete(&self.channels[dlci]) {
                return std::mem::take(&mut self.channels[dlci]);
            }
            self.read();
        }
    }

    fn ask(&mut self, dlci: u8, command: &str, end: &str) -> String {
        self.send(dlci, 0xEF, format!("{command}\r").as_bytes());
        let answer = self.until(dlci.into(), |bytes| bytes.ends_with(end.as_bytes()));
        String::from_utf8(answer).expect("an answer is text")
    }
}

/// FCS as the standard defines it: the remainder of a division by x^8 + x^2 + x + 1, low bits first, inverted.
fn check(bytes: &[u8]) -> u8 {
    let mut remainder = 0xFF_u8;
    for bit in bytes.iter().flat_map(|byte| (0..8).map(move |place| byte >> place & 1)) {
        let divides = remainder >> 7 != bit;
        remainder = remainder << 1 ^ if divides { 0x07 } else { 0 };
    }
    (!remainder).reverse_bits()
}

#[test]
fn a_verified_session_and_commands_beside_it_over_one_port() {
    let authority = Authority::new("test root").expect("a root");
    let identity = authority.issue(&CertificateRequest::server("server.example")).expect("a certificate");
    let options =
        ServerOptions { identity: Some(identity), behaviour: Behaviour::Echo, ..Default::default() };
    let server = TestServer::start(options).expect("the server starts");
    let text = format!(
        "--tcp 127.0.0.1:0 --port-name uart1 --baud 921600 --map server.example:443={}",
        server.address()
    );
    let modem = spawn(Options::parse_text(&text).expect("the options are right"), 0).expect("a modem");
    let [PortLocation::Tcp(address)] = modem.locations() else { panic!("{:?}", modem.locations()) };
    let link = TcpStream::connect(address).expect("the port is open");
    link.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut host = Host { link, bytes: Vec::new(), channels: Default::default() };

    host.ask_plainly("ATE0");
    assert_eq!(host.ask_plainly("AT+QIACT=1"), "\r\nOK\r\n");
    let pem = authority.pem();
    host.ask_plainly(&format!("AT+QFUPL=\"ca.pem\",{},60", pem.len()));
    host.link.write_all(&pem).expect("the port takes it");
    // The answer to the file, then the settings.
    host.ask_plainly("");
    for setting in ["\"cacert\",1,\"ca.pem\"", "\"seclevel\",1,1", "\"ignorelocaltime\",1,1"] {
        assert_eq!(host.ask_plainly(&format!("AT+QSSLCFG={setting}")), "\r\nOK\r\n", "{setting}");
    }
    assert_eq!(host.ask_plainly("AT+CMUX=0,0,8,512"), "\r\nOK\r\n");

    for dlci in 0..=2 {
        host.send(dlci, 0x2F, b"");
    }
    assert_eq!(host.ask(1, "ATE0", "OK\r\n"), "ATE0\r\r\nOK\r\n");
    assert_eq!(host.ask(2, "ATE0", "OK\r\n"), "ATE0\r\r\nOK\r\n");
    let open = "AT+QSSLOPEN=1,1,0,\"server.example\",443,2";
    assert_eq!(host.ask(2, open, "\r\n"), "\r\nCONNECT\r\n");
    let mut sent = vec![0; 65_536];
    fill_pattern(0, &mut sent);
    let mut echoed = Vec::new();
    for (number, piece) in sent.chunks(512).enumerate() {
        host.send(2, 0xEF, piece);
        if number % 8 == 7 {
            assert_eq!(host.ask(1, "AT+CSQ", "OK\r\n"), "\r\n+CSQ: 28,99\r\n\r\nOK\r\n");
            echoed.extend(host.until(2, |bytes| !bytes.is_empty()));
        }
    }
    let rest = sent.len() - echoed.len();
    echoed.extend(host.until(2, |bytes| bytes.len() >= rest));
    assert!(echoed == sent, "the echo differs from what was sent");

    assert_eq!(host.ask(1, "AT+QSSLCLOSE=0", "OK\r\n"), "\r\nOK\r\n");
    assert_eq!(host.until(2, |bytes| bytes.ends_with(b"\r\n")), b"\r\nNO CARRIER\r\n");
    let records = server.wait_for(|records| records.iter().any(|record| record.client_end.is_some()));
    assert_eq!(records[0].received_bytes, 65_536);
    host.channels[0].clear();
    host.send(0, 0xEF, &[0xC3, 1]);
    assert_eq!(host.until(0, |bytes| bytes.ends_with(&[0xC1, 1])), [0xC1, 1]);
    host.bytes.clear();
    assert_eq!(host.ask_plainly("AT"), "\r\nOK\r\n");
}
