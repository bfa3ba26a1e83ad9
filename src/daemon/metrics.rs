//! Metrics over HTTP (`--metrics`): `GET /metrics`, and nothing else.
//!
//! Everything is bounded: the number of connections, the time that each has, and the length of a request. A connection
//! has one request. Nothing waits: a scraper that does not read holds up no one, and is dropped when its time is over.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::status::Format;
use crate::clients::listener::{BindError, Listener};
use crate::clients::stream::ClientStream;
use crate::config::Listen;

/// The listening sockets and the connections.
#[derive(Debug)]
pub(crate) struct Server {
    listeners: Vec<Listener>,
    /// A scraper may wait to be accepted.
    ready: bool,
    /// When the next may be accepted, after one that could not be.
    paused_until: Option<Instant>,
    connections: [Option<Connection>; CONNECTIONS_MAX],
}

#[derive(Debug)]
struct Connection {
    stream: ClientStream,
    readable: bool,
    writable: bool,
    stage: Stage,
    until: Instant,
}

/// How far a connection is.
#[derive(Debug)]
enum Stage {
    /// So much of the request has come.
    Request(Vec<u8>),
    /// So much of the reply has left.
    Reply(Vec<u8>, usize),
    /// All of it has: the other side closes next. What it still sends is not looked at.
    Ending,
}

impl Server {
    /// Listens there.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub(crate) fn bind(listen: &Listen) -> Result<Server, BindError> {
        let bound = Listener::bind(listen, false)?;
        bound.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        for listener in &bound.listeners {
            log::info!("metrics at {}", listener.name());
        }
        Ok(Server {
            listeners: bound.listeners,
            ready: true,
            paused_until: None,
            connections: [const { None }; CONNECTIONS_MAX],
        })
    }

    /// Registers the listening sockets. `token` numbers them, before the connections.
    ///
    /// # Errors
    /// Those of epoll.
    pub(crate) fn register(&mut self, registry: &Registry, token: impl Fn(usize) -> Token) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.register(registry, token(index))?;
        }
        Ok(())
    }

    /// Something happened at the socket that has this number.
    pub(crate) fn mark(&mut self, index: usize, readable: bool, writable: bool) {
        match index.checked_sub(LISTENERS_MAX) {
            None => self.ready = true,
            Some(index) => {
                if let Some(Some(connection)) = self.connections.get_mut(index) {
                    connection.readable |= readable;
                    connection.writable |= writable;
                }
            }
        }
    }

    /// Accepts a scraper, if one waits and there is room. Returns whether there was one.
    pub(crate) fn accept(
        &mut self,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
        now: Instant,
    ) -> bool {
        let free = self.connections.iter().position(Option::is_none);
        let (true, None, Some(index)) = (self.ready, self.paused_until, free) else { return false };
        for listener in &self.listeners {
            match listener.accept() {
                Ok(None) => {}
                Ok(Some((mut stream, _))) => {
                    stream.end_in_order();
                    if let Err(error) = stream.register(registry, token(LISTENERS_MAX + index)) {
                        log::warn!("cannot wait for a scraper: {error}");
                        return true;
                    }
                    let stage = Stage::Request(Vec::new());
                    let until = now + TIME_LIMIT;
                    self.connections[index] =
                        Some(Connection { stream, readable: true, writable: true, stage, until });
                    return true;
                }
                Err(error) => {
                    log::debug!("{error}");
                    self.paused_until = Some(now + ACCEPT_PAUSE);
                    return false;
                }
            }
        }
        self.ready = false;
        false
    }

    /// Moves a bounded number of bytes of each connection. Returns whether there were any. `page` makes the metrics, which
    /// is asked for one connection at most.
    pub(crate) fn turn(&mut self, page: impl FnOnce(Format) -> String) -> bool {
        let (mut page, mut moved) = (Some(page), false);
        for slot in &mut self.connections {
            let Some(connection) = slot else { continue };
            match connection.turn(&mut page) {
                Ok(has_moved) => moved |= has_moved,
                Err(_) => *slot = None,
            }
        }
        moved
    }

    /// Ends what has taken too long, and the pause.
    pub(crate) fn end_overdue(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        for slot in &mut self.connections {
            if slot.as_ref().is_some_and(|connection| connection.until <= now) {
                *slot = None;
            }
        }
    }

    /// When [`Server::end_overdue`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let connections = self.connections.iter().flatten().map(|connection| connection.until);
        connections.chain(self.paused_until).min()
    }
}

impl Connection {
    /// Reads and writes once each. An error is the end.
    fn turn(&mut self, page: &mut Option<impl FnOnce(Format) -> String>) -> io::Result<bool> {
        let mut moved = false;
        let reads = match &self.stage {
            Stage::Request(head) => request(head).is_none(),
            Stage::Reply(..) => false,
            Stage::Ending => true,
        };
        if self.readable && reads {
            let mut buffer = [0; 2048];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    moved = true;
                    if let Stage::Request(head) = &mut self.stage {
                        head.extend_from_slice(&buffer[..count]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Err(error),
            }
        }
        if let Stage::Request(head) = &self.stage
            && let Some(request) = request(head)
        {
            let reply = match request {
                // Another connection has it in this turn.
                Ok(_) if page.is_none() => return Ok(true),
                Ok(format) => {
                    let page = page.take().expect("it is there");
                    reply("200 OK", format.content_type(), &page(format))
                }
                Err(status) => reply(status, "text/plain", &format!("{status}\n")),
            };
            self.stage = Stage::Reply(reply, 0);
        }
        if let Stage::Reply(reply, written) = &mut self.stage
            && self.writable
        {
            match self.stream.write(&reply[*written..]) {
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
            moved |= self.writable;
            if *written == reply.len() {
                self.stream.shutdown_write()?;
                self.stage = Stage::Ending;
            }
        }
        Ok(moved)
    }
}

/// What is asked for, once the head of the request is complete, or the status that refuses it.
fn request(head: &[u8]) -> Option<Result<Format, &'static str>> {
    let is_whole = head.ends_with(b"\n\n") || head.windows(4).any(|end| end == b"\r\n\r\n");
    if head.len() > HEAD_MAX_BYTES {
        return Some(Err("431 Request Header Fields Too Large"));
    }
    is_whole.then(|| {
        let head = std::str::from_utf8(head).map_err(|_| BAD_REQUEST)?;
        let mut lines = head.lines();
        let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, version] = words[..] else { return Err(BAD_REQUEST) };
        if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
            return Err(BAD_REQUEST);
        }
        if method != "GET" {
            return Err("405 Method Not Allowed");
        }
        if target.split('?').next() != Some("/metrics") {
            return Err("404 Not Found");
        }
        let accepts = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_default();
            name.eq_ignore_ascii_case("accept") && value.contains("application/openmetrics-text")
        };
        Ok(if lines.any(accepts) { Format::OpenMetrics } else { Format::Text })
    })
}

fn reply(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}; charset=utf-8\r\nContent-Length: {}\r\nAllow: GET\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const BAD_REQUEST: &str = "400 Bad Request";

/// 127.0.0.1 and ::1.
const LISTENERS_MAX: usize = 2;

/// Further scrapers wait in the kernel.
const CONNECTIONS_MAX: usize = 8;

const HEAD_MAX_BYTES: usize = 8192;

/// How long a connection may last.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The pause after a scraper that could not be accepted, because descriptors have run out for example.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    use super::*;

    struct Fixture {
        _directory: tempfile::TempDir,
        path: PathBuf,
        poll: mio::Poll,
        server: Server,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Fixture {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("metrics");
            let listen = Listen::Unix { path: path.clone(), mode: None, owner: None, group: None };
            let server = Server::bind(&listen).unwrap();
            #[allow(clippy::disallowed_methods, reason = "a moment; no test depends on which")]
            let now = Instant::now();
            Fixture { _directory: directory, path, poll: mio::Poll::new().unwrap(), server, now }
        }

        /// A connection that is accepted, if there is room, after these bytes.
        fn connect(&mut self, bytes: &[u8]) -> UnixStream {
            let mut stream = UnixStream::connect(&self.path).unwrap();
            stream.write_all(bytes).unwrap();
            self.server.mark(0, true, false);
            self.server.accept(self.poll.registry(), Token, self.now);
            stream
        }

        /// Turns until nothing moves; returns how many pages were made.
        fn turns(&mut self, page: &str) -> usize {
            let mut pages = 0;
            for index in 0..CONNECTIONS_MAX {
                self.server.mark(LISTENERS_MAX + index, true, true);
            }
            let mut make = |_| {
                pages += 1;
                page.to_owned()
            };
            while self.server.turn(&mut make) {}
            pages
        }

        fn open(&self) -> usize {
            self.server.connections.iter().flatten().count()
        }
    }

    fn answer(stream: &mut UnixStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_request_is_read_when_it_is_whole_and_only_the_metrics_are_there() {
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(HEAD_MAX_BYTES));
        let accepts = "GET /metrics HTTP/1.1\r\nHost: a\r\naccept: application/openmetrics-text;version=1.0.0,*/*\r\n\r\n";
        for (head, wanted) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n", None),
            ("", None),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(Ok(Format::Text))),
            ("GET /metrics?a=b HTTP/1.0\n\n", Some(Ok(Format::Text))),
            (accepts, Some(Ok(Format::OpenMetrics))),
            ("GET / HTTP/1.1\r\n\r\n", Some(Err("404 Not Found"))),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", Some(Err("404 Not Found"))),
            ("POST /metrics HTTP/1.1\r\n\r\n", Some(Err("405 Method Not Allowed"))),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", Some(Err("405 Method Not Allowed"))),
            ("GET /metrics\r\n\r\n", Some(Err(BAD_REQUEST))),
            ("GET  /metrics HTTP/1.1\r\n\r\n", Some(Err(BAD_REQUEST))),
            ("PRI * HTTP/2.0\r\n\r\n", Some(Err(BAD_REQUEST))),
            ("\r\n\r\n", Some(Err(BAD_REQUEST))),
            (&long, Some(Err("431 Request Header Fields Too Large"))),
        ] {
            assert_eq!(request(head.as_bytes()), wanted, "{head:?}");
        }
        assert_eq!(request(b"\xff\xff\xff\xff\r\n\r\n"), Some(Err(BAD_REQUEST)));
    }

    #[test]
    fn a_scraper_gets_the_page_and_then_the_end() {
        let mut fixture = Fixture::new();
        let mut stream = fixture.connect(b"GET /metr");
        assert_eq!(fixture.turns("up 1\n"), 0);
        stream.write_all(b"ics HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(fixture.turns("up 1\n"), 1);
        let text = answer(&mut stream);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; "), "{text}");
        assert!(text.contains("\r\nContent-Length: 5\r\n") && text.ends_with("\r\n\r\nup 1\n"), "{text}");
        drop(stream);
        fixture.turns("");
        assert_eq!(fixture.open(), 0);
    }

    #[test]
    fn several_scrapers_at_once_get_a_page_each_in_turns_of_their_own() {
        let mut fixture = Fixture::new();
        let mut streams: Vec<UnixStream> =
            (0..3).map(|_| fixture.connect(b"GET /metrics HTTP/1.1\r\n\r\n")).collect();
        assert_eq!(fixture.turns("up 1\n"), 3);
        assert!(streams.iter_mut().all(|stream| answer(stream).ends_with("up 1\n")));
    }

    #[test]
    fn a_scraper_that_does_not_read_holds_up_no_one_and_has_its_time() {
        let mut fixture = Fixture::new();
        let page = "x".repeat(4_000_000);
        let _stuck = fixture.connect(b"GET /metrics HTTP/1.1\r\n\r\n");
        assert_eq!(fixture.turns(&page), 1);
        let mut other = fixture.connect(b"GET /metrics HTTP/1.1\r\n\r\n");
        assert_eq!(fixture.turns("up 1\n"), 1);
        assert!(answer(&mut other).ends_with("up 1\n"));
        drop(other);
        fixture.turns("");
        assert_eq!((fixture.open(), fixture.server.next_deadline()), (1, Some(fixture.now + TIME_LIMIT)));
        fixture.server.end_overdue(fixture.now + TIME_LIMIT);
        assert_eq!((fixture.open(), fixture.server.next_deadline()), (0, None));
    }

    #[test]
    fn connections_are_few_and_further_ones_wait() {
        let mut fixture = Fixture::new();
        let streams: Vec<UnixStream> = (0..CONNECTIONS_MAX).map(|_| fixture.connect(b"GET ")).collect();
        let mut waiting = fixture.connect(b"GET /metrics HTTP/1.1\r\n\r\n");
        assert_eq!((fixture.turns(""), fixture.open()), (0, CONNECTIONS_MAX));
        drop(streams);
        fixture.turns("");
        assert_eq!(fixture.open(), 0);
        assert!(fixture.server.accept(fixture.poll.registry(), Token, fixture.now), "without another event");
        fixture.turns("up 1\n");
        assert!(answer(&mut waiting).ends_with("up 1\n"));
    }
}
