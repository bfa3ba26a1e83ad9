//! TLS servers on loopback, with certificates that are made at run time: the servers of demos and end-to-end tests.
//!
//! Each [`TestServer`] has a port of its own and a thread for every connection. It is configured by plain data,
//! and keeps a record of what it received, which tests can wait for. It is not meant for other uses.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use foreign_types::ForeignTypeRef as _;
use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::ssl::{
    AlpnError, ErrorCode, HandshakeError, NameType, SniError, Ssl, SslContext, SslMethod, SslOptions,
    SslStream, SslVerifyMode,
};
use openssl::x509::store::X509StoreBuilder;

pub use openssl::ssl::SslVersion;
pub use openssl::x509::X509;

pub use self::certificates::{Authority, CertificateRequest, Identity, KeyKind, Usage};

mod certificates;
mod http;

/// The options of a server.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// Certificate and key; without them only a pre-shared key is left to authenticate by.
    pub identity: Option<Identity>,
    /// Plain TCP, without TLS.
    pub plain: bool,
    /// The lowest version accepted; `None` accepts anything OpenSSL has, SSL 3.0 included.
    pub lowest_version: Option<SslVersion>,
    /// The highest version accepted, TLS 1.3 included.
    pub highest_version: Option<SslVersion>,
    /// OpenSSL's names of the suites up to TLS 1.2, joined by colons; `None` accepts all but those without
    /// authentication.
    pub cipher_list: Option<String>,
    /// Clients must show a certificate of this authority.
    pub client_authority: Option<X509>,
    /// Identity and key of a pre-shared key, which client and server may use instead of a certificate.
    pub psk: Option<(String, Vec<u8>)>,
    /// Clients that offer other protocols are refused in the handshake, those that offer none are cut off
    /// right after it.
    pub alpn: Option<String>,
    /// Clients that do not send a server name are refused in the handshake.
    pub demands_name: bool,
    /// Renegotiates right after the handshake, and cuts off clients that refuse. Up to TLS 1.2.
    pub renegotiates: bool,
    /// What it does with a connection.
    pub behaviour: Behaviour,
    /// What it does when the behaviour is over.
    pub ending: Ending,
}

/// What a server does with a connection once the handshake is over.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// Sends back what it receives, until the client ends.
    #[default]
    Echo,
    /// Sends back line by line, and ends when a line is `end` (in order), `fin` (truncated) or `rst` (reset), as the server
    /// of a survey does.
    EchoUntilTold,
    /// Reads this many bytes and answers with their SHA-256 in 64 hexadecimal digits and a line feed.
    Digest {
        /// How many bytes.
        bytes: u64,
    },
    /// Sends this many bytes of [`fill_pattern`] without reading.
    Source {
        /// How many bytes.
        bytes: u64,
    },
    /// Reads this many bytes, waits, and answers.
    Respond {
        /// Length of the request in bytes.
        request_bytes: usize,
        /// From the last byte of the request to the first of the response.
        delay: Duration,
        /// The response.
        response: Vec<u8>,
    },
    /// HTTP/1.1 with keep-alive: `GET /` returns a greeting, `GET /bytes/N` returns N bytes of [`fill_pattern`],
    /// `PUT` or `POST` of a body with a Content-Length returns its SHA-256.
    Http,
    /// Never reads and never writes, until the server is dropped.
    Silent,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ending {
    /// close_notify, then FIN.
    #[default]
    Orderly,
    /// FIN without close_notify, as when a stream has been cut.
    Truncated,
    /// RST.
    Reset,
    /// The server goes on reading until the client ends.
    Wait,
}

/// What a server has recorded of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The handshake, or what OpenSSL reported about its failure.
    pub handshake: Option<Result<Handshake, String>>,
    /// How many bytes were received.
    pub received_bytes: u64,
    /// How the client ended, once it has.
    pub client_end: Option<ClientEnd>,
    /// Whether the server has finished with it.
    pub over: bool,
}

/// What was negotiated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// OpenSSL's name of the version, such as `TLSv1.2`; empty for plain TCP.
    pub version: String,
    /// OpenSSL's name of the suite.
    pub cipher: String,
    /// The name that the client sent.
    pub server_name: Option<String>,
    /// The negotiated protocol.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub session_reused: bool,
    /// Common name in the client's certificate.
    pub client_name: Option<String>,
}

/// How a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// With close_notify; for plain TCP with FIN.
    Orderly,
    /// With FIN alone, or RST.
    Cut,
}

/// A running server; dropping it cuts its connections and waits for its threads.
pub struct TestServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is free, or OpenSSL refuses the options.
    pub fn start(options: ServerOptions) -> io::Result<TestServer> {
        let context = if options.plain { None } else { Some(context(&options)?) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let for_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("test server".into())
            .spawn(move || accept(&listener, context, &options, &for_acceptor))?;
        Ok(TestServer { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The records so far, one per connection, in the order of acceptance.
    pub fn records(&self) -> Vec<Record> {
        self.shared.lock().records.clone()
    }

    /// Waits until the records satisfy `condition` and returns them.
    ///
    /// # Panics
    /// After 180 s, with the records.
    pub fn wait_for(&self, condition: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), RECORDS_WAIT_MAX, |state| !condition(&state.records));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the test server waited too long, it saw {:#?}", state.records);
        state.records.clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the acceptor. A failure means that it has ended, and joining shows that.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let state = self.shared.lock();
        for stream in state.streams.iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
        drop(self.shared.changed.wait_while(state, |state| state.running > 0));
    }
}

/// Fills `buffer` with the bytes at `offset` of an endless stream that does not seem to repeat.
pub fn fill_pattern(offset: u64, buffer: &mut [u8]) {
    for (position, byte) in (offset..).zip(buffer) {
        // The finalizer of splitmix64: every byte depends on all of its position, so that lost, doubled and
        // swapped bytes show.
        let mut mixed = (position / 8).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        *byte = (mixed >> (position % 8 * 8)) as u8;
    }
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    /// Handles by which open connections are cut when the server is dropped.
    streams: Vec<Option<TcpStream>>,
    /// Threads of connections that have not ended.
    running: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, number: usize, change: impl FnOnce(&mut Record)) {
        change(&mut self.lock().records[number]);
        self.changed.notify_all();
    }

    /// Waits; true when the server is being dropped.
    fn pause(&self, time: Duration) -> bool {
        let stopping = || self.stopping.load(Ordering::Acquire);
        drop(self.changed.wait_timeout_while(self.lock(), time, |_| !stopping()));
        stopping()
    }
}

/// No server waits longer for its client.
const PATIENCE: Duration = Duration::from_secs(30);
/// No test waits longer for a server. On a busy machine a transfer that takes a second may take a minute.
const RECORDS_WAIT_MAX: Duration = Duration::from_secs(180);
const CHUNK_BYTES: usize = 16_384;

fn accept(
    listener: &TcpListener,
    context: Option<SslContext>,
    options: &ServerOptions,
    shared: &Arc<Shared>,
) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else { continue };
        let mut state = shared.lock();
        let number = state.records.len();
        state.records.push(Record::default());
        state.streams.push(Some(handle));
        let (context, options, for_thread) = (context.clone(), options.clone(), Arc::clone(shared));
        let serve = move || {
            let connection = Connection { number, shared: &for_thread, stopped: false };
            connection.serve(stream, context, &options);
            let mut state = for_thread.lock();
            state.streams[number] = None;
            state.records[number].over = true;
            state.running -= 1;
            for_thread.changed.notify_all();
        };
        let started = std::thread::Builder::new().name("test connection".into()).spawn(serve).is_ok();
        state.running += usize::from(started);
    }
}

fn context(options: &ServerOptions) -> Result<SslContext, ErrorStack> {
    crate::network::real::tls::load_old_algorithms();
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    context.set_security_level(0);
    context.set_session_id_context(b"test server")?;
    context.set_min_proto_version(Some(options.lowest_version.unwrap_or(SslVersion::SSL3)))?;
    context.set_max_proto_version(options.highest_version)?;
    context.set_cipher_list(options.cipher_list.as_deref().unwrap_or("ALL:!aNULL:!eNULL"))?;
    context.clear_options(SslOptions::NO_SSLV3);
    if let Some(identity) = &options.identity {
        let (own, others) = identity.chain.split_first().expect("an identity has a certificate");
        context.set_certificate(own)?;
        context.set_private_key(&identity.key)?;
        for certificate in others {
            context.add_extra_chain_cert(certificate.clone())?;
        }
    }
    if let Some(authority) = &options.client_authority {
        let mut store = X509StoreBuilder::new()?;
        store.add_cert(authority.clone())?;
        context.set_cert_store(store.build());
        context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        context.add_client_ca(authority)?;
    }
    if let Some((identity, key)) = options.psk.clone() {
        context.set_psk_server_callback(move |_, offered, buffer| {
            if offered != Some(identity.as_bytes()) || key.len() > buffer.len() {
                return Ok(0);
            }
            buffer[..key.len()].copy_from_slice(&key);
            Ok(key.len())
        });
    }
    if options.demands_name {
        context.set_servername_callback(|ssl, _| match ssl.servername(NameType::HOST_NAME) {
            Some(_) => Ok(()),
            None => Err(SniError::ALERT_FATAL),
        });
    }
    if let Some(protocol) = options.alpn.clone() {
        context.set_alpn_select_callback(move |_, offered| {
            let mut rest = offered;
            while let [length, tail @ ..] = rest {
                let (name, next) =
                    tail.split_at_checked(usize::from(*length)).ok_or(AlpnError::ALERT_FATAL)?;
                if name == protocol.as_bytes() {
                    return Ok(name);
                }
                rest = next;
            }
            Err(AlpnError::ALERT_FATAL)
        });
    }
    Ok(context.build())
}

/// The thread of one connection.
struct Connection<'a> {
    number: usize,
    shared: &'a Shared,
    stopped: bool,
}

impl Connection<'_> {
    fn serve(mut self, tcp: TcpStream, context: Option<SslContext>, options: &ServerOptions) {
        let _ = tcp.set_nodelay(true);
        let mut stream = match context {
            None => {
                self.shared.record(self.number, |record| {
                    record.handshake = Some(Ok(Handshake::default()));
                });
                Stream::Plain(tcp)
            }
            Some(context) => match self.handshake(tcp, &context, options) {
                Some(stream) => Stream::Tls(stream),
                None => return,
            },
        };
        if options.renegotiates && !renegotiate(&mut stream) {
            return;
        }
        let ending = match &options.behaviour {
            Behaviour::EchoUntilTold => self.echo_until_told(&mut stream),
            behaviour => self.behave(&mut stream, behaviour).map(|()| options.ending),
        };
        if let Ok(ending) = ending
            && !self.stopped
        {
            self.end(stream, ending);
        }
    }

    fn handshake(
        &self,
        tcp: TcpStream,
        context: &SslContext,
        options: &ServerOptions,
    ) -> Option<SslStream<TcpStream>> {
        let outcome = Ssl::new(context).map_err(HandshakeError::from).and_then(|ssl| ssl.accept(tcp));
        let outcome = match outcome {
            Ok(stream) => {
                let seen = handshake_of(&stream);
                if options.alpn.is_some() && seen.alpn.is_none() {
                    Err("client offered no protocol".to_owned())
                } else {
                    Ok((stream, seen))
                }
            }
            Err(HandshakeError::Failure(failed) | HandshakeError::WouldBlock(failed)) => {
                Err(failed.error().to_string())
            }
            Err(HandshakeError::SetupFailure(error)) => Err(error.to_string()),
        };
        let (stream, seen) = match outcome {
            Ok((stream, seen)) => (Some(stream), Ok(seen)),
            Err(text) => (None, Err(text)),
        };
        self.shared.record(self.number, |record| record.handshake = Some(seen));
        stream
    }

    fn echo_until_told(&mut self, stream: &mut Stream) -> io::Result<Ending> {
        let (mut buffer, mut line) = ([0; CHUNK_BYTES], Vec::new());
        loop {
            let count = self.read(stream, &mut buffer)?;
            if count == 0 {
                return Ok(Ending::Orderly);
            }
            stream.write_all(&buffer[..count])?;
            for &byte in &buffer[..count] {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                match line.as_slice() {
                    b"end" => return Ok(Ending::Orderly),
                    b"fin" => return Ok(Ending::Truncated),
                    b"rst" => return Ok(Ending::Reset),
                    _ => line.clear(),
                }
            }
        }
    }

    fn behave(&mut self, stream: &mut Stream, behaviour: &Behaviour) -> io::Result<()> {
        let mut buffer = [0; CHUNK_BYTES];
        match behaviour {
            Behaviour::EchoUntilTold => self.echo_until_told(stream).map(|_| ()),
            Behaviour::Echo => loop {
                let count = self.read(stream, &mut buffer)?;
                if count == 0 {
                    return Ok(());
                }
                stream.write_all(&buffer[..count])?;
            },
            Behaviour::Digest { bytes } => {
                let digest = self.digest(stream, &mut Vec::new(), *bytes)?;
                stream.write_all(format!("{digest}\n").as_bytes())
            }
            Behaviour::Source { bytes } => send_pattern(stream, *bytes),
            Behaviour::Respond { request_bytes, delay, response } => {
                let mut missing = *request_bytes;
                while missing > 0 {
                    let count = self.read(stream, &mut buffer[..missing.min(CHUNK_BYTES)])?;
                    if count == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    missing -= count;
                }
                self.stopped = self.shared.pause(*delay);
                stream.write_all(response)
            }
            Behaviour::Http => http::serve(self, stream),
            Behaviour::Silent => {
                while !self.stopped {
                    self.stopped = self.shared.pause(PATIENCE);
                }
                Ok(())
            }
        }
    }

    fn end(&mut self, mut stream: Stream, ending: Ending) {
        match ending {
            Ending::Orderly => stream.close(),
            Ending::Truncated => {
                let _ = stream.tcp().shutdown(Shutdown::Write);
            }
            Ending::Reset => {
                let _ = rustix::net::sockopt::set_socket_linger(stream.tcp(), Some(Duration::ZERO));
                // RST goes out when the last handle is closed.
                self.shared.lock().streams[self.number] = None;
                return;
            }
            Ending::Wait => {}
        }
        let mut buffer = [0; CHUNK_BYTES];
        while self.read(&mut stream, &mut buffer).is_ok_and(|count| count > 0) {}
    }

    /// Reads, keeping the record; 0 at the client's orderly end.
    fn read(&self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        let outcome = stream.read(buffer);
        self.shared.record(self.number, |record| match &outcome {
            Ok(0) => record.client_end = Some(ClientEnd::Orderly),
            Ok(count) => record.received_bytes += *count as u64,
            Err(_) => record.client_end = Some(ClientEnd::Cut),
        });
        outcome
    }

    /// SHA-256 of the next `bytes` bytes, those in `ahead` first.
    fn digest(&self, stream: &mut Stream, ahead: &mut Vec<u8>, bytes: u64) -> io::Result<String> {
        let mut buffer = [0; CHUNK_BYTES];
        let mut sha = Sha256::new();
        let known = bytes.min(ahead.len() as u64) as usize;
        sha.update(&ahead[..known]);
        ahead.drain(..known);
        let mut missing = bytes - known as u64;
        while missing > 0 {
            let wanted = missing.min(CHUNK_BYTES as u64) as usize;
            let count = self.read(stream, &mut buffer[..wanted])?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            sha.update(&buffer[..count]);
            missing -= count as u64;
        }
        Ok(sha.finish().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }

    /// 0 at an orderly end only.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => match stream.ssl_read(buffer) {
                Ok(count) => Ok(count),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(0),
                Err(error) => Err(error.into_io_error().unwrap_or_else(io::Error::other)),
            },
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes),
        }
    }

    fn close(&mut self) {
        // Failing means that the client has gone already.
        if let Stream::Tls(stream) = self {
            let _ = stream.shutdown();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }
}

/// Whether the client agreed to a second handshake. It sends no payload meanwhile.
fn renegotiate(stream: &mut Stream) -> bool {
    let Stream::Tls(stream) = stream else { return false };
    let asked = {
        // SAFETY: the pointer is that of a live connection, which this call does not keep.
        let asked = unsafe { SSL_renegotiate(stream.ssl().as_ptr()) };
        asked == 1 && stream.do_handshake().is_ok()
    };
    // The client's answer is handled while reading.
    let _ = stream.get_ref().set_read_timeout(Some(RENEGOTIATION_LOOK));
    let began = now();
    let done = loop {
        // SAFETY: as above.
        let pending = asked && unsafe { SSL_renegotiate_pending(stream.ssl().as_ptr()) } == 1;
        if !pending || now().saturating_duration_since(began) > PATIENCE {
            break asked && !pending;
        }
        match stream.ssl_read(&mut [0; 1]) {
            Err(error) if error.code() == ErrorCode::WANT_READ => {}
            _ => break false,
        }
    };
    let _ = stream.get_ref().set_read_timeout(None);
    done
}

// openssl-sys does not declare these two.
unsafe extern "C" {
    fn SSL_renegotiate(ssl: *mut openssl_sys::SSL) -> std::ffi::c_int;
    fn SSL_renegotiate_pending(ssl: *const openssl_sys::SSL) -> std::ffi::c_int;
}

/// How often to check whether a client has answered.
const RENEGOTIATION_LOOK: Duration = Duration::from_millis(20);

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "real clients live in real time")]
    Instant::now()
}

fn send_pattern(stream: &mut Stream, bytes: u64) -> io::Result<()> {
    let mut buffer = [0; CHUNK_BYTES];
    let mut sent = 0;
    while sent < bytes {
        let chunk = &mut buffer[..(bytes - sent).min(CHUNK_BYTES as u64) as usize];
        fill_pattern(sent, chunk);
        stream.write_all(chunk)?;
        sent += chunk.len() as u64;
    }
    Ok(())
}

fn handshake_of(stream: &SslStream<TcpStream>) -> Handshake {
    let ssl = stream.ssl();
    let client_name = ssl.peer_certificate().and_then(|certificate| {
        let name = certificate.subject_name().entries_by_nid(openssl::nid::Nid::COMMONNAME).next()?;
        Some(name.data().to_string().ok()?.to_string())
    });
    Handshake {
        version: ssl.version_str().to_owned(),
        cipher: ssl.current_cipher().map(|cipher| cipher.name().to_owned()).unwrap_or_default(),
        server_name: ssl.servername(NameType::HOST_NAME).map(str::to_owned),
        alpn: ssl.selected_alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        session_reused: ssl.session_reused(),
        client_name,
    }
}

fn unix_seconds() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "certificates are made for the time that it is now")]
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed.as_secs() as i64
}
