//! The parts of a run, as plain data: ports, connections with both their ends, and faults with their times.
//!
//! A wiring decides everything: two runs of the same wiring are equal, byte for byte.

use std::time::Duration;

use qssl_core::at::{AtText, IdSet};
use qssl_core::settings;
use qssl_modem_emulator as emulator;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Opening};

use super::datagrams::DatagramTunnel;
use super::wire::TTY_BYTES;

/// All parts of a run.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// The seed of everything random.
    pub seed: u64,
    /// The modem.
    pub modem: emulator::Config,
    /// The core's settings for the modem; its devices follow from `ports`.
    pub settings: settings::Modem,
    /// The TLS settings of every tunnel.
    pub tls: settings::Tls,
    /// The shutdown timeout of the whole process.
    pub shutdown_timeout: Duration,
    /// The process ends with its only client, as `connect` does.
    pub is_single: bool,
    /// Which modem the ports may lead to.
    pub identity: settings::Identity,
    /// One entry for each port of the modem that the core uses.
    pub ports: Vec<Port>,
    /// The connections. Each has its own tunnel, client and server.
    pub connections: Vec<Connection>,
    /// Tunnels that carry datagrams. They come after those of the connections.
    pub datagrams: Vec<DatagramTunnel>,
    /// The faults, each with its time from the start.
    pub faults: Vec<(Duration, Fault)>,
    /// Lines that another program has sent on port 0 before the core starts.
    pub typed_before: Vec<Vec<u8>>,
}

/// A port and its line.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name in the modem.
    pub name: PortName,
    /// The core knows that name.
    pub is_named: bool,
    /// The core takes this for its name.
    pub believed: Option<&'static str>,
    /// Each byte takes the time of ten bits.
    pub paced: bool,
    /// Speed and flow control matter.
    pub is_uart: bool,
    /// DCD reaches the host.
    pub has_dcd: bool,
    /// DTR reaches the modem.
    pub has_dtr: bool,
    /// RTS and CTS are not wired: with flow control on, nothing leaves the host.
    pub without_cts: bool,
    /// RTS is not wired: with flow control on, nothing leaves the modem.
    pub without_rts: bool,
    /// The device server on the way, if there is more than a tty.
    pub server: Option<DeviceServer>,
    /// The host's driver has no flow control.
    pub lacks_flow_control: bool,
    /// Its driver takes everything, and drops what is more than this many bytes while nobody reads.
    pub keeps_unread: Option<usize>,
    /// Bytes arrive at the host in pieces of any size, some of them late.
    pub splits: bool,
    /// While it is disturbed, one of this many bytes is lost on its way to the host; 0 means none.
    pub loses_one_of: u64,
    /// Likewise, one of this many bytes is altered.
    pub alters_one_of: u64,
    /// The host's UART counts what it loses or receives wrongly.
    pub counts: bool,
}

/// A device server and the network on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceServer {
    /// What they hold on the way to the modem, in bytes.
    pub holds_bytes: usize,
    /// The host can find out how many bytes they hold (RFC 2217).
    pub tells: bool,
}

/// A client, its tunnel, its server.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The access mode of the tunnel.
    pub mode: settings::Mode,
    /// Whether its connection has TLS.
    pub security: Security,
    /// The limits of the tunnel.
    pub limits: settings::Limits,
    /// The client.
    pub client: Client,
    /// The client comes through the tunnel of this other connection. What the servers of that tunnel heard and said is in
    /// `far::Memory::conversations`.
    pub through: Option<usize>,
    /// The client comes through the tunnel of this connection, which may be its own, and names its server itself
    /// (`--dynamic`). The tunnel's mode, security and limits must be this connection's, too.
    pub names_target_in: Option<usize>,
    /// The server.
    pub far_end: Behaviour,
    /// How opening ends.
    pub opening: Opening,
    /// How long a byte takes through the network, each way.
    pub latency: Duration,
    /// Most bytes under way or unread in the network, each way.
    pub window_bytes: usize,
}

/// Whether a connection has TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS, with the settings of the wiring.
    Tls,
    /// Plain TCP.
    Plain,
}

/// What a client does.
#[derive(Clone, Debug)]
pub struct Client {
    /// When it connects, counted from the start.
    pub at: Duration,
    /// What it sends.
    pub sends: Sends,
    /// How it reads.
    pub reads: Reads,
    /// When it leaves, and how.
    pub leaves: Leaves,
    /// What its kernel holds for it, in bytes.
    pub buffer_bytes: usize,
    /// Once that is full, the kernel takes nothing before it has room for this many bytes.
    pub room_min_bytes: usize,
    /// Whether the host can see that the client is gone.
    pub is_seen_leaving: bool,
}

/// What a client sends. Times count from when it was accepted.
#[derive(Clone, Debug)]
pub enum Sends {
    /// Nothing.
    Nothing,
    /// This many bytes of its pattern, as fast as they are taken.
    Pattern(u64),
    /// Some of its pattern each time the interval has passed.
    Drip {
        /// Bytes each time.
        bytes: u64,
        /// The interval.
        every: Duration,
        /// How many in all.
        total: u64,
    },
    /// These bytes, at these times.
    Steps(Vec<(Duration, Vec<u8>)>),
}

/// How a client reads. Times count from when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Everything at once.
    All,
    /// Nothing, ever.
    Nothing,
    /// Nothing before this time, then everything.
    After(Duration),
    /// This many bytes each time the interval has passed.
    Drip(usize, Duration),
    /// This many bytes every second before this time, then nothing.
    Until(Duration, usize),
}

/// When a client leaves, and how. Times count from when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// It closes when it has seen the end.
    AtTheEnd,
    /// It half-closes when it has sent everything, and closes when it has seen the end.
    HalfCloses,
    /// It half-closes at this time or when it has sent everything, whichever is later.
    HalfClosesAfter(Duration),
    /// It closes when it has sent everything.
    WhenSent,
    /// It closes when it has read this many bytes.
    WhenRead(u64),
    /// It closes at this time.
    After(Duration),
    /// It resets at this time.
    ResetsAfter(Duration),
    /// It stays, even when it has seen the end.
    Never,
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The next sends are answered with SEND FAIL.
    SendFails(u32),
    /// The connection on this socket is cut in the modem.
    CutSocket(u8),
    /// The server of this connection ends it.
    EndFarEnd(usize, Ending),
    /// The server of this connection sends these bytes in addition.
    Say(usize, Vec<u8>),
    /// The network ends the data session.
    DropPdp,
    /// How the mobile network treats the modem from now on.
    Network(emulator::Registration),
    /// From now on the network gives a data session only through this access point.
    RequireApn(Option<String>),
    /// The data session is reported active, but no traffic gets through.
    WearOutPdp,
    /// The modem reboots as after a crash.
    Reboot,
    /// Another program types this on a port of its own.
    OtherProgram(Vec<u8>),
    /// The modem does nothing for this time.
    Stall(Duration),
    /// The answer to the next command is delayed by this time.
    DelayAnswer(Duration),
    /// The modem sends a URC, given without its frame.
    Urc(String),
    /// This many bytes are cut off the head of the next URC.
    CutUrcHead(usize),
    /// The next open fails with this code.
    FailOpen(u16),
    /// The next open gets no answer.
    NeverOpen,
    /// The next files arrive with another first byte.
    SpoilUploads(u32),
    /// The next settings of SSL contexts are answered with OK and not stored.
    LoseSettings(u32),
    /// Every file in the modem gets other content of the same size and checksum.
    ForgeFiles,
    /// Every file in the modem is deleted.
    DeleteFiles,
    /// The next closes are refused.
    RefuseCloses(u32),
    /// The next escapes are missed.
    MissEscapes(u32),
    /// The port is lost, and can be opened again after this time.
    LosePort(usize, Duration),
    /// The modem sends these bytes on the port, as they are.
    Noise(usize, Vec<u8>),
    /// The lines lose and alter bytes from now on, as their ports are set.
    Disturb,
    /// All faults that have not happened yet are removed, and the lines no longer lose or alter bytes.
    Calm,
    /// SIGTERM.
    Shutdown,
    /// The final results of the next commands are lost.
    LoseResults(u32),
    /// Nothing comes out of the port for this time; then everything does.
    HoldLine(usize, Duration),
    /// The next send is answered with SEND FAIL, and this much later with SEND OK.
    SendFailsFor(Duration),
    /// The data session is lost, and the modem shows that only when it is asked.
    LosePdpSilently,
    /// Another program makes the modem send this, given with its frame.
    Foreign(Vec<u8>),
    /// An SMS with this text arrives.
    Sms(String),
    /// Every close is refused until the modem boots.
    RefuseClosesUntilBoot,
    /// A device server reports late that it has set no flow control on the line of this port.
    LacksFlowControl(usize),
    /// The next frames of a multiplexer have a wrong FCS.
    SpoilFrames(u32),
    /// The next frame of a multiplexer has this in its length field.
    FalsifyLength(u16),
    /// So many bytes are lost at the beginning of what the next frame of a multiplexer carries.
    LoseInFrame(usize),
    /// FC of the module stops the host on this channel, whatever room there is, until the host sends TEST.
    HoldChannel(u8),
    /// The module closes this channel of a multiplexer by itself, with DISC (true) or DM.
    EndChannel(u8, bool),
    /// The server of each connection of this datagram tunnel ends it.
    EndDatagrams(usize, Ending),
}

/// The families that the emulated modem can be.
pub const FAMILIES: [emulator::Family; 2] = [emulator::Family::Eg800q, emulator::Family::Ec20];

impl Default for Wiring {
    fn default() -> Self {
        Wiring::new()
    }
}

impl Wiring {
    /// An EG800Q on its USB AT port, unpaced, with no client connected. With QSSL_TUNNEL_FAMILY=ec20 in the environment it is
    /// an EC20 on its USB modem port, as its AT port has no transparent mode: `./check --long` runs the tests with both.
    pub fn new() -> Self {
        match std::env::var_os("QSSL_TUNNEL_FAMILY").is_some_and(|name| name == "ec20") {
            true => Wiring::of(emulator::Family::Ec20, PortName::UsbModem),
            false => Wiring::eg800q(),
        }
    }

    /// An EG800Q whatever the environment says, for what an EC20 does not have: DTLS, and most TLS settings.
    pub fn eg800q() -> Self {
        Wiring::of(emulator::Family::Eg800q, PortName::UsbAt)
    }

    fn of(family: emulator::Family, port: PortName) -> Self {
        Wiring {
            seed: 1,
            modem: emulator::Config {
                family,
                ports: vec![port],
                open_latency: Duration::from_millis(200),
                // A module that was online before: its clock is right.
                clock: Some(super::HOST_CLOCK),
                ..emulator::Config::default()
            },
            settings: settings::Modem { sockets: IdSet::first(12), ..settings::Modem::default() },
            tls: settings::Tls::new(settings::Authentication::Insecure),
            shutdown_timeout: Duration::from_secs(30),
            is_single: false,
            identity: settings::Identity::Any,
            ports: vec![Port::usb(port)],
            connections: Vec::new(),
            datagrams: Vec::new(),
            faults: Vec::new(),
            typed_before: Vec::new(),
        }
    }

    /// With these ports instead.
    pub fn ports(mut self, ports: impl IntoIterator<Item = Port>) -> Self {
        self.ports = ports.into_iter().collect();
        self.modem.ports = self.ports.iter().map(|port| port.name).collect();
        self
    }

    /// With one UART at this speed, wired in full.
    pub fn uart(mut self, baud: u32) -> Self {
        self.settings.baud = baud;
        self.modem.baud = baud;
        self.ports([Port::uart()])
    }

    /// Several channels on its UART.
    pub fn cmux(mut self) -> Self {
        self.settings.cmux = settings::Cmux::On;
        self
    }

    /// With another modem.
    pub fn modem(mut self, change: impl FnOnce(&mut emulator::Config)) -> Self {
        change(&mut self.modem);
        self
    }

    /// With a module of this family.
    pub fn family(self, family: emulator::Family) -> Self {
        self.modem(|modem| modem.family = family)
    }

    /// With other settings of the core.
    pub fn settings(mut self, change: impl FnOnce(&mut settings::Modem)) -> Self {
        change(&mut self.settings);
        self
    }

    /// With one more connection.
    pub fn connect(mut self, connection: Connection) -> Self {
        self.connections.push(connection);
        self
    }

    /// With one more tunnel that carries datagrams.
    pub fn datagrams(mut self, tunnel: DatagramTunnel) -> Self {
        self.datagrams.push(tunnel);
        self
    }

    /// With several equal connections.
    pub fn connect_many(mut self, count: usize, connection: &Connection) -> Self {
        self.connections.extend((0..count).map(|_| connection.clone()));
        self
    }

    /// With one more fault.
    pub fn fault(mut self, at: Duration, fault: Fault) -> Self {
        self.faults.push((at, fault));
        self
    }

    /// With lines that another program has sent before the core starts.
    pub fn typed_before(mut self, bytes: &[u8]) -> Self {
        self.typed_before.push(bytes.to_vec());
        self
    }

    /// The host of the server of a connection.
    pub fn host(connection: usize) -> AtText {
        AtText::new(format!("s{connection}.example")).expect("letters, digits and a dot")
    }
}

impl Port {
    /// A USB port: no speed, no modem lines.
    pub fn usb(name: PortName) -> Self {
        Port {
            name,
            is_named: true,
            believed: None,
            paced: false,
            is_uart: false,
            has_dcd: false,
            has_dtr: false,
            without_cts: false,
            without_rts: false,
            server: None,
            lacks_flow_control: false,
            keeps_unread: None,
            splits: false,
            loses_one_of: 0,
            alters_one_of: 0,
            counts: false,
        }
    }

    /// A UART, paced, with all its lines.
    pub fn uart() -> Self {
        Port { paced: true, is_uart: true, has_dcd: true, has_dtr: true, ..Port::usb(PortName::Uart1) }
    }

    /// Behind a driver that takes everything the modem sends, and keeps so many bytes of it while nobody reads.
    pub fn dropping_unread(self, keeps: usize) -> Self {
        Port { keeps_unread: Some(keeps), ..self }
    }

    /// How many bytes it holds while nobody reads.
    pub fn unread_bytes(&self) -> usize {
        self.keeps_unread.unwrap_or(TTY_BYTES)
    }

    /// As on a device server: the host does not know which of the modem's ports it is.
    pub fn unnamed(self) -> Self {
        Port { is_named: false, ..self }
    }

    /// The core takes another name for its name.
    pub fn believed(self, name: &'static str) -> Self {
        Port { believed: Some(name), ..self }
    }

    /// Whether it may lose or alter bytes without the host knowing.
    pub fn alters_unseen(&self) -> bool {
        self.loses_one_of + self.alters_one_of > 0 && !self.counts
    }

    /// With bytes that arrive in pieces.
    pub fn splits(self) -> Self {
        Port { splits: true, ..self }
    }
}

impl Connection {
    /// A connection in this mode that comes up after `open_latency`, with a client and a server that do
    /// nothing.
    pub fn new(mode: settings::Mode) -> Self {
        Connection {
            mode,
            security: Security::Tls,
            limits: settings::Limits::default(),
            client: Client {
                at: Duration::ZERO,
                sends: Sends::Nothing,
                reads: Reads::All,
                leaves: Leaves::AtTheEnd,
                buffer_bytes: 64 * 1024,
                room_min_bytes: 1,
                is_seen_leaving: true,
            },
            through: None,
            names_target_in: None,
            far_end: Behaviour::sink(),
            opening: Opening::Opens(Duration::ZERO),
            latency: Duration::from_millis(30),
            window_bytes: 64 * 1024,
        }
    }

    /// With a client that connects at this time.
    pub fn at(mut self, at: Duration) -> Self {
        self.client.at = at;
        self
    }

    /// With a client that sends this.
    pub fn sends(mut self, sends: Sends) -> Self {
        self.client.sends = sends;
        self
    }

    /// With a client that reads like this.
    pub fn reads(mut self, reads: Reads) -> Self {
        self.client.reads = reads;
        self
    }

    /// With a client that leaves like this.
    pub fn leaves(mut self, leaves: Leaves) -> Self {
        self.client.leaves = leaves;
        self
    }

    /// With a client that comes through the tunnel of another connection.
    pub fn through(mut self, connection: usize) -> Self {
        self.through = Some(connection);
        self
    }

    /// With a client that names its server to the tunnel of this connection.
    pub fn names_target_in(mut self, connection: usize) -> Self {
        self.names_target_in = Some(connection);
        self
    }

    /// With connections that are opened ahead of its clients.
    pub fn warm(self, count: usize) -> Self {
        self.limits(|limits| limits.warm.count = count)
    }

    /// Without TLS.
    pub fn plain(mut self) -> Self {
        self.security = Security::Plain;
        self
    }

    /// With this server.
    pub fn far_end(mut self, far_end: Behaviour) -> Self {
        self.far_end = far_end;
        self
    }

    /// With another opening.
    pub fn opening(mut self, opening: Opening) -> Self {
        self.opening = opening;
        self
    }

    /// With other limits.
    pub fn limits(mut self, change: impl FnOnce(&mut settings::Limits)) -> Self {
        change(&mut self.limits);
        self
    }
}

/// Seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Milliseconds.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
