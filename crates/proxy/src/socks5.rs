//! SOCKS5: RFC 1928, and RFC 1929 for user and password. Of the commands there is CONNECT alone.

use std::net::{Ipv4Addr, Ipv6Addr};

use qssl_core::settings::Target;
use qssl_core::settings::target;

use crate::{Credentials, RequestOutcome, Then};

/// How far the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its methods of authentication are due (RFC 1928, 3).
    Greeting,
    /// User and password are due (RFC 1929, 2).
    Password,
    /// The request is due (RFC 1928, 4).
    Request,
}

impl Stage {
    /// Takes what is complete from the front of `held`.
    pub fn hear(
        &mut self,
        held: &mut Vec<u8>,
        credentials: Option<&Credentials>,
        answer: &mut Vec<u8>,
    ) -> Then {
        loop {
            match self {
                Stage::Greeting => {
                    let [version, count, rest @ ..] = &held[..] else {
                        return first_byte(held, VERSION, NOT_SOCKS5);
                    };
                    if *version != VERSION {
                        return Then::Refused(NOT_SOCKS5);
                    }
                    let Some(methods) = rest.get(..usize::from(*count)) else { return Then::More };
                    let (wanted, next) = match credentials {
                        None => (NO_AUTHENTICATION, Stage::Request),
                        Some(_) => (USER_AND_PASSWORD, Stage::Password),
                    };
                    if !methods.contains(&wanted) {
                        answer.extend([VERSION, NO_METHOD]);
                        return Then::Refused("it offers no acceptable authentication");
                    }
                    answer.extend([VERSION, wanted]);
                    held.drain(..2 + usize::from(*count));
                    *self = next;
                }
                Stage::Password => {
                    let [version, length, rest @ ..] = &held[..] else {
                        return first_byte(held, PASSWORD_VERSION, NOT_RFC1929);
                    };
                    if *version != PASSWORD_VERSION {
                        return Then::Refused(NOT_RFC1929);
                    }
                    let Some((user, rest)) = rest.split_at_checked(usize::from(*length)) else {
                        return Then::More;
                    };
                    let Some((length, rest)) = rest.split_first() else { return Then::More };
                    let Some(password) = rest.get(..usize::from(*length)) else { return Then::More };
                    let is_known = credentials.is_some_and(|known| known.has(user, password));
                    answer.extend([PASSWORD_VERSION, u8::from(!is_known)]);
                    if !is_known {
                        return Then::Refused(crate::credentials::UNKNOWN);
                    }
                    let used = 3 + user.len() + password.len();
                    held.drain(..used);
                    *self = Stage::Request;
                }
                Stage::Request => return request(held, answer),
            }
        }
    }
}

/// Whether less than two bytes can become something.
fn first_byte(held: &[u8], version: u8, reason: &'static str) -> Then {
    match held.first() {
        Some(first) if *first != version => Then::Refused(reason),
        _ => Then::More,
    }
}

/// `VER CMD RSV ATYP DST.ADDR DST.PORT` (RFC 1928, 4 and 5).
fn request(held: &mut Vec<u8>, answer: &mut Vec<u8>) -> Then {
    let refuse = |code, reason, answer: &mut Vec<u8>| {
        reply_code(code, answer);
        Then::Refused(reason)
    };
    if held.first().is_some_and(|version| *version != VERSION) {
        return refuse(GENERAL_FAILURE, NOT_SOCKS5, answer);
    }
    let [_, command, _, kind, rest @ ..] = &held[..] else { return Then::More };
    let (host, rest) = match *kind {
        IPV4 => {
            let Some((bytes, rest)) = rest.split_first_chunk::<4>() else { return Then::More };
            (Ipv4Addr::from(*bytes).to_string(), rest)
        }
        IPV6 => {
            let Some((bytes, rest)) = rest.split_first_chunk::<16>() else { return Then::More };
            (Ipv6Addr::from(*bytes).to_string(), rest)
        }
        NAME => {
            let Some((length, rest)) = rest.split_first() else { return Then::More };
            let Some((name, rest)) = rest.split_at_checked(usize::from(*length)) else { return Then::More };
            (String::from_utf8_lossy(name).into_owned(), rest)
        }
        _ => return refuse(UNKNOWN_ADDRESS_TYPE, "its address is of no known type", answer),
    };
    let Some((port, rest)) = rest.split_first_chunk::<2>() else { return Then::More };
    let (port, left, command) = (u16::from_be_bytes(*port), rest.len(), *command);
    held.drain(..held.len() - left);
    if command != CONNECT {
        return refuse(UNKNOWN_COMMAND, "only CONNECT is supported", answer);
    }
    // As in HTTP, where brackets keep them apart: a colon is part of an IPv6 address or of nothing.
    let is_plain = !host.contains(':') || host.parse::<Ipv6Addr>().is_ok();
    match target::host(&host) {
        Ok(host) if is_plain && port > 0 => Then::Request(Target { host, port }),
        _ => refuse(GENERAL_FAILURE, "its target is neither a name nor an address", answer),
    }
}

/// The answer to a request (RFC 1928, 6).
pub fn reply(outcome: RequestOutcome, answer: &mut Vec<u8>) {
    let code = match outcome {
        RequestOutcome::Open => SUCCEEDED,
        RequestOutcome::NotAllowed => NOT_ALLOWED,
        RequestOutcome::HostUnreachable => HOST_UNREACHABLE,
        RequestOutcome::NetworkUnreachable | RequestOutcome::NotReady => NETWORK_UNREACHABLE,
        RequestOutcome::Refused => CONNECTION_REFUSED,
        // "TTL expired" is what clients show as a time-out.
        RequestOutcome::TimedOut => TTL_EXPIRED,
        RequestOutcome::Busy | RequestOutcome::Failed => GENERAL_FAILURE,
    };
    reply_code(code, answer);
}

/// The bound address is not known, and no client needs it.
fn reply_code(code: u8, answer: &mut Vec<u8>) {
    answer.extend([VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]);
}

/// The first byte of every message but the password's.
pub const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const SUCCEEDED: u8 = 0;
const GENERAL_FAILURE: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const NETWORK_UNREACHABLE: u8 = 3;
const HOST_UNREACHABLE: u8 = 4;
const CONNECTION_REFUSED: u8 = 5;
const TTL_EXPIRED: u8 = 6;
const UNKNOWN_COMMAND: u8 = 7;
const UNKNOWN_ADDRESS_TYPE: u8 = 8;
const NOT_SOCKS5: &str = "it does not speak SOCKS5";
const NOT_RFC1929: &str = "its authentication is not that of RFC 1929";
