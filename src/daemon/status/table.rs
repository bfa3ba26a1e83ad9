//! A status as a table for users.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::terminal::{printable, wrapped};
use qssl_core::counted;
use qssl_core::relay::Datagrams;

use super::{Connection, LineChannel, Multiplexer, NO_DAEMON, Status, Tunnel};

/// The status in lines of at most 80 columns, except for long words and rows of tunnels with much in them. With `before`,
/// an earlier status and its age, rates are shown.
pub fn table(status: &Status, before: Option<(&Status, Duration)>) -> String {
    let mut out = modem(status);
    if status.state == NO_DAEMON {
        return out;
    }
    if status.modems.len() > 1 {
        out.push('\n');
    }
    out.push_str(&counts(status));
    out.push('\n');
    out.push_str(&tunnels(status, before));
    if !status.connections.is_empty() {
        out.push('\n');
        out.push_str(&connections(status, before));
    }
    out
}

/// The daemon, and what is known of the modem. Without a daemon, nothing else is shown.
fn modem(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |head: &str, text: String| add_line(&mut out, head, &text);
    match status.state == NO_DAEMON {
        true => line("daemon", "none runs here; the modem was asked".into()),
        false => line(
            "daemon",
            format!(
                "qssl-tunnel {}, {}, running for {}",
                status.version,
                status.state,
                span(status.uptime_seconds.unwrap_or_default())
            ),
        ),
    }
    match &status.modems[..] {
        [] | [_] => out + &facts(status, ""),
        modems => modems
            .iter()
            .fold(out, |out, one| out + "\n" + &facts(one, &format!("{} ({}), ", one.name, one.state))),
    }
}

/// A modem, its network and its ports. `called`: its name and state, where there are several.
fn facts(status: &Status, called: &str) -> String {
    let mut out = String::new();
    let mut line = |head: &str, text: String| add_line(&mut out, head, &text);
    let modem = &status.modem;
    line("modem", format!("{called}{}", modem.module.as_deref().unwrap_or("not known yet")));
    if let Some(session) = &modem.session {
        let address = modem.address.as_ref().map_or(String::new(), |address| format!(", address {address}"));
        let age = span(modem.session_seconds.unwrap_or_default());
        line("session", format!("{session} for {age}{address}"));
    }
    line("network", network(status));
    for port in &status.ports {
        let mut text = format!("{} ({}", port.name, port.state);
        if let Some(baud) = port.baud {
            let _ = write!(text, ", {baud} baud");
        }
        if let Some([up, down]) = port.utilisation {
            let _ = write!(text, ", line {:.0} % busy up, {:.0} % down", up * 100.0, down * 100.0);
        }
        if let Some(lost @ 1..) = port.overruns {
            let _ = write!(text, ", {} lost by the host", counted(lost, "byte"));
        }
        line("port", text + ")");
        if let Some(multiplexer) = &port.multiplexer {
            line("frames", frames(multiplexer));
            for channel in &multiplexer.channels {
                line("channel", format!("{} ({})", channel.number, channel_in_words(channel)));
            }
        }
    }
    out
}

fn add_line(out: &mut String, head: &str, text: &str) {
    if !text.is_empty() {
        out.push_str(&wrapped(&printable(text), Some(COLUMNS), &format!("{head:<10} "), &" ".repeat(11)));
        out.push('\n');
    }
}

/// What has passed on a line with several channels.
fn frames(multiplexer: &Multiplexer) -> String {
    let Multiplexer { frame_bytes, frames_out, frames_in, bad_frames, garbage_bytes, held_seconds, .. } =
        multiplexer;
    let mut text =
        format!("{frames_out} out, {frames_in} in, of at most {frame_bytes} bytes; {bad_frames} bad");
    if *garbage_bytes > 0 {
        let _ = write!(text, ", {} outside of frames", size(*garbage_bytes));
    }
    if *held_seconds > 0.0 {
        let _ = write!(text, "; held for {}", span(*held_seconds));
    }
    text
}

fn channel_in_words(channel: &LineChannel) -> String {
    let mut text = channel.state.clone();
    for (whose, lines) in [("shows", &channel.lines_in), ("gets", &channel.lines_out)] {
        if !lines.is_empty() {
            let _ = write!(text, ", {whose} {}", lines.join(" "));
        }
    }
    for (by, seconds) in
        [("by the module", channel.held_by_module_seconds), ("by a client", channel.held_by_us_seconds)]
    {
        if seconds > 0.0 {
            let _ = write!(text, ", held for {} {by}", span(seconds));
        }
    }
    text
}

/// Sockets and counts since the start.
fn counts(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |head: &str, text: String| add_line(&mut out, head, &text);
    let states: Vec<String> = ["open", "warm", "opening", "closing", "free", "foreign", "unknown"]
        .iter()
        .filter_map(|state| Some((state, status.sockets.get(*state).filter(|count| **count > 0)?)))
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    line("sockets", states.join(", "));

    let counts = status.counts();
    let counters = &counts.modem;
    // The numbers may come from any daemon, so that adding them must not overflow.
    let failures = counters.open_failures.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let mut opens = format!("{} done, {failures} failed", counters.opens);
    if let Some([half, most, all]) = counters.open_seconds {
        let [half, most, all] = [half, most, all].map(|seconds| seconds * 1_000.0);
        let _ = write!(opens, "; p50 {half:.0} ms, p90 {most:.0} ms, max {all:.0} ms");
    }
    line("opens", opens);
    for (cause, count) in &counters.open_failures {
        line("", format!("{count} × {cause}"));
    }
    line(
        "recovery",
        format!(
            "{} SEND FAIL, {}, {}, {}",
            counters.send_fails,
            counted(counters.resyncs, "resync"),
            counted(counters.port_opens, "port opening"),
            counted(counters.reboots, "reboot")
        ),
    );
    line(
        "wire",
        format!(
            "{} out, {} in, for {} and {} of payload",
            size(counters.wire_bytes_out),
            size(counters.wire_bytes_in),
            size(counters.sent_bytes),
            size(counters.received_bytes)
        ),
    );
    line(
        "waiting",
        format!(
            "{}, {}",
            counted(counts.waiting_clients, "client"),
            counted(counts.waiting_commands, "command")
        ),
    );
    if let Some(budget) = counts.budget {
        let share = budget.used_bytes as f64 * 100.0 / budget.limit_bytes.max(1) as f64;
        line(
            "budget",
            format!("{} of {} a month ({share:.0} %)", size(budget.used_bytes), size(budget.limit_bytes)),
        );
    }

    out
}

fn network(status: &Status) -> String {
    let modem = &status.modem;
    let Some(ago) = modem.heard_seconds_ago else { return "not asked yet".into() };
    let mut facts: Vec<String> = modem.operator.iter().chain(&modem.registration).cloned().collect();
    facts.extend(modem.signal_dbm.map(|dbm| format!("{dbm} dBm")));
    if let Some(cell) = &modem.radio {
        let band = cell.band.map_or(String::new(), |band| format!(" band {band}"));
        facts.extend(cell.technology.as_ref().map(|technology| format!("{technology}{band}")));
        for (name, unit, value) in cell.measured() {
            facts.extend(value.map(|value| format!("{name} {value} {unit}")));
        }
        facts.extend(cell.identity.iter().chain(&cell.imei).cloned());
    }
    if facts.is_empty() {
        facts.push("unknown".into());
    }
    let oldest = modem.oldest_seconds_ago.filter(|oldest| *oldest >= ago + 1.0);
    let oldest = oldest.map_or(String::new(), |oldest| format!(" to {}", span(oldest)));
    format!("{} ({}{oldest} ago)", facts.join(", "), span(ago))
}

/// Two rows per tunnel: its traffic, and its addresses.
fn tunnels(status: &Status, before: Option<(&Status, Duration)>) -> String {
    let mut rows = vec![["TUNNEL", "CLIENTS", "UP", "DOWN", "TODAY", "MONTH"].map(str::to_owned)];
    for tunnel in &status.tunnels {
        let earlier = before.and_then(|(status, time)| {
            Some((status.tunnels.iter().find(|earlier| earlier.name == tunnel.name)?, time))
        });
        let moved = |now: u64, then: fn(&Tunnel) -> u64| match earlier {
            Some((earlier, time)) => format!("{} ({})", size(now), rate(now, then(earlier), time)),
            None => size(now),
        };
        let clients: Vec<String> = tunnel
            .clients
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        rows.push([
            tunnel.name.clone(),
            if clients.is_empty() { "-".into() } else { clients.join(", ") },
            moved(tunnel.counters.up_bytes, |tunnel| tunnel.counters.up_bytes),
            moved(tunnel.counters.down_bytes, |tunnel| tunnel.counters.down_bytes),
            size(tunnel.today_bytes),
            size(tunnel.month_bytes),
        ]);
    }
    let between = |tunnel: &Tunnel| {
        let warm = match (tunnel.warm, tunnel.counters.served_warm) {
            (0, 0) => String::new(),
            (now, served) => format!(", {now} warm ({} got one)", counted(served, "client")),
        };
        format!(
            "{} → {}, {}{warm}{}",
            tunnel.listen.join(" "),
            tunnel.target,
            tunnel.mode,
            tunnel.counters.datagrams.map_or_else(String::new, datagrams)
        )
    };
    let mut lines = columns(&rows, &[0]);
    for (index, tunnel) in status.tunnels.iter().enumerate().rev() {
        lines.insert(index + 2, wrapped(&printable(&between(tunnel)), Some(COLUMNS), "  ", "    "));
    }
    lines.join("\n") + "\n"
}

/// One row per connection.
fn connections(status: &Status, before: Option<(&Status, Duration)>) -> String {
    let mut rows = vec![["ID", "TUNNEL", "PEER", "STATE", "AGE", "UP", "DOWN", "RATE"].map(str::to_owned)];
    for connection in &status.connections {
        let earlier = before.and_then(|(status, time)| {
            Some((status.connections.iter().find(|earlier| earlier.id == connection.id)?, time))
        });
        let moved = |connection: &Connection| connection.up_bytes.saturating_add(connection.down_bytes);
        let rate = match earlier {
            Some((earlier, time)) => rate(moved(connection), moved(earlier), time),
            // Without an earlier status, the rate since the connection began.
            None => rate(
                moved(connection),
                0,
                Duration::try_from_secs_f64(connection.age_seconds).unwrap_or_default(),
            ),
        };
        rows.push([
            connection.id.to_string(),
            connection.tunnel.clone(),
            connection.peer.clone(),
            connection.state.clone(),
            span(connection.age_seconds),
            size(connection.up_bytes),
            size(connection.down_bytes),
            rate,
        ]);
    }
    // Most peers differ in their last digits, and tunnels in their first letters.
    let mut out = columns(&rows, &[2, 1]).join("\n") + "\n";
    for Connection { id, tunnel, server, up_bytes, delivered_bytes, .. } in &status.connections {
        // The others have that of their tunnel.
        let has_own = |of: &Tunnel| of.name == *tunnel && !of.allow_target.is_empty() && !server.is_empty();
        let server = status.tunnels.iter().any(has_own).then(|| format!("→ {server}"));
        let delivered = delivered_bytes.filter(|delivered| delivered < up_bytes);
        let delivered = delivered
            .map(|delivered| format!("at least {} of {} up delivered", size(delivered), size(*up_bytes)));
        let facts: Vec<String> = server.into_iter().chain(delivered).collect();
        if !facts.is_empty() {
            let text = facts.join(", ");
            out.push_str(&wrapped(&printable(&text), Some(COLUMNS), &format!("  {id}: "), "    "));
            out.push('\n');
        }
    }
    out
}

/// The datagrams that were carried, and those that were dropped, by cause.
fn datagrams(counts: Datagrams) -> String {
    let mut text = format!(", {} up, {} down", counted(counts.up, "datagram"), counts.down);
    let mut before = "; dropped:";
    for (cause, count) in
        BTreeMap::from(counts.dropped.by_cause()).into_iter().filter(|(_, count)| *count > 0)
    {
        // Writing to a String cannot fail.
        let _ = write!(text, "{before} {count} {cause}");
        before = ",";
    }
    text
}

/// Bytes per second.
fn rate(now: u64, then: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(0.001);
    format!("{}/s", size((now.saturating_sub(then) as f64 / seconds) as u64))
}

/// The usual width of a terminal and of a printed page.
const COLUMNS: usize = 80;

/// The narrowest that a column is made.
const COLUMN_MIN: usize = 9;

/// Aligns the columns, each as wide as its widest cell. Where a row is too long, these columns lose from the middle of
/// their cells, one after the other.
pub fn columns<const COUNT: usize>(rows: &[[String; COUNT]], shortened: &[usize]) -> Vec<String> {
    let shown = |row: &[String; COUNT]| row.each_ref().map(|cell| printable(cell).into_owned());
    let mut rows: Vec<[String; COUNT]> = rows.iter().map(shown).collect();
    let width = |rows: &[[String; COUNT]], column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    for column in shortened {
        let line = (0..COUNT).map(|column| width(&rows, column)).sum::<usize>() + 2 * (COUNT - 1);
        let limit = width(&rows, *column).saturating_sub(line.saturating_sub(COLUMNS)).max(COLUMN_MIN);
        rows.iter_mut().for_each(|row| row[*column] = without_middle(&row[*column], limit));
    }
    let widths: Vec<usize> = (0..COUNT).map(|column| width(&rows, column)).collect();
    let line = |row: &[String; COUNT]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The text in at most this many characters, with `…` in the place of its middle where it is longer.
pub fn without_middle(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text.to_owned();
    }
    let (before, after) = ((limit - 1) / 2, limit / 2);
    let head: String = text.chars().take(before).collect();
    let tail: String = text.chars().skip(count - after).collect();
    format!("{head}…{tail}")
}

/// Bytes for users: `999 B`, `1.5 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 9.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Seconds for users, in the two largest units.
pub fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use qssl_core::relay::Dropped;

    #[test]
    fn everything_that_matters_is_in_the_table() {
        let shown = table(&example(), None);
        for part in [
            "qssl-tunnel 1.2.3, up, running for 1 d 1 h",
            "modem      EG800Q EG800QEULCR07A07M04",
            "session    up for 1 h 0 min, address 10.7.157.1",
            "network    Example Net, roaming, -57 dBm, LTE band 3, RSRP -85 dBm, RSRQ -11 dB,",
            "           SINR -1.4 dB, temperature 34 °C (12 s to 4 min 12 s ago)",
            "port       /dev/ttyUSB2 (command, 115200 baud, line 51 % busy up, 2 % down, 3\n           bytes lost by \
             the host)\n",
            "sockets    2 open, 10 free",
            "opens      7 done, 2 failed; p50 2000 ms, p90 2500 ms, max 9100 ms",
            "2 × 566 (connect failed)",
            "recovery   1 SEND FAIL, 4 resyncs, 2 port openings, 0 reboots",
            "waiting    1 client, 0 commands",
            "budget     250 MB of 1.0 GB a month (25 %)",
        ] {
            assert!(shown.contains(part), "{part:?} is missing:\n{shown}");
        }
        let rows: Vec<&str> = shown.lines().rev().take(6).collect();
        assert_eq!(
            rows,
            [
                "12  web     127.0.0.1:50312  open   1 min 1 s  1.5 kB  61 kB  1.0 kB/s",
                "ID  TUNNEL  PEER             STATE  AGE        UP      DOWN   RATE",
                "",
                "  127.0.0.1:8443 → example.org:443, push, 3 warm (4 clients got one)",
                "web     2 open   1.5 MB  20 MB  21 MB  250 MB",
                "TUNNEL  CLIENTS  UP      DOWN   TODAY  MONTH",
            ]
        );
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }

    #[test]
    fn each_of_several_modems_has_its_lines() {
        let mut status = example();
        let one = |name: &str, state: &str| {
            let (modem, ports) = (status.modem.clone(), status.ports.clone());
            Status { name: name.into(), state: state.into(), modem, ports, ..Status::default() }
        };
        status.modems = vec![one("a", "up"), one("b", "given up")];
        let shown = table(&status, None);
        for modem in ["\nmodem      a (up), EG800Q ", "\nmodem      b (given up), EG800Q "] {
            assert!(shown.contains(modem), "{modem:?} is missing:\n{shown}");
        }
        assert_eq!(shown.matches("port       /dev/ttyUSB2").count(), 2, "{shown}");
        assert_eq!(shown.matches("sockets    2 open").count(), 1, "{shown}");
    }

    #[test]
    fn a_tunnel_with_many_listeners_fits_as_well() {
        let mut status = example();
        status.tunnels[0].listen.push("unix:/run/qssl-tunnel/web.sock,mode=0660,group=web".into());
        status.modem.session =
            Some("registration: searching for a network: check antenna, SIM and coverage".into());
        let shown = table(&status, None);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(
            shown.contains(
                "\n  127.0.0.1:8443 unix:/run/qssl-tunnel/web.sock,mode=0660,group=web →\n    example.org:443, push, 3 warm (4 clients got one)\n"
            ),
            "{shown}"
        );
    }

    #[test]
    fn lost_datagrams_are_shown_by_cause() {
        let mut status = example();
        let tunnel = &mut status.tunnels[0];
        tunnel.target = "dtls://example.org:5684".into();
        (tunnel.warm, tunnel.counters.served_warm) = (0, 0);
        let dropped = Dropped { long: 3, full: 2, ..Dropped::default() };
        tunnel.counters.datagrams = Some(Datagrams { up: 1, down: 0, dropped });
        let shown = table(&status, None);
        let line = "dtls://example.org:5684, push, 1 datagram up, 0 down;\n    dropped: 2 full, 3 long\n";
        assert!(shown.contains(line), "{shown}");
    }

    #[test]
    fn a_connection_with_a_long_peer_fits_as_well() {
        let mut status = example();
        let mut far = status.connections[0].clone();
        far.peer = "[2001:db8:1234:5678:9abc:def0:1234:5678]:54321".into();
        status.connections.push(far.clone());
        let shown = table(&status, None);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(shown.contains("  [2001:db8:12") && shown.contains("5678]:54321  "), "{shown}");
        assert!(shown.contains("  web     127.0.0.1:50312"), "what is short is whole: {shown}");
        far = Connection {
            id: 12_345,
            tunnel: "mqtt.example.com:8883".into(),
            state: "lingering".into(),
            age_seconds: 86_340.0,
            up_bytes: 999_000_000,
            delivered_bytes: Some(998_000_000),
            down_bytes: 999_000_000,
            ..far
        };
        status.connections.push(far);
        let shown = table(&status, None);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(shown.contains("\n  12345: at least 998 MB of 999 MB up delivered\n"), "{shown}");
    }

    #[test]
    fn the_server_that_a_client_has_named_is_shown() {
        let mut status = example();
        let tunnel = status.tunnels[0].clone();
        let dynamic = vec!["*:443".to_owned()];
        status.tunnels.push(Tunnel { name: "proxy".into(), allow_target: dynamic, ..tunnel });
        let named = status.connections[0].clone();
        status.connections.push(Connection {
            id: 13,
            tunnel: "proxy".into(),
            server: "tcp://registry.npmjs.example:443".into(),
            delivered_bytes: Some(700),
            ..named
        });
        let shown = table(&status, None);
        let rows: Vec<&str> = shown.lines().rev().take(3).collect();
        assert_eq!(
            rows[0], "  13: → tcp://registry.npmjs.example:443, at least 700 B of 1.5 kB up delivered",
            "{shown}"
        );
        assert!(rows[1].starts_with("13  proxy ") && rows[2].starts_with("12  web "), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }

    #[test]
    fn without_a_daemon_only_the_modem_is_shown() {
        let status = Status { state: NO_DAEMON.into(), ..example() };
        let status = Status { modem: super::super::Modem { session: None, ..status.modem }, ..status };
        let shown = table(&status, None);
        let heads: Vec<&str> = shown
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(heads, ["daemon", "modem", "network", "port"], "{shown}");
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let before = example();
        let mut after = example();
        after.tunnels[0].counters.up_bytes += 50_000;
        after.connections[0].down_bytes += 80_000;
        let shown = table(&after, Some((&before, Duration::from_secs(2))));
        assert!(shown.contains("1.6 MB (25 kB/s)  20 MB (0 B/s)"), "{shown}");
        assert!(shown.contains("40 kB/s"), "{shown}");
        // A daemon that was started again counts from zero.
        after.tunnels[0].counters.up_bytes = 10;
        let shown = table(&after, Some((&before, Duration::from_secs(2))));
        assert!(shown.contains("10 B (0 B/s)"), "{shown}");
    }

    #[test]
    fn a_daemon_that_knows_nothing_yet_has_a_table() {
        let shown = table(&Status::default(), None);
        assert!(shown.contains("not known yet") && shown.contains("not asked yet"), "{shown}");
    }

    #[test]
    fn sizes_and_spans_are_short() {
        let sizes = [0, 999, 1000, 9_949, 9_950, 999_499, 999_500, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "18446744 TB"]);
        let spans = [0.9, 59.0, 61.0, 3_600.0, 90_000.0].map(span);
        assert_eq!(spans, ["0 s", "59 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }
}
