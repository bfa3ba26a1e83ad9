//! Tables of phase × event → phase and what follows: opening, closing, needs and sending.

use super::*;
use crate::at::CmeError;
use need::Ask;

/// Every phase, those of an open by its stages.
const PHASES: [&str; 19] = [
    "unknown",
    "foreign",
    "free",
    "due",
    "in flight",
    "awaited",
    "abandoned",
    "proving",
    "proving stream",
    "refused",
    "close first",
    "again",
    "open",
    "stream",
    "confirming end",
    "closing",
    "closing at eof",
    "confirming eof",
    "checking",
];

/// A socket in this phase. Its client is attached, unless that is against the phase.
fn socket(phase: &str, now: Instant) -> Socket {
    let mut socket = match phase {
        "unknown" => Socket::new(true, now),
        "foreign" => Socket::new(false, now),
        "free" | "due" => fresh(now),
        "in flight" | "awaited" | "abandoned" | "proving" | "refused" | "close first" | "again" => {
            opening(Mode::Push, now)
        }
        "proving stream" | "stream" | "confirming end" => opening(Mode::Transparent, now),
        _ => open(Mode::Push, now),
    };
    let ok = CommandOutcome::Ok;
    match phase {
        "due" => socket.begin(
            tunnel(Mode::Push),
            "a:1".parse().expect("a target"),
            SslContextId::all().next(),
            Holder::Client,
            now,
        ),
        "awaited" => assert_eq!(socket.open_answered(0, ok), OpenAnswer::Pending),
        "abandoned" => {
            socket.open_answered(0, ok);
            socket.detach();
            socket.close_or_free(GiveUp::Abort, ending());
        }
        "proving" => assert_eq!(socket.open_result(0, true, now), OpenResult::Proving),
        "refused" => {
            socket.open_answered(0, CommandOutcome::Refused(Refusal::Plain));
        }
        "close first" => assert_eq!(socket.open_result(563, false, now), OpenResult::Again),
        "again" => assert_eq!(socket.open_result(568, false, now), OpenResult::Again),
        "proving stream" => socket.stream_begins(3),
        "stream" | "confirming end" => {
            socket.stream_begins(3);
            socket.opened(now);
            if phase == "confirming end" {
                socket.stream_ended();
            }
        }
        "closing" => socket.close(0),
        "closing at eof" | "confirming eof" => {
            socket.closed(now);
            socket.witnessed(Witness::Ended, now).expect("it has ended in order");
            if phase == "confirming eof" {
                socket.close_answered(0, false, true, form(), 0b11, now);
            }
        }
        "checking" => {
            socket.close(0);
            socket.close_answered(0, false, true, form(), 0b11, now);
        }
        _ => {}
    }
    assert_eq!(name(&socket), phase);
    socket
}

/// The phase by its name in [`PHASES`].
fn name(socket: &Socket) -> &'static str {
    match &socket.phase {
        Phase::Unknown => "unknown",
        Phase::Foreign => "foreign",
        Phase::Free => "free",
        Phase::Opening(opening) => match opening.stage() {
            OpenStage::Due => "due",
            OpenStage::InFlight { .. } => "in flight",
            OpenStage::Awaited { .. } => "awaited",
            OpenStage::Abandoned { .. } => "abandoned",
            OpenStage::Proving { stream: None, .. } => "proving",
            OpenStage::Proving { stream: Some(_), .. } => "proving stream",
            OpenStage::Refused { .. } => "refused",
            OpenStage::CloseFirst => "close first",
            OpenStage::Again { .. } => "again",
        },
        Phase::Open(open) if open.flow().is_stream() => "stream",
        Phase::Open(_) => "open",
        Phase::ConfirmingEnd(_) => "confirming end",
        Phase::Closing(closing) if closing.confirms_eof() => "closing at eof",
        Phase::Closing(_) => "closing",
        Phase::ConfirmingEof(_) => "confirming eof",
        Phase::Checking { .. } => "checking",
    }
}

/// Checks that `event` leads to these phases, and from every other one nowhere.
fn leads(event: impl Fn(&mut Socket), changes: &[(&str, &str)], now: Instant) {
    for before in PHASES {
        let mut socket = socket(before, now);
        event(&mut socket);
        let after = changes.iter().find(|(from, _)| *from == before).map_or(before, |(_, to)| *to);
        assert_eq!(name(&socket), after, "from {before}");
    }
}

#[test]
fn whatever_its_phase_a_socket_that_is_no_longer_wanted_ends_up_free() {
    let now = now();
    let gives_up = |socket: &mut Socket| {
        let is_stream = matches!(name(socket), "stream" | "proving stream");
        let left = socket.close_or_free(GiveUp::Abort, ending());
        assert_eq!(left, is_stream.then_some(3), "data mode has to be left first");
    };
    let changes = [
        ("due", "free"),
        ("awaited", "abandoned"),
        ("proving", "closing"),
        ("proving stream", "stream"),
        ("close first", "closing"),
        ("again", "closing"),
        ("open", "closing"),
        ("confirming end", "closing"),
        ("closing at eof", "closing"),
        ("confirming eof", "checking"),
    ];
    leads(gives_up, &changes, now);
    // At the end of the process no open is waited for.
    let releases = |socket: &mut Socket| {
        socket.close_or_free(GiveUp::Abort, Ending { is_releasing: true, ..ending() });
    };
    let mut changes: Vec<_> = changes.into_iter().filter(|(from, _)| *from != "awaited").collect();
    changes.extend(["in flight", "awaited", "abandoned", "refused"].map(|stage| (stage, "closing")));
    leads(releases, &changes, now);
}

#[test]
fn a_lost_session_leaves_every_socket_unknown_and_a_lost_port_has_it_closed() {
    let now = now();
    let unknown: Vec<_> = PHASES.iter().filter(|it| **it != "foreign").map(|it| (*it, "unknown")).collect();
    leads(Socket::session_lost, &unknown, now);
    for phase in ["in flight", "proving", "proving stream", "open", "stream", "confirming end"] {
        let mut socket = socket(phase, now);
        socket.port_lost(0);
        assert_eq!(name(&socket), "closing", "{phase}");
    }
}

#[test]
fn the_urc_of_an_open_counts_only_while_its_result_is_awaited() {
    let now = now();
    for phase in PHASES {
        for result in [0, 566] {
            let mut socket = socket(phase, now);
            let (answer, after) = match (phase, result) {
                ("free" | "checking", 0) => (UrcOpened::Late, "closing"),
                ("awaited" | "abandoned", _) => (UrcOpened::Result, phase),
                (
                    "due" | "in flight" | "proving" | "proving stream" | "refused" | "close first" | "again",
                    _,
                ) => (UrcOpened::Nothing, phase),
                _ => (UrcOpened::Another, phase),
            };
            assert_eq!((socket.urc_opened(result), name(&socket)), (answer, after), "{phase}, {result}");
        }
    }
}

#[test]
fn the_answer_to_an_open_decides_what_is_waited_for() {
    let now = now();
    let code = |text: &str| CommandOutcome::Refused(Refusal::Cme(CmeError(text.to_owned())));
    for (outcome, answer, after) in [
        (CommandOutcome::Ok, OpenAnswer::Pending, "awaited"),
        (CommandOutcome::Refused(Refusal::Plain), OpenAnswer::Pending, "refused"),
        (code("563"), OpenAnswer::Result(563), "in flight"),
        (CommandOutcome::NoCarrier, OpenAnswer::Failed(OpenFailure::Refused(Refusal::Plain)), "in flight"),
    ] {
        let mut socket = socket("in flight", now);
        assert_eq!(socket.open_answered(0, outcome.clone()), answer, "{outcome:?}");
        assert_eq!(name(&socket), after, "{outcome:?}");
    }
    let mut left = socket("in flight", now);
    left.detach();
    left.open_answered(0, CommandOutcome::Ok);
    assert_eq!(name(&left), "abandoned", "its client has left meanwhile");
}

#[test]
fn a_close_frees_the_number_or_lets_the_open_go_on() {
    let now = now();
    for (before, is_refused, answer, after) in [
        ("abandoned", false, CloseAnswer::OpenEnded { since: now }, "checking"),
        ("abandoned", true, CloseAnswer::OpenGoesOn, "abandoned"),
        ("close first", false, CloseAnswer::Nothing, "again"),
        ("close first", true, CloseAnswer::Nothing, "again"),
        ("closing", false, CloseAnswer::Closed { never_timed: false }, "checking"),
        (
            "closing",
            true,
            CloseAnswer::Refused { tries: 1, was_eof: false, may_be_opening: false },
            "checking",
        ),
        ("closing at eof", false, CloseAnswer::Closed { never_timed: false }, "confirming eof"),
        (
            "closing at eof",
            true,
            CloseAnswer::Refused { tries: 1, was_eof: true, may_be_opening: false },
            "checking",
        ),
        ("open", false, CloseAnswer::Nothing, "open"),
        ("checking", true, CloseAnswer::Nothing, "checking"),
        ("free", false, CloseAnswer::Nothing, "free"),
    ] {
        let mut socket = socket(before, now);
        let context = format!("{before}, refused: {is_refused}");
        assert_eq!(socket.close_answered(0, is_refused, true, form(), 0b11, now), answer, "{context}");
        assert_eq!(name(&socket), after, "{context}");
        if is_refused && before.starts_with("closing") {
            socket.check_answered(0, true, 0b11, now);
            assert_eq!(name(&socket), "closing", "{context}: its client has learnt of its end meanwhile");
        }
    }
}

/// The number was once counted as one that the module never closes, and connections of clients were cut for it.
#[test]
fn a_module_may_refuse_to_close_what_it_is_still_opening() {
    let now = now();
    for (has_result, after, may_be_opening) in
        [(false, 0, true), (false, 149, true), (false, 150, false), (true, 0, false)]
    {
        let mut socket = socket("awaited", now);
        socket.open_failed(has_result, now);
        for tries in 1..=3 {
            let at = now + Duration::from_secs(after);
            let refused = CloseAnswer::Refused { tries, was_eof: false, may_be_opening };
            let answer = socket.close_answered(0, true, true, form(), 0b11, at);
            assert_eq!(answer, refused, "{has_result}, after {after} s");
            socket.check_answered(0, true, 0b11, at);
        }
    }
}

/// A module that closes a connection only by the channel that opened it had opened it in an earlier try, by another channel
/// than the last.
#[test]
fn a_close_that_its_opener_is_refused_is_tried_by_every_channel_in_turn() {
    let now = now();
    let mut socket = socket("closing", now);
    let mut by = Vec::new();
    for _ in 0..4 {
        let port = (0..3).find(|port| socket.is_best_closed_by(*port, 0b111)).expect("there is one");
        by.push(port);
        socket.close_answered(port, true, false, form(), 0b111, now);
        socket.check_answered(port, true, 0b111, now);
    }
    assert_eq!(by, [0, 1, 2, 0]);
}

/// The client was once told that its end is uncertain before the other form was tried.
#[test]
fn an_end_is_judged_when_both_forms_of_a_close_are_refused() {
    let now = now();
    let unknown = CloseForm { time: CloseTime::Unknown, orderly_seconds: 10 };
    for is_refused in [false, true] {
        let mut socket = socket("closing at eof", now);
        assert_eq!(socket.close_answered(0, true, true, unknown, 0b11, now), CloseAnswer::Nothing);
        let asked = socket.need(&View { close: unknown, ..view(0, now) }).map(|need| need.ask);
        assert_eq!((name(&socket), asked), ("closing at eof", Some(Ask::Close(None))));
        let expected = match is_refused {
            true => (CloseAnswer::Refused { tries: 2, was_eof: true, may_be_opening: false }, "checking"),
            false => (CloseAnswer::Closed { never_timed: true }, "confirming eof"),
        };
        let answer = socket.close_answered(0, is_refused, false, unknown, 0b11, now);
        assert_eq!((answer, name(&socket)), expected);
    }
}

/// Its result may have been taken for another program's text. Its client once waited until its time was over.
#[test]
fn an_open_is_asked_about_once_something_comes_that_only_an_open_socket_has() {
    let now = now();
    let events: [fn(&mut Socket, Instant); 3] = [
        |socket, _| socket.announced(),
        |socket, now| socket.closed(now),
        |socket, now| socket.received(now).expect("it is being opened"),
    ];
    for event in events {
        let mut socket = socket("awaited", now);
        assert_eq!(asks(&socket, 0, now), None);
        event(&mut socket, now);
        assert_eq!((name(&socket), asks(&socket, 0, now)), ("awaited", Some(Ask::State)));
        assert!(socket.open_was_asked() && !socket.open_was_asked());
        assert_eq!(asks(&socket, 0, now), None, "once");
    }
    // Nothing comes of a server that waits for the client: its own text is enough.
    let mut socket = socket("awaited", now);
    socket.text_came(now);
    assert_eq!(asks(&socket, 0, now), None, "the text goes on");
    let due = socket.deadline(false, Some).expect("it is due later");
    socket.text_came(due);
    assert_eq!(asks(&socket, 0, due), Some(Ask::State), "whatever else comes");
    assert!(!socket.open_was_asked());
    assert_eq!(asks(&socket, 0, due), None, "once");
}

#[test]
fn a_number_that_is_not_free_yet_is_asked_about_again_and_closed_again_at_last() {
    let mut at = now();
    let mut socket = socket("checking", at);
    let mut questions = 0;
    loop {
        questions += 1;
        assert_eq!(asks(&socket, 0, at), Some(Ask::State));
        if socket.check_answered(0, true, 0b11, at) == Checked::ClosedAgain {
            break;
        }
        assert_eq!(asks(&socket, 0, at), None, "not at once");
        at = socket.deadline(false, Some).expect("it is asked again");
    }
    assert_eq!((questions, name(&socket)), (20, "closing"));
}

#[test]
fn a_number_that_is_open_in_both_sets_is_closed_in_both_whatever_comes_in_between() {
    let now = now();
    type Event = fn(&mut Socket, Instant);
    let cases: [(&str, Event); 7] = [
        ("nothing", |_, _| {}),
        ("its client leaves", |socket, _| {
            socket.close_or_free(GiveUp::Abort, ending());
        }),
        ("the port is lost", |socket, _| socket.port_lost(0)),
        ("it is refused, and is closed all the same", |socket, now| {
            socket.close_answered(0, true, true, form(), 0b11, now);
        }),
        ("it is refused, and still open", |socket, now| {
            socket.close_answered(0, true, true, form(), 0b11, now);
            socket.check_answered(0, true, 0b11, now);
        }),
        ("a late result", |socket, now| {
            socket.close_answered(0, false, true, form(), 0b11, now);
            assert_eq!(socket.urc_opened(0), UrcOpened::Late);
        }),
        ("it does not become free", |socket, now| {
            socket.close_answered(0, false, true, form(), 0b11, now);
            while socket.check_answered(0, true, 0b11, now) != Checked::ClosedAgain {}
        }),
    ];
    for (what, event) in cases {
        let mut socket = socket("unknown", now);
        assert!(socket.found(true, [CommandSet::Ssl, CommandSet::Ip].into_iter()));
        for set in [CommandSet::Ssl, CommandSet::Ip] {
            assert_eq!(socket.set(), set, "{what}");
            event(&mut socket, now);
            if name(&socket) == "closing" {
                socket.close_answered(0, false, true, form(), 0b11, now);
            }
            assert_eq!(
                (socket.check_answered(0, false, 0b11, now), name(&socket)),
                (Checked::FreeHere, "checking")
            );
            let is_last = set == CommandSet::Ip;
            let checked = socket.check_answered(1, false, 0b11, now);
            let expected = if is_last { (Checked::Free, "free") } else { (Checked::Nothing, "closing") };
            assert_eq!((checked, name(&socket)), expected, "{what}, {set:?}");
        }
    }
}

#[test]
fn what_a_socket_needs_follows_from_its_phase() {
    let now = now();
    for phase in PHASES {
        let needs = match phase {
            "confirming end" => Some((0, Ask::State)),
            "abandoned" | "close first" | "closing" | "closing at eof" => Some((1, Ask::Close(Some(0)))),
            "checking" => Some((2, Ask::State)),
            _ => None,
        };
        let mut socket = socket(phase, now);
        let need = socket.need(&view(0, now)).map(|need| (need.rank, need.ask));
        assert_eq!(need, needs, "{phase}");
        let unconfirmed = socket.need(&View { is_unconfirmed: true, ..view(0, now) });
        let waits = matches!(phase, "confirming end" | "closing at eof");
        assert_eq!(unconfirmed.is_some(), needs.is_some() && !waits, "{phase}, its stream may go on");
        socket.command_sent(1);
        assert_eq!(socket.need(&view(0, now)), None, "{phase}, with a command in flight");
    }
}

#[test]
fn bytes_are_taken_from_the_client_before_they_can_be_sent() {
    let now = now();
    for phase in PHASES {
        let mut socket = socket(phase, now);
        let takes = matches!(
            phase,
            "due"
                | "in flight"
                | "awaited"
                | "proving"
                | "proving stream"
                | "refused"
                | "close first"
                | "again"
                | "open"
                | "stream"
        );
        assert_eq!(socket.takes_bytes(), takes, "{phase}");
        socket.outgoing.append(b"bytes");
        assert_eq!(socket.wants_to_send(now), phase == "open", "{phase}");
        let is_opening = phase == "abandoned" || takes && !matches!(phase, "open" | "stream");
        assert_eq!(socket.sendable().is_empty(), is_opening, "{phase}");
        assert!(!socket.must_wake(), "{phase}");
    }
}

#[test]
fn a_failed_send_is_repeated_after_a_pause_that_doubles_to_a_second() {
    let mut at = now();
    let mut socket = socket("open", at);
    socket.outgoing.append(b"bytes");
    for pause in [500, 1000, 1000].map(Duration::from_millis) {
        socket.send_failed(0, 5, at).expect("it has not lasted long");
        assert!(!socket.awaits_send_ok(0, at + pause - Duration::from_millis(1)), "{pause:?}");
        at += pause;
        assert!(socket.awaits_send_ok(0, at), "{pause:?}");
    }
    socket.sent(5, now());
    assert_eq!((socket.sent_bytes, socket.outgoing.len(), socket.deadline(false, Some)), (5, 0, None));
}

#[test]
fn a_refused_send_is_not_repeated_and_the_server_is_asked_about() {
    let now = now();
    let mut socket = socket("open", now);
    socket.outgoing.append(b"bytes");
    socket.send_refused();
    assert!(!socket.wants_to_send(now));
    assert_eq!(asks(&socket, 0, now), Some(Ask::State));
    socket.drop_unwanted_bytes();
    assert_eq!(socket.outgoing.len(), 5, "it is still open");
}

#[test]
fn urcs_are_expected_of_what_is_open_in_the_modem_and_no_stream() {
    let now = now();
    for phase in PHASES {
        let socket = socket(phase, now);
        let told = matches!(phase, "in flight" | "awaited" | "abandoned" | "proving" | "open");
        assert_eq!(socket.is_told_by_urcs(), told, "{phase}");
        let opened = told || matches!(phase, "refused" | "close first" | "again");
        let by_opener = opened && phase != "abandoned";
        assert_eq!(socket.is_told_by(0, false), by_opener, "{phase}");
        assert!(!socket.is_told_by(1, false), "{phase}: it was opened by another port");
    }
}

#[test]
fn a_stream_that_its_client_does_not_get_is_left_before_its_socket_is_closed() {
    let now = now();
    leads(|socket| socket.opened(now), &OPENED, now);
    for (phase, after, stream) in [("proving stream", "stream", Some(3)), ("proving", "closing", None)] {
        let mut socket = socket(phase, now);
        socket.incoming.append(b"what it was sent");
        assert!(socket.open_failed(true, now), "its client waits for that");
        assert_eq!((name(&socket), socket.stream(), socket.incoming.len()), (after, stream, 0));
    }
}

/// What becomes of an open whose settings stand.
const OPENED: [(&str, &str); 9] = [
    ("due", "open"),
    ("in flight", "open"),
    ("awaited", "open"),
    ("abandoned", "open"),
    ("proving", "open"),
    ("proving stream", "stream"),
    ("refused", "open"),
    ("close first", "open"),
    ("again", "open"),
];

#[test]
fn the_end_of_a_stream_is_asked_about_once_its_client_has_it() {
    let now = now();
    let mut socket = socket("proving stream", now);
    socket.ask_beside();
    assert_eq!(asks(&socket, 0, now), None);
    socket.opened(now);
    assert_eq!(asks(&socket, 0, now), Some(Ask::State));
}

/// Its channel once waited for that answer for ever.
#[test]
fn the_end_of_a_stream_is_asked_about_also_where_its_client_does_not_get_it() {
    let now = now();
    let fails: fn(&mut Socket) = |socket| assert!(socket.open_failed(true, crate::test_clock::now()));
    let is_given_up: fn(&mut Socket) = |socket| {
        socket.detach();
        assert_eq!(socket.close_or_free(GiveUp::Abort, ending()), Some(3));
    };
    for ends in [fails, is_given_up] {
        let mut socket = socket("proving stream", now);
        socket.ask_beside();
        ends(&mut socket);
        assert_eq!((name(&socket), asks(&socket, 0, now)), ("stream", Some(Ask::State)));
    }
}
