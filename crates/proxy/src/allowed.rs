//! Which targets clients may choose: `PATTERN:PORTS`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use qssl_core::settings::Target;
use qssl_core::settings::target;

/// Targets that may be chosen: `example.org:443`, `*.example.org:80,443`, `*:8000-8100`, `[2001:db8::1]:22`.
///
/// `*` is every name and every address, `*.example.org` every name below example.org. Anything else is compared as it is
/// written, but for capital letters and a dot at the end of a name. Addresses are compared as addresses. What only looks
/// like one (`127.1`, `0x7f000001`) is a name here, and no pattern but `*` or the same text allows it.
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
    Address(IpAddr),
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
    #[error("`{0}` is not *, *.NAME, a name or an address")]
    Pattern(String),
}

impl AllowedTarget {
    /// Whether this target may be chosen.
    pub fn allows(&self, target: &Target) -> bool {
        let name = plain_name(target.host.as_str());
        let is_host = match &self.hosts {
            Hosts::All => true,
            Hosts::Below(end) => {
                name.parse::<IpAddr>().is_err() && name.len() > end.len() && name.ends_with(end)
            }
            Hosts::Name(own) => name == *own,
            Hosts::Address(own) => name.parse() == Ok(*own),
        };
        is_host && self.ports.iter().any(|(first, last)| (*first..=*last).contains(&target.port))
    }
}

impl FromStr for AllowedTarget {
    type Err = AllowedTargetError;

    fn from_str(text: &str) -> Result<Self, AllowedTargetError> {
        let (pattern, ports) = text.rsplit_once(':').ok_or(AllowedTargetError::NoPorts)?;
        // The last colon of a bare IPv6 address comes before no port.
        let pattern = match pattern.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inside) => inside.ok_or_else(|| AllowedTargetError::Pattern(pattern.into()))?,
            None if pattern.contains(':') => return Err(AllowedTargetError::NoPorts),
            None => pattern,
        };
        let bad = || AllowedTargetError::Pattern(pattern.into());
        let hosts = match pattern.strip_prefix('*') {
            Some("") => Hosts::All,
            Some(end) => {
                let name = end.strip_prefix('.').filter(|name| target::host(name).is_ok()).ok_or_else(bad)?;
                Hosts::Below(format!(".{}", plain_name(name)))
            }
            None => match pattern.parse() {
                Ok(address) => Hosts::Address(address),
                Err(_) if target::host(pattern).is_ok() && !pattern.contains(':') => {
                    Hosts::Name(plain_name(pattern))
                }
                Err(_) => return Err(bad()),
            },
        };
        let ports: Result<Vec<_>, _> = ports.split(',').map(range).collect();
        Ok(AllowedTarget { hosts, ports: ports? })
    }
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
            Hosts::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Hosts::Address(address) => write!(f, "{address}")?,
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
