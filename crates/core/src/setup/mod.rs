//! From a modem that answers to a data session that carries sockets: one step after another.
//!
//! ```text
//!  Down ─► identity, keys ─► SSL contexts made ─► shared ─► URC port ─► data format ─► glance
//!                                                                                       │
//!    ┌── not all is well, or not asked in this way ─────────────────────────────────────┤
//!    ▼                                                                      all is well ▼
//!  SIM, PIN ─► registration ─► leftovers ────────────────────────────────────► PDP context
//!                                                                   not active │         │ active
//!                                                                              ▼         │
//!                                    other access point: tear-down ─► activation, address │
//!                                                                              │         │
//!   Up ◄── SSL contexts written ◄── files ◄── NTP, clock ◄── DNS ◄── MQTT ◄── SMS ◄──────┘
//!
//!  any ── failed ──► Failed ──── pause ───► identity     any ── session lost ──► SIM or Down
//!  Up ── other tunnels ──► files                           any ── release ──► restore, deactivation ─► Ended
//! ```
//! Each step is one command; its answer decides the next. Nothing here waits: a step that must be repeated
//! later sets `pause`. Here are the steps and their order; `network`, `clock` and `files` know what the longer
//! answers mean, `outcome` how the whole comes out.

mod clock;
mod files;
mod found;
mod network;
mod outcome;
pub mod ssl_context;
mod step;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::at::answers::{Answer, Clock, ContextAddress, LastError, PdpContext, Registration, SimState};
use crate::at::{Command, CommandOutcome, CommandSet, Line, PdpContextId, Refusal, SocketId, SslContextId};
use crate::channel;
use crate::counted;
use crate::error::Kind;
use crate::failure::Failure;
use crate::profile::{Profile, QUESTIONS};
use crate::recovery::Backoff;
use crate::settings::{self, Mode};
use clock::NetworkTime;
use files::{Files, LateChange};
use found::{FORMAT_QUESTIONS, Format, Found, SHARED};
use network::{Activation, Pin};
use ssl_context::{Joins, Reading, SslContext};

pub use clock::{CLOCK_TOLERANCE_SECONDS, ClockFinding, PLAUSIBLE_UNIX_SECONDS};
pub use found::Texts;
pub use network::{
    PIN_ATTEMPTS, PIN_ATTEMPTS_MIN, REGISTRATION, access_point_line, activation, address_questions,
    deactivation,
};
pub use step::SetupStep;

/// How far the data session is.
#[derive(Debug)]
pub struct SetUp {
    /// The step whose command is due or in flight.
    step: SetupStep,
    /// The step whose command left last: an answer to anything else comes too late.
    asked: SetupStep,
    /// What the step that is due waits for.
    pause: Pause,
    /// The address that the network gave; a session with another address is another session.
    address: Option<Address>,
    /// Who activated the PDP context.
    activation: Activation,
    /// The reason for waiting that was logged last: it is logged once.
    said: Option<Failure>,
    /// Whether there is one.
    session: Session,
    /// Since when there has been no session.
    down_since: Instant,
    /// Failed attempts in a row.
    failures: u32,
    /// The pause between two of them.
    backoff: Backoff,
    /// The files in the modem, while they are compared and stored.
    files: Files,
    /// Changes of files that were given up, and may still be carried out.
    late_changes: Vec<LateChange>,
    /// When their bytes were compared.
    compared_at: Option<Instant>,
    /// Seconds since 1970 by the host's clock, and when that was so.
    host_clock: Option<(i64, Instant)>,
    /// What the SIM has shown of the PIN that was given.
    pin: Pin,
    /// When the host's clock is looked at for a jump.
    look_at_host_clock: Option<Instant>,
    /// The result of the network's time service: 0, or the reason why it did not set the clock.
    network_time: Option<NetworkTime>,
    /// The greatest of the answers for the services that were asked about so far.
    registration: Option<Registration>,
    /// The service that the modem was registered for, by its place in [`REGISTRATION`].
    service: usize,
    /// A context of ours that is active must be deactivated: no traffic gets through.
    rebuild: bool,
    /// Whether it must be confirmed.
    confirmation: Confirmation,
    /// What the modem's shared settings were.
    found: Found,
    /// Whether they may have been changed since.
    format: Format,
    /// Whether several TLS settings go into one line, until the module has shown that this does not work.
    joins: Joins,
    /// Steps whose command was not answered since it last was, and how often.
    unanswered: Vec<(SetupStep, u32)>,
    /// What this module can do, as far as it has reported.
    profile: Profile,
    /// The SSL contexts of the tunnels.
    contexts: Vec<SslContext>,
    effects: VecDeque<SetupEffect>,
}

/// What the set-up goes by and does not own.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What is wanted of the modem.
    pub settings: &'a settings::Modem,
    /// What is wanted of its connections.
    pub tunnels: &'a [Arc<settings::Tunnel>],
    /// What the module calls the port that it is asked by, where that is known.
    pub port_name: Option<&'a str>,
    /// A port is open.
    pub is_open: bool,
    /// A channel takes commands.
    pub has_commander: bool,
    /// A command of the set-up is in flight.
    pub is_asking: bool,
}

impl Given<'_> {
    /// Which sockets are open? Of plain ones only where tunnels have such.
    fn leftover_questions(&self) -> &'static str {
        match settings::Transport::any_is_plain(self.tunnels) {
            true => "+QSSLSTATE;+QISTATE?",
            false => "+QSSLSTATE",
        }
    }

    /// The first step of activating the PDP context.
    fn activation_step(&self, after_tear_down: bool) -> SetupStep {
        match self.settings.pdp.apn {
            Some(_) => SetupStep::Apn { after_tear_down },
            None => SetupStep::Activate { after_tear_down },
        }
    }
}

/// What follows from a step, and is done by others.
#[derive(Debug)]
pub enum SetupEffect {
    /// Sockets can be opened.
    Up,
    /// The attempt failed, and there is no other.
    GaveUp(Failure),
    /// The modem is left as it was found.
    Released,
    /// The host's clock is asked for.
    TellTime,
    /// The SIM has refused the PIN: neither this process nor the next one tries it again.
    ForgetPin,
    /// It is known what the module can do: the SSL contexts are to be made, and [`SetUp::contexts_made`]
    /// called.
    MakeContexts,
    /// These numbers are in use in the modem, each in this set.
    Leftovers(Vec<(CommandSet, SocketId)>),
    /// URCs leave by the port of this name, or wherever the module has them leave.
    UrcsLeaveBy(Option<String>),
    /// Opens that wait for one of these contexts are refused.
    RefuseOpens(Vec<SslContextId>),
}

/// The address that the network gave, by the question that the module answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// AT+QIACT?
    Listed(String),
    /// AT+CGPADDR, where that is refused
    Asked(String),
}

impl Address {
    /// The address in this context, by the lines of either question for it.
    pub fn of(context: PdpContextId, lines: &[String]) -> Option<Address> {
        let listed = PdpContext::address_of(context, lines).map(|it| Address::Listed(it.to_owned()));
        listed.or_else(|| ContextAddress::address_of(context, lines).map(|it| Address::Asked(it.to_owned())))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Address::Listed(address) | Address::Asked(address) => f.write_str(address),
        }
    }
}

/// Whether there is a data session in which sockets can be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// There was none since the start, with this modem.
    None,
    /// There was one.
    Lost,
    /// There is. Files and TLS settings of further tunnels may be written meanwhile: then the step is not `Up`.
    Stands,
}

impl Session {
    /// There is none any more.
    fn ends(&mut self) {
        if *self == Session::Stands {
            *self = Session::Lost;
        }
    }
}

/// What a step that is due waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// Nothing.
    None,
    /// This time.
    Until(Instant),
    /// This time, or an answer of the modem, which was silent.
    UntilAnswer(Instant),
}

impl Pause {
    /// When it is over, whatever happens.
    fn end(self) -> Option<Instant> {
        match self {
            Pause::None => None,
            Pause::Until(end) | Pause::UntilAnswer(end) => Some(end),
        }
    }
}

/// Whether a data session that is in use may be gone, and is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Nothing contradicts it.
    Settled,
    /// An open was refused because there was none: AT+QIACT? is due.
    Due,
    /// It is in flight.
    Asked,
}

impl SetUp {
    /// No session yet.
    pub fn new(wanted: bool, now: Instant) -> Self {
        SetUp {
            step: if wanted { SetupStep::Down } else { SetupStep::Unwanted },
            asked: SetupStep::Unwanted,
            pause: Pause::None,
            address: None,
            activation: Activation::Unknown,
            said: None,
            session: Session::None,
            down_since: now,
            failures: 0,
            backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
            files: Files::default(),
            late_changes: Vec::new(),
            compared_at: None,
            host_clock: None,
            pin: Pin::Untried,
            look_at_host_clock: None,
            network_time: None,
            registration: None,
            service: 0,
            rebuild: false,
            found: Found::default(),
            format: Format::Read { at: None },
            confirmation: Confirmation::Settled,
            joins: Joins { writing: true, asking: true },
            unanswered: Vec::new(),
            profile: Profile::unknown(),
            contexts: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// What follows from what happened.
    pub fn poll_effect(&mut self) -> Option<SetupEffect> {
        self.effects.pop_front()
    }

    /// What this module can do.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The same, while it is being learnt.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// The SSL contexts of the tunnels.
    pub fn contexts(&self) -> &[SslContext] {
        &self.contexts
    }

    /// The same, for what becomes of them.
    pub fn contexts_mut(&mut self) -> &mut Vec<SslContext> {
        &mut self.contexts
    }

    /// The line about settings of this context that is due, and whether it has a secret.
    pub fn context_line(&mut self, index: usize) -> Option<(String, bool)> {
        self.contexts[index].next_line(self.joins)
    }

    /// The answer to that line.
    pub fn context_answered(
        &mut self,
        index: usize,
        refusal: Option<&str>,
        lines: &[String],
        owns_chain: bool,
        now: Instant,
    ) -> Reading {
        match self.contexts.get_mut(index) {
            Some(context) => context.answered(refusal, lines, &mut self.joins, owns_chain, now),
            None => Reading::Unfinished,
        }
    }

    /// That line was given up, for whatever reason.
    pub fn context_interrupted(&mut self, index: usize) {
        if let Some(context) = self.contexts.get_mut(index) {
            context.interrupted();
        }
    }

    /// That line was not answered. Returns whether it counts as refused from now on.
    pub fn context_unanswered(&mut self, index: usize) -> bool {
        self.contexts.get_mut(index).is_some_and(|context| context.unanswered() >= UNANSWERED_MAX)
    }

    /// Settings of a context cannot be established. If the set-up was waiting for them, it goes on with the others.
    pub fn go_on_without_context(&mut self) {
        if self.step == SetupStep::Contexts {
            self.go(SetupStep::Up);
        }
    }

    /// Other tunnels have other contexts, whose files are to be looked after.
    pub fn contexts_changed(&mut self) {
        self.go(SetupStep::ListFiles);
    }

    /// There are tunnels now: the set-up begins, if it was not wanted until then.
    pub fn is_wanted(&mut self, now: Instant) {
        if self.step == SetupStep::Unwanted {
            self.down_since = now;
            self.go(SetupStep::Down);
        }
    }

    /// The address that the network gave.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Whether the session must be confirmed.
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// Something contradicts the session.
    pub fn becomes_unconfirmed(&mut self) {
        if self.confirmation == Confirmation::Settled {
            self.confirmation = Confirmation::Due;
        }
    }

    /// It is asked whether the session is active.
    pub fn confirmation_asked(&mut self) {
        if self.confirmation == Confirmation::Due {
            self.confirmation = Confirmation::Asked;
        }
    }

    /// The answer is lost.
    pub fn confirmation_unanswered(&mut self) {
        if self.confirmation == Confirmation::Asked {
            self.confirmation = Confirmation::Due;
        }
    }

    /// It is answered.
    pub fn confirmed(&mut self) {
        self.confirmation = Confirmation::Settled;
    }

    /// There was a session since the start, with this modem.
    pub fn has_stood(&self) -> bool {
        self.session != Session::None
    }

    /// Whether it puts back what it found, or has done so.
    pub fn is_ending(&self) -> bool {
        matches!(self.step, SetupStep::Ended | SetupStep::Deactivate)
    }

    /// A data session of ours that is reported active is to be torn down: no traffic gets through.
    pub fn rebuild_is_due(&mut self) {
        self.rebuild = true;
    }

    /// The modem answers: where it was silent and nothing else was wrong, there is nothing more to wait for.
    pub fn modem_answers(&mut self) {
        if matches!(self.pause, Pause::UntilAnswer(_)) {
            self.pause = Pause::None;
        }
    }

    /// What the pauses between attempts are drawn from.
    pub fn set_seed(&mut self, seed: u64) {
        self.backoff.set_seed(seed);
    }

    /// The host's clock is being asked for.
    pub fn host_clock_asked(&mut self) {
        self.look_at_host_clock = None;
    }

    /// What was found in the modem.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The module has sent something that is about others.
    pub fn others_said(&mut self, line: &str) {
        self.found.others_said(line, &self.profile.name);
    }

    /// Whether an attempt begins now.
    pub fn begins(&self, now: Instant) -> bool {
        matches!(self.step, SetupStep::Down | SetupStep::Failed)
            && self.pause.end().is_none_or(|time| time <= now)
    }

    /// Which step is due or in flight.
    pub fn step(&self) -> SetupStep {
        self.step
    }

    /// Whether sockets can be opened.
    pub fn is_up(&self) -> bool {
        self.step == SetupStep::Up
    }

    /// Whether sockets may be open.
    pub fn is_serving(&self) -> bool {
        self.session == Session::Stands
    }

    /// Whether there is a data session that can be lost.
    pub fn has_address(&self) -> bool {
        self.is_serving()
            || self.address.is_some()
            || matches!(self.step, SetupStep::Address | SetupStep::OtherAddress)
    }

    /// Why the set-up waits, if it does.
    pub fn reason_for_waiting(&self) -> Option<&Failure> {
        self.said.as_ref().filter(|_| self.pause != Pause::None)
    }

    /// When the present step is due, if that is in the future.
    pub fn deadline(&self) -> Option<Instant> {
        self.pause.end().or(self.format.due().filter(|_| self.is_up()))
    }

    /// The modem has rebooted, and no PDP context is active any more.
    pub fn context_gone(&mut self) {
        self.unanswered.clear();
        self.activation.context_gone();
        self.found.forget();
    }

    /// The host's clock, in seconds since 1970.
    pub fn set_host_clock(&mut self, unix_seconds: i64, now: Instant) {
        self.host_clock = Some((unix_seconds, now));
    }

    /// Seconds since 1970 now, where the host's clock is plausible.
    fn unix_seconds(&self, now: Instant) -> Option<i64> {
        self.host_seconds(now).filter(|present| PLAUSIBLE_UNIX_SECONDS.contains(present))
    }

    /// What the host's clock should show now, by what it showed before.
    fn host_seconds(&self, now: Instant) -> Option<i64> {
        let (seconds, at) = self.host_clock?;
        let passed = now.saturating_duration_since(at).as_secs();
        seconds.checked_add(i64::try_from(passed).ok()?)
    }

    /// The command of this step was not answered. Returns how often in a row.
    fn missed(&mut self, step: SetupStep) -> u32 {
        match self.unanswered.iter_mut().find(|(missed, _)| *missed == step) {
            Some((_, times)) => {
                *times = times.saturating_add(1);
                *times
            }
            None => {
                self.unanswered.push((step, 1));
                1
            }
        }
    }

    /// Whether this module does not answer the command of a step.
    fn never_answers(&self, step: SetupStep) -> bool {
        self.unanswered.iter().any(|(missed, times)| *missed == step && *times >= UNANSWERED_MAX)
    }

    /// The command in flight has its answer.
    pub fn has_answered(&mut self) {
        let asked = self.asked;
        self.unanswered.retain(|(step, _)| *step != asked);
    }

    fn go(&mut self, step: SetupStep) {
        self.step = step;
        self.pause = Pause::None;
    }

    fn wait(&mut self, reason: Failure, until: Instant) {
        if self.said.as_ref() != Some(&reason) {
            log::info!("waiting: {}", reason.message);
            self.said = Some(reason);
        }
        self.pause = Pause::Until(until);
    }

    // The steps.

    /// The command that is due now, if any.
    pub fn command(&mut self, given: &Given<'_>, now: Instant) -> Option<Command> {
        let command = self.next_command(given, now)?;
        self.asked = self.step;
        Some(command)
    }

    fn next_command(&mut self, given: &Given<'_>, now: Instant) -> Option<Command> {
        if self.pause.end().is_some_and(|time| time > now) {
            return None;
        }
        self.pause = Pause::None;
        let step = self.step;
        if step.is_optional() && self.never_answers(step) {
            self.skip_step(given, now);
            return match self.step == step {
                true => None,
                false => self.next_command(given, now),
            };
        }
        let pdp = &given.settings.pdp;
        let context = pdp.context;
        let line = |text: String| Some(Command::line(text));
        match self.step {
            SetupStep::Down | SetupStep::Failed => {
                self.go(SetupStep::Identity);
                self.network_time = None;
                self.files = Files::default();
                self.joins = Joins { writing: true, asking: true };
                self.effects.push_back(SetupEffect::TellTime);
                line("ATI".into())
            }
            SetupStep::Identity => line("ATI".into()),
            SetupStep::Model => line("AT+CGMM;+CGMR".into()),
            SetupStep::Keys { alone: None } => line(format!("AT{}", QUESTIONS.join(";"))),
            SetupStep::Keys { alone: Some(index) } => line(format!("AT{}", QUESTIONS[index])),
            SetupStep::UrcPort { all_refused } => {
                line(format!("AT+QURCCFG=\"urcport\",\"{}\"", self.first_urc_port(given, all_refused)))
            }
            SetupStep::Shared { alone } => line(format!("AT{}", one_or_all(&SHARED, alone))),
            SetupStep::DataFormat { alone } => {
                line(format!("AT{}", one_or_all(&self.found.data_format(), alone)))
            }
            SetupStep::LookAtFormat { alone } => line(format!("AT{}", one_or_all(&FORMAT_QUESTIONS, alone))),
            SetupStep::Restore { alone } => line(format!("AT{}", one_or_all(&self.found.lines(), alone))),
            SetupStep::Messages => line("AT+CNMI?".into()),
            SetupStep::KeepMessages(reports) => line(self.found.keep_messages(reports)?),
            SetupStep::Mqtt => line("AT+QMTCONN?".into()),
            SetupStep::Glance => line(format!("AT+CPIN?;+CEREG?;{};+QIACT?", given.leftover_questions())),
            SetupStep::Sim => line("AT+CPIN?".into()),
            SetupStep::PinAttempts(index) => line(PIN_ATTEMPTS[index].into()),
            SetupStep::EnterPin { attempts } => {
                let pin = given.settings.sim_pin.as_ref()?;
                self.pin_is_entered(attempts);
                let text = format!("AT+CPIN=\"{}\"", pin.0);
                Some(Command::Line(Line { text, patience: Some(PIN_WAIT), secret: true }))
            }
            SetupStep::Registration(index) => line(REGISTRATION[index].into()),
            SetupStep::Leftovers => line(format!("AT{}", given.leftover_questions())),
            SetupStep::PdpState | SetupStep::Address => line(address_questions(context)[0].clone()),
            SetupStep::OtherAddress => line(address_questions(context)[1].clone()),
            // The answer has the password in it.
            SetupStep::ActiveApn => Some(Command::secret_line(format!("AT+QICSGP={context}"))),
            SetupStep::Apn { .. } => Some(Command::Line(access_point_line(pdp))),
            SetupStep::Activate { .. } => Some(activation(context)),
            SetupStep::ActivationRefused => line("AT+QIGETERROR".into()),
            SetupStep::TearDown | SetupStep::Deactivate => Some(deactivation(context)),
            SetupStep::Dns => {
                let addresses: Vec<_> = pdp.dns.iter().map(|address| format!("\"{address}\"")).collect();
                line(format!("AT+QIDNSCFG={context},{}", addresses.join(",")))
            }
            SetupStep::Ntp => {
                let server = given.settings.ntp.as_ref()?;
                if self.network_time == Some(NetworkTime::Awaited) {
                    // Its time is up.
                    log::warn!("the time server {server} of --ntp did not answer");
                    self.go(SetupStep::Clock);
                    return line("AT+CCLK?".into());
                }
                self.network_time = Some(NetworkTime::Awaited);
                Some(Command::patient_line(format!("AT+QNTP={context},\"{server}\""), NTP_WAIT))
            }
            SetupStep::Clock | SetupStep::LookAtClock => line("AT+CCLK?".into()),
            SetupStep::SetClock => {
                let clock = self.unix_seconds(now).and_then(Clock::at)?;
                line(format!("AT+CCLK=\"{clock}\""))
            }
            SetupStep::ListFiles => line("AT+QFLST=\"*\"".into()),
            SetupStep::Space => line("AT+QFLDS=\"UFS\"".into()),
            SetupStep::DeleteFile => {
                let name = self.files.wrong.first()?;
                line(format!("AT+QFDEL=\"{name}\""))
            }
            SetupStep::Compare => {
                let file = self.files.unread.first()?;
                Some(Command::Download { name: file.name.clone(), size: file.content.len() })
            }
            SetupStep::Upload => {
                let file = self.files.missing.first()?;
                log::info!(
                    "uploading {} to the modem ({})",
                    file.source,
                    counted(file.content.len(), "byte")
                );
                Some(Command::Upload { name: file.name.clone(), content: file.content.clone() })
            }
            SetupStep::Unwanted | SetupStep::Contexts | SetupStep::Up | SetupStep::Ended => None,
        }
    }

    /// The module does not answer the command of this step: as if it had refused it.
    pub(super) fn skip_step(&mut self, given: &Given<'_>, now: Instant) {
        self.asked = self.step;
        self.answered(given, CommandOutcome::Refused(Refusal::Plain), channel::Answer::default(), now);
    }

    /// The answer to the command of [`SetUp::command`].
    pub(super) fn answered(
        &mut self,
        given: &Given<'_>,
        outcome: CommandOutcome,
        answer: channel::Answer,
        now: Instant,
    ) {
        let lines = answer.lines;
        if self.asked != self.step {
            return;
        }
        let refused = match &outcome {
            CommandOutcome::Refused(refusal) => Some(refusal.to_string()),
            _ => None,
        };
        match self.step {
            SetupStep::Identity => {
                self.profile.learn_identity(&lines);
                match self.profile.identity_is_incomplete() {
                    true => self.go(SetupStep::Model),
                    false => self.identified(given, now),
                }
            }
            SetupStep::Model => {
                if refused.is_none() {
                    self.profile.learn_identity(&lines);
                }
                self.identified(given, now);
            }
            SetupStep::Keys { alone: None } if refused.is_some() => {
                self.go(SetupStep::Keys { alone: Some(0) });
            }
            SetupStep::Keys { alone: Some(index) } if index + 1 < QUESTIONS.len() => {
                self.profile.learn_keys(&lines);
                self.go(SetupStep::Keys { alone: Some(index + 1) });
            }
            SetupStep::Keys { .. } => {
                self.profile.learn_keys(&lines);
                self.effects.push_back(SetupEffect::MakeContexts);
            }
            SetupStep::Shared { alone } => {
                self.found.learn(&lines);
                // A command that is never answered holds up the others for long.
                let is_refused = refused.is_some() && !self.never_answers(SetupStep::Shared { alone: None });
                match next_alone(alone, is_refused, SHARED.len()) {
                    Some(index) => self.go(SetupStep::Shared { alone: Some(index) }),
                    None => {
                        self.format = Format::Read { at: Some(now) };
                        self.go(SetupStep::UrcPort { all_refused: false });
                    }
                }
            }
            SetupStep::UrcPort { all_refused } => {
                let name = self.first_urc_port(given, all_refused);
                if refused.is_some() && name == "all" {
                    return self.go(SetupStep::UrcPort { all_refused: true });
                }
                // A module without the setting has one port only.
                let name = Some(name).filter(|_| refused.is_none());
                self.effects.push_back(SetupEffect::UrcsLeaveBy(name));
                self.go(match self.found.data_format().is_empty() {
                    true => SetupStep::Glance,
                    false => {
                        let is_mute = self.never_answers(SetupStep::Shared { alone: None });
                        SetupStep::DataFormat { alone: is_mute.then_some(0) }
                    }
                });
            }
            SetupStep::DataFormat { alone } => {
                let count = self.found.data_format().len();
                match next_alone(alone, refused.is_some(), count) {
                    Some(index) => self.go(SetupStep::DataFormat { alone: Some(index) }),
                    None => {
                        self.found.data_format_set();
                        self.go(if self.is_serving() { SetupStep::Up } else { SetupStep::Glance });
                    }
                }
            }
            SetupStep::LookAtFormat { alone } => self.format_answered(alone, refused.is_some(), &lines, now),
            SetupStep::Messages => self.messages_answered(given, &lines),
            SetupStep::KeepMessages(reports) => self.messages_kept(given, reports, refused.is_some()),
            SetupStep::Mqtt => self.mqtt_answered(given, &lines),
            SetupStep::Glance => {
                let has_sim = SimState::all(&lines).any(|state| state == SimState::Ready);
                let is_registered = Registration::first(&lines).is_some_and(Registration::is_registered);
                if has_sim {
                    self.pin_was_right();
                }
                if refused.is_none() && has_sim && is_registered {
                    self.service = 0;
                    self.leftovers(&lines);
                    self.pdp_state_answered(given, &lines);
                } else {
                    // Something is not as it should be, or not asked in this way: one question at a time
                    // shows which.
                    self.go(SetupStep::Sim);
                }
            }
            SetupStep::Sim => self.sim_answered(given, &outcome, &lines, now),
            SetupStep::PinAttempts(index) => self.pin_attempts_answered(given, index, &lines, now),
            SetupStep::EnterPin { .. } => match refused {
                None => {
                    self.pin_was_right();
                    self.go(SetupStep::Sim);
                }
                Some(refusal) => self.pin_was_refused(given, &refusal, now),
            },
            SetupStep::Registration(index) => self.registration_answered(given, index, &lines, now),
            SetupStep::Leftovers => {
                self.leftovers(&lines);
                self.go(SetupStep::PdpState);
            }
            SetupStep::PdpState => self.pdp_state_answered(given, &lines),
            SetupStep::ActiveApn => self.active_apn_answered(given, &lines),
            SetupStep::Apn { after_tear_down } => match refused {
                None => self.go(SetupStep::Activate { after_tear_down }),
                Some(refusal) => {
                    let message = format!("the modem refused the APN settings: {refusal}");
                    self.failed(given, Failure::new(Kind::NoDataSession, message), false, now);
                }
            },
            SetupStep::Activate { after_tear_down } => match refused {
                None => {
                    self.activation.activated();
                    self.go(SetupStep::Address);
                }
                // ERROR also means that it is active already, or claims to be.
                Some(_) if !after_tear_down => self.go(SetupStep::TearDown),
                Some(_) if outcome == CommandOutcome::Refused(Refusal::Plain) => {
                    self.go(SetupStep::ActivationRefused);
                }
                Some(refusal) => self.activation_refused(given, &refusal, now),
            },
            SetupStep::ActivationRefused => {
                let reason = LastError::reason(&lines);
                let reason = reason.map_or("ERROR".to_owned(), |code| code.to_string());
                self.activation_refused(given, &reason, now);
            }
            SetupStep::TearDown => self.go(given.activation_step(true)),
            SetupStep::Address if refused.is_some() => self.go(SetupStep::OtherAddress),
            SetupStep::Address | SetupStep::OtherAddress => {
                match Address::of(given.settings.pdp.context, &lines) {
                    Some(address) => {
                        log::info!("data session up, address {address}");
                        self.address = Some(address);
                        self.go(SetupStep::Messages);
                    }
                    // It was activated, and where that is not so every open is refused.
                    None if self.step == SetupStep::OtherAddress => {
                        log::info!(
                            "data session up; the module reports its address neither to AT+QIACT? nor to AT+CGPADDR"
                        );
                        self.go(SetupStep::Messages);
                    }
                    None => {
                        let message = format!(
                            "no data session: PDP context {} was activated and has no address",
                            given.settings.pdp.context
                        );
                        self.failed(given, Failure::new(Kind::NoDataSession, message), false, now);
                    }
                }
            }
            SetupStep::Dns => {
                if let Some(refusal) = refused {
                    log::warn!("the modem refused the addresses of --dns: {refusal}");
                }
                self.go_or_skip(given, SetupStep::Ntp);
            }
            SetupStep::Ntp => match (refused, self.network_time, &given.settings.ntp) {
                (None, Some(NetworkTime::Awaited), Some(server)) => {
                    let reason = format!("the time from {server} has not come");
                    self.wait(Failure::new(Kind::Failed, reason), now + NTP_RESULT_WAIT);
                }
                (Some(refusal), ..) => {
                    log::warn!("the modem refused --ntp: {refusal}");
                    self.network_time = None;
                    self.go(SetupStep::Clock);
                }
                _ => self.go(SetupStep::Clock),
            },
            SetupStep::Clock | SetupStep::LookAtClock => self.clock_answered(given, &lines, now),
            SetupStep::SetClock => {
                if let Some(refusal) = refused {
                    log::warn!(
                        "the modem refused to have its clock set ({refusal}); certificates may look expired"
                    );
                }
                self.go_or_skip(given, SetupStep::ListFiles);
            }
            SetupStep::ListFiles => self.files_listed(&lines, now),
            SetupStep::Compare => self.compared(Some(&outcome), &answer.file),
            SetupStep::DeleteFile => self.file_deleted(given, refused, now),
            SetupStep::Space => self.space_answered(given, &lines, now),
            SetupStep::Upload => self.uploaded(&outcome, &lines),
            SetupStep::Restore { alone } => {
                let count = self.found.lines().len();
                match next_alone(alone, refused.is_some(), count) {
                    Some(index) => self.go(SetupStep::Restore { alone: Some(index) }),
                    None => self.restored(given),
                }
            }
            SetupStep::Deactivate => {
                self.activation.context_gone();
                self.go(SetupStep::Ended);
                self.effects.push_back(SetupEffect::Released);
            }
            SetupStep::Unwanted
            | SetupStep::Down
            | SetupStep::Failed
            | SetupStep::Contexts
            | SetupStep::Up
            | SetupStep::Ended => {}
        }
    }

    /// The module has reported what it is, as far as it does.
    fn identified(&mut self, given: &Given<'_>, now: Instant) {
        match self.profile.other_commands() {
            None => self.go(SetupStep::Keys { alone: None }),
            Some(message) => self.failed(given, Failure::new(Kind::SetUpFailed, message), true, now),
        }
    }

    /// The SSL contexts are made, or cannot be.
    pub fn contexts_made(&mut self, given: &Given<'_>, made: Result<(), Failure>, now: Instant) {
        match made {
            Ok(()) => self.go(SetupStep::Shared { alone: None }),
            // What worked before may have been garbled now.
            Err(failure) => self.failed(given, failure, !self.has_stood(), now),
        }
    }

    /// The name to have URCs leave by at the set-up; `all` where the port's is not known, so that it can be learnt
    /// before anything is lost.
    fn first_urc_port(&self, given: &Given<'_>, all_refused: bool) -> String {
        let listed = &self.found.urc_ports;
        let mut only = listed.iter().filter(|name| *name != "all");
        let is_listed = |name: &&str| listed.is_empty() || listed.iter().any(|it| it == name);
        match (given.port_name.filter(is_listed), only.next(), only.next()) {
            (Some(name), ..) => name.to_owned(),
            (None, Some(name), None) => name.clone(),
            (None, ..) if all_refused => "uart1".to_owned(),
            (None, ..) => "all".to_owned(),
        }
    }

    /// Goes to `step`, or past it where the configuration has nothing for it.
    fn go_or_skip(&mut self, given: &Given<'_>, step: SetupStep) {
        let checks_time = self.checks_time();
        let step = match step {
            SetupStep::Mqtt
                if self.found.texts.are_shown()
                    || given.tunnels.iter().all(|tunnel| tunnel.mode != Mode::Push) =>
            {
                return self.go_or_skip(given, SetupStep::Dns);
            }
            SetupStep::Dns if given.settings.pdp.dns.is_empty() => {
                return self.go_or_skip(given, SetupStep::Ntp);
            }
            SetupStep::Ntp | SetupStep::LookAtClock if !checks_time => {
                return self.go_or_skip(given, SetupStep::ListFiles);
            }
            SetupStep::Ntp if given.settings.ntp.is_none() => SetupStep::Clock,
            SetupStep::ListFiles if self.contexts.iter().all(|context| context.files.is_empty()) => {
                SetupStep::Contexts
            }
            step => step,
        };
        self.go(step);
    }
}

/// Commands without `AT`, joined or one alone.
fn one_or_all(commands: &[impl std::borrow::Borrow<str>], alone: Option<usize>) -> String {
    match alone {
        None => commands.join(";"),
        Some(index) => commands.get(index).map_or("", std::borrow::Borrow::borrow).to_owned(),
    }
}

/// Which of `count` commands is next where they are sent one by one: joined ones were refused.
fn next_alone(alone: Option<usize>, is_refused: bool, count: usize) -> Option<usize> {
    let next = match alone {
        None if is_refused => 0,
        None => return None,
        Some(index) => index + 1,
    };
    (next < count).then_some(next)
}

/// A command that was not answered this often in a row is not sent any more, if the set-up can do without it.
pub(super) const UNANSWERED_MAX: u32 = 3;

/// The pause after a failed attempt, doubled up to the limit.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(120);

/// A SIM that checks a PIN may take longer than an ordinary command.
const PIN_WAIT: Duration = Duration::from_secs(20);

/// AT+QNTP's OK, and how long its result may take before the host's clock is good enough: clients wait meanwhile.
const NTP_WAIT: Duration = Duration::from_secs(10);
const NTP_RESULT_WAIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
