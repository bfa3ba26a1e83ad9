//! AT+QSSLCFG: the settings of SSL contexts, and what they mean for a connection (both manuals, 2.1.1 and
//! 2.2.1).

use std::time::Instant;

use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::config::Family;
use crate::modem::Modem;
use crate::network::TlsParameters;
use crate::parser::{Kind, Parameter};
use crate::result_code::socket;
use crate::ssl_settings::{ALL_CIPHERS, Form, Key, cipher_codes, keys};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QSSLCFG", Kind::Test) => Ok(CommandOutcome::Done(modem.list_keys())),
        ("QSSLCFG", Kind::Write(list)) => modem.ssl_setting(list),
        _ => return None,
    };
    let answer = answer.map_err(|_| Failure::Socket(socket::INVALID_PARAMETER));
    if answer.is_ok() {
        modem.session.last_error = socket::OK;
    }
    Some(answer)
}

impl Modem {
    fn list_keys(&self) -> Vec<String> {
        let family = self.config.family;
        let last = self.config.facts.limits.last_ssl_context();
        let key_line = |key: &Key| {
            let values = match &key.form {
                Form::Number { range, .. } if *range == (0..=1) => "(0,1)".into(),
                Form::Number { range, .. } => format!("({}-{})", range.start(), range.end()),
                // The EG800Q's manual gives a name here and not the codes.
                Form::Cipher { .. }
                    if family == Family::Eg800q && !self.config.quirks.cipher_codes_listed =>
                {
                    "<cs_id>".into()
                }
                Form::Cipher { codes, .. } => {
                    let codes = codes.iter().chain(&[ALL_CIPHERS]);
                    let codes: Vec<String> = codes.map(|code| format!("0X{code:04X}")).collect();
                    format!("({})", codes.join(","))
                }
                Form::Texts { names, .. } => names.join(","),
                Form::Chain => "<cacertexpath>".into(),
            };
            let last = if matches!(key.form, Form::Chain) { LAST_CHAIN_FILE } else { last };
            format!("+QSSLCFG: \"{}\",(0-{last}),{values}", key.name)
        };
        let is_short = self.config.quirks.key_list_short;
        let is_listed = |key: &&Key| !is_short || key.name != "cacertex" && !key.name.starts_with("ignore");
        self.keys().filter(is_listed).map(key_line).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        keys(&self.config)
    }

    /// `AT+QSSLCFG="<key>",<context>[,<value>…]`: without a value it answers the one in force.
    fn ssl_setting(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        let name = parameters.text(0)?;
        let family = self.config.family;
        let key = self.keys().find(|key| key.name == name).ok_or(Failure::Error)?.clone();
        if matches!(key.form, Form::Chain) && parameters.len() == 1 {
            return Ok(CommandOutcome::Done(
                (0..=LAST_CHAIN_FILE).map(|index| self.session.ssl.chain_line(index.into())).collect(),
            ));
        }
        let last = match key.form {
            Form::Chain => LAST_CHAIN_FILE,
            _ => self.config.facts.limits.last_ssl_context(),
        };
        let index = usize::from(parameters.small(1, 0..=last)?);
        let quotes = self.config.quirks.setting_values_quoted;
        let is_items = key.name == "ignorecertitem";
        let is_lost = parameters.len() > 2
            && (self.faults.lost_settings > 0 || is_items && self.config.quirks.ignored_items_kept);
        if is_lost {
            self.faults.lost_settings = self.faults.lost_settings.saturating_sub(1);
            return ok();
        }
        let stays = is_items && self.config.quirks.ignored_items_stay;
        let ssl = &mut self.session.ssl;
        let context = &mut ssl.contexts[index];
        if parameters.len() == 2 {
            let value = match &key.form {
                Form::Number { .. } if quotes => format!("\"{}\"", context.number(&key.name)),
                Form::Number { .. } => context.number(&key.name).to_string(),
                Form::Cipher { .. } => format!("0X{:04X}", context.number(&key.name)),
                Form::Texts { .. } => quoted(&context.texts[&key.name]),
                Form::Chain => return line(ssl.chain_line(index)),
            };
            // The EC20 asks by one name and answers by another.
            let shown = match (family, key.name.as_ref()) {
                (Family::Ec20, "negotiatetime") => "negotiatetimeout",
                (_, name) => name,
            };
            return line(format!("+QSSLCFG: \"{shown}\",{index},{value}"));
        }
        match &key.form {
            Form::Number { range, .. } => {
                parameters.at_most(3)?;
                if stays && context.number(&key.name) != 0 {
                    return Err(Failure::Error);
                }
                context.numbers.insert(key.name.clone(), parameters.number(2, range.clone())?);
            }
            Form::Cipher { codes, .. } => {
                parameters.at_most(3)?;
                let code = parameters.code(2)?;
                if code != ALL_CIPHERS && !codes.contains(&code) {
                    return Err(Failure::Error);
                }
                context.numbers.insert(key.name.clone(), code.into());
            }
            Form::Texts { required, names } => {
                parameters.at_most(2 + names.len())?;
                let mut values = context.texts[&key.name].clone();
                for (position, value) in values.iter_mut().enumerate() {
                    match parameters.optional_text(2 + position)? {
                        Some(text) if text.len() <= TEXT_LIMIT_BYTES => *value = text.into(),
                        None if position >= *required => {}
                        _ => return Err(Failure::Error),
                    }
                }
                context.texts.insert(key.name.clone(), values);
            }
            Form::Chain => {
                parameters.at_most(3)?;
                ssl.chain[index] = parameters.text(2)?.into();
            }
        }
        ok()
    }

    /// The settings of a context for a new connection; a result code where they cannot work.
    pub(crate) fn tls_parameters(&self, index: u8, now: Instant) -> Result<TlsParameters, u16> {
        let ssl = &self.session.ssl;
        let context = ssl.contexts.get(usize::from(index)).ok_or(socket::INVALID_PARAMETER)?;
        let file = |path: &str| match path {
            "" => Ok(None),
            path => {
                let content = self.stored_as(path).and_then(|name| self.store.get(&name));
                content.map(|content| Some(content.to_vec())).ok_or(socket::CONNECT_FAILED)
            }
        };
        let security_level = small(context.number("seclevel"));
        let mut authorities = Vec::new();
        let (mut client_certificate, mut client_key) = (None, None);
        if security_level >= 1 {
            let paths =
                std::iter::once(context.text("cacert", 0)).chain(ssl.chain.iter().map(String::as_str));
            for path in paths {
                authorities.extend(file(path)?);
            }
            if authorities.is_empty() {
                return Err(socket::CONNECT_FAILED);
            }
        }
        if security_level == 2 {
            client_certificate = file(context.text("clientcert", 0))?;
            client_key = file(context.text("clientkey", 0))?;
        }
        let ignore_items = context.number("ignorecertitem");
        let psk = (context.text("psk", 0), context.text("psk", 1));
        let own_names = match self.keys().any(|key| key.name == "checkhost") {
            true => context.number("checkhost") == 1,
            false => self.config.family == Family::Eg800q,
        };
        Ok(TlsParameters {
            version: small(context.number("sslversion")),
            dtls_version: small(context.number("dtlsversion")),
            cipher_suites: match u16::try_from(context.number("ciphersuite")) {
                Ok(ALL_CIPHERS) | Err(_) => cipher_codes(&self.config).to_vec(),
                Ok(code) => vec![code],
            },
            security_level,
            authorities,
            client_certificate,
            client_key,
            client_key_password: Some(context.text("clientkey", 1))
                .filter(|password| !password.is_empty())
                .map(String::from),
            sni: context.number("sni") == 1,
            alpn: context.text("alpn", 0).into(),
            psk: (!psk.0.is_empty()).then(|| (psk.0.into(), psk.1.into())),
            session_cache: SESSION_KEYS.iter().any(|key| context.number(key) == 1).then_some(index),
            renegotiation: context.number("renegotiation") == 1,
            check_time: (context.number("ignorelocaltime") == 0).then(|| self.clock.seconds(now)),
            check_host: own_names && security_level >= 1 && ignore_items & IGNORE_NAME == 0,
            ignore_items,
            ignore_chain: context.number("ignoremulticertchainverify") == 1
                || context.number("ignorecertchain") == 1,
            ignore_signature: context.number("ignoreinvalidcertsign") == 1,
            negotiate_seconds: u16::try_from(context.number("negotiatetime")).unwrap_or(u16::MAX),
        })
    }
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(",")
}

/// Converts a number whose range fits a byte.
fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Item of "ignorecertitem": the certificate's name is not the expected one.
const IGNORE_NAME: u32 = 4;
/// Resumption of sessions: the usual key, and that of a BG95, BG96 or BG770A.
const SESSION_KEYS: [&str; 2] = ["session_cache", "session"];
const TEXT_LIMIT_BYTES: usize = 255;
/// "cacertex" has files 0 to 5.
const LAST_CHAIN_FILE: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use crate::{Config, Quirks};

    fn bench(family: Family) -> Bench {
        Bench::online(Config { family, ..Config::default() })
    }

    /// The settings that the network saw with the last open.
    fn opened_with(bench: &mut Bench) -> TlsParameters {
        bench.ask("AT+QSSLCLOSE=0,0");
        bench.open(0, 0);
        let record = bench.network.records().last().expect("a socket was opened");
        record.request.tls.clone().expect("it was a TLS socket")
    }

    #[test]
    fn the_test_command_answers_as_the_ec20s_manual_prints_it() {
        assert_eq!(
            bench(Family::Ec20).ask("AT+QSSLCFG=?"),
            "\r\n+QSSLCFG: \"sslversion\",(0-5),(0-4)\r\n\
             +QSSLCFG: \"ciphersuite\",(0-5),(0X0035,0X002F,0X0005,0X0004,0X000A,0X003D,0XFFFF)\r\n\
             +QSSLCFG: \"cacert\",(0-5),<cacertpath>\r\n\
             +QSSLCFG: \"clientcert\",(0-5),<client_cert_path>\r\n\
             +QSSLCFG: \"clientkey\",(0-5),<client_key_path>\r\n\
             +QSSLCFG: \"seclevel\",(0-5),(0-2)\r\n\
             +QSSLCFG: \"ignorelocaltime\",(0-5),(0,1)\r\n\
             +QSSLCFG: \"negotiatetime\",(0-5),(10-300)\r\n\r\nOK\r\n"
        );
    }

    #[test]
    fn the_eg800q_has_all_twenty_keys_and_names_its_ciphers_only_by_a_quirk() {
        let answer = bench(Family::Eg800q).ask("AT+QSSLCFG=?");
        assert_eq!(answer.matches("+QSSLCFG: ").count(), 20);
        assert!(answer.contains("\r\n+QSSLCFG: \"ciphersuite\",(0-5),<cs_id>\r\n"));
        assert!(answer.contains("\r\n+QSSLCFG: \"clientkey\",(0-5),<client_key_path>,<key_pwd>\r\n"));
        let quirks = Quirks { cipher_codes_listed: true, ..Quirks::strict() };
        let answer = Bench::online(Config { quirks, ..Config::default() }).ask("AT+QSSLCFG=?");
        assert!(answer.contains(",0XC02A,0XC02F,0XFFFF)\r\n"));
    }

    #[test]
    fn values_are_kept_by_context_and_checked_for_range() {
        let mut bench = bench(Family::Eg800q);
        for (set, asked, answer) in [
            ("\"sslversion\",1,3", "\"sslversion\",1", "\"sslversion\",1,3"),
            ("\"ciphersuite\",5,0Xc02f", "\"ciphersuite\",5", "\"ciphersuite\",5,0XC02F"),
            ("\"cacert\",0,\"RAM:cacert.pem\"", "\"cacert\",0", "\"cacert\",0,\"RAM:cacert.pem\""),
            ("\"cacertex\",3,\"UFS:a\"", "\"cacertex\",3", "\"cacertex\",3,\"UFS:a\""),
            ("\"clientkey\",0,\"UFS:k\",\"pw\"", "\"clientkey\",0", "\"clientkey\",0,\"UFS:k\",\"pw\""),
            ("\"psk\",0,\"me\",\"00ff\"", "\"psk\",0", "\"psk\",0,\"me\",\"00ff\""),
            ("\"ignorecertitem\",0,1048575", "\"ignorecertitem\",0", "\"ignorecertitem\",0,1048575"),
            ("\"alpn\",0,\"\"", "\"alpn\",0", "\"alpn\",0,\"\""),
        ] {
            assert_eq!(bench.ask(&format!("AT+QSSLCFG={set}")), "\r\nOK\r\n", "{set}");
            let expected = format!("\r\n+QSSLCFG: {answer}\r\n\r\nOK\r\n");
            assert_eq!(bench.ask(&format!("AT+QSSLCFG={asked}")), expected);
        }
        for refused in [
            "\"sslversion\",6,3",
            "\"sslversion\",1,5",
            "\"SSLVERSION\",1,3",
            "\"ciphersuite\",1,0XC030",
            "\"ciphersuite\",1,\"0X0035\"",
            "\"negotiatetime\",1,9",
            "\"negotiatetime\",1,301",
            "\"psk\",0,\"me\"",
            "\"seclevel\",1,1,1",
            "\"checkhost\",1,1",
            "sslversion,1,3",
            "\"cacert\",1,ca",
        ] {
            assert_eq!(bench.ask(&format!("AT+QSSLCFG={refused}")), "\r\nERROR\r\n", "{refused}");
        }
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 552,Invalid parameter\r\n\r\nOK\r\n");
    }

    #[test]
    fn the_ec20_lacks_keys_and_answers_one_by_another_name() {
        let mut bench = bench(Family::Ec20);
        assert_eq!(bench.ask("AT+QSSLCFG=\"sni\",1,1"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QSSLCFG=\"clientkey\",1,\"UFS:k\",\"pw\""), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QSSLCFG=\"ciphersuite\",1,0XC02F"), "\r\nERROR\r\n");
        assert_eq!(
            bench.ask("AT+QSSLCFG=\"negotiatetime\",1"),
            "\r\n+QSSLCFG: \"negotiatetimeout\",1,300\r\n\r\nOK\r\n"
        );
        assert_eq!(
            bench.ask("AT+QSSLCFG=\"ciphersuite\",1"),
            "\r\n+QSSLCFG: \"ciphersuite\",1,0X0005\r\n\r\nOK\r\n"
        );
    }

    #[test]
    fn settings_reach_the_connection() {
        let mut bench = bench(Family::Eg800q);
        let defaults = opened_with(&mut bench);
        assert_eq!((defaults.version, defaults.cipher_suites.len()), (4, 31));
        assert_eq!((defaults.security_level, defaults.check_time, defaults.sni), (0, None, false));
        bench.modem.put_file("ca.pem", b"CA");
        bench.modem.put_file("more.pem", b"MORE");
        bench.modem.put_file("key.pem", b"KEY");
        for setting in [
            "\"seclevel\",1,2",
            "\"cacert\",1,\"UFS:ca.pem\"",
            "\"cacertex\",0,\"more.pem\"",
            "\"clientkey\",1,\"key.pem\",\"pw\"",
            "\"sni\",1,1",
            "\"ignorelocaltime\",1,0",
            "\"ciphersuite\",1,0XC02F",
            "\"session_cache\",1,1",
            "\"alpn\",1,\"mqtt\"",
        ] {
            assert_eq!(bench.ask(&format!("AT+QSSLCFG={setting}")), "\r\nOK\r\n");
        }
        bench.modem.set_clock(1_786_082_042, bench.now);
        let set = opened_with(&mut bench);
        assert_eq!(set.authorities, [b"CA".to_vec(), b"MORE".to_vec()]);
        assert_eq!((set.client_key, set.client_key_password), (Some(b"KEY".to_vec()), Some("pw".into())));
        assert_eq!((set.cipher_suites, set.session_cache), (vec![0xC02F], Some(1)));
        assert_eq!((set.sni, set.check_host, set.alpn.as_str()), (true, true, "mqtt"));
        assert_eq!(set.check_time, Some(1_786_082_042));
        bench.ask("AT+QSSLCFG=\"ignorecertitem\",1,4");
        assert!(!opened_with(&mut bench).check_host);
    }

    #[test]
    fn where_the_check_of_the_name_is_a_setting_it_is_off_until_it_is_set() {
        let quirks = Quirks { host_check_set: true, ..Quirks::strict() };
        let mut bench = Bench::online(Config { quirks, ..Config::default() });
        assert!(bench.ask("AT+QSSLCFG=?").contains("+QSSLCFG: \"checkhost\",(0-5),(0,1)\r\n"));
        bench.modem.put_file("ca.pem", b"CA");
        bench.ask("AT+QSSLCFG=\"cacert\",1,\"ca.pem\"");
        bench.ask("AT+QSSLCFG=\"seclevel\",1,1");
        assert!(!opened_with(&mut bench).check_host);
        bench.ask("AT+QSSLCFG=\"checkhost\",1,1");
        bench.ask("AT+QSSLCFG=\"ignorecertchain\",1,1");
        let set = opened_with(&mut bench);
        assert!(set.check_host && set.ignore_chain);
    }

    #[test]
    fn an_ec20_checks_no_host_name() {
        let mut bench = bench(Family::Ec20);
        bench.modem.put_file("ca.pem", b"CA");
        bench.ask("AT+QSSLCFG=\"cacert\",1,\"ca.pem\"");
        bench.ask("AT+QSSLCFG=\"seclevel\",1,1");
        assert!(!opened_with(&mut bench).check_host);
    }

    #[test]
    fn authentication_without_a_certificate_to_check_by_fails() {
        let mut bench = bench(Family::Ec20);
        bench.ask("AT+QSSLCFG=\"seclevel\",1,1");
        let failed = "\r\nOK\r\n\r\n+QSSLOPEN: 0,566\r\n";
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0"), failed);
        bench.ask("AT+QSSLCFG=\"cacert\",1,\"UFS:missing.pem\"");
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0"), failed);
    }

    #[test]
    fn a_released_context_forgets_its_settings_only_by_a_quirk() {
        for forgets in [false, true] {
            let quirks = Quirks { context_forgotten_on_last_close: forgets, ..Quirks::strict() };
            let mut bench = Bench::online(Config { quirks, ..Config::default() });
            bench.ask("AT+QSSLCFG=\"sslversion\",1,3");
            bench.open(0, 0);
            bench.open(1, 0);
            bench.ask("AT+QSSLCLOSE=0");
            let asked = "AT+QSSLCFG=\"sslversion\",1";
            assert_eq!(bench.ask(asked), "\r\n+QSSLCFG: \"sslversion\",1,3\r\n\r\nOK\r\n");
            bench.ask("AT+QSSLCLOSE=1");
            let version = if forgets { 4 } else { 3 };
            assert_eq!(bench.ask(asked), format!("\r\n+QSSLCFG: \"sslversion\",1,{version}\r\n\r\nOK\r\n"));
        }
    }
}
