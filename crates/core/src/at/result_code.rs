//! The modem's numbers in words, each with what usually causes it and what to do.

use std::fmt;

/// A result code of the TCP/IP and SSL commands: 0 and 550–574 (EC20 manual, 3; EG800Q manual, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultCode(pub u16);

/// The text after `+CME ERROR: `, a number or words, as the modem gave it (3GPP TS 27.007, 9.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmeError(pub String);

impl ResultCode {
    /// 552 invalid parameter
    pub const INVALID_PARAMETER: ResultCode = ResultCode(552);
    /// 553 memory not enough
    pub const NO_MEMORY: ResultCode = ResultCode(553);
    /// 561 open PDP context failed
    pub const PDP_OPEN_FAILED: ResultCode = ResultCode(561);
    /// 563 socket identity in use
    pub const IDENTITY_IN_USE: ResultCode = ResultCode(563);
    /// 564 DNS busy
    pub const DNS_BUSY: ResultCode = ResultCode(564);
    /// 565 DNS parse failed
    pub const DNS_FAILED: ResultCode = ResultCode(565);
    /// 566 connect failed
    pub const CONNECT_FAILED: ResultCode = ResultCode(566);
    /// 568 operation busy
    pub const BUSY: ResultCode = ResultCode(568);
    /// 569 operation timeout
    pub const TIMED_OUT: ResultCode = ResultCode(569);
    /// 570 PDP context broken
    pub const PDP_BROKEN: ResultCode = ResultCode(570);

    /// The manual's words.
    pub(crate) fn words(self) -> &'static str {
        self.row().map_or("unknown result code", |row| row.1)
    }

    /// What usually causes it and what to do; empty where the words are enough.
    pub(crate) fn hint(self) -> &'static str {
        self.row().map_or("", |row| row.2)
    }

    /// Whether another attempt, alone and a little later, may well succeed.
    pub(crate) fn is_busy(self) -> bool {
        self == Self::DNS_BUSY || self == Self::BUSY
    }

    fn row(self) -> Option<&'static (u16, &'static str, &'static str)> {
        TABLE.iter().find(|row| row.0 == self.0)
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.words())?;
        if !self.hint().is_empty() {
            write!(f, " ({})", self.hint())?;
        }
        Ok(())
    }
}

impl CmeError {
    /// The number, where the modem gave one or words that we know.
    pub fn number(&self) -> Option<u16> {
        let text = self.0.trim();
        let results = TABLE.iter().map(|row| (row.0, row.1));
        let mut known = CME_TABLE.iter().copied().chain(results);
        let of_words = || known.find(|(_, words)| words.eq_ignore_ascii_case(text)).map(|row| row.0);
        text.parse().ok().or_else(of_words)
    }

    /// The same number as a result code, if it is one of those.
    pub(crate) fn result_code(&self) -> Option<ResultCode> {
        self.number().filter(|number| (550..=574).contains(number)).map(ResultCode)
    }
}

impl fmt::Display for CmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.result_code() {
            return code.fmt(f);
        }
        match self.number().and_then(|number| CME_TABLE.iter().find(|row| row.0 == number)) {
            Some((number, words)) => write!(f, "CME error {number} {words}"),
            None => write!(f, "CME error {}", self.0),
        }
    }
}

/// Code, words of the manuals, usual causes and what to do.
const TABLE: [(u16, &str, &str); 26] = [
    (0, "operation successful", ""),
    (550, "unknown error", "the module gives no reason"),
    (551, "operation blocked", ""),
    (552, "invalid parameter", "a module that answers every open with this code needs a reboot"),
    (553, "memory not enough", "fewer sockets or smaller certificates help"),
    (554, "create socket failed", ""),
    (555, "operation not supported", "this module or firmware cannot do it"),
    (556, "socket bind failed", ""),
    (557, "socket listen failed", ""),
    (558, "socket write failed", ""),
    (559, "socket read failed", ""),
    (560, "socket accept failed", ""),
    (561, "open PDP context failed", "check --apn and its user, password and authentication"),
    (562, "close PDP context failed", ""),
    (563, "socket identity has been used", "another program uses this socket; see --sockets"),
    (564, "DNS busy", "another look-up is under way"),
    (565, "DNS parse failed", "check the host name, the data session and --dns"),
    (566, "socket connect failed", "refused, unreachable or TLS failed"),
    (567, "socket has been closed", ""),
    (568, "operation busy", "another operation is under way"),
    (569, "operation timeout", "the server or the network did not answer in time"),
    (570, "PDP context break down", "the data session was lost"),
    (571, "cancel send", ""),
    (572, "operation not allowed", ""),
    (573, "APN not configured", "give --apn"),
    (574, "port busy", "the port is used by another connection"),
];

/// The CME errors that a set-up meets, with the standard's words.
const CME_TABLE: [(u16, &str); 21] = [
    (0, "phone failure"),
    (3, "operation not allowed"),
    (4, "operation not supported"),
    (10, "SIM not inserted"),
    (11, "SIM PIN required"),
    (12, "SIM PUK required"),
    (13, "SIM failure"),
    (14, "SIM busy"),
    (15, "SIM wrong"),
    (16, "incorrect password"),
    (20, "memory full"),
    (22, "not found"),
    (30, "no network service"),
    (31, "network timeout"),
    (50, "incorrect parameters"),
    (100, "unknown"),
    (405, "file not found"),
    (406, "invalid file name"),
    (407, "file already exists"),
    (421, "file operation timed out"),
    // What AT+QIGETERROR calls 566.
    (566, "socket connection failed"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_what_it_is_and_what_to_do() {
        let text = ResultCode::CONNECT_FAILED.to_string();
        assert!(text.starts_with("566 socket connect failed (") && text.contains("TLS failed"), "{text}");
        assert_eq!(ResultCode(999).to_string(), "999 unknown result code");
    }

    #[test]
    fn cme_errors_as_number_and_as_text_mean_the_same() {
        assert_eq!(CmeError("13".into()).to_string(), "CME error 13 SIM failure");
        assert_eq!(CmeError("SIM failure".into()).number(), Some(13));
        assert_eq!(CmeError("563".into()).result_code(), Some(ResultCode::IDENTITY_IN_USE));
        assert_eq!(
            CmeError("Open PDP context failed".into()).result_code(),
            Some(ResultCode::PDP_OPEN_FAILED)
        );
        assert_eq!(CmeError("Operation not allowed".into()).number(), Some(3), "the standard's, not 572");
        assert_eq!(CmeError("whatever".into()).to_string(), "CME error whatever");
    }
}
