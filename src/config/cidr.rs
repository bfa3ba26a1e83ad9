//! Networks as users type them after `--allow`: `192.168.1.0/24`, `fd00::/8`, or a single address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Cidr, GrammarError};

impl Cidr {
    /// Whether `address` is in this network. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`, as sockets
    /// bound to `[::]` report it) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

impl FromStr for Cidr {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| GrammarError::new("not a network: write 192.168.1.0/24, fd00::/8 or an address"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix
                .parse::<u8>()
                .ok()
                .filter(|bits| *bits <= longest && !prefix.starts_with('+'))
                .ok_or_else(|| GrammarError::new(format!("/{prefix} is not a prefix length: 0-{longest}")))?,
        };
        let network = Cidr { address: masked(address, prefix), prefix };
        if network.address != address {
            return Err(GrammarError::new(format!("bits are set after the prefix: did you mean {network}?")));
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `address` with all bits after the first `prefix` zero.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Cidr {
        text.parse().expect("a network")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_addresses_inside_are_allowed() {
        assert!(network("192.168.1.0/24").contains(address("192.168.1.255")));
        assert!(!network("192.168.1.0/24").contains(address("192.168.2.0")));
        assert!(network("10.1.2.3").contains(address("10.1.2.3")));
        assert!(!network("10.1.2.3").contains(address("10.1.2.4")));
        assert!(network("fd00::/8").contains(address("fdab::1")));
        assert!(!network("fd00::/8").contains(address("fe00::1")));
    }

    #[test]
    fn the_whole_internet_is_a_network_of_its_own_family() {
        assert!(network("0.0.0.0/0").contains(address("255.255.255.255")));
        assert!(!network("0.0.0.0/0").contains(address("2001:db8::1")));
        assert!(network("::/0").contains(address("2001:db8::1")));
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_listener_is_still_an_ipv4_peer() {
        assert!(network("192.168.0.0/16").contains(address("::ffff:192.168.7.7")));
    }

    #[test]
    fn a_slip_is_corrected_and_not_guessed() {
        let error = "192.168.1.5/24".parse::<Cidr>().unwrap_err();
        assert_eq!(error.to_string(), "bits are set after the prefix: did you mean 192.168.1.0/24?");
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/+8", "lan"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["192.168.1.0/24", "fd00::/8", "10.1.2.3/32", "::/0"] {
            assert_eq!(network(text).to_string(), text);
        }
    }
}
