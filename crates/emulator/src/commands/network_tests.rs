//! Commands that try what the network can reach: AT+QIDNSGIP and AT+QPING (TCP/IP application notes).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::commands::{Answer, Call, Failure, line, ok};
use crate::events::Event;
use crate::modem::Modem;
use crate::network::Network;
use crate::parser::{Kind, Parameter};
use crate::result_code::socket as code;
use crate::session::{LookUp, LookUpPurpose};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let contexts = modem.config.pdp_contexts();
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QIDNSGIP", Kind::Test) => line(format!("+QIDNSGIP: (1-{contexts}),<hostname>")),
        ("QIDNSGIP", Kind::Write(list)) => modem.ask_addresses(list, call),
        ("QPING", Kind::Test) => line(format!("+QPING: (1-{contexts}),<host>,(1-255),(1-10)")),
        ("QPING", Kind::Write(list)) => modem.ping(list, call),
        _ => return None,
    };
    Some(answer.map_err(|failure| match failure {
        Failure::Error => Failure::Socket(code::INVALID_PARAMETER),
        other => other,
    }))
}

impl Modem {
    /// `AT+QIDNSGIP=<PDP>,"<host>"`: OK, then `+QIURC: "dnsgip",<err>,<number of addresses>,<TTL>` and one URC for each
    /// address; after a failure only the code.
    fn ask_addresses(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        self.parameters(list).at_most(2)?;
        self.begin_look_up(list, LookUpPurpose::Addresses, call)
    }

    /// `AT+QPING=<PDP>,"<host>"[,<timeout s>[,<number>]]`: OK, then `+QPING: 0,"<address>",<bytes>,<ms>,<TTL>` for each
    /// answer, and `+QPING: 0,<sent>,<received>,<lost>,<least ms>,<most ms>,<average ms>`. Assumed: whatever has an address
    /// answers, after the same time. Nothing is sent.
    fn ping(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(4)?;
        let timeout = parameters.optional_small(2, 1..=255)?.unwrap_or(DEFAULT_PING_SECONDS);
        let count = parameters.optional_small(3, 1..=10)?.unwrap_or(DEFAULT_PINGS);
        let timeout = Duration::from_secs(timeout.into());
        self.begin_look_up(list, LookUpPurpose::Ping { count, timeout, answered: true }, call)
    }

    /// One look-up at a time.
    fn begin_look_up(&mut self, list: &[Parameter], purpose: LookUpPurpose, call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        let context = parameters.small(0, 1..=self.config.pdp_contexts())?;
        let host = parameters.text(1)?;
        if host.is_empty() {
            return Err(Failure::Error);
        }
        let pdp = self.active_context(context).ok_or(Failure::Socket(code::PDP_OPEN_FAILED))?;
        let carries = !pdp.worn_out;
        if self.session.look_up.is_some() {
            return Err(Failure::Socket(code::DNS_BUSY));
        }
        self.session.last_error = code::OK;
        let is_named = host.parse::<IpAddr>().is_err();
        if is_named && (self.config.dns_fails || !carries) {
            self.schedule(call.now, Event::Urc(failed(purpose)));
            return ok();
        }
        let purpose = match purpose {
            LookUpPurpose::Ping { count, timeout, .. } => {
                LookUpPurpose::Ping { count, timeout, answered: carries }
            }
            LookUpPurpose::Addresses => purpose,
        };
        let id = self.new_connection();
        call.network.look_up(id, host, call.now);
        self.session.look_up = Some(LookUp { id, purpose });
        ok()
    }

    /// Reports the outcome of a look-up; true if there is one.
    pub(crate) fn poll_look_up(&mut self, now: Instant, network: &mut dyn Network) -> bool {
        let Some(LookUp { id, purpose }) = self.session.look_up.clone() else { return false };
        let Some(addresses) = network.looked_up(id, now) else { return false };
        self.session.look_up = None;
        match (addresses.first(), purpose) {
            (None, _) => self.schedule(now, Event::Urc(failed(purpose))),
            (Some(_), LookUpPurpose::Addresses) => {
                let head = format!("+QIURC: \"dnsgip\",0,{},{TTL_SECONDS}", addresses.len());
                self.schedule(now, Event::Urc(head));
                for address in addresses {
                    self.schedule(now, Event::Urc(format!("+QIURC: \"dnsgip\",\"{address}\"")));
                }
            }
            (Some(address), LookUpPurpose::Ping { count, timeout, answered }) => {
                let milliseconds = PING_TIME.as_millis();
                let (result, first, every) = match answered {
                    true => (
                        format!("+QPING: 0,\"{address}\",{PING_BYTES},{milliseconds},{PING_HOPS}"),
                        PING_TIME,
                        PING_INTERVAL,
                    ),
                    false => (format!("+QPING: {}", code::TIMEOUT), timeout, timeout),
                };
                let last = now + first + every * u32::from(count - 1);
                for number in 0..u32::from(count) {
                    self.schedule(now + first + every * number, Event::Urc(result.clone()));
                }
                let summary = match answered {
                    true => format!("{count},{count},0,{milliseconds},{milliseconds},{milliseconds}"),
                    false => format!("{count},0,{count},0,0,0"),
                };
                self.schedule(last, Event::Urc(format!("+QPING: 0,{summary}")));
            }
        }
        true
    }
}

/// What is reported where a name has no address.
fn failed(purpose: LookUpPurpose) -> String {
    match purpose {
        LookUpPurpose::Addresses => format!("+QIURC: \"dnsgip\",{}", code::DNS_FAILED),
        LookUpPurpose::Ping { .. } => format!("+QPING: {}", code::DNS_FAILED),
    }
}

/// Assumed, as everything about the answers to AT+QPING.
const TTL_SECONDS: u32 = 600;
const PING_TIME: Duration = Duration::from_millis(50);
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_BYTES: u32 = 32;
const PING_HOPS: u32 = 54;
const DEFAULT_PING_SECONDS: u8 = 4;
const DEFAULT_PINGS: u8 = 4;

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::testing::{Bench, seconds};

    #[test]
    fn a_name_has_its_addresses_by_urc() {
        let mut bench = Bench::online(Config::default());
        assert_eq!(
            bench.ask("AT+QIDNSGIP=1,\"a.example\""),
            "\r\nOK\r\n\r\n+QIURC: \"dnsgip\",0,1,600\r\n\r\n+QIURC: \"dnsgip\",\"192.0.2.2\"\r\n"
        );
        assert!(bench.ask("AT+QIDNSGIP=1,\"198.51.100.7\"").ends_with(",\"198.51.100.7\"\r\n"));
        bench.modem.dns_fails(true);
        assert_eq!(bench.ask("AT+QIDNSGIP=1,\"a.example\""), "\r\nOK\r\n\r\n+QIURC: \"dnsgip\",565\r\n");
        for refused in ["AT+QIDNSGIP=1", "AT+QIDNSGIP=1,\"\"", "AT+QIDNSGIP=2,\"a.example\""] {
            assert_eq!(bench.ask(refused), "\r\nERROR\r\n", "{refused}");
        }
    }

    #[test]
    fn pings_are_answered_one_a_second_and_summed_up() {
        let mut bench = Bench::online(Config::default());
        assert_eq!(bench.ask("AT+QPING=1,\"a.example\",1,2"), "\r\nOK\r\n");
        bench.pass(seconds(1));
        let answer = "\r\n+QPING: 0,\"192.0.2.2\",32,50,54\r\n";
        assert_eq!(bench.output(), answer);
        bench.pass(seconds(1));
        assert_eq!(bench.output(), format!("{answer}\r\n+QPING: 0,2,2,0,50,50,50\r\n"));
        bench.modem.wear_out_pdp(1, bench.now);
        assert_eq!(bench.ask("AT+QPING=1,\"a.example\""), "\r\nOK\r\n\r\n+QPING: 565\r\n");
        bench.ask("AT+QPING=1,\"198.51.100.7\",3,1");
        bench.pass(seconds(3));
        assert_eq!(bench.output(), "\r\n+QPING: 569\r\n\r\n+QPING: 0,1,0,1,0,0,0\r\n");
    }
}
