//! Why an open failed, for `connect`: result code 566 stands for a refused connection and for every TLS failure
//! alike, so a plain TCP connection to the same server is tried, and closed at once.

use std::time::{Duration, Instant};

use super::{Client, ClientId, Relay};
use crate::at::{Command, ResultCode, SocketId};
use crate::counted;
use crate::error::Kind;
use crate::modem::{OpenFailure, UserAnswer, UserCommand};
use crate::settings::Server;

/// A plain TCP connection that is being tried for a client whose TLS connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The client, which still waits for the result.
    pub client: ClientId,
    /// The AT+QIOPEN.
    command: UserCommand,
    /// When it counts as failed.
    pub until: Instant,
}

impl Relay {
    /// Begins to find out why; `false` if that is not worth while.
    pub(super) fn begin_probe(&mut self, client: ClientId, failure: &OpenFailure, now: Instant) -> bool {
        if !self.settings.is_single || *failure != OpenFailure::Code(ResultCode::CONNECT_FAILED) {
            return false;
        }
        let is_tls_stream =
            |client: &&Client| client.tunnel().tls().is_some() && !client.tunnel().carries_datagrams();
        let Some(of) = self.get(client).filter(is_tls_stream) else {
            return false;
        };
        let (pdp, target) = (self.settings.modem.pdp.context, of.target());
        let open = format!("AT+QIOPEN={pdp},{PROBE_ID},\"TCP\",\"{}\",{},0,0", target.host, target.port);
        let until = now + PROBE_LIMIT;
        let command = self.modem.command(Command::line(open), now);
        self.probe = command.map(|command| Probe { client, command, until });
        self.probe.is_some()
    }

    /// The modem has answered AT+QIOPEN itself. Returns whether it was ours.
    pub(super) fn probe_answered(&mut self, id: UserCommand, answer: &UserAnswer, now: Instant) -> bool {
        let ours = self.probe.is_some_and(|probe| probe.command == id);
        if ours && answer.outcome != Some(crate::modem::CommandOutcome::Ok) {
            self.end_probe(false, now);
        }
        ours
    }

    /// The plain TCP connection came to be, or not. Returns whether it was ours.
    pub(super) fn probe_opened(&mut self, id: SocketId, result: u16, now: Instant) -> bool {
        let ours = id.index() == PROBE_ID && self.probe.is_some();
        if ours {
            self.modem.command(Command::line(format!("AT+QICLOSE={PROBE_ID},0")), now);
            self.end_probe(result == 0, now);
        }
        ours
    }

    /// The client is given the reason.
    pub(super) fn end_probe(&mut self, is_reachable: bool, now: Instant) {
        let Some(Probe { client: id, .. }) = self.probe.take() else { return };
        let (reason, status) = match is_reachable {
            true => ("the TLS handshake failed".to_owned(), Kind::TlsFailed),
            false => (cause(&OpenFailure::Code(ResultCode::CONNECT_FAILED)), Kind::ConnectFailed),
        };
        self.cannot_connect(id, &reason, status, now);
    }

    /// The client of an open that failed is reset, and told of in one line. What the tunnel's settings make likely is
    /// logged with `-v`.
    pub(super) fn cannot_connect(&mut self, id: ClientId, cause: &str, status: Kind, now: Instant) {
        let Some(client) = self.get(id) else { return };
        let server = client.server();
        if client.tunnel().tls().is_some() {
            log::debug!(
                "if TLS fails at {server}, then likely {}",
                self.modem.likely_causes(client.tunnel())
            );
        }
        let line = account(client.peer(), client.age(now).as_secs_f64(), cause, &server);
        self.reset_with(id, &line, status, now);
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

/// The line of a client that could not be connected, with the server named once.
fn account(peer: &str, seconds: f64, cause: &str, server: &Server) -> String {
    format!("{peer}: {seconds:.1} s: cannot connect: {cause}; see: qssl-tunnel doctor {server}")
}

/// Why an open failed, after "cannot connect": the manual's words for 566 would only repeat that. The advice is doctor's,
/// and the line stays short whatever the module calls its error.
pub(super) fn cause(failure: &OpenFailure) -> String {
    match failure {
        OpenFailure::Code(code) if *code == ResultCode::CONNECT_FAILED => {
            format!("{} {}", code.0, code.hint())
        }
        other => other.in_short().chars().take(CAUSE_CHARACTERS_MAX).collect(),
    }
}

/// The longest cause in the line of a failed connection.
const CAUSE_CHARACTERS_MAX: usize = 40;

/// The highest of the numbers of plain TCP connections, which few programs reach.
const PROBE_ID: usize = 11;

/// How long a plain TCP connection may take; TLS has been tried before it.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

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
        let name = "gateway-17.iot.customer-one.example.com:8883";
        let server: Server = name.parse().expect("a target");
        for failure in failures {
            let (cause, id) = (cause(&failure), failure.status());
            let account = account("127.0.0.1:54321", 12.3, &cause, &server);
            let line = format!("{TIME_AND_LEVEL}{account} [{id}]");
            assert!(line.len() < 200, "{} bytes: {line}", line.len());
            assert!(line.contains("cannot connect: ") && !cause.is_empty(), "{line}");
            assert!(line.ends_with(&format!("; see: qssl-tunnel doctor {name} [{id}]")), "{line}");
            assert_eq!(line.matches(name).count(), 1, "once: {line}");
        }
    }
}
