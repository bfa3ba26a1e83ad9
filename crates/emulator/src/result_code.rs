//! The numbers a modem fails with, and their texts: result codes of sockets, and CME errors.

use crate::config::{Config, Family};
use crate::network::OpenFailure;

/// Result codes of socket commands (EC20 manual chapter 3, EG800Q manual chapter 5).
pub(crate) mod socket {
    pub(crate) const OK: u16 = 0;
    pub(crate) const UNKNOWN: u16 = 550;
    pub(crate) const INVALID_PARAMETER: u16 = 552;
    pub(crate) const NOT_SUPPORTED: u16 = 555;
    pub(crate) const BIND_FAILED: u16 = 556;
    pub(crate) const WRITE_FAILED: u16 = 558;
    pub(crate) const PDP_OPEN_FAILED: u16 = 561;
    pub(crate) const IN_USE: u16 = 563;
    pub(crate) const DNS_BUSY: u16 = 564;
    pub(crate) const DNS_FAILED: u16 = 565;
    pub(crate) const CONNECT_FAILED: u16 = 566;
    pub(crate) const CLOSED: u16 = 567;
    pub(crate) const BUSY: u16 = 568;
    pub(crate) const TIMEOUT: u16 = 569;
    pub(crate) const PDP_BROKEN: u16 = 570;
    pub(crate) const SEND_CANCELLED: u16 = 571;
    pub(crate) const NOT_ALLOWED: u16 = 572;
    pub(crate) const APN_NOT_CONFIGURED: u16 = 573;
}

/// CME errors (3GPP TS 27.007 9.2, and from 400 the file commands of Quectel).
pub(crate) mod cme {
    pub(crate) const NOT_ALLOWED: u16 = 3;
    pub(crate) const SIM_NOT_INSERTED: u16 = 10;
    pub(crate) const SIM_PIN_REQUIRED: u16 = 11;
    pub(crate) const SIM_PUK_REQUIRED: u16 = 12;
    pub(crate) const SIM_FAILURE: u16 = 13;
    pub(crate) const SIM_BUSY: u16 = 14;
    pub(crate) const INCORRECT_PASSWORD: u16 = 16;
    pub(crate) const NO_NETWORK: u16 = 30;
    pub(crate) const INVALID_PARAMETER: u16 = 50;
    pub(crate) const DATA_SESSION: u16 = 148;
    pub(crate) const INVALID_INPUT: u16 = 400;
    pub(crate) const READ_ZERO_BYTES: u16 = 402;
    pub(crate) const DRIVE_FULL: u16 = 403;
    pub(crate) const FILE_NOT_FOUND: u16 = 405;
    pub(crate) const INVALID_FILE_NAME: u16 = 406;
    pub(crate) const FILE_EXISTS: u16 = 407;
    pub(crate) const TOO_MANY_OPEN_FILES: u16 = 413;
    pub(crate) const FILE_READ_ONLY: u16 = 414;
    pub(crate) const INVALID_HANDLE: u16 = 416;
    pub(crate) const FILE_TIMEOUT: u16 = 421;
    pub(crate) const FILE_OPEN: u16 = 426;
}

/// The result code for a connection that was not established. In practice 566 stands for every TLS failure.
pub(crate) fn open_failure(failure: &OpenFailure) -> u16 {
    match failure {
        OpenFailure::Dns => socket::DNS_FAILED,
        OpenFailure::TimedOut => socket::TIMEOUT,
        OpenFailure::Bind => socket::BIND_FAILED,
        OpenFailure::Refused
        | OpenFailure::Handshake(_)
        | OpenFailure::Verification(_)
        | OpenFailure::Setting(_) => socket::CONNECT_FAILED,
    }
}

/// The text of a result code in the words of the module, or of the family's manual.
pub(crate) fn socket_text(code: u16, config: &Config) -> &str {
    if let Some(text) = config.facts.code_texts.get(&code) {
        return text;
    }
    let (_, ec20, eg800q) =
        SOCKET_TEXTS.iter().find(|(number, ..)| *number == code).unwrap_or(&SOCKET_TEXTS[1]);
    match config.family {
        Family::Ec20 => ec20,
        Family::Eg800q => eg800q,
    }
}

/// The text of a CME error, which may be the module's own.
pub(crate) fn cme_text(code: u16, config: &Config) -> &str {
    if let Some(text) = config.facts.code_texts.get(&code) {
        return text;
    }
    CME_TEXTS.iter().find(|(number, _)| *number == code).map_or("unknown error", |(_, text)| text)
}

const SOCKET_TEXTS: [(u16, &str, &str); 26] = [
    (0, "operate successfully", "Operation successful"),
    (550, "unknown error", "Unknown error"),
    (551, "operation blocked", "Operation blocked"),
    (552, "invalid parameter", "Invalid parameter"),
    (553, "memory not enough", "Memory not enough"),
    (554, "create socket failed", "Create socket failed"),
    (555, "operation not supported", "Operation not supported"),
    (556, "socket bind failed", "Socket bind failed"),
    (557, "socket listen failed", "Socket listen failed"),
    (558, "socket write failed", "Socket write failed"),
    (559, "socket read failed", "Socket read failed"),
    (560, "socket accept failed", "Socket accept failed"),
    (561, "open PDP context failed", "Open PDP context failed"),
    (562, "close PDP context failed", "Close PDP context failed"),
    (563, "socket Identity has been used", "Socket identity has been used"),
    (564, "DNS busy", "DNS busy"),
    (565, "DNS parse failed", "DNS parse failed"),
    (566, "socket connect failed", "Socket connection failed"),
    (567, "socket has been closed", "Socket has been closed"),
    (568, "operation busy", "Operation busy"),
    (569, "operation timeout", "Operation timeout"),
    (570, "PDP context break down", "PDP context break down"),
    (571, "cancel send", "Cancel send"),
    (572, "operation not allowed", "Operation not allowed"),
    (573, "APN not configured", "APN not configured"),
    (574, "port busy", "Port busy"),
];

const CME_TEXTS: [(u16, &str); 22] = [
    (3, "operation not allowed"),
    (10, "SIM not inserted"),
    (11, "SIM PIN required"),
    (12, "SIM PUK required"),
    (13, "SIM failure"),
    (14, "SIM busy"),
    (16, "incorrect password"),
    (30, "no network service"),
    (50, "incorrect parameters"),
    (148, "unspecified GPRS error"),
    (400, "invalid input value"),
    (402, "read zero byte"),
    (403, "drive full"),
    (405, "file not found"),
    (406, "invalid file name"),
    // As an EG800K wrote it.
    (407, "file already exist"),
    (413, "reach max number of file allowed to be opened"),
    (414, "file read-only"),
    (416, "invalid file descriptor"),
    (421, "timeout"),
    (426, "file already opened"),
    (4, "operation not supported"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_words_its_codes_as_its_manual_does() {
        let config = |family| Config { family, ..Config::default() };
        assert_eq!(socket_text(566, &config(Family::Ec20)), "socket connect failed");
        assert_eq!(socket_text(566, &config(Family::Eg800q)), "Socket connection failed");
        assert_eq!(socket_text(999, &config(Family::Eg800q)), "Unknown error");
    }

    #[test]
    fn every_tls_failure_is_566() {
        for failure in [
            OpenFailure::Refused,
            OpenFailure::Handshake(String::new()),
            OpenFailure::Verification(String::new()),
            OpenFailure::Setting(String::new()),
        ] {
            assert_eq!(open_failure(&failure), 566);
        }
        assert_eq!(open_failure(&OpenFailure::Dns), 565);
        assert_eq!(open_failure(&OpenFailure::TimedOut), 569);
    }
}
