//! Streams: what may be written, what is payload, and how they are left.

use super::incoming::*;
use super::leaving::*;
use super::outgoing::{ASK_AGAIN_MAX, BUSY_MAX, GUARD};
use super::words::*;
use super::*;
use crate::test_clock;

fn mode(has_dcd: bool) -> (Stream, Instant) {
    let now = test_clock::now();
    let mut mode = Stream::new(SocketId::new(0), true, Exit::Escape, None, now);
    if has_dcd {
        mode.dcd_changed(true, now);
    }
    (mode, now)
}

/// Everything that reaches the line, with the time since the start, until `pending` is gone.
fn line(mode: &mut Stream, mut now: Instant, mut pending: &[u8]) -> Vec<(Duration, Vec<u8>)> {
    let start = now;
    let mut all = Vec::new();
    while !pending.is_empty() {
        let count = mode.sendable(pending);
        if count > 0 {
            mode.sent(&pending[..count], now, Duration::from_millis(1));
            all.push((now - start, pending[..count].to_vec()));
            pending = &pending[count..];
            continue;
        }
        now = mode.deadline(true).expect("something is due while a + waits");
        if mode.deadline_passed(now, true) == StreamEffect::AskQueue {
            mode.queue_answered(0, now, Duration::ZERO);
        }
    }
    all
}

#[test]
fn no_burst_on_the_line_ends_in_three_pluses() {
    for payload in [&b"+++"[..], b"++++", b"+++++++", b"x+++", b"+++x", b"abc++++++", b"++", b"+"] {
        let (mut mode, now) = mode(false);
        let bursts = line(&mut mode, now, payload);
        let joined: Vec<u8> = bursts.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(joined, payload, "nothing lost, nothing added");
        // Bytes without a pause of a second between them are one burst.
        let mut burst: Vec<u8> = Vec::new();
        let mut last = Duration::ZERO;
        for (at, bytes) in bursts {
            if at - last >= Duration::from_secs(1) {
                burst.clear();
            }
            burst.extend_from_slice(&bytes);
            assert!(!burst.ends_with(b"+++"), "{payload:?}: {burst:?}");
            last = at;
        }
    }
}

#[test]
fn pluses_in_the_middle_of_payload_are_not_held_back() {
    let (mode, _) = mode(false);
    assert_eq!(mode.sendable(b"a+++b"), 5);
    assert_eq!(mode.sendable(b"a+++"), 3);
    assert_eq!(mode.sendable(&[b'+'; 1000]), 1000);
}

fn receive(mode: &mut Stream, bytes: &[u8], now: Instant) -> Vec<u8> {
    let mut got = Vec::new();
    mode.received(bytes, now, &mut |payload| got.extend_from_slice(payload));
    got
}

#[test]
fn no_carrier_inside_payload_is_payload() {
    let payload = b"before\r\nNO CARRIER\r\nafter\r\nNO CARRIE and more";
    for split in 0..payload.len() {
        let (mut mode, now) = mode(false);
        let mut got = receive(&mut mode, &payload[..split], now);
        got.extend(receive(&mut mode, &payload[split..], now));
        assert_eq!(got, payload, "split at {split}");
    }
}

#[test]
fn the_beginning_of_a_terminator_waits_a_tenth_of_a_second() {
    let (mut mode, now) = mode(false);
    assert_eq!(receive(&mut mode, b"text\r\n", now), b"text");
    assert_eq!(mode.deadline(false), Some(now + HOLD));
    assert_eq!(mode.deadline_passed(now + HOLD, false), StreamEffect::Deliver(2));
    assert_eq!(mode.deliverable(2, now), b"\r\n");
}

#[test]
fn a_whole_terminator_and_quiet_is_settled_by_escaping() {
    let (mut mode, now) = mode(false);
    assert_eq!(receive(&mut mode, b"text\r\nNO CARRIER\r\n", now), b"text");
    assert!(!mode.is_flowing(), "while unsure nothing is sent");
    let now = now + SUSPICION_QUIET;
    assert_eq!(mode.deadline_passed(now, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(now + GUARD, false), StreamEffect::SendEscape);
    receive(&mut mode, b"\r\nOK\r\n", now + GUARD * 2);
    let asked = now + GUARD * 2 + OK_QUIET;
    assert_eq!(mode.deadline_passed(asked, false), ask());
    receive(&mut mode, CARRIED, asked);
    assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Left(Reason::Suspicion));
    let left = mode.take_left();
    assert!(!left.escape_missed);
    assert_eq!((left.payload, left.words), (b"\r\nNO CARRIER\r\n".to_vec(), [OK, CARRIED].concat()));
}

/// What asks for the state of the socket of these tests.
fn ask() -> StreamEffect {
    StreamEffect::AskState(SocketId::new(0).expect("it is one"))
}

const CARRIED: &[u8] =
    b"\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.1\",443,0,2,1,0,0,\"uart1\",0\r\n\r\nOK\r\n";

const CLOSING: &[u8] =
    b"\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.1\",443,0,4,1,0,2,\"uart1\",0\r\n\r\nOK\r\n";

/// Anyone can send it.
const SMS: &[u8] = b"\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\"\r\n> \r\nOK\r\n";

/// A stream whose end is unconfirmed, where a text of another program holds an `OK` after the escape, and
/// when the socket's state was asked for.
fn asked_after_a_text(by_dtr: bool) -> (Stream, Instant) {
    let now = test_clock::now();
    let mut mode =
        Stream::new(SocketId::new(0), true, if by_dtr { Exit::Dtr } else { Exit::Escape }, None, now);
    assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
    let mut now = now + SUSPICION_QUIET;
    if by_dtr {
        assert_eq!(mode.deadline_passed(now, false), StreamEffect::SetDtr(false));
    } else {
        assert_eq!(mode.deadline_passed(now, false), StreamEffect::Wait);
        now += GUARD;
        assert_eq!(mode.deadline_passed(now, false), StreamEffect::SendEscape);
        now += OK_NOT_BEFORE;
    }
    assert_eq!(receive(&mut mode, SMS, now), b"");
    let (asked, asked_at) = next(&mut mode);
    assert_eq!(asked, ask());
    (mode, asked_at)
}

#[test]
fn the_guard_time_begins_when_the_line_of_a_device_server_is_free() {
    let now = test_clock::now();
    let mut mode = Stream::new(SocketId::new(0), false, Exit::Escape, Some(Pace::new(115_200, now)), now);
    mode.sent(&[0; 5_760], now, Duration::ZERO);
    mode.leave(now);
    assert_eq!(mode.deadline_passed(now, false), StreamEffect::AskQueue);
    // The server has taken all of it, and sends it for half a second.
    mode.queue_answered(0, now, Duration::ZERO);
    let (asked, free_at) = next(&mut mode);
    assert_eq!((asked, free_at), (StreamEffect::AskQueue, now + Duration::from_millis(500)));
    mode.queue_answered(0, free_at, Duration::ZERO);
    while next(&mut mode).0 == StreamEffect::Wait {}
    assert_eq!(mode.deadline(false), Some(free_at + GUARD + ESCAPE_WAIT));
}

#[test]
fn an_ok_before_the_guard_time_of_the_modem_is_over_brings_no_command() {
    let (mut mode, now) = mode(false);
    mode.leave(now);
    mode.deadline_passed(now, false);
    let escaped = now + GUARD;
    assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
    receive(&mut mode, OK, escaped + OK_NOT_BEFORE);
    // It is payload: the modem's own comes after its guard time.
    assert_eq!(next(&mut mode), (StreamEffect::Left(Reason::Done), escaped + OK_COUNTS_FROM));
}

/// The line feed was once read after the words before the answer, and damaged them.
#[test]
fn the_answer_about_a_socket_is_whole_with_its_line_feed() {
    let (mut mode, asked) = asked_after_a_text(false);
    let (most, line_feed) = CLOSING.split_at(CLOSING.len() - 1);
    receive(&mut mode, most, asked);
    assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Wait);
    receive(&mut mode, line_feed, asked);
    assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Ended);
}

#[test]
fn an_ok_in_a_text_of_another_program_makes_no_payload_of_an_end() {
    for by_dtr in [false, true] {
        let (mut mode, asked) = asked_after_a_text(by_dtr);
        receive(&mut mode, CLOSING, asked);
        assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Ended);
        let ended = mode.take_ended();
        assert_eq!(ended.payload, b"");
        assert!(!ended.certain, "the `OK` may have been the escape's");
        assert!(!ended.is_missing_words);

        // A URC about another socket comes before the answer.
        let (mut mode, asked) = asked_after_a_text(by_dtr);
        receive(&mut mode, b"\r\n+QSSLURC: \"recv\",4,2\r\nhi", asked);
        receive(&mut mode, CLOSING, asked);
        assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Ended);
        assert!(mode.take_ended().is_missing_words);

        // A socket that the module does not know.
        let (mut mode, asked) = asked_after_a_text(by_dtr);
        receive(&mut mode, OK, asked);
        assert_eq!(mode.deadline_passed(asked + LATE_STATE, false), StreamEffect::Lost);
        assert_eq!(mode.take_ended().payload, b"");

        // No answer.
        let (mut mode, asked) = asked_after_a_text(by_dtr);
        assert_eq!(mode.deadline(false), Some(asked + STATE_WAIT_ESCAPED));
        assert_eq!(mode.deadline_passed(asked + STATE_WAIT_ESCAPED, false), StreamEffect::Lost);
        assert_eq!(mode.take_ended().payload, b"");
    }
}

/// A module that has forgotten AT&D1 hangs up when DTR drops.
#[test]
fn an_end_after_dtr_was_dropped_may_be_the_doing_of_that() {
    let now = test_clock::now();
    let mut mode = Stream::new(SocketId::new(0), true, Exit::Dtr, None, now);
    mode.dcd_changed(true, now);
    let request: Vec<u8> = (0..4_096_u32).map(|at| (at * at / 7) as u8).collect();
    mode.sent(&request, now, Duration::ZERO);
    // The server sends everything back, as a module does that has rebooted.
    request.chunks(512).for_each(|part| drop(receive(&mut mode, part, now)));
    mode.queue_answered(0, now, Duration::ZERO);
    while next(&mut mode).0 != StreamEffect::SetDtr(false) {}
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    mode.dcd_changed(false, now);
    assert_eq!(next(&mut mode).0, StreamEffect::Ended);
    assert!(mode.take_ended().escape_missed, "no clean end");
}

#[test]
fn a_late_answer_to_dtr_is_no_payload() {
    let now = test_clock::now();
    let mut mode = Stream::new(SocketId::new(0), false, Exit::Dtr, None, now);
    assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
    while next(&mut mode).0 != StreamEffect::SetDtr(true) {}
    receive(&mut mode, OK, now);
    let asked = loop {
        let (due, now) = next(&mut mode);
        if due == ask() {
            break now;
        }
    };
    receive(&mut mode, CARRIED, asked);
    assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Left(Reason::Suspicion));
    let left = mode.take_left();
    assert_eq!((left.payload, left.escape_missed), (b"\r\nNO CARRIER\r\n".to_vec(), true));
}

#[test]
fn an_end_that_comes_after_the_question_makes_payload_of_the_words_before_it() {
    let (mut mode, now) = mode(false);
    assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
    let now = now + SUSPICION_QUIET;
    assert_eq!(mode.deadline_passed(now, false), StreamEffect::Wait);
    let escaped = now + GUARD;
    assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
    let asked = escaped + ASK_AFTER;
    assert_eq!(mode.deadline_passed(asked, false), ask());
    receive(&mut mode, b"\r\nNO CARRIER\r\n\r\n+QSSLOPEN: 3,0\r\n", asked);
    assert_eq!(mode.deadline_passed(asked + STATE_WAIT, false), StreamEffect::Lost);
    assert!(!mode.take_ended().certain, "the first words came from the server");
}

#[test]
fn an_end_and_a_push_in_the_payload_do_not_give_the_real_end_to_another_socket() {
    let said = b"\r\nNO CARRIER\r\n\r\n+QSSLURC: \"recv\",0,4\r\n\r\nNO CARRIER\r\n";
    let (mut mode, now) = mode(false);
    mode.sent(b"any request", now, Duration::ZERO);
    receive(&mut mode, said, now);
    let ended = mode.take_ended();
    assert_eq!(ended.words, b"\r\nNO CARRIER\r\n", "nothing is pushed to socket 0");
    assert!(!ended.certain && ended.is_missing_words);
}

#[test]
fn the_state_of_the_socket_is_not_read_in_what_others_have_the_modem_say() {
    let pushed = format!("\r\n+QSSLURC: \"recv\",3,{}\r\n", CARRIED.len());
    let message =
        format!("\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\",145,0,0,0,,145,{}\r\n", CARRIED.len());
    for header in [pushed, message] {
        let (mut mode, asked) = asked_after_a_text(false);
        receive(&mut mode, &[header.as_bytes(), CARRIED, b"\r\n"].concat(), asked);
        assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Wait, "{header}");
        receive(&mut mode, CLOSING, asked);
        assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Ended, "{header}");
    }
}

#[test]
fn the_state_of_the_socket_is_waited_for_while_the_port_is_left_unread() {
    let (mut mode, asked) = asked_after_a_text(false);
    mode.set_paused(true, asked);
    assert_eq!(mode.deadline(false), None);
    let read_again = asked + STATE_WAIT_ESCAPED * 2;
    assert_eq!(mode.deadline_passed(read_again, false), StreamEffect::Wait);
    mode.set_paused(false, read_again);
    assert_eq!(mode.deadline(false), Some(read_again + STATE_WAIT_ESCAPED));
    // Where the port is unread because too much is held, it would be for ever.
    receive(&mut mode, &vec![b'x'; HELD_LIMIT_BYTES], read_again);
    mode.set_paused(true, read_again);
    assert_eq!(mode.deadline_passed(read_again + STATE_WAIT_ESCAPED, false), StreamEffect::Lost);
}

#[test]
fn nothing_that_follows_the_ok_of_an_escape_is_payload_however_much_it_is() {
    let (mut mode, now) = mode(false);
    mode.leave(now);
    assert_eq!(mode.deadline_passed(now, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(now + GUARD, false), StreamEffect::SendEscape);
    let mut got = receive(&mut mode, &[b'd'; 2_000], now + GUARD);
    let words = [OK, &b"\r\n+QSSLURC: \"recv\",0\r\n".repeat(100)].concat();
    for piece in words.chunks(7) {
        got.extend(receive(&mut mode, piece, now + GUARD * 2));
    }
    assert_eq!(mode.deadline_passed(now + GUARD * 2 + OK_QUIET, false), StreamEffect::Left(Reason::Done));
    let Left { payload, words: received, .. } = mode.take_left();
    got.extend(payload);
    assert_eq!(got, [b'd'; 2_000]);
    assert_eq!(received, words);
}

#[test]
fn with_dcd_nothing_but_a_whole_terminator_is_held() {
    let (mut mode, now) = mode(true);
    assert_eq!(receive(&mut mode, b"text\r\nNO CAR", now), b"text\r\nNO CAR");
    assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
    mode.dcd_changed(false, now);
    assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), StreamEffect::Ended);
    let words = b"\r\nNO CARRIER\r\n".to_vec();
    assert_eq!(
        mode.take_ended(),
        Ended {
            socket: SocketId::new(0),
            payload: Vec::new(),
            words,
            certain: true,
            escape_missed: false,
            is_missing_words: false
        }
    );
}

/// A reboot as well as an end: no escape is needed.
#[test]
fn dcd_off_beside_the_words_of_any_end_is_believed() {
    let now = test_clock::now();
    for (words, is_live) in words::ENDS.iter().flat_map(|words| [(*words, true), (*words, false)]) {
        let mut mode = Stream::new(SocketId::new(0), is_live, Exit::Escape, None, now);
        mode.dcd_changed(true, now);
        assert_eq!(receive(&mut mode, &[b"x", words].concat(), now), b"x");
        mode.dcd_changed(false, now);
        let name = format!("{}, live: {is_live}", words.escape_ascii());
        assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), StreamEffect::Ended, "{name}");
    }
}

#[test]
fn a_dcd_that_has_not_been_on_says_nothing() {
    let (mut mode, now) = mode(false);
    mode.dcd_changed(false, now);
    assert_eq!(mode.deadline(false), None, "it is no end");
    assert!(mode.is_flowing());
    // And no proof that it is not.
    assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
    assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET + GUARD, false), StreamEffect::SendEscape);
}

#[test]
fn a_late_report_of_dcd_ends_nothing_without_the_modems_words() {
    let now = test_clock::now();
    let mut mode = Stream::new(SocketId::new(0), false, Exit::Escape, None, now);
    // Of the stream before.
    mode.dcd_changed(true, now);
    mode.dcd_changed(false, now);
    assert!(mode.is_flowing());
    assert_eq!(mode.deadline(false), None, "it is no end");
    mode.dcd_changed(true, now);
    // On may be what was before as well.
    assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
    assert_eq!(mode.deadline(false), Some(now + SUSPICION_QUIET));
    mode.dcd_changed(false, now);
    assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), StreamEffect::Ended);
    assert!(mode.take_ended().certain);
}

#[test]
fn data_that_arrives_while_escaping_is_delivered() {
    let (mut mode, now) = mode(false);
    mode.leave(now);
    assert_eq!(mode.deadline_passed(now, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(now + GUARD, false), StreamEffect::SendEscape);
    let mut got = receive(&mut mode, b"late \r\nOK\r\n data", now + GUARD);
    got.extend(receive(&mut mode, b"\r\nOK\r\n\r\n+QSSLURC: \"recv\",0\r\n", now + GUARD * 2));
    assert_eq!(mode.deadline_passed(now + GUARD * 2 + OK_QUIET, false), StreamEffect::Left(Reason::Done));
    let Left { payload, words, .. } = mode.take_left();
    got.extend(payload);
    assert_eq!(got, b"late \r\nOK\r\n data");
    assert_eq!(words, b"\r\nOK\r\n\r\n+QSSLURC: \"recv\",0\r\n");
}

#[test]
fn what_other_sockets_are_pushed_behind_the_end_is_not_payload_of_this_one() {
    let pushed: Vec<u8> = (0..200_u8)
        .flat_map(|byte| [&b"\r\n+QSSLURC: \"recv\",3,4\r\nab\r"[..], &[byte]].concat())
        .chain(*b"\r\n")
        .collect();
    let all = [&b"x\r\nNO CARRIER\r\n"[..], &pushed].concat();
    for step in [1, 7, 64, all.len()] {
        let (mut mode, now) = mode(false);
        let mut got = Vec::new();
        for piece in all.chunks(step) {
            got.extend(receive(&mut mode, piece, now));
            // No quiet comes, and it is settled all the same.
            mode.deadline_passed(now, false);
        }
        assert_eq!(got, b"x", "in steps of {step}");
        assert!(!mode.is_flowing());
        assert!(mode.deadline(false).is_some_and(|due| due <= now + GUARD));
        let ended = mode.take_ended();
        assert!(ended.payload.is_empty() && ended.certain);
        assert_eq!(ended.words, all[1..]);
    }
}

#[test]
fn an_end_while_it_is_left_and_what_follows_is_kept_apart_from_payload() {
    let pushed = b"\r\n+QSSLURC: \"recv\",3,4\r\nab\rc".repeat(100);
    let all = [&b"last\r\nNO CARRIER\r\n"[..], &pushed, b"\r\n"].concat();
    for step in [1, 7, 700, all.len()] {
        let (mut mode, now) = mode(false);
        mode.leave(now);
        let mut got = Vec::new();
        for piece in all.chunks(step) {
            got.extend(receive(&mut mode, piece, now));
        }
        assert!(mode.is_suspicious(), "in steps of {step}");
        let ended = mode.take_ended();
        assert!(ended.certain);
        assert_eq!([got, ended.payload].concat(), b"last");
        assert_eq!(ended.words, all[4..]);
    }
}

/// The modem had left data mode and announced what it received without a pause when it rebooted: its words were delivered.
#[test]
fn what_follows_the_answer_to_an_escape_is_no_payload_even_if_the_modem_reboots_then() {
    let says = [&b"last\r\nOK\r\n"[..], &b"\r\n+QSSLURC: \"recv\",0\r\n".repeat(9), b"\r\nRDY\r\n"].concat();
    for (step, dcd_drops_at) in [(1, 0), (7, 50), (says.len(), 0)] {
        let (_, now) = mode(true);
        let mut mode = Stream::new(SocketId::new(0), true, Exit::Dtr, None, now);
        mode.dcd_changed(true, now);
        mode.leave(now);
        assert_eq!(mode.deadline_passed(now, false), StreamEffect::SetDtr(false));
        let mut got = Vec::new();
        for (at, piece) in says.chunks(step).enumerate() {
            got.extend(receive(&mut mode, piece, now));
            if at * step >= dcd_drops_at {
                mode.dcd_changed(false, now);
            }
        }
        let ended = mode.take_ended();
        assert!(!ended.certain || ended.escape_missed);
        got.extend(ended.payload);
        assert!(b"last".starts_with(&got[..]), "{:?}", got.escape_ascii().to_string());
    }
}

#[test]
fn an_ok_behind_pluses_that_a_busy_modem_may_have_seen_without_their_pause_is_settled_by_escaping() {
    for has_dcd in [false, true] {
        let (mut mode, now) = mode(has_dcd);
        assert_eq!(receive(&mut mode, b"\r\nOK\r\n.", now), b"\r\nOK\r\n.");
        line(&mut mode, now, b"+++");
        let now = now + Duration::from_secs(5);
        assert_eq!(mode.deadline_passed(now, true), StreamEffect::AskQueue);
        mode.queue_answered(0, now, Duration::ZERO);
        assert_eq!(receive(&mut mode, b"\r\nOK\r\n", now), b"");
        assert!(!mode.is_flowing());
        let now = now + SUSPICION_QUIET;
        assert_eq!(mode.deadline_passed(now, false), StreamEffect::Wait);
        let escaped = now + GUARD;
        assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
        // It was the modem's.
        assert!(!mode.take_ended().certain);
    }
    // Long ago.
    let (mut mode, now) = mode(false);
    line(&mut mode, now, b"+++");
    let now = now + BUSY_MAX * 2;
    mode.sent(b"x", now, Duration::ZERO);
    assert_eq!(receive(&mut mode, b"\r\nOK\r\n.", now), b"\r\nOK\r\n.");
}

#[test]
fn while_dcd_is_on_no_look_alike_however_long_interrupts_the_stream() {
    let (mut mode, now) = mode(true);
    let mut all = b"x\r\nNO CARRIER\r\n".to_vec();
    all.extend(b"\r\n+QSSLURC: \"recv\",3\r\n".repeat(20));
    let mut got = receive(&mut mode, &all, now);
    assert_eq!(mode.deadline_passed(now + HOLD, false), StreamEffect::AskLines);
    mode.dcd_changed(true, now + HOLD);
    let due = mode.deadline_passed(now + HOLD * 2, false);
    got.extend(deliver(&mut mode, due, now));
    assert_eq!(got, all);
    assert!(mode.is_flowing());
}

#[test]
fn words_that_follow_the_end_are_not_payload() {
    let words = b"\r\nNO CARRIER\r\n\r\n+QIURC: \"pdpdeact\",1\r\n";
    for split in 0..words.len() {
        let (mut mode, now) = mode(false);
        assert_eq!(receive(&mut mode, &words[..split], now), b"");
        assert_eq!(receive(&mut mode, &words[split..], now), b"");
        assert_eq!(
            mode.take_ended(),
            Ended {
                socket: SocketId::new(0),
                payload: Vec::new(),
                words: words.to_vec(),
                certain: true,
                escape_missed: false,
                is_missing_words: false
            }
        );
    }
    let (mut mode, now) = mode(false);
    assert_eq!(receive(&mut mode, b"\r\nNO CARRIER\r\n+x\r\npayload", now).len(), 25);
}

#[test]
fn a_carriage_return_that_was_delivered_long_ago_makes_no_end_uncertain() {
    let (mut mode, now) = mode(true);
    assert_eq!(receive(&mut mode, b"one\r", now), b"one\r");
    assert_eq!(receive(&mut mode, b"two", now), b"two");
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    mode.dcd_changed(false, now);
    assert!(mode.take_ended().certain);
}

#[test]
fn words_whose_head_was_delivered_as_payload_are_an_uncertain_end() {
    let (mut mode, now) = mode(false);
    assert_eq!(receive(&mut mode, b"x\r\nNO C", now), b"x");
    let due = mode.deadline_passed(now + HOLD, false);
    assert_eq!(deliver(&mut mode, due, now + HOLD), b"\r\nNO C");
    assert_eq!(receive(&mut mode, b"ARRIER\r\n", now + HOLD), b"");
    assert!(!mode.is_flowing(), "it may be an end all the same");
    assert!(!mode.take_ended().certain);
}

#[test]
fn half_of_an_end_is_unconfirmed_like_a_whole_one() {
    let (mut mode, now) = mode(false);
    assert_eq!(receive(&mut mode, b"x\r\nNO CAR", now), b"x");
    assert_eq!(mode.deadline_passed(now + HOLD, false), StreamEffect::Wait);
    assert!(!mode.is_flowing(), "its module may have lost its power");
    let ended = mode.take_ended();
    assert_eq!((ended.payload.len(), ended.certain), (0, false));
}

#[test]
fn an_ok_is_found_where_what_is_pushed_behind_it_is_not_whole() {
    let (mut mode, now) = mode(false);
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    let escaped = now + SUSPICION_QUIET + GUARD;
    assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
    receive(&mut mode, b"\r\nOK\r\n", escaped + ASK_AFTER);
    let asked = escaped + ASK_AFTER + Duration::from_millis(50);
    receive(&mut mode, b"\r\n+QSSLURC: \"rec", asked);
    assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Wait, "it was answered");
    let asks = StreamEffect::AskState(SocketId::new(0).expect("it is one"));
    assert_eq!(mode.deadline_passed(asked + OK_QUIET, false), asks);
}

#[test]
fn of_two_ends_in_a_row_nobody_knows_which_was_payload() {
    let (mut mode, now) = mode(false);
    let text = b"\r\nNO CARRIER\r\n\r\nNO CARRIER\r\n";
    assert_eq!(receive(&mut mode, text, now), b"");
    assert!(!mode.take_ended().certain);
}

#[test]
fn an_end_behind_an_escape_shows_that_it_was_missed() {
    let (mut mode, now) = mode(false);
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    let escaped = now + SUSPICION_QUIET + GUARD;
    assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
    receive(&mut mode, b"payload\r\nNO CARRIER\r\n", escaped + ESCAPE_WAIT);
    let ended = mode.take_ended();
    assert_eq!(ended.payload, b"\r\nNO CARRIER\r\npayload");
    assert!(ended.certain && ended.escape_missed, "the server may have got `+++`");
}

#[test]
fn an_unconfirmed_end_is_none_while_neither_escape_nor_question_is_answered() {
    let (mut mode, now) = mode(false);
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    let escaped = now + SUSPICION_QUIET + GUARD;
    assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
    let asked = escaped + ASK_AFTER;
    assert_eq!(
        mode.deadline_passed(asked, false),
        StreamEffect::AskState(SocketId::new(0).expect("it is one"))
    );
    assert_eq!(mode.deadline_passed(asked + STATE_WAIT / 2, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(asked + STATE_WAIT, false), StreamEffect::Lost);
}

#[test]
fn what_a_modem_echoes_between_two_reboots_is_not_payload() {
    let (mut mode, now) = mode(false);
    assert_eq!(receive(&mut mode, b"x\r\nPOWERED DOWN\r\n", now), b"x");
    let escaped = now + SUSPICION_QUIET + GUARD;
    assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
    receive(&mut mode, b"\r\nRDY\r\n\r\n+CFUN: 1\r\na\r\n+CPIN: READY\r\nAA", escaped);
    receive(&mut mode, b"\r\nPOWERED DOWN\r\n\r\nRDY\r\n", escaped);
    let ended = mode.take_ended();
    assert!(ended.payload.is_empty() && !ended.certain, "{ended:?}");
    assert_eq!(ended.words, b"\r\nRDY\r\n");
}

#[test]
fn an_end_inside_the_payload_is_not_taken_for_the_end_when_dcd_has_dropped() {
    let (mut mode, now) = mode(true);
    mode.dcd_changed(false, now);
    let mut got = receive(&mut mode, b"a\r\nNO CARRIER\r\nb", now);
    got.extend(receive(&mut mode, b"c\r\nNO CARRIER\r\n", now));
    assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), StreamEffect::Ended);
    let ended = mode.take_ended();
    got.extend(ended.payload);
    assert_eq!(got, b"a\r\nNO CARRIER\r\nbc");
    assert!(ended.certain);
}

#[test]
fn an_end_is_not_believed_while_the_port_is_left_unread() {
    let (mut mode, now) = mode(true);
    mode.dcd_changed(false, now);
    mode.set_paused(true, now);
    assert_eq!(mode.deadline(false), None);
    assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), StreamEffect::Wait);
    mode.set_paused(false, now + HANG_UP_TAIL);
    assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL * 2, false), StreamEffect::Ended);
}

#[test]
fn an_ok_in_the_payload_is_not_taken_for_the_answer_to_the_escape() {
    let (mut mode, now) = mode(false);
    receive(&mut mode, b"\r\nNO CARRIER\r\n\r\nOK\r\n", now);
    let escaped = now + SUSPICION_QUIET + GUARD;
    assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(escaped, false), StreamEffect::SendEscape);
    assert_eq!(mode.deadline_passed(escaped + OK_QUIET, false), StreamEffect::Wait, "it came before");
    let early = escaped + Duration::from_millis(870);
    receive(&mut mode, b"\r\nOK\r\n", early);
    receive(&mut mode, b"\r\n+CREG: 1\r\n", early + OK_QUIET);
    assert_eq!(mode.deadline_passed(early + OK_QUIET * 2, false), StreamEffect::Wait, "it came too early");
    receive(&mut mode, b"\r\nOK\r\n", early + OK_QUIET * 2);
    let asked = early + OK_QUIET * 3;
    assert_eq!(mode.deadline_passed(asked, false), ask());
    receive(&mut mode, CARRIED, asked);
    assert_eq!(mode.deadline_passed(asked, false), StreamEffect::Left(Reason::Suspicion));
    assert_eq!(mode.take_left().payload, b"\r\nNO CARRIER\r\n\r\nOK\r\n\r\nOK\r\n\r\n+CREG: 1\r\n");
}

#[test]
fn what_a_modem_says_by_itself_behind_the_ok_of_an_escape_does_not_hide_it() {
    for after in [
        &b"\r\nRING\r\n"[..],
        b"\r\n+QSSLOPEN: 3,0\r\n\r\n+QSSLURC: \"recv\",3,1\r\n<",
        b"\r\n+QSSLURC: \"recv\",3,6\r\n\r\nOK\r\n\r\n+QSSLURC: \"closed\",3\r\n",
    ] {
        let (mut mode, now) = mode(false);
        mode.leave(now);
        assert_eq!(mode.deadline_passed(now, false), StreamEffect::Wait);
        assert_eq!(mode.deadline_passed(now + GUARD, false), StreamEffect::SendEscape);
        let words = [OK, after].concat();
        let mut got = receive(&mut mode, b"last", now + GUARD);
        got.extend(receive(&mut mode, &words, now + GUARD * 2));
        let left = mode.deadline_passed(now + GUARD * 2 + OK_QUIET, false);
        assert_eq!(left, StreamEffect::Left(Reason::Done), "{}", after.escape_ascii());
        let Left { payload, words: received, .. } = mode.take_left();
        assert_eq!([got, payload].concat(), b"last");
        assert_eq!(received, words);
    }
}

#[test]
fn a_long_queue_is_waited_for_as_long_as_it_shrinks() {
    let (mut mode, now) = mode(false);
    mode.sent(b"payload", now, Duration::from_secs(100));
    mode.leave(now);
    let mut at = now;
    for bytes in (1..=300).rev() {
        assert_eq!(mode.deadline_passed(at, false), StreamEffect::AskQueue, "{bytes} bytes");
        mode.queue_answered(bytes, at, Duration::from_secs(100));
        let due = mode.deadline(false).expect("it is to be asked again");
        assert!(due <= at + ASK_AGAIN_MAX, "not only when a slow line would be done");
        at += Duration::from_secs(1);
    }
    assert_eq!(mode.deadline_passed(at, false), StreamEffect::AskQueue);
    mode.queue_answered(0, at, Duration::ZERO);
    assert_eq!(mode.deadline_passed(at, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(at + GUARD, false), StreamEffect::SendEscape);
}

/// When a peer that sends this every 50 ms is done with: the time and what is next.
fn settled_beside(mode: &mut Stream, says: &[u8], mut now: Instant) -> Option<(Instant, StreamEffect)> {
    let until = now + Duration::from_secs(60);
    while now < until {
        receive(mode, says, now);
        now += Duration::from_millis(50);
        if mode.deadline(false).is_some_and(|due| due <= now) {
            let next = mode.deadline_passed(now, false);
            if !matches!(next, StreamEffect::Wait | StreamEffect::AskQueue) {
                return Some((now, next));
            }
        }
    }
    None
}

#[test]
fn a_peer_that_keeps_sending_holds_up_no_end() {
    for says in [&b"x"[..], b"\r\n+CREG: 1\r\n"] {
        let (mut mode, now) = mode(true);
        mode.dcd_changed(false, now);
        let (at, next) = settled_beside(&mut mode, says, now).expect("it comes to an end");
        assert_eq!(next, StreamEffect::Ended);
        assert!(at <= now + HANG_UP_MAX + HANG_UP_TAIL);
    }
}

#[test]
fn a_peer_that_keeps_sending_holds_up_no_question_and_no_escape() {
    let (mut mode, now) = mode(false);
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    let (at, next) = settled_beside(&mut mode, b"\n", now).expect("it is escaped");
    assert_eq!(next, StreamEffect::SendEscape);
    assert!(at <= now + SUSPICION_MAX + GUARD * 2);
    let now = at + OK_NOT_BEFORE;
    receive(&mut mode, OK, now);
    let (at, next) = settled_beside(&mut mode, b"\r\nRING\r\n", now).expect("it is left");
    assert_eq!(next, ask());
    assert!(at <= now + ESCAPE_WAIT + QUIET_MAX);
}

#[test]
fn a_server_that_takes_nothing_does_not_hold_the_port_for_ever() {
    let (mut mode, now) = mode(false);
    mode.sent(b"payload", now, Duration::ZERO);
    mode.leave(now);
    assert_eq!(mode.deadline_passed(now, false), StreamEffect::AskQueue);
    mode.queue_answered(7, now, Duration::ZERO);
    assert_eq!(mode.deadline_passed(now + DRAIN_LIMIT, false), StreamEffect::AskQueue);
    mode.queue_answered(7, now + DRAIN_LIMIT, Duration::from_secs(1));
    assert_eq!(mode.deadline_passed(now + DRAIN_LIMIT, false), StreamEffect::Wait);
    assert_eq!(mode.deadline_passed(now + DRAIN_LIMIT + GUARD, false), StreamEffect::SendEscape);
}

#[test]
fn an_end_that_follows_the_answer_to_a_drop_of_dtr_does_not_make_an_end_of_payload() {
    let now = test_clock::now();
    let mut mode = Stream::new(SocketId::new(0), true, Exit::Dtr, None, now);
    mode.skip_line_feed(b"\n");
    // What the server has sent reads like an end, and is held.
    assert_eq!(receive(&mut mode, b"\r\nNO CARRIER\r\n", now), b"");
    let hung_up = now + SUSPICION_QUIET;
    assert_eq!(mode.deadline_passed(hung_up, false), StreamEffect::SetDtr(false));
    // The modem leaves data mode for that, and then the server closes: DCD drops with that, late.
    mode.dcd_changed(true, hung_up);
    receive(&mut mode, b"\r\nOK\r\n\r\n+QSSLURC: \"closed\",0\r\n", hung_up);
    mode.dcd_changed(false, hung_up);
    assert_eq!(mode.deadline_passed(hung_up + HANG_UP_TAIL, false), StreamEffect::Ended);
    let ended = mode.take_ended();
    assert!(!ended.certain || ended.escape_missed, "the words were payload: {ended:?}");
}

/// What other channels may send before it is this one's turn.
const TURN: Duration = Duration::from_millis(500);

/// A stream on one of several channels of a line.
fn beside() -> (Stream, Instant) {
    let now = test_clock::now();
    (Stream::new(SocketId::new(0), true, Exit::Beside, None, now), now)
}

/// What is next once something is due.
fn next(mode: &mut Stream) -> (StreamEffect, Instant) {
    let now = mode.deadline(false).expect("something is due");
    (mode.deadline_passed(now, false), now)
}

fn deliver(mode: &mut Stream, effect: StreamEffect, now: Instant) -> Vec<u8> {
    let StreamEffect::Deliver(known) = effect else { panic!("nothing is payload: {effect:?}") };
    mode.deliverable(known, now)
}

/// Payload that looked like an end was asked about. The answer `connected` took 2.6 s; the end that had come meanwhile was
/// given to the client as payload.
#[test]
fn an_answer_tells_nothing_of_words_that_came_after_the_question() {
    let likeness = b"text\r\nNO CARRIER\r\n";
    for (since, payload) in [
        (&b"\r\nNO CARRIER\r\n"[..], &likeness[..]),
        (b"more\r\nNO CARRIER\r\n", b"text\r\nNO CARRIER\r\nmore"),
    ] {
        let (mut mode, now) = beside();
        let mut all = receive(&mut mode, likeness, now);
        let (asked, now) = next(&mut mode);
        assert!(matches!(asked, StreamEffect::AskBeside(_)));
        all.extend(receive(&mut mode, since, now));
        let told = mode.told_beside(Some(true), TURN, now);
        all.extend(deliver(&mut mode, told, now));
        assert_eq!(all, payload);
        let now = loop {
            let (next, at) = next(&mut mode);
            if let StreamEffect::AskBeside(_) = next {
                break at;
            }
        };
        mode.told_beside(Some(false), TURN, now);
        assert_eq!(next(&mut mode).0, StreamEffect::Ended);
        all.extend(mode.take_ended().payload);
        assert_eq!(all, payload);
    }
}

#[test]
fn beside_other_channels_the_modules_answer_decides_what_the_words_were() {
    for (is_connected, payload, is_end) in
        [(true, &b"text\r\nNO CARRIER\r\n"[..], false), (false, b"text", true)]
    {
        let (mut mode, now) = beside();
        let mut all = receive(&mut mode, b"text\r\nNO CARRIER\r\n", now);
        let (asked, now) = next(&mut mode);
        assert_eq!(asked, StreamEffect::AskBeside(SocketId::all().next().expect("a socket")));
        let told = mode.told_beside(Some(is_connected), TURN, now);
        match is_end {
            true => {
                assert_eq!(told, StreamEffect::Wait);
                assert_eq!(next(&mut mode), (StreamEffect::Ended, now + HANG_UP_TAIL));
                let ended = mode.take_ended();
                assert!(ended.certain && !ended.escape_missed);
                all.extend(ended.payload);
            }
            false => all.extend(deliver(&mut mode, told, now)),
        }
        assert_eq!(all, payload, "{is_connected}");
        assert_eq!(mode.is_flowing(), !is_end);
    }
}

/// What had been asked about and was payload was looked through again at the end: its `+QIURC` seemed to be the module's.
#[test]
fn payload_that_was_asked_about_makes_no_later_end_uncertain() {
    let (mut mode, now) = beside();
    let likeness = b"\r\nNO CARRIER\r\n\r\n+QIURC: \"pdpdeact\",1\r\n\xB7\x32";
    mode.may_be_over(now);
    let mut all = receive(&mut mode, likeness, now);
    let (asked, now) = next(&mut mode);
    assert!(matches!(asked, StreamEffect::AskBeside(_)));
    let told = mode.told_beside(Some(true), TURN, now);
    all.extend(deliver(&mut mode, told, now));
    mode.may_be_over(now);
    all.extend(receive(&mut mode, b"the end", now));
    let (asked, now) = next(&mut mode);
    assert!(matches!(asked, StreamEffect::AskBeside(_)));
    mode.told_beside(Some(false), TURN, now);
    assert_eq!(next(&mut mode).0, StreamEffect::Ended);
    let ended = mode.take_ended();
    all.extend(ended.payload);
    assert_eq!(all, [&likeness[..], b"the end"].concat());
    assert!(ended.certain);
}

#[test]
fn hostile_payload_is_asked_about_once_a_second() {
    let (mut mode, mut now) = beside();
    let mut asked: Vec<Instant> = Vec::new();
    for _ in 0..5 {
        receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
        now = loop {
            let (next, at) = next(&mut mode);
            if let StreamEffect::AskBeside(_) = next {
                break at;
            }
        };
        asked.push(now);
        let told = mode.told_beside(Some(true), TURN, now);
        assert_eq!(deliver(&mut mode, told, now), b"\r\nNO CARRIER\r\n");
    }
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)), "{asked:?}");
}

/// DCD drops, or another channel has told of it.
const SIGNS_OF_AN_END: [fn(&mut Stream, Instant); 2] =
    [|mode, now| mode.dcd_changed(false, now), |mode, now| mode.may_be_over(now)];

#[test]
fn dcd_alone_or_another_channels_words_end_a_stream_without_words_of_its_own() {
    for sign in SIGNS_OF_AN_END {
        let (mut mode, now) = beside();
        mode.dcd_changed(true, now);
        assert_eq!(receive(&mut mode, b"text", now), b"text");
        sign(&mut mode, now);
        assert_eq!(receive(&mut mode, b" and the last bytes", now), b"", "held until it is known");
        let (asked, now) = next(&mut mode);
        assert!(matches!(asked, StreamEffect::AskBeside(_)));
        assert_eq!(mode.told_beside(Some(false), TURN, now), StreamEffect::Wait);
        // The answer has overtaken what waited for this channel's turn.
        assert_eq!(receive(&mut mode, b", and what was overtaken", now + TURN), b"");
        assert_eq!(next(&mut mode), (StreamEffect::Ended, now + TURN + HANG_UP_TAIL + TURN));
        let ended = mode.take_ended();
        assert!(ended.certain);
        assert_eq!(ended.payload, b" and the last bytes, and what was overtaken");
    }
}

/// The question was about what another program made look like an end, and its answer was on its way when the real end
/// came.
#[test]
fn a_sign_of_the_end_that_comes_after_the_question_is_asked_about_too() {
    for sign in SIGNS_OF_AN_END {
        let (mut mode, now) = beside();
        mode.dcd_changed(true, now);
        mode.may_be_over(now);
        let (asked, now) = next(&mut mode);
        assert!(matches!(asked, StreamEffect::AskBeside(_)));
        sign(&mut mode, now);
        assert_eq!(mode.told_beside(Some(true), TURN, now), StreamEffect::Wait);
        let (asked, now) = next(&mut mode);
        assert!(matches!(asked, StreamEffect::AskBeside(_)), "{asked:?}");
        mode.told_beside(Some(false), TURN, now);
        assert_eq!(next(&mut mode).0, StreamEffect::Ended);
    }
}

/// The answer was once waited for although its socket had been lost with the data session, and the channel was never used
/// again.
#[test]
fn a_stream_whose_socket_is_lost_while_another_channel_is_asked_is_left() {
    let (mut mode, now) = beside();
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    let (asked, now) = next(&mut mode);
    assert!(matches!(asked, StreamEffect::AskBeside(_)));
    mode.disown();
    mode.leave(now);
    let (left, _) = next(&mut mode);
    assert_eq!(left, StreamEffect::SetDtr(false));
    assert_eq!(
        next(&mut mode).0,
        StreamEffect::Abandon,
        "and if that is not answered, the channel is opened anew"
    );
}

#[test]
fn noise_after_the_words_of_an_end_shows_that_they_may_be_payload() {
    let (mut mode, now) = beside();
    receive(&mut mode, b"text\r\nNO CARRIER\r\n\xF9\xF9", now);
    mode.may_be_over(now);
    let (_, now) = next(&mut mode);
    mode.told_beside(Some(false), TURN, now);
    assert_eq!(next(&mut mode).0, StreamEffect::Ended);
    assert!(!mode.take_ended().certain);
}

#[test]
fn where_the_end_was_told_by_another_channel_it_is_taken_for_the_modules_only_if_nothing_follows_it() {
    let closed = "\r\n+QSSLURC: \"closed\",0\r\n";
    for (is_told, after, certain) in [(true, "", true), (true, closed, false), (false, closed, true)] {
        let (mut mode, now) = beside();
        receive(&mut mode, format!("text\r\nNO CARRIER\r\n{after}").as_bytes(), now);
        if is_told {
            mode.may_be_over(now);
        }
        let (_, now) = next(&mut mode);
        mode.told_beside(Some(false), TURN, now);
        assert_eq!(next(&mut mode).0, StreamEffect::Ended);
        assert_eq!(mode.take_ended().certain, certain, "told: {is_told}, then {after:?}");
    }
}

#[test]
fn an_answer_to_what_was_still_on_its_way_is_no_payload_of_a_stream_that_has_ended() {
    let (mut mode, now) = beside();
    mode.may_be_over(now);
    receive(&mut mode, b"the rest\r\nERROR\r\n", now);
    let (_, now) = next(&mut mode);
    mode.told_beside(Some(false), TURN, now);
    assert_eq!(next(&mut mode).0, StreamEffect::Ended);
    let ended = mode.take_ended();
    assert_eq!((&ended.payload[..], ended.certain), (&b"the rest"[..], false));
}

#[test]
fn a_stream_that_nobody_answers_for_is_given_up() {
    let (mut mode, now) = beside();
    receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let (asked, now) = next(&mut mode);
        assert!(matches!(asked, StreamEffect::AskBeside(_)));
        answers.push(mode.told_beside(None, TURN, now));
    }
    assert_eq!(answers, [StreamEffect::Wait, StreamEffect::Wait, StreamEffect::Abandon]);
}

#[test]
fn beside_other_channels_a_stream_is_left_by_dtr_and_never_by_an_escape() {
    for is_answered in [true, false] {
        let (mut mode, now) = beside();
        mode.leave(now);
        assert_eq!(next(&mut mode).0, StreamEffect::SetDtr(false));
        if is_answered {
            receive(&mut mode, b"\r\nOK\r\n", now);
        }
        let expected = if is_answered { StreamEffect::Left(Reason::Done) } else { StreamEffect::Abandon };
        assert_eq!(next(&mut mode).0, expected);
    }
}
