//! What the information lines of answers mean: each is read here, once, into a small type with checked numbers.
//!
//! No other part looks at their text. Two things are read elsewhere: what a module can do (`ATI`, `AT+QSSLCFG=?` and the
//! other test commands) by the profile, and URCs by the decoder.

mod clock;
mod configuration;
mod files;
mod identity;
mod network;
mod radio;
mod sim;
mod sockets;

pub use clock::Clock;
pub use configuration::{
    CmuxRanges, MessageSettings, MqttClient, SharedSetting, TlsSetting, UrcPorts, file_in,
};
pub use files::{FileSum, ListedFile, Storage, without_storage};
pub use identity::{MadeByQuectel, SerialNumber};
pub use network::{AccessPoint, ContextAddress, NameServers, Operator, PdpContext, Registration, Signal};
pub use radio::{Measured, NoService, ServingCell, Technology, Temperature};
pub use sim::{PinAttempts, SimState};
pub use sockets::{LastError, SentCounts, SocketState, SocketStatus};

use super::parse::{Fields, fields};

/// An information line that has been read.
pub trait Answer<'a>: Sized {
    /// Reads a line; `None` for another line, and for one that lacks what it must have.
    fn of(line: &'a str) -> Option<Self>;

    /// The first such line of an answer.
    fn first(lines: &'a [String]) -> Option<Self> {
        lines.iter().find_map(|line| Self::of(line))
    }

    /// All such lines of an answer, in order.
    fn all(lines: &'a [String]) -> impl Iterator<Item = Self> {
        lines.iter().filter_map(|line| Self::of(line))
    }
}

/// What follows `<name>:` in a line that begins with it.
fn text<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(':').map(str::trim)
}

/// The same as fields.
fn values<'a>(line: &'a str, name: &str) -> Option<Fields<'a>> {
    text(line, name).map(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No type may panic on these lines, nor read a number from them.
    #[test]
    fn hostile_lines_have_no_numbers() {
        let names = [
            "+QSSLSTATE",
            "+QISTATE",
            "+QIGETERROR",
            "+QISEND",
            "+QIACT",
            "+CEREG",
            "+CREG",
            "REG",
            "+CSQ",
            "+COPS",
            "+QICSGP",
            "+QIDNSCFG",
            "+CPIN",
            "+QPINC",
            "+CPINR",
            "+CCLK",
            "+QFLDS",
            "+QFLST",
            "+QFUPL",
            "+QFDWL",
            "+QSSLCFG",
            "+CNMI",
            "+QICFG",
            "+CMUX",
            "+CGPADDR",
            "+QURCCFG",
            "+QMTCONN",
            "+QCSQ",
            "+QENG",
            "+QENG: \"servingcell\",\"NOCONN\",\"LTE\"",
            "+QTEMP",
            "",
        ];
        let rests = [
            "",
            ":",
            ": ",
            ": ,",
            ": \"",
            ": \",",
            ": (",
            ": ()",
            ": \"a",
            ": \"urcport\",(",
            ": \"urcport\",\"usbat",
            ": -1,-1,-1,-1,-1,-1",
            ": 99999999999999999999,99999999999999999999",
            ": \u{FFFD},\u{FFFD}",
            ": ,,,,,,,,,,,,,,,,",
            ": \"\u{FFFD}\",\"é\",é,é",
            ": \"é/é/é,é:é:é+é\"",
            ": 0x,0x,0X",
        ];
        for line in names.iter().flat_map(|name| rests.iter().map(move |rest| format!("{name}{rest}"))) {
            assert_eq!(SocketStatus::of(&line), None, "{line}");
            assert_eq!(LastError::of(&line), None, "{line}");
            assert_eq!(PdpContext::of(&line), None, "{line}");
            assert_eq!(Registration::of(&line), None, "{line}");
            assert_eq!(PinAttempts::of(&line), None, "{line}");
            assert_eq!(Clock::of(&line), None, "{line}");
            assert_eq!(Storage::of(&line), None, "{line}");
            assert_eq!(ListedFile::of(&line), None, "{line}");
            assert_eq!(FileSum::of(&line), None, "{line}");
            assert_eq!(MqttClient::of(&line), None, "{line}");
            assert_eq!(Signal::of(&line).and_then(|signal| signal.dbm), None, "{line}");
            assert!(Measured::of(&line).is_none_or(|it| it == Measured::default()), "{line}");
            assert!(ServingCell::of(&line).is_none_or(|it| it.band.is_none()), "{line}");
            assert!(Temperature::of(&line).is_none_or(|it| matches!(it.0, None | Some(-1))), "{line}");
            assert_eq!(UrcPorts::of(&line), None, "{line}");
            assert_eq!(CmuxRanges::of(&line), None, "{line}");
            assert_eq!(SentCounts::of(&line), None, "{line}");
            assert_eq!(ContextAddress::of(&line), None, "{line}");
            // Texts, which their users compare.
            let _ =
                (AccessPoint::of(&line), NameServers::of(&line), Operator::of(&line), SimState::of(&line));
            let _ = (TlsSetting::of(&line), SharedSetting::of(&line));
        }
    }
}
