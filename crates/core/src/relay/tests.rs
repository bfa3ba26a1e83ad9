//! Goal of this test: what the event loop has still to do to one client is never done to another.

use super::*;
use crate::settings::test_tunnel;
use crate::test_clock::now;

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
