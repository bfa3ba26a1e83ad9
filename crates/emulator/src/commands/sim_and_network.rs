//! Commands about the SIM card and the mobile network.

use std::time::Instant;

use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::config::{Cell, Family, Registration, Sim};
use crate::events::Event;
use crate::modem::Modem;
use crate::parser::{Kind, Parameter};
use crate::power::PIN_ATTEMPTS;
use crate::result_code::cme;
use crate::socket::SocketState;
use crate::time::Clock;

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let now = call.now;
    Some(match (call.command.name.as_str(), &call.command.kind) {
        ("CPIN", Kind::Read) => modem.sim_state().map_or_else(Err, |state| line(format!("+CPIN: {state}"))),
        ("CPIN", Kind::Write(list)) => modem.enter_pin(list, now),
        ("CPIN", Kind::Test) => ok(),
        ("QPINC", _) if modem.config.quirks.pin_count_refused => Err(Failure::Error),
        ("CPINR", Kind::Execute) => modem.attempts(None),
        ("CPINR", Kind::Write(list)) => modem
            .parameters(list)
            .text(0)
            .map_or_else(|invalid| Err(invalid.into()), |code| modem.attempts(Some(code))),
        ("QPINC", Kind::Write(list)) if modem.parameters(list).text(0) == Ok("SC") => {
            line(format!("+QPINC: \"SC\",{},10", modem.pin_attempts()))
        }
        ("CIMI", Kind::Execute) => modem.sim_usable().map_or_else(Err, |()| line(modem.config.imsi.clone())),
        ("QCCID" | "CCID", Kind::Execute) => {
            let name = &call.command.name;
            modem.sim_present().map_or_else(Err, |()| line(format!("+{name}: {}", modem.config.iccid)))
        }
        ("QSIMSTAT", Kind::Read) => {
            let inserted = u8::from(modem.config.sim != Sim::Absent);
            let told = modem.session.kept.get("QSIMSTAT").map_or("0", String::as_str);
            line(format!("+QSIMSTAT: {told},{inserted}"))
        }
        // The card of a running modem is never changed, so the URC never comes.
        ("QSIMSTAT", Kind::Write(list)) => modem.parameters(list).small(0, 0..=1).map_or_else(
            |invalid| Err(invalid.into()),
            |told| {
                modem.session.kept.insert("QSIMSTAT".into(), told.to_string());
                ok()
            },
        ),
        ("QSIMSTAT", Kind::Test) => line("+QSIMSTAT: (0,1)"),
        ("CNMI", Kind::Test) => line("+CNMI: (0-2),(0-3),(0,2),(0-2),(0,1)"),
        ("CNMI", Kind::Read) => modem.sim_usable().map_or_else(Err, |()| {
            let values = modem.session.message_indications.map(|value| value.to_string());
            line(format!("+CNMI: {}", values.join(",")))
        }),
        ("CNMI", Kind::Write(_)) if modem.config.quirks.messages_shown => Err(Failure::Error),
        ("CNMI", Kind::Write(list)) => modem.show_messages(list),
        ("CREG" | "CGREG" | "CEREG", kind) => modem.registration_command(&call.command.name, kind, now),
        ("CSQ", Kind::Execute) => line(format!("+CSQ: {},99", modem.config.signal)),
        ("CSQ", Kind::Test) => line("+CSQ: (0-31,99),(0-7,99)"),
        ("CESQ", Kind::Execute) => line(modem.extended_signal()),
        ("CESQ", Kind::Test) => line("+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)"),
        ("QCSQ", Kind::Execute | Kind::Read) => line(modem.signal_of_service(now)),
        ("QCSQ", Kind::Test) => line("+QCSQ: \"NOSERVICE\",\"LTE\""),
        // An EC2x has PMIC, crystal and power amplifier.
        ("QTEMP", Kind::Execute) => match modem.config.cell.temperature {
            Some(celsius) => line(format!("+QTEMP: {celsius},{},{}", celsius - 2, celsius - 1)),
            None => Err(Failure::Error),
        },
        ("QENG", Kind::Test) => line("+QENG: (\"servingcell\")"),
        ("QENG", Kind::Write(list)) if modem.parameters(list).text(0) == Ok("servingcell") => {
            line(modem.serving_cell(now))
        }
        ("QLTS", Kind::Test) => line("+QLTS: (0-2)"),
        ("QLTS", Kind::Execute) => line(modem.time_of_network(call)),
        ("QLTS", Kind::Write(list)) => match modem.parameters(list).small(0, 0..=2) {
            Ok(_) => line(modem.time_of_network(call)),
            Err(invalid) => Err(invalid.into()),
        },
        ("COPS", Kind::Read) if modem.is_registered(now) => {
            line(format!("+COPS: 0,0,\"{}\",7", modem.config.operator))
        }
        ("COPS", Kind::Read) => line("+COPS: 0"),
        ("COPS", Kind::Test) => {
            let name = &modem.config.operator;
            line(format!("+COPS: (2,\"{name}\",\"{name}\",\"00101\",7),,(0-4),(0-2)"))
        }
        ("COPS", Kind::Write(list)) => {
            modem.parameters(list).small(0, 0..=4).map_or_else(|invalid| Err(invalid.into()), |_| ok())
        }
        ("QNWINFO", Kind::Execute) if modem.is_registered(now) => {
            line("+QNWINFO: \"FDD LTE\",\"00101\",\"LTE BAND 3\",1650")
        }
        ("QNWINFO", Kind::Execute) => line("+QNWINFO: No Service"),
        _ => return None,
    })
}

/// The signal of the serving cell in dBm and dB.
#[derive(Clone, Copy, Debug)]
struct Signal {
    rssi: i32,
    rsrp: i32,
    rsrq: i32,
    sinr: i32,
}

impl Modem {
    /// What AT+CSQ says in other units; `None` if it is unknown. Everything but the RSSI is assumed.
    fn measured_signal(&self) -> Option<Signal> {
        let level = i32::from(self.config.signal);
        let rssi = 2 * level - 113;
        let Cell { rsrp, rsrq, sinr, .. } = self.config.cell;
        (level <= 31).then_some(Signal { rssi, rsrp: rsrp.unwrap_or(rssi - 28), rsrq, sinr })
    }

    /// AT+CESQ (3GPP 27.007, 8.69): of an LTE cell RSRQ and RSRP.
    fn extended_signal(&self) -> String {
        let (quality, power) = match self.measured_signal() {
            Some(signal) => ((2 * signal.rsrq + 40).clamp(0, 34), (signal.rsrp + 141).clamp(0, 97)),
            None => (255, 255),
        };
        format!("+CESQ: 99,99,255,255,{quality},{power}")
    }

    /// AT+QCSQ: service, RSSI, RSRP, SINR in fifths of a dB above -20, RSRQ.
    fn signal_of_service(&self, now: Instant) -> String {
        match self.measured_signal().filter(|_| self.is_registered(now)) {
            Some(Signal { rssi, rsrp, rsrq, sinr }) => {
                format!("+QCSQ: \"LTE\",{rssi},{rsrp},{},{rsrq}", 5 * (sinr + 20))
            }
            None => "+QCSQ: \"NOSERVICE\"".into(),
        }
    }

    /// AT+QENG="servingcell" of an LTE cell, as an EC25 writes it; assumed of the others.
    fn serving_cell(&self, now: Instant) -> String {
        if !self.is_registered(now) {
            return "+QENG: \"servingcell\",\"SEARCH\"".into();
        }
        let carries = self.session.sockets.iter().any(|socket| socket.state == SocketState::Connected);
        let state = if carries { "CONNECT" } else { "NOCONN" };
        let signal = match self.measured_signal() {
            Some(Signal { rssi, rsrp, rsrq, sinr }) => format!("{rsrp},{rsrq},{rssi},{sinr},27"),
            None => "-,-,-,-,-".into(),
        };
        let band = self.config.cell.band;
        format!(
            "+QENG: \"servingcell\",\"{state}\",\"LTE\",\"FDD\",001,01,A3B4C01,12,1650,{band},5,5,1F2A,{signal}"
        )
    }

    /// AT+QLTS: the time that the network has sent, in UTC, and whether it is summer time; empty if it has sent none.
    fn time_of_network(&self, call: &mut Call) -> String {
        let seconds = match self.is_registered(call.now) {
            true => call.network.time("", call.now),
            false => None,
        };
        match seconds {
            Some(seconds) => {
                let clock = Clock::new(Some(seconds), call.now);
                format!("+QLTS: \"{},0\"", clock.local_text(call.now, true))
            }
            None => "+QLTS: \"\"".into(),
        }
    }

    /// AT+CNMI: how arriving messages are reported. Omitted values stay as they are.
    fn show_messages(&mut self, list: &[Parameter]) -> Answer {
        self.sim_usable()?;
        let parameters = self.parameters(list);
        parameters.at_most(5)?;
        let mut values = self.session.message_indications;
        for (index, (value, most)) in values.iter_mut().zip([2, 3, 2, 2, 1]).enumerate() {
            *value = parameters.optional_small(index, 0..=most)?.unwrap_or(*value);
        }
        self.session.message_indications = values;
        ok()
    }

    /// The word of AT+CPIN?.
    fn sim_state(&self) -> Result<&'static str, Failure> {
        match &self.config.sim {
            _ if self.session.sim_usable => Ok("READY"),
            Sim::Ready => Ok("READY"),
            Sim::Pin(_) if self.wrong_pins >= PIN_ATTEMPTS => Ok("SIM PUK"),
            Sim::Puk => Ok("SIM PUK"),
            Sim::Pin(_) => Ok("SIM PIN"),
            Sim::Absent => Err(Failure::Cme(cme::SIM_NOT_INSERTED)),
            Sim::Failed => Err(Failure::Cme(cme::SIM_FAILURE)),
            Sim::Busy => Err(Failure::Cme(cme::SIM_BUSY)),
        }
    }

    /// AT+CPINR of 3GPP 27.007: attempts left and at most, for one code or for all.
    fn attempts(&self, code: Option<&str>) -> Answer {
        self.sim_present()?;
        let pin = self.pin_attempts();
        let all = [("SIM PIN", pin, PIN_ATTEMPTS), ("SIM PUK", 10, 10)];
        let told = all.iter().filter(|(name, ..)| code.is_none_or(|code| code == *name));
        let lines = told.map(|(name, left, most)| format!("+CPINR: {name},{left},{most}"));
        Ok(CommandOutcome::Done(lines.collect()))
    }

    /// Attempts left for the PIN.
    fn pin_attempts(&self) -> u8 {
        match self.config.sim {
            Sim::Puk => 0,
            _ => PIN_ATTEMPTS.saturating_sub(self.wrong_pins),
        }
    }

    fn sim_present(&self) -> Result<(), Failure> {
        self.sim_state().map(|_| ())
    }

    fn sim_usable(&self) -> Result<(), Failure> {
        match self.sim_state()? {
            "READY" => Ok(()),
            "SIM PUK" => Err(Failure::Cme(cme::SIM_PUK_REQUIRED)),
            _ => Err(Failure::Cme(cme::SIM_PIN_REQUIRED)),
        }
    }

    /// The third wrong PIN locks the card; then only a PUK would help, which this modem does not take.
    fn enter_pin(&mut self, list: &[Parameter], now: Instant) -> Answer {
        let state = self.sim_state()?;
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        // Some drivers leave out the quotes.
        let entered = match list.first() {
            Some(Parameter::Bare(digits)) => digits.as_str(),
            _ => parameters.text(0)?,
        };
        match (&self.config.sim, state) {
            (_, "SIM PUK") => Err(Failure::Cme(cme::SIM_PUK_REQUIRED)),
            (Sim::Pin(pin), "SIM PIN") if pin == entered => {
                self.wrong_pins = 0;
                self.session.sim_usable = true;
                self.schedule(now, Event::Urc("+CPIN: READY".into()));
                self.search_network(now);
                ok()
            }
            (_, "SIM PIN") => {
                self.wrong_pins += 1;
                Err(Failure::Cme(cme::INCORRECT_PASSWORD))
            }
            _ => Err(Failure::Cme(cme::NOT_ALLOWED)),
        }
    }

    /// The number after the comma of AT+CEREG?: 0 not searching, 1 home, 2 searching, 3 denied, 5 roaming.
    pub(crate) fn registration_status(&self, now: Instant) -> u8 {
        let Some(since) = self.session.searching_since.filter(|_| self.session.functionality == 1) else {
            return 0;
        };
        let searched = now.saturating_duration_since(since);
        match self.config.registration {
            Registration::After(time) if searched >= time => 1,
            Registration::RoamingAfter(time) if searched >= time => 5,
            Registration::Denied => 3,
            Registration::After(_) | Registration::RoamingAfter(_) | Registration::Searching => 2,
        }
    }

    pub(crate) fn is_registered(&self, now: Instant) -> bool {
        matches!(self.registration_status(now), 1 | 5)
    }

    /// Schedules the checks that report the registration: now, and when the modem is to register.
    pub(crate) fn schedule_registration(&mut self, now: Instant) {
        self.schedule(now, Event::Registration);
        if let (Registration::After(time) | Registration::RoamingAfter(time), Some(since)) =
            (self.config.registration, self.session.searching_since)
        {
            self.schedule((since + time).max(now), Event::Registration);
        }
    }

    /// Reports a changed registration by the URCs that are enabled.
    pub(crate) fn tell_registration(&mut self, now: Instant) {
        let status = self.registration_status(now);
        if std::mem::replace(&mut self.session.registration_told, status) == status {
            return;
        }
        for (index, name) in REGISTRATIONS.iter().enumerate() {
            let urcs = self.session.registration_urcs[index];
            if urcs > 0 {
                let status = self.status_for(index, status);
                let location = location(urcs, status);
                self.urc(&format!("+{name}: {status}{location}"));
            }
        }
    }

    /// An EG800Q has LTE only: the other two services are never registered, unless by a quirk.
    fn status_for(&self, index: usize, status: u8) -> u8 {
        let told = REGISTRATIONS[index] == "CEREG" || self.config.quirks.registered_everywhere;
        if told || self.config.family == Family::Ec20 { status } else { 0 }
    }

    fn registration_command(&mut self, name: &str, kind: &Kind, now: Instant) -> Answer {
        let index = REGISTRATIONS.iter().position(|known| *known == name).ok_or(Failure::Error)?;
        match kind {
            Kind::Read => {
                let urcs = self.session.registration_urcs[index];
                let status = self.status_for(index, self.registration_status(now));
                line(format!("+{name}: {urcs},{status}{}", location(urcs, status)))
            }
            Kind::Test => line(format!("+{name}: (0-2)")),
            Kind::Write(list) => {
                let parameters = self.parameters(list);
                parameters.at_most(1)?;
                self.session.registration_urcs[index] = parameters.small(0, 0..=2)?;
                ok()
            }
            Kind::Execute => Err(Failure::Error),
        }
    }
}

/// Area, cell and technology, if they are enabled and the modem is registered.
fn location(urcs: u8, status: u8) -> &'static str {
    match (urcs, status) {
        (2, 1 | 5) => ",\"1F2A\",\"A3B4C01\",7",
        _ => "",
    }
}

const REGISTRATIONS: [&str; 3] = ["CREG", "CGREG", "CEREG"];

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, seconds};
    use crate::{Config, Family, Quirks, Registration, Sim};

    #[test]
    fn a_sim_without_pin_is_ready() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+CPIN?"), "\r\n+CPIN: READY\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CIMI"), "\r\n001010123456789\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QCCID"), "\r\n+QCCID: 89860000000000000007\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CPIN=\"1234\""), "\r\n+CME ERROR: 3\r\n");
    }

    #[test]
    fn the_right_pin_opens_the_sim_and_starts_the_search() {
        let mut bench = Bench::without_echo(Config { sim: Sim::Pin("1234".into()), ..Config::default() });
        assert_eq!(bench.ask("AT+CPIN?"), "\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CEREG?"), "\r\n+CEREG: 0,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CIMI"), "\r\n+CME ERROR: 11\r\n");
        assert_eq!(bench.ask("AT+CPIN=\"1234\""), "\r\nOK\r\n\r\n+CPIN: READY\r\n");
        assert_eq!(bench.ask("AT+CEREG?"), "\r\n+CEREG: 0,1\r\n\r\nOK\r\n");
    }

    #[test]
    fn three_wrong_pins_lock_the_sim_beyond_a_reboot() {
        let mut bench = Bench::without_echo(Config { sim: Sim::Pin("1234".into()), ..Config::default() });
        for _ in 0..3 {
            assert_eq!(bench.ask("AT+CPIN=\"0000\""), "\r\n+CME ERROR: 16\r\n");
        }
        assert_eq!(bench.ask("AT+CPIN=\"1234\""), "\r\n+CME ERROR: 12\r\n");
        bench.modem.reboot(bench.now);
        bench.pass(seconds(9));
        bench.output();
        bench.ask("ATE0");
        bench.output();
        assert_eq!(bench.ask("AT+CPIN?"), "\r\n+CPIN: SIM PUK\r\n\r\nOK\r\n");
    }

    #[test]
    fn missing_and_broken_sims_have_their_errors() {
        for (sim, number) in [(Sim::Absent, 10), (Sim::Failed, 13), (Sim::Busy, 14)] {
            let mut bench = Bench::without_echo(Config { sim, ..Config::default() });
            assert_eq!(bench.ask("AT+CPIN?"), format!("\r\n+CME ERROR: {number}\r\n"));
            assert_eq!(bench.ask("AT+CEREG?"), "\r\n+CEREG: 0,0\r\n\r\nOK\r\n");
        }
        let mut bench = Bench::without_echo(Config { sim: Sim::Failed, ..Config::default() });
        bench.ask("AT+CMEE=2");
        assert_eq!(bench.ask("AT+CPIN?"), "\r\n+CME ERROR: SIM failure\r\n");
    }

    #[test]
    fn registration_takes_its_time_and_is_told_where_asked_for() {
        let mut bench = Bench::without_echo(Config {
            family: Family::Ec20,
            registration: Registration::RoamingAfter(seconds(7)),
            ..Config::default()
        });
        assert_eq!(bench.ask("AT+CREG=1;+CEREG=2"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CEREG?"), "\r\n+CEREG: 2,2\r\n\r\nOK\r\n");
        bench.pass(seconds(7));
        assert_eq!(bench.output(), "\r\n+CREG: 5\r\n\r\n+CEREG: 5,\"1F2A\",\"A3B4C01\",7\r\n");
        assert_eq!(bench.ask("AT+CGREG?"), "\r\n+CGREG: 0,5\r\n\r\nOK\r\n");
        bench.modem.set_registration(Registration::Denied, bench.now);
        bench.look();
        assert_eq!(bench.output(), "\r\n+CREG: 3\r\n\r\n+CEREG: 3\r\n");
    }

    #[test]
    fn an_lte_only_module_registers_nowhere_else() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+CREG?;+CEREG?"), "\r\n+CREG: 0,0\r\n\r\n+CEREG: 0,1\r\n\r\nOK\r\n");
    }

    #[test]
    fn in_the_field_every_registration_is_that_of_lte() {
        let registration = Registration::RoamingAfter(seconds(2));
        let mut bench =
            Bench::without_echo(Config { quirks: Quirks::field(), registration, ..Config::default() });
        bench.ask("AT+CREG=1");
        bench.pass(seconds(2));
        assert_eq!(bench.output(), "\r\n+CREG: 5\r\n");
        assert_eq!(bench.ask("AT+CREG?;+CGREG?"), "\r\n+CREG: 1,5\r\n\r\n+CGREG: 0,5\r\n\r\nOK\r\n");
    }

    #[test]
    fn the_signal_is_the_same_in_every_unit() {
        let mut bench = Bench::without_echo(Config::default());
        for (command, answer) in [
            ("AT+CSQ", "+CSQ: 28,99"),
            ("AT+QCSQ", "+QCSQ: \"LTE\",-57,-85,160,-11"),
            ("AT+CESQ", "+CESQ: 99,99,255,255,18,56"),
            ("AT+QTEMP", "+QTEMP: 34,32,33"),
            (
                "AT+QENG=\"servingcell\"",
                "+QENG: \"servingcell\",\"NOCONN\",\"LTE\",\"FDD\",001,01,A3B4C01,12,1650,3,5,5,1F2A,-85,-11,-57,12,27",
            ),
        ] {
            assert_eq!(bench.ask(command), format!("\r\n{answer}\r\n\r\nOK\r\n"));
        }
        let mut bench = Bench::without_echo(Config {
            signal: 99,
            registration: Registration::Searching,
            ..Config::default()
        });
        assert_eq!(bench.ask("AT+QCSQ"), "\r\n+QCSQ: \"NOSERVICE\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CESQ"), "\r\n+CESQ: 99,99,255,255,255,255\r\n\r\nOK\r\n");
        assert!(bench.ask("AT+QENG=\"servingcell\"").contains("\"SEARCH\""));
        assert_eq!(bench.ask("AT+QENG=\"nothing\""), "\r\nERROR\r\n");
    }

    #[test]
    fn the_networks_time_is_shown_whatever_the_modems_clock() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+QLTS"), "\r\n+QLTS: \"\"\r\n\r\nOK\r\n");
        bench.network.set_time(1_786_082_042, bench.now);
        assert_eq!(bench.ask("AT+QLTS=1"), "\r\n+QLTS: \"2026/08/07,05:54:02+00,0\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QLTS=3"), "\r\nERROR\r\n");
    }

    #[test]
    fn a_sim_that_wants_its_puk_takes_no_pin() {
        let mut bench = Bench::without_echo(Config { sim: Sim::Puk, ..Config::default() });
        assert_eq!(bench.ask("AT+CPIN?"), "\r\n+CPIN: SIM PUK\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CPIN=\"1234\""), "\r\n+CME ERROR: 12\r\n");
        assert_eq!(bench.ask("AT+QPINC=\"SC\""), "\r\n+QPINC: \"SC\",0,10\r\n\r\nOK\r\n");
    }
}
