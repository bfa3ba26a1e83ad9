//! Clients that name their own server (`--dynamic`): until they have, the core does not know of them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clients::ClientSlot;
use super::{EventLoop, Source};
use crate::clients::peer::Peer;
use crate::clients::stream::ClientStream;
use crate::config::{Configuration, Dynamic};
use qssl_core::at::ResultCode;
use qssl_core::modem::OpenFailure;
use qssl_core::relay::{CLIENTS_MAX, ClientId, NotOpened, Relay};
use qssl_core::settings::{Target, Tunnel, WhenFull};
use qssl_core::{Kind, counted};
use qssl_proxy::{Handshake, RequestOutcome, Then};

/// A client that has not named its server yet.
pub(super) struct Greeting {
    stream: ClientStream,
    peer: Peer,
    tunnel: Arc<Tunnel>,
    dynamic: Arc<Dynamic>,
    handshake: Handshake,
    /// Bytes may have come.
    pub readable: bool,
    /// When it counts as silent.
    pub until: Instant,
}

/// A client that has named its server, and waits for the answer to its request.
pub(super) struct Requested {
    handshake: Handshake,
    /// What it has sent after its request, and the core has not taken yet.
    early: Vec<u8>,
    /// The answer, once there is one.
    answer: Option<Answer>,
}

/// The answer to a request.
struct Answer {
    outcome: RequestOutcome,
    /// What is left of it to be written.
    unwritten: Vec<u8>,
}

impl Requested {
    /// The request is decided, unless it was before.
    pub fn decided(&mut self, outcome: RequestOutcome) {
        if self.answer.is_none() {
            self.answer = Some(Answer { outcome, unwritten: self.handshake.reply(outcome) });
        }
    }

    /// What is to be written to the client before anything of its server; `None`: nothing may be written yet.
    pub fn unwritten(&self) -> Option<&[u8]> {
        self.answer.as_ref().map(|answer| &answer.unwritten[..])
    }

    /// So much of it was written.
    pub fn written(&mut self, count: usize) {
        if let Some(answer) = &mut self.answer {
            answer.unwritten.drain(..count);
        }
    }

    /// The client's first bytes, as many as the core takes now.
    pub fn take_early(&mut self, wanted: usize) -> Vec<u8> {
        self.early.drain(..wanted.min(self.early.len())).collect()
    }

    /// Whether some of the client's first bytes wait.
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Whether its connection was opened.
    pub fn is_granted(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.outcome == RequestOutcome::Open)
    }

    /// Whether nothing of it is left.
    pub fn is_over(&self) -> bool {
        self.early.is_empty() && self.unwritten().is_some_and(<[u8]>::is_empty)
    }
}

impl EventLoop {
    /// A client of a tunnel whose clients name their servers.
    pub(super) fn greet(
        &mut self,
        tunnel: &Arc<Tunnel>,
        dynamic: &Arc<Dynamic>,
        mut stream: ClientStream,
        peer: Peer,
    ) {
        let free = self.greetings.iter().position(Option::is_none).unwrap_or(self.greetings.len());
        if let Err(error) = stream.register(self.poll.registry(), Source::Greeting(free).token()) {
            log::warn!("{peer}: cannot wait for it: {error}");
            return stream.abort();
        }
        if free == self.greetings.len() {
            self.greetings.push(None);
        }
        self.greetings[free] = Some(Greeting {
            stream,
            peer,
            tunnel: tunnel.clone(),
            dynamic: dynamic.clone(),
            handshake: Handshake::new(dynamic.protocol, dynamic.users.clone()),
            readable: false,
            until: self.now + GREETING_LIMIT,
        });
    }

    /// The module has opened the connection that this client has asked for, or not.
    pub(super) fn request_decided(
        &mut self,
        modem: usize,
        ClientId(index): ClientId,
        outcome: RequestOutcome,
    ) {
        let slot = self.modems[modem].clients.get_mut(index);
        if let Some(Some(ClientSlot { requested: Some(requested), .. })) = slot {
            requested.decided(outcome);
        }
    }

    /// Whether this modem accepts another client of this tunnel. Those that have not named their server yet count as if they
    /// had, wherever they go.
    pub(super) fn wants_clients(&self, modem: usize, tunnel: &Arc<Tunnel>) -> bool {
        let unit = &self.modems[modem];
        let known = |tunnel: &Tunnel| unit.relay.tunnels().iter().find(|known| known.name == tunnel.name);
        let coming = self.greetings.iter().flatten().filter_map(|greeting| known(&greeting.tunnel));
        if !unit.relay.wants_clients_beside(tunnel, coming.clone()) {
            return false;
        }
        let others =
            || self.modems.iter().filter(|other| !std::ptr::eq(*other, unit)).map(|other| &other.relay);
        let count = unit.relay.client_count() + self.greetings.iter().flatten().count();
        // Sessions make room for others on their own modem.
        let makes_room = tunnel.limits.when_full == WhenFull::Evict && tunnel.carries_datagrams();
        let limit = tunnel.limits.max_clients.filter(|_| !makes_room);
        let of_tunnel = || {
            let coming = coming.filter(|coming| coming.name == tunnel.name).count();
            coming + self.modems.iter().map(|unit| unit.relay.clients_through(&tunnel.name)).sum::<usize>()
        };
        self.modems.len() == 1
            || others().map(Relay::client_count).sum::<usize>() + count < CLIENTS_MAX
                && limit.is_none_or(|limit| of_tunnel() < limit)
    }

    /// When the next client counts as silent.
    pub(super) fn greetings_deadline(&self) -> Option<Instant> {
        self.greetings.iter().flatten().map(|greeting| greeting.until).min()
    }

    /// Refuses clients that have not named their server in time.
    pub(super) fn end_greetings(&mut self) {
        for index in 0..self.greetings.len() {
            if self.greetings[index].as_ref().is_some_and(|greeting| greeting.until <= self.now) {
                self.refuse_greeting(index, "it has not named its target in time", &[]);
            }
        }
    }

    /// Reads what a client has sent of its request. Returns whether there was anything.
    pub(super) fn read_greeting(&mut self, index: usize) -> bool {
        let Some(greeting) = self.greetings[index].as_mut().filter(|greeting| greeting.readable) else {
            return false;
        };
        let wanted = greeting.handshake.room().min(self.buffer.len());
        let count = match greeting.stream.read(&mut self.buffer[..wanted]) {
            Ok(0) => return self.refuse_greeting(index, "it left before it had named its target", &[]),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                greeting.readable = false;
                return false;
            }
            Err(_) => return self.refuse_greeting(index, "the connection to it broke", &[]),
        };
        self.moved_bytes += count;
        let step = greeting.handshake.receive(&self.buffer[..count]);
        match step.then {
            Then::Refused(reason) => return self.refuse_greeting(index, reason, &step.answer),
            Then::Request(target) if !greeting.dynamic.allows(&target) => {
                let answer = [step.answer, greeting.handshake.reply(RequestOutcome::NotAllowed)].concat();
                let reason = format!("{target} is not allowed (--allow-target)");
                return self.refuse_greeting(index, &reason, &answer);
            }
            Then::More | Then::Request(_) => {}
        }
        // These few bytes find room in the socket's buffer.
        if !step.answer.is_empty() && greeting.stream.write(&step.answer).ok() != Some(step.answer.len()) {
            return self.refuse_greeting(index, "it does not read", &[]);
        }
        if let Then::Request(target) = step.then {
            self.has_named(index, target);
        }
        true
    }

    /// The client has named its server: from now on it is a client like others.
    fn has_named(&mut self, index: usize, target: Target) {
        let Some(mut greeting) = self.greetings[index].take() else { return };
        let _ = greeting.stream.deregister(self.poll.registry());
        let early = greeting.handshake.take_early();
        let requested = Requested { handshake: greeting.handshake, early, answer: None };
        let Some((modem, tunnel)) = self.modem_for(&greeting.tunnel) else {
            return greeting.stream.abort();
        };
        let _scope = self.modems[modem].scope();
        let relay = &mut self.modems[modem].relay;
        let id = relay.client_accepted_for(&tunnel, target, greeting.peer.to_string(), self.now);
        self.add_slot(modem, id, greeting.stream, Some(requested));
    }

    /// The client is not served. Always `true`: something was done.
    fn refuse_greeting(&mut self, index: usize, reason: &str, answer: &[u8]) -> bool {
        let Some(mut greeting) = self.greetings[index].take() else { return true };
        let _ = greeting.stream.deregister(self.poll.registry());
        log::warn!("{} is refused: {reason} [{}]", greeting.peer, Kind::Failed);
        self.count_refused(&greeting.tunnel, 1);
        match answer.is_empty() {
            true => greeting.stream.abort(),
            false => {
                let _ = greeting.stream.write(answer);
                let _ = greeting.stream.shutdown_write();
                greeting.stream.end_in_order();
            }
        }
        true
    }

    /// Clients that have not named their server yet go on under the new configuration. They are refused where it would
    /// have greeted them in another way.
    pub(super) fn move_greetings(&mut self, new: &Configuration) {
        for index in 0..self.greetings.len() {
            let Some(greeting) = &mut self.greetings[index] else { continue };
            let heir = new.tunnels.iter().find(|tunnel| tunnel.settings.is_heir_of(&greeting.tunnel));
            match heir.and_then(|wanted| Some((&wanted.settings, wanted.dynamic.as_ref()?))) {
                Some((tunnel, dynamic)) if dynamic.greets_like(&greeting.dynamic) => {
                    greeting.tunnel = tunnel.clone();
                    greeting.dynamic = dynamic.clone();
                }
                _ => {
                    self.refuse_greeting(index, "its tunnel was changed", &[]);
                }
            }
        }
    }

    /// At the end, clients that have not named their server are reset.
    pub(super) fn drop_greetings(&mut self) {
        let count = self.greetings.iter().flatten().count();
        if count > 0 {
            log::info!("{} had not named a target", counted(count as u64, "client"));
        }
        for greeting in self.greetings.drain(..).flatten() {
            greeting.stream.abort();
        }
    }
}

/// Why a client gets no connection, as its protocol has it.
pub(super) fn outcome(why: &NotOpened) -> RequestOutcome {
    match why {
        NotOpened::NoFreeSocket => RequestOutcome::Busy,
        NotOpened::NotReady => RequestOutcome::NotReady,
        NotOpened::Failed(OpenFailure::TimedOut | OpenFailure::Code(ResultCode::TIMED_OUT)) => {
            RequestOutcome::TimedOut
        }
        NotOpened::Failed(failure) => match failure.kind() {
            Kind::DnsFailed => RequestOutcome::HostUnreachable,
            Kind::ConnectFailed | Kind::TlsFailed => RequestOutcome::Refused,
            Kind::NoDataSession | Kind::ModemLost => RequestOutcome::NetworkUnreachable,
            _ => RequestOutcome::Failed,
        },
    }
}

/// How long a client may take to name its server.
const GREETING_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use mio::Events;

    use super::*;
    use crate::config::{self, At, Control, Listen, Process, Transport};
    use qssl_core::settings;
    use qssl_proxy::Protocol;

    #[test]
    fn a_client_that_does_not_name_its_target_in_time_is_reset_and_counted() {
        let settings = settings::Tunnel {
            name: "proxy".into(),
            target: None,
            mode: settings::Mode::Push,
            transport: Transport::Tcp,
            limits: settings::Limits::default(),
        };
        let allowed = vec!["*:443".parse().expect("a pattern")];
        let dynamic = Some(Arc::new(Dynamic { protocol: Protocol::Auto, allowed, users: None }));
        let listen = vec![Listen::Tcp(At::Address(([127, 0, 0, 1], 0).into()))];
        let configuration = Configuration {
            modems: vec![config::Modem::on(vec!["/nonexistent/modem".parse().expect("a device")])],
            tunnels: vec![config::Tunnel {
                listen,
                allow: Vec::new(),
                dynamic,
                modems: config::Modems::default(),
                settings: settings.into(),
            }],
            process: Process { control: Control::Off, ..Process::default() },
        };
        let mut event_loop = EventLoop::new(configuration, &[]).expect("nothing that could be missing");
        let mut client = TcpStream::connect(event_loop.listeners[0].listener.name()).expect("it listens");
        client.set_read_timeout(Some(Duration::from_secs(60))).expect("it is a socket");
        client.write_all(b"\x05\x01\0\x05").expect("the kernel takes it");
        event_loop.drain();
        let accepted = event_loop.now;
        // It goes on saying something, which gives it no more time.
        let mut events = Events::with_capacity(8);
        event_loop.turn(&mut events, Some(accepted + Duration::from_secs(1))).expect("waiting works");
        event_loop.drain();
        let mut answer = [0; 2];
        client.read_exact(&mut answer).expect("it was greeted");
        for (after, left) in [(9_999, 1), (10_000, 0)] {
            event_loop.now = accepted + Duration::from_millis(after);
            let is_due = event_loop.greetings_deadline().is_some_and(|at| at <= event_loop.now);
            assert_eq!(is_due, left == 0, "after {after} ms");
            event_loop.end_greetings();
            assert_eq!(event_loop.greetings.iter().flatten().count(), left, "after {after} ms");
        }
        let end = client.read(&mut answer).expect_err("no end in order");
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(event_loop.modems[0].relay.tunnel_reports()[0].counters.refused, 1);
    }

    #[test]
    fn each_failure_has_its_outcome() {
        let code = |code| NotOpened::Failed(OpenFailure::Code(ResultCode(code)));
        for (why, expected) in [
            (NotOpened::NoFreeSocket, RequestOutcome::Busy),
            (NotOpened::NotReady, RequestOutcome::NotReady),
            (code(564), RequestOutcome::HostUnreachable),
            (code(565), RequestOutcome::HostUnreachable),
            (code(566), RequestOutcome::Refused),
            (code(569), RequestOutcome::TimedOut),
            (code(570), RequestOutcome::NetworkUnreachable),
            (code(573), RequestOutcome::NetworkUnreachable),
            (code(552), RequestOutcome::Failed),
            (NotOpened::Failed(OpenFailure::TimedOut), RequestOutcome::TimedOut),
        ] {
            assert_eq!(outcome(&why), expected, "{why:?}");
        }
    }
}
