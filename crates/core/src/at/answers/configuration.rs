//! Settings: those of TLS, and those that every program on the modem shares.

use std::fmt;
use std::str::FromStr;

use super::{Answer, text, values, without_storage};
use crate::at::parse::fields;

/// A TLS setting as it is: `+QSSLCFG: "<key>",<number>[,<value>]` (PROTOCOL section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsSetting<'a> {
    /// Its name.
    pub key: &'a str,
    /// The SSL context, or the number of an authority in "cacertex".
    pub number: u8,
    /// Everything after the number, as the module writes it, with its quotes. There may be a secret in it.
    pub value: Option<&'a str>,
}

impl<'a> TlsSetting<'a> {
    /// The file that the value names, without the storage.
    pub fn file(&self) -> Option<&'a str> {
        self.value.map(file_in)
    }
}

impl<'a> Answer<'a> for TlsSetting<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut all = values(line, "+QSSLCFG")?;
        Some(TlsSetting { key: all.next()?.trim(), number: all.number()?, value: all.rest() })
    }
}

/// The file that the value of a setting names, without quotes and storage. What follows it, a key's password, is left
/// out.
pub fn file_in(value: &str) -> &str {
    without_storage(fields(value).next().unwrap_or("").trim())
}

/// A setting that is not about TLS, as it is: `+QICFG: "<key>",<value>`, `+CNMI: <value>`. The lists of test commands are
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSetting<'a> {
    command: &'a str,
    key: Option<&'a str>,
    /// Everything after its name, as the module writes it.
    pub value: &'a str,
}

impl SharedSetting<'_> {
    /// Whether this line, without `AT`, asks for it: `+QICFG="viewmode"`, `+CNMI?`.
    pub(crate) fn is_asked_by(&self, line: &str) -> bool {
        match self.key {
            Some(key) => line.split_once("=\"").is_some_and(|(command, asked)| {
                command == self.command && asked.strip_suffix('"') == Some(key)
            }),
            None => line.strip_suffix('?') == Some(self.command),
        }
    }
}

impl<'a> Answer<'a> for SharedSetting<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (command, rest) = line.split_once(':')?;
        let rest = rest.trim();
        let (key, value) = match rest.strip_prefix('"') {
            Some(rest) => rest.split_once("\",").map(|(key, value)| (Some(key), value.trim()))?,
            None => (None, rest),
        };
        (!value.starts_with('(')).then_some(SharedSetting { command, key, value })
    }
}

/// The names of the ports that URCs can leave by: `+QURCCFG: "urcport",("usbat","usbmodem","uart1","all")` (PROTOCOL
/// section 2, URCs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrcPorts<'a>(pub Vec<&'a str>);

impl<'a> Answer<'a> for UrcPorts<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (_, list) = text(line, "+QURCCFG")?.strip_prefix("\"urcport\",")?.split_once('(')?;
        let names = fields(list.split_once(')')?.0).take(PORTS_MAX);
        Some(UrcPorts(names.filter(|name| !name.is_empty()).collect()))
    }
}

/// What AT+CMUX takes, from AT+CMUX=?: `+CMUX: (0),(0-2),(1-8),(1-32768),…` (PROTOCOL section 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmuxRanges {
    /// N1: how many bytes of payload a frame may carry.
    pub frame_bytes: std::ops::RangeInclusive<u16>,
}

impl<'a> Answer<'a> for CmuxRanges {
    fn of(line: &'a str) -> Option<Self> {
        let (_, list) = text(line, "+CMUX")?.split_once('(')?;
        // The groups are parted by commas, and there may be some inside them.
        let group = list.split(')').nth(3)?.trim_start_matches([',', ' ', '(']);
        let (least, most) = group.split_once('-').unwrap_or((group, group));
        Some(CmuxRanges { frame_bytes: least.trim().parse().ok()?..=most.trim().parse().ok()? })
    }
}

/// What becomes of messages that arrive, the values of AT+CNMI: `<mode>,<messages>,<broadcasts>,<reports>,<buffer>`
/// (3GPP TS 27.005, 3.4.1). Those that are left out are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageSettings {
    /// When messages are announced at all.
    pub mode: u8,
    /// SMS: 2 and 3 show them, 1 announces where they are stored.
    pub messages: u8,
    /// Cell broadcasts: likewise; 0 drops them.
    pub broadcasts: u8,
    /// Reports on messages that were sent: 1 shows them, 2 announces where they are stored.
    pub reports: u8,
    /// What becomes of what was held back meanwhile.
    pub buffer: u8,
}

impl FromStr for MessageSettings {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = [0; 5];
        for (number, text) in numbers.iter_mut().zip(fields(text)) {
            *number = text.parse()?;
        }
        let [mode, messages, broadcasts, reports, buffer] = numbers;
        Ok(MessageSettings { mode, messages, broadcasts, reports, buffer })
    }
}

impl fmt::Display for MessageSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageSettings { mode, messages, broadcasts, reports, buffer } = self;
        write!(f, "{mode},{messages},{broadcasts},{reports},{buffer}")
    }
}

/// Another program's MQTT client: `+QMTCONN: <client>,<state>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MqttClient {
    /// It is connecting (2) or connected (3), so messages for it can arrive.
    pub is_active: bool,
}

impl Answer<'_> for MqttClient {
    fn of(line: &str) -> Option<Self> {
        let state: u8 = values(line, "+QMTCONN")?.nth(1)?.parse().ok()?;
        Some(MqttClient { is_active: matches!(state, 2 | 3) })
    }
}

/// The most names of ports that are kept of what a module lists.
const PORTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_setting_is_read_with_its_value_as_it_stands() {
        for (line, wanted) in [
            (
                "+QSSLCFG: \"cacert\",1,\"UFS:a.pem\"",
                Some(("cacert", 1, Some("\"UFS:a.pem\""), Some("a.pem"))),
            ),
            ("+QSSLCFG: \"cacert\",1,RAM:a.pem", Some(("cacert", 1, Some("RAM:a.pem"), Some("RAM:a.pem")))),
            (
                "+QSSLCFG: \"clientkey\",0,\"UFS:a.key\",\"secret\"",
                Some(("clientkey", 0, Some("\"UFS:a.key\",\"secret\""), Some("a.key"))),
            ),
            ("+QSSLCFG: \"cacert\",\"1\",", Some(("cacert", 1, Some(""), Some("")))),
            ("+QSSLCFG: \"seclevel\",5", Some(("seclevel", 5, None, None))),
            ("+QSSLCFG: \"sni\",(0-5),(0,1)", None),
            ("+QSSLCFG: \"sni\",256,1", None),
            ("+QSSLCFG: \"sni\"", None),
            ("+QSSLOPEN: 1,0", None),
        ] {
            let read = TlsSetting::of(line).map(|read| (read.key, read.number, read.value, read.file()));
            assert_eq!(read, wanted, "{line}");
        }
    }

    #[test]
    fn a_shared_setting_belongs_to_the_line_that_asks_for_it() {
        for (line, question, value) in [
            ("+QICFG: \"viewmode\",0", "+QICFG=\"viewmode\"", "0"),
            ("+QICFG: \"dataformat\",0,1", "+QICFG=\"dataformat\"", "0,1"),
            ("+QURCCFG: \"urcport\",\"usbat\"", "+QURCCFG=\"urcport\"", "\"usbat\""),
            ("+CNMI: 2,1,0,0,0", "+CNMI?", "2,1,0,0,0"),
        ] {
            let setting = SharedSetting::of(line).expect(line);
            assert_eq!(setting.value, value);
            for other in
                ["+QICFG=\"viewmode\"", "+QICFG=\"dataformat\"", "+QURCCFG=\"urcport\"", "+CNMI?", "+QICFG?"]
            {
                assert_eq!(setting.is_asked_by(other), other == question, "{line} {other}");
            }
        }
        for line in
            ["+QURCCFG: \"urcport\",(\"usbat\",\"all\")", "+CNMI: (0-2),(0-3)", "+QICFG: \"viewmode\"", "OK"]
        {
            assert_eq!(SharedSetting::of(line), None, "{line}");
        }
    }

    #[test]
    fn ports_are_read_from_their_list_alone() {
        let ports = |line| UrcPorts::of(line).map(|ports| ports.0);
        assert_eq!(
            ports("+QURCCFG: \"urcport\",(\"usbat\",\"usbmodem\",\"uart1\",\"all\")"),
            Some(vec!["usbat", "usbmodem", "uart1", "all"])
        );
        for line in [
            "+QURCCFG: \"urcport\",\"usbat\"",
            "+QURCCFG: \"urcport\",(\"usbat\"",
            "+QICFG: \"urcport\",(\"a\")",
        ] {
            assert_eq!(ports(line), None, "{line}");
        }
        let many = format!("+QURCCFG: \"urcport\",({})", "\"a\",".repeat(1000));
        assert_eq!(ports(&many).map(|names| names.len()), Some(PORTS_MAX));
    }

    #[test]
    fn settings_of_messages_are_read_as_they_are_written() {
        for (text, wanted) in [
            ("2,1,0,0,0", Some("2,1,0,0,0")),
            ("2,2", Some("2,2,0,0,0")),
            (" 1, 3,2,1,0,9", Some("1,3,2,1,0")),
            ("2,999,0,0,0", None),
            ("", None),
        ] {
            let read = text.parse::<MessageSettings>().ok().map(|read| read.to_string());
            assert_eq!(read.as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn an_mqtt_client_is_active_from_connecting_on() {
        for (line, wanted) in [
            ("+QMTCONN: 0,1", Some(false)),
            ("+QMTCONN: 0,2", Some(true)),
            ("+QMTCONN: 5,3", Some(true)),
            ("+QMTCONN: 0,4", Some(false)),
            ("+QMTCONN: (0-5)", None),
        ] {
            assert_eq!(MqttClient::of(line).map(|client| client.is_active), wanted, "{line}");
        }
    }
}
