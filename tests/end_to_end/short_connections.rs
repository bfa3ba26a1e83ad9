//! Goal of this test: a thousand short connections in sequence, each closed by its client first, reuse the modem's
//! twelve sockets without waiting for them.

#![allow(clippy::disallowed_methods, reason = "how long it takes is part of what is tested")]

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use qssl_modem_emulator::test_server::CertificateRequest;
use qssl_modem_emulator::test_server::{Behaviour, ClientEnd, KeyKind, ServerOptions};

use qssl_test_common::harness::{EG800Q, NAME, Site, authority, connect};

#[test]
fn a_thousand_clients_that_close_first() {
    const CLIENTS: usize = 1_000;
    let request = CertificateRequest::server(NAME).with_key(KeyKind::Ec);
    let identity = authority().issue(&request).expect("OpenSSL signs");
    let server =
        ServerOptions { identity: Some(identity), behaviour: Behaviour::Echo, ..ServerOptions::default() };
    let site = Site::with_server(server, EG800Q);
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    let began = Instant::now();
    for number in 0..CLIENTS {
        let question = format!("question {number:04}");
        let mut client = connect(tunnel.address());
        client.write_all(question.as_bytes()).expect("the tunnel takes it");
        let mut answer = [0; 13];
        client.read_exact(&mut answer).unwrap_or_else(|error| panic!("{number}: {error}: {}", tunnel.log()));
        assert_eq!(answer, question.as_bytes());
    }
    let took = began.elapsed();
    let records = site.server.wait_for(|records| records.iter().all(|record| record.over));
    assert_eq!(records.len(), CLIENTS);
    assert!(records.iter().all(|record| record.client_end == Some(ClientEnd::Orderly)));
    // If each waited for a half-close to end, or for a close to time out, this would take minutes.
    assert!(took < Duration::from_secs(60), "{took:?}");
}
