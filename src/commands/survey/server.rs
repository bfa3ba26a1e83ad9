//! What only a connection shows. The server's certificate is not checked.

use std::time::{Duration, Instant};

use super::payload::Place;
use super::{Setting, Survey, Times, is_ok, is_refused, milliseconds};
use crate::commands::modem_access::{CLOSE_SECONDS, UNKNOWN_ERROR};
use qssl_core::Kind;
use qssl_core::at::Security;
use qssl_core::at::answers::{Answer as _, LastError, SocketState, SocketStatus};
use qssl_core::at::{AccessMode, Command, CommandSet, ResultCode, SocketId, SslContextId};
use qssl_core::modem::{
    Address, CommandOutcome, Failure, UserAnswer, activation, address_questions, deactivation,
};
use qssl_core::settings::Target;

impl Survey {
    /// Measures what connections to this server show.
    pub(super) fn server(&mut self, target: &Target) -> Result<(), Failure> {
        self.progress.step("connections");
        let Some(context) = self.spare else {
            return Err(Failure::new(Kind::Failed, "no SSL context is free"));
        };
        let Some(socket) = self.free_socket()? else {
            return Err(Failure::new(Kind::Failed, "no socket is free"));
        };
        self.session()?;
        for (key, wanted) in SETTINGS {
            self.want(context, key, wanted)?;
        }
        let (mut opens, mut closes) = (Vec::new(), Vec::new());
        for turn in 0..OPENS {
            if !self.can_afford() {
                break;
            }
            let begin = Instant::now();
            let code = self.open(socket, Security::Tls(context), target, AccessMode::Buffer)?;
            let close = self.close_of(socket);
            if code != 0 {
                // Some modules keep the socket of an open that failed.
                self.close_opened(&close)?;
                let message =
                    format!("{}:{} cannot be reached: {}", target.host, target.port, ResultCode(code));
                return Err(Failure::new(Kind::ConnectFailed, message));
            }
            opens.push(begin.elapsed());
            if turn == 0 {
                self.open_socket_habits(socket, context, target)?;
            }
            let begin = Instant::now();
            if is_ok(&self.close_opened(&close)?) {
                closes.push(begin.elapsed());
            }
            if turn == 0 {
                self.forgotten_context(context)?;
            }
        }
        let name = "AT+QSSLOPEN until its result, the server's time included";
        self.add_latency("open", opens, name);
        self.add_latency("close", closes, "AT+QSSLCLOSE, the server's time included");
        self.plain_socket(socket, target)?;
        self.failed_open(socket, context, target)?;
        let place = Place { socket, context, target };
        let first = self.undo.len();
        let paid = self.payload(place);
        if !self.has_rebooted {
            // A connection that was left in the middle still has the socket.
            self.put_back_from(first);
        }
        // A server that returns nothing can be verified all the same.
        if paid.is_ok() || matches!(paid, Err(Failure { kind: Kind::Failed, .. })) {
            self.verification(place)?;
        }
        paid?;
        self.put_back();
        Ok(())
    }

    /// Activates the PDP context, unless it is active.
    fn session(&mut self) -> Result<(), Failure> {
        let context = self.pdp;
        if self.has_session()? {
            self.left_out(
                "latencies.activation was left out: the PDP context was active already. If it is after each boot, the module \
                 has habits.context_active.",
            );
            return Ok(());
        }
        let begin = Instant::now();
        if !is_ok(&self.insist(activation(context))?) {
            let message = format!("PDP context {context} cannot be activated: qssl-tunnel doctor tells why");
            return Err(Failure::new(Kind::NoDataSession, message));
        }
        self.undo.push(deactivation(context).into());
        self.add_latency("activation", vec![begin.elapsed()], "AT+QIACT, once");
        Ok(())
    }

    /// Whether the PDP context is active.
    pub(super) fn has_session(&mut self) -> Result<bool, Failure> {
        for question in address_questions(self.pdp) {
            let answer = self.say(question)?;
            if is_ok(&answer) && Address::of(self.pdp, &answer.lines).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one more connection is within the budget.
    pub(super) fn can_afford(&mut self) -> bool {
        let spent = self.spent + CONNECTION_BYTES;
        if spent > self.budget {
            self.left_out("Connections were left out: --budget is spent.");
            return false;
        }
        self.spent = spent;
        true
    }

    /// Opens a connection. Returns the result code. Whatever it is, [`Survey::close_opened`] must follow; if the survey is cut
    /// off before, the connection is closed at the end.
    pub(super) fn open(
        &mut self,
        socket: SocketId,
        security: Security,
        target: &Target,
        mode: AccessMode,
    ) -> Result<u16, Failure> {
        self.conversation.forget_opens();
        let set = security.command_set();
        let close = match set {
            CommandSet::Ssl => self.close_of(socket),
            CommandSet::Ip => plain_close_of(socket),
        };
        if let Security::Tls(context) = security {
            self.renew_settings(context)?;
        }
        self.undo.push(close.into());
        let open = Command::Open {
            socket,
            pdp: self.pdp,
            security,
            host: target.host.clone(),
            port: target.port,
            mode,
            patience: OPEN_LIMIT,
        };
        let answer = self.insist(open)?;
        let code = match answer.outcome {
            Some(CommandOutcome::Ok) => {
                self.conversation.await_open(set, socket.index() as u8, OPEN_LIMIT)?
            }
            _ => {
                let reason = self.say("AT+QIGETERROR")?;
                Some(LastError::reason(&reason.lines).map_or(UNKNOWN_ERROR, |code| code.0))
            }
        };
        Ok(code.unwrap_or(ResultCode::TIMED_OUT.0))
    }

    /// Closes what [`Survey::open`] has opened, or may still be opening.
    pub(super) fn close_opened(&mut self, close: &Command) -> Result<UserAnswer, Failure> {
        let answer = self.close(close)?;
        self.undo.pop();
        Ok(answer)
    }

    pub(super) fn close_of(&self, socket: SocketId) -> Command {
        let timeout_seconds = self.profile.close_time.at_most(CLOSE_SECONDS);
        Command::Close { set: CommandSet::Ssl, socket, timeout_seconds }
    }

    pub(super) fn add_latency(&mut self, key: &str, times: Vec<Duration>, question: &str) {
        if let Some(Times { median, spread }) = Times::of(times) {
            self.module.add_latency(key, &milliseconds(median), &milliseconds(spread), question);
        }
    }

    /// What an open socket answers.
    fn open_socket_habits(
        &mut self,
        socket: SocketId,
        context: SslContextId,
        target: &Target,
    ) -> Result<(), Failure> {
        let state = self.say(format!("AT+QSSLSTATE={socket}"))?;
        if let Some(status) = SocketStatus::first(&state.lines)
            && let Some(port) = status.local_port
        {
            self.habit("local_port_zero", port == 0, "AT+QSSLSTATE of an open socket");
        }
        let most = self.profile.receive_max;
        let read = format!("AT+QSSLRECV={socket},{most}");
        let mut reads = Vec::new();
        for _ in 0..READS {
            let begin = Instant::now();
            if is_ok(&self.say(&read)?) {
                reads.push(begin.elapsed());
            }
        }
        self.add_latency("receive", reads, "AT+QSSLRECV of an open socket without data");
        self.accepted_habit("unread_query", &format!("AT+QSSLRECV={socket},0"))?;
        self.accepted_habit("long_reads", &format!("AT+QSSLRECV={socket},{}", LONGEST_READ + 1))?;
        let switch = |mode| Command::SwitchMode { socket, mode };
        let pushed = self.insist(switch(AccessMode::Push))?;
        if is_ok(&pushed) || is_refused(&pushed) {
            self.habit("mode_switch_refused", !is_ok(&pushed), "AT+QISWTMD to push mode");
            self.insist(switch(AccessMode::Buffer))?;
        }
        self.second_open(socket, context, target)
    }

    /// Whether a setting that is not the usual one is still there after the last connection of its context.
    fn forgotten_context(&mut self, context: SslContextId) -> Result<(), Failure> {
        let changed = |it: &&Setting| it.before.trim_matches('"') != it.wanted;
        let Some(Setting { key, wanted, .. }) = self.settings.iter().find(changed).cloned() else {
            return Ok(());
        };
        if let Some(now) = self.setting(key, context)? {
            let question = format!("AT+QSSLCFG=\"{key}\",{context} after the last connection has ended");
            self.habit("context_forgotten_on_last_close", now.trim_matches('"') != wanted, &question);
        }
        Ok(())
    }

    /// What an open on a socket in use is answered with.
    fn second_open(
        &mut self,
        socket: SocketId,
        context: SslContextId,
        target: &Target,
    ) -> Result<(), Failure> {
        let (pdp, host, port) = (self.pdp, &target.host, target.port);
        let line = format!("AT+QSSLOPEN={pdp},{context},{socket},\"{host}\",{port},0");
        self.conversation.forget_opens();
        let answer = self.insist(Command::patient_line(line, OPEN_LIMIT))?;
        let question = "AT+QSSLOPEN of an open socket";
        if is_refused(&answer) {
            self.habit("used_socket_refused_at_once", true, question);
        } else if is_ok(&answer)
            && self.conversation.await_open(CommandSet::Ssl, socket.index() as u8, OPEN_LIMIT)?
                == Some(ResultCode::IDENTITY_IN_USE.0)
        {
            self.habit("used_socket_refused_at_once", false, question);
        }
        Ok(())
    }

    /// Whether a plain connection is listed.
    fn plain_socket(&mut self, socket: SocketId, target: &Target) -> Result<(), Failure> {
        let before = self.say("AT+QISTATE")?;
        let is_used = SocketStatus::all(&before.lines).any(|it| it.id == socket);
        if !is_ok(&before) || is_used || !self.can_afford() {
            return Ok(());
        }
        if self.open(socket, Security::Plain, target, AccessMode::Buffer)? == 0 {
            let listed = self.say("AT+QISTATE")?;
            let is_listed = SocketStatus::all(&listed.lines).any(|it| it.id == socket);
            if is_ok(&listed) {
                self.habit("plain_sockets_unlisted", !is_listed, "AT+QISTATE with an open socket");
            }
        }
        self.close_opened(&plain_close_of(socket))?;
        Ok(())
    }

    /// What follows an open that fails, to a port where no server listens.
    fn failed_open(
        &mut self,
        socket: SocketId,
        context: SslContextId,
        target: &Target,
    ) -> Result<(), Failure> {
        if !self.can_afford() {
            return Ok(());
        }
        let closed = Target { port: CLOSED_PORT, ..target.clone() };
        let code = self.open(socket, Security::Tls(context), &closed, AccessMode::Buffer)?;
        let close = self.close_of(socket);
        if code == 0 || code == ResultCode::TIMED_OUT.0 {
            self.close_opened(&close)?;
            return Ok(());
        }
        let reason = self.say("AT+QIGETERROR")?;
        if is_ok(&reason) {
            let told = LastError::reason(&reason.lines).map(|told| told.0);
            self.habit(
                "urc_failures_forgotten",
                told != Some(code),
                "AT+QIGETERROR after an open that failed",
            );
        }
        let states = self.say("AT+QSSLSTATE")?;
        if is_ok(&states) {
            let is_kept =
                SocketStatus::all(&states.lines).any(|it| it.id == socket && it.state != SocketState::Free);
            self.habit("failed_open_keeps_socket", is_kept, "AT+QSSLSTATE after an open that failed");
        }
        self.close_opened(&close)?;
        Ok(())
    }
}

fn plain_close_of(socket: SocketId) -> Command {
    Command::Close { set: CommandSet::Ip, socket, timeout_seconds: Some(0) }
}

/// TLS settings that servers of today accept, without a check of the certificate.
const SETTINGS: [(&str, &str); 4] =
    [("seclevel", "0"), ("sslversion", "4"), ("ciphersuite", "0XFFFF"), ("sni", "1")];

/// How many TLS connections are opened, and how often one is read.
const OPENS: usize = 3;
const READS: usize = 20;

/// What a connection costs at most: a handshake with a long chain.
const CONNECTION_BYTES: u64 = 10_000;

/// Nothing listens here (TCPMUX).
const CLOSED_PORT: u16 = 1;

/// The manuals' most bytes of one AT+QSSLRECV.
pub const LONGEST_READ: usize = 1_500;

/// How long an open may take.
pub const OPEN_LIMIT: Duration = Duration::from_secs(60);
