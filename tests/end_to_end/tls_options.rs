//! Goal of this test: each TLS option of the command line changes what the server sees, or what is accepted from it,
//! through the whole chain of program, modem and network.

use std::io::{Read as _, Write as _};

use qssl_modem_emulator::test_server::{Behaviour, CertificateRequest, Handshake, ServerOptions, SslVersion};

use qssl_test_common::harness::{
    EG800Q, Finished, NAME, Site, authority, certificate_file, connect, identity, run, temporary_directory,
    tunnel_command,
};

const BYTES: u64 = 100;

/// A server that sends a few bytes to every client that completes the handshake.
fn server() -> ServerOptions {
    ServerOptions { behaviour: Behaviour::Source { bytes: BYTES }, ..ServerOptions::default() }
}

/// Connects with these options, and with the authority of the good servers.
fn fetch(site: &Site, options: &[&str]) -> Finished {
    let device = site.modem.device(0);
    let usual = ["connect", "server.test:443", "-d", &device, "--ca", certificate_file()];
    run(&mut tunnel_command(&[&usual[..], options].concat()))
}

/// What the server saw of the last of `count` handshakes.
fn seen(site: &Site, count: usize) -> Handshake {
    let records = site.server.wait_for(|records| {
        records.len() >= count && records.iter().all(|record| record.handshake.is_some())
    });
    let last = records.into_iter().next_back().expect("there is one");
    last.handshake.expect("waited for").expect("it was completed")
}

#[test]
fn a_version_is_the_only_one_that_is_offered() {
    for (option, version) in [("1.0", "TLSv1"), ("1.1", "TLSv1.1"), ("1.2", "TLSv1.2"), ("any", "TLSv1.2")] {
        let site = Site::with_server(server(), EG800Q);
        let finished = fetch(&site, &["--tls-version", option]);
        assert_eq!(finished.status, 0, "{option}: {}", finished.stderr);
        assert_eq!(seen(&site, 1).version, version, "{option}");
    }
    let old = ServerOptions { highest_version: Some(SslVersion::SSL3), ..server() };
    let site = Site::with_server(old, EG800Q);
    assert_eq!(fetch(&site, &[]).status, 14);
    let finished = fetch(&site, &["--tls-version", "ssl3"]);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert_eq!(seen(&site, 2).version, "SSLv3");
}

#[test]
fn a_cipher_suite_by_name_or_code_is_the_only_one_that_is_offered() {
    for (option, cipher) in [
        ("TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256"),
        ("0X003D", "AES256-SHA256"),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("0xC013", "ECDHE-RSA-AES128-SHA"),
    ] {
        let site = Site::with_server(server(), EG800Q);
        let finished = fetch(&site, &["--cipher", option]);
        assert_eq!(finished.status, 0, "{option}: {}", finished.stderr);
        assert_eq!(seen(&site, 1).cipher, cipher, "{option}");
    }
    let site = Site::with_server(server(), "--family ec20");
    let finished = fetch(&site, &["--cipher", "0XC02F"]);
    assert_eq!(finished.status, 2, "{}", finished.stderr);
    assert!(finished.stderr.contains("does not have the cipher suite"), "{}", finished.stderr);
}

#[test]
fn the_servers_name_is_told_unless_that_is_switched_off() {
    for (options, name) in [(&[][..], Some(NAME)), (&["--sni"], Some(NAME)), (&["--no-sni"], None)] {
        let site = Site::with_server(server(), EG800Q);
        assert_eq!(fetch(&site, options).status, 0);
        assert_eq!(seen(&site, 1).server_name.as_deref(), name, "{options:?}");
    }
    let site = Site::with_server(server(), "--family ec20");
    let finished = fetch(&site, &["--sni"]);
    assert_eq!(finished.status, 2, "{}", finished.stderr);
    assert!(finished.stderr.contains("has no setting \"sni\", which --sni needs"), "{}", finished.stderr);
}

#[test]
fn a_protocol_is_agreed_upon() {
    let site = Site::with_server(ServerOptions { alpn: Some("mqtt".to_owned()), ..server() }, EG800Q);
    assert_eq!(fetch(&site, &["--alpn", "mqtt"]).status, 0);
    assert_eq!(seen(&site, 1).alpn.as_deref(), Some("mqtt"));
}

#[test]
fn an_earlier_session_is_resumed_where_that_is_wanted() {
    for (options, resumed) in [(&["--session-resumption"][..], true), (&[], false)] {
        let site = Site::new(Behaviour::Echo, EG800Q);
        let tunnel = site.tunnel(options);
        for count in 1..=3 {
            let mut client = connect(tunnel.address());
            client.write_all(b"hello").expect("the tunnel takes it");
            let mut echo = [0; 5];
            client.read_exact(&mut echo).expect("the server answers");
            let expected = resumed && count > 1;
            assert_eq!(seen(&site, count).session_reused, expected, "{options:?}, connection {count}");
        }
    }
}

#[test]
fn a_server_that_negotiates_anew_is_followed_where_that_is_allowed() {
    let anew = ServerOptions { renegotiates: true, highest_version: Some(SslVersion::TLS1_2), ..server() };
    let site = Site::with_server(anew, EG800Q);
    let finished = fetch(&site, &["--renegotiation"]);
    assert_eq!((finished.status, finished.stdout.len() as u64), (0, BYTES), "{}", finished.stderr);
    let finished = fetch(&site, &[]);
    assert_eq!(finished.stdout, b"", "{}", finished.stderr);
}

#[test]
fn dates_are_checked_by_a_clock_that_was_set_right_first() {
    // A modem whose clock is in 1980, or in 2001.
    for clock in ["unset", "1000000000"] {
        let site = Site::with_server(server(), &format!("{EG800Q} --clock {clock}"));
        let finished = fetch(&site, &[]);
        assert_eq!(finished.status, 0, "{}", finished.stderr);
        assert!(finished.stderr.contains("setting the modem's clock"), "{}", finished.stderr);
    }
    let site = Site::with_server(server(), EG800Q);
    let finished = fetch(&site, &["--ntp", "pool.ntp.org"]);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert!(finished.stderr.contains("clock was set by the time server"), "{}", finished.stderr);
    // If dates are not checked, the clock is not set.
    let expired = authority().issue(&CertificateRequest::server(NAME).expired()).expect("OpenSSL signs");
    let site = Site::with_server(
        ServerOptions { identity: Some(expired), ..server() },
        &format!("{EG800Q} --clock unset"),
    );
    let finished = fetch(&site, &["--no-check-time"]);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    let clock = site.modem.embedded.with_modem(|modem, _, now| modem.clock(now));
    assert!(clock.is_some_and(|clock| clock < 1_000_000_000), "{clock:?}");
}

#[test]
fn each_check_of_a_certificate_can_be_switched_off_alone() {
    let of = |identity| Site::with_server(ServerOptions { identity: Some(identity), ..server() }, EG800Q);
    let forged = authority().forger().expect("OpenSSL makes a key");
    let cases = [
        (
            authority().issue(&CertificateRequest::client(NAME)).expect("OpenSSL signs"),
            &["--ignore-certificate", "extended-key-usage"][..],
        ),
        (forged.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs"), &["--ignore-signature"]),
    ];
    for (bad, option) in cases {
        let site = of(bad.clone());
        let finished = fetch(&site, &[]);
        assert_eq!(finished.status, 14, "{option:?}: {}", finished.stderr);
        let others = ["--ignore-certificate", "expired,common-name,key-usage,ns-cert-type,bad-key,other"];
        let finished = fetch(&site, &others);
        assert_eq!(finished.status, 14, "{option:?}: {}", finished.stderr);
        for option in [option, &["--ignore-certificate", "all"]] {
            let finished = fetch(&site, option);
            assert_eq!(finished.status, 0, "{option:?}: {}", finished.stderr);
            assert!(finished.stderr.contains(" warn "), "{option:?}: {}", finished.stderr);
        }
    }
    // A good certificate needs none of these options.
    assert_eq!(fetch(&of(identity().clone()), &[]).status, 0);
}

#[test]
fn secrets_reach_the_modem_and_no_log() {
    let directory = temporary_directory();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("the directory is ours");
        path.to_str().expect("temporary paths are text").to_owned()
    };
    let client = authority().issue(&CertificateRequest::client("device")).expect("OpenSSL signs");
    let (key_password, pin, psk, apn_password) =
        ("key-pass-8412", "84127", "feedfacecafe8412", "apn-pass-8412");
    let certificate = file("client.pem", &client.chain_pem());
    let key = file("client.key", &client.encrypted_key_pem(key_password));
    let files = [("key-password", key_password), ("psk", psk), ("pin", pin), ("apn-password", apn_password)]
        .map(|(name, secret)| file(name, secret.as_bytes()));
    let options = [
        ["--cert", &certificate],
        ["--key", &key],
        ["--key-password-file", &files[0]],
        ["--psk-identity", "device"],
        ["--psk-key-file", &files[1]],
        ["--sim-pin-file", &files[2]],
        ["--apn", "internet"],
        ["--apn-user", "me"],
        ["--apn-password-file", &files[3]],
    ]
    .concat();
    let demanding = ServerOptions {
        client_authority: Some(authority().certificate().clone()),
        highest_version: Some(SslVersion::TLS1_2),
        ..server()
    };
    let site = Site::with_server(demanding, &format!("{EG800Q} --sim-pin {pin}"));
    let finished = fetch(&site, &[&options[..], &["-vv"]].concat());
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    assert_eq!(seen(&site, 1).client_name.as_deref(), Some("device"), "the password opened the key");
    assert!(finished.stderr.contains("> AT+QSSLOPEN"), "everything is logged: {}", finished.stderr);
    for secret in [key_password, pin, psk, apn_password, "PRIVATE KEY"] {
        assert!(!finished.stderr.contains(secret), "{secret}: {}", finished.stderr);
    }
    let ask = ["at", "AT+QSSLCFG=\"psk\",0", "-d", &site.modem.device(0), "-vv"];
    let asked = run(&mut tunnel_command(&ask)).expect_success();
    assert!(asked.text().contains(psk), "who asks for it gets it: {}", asked.text());
    assert!(!asked.stderr.contains(psk), "{}", asked.stderr);
}
