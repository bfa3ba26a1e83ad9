//! What sockets of both services have in common: opening, closing, listing, switching modes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::at_port::{Reach, Wait};
use crate::buffer::Buffer;
use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::config::Family;
use crate::faults::OpenFault;
use crate::modem::Modem;
use crate::network::{Close, ConnectionId, OpenRequest, Transport};
use crate::parser::Parameter;
use crate::result_code::socket as code;
use crate::socket::{AccessMode, Service, Socket, SocketState};

/// What an open command asks for.
pub(crate) struct Open<'a> {
    pub(crate) service: Service,
    pub(crate) transport: Transport,
    pub(crate) id: u8,
    pub(crate) pdp_context: u8,
    /// Only TLS has one.
    pub(crate) ssl_context: Option<u8>,
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// 0 if the network chooses it.
    pub(crate) local_port: u16,
    pub(crate) access: AccessMode,
}

impl Modem {
    /// Starts a connection. Transparent ones block their port until the outcome is known.
    pub(crate) fn open(&mut self, open: &Open, call: &mut Call) -> Answer {
        self.counters.opens += 1;
        if !self.config.facts.limits.has_mode(open.access) {
            return Err(Failure::Socket(code::NOT_SUPPORTED));
        }
        // Assumed: datagrams cannot be a stream.
        if open.access == AccessMode::Transparent && open.transport != Transport::Tcp {
            return Err(Failure::Socket(code::NOT_SUPPORTED));
        }
        if open.access == AccessMode::Transparent && !self.can_be_transparent(call.port) {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        let Some(context) = self.active_context(open.pdp_context) else {
            return Err(Failure::Socket(code::PDP_OPEN_FAILED));
        };
        let address = context.address;
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
        let latency = self.draws.around(self.config.open_latency, self.config.facts.spreads.open);
        self.session.sockets.push(Socket {
            service: open.service,
            id: open.id,
            connection,
            transport: open.transport,
            pdp_context: open.pdp_context,
            ssl_context: open.ssl_context,
            access: open.access,
            port: call.port,
            remote_port: open.port,
            remote: match open.transport {
                Transport::UdpService => address.map(IpAddr::V4),
                Transport::Tcp | Transport::Udp => open.host.parse().ok(),
            },
            local_port: 0,
            state: SocketState::Opening {
                told_at: call.now + latency,
                given_up_at: call.now + limit,
                silent,
                predetermined,
            },
            linked,
            outgoing: Buffer::new(open.transport),
            unsent: 0,
            incoming: Buffer::new(open.transport),
            received_total: 0,
            sent_total: 0,
            announced: false,
            held: false,
        });
        self.session.last_error = code::OK;
        match open.access {
            AccessMode::Transparent => {
                if self.config.quirks.ok_before_connect {
                    self.ports[call.port].ok();
                }
                Ok(CommandOutcome::Wait(Wait::Open(connection)))
            }
            _ if self.config.quirks.open_result_before_ok => {
                Ok(CommandOutcome::Wait(Wait::OpenBeforeOk(connection)))
            }
            _ => ok(),
        }
    }

    /// The request to the network; the code with which the open fails in any case, if it does; and whether it never
    /// gets an answer.
    fn open_request(&mut self, open: &Open, now: Instant) -> (OpenRequest, Option<u16>, bool) {
        let tls = open.ssl_context.map(|context| self.tls_parameters(context, now)).transpose();
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
        let request = OpenRequest {
            host: open.host.into(),
            port: open.port,
            tls: tls.unwrap_or_default(),
            transport: open.transport,
            local_port: open.local_port,
        };
        (request, predetermined, fault == Some(OpenFault::Silence))
    }

    /// The code with which an open fails while too many others are under way.
    fn busy_code(&self, open: &Open) -> Option<u16> {
        let opening = self
            .session
            .sockets
            .iter()
            .filter(|socket| matches!(socket.state, SocketState::Opening { .. }))
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
        let text = format!("{}: {},{code}", open.service.names().open, open.id);
        if self.config.quirks.open_result_before_ok {
            return line(text);
        }
        self.open_result_urc(port, &text);
        ok()
    }

    fn negotiate_seconds(&self, open: &Open) -> u32 {
        open.ssl_context.map_or(0, |context| self.session.ssl.negotiate_seconds(context))
    }

    /// Closes a socket, waiting up to the timeout for what is unsent; the port is blocked meanwhile. With a
    /// timeout of 0, what is unsent is dropped and the connection is reset.
    fn close(&mut self, connection: ConnectionId, timeout: Duration, call: &mut Call) -> Answer {
        if self.session.closes_refused {
            return Err(Failure::Socket(code::UNKNOWN));
        }
        if self.faults.refused_closes > 0 {
            self.faults.refused_closes -= 1;
            return Err(Failure::Socket(code::UNKNOWN));
        }
        let opener = self.socket_of(connection).map(|socket| socket.port);
        if self.config.quirks.mux_close_by_opener_only
            && let (Some(opener), Reach::Channel { .. }) = (opener, &self.ports[call.port].reach)
            && opener != call.port
        {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        let keeps_opening = self.config.quirks.close_of_opening_refused;
        let Some(socket) = self.socket_of_mut(connection) else { return Err(Failure::Socket(code::CLOSED)) };
        match socket.state {
            SocketState::Opening { .. } if keeps_opening => {
                return Err(Failure::Socket(code::NOT_ALLOWED));
            }
            SocketState::Opening { .. } => self.free(connection, Close::Abort, call.now, call.network),
            SocketState::Ended { .. } => self.free(connection, Close::Orderly, call.now, call.network),
            SocketState::Connected if timeout.is_zero() => {
                self.free(connection, Close::Abort, call.now, call.network);
            }
            SocketState::Connected => {
                let later = self.session.data_format.close_later;
                let answers = later.then_some(call.port);
                let until = call.now + timeout;
                if let Some(socket) = self.socket_of_mut(connection) {
                    socket.state = SocketState::Closing { until, answers };
                    socket.incoming.clear();
                }
                self.detach_ports(connection);
                self.session.last_error = code::OK;
                return match later {
                    true => ok(),
                    false => Ok(CommandOutcome::Wait(Wait::Close(connection))),
                };
            }
            SocketState::Closing { .. } => return Err(Failure::Socket(code::BUSY)),
        }
        self.session.last_error = code::OK;
        ok()
    }

    /// `AT+QSSLCLOSE=<clientID>[,<timeout>]`, or AT+QICLOSE; 10 s by default.
    pub(crate) fn close_named(&mut self, service: Service, list: &[Parameter], call: &mut Call) -> Answer {
        let quirks = &self.config.quirks;
        let parameters = self.parameters(list);
        let is_timed = service == Service::Plain || !quirks.close_without_time;
        parameters.at_most(if is_timed { 2 } else { 1 })?;
        let timeout = parameters.optional_number(1, 0..=65_535)?.unwrap_or(DEFAULT_CLOSE_TIMEOUT);
        let Some(socket) = self.named_socket(service, list)? else {
            // AT+QICLOSE of a free number is harmless on real modules.
            return match service == Service::Plain || quirks.closing_free_socket_is_ok {
                true => ok(),
                false => Err(Failure::Socket(code::CLOSED)),
            };
        };
        let is_fine = |context| self.session.ssl.closes_in_milliseconds(context);
        let timeout = match socket.ssl_context.is_some_and(is_fine) {
            true => Duration::from_millis(timeout.into()),
            false => Duration::from_secs(timeout.into()),
        };
        self.close(socket.connection, timeout, call)
    }

    /// The socket of this service that a command names.
    pub(crate) fn named_socket(
        &self,
        service: Service,
        list: &[Parameter],
    ) -> Result<Option<&Socket>, Failure> {
        Ok(self.socket(service, self.parameters(list).small(0, 0..=self.config.facts.limits.last_socket())?))
    }

    /// The socket that a command names, if it is connected.
    pub(crate) fn connected(&self, service: Service, list: &[Parameter]) -> Result<&Socket, Failure> {
        let socket =
            self.named_socket(service, list)?.filter(|socket| socket.state == SocketState::Connected);
        socket.ok_or(Failure::Socket(code::CLOSED))
    }

    /// The lines of AT+QSSLSTATE and AT+QISTATE about some sockets.
    pub(crate) fn states<'a>(&self, sockets: impl IntoIterator<Item = &'a Socket>) -> Answer {
        let lines = sockets.into_iter().map(|socket| self.state_line(socket));
        Ok(CommandOutcome::Done(lines.collect()))
    }

    fn state_line(&self, socket: &Socket) -> String {
        let quirks = &self.config.quirks;
        let closing = if quirks.closing_is_state_three { 3 } else { 4 };
        let remote = socket.remote.map_or_else(|| "0.0.0.0".into(), |remote| remote.to_string());
        let local_port = if quirks.local_port_zero { 0 } else { socket.local_port };
        // The server number is reserved; the manuals' examples show the socket's own.
        let mut text = format!(
            "{}: {id},\"{}\",\"{remote}\",{},{local_port},{},{},{id},{},\"{}\"",
            socket.service.names().state,
            socket.kind_name(),
            socket.remote_port,
            socket.state_number(closing),
            socket.pdp_context,
            socket.access.number(),
            self.port_name(socket.port),
            id = socket.id,
        );
        if let Some(context) = socket.ssl_context {
            text += &format!(",{context}");
        }
        text
    }

    /// A port as the lists of sockets name it.
    fn port_name(&self, port: usize) -> String {
        match self.ports[port].reach {
            Reach::Channel { dlci, .. } => format!("cmux{dlci}"),
            Reach::Line | Reach::Mux(_) => self.ports[port].name.name().into(),
        }
    }

    /// The sockets of a service in the order of their numbers.
    pub(crate) fn sockets(&self, service: Service) -> Vec<&Socket> {
        let mut sockets: Vec<&Socket> =
            self.session.sockets.iter().filter(|socket| socket.service == service).collect();
        sockets.sort_by_key(|socket| socket.id);
        sockets
    }

    /// Whether the unread bytes of a cut connection are lost. By the EG800Q's manual, QSSLRECV of an abnormally
    /// closed connection is an ERROR; the EC20's does not mention it.
    pub(crate) fn cut_loses_unread(&self) -> bool {
        let quirks = &self.config.quirks;
        let by_manual = self.config.family == Family::Eg800q;
        quirks.unread_lost_when_cut || by_manual && !quirks.unread_kept_when_cut
    }
}

/// Longest network response of an open, without "negotiatetime".
const OPEN_LIMIT: Duration = Duration::from_secs(150);

/// Seconds.
const DEFAULT_CLOSE_TIMEOUT: u32 = 10;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use crate::network::simulated::{Behaviour, Opening, Plan};
    use crate::network::{Close, OpenFailure};
    use crate::testing::{Bench, milliseconds, seconds};
    use crate::{Config, Family, PortName, Quirks};

    const OPEN: &str = "AT+QSSLOPEN=1,1,0,\"a.example\",443,0";

    fn opening(opening: Opening, config: Config) -> Bench {
        let plan = Plan::new(Behaviour::sink()).opening(opening);
        Bench::with(config, plan).get_online()
    }

    #[test]
    fn failures_are_told_by_urc_with_their_codes_and_leave_the_number_free() {
        for (failure, code, text) in [
            (OpenFailure::Dns, 565, "DNS parse failed"),
            (OpenFailure::Refused, 566, "Socket connection failed"),
            (OpenFailure::TimedOut, 569, "Operation timeout"),
            (OpenFailure::Verification("expired".into()), 566, "Socket connection failed"),
        ] {
            let mut bench = opening(Opening::Fails(seconds(2), failure), Config::default());
            assert_eq!(bench.ask(OPEN), "\r\nOK\r\n");
            assert!(bench.ask("AT+QSSLSTATE=0").contains(",443,0,1,1,0,0,\"uart1\",1\r\n"));
            bench.pass(seconds(2));
            assert_eq!(bench.output(), format!("\r\n+QSSLOPEN: 0,{code}\r\n"));
            assert_eq!(bench.ask("AT+QIGETERROR"), format!("\r\n+QIGETERROR: {code},{text}\r\n\r\nOK\r\n"));
            assert_eq!(bench.ask("AT+QSSLSTATE=0"), "\r\nOK\r\n");
        }
    }

    #[test]
    fn opens_are_under_way_together() {
        let mut bench = opening(Opening::Opens(seconds(2)), Config::default());
        for id in 0..12 {
            assert_eq!(bench.ask(&format!("AT+QSSLOPEN=1,1,{id},\"a.example\",443,1")), "\r\nOK\r\n");
        }
        bench.pass(seconds(2));
        let all: String = (0..12).map(|id| format!("\r\n+QSSLOPEN: {id},0\r\n")).collect();
        assert_eq!(bench.output(), all);
    }

    #[test]
    fn an_outcome_comes_no_sooner_than_the_open_latency() {
        let config = Config { open_latency: milliseconds(500), ..Config::default() };
        let mut bench = opening(Opening::Opens(milliseconds(100)), config);
        bench.ask(OPEN);
        bench.pass(milliseconds(499));
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(1));
        assert_eq!(bench.output(), "\r\n+QSSLOPEN: 0,0\r\n");
    }

    #[test]
    fn an_open_that_goes_nowhere_times_out_after_150_seconds_and_negotiatetime() {
        let mut bench = opening(Opening::Never, Config::default());
        bench.ask("AT+QSSLCFG=\"negotiatetime\",1,10");
        bench.ask(OPEN);
        bench.pass(milliseconds(159_999));
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(1));
        assert_eq!(bench.output(), "\r\n+QSSLOPEN: 0,569\r\n");
    }

    #[test]
    fn a_close_ends_an_open_that_is_under_way_without_a_word_about_it() {
        let mut bench = opening(Opening::Opens(seconds(2)), Config::default());
        bench.ask(OPEN);
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,0"), "\r\nOK\r\n");
        assert_eq!(bench.network.records()[0].closed, Some(Close::Abort));
        bench.pass(seconds(9));
        assert_eq!(bench.output(), "");
    }

    #[test]
    fn a_module_can_refuse_to_close_what_is_being_opened() {
        let quirks = Quirks { close_of_opening_refused: true, ..Quirks::strict() };
        let mut bench = opening(Opening::Opens(seconds(2)), Config { quirks, ..Config::default() });
        bench.ask(OPEN);
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,0"), "\r\nERROR\r\n");
        bench.pass(seconds(2));
        assert_eq!(bench.output(), "\r\n+QSSLOPEN: 0,0\r\n");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,0"), "\r\nOK\r\n");
    }

    #[test]
    fn a_module_without_a_close_time_refuses_one() {
        let quirks = Quirks { close_without_time: true, ..Quirks::strict() };
        let mut bench = Bench::online(Config { quirks, ..Config::default() });
        assert_eq!(bench.ask("AT+QSSLCLOSE=?"), "\r\n+QSSLCLOSE: (0-11)\r\n\r\nOK\r\n");
        bench.open(0, 0);
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,0"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0"), "\r\nOK\r\n");
        assert_eq!(bench.network.records()[0].closed, Some(Close::Orderly));
    }

    #[test]
    fn closes_that_are_refused_until_the_next_boot_are_refused_until_then() {
        let mut bench = Bench::online(Config::default());
        bench.open(0, 0);
        bench.modem.refuse_closes_until_boot();
        for command in ["AT+QSSLCLOSE=0,0", "AT+QSSLCLOSE=0,10", "AT+QSSLCLOSE=0"] {
            assert_eq!(bench.ask(command), "\r\nERROR\r\n");
        }
        bench.modem.reboot(bench.now);
        bench.pass(seconds(20));
        assert!(bench.output_bytes(0).starts_with(b"\r\nRDY\r\n"));
        let mut bench = bench.get_online();
        bench.open(0, 0);
        assert!(bench.ask("AT+QSSLCLOSE=0,0").ends_with("\r\nOK\r\n"));
    }

    #[test]
    fn a_number_in_use_is_563() {
        let mut bench = Bench::online(Config::default());
        bench.open(0, 0);
        assert_eq!(bench.ask(OPEN), "\r\nOK\r\n\r\n+QSSLOPEN: 0,563\r\n");
        let quirks = Quirks { used_socket_refused_at_once: true, ..Quirks::strict() };
        let mut bench = Bench::online(Config { quirks, ..Config::default() });
        bench.open(0, 0);
        assert_eq!(bench.ask(OPEN), "\r\nERROR\r\n");
        assert_eq!(
            bench.ask("AT+QIGETERROR"),
            "\r\n+QIGETERROR: 563,Socket identity has been used\r\n\r\nOK\r\n"
        );
    }

    #[test]
    fn without_a_data_session_nothing_is_opened() {
        let mut bench = Bench::new(Config::default());
        bench.ask("ATE0");
        assert_eq!(bench.ask(OPEN), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 561,Open PDP context failed\r\n\r\nOK\r\n");
    }

    #[test]
    fn a_worn_module_answers_552_until_it_is_rebooted() {
        let quirks = Quirks { opens_until_degraded: NonZeroU32::new(2), ..Quirks::strict() };
        let mut bench = Bench::online(Config { quirks, ..Config::default() });
        for _ in 0..2 {
            bench.open(0, 0);
            bench.ask("AT+QSSLCLOSE=0,0");
        }
        for _ in 0..3 {
            assert_eq!(bench.ask(OPEN), "\r\nOK\r\n\r\n+QSSLOPEN: 0,552\r\n");
        }
        bench.ask("AT+CFUN=1,1");
        bench.pass(seconds(9));
        bench.output();
        let mut bench = bench.get_online();
        bench.open(0, 0);
    }

    #[test]
    fn too_many_opens_at_once_meet_busy_codes_where_a_quirk_has_them() {
        let quirks = Quirks { dns_busy_beyond: Some(1), opens_busy_beyond: Some(2), ..Quirks::strict() };
        let mut bench = opening(Opening::Opens(seconds(2)), Config { quirks, ..Config::default() });
        assert_eq!(bench.ask(OPEN), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,1,\"b.example\",443,0"), "\r\nOK\r\n\r\n+QSSLOPEN: 1,564\r\n");
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,1,\"192.0.2.9\",443,0"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,2,\"192.0.2.9\",443,0"), "\r\nOK\r\n\r\n+QSSLOPEN: 2,568\r\n");
    }

    #[test]
    fn faults_of_opens_and_closes_come_once_each() {
        let mut bench = Bench::online(Config::default());
        bench.modem.fail_next_open(568);
        bench.modem.never_answer_next_open();
        assert_eq!(bench.ask(OPEN), "\r\nOK\r\n\r\n+QSSLOPEN: 0,568\r\n");
        assert_eq!(bench.ask(OPEN), "\r\nOK\r\n");
        bench.pass(seconds(1_000));
        assert_eq!(bench.output(), "");
        bench.modem.refuse_next_closes(1);
        assert_eq!(bench.ask("AT+QSSLCLOSE=0"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0"), "\r\nOK\r\n");
        bench.open(0, 0);
    }

    #[test]
    fn the_result_of_an_open_comes_where_and_how_the_quirks_put_it() {
        let before = Quirks { open_result_before_ok: true, ..Quirks::strict() };
        let bare = Quirks { open_result_without_empty_line: true, ..Quirks::strict() };
        for (quirks, answer) in
            [(before, "\r\n+QSSLOPEN: 0,0\r\n\r\nOK\r\n"), (bare, "\r\nOK\r\n+QSSLOPEN: 0,0\r\n")]
        {
            let mut bench = Bench::online(Config { quirks, ..Config::default() });
            assert_eq!(bench.ask(OPEN), answer);
        }
        let ports = vec![PortName::UsbAt, PortName::UsbModem];
        for (by_urc_port, output) in
            [(false, ["", "\r\n+QSSLOPEN: 0,0\r\n"]), (true, ["\r\n+QSSLOPEN: 0,0\r\n", ""])]
        {
            let quirks = Quirks { open_result_on_urc_port: by_urc_port, ..Quirks::strict() };
            let mut bench = Bench::online(Config { quirks, ports: ports.clone(), ..Config::default() });
            assert_eq!(bench.ask_on(1, OPEN), format!("\r\nOK\r\n{}", output[1]));
            assert_eq!(bench.heard_on(0), output[0]);
        }
    }

    #[test]
    fn a_failed_open_occupies_its_number_by_a_quirk() {
        let quirks = Quirks { failed_open_keeps_socket: true, ..Quirks::strict() };
        let config = Config { quirks, ..Config::default() };
        let mut bench = opening(Opening::Fails(seconds(0), OpenFailure::Refused), config);
        assert_eq!(bench.ask(OPEN), "\r\nOK\r\n\r\n+QSSLOPEN: 0,566\r\n");
        assert_eq!(bench.ask(OPEN), "\r\nOK\r\n\r\n+QSSLOPEN: 0,563\r\n");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0"), "\r\nOK\r\n");
        assert_eq!(bench.ask(OPEN), "\r\nOK\r\n\r\n+QSSLOPEN: 0,566\r\n");
    }

    #[test]
    fn plain_tcp_opens_and_closes_beside_tls() {
        let mut bench = Bench::online(Config { family: Family::Ec20, ..Config::default() });
        bench.open(0, 0);
        assert_eq!(
            bench.ask("AT+QIOPEN=1,0,\"TCP\",\"a.example\",443,0,0"),
            "\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n"
        );
        assert!(bench.network.records()[1].request.tls.is_none());
        assert_eq!(
            bench.ask("AT+QISTATE=1,0"),
            "\r\n+QISTATE: 0,\"TCP\",\"192.0.2.2\",443,49154,2,1,0,0,\"uart1\"\r\n\r\nOK\r\n"
        );
        assert_eq!(bench.ask("AT+QICLOSE=0"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISTATE?"), "\r\nOK\r\n");
        assert_eq!(bench.modem.sockets_in_use(), [0]);
    }
}
