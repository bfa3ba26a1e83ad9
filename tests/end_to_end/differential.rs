//! Goal of this test: clients and servers see the same bytes and ends of each other through the tunnel as through
//! stunnel, except for the differences that are listed here with their reasons.
//!
//! The same scripts run through both, to the same TLS server. The test fails for a difference that is not listed, and
//! for a listed one that does not occur. docs/RELIABILITY.md has the list, written by this test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::LazyLock;

use qssl_test_common::harness::Step::{
    Await, Close, Cut, Exchange, Finish, Pause, ReadToEnd, ReadToEndSlowly, Receive, Reset, Send,
    SendGrowing, Tell,
};
use qssl_test_common::harness::{EG800Q, FarEnd, MODES, Modem, Step, Stunnel, Told, Tunnel, play_client};

/// What the clients do, one after the other, and what the server does on each connection.
struct Behaviour {
    name: &'static str,
    clients: &'static [&'static [Step]],
    server: &'static [Step],
    /// The server is down until the first client has ended.
    starts_down: bool,
}

const BEHAVIOURS: &[Behaviour] = &[
    behaviour(
        "question and answer, the client closes",
        &[&[Send(1000), Receive(100_000), Close]],
        &[Receive(1000), Send(100_000), ReadToEnd],
    ),
    behaviour(
        "the answer is late",
        &[&[Send(1000), Receive(1000), Close]],
        &[Receive(1000), Pause(1000), Send(1000), ReadToEnd],
    ),
    behaviour(
        "the client half-closes, and the answer comes later",
        &[&[Send(1000), Finish, ReadToEnd]],
        &[Receive(1000), Pause(1000), Send(100_000), Finish, ReadToEnd],
    ),
    behaviour(
        "the client half-closes, and the server answers only then",
        &[&[Send(1000), Await("got it"), Finish, ReadToEnd]],
        &[Receive(1000), Tell("got it"), ReadToEnd, Send(1000), Close],
    ),
    behaviour("the client sends and closes", &[&[Send(1_000_000), Close]], &[ReadToEnd, Close]),
    behaviour(
        "the client closes before it has read everything",
        &[&[Receive(100_000), Close]],
        // More than all buffers in between can hold.
        &[Send(1_000_000_000), ReadToEnd],
    ),
    behaviour(
        "the client resets",
        &[&[Send(1000), Await("got it"), Reset]],
        &[Receive(1000), Tell("got it"), ReadToEnd],
    ),
    behaviour(
        "the client closes at once, another one does not",
        &[&[Close], &[Send(1000), ReadToEnd]],
        &[Receive(1000), Send(1000), Finish, ReadToEnd],
    ),
    behaviour(
        "tiny writes of 1, 2, 3 ... 2039 bytes, both ways",
        &[&[SendGrowing(2039), Receive(2_079_780), Close]],
        &[Receive(2_079_780), SendGrowing(2039), ReadToEnd],
    ),
    behaviour("4 MB each way at once", &[&[Exchange(4_000_000), Close]], &[Exchange(4_000_000), ReadToEnd]),
    behaviour("the client reads slowly", &[&[ReadToEndSlowly]], &[Send(4_000_000), Finish, ReadToEnd]),
    behaviour(
        "the server closes with 2 MB under way",
        &[&[Pause(1000), ReadToEnd]],
        &[Send(2_000_000), Finish, ReadToEnd],
    ),
    behaviour(
        "the server half-closes, and the client goes on",
        &[&[ReadToEnd, Send(1000), Tell("all"), Close]],
        &[Send(1000), Finish, Await("all"), ReadToEnd],
    ),
    behaviour(
        "the server closes without having read everything",
        &[&[Send(1000), Receive(1000), Send(1000), Tell("all"), ReadToEnd]],
        &[Receive(1000), Send(1000), Await("all"), Pause(500), Close],
    ),
    behaviour(
        "the server resets",
        &[&[Send(1000), Receive(1000), Tell("all"), ReadToEnd]],
        &[Receive(1000), Send(1000), Await("all"), Reset],
    ),
    behaviour(
        "the server's stream is cut: FIN without close_notify",
        &[&[Send(1000), Receive(1000), Tell("all"), ReadToEnd, Tell("end")]],
        &[Receive(1000), Send(1000), Await("all"), Cut, Await("end"), Close],
    ),
    Behaviour {
        name: "the server is down, then up",
        clients: &[&[ReadToEnd], &[Send(1000), ReadToEnd]],
        server: &[Receive(1000), Send(1000), Finish, ReadToEnd],
        starts_down: true,
    },
];

/// An intended difference.
struct Difference {
    behaviour: &'static str,
    modes: &'static [&'static str],
    side: &'static str,
    stunnel: &'static str,
    ours: &'static str,
    reason: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        behaviour: "the client half-closes, and the server answers only then",
        modes: &MODES,
        side: "client",
        stunnel: "1000 bytes, end of file",
        ours: "0 bytes, reset",
        reason: "no AT command passes a half-close on, so the server waits for it in vain, and the client is \
                 reset when its `--half-close-timeout` is over",
    },
    Difference {
        behaviour: "the client resets",
        modes: &MODES,
        side: "server",
        stunnel: "1000 bytes, close_notify",
        ours: "1000 bytes, reset",
        reason: "a client that broke off did not end in order: the socket is closed with AT+QSSLCLOSE and no \
                 time to do it in order",
    },
    Difference {
        behaviour: "the server half-closes, and the client goes on",
        modes: &MODES,
        side: "server",
        stunnel: "1000 bytes, close_notify",
        ours: "0 bytes, close_notify",
        reason: "the modem reports `closed` when the server ends its direction, and accepts nothing more for it",
    },
    Difference {
        behaviour: "the server resets",
        modes: &["buffer"],
        side: "client",
        stunnel: "1000 bytes, end of file",
        ours: "1000 bytes, reset",
        reason: "in buffer mode the modem shows the difference: reading on after `closed` is answered with ERROR, not with \
                 0. A tunnel in push mode reads so as well until a URC has arrived on its port, so its clients may see \
                 the same",
    },
    Difference {
        behaviour: "the server's stream is cut: FIN without close_notify",
        modes: &["buffer"],
        side: "client",
        stunnel: "1000 bytes, end of file",
        ours: "1000 bytes, reset",
        reason: "the same",
    },
];

#[test]
fn push_mode_is_as_stunnel_is() {
    compare("push");
}

#[test]
fn buffer_mode_is_as_stunnel_is() {
    compare("buffer");
}

#[test]
fn transparent_mode_is_as_stunnel_is() {
    compare("transparent");
}

#[test]
fn the_differences_are_in_the_documentation() {
    let mut table = String::from(
        "| what happens | mode | seen by | through stunnel | through qssl-tunnel | because |\n|---|---|---|---|---|---|\n",
    );
    for difference in DIFFERENCES {
        let Difference { behaviour, modes, side, stunnel, ours, reason } = difference;
        let modes = if modes.len() == MODES.len() { "every".to_owned() } else { modes.join(", ") };
        writeln!(table, "| {behaviour} | {modes} | {side} | {stunnel} | {ours} | {reason} |")
            .expect("a string");
    }
    let same = BEHAVIOURS
        .iter()
        .filter(|behaviour| DIFFERENCES.iter().all(|difference| difference.behaviour != behaviour.name));
    let same: Vec<&str> = same.map(|behaviour| behaviour.name).collect();
    let text = format!("{table}\nThe same in every mode: {}.\n", same.join("; "));

    let begin = "<!-- written by tests/end_to_end/differential.rs -->\n";
    let old = fs::read_to_string(DOCUMENT).expect("there is such a document");
    let (head, rest) = old.split_once(begin).expect("the document has a place for the differences");
    let (_, tail) = rest.split_once("<!-- end -->").expect("the place has an end");
    let fresh = format!("{head}{begin}{text}<!-- end -->{tail}");
    if fresh != old {
        fs::write(DOCUMENT, fresh).expect("the checkout is writable");
        panic!("the differences in {DOCUMENT} were written anew, look at them and commit them");
    }
}

fn compare(mode: &str) {
    let of_mode = |difference: &&Difference| difference.modes.contains(&mode);
    let mut expected: BTreeMap<(&str, &str), &Difference> = DIFFERENCES
        .iter()
        .filter(of_mode)
        .map(|difference| ((difference.behaviour, difference.side), difference))
        .collect();
    let mut wrong = String::new();
    for (behaviour, theirs) in BEHAVIOURS.iter().zip(STUNNEL.iter()) {
        let ours = play(behaviour, |server| through_tunnel(mode, server));
        assert_eq!(ours.len(), theirs.len(), "{}: {ours:?}, with stunnel {theirs:?}", behaviour.name);
        for ((side, ours), (_, theirs)) in ours.iter().zip(theirs) {
            let matches = match expected.remove(&(behaviour.name, *side)) {
                Some(difference) => (difference.stunnel, difference.ours) == (theirs, ours),
                None => ours == theirs || may_read_on(mode, behaviour.name, ours),
            };
            if !matches || ours.contains("WRONG") || theirs.contains("WRONG") {
                let line = format!("{}, {side}: {ours}; with stunnel {theirs}\n", behaviour.name);
                wrong.push_str(&line);
            }
        }
    }
    assert!(wrong.is_empty(), "{mode}: neither alike nor different as listed:\n{wrong}");
    assert!(expected.is_empty(), "listed for what does not exist: {:?}", expected.keys());
}

/// Until a URC has arrived on its port, a tunnel in push mode reads as in buffer mode. Whether it still does at the end
/// depends on the first bytes.
fn may_read_on(mode: &str, behaviour: &str, ours: &str) -> bool {
    let is_of_buffer =
        |difference: &&Difference| difference.modes == ["buffer"] && difference.side == "client";
    mode == "push"
        && DIFFERENCES
            .iter()
            .filter(is_of_buffer)
            .any(|difference| (difference.behaviour, difference.ours) == (behaviour, ours))
}

/// What was seen through stunnel, by behaviour.
static STUNNEL: LazyLock<Vec<Vec<(&str, String)>>> =
    LazyLock::new(|| BEHAVIOURS.iter().map(|behaviour| play(behaviour, through_stunnel)).collect());

/// Plays a behaviour through the program that `through` starts for the server's address. Returns what each side
/// saw.
fn play<T>(
    behaviour: &Behaviour,
    through: impl FnOnce(SocketAddr) -> (SocketAddr, T),
) -> Vec<(&'static str, String)> {
    let told = Told::default();
    let mut server = FarEnd::down(behaviour.server, told.clone());
    let (address, _through) = through(server.address());
    if !behaviour.starts_down {
        server.start();
    }
    let mut outcome = Vec::new();
    for steps in behaviour.clients {
        let seen = play_client(address, steps, told.clone());
        outcome.push(("client", seen.to_string()));
        server.start();
    }
    let mut connections = server.seen(1);
    if connections.len() > 1 {
        // It depends on timing whether a client that left at once still gets a connection to the server.
        connections.retain(|seen| seen.bytes() > 0);
    }
    outcome.extend(connections.iter().map(|seen| ("server", seen.to_string())));
    outcome
}

fn through_stunnel(server: SocketAddr) -> (SocketAddr, Stunnel) {
    let stunnel = Stunnel::start(server);
    (stunnel.address, stunnel)
}

fn through_tunnel(mode: &str, server: SocketAddr) -> (SocketAddr, (Tunnel, Modem)) {
    // Over RFC 2217 there are DTR and DCD, which a pseudoterminal lacks, so transparent mode is left at once.
    let port = if mode == "transparent" { "--rfc2217 127.0.0.1:0" } else { "" };
    let modem = Modem::start(server, &format!("{EG800Q} {port}"));
    let device = modem.device(0);
    let tunnel = Tunnel::verified(&[&device], &["--mode", mode, "--half-close-timeout", "4s"]);
    tunnel.wait_until_ready();
    (tunnel.address(), (tunnel, modem))
}

const fn behaviour(
    name: &'static str,
    clients: &'static [&'static [Step]],
    server: &'static [Step],
) -> Behaviour {
    Behaviour { name, clients, server, starts_down: false }
}

const DOCUMENT: &str = "docs/RELIABILITY.md";
