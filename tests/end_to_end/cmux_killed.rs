//! Goal of this test: a tunnel that was killed while the line carried several channels (CMUX), or was about to, and is
//! started again on the same modem serves a client soon, whatever was interrupted.

#![allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use qssl_modem_emulator::driver::PortLocation;
use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use qssl_test_common::harness::{Cut, SerialLine, Site, Tunnel, connect, echo, patterned_bytes, rounds};

/// From the first byte of the modem to the first byte of the server at the client.
const SOON: Duration = Duration::from_secs(3);

const ENTERING: &[u8] = b"AT+CMUX=0,0,5,512\r";
const FLAG: &[u8] = b"\xF9";

#[test]
fn while_the_channels_are_being_made() {
    let moments = [
        // AT+CMUX, and nothing after it.
        Cut { after: ENTERING, bytes: 0 },
        // Half of it.
        Cut { after: ENTERING.split_at(12).0, bytes: 0 },
        // Half of a SABM.
        Cut { after: FLAG, bytes: 3 },
        // Some of the channels.
        Cut { after: FLAG, bytes: 20 },
        Cut { after: FLAG, bytes: 61 },
    ];
    killed_at(&moments, "push");
}

#[test]
fn in_mid_stream_in_push_mode() {
    killed_at(&in_mid_stream(), "push");
}

#[test]
fn in_mid_stream_in_buffer_mode() {
    killed_at(&in_mid_stream(), "buffer");
}

#[test]
fn in_mid_stream_in_transparent_mode() {
    killed_at(&in_mid_stream(), "transparent");
}

/// Some moments of set-up, opening and traffic, at any byte of a frame.
fn in_mid_stream() -> Vec<Cut> {
    let rounds = rounds(4, 170);
    // A step without a common divisor with the range comes by every byte of a frame.
    (1..=rounds).map(|round| Cut { after: FLAG, bytes: round * 7_919 % 20_011 }).collect()
}

fn killed_at(moments: &[Cut], mode: &str) {
    let site = Site::new(Behaviour::Echo, "--tcp 127.0.0.1:0 --baud 115200");
    let [PortLocation::Tcp(port)] = site.modem.embedded.locations() else { panic!("it has one port") };
    let line = SerialLine::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port.port())));
    let device = line.device();
    let start = || Tunnel::verified(&[&device], &["--cmux", "on", "--mode", mode]);
    for cut in moments {
        line.cut_next(*cut);
        let tunnel = start();
        let client = connect(tunnel.address());
        let threads = keep_busy(client);
        line.wait_until_cut();
        kill(tunnel);
        for thread in threads {
            thread.join().expect("neither reading nor writing panics");
        }
        let tunnel = start();
        let mut client = connect(tunnel.address());
        echo(&mut client, b"the same modem");
        let took = Instant::now() - line.answered_at();
        let moment = format!("{mode}, {} bytes after {}", cut.bytes, cut.after.escape_ascii());
        assert!(took <= SOON, "{moment}: {took:?} after the modem's first answer:\n{}", tunnel.log());
        tunnel.wait_for("carries 4 channels (CMUX)");
        kill(tunnel);
        line.wait_until_free();
    }
}

/// Sends all the time, and reads what comes back. The threads end with the tunnel.
fn keep_busy(client: TcpStream) -> [thread::JoinHandle<()>; 2] {
    let mut reader = client.try_clone().expect("there are descriptors");
    let mut writer = client;
    [
        thread::spawn(move || while writer.write_all(&patterned_bytes(4_096)).is_ok() {}),
        thread::spawn(move || while matches!(reader.read(&mut [0; 4_096]), Ok(1..)) {}),
    ]
}

fn kill(tunnel: Tunnel) {
    tunnel.signal(Signal::KILL);
    assert_eq!(tunnel.wait().0, 137);
}
