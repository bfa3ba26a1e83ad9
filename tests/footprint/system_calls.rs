//! Goal of this test: a message costs the system calls that its dialogue needs, and few more.
//!
//! strace writes down what the tunnel asks of the system while 64 bytes go to an echo and back, again and again.
//! The modem takes some milliseconds for every answer, so that each of them comes alone and is counted, as from a
//! real module.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use qssl_test_common::harness::{Running, Site, connect, echo, program, temporary_directory, tunnel_command};

/// What a ping-pong may cost. If a way to take less is found, lower these.
///
/// A client is read once more after each message, to find that nothing is left: a read that stops short does
/// not show that, since it also stops at TCP's urgent mark.
const LIMITS: [(&str, Calls); 3] = [
    // Woken up by the client, the prompt, SEND OK and the URC with the payload; each is read, and the client once
    // more. Written are AT+QSSLSEND, the payload, and to the client.
    ("push", Calls { waits: 4.0, reads: 5.0, writes: 3.0, others: 0.0 }),
    // Two more wake-ups, reads and writes: the URC only announces that there is something, AT+QSSLRECV asks
    // for it, and then again, since the next URC comes only after an answer that nothing is left.
    ("buffer", Calls { waits: 6.0, reads: 7.0, writes: 5.0, others: 0.0 }),
    // Woken up by either side; each is read, and the client once more, and written to.
    ("transparent", Calls { waits: 2.0, reads: 3.0, writes: 2.0, others: 0.0 }),
];

/// An answer may come in two pieces now and then, which costs a wake-up and a read each time.
const SLACK: f64 = 0.25;

#[test]
fn a_ping_pong_costs_the_system_calls_of_its_dialogue() {
    let table = LIMITS.map(|(mode, limit)| {
        let (calls, by_name) = ping_pong(mode);
        println!("{mode}: {calls}, by name: {by_name:.2?}");
        (mode, limit, calls, by_name)
    });
    for (mode, limit, calls, by_name) in table {
        assert!(
            calls.waits >= 1.0 && calls.reads >= 1.0 && calls.writes >= 1.0,
            "{mode}: nothing was counted"
        );
        for (kind, taken, limit) in [
            ("wait", calls.waits, limit.waits),
            ("read", calls.reads, limit.reads),
            ("write", calls.writes, limit.writes),
            ("do something else", calls.others, limit.others),
        ] {
            assert!(taken <= limit + SLACK, "{mode}: {taken:.2} calls to {kind}, not {limit}: {by_name:.2?}");
        }
    }
}

/// How often the system is called, by kind, for one message there and back.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    /// Sleeping until something happens.
    waits: f64,
    /// Reading, from a client or the port.
    reads: f64,
    /// Writing to them.
    writes: f64,
    /// Whatever else.
    others: f64,
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calls { waits, reads, writes, others } = self;
        write!(f, "{waits:.2} waits, {reads:.2} reads, {writes:.2} writes, {others:.2} others")
    }
}

/// The calls of one ping-pong in this mode, and the same by their names.
fn ping_pong(mode: &str) -> (Calls, BTreeMap<String, f64>) {
    let site = Site::new(Behaviour::Echo, "--prompt-latency 4ms --send-latency 4ms --receive-latency 4ms");
    let directory = temporary_directory();
    let file = directory.path().join("calls");
    let device = site.modem.device(0);
    let tunnel = traced(&site, &device, mode, &file);
    let address = tunnel.log.wait_for("its address", |line| {
        line.split_once("listening on ").and_then(|(_, rest)| rest.split([',', ' ']).next()?.parse().ok())
    });
    let mut client = connect(address);
    client.set_nodelay(true).expect("TCP");
    for number in 0..=WARM_UP + COUNT {
        echo(&mut client, format!("{:64}", mark(number)).as_bytes());
    }
    // So that strace ends with everything written down.
    drop(client);
    tunnel.signal(Signal::TERM);
    tunnel.wait();
    let text = std::fs::read_to_string(&file).expect("strace writes it");
    // A message is first seen where it is read from the client.
    let lines = text.lines().skip_while(|line| !line.contains(&mark(WARM_UP)));
    let lines = lines.take_while(|line| !line.contains(&mark(WARM_UP + COUNT)));
    count(lines)
}

/// The tunnel under strace, which is not its parent, so that ending the tunnel ends both.
fn traced(site: &Site, device: &str, mode: &str, file: &Path) -> Running {
    let usual = site.usual(device);
    let arguments =
        [&["listen", "127.0.0.1:0", "--mode", mode, "--liveness-interval", "0"], &usual[..]].concat();
    let tunnel = tunnel_command(&arguments);
    let mut command = Command::new(program("strace"));
    command.env_clear().args(["-D", "-f", "-q", "-s", "64", "-e", "signal=none", "-o"]).arg(file);
    Running::start(command.arg(tunnel.get_program()).args(tunnel.get_args()))
}

fn count<'a>(lines: impl Iterator<Item = &'a str>) -> (Calls, BTreeMap<String, f64>) {
    let (mut calls, mut by_name) = (Calls::default(), BTreeMap::new());
    let one = 1.0 / f64::from(COUNT);
    // "4711  read(9, …) = 12": the number of the thread, the call. One that is interrupted by another thread's is
    // "resumed" on a line of its own.
    for name in lines.filter_map(|line| Some(line.split_once(' ')?.1.trim_start().split_once('(')?.0)) {
        if name.starts_with("<...") {
            continue;
        }
        *match name {
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "poll" | "ppoll" => &mut calls.waits,
            "read" | "readv" | "recvfrom" | "recvmsg" => &mut calls.reads,
            "write" | "writev" | "sendto" | "sendmsg" => &mut calls.writes,
            _ => &mut calls.others,
        } += one;
        *by_name.entry(name.to_owned()).or_default() += one;
    }
    (calls, by_name)
}

/// What a message begins with.
fn mark(number: u32) -> String {
    format!("ping {number} ")
}

/// After so many messages everything has its size.
const WARM_UP: u32 = 20;
const COUNT: u32 = 100;
