//! The daemon's side of the control socket: a few connections, each with one request at a time.
//!
//! Everything is bounded: the number of connections, the time one may be idle, and the length of a request.
//! Nothing is read while a reply is due. Some connections are kept for the daemon's own user and root, so that
//! other users who may open the socket cannot lock them out.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::{CONNECTIONS_MAX, REQUEST_LIMIT_BYTES, Reply, Request};
use crate::clients::listener::{BindError, Listener};
use crate::clients::peer::user_of;
use crate::clients::stream::ClientStream;
use crate::config::Listen;
use crate::terminal::printable_json;
use qssl_core::modem::UserCommand;

/// The control socket and its connections.
#[derive(Debug)]
pub(crate) struct Server {
    listener: Listener,
    path: PathBuf,
    attention: Attention,
    connections: Vec<Option<Connection>>,
    /// The users for whom connections are kept: the daemon's and root.
    owners: [u32; 2],
}

#[derive(Debug)]
struct Connection {
    stream: ClientStream,
    readable: bool,
    writable: bool,
    input: Vec<u8>,
    /// How many bytes of `input` were searched without finding a line end.
    searched: usize,
    output: Vec<u8>,
    written: usize,
    /// It will send nothing more.
    finished: bool,
    waits: Option<Waits>,
    /// Since when it has been idle, if no request is under way.
    idle_since: Instant,
    is_owners: bool,
    /// The results of opens that it has not taken yet, newest last: the number and the result.
    opened: Vec<(u8, u16)>,
    /// The modem that it has something opened by.
    opens: Option<usize>,
    /// The modem that it has chosen.
    modem: Option<usize>,
}

/// When the listener is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attention {
    /// After its next event.
    AfterEvent,
    /// At once.
    Now,
    /// Then: a client waits, and could not be accepted.
    At(Instant),
}

/// What a connection's reply waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// The answer to this command, of the modem at this position.
    Command { modem: usize, id: UserCommand, until: Instant },
    /// What the modem reports about its network.
    Status { until: Instant },
    /// The result of an open, of the modem at this position.
    Open { modem: usize, until: Instant },
}

/// The result of [`Server::turn`].
#[derive(Debug, PartialEq)]
pub(crate) enum Turn {
    /// Nothing to do.
    Nothing,
    /// Bytes were read, and there may be more.
    Moved,
    /// A request, or what is wrong with it.
    Request(Result<Request, String>),
}

impl Waits {
    pub(crate) fn until(self) -> Instant {
        match self {
            Waits::Command { until, .. } | Waits::Status { until } | Waits::Open { until, .. } => until,
        }
    }
}

impl Server {
    /// Makes the control socket.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub(crate) fn bind(listen: &Listen) -> Result<Server, BindError> {
        let path = match listen {
            Listen::Unix { path, .. } => path.clone(),
            _ => PathBuf::new(),
        };
        let mut bound = Listener::bind(listen, false)?;
        let listener = bound.listeners.pop().expect("a Unix socket is one listener");
        let owners = [rustix::process::geteuid().as_raw(), 0];
        Ok(Server { listener, path, attention: Attention::Now, connections: Vec::new(), owners })
    }

    /// The path of the control socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.listener.register(registry, token)
    }

    /// A client may want to connect.
    pub(crate) fn mark_listener(&mut self) {
        self.attention = Attention::Now;
    }

    /// A connection may be read or written. `gone`: the other side has closed it.
    pub(crate) fn mark(&mut self, index: usize, readable: bool, writable: bool, gone: bool) {
        if let Some(slot) = self.connections.get_mut(index)
            && let Some(connection) = slot
        {
            connection.readable |= readable;
            connection.writable |= writable;
            if gone {
                *slot = None;
            }
        }
    }

    /// Accepts one waiting connection. Returns whether there was one.
    pub(crate) fn accept(
        &mut self,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
        now: Instant,
    ) -> bool {
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or(self.connections.len());
        let is_due = match self.attention {
            Attention::AfterEvent => false,
            Attention::Now => true,
            Attention::At(at) => at <= now,
        };
        if !is_due || index >= CONNECTIONS_MAX {
            // Further ones wait in the kernel until another connection ends.
            return false;
        }
        let mut stream = match self.listener.accept() {
            Ok(Some((stream, _))) => {
                self.attention = Attention::Now;
                stream
            }
            Ok(None) => {
                self.attention = Attention::AfterEvent;
                return false;
            }
            // It still waits in the kernel, and no further event reports it.
            Err(_) => {
                self.attention = Attention::At(now + ACCEPT_PAUSE);
                return false;
            }
        };
        // Control connections end in order, not by a reset: they carry no client's stream.
        stream.end_in_order();
        let is_owners = user_of(&stream).is_some_and(|uid| self.owners.contains(&uid));
        let others = self.connections.iter().flatten().filter(|connection| !connection.is_owners).count();
        if !is_owners && others >= OTHERS_MAX {
            log::warn!("the control socket is busy: {OTHERS_MAX} connections of other users are open");
            let message = "too many control connections of other users than the daemon's; try again";
            // The client may not read it.
            let _ = stream.write(&line(&Reply::error("busy", message)));
            return true;
        }
        if let Err(error) = stream.register(registry, token(index)) {
            log::warn!("cannot wait for a control connection: {error}");
            return true;
        }
        let connection = Connection {
            stream,
            readable: true,
            writable: true,
            input: Vec::new(),
            searched: 0,
            output: Vec::new(),
            written: 0,
            finished: false,
            waits: None,
            idle_since: now,
            is_owners,
            opened: Vec::new(),
            opens: None,
            modem: None,
        };
        match free {
            Some(index) => self.connections[index] = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        true
    }

    /// The number of slots for connections; some may be free.
    pub(crate) fn slots(&self) -> usize {
        self.connections.len()
    }

    /// Moves a bounded number of bytes of a connection, and takes its next complete request.
    pub(crate) fn turn(&mut self, index: usize, now: Instant) -> Turn {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return Turn::Nothing };
        match connection.turn(now) {
            Ok(Ok(line)) => Turn::Request(serde_json::from_slice(&line).map_err(|error| error.to_string())),
            Ok(Err(turn)) => turn,
            Err(_) => {
                self.connections[index] = None;
                Turn::Moved
            }
        }
    }

    /// Sends the reply that is due.
    pub(crate) fn reply(&mut self, index: usize, reply: &Reply, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        connection.waits = None;
        connection.idle_since = now;
        connection.output.append(&mut line(reply));
    }

    /// Drops every connection that has sent no request for too long, or does not read its reply.
    pub(crate) fn drop_idle(&mut self, now: Instant) {
        for slot in &mut self.connections {
            if slot.as_ref().and_then(Connection::idle_until).is_some_and(|until| until <= now) {
                *slot = None;
            }
        }
    }

    /// Makes the connection's reply wait for this.
    pub(crate) fn wait(&mut self, index: usize, waits: Waits) {
        if let Some(Some(connection)) = self.connections.get_mut(index) {
            connection.waits = Some(waits);
        }
    }

    /// The connections that wait, and what they wait for.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (usize, Waits)> + '_ {
        let waits = |(index, slot): (usize, &Option<Connection>)| Some((index, slot.as_ref()?.waits?));
        self.connections.iter().enumerate().filter_map(waits)
    }

    /// The modem that the connection's requests are for, if it has chosen one.
    pub(crate) fn modem_of(&self, index: usize) -> Option<usize> {
        self.connections.get(index)?.as_ref()?.modem
    }

    /// The connection has chosen a modem.
    pub(crate) fn choose_modem(&mut self, index: usize, modem: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(index) {
            connection.modem = Some(modem);
        }
    }

    /// The connection is about to open something in the modem. Earlier results are discarded.
    pub(crate) fn expect_open(&mut self, index: usize, modem: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(index) {
            connection.opened.clear();
            connection.opens = Some(modem);
        }
    }

    /// The result of an open that no tunnel has started.
    pub(crate) fn opened(&mut self, modem: usize, id: u8, result: u16) {
        let expects = |connection: &&mut Connection| connection.opens == Some(modem);
        for connection in self.connections.iter_mut().flatten().filter(expects) {
            if connection.opened.len() < OPENED_MAX {
                connection.opened.push((id, result));
            }
        }
    }

    /// Takes the oldest result of an open that this connection has not taken yet.
    pub(crate) fn take_opened(&mut self, index: usize) -> Option<(u8, u16)> {
        let connection = self.connections.get_mut(index)?.as_mut()?;
        (!connection.opened.is_empty()).then(|| connection.opened.remove(0))
    }

    /// When the first wait ends, or the first idle connection is dropped.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let idle = self.connections.iter().flatten().filter_map(Connection::idle_until);
        let accept = match self.attention {
            Attention::At(at) => Some(at),
            Attention::AfterEvent | Attention::Now => None,
        };
        self.waiting().map(|(_, waits)| waits.until()).chain(idle).chain(accept).min()
    }
}

impl Connection {
    fn idle_until(&self) -> Option<Instant> {
        self.waits.is_none().then(|| self.idle_since + IDLE_LIMIT)
    }

    /// Writes, reads, and takes a line from what was read, if it is complete.
    fn turn(&mut self, now: Instant) -> io::Result<Result<Vec<u8>, Turn>> {
        if self.write()? {
            self.idle_since = now;
        }
        if self.waits.is_some() || !self.output.is_empty() {
            return Ok(Err(Turn::Nothing));
        }
        for _ in 0..READS_MAX {
            if let Some(end) = self.input[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.input.split_off(self.searched + end + 1);
                self.searched = 0;
                self.idle_since = now;
                return Ok(Ok(std::mem::replace(&mut self.input, rest)));
            }
            self.searched = self.input.len();
            if self.input.len() > REQUEST_LIMIT_BYTES {
                log::warn!(
                    "a control connection sends more than {REQUEST_LIMIT_BYTES} bytes without a line end"
                );
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.finished {
                // Nothing more will come, and no reply is due.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !self.readable {
                return Ok(Err(Turn::Nothing));
            }
            let mut buffer = [0; 8192];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.finished = true,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(Err(Turn::Moved))
    }

    /// Returns whether any bytes were written.
    fn write(&mut self) -> io::Result<bool> {
        let before = self.written;
        while self.writable && self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        let has_written = self.written > before;
        if self.written == self.output.len() {
            // Not `clear`: the memory of a large reply must be freed.
            self.output = Vec::new();
            self.written = 0;
        }
        Ok(has_written)
    }
}

/// A reply as a line of JSON.
fn line(reply: &Reply) -> Vec<u8> {
    let json = serde_json::to_string(reply).expect("plain data without keys that are no text");
    (printable_json(json) + "\n").into_bytes()
}

/// How long a connection may last without a complete request, or without reading its reply.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// The pause after a connection that could not be accepted, because descriptors have run out for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The most connections of other users than the daemon's and root. The rest are kept for those two.
const OTHERS_MAX: usize = CONNECTIONS_MAX - 2;

/// Reads of one connection in a turn.
const READS_MAX: usize = 8;

/// The most results that are kept: as many opens as one modem can have under way.
const OPENED_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn reply() -> Reply {
        Reply::Opened { connection: 1, code: 0 }
    }

    struct Fixture {
        _directory: tempfile::TempDir,
        poll: mio::Poll,
        server: Server,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Fixture {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("control");
            let listen = Listen::Unix { path, mode: Some(0o600), owner: None, group: None };
            let server = Server::bind(&listen).unwrap();
            #[allow(clippy::disallowed_methods, reason = "a moment; no test depends on which")]
            let now = Instant::now();
            Fixture { _directory: directory, poll: mio::Poll::new().unwrap(), server, now }
        }

        /// A connection on the same machine can be accepted as soon as `connect` returns.
        fn connect(&mut self) -> UnixStream {
            let stream = UnixStream::connect(self.server.path()).unwrap();
            self.server.mark_listener();
            self.accept();
            stream
        }

        fn accept(&mut self) -> bool {
            self.server.accept(self.poll.registry(), |index| Token(index + 1), self.now)
        }

        fn requests(&mut self) -> Vec<(usize, Result<Request, String>)> {
            for index in 0..CONNECTIONS_MAX {
                self.server.mark(index, true, true, false);
            }
            let mut requests = Vec::new();
            for index in 0..CONNECTIONS_MAX {
                loop {
                    match self.server.turn(index, self.now) {
                        Turn::Nothing => break,
                        Turn::Moved => {}
                        Turn::Request(request) => {
                            requests.push((index, request));
                            self.server.reply(index, &reply(), self.now);
                        }
                    }
                }
            }
            requests
        }
    }

    #[test]
    fn requests_in_one_piece_or_many_are_replied_to_in_order() {
        let mut fixture = Fixture::new();
        let mut stream = fixture.connect();
        stream.write_all(b"{\"request\":\"status\"}\n{\"request\":").unwrap();
        assert_eq!(fixture.requests(), [(0, Ok(Request::Status))]);
        stream.write_all(b"\"nonsense\"}\n").unwrap();
        let requests = fixture.requests();
        assert!(matches!(&requests[..], [(0, Err(_))]), "{requests:?}");
        let mut replies = BufReader::new(stream).lines();
        for _ in 0..2 {
            assert_eq!(replies.next().unwrap().unwrap(), r#"{"reply":"opened","connection":1,"code":0}"#);
        }
    }

    #[test]
    fn an_accept_that_was_put_off_is_due_once() {
        let mut fixture = Fixture::new();
        fixture.server.attention = Attention::At(fixture.now);
        assert_eq!(fixture.server.next_deadline(), Some(fixture.now));
        // As many as there is room for: the listener is not looked at after the last one.
        let streams: Vec<UnixStream> =
            (0..CONNECTIONS_MAX).map(|_| UnixStream::connect(fixture.server.path()).unwrap()).collect();
        for _ in &streams {
            fixture.accept();
        }
        assert_eq!(fixture.server.next_deadline(), Some(fixture.now + IDLE_LIMIT));
    }

    #[test]
    fn nothing_is_read_while_a_reply_is_due() {
        let mut fixture = Fixture::new();
        let mut stream = fixture.connect();
        stream.write_all(b"{\"request\":\"status\"}\n{\"request\":\"status\"}\n").unwrap();
        let now = fixture.now;
        assert_eq!(fixture.server.turn(0, now), Turn::Request(Ok(Request::Status)));
        fixture.server.wait(0, Waits::Status { until: now });
        assert_eq!(fixture.server.turn(0, now), Turn::Nothing);
        assert_eq!(fixture.server.next_deadline(), Some(now));
        fixture.server.reply(0, &reply(), now);
        assert_eq!(fixture.requests().len(), 1);
    }

    #[test]
    fn a_request_without_end_ends_its_connection() {
        let mut fixture = Fixture::new();
        let mut stream = fixture.connect();
        stream.set_nonblocking(true).unwrap();
        let piece = [b'x'; 65_536];
        let mut sent = 0;
        let ended = (0..1000).any(|_| {
            let result = stream.write(&piece);
            sent += result.as_ref().copied().unwrap_or(0);
            assert!(fixture.requests().is_empty());
            result.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        });
        assert!(ended && sent < REQUEST_LIMIT_BYTES + 1_000_000, "{sent} bytes were taken");
    }

    #[test]
    fn connections_are_few_and_further_ones_wait_for_a_free_slot() {
        let mut fixture = Fixture::new();
        let mut streams: Vec<UnixStream> = (0..CONNECTIONS_MAX).map(|_| fixture.connect()).collect();
        let mut waiting = fixture.connect();
        waiting.write_all(b"{\"request\":\"status\"}\n").unwrap();
        assert!(fixture.requests().is_empty(), "one too many is not served");
        drop(streams.remove(3));
        fixture.requests();
        assert!(fixture.accept());
        assert_eq!(fixture.requests(), [(3, Ok(Request::Status))]);
    }

    #[test]
    fn whoever_asks_nothing_is_dropped_and_whoever_waits_is_not() {
        let mut fixture = Fixture::new();
        let _idle = fixture.connect();
        let mut half = fixture.connect();
        half.write_all(b"{\"request\":").unwrap();
        let mut waiting = fixture.connect();
        waiting.write_all(b"{\"request\":\"status\"}\n").unwrap();
        let start = fixture.now;
        assert_eq!(fixture.server.turn(1, start), Turn::Nothing);
        assert_eq!(fixture.server.turn(2, start), Turn::Request(Ok(Request::Status)));
        fixture.server.wait(2, Waits::Status { until: start + 60 * IDLE_LIMIT });
        assert_eq!(fixture.server.next_deadline(), Some(start + IDLE_LIMIT));
        fixture.server.drop_idle(start + IDLE_LIMIT - Duration::from_millis(1));
        assert!(fixture.server.connections.iter().all(Option::is_some));
        fixture.server.drop_idle(start + IDLE_LIMIT);
        let left: Vec<bool> = fixture.server.connections.iter().map(Option::is_some).collect();
        assert_eq!(left, [false, false, true]);
        fixture.server.reply(2, &reply(), start + 2 * IDLE_LIMIT);
        assert_eq!(fixture.server.next_deadline(), Some(start + 3 * IDLE_LIMIT));
    }

    #[test]
    fn others_cannot_lock_out_the_owner() {
        let mut fixture = Fixture::new();
        // For now, the user that runs this test counts as another user.
        let owners = std::mem::replace(&mut fixture.server.owners, [u32::MAX; 2]);
        let _streams: Vec<UnixStream> = (0..OTHERS_MAX).map(|_| fixture.connect()).collect();
        let mut reply = String::new();
        BufReader::new(fixture.connect()).read_line(&mut reply).unwrap();
        assert!(reply.contains("\"id\":\"busy\""), "{reply}");
        fixture.server.owners = owners;
        let mut own = fixture.connect();
        own.write_all(b"{\"request\":\"status\"}\n").unwrap();
        assert_eq!(fixture.requests(), [(OTHERS_MAX, Ok(Request::Status))]);
    }

    #[test]
    fn a_connection_that_has_finished_still_gets_its_reply() {
        let mut fixture = Fixture::new();
        let mut stream = fixture.connect();
        stream.write_all(b"{\"request\":\"status\"}\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(fixture.requests().len(), 1);
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        assert_eq!(reply, "{\"reply\":\"opened\",\"connection\":1,\"code\":0}\n");
    }

    #[test]
    fn results_of_opens_go_to_who_opens() {
        let mut fixture = Fixture::new();
        let _streams = [fixture.connect(), fixture.connect()];
        fixture.server.expect_open(1, 0);
        fixture.server.opened(0, 11, 566);
        assert_eq!(fixture.server.take_opened(0), None);
        assert_eq!(fixture.server.take_opened(1), Some((11, 566)));
        assert_eq!(fixture.server.take_opened(1), None);
    }
}
