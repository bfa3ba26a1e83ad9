//! Goal of this test: each side's end reaches the other in the right way: a reply continues after a half-close, a
//! close comes after the last byte, and a cut or refused connection is a reset, never an end of file.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use qssl_modem_emulator::test_server::{Authority, Behaviour, CertificateRequest, ClientEnd, ServerOptions};

use qssl_test_common::harness::{
    Ended, MODES, Modem, NAME, Site, Tunnel, certificate_file, connect, digest, free_address, much_bytes,
    read_to_end, temporary_directory,
};

#[test]
fn a_reply_two_seconds_after_the_half_close_still_arrives() {
    let behaviour = Behaviour::Respond {
        request_bytes: 7,
        delay: Duration::from_secs(2),
        response: b"better late than never".to_vec(),
    };
    let sites = MODES.map(|mode| (mode, Site::new(behaviour.clone(), "")));
    let tunnels = sites.each_ref().map(|(mode, site)| site.tunnel(&["--mode", mode]));
    let clients = tunnels.each_ref().map(|tunnel| {
        let mut client = connect(tunnel.address());
        client.write_all(b"request").expect("the tunnel takes it");
        client.shutdown(Shutdown::Write).expect("it stands");
        client
    });
    for ((mut client, tunnel), mode) in clients.into_iter().zip(&tunnels).zip(MODES) {
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert_eq!(response, "better late than never", "{mode}");
        assert!(tunnel.wait_for("bytes up").contains("7 bytes up, 22 down"), "{mode}: {}", tunnel.log());
    }
}

#[test]
fn a_half_closed_client_that_hears_nothing_more_is_reset() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["--half-close-timeout", "500ms"]);
    let mut client = connect(tunnel.address());
    client.write_all(b"ping").expect("the tunnel takes it");
    client.shutdown(Shutdown::Write).expect("it stands");
    let (count, _, ended) = read_to_end(&mut client);
    assert_eq!((count, ended), (4, Ended::Reset));
    tunnel.wait_for("half-closed and quiet (--half-close-timeout)");
}

#[test]
fn a_server_that_closes_after_much_is_read_to_the_end() {
    let bytes = much_bytes();
    for mode in MODES {
        let site = Site::new(Behaviour::Source { bytes }, "");
        let tunnel = site.tunnel(&["--mode", mode]);
        let (count, sha256, ended) = read_to_end(&mut connect(tunnel.address()));
        assert_eq!((count, ended), (bytes, Ended::InOrder), "{mode}: {}", tunnel.log());
        assert_eq!(sha256, digest(bytes), "{mode}");
        assert!(
            tunnel.wait_for("bytes up").contains("the server closed the connection"),
            "{mode}: {}",
            tunnel.log()
        );
    }
}

#[test]
fn the_strict_get_a_reset_after_the_last_byte_instead() {
    let site = Site::new(Behaviour::Source { bytes: 100_000 }, "");
    let tunnel = site.tunnel(&["--on-closed", "reset"]);
    let ended = read_to_end(&mut connect(tunnel.address())).2;
    assert_eq!(ended, Ended::Reset);
    assert!(tunnel.wait_for("bytes up").contains("cleanly or not"), "{}", tunnel.log());
}

#[test]
fn a_client_that_closes_ends_the_connection_to_the_server() {
    for mode in MODES {
        let site = Site::new(Behaviour::Echo, "");
        let tunnel = site.tunnel(&["--mode", mode]);
        let mut client = connect(tunnel.address());
        client.write_all(b"and that is all").expect("the tunnel takes it");
        drop(client);
        let records = site.server.wait_for(|records| records.iter().any(|record| record.over));
        assert_eq!(records[0].received_bytes, 15, "{mode}: {}", tunnel.log());
        assert_eq!(records[0].client_end, Some(ClientEnd::Orderly), "{mode}: {}", tunnel.log());
    }
}

#[test]
fn a_refused_connection_is_a_reset_and_says_why() {
    let address = free_address();
    for mode in MODES {
        let modem = Modem::start(address, "");
        let device = modem.device(0);
        let tunnel = Tunnel::verified(&[&device], &["--mode", mode]);
        assert_eq!(read_to_end(&mut connect(tunnel.address())).2, Ended::Reset, "{mode}");
        tunnel.wait_for("refused, unreachable or TLS failed");
    }
}

#[test]
fn an_unknown_name_is_a_reset_and_says_so() {
    let modem = Modem::with_options("--dns-fails");
    let device = modem.device(0);
    let tunnel = Tunnel::listen(&["--to", "nowhere.test:443", "--ca", certificate_file(), "-d", &device]);
    assert_eq!(read_to_end(&mut connect(tunnel.address())).2, Ended::Reset);
    tunnel.wait_for(
        "cannot connect: 565 DNS parse failed; see: qssl-tunnel doctor nowhere.test:443 [dns-failed]",
    );
}

#[test]
fn a_server_of_another_authority_is_a_reset_and_gets_no_byte() {
    let stranger = Authority::new("stranger").expect("OpenSSL makes a root");
    let identity = stranger.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs");
    for mode in MODES {
        let server = ServerOptions { identity: Some(identity.clone()), ..ServerOptions::default() };
        let site = Site::with_server(server, "");
        let tunnel = site.tunnel(&["--mode", mode]);
        let mut client = connect(tunnel.address());
        // The reset may come before or after this write.
        let _ = client.write_all(b"my password");
        assert_eq!(read_to_end(&mut client).2, Ended::Reset, "{mode}");
        tunnel.wait_for("[connect-failed]");
        let log = tunnel.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("cannot connect")).collect();
        let [line] = lines[..] else { panic!("{mode}: one line: {log}") };
        let cause = "cannot connect: 566 refused, unreachable or TLS failed";
        let whole = format!("{cause}; see: qssl-tunnel doctor {NAME}:443 [connect-failed]");
        assert!(line.ends_with(&whole) && line.len() < 200, "{mode}: {line}");
        let records = site.server.wait_for(|records| records.iter().all(|record| record.over));
        assert!(records.iter().all(|record| record.received_bytes == 0), "{mode}: {records:?}");
    }
}

#[test]
fn a_modem_that_vanishes_resets_its_clients_and_is_waited_for() {
    let directory = temporary_directory();
    let link = directory.path().join("modem");
    let link = link.to_str().expect("temporary paths are text");
    let mut site = Site::new(Behaviour::Echo, &format!("--link {link}"));
    let tunnel = site.tunnel(&[]);
    let mut client = connect(tunnel.address());
    client.write_all(b"hello").expect("the tunnel takes it");
    client.read_exact(&mut [0; 5]).expect("the server answers");

    let server = site.server.address();
    site.modem = Modem::start(server, "");
    assert_eq!(read_to_end(&mut client).2, Ended::Reset, "{}", tunnel.log());
    tunnel.wait_for("no such device");

    site.modem = Modem::start(server, &format!("--link {link}"));
    let mut client = connect(tunnel.address());
    client.write_all(b"again").expect("the tunnel takes it");
    client.read_exact(&mut [0; 5]).unwrap_or_else(|error| panic!("{error}: {}", tunnel.log()));
}

#[test]
fn unix_clients_are_served_and_their_socket_file_goes_away() {
    let directory = temporary_directory();
    let path = directory.path().join("web.sock");
    let site = Site::new(Behaviour::Source { bytes: 50_000 }, "");
    let device = site.modem.device(0);
    let listen = format!("unix:{},mode=0600", path.display());
    let tunnel = Tunnel::listen(&[&[listen.as_str()], &site.usual(&device)[..]].concat());
    let mut client = UnixStream::connect(&path).expect("the tunnel listens");
    let (count, sha256, ended) = read_to_end(&mut client);
    assert_eq!((count, sha256, ended), (50_000, digest(50_000), Ended::InOrder));
    tunnel.signal(rustix::process::Signal::TERM);
    assert_eq!(tunnel.wait().0, 0);
    let gone = UnixStream::connect(&path).expect_err("nobody listens any more");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
