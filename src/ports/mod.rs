//! Ports: the ways to reach the modem, each as non-blocking bytes with a few lines beside them.
//!
//! A port is a tty (`serial`), a serial device server on the network (`rfc2217`), or a raw TCP connection
//! (`tcp`). `discover` finds ttys by what is plugged in, `holder` names the program that keeps one from us.
//! Nothing here waits or knows the time, with one exception that is named at [`Port::open`]; readiness comes
//! from mio, edge-triggered, so [`Port::read`] and [`Port::write`] are repeated until they return
//! `WouldBlock`.

pub(crate) mod discover;
pub(crate) mod finder;
pub(crate) mod holder;
pub(crate) mod ioctl;
pub mod rfc2217;
mod serial;
mod tcp;

use std::io;
use std::path::{Path, PathBuf};

use mio::{Registry, Token};

use crate::config::{Device, FlowControl};

/// An open port. Dropping it closes it and throws away output that has not left yet.
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
    /// Opens what `device` stands for: looks it up in sysfs where it is not a path, and takes the first
    /// that fits. `imei:` takes the first modem; a caller that must find the right one opens each of
    /// `discover::candidates` with [`Port::open_path`] and asks it.
    ///
    /// A host name of `rfc2217://` or `tcp://` is looked up here, which can block for as long as the
    /// host's resolver does; addresses and `localhost` do not. The connection itself is made without
    /// waiting: see [`Port::finish_connecting`].
    ///
    /// # Errors
    /// Every reason has its variant of [`OpenError`]. The embedded modem (`Device::Emulator`) is started
    /// by the caller, who then opens the path of its terminal; here it is refused.
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

    /// Asks mio for events of this port under `token`. A port on the network remembers both, because it
    /// registers anew when the first of several addresses does not answer.
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

    /// Asks for an event when a write that was refused can go on, or no longer. A tty reports this each time
    /// that bytes have left it, which must not wake the loop while nothing waits; the network reports it only
    /// after a refusal, and needs no asking.
    ///
    /// # Errors
    /// Those of epoll.
    pub fn await_room(&mut self, registry: &Registry, token: Token, is_awaited: bool) -> io::Result<()> {
        match self {
            Port::Serial(port) => port.await_room(registry, token, is_awaited),
            Port::Rfc2217(_) | Port::Tcp(_) => Ok(()),
        }
    }

    /// Ends what [`Port::register`] began.
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

    /// Whether the port can carry bytes: at once for a tty, for the network when the connection is made. To
    /// be asked after every event until it returns true; reads and writes before that return `WouldBlock`.
    ///
    /// # Errors
    /// No address of the server could be connected to: that of the last one, without the port's name.
    pub fn finish_connecting(&mut self) -> io::Result<bool> {
        match self {
            Port::Serial(_) => Ok(true),
            Port::Rfc2217(port) => port.finish_connecting(),
            Port::Tcp(port) => port.finish_connecting(),
        }
    }

    /// Reads what has arrived. 0 is neither the end nor all that there is: the device server has sent
    /// something that is not for the modem's host.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has. Every other error is a [`PortLost`]: the port is gone and must be
    /// dropped at once, so that a device that comes back gets its old name. A tty shows this by end of file
    /// or EIO.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match self {
            Port::Serial(port) => port.read(buffer),
            Port::Rfc2217(port) => port.read(buffer),
            Port::Tcp(port) => port.read(buffer),
        };
        result.map_err(|error| self.lost(error))
    }

    /// Whether a read that got less than it asked for has left nothing unread, and a write that was taken
    /// in part has left no room: what arrives later, a hang-up, and new room come with an event. Not so on
    /// the network, where urgent data cuts reads short, and Telnet both.
    pub fn short_is_last(&self) -> bool {
        matches!(self, Port::Serial(_))
    }

    /// Hands over bytes for the modem and returns how many were taken.
    ///
    /// # Errors
    /// `WouldBlock` when none can be taken now. Every other error is a [`PortLost`], as with
    /// [`Port::read`].
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = match self {
            Port::Serial(port) => port.write(bytes),
            Port::Rfc2217(port) => port.write(bytes),
            Port::Tcp(port) => port.write(bytes),
        };
        result.map_err(|error| self.lost(error))
    }

    /// Sends on what the port itself holds: escaped payload and answers to the device server. To be called
    /// when mio reports writable, also when the modem is to get nothing new. Ttys hold nothing.
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

    /// Whether a write that was refused can succeed now without an event of mio: true once after a device
    /// server had asked for a pause and has ended it. To be asked after reading.
    pub fn write_may_continue(&mut self) -> bool {
        match self {
            Port::Serial(_) | Port::Tcp(_) => false,
            Port::Rfc2217(port) => port.write_may_continue(),
        }
    }

    /// Changes the speed in both directions, in bits per second. What is still queued would leave at the
    /// new speed: look at [`Port::output_queued`] first.
    ///
    /// # Errors
    /// `InvalidInput` if the driver cannot do this speed, `Unsupported` where no speed can be set.
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
    /// `Unsupported`, or `ENOTTY` of a pseudo-terminal, where there is no such line.
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
    /// `Unsupported`, or `ENOTTY` of a pseudo-terminal, where there are none.
    pub fn lines(&self) -> io::Result<Lines> {
        match self {
            Port::Serial(port) => port.lines(),
            Port::Rfc2217(port) => port.lines(),
            Port::Tcp(_) => Err(unsupported("a raw TCP port has no lines")),
        }
    }

    /// How many bytes have been taken by [`Port::write`] and not left this host: a tty's queue before the
    /// UART or the USB bus; over RFC 2217, what the server has not passed on; on a raw connection, what its
    /// system has not acknowledged. 0 where unknown.
    pub fn output_queued(&mut self) -> usize {
        match self {
            Port::Serial(port) => port.output_queued(),
            Port::Rfc2217(port) => port.output_queued(),
            Port::Tcp(port) => port.output_queued(),
        }
    }

    /// What went wrong on the line on the way to the host; `None` where nothing counts, as on a
    /// pseudo-terminal or over the network.
    pub fn line_counters(&self) -> Option<LineCounters> {
        match self {
            Port::Serial(port) => port.line_counters(),
            Port::Rfc2217(_) | Port::Tcp(_) => None,
        }
    }

    /// The flow control in force on this side of the line, for AT+IFC on the other.
    pub fn flow_control(&self) -> FlowControl {
        match self {
            Port::Serial(port) => port.flow_control(),
            Port::Rfc2217(port) => port.flow_control(),
            Port::Tcp(_) => FlowControl::None,
        }
    }

    /// What is known of the port. On RFC 2217 it can change while the server answers.
    pub fn kind(&self) -> PortKind {
        match self {
            Port::Serial(port) => port.kind(),
            Port::Rfc2217(port) => port.kind(),
            Port::Tcp(_) => PortKind::default(),
        }
    }

    /// The port as the user may call it in messages: `/dev/ttyUSB2`, `rfc2217://host:2217`.
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
    /// `None` is RTS/CTS on UARTs and nothing elsewhere.
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

/// What is known of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortKind {
    /// A real serial line lies between host and modem: speed and flow control matter, and bytes can be
    /// lost on it.
    pub is_uart: bool,
    /// DCD can be read. That it is wired, and that the modem drives it, only AT&C1 and a test can show.
    pub has_dcd: bool,
    /// DTR can be set, with the same reserve.
    pub has_dtr: bool,
    /// What the modem calls it, where that can be known from the outside: usbat or usbmodem.
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
    /// There is no such device, now.
    #[error("{name}: no such device{hint}")]
    Missing {
        /// The device as asked for.
        name: String,
        /// What else was seen, starting with `: `, or empty.
        hint: String,
    },
    /// `auto` found nothing.
    #[error("no Quectel modem found{hint}")]
    NoModem {
        /// What else was seen, starting with `: `, or empty.
        hint: String,
    },
    /// More than one modem fits.
    #[error("{name}: more than one modem fits ({found}): name one by its path, by usb:VID:PID or by imei:")]
    Ambiguous {
        /// The device as asked for.
        name: String,
        /// The ttys that fit.
        found: String,
    },
    /// Another program has locked it with flock.
    #[error("{}: locked by {}: {}", .device.display(), by_whom(.holder), way_out(.holder))]
    Locked {
        /// The tty.
        device: PathBuf,
        /// Program and process id, where it can be known.
        holder: Option<String>,
    },
    /// Another program has claimed it with TIOCEXCL, or the driver reports that it is busy.
    #[error("{}: in use by {}: {}", .device.display(), by_whom(.holder), way_out(.holder))]
    Busy {
        /// The tty.
        device: PathBuf,
        /// Program and process id, where it can be known.
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
    /// The path is something else.
    #[error("{}: not a serial device: give the path of a tty", .0.display())]
    NotATty(PathBuf),
    /// The driver does not do this speed.
    #[error("{}: the driver does not support {baud} baud and chose {actual}: choose another --baud", .device.display())]
    Baud {
        /// The tty.
        device: PathBuf,
        /// What was asked for, bits per second.
        baud: u32,
        /// What the driver took instead.
        actual: u32,
    },
    /// The name or address of a device server leads nowhere.
    #[error("{name}: cannot connect: {source}: check that the device server runs and can be reached")]
    Unreachable {
        /// The device as asked for.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// Anything else.
    #[error("{name}: cannot open: {source}")]
    Io {
        /// The device as asked for.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// Who holds a device, in words that fit after "by".
fn by_whom(holder: &Option<String>) -> &str {
    holder.as_deref().unwrap_or("another program (only root can see which)")
}

/// What to do about it. A program of ours can be asked, if it can be reached.
fn way_out(holder: &Option<String>) -> &'static str {
    match holder.as_deref().is_some_and(|holder| holder.contains("qssl-tunnel (")) {
        true => "stop it, or start it with --control PATH and give that here as well",
        false => "stop that program or keep it off this port",
    }
}

fn unsupported(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

/// The result of a system call that moves bytes; a signal that comes in between is none.
pub(crate) fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
