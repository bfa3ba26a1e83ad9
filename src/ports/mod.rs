//! Ports: the ways to reach the modem, with non-blocking bytes and a few control lines.
//!
//! A port is a tty (`serial`), a serial device server on the network (`rfc2217`), or a raw TCP connection
//! (`tcp`). `discover` finds ttys by their USB devices. `holder` names the program that has a tty in use.
//! Nothing here waits or reads the clock. Events of mio are edge-triggered, so [`Port::read`] and
//! [`Port::write`] are repeated until they return `WouldBlock`.

pub(crate) mod discover;
pub(crate) mod finder;
pub(crate) mod holder;
pub(crate) mod ioctl;
pub mod rfc2217;
mod serial;
mod tcp;
mod unread;

use std::io;
use std::path::{Path, PathBuf};

use mio::{Registry, Token};

use crate::config::{Device, FlowControl};

/// An open port. Dropping it closes it and discards output that has not left yet.
#[derive(Debug)]
pub enum Port {
    /// A tty: UART, USB, or pseudo-terminal.
    Serial(serial::Serial),
    /// A serial device server that speaks Telnet COM port control (RFC 2217).
    Rfc2217(rfc2217::Rfc2217),
    /// A TCP connection that carries the bytes as they are.
    Tcp(tcp::Connection),
}

impl Port {
    /// Opens what `device` stands for: looks it up in sysfs if it is not a path, and takes the first match.
    /// `imei:` takes the first modem; to find the right one, the caller opens each of `discover::candidates`
    /// with [`Port::open_path`] and queries its IMEI.
    ///
    /// A host name of `rfc2217://` or `tcp://` is looked up on a separate thread, and the connection is made
    /// without waiting: see [`Port::finish_connecting`].
    ///
    /// # Errors
    /// Every reason has its variant of [`OpenError`]. The embedded modem (`Device::Emulator`) is refused: the
    /// caller starts it, and opens the path of its terminal.
    pub fn open(device: &Device, settings: &PortSettings) -> Result<Port, OpenError> {
        match device {
            Device::Path(path) => Port::open_path(path, settings),
            Device::Rfc2217(server) => rfc2217::Rfc2217::open(server, settings).map(Port::Rfc2217),
            Device::Tcp(server) => tcp::Connection::open("tcp", server).map(Port::Tcp),
            Device::Glob(_) | Device::Auto | Device::Usb { .. } | Device::Imei(_) => {
                let host = discover::Host::this();
                let found = discover::candidates(device, &host)?;
                let first = found.first().expect("candidates are an error when there are none");
                Port::open_path(&first.path, settings)
            }
            Device::Emulator(_) => Err(OpenError::Io {
                name: "emulator".to_owned(),
                source: io::Error::new(io::ErrorKind::Unsupported, "the embedded modem is not running"),
            }),
        }
    }

    /// Opens the tty at `path`.
    ///
    /// # Errors
    /// As [`Port::open`].
    pub fn open_path(path: &Path, settings: &PortSettings) -> Result<Port, OpenError> {
        serial::Serial::open(path, settings).map(Port::Serial)
    }

    /// Registers for events of this port under `token`. A network port keeps both arguments, because it registers
    /// again when the first of several addresses does not answer.
    ///
    /// # Errors
    /// Those of epoll.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Port::Serial(port) => port.register(registry, token),
            Port::Rfc2217(port) => port.register(registry, token),
            Port::Tcp(port) => port.register(registry, token),
        }
    }

    /// Turns on or off an event for when a refused write can go on. A tty reports this each time that bytes have
    /// left it, which must not wake the loop while nothing waits. A network port reports it only after a refused
    /// write, so it ignores this.
    ///
    /// # Errors
    /// Those of epoll.
    pub fn await_room(&mut self, registry: &Registry, token: Token, is_awaited: bool) -> io::Result<()> {
        match self {
            Port::Serial(port) => port.await_room(registry, token, is_awaited),
            Port::Rfc2217(_) | Port::Tcp(_) => Ok(()),
        }
    }

    /// Undoes [`Port::register`].
    ///
    /// # Errors
    /// Those of epoll.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Port::Serial(port) => port.deregister(registry),
            Port::Rfc2217(port) => port.deregister(registry),
            Port::Tcp(port) => port.deregister(registry),
        }
    }

    /// Whether the port can move bytes: a tty at once, a network port when its connection is made. Call it after
    /// every event until it returns true; reads and writes before that return `WouldBlock`.
    ///
    /// # Errors
    /// No address of the server could be connected to. The error is that of the last one, without the port's
    /// name.
    pub fn finish_connecting(&mut self) -> io::Result<bool> {
        match self {
            Port::Serial(_) => Ok(true),
            Port::Rfc2217(port) => port.finish_connecting(),
            Port::Tcp(port) => port.finish_connecting(),
        }
    }

    /// Reads what has arrived. 0 does not mean the end, and more bytes may follow: the device server has sent only
    /// Telnet commands.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived. Every other error is a [`PortLost`]: the port is gone, and must be
    /// dropped at once, so that a device that comes back gets its old name. A tty reports this by end of file or
    /// EIO.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self {
            Port::Serial(port) => port.read(buffer),
            Port::Rfc2217(port) => port.read(buffer),
            Port::Tcp(port) => port.read(buffer),
        };
        result.map_err(|error| self.lost(error))
    }

    /// Whether a short read has left nothing unread, and a short write has left no room: later bytes, a hang-up
    /// and new room cause an event. This is false for network ports, where urgent data shortens reads, and Telnet
    /// shortens reads and writes; and where it counts when a port was read empty.
    pub fn short_is_last(&self) -> bool {
        matches!(self, Port::Serial(port) if !port.drops_unread())
    }

    /// Whether its driver takes everything the modem sends, and drops what it cannot keep.
    pub fn drops_unread(&self) -> bool {
        matches!(self, Port::Serial(port) if port.drops_unread())
    }

    /// Whether it may have dropped bytes before those that were read last.
    pub fn may_have_dropped(&self) -> bool {
        matches!(self, Port::Serial(port) if port.may_have_dropped())
    }

    /// Writes bytes for the modem, and returns how many were taken.
    ///
    /// # Errors
    /// `WouldBlock` if none can be taken now. Every other error is a [`PortLost`], as for [`Port::read`].
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = match self {
            Port::Serial(port) => port.write(bytes),
            Port::Rfc2217(port) => port.write(bytes),
            Port::Tcp(port) => port.write(bytes),
        };
        result.map_err(|error| self.lost(error))
    }

    /// Sends what the port itself holds: escaped payload and answers to the device server. Call it when mio
    /// reports writable, even if no new bytes are to be written. Ttys hold nothing.
    ///
    /// # Errors
    /// [`PortLost`]; never `WouldBlock`.
    pub fn flush(&mut self) -> io::Result<()> {
        let result = match self {
            Port::Serial(_) | Port::Tcp(_) => Ok(()),
            Port::Rfc2217(port) => port.flush(),
        };
        result.map_err(|error| self.lost(error))
    }

    /// Whether a refused write can succeed now without an event of mio: true once after a device server has
    /// requested a pause and ended it. Call it after reading.
    pub fn write_may_continue(&mut self) -> bool {
        match self {
            Port::Serial(_) | Port::Tcp(_) => false,
            Port::Rfc2217(port) => port.write_may_continue(),
        }
    }

    /// Changes the speed in both directions, in bits per second. Bytes that are still queued would leave at the
    /// new speed, so check [`Port::output_queued`] first.
    ///
    /// # Errors
    /// `InvalidInput` if the driver does not support this speed, `Unsupported` if the port has no speed.
    pub fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        match self {
            Port::Serial(port) => port.set_baud(baud),
            Port::Rfc2217(port) => port.set_baud(baud),
            Port::Tcp(_) => Err(unsupported("a raw TCP port has no speed")),
        }
    }

    /// Raises or drops DTR.
    ///
    /// # Errors
    /// `Unsupported`, or `ENOTTY` of a pseudo-terminal, if the port has no such line.
    pub fn set_dtr(&mut self, high: bool) -> io::Result<()> {
        match self {
            Port::Serial(port) => port.set_dtr(high),
            Port::Rfc2217(port) => port.set_dtr(high),
            Port::Tcp(_) => Err(unsupported("a raw TCP port has no DTR line")),
        }
    }

    /// The input lines as they are now (tty) or as last reported (RFC 2217).
    ///
    /// # Errors
    /// `Unsupported`, or `ENOTTY` of a pseudo-terminal, if the port has none.
    pub fn lines(&self) -> io::Result<Lines> {
        match self {
            Port::Serial(port) => port.lines(),
            Port::Rfc2217(port) => port.lines(),
            Port::Tcp(_) => Err(unsupported("a raw TCP port has no lines")),
        }
    }

    /// How many bytes [`Port::write`] has taken that have not left yet: a tty's queue before the UART or the USB
    /// bus; over RFC 2217, what the server has not passed on; on a raw connection, what the server's system has not
    /// acknowledged. 0 if unknown.
    pub fn output_queued(&mut self) -> usize {
        match self {
            Port::Serial(port) => port.output_queued(),
            Port::Rfc2217(port) => port.output_queued(),
            Port::Tcp(port) => port.output_queued(),
        }
    }

    /// Counts of bytes that were lost or damaged on the serial line to the host; `None` if nothing counts them, as
    /// for a pseudo-terminal or a network port.
    pub fn line_counters(&self) -> Option<LineCounters> {
        match self {
            Port::Serial(port) => port.line_counters(),
            Port::Rfc2217(_) | Port::Tcp(_) => None,
        }
    }

    /// The flow control in force on the host's side, so that `AT+IFC` can set the same in the modem.
    pub fn flow_control(&self) -> FlowControl {
        match self {
            Port::Serial(port) => port.flow_control(),
            Port::Rfc2217(port) => port.flow_control(),
            Port::Tcp(_) => FlowControl::None,
        }
    }

    /// What is known about the port. With RFC 2217 it can change when the server answers.
    pub fn kind(&self) -> PortKind {
        match self {
            Port::Serial(port) => port.kind(),
            Port::Rfc2217(port) => port.kind(),
            Port::Tcp(_) => PortKind::default(),
        }
    }

    /// The port's name in messages: `/dev/ttyUSB2`, `rfc2217://host:2217`.
    pub fn name(&self) -> &str {
        match self {
            Port::Serial(port) => port.name(),
            Port::Rfc2217(port) => port.name(),
            Port::Tcp(port) => port.name(),
        }
    }

    fn lost(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::WouldBlock {
            return error;
        }
        let kind = error.kind();
        io::Error::new(kind, PortLost { name: self.name().to_owned(), reason: error.to_string() })
    }
}

/// How a port is set up when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// Bits per second; USB ports and pseudo-terminals ignore it.
    pub baud: u32,
    /// `None` means RTS/CTS on UARTs, and none on other ports.
    pub flow_control: Option<FlowControl>,
}

/// What a UART and its driver have counted since the driver was loaded. The counters wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineCounters {
    /// Bytes that were dropped because they were not read in time, in the chip or in the kernel.
    pub lost: u32,
    /// Bytes with an error of framing or parity.
    pub wrong: u32,
}

/// What is known about a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortKind {
    /// A real serial line connects host and modem: speed and flow control matter, and bytes can be lost on it.
    pub is_uart: bool,
    /// DCD can be read. Only AT&C1 and a test show whether it is wired and the modem drives it.
    pub has_dcd: bool,
    /// DTR can be set. Whether it is wired is not known either.
    pub has_dtr: bool,
    /// The modem's name for it, usbat or usbmodem, if the host can determine it.
    pub at_port: Option<&'static str>,
}

/// The input lines of a serial port; true is the active level ("on").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Data carrier detect.
    pub dcd: bool,
    /// Clear to send.
    pub cts: bool,
    /// Data set ready.
    pub dsr: bool,
    /// Ring indicator.
    pub ri: bool,
}

/// The port is gone: unplugged, hung up, or disconnected. Inside the `io::Error` of reads and writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: port lost: {reason}")]
pub struct PortLost {
    /// The port's name.
    pub name: String,
    /// The error of the system.
    pub reason: String,
}

/// Why a port could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such device at present.
    #[error("{name}: no such device{hint}")]
    Missing {
        /// The device as configured.
        name: String,
        /// What else was seen, starting with `: `, or empty.
        hint: String,
    },
    /// Several ttys match, and no modem that is meant answers on any of them.
    #[error("{name}: {} asked, and the modem answers on none", qssl_core::counted(*.count, "port"))]
    NoneAnswers {
        /// The device as configured.
        name: String,
        /// How many match.
        count: usize,
    },
    /// `auto` found no modem.
    #[error("no Quectel modem found{hint}")]
    NoModem {
        /// What else was seen, starting with `: `, or empty.
        hint: String,
    },
    /// More than one modem fits.
    #[error(
        "{name}: more than one modem matches ({found}): name one by its path, by usb:VID:PID or by imei:"
    )]
    Ambiguous {
        /// The device as configured.
        name: String,
        /// The ttys that fit.
        found: String,
    },
    /// Another program has locked it with flock.
    #[error("{}: locked by {}: {}", .device.display(), by_whom(.holder), way_out(.holder))]
    Locked {
        /// The tty.
        device: PathBuf,
        /// Program and process id, if they can be determined.
        holder: Option<String>,
    },
    /// Another program has claimed it with TIOCEXCL, or the driver reports that it is busy.
    #[error("{}: in use by {}: {}", .device.display(), by_whom(.holder), way_out(.holder))]
    Busy {
        /// The tty.
        device: PathBuf,
        /// Program and process id, if they can be determined.
        holder: Option<String>,
    },
    /// The permission bits of the device forbid it.
    #[error("{}: permission denied: {advice}", .device.display())]
    Denied {
        /// The tty.
        device: PathBuf,
        /// Which group to join.
        advice: String,
    },
    /// The path is not that of a tty.
    #[error("{}: not a serial device: give the path of a tty", .0.display())]
    NotATty(PathBuf),
    /// The driver does not support this speed.
    #[error("{}: the driver does not support {baud} baud and chose {actual}: choose another --baud", .device.display())]
    Baud {
        /// The tty.
        device: PathBuf,
        /// The requested speed in bits per second.
        baud: u32,
        /// The speed that the driver set instead.
        actual: u32,
    },
    /// The device server cannot be reached at this name or address.
    #[error("{name}: cannot connect: {source}: check that the device server runs and can be reached")]
    Unreachable {
        /// The device as configured.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// Anything else.
    #[error("{name}: cannot open: {source}")]
    Io {
        /// The device as configured.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// Who holds a device, in words that fit after "by".
fn by_whom(holder: &Option<String>) -> &str {
    holder.as_deref().unwrap_or("another program (only root can see which)")
}

/// What to do about it. Another `qssl-tunnel` can share the modem through its control socket.
fn way_out(holder: &Option<String>) -> &'static str {
    match holder.as_deref().is_some_and(|holder| holder.contains("qssl-tunnel (")) {
        true => {
            "stop it, or use the modem through it: a daemon answers here without -d, anything else if you start it \
             with --control PATH and give that here as well"
        }
        false => "stop that program or keep it off this port",
    }
}

fn unsupported(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

/// The result of a system call that moves bytes. The call is repeated if a signal interrupts it.
pub(crate) fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
