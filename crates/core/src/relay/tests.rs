//! Goal of this test: what the event loop has still to do to one client is never done to another.

use super::*;
use crate::settings::test_tunnel;
use crate::test_clock::now;

/// The program waits for events of so many, and no more.
#[test]
fn clients_that_have_not_named_their_servers_yet_count_for_each_limit() {
    let mut tunnel = test_tunnel();
    tunnel.limits.open_on = crate::settings::OpenOn::FirstByte;
    tunnel.limits.first_byte_timeout = Duration::ZERO;
    let mut proxy = test_tunnel();
    proxy.target = None;
    let (tunnel, proxy) = (Arc::new(tunnel), Arc::new(proxy));
    let settings = Settings { tunnels: vec![tunnel.clone(), proxy.clone()], ..Settings::default() };
    let mut relay = Relay::new(settings, now());
    let wants_beside = |relay: &Relay, of: &Arc<Tunnel>, coming| {
        relay.wants_clients_beside(of, std::iter::repeat_n(&proxy, coming))
    };
    assert!(wants_beside(&relay, &proxy, WAITING_MAX - 1) && !wants_beside(&relay, &proxy, WAITING_MAX));
    assert!(wants_beside(&relay, &tunnel, WAITING_MAX), "they keep no clients of other tunnels waiting");
    let wants = |relay: &Relay, coming| wants_beside(relay, &tunnel, coming);
    while relay.client_count() < CLIENTS_MAX - 1 {
        relay.client_accepted(&tunnel, "a client".to_owned(), now());
    }
    while relay.poll_action().is_some() {}
    assert!(wants(&relay, 0) && !wants(&relay, 1));
}

/// A client whose number was given to the next one was closed after that had come: the new client read an end of file.
#[test]
fn the_number_of_a_client_is_not_given_again_before_it_has_been_closed() {
    let tunnel = Arc::new(test_tunnel());
    let settings = Settings {
        ports: vec![crate::settings::Port::default()],
        modem: crate::settings::Modem::default(),
        tunnels: vec![tunnel.clone()],
        shutdown_timeout: Duration::from_secs(30),
        is_single: false,
    };
    let mut relay = Relay::new(settings, now());
    let accepted = |relay: &mut Relay| relay.client_accepted(&tunnel, "a client".to_owned(), now());
    let first = accepted(&mut relay);
    // The modem does not come.
    relay.deadline_passed(now() + Duration::from_secs(3_600));
    let second = accepted(&mut relay);
    assert_ne!(first, second);
    let mut is_reset = false;
    while let Some(action) = relay.poll_action() {
        is_reset |= matches!(action, Action::ResetClient { client, .. } if client == first);
    }
    assert!(is_reset);
    assert_eq!(accepted(&mut relay), first, "its number is free now");
}
