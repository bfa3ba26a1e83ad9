//! The module file that a survey writes: the schema is in crates/emulator/modules/README.md.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a survey has measured, in the order of the file.
#[derive(Debug, Default)]
pub struct ModuleFile {
    /// The model.
    pub name: String,
    /// Whose manual holds for what the file does not say: `ec20` or `eg800q`.
    pub follows: &'static str,
    /// Lines above everything else, each a sentence.
    pub remarks: Vec<String>,
    values: Vec<Value>,
    /// Keys of AT+QSSLCFG whose default was not measured.
    unknown_defaults: Vec<String>,
}

#[derive(Debug)]
struct Value {
    table: &'static str,
    key: String,
    /// As TOML.
    value: String,
    /// As TOML, for a latency.
    spread: Option<String>,
    /// What was asked.
    question: String,
}

impl ModuleFile {
    /// Adds a value, as TOML, which the answer to `question` has shown. The first one of a key counts.
    pub fn add(&mut self, table: &'static str, key: &str, value: impl Into<String>, question: &str) {
        if self.has(table, key) {
            return;
        }
        let (key, value, question) = (key.to_owned(), value.into(), question.to_owned());
        self.values.push(Value { table, key, value, spread: None, question });
    }

    /// Adds a value that was measured, in place of one that the module lists.
    pub fn correct(&mut self, table: &'static str, key: &str, value: impl Into<String>, question: &str) {
        self.values.retain(|value| (value.table, value.key.as_str()) != (table, key));
        self.add(table, key, value, question);
    }

    /// Adds a latency.
    pub fn add_latency(&mut self, key: &str, median: &str, spread: &str, question: &str) {
        self.add("latencies", key, text(median), question);
        if let Some(last) = self.values.last_mut() {
            last.spread = Some(text(spread));
        }
    }

    /// The default of this key of AT+QSSLCFG is not known.
    pub fn default_is_unknown(&mut self, key: &str) {
        self.unknown_defaults.push(format!("keys.{key}.default"));
    }

    /// Whether there is a value.
    pub fn has(&self, table: &str, key: &str) -> bool {
        self.values.iter().any(|value| value.table == table && value.key == key)
    }

    /// Whether there is a value and it is `true`.
    pub fn is_true(&self, table: &str, key: &str) -> bool {
        self.value(table, key) == Some("true")
    }

    /// The value, if it is a number.
    pub fn number(&self, table: &str, key: &str) -> Option<usize> {
        self.value(table, key)?.parse().ok()
    }

    /// Whether there is a list with this text in it.
    pub fn lists(&self, table: &str, key: &str, item: &str) -> bool {
        self.value(table, key).is_some_and(|value| value.contains(&text(item)))
    }

    fn value(&self, table: &str, key: &str) -> Option<&str> {
        let value = self.values.iter().find(|value| value.table == table && value.key == key)?;
        Some(&value.value)
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The file.
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        for remark in &self.remarks {
            put(&mut toml, format_args!("# {remark}\n"));
        }
        let (name, follows) = (text(&self.name), self.follows);
        put(&mut toml, format_args!("schema = 1\nname = {name}\nfollows = \"{follows}\"\nunknown = [\n"));
        for key in self.unknown() {
            put(&mut toml, format_args!("    {},\n", text(&key)));
        }
        toml.push_str("]\n");
        for table in TABLES {
            let values: Vec<&Value> = self.values.iter().filter(|value| value.table == table).collect();
            if values.is_empty() {
                continue;
            }
            put(&mut toml, format_args!("\n[{table}]\n"));
            for Value { key, value, spread, question, .. } in values {
                let spread = spread.as_ref().map(|spread| format!(", spread = {spread}")).unwrap_or_default();
                let source = text(&format!("{SOURCE} {question}"));
                put(
                    &mut toml,
                    format_args!("{} = {{ value = {value}{spread}, source = {source} }}\n", key_text(key)),
                );
            }
        }
        toml
    }

    /// The keys and tables of the schema that have no value here.
    fn unknown(&self) -> Vec<String> {
        let is_unknown = |name: &&str| name.split_once('.').is_none_or(|(table, key)| !self.has(table, key));
        let mut unknown: Vec<String> = KEYS.iter().copied().filter(is_unknown).map(str::to_owned).collect();
        if !self.values.iter().any(|value| value.table == "keys") {
            unknown.push("keys".to_owned());
        }
        unknown.extend(self.unknown_defaults.iter().cloned());
        unknown
    }
}

/// Writing to a string cannot fail.
fn put(to: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = to.write_fmt(what);
}

/// A text in TOML. What has quotes in it is easier to read in a literal string.
pub fn text(text: &str) -> String {
    if text.contains('"') && !text.contains('\'') && !text.contains(char::is_control) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => put(&mut quoted, format_args!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Lines of the modem in TOML, each without what is personal. The schema has no empty lines.
pub fn lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.trim_end())
        .filter(|line| !line.is_empty() && !line.contains(char::is_control))
        .map(|line| text(&masked(line)))
        .collect();
    match lines.as_slice() {
        [] | [_] => format!("[{}]", lines.join(", ")),
        _ => format!("[\n    {},\n]", lines.join(",\n    ")),
    }
}

fn key_text(key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { key.to_owned() } else { text(key) }
}

/// The text without numbers of modules and SIM cards (IMEI, IMSI, ICCID), numbers of telephones and addresses: their
/// digits become `x`.
pub fn masked(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+.:_".contains(c);
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if is_address(word) {
            masked.extend(word.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }));
        } else {
            // An address may have a label before it, and a port after it.
            for part in word.split_inclusive(':') {
                match part.trim_end_matches(['.', ':']).parse::<Ipv4Addr>() {
                    Ok(_) => masked.extend(part.chars().map(|c| if c.is_ascii_digit() { 'x' } else { c })),
                    Err(_) => mask_numbers(part, &mut masked),
                }
            }
        }
        let mut others = after.chars();
        masked.extend(others.next());
        rest = others.as_str();
    }
    masked
}

fn is_address(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':']);
    word.parse::<Ipv4Addr>().is_ok() || word.parse::<Ipv6Addr>().is_ok() || is_dotted_sixteen(word)
}

/// An IPv6 address as 3GPP writes it: sixteen numbers with dots.
fn is_dotted_sixteen(word: &str) -> bool {
    let numbers = word.split('.');
    numbers.clone().count() == 16 && numbers.clone().all(|number| number.parse::<u8>().is_ok())
}

/// Masks runs of digits that are as long as personal numbers. Ranges of settings have fewer.
fn mask_numbers(word: &str, to: &mut String) {
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let is_telephone = to.ends_with('+') && digits >= TELEPHONE_DIGITS;
        match digits >= PERSONAL_DIGITS || is_telephone {
            true => to.extend(std::iter::repeat_n('x', digits)),
            false => to.push_str(&rest[..digits]),
        }
        let other = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        to.push_str(&rest[digits..digits + other]);
        rest = &rest[digits + other..];
    }
}

/// The shortest number that is masked wherever it stands: those of settings have 10 digits at most.
const PERSONAL_DIGITS: usize = 11;
/// The shortest number that is masked after a `+`.
const TELEPHONE_DIGITS: usize = 7;

/// How every source begins.
const SOURCE: &str = "capture by qssl-tunnel survey:";

/// The tables in the order of the file.
const TABLES: [&str; 10] =
    ["identity", "usb", "limits", "answers", "keys", "latencies", "cmux", "clock", "habits", "codes"];

/// The keys of the schema, and the tables in which there is always more to know.
const KEYS: &[&str] = &[
    "identity.manufacturer",
    "identity.model",
    "identity.revision",
    "identity.lines",
    "usb.vendor",
    "usb.product",
    "usb.interfaces",
    "limits.sockets",
    "limits.ssl_contexts",
    "limits.pdp_contexts",
    "limits.send_bytes",
    "limits.read_bytes",
    "limits.push_bytes",
    "limits.send_buffer_bytes",
    "limits.receive_buffer_bytes",
    "limits.storage_bytes",
    "limits.storage_occupied_bytes",
    "limits.ram_storage_bytes",
    "limits.command_line_bytes",
    "limits.modes",
    "answers",
    "latencies.command",
    "latencies.prompt",
    "latencies.send",
    "latencies.send_byte",
    "latencies.receive",
    "latencies.open",
    "latencies.close",
    "latencies.activation",
    "latencies.boot",
    "latencies.escape",
    "cmux.answer",
    "cmux.defaults",
    "cmux.longest",
    "clock.format",
    "clock.unset",
    "habits",
    "codes",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_personal_is_masked_and_what_is_a_range_stays() {
        for (line, expected) in [
            ("IMEI: 867698041234567", "IMEI: xxxxxxxxxxxxxxx"),
            ("+QCCID: 8949020000012345678F", "+QCCID: xxxxxxxxxxxxxxxxxxxF"),
            ("+CNUM: ,\"+49151234567\",145", "+CNUM: ,\"+xxxxxxxxxxx\",145"),
            ("+QIACT: 1,1,1,\"10.64.3.7\"", "+QIACT: 1,1,1,\"xx.xx.x.x\""),
            ("address 2001:db8::17", "address xxxx:xxx::xx"),
            (
                "+CGPADDR: 1,\"32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1\"",
                "+CGPADDR: 1,\"xx.x.xx.xxx.x.x.x.x.x.x.x.x.x.x.x.x\"",
            ),
            ("+QSSLSEND: (0-11)[,(1-1460)]", "+QSSLSEND: (0-11)[,(1-1460)]"),
            ("(0-4294967295)", "(0-4294967295)"),
            ("Revision: EG25GGBR07A08M2G_01.003.01.003", "Revision: EG25GGBR07A08M2G_01.003.01.003"),
            ("+QURCCFG: \"urcport\",(\"usbat\",\"uart1\")", "+QURCCFG: \"urcport\",(\"usbat\",\"uart1\")"),
            ("é 867698041234567", "é xxxxxxxxxxxxxxx"),
        ] {
            assert_eq!(masked(line), expected);
        }
    }

    #[test]
    fn a_text_in_toml_is_the_same_text() {
        for line in ["plain", "with \"quotes\"", "with 'both' \"kinds\"", "back\\slash", "\"a\\b\""] {
            let toml = format!("key = {}", text(line));
            let table = toml::de::DeTable::parse(&toml).expect("it is TOML").into_inner();
            let value = table.get("key").map(|value| value.get_ref());
            assert!(matches!(value, Some(toml::de::DeValue::String(read)) if read == line), "{toml}");
        }
    }

    #[test]
    fn what_has_no_value_is_unknown() {
        let mut file = ModuleFile { name: "X".into(), follows: "ec20", ..ModuleFile::default() };
        file.add("limits", "sockets", "12", "AT+QSSLOPEN=?");
        file.add_latency("command", "5ms", "1ms", "AT");
        file.default_is_unknown("sni");
        let toml = file.to_toml();
        let (head, tables) = toml.split_once("]\n").expect("the list of what is unknown has an end");
        assert!(head.contains("\"limits.ssl_contexts\"") && head.contains("\"keys.sni.default\""), "{toml}");
        assert!(!head.contains("limits.sockets") && !head.contains("latencies.command"), "{toml}");
        for line in [
            "sockets = { value = 12, source = \"capture by qssl-tunnel survey: AT+QSSLOPEN=?\" }",
            "command = { value = \"5ms\", spread = \"1ms\", source = \"capture by qssl-tunnel survey: AT\" }",
        ] {
            assert!(tables.lines().any(|it| it == line), "{toml}");
        }
    }
}
