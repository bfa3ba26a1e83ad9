//! Why a client could not be connected, in one line. For `connect` more is found out: result code 566 stands for a refused
//! connection and for every TLS failure alike, so a plain TCP connection to the same server is tried, and closed at once.
//!
//! ```text
//!   Asking ──► Opening ──result──► Closing ──answer──► gone
//!               │    └──number in use: another──► Opening
//!               └─too late, or the client has left─► Leaving ──closed, or result──► gone
//! ```

use std::time::{Duration, Instant};

use super::{Action, ClientId, NotOpened, Relay};
use crate::at::answers::{Answer, SocketState, SocketStatus};
use crate::at::{AccessMode, Command, CommandSet, IdSet, ResultCode, Security, SocketId};
use crate::counted;
use crate::error::Kind;
use crate::failure::Failure;
use crate::modem::{CommandOutcome, OpenFailure, UserAnswer, UserCommand};
use crate::settings::Server;

/// A plain TCP connection that is tried for a client whose TLS connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    stage: ProbeStage,
    /// The command that was sent last.
    command: UserCommand,
    /// The numbers that other programs use, as far as is known, and those that were tried.
    taken: IdSet,
    /// Until when the answer is waited for.
    pub until: Instant,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeStage {
    /// AT+QISTATE? was sent: only the module knows which plain connections others have.
    Asking(ClientId),
    /// AT+QIOPEN was sent with this number. The client waits for the result.
    Opening(ClientId, SocketId),
    /// AT+QICLOSE was sent: nobody waits for the result any more, but it may still come.
    Leaving(SocketId),
    /// AT+QICLOSE was sent after the result.
    Closing,
}

impl Relay {
    /// Begins to find out why; `false` if that is not worth while.
    pub(super) fn begin_probe(&mut self, id: ClientId, failure: &OpenFailure, now: Instant) -> bool {
        if !self.settings.is_single || *failure != OpenFailure::Code(ResultCode::CONNECT_FAILED) {
            return false;
        }
        let Some(client) = self.get(id) else { return false };
        if client.tunnel().tls().is_none() || client.tunnel().carries_datagrams() {
            return false;
        }
        let stage = ProbeStage::Asking(id);
        self.probe_says(Command::line("AT+QISTATE?"), stage, IdSet::empty(), now + PROBE_LIMIT, now)
    }

    /// Sends a command of the probe. Returns whether that is possible.
    fn probe_says(
        &mut self,
        command: Command,
        stage: ProbeStage,
        taken: IdSet,
        until: Instant,
        now: Instant,
    ) -> bool {
        // As a line it is about none of the sockets that clients have.
        let command = self.modem.command(Command::line(command.to_string()), now);
        self.probe = command.map(|command| Probe { stage, command, taken, until });
        self.probe.is_some()
    }

    /// Tries it with a number that is not taken. Returns whether there is one.
    fn open_probe(&mut self, id: ClientId, mut taken: IdSet, until: Instant, now: Instant) -> bool {
        let settings = &self.settings.modem;
        let is_left = |id: &SocketId| settings.sockets.contains(id.index()) && !taken.contains(id.index());
        // The highest first, which few programs reach.
        let best = SocketId::all().filter(is_left).max_by_key(|id| (self.modem.is_free(*id), *id));
        let (Some(socket), Some(client)) = (best, self.get(id)) else { return false };
        let open = Command::Open {
            socket,
            pdp: settings.pdp.context,
            security: Security::Plain,
            host: client.target().host.clone(),
            port: client.target().port,
            mode: AccessMode::Buffer,
            patience: Duration::ZERO,
        };
        taken.insert(socket.index());
        self.probe_says(open, ProbeStage::Opening(id, socket), taken, until, now)
    }

    fn close_probe(&mut self, socket: SocketId, stage: ProbeStage, now: Instant) {
        let close = Command::Close { set: CommandSet::Ip, socket, timeout_seconds: Some(0) };
        self.probe_says(close, stage, IdSet::empty(), now + PROBE_CLOSE_LIMIT, now);
    }

    /// The modem has answered a command. Returns whether it was the probe's.
    pub(super) fn probe_answered(&mut self, id: UserCommand, answer: &UserAnswer, now: Instant) -> bool {
        let Some(probe) = self.probe.filter(|probe| probe.command == id) else { return false };
        match (probe.stage, &answer.outcome) {
            (ProbeStage::Asking(client), Some(CommandOutcome::Ok | CommandOutcome::Refused(_))) => {
                let mut taken = IdSet::empty();
                let statuses = SocketStatus::all(&answer.lines);
                for status in statuses.filter(|status| status.state != SocketState::Free) {
                    taken.insert(status.id.index());
                }
                if !self.open_probe(client, taken, probe.until, now) {
                    self.end_probe(client, false, now);
                }
            }
            (ProbeStage::Asking(client), _) => self.end_probe(client, false, now),
            (ProbeStage::Opening(..), Some(CommandOutcome::Ok)) => {}
            (ProbeStage::Opening(client, _), Some(CommandOutcome::Refused(refusal))) => {
                // A refusal without a code may mean that the number is in use.
                let code = refusal.result_code().unwrap_or(ResultCode::IDENTITY_IN_USE);
                self.probe = None;
                self.probe_failed(client, probe, code, now);
            }
            (ProbeStage::Opening(client, socket), _) => {
                self.close_probe(socket, ProbeStage::Leaving(socket), now);
                self.end_probe(client, false, now);
            }
            // A module that refuses it may still report the result.
            (ProbeStage::Leaving(_), outcome) if *outcome != Some(CommandOutcome::Ok) => {}
            (ProbeStage::Leaving(_) | ProbeStage::Closing, _) => self.probe = None,
        }
        true
    }

    /// The plain TCP connection came to be, or not. Returns whether it was ours.
    pub(super) fn probe_opened(&mut self, id: SocketId, result: u16, now: Instant) -> bool {
        let Some(probe) = self.probe else { return false };
        let (ProbeStage::Opening(_, socket) | ProbeStage::Leaving(socket)) = probe.stage else {
            return false;
        };
        if socket != id {
            return false;
        }
        let code = ResultCode(result);
        self.probe = None;
        // A number in use is another program's, and must not be closed.
        if code != ResultCode::IDENTITY_IN_USE {
            self.close_probe(socket, ProbeStage::Closing, now);
        }
        match probe.stage {
            ProbeStage::Opening(client, _) if result == 0 => self.end_probe(client, true, now),
            ProbeStage::Opening(client, _) => self.probe_failed(client, probe, code, now),
            _ => {}
        }
        true
    }

    fn probe_failed(&mut self, client: ClientId, probe: Probe, code: ResultCode, now: Instant) {
        let is_in_use = code == ResultCode::IDENTITY_IN_USE;
        if !is_in_use || !self.open_probe(client, probe.taken, probe.until, now) {
            self.end_probe(client, false, now);
        }
    }

    /// The client of the probe waits no more. A connection that is not open yet is closed all the same.
    pub(super) fn leave_probe(&mut self, id: ClientId, now: Instant) {
        match self.probe.map(|probe| probe.stage) {
            Some(ProbeStage::Asking(client)) if client == id => self.probe = None,
            Some(ProbeStage::Opening(client, socket)) if client == id => {
                self.close_probe(socket, ProbeStage::Leaving(socket), now);
            }
            _ => {}
        }
    }

    /// The answer did not come in time.
    pub(super) fn probe_is_late(&mut self, now: Instant) {
        match self.probe.map(|probe| probe.stage) {
            Some(ProbeStage::Asking(client) | ProbeStage::Opening(client, _)) => {
                self.leave_probe(client, now);
                self.end_probe(client, false, now);
            }
            _ => self.probe = None,
        }
    }

    /// The client is given the reason.
    fn end_probe(&mut self, id: ClientId, is_reachable: bool, now: Instant) {
        let (reason, kind) = match is_reachable {
            true => ("the TLS handshake failed".to_owned(), Kind::TlsFailed),
            false => (cause(&OpenFailure::Code(ResultCode::CONNECT_FAILED)), Kind::ConnectFailed),
        };
        self.open_failed(id, &reason, kind, now);
    }

    /// The client of an open that failed is reset. What the tunnel's settings make likely is logged with `-v`.
    pub(super) fn open_failed(&mut self, id: ClientId, cause: &str, kind: Kind, now: Instant) {
        let Some(client) = self.get(id) else { return };
        let server = client.server();
        if client.tunnel().tls().is_some() {
            log::debug!(
                "if TLS fails at {server}, then likely {}",
                self.modem.likely_causes(client.tunnel())
            );
        }
        self.cannot_connect(id, cause, kind, now);
    }

    /// The client of a modem that is not ready is reset: nothing of it was sent, and it may be served elsewhere.
    pub(super) fn not_served(&mut self, id: ClientId, now: Instant) {
        let Failure { kind, message } = self.modem.why_not_ready();
        self.actions.push_back(Action::ClientNotOpened(id, NotOpened::NotReady));
        self.cannot_connect(id, &message, kind, now);
    }

    /// A client is reset because there is no socket for it: the modem is not ready, or all are in use.
    pub(super) fn no_socket(&mut self, id: ClientId, reason: &str, kind: Kind, now: Instant) {
        if !self.modem.is_up() {
            return self.not_served(id, now);
        }
        self.actions.push_back(Action::ClientNotOpened(id, NotOpened::NoFreeSocket));
        self.reset(id, reason, kind, now);
    }

    /// A client that could not be connected is reset, and reported in one line.
    fn cannot_connect(&mut self, id: ClientId, cause: &str, kind: Kind, now: Instant) {
        let Some(client) = self.get(id) else { return };
        let line = account(client.peer(), client.age(now).as_secs_f64(), cause, &client.server(), kind);
        self.reset_with(id, &line, kind, now);
    }

    /// What to do where the module's memory does not suffice.
    pub(super) fn advise_on_memory(&self, id: ClientId) {
        let Some(client) = self.get(id) else { return };
        let bytes = self.modem.certificate_bytes(client.tunnel());
        if bytes > 0 {
            log::warn!(
                "the certificates for {} have {}: give the one root that is needed with --ca FILE or --ca system:NAME",
                client.tunnel().name,
                counted(bytes, "byte")
            );
        }
    }
}

/// The line of a client that could not be connected, with the server named once. `status` follows it.
fn account(peer: &str, seconds: f64, cause: &str, server: &Server, kind: Kind) -> String {
    let with = |cause: &str| {
        format!("{peer}: {seconds:.1} s: cannot connect: {cause}; see: qssl-tunnel doctor {server}")
    };
    let rest = with("").chars().count() + format!(" [{kind}]").len();
    with(&shortened(cause, LINE_CHARACTERS_MAX.saturating_sub(rest).max(CAUSE_CHARACTERS_MIN)))
}

/// Why an open failed, after "cannot connect": the manual's words for 566 would only repeat that. The advice is doctor's.
pub(super) fn cause(failure: &OpenFailure) -> String {
    match failure {
        OpenFailure::Code(code) if *code == ResultCode::CONNECT_FAILED => {
            format!("{} {}", code.0, code.hint())
        }
        other => other.in_short(),
    }
}

/// The message in at most `most` characters: without its last clauses, which explain and advise, or else without its last
/// words.
fn shortened(message: &str, most: usize) -> String {
    let Some((end, _)) = message.char_indices().nth(most) else { return message.to_owned() };
    let clauses = [": ", "; ", ", ", " ("].into_iter().filter_map(|mark| message[..end].rfind(mark));
    if let Some(end) = clauses.max() {
        return message[..end].to_owned();
    }
    let (end, _) = message.char_indices().nth(most - 1).unwrap_or_default();
    format!("{}…", &message[..message[..end].rfind(' ').unwrap_or(end)])
}

/// With the time and the level in front of it, the line of a failed connection stays under 200 characters, unless the name
/// of the server is so long that hardly a cause would be left.
const LINE_CHARACTERS_MAX: usize = 168;
const CAUSE_CHARACTERS_MIN: usize = 24;

/// How long a plain TCP connection may take; TLS has been tried before it.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// How long its close may take, and a result that comes late.
const PROBE_CLOSE_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at::{CmeError, Refusal};
    use crate::failure::{Cut, Distrust};

    /// What the program writes before the message where the journal does not.
    const TIME_AND_LEVEL: &str = "2026-11-21T10:00:00.123Z warn  ";

    #[test]
    fn a_failed_connection_is_one_short_line_with_cause_id_and_what_to_do() {
        let codes = (550..=574).chain([999]).map(ResultCode);
        let cme = |words: &str| Refusal::Cme(CmeError(words.into()));
        let refusals = [
            Refusal::Plain,
            cme("3"),
            cme("406"),
            cme("561"),
            cme("no such thing on this module, whatever it was"),
        ];
        // How a port or the modem is lost while a connection is opened.
        let cuts = [
            Cut::PortLost,
            Cut::Rebooted,
            Cut::Silent,
            Cut::Garbled,
            Cut::Unfinished,
            Cut::LineError,
            Cut::SessionLost,
        ];
        let failures = codes
            .map(OpenFailure::Code)
            .chain(refusals.map(OpenFailure::Refused))
            .chain(cuts.map(OpenFailure::Lost))
            .chain([Distrust::NotAsWanted, Distrust::Changed].map(OpenFailure::Untrusted))
            .chain([OpenFailure::TimedOut]);
        // What a set-up waits for.
        let waits = [
            (
                Kind::NoRegistration,
                "the modem does not report whether it is registered (AT+CREG?, AT+CGREG?, AT+CEREG?)",
            ),
            (Kind::NoRegistration, "the modem searches for a network"),
            (
                Kind::NoDataSession,
                "no data session: the modem refused to activate PDP context 1 (CME error 148): check",
            ),
            (
                Kind::SimFailed,
                "the SIM has refused the PIN of --sim-pin-file before, and it is not tried again: give it",
            ),
            (Kind::PortUnavailable, "still waiting for the port"),
        ];
        let name = "gateway-17.iot.customer-one.example.com:8883";
        let server: Server = name.parse().expect("a target");
        let failures = failures.map(|failure| (failure.kind(), cause(&failure)));
        for (id, cause) in failures.chain(waits.map(|(id, words)| (id, words.to_owned()))) {
            let account = account("127.0.0.1:54321", 12.3, &cause, &server, id);
            let line = format!("{TIME_AND_LEVEL}{account} [{id}]");
            assert!(line.chars().count() < 200, "{} characters: {line}", line.chars().count());
            assert!(line.contains("cannot connect: ") && !cause.is_empty(), "{line}");
            assert!(line.ends_with(&format!("; see: qssl-tunnel doctor {name} [{id}]")), "{line}");
            assert_eq!(line.matches(name).count(), 1, "once: {line}");
        }
    }

    #[test]
    fn a_long_cause_loses_its_last_clauses_or_words() {
        let cases = [
            ("the modem searches for a network", "the modem searches for a network"),
            ("the SIM requires a PIN: give --sim-pin-file", "the SIM requires a PIN"),
            ("the modem on /dev/ttyUSB2 does not answer", "the modem on /dev/ttyUSB2 does not…"),
        ];
        for (message, left) in cases {
            assert_eq!(shortened(message, 36), left);
        }
        assert_eq!(shortened(&"ä".repeat(300), 36).chars().count(), 36);
    }
}
