//! Tunnels that carry datagrams, beside all the others.

use std::time::Duration;

use qssl_core::settings::{Mode, WhenFull};
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::{DatagramSays, Ending, Opening};

use qssl_simulation::datagrams::{DatagramTunnel, Sender, own};
use qssl_simulation::material::NASTY;
use qssl_simulation::wiring::{FAMILIES, Fault, Security, Wiring, millis, seconds};
use qssl_simulation::{Chance, Simulation};

/// Adds some, and one whose addresses send after all faults.
pub fn draw(wiring: &mut Wiring, chance: &mut Chance) {
    // An EC20 has no DTLS.
    let has_dtls = wiring.modem.family == FAMILIES[0];
    for _ in 0..chance.within(1..=3) {
        let tunnel = draw_tunnel(has_dtls, chance);
        wiring.datagrams.push(tunnel);
    }
    if wiring.faults.iter().any(|(_, fault)| matches!(fault, Fault::Calm)) && chance.once_in(2) {
        let number = chance.below(wiring.datagrams.len() as u64) as usize;
        let how = if chance.once_in(2) { Ending::Cut } else { Ending::Closed };
        wiring.faults.push((millis(chance.below(60_000)), Fault::EndDatagrams(number, how)));
    }
    let says = (0..LATE_COUNT).map(|at| (LATE_FROM + seconds(5) * at as u32, own(u64::MAX - at, 200)));
    let late = DatagramTunnel::new(draw_mode(chance), draw_security(has_dtls, chance)).sender(says);
    wiring.datagrams.push(late.limits(|limits| limits.queue_timeout = seconds(100)));
}

/// After all faults, datagrams are carried as usual.
pub fn assert_late_ones_served(wiring: &Wiring, sim: &Simulation) {
    if wiring.datagrams.is_empty() {
        return;
    }
    let late = sim.addresses.all().last().expect("the late tunnel has an address");
    assert_eq!(late.received.len() as u64, LATE_COUNT, "after everything went wrong, datagrams are carried");
}

fn draw_mode(chance: &mut Chance) -> Mode {
    *chance.pick(&[Mode::Push, Mode::Buffer])
}

fn draw_security(has_dtls: bool, chance: &mut Chance) -> Security {
    if has_dtls && chance.once_in(2) { Security::Tls } else { Security::Plain }
}

fn draw_tunnel(has_dtls: bool, chance: &mut Chance) -> DatagramTunnel {
    let mut tunnel = DatagramTunnel::new(draw_mode(chance), draw_security(has_dtls, chance));
    let limits = &mut tunnel.limits;
    limits.idle_timeout = seconds(chance.within(2..=60));
    limits.connect_timeout = seconds(*chance.pick(&[8, 20]));
    limits.queue_timeout = seconds(chance.within(10..=60));
    limits.close_timeout = seconds(chance.within(0..=10));
    limits.when_full = *chance.pick(&[WhenFull::Wait, WhenFull::Reset, WhenFull::Evict, WhenFull::Evict]);
    limits.max_clients = chance.once_in(4).then(|| chance.within(1..=4) as usize);
    let behaviour = &mut tunnel.plan.behaviour;
    behaviour.seed = chance.number();
    behaviour.says = match chance.below(5) {
        0 => DatagramSays::Nothing,
        1 => DatagramSays::Source {
            datagrams: chance.within(1..=60),
            bytes: chance.within(1..=1_460) as usize,
            every: millis(chance.below(500)),
        },
        _ => DatagramSays::Echo,
    };
    behaviour.late_by = millis(chance.within(1..=900));
    for of_1000 in [&mut behaviour.lost_of_1000, &mut behaviour.late_of_1000, &mut behaviour.twice_of_1000] {
        *of_1000 = if chance.once_in(3) { chance.below(300) as u16 } else { 0 };
    }
    tunnel.plan.latency = millis(*chance.pick(&[0, 1, 30, 300]));
    tunnel.plan.opening = match chance.below(12) {
        0 => Opening::Fails(millis(chance.below(4_000)), OpenFailure::Refused),
        1 => Opening::Never,
        _ => Opening::Opens(millis(chance.below(3_000))),
    };
    let first = chance.number();
    for number in 0..chance.within(1..=6) {
        let sender = draw_sender(first.wrapping_add(number * 1_000), chance);
        tunnel.addresses.push(sender);
    }
    tunnel
}

fn draw_sender(first: u64, chance: &mut Chance) -> Sender {
    let mut at = millis(chance.below(50_000));
    let pause = *chance.pick(&[0, 20, 1_000, 8_000]);
    let mut says = Vec::new();
    for number in 0..chance.within(1..=30) {
        says.push((at, draw_datagram(first.wrapping_add(number), chance)));
        at += Duration::from_millis(chance.below(pause + 1));
    }
    let blocks_one_of = if chance.once_in(5) { chance.within(2..=6) } else { 0 };
    Sender { says, blocks_one_of, ..Sender::default() }
}

fn draw_datagram(number: u64, chance: &mut Chance) -> Vec<u8> {
    match chance.below(10) {
        0 => chance.pick(&NASTY).to_vec(),
        1 => own(number, *chance.pick(&[0, 1_461, 3_000])),
        2 => own(number, *chance.pick(&[1, 2, 1_459, 1_460])),
        _ => own(number, chance.within(8..=1_400) as usize),
    }
}

/// When the late ones come, and how many.
const LATE_FROM: Duration = seconds(420);
const LATE_COUNT: u64 = 5;
