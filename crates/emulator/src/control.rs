//! What `qssl-modem-emulator ctl` can have a running modem do: the actions with their words, and what each does.
//!
//! An action is sent as one line of JSON to the socket of `--control`; the reply is one line, `{"Ok": text}` or
//! `{"Err": text}`.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::cli::{LONGEST_TIME, clock_seconds, duration, is_signal, signal};
use crate::config::{Cell, Registration};
use crate::modem::Modem;

/// What a running modem is told to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Show what the modem is, has open, and has done.
    Status,
    /// Reboot as after a crash: nothing is sent, and RDY comes after --boot-time.
    Reboot,
    /// Do nothing and send nothing for this time.
    Stall {
        /// For how long.
        #[arg(value_parser = duration)]
        time: Duration,
    },
    /// Take the modem's pseudoterminals away for this time, as if it was unplugged; it boots afterwards.
    Unplug {
        /// For how long.
        #[arg(value_parser = duration)]
        time: Duration,
    },
    /// Change how the mobile network treats the modem. Losing the registration ends all data sessions.
    Network {
        /// How.
        #[arg(value_enum)]
        state: NetworkState,
    },
    /// Set the first figure of AT+CSQ.
    Signal {
        /// 0 to 31, or 99 for unknown.
        #[arg(value_parser = signal)]
        value: u8,
    },
    /// Set what AT+QCSQ and AT+QENG show besides, and AT+QTEMP.
    Cell {
        /// In dBm.
        #[arg(long, allow_hyphen_values = true, value_parser = measured())]
        rsrp: Option<i32>,
        /// In dB.
        #[arg(long, allow_hyphen_values = true, value_parser = measured())]
        rsrq: Option<i32>,
        /// In dB.
        #[arg(long, allow_hyphen_values = true, value_parser = measured())]
        sinr: Option<i32>,
        /// Of LTE.
        #[arg(long)]
        band: Option<u8>,
        /// In degrees Celsius.
        #[arg(long, allow_hyphen_values = true, value_parser = measured())]
        temperature: Option<i32>,
    },
    /// The network deactivates a PDP context: `+QIURC: "pdpdeact"` reports it.
    Pdpdeact {
        /// The context.
        #[arg(default_value = "1", value_parser = clap::value_parser!(u8).range(1..=24))]
        context: u8,
    },
    /// Lose a PDP context without a word: opens fail, and AT+QIACT? shows it.
    LosePdp {
        /// The context.
        #[arg(default_value = "1", value_parser = clap::value_parser!(u8).range(1..=24))]
        context: u8,
    },
    /// Cut a connection, as if the network had reset it.
    Close {
        /// The number of the socket.
        #[arg(value_parser = clap::value_parser!(u8).range(0..=11))]
        socket: u8,
        /// It is one of AT+QIOPEN, not of AT+QSSLOPEN.
        #[arg(long)]
        plain: bool,
    },
    /// Answer the next sends with SEND FAIL.
    SendFail {
        /// How many.
        #[arg(default_value = "1")]
        count: u32,
    },
    /// Fail the next open with this result code.
    OpenFail {
        /// Such as 565 for a name that is not found.
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        code: u16,
    },
    /// Never answer the next open.
    OpenSilent,
    /// Refuse the next closes.
    RefuseCloses {
        /// How many.
        #[arg(default_value = "1")]
        count: u32,
    },
    /// Lose the results of the next commands.
    LoseResults {
        /// How many.
        #[arg(default_value = "1")]
        count: u32,
    },
    /// Delay the answer to the next command.
    Delay {
        /// By how much.
        #[arg(value_parser = duration)]
        time: Duration,
    },
    /// Send a URC by the URC port.
    Urc {
        /// Without line ends, such as +QIND: SMS DONE.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        text: Vec<String>,
    },
    /// Put bytes on a port as they are.
    Bytes {
        /// The port, counted from 0 in the order in which they are printed.
        port: usize,
        /// With \r, \n, \\ and \xNN for what cannot be typed.
        #[arg(allow_hyphen_values = true)]
        text: String,
    },
    /// An SMS arrives; AT+CNMI sets whether it is shown.
    Sms {
        /// What it says.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        text: Vec<String>,
    },
    /// Set the modem's clock.
    Clock {
        /// Seconds since 1970.
        #[arg(value_parser = clock_seconds)]
        seconds: i64,
    },
    /// Delete every stored file.
    DeleteFiles,
    /// Remove the faults that are set, but not a stall.
    Calm,
}

/// How the mobile network treats the modem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkState {
    /// It is registered at home.
    Home,
    /// It is registered, roaming.
    Roaming,
    /// It is refused.
    Denied,
    /// No network is found.
    Lost,
}

impl Action {
    /// Whether the command line would take its values. Another program may write others to the socket.
    pub(crate) fn is_in_range(&self) -> bool {
        match self {
            Action::Stall { time } | Action::Unplug { time } | Action::Delay { time } => {
                *time <= LONGEST_TIME
            }
            Action::Signal { value } => is_signal(*value),
            Action::Cell { rsrp, rsrq, sinr, temperature, .. } => {
                let figures = [rsrp, rsrq, sinr, temperature];
                figures.into_iter().flatten().all(|figure| MEASURED.contains(&i64::from(*figure)))
            }
            Action::Clock { seconds } => clock_seconds(&seconds.to_string()).is_ok(),
            _ => true,
        }
    }

    /// Does to the modem what concerns the modem alone, and returns what there is to say about it.
    ///
    /// # Errors
    /// There is no such socket or port, or the text cannot be read.
    pub(crate) fn apply(&self, modem: &mut Modem, ports: usize, now: Instant) -> Result<String, String> {
        match self {
            // The driver has more to show, and the ports.
            Action::Status | Action::Unplug { .. } => {}
            Action::Reboot => modem.reboot(now),
            Action::Stall { time } => modem.stall(now + *time),
            Action::Network { state } => modem.set_registration(
                match state {
                    NetworkState::Home => Registration::After(Duration::ZERO),
                    NetworkState::Roaming => Registration::RoamingAfter(Duration::ZERO),
                    NetworkState::Denied => Registration::Denied,
                    NetworkState::Lost => Registration::Searching,
                },
                now,
            ),
            Action::Signal { value } => modem.set_signal(*value),
            Action::Cell { rsrp, rsrq, sinr, band, temperature } => {
                let cell = modem.cell_mut();
                *cell = Cell {
                    rsrp: rsrp.or(cell.rsrp),
                    rsrq: rsrq.unwrap_or(cell.rsrq),
                    sinr: sinr.unwrap_or(cell.sinr),
                    band: band.unwrap_or(cell.band),
                    temperature: temperature.or(cell.temperature),
                };
            }
            Action::Pdpdeact { context } | Action::LosePdp { context } if !modem.pdp_active(*context) => {
                return Err(format!("PDP context {context} is not active"));
            }
            Action::Pdpdeact { context } => modem.drop_pdp(*context, now),
            Action::LosePdp { context } => modem.lose_pdp_silently(*context, now),
            Action::Close { socket, plain } => {
                let used = if *plain { modem.plain_sockets_in_use() } else { modem.sockets_in_use() };
                if !used.contains(socket) {
                    return Err(format!("socket {socket} is free"));
                }
                match plain {
                    true => modem.close_plain_socket(*socket, now),
                    false => modem.close_socket(*socket, now),
                }
            }
            Action::SendFail { count } => modem.fail_next_sends(*count),
            Action::OpenFail { code } => modem.fail_next_open(*code),
            Action::OpenSilent => modem.never_answer_next_open(),
            Action::RefuseCloses { count } => modem.refuse_next_closes(*count),
            Action::LoseResults { count } => modem.lose_next_results(*count),
            Action::Delay { time } => modem.delay_next_answer(*time),
            Action::Urc { text } => modem.inject_urc(&text.join(" "), now),
            Action::Bytes { port, text } => {
                if *port >= ports {
                    return Err(format!("there is no port {port}, they are counted from 0"));
                }
                modem.inject(*port, &unescaped(text)?);
            }
            Action::Sms { text } => modem.receive_sms(&text.join(" "), now),
            Action::Clock { seconds } => modem.set_clock(*seconds, now),
            Action::DeleteFiles => modem.delete_files(),
            Action::Calm => modem.calm_down(),
        }
        Ok(String::new())
    }
}

/// The bytes of a text with `\r`, `\n`, `\\` and `\xNN`.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{text:?} has a \\ that is not one of \\r, \\n, \\\\ and \\xNN");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, length) = match (first, after) {
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', digits @ ..]) => {
                let digits = digits.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                (byte.ok_or_else(wrong)?, 4)
            }
            (b'\\', _) => return Err(wrong()),
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    Ok(bytes)
}

fn measured() -> clap::builder::RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(MEASURED)
}

/// Any figure of a cell in dBm or dB, and any temperature.
const MEASURED: RangeInclusive<i64> = -200..=200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_with_escapes() {
        assert_eq!(unescaped(r"\r\n+X: \\\x00\xfF"), Ok(b"\r\n+X: \\\x00\xff".to_vec()));
        for wrong in [r"\", r"\x", r"\x1", r"\xgg", r"\x+f", r"\t", "\\x\u{e4}"] {
            assert!(unescaped(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_action_is_the_same_after_it_was_sent() {
        let actions = [
            Action::Status,
            Action::Unplug { time: Duration::from_millis(1_500) },
            Action::Network { state: NetworkState::Lost },
            Action::Cell { rsrp: Some(-110), rsrq: None, sinr: Some(-3), band: Some(20), temperature: None },
            Action::Urc { text: vec!["+QIND:".into(), "\"smsdone\"".into()] },
        ];
        for action in actions {
            let line = serde_json::to_string(&action).expect("plain data");
            assert_eq!(serde_json::from_str::<Action>(&line).expect(&line), action);
        }
    }
}
