//! Both ends of a connection play scripts: what each does, step by step, and what it saw of the other.
//!
//! The server uses TLS by OpenSSL, and the client plain TCP to the program in between. Each sends its own pattern,
//! so that a lost, doubled, swapped, altered or invented byte is detected.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslStream, SslVersion};
use openssl::x509::X509;
use qssl_modem_emulator::test_server::fill_pattern;
use sha2::{Digest as _, Sha256};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::site::identity;

/// What one side does next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Sends this many bytes.
    Send(u64),
    /// Sends in writes of 1, 2, 3, ... and finally this many bytes.
    SendGrowing(u64),
    /// Goes on with the next step while this many bytes are sent, or as many as are taken. Only the client can do this,
    /// and it must be its last step that sends.
    SendMeanwhile(u64),
    /// Reads until this many bytes have come in total.
    Receive(u64),
    /// Sends and receives this many bytes at the same time.
    Exchange(u64),
    /// Reads until the other side's end.
    ReadToEnd,
    /// The same, but at most 32 KiB in 10 ms.
    ReadToEndSlowly,
    /// Ends its own direction with FIN, and goes on reading. The server sends close_notify first.
    Finish,
    /// The server ends its direction with FIN alone, as if the stream had been cut.
    Cut,
    /// Closes both directions.
    Close,
    /// Closes with RST.
    Reset,
    /// Does nothing for this many milliseconds.
    Pause(u64),
    /// Informs the other side that it has come to this point.
    Tell(&'static str),
    /// Waits until the other side has come to this point.
    Await(&'static str),
}

/// What one side saw of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    bytes: u64,
    /// SHA-256 of the bytes that came, and of those that should have come.
    sha256: [[u8; 32]; 2],
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// This side closed before it saw an end.
    NotSeen,
    /// FIN at the client.
    Eof,
    /// close_notify at the server.
    CloseNotify,
    /// FIN without close_notify at the server.
    FinAlone,
    Reset,
    NoHandshake,
}

impl Seen {
    /// Whether the bytes that came are those that the other side sent, from the first on.
    fn is_right(&self) -> bool {
        self.sha256[0] == self.sha256[1]
    }

    /// How many bytes came.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::NotSeen => "left first",
            End::Eof => "end of file",
            End::CloseNotify => "close_notify",
            End::FinAlone => "FIN without close_notify",
            End::Reset => "reset",
            End::NoHandshake => "no handshake",
        };
        let wrong = if self.is_right() { "" } else { "WRONG " };
        write!(f, "{} {wrong}bytes, {end}", self.bytes)
    }
}

/// The points that the sides have come to.
#[derive(Clone, Default)]
pub struct Told(Arc<(Mutex<HashSet<&'static str>>, Condvar)>);

impl Told {
    fn tell(&self, what: &'static str) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what);
        self.0.1.notify_all();
    }

    fn wait_for(&self, what: &'static str) {
        let told = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(told, PATIENCE, |told| !told.contains(what));
        let (told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(told.contains(what), "the other side never said: {what}");
    }
}

/// A TLS server that plays the same script with every connection.
pub struct FarEnd {
    address: SocketAddr,
    /// Bound, but not listening yet.
    socket: Option<Socket>,
    steps: &'static [Step],
    told: Told,
    players: Arc<(Mutex<Vec<JoinHandle<Seen>>>, Condvar)>,
}

impl FarEnd {
    /// A server that is down: a client that connects to its address is refused.
    pub fn down(steps: &'static [Step], told: Told) -> FarEnd {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("loopback has free ports");
        let address = socket.local_addr().expect("it is bound").as_socket().expect("it is of IPv4");
        FarEnd { address, socket: Some(socket), steps, told, players: Arc::default() }
    }

    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections from now on.
    pub fn start(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        socket.listen(16).expect("it is bound");
        let (listener, context) = (TcpListener::from(socket), context());
        let (steps, told, players) = (self.steps, self.told.clone(), Arc::clone(&self.players));
        // The thread ends with the test program.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (context, told) = (context.clone(), told.clone());
                let player = thread::spawn(move || match handshake(stream, &context) {
                    Some(stream) => Player::new(Wire::Tls(stream), told).play(steps),
                    None => no_handshake(),
                });
                players.0.lock().unwrap_or_else(PoisonError::into_inner).push(player);
                players.1.notify_all();
            }
        });
    }

    /// Waits until this many connections have come and ended. Returns what it saw of each.
    pub fn seen(self, connections: usize) -> Vec<Seen> {
        let players = self.players.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited =
            self.players.1.wait_timeout_while(players, PATIENCE, |players| players.len() < connections);
        let (mut players, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(players.len() >= connections, "{} of {connections} connections came", players.len());
        players.drain(..).map(|player| player.join().expect("the server can play its script")).collect()
    }
}

/// Connects and plays the client's side.
pub fn play_client(address: SocketAddr, steps: &[Step], told: Told) -> Seen {
    let stream = TcpStream::connect(address).expect("somebody listens");
    Player::new(Wire::Plain(stream), told).play(steps)
}

fn context() -> SslContext {
    let mut context = SslContext::builder(SslMethod::tls_server()).expect("OpenSSL has a server's side");
    // Modules have TLS 1.2, so both ways use the same version.
    context.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("OpenSSL has TLS 1.2");
    let mut chain =
        X509::stack_from_pem(&identity().chain_pem()).expect("it was written by OpenSSL").into_iter();
    context.set_certificate(&chain.next().expect("a chain has a first")).expect("it is a certificate");
    for other in chain {
        context.add_extra_chain_cert(other).expect("it is a certificate");
    }
    let key = PKey::private_key_from_pem(&identity().key_pem()).expect("it was written by OpenSSL");
    context.set_private_key(&key).expect("it is the certificate's");
    context.build()
}

fn handshake(stream: TcpStream, context: &SslContext) -> Option<SslStream<TcpStream>> {
    Ssl::new(context).expect("the context is complete").accept(stream).ok()
}

fn no_handshake() -> Seen {
    Seen { bytes: 0, sha256: [[0; 32]; 2], end: End::NoHandshake }
}

enum Wire {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_ref(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        match self {
            Wire::Plain(stream) => match stream.read(buffer) {
                Ok(0) => Err(End::Eof),
                Ok(count) => Ok(count),
                Err(error) => Err(broken(&error)),
            },
            Wire::Tls(stream) => stream.ssl_read(buffer).map_err(|error| match error.code() {
                ErrorCode::ZERO_RETURN => End::CloseNotify,
                _ => error.io_error().map_or(End::FinAlone, broken),
            }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        match self {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes),
        }
        .map_err(|error| broken(&error))
    }

    fn finish(&mut self) {
        if let Wire::Tls(stream) = self {
            // Failure means that the other side is gone, which the next read shows.
            let _ = stream.shutdown();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }
}

/// Sends this many bytes of a pattern on a separate thread.
fn send_beside(stream: &TcpStream, mut pattern: Pattern, bytes: u64) -> JoinHandle<Result<Pattern, End>> {
    let mut writer = stream.try_clone().expect("there are descriptors");
    thread::spawn(move || {
        let mut missing = bytes;
        while missing > 0 {
            let chunk = pattern.next(missing.min(CHUNK_BYTES as u64) as usize);
            writer.write_all(&chunk).map_err(|error| broken(&error))?;
            missing -= chunk.len() as u64;
        }
        Ok(pattern)
    })
}

fn broken(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("nothing moves any more: {error}"),
        _ => End::Reset,
    }
}

struct Player {
    wire: Wire,
    told: Told,
    sent: Pattern,
    /// The bytes that should come.
    awaited: Pattern,
    came: Sha256,
    should_come: Sha256,
    end: Option<End>,
}

impl Player {
    fn new(wire: Wire, told: Told) -> Player {
        wire.tcp().set_nodelay(true).expect("it is TCP");
        wire.tcp().set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
        wire.tcp().set_write_timeout(Some(PATIENCE)).expect("the limit is not zero");
        let (sent, awaited) = match &wire {
            Wire::Plain(_) => (Pattern::of_client(), Pattern::of_server()),
            Wire::Tls(_) => (Pattern::of_server(), Pattern::of_client()),
        };
        Player { wire, told, sent, awaited, came: Sha256::new(), should_come: Sha256::new(), end: None }
    }

    fn play(mut self, steps: &[Step]) -> Seen {
        for step in steps {
            match step {
                Step::Close => break,
                Step::Reset => {
                    socket2::SockRef::from(self.wire.tcp())
                        .set_linger(Some(Duration::ZERO))
                        .expect("it is TCP");
                    break;
                }
                _ => {}
            }
            if let Err(end) = self.step(*step) {
                self.end.get_or_insert(end);
                break;
            }
        }
        if matches!(steps.last(), Some(Step::Close)) && matches!(self.wire, Wire::Tls(_)) {
            self.wire.finish();
        }
        let sha256 = [self.came.finalize().into(), self.should_come.finalize().into()];
        Seen { bytes: self.awaited.count(), sha256, end: self.end.unwrap_or(End::NotSeen) }
    }

    fn step(&mut self, step: Step) -> Result<(), End> {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::SendGrowing(most) => (1..=most).try_for_each(|bytes| self.send(bytes)),
            Step::SendMeanwhile(bytes) => {
                self.send_meanwhile(bytes);
                Ok(())
            }
            Step::Receive(bytes) => self.receive(bytes, CHUNK_BYTES),
            Step::Exchange(bytes) => self.exchange(bytes),
            Step::ReadToEnd => {
                self.end = self.receive(u64::MAX, CHUNK_BYTES).err();
                Ok(())
            }
            Step::ReadToEndSlowly => {
                self.end = loop {
                    if let Err(end) = self.receive(self.awaited.count() + SLOW_BYTES, SLOW_BYTES as usize) {
                        break Some(end);
                    }
                    pause(SLOW_PAUSE);
                };
                Ok(())
            }
            Step::Finish => {
                self.wire.finish();
                Ok(())
            }
            Step::Cut => {
                let _ = self.wire.tcp().shutdown(Shutdown::Write);
                Ok(())
            }
            Step::Pause(milliseconds) => {
                pause(Duration::from_millis(milliseconds));
                Ok(())
            }
            Step::Tell(what) => {
                self.told.tell(what);
                Ok(())
            }
            Step::Await(what) => {
                self.told.wait_for(what);
                Ok(())
            }
            Step::Close | Step::Reset => unreachable!("the script ends with it"),
        }
    }

    fn send(&mut self, bytes: u64) -> Result<(), End> {
        let mut missing = bytes;
        while missing > 0 {
            let chunk = self.sent.next(missing.min(CHUNK_BYTES as u64) as usize);
            self.wire.write(&chunk)?;
            missing -= chunk.len() as u64;
        }
        Ok(())
    }

    /// Reads until this many bytes have come in total.
    fn receive(&mut self, bytes: u64, chunk_bytes: usize) -> Result<(), End> {
        let mut buffer = vec![0; chunk_bytes];
        while self.awaited.count() < bytes {
            let most = (bytes - self.awaited.count()).min(chunk_bytes as u64) as usize;
            let count = self.wire.read(&mut buffer[..most])?;
            self.came.update(&buffer[..count]);
            self.should_come.update(self.awaited.next(count));
        }
        Ok(())
    }

    fn exchange(&mut self, bytes: u64) -> Result<(), End> {
        let Wire::Plain(stream) = &self.wire else {
            // One thread owns the TLS state. The client is always sending and always reading, so neither a
            // write nor a read waits for long.
            let target = self.sent.count() + bytes;
            while self.sent.count() < target {
                self.send((target - self.sent.count()).min(CHUNK_BYTES as u64))?;
                self.receive(self.sent.count().min(target), CHUNK_BYTES)?;
            }
            return Ok(());
        };
        let sending = send_beside(stream, self.sent, bytes);
        let received = self.receive(self.awaited.count() + bytes, CHUNK_BYTES);
        self.sent = sending.join().expect("sending does not panic")?;
        received
    }

    fn send_meanwhile(&self, bytes: u64) {
        let Wire::Plain(stream) = &self.wire else { unreachable!("one thread owns the TLS state") };
        // The thread ends with the connection.
        send_beside(stream, self.sent, bytes);
    }
}

#[allow(clippy::disallowed_methods, reason = "programs pause, and so do those who act them")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// The bytes that one side sends, and the current position.
#[derive(Clone, Copy)]
struct Pattern {
    start: u64,
    at: u64,
}

impl Pattern {
    fn of_client() -> Pattern {
        Pattern { start: 0, at: 0 }
    }

    fn of_server() -> Pattern {
        Pattern { start: FAR_END_START, at: FAR_END_START }
    }

    fn count(self) -> u64 {
        self.at - self.start
    }

    fn next(&mut self, bytes: usize) -> Vec<u8> {
        let mut chunk = vec![0; bytes];
        fill_pattern(self.at, &mut chunk);
        self.at += bytes as u64;
        chunk
    }
}

const CHUNK_BYTES: usize = 16_384;
const SLOW_BYTES: u64 = 32 * 1024;
const SLOW_PAUSE: Duration = Duration::from_millis(10);
/// Far above the position of any byte that a client sends.
const FAR_END_START: u64 = 1 << 40;
