//! HTTP CONNECT: RFC 9110, 9.3.6, and Basic authentication of RFC 7617.

use qssl_core::settings::Target;

use crate::{Credentials, Outcome, Then};

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
    TimedOut,
}

/// Takes a whole request from the front of `held`.
pub fn hear(held: &mut Vec<u8>, credentials: Option<&Credentials>, answer: &mut Vec<u8>) -> Then {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let refuse = |status, reason, answer: &mut Vec<u8>| {
        self::answer(status, answer);
        Then::Refused(reason)
    };
    let length = match request.parse(held) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Then::More,
        Err(httparse::Error::TooManyHeaders) => {
            return refuse(Status::TooLarge, "its request has too many headers", answer);
        }
        Err(_) => return refuse(Status::BadRequest, "it does not speak HTTP", answer),
    };
    if request.method != Some("CONNECT") {
        return refuse(Status::OnlyConnect, "it wants something else than CONNECT", answer);
    }
    if let Some(known) = credentials {
        let given =
            request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("proxy-authorization"));
        if !given.is_some_and(|header| is_known(known, header.value)) {
            return refuse(Status::NeedsPassword, crate::credentials::UNKNOWN, answer);
        }
    }
    let target = request.path.and_then(|path| path.parse::<Target>().ok());
    held.drain(..length);
    match target {
        Some(target) => Then::Request(target),
        None => refuse(Status::BadRequest, "its target is not HOST:PORT", answer),
    }
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
pub fn reply(outcome: Outcome, answer: &mut Vec<u8>) {
    let status = match outcome {
        Outcome::Open => Status::Established,
        Outcome::NotAllowed => Status::NotAllowed,
        Outcome::HostUnreachable | Outcome::NetworkUnreachable | Outcome::Refused | Outcome::Failed => {
            Status::BadGateway
        }
        Outcome::TimedOut => Status::TimedOut,
        Outcome::Busy => Status::Busy,
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
        Status::TimedOut => (504, "Connecting timed out", ""),
    };
    let head = format!("HTTP/1.1 {code} {reason}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    answer.extend(head.as_bytes());
}

/// The most header lines of a request.
const HEADERS_MAX: usize = 64;

const BASIC: &[u8] = b"Basic ";
