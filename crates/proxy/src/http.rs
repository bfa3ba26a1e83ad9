//! HTTP CONNECT: RFC 9110, 9.3.6, and Basic authentication of RFC 7617.

use qssl_core::settings::Target;

use crate::{Credentials, RequestOutcome, Then};

/// A status of ours (RFC 9110, 15, but for one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Established,
    BadRequest,
    NotAllowed,
    /// With `Allow`, as RFC 9110, 15.5.6 asks for.
    OnlyConnect,
    /// With `Proxy-Authenticate`, as RFC 9110, 15.5.8 asks for.
    NeedsPassword,
    /// RFC 6585, 5
    TooLarge,
    BadGateway,
    Busy,
    NotReady,
    TimedOut,
}

/// Takes a whole request from the front of `held`.
pub fn hear(held: &mut Vec<u8>, credentials: Option<&Credentials>, answer: &mut Vec<u8>) -> Then {
    let refuse = |status, reason, answer: &mut Vec<u8>| {
        self::answer(status, answer);
        Then::Refused(reason)
    };
    let whole = head(held);
    if !whole.unwrap_or(held).iter().all(|byte| is_text(*byte)) {
        return refuse(Status::BadRequest, NOT_HTTP, answer);
    }
    let Some(head) = whole else { return Then::More };
    let length = head.len();
    let Some(Request { method, target, fields }) = std::str::from_utf8(head).ok().and_then(Request::of)
    else {
        return refuse(Status::BadRequest, NOT_HTTP, answer);
    };
    if method != "CONNECT" {
        return refuse(Status::OnlyConnect, "only CONNECT is supported", answer);
    }
    if fields.clone().count() > FIELDS_MAX {
        return refuse(Status::TooLarge, "its request has too many header fields", answer);
    }
    if let Some(known) = credentials {
        let given = fields.filter_map(|field| field.split_once(':'));
        let mut given = given.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"));
        if !given.next().is_some_and(|(_, value)| is_known(known, value.trim().as_bytes())) {
            return refuse(Status::NeedsPassword, crate::credentials::UNKNOWN, answer);
        }
    }
    let target = target.parse::<Target>();
    held.drain(..length);
    match target {
        Ok(target) => Then::Request(target),
        Err(_) => refuse(Status::BadRequest, "its target is not HOST:PORT", answer),
    }
}

/// The head of a request (RFC 9112, 2 and 3).
struct Request<'a, Fields> {
    method: &'a str,
    target: &'a str,
    /// Its header fields, a line each.
    fields: Fields,
}

impl<'a> Request<'a, std::str::Lines<'a>> {
    fn of(head: &'a str) -> Option<Self> {
        let mut fields = head.trim_end().lines();
        let mut words = fields.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let is_token = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        let is_field = |field: &str| field.split_once(':').is_some_and(|(name, _)| is_token(name));
        let is_http = matches!(version, "HTTP/1.0" | "HTTP/1.1") && words.next().is_none();
        (is_http && is_token(method) && fields.clone().all(is_field)).then_some(Request {
            method,
            target,
            fields,
        })
    }
}

/// The bytes up to the empty line, with it. A line may end with LF alone (RFC 9112, 2.2).
fn head(held: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    for line in held.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if matches!(line, b"\r\n" | b"\n") && at > line.len() {
            return Some(&held[..at]);
        }
    }
    None
}

/// Whether a head may have this byte (RFC 9110, 5.5).
fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7F || matches!(byte, b'\t' | b'\r' | b'\n')
}

/// `Basic dXNlcjpwYXNzd29yZA==`
fn is_known(known: &Credentials, value: &[u8]) -> bool {
    let Some((scheme, encoded)) = value.split_at_checked(BASIC.len()) else { return false };
    if !scheme.eq_ignore_ascii_case(BASIC) {
        return false;
    }
    let Some(decoded) = from_base64(encoded.trim_ascii()) else { return false };
    let Some(colon) = decoded.iter().position(|byte| *byte == b':') else { return false };
    known.has(&decoded[..colon], &decoded[colon + 1..])
}

/// RFC 4648, 4; padding may be missing.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    if text.len() - end > 2 {
        return None;
    }
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

/// The answer to a request.
pub fn reply(outcome: RequestOutcome, answer: &mut Vec<u8>) {
    let status = match outcome {
        RequestOutcome::Open => Status::Established,
        RequestOutcome::NotAllowed => Status::NotAllowed,
        RequestOutcome::HostUnreachable
        | RequestOutcome::NetworkUnreachable
        | RequestOutcome::Refused
        | RequestOutcome::Failed => Status::BadGateway,
        RequestOutcome::TimedOut => Status::TimedOut,
        RequestOutcome::Busy => Status::Busy,
        RequestOutcome::NotReady => Status::NotReady,
    };
    self::answer(status, answer);
}

/// Appends the answer with this status.
pub fn answer(status: Status, answer: &mut Vec<u8>) {
    let (code, reason, headers) = match status {
        // No length may be given here (RFC 9110, 9.3.6): the connection follows.
        Status::Established => return answer.extend(b"HTTP/1.1 200 Connection established\r\n\r\n"),
        Status::BadRequest => (400, "Bad Request", ""),
        Status::NotAllowed => (403, "Target not allowed", ""),
        Status::OnlyConnect => (405, "Only CONNECT", "Allow: CONNECT\r\n"),
        Status::NeedsPassword => {
            (407, "Proxy Authentication Required", "Proxy-Authenticate: Basic realm=\"qssl-tunnel\"\r\n")
        }
        Status::TooLarge => (431, "Request Header Fields Too Large", ""),
        Status::BadGateway => (502, "Cannot connect", ""),
        Status::Busy => (503, "No free connection", ""),
        Status::NotReady => (503, "The modem is not ready", ""),
        Status::TimedOut => (504, "Connecting timed out", ""),
    };
    let head = format!("HTTP/1.1 {code} {reason}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    answer.extend(head.as_bytes());
}

/// The most header fields of a request.
const FIELDS_MAX: usize = 64;

const NOT_HTTP: &str = "it does not speak HTTP";

const BASIC: &[u8] = b"Basic ";
