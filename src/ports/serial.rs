//! A tty as a port: opened without disturbing other programs, raw, 8N1, non-blocking.
//!
//! The order of opening matters. The flock comes first, so that a program that uses the port and locks it is
//! not disturbed. TIOCEXCL follows, which stops programs that do not lock. Only then are settings changed.
//! HUPCL is switched off: closing must not change DTR, which may hang up, or put a board to sleep.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{ControlModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios};
use serialport::{SerialPort as _, TTYPort};

use super::discover::{self, Wiring};
use super::unread::Unread;
use super::{LineCounters, Lines, OpenError, PortKind, PortSettings, holder, ioctl};
use crate::config::FlowControl;

/// How far the speed of the driver may be from the requested one, in percent. A UART samples each bit in its
/// middle, and fails at a difference of about 4 % between both ends.
const BAUD_TOLERANCE_PERCENT: u64 = 3;

/// An open tty.
#[derive(Debug)]
pub struct Serial {
    tty: TTYPort,
    name: String,
    kind: PortKind,
    flow_control: FlowControl,
    /// Where the driver takes everything a modem sends.
    unread: Option<Unread>,
}

impl Serial {
    /// Opens the tty at `path`.
    ///
    /// Bytes that came before the settings were made are discarded: they may have been received at another speed,
    /// or translated by the terminal driver.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, settings: &PortSettings) -> Result<Serial, OpenError> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| open_error(path, error))?;
        if !rustix::termios::isatty(&fd) {
            return Err(OpenError::NotATty(path.to_owned()));
        }
        let tty = claim(path, fd)?;

        let wiring = discover::wiring(path, &discover::Host::this());
        let is_uart = matches!(wiring, Wiring::Uart);
        let flow_control = settings.flow_control.unwrap_or(match is_uart {
            true => FlowControl::RtsCts,
            false => FlowControl::None,
        });
        let (at_port, drops_unread) = match wiring {
            Wiring::UsbModem { at_port, drops_unread } => (at_port, drops_unread),
            Wiring::Uart | Wiring::Pseudo => (None, false),
        };
        let mut port = Serial {
            tty,
            name: path.display().to_string(),
            kind: PortKind { is_uart, has_dcd: false, has_dtr: false, at_port },
            flow_control,
            unread: drops_unread.then(Unread::new),
        };
        port.set_up(path, settings.baud)?;
        Ok(port)
    }

    fn set_up(&mut self, path: &Path, baud: u32) -> Result<(), OpenError> {
        let io_error = |error: Errno| match error {
            // A ttyS without a chip returns this.
            Errno::IO => OpenError::Missing {
                name: path.display().to_string(),
                hint: ": this name has no UART".to_owned(),
            },
            error => io_error(path, error),
        };
        let mut termios = rustix::termios::tcgetattr(self.fd()).map_err(io_error)?;
        make_raw(&mut termios, self.flow_control);
        let baud_error = |actual| OpenError::Baud { device: path.to_owned(), baud, actual };
        termios.set_speed(baud).map_err(|_| baud_error(termios.output_speed()))?;
        rustix::termios::tcsetattr(self.fd(), OptionalActions::Now, &termios).map_err(io_error)?;

        // A driver applies what it supports and does not report the rest.
        let actual = rustix::termios::tcgetattr(self.fd()).map_err(io_error)?;
        if self.kind.is_uart && !is_near(actual.output_speed(), baud) {
            return Err(baud_error(actual.output_speed()));
        }
        if self.flow_control == FlowControl::RtsCts
            && self.kind.is_uart
            && !actual.control_modes.contains(ControlModes::CRTSCTS)
        {
            log::warn!("{}: the driver has no RTS/CTS flow control: bytes can get lost", self.name);
            self.flow_control = FlowControl::None;
        }
        rustix::termios::tcflush(self.fd(), QueueSelector::IFlush).map_err(io_error)?;
        self.kind.has_dtr = self.tty.write_data_terminal_ready(true).is_ok();
        self.kind.has_dcd = ioctl::lines(self.fd()).is_ok();
        Ok(())
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.tty.as_raw_fd()), token, Interest::READABLE)
    }

    pub(super) fn await_room(&self, registry: &Registry, token: Token, is_awaited: bool) -> io::Result<()> {
        let interests = match is_awaited {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        registry.reregister(&mut SourceFd(&self.tty.as_raw_fd()), token, interests)
    }

    pub(super) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.tty.as_raw_fd()))
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = rustix::io::retry_on_intr(|| rustix::io::read(self.fd(), &mut *buffer));
        if let Some(unread) = &mut self.unread {
            match result {
                Ok(count) => unread.read(count),
                Err(_) => unread.found_empty(),
            }
        }
        match result {
            // A tty in raw mode without a timer has no end of file: 0 and EIO mean a hang-up.
            Ok(0) | Err(Errno::IO) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the device has been unplugged or hung up"))
            }
            Ok(count) => Ok(count),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::retry_on_intr(|| rustix::io::write(self.fd(), bytes)) {
            // usb-serial takes nothing while its buffers are full, and returns 0 then.
            Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(count) => Ok(count),
            Err(Errno::IO) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the device has been unplugged or hung up"))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        self.tty.set_baud_rate(baud)?;
        let actual = self.tty.baud_rate()?;
        if self.kind.is_uart && !is_near(actual, baud) {
            let message = format!("{}: the driver chose {actual} baud instead of {baud}", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    pub(super) fn set_dtr(&mut self, high: bool) -> io::Result<()> {
        Ok(self.tty.write_data_terminal_ready(high)?)
    }

    pub(super) fn lines(&self) -> io::Result<Lines> {
        ioctl::lines(self.fd())
    }

    pub(super) fn output_queued(&self) -> usize {
        ioctl::output_queued(self.fd()).unwrap_or(0)
    }

    pub(super) fn line_counters(&self) -> Option<LineCounters> {
        ioctl::line_counters(self.fd())
    }

    pub(super) fn drops_unread(&self) -> bool {
        self.unread.is_some()
    }

    pub(super) fn may_have_dropped(&self) -> bool {
        self.unread.as_ref().is_some_and(Unread::may_have_dropped)
    }

    pub(super) fn kind(&self) -> PortKind {
        self.kind
    }

    pub(super) fn flow_control(&self) -> FlowControl {
        self.flow_control
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the TTYPort owns the descriptor and closes it only when it is dropped, which the
        // borrow of `self` rules out for as long as the result lives.
        unsafe { BorrowedFd::borrow_raw(self.tty.as_raw_fd()) }
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        // Otherwise, close would block the whole process for up to 30 s while a stalled modem takes no output. An
        // error of a device that is gone does not matter.
        let _ = rustix::termios::tcflush(self.fd(), QueueSelector::IOFlush);
    }
}

/// Locks and claims the tty, so that no other program opens it.
fn claim(path: &Path, fd: OwnedFd) -> Result<TTYPort, OpenError> {
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            // Closed first, so that this process is not among the holders.
            drop(fd);
            return Err(OpenError::Locked { device: path.to_owned(), holder: holder::lockers_of(path) });
        }
        Err(error) => return Err(io_error(path, error)),
    }
    // Root can open a tty that another program has claimed. The claim is respected if that program still runs; a
    // pseudo-terminal keeps the claim of a program that was killed.
    if ioctl::is_exclusive(&fd)
        && let Some(holder) = holder::others_of(path)
    {
        return Err(OpenError::Busy { device: path.to_owned(), holder: Some(holder) });
    }
    rustix::termios::ioctl_tiocexcl(&fd).map_err(|error| io_error(path, error))?;
    // SAFETY: the descriptor is open and has no other owner: `into_raw_fd` has just given it up.
    Ok(unsafe { TTYPort::from_raw_fd(fd.into_raw_fd()) })
}

/// Raw, 8N1, modem lines ignored by the terminal driver, no hang-up on close.
fn make_raw(termios: &mut Termios, flow_control: FlowControl) {
    termios.make_raw();
    let modes = &mut termios.control_modes;
    modes.remove(ControlModes::CSIZE | ControlModes::PARENB | ControlModes::CSTOPB);
    modes.remove(ControlModes::HUPCL | ControlModes::CRTSCTS);
    modes.insert(ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL);
    if flow_control == FlowControl::RtsCts {
        modes.insert(ControlModes::CRTSCTS);
    }
    // A read without bytes then returns EAGAIN. With VMIN 0 it would return 0, which must mean only a hang-up.
    termios.special_codes[SpecialCodeIndex::VMIN] = 1;
    termios.special_codes[SpecialCodeIndex::VTIME] = 0;
}

fn is_near(actual: u32, wanted: u32) -> bool {
    u64::from(actual.abs_diff(wanted)) * 100 <= u64::from(wanted) * BAUD_TOLERANCE_PERCENT
}

fn open_error(path: &Path, error: Errno) -> OpenError {
    match error {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => {
            OpenError::Missing { name: path.display().to_string(), hint: String::new() }
        }
        Errno::ACCESS | Errno::PERM => OpenError::Denied { device: path.to_owned(), advice: advice(path) },
        Errno::BUSY => OpenError::Busy { device: path.to_owned(), holder: holder::holders_of(path) },
        error => io_error(path, error),
    }
}

fn io_error(path: &Path, error: Errno) -> OpenError {
    OpenError::Io { name: path.display().to_string(), source: error.into() }
}

/// What to do about missing permission: join the group that owns the device, if the group may write.
fn advice(path: &Path) -> String {
    let fallback = "run as root or change the permissions of the device".to_owned();
    let Ok(metadata) = std::fs::metadata(path) else {
        return "a directory of this path is closed to this user".to_owned();
    };
    let group_may_use = metadata.st_mode() & 0o060 == 0o060;
    if !group_may_use || metadata.st_gid() == 0 {
        return fallback;
    }
    let gid = metadata.st_gid();
    let group = match nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)) {
        Ok(Some(group)) => group.name,
        Ok(None) | Err(_) => gid.to_string(),
    };
    format!("add the user to group {group} and log in again (a service: SupplementaryGroups={group})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::path::PathBuf;

    const SETTINGS: PortSettings = PortSettings { baud: 115_200, flow_control: None };

    /// The modem's end of a pseudo-terminal and the path of ours.
    fn terminal() -> (TTYPort, PathBuf) {
        let (master, slave) = TTYPort::pair().unwrap();
        let path = PathBuf::from(slave.name().unwrap());
        (master, path)
    }

    /// Waits until the kernel has moved bytes to our end.
    fn await_input(port: &Serial) {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(port.fd(), rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
    }

    #[test]
    fn every_byte_value_passes_unchanged_in_both_directions() {
        let (mut master, path) = terminal();
        let mut port = Serial::open(&path, &SETTINGS).unwrap();
        let all: Vec<u8> = (0..=255).collect();

        assert_eq!(port.write(&all).unwrap(), 256);
        let mut received = [0; 256];
        master.read_exact(&mut received).unwrap();
        assert_eq!(received[..], all[..]);

        master.write_all(&all).unwrap();
        let mut count = 0;
        while count < 256 {
            await_input(&port);
            count += port.read(&mut received[count..]).unwrap();
        }
        assert_eq!(received[..], all[..]);
    }

    #[test]
    fn nothing_to_read_is_no_hang_up() {
        let (_master, path) = terminal();
        let mut port = Serial::open(&path, &SETTINGS).unwrap();
        assert_eq!(port.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_modem_that_does_not_read_is_waited_for_without_losing_bytes() {
        let (mut master, path) = terminal();
        let port = Serial::open(&path, &SETTINGS).unwrap();
        let sent: Vec<u8> = (0..200_000_u32).map(|index| (index % 251) as u8).collect();
        let mut taken = 0;
        let error = loop {
            match port.write(&sent[taken..]) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(taken > 0 && taken < sent.len());
        let mut received = vec![0; taken];
        master.read_exact(&mut received).unwrap();
        assert!(received == sent[..taken]);
    }

    #[test]
    fn a_modem_that_vanishes_is_a_lost_port_for_reader_and_writer() {
        let (master, path) = terminal();
        let mut port = super::super::Port::open_path(&path, &SETTINGS).unwrap();
        drop(master);
        let error = port.read(&mut [0; 8]).unwrap_err();
        let lost = error.get_ref().unwrap().downcast_ref::<super::super::PortLost>().unwrap();
        assert_eq!(lost.name, path.display().to_string());
        assert_ne!(port.write(b"AT\r").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_port_in_use_is_refused_naming_who_uses_it() {
        let (_master, path) = terminal();
        let first = Serial::open(&path, &SETTINGS).unwrap();
        let message = Serial::open(&path, &SETTINGS).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        assert!(message.contains(&format!("(pid {})", std::process::id())), "{message}");
        drop(first);
        Serial::open(&path, &SETTINGS).unwrap();
    }

    #[test]
    fn what_was_in_the_terminal_before_is_not_taken_for_an_answer() {
        let (mut master, path) = terminal();
        let first = Serial::open(&path, &SETTINGS).unwrap();
        master.write_all(b"OK\r\n").unwrap();
        await_input(&first);
        drop(first);
        let mut port = Serial::open(&path, &SETTINGS).unwrap();
        assert_eq!(port.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn settings_keep_dtr_alone_on_close_and_follow_the_wish_for_flow_control() {
        let (_master, path) = terminal();
        let with = PortSettings { baud: 921_600, flow_control: Some(FlowControl::RtsCts) };
        let port = Serial::open(&path, &with).unwrap();
        let termios = rustix::termios::tcgetattr(port.fd()).unwrap();
        assert!(!termios.control_modes.contains(ControlModes::HUPCL));
        assert!(termios.control_modes.contains(ControlModes::CRTSCTS | ControlModes::CS8));
        assert_eq!(termios.output_speed(), 921_600);
        assert_eq!(port.flow_control(), FlowControl::RtsCts);
        drop(port);
        let port = Serial::open(&path, &SETTINGS).unwrap();
        let termios = rustix::termios::tcgetattr(port.fd()).unwrap();
        assert!(!termios.control_modes.contains(ControlModes::CRTSCTS));
        assert_eq!(port.flow_control(), FlowControl::None);
        assert_eq!(port.kind(), PortKind::default());
    }

    #[test]
    fn speed_can_be_changed_while_open() {
        let (_master, path) = terminal();
        let mut port = Serial::open(&path, &SETTINGS).unwrap();
        port.set_baud(460_800).unwrap();
        assert_eq!(rustix::termios::tcgetattr(port.fd()).unwrap().input_speed(), 460_800);
    }

    #[test]
    fn a_path_that_is_no_terminal_is_named_as_such() {
        let missing = Serial::open(Path::new("/dev/ttyUSB-none"), &SETTINGS).unwrap_err();
        assert_eq!(missing.to_string(), "/dev/ttyUSB-none: no such device");
        let null = Serial::open(Path::new("/dev/null"), &SETTINGS).unwrap_err();
        assert!(matches!(null, OpenError::NotATty(_)), "{null}");
    }

    #[test]
    fn three_percent_of_speed_are_tolerated() {
        assert!(is_near(115_384, 115_200));
        assert!(is_near(923_076, 921_600));
        assert!(!is_near(9_600, 115_200));
    }
}
