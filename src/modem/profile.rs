//! What this module can do: learnt from its own answers, with the manuals' tables as the fallback.

use crate::at::{CHUNK_MAX, fields};

/// A family of modules that differ in what they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// EC20 and its LTE relatives of the same time (EC20 manual).
    Ec20,
    /// EG800Q, EG915Q, EG916Q and newer ones (EG800Q & EG91xQ application note).
    Eg800q,
}

/// What is known of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What it calls itself, for messages: model and firmware.
    pub name: String,
    /// Which manual's tables to fall back on.
    pub family: Family,
    /// The keys of AT+QSSLCFG with their ranges of values, as it listed them.
    pub keys: Vec<Key>,
    /// The most bytes of one AT+QSSLSEND.
    pub send_max: usize,
    /// Whether AT+QISWTMD works on its TLS sockets; learnt when it is first tried.
    pub switches_mode: Option<bool>,
}

/// A key of AT+QSSLCFG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name without quotes.
    pub name: String,
    /// The list of its values as the module wrote it, such as `(0-4)`; may be empty.
    pub values: String,
}

impl Profile {
    /// What can be assumed of a module that has said nothing yet.
    pub fn unknown() -> Self {
        Profile {
            name: "module".into(),
            family: Family::Eg800q,
            keys: table(Family::Eg800q),
            send_max: CHUNK_MAX,
            switches_mode: None,
        }
    }

    /// Takes the answer to ATI: `Quectel`, the model, `Revision: …`.
    pub fn learn_identity(&mut self, lines: &[String]) {
        let mut parts = Vec::new();
        for line in lines {
            let line = line.trim();
            if line.is_empty() || line.eq_ignore_ascii_case("Quectel") || line.starts_with("AT") {
                continue;
            }
            parts.push(line.strip_prefix("Revision:").unwrap_or(line).trim().to_owned());
        }
        if parts.is_empty() {
            return;
        }
        parts.truncate(2);
        let model = parts[0].to_ascii_uppercase();
        self.family = match model.as_str() {
            model if ["EC20", "EC21", "EC25"].iter().any(|old| model.starts_with(old)) => Family::Ec20,
            _ => Family::Eg800q,
        };
        self.keys = table(self.family);
        self.name = parts.join(" ");
    }

    /// Takes the answer to AT+QSSLCFG=?.
    pub fn learn_keys(&mut self, lines: &[String]) {
        let keys: Vec<Key> = lines.iter().filter_map(|line| key(line)).collect();
        if !keys.is_empty() {
            self.keys = keys;
        }
    }

    /// Whether it has this key of AT+QSSLCFG.
    pub fn has_key(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }

    /// Whether it compares the server's certificate with the host name.
    pub fn checks_host_name(&self) -> bool {
        self.has_key("ignorecertitem") || self.has_key("checkhost")
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
    (!name.is_empty()).then_some(Key { name, values })
}

/// The keys that a family's manual lists.
fn table(family: Family) -> Vec<Key> {
    let common = [
        "sslversion",
        "ciphersuite",
        "cacert",
        "clientcert",
        "clientkey",
        "seclevel",
        "ignorelocaltime",
        "negotiatetime",
    ];
    let newer = [
        "cacertex",
        "sni",
        "alpn",
        "psk",
        "session_cache",
        "renegotiation",
        "closetimemode",
        "dtls",
        "dtlsversion",
        "ignoremulticertchainverify",
        "ignoreinvalidcertsign",
        "ignorecertitem",
    ];
    let key = |name: &&str| Key { name: (*name).to_owned(), values: String::new() };
    match family {
        Family::Ec20 => common.iter().map(key).collect(),
        Family::Eg800q => common.iter().chain(&newer).map(key).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_identity_decides_the_fallback_table() {
        let mut profile = Profile::unknown();
        profile.learn_identity(&lines("Quectel\nEC25\nRevision: EC25AUXGAR08A03M1G"));
        assert_eq!(profile.name, "EC25 EC25AUXGAR08A03M1G");
        assert!(!profile.has_key("sni"));
        profile.learn_identity(&lines("Quectel\nEG800Q\nRevision: EG800QEULCR07A06M04"));
        assert!(profile.has_key("sni"));
    }

    #[test]
    fn answers_that_disagree_with_the_manuals_are_believed() {
        let mut profile = Profile::unknown();
        profile.learn_keys(&lines(
            "+QSSLCFG: \"sslversion\",(0-5),(0-4)\n\
             +QSSLCFG: \"ciphersuite\",(0-5),(0X0035,0X002F, 0XC007,0XFFFF)\n\
             +QSSLCFG: \"cacert\",(0-5),<cacertpath>\n\
             +QSSLCFG: \"checkhost\",(0-5),(0,1)",
        ));
        assert!(profile.has_key("checkhost") && !profile.has_key("alpn"));
        assert_eq!(profile.keys[1].values, "(0X0035,0X002F, 0XC007,0XFFFF)");
        assert_eq!(profile.keys[2].values, "<cacertpath>");
    }
}
