//! Which targets clients may choose: `PATTERN:PORTS`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use qssl_core::settings::Target;
use qssl_core::settings::target;

/// Targets that may be chosen: `example.org:443`, `*.example.org:80,443`, `*:8000-8100`, `[2001:db8::1]:22`.
///
/// `*` is every name and every address, `*.example.org` every name below example.org. Anything else is compared as it is
/// written, but for capital letters and a dot at the end of a name. A name is compared as a name, whatever its address is.
///
/// Addresses are compared as addresses: `10.0.0.0/8:22` is a whole network, and an IPv4 address inside an IPv6 one is an
/// IPv6 address. What only looks like an address (`127.1`, `0x7f000001`) may be one to the modem, and is a name here: no
/// pattern but `*` or the same text allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedTarget {
    hosts: Hosts,
    /// First and last of each range.
    ports: Vec<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// Names that end with this, which begins with a dot.
    Below(String),
    Name(String),
    /// Addresses whose first `length` bits are those of `first`, whose other bits are 0.
    Network {
        first: IpAddr,
        length: u32,
    },
}

/// Why a text is no [`AllowedTarget`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedTargetError {
    /// There are no ports.
    #[error("the ports are missing: give PATTERN:PORTS, such as *.example.org:443 or *:1-65535")]
    NoPorts,
    /// The ports are none.
    #[error("`{0}` is no port and no range of ports")]
    Ports(String),
    /// The pattern is none.
    #[error("`{0}` is not *, *.NAME, a name, an address or a network")]
    Pattern(String),
}

impl AllowedTarget {
    /// Whether this target may be chosen.
    pub fn allows(&self, target: &Target) -> bool {
        let name = plain_name(target.host.as_str());
        let is_host = match &self.hosts {
            Hosts::All => true,
            Hosts::Below(end) => !may_be_address(&name) && name.len() > end.len() && name.ends_with(end),
            Hosts::Name(own) => name == *own,
            Hosts::Network { first, length } => name.parse().is_ok_and(|given: IpAddr| {
                let differences = from_top(*first) ^ from_top(given);
                first.is_ipv4() == given.is_ipv4() && differences.leading_zeros() >= *length
            }),
        };
        is_host && self.ports.iter().any(|(first, last)| (*first..=*last).contains(&target.port))
    }
}

impl FromStr for AllowedTarget {
    type Err = AllowedTargetError;

    fn from_str(text: &str) -> Result<Self, AllowedTargetError> {
        let (pattern, ports) = text.rsplit_once(':').ok_or(AllowedTargetError::NoPorts)?;
        let bad = || AllowedTargetError::Pattern(pattern.into());
        let hosts = match pattern.strip_prefix('*') {
            Some("") => Hosts::All,
            Some(end) => {
                let name = end.strip_prefix('.').filter(|name| is_name(name)).ok_or_else(bad)?;
                Hosts::Below(format!(".{}", plain_name(name)))
            }
            // The last colon of a bare IPv6 address comes before no port.
            None if pattern.contains(':') && !pattern.starts_with('[') => {
                return Err(AllowedTargetError::NoPorts);
            }
            None => match network(pattern) {
                Some(network) => network,
                None if is_name(pattern) => Hosts::Name(plain_name(pattern)),
                None => return Err(bad()),
            },
        };
        let ports: Result<Vec<_>, _> = ports.split(',').map(range).collect();
        Ok(AllowedTarget { hosts, ports: ports? })
    }
}

/// A name, and not an address with colons.
fn is_name(text: &str) -> bool {
    target::host(text).is_ok() && !text.contains(':')
}

/// `192.0.2.7`, `10.0.0.0/8`, `[2001:db8::1]` or `[2001:db8::/32]`
fn network(pattern: &str) -> Option<Hosts> {
    let inside = pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (address, length) = match inside.unwrap_or(pattern).split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (inside.unwrap_or(pattern), None),
    };
    let (first, most) = match inside {
        Some(_) => (IpAddr::V6(address.parse().ok()?), Ipv6Addr::BITS),
        None => (IpAddr::V4(address.parse().ok()?), Ipv4Addr::BITS),
    };
    let length = match length {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
        None => most,
    };
    let is_first = length <= most && from_top(first).trailing_zeros() >= u128::BITS - length;
    is_first.then_some(Hosts::Network { first, length })
}

/// The bits of an address, its first one on top.
fn from_top(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << (u128::BITS - Ipv4Addr::BITS),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Whether somebody might read this name as an address: one of our own, or what `inet_aton` takes, where parts may be
/// missing, octal or hexadecimal.
fn may_be_address(name: &str) -> bool {
    let is_number = |part: &str| match part.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
    };
    name.parse::<IpAddr>().is_ok() || name.split('.').all(is_number)
}

/// `443` or `8000-8100`
fn range(text: &str) -> Result<(u16, u16), AllowedTargetError> {
    let bad = || AllowedTargetError::Ports(text.into());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (target::port(first).map_err(|_| bad())?, target::port(last).map_err(|_| bad())?);
    if first > last { Err(bad()) } else { Ok((first, last)) }
}

/// In small letters, and without the dot at the end of a whole name.
fn plain_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl fmt::Display for AllowedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::All => f.write_str("*")?,
            Hosts::Below(end) => write!(f, "*{end}")?,
            Hosts::Name(name) => f.write_str(name)?,
            Hosts::Network { first: IpAddr::V4(first), length: Ipv4Addr::BITS } => write!(f, "{first}")?,
            Hosts::Network { first: IpAddr::V4(first), length } => write!(f, "{first}/{length}")?,
            Hosts::Network { first: IpAddr::V6(first), length: Ipv6Addr::BITS } => write!(f, "[{first}]")?,
            Hosts::Network { first: IpAddr::V6(first), length } => write!(f, "[{first}/{length}]")?,
        }
        for (index, (first, last)) in self.ports.iter().enumerate() {
            f.write_str(if index == 0 { ":" } else { "," })?;
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}
