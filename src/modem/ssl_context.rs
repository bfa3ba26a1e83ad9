//! TLS settings of tunnels → SSL contexts of the modem, and the command lines that make them so.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Modem;
use super::failure::Failure;
use super::profile::Profile;
use crate::at::{AtText, SslContextId, fields};
use crate::config;
use crate::exit_status::ExitStatus;
use crate::trust::WHOLE_STORE;

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
    /// The files that must be in the modem before it is used.
    pub files: Vec<File>,
}

impl SslContext {
    /// The line that writes the setting at this place, and with `joined` as many after it as one line may carry;
    /// and how many it writes.
    pub fn write_line(&self, at: usize, joined: bool) -> (usize, String) {
        let mut line = self.settings[at].write_line(self.id);
        let mut count = 1;
        for setting in self.settings[at + 1..].iter().take_while(|_| joined) {
            let next = setting.write_line(self.id);
            let next = next.strip_prefix("AT").unwrap_or(&next);
            if line.len() + 1 + next.len() > JOINED_LINE_BYTES {
                break;
            }
            line.push(';');
            line.push_str(next);
            count += 1;
        }
        (count, line)
    }
}

/// The longest line of several settings: less than any module is known to take.
const JOINED_LINE_BYTES: usize = 255;

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
    /// For "cacertex": its number, which stands in the place of the context's.
    pub ca_id: Option<u8>,
    /// Everything behind the context's number, as written.
    pub value: String,
    /// Whether the value must stay out of logs.
    pub secret: bool,
}

impl Setting {
    /// A setting of one context.
    pub fn new(key: &'static str, value: String) -> Self {
        Setting { key, ca_id: None, value, secret: false }
    }

    /// The authority `ca_id` of "cacertex", which all contexts have in common; `None` takes it away.
    pub fn chain(ca_id: u8, file: Option<&File>) -> Self {
        let path = file.map_or("\"\"".to_owned(), File::path);
        Setting { ca_id: Some(ca_id), ..Setting::new("cacertex", path) }
    }

    /// The line that writes it.
    pub fn write_line(&self, context: SslContextId) -> String {
        format!("{},{}", self.query_line(context), self.value)
    }

    /// The line that asks for it.
    pub fn query_line(&self, context: SslContextId) -> String {
        match self.ca_id {
            Some(ca_id) => format!("AT+QSSLCFG=\"{}\",{ca_id}", self.key),
            None => format!("AT+QSSLCFG=\"{}\",{context}", self.key),
        }
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
                source.push_str(match pem.source.as_str() {
                    WHOLE_STORE => "the host's trust store",
                    named => named,
                });
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

    /// Its path as a setting's value.
    pub fn path(&self) -> String {
        format!("\"UFS:{}\"", self.name)
    }

    /// The checksum that the module answers to an upload: 16-bit XOR of big-endian byte pairs, an odd last
    /// byte in the high half (FILE application note, AT+QFUPL).
    pub fn checksum(&self) -> u16 {
        checksum(&self.content)
    }
}

/// The checksum of AT+QFUPL and AT+QFDWL.
pub fn checksum(content: &[u8]) -> u16 {
    content
        .chunks(2)
        .fold(0, |sum, pair| sum ^ (u16::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u16::from)))
}

/// How the authorities of all tunnels are given to the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// One file for each context, "cacert", with all its authorities one behind the other.
    Bundle,
    /// All tunnels trust the same few: a file for each authority, under the numbers of "cacertex", which
    /// all contexts have in common.
    Chain,
}

impl Authorities {
    /// "cacertex" is one list for all contexts, so it serves only tunnels that all trust the same, and only
    /// as many as it has numbers.
    pub fn of(tunnels: &[config::Tunnel], profile: &Profile) -> Self {
        let mut sets = tunnels.iter().map(|tunnel| &tunnel.tls.authentication);
        let Some(config::Authentication::Authorities(first)) = sets.next() else {
            return Authorities::Bundle;
        };
        let same = sets.all(
            |set| matches!(set, config::Authentication::Authorities(authorities) if authorities == first),
        );
        let fits = (2..=CHAIN_MAX).contains(&first.len()) && profile.has_key("cacertex");
        if same && fits { Authorities::Chain } else { Authorities::Bundle }
    }
}

/// The files that these settings need: authorities, client certificate, client key.
pub fn files(tls: &config::Tls, authorities: Authorities) -> Vec<File> {
    let mut files = authority_files(tls, authorities);
    if let Some(client) = &tls.client {
        files.push(File::of("pem", std::iter::once(&client.certificate)));
        files.push(File::of("key", std::iter::once(&client.key)));
    }
    files
}

/// The files of the authorities alone.
pub fn authority_files(tls: &config::Tls, authorities: Authorities) -> Vec<File> {
    match (&tls.authentication, authorities) {
        (config::Authentication::Insecure, _) => Vec::new(),
        (config::Authentication::Authorities(all), Authorities::Bundle) => {
            vec![File::of("pem", all.iter())]
        }
        (config::Authentication::Authorities(all), Authorities::Chain) => {
            all.iter().map(|one| File::of("pem", std::iter::once(one))).collect()
        }
    }
}

/// The settings that make an SSL context what `tls` says, for this module.
///
/// # Errors
/// Names the first option that the module has no key for, or whose value its key does not take.
pub fn settings(
    tls: &config::Tls,
    connect_timeout: Duration,
    profile: &Profile,
    authorities: Authorities,
) -> Result<Vec<Setting>, Failure> {
    let mut settings = Settings { profile, all: Vec::new() };
    settings.number("--tls-version", "sslversion", tls.version as u32, 0)?;
    settings.cipher(tls.cipher)?;
    let trusted = authority_files(tls, authorities);
    if let Some(first) = trusted.first() {
        settings.put("cacert", first.path());
    }
    let authenticated = !trusted.is_empty();
    let mut level = u32::from(authenticated);
    if let Some(client) = &tls.client {
        level = 2;
        settings.client(client)?;
    }
    settings.number("--ca", "seclevel", level, u32::MAX)?;
    settings.number("--check-time", "ignorelocaltime", u32::from(!tls.checks_time()), 1)?;
    if let Some(key) = profile.key("negotiatetime") {
        let seconds = negotiate_seconds(connect_timeout) as u32;
        let seconds = key.range.as_ref().map_or(seconds, |range| range.nearest(seconds));
        settings.put("negotiatetime", seconds.to_string());
    }
    match tls.sni {
        Some(wanted) => settings.number("--sni", "sni", u32::from(wanted), 0)?,
        None if profile.has_key("sni") => settings.number("--sni", "sni", 1, 1)?,
        None => {}
    }
    // What is off by default is written as off where the module has it: it may remember an older user.
    let chain_key = match profile.has_key("ignorecertchain") {
        // BG96 and its like
        true => "ignorecertchain",
        false => "ignoremulticertchainverify",
    };
    for (option, key, on) in [
        ("--session-resumption", "session_cache", tls.session_resumption),
        ("--renegotiation", "renegotiation", tls.renegotiation),
        ("--ignore-chain", chain_key, tls.ignore_chain),
        ("--ignore-signature", "ignoreinvalidcertsign", tls.ignore_signature),
    ] {
        settings.number(option, key, u32::from(on), 0)?;
    }
    settings.number("--ignore-certificate", "ignorecertitem", tls.ignore_certificate_items, 0)?;
    if profile.has_key("checkhost") {
        let ignores_name = tls.ignore_certificate_items & config::certificate_items::COMMON_NAME != 0;
        settings.put("checkhost", u8::from(authenticated && !ignores_name).to_string());
    }
    match &tls.alpn {
        None if !profile.has_key("alpn") => {}
        None => settings.put("alpn", "\"\"".to_owned()),
        Some(name) => settings.text("--alpn", "alpn", format!("\"{name}\""))?,
    }
    for key in ["dtls", "closetimemode"] {
        settings.number("", key, 0, 0)?;
    }
    if let Some(psk) = &tls.psk {
        settings.text("--psk-identity", "psk", format!("\"{}\",\"{}\"", psk.identity, psk.key.0))?;
        settings.last_is_secret();
    }
    Ok(settings.all)
}

/// "cacertex" as these tunnels need it, from what stands there now: `stored` are the lines of its answer.
/// Returns what must be written, once for the whole module.
pub fn chain_settings(trusted: &[File], stored: &[String]) -> Vec<Setting> {
    let standing = |ca_id: u8| {
        stored.iter().find_map(|line| {
            let mut all = fields(line.strip_prefix("+QSSLCFG:")?);
            (all.next()? == "cacertex" && all.number::<u8>()? == ca_id).then(|| all.next().unwrap_or(""))
        })
    };
    let wanted = |ca_id: u8| trusted.get(usize::from(ca_id));
    let mut settings = Vec::new();
    for ca_id in 0..CHAIN_MAX as u8 {
        let stands = match (standing(ca_id), wanted(ca_id)) {
            (Some(path), Some(file)) => normal(path) == normal(&file.path()),
            (Some(path), None) => path.is_empty(),
            (None, wanted) => wanted.is_none(),
        };
        if !stands {
            settings.push(Setting::chain(ca_id, wanted(ca_id)));
        }
    }
    settings
}

/// Names and sizes in the lines of AT+QFLST, the names without their storage.
pub fn stored_files(lines: &[String]) -> Vec<(String, u64)> {
    let file = |line: &String| {
        let mut all = fields(line.strip_prefix("+QFLST:")?);
        let name = all.next()?;
        Some((name.strip_prefix("UFS:").unwrap_or(name).to_owned(), all.number()?))
    };
    lines.iter().filter_map(file).collect()
}

/// `+QFUPL: <size>,<checksum>`
pub fn upload_sum(lines: &[String]) -> Option<(usize, u16)> {
    sum(lines, "+QFUPL:")
}

/// `+QFDWL: <size>,<checksum>`
pub fn download_sum(lines: &[String]) -> Option<(usize, u16)> {
    sum(lines, "+QFDWL:")
}

fn sum(lines: &[String], name: &str) -> Option<(usize, u16)> {
    lines.iter().find_map(|line| {
        let mut all = fields(line.strip_prefix(name)?);
        Some((all.number()?, u16::from_str_radix(all.next()?.trim(), 16).ok()?))
    })
}

/// What is likely wrong where TLS fails and TCP does not, for these settings on this module, the likeliest
/// first.
pub fn likely_causes(tls: &config::Tls, profile: &Profile) -> String {
    let name = &profile.name;
    let mut causes = Vec::new();
    if tls.cipher != config::cipher::Cipher::ANY.0 {
        causes.push("the server does not take the cipher suite of --cipher".to_owned());
    } else if !ECDHE.iter().any(|code| profile.takes("ciphersuite", *code)) {
        causes.push(format!("no common cipher suite: {name} has no ECDHE, which most servers demand"));
    }
    match tls.sni {
        Some(false) => causes.push("the server wants its name (leave --no-sni out)".to_owned()),
        _ if !profile.has_key("sni") => {
            causes.push(format!("the server wants its name (SNI), which {name} cannot send"));
        }
        _ => {}
    }
    if tls.authentication != config::Authentication::Insecure {
        let mut cause =
            "the server's certificate: signed by another than --ca, or an incomplete chain".to_owned();
        if tls.check_time != Some(false) {
            cause.push_str(", or expired (or the modem's clock is wrong)");
        }
        if profile.checks_host_name() {
            cause.push_str(", or for another name");
        }
        causes.push(cause);
    }
    causes.push(match tls.client {
        None => "the server demands a client certificate (--cert, --key)".to_owned(),
        Some(_) => "the server does not accept the client certificate of --cert".to_owned(),
    });
    if tls.psk.is_some() {
        causes.push(
            "the server knows another identity or key than --psk-identity and --psk-key-file".to_owned(),
        );
    }
    if tls.alpn.is_some() {
        causes.push("the server does not speak the protocol of --alpn".to_owned());
    }
    causes.push(match tls.version {
        config::TlsVersion::Any | config::TlsVersion::Tls12 => "the server speaks TLS 1.3 only".to_owned(),
        _ => "the server does not speak the version of --tls-version".to_owned(),
    });
    causes.join("; or ")
}

impl Modem {
    /// How many bytes the certificates and keys of this tunnel have, which the module holds in memory besides.
    pub fn certificate_bytes(&self, tunnel: usize) -> usize {
        let context = self.context_of.get(tunnel).and_then(|index| self.contexts.get(*index));
        context.map_or(0, |context| context.files.iter().map(|file| file.content.len()).sum())
    }

    /// The SSL context that has the settings of this tunnel, once there is one.
    pub fn ssl_context_of(&self, tunnel: usize) -> Option<SslContextId> {
        self.contexts.get(*self.context_of.get(tunnel)?).map(|context| context.id)
    }

    /// What is likely wrong where TLS fails and TCP does not, with the settings of this tunnel.
    pub fn likely_causes(&self, tunnel: usize) -> String {
        likely_causes(&self.tunnels[tunnel].tls, &self.profile)
    }
}

/// Settings being put together for a module.
struct Settings<'a> {
    profile: &'a Profile,
    all: Vec<Setting>,
}

impl Settings<'_> {
    fn put(&mut self, key: &'static str, value: String) {
        self.all.push(Setting::new(key, value));
    }

    fn last_is_secret(&mut self) {
        if let Some(setting) = self.all.last_mut() {
            setting.secret = true;
        }
    }

    /// A number. `usual` is what a module without the key does anyway.
    fn number(&mut self, option: &str, key: &'static str, value: u32, usual: u32) -> Result<(), Failure> {
        match (self.profile.has_key(key), self.profile.takes(key, value)) {
            (true, true) => self.put(key, value.to_string()),
            (false, _) if value == usual => {}
            (true, false) if value == usual => {}
            (false, _) => return Err(self.lacks(option, key)),
            (true, false) => {
                let message = format!(
                    "{} does not take {value} for {key:?}, which {option} needs: it takes {}",
                    self.profile.name,
                    self.profile.key(key).map_or("", |key| key.values.as_str())
                );
                return Err(Failure::new(ExitStatus::Usage, message));
            }
        }
        Ok(())
    }

    /// Texts: the key must be there.
    fn text(&mut self, option: &str, key: &'static str, value: String) -> Result<(), Failure> {
        if !self.profile.has_key(key) {
            return Err(self.lacks(option, key));
        }
        self.put(key, value);
        Ok(())
    }

    fn cipher(&mut self, code: u16) -> Result<(), Failure> {
        if !self.profile.takes("ciphersuite", code.into()) {
            let message = format!(
                "{} does not have the cipher suite {} of --cipher: it has {}",
                self.profile.name,
                config::cipher::Cipher(code),
                self.profile.key("ciphersuite").map_or("none", |key| key.values.as_str())
            );
            return Err(Failure::new(ExitStatus::Usage, message));
        }
        self.put("ciphersuite", format!("0X{code:04X}"));
        Ok(())
    }

    fn client(&mut self, client: &config::ClientCertificate) -> Result<(), Failure> {
        let certificate = File::of("pem", std::iter::once(&client.certificate)).path();
        self.text("--cert", "clientcert", certificate)?;
        let key = File::of("key", std::iter::once(&client.key)).path();
        match &client.key_password {
            None => self.text("--key", "clientkey", key),
            Some(_) if !self.profile.takes_key_password() => {
                let message = format!(
                    "{} takes no password for a key: give --key a file without one and leave \
                     --key-password-file out",
                    self.profile.name
                );
                Err(Failure::new(ExitStatus::Usage, message))
            }
            Some(password) => {
                self.text("--key", "clientkey", format!("{key},\"{}\"", password.0))?;
                self.last_is_secret();
                Ok(())
            }
        }
    }

    fn lacks(&self, option: &str, key: &str) -> Failure {
        let name = &self.profile.name;
        Failure::new(
            ExitStatus::Usage,
            format!("{name} has no setting {key:?}, which {option} needs: leave {option} out"),
        )
    }
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

/// Suites with an ephemeral key exchange, of which some server takes at least one.
const ECDHE: [u32; 8] = [0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC027, 0xC02F, 0xC030];

/// "cacertex" has the numbers 0–5 (EG800Q manual, 2.2.1).
const CHAIN_MAX: usize = 6;

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
        let setting = Setting::new("cacert", "\"UFS:a.pem\"".into());
        assert!(setting.stands_in(&["+QSSLCFG: \"cacert\",1,UFS:a.pem".into()]));
        assert!(!setting.stands_in(&["+QSSLCFG: \"cacert\",1,\"\"".into()]));
        let cipher = Setting::new("ciphersuite", "0XFFFF".into());
        assert!(cipher.stands_in(&["+QSSLCFG: \"ciphersuite\",1,0xffff".into()]));
    }

    fn module(identity: &str) -> Profile {
        let mut profile = Profile::unknown();
        profile.learn_identity(&["Quectel".into(), identity.into(), "Revision: R1".into()]);
        profile
    }

    fn insecure() -> config::Tls {
        config::Tls::new(config::Authentication::Insecure)
    }

    fn trusting(names: &[&str]) -> config::Tls {
        let pem = |name: &&str| config::Pem { source: (*name).into(), bytes: name.as_bytes().to_vec() };
        config::Tls::new(config::Authentication::Authorities(names.iter().map(pem).collect()))
    }

    fn written(tls: &config::Tls, profile: &Profile, authorities: Authorities) -> Vec<String> {
        let context = SslContextId::new(0).unwrap();
        settings(tls, Duration::from_secs(5), profile, authorities)
            .expect("the module has all of this")
            .iter()
            .map(|setting| setting.write_line(context))
            .collect()
    }

    fn refused(tls: &config::Tls, profile: &Profile) -> String {
        let failure = settings(tls, Duration::from_secs(60), profile, Authorities::Bundle).unwrap_err();
        assert_eq!(failure.status, ExitStatus::Usage);
        failure.message
    }

    #[test]
    fn an_option_that_the_module_lacks_is_named_with_the_module() {
        let ec20 = module("EC20F");
        let plain = insecure();
        assert_eq!(
            refused(&config::Tls { sni: Some(true), ..plain.clone() }, &ec20),
            "EC20F R1 has no setting \"sni\", which --sni needs: leave --sni out"
        );
        assert_eq!(
            refused(&config::Tls { session_resumption: true, ..plain.clone() }, &ec20),
            "EC20F R1 has no setting \"session_cache\", which --session-resumption needs: leave \
             --session-resumption out"
        );
        assert!(refused(&config::Tls { cipher: 0xC02F, ..plain.clone() }, &ec20).starts_with(
            "EC20F R1 does not have the cipher suite TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 of --cipher"
        ));
        let all = written(&config::Tls { sni: Some(false), ..plain }, &ec20, Authorities::Bundle);
        assert!(all.contains(&"AT+QSSLCFG=\"sslversion\",0,3".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"negotiatetime\",0,10".to_owned()), "{all:?}");
        assert!(!all.iter().any(|line| line.contains("sni")), "{all:?}");
    }

    #[test]
    fn a_value_beyond_the_modules_own_range_is_refused_before_anything_is_opened() {
        let mut profile = module("EG915Q");
        profile.learn_keys(&[
            "+QSSLCFG: \"sslversion\",(0-5),(3,4)".into(),
            "+QSSLCFG: \"ciphersuite\",(0-5),<cs_id>".into(),
            "+QSSLCFG: \"seclevel\",(0-5),(0-2)".into(),
            "+QSSLCFG: \"ignorelocaltime\",(0-5),(0,1)".into(),
            "+QSSLCFG: \"negotiatetime\",(0-5),(30-60)".into(),
        ]);
        let old = config::Tls { version: config::TlsVersion::Tls10, ..insecure() };
        assert_eq!(
            refused(&old, &profile),
            "EG915Q R1 does not take 1 for \"sslversion\", which --tls-version needs: it takes (3,4)"
        );
        // A list that names no codes leaves the last word to the module.
        let exotic = config::Tls { cipher: 0xC030, ..insecure() };
        let all = written(&exotic, &profile, Authorities::Bundle);
        assert!(all.contains(&"AT+QSSLCFG=\"ciphersuite\",0,0XC030".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"negotiatetime\",0,30".to_owned()), "{all:?}");
    }

    #[test]
    fn a_bg96_ignores_chains_under_a_name_of_its_own() {
        let mut bg96 = module("BG96");
        bg96.learn_keys(&[
            "+QSSLCFG: \"sslversion\",(0-5),(0-4)".into(),
            "+QSSLCFG: \"ciphersuite\",(0-5),(0X0035,0XFFFF)".into(),
            "+QSSLCFG: \"seclevel\",(0-5),(0-2)".into(),
            "+QSSLCFG: \"checkhost\",(0-5),(0,1)".into(),
            "+QSSLCFG: \"ignorecertchain\",(0-5),(0,1)".into(),
            "+QSSLCFG: \"ignorelocaltime\",(0-5),(0,1)".into(),
        ]);
        let tls = config::Tls { ignore_chain: true, ..trusting(&["one"]) };
        let all = written(&tls, &bg96, Authorities::Bundle);
        assert!(all.contains(&"AT+QSSLCFG=\"ignorecertchain\",0,1".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"checkhost\",0,1".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"seclevel\",0,1".to_owned()), "{all:?}");
    }

    #[test]
    fn authorities_that_all_tunnels_share_go_into_the_modules_one_chain() {
        let tunnel = |tls: config::Tls| config::Tunnel {
            name: String::new(),
            listen: Vec::new(),
            target: "a:1".parse().expect("a target"),
            mode: config::Mode::Push,
            tls,
            limits: config::Limits::default(),
            allow: Vec::new(),
        };
        let (one, two, many) = (trusting(&["a"]), trusting(&["a", "b"]), trusting(&["a"; 7]));
        let chain = |tunnels: &[&config::Tls], module: &Profile| {
            let tunnels: Vec<_> = tunnels.iter().map(|tls| tunnel((*tls).clone())).collect();
            Authorities::of(&tunnels, module) == Authorities::Chain
        };
        let (new, old) = (module("EG800Q"), module("EC20"));
        assert!(chain(&[&two, &two], &new));
        assert!(!chain(&[&two, &two], &old), "an EC20 has no cacertex");
        assert!(!chain(&[&two, &one], &new), "the chain would be trusted by both");
        assert!(!chain(&[&two, &insecure()], &new));
        assert!(!chain(&[&one], &new) && !chain(&[&many], &new));
        let files = authority_files(&two, Authorities::Chain);
        let stored = ["+QSSLCFG: \"cacertex\",0,\"\"", "+QSSLCFG: \"cacertex\",5,\"UFS:theirs.pem\""];
        let stored: Vec<String> = stored.map(str::to_owned).into();
        let context = SslContextId::new(3).unwrap();
        let lines: Vec<String> =
            chain_settings(&files, &stored).iter().map(|setting| setting.write_line(context)).collect();
        assert_eq!(
            lines,
            [
                format!("AT+QSSLCFG=\"cacertex\",0,\"UFS:{}\"", files[0].name),
                format!("AT+QSSLCFG=\"cacertex\",1,\"UFS:{}\"", files[1].name),
                "AT+QSSLCFG=\"cacertex\",5,\"\"".to_owned(),
            ]
        );
    }
}
