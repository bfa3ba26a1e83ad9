//! State × event → state and effect of a client.

use super::*;
use crate::settings::test_tunnel;
use crate::test_clock::now;

/// A client in the state of this name; "ending" has one byte left.
fn client(state: &str, now: Instant) -> Client {
    let mut tunnel = test_tunnel();
    if state == "silent" {
        tunnel.limits.open_on = OpenOn::FirstByte;
    }
    let mut client = Client::new(1, Arc::new(tunnel), "a:1".parse().expect("a target"), "peer".into(), now);
    if matches!(state, "silent" | "waiting") {
        return client;
    }
    client.attached_to(socket(), now);
    if state == "opening" {
        return client;
    }
    client.opened(now);
    if state == "open" {
        return client;
    }
    let left = if state == "ending" { 1 } else { 0 };
    client.stream_ended(SocketEnd::Eof, rest(left), 0, now);
    client
}

fn socket() -> SocketId {
    SocketId::all().next().expect("there are sockets")
}

fn rest(length: usize) -> Queue {
    let mut rest = Queue::bytes(10);
    rest.append(&vec![0; length]);
    rest
}

/// Its state by a name that distinguishes them all.
fn name(client: &Client) -> &'static str {
    match client.state {
        ClientState::Lingering => "lingering",
        _ => client.state_name(),
    }
}

const STATES: [&str; 6] = ["silent", "waiting", "opening", "open", "ending", "lingering"];

#[test]
fn bytes_go_to_the_socket_and_those_that_come_too_late_are_counted_as_lost() {
    let now = now();
    let to_socket = Destination::Socket(socket());
    for (state, destination, after, undelivered) in [
        ("silent", Destination::Kept, "waiting", 0),
        ("waiting", Destination::Nowhere, "waiting", 3),
        ("opening", to_socket, "opening", 0),
        ("open", to_socket, "open", 0),
        ("ending", Destination::Nowhere, "ending", 3),
        ("lingering", Destination::Nowhere, "lingering", 3),
    ] {
        let mut client = client(state, now);
        assert_eq!(client.received(b"abc", now), destination, "{state}");
        assert_eq!((name(&client), client.undelivered), (after, undelivered), "{state}");
    }
    let mut early = client("silent", now);
    early.received(b"abc", now);
    assert_eq!(early.attached_to(socket(), now).as_slice(), b"abc", "sent before there was a socket");
}

#[test]
fn a_client_that_closes_ends_only_where_nothing_is_under_way() {
    let now = now();
    let unread = ClientEffect::Close("the client closed before it had read everything");
    let in_order = ClientEffect::Close(SERVER_CLOSED);
    for (state, finished, gone) in [
        ("silent", ClientEffect::Close(LEFT_SILENT), ClientEffect::Close(LEFT_SILENT)),
        ("waiting", ClientEffect::Nothing, ClientEffect::Nothing),
        ("opening", ClientEffect::Nothing, ClientEffect::Nothing),
        ("open", ClientEffect::Nothing, ClientEffect::Nothing),
        ("ending", ClientEffect::Nothing, unread),
        ("lingering", in_order, in_order),
    ] {
        let mut client = client(state, now);
        assert_eq!(client.finished(now), Some(finished), "{state}");
        assert_eq!(client.finished(now), None, "{state}: known");
        assert_eq!(client.wants_bytes(|_| usize::MAX), 0, "{state}: it has sent its last byte");
        assert_eq!(client.gone(), gone, "{state}");
        assert_eq!(name(&client), state, "it stays where it was");
    }
}

#[test]
fn an_end_is_given_once_everything_is_written_and_in_order_only_if_all_its_bytes_were_taken() {
    let now = now();
    for state in ["opening", "open"] {
        for (left, unsent, closed, effects) in [
            (0, 0, false, vec![ClientEffect::Finish, ClientEffect::Nothing]),
            (0, 0, true, vec![ClientEffect::Finish, ClientEffect::Close(SERVER_CLOSED)]),
            (0, 5, true, vec![ClientEffect::Finish, ClientEffect::ResetWithLoss(5)]),
            (
                2,
                0,
                true,
                vec![ClientEffect::Nothing, ClientEffect::Finish, ClientEffect::Close(SERVER_CLOSED)],
            ),
            (2, 5, true, vec![ClientEffect::Nothing, ClientEffect::Finish, ClientEffect::ResetWithLoss(5)]),
        ] {
            let mut client = client(state, now);
            if closed {
                client.finished(now);
            }
            let mut seen = vec![client.stream_ended(SocketEnd::Eof, rest(left), unsent, now)];
            if left > 0 {
                assert_eq!(client.rest().len(), left);
                seen.extend(client.written(left, now).err());
            }
            seen.push(client.given_the_end());
            assert_eq!(seen, effects, "{state}, {left} bytes left, {unsent} unsent, closed: {closed}");
            assert_eq!(name(&client), "lingering");
        }
    }
}

#[test]
fn a_client_that_is_gone_is_not_written_to_any_more() {
    let now = now();
    for (unsent, effect) in
        [(0, ClientEffect::Close("both sides closed")), (7, ClientEffect::ResetWithLoss(7))]
    {
        let mut client = client("open", now);
        client.finished(now);
        client.gone();
        assert_eq!(client.stream_ended(SocketEnd::Eof, rest(3), unsent, now), effect);
    }
    let mut cut = client("open", now);
    assert_eq!(
        cut.stream_ended(SocketEnd::Cut(Cut::Silent), rest(3), 0, now),
        ClientEffect::ResetCut(Cut::Silent)
    );
    assert_eq!(cut.rest().len(), 3, "what came in order before the cut is still for it");
}

#[test]
fn what_is_written_comes_from_the_socket_as_long_as_there_is_one() {
    let now = now();
    for state in STATES {
        let mut client = client(state, now);
        let expected = match state {
            "opening" | "open" => Ok(socket()),
            "ending" => Err(ClientEffect::Finish),
            _ => Err(ClientEffect::Nothing),
        };
        let count = usize::from(matches!(state, "opening" | "open" | "ending"));
        assert_eq!(client.written(count, now), expected, "{state}");
        assert_eq!(client.down_bytes(), count as u64);
    }
}

#[test]
fn each_state_has_its_own_limit_of_time() {
    let start = now();
    let at = |second| start + Duration::from_secs(second);
    let view = View { is_draining: false, hides_relief: false, open_due_since: None };
    for (state, closed, second, limit) in [
        ("waiting", false, 30, Limit::Queue),
        ("open", true, 60, Limit::HalfClosed),
        ("ending", false, 60, Limit::Unread),
    ] {
        let mut client = client(state, start);
        if closed {
            client.finished(start);
        }
        client.queue(0, at(second - 1));
        assert!(!matches!(client.due(view, at(second - 1)), ClientEffect::Over(_)), "{state}");
        client.queue(0, at(second));
        assert_eq!(client.due(view, at(second)), ClientEffect::Over(limit), "{state}");
    }
    for state in ["silent", "opening", "open"] {
        assert_eq!(client(state, start).deadline(view), None, "{state} has none unless an option sets it");
    }
    let mut lingering = client("lingering", start);
    assert_eq!(lingering.due(view, at(10)), ClientEffect::Close(SERVER_CLOSED), "it did not close by itself");
    let draining = View { is_draining: true, ..view };
    assert_eq!(lingering.deadline(draining), Some(at(1)), "the process does not wait so long for it");
    lingering.received(b"abc", start);
    assert_eq!(lingering.due(view, at(10)), ClientEffect::ResetWithLoss(3));
}

#[test]
fn a_limit_holds_only_once_it_is_known_that_nothing_has_moved() {
    let start = now();
    let at = |second| start + Duration::from_secs(second);
    let view = View { is_draining: false, hides_relief: false, open_due_since: None };
    let mut slow = client("ending", start);
    assert_eq!(slow.due(view, at(60)), ClientEffect::Ask);
    slow.down_bytes = 1000;
    slow.queue(400, at(60));
    assert_eq!(slow.due(view, at(60)), ClientEffect::Nothing, "it has read 600 of them meanwhile");
    slow.queue(400, at(120));
    assert_eq!(slow.due(view, at(120)), ClientEffect::Over(Limit::Unread));
}

#[test]
fn a_client_that_does_not_read_holds_up_others_for_a_second_where_it_hides_their_relief() {
    let start = now();
    let at = |second| start + Duration::from_secs(second);
    let mut client = client("open", start);
    client.set_holds_up_port(true, start);
    client.set_holds_up_port(true, at(1));
    client.queue(0, at(1));
    let view = |hides_relief| View { is_draining: false, hides_relief, open_due_since: None };
    assert_eq!(client.due(view(false), at(1)), ClientEffect::Nothing);
    assert_eq!(client.due(view(true), at(1)), ClientEffect::Over(Limit::HoldsUp), "since it was first seen");
    client.set_holds_up_port(false, at(1));
    assert_eq!(client.due(view(true), at(1)), ClientEffect::Nothing);
}

#[test]
fn a_half_closed_client_is_looked_for_less_and_less_often() {
    let start = now();
    let view = View { is_draining: false, hides_relief: false, open_due_since: None };
    let mut client = client("opening", start);
    client.finished(start);
    let mut pauses = Vec::new();
    let mut before = start;
    for _ in 0..10 {
        let at = client.deadline(view).expect("it is looked for");
        assert_eq!(client.due(view, at), ClientEffect::Look);
        pauses.push((at - before).as_millis());
        before = at;
    }
    assert_eq!(pauses[..5], [100, 100, 200, 400, 800]);
    assert_eq!(pauses[9], 5000);
    client.gone();
    assert_eq!(client.deadline(view), None);
}

#[test]
fn the_socket_of_a_client_that_has_left_or_sent_everything_may_be_taken_back() {
    let now = now();
    for (state, finished, gone, unsent, expected) in [
        ("open", false, false, 0, false),
        ("open", true, false, 0, true),
        ("open", true, false, 1, false),
        ("open", true, true, 1, false),
        ("opening", true, false, 1, false),
        ("opening", true, true, 1, true),
        ("waiting", true, true, 0, false),
        ("ending", true, false, 0, false),
    ] {
        let mut client = client(state, now);
        if finished {
            client.finished(now);
        }
        if gone {
            client.gone();
        }
        let context = format!("{state}, finished: {finished}, gone: {gone}, {unsent} unsent");
        assert_eq!(client.is_reclaimable(|_| unsent == 0), expected, "{context}");
    }
}

#[test]
fn what_the_module_takes_is_counted_once_and_what_it_takes_or_gives_is_movement() {
    let start = now();
    let later = start + Duration::from_secs(1);
    let up = Carried { up_bytes: 10, ..Carried::default() };
    // What it gives is movement too: a client that reads nothing is not idle while bytes come for it.
    let down = Carried { down_bytes: 10, ..Carried::default() };
    for (carried, up_bytes) in [(up, 10), (down, 0)] {
        let mut client = client("open", start);
        assert_eq!(client.carried(|_| carried, later).bytes, up_bytes);
        assert_eq!(client.carried(|_| carried, later + Duration::from_secs(1)).bytes, 0);
        assert_eq!((client.up_bytes(), client.last_byte), (up_bytes, later));
    }
}

/// A datagram session that waits for a socket.
fn session(now: Instant) -> Client {
    let mut tunnel = test_tunnel();
    tunnel.transport = crate::settings::Transport::Udp;
    tunnel.limits.open_on = OpenOn::FirstByte;
    tunnel.limits.idle_timeout = Duration::from_secs(60);
    Client::new(1, Arc::new(tunnel), "a:1".parse().expect("a target"), "peer".into(), now)
}

#[test]
fn a_session_keeps_whole_datagrams_until_it_has_a_socket_and_says_what_it_dropped() {
    let now = now();
    let mut client = session(now);
    assert!(client.is_waiting(), "it begins with a datagram");
    let no_socket = |_| panic!("it has none");
    let mut counts = Datagrams::default();
    for length in [3, 0, 5, 1_461, 1_460] {
        counts += client.datagram_received(&vec![b'x'; length], 1_460, no_socket, now).into();
    }
    for _ in 0..6 {
        counts += client.datagram_received(b"more", 1_460, no_socket, now).into();
    }
    assert_eq!(counts, Dropped { empty: 1, long: 1, full: 1, ..Dropped::default() }.into());
    let mut early = client.attached_to(socket(), now);
    let mut lengths = Vec::new();
    while !early.is_empty() {
        lengths.push(early.as_slice().len());
        early.consume(early.as_slice().len());
    }
    assert_eq!(lengths, [3, 5, 1_460, 4, 4, 4, 4, 4]);
}

#[test]
fn what_becomes_of_each_datagram_of_a_session_is_counted_once() {
    let now = now();
    let mut client = session(now);
    client.attached_to(socket(), now);
    client.opened(now);
    for has_room in [true, true, true, false] {
        let dropped = client.datagram_received(b"abc", 1_460, |_| has_room, now);
        client.count(dropped.into());
    }
    let carried = Carried {
        up_bytes: 6,
        up_datagrams: 2,
        down_bytes: 9,
        down_datagrams: 3,
        full_datagrams: 1,
        ..Carried::default()
    };
    let taken = client.carried(|_| carried, now);
    client.count(taken.datagrams);
    client.written(3, now).expect("its socket");
    client.count(Datagrams { down: 1, ..Datagrams::default() });
    client.count(Dropped { undelivered: 1, ..Dropped::default() }.into());
    let left = client.left();
    assert_eq!(left, Dropped { unsent: 1, undelivered: 1, ..Dropped::default() });
    client.count(left.into());
    assert_eq!(client.left(), Dropped::default(), "once");
    let dropped = Dropped { full: 2, unsent: 1, undelivered: 2, ..Dropped::default() };
    assert_eq!(client.datagrams, Datagrams { up: 2, down: 1, dropped });
    assert_eq!(
        client.account("idle", now),
        "peer to udp://a:1: 2 datagrams (6 bytes) up, 1 datagram (3 bytes) down, 2 dropped (full), 1 dropped (unsent), \
         2 dropped (undelivered), 0.0 s: idle"
    );
}

#[test]
fn a_session_that_is_over_is_closed_when_its_last_datagram_is_delivered() {
    let now = now();
    let ends = |rest: Queue| {
        let mut client = session(now);
        client.attached_to(socket(), now);
        client.opened(now);
        let effect = client.stream_ended(SocketEnd::Eof, rest, 7, now);
        (client, effect)
    };
    let closed = ClientEffect::Close("the connection was closed");
    assert_eq!(ends(Queue::datagrams(8)).1, closed);
    let mut rest = Queue::datagrams(8);
    rest.append(b"last");
    let (mut client, effect) = ends(rest);
    assert_eq!((effect, client.rest()), (ClientEffect::Nothing, &b"last"[..]));
    assert_eq!(client.output_taken(4, now), Err(closed));
}

#[test]
fn a_session_ends_when_it_is_idle_and_soon_when_the_process_is_to_end_and_nothing_is_asked_before() {
    let now = now();
    let mut client = session(now);
    client.attached_to(socket(), now);
    client.opened(now);
    for (is_draining, limit, after) in [(false, Limit::Idle, 60), (true, Limit::ShuttingDown, 1)] {
        let view = View { is_draining, hides_relief: false, open_due_since: None };
        let due = now + Duration::from_secs(after);
        assert_eq!(client.deadline(view), Some(due));
        assert_eq!(client.due(view, due), ClientEffect::Over(limit));
    }
    assert_eq!(client.finished(now), None, "it has no half to close");
}
