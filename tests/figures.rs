//! Goal of this test: the figures in the documentation are right, in simulated time and in counts.

use std::time::Duration;

use qssl_core::settings::Mode;
use qssl_simulation::figures::{self, Before, Clients, Failing, Modem, Way};
use qssl_simulation::wiring::{Connection, Security};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];

/// Asserts the share of the throughput that the dialogue allows, of TLS and of plain TCP.
fn assert_utilisation(baud: u32, modem: Modem, at_least: f64) {
    for security in [Security::Tls, Security::Plain] {
        for (mode, way) in MODES.into_iter().flat_map(|mode| [(mode, Way::Up), (mode, Way::Down)]) {
            let utilisation = figures::utilisation(mode, security, way, baud, modem);
            let what = format!("{mode:?} {way} at {baud}, {security:?}, {modem:?}: {utilisation:.4}");
            println!("{what}");
            assert!(utilisation >= at_least, "{what}");
            assert!(utilisation <= 1.0005, "more than the wire can carry: {what}");
        }
    }
}

#[test]
fn the_line_is_used_to_99_percent_of_what_the_dialogue_allows() {
    assert_utilisation(115_200, Modem::Instant, 0.99);
    assert_utilisation(921_600, Modem::Instant, 0.99);
}

#[test]
fn latencies_as_in_the_field_leave_98_percent_of_what_they_allow() {
    assert_utilisation(115_200, Modem::AsInTheField, 0.98);
    assert_utilisation(921_600, Modem::AsInTheField, 0.98);
}

#[test]
fn a_datagram_waits_for_nothing_but_its_dialogue_and_the_network() {
    for mode in [Mode::Push, Mode::Buffer] {
        for security in [Security::Plain, Security::Tls] {
            let added = figures::added_to_a_datagram(mode, security);
            println!("{mode:?}, {security:?}: {added:?}");
            assert!(added <= Duration::from_micros(10), "{mode:?}, {security:?}: {added:?}");
        }
    }
}

#[test]
fn twelve_bulk_transfers_get_the_same() {
    for (mode, way) in [(Mode::Push, Way::Up), (Mode::Buffer, Way::Up), (Mode::Buffer, Way::Down)] {
        let index = figures::jains_index(mode, way);
        println!("{mode:?} {way}: {index:.5}");
        assert!(index >= 0.99, "{mode:?} {way}: {index:.5}");
    }
}

#[test]
fn transfers_of_every_kind_get_the_same() {
    for (mode, way) in [(Mode::Push, Way::Up), (Mode::Buffer, Way::Up), (Mode::Buffer, Way::Down)] {
        let index = figures::jains_index_of_kinds(mode, way);
        println!("{mode:?} {way}, TLS, TCP, DTLS and UDP: {index:.5}");
        assert!(index >= 0.99, "{mode:?} {way}: {index:.5}");
    }
}

#[test]
fn a_sparse_client_waits_for_two_chunks_at_most_and_costs_the_others_nothing() {
    for (mode, way) in [(Mode::Push, Way::Up), (Mode::Buffer, Way::Up), (Mode::Buffer, Way::Down)] {
        let sparse = figures::sparse_among_bulk(mode, way);
        println!("{mode:?} {way}: {sparse:?}");
        assert!(sparse.wait_in_chunks <= 2.0, "{mode:?} {way}: {sparse:?}");
        assert!(sparse.bulk >= 0.99, "{mode:?} {way}: {sparse:?}");
    }
}

#[test]
fn a_sparse_client_waits_no_longer_beside_other_kinds() {
    for (mode, way) in [(Mode::Push, Way::Up), (Mode::Buffer, Way::Up), (Mode::Buffer, Way::Down)] {
        let sparse = figures::sparse_among_kinds(mode, way);
        println!("{mode:?} {way}, beside TLS, TCP, DTLS and UDP: {sparse:?}");
        assert!(sparse.wait_in_chunks <= 2.0, "{mode:?} {way}: {sparse:?}");
        assert!(sparse.bulk >= 0.99, "{mode:?} {way}: {sparse:?}");
    }
}

#[test]
fn a_second_port_lets_both_ways_go_at_nearly_full_speed() {
    for mode in [Mode::Push, Mode::Buffer] {
        let (up, down) = figures::both_ways(mode, 115_200, 2);
        // 11,520 byte/s less the dialogue of each way (PROTOCOL section 8).
        let most = if mode == Mode::Push { (11_257.0, 11_310.0) } else { (11_257.0, 11_168.0) };
        println!("{mode:?}: {up:.0} byte/s up, {down:.0} down");
        assert!(up >= 0.97 * most.0 && down >= 0.97 * most.1, "{mode:?}: {up:.0} up, {down:.0} down");
    }
}

#[test]
fn the_start_up_dialogue_takes_few_round_trips() {
    use qssl_modem_emulator::Family;
    let plain = || figures::wiring(115_200, Modem::Instant);
    let ec20 = || plain().modem(|modem| modem.family = Family::Ec20);
    let active = || plain().typed_before(b"AT+QIACT=1\r");
    for (name, wiring, most) in [
        // AT, wire format, ATI, ranges, URC port, data format and the earlier values of both, whether another program
        // uses MQTT, a glance, AT+QIACT=, AT+QIACT?, TLS settings in two lines, and read back in one
        ("EG800Q", plain(), 15),
        // It lacks one of the keys of the data format, so these are sent one by one.
        ("EC20", ec20(), 22),
        ("EG800Q, data session up", active(), 13),
    ] {
        let start = figures::start_up(wiring.connect(Connection::new(Mode::Push)));
        println!("{name}: {start:?}");
        assert!(start.round_trips <= most, "{name}: {start:?}");
    }
}

/// A frame takes its payload, an address, a control octet, a length of one or two octets, a check sum and a flag, for the
/// next frame shares the other flag or not.
#[test]
fn channels_of_a_uart_leave_a_stream_what_their_frames_leave() {
    for (frame_bytes, left) in [(127, 0.9549), (512, 0.9865), (1_509, 0.9953)] {
        for way in [Way::Up, Way::Down] {
            let share = figures::one_way_multiplexed(way, frame_bytes);
            assert!(share >= 0.999 * left, "{way}, N1 {frame_bytes}: {share:.4}");
        }
    }
}

#[test]
fn channels_of_a_uart_carry_both_ways_at_once() {
    let streams = Clients { up: 2, down: 1 };
    let (up, down) = figures::multiplexed(Mode::Transparent, streams, 512, Modem::Instant);
    assert!(up >= 0.98 && down >= 0.98, "transparent: {up:.3} up, {down:.3} down");
    for (senders, frame_bytes, modem, up_min, down_min) in [
        (2, 127, Modem::Instant, 0.93, 0.92),
        (2, 512, Modem::Instant, 0.93, 0.95),
        (3, 512, Modem::Instant, 0.96, 0.95),
        (2, 1_509, Modem::Instant, 0.63, 0.96),
        (3, 1_509, Modem::Instant, 0.82, 0.96),
        (2, 512, Modem::Slow, 0.92, 0.95),
        (3, 512, Modem::Slow, 0.97, 0.95),
    ] {
        let clients = Clients { up: senders, down: 1 };
        let (up, down) = figures::multiplexed(Mode::Push, clients, frame_bytes, modem);
        let what =
            format!("push, {senders} senders, N1 {frame_bytes}, {modem:?}: {up:.3} up, {down:.3} down");
        println!("{what}");
        assert!(up >= up_min && down >= down_min, "{what}");
    }
}

/// Without channels, the module's own time for a prompt and a result leaves 0.82 of the line.
#[test]
fn sends_on_two_channels_fill_the_time_that_the_module_needs() {
    let (up, _) = figures::multiplexed(Mode::Push, Clients { up: 2, down: 0 }, 512, Modem::AsInTheField);
    println!("push up, two senders, a module with its own times: {up:.3}");
    assert!(up >= 0.94, "{up:.3}");
}

/// It waits for a frame of ours, and its answer for one of the module's; both together take some 7 ms themselves.
#[test]
fn a_command_on_another_channel_waits_for_a_frame() {
    for (frame_bytes, most_ms) in [(127, 42), (512, 105), (1_509, 175)] {
        let took = figures::command_beside_streams(frame_bytes).as_millis();
        println!("a command beside streams both ways, N1 {frame_bytes}: {took} ms");
        assert!(took <= most_ms, "N1 {frame_bytes}: {took} ms");
    }
}

/// Opening reads the TLS settings back, which takes most of the time. Where the client leaves, the module's OK must stand
/// for 100 ms, since it could be payload.
#[test]
fn streams_on_channels_of_a_uart_open_and_end_soon() {
    let times = figures::stream_times();
    println!("a verified stream on a channel: {times:?}");
    let [open, by_server, by_client] = [times.open, times.end_by_server, times.end_by_client];
    assert!(open <= Duration::from_millis(80), "{open:?}");
    assert!(by_server <= Duration::from_millis(440), "{by_server:?}");
    assert!(by_client <= Duration::from_millis(110), "{by_client:?}");
}

#[test]
fn streams_on_channels_of_a_uart_share_it_equally() {
    for way in [Way::Up, Way::Down] {
        let index = figures::jains_index_of_streams(way);
        assert!(index >= 0.99, "{way}: {index:.4}");
    }
}

#[test]
fn the_next_client_is_served_soon_after_a_modem_has_failed() {
    let before = [Before::Idle, Before::Opened, Before::Busy(Way::Up), Before::Busy(Way::Down)];
    for (failing, most) in [(Failing::Silent, 5_000), (Failing::Gone, 1_000)] {
        for before in before {
            let later = [0, 50, 700, 1_500, 2_500, 4_500, 7_000].map(Duration::from_millis);
            let times = later.map(|later| figures::served_by_the_other(failing, before, later));
            let worst = times.into_iter().max().expect("some").as_millis();
            println!("{failing:?} after {before:?}: served after {worst} ms at most");
            assert!(worst <= most, "{failing:?} after {before:?}: {times:?}");
        }
    }
}

#[test]
fn a_failing_modem_delays_no_bytes_of_another() {
    let [alone, beside] = figures::round_trips_beside_a_failing_modem();
    println!("99 of 100 round trips: {alone:?} at most, beside a failing modem {beside:?}");
    assert!(beside <= alone.mul_f64(1.05), "{alone:?}, {beside:?}");
}

#[test]
fn two_modems_carry_twice_as_much() {
    let share = figures::carried_by_two();
    println!("two modems carry {share:.4} times as much as one");
    assert!(share >= 1.98, "{share:.4}");
}
