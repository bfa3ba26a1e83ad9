//! From a modem that answers to a data session that carries sockets: one step after another.
//!
//! ```text
//!  Down ─► identity, keys ─► URC port, wire format ─► SIM ─► registration ─► leftovers
//!                                                                              │
//!   Up ◄── SSL contexts ◄── files ◄── clock ◄── DNS ◄── PDP context ◄──────────┘
//! ```
//! Each step is one command; its answer decides the next. Nothing here waits: a step that must be repeated
//! later sets `not_before`.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::channel::{Channel, Origin, Outcome};
use super::failure::{Cut, Failure};
use super::profile::QUESTIONS;
use super::socket::{Closing, Phase};
use super::ssl_context::{self, Authorities, File, Standing};
use super::{Action, Event, Modem};
use crate::at::{AtText, Command, Line, ResultCode, SOCKET_COUNT, SocketId, fields};
use crate::config::{self, ApnAuth, PdpType, Wait};
use crate::exit_status::ExitStatus;

/// How far the data session is.
#[derive(Debug)]
pub struct Session {
    /// The step whose command is due or in flight.
    pub step: Step,
    /// The step whose command left last: an answer to anything else comes too late.
    pub asked: Step,
    /// Not before this time.
    pub not_before: Option<Instant>,
    /// The address that the network gave; a session with another address is another session.
    pub address: Option<String>,
    /// We activated the PDP context, so it is ours to be torn down.
    pub activated: bool,
    /// It was active when we came, so it is left active at the end.
    found_active: bool,
    /// The reason for waiting that was said last: it is said once.
    said: Option<String>,
    /// Since when there has been no session.
    down_since: Instant,
    /// Failed attempts in a row.
    failures: u32,
    /// Between two of them.
    pub backoff: Backoff,
    /// Files that are still to be uploaded.
    missing: Vec<File>,
    /// Seconds since 1970 by the host's clock, and when that was so.
    host_clock: Option<(i64, Instant)>,
    /// What the network's time service said: 0, or the reason why it did not set the clock.
    network_time: Option<NetworkTime>,
    /// The PDP context has been deactivated once already in this attempt.
    torn_down: bool,
    /// What the services asked so far say that tells most: 3, the network denies the registration, or 2, the modem
    /// searches.
    registration: Option<u8>,
    /// It stands, and files for new tunnels are being stored meanwhile.
    pub refreshing: bool,
    /// A context of ours that is active shall be torn down: it carries nothing.
    pub rebuild: bool,
    /// Several TLS settings go into one line; until the module has refused that.
    pub joins_settings: bool,
}

/// How far AT+QNTP is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NetworkTime {
    /// Asked for; the URC is awaited.
    Awaited,
    /// It came, with 0 or the reason why the clock was not set.
    Told(u16),
}

/// A step of the set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There are no tunnels, so nothing is set up: commands come from outside alone.
    Unwanted,
    /// No channel answers yet.
    Down,
    /// ATI
    Identity,
    /// AT+CGMM and AT+CGMR, where ATI said too little
    Model,
    /// AT+QSSLCFG=?, AT+QSSLOPEN=?, …: all in one line, or one of [`QUESTIONS`] alone
    Keys {
        /// The one, where the module does not take them joined.
        alone: Option<usize>,
    },
    /// AT+QURCCFG="urcport",…: `all` first, then the port we are believed to be on.
    UrcPort {
        /// `all` was refused.
        all_refused: bool,
    },
    /// [`WIRE_FORMAT`]: all in one line, or one alone
    WireFormat {
        /// The one, where the module does not take them joined, or lacks one.
        alone: Option<usize>,
    },
    /// SIM, registration, leftovers and PDP context asked for in one line: where all is well nothing more is
    /// asked of them
    Glance,
    /// AT+CPIN?
    Sim,
    /// AT+CPIN="…"
    EnterPin,
    /// AT+CEREG?, AT+CGREG?, AT+CREG?
    Registration(usize),
    /// AT+QSSLSTATE
    Leftovers,
    /// AT+QIACT?
    PdpState,
    /// AT+QICSGP
    Apn,
    /// AT+QIACT=
    Activate,
    /// AT+QIDEACT=, then again
    TearDown,
    /// AT+QIACT?, for the address
    Address,
    /// AT+QIDNSCFG
    Dns,
    /// AT+QNTP, whose result comes unasked: it is waited for in the same step
    Ntp,
    /// AT+CCLK?
    Clock,
    /// AT+CCLK="…"
    SetClock,
    /// AT+QFLST="*"
    ListFiles,
    /// AT+QFDEL of a file that has our name and not our size
    DeleteFile,
    /// AT+QFLDS="UFS"
    Space,
    /// AT+QFUPL
    Upload,
    /// AT+QSSLCFG="cacertex"
    Chain,
    /// AT+QSSLCFG for each context
    Contexts,
    /// Sockets can be opened.
    Up,
    /// AT+QIDEACT at the end
    Deactivate,
    /// All is as we found it.
    Ended,
    /// The attempt failed; the next one begins at `not_before`.
    Failed,
}

impl Session {
    /// No session yet.
    pub fn new(wanted: bool, now: Instant) -> Self {
        Session {
            step: if wanted { Step::Down } else { Step::Unwanted },
            asked: Step::Unwanted,
            not_before: None,
            address: None,
            activated: false,
            found_active: false,
            said: None,
            down_since: now,
            failures: 0,
            backoff: Backoff::new(RETRY_MIN, RETRY_MAX),
            missing: Vec::new(),
            host_clock: None,
            network_time: None,
            torn_down: false,
            registration: None,
            refreshing: false,
            rebuild: false,
            joins_settings: true,
        }
    }

    /// Whether sockets can be opened.
    pub fn is_up(&self) -> bool {
        self.step == Step::Up
    }

    /// Whether sockets may be open.
    pub fn is_serving(&self) -> bool {
        self.is_up() || self.refreshing
    }

    /// Whether there is a data session that can be lost.
    pub fn has_address(&self) -> bool {
        self.is_serving() || self.address.is_some() || self.step == Step::Address
    }

    /// Why the set-up waits, if it does.
    pub fn reason_for_waiting(&self) -> Option<&str> {
        self.said.as_deref().filter(|_| self.not_before.is_some())
    }

    /// When the present step is due, if that is in the future.
    pub fn deadline(&self) -> Option<Instant> {
        self.not_before
    }

    /// The modem has rebooted, and no PDP context is active any more.
    pub fn context_gone(&mut self) {
        self.activated = false;
        self.found_active = false;
    }

    /// The host's clock, in seconds since 1970.
    pub fn set_host_clock(&mut self, unix_seconds: i64, now: Instant) {
        self.host_clock = Some((unix_seconds, now));
    }

    /// Seconds since 1970 now, where the host's clock is plausible.
    fn unix_seconds(&self, now: Instant) -> Option<i64> {
        let (seconds, at) = self.host_clock?;
        let present = seconds + now.saturating_duration_since(at).as_secs() as i64;
        PLAUSIBLE_UNIX_SECONDS.contains(&present).then_some(present)
    }

    fn go(&mut self, step: Step) {
        self.step = step;
        self.not_before = None;
    }

    fn wait(&mut self, reason: String, until: Instant) {
        if self.said.as_deref() != Some(&reason) {
            log::info!("waiting: {reason}");
            self.said = Some(reason);
        }
        self.not_before = Some(until);
    }
}

impl Modem {
    /// The set-up command that is due now, if any.
    pub(super) fn session_command(&mut self, channel: usize, now: Instant) -> Option<Command> {
        if self.session.not_before.is_some_and(|time| time > now) {
            return None;
        }
        self.session.not_before = None;
        let pdp = &self.settings.pdp;
        let context = pdp.context;
        let line = |text: String| Some(Command::line(text));
        match self.session.step {
            Step::Down | Step::Failed => {
                self.take_next_settings();
                self.session.go(Step::Identity);
                self.session.torn_down = false;
                self.session.network_time = None;
                self.session.joins_settings = true;
                self.actions.push_back(Action::TellTime);
                line("ATI".into())
            }
            Step::Identity => line("ATI".into()),
            Step::Model => line("AT+CGMM;+CGMR".into()),
            Step::Keys { alone: None } => line(format!("AT{}", QUESTIONS.join(";"))),
            Step::Keys { alone: Some(index) } => line(format!("AT{}", QUESTIONS[index])),
            Step::Chain => line("AT+QSSLCFG=\"cacertex\"".into()),
            Step::UrcPort { all_refused } => {
                let port = self.ports[channel].at_port.unwrap_or("uart1");
                let port = if all_refused || self.ports[channel].at_port.is_some() { port } else { "all" };
                line(format!("AT+QURCCFG=\"urcport\",\"{port}\""))
            }
            Step::WireFormat { alone: None } => line(format!("AT{}", WIRE_FORMAT.join(";"))),
            Step::WireFormat { alone: Some(index) } => line(format!("AT{}", WIRE_FORMAT[index])),
            Step::Glance => line("AT+CPIN?;+CEREG?;+QSSLSTATE;+QIACT?".into()),
            Step::Sim => line("AT+CPIN?".into()),
            Step::EnterPin => {
                let pin = self.settings.sim_pin.as_ref()?;
                Some(Command::secret_line(format!("AT+CPIN=\"{}\"", pin.0)))
            }
            Step::Registration(index) => line(REGISTRATION[index].into()),
            Step::Leftovers => line("AT+QSSLSTATE".into()),
            Step::PdpState | Step::Address => line("AT+QIACT?".into()),
            Step::Apn => Some(Command::Line(access_point_line(pdp))),
            Step::Activate => Some(Command::patient_line(format!("AT+QIACT={context}"), ACTIVATE_WAIT)),
            Step::TearDown | Step::Deactivate => {
                Some(Command::patient_line(format!("AT+QIDEACT={context}"), DEACTIVATE_WAIT))
            }
            Step::Dns => {
                let addresses: Vec<_> = pdp.dns.iter().map(|address| format!("\"{address}\"")).collect();
                line(format!("AT+QIDNSCFG={context},{}", addresses.join(",")))
            }
            Step::Ntp => {
                let server = self.settings.ntp.as_ref()?;
                if self.session.network_time == Some(NetworkTime::Awaited) {
                    // Its time is up.
                    log::warn!("the time server {server} of --ntp did not answer");
                    self.session.go(Step::Clock);
                    return line("AT+CCLK?".into());
                }
                self.session.network_time = Some(NetworkTime::Awaited);
                Some(Command::patient_line(format!("AT+QNTP={context},\"{server}\""), NTP_WAIT))
            }
            Step::Clock => line("AT+CCLK?".into()),
            Step::SetClock => {
                let clock = self.session.unix_seconds(now).and_then(clock_text)?;
                line(format!("AT+CCLK=\"{clock}\""))
            }
            Step::ListFiles => line("AT+QFLST=\"*\"".into()),
            Step::Space => line("AT+QFLDS=\"UFS\"".into()),
            Step::DeleteFile => {
                let file = self.session.missing.first()?;
                line(format!("AT+QFDEL=\"{}\"", file.name))
            }
            Step::Upload => {
                let file = self.session.missing.first()?;
                log::info!("uploading {} to the modem ({} bytes)", file.source, file.content.len());
                Some(Command::Upload { name: file.name.clone(), content: file.content.clone() })
            }
            Step::Unwanted | Step::Contexts | Step::Up | Step::Ended => None,
        }
    }

    /// The answer to the command of [`Modem::session_command`].
    pub(super) fn session_answered(
        &mut self,
        channel: usize,
        outcome: Outcome,
        lines: Vec<String>,
        now: Instant,
    ) {
        if self.session.asked != self.session.step {
            return;
        }
        let refused = match &outcome {
            Outcome::Refused(refusal) => Some(refusal.to_string()),
            _ => None,
        };
        match self.session.step {
            Step::Identity => {
                self.profile.learn_identity(&lines);
                let next = match self.profile.identity_is_incomplete() {
                    true => Step::Model,
                    false => Step::Keys { alone: None },
                };
                self.session.go(next);
            }
            Step::Model => {
                if refused.is_none() {
                    self.profile.learn_identity(&lines);
                }
                self.session.go(Step::Keys { alone: None });
            }
            Step::Keys { alone: None } if refused.is_some() => {
                self.session.go(Step::Keys { alone: Some(0) });
            }
            Step::Keys { alone: Some(index) } if index + 1 < QUESTIONS.len() => {
                self.profile.learn_keys(&lines);
                self.session.go(Step::Keys { alone: Some(index + 1) });
            }
            Step::Keys { .. } => {
                self.profile.learn_keys(&lines);
                match self.make_contexts() {
                    Ok(()) => self.session.go(Step::UrcPort { all_refused: false }),
                    Err(failure) => self.session_failed(failure, true, now),
                }
            }
            Step::UrcPort { all_refused: false } if refused.is_some() => {
                self.session.go(Step::UrcPort { all_refused: true });
            }
            // A module without the setting has one port only.
            Step::UrcPort { all_refused } => {
                let everywhere = !all_refused && self.ports[channel].at_port.is_none();
                self.urc_port = match refused {
                    Some(_) => super::UrcPort::Unknown,
                    None if everywhere => super::UrcPort::All { heard: channel },
                    None => super::UrcPort::One(channel),
                };
                self.session.go(Step::WireFormat { alone: None });
            }
            Step::WireFormat { alone: None } if refused.is_some() => {
                self.session.go(Step::WireFormat { alone: Some(0) });
            }
            Step::WireFormat { alone: Some(index) } if index + 1 < WIRE_FORMAT.len() => {
                self.session.go(Step::WireFormat { alone: Some(index + 1) });
            }
            Step::WireFormat { .. } => self.session.go(Step::Glance),
            Step::Glance => {
                let has_sim = lines.iter().any(|line| sim_state(line) == Some("READY"));
                let is_registered = matches!(registration_state(&lines), Some(1 | 5));
                if refused.is_none() && has_sim && is_registered {
                    self.leftovers(&lines);
                    self.pdp_state_answered(&lines);
                } else {
                    // Something is not as it should be, or not asked in this way: one question at a time tells.
                    self.session.go(Step::Sim);
                }
            }
            Step::Sim => self.sim_answered(&outcome, &lines, now),
            Step::EnterPin => match refused {
                None => self.session.go(Step::Sim),
                Some(refusal) => {
                    // A second try could lock the SIM.
                    self.settings.sim_pin = None;
                    let message = format!("the SIM refused the PIN of --sim-pin-file ({refusal})");
                    self.session_failed(Failure::new(ExitStatus::SimFailed, message), true, now);
                }
            },
            Step::Registration(index) => self.registration_answered(index, &lines, now),
            Step::Leftovers => {
                self.leftovers(&lines);
                self.session.go(Step::PdpState);
            }
            Step::PdpState => self.pdp_state_answered(&lines),
            Step::Apn => match refused {
                None => self.session.go(Step::Activate),
                Some(refusal) => {
                    let message = format!("the modem refused the APN settings: {refusal}");
                    self.session_failed(Failure::new(ExitStatus::NoDataSession, message), false, now);
                }
            },
            Step::Activate => match refused {
                None => {
                    self.session.activated = true;
                    self.session.go(Step::Address);
                }
                // ERROR also means that it is active already, or claims to be.
                Some(_) if !self.session.torn_down => {
                    self.session.torn_down = true;
                    self.session.go(Step::TearDown);
                }
                Some(refusal) => {
                    let message = format!(
                        "no data session: the modem refused to activate PDP context {} ({refusal}): check --apn, \
                         the SIM's data plan and the signal",
                        self.settings.pdp.context
                    );
                    self.session_failed(Failure::new(ExitStatus::NoDataSession, message), false, now);
                }
            },
            Step::TearDown => {
                let next = if self.settings.pdp.apn.is_some() { Step::Apn } else { Step::Activate };
                self.session.go(next);
            }
            Step::Address => match self.pdp_address(&lines) {
                Some(address) => {
                    log::info!("data session up, address {address}");
                    self.session.address = Some(address);
                    self.go_or_skip(Step::Dns);
                }
                None => {
                    let message = format!(
                        "no data session: PDP context {} was activated and has no address",
                        self.settings.pdp.context
                    );
                    self.session_failed(Failure::new(ExitStatus::NoDataSession, message), false, now);
                }
            },
            Step::Dns => {
                if let Some(refusal) = refused {
                    log::warn!("the modem refused the addresses of --dns: {refusal}");
                }
                self.go_or_skip(Step::Ntp);
            }
            Step::Ntp => match (refused, self.session.network_time, &self.settings.ntp) {
                (None, Some(NetworkTime::Awaited), Some(server)) => {
                    let reason = format!("for the time from {server}");
                    self.session.wait(reason, now + NTP_RESULT_WAIT);
                }
                (Some(refusal), ..) => {
                    log::warn!("the modem refused --ntp: {refusal}");
                    self.session.network_time = None;
                    self.session.go(Step::Clock);
                }
                _ => self.session.go(Step::Clock),
            },
            Step::Clock => self.clock_answered(&lines, now),
            Step::SetClock => {
                if let Some(refusal) = refused {
                    log::warn!(
                        "the modem refused to have its clock set ({refusal}); certificates may look expired"
                    );
                }
                self.go_or_skip(Step::ListFiles);
            }
            Step::ListFiles => self.files_listed(&lines),
            Step::DeleteFile => self.session.go(Step::Space),
            Step::Space => self.space_answered(&lines, now),
            Step::Upload => self.uploaded(&outcome, &lines, now),
            Step::Chain => {
                if refused.is_none() {
                    self.chain_answered(&lines);
                }
                self.session.go(Step::Contexts);
            }
            Step::Deactivate => {
                self.session.activated = false;
                self.session.go(Step::Ended);
                self.events.push_back(Event::Released);
            }
            Step::Unwanted | Step::Down | Step::Failed | Step::Contexts | Step::Up | Step::Ended => {}
        }
    }

    /// A step of the set-up was not answered; the channel is being brought back, and the step is repeated.
    pub(super) fn session_unanswered(&mut self, now: Instant) {
        if self.session.asked != self.session.step {
            return;
        }
        match self.session.step {
            Step::Deactivate => {
                self.session.go(Step::Ended);
                self.events.push_back(Event::Released);
            }
            Step::Activate | Step::TearDown => {
                // It was inactive before, so whatever comes of this is ours.
                self.session.activated |= self.session.step == Step::Activate;
                let message = "no data session: the modem did not answer its activation".to_owned();
                self.session_failed(Failure::new(ExitStatus::NoDataSession, message), false, now);
            }
            _ => {}
        }
    }

    /// The attempt failed. `final_word`: another attempt cannot end differently.
    pub(super) fn session_failed(&mut self, failure: Failure, final_word: bool, now: Instant) {
        if std::mem::take(&mut self.session.refreshing) {
            log::error!("{failure}; the new tunnels cannot connect until that is mended");
            self.session.go(Step::Up);
            return;
        }
        self.session.failures += 1;
        let pause = self.session.backoff.next();
        if self.session.step != Step::Unwanted {
            self.session.step = Step::Failed;
            self.session.not_before = Some(now + pause);
        }
        let gives_up = final_word
            || match self.settings.wait {
                Wait::Forever => false,
                Wait::Not => true,
                Wait::Limited { time, retries } => {
                    time.is_some_and(|time| now.saturating_duration_since(self.session.down_since) >= time)
                        || retries.is_some_and(|retries| self.session.failures > retries)
                }
            };
        if gives_up {
            self.events.push_back(Event::GaveUp(failure));
        } else {
            let text = failure.to_string();
            if self.session.said.as_deref() != Some(&text) {
                log::warn!("{text}; trying again");
                self.session.said = Some(text);
            }
        }
    }

    /// The session is gone: every stream is cut, and the set-up begins again at `step`.
    pub(super) fn session_lost(&mut self, cut: Cut, step: Step, now: Instant) {
        if self.session.step == Step::Ended || self.session.step == Step::Deactivate {
            return;
        }
        let served = self.session.is_serving();
        self.session.refreshing = false;
        if served {
            log::warn!("{cut}; every connection is reset");
            self.session.down_since = now;
            self.session.failures = 0;
            self.session.backoff.reset();
            self.session.said = None;
            self.events.push_back(Event::Down);
        }
        for socket in SocketId::all() {
            self.cut(socket, cut, now);
            let socket = &mut self.sockets[socket.index()];
            if socket.phase != Phase::Foreign {
                socket.phase = Phase::Unknown;
            }
            if socket.busy.is_none() {
                socket.outgoing.reset();
            }
        }
        for context in &mut self.contexts {
            context.standing = Standing::Unwritten(0);
        }
        self.session.address = None;
        // Nothing of the set-up is left out because it was not reached: the module's identity, the SSL contexts
        // that follow from it, the format on the wire.
        let is_known = !matches!(
            self.session.step,
            Step::Down
                | Step::Identity
                | Step::Model
                | Step::Keys { .. }
                | Step::UrcPort { .. }
                | Step::WireFormat { .. }
                | Step::Failed
        );
        let step = if self.take_next_settings() || !is_known { Step::Down } else { step };
        if self.session.step != Step::Unwanted {
            self.session.go(step);
        }
    }

    /// Every SSL context that was not written yet has been.
    pub(super) fn contexts_written(&mut self, now: Instant) {
        if self.session.step != Step::Contexts {
            return;
        }
        self.session.go(Step::Up);
        if std::mem::take(&mut self.session.refreshing) {
            return;
        }
        self.session.failures = 0;
        self.session.backoff.reset();
        self.session.said = None;
        let took = now.saturating_duration_since(self.session.down_since);
        log::info!("{} ready after {:.1} s", self.profile.name, took.as_secs_f64());
        self.events.push_back(Event::Up);
    }

    /// Whether a command of the set-up has not been answered yet.
    fn session_in_flight(&self) -> bool {
        let of_session =
            |channel: &Channel| channel.in_flight().is_some_and(|it| it.origin == Origin::Session);
        self.channels.iter().any(of_session)
    }

    /// Begins the end: the data session is deactivated if we activated it.
    pub(super) fn session_release(&mut self) {
        match self.session.step {
            Step::Ended | Step::Deactivate => {}
            // Whether there is something to be deactivated shows when the modem has answered.
            Step::Activate if self.session_in_flight() => {}
            _ if self.session.activated
                && !self.session.found_active
                && self.channels.iter().any(Channel::is_open) =>
            {
                self.session.go(Step::Deactivate);
            }
            _ => {
                self.session.go(Step::Ended);
                self.events.push_back(Event::Released);
            }
        }
    }

    fn pdp_state_answered(&mut self, lines: &[String]) {
        self.session.address = self.pdp_address(lines);
        let (pdp, is_active) = (&self.settings.pdp, self.session.address.is_some());
        self.session.found_active |= is_active && !self.session.activated;
        // With --apn it is set up as we are told to, whoever has activated it.
        let is_ours = self.session.activated || pdp.apn.is_some();
        let rebuild = std::mem::take(&mut self.session.rebuild);
        if rebuild && is_active && !is_ours {
            log::warn!(
                "PDP context {0} was active before this program came, and may be in use by others: it is left as it \
                 is; --apn lets it be set up anew, AT+QIDEACT={0} deactivates it",
                pdp.context
            );
        }
        let next = match (is_active, &pdp.apn) {
            (true, _) if rebuild && is_ours => Step::TearDown,
            (true, _) => Step::Dns,
            (false, Some(_)) => Step::Apn,
            (false, None) => Step::Activate,
        };
        self.go_or_skip(next);
    }

    fn sim_answered(&mut self, outcome: &Outcome, lines: &[String], now: Instant) {
        let state = lines.iter().find_map(|line| sim_state(line));
        match (state, outcome) {
            (Some("READY"), _) => self.session.go(Step::Registration(0)),
            (Some("SIM PIN"), _) if self.settings.sim_pin.is_some() => self.session.go(Step::EnterPin),
            (Some("SIM PIN"), _) => {
                let message = "the SIM wants a PIN: give --sim-pin-file";
                self.session_failed(Failure::new(ExitStatus::SimFailed, message), true, now);
            }
            (Some(state), _) => {
                let message = format!("the SIM cannot be used: it says {state:?}");
                self.session_failed(Failure::new(ExitStatus::SimFailed, message), false, now);
            }
            (None, Outcome::Refused(refusal)) => {
                let busy = matches!(refusal, super::Refusal::Cme(error) if error.number() == Some(14));
                let waited = now.saturating_duration_since(self.session.down_since);
                if busy && waited < REGISTRATION_PATIENCE {
                    self.session.wait("the SIM is busy".into(), now + POLL);
                } else {
                    let message = format!("the SIM cannot be used: {refusal}");
                    self.session_failed(Failure::new(ExitStatus::SimFailed, message), false, now);
                }
            }
            (None, _) => self.session.wait("the modem says nothing of its SIM".into(), now + POLL),
        }
    }

    fn registration_answered(&mut self, index: usize, lines: &[String], now: Instant) {
        let state = registration_state(lines);
        // LTE-only modules say 0 for the services that they do not have: a search or a denial stands beside that.
        let so_far = self.session.registration.filter(|_| index > 0);
        self.session.registration = so_far.into_iter().chain(state).filter(|it| matches!(it, 2 | 3)).max();
        match state {
            Some(1 | 5) => return self.session.go(Step::Leftovers),
            _ if index + 1 < REGISTRATION.len() => {
                return self.session.go(Step::Registration(index + 1));
            }
            _ => {}
        }
        let denied = self.session.registration == Some(3);
        let words = match self.session.registration {
            Some(3) => "the network denied the registration",
            Some(2) => "the modem searches for a network",
            _ => "the modem is not registered in a network",
        };
        let waited = now.saturating_duration_since(self.session.down_since);
        if self.settings.wait != Wait::Forever && (denied || waited > REGISTRATION_PATIENCE) {
            let message = format!("{words}: check antenna, SIM and coverage");
            self.session_failed(Failure::new(ExitStatus::NoRegistration, message), false, now);
            return;
        }
        self.session.go(Step::Registration(0));
        self.session.wait(words.into(), now + POLL);
    }

    /// Lines of AT+QSSLSTATE: sockets that an earlier run left open are closed if they are ours.
    fn leftovers(&mut self, lines: &[String]) {
        let mut open = [false; SOCKET_COUNT];
        for line in lines {
            let Some(rest) = line.strip_prefix("+QSSLSTATE:") else { continue };
            let mut all = fields(rest);
            let Some(id) = all.number().and_then(SocketId::new) else { continue };
            let state: u8 = all.nth(4).and_then(|state| state.parse().ok()).unwrap_or(2);
            open[id.index()] = state != 0;
        }
        for id in SocketId::all() {
            let ours = self.settings.sockets.contains(id.index())
                && self.profile.sockets.contains(id.index() as u32);
            let socket = &mut self.sockets[id.index()];
            if socket.joined {
                continue;
            }
            socket.phase = match (ours, open[id.index()]) {
                (false, _) => Phase::Foreign,
                (true, false) => Phase::Free,
                (true, true) => {
                    log::info!("socket {id} was left open by an earlier run; closing it");
                    Phase::Closing(Closing { timeout_seconds: 0, judge: false, tries: 0 })
                }
            };
        }
    }

    /// `+QIACT: <context>,<state>,<type>,"<address>"` of our context, if it is active.
    pub(super) fn pdp_address(&self, lines: &[String]) -> Option<String> {
        lines.iter().find_map(|line| {
            let mut all = fields(line.strip_prefix("+QIACT:")?);
            let context: u8 = all.number()?;
            let state: u8 = all.number()?;
            let address = all.nth(1)?;
            (context == self.settings.pdp.context.number() && state == 1 && !address.is_empty())
                .then(|| address.to_owned())
        })
    }

    /// Goes to `step`, or past it where the configuration has nothing for it.
    fn go_or_skip(&mut self, step: Step) {
        let checks_time = self.contexts.iter().any(|context| context.tls.checks_time());
        let authenticates = self
            .contexts
            .iter()
            .any(|context| context.tls.authentication != config::Authentication::Insecure);
        let step = match step {
            Step::Dns if self.settings.pdp.dns.is_empty() => return self.go_or_skip(Step::Ntp),
            Step::Ntp if !checks_time => return self.go_or_skip(Step::ListFiles),
            Step::Ntp if self.settings.ntp.is_none() => Step::Clock,
            Step::ListFiles if self.contexts.iter().all(|context| context.files.is_empty()) => {
                return self.go_or_skip(Step::Chain);
            }
            // What another program left there would be trusted in all SSL contexts, ours among them.
            Step::Chain if !authenticates || !self.profile.has_key("cacertex") => Step::Contexts,
            step => step,
        };
        self.session.go(step);
    }

    /// `+QNTP: <err>`, which comes some time after the OK, or before it.
    pub(super) fn network_time_told(&mut self, result: u16) {
        if self.session.step != Step::Ntp || self.session.network_time != Some(NetworkTime::Awaited) {
            return;
        }
        self.session.network_time = Some(NetworkTime::Told(result));
        if result != 0
            && let Some(server) = &self.settings.ntp
        {
            log::warn!("the time server {server} of --ntp did not set the clock: {}", ResultCode(result));
        }
        if !self.session_in_flight() {
            self.session.go(Step::Clock);
        }
    }

    fn clock_answered(&mut self, lines: &[String], now: Instant) {
        let modem = lines.iter().find_map(|line| unix_seconds(line.strip_prefix("+CCLK:")?));
        let host = self.session.unix_seconds(now);
        let is_set = self.session.network_time.take() == Some(NetworkTime::Told(0));
        match (modem, host) {
            (Some(modem), _) if is_set && PLAUSIBLE_UNIX_SECONDS.contains(&modem) => {
                log::info!("the modem's clock was set by the time server");
                self.go_or_skip(Step::ListFiles);
            }
            (Some(modem), Some(host)) if modem.abs_diff(host) <= CLOCK_TOLERANCE_SECONDS => {
                self.go_or_skip(Step::ListFiles);
            }
            (_, Some(_)) => {
                log::info!("setting the modem's clock from the host's");
                self.session.go(Step::SetClock);
            }
            (Some(modem), _) if PLAUSIBLE_UNIX_SECONDS.contains(&modem) => self.go_or_skip(Step::ListFiles),
            _ => {
                log::warn!(
                    "neither the modem's clock nor the host's is set: certificates will look expired or not yet \
                     valid (--ntp sets the modem's)"
                );
                self.go_or_skip(Step::ListFiles);
            }
        }
    }

    /// Lines of AT+QFLST: what is there already is not uploaded again.
    fn files_listed(&mut self, lines: &[String]) {
        let stored = ssl_context::stored_files(lines);
        let mut missing: Vec<File> = Vec::new();
        for file in self.contexts.iter().flat_map(|context| context.files.iter().cloned()) {
            let there = stored
                .iter()
                .any(|(name, size)| *name == file.name.as_str() && *size == file.content.len() as u64);
            if !there && !missing.contains(&file) {
                missing.push(file);
            }
        }
        let half_there =
            missing.first().is_some_and(|file| stored.iter().any(|(name, _)| *name == file.name.as_str()));
        self.session.missing = missing;
        match self.session.missing.is_empty() {
            true => self.go_or_skip(Step::Chain),
            false if half_there => self.session.go(Step::DeleteFile),
            false => self.session.go(Step::Space),
        }
    }

    /// `+QFLDS: <free>,<total>`
    fn space_answered(&mut self, lines: &[String], now: Instant) {
        let free = lines.iter().find_map(|line| fields(line.strip_prefix("+QFLDS:")?).number::<u64>());
        let needed: u64 = self.session.missing.iter().map(|file| file.content.len() as u64).sum();
        match free {
            Some(free) if needed > free => {
                let message = format!(
                    "the modem has {free} bytes of storage left and the certificates of {} take {needed}: give the \
                     one root that is needed with --ca FILE or --ca system:NAME, or --insecure",
                    self.session.missing.first().map_or("", |file| file.source.as_str())
                );
                self.session_failed(Failure::new(ExitStatus::SetUpFailed, message), true, now);
            }
            _ => self.session.go(Step::Upload),
        }
    }

    /// `+QFUPL: <size>,<checksum>`
    fn uploaded(&mut self, outcome: &Outcome, lines: &[String], now: Instant) {
        let Some(file) = self.session.missing.first() else { return };
        let answer = ssl_context::upload_sum(lines);
        let stored = answer == Some((file.content.len(), file.checksum())) && *outcome == Outcome::Ok;
        let exists = matches!(outcome, Outcome::Refused(super::Refusal::Cme(error))
            if error.number() == Some(407) || error.0.contains("exist"));
        if stored {
            self.session.missing.remove(0);
            match self.session.missing.is_empty() {
                true => self.go_or_skip(Step::Chain),
                false => self.session.go(Step::Upload),
            }
        } else if exists {
            self.session.go(Step::DeleteFile);
        } else {
            let message = format!(
                "the modem did not store {} ({} bytes, checksum {:04x}): it answered {}",
                file.source,
                file.content.len(),
                file.checksum(),
                match (answer, outcome) {
                    (Some((size, sum)), _) => format!("{size} bytes, checksum {sum:04x}"),
                    (None, Outcome::Refused(refusal)) => refusal.to_string(),
                    (None, _) => "nothing".into(),
                }
            );
            self.session.step = Step::DeleteFile;
            self.session_failed(Failure::new(ExitStatus::SetUpFailed, message), false, now);
        }
    }

    /// "cacertex" holds for the whole module: what it should hold is written with the first context, and
    /// what else stands there is taken away where all contexts are ours.
    fn chain_answered(&mut self, lines: &[String]) {
        let chained = self.authorities() == Authorities::Chain;
        let all_ours = self.settings.ssl_contexts == config::Modem::default().ssl_contexts;
        let Some(context) = self.contexts.first_mut() else { return };
        let trusted = match chained {
            true => ssl_context::authority_files(&context.tls, Authorities::Chain),
            false => Vec::new(),
        };
        context.settings.retain(|setting| setting.ca_id.is_none());
        for setting in ssl_context::chain_settings(&trusted, lines) {
            let ours = setting.value != "\"\"";
            if ours || all_ours {
                context.settings.push(setting);
            } else {
                log::warn!(
                    "another program has given the modem an authority (\"cacertex\" {}) that holds for all SSL \
                     contexts: servers that it vouches for are accepted as well",
                    setting.ca_id.unwrap_or_default()
                );
            }
        }
        context.standing = Standing::Unwritten(0);
    }

    /// The setting of an SSL context that must be written or asked for next.
    pub(super) fn context_command(&mut self) -> Option<(Command, Origin)> {
        if !matches!(self.session.step, Step::Contexts | Step::Up) {
            return None;
        }
        for (index, context) in self.contexts.iter_mut().enumerate() {
            let (secret, line) = match context.standing {
                Standing::Known => continue,
                Standing::Unwritten(at) if at < context.settings.len() => {
                    let (count, line) = context.write_line(at, self.session.joins_settings);
                    (context.settings[at..at + count].iter().any(|setting| setting.secret), line)
                }
                Standing::Unwritten(_) => {
                    context.standing = Standing::Known;
                    continue;
                }
                Standing::Doubtful(at) => {
                    match context.settings.iter().enumerate().skip(at).find(|(_, setting)| setting.is_vital())
                    {
                        Some((at, setting)) => {
                            context.standing = Standing::Doubtful(at);
                            (false, setting.query_line(context.id))
                        }
                        None => {
                            context.standing = Standing::Known;
                            continue;
                        }
                    }
                }
            };
            let command = if secret { Command::secret_line(line) } else { Command::line(line) };
            return Some((command, Origin::Context(index)));
        }
        None
    }

    /// The answer to the command of [`Modem::context_command`].
    pub(super) fn context_answered(
        &mut self,
        index: usize,
        command: &Command,
        outcome: Outcome,
        lines: &[String],
        now: Instant,
    ) {
        let name = self.profile.name.clone();
        let Some(context) = self.contexts.get_mut(index) else { return };
        let asked = match context.standing {
            Standing::Known => return,
            Standing::Unwritten(at) if at < context.settings.len() => {
                Some(context.write_line(at, self.session.joins_settings).1)
            }
            Standing::Unwritten(_) => None,
            Standing::Doubtful(at) => context.settings.get(at).map(|it| it.query_line(context.id)),
        };
        if !matches!(command, Command::Line(line) if Some(&line.text) == asked.as_ref()) {
            // It was asked before the session was lost, and the settings begin anew.
            return;
        }
        match context.standing {
            Standing::Known => {}
            Standing::Unwritten(at) => {
                let setting = &context.settings[at];
                let (count, _) = context.write_line(at, self.session.joins_settings);
                if let Outcome::Refused(refusal) = &outcome {
                    if count > 1 {
                        // Which of them it was, and whether it is joined lines that it does not take, shows
                        // when they are written one by one.
                        self.session.joins_settings = false;
                        return;
                    }
                    if setting.is_needed() {
                        let message = format!("{name} refused the TLS setting {:?}: {refusal}", setting.key);
                        self.session_failed(Failure::new(ExitStatus::SetUpFailed, message), false, now);
                        return;
                    }
                    log::debug!("{name} refused {:?}, which is only a default: {refusal}", setting.key);
                }
                context.standing = Standing::Unwritten(at + count);
            }
            Standing::Doubtful(at) => {
                let stands = outcome == Outcome::Ok && context.settings[at].stands_in(lines);
                context.standing = if stands { Standing::Doubtful(at + 1) } else { Standing::Unwritten(0) };
                if !stands {
                    log::debug!("SSL context {} has lost its settings; writing them again", context.id);
                }
            }
        }
    }
}

/// `+CPIN: <state>`
fn sim_state(line: &str) -> Option<&str> {
    line.strip_prefix("+CPIN:").map(str::trim)
}

/// `+CEREG: <n>,<stat>[,…]`, and likewise of the other services.
fn registration_state(lines: &[String]) -> Option<u8> {
    lines.iter().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let mut fields = fields(rest);
        fields.next().filter(|_| name.ends_with("REG"))?;
        fields.number()
    })
}

/// AT+QICSGP for this access point.
pub(crate) fn access_point_line(pdp: &config::Pdp) -> Line {
    let kind = match pdp.kind {
        PdpType::Ipv4 => 1,
        PdpType::Ipv6 => 2,
        PdpType::Ipv4v6 => 3,
    };
    let auth = match pdp.auth {
        ApnAuth::None => 0,
        ApnAuth::Pap => 1,
        ApnAuth::Chap => 2,
    };
    let text = |text: &Option<AtText>| text.as_ref().map_or(String::new(), AtText::to_string);
    let password = pdp.password.as_ref().map_or("", |secret| secret.0.as_str());
    let (context, apn, user) = (pdp.context, text(&pdp.apn), text(&pdp.user));
    let text = format!("AT+QICSGP={context},{kind},\"{apn}\",\"{user}\",\"{password}\",{auth}");
    Line { text, patience: Duration::from_secs(5), secret: pdp.password.is_some() }
}

/// Seconds since 1970 of `"yy/MM/dd,hh:mm:ss±zz"`; the year has two or four digits, the zone counts quarter
/// hours (PROTOCOL section 5).
pub(crate) fn unix_seconds(text: &str) -> Option<i64> {
    let text = text.trim().trim_matches('"');
    let (date, time) = text.split_once(',')?;
    let mut date = date.split('/');
    let year: i32 = date.next()?.parse().ok()?;
    let year = if year < 100 { if year >= 70 { 1900 + year } else { 2000 + year } } else { year };
    let month: u8 = date.next()?.parse().ok()?;
    let day: u8 = date.next()?.parse().ok()?;
    let zone_at = time.find(['+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let zone: i64 = if zone.is_empty() { 0 } else { zone.parse().ok()? };
    let mut parts = time.split(':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let month = time::Month::try_from(month).ok()?;
    let date = time::Date::from_calendar_date(year, month, day).ok()?;
    let local = date.with_hms(hour, minute, second).ok()?;
    Some(local.assume_utc().unix_timestamp() - zone.checked_mul(15 * 60)?)
}

/// The time as AT+CCLK takes it, in UTC.
fn clock_text(unix_seconds: i64) -> Option<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_seconds).ok()?;
    let (year, month, day) = (time.year() % 100, u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    Some(format!("{year:02}/{month:02}/{day:02},{hour:02}:{minute:02}:{second:02}+00"))
}

/// What another program may have left behind and what changes how payload looks. A module without the key
/// answers ERROR, which is as good.
const WIRE_FORMAT: [&str; 3] =
    ["+QICFG=\"viewmode\",0", "+QICFG=\"dataformat\",0,0", "+QICFG=\"sendinfo\",0"];

/// LTE, packet-switched, circuit-switched.
const REGISTRATION: [&str; 3] = ["AT+CEREG?", "AT+CGREG?", "AT+CREG?"];

/// A host without a battery for its clock starts in 1970: believe nothing before 2025 or after 2100.
pub(crate) const PLAUSIBLE_UNIX_SECONDS: std::ops::Range<i64> = 1_735_689_600..4_102_444_800;

/// Validity dates are checked by the day; a minute is near enough.
const CLOCK_TOLERANCE_SECONDS: u64 = 60;

/// How often SIM and registration are asked about.
const POLL: Duration = Duration::from_secs(2);

/// How long a registration may take where nobody waits for ever.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(60);

/// The pause after a failed attempt, doubled up to the limit.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(120);

/// AT+QIACT (PROTOCOL section 7).
const ACTIVATE_WAIT: Duration = Duration::from_secs(150);
/// AT+QIDEACT (PROTOCOL section 7).
const DEACTIVATE_WAIT: Duration = Duration::from_secs(40);
/// AT+QNTP's OK, and how long its result may take before the host's clock is good enough: clients wait meanwhile.
const NTP_WAIT: Duration = Duration::from_secs(10);
const NTP_RESULT_WAIT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modems_clock_in_all_its_shapes() {
        // 2026-08-07 13:54:02 at UTC+8
        assert_eq!(unix_seconds(" \"26/08/07,13:54:02+32\""), Some(1_786_082_042));
        assert_eq!(unix_seconds("\"2026/08/07,05:54:02+00\""), Some(1_786_082_042));
        assert_eq!(unix_seconds("\"80/01/06,00:00:03+00\""), Some(315_964_803));
        for bad in
            ["", "26/13/07,13:54:02+32", "26/08/07", "26/08/07,25:00:00", "a/b/c,d:e:f+99999999999999999999"]
        {
            assert_eq!(unix_seconds(bad), None, "{bad}");
        }
        assert_eq!(clock_text(1_786_082_042).unwrap(), "26/08/07,05:54:02+00");
    }
}
