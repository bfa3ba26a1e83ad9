//! Why an open failed, for `connect`: result code 566 stands for a refused connection and for every TLS failure
//! alike, so a plain TCP connection to the same server is tried, and closed at once.

use std::time::{Duration, Instant};

use super::{Client, ClientId, Relay};
use crate::at::{Command, ResultCode};
use crate::error::Kind;
use crate::modem::{OpenFailure, UserAnswer, UserCommand};

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
        let Some(tunnel) = self.get(client).map(Client::tunnel) else {
            return false;
        };
        let (pdp, target) = (self.settings.modem.pdp.context, &tunnel.target);
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
    pub(super) fn probe_opened(&mut self, id: u8, result: u16, now: Instant) -> bool {
        let ours = id == PROBE_ID && self.probe.is_some();
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
        self.reset(id, &format!("cannot connect: {reason}{}", self.see_doctor(id)), status, now);
    }

    /// What to do where the module's memory does not suffice.
    pub(super) fn memory_advice(&self, id: ClientId) -> String {
        let bytes = self.get(id).map_or(0, |client| self.modem.certificate_bytes(client.tunnel()));
        match bytes {
            0 => String::new(),
            bytes => format!(
                "; the certificates for this tunnel have {bytes} bytes: give the one root that is needed with --ca \
                 FILE or --ca system:NAME"
            ),
        }
    }

    /// How to find the cause. What the tunnel's settings make likely is logged with `-v`.
    pub(super) fn see_doctor(&self, id: ClientId) -> String {
        let Some(client) = self.get(id) else { return String::new() };
        let target = &client.tunnel().target;
        log::debug!("if TLS fails at {target}, then likely {}", self.modem.likely_causes(client.tunnel()));
        format!("; see: qssl-tunnel doctor {target}")
    }
}

/// Why an open failed, after "cannot connect": the manual's words for 566 would only repeat that.
pub(super) fn cause(failure: &OpenFailure) -> String {
    match failure {
        OpenFailure::Code(code) if *code == ResultCode::CONNECT_FAILED => {
            format!("{} {}", code.0, code.hint())
        }
        other => other.to_string(),
    }
}

/// The highest of the numbers of plain TCP connections, which few programs reach.
const PROBE_ID: u8 = 11;

/// How long a plain TCP connection may take; TLS has been tried before it.
const PROBE_LIMIT: Duration = Duration::from_secs(20);
