//! What the module checks of the server's certificate: who has signed it, when it is valid, and for which name.

use std::net::IpAddr;
use std::time::Instant;

use super::payload::Place;
use super::{Survey, is_ok};
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

impl Survey {
    /// Connects with the authority of `--ca`: as it should be, under another name, too late, and with an authority that
    /// has signed nothing.
    pub(super) fn verification(&mut self, place: Place<'_>) -> Result<(), Failure> {
        let Some(authority) = self.authority.clone() else { return Ok(()) };
        self.progress.step("verification");
        let Some(right) = self.open_with(place, &authority)? else { return Ok(()) };
        let clock = self.say("AT+CCLK?")?;
        let is_set = Clock::first(&clock.lines).is_some_and(|clock| clock.unix_seconds() > YEAR_2020);
        if right.code != 0 {
            let mut measured = told(right.code);
            if !is_set {
                measured.push_str("; the module's clock is not set");
            }
            // What fails in any case shows nothing.
            self.comparison.row("the server's certificate", "is accepted", "verifies", measured, !is_set);
            return Ok(());
        }
        self.comparison.row("the server's certificate", "is accepted", "verifies", told(0), true);
        if let Some(Tried { code, .. }) = self.open_with(place, NOBODY.as_bytes())? {
            self.comparison.row("another authority", "566", "relies on it", told(code), code != 0);
        }
        if let Some((host, port)) = right.address {
            let target = Target { host, port };
            if let Some(Tried { code, .. }) =
                self.open_with(Place { target: &target, ..place }, &authority)?
            {
                let (manual, tunnel) = match self.profile.checks_host_name() {
                    true => ("566", "relies on it"),
                    false => ("connected", "warns"),
                };
                let copes = code != 0 || !self.profile.checks_host_name();
                self.comparison.row("another name", manual, tunnel, told(code), copes);
            }
        }
        if is_set && let Some(code) = self.expired(place, &authority)? {
            self.comparison.row("an expired certificate", "566", "relies on it", told(code), code != 0);
        }
        Ok(())
    }

    /// The same when it is too late. The clock is put back.
    fn expired(&mut self, place: Place<'_>, authority: &[u8]) -> Result<Option<u16>, Failure> {
        let begin = Instant::now();
        let answer = self.say("AT+CCLK?")?;
        let Some(before) = Clock::first(&answer.lines) else { return Ok(None) };
        let zone = answer.lines.iter().find_map(|line| {
            let line = line.trim_end().trim_end_matches('"');
            Some(line[line.rfind(['+', '-']).filter(|at| *at > 0)?..].to_owned())
        });
        let zone = zone.filter(|zone| zone.parse::<i64>().is_ok()).unwrap_or_else(|| "+00".to_owned());
        let in_zone = |unix_seconds: i64| {
            let quarters: i64 = zone.parse().unwrap_or(0);
            let text = Clock::at(unix_seconds + quarters * 15 * 60)?.to_string();
            let local = text.trim_matches('"').trim_end_matches("+00").to_owned();
            Some(Command::line(format!("AT+CCLK=\"{local}{zone}\"")))
        };
        let (Some(late), Some(back)) = (in_zone(YEAR_2049), in_zone(before.unix_seconds())) else {
            return Ok(None);
        };
        self.undo.push(back);
        let is_late = is_ok(&self.insist(late)?);
        let tried = if is_late { self.open_with(place, authority)? } else { None };
        self.undo.pop();
        // It has gone on meanwhile.
        let now = before.unix_seconds() + begin.elapsed().as_secs() as i64;
        if let (true, Some(back)) = (is_late, in_zone(now)) {
            let first = self.undo.len();
            self.undo.push(back);
            self.put_back_from(first);
        }
        Ok(tried.map(|tried| tried.code))
    }

    /// Opens a connection with this authority, and closes it; `None`: it was not tried.
    fn open_with(&mut self, place: Place<'_>, authority: &[u8]) -> Result<Option<Tried>, Failure> {
        let Place { socket, context, target } = place;
        let Ok(name) = AtText::new(format!("{}{NAME}", self.profile.directory())) else { return Ok(None) };
        if !self.can_afford() {
            return Ok(None);
        }
        let first = self.undo.len();
        let remove = Command::line(format!("AT+QFDEL=\"{name}\""));
        // It may be there from a survey that was cut off.
        self.insist(remove.clone())?;
        self.undo.push(remove);
        let upload = Command::Upload { name: name.clone(), content: authority.to_vec() };
        let mut is_set = is_ok(&self.insist(upload)?);
        if !is_set {
            self.undo.pop();
        }
        for (key, value) in [
            ("cacert", format!("\"{name}\"")),
            ("seclevel", "1".to_owned()),
            ("ignorelocaltime", "0".to_owned()),
            ("checkhost", "1".to_owned()),
        ] {
            let set = |value: &str| Self::setting_command(key, context, value);
            if is_set
                && self.profile.has_key(key)
                && let Some(before) = self.setting(key, context)?
            {
                self.undo.push(set(&before));
                is_set = is_ok(&self.insist(set(&value))?);
            }
        }
        let mut tried = None;
        if is_set {
            let close = self.close_of(socket);
            let code = self.open(socket, Security::Tls(context), target, AccessMode::Buffer)?;
            self.undo.push(close.clone());
            let states = self.say(format!("AT+QSSLSTATE={socket}"))?;
            let status = SocketStatus::all(&states.lines).find(|it| it.id == socket);
            let address = status.and_then(|status| {
                let address = status.address.filter(|address| address.parse::<IpAddr>().is_ok())?;
                Some((AtText::new(address).ok()?, status.remote_port?))
            });
            // Also after a failure: the number may still be in use, and that a free one is refused does no harm.
            self.close(&close)?;
            self.undo.pop();
            tried = Some(Tried { code, address });
        }
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
