//! What is particular to a module and to nothing else in [`Config`](crate::Config): answers that are given as they are, its
//! keys, limits, spreads of latencies. A modem of the manuals has none of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::PortName;
use crate::mux::state::MuxSettings;
use crate::socket::AccessMode;
use crate::ssl_settings::Key;

/// The particulars of a module. The default is a modem of the manuals.
#[derive(Clone, Debug)]
pub struct Facts {
    /// For ATI and AT+CGMI.
    pub manufacturer: String,
    /// The lines of ATI; `None` for manufacturer, model and revision.
    pub product_lines: Option<Vec<String>>,
    /// The lines that AT+NAME=? answers before its OK, by NAME in capitals.
    pub test_answers: BTreeMap<String, Vec<String>>,
    /// The keys of AT+QSSLCFG; `None` for the manual's.
    pub keys: Option<Vec<Key>>,
    /// Ranges of parameters.
    pub limits: Limits,
    /// Texts that differ from the manual's, by code: CME errors, and from 550 on result codes, of which 0 is one too.
    pub code_texts: BTreeMap<u16, String>,
    /// How much latencies differ from the configured ones.
    pub spreads: Spreads,
    /// AT+CMUX.
    pub cmux: Cmux,
    /// The ports that it can have.
    pub ports: Vec<PortName>,
}

/// Ranges of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sockets of each service, numbered from 0; at most 12.
    pub sockets: u8,
    /// SSL contexts, numbered from 0; at most 6.
    pub ssl_contexts: u8,
    /// PDP contexts, numbered from 1; `None` for the manual's.
    pub pdp_contexts: Option<u8>,
    /// Most bytes of one AT+QSSLSEND or AT+QISEND; at most 1,460.
    pub send_bytes: usize,
    /// Most bytes that one AT+QSSLRECV or AT+QIRD answers with.
    pub read_bytes: usize,
    /// Whether sockets have buffer, push and transparent mode, in this order.
    pub modes: [bool; 3],
}

/// For each latency of [`Config`](crate::Config) the most that it is longer or shorter. All times within are equally likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spreads {
    /// Of `command_latency`.
    pub command: Duration,
    /// Of `prompt_latency`.
    pub prompt: Duration,
    /// Of `send_latency`.
    pub send: Duration,
    /// Of `receive_latency`.
    pub receive: Duration,
    /// Of `open_latency`.
    pub open: Duration,
    /// Of `close_latency`.
    pub close: Duration,
    /// Of `activation_latency`.
    pub activation: Duration,
    /// Of `boot_time`.
    pub boot: Duration,
}

/// AT+CMUX of a module.
#[derive(Clone, Debug)]
pub struct Cmux {
    /// The line of AT+CMUX=?.
    pub answer: String,
    /// What holds for parameters that are left out.
    pub defaults: MuxSettings,
    /// The largest N1 that is accepted.
    pub longest: u32,
}

/// Draws times of latencies. It begins anew with every modem, so that runs can be repeated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Draws(u64);

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            manufacturer: "Quectel".into(),
            product_lines: None,
            test_answers: BTreeMap::new(),
            keys: None,
            limits: Limits::default(),
            code_texts: BTreeMap::new(),
            spreads: Spreads::default(),
            cmux: Cmux::default(),
            ports: PortName::ALL.to_vec(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sockets: 12,
            ssl_contexts: 6,
            pdp_contexts: None,
            send_bytes: 1_460,
            read_bytes: 1_500,
            modes: [true; 3],
        }
    }
}

impl Limits {
    pub(crate) fn last_socket(&self) -> u8 {
        self.sockets.saturating_sub(1)
    }

    pub(crate) fn last_ssl_context(&self) -> u8 {
        self.ssl_contexts.saturating_sub(1)
    }

    pub(crate) fn has_mode(&self, mode: AccessMode) -> bool {
        let [buffer, push, transparent] = self.modes;
        match mode {
            AccessMode::Buffer => buffer,
            AccessMode::Push => push,
            AccessMode::Transparent => transparent,
        }
    }
}

impl Default for Cmux {
    /// The EC25's.
    fn default() -> Cmux {
        Cmux {
            answer: "+CMUX: (0),(0-2),(1-8),(1-32768),(1-255),(0-100),(2-255),(1-255),(1-7)".into(),
            defaults: MuxSettings::default(),
            longest: 32_768,
        }
    }
}

impl Draws {
    /// A time that differs from `median` by `spread` at most. Without a spread nothing is drawn.
    pub(crate) fn around(&mut self, median: Duration, spread: Duration) -> Duration {
        if spread.is_zero() {
            return median;
        }
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        drawn ^= drawn >> 31;
        let width = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX).saturating_mul(2);
        (median + Duration::from_nanos(drawn % width.saturating_add(1).max(1))).saturating_sub(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::testing::{Bench, milliseconds};

    #[test]
    fn a_latency_is_drawn_within_its_spread_and_the_same_for_every_modem() {
        let spreads = Spreads { command: milliseconds(5), ..Spreads::default() };
        let facts = Facts { spreads, ..Facts::default() };
        let config = Config { facts, command_latency: milliseconds(20), ..Config::default() };
        let times = |config: &Config| {
            let mut bench = Bench::new(config.clone());
            let mut times = Vec::new();
            for _ in 0..50 {
                bench.type_bytes(b"AT\r");
                let begin = bench.now;
                while !bench.output().contains("OK") {
                    bench.pass(Duration::from_micros(100));
                }
                times.push(bench.now - begin);
            }
            times
        };
        let drawn = times(&config);
        assert_eq!(drawn, times(&config));
        assert!(drawn.iter().all(|time| (milliseconds(15)..=milliseconds(26)).contains(time)), "{drawn:?}");
        assert!(drawn.iter().any(|time| *time < milliseconds(18)), "{drawn:?}");
        assert!(drawn.iter().any(|time| *time > milliseconds(22)), "{drawn:?}");
        let even = Config { facts: Facts::default(), ..config };
        assert!(times(&even).iter().all(|time| *time == milliseconds(20)));
    }

    #[test]
    fn a_spread_that_is_longer_than_its_latency_stops_at_nothing() {
        let mut draws = Draws::default();
        let times: Vec<_> = (0..50).map(|_| draws.around(milliseconds(1), milliseconds(10))).collect();
        assert!(times.contains(&Duration::ZERO));
        assert!(times.iter().all(|time| *time <= milliseconds(11)));
    }
}
