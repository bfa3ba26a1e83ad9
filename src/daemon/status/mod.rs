//! The status of the daemon and its modem as plain data: what `qssl-tunnel status` shows.
//!
//! The event loop builds a [`Status`] from the core's counters. It is sent as JSON over the control socket, and is
//! shown as a table, as that JSON, or as metrics for Prometheus. Bytes are payload unless they are called wire bytes;
//! times are seconds.

mod prometheus;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::terminal::indented_json;
use qssl_core::at::answers::Registration;
use qssl_core::modem::Counters;
use qssl_core::radio::{Cell, Facts};
use qssl_core::relay::TunnelCounters;

pub use prometheus::{Format, metrics};
pub use qssl_core::relay::{Connection, LineChannel, Multiplexer};
pub use table::{columns, size, span, table, without_middle};

/// The daemon and its modem at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// In `modems`: its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The daemon's version.
    pub version: String,
    /// How long it has been running; `None`: no daemon runs.
    pub uptime_seconds: Option<f64>,
    /// [`NO_DAEMON`], waiting (the modem cannot open connections yet, or no longer), up, or draining; of several modems, up if
    /// one is, and of each of them also given up.
    pub state: String,
    /// The modem and its network; the first one where there are several.
    pub modem: Modem,
    /// Of each modem alone, in the order of the configuration: name, state, modem, ports, sockets and counters. Those that
    /// a reload has removed come last, until their connections have ended.
    pub modems: Vec<Status>,
    /// The ports of all modems in the order of the configuration.
    pub ports: Vec<Port>,
    /// How many connections of all modems are in each state: free, opening, open, warm (open ahead of a client),
    /// closing, foreign (not in --sockets, or opened by a command of `at` or doctor), unknown.
    pub sockets: BTreeMap<String, usize>,
    /// The tunnels in the order of the configuration.
    pub tunnels: Vec<Tunnel>,
    /// The clients' connections, the oldest first.
    pub connections: Vec<Connection>,
    /// Counts since the start; `None`: no daemon runs.
    pub counters: Option<Counts>,
    /// The last lines of the log, of levels info, warn and error, the oldest first, with their times in UTC; also those that
    /// `-q` leaves out.
    pub events: Vec<String>,
}

/// The modem and its network, as last reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modem {
    /// Model and firmware, once it has reported them.
    pub module: Option<String>,
    /// The network's name.
    pub operator: Option<String>,
    /// How it is registered there: home, roaming, searching, denied, not registered.
    pub registration: Option<String>,
    /// Received signal strength (RSSI) in dBm.
    pub signal_dbm: Option<i16>,
    /// With `--radio`: the cell. What is not known is `None`.
    pub radio: Option<Cell>,
    /// How long ago the modem last answered a question about its network; `None`: never.
    pub heard_seconds_ago: Option<f64>,
    /// How long ago the oldest of what is known of its network was reported.
    pub oldest_seconds_ago: Option<f64>,
    /// The data session's address.
    pub address: Option<String>,
    /// What the set-up of the data session does, or why it waits; `None`: no daemon runs.
    pub session: Option<String>,
    /// How long the session has been as it is.
    pub session_seconds: Option<f64>,
}

/// A port of the modem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// Its name; as configured while it is not open.
    pub name: String,
    /// closed, waking (being brought back to answering), command, data; channels: it carries several.
    pub state: String,
    /// Bits per second, where the port has a speed.
    pub baud: Option<u32>,
    /// Bytes that the host's UART has lost because they were not read in time; `None` where it does not
    /// count.
    pub overruns: Option<u32>,
    /// The share of the last minute that the line was busy, towards the modem and back, 0-1; `None` without a speed.
    pub utilisation: Option<[f64; 2]>,
    /// Its channels, while it carries several (CMUX).
    pub multiplexer: Option<Multiplexer>,
}

/// A tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tunnel {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// The server, as in the configuration.
    pub target: String,
    /// With --dynamic: the targets that clients may name (`--allow-target`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_target: Vec<String>,
    /// buffer, push or transparent.
    pub mode: String,
    /// The SSL context of the modem that has its TLS settings; `None`: not configured yet.
    pub ssl_context: Option<u32>,
    /// How many clients are in each state: silent, waiting, opening, open, ending.
    pub clients: BTreeMap<String, usize>,
    /// How many connections are open ahead of their clients (`--warm`).
    pub warm: usize,
    /// What it has done.
    #[serde(flatten)]
    pub counters: TunnelCounters,
    /// Payload both ways today, over restarts where there is a state directory.
    pub today_bytes: u64,
    /// Payload both ways this month, over restarts where there is a state directory.
    pub month_bytes: u64,
}

/// Counts since the start, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// What has happened on the modem.
    #[serde(flatten)]
    pub modem: Counters,
    /// Clients that wait for a connection.
    pub waiting_clients: usize,
    /// Commands from outside that wait for their turn.
    pub waiting_commands: usize,
    /// The month's budget in bytes, and how much of it is used.
    pub budget: Option<Budget>,
}

/// The monthly budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The budget of a calendar month (UTC), in bytes.
    pub limit_bytes: u64,
    /// What has been used: payload both ways and an estimate for each TLS handshake.
    pub used_bytes: u64,
}

impl Modem {
    /// What is known of its network, without the cell.
    pub fn of(facts: &Facts) -> Modem {
        let words = |registration| match registration {
            Registration::Home => "home",
            Registration::Roaming => "roaming",
            Registration::Searching => "searching",
            Registration::Denied => "denied",
            Registration::NotRegistered | Registration::Unknown => "not registered",
        };
        Modem {
            operator: facts.operator.clone(),
            registration: facts.registration.map(|registration| words(registration).to_owned()),
            signal_dbm: facts.signal_dbm,
            ..Modem::default()
        }
    }
}

impl Status {
    /// Counts since the start: all 0 without a daemon.
    pub fn counts(&self) -> Counts {
        self.counters.clone().unwrap_or_default()
    }

    /// The status for programs: one JSON object, indented.
    pub fn json(&self) -> String {
        indented_json(self).expect("plain data without keys that are no text")
    }
}

/// The state of a modem that is not used any more.
pub const GIVEN_UP: &str = "given up";

/// The state if no daemon runs, and the modem itself was queried.
pub const NO_DAEMON: &str = "no daemon runs";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use qssl_core::relay::{Datagrams, Dropped};

    /// A daemon with one tunnel.
    pub(crate) fn example() -> Status {
        let counts =
            |all: &[(&str, usize)]| all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Status {
            version: "1.2.3".into(),
            uptime_seconds: Some(90_000.0),
            state: "up".into(),
            modem: Modem {
                module: Some("EG800Q EG800QEULCR07A07M04".into()),
                operator: Some("Example Net".into()),
                registration: Some("roaming".into()),
                signal_dbm: Some(-57),
                radio: Some(Cell {
                    technology: Some("LTE".into()),
                    band: Some(3),
                    rsrp_dbm: Some(-85),
                    rsrq_db: Some(-11),
                    sinr_db: Some(-1.4),
                    temperature_celsius: Some(34),
                    ..Cell::default()
                }),
                heard_seconds_ago: Some(12.3),
                oldest_seconds_ago: Some(252.3),
                address: Some("10.7.157.1".into()),
                session: Some("up".into()),
                session_seconds: Some(3_600.0),
            },
            ports: vec![Port {
                name: "/dev/ttyUSB2".into(),
                state: "command".into(),
                baud: Some(115_200),
                overruns: Some(3),
                utilisation: Some([0.51, 0.02]),
                multiplexer: None,
            }],
            sockets: counts(&[("free", 10), ("open", 2), ("closing", 0)]),
            tunnels: vec![Tunnel {
                name: "web".into(),
                listen: vec!["127.0.0.1:8443".into()],
                target: "example.org:443".into(),
                mode: "push".into(),
                clients: counts(&[("open", 2), ("waiting", 0)]),
                warm: 3,
                counters: TunnelCounters {
                    accepted: 9,
                    served_warm: 4,
                    up_bytes: 1_500_000,
                    down_bytes: 20_000_000,
                    ..TunnelCounters::default()
                },
                today_bytes: 21_000_000,
                month_bytes: 250_000_000,
                ..Tunnel::default()
            }],
            connections: vec![Connection {
                id: 12,
                tunnel: "web".into(),
                peer: "127.0.0.1:50312".into(),
                server: "example.org:443".into(),
                state: "open".into(),
                age_seconds: 61.0,
                up_bytes: 1_500,
                delivered_bytes: None,
                down_bytes: 61_000,
                ..Connection::default()
            }],
            counters: Some(Counts {
                modem: Counters {
                    opens: 7,
                    open_failures: [("566 (connect failed)".to_owned(), 2)].into(),
                    open_seconds: Some([2.0, 2.5, 9.1]),
                    send_fails: 1,
                    resyncs: 4,
                    port_opens: 2,
                    ..Counters::default()
                },
                waiting_clients: 1,
                budget: Some(Budget { limit_bytes: 1_000_000_000, used_bytes: 250_000_000 }),
                ..Counts::default()
            }),
            events: vec!["2026-11-21T10:00:00.123Z info  ready".into()],
            name: String::new(),
            modems: Vec::new(),
        }
    }

    #[test]
    fn a_network_is_told_in_words() {
        let mut facts = Facts::default();
        let told = |facts: &Facts| {
            let modem = Modem::of(facts);
            (modem.signal_dbm, modem.operator, modem.registration)
        };
        let words = |text: &str| Some(text.to_owned());
        let lines = ["+CSQ: 28,99", "+COPS: 0,0,\"Example, Net\",7", "+CEREG: 0,5"].map(str::to_owned);
        facts.learn(&lines, false);
        assert_eq!(told(&facts), (Some(-57), words("Example, Net"), words("roaming")));
        facts.learn(&["+CSQ: 99,99", "+COPS: 0", "+CEREG: 0,2"].map(str::to_owned), false);
        assert_eq!(told(&facts), (None, None, words("searching")));
    }

    #[test]
    fn what_is_written_as_json_is_read_back() {
        let mut status = example();
        assert_eq!(serde_json::from_str::<Status>(&status.json()).unwrap(), status);
        assert!(status.json().contains("\"datagrams\": {},\n"), "{}", status.json());
        let dropped = Dropped { long: 3, ..Dropped::default() };
        status.tunnels[0].counters.datagrams = Some(Datagrams { up: 7, down: 5, dropped });
        assert_eq!(serde_json::from_str::<Status>(&status.json()).unwrap(), status);
        let written = status.json().split_whitespace().collect::<String>();
        let counts = r#""down_bytes":20000000,"datagrams":{"down":5,"empty":0,"full":0,"long":3,"refused":0,"undelivered":0,"unread":0,"unsent":0,"up":7},"today_bytes":"#;
        assert!(written.contains(counts), "{written}");
    }

    #[test]
    fn a_status_of_another_version_is_read_as_far_as_it_goes() {
        let read: Status =
            serde_json::from_str(r#"{"version":"9","novelty":[1],"modem":{"signal_dbm":-90}}"#).unwrap();
        assert_eq!((read.version.as_str(), read.modem.signal_dbm), ("9", Some(-90)));
    }
}
