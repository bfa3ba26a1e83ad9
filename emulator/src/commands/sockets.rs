//! What sockets of both services have in common: opening, closing, listing, switching modes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::at_port::Wait;
use crate::commands::{Answer, Call, Failure, Outcome, line, ok};
use crate::config::Family;
use crate::faults::OpenFault;
use crate::modem::Modem;
use crate::network::{Close, ConnectionId, OpenRequest};
use crate::queue::Queue;
use crate::result_code::socket as code;
use crate::socket::{AccessMode, Service, Socket, State};

/// What an open command asks for.
pub(crate) struct Open<'a> {
    pub(crate) service: Service,
    pub(crate) id: u8,
    pub(crate) pdp_context: u8,
    pub(crate) ssl_context: u8,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) access: AccessMode,
}

impl Modem {
    /// Starts a connection. Transparent ones block their port until the outcome is known.
    pub(crate) fn open(&mut self, open: &Open, call: &mut Call) -> Answer {
        self.counters.opens += 1;
        if open.access == AccessMode::Transparent && !self.can_be_transparent(call.port) {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        if self.active_context(open.pdp_context).is_none() {
            return Err(Failure::Socket(code::PDP_OPEN_FAILED));
        }
        if self.socket(open.service, open.id).is_some() {
            if self.config.quirks.used_socket_refused_at_once {
                return Err(Failure::Socket(code::IN_USE));
            }
            return self.refuse_open(open, code::IN_USE, call.port);
        }
        if let Some(code) = self.busy_code(open) {
            return self.refuse_open(open, code, call.port);
        }
        self.session.opens = self.session.opens.saturating_add(1);
        let (request, predetermined, silent) = self.open_request(open, call.now);
        let connection = self.new_connection();
        let linked = predetermined.is_none();
        if linked {
            call.network.open(connection, request, call.now);
        }
        let limit = OPEN_LIMIT + Duration::from_secs(self.negotiate_seconds(open).into());
        self.session.sockets.push(Socket {
            service: open.service,
            id: open.id,
            connection,
            pdp_context: open.pdp_context,
            ssl_context: open.ssl_context,
            access: open.access,
            port: call.port,
            remote_port: open.port,
            remote: open.host.parse().ok(),
            local_port: 0,
            state: State::Opening {
                told_at: call.now + self.config.open_latency,
                given_up_at: call.now + limit,
                silent,
                predetermined,
            },
            linked,
            outgoing: Queue::default(),
            unsent: 0,
            incoming: Queue::default(),
            received_total: 0,
            announced: false,
            held: false,
        });
        self.session.last_error = code::OK;
        match open.access {
            AccessMode::Transparent => {
                if self.config.quirks.ok_before_connect {
                    self.ports[call.port].ok();
                }
                Ok(Outcome::Wait(Wait::Open(connection)))
            }
            _ if self.config.quirks.open_result_before_ok => {
                Ok(Outcome::Wait(Wait::OpenBeforeOk(connection)))
            }
            _ => ok(),
        }
    }

    /// What the network is asked for, or the code that the open is bound to fail with; and whether nothing
    /// is ever heard of it.
    fn open_request(&mut self, open: &Open, now: Instant) -> (OpenRequest, Option<u16>, bool) {
        let tls = match open.service {
            Service::Tls => self.tls_parameters(open.ssl_context, now).map(Some),
            Service::Tcp => Ok(None),
        };
        let named = open.host.parse::<IpAddr>().is_err();
        let worn_out = self.active_context(open.pdp_context).is_some_and(|pdp| pdp.worn_out);
        let limit = self.config.quirks.opens_until_degraded;
        let fault = self.faults.opens.pop_front();
        let predetermined = match fault {
            Some(OpenFault::Code(code)) => Some(code),
            _ if limit.is_some_and(|limit| self.session.opens > limit.get()) => Some(code::INVALID_PARAMETER),
            _ if named && (self.config.dns_fails || worn_out) => Some(code::DNS_FAILED),
            _ if worn_out => Some(code::CONNECT_FAILED),
            _ => tls.as_ref().err().copied(),
        };
        let request = OpenRequest { host: open.host.into(), port: open.port, tls: tls.unwrap_or_default() };
        (request, predetermined, fault == Some(OpenFault::Silence))
    }

    /// The code that meets an open while too many others are under way.
    fn busy_code(&self, open: &Open) -> Option<u16> {
        let opening = self
            .session
            .sockets
            .iter()
            .filter(|socket| matches!(socket.state, State::Opening { .. }))
            .count();
        let named = open.host.parse::<IpAddr>().is_err();
        let quirks = &self.config.quirks;
        if named && quirks.dns_busy_beyond.is_some_and(|limit| opening >= limit) {
            Some(code::DNS_BUSY)
        } else if quirks.opens_busy_beyond.is_some_and(|limit| opening >= limit) {
            Some(code::BUSY)
        } else {
            None
        }
    }

    /// An open that fails without a socket: by URC, or with ERROR in transparent mode.
    fn refuse_open(&mut self, open: &Open, code: u16, port: usize) -> Answer {
        if open.access == AccessMode::Transparent {
            return Err(Failure::Socket(code));
        }
        if !self.config.quirks.urc_failures_forgotten {
            self.session.last_error = code;
        }
        let text = format!("{}: {},{code}", open.service.open_result(), open.id);
        if self.config.quirks.open_result_before_ok {
            return line(text);
        }
        self.open_result_urc(port, &text);
        ok()
    }

    fn negotiate_seconds(&self, open: &Open) -> u32 {
        match open.service {
            Service::Tls => self.session.ssl.negotiate_seconds(open.ssl_context),
            Service::Tcp => 0,
        }
    }

    /// Closes a socket, waiting up to the timeout for what is unsent; the port is blocked meanwhile. With no
    /// timeout what is unsent is dropped and the connection reset.
    pub(crate) fn close(&mut self, connection: ConnectionId, timeout: Duration, call: &mut Call) -> Answer {
        if self.faults.refused_closes > 0 {
            self.faults.refused_closes -= 1;
            return Err(Failure::Socket(code::UNKNOWN));
        }
        let Some(socket) = self.socket_of_mut(connection) else { return Err(Failure::Socket(code::CLOSED)) };
        match socket.state {
            State::Opening { .. } => self.free(connection, Close::Abort, call.now, call.network),
            State::Ended { .. } => self.free(connection, Close::Orderly, call.now, call.network),
            State::Connected if timeout.is_zero() => {
                self.free(connection, Close::Abort, call.now, call.network);
            }
            State::Connected => {
                let later = self.session.data_format.close_later;
                let answers = later.then_some(call.port);
                let until = call.now + timeout;
                if let Some(socket) = self.socket_of_mut(connection) {
                    socket.state = State::Closing { until, answers };
                    socket.incoming.clear();
                }
                self.detach_ports(connection);
                self.session.last_error = code::OK;
                return match later {
                    true => ok(),
                    false => Ok(Outcome::Wait(Wait::Close(connection))),
                };
            }
            State::Closing { .. } => return Err(Failure::Socket(code::BUSY)),
        }
        self.session.last_error = code::OK;
        ok()
    }

    /// The line of AT+QSSLSTATE and AT+QISTATE about one socket, from its address on.
    pub(crate) fn state_line(&self, socket: &Socket) -> String {
        let quirks = &self.config.quirks;
        let closing = if quirks.closing_is_state_three { 3 } else { 4 };
        let remote = socket.remote.map_or_else(|| "0.0.0.0".into(), |remote| remote.to_string());
        let local_port = if quirks.local_port_zero { 0 } else { socket.local_port };
        // The server number is reserved; the manuals' examples show the socket's own.
        let mut text = format!(
            "{id},\"{}\",\"{remote}\",{},{local_port},{},{},{id},{},\"{}\"",
            socket.service.name(),
            socket.remote_port,
            socket.state_number(closing),
            socket.pdp_context,
            socket.access.number(),
            self.ports[socket.port].name.name(),
            id = socket.id,
        );
        if socket.service == Service::Tls {
            text += &format!(",{}", socket.ssl_context);
        }
        text
    }

    /// The sockets of a service in the order of their numbers.
    pub(crate) fn sockets(&self, service: Service) -> Vec<&Socket> {
        let mut sockets: Vec<&Socket> =
            self.session.sockets.iter().filter(|socket| socket.service == service).collect();
        sockets.sort_by_key(|socket| socket.id);
        sockets
    }

    /// Whether unread bytes of a cut connection can still be read: by the EG800Q's manual QSSLRECV of an
    /// abnormally closed connection is an ERROR, the EC20's does not say so.
    pub(crate) fn cut_loses_unread(&self) -> bool {
        self.config.quirks.unread_lost_when_cut || self.config.family == Family::Eg800q
    }
}

/// Longest network response of an open, without "negotiatetime".
const OPEN_LIMIT: Duration = Duration::from_secs(150);
