//! Sockets, and why the last command about one was refused.

use super::{Answer, values};
use crate::at::{AccessMode, CommandSet, ResultCode, SocketId, SslContextId};

/// A socket as the modem sees it: `+QSSLSTATE: <id>,"SSLClient","<ip>",<remote port>,<local port>,<state>,<PDP
/// context>,<server id>,<mode>,"<AT port>",<SSL context>` (PROTOCOL section 2, AT+QSSLSTATE), or `+QISTATE` with the same
/// fields but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketStatus<'a> {
    /// The commands of its connection, which reported it.
    pub set: CommandSet,
    /// Its number.
    pub id: SocketId,
    /// The address of its server.
    pub address: Option<&'a str>,
    /// The port of its server.
    pub remote_port: Option<u16>,
    /// Its own port; some modules list 0.
    pub local_port: Option<u16>,
    /// How far it is.
    pub state: SocketState,
    /// By what its bytes come and go.
    pub mode: Option<AccessMode>,
    /// The modem's name of the port that opened it: at most 16 letters and digits.
    pub at_port: Option<&'a str>,
    /// Its TLS settings.
    pub ssl: Option<SslContextId>,
}

/// How far a socket is (both manuals, 2.1.6 and 2.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// 0: its number is free.
    Free,
    /// 1
    Opening,
    /// 2
    Connected,
    /// 4, and 3 in old firmware.
    Closing,
    /// The line has none, or another. The number is in use all the same: it is listed.
    Unknown,
}

impl<'a> Answer<'a> for SocketStatus<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let set = CommandSet::ALL.into_iter().find(|set| line.starts_with(set.names().state))?;
        let mut all = values(line, set.names().state)?;
        let id = all.number().and_then(SocketId::new)?;
        let address = all.nth(1);
        let [remote_port, local_port] = [all.number(), all.number()];
        let state = match all.next().and_then(|state| state.parse::<u8>().ok()) {
            Some(0) => SocketState::Free,
            Some(1) => SocketState::Opening,
            Some(2) => SocketState::Connected,
            Some(3 | 4) => SocketState::Closing,
            _ => SocketState::Unknown,
        };
        let mode = match all.nth(2) {
            Some("0") => Some(AccessMode::Buffer),
            Some("1") => Some(AccessMode::Push),
            Some("2") => Some(AccessMode::Transparent),
            _ => None,
        };
        let at_port = all.next().filter(|name| is_port_name(name));
        let ssl = all.number().and_then(SslContextId::new);
        Some(SocketStatus { set, id, address, remote_port, local_port, state, mode, at_port, ssl })
    }
}

fn is_port_name(name: &str) -> bool {
    (1..=PORT_NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What a plain connection has sent: `+QISEND: <sent>,<acknowledged>,<not acknowledged>` (TCP/IP application note,
/// AT+QISEND).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentCounts {
    /// Bytes that the server has acknowledged.
    pub acknowledged: u64,
}

impl Answer<'_> for SentCounts {
    fn of(line: &str) -> Option<Self> {
        let acknowledged = values(line, "+QISEND")?.nth(1)?.parse().ok()?;
        Some(SentCounts { acknowledged })
    }
}

/// Why the last command about sockets was refused: `+QIGETERROR: <code>,<text>`. 0 where the modem has no reason
/// (PROTOCOL section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastError(pub ResultCode);

impl LastError {
    /// The reason, if the modem has one.
    pub fn reason(lines: &[String]) -> Option<ResultCode> {
        Self::first(lines).map(|LastError(code)| code).filter(|code| code.0 != 0)
    }
}

impl Answer<'_> for LastError {
    fn of(line: &str) -> Option<Self> {
        values(line, "+QIGETERROR")?.number().map(ResultCode).map(LastError)
    }
}

/// The longest name of a port, in bytes.
const PORT_NAME_MAX_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sockets_line_is_read_field_by_field() {
        use SocketState::{Closing, Connected, Free, Opening, Unknown};
        for (rest, wanted) in [
            // The manuals', and those of an EC25.
            (
                "4,\"SSLClient\",\"220.180.239.201\",8011,49153,4,1,4,0,\"uart1\",1",
                Some((4, Some(8011), Closing, Some("uart1"), Some(1))),
            ),
            (
                "11,\"SSLClient\",\"192.168.32.48\",55647,2020,2,1,3,0,\"usbmodem\",1",
                Some((11, Some(55647), Connected, Some("usbmodem"), Some(1))),
            ),
            (
                "2,\"SSLClient\",\"10.101.234.65\",0,9999,3,1,2,0,\"uart1\",1",
                Some((2, Some(0), Closing, Some("uart1"), Some(1))),
            ),
            (
                "3,\"SSLClient\",\"0.0.0.0\",0,0,0,1,3,0,\"uart1\",0",
                Some((3, Some(0), Free, Some("uart1"), Some(0))),
            ),
            ("3,\"SSLClient\",\"::1\",443,0,1", Some((3, Some(443), Opening, None, None))),
            // Cut short or altered: the number is in use, and that is all.
            ("3", Some((3, None, Unknown, None, None))),
            ("3,\"SSLClient\",\"1.2.3.4\",70000,0,256,1,3,0,\"a;b\",6", Some((3, None, Unknown, None, None))),
            (
                "3,\"SSLClient\",\"1.2.3.4\",443,0,5,1,3,0,\"seventeenletters17\",0",
                Some((3, Some(443), Unknown, None, Some(0))),
            ),
            ("12,\"SSLClient\",\"1.2.3.4\",443,0,2,1,3,0,\"uart1\",1", None),
            ("(0-11)", None),
        ] {
            let line = format!("+QSSLSTATE: {rest}");
            let read = SocketStatus::of(&line).map(
                |SocketStatus { id, remote_port, state, at_port, ssl, .. }| {
                    (id.index(), remote_port, state, at_port, ssl.map(SslContextId::index))
                },
            );
            assert_eq!(read, wanted, "{rest}");
        }
        let plain = "+QISTATE: 0,\"TCP\",\"192.0.2.2\",443,49154,2,1,0,0,\"uart1\"";
        let read =
            SocketStatus::of(plain).map(|it| (it.set, it.id.index(), it.remote_port, it.state, it.at_port));
        assert_eq!(read, Some((CommandSet::Ip, 0, Some(443), Connected, Some("uart1"))));
    }

    #[test]
    fn the_last_error_is_read() {
        assert_eq!(LastError::of("+QIGETERROR: 566,connect failed"), Some(LastError(ResultCode(566))));
        let lines = |code: u32| [format!("+QIGETERROR: {code},\"\"")];
        assert_eq!(LastError::reason(&lines(552)), Some(ResultCode(552)));
        for code in [0, 65_536] {
            assert_eq!(LastError::reason(&lines(code)), None, "{code}");
        }
    }
}
