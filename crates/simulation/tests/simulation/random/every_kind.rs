//! Connections of every kind at once, over channels (CMUX) or ports: TLS and plain TCP in all modes, datagrams over DTLS
//! and UDP, connections opened ahead, and clients that name their own servers, while other programs use the modem.

use qssl_core::at::IdSet;
use qssl_core::settings::Mode;
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::Opening;

use qssl_simulation::wiring::{Fault, Wiring, millis, seconds};
use qssl_simulation::{Chance, Simulation};

/// The wiring of a seed.
pub fn draw(seed: u64) -> Wiring {
    let chance = &mut Chance::new(seed.rotate_left(13));
    let is_multiplexed = chance.once_in(2);
    let mut wiring = if is_multiplexed { super::multiplexed::draw(seed) } else { super::draw_single(seed) };
    super::draw_uncommon_module(&mut wiring, chance);
    if chance.once_in(2) {
        super::draw_lost_answers(&mut wiring, chance);
    }
    if is_multiplexed {
        super::multiplexed::keep_habits_fair(&mut wiring);
        super::multiplexed::limit_copies(&mut wiring);
        draw_fast_copies(&mut wiring);
    }
    super::draw_plain(&mut wiring, chance);
    super::draw_warm(&mut wiring, chance);
    draw_named_targets(&mut wiring, chance);
    if !chance.once_in(3) {
        draw_others(&mut wiring, chance);
    }
    super::datagrams::draw(&mut wiring, chance);
    if wiring.modem.quirks.close_of_opening_refused {
        draw_short_openings(&mut wiring);
    }
    draw_fair_end(&mut wiring);
    wiring
}

/// Copies of every URC of all these connections on every channel would fill a slow line for minutes.
fn draw_fast_copies(wiring: &mut Wiring) {
    let baud = wiring.settings.baud;
    if wiring.modem.quirks.mux_urcs_everywhere && baud < COPIES_BAUD_MIN {
        if wiring.modem.baud == baud {
            wiring.modem.baud = COPIES_BAUD_MIN;
        }
        wiring.settings.baud = COPIES_BAUD_MIN;
    }
}

/// Where the module closes no connection that is still being opened, each must end by itself, or only a reboot would free its
/// number.
fn draw_short_openings(wiring: &mut Wiring) {
    let ahead = wiring.connections.iter_mut().filter(|connection| connection.limits.warm.count > 0);
    let openings = ahead.map(|connection| &mut connection.opening);
    for opening in openings.chain(wiring.datagrams.iter_mut().map(|tunnel| &mut tunnel.plan.opening)) {
        if *opening == Opening::Never {
            *opening = Opening::Fails(seconds(30), OpenFailure::Refused);
        }
    }
}

/// Takes out what no tunnel could tell from an end, or from silence, while the late clients are served: others speak and are
/// served then, too.
fn draw_fair_end(wiring: &mut Wiring) {
    // A copy of another's URC straight after the end of a stream could be payload.
    if wiring.modem.quirks.mux_urcs_everywhere {
        let first_late = wiring.connections.len() - super::LATE_CLIENTS.len();
        let late = wiring.connections[first_late..].iter_mut();
        late.filter(|late| late.mode == Mode::Transparent).for_each(|late| late.mode = Mode::Buffer);
    }
}

/// Clients that name their own servers, several of them through the same tunnel.
fn draw_named_targets(wiring: &mut Wiring, chance: &mut Chance) {
    let first_late = wiring.connections.len() - super::LATE_CLIENTS.len();
    for index in 0..first_late {
        // None of theirs can be opened ahead.
        if super::is_of_several(&wiring.connections[index]) || chance.once_in(2) {
            continue;
        }
        let (before, rest) = wiring.connections.split_at_mut(index);
        let connection = &mut rest[0];
        let is_alike = |other: usize| before[other].mode == connection.mode;
        let last = (0..index).rev().find(|other| before[*other].names_target_in == Some(*other));
        let tunnel = last.filter(|other| is_alike(*other) && chance.once_in(2)).unwrap_or(index);
        connection.names_target_in = Some(tunnel);
        if let Some(owner) = before.get(tunnel) {
            (connection.security, connection.limits) = (owner.security, owner.limits.clone());
        }
    }
}

/// Other programs, which have sockets of their own.
fn draw_others(wiring: &mut Wiring, chance: &mut Chance) {
    super::draw_other_programs(wiring, chance);
    super::draw_closed_of_both(wiring, chance);
    // A message that lost its head can be anything.
    let is_whole = !wiring.faults.iter().any(|(_, fault)| matches!(fault, Fault::CutUrcHead(_)));
    if is_whole && chance.once_in(3) {
        wiring.modem.others_speak_every = Some(millis(chance.within(1_000..=20_000)));
    }
    if wiring.settings.sockets.count() > super::OWN_SOCKETS {
        wiring.settings.sockets = IdSet::first(super::OWN_SOCKETS);
    }
}

/// The least speed in bit/s of a line that carries copies of every URC.
const COPIES_BAUD_MIN: u32 = 57_600;

/// The clients of connections that were opened ahead have each heard one server, as all others have.
pub fn assert_heard_one(wiring: &Wiring, sim: &Simulation) {
    for (index, connection) in wiring.connections.iter().enumerate() {
        if connection.limits.warm.count > 0 {
            sim.assert_heard_one(index);
        }
    }
}
