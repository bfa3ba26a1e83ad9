//! What the screen of `status --watch` shows: statuses become rates, and both become lines. Nothing here knows a terminal or
//! reads a clock.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::line::{Column, Ink, Line, Look, bar, head, sparkline, widths};
use crate::daemon::status::{Connection, Modem, Port, Status, Tunnel, size, span, without_middle};
use crate::terminal::wrapped;
use qssl_core::counted;

/// The last status, and what was measured between statuses.
#[derive(Debug)]
pub struct View {
    status: Status,
    /// When it came.
    at: Instant,
    /// Why there was no further one.
    trouble: Option<String>,
    /// Of each tunnel of the status: bytes per second up and down between two statuses, the newest last.
    tunnels: Vec<Vec<[f64; 2]>>,
    /// Of each connection of the status: bytes per second, both ways.
    connections: Vec<f64>,
    order: Order,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As in the configuration; the oldest connection.
    Age,
    Name,
    /// The fastest.
    Rate,
    /// What has carried most.
    Total,
}

/// A section of the screen, without its heading.
struct Section<'a> {
    /// How many it would have.
    rows: usize,
    draw: Draw<'a>,
}

/// Adds a heading and so many rows.
type Draw<'a> = Box<dyn Fn(&mut Vec<String>, usize) + 'a>;

impl View {
    /// Nothing has been measured yet.
    pub fn new(status: Status, now: Instant) -> View {
        let mut view = View {
            status: Status::default(),
            at: now,
            trouble: None,
            tunnels: Vec::new(),
            connections: Vec::new(),
            order: Order::Age,
        };
        view.learn(status, now);
        view
    }

    /// Takes the next status, and measures.
    pub fn learn(&mut self, status: Status, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        // A daemon that was started again counts from zero.
        let is_measured = seconds > 0.0 && status.uptime_seconds >= self.status.uptime_seconds;
        let rate =
            |now: u64, then: u64| if is_measured { now.saturating_sub(then) as f64 / seconds } else { 0.0 };
        let mut tunnels = Vec::with_capacity(status.tunnels.len());
        for tunnel in &status.tunnels {
            let mut rates = Vec::new();
            if let Some(index) = self.status.tunnels.iter().position(|before| before.name == tunnel.name) {
                rates = std::mem::take(&mut self.tunnels[index]);
                let (now, then) = (&tunnel.counters, &self.status.tunnels[index].counters);
                rates.push([rate(now.up_bytes, then.up_bytes), rate(now.down_bytes, then.down_bytes)]);
            }
            if rates.len() > RATES_MAX {
                rates.remove(0);
            }
            tunnels.push(rates);
        }
        let mut connections = Vec::with_capacity(status.connections.len());
        for connection in &status.connections {
            let before = self.status.connections.iter().find(|before| before.id == connection.id);
            connections.push(rate(moved(connection), before.map_or(0, moved)));
        }
        self.connections = connections;
        self.tunnels = tunnels;
        (self.status, self.at, self.trouble) = (status, now, None);
    }

    /// There was no status, and why.
    pub fn learn_trouble(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// A key was pressed. Returns whether it ends the screen.
    pub fn key(&mut self, key: u8) -> bool {
        let all = KEYS.map(|(_, _, order)| order);
        match KEYS.iter().find(|(of, _, _)| *of == char::from(key)) {
            Some((_, _, order)) => self.order = *order,
            None if key == b's' => {
                let next = all.iter().position(|order| *order == self.order).map_or(0, |index| index + 1);
                self.order = all[next % all.len()];
            }
            None => {}
        }
        key == b'q'
    }

    /// The screen: at most as many lines as it has, each of all its columns.
    pub fn lines(&self, look: &Look, now: Instant) -> Vec<String> {
        let mut lines = vec![self.title(look, now)];
        match &self.status.modems[..] {
            [] | [_] => modem(look, "", &self.status.modem, &self.status.ports, &mut lines),
            modems => modems.iter().for_each(|one| {
                let called = format!("{} ({})  ", one.name, one.state);
                modem(look, &called, &one.modem, &one.ports, &mut lines);
            }),
        }
        self.sockets(look, &mut lines);
        lines.truncate((look.rows / 3).max(1));
        let mut room = look.rows.saturating_sub(lines.len() + 1);
        let sections = [self.tunnels(look), self.connections(look), self.events(look)];
        let gap = usize::from(room >= ROOM_FOR_GAPS);
        // The keys have one as well.
        room -= gap;
        // Each needs a heading and a row or two.
        let needs = |section: &Section<'_>| gap + 1 + section.rows.min(2);
        let mut count = sections.len();
        while count > 0 && sections[..count].iter().map(needs).sum::<usize>() > room {
            count -= 1;
        }
        let shown = &sections[..count];
        let mut left = room - count * (1 + gap);
        let mut rows = vec![0; shown.len()];
        while left > 0 && rows.iter().zip(shown).any(|(rows, section)| *rows < section.rows) {
            for (rows, section) in rows.iter_mut().zip(shown) {
                if *rows < section.rows && left > 0 {
                    *rows += 1;
                    left -= 1;
                }
            }
        }
        for (rows, section) in rows.into_iter().zip(shown) {
            let end = lines.len() + gap + 1 + rows;
            lines.extend((0..gap).map(|_| Line::new(look).done()));
            (section.draw)(&mut lines, rows);
            lines.resize(end, Line::new(look).done());
        }
        lines.resize(look.rows.saturating_sub(1), Line::new(look).done());
        lines.push(self.keys(look));
        lines.truncate(look.rows);
        lines
    }

    fn title(&self, look: &Look, now: Instant) -> String {
        let silence = now.saturating_duration_since(self.at);
        let mut line = Line::new(look);
        line.put(Ink::Strong, &format!("qssl-tunnel {}", self.status.version));
        line.put(Ink::Plain, "  ");
        let dot = if look.unicode { "● " } else { "* " };
        if self.trouble.is_some() || silence >= SILENCE_MAX {
            let why = self.trouble.as_ref().map_or(String::new(), |why| format!(": {why}"));
            line.put(Ink::Bad, &format!("{dot}no answer for {}{why}", span(silence.as_secs_f64())));
            return line.done();
        }
        let ink = if self.status.state == "up" { Ink::Good } else { Ink::Fair };
        line.put(ink, &format!("{dot}{}", self.status.state));
        line.put(
            Ink::Plain,
            &format!(", running for {}", span(self.status.uptime_seconds.unwrap_or_default())),
        );
        if let Some(budget) = self.status.counters.as_ref().and_then(|counts| counts.budget) {
            let share = budget.used_bytes as f64 * 100.0 / budget.limit_bytes.max(1) as f64;
            line.put_right(Ink::Plain, &format!("{share:.0} % of {} a month", size(budget.limit_bytes)));
        }
        line.done()
    }

    /// What the connections of the modem are used for, and what has become of those that were opened.
    fn sockets(&self, look: &Look, lines: &mut Vec<String>) {
        let mut line = head(look, "sockets");
        let count = |state: &str| self.status.sockets.get(state).copied().unwrap_or(0);
        for (states, ink, sign) in [
            (&["open", "warm"][..], Ink::Good, ["#", "■"]),
            (&["opening", "closing"], Ink::Fair, ["#", "■"]),
            (&["foreign", "unknown"], Ink::Bad, ["x", "×"]),
            (&["free"], Ink::Dim, [".", "□"]),
        ] {
            let all = states.iter().map(|state| count(state)).fold(0, usize::saturating_add);
            line.put(ink, &sign[usize::from(look.unicode)].repeat(all.min(SOCKETS_SHOWN)));
        }
        let states = ["open", "warm", "opening", "closing", "foreign", "unknown", "free"];
        let states = states.iter().filter(|state| count(state) > 0);
        let states: Vec<String> = states.map(|state| format!("{} {state}", count(state))).collect();
        line.put(Ink::Plain, &format!(" {}", states.join(", ")));
        let Some(counts) = &self.status.counters else { return lines.push(line.done()) };
        if counts.waiting_clients > 0 {
            line.put(Ink::Fair, &format!("; {} waiting", counted(counts.waiting_clients, "client")));
        }
        let failures =
            counts.modem.open_failures.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
        line.put(Ink::Dim, &format!("; {}", counted(counts.modem.opens, "open")));
        let ink = if failures > 0 { Ink::Fair } else { Ink::Dim };
        line.put(ink, &format!(", {failures} failed"));
        if let Some([half, _, _]) = counts.modem.open_seconds {
            line.put(Ink::Dim, &format!(", p50 {half:.1} s"));
        }
        lines.push(line.done());
    }

    fn tunnels<'a>(&'a self, look: &'a Look) -> Section<'a> {
        let rates = |index: usize| self.tunnels[index].last().copied().unwrap_or_default();
        let total = |tunnel: &Tunnel| tunnel.counters.up_bytes.saturating_add(tunnel.counters.down_bytes);
        let order = self.order(self.status.tunnels.len(), &|index| {
            let tunnel = &self.status.tunnels[index];
            (&tunnel.name, rates(index).iter().sum::<f64>() as u64, total(tunnel))
        });
        let cell = move |row: usize, column: usize, columns: usize| {
            let index = order[row];
            let tunnel = &self.status.tunnels[index];
            let history = |way: usize| sparkline(&self.tunnels[index], way, columns, look.unicode);
            match column {
                0 => (Ink::Strong, tunnel.name.clone()),
                1 => {
                    let open = tunnel.clients.get("open").copied().unwrap_or(0);
                    let all = tunnel.clients.values().fold(0, |sum: usize, count| sum.saturating_add(*count));
                    match all.saturating_sub(open) {
                        0 => (Ink::Plain, open.to_string()),
                        others => (Ink::Fair, format!("{open} +{others}")),
                    }
                }
                2 => rate_cell(Ink::Up, rates(index)[0]),
                3 => (Ink::Up, history(0)),
                4 => rate_cell(Ink::Down, rates(index)[1]),
                5 => (Ink::Down, history(1)),
                6 => (Ink::Plain, size(tunnel.today_bytes)),
                7 => (Ink::Plain, size(tunnel.month_bytes)),
                _ => (Ink::Dim, format!("{} → {}, {}", tunnel.listen.join(" "), tunnel.target, tunnel.mode)),
            }
        };
        let count = self.status.tunnels.len();
        let draw =
            move |lines: &mut Vec<String>, rows: usize| rows_of(look, &TUNNEL, count, rows, &cell, lines);
        Section { rows: count.max(1), draw: Box::new(draw) }
    }

    fn connections<'a>(&'a self, look: &'a Look) -> Section<'a> {
        let order = self.order(self.status.connections.len(), &|index| {
            let connection = &self.status.connections[index];
            (&connection.tunnel, self.connections[index] as u64, moved(connection))
        });
        let cell = move |row: usize, column: usize, columns: usize| {
            let index = order[row];
            let connection = &self.status.connections[index];
            match column {
                0 => (Ink::Dim, connection.id.to_string()),
                1 => (Ink::Strong, connection.tunnel.clone()),
                // Most differ in their last digits.
                2 => (Ink::Plain, without_middle(&connection.peer, columns)),
                3 => (Ink::Dim, connection.server.clone()),
                4 if connection.state == "open" => (Ink::Good, connection.state.clone()),
                4 => (Ink::Fair, connection.state.clone()),
                5 => (Ink::Plain, short_span(connection.age_seconds)),
                6 => (Ink::Plain, size(connection.up_bytes)),
                7 => (Ink::Plain, size(connection.down_bytes)),
                _ => rate_cell(Ink::Strong, self.connections[index]),
            }
        };
        let count = self.status.connections.len();
        let draw =
            move |lines: &mut Vec<String>, rows: usize| rows_of(look, &CONNECTION, count, rows, &cell, lines);
        Section { rows: count.max(1), draw: Box::new(draw) }
    }

    /// The order of so many rows, of which `facts` has name, rate and total; what is equal stays as it is. This takes less room
    /// in the program than the sorts of the standard library.
    fn order<'a>(&self, rows: usize, facts: &dyn Fn(usize) -> (&'a String, u64, u64)) -> Vec<usize> {
        let key = |index: usize| match (self.order, facts(index)) {
            (Order::Age, _) => (Reverse(0), ""),
            (Order::Name, (name, _, _)) => (Reverse(0), name.as_str()),
            (Order::Rate, (_, rate, _)) => (Reverse(rate), ""),
            (Order::Total, (_, _, total)) => (Reverse(total), ""),
        };
        let mut order: Vec<usize> = Vec::with_capacity(rows);
        for index in 0..rows {
            let own = key(index);
            order.insert(order.partition_point(|other| key(*other) <= own), index);
        }
        order
    }

    /// The last events, the newest first.
    fn events<'a>(&'a self, look: &'a Look) -> Section<'a> {
        let events = &self.status.events;
        let draw = move |lines: &mut Vec<String>, rows: usize| {
            let mut line = Line::new(look);
            line.put(Ink::Head, &format!("{:<1$}", "LAST EVENTS (UTC)", look.columns));
            lines.push(line.done());
            let end = lines.len() + rows;
            for event in events.iter().rev() {
                // Date and time, level, and text.
                let (time, event) = event.split_once(' ').unwrap_or_default();
                let (level, text) = event.split_once(' ').unwrap_or_default();
                let ink = match level {
                    "error" => Ink::Bad,
                    "warn" => Ink::Fair,
                    _ => Ink::Plain,
                };
                let columns = look.columns.saturating_sub(EVENT_INDENT).max(1);
                let text = wrapped(text.trim_start(), Some(columns), "", "  ");
                let mut time = time.get(11..19).unwrap_or_default();
                for part in text.lines().take(end.saturating_sub(lines.len())) {
                    let mut line = Line::new(look);
                    line.cell(Ink::Dim, time, EVENT_INDENT, false);
                    line.put(ink, part);
                    lines.push(line.done());
                    time = "";
                }
            }
        };
        Section { rows: EVENT_ROWS_MAX, draw: Box::new(draw) }
    }

    fn keys(&self, look: &Look) -> String {
        let mut line = Line::new(look);
        line.put(Ink::Key, " q ");
        line.put(Ink::Plain, " quit  ");
        line.put(Ink::Key, " s ");
        line.put(Ink::Plain, " sort: ");
        for (key, words, order) in KEYS {
            line.put(Ink::Key, &format!(" {key} "));
            line.put(if order == self.order { Ink::Strong } else { Ink::Dim }, &format!(" {words}  "));
        }
        line.done()
    }
}

/// A modem, its network and its ports: one call for each modem.
/// `called`: its name and state, where there are several.
fn modem(look: &Look, called: &str, modem: &Modem, ports: &[Port], lines: &mut Vec<String>) {
    let mut line = head(look, "modem");
    line.put(Ink::Strong, called);
    line.put(Ink::Plain, modem.module.as_deref().unwrap_or("not known yet"));
    lines.push(line.done());
    let mut line = head(look, "network");
    if let Some(dbm) = modem.signal_dbm {
        signal(&mut line, look, dbm);
    }
    let facts = modem.operator.iter().chain(&modem.registration).chain(&modem.address);
    let facts = facts.map(String::as_str).collect::<Vec<_>>().join(", ");
    line.put(
        Ink::Plain,
        if modem.heard_seconds_ago.is_none() && facts.is_empty() { "not asked yet" } else { &facts },
    );
    lines.push(line.done());
    if let Some(session) = modem.session.as_deref().filter(|session| *session != "up") {
        let mut line = head(look, "session");
        line.put(Ink::Fair, &format!("{session} for {}", span(modem.session_seconds.unwrap_or_default())));
        lines.push(line.done());
    }
    for port in ports {
        let mut line = head(look, "port");
        line.put(Ink::Plain, &port.name);
        // As a port usually is needs no word.
        if !matches!(port.state.as_str(), "command" | "data") {
            line.put(Ink::Fair, &format!("  {}", port.state));
        }
        if let Some(baud) = port.baud {
            line.put(Ink::Dim, &format!("  {baud} baud"));
        }
        for (way, ink, share) in port
            .utilisation
            .into_iter()
            .flat_map(|[up, down]| [("up", Ink::Up, up), ("down", Ink::Down, down)])
        {
            line.put(Ink::Dim, &format!("  {way} "));
            bar(&mut line, look, ink, share);
            line.put(Ink::Plain, &format!(" {:.0} %", share * 100.0));
        }
        lines.push(line.done());
    }
}

/// A heading and rows, and how many more there would be in the last of them.
fn rows_of(
    look: &Look,
    columns: &[Column],
    count: usize,
    rows: usize,
    cell: &dyn Fn(usize, usize, usize) -> (Ink, String),
    lines: &mut Vec<String>,
) {
    let widths = widths(columns, look.columns);
    let mut row = |ink: Option<Ink>, cell: &dyn Fn(usize, usize) -> (Ink, String)| {
        let mut line = Line::new(look);
        for (number, (index, width)) in widths.iter().enumerate() {
            if number > 0 {
                line.put(ink.unwrap_or(Ink::Plain), "  ");
            }
            let (own, text) = cell(*index, *width);
            line.cell(ink.unwrap_or(own), &text, *width, columns[*index].is_number);
        }
        line.put(ink.unwrap_or(Ink::Plain), &" ".repeat(look.columns));
        lines.push(line.done());
    };
    row(Some(Ink::Head), &|index, _| (Ink::Head, columns[index].head.to_owned()));
    let whole = if count > rows { rows.saturating_sub(1) } else { count };
    for index in 0..whole {
        row(None, &|column, width| cell(index, column, width));
    }
    if whole < rows && whole < count.max(1) {
        let text = match count {
            0 => "none".to_owned(),
            _ => format!("{} more", count - whole),
        };
        let mut line = Line::new(look);
        line.put(Ink::Dim, &text);
        lines.push(line.done());
    }
}

/// Bars as of a telephone, and the figure.
fn signal(line: &mut Line<'_>, look: &Look, dbm: i16) {
    let lit = SIGNAL_STEPS_DBM.iter().filter(|step| dbm >= **step).count();
    let ink = match lit {
        0 | 1 => Ink::Bad,
        2 => Ink::Fair,
        _ => Ink::Good,
    };
    let bars = if look.unicode { ["▂", "▄", "▆", "█"] } else { ["#"; 4] };
    let (on, off) = bars.split_at(lit.min(bars.len()));
    line.put(ink, &on.concat());
    line.put(Ink::Dim, &(if look.unicode { "·" } else { "." }).repeat(off.len()));
    line.put(ink, &format!(" {dbm} dBm"));
    line.put(Ink::Plain, "  ");
}

fn moved(connection: &Connection) -> u64 {
    connection.up_bytes.saturating_add(connection.down_bytes)
}

fn rate_cell(ink: Ink, rate: f64) -> (Ink, String) {
    let ink = if rate < 1.0 { Ink::Dim } else { ink };
    (ink, format!("{}/s", size(rate as u64)))
}

/// Seconds in the largest unit.
fn short_span(seconds: f64) -> String {
    let text = span(seconds);
    let mut words = text.split(' ');
    format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

/// The keys that choose what comes first.
const KEYS: [(char, &str, Order); 4] = [
    ('a', "age", Order::Age),
    ('n', "name", Order::Name),
    ('r', "rate", Order::Rate),
    ('t', "total", Order::Total),
];

const TUNNEL: [Column; 9] = [
    Column { head: "TUNNEL", from: 0, least: 8, most: 24, is_number: false },
    Column { head: "CLIENTS", from: 50, least: 7, most: 7, is_number: false },
    Column { head: "UP", from: 0, least: 8, most: 8, is_number: true },
    Column { head: "", from: 72, least: 8, most: RATES_MAX, is_number: false },
    Column { head: "DOWN", from: 0, least: 8, most: 8, is_number: true },
    Column { head: "", from: 72, least: 8, most: RATES_MAX, is_number: false },
    Column { head: "TODAY", from: 50, least: 6, most: 6, is_number: true },
    Column { head: "MONTH", from: 100, least: 6, most: 6, is_number: true },
    Column { head: "FROM AND TO", from: 140, least: 36, most: 60, is_number: false },
];

const CONNECTION: [Column; 9] = [
    Column { head: "ID", from: 0, least: 4, most: 4, is_number: true },
    Column { head: "TUNNEL", from: 60, least: 8, most: 24, is_number: false },
    Column { head: "PEER", from: 0, least: 15, most: 47, is_number: false },
    Column { head: "SERVER", from: 120, least: 24, most: 60, is_number: false },
    Column { head: "STATE", from: 50, least: 7, most: 9, is_number: false },
    Column { head: "AGE", from: 72, least: 6, most: 6, is_number: true },
    Column { head: "UP", from: 80, least: 6, most: 6, is_number: true },
    Column { head: "DOWN", from: 80, least: 6, most: 6, is_number: true },
    Column { head: "RATE", from: 0, least: 8, most: 8, is_number: true },
];

/// What each further bar means.
const SIGNAL_STEPS_DBM: [i16; 4] = [-107, -97, -87, -77];

/// More than any module has.
const SOCKETS_SHOWN: usize = 16;

/// A status comes each second, or after the modem was asked about its network.
const SILENCE_MAX: Duration = Duration::from_secs(7);

/// Two minutes.
const RATES_MAX: usize = 120;

/// From so many lines on there are empty ones between the sections.
const ROOM_FOR_GAPS: usize = 14;

/// The time of an event, and the space after it.
const EVENT_INDENT: usize = 10;

/// What events may take, as far as there is room.
const EVENT_ROWS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::status::tests::example;
    use crate::terminal::columns_of;

    const LARGE: Look = Look { columns: 120, rows: 40, unicode: true, colour: false };
    const USUAL: Look = Look { columns: 80, rows: 24, unicode: true, colour: false };
    const SMALL: Look = Look { columns: 40, rows: 10, unicode: true, colour: false };

    #[allow(clippy::disallowed_methods, reason = "a moment to count from; no test depends on which")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A busy daemon after this many seconds.
    fn busy(second: u64) -> Status {
        let mut status = example();
        status.uptime_seconds = Some(90_000.0 + second as f64);
        let web = status.tunnels[0].clone();
        let waiting = [("open".to_owned(), 1), ("waiting".to_owned(), 2)].into();
        status.tunnels.push(Tunnel { name: "mqtt".into(), clients: waiting, ..web });
        // Up 1 kB/s, 2 kB/s and so on, down always 40 kB/s; nothing at the other.
        status.tunnels[0].counters.up_bytes += second * (second + 1) / 2 * 1_000;
        status.tunnels[0].counters.down_bytes += second * 40_000;
        let first = status.connections[0].clone();
        status.connections[0].down_bytes += second * 40_000;
        status.connections.push(Connection {
            id: 1_234,
            tunnel: "mqtt".into(),
            peer: "[2001:db8:1234:5678:9abc:def0:1234:5678]:54321".into(),
            state: "opening".into(),
            age_seconds: 7_300.0,
            up_bytes: 5_000_000,
            ..first
        });
        status.events = [
            "2026-11-29T23:59:02.000Z info  data session up, address 10.7.157.1",
            "2026-11-29T23:59:51.000Z warn  recovery: the port is opened again",
            "2026-11-30T00:00:00.000Z info  127.0.0.1:50312 to example.org:443: 1500 bytes up, 61000 down, 61.0 s: \
             the server closed the connection",
        ]
        .map(str::to_owned)
        .into();
        status
    }

    /// The view of it after ten seconds, a moment before the next status.
    fn watched() -> (View, Instant) {
        let start = start();
        let mut view = View::new(busy(0), start);
        for second in 1..=10 {
            view.learn(busy(second), start + Duration::from_secs(second));
        }
        (view, start + Duration::from_secs(10))
    }

    /// The lines without attributes and spaces at their ends.
    fn text(view: &View, look: &Look, now: Instant) -> Vec<String> {
        let lines = view.lines(look, now);
        assert_eq!(lines.len(), look.rows);
        let plain = lines.iter().map(|line| {
            let mut plain = String::new();
            for (index, part) in line.split('\x1b').enumerate() {
                plain += if index == 0 { part } else { part.split_once('m').expect("attributes alone").1 };
            }
            assert_eq!(columns_of(&plain), look.columns, "{plain:?}");
            plain.trim_end().to_owned()
        });
        plain.collect()
    }

    #[test]
    fn each_of_several_modems_has_its_own_signal_and_ports() {
        let now = start();
        let mut status = busy(0);
        let one = |name: &str, state: &str| Status { name: name.into(), state: state.into(), ..example() };
        status.modems = vec![one("a", "up"), one("b", "given up")];
        let shown = text(&View::new(status, now), &LARGE, now).join("\n");
        assert!(shown.contains("a (up)  EG800Q") && shown.contains("b (given up)  EG800Q"), "{shown}");
        assert_eq!(shown.matches("/dev/ttyUSB2").count(), 2, "{shown}");
    }

    #[test]
    fn a_usual_terminal() {
        let (view, now) = watched();
        let expected = "\
qssl-tunnel 1.2.3  ● up, running for 1 d 1 h              25 % of 1.0 GB a month
modem    EG800Q EG800QEULCR07A07M04
network  ▂▄▆█ -57 dBm  Example Net, roaming, 10.7.157.1
port     /dev/ttyUSB2  115200 baud  up █████▏···· 51 %  down ▎········· 2 %
sockets  ■■□□□□□□□□□□ 2 open, 10 free; 1 client waiting; 7 opens, 2 failed, p50…

TUNNEL         CLIENTS        UP                     DOWN                  TODAY
web            2         10 kB/s     ▂▃▄▄▅▆▆▇██   40 kB/s     ██████████   21 MB
mqtt           1 +2        0 B/s     ▁▁▁▁▁▁▁▁▁▁     0 B/s     ▁▁▁▁▁▁▁▁▁▁   21 MB

  ID  TUNNEL      PEER               STATE         AGE      UP    DOWN      RATE
  12  web         127.0.0.1:50312    open        1 min  1.5 kB  461 kB   40 kB/s
1234  mqtt        [2001:db…8]:54321  opening       2 h  5.0 MB   61 kB     0 B/s

LAST EVENTS (UTC)
00:00:00  127.0.0.1:50312 to example.org:443: 1500 bytes up, 61000 down, 61.0 s:
            the server closed the connection
23:59:51  recovery: the port is opened again
23:59:02  data session up, address 10.7.157.1




 q  quit   s  sort:  a  age   n  name   r  rate   t  total";
        assert_eq!(text(&view, &USUAL, now).join("\n"), expected);
    }

    #[test]
    fn a_large_terminal_has_longer_curves_and_more_columns() {
        let (view, now) = watched();
        let lines = text(&view, &LARGE, now);
        let expected = [
            "sockets  ■■□□□□□□□□□□ 2 open, 10 free; 1 client waiting; 7 opens, 2 failed, p50 2.0 s",
            "",
            "TUNNEL                    CLIENTS        UP                                DOWN                            TODAY   MONTH",
            "web                       2         10 kB/s                ▂▃▄▄▅▆▆▇██   40 kB/s               ██████████   21 MB  250 MB",
            "mqtt                      1 +2        0 B/s                ▁▁▁▁▁▁▁▁▁▁     0 B/s               ▁▁▁▁▁▁▁▁▁▁   21 MB  250 MB",
            "",
            "  ID  TUNNEL          PEER                   SERVER                          STATE         AGE      UP    DOWN      RATE",
            "  12  web             127.0.0.1:50312        example.org:443                 open        1 min  1.5 kB  461 kB   40 kB/s",
        ];
        assert_eq!(lines[4..12], expected);
        assert!(lines[15].ends_with("61.0 s: the server closed the connection"), "{lines:#?}");
    }

    #[test]
    fn a_small_terminal_has_what_matters_most() {
        let (view, now) = watched();
        let expected = "\
qssl-tunnel 1.2.3  ● up, running for 1 …
modem    EG800Q EG800QEULCR07A07M04
network  ▂▄▆█ -57 dBm  Example Net, roa…
TUNNEL                      UP      DOWN
web                    10 kB/s   40 kB/s
mqtt                     0 B/s     0 B/s
  ID  PEER                          RATE
  12  127.0.0.1:50312            40 kB/s
1234  [2001:db8:1…:5678]:54321     0 B/s
 q  quit   s  sort:  a  age   n  name  …";
        assert_eq!(text(&view, &SMALL, now).join("\n"), expected);
    }

    #[test]
    fn any_size_is_drawn_within_its_edges() {
        let (mut view, now) = watched();
        let mut status = busy(11);
        // Tunnels and clients without number, and text of any kind.
        let (tunnel, connection) = (status.tunnels[0].clone(), status.connections[1].clone());
        status
            .tunnels
            .extend((0..40).map(|number| Tunnel { name: format!("中国{number}"), ..tunnel.clone() }));
        status.connections.extend((2_000..2_090).map(|id| Connection { id, ..connection.clone() }));
        status.modem.operator = Some("中国移动 \x1b[2J\u{202e}".into());
        status.modem.session = Some("registration: searching for a network".into());
        status.sockets.insert("open".into(), usize::MAX);
        view.learn(status, now + Duration::from_secs(1));
        for unicode in [true, false] {
            for columns in (1..=200).step_by(11) {
                for rows in (1..=60).step_by(7) {
                    // The test of each line's width is in `text`.
                    let shown = text(&view, &Look { columns, rows, unicode, colour: true }, now);
                    assert!(unicode || shown.iter().all(|line| line.is_ascii()), "{shown:#?}");
                }
            }
        }
        let shown = text(&view, &USUAL, now);
        assert!(shown.contains(&"39 more".to_owned()) && shown.contains(&"90 more".to_owned()), "{shown:#?}");
        view.learn(Status::default(), now);
        assert!(text(&view, &USUAL, now).contains(&"none".to_owned()));
    }

    #[test]
    fn the_keys_sort_and_quit() {
        let (mut view, now) = watched();
        let mut first = |keys: &[u8]| {
            assert!(keys.iter().all(|key| !view.key(*key)), "{keys:?} does not end it");
            let lines = text(&view, &USUAL, now);
            let after = |head: &str| {
                let row = lines.iter().position(|line| line.contains(head)).map(|head| &lines[head + 1]);
                row.and_then(|row| row.split_whitespace().find(|word| matches!(*word, "web" | "mqtt")))
                    .map(str::to_owned)
            };
            [after("TUNNEL         CLIENTS"), after("ID  TUNNEL")].map(Option::unwrap).join(" ")
        };
        assert_eq!(first(b""), "web web");
        assert_eq!(first(b"n"), "mqtt mqtt");
        assert_eq!(first(b"r"), "web web");
        // The tunnel has carried more, and of the connections the other one has.
        assert_eq!(first(b"t"), "web mqtt");
        assert_eq!(first(b"s"), "web web", "the first order comes after the last");
        assert_eq!(first(b"sx?\0"), "mqtt mqtt");
        assert!(view.key(b'q'));
    }

    #[test]
    fn without_an_answer_the_last_one_stays() {
        let (mut view, now) = watched();
        let title = |view: &View, now: Instant| text(view, &USUAL, now).swap_remove(0);
        let later = now + Duration::from_secs(6);
        assert!(title(&view, later).contains("● up"), "the modem may be asked meanwhile");
        assert_eq!(title(&view, later + Duration::from_secs(1)), "qssl-tunnel 1.2.3  ● no answer for 7 s");
        view.learn_trouble("no daemon answers at /run/control".into());
        assert_eq!(
            title(&view, later),
            "qssl-tunnel 1.2.3  ● no answer for 6 s: no daemon answers at /run/control"
        );
        assert_eq!(text(&view, &USUAL, now)[1..23], text(&watched().0, &USUAL, now)[1..23]);
        // A daemon that was started again counts from zero, and nothing is measured across that.
        let mut again = example();
        again.uptime_seconds = Some(1.0);
        view.learn(again, later);
        let shown = text(&view, &USUAL, later).join("\n");
        assert!(shown.contains("● up, running for 1 s") && shown.contains("▃▄▄▅▆▆▇██▁     0 B/s"), "{shown}");
    }

    #[test]
    fn attributes_are_colours_only_where_there_are_any() {
        let (view, now) = watched();
        let codes = |colour: bool| {
            let all = view.lines(&Look { colour, ..USUAL }, now).concat();
            let mut codes: Vec<String> = all
                .split("\x1b[")
                .skip(1)
                .filter_map(|part| Some(part.split_once('m')?.0.to_owned()))
                .collect();
            codes.sort();
            codes.dedup();
            codes
        };
        assert_eq!(codes(false), ["0", "1", "1;4", "2", "7"]);
        assert_eq!(codes(true), ["0", "1", "1;4", "2", "32", "33", "35", "36", "7"]);
    }
}
