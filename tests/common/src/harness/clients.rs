//! Local clients: curl, and plain TCP that the test controls; and what they must receive.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use qssl_modem_emulator::test_server::fill_pattern;
use sha2::{Digest as _, Sha256};

use super::PATIENCE;
use super::process::program;
use super::site::NAME;
use super::tunnel::Tunnel;

/// A connection to the tunnel.
pub fn connect(address: SocketAddr) -> TcpStream {
    connect_unless_reset(address).expect("the tunnel keeps its clients")
}

/// The same to a tunnel that resets clients; `None`: this thread slept for so long that it was reset before it knew that it
/// was connected.
pub fn connect_unless_reset(address: SocketAddr) -> Option<TcpStream> {
    let stream = match TcpStream::connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
        stream => stream.expect("the tunnel listens"),
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("the limit is not zero");
    Some(stream)
}

/// Sets a flag at its end, also when an assertion fails before: for what goes on in other threads until then.
pub struct SetAtTheEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends these bytes to a server that echoes, and reads them back.
#[track_caller]
pub fn echo(client: &mut (impl Read + Write), bytes: &[u8]) {
    client.write_all(bytes).expect("the tunnel takes it");
    let mut answer = vec![0; bytes.len()];
    client.read_exact(&mut answer).expect("the server echoes");
    assert!(answer == bytes, "another answer than what was sent");
}

/// A curl command that requests this path through the tunnel.
pub fn curl(tunnel: &Tunnel, path: &str) -> Command {
    curl_at(tunnel.address(), path)
}

/// The same through the program that listens at `address`.
pub fn curl_at(address: SocketAddr, path: &str) -> Command {
    let mut command = Command::new(program("curl"));
    command.env_clear().args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "180"]);
    command.arg("--connect-to").arg(format!("{NAME}:443:{}:{}", address.ip(), address.port()));
    command.arg(format!("http://{NAME}:443{path}"));
    command
}

/// How a connection ended for a client that read until nothing more came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// End of file.
    InOrder,
    /// ECONNRESET.
    Reset,
}

/// Reads to the end. Returns the number of bytes, their SHA-256, and how the connection ended.
///
/// # Panics
/// If no end comes in time.
pub fn read_to_end(stream: &mut impl Read) -> (u64, String, Ended) {
    let mut sha = Sha256::new();
    let mut count = 0;
    let mut buffer = [0; 65_536];
    let ended = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break Ended::InOrder,
            Ok(more) => {
                count += more as u64;
                sha.update(&buffer[..more]);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break Ended::Reset,
            Err(error) => panic!("neither end nor reset after {count} bytes: {error}"),
        }
    };
    (count, hex(sha), ended)
}

/// SHA-256 of the first `bytes` bytes of the servers' pattern, in hexadecimal.
pub fn digest(bytes: u64) -> String {
    let mut sha = Sha256::new();
    each_chunk(bytes, |chunk| {
        sha.update(chunk);
        Ok(())
    })
    .expect("hashing does not fail");
    hex(sha)
}

/// SHA-256 of these bytes, in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// The first `bytes` bytes of the pattern.
pub fn patterned_bytes(bytes: u64) -> Vec<u8> {
    let mut all = vec![0; bytes as usize];
    fill_pattern(0, &mut all);
    all
}

/// A file with the first `bytes` bytes of the pattern.
pub fn patterned_file(directory: &Path, bytes: u64) -> PathBuf {
    let path = directory.join(format!("pattern-{bytes}"));
    let mut file = fs::File::create(&path).expect("the directory is ours");
    each_chunk(bytes, |chunk| file.write_all(chunk)).expect("there is room in the temporary directory");
    path
}

fn each_chunk(bytes: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = [0; 65_536];
    let mut done = 0;
    while done < bytes {
        let length = (bytes - done).min(buffer.len() as u64) as usize;
        fill_pattern(done, &mut buffer[..length]);
        take(&buffer[..length])?;
        done += length as u64;
    }
    Ok(())
}

fn hex(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
