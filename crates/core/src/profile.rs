//! What this module can do: learnt from its own answers, with the manuals' tables as the fallback.
//!
//! The module itself reports which keys AT+QSSLCFG has and which values they take, how many sockets and SSL
//! contexts there are, how much one AT+QSSLSEND or AT+QSSLRECV carries, and which times AT+QSSLCLOSE takes.
//! What it does not report is taken from the table of its family's manual; what it reports beyond the manual
//! is trusted.

use std::ops::RangeInclusive;

use crate::at::{CHUNK_MAX, SOCKET_COUNT, SSL_CONTEXT_COUNT, fields};

/// A family of modules that differ in what they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// EC20 and its LTE relatives of the same time (EC20 manual).
    Ec20,
    /// EG800Q, EG915Q, EG916Q and newer ones (EG800Q & EG91xQ application note).
    Eg800q,
    /// BG95, BG96, BG77, BG770A, as they list their own settings.
    Bg9x,
}

/// The directories that files lie in: none, or the one of a BG770A, which lists them without their storage.
pub const DIRECTORIES: [&str; 2] = ["", "security/"];

/// What is known of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What it calls itself, for messages: model and firmware.
    pub name: String,
    /// Its model, such as `EG800Q`; empty while it is unknown.
    pub model: String,
    /// Its firmware; empty while it is unknown.
    pub firmware: String,
    /// Which manual's tables to fall back on.
    pub family: Family,
    /// The keys of AT+QSSLCFG with their ranges of values, as it listed them, or as its family's manual does.
    pub keys: Vec<Key>,
    /// The module has listed them itself.
    pub lists_keys: bool,
    /// The numbers of its sockets (`clientID`), never beyond [`SOCKET_COUNT`].
    pub sockets: Ranges,
    /// The numbers of its SSL contexts, never beyond [`SSL_CONTEXT_COUNT`].
    pub ssl_contexts: Ranges,
    /// The numbers of its PDP contexts.
    pub pdp_contexts: Ranges,
    /// The most bytes of one AT+QSSLSEND, 1–[`CHUNK_MAX`].
    pub send_max: usize,
    /// The most bytes to ask for with one AT+QSSLRECV, 1–[`CHUNK_MAX`].
    pub receive_max: usize,
    /// Which time AT+QSSLCLOSE may be given.
    pub close_time: CloseTime,
    /// Whether AT+QSSLCLOSE ends an open that is under way; learnt when it is first tried.
    pub closes_opening: Option<bool>,
    /// Whether AT+QISWTMD works on its TLS sockets; learnt when it is first tried.
    pub switches_mode: Option<bool>,
}

/// Which time AT+QSSLCLOSE may be given for sending the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseTime {
    /// The module has not reported it.
    Unknown,
    /// At most this many seconds.
    UpTo(u16),
    /// Nothing: it takes the number of the socket alone (BG770A).
    Never,
}

impl CloseTime {
    /// What is sent where `seconds` are wanted; `None`: no time at all.
    pub fn at_most(self, seconds: u64) -> Option<u16> {
        let most = match self {
            CloseTime::Unknown => u16::MAX,
            CloseTime::UpTo(most) => most,
            CloseTime::Never => return None,
        };
        Some(seconds.min(most.into()) as u16)
    }
}

// What using it shows.
impl Profile {
    /// AT+QSSLCLOSE of an open that was under way has ended it, or not. What worked once is not unlearnt by one failure.
    pub(crate) fn has_closed_opening(&mut self, worked: bool) {
        self.closes_opening = Some(worked || self.closes_opening == Some(true));
    }

    /// AT+QSSLCLOSE was refused with a time, and taken without.
    pub(crate) fn has_closed_without_time(&mut self) {
        self.close_time = CloseTime::Never;
    }

    /// AT+QISWTMD of an open socket has worked, or not. Returns whether the module has now shown for the first time
    /// that it cannot.
    pub(crate) fn has_switched_mode(&mut self, worked: bool) -> bool {
        let is_new = !worked && self.switches_mode.is_none();
        self.switches_mode = Some(worked || self.switches_mode == Some(true));
        is_new
    }
}

/// A key of AT+QSSLCFG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name without quotes.
    pub name: String,
    /// The list of its values as the module wrote it, such as `(0-4)`; may be empty.
    pub values: String,
    /// The numbers that it takes, where the list gives them; texts have none.
    pub range: Option<Ranges>,
}

/// Numbers as the test commands list them: `(0-4)`, `(0,1)`, `(0X0035,0XC02F)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<RangeInclusive<u32>>);

impl Ranges {
    /// One range.
    pub(crate) fn one(range: RangeInclusive<u32>) -> Self {
        Ranges(vec![range])
    }

    /// Reads a list without its brackets; `None` if something in it is no number, or it is empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let range = |part: &str| match part.split_once('-') {
            Some((first, last)) => Some(number(first)?..=number(last)?),
            None => number(part).map(|only| only..=only),
        };
        text.split(',').take(RANGES_MAX).map(|part| range(part.trim())).collect::<Option<_>>().map(Ranges)
    }

    /// Whether the number is one of them.
    pub fn contains(&self, number: u32) -> bool {
        self.0.iter().any(|range| range.contains(&number))
    }

    /// The least of them that is not below `wanted`, else the greatest.
    pub(crate) fn nearest(&self, wanted: u32) -> u32 {
        let above = self.0.iter().filter(|range| *range.end() >= wanted);
        above.map(|range| wanted.max(*range.start())).min().or(self.greatest()).unwrap_or(wanted)
    }

    /// The greatest of them.
    pub(crate) fn greatest(&self) -> Option<u32> {
        self.0.iter().filter(|range| !range.is_empty()).map(|range| *range.end()).max()
    }

    /// How many of the numbers `0..count` are among them.
    pub fn count_below(&self, count: usize) -> usize {
        (0..count as u32).filter(|number| self.contains(*number)).count()
    }
}

impl Profile {
    /// What can be assumed of a module that has reported nothing yet.
    pub fn unknown() -> Self {
        Profile {
            name: "module".into(),
            model: String::new(),
            firmware: String::new(),
            family: Family::Eg800q,
            keys: table(Family::Eg800q),
            lists_keys: false,
            sockets: Ranges::one(0..=SOCKET_COUNT as u32 - 1),
            ssl_contexts: Ranges::one(0..=SSL_CONTEXT_COUNT as u32 - 1),
            pdp_contexts: Ranges::one(1..=16),
            send_max: CHUNK_MAX,
            receive_max: CHUNK_MAX,
            close_time: CloseTime::Unknown,
            closes_opening: None,
            switches_mode: None,
        }
    }

    /// Takes the answer to ATI, `Quectel`, the model, `Revision: …`, or the model and revision alone, as
    /// AT+CGMM and AT+CGMR give them. Everything else that is known falls back on the family's table.
    pub fn learn_identity(&mut self, lines: &[String]) {
        let mut parts = Vec::new();
        for line in lines {
            let line = line.trim();
            // Some answer AT+CGMR as `+CGMR: …`, and AT+CGMM likewise. Other such lines are URCs.
            let line = match line.strip_prefix('+').map(|line| line.split_once(':')) {
                None => line,
                Some(Some(("CGMM" | "CGMR" | "GMM" | "GMR", value))) => value.trim(),
                Some(_) => continue,
            };
            // NB-IoT and 2G modules answer `Quectel_Ltd`, `Quectel_BC660K-GL`, `Revision: …`.
            let is_maker = ["Quectel", "Quectel_Ltd"].iter().any(|maker| line.eq_ignore_ascii_case(maker));
            if line.is_empty() || is_maker || line.starts_with("AT") {
                continue;
            }
            let line = line.strip_prefix("Quectel_").unwrap_or(line);
            let value = line.strip_prefix("Revision:").unwrap_or(line).trim();
            parts.push(value.split_once(": ").map_or(value, |(_, value)| value).to_owned());
        }
        if parts.is_empty() {
            return;
        }
        parts.truncate(2);
        let pdp_contexts = match family(&parts[0]) {
            Family::Ec20 | Family::Bg9x => 1..=16,
            Family::Eg800q => 1..=15,
        };
        *self = Profile {
            family: family(&parts[0]),
            keys: table(family(&parts[0])),
            name: parts.join(" "),
            firmware: parts.get(1).cloned().unwrap_or_default(),
            model: parts.swap_remove(0),
            pdp_contexts: Ranges::one(pdp_contexts),
            ..Profile::unknown()
        };
    }

    /// Takes the answers to [`QUESTIONS`], together or one by one. What a module does not report, or reports
    /// in a form that makes no sense, stays as it was.
    pub fn learn_keys(&mut self, lines: &[String]) {
        let listed: Vec<Key> = lines.iter().filter_map(|line| key(line)).take(KEYS_MAX).collect();
        if let Some(contexts) = lines
            .iter()
            .filter(|line| line.starts_with("+QSSLCFG: \"sslversion\""))
            .find_map(|line| lists(line).into_iter().next())
        {
            self.learn_ssl_contexts(contexts);
        }
        if !listed.is_empty() {
            self.keys = listed;
            self.lists_keys = true;
        }
        for line in lines {
            let Some((name, rest)) = line.split_once(':') else { continue };
            let mut lists = lists(rest);
            let greatest = |lists: &[Ranges]| lists.get(1..)?.last()?.greatest();
            let most = |lists: &[Ranges]| {
                let most = greatest(lists)? as usize;
                (most > 0).then_some(most.min(CHUNK_MAX))
            };
            match name {
                "+QSSLOPEN" if lists.len() >= 3 => {
                    let (sockets, contexts) = (lists.swap_remove(2), lists.swap_remove(1));
                    if sockets.count_below(SOCKET_COUNT) > 0 {
                        self.sockets = sockets;
                    }
                    self.learn_ssl_contexts(contexts);
                    if lists[0].greatest().is_some() {
                        self.pdp_contexts = lists.swap_remove(0);
                    }
                }
                "+QSSLSEND" => self.send_max = most(&lists).unwrap_or(self.send_max),
                "+QSSLRECV" => self.receive_max = most(&lists).unwrap_or(self.receive_max),
                "+QSSLCLOSE" => {
                    if let Some(seconds) = greatest(&lists) {
                        self.close_time = CloseTime::UpTo(seconds.min(u16::MAX.into()) as u16);
                    } else if lists.len() == 1 && !rest.contains([',', '<', '[']) {
                        self.close_time = CloseTime::Never;
                    }
                }
                _ => {}
            }
        }
    }

    fn learn_ssl_contexts(&mut self, contexts: Ranges) {
        if contexts.count_below(SSL_CONTEXT_COUNT) > 0 {
            self.ssl_contexts = contexts;
        }
    }

    /// What to report about a model that is known to have another set of commands for TLS: NB-IoT and 2G
    /// modules.
    pub fn other_commands(&self) -> Option<String> {
        let model = self.model.to_ascii_uppercase();
        let mut others = ["BC2", "BC3", "BC6", "BC9", "M95", "M66", "M26", "MC60"].iter();
        others.any(|other| model.starts_with(other)).then(|| {
            format!(
                "{} uses other AT commands for TLS than this program (AT+QSSLOPEN of EC2x, EG9x, EG800Q, BG9x and their \
                 relatives)",
                self.name
            )
        })
    }

    /// The directory that its files must lie in, with the slash after it; empty where there is none.
    pub fn directory(&self) -> &'static str {
        let is_named = self.model.to_ascii_uppercase().starts_with("BG770A");
        if is_named { DIRECTORIES[1] } else { DIRECTORIES[0] }
    }

    /// Whether model or firmware is still unknown, so that AT+CGMM and AT+CGMR are worth asking.
    pub fn identity_is_incomplete(&self) -> bool {
        self.model.is_empty() || self.firmware.is_empty()
    }

    /// The key of AT+QSSLCFG called `name`, if it has that.
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether it has this key of AT+QSSLCFG.
    pub fn has_key(&self, name: &str) -> bool {
        self.key(name).is_some()
    }

    /// Whether it has this key, or its family's manual lists it: a list of the module may lack a line.
    pub(crate) fn may_have_key(&self, name: &str) -> bool {
        self.has_key(name) || manual(self.family).iter().any(|(key, _)| *key == name)
    }

    /// Whether the module itself has not listed this key.
    pub(crate) fn is_unlisted(&self, name: &str) -> bool {
        !self.lists_keys || !self.has_key(name)
    }

    /// Whether the key takes this number, as far as the module or else its family's manual lists it; a key
    /// without a list of numbers takes any, and the module itself has the last word.
    pub(crate) fn takes(&self, name: &str, number: u32) -> bool {
        let takes = |key: &Key| key.range.as_ref().is_none_or(|range| range.contains(number));
        match self.key(name) {
            Some(key) => takes(key),
            None => {
                let entry = manual(self.family).iter().find(|(key, _)| *key == name);
                entry.is_some_and(|(key, values)| takes(&Key::new(key, values)))
            }
        }
    }

    /// Whether "clientkey" takes a password after the file.
    pub(crate) fn takes_key_password(&self) -> bool {
        self.key("clientkey").is_some_and(|key| key.values.contains(','))
    }

    /// Whether it compares the server's certificate with the host name.
    pub fn checks_host_name(&self) -> bool {
        self.has_key("ignorecertitem") || self.has_key("checkhost")
    }
}

/// Which manual describes this model best.
fn family(model: &str) -> Family {
    let model = model.to_ascii_uppercase();
    let old = ["EC20", "EC21", "EC25", "EG21", "EG25", "EG95", "EC200T", "UC20"];
    if old.iter().any(|old| model.starts_with(old)) {
        Family::Ec20
    } else if model.starts_with("BG") {
        Family::Bg9x
    } else {
        Family::Eg800q
    }
}

/// `+QSSLCFG: "sni",(0-5),(0,1)`
fn key(line: &str) -> Option<Key> {
    let rest = line.strip_prefix("+QSSLCFG:")?;
    let mut fields = fields(rest);
    let name = fields.next()?.trim().to_owned();
    // The list of contexts may itself contain commas: `(0,1,2)`.
    let behind_name = fields.rest().unwrap_or("");
    let values = behind_name.split_once("),").map_or("", |(_, values)| values).trim().to_owned();
    (!name.is_empty()).then(|| Key::new(&name, &values))
}

impl Key {
    fn new(name: &str, values: &str) -> Self {
        Key { name: name.to_owned(), values: values.to_owned(), range: lists(values).into_iter().next() }
    }
}

/// The bracketed lists of numbers in a line; `(1-16),(0-5),<serveraddr>[,(0-2)]` has three.
fn lists(text: &str) -> Vec<Ranges> {
    let inside = |part: &str| part.split_once(')').and_then(|(list, _)| Ranges::parse(list));
    text.split('(').skip(1).filter_map(inside).collect()
}

/// A number as the modem writes it, decimal or `0X` and hexadecimal.
pub(super) fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0X").or(text.strip_prefix("0x")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The keys that a family's manual lists, with their values.
fn table(family: Family) -> Vec<Key> {
    manual(family).iter().map(|(name, values)| Key::new(name, values)).collect()
}

fn manual(family: Family) -> &'static [(&'static str, &'static str)] {
    match family {
        Family::Ec20 => EC20_KEYS,
        Family::Eg800q => EG800Q_KEYS,
        Family::Bg9x => BG9X_KEYS,
    }
}

/// AT+QSSLCFG of the EC20 manual, 2.1.1.
const EC20_KEYS: &[(&str, &str)] = &[
    ("sslversion", "(0-4)"),
    ("ciphersuite", "(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XFFFF)"),
    ("cacert", "<cacertpath>"),
    ("clientcert", "<client_cert_path>"),
    ("clientkey", "<client_key_path>"),
    ("seclevel", "(0-2)"),
    ("ignorelocaltime", "(0,1)"),
    ("negotiatetime", "(10-300)"),
];

/// AT+QSSLCFG of the EG800Q & EG91xQ application note, 2.2.1; the ciphers of its table 2.
const EG800Q_KEYS: &[(&str, &str)] = &[
    ("sslversion", "(0-4)"),
    (
        "ciphersuite",
        "(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC002-0XC005,0XC007-0XC00A,0XC00C-0XC00F,0XC011-0XC014,\
         0XC023-0XC02A,0XC02F,0XFFFF)",
    ),
    ("cacert", "<cacertpath>"),
    ("cacertex", "<cacertexpath>"),
    ("clientcert", "<client_cert_path>"),
    ("clientkey", "<client_key_path>,<key_pwd>"),
    ("seclevel", "(0-2)"),
    ("ignorelocaltime", "(0,1)"),
    ("negotiatetime", "(10-300)"),
    ("sni", "(0,1)"),
    ("alpn", "<ALPN_name>"),
    ("psk", "<identity>,<key>"),
    ("session_cache", "(0,1)"),
    ("renegotiation", "(0,1)"),
    ("closetimemode", "(0,1)"),
    ("dtls", "(0,1)"),
    ("dtlsversion", "(0-2)"),
    ("ignoremulticertchainverify", "(0,1)"),
    ("ignoreinvalidcertsign", "(0,1)"),
    ("ignorecertitem", "(0-1048575)"),
];

/// AT+QSSLCFG as a BG96 lists it, and "session" of its later relatives.
const BG9X_KEYS: &[(&str, &str)] = &[
    ("sslversion", "(0-4)"),
    ("ciphersuite", "(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XC011-0XC014,0XC027,0XC028,0XC02F,0XFFFF)"),
    ("cacert", "<cacertpath>"),
    ("clientcert", "<client_cert_path>"),
    ("clientkey", "<client_key_path>"),
    ("seclevel", "(0-2)"),
    ("session", "(0,1)"),
    ("sni", "(0,1)"),
    ("checkhost", "(0,1)"),
    ("ignorecertchain", "(0,1)"),
    ("ignorelocaltime", "(0,1)"),
    ("negotiatetime", "(10-300)"),
];

/// What a module is asked about itself: its keys, numbers and ranges. The names are without `AT`, so that
/// they can be joined in a line.
pub const QUESTIONS: [&str; 5] = ["+QSSLCFG=?", "+QSSLOPEN=?", "+QSSLSEND=?", "+QSSLRECV=?", "+QSSLCLOSE=?"];

/// The most keys and ranges that are kept of what a module lists.
const KEYS_MAX: usize = 64;
const RANGES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_has_done_once_it_can_do() {
        let mut profile = Profile::unknown();
        assert!(profile.has_switched_mode(false), "worth a warning");
        assert!(!profile.has_switched_mode(false), "not a second one");
        profile.has_switched_mode(true);
        assert!(!profile.has_switched_mode(false));
        assert_eq!(profile.switches_mode, Some(true));
        profile.has_closed_opening(true);
        profile.has_closed_opening(false);
        assert_eq!(profile.closes_opening, Some(true));
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn identified(text: &str) -> Profile {
        let mut profile = Profile::unknown();
        profile.learn_identity(&lines(text));
        profile
    }

    #[test]
    fn the_identity_decides_the_fallback_table() {
        let profile = identified("Quectel\nEC25\nRevision: EC25AUXGAR08A03M1G");
        assert_eq!(profile.name, "EC25 EC25AUXGAR08A03M1G");
        assert!(!profile.has_key("sni") && !profile.takes_key_password());
        assert!(profile.takes("ciphersuite", 0x0035) && !profile.takes("ciphersuite", 0xC02F));
        let profile = identified("Quectel\nEG800Q\nRevision: EG800QEULCR07A06M04");
        assert!(profile.has_key("sni") && profile.takes_key_password());
        assert!(profile.takes("ciphersuite", 0xC02F) && !profile.takes("ciphersuite", 0xC030));
        assert!(profile.pdp_contexts.contains(15) && !profile.pdp_contexts.contains(16));
    }

    #[test]
    fn a_module_with_another_set_of_commands_is_known_by_its_model() {
        for model in ["BC660K-GL", "BC26NA", "M95"] {
            assert!(
                identified(&format!("Quectel\n{model}\nRevision: R1")).other_commands().is_some(),
                "{model}"
            );
        }
        let by_maker = |model: &str| identified(&format!("Quectel_Ltd\nQuectel_{model}\nRevision: R1"));
        for model in ["BC660K-GL", "BC66", "BC26", "M66", "M95"] {
            let profile = by_maker(model);
            assert!(
                profile.other_commands().is_some() && profile.name == format!("{model} R1"),
                "{}",
                profile.name
            );
        }
        assert_eq!(by_maker("EC25").other_commands(), None);
        for model in ["EC25", "EG915Q", "BG96", "EG800Q"] {
            assert_eq!(
                identified(&format!("Quectel\n{model}\nRevision: R1")).other_commands(),
                None,
                "{model}"
            );
        }
    }

    #[test]
    fn model_and_revision_may_come_without_their_names() {
        let profile = identified("EG915QNALA\nEG915QNALAR01A01M02");
        assert_eq!((profile.model.as_str(), profile.identity_is_incomplete()), ("EG915QNALA", false));
        assert!(identified("Quectel\nEC20F").identity_is_incomplete());
        assert_eq!(identified("+CGMM:BG96\n+CGMR: BG96MAR02A07M1G").name, "BG96 BG96MAR02A07M1G");
        assert_eq!(identified("Quectel\n+QIND: SMS DONE\nEC20F\nRevision: EC20R1").name, "EC20F EC20R1");
        assert!(identified("").identity_is_incomplete());
    }

    #[test]
    fn a_bg96_is_believed_where_it_disagrees_with_the_manuals() {
        let mut profile = identified("Quectel\nBG96\nRevision: BG96MAR02A07M1G");
        profile.learn_keys(&lines(BG96));
        assert!(profile.has_key("checkhost") && !profile.has_key("alpn") && !profile.has_key("cacertex"));
        assert!(profile.checks_host_name() && !profile.takes_key_password());
        assert!(profile.takes("ciphersuite", 0xC02F) && !profile.takes("ciphersuite", 0xC030));
        assert!(profile.takes("ciphersuite", 0xFFFF));
        assert!(profile.takes("negotiatetime", 300) && !profile.takes("negotiatetime", 301));
    }

    #[test]
    fn an_eg25_lists_its_ciphers_with_a_space_among_them_and_knows_more_than_its_family() {
        let mut profile = identified("Quectel\nEG25\nRevision: EG25GGBR07A08M2G");
        profile.learn_keys(&lines(EG25G));
        assert_eq!(profile.keys.len(), 19);
        for code in [0x0035, 0xC005, 0xC007, 0xC030, 0xFFFF] {
            assert!(profile.takes("ciphersuite", code), "{code:04X}");
        }
        assert!(!profile.takes("ciphersuite", 0xC006));
        assert!(profile.takes_key_password() && !profile.checks_host_name());
        profile.learn_keys(&lines("+QSSLCFG: \"ignorecertitem\",(0-5),(0-1048575)"));
        assert!(profile.checks_host_name() && !profile.takes("ignorecertitem", 1_048_576));
    }

    #[test]
    fn a_module_says_how_many_sockets_and_bytes_there_are() {
        let mut profile = Profile::unknown();
        profile.learn_keys(&lines(
            "+QSSLOPEN: (1-16),(0-1),(0-5),<serveraddr>,<server_port>[,(0-2)]\n\
             +QSSLSEND: (0-5)[,(1-1024)]\n+QSSLRECV: (0-5),(1-1500)\n+QSSLCLOSE: (0-5),(0-65535)",
        ));
        assert_eq!((profile.send_max, profile.receive_max), (1024, 1460));
        assert_eq!(profile.sockets.count_below(SOCKET_COUNT), 6);
        assert_eq!(profile.close_time, CloseTime::UpTo(65_535));
        profile.learn_keys(&lines("+QSSLCLOSE: (0-5),(0-300)"));
        assert_eq!(profile.close_time, CloseTime::UpTo(300));
        assert_eq!(profile.ssl_contexts.count_below(SSL_CONTEXT_COUNT), 2);
        assert!(profile.pdp_contexts.contains(16) && !profile.pdp_contexts.contains(17));
    }

    #[test]
    fn an_answer_that_makes_no_sense_changes_nothing() {
        let before = Profile::unknown();
        let mut profile = before.clone();
        profile.learn_keys(&lines(
            "+QSSLOPEN: (a-b),(),(99999999999)\n+QSSLOPEN: (1-16),(9-7),(40-50),<x>\n+QSSLSEND: (0-11)[,(0)]\n\
             +QSSLRECV: (((\n+QSSLCLOSE: (0-11),<timeout>\n+QSSLCFG: \n+QSSLCFG\n+QSSLCFG: \"\",(0-5),(0,1)",
        ));
        assert_eq!((profile.send_max, profile.receive_max), (CHUNK_MAX, CHUNK_MAX));
        assert_eq!(profile.close_time, CloseTime::Unknown);
        assert_eq!((profile.sockets, profile.ssl_contexts), (before.sockets, before.ssl_contexts));
        assert_eq!(profile.keys, before.keys);
    }

    #[test]
    fn a_module_without_a_close_time_says_so() {
        let mut profile = Profile::unknown();
        assert_eq!(profile.close_time.at_most(100_000), Some(u16::MAX));
        profile.learn_keys(&lines("+QSSLCLOSE: (0-11)"));
        assert_eq!(profile.close_time, CloseTime::Never);
        assert_eq!(profile.close_time.at_most(10), None);
    }

    #[test]
    fn a_value_out_of_range_has_a_nearest_one() {
        let ranges = Ranges::parse("10-300").unwrap();
        assert_eq!([5, 60, 400].map(|wanted| ranges.nearest(wanted)), [10, 60, 300]);
        assert_eq!(Ranges::parse("0,5,60-90").unwrap().nearest(7), 60);
    }

    /// What real modules answer to AT+QSSLCFG=?, lines as printed.
    const BG96: &str = include_str!("../tests/answers/qsslcfg-bg96.txt");
    const EG25G: &str = include_str!("../tests/answers/qsslcfg-eg25g.txt");
}
