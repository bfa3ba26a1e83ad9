//! Settings that every program on the modem shares: set as the tunnel needs them, and put back at the end.
//!
//! What a setting was is asked before it is changed, once since the modem booted. A program that is killed
//! leaves its own values, and the next one takes them for what it found.

use std::time::{Duration, Instant};

use super::{Given, SetUp, SetupStep, next_alone};
use crate::at::answers::{Answer, MessageSettings, MqttClient, SharedSetting, UrcPorts};
use crate::at::begins_text;

/// What was found in the modem.
#[derive(Debug, Default)]
pub struct Found {
    settings: Vec<Setting>,
    /// The ports that AT+QURCCFG=? lists.
    pub urc_ports: Vec<String>,
    /// What is known of texts that others send.
    pub texts: Texts,
}

/// SMS, cell broadcasts and the messages of another program's MQTT client: the sender of one can write what
/// looks like the module's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Texts {
    /// None is shown, as far as is known.
    #[default]
    Kept,
    /// They are shown when they come, and that cannot be changed.
    Shown,
    /// One has come. What is pushed after it may be a part of it: nothing shows where a text ends.
    Came,
}

impl Texts {
    /// Whether nothing that they could look like may be trusted.
    pub fn are_shown(self) -> bool {
        self != Texts::Kept
    }
}

/// Whether the settings that fix how answers show payload are as they were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// They were read, and nothing contradicts them.
    Read {
        /// When.
        at: Option<Instant>,
    },
    /// What the module sent has another form: they are to be read again.
    Doubted {
        /// When.
        due: Instant,
    },
}

impl Format {
    /// When they are to be read again.
    pub(super) fn due(self) -> Option<Instant> {
        match self {
            Format::Read { .. } => None,
            Format::Doubted { due } => Some(due),
        }
    }
}

/// One setting.
#[derive(Debug)]
struct Setting {
    /// The command that asks for it, without `AT`: `+QICFG="viewmode"`.
    name: &'static str,
    /// What it was.
    found: String,
    /// What it is now.
    now: String,
}

impl Found {
    /// The modem has rebooted: it has its own values again.
    pub fn forget(&mut self) {
        self.settings.clear();
        self.texts = Texts::Kept;
    }

    /// Takes the answers to [`SHARED`] and [`MESSAGES`], together or one by one.
    pub(super) fn learn(&mut self, lines: &[String]) {
        for line in lines {
            if let Some(setting) = SharedSetting::of(line) {
                let mut names = SHARED.into_iter().chain([MESSAGES]);
                if let Some(name) = names.find(|name| setting.is_asked_by(name)) {
                    self.is_now(name, setting.value);
                }
            } else if let Some(UrcPorts(ports)) = UrcPorts::of(line) {
                self.urc_ports = ports.into_iter().map(str::to_owned).collect();
            }
        }
    }

    /// It has been asked for or set.
    pub(super) fn is_now(&mut self, name: &'static str, value: &str) {
        match self.settings.iter_mut().find(|setting| setting.name == name) {
            Some(setting) => value.clone_into(&mut setting.now),
            None => self.settings.push(Setting { name, found: value.to_owned(), now: value.to_owned() }),
        }
    }

    /// It has been set; where its old value is unknown, there is nothing to restore.
    pub(super) fn was_set(&mut self, name: &str, value: &str) {
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.name == name) {
            value.clone_into(&mut setting.now);
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|setting| setting.name == name).map(|setting| setting.now.as_str())
    }

    /// What puts back what was found, without `AT`.
    pub(super) fn lines(&self) -> Vec<String> {
        let changed = self.settings.iter().filter(|setting| setting.now != setting.found);
        changed.map(|setting| line(setting.name, &setting.found)).collect()
    }

    /// The settings that fix how answers show payload, and are not known to be as they are needed, without `AT`.
    pub(super) fn data_format(&self) -> Vec<String> {
        let wrong = DATA_FORMAT.iter().filter(|(name, value)| self.value(name) != Some(value));
        wrong.map(|(name, value)| line(name, value)).collect()
    }

    /// Those of them that are known to be otherwise, as people write them: `"viewmode",1`.
    fn data_format_found(&self) -> Vec<String> {
        let known = DATA_FORMAT.iter().filter_map(|(name, wanted)| Some((name, wanted, self.value(name)?)));
        let wrong = known.filter(|(_, wanted, value)| *wanted != value);
        wrong.map(|(name, _, value)| line(name.trim_start_matches("+QICFG="), value)).collect()
    }

    /// They have been set.
    pub(super) fn data_format_set(&mut self) {
        for (name, value) in DATA_FORMAT {
            self.was_set(name, value);
        }
    }

    /// The command that has messages kept and not shown; `None` where they are.
    pub(super) fn keep_messages(&self, reports: Reports) -> Option<String> {
        self.kept(reports).map(|values| format!("AT{}", line(MESSAGES, &values.to_string())))
    }

    /// A line that is about something else than our sockets.
    pub fn others_said(&mut self, line: &str, module: &str) {
        if begins_text(line) {
            self.texts_are_shown(line, module);
            self.texts = Texts::Came;
        } else if line.starts_with(MQTT) {
            self.texts_are_shown(line, module);
        }
    }

    /// The module has reported this about the texts of others: from now on they are shown.
    fn texts_are_shown(&mut self, line: &str, module: &str) {
        if !self.texts.are_shown() {
            let name = line.split(':').next().unwrap_or(line);
            log::info!(
                "{module} shows what others send to another program ({name}): such text can look like a message of \
                 the modem, so connections in push mode are made in buffer mode"
            );
            self.texts = Texts::Shown;
        }
    }

    fn kept(&self, reports: Reports) -> Option<MessageSettings> {
        kept(self.value(MESSAGES)?.parse().ok()?, reports)
    }
}

/// What becomes of the reports on messages that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// They are kept.
    Kept,
    /// They are dropped: not every module keeps them.
    Dropped,
}

impl SetUp {
    /// What the module has sent does not have the form that was set: another program may have changed that. It is read
    /// again soon, and not time and again.
    pub fn format_is_doubted(&mut self, now: Instant) {
        if let Format::Read { at } = self.format {
            self.format = Format::Doubted { due: at.map_or(now, |at| now.max(at + FORMAT_PAUSE)) };
        }
    }

    /// It is read again, if that is due. Connections go on meanwhile, and none is opened.
    pub fn look_at_format(&mut self, now: Instant) {
        if self.is_up() && self.format.due().is_some_and(|due| due <= now) {
            self.go(SetupStep::LookAtFormat { alone: None });
        }
    }

    /// The answer to that.
    pub(super) fn format_answered(
        &mut self,
        alone: Option<usize>,
        is_refused: bool,
        lines: &[String],
        now: Instant,
    ) {
        self.found.learn(lines);
        if let Some(index) = next_alone(alone, is_refused, FORMAT_QUESTIONS.len()) {
            return self.go(SetupStep::LookAtFormat { alone: Some(index) });
        }
        self.format = Format::Read { at: Some(now) };
        let changed = self.found.data_format_found();
        if !changed.is_empty() {
            log::warn!(
                "another program has changed how {} shows data (AT+QICFG={}); setting it back",
                self.profile.name,
                changed.join(" and ")
            );
        }
        self.go(match self.found.data_format().is_empty() {
            true => SetupStep::Up,
            false => SetupStep::DataFormat { alone: None },
        });
    }

    /// AT+CNMI? was answered. A message that is shown when it arrives is text that anyone can send: it is
    /// kept instead, and only announced.
    pub(super) fn messages_answered(&mut self, given: &Given<'_>, lines: &[String]) {
        self.found.learn(lines);
        match self.found.keep_messages(Reports::Kept) {
            Some(_) => self.go(SetupStep::KeepMessages(Reports::Kept)),
            None => self.go_or_skip(given, SetupStep::Mqtt),
        }
    }

    pub(super) fn messages_kept(&mut self, given: &Given<'_>, reports: Reports, is_refused: bool) {
        let [kept, dropped] = [Reports::Kept, Reports::Dropped].map(|reports| self.found.kept(reports));
        if is_refused && reports == Reports::Kept && kept != dropped {
            return self.go(SetupStep::KeepMessages(Reports::Dropped));
        }
        match self.found.kept(reports) {
            Some(values) if !is_refused => self.found.was_set(MESSAGES, &values.to_string()),
            _ => {
                self.found.texts = self.found.texts.max(Texts::Shown);
                log::warn!(
                    "{} refused to keep SMS instead of showing them (AT+CNMI): such text can look like a message \
                     of the modem, so connections in push mode are made in buffer mode",
                    self.profile.name
                );
            }
        }
        self.go_or_skip(given, SetupStep::Mqtt);
    }

    /// URCs have been set to leave by the port of this name.
    pub fn urcs_leave_by(&mut self, name: &str) {
        self.found.was_set(URC_PORT, &format!("\"{name}\""));
    }

    /// AT+QMTCONN? was answered.
    pub(super) fn mqtt_answered(&mut self, given: &Given<'_>, lines: &[String]) {
        if MqttClient::all(lines).any(|client| client.is_active) {
            self.found.texts_are_shown(MQTT_STATE, &self.profile.name);
        }
        self.go_or_skip(given, SetupStep::Dns);
    }
}

/// `+QICFG="viewmode"` and `0` make `+QICFG="viewmode",0`; `+CNMI?` and `2,1` make `+CNMI=2,1`.
fn line(name: &str, value: &str) -> String {
    match name.strip_suffix('?') {
        Some(name) => format!("{name}={value}"),
        None => format!("{name},{value}"),
    }
}

/// What AT+CNMI must be so that nothing is shown that somebody else wrote; `None` where that is so already.
fn kept(found: MessageSettings, reports: Reports) -> Option<MessageSettings> {
    let wanted = MessageSettings {
        messages: if found.messages >= 2 { 1 } else { found.messages },
        broadcasts: if found.broadcasts >= 2 { 0 } else { found.broadcasts },
        reports: match (found.reports, reports) {
            (1, Reports::Kept) => 2,
            (1, Reports::Dropped) => 0,
            (other, _) => other,
        },
        ..found
    };
    (wanted != found).then_some(wanted)
}

/// What is asked before it is set. The names are without `AT`, so that they can be joined in a line.
pub(super) const SHARED: [&str; 6] = [
    URC_PORT,
    "+QURCCFG=?",
    "+QICFG=\"viewmode\"",
    "+QICFG=\"dataformat\"",
    "+QICFG=\"sendinfo\"",
    "+QICFG=\"recvind\"",
];

/// Settings that another program may have left, and that change how payload looks. A module without the key
/// answers ERROR, which is as good.
const DATA_FORMAT: [(&str, &str); 4] = [
    ("+QICFG=\"viewmode\"", "0"),
    ("+QICFG=\"dataformat\"", "0,0"),
    ("+QICFG=\"sendinfo\"", "0"),
    ("+QICFG=\"recvind\"", "0"),
];

/// What asks for them. The names are without `AT`.
pub(super) const FORMAT_QUESTIONS: [&str; DATA_FORMAT.len()] =
    [DATA_FORMAT[0].0, DATA_FORMAT[1].0, DATA_FORMAT[2].0, DATA_FORMAT[3].0];

/// They are read again no sooner than this after they were read last.
const FORMAT_PAUSE: Duration = Duration::from_secs(5);

const URC_PORT: &str = "+QURCCFG=\"urcport\"";
const MESSAGES: &str = "+CNMI?";

/// What the lines of MQTT clients begin with.
const MQTT: &str = "+QMT";

/// A state of one of them.
const MQTT_STATE: &str = "+QMTCONN:";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_was_changed_is_put_back_and_nothing_else() {
        let mut found = Found::default();
        found.learn(&lines(
            "+QURCCFG: \"urcport\",\"usbat\"\n+QURCCFG: \"urcport\",(\"usbat\",\"usbmodem\",\"uart1\",\"all\")\n\
             +QICFG: \"viewmode\",1\n+QICFG: \"dataformat\",0,1\n+QICFG: \"sendinfo\",0",
        ));
        assert_eq!(found.urc_ports, ["usbat", "usbmodem", "uart1", "all"]);
        assert_eq!(found.lines(), Vec::<String>::new());
        assert_eq!(
            found.data_format(),
            ["+QICFG=\"viewmode\",0", "+QICFG=\"dataformat\",0,0", "+QICFG=\"recvind\",0"]
        );
        found.data_format_set();
        found.was_set(URC_PORT, "\"uart1\"");
        found.is_now(MESSAGES, "2,2,0,0,0");
        assert_eq!(found.keep_messages(Reports::Kept).unwrap(), "AT+CNMI=2,1,0,0,0");
        found.was_set(MESSAGES, "2,1,0,0,0");
        let put_back = [
            "+QURCCFG=\"urcport\",\"usbat\"",
            "+QICFG=\"viewmode\",1",
            "+QICFG=\"dataformat\",0,1",
            "+CNMI=2,2,0,0,0",
        ];
        assert_eq!(found.lines(), put_back);
        // Asked again while it is set, it was not found so.
        found.learn(&lines("+QICFG: \"viewmode\",0"));
        assert_eq!(found.lines(), put_back);
        found.forget();
        assert_eq!(found.lines(), Vec::<String>::new());
    }

    #[test]
    fn messages_are_kept_and_not_shown() {
        for (values, wanted) in [
            ("2,2,0,0,0", Some("2,1,0,0,0")),
            ("1,3,2,1,0", Some("1,1,0,2,0")),
            ("2,2", Some("2,1,0,0,0")),
            ("2,1,0,0,0", None),
            ("0,0,0,2,1", None),
        ] {
            let found = values.parse().expect("numbers");
            assert_eq!(kept(found, Reports::Kept), wanted.and_then(|wanted| wanted.parse().ok()), "{values}");
        }
        let found = "2,1,0,1,0".parse().expect("numbers");
        assert_eq!(kept(found, Reports::Dropped).map(|kept| kept.to_string()).as_deref(), Some("2,1,0,0,0"));
    }
}
