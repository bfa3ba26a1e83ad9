//! The modem: its parts, its interface, and the order in which things happen.

use std::time::{Duration, Instant};

use crate::at_port::{Carrier, Escape, Mode, Port, Reach};
use crate::config::Config;
use crate::events::{Event, Power};
use crate::facts::Draws;
use crate::faults::Faults;
use crate::network::{ConnectionId, Network};
use crate::session::Session;
use crate::socket::{Service, Socket, SocketState};
use crate::store::Store;
use crate::time::Clock;

/// One emulated modem.
///
/// After every call that changes something, drain [`Modem::output`] of every port, apply
/// [`Modem::modem_lines`], and ask [`Modem::next_deadline`] again. The caller also watches the network's own
/// deadline: when it passes, call [`Modem::network_changed`].
///
/// Ports are named by their index in [`Config::ports`]; an index beyond panics.
#[derive(Debug)]
pub struct Modem {
    pub(crate) config: Config,
    /// The configured ports, and after them the channels of multiplexers.
    pub(crate) ports: Vec<Port>,
    pub(crate) power: Power,
    /// What a reboot resets.
    pub(crate) session: Session,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// Wrong PINs since the last right one.
    pub(crate) wrong_pins: u8,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    /// Scheduled events, in order of time.
    pub(crate) events: Vec<(Instant, Event)>,
    /// Connections to be aborted as soon as a call brings the network.
    pub(crate) doomed: Vec<ConnectionId>,
    next_connection: u64,
    /// For latencies with a spread.
    pub(crate) draws: Draws,
    /// The time of a call without a network that left work to do.
    pub(crate) work_since: Option<Instant>,
    /// The time up to which everything due has been carried out.
    pub(crate) looked_at: Instant,
}

/// The lines a modem drives, true for asserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ModemLines {
    /// Data carrier detect: a transparent connection is up (AT&C1), or always (AT&C0). It falls when the
    /// connection's last byte has left the port.
    pub dcd: bool,
    /// Clear to send: the modem takes bytes.
    pub cts: bool,
    /// Data set ready: the modem is on.
    pub dsr: bool,
    /// Ring indicator: never asserted.
    pub ri: bool,
}

/// Hardware flow control as AT+IFC set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlowControl {
    /// The host stops the modem by RTS.
    pub rts: bool,
    /// The modem stops the host by CTS.
    pub cts: bool,
}

/// What happened since the modem was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes lost on the line because one side did not stop the other: host bytes that found no room, and
    /// modem bytes that the host did not take.
    pub bytes_lost_without_flow_control: u64,
    /// Host bytes that arrived while a command was being carried out, or before the modem was up, and were
    /// dropped.
    pub bytes_dropped_while_busy: u64,
    /// URCs that found no port or no room, except copies of waiting ones.
    pub urcs_lost: u64,
    /// Received bytes that were pushed to a URC port that does not exist.
    pub pushed_bytes_lost: u64,
    /// Received datagrams that were too long or found no room.
    pub datagrams_dropped: u64,
    /// Commands to open a socket.
    pub opens: u64,
    /// Sockets that came up.
    pub opened: u64,
    /// Sends answered with SEND OK.
    pub send_oks: u64,
    /// Sends answered with SEND FAIL.
    pub send_fails: u64,
    /// Boots, the first one included.
    pub boots: u64,
    /// Frames that multiplexers have taken from the host.
    pub mux_frames_taken: u64,
    /// Frames that multiplexers have sent.
    pub mux_frames_sent: u64,
    /// Frames from the host that were longer than N1: none was taken.
    pub mux_frames_too_long: u64,
    /// Flags from the host that no frame followed: garbage, a wrong FCS, bytes lost inside a frame.
    pub mux_flags_without_frame: u64,
}

impl Modem {
    /// A modem with power on: up, or booting if it is configured so.
    ///
    /// # Panics
    /// When the configuration has no port.
    pub fn new(mut config: Config, now: Instant) -> Modem {
        assert!(!config.ports.is_empty(), "a modem has at least one port");
        config.send_buffer_bytes = config.send_buffer_bytes.max(LONGEST_SEND_BYTES);
        config.receive_buffer_bytes = config.receive_buffer_bytes.max(1);
        config.push_limit_bytes = config.push_limit_bytes.clamp(1, 16_384);
        config.port_buffer_bytes = config.port_buffer_bytes.max(1);
        let mut modem = Modem {
            ports: config.ports.iter().map(|name| Port::new(*name, &config)).collect(),
            power: Power::Off,
            session: Session::new(&config),
            store: Store::new(config.storage_bytes, config.storage_occupied_bytes, config.ram_storage_bytes),
            clock: Clock::new(config.clock, now),
            wrong_pins: 0,
            faults: Faults::default(),
            counters: Counters::default(),
            events: Vec::new(),
            doomed: Vec::new(),
            next_connection: 0,
            draws: Draws::default(),
            work_since: None,
            looked_at: now,
            config,
        };
        modem.power_up(now);
        modem
    }

    /// Bytes from the host have arrived on a port. What finds no room is lost and counted.
    pub fn received(&mut self, port: usize, bytes: &[u8], now: Instant, network: &mut dyn Network) {
        self.advance(now, network);
        if self.ports[port].deaf_until.is_some_and(|until| now < until) {
            return;
        }
        if self.stalled(now) {
            self.keep_for_later(port, bytes);
        } else {
            self.take_input(port, bytes, now, network);
        }
        self.advance(now, network);
    }

    /// The bytes ready to leave by a port; empty while the host stops the modem by RTS.
    pub fn output(&self, port: usize) -> &[u8] {
        let port = &self.ports[port];
        match port.settings.rts_flow && !port.rts {
            true => &[],
            false => port.output.as_slice(),
        }
    }

    /// The line has taken `count` bytes of [`Modem::output`].
    pub fn written(&mut self, port: usize, count: usize, now: Instant) {
        let state = &mut self.ports[port];
        let sets_speed = state.next_baud.is_some();
        state.written(count);
        if sets_speed && state.next_baud.is_none() && self.config.quirks.deaf_after_speed {
            state.deaf_until = Some(now + DEAF_TIME);
        }
        if count > 0 {
            state.last_left_at = Some(now);
        }
        self.fill(port, now);
        let conversations = self.mux_of(port).map_or(port..port + 1, |mux| mux.ports());
        let mut conversations = self.ports[conversations].iter();
        let room = conversations.clone().any(|port| port.output.len() < self.config.port_buffer_bytes);
        let waits = conversations.any(|port| !port.urcs.is_empty())
            || self.session.sockets.iter().any(|socket| {
                !socket.incoming.is_empty() || matches!(socket.state, SocketState::Ended { told: false, .. })
            });
        if room && waits {
            self.work_since.get_or_insert(now);
        }
    }

    /// The line transmitted `count` bytes that the host did not take: without flow control they are lost.
    pub fn overrun(&mut self, port: usize, count: usize, now: Instant) {
        let count = count.min(self.ports[port].output.len());
        self.counters.bytes_lost_without_flow_control += count as u64;
        self.written(port, count, now);
    }

    /// Room for host bytes; 0 when the modem stops the host by CTS. Without CTS flow control it always reports
    /// room, and bytes that find none are lost.
    pub fn wants_bytes(&self, port: usize) -> usize {
        let state = &self.ports[port];
        if !state.settings.cts_flow || self.power != Power::On {
            return INPUT_LIMIT_BYTES;
        }
        let room = match &state.mode {
            Mode::Data { connection, escape } => {
                let held = match escape {
                    Escape::None => 0,
                    Escape::Begun { count, .. } => usize::from(*count),
                    Escape::Complete { .. } => 3,
                };
                self.socket_of(*connection)
                    .map_or(INPUT_LIMIT_BYTES, |socket| self.send_room(socket).saturating_sub(held))
            }
            // Each channel stops the host by FC.
            _ if matches!(state.reach, Reach::Mux(_)) => INPUT_LIMIT_BYTES,
            _ if state.output.len() > ANSWERS_LIMIT_BYTES => 0,
            _ => INPUT_LIMIT_BYTES,
        };
        // What arrived during a stall is taken first.
        room.min(INPUT_LIMIT_BYTES).saturating_sub(state.stalled_input.len())
    }

    /// Flow control in force on a port.
    pub fn flow_control(&self, port: usize) -> FlowControl {
        let settings = &self.ports[port].settings;
        FlowControl { rts: settings.rts_flow, cts: settings.cts_flow }
    }

    /// Speed in force on a port, in baud. It changes when the OK to AT+IPR has been written.
    pub fn baud(&self, port: usize) -> u32 {
        self.ports[port].settings.baud
    }

    /// Takes the host's lines: DTR acts as AT&D sets, RTS stops the output under AT+IFC=2. Both are asserted at
    /// first.
    pub fn host_lines(&mut self, port: usize, dtr: bool, rts: bool, now: Instant, network: &mut dyn Network) {
        self.advance(now, network);
        let state = &mut self.ports[port];
        state.rts = rts;
        let dropped = state.dtr && !dtr;
        state.dtr = dtr;
        if dropped && self.power == Power::On {
            self.dtr_dropped(port, now, network);
        }
        if dtr && self.config.quirks.mux_holds_cts_off {
            self.hold_cts_off(port);
        }
        self.advance(now, network);
    }

    /// The modem's lines.
    pub fn modem_lines(&self, port: usize) -> ModemLines {
        let on = self.power == Power::On;
        ModemLines {
            dcd: on && self.ports[port].dcd(),
            cts: on && self.wants_bytes(port) > 0 && !self.holds_cts_off(port),
            dsr: on,
            ri: false,
        }
    }

    /// Something may have happened in the network: the modem checks its connections.
    pub fn network_changed(&mut self, now: Instant, network: &mut dyn Network) {
        self.advance(now, network);
    }

    /// The time of [`Modem::next_deadline`] has come.
    pub fn deadline_passed(&mut self, now: Instant, network: &mut dyn Network) {
        self.advance(now, network);
    }

    /// The next deadline; `None` if there is none. It can lie in the past, after a call without a network that
    /// left work to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let stalled_until = self.faults.stalled_until;
        if stalled_until.is_some() {
            return stalled_until;
        }
        let ports = self.ports.iter().filter_map(|port| port.due(self.config.escape_guard));
        let sockets = self.session.sockets.iter().filter_map(|socket| socket.due(self.looked_at));
        let events = self.events.first().map(|(at, _)| *at);
        let muxes = (0..self.config.ports.len()).filter_map(|line| self.mux_of(line)?.due());
        ports.chain(muxes).chain(sockets).chain(events).chain(self.work_since).min()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Carries out everything that is due, until nothing moves any more.
    pub(crate) fn advance(&mut self, now: Instant, network: &mut dyn Network) {
        self.looked_at = self.looked_at.max(now);
        if self.stalled(now) {
            return;
        }
        self.work_since = None;
        if self.faults.stalled_until.take().is_some() {
            for port in 0..self.ports.len() {
                let kept = std::mem::take(&mut self.ports[port].stalled_input);
                self.take_input(port, &kept, now, network);
            }
        }
        loop {
            let mut moved = self.happen(now);
            moved |= self.poll_connections(now, network);
            for port in 0..self.ports.len() {
                moved |= self.carry_out(port, now, network);
                moved |= self.take_queued(port, now, network);
            }
            moved |= self.deliver();
            moved |= self.run_muxes(now);
            if !moved {
                break;
            }
        }
    }

    fn stalled(&self, now: Instant) -> bool {
        self.faults.stalled_until.is_some_and(|until| now < until)
    }

    fn keep_for_later(&mut self, port: usize, bytes: &[u8]) {
        let kept = &mut self.ports[port].stalled_input;
        let count = bytes.len().min(INPUT_LIMIT_BYTES.saturating_sub(kept.len()));
        kept.extend_from_slice(&bytes[..count]);
        self.counters.bytes_lost_without_flow_control += (bytes.len() - count) as u64;
    }

    pub(crate) fn new_connection(&mut self) -> ConnectionId {
        self.next_connection += 1;
        ConnectionId(self.next_connection)
    }

    pub(crate) fn socket_of(&self, connection: ConnectionId) -> Option<&Socket> {
        self.session.sockets.iter().find(|socket| socket.connection == connection)
    }

    pub(crate) fn socket_of_mut(&mut self, connection: ConnectionId) -> Option<&mut Socket> {
        self.session.sockets.iter_mut().find(|socket| socket.connection == connection)
    }

    pub(crate) fn socket(&self, service: Service, id: u8) -> Option<&Socket> {
        self.session.sockets.iter().find(|socket| socket.service == service && socket.id == id)
    }

    /// How many bytes the socket takes from the host now.
    pub(crate) fn send_room(&self, socket: &Socket) -> usize {
        self.config.send_buffer_bytes.saturating_sub(socket.send_buffer_used())
    }
}

impl Port {
    /// When this port has something to do without input.
    fn due(&self, escape_guard: Duration) -> Option<Instant> {
        match &self.mode {
            Mode::Executing { due, .. } | Mode::Sending { due, .. } => Some(*due),
            Mode::Upload(upload) => Some(upload.due),
            Mode::Data { escape: Escape::Begun { first_at, .. }, .. } => Some(*first_at + escape_guard),
            Mode::Data { escape: Escape::Complete { last_at }, .. } => Some(*last_at + escape_guard),
            _ => None,
        }
    }

    /// The carrier of a connection that has ended falls at once if the port is not in data mode.
    pub(crate) fn carrier_lost(&mut self, connection: ConnectionId) {
        if self.carrier == Carrier::Up(connection) && !self.in_data_mode() {
            self.carrier = Carrier::Down;
        }
    }
}

impl Socket {
    /// When this socket has something to do without input. After a time that has been handled, it waits for the
    /// network.
    fn due(&self, looked_at: Instant) -> Option<Instant> {
        match self.state {
            SocketState::Opening { silent: true, .. } => None,
            SocketState::Opening { told_at, .. } if told_at > looked_at => Some(told_at),
            SocketState::Opening { given_up_at, .. } => Some(given_up_at),
            SocketState::Closing { until, .. } => Some(until),
            SocketState::Connected | SocketState::Ended { .. } => None,
        }
    }
}

/// Longest payload of one send (both manuals' test commands).
pub(crate) const LONGEST_SEND_BYTES: usize = 1_460;
/// A port that has been quiet for this long may sleep (AT+QSCLK=1).
pub(crate) const ASLEEP_AFTER: Duration = Duration::from_secs(5);
/// How long nothing is read after AT+IPR, where that is so.
const DEAF_TIME: Duration = Duration::from_millis(500);
/// Host bytes that a port takes at a time.
pub(crate) const INPUT_LIMIT_BYTES: usize = 4_096;
/// Output beyond which a port with CTS flow control, or a channel, reads no more commands.
pub(crate) const ANSWERS_LIMIT_BYTES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::simulated::{Behaviour, Plan, pattern_byte};
    use crate::testing::{Bench, milliseconds, seconds};
    use crate::{Family, PortName, Quirks, Registration};

    #[test]
    fn a_modem_that_is_not_up_yet_says_nothing_until_it_is_ready() {
        let mut bench = Bench::new(Config { booted: false, ..Config::default() });
        assert_eq!(bench.ask("AT"), "");
        assert_eq!(bench.modem.modem_lines(0), ModemLines::default());
        bench.pass(seconds(4));
        assert_eq!(bench.output(), "\r\nRDY\r\n\r\n+CFUN: 1\r\n");
        assert_eq!(bench.modem.counters().boots, 1);
    }

    #[test]
    fn a_modem_with_nothing_to_do_has_no_deadline() {
        let mut bench = Bench::online(Config::default());
        bench.open(0, 0);
        bench.send(0, b"hello");
        bench.pass(seconds(1));
        assert_eq!(bench.modem.next_deadline(), None);
    }

    #[test]
    fn commands_of_two_ports_are_carried_out_side_by_side() {
        let ports = vec![PortName::UsbAt, PortName::UsbModem];
        let plan = Plan::new(Behaviour::deaf()).window(1);
        let mut bench = Bench::with(Config { ports, ..Config::default() }, plan).get_online();
        bench.open(0, 0);
        bench.send(0, b"unsent");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,10"), "");
        assert!(bench.ask_on(1, "AT+QSSLSTATE=0").contains(",4,1,0,0,\"usbat\",1\r\n"));
        bench.pass(seconds(10));
        assert_eq!(bench.output(), "\r\nOK\r\n");
    }

    #[test]
    fn a_reboot_in_the_middle_of_everything_leaves_nothing_behind() {
        let mut bench = Bench::online(Config::default());
        bench.open(0, 1);
        bench.ask("AT+QSSLSEND=0,100");
        bench.type_bytes(b"half of it");
        bench.modem.reboot(bench.now);
        bench.pass(seconds(9));
        assert_eq!(bench.network.open_connections(), 0);
        bench.output();
        assert_eq!(bench.ask("AT+QIACT?"), "AT+QIACT?\r\r\nOK\r\n");
        assert!(bench.modem.sockets_in_use().is_empty());
    }

    /// Whatever a host types, in any pieces, and whatever happens to the modem: nothing panics, and no queue
    /// grows beyond its limit.
    #[test]
    fn nothing_that_is_typed_or_that_happens_breaks_the_modem() {
        const PIECES: [&[u8]; 40] = [
            b"AT",
            b"ATE0",
            b"ATE1",
            b"ATO",
            b"AT&D2",
            b"AT&D1",
            b"AT+IFC=2,2",
            b"AT+IFC=0,0",
            b"\r",
            b"\r",
            b"\r",
            b"\r",
            b"\r",
            b"\n",
            b"+++",
            b"+",
            b"AT+QIACT=1",
            b"AT+QIDEACT=1",
            b"AT+QSSLOPEN=1,0,0,\"a\",1,0",
            b"AT+QSSLOPEN=1,0,1,\"b\",1,1",
            b"AT+QSSLOPEN=1,0,2,\"c\",1,2",
            b"AT+QSSLSEND=0,5",
            b"AT+QSSLSEND=1,1460",
            b"AT+QSSLSEND=1",
            b"\x1A",
            b"\x1B",
            b"AT+QSSLRECV=0,1500",
            b"AT+QSSLCLOSE=0",
            b"AT+QSSLCLOSE=1,0",
            b"AT+QSSLCLOSE=2",
            b"AT+QISWTMD=0,1",
            b"AT+QISWTMD=1,2",
            b"AT+QFUPL=\"f\",9,1",
            b"AT+QFDEL=\"*\"",
            b"AT+CFUN=1,1",
            b"AT+QSSLSTATE",
            b"AT+QURCCFG=\"urcport\",\"all\"",
            b"AT+QICFG=\"dataformat\",1,1",
            b"AT+CMEE=\"",
            b"AT+CSQ;+CREG=2;;+CGREG=,,",
        ];
        break_with(&PIECES, 0..60);
    }

    #[test]
    fn nothing_that_is_typed_about_plain_connections_breaks_the_modem() {
        const PIECES: [&[u8]; 40] = [
            b"AT",
            b"ATE0",
            b"ATO",
            b"AT&D1",
            b"AT+IFC=2,2",
            b"\r",
            b"\r",
            b"\r",
            b"\r",
            b"\r",
            b"\r",
            b"\r",
            b"+++",
            b"+",
            b"AT+QIACT=1",
            b"AT+QIACT=1",
            b"AT+QIDEACT=1",
            b"AT+QIOPEN=1,0,\"TCP\",\"a\",1,0,0",
            b"AT+QIOPEN=1,1,\"TCP\",\"b\",1,0,2",
            b"AT+QIOPEN=1,2,\"UDP\",\"c\",1,0,0",
            b"AT+QIOPEN=1,3,\"UDP\",\"d\",1,0,1",
            b"AT+QIOPEN=1,4,\"UDP SERVICE\",\"127.0.0.1\",0,7,1",
            b"AT+QIOPEN=1,5,\"UDP SERVICE\",\"127.0.0.1\",0,0,0",
            b"AT+QISEND=2,5",
            b"AT+QISEND=3",
            b"AT+QISEND=4,3,\"192.0.2.7\",7",
            b"AT+QISEND=0,1460",
            b"AT+QISENDEX=0,\"4142\"",
            b"AT+QISEND=0,0",
            b"\x1A",
            b"\x1B",
            b"AT+QIRD=2,3",
            b"AT+QIRD=5",
            b"AT+QICLOSE=2",
            b"AT+QICLOSE=0,0",
            b"AT+QISWTMD=2,1",
            b"AT+QISWTMD=0,2",
            b"AT+QISTATE",
            b"AT+QICFG=\"dataformat\",1,1",
            b"AT+QICFG=\"sendinfo\",1",
        ];
        break_with(&PIECES, 0..60);
    }

    fn break_with(pieces: &[&[u8]; 40], seeds: std::ops::Range<u64>) {
        for seed in seeds {
            let mut step = 0u64;
            let mut roll = |sides: u64| {
                step += 1;
                let byte = |offset| u64::from(pattern_byte(seed, step * 2 + offset));
                (byte(0) * 256 + byte(1)) % sides
            };
            let config = Config {
                family: if roll(2) == 0 { Family::Ec20 } else { Family::Eg800q },
                ports: vec![PortName::Uart1, PortName::UsbAt],
                quirks: if roll(2) == 0 { Quirks::strict() } else { Quirks::field() },
                command_latency: milliseconds(roll(3) * 10),
                prompt_latency: milliseconds(roll(3) * 10),
                send_latency: milliseconds(roll(3) * 10),
                ..Config::default()
            };
            let behaviour = [Behaviour::echo(), Behaviour::source(20_000, seed), Behaviour::deaf()];
            let behaviour = behaviour[roll(3) as usize].clone();
            let plan = Plan::new(behaviour).latency(milliseconds(roll(2) * 30)).window(5_000);
            let mut bench = Bench::with(config, plan);
            for _ in 0..400 {
                let port = roll(2) as usize;
                match roll(40) {
                    0 => bench.pass(seconds(roll(3))),
                    1 => bench.host_reads(port, roll(2) == 0),
                    2 => bench.lines(port, roll(2) == 0, true),
                    3 => bench.modem.close_socket(roll(3) as u8, bench.now),
                    4 if roll(9) == 0 => bench.modem.reboot(bench.now),
                    5 => bench.modem.drop_pdp(1, bench.now),
                    6 => bench.modem.stall(bench.now + milliseconds(roll(99))),
                    7 => bench.modem.set_registration(Registration::Searching, bench.now),
                    8 => bench.modem.set_registration(Registration::After(milliseconds(5)), bench.now),
                    9 => bench.modem.fail_next_sends(roll(3) as u32),
                    10 => bench.modem.fail_next_open(550 + roll(25) as u16),
                    11 => bench.type_on(port, &[roll(256) as u8, roll(256) as u8, b'\r']),
                    12..20 => bench.pass(milliseconds(roll(1_100))),
                    _ => bench.type_on(port, pieces[roll(40) as usize]),
                }
                for port in 0..2 {
                    assert!(bench.modem.output(port).len() <= 1 << 21, "seed {seed}");
                }
            }
            // Whatever its state, a reboot makes the modem answer.
            for port in 0..2 {
                bench.host_reads(port, true);
                bench.lines(port, true, true);
            }
            bench.modem.reboot(bench.now);
            bench.pass(seconds(30));
            bench.output();
            bench.type_bytes(b"AT\r");
            bench.pass(milliseconds(20));
            assert_eq!(bench.output(), "AT\r\r\nOK\r\n", "seed {seed}");
        }
    }
}
