//! Goal of this test: `qssl-tunnel connect` works as a pipe: all input comes out at the other end, standard output has
//! only payload, and the exit status shows what went wrong.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use qssl_modem_emulator::test_server::{Authority, Behaviour, ServerOptions};

use qssl_test_common::harness::{
    Finished, MODES, Modem, Site, certificate_file, connect, digest, free_address, patterned_bytes, run,
    run_with_input, temporary_directory, tunnel_command,
};

#[test]
fn a_request_by_pipe_gets_its_answer() {
    for mode in MODES {
        let site = Site::new(
            Behaviour::Respond {
                request_bytes: 7,
                delay: Duration::ZERO,
                response: b"the answer\n".to_vec(),
            },
            "",
        );
        let finished = pipe(&site, &["--mode", mode], b"request");
        assert_eq!((finished.status, finished.text().as_str()), (0, "the answer\n"), "{mode}: {finished:?}");
    }
}

#[test]
fn a_server_without_tls_gets_the_request_and_its_answer_comes_out() {
    for mode in MODES {
        let response = b"the answer\n".to_vec();
        let behaviour = Behaviour::Respond { request_bytes: 7, delay: Duration::ZERO, response };
        let server = ServerOptions { behaviour, plain: true, ..ServerOptions::default() };
        let site = Site::with_server(server, "");
        let device = site.modem.device(0);
        let usual = ["connect", "tcp://server.test:443", "-d", &device, "--mode", mode];
        let finished = run_with_input(&mut tunnel_command(&usual), b"request");
        assert_eq!((finished.status, finished.text().as_str()), (0, "the answer\n"), "{mode}: {finished:?}");
    }
}

#[test]
fn a_megabyte_goes_in_and_its_digest_comes_out() {
    const BYTES: u64 = 1024 * 1024;
    for mode in MODES {
        let site = Site::new(Behaviour::Digest { bytes: BYTES }, "");
        let finished = pipe(&site, &["--mode", mode], &patterned_bytes(BYTES));
        assert_eq!(finished.text().trim(), digest(BYTES), "{mode}: {}", finished.stderr);
        assert_eq!(finished.status, 0, "{mode}: {}", finished.stderr);
    }
}

#[test]
fn a_megabyte_comes_out_whole_before_the_end() {
    const BYTES: u64 = 1024 * 1024;
    for mode in MODES {
        let site = Site::new(Behaviour::Source { bytes: BYTES }, "");
        let finished = pipe(&site, &["--mode", mode], b"");
        assert_eq!(finished.status, 0, "{mode}: {}", finished.stderr);
        assert!(finished.stdout == patterned_bytes(BYTES), "{mode}: {} bytes", finished.stdout.len());
    }
}

#[test]
fn status_6_a_locked_port_and_who_holds_it() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    let finished = pipe(&site, &[], b"");
    let device = site.modem.device(0);
    fails(&finished, 6, &format!("{device}: locked by "));
    fails(&finished, 6, &format!("qssl-tunnel (pid {})", tunnel.id()));
    fails(&finished, 6, "start it with --control PATH");
    // The program that holds the port is not disturbed.
    drop(connect(tunnel.address()));
    tunnel.wait_for("the client closed");
}

#[test]
fn status_7_a_missing_port() {
    let finished =
        run(&mut tunnel_command(&["connect", "server.test:443", "--insecure", "-d", "/nonexistent/modem"]));
    fails(&finished, 7, "/nonexistent/modem: no such device");
}

#[test]
fn status_7_a_device_server_that_is_not_there() {
    let device = format!("rfc2217://{}", free_address());
    let finished = run(&mut tunnel_command(&["connect", "server.test:443", "--insecure", "-d", &device]));
    fails(&finished, 7, "cannot connect");
}

#[test]
fn status_2_a_setting_that_the_module_does_not_have() {
    let site = Site::new(Behaviour::Echo, "--family ec20");
    let finished = pipe(&site, &["--sni"], b"");
    fails(&finished, 2, "has no setting \"sni\", which --sni needs");
}

#[test]
fn status_8_a_module_without_room_for_the_certificate() {
    fails(&without_server("--storage 106496", &[]), 8, "storage");
}

#[test]
fn a_module_without_memory_for_the_certificates_is_told_of_with_their_size() {
    let site = Site::new(Behaviour::Echo, "");
    site.modem.embedded.with_modem(|modem, _, _| modem.fail_next_open(553));
    let size = fs::read(certificate_file()).expect("it exists").len();
    let finished = pipe(&site, &[], b"");
    fails(&finished, 1, "553 memory not enough");
    fails(&finished, 1, &format!("have {size} bytes: give the one root"));
}

#[test]
fn status_9_no_sim() {
    fails(&without_server("--no-sim", &[]), 9, "SIM not inserted");
}

#[test]
fn status_9_a_pin_that_nobody_gave_and_a_pin_that_is_wrong() {
    fails(&without_server("--sim-pin 4711", &[]), 9, "--sim-pin-file");
    let directory = temporary_directory();
    let file = directory.path().join("pin");
    fs::write(&file, "0815\n").expect("the directory is ours");
    let file = file.to_str().expect("temporary paths are text");
    let finished = without_server("--sim-pin 4711", &["--sim-pin-file", file, "-vv"]);
    fails(&finished, 9, "PIN");
    assert!(!finished.stderr.contains("0815"), "the PIN is a secret: {}", finished.stderr);
}

#[test]
fn status_10_a_network_that_refuses() {
    fails(&without_server("--registration-denied", &[]), 10, "denied");
}

#[test]
fn status_11_no_data_session() {
    let finished = without_server("--required-apn right", &["--apn", "wrong"]);
    fails(&finished, 11, "561 open PDP context failed");
    fails(&finished, 11, "check --apn");
    fails(&without_server("--required-apn right", &[]), 11, "573 APN not configured");
}

#[test]
fn status_12_a_name_that_does_not_resolve() {
    fails(&without_server("--dns-fails", &[]), 12, "DNS parse failed");
}

#[test]
fn status_13_a_server_that_refuses() {
    let refuses = free_address();
    let modem = Modem::start(refuses, "");
    let device = modem.device(0);
    let finished = connect_command(&device, &[], b"");
    fails(&finished, 13, "cannot connect: 566 refused, unreachable");
}

#[test]
fn status_14_a_server_of_another_authority_though_the_modem_says_566_to_both() {
    let stranger = Authority::new("stranger").expect("OpenSSL makes a root");
    let directory = temporary_directory();
    let file = directory.path().join("stranger.pem");
    fs::write(&file, stranger.pem()).expect("the directory is ours");
    let site = Site::new(Behaviour::Echo, "");
    let device = site.modem.device(0);
    let file = file.to_str().expect("temporary paths are text");
    let finished = run(&mut tunnel_command(&["connect", "server.test:443", "--ca", file, "-d", &device]));
    fails(&finished, 14, "the TLS handshake failed; see: qssl-tunnel doctor server.test:443");
    assert_eq!(finished.stdout, b"");
}

#[test]
fn status_15_a_modem_that_says_nothing() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let device = format!("tcp://{}", address_of(&silent));
    let finished = run(&mut tunnel_command(&["connect", "server.test:443", "--insecure", "-d", &device]));
    fails(&finished, 15, "does not answer");
}

#[test]
fn status_17_a_stream_that_ends_and_may_not_have_to() {
    let site = Site::new(Behaviour::Source { bytes: 10_000 }, "");
    let finished = pipe(&site, &["--on-closed", "reset"], b"");
    fails(&finished, 17, "the server closed the connection, cleanly or not");
}

/// Asserts a failure: this message on one line, the exit status, and nothing on standard output.
#[track_caller]
fn fails(finished: &Finished, status: i32, said: &str) {
    assert_eq!(finished.status, status, "{}", finished.stderr);
    assert!(finished.stderr.contains(said), "{said:?} is not said:\n{}", finished.stderr);
}

fn pipe(site: &Site, options: &[&str], input: &[u8]) -> Finished {
    connect_command(&site.modem.device(0), options, input)
}

fn without_server(modem_options: &str, options: &[&str]) -> Finished {
    let modem = Modem::with_options(modem_options);
    connect_command(&modem.device(0), options, b"")
}

fn connect_command(device: &str, options: &[&str], input: &[u8]) -> Finished {
    let usual = ["connect", "server.test:443", "--ca", certificate_file(), "-d", device];
    run_with_input(&mut tunnel_command(&[&usual, options].concat()), input)
}

fn address_of(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a bound socket has an address")
}
