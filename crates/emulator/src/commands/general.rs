//! Commands about the conversation and the module itself.

use crate::at_port::{Reach, Settings};
use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::config::PortName;
use crate::events::Event;
use crate::modem::Modem;
use crate::parser::{Kind, Parameter};
use crate::result_code::{cme, socket_text};
use crate::session::{MUX_URC_KEYS, UrcPort};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let name = call.command.name.as_str();
    let settings = &mut modem.ports[call.port].settings;
    Some(match (name, &call.command.kind) {
        ("E", kind) => {
            let stays = modem.config.quirks.echo_stays;
            switch(kind).map(|on| settings.echo = on || stays).map_or_else(Err, |()| ok())
        }
        ("V", kind) => switch(kind).map(|on| settings.verbose = on).map_or_else(Err, |()| ok()),
        ("Q", kind) => switch(kind).map(|on| settings.quiet = on).map_or_else(Err, |()| ok()),
        ("&C" | "&D" | "&V" | "IFC" | "QICFG", _) if modem.config.quirks.line_settings_refused => {
            Err(Failure::Error)
        }
        ("&C", kind) => level(kind, 1).map(|value| settings.dcd = value).map_or_else(Err, |()| ok()),
        ("&D", kind) => level(kind, 2).map(|value| settings.dtr = value).map_or_else(Err, |()| ok()),
        ("X", kind) => level(kind, 4).map_or_else(Err, |_| ok()),
        ("H", kind) => level(kind, 0).map_or_else(Err, |_| ok()),
        ("&F", kind) => level(kind, 0).map_or_else(Err, |_| {
            // The speed stays, because the answer must arrive.
            *settings = Settings { baud: settings.baud, ..Settings::new(&modem.config) };
            ok()
        }),
        ("Z", kind) => level(kind, 0).map_or_else(Err, |_| {
            let port = &mut modem.ports[call.port];
            port.settings = Settings { baud: port.settings.baud, ..port.profile.clone() };
            ok()
        }),
        ("&W", kind) => level(kind, 0).map_or_else(Err, |_| {
            let port = &mut modem.ports[call.port];
            port.profile = port.settings.clone();
            ok()
        }),
        ("&V", kind) => level(kind, 0).map_or_else(Err, |_| {
            let Settings { dcd, dtr, echo, quiet, verbose, .. } = *settings;
            let [echo, quiet, verbose] = [echo, quiet, verbose].map(u8::from);
            let shown = [("&C", dcd), ("&D", dtr), ("E", echo), ("Q", quiet), ("V", verbose)];
            Ok(CommandOutcome::Done(shown.map(|(name, value)| format!("{name}: {value}")).into()))
        }),
        ("I", kind) => level(kind, 0).map_or_else(Err, |_| modem.identify()),
        ("O", kind) => level(kind, 0).map_or_else(Err, |_| modem.return_to_stream(call.port)),
        ("CMEE", Kind::Read) => line(format!("+CMEE: {}", settings.error_form)),
        ("CMEE", Kind::Test) => line("+CMEE: (0-2)"),
        ("CMEE", Kind::Write(list)) => match modem.parameters(list).small(0, 0..=2) {
            Ok(form) => {
                modem.ports[call.port].settings.error_form = form;
                ok()
            }
            Err(invalid) => Err(invalid.into()),
        },
        ("IFC", Kind::Read) => {
            let number = |on: bool| if on { 2 } else { 0 };
            line(format!("+IFC: {},{}", number(settings.rts_flow), number(settings.cts_flow)))
        }
        ("IFC", Kind::Test) => line("+IFC: (0,2),(0,2)"),
        ("IFC", Kind::Write(list)) => modem.set_flow_control(call.port, list),
        ("IPR", Kind::Read) => line(format!("+IPR: {}", settings.baud)),
        ("IPR", Kind::Test) => line(format!("+IPR: (),({})", BAUDS.map(|baud| baud.to_string()).join(","))),
        ("IPR", Kind::Write(list)) => modem.set_baud(call.port, list),
        ("CGMI" | "GMI", Kind::Execute) => line(modem.config.facts.manufacturer.clone()),
        ("CGMM" | "GMM", Kind::Execute) => line(modem.model_and_revision().0),
        ("CGMR" | "GMR" | "QGMR", Kind::Execute) => line(modem.model_and_revision().1),
        ("CGSN" | "GSN", Kind::Execute) => line(modem.config.imei.clone()),
        ("CGMI" | "GMI" | "CGMM" | "GMM" | "CGMR" | "GMR" | "CGSN" | "GSN", Kind::Test) => ok(),
        ("CFUN", Kind::Read) => line(format!("+CFUN: {}", modem.session.functionality)),
        ("CFUN", Kind::Test) => line("+CFUN: (0,1,4),(0,1)"),
        ("CFUN", Kind::Write(list)) => modem.set_functionality(call, list),
        ("QPOWD", Kind::Execute | Kind::Write(_)) => {
            modem.schedule(call.now, Event::PowerDown { restart: false });
            ok()
        }
        ("CCLK", Kind::Read) => {
            let text = modem.clock.local_text(call.now, modem.config.quirks.four_digit_year);
            line(format!("+CCLK: \"{text}\""))
        }
        ("CCLK", Kind::Write(list)) => match modem.parameters(list).text(0) {
            Ok(text) if modem.clock.set_local(text, call.now) => ok(),
            _ => Err(Failure::Cme(cme::INVALID_PARAMETER)),
        },
        ("CCLK", Kind::Test) => ok(),
        ("QIGETERROR", Kind::Execute) => {
            let code = modem.session.last_error;
            line(format!("+QIGETERROR: {code},{}", socket_text(code, &modem.config)))
        }
        ("QURCCFG", _) if modem.config.quirks.urc_port_refused => Err(Failure::Error),
        ("QURCCFG", Kind::Test) => {
            let all = if modem.config.quirks.urc_port_all_refused { "" } else { ",\"all\"" };
            line(format!("+QURCCFG: \"urcport\",(\"usbat\",\"usbmodem\",\"uart1\"{all})"))
        }
        ("QURCCFG", Kind::Write(list)) => modem.set_urc_port(list),
        ("QCFG", Kind::Write(list)) => modem.configure(list),
        ("CTZU" | "CTZR" | "QSCLK", kind) => modem.keep(call.command.name.as_str(), kind),
        (name, kind) if name.len() > 1 && name.starts_with('S') && name[1..].parse::<u8>().is_ok() => {
            let number = name[1..].parse().unwrap_or(u8::MAX);
            modem.s_register(call.port, number, kind)
        }
        _ => return None,
    })
}

/// A basic command's number, 0 if left out.
fn level(kind: &Kind, highest: u8) -> Result<u8, Failure> {
    let number = match kind {
        Kind::Execute => 0,
        Kind::Write(list) => match list.as_slice() {
            [Parameter::Bare(digits)] => digits.parse().map_err(|_| Failure::Error)?,
            _ => return Err(Failure::Error),
        },
        Kind::Read | Kind::Test => return Err(Failure::Error),
    };
    if number <= highest { Ok(number) } else { Err(Failure::Error) }
}

fn switch(kind: &Kind) -> Result<bool, Failure> {
    level(kind, 1).map(|number| number == 1)
}

impl Modem {
    fn model_and_revision(&self) -> (String, String) {
        let Some(identity) = self.config.identity.as_deref() else {
            let (model, revision) = self.config.family.identity();
            return (model.into(), revision.into());
        };
        match identity.split_once(' ') {
            Some((model, revision)) => (model.into(), revision.into()),
            None => (identity.into(), format!("{identity}R01A01")),
        }
    }

    fn identify(&self) -> Answer {
        if let Some(lines) = &self.config.facts.product_lines {
            return Ok(CommandOutcome::Done(lines.clone()));
        }
        let (model, revision) = self.model_and_revision();
        let manufacturer = self.config.facts.manufacturer.clone();
        Ok(CommandOutcome::Done(vec![manufacturer, model, format!("Revision: {revision}")]))
    }

    fn set_flow_control(&mut self, port: usize, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let method = |index| match parameters.small(index, 0..=2)? {
            0 => Ok(false),
            2 => Ok(true),
            // XON/XOFF would make payload unsafe, and this modem has none.
            _ => Err(Failure::Error),
        };
        let rts_flow = method(0)?;
        let cts_flow = if parameters.len() > 1 { method(1)? } else { rts_flow };
        let settings = &mut self.ports[port].settings;
        settings.rts_flow = rts_flow;
        settings.cts_flow = cts_flow;
        ok()
    }

    /// The answer still leaves at the old speed.
    fn set_baud(&mut self, port: usize, list: &[Parameter]) -> Answer {
        if let Reach::Channel { .. } = self.ports[port].reach {
            return Err(Failure::Cme(cme::NOT_ALLOWED));
        }
        let parameters = self.parameters(list);
        parameters.at_most(1)?;
        let baud = parameters.number(0, 0..=u32::MAX)?;
        if !BAUDS.contains(&baud) {
            return Err(Failure::Error);
        }
        self.ports[port].next_baud = Some(baud);
        ok()
    }

    /// 0 minimum, 1 full, 4 no radio; `1,1` reboots. Any other than full ends the data session.
    fn set_functionality(&mut self, call: &Call, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let functionality = parameters.small(0, 0..=4)?;
        let reset = parameters.optional_small(1, 0..=1)?.unwrap_or(0) == 1;
        match (functionality, reset) {
            (1, true) => self.schedule(call.now, Event::PowerDown { restart: true }),
            (0 | 1 | 4, false) => {
                let before = std::mem::replace(&mut self.session.functionality, functionality);
                if functionality == 1 && before != 1 && self.session.sim_usable {
                    self.search_network(call.now);
                } else if functionality != 1 {
                    self.session.searching_since = None;
                    self.tell_registration(call.now);
                    for context in 1..=self.config.pdp_contexts() {
                        self.deactivate(context, call.now);
                    }
                }
            }
            _ => return Err(Failure::Error),
        }
        ok()
    }

    fn set_urc_port(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        if parameters.text(0)? != "urcport" {
            return Err(Failure::Error);
        }
        let Some(name) = parameters.optional_text(1)? else {
            let name = match self.session.urc_port {
                UrcPort::All => "all",
                UrcPort::One(port) => port.name(),
            };
            return line(format!("+QURCCFG: \"urcport\",\"{name}\""));
        };
        self.session.urc_port = match (name, PortName::from_name(name)) {
            ("all", _) if !self.config.quirks.urc_port_all_refused => UrcPort::All,
            (_, Some(port)) if port != PortName::Uart2 => UrcPort::One(port),
            _ => return Err(Failure::Error),
        };
        ok()
    }

    /// Keys that drivers set; the values are kept and shown. Those about URCs count in a multiplexer, the others
    /// change nothing here.
    fn configure(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        let key = parameters.text(0)?;
        let unknown = if self.config.quirks.mux_urc_key_differs { MUX_URC_KEYS[0] } else { MUX_URC_KEYS[1] };
        let is_unknown = key == unknown || key.starts_with("urc/ri/") && self.config.quirks.mux_ring_not_set;
        let known = QCFG_KEYS.iter().find(|(known, _)| *known == key && !is_unknown);
        let (_, default) = known.ok_or(Failure::Error)?;
        if parameters.len() == 1 {
            let value = self.session.kept.get(key).map_or(*default, String::as_str);
            return line(format!("+QCFG: \"{key}\",{value}"));
        }
        if MUX_URC_KEYS.contains(&key) {
            parameters.at_most(3)?;
            parameters.small(1, 0..=4)?;
            parameters.optional_small(2, 0..=1)?;
        }
        self.session.kept.insert(key.into(), written(&list[1..]));
        ok()
    }

    /// A setting of one number that changes nothing here.
    fn keep(&mut self, name: &str, kind: &Kind) -> Answer {
        match kind {
            Kind::Read => {
                let value = self.session.kept.get(name).map_or("0", String::as_str);
                line(format!("+{name}: {value}"))
            }
            Kind::Test => line(format!("+{name}: (0-3)")),
            Kind::Write(list) => {
                let value = self.parameters(list).small(0, 0..=3)?;
                self.session.kept.insert(name.into(), value.to_string());
                ok()
            }
            Kind::Execute => Err(Failure::Error),
        }
    }

    fn s_register(&mut self, port: usize, number: u8, kind: &Kind) -> Answer {
        let register = self.ports[port].settings.registers.get_mut(usize::from(number));
        let register = register.ok_or(Failure::Error)?;
        match kind {
            Kind::Read => line(format!("{register:03}")),
            Kind::Write(list) => match list.as_slice() {
                [Parameter::Bare(digits)] => {
                    *register = digits.parse().map_err(|_| Failure::Error)?;
                    ok()
                }
                _ => Err(Failure::Error),
            },
            Kind::Execute | Kind::Test => Err(Failure::Error),
        }
    }
}

/// Parameters as they were written.
pub(crate) fn written(list: &[Parameter]) -> String {
    let texts: Vec<String> = list
        .iter()
        .map(|parameter| match parameter {
            Parameter::Omitted => String::new(),
            Parameter::Bare(text) => text.clone(),
            Parameter::Quoted(text) => format!("\"{text}\""),
        })
        .collect();
    texts.join(",")
}

const BAUDS: [u32; 9] = [4_800, 9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600];

const QCFG_KEYS: [(&str, &str); 11] = [
    ("nwscanmode", "0"),
    ("nwscanseq", "00"),
    ("roamservice", "2"),
    ("servicedomain", "2"),
    ("usbnet", "0"),
    ("cmux/urcport", "0"),
    ("emux/urcport", "0"),
    ("urc/ri/other", "\"pulse\",120,1"),
    ("urc/ri/ring", "\"auto\",120,1000,5000,\"off\",1"),
    ("urc/ri/smsincoming", "\"pulse\",120,1"),
    ("risignaltype", "\"respective\""),
];

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::testing::{Bench, milliseconds, seconds};

    fn silent(config: Config) -> Bench {
        let mut bench = Bench::new(config);
        bench.ask("ATE0");
        bench
    }

    #[test]
    fn echo_is_on_after_boot_and_repeats_the_command_with_its_return() {
        let mut bench = Bench::new(Config::default());
        assert_eq!(bench.ask("AT"), "AT\r\r\nOK\r\n");
        assert_eq!(bench.ask("ATE0"), "ATE0\r\r\nOK\r\n");
        assert_eq!(bench.ask("AT"), "\r\nOK\r\n");
    }

    #[test]
    fn identity_is_framed_as_an_ec25_frames_it() {
        let identity = Some("EC25 EC25AUXGAR08A03M1G".into());
        let mut bench = silent(Config { identity, ..Config::default() });
        assert_eq!(bench.ask("ATI"), "\r\nQuectel\r\nEC25\r\nRevision: EC25AUXGAR08A03M1G\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CGMM"), "\r\nEC25\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CGMR"), "\r\nEC25AUXGAR08A03M1G\r\n\r\nOK\r\n");
    }

    #[test]
    fn numbers_instead_of_words_and_no_results_at_all() {
        let mut bench = silent(Config::default());
        assert_eq!(bench.ask("ATV0"), "0\r");
        assert_eq!(bench.ask("AT+NONSENSE"), "4\r");
        assert_eq!(bench.ask("AT+CSQ"), "+CSQ: 28,99\r\n0\r");
        assert_eq!(bench.ask("ATQ1"), "");
        assert_eq!(bench.ask("AT+CSQ"), "+CSQ: 28,99\r\n");
        assert_eq!(bench.ask("ATQ0V1"), "\r\nOK\r\n");
    }

    #[test]
    fn joined_commands_answer_in_turn_and_stop_at_the_first_error() {
        let mut bench = silent(Config::default());
        assert_eq!(bench.ask("AT+CSQ;+CREG?"), "\r\n+CSQ: 28,99\r\n\r\n+CREG: 0,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CMEE=2;+NONSENSE;+CMEE=0"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+CMEE?"), "\r\n+CMEE: 2\r\n\r\nOK\r\n");
    }

    #[test]
    fn what_is_stored_comes_back_after_a_reset_and_a_boot() {
        let mut bench = silent(Config::default());
        assert_eq!(bench.ask("AT+CMEE=2;&W"), "\r\nOK\r\n");
        bench.ask("AT&F");
        assert_eq!(bench.ask("AT+CMEE?"), "AT+CMEE?\r\r\n+CMEE: 1\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("ATZ"), "ATZ\r\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CMEE?"), "\r\n+CMEE: 2\r\n\r\nOK\r\n");
        bench.ask("AT+CMEE=0");
        bench.modem.reboot(bench.now);
        bench.pass(seconds(9));
        bench.output();
        assert_eq!(bench.ask("AT+CMEE?"), "\r\n+CMEE: 2\r\n\r\nOK\r\n");
    }

    #[test]
    fn a_slash_repeats_the_last_line() {
        let mut bench = Bench::new(Config::default());
        assert_eq!(bench.ask("AT+CSQ"), "AT+CSQ\r\r\n+CSQ: 28,99\r\n\r\nOK\r\n");
        for typed in ["A/", "a/"] {
            bench.type_bytes(typed.as_bytes());
            assert_eq!(bench.output(), format!("{typed}\r\n+CSQ: 28,99\r\n\r\nOK\r\n"));
        }
        // Inside of a line, or after something else, it means nothing.
        bench.type_bytes(b"xa/");
        assert_eq!(bench.output(), "a");
        bench.type_bytes(b"\rATE0\r");
        assert!(bench.output().ends_with("\r\nOK\r\n"));
        bench.modem.reboot(bench.now);
        bench.pass(seconds(9));
        bench.output();
        bench.type_bytes(b"A/");
        assert_eq!(bench.output(), "A/\r\nOK\r\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_and_the_next_one_is_not() {
        let mut bench = silent(Config { command_line_limit_bytes: 20, ..Config::default() });
        assert_eq!(bench.ask(&format!("AT{}", "E0".repeat(10))), "\r\nOK\r\n");
        assert_eq!(bench.ask(&format!("AT{}", "E0".repeat(11))), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT"), "\r\nOK\r\n");
    }

    #[test]
    fn noise_before_a_command_is_passed_over() {
        let mut bench = silent(Config::default());
        bench.type_bytes(b"\xE0\x00\nxxA+++Z\r");
        assert_eq!(bench.output(), "");
        assert_eq!(bench.ask("\n\rAAAT"), "\r\nOK\r\n");
    }

    #[test]
    fn the_answer_takes_its_latency_and_what_comes_meanwhile_is_dropped() {
        let mut bench = Bench::new(Config { command_latency: milliseconds(20), ..Config::default() });
        bench.type_bytes(b"ATE0\rAT+CSQ\r");
        assert_eq!(bench.output(), "ATE0\r");
        bench.pass(milliseconds(19));
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n");
        bench.pass(seconds(9));
        assert_eq!(bench.output(), "");
        assert_eq!(bench.modem.counters().bytes_dropped_while_busy, 7);
    }

    #[test]
    fn a_new_speed_counts_when_its_ok_has_left() {
        let mut bench = silent(Config::default());
        bench.host_reads(0, false);
        bench.type_bytes(b"AT+IPR=921600\r");
        assert_eq!(bench.modem.baud(0), 115_200);
        bench.host_reads(0, true);
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert_eq!(bench.modem.baud(0), 921_600);
        assert_eq!(bench.ask("AT+IPR=921601"), "\r\nERROR\r\n");
    }

    #[test]
    fn flow_control_is_hardware_or_none() {
        let mut bench = silent(Config::default());
        assert_eq!(bench.ask("AT+IFC?"), "\r\n+IFC: 0,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+IFC=2,2"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+IFC?"), "\r\n+IFC: 2,2\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+IFC=1,1"), "\r\nERROR\r\n");
    }

    #[test]
    fn a_host_that_lowers_rts_holds_the_modem() {
        let mut bench = silent(Config::default());
        bench.ask("AT+IFC=2,2");
        bench.lines(0, true, false);
        assert_eq!(bench.ask("AT"), "");
        bench.lines(0, true, true);
        assert_eq!(bench.output(), "\r\nOK\r\n");
    }

    #[test]
    fn the_clock_is_set_in_local_time_and_shown_again() {
        let mut bench = silent(Config::default());
        assert_eq!(bench.ask("AT+CCLK?"), "\r\n+CCLK: \"80/01/06,00:00:00+00\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CCLK=\"26/08/07,13:54:02+32\""), "\r\nOK\r\n");
        bench.pass(seconds(3));
        assert_eq!(bench.ask("AT+CCLK?"), "\r\n+CCLK: \"26/08/07,13:54:05+32\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CCLK=\"26/13/07,13:54:02+32\""), "\r\n+CME ERROR: 50\r\n");
    }

    #[test]
    fn a_reboot_says_so_forgets_everything_volatile_and_comes_back_with_echo() {
        let mut bench = silent(Config::default());
        bench.ask("AT+CMEE=2");
        assert_eq!(bench.ask("AT+CFUN=1,1"), "\r\nOK\r\n\r\nPOWERED DOWN\r\n");
        assert_eq!(bench.ask("AT"), "");
        bench.pass(milliseconds(3_999));
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(1));
        assert_eq!(bench.output(), "\r\nRDY\r\n\r\n+CFUN: 1\r\n");
        bench.pass(seconds(2));
        assert_eq!(bench.output(), "\r\n+CPIN: READY\r\n\r\n+QUSIM: 1\r\n\r\n+QIND: SMS DONE\r\n");
        assert_eq!(bench.ask("AT+CMEE?"), "AT+CMEE?\r\r\n+CMEE: 1\r\n\r\nOK\r\n");
    }

    #[test]
    fn power_down_is_for_good_until_somebody_switches_it_on() {
        let mut bench = silent(Config::default());
        assert_eq!(bench.ask("AT+QPOWD"), "\r\nOK\r\n\r\nPOWERED DOWN\r\n");
        bench.pass(seconds(60));
        assert_eq!(bench.ask("AT"), "");
        assert!(!bench.modem.modem_lines(0).dsr);
        bench.modem.reboot(bench.now);
        bench.pass(seconds(4));
        assert_eq!(bench.output(), "\r\nRDY\r\n\r\n+CFUN: 1\r\n");
    }

    #[test]
    fn settings_of_drivers_are_kept_and_unknown_ones_refused() {
        let mut bench = silent(Config::default());
        assert_eq!(bench.ask("AT+QCFG=\"nwscanmode\",3,1;+CTZU=3;+CTZR=1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QCFG=\"nwscanmode\""), "\r\n+QCFG: \"nwscanmode\",3,1\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CTZU?"), "\r\n+CTZU: 3\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QCFG=\"nonsense\",1"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("ATS0=1;S3?"), "\r\n013\r\n\r\nOK\r\n");
    }

    #[test]
    fn a_stalled_modem_answers_when_it_goes_on() {
        let mut bench = silent(Config::default());
        bench.modem.stall(bench.now + seconds(7));
        bench.type_bytes(b"AT\rAT\r");
        bench.pass(milliseconds(6_999));
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n\r\nOK\r\n");
    }
}
