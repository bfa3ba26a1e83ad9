//! Goal of this test: the core needs few processor instructions, per byte, per message and per datagram.
//!
//! Times differ between machines and between runs, but the number of instructions does not. This program runs itself
//! under callgrind with a short and a long transfer, and counts the instructions of the core's own functions. The
//! difference is the cost of the bytes. The modem sends fixed answers at once. This is the build of the tests, with
//! every check; docs/BENCH.md has times of the released build.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use qssl_core::settings::{Cmux, Mode, Transport};
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::figures::Way;
use qssl_test_common::harness::program;
use qssl_test_common::in_memory::Rig;
use qssl_test_common::world::FarEnd;

/// Names the transfer that the program under callgrind makes.
const TRANSFER: &str = "QSSL_TUNNEL_TEST_TRANSFER";

const CHUNK: usize = 1_460;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Tls,
    Tcp,
    Udp,
    /// TLS on a UART in memory, which has one channel.
    Uart,
    /// The same on a channel of several (CMUX).
    Channel,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    over: Over,
    mode: Mode,
    way: Way,
    message_bytes: usize,
    /// How many idle connections stand beside it.
    beside: usize,
    /// The limit in instructions of the core per message of this size.
    at_most: u64,
}

const fn transfer(mode: Mode, way: Way, message_bytes: usize, at_most: u64) -> Transfer {
    Transfer { over: Over::Tls, mode, way, message_bytes, beside: 0, at_most }
}

impl Transfer {
    const fn over(self, over: Over) -> Transfer {
        Transfer { over, ..self }
    }

    /// Every other socket has an idle connection.
    const fn beside_eleven(self) -> Transfer {
        Transfer { beside: 11, ..self }
    }
}

/// Bulk data in whole chunks, and small messages.
const TRANSFERS: [Transfer; 32] = [
    transfer(Mode::Push, Way::Up, CHUNK, 28_000),
    transfer(Mode::Push, Way::Down, CHUNK, 19_000),
    transfer(Mode::Buffer, Way::Up, CHUNK, 29_000),
    transfer(Mode::Buffer, Way::Down, CHUNK, 51_000),
    transfer(Mode::Transparent, Way::Up, CHUNK, 7_500),
    transfer(Mode::Transparent, Way::Down, CHUNK, 18_500),
    transfer(Mode::Push, Way::Up, 64, 28_000),
    transfer(Mode::Push, Way::Down, 64, 18_500),
    transfer(Mode::Push, Way::Up, CHUNK, 28_000).over(Over::Tcp),
    transfer(Mode::Push, Way::Down, CHUNK, 19_000).over(Over::Tcp),
    transfer(Mode::Buffer, Way::Up, CHUNK, 29_000).over(Over::Tcp),
    transfer(Mode::Buffer, Way::Down, CHUNK, 51_000).over(Over::Tcp),
    transfer(Mode::Transparent, Way::Up, CHUNK, 7_500).over(Over::Tcp),
    transfer(Mode::Transparent, Way::Down, CHUNK, 18_500).over(Over::Tcp),
    transfer(Mode::Push, Way::Up, CHUNK, 28_000).over(Over::Udp),
    transfer(Mode::Push, Way::Down, CHUNK, 19_000).over(Over::Udp),
    transfer(Mode::Buffer, Way::Up, CHUNK, 29_000).over(Over::Udp),
    transfer(Mode::Buffer, Way::Down, CHUNK, 51_000).over(Over::Udp),
    transfer(Mode::Push, Way::Up, 64, 28_000).over(Over::Udp),
    transfer(Mode::Push, Way::Down, 64, 18_500).over(Over::Udp),
    transfer(Mode::Push, Way::Up, CHUNK, 33_000).beside_eleven(),
    transfer(Mode::Push, Way::Down, CHUNK, 24_000).beside_eleven(),
    transfer(Mode::Buffer, Way::Up, CHUNK, 35_000).beside_eleven(),
    transfer(Mode::Buffer, Way::Down, CHUNK, 60_000).beside_eleven(),
    transfer(Mode::Push, Way::Up, CHUNK, 26_000).over(Over::Uart),
    transfer(Mode::Push, Way::Down, CHUNK, 18_500).over(Over::Uart),
    transfer(Mode::Transparent, Way::Up, CHUNK, 6_100).over(Over::Uart),
    transfer(Mode::Transparent, Way::Down, CHUNK, 17_000).over(Over::Uart),
    transfer(Mode::Push, Way::Up, CHUNK, 131_000).over(Over::Channel),
    transfer(Mode::Push, Way::Down, CHUNK, 145_000).over(Over::Channel),
    transfer(Mode::Transparent, Way::Up, CHUNK, 70_000).over(Over::Channel),
    transfer(Mode::Transparent, Way::Down, CHUNK, 153_000).over(Over::Channel),
];

const SHORT: u64 = 20;
const LONG: u64 = 220;

#[test]
fn a_message_costs_few_instructions_of_the_core() {
    if let Ok(number) = std::env::var(TRANSFER) {
        let (index, count) = number.split_once('x').expect("which, and how many messages");
        let transfer = TRANSFERS[index.parse::<usize>().expect("an index")];
        return carry(transfer, count.parse().expect("a count"));
    }
    let folder = tempfile::tempdir().expect("there is room for what callgrind writes");
    let mut dear = Vec::new();
    for (index, transfer) in TRANSFERS.into_iter().enumerate() {
        let count = |messages| core_instructions(folder.path(), index, messages);
        let each = (count(LONG) - count(SHORT)) / (LONG - SHORT);
        println!(
            "{:?}, {:?} {}, {} bytes, {} idle: {each} instructions per message, {:.2} per byte",
            transfer.over,
            transfer.mode,
            transfer.way,
            transfer.message_bytes,
            transfer.beside,
            each as f64 / transfer.message_bytes as f64
        );
        if each > transfer.at_most {
            dear.push((transfer, each));
        }
    }
    assert!(dear.is_empty(), "more instructions than allowed: {dear:?}");
}

/// Sends this many messages, each after the previous one has arrived.
fn carry(transfer: Transfer, count: u64) {
    if let Over::Uart | Over::Channel = transfer.over {
        return carry_on_uart(transfer, count);
    }
    let mut hand = ByHand::new(&[transfer.mode], 1, false, |settings| {
        let tunnel = Arc::make_mut(&mut settings.tunnels[0]);
        match transfer.over {
            Over::Tls | Over::Uart | Over::Channel => {}
            Over::Tcp => tunnel.transport = Transport::Tcp,
            Over::Udp => tunnel.transport = Transport::Udp,
        }
    });
    let urc = match transfer.over {
        Over::Tls | Over::Uart | Over::Channel => "+QSSLURC",
        Over::Tcp | Over::Udp => "+QIURC",
    };
    hand.run_until_ready();
    let client = hand.connect(0).expect("the tunnel takes a client");
    hand.run_until("it is served", std::time::Duration::from_secs(60), |hand| {
        !hand.ports[0].opened.is_empty() && hand.relay.modem().report().sockets.contains_key("open")
    });
    for _ in 0..transfer.beside {
        hand.connect(0).expect("the tunnel takes a client");
    }
    hand.run_until("the idle ones are served", std::time::Duration::from_secs(60), |hand| {
        hand.ports[0].opened.len() == 1 + transfer.beside
            && !hand.relay.modem().report().sockets.contains_key("opening")
    });
    let message = vec![b'm'; transfer.message_bytes];
    for number in 1..=count {
        let bytes = usize::try_from(number).expect("it is small") * transfer.message_bytes;
        match (transfer.way, transfer.mode) {
            (Way::Up, _) => assert_eq!(hand.send(client, &message), message.len()),
            (Way::Down, Mode::Push) => {
                let header =
                    format!("\r\n{urc}: \"recv\",{},{}\r\n", hand.ports[0].opened[0].0, message.len());
                hand.says_message(0, &[header.as_bytes(), &message].concat());
            }
            (Way::Down, Mode::Buffer) => {
                let socket = hand.ports[0].opened[0].0;
                hand.ports[0].waiting[socket].extend(&message);
                hand.says_message(0, format!("\r\n{urc}: \"recv\",{socket}\r\n").as_bytes());
            }
            (Way::Down, Mode::Transparent) => hand.says(0, &message),
        }
        let socket = hand.ports[0].opened[0].0;
        let arrived = match transfer.way {
            Way::Up => hand.ports[0].taken[socket].len(),
            Way::Down => hand.clients[client].received.len(),
        };
        assert_eq!(arrived, bytes, "all of message {number} has arrived");
    }
}

/// The same between the core and the emulated modem, which has channels.
fn carry_on_uart(transfer: Transfer, count: u64) {
    let cmux = if transfer.over == Over::Channel { Cmux::On } else { Cmux::Off };
    let far_end = if transfer.way == Way::Up { FarEnd::Sink } else { FarEnd::Source };
    let mut rig = Rig::on_uart(cmux, transfer.mode, far_end);
    for _ in 0..count {
        match transfer.way {
            Way::Up => rig.send(transfer.message_bytes as u64),
            Way::Down => rig.receive(transfer.message_bytes as u64),
        }
    }
}

/// The number of instructions of the core's own functions in a transfer of `messages` messages, including its set-up.
fn core_instructions(folder: &Path, index: usize, messages: u64) -> u64 {
    let out = folder.join(format!("{index}.{messages}"));
    let status = Command::new(program("valgrind"))
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no", "-q"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", "a_message_costs_few_instructions_of_the_core", "--test-threads=1"])
        .env(TRANSFER, format!("{index}x{messages}"))
        .output()
        .expect("callgrind runs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    let text = std::fs::read_to_string(out).expect("callgrind has written");
    let (mut is_core, mut is_call, mut sum) = (false, false, 0);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            is_core = name.contains("qssl_core::");
        } else if line.starts_with("calls=") {
            // The next line is the cost of the called function, which is counted there.
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split_ascii_whitespace().nth(1).and_then(|cost| cost.parse::<u64>().ok());
            if is_core && !std::mem::take(&mut is_call) {
                sum += cost.unwrap_or(0);
            }
            is_call = false;
        }
    }
    sum
}
