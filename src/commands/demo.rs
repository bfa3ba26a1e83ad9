//! `qssl-tunnel demo`: a verified transfer through a tunnel, with all that it needs on this machine.
//!
//! ```text
//!   plain TCP client ──► event loop ──► emulated modem ══ TLS ══► test server, throw-away CA
//! ```
//! Client, server and modem are stand-ins. The tunnel is the real one, configured as by a file, and runs on its
//! own thread. The event loop handles signals: SIGINT ends it, and with it the demo.

// An edge: it measures how long a transfer took.
#![allow(clippy::disallowed_methods)]

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use qssl_core::counted;
use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, ServerOptions, SslVersion, TestServer, fill_pattern,
};
use sha2::{Digest as _, Sha256};

use crate::cli::{DemoArgs, LoggingOptions, ModemOptions, ProcessOptions, RunArgs};
use crate::config::{
    self, Authentication, Checked, Configuration, Environment, Pem, Tls, Transport, Verbosity,
};
use crate::daemon::exit_status::{self, ExitStatus};
use crate::daemon::logging;
use crate::event_loop::{self, DaemonOptions};
use crate::terminal;

/// Shows a transfer, and goes on until a signal comes, unless `--once` is given.
///
/// # Errors
/// The transfer was not complete and correct.
pub fn run(args: &DemoArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    logging::start(match (args.logging.quiet, args.logging.verbose) {
        (true, _) | (_, 0) => Verbosity::Quiet,
        (_, 1) => Verbosity::Commands,
        _ => Verbosity::Transcript,
    });
    let (server, authority) = start_server().context("cannot start the TLS server")?;
    let address = free_address().context("no free port on 127.0.0.1")?;
    let tunnel = Tunnel::start(configuration(address, server.address(), authority, environment)?)?;
    say(&format!(
        "client ──► qssl-tunnel, {address} ──► emulated modem ══ TLS ══► {HOST}, {}",
        server.address()
    ))?;

    if let Err(error) = transfer(&tunnel, address, &server) {
        return match error.downcast() {
            Ok(Interrupted(status)) => Ok(status),
            // If the tunnel has ended, its result explains the error better.
            Err(error) => tunnel.end().unwrap_or(Err(error)),
        };
    }
    // After a signal, the transfer is completed and the tunnel ends.
    if let Some(ended) = tunnel.end() {
        return ended;
    }
    if args.once {
        // Ends the demo as a user would. After the transfer, the event loop is certain to catch the signal.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
            .context("cannot send SIGTERM to this process")?;
    } else {
        say(&format!("\ntry it, from another terminal; Ctrl-C ends it:\n\n  {}\n", curl(address)))?;
    }
    let status = tunnel.wait()?;
    log::logger().flush();
    Ok(status)
}

/// The event loop on its own thread.
struct Tunnel {
    ended: Receiver<anyhow::Result<ExitStatus>>,
}

impl Tunnel {
    fn start(configuration: Configuration) -> anyhow::Result<Tunnel> {
        let (sender, ended) = channel();
        let run = move || {
            // If this fails, the result is no longer needed.
            let _ = sender.send(event_loop::run(configuration, DaemonOptions::default()));
        };
        thread::Builder::new().name("tunnel".into()).spawn(run).context("no thread for the tunnel")?;
        Ok(Tunnel { ended })
    }

    /// Connects as soon as the tunnel listens.
    fn connect(&self, address: SocketAddr) -> anyhow::Result<TcpStream> {
        let started = Instant::now();
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => return Ok(stream),
                Err(error) if started.elapsed() > PATIENCE => {
                    return Err(error).with_context(|| format!("cannot connect to the tunnel, {address}"));
                }
                Err(_) => {}
            }
            match self.ended.recv_timeout(RETRY) {
                Err(RecvTimeoutError::Timeout) => {}
                result => {
                    let status = result.unwrap_or_else(|_| Err(panicked()))?;
                    return Err(Interrupted(status).into());
                }
            }
        }
    }

    /// How the tunnel has ended: without an error if by a signal. `None`: it still runs.
    fn end(&self) -> Option<anyhow::Result<ExitStatus>> {
        match self.ended.recv_timeout(LAST_WORDS) {
            Err(RecvTimeoutError::Timeout) => None,
            result => Some(result.unwrap_or_else(|_| Err(panicked()))),
        }
    }

    fn wait(self) -> anyhow::Result<ExitStatus> {
        self.ended.recv().unwrap_or_else(|_| Err(panicked()))
    }
}

/// A signal has ended the tunnel before the demo could connect.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: {}", exit_status::meaning(*.0))]
struct Interrupted(ExitStatus);

fn panicked() -> anyhow::Error {
    anyhow::anyhow!("the tunnel's thread panicked")
}

fn start_server() -> anyhow::Result<(TestServer, Vec<u8>)> {
    let authority = Authority::new("qssl-tunnel demo CA, throw-away")?;
    let identity = authority.issue(&CertificateRequest::server(HOST))?;
    let options = ServerOptions {
        identity: Some(identity),
        lowest_version: Some(SslVersion::TLS1_2),
        cipher_list: Some("ECDHE+AESGCM".to_owned()),
        behaviour: Behaviour::Http,
        ..Default::default()
    };
    Ok((TestServer::start(options)?, authority.pem()))
}

/// An address on which no process listens at present.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The configuration, as from a file, except that the authority comes from memory.
fn configuration(
    address: SocketAddr,
    server: SocketAddr,
    authority: Vec<u8>,
    environment: &Environment,
) -> anyhow::Result<Configuration> {
    let text = format!(
        "[modem]\n\
         device = [\"emulator:--map {HOST}:443={server}\"]\n\
         no-wait = true\n\
         [process]\n\
         shutdown-timeout = \"10s\"\n\
         [[tunnel]]\n\
         listen = [\"{address}\"]\n\
         to = \"{HOST}:443\"\n\
         insecure = true\n"
    );
    // The environment is ignored, so that the demo is always the same.
    let args = RunArgs {
        config: None,
        check: false,
        modem: ModemOptions::default(),
        process: ProcessOptions::default(),
        logging: LoggingOptions::default(),
    };
    let Checked { mut configuration, .. } = config::from_text("demo", &text, &args, environment)?;
    let pem = Pem { source: "the demo's certificate authority".to_owned(), bytes: authority };
    // `insecure` only stood in for an authority that is in no file. From here on, the server is authenticated.
    std::sync::Arc::make_mut(&mut configuration.tunnels[0].settings).transport =
        Transport::Tls(Tls::new(Authentication::Authorities(vec![pem])));
    Ok(configuration)
}

/// Uploads, and then downloads on the same connection. Compares the checksums of both ends.
fn transfer(tunnel: &Tunnel, address: SocketAddr, server: &TestServer) -> anyhow::Result<()> {
    let stream = tunnel.connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut client = BufReader::new(stream);

    greet(&mut client).context("the first request failed")?;
    let records = server.records();
    if let Some(Ok(seen)) = records.last().and_then(|record| record.handshake.as_ref()) {
        say(&format!("the modem authenticated the server; {}, {}", seen.version, seen.cipher))?;
    }
    let up = upload(&mut client).context("the transfer to the server failed")?;
    say(&format!("up:   {up}"))?;
    let down = download(&mut client).context("the transfer from the server failed")?;
    say(&format!("down: {down}"))?;
    Ok(())
}

/// Waits until the modem is set up and has opened its connection, so that neither counts as transfer time.
fn greet(client: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    client.get_mut().write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
    answer(client).map(drop)
}

/// A transfer for which both ends have the same checksum.
struct Moved {
    took: Duration,
    checksum: String,
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.took.as_secs_f64();
        let rate = HumanBytes((TRANSFER_BYTES as f64 / seconds) as u64);
        writeln!(
            f,
            "{} in {seconds:.1} s, {rate}/s; the checksums agree, SHA-256",
            HumanBytes(TRANSFER_BYTES)
        )?;
        write!(f, "  {}", self.checksum)
    }
}

/// Uploads the pattern. The server answers with the checksum of what it received.
fn upload(client: &mut BufReader<TcpStream>) -> anyhow::Result<Moved> {
    let progress = progress("up");
    let started = Instant::now();
    let head = format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {TRANSFER_BYTES}\r\n\r\n");
    client.get_mut().write_all(head.as_bytes())?;
    let checksum = pattern(UP_FROM, |chunk| {
        client.get_mut().write_all(chunk)?;
        progress.inc(chunk.len() as u64);
        Ok(())
    })?;
    let answer = answer(client)?;
    let took = started.elapsed();
    progress.finish_and_clear();
    agree(&checksum, answer.trim_end())?;
    Ok(Moved { took, checksum })
}

/// Downloads the pattern from its beginning.
fn download(client: &mut BufReader<TcpStream>) -> anyhow::Result<Moved> {
    let progress = progress("down");
    let started = Instant::now();
    let head = format!("GET /bytes/{TRANSFER_BYTES} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.get_mut().write_all(head.as_bytes())?;
    let length = response_length(client)?;
    ensure!(length == TRANSFER_BYTES, "the server announced {length} bytes, not {TRANSFER_BYTES}");
    let mut sha = Sha256::new();
    let mut missing = TRANSFER_BYTES;
    let mut buffer = [0; CHUNK_BYTES];
    while missing > 0 {
        let wanted = missing.min(CHUNK_BYTES as u64) as usize;
        let count = client.read(&mut buffer[..wanted])?;
        ensure!(count > 0, "the connection ended {} early", counted(missing, "byte"));
        sha.update(&buffer[..count]);
        missing -= count as u64;
        progress.inc(count as u64);
    }
    let took = started.elapsed();
    progress.finish_and_clear();
    let checksum = pattern(0, |_| Ok(()))?;
    agree(&checksum, &hexadecimal(sha))?;
    Ok(Moved { took, checksum })
}

/// Generates the bytes that are transferred, in chunks, and returns their checksum. They begin at position `first`
/// of the endless pattern.
fn pattern(first: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<String> {
    let mut sha = Sha256::new();
    let mut buffer = [0; CHUNK_BYTES];
    for offset in (0..TRANSFER_BYTES).step_by(CHUNK_BYTES) {
        fill_pattern(first + offset, &mut buffer);
        sha.update(buffer);
        take(&buffer)?;
    }
    Ok(hexadecimal(sha))
}

/// Reads a response whose body is a short text.
fn answer(client: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let length = response_length(client)?;
    ensure!(length <= TEXT_LIMIT_BYTES, "the server answered with {length} bytes");
    let mut text = String::new();
    let count = client.take(length).read_to_string(&mut text)?;
    ensure!(count as u64 == length, "the connection ended within the response");
    Ok(text)
}

/// Reads the head of a response and returns its Content-Length, in bytes.
fn response_length(client: &mut BufReader<TcpStream>) -> anyhow::Result<u64> {
    let status = line(client)?;
    ensure!(status.starts_with("HTTP/1.1 200 "), "the server answered: {status}");
    let mut length = None;
    loop {
        let line = line(client)?;
        if line.is_empty() {
            return length.context("the server announced no length");
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse().context("the server announced no length that is a number")?);
        }
    }
}

fn line(client: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut line = String::new();
    client.take(TEXT_LIMIT_BYTES).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => bail!("the connection ended within the response"),
    }
}

fn agree(sent: &str, received: &str) -> anyhow::Result<()> {
    ensure!(sent == received, "the SHA-256 checksums differ: {sent} was sent, {received} received");
    Ok(())
}

fn hexadecimal(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Prints a line; its reader may have ended, as `head` does.
fn say(line: &str) -> anyhow::Result<()> {
    let line = terminal::shown(line, terminal::takes_unicode());
    writeln!(io::stdout(), "{line}").context("cannot write to standard output")
}

/// A progress bar on standard error, if that is a terminal.
fn progress(direction: &'static str) -> ProgressBar {
    let style = "{prefix:4} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    let style = ProgressStyle::with_template(style).expect("the template is constant and correct");
    ProgressBar::new(TRANSFER_BYTES).with_style(style).with_prefix(direction)
}

/// A command that works when it is pasted, even if a proxy is configured.
fn curl(address: SocketAddr) -> String {
    format!("curl --noproxy '*' --connect-to {HOST}:80:{address} http://{HOST}/")
}

/// The server's name, which the modem checks against the certificate. RFC 2606 reserves it.
const HOST: &str = "demo.example";

/// In each direction.
const TRANSFER_BYTES: u64 = 8 * 1024 * 1024;
/// Where the upload begins in the pattern: after the download, so that neither can be taken for the other.
const UP_FROM: u64 = TRANSFER_BYTES;
const CHUNK_BYTES: usize = 16 * 1024;
// `pattern` makes whole chunks.
const _: () = assert!(TRANSFER_BYTES.is_multiple_of(CHUNK_BYTES as u64));

/// The longest line of a response's head, and the longest text after it.
const TEXT_LIMIT_BYTES: u64 = 4096;

/// Any step that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two attempts to connect to a tunnel that is about to listen.
const RETRY: Duration = Duration::from_millis(20);
/// The longest time between the end of a connection and the end of the tunnel, if one causes the other.
const LAST_WORDS: Duration = Duration::from_millis(500);
