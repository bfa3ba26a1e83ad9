//! Listening addresses as users type them: `8443`, `127.0.0.1:8443`, `[::1]:8443`, `0.0.0.0:8443`, `udp:5684`,
//! `unix:/path,mode=0660,owner=NAME,group=NAME`, `systemd:NAME`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use qssl_core::settings::target;

use super::{At, GrammarError, Listen};

impl Listen {
    /// Whether listening on both at once is impossible, as far as this is known without trying.
    pub fn collides_with(&self, other: &Listen) -> bool {
        match (self, other) {
            (Listen::Tcp(a), Listen::Tcp(b)) | (Listen::Udp(a), Listen::Udp(b)) => a.collides_with(*b),
            (Listen::Unix { path: a, .. }, Listen::Unix { path: b, .. }) => a == b,
            (a, b) => a == b,
        }
    }

    /// Whether datagrams come there; `None`: whichever socket systemd passes.
    pub fn carries_datagrams(&self) -> Option<bool> {
        match self {
            Listen::Udp(_) => Some(true),
            Listen::Tcp(_) | Listen::Unix { .. } | Listen::Stdio => Some(false),
            Listen::Systemd(_) => None,
        }
    }
}

impl At {
    fn collides_with(self, other: At) -> bool {
        match (self, other) {
            (At::Loopback(port), At::Address(address)) | (At::Address(address), At::Loopback(port)) => {
                let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                address.port() == port && loopback.contains(&address.ip())
            }
            (a, b) => a == b && a.port() != 0,
        }
    }

    /// The port; 0 stands for any that is free.
    pub fn port(self) -> u16 {
        match self {
            At::Loopback(port) => port,
            At::Address(address) => address.port(),
        }
    }

    /// Whether other machines can reach it.
    pub fn is_open(self) -> bool {
        matches!(self, At::Address(address) if !address.ip().is_loopback())
    }
}

impl FromStr for Listen {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        if let Some(rest) = text.strip_prefix("unix:") {
            return unix(rest);
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return systemd(name);
        }
        match text.strip_prefix(UDP) {
            Some(rest) => at(UDP, rest).map(Listen::Udp),
            None => at("", text).map(Listen::Tcp),
        }
    }
}

/// Reads what comes after this prefix.
fn at(prefix: &str, text: &str) -> Result<At, GrammarError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return target::port(text).map(At::Loopback);
    }
    text.parse::<SocketAddr>().map(At::Address).map_err(|_| not_an_address(prefix, text))
}

fn unix(text: &str) -> Result<Listen, GrammarError> {
    let mut parts = text.split(',');
    let path = parts.next().unwrap_or_default();
    if path.is_empty() {
        return Err(GrammarError::new("the path is missing: unix:/path"));
    }
    if path.len() > LONGEST_UNIX_PATH || path.contains('\0') {
        return Err(GrammarError::new(format!(
            "a socket's path has at most {LONGEST_UNIX_PATH} bytes and no NUL"
        )));
    }
    let (mut mode, mut owner, mut group) = (None, None, None);
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let twice = match key {
            "mode" => mode.replace(permissions(value)?).is_some(),
            "owner" => owner.replace(named(key, value)?).is_some(),
            "group" => group.replace(named(key, value)?).is_some(),
            _ => return Err(GrammarError::new(format!("`{key}` is none of mode=, owner=, group="))),
        };
        if twice {
            return Err(GrammarError::new(format!("{key}= is given twice")));
        }
    }
    Ok(Listen::Unix { path: PathBuf::from(path), mode, owner, group })
}

fn permissions(text: &str) -> Result<u32, GrammarError> {
    let octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| GrammarError::new("mode= takes permission bits in octal, such as 0660"))
}

fn named(key: &str, value: &str) -> Result<String, GrammarError> {
    match value.is_empty() || value.contains('\0') {
        true => Err(GrammarError::new(format!("{key}= takes a name or a number"))),
        false => Ok(value.to_owned()),
    }
}

fn systemd(name: &str) -> Result<Listen, GrammarError> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    if name.is_empty() || name.len() > LONGEST_FD_NAME || !name.bytes().all(allowed) {
        return Err(GrammarError::new("systemd: takes the FileDescriptorName= of a socket unit"));
    }
    Ok(Listen::Systemd(name.to_owned()))
}

fn not_an_address(prefix: &str, text: &str) -> GrammarError {
    let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| target::port(port).is_ok());
    GrammarError::new(match port {
        Some(port) if text.starts_with("localhost:") => {
            format!("for loopback give the port alone: {prefix}{port}")
        }
        Some(_) if text.matches(':').count() > 1 && !text.starts_with('[') => {
            format!("an IPv6 address needs brackets: {prefix}[::1]:8443")
        }
        Some(port) if text.starts_with("*:") || text.starts_with(':') => {
            format!("to listen on every address type it out: {prefix}0.0.0.0:{port} or {prefix}[::]:{port}")
        }
        _ if text.starts_with('/') => format!("for a Unix socket write unix:{text}"),
        _ => "not a listening address: a port, ADDRESS:PORT, udp:PORT, unix:/path or systemd:NAME".to_owned(),
    })
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(at) => at.fmt(f),
            Listen::Udp(at) => write!(f, "{UDP}{at}"),
            Listen::Unix { path, mode, owner, group } => {
                write!(f, "unix:{}", path.display())?;
                mode.map_or(Ok(()), |mode| write!(f, ",mode={mode:04o}"))?;
                owner.as_ref().map_or(Ok(()), |owner| write!(f, ",owner={owner}"))?;
                group.as_ref().map_or(Ok(()), |group| write!(f, ",group={group}"))
            }
            Listen::Systemd(name) => write!(f, "systemd:{name}"),
            Listen::Stdio => f.write_str("stdio"),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Loopback(port) => port.fmt(f),
            At::Address(address) => address.fmt(f),
        }
    }
}

/// What comes before an address where datagrams come.
const UDP: &str = "udp:";
/// The longest path that fits into `sockaddr_un` with its final NUL, in bytes.
const LONGEST_UNIX_PATH: usize = 107;
/// The limit of systemd's FileDescriptorName=, in bytes.
const LONGEST_FD_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Listen {
        text.parse().expect("a listening address")
    }

    fn error(text: &str) -> String {
        text.parse::<Listen>().unwrap_err().to_string()
    }

    #[test]
    fn a_bare_port_is_loopback_and_everything_else_is_typed_out() {
        let address = |text: &str| At::Address(text.parse().expect("an address"));
        assert_eq!(listen("8443"), Listen::Tcp(At::Loopback(8443)));
        assert_eq!(listen("0.0.0.0:8443"), Listen::Tcp(address("0.0.0.0:8443")));
        assert_eq!(listen("[::1]:8443"), Listen::Tcp(address("[::1]:8443")));
        assert_eq!(listen("udp:5684"), Listen::Udp(At::Loopback(5684)));
        assert_eq!(listen("udp:[::]:5684"), Listen::Udp(address("[::]:5684")));
        assert_eq!(listen("systemd:web"), Listen::Systemd("web".to_owned()));
    }

    #[test]
    fn a_unix_socket_has_a_path_and_may_have_rights() {
        let expected = Listen::Unix {
            path: "/run/q.sock".into(),
            mode: Some(0o660),
            owner: Some("web".to_owned()),
            group: Some("33".to_owned()),
        };
        assert_eq!(listen("unix:/run/q.sock,mode=0660,owner=web,group=33"), expected);
        assert_eq!(error("unix:/s,mode=0999"), "mode= takes permission bits in octal, such as 0660");
        assert_eq!(error("unix:/s,mode=7777"), "mode= takes permission bits in octal, such as 0660");
        assert_eq!(error("unix:/s,color=red"), "`color` is none of mode=, owner=, group=");
        assert_eq!(error("unix:/s,owner="), "owner= takes a name or a number");
        assert_eq!(error("unix:/s,mode=1,mode=2"), "mode= is given twice");
        assert_eq!(error("unix:"), "the path is missing: unix:/path");
        assert!(format!("unix:/{}", "a".repeat(107)).parse::<Listen>().is_err());
        assert!(format!("unix:/{}", "a".repeat(106)).parse::<Listen>().is_ok());
    }

    #[test]
    fn a_slip_is_answered_with_what_to_type() {
        assert_eq!(error("localhost:8443"), "for loopback give the port alone: 8443");
        assert_eq!(error("*:80"), "to listen on every address type it out: 0.0.0.0:80 or [::]:80");
        assert_eq!(error("::1:8443"), "an IPv6 address needs brackets: [::1]:8443");
        assert_eq!(error("/run/q.sock"), "for a Unix socket write unix:/run/q.sock");
        assert_eq!(error("udp:localhost:5684"), "for loopback give the port alone: udp:5684");
        assert_eq!(
            error("udp::5684"),
            "to listen on every address type it out: udp:0.0.0.0:5684 or udp:[::]:5684"
        );
        assert_eq!(error("udp:0"), "`0` is not a port: 1-65535");
        assert_eq!(error("70000"), "`70000` is not a port: 1-65535");
        for text in [
            "",
            "0",
            "-1",
            "8443 ",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "systemd:",
            "systemd:a b",
            "udp:",
            "udp://8443",
            "udp:udp:1",
            "-",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "8443",
            "127.0.0.1:8443",
            "[::1]:8443",
            "udp:5684",
            "udp:[::1]:5684",
            "unix:/s",
            "unix:/s,mode=0660,owner=a,group=b",
            "systemd:web",
        ] {
            assert_eq!(listen(text).to_string(), text);
        }
    }

    #[test]
    fn two_tunnels_cannot_take_the_same_address() {
        assert!(listen("8443").collides_with(&listen("8443")));
        assert!(listen("8443").collides_with(&listen("127.0.0.1:8443")));
        assert!(listen("[::1]:8443").collides_with(&listen("8443")));
        assert!(listen("unix:/s,mode=0600").collides_with(&listen("unix:/s")));
        assert!(listen("udp:[::1]:8443").collides_with(&listen("udp:8443")));
        assert!(!listen("udp:8443").collides_with(&listen("8443")));
        assert!(!listen("8443").collides_with(&listen("8444")));
        assert!(!listen("8443").collides_with(&listen("192.0.2.1:8443")));
        assert!(!listen("127.0.0.1:0").collides_with(&listen("127.0.0.1:0")));
    }
}
