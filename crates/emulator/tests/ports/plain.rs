//! Goal of this test: a program on the host reaches real servers without TLS through the modem: by TCP in every mode, and
//! by UDP with one datagram for each send.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::{Embedded, spawn};
use qssl_modem_emulator::test_server::{Behaviour, Ending, ServerOptions, TestServer, fill_pattern};

use crate::host::{Host, eventually};

const NAME: &str = "server.example";
const ADDRESS: &str = "192.0.2.7";

/// A modem that reaches this server by name and by address, and a host with echo off and a data session.
fn modem(server: std::net::SocketAddr) -> (Embedded, Host<std::fs::File>) {
    let options = format!("--map {NAME}:7={server} --map {ADDRESS}:7={server}");
    let options = Options::parse_text(&options).expect("the options are right");
    let modem = spawn(options, 1).expect("the modem starts");
    let mut host = Host::open(&modem.paths()[0]);
    host.command("ATE0");
    host.command("AT+QIACT=1");
    (modem, host)
}

fn tcp(behaviour: Behaviour) -> TestServer {
    let options = ServerOptions { plain: true, behaviour, ending: Ending::Orderly, ..Default::default() };
    TestServer::start(options).expect("the server starts")
}

fn open_tcp(host: &mut Host<std::fs::File>, mode: u8) {
    host.send(format!("AT+QIOPEN=1,3,\"TCP\",\"{NAME}\",7,0,{mode}\r").as_bytes());
    host.expect(if mode == 2 { b"\r\nCONNECT\r\n" } else { b"\r\nOK\r\n\r\n+QIOPEN: 3,0\r\n" });
}

#[test]
fn buffer_mode_echoes_and_every_byte_is_acknowledged() {
    let server = tcp(Behaviour::Echo);
    let (_modem, mut host) = modem(server.address());
    open_tcp(&mut host, 0);
    host.send(b"AT+QISEND=3,6\r");
    host.expect(b"\r\n> ");
    host.send(b"\r\nOK\r\n");
    host.expect(b"\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3\r\n");
    host.send(b"AT+QIRD=3,1500\r");
    host.expect(b"\r\n+QIRD: 6\r\n\r\nOK\r\n\r\n\r\nOK\r\n");
    eventually("its acknowledgement", || host.command("AT+QISEND=3,0").contains("+QISEND: 6,6,0\r\n"));
    assert!(host.command("AT+QISTATE=1,3").contains("+QISTATE: 3,\"TCP\",\"192.0.2.1\",7,"));
    host.command("AT+QICLOSE=3,5");
    assert_eq!(server.wait_for(|records| records[0].over)[0].received_bytes, 6);
}

#[test]
fn push_mode_delivers_a_download_and_its_end() {
    let server = tcp(Behaviour::Source { bytes: 100_000 });
    let (_modem, mut host) = modem(server.address());
    open_tcp(&mut host, 1);
    let mut received = Vec::new();
    while received.len() < 100_000 {
        host.expect(b"\r\n+QIURC: \"recv\",3,");
        let count = String::from_utf8(host.until(b"\r\n")).expect("digits").parse().expect("a number");
        received.extend(host.take(count));
    }
    host.expect(b"\r\n+QIURC: \"closed\",3\r\n");
    let mut sent = vec![0; 100_000];
    fill_pattern(0, &mut sent);
    assert!(received == sent, "the download differs from what was sent");
}

#[test]
fn a_stream_carries_bytes_as_they_are() {
    let server =
        tcp(Behaviour::Respond { request_bytes: 5, delay: Duration::ZERO, response: b"\r\nOK\r\n".to_vec() });
    let (_modem, mut host) = modem(server.address());
    open_tcp(&mut host, 2);
    host.send(b"AT\r\n\x1A");
    host.expect(b"\r\nOK\r\n\r\nNO CARRIER\r\n");
}

/// A server of datagrams, on a thread that sends back each of them, to the end of an empty one.
fn datagrams() -> (std::net::SocketAddr, std::thread::JoinHandle<Vec<usize>>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let address = socket.local_addr().expect("an address");
    let echo = move || {
        let mut lengths = Vec::new();
        let mut buffer = [0; 2_048];
        while let Ok((count, from)) = socket.recv_from(&mut buffer)
            && buffer[..count] != *b"end"
        {
            lengths.push(count);
            socket.send_to(&buffer[..count], from).expect("it is sent");
        }
        lengths
    };
    (address, std::thread::spawn(echo))
}

#[test]
fn datagrams_keep_their_boundaries_in_push_and_in_buffer_mode() {
    for mode in [0, 1] {
        let (address, server) = datagrams();
        let (_modem, mut host) = modem(address);
        host.send(format!("AT+QIOPEN=1,2,\"UDP\",\"{NAME}\",7,0,{mode}\r").as_bytes());
        host.expect(b"\r\nOK\r\n\r\n+QIOPEN: 2,0\r\n");
        let lengths = [1_460, 1, 700, 2];
        for length in lengths {
            let payload = vec![b'x'; length];
            host.send(format!("AT+QISEND=2,{length}\r").as_bytes());
            // In buffer mode the announcement of an echo can come before.
            host.until(b"\r\n> ");
            host.send(&payload);
            host.until(b"\r\nSEND OK\r\n");
            if mode == 1 {
                host.expect(format!("\r\n+QIURC: \"recv\",2,{length}\r\n").as_bytes());
                host.expect(&payload);
            }
        }
        for length in lengths.into_iter().filter(|_| mode == 0) {
            let mut answer = host.command("AT+QIRD=2,1500");
            // The echo may still be under way.
            while answer.contains("+QIRD: 0\r\n") {
                answer = host.command("AT+QIRD=2,1500");
            }
            assert!(answer.contains(&format!("+QIRD: {length}\r\n")), "{answer:?}");
        }
        host.send(b"AT+QISEND=2,3\r");
        host.until(b"\r\n> ");
        host.send(b"end");
        host.until(b"\r\nSEND OK\r\n");
        assert_eq!(server.join().expect("the server ends"), lengths);
    }
}

#[test]
fn a_service_sends_to_an_address_and_names_who_answers() {
    let (address, server) = datagrams();
    let (_modem, mut host) = modem(address);
    host.send(b"AT+QIOPEN=1,2,\"UDP SERVICE\",\"127.0.0.1\",0,0,1\r");
    host.expect(b"\r\nOK\r\n\r\n+QIOPEN: 2,0\r\n");
    for payload in ["hello", "end"] {
        host.send(format!("AT+QISEND=2,{},\"{ADDRESS}\",7\r", payload.len()).as_bytes());
        host.expect(b"\r\n> ");
        host.send(payload.as_bytes());
        host.expect(b"\r\nSEND OK\r\n");
        if payload == "hello" {
            host.expect(b"\r\n+QIURC: \"recv\",2,5,\"192.0.2.7\",7\r\nhello");
        }
    }
    assert_eq!(server.join().expect("the server ends"), [5]);
}
