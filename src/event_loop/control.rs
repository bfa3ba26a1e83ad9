//! What the event loop does for the control socket: requests to the core, and answers back.

use std::time::Duration;

use super::unit::ModemUnit;
use super::{EventLoop, Source};
use crate::daemon::control::server::{Server, Turn, Waits};
use crate::daemon::control::{
    self, FILE_LIMIT_BYTES, PortTranscript, Reply, Request, StoredFile, TURN_LIMIT, policy,
};
use crate::terminal::printable;
use qssl_core::Input;
use qssl_core::at::{AtText, Command};
use qssl_core::modem::{UserAnswer, UserCommand};

impl EventLoop {
    /// Serves the control connections: accepts one, and takes one request of each. Returns whether there was
    /// something to do.
    pub(super) fn serve_control(&mut self) -> bool {
        let registry = self.poll.registry();
        let Some(server) = self.daemon.as_mut().and_then(|daemon| daemon.control.as_mut()) else {
            return false;
        };
        let mut moved = server.accept(registry, |index| Source::Control(index + 1).token(), self.now);
        for connection in 0..server.slots() {
            let now = self.now;
            let Some(server) = self.server() else { break };
            moved |= match server.turn(connection, now) {
                Turn::Nothing => continue,
                Turn::Moved => true,
                Turn::Request(Ok(request)) => {
                    self.request(connection, request);
                    true
                }
                Turn::Request(Err(why)) => {
                    self.reply(connection, &Reply::error("bad-request", why));
                    true
                }
            };
        }
        self.forget_the_gone();
        moved
    }

    /// Drops idle connections, and replies to those whose wait has timed out.
    pub(super) fn control_due(&mut self) {
        let now = self.now;
        let Some(server) = self.server() else { return };
        server.drop_idle(now);
        let waiting: Vec<(usize, Waits)> = server.waiting().collect();
        for (connection, waits) in waiting {
            if waits.until() > self.now {
                continue;
            }
            match waits {
                Waits::Command { modem, id, .. } => {
                    self.cancel(modem, id);
                    let message = "the command was not sent in time: other commands take long; try again";
                    self.reply(connection, &Reply::error("timeout", message));
                }
                Waits::Open { .. } => {
                    let message = "the modem did not report the result of the open in time";
                    self.reply(connection, &Reply::error("timeout", message));
                }
                Waits::Status { .. } => self.reply_status(connection),
            }
        }
    }

    /// The modem has answered a command from outside.
    pub(super) fn control_answered(&mut self, modem: usize, id: UserCommand, answer: UserAnswer) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.commands.retain(|other| *other != (modem, id));
        let asks = |(_, waits): &(usize, Waits)| command_of(*waits) == Some((modem, id));
        let Some((connection, _)) = self.server().and_then(|server| server.waiting().find(asks)) else {
            return;
        };
        let reply = self.answer_in_words(modem, answer);
        self.reply(connection, &reply);
    }

    /// The result of an open that no tunnel has started.
    pub(super) fn control_opened(&mut self, modem: usize, id: u8, result: u16) {
        let Some(server) = self.server() else { return };
        server.opened(modem, id, result);
        for connection in
            self.who_waits(|waits| matches!(waits, Waits::Open { modem: of, .. } if of == modem))
        {
            self.reply_opened(connection);
        }
    }

    /// The modem has ended: those who wait for it get their reply.
    pub(super) fn modem_answers_no_more(&mut self, modem: usize) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.commands.retain(|(of, _)| *of != modem);
        let is_of_modem = |waits| match waits {
            Waits::Command { modem: of, .. } | Waits::Open { modem: of, .. } => of == modem,
            Waits::Status { .. } => false,
        };
        for connection in self.who_waits(is_of_modem) {
            self.reply(connection, &Reply::error("port-unavailable", "the modem is no longer used"));
        }
        self.network_answered();
    }

    fn who_waits(&mut self, is_so: impl Fn(Waits) -> bool) -> Vec<usize> {
        let Some(server) = self.server() else { return Vec::new() };
        server.waiting().filter(|(_, waits)| is_so(*waits)).map(|(connection, _)| connection).collect()
    }

    fn request(&mut self, connection: usize, request: Request) {
        let chosen = self.server().and_then(|server| server.modem_of(connection));
        let needs_modem = matches!(
            request,
            Request::At { .. }
                | Request::AwaitOpen { .. }
                | Request::Upload { .. }
                | Request::Download { .. }
        );
        if needs_modem && chosen.is_none() && self.configuration.modems.len() > 1 {
            let message = format!("which modem is meant? --modem takes one of {}", self.modem_names());
            return self.reply(connection, &Reply::error("refused", message));
        }
        let first = || self.modem_called(&self.configuration.modem().name);
        let modem = chosen.or_else(first).unwrap_or(0);
        match request {
            Request::Status => self.status_wanted(connection),
            Request::Modem { name } => {
                let position = self.modem_called(&name);
                let reply = match position {
                    Some(_) => Reply::Done,
                    None => {
                        let names = self.modem_names();
                        Reply::error("refused", format!("no modem is called {name}: there is {names}"))
                    }
                };
                if let (Some(position), Some(server)) = (position, self.server()) {
                    server.choose_modem(connection, position);
                }
                self.reply(connection, &reply);
            }
            Request::At { command, force, timeout_seconds } => {
                self.command_wanted(connection, modem, command, force, timeout_seconds);
            }
            Request::AwaitOpen { timeout_seconds } => {
                let until =
                    self.now + Duration::from_secs(timeout_seconds.clamp(1, LONGEST_TIMEOUT_SECONDS).into());
                if let Some(server) = self.server() {
                    server.wait(connection, Waits::Open { modem, until });
                }
                self.reply_opened(connection);
            }
            Request::Upload { name, content } => match (AtText::new(name), control::from_hex(&content)) {
                (Ok(name), Some(content)) if !content.is_empty() && content.len() <= FILE_LIMIT_BYTES => {
                    self.say(connection, modem, Command::Upload { name, content });
                }
                (Ok(_), Some(_)) => {
                    let message = format!("a file has 1-{FILE_LIMIT_BYTES} bytes");
                    self.reply(connection, &Reply::error("bad-request", message));
                }
                (Ok(_), None) => {
                    let message = "content is not a sequence of pairs of hexadecimal digits";
                    self.reply(connection, &Reply::error("bad-request", message));
                }
                (Err(why), _) => {
                    self.reply(connection, &Reply::error("bad-request", format!("name: {why}")));
                }
            },
            Request::Download { name, size } => match AtText::new(name) {
                Ok(name) if size <= FILE_LIMIT_BYTES => {
                    self.say(connection, modem, Command::Download { name, size })
                }
                Ok(_) => {
                    let message = format!("a file has at most {FILE_LIMIT_BYTES} bytes");
                    self.reply(connection, &Reply::error("bad-request", message));
                }
                Err(why) => self.reply(connection, &Reply::error("bad-request", format!("name: {why}"))),
            },
            Request::StoredFiles => {
                let files = StoredFile::of_tunnels(&self.configuration.tunnels);
                self.reply(connection, &Reply::StoredFiles { files });
            }
            Request::Kill { client } => {
                let reply = match self.modems.iter_mut().any(|unit| unit.relay.kill(client, self.now)) {
                    true => Reply::Done,
                    false => Reply::error(
                        "refused",
                        format!("there is no connection {client}: see qssl-tunnel status"),
                    ),
                };
                self.reply(connection, &reply);
            }
            Request::Transcript { payload } => {
                // Without a choice, of all modems.
                let meant = chosen.map_or(0..self.modems.len(), |modem| modem..modem + 1);
                if let Some(wanted) = payload {
                    for unit in &mut self.modems[meant.clone()] {
                        unit.relay.handle(Input::RecordPayload(wanted), self.now);
                    }
                }
                let meant = meant.filter(|modem| !self.modems[*modem].is_gone());
                let ports = meant.flat_map(|modem| self.transcripts(modem, "on request")).collect();
                let reply = Reply::Transcript { ports };
                self.reply(connection, &reply);
            }
        }
    }

    fn modem_names(&self) -> String {
        self.configuration.modems.iter().map(|modem| &*modem.name).collect::<Vec<_>>().join(", ")
    }

    fn command_wanted(
        &mut self,
        connection: usize,
        modem: usize,
        line: String,
        force: bool,
        timeout_seconds: Option<u16>,
    ) {
        if let Err(why) = policy::check_line(&line) {
            return self.reply(connection, &Reply::error("bad-request", format!("the command {why}")));
        }
        if !force && let Some(message) = policy::refusal(&line) {
            return self.reply(connection, &Reply::error("refused", message));
        }
        let seconds = timeout_seconds.unwrap_or(USUAL_TIMEOUT_SECONDS).clamp(1, LONGEST_TIMEOUT_SECONDS);
        let patience = Duration::from_secs(seconds.into());
        let secret = policy::is_secret(&line);
        if policy::opens(&line)
            && let Some(server) = self.server()
        {
            server.expect_open(connection, modem);
        }
        self.say(
            connection,
            modem,
            Command::Line(qssl_core::at::Line { text: line, patience: Some(patience), secret }),
        );
    }

    /// Queues a command; its answer is the reply.
    fn say(&mut self, connection: usize, modem: usize, command: Command) {
        let unit = &mut self.modems[modem];
        let _scope = unit.scope();
        if unit.relay.modem().is_all_data() {
            let message = "busy: transparent (every port of the modem carries a connection)";
            return self.reply(connection, &Reply::error("busy", message));
        }
        if !unit.is_connected() {
            let message = "the modem's port is not open; see the daemon's log for the reason";
            return self.reply(connection, &Reply::error("port-unavailable", message));
        }
        let usual = unit.configured.settings.command_timeout;
        let until = self.now + TURN_LIMIT + command.patience(usual);
        // The command may be sent before this returns, but its answer comes only when bytes have been read.
        match unit.relay.command(command, self.now) {
            Some(id) => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.commands.push((modem, id));
                }
                if let Some(server) = self.server() {
                    server.wait(connection, Waits::Command { modem, id, until });
                }
            }
            None => {
                let message = "busy: too many commands wait for the modem; try again";
                self.reply(connection, &Reply::error("busy", message));
            }
        }
    }

    fn status_wanted(&mut self, connection: usize) {
        let now = self.now;
        if let Some(server) = self.server() {
            server.wait(connection, Waits::Status { until: now + STATUS_LIMIT });
        }
        // What they answer is the reply, at once if none need be asked.
        for unit in self.modems.iter_mut().filter(|unit| unit.status().is_none()) {
            let _scope = unit.scope();
            unit.relay.handle(Input::AskNetwork, now);
        }
    }

    /// A modem has reported about its network: those who wait for that get their reply, unless another is still asked.
    pub(super) fn network_answered(&mut self) {
        let is_asked =
            |unit: &ModemUnit| unit.status().is_none() && unit.relay.modem().is_asked_about_network();
        if !self.modems.iter().any(is_asked) {
            self.reply_statuses();
        }
    }

    fn reply_statuses(&mut self) {
        for connection in self.who_waits(|waits| matches!(waits, Waits::Status { .. })) {
            self.reply_status(connection);
        }
    }

    fn reply_status(&mut self, connection: usize) {
        let status = self.status();
        self.reply(connection, &Reply::Status { status: Box::new(status) });
    }

    fn reply_opened(&mut self, connection: usize) {
        if let Some((id, code)) = self.server().and_then(|server| server.take_opened(connection)) {
            self.reply(connection, &Reply::Opened { connection: id, code });
        }
    }

    fn answer_in_words(&self, modem: usize, answer: UserAnswer) -> Reply {
        let Some(outcome) = answer.outcome else {
            return match self.modems[modem].is_connected() {
                true => Reply::error("modem-silent", "the modem did not answer"),
                false => Reply::error("port-unavailable", "the modem's port was lost"),
            };
        };
        Reply::Answer { outcome, lines: answer.lines, content: control::to_hex(&answer.file) }
    }

    /// The recording of each port of a modem, with a first line that names its origin.
    pub(super) fn transcripts(&self, modem: usize, reason: &str) -> Vec<PortTranscript> {
        let unit = &self.modems[modem];
        let module = &unit.relay.modem().profile().name;
        let names = unit.relay.modem().report().ports.into_iter().map(|port| port.name).enumerate();
        names
            .filter_map(|(index, name)| {
                // A channel that was never open has recorded nothing.
                let device = || unit.ports.get(index).map(|slot| slot.finder.device().to_string());
                let port = if name.is_empty() { device()? } else { name };
                let version = env!("CARGO_PKG_VERSION");
                let text =
                    unit.relay.modem().recorder(index).map_or(String::new(), |recorder| recorder.text());
                let head = format!("# qssl-tunnel {version}, {module} on {port}, {reason}");
                Some(PortTranscript { text: format!("{}\n{text}", printable(&head)), port })
            })
            .collect()
    }

    /// Cancels the commands of connections that are gone.
    fn forget_the_gone(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        let Some(server) = &daemon.control else { return };
        let is_wanted = |command: &(usize, UserCommand)| {
            server.waiting().any(|(_, waits)| command_of(waits) == Some(*command))
        };
        let gone: Vec<_> = daemon.commands.iter().filter(|command| !is_wanted(command)).copied().collect();
        for (modem, id) in gone {
            self.cancel(modem, id);
        }
    }

    fn cancel(&mut self, modem: usize, id: UserCommand) {
        self.modems[modem].relay.handle(Input::CancelCommand(id), self.now);
        if let Some(daemon) = &mut self.daemon {
            daemon.commands.retain(|other| *other != (modem, id));
        }
    }

    fn server(&mut self) -> Option<&mut Server> {
        self.daemon.as_mut()?.control.as_mut()
    }

    fn reply(&mut self, connection: usize, reply: &Reply) {
        let now = self.now;
        if let Some(server) = self.server() {
            server.reply(connection, reply, now);
        }
    }
}

/// The command whose answer is waited for, and its modem.
fn command_of(waits: Waits) -> Option<(usize, UserCommand)> {
    match waits {
        Waits::Command { modem, id, .. } => Some((modem, id)),
        Waits::Status { .. } | Waits::Open { .. } => None,
    }
}

/// How long a status waits for the modem's answers; without them it shows what was last reported.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

const USUAL_TIMEOUT_SECONDS: u16 = 5;
const LONGEST_TIMEOUT_SECONDS: u16 = 600;
