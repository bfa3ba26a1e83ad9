//! Goal of this test: a message causes the system calls that its dialogue needs, and few more.
//!
//! strace records the system calls of the tunnel while 64 bytes go to an echo and back, repeatedly. The modem takes
//! some milliseconds for every answer, so that each answer comes alone and is counted, as from a real module.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use qssl_test_common::harness::{Running, Site, connect, echo, program, temporary_directory, tunnel_command};

/// The most system calls of a ping-pong. Lower these limits when fewer are needed.
///
/// A client is read once more after each message, to find that nothing is left: a short read does not show this,
/// since it also ends at TCP's urgent mark.
const LIMITS: [(&str, Calls); 3] = [
    // The client, the prompt, SEND OK and the URC with the payload wake it up. Each is read, and the client once more.
    // AT+QSSLSEND, the payload, and the bytes for the client are written.
    ("push", Calls { waits: 4.0, reads: 5.0, writes: 3.0, others: 0.0 }),
    // Two more wake-ups, reads and writes: the URC only announces bytes, and AT+QSSLRECV fetches them. It is sent
    // again, since the next URC comes only after an answer that nothing is left.
    ("buffer", Calls { waits: 6.0, reads: 7.0, writes: 5.0, others: 0.0 }),
    // Either side wakes it up. Each is read and written, and the client is read once more.
    ("transparent", Calls { waits: 2.0, reads: 3.0, writes: 2.0, others: 0.0 }),
];

/// An answer sometimes comes in two pieces, which causes another wake-up and read.
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

/// The number of system calls by kind, for one message to the echo and back.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    /// Calls that wait for events.
    waits: f64,
    /// Reads from a client or the port.
    reads: f64,
    /// Writes to a client or the port.
    writes: f64,
    /// All others.
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
    // The tunnel must end, so that strace writes all calls.
    drop(client);
    tunnel.signal(Signal::TERM);
    tunnel.wait();
    let text = std::fs::read_to_string(&file).expect("strace writes it");
    // A message first appears where it is read from the client.
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
    // "4711  read(9, …) = 12": the thread's ID, and the call. A call that is interrupted by that of another thread is
    // "resumed" on a separate line.
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

/// The beginning of a message.
fn mark(number: u32) -> String {
    format!("ping {number} ")
}

/// After this many messages, all buffers have their final size.
const WARM_UP: u32 = 20;
const COUNT: u32 = 100;
