//! What the module checks of the server's certificate: who has signed it, when it is valid, and for which name.

use std::net::IpAddr;
use std::time::Instant;

use super::comparison::Verdict;
use super::payload::Place;
use super::{Survey, Undo, is_ok};
use qssl_core::at::answers::{Answer as _, Clock, SocketStatus};
use qssl_core::at::{AccessMode, AtText, Command, ResultCode, Security};
use qssl_core::modem::Failure;
use qssl_core::settings::Target;

/// A connection that was tried.
struct Tried {
    code: u16,
    /// The address and the port of the server, if it is connected.
    address: Option<(AtText, u16)>,
}

/// The module's clock as it was.
pub struct OldClock {
    unix_seconds: i64,
    /// As the module writes it, in quarters of an hour.
    zone: String,
    read_at: Instant,
}

impl OldClock {
    fn read(lines: &[String], read_at: Instant) -> Option<OldClock> {
        let unix_seconds = Clock::first(lines)?.unix_seconds();
        let zone = lines.iter().find_map(|line| {
            let line = line.trim_end().trim_end_matches('"');
            Some(line[line.rfind(['+', '-']).filter(|at| *at > 0)?..].to_owned())
        });
        let zone = zone.filter(|zone| zone.parse::<i64>().is_ok()).unwrap_or_else(|| "+00".to_owned());
        Some(OldClock { unix_seconds, zone, read_at })
    }

    fn is_set(&self) -> bool {
        self.unix_seconds > YEAR_2020
    }

    /// What sets the clock to this time, in its zone.
    fn set_to(&self, unix_seconds: i64) -> Command {
        let quarters: i64 = self.zone.parse().unwrap_or(0);
        let time = Clock::at(unix_seconds.saturating_add(quarters * 15 * 60)).map(|time| time.to_string());
        let time = time.unwrap_or_default();
        let local = time.trim_matches('"').trim_end_matches("+00");
        Command::line(format!("AT+CCLK=\"{local}{}\"", self.zone))
    }

    /// What sets the clock as if it had gone on.
    pub fn now(&self) -> Command {
        // Both are cut off to seconds, so one more is right within a second.
        self.set_to(self.unix_seconds + 1 + self.read_at.elapsed().as_secs() as i64)
    }
}

/// What a connection that should fail has shown.
struct Trial {
    what: &'static str,
    manual: &'static str,
    tunnel: &'static str,
    code: u16,
    /// Whether the tunnel relies on its failure.
    must_fail: bool,
}

impl Survey {
    /// Connects with the authority of `--ca`: as it should be, under another name, too late, and with an authority that
    /// has signed nothing.
    pub(super) fn verification(&mut self, place: Place<'_>) -> Result<(), Failure> {
        let Some(authority) = self.authority.clone() else { return Ok(()) };
        self.progress.step("verification");
        let begin = Instant::now();
        let clock = OldClock::read(&self.say("AT+CCLK?")?.lines, begin).filter(OldClock::is_set);
        let check_time = clock.is_some();
        let Some(right) = self.open_with(place, &authority, check_time)? else { return Ok(()) };
        let row = ("the server's certificate", "is accepted", "verifies");
        if right.code != 0 {
            // Without a check the server was reached.
            self.comparison.row(row.0, row.1, row.2, told(right.code), Verdict::Unknown);
            self.left_out(
                "Verification was left out: with --ca FILE the server is not reached. FILE must have the authority that \
                 has signed the server's certificate, and HOST its name.",
            );
            return Ok(());
        }
        self.comparison.row(row.0, row.1, row.2, told(0), true);
        let mut trials = Vec::new();
        if let Some(Tried { code, .. }) = self.open_with(place, NOBODY.as_bytes(), check_time)? {
            let (manual, tunnel) = ("566", "relies on it");
            trials.push(Trial { what: "another authority", manual, tunnel, code, must_fail: true });
        }
        if let Some((host, port)) = right.address {
            let target = Target { host, port };
            let other = Place { target: &target, ..place };
            if let Some(Tried { code, .. }) = self.open_with(other, &authority, check_time)? {
                let must_fail = self.profile.checks_host_name();
                let (manual, tunnel) =
                    if must_fail { ("566", "relies on it") } else { ("connected", "warns") };
                trials.push(Trial { what: "another name", manual, tunnel, code, must_fail });
            }
        }
        match clock {
            Some(clock) => {
                if let Some(code) = self.expired(place, &authority, clock)? {
                    let (manual, tunnel) = ("566", "relies on it");
                    trials.push(Trial { what: "an expired certificate", manual, tunnel, code, must_fail: true });
                }
            }
            None => self.left_out(
                "An expired certificate was left out: the module's clock is not set (qssl-modem-emulator: --clock host).",
            ),
        }
        // 566 may also be a server that is no longer there: then the right authority fails as well.
        let again = self.open_with(place, &authority, check_time)?;
        let is_there = again.is_some_and(|it| it.code == 0);
        for Trial { what, manual, tunnel, code, must_fail } in trials {
            let verdict = match code {
                0 => Verdict::from(!must_fail),
                _ if is_there && code == ResultCode::CONNECT_FAILED.0 => Verdict::Copes,
                _ => Verdict::Unknown,
            };
            self.comparison.row(what, manual, tunnel, told(code), verdict);
        }
        Ok(())
    }

    /// The same when it is too late. The clock is put back.
    fn expired(
        &mut self,
        place: Place<'_>,
        authority: &[u8],
        clock: OldClock,
    ) -> Result<Option<u16>, Failure> {
        let first = self.undo.len();
        let late = clock.set_to(YEAR_2049);
        self.undo.push(Undo::Clock(clock));
        let tried = match is_ok(&self.insist(late)?) {
            true => self.open_with(place, authority, true)?,
            false => {
                self.undo.pop();
                self.left_out("An expired certificate was left out: the module's clock cannot be set.");
                None
            }
        };
        self.put_back_from(first);
        Ok(tried.map(|tried| tried.code))
    }

    /// Opens a connection with this authority, and closes it; `None`: it was not tried.
    fn open_with(
        &mut self,
        place: Place<'_>,
        authority: &[u8],
        check_time: bool,
    ) -> Result<Option<Tried>, Failure> {
        let Place { socket, context, target } = place;
        let Some(Ok(name)) = self.directory.map(|directory| AtText::new(format!("{directory}{NAME}"))) else {
            self.left_out("Verification was left out: the module stores no file.");
            return Ok(None);
        };
        if !self.can_afford() {
            return Ok(None);
        }
        let first = self.undo.len();
        let usual = self.settings.clone();
        let remove = Command::line(format!("AT+QFDEL=\"{name}\""));
        // It may be there from a survey that was cut off.
        self.insist(remove.clone())?;
        self.undo.push(remove.into());
        let upload = Command::Upload { name: name.clone(), content: authority.to_vec() };
        let mut is_set = is_ok(&self.insist(upload)?);
        if !is_set {
            self.undo.pop();
        }
        let no_time = if check_time { "0" } else { "1" };
        for (key, value) in [
            ("cacert", format!("\"{name}\"").as_str()),
            ("seclevel", "1"),
            ("ignorelocaltime", no_time),
            ("checkhost", "1"),
        ] {
            if is_set && self.profile.has_key(key) {
                self.want(context, key, value)?;
            }
        }
        is_set = is_set && self.renew_settings(context)?;
        let mut tried = None;
        if is_set {
            let code = self.open(socket, Security::Tls(context), target, AccessMode::Buffer)?;
            let states = self.say(format!("AT+QSSLSTATE={socket}"))?;
            let status = SocketStatus::all(&states.lines).find(|it| it.id == socket);
            let address = status.and_then(|status| {
                let address = status.address.filter(|address| address.parse::<IpAddr>().is_ok())?;
                Some((AtText::new(address).ok()?, status.remote_port?))
            });
            // Also after a failure: the number may still be in use, and that a free one is refused does no harm.
            self.close_opened(&self.close_of(socket))?;
            tried = Some(Tried { code, address });
        } else {
            self.left_out(
                "Verification was left out: the module does not take the file or the settings for it.",
            );
        }
        self.settings = usual;
        self.put_back_from(first);
        Ok(tried)
    }
}

fn told(code: u16) -> String {
    if code == 0 { "connected".to_owned() } else { ResultCode(code).to_string() }
}

/// An authority that has signed nothing; nobody has its key.
const NOBODY: &str = include_str!("nobody.pem");

const NAME: &str = "qt-survey-ca.pem";

/// The end of 2019: a clock before it was never set.
const YEAR_2020: i64 = 1_577_836_800;
/// The end of 2049, when a certificate of today has expired.
const YEAR_2049: i64 = 2_524_521_600;
