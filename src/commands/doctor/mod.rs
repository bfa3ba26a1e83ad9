//! `qssl-tunnel doctor`: finds out why a modem does not connect, step by step from the port to TLS.
//!
//! The code is sequential, over a [`Conversation`]. It goes on after a failed check if it can, and restores what it
//! has changed: the settings of an unused SSL context, files that it uploaded, a data session that it activated.

// An edge: it compares the modem's clock with this machine's.
#![allow(clippy::disallowed_methods)]

mod report;
mod server;
mod trials;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::{DoctorArgs, TlsOptions};
use crate::commands::modem_access::{Access, Conversation};
use crate::config::{self, AllowedTarget, Checked, Environment, Verbosity};
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::logging;
use crate::daemon::sim_pin;
use crate::daemon::status;
use crate::terminal;
use qssl_core::Kind;
use qssl_core::at::answers::{
    AccessPoint, Answer, Clock, LastError, NameServers, Operator, PinAttempts, Registration, Signal, SimState,
};
use qssl_core::at::{Command, ResultCode, SslContextId};
use qssl_core::counted;
use qssl_core::modem::{
    Address, CLOCK_TOLERANCE_SECONDS, ClockFinding, CommandOutcome, Failure, PIN_ATTEMPTS, PIN_ATTEMPTS_MIN,
    PLAUSIBLE_UNIX_SECONDS, Profile, QUESTIONS, REGISTRATION, Refusal, UserAnswer, access_point_line,
    activation, address_questions, deactivation,
};
use qssl_core::settings;
use report::{Form, Report};

/// Examines the modem, and the way to the server if one is named.
///
/// # Errors
/// The options are wrong, or the report cannot be written.
pub fn run(args: &DoctorArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    let Checked { configuration, verbosity, warnings, .. } = config::from_doctor(args, environment)?;
    if verbosity > Verbosity::Normal {
        // Otherwise everything is in the report.
        logging::start(verbosity);
    }
    let access = Access::new(args.control.as_deref(), &args.modem).of_modem(&args.which);
    let form = match args.json {
        true => Form::Json,
        false => Form::Text {
            width: terminal::width(io::stdout()),
            unicode: terminal::takes_unicode(),
            progress: terminal::can_erase(),
        },
    };
    let mut out = io::stdout().lock();
    let mut report = Report::new(&mut out, form);
    let tunnel = configuration.tunnels.first().map(|tunnel| &*tunnel.settings);
    match Conversation::open(&configuration, &access) {
        Ok(conversation) => {
            let mut doctor = Doctor {
                conversation,
                modem: &configuration.modem().settings,
                modem_name: &configuration.modem().name,
                tunnel,
                notes: &warnings,
                profile: Profile::unknown(),
                session_is_found: false,
                clock_is_right: true,
                settings: SettingsOf::Options,
                proxy: None,
                certificates_fit: true,
                stored: Vec::new(),
                intact: Vec::new(),
                state_directories: sim_pin::usual_directories(),
                undo: Vec::new(),
                report,
            };
            let has_settings = args.tls != TlsOptions::default() || args.config.is_some();
            if let Err(failure) = doctor.examine(has_settings) {
                let check = doctor.report.next();
                doctor.report.failed(check, failure.kind, failure.message, "");
                doctor.report.skip_rest(tunnel.is_some(), "the modem cannot be asked any more");
            }
            doctor.put_back();
            report = doctor.report;
        }
        Err(failure) => {
            report.failed("port", failure.kind, failure.message, "");
            report.skip_rest(tunnel.is_some(), "there is no port");
        }
    }
    Ok(report.end()?)
}

/// The examination.
struct Doctor<'a> {
    conversation: Conversation,
    modem: &'a settings::Modem,
    modem_name: &'a str,
    tunnel: Option<&'a settings::Tunnel>,
    /// Warnings of the host about the configured certificates.
    notes: &'a [String],
    profile: Profile,
    /// The data session was active before.
    session_is_found: bool,
    /// The modem's clock is plausible, as far as this can be determined.
    clock_is_right: bool,
    /// Whose TLS settings are examined.
    settings: SettingsOf,
    /// The daemon's tunnel whose clients would name the server.
    proxy: Option<Proxy>,
    /// The module's storage has room for the files of the tunnel that are missing.
    certificates_fit: bool,
    /// Names of the stored files.
    stored: Vec<String>,
    /// The tunnel's files that are stored with the right content.
    intact: Vec<String>,
    /// Where daemons record that a SIM has refused a PIN.
    state_directories: Vec<PathBuf>,
    /// Commands that restore what was changed; the last is sent first.
    undo: Vec<Command>,
    report: Report<'a>,
}

/// Whose TLS settings are examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SettingsOf {
    Options,
    /// Those of a daemon's tunnel to the server, in this SSL context.
    DaemonsTunnel(SslContextId),
    /// Those of its clients: the daemon's tunnel makes plain connections.
    Clients,
}

/// A daemon's tunnel whose clients name their servers (`--dynamic`).
struct Proxy {
    /// Its name.
    name: String,
    /// Whether they may name this one.
    allows: bool,
}

/// An answer, in the form that the checks need.
struct ModemAnswer {
    lines: Vec<String>,
    outcome: Option<CommandOutcome>,
    /// Why it was refused, in words.
    error: Option<String>,
    /// The number of the CME error.
    number: Option<u16>,
}

impl From<UserAnswer> for ModemAnswer {
    fn from(answer: UserAnswer) -> Self {
        let (error, number) = match &answer.outcome {
            Some(CommandOutcome::Ok) => (None, None),
            Some(CommandOutcome::Refused(refusal)) => (Some(refusal.to_string()), number(refusal)),
            Some(other) => (Some(format!("{other:?}")), None),
            None => (Some("no answer".to_owned()), None),
        };
        ModemAnswer { lines: answer.lines, outcome: answer.outcome, error, number }
    }
}

fn number(refusal: &Refusal) -> Option<u16> {
    match refusal {
        Refusal::Plain => None,
        Refusal::Cme(error) => error.number(),
    }
}

impl Doctor<'_> {
    fn examine(&mut self, has_settings: bool) -> Result<(), Failure> {
        if !self.reach()? {
            return Ok(());
        }
        self.find_daemons_tunnel(has_settings)?;
        self.identify()?;
        self.sim()?;
        self.signal()?;
        self.registration()?;
        self.session()?;
        let tcp = match self.tunnel.filter(|_| self.report.is_ok("session")) {
            Some(tunnel) => match &tunnel.target {
                Some(target) => {
                    let limit = tunnel.limits.connect_timeout;
                    Some(self.open_plain(target, tunnel.carries_datagrams(), limit)?)
                }
                None => None,
            },
            None => None,
        };
        self.dns(tcp)?;
        self.clock()?;
        self.certificates()?;
        let Some(tunnel) = self.tunnel else { return Ok(()) };
        let Some(tcp) = tcp else {
            self.report.skip_rest(true, "there is no data session");
            return Ok(());
        };
        if let Some(target) = &tunnel.target {
            self.judge_plain(target, tunnel.carries_datagrams(), tcp);
        }
        match tunnel.tls() {
            Some(_) if self.settings == SettingsOf::Clients => {
                self.report.skipped("tls", "the daemon's tunnel leaves it to its clients");
                Ok(())
            }
            Some(tls) => self.tls(tunnel, tls, tcp),
            None => {
                self.report.skipped("tls", format!("{} has none", tunnel.transport.scheme().prefix()));
                Ok(())
            }
        }
    }

    /// Looks for a daemon's tunnel to the server, or else for one whose clients may name it.
    fn find_daemons_tunnel(&mut self, has_settings: bool) -> Result<(), Failure> {
        let Some((server, target)) = self.tunnel.and_then(|it| it.server().zip(it.target.as_ref())) else {
            return Ok(());
        };
        let tunnels = self.conversation.tunnels()?;
        let server = server.to_string();
        let mut found = tunnels.iter().find(|tunnel| tunnel.target == server);
        if found.is_none() {
            let allows = |tunnel: &status::Tunnel| {
                let mut patterns = tunnel.allow_target.iter().filter_map(|text| text.parse().ok());
                patterns.any(|pattern: AllowedTarget| pattern.allows(target))
            };
            let proxies = tunnels.iter().filter(|tunnel| !tunnel.allow_target.is_empty());
            found = proxies.max_by_key(|tunnel| allows(tunnel));
            self.proxy = found.map(|tunnel| Proxy { name: tunnel.name.clone(), allows: allows(tunnel) });
        }
        if let Some(tunnel) = found.filter(|_| !has_settings) {
            self.settings = match tunnel.ssl_context.and_then(SslContextId::new) {
                Some(context) => SettingsOf::DaemonsTunnel(context),
                None if self.proxy.is_some() => SettingsOf::Clients,
                None => SettingsOf::Options,
            };
        }
        Ok(())
    }

    /// Sends a line.
    fn say(&mut self, text: impl Into<String>) -> Result<ModemAnswer, Failure> {
        self.conversation.ask(Command::line(text)).map(ModemAnswer::from)
    }

    /// Sends a command that does not affect a daemon's tunnels, even if the daemon would refuse it.
    fn insist(&mut self, command: Command) -> Result<ModemAnswer, Failure> {
        self.conversation.insist(command).map(ModemAnswer::from)
    }

    /// Checks port and modem. Without them nothing else can be checked.
    fn reach(&mut self) -> Result<bool, Failure> {
        let ready = self.conversation.wait_until_ready();
        match ready {
            Ok(()) => {
                let name = self.conversation.name();
                self.report.ok("port", name);
                self.report.ok("modem", "answers");
                Ok(true)
            }
            Err(failure) if matches!(failure.kind, Kind::Signal(_)) => Err(failure),
            Err(failure) => {
                if failure.kind == Kind::ModemSilent {
                    let name = self.conversation.name();
                    self.report.ok("port", name);
                }
                let check = self.report.next();
                let advice = match failure.kind {
                    Kind::PortUnavailable if self.conversation.is_shared() => {
                        "check that the modem is plugged in and has power; qssl-tunnel status shows the port that the daemon \
                         waits for"
                    }
                    Kind::PortUnavailable if self.conversation.is_named() => {
                        "check that it is plugged in and has power, and that -d names its port"
                    }
                    Kind::PortUnavailable => {
                        "check that it is plugged in and has power, or name its port: -d"
                    }
                    _ => "",
                };
                self.report.failed(check, failure.kind, failure.message, advice);
                self.report.skip_rest(self.tunnel.is_some(), "the modem cannot be asked");
                Ok(false)
            }
        }
    }

    fn identify(&mut self) -> Result<(), Failure> {
        self.profile = self.conversation.identify()?;
        if let Some(seen) = self.profile.other_commands() {
            self.report.failed("identity", Kind::SetUpFailed, seen, "");
            return Ok(());
        }
        for question in QUESTIONS {
            let answer = self.say(format!("AT{question}"))?;
            self.profile.learn_keys(&answer.lines);
            if answer.error.is_some() && question == "+QSSLCFG=?" {
                let advice = "a Quectel module with AT+QSSLCFG is needed; is this its AT port?";
                let seen = format!("{} has no TLS of its own", self.profile.name);
                self.report.failed("identity", Kind::SetUpFailed, seen, advice);
                return Ok(());
            }
        }
        let profile = &self.profile;
        if profile.model.is_empty() {
            self.report.failed("identity", Kind::Failed, "the modem does not report what it is", "");
            return Ok(());
        }
        let sockets = profile.sockets.count_below(qssl_core::at::SOCKET_COUNT);
        let contexts = profile.ssl_contexts.count_below(qssl_core::at::SSL_CONTEXT_COUNT);
        let seen = format!(
            "{}; {sockets} connections, {contexts} SSL contexts, {} bytes per send",
            profile.name, profile.send_max
        );
        self.report.ok("identity", seen);
        Ok(())
    }

    fn sim(&mut self) -> Result<(), Failure> {
        let failed = Kind::SimFailed;
        let answer = self.say("AT+CPIN?")?;
        match (SimState::first(&answer.lines), answer.number, answer.error.as_deref()) {
            (Some(SimState::WantsPin), ..) => return self.locked_sim(),
            (Some(SimState::Ready), ..) => self.report.ok("sim", "ready"),
            (Some(SimState::WantsPuk), ..) => {
                let advice = "unlock it with its PUK in a telephone";
                self.report.failed("sim", failed, "locked after wrong PINs", advice);
            }
            (Some(SimState::Other(other)), ..) => {
                self.report.failed("sim", failed, format!("reports {other:?}"), "");
            }
            (None, Some(10), _) => self.report.failed("sim", failed, "not inserted", "insert one"),
            (None, Some(14), _) => self.report.failed("sim", failed, "busy", "try again in a moment"),
            (None, _, error) => {
                let seen = format!("cannot be used: {}", error.unwrap_or("no answer"));
                self.report.failed(
                    "sim",
                    failed,
                    seen,
                    "check that it is inserted correctly, or try another",
                );
            }
        }
        Ok(())
    }

    /// Reports a SIM that wants its PIN, and what a tunnel would do. It uses up no attempt.
    fn locked_sim(&mut self) -> Result<(), Failure> {
        let mut attempts = None;
        for question in PIN_ATTEMPTS {
            attempts = match attempts {
                None => PinAttempts::first(&self.say(question)?.lines).map(|PinAttempts(left)| left),
                told => told,
            };
        }
        let seen = match attempts {
            Some(left) => format!("requires its PIN, {} left", counted(usize::from(left), "attempt")),
            None => "requires its PIN".to_owned(),
        };
        let pin = self.modem.sim_pin.as_ref().map(|pin| pin.0.as_str());
        let is_refused = pin.is_some_and(|pin| {
            self.state_directories.iter().any(|at| sim_pin::is_refused(at, self.modem_name, pin))
        });
        let (seen, advice) = match pin {
            _ if attempts.is_some_and(|left| left < PIN_ATTEMPTS_MIN) => {
                let advice = "a tunnel does not use the last one: enter the PIN by hand (qssl-tunnel at --force \
                              'AT+CPIN=\"…\"'), or unlock the SIM in a telephone";
                (seen, advice)
            }
            Some(_) if is_refused => {
                let seen = format!(
                    "{seen}; it has refused the PIN of --sim-pin-file before, which is not tried again"
                );
                (seen, "give the right one")
            }
            Some(_) => (seen, "not entered here: a tunnel with --sim-pin-file enters it"),
            None if self.conversation.is_shared() => (
                seen,
                "the daemon enters that of its --sim-pin-file, unless it was refused: see qssl-tunnel status",
            ),
            None => (seen, "give --sim-pin-file to the tunnel"),
        };
        self.report.failed("sim", Kind::SimFailed, seen, advice);
        Ok(())
    }

    fn signal(&mut self) -> Result<(), Failure> {
        let answer = self.say("AT+CSQ")?;
        match Signal::first(&answer.lines).and_then(|signal| signal.dbm) {
            Some(dbm) if dbm < WEAK_DBM => self.report.ok("signal", format!("{dbm} dBm, which is weak")),
            Some(dbm) => self.report.ok("signal", format!("{dbm} dBm")),
            None => {
                let status = Kind::NoRegistration;
                self.report.failed("signal", status, "none", "check the antenna and the coverage");
            }
        }
        Ok(())
    }

    fn registration(&mut self) -> Result<(), Failure> {
        let mut waited = Duration::ZERO;
        let state = loop {
            let mut best = Registration::Unknown;
            for question in REGISTRATION {
                let answer = self.say(question)?;
                best = best.max(Registration::first(&answer.lines).unwrap_or(best));
                if best.is_registered() {
                    break;
                }
            }
            let may_come = matches!(best, Registration::Searching | Registration::NotRegistered);
            if !may_come || !self.report.is_ok("sim") || waited >= REGISTRATION_PATIENCE {
                break best;
            }
            self.conversation.pause(REGISTRATION_POLL)?;
            waited += REGISTRATION_POLL;
        };
        let failed = Kind::NoRegistration;
        let seconds = waited.as_secs();
        match state {
            Registration::Home | Registration::Roaming => {
                let operator = self.say("AT+COPS?")?;
                let name = Operator::first(&operator.lines).and_then(|operator| operator.name);
                let how = if state == Registration::Home { "at home" } else { "roaming" };
                let network = name.map_or(String::new(), |name| format!(" in {name}"));
                self.report.ok("registration", format!("{how}{network}"));
            }
            Registration::Denied => {
                let advice = "check the SIM's contract, and whether it may roam here";
                self.report.failed("registration", failed, "the network denies it", advice);
            }
            Registration::Searching => {
                let seen = format!("still searching for a network after {seconds} s");
                self.report.failed("registration", failed, seen, "check antenna and coverage");
            }
            Registration::NotRegistered | Registration::Unknown => {
                let advice = "check SIM, antenna and coverage";
                self.report.failed("registration", failed, "not registered in a network", advice);
            }
        }
        Ok(())
    }

    fn session(&mut self) -> Result<(), Failure> {
        let context = self.modem.pdp.context;
        if let Ok(Some(address)) = self.address()? {
            self.session_is_found = true;
            let mut seen = format!("PDP context {context}, address {address}");
            if let Some(wanted) = &self.modem.pdp.apn {
                let settings = self.insist(Command::secret_line(format!("AT+QICSGP={context}")))?;
                if let Some(active) = AccessPoint::other_than(wanted, &settings.lines) {
                    seen.push_str(&format!(
                        ", active with the access point {active:?} and not that of --apn: a tunnel sets it up anew"
                    ));
                }
            }
            self.report.ok("session", seen);
            return Ok(());
        }
        let failed = Kind::NoDataSession;
        if !self.report.is_ok("registration") {
            self.report.skipped("session", "the modem is not registered in a network");
            return Ok(());
        }
        if self.conversation.is_shared() {
            let advice = "the daemon sets it up; see qssl-tunnel status";
            self.report.failed("session", failed, format!("PDP context {context} is not active"), advice);
            return Ok(());
        }
        if let Some(refusal) = self.set_access_point()? {
            let seen = format!("the modem refused the access point: {refusal}");
            self.report.failed("session", failed, seen, "check --apn, its user, password and authentication");
            return Ok(());
        }
        let mut activated = self.insist(activation(context))?;
        match &mut activated.error {
            None => self.undo.push(deactivation(context)),
            // The modem reports the reason of the last command, so no other command may come in between.
            Some(error) => {
                if let Some(code) = self.reason()? {
                    *error = code.to_string();
                }
            }
        }
        match (self.address()?, activated.error) {
            (Ok(Some(address)), _) => {
                let seen = format!("PDP context {context} can be activated, address {address}");
                self.report.ok("session", seen);
            }
            (Err(()), None) => {
                let seen =
                    format!("PDP context {context} can be activated; the modem does not report its address");
                self.report.ok("session", seen);
            }
            (_, error) => {
                let error = error.unwrap_or("it has no address".to_owned());
                let seen = format!("PDP context {context} cannot be activated: {error}");
                let advice = "check --apn, the SIM's data plan and the signal";
                self.report.failed("session", failed, seen, advice);
            }
        }
        Ok(())
    }

    /// The address of the context, if it is active. Inner `Err`: the modem does not report it.
    fn address(&mut self) -> Result<Result<Option<Address>, ()>, Failure> {
        let context = self.modem.pdp.context;
        for question in address_questions(context) {
            let answer = self.say(question)?;
            if answer.error.is_none() {
                return Ok(Ok(Address::of(context, &answer.lines)));
            }
        }
        Ok(Err(()))
    }

    /// Why the last command was refused, if the modem has answered only ERROR.
    fn reason(&mut self) -> Result<Option<ResultCode>, Failure> {
        let answer = self.say("AT+QIGETERROR")?;
        Ok(LastError::reason(&answer.lines))
    }

    /// Sets the access point of `--apn`, and remembers the previous one. `Some`: the refusal.
    fn set_access_point(&mut self) -> Result<Option<String>, Failure> {
        let pdp = &self.modem.pdp;
        if pdp.apn.is_none() {
            return Ok(None);
        }
        let context = pdp.context.number();
        let before = self.say(format!("AT+QICSGP={context}"))?;
        let set = self.insist(Command::Line(access_point_line(pdp)))?;
        if let (None, Some(before)) = (&set.error, AccessPoint::first(&before.lines)) {
            self.undo.push(Command::secret_line(format!("AT+QICSGP={context},{}", before.settings)));
        }
        Ok(set.error)
    }

    /// Checks the name servers, and whether the server's name can be resolved.
    fn dns(&mut self, tcp: Option<u16>) -> Result<(), Failure> {
        if !self.report.is_ok("session") {
            self.report.skipped("dns", "there is no data session");
            return Ok(());
        }
        let context = self.modem.pdp.context.number();
        let answer = self.say(format!("AT+QIDNSCFG={context}"))?;
        let listed = match NameServers::first(&answer.lines) {
            Some(NameServers(servers)) if !servers.is_empty() => {
                format!("name servers {}", servers.join(", "))
            }
            _ => "name servers unknown".to_owned(),
        };
        let host = self.tunnel.and_then(|tunnel| Some(tunnel.target.as_ref()?.host.as_str()));
        match (tcp, host) {
            (Some(code @ (564 | 565)), Some(host)) => {
                let seen = format!("{host} cannot be resolved ({code}); {listed}");
                let advice = format!("check the name, or give --dns ADDR{}", self.doubt());
                self.report.failed("dns", Kind::DnsFailed, seen, advice);
            }
            (Some(_), Some(host)) if host.parse::<std::net::IpAddr>().is_err() => {
                self.report.ok("dns", format!("{host} can be resolved; {listed}"));
            }
            _ => self.report.ok("dns", listed),
        }
        Ok(())
    }

    /// Advice for a data session that was active before and may not let traffic through.
    fn doubt(&self) -> String {
        match self.session_is_found {
            true => format!(
                "; or the data session, which was active before, gets no traffic through: AT+QIDEACT={} ends it, \
                 --apn lets a tunnel set it up anew",
                self.modem.pdp.context
            ),
            false => String::new(),
        }
    }

    /// Checks the modem's clock. A wrong clock is set, as a tunnel does, so that it does not make TLS fail. It stays
    /// set.
    fn clock(&mut self) -> Result<(), Failure> {
        let modem = self.modem_clock()?;
        let host = host_seconds().filter(|host| PLAUSIBLE_UNIX_SECONDS.contains(host));
        let shown = modem.map_or("the modem does not report the time".to_owned(), clock_words);
        match (ClockFinding::of(modem, host), host) {
            (ClockFinding::Right, Some(host)) if modem.is_some_and(|modem| !is_near(modem, host)) => {
                self.report
                    .ok("clock", format!("{shown}; this machine's clock is slow: {}", clock_words(host)));
            }
            (ClockFinding::Right, Some(_)) => self.report.ok("clock", shown),
            (ClockFinding::Right, None) => {
                self.report.ok("clock", format!("{shown}; this machine's clock is not set"));
            }
            (ClockFinding::Behind, Some(host)) if self.conversation.is_shared() => {
                self.clock_is_right = false;
                let seen = format!("{shown}, while this machine has {}", clock_words(host));
                self.report.failed("clock", Kind::Failed, seen, "the daemon sets it; see its log");
            }
            (ClockFinding::Behind, _) => match self.set_clock()? {
                None => self.report.ok("clock", format!("was {shown}; set from this machine's")),
                Some(why) => self.wrong_clock(format!("{shown}, and it cannot be set: {why}")),
            },
            (ClockFinding::Unknown, _) => {
                self.wrong_clock(format!("{shown}; this machine's clock is not set either"));
            }
        }
        Ok(())
    }

    fn modem_clock(&mut self) -> Result<Option<i64>, Failure> {
        let answer = self.say("AT+CCLK?")?;
        Ok(Clock::first(&answer.lines).map(Clock::unix_seconds))
    }

    /// Sets the modem's clock from this machine's and reads it back. `Some`: why that failed.
    fn set_clock(&mut self) -> Result<Option<String>, Failure> {
        let Some(now) = host_seconds().and_then(Clock::at) else { return Ok(None) };
        let set = self.insist(Command::line(format!("AT+CCLK=\"{now}\"")))?;
        if set.error.is_some() {
            return Ok(set.error);
        }
        let is_set =
            self.modem_clock()?.zip(host_seconds()).is_some_and(|(modem, host)| is_near(modem, host));
        Ok((!is_set).then(|| "the modem has another time afterwards".to_owned()))
    }

    /// Reports a clock that cannot be set. It matters only if dates are checked.
    fn wrong_clock(&mut self, seen: String) {
        self.clock_is_right = false;
        let advice = "certificates look expired or not yet valid to the modem: --ntp HOST lets a tunnel set its clock \
                      from the network";
        match self.tunnel.is_none_or(|tunnel| tunnel.tls().is_some_and(|tls| tls.checks_time())) {
            true => self.report.failed("clock", Kind::Failed, seen, advice),
            false => self.report.ok("clock", format!("{seen}; dates are not checked")),
        }
    }

    /// Undoes every change, the last first.
    fn put_back(&mut self) {
        let mut refused = Vec::new();
        while let Some(command) = self.undo.pop() {
            let shown = command.to_string();
            match self.insist(command) {
                Ok(ModemAnswer { error: None, .. }) => {}
                Ok(ModemAnswer { error: Some(error), .. }) => refused.push(format!("{shown} ({error})")),
                Err(failure) => refused.push(format!("{shown} ({failure})")),
            }
        }
        if !refused.is_empty() {
            let seen = format!("could not be put back: {}", refused.join(", "));
            let advice = "a reboot of the modem (AT+CFUN=1,1) clears TLS settings";
            self.report.failed("restore", Kind::Failed, seen, advice);
        }
    }
}

fn host_seconds() -> Option<i64> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_1970.as_secs()).ok()
}

fn is_near(modem: i64, host: i64) -> bool {
    modem.abs_diff(host) <= CLOCK_TOLERANCE_SECONDS.unsigned_abs()
}

/// A time for users, in UTC.
fn clock_words(unix_seconds: i64) -> String {
    let Ok(time) = time::OffsetDateTime::from_unix_timestamp(unix_seconds) else {
        return "an impossible time".to_owned();
    };
    let (hour, minute, second) = time.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", time.date())
}

/// Below this signal strength, connections are often lost.
const WEAK_DBM: i16 = -100;

/// How long a registration may take, and how often it is queried.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(30);
const REGISTRATION_POLL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_with_its_date() {
        assert_eq!(clock_words(315_964_803), "1980-01-06 00:00:03 UTC");
        assert_eq!(clock_words(i64::MAX), "an impossible time");
    }
}
