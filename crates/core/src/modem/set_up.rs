//! Carries out what the set-up (`setup/`) asks for: its commands and its effects on sockets, channels and contexts.

use std::time::{Duration, Instant};

use super::{Action, Modem, ModemEvent, Sharing};
use crate::at::{Command, CommandOutcome, CommandSet, SocketId, SslContextId};
use crate::channel::{Channel, Origin};
use crate::error::Kind;
use crate::failure::{Cut, Distrust, Failure, OpenFailure};
use crate::profile::CloseTime;
use crate::settings::{self, Authentication};
use crate::setup::ssl_context::{Reading, SslContext, likely_causes};
use crate::setup::{Given, SetUp, SetupEffect, SetupStep};
use crate::socket::Socket;

impl Modem {
    /// Lets the set-up do something that concerns this port, and carries out what follows from it.
    pub(super) fn set_up<T>(
        &mut self,
        port: Option<usize>,
        now: Instant,
        what: impl FnOnce(&mut SetUp, &Given<'_>) -> T,
    ) -> T {
        let (has_commander, is_asking) = (self.has_commander(), self.is_setting_up());
        let given = Given {
            settings: &self.settings,
            tunnels: &self.tunnels,
            port_name: port.and_then(|port| self.routing.name_of(port, &self.ports)),
            is_open: self.channels.iter().any(Channel::is_open),
            has_commander,
            is_asking,
        };
        let result = what(&mut self.setup, &given);
        self.follow_set_up(port, now);
        result
    }

    /// Carries out what follows from what the set-up did last.
    pub(super) fn follow_set_up(&mut self, port: Option<usize>, now: Instant) {
        while let Some(effect) = self.setup.poll_effect() {
            self.follow(effect, port, now);
        }
    }

    /// Whether a command of the set-up is in flight.
    pub(super) fn is_setting_up(&self) -> bool {
        self.channels.iter().any(|channel| channel.is_asking_for(|origin| origin == Origin::Session))
    }

    fn follow(&mut self, effect: SetupEffect, port: Option<usize>, now: Instant) {
        match effect {
            SetupEffect::Up => self.events.push_back(ModemEvent::Up),
            SetupEffect::GaveUp(failure) => self.events.push_back(ModemEvent::GaveUp(failure)),
            SetupEffect::Released => self.events.push_back(ModemEvent::Released),
            SetupEffect::TellTime => self.actions.push_back(Action::TellTime),
            SetupEffect::ForgetPin => {
                self.settings.sim_pin = None;
                self.actions.push_back(Action::RememberPin);
            }
            SetupEffect::MakeContexts => {
                let made = self.make_contexts();
                self.set_up(port, now, |setup, given| setup.contexts_made(given, made, now));
            }
            SetupEffect::Leftovers(leftovers) => {
                for id in SocketId::all() {
                    let ours = self.settings.sockets.contains(id.index())
                        && self.setup.profile().sockets.contains(id.index() as u32);
                    let open = CommandSet::ALL.into_iter().filter(|set| leftovers.contains(&(*set, id)));
                    if self.sockets[id.index()].found(ours, open) {
                        log::info!("socket {id} is still open in the module; closing it");
                    }
                }
            }
            SetupEffect::UrcsLeaveBy(None) => self.routing.leave_anywhere(),
            SetupEffect::UrcsLeaveBy(Some(name)) => {
                if let Some(port) = port {
                    self.urcs_leave_by(port, &name);
                }
            }
            SetupEffect::RefuseOpens(contexts) => {
                self.refuse_opens(|socket| socket.ssl().is_some_and(|ssl| contexts.contains(&ssl)), now);
            }
        }
    }

    /// The command of the set-up that is due now, if any.
    pub(super) fn setup_command(&mut self, port: usize, now: Instant) -> Option<Command> {
        if self.setup.begins(now) {
            self.take_next_settings();
        }
        self.set_up(Some(port), now, |setup, given| setup.command(given, now))
    }

    /// The attempt to set the modem up failed. `final_word`: another attempt cannot end differently.
    pub(super) fn session_failed(&mut self, failure: Failure, final_word: bool, now: Instant) {
        self.set_up(None, now, |setup, given| setup.failed(given, failure, final_word, now));
    }

    /// The session is gone: every stream is cut, and the set-up begins again at `step`.
    pub(super) fn session_lost(&mut self, cut: Cut, step: SetupStep, now: Instant) {
        if self.setup.is_ending() {
            return;
        }
        if self.setup.is_serving() {
            log::warn!("{cut}; every connection is reset");
            self.events.push_back(ModemEvent::Down);
        }
        for socket in SocketId::all() {
            self.cut(socket, cut);
            self.sockets[socket.index()].session_lost();
        }
        for channel in &mut self.channels {
            channel.disown();
        }
        let begins_anew = self.take_next_settings();
        self.setup.lost(step, begins_anew, now);
    }

    /// Begins the end: settings are put back, and the data session is deactivated if we activated it.
    pub(super) fn session_release(&mut self, now: Instant) {
        self.set_up(None, now, |setup, given| setup.release(given));
    }

    /// [`crate::Input::ForbidPin`].
    pub(crate) fn forbid_pin(&mut self) {
        self.settings.sim_pin = None;
        self.setup.pin_is_refused();
    }

    /// URCs have been set to leave by the port of this name, or by all; this one is asked. Where several channels share
    /// its line, they leave by the first.
    pub(super) fn urcs_leave_by(&mut self, port: usize, name: &str) {
        match self.ports[port].facts.sharing {
            Sharing::Shared => self.routing.leave_by_first_channel(name),
            Sharing::Alone | Sharing::Only | Sharing::Wanted => self.routing.leave_by(port, name),
        }
        self.setup.urcs_leave_by(name);
    }

    /// "cacertex" is one list for all SSL contexts: without contexts of other programs it is all ours.
    pub(super) fn owns_chain(&self) -> bool {
        self.settings.ssl_contexts == settings::Modem::default().ssl_contexts
    }

    /// How many bytes the certificates and keys of this tunnel have, which the module holds in memory besides.
    pub(crate) fn certificate_bytes(&self, tunnel: &settings::Tunnel) -> usize {
        let context = self.setup.contexts().iter().find(|context| context.fits(tunnel));
        context.map_or(0, |context| context.files.iter().map(|file| file.content.len()).sum())
    }

    /// The SSL context that has the settings of this tunnel, once there is one.
    pub fn ssl_context_of(&self, tunnel: &settings::Tunnel) -> Option<SslContextId> {
        self.setup.contexts().iter().find(|context| context.fits(tunnel)).map(|context| context.id)
    }

    /// What is likely wrong where TLS fails and TCP does not, with the settings of this tunnel.
    pub(crate) fn likely_causes(&self, tunnel: &settings::Tunnel) -> String {
        tunnel.tls().map_or(String::new(), |tls| likely_causes(tls, self.setup.profile()))
    }

    /// The line about settings of an SSL context that is due: of all of them while the session is set up, and then of
    /// those that a connection waits for.
    pub(super) fn context_command(&mut self) -> Option<(Command, Origin)> {
        if !matches!(self.setup.step(), SetupStep::Contexts | SetupStep::Up) {
            return None;
        }
        for index in 0..self.setup.contexts().len() {
            if self.setup.contexts()[index].stands() {
                continue;
            }
            if self.setup.step() == SetupStep::Up && !self.is_waited_for(index) {
                // A reading that is not through begins anew for the next connection.
                self.setup.contexts_mut()[index].becomes_unconfirmed();
                continue;
            }
            let Some((line, is_secret)) = self.setup.context_line(index) else { continue };
            let command = if is_secret { Command::secret_line(line) } else { Command::line(line) };
            return Some((command, Origin::Context(index)));
        }
        None
    }

    /// Whether a connection waits until it is known that the settings of this context are in effect, or is a
    /// stream that can only be trusted if they are.
    pub(super) fn is_waited_for(&self, index: usize) -> bool {
        let context = &self.setup.contexts()[index];
        let becomes_stream = |socket: &Socket| {
            socket.open_generation().is_some() && socket.mode() == Some(settings::Mode::Transparent)
        };
        let waits = |socket: &Socket| {
            socket.waits_for_context() || context.may_be_forgotten() && becomes_stream(socket)
        };
        !context.stands()
            && self.sockets.iter().any(|socket| socket.ssl() == Some(context.id) && waits(socket))
    }

    /// The answer to the command of [`Modem::context_command`].
    pub(super) fn context_answered(
        &mut self,
        index: usize,
        outcome: &CommandOutcome,
        lines: &[String],
        now: Instant,
    ) {
        let refusal = match outcome {
            CommandOutcome::Ok => None,
            CommandOutcome::Refused(refusal) => Some(refusal.to_string()),
            _ => Some("no OK".to_owned()),
        };
        let owns_chain = self.owns_chain();
        let reading = self.setup.context_answered(index, refusal.as_deref(), lines, owns_chain, now);
        match reading {
            Reading::Unfinished => {}
            Reading::InEffect => self.context_stands(index, now),
            Reading::Different(words) if self.setup.has_stood() => {
                log::warn!(
                    "{} has {words}: another program has changed it; writing it again",
                    self.setup.profile().name
                );
            }
            Reading::Different(words) => {
                log::info!("{} has {words}; writing it again", self.setup.profile().name)
            }
            Reading::Failed(why) => {
                let message = format!("{} {why}", self.setup.profile().name);
                self.context_failed(index, message, now);
            }
        }
    }

    /// The settings of this context are in effect: connections that were opened by them are given to their
    /// clients.
    fn context_stands(&mut self, index: usize, now: Instant) {
        let (ssl, present) = (self.setup.contexts()[index].id, self.setup.contexts()[index].generation());
        for id in SocketId::all() {
            let socket = &self.sockets[id.index()];
            let Some(generation) = socket.proving().filter(|_| socket.ssl() == Some(ssl)) else { continue };
            if generation == present {
                self.now_open(id, now);
            } else {
                // Its number is not used again before every channel has shown that nothing more comes of it.
                self.open_failed(id, OpenFailure::Untrusted(Distrust::Changed), now);
            }
        }
    }

    /// The settings of this context cannot be established: no client is served by it.
    fn context_failed(&mut self, index: usize, message: String, now: Instant) {
        let (ssl, serves) = (self.setup.contexts()[index].id, self.setup.is_serving());
        self.setup.contexts_mut()[index].start_again();
        if !serves {
            self.session_failed(Failure::new(Kind::SetUpFailed, message), false, now);
            return;
        }
        log::error!("{message}");
        self.refuse_opens(|socket| socket.ssl() == Some(ssl), now);
        self.setup.go_on_without_context();
    }

    /// Connections that have not been given to their clients never will be.
    pub(super) fn refuse_opens(&mut self, concerned: impl Fn(&Socket) -> bool, now: Instant) {
        for id in SocketId::all() {
            let socket = &self.sockets[id.index()];
            if socket.waits_for_context() && concerned(socket) {
                self.open_failed(id, OpenFailure::Untrusted(Distrust::NotAsWanted), now);
            }
        }
    }

    /// Gives every tunnel its SSL context, equal settings sharing one.
    fn make_contexts(&mut self) -> Result<(), Failure> {
        let ours: Vec<SslContextId> = SslContextId::all()
            .filter(|id| self.settings.ssl_contexts.contains(id.index()))
            .filter(|id| self.setup.profile().ssl_contexts.contains(id.index() as u32))
            .collect();
        self.check_numbers()?;
        let authorities = self.authorities();
        self.setup.contexts_mut().clear();
        for tunnel in &self.tunnels {
            let Some(tls) = tunnel.tls() else { continue };
            if self.setup.contexts().iter().any(|context| context.fits(tunnel)) {
                continue;
            }
            let Some(id) = ours.get(self.setup.contexts().len()) else {
                let message = format!(
                    "the tunnels need more than the {} SSL contexts of {}: give some the same TLS options, or widen \
                     --ssl-contexts",
                    ours.len(),
                    self.setup.profile().name
                );
                return Err(Failure::new(Kind::Usage, message));
            };
            let (scheme, timeout) = (tunnel.transport.scheme(), tunnel.limits.connect_timeout);
            let context = SslContext::new(*id, scheme, tls, timeout, self.setup.profile(), authorities)?;
            self.setup.contexts_mut().push(context);
        }
        self.warn_of_shortcomings();
        self.check_transparent_ports()
    }

    /// Whether the module has what `--sockets` and `--pdp-context` name.
    fn check_numbers(&self) -> Result<(), Failure> {
        let name = &self.setup.profile().name;
        let has = |id: &SocketId| {
            self.settings.sockets.contains(id.index())
                && self.setup.profile().sockets.contains(id.index() as u32)
        };
        if !SocketId::all().any(|id| has(&id)) {
            let message = format!("{name} has none of the connections of --sockets: widen it");
            return Err(Failure::new(Kind::Usage, message));
        }
        let pdp = self.settings.pdp.context.number();
        if !self.setup.profile().pdp_contexts.contains(pdp.into()) {
            let message = format!("{name} has no PDP context {pdp}: give --pdp-context a lower number");
            return Err(Failure::new(Kind::Usage, message));
        }
        Ok(())
    }

    /// Says what the module cannot do for these tunnels, once.
    fn warn_of_shortcomings(&mut self) {
        let all = self.shortcomings();
        for line in all.iter().filter(|line| !self.warned.contains(line)) {
            log::warn!("{line}");
        }
        self.warned = all;
    }

    fn shortcomings(&self) -> Vec<String> {
        let profile = self.setup.profile();
        let (module, mut all) = (&profile.name, Vec::new());
        for tunnel in &self.tunnels {
            let name = &tunnel.name;
            // That --insecure is in force was logged when it was read.
            match profile.close_time {
                CloseTime::UpTo(most) if tunnel.limits.close_timeout > Duration::from_secs(most.into()) => {
                    all.push(format!(
                        "{name}: {module} takes no longer than {most} s to close a connection; --close-timeout is \
                         limited to that"
                    ));
                }
                CloseTime::Never => all.push(format!(
                    "{name}: {module} cannot close a connection at once, so a client that breaks off may look to the \
                     server like one that ended in order"
                )),
                CloseTime::UpTo(_) | CloseTime::Unknown => {}
            }
            let authenticates =
                tunnel.tls().is_some_and(|tls| tls.authentication != Authentication::Insecure);
            if authenticates && !profile.checks_host_name() {
                all.push(format!(
                    "{name}: {module} does not compare the server's certificate with its name: any certificate of the \
                     given authority is accepted; use a private authority"
                ));
            }
        }
        all
    }
}
