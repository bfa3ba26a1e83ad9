//! A status as metrics in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Status, Tunnel};
use crate::terminal::printable;

/// In which words the metrics are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0",
        }
    }
}

/// The status as metrics. Names begin with `qssl_tunnel_`, times are seconds, and
/// names of counters end in `_total`. Without a daemon there is only what the modem
/// can tell. Where there are several modems, what is about one of them has the label `modem`.
pub fn metrics(status: &Status, format: Format) -> String {
    let mut page = Page { format, modem: None, families: Vec::new() };
    write_metrics(&mut page, status);
    let mut text: String = page.families.into_iter().map(|family| family.text).collect();
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn write_metrics(page: &mut Page, status: &Status) {
    let none: &[(&str, &str)] = &[];
    page.family("up", "gauge", "Whether connections can be opened.");
    page.sample("up", none, if status.state == "up" { 1.0 } else { 0.0 });
    if let Some(seconds) = status.uptime_seconds {
        page.family("uptime_seconds", "gauge", "How long the daemon has been running.");
        page.sample("uptime_seconds", none, seconds);
    }
    match &status.modems[..] {
        [] | [_] => of_modem(page, status),
        modems => {
            for modem in modems {
                page.modem = Some(modem.name.clone());
                page.family("modem_up", "gauge", "Whether this modem can open connections.");
                page.sample("modem_up", none, if modem.state == "up" { 1.0 } else { 0.0 });
                of_modem(page, modem);
            }
            page.modem = None;
        }
    }
    let Some(counts) = &status.counters else { return };
    if let Some(budget) = counts.budget {
        page.family("budget_bytes", "gauge", "The monthly budget.");
        page.sample("budget_bytes", none, budget.limit_bytes as f64);
        page.family("budget_used_bytes", "gauge", "How much of the budget was used this month.");
        page.sample("budget_used_bytes", none, budget.used_bytes as f64);
    }
    of_tunnels(page, status);
    datagrams(page, status);
}

/// What is about one modem.
fn of_modem(page: &mut Page, status: &Status) {
    let modem = &status.modem;
    let none: &[(&str, &str)] = &[];
    page.family("modem_info", "gauge", "The modem, its operator and registration.");
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (module, operator, registration) =
        (text(&modem.module), text(&modem.operator), text(&modem.registration));
    page.sample(
        "modem_info",
        &[("module", &module), ("operator", &operator), ("registration", &registration)],
        1.0,
    );
    if let Some(dbm) = modem.signal_dbm {
        page.family("signal_dbm", "gauge", "Received signal strength.");
        page.sample("signal_dbm", none, f64::from(dbm));
    }
    cell(page, status);
    let Some(counts) = &status.counters else { return };
    let counters = &counts.modem;
    page.family("sockets", "gauge", "Connections of the modem by state.");
    for (state, count) in &status.sockets {
        page.sample("sockets", &[("state", state)], *count as f64);
    }
    page.family("port_overruns_total", "counter", "Bytes lost by the host's UART.");
    for port in &status.ports {
        if let Some(overruns) = port.overruns {
            page.sample("port_overruns_total", &[("port", &port.name)], f64::from(overruns));
        }
    }
    page.family("line_utilisation_ratio", "gauge", "Share of the last minute that the line was busy.");
    for port in &status.ports {
        if let Some([up, down]) = port.utilisation {
            page.sample("line_utilisation_ratio", &[("port", &port.name), ("direction", "up")], up);
            page.sample("line_utilisation_ratio", &[("port", &port.name), ("direction", "down")], down);
        }
    }
    channels(page, status);
    page.family("opens_total", "counter", "Connections opened.");
    page.sample("opens_total", none, counters.opens as f64);
    page.family("open_failures_total", "counter", "Connections that could not be opened, by cause.");
    for (cause, count) in &counters.open_failures {
        page.sample("open_failures_total", &[("cause", cause)], *count as f64);
    }
    if let Some(times) = counters.open_seconds {
        page.family("open_seconds", "summary", "How long the last opens took.");
        for (quantile, seconds) in ["0.5", "0.9", "1"].into_iter().zip(times) {
            page.sample("open_seconds", &[("quantile", quantile)], seconds);
        }
    }
    for (name, help, count) in [
        ("sent_bytes_total", "Payload that the module has taken.", counters.sent_bytes),
        ("received_bytes_total", "Payload received.", counters.received_bytes),
        ("wire_out_bytes_total", "Bytes written to ports.", counters.wire_bytes_out),
        ("wire_in_bytes_total", "Bytes read from ports.", counters.wire_bytes_in),
        ("send_fails_total", "SEND FAIL answers.", counters.send_fails),
        ("resyncs_total", "How often a port was resynchronised.", counters.resyncs),
        ("port_opens_total", "Ports opened.", counters.port_opens),
        ("reboots_total", "Reboots of the module seen.", counters.reboots),
    ] {
        page.family(name, "counter", help);
        page.sample(name, none, count as f64);
    }
    page.family("waiting_clients", "gauge", "Clients that wait for a connection.");
    page.sample("waiting_clients", none, counts.waiting_clients as f64);
    page.family("waiting_commands", "gauge", "AT commands from outside that wait for the modem.");
    page.sample("waiting_commands", none, counts.waiting_commands as f64);
}

/// What tunnels and their clients do.
fn of_tunnels(page: &mut Page, status: &Status) {
    page.family("clients", "gauge", "Clients by state.");
    for tunnel in &status.tunnels {
        for (state, count) in &tunnel.clients {
            page.sample("clients", &[("tunnel", &tunnel.name), ("state", state)], *count as f64);
        }
    }
    type Value = fn(&Tunnel) -> u64;
    let families: [(&str, &str, &str, Value); 9] = [
        ("tunnel_accepted_total", "counter", "Clients accepted.", |tunnel| tunnel.counters.accepted),
        (
            "tunnel_refused_total",
            "counter",
            "Clients refused, or left waiting because there were no descriptors.",
            |tunnel| tunnel.counters.refused,
        ),
        ("tunnel_opens_total", "counter", "Connections opened.", |tunnel| tunnel.counters.opens),
        ("tunnel_warm", "gauge", "Connections open ahead of their clients.", |tunnel| tunnel.warm as u64),
        ("tunnel_served_warm_total", "counter", "Clients that got a connection opened ahead.", |tunnel| {
            tunnel.counters.served_warm
        }),
        ("tunnel_resets_total", "counter", "Connections reset.", |tunnel| tunnel.counters.resets),
        ("tunnel_up_bytes_total", "counter", "Payload from clients that the module has taken.", |tunnel| {
            tunnel.counters.up_bytes
        }),
        ("tunnel_down_bytes_total", "counter", "Payload to clients.", |tunnel| tunnel.counters.down_bytes),
        ("tunnel_month_bytes", "gauge", "Payload both ways this month.", |tunnel| tunnel.month_bytes),
    ];
    for (name, kind, help, value) in families {
        page.family(name, kind, help);
        for tunnel in &status.tunnels {
            page.sample(name, &[("tunnel", &tunnel.name)], value(tunnel) as f64);
        }
    }
}

/// What the modem has reported about its cell.
fn cell(page: &mut Page, status: &Status) {
    if let Some(seconds) = status.modem.heard_seconds_ago {
        page.family("network_age_seconds", "gauge", "Since the modem last answered about its network.");
        page.sample("network_age_seconds", &[], seconds);
    }
    let Some(cell) = &status.modem.radio else { return };
    let band = cell.band.map(|band| band.to_string());
    let all = [
        ("technology", &cell.technology),
        ("band", &band),
        ("identity", &cell.identity),
        ("imei", &cell.imei),
    ];
    let known: Vec<_> = all.iter().filter_map(|(label, text)| Some((*label, text.as_deref()?))).collect();
    if !known.is_empty() {
        page.family("radio_info", "gauge", "The cell that the modem is in.");
        page.sample("radio_info", &known, 1.0);
    }
    for ((name, help), (_, _, value)) in CELL.iter().zip(cell.measured()) {
        if let Some(value) = value {
            page.family(name, "gauge", help);
            page.sample(name, &[], value);
        }
    }
}

/// Names and help of what `Cell::measured` has.
const CELL: [(&str, &str); 4] = [
    ("radio_rsrp_dbm", "Power of the cell's reference signals."),
    ("radio_rsrq_db", "Quality of the cell's reference signals."),
    ("radio_sinr_db", "Signal to interference and noise."),
    ("radio_temperature_celsius", "The module's temperature."),
];

/// What tunnels that carry datagrams have done with them.
fn datagrams(page: &mut Page, status: &Status) {
    let tunnels: Vec<_> = status
        .tunnels
        .iter()
        .filter_map(|tunnel| Some((&*tunnel.name, tunnel.counters.datagrams?)))
        .collect();
    if tunnels.is_empty() {
        return;
    }
    let family = "tunnel_datagrams_total";
    page.family(family, "counter", "Datagrams carried.");
    for (name, counts) in &tunnels {
        for (direction, count) in [("down", counts.down), ("up", counts.up)] {
            page.sample(family, &[("tunnel", name), ("direction", direction)], count as f64);
        }
    }
    let family = "tunnel_datagrams_dropped_total";
    page.family(family, "counter", "Datagrams dropped, by cause.");
    for (name, counts) in &tunnels {
        for (cause, count) in BTreeMap::from(counts.dropped.by_cause()) {
            page.sample(family, &[("tunnel", name), ("cause", cause)], count as f64);
        }
    }
}

/// The frames and channels of a line that carries several (CMUX).
fn channels(page: &mut Page, status: &Status) {
    let lines = status.ports.iter().filter_map(|port| Some((&*port.name, port.multiplexer.as_ref()?)));
    if lines.clone().next().is_none() {
        return;
    }
    page.family("frames_total", "counter", "CMUX frames.");
    for (port, line) in lines.clone() {
        page.sample("frames_total", &[("port", port), ("direction", "up")], line.frames_out as f64);
        page.sample("frames_total", &[("port", port), ("direction", "down")], line.frames_in as f64);
    }
    page.family(
        "bad_frames_total",
        "counter",
        "CMUX frames that did not count: a wrong check sum, or no flag.",
    );
    for (port, line) in lines.clone() {
        page.sample("bad_frames_total", &[("port", port)], line.bad_frames as f64);
    }
    page.family("garbage_bytes_total", "counter", "Bytes from the module that were in no CMUX frame.");
    for (port, line) in lines.clone() {
        page.sample("garbage_bytes_total", &[("port", port)], line.garbage_bytes as f64);
    }
    page.family("line_held_seconds_total", "counter", "For how long the module held all channels (FCoff).");
    for (port, line) in lines.clone() {
        page.sample("line_held_seconds_total", &[("port", port)], line.held_seconds);
    }
    page.family("channel_held_seconds_total", "counter", "For how long flow control held a channel's data.");
    for (port, line) in lines.clone() {
        for channel in &line.channels {
            let number = channel.number.to_string();
            for (by, seconds) in
                [("module", channel.held_by_module_seconds), ("client", channel.held_by_us_seconds)]
            {
                let labels = [("port", port), ("channel", &*number), ("by", by)];
                page.sample("channel_held_seconds_total", &labels, seconds);
            }
        }
    }
    page.family("channel_info", "gauge", "The channels, and the V.24 lines that both sides show.");
    for (port, line) in lines {
        for channel in &line.channels {
            let number = channel.number.to_string();
            let (lines, shown) = (channel.lines_in.join(" "), channel.lines_out.join(" "));
            let labels = [
                ("port", port),
                ("channel", &*number),
                ("state", &*channel.state),
                ("lines", &*lines),
                ("lines_shown", &*shown),
            ];
            page.sample("channel_info", &labels, 1.0);
        }
    }
}

/// A page of metrics that is being written.
struct Page {
    format: Format,
    /// The modem that samples are about.
    modem: Option<String>,
    families: Vec<Family>,
}

/// A family: its head, and its samples.
struct Family {
    name: &'static str,
    text: String,
}

impl Page {
    /// The samples of a family stand together, whatever comes between them here.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        if self.families.iter().any(|family| family.name == name) {
            return;
        }
        let shown = match self.format {
            Format::Text => name,
            // There the family of a counter is named without the end of its samples.
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
        };
        let text = format!("# HELP qssl_tunnel_{shown} {help}\n# TYPE qssl_tunnel_{shown} {kind}\n");
        self.families.push(Family { name, text });
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let family = self.families.iter_mut().find(|family| family.name == name);
        let Some(Family { text: out, .. }) = family else { return };
        out.push_str("qssl_tunnel_");
        out.push_str(name);
        let mut before = '{';
        for (label, text) in self.modem.iter().map(|modem| ("modem", &**modem)).chain(labels.iter().copied())
        {
            // Writing to a String cannot fail.
            let _ = write!(out, "{before}{label}=\"{}\"", escaped(text));
            before = ',';
        }
        if before == ',' {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }
}

/// Escapes a label's value: the format escapes these three characters and no others. Other characters that are not
/// printable are escaped already.
fn escaped(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use qssl_core::relay::{Datagrams, Dropped};

    #[test]
    fn every_sample_has_a_type_and_every_family_stands_once() {
        let text = metrics(&example(), Format::Text);
        let mut family = String::new();
        let mut seen = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(!seen.contains(&family), "{family} twice");
                seen.push(family.clone());
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, family, "{line}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "qssl_tunnel_up 1",
            "qssl_tunnel_signal_dbm -57",
            "qssl_tunnel_radio_info{technology=\"LTE\",band=\"3\"} 1",
            "qssl_tunnel_radio_rsrp_dbm -85",
            "qssl_tunnel_radio_sinr_db -1.4",
            "qssl_tunnel_radio_temperature_celsius 34",
            "qssl_tunnel_sockets{state=\"open\"} 2",
            "qssl_tunnel_open_failures_total{cause=\"566 (connect failed)\"} 2",
            "qssl_tunnel_tunnel_warm{tunnel=\"web\"} 3",
            "qssl_tunnel_tunnel_served_warm_total{tunnel=\"web\"} 4",
            "qssl_tunnel_tunnel_down_bytes_total{tunnel=\"web\"} 20000000",
            "qssl_tunnel_line_utilisation_ratio{port=\"/dev/ttyUSB2\",direction=\"up\"} 0.51",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn open_metrics_name_counters_without_their_end_and_have_an_end_of_their_own() {
        let open = metrics(&example(), Format::OpenMetrics);
        let lines: Vec<&str> = open.lines().collect();
        assert!(
            lines.contains(&"# TYPE qssl_tunnel_opens counter")
                && lines.contains(&"qssl_tunnel_opens_total 7")
        );
        assert_eq!(lines.last(), Some(&"# EOF"));
        let samples = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(samples(&open), samples(&metrics(&example(), Format::Text)));
    }

    #[test]
    fn what_is_not_known_of_the_cell_has_no_sample() {
        let mut status = example();
        status.modem.radio = Some(qssl_core::radio::Cell { rsrq_db: Some(-11), ..Default::default() });
        let text = metrics(&status, Format::Text);
        let radio: Vec<&str> = text.lines().filter(|line| line.starts_with("qssl_tunnel_radio")).collect();
        assert_eq!(radio, ["qssl_tunnel_radio_rsrq_db -11"]);
    }

    #[test]
    fn datagrams_are_counted_by_direction_and_by_cause_of_loss() {
        let mut status = example();
        assert!(!metrics(&status, Format::Text).contains("datagrams"), "it has streams only");
        let dropped = Dropped { long: 2, ..Dropped::default() };
        status.tunnels[0].counters.datagrams = Some(Datagrams { up: 7, down: 0, dropped });
        let text = metrics(&status, Format::Text);
        for line in [
            "qssl_tunnel_tunnel_datagrams_total{tunnel=\"web\",direction=\"up\"} 7",
            "qssl_tunnel_tunnel_datagrams_total{tunnel=\"web\",direction=\"down\"} 0",
            "qssl_tunnel_tunnel_datagrams_dropped_total{tunnel=\"web\",cause=\"long\"} 2",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn each_of_several_modems_has_its_label_in_every_family() {
        let mut status = example();
        let one = |name: &str, state: &str| Status { name: name.into(), state: state.into(), ..example() };
        status.modems = vec![one("a", "up"), one("b", "waiting")];
        let text = metrics(&status, Format::Text);
        for line in [
            "qssl_tunnel_up 1",
            "qssl_tunnel_modem_up{modem=\"a\"} 1",
            "qssl_tunnel_modem_up{modem=\"b\"} 0",
            "qssl_tunnel_signal_dbm{modem=\"b\"} -57",
            "qssl_tunnel_sockets{modem=\"a\",state=\"open\"} 2",
            "qssl_tunnel_tunnel_warm{tunnel=\"web\"} 3",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing:\n{text}");
        }
        let heads = text.lines().filter(|line| line.starts_with("# TYPE "));
        let heads: Vec<&str> = heads.collect();
        let distinct: std::collections::BTreeSet<&str> = heads.iter().copied().collect();
        assert_eq!(heads.len(), distinct.len(), "each family stands once:\n{text}");
        let samples = |name: &str| text.lines().position(|line| line.starts_with(name));
        let (first, last) = (
            samples("qssl_tunnel_opens_total{modem=\"a\"}"),
            samples("qssl_tunnel_opens_total{modem=\"b\"}"),
        );
        assert_eq!(first.map(|first| first + 1), last, "its samples stand together");
    }

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut status = example();
        status.modem.operator = Some("a\"b\\c\nd".into());
        assert!(metrics(&status, Format::Text).contains(r#"operator="a\"b\\c\\nd""#));
    }
}
