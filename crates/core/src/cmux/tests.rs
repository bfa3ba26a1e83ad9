//! Tests of the multiplexer, with a module whose frames are made here.

use super::*;
use crate::shared_port::READ_BYTES;
use crate::test_clock::now;

/// Random numbers that repeat for the same seed: splitmix64.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Chance(seed)
    }

    /// A number from 0 to `limit` - 1.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A frame, with a checksum that is worked out bit by bit.
pub(super) fn frame(address: u8, control: u8, information: &[u8]) -> Vec<u8> {
    let length = information.len();
    let header = match length {
        0..=127 => vec![address, control, (length << 1) as u8 | 1],
        _ => vec![address, control, ((length << 1) & 0xFE) as u8, (length >> 7) as u8],
    };
    let summed: &[u8] = if control & !0x10 == 0x03 { information } else { &[] };
    let mut sum = 0xFF_u8;
    for byte in header.iter().chain(summed) {
        sum ^= byte;
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xE0 } else { sum >> 1 };
        }
    }
    [&[0xF9][..], &header, information, &[!sum, 0xF9]].concat()
}

/// A frame of the module, which has C/R clear on commands and set on responses.
fn says(words: &str) -> Vec<u8> {
    let mut words = words.split(' ');
    let kind = words.next().expect("a kind");
    let number: u8 = words.next().expect("a DLCI").parse().expect("a number");
    let information: Vec<u8> = words
        .map(|word| match word.strip_prefix("0x") {
            Some(hex) => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect(),
            None => word.as_bytes().to_vec(),
        })
        .collect::<Vec<_>>()
        .concat();
    let (control, response) = match kind {
        "SABM" => (0x3F, 0),
        "UA" => (0x73, 2),
        "DM" => (0x1F, 2),
        "DISC" => (0x53, 0),
        "UIH" => (0xEF, 0),
        other => panic!("{other}"),
    };
    frame(number << 2 | response | 1, control, &information)
}

/// Frames as `SABM 0`, `UIH 1 abc`, `MSC 1 0d`, `answer MSC 1 0d`.
fn read(mut bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::new(32_767);
    let mut all = Vec::new();
    while let Some(piece) = decoder.decode(&mut bytes) {
        let Piece::Frame(frame) = piece else { panic!("no frame: {piece:?}") };
        let kind = format!("{:?}", frame.kind).to_uppercase();
        match (frame.dlci, Message::parse(frame.information)) {
            (0, Some((message, _))) => {
                let answer = if message.is_command { "" } else { "answer " };
                let kind = Type::parse(message.octet).expect("a type");
                all.push(match message::modem_status(message.values) {
                    Some((dlci, lines)) if kind == Type::ModemStatus => {
                        format!("{answer}MSC {dlci} {:02x}", lines.octet())
                    }
                    // What it asks to be sent back is not the same twice.
                    _ if kind == Type::Test && message.is_command => "TEST".to_owned(),
                    _ => format!("{answer}{kind:?} {}", hex(message.values)).trim_end().to_owned(),
                });
            }
            (dlci, _) => {
                all.push(format!("{kind} {dlci} {}", frame.information.escape_ascii()).trim_end().to_owned())
            }
        }
    }
    assert!(!decoder.is_inside_frame(), "a frame is cut");
    all
}

struct Bench {
    mux: Mux,
    now: Instant,
}

impl Bench {
    fn new(frame_size: usize) -> Self {
        let now = now();
        Bench { mux: Mux::new(frame_size, 4, 115_200, now), now }
    }

    /// Opened by a module that answers as it should.
    fn running(frame_size: usize) -> Self {
        let mut bench = Bench::new(frame_size);
        bench.mux.open(bench.now);
        bench.module_answers();
        assert!(bench.mux.is_running(), "{:?}", bench.mux.state());
        bench.events();
        bench
    }

    /// What leaves is answered until there is nothing more.
    fn module_answers(&mut self) {
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                return;
            }
            for frame in sent {
                self.answer(&frame);
            }
        }
    }

    fn answer(&mut self, frame: &str) {
        let words: Vec<&str> = frame.split(' ').collect();
        match words[..] {
            ["SABM" | "DISC", dlci] => self.hear(&says(&format!("UA {dlci}"))),
            ["MSC", dlci, lines] => {
                let dlci: u8 = dlci.parse().expect("a number");
                self.hear(&says(&format!("UIH 0 0xe105{:02x}{lines}", dlci << 2 | 3)));
            }
            ["TEST"] => {
                let [_, high, low] = self.mux.test;
                self.hear(&says(&format!("UIH 0 0x210771{high:02x}{low:02x}")));
            }
            ["CloseDown"] => self.hear(&says("UIH 0 0xc101")),
            _ => {}
        }
    }

    /// The module sends this, and all of it is taken.
    fn hear(&mut self, bytes: &[u8]) {
        assert_eq!(self.mux.received(bytes, self.now), bytes.len(), "all is taken");
    }

    /// What leaves, in words.
    fn sent(&mut self) -> Vec<String> {
        read(&self.sent_bytes())
    }

    fn sent_bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.mux.output().is_empty() {
            all.extend_from_slice(self.mux.output());
            self.mux.written(self.mux.output().len(), self.now);
        }
        all
    }

    fn events(&mut self) -> Vec<MuxEvent> {
        std::iter::from_fn(|| self.mux.poll_event()).collect()
    }

    /// Time passes, by whatever deadlines come.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.mux.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.mux.deadline_passed(self.now);
            assert!(self.mux.next_deadline().is_none_or(|next| next > self.now), "it makes no progress");
        }
        self.now = end;
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn dlci(number: u8) -> DlciNumber {
    DlciNumber::new(number).expect("a channel")
}

// Opening.

#[test]
fn channels_are_opened_one_after_the_other_and_each_step_waits_for_its_answer() {
    let mut bench = Bench::new(127);
    bench.mux.open(bench.now);
    assert_eq!(hex(&bench.sent_bytes()), "f9033f011cf9");
    bench.hear(&says("UA 0"));
    assert_eq!(hex(&bench.sent_bytes()), "f9073f01def9");
    bench.hear(&says("UA 1"));
    assert_eq!(hex(&bench.sent_bytes()), "f903ef09e305070dfbf9f90b3f0159f9");
    bench.hear(&[says("UIH 0 0xe105070d"), says("UA 2")].concat());
    assert_eq!(bench.sent(), ["MSC 2 0d", "SABM 3"]);
    bench.hear(&[says("UA 3"), says("UIH 0 0xe1050b0d")].concat());
    assert_eq!(bench.sent(), ["MSC 3 0d", "SABM 4"]);
    bench.hear(&[says("UIH 0 0xe1050f0d"), says("UA 4")].concat());
    assert_eq!(bench.sent(), ["MSC 4 0d"]);
    assert!(!bench.mux.is_running());
    bench.hear(&says("UIH 0 0xe105130d"));
    assert!(bench.mux.is_running());
    let opened = DlciNumber::first(4).map(MuxEvent::Opened);
    assert_eq!(bench.events(), opened.chain([MuxEvent::Running]).collect::<Vec<_>>());
}

#[test]
fn a_module_that_does_not_answer_is_asked_four_times_and_given_up() {
    let mut bench = Bench::new(127);
    bench.mux.open(bench.now);
    bench.hear(b"\r\nOK\r\n");
    let mut sent = Vec::new();
    let start = bench.now;
    while bench.mux.is_framed() {
        sent.extend(bench.sent());
        bench.wait(millis(10));
    }
    assert_eq!(sent, ["SABM 0"; 4]);
    assert!((millis(400)..millis(600)).contains(&(bench.now - start)), "{:?}", bench.now - start);
    assert_eq!(bench.events(), [MuxEvent::Text("OK".to_owned()), MuxEvent::Lost(Lost::NoAnswer)]);
    assert_eq!(bench.mux.received(b"\r\nOK\r\n", bench.now), 0, "the line is the caller's");
}

#[test]
fn an_echo_is_no_module() {
    let mut bench = Bench::new(127);
    bench.mux.open(bench.now);
    for _ in 0..100 {
        let echo = bench.sent_bytes();
        bench.mux.received(&echo, bench.now);
        bench.wait(millis(50));
    }
    assert_eq!(bench.events(), [MuxEvent::Lost(Lost::NoAnswer)]);
}

#[test]
fn a_module_may_answer_twice_or_open_a_channel_itself_or_answer_something_older_first() {
    let mut bench = Bench::new(127);
    bench.mux.open(bench.now);
    bench.hear(&[says("UA 0"), says("UA 0")].concat());
    assert_eq!(bench.sent(), ["SABM 0", "SABM 1"]);
    bench.hear(&[says("DM 1"), says("UA 1"), says("UA 1"), says("SABM 3")].concat());
    assert_eq!(bench.sent(), ["MSC 1 0d", "SABM 2", "UA 3", "MSC 3 0d"]);
    // Its own SABM of the channel that we open: whether the UA is its own, or an echo of ours, cannot be seen.
    bench.hear(&[says("SABM 2"), says("UA 2")].concat());
    assert_eq!(bench.sent(), ["UA 2"]);
    bench.wait(millis(400));
    bench.module_answers();
    assert!(bench.mux.is_running());
    let opened: Vec<MuxEvent> =
        [1, 3, 2, 4].map(|number| MuxEvent::Opened(dlci(number))).into_iter().collect();
    assert_eq!(bench.events(), [&opened[..], &[MuxEvent::Running]].concat());
}

#[test]
fn channels_that_are_refused_stay_closed_and_without_any_the_multiplexer_is_lost() {
    for (refused, expected) in [(3..=4, MuxEvent::Running), (1..=4, MuxEvent::Lost(Lost::Refused))] {
        let mut bench = Bench::new(127);
        bench.mux.open(bench.now);
        for _ in 0..100 {
            for frame in bench.sent() {
                match frame.strip_prefix("SABM ").and_then(|number| number.parse::<u8>().ok()) {
                    Some(number) if refused.contains(&number) => bench.hear(&says(&format!("DM {number}"))),
                    _ => bench.answer(&frame),
                }
            }
            bench.wait(millis(50));
        }
        let events = bench.events();
        assert_eq!(events.last(), Some(&expected));
        for number in refused {
            assert!(events.contains(&MuxEvent::Closed(dlci(number))), "{events:?}");
        }
    }
}

#[test]
fn a_module_that_never_answers_msc_is_used_all_the_same() {
    let mut bench = Bench::new(127);
    bench.mux.open(bench.now);
    for _ in 0..100 {
        for frame in bench.sent().into_iter().filter(|frame| !frame.starts_with("MSC")) {
            bench.answer(&frame);
        }
        bench.wait(millis(20));
    }
    assert!(bench.mux.is_running());
    // It does not answer TEST either, so its silence has no meaning.
    for _ in 0..60 {
        bench.wait(SECOND);
        bench.sent();
    }
    assert!(bench.mux.is_running());
    assert_eq!(bench.events().last(), Some(&MuxEvent::Running));
}

#[test]
fn the_answer_to_a_message_may_take_longer_than_the_answer_to_a_frame() {
    let mut bench = Bench::running(127);
    bench.mux.set_dtr(dlci(2), false, bench.now);
    bench.mux.close_channel(dlci(3), bench.now);
    let sent = bench.sent();
    assert!(matches!(&sent[..], [lines, disc] if lines.starts_with("MSC 2") && disc == "DISC 3"), "{sent:?}");
    bench.wait(millis(150));
    assert_eq!(bench.sent(), ["DISC 3"]);
    bench.answer("DISC 3");
    bench.wait(millis(140));
    assert_eq!(bench.sent(), [""; 0]);
    bench.wait(millis(50));
    assert_eq!(bench.sent(), sent[..1]);
}

/// Whether a stream has left the host must not depend on what others send after it.
#[test]
fn what_one_channel_has_sent_is_sent_however_much_others_send_after_it() {
    let mut bench = Bench::running(127);
    bench.mux.send_bytes(dlci(2), b"abc", bench.now);
    assert!(bench.mux.unsent(dlci(2)) >= 3);
    for _ in 0..5 {
        bench.mux.send_bytes(dlci(1), &[b'x'; 127], bench.now);
        bench.mux.written(bench.mux.output().len(), bench.now);
    }
    bench.mux.send_bytes(dlci(1), &[b'x'; 127], bench.now);
    assert!(!bench.mux.output().is_empty() && bench.mux.unsent(dlci(1)) >= 127);
    assert_eq!(bench.mux.unsent(dlci(2)), 0);
}

// State and event.

#[test]
fn every_frame_has_its_answer_in_every_state() {
    type Make = fn() -> Bench;
    let states: [(&str, Make); 4] = [
        ("found", || {
            let mut bench = Bench::new(127);
            bench.mux.probe(bench.now);
            bench.sent_bytes();
            bench.answer("TEST");
            bench
        }),
        ("opening", || {
            let mut bench = Bench::new(127);
            bench.mux.open(bench.now);
            bench
        }),
        ("running", || Bench::running(127)),
        ("closing", || {
            let mut bench = Bench::running(127);
            bench.mux.leave(bench.now);
            bench
        }),
    ];
    let running = "running";
    let lost = |why| vec![MuxEvent::Lost(why)];
    let no = Vec::new;
    for (event, answers, in_running, in_running_events) in [
        ("SABM 0", "UA 0", "UA 0", no()),
        ("UA 0", "", "", no()),
        ("DM 0", "", "TEST", no()),
        ("SABM 1", "UA 1", "UA 1", no()),
        ("DISC 1", "UA 1", "UA 1", vec![MuxEvent::Closed(dlci(1))]),
        ("DM 1", "", "", vec![MuxEvent::Closed(dlci(1))]),
        ("UA 1", "", "", no()),
        ("UIH 1 abc", "", "", no()),
        ("SABM 9", "DM 9", "DM 9", no()),
        ("UIH 9 abc", "DM 9", "DM 9", no()),
        ("UA 9", "", "", no()),
        ("UIH 0 0x230761", "", "", no()),
        ("UIH 0 0x2307616263", "answer Test 616263", "answer Test 616263", no()),
        ("UIH 0 0x4301", "answer PowerSaving", "answer PowerSaving", no()),
        ("UIH 0 0x6301", "answer FlowOff", "answer FlowOff", no()),
        ("UIH 0 0xa301", "answer FlowOn", "answer FlowOn", no()),
        (
            "UIH 0 0xe305070d",
            "answer MSC 1 0d",
            "answer MSC 1 0d",
            vec![MuxEvent::Lines(dlci(1), V24::from(0x0D))],
        ),
        (
            "UIH 0 0xe307070d01",
            "answer MSC 1 0d",
            "answer MSC 1 0d",
            vec![MuxEvent::Lines(dlci(1), V24::from(0x0D))],
        ),
        ("UIH 0 0xe303", "", "", no()),
        ("UIH 0 0xf301", "answer NotSupported f3", "answer NotSupported f3", no()),
        ("UIH 0 0xf101", "", "", no()),
        ("UIH 0 0x5305070d", "answer RemoteLine 070d", "answer RemoteLine 070d", no()),
        ("UIH 0 0x930307", "answer RemotePort 0707030011130000", "answer RemotePort 0707030011130000", no()),
        ("UIH 0 0xd3050700", "answer Service 0700", "answer Service 0700", no()),
        (
            "UIH 0 0x8311010000001f000302",
            "answer Parameters 010000001f000302",
            "answer Parameters 010000001f000302",
            no(),
        ),
        (
            "UIH 0 0x831101000000ffff0302",
            "answer Parameters 010000007f000302",
            "answer Parameters 010000007f000302",
            no(),
        ),
        ("DISC 0", "UA 0", "UA 0", lost(Lost::LeftByModule)),
        ("UIH 0 0xc301", "answer CloseDown", "answer CloseDown", lost(Lost::LeftByModule)),
    ] {
        for (state, make) in states {
            let mut bench = make();
            bench.sent_bytes();
            bench.events();
            // Twice: nothing that comes again does harm.
            for times in 1..=2 {
                bench.mux.received(&says(event), bench.now);
                let (sent, events) = (bench.sent(), bench.events());
                let name = format!("{event} for the {times}. time when {state}");
                if times == 1 {
                    let expected = if state == running { in_running } else { answers };
                    let continues = state == "opening" && event == "UA 0";
                    let expected = if continues { "SABM 1" } else { expected };
                    assert_eq!(sent.join(", "), expected, "{name}");
                    match state {
                        "running" => assert_eq!(events, in_running_events, "{name}"),
                        "closing" if matches!(event, "DISC 0" | "UIH 0 0xc301") => {
                            assert_eq!(events, [MuxEvent::Left])
                        }
                        _ => assert_eq!(events, no(), "{name}"),
                    }
                } else {
                    assert!(sent.len() <= 2 && events.len() <= 1, "{name}: {sent:?} {events:?}");
                }
            }
        }
    }
}

#[test]
fn msc_counts_by_its_length_whatever_comes_after_it() {
    for information in ["0xe3050b8d", "0xe3070b8d01", "0xe30d0b8d000000", "0xe3050b8d00000000"] {
        let mut bench = Bench::running(127);
        bench.hear(&says(&format!("UIH 0 {information}")));
        let is_whole = information != "0xe30d0b8d000000";
        let expected = if is_whole { vec![MuxEvent::Lines(dlci(2), V24::from(0x8D))] } else { Vec::new() };
        assert_eq!(bench.events(), expected, "{information}");
        assert_eq!(bench.sent().len(), usize::from(is_whole), "{information}");
        assert_eq!(bench.mux.dlci(dlci(2)).lines().is_some_and(V24::dcd), is_whole);
    }
}

// Bytes.

#[test]
fn bytes_pass_both_ways_in_frames_of_at_most_n1() {
    let mut bench = Bench::running(127);
    let bytes: Vec<u8> = (0..600).map(|index| index as u8).collect();
    let mut sent = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() || !bench.mux.output().is_empty() {
        rest = &rest[bench.mux.send_bytes(dlci(2), rest, bench.now)..];
        assert!(bench.mux.output().len() <= 127 + OVERHEAD_BYTES);
        sent.extend_from_slice(bench.mux.output());
        bench.mux.written(bench.mux.output().len(), bench.now);
    }
    let mut decoder = Decoder::new(127);
    let mut input = &sent[..];
    let mut carried = Vec::new();
    while let Some(Piece::Frame(frame)) = decoder.decode(&mut input) {
        assert_eq!((frame.dlci, frame.kind), (2, Kind::Uih));
        carried.extend_from_slice(frame.information);
    }
    assert_eq!(carried, bytes);
    // The other way, in frames that are longer than N1.
    bench.hear(&frame(0x09, 0xFF, &bytes[..191]));
    bench.hear(&frame(0x0B, 0xEF, &bytes[191..300]));
    assert_eq!(bench.mux.incoming(dlci(2)), &bytes[..300]);
    bench.mux.consume(dlci(2), 100, bench.now);
    assert_eq!(bench.mux.incoming(dlci(2)), &bytes[100..300]);
    assert_eq!(bench.mux.incoming(dlci(1)), b"");
}

#[test]
fn a_smaller_n1_that_the_module_asks_for_is_kept() {
    let mut bench = Bench::running(127);
    bench.hear(&says("UIH 0 0x8311020000001f000302"));
    bench.sent();
    bench.mux.send_bytes(dlci(2), &[b'x'; 40], bench.now);
    assert_eq!(bench.sent(), [format!("UIH 2 {}", "x".repeat(31)), format!("UIH 2 {}", "x".repeat(9))]);
}

#[test]
fn a_command_waits_for_one_frame_and_streams_share_the_line() {
    let mut bench = Bench::running(512);
    let mut carried = [0_usize; 4];
    let mut waits = Vec::new();
    for round in 0..3000 {
        for number in 2..=4 {
            // One stream has its bytes in small pieces.
            let count = if number == 3 { 100 } else { 512 };
            while bench.mux.send_bytes(dlci(number), &vec![number; count], bench.now) > 0 {}
        }
        if round % 50 == 49 {
            bench.mux.send_bytes(dlci(1), b"AT+CSQ\r", bench.now);
            let mut before = bench.mux.output().len();
            if read(bench.mux.output()).iter().any(|frame| frame.starts_with("UIH 1")) {
                before = 0;
            }
            waits.push(before);
        }
        let frames = read(bench.mux.output());
        assert!(bench.mux.output().len() <= 512 + OVERHEAD_BYTES);
        // After the one that was on its way the command leaves.
        if round % 50 == 0 && round > 0 {
            assert!(frames[0].starts_with("UIH 1"), "round {round}: {}", frames[0]);
        }
        for frame in frames {
            let number: usize = frame[4..5].parse().expect("a number");
            carried[number - 1] += frame.len() - 6;
        }
        bench.mux.written(bench.mux.output().len(), bench.now);
    }
    assert!(waits.iter().all(|wait| *wait <= 512 + OVERHEAD_BYTES));
    let (least, most) = (carried[1..].iter().min().unwrap(), carried[1..].iter().max().unwrap());
    assert!(most - least <= most / 20, "{carried:?}");
}

#[test]
fn control_goes_before_data_after_the_frame_on_its_way() {
    let mut bench = Bench::running(127);
    bench.mux.send_bytes(dlci(2), &[b'x'; 254], bench.now);
    // The first frame has left in part.
    let begun = bench.mux.output()[..20].to_vec();
    bench.mux.written(20, bench.now);
    bench.hear(&says("UIH 0 0xe305078d"));
    let sent = read(&[begun, bench.sent_bytes()].concat());
    let data = format!("UIH 2 {}", "x".repeat(127));
    assert_eq!(sent, [data.as_str(), "answer MSC 1 8d", data.as_str()]);
}

// Flow control.

#[test]
fn fc_holds_one_channel_and_fcoff_all_of_them() {
    let mut bench = Bench::running(127);
    // FC on channel 2.
    bench.hear(&says("UIH 0 0xe3050b0f"));
    assert_eq!(bench.mux.send_bytes(dlci(2), b"held", bench.now), 4);
    bench.mux.send_bytes(dlci(3), b"free", bench.now);
    assert_eq!(bench.sent(), ["answer MSC 2 0f", "UIH 3 free"]);
    bench.wait(5 * SECOND);
    bench.hear(&says("UIH 0 0xe3050b0d"));
    assert_eq!(bench.sent(), ["answer MSC 2 0d", "UIH 2 held"]);
    let held = bench.mux.dlci(dlci(2)).held(bench.now);
    assert_eq!((held.by_module, held.by_us), (5 * SECOND, Duration::ZERO));
    // FCoff, twice.
    bench.hear(&[says("UIH 0 0x6301"), says("UIH 0 0x6301")].concat());
    bench.mux.send_bytes(dlci(2), b"a", bench.now);
    bench.mux.send_bytes(dlci(1), b"b", bench.now);
    assert_eq!(bench.sent(), ["answer FlowOff"; 2]);
    bench.wait(SECOND);
    bench.hear(&says("UIH 0 0xa301"));
    let mut sent = bench.sent();
    sent.sort();
    assert_eq!(sent, ["UIH 1 b", "UIH 2 a", "answer FlowOn"]);
    assert_eq!(bench.mux.counters(bench.now).stopped, SECOND);
}

#[test]
fn rtr_that_is_off_holds_for_two_seconds_and_then_the_module_is_asked() {
    let mut bench = Bench::running(127);
    // RTC and RTR are off, as on a ring.
    bench.hear(&says("UIH 0 0xe3050b01"));
    bench.mux.send_bytes(dlci(2), b"held", bench.now);
    assert_eq!(bench.sent(), ["answer MSC 2 01"]);
    bench.wait(millis(1_900));
    // Told once more, it does not hold for longer.
    bench.hear(&says("UIH 0 0xe3050b41"));
    assert_eq!(bench.sent(), ["answer MSC 2 41"]);
    bench.wait(millis(200));
    assert_eq!(bench.sent(), ["TEST", "UIH 2 held"]);
    bench.hear(&says("UIH 0 0xe3050b01"));
    bench.mux.send_bytes(dlci(2), b"more", bench.now);
    assert_eq!(bench.sent(), ["answer MSC 2 01", "UIH 2 more"]);
    assert_eq!(bench.mux.dlci(dlci(2)).held(bench.now).by_module, NOT_READY);
    bench.hear(&[says("UIH 0 0xe3050b0d"), says("UIH 0 0xe3050b05")].concat());
    bench.mux.send_bytes(dlci(2), b"held", bench.now);
    assert_eq!(bench.sent(), ["answer MSC 2 0d", "answer MSC 2 05"], "it went off once more");
}

const NOT_READY: Duration = dlci::NOT_READY_MAX;

#[test]
fn a_module_is_held_when_its_user_does_not_read_and_the_other_channels_go_on() {
    let mut bench = Bench::running(512);
    let data = says(&format!("UIH 2 {}", "x".repeat(512)));
    let mut frames = 0;
    // The user had the chance to read before the module is held.
    while bench.mux.output().is_empty() {
        assert!(bench.mux.incoming(dlci(2)).len() < HOLD_MARK_BYTES + 512);
        bench.mux.received(&data, bench.now);
        frames += 1;
    }
    assert_eq!(bench.sent(), ["MSC 2 0f"]);
    assert_eq!(frames, HOLD_MARK_BYTES / 512 + 1);
    bench.wait(SECOND);
    assert_eq!(bench.sent(), ["MSC 2 0f"; 2], "it is not answered");
    // What was on its way is taken as well.
    bench.hear(&data.repeat(6));
    bench.hear(&says("UIH 3 abc"));
    assert_eq!(bench.mux.incoming(dlci(3)), b"abc");
    let waiting = bench.mux.incoming(dlci(2)).len();
    bench.mux.consume(dlci(2), waiting - RELEASE_MARK_BYTES, bench.now);
    assert_eq!(bench.sent(), [""; 0]);
    bench.mux.consume(dlci(2), 1, bench.now);
    assert_eq!(bench.sent(), ["MSC 2 0d"]);
    // The answer to earlier lines does not count.
    bench.hear(&says("UIH 0 0xe1050b0f"));
    bench.wait(millis(400));
    assert_eq!(bench.sent(), ["MSC 2 0d"]);
    bench.hear(&says("UIH 0 0xe1050b0d"));
    bench.wait(SECOND);
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.mux.dlci(dlci(2)).held(bench.now).by_us, SECOND);
}

#[test]
fn large_pieces_do_not_hold_a_module_whose_user_reads() {
    let mut bench = Bench::running(512);
    let data = says(&format!("UIH 2 {}", "x".repeat(512))).repeat(200);
    let mut rest = &data[..];
    while !rest.is_empty() {
        let count = bench.mux.received(rest, bench.now);
        assert!(count > 0);
        rest = &rest[count..];
        bench.mux.consume(dlci(2), bench.mux.incoming(dlci(2)).len(), bench.now);
    }
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn a_module_that_does_not_stop_breaks_one_stream_and_no_other() {
    let mut bench = Bench::running(512);
    let data = says(&format!("UIH 2 {}", "x".repeat(512)));
    bench.hear(&says("UIH 3 abc"));
    while bench.mux.received(&data, bench.now) > 0 {
        assert!(bench.mux.incoming(dlci(2)).len() <= INCOMING_LIMIT_BYTES);
    }
    bench.sent();
    // It is not given up while there is hope.
    bench.wait(millis(1_900));
    assert_eq!(bench.mux.received(&data, bench.now), 0);
    assert_eq!(bench.events(), []);
    bench.wait(millis(200));
    assert_eq!(bench.events(), [MuxEvent::Overrun(dlci(2))]);
    bench.hear(&data.repeat(100));
    assert_eq!(bench.mux.incoming(dlci(2)), b"", "the stream has a gap");
    assert_eq!(bench.mux.incoming(dlci(3)), b"abc");
    // A new stream begins when the channel is opened again.
    bench.mux.close_channel(dlci(2), bench.now);
    bench.module_answers();
    bench.mux.open_channel(dlci(2), bench.now);
    bench.module_answers();
    assert_eq!(bench.events(), [MuxEvent::Closed(dlci(2)), MuxEvent::Opened(dlci(2))]);
    bench.hear(&says("UIH 2 new"));
    assert_eq!(bench.mux.incoming(dlci(2)), b"new");
}

#[test]
fn three_held_streams_take_no_more_memory_than_allowed() {
    for frame_size in [127, 512, 1509] {
        let mut bench = Bench::running(frame_size);
        for _ in 0..400 {
            for number in 2..=4 {
                let data = says(&format!("UIH {number} {}", "x".repeat(frame_size)));
                bench.mux.received(&data, bench.now);
                while bench.mux.send_bytes(dlci(number), &vec![0; frame_size], bench.now) > 0 {}
            }
        }
        // What the line has delivered waits in front of the multiplexer.
        let memory = bench.mux.memory_bytes() + READ_BYTES;
        let waiting: Vec<usize> = DlciNumber::first(4).map(|dlci| bench.mux.incoming(dlci).len()).collect();
        assert!(waiting[1..].iter().all(|waiting| *waiting >= 8 * 1024), "N1 {frame_size}: {waiting:?}");
        assert!(memory <= 64 * 1024, "N1 {frame_size}: {memory} bytes");
        for number in 2..=4 {
            bench.mux.consume(dlci(number), bench.mux.incoming(dlci(number)).len(), bench.now);
        }
        assert!(bench.mux.memory_bytes() <= 12 * 1024, "N1 {frame_size}: what was taken is given back");
    }
}

/// What is on its way to three users that pause, when the module is told to stop, was once left in the line, and then lost.
#[test]
fn what_is_on_its_way_to_three_held_streams_finds_room() {
    for frame_size in [127, 512, 1509] {
        let mut bench = Bench::running(frame_size);
        let frame = |number| says(&format!("UIH {number} {}", "x".repeat(frame_size)));
        let mut held = [false; 3];
        while held != [true; 3] {
            for number in 2..=4 {
                assert!(bench.mux.received(&frame(number), bench.now) > 0);
                let told = bench.sent();
                for (index, held) in held.iter_mut().enumerate() {
                    *held |= told.contains(&format!("MSC {} 0f", index + 2));
                }
            }
        }
        // A tenth of a second at 921600 bit/s is 9216 bytes.
        for _ in 0..20_000 / frame_size / 3 {
            for number in 2..=4 {
                let data = frame(number);
                assert_eq!(bench.mux.received(&data, bench.now), data.len(), "N1 {frame_size}");
            }
        }
    }
}

#[test]
fn a_stream_of_the_longest_frames_finds_room() {
    let mut bench = Bench::running(usize::MAX);
    let data = says(&format!("UIH 2 {}", "x".repeat(FRAME_SIZE_MAX)));
    let mut count = 0;
    for _ in 0..100 {
        bench.hear(&data);
        let waiting = bench.mux.incoming(dlci(2)).len();
        count += waiting;
        bench.mux.consume(dlci(2), waiting, bench.now);
    }
    assert_eq!(count, 100 * FRAME_SIZE_MAX);
}

#[test]
fn dtr_is_shown_by_msc_and_repeated_until_it_is_answered() {
    let mut bench = Bench::running(127);
    bench.mux.set_dtr(dlci(3), false, bench.now);
    bench.mux.set_dtr(dlci(3), false, bench.now);
    assert_eq!(bench.sent(), ["MSC 3 09"]);
    bench.wait(millis(350));
    assert_eq!(bench.sent(), ["MSC 3 09"]);
    bench.mux.set_dtr(dlci(3), true, bench.now);
    assert_eq!(bench.sent(), ["MSC 3 0d"]);
    bench.hear(&says("UIH 0 0xe1050f0d"));
    bench.wait(SECOND);
    assert_eq!(bench.sent(), [""; 0]);
}

// Closing channels.

#[test]
fn a_channel_is_closed_by_either_side_and_what_came_before_is_kept() {
    let mut bench = Bench::running(127);
    bench.hear(&[says("UIH 2 last"), says("DISC 2"), says("UIH 2 late")].concat());
    assert_eq!(bench.sent(), ["UA 2", "DM 2"]);
    assert_eq!(bench.events(), [MuxEvent::Closed(dlci(2))]);
    assert_eq!(bench.mux.incoming(dlci(2)), b"last");
    assert_eq!(bench.mux.send_bytes(dlci(2), b"x", bench.now), 0);
    // Some modules answer DISC only if P/F is clear.
    bench.mux.close_channel(dlci(3), bench.now);
    assert_eq!(hex(&bench.sent_bytes())[..6], *"f90f53");
    bench.wait(millis(150));
    assert_eq!(hex(&bench.sent_bytes())[..6], *"f90f43");
    bench.hear(&says("UA 3"));
    assert_eq!(bench.events(), [MuxEvent::Closed(dlci(3))]);
    // And some never do.
    bench.mux.close_channel(dlci(4), bench.now);
    for _ in 0..20 {
        bench.sent_bytes();
        bench.wait(millis(50));
    }
    assert_eq!(bench.events(), [MuxEvent::Closed(dlci(4))]);
    assert!(bench.mux.is_running());
    bench.mux.open_channel(dlci(2), bench.now);
    bench.module_answers();
    assert_eq!(bench.mux.incoming(dlci(2)), b"", "a new stream");
    assert_eq!(bench.events(), [MuxEvent::Opened(dlci(2))]);
}

// Is the module still there?

#[test]
fn a_silent_module_is_asked_and_lost_after_three_missed_answers() {
    let mut bench = Bench::running(127);
    bench.wait(millis(9_900));
    assert_eq!(bench.sent(), [""; 0]);
    bench.wait(millis(200));
    assert_eq!(bench.sent(), ["TEST"]);
    bench.answer("TEST");
    bench.wait(millis(9_900));
    assert_eq!(bench.sent(), [""; 0], "it answered");
    bench.wait(millis(1_500));
    let first = bench.sent();
    assert_eq!(first.iter().filter(|frame| *frame == "TEST").count(), 2);
    bench.wait(millis(2_500));
    assert_eq!(bench.events(), [MuxEvent::Lost(Lost::Silent)]);
    assert!(!bench.mux.is_framed());
    assert_eq!(bench.mux.next_deadline(), None);
}

#[test]
fn after_words_of_a_reset_no_payload_leaves_and_the_line_is_given_back() {
    for words in ["\r\nRDY\r\n", "\r\n+CFUN: 1\r\n", "\r\nAPP RDY\r\n", "\r\nPOWERED DOWN\r\n"] {
        let mut bench = Bench::running(127);
        bench.hear(words.as_bytes());
        bench.mux.send_bytes(dlci(2), b"AT+CFUN=0\r", bench.now);
        assert_eq!(bench.sent(), ["TEST", "MSC 1 0d"]);
        bench.wait(millis(1_200));
        assert_eq!(bench.events(), [MuxEvent::Text(words.trim().to_owned()), MuxEvent::Lost(Lost::Rebooted)]);
        assert!(bench.sent().iter().all(|frame| !frame.starts_with("UIH")));
        assert_eq!(bench.mux.received(b"\r\n+CPIN: READY\r\n", bench.now), 0);
    }
}

#[test]
fn words_of_a_reset_count_for_nothing_if_the_module_still_answers() {
    let mut bench = Bench::running(127);
    bench.hear(b"\r\nRDY\r\n");
    bench.mux.send_bytes(dlci(2), b"payload", bench.now);
    assert_eq!(bench.sent(), ["TEST", "MSC 1 0d"]);
    // Payload could be an echo.
    bench.hear(&says("UIH 2 payload"));
    assert_eq!(bench.sent(), [""; 0]);
    bench.answer("TEST");
    assert_eq!(bench.sent(), ["UIH 2 payload"]);
    bench.wait(5 * SECOND);
    assert!(bench.mux.is_running());
}

#[test]
fn other_text_makes_it_ask_and_payload_goes_on() {
    let mut bench = Bench::running(127);
    bench.hear(b"\r\n+CME ERROR: 3\r\n");
    bench.mux.send_bytes(dlci(2), b"payload", bench.now);
    assert_eq!(bench.sent(), ["TEST", "UIH 2 payload"]);
    bench.wait(SECOND * 2);
    bench.sent();
    bench.wait(SECOND * 2);
    assert_eq!(bench.events().last(), Some(&MuxEvent::Lost(Lost::Silent)));
}

#[test]
fn words_in_a_damaged_frame_are_no_reset() {
    let good = says("UIH 2 0x0d0a5244590d0a0d0a5244590d0a0d0a524459");
    for at in 0..good.len() {
        for bits in [0x00, 0x01, 0x5B, 0x40, 0xF0] {
            let mut bench = Bench::running(127);
            let mut damaged = good.clone();
            match bits {
                0 => drop(damaged.remove(at)),
                _ => damaged[at] ^= bits,
            }
            bench.hear(&[&damaged[..], &says("UIH 3 after"), &[0; 200]].concat());
            assert!(bench.events().is_empty(), "byte {at}, bits {bits:02x}: {:?}", damaged);
            assert_eq!(bench.mux.incoming(dlci(3)), b"after", "byte {at}, bits {bits:02x}");
        }
    }
}

#[test]
fn a_reset_in_the_middle_of_noise_is_noticed_by_the_silence_after_it() {
    let data = says("UIH 2 payload");
    for noise in [&b"\xE0\x80\r\nRDY\r\n"[..], &[&data[..9], b"\r\nRDY\r\n"].concat()] {
        let mut bench = Bench::running(127);
        bench.hear(&data);
        let start = bench.now;
        bench.hear(noise);
        while bench.mux.is_framed() && bench.now < start + 8 * SECOND {
            bench.sent();
            bench.wait(millis(10));
        }
        assert_eq!(bench.events().last(), Some(&MuxEvent::Lost(Lost::Silent)));
        assert!(bench.now - start < 6 * SECOND, "{:?}", bench.now - start);
    }
    // Noise before a good frame is nothing.
    let mut bench = Bench::running(127);
    bench.hear(b"\xE0\x80");
    bench.hear(&data);
    bench.wait(5 * SECOND);
    assert_eq!(bench.sent(), [""; 0]);
}

/// Its answers were damaged, it rebooted, and what it sent then was taken for the remains of frames for good.
#[test]
fn a_module_that_reboots_while_the_channels_open_is_lost_even_if_nothing_was_answered() {
    let mut bench = Bench::new(127);
    bench.mux.open(bench.now);
    while !bench.mux.is_running() {
        bench.wait(millis(10));
        for sent in bench.sent().iter().filter(|frame| !frame.starts_with("MSC")) {
            bench.answer(sent);
        }
    }
    bench.events();
    let mut damaged = says("UIH 0 0xe305070d");
    let checksum = damaged.len() - 2;
    damaged[checksum] ^= 0x55;
    bench.hear(&damaged);
    let start = bench.now;
    while bench.mux.is_framed() && bench.now < start + 20 * SECOND {
        bench.hear(b"AT\r\r\nOK\r\n");
        bench.sent();
        bench.wait(millis(1_500));
    }
    assert_eq!(bench.events().last(), Some(&MuxEvent::Lost(Lost::Silent)));
    assert!(bench.now - start < 15 * SECOND, "{:?}", bench.now - start);
}

#[test]
fn a_module_that_holds_one_channel_for_long_is_asked_while_others_carry_data() {
    let mut bench = Bench::running(127);
    bench.hear(&says("UIH 0 0xe3050b8f"));
    bench.sent();
    for second in 1..=25 {
        bench.hear(&says("UIH 3 data"));
        bench.wait(SECOND);
        let asked: &[&str] = if second % 10 == 0 { &["TEST"] } else { &[] };
        assert_eq!(bench.sent(), asked, "after {second} s");
        bench.answer("TEST");
    }
}

#[test]
fn a_module_that_sends_everything_back_is_lost() {
    let mut bench = Bench::running(127);
    bench.wait(10 * SECOND);
    let echo = bench.sent_bytes();
    bench.mux.received(&echo, bench.now);
    assert_eq!(bench.events(), [MuxEvent::Lost(Lost::Echo)]);
}

#[test]
fn a_frame_whose_rest_does_not_come_hides_nothing() {
    let mut bench = Bench::running(512);
    let cut = &says(&format!("UIH 2 {}", "x".repeat(512)))[..100];
    bench.hear(&[cut, &says("UIH 1 OK"), &says("UIH 1 0d0a")].concat());
    assert_eq!(bench.mux.incoming(dlci(1)), b"");
    bench.wait(millis(900));
    assert_eq!(bench.mux.incoming(dlci(1)), b"", "the rest may still come");
    bench.wait(millis(200));
    assert_eq!(bench.mux.incoming(dlci(1)), b"OK0d0a");
    assert_eq!(bench.sent(), ["TEST"]);
    assert_eq!(bench.mux.counters(bench.now).bad_fcs, 1);
}

#[test]
fn a_host_that_stood_still_reads_before_it_gives_a_frame_up() {
    let mut bench = Bench::running(512);
    let data = says(&format!("UIH 2 {}", "x".repeat(512)));
    bench.hear(&data[..100]);
    bench.now += 60 * SECOND;
    bench.mux.deadline_passed(bench.now);
    bench.hear(&data[100..]);
    assert_eq!(bench.mux.incoming(dlci(2)).len(), 512);
}

// Leaving and coming back.

#[test]
fn it_is_left_by_disc_and_cld_and_what_comes_after_is_the_callers() {
    let mut bench = Bench::running(127);
    bench.mux.send_bytes(dlci(2), b"begun", bench.now);
    let begun = bench.mux.output()[..3].to_vec();
    bench.mux.written(3, bench.now);
    bench.mux.leave(bench.now);
    let sent = read(&[begun, bench.sent_bytes()].concat());
    assert_eq!(sent, ["UIH 2 begun", "DISC 1", "DISC 2", "DISC 3", "DISC 4", "CloseDown"], "no frame is cut");
    let answers = [says("UA 1"), says("UA 2"), says("UIH 2 late"), says("UIH 0 0xc101")].concat();
    let count = bench.mux.received(&[&answers[..], b"\r\nOK\r\n"].concat(), bench.now);
    assert_eq!(count, answers.len());
    assert_eq!(bench.events(), [MuxEvent::Left]);
    assert_eq!((bench.mux.is_framed(), bench.mux.next_deadline()), (false, None));
}

#[test]
fn cld_that_is_not_answered_is_waited_for_one_second() {
    let mut bench = Bench::running(127);
    bench.mux.leave(bench.now);
    bench.sent();
    bench.wait(millis(990));
    assert_eq!(bench.events(), []);
    bench.wait(millis(60));
    assert_eq!(bench.events(), [MuxEvent::Left]);
}

#[test]
fn a_module_that_leaves_gets_its_answer() {
    let mut bench = Bench::running(127);
    bench.mux.send_bytes(dlci(2), b"payload", bench.now);
    bench.mux.received(&says("UIH 0 0xc301"), bench.now);
    assert_eq!(bench.events(), [MuxEvent::Lost(Lost::LeftByModule)]);
    assert_eq!(bench.sent(), ["answer CloseDown"], "and no payload");
}

#[test]
fn a_multiplexer_that_runs_is_found_and_opened_anew_or_left() {
    for answer in ["TEST", "DM 1", "UIH 1 OK"] {
        let mut bench = Bench::new(127);
        bench.mux.probe(bench.now);
        let probe = bench.sent_bytes();
        assert!(probe.starts_with(&[FLAG; 1516]));
        assert_eq!(read(&probe), ["TEST", r"UIH 1 AT\r"]);
        match answer {
            "TEST" => bench.answer(answer),
            _ => bench.hear(&says(answer)),
        }
        assert_eq!(bench.events(), [MuxEvent::Found]);
        bench.mux.open(bench.now);
        assert_eq!(bench.sent(), ["DISC 1", "DISC 2", "DISC 3", "DISC 4", "SABM 0"]);
        // The answers to DISC come first; so does a late one to the probe.
        let late =
            [says("DM 1"), says("UA 1"), says("UA 2"), says("UA 3"), says("UA 4"), says("UA 0")].concat();
        bench.hear(&late);
        bench.module_answers();
        assert!(bench.mux.is_running());
    }
    let mut bench = Bench::new(127);
    bench.mux.probe(bench.now);
    bench.sent_bytes();
    bench.answer("TEST");
    bench.mux.leave(bench.now);
    // Where DLCI 0 was never opened, CLD would be refused.
    assert_eq!(bench.sent(), ["SABM 0", "DISC 1", "DISC 2", "DISC 3", "DISC 4", "CloseDown"]);
}

#[test]
fn a_module_whose_dlci_0_was_never_opened_is_found_by_sabm() {
    let mut bench = Bench::new(127);
    bench.mux.probe(bench.now);
    for _ in 0..2 {
        assert!(bench.sent_bytes().starts_with(&[FLAG; 1516]));
        bench.wait(millis(500));
    }
    assert_eq!(bench.sent(), ["SABM 0"]);
    bench.hear(&says("UA 0"));
    assert_eq!(bench.events(), [MuxEvent::Found]);
}

#[test]
fn a_probe_without_answer_ends_after_three_attempts_and_an_echo_is_no_answer() {
    for echoes in [false, true] {
        let mut bench = Bench::new(127);
        let start = bench.now;
        bench.mux.probe(bench.now);
        let mut attempts = 0;
        while bench.mux.is_framed() {
            let sent = bench.sent_bytes();
            attempts += usize::from(!sent.is_empty());
            if echoes {
                bench.mux.received(&sent, bench.now);
                bench.mux.received(b"\r\nERROR\r\n", bench.now);
            }
            bench.wait(millis(10));
        }
        assert_eq!(attempts, 3);
        assert!((millis(900)..millis(1_300)).contains(&(bench.now - start)), "{:?}", bench.now - start);
        assert_eq!(bench.events().last(), Some(&MuxEvent::NotFound));
    }
}

#[test]
fn answers_are_not_late_on_a_slow_line() {
    let mut bench = Bench::new(512);
    bench.mux = Mux::new(512, 4, 9_600, bench.now);
    bench.mux.open(bench.now);
    bench.module_answers();
    // Eight frames wait in the kernel before the question.
    for _ in 0..8 {
        bench.mux.send_bytes(dlci(2), &[0; 512], bench.now);
        bench.mux.written(bench.mux.output().len(), bench.now);
    }
    bench.mux.set_dtr(dlci(1), false, bench.now);
    bench.sent();
    bench.wait(4 * SECOND);
    assert_eq!(bench.sent(), [""; 0], "it has hardly left");
    bench.wait(2 * SECOND);
    assert_eq!(bench.sent()[0], "MSC 1 09");
}

// Anything.

#[test]
fn a_session_means_the_same_however_it_is_split() {
    let session = [
        says("UIH 2 0xf9f90d0a4e4f20434152524945520d0a"),
        says("UIH 0 0xe3050b8d"),
        says("UIH 3 abc"),
        b"noise\r\nRD".to_vec(),
        says("UIH 2 0x2b2b2b"),
        says("UIH 0 0xe3050b0d"),
        says("DISC 2"),
        says("UIH 0 0x6301"),
        says("UIH 0 0xa301"),
        says("UIH 0 0xc301"),
        b"\r\nOK\r\n".to_vec(),
    ]
    .concat();
    let play = |split: usize| {
        let mut bench = Bench::running(127);
        let mut count = 0;
        for piece in session.chunks(split) {
            count += bench.mux.received(piece, bench.now);
        }
        let bytes = [2, 3].map(|number| bench.mux.incoming(dlci(number)).to_vec());
        (count, bytes, bench.events(), bench.sent())
    };
    let whole = play(session.len());
    assert_eq!(whole.0, session.len() - 6, "the rest is the caller's");
    for split in 1..session.len() {
        assert_eq!(play(split), whole, "in steps of {split}");
    }
}

#[test]
fn no_input_panics_or_takes_more_than_its_limit() {
    let seed = 710;
    let mut chance = Chance::new(seed);
    for run in 0..300 {
        let frame_size = *chance.pick(&[1, 31, 127, 512, 1509]);
        let mut bench = Bench::new(frame_size);
        let mut rest: Vec<u8> = Vec::new();
        for _ in 0..200 {
            let number = 1 + chance.below(4) as u8;
            match chance.below(16) {
                0 => bench.mux.open(bench.now),
                1 if chance.below(4) == 0 => bench.mux.probe(bench.now),
                2 if chance.below(8) == 0 => bench.mux.leave(bench.now),
                3 => bench.module_answers_anything(),
                4 => drop(bench.mux.send_bytes(dlci(number), &vec![7; chance.below(3000)], bench.now)),
                5 => bench.mux.set_dtr(dlci(number), chance.below(2) == 0, bench.now),
                6 => bench.mux.close_channel(dlci(number), bench.now),
                7 => bench.mux.open_channel(dlci(number), bench.now),
                8 => {
                    let count = chance.below(bench.mux.incoming(dlci(number)).len() + 1);
                    bench.mux.consume(dlci(number), count, bench.now);
                }
                9 => bench.wait(millis(chance.below(3000) as u64)),
                10 => drop(bench.events()),
                11 => bench.mux.written(chance.below(bench.mux.output().len() + 1), bench.now),
                _ => {
                    let control = *chance
                        .pick(&[0x2F, 0x3F, 0x63, 0x73, 0x0F, 0x1F, 0x43, 0x53, 0xEF, 0xFF, 0x03, 0x13]);
                    let length = chance.below(frame_size + 80);
                    let mut information: Vec<u8> = (0..length).map(|_| chance.below(256) as u8).collect();
                    let kind = chance
                        .pick(&[0xE3, 0xC1, 0x21, 0x43, 0xA3, 0x63, 0x83, 0x93, 0x53, 0xD3, 0xE1, 0xF3]);
                    let small = chance.below(9) as u8;
                    for (place, octet) in information.iter_mut().zip([*kind, small << 1 | 1]) {
                        *place = octet;
                    }
                    let mut bytes = frame((chance.below(6) as u8) << 2 | 1, control, &information);
                    if chance.below(4) == 0 {
                        let at = chance.below(bytes.len());
                        bytes.remove(at);
                    }
                    rest.extend(bytes);
                    rest.extend_from_slice(chance.pick::<&[u8]>(&[
                        &b""[..],
                        b"\r\nRDY\r\n",
                        &[0xF9; 3],
                        b"\r\nOK\r\n",
                    ]));
                }
            }
            let count = bench.mux.received(&rest, bench.now);
            rest.drain(..count);
            if !bench.mux.is_framed() {
                rest.clear();
            }
            let waiting: usize = DlciNumber::first(4).map(|dlci| bench.mux.incoming(dlci).len()).sum();
            assert!(waiting <= INCOMING_TOTAL_BYTES, "seed {seed}, run {run}: {waiting} bytes wait");
            assert!(bench.mux.output().len() <= PROBE_FLAGS + CONTROL_LIMIT_BYTES + OVERHEAD_BYTES);
            assert!(bench.mux.events.len() <= EVENTS_MAX + 8, "seed {seed}, run {run}");
            if let Some(deadline) = bench.mux.next_deadline() {
                assert!(deadline < bench.now + MINUTE * 10, "seed {seed}, run {run}");
            }
        }
    }
}

impl Bench {
    /// What leaves is answered as far as it can be read.
    fn module_answers_anything(&mut self) {
        for _ in 0..10 {
            let sent = self.sent_bytes();
            let mut input = &sent[..];
            let mut decoder = Decoder::new(2000);
            let mut answers = Vec::new();
            while let Some(piece) = decoder.decode(&mut input) {
                if let Piece::Frame(frame) = piece
                    && matches!(frame.kind, Kind::Sabm | Kind::Disc)
                {
                    answers.extend(says(&format!("UA {}", frame.dlci)));
                }
            }
            self.mux.received(&answers, self.now);
        }
    }
}
