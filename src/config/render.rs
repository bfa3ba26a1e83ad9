//! A configuration as TOML, for `run --check`: all that is in effect, with defaults, and with secrets masked.

use std::fmt::Write;

use qssl_core::settings::{self, Cipher};

use super::choice::Choice;
use super::{
    Authentication, Cmux, Configuration, Control, DEFAULT_MODEM_NAME, Modem, Policy, Process, Radio, Tls,
    Tunnel, Wait,
};
use super::{certificate_items, duration, ranges};
use crate::terminal::is_printable;

impl Configuration {
    /// This configuration as TOML. It can be read again and means the same, except for secrets, which are
    /// only shown to be present.
    pub fn render(&self) -> String {
        let mut out = Document::default();
        let head = if self.modems.len() == 1 { "[modem]" } else { "[[modem]]" };
        for modem in &self.modems {
            self::modem(&mut out, modem, head);
        }
        for tunnel in &self.tunnels {
            self::tunnel(&mut out, tunnel);
        }
        process(&mut out, &self.process);
        out.text
    }
}

fn modem(out: &mut Document, configured: &Modem, head: &str) {
    let modem = &configured.settings;
    out.section(head);
    if head != "[modem]" || configured.name != DEFAULT_MODEM_NAME {
        out.string("name", &configured.name);
    }
    out.list("device", configured.devices.iter().map(|device| device.to_string()));
    out.number("baud", modem.baud);
    if let Some(flow_control) = modem.flow_control {
        out.choice("flow-control", flow_control);
    }
    if modem.cmux != Cmux::Off {
        out.choice("cmux", modem.cmux);
    }
    if let Some(frame_bytes) = modem.cmux_frame {
        out.number("cmux-frame", frame_bytes);
    }
    out.string("sockets", &ranges::format(modem.sockets));
    out.string("ssl-contexts", &ranges::format(modem.ssl_contexts));
    out.secret("sim-pin-file", modem.sim_pin.is_some());
    out.number("pdp-context", modem.pdp.context.number());
    if let Some(apn) = &modem.pdp.apn {
        out.string("apn", apn.as_str());
        out.choice("pdp-type", modem.pdp.kind);
        out.choice("apn-auth", modem.pdp.auth);
    }
    out.secret("apn-user", modem.pdp.user.is_some());
    out.secret("apn-password-file", modem.pdp.password.is_some());
    if !modem.pdp.dns.is_empty() {
        out.list("dns", modem.pdp.dns.iter().map(|address| address.to_string()));
    }
    if let Some(server) = &modem.ntp {
        out.string("ntp", server.as_str());
    }
    out.choice("recovery", modem.recovery);
    if let Some(command) = &configured.reset_command {
        out.string("reset-command", command);
        out.string("reset-after", &duration::format(modem.reset_after));
    }
    if let Some(interval) = modem.poll_interval {
        out.string("poll-interval", &duration::format(interval));
    }
    out.switch("radio", modem.radio != Radio::Off);
    out.switch("radio-identity", modem.radio == Radio::Identity);
    match modem.wait {
        Wait::Forever => {}
        Wait::Not => out.switch("no-wait", true),
        Wait::Limited { time, retries } => {
            if let Some(time) = time {
                out.string("retry-for", &duration::format(time));
            }
            if let Some(retries) = retries {
                out.number("max-retries", retries);
            }
        }
    }
    out.string("liveness-interval", &duration::format(modem.liveness_interval));
    out.string("command-timeout", &duration::format(modem.command_timeout));
    out.string("send-timeout", &duration::format(modem.send_timeout));
}

fn tunnel(out: &mut Document, tunnel: &Tunnel) {
    out.section("[[tunnel]]");
    out.string("name", &tunnel.settings.name);
    out.list("listen", tunnel.listen.iter().map(|address| address.to_string()));
    if let Some(server) = tunnel.settings.server() {
        out.string("to", &server.to_string());
    }
    if let Some(dynamic) = &tunnel.dynamic {
        out.choice("dynamic", dynamic.protocol);
        out.list("allow-target", dynamic.allowed.iter().map(|target| target.to_string()));
        out.secret("proxy-user-file", dynamic.users.is_some());
        out.switch("dynamic-tls", tunnel.settings.tls().is_some());
    }
    if !tunnel.modems.names.is_empty() {
        out.list("modems", tunnel.modems.names.iter().cloned());
    }
    if tunnel.modems.policy != Policy::default() {
        out.choice("policy", tunnel.modems.policy);
    }
    out.choice("mode", tunnel.settings.mode);
    if let Some(of_tunnel) = tunnel.settings.tls() {
        tls(out, of_tunnel);
    }
    limits(out, &tunnel.settings);
    if !tunnel.allow.is_empty() {
        out.list("allow", tunnel.allow.iter().map(|network| network.to_string()));
    }
}

fn tls(out: &mut Document, tls: &Tls) {
    match &tls.authentication {
        Authentication::Insecure => out.switch("insecure", true),
        Authentication::Authorities(authorities) => {
            let mut sources: Vec<&str> =
                authorities.iter().map(|authority| authority.source.as_str()).collect();
            sources.dedup();
            out.list("ca", sources.into_iter().map(str::to_owned));
        }
    }
    out.choice("tls-version", tls.version);
    out.string("cipher", &Cipher(tls.cipher).to_string());
    if let Some(client) = &tls.client {
        out.string("cert", &client.certificate.source);
        out.string("key", &client.key.source);
        out.secret("key-password-file", client.key_password.is_some());
    }
    if let Some(on) = tls.sni {
        out.switch("sni", on);
    }
    if let Some(protocol) = &tls.alpn {
        out.string("alpn", protocol.as_str());
    }
    out.secret("psk-identity", tls.psk.is_some());
    out.secret("psk-key-file", tls.psk.is_some());
    out.switch("session-resumption", tls.session_resumption);
    out.switch("renegotiation", tls.renegotiation);
    if let Some(on) = tls.check_time {
        out.switch("check-time", on);
    }
    if tls.ignore_certificate_items != 0 {
        let names = certificate_items::names_of(tls.ignore_certificate_items);
        out.list("ignore-certificate", names.into_iter().map(str::to_owned));
    }
    out.switch("ignore-chain", tls.ignore_chain);
    out.switch("ignore-signature", tls.ignore_signature);
}

fn limits(out: &mut Document, tunnel: &settings::Tunnel) {
    let (limits, has_streams) = (&tunnel.limits, !tunnel.carries_datagrams());
    for (key, value) in [
        ("connect-timeout", limits.connect_timeout),
        ("half-close-timeout", limits.half_close_timeout),
        ("idle-timeout", limits.idle_timeout),
        ("lifetime", limits.lifetime),
        ("first-byte-timeout", limits.first_byte_timeout),
        ("queue-timeout", limits.queue_timeout),
        ("stall-timeout", limits.stall_timeout),
        ("close-timeout", limits.close_timeout),
    ] {
        let is_of_streams = matches!(key, "half-close-timeout" | "first-byte-timeout" | "stall-timeout");
        if has_streams || !is_of_streams {
            out.string(key, &duration::format(value));
        }
    }
    out.choice("when-full", limits.when_full);
    if has_streams {
        out.choice("on-closed", limits.on_closed);
        out.choice("open-on", limits.open_on);
    }
    if let Some(count) = limits.max_clients {
        out.number("max-clients", count);
    }
    if limits.warm.count > 0 {
        out.number("warm", limits.warm.count);
        out.string("warm-max-age", &duration::format(limits.warm.max_age));
        out.switch("warm-server-first", limits.warm.server_first);
    }
}

fn process(out: &mut Document, process: &Process) {
    out.section("[process]");
    out.string("shutdown-timeout", &duration::format(process.shutdown_timeout));
    if process.control != Control::Default {
        out.string("control", &process.control.to_string());
    }
    if let Some(metrics) = &process.metrics {
        out.string("metrics", &metrics.to_string());
    }
    if let Some(budget) = process.monthly_budget {
        out.string("monthly-budget", &budget.to_string());
    }
    out.switch("hex-dump", process.hex_dump);
    out.switch("no-sandbox", process.no_sandbox);
    for (key, path) in [
        ("state-directory", &process.state_directory),
        ("record-up", &process.record_up),
        ("record-down", &process.record_down),
    ] {
        if let Some(path) = path {
            out.string(key, &path.display().to_string());
        }
    }
}

/// A TOML document that is being written.
#[derive(Default)]
struct Document {
    text: String,
}

impl Document {
    fn section(&mut self, head: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(head);
    }

    fn string(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {}", quoted(value)));
    }

    fn list(&mut self, key: &str, values: impl Iterator<Item = String>) {
        let values: Vec<String> = values.map(|value| quoted(&value)).collect();
        self.line(&format!("{key} = [{}]", values.join(", ")));
    }

    fn number(&mut self, key: &str, value: impl std::fmt::Display) {
        self.line(&format!("{key} = {value}"));
    }

    fn switch(&mut self, key: &str, on: bool) {
        self.line(&format!("{key} = {on}"));
    }

    fn choice(&mut self, key: &str, value: impl Choice) {
        self.string(key, value.word());
    }

    /// Shows only that a secret is given.
    fn secret(&mut self, key: &str, given: bool) {
        if given {
            self.string(key, "***");
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if !is_printable(c) => {
                write!(quoted, "\\U{:08X}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_string_it_is_one_string_of_toml() {
        for text in [
            "plain",
            "with \"quotes\"",
            "back\\slash",
            "line\nend",
            "nul\0",
            "grüße",
            "tab\t\x7f",
            "\u{202E}\u{E0041}",
        ] {
            let document = format!("key = {}", quoted(text));
            let table = toml::de::DeTable::parse(&document).expect("TOML");
            assert_eq!(table.get_ref().get("key").and_then(|value| value.get_ref().as_str()), Some(text));
        }
    }
}
