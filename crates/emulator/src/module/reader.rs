//! Reads a file about a module. Every mistake is one line with file, line and key.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};

use anyhow::anyhow;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::schema::{self, Form, OPEN_TABLES, SCHEMA};
use super::{Fact, Module};
use crate::cli;
use crate::config::{Config, Family};
use crate::quirks::{Quirks, ShortRead};
use crate::ssl_settings::{self, ALL_CIPHERS};

type Result<T> = anyhow::Result<T>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Reads the text of a file and makes `config` that module.
pub(super) fn read(file: &str, text: &str, config: &mut Config) -> Result<Module> {
    let mut reader = Reader { file, text, module: Module::default(), given: Vec::new() };
    let document = DeTable::parse(text).map_err(|error| {
        let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        reader.error(error.span().unwrap_or(0..0), "TOML", message)
    })?;
    reader.head(document.get_ref(), config)?;
    let mut unknown = Vec::new();
    for (name, value) in in_order(document.get_ref()) {
        match name {
            "schema" | "name" | "follows" => {}
            "unknown" => unknown = reader.unknown(value)?,
            table => reader.table(table, value, config)?,
        }
    }
    reader.check(&unknown, config)?;
    Ok(reader.module)
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    module: Module,
    /// The keys that have values, and `keys.NAME.default` for given defaults.
    given: Vec<String>,
}

/// A value with its source.
struct Entry<'t, 'v> {
    value: &'t Value<'v>,
    spread: Option<&'t Value<'v>>,
}

impl Reader<'_> {
    fn error(&self, span: Range<usize>, key: &str, message: impl std::fmt::Display) -> anyhow::Error {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        anyhow!("{}:{line}: {key}: {message}", self.file)
    }

    fn wrong_type(&self, value: &Value<'_>, key: &str, wanted: &str) -> anyhow::Error {
        let found = value.get_ref().type_str();
        self.error(value.span(), key, format!("{wanted} is expected, not a value of type {found}"))
    }

    /// The keys outside of tables.
    fn head(&mut self, document: &DeTable<'_>, config: &mut Config) -> Result<()> {
        let required = |key: &str| {
            document.get(key).ok_or_else(|| self.error(0..0, key, "it is missing, and every file has it"))
        };
        let schema = required("schema")?;
        let version = self.number(schema, "schema", &(0..=u64::MAX))?;
        if version != SCHEMA {
            let message = format!("version {version} is not understood, only {SCHEMA}");
            return Err(self.error(schema.span(), "schema", message));
        }
        let name = self.line(required("name")?, "name")?;
        let follows = required("follows")?;
        config.family = match self.line(follows, "follows")?.as_str() {
            "ec20" => Family::Ec20,
            "eg800q" => Family::Eg800q,
            other => {
                let message = format!("{other:?} is not one of ec20, eg800q");
                return Err(self.error(follows.span(), "follows", message));
            }
        };
        self.module.name = name;
        Ok(())
    }

    /// The keys and tables that nobody knows, each with its place in the file.
    fn unknown(&mut self, value: &Value<'_>) -> Result<Vec<(String, Range<usize>)>> {
        let items = self.array(value, "unknown")?.iter();
        let items: Result<Vec<_>> =
            items.map(|item| Ok((self.line(item, "unknown")?, item.span()))).collect();
        let items = items?;
        self.module.unknown = items.iter().map(|(key, _)| key.clone()).collect();
        Ok(items)
    }

    fn table(&mut self, table: &str, value: &Value<'_>, config: &mut Config) -> Result<()> {
        if !schema::tables().any(|known| known == table) {
            return Err(self.error(value.span(), table, "there is no such key or table"));
        }
        let DeValue::Table(entries) = value.get_ref() else {
            return Err(self.wrong_type(value, table, "a table"));
        };
        for (name, value) in in_order(entries) {
            let key = format!("{table}.{name}");
            let entry = self.entry(&key, value)?;
            if entry.spread.is_some() && table != "latencies" {
                return Err(self.error(value.span(), &key, "only latencies have a spread"));
            }
            match table {
                "answers" => self.answer(&key, name, entry.value, config)?,
                "keys" => self.ssl_key(&key, name, entry.value, config)?,
                "habits" => self.habit(&key, name, entry.value, config)?,
                "codes" => self.code(&key, name, entry.value, config)?,
                _ => self.value(&key, &entry, value.span(), config)?,
            }
        }
        Ok(())
    }

    /// `{ value = …, source = "…" }`
    fn entry<'t, 'v>(&mut self, key: &str, value: &'t Value<'v>) -> Result<Entry<'t, 'v>> {
        let wanted = "{ value = …, source = \"…\" }";
        let DeValue::Table(parts) = value.get_ref() else {
            return Err(self.wrong_type(value, key, wanted));
        };
        if let Some((part, _)) =
            in_order(parts).into_iter().find(|(part, _)| !["value", "source", "spread"].contains(part))
        {
            return Err(self.error(value.span(), key, format!("{part:?} is not a part of {wanted}")));
        }
        let source = parts.get("source").ok_or_else(|| self.error(value.span(), key, "it has no source"))?;
        let text = self.line(source, key)?;
        let is_named = text.split_once(' ').is_some_and(|(kind, which)| {
            ["manual", "capture", "inference"].contains(&kind) && !which.trim().is_empty()
        });
        if !is_named {
            let message =
                format!("the source {text:?} is not \"manual …\", \"capture …\" or \"inference …\"");
            return Err(self.error(source.span(), key, message));
        }
        let given = parts.get("value").ok_or_else(|| self.error(value.span(), key, "it has no value"))?;
        let mut shown = self.text.get(given.span()).unwrap_or_default().to_owned();
        let spread = parts.get("spread");
        if let Some(spread) = spread {
            shown += &format!(" ± {}", self.text.get(spread.span()).unwrap_or_default());
        }
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        self.given.push(key.into());
        self.module.values.push(Fact { key: key.into(), value: shown, source: text });
        Ok(Entry { value: given, spread })
    }

    /// A value of a table whose keys are known.
    fn value(&self, key: &str, entry: &Entry<'_, '_>, at: Range<usize>, config: &mut Config) -> Result<()> {
        let known = schema::KEYS.iter().find(|known| known.name == key);
        let known = known.ok_or_else(|| self.error(at, key, "there is no such key"))?;
        let value = entry.value;
        match &known.form {
            Form::Number(range, set) => set(config, self.number(value, key, range)?),
            Form::Numbers(ranges, set) => {
                let items = self.array(value, key)?;
                if items.len() != ranges.len() {
                    let message = format!("{} numbers are expected, not {}", ranges.len(), items.len());
                    return Err(self.error(value.span(), key, message));
                }
                let numbers = items.iter().zip(*ranges).map(|(item, range)| self.number(item, key, range));
                set(config, &numbers.collect::<Result<Vec<u64>>>()?);
            }
            Form::Line(set) => set(config, self.line(value, key)?),
            Form::Word(set) => {
                let word = self.line(value, key)?;
                if word.contains(' ') {
                    return Err(self.error(value.span(), key, format!("{word:?} has a blank in it")));
                }
                set(config, word);
            }
            Form::Lines(set) => set(config, self.lines(value, key)?),
            Form::Choice(choices, set) => set(config, &self.choice(value, key, choices)?),
            Form::Choices(choices, least, set) => {
                let items = self.array(value, key)?;
                if items.len() < *least {
                    let message = format!("at least {least} of {} is expected", choices.join(", "));
                    return Err(self.error(value.span(), key, message));
                }
                let items = items.iter();
                let texts = items.map(|item| self.choice(item, key, choices));
                set(config, &texts.collect::<Result<Vec<String>>>()?);
            }
            Form::Time(time, spread) => {
                *time(config) = self.time(value, key)?;
                match (entry.spread, spread) {
                    (Some(given), Some(spread)) => {
                        *spread(&mut config.facts.spreads) = self.time(given, key)?;
                    }
                    (Some(given), None) => return Err(self.error(given.span(), key, "it has no spread")),
                    (None, _) => {}
                }
            }
        }
        Ok(())
    }

    /// The lines of `"AT+NAME=?"`.
    fn answer(&self, key: &str, name: &str, value: &Value<'_>, config: &mut Config) -> Result<()> {
        let command = name.strip_prefix("AT+").and_then(|rest| rest.strip_suffix("=?"));
        let command = command.filter(|command| {
            command.len() >= 3
                && command.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        });
        let message = || self.error(value.span(), key, "the key is not of the form \"AT+NAME=?\"");
        let command = command.ok_or_else(message)?;
        config.facts.test_answers.insert(command.into(), self.lines(value, key)?);
        Ok(())
    }

    /// A key of AT+QSSLCFG: numbers of a range, codes of ciphers, texts, or files by number.
    fn ssl_key(&mut self, key: &str, name: &str, value: &Value<'_>, config: &mut Config) -> Result<()> {
        let DeValue::Table(parts) = value.get_ref() else {
            return Err(self.wrong_type(value, key, "a table with range, codes, texts or files"));
        };
        let manual = ssl_settings::keys_of_manual(config.family).iter().find(|known| known.name == name);
        let manual = manual.map(|known| &known.form);
        let mut forms =
            parts.iter().filter(|(part, _)| !["default", "required"].contains(&part.get_ref().as_ref()));
        let (Some((part, given)), None) = (forms.next(), forms.next()) else {
            return Err(self.error(
                value.span(),
                key,
                "exactly one of range, codes, texts or files is expected",
            ));
        };
        let form = match part.get_ref().as_ref() {
            "range" => {
                let bounds = self.array(given, key)?;
                let [first, last] = bounds.iter().collect::<Vec<_>>()[..] else {
                    return Err(self.error(given.span(), key, "a range has two numbers"));
                };
                let all = 0..=u64::from(u32::MAX);
                let (first, last) = (self.number(first, key, &all)?, self.number(last, key, &all)?);
                if first > last {
                    return Err(self.error(
                        given.span(),
                        key,
                        format!("the range {first} to {last} is empty"),
                    ));
                }
                let range = first as u32..=last as u32;
                let default = match (parts.get("default"), manual) {
                    (Some(default), _) => self.number(default, key, &(first..=last))? as u32,
                    (None, Some(ssl_settings::Form::Number { default, .. })) if range.contains(default) => {
                        *default
                    }
                    (None, _) => first as u32,
                };
                ssl_settings::Form::Number { range, default }
            }
            "codes" => {
                let codes = self.array(given, key)?.iter().map(|code| self.cipher(code, key));
                let codes = codes.collect::<Result<Vec<u16>>>()?;
                let is_one = |code: &u16| *code == ALL_CIPHERS || codes.contains(code);
                let default = match (parts.get("default"), manual) {
                    (Some(default), _) => {
                        let code = self.cipher(default, key)?;
                        let message =
                            || self.error(default.span(), key, "the default is not one of the codes");
                        Some(code).filter(is_one).ok_or_else(message)?
                    }
                    (None, Some(ssl_settings::Form::Cipher { default, .. })) if is_one(default) => *default,
                    (None, _) => ALL_CIPHERS,
                };
                ssl_settings::Form::Cipher { codes: codes.into(), default }
            }
            "texts" => {
                let count = self.number(given, key, &(1..=2))?;
                let required = parts.get("required").map(|it| self.number(it, key, &(1..=count)));
                let required = required.transpose()?.unwrap_or(count) as usize;
                let names = match manual {
                    Some(ssl_settings::Form::Texts { names, .. }) if names.len() as u64 == count => {
                        names.clone()
                    }
                    _ => Cow::Borrowed(&["<text>", "<text>"][..count as usize]),
                };
                ssl_settings::Form::Texts { required, names }
            }
            "files" => {
                self.number(given, key, &(6..=6))?;
                ssl_settings::Form::Chain
            }
            other => return Err(self.error(given.span(), key, format!("there is no {other:?} in a key"))),
        };
        if parts.contains_key("default") {
            self.given.push(format!("{key}.default"));
        }
        let keys = config.facts.keys.get_or_insert_default();
        keys.push(ssl_settings::Key { name: Cow::Owned(name.into()), form });
        Ok(())
    }

    /// A quirk: on or off, or one of those with values.
    fn habit(&self, key: &str, name: &str, value: &Value<'_>, config: &mut Config) -> Result<()> {
        let quirks = &mut config.quirks;
        match name {
            "four_digit_year" => return Err(self.error(value.span(), key, "clock.format says this")),
            _ if Quirks::has_number(name) => {
                let number = self.number(value, key, &(1..=u64::from(u32::MAX)))?;
                quirks.set_number(name, number as u32);
            }
            "short_read" => {
                quirks.short_read = match self.choice(value, key, &["keeps-rest", "drops-rest"])?.as_str() {
                    "keeps-rest" => ShortRead::KeepsRest,
                    _ => ShortRead::DropsRest,
                };
            }
            _ => {
                let DeValue::Boolean(on) = value.get_ref() else {
                    return Err(self.wrong_type(value, key, "true or false"));
                };
                if name.contains('-') || !quirks.set(name, *on) {
                    return Err(self.error(value.span(), key, "there is no such habit, see --quirk help"));
                }
            }
        }
        Ok(())
    }

    /// The text of a code.
    fn code(&self, key: &str, name: &str, value: &Value<'_>, config: &mut Config) -> Result<()> {
        let code = name.parse::<u16>().ok().filter(|code| *code < 1_000);
        let code = code.ok_or_else(|| self.error(value.span(), key, "the code is not a number up to 999"))?;
        config.facts.code_texts.insert(code, self.line(value, key)?);
        Ok(())
    }

    /// What concerns several values.
    fn check(&self, unknown: &[(String, Range<usize>)], config: &Config) -> Result<()> {
        for (key, span) in unknown {
            if self.given.contains(key) {
                return Err(self.error(span.clone(), key, "it is unknown, and has a value"));
            }
            if !could_be_known(key) {
                return Err(self.error(span.clone(), key, "there is no such key or table"));
            }
        }
        let at = |key: &str| {
            let (_, name) = key.split_once('.').unwrap_or(("", key));
            let place = self.text.lines().scan(0, |start, line| {
                let begin = *start;
                *start += line.len() + 1;
                Some((begin, line))
            });
            let found = place
                .into_iter()
                .find(|(_, line)| line.split('=').next().is_some_and(|it| it.trim() == name));
            found.map_or(0..0, |(begin, _)| begin..begin)
        };
        let (occupied, all) = (config.storage_occupied_bytes, config.storage_bytes);
        if occupied > all {
            let key = "limits.storage_occupied_bytes";
            return Err(self.error(
                at(key),
                key,
                format!("{occupied} is more than all of the storage, {all}"),
            ));
        }
        let (default, longest) = (config.facts.cmux.defaults.longest, config.facts.cmux.longest);
        if default > longest {
            let message = format!("N1 of the defaults, {default}, is more than the longest, {longest}");
            return Err(self.error(at("cmux.longest"), "cmux.longest", message));
        }
        Ok(())
    }

    fn number(&self, value: &Value<'_>, key: &str, range: &RangeInclusive<u64>) -> Result<u64> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return Err(self.wrong_type(value, key, "a number"));
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            self.error(value.span(), key, format!("{} is not one of {first} to {last}", integer.as_str()))
        })
    }

    /// A text that fits into a line of the modem.
    fn line(&self, value: &Value<'_>, key: &str) -> Result<String> {
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.wrong_type(value, key, "a text"));
        };
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(self.error(value.span(), key, "a text is empty, or has more than one line"));
        }
        Ok(text.to_string())
    }

    fn array<'t, 'v>(&self, value: &'t Value<'v>, key: &str) -> Result<&'t DeArray<'v>> {
        match value.get_ref() {
            DeValue::Array(items) => Ok(items),
            _ => Err(self.wrong_type(value, key, "an array")),
        }
    }

    fn lines(&self, value: &Value<'_>, key: &str) -> Result<Vec<String>> {
        self.array(value, key)?.iter().map(|item| self.line(item, key)).collect()
    }

    fn choice(&self, value: &Value<'_>, key: &str, choices: &[&str]) -> Result<String> {
        let text = self.line(value, key)?;
        if choices.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(self.error(value.span(), key, format!("{text:?} is not one of {}", choices.join(", "))))
    }

    fn time(&self, value: &Value<'_>, key: &str) -> Result<std::time::Duration> {
        let text = self.line(value, key)?;
        cli::duration(&text).map_err(|message| self.error(value.span(), key, format!("{text:?}: {message}")))
    }

    fn cipher(&self, value: &Value<'_>, key: &str) -> Result<u16> {
        let text = self.line(value, key)?;
        let code = text.strip_prefix("0X").and_then(|digits| u16::from_str_radix(digits, 16).ok());
        code.ok_or_else(|| self.error(value.span(), key, format!("{text:?} is not a code like 0X002F")))
    }
}

/// Whether a file could have a value of this key or table.
fn could_be_known(key: &str) -> bool {
    let Some((table, name)) = key.split_once('.') else {
        return schema::tables().any(|table| table == key);
    };
    match table {
        "habits" => {
            let is_switch = Quirks::SWITCHES.iter().any(|(switch, _)| *switch == name);
            is_switch || Quirks::has_number(name) || name == "short_read"
        }
        _ if OPEN_TABLES.contains(&table) => !name.is_empty(),
        _ => schema::KEYS.iter().any(|known| known.name == key),
    }
}

/// Keys and values as they follow each other in the file.
fn in_order<'t, 'v>(table: &'t DeTable<'v>) -> Vec<(&'t str, &'t Value<'v>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.into_iter().map(|(key, value)| (key.get_ref().as_ref(), value)).collect()
}
