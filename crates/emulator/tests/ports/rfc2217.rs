//! Goal of this test: a client of RFC 2217 finds the modem's lines on a TCP port: DTR and DCD really
//! act, payload passes unchanged whatever bytes it has, and raw TCP does without all that.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::{Embedded, PortLocation, spawn};
use qssl_modem_emulator::test_server::{Behaviour, CertificateRequest, ServerOptions, TestServer};

use crate::host::{Host, eventually};

const IAC: u8 = 255;
const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const DO: u8 = 253;
const COM_PORT: u8 = 44;

const OFFERS: &[u8] = &[IAC, WILL, 0, IAC, DO, 0, IAC, WILL, 3, IAC, DO, 3, IAC, DO, COM_PORT];

fn modem(options: &str) -> (Embedded, SocketAddr) {
    let options = Options::parse_text(options).expect("the options are right");
    let modem = spawn(options, 0).expect("the modem starts");
    let address = match modem.locations()[0] {
        PortLocation::Rfc2217(address) | PortLocation::Tcp(address) => address,
        PortLocation::Path(_) => panic!("a pty was not asked for"),
    };
    (modem, address)
}

fn connect(address: SocketAddr) -> Host<TcpStream> {
    let stream = TcpStream::connect(address).expect("the port listens");
    stream.set_nonblocking(true).expect("a socket can be made non-blocking");
    Host::new(stream)
}

/// A client that has agreed upon the COM port option and seen the first state of the lines: DSR and CTS.
fn connect_rfc2217(address: SocketAddr) -> Host<TcpStream> {
    let mut host = connect(address);
    host.expect(OFFERS);
    host.send(&[IAC, WILL, COM_PORT, IAC, WILL, 0, IAC, DO, 0]);
    host.expect(&state(0x30));
    host
}

fn request(command: u8, value: &[u8]) -> Vec<u8> {
    [&[IAC, SB, COM_PORT, command], value, &[IAC, SE]].concat()
}

fn state(value: u8) -> Vec<u8> {
    request(107, &[value])
}

fn server(behaviour: Behaviour) -> TestServer {
    let identity = CertificateRequest::server("localhost").self_signed().expect("a certificate");
    let options = ServerOptions { identity: Some(identity), behaviour, ..ServerOptions::default() };
    TestServer::start(options).expect("the server starts")
}

/// Opens a transparent connection.
fn open_transparent(host: &mut Host<TcpStream>, server: &TestServer) {
    host.command("AT+QIACT=1");
    let port = server.address().port();
    host.command("AT+QSSLCFG=\"ciphersuite\",1,0XFFFF");
    host.send(format!("AT+QSSLOPEN=1,1,0,\"127.0.0.1\",{port},2\r").as_bytes());
    host.expect(b"\r\nCONNECT\r\n");
}

#[test]
fn settings_are_answered_as_they_are_made() {
    let (_modem, address) = modem("--rfc2217 127.0.0.1:0");
    let mut host = connect_rfc2217(address);
    for (command, value) in [
        (1, [0, 0x0E, 0x10, 0].as_slice()),
        (2, &[8]),
        (3, &[1]),
        (4, &[1]),
        (5, &[3]),
        (5, &[8]),
        (10, &[0]),
        (12, &[3]),
    ] {
        host.send(&request(command, value));
        host.expect(&request(command + 100, value));
    }
    // Questions: the speed just set, and DTR.
    host.send(&request(1, &[0, 0, 0, 0]));
    host.expect(&request(101, &[0, 0x0E, 0x10, 0]));
    host.send(&request(5, &[7]));
    host.expect(&request(105, &[8]));
    host.send(b"AT\r");
    host.expect(b"AT\r\r\nOK\r\n");
}

#[test]
fn every_byte_passes_through_data_mode() {
    let server = server(Behaviour::Echo);
    let (_modem, address) = modem("--rfc2217 127.0.0.1:0");
    let mut host = connect_rfc2217(address);
    host.command("ATE0");
    open_transparent_ignoring_lines(&mut host, &server);
    let all: Vec<u8> = (0..=255).collect();
    let mut doubled = all.clone();
    doubled.push(IAC);
    host.send(&doubled);
    let mut echoed = host.take(256);
    if echoed.last() == Some(&IAC) {
        echoed.extend(host.take(1));
    }
    assert_eq!(echoed, doubled);
}

/// The same with a client that does not want to hear of the lines.
fn open_transparent_ignoring_lines(host: &mut Host<TcpStream>, server: &TestServer) {
    host.send(&request(11, &[0]));
    host.until(&request(111, &[0]));
    host.until(&[IAC, SB, COM_PORT, 107]);
    host.until(&[IAC, SE]);
    open_transparent(host, server);
}

#[test]
fn dtr_leaves_data_mode_under_d1_and_the_connection_lives_on() {
    let server = server(Behaviour::Echo);
    let (_modem, address) = modem("--rfc2217 127.0.0.1:0");
    let mut host = connect_rfc2217(address);
    host.command("ATE0");
    host.command("AT&D1");
    open_transparent_ignoring_lines(&mut host, &server);
    host.send(b"data");
    host.expect(b"data");
    host.send(&request(5, &[9]));
    host.expect(&request(105, &[9]));
    host.expect(b"\r\nOK\r\n");
    host.send(&request(5, &[8]));
    host.expect(&request(105, &[8]));
    let states = host.command("AT+QSSLSTATE=0");
    assert!(states.contains("+QSSLSTATE: 0,\"SSLClient\",\"127.0.0.1\""), "{states}");
    host.send(b"ATO\r");
    host.expect(b"\r\nCONNECT\r\n");
    host.send(b"more");
    host.expect(b"more");
}

#[test]
fn dcd_stands_for_the_connection_under_c1_and_falls_behind_no_carrier() {
    let behaviour = Behaviour::Respond { request_bytes: 1, delay: Duration::ZERO, response: b"bye".to_vec() };
    let server = server(behaviour);
    let (_modem, address) = modem("--rfc2217 127.0.0.1:0");
    let mut host = connect_rfc2217(address);
    host.command("ATE0");
    host.command("AT&C1");
    open_transparent(&mut host, &server);
    host.expect(&state(0xB8));
    host.send(b"?");
    host.expect(b"bye\r\nNO CARRIER\r\n");
    host.expect(&state(0x38));
}

#[test]
fn a_client_that_goes_drops_dtr_and_the_next_one_finds_a_modem() {
    let server = server(Behaviour::Echo);
    let (_modem, address) = modem("--rfc2217 127.0.0.1:0");
    let mut host = connect_rfc2217(address);
    host.command("ATE0");
    host.command("AT&D2");
    open_transparent_ignoring_lines(&mut host, &server);
    drop(host);
    // DTR hangs up.
    let records = server.wait_for(|records| records[0].over);
    assert_eq!(records.len(), 1);
    let mut host = connect(address);
    host.expect(OFFERS);
    host.send(b"AT\r");
    host.until(b"\r\nOK\r\n");
}

#[test]
fn a_second_client_is_turned_away() {
    let (_modem, address) = modem("--rfc2217 127.0.0.1:0");
    let mut first = connect_rfc2217(address);
    let second = TcpStream::connect(address).expect("the port listens");
    second.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out can be set");
    let count = std::io::Read::read(&mut &second, &mut [0; 16]).expect("an end comes");
    assert_eq!(count, 0);
    first.send(b"AT\r");
    first.expect(b"AT\r\r\nOK\r\n");
}

#[test]
fn a_suspended_modem_is_silent_until_it_is_resumed() {
    let (modem, address) = modem("--rfc2217 127.0.0.1:0");
    let mut host = connect_rfc2217(address);
    host.send(&request(8, &[]));
    host.send(b"AT\r");
    // A setting is answered all the same; after it nothing comes until the resumption.
    host.send(&request(2, &[8]));
    host.expect(&request(102, &[8]));
    eventually("the command's arrival", || {
        modem.with_modem(|modem, _, _| !modem.output(0).is_empty()).expect("the modem runs")
    });
    host.send(&request(2, &[8]));
    host.expect(&request(102, &[8]));
    host.send(&request(9, &[]));
    host.expect(b"AT\r\r\nOK\r\n");
}

#[test]
fn raw_tcp_is_nothing_but_bytes() {
    let (_modem, address) = modem("--tcp 127.0.0.1:0");
    let mut host = connect(address);
    host.send(b"AT\r");
    host.expect(b"AT\r\r\nOK\r\n");
    drop(host);
    let mut host = connect(address);
    host.send(b"ATE0\r");
    host.until(b"\r\nOK\r\n");
}
