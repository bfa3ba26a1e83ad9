//! Goal of this test: transcripts from manuals and from real modules are right for both sides. The modem's bytes are
//! understood however they are split. A core that moves a stream sends what the host sends in them. The emulated modem,
//! which shares no code with the core, sends what the modem sends.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qssl_core::at::transcript::{Bytes, Event, Transcript};
use qssl_core::at::{Decoder, IdSet, Message};
use qssl_core::modem::{self, PortFacts};
use qssl_core::relay::{Action, ClientId, Relay};
use qssl_core::settings::{self, Authentication, Mode, Settings, Tls, Tunnel};
use qssl_core::{ClientInput, Input, PortInput};
use qssl_modem_emulator::network::Network;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Plan, Simulated};

const ALL: [&str; 9] = [
    "bg96-reboot.txt",
    "ec25-bytes.txt",
    "eg800k-buffer-mode.txt",
    "eg800k-direct-push.txt",
    "eg800k-files.txt",
    "manual-buffer.txt",
    "manual-push.txt",
    "manual-transparent.txt",
    "transparent-in-production.txt",
];

fn transcript(name: &str) -> Transcript {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name);
    let text = std::fs::read_to_string(&path).expect("the transcript can be read");
    Transcript::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[allow(clippy::disallowed_methods)] // The beginning of simulated time.
fn now() -> Instant {
    Instant::now()
}

/// The bytes of one side, cut at these offsets, which count all bytes of this side.
fn pieces<'a>(bytes: &'a [u8], offset: usize, cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut inner: Vec<usize> =
        cuts.iter().filter_map(|cut| cut.checked_sub(offset)).filter(|cut| *cut < bytes.len()).collect();
    inner.push(bytes.len());
    let mut start = 0;
    let mut all = Vec::new();
    for cut in inner {
        all.push(&bytes[start..cut]);
        start = cut;
    }
    all.retain(|piece| !piece.is_empty());
    all
}

/// The messages that the decoder finds in the modem's bytes.
fn decoded(transcript: &Transcript, cuts: &[usize]) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut all: Vec<String> = Vec::new();
    let mut payload: Vec<u8> = Vec::new();
    let mut offset = 0;
    for entry in &transcript.entries {
        match &entry.event {
            Event::Host(Bytes::Exact(bytes)) => decoder.expect_prompt(bytes.starts_with(b"AT+QSSLSEND")),
            Event::Host(Bytes::Any(_)) | Event::Pause(_) => {}
            Event::Modem(bytes) => {
                let bytes = bytes.made_up();
                for mut piece in pieces(&bytes, offset, cuts) {
                    while let Some(message) = decoder.decode(&mut piece) {
                        match message {
                            Message::Payload { bytes, left } => {
                                payload.extend_from_slice(bytes);
                                if left == 0 {
                                    all.push(format!("payload {}", payload.escape_ascii()));
                                    payload.clear();
                                }
                            }
                            other => all.push(format!("{other:?}")),
                        }
                    }
                }
                offset += bytes.len();
            }
        }
    }
    assert!(payload.is_empty(), "a payload without its end");
    all
}

fn modem_bytes(transcript: &Transcript) -> usize {
    let said = |event: &Event| if let Event::Modem(bytes) = event { bytes.count() } else { 0 };
    transcript.entries.iter().map(|entry| said(&entry.event)).sum()
}

#[test]
fn every_split_of_every_transcript_means_the_same() {
    for name in ALL {
        let transcript = transcript(name);
        let whole = decoded(&transcript, &[]);
        assert!(
            !whole.is_empty() && !whole.iter().any(|said| said.starts_with("Malformed")),
            "{name}: {whole:?}"
        );
        let length = modem_bytes(&transcript);
        let bytewise: Vec<usize> = (0..length).collect();
        assert_eq!(decoded(&transcript, &bytewise), whole, "{name} byte by byte");
        // Byte by byte has every split at once; pairs of splits give pieces of every length. Splits near each other cut
        // one message twice. All pairs take half a minute.
        assert!(length <= 2_048, "{name} has {length} bytes");
        let apart = if std::env::var_os("QSSL_TUNNEL_LONG_TESTS").is_some() { length } else { 40 };
        for first in 1..length {
            for second in first..length.min(first + apart) {
                assert_eq!(
                    decoded(&transcript, &[first, second]),
                    whole,
                    "{name} split at {first} and {second}"
                );
            }
        }
    }
}

#[test]
fn what_the_field_transcripts_say_is_understood() {
    let buffer = decoded(&transcript("eg800k-buffer-mode.txt"), &[]).join("\n");
    assert!(buffer.contains("Prompt\nFinal(SendOk)\nUrc(Receivable(Ssl, SocketId(4)))"), "{buffer}");
    assert!(
        buffer.contains("ReceivedHeader { length: 15 }\npayload NuModem-P5-SSL\\n\nFinal(Ok)"),
        "{buffer}"
    );
    let push = decoded(&transcript("eg800k-direct-push.txt"), &[]).join("\n");
    assert!(push.ends_with("Urc(Pushed(Ssl, Some(SocketId(4)), 16))\npayload NuModem-P5-PUSH\\n"), "{push}");
    let reboot = decoded(&transcript("bg96-reboot.txt"), &[]).join("\n");
    let production = decoded(&transcript("transparent-in-production.txt"), &[]).join("\n");
    assert!(production.ends_with("Final(Ok)\nFinal(Connect)\nFinal(NoCarrier)\nFinal(Ok)"), "{production}");
    assert!(reboot.contains("Urc(PoweredDown)\nUrc(PdpDeactivated(1))\nUrc(Ready)"), "{reboot}");
}

/// The host's side: a core whose set-up gets fixed answers, and then those of the transcript.
struct Host {
    relay: Relay,
    now: Instant,
    client: ClientId,
    received: Vec<u8>,
    end: Option<&'static str>,
}

impl Host {
    fn new(mode: Mode) -> Host {
        let now = now();
        let mut sockets = IdSet::empty();
        sockets.insert(4);
        let mut ssl_contexts = IdSet::empty();
        ssl_contexts.insert(1);
        let target = "220.180.239.201:8011".parse().expect("a target");
        let tunnel = Tunnel::new("transcript", target, Tls::new(Authentication::Insecure));
        let settings = Settings {
            modem: settings::Modem { sockets, ssl_contexts, ..settings::Modem::default() },
            tunnels: vec![Arc::new(Tunnel { mode, ..tunnel })],
            ..Settings::default()
        };
        let mut relay = Relay::new(settings, now);
        let tunnel = relay.tunnels()[0].clone();
        let client = relay.client_accepted(&tunnel, "client".into(), now);
        Host { relay, now, client, received: Vec::new(), end: None }
    }

    /// Does what the event loop does, until the core has sent something more.
    fn says(&mut self) -> Vec<u8> {
        for _ in 0..10_000 {
            while let Some(action) = self.relay.poll_action() {
                match action {
                    Action::Modem(modem::Action::OpenPort(port)) => {
                        let facts = PortFacts {
                            name: "transcript".into(),
                            at_port: Some("uart1"),
                            ..PortFacts::default()
                        };
                        self.relay.handle(Input::Port(port, PortInput::Opened(facts)), self.now);
                    }
                    Action::Modem(modem::Action::TellTime) => {
                        self.relay.handle(Input::HostClock(1_790_000_000), self.now)
                    }
                    Action::FinishClient(_) => {
                        self.end = Some("end of file");
                        self.relay.handle(Input::Client(self.client, ClientInput::Finished), self.now);
                    }
                    Action::ResetClient { .. } => self.end = Some("reset"),
                    Action::CloseClient(_) if self.end.is_none() => self.end = Some("left"),
                    Action::Modem(modem::Action::AskQueue(port)) => {
                        self.relay.handle(Input::Port(port, PortInput::Queue(0)), self.now)
                    }
                    Action::AskClient(client) => {
                        self.relay.handle(Input::Client(client, ClientInput::Queue(0)), self.now)
                    }
                    _ => {}
                }
            }
            if self.client_reads() {
                continue;
            }
            let said = self.relay.port_output(0).to_vec();
            if !said.is_empty() {
                self.relay.port_written(0, said.len(), self.now);
                return said;
            }
            let Some(deadline) = self.relay.next_deadline() else { return Vec::new() };
            self.now = self.now.max(deadline);
            self.relay.handle(Input::Deadline, self.now);
        }
        panic!("the core does not come to rest");
    }

    /// Returns whether there was output.
    fn client_reads(&mut self) -> bool {
        let output = self.relay.client_output(self.client).to_vec();
        self.received.extend_from_slice(&output);
        if !output.is_empty() {
            self.relay.client_written(self.client, output.len(), self.now);
        }
        !output.is_empty()
    }

    fn hears(&mut self, bytes: &[u8]) {
        self.now += Duration::from_millis(1);
        self.relay.port_received(0, bytes, self.now);
        self.client_reads();
    }
}

/// Fixed answers to the commands of a set-up.
fn rote(command: &str) -> String {
    let lines = match command {
        "ATI" => "\r\nQuectel\r\nEG800Q\r\nRevision: EG800QEULCR07A06M04\r\n",
        "AT+CPIN?" => "\r\n+CPIN: READY\r\n",
        "AT+CEREG?" => "\r\n+CEREG: 0,1\r\n",
        "AT+QIACT?" => "\r\n+QIACT: 1,1,1,\"10.7.157.1\"\r\n",
        _ => "",
    };
    format!("{lines}\r\nOK\r\n")
}

/// Plays a transcript against the core; the modem's bytes are cut at these offsets.
fn play_against_the_core(name: &str, mode: Mode, cuts: &[usize]) {
    let transcript = transcript(name);
    let mut host = Host::new(mode);
    let mut said = host.says();
    while !said.starts_with(b"AT+QSSLOPEN=") {
        let command = String::from_utf8(said).expect("commands are text");
        host.hears(rote(command.trim_end_matches('\r')).as_bytes());
        said = host.says();
    }
    host.relay.client_received(host.client, b"Test data from SSL", host.now);
    let mut offset = 0;
    for entry in &transcript.entries {
        match &entry.event {
            Event::Host(bytes) => {
                let expected = bytes.made_up();
                if expected == b"+++" {
                    // The client ends the connection, so that the core leaves data mode.
                    host.relay.handle(Input::Client(host.client, ClientInput::Finished), host.now);
                    host.relay.handle(Input::Client(host.client, ClientInput::Gone), host.now);
                }
                while said.len() < expected.len() {
                    let more = host.says();
                    assert!(!more.is_empty(), "{name}:{}: the core sends nothing more", entry.line);
                    said.extend(more);
                }
                assert_eq!(
                    said.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "{name}:{}: cut at {cuts:?}",
                    entry.line
                );
                said.clear();
            }
            Event::Modem(bytes) => {
                let bytes = bytes.made_up();
                for piece in pieces(&bytes, offset, cuts) {
                    host.hears(piece);
                }
                offset += bytes.len();
            }
            Event::Pause(pause) => host.now += *pause,
        }
    }
    host.says();
    assert_eq!(host.received, b"Test data from SSL", "{name}: cut at {cuts:?}");
    let end = if mode == Mode::Transparent { "left" } else { "end of file" };
    assert_eq!(host.end, Some(end), "{name}: cut at {cuts:?}");
}

#[test]
fn the_core_sends_what_the_host_sends() {
    for (name, mode) in [
        ("manual-push.txt", Mode::Push),
        ("manual-buffer.txt", Mode::Buffer),
        ("manual-transparent.txt", Mode::Transparent),
    ] {
        play_against_the_core(name, mode, &[]);
        let length = modem_bytes(&transcript(name));
        play_against_the_core(name, mode, &(0..length).collect::<Vec<_>>());
        for cut in 1..length {
            play_against_the_core(name, mode, &[cut]);
        }
    }
}

/// Plays a transcript against the emulated modem, whose server echoes, and closes where the transcript has a close.
fn play_against_the_emulator(name: &str, step: usize) {
    let transcript = transcript(name);
    let mut now = now();
    let plan = Plan::new(Behaviour::echo()).latency(Duration::from_millis(50));
    let mut network = Simulated::new(now, plan);
    let mut modem = qssl_modem_emulator::Modem::new(qssl_modem_emulator::Config::default(), now);
    for command in ["ATE0\r", "AT+QIACT=1\r"] {
        modem.received(0, command.as_bytes(), now, &mut network);
    }
    let count = modem.output(0).len();
    modem.written(0, count, now);
    let mut heard: Vec<u8> = Vec::new();
    for entry in &transcript.entries {
        match &entry.event {
            Event::Host(bytes) => {
                for piece in bytes.made_up().chunks(step) {
                    modem.received(0, piece, now, &mut network);
                }
            }
            Event::Pause(pause) => now += *pause,
            Event::Modem(bytes) => {
                let expected = bytes.made_up();
                if [&b"\r\n+QSSLURC: \"closed\""[..], b"\r\nNO CARRIER"]
                    .iter()
                    .any(|end| expected.starts_with(end))
                {
                    network.end(0, Ending::Closed, now);
                }
                for _ in 0..1_000 {
                    let count = modem.output(0).len();
                    heard.extend_from_slice(modem.output(0));
                    modem.written(0, count, now);
                    if heard.len() >= expected.len() {
                        break;
                    }
                    let next = modem.next_deadline().into_iter().chain(network.next_deadline()).min();
                    now = now.max(next.unwrap_or(now));
                    network.advance(now);
                    modem.network_changed(now, &mut network);
                    modem.deadline_passed(now, &mut network);
                }
                assert!(
                    heard.len() >= expected.len(),
                    "{name}:{}: only {}",
                    entry.line,
                    heard.escape_ascii()
                );
                let rest = heard.split_off(expected.len());
                assert_eq!(
                    heard.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "{name}:{}",
                    entry.line
                );
                heard = rest;
            }
        }
    }
    assert_eq!(heard.escape_ascii().to_string(), "", "{name}: more than the transcript has");
}

#[test]
fn the_emulated_modem_says_what_the_modem_says() {
    let field = "transparent-in-production.txt";
    for name in ["manual-push.txt", "manual-buffer.txt", "manual-transparent.txt", field] {
        play_against_the_emulator(name, usize::MAX);
        play_against_the_emulator(name, 1);
    }
}
