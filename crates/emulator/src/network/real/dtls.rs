//! DTLS over a UDP socket: OpenSSL's datagrams, and its timers. They follow the clock of the machine, not the emulator's,
//! because OpenSSL takes no other. The simulation, which has no OpenSSL, draws how long a handshake takes.

use std::ffi::c_int;
use std::io::{self, ErrorKind, Read, Write};

use foreign_types::ForeignTypeRef as _;
use mio::net::UdpSocket;
use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslStream};

use super::datagrams::Outcome;

/// A connected UDP socket as OpenSSL uses it: each read and each write is one datagram.
pub(super) struct DatagramIo(UdpSocket);

impl Read for DatagramIo {
    /// The errors of datagrams that were sent, such as a closed port of the server, are no end: they are skipped.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..SKIPPED_ERRORS {
            match self.0.recv(buffer) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for DatagramIo {
    /// A datagram that is not sent for another reason than a lack of room is lost, as any may be.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.send(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that is ready for its handshake over this socket.
pub(super) fn start(mut ssl: Ssl, socket: UdpSocket) -> Result<SslStream<DatagramIo>, ErrorStack> {
    ssl.set_mtu(MTU_BYTES)?;
    SslStream::new(ssl, DatagramIo(socket))
}

/// Sends the last flight of a handshake again if OpenSSL's timer has run out. When it gives up, the limit of the
/// handshake's time is what ends it.
pub(super) fn retransmit(stream: &mut SslStream<DatagramIo>) {
    /// openssl/ssl.h; openssl-sys does not declare it.
    const DTLS_CTRL_HANDLE_TIMEOUT: c_int = 74;
    // SAFETY: the pointer is that of a live connection, and the command has no arguments.
    let outcome = unsafe {
        openssl_sys::SSL_ctrl(stream.ssl().as_ptr(), DTLS_CTRL_HANDLE_TIMEOUT, 0, std::ptr::null_mut())
    };
    if outcome < 0 {
        log::debug!("dtls flight not sent again");
    }
}

/// Takes one record.
pub(super) fn read(stream: &mut SslStream<DatagramIo>) -> Outcome {
    // A part of a record would look like a record of its own.
    let mut buffer = [0; RECORD_BYTES];
    match stream.ssl_read(&mut buffer) {
        Ok(count) => Outcome::Datagram(buffer[..count].to_vec()),
        Err(error) => match error.code() {
            ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => Outcome::Nothing,
            ErrorCode::ZERO_RETURN => Outcome::Ended,
            _ => {
                log::debug!("dtls connection broken: {error}");
                Outcome::Broken
            }
        },
    }
}

/// Sends one record; false while the kernel has no room for it.
pub(super) fn write(stream: &mut SslStream<DatagramIo>, bytes: &[u8]) -> bool {
    match stream.ssl_write(bytes) {
        Ok(_) => true,
        // A read will report any other error.
        Err(error) => !matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE),
    }
}

/// Longest plaintext of a record.
const RECORD_BYTES: usize = 16_384;
/// Longest datagram of a handshake; payload is not split by it.
const MTU_BYTES: u32 = 1_400;
/// Errors that one read skips.
const SKIPPED_ERRORS: usize = 16;
