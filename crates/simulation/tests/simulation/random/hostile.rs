//! Short runs with several channels on one UART, in which payload, module and line are as hostile as can be: a million of
//! them take minutes.
//!
//! Everything that is sent looks like something else: the end of a stream, its beginning, an escape, results, flags and
//! frames, cut and split anywhere, with and without pauses. The module has habits of those that are known, and the line
//! damages frames.

use std::time::Duration;

use qssl_core::settings::Mode;
use qssl_modem_emulator as emulator;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Opening, Says};

use qssl_simulation::material::{NASTY, NASTY_IN_FRAMES, NOISE_BETWEEN_FRAMES};
use qssl_simulation::wiring::{
    Connection, DeviceServer, Fault, Leaves, Reads, Security, Sends, Wiring, millis, seconds,
};
use qssl_simulation::{Chance, Outcome, Simulation};

/// The wiring of a seed.
pub fn draw(seed: u64) -> Wiring {
    let chance = &mut Chance::new(seed);
    let mut wiring = Wiring { seed, ..Wiring::new() };
    draw_line(&mut wiring, chance);
    draw_module(&mut wiring, chance);
    let modes: &[Mode] = match chance.below(4) {
        0 => &[Mode::Push, Mode::Buffer, Mode::Transparent],
        1 => &[Mode::Push, Mode::Transparent],
        _ => &[Mode::Transparent],
    };
    for _ in 0..chance.within(1..=4) {
        wiring.connections.push(draw_connection(*chance.pick(modes), chance));
    }
    if !chance.once_in(4) {
        for _ in 0..chance.within(1..=3) {
            let at = Duration::from_micros(chance.below(LAST_FAULT.as_micros() as u64));
            let fault = draw_fault(&wiring, chance);
            wiring.faults.push((at, fault));
        }
        wiring.faults.push((LAST_FAULT, Fault::Calm));
    }
    // What is lost with a port may be the middle of a frame whose payload goes on with the header of a long one: such a
    // module freezes then, until somebody switches it off.
    let loses_frames = |fault: &Fault| matches!(fault, Fault::LosePort(..));
    wiring.modem.quirks.mux_freezes_on_long_frame &=
        !wiring.faults.iter().any(|(_, fault)| loses_frames(fault));
    for at in LATE_CLIENTS {
        let mode = *chance.pick(&[Mode::Push, Mode::Buffer, Mode::Transparent]);
        // A copy of another's URC straight after the end of a stream cannot be distinguished from payload.
        let is_unclear = mode == Mode::Transparent && wiring.modem.quirks.mux_urcs_everywhere;
        let late = Connection::new(if is_unclear { Mode::Buffer } else { mode });
        let late = late.at(at).far_end(Behaviour::source(LATE_BYTES, seed));
        wiring.connections.push(late.limits(|limits| limits.queue_timeout = seconds(60)));
    }
    wiring
}

fn draw_line(wiring: &mut Wiring, chance: &mut Chance) {
    let server = |chance: &mut Chance| {
        chance.once_in(6).then(|| DeviceServer { holds_bytes: 8_192, tells: chance.once_in(2) })
    };
    super::multiplexed::draw_uart(wiring, 3, server, chance);
    if chance.once_in(2) {
        wiring.settings.cmux_frame = Some(*chance.pick(&[31, 32, 127, 128, 1_509]));
    }
    // What is left of an earlier run.
    if chance.once_in(8) {
        wiring.typed_before.push(b"AT+CMUX=0\r".to_vec());
    }
}

fn draw_module(wiring: &mut Wiring, chance: &mut Chance) {
    super::draw_modem(wiring, chance);
    super::multiplexed::draw_habits(wiring, chance);
    let modem = &mut wiring.modem;
    if chance.once_in(4) {
        modem.family = emulator::Family::Ec20;
    }
    // Most of a run would be waiting.
    modem.open_latency /= 10;
    modem.activation_latency /= 10;
    modem.boot_time = millis(chance.within(300..=1_500));
    super::multiplexed::limit_copies(wiring);
}

fn draw_connection(mode: Mode, chance: &mut Chance) -> Connection {
    let mut connection = Connection::new(mode).at(millis(chance.below(5_000)));
    connection.client.sends = match chance.below(3) {
        0 => Sends::Nothing,
        _ => Sends::Steps(draw_steps(chance)),
    };
    connection.client.reads = match chance.below(12) {
        0 => Reads::After(millis(chance.below(4_000))),
        1 => Reads::Drip(chance.within(1..=200) as usize, millis(chance.within(1..=200))),
        _ => Reads::All,
    };
    let soon = |chance: &mut Chance| millis(chance.below(6_000));
    connection.client.leaves = match chance.below(12) {
        0 => Leaves::HalfCloses,
        1 => Leaves::HalfClosesAfter(soon(chance)),
        2 => Leaves::WhenSent,
        3 => Leaves::After(soon(chance)),
        4 => Leaves::ResetsAfter(soon(chance)),
        5 => Leaves::Never,
        _ => Leaves::AtTheEnd,
    };
    connection.client.is_seen_leaving = !chance.once_in(3);
    let steps = draw_steps(chance);
    let says = match chance.below(5) {
        0 => Says::Echo,
        1 => Says::Text(steps.into_iter().flat_map(|(_, bytes)| bytes).collect()),
        _ => Says::Steps(steps),
    };
    let ends = match (&says, chance.below(6)) {
        (Says::Text(text), 0..4) => Ends::AfterSaying(text.len() as u64),
        (Says::Steps(steps), 0..4) => {
            Ends::AfterSaying(steps.iter().map(|(_, bytes)| bytes.len() as u64).sum())
        }
        (Says::Echo, 0..4) => Ends::AfterReading(super::sent(&connection)),
        (_, 4) => Ends::Never,
        _ => Ends::After(soon(chance)),
    };
    let how = if chance.once_in(4) { Ending::Cut } else { Ending::Closed };
    connection.far_end = Behaviour { says, ends, how, ..Behaviour::sink() };
    connection.opening = Opening::Opens(millis(*chance.pick(&[0, 1, 30, 300])));
    connection.latency = millis(*chance.pick(&[0, 1, 30]));
    if chance.once_in(4) {
        connection.security = Security::Plain;
    }
    let limits = &mut connection.limits;
    limits.half_close_timeout = seconds(5);
    // At 9600 bit/s the tunnel waits for seven seconds for payload that the end of a stream may have overtaken.
    limits.idle_timeout = seconds(15);
    limits.stall_timeout = seconds(5);
    limits.queue_timeout = seconds(60);
    limits.close_timeout = seconds(chance.below(4));
    connection
}

/// Words that look like something else, whole or in part, split anywhere, with pauses as long as those that matter.
fn draw_steps(chance: &mut Chance) -> Vec<(Duration, Vec<u8>)> {
    let mut text = Vec::new();
    for _ in 0..chance.within(1..=16) {
        let word = match chance.below(4) {
            0 => *chance.pick(&NASTY),
            1 => *chance.pick(&NASTY_IN_FRAMES),
            2 => *chance.pick(&WORDS),
            _ => b"\r\nNO CARRIER\r\n",
        };
        let from = if chance.once_in(6) { chance.below(word.len() as u64) as usize } else { 0 };
        let to = if chance.once_in(6) {
            chance.within(from as u64..=word.len() as u64) as usize
        } else {
            word.len()
        };
        text.extend_from_slice(&word[from..to]);
        if chance.once_in(3) {
            text.extend((0..chance.below(40)).map(|_| chance.number() as u8));
        }
    }
    let mut at = millis(chance.below(1_000));
    let mut steps = Vec::new();
    while !text.is_empty() {
        let count = match chance.below(3) {
            0 => text.len(),
            1 => chance.within(1..=20.min(text.len() as u64)) as usize,
            _ => chance.within(1..=text.len() as u64) as usize,
        };
        steps.push((at, text.drain(..count).collect()));
        at += millis(match chance.below(4) {
            0 => 0,
            1 => chance.below(60),
            2 => chance.below(700),
            _ => chance.below(1_600),
        });
    }
    if chance.once_in(3) {
        steps.push((at + CLEAR_PAUSE, b"the end".to_vec()));
    }
    steps
}

fn draw_fault(wiring: &Wiring, chance: &mut Chance) -> Fault {
    let connection = chance.below(wiring.connections.len() as u64) as usize;
    match chance.below(18) {
        0 | 1 => Fault::SpoilFrames(chance.within(1..=5) as u32),
        2 => Fault::FalsifyLength(chance.below(32_768) as u16),
        3 => Fault::FalsifyLength(chance.below(600) as u16),
        4 => Fault::LoseInFrame(chance.within(1..=100) as usize),
        5 => Fault::HoldChannel(chance.within(1..=4) as u8),
        6 => Fault::EndChannel(chance.within(1..=4) as u8, chance.once_in(2)),
        7 => Fault::Noise(0, chance.pick(&NOISE_BETWEEN_FRAMES).to_vec()),
        8 | 9 => Fault::Say(connection, chance.pick(&NASTY_IN_FRAMES).to_vec()),
        10 => Fault::HoldLine(0, millis(chance.below(3_000))),
        11 => Fault::EndFarEnd(connection, Ending::Closed),
        12 => Fault::EndFarEnd(connection, Ending::Cut),
        13 => Fault::Reboot,
        14 => Fault::DelayAnswer(millis(chance.below(3_000))),
        15 => Fault::Stall(millis(chance.below(3_000))),
        16 => Fault::LosePort(0, millis(chance.below(2_000))),
        _ => super::draw_fault(wiring, chance),
    }
}

/// Checks that what only looks like trouble ends no connection: a client that stays until its server closes reads
/// everything and an end of file.
pub fn assert_payload_ends_nothing(wiring: &Wiring, sim: &Simulation) {
    let is_harmless = |fault: &Fault| matches!(fault, Fault::Say(..) | Fault::Calm);
    if super::is_found_late(wiring) || !wiring.faults.iter().all(|(_, fault)| is_harmless(fault)) {
        return;
    }
    for (index, connection) in wiring.connections.iter().enumerate() {
        let reads = connection.client.reads == Reads::All;
        // Copies of what others are pushed can follow the end of a stream, and look like anything.
        let is_clear = connection.mode != Mode::Transparent
            || ends_clearly(&connection.far_end.says) && !wiring.modem.quirks.mux_urcs_everywhere;
        if reads && is_clear && super::is_simple(connection) {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "connection {index} meets no trouble");
            sim.assert_complete(index);
        }
    }
}

/// Whether nothing in the last seconds of a stream looks like its end: which of the two it was could not be known.
fn ends_clearly(says: &Says) -> bool {
    let Says::Steps(steps) = says else { return false };
    let end = steps.last().map_or(Duration::ZERO, |(at, _)| *at);
    let is_last = |at: Duration| at + CLEAR_PAUSE > end;
    let last: Vec<u8> =
        steps.iter().filter(|(at, _)| is_last(*at)).flat_map(|(_, bytes)| bytes.clone()).collect();
    steps.iter().any(|(at, _)| !is_last(*at)) && !last.iter().any(|byte| b"\r\n".contains(byte))
}

/// Further words that mean something elsewhere.
const WORDS: [&[u8]; 12] = [
    b"\r\nCONNECT\r\n",
    b"\r\nCONNECT 115200\r\n",
    b"+++",
    b"\r\nNO CARRIER\r\n\r\nRDY\r\n",
    b"\r\nNO CARRIER\r\n\r\n+QSSLURC: \"closed\",2\r\n",
    b"\r\nNO CARRIER\r\n\r\n+QSSLURC: \"recv\",3,20\r\n",
    b"\r\nOK\r\n\r\n+QSSLURC: \"closed\",0\r\n",
    b"\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.2\",443,0,4,1,0,0,\"uart1\",1\r\n\r\nOK\r\n",
    b"\r\n+CFUN: 1\r\n",
    b"\r\n+CPIN: READY\r\n",
    b"\r\n+QIURC: \"pdpdeact\",1\r\n",
    b"\xF9\xF9\x0B\xEF\x01\xF9",
];

/// When the last fault happens at the latest, and when clients come after it. The first may show the tunnel what it could
/// not know, such as a lost data session whose URC was in a damaged frame; the last must be served.
const LAST_FAULT: Duration = seconds(12);
const LATE_CLIENTS: [Duration; 2] = [seconds(40), seconds(50)];
const LATE_BYTES: u64 = 300;

/// So long after the words of an end it is known that they were none.
const CLEAR_PAUSE: Duration = seconds(4);
