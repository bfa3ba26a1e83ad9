//! Goal of this test: the tunnel killed in the middle of a transfer and started again has the modem back,
//! whatever was half done: the port is taken over, a send or data mode is got out of, the old socket is closed,
//! and a new client is served, in every access mode.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::harness::{MODES, Site, Tunnel, connect, curl, digest, patterned_bytes, run, sha256_hex};

/// Enough to be in the middle of it.
const SOME_BYTES: u64 = 500_000;

#[test]
fn in_the_middle_of_an_upload_in_every_mode() {
    for mode in MODES {
        let site = Site::new(Behaviour::Http, "");
        killed_while_uploading(&site, mode);
        has_the_modem_back(&site, mode);
    }
}

#[test]
fn in_the_middle_of_a_download_in_every_mode() {
    for mode in MODES {
        // At the speed of a line: in gigabytes of random payload anything can be read, `OK` too.
        let site = Site::new(Behaviour::Http, "--baud 921600");
        let tunnel = site.tunnel(&["--mode", mode, "-b", "921600"]);
        let mut client = connect(tunnel.address());
        client
            .write_all(b"GET /bytes/1000000000 HTTP/1.1\r\nHost: server.test\r\n\r\n")
            .expect("it is taken");
        client.read_exact(&mut vec![0; 100_000]).expect("the server sends");
        kill(tunnel);
        has_the_modem_back(&site, mode);
    }
}

#[test]
fn with_a_send_that_has_got_half_of_its_bytes() {
    for mode in ["push", "buffer"] {
        let site = Site::new(Behaviour::Http, "");
        killed_while_uploading(&site, mode);
        // A process may be killed between two writes of one chunk; the socket that it leaves is number 0.
        let mut port =
            OpenOptions::new().read(true).write(true).open(site.modem.device(0)).expect("it is free");
        // It may also have been killed before the payload of its last send: empty lines are as good.
        port.write_all(&[b'\r'; 1460]).expect("the modem reads");
        port.write_all(b"AT+QSSLSEND=0,1460\r").expect("the modem reads");
        let mut heard = Vec::new();
        while !heard.ends_with(b"> ") {
            let mut byte = [0];
            port.read_exact(&mut byte).expect("the modem prompts");
            heard.push(byte[0]);
        }
        port.write_all(&[b'x'; 700]).expect("the modem reads");
        drop(port);
        has_the_modem_back(&site, mode);
    }
}

#[test]
fn ten_times_in_a_row() {
    let site = Site::new(Behaviour::Http, "");
    for round in 0..10 {
        killed_while_uploading(&site, MODES[round % MODES.len()]);
    }
    has_the_modem_back(&site, "push");
}

fn killed_while_uploading(site: &Site, mode: &str) {
    let before = site.server.records().len();
    let tunnel = site.tunnel(&["--mode", mode]);
    let mut client: TcpStream = connect(tunnel.address());
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: server.test\r\nContent-Length: 1000000000\r\n\r\n")
        .expect("it is taken");
    // It ends with the tunnel.
    let uploading = thread::spawn(move || while client.write_all(&patterned_bytes(65_536)).is_ok() {});
    site.server
        .wait_for(|records| records.get(before).is_some_and(|record| record.received_bytes >= SOME_BYTES));
    kill(tunnel);
    uploading.join().expect("writing does not panic");
}

fn kill(tunnel: Tunnel) {
    tunnel.signal(Signal::KILL);
    assert_eq!(tunnel.wait().0, 137);
}

fn has_the_modem_back(site: &Site, mode: &str) {
    const BYTES: u64 = 100_000;
    let tunnel = site.tunnel(&["--mode", mode]);
    let page = run(&mut curl(&tunnel, &format!("/bytes/{BYTES}"))).expect_success().stdout;
    assert_eq!(sha256_hex(&page), digest(BYTES), "{mode}: {}", tunnel.log());
    // The last is the new one.
    site.server.wait_for(|records| records[..records.len() - 1].iter().all(|record| record.over));
}
