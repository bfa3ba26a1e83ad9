//! The fuzz targets: one function each, which takes any bytes and panics if something that must hold does not.
//!
//! cargo-fuzz runs them without end (`fuzz_targets/`). In every `cargo test`, tests/fuzz_smoke.rs runs the
//! checked-in corpus and some mutations of it:
//! ```text
//! cargo install cargo-fuzz
//! cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none decoder -- -max_total_time=1800
//! ```
//! There is almost no unsafe code, so no sanitizer is needed and a stable compiler is enough.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use qssl_core::Input;
use qssl_core::at::transcript::Transcript;
use qssl_core::at::{AtText, Decoder, Final, Message};
use qssl_core::cmux::{self, DlciNumber, HOLD_MARK_BYTES, INCOMING_LIMIT_BYTES, Mux, Piece};
use qssl_core::recorder::{Recorder, Side};
use qssl_core::settings::{self, Authentication, FlowControl, Mode, OpenOn, Tls, Transport};
use qssl_modem_emulator as emulator;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::Network as _;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Plan, Simulated};
use qssl_modem_emulator::replay::Replay;
use qssl_proxy::{Credentials, HELD_MAX_BYTES, Handshake, Protocol, RequestOutcome, Then};
pub use qssl_simulation::Chance;
use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::material::{NASTY, NOISE, UNFAIR, URCS};
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Reads, Sends, Wiring, millis, seconds};
use qssl_tunnel::cli::{Cli, Command, RunArgs};
use qssl_tunnel::config::{self, Environment};
use qssl_tunnel::ports::rfc2217::{Telnet, escape};

/// A target: bytes in, a panic if something is wrong.
pub type Target = fn(&[u8]);

/// All targets by name, which is also the name of their corpus.
pub const TARGETS: [(&str, Target); 11] = [
    ("answers", answers),
    ("config", config),
    ("decoder", decoder),
    ("emulator", emulator),
    ("frames", frames),
    ("core", core),
    ("multiplexer", multiplexer),
    ("proxy", proxy),
    ("rfc2217", rfc2217),
    ("simulation", simulation),
    ("transcript", transcript),
];

/// Whether what passes is kept, to be printed if a run fails.
pub static TRACED: AtomicBool = AtomicBool::new(false);

// The decoder.

/// The modem's bytes mean the same however they are split. After the rest of what the modem announced has
/// come, the next `OK` is understood.
///
/// The first byte decides what the host does meanwhile, the second how long the pieces are.
pub fn decoder(data: &[u8]) {
    let (Some(&[host, step]), Some(said)) = (data.first_chunk(), data.get(2..)) else { return };
    let whole = decoded(said, said.len().max(1), host);
    assert_eq!(whole, decoded(said, 1, host), "byte by byte");
    assert_eq!(whole, decoded(said, usize::from(step).max(2), host), "in pieces of {step}");
}

/// All messages as text, payload joined; the bytes come in pieces of this length.
fn decoded(said: &[u8], step: usize, host: u8) -> Vec<String> {
    let mut decoder = Decoder::new();
    let (mut all, mut payload) = (Vec::new(), Vec::new());
    decoder.expect_prompt(host & 1 != 0);
    for mut piece in said.chunks(step) {
        while let Some(message) = decoder.decode(&mut piece) {
            let mut is_connect = false;
            match message {
                Message::Payload { bytes, left } => {
                    assert!(!bytes.is_empty(), "a piece of nothing");
                    payload.extend_from_slice(bytes);
                    if left == 0 {
                        all.push(format!("payload {}", payload.escape_ascii()));
                        payload.clear();
                    }
                    continue;
                }
                Message::Information(line) | Message::Malformed(line) => {
                    assert!(line.len() <= 2_048, "a line of {} bytes", line.len());
                }
                Message::Final(Final::Connect) => is_connect = true,
                _ => {}
            }
            all.push(format!("{message:?}"));
            // A download of a size that the host knows.
            if is_connect && host & 2 != 0 {
                decoder.expect_raw(usize::from(host));
            }
            decoder.expect_prompt(host & 1 != 0 && all.len() % 2 == 0);
        }
        assert!(piece.is_empty(), "bytes were left");
    }
    let rest = decoder.payload_left();
    assert!(rest <= 16_384, "{rest} bytes are awaited");
    all.push(format!("then {rest}, {}", payload.escape_ascii()));
    assert!(understands_ok(&mut decoder), "an OK that comes in time is not understood");
    all
}

fn understands_ok(decoder: &mut Decoder) -> bool {
    decoder.expect_prompt(false);
    // First the rest of a payload and the end of a line. That line may announce a payload, so the same again.
    for _ in 0..2 {
        let filler = vec![b'\n'; decoder.payload_left() + 1];
        let mut filler = filler.as_slice();
        while decoder.decode(&mut filler).is_some() {}
    }
    // The text of another program that has no end is given up after some time.
    decoder.give_up_foreign();
    let mut ok: &[u8] = b"\r\nOK\r\n";
    std::iter::from_fn(|| decoder.decode(&mut ok).map(|message| message == Message::Final(Final::Ok)))
        .any(|is_ok| is_ok)
}

// Several channels on one line.

/// Bytes are in frames or outside of them in the same way however they are split, no more is held than a frame, and of
/// good frames that follow, one is found.
///
/// The first byte decides how long frames may be, the second how long the pieces are.
pub fn frames(data: &[u8]) {
    let (Some(&[size, step]), Some(said)) = (data.first_chunk(), data.get(2..)) else { return };
    let limit = 31 + 8 * usize::from(size) + 64;
    let whole = framed(said, said.len().max(1), limit);
    assert_eq!(whole, framed(said, 1, limit), "byte by byte");
    assert_eq!(whole, framed(said, usize::from(step).max(2), limit), "in pieces of {step}");
}

/// All frames, and what was outside of them; the bytes come in pieces of this length.
fn framed(said: &[u8], step: usize, limit: usize) -> Vec<String> {
    let mut decoder = cmux::Decoder::new(limit);
    let (mut all, mut outside) = (Vec::new(), Vec::new());
    for mut piece in said.chunks(step) {
        while let Some(found) = decoder.decode(&mut piece) {
            match found {
                Piece::Frame(frame) => {
                    assert!(frame.information.len() <= limit, "{} bytes in a frame", frame.information.len());
                    all.push(format!("after {:?}: {frame:?}", outside.escape_ascii().to_string()));
                    outside.clear();
                }
                Piece::Outside(bytes) => outside.extend_from_slice(bytes),
            }
        }
        assert!(piece.is_empty(), "bytes were left");
        assert!(
            decoder.held_bytes() <= limit + cmux::OVERHEAD_BYTES,
            "{} bytes are held",
            decoder.held_bytes()
        );
    }
    all.push(format!("then {:?}", outside.escape_ascii().to_string()));
    // A length that was never sent can swallow as much as a frame may carry.
    let good = b"\xF9\x07\xEF\x05\x41\x54\x30\xF9".repeat(limit / 8 + 4);
    let (mut rest, mut is_found) = (&good[..], false);
    while let Some(found) = decoder.decode(&mut rest) {
        is_found |= matches!(found, Piece::Frame(frame) if frame.dlci == 1 && frame.information == b"AT");
    }
    assert!(is_found, "no good frame is found after the garbage");
    all
}

/// Whatever a module sends and a user does, a multiplexer holds a bounded amount, and what is due is done.
///
/// Each step begins with a byte that decides what happens, and one that decides how much.
pub fn multiplexer(data: &[u8]) {
    let Some((&size, mut rest)) = data.split_first() else { return };
    let mut now = start();
    let mut mux = Mux::new([31, 127, 512, 1_509][usize::from(size % 4)], 4, 115_200, now);
    if size & 4 != 0 {
        mux.pace();
    }
    let mut input: Vec<u8> = Vec::new();
    while let Some((&[what, count], more)) = rest.split_first_chunk() {
        rest = more;
        let dlci = DlciNumber::first(4).nth(usize::from(what >> 6)).expect("there are four");
        match what & 15 {
            0 => mux.open(now),
            1 => mux.probe(now),
            2 => mux.leave(now),
            3 => drop(mux.send_bytes(dlci, &vec![what; 8 * usize::from(count)], now)),
            4 => mux.set_dtr(dlci, count & 1 != 0, now),
            5 => mux.close_channel(dlci, now),
            6 => mux.open_channel(dlci, now),
            7 => {
                let count = mux.incoming(dlci).len().min(64 * usize::from(count));
                mux.consume(dlci, count, now);
            }
            8 => {
                now += millis(u64::from(count) * 20);
                mux.deadline_passed(now);
            }
            9 => while mux.poll_event().is_some() {},
            10 => mux.written(mux.output().len().min(16 * usize::from(count)), now),
            _ => {
                let (said, more) = rest.split_at(rest.len().min(usize::from(count)));
                rest = more;
                input.extend_from_slice(said);
            }
        }
        let taken = mux.received(&input, now);
        input.drain(..taken);
        if !mux.is_framed() {
            input.clear();
        }
        let waiting: usize = DlciNumber::first(4).map(|dlci| mux.incoming(dlci).len()).sum();
        assert!(waiting <= 3 * HOLD_MARK_BYTES + INCOMING_LIMIT_BYTES, "{waiting} bytes wait for users");
        assert!(mux.output().len() <= 4 * 1024, "{} bytes wait for the line", mux.output().len());
        for _ in 0..8 {
            mux.deadline_passed(now);
        }
        let is_over = mux.next_deadline().is_some_and(|due| due <= now);
        assert!(!is_over, "something is due again and again");
    }
}

// Transcripts.

/// Both readers of transcripts take any text without a panic, and what the flight recorder writes is a transcript.
pub fn transcript(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Transcript::parse(&text) {
        Ok(transcript) => {
            let lines: Vec<usize> = transcript.entries.iter().map(|entry| entry.line).collect();
            assert!(lines.is_sorted() && lines.len() <= text.lines().count(), "{lines:?}");
        }
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line), "{error}"),
    }
    if let Ok(mut replay) = Replay::new(&text) {
        let now = start();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            replay.received(piece, now);
            replay.received(b"\r", now);
            replay.written(replay.output().len());
            if let Some(deadline) = replay.next_deadline() {
                replay.deadline_passed(deadline);
            }
        }
    }
    let recorded = recorded(data);
    let transcript = Transcript::parse(&recorded).unwrap_or_else(|error| panic!("{error} in\n{recorded}"));
    assert!(transcript.entries.len() <= recorded.lines().count());
}

/// The flight recorder's transcript of a conversation of these bytes.
fn recorded(data: &[u8]) -> String {
    const LIMIT_BYTES: usize = 2_000;
    let mut recorder = Recorder::new(LIMIT_BYTES);
    let mut now = start();
    recorder.record_payload(data.len().is_multiple_of(2));
    for (index, piece) in data.chunks(11).enumerate() {
        let (&kind, bytes) = piece.split_first().expect("chunks are not empty");
        let side = if kind & 1 == 0 { Side::Host } else { Side::Modem };
        now += Duration::from_millis(u64::from(kind));
        let left = usize::from(kind >> 4) * index;
        match kind >> 1 & 7 {
            0 | 1 => recorder.line(side, String::from_utf8_lossy(bytes), now),
            2 => recorder.answer(&String::from_utf8_lossy(bytes), kind & 128 != 0, now),
            3 => recorder.prompt(now),
            4 => recorder.file(side, bytes.len(), left, now),
            _ => recorder.payload(side, bytes, left, now),
        }
        let length = recorder.text().len();
        assert!(length <= LIMIT_BYTES + 100, "the recorder keeps {length} bytes");
    }
    recorder.text()
}

// The configuration file.

/// A configuration file is refused in one line that names the file, or it is accepted. In that case the
/// effective configuration, written as a file, means the same.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match read(&text) {
        Err(error) => {
            assert!(error.starts_with("FILE") && !error.contains('\n'), "not one line: {error:?}");
        }
        Ok(configuration) => {
            let rendered = configuration.render();
            // Secrets are not shown, so their files are not read again.
            if !rendered.contains("-file = ") && !rendered.contains("psk-identity") {
                let again = read(&rendered).unwrap_or_else(|error| panic!("{error} in\n{rendered}"));
                assert_eq!(again, configuration, "another meaning: {rendered}");
            }
        }
    }
}

fn read(text: &str) -> Result<config::Configuration, String> {
    static ARGUMENTS: OnceLock<RunArgs> = OnceLock::new();
    let arguments = ARGUMENTS.get_or_init(|| {
        use clap::Parser as _;
        match Cli::try_parse_from(["qssl-tunnel", "run"]).expect("the arguments are right").command {
            Command::Run(arguments) => *arguments,
            other => panic!("not run: {other:?}"),
        }
    });
    // 2100-01-01, when all certificates but an old one are valid. cargo-fuzz runs where the store is not found,
    // which is an acceptable outcome too.
    let store = "tests/config_files/certificates/second.pem";
    let around = Environment { unix_seconds: 4_102_444_800, ssl_cert_file: Some(store.into()) };
    config::from_text("FILE", text, arguments, &around)
        .map(|checked| checked.configuration)
        .map_err(|error| error.to_string())
}

// Clients that name their targets.

/// A client gets the same answers, the same target and the same payload however its bytes are split, and nothing of it is
/// held beyond the limit.
///
/// The first byte chooses the protocol, and whether there are users.
pub fn proxy(data: &[u8]) {
    let Some((choice, said)) = data.split_first() else { return };
    let protocol = [Protocol::Socks5, Protocol::Http, Protocol::Auto][usize::from(choice % 3)];
    let users = (choice & 0x80 != 0).then(|| Credentials::parse("user:secret").expect("credentials"));
    let users = users.map(Arc::new);
    let heard = |size: usize| {
        let mut handshake = Handshake::new(protocol, users.clone());
        let (mut answers, mut then, mut rest) = (Vec::new(), Then::More, said);
        while then == Then::More && !rest.is_empty() {
            let (piece, after) = rest.split_at(size.min(rest.len()).min(handshake.room()));
            assert!(!piece.is_empty(), "a client that may go on has room");
            rest = after;
            let step = handshake.receive(piece);
            answers.extend(step.answer);
            then = step.then;
        }
        let is_request = matches!(then, Then::Request(_));
        for outcome in [RequestOutcome::Open, RequestOutcome::Busy] {
            assert_eq!(handshake.reply(outcome).is_empty(), !is_request);
        }
        let mut payload = handshake.take_early();
        assert!(payload.len() <= HELD_MAX_BYTES);
        payload.extend_from_slice(rest);
        (answers, then, if is_request { payload } else { Vec::new() })
    };
    let whole = heard(usize::MAX);
    for size in [1, 2, 7, 64] {
        assert_eq!(heard(size), whole, "in pieces of {size}");
    }
}

// RFC 2217.

/// Payload and answers are the same however the bytes of a device server are split. The answers are not longer
/// than the questions. Any payload comes back as it was sent.
pub fn rfc2217(data: &[u8]) {
    let (&step, received) = match data.split_first() {
        Some(split) => split,
        None => return,
    };
    let whole = unframed(received, received.len().max(1));
    assert_eq!(whole, unframed(received, 1), "byte by byte");
    assert_eq!(whole, unframed(received, usize::from(step).max(2)), "in pieces of {step}");
    let (payload, answers) = whole;
    assert!(payload.len() <= received.len() && answers.len() <= received.len());
    let mut escaped = Vec::new();
    escape(received, &mut escaped);
    assert_eq!(unframed(&escaped, usize::from(step).max(1)), (received.to_vec(), Vec::new()));
}

/// Payload and answers when a device server sends these bytes in pieces of this length.
fn unframed(received: &[u8], step: usize) -> (Vec<u8>, Vec<u8>) {
    let mut hello = Vec::new();
    let mut telnet = Telnet::new(115_200, FlowControl::RtsCts, &mut hello);
    let (mut payload, mut answers) = (Vec::new(), Vec::new());
    for piece in received.chunks(step) {
        let mut piece = piece.to_vec();
        let count = telnet.received(&mut piece, &mut answers);
        payload.extend_from_slice(&piece[..count]);
    }
    (payload, answers)
}

// The emulated modem.

/// Whatever a host types, the emulated modem keeps its limits, and after a reboot it answers `AT`.
pub fn emulator(data: &[u8]) {
    let mut now = start();
    let config = emulator::Config {
        ports: vec![PortName::Uart1, PortName::UsbAt],
        quirks: if data.len().is_multiple_of(2) {
            emulator::Quirks::field()
        } else {
            emulator::Quirks::strict()
        },
        ..emulator::Config::default()
    };
    let far = Behaviour { ends: Ends::AfterReading(500), ..Behaviour::echo() };
    let mut network = Simulated::new(now, Plan::new(far));
    let mut modem = emulator::Modem::new(config, now);
    let mut heard = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        // The last byte of a line decides on which port it is typed and how much time passes after it.
        let (hint, typed) = line.split_last().unwrap_or((&b' ', &[]));
        let port = usize::from(hint & 1);
        modem.received(port, typed, now, &mut network);
        modem.received(port, b"\r", now, &mut network);
        let pause = millis(u64::from(hint >> 1) * 20);
        pass(&mut modem, &mut network, &mut now, pause, &mut heard);
    }
    modem.reboot(now);
    pass(&mut modem, &mut network, &mut now, seconds(10), &mut heard);
    heard.clear();
    modem.received(0, b"AT\r", now, &mut network);
    pass(&mut modem, &mut network, &mut now, seconds(1), &mut heard);
    assert!(heard.windows(4).any(|four| four == b"OK\r\n"), "after a reboot: {}", heard.escape_ascii());
}

fn pass(
    modem: &mut emulator::Modem,
    network: &mut Simulated,
    now: &mut Instant,
    time: Duration,
    heard: &mut Vec<u8>,
) {
    let end = *now + time;
    let mut idle_steps = 0;
    loop {
        for port in 0..2 {
            let output = modem.output(port);
            assert!(output.len() <= 2 << 20, "{} bytes wait on port {port}", output.len());
            if !output.is_empty() {
                heard.extend_from_slice(output);
                let count = output.len();
                modem.written(port, count, *now);
            }
        }
        let due = modem.next_deadline().into_iter().chain(network.next_deadline()).min();
        let Some(due) = due.filter(|due| *due <= end) else { break };
        idle_steps = if due <= *now { idle_steps + 1 } else { 0 };
        assert!(idle_steps < 1_000, "the modem spins");
        *now = due.max(*now);
        network.advance(*now);
        modem.network_changed(*now, network);
        modem.deadline_passed(*now, network);
    }
    *now = end;
}

// The core and a modem that sends anything.

/// Something that happens to the core.
#[derive(Arbitrary, Debug)]
enum Event {
    /// The modem sends these bytes.
    Says(u8, Vec<u8>),
    /// The modem sends a URC or answer that exists, about any socket and of any length.
    Urc(u8, u8, i32),
    /// The modem answers the next of these commands with one of these.
    Instead(u8, u8, u8),
    /// This much time passes, in milliseconds.
    Pass(u16),
    /// The next deadline passes.
    Wait,
    /// The modem sends nothing any more, or answers again.
    Mute(u8, bool),
    Connect(u8),
    Send(u8, u16),
    Reads(u8, bool),
    Finish(u8, bool),
    Lose(u8),
    LosePort(u8),
    Dcd(u8, bool),
    Waiting(u8, u8, u16),
    Shutdown,
}

/// The core talks to a modem that gives fixed answers and sends anything besides. No queue of the core exceeds
/// its limit, no deadline spins, and at shutdown every client ends and so does the core.
pub fn core(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(ports) = input.int_in_range(1..=2_u8) else { return };
    let ports = usize::from(ports);
    let modes = [Mode::Push, Mode::Buffer, Mode::Transparent, Mode::Push];
    let mut hand = ByHand::new(&modes, ports, TRACED.load(Ordering::Relaxed), |configuration| {
        Arc::make_mut(&mut configuration.tunnels[3]).limits.open_on = OpenOn::FirstByte;
        for tunnel in &mut configuration.tunnels {
            Arc::make_mut(tunnel).limits.lifetime = seconds(600);
        }
    });
    // Most runs begin after the set-up, where most of the behaviour is.
    if input.ratio(7, 8).unwrap_or(true) {
        hand.run_until_ready();
    }
    for _ in 0..EVENTS_MAX {
        if input.is_empty() || hand.stopped.is_some() {
            break;
        }
        let Ok(event) = Event::arbitrary(&mut input) else { break };
        happen(&mut hand, event, ports);
        let received: usize = hand.clients.iter().map(|client| client.received.len()).sum();
        assert!(received <= hand.heard_bytes, "clients have received what nobody said");
    }
    if hand.stopped.is_none() {
        for port in &mut hand.ports {
            port.instead.clear();
        }
        hand.relay.handle(Input::Shutdown { signal: 15 }, hand.now);
        hand.run_for(seconds(100));
        hand.run_until("the end", seconds(600), |hand| hand.stopped.is_some());
    }
    for (index, client) in hand.clients.iter().enumerate() {
        assert!(client.outcome.is_some(), "client {index} has not ended");
    }
}

fn happen(hand: &mut ByHand, event: Event, ports: usize) {
    let port = |number: u8| usize::from(number) % ports;
    let client = |hand: &ByHand, number: u8| hand.clients.len().saturating_sub(1 + usize::from(number) % 14);
    match event {
        Event::Says(at, bytes) => {
            // A tty holds this much, and no more comes while it is not read.
            if hand.held(port(at)) + bytes.len() < 64 * 1024 {
                hand.says(port(at), &bytes);
            }
        }
        Event::Urc(at, which, value) => {
            let bytes = urc(which, value);
            if hand.held(port(at)) + bytes.len() < 64 * 1024 {
                hand.says(port(at), &bytes);
            }
        }
        Event::Instead(at, command, answer) => {
            let command = COMMANDS[usize::from(command) % COMMANDS.len()];
            let answer = ANSWERS[usize::from(answer) % ANSWERS.len()];
            let rote = &mut hand.ports[port(at)];
            if rote.instead.len() < 16 {
                rote.instead.push_back((command, answer.into()));
            }
        }
        Event::Pass(time) => hand.run_for(millis(time.into())),
        Event::Wait => {
            hand.pass(hand.now + seconds(3_600));
        }
        Event::Mute(at, mute) => hand.ports[port(at)].is_mute = mute,
        Event::Connect(tunnel) => {
            if hand.clients.len() < 60 {
                hand.connect(usize::from(tunnel) % 4);
            }
        }
        Event::Send(who, count) => {
            hand.send(client(hand, who), &vec![b'u'; count.into()]);
        }
        Event::Reads(who, reads) => {
            let who = client(hand, who);
            if let Some(client) = hand.clients.get_mut(who) {
                client.reads = reads;
            }
            hand.settle();
        }
        Event::Finish(who, gone) => hand.finish(client(hand, who), gone),
        Event::Lose(who) => hand.lose(client(hand, who)),
        Event::LosePort(at) => hand.lose_port(port(at)),
        Event::Dcd(at, level) => hand.set_dcd(port(at), level),
        Event::Waiting(at, socket, count) => {
            let queue = &mut hand.ports[port(at)].waiting[usize::from(socket) % 12];
            let count = usize::from(count).min(20_000_usize.saturating_sub(queue.len()));
            queue.extend(std::iter::repeat_n(b'd', count));
        }
        Event::Shutdown => {
            hand.relay.handle(Input::Shutdown { signal: 15 }, hand.now);
            hand.settle();
        }
    }
}

/// A line that exists, about any socket and of any length, with as much payload as a tty holds.
fn urc(which: u8, value: i32) -> Vec<u8> {
    let (id, length) = (value.rem_euclid(13), value / 13);
    let text = match which % 14 {
        0 | 1 => format!(
            "\r\n+QSSLURC: \"recv\",{id},{}\r\n{}",
            length % 2_000,
            "p".repeat((length % 2_000).max(0) as usize)
        ),
        2 => format!("\r\n+QSSLURC: \"recv\",{id},{length}\r\n"),
        3 => format!("\r\n+QSSLURC: \"recv\",{id}\r\n"),
        4 => format!("\r\n+QSSLURC: \"closed\",{id}\r\n"),
        5 => format!("\r\n+QSSLOPEN: {id},{}\r\n", if length % 2 == 0 { 0 } else { length }),
        6 => format!("\r\n+QSSLRECV: {length}\r\n"),
        7 => format!("\r\n+QIURC: \"pdpdeact\",{value}\r\n"),
        8 => "\r\n> ".into(),
        9 => "\r\nSEND OK\r\n".into(),
        10 => ["\r\nOK\r\n", "\r\nERROR\r\n", "\r\nCONNECT\r\n", "\r\nSEND FAIL\r\n"]
            [length.rem_euclid(4) as usize]
            .into(),
        11 => "\r\nNO CARRIER\r\n".into(),
        12 => format!("\r\n+QSSLSTATE: {id},\"SSLClient\",\"1.2.3.4\",443,0,{length},1,0,1,\"uart1\",0\r\n"),
        _ => ["\r\nRDY\r\n", "\r\nPOWERED DOWN\r\n"][length.rem_euclid(2) as usize].into(),
    };
    text.into_bytes()
}

const COMMANDS: [&str; 12] = [
    "AT",
    "ATE0",
    "AT+QSSLOPEN",
    "AT+QSSLSEND",
    "AT+QSSLRECV",
    "AT+QSSLCLOSE",
    "AT+QSSLSTATE",
    "AT+QSSLCFG",
    "AT+QISWTMD",
    "AT+QIACT",
    "AT+CPIN",
    "AT+QIGETERROR",
];

const ANSWERS: [&str; 16] = [
    "",
    "\r\nOK\r\n",
    "\r\nERROR\r\n",
    "\r\n+CME ERROR: 563\r\n",
    "\r\n+CME ERROR: -1\r\n",
    "\r\nCONNECT\r\n",
    "\r\n> ",
    "\r\nNO CARRIER\r\n",
    "\r\nSEND OK\r\n",
    "\r\nSEND FAIL\r\n",
    "\r\n+QSSLRECV: 1500\r\n",
    "\r\n+QSSLRECV: 4\r\nabcd\r\nERROR\r\n",
    "\r\n+QSSLRECV: 99999999999999999999\r\n",
    "\r\n+QIGETERROR: 566,x\r\n\r\nOK\r\n",
    "\r\n+QSSLSTATE: 1,\"SSLClient\",\"1.2.3.4\",443,0,2,1,0,1,\"uart1\",0\r\n\r\nOK\r\n",
    "\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n",
];

const EVENTS_MAX: usize = 400;

/// The emulated modem's first switches, from which inputs choose. With later ones the inputs of the corpus would mean
/// something else.
const DRAWN_SWITCHES: usize = 93;

// Numbers.

/// A modem, a device server or a daemon puts any numbers into everything that it sends. Each number is parsed
/// into its range or rejected, and no calculation can overflow.
///
/// Each byte chooses the next number; the eight bytes after a `RAW` are the number itself.
pub fn answers(data: &[u8]) {
    let mut numbers = Numbers { input: data };
    let mut hand =
        ByHand::new(&[Mode::Push, Mode::Buffer], 1, TRACED.load(Ordering::Relaxed), |configuration| {
            configuration.modem.ntp = Some(AtText::new("pool.ntp.org").expect("a text"));
            let parts = numbers.next_byte();
            if parts & 6 == 6 {
                configuration.modem.cmux = settings::Cmux::On;
            }
            if parts & 1 == 0 {
                // With a file to be stored, the core asks the modem for its files and its storage.
                let pem = settings::Pem { source: "ca.pem".into(), bytes: b"a certificate".to_vec() };
                for tunnel in &mut configuration.tunnels {
                    Arc::make_mut(tunnel).transport =
                        Transport::Tls(Tls::new(Authentication::Authorities(vec![pem.clone()])));
                }
            }
            if numbers.next_byte() & 1 == 0
                && let Some(tunnel) = configuration.tunnels.last_mut()
            {
                Arc::make_mut(tunnel).transport = Transport::Tcp;
            }
        });
    for _ in 0..8 {
        for (command, answer) in NUMBERED {
            if numbers.next_byte() & 1 == 0 {
                hand.ports[0].instead.push_back((command, numbers.fill(answer).into_bytes()));
            }
        }
        hand.run_for(seconds(20));
        let client = hand.connect(usize::from(numbers.next_byte() & 1));
        if let Some(client) = client {
            hand.send(client, b"request");
        }
        for urc in NUMBERED_URCS {
            hand.says(0, numbers.fill(urc).as_bytes());
        }
        hand.run_for(seconds(30));
        if let Some(client) = client {
            hand.finish(client, true);
        }
        hand.ports[0].instead.clear();
        if hand.stopped.is_some() {
            break;
        }
    }
    let lines: Vec<String> =
        ["+CSQ: #,#", "+COPS: #,#,\"net\",#", "+CEREG: #,#"].iter().map(|line| numbers.fill(line)).collect();
    qssl_core::radio::Facts::default().learn(&lines, true);
    let (before, after) = (numbers.fill(STATUS), numbers.fill(STATUS));
    let read = |text: &str| serde_json::from_str::<qssl_tunnel::daemon::status::Status>(text).ok();
    if let (Some(before), Some(after)) = (read(&before), read(&after)) {
        qssl_tunnel::daemon::status::table(&after, Some((&before, seconds(1))));
        qssl_tunnel::daemon::status::metrics(&after, qssl_tunnel::daemon::status::Format::OpenMetrics);
        let _ = after.json();
    }
}

/// Numbers from the input, until it is used up.
struct Numbers<'a> {
    input: &'a [u8],
}

impl Numbers<'_> {
    fn next_byte(&mut self) -> u8 {
        let Some((first, rest)) = self.input.split_first() else { return 1 };
        self.input = rest;
        *first
    }

    /// The text with a number in place of every `#`.
    fn fill(&mut self, text: &str) -> String {
        let mut filled = String::new();
        for (index, part) in text.split('#').enumerate() {
            if index > 0 {
                filled.push_str(&self.next());
            }
            filled.push_str(part);
        }
        filled
    }

    fn next(&mut self) -> String {
        match self.next_byte() {
            RAW => {
                let mut bytes = [0; 8];
                bytes.fill_with(|| self.next_byte());
                i64::from_be_bytes(bytes).to_string()
            }
            small @ 0..16 => small.to_string(),
            other => EXTREMES[usize::from(other) % EXTREMES.len()].to_owned(),
        }
    }
}

const RAW: u8 = 255;

/// The limits of all integer types, and values beyond them.
const EXTREMES: [&str; 24] = [
    "-1",
    "-128",
    "-129",
    "127",
    "128",
    "255",
    "256",
    "32767",
    "65535",
    "65536",
    "-2147483648",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "-9223372036854775808",
    "9223372036854775807",
    "-10248191152060862",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
    "0XFFFFFFFF",
    "+7",
    "",
];

/// Every answer from which numbers are parsed, with the beginning of its command.
const NUMBERED: [(&str, &str); 33] = [
    ("AT+CCLK?", "\r\n+CCLK: \"26/11/26,17:00:00#\"\r\n\r\nOK\r\n"),
    ("AT+CCLK?", "\r\n+CCLK: \"#/#/#,#:#:##\"\r\n\r\nOK\r\n"),
    ("AT+QNTP", "\r\nOK\r\n\r\n+QNTP: #,\"26/11/26,17:00:00+#\"\r\n"),
    ("AT+CPIN?", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
    ("AT+QPINC", "\r\n+QPINC: \"SC\",#,#\r\n\r\nOK\r\n"),
    ("AT+CEREG?", "\r\n+CEREG: #,#\r\n\r\nOK\r\n"),
    ("AT+QIACT?", "\r\n+QIACT: #,#,#,\"10.7.157.1\"\r\n\r\nOK\r\n"),
    ("AT+QICSGP", "\r\n+QICSGP: #,#,\"net\",\"\",\"\",#\r\n\r\nOK\r\n"),
    ("AT+QFLST", "\r\n+QFLST: \"UFS:a\",#\r\n+QFLST: \"b\",#\r\n\r\nOK\r\n"),
    ("AT+QFLDS", "\r\n+QFLDS: #,#\r\n\r\nOK\r\n"),
    ("AT+QFUPL", "\r\nCONNECT\r\n\r\n+QFUPL: #,#\r\n\r\nOK\r\n"),
    ("AT+QFDWL", "\r\nCONNECT\r\nabc\r\n+QFDWL: #,#\r\n\r\nOK\r\n"),
    ("AT+QSSLSTATE", "\r\n+QSSLSTATE: #,\"SSLClient\",\"1.2.3.4\",#,#,#,#,#,#,\"uart1\",#\r\n\r\nOK\r\n"),
    ("AT+QIGETERROR", "\r\n+QIGETERROR: #,x\r\n\r\nOK\r\n"),
    ("AT+QSSLCFG=?", "\r\n+QSSLCFG: \"seclevel\",(#-#),(#-#)\r\n+QSSLCFG: \"sni\",(0-#),(#,#)\r\n\r\nOK\r\n"),
    ("AT+QSSLOPEN=?", "\r\n+QSSLOPEN: (#-#),(#-#),(#-#),<serveraddr>,<server_port>[,(#-#)]\r\n\r\nOK\r\n"),
    ("AT+QSSLSEND=?", "\r\n+QSSLSEND: (#-#),(#-#)\r\n\r\nOK\r\n"),
    ("AT+QSSLRECV=?", "\r\n+QSSLRECV: (#-#),(#-#)\r\n\r\nOK\r\n"),
    ("AT+QSSLCLOSE=?", "\r\n+QSSLCLOSE: (#-#),(#-#)\r\n\r\nOK\r\n"),
    ("AT+QSSLCFG=\"", "\r\n+QSSLCFG: \"seclevel\",#,#\r\n\r\nOK\r\n"),
    ("AT+QSSLOPEN", "\r\nOK\r\n\r\n+QSSLOPEN: #,#\r\n"),
    ("AT+QSSLOPEN", "\r\n+CME ERROR: #\r\n"),
    ("AT+QSSLRECV", "\r\n+QSSLRECV: #\r\nab\r\n\r\nOK\r\n"),
    ("AT+QSSLSEND", "\r\nCONNECT #\r\n"),
    ("AT+QISTATE", "\r\n+QISTATE: #,\"TCP\",\"1.2.3.4\",#,#,#,#,#,#,\"uart1\"\r\n\r\nOK\r\n"),
    ("AT+QISEND", "\r\n+QISEND: #,#,#\r\n\r\nOK\r\n"),
    ("AT+QIRD", "\r\n+QIRD: #\r\nab\r\n\r\nOK\r\n"),
    ("AT+CGPADDR", "\r\n+CGPADDR: #,\"10.7.157.1\"\r\n\r\nOK\r\n"),
    ("AT+CNMI?", "\r\n+CNMI: #,#,#,#,#\r\n\r\nOK\r\n"),
    ("AT+QMTCONN?", "\r\n+QMTCONN: #,#\r\n\r\nOK\r\n"),
    ("AT+CPINR", "\r\n+CPINR: SIM PIN,#,#\r\n\r\nOK\r\n"),
    ("AT+CREG?", "\r\n+CREG: #,#\r\n\r\nOK\r\n"),
    ("AT+CMUX=?", "\r\n+CMUX: (#-#),(#),(#-#),(#-#),(#-#)\r\n\r\nOK\r\n"),
];

/// URCs with numbers in them.
const NUMBERED_URCS: [&str; 9] = [
    "\r\n+QSSLOPEN: #,#\r\n",
    "\r\n+QIOPEN: #,#\r\n",
    "\r\n+QNTP: #\r\n",
    "\r\n+QIURC: \"pdpdeact\",#\r\n",
    "\r\n+QSSLURC: \"recv\",#\r\n",
    "\r\n+QSSLURC: \"recv\",0,#\r\nab\r\n",
    "\r\n+QSSLURC: \"closed\",#\r\n",
    "\r\n+QIURC: \"recv\",0,#\r\nab\r\n",
    "\r\n+QIURC: \"closed\",#\r\n",
];

const STATUS: &str = r##"{"uptime_seconds":#,"modem":{"signal_dbm":-57,"heard_seconds_ago":#,"session_seconds":#},
    "ports":[{"name":"p","baud":115200,"overruns":1,"utilisation":[#,#]}],"sockets":{"open":#,"free":#},
    "connections":[{"id":#,"age_seconds":#,"up_bytes":#,"down_bytes":#}],
    "tunnels":[{"name":"t","accepted":#,"up_bytes":#,"down_bytes":#,"today_bytes":#,"month_bytes":#}],
    "counters":{"opens":#,"open_failures":{"a":#,"b":#},"open_seconds":[#,#,#],"wire_bytes_out":#,
    "budget":{"limit_bytes":#,"used_bytes":#}}}"##;

// Core and emulated modem.

/// The parts of a run.
#[derive(Arbitrary, Debug)]
struct Run {
    uart: bool,
    fast: bool,
    splits: bool,
    has_dcd: bool,
    has_dtr: bool,
    field: bool,
    quirks: [u8; 3],
    ports: u8,
    slow_answers: u8,
    buffer_bytes: u16,
    push_bytes: u16,
    connections: Vec<Pair>,
    faults: Vec<(u16, Mishap)>,
}

/// A client and its server.
#[derive(Arbitrary, Debug)]
struct Pair {
    mode: u8,
    at: u8,
    up: u16,
    up_drips: bool,
    down: u16,
    reads: u8,
    leaves: (u8, u8),
    ends: (u8, u8),
    is_cut: bool,
    latency: u8,
    window_bytes: u16,
}

/// Something that goes wrong.
#[derive(Arbitrary, Debug)]
enum Mishap {
    SendFails(u8),
    Cut(u8),
    End(u8, bool),
    Say(u8, [u8; 6]),
    DropPdp,
    Reboot,
    Stall(u8),
    Delay(u8),
    Urc(u8),
    CutHead(u8),
    FailOpen(u8),
    RefuseCloses(u8),
    MissEscapes(u8),
    LosePort(u8, u8),
    Noise(u8, u8),
}

/// A core, a line, an emulated modem, clients and servers, and any faults between them. What must always hold
/// in a simulation holds, every client ends, and a client that comes late is served.
pub fn simulation(data: &[u8]) {
    let Ok(run) = Run::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let wiring = wiring(&run);
    let traced = TRACED.load(Ordering::Relaxed);
    let mut sim = if traced { wiring.start() } else { wiring.start_quietly() };
    sim.run_to_the_end(seconds(1_500));
    let last = wiring.connections.len() - 1;
    assert_eq!(sim.outcome(last), Some(Outcome::Eof), "a client that comes late is served: {run:?}");
}

fn wiring(run: &Run) -> Wiring {
    let mut wiring = Wiring::new();
    let uart = Port { has_dcd: run.has_dcd, has_dtr: run.has_dtr, splits: run.splits, ..Port::uart() };
    wiring = match run.uart {
        true => wiring.uart(if run.fast { 921_600 } else { 115_200 }).ports([uart]),
        false => {
            let names = [PortName::UsbAt, PortName::UsbModem, PortName::Uart1];
            let count = 1 + usize::from(run.ports) % 3;
            wiring.ports(names[..count].iter().map(|name| Port { splits: run.splits, ..Port::usb(*name) }))
        }
    };
    let answer = millis(u64::from(run.slow_answers) / 4);
    let modem = &mut wiring.modem;
    (modem.command_latency, modem.prompt_latency) = (answer, answer / 2);
    (modem.send_latency, modem.receive_latency, modem.close_latency) = (answer, answer, answer * 4);
    modem.receive_buffer_bytes = usize::from(run.buffer_bytes).max(500);
    modem.send_buffer_bytes = usize::from(run.buffer_bytes).max(1_460);
    modem.push_limit_bytes = match run.push_bytes {
        0 => 1_460,
        bytes => usize::from(bytes).min(16_384),
    };
    if run.field {
        modem.quirks = emulator::Quirks::field();
    }
    for quirk in run.quirks {
        let (name, _) = emulator::Quirks::SWITCHES[usize::from(quirk) % DRAWN_SWITCHES];
        if !UNFAIR.contains(&name) {
            modem.quirks.set(name, true);
        }
    }
    for pair in run.connections.iter().take(6) {
        wiring = wiring.connect(connection(pair));
    }
    let connections = wiring.connections.len();
    let ports = wiring.ports.len();
    let has_streams = wiring.connections.iter().any(|connection| connection.mode == Mode::Transparent);
    for (at, mishap) in run.faults.iter().take(8) {
        // Half a URC after the words of a reboot cannot be distinguished from payload.
        if has_streams && matches!(mishap, Mishap::CutHead(_)) {
            continue;
        }
        if let Some(fault) = fault(mishap, connections, ports) {
            wiring = wiring.fault(millis(u64::from(*at)), fault);
        }
    }
    wiring = wiring.fault(seconds(120), Fault::Calm);
    // The loss of a data session that was not reported is noticed after three failed opens.
    for at in [300, 350, 400, 450] {
        let late = Connection::new(Mode::Push).at(seconds(at)).far_end(Behaviour::source(3_000, at));
        wiring = wiring.connect(late.limits(|limits| limits.queue_timeout = seconds(60)));
    }
    wiring
}

fn connection(pair: &Pair) -> Connection {
    let time = |byte: u8| millis(u64::from(byte) * 80);
    let (up, down) = (u64::from(pair.up % 8_192), u64::from(pair.down % 16_384));
    let mode = [Mode::Push, Mode::Buffer, Mode::Transparent][usize::from(pair.mode) % 3];
    let (ends, when) = pair.ends;
    let mut far = Behaviour::source(down, u64::from(pair.down));
    far.ends = match ends % 5 {
        0 => Ends::Never,
        1 => Ends::AfterReading(up),
        2 => Ends::After(time(when)),
        _ => Ends::AfterSaying(down),
    };
    far.how = if pair.is_cut { Ending::Cut } else { Ending::Closed };
    let sends = match (up, pair.up_drips) {
        (0, _) => Sends::Nothing,
        (_, true) => Sends::Drip { bytes: 1 + up / 16, every: millis(70), total: up },
        (_, false) => Sends::Pattern(up),
    };
    let (leaves, when) = pair.leaves;
    let leaves = match leaves % 8 {
        0 => Leaves::HalfCloses,
        1 => Leaves::HalfClosesAfter(time(when)),
        2 => Leaves::WhenSent,
        3 => Leaves::WhenRead(down / 2),
        4 => Leaves::After(time(when)),
        5 => Leaves::ResetsAfter(time(when)),
        6 => Leaves::Never,
        _ => Leaves::AtTheEnd,
    };
    let reads = match pair.reads % 5 {
        0 => Reads::After(time(pair.reads)),
        1 => Reads::Drip(200 + usize::from(pair.reads) * 8, millis(130)),
        2 => Reads::Nothing,
        _ => Reads::All,
    };
    let mut connection =
        Connection::new(mode).at(time(pair.at)).far_end(far).sends(sends).leaves(leaves).reads(reads);
    connection.latency = millis(pair.latency.into());
    connection.window_bytes = usize::from(pair.window_bytes).max(100);
    connection.client.buffer_bytes = 8_000;
    connection.limits(|limits| {
        limits.connect_timeout = seconds(20);
        limits.half_close_timeout = seconds(10);
        limits.idle_timeout = seconds(30);
        limits.stall_timeout = seconds(10);
        limits.queue_timeout = seconds(30);
        limits.close_timeout = seconds(5);
        limits.lifetime = seconds(100);
    })
}

fn fault(mishap: &Mishap, connections: usize, ports: usize) -> Option<Fault> {
    let of = |number: u8, count: usize| usize::from(number).checked_rem(count);
    let time = |byte: u8| millis(u64::from(byte) * 60);
    Some(match mishap {
        Mishap::SendFails(count) => Fault::SendFails(u32::from(count % 21)),
        Mishap::Cut(socket) => Fault::CutSocket(socket % 12),
        Mishap::End(index, is_cut) => {
            Fault::EndFarEnd(of(*index, connections)?, if *is_cut { Ending::Cut } else { Ending::Closed })
        }
        Mishap::Say(index, words) => {
            let words = words.iter().flat_map(|word| NASTY[usize::from(*word) % NASTY.len()]);
            Fault::Say(of(*index, connections)?, words.copied().collect())
        }
        Mishap::DropPdp => Fault::DropPdp,
        Mishap::Reboot => Fault::Reboot,
        Mishap::Stall(long) => Fault::Stall(time(*long)),
        Mishap::Delay(long) => Fault::DelayAnswer(time(*long)),
        Mishap::Urc(which) => Fault::Urc(URCS[usize::from(*which) % URCS.len()].into()),
        Mishap::CutHead(count) => Fault::CutUrcHead(usize::from(*count % 40)),
        Mishap::FailOpen(code) => Fault::FailOpen(550 + u16::from(code % 25)),
        Mishap::RefuseCloses(count) => Fault::RefuseCloses(1 + u32::from(count % 3)),
        Mishap::MissEscapes(count) => Fault::MissEscapes(1 + u32::from(count % 4)),
        Mishap::LosePort(port, long) => Fault::LosePort(of(*port, ports)?, time(*long)),
        Mishap::Noise(port, which) => {
            Fault::Noise(of(*port, ports)?, NOISE[usize::from(*which) % NOISE.len()].into())
        }
    })
}

/// A start time; nothing here depends on its value.
#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
