//! Goal of this test: over a line that carries several channels (CMUX), clients get every byte and the end, what both
//! sides write on the line is right in the eyes of Wireshark, and afterwards the modem takes commands again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;

use qssl_modem_emulator::driver::PortLocation;
use rustix::process::Signal;

use qssl_test_common::harness::Step::{Exchange, Finish, ReadToEnd};
use qssl_test_common::harness::{
    FarEnd, MODES, Modem, Passed, SerialLine, Step, Told, Tunnel, play_client, program, run,
    temporary_directory,
};

const BYTES: u64 = 30_000;
const CLIENT: &[Step] = &[Exchange(BYTES), ReadToEnd];
const SERVER: &[Step] = &[Exchange(BYTES), Finish, ReadToEnd];

#[test]
fn one_mode_after_the_other_on_one_modem() {
    let server = far_end();
    let modem = modem(server.address());
    let line = line(&modem);
    for mode in MODES {
        let device = line.device();
        let tunnel = Tunnel::verified(&[&device], &["--cmux", "on", "--mode", mode]);
        serves(&[tunnel.address()], &tunnel);
        ends(&tunnel, &line);
        assert_frames_are_right(&line.passed(), mode);
        assert_takes_commands(&line);
    }
    assert_server_got_everything(server, MODES.len());
}

#[test]
fn all_modes_at_once() {
    let server = far_end();
    let modem = modem(server.address());
    let line = line(&modem);
    let modem_lines = format!("device = \"{}\"\ncmux = \"on\"", line.device());
    let (tunnel, _directory) = Tunnel::of_every_mode(&modem_lines, &[]);
    let addresses: Vec<SocketAddr> = (0..MODES.len()).map(|number| tunnel.address_of(number)).collect();
    serves(&addresses, &tunnel);
    ends(&tunnel, &line);
    assert_frames_are_right(&line.passed(), "all modes");
    assert_takes_commands(&line);
    assert_server_got_everything(server, MODES.len());
}

/// Otherwise the other tests would not show anything.
#[test]
fn a_frame_with_a_wrong_bit_is_seen() {
    let good = b"\xF9\x07\xEF\x05AT\x30\xF9";
    let [wrong_fcs, wrong_control] = [(6, 0x01), (2, 0x10)].map(|(place, bit)| {
        let mut frame = good.to_vec();
        frame[place] ^= bit;
        frame
    });
    // MSC whose length is greater than its frame.
    let malformed = b"\xF9\x03\xEF\x03\xE3\xA5\xF9".to_vec();
    let frames = [good.to_vec(), wrong_fcs, wrong_control, malformed];
    let frames: Vec<Sent> = frames.into_iter().map(|bytes| Sent { by: HOST, bytes }).collect();
    let verdicts: Vec<bool> = read_by_wireshark(&frames).into_iter().map(|read| read.is_right()).collect();
    assert_eq!(verdicts, [true, false, false, false]);
}

fn far_end() -> FarEnd {
    let mut server = FarEnd::down(SERVER, Told::default());
    server.start();
    server
}

fn modem(server: SocketAddr) -> Modem {
    Modem::start(server, "--tcp 127.0.0.1:0 --baud 115200")
}

fn line(modem: &Modem) -> SerialLine {
    let [PortLocation::Tcp(port)] = modem.embedded.locations() else { panic!("it has one port, a TCP port") };
    SerialLine::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port.port())))
}

/// A client at each of these addresses, at the same time, gets everything, and then an end of file.
fn serves(addresses: &[SocketAddr], tunnel: &Tunnel) {
    let clients: Vec<_> = addresses
        .iter()
        .map(|address| {
            let address = *address;
            thread::spawn(move || play_client(address, CLIENT, Told::default()).to_string())
        })
        .collect();
    for client in clients {
        let seen = client.join().expect("a client can play its script");
        assert_eq!(seen, format!("{BYTES} bytes, end of file"), "{}", tunnel.log());
    }
    tunnel.wait_for("carries 4 channels (CMUX)");
}

fn ends(tunnel: &Tunnel, line: &SerialLine) {
    tunnel.signal(Signal::TERM);
    tunnel.ends_with(0);
    line.wait_until_free();
}

fn assert_server_got_everything(server: FarEnd, connections: usize) {
    for seen in server.seen(connections) {
        assert!(seen.to_string().starts_with(&format!("{BYTES} bytes, ")), "{seen}");
    }
}

fn assert_takes_commands(line: &SerialLine) {
    let mut port = line.connect();
    port.write_all(b"AT\r").expect("the line takes it");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\nOK\r\n") {
        let mut byte = [0];
        port.read_exact(&mut byte).expect("the modem answers");
        answer.push(byte[0]);
    }
    assert!(!answer.contains(&FLAG), "it still sends frames: {answer:x?}");
}

fn assert_frames_are_right(passed: &Passed, name: &str) {
    let mut frames = Vec::new();
    for (by, bytes) in [(HOST, &passed.to_modem), (MODULE, &passed.from_modem)] {
        let (before, its_frames, after) = split(bytes);
        assert!(before.windows(2).any(|word| word == b"AT" || word == b"OK"), "{name}: {before:?}");
        assert!(its_frames.len() > 100, "{name}: {} frames from side {by}", its_frames.len());
        // All that is left after the frames is a setting that is put back, which the modem answers.
        let after = String::from_utf8_lossy(after);
        let (after, expected) = (after.trim(), if by == HOST { "AT+QCFG=\"cmux/urcport\",0" } else { "OK" });
        assert!(after.starts_with(expected) && !after.contains(['\r', '\n']), "{name}: {after:?}");
        frames.extend(its_frames.into_iter().map(|bytes| Sent { by, bytes }));
    }
    let all_read = read_by_wireshark(&frames);
    assert_eq!(all_read.len(), frames.len(), "{name}");
    for (frame, read) in frames.iter().zip(all_read) {
        assert!(read.is_right(), "{name}: {read:?} of {frame:02x?}");
        let length = frame.bytes.len() - if read.has_two_octets_of_length { 7 } else { 6 };
        assert_eq!(read.length, length.to_string(), "{name}: {frame:02x?}");
        assert_eq!(read.direction, format!("0x{:02x}", frame.by), "{name}");
    }
}

/// Cuts the bytes of one side into what comes before the first frame, the frames, and what comes after the last.
fn split(bytes: &[u8]) -> (&[u8], Vec<Vec<u8>>, &[u8]) {
    let begin = bytes.iter().position(|byte| *byte == FLAG).expect("there are frames");
    let (before, mut rest) = bytes.split_at(begin);
    let mut frames = Vec::new();
    // A flag may end one frame and begin the next, and flags may fill the time between frames.
    while let [FLAG, after @ ..] = rest {
        let [address, control, length, ..] = after else { return (before, frames, after) };
        if *address == FLAG {
            rest = after;
            continue;
        }
        let is_frame =
            address & 1 == 1 && address >> 2 <= LAST_DLCI && KINDS.contains(&(control & !POLL_FINAL));
        if !is_frame {
            return (before, frames, after);
        }
        let (head, information) = match length & 1 {
            1 => (3, usize::from(length >> 1)),
            _ => (4, usize::from(length >> 1) | usize::from(after[3]) << 7),
        };
        let end = head + information + 1;
        assert_eq!(after.get(end), Some(&FLAG), "no flag after a frame of {information} bytes");
        frames.push([&[FLAG], &after[..=end]].concat());
        rest = &after[end..];
    }
    (before, frames, rest)
}

/// A frame with both flags, and who sent it.
#[derive(Debug)]
struct Sent {
    by: u8,
    bytes: Vec<u8>,
}

/// What Wireshark makes of a frame.
#[derive(Debug)]
struct Read {
    direction: String,
    kind: String,
    length: String,
    has_two_octets_of_length: bool,
    /// `1`, or `True` since version 4.2.
    checksum_is_correct: String,
    /// What it marks as malformed, or as worth a look.
    complaints: String,
}

impl Read {
    fn is_right(&self) -> bool {
        ["1", "True"].contains(&&*self.checksum_is_correct)
            && !self.kind.is_empty()
            && self.complaints.is_empty()
    }
}

fn read_by_wireshark(frames: &[Sent]) -> Vec<Read> {
    let directory = temporary_directory();
    let file = directory.path().join("frames.pcap");
    fs::write(&file, pcap(frames)).expect("the directory is ours");
    let mut tshark = Command::new(program("tshark"));
    tshark.env_clear().env("HOME", directory.path()).arg("-r").arg(&file).args(["-T", "fields"]);
    for field in [
        "mux27010.direction",
        "mux27010.control.frametype",
        "mux27010.length.framesize",
        "mux27010.length.framesize_ea",
        "mux27010.checksum_correct",
        "_ws.malformed",
        "_ws.expert.message",
    ] {
        tshark.args(["-e", field]);
    }
    let text = run(&mut tshark).expect_success().text();
    let read = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [direction, kind, one_octet, two_octets, checksum, malformed, message] = fields[..] else {
            panic!("other fields than were asked for: {line:?}")
        };
        Read {
            direction: direction.to_owned(),
            kind: kind.to_owned(),
            length: format!("{one_octet}{two_octets}"),
            has_two_octets_of_length: !two_octets.is_empty(),
            checksum_is_correct: checksum.to_owned(),
            complaints: format!("{malformed}{message}"),
        }
    };
    text.lines().map(read).collect()
}

/// A file of Wireshark's: every frame after the two bytes that say who sent it.
fn pcap(frames: &[Sent]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [MAGIC, VERSION_2_4, 0, 0, LONGEST_BYTES, LINK_TYPE_MUX27010] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for (index, frame) in frames.iter().enumerate() {
        let length = u32::try_from(frame.bytes.len() + 2).expect("frames are short");
        let microseconds = u32::try_from(index % 1_000_000).expect("it is less than a million");
        for word in [0, microseconds, length, length] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&[0, frame.by]);
        file.extend_from_slice(&frame.bytes);
    }
    file
}

const FLAG: u8 = 0xF9;
const LAST_DLCI: u8 = 4;
/// SABM, UA, DM, DISC, UIH.
const KINDS: [u8; 5] = [0x2F, 0x63, 0x0F, 0x43, 0xEF];
const POLL_FINAL: u8 = 0x10;

/// Who has sent a frame, as Wireshark writes it.
const HOST: u8 = 0;
const MODULE: u8 = 1;

const MAGIC: u32 = 0xA1B2_C3D4;
const VERSION_2_4: u32 = 2 | 4 << 16;
const LONGEST_BYTES: u32 = 65_535;
const LINK_TYPE_MUX27010: u32 = 236;
