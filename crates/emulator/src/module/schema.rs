//! The keys that a file about a module can have: the form of each value, its range, and what it sets.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::{Config, PortName};
use crate::facts::Spreads;
use crate::mux::state::MuxSettings;

/// The version of the schema that is understood.
pub(super) const SCHEMA: u64 = 1;

/// A key of a table whose keys are known.
pub(super) struct Key {
    /// Table and key: `limits.sockets`.
    pub(super) name: &'static str,
    pub(super) form: Form,
}

/// The form of a value, and what it sets.
pub(super) enum Form {
    Number(RangeInclusive<u64>, fn(&mut Config, u64)),
    /// A number in each of these ranges.
    Numbers(&'static [RangeInclusive<u64>], fn(&mut Config, &[u64])),
    /// A line of text.
    Line(fn(&mut Config, String)),
    /// A text without blanks.
    Word(fn(&mut Config, String)),
    Lines(fn(&mut Config, Vec<String>)),
    /// One of these texts.
    Choice(&'static [&'static str], fn(&mut Config, &str)),
    /// Some of these texts, and how many at least, in any order.
    Choices(&'static [&'static str], usize, fn(&mut Config, &[String])),
    /// A time, and its spread if it can have one.
    Time(fn(&mut Config) -> &mut Duration, Option<fn(&mut Spreads) -> &mut Duration>),
}

/// Tables whose keys are names of commands, of settings, of quirks, and codes.
pub(super) const OPEN_TABLES: [&str; 4] = ["answers", "keys", "habits", "codes"];

/// What an interface of the USB composition is for.
const USB_FUNCTIONS: [&str; 7] = ["dm", "gnss", "at", "modem", "network", "log", "other"];
/// The two forms of AT+CCLK's time.
const CLOCK_FORMS: [&str; 2] = ["yy/MM/dd,hh:mm:ss±zz", "yyyy/MM/dd,hh:mm:ss±zz"];
/// What a clock shows that was never set.
const UNSET_CLOCKS: [&str; 2] = ["1980-01-06", "1970-01-01"];
const MODES: [&str; 3] = ["buffer", "push", "transparent"];
/// Subset, port speed, N1, T1, N2, T2, T3, k (CMUX, 3GPP TS 27.007 5.7).
const CMUX_RANGES: [RangeInclusive<u64>; 8] =
    [0..=2, 1..=8, 1..=32_768, 1..=255, 0..=100, 2..=255, 1..=255, 1..=7];
const LARGEST_BUFFER_BYTES: u64 = 1 << 24;
const LARGEST_STORAGE_BYTES: u64 = 1 << 30;

/// All keys of tables whose keys are known.
pub(super) const KEYS: &[Key] = &[
    key("identity.manufacturer", Form::Line(|config, text| config.facts.manufacturer = text)),
    key("identity.model", Form::Word(|config, text| set_identity(config, Some(text), None))),
    key("identity.revision", Form::Word(|config, text| set_identity(config, None, Some(text)))),
    key("identity.lines", Form::Lines(|config, lines| config.facts.product_lines = Some(lines))),
    // Nothing here has a USB descriptor: these two are for people and for gadgets that a test makes.
    key("usb.vendor", Form::Number(0..=0xFFFF, |_, _| {})),
    key("usb.product", Form::Number(0..=0xFFFF, |_, _| {})),
    key("usb.interfaces", Form::Choices(&USB_FUNCTIONS, 0, set_ports)),
    key("limits.sockets", Form::Number(1..=12, |config, count| config.facts.limits.sockets = count as u8)),
    key(
        "limits.ssl_contexts",
        Form::Number(1..=6, |config, count| config.facts.limits.ssl_contexts = count as u8),
    ),
    key(
        "limits.pdp_contexts",
        Form::Number(1..=24, |config, count| config.facts.limits.pdp_contexts = Some(count as u8)),
    ),
    key(
        "limits.send_bytes",
        Form::Number(1..=1_460, |config, bytes| config.facts.limits.send_bytes = bytes as usize),
    ),
    key(
        "limits.read_bytes",
        Form::Number(1..=16_384, |config, bytes| config.facts.limits.read_bytes = bytes as usize),
    ),
    key(
        "limits.push_bytes",
        Form::Number(1..=16_384, |config, bytes| config.push_limit_bytes = bytes as usize),
    ),
    key(
        "limits.send_buffer_bytes",
        Form::Number(1_460..=LARGEST_BUFFER_BYTES, |config, bytes| config.send_buffer_bytes = bytes as usize),
    ),
    key(
        "limits.receive_buffer_bytes",
        Form::Number(1..=LARGEST_BUFFER_BYTES, |config, bytes| config.receive_buffer_bytes = bytes as usize),
    ),
    key(
        "limits.storage_bytes",
        Form::Number(0..=LARGEST_STORAGE_BYTES, |config, bytes| config.storage_bytes = bytes as usize),
    ),
    key(
        "limits.storage_occupied_bytes",
        Form::Number(0..=LARGEST_STORAGE_BYTES, |config, bytes| {
            config.storage_occupied_bytes = bytes as usize;
        }),
    ),
    key(
        "limits.ram_storage_bytes",
        Form::Number(0..=LARGEST_STORAGE_BYTES, |config, bytes| config.ram_storage_bytes = bytes as usize),
    ),
    key(
        "limits.command_line_bytes",
        Form::Number(64..=65_536, |config, bytes| config.command_line_limit_bytes = bytes as usize),
    ),
    key(
        "limits.modes",
        Form::Choices(&MODES, 1, |config, modes| {
            config.facts.limits.modes = MODES.map(|mode| modes.iter().any(|it| it == mode));
        }),
    ),
    key(
        "latencies.command",
        Form::Time(|config| &mut config.command_latency, Some(|spreads| &mut spreads.command)),
    ),
    key(
        "latencies.prompt",
        Form::Time(|config| &mut config.prompt_latency, Some(|spreads| &mut spreads.prompt)),
    ),
    key("latencies.send", Form::Time(|config| &mut config.send_latency, Some(|spreads| &mut spreads.send))),
    key("latencies.send_byte", Form::Time(|config| &mut config.send_latency_per_byte, None)),
    key(
        "latencies.receive",
        Form::Time(|config| &mut config.receive_latency, Some(|spreads| &mut spreads.receive)),
    ),
    key("latencies.open", Form::Time(|config| &mut config.open_latency, Some(|spreads| &mut spreads.open))),
    key(
        "latencies.close",
        Form::Time(|config| &mut config.close_latency, Some(|spreads| &mut spreads.close)),
    ),
    key(
        "latencies.activation",
        Form::Time(|config| &mut config.activation_latency, Some(|spreads| &mut spreads.activation)),
    ),
    key("latencies.boot", Form::Time(|config| &mut config.boot_time, Some(|spreads| &mut spreads.boot))),
    key("latencies.escape", Form::Time(|config| &mut config.escape_guard, None)),
    key("cmux.answer", Form::Line(|config, line| config.facts.cmux.answer = line)),
    key("cmux.defaults", Form::Numbers(&CMUX_RANGES, set_cmux)),
    key("cmux.longest", Form::Number(31..=32_768, |config, bytes| config.facts.cmux.longest = bytes as u32)),
    key(
        "clock.format",
        Form::Choice(&CLOCK_FORMS, |config, form| config.quirks.four_digit_year = form == CLOCK_FORMS[1]),
    ),
    key(
        "clock.unset",
        Form::Choice(&UNSET_CLOCKS, |config, date| {
            config.clock = (date == UNSET_CLOCKS[1]).then_some(0);
        }),
    ),
];

const fn key(name: &'static str, form: Form) -> Key {
    Key { name, form }
}

/// The names of all tables.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    let closed = KEYS.iter().filter_map(move |key| {
        let (table, _) = key.name.split_once('.')?;
        let is_new = table != last;
        last = table;
        is_new.then_some(table)
    });
    closed.chain(OPEN_TABLES)
}

/// Model and revision are one text in `Config`; what is not given is the family's.
fn set_identity(config: &mut Config, model: Option<String>, revision: Option<String>) {
    let (own_model, own_revision) = config.family.identity();
    let given = config.identity.take().unwrap_or(format!("{own_model} {own_revision}"));
    let (given_model, given_revision) = given.split_once(' ').unwrap_or((&given, own_revision));
    let model = model.as_deref().unwrap_or(given_model);
    let revision = revision.as_deref().unwrap_or(given_revision);
    config.identity = Some(format!("{model} {revision}"));
}

/// A USB port exists if an interface is for it.
fn set_ports(config: &mut Config, functions: &[String]) {
    let has = |function: &str| functions.iter().any(|it| it == function);
    config.facts.ports.retain(|port| match port {
        PortName::UsbAt => has("at"),
        PortName::UsbModem => has("modem"),
        PortName::Uart1 | PortName::Uart2 => true,
    });
}

fn set_cmux(config: &mut Config, numbers: &[u64]) {
    let number = |index: usize| numbers[index] as u32;
    config.facts.cmux.defaults = MuxSettings {
        subset: number(0),
        port_speed: number(1),
        longest: number(2),
        acknowledgement_time: number(3),
        retransmissions: number(4),
        response_time: number(5),
        wake_up_time: number(6),
        window: number(7),
    };
}
