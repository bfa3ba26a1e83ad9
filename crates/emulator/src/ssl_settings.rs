//! The present settings of SSL contexts, and which keys a family has (both manuals, 2.1.1 and 2.2.1).
//!
//! The defaults of the EG800Q are assumed, because its manual has lost the underlines that mark them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::config::{Config, Family};
use crate::network::Transport;

/// All SSL contexts of a modem.
#[derive(Clone, Debug)]
pub(crate) struct SslSettings {
    pub(crate) contexts: Vec<SslContext>,
    /// "cacertex": paths by number, for all contexts together.
    pub(crate) chain: Vec<String>,
}

/// Values by key.
#[derive(Clone, Debug)]
pub(crate) struct SslContext {
    pub(crate) numbers: BTreeMap<Cow<'static, str>, u32>,
    pub(crate) texts: BTreeMap<Cow<'static, str>, Vec<String>>,
}

/// A key and the form of its values.
#[derive(Clone, Debug)]
pub struct Key {
    pub(crate) name: Cow<'static, str>,
    pub(crate) form: Form,
}

/// The form of a key's values.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    Number {
        range: RangeInclusive<u32>,
        default: u32,
    },
    /// One of these codes, or 0XFFFF for all.
    Cipher {
        codes: Cow<'static, [u16]>,
        default: u16,
    },
    /// Texts, of which `required` must be given, and how the test command names them.
    Texts {
        required: usize,
        names: Cow<'static, [&'static str]>,
    },
    /// A path by certificate number instead of context.
    Chain,
}

const fn number(name: &'static str, range: RangeInclusive<u32>, default: u32) -> Key {
    Key { name: Cow::Borrowed(name), form: Form::Number { range, default } }
}

const fn switch(name: &'static str, default: u32) -> Key {
    number(name, 0..=1, default)
}

const fn texts(name: &'static str, required: usize, names: &'static [&'static str]) -> Key {
    Key { name: Cow::Borrowed(name), form: Form::Texts { required, names: Cow::Borrowed(names) } }
}

const fn ciphers(codes: &'static [u16], default: u16) -> Key {
    Key { name: Cow::Borrowed("ciphersuite"), form: Form::Cipher { codes: Cow::Borrowed(codes), default } }
}

static EC20_KEYS: [Key; 8] = [
    number("sslversion", 0..=4, 4),
    ciphers(CIPHER_CODES.split_at(6).0, 0x0005),
    texts("cacert", 1, &["<cacertpath>"]),
    texts("clientcert", 1, &["<client_cert_path>"]),
    texts("clientkey", 1, &["<client_key_path>"]),
    number("seclevel", 0..=2, 0),
    switch("ignorelocaltime", 1),
    number("negotiatetime", 10..=300, 300),
];

static EG800Q_KEYS: [Key; 20] = [
    number("sslversion", 0..=4, 4),
    number("seclevel", 0..=2, 0),
    ciphers(&CIPHER_CODES, ALL_CIPHERS),
    number("negotiatetime", 10..=300, 300),
    switch("sni", 0),
    texts("cacert", 1, &["<cacertpath>"]),
    Key { name: Cow::Borrowed("cacertex"), form: Form::Chain },
    texts("clientcert", 1, &["<client_cert_path>"]),
    texts("clientkey", 1, &["<client_key_path>", "<key_pwd>"]),
    switch("dtls", 0),
    number("dtlsversion", 0..=2, 2),
    texts("psk", 2, &["<identity>", "<key>"]),
    switch("ignoremulticertchainverify", 0),
    switch("ignoreinvalidcertsign", 0),
    number("ignorecertitem", 0..=1_048_575, 0),
    switch("ignorelocaltime", 1),
    switch("session_cache", 0),
    switch("closetimemode", 0),
    switch("renegotiation", 0),
    texts("alpn", 1, &["<ALPN_name>"]),
];

/// What a BG96 has beside these.
static HOST_CHECK_KEYS: [Key; 2] = [switch("checkhost", 0), switch("ignorecertchain", 0)];

/// The keys of a module; else of its family, and those of a module whose check of the host name is a setting.
pub(crate) fn keys(config: &Config) -> impl Iterator<Item = &Key> {
    let own = config.facts.keys.as_deref().unwrap_or(keys_of_manual(config.family));
    let further: &[Key] = if config.quirks.host_check_set { &HOST_CHECK_KEYS } else { &[] };
    own.iter().chain(further.iter().filter(|key| !own.iter().any(|other| other.name == key.name)))
}

pub(crate) fn keys_of_manual(family: Family) -> &'static [Key] {
    match family {
        Family::Ec20 => &EC20_KEYS,
        Family::Eg800q => &EG800Q_KEYS,
    }
}

/// The cipher codes of a module, in the order of its list.
pub(crate) fn cipher_codes(config: &Config) -> &[u16] {
    let codes = keys(config).find_map(|key| match &key.form {
        Form::Cipher { codes, .. } => Some(codes.as_ref()),
        _ => None,
    });
    codes.unwrap_or(&CIPHER_CODES)
}

impl SslSettings {
    pub(crate) fn new(config: &Config) -> SslSettings {
        let count = usize::from(config.facts.limits.ssl_contexts);
        SslSettings { contexts: vec![SslContext::new(config); count], chain: vec![String::new(); 6] }
    }

    /// Puts one context back to its defaults.
    pub(crate) fn forget(&mut self, context: u8, config: &Config) {
        if let Some(context) = self.contexts.get_mut(usize::from(context)) {
            *context = SslContext::new(config);
        }
    }

    /// Whether a close timeout of this context counts milliseconds. The EG800Q's manual has milliseconds in
    /// one place and microseconds in another.
    pub(crate) fn closes_in_milliseconds(&self, context: u8) -> bool {
        let context = self.contexts.get(usize::from(context));
        context.is_some_and(|context| context.number("closetimemode") == 1)
    }

    /// What a connection of this context is carried by: "dtls".
    pub(crate) fn transport(&self, context: u8) -> Transport {
        let context = self.contexts.get(usize::from(context));
        match context.is_some_and(|context| context.number("dtls") == 1) {
            true => Transport::Udp,
            false => Transport::Tcp,
        }
    }

    /// "negotiatetime" in seconds.
    pub(crate) fn negotiate_seconds(&self, context: u8) -> u32 {
        self.contexts.get(usize::from(context)).map_or(300, |context| context.number("negotiatetime"))
    }

    pub(crate) fn chain_line(&self, index: usize) -> String {
        format!("+QSSLCFG: \"cacertex\",{index},\"{}\"", self.chain[index])
    }
}

impl SslContext {
    pub(crate) fn new(config: &Config) -> SslContext {
        let (mut numbers, mut texts) = (BTreeMap::new(), BTreeMap::new());
        for key in keys(config) {
            let name = key.name.clone();
            match &key.form {
                Form::Number { default, .. } => drop(numbers.insert(name, *default)),
                Form::Cipher { default, .. } => drop(numbers.insert(name, (*default).into())),
                Form::Texts { names, .. } => drop(texts.insert(name, vec![String::new(); names.len()])),
                Form::Chain => {}
            }
        }
        SslContext { numbers, texts }
    }

    /// The value of a key; 0 if the family does not have it.
    pub(crate) fn number(&self, key: &str) -> u32 {
        self.numbers.get(key).copied().unwrap_or(0)
    }

    /// A text of a key; empty if the family does not have it.
    pub(crate) fn text(&self, key: &str, position: usize) -> &str {
        self.texts.get(key).and_then(|texts| texts.get(position)).map_or("", String::as_str)
    }
}

pub(crate) const ALL_CIPHERS: u16 = 0xFFFF;

/// Table 2 of the EG800Q's manual; the first six are the EC20's.
const CIPHER_CODES: [u16; 31] = [
    0x0035, 0x002F, 0x0005, 0x0004, 0x000A, 0x003D, 0xC002, 0xC003, 0xC004, 0xC005, 0xC007, 0xC008, 0xC009,
    0xC00A, 0xC011, 0xC012, 0xC013, 0xC014, 0xC00C, 0xC00D, 0xC00E, 0xC00F, 0xC023, 0xC024, 0xC025, 0xC026,
    0xC027, 0xC028, 0xC029, 0xC02A, 0xC02F,
];
