//! One UART that carries several channels (CMUX), with the habits of modules and damaged frames.

use std::time::Duration;

use qssl_core::settings::{Cmux, Mode};
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Says};

use qssl_simulation::Chance;
use qssl_simulation::material::{NASTY, NASTY_IN_FRAMES, NOISE_BETWEEN_FRAMES, mux_habits};
use qssl_simulation::wiring::{Connection, DeviceServer, Fault, Port, Sends, Wiring, millis, seconds};

/// The wiring of a seed.
pub fn draw(seed: u64) -> Wiring {
    let chance = &mut Chance::new(seed);
    let mut wiring = Wiring { seed, ..Wiring::new() };
    draw_line(&mut wiring, chance);
    super::draw_modem(&mut wiring, chance);
    draw_habits(&mut wiring, chance);
    let modes: &[Mode] = match chance.below(6) {
        0 => &[Mode::Push],
        1 => &[Mode::Buffer],
        2 => &[Mode::Transparent],
        3 => &[Mode::Push, Mode::Transparent],
        _ => &[Mode::Push, Mode::Buffer, Mode::Transparent],
    };
    for _ in 0..chance.within(1..=12) {
        let connection = super::draw_connection(*chance.pick(modes), chance);
        wiring.connections.push(if chance.once_in(3) { nasty(connection, chance) } else { connection });
    }
    if !chance.once_in(4) {
        for _ in 0..chance.within(1..=6) {
            let at = Duration::from_micros(chance.below(60_000_000));
            let fault = draw_fault(&wiring, chance);
            wiring.faults.push((at, fault));
        }
        wiring.faults.push((seconds(120), Fault::Calm));
    }
    super::draw_late_clients(&mut wiring, modes, chance);
    wiring
}

/// A UART with channels, which delivers its bytes in pieces in one of `splits_one_in` runs, perhaps on a device server.
pub fn draw_uart(
    wiring: &mut Wiring,
    splits_one_in: u64,
    server: impl FnOnce(&mut Chance) -> Option<DeviceServer>,
    chance: &mut Chance,
) {
    let baud = *chance.pick(&[9_600, 57_600, 115_200, 115_200, 460_800, 921_600]);
    *wiring = wiring.clone().uart(baud).cmux();
    if chance.once_in(6) {
        wiring.modem.baud = 115_200;
    }
    let port = &mut wiring.ports[0];
    *port = Port {
        has_dcd: !chance.once_in(3),
        has_dtr: !chance.once_in(3),
        splits: chance.once_in(splits_one_in),
        is_named: !chance.once_in(4),
        ..Port::uart()
    };
    if let Some(server) = server(chance) {
        port.server = Some(server);
        port.has_dcd &= server.tells;
        port.has_dtr &= server.tells;
    }
    if chance.once_in(4) {
        wiring.settings.cmux = Cmux::Auto;
    }
}

fn draw_line(wiring: &mut Wiring, chance: &mut Chance) {
    let server = |chance: &mut Chance| {
        let holds = [8_192, 100_000];
        chance
            .once_in(5)
            .then(|| DeviceServer { holds_bytes: *chance.pick(&holds), tells: chance.once_in(2) })
    };
    draw_uart(wiring, 2, server, chance);
    wiring.settings.cmux_frame = match chance.below(3) {
        0 => Some(*chance.pick(&[31, 127, 128, 1_509, 2_048])),
        _ => None,
    };
}

/// What modules do differently in the mode, one to three of it.
pub fn draw_habits(wiring: &mut Wiring, chance: &mut Chance) {
    let habits = mux_habits();
    if !chance.once_in(3) {
        for _ in 0..chance.within(1..=3) {
            let habit: &str = chance.pick::<&str>(&habits);
            wiring.modem.quirks.set(habit, true);
        }
    }
    keep_habits_fair(wiring);
}

/// Takes out what no tunnel could tell apart.
pub fn keep_habits_fair(wiring: &mut Wiring) {
    // Where no words on its channel show the end of a stream, URCs that follow it cannot be distinguished from payload:
    // the lines may change after them.
    let quirks = &mut wiring.modem.quirks;
    quirks.mux_urcs_everywhere &= !quirks.mux_end_told_on_first_only;
    // A device server would have to be connected to anew to be without flow control.
    quirks.mux_holds_cts_off &= wiring.ports.iter().all(|port| port.server.is_none());
}

/// Copies of single bytes on every channel, or a ring on every channel with each of them, would fill the line for minutes.
pub fn limit_copies(wiring: &mut Wiring) {
    let modem = &mut wiring.modem;
    if modem.quirks.mux_urcs_everywhere || modem.quirks.mux_ring_clears_lines {
        modem.push_limit_bytes = modem.push_limit_bytes.max(100);
    }
}

/// With payload that looks like something else.
fn nasty(mut connection: Connection, chance: &mut Chance) -> Connection {
    let mut words = || {
        let words = (0..chance.within(1..=5)).flat_map(|_| match chance.once_in(2) {
            true => chance.pick(&NASTY).to_vec(),
            false => chance.pick(&NASTY_IN_FRAMES).to_vec(),
        });
        words.collect::<Vec<u8>>()
    };
    let (up, down) = (words(), words());
    let pause = millis(chance.below(2_000));
    connection.client.sends = Sends::Steps((0..3).map(|step| (pause * step, up.clone())).collect());
    if chance.once_in(2) {
        let ends = Ends::AfterSaying(down.len() as u64);
        connection.far_end = Behaviour { says: Says::Text(down), ends, ..connection.far_end };
    }
    connection
}

fn draw_fault(wiring: &Wiring, chance: &mut Chance) -> Fault {
    let connection = chance.below(wiring.connections.len() as u64) as usize;
    match chance.below(13) {
        0 => Fault::SpoilFrames(chance.within(1..=20) as u32),
        1 => Fault::FalsifyLength(chance.below(32_768) as u16),
        2 => Fault::FalsifyLength(chance.below(600) as u16),
        3 => Fault::LoseInFrame(chance.within(1..=100) as usize),
        4 => Fault::HoldChannel(chance.within(1..=4) as u8),
        12 => Fault::EndChannel(chance.within(1..=4) as u8, chance.once_in(2)),
        5 => Fault::Noise(0, chance.pick(&NOISE_BETWEEN_FRAMES).to_vec()),
        6 => Fault::Say(connection, chance.pick(&NASTY_IN_FRAMES).to_vec()),
        7 => Fault::HoldLine(0, millis(chance.below(14_000))),
        _ => super::draw_fault(wiring, chance),
    }
}
