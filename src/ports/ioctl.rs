//! The few queries to the kernel about a tty or a socket that no library offers.
//!
//! Each is one `ioctl` that only reads. The request numbers come from libc because they differ between
//! processors (MIPS and PowerPC count differently).

use std::io;
use std::os::fd::AsFd;

use super::LineCounters;
use nix::libc;
use rustix::ioctl::{Getter, Opcode, ioctl};

use super::Lines;

/// Bytes written to a tty, or to a TCP or Unix socket, that are not yet on the wire (tty), acknowledged by the
/// peer (TCP), or read by the peer (Unix). This is TIOCOUTQ, which Linux calls SIOCOUTQ for sockets.
///
/// # Errors
/// `ENOTTY` or `EINVAL` if there is no such queue, as for a pipe or a file.
pub(crate) fn output_queued(fd: impl AsFd) -> io::Result<usize> {
    // SAFETY: TIOCOUTQ writes one int.
    let bytes = unsafe { ioctl(fd, Getter::<{ libc::TIOCOUTQ as Opcode }, libc::c_int>::new()) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// All four input lines of a serial port in one call, since a query takes a millisecond on some USB adapters.
///
/// # Errors
/// `ENOTTY` on a pseudo-terminal, which has no lines.
pub(super) fn lines(fd: impl AsFd) -> io::Result<Lines> {
    // SAFETY: TIOCMGET writes one int.
    let bits = unsafe { ioctl(fd, Getter::<{ libc::TIOCMGET as Opcode }, libc::c_int>::new()) }?;
    Ok(Lines {
        dcd: bits & libc::TIOCM_CAR != 0,
        cts: bits & libc::TIOCM_CTS != 0,
        dsr: bits & libc::TIOCM_DSR != 0,
        ri: bits & libc::TIOCM_RNG != 0,
    })
}

/// Whether a program has claimed the tty with TIOCEXCL. For root this is the only sign: the kernel lets root
/// open a claimed tty.
pub(super) fn is_exclusive(fd: impl AsFd) -> bool {
    // SAFETY: TIOCGEXCL writes one int.
    unsafe { ioctl(fd, Getter::<{ libc::TIOCGEXCL as Opcode }, libc::c_int>::new()) }
        .is_ok_and(|claimed| claimed != 0)
}

/// What the driver has counted since it was loaded; `None` if it does not count.
pub(super) fn line_counters(fd: impl AsFd) -> Option<LineCounters> {
    // SAFETY: TIOCGICOUNT writes one `struct serial_icounter_struct`, declared below.
    let counters =
        unsafe { ioctl(fd, Getter::<{ libc::TIOCGICOUNT as Opcode }, InterruptCounters>::new()) }.ok()?;
    // The kernel's counters wrap around, and so do their sums.
    let sum = |one: libc::c_int, other: libc::c_int| one.cast_unsigned().wrapping_add(other.cast_unsigned());
    Some(LineCounters {
        lost: sum(counters.overrun, counters.buffer_overrun),
        wrong: sum(counters.frame, counters.parity),
    })
}

/// The kernel's `struct serial_icounter_struct` (linux/serial.h): eleven counters and room for nine more.
#[repr(C)]
struct InterruptCounters {
    cts: libc::c_int,
    dsr: libc::c_int,
    rng: libc::c_int,
    dcd: libc::c_int,
    rx: libc::c_int,
    tx: libc::c_int,
    frame: libc::c_int,
    overrun: libc::c_int,
    parity: libc::c_int,
    brk: libc::c_int,
    buffer_overrun: libc::c_int,
    reserved: [libc::c_int; 9],
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn bytes_the_peer_has_not_acknowledged_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(output_queued(&client).unwrap(), 0);
        client.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = client.write(&[7; 65536]) {
            written += count;
        }
        let queued = output_queued(&client).unwrap();
        assert!(queued > 0 && queued < written, "{queued} of {written} bytes queued");
    }

    #[test]
    fn a_file_has_no_queue() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert!(output_queued(&file).is_err());
        assert!(lines(&file).is_err());
        assert_eq!(line_counters(&file), None);
        assert!(!is_exclusive(&file));
    }
}
