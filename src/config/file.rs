//! The configuration file: reads TOML into the options that the command line has.
//!
//! Keys, their types and their checks are taken from the clap definition: a key is an option's long name,
//! and its value goes to that option's own parser. Every error names file, line and column.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::choice::choice;
use super::{ConfigError, GrammarError, Listen, Policy, Server, nearest};
use crate::cli::{
    ClientOptions, DynamicOptions, LoggingOptions, ModemOptions, ProcessOptions, StreamOptions, TlsOptions,
};
use qssl_core::at::{IdSet, PdpContextId};

/// The content of a file, section by section, before the rules between options are applied.
#[derive(Debug)]
pub struct FileOptions {
    /// `[modem]`, or each `[[modem]]` in order; at least one.
    pub modems: Vec<Section<ModemSection>>,
    /// `[tls.NAME]`, by name.
    pub tls: BTreeMap<String, Section<TlsOptions>>,
    /// `[[tunnel]]`, in order; at least one.
    pub tunnels: Vec<Section<TunnelSection>>,
    /// `[process]`
    pub process: Section<ProcessSection>,
}

/// A section, and where its keys are.
#[derive(Debug)]
pub struct Section<A> {
    /// Its options.
    pub options: A,
    /// `FILE:LINE:COLUMN` of its header.
    pub location: String,
    /// Whether the command line takes precedence over it.
    pub allows_overrides: bool,
    key_locations: BTreeMap<String, String>,
}

/// The keys of `[modem]`.
#[derive(Args, Clone, Debug)]
pub struct ModemSection {
    /// What is no option of a command.
    #[command(flatten)]
    pub head: ModemHead,
    /// The options of commands.
    #[command(flatten)]
    pub modem: ModemOptions,
}

/// The keys of `[modem]` that are no options of a command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Modem options")]
pub struct ModemHead {
    /// Name in logs, status and modems; required where there are several [default: modem]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
}

/// The keys of `[[tunnel]]`.
#[derive(Args, Clone, Debug)]
pub struct TunnelSection {
    /// What is a positional argument or an argument of its own on the command line.
    #[command(flatten)]
    pub head: TunnelHead,
    /// Whether clients choose their targets.
    #[command(flatten)]
    pub dynamic: DynamicOptions,
    /// How a connection is carried and ended.
    #[command(flatten)]
    pub stream: StreamOptions,
    /// Who is served, and for how long.
    #[command(flatten)]
    pub clients: ClientOptions,
    /// TLS settings, unless `tls` names a section.
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// The keys of `[[tunnel]]` that are no options of `listen`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tunnel")]
pub struct TunnelHead {
    /// Name in logs and status [default: the first listening address]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Where clients connect: PORT (loopback), ADDRESS:PORT, udp:PORT, unix:/PATH or systemd:NAME; required
    #[arg(long, value_name = "LISTEN")]
    pub listen: Vec<Listen>,
    /// Server that the modem connects to: HOST:PORT with TLS, tcp://HOST:PORT without, and for datagrams
    /// dtls://HOST:PORT or udp://HOST:PORT; required unless dynamic is given
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Option<Server>,
    /// Modems that may serve it, by the names of their modem sections [default: all]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub modems: Vec<String>,
    /// Which of several modems a new client goes to [default: failover]
    ///
    /// A modem that can open a connection at once always comes before one that cannot: because all its connections are in
    /// use, it is not ready, it does not answer, or its port is gone.
    #[arg(long, value_name = "POLICY", value_parser = choice::<Policy>())]
    pub policy: Option<Policy>,
    /// Use the TLS settings of [tls.NAME]; else they may be given in the tunnel itself
    #[arg(long, value_name = "NAME")]
    pub tls: Option<String>,
}

/// The keys of `[process]`.
#[derive(Args, Clone, Debug)]
pub struct ProcessSection {
    /// The process as a whole.
    #[command(flatten)]
    pub process: ProcessOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

impl<A> Section<A> {
    /// `FILE:LINE:COLUMN` of a key, if it is in the section.
    pub fn location_of(&self, key: &str) -> Option<&str> {
        self.key_locations.get(key).map(String::as_str)
    }
}

/// Reads `text`, the content of the file called `name`.
///
/// # Errors
/// The first mistake, with its position: invalid TOML, an unknown key (with the nearest known one), a value of
/// the wrong type, or a value that its option refuses.
pub fn parse(name: &str, text: &str) -> Result<FileOptions, ConfigError> {
    let reader = Reader { name, text };
    let document = DeTable::parse(text).map_err(|error| {
        let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        reader.error(error.span().unwrap_or(0..0), message)
    })?;
    let mut options = FileOptions {
        modems: vec![reader.section(&DeTable::new(), 0..0, "[modem]")?],
        tls: BTreeMap::new(),
        tunnels: Vec::new(),
        process: reader.section(&DeTable::new(), 0..0, "[process]")?,
    };
    for (key, value) in in_order(document.get_ref()) {
        match key.get_ref().as_ref() {
            "modem" => options.modems = reader.modems(key, value)?,
            "process" => {
                options.process = reader.section(reader.table(key, value)?, key.span(), "[process]")?
            }
            "tls" => options.tls = reader.profiles(reader.table(key, value)?)?,
            "tunnel" => options.tunnels = reader.tunnels(key.span(), value.get_ref())?,
            unknown => return Err(reader.unknown_key(unknown, key.span(), None)),
        }
    }
    if let [modem] = &mut options.modems[..] {
        modem.allows_overrides = true;
    }
    options.process.allows_overrides = true;
    match options.tunnels.is_empty() {
        true => Err(ConfigError(format!("{name}: there is no [[tunnel]] in it"))),
        false => Ok(options),
    }
}

/// Header and arguments of each section, for the manual page.
pub fn sections() -> Vec<(&'static str, Command)> {
    SECTIONS.iter().map(|(head, command)| (*head, command())).collect()
}

/// Describes the TOML value that a key takes, for the manual page.
pub fn value_in_words(option: &Arg) -> &'static str {
    match option.get_action() {
        ArgAction::SetTrue => SWITCH,
        ArgAction::Count => COUNT,
        action => Kind::of(option).wanted(action),
    }
}

/// The keys of `[tls.NAME]`.
pub(super) fn tls_keys() -> Vec<String> {
    keys(&command::<TlsOptions>())
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn profiles(&self, table: &DeTable<'_>) -> Result<BTreeMap<String, Section<TlsOptions>>, ConfigError> {
        let mut profiles = BTreeMap::new();
        for (key, value) in in_order(table) {
            let profile = key.get_ref().to_string();
            let DeValue::Table(table) = value.get_ref() else {
                return Err(self.error(
                    key.span(),
                    format!("`{profile}` is directly in [tls]: give the section a name, [tls.NAME]"),
                ));
            };
            let section = self.section(table, key.span(), &format!("[tls.{profile}]"))?;
            profiles.insert(profile, section);
        }
        Ok(profiles)
    }

    /// `[modem]` alone, or each `[[modem]]`.
    fn modems(
        &self,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<Section<ModemSection>>, ConfigError> {
        match value.get_ref() {
            DeValue::Array(modems) if !modems.is_empty() => self.sections(modems, "modem"),
            _ => Ok(vec![self.section(self.table(key, value)?, key.span(), "[modem]")?]),
        }
    }

    fn tunnels(
        &self,
        span: Range<usize>,
        value: &DeValue<'_>,
    ) -> Result<Vec<Section<TunnelSection>>, ConfigError> {
        match value {
            DeValue::Array(tunnels) => self.sections(tunnels, "tunnel"),
            _ => Err(self.one_bracket(span, "tunnel")),
        }
    }

    /// Each `[[NAME]]`.
    fn sections<A: Args>(
        &self,
        array: &[Spanned<DeValue<'_>>],
        name: &str,
    ) -> Result<Vec<Section<A>>, ConfigError> {
        let section = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
            DeValue::Table(table) => self.section(table, value.span(), &format!("[[{name}]]")),
            _ => Err(self.one_bracket(value.span(), name)),
        };
        array.iter().map(section).collect()
    }

    fn one_bracket(&self, span: Range<usize>, name: &str) -> ConfigError {
        self.error(span, format!("a {name}'s section is written [[{name}]], with two brackets"))
    }

    fn table<'t, 'v>(
        &self,
        key: &Key<'_>,
        value: &'t Spanned<DeValue<'v>>,
    ) -> Result<&'t DeTable<'v>, ConfigError> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.error(key.span(), format!("`{0}` is a section: [{0}]", key.get_ref()))),
        }
    }

    /// Reads the options of a section, up to the first key that is none or has a value of a wrong type. A value that its
    /// option refuses comes before that one.
    fn section<A: Args>(
        &self,
        table: &DeTable<'_>,
        span: Range<usize>,
        head: &str,
    ) -> Result<Section<A>, ConfigError> {
        let command = command::<A>();
        let mut key_locations = BTreeMap::new();
        let (mut all, mut mistake) = (Vec::new(), None);
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            let words = match find(&command, name) {
                Some(option) => self.words(option, name, value),
                None => Err(self.unknown_key(name, key.span(), Some((head, &keys(&command))))),
            };
            match words {
                Ok(words) => all.extend(words.into_iter().map(|(word, span)| (name, word, span))),
                Err(error) => {
                    mistake = Some(error);
                    break;
                }
            }
            key_locations.insert(name.to_owned(), self.location(key.span().start));
        }
        let location = self.location(span.start);
        let words = all.iter().map(|(_, word, _)| word).filter(|word| !word.is_empty());
        let options = command.try_get_matches_from(words).and_then(|matches| A::from_arg_matches(&matches));
        match (options, mistake) {
            (Ok(options), None) => Ok(Section { options, location, allows_overrides: false, key_locations }),
            (Ok(_), Some(mistake)) => Err(mistake),
            (Err(error), mistake) => Err(self
                .refused::<A>(&all)
                .or(mistake)
                .unwrap_or_else(|| ConfigError(format!("{location}: {}", crate::cli::one_line(&error))))),
        }
    }

    /// The first of these words, each with its key and position, that its option refuses. clap does not report the
    /// position.
    fn refused<A: Args>(&self, all: &[(&str, String, Range<usize>)]) -> Option<ConfigError> {
        let command = command::<A>();
        all.iter().filter(|(name, word, _)| word.starts_with(&format!("--{name}"))).find_map(
            |(name, word, span)| {
                let alone = Command::new("option").no_binary_name(true).arg(find(&command, name)?.clone());
                let error = alone.try_get_matches_from([word]).err()?;
                Some(self.error(span.clone(), reason(name, word, &error)))
            },
        )
    }

    /// The value as words for clap, each with its position.
    fn words(
        &self,
        option: &Arg,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<(String, Range<usize>)>, ConfigError> {
        let wrong = |value: &Spanned<DeValue<'_>>, wanted: &str| {
            let hint = match (value.get_ref(), wanted) {
                (DeValue::Float(_) | DeValue::Integer(_), "a string") => ": write it in quotes",
                _ => "",
            };
            let found = value.get_ref().type_str();
            self.error(
                value.span(),
                format!("{name}: {wanted} is expected, not a value of type {found}{hint}"),
            )
        };
        match option.get_action() {
            ArgAction::SetTrue => match value.get_ref() {
                DeValue::Boolean(on) => Ok(vec![(switch(name, *on), value.span())]),
                _ => Err(wrong(value, SWITCH)),
            },
            ArgAction::Count => match integer(value.get_ref()) {
                Some(count @ 0..=2) => Ok((0..count).map(|_| (format!("--{name}"), value.span())).collect()),
                _ => Err(wrong(value, COUNT)),
            },
            action => {
                let kind = Kind::of(option);
                let items = match value.get_ref() {
                    DeValue::Array(items) if matches!(action, ArgAction::Append) => items.iter().collect(),
                    _ => vec![value],
                };
                let word = |item: &Spanned<DeValue<'_>>| {
                    let text = match item.get_ref() {
                        DeValue::String(text) if kind != Kind::Number => Some(text.to_string()),
                        DeValue::Integer(_) if kind != Kind::Text => {
                            let number = integer(item.get_ref());
                            let range =
                                || self.error(item.span(), format!("{name}: the number is out of range"));
                            Some(number.ok_or_else(range)?.to_string())
                        }
                        _ => None,
                    };
                    let text = text.ok_or_else(|| wrong(item, kind.wanted(action)))?;
                    Ok((format!("--{name}={text}"), item.span()))
                };
                items.into_iter().map(word).collect()
            }
        }
    }

    fn unknown_key(&self, key: &str, span: Range<usize>, section: Option<(&str, &[String])>) -> ConfigError {
        let (container, known) = match section {
            Some((head, keys)) => (format!(" in {head}"), keys.iter().map(String::as_str).collect()),
            None => (String::new(), vec!["modem", "process", "tls", "tunnel"]),
        };
        let home = SECTIONS.iter().find(|(_, command)| find(&command(), key).is_some());
        let hint = match (nearest(key, known.iter().copied()), home) {
            (Some(near), _) if key != near => format!("did you mean `{near}`?"),
            (_, Some((home, _))) => format!("it belongs in {home}"),
            // More would be a line that nobody reads.
            _ if known.len() > 12 => "see qssl-tunnel.toml(5)".to_owned(),
            _ => format!("one of {}", known.join(", ")),
        };
        self.error(span, format!("unknown key `{key}`{container}: {hint}"))
    }

    fn error(&self, span: Range<usize>, message: String) -> ConfigError {
        ConfigError(format!("{}: {message}", self.location(span.start)))
    }

    /// `FILE:LINE:COLUMN`, both counted from 1, columns in characters.
    fn location(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.name)
    }
}

type Key<'a> = Spanned<Cow<'a, str>>;

/// The entries in the order of the file, so that the first mistake in the file is reported.
fn in_order<'t, 'v>(table: &'t DeTable<'v>) -> Vec<(&'t Key<'v>, &'t Spanned<DeValue<'v>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    qssl_core::sort_few(&mut entries, |(one, _), (other, _)| one.span().start < other.span().start);
    entries
}

/// What TOML types an option's value may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Either,
}

impl Kind {
    fn of(option: &Arg) -> Kind {
        let parsed = option.get_value_parser().type_id();
        let is = |types: &[TypeId]| types.iter().any(|known| parsed == *known);
        if is(&[TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<PdpContextId>()]) {
            Kind::Number
        } else if is(&[TypeId::of::<Duration>(), TypeId::of::<Listen>(), TypeId::of::<IdSet>()]) {
            Kind::Either
        } else {
            Kind::Text
        }
    }

    fn wanted(self, action: &ArgAction) -> &'static str {
        match (self, matches!(action, ArgAction::Append)) {
            (Kind::Number, _) => "a whole number",
            (Kind::Text, false) => "a string",
            (Kind::Text, true) => "a string or an array of strings",
            (Kind::Either, false) => "a number or a string",
            (Kind::Either, true) => "a number, a string, or an array of these",
        }
    }
}

/// A switch as a word for clap. A switch that is off becomes its opposite if it has one, or else an empty word.
fn switch(name: &str, on: bool) -> String {
    match (on, name.strip_prefix("no-"), name) {
        (true, _, _) => format!("--{name}"),
        (false, Some(opposite @ ("sni" | "check-time")), _) => format!("--{opposite}"),
        (false, _, "sni" | "check-time") => format!("--no-{name}"),
        (false, _, _) => String::new(),
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Why clap refuses a value, in the style of our messages.
fn reason(name: &str, words: &str, error: &clap::Error) -> String {
    let value = words.strip_prefix(&format!("--{name}=")).unwrap_or_default();
    if error.kind() == ErrorKind::InvalidValue
        && let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue)
    {
        return format!("{name}: `{value}` is not one of {}", valid.join(", "));
    }
    match error.source() {
        Some(source) => format!("{name}: `{value}`: {source}"),
        None => format!("{name}: `{value}` is not a value of this option"),
    }
}

/// A command with the options of `A` that does not read the environment.
fn command<A: Args>() -> Command {
    let command =
        Command::new("section").no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
    A::augment_args(command).mut_args(|option| option.env(Resettable::Reset))
}

fn find<'c>(command: &'c Command, key: &str) -> Option<&'c Arg> {
    command.get_arguments().find(|option| option.get_long() == Some(key))
}

fn keys(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|option| !option.is_hide_set());
    shown.filter_map(|option| option.get_long().map(str::to_owned)).collect()
}

/// Parses a tunnel's name, which must fit into a log line and into the label of a metric.
fn name(text: &str) -> Result<String, GrammarError> {
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    match !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(GrammarError::new(format!("a name has 1-{LONGEST_NAME} visible ASCII characters"))),
    }
}

const LONGEST_NAME: usize = 64;
const SWITCH: &str = "true or false";
const COUNT: &str = "a number 0-2";

type MakeCommand = fn() -> Command;

/// The sections in the order of the manual page.
const SECTIONS: &[(&str, MakeCommand)] = &[
    ("[modem]", command::<ModemSection>),
    ("[[tunnel]]", command::<TunnelSection>),
    ("[tls.NAME]", command::<TlsOptions>),
    ("[process]", command::<ProcessSection>),
];
