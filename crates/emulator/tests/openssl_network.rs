//! Goal of this test: every TLS setting of the modem has its real effect on the wire, seen from a real
//! server, and every way a connection can fail or end is told apart.

#![cfg(feature = "openssl")]

mod common;

use std::time::Duration;

use common::{Bench, now};
use qssl_modem_emulator::network::{
    Close, ConnectionId, Network, OpenFailure, OpenRequest, Received, TlsParameters, Transport,
};
use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, ClientEnd, Ending, Handshake, Identity, KeyKind, Record,
    ServerOptions, SslVersion, TestServer, fill_pattern,
};

const HOST: &str = "server.example";

/// The network under test, and the server it is to reach.
struct World {
    bench: Bench,
    server: TestServer,
}

impl World {
    fn new(options: ServerOptions) -> World {
        let server = TestServer::start(options).expect("the server starts");
        let bench = Bench::new(&[HOST], 443, server.address());
        World { bench, server }
    }

    fn start(&mut self, host: &str, port: u16, tls: Option<TlsParameters>) -> ConnectionId {
        let transport = Transport::Tcp;
        self.bench.start(OpenRequest { host: host.into(), port, tls, transport, local_port: 0 })
    }

    fn open(&mut self, tls: TlsParameters) -> Result<ConnectionId, OpenFailure> {
        let id = self.start(HOST, 443, Some(tls));
        self.bench.outcome(id)
    }

    /// What the server saw of the latest handshake.
    fn seen(&self) -> Handshake {
        let last = self.bench.opened as usize - 1;
        let ready = |records: &[Record]| records.get(last).is_some_and(|record| record.handshake.is_some());
        let outcome = self.server.wait_for(ready).swap_remove(last).handshake.expect("waited for");
        outcome.expect("the handshake succeeded")
    }

    fn send_all(&mut self, id: ConnectionId, bytes: &[u8]) {
        let mut sent = 0;
        self.bench.until(|network| {
            sent += network.send(id, &bytes[sent..], now());
            (sent == bytes.len()).then_some(())
        });
    }

    /// Everything up to the end of the stream, and which end it was.
    fn receive_all(&mut self, id: ConnectionId) -> (Vec<u8>, Received) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 1500];
        let end = self.bench.until(|network| {
            loop {
                match network.receive(id, &mut buffer, now()) {
                    Received::Bytes(count) => bytes.extend_from_slice(&buffer[..count]),
                    Received::Nothing => return None,
                    end => return Some(end),
                }
            }
        });
        (bytes, end)
    }
}

fn unix_now() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "certificates are valid in real time")]
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    elapsed.expect("the clock is past 1970").as_secs() as i64
}

/// What a module offers that is told nothing: no authentication, all suites of the newer manual.
fn parameters() -> TlsParameters {
    TlsParameters {
        version: 4,
        dtls_version: 2,
        cipher_suites: vec![
            0x0035, 0x002F, 0x0005, 0x0004, 0x000A, 0x003D, 0xC002, 0xC003, 0xC004, 0xC005, 0xC007, 0xC008,
            0xC009, 0xC00A, 0xC011, 0xC012, 0xC013, 0xC014, 0xC00C, 0xC00D, 0xC00E, 0xC00F, 0xC023, 0xC024,
            0xC025, 0xC026, 0xC027, 0xC028, 0xC029, 0xC02A, 0xC02F,
        ],
        security_level: 0,
        authorities: Vec::new(),
        client_certificate: None,
        client_key: None,
        client_key_password: None,
        sni: true,
        alpn: String::new(),
        psk: None,
        session_cache: None,
        renegotiation: false,
        check_time: Some(unix_now()),
        check_host: true,
        ignore_items: 0,
        ignore_chain: false,
        ignore_signature: false,
        negotiate_seconds: 30,
    }
}

fn trusting(authority: &Authority) -> TlsParameters {
    TlsParameters { security_level: 1, authorities: vec![authority.pem()], ..parameters() }
}

fn good_identity() -> (Authority, Identity) {
    let authority = Authority::new("test root").expect("a root");
    let identity = authority.issue(&CertificateRequest::server(HOST)).expect("a certificate");
    (authority, identity)
}

fn server_of(identity: Identity) -> ServerOptions {
    ServerOptions { identity: Some(identity), ..ServerOptions::default() }
}

fn is_refused_because(outcome: Result<ConnectionId, OpenFailure>, reason: &str) {
    match outcome {
        Err(OpenFailure::Verification(text)) => assert!(text.contains(reason), "{text:?} lacks {reason:?}"),
        other => panic!("expected a refusal because of {reason:?}, got {other:?}"),
    }
}

fn handshake_fails(outcome: Result<ConnectionId, OpenFailure>) {
    assert!(matches!(outcome, Err(OpenFailure::Handshake(_))), "{outcome:?}");
}

#[test]
fn bytes_pass_both_ways_unchanged() {
    let (authority, identity) = good_identity();
    let mut world = World::new(server_of(identity));
    let id = world.open(trusting(&authority)).expect("it opens");
    let mut payload = vec![0; 1 << 20];
    fill_pattern(0, &mut payload);

    let (mut sent, mut echoed) = (0, Vec::new());
    let mut buffer = [0; 4096];
    world.bench.until(|network| {
        sent += network.send(id, &payload[sent..], now());
        while let Received::Bytes(count) = network.receive(id, &mut buffer, now()) {
            echoed.extend_from_slice(&buffer[..count]);
        }
        (echoed.len() == payload.len()).then_some(())
    });
    assert!(echoed == payload, "the echo differs from what was sent");
}

#[test]
fn plain_tcp_passes_bytes_and_ends_in_order() {
    let options =
        ServerOptions { plain: true, behaviour: Behaviour::Source { bytes: 5000 }, ..Default::default() };
    let mut world = World::new(options);
    let id = world.start(HOST, 443, None);
    world.bench.outcome(id).expect("it opens");
    let (bytes, end) = world.receive_all(id);
    assert_eq!((bytes.len(), end), (5000, Received::Ended));
}

#[test]
fn each_version_setting_offers_that_version_and_no_other() {
    let (_, identity) = good_identity();
    let versions = [
        (0, SslVersion::SSL3, "SSLv3"),
        (1, SslVersion::TLS1, "TLSv1"),
        (2, SslVersion::TLS1_1, "TLSv1.1"),
        (3, SslVersion::TLS1_2, "TLSv1.2"),
    ];
    for (server, version, name) in versions {
        let mut options = server_of(identity.clone());
        options.lowest_version = Some(version);
        options.highest_version = Some(version);
        let mut world = World::new(options);
        for setting in 0..=4 {
            let outcome = world.open(TlsParameters { version: setting, ..parameters() });
            if setting == server || setting == 4 {
                outcome.unwrap_or_else(|failure| panic!("version {setting} with {name}: {failure:?}"));
                assert_eq!(world.seen().version, name);
            } else {
                handshake_fails(outcome);
            }
        }
    }
}

#[test]
fn tls_1_3_is_never_offered() {
    let mut options = server_of(good_identity().1);
    options.lowest_version = Some(SslVersion::TLS1_3);
    let mut world = World::new(options);
    handshake_fails(world.open(parameters()));
}

#[test]
fn each_suite_is_negotiated_by_its_code_alone() {
    let authority = Authority::new("test root").expect("a root");
    let request = CertificateRequest::server(HOST);
    let rsa = authority.issue(&request).expect("a certificate");
    let ec = authority.issue(&request.with_key(KeyKind::Ec)).expect("a certificate");
    let by_key: [(Identity, &[(u16, &str)]); 2] = [
        (
            rsa,
            &[
                (0x0035, "AES256-SHA"),
                (0x002F, "AES128-SHA"),
                (0x0005, "RC4-SHA"),
                (0x0004, "RC4-MD5"),
                (0x000A, "DES-CBC3-SHA"),
                (0x003D, "AES256-SHA256"),
                (0xC011, "ECDHE-RSA-RC4-SHA"),
                (0xC012, "ECDHE-RSA-DES-CBC3-SHA"),
                (0xC013, "ECDHE-RSA-AES128-SHA"),
                (0xC014, "ECDHE-RSA-AES256-SHA"),
                (0xC027, "ECDHE-RSA-AES128-SHA256"),
                (0xC028, "ECDHE-RSA-AES256-SHA384"),
                (0xC02F, "ECDHE-RSA-AES128-GCM-SHA256"),
            ],
        ),
        (
            ec,
            &[
                (0xC007, "ECDHE-ECDSA-RC4-SHA"),
                (0xC008, "ECDHE-ECDSA-DES-CBC3-SHA"),
                (0xC009, "ECDHE-ECDSA-AES128-SHA"),
                (0xC00A, "ECDHE-ECDSA-AES256-SHA"),
                (0xC023, "ECDHE-ECDSA-AES128-SHA256"),
                (0xC024, "ECDHE-ECDSA-AES256-SHA384"),
            ],
        ),
    ];
    for (identity, suites) in by_key {
        let mut world = World::new(server_of(identity));
        for (code, name) in suites {
            let outcome = world.open(TlsParameters { cipher_suites: vec![*code], ..parameters() });
            outcome.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
            assert_eq!(world.seen().cipher, *name);
        }
    }
}

#[test]
fn without_a_common_suite_the_handshake_fails() {
    let mut options = server_of(good_identity().1);
    options.cipher_list = Some("ECDHE-RSA-AES128-GCM-SHA256".into());
    options.highest_version = Some(SslVersion::TLS1_2);
    let mut world = World::new(options);
    // The EC20's whole list, then static ECDH, which OpenSSL no longer has.
    let ec20 = vec![0x0035, 0x002F, 0x0005, 0x0004, 0x000A, 0x003D];
    handshake_fails(world.open(TlsParameters { cipher_suites: ec20, ..parameters() }));
    handshake_fails(world.open(TlsParameters { cipher_suites: vec![0xC004, 0xC00E], ..parameters() }));
}

#[test]
fn without_authentication_any_certificate_passes() {
    let request = CertificateRequest::server("somebody.else").expired();
    let mut world = World::new(server_of(request.self_signed().expect("a certificate")));
    world.open(parameters()).expect("it opens");
}

#[test]
fn a_good_certificate_passes_and_the_modems_clock_decides_about_its_dates() {
    let (authority, identity) = good_identity();
    let mut world = World::new(server_of(identity));
    world.open(trusting(&authority)).expect("it opens");

    let year = 365 * 86_400;
    let at = |check_time| TlsParameters { check_time, ..trusting(&authority) };
    is_refused_because(world.open(at(Some(unix_now() + year))), "expired");
    is_refused_because(world.open(at(Some(315_964_800))), "not yet valid");
    world.open(at(None)).expect("dates are not looked at");
}

#[test]
fn a_bad_certificate_is_refused_unless_just_that_is_ignored() {
    let authority = Authority::new("test root").expect("a root");
    let stranger = Authority::new("another root").expect("a root");
    let intermediate = authority.intermediate("test intermediate").expect("an intermediate");
    let request = CertificateRequest::server(HOST);
    let issue = |authority: &Authority, request: &CertificateRequest| {
        authority.issue(request).expect("a certificate")
    };
    let cases = [
        (issue(&authority, &request.clone().expired()), "expired", 1),
        (issue(&authority, &request.clone().not_yet_valid()), "not yet valid", 512),
        (issue(&authority, &CertificateRequest::server("other.example")), "mismatch", 4),
        (request.self_signed().expect("a certificate"), "self-signed", 8),
        (issue(&stranger, &request), "local issuer", 8),
        (issue(&intermediate, &request).without_intermediates(), "local issuer", 8),
        (issue(&authority, &CertificateRequest::client(HOST)), "purpose", 4096),
    ];
    for (identity, reason, item) in cases {
        let mut world = World::new(server_of(identity));
        is_refused_because(world.open(trusting(&authority)), reason);
        let ignoring = |ignore_items| TlsParameters { ignore_items, ..trusting(&authority) };
        is_refused_because(world.open(ignoring(1_048_575 & !item)), reason);
        world.open(ignoring(item)).unwrap_or_else(|failure| panic!("{reason} ignored: {failure:?}"));
    }
}

#[test]
fn an_intermediate_may_come_from_the_server_or_from_the_ca_file() {
    let root = Authority::new("test root").expect("a root");
    let intermediate = root.intermediate("test intermediate").expect("an intermediate");
    let identity = intermediate.issue(&CertificateRequest::server(HOST)).expect("a certificate");
    let mut world = World::new(server_of(identity.clone()));
    world.open(trusting(&root)).expect("the server sends the chain");

    let mut world = World::new(server_of(identity.without_intermediates()));
    is_refused_because(world.open(trusting(&root)), "local issuer");
    let both = [root.pem(), intermediate.pem()].concat();
    world.open(TlsParameters { authorities: vec![both], ..trusting(&root) }).expect("one file with both");
    let two_files = vec![root.pem(), intermediate.pem()];
    world.open(TlsParameters { authorities: two_files, ..trusting(&root) }).expect("two files");
    world.open(TlsParameters { ignore_chain: true, ..trusting(&root) }).expect("the chain is ignored");
    let der = root.certificate().to_der().expect("DER");
    is_refused_because(
        world.open(TlsParameters { authorities: vec![der], ..trusting(&root) }),
        "local issuer",
    );
}

#[test]
fn the_host_name_counts_only_where_it_is_checked() {
    let authority = Authority::new("test root").expect("a root");
    let other = authority.issue(&CertificateRequest::server("other.example")).expect("a certificate");
    let mut world = World::new(server_of(other));
    let unchecked = TlsParameters { check_host: false, ..trusting(&authority) };
    world.open(unchecked).expect("any certificate of this root passes");
}

#[test]
fn an_address_is_checked_against_the_addresses_in_the_certificate() {
    let authority = Authority::new("test root").expect("a root");
    let identity = authority.issue(&CertificateRequest::server("127.0.0.1")).expect("a certificate");
    let mut world = World::new(server_of(identity));
    let port = world.server.address().port();
    let id = world.start("127.0.0.1", port, Some(trusting(&authority)));
    world.bench.outcome(id).expect("it opens");
    let id = world.start("localhost", port, Some(trusting(&authority)));
    is_refused_because(world.bench.outcome(id), "mismatch");
}

#[test]
fn files_that_are_no_certificates_are_a_wrong_setting() {
    let mut world = World::new(server_of(good_identity().1));
    let garbage =
        TlsParameters { security_level: 1, authorities: vec![b"not a certificate".to_vec()], ..parameters() };
    assert!(matches!(world.open(garbage), Err(OpenFailure::Setting(_))));
}

#[test]
fn a_client_certificate_is_shown_under_seclevel_2_only() {
    let (authority, identity) = good_identity();
    let client = authority.issue(&CertificateRequest::client("device 7")).expect("a certificate");
    let mut options = server_of(identity);
    options.client_authority = Some(authority.certificate().clone());
    options.highest_version = Some(SslVersion::TLS1_2);
    let mut world = World::new(options);

    let with_files = |security_level, key: Vec<u8>, password: Option<&str>| TlsParameters {
        security_level,
        client_certificate: Some(client.certificate_pem()),
        client_key: Some(key),
        client_key_password: password.map(str::to_owned),
        ..trusting(&authority)
    };
    handshake_fails(world.open(with_files(1, client.key_pem(), None)));
    world.open(with_files(2, client.key_pem(), None)).expect("it opens");
    assert_eq!(world.seen().client_name.as_deref(), Some("device 7"));

    let encrypted = client.encrypted_key_pem("secret");
    world.open(with_files(2, encrypted.clone(), Some("secret"))).expect("it opens");
    for password in [Some("wrong"), None] {
        let outcome = world.open(with_files(2, encrypted.clone(), password));
        assert!(matches!(outcome, Err(OpenFailure::Setting(_))), "{outcome:?}");
    }
    let foreign_key = authority.issue(&CertificateRequest::client("other")).expect("a certificate").key_pem();
    let outcome = world.open(with_files(2, foreign_key, None));
    assert!(matches!(outcome, Err(OpenFailure::Setting(_))), "{outcome:?}");
}

#[test]
fn a_pre_shared_key_opens_a_server_without_certificate() {
    let options =
        ServerOptions { psk: Some(("device".into(), b"0123456789abcdef".to_vec())), ..Default::default() };
    let mut world = World::new(options);
    let with = |identity: &str, key: &str| TlsParameters {
        psk: Some((identity.into(), key.into())),
        security_level: 1,
        ..parameters()
    };
    world.open(with("device", "0123456789abcdef")).expect("it opens");
    handshake_fails(world.open(with("device", "another key")));
    handshake_fails(world.open(with("stranger", "0123456789abcdef")));
    handshake_fails(world.open(parameters()));
}

#[test]
fn server_name_and_protocol_are_sent_when_set() {
    let mut options = server_of(good_identity().1);
    options.alpn = Some("mqtt".into());
    let mut world = World::new(options);
    world.open(TlsParameters { alpn: "mqtt".into(), ..parameters() }).expect("it opens");
    let seen = world.seen();
    assert_eq!(seen.server_name.as_deref(), Some(HOST));
    assert_eq!(seen.alpn.as_deref(), Some("mqtt"));
    handshake_fails(world.open(TlsParameters { alpn: "http/1.1".into(), ..parameters() }));

    let mut world = World::new(server_of(good_identity().1));
    world.open(TlsParameters { sni: false, ..parameters() }).expect("it opens");
    let seen = world.seen();
    assert_eq!((seen.server_name, seen.alpn), (None, None));
}

#[test]
fn sessions_are_resumed_within_one_context_and_its_settings() {
    let (authority, identity) = good_identity();
    let mut world = World::new(server_of(identity));
    let mut resumed = |parameters: TlsParameters| {
        let id = world.open(parameters).expect("it opens");
        world.bench.network.close(id, Close::Orderly, now());
        world.seen().session_reused
    };
    let cached = |context| TlsParameters { session_cache: Some(context), ..trusting(&authority) };
    assert!(!resumed(cached(1)), "there is nothing to resume at first");
    assert!(resumed(TlsParameters { check_time: Some(unix_now() + 5), ..cached(1) }));
    assert!(!resumed(cached(2)), "another context has its own sessions");
    assert!(!resumed(trusting(&authority)), "resumption is off");
    assert!(resumed(cached(1)));
    assert!(!resumed(TlsParameters { sni: false, ..cached(1) }), "other settings begin anew");
}

#[test]
fn a_signature_that_is_wrong_counts_unless_signatures_are_ignored() {
    let (authority, _) = good_identity();
    let forger = authority.forger().expect("a forger");
    let mut world = World::new(server_of(forger.issue(&CertificateRequest::server(HOST)).expect("forged")));
    is_refused_because(world.open(trusting(&authority)), "signature");
    world
        .open(TlsParameters { ignore_signature: true, ..trusting(&authority) })
        .expect("signatures are not looked at");
    world.open(TlsParameters { ignore_items: 8, ..trusting(&authority) }).expect("trust is not looked at");
}

#[test]
fn a_server_that_negotiates_anew_is_followed_only_where_that_is_allowed() {
    let options = ServerOptions {
        renegotiates: true,
        behaviour: Behaviour::Source { bytes: 5000 },
        ..server_of(good_identity().1)
    };
    let mut world = World::new(options);
    let id = world.open(TlsParameters { renegotiation: true, ..parameters() }).expect("it opens");
    assert_eq!(world.receive_all(id).0.len(), 5000);
    let id = world.open(parameters()).expect("it opens");
    let (bytes, end) = world.receive_all(id);
    assert_eq!((bytes.len(), end), (0, Received::Broken));
}

#[test]
fn an_end_is_told_from_a_cut() {
    let (_, identity) = good_identity();
    let endings = [
        (Ending::Orderly, Received::Ended),
        (Ending::Truncated, Received::Broken),
        (Ending::Reset, Received::Broken),
    ];
    for (ending, expected) in endings {
        let mut options = server_of(identity.clone());
        options.behaviour = Behaviour::Respond {
            request_bytes: 1,
            delay: Duration::ZERO,
            response: b"the whole response".to_vec(),
        };
        options.ending = ending;
        let mut world = World::new(options);
        let id = world.open(parameters()).expect("it opens");
        world.send_all(id, b"?");
        let (bytes, end) = world.receive_all(id);
        assert_eq!(end, expected, "{ending:?}");
        // A reset may overtake what was sent before it.
        if ending != Ending::Reset {
            assert_eq!(bytes, b"the whole response", "{ending:?}");
        }
    }
}

#[test]
fn an_orderly_close_delivers_everything_and_an_abort_does_not_look_like_an_end() {
    let mut options = server_of(good_identity().1);
    options.behaviour = Behaviour::Digest { bytes: 300_001 };
    let mut world = World::new(options);
    let id = world.open(parameters()).expect("it opens");
    world.send_all(id, &[7; 300_000]);
    world.bench.network.close(id, Close::Orderly, now());
    // close_notify goes both ways while the network is polled.
    world.bench.until(|network| network.next_deadline().is_none().then_some(()));
    let records = world.server.wait_for(|records| records[0].client_end.is_some());
    assert_eq!(records[0].received_bytes, 300_000);
    assert_eq!(records[0].client_end, Some(ClientEnd::Orderly));

    let id = world.open(parameters()).expect("it opens");
    world.send_all(id, &[7; 100]);
    world.bench.network.close(id, Close::Abort, now());
    let records = world.server.wait_for(|records| records.len() == 2 && records[1].client_end.is_some());
    assert_eq!(records[1].client_end, Some(ClientEnd::Cut));
}

#[test]
fn a_server_that_does_not_read_stops_the_sender() {
    let mut options = server_of(good_identity().1);
    options.behaviour = Behaviour::Silent;
    let mut world = World::new(options);
    let id = world.open(parameters()).expect("it opens");
    let mut sent = 0;
    // Every buffer on the way fills up; then nothing more is taken, however often it is offered.
    let mut refusals = 0;
    world.bench.until(|network| {
        refusals += 1;
        loop {
            let taken = network.send(id, &[0; 4096], now());
            if taken == 0 {
                break;
            }
            (sent, refusals) = (sent + taken, 0);
            assert!(sent < 64 << 20, "64 MiB taken and no end");
        }
        // Asking makes the network look again soon.
        (network.unsent(id, now()) > 0 && refusals > 10).then_some(())
    });
    assert!(sent > 0);
}

#[test]
fn bytes_do_not_count_as_unsent_once_they_have_left() {
    let mut world = World::new(server_of(good_identity().1));
    let id = world.open(parameters()).expect("it opens");
    world.send_all(id, &[1; 1000]);
    world.bench.until(|network| (network.unsent(id, now()) == 0).then_some(()));
    let records = world.server.wait_for(|records| records[0].received_bytes == 1000);
    assert_eq!(records.len(), 1);
}

#[test]
fn failures_before_tls_are_told_apart() {
    let mut world = World::new(server_of(good_identity().1));
    let free_port = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let id = world.start("127.0.0.1", free_port, Some(parameters()));
    assert_eq!(world.bench.outcome(id), Err(OpenFailure::Refused));
    let id = world.start("no..such..name", 443, Some(parameters()));
    assert_eq!(world.bench.outcome(id), Err(OpenFailure::Dns));
    let port = world.server.address().port();
    let id = world.start("localhost", port, Some(parameters()));
    world.bench.outcome(id).expect("the system's resolver knows localhost");
}

#[test]
fn a_server_that_does_not_negotiate_is_given_up_after_the_negotiation_time() {
    let options = ServerOptions { plain: true, behaviour: Behaviour::Silent, ..Default::default() };
    let mut world = World::new(options);
    let id = world.start(HOST, 443, Some(TlsParameters { negotiate_seconds: 40, ..parameters() }));
    world.bench.until(|network| {
        // From the connection on the limit is 40 s, before it 150 s.
        let due = network.next_deadline().expect("an opening has a deadline");
        (due < now() + Duration::from_secs(41)).then_some(())
    });
    world.bench.network.deadline_passed(now() + Duration::from_secs(41));
    assert_eq!(world.bench.outcome(id), Err(OpenFailure::TimedOut));
}
