//! Commands about the data session: PDP contexts, name servers, network time.

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::config::TimeService;
use crate::events::Event;
use crate::modem::Modem;
use crate::parser::{Kind, Parameter};
use crate::result_code::{cme, socket};
use crate::session::{PdpContext, PdpSettings};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let now = call.now;
    let contexts = modem.config.pdp_contexts();
    Some(match (call.command.name.as_str(), &call.command.kind) {
        ("QICSGP", Kind::Test) => {
            line(format!("+QICSGP: (1-{contexts}),(1-3),<apn>,<username>,<password>,(0-3)"))
        }
        ("QICSGP", Kind::Write(list)) => modem.set_context(list),
        ("CGDCONT", Kind::Read) => modem.list_definitions(),
        ("CGDCONT", Kind::Write(list)) => modem.define_context(list),
        ("CGDCONT", Kind::Test) => line(format!("+CGDCONT: (1-{contexts}),\"IP\",,,(0-2),(0-4)")),
        ("QIACT", Kind::Test) => line(format!("+QIACT: (1-{contexts})")),
        ("QIACT", Kind::Read) if modem.config.quirks.session_query_refused => Err(Failure::Error),
        ("QIACT", Kind::Read) => modem.list_active(),
        ("QIACT", Kind::Write(list)) => modem.activate(list, now),
        ("QIDEACT", Kind::Test) => line(format!("+QIDEACT: (1-{contexts})")),
        ("QIDEACT", Kind::Write(list)) => modem.context_number(list, 1).map_or_else(Err, |context| {
            modem.deactivate(context, now);
            modem.session.last_error = socket::OK;
            ok()
        }),
        ("QIDNSCFG", Kind::Write(list)) => modem.name_servers(list),
        ("CGATT", Kind::Read) => line(format!("+CGATT: {}", u8::from(modem.is_registered(now)))),
        ("CGATT", Kind::Write(list)) => {
            modem.parameters(list).small(0, 0..=1).map_or_else(|invalid| Err(invalid.into()), |_| ok())
        }
        ("CGACT", Kind::Test) => line("+CGACT: (0,1)"),
        ("CGACT", Kind::Read) => modem.list_activations(),
        ("CGACT", Kind::Write(list)) => modem.activate_by_standard(list, now),
        ("CGCONTRDP", Kind::Test) => {
            let active = (1..=contexts).filter(|context| modem.active_context(*context).is_some());
            let active: Vec<String> = active.map(|context| context.to_string()).collect();
            line(format!("+CGCONTRDP: ({})", active.join(",")))
        }
        ("CGCONTRDP", Kind::Execute) => modem.describe_contexts(1..=contexts),
        ("CGCONTRDP", Kind::Write(list)) => modem
            .context_number(list, 1)
            .map_or_else(Err, |context| modem.describe_contexts(context..=context)),
        ("CGPADDR", Kind::Execute) => {
            let all = (1..=contexts).filter(|context| modem.active_context(*context).is_some());
            Ok(CommandOutcome::Done(all.map(|context| modem.address_line(context)).collect()))
        }
        ("CGPADDR", Kind::Write(list)) => {
            modem.context_number(list, 1).map_or_else(Err, |context| line(modem.address_line(context)))
        }
        ("QNTP", Kind::Write(list)) => modem.network_time(call, list),
        _ => return None,
    })
}

impl Modem {
    /// The context if it is active.
    pub(crate) fn active_context(&self, context: u8) -> Option<&PdpContext> {
        let index = usize::from(context).checked_sub(1)?;
        self.session.pdp_contexts.get(index).filter(|pdp| pdp.address.is_some())
    }

    fn context_number(&self, list: &[Parameter], at_most: usize) -> Result<u8, Failure> {
        let parameters = self.parameters(list);
        let invalid = |_| Failure::Socket(socket::INVALID_PARAMETER);
        parameters.at_most(at_most).map_err(invalid)?;
        parameters.small(0, 1..=self.config.pdp_contexts()).map_err(invalid)
    }

    fn context_mut(&mut self, context: u8) -> &mut PdpContext {
        &mut self.session.pdp_contexts[usize::from(context) - 1]
    }

    fn set_context(&mut self, list: &[Parameter]) -> Answer {
        let context = self.context_number(list, 6)?;
        let parameters = self.parameters(list);
        if parameters.len() == 1 {
            let text = match &self.context_mut(context).settings {
                Some(set) => format!(
                    "{},\"{}\",\"{}\",\"{}\",{}",
                    set.kind, set.apn, set.user, set.password, set.authentication
                ),
                None => "1,\"\",\"\",\"\",0".into(),
            };
            return line(format!("+QICSGP: {text}"));
        }
        let before = self.context_mut(context).settings.clone();
        let kind = parameters.small(1, 1..=3)?;
        let text = |index, before: Option<&String>| -> Result<String, Failure> {
            let given = parameters.optional_text(index)?;
            Ok(given.map_or_else(|| before.cloned().unwrap_or_default(), String::from))
        };
        let settings = PdpSettings {
            kind,
            apn: text(2, before.as_ref().map(|set| &set.apn))?,
            user: text(3, before.as_ref().map(|set| &set.user))?,
            password: text(4, before.as_ref().map(|set| &set.password))?,
            authentication: parameters
                .optional_small(5, 0..=3)?
                .unwrap_or_else(|| before.as_ref().map_or(0, |set| set.authentication)),
        };
        self.context_mut(context).settings = Some(settings);
        ok()
    }

    fn define_context(&mut self, list: &[Parameter]) -> Answer {
        let context = self.context_number(list, 7)?;
        let parameters = self.parameters(list);
        let kind = match parameters.optional_text(1)? {
            None | Some("IP") => 1,
            Some("IPV6") => 2,
            Some("IPV4V6") => 3,
            Some(_) => return Err(Failure::Error),
        };
        let apn = parameters.optional_text(2)?.unwrap_or_default().into();
        let (user, password) = (String::new(), String::new());
        self.context_mut(context).settings =
            Some(PdpSettings { kind, apn, user, password, authentication: 0 });
        ok()
    }

    fn list_definitions(&self) -> Answer {
        let set = (1..).zip(&self.session.pdp_contexts);
        let lines = set.filter_map(|(number, pdp)| {
            let set = pdp.settings.as_ref()?;
            let kind = ["IP", "IPV6", "IPV4V6"][usize::from(set.kind) - 1];
            Some(format!("+CGDCONT: {number},\"{kind}\",\"{}\",\"0.0.0.0\",0,0", set.apn))
        });
        Ok(CommandOutcome::Done(lines.collect()))
    }

    fn list_active(&self) -> Answer {
        let contexts = (1..).zip(&self.session.pdp_contexts);
        let lines = contexts.filter_map(|(number, pdp)| {
            let address = pdp.address?;
            let kind = pdp.settings.as_ref().map_or(1, |set| set.kind);
            Some(format!("+QIACT: {number},1,{kind},\"{address}\""))
        });
        Ok(CommandOutcome::Done(lines.collect()))
    }

    /// AT+CGACT?: the contexts that are defined or active. Assumed: others are not listed.
    fn list_activations(&self) -> Answer {
        let contexts = (1..).zip(&self.session.pdp_contexts);
        let known = contexts.filter(|(_, pdp)| pdp.settings.is_some() || pdp.address.is_some());
        let lines =
            known.map(|(number, pdp)| format!("+CGACT: {number},{}", u8::from(pdp.address.is_some())));
        Ok(CommandOutcome::Done(lines.collect()))
    }

    /// `AT+CGACT=<state>[,<PDP>[,<PDP>…]]`: the contexts are those of AT+QIACT; without a number all that are defined. One
    /// that is in this state already stays so (3GPP 27.007, 10.1.10).
    fn activate_by_standard(&mut self, list: &[Parameter], now: Instant) -> Answer {
        let parameters = self.parameters(list);
        let is_wanted = parameters.small(0, 0..=1)? == 1;
        let highest = self.config.pdp_contexts();
        let contexts: Vec<u8> = match parameters.len() {
            1 => (1..=highest).filter(|context| self.context_mut(*context).settings.is_some()).collect(),
            count => {
                (1..count).map(|index| parameters.small(index, 1..=highest)).collect::<Result<_, _>>()?
            }
        };
        for context in contexts {
            match (is_wanted, self.active_context(context).is_some()) {
                (true, false) if !self.is_registered(now) => return Err(Failure::Cme(cme::NO_NETWORK)),
                (true, false) => {
                    self.bring_up(context, now).map_err(|_| Failure::Cme(cme::DATA_SESSION))?;
                }
                (false, true) => {
                    self.deactivate(context, now);
                }
                _ => {}
            }
        }
        ok()
    }

    /// AT+CGCONTRDP: number, bearer, access point, address, gateway, name servers of each active context. Bearer and
    /// gateway are assumed.
    fn describe_contexts(&self, contexts: std::ops::RangeInclusive<u8>) -> Answer {
        let lines = contexts.filter_map(|context| {
            let pdp = self.active_context(context)?;
            let address = pdp.address?;
            let apn = pdp.settings.as_ref().map_or("", |set| &set.apn);
            let bearer = context + 4;
            let [first, second] = pdp.shown_name_servers();
            Some(format!(
                "+CGCONTRDP: {context},{bearer},\"{apn}\",\"{address}\",\"\",\"{first}\",\"{second}\""
            ))
        });
        Ok(CommandOutcome::Done(lines.collect()))
    }

    /// Where the network activates a context by itself, it does so whenever the modem has registered.
    pub(crate) fn attach(&mut self, now: Instant) {
        let is_registered = self.is_registered(now);
        let is_new = is_registered && !self.session.attached;
        self.session.attached = is_registered;
        if is_new && self.config.quirks.context_active && self.active_context(FIRST_CONTEXT).is_none() {
            let apn = self.config.required_apn.clone().unwrap_or_default();
            let pdp = self.context_mut(FIRST_CONTEXT);
            pdp.settings.get_or_insert(PdpSettings {
                kind: 1,
                apn,
                user: String::new(),
                password: String::new(),
                authentication: 0,
            });
            self.give_address(FIRST_CONTEXT);
        }
    }

    fn address_line(&self, context: u8) -> String {
        let address = self.active_context(context).and_then(|pdp| pdp.address);
        let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        format!("+CGPADDR: {context},\"{address}\"")
    }

    /// An active context refuses to be activated again.
    fn activate(&mut self, list: &[Parameter], now: Instant) -> Answer {
        let context = self.context_number(list, 1)?;
        if self.active_context(context).is_some() {
            return match self.config.quirks.second_activation_is_ok {
                true => ok(),
                false => Err(Failure::Socket(socket::NOT_ALLOWED)),
            };
        }
        self.bring_up(context, now)?;
        self.session.last_error = socket::OK;
        ok()
    }

    /// Activates a context that is not active.
    fn bring_up(&mut self, context: u8, now: Instant) -> Result<(), Failure> {
        if !self.is_registered(now) {
            return Err(Failure::Socket(socket::PDP_OPEN_FAILED));
        }
        let apn = self.context_mut(context).settings.as_ref().map(|set| set.apn.clone());
        match (&self.config.required_apn, apn) {
            (Some(_), None) => return Err(Failure::Socket(socket::APN_NOT_CONFIGURED)),
            (Some(required), Some(apn)) if *required != apn => {
                return Err(Failure::Socket(socket::PDP_OPEN_FAILED));
            }
            _ => {}
        }
        self.give_address(context);
        Ok(())
    }

    /// Each activation gets a new address.
    fn give_address(&mut self, context: u8) {
        let base = u32::from(self.config.pdp_address);
        let pdp = self.context_mut(context);
        let step = u32::from(context - 1) + 256 * u32::from(pdp.activations);
        pdp.address = Some(Ipv4Addr::from(base.wrapping_add(step)));
        pdp.activations = pdp.activations.wrapping_add(1);
        pdp.worn_out = false;
    }

    /// Takes a context down and cuts its connections; false if it was not active.
    pub(crate) fn deactivate(&mut self, context: u8, now: Instant) -> bool {
        if self.active_context(context).is_none() {
            return false;
        }
        let pdp = self.context_mut(context);
        pdp.address = None;
        pdp.worn_out = false;
        self.cut_connections(context, now);
        true
    }

    fn name_servers(&mut self, list: &[Parameter]) -> Answer {
        let context = self.context_number(list, 3)?;
        let parameters = self.parameters(list);
        if parameters.len() == 1 {
            let [first, second] = self.context_mut(context).shown_name_servers();
            return line(format!("+QIDNSCFG: {context},\"{first}\",\"{second}\""));
        }
        let mut servers = vec![String::from(parameters.text(1)?)];
        servers.extend(parameters.optional_text(2)?.map(String::from));
        if servers.iter().any(|server| server.parse::<std::net::IpAddr>().is_err()) {
            return Err(Failure::Socket(socket::INVALID_PARAMETER));
        }
        self.context_mut(context).name_servers = servers;
        ok()
    }

    /// `AT+QNTP=<context>,"<server>"[,<port>[,<autosettime>]]`: OK, then the URC with the new time.
    fn network_time(&mut self, call: &mut Call, list: &[Parameter]) -> Answer {
        let context = self.context_number(list, 4)?;
        let parameters = self.parameters(list);
        let server = parameters.text(1)?;
        parameters.optional_number(2, 1..=65_535)?;
        let set = parameters.optional_small(3, 0..=1)?.unwrap_or(1) == 1;
        if self.active_context(context).is_none() {
            return Err(Failure::Socket(socket::PDP_OPEN_FAILED));
        }
        let due = call.now + self.config.time_latency;
        let result = match (self.config.time_service, call.network.time(server, call.now)) {
            (TimeService::Silent, _) => return ok(),
            (TimeService::Fails, _) => Err(socket::TIMEOUT),
            (TimeService::Answers, _) if self.config.dns_fails => Err(socket::DNS_FAILED),
            (TimeService::Answers, None) => Err(socket::UNKNOWN),
            (TimeService::Answers, Some(seconds)) => Ok(seconds),
        };
        let text = match result {
            Ok(seconds) => {
                let seconds = seconds + self.config.time_latency.as_secs() as i64;
                let mut clock = self.clock.clone();
                clock.set(seconds, due);
                if set {
                    self.schedule(due, Event::Clock(seconds));
                }
                format!("+QNTP: 0,\"{}\"", clock.local_text(due, true))
            }
            Err(code) => format!("+QNTP: {code}"),
        };
        self.schedule(due, Event::Urc(text));
        ok()
    }
}

impl PdpContext {
    fn shown_name_servers(&self) -> [&str; 2] {
        let server =
            |index: usize| self.name_servers.get(index).map_or(DEFAULT_NAME_SERVERS[index], String::as_str);
        [server(0), server(1)]
    }
}

/// The context that a network activates by itself.
const FIRST_CONTEXT: u8 = 1;
const DEFAULT_NAME_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

#[cfg(test)]
mod tests {
    use crate::testing::{Bench, seconds};
    use crate::{Config, Quirks, Registration, TimeService};

    #[test]
    fn the_manuals_example_of_a_data_session() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+QICSGP=1,1,\"UNINET\",\"\",\"\",1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QICSGP=1"), "\r\n+QICSGP: 1,\"UNINET\",\"\",\"\",1\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIACT?"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIACT=1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIACT?"), "\r\n+QIACT: 1,1,1,\"10.7.157.1\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CGPADDR=1"), "\r\n+CGPADDR: 1,\"10.7.157.1\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIACT=1"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QIDEACT=1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIACT?"), "\r\nOK\r\n");
    }

    #[test]
    fn without_a_network_or_the_right_access_point_nothing_is_activated() {
        let mut bench = Bench::without_echo(Config {
            registration: Registration::After(seconds(3)),
            required_apn: Some("internet".into()),
            ..Config::default()
        });
        assert_eq!(bench.ask("AT+QIACT=1"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 561,Open PDP context failed\r\n\r\nOK\r\n");
        bench.pass(seconds(3));
        assert_eq!(bench.ask("AT+QIACT=1"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 573,APN not configured\r\n\r\nOK\r\n");
        bench.ask("AT+QICSGP=1,1,\"internet\"");
        assert_eq!(bench.ask("AT+QIACT=1"), "\r\nOK\r\n");
    }

    #[test]
    fn a_dropped_context_says_so_cuts_its_sockets_and_returns_with_another_address() {
        let mut bench = Bench::without_echo(Config::default());
        bench.ask("AT+QIACT=1");
        bench.open(0, 1);
        bench.modem.drop_pdp(1, bench.now);
        bench.look();
        assert_eq!(bench.output(), "\r\n+QIURC: \"pdpdeact\",1\r\n\r\n+QSSLURC: \"closed\",0\r\n");
        assert_eq!(bench.ask("AT+QIACT=1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIACT?"), "\r\n+QIACT: 1,1,1,\"10.7.158.1\"\r\n\r\nOK\r\n");
    }

    #[test]
    fn a_worn_out_context_claims_to_be_active_until_it_is_activated_anew() {
        let mut bench = Bench::without_echo(Config::default());
        bench.ask("AT+QIACT=1");
        bench.modem.wear_out_pdp(1, bench.now);
        assert_eq!(bench.ask("AT+QIACT?"), "\r\n+QIACT: 1,1,1,\"10.7.157.1\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0"), "\r\nOK\r\n\r\n+QSSLOPEN: 0,565\r\n");
        assert_eq!(bench.ask("AT+QIDEACT=1;+QIACT=1"), "\r\nOK\r\n");
        bench.open(0, 0);
    }

    #[test]
    fn network_time_sets_the_clock() {
        let mut bench = Bench::without_echo(Config::default());
        bench.network.set_time(1_786_082_042, bench.now);
        assert_eq!(bench.ask("AT+QNTP=1,\"pool.ntp.org\""), "\r\nERROR\r\n");
        bench.ask("AT+QIACT=1");
        assert_eq!(
            bench.ask("AT+QNTP=1,\"pool.ntp.org\""),
            "\r\nOK\r\n\r\n+QNTP: 0,\"2026/08/07,05:54:02+00\"\r\n"
        );
        assert_eq!(bench.modem.clock(bench.now), 1_786_082_042);
    }

    #[test]
    fn network_time_takes_its_time_fails_or_is_never_heard_of() {
        let mut late = Bench::without_echo(Config { time_latency: seconds(3), ..Config::default() });
        late.network.set_time(1_786_082_042, late.now);
        late.ask("AT+QIACT=1");
        assert_eq!(late.ask("AT+QNTP=1,\"pool.ntp.org\""), "\r\nOK\r\n");
        assert!(late.modem.clock(late.now) < 1_000_000_000, "not yet");
        late.pass(seconds(3));
        assert_eq!(late.modem.clock(late.now), 1_786_082_045);
        assert!(late.output().starts_with("\r\n+QNTP: 0,\""));
        for (time_service, output) in [(TimeService::Fails, "\r\n+QNTP: 569\r\n"), (TimeService::Silent, "")]
        {
            let mut bench = Bench::without_echo(Config { time_service, ..Config::default() });
            bench.network.set_time(1_786_082_042, bench.now);
            bench.ask("AT+QIACT=1");
            assert_eq!(bench.ask("AT+QNTP=1,\"pool.ntp.org\""), format!("\r\nOK\r\n{output}"));
            bench.pass(seconds(300));
            assert_eq!(bench.output(), "");
            assert!(bench.modem.clock(bench.now) < 1_000_000_000, "it was not set");
        }
    }

    #[test]
    fn a_context_of_the_standards_command_is_that_of_the_modules_own() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+CGACT?"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CGACT=?"), "\r\n+CGACT: (0,1)\r\n\r\nOK\r\n");
        bench.ask("AT+CGDCONT=1,\"IP\",\"internet\"");
        assert_eq!(bench.ask("AT+CGACT?"), "\r\n+CGACT: 1,0\r\n\r\nOK\r\n");
        for _ in 0..2 {
            assert_eq!(bench.ask("AT+CGACT=1,1"), "\r\nOK\r\n");
        }
        assert_eq!(bench.ask("AT+QIACT?"), "\r\n+QIACT: 1,1,1,\"10.7.157.1\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CGACT?"), "\r\n+CGACT: 1,1\r\n\r\nOK\r\n");
        assert_eq!(
            bench.ask("AT+CGCONTRDP"),
            "\r\n+CGCONTRDP: 1,5,\"internet\",\"10.7.157.1\",\"\",\"8.8.8.8\",\"8.8.4.4\"\r\n\r\nOK\r\n"
        );
        assert_eq!(bench.ask("AT+CGCONTRDP=2"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CGACT=0"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIACT?;+CGACT?"), "\r\n+CGACT: 1,0\r\n\r\nOK\r\n");
        bench.modem.set_registration(Registration::Searching, bench.now);
        assert_eq!(bench.ask("AT+CGACT=1,1"), "\r\n+CME ERROR: 30\r\n");
        assert_eq!(bench.ask("AT+CGACT=1,16"), "\r\nERROR\r\n");
    }

    #[test]
    fn a_context_can_be_active_from_the_boot_on_and_after_each_registration() {
        let mut bench = Bench::without_echo(Config {
            quirks: Quirks { context_active: true, ..Quirks::strict() },
            ..Config::default()
        });
        assert_eq!(bench.ask("AT+QIACT?"), "\r\n+QIACT: 1,1,1,\"10.7.157.1\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIDEACT=1;+QIACT?"), "\r\nOK\r\n");
        for registration in [Registration::Searching, Registration::After(seconds(3))] {
            bench.modem.set_registration(registration, bench.now);
            bench.pass(seconds(4));
        }
        assert!(bench.modem.pdp_active(1));
        bench.modem.reboot(bench.now);
        bench.pass(seconds(9));
        assert!(bench.modem.pdp_active(1));
        assert!(!bench.modem.pdp_active(2));
    }

    #[test]
    fn name_servers_are_addresses() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+QIDNSCFG=1,\"9.9.9.9\""), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIDNSCFG=1"), "\r\n+QIDNSCFG: 1,\"9.9.9.9\",\"8.8.4.4\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIDNSCFG=1,\"nine\""), "\r\nERROR\r\n");
    }
}
