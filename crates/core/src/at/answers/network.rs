//! The mobile network, and the data session in it.

use super::{Answer, text, values};
use crate::at::parse::fields;
use crate::at::{AtText, PdpContextId};

/// The modem's registration in the network: `+CEREG: <n>,<state>[,…]` in the answer to AT+CEREG?, and
/// likewise +CGREG and +CREG (PROTOCOL section 5; 3GPP TS 27.007, 10.1.22). Where the answers for several
/// services differ, the greatest counts: LTE-only modules answer 0 for the services that they do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Registration {
    /// 4, and what the standard keeps for services of no use here.
    Unknown,
    /// 0
    NotRegistered,
    /// 2
    Searching,
    /// 3
    Denied,
    /// 5
    Roaming,
    /// 1
    Home,
}

impl Registration {
    /// Whether there is a network to use.
    pub fn is_registered(self) -> bool {
        matches!(self, Registration::Home | Registration::Roaming)
    }
}

impl Answer<'_> for Registration {
    fn of(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(':')?;
        // The URC of the same name, `+CEREG: <state>,"<area>",…`, has a text in the second place.
        let is_answer =
            name.ends_with("REG") && rest.split(',').nth(1).is_some_and(|second| !second.contains('"'));
        let mut all = fields(rest);
        all.next().filter(|_| is_answer)?;
        Some(match all.number::<u8>()? {
            0 => Registration::NotRegistered,
            1 => Registration::Home,
            2 => Registration::Searching,
            3 => Registration::Denied,
            5 => Registration::Roaming,
            _ => Registration::Unknown,
        })
    }
}

/// `+CSQ: <strength>,<errors>` (PROTOCOL section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its strength in dBm: 0–31 is -113 to -51 in steps of two, 99 is unknown (3GPP TS 27.007, 8.5).
    pub dbm: Option<i16>,
}

impl Answer<'_> for Signal {
    fn of(line: &str) -> Option<Self> {
        let strength = values(line, "+CSQ")?.number::<i16>().filter(|strength| (0..=31).contains(strength));
        Some(Signal { dbm: strength.map(|strength| 2 * strength - 113) })
    }
}

/// `+COPS: <mode>[,<format>,"<name>"[,<technology>]]` (3GPP TS 27.007, 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator<'a> {
    /// The network's name, while the modem is in one.
    pub name: Option<&'a str>,
}

impl<'a> Answer<'a> for Operator<'a> {
    fn of(line: &'a str) -> Option<Self> {
        Some(Operator { name: values(line, "+COPS")?.nth(2).filter(|name| !name.is_empty()) })
    }
}

/// `+QIACT: <context>,<state>,<type>,"<address>"` (PROTOCOL section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PdpContext<'a> {
    /// Its number.
    pub id: PdpContextId,
    /// It is active, as the modem reports it.
    pub is_active: bool,
    /// The modem's address in it; may be empty.
    pub address: &'a str,
}

impl<'a> PdpContext<'a> {
    /// The address in this context, if it is active and has one.
    pub fn address_of(id: PdpContextId, lines: &'a [String]) -> Option<&'a str> {
        let is_it =
            |context: &PdpContext<'_>| context.id == id && context.is_active && !context.address.is_empty();
        Self::all(lines).find(is_it).map(|context| context.address)
    }
}

impl<'a> Answer<'a> for PdpContext<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut all = values(line, "+QIACT")?;
        let id = all.number().and_then(PdpContextId::new)?;
        let is_active = all.number::<u8>()? == 1;
        Some(PdpContext { id, is_active, address: all.nth(1)? })
    }
}

/// `+CGPADDR: <context>[,"<address>"[,"<address>"]]` (3GPP TS 27.007, 10.1.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextAddress<'a> {
    /// The context's number.
    pub id: PdpContextId,
    /// The modem's address in it; zeros or nothing where it is not active.
    pub address: &'a str,
}

impl<'a> ContextAddress<'a> {
    /// The address in this context, if it has one.
    pub fn address_of(id: PdpContextId, lines: &'a [String]) -> Option<&'a str> {
        let is_set = |address: &str| !address.bytes().all(|byte| matches!(byte, b'0' | b'.' | b':'));
        Self::all(lines).find(|it| it.id == id && is_set(it.address)).map(|it| it.address)
    }
}

impl<'a> Answer<'a> for ContextAddress<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut all = values(line, "+CGPADDR")?;
        let id = all.number().and_then(PdpContextId::new)?;
        Some(ContextAddress { id, address: all.next().unwrap_or_default() })
    }
}

/// `+QICSGP: [<context>,]<type>,"<access point>","<user>","<password>",<authentication>`; some modules leave the number
/// out (PROTOCOL section 5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessPoint<'a> {
    /// Its name; may be empty.
    pub name: &'a str,
    /// Everything after the number, as AT+QICSGP takes it. There may be a password in it.
    pub settings: &'a str,
}

impl<'a> AccessPoint<'a> {
    /// The name in an answer, where that is another than is wanted.
    pub fn other_than(wanted: &AtText, lines: &'a [String]) -> Option<&'a str> {
        let name = Self::first(lines)?.name;
        (!name.is_empty() && !name.eq_ignore_ascii_case(wanted.as_str())).then_some(name)
    }
}

impl<'a> Answer<'a> for AccessPoint<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let all = text(line, "+QICSGP")?;
        let settings = match fields(all).count() {
            6.. => all.split_once(',')?.1,
            _ => all,
        };
        Some(AccessPoint { name: fields(settings).nth(1)?, settings })
    }
}

/// `+QIDNSCFG: <context>,"<primary>","<secondary>"` (PROTOCOL section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServers<'a>(pub Vec<&'a str>);

impl<'a> Answer<'a> for NameServers<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let is_set = |address: &&str| !matches!(*address, "" | "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0");
        Some(NameServers(values(line, "+QIDNSCFG")?.skip(1).filter(is_set).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read_in_all_its_forms() {
        use Registration::{Denied, Home, NotRegistered, Roaming, Searching, Unknown};
        for (line, wanted) in [
            ("+CEREG: 0,1", Some(Home)),
            ("+CREG: 2,5,\"1F2A\",\"A3B4C01\",7", Some(Roaming)),
            ("+CGREG: 0,3", Some(Denied)),
            ("+CEREG: 0,0", Some(NotRegistered)),
            ("+CEREG:0, 2", Some(Searching)),
            ("+CEREG: 0,4", Some(Unknown)),
            ("+CREG: 0,7", Some(Unknown)),
            // URCs, of which the last has the area 5.
            ("+CEREG: 1", None),
            ("+CEREG: 2,\"0005\",\"0000A3B4\",7", None),
            ("+CEREG: 0,256", None),
            ("+CEREG: (0-2)", None),
            ("+CSQ: 0,1", None),
        ] {
            assert_eq!(Registration::of(line), wanted, "{line}");
        }
        assert!([Unknown, NotRegistered, Searching, Denied, Roaming, Home].is_sorted());
    }

    #[test]
    fn a_signal_is_read_in_dbm() {
        for (line, dbm) in [
            ("+CSQ: 0,0", Some(-113)),
            ("+CSQ: 28,99", Some(-57)),
            ("+CSQ: 31,99", Some(-51)),
            ("+CSQ: 32,99", None),
            ("+CSQ: 99,99", None),
            ("+CSQ: 256,99", None),
            ("+CSQ: -1,0", None),
            ("+CSQ: (0-31,99),(0-7,99)", None),
        ] {
            assert_eq!(Signal::of(line), Some(Signal { dbm }), "{line}");
        }
        assert_eq!(Signal::of("+QCSQ: 28"), None);
    }

    #[test]
    fn an_operator_has_its_name_or_none() {
        let name = |line| Operator::of(line).map(|operator| operator.name);
        assert_eq!(name("+COPS: 0,0,\"Example, Net\",7"), Some(Some("Example, Net")));
        assert_eq!(name("+COPS: 0,0,\"\",7"), Some(None));
        assert_eq!(name("+COPS: 0"), Some(None));
        assert_eq!(name("+COPN: 0"), None);
    }

    #[test]
    fn only_an_active_context_of_ours_has_an_address() {
        let lines = [
            "+QIACT: 2,1,1,\"10.0.0.2\"",
            "+QIACT: 1,0,1,\"10.0.0.1\"",
            "+QIACT: 3,1,1,\"\"",
            "+QIACT: 0,1,1,\"10.0.0.3\"",
            "+QIACT: 257,1,1,\"10.0.0.4\"",
            "+QIACT: 4,1",
            "+QIACT: 16,1,2,\"2001:db8::1\"",
        ]
        .map(str::to_owned);
        for (number, wanted) in
            [(1, None), (2, Some("10.0.0.2")), (3, None), (4, None), (16, Some("2001:db8::1"))]
        {
            let id = PdpContextId::new(number).expect("1 to 16");
            assert_eq!(PdpContext::address_of(id, &lines), wanted, "{number}");
        }
    }

    #[test]
    fn a_context_without_an_address_has_zeros_or_nothing() {
        let id = PdpContextId::new(1).expect("1 to 16");
        for (line, wanted) in [
            ("+CGPADDR: 1,\"10.7.157.1\"", Some("10.7.157.1")),
            ("+CGPADDR: 1,10.7.157.1", Some("10.7.157.1")),
            ("+CGPADDR: 1,\"10.7.157.1\",\"2001:db8::1\"", Some("10.7.157.1")),
            ("+CGPADDR: 1,\"0.0.0.0\"", None),
            ("+CGPADDR: 1,\"::\"", None),
            ("+CGPADDR: 1,\"\"", None),
            ("+CGPADDR: 1", None),
            ("+CGPADDR: 2,\"10.7.157.1\"", None),
            ("+CGPADDR: 257,\"10.7.157.1\"", None),
        ] {
            assert_eq!(ContextAddress::address_of(id, &[line.to_owned()]), wanted, "{line}");
        }
    }

    #[test]
    fn an_access_point_is_read_with_and_without_the_number_of_its_context() {
        for (line, name, settings) in [
            ("+QICSGP: 1,\"UNINET\",\"\",\"\",1", "UNINET", "1,\"UNINET\",\"\",\"\",1"),
            ("+QICSGP: 1,1,\"UNINET\",\"\",\"\",1", "UNINET", "1,\"UNINET\",\"\",\"\",1"),
            ("+QICSGP: 1,\"\",\"\",\"\",0", "", "1,\"\",\"\",\"\",0"),
            ("+QICSGP: 1,1,\"a,b\",\"user\",\"pass,word\",2", "a,b", "1,\"a,b\",\"user\",\"pass,word\",2"),
        ] {
            let point = AccessPoint::of(line).map(|point| (point.name, point.settings));
            assert_eq!(point, Some((name, settings)), "{line}");
        }
        for line in ["+QICSGP", "+QICSGP: 1", "+QICSGP:"] {
            assert!(AccessPoint::of(line).is_none(), "{line}");
        }
    }

    #[test]
    fn name_servers_that_are_not_set_are_left_out() {
        let servers = |line| NameServers::of(line).map(|servers| servers.0);
        assert_eq!(servers("+QIDNSCFG: 1,\"8.8.8.8\",\"8.8.4.4\""), Some(vec!["8.8.8.8", "8.8.4.4"]));
        assert_eq!(servers("+QIDNSCFG: 1,\"8.8.8.8\",\"0.0.0.0\""), Some(vec!["8.8.8.8"]));
        assert_eq!(servers("+QIDNSCFG: 1"), Some(Vec::new()));
    }
}
