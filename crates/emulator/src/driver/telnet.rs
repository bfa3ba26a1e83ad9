//! The server's side of Telnet with the COM port option (RFC 2217), without I/O.
//!
//! Bytes from the network go into [`Telnet::received`], which sorts out payload and [`Request`]s; what must
//! be answered is collected in [`Telnet::replies`]. Payload is always taken as binary.

use crate::modem::ModemLines;

/// One client's Telnet conversation.
#[derive(Debug)]
pub(super) struct Telnet {
    state: TelnetState,
    replies: Vec<u8>,
    /// Options for which we have sent WILL.
    ours: Vec<u8>,
    /// Options for which we have sent DO.
    theirs: Vec<u8>,
    com_port: bool,
    settings: Settings,
    modem_state_mask: u8,
    lines: ModemLines,
}

/// A client's request to the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// DTR asserted or not.
    Dtr(bool),
    /// RTS asserted or not.
    Rts(bool),
    /// The host's speed in baud.
    Baud(u32),
    /// Send no payload until the client allows it.
    Suspend(bool),
    /// Drop what is buffered on the way to the host.
    PurgeTowardsHost,
    /// Drop what is buffered on the way to the modem.
    PurgeTowardsModem,
}

impl Telnet {
    /// A conversation that begins with our offers.
    pub(super) fn new(baud: u32, lines: ModemLines) -> Self {
        let mut telnet = Telnet {
            state: TelnetState::Payload,
            replies: Vec::new(),
            ours: Vec::new(),
            theirs: Vec::new(),
            com_port: false,
            settings: Settings { baud, ..Settings::default() },
            modem_state_mask: 0xFF,
            lines,
        };
        for option in [BINARY, SUPPRESS_GO_AHEAD] {
            telnet.say_will(option);
            telnet.say_do(option);
        }
        telnet.say_do(COM_PORT);
        telnet
    }

    /// Bytes to be sent to the client before any later payload.
    pub(super) fn replies(&mut self) -> &mut Vec<u8> {
        &mut self.replies
    }

    /// Takes bytes as they arrived; they may be split anywhere.
    pub(super) fn received(&mut self, bytes: &[u8], payload: &mut Vec<u8>, requests: &mut Vec<Request>) {
        for &byte in bytes {
            self.state = match std::mem::replace(&mut self.state, TelnetState::Payload) {
                TelnetState::Payload if byte == IAC => TelnetState::Command,
                TelnetState::Payload => {
                    payload.push(byte);
                    TelnetState::Payload
                }
                TelnetState::Command => match byte {
                    IAC => {
                        payload.push(IAC);
                        TelnetState::Payload
                    }
                    WILL | WONT | DO | DONT => TelnetState::Option(byte),
                    SB => TelnetState::Subnegotiation(Vec::new()),
                    // NOP, break, are-you-there and the like mean nothing to a modem.
                    _ => TelnetState::Payload,
                },
                TelnetState::Option(verb) => {
                    self.negotiate(verb, byte);
                    TelnetState::Payload
                }
                TelnetState::Subnegotiation(text) if byte == IAC => TelnetState::SubnegotiationCommand(text),
                TelnetState::Subnegotiation(mut text) => {
                    collect(&mut text, byte);
                    TelnetState::Subnegotiation(text)
                }
                TelnetState::SubnegotiationCommand(mut text) => match byte {
                    IAC => {
                        collect(&mut text, IAC);
                        TelnetState::Subnegotiation(text)
                    }
                    SE => {
                        if let [COM_PORT, command, value @ ..] = text.as_slice() {
                            self.com_port_command(*command, value, requests);
                        }
                        TelnetState::Payload
                    }
                    // Not a legal end; the subnegotiation is dropped, and the command counts.
                    WILL | WONT | DO | DONT => TelnetState::Option(byte),
                    _ => TelnetState::Payload,
                },
            };
        }
    }

    /// Reports the modem's lines to the client, if its mask selects a line that has changed.
    pub(super) fn set_lines(&mut self, lines: ModemLines) {
        let before = level_bits(self.lines);
        self.lines = lines;
        let changed = (before ^ level_bits(lines)) & self.modem_state_mask;
        if self.com_port && changed != 0 {
            self.notify_modem_state(before);
        }
    }

    /// DTR and RTS as the client last set them.
    pub(super) fn host_lines(&self) -> (bool, bool) {
        (self.settings.dtr, self.settings.rts)
    }

    fn negotiate(&mut self, verb: u8, option: u8) {
        let known = matches!(option, BINARY | SUPPRESS_GO_AHEAD | COM_PORT);
        match verb {
            DO if known => {
                self.say_will(option);
                self.agreed(option);
            }
            DO => self.replies.extend([IAC, WONT, option]),
            DONT => {
                if forget(&mut self.ours, option) {
                    self.replies.extend([IAC, WONT, option]);
                }
            }
            WILL if known => {
                self.say_do(option);
                self.agreed(option);
            }
            WILL => self.replies.extend([IAC, DONT, option]),
            _ => {
                if forget(&mut self.theirs, option) {
                    self.replies.extend([IAC, DONT, option]);
                }
                self.com_port &= option != COM_PORT;
            }
        }
    }

    fn agreed(&mut self, option: u8) {
        if option == COM_PORT && !self.com_port {
            self.com_port = true;
            self.notify_modem_state(level_bits(self.lines));
        }
    }

    fn say_will(&mut self, option: u8) {
        if !self.ours.contains(&option) {
            self.ours.push(option);
            self.replies.extend([IAC, WILL, option]);
        }
    }

    fn say_do(&mut self, option: u8) {
        if !self.theirs.contains(&option) {
            self.theirs.push(option);
            self.replies.extend([IAC, DO, option]);
        }
    }

    /// Section 3 of RFC 2217. A value of 0 asks for the present one.
    fn com_port_command(&mut self, command: u8, value: &[u8], requests: &mut Vec<Request>) {
        match (command, value) {
            (SIGNATURE, []) => self.answer(SIGNATURE, b"qssl-modem-emulator"),
            (SIGNATURE, _) => {}
            (SET_BAUDRATE, &[a, b, c, d]) => {
                let baud = u32::from_be_bytes([a, b, c, d]);
                if baud != 0 {
                    self.settings.baud = baud;
                    requests.push(Request::Baud(baud));
                }
                self.answer(SET_BAUDRATE, &self.settings.baud.to_be_bytes());
            }
            (SET_DATASIZE, &[size]) => {
                self.settings.data_size =
                    Some(size).filter(|size| *size != 0).unwrap_or(self.settings.data_size);
                self.answer(SET_DATASIZE, &[self.settings.data_size]);
            }
            (SET_PARITY, &[parity]) => {
                self.settings.parity =
                    Some(parity).filter(|parity| *parity != 0).unwrap_or(self.settings.parity);
                self.answer(SET_PARITY, &[self.settings.parity]);
            }
            (SET_STOPSIZE, &[size]) => {
                self.settings.stop_size =
                    Some(size).filter(|size| *size != 0).unwrap_or(self.settings.stop_size);
                self.answer(SET_STOPSIZE, &[self.settings.stop_size]);
            }
            (SET_CONTROL, &[value]) => self.set_control(value, requests),
            (SET_LINESTATE_MASK, &[mask]) => self.answer(SET_LINESTATE_MASK, &[mask]),
            (SET_MODEMSTATE_MASK, &[mask]) => {
                self.modem_state_mask = mask;
                self.answer(SET_MODEMSTATE_MASK, &[mask]);
                self.notify_modem_state(level_bits(self.lines));
            }
            (FLOWCONTROL_SUSPEND, _) => requests.push(Request::Suspend(true)),
            (FLOWCONTROL_RESUME, _) => requests.push(Request::Suspend(false)),
            (PURGE_DATA, &[which]) => {
                if matches!(which, 1 | 3) {
                    requests.push(Request::PurgeTowardsHost);
                }
                if matches!(which, 2 | 3) {
                    requests.push(Request::PurgeTowardsModem);
                }
                self.answer(PURGE_DATA, &[which]);
            }
            _ => log::debug!("rfc 2217: client sent command {command} with {} bytes", value.len()),
        }
    }

    fn set_control(&mut self, value: u8, requests: &mut Vec<Request>) {
        let answer = match value {
            0 => self.settings.flow_control,
            1..=3 => {
                self.settings.flow_control = value;
                value
            }
            // A break has no effect on the modem, so it is always reported off.
            4 => 6,
            7 => {
                if self.settings.dtr {
                    8
                } else {
                    9
                }
            }
            8 | 9 => {
                self.settings.dtr = value == 8;
                requests.push(Request::Dtr(self.settings.dtr));
                value
            }
            10 => {
                if self.settings.rts {
                    11
                } else {
                    12
                }
            }
            11 | 12 => {
                self.settings.rts = value == 11;
                requests.push(Request::Rts(self.settings.rts));
                value
            }
            13 => 14,
            _ => value,
        };
        self.answer(SET_CONTROL, &[answer]);
    }

    fn notify_modem_state(&mut self, before: u8) {
        let now = level_bits(self.lines);
        // The low half shows which of the high half has changed; of RI only its end counts as a change.
        let mut changes = (before ^ now) >> 4;
        if now & RI != 0 {
            changes &= !(RI >> 4);
        }
        self.answer(NOTIFY_MODEMSTATE, &[now | changes]);
    }

    /// Answers carry the number of the command plus 100.
    fn answer(&mut self, command: u8, value: &[u8]) {
        self.replies.extend([IAC, SB, COM_PORT, command + 100]);
        escape(value, &mut self.replies);
        self.replies.extend([IAC, SE]);
    }
}

/// Appends payload with every 0xFF doubled.
pub(super) fn escape(payload: &[u8], output: &mut Vec<u8>) {
    for &byte in payload {
        if byte == IAC {
            output.push(IAC);
        }
        output.push(byte);
    }
}

#[derive(Debug)]
enum TelnetState {
    Payload,
    /// After IAC.
    Command,
    /// After IAC and WILL, WONT, DO or DONT.
    Option(u8),
    Subnegotiation(Vec<u8>),
    /// After IAC in a subnegotiation.
    SubnegotiationCommand(Vec<u8>),
}

#[derive(Debug)]
struct Settings {
    baud: u32,
    data_size: u8,
    parity: u8,
    stop_size: u8,
    flow_control: u8,
    dtr: bool,
    rts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            baud: 115_200,
            data_size: 8,
            parity: 1,
            stop_size: 1,
            flow_control: 1,
            dtr: true,
            rts: true,
        }
    }
}

/// No legal subnegotiation is longer; what exceeds it is dropped.
const SUBNEGOTIATION_LIMIT_BYTES: usize = 64;

const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

const BINARY: u8 = 0;
const SUPPRESS_GO_AHEAD: u8 = 3;
const COM_PORT: u8 = 44;

const SIGNATURE: u8 = 0;
const SET_BAUDRATE: u8 = 1;
const SET_DATASIZE: u8 = 2;
const SET_PARITY: u8 = 3;
const SET_STOPSIZE: u8 = 4;
const SET_CONTROL: u8 = 5;
const NOTIFY_MODEMSTATE: u8 = 7;
const FLOWCONTROL_SUSPEND: u8 = 8;
const FLOWCONTROL_RESUME: u8 = 9;
const SET_LINESTATE_MASK: u8 = 10;
const SET_MODEMSTATE_MASK: u8 = 11;
const PURGE_DATA: u8 = 12;

const DCD: u8 = 0x80;
const RI: u8 = 0x40;
const DSR: u8 = 0x20;
const CTS: u8 = 0x10;

fn level_bits(lines: ModemLines) -> u8 {
    let bit = |asserted: bool, bit: u8| if asserted { bit } else { 0 };
    bit(lines.dcd, DCD) | bit(lines.ri, RI) | bit(lines.dsr, DSR) | bit(lines.cts, CTS)
}

fn collect(text: &mut Vec<u8>, byte: u8) {
    if text.len() < SUBNEGOTIATION_LIMIT_BYTES {
        text.push(byte);
    }
}

fn forget(options: &mut Vec<u8>, option: u8) -> bool {
    let before = options.len();
    options.retain(|known| *known != option);
    options.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telnet() -> Telnet {
        let mut telnet = Telnet::new(115_200, ModemLines { dcd: false, cts: true, dsr: true, ri: false });
        telnet.replies().clear();
        telnet
    }

    /// Feeds bytes in pieces of `size` and returns payload, requests and replies.
    fn feed(telnet: &mut Telnet, bytes: &[u8], size: usize) -> (Vec<u8>, Vec<Request>, Vec<u8>) {
        let (mut payload, mut requests) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            telnet.received(piece, &mut payload, &mut requests);
        }
        (payload, requests, std::mem::take(telnet.replies()))
    }

    #[test]
    fn payload_and_requests_come_apart_however_the_bytes_are_split() {
        let bytes = [
            b"AT\r".as_slice(),
            &[IAC, IAC],
            &[IAC, SB, COM_PORT, SET_CONTROL, 9, IAC, SE],
            b"x",
            &[IAC, SB, COM_PORT, SET_BAUDRATE, 0, 0x0E, 0x10, 0, IAC, SE],
            &[IAC, WILL, COM_PORT],
            b"y",
            &[IAC, 241],
            b"z",
        ]
        .concat();
        for size in 1..=bytes.len() {
            let (payload, requests, _) = feed(&mut telnet(), &bytes, size);
            assert_eq!(payload, [b"AT\r".as_slice(), &[IAC], b"xyz"].concat(), "pieces of {size}");
            assert_eq!(requests, [Request::Dtr(false), Request::Baud(921_600)], "pieces of {size}");
        }
    }

    #[test]
    fn a_baud_rate_with_0xff_in_it_is_doubled_both_ways() {
        let ask = [IAC, SB, COM_PORT, SET_BAUDRATE, 0, 0, IAC, IAC, 1, IAC, SE];
        let (_, requests, replies) = feed(&mut telnet(), &ask, 1);
        assert_eq!(requests, [Request::Baud(0xFF01)]);
        assert_eq!(replies, [IAC, SB, COM_PORT, SET_BAUDRATE + 100, 0, 0, IAC, IAC, 1, IAC, SE]);
    }

    #[test]
    fn an_option_is_agreed_upon_once_and_unknown_ones_are_refused() {
        let mut telnet = telnet();
        let (_, _, replies) = feed(&mut telnet, &[IAC, DO, BINARY, IAC, WILL, BINARY], 6);
        assert!(replies.is_empty(), "both were offered at the beginning");
        let (_, _, replies) = feed(&mut telnet, &[IAC, DO, 24, IAC, WILL, 31], 6);
        assert_eq!(replies, [IAC, WONT, 24, IAC, DONT, 31]);
    }

    #[test]
    fn the_modems_lines_are_told_on_agreement_and_on_change_under_the_mask() {
        let mut telnet = telnet();
        let up = ModemLines { dcd: true, cts: true, dsr: true, ri: false };
        telnet.set_lines(up);
        assert!(telnet.replies().is_empty(), "nobody has asked yet");
        let (_, _, replies) = feed(&mut telnet, &[IAC, WILL, COM_PORT], 3);
        assert_eq!(replies, [IAC, SB, COM_PORT, 107, DCD | DSR | CTS, IAC, SE]);
        telnet.set_lines(ModemLines { dcd: false, ..up });
        assert_eq!(telnet.replies(), &[IAC, SB, COM_PORT, 107, DSR | CTS | DCD >> 4, IAC, SE]);
        telnet.replies().clear();
        feed(&mut telnet, &[IAC, SB, COM_PORT, SET_MODEMSTATE_MASK, DCD, IAC, SE], 7);
        telnet.set_lines(ModemLines { dcd: false, cts: false, ..up });
        assert!(telnet.replies().is_empty(), "CTS is masked");
    }

    #[test]
    fn an_endless_subnegotiation_takes_no_memory() {
        let mut telnet = telnet();
        feed(&mut telnet, &[IAC, SB, COM_PORT], 3);
        feed(&mut telnet, &[7; 100_000], 1000);
        let TelnetState::Subnegotiation(text) = &telnet.state else { panic!("{:?}", telnet.state) };
        assert_eq!(text.len(), SUBNEGOTIATION_LIMIT_BYTES);
    }
}
