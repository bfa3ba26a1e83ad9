//! The diagram of a channel, state by state, and what each step gives back.

use super::*;
use crate::at::{CommandOutcome, Numbers, Urc};
use crate::test_clock::now;

const LINE: Line = Line { baud: 115_200, is_uart: true, is_paced: true, is_shared: false };
const PATIENCE: Patience = Patience { usual: Duration::from_secs(5), send: Duration::from_secs(60) };

fn socket(number: u32) -> SocketId {
    SocketId::new(number).expect("there is such a socket")
}

/// A channel in each of its states.
fn closed() -> Channel {
    Channel::new(115_200, 1_024, now())
}

fn resync() -> Channel {
    let mut channel = closed();
    channel.port_opened(LINE, now());
    channel
}

fn command() -> Channel {
    let mut channel = resync();
    channel.answers(115_200);
    channel
}

fn data() -> Channel {
    let mut channel = command();
    channel.becomes(Stream::new(Some(socket(3)), true, stream::Exit::Dtr, None, now()));
    channel
}

fn name(channel: &Channel) -> &'static str {
    match channel.state() {
        ChannelState::Closed => "closed",
        ChannelState::Resync(_) => "resync",
        ChannelState::Command => "command",
        ChannelState::Data(_) => "data",
    }
}

#[test]
fn each_event_leads_to_the_state_that_the_diagram_shows() {
    type Event = fn(&mut Channel);
    type Row = (fn() -> Channel, Event, &'static str);
    let opened: Event = |it| it.port_opened(LINE, now());
    let closes: Event = |it| drop(it.port_closed());
    let silent: Event = |it| drop(it.bring_back(false, now()));
    let garbled: Event = |it| drop(it.bring_back(true, now()));
    let rebooted: Event = |it| drop(it.rebooted(now()));
    let answers: Event = |it| assert!(!it.answers(115_200));
    let connect: Event = |it| it.becomes(Stream::new(None, true, stream::Exit::Dtr, None, now()));
    let left: Event = |it| drop(it.leave_stream(now()));
    let over: Event = |it| drop(it.stream_is_over(true, now()));
    let table: [Row; 17] = [
        (closed, opened, "resync"),
        (resync, answers, "command"),
        (resync, closes, "closed"),
        (resync, rebooted, "resync"),
        (resync, connect, "data"),
        (resync, left, "resync"),
        (resync, over, "resync"),
        (command, silent, "resync"),
        (command, garbled, "resync"),
        (command, rebooted, "resync"),
        (command, connect, "data"),
        (command, closes, "closed"),
        (command, left, "command"),
        (data, left, "command"),
        (data, over, "resync"),
        (data, rebooted, "resync"),
        (data, closes, "closed"),
    ];
    for (row, (from, event, to)) in table.into_iter().enumerate() {
        let mut channel = from();
        event(&mut channel);
        assert_eq!(name(&channel), to, "row {row}, from {}", name(&from()));
    }
}

#[test]
fn a_stream_that_nobody_wants_goes_on_being_brought_back_when_it_is_left() {
    let mut channel = command();
    channel.becomes(Stream::new(None, true, stream::Exit::Dtr, None, now()));
    channel.leave_stream(now());
    assert_eq!(name(&channel), "resync");
}

#[test]
fn a_port_that_was_lost_as_a_stream_is_escaped_before_it_is_asked_until_it_has_answered() {
    let first_remedy = |channel: &mut Channel| {
        let ChannelState::Resync(resync) = channel.state() else { panic!("it is brought back") };
        channel.resync_due(resync.deadline())
    };
    let mut channel = data();
    channel.port_closed();
    channel.port_opened(LINE, now());
    assert!(matches!(first_remedy(&mut channel), ResyncEffect::Escape(_)));
    channel.answers(115_200);
    channel.port_closed();
    channel.port_opened(LINE, now());
    assert!(matches!(first_remedy(&mut channel), ResyncEffect::Ask(_)));
}

#[test]
fn what_was_in_flight_is_given_back_whatever_ends_it() {
    let ends: [fn(&mut Channel) -> Option<InFlight>; 4] = [
        |it| it.bring_back(false, now()),
        |it| it.bring_back(true, now()),
        |it| it.rebooted(now()),
        |it| it.port_closed(),
    ];
    for end in ends {
        let mut channel = command();
        channel.start(Command::line("AT+CSQ"), Origin::Session, PATIENCE, now());
        assert!(!channel.is_idle());
        assert_eq!(end(&mut channel).map(|it| it.origin), Some(Origin::Session));
        assert!(channel.in_flight().is_none());
    }
}

#[test]
fn a_modem_that_answers_at_another_speed_than_before_must_have_rebooted() {
    let mut channel = command();
    assert!(!channel.answers(115_200), "the same speed");
    assert!(channel.answers(9_600), "another speed");
    let mut new = resync();
    assert!(!new.answers(9_600), "it has never answered before");
}

#[test]
fn an_answer_is_handed_over_whole_with_the_command_it_belongs_to() {
    let mut channel = command();
    channel.start(Command::line("AT+CSQ"), Origin::Session, PATIENCE, now());
    let mut input = &b"\r\n+CSQ: 23,99\r\n\r\n+QIND: \"act\"\r\n\r\nOK\r\n"[..];
    let mut events = Vec::new();
    while !input.is_empty() {
        events.push(
            channel
                .receive(&mut input, crate::at::Numbers::default(), now(), &mut |_, _| panic!("no payload")),
        );
    }
    let answers = events.into_iter().filter_map(|event| match event {
        ChannelEvent::Answered(answered) => Some((answered.outcome, answered.answer.lines)),
        _ => None,
    });
    assert_eq!(answers.collect::<Vec<_>>(), [(CommandOutcome::Ok, vec!["+CSQ: 23,99".to_owned()])]);
    assert!(channel.in_flight().is_none());
}

#[test]
fn payload_goes_to_the_socket_that_the_modem_named_and_to_nobody_else() {
    for (whose, expected) in [(Some(socket(4)), &b"abcd"[..]), (None, b"")] {
        let mut channel = command();
        let mut input = &b"\r\n+QSSLURC: \"recv\",4,4\r\nabcd"[..];
        let mut got = Vec::new();
        while !input.is_empty() {
            let event =
                channel.receive(&mut input, crate::at::Numbers::default(), now(), &mut |id, bytes| {
                    assert_eq!(id, socket(4));
                    got.extend_from_slice(bytes);
                });
            if let ChannelEvent::Urc(Urc::Pushed(..)) = event {
                channel.payload_is_for(whose);
            }
        }
        assert_eq!(got, expected);
    }
}

#[test]
fn a_send_leaves_only_after_its_prompt_and_exactly_as_long_as_announced() {
    let mut channel = command();
    let outgoing = b"twelve bytes and more";
    let out = |channel: &Channel| channel.output(|_| &outgoing[..]).to_vec();
    channel.start(
        Command::Send { set: crate::at::CommandSet::Ssl, socket: socket(2), length: 12 },
        Origin::Socket,
        PATIENCE,
        now(),
    );
    let line = out(&channel);
    assert_eq!(line, b"AT+QSSLSEND=2,12\r");
    assert_eq!(channel.written(line.len(), |_| outgoing, now()), None);
    assert_eq!(out(&channel), b"", "nothing before the prompt");
    let mut input = &b"\r\n> "[..];
    while !input.is_empty() {
        channel.receive(&mut input, crate::at::Numbers::default(), now(), &mut |_, _| {});
    }
    assert_eq!(out(&channel), b"twelve bytes");
    channel.written(5, |_| outgoing, now());
    assert_eq!(out(&channel), b"e bytes");
    channel.written(7, |_| outgoing, now());
    assert_eq!(out(&channel), b"");
}

/// At 9600 bit/s, with what is pushed copied to every channel, an open was given up after seven seconds, and the module then
/// counted as silent.
#[test]
fn an_answer_waits_its_turn_where_every_channel_has_much_to_send() {
    for (is_shared, waits) in [(true, true), (false, false)] {
        let (start, baud) = (now(), 9_600);
        let mut channel = closed();
        channel.port_opened(Line { baud, is_uart: false, is_paced: true, is_shared }, start);
        channel.answers(baud);
        channel.start(Command::line("AT+QIACT?"), Origin::Session, PATIENCE, start);
        // A quarter of the line.
        for step in 1..=100 {
            channel.bytes_taken(24, start + Duration::from_millis(100) * step);
        }
        let due = channel.in_flight().expect("it is not answered").deadline.due();
        assert_eq!(due > start + Duration::from_secs(14), waits, "shared: {is_shared}");
    }
}

#[test]
fn a_send_without_prompt_is_settled_before_it_can_be_filled_by_what_is_asked() {
    let mut channel = command();
    channel.leaves_unprompted(socket(1), 10);
    assert!(!channel.may_fill(Some(4)), "four of ten");
    assert!(!channel.may_fill(Some(5)), "nine of ten");
    assert!(channel.may_fill(Some(4)), "it could be full");
    assert!(channel.may_fill(None), "an unknown number");
    assert_eq!(channel.take_unprompted(), Some(socket(1)));
    assert!(!channel.may_fill(None), "nothing waits");
}

#[test]
fn noise_on_a_quiet_line_counts_until_text_comes() {
    let mut channel = command();
    let mut at = now();
    let mut comes = |channel: &mut Channel, bytes: &[u8]| {
        at += Duration::from_secs(2);
        channel.bytes_come(at);
        let mut input = bytes;
        while !input.is_empty() {
            channel.receive(&mut input, Numbers::default(), at, &mut |_, _| {});
        }
        channel.bytes_taken(bytes.len(), at);
    };
    let noises = [&b"\x8D\xEC\xB1"[..], b"\xE8R\x80\r\n"];
    for text in ["\r\nRING\r\n", "\r\n+QIURC: \"closed\",3\r\n", "\r\n+CREG: 1\r\n"] {
        for noise in noises {
            comes(&mut channel, noise);
            comes(&mut channel, noise);
            assert!(!channel.hears_noise(), "twice may be chance");
            comes(&mut channel, noise);
            assert!(channel.hears_noise());
            comes(&mut channel, text.as_bytes());
            assert!(!channel.hears_noise(), "{text}");
        }
    }
}

#[test]
fn what_is_left_from_before_the_port_was_opened_is_told_once() {
    let left = [b'x'; 3_000];
    let comes = |channel: &mut Channel| {
        let (mut input, mut told) = (&left[..], Vec::new());
        while !input.is_empty() {
            let event = channel.receive(&mut input, Numbers::default(), now(), &mut |_, _| {});
            if matches!(event, ChannelEvent::Malformed(_)) {
                told.push(channel.leftovers_came());
            }
        }
        told
    };
    let mut channel = resync();
    assert_eq!(comes(&mut channel), [Some(true)]);
    assert_eq!(channel.leftovers_came(), Some(false));
    channel.port_opened(LINE, now());
    assert_eq!(channel.leftovers_came(), Some(true), "after the next replug it is news again");
    // A modem that has answered sends nothing without a reason.
    let mut channel = command();
    assert_eq!(comes(&mut channel), [None]);
    let mut channel = resync();
    channel.wire_mut().next(&["ATE0".to_owned()]);
    assert_eq!(channel.leftovers_came(), None);
}
