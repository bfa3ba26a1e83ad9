//! One port of the modem: the link to the host, the serial line's pace, and the modem's lines.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::{Registry, Token};

use super::PortLocation;
use super::pty::Pty;
use super::server::Server;
use super::telnet::Request;
use super::transcript::Transcript;
use crate::line::Line;
use crate::modem::Modem;
use crate::network::Network;

/// A port and what lies between it and the modem's core.
pub(super) struct Port {
    number: usize,
    link: Link,
    /// `None` where bytes take no time, as on USB.
    pacing: Option<Pacing>,
    /// Whether reading or writing is worth a system call: set by events, cleared by "would block".
    readable: bool,
    writable: bool,
    transcripts: Vec<Transcript>,
    /// What was lost on this side of the core.
    pub(super) losses: Losses,
}

/// The connection to the host.
pub(super) enum Link {
    /// A pseudoterminal.
    Pty(Pty),
    /// A TCP port.
    Server(Box<Server>),
    /// A pseudoterminal that is gone for a while, and the link to the next.
    Unplugged {
        /// `--link`.
        link: Option<PathBuf>,
        /// The speed of the next one at first.
        baud: u32,
    },
}

/// How fast bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as they can, as on USB.
    None,
    /// Ten bits each.
    Serial {
        /// The modem's speed at first.
        baud: u32,
        /// Whether bytes sent at another speed than the receiver's are lost.
        check_speed: bool,
    },
}

/// Bytes that did not arrive, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The host did not take them, and flow control was off.
    pub not_taken_bytes: u64,
    /// The host's speed was not the modem's.
    pub wrong_speed_bytes: u64,
}

/// The serial line, one for each direction.
struct Pacing {
    from_host: Line,
    to_host: Line,
    /// Whether bytes sent at another speed than the receiver's are lost.
    check_speed: bool,
    /// The host's speed in baud as far as it is known.
    host_baud: Option<u32>,
}

/// Everything outside a port that it moves bytes to and from.
pub(super) struct Environment<'a> {
    pub(super) modem: &'a mut Modem,
    pub(super) network: &'a mut dyn Network,
    pub(super) buffer: &'a mut [u8],
    pub(super) now: Instant,
}

impl Port {
    /// A port of that number of the modem's.
    pub(super) fn new(number: usize, link: Link, pace: Pace, transcripts: Vec<Transcript>) -> Self {
        let pacing = match pace {
            Pace::None => None,
            Pace::Serial { baud, check_speed } => Some(Pacing {
                from_host: Line::new(baud, LINE_BYTES),
                to_host: Line::new(baud, LINE_BYTES),
                check_speed,
                host_baud: None,
            }),
        };
        Port { number, link, pacing, readable: true, writable: true, transcripts, losses: Losses::default() }
    }

    /// Where the host finds it: a path or an address.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Takes the pseudoterminal away from the host; false if it has none.
    pub(super) fn unplug(&mut self) -> bool {
        let Link::Pty(pty) = &self.link else { return matches!(self.link, Link::Unplugged { .. }) };
        self.link = Link::Unplugged {
            link: pty.link().map(Path::to_owned),
            baud: pty.host_baud().unwrap_or(115_200),
        };
        true
    }

    /// Gives the host a pseudoterminal again, if it was taken away.
    pub(super) fn plug_in(&mut self, registry: &Registry, tokens: [Token; 2]) -> anyhow::Result<()> {
        if let Link::Unplugged { link, baud } = &self.link {
            let pty = Pty::new(link.as_deref(), *baud)?;
            pty.register(registry, tokens)?;
            self.link = Link::Pty(pty);
            (self.readable, self.writable) = (true, true);
        }
        Ok(())
    }

    /// Something happened on the link.
    pub(super) fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Handles an event of the link that is not payload, by the token of the given part: a host has closed the
    /// pseudoterminal, or a client connects. False if the event is about payload after all.
    pub(super) fn link_changed(
        &mut self,
        part: usize,
        registry: &Registry,
        environment: &mut Environment<'_>,
    ) -> bool {
        match (&mut self.link, part) {
            (Link::Pty(pty), 1) => pty.host_closed(),
            (Link::Server(_), 0) => self.accept(registry, environment),
            _ => return false,
        }
        true
    }

    fn accept(&mut self, registry: &Registry, environment: &mut Environment<'_>) {
        // A client that connects again may be seen before the end of its last connection.
        self.readable = true;
        self.pump(environment);
        let Link::Server(server) = &mut self.link else { return };
        if server.accept(registry, environment.modem.baud(self.number)) {
            self.readable = true;
            self.writable = true;
            if server.carries_lines() {
                environment.modem.host_lines(self.number, true, true, environment.now, environment.network);
            }
        }
    }

    /// Moves bytes as far as they go now; true if any moved.
    pub(super) fn pump(&mut self, environment: &mut Environment<'_>) -> bool {
        let mut moved = false;
        self.follow_speed(environment);
        while self.read(environment) {
            moved = true;
        }
        while self.deliver_to_modem(environment) {
            moved = true;
        }
        while self.write(environment) {
            moved = true;
        }
        self.show_lines(environment);
        moved
    }

    /// When the next bytes arrive that are still on the line.
    pub(super) fn next_deadline(&self, modem: &Modem, now: Instant) -> Option<Instant> {
        let pacing = self.pacing.as_ref()?;
        let quantum = quantum_bytes(modem.baud(self.number));
        // Bytes that are due already wait for the other side, not for time.
        let upcoming =
            |line: &Line| if due(line, quantum, now).is_empty() { line.deadline_for(quantum) } else { None };
        let from_host = if self.holds_host(modem) { None } else { upcoming(&pacing.from_host) };
        let to_host = if self.writable || !modem.flow_control(self.number).rts {
            upcoming(&pacing.to_host)
        } else {
            None
        };
        from_host.into_iter().chain(to_host).min()
    }

    /// A changed speed holds for bytes that begin later than the change.
    fn follow_speed(&mut self, environment: &Environment<'_>) {
        let Some(pacing) = &mut self.pacing else { return };
        let baud = environment.modem.baud(self.number);
        for line in [&mut pacing.from_host, &mut pacing.to_host] {
            if line.is_empty() {
                line.set_baud(baud, environment.now);
            }
        }
        if pacing.check_speed
            && let Link::Pty(pty) = &self.link
        {
            pacing.host_baud = pty.host_baud();
        }
    }

    /// Whether the modem stops the host by CTS.
    fn holds_host(&self, modem: &Modem) -> bool {
        modem.flow_control(self.number).cts && modem.wants_bytes(self.number) == 0
    }

    /// From the host onto the line, or into the modem where there is none.
    fn read(&mut self, environment: &mut Environment<'_>) -> bool {
        let wanted = environment.modem.wants_bytes(self.number);
        let room = match &self.pacing {
            // A link without pace never has to lose anything: it waits, as USB does.
            None => wanted,
            Some(pacing) if environment.modem.flow_control(self.number).cts => {
                let under_way = LINE_BYTES - pacing.from_host.room();
                pacing.from_host.room().min(wanted.saturating_sub(under_way))
            }
            Some(pacing) => pacing.from_host.room(),
        };
        if !self.readable || room == 0 {
            return false;
        }
        let room = room.min(environment.buffer.len());
        let count = match self.link.read(&mut environment.buffer[..room]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(error) => {
                self.readable = false;
                if error.kind() == ErrorKind::NotConnected {
                    self.host_gone(environment);
                }
                return false;
            }
        };
        self.apply_requests(environment);
        let bytes = &environment.buffer[..count];
        match &mut self.pacing {
            None => Self::receive(
                &mut self.transcripts,
                self.number,
                environment.modem,
                environment.network,
                bytes,
                environment.now,
            ),
            Some(pacing) if pacing.speeds_differ(environment.modem, self.number) => {
                self.losses.wrong_speed_bytes += count as u64;
            }
            Some(pacing) => {
                pacing.from_host.push(bytes, environment.now);
            }
        }
        true
    }

    /// From the line into the modem.
    fn deliver_to_modem(&mut self, environment: &mut Environment<'_>) -> bool {
        let Some(pacing) = &mut self.pacing else { return false };
        let quantum = quantum_bytes(environment.modem.baud(self.number));
        let arrived = due(&pacing.from_host, quantum, environment.now);
        // Without flow control the modem gets what arrives, and loses and counts what it has no room for.
        let limit = match environment.modem.flow_control(self.number).cts {
            true => environment.modem.wants_bytes(self.number),
            false => usize::MAX,
        };
        let count = arrived.len().min(limit);
        if count == 0 {
            return false;
        }
        Self::receive(
            &mut self.transcripts,
            self.number,
            environment.modem,
            environment.network,
            &arrived[..count],
            environment.now,
        );
        pacing.from_host.consume(count);
        true
    }

    fn receive(
        transcripts: &mut [Transcript],
        number: usize,
        modem: &mut Modem,
        network: &mut dyn Network,
        bytes: &[u8],
        now: Instant,
    ) {
        for transcript in transcripts {
            transcript.host(bytes, now);
        }
        modem.received(number, bytes, now, network);
    }

    /// From the modem onto the line, and from the line to the host.
    fn write(&mut self, environment: &mut Environment<'_>) -> bool {
        let (modem, number, now) = (&mut *environment.modem, self.number, environment.now);
        let Some(pacing) = &mut self.pacing else {
            let count = self.write_to_host_from(modem, now);
            // If nothing was written, there is nothing to report: the modem would handle its sockets in vain.
            if count > 0 {
                modem.written(number, count, now);
            }
            return count > 0;
        };
        let output = modem.output(number);
        let taken = if pacing.speeds_differ(modem, number) {
            self.losses.wrong_speed_bytes += output.len() as u64;
            output.len()
        } else {
            let on_the_line = LINE_BYTES - pacing.to_host.room();
            let room = if modem.mux_of(number).is_some() {
                // The next frame is made late, so that an answer does not wait for what is ahead of it.
                (quantum_bytes(modem.baud(number)) * MUX_QUANTA_AHEAD).saturating_sub(on_the_line)
            } else {
                output.len()
            };
            pacing.to_host.push(&output[..output.len().min(room)], now)
        };
        if taken > 0 {
            modem.written(number, taken, now);
        }
        self.write_arrived(environment.modem, now) || taken > 0
    }

    /// Without pace: straight to the host.
    fn write_to_host_from(&mut self, modem: &Modem, now: Instant) -> usize {
        let output = modem.output(self.number);
        if !self.writable || output.is_empty() {
            if self.writable {
                self.link.flush();
            }
            return 0;
        }
        match self.link.write(output) {
            Ok(count) => {
                for transcript in &mut self.transcripts {
                    transcript.modem(&output[..count], now);
                }
                count
            }
            Err(error) => {
                self.writable = error.kind() == ErrorKind::Interrupted;
                0
            }
        }
    }

    /// With pace: what has come to the host's end of the line.
    fn write_arrived(&mut self, modem: &Modem, now: Instant) -> bool {
        let Some(pacing) = &mut self.pacing else { return false };
        let arrived = due(&pacing.to_host, quantum_bytes(modem.baud(self.number)), now);
        if self.writable {
            self.link.flush();
        }
        if arrived.is_empty() {
            return false;
        }
        if self.writable {
            match self.link.write(arrived) {
                Ok(count) => {
                    for transcript in &mut self.transcripts {
                        transcript.modem(&arrived[..count], now);
                    }
                    pacing.to_host.consume(count);
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => return true,
                Err(_) => self.writable = false,
            }
        }
        if modem.flow_control(self.number).rts {
            return false;
        }
        // The host does not take the bytes, and nothing stops the modem: they are lost, as on a real line.
        let count = arrived.len();
        self.losses.not_taken_bytes += count as u64;
        pacing.to_host.consume(count);
        true
    }

    fn apply_requests(&mut self, environment: &mut Environment<'_>) {
        let Link::Server(server) = &mut self.link else { return };
        for request in server.requests() {
            match request {
                Request::Dtr(_) | Request::Rts(_) => {
                    let (dtr, rts) = server.host_lines();
                    environment.modem.host_lines(self.number, dtr, rts, environment.now, environment.network);
                }
                Request::Baud(baud) => {
                    if let Some(pacing) = &mut self.pacing {
                        pacing.host_baud = Some(baud);
                    }
                }
                Request::Suspend(suspended) => self.writable |= !suspended,
                Request::PurgeTowardsHost => {
                    if let Some(pacing) = &mut self.pacing {
                        let count = pacing.to_host.arrived(environment.now).len();
                        pacing.to_host.consume(count);
                    }
                }
                Request::PurgeTowardsModem => {
                    if let Some(pacing) = &mut self.pacing {
                        let count = pacing.from_host.arrived(environment.now).len();
                        pacing.from_host.consume(count);
                    }
                }
            }
        }
    }

    /// The same as a pulled cable: DTR and RTS fall.
    fn host_gone(&mut self, environment: &mut Environment<'_>) {
        if let Some(pacing) = &mut self.pacing {
            pacing.host_baud = None;
        }
        if let Link::Server(server) = &self.link
            && server.carries_lines()
        {
            environment.modem.host_lines(self.number, false, false, environment.now, environment.network);
        }
        self.writable = true;
    }

    /// Shows a change of the modem's lines only after the bytes that left before it.
    fn show_lines(&mut self, environment: &Environment<'_>) {
        let line_is_empty = self.pacing.as_ref().is_none_or(|pacing| pacing.to_host.is_empty());
        if let Link::Server(server) = &mut self.link
            && line_is_empty
            && environment.modem.output(self.number).is_empty()
        {
            server.set_lines(environment.modem.modem_lines(self.number));
        }
    }
}

impl Link {
    /// Where the host finds it.
    pub(super) fn location(&self) -> PortLocation {
        match self {
            Link::Pty(pty) => PortLocation::Path(pty.path().to_owned()),
            Link::Server(server) => server.location(),
            Link::Unplugged { link, .. } => {
                PortLocation::Path(link.clone().unwrap_or_else(|| "(unplugged)".into()))
            }
        }
    }

    /// The path, if it has one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Link::Pty(pty) => Some(pty.path()),
            Link::Server(_) | Link::Unplugged { .. } => None,
        }
    }

    /// Registers a pseudoterminal. A server has registered its listener itself, and its client comes later.
    pub(super) fn register(&self, registry: &Registry, tokens: [Token; 2]) -> io::Result<()> {
        match self {
            Link::Pty(pty) => pty.register(registry, tokens),
            Link::Server(_) | Link::Unplugged { .. } => Ok(()),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Pty(pty) => pty.read(buffer),
            Link::Server(server) => server.read(buffer),
            Link::Unplugged { .. } => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Pty(pty) => pty.write(bytes),
            Link::Server(server) => server.write(bytes),
            Link::Unplugged { .. } => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) {
        if let Link::Server(server) = self {
            server.flush();
        }
    }
}

impl Pacing {
    fn speeds_differ(&self, modem: &Modem, number: usize) -> bool {
        self.check_speed && self.host_baud.is_some_and(|baud| baud != modem.baud(number))
    }
}

/// The bytes that have arrived, once they are worth a system call or no more are under way.
fn due(line: &Line, quantum: usize, now: Instant) -> &[u8] {
    let arrived = line.arrived(now);
    let all = LINE_BYTES - line.room();
    if arrived.len() >= quantum || arrived.len() == all { arrived } else { &[] }
}

/// Bytes are handed on in portions of about 1 ms, and the last portion as soon as it has arrived.
fn quantum_bytes(baud: u32) -> usize {
    (baud / 10_000).max(1) as usize
}

/// Portions of 1 ms that a multiplexed line holds towards the host.
const MUX_QUANTA_AHEAD: usize = 16;
/// What one direction of a line holds: 11 ms at 921600 baud, so that the loop need not be punctual.
const LINE_BYTES: usize = 1024;
