//! Targets as people type them: `HOST:PORT`, an IPv6 address in brackets; and servers, whose scheme comes before that.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::at::AtText;

/// A host and a port, fit for an AT command: a TLS server for the modem, or a device server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: AtText,
    /// 1–65535.
    pub port: u16,
}

/// A server, and how the modem connects to it: `HOST:PORT` for TLS, `tcp://`, `dtls://` or `udp://` before it for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// How.
    pub scheme: Scheme,
    /// To where.
    pub target: Target,
}

/// How the modem connects to a server. What has no TLS must be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TLS over TCP: nothing before `HOST:PORT`.
    Tls,
    /// Plain TCP: `tcp://`.
    Tcp,
    /// Datagrams with TLS: `dtls://`.
    Dtls,
    /// Plain datagrams: `udp://`.
    Udp,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Scheme; 4] = [Scheme::Tls, Scheme::Tcp, Scheme::Dtls, Scheme::Udp];

    /// What comes before `HOST:PORT`.
    pub fn prefix(self) -> &'static str {
        match self {
            Scheme::Tls => "",
            Scheme::Tcp => "tcp://",
            Scheme::Dtls => "dtls://",
            Scheme::Udp => "udp://",
        }
    }

    /// Whether messages keep their boundaries.
    pub fn carries_datagrams(self) -> bool {
        matches!(self, Scheme::Dtls | Scheme::Udp)
    }
}

/// Why an option's value is not one. The message does not have the value in it: the code that shows the
/// message puts it in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrammarError(String);

impl GrammarError {
    /// With this reason: lower case, no full stop.
    pub fn new(reason: impl Into<String>) -> Self {
        GrammarError(reason.into())
    }
}

impl FromStr for Target {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let (name, port) = split(text)?;
        Ok(Target { host: host(name)?, port })
    }
}

impl FromStr for Server {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let typed = [Scheme::Tcp, Scheme::Dtls, Scheme::Udp];
        let typed = typed.into_iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme.prefix())?)));
        let (scheme, target) = typed.unwrap_or((Scheme::Tls, text));
        Ok(Server { scheme, target: target.parse()? })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme.prefix(), self.target)
    }
}

/// Reads a host for a command to the modem: a name or an address without a port, as after `--ntp`.
///
/// # Errors
/// Names what cannot be in a host name.
pub fn host(text: &str) -> Result<AtText, GrammarError> {
    check_host(text)?;
    AtText::new(text).map_err(|error| GrammarError::new(error.to_string()))
}

/// Host without brackets, and port.
fn split(text: &str) -> Result<(&str, u16), GrammarError> {
    if text.contains("://") {
        return Err(GrammarError::new("a URL is no target: give HOST:PORT, such as example.org:443"));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| GrammarError::new("the bracket is not closed: [::1]:443"))?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| GrammarError::new(format!("{host} is not an IPv6 address")))?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(GrammarError::new("an IPv6 address needs brackets: [2001:db8::1]:443"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    check_host(host)?;
    let port = port.ok_or_else(|| GrammarError::new("the port is missing: give HOST:PORT"))?;
    Ok((host, self::port(port)?))
}

/// Reads a TCP port, 1–65535.
///
/// # Errors
/// Names the range.
pub fn port(text: &str) -> Result<u16, GrammarError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|port| digits && *port > 0);
    port.ok_or_else(|| GrammarError::new(format!("`{text}` is not a port: 1-65535")))
}

/// Names and addresses only: whatever else gets in here ends up in an AT command or a DNS query.
fn check_host(host: &str) -> Result<(), GrammarError> {
    if host.is_empty() {
        return Err(GrammarError::new("the host is missing: give HOST:PORT"));
    }
    if host.len() > LONGEST_HOST {
        return Err(GrammarError::new(format!("the host is longer than {LONGEST_HOST} characters")));
    }
    if !host.is_ascii() {
        return Err(GrammarError::new("a host name beyond ASCII must be written in its xn-- form"));
    }
    let strange = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_' | ':');
    match host.chars().find(strange) {
        Some(c) => Err(GrammarError::new(format!("{c:?} is not allowed in a host name"))),
        None => Ok(()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.host.as_str(), self.port);
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// The longest name that DNS has, in characters.
const LONGEST_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Target>().unwrap_err().to_string()
    }

    #[test]
    fn names_and_addresses_are_targets_and_are_written_as_they_were_read() {
        for text in
            ["example.org:443", "192.0.2.1:8883", "[2001:db8::1]:443", "under_score.example:1", "a:65535"]
        {
            assert_eq!(text.parse::<Target>().expect("a target").to_string(), text);
        }
        assert_eq!("[::1]:443".parse::<Target>().expect("a target").host.as_str(), "::1");
    }

    #[test]
    fn nothing_that_would_break_out_of_an_at_command_is_a_host() {
        for name in
            ["a\"b", "a;b", "a\rb", "a\nb", "a\0b", "a b", "a,b", "a+b", "a\x1ab", "", "ü", "a/b", "[a]"]
        {
            assert!(format!("{name}:443").parse::<Target>().is_err(), "{name:?}");
            assert!(host(name).is_err(), "{name:?}");
        }
        assert!(format!("{}:443", "a".repeat(254)).parse::<Target>().is_err());
    }

    #[test]
    fn a_slip_is_answered_with_what_to_type() {
        assert_eq!(
            error("https://example.org"),
            "a URL is no target: give HOST:PORT, such as example.org:443"
        );
        assert_eq!(error("example.org"), "the port is missing: give HOST:PORT");
        assert_eq!(error("2001:db8::1:443"), "an IPv6 address needs brackets: [2001:db8::1]:443");
        assert_eq!(error("[2001:db8::1:443"), "the bracket is not closed: [::1]:443");
        assert_eq!(error("[::1]"), "the port is missing: give HOST:PORT");
        let server = |text: &str| text.parse::<Server>();
        assert_eq!(server("tcp://https://a:1").unwrap_err().to_string(), error("https://a:1"));
        for text in [
            "tcp://example.org:80",
            "tcp://[2001:db8::1]:22",
            "example.org:443",
            "dtls://example.org:5684",
            "udp://[2001:db8::1]:5683",
        ] {
            assert_eq!(server(text).expect("a server").to_string(), text);
        }
        for port in ["0", "65536", "", "+1", "-1", "https", "4 43"] {
            assert_eq!(error(&format!("a:{port}")), format!("`{port}` is not a port: 1-65535"));
        }
    }
}
