//! TLS settings of tunnels → SSL contexts of the modem, and the command lines that make them so.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::profile::Profile;
use crate::at::{AtText, SslContextId};
use crate::config;
use crate::exit_status::ExitStatus;

/// An SSL context in use.
#[derive(Debug)]
pub struct SslContext {
    /// Its number.
    pub id: SslContextId,
    /// The settings that it carries.
    pub tls: config::Tls,
    /// `--connect-timeout`, which sets "negotiatetime".
    pub connect_timeout: Duration,
    /// Whether the settings are known to stand in the modem.
    pub standing: Standing,
    /// The settings as key and value, in the order of writing.
    pub settings: Vec<Setting>,
}

/// Whether a context's settings are known to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They must be written, from this one on.
    Unwritten(usize),
    /// They stood, but the last socket of the context was closed since: ask, from this one on.
    Doubtful(usize),
    /// They stand.
    Known,
}

/// A key of AT+QSSLCFG with the value that it shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Everything behind the context's number, as written.
    pub value: String,
    /// Whether the value must stay out of logs.
    pub secret: bool,
}

impl Setting {
    /// The line that writes it.
    pub fn write_line(&self, context: SslContextId) -> String {
        format!("AT+QSSLCFG=\"{}\",{context},{}", self.key, self.value)
    }

    /// The line that asks for it.
    pub fn query_line(&self, context: SslContextId) -> String {
        format!("AT+QSSLCFG=\"{}\",{context}", self.key)
    }

    /// Whether this answer to the query says that it stands.
    pub fn stands_in(&self, lines: &[String]) -> bool {
        lines.iter().any(|line| {
            let value = line.splitn(3, ',').nth(2).unwrap_or("");
            normal(value) == normal(&self.value)
        })
    }

    /// Whether a connection without it would not be what the user asked for. What only repeats the module's
    /// default may be refused.
    pub fn is_needed(&self) -> bool {
        !matches!(self.value.as_str(), "0" | "\"\"") || matches!(self.key, "seclevel" | "ignorelocaltime")
    }

    /// Whether it is worth asking for after the module may have released the context: what would make a
    /// connection unauthenticated, and one of those that always differ from the defaults.
    pub fn is_vital(&self) -> bool {
        matches!(self.key, "seclevel" | "cacert" | "ciphersuite")
    }
}

/// A file that must be in the modem before a context can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name there: a hash of its content, so that equal files are stored once and changed ones anew.
    pub name: AtText,
    /// Its content.
    pub content: Vec<u8>,
    /// Where it came from, for messages.
    pub source: String,
}

impl File {
    /// The file for some PEM texts, one after the other.
    pub fn of<'a>(kind: &str, pems: impl Iterator<Item = &'a config::Pem>) -> Self {
        let mut content = Vec::new();
        let mut source = String::new();
        for pem in pems {
            if source.is_empty() {
                source.push_str(&pem.source);
            }
            content.extend_from_slice(&pem.bytes);
            if !content.ends_with(b"\n") {
                content.push(b'\n');
            }
        }
        let hash = Sha256::digest(&content);
        let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let name =
            AtText::new(format!("{FILE_PREFIX}{hex}.{kind}")).expect("letters, digits, hyphen and dot");
        File { name, content, source }
    }

    /// The checksum that the module answers to an upload: 16-bit XOR of big-endian byte pairs, an odd last
    /// byte in the high half (FILE application note, AT+QFUPL).
    pub fn checksum(&self) -> u16 {
        self.content
            .chunks(2)
            .fold(0, |sum, pair| sum ^ (u16::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u16::from)))
    }
}

/// The files that these settings need: CA, client certificate, client key.
pub fn files(tls: &config::Tls) -> Vec<File> {
    let mut files = Vec::new();
    if let config::Authentication::Authorities(authorities) = &tls.authentication {
        files.push(File::of("pem", authorities.iter()));
    }
    if let Some(client) = &tls.client {
        files.push(File::of("pem", std::iter::once(&client.certificate)));
        files.push(File::of("key", std::iter::once(&client.key)));
    }
    files
}

/// The settings that make an SSL context what `tls` says, for this module.
///
/// # Errors
/// Names the first option that the module has no key for.
pub fn settings(
    tls: &config::Tls,
    connect_timeout: Duration,
    profile: &Profile,
) -> Result<Vec<Setting>, Failure> {
    let mut settings = Vec::new();
    let mut set = |key: &'static str, value: String| settings.push(Setting { key, value, secret: false });
    let lacks = |key: &str| !profile.has_key(key);
    let refuse = |option: &str, key: &str| {
        Err(Failure::new(
            ExitStatus::Usage,
            format!("{} has no setting {key:?}, which {option} needs: leave {option} out", profile.name),
        ))
    };

    set("sslversion", (tls.version as u8).to_string());
    set("ciphersuite", format!("0X{:04X}", tls.cipher));
    let authenticated = match &tls.authentication {
        config::Authentication::Insecure => false,
        config::Authentication::Authorities(authorities) => {
            set("cacert", format!("\"UFS:{}\"", File::of("pem", authorities.iter()).name));
            true
        }
    };
    let mut level = u8::from(authenticated);
    if let Some(client) = &tls.client {
        level = 2;
        set("clientcert", format!("\"UFS:{}\"", File::of("pem", std::iter::once(&client.certificate)).name));
        let key = File::of("key", std::iter::once(&client.key));
        match &client.key_password {
            None => set("clientkey", format!("\"UFS:{}\"", key.name)),
            Some(_) if profile.family == super::profile::Family::Ec20 => {
                return Err(Failure::new(
                    ExitStatus::Usage,
                    format!(
                        "{} takes no password for a key: give --key a file without one and leave \
                         --key-password-file out",
                        profile.name
                    ),
                ));
            }
            Some(password) => settings.push(Setting {
                key: "clientkey",
                value: format!("\"UFS:{}\",\"{}\"", key.name, password.0),
                secret: true,
            }),
        }
    }
    let mut set = |key: &'static str, value: String| settings.push(Setting { key, value, secret: false });
    set("seclevel", level.to_string());
    let check_time = tls.check_time.unwrap_or(authenticated);
    set("ignorelocaltime", u8::from(!check_time).to_string());
    set("negotiatetime", negotiate_seconds(connect_timeout).to_string());

    match tls.sni {
        Some(true) if lacks("sni") => return refuse("--sni", "sni"),
        wanted if !lacks("sni") => set("sni", u8::from(wanted.unwrap_or(true)).to_string()),
        _ => {}
    }
    // What is off by default is written as off where the module has it: it may remember an older user.
    let switches = [
        ("--session-resumption", "session_cache", tls.session_resumption),
        ("--renegotiation", "renegotiation", tls.renegotiation),
        ("--ignore-chain", "ignoremulticertchainverify", tls.ignore_chain),
        ("--ignore-signature", "ignoreinvalidcertsign", tls.ignore_signature),
    ];
    for (option, key, on) in switches {
        if on && lacks(key) {
            return refuse(option, key);
        }
        if !lacks(key) {
            set(key, u8::from(on).to_string());
        }
    }
    if tls.ignore_certificate_items != 0 && lacks("ignorecertitem") {
        return refuse("--ignore-certificate", "ignorecertitem");
    }
    if !lacks("ignorecertitem") {
        set("ignorecertitem", tls.ignore_certificate_items.to_string());
    }
    if !lacks("checkhost") {
        set("checkhost", u8::from(authenticated).to_string());
    }
    match &tls.alpn {
        Some(_) if lacks("alpn") => return refuse("--alpn", "alpn"),
        alpn if !lacks("alpn") => {
            set("alpn", format!("\"{}\"", alpn.as_ref().map_or("", AtText::as_str)));
        }
        _ => {}
    }
    if !lacks("dtls") {
        set("dtls", "0".to_owned());
    }
    if !lacks("closetimemode") {
        set("closetimemode", "0".to_owned());
    }
    match &tls.psk {
        Some(_) if lacks("psk") => return refuse("--psk-identity", "psk"),
        Some(psk) => settings.push(Setting {
            key: "psk",
            value: format!("\"{}\",\"{}\"", psk.identity, psk.key.0),
            secret: true,
        }),
        None => {}
    }
    Ok(settings)
}

/// "negotiatetime" has a range of 10–300 s (both manuals, AT+QSSLCFG); 0, which is off, is the most.
pub fn negotiate_seconds(connect_timeout: Duration) -> u64 {
    match connect_timeout.as_secs() {
        0 => 300,
        seconds => seconds.clamp(10, 300),
    }
}

/// A value without the differences in quoting and case that modules answer with.
fn normal(value: &str) -> String {
    value.chars().filter(|c| !matches!(c, '"' | ' ')).collect::<String>().to_ascii_uppercase()
}

/// What the names of our files in the modem begin with.
pub const FILE_PREFIX: &str = "qt-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_modules() {
        let file = |content: &[u8]| File {
            name: AtText::new("x").unwrap(),
            content: content.to_vec(),
            source: String::new(),
        };
        assert_eq!(file(b"\x12\x34\x56").checksum(), 0x1234 ^ 0x5600);
        assert_eq!(file(b"").checksum(), 0);
    }

    #[test]
    fn an_answer_may_be_quoted_differently() {
        let setting = Setting { key: "cacert", value: "\"UFS:a.pem\"".into(), secret: false };
        assert!(setting.stands_in(&["+QSSLCFG: \"cacert\",1,UFS:a.pem".into()]));
        assert!(!setting.stands_in(&["+QSSLCFG: \"cacert\",1,\"\"".into()]));
        let cipher = Setting { key: "ciphersuite", value: "0XFFFF".into(), secret: false };
        assert!(cipher.stands_in(&["+QSSLCFG: \"ciphersuite\",1,0xffff".into()]));
    }

    #[test]
    fn an_option_that_the_module_lacks_is_named() {
        let mut profile = Profile::unknown();
        profile.learn_identity(&["Quectel".into(), "EC20F".into(), "Revision: EC20CEFAR02A09M4G".into()]);
        let tls = config::Tls {
            version: config::TlsVersion::Tls12,
            cipher: 0xFFFF,
            authentication: config::Authentication::Insecure,
            client: None,
            sni: Some(true),
            alpn: None,
            psk: None,
            session_resumption: false,
            renegotiation: false,
            check_time: None,
            ignore_certificate_items: 0,
            ignore_chain: false,
            ignore_signature: false,
        };
        let failure = settings(&tls, Duration::from_secs(60), &profile).unwrap_err();
        assert_eq!(failure.status, ExitStatus::Usage);
        assert!(failure.message.contains("EC20F") && failure.message.contains("--sni"), "{failure}");
        let plain = config::Tls { sni: None, ..tls };
        let written: Vec<_> = settings(&plain, Duration::from_secs(5), &profile)
            .unwrap()
            .iter()
            .map(|setting| setting.write_line(SslContextId::new(0).unwrap()))
            .collect();
        assert!(written.contains(&"AT+QSSLCFG=\"sslversion\",0,3".to_owned()), "{written:?}");
        assert!(written.contains(&"AT+QSSLCFG=\"negotiatetime\",0,10".to_owned()), "{written:?}");
    }
}
