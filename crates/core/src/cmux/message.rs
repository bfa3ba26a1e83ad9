//! Messages of the multiplexer's own DLCI 0 (TS 27.010, 5.4.6.3): parse and emit side by side.
//!
//! ```text
//!  type<<2 | C/R<<1 | 1   length<<1 | 1   values
//! ```

use super::frame::LENGTH_MAX;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Parameters of a DLCI, before it is opened.
    Parameters = 0x81,
    /// The sender wants to sleep.
    PowerSaving = 0x41,
    /// Leave the multiplexer mode.
    CloseDown = 0xC1,
    /// The other side sends it back unchanged.
    Test = 0x21,
    /// The sender takes data again, on all DLCIs.
    FlowOn = 0xA1,
    /// The sender takes no data, on any DLCI.
    FlowOff = 0x61,
    /// The V.24 lines of a DLCI.
    ModemStatus = 0xE1,
    /// A command was not understood.
    NotSupported = 0x11,
    /// Settings of a remote port.
    RemotePort = 0x91,
    /// An error on a remote line.
    RemoteLine = 0x51,
    /// The service of a DLCI.
    Service = 0xD1,
}

/// A message as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type octet without C/R.
    pub octet: u8,
    /// C/R: a command, or an answer to one.
    pub is_command: bool,
    /// Its values.
    pub values: &'a [u8],
}

impl Type {
    /// The type of an octet without C/R.
    pub fn parse(octet: u8) -> Option<Type> {
        use Type::*;
        let all = [
            Parameters,
            PowerSaving,
            CloseDown,
            Test,
            FlowOn,
            FlowOff,
            ModemStatus,
            NotSupported,
            RemotePort,
            RemoteLine,
            Service,
        ];
        all.into_iter().find(|known| *known as u8 == octet)
    }
}

impl<'a> Message<'a> {
    /// The first message of `information`, and the rest. `None`: it holds no whole message.
    pub fn parse(information: &'a [u8]) -> Option<(Message<'a>, &'a [u8])> {
        let (&octet, rest) = information.split_first()?;
        let (&low, rest) = rest.split_first()?;
        let (length, rest) = match low & EA {
            0 => {
                let (&high, rest) = rest.split_first()?;
                (usize::from(high) << 7 | usize::from(low >> 1), rest)
            }
            _ => (usize::from(low >> 1), rest),
        };
        let (values, rest) = rest.split_at_checked(length)?;
        Some((Message { octet: octet & !COMMAND, is_command: octet & COMMAND != 0, values }, rest))
    }

    /// The information that carries it.
    pub fn emit(&self) -> Vec<u8> {
        let octet = self.octet | if self.is_command { COMMAND } else { 0 };
        let length = self.values.len().min(LENGTH_MAX);
        let low = (length as u8) << 1;
        let mut information = match length {
            0..=127 => vec![octet, low | EA],
            _ => vec![octet, low, (length >> 7) as u8],
        };
        information.extend_from_slice(&self.values[..length]);
        information
    }

    /// A command.
    pub fn command(kind: Type, values: &'a [u8]) -> Self {
        Message { octet: kind as u8, is_command: true, values }
    }

    /// An answer.
    pub fn answer(kind: Type, values: &'a [u8]) -> Self {
        Message { octet: kind as u8, is_command: false, values }
    }
}

/// The values of MSC: a DLCI's number, 0-63, and its lines. What follows them (a break octet, or more) is ignored.
pub fn modem_status(values: &[u8]) -> Option<(u8, V24)> {
    match values {
        [dlci, lines, ..] => Some((dlci >> 2, V24(*lines))),
        _ => None,
    }
}

/// The same to be sent.
pub fn modem_status_values(dlci: u8, lines: V24) -> [u8; 2] {
    // The bit beside EA is always set (TS 27.010, 5.4.6.3.7).
    [dlci << 2 | COMMAND | EA, lines.0 | EA]
}

/// The values of PN: a DLCI's number, 0-63, and its N1 in bytes.
pub fn parameters(values: &[u8]) -> Option<(u8, usize)> {
    match values {
        [dlci, _, _, _, low, high, _, _, ..] => {
            Some((dlci & 63, usize::from(u16::from_le_bytes([*low, *high]))))
        }
        _ => None,
    }
}

/// The same values with another N1.
pub fn with_frame_size(values: &[u8], frame_size: usize) -> Vec<u8> {
    let mut values = values.to_vec();
    let octets = u16::try_from(frame_size).unwrap_or(u16::MAX).to_le_bytes();
    if let Some(place) = values.get_mut(4..6) {
        place.copy_from_slice(&octets);
    }
    values
}

/// The V.24 octet of MSC (TS 27.010, 5.4.6.3.7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct V24(u8);

impl V24 {
    /// DTR and RTS.
    pub const HOST: V24 = V24(0x01 | 0x04 | 0x08);

    /// The octet.
    pub fn octet(self) -> u8 {
        self.0
    }

    /// FC: the sender takes no data on this DLCI.
    pub fn flow_is_off(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// RTC: DTR of a host, DSR of a module.
    pub fn rtc(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// RTR: RTS of a host, CTS of a module.
    pub fn rtr(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// IC: RI.
    pub fn ring(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// DV: DCD.
    pub fn dcd(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// With FC set or clear.
    #[must_use]
    pub fn with_flow_off(self, is_off: bool) -> Self {
        self.with(0x02, is_off)
    }

    /// With RTC set or clear.
    #[must_use]
    pub fn with_rtc(self, is_set: bool) -> Self {
        self.with(0x04, is_set)
    }

    fn with(self, bit: u8, is_set: bool) -> Self {
        V24(if is_set { self.0 | bit } else { self.0 & !bit })
    }
}

impl From<u8> for V24 {
    fn from(octet: u8) -> Self {
        V24(octet)
    }
}

impl std::fmt::Debug for V24 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "V24({:02x})", self.0)
    }
}

/// The last octet of a field.
const EA: u8 = 0x01;

/// C/R in a type octet.
const COMMAND: u8 = 0x02;

/// The answer to RPN when it asks for the settings of a port: 115200 8N1, no flow control, XON and XOFF as usual. The
/// host's side is no port, so nothing depends on it.
pub const REMOTE_PORT: [u8; 7] = [0x07, 0x03, 0x00, 0x11, 0x13, 0x00, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_parsed_again_whatever_its_length() {
        for length in [0, 1, 2, 127, 128, 300, 1573] {
            let values = vec![0x5A; length];
            for message in [Message::command(Type::Test, &values), Message::answer(Type::Test, &values)] {
                let mut information = message.emit();
                information.push(0xE3);
                assert_eq!(Message::parse(&information), Some((message, &[0xE3][..])), "{length} bytes");
                // A message that is cut short is ignored.
                for cut in 0..information.len() - 1 {
                    assert_eq!(Message::parse(&information[..cut]), None, "{length} bytes cut to {cut}");
                }
            }
        }
    }

    #[test]
    fn every_type_has_its_octets() {
        // Type octets as a command and as an answer, TS 27.010, 5.4.6.3.
        for (octets, kind) in [
            ([0xE3, 0xE1], Type::ModemStatus),
            ([0xC3, 0xC1], Type::CloseDown),
            ([0x23, 0x21], Type::Test),
            ([0x43, 0x41], Type::PowerSaving),
            ([0xA3, 0xA1], Type::FlowOn),
            ([0x63, 0x61], Type::FlowOff),
            ([0x13, 0x11], Type::NotSupported),
            ([0x83, 0x81], Type::Parameters),
            ([0x93, 0x91], Type::RemotePort),
            ([0x53, 0x51], Type::RemoteLine),
            ([0xD3, 0xD1], Type::Service),
        ] {
            assert_eq!(Message::command(kind, &[]).emit(), [octets[0], 1]);
            assert_eq!(Message::answer(kind, &[]).emit(), [octets[1], 1]);
            assert_eq!(Type::parse(octets[1]), Some(kind));
        }
        assert_eq!(Type::parse(0xF1), None);
    }

    #[test]
    fn lines_are_found_in_a_message_of_any_length_and_not_in_a_short_one() {
        assert_eq!(modem_status(&[0x07]), None);
        for more in 0..7 {
            let values = [&[0x0B, 0x8D][..], &vec![0xFF; more]].concat();
            let (dlci, lines) = modem_status(&values).expect("lines");
            assert_eq!(
                (dlci, lines.dcd(), lines.ring(), lines.rtr(), lines.flow_is_off()),
                (2, true, false, true, false)
            );
        }
        assert_eq!(modem_status_values(1, V24::HOST), [0x07, 0x0D]);
        assert_eq!(modem_status_values(1, V24::HOST.with_flow_off(true)), [0x07, 0x0F]);
        assert_eq!(modem_status_values(1, V24::HOST.with_rtc(false)), [0x07, 0x09]);
    }

    #[test]
    fn the_frame_size_of_a_dlci_is_read_and_changed() {
        let values = [3, 0, 0, 10, 0x00, 0x02, 3, 2];
        assert_eq!(parameters(&values), Some((3, 512)));
        assert_eq!(parameters(&with_frame_size(&values, 127)), Some((3, 127)));
        assert_eq!(parameters(&values[..7]), None);
        assert_eq!(with_frame_size(&[1, 2], 127), [1, 2]);
    }
}
