//! The keys of AT+QSSLCFG: what they take, as the module lists it, and their defaults, from an unused SSL context.

use super::ranges::groups;
use super::{Survey, is_ok};
use qssl_core::at::answers::{Answer as _, TlsSetting};
use qssl_core::at::{Command, SslContextId};
use qssl_core::modem::Failure;
use qssl_core::settings::{CIPHERS, Cipher};

/// What a key takes.
enum Form {
    /// Numbers from the first to the last.
    Range(u32, u32),
    /// Codes of cipher suites.
    Codes(Vec<u16>),
    /// So many texts, of which so many must be given; `None`: it is not known how many.
    Texts { count: usize, required: Option<usize> },
    /// A path by number.
    Files,
}

impl Survey {
    /// Writes the table `keys`.
    pub(super) fn keys(&mut self) -> Result<(), Failure> {
        self.find_family()?;
        let listed = match self.profile.lists_keys {
            true => self.profile.keys.clone(),
            false => Vec::new(),
        };
        for key in &listed {
            let mut question = "AT+QSSLCFG=?".to_owned();
            let mut form = form(&key.name, &key.values);
            if form.is_none() {
                // A module may give a name instead of a range.
                let manual = self.manual.keys.iter().find(|known| known.name == key.name);
                form = manual.and_then(|known| self::form(&known.name, &known.values));
                question.push_str(" gives no range, and this is the manual's");
            }
            let is_probed = key.name == "ciphersuite" && key.values.starts_with('<');
            if let (true, Some(context)) = (is_probed, self.spare) {
                form = Some(Form::Codes(self.accepted_ciphers(context)?));
                question = format!("AT+QSSLCFG=\"ciphersuite\",{context} with each code of the manuals");
            }
            if let (Some(Form::Texts { count: 2, required }), Some(context)) = (&mut form, self.spare)
                && key.name == "clientkey"
                && required.is_none()
            {
                *required = self.key_without_password(context)?.then_some(1);
            }
            let Some(form) = form else { continue };
            let default = self.default_of(&key.name, &form)?;
            let parts = match &form {
                Form::Range(first, last) => format!("range = [{first}, {last}]"),
                Form::Codes(codes) => {
                    let codes: Vec<String> = codes.iter().map(|code| format!("\"0X{code:04X}\"")).collect();
                    format!("codes = [{}]", codes.join(", "))
                }
                Form::Texts { count, required: Some(required) } if required < count => {
                    format!("texts = {count}, required = {required}")
                }
                Form::Texts { count, .. } => format!("texts = {count}"),
                Form::Files => "files = 6".to_owned(),
            };
            let value = match (default, &form) {
                (Some((default, context)), _) => {
                    // Nothing shows whether another program has set it before.
                    question
                        .push_str(&format!("; default: what SSL context {context} had, if it was never set"));
                    format!("{{ {parts}, default = {default} }}")
                }
                (None, Form::Range(..) | Form::Codes(_)) => {
                    self.module.default_is_unknown(&key.name);
                    format!("{{ {parts} }}")
                }
                (None, _) => format!("{{ {parts} }}"),
            };
            self.module.add("keys", &key.name, value, &question);
        }
        self.compare_keys();
        Ok(())
    }

    /// Whose manual holds for the rest: an EC20 answers "negotiatetime" with "negotiatetimeout".
    fn find_family(&mut self) -> Result<(), Failure> {
        let context = self.spare.map_or(0, SslContextId::index);
        let answer = self.say(format!("AT+QSSLCFG=\"negotiatetime\",{context}"))?;
        let name = TlsSetting::first(&answer.lines).map(|setting| setting.key);
        let is_ec20 = match name {
            Some("negotiatetimeout") => true,
            Some("negotiatetime") => false,
            _ => self.manual.pdp_contexts.contains(16),
        };
        self.module.follows = if is_ec20 { "ec20" } else { "eg800q" };
        Ok(())
    }

    /// The default, as TOML, and the SSL context that has shown it.
    fn default_of(&mut self, key: &str, form: &Form) -> Result<Option<(String, SslContextId)>, Failure> {
        let Some(context) = self.spare else { return Ok(None) };
        if !matches!(form, Form::Range(..) | Form::Codes(_)) {
            return Ok(None);
        }
        let question = format!("AT+QSSLCFG=\"{key}\",{context}");
        let Some(value) = self.setting(key, context)? else { return Ok(None) };
        let number = value.trim().trim_matches('"');
        if let Form::Codes(codes) = form {
            let code = number.get(2..).and_then(|digits| u16::from_str_radix(digits, 16).ok());
            let code = code.filter(|code| *code == Cipher::ANY.0 || codes.contains(code));
            return Ok(code.map(|code| (format!("\"0X{code:04X}\""), context)));
        }
        if !self.module.has("habits", "setting_values_quoted") {
            self.habit("setting_values_quoted", value.trim_start().starts_with('"'), &question);
        }
        let Form::Range(first, last) = form else { return Ok(None) };
        let number = number.parse::<u32>().ok().filter(|number| (first..=last).contains(&number));
        Ok(number.map(|number| (number.to_string(), context)))
    }

    /// The codes of cipher suites that the module accepts. The one that was set is put back.
    fn accepted_ciphers(&mut self, context: SslContextId) -> Result<Vec<u16>, Failure> {
        let Some(before) = self.setting("ciphersuite", context)? else { return Ok(Vec::new()) };
        let set = |code: &str| Self::setting_command("ciphersuite", context, code);
        self.undo.push(set(&before).into());
        let mut accepted = Vec::new();
        for (code, _) in CIPHERS {
            let answer = self.insist(set(&format!("0X{code:04X}")))?;
            if is_ok(&answer) && *code != Cipher::ANY.0 {
                accepted.push(*code);
            }
        }
        self.put_back();
        Ok(accepted)
    }

    /// Whether "clientkey" takes a file without a password. Only an SSL context without a key is tried: it has none
    /// afterwards.
    fn key_without_password(&mut self, context: SslContextId) -> Result<bool, Failure> {
        let question = Command::secret_line(format!("AT+QSSLCFG=\"clientkey\",{context}"));
        let answer = self.insist(question)?;
        let value = TlsSetting::first(&answer.lines).and_then(|setting| setting.value);
        if !matches!(value, Some("\"\"" | "\"\",\"\"")) {
            return Ok(false);
        }
        Ok(is_ok(&self.say(format!("AT+QSSLCFG=\"clientkey\",{context},\"\""))?))
    }

    /// Keys that only the module or only its family's manual has, and cipher suites likewise.
    fn compare_keys(&mut self) {
        if !self.profile.lists_keys {
            self.comparison.add(
                "AT+QSSLCFG=?",
                "lists the keys",
                "takes the manual's",
                "no key is listed",
                true,
            );
            return;
        }
        let (mut extra, mut missing) = (Vec::new(), Vec::new());
        for key in &self.profile.keys {
            if !self.manual.has_key(&key.name) {
                extra.push(key.name.as_str());
            }
        }
        for key in &self.manual.keys {
            if !self.profile.has_key(&key.name) {
                missing.push(key.name.as_str());
            }
        }
        let asks = "asks AT+QSSLCFG=?";
        if !extra.is_empty() {
            self.comparison.add("TLS settings", "has none of these", asks, extra.join(" "), true);
        }
        if !missing.is_empty() {
            let needed = ["sslversion", "ciphersuite", "seclevel", "cacert"];
            let copes = !missing.iter().any(|key| needed.contains(key));
            self.comparison.add(
                "TLS settings",
                "has these",
                asks,
                format!("without {}", missing.join(" ")),
                copes,
            );
        }
    }
}

/// What a key takes, as the module lists it: `(0-4)`, `(0X0035,0XC02F)`, `<path>,<password>`.
fn form(name: &str, values: &str) -> Option<Form> {
    let values = values.trim();
    if name == "cacertex" {
        return Some(Form::Files);
    }
    if values.to_ascii_uppercase().contains("0X") {
        return codes(values).map(Form::Codes);
    }
    if let [group] = groups(values).as_slice() {
        return Some(Form::Range(group.least(), group.greatest()));
    }
    let is_text = ["cacert", "clientcert", "clientkey", "psk", "alpn"].contains(&name);
    let count = values.matches('<').count();
    (is_text && (1..=2).contains(&count)).then(|| {
        let required = values.split_once('[').map(|(before, _)| before.matches('<').count().max(1));
        Form::Texts { count, required }
    })
}

/// Codes one by one or as ranges, without the one that stands for all.
fn codes(values: &str) -> Option<Vec<u16>> {
    let mut codes = Vec::new();
    for part in values.trim_matches(['(', ')']).split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let code = |text: &str| {
            let digits = text.trim().get(2..)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        codes.extend((code(first)?..=code(last)?).filter(|code| *code != Cipher::ANY.0));
    }
    Some(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_form_of_its_list() {
        assert!(matches!(form("sslversion", "(0-4)"), Some(Form::Range(0, 4))));
        assert!(matches!(form("sni", "(0,1)"), Some(Form::Range(0, 1))));
        assert!(matches!(form("cacertex", "<path>"), Some(Form::Files)));
        assert!(form("sslversion", "<SSL_version>").is_none());
        assert!(matches!(form("cacert", "<path>"), Some(Form::Texts { count: 1, required: None })));
        assert!(matches!(
            form("clientkey", "<path>[,<password>]"),
            Some(Form::Texts { count: 2, required: Some(1) })
        ));
        let Some(Form::Codes(codes)) = form("ciphersuite", "(0X0035,0X002F, 0XC007-0XC009,0XFFFF)") else {
            panic!("codes")
        };
        assert_eq!(codes, [0x35, 0x2F, 0xC007, 0xC008, 0xC009]);
    }
}
