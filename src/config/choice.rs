//! Options whose values are a few words: the words, what they stand for, and the help text of each.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::{
    ApnAuth, Cmux, FlowControl, Mode, OnClosed, OpenOn, PdpType, Policy, Protocol, Recovery, TlsVersion,
    WhenFull,
};

/// A type whose values each have a word.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// Every value, its word, and one line of help.
    const ALL: &'static [(Self, &'static str, &'static str)];

    /// The word for this value.
    fn word(self) -> &'static str {
        let named = Self::ALL.iter().find(|(value, ..)| *value == self);
        named.map(|(_, word, _)| *word).expect("every value has a word, as a test shows")
    }
}

/// A parser for one of the words.
pub fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    let possible = |(_, word, help): &(T, &'static str, &'static str)| PossibleValue::new(*word).help(*help);
    PossibleValuesParser::new(T::ALL.iter().map(possible)).map(|given| {
        let named = T::ALL.iter().find(|(_, word, _)| *word == given);
        named.map(|(value, ..)| *value).expect("clap takes no other word")
    })
}

impl Choice for PdpType {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (PdpType::Ipv4, "ipv4", "IPv4 alone"),
        (PdpType::Ipv6, "ipv6", "IPv6 alone"),
        (PdpType::Ipv4v6, "ipv4v6", "both"),
    ];
}

impl Choice for ApnAuth {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (ApnAuth::None, "none", "no user and password"),
        (ApnAuth::Pap, "pap", "user and password in clear"),
        (ApnAuth::Chap, "chap", "challenge and response"),
    ];
}

impl Choice for FlowControl {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (FlowControl::RtsCts, "rtscts", "RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)"),
        (FlowControl::None, "none", "off on both sides (AT+IFC=0,0)"),
    ];
}

impl Choice for Cmux {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Cmux::Auto, "auto", "on a UART, if the modem lists AT+CMUX and several channels are useful"),
        (Cmux::On, "on", "unless the modem refuses it (AT+CMUX)"),
        (Cmux::Off, "off", "never"),
    ];
}

impl Choice for Recovery {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Recovery::Resync, "resync", "drain and resynchronise the conversation"),
        (Recovery::Port, "port", "close the port and open it again"),
        (Recovery::Session, "session", "rebuild the data session"),
        (Recovery::Reboot, "reboot", "reboot the modem, which also interrupts other programs that use it"),
    ];
}

impl Choice for Mode {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Mode::Buffer, "buffer", "the module keeps received bytes until they are read (mode 0)"),
        (Mode::Push, "push", "the module sends received bytes as they come (mode 1)"),
        (Mode::Transparent, "transparent", "the port becomes the stream of one connection (mode 2)"),
    ];
}

impl Choice for TlsVersion {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (TlsVersion::Ssl3, "ssl3", "SSL 3.0, long broken"),
        (TlsVersion::Tls10, "1.0", "TLS 1.0"),
        (TlsVersion::Tls11, "1.1", "TLS 1.1"),
        (TlsVersion::Tls12, "1.2", "TLS 1.2"),
        (TlsVersion::Any, "any", "whichever of these the server takes"),
    ];
}

impl Choice for Protocol {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Protocol::Socks5, "socks5", "SOCKS5 (RFC 1928)"),
        (Protocol::Http, "http", "HTTP CONNECT (RFC 9110)"),
        (Protocol::Auto, "auto", "whichever of these a client speaks"),
    ];
}

impl Choice for Policy {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (Policy::Failover, "failover", "the first of them"),
        (
            Policy::Balance,
            "balance",
            "the one with the most free connections, then the one with the least traffic",
        ),
    ];
}

impl Choice for WhenFull {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (WhenFull::Wait, "wait", "it waits"),
        (WhenFull::Reset, "reset", "it is reset"),
        (
            WhenFull::Evict,
            "evict",
            "the datagram session that has been idle longest ends, if there is one, else it waits",
        ),
    ];
}

impl Choice for OnClosed {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (OnClosed::Eof, "eof", "as an end of file, unless something known contradicts it"),
        (OnClosed::Reset, "reset", "as a reset"),
    ];
}

impl Choice for OpenOn {
    const ALL: &'static [(Self, &'static str, &'static str)] = &[
        (OpenOn::Accept, "accept", "when the client is accepted"),
        (OpenOn::FirstByte, "first-byte", "when the client has sent its first byte"),
    ];
}
