//! State × event → state and what follows, for the whole of a socket.

use std::time::Duration;

use super::flow::INCOMING_HIGH_BYTES;
use super::sending::BACKOFF_MIN;
use super::*;
use crate::at::{AccessMode, Refusal, ResultCode, SslContextId};
use crate::failure::OpenFailure;
use crate::profile::CloseTime;
use crate::settings::Mode;
use crate::test_clock::now;

mod phases;

fn fresh(now: Instant) -> Socket {
    let mut socket = Socket::new(true, now);
    assert!(!socket.found(true, std::iter::empty()));
    assert!(socket.is_free());
    socket
}

fn tunnel(mode: Mode) -> Arc<Tunnel> {
    Arc::new(Tunnel { mode, ..crate::settings::test_tunnel() })
}

fn opener() -> Opener {
    Opener {
        port: 0,
        speaks_by: None,
        generation: 7,
        patience: Duration::from_secs(60),
        pushes_count: true,
        unanswering: 0,
        streams: 0,
    }
}

fn opening(mode: Mode, now: Instant) -> Socket {
    let mut socket = fresh(now);
    socket.begin(
        tunnel(mode),
        "a:1".parse().expect("a target"),
        SslContextId::all().next(),
        Holder::Client,
        now,
    );
    socket.open_sent(opener(), now);
    socket
}

fn open(mode: Mode, now: Instant) -> Socket {
    let mut socket = opening(mode, now);
    assert_eq!(socket.open_answered(0, CommandOutcome::Ok), OpenAnswer::Pending);
    assert_eq!(socket.urc_opened(0), UrcOpened::Result);
    assert_eq!(socket.open_result(0, false, now), OpenResult::Open);
    socket.opened(now);
    socket
}

fn form() -> CloseForm {
    CloseForm { time: CloseTime::UpTo(65_535), orderly_seconds: 10 }
}

fn ending() -> Ending {
    Ending { is_releasing: false, close_timeout_seconds: 10, speaking: 0b11 }
}

fn view(port: usize, now: Instant) -> View {
    View {
        port,
        speaking: 0b11,
        is_wanted: false,
        close: form(),
        closes_opening: None,
        is_unconfirmed: false,
        now,
    }
}

fn asks(socket: &Socket, port: usize, now: Instant) -> Option<need::Ask> {
    socket.need(&view(port, now)).map(|need| need.ask)
}

#[test]
fn the_urc_of_an_open_may_come_before_or_after_its_ok() {
    let now = now();
    let mut early = opening(Mode::Push, now);
    assert_eq!(early.urc_opened(0), UrcOpened::Nothing);
    assert_eq!(early.open_answered(0, CommandOutcome::Ok), OpenAnswer::Result(0));
    let mut late = opening(Mode::Push, now);
    assert_eq!(late.open_answered(0, CommandOutcome::Ok), OpenAnswer::Pending);
    assert!(late.awaits_open());
    assert_eq!(late.urc_opened(566), UrcOpened::Result);
}

#[test]
fn a_result_decides_once_and_busy_ones_are_tried_once_more() {
    let now = now();
    let failed = |code| OpenResult::Failed(OpenFailure::Code(ResultCode(code)));
    for (code, first, second) in [
        (566, failed(566), None),
        (563, OpenResult::Again, Some(failed(563))),
        (564, OpenResult::Again, Some(failed(564))),
        (568, OpenResult::Again, Some(failed(568))),
    ] {
        let mut socket = opening(Mode::Push, now);
        assert_eq!(socket.open_result(code, false, now), first, "{code}");
        if let Some(second) = second {
            assert_eq!(socket.open_result(code, false, now), second, "{code} again");
        }
    }
    let mut guarded = opening(Mode::Push, now);
    assert_eq!(guarded.open_result(0, true, now), OpenResult::Proving);
    assert_eq!(guarded.proving(), Some(7));
    assert!(guarded.opening().is_some(), "nothing of it is given out before that");
}

/// The result, bytes and end of a connection stood in another program's text, and the client waited for a minute.
#[test]
fn an_open_that_the_module_is_closing_is_closed_and_tried_once_more() {
    let now = now();
    let mut socket = opening(Mode::Buffer, now);
    socket.opens_again();
    assert!(!socket.awaits_open(), "its answer is awaited first");
    assert_eq!(socket.open_answered(0, CommandOutcome::Ok), OpenAnswer::Pending);
    socket.opens_again();
    assert_eq!(socket.opening().map(Opening::stage), Some(OpenStage::CloseFirst));
    assert_eq!(socket.open_result(563, false, now), OpenResult::Failed(OpenFailure::Code(ResultCode(563))));
}

#[test]
fn a_refusal_without_a_reason_is_asked_about() {
    let mut socket = opening(Mode::Push, now());
    let refused = CommandOutcome::Refused(Refusal::Plain);
    assert_eq!(socket.open_answered(1, refused), OpenAnswer::Pending);
    assert_eq!(socket.opening().map(Opening::stage), Some(OpenStage::Refused { port: 1 }));
}

#[test]
fn an_end_needs_both_witnesses_and_the_client_waits_for_the_session() {
    let now = now();
    let mut socket = open(Mode::Push, now);
    socket.closed(now);
    assert_eq!(asks(&socket, 0, now), Some(need::Ask::State));
    assert_eq!(socket.witnessed(Witness::Ended, now), Ok(Witnessed::Nothing));
    assert_eq!(asks(&socket, 0, now), Some(need::Ask::Close(Some(0))));
    assert!(socket.confirms_end());
    let closed = socket.close_answered(0, false, true, form(), 0b11, now);
    assert_eq!(closed, CloseAnswer::Closed { never_timed: false });
    assert_eq!(socket.session_question(), Some(SessionQuestion::Due));
    assert!(!socket.eof_answered(0b11), "it was not asked yet");
    socket.eof_asked();
    assert!(socket.eof_answered(0b11));
    assert_eq!(socket.detach(), Some(Told::Ended));
    assert_eq!(socket.detach(), None, "its client is told once");
}

#[test]
fn a_closed_that_is_contradicted_ends_nothing() {
    let now = now();
    let mut socket = open(Mode::Push, now);
    socket.closed(now);
    assert_eq!(socket.witnessed(Witness::Connected, now), Ok(Witnessed::Contradicted));
    assert!(socket.takes_bytes() && socket.is_open());
    let mut unclear = open(Mode::Push, now);
    unclear.closed(now);
    assert_eq!(unclear.witnessed(Witness::Unclear, now), Err(Cut::ClosedUncertain));
}

#[test]
fn in_buffer_mode_the_rest_is_read_before_the_end() {
    let now = now();
    let mut socket = open(Mode::Buffer, now);
    socket.closed(now);
    assert_eq!(socket.witnessed(Witness::Ended, now), Ok(Witnessed::Nothing));
    assert!(socket.wants_to_receive() > 0);
    let ok = CommandOutcome::Ok;
    assert_eq!(socket.receive_answered(Some(100), false, &ok, now), Ok(Received::Bytes(100)));
    assert!(socket.wants_to_receive() > 0, "a short read does not mean empty");
    assert_eq!(socket.receive_answered(Some(0), false, &ok, now), Ok(Received::Bytes(0)));
    assert!(socket.is_being_closed());
    let mut refused = open(Mode::Buffer, now);
    let error = CommandOutcome::Refused(Refusal::Plain);
    assert_eq!(refused.receive_answered(None, false, &error, now), Err(Cut::ReceiveFailed));
}

#[test]
fn a_number_is_free_when_every_channel_has_said_so() {
    let now = now();
    let mut socket = open(Mode::Push, now);
    assert_eq!(socket.detach(), Some(Told::Ended));
    assert_eq!(socket.close_or_free(GiveUp::Orderly, ending()), None);
    assert_eq!(asks(&socket, 0, now), Some(need::Ask::Close(Some(10))));
    socket.close_answered(0, false, true, form(), 0b11, now);
    assert_eq!(asks(&socket, 1, now), Some(need::Ask::State));
    assert_eq!(socket.check_answered(1, false, 0b11, now), Checked::FreeHere);
    assert_eq!(asks(&socket, 1, now), None, "that one has answered");
    assert_eq!(socket.check_answered(0, false, 0b11, now), Checked::Free);
    assert!(socket.is_free());
}

#[test]
fn a_refused_close_is_repeated_in_the_other_form_only_where_the_module_may_have_no_time() {
    let now = now();
    for (time, forms) in [
        (CloseTime::Unknown, [Some(0), None, Some(0), None, Some(0)]),
        (CloseTime::UpTo(9), [Some(0), Some(0), Some(0), None, Some(0)]),
        (CloseTime::Never, [None, None, None, None, None]),
    ] {
        let form = CloseForm { time, orderly_seconds: 10 };
        let mut socket = open(Mode::Push, now);
        socket.close(0);
        let mut at = now;
        for (tries, expected) in forms.into_iter().enumerate() {
            let close = View { close: form, ..view(0, at) };
            let ask = socket.need(&close).map(|need| need.ask);
            assert_eq!(ask, Some(need::Ask::Close(expected)), "{time:?} after {tries} refusals");
            let answer = socket.close_answered(0, true, expected.is_some(), form, 0b1, at);
            assert_eq!(
                answer,
                CloseAnswer::Refused { tries: tries as u32 + 1, was_eof: false, may_be_opening: false }
            );
            at += Duration::from_secs(600);
            socket.check_answered(0, true, 0b1, at);
        }
    }
}

#[test]
fn what_a_client_leaves_behind_depends_on_how_far_its_open_is() {
    let now = now();
    let mut due = fresh(now);
    due.begin(
        tunnel(Mode::Push),
        "a:1".parse().expect("a target"),
        SslContextId::all().next(),
        Holder::Client,
        now,
    );
    due.close_or_free(GiveUp::Abort, ending());
    assert!(due.is_free(), "the modem knows nothing of it");
    let mut awaited = opening(Mode::Push, now);
    awaited.open_answered(0, CommandOutcome::Ok);
    awaited.close_or_free(GiveUp::Abort, ending());
    let abandoned = OpenStage::Abandoned { refused_at: None };
    assert_eq!(awaited.opening().map(Opening::stage), Some(abandoned));
    assert_eq!(asks(&awaited, 0, now), Some(need::Ask::Close(Some(0))));
    let mut stream = opening(Mode::Transparent, now);
    stream.stream_begins(3);
    stream.opened(now);
    assert_eq!(stream.close_or_free(GiveUp::Abort, ending()), Some(3), "data mode is left first");
}

#[test]
fn a_number_is_not_used_while_a_send_or_a_read_that_was_given_up_may_still_carry_bytes() {
    let id = crate::at::SocketId::new(0).expect("a number");
    for command in [
        Command::Send { set: crate::at::CommandSet::Ssl, socket: id, length: 1 },
        Command::Receive { set: crate::at::CommandSet::Ssl, socket: id, length: 1_460 },
    ] {
        let mut socket = fresh(now());
        socket.command_sent(1);
        socket.command_unanswered(&command, 1);
        socket.channels_answer(0b01);
        assert!(!socket.is_free(), "{command:?} would be about its next connection");
        socket.channels_answer(0b10);
        assert!(socket.is_being_closed(), "{command:?}: and then free");
    }
}

#[test]
fn a_command_that_was_given_up_may_still_open_a_number_that_was_given_back() {
    let now = now();
    let mut socket = fresh(now);
    socket.command_sent(1);
    let question = Command::State {
        set: crate::at::CommandSet::Ssl,
        socket: crate::at::SocketId::new(0).expect("a number"),
    };
    socket.command_unanswered(&question, 1);
    socket.channels_answer(0b01);
    assert!(socket.is_free(), "another channel");
    socket.channels_answer(0b10);
    assert!(socket.is_being_closed());
    let mut late = fresh(now);
    assert_eq!(late.urc_opened(0), UrcOpened::Late);
    assert!(late.is_being_closed());
}

#[test]
fn the_same_bytes_are_sent_again_only_once_send_ok_can_no_longer_come() {
    let now = now();
    let mut socket = open(Mode::Push, now);
    socket.outgoing.append(b"once");
    assert_eq!(socket.send_failed(0, 4, now), Ok(()));
    let later = now + BACKOFF_MIN;
    assert!(!socket.wants_to_send(later), "it may have been taken after all");
    assert!(socket.awaits_send_ok(0, later) && !socket.awaits_send_ok(1, later));
    let stood_still = later + Duration::from_secs(3);
    socket.answered_on(0, later, stood_still);
    assert!(!socket.wants_to_send(stood_still), "the module stood still, and had to do it before");
    socket.answered_on(0, stood_still, stood_still + Duration::from_millis(20));
    assert!(socket.wants_to_send(stood_still));
    let mut slow = open(Mode::Push, now);
    slow.outgoing.append(b"once");
    assert_eq!(slow.send_failed(0, 4, now), Ok(()));
    let last = now + Duration::from_secs(10);
    slow.answered_on(0, last, last + Duration::from_secs(3));
    assert!(slow.wants_to_send(last), "it is always that slow");
    assert_eq!(socket.send_failed(0, 4, now + SEND_STUCK_LIMIT), Err(Cut::SendStuck));
}

#[test]
fn a_slow_client_has_its_socket_switched_to_buffer_mode_and_back() {
    let now = now();
    let mut socket = open(Mode::Push, now);
    socket.incoming.append(&[0; INCOMING_HIGH_BYTES]);
    socket.adjust_flow(&test_switching(), now);
    assert_eq!(asks(&socket, 0, now), Some(need::Ask::Switch(AccessMode::Buffer)));
    socket.mode_switched(true, true, now);
    assert!(socket.only_announces());
    socket.incoming.consume(INCOMING_HIGH_BYTES);
    assert_eq!(socket.receive_answered(Some(0), false, &CommandOutcome::Ok, now), Ok(Received::Bytes(0)));
    socket.adjust_flow(&test_switching(), now);
    assert_eq!(asks(&socket, 0, now), Some(need::Ask::Switch(AccessMode::Push)));
    socket.mode_switched(false, true, now);
    socket.receive_answered(Some(0), false, &CommandOutcome::Ok, now).expect("it is read");
    socket.adjust_flow(&test_switching(), now);
    assert_eq!(asks(&socket, 0, now), None, "not so soon again");
}

#[test]
fn a_stream_that_had_to_be_left_goes_on_in_buffer_mode_and_its_rest_is_read_before_its_end() {
    let now = now();
    let mut socket = opening(Mode::Transparent, now);
    socket.stream_begins(0);
    socket.opened(now);
    assert!(!socket.wants_to_send(now) && socket.wants_to_receive() == 0, "its bytes are the channel's");
    socket.stream_goes_on(Some(1));
    assert_eq!((socket.mode(), socket.listening.port()), (Some(Mode::Buffer), Some(1)));
    assert!(socket.wants_to_receive() > 0, "what came meanwhile waits unannounced");
    socket.outgoing.append(b"request");
    assert!(socket.wants_to_send(now));
    socket.closed(now);
    assert_eq!(asks(&socket, 0, now), Some(need::Ask::State));
    assert_eq!(socket.witnessed(Witness::Ended, now), Ok(Witnessed::Nothing));
    assert!(socket.wants_to_receive() > 0, "what is left is read first");
}

#[test]
fn a_silent_socket_is_asked_about() {
    let now = now();
    let silence = Duration::from_secs(60);
    let switching = Switching { silence_max: Some(silence), ..test_switching() };
    for (mode, without_closed) in [(Mode::Push, Witnessed::Nothing), (Mode::Buffer, Witnessed::WithoutClosed)]
    {
        let mut socket = open(mode, now);
        socket.receive_answered(Some(0), false, &CommandOutcome::Ok, now).expect("it is read");
        socket.adjust_flow(&switching, now);
        assert_eq!(asks(&socket, 0, now), None);
        assert_eq!(socket.deadline(false, Some), Some(now + silence), "{mode:?}");
        let received_at = now + silence / 2;
        socket.received(received_at).expect("nothing contradicts it");
        socket.adjust_flow(&switching, received_at);
        assert_eq!(socket.deadline(false, Some), Some(received_at + silence), "{mode:?}");
        let late = received_at + silence;
        socket.adjust_flow(&switching, late);
        assert_eq!(asks(&socket, 0, late), Some(need::Ask::State), "{mode:?}");
        assert_eq!(socket.witnessed(Witness::Connected, late), Ok(Witnessed::Nothing));
        socket.receive_answered(Some(0), false, &CommandOutcome::Ok, late).expect("it is read");
        socket.adjust_flow(&switching, late);
        socket.adjust_flow(&switching, late + silence * 2);
        assert_eq!(socket.witnessed(Witness::Ended, late + silence * 2), Ok(without_closed), "{mode:?}");
    }
    let mut pushed = open(Mode::Push, now);
    pushed.adjust_flow(&switching, now);
    pushed.adjust_flow(&switching, now + silence);
    assert_eq!(pushed.witnessed(Witness::Ended, now + silence), Ok(Witnessed::Nothing));
    assert_eq!(pushed.closed_stays_away(false, now + silence), Ok(()), "`closed` may be on its way");
    assert_eq!(pushed.closed_stays_away(false, now + silence * 2), Err(Cut::UrcsMissed));
}

#[test]
fn one_that_was_opened_ahead_is_a_clients_only_once_one_has_come() {
    let now = now();
    for (holder, given_up) in [(Holder::Client, Holder::Left), (Holder::Ahead, Holder::Nobody)] {
        let mut socket = fresh(now);
        let ssl = SslContextId::all().next();
        socket.begin(tunnel(Mode::Push), "a:1".parse().expect("a target"), ssl, holder, now);
        let is_clients = holder == Holder::Client;
        assert_eq!(
            (socket.is_attached(), socket.is_ahead(), socket.is_of_client()),
            (true, !is_clients, is_clients)
        );
        assert_eq!(socket.detach(), Some(Told::OpenFailed));
        assert_eq!(socket.detach(), None);
        assert_eq!((socket.holder, socket.is_of_client()), (given_up, is_clients));
    }
}

#[test]
fn a_client_that_takes_an_open_under_way_has_its_whole_time() {
    let begin = now();
    let mut socket = fresh(begin);
    let ssl = SslContextId::all().next();
    socket.begin(tunnel(Mode::Push), "a:1".parse().expect("a target"), ssl, Holder::Ahead, begin);
    socket.open_sent(opener(), begin);
    assert_eq!(socket.open_answered(0, CommandOutcome::Ok), OpenAnswer::Pending);
    let comes = begin + Duration::from_secs(14);
    socket.taken(comes);
    assert!(socket.is_of_client() && !socket.is_ahead());
    assert!(!socket.open_is_overdue(comes + Duration::from_secs(59)));
    assert!(socket.open_is_overdue(comes + Duration::from_secs(60)));
}

#[test]
fn one_is_fresh_while_nothing_speaks_against_it_and_nothing_waits_to_be_read() {
    let now = now();
    let mut pushed = open(Mode::Push, now);
    assert!(pushed.is_fresh() && !pushed.is_ending());
    pushed.closed(now);
    assert!(!pushed.is_fresh() && pushed.is_ending(), "confirmed or not");
    let mut read = open(Mode::Buffer, now);
    assert!(!read.is_fresh() && !read.is_ending(), "it was not read yet");
    read.receive_answered(Some(0), false, &CommandOutcome::Ok, now).expect("nothing is left");
    assert!(read.is_fresh());
    read.announced();
    assert!(!read.is_fresh() && !read.is_ending());
}

/// Another program's text looked like `closed` when the server had closed and the module had pushed little of what it had.
#[test]
fn what_is_pushed_while_an_end_is_being_confirmed_shows_that_it_was_none() {
    let now = now();
    let mut socket = open(Mode::Push, now);
    socket.closed(now);
    assert_eq!(socket.witnessed(Witness::Ended, now), Ok(Witnessed::Nothing));
    assert!(socket.confirms_end(), "both witnesses have spoken");
    assert_eq!(socket.received(now), Err(Cut::ClosedUncertain));
}

/// An open socket that carries datagrams.
fn open_for_datagrams(mode: Mode, now: Instant) -> Socket {
    let mut socket = fresh(now);
    let transport = crate::settings::Transport::Udp;
    let tunnel = Arc::new(Tunnel { mode, transport, ..crate::settings::test_tunnel() });
    socket.begin(tunnel, "a:1".parse().expect("a target"), None, Holder::Client, now);
    socket.open_sent(opener(), now);
    socket.open_answered(0, CommandOutcome::Ok);
    socket.urc_opened(0);
    socket.open_result(0, false, now);
    socket.opened(now);
    assert!(socket.carries_datagrams());
    socket
}

#[test]
fn the_end_of_datagrams_is_believed_once_what_waits_was_read() {
    let now = now();
    let mut pushed = open_for_datagrams(Mode::Push, now);
    assert_eq!(pushed.adjust_flow(&test_switching(), now), Adjusted::GoesOn);
    pushed.closed(now);
    assert_eq!(asks(&pushed, 0, now), None, "nothing is asked");
    assert_eq!(
        (pushed.adjust_flow(&test_switching(), now), pushed.is_being_closed()),
        (Adjusted::IsOver, true)
    );

    for last in [(Some(0), CommandOutcome::Ok), (None, CommandOutcome::Refused(Refusal::Plain))] {
        let mut waits = open_for_datagrams(Mode::Buffer, now);
        waits.closed(now);
        assert_eq!(waits.adjust_flow(&test_switching(), now), Adjusted::GoesOn);
        assert_eq!(waits.wants_to_receive(), crate::at::READ_MAX);
        waits.receive_answered(Some(9), false, &CommandOutcome::Ok, now).expect("it is read");
        assert_eq!(waits.adjust_flow(&test_switching(), now), Adjusted::GoesOn);
        waits.receive_answered(last.0, false, &last.1, now).expect("it is read");
        assert_eq!(waits.adjust_flow(&test_switching(), now), Adjusted::IsOver, "{last:?}");
    }

    let mut asked = open_for_datagrams(Mode::Push, now);
    asked.witnessed(Witness::Connected, now).expect("it goes on");
    assert_eq!(asked.adjust_flow(&test_switching(), now), Adjusted::GoesOn);
    asked.witnessed(Witness::Ended, now).expect("it is over");
    assert_eq!(asked.adjust_flow(&test_switching(), now), Adjusted::IsOver);
}

#[test]
fn a_number_carries_bytes_again_after_datagrams() {
    let now = now();
    let mut socket = open_for_datagrams(Mode::Push, now);
    socket.outgoing.append(b"one");
    socket.outgoing.append(b"two");
    assert_eq!(socket.outgoing.next_piece(1), 3);
    socket.sent(3, now);
    assert_eq!((socket.sends(), socket.outgoing.as_slice()), (1, &b"two"[..]));
    assert_eq!(asks(&socket, 0, now + Duration::from_secs(60)), None, "nobody acknowledges datagrams");
    // What is answered after the client has left is told by an event, and must not count twice.
    assert!(socket.detach().is_some());
    socket.sent(3, now);
    assert_eq!((socket.sends(), socket.sent_bytes(), socket.outgoing.is_empty()), (1, 3, true));
    let target = "a:1".parse().expect("a target");
    socket.begin(tunnel(Mode::Push), target, SslContextId::all().next(), Holder::Client, now);
    assert!(!socket.carries_datagrams() && socket.sends() == 0 && socket.outgoing.is_empty());
}
