//! TLS settings of tunnels → SSL contexts of the modem, and the command lines that make them so.
//!
//! ```text
//!                 OK                    read back as wanted
//!   Due ────────────────► Written ────────────────────────────► InEffect
//!    │ ▲                   │  ▲                                  │
//!    │ └───────────────────┘  └──────────────────────────────────┘
//!    │    another value            a connection was opened or closed
//!    │ refused            no such setting
//!    └────────► Refused ──────────────────► Lacks
//! ```
//! An OK of the module is not trusted: settings that trust depends on are read back after writing, before
//! a connection is opened, and once more before a client is given one.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::at::answers::{Answer, FileSum, TlsSetting, file_in};
use crate::at::{AtText, CommandOutcome, Refusal, SslContextId};
use crate::error::Kind;
use crate::failure::Failure;
use crate::profile::Profile;
use crate::settings;
use crate::settings::WHOLE_STORE;

/// An SSL context in use.
#[derive(Debug)]
pub struct SslContext {
    /// Its number.
    pub id: SslContextId,
    /// Whether it is for streams or for datagrams.
    scheme: settings::Scheme,
    /// The settings that it carries.
    pub tls: settings::Tls,
    /// `--connect-timeout`, which sets "negotiatetime".
    pub connect_timeout: Duration,
    /// The settings in the order of writing, each with its state.
    pub settings: Vec<Setting>,
    /// The files that must be in the modem before it is used.
    pub files: Vec<File>,
    /// Their bytes have been compared or stored since the session began. Without that nothing is opened.
    files_stand: bool,
    /// How often the settings were found to be other than wanted. A connection that was opened before the last time
    /// is not given to a client.
    generation: u32,
    /// The settings whose line is in flight.
    said: Option<Said>,
    /// The line that was last given up, and how often in a row it was.
    given_up: Option<(Said, u32)>,
    /// How often they were found different since they were last in effect.
    tries: u32,
    /// Some were written by a joined line, which has not been shown to work by reading them back.
    joined_unproven: bool,
    /// When one of them was read last, since all of them became unconfirmed.
    read_at: Option<Instant>,
    /// The module may have put them back with the last socket of the context, and they have not been read since.
    may_be_forgotten: bool,
}

/// A line about settings that is in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which settings it is about, by their index.
    pub about: Vec<usize>,
    /// It asks for them, rather than writing them.
    pub asks: bool,
}

/// What reading a context's settings has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing that matters yet: more is to be written or asked.
    Unfinished,
    /// All of it is in effect.
    InEffect,
    /// These were other than wanted, and are written again.
    Different(String),
    /// What is wanted cannot be had.
    Failed(String),
}

impl SslContext {
    /// Whether this tunnel's connections can be opened on it.
    pub(crate) fn fits(&self, tunnel: &settings::Tunnel) -> bool {
        self.scheme == tunnel.transport.scheme()
            && Some(&self.tls) == tunnel.tls()
            && self.connect_timeout == tunnel.limits.connect_timeout
    }

    /// A context for which nothing has been set in the modem yet.
    pub(crate) fn new(
        id: SslContextId,
        scheme: settings::Scheme,
        tls: &settings::Tls,
        connect_timeout: Duration,
        profile: &Profile,
        authorities: CaStorage,
    ) -> Result<Self, Failure> {
        let mut settings = settings(scheme, tls, connect_timeout, profile, authorities)?;
        settings.extend(chain_settings(tls, profile, authorities));
        let files = files(tls, authorities, profile.directory());
        Ok(SslContext {
            id,
            scheme,
            tls: tls.clone(),
            connect_timeout,
            settings,
            files_stand: files.is_empty(),
            files,
            generation: 0,
            said: None,
            given_up: None,
            tries: 0,
            joined_unproven: false,
            read_at: None,
            may_be_forgotten: false,
        })
    }

    /// Whether the bytes of its files have been compared or stored since the session began.
    pub(crate) fn files_stand(&self) -> bool {
        self.files_stand
    }

    /// These files are not in the modem.
    pub(crate) fn files_missing(&mut self, missing: &[File]) {
        self.files_stand &= !self.files.iter().any(|file| missing.contains(file));
    }

    /// One of its files may have been changed.
    pub(crate) fn files_become_unconfirmed(&mut self) {
        self.files_stand = self.files.is_empty();
    }

    /// All files are in the modem.
    pub(crate) fn files_compared(&mut self) {
        self.files_stand = true;
    }

    /// How often its settings were found to be other than wanted.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The modem knows nothing of it any more.
    pub(crate) fn forget(&mut self) {
        self.start_again();
        self.files_stand = self.files.is_empty();
    }

    /// All settings must be written and read back.
    pub(crate) fn start_again(&mut self) {
        for setting in &mut self.settings {
            setting.state = setting.initial_state();
        }
        self.said = None;
        self.tries = 0;
        self.joined_unproven = false;
        self.read_at = None;
        self.may_be_forgotten = false;
    }

    /// Another program may have changed it: what matters is read again.
    pub(crate) fn becomes_unconfirmed(&mut self) {
        self.interrupted();
        if self.said.as_ref().is_some_and(|said| said.asks) {
            // What is in flight was asked before.
            self.said = None;
        }
    }

    /// The line in flight was given up. What was read before it may be changed until the module answers again.
    pub(crate) fn interrupted(&mut self) {
        for setting in self.settings.iter_mut().filter(|setting| setting.is_checked) {
            if setting.state == SyncState::InEffect {
                setting.state = SyncState::Written;
            }
        }
        self.read_at = None;
    }

    /// The line in flight was not answered. Returns how often in a row.
    pub(crate) fn unanswered(&mut self) -> u32 {
        let Some(said) = self.said.clone() else { return 0 };
        let before = self.given_up.take().filter(|(line, _)| *line == said).map_or(0, |(_, times)| times);
        self.given_up = Some((said, before + 1));
        before + 1
    }

    /// A socket of it was closed or failed to open, and the module may have put its settings back.
    pub(crate) fn perhaps_forgotten(&mut self) {
        self.becomes_unconfirmed();
        self.may_be_forgotten = true;
    }

    /// Whether the module may have put its settings back since they were read.
    pub(crate) fn may_be_forgotten(&self) -> bool {
        self.may_be_forgotten
    }

    /// Whether every setting is in effect, as far as can be known.
    pub(crate) fn stands(&self) -> bool {
        self.settings.iter().all(|setting| !setting.is_due() && !setting.is_unread())
    }

    /// Whether a connection of it must not be used if its settings were forgotten. Without authentication anyone can be in
    /// between anyway, but a connection of datagrams would become one of bytes.
    pub(crate) fn is_guarded(&self) -> bool {
        self.tls.authentication != settings::Authentication::Insecure || self.scheme.carries_datagrams()
    }

    /// Whether what was read is too old for a connection to be opened by it: all of it, or what was read
    /// before a reading stopped because no connection waited for it any more.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.is_guarded() && self.read_at.is_none_or(|at| now.saturating_duration_since(at) > FRESH)
    }

    /// The next line for the modem, and whether it has a secret in it. `joins`: several settings may be written by one
    /// line, and asked for by one line.
    pub(crate) fn next_line(&mut self, joins: Joins) -> Option<(String, bool)> {
        let (said, line) = self.line_to_write(joins.writing).or_else(|| self.line_to_ask(joins.asking))?;
        let is_secret = said.about.iter().any(|at| self.settings[*at].secret);
        self.said = Some(said);
        Some((line, is_secret))
    }

    fn line_to_write(&self, joined: bool) -> Option<(Said, String)> {
        let due = |(at, setting): (usize, &Setting)| setting.is_due().then_some(at);
        let about = self.settings.iter().enumerate().filter_map(due);
        let part = |setting: &Setting| setting.write_line(self.id);
        let is_single = |setting: &Setting| !joined || setting.is_unlisted;
        let (about, line) = self.join(about, part, is_single)?;
        Some((Said { about, asks: false }, line))
    }

    fn line_to_ask(&self, joined: bool) -> Option<(Said, String)> {
        let unread = |(at, setting): (usize, &Setting)| setting.is_unread().then_some(at);
        let about = self.settings.iter().enumerate().filter_map(unread);
        let is_single =
            |setting: &Setting| !joined || setting.is_unlisted || setting.secret || setting.is_refused();
        let part = |setting: &Setting| match setting.ca_id {
            // One question brings all numbers.
            Some(_) if !is_single(setting) => "AT+QSSLCFG=\"cacertex\"".to_owned(),
            _ => setting.query_line(self.id),
        };
        let (about, line) = self.join(about, part, is_single)?;
        Some((Said { about, asks: true }, line))
    }

    /// The first setting alone, or as many as one line may carry.
    fn join(
        &self,
        about: impl Iterator<Item = usize>,
        part: impl Fn(&Setting) -> String,
        is_single: impl Fn(&Setting) -> bool,
    ) -> Option<(Vec<usize>, String)> {
        let (mut all, mut line, mut last) = (Vec::new(), String::new(), String::new());
        for at in about {
            let setting = &self.settings[at];
            let next = part(setting);
            if all.is_empty() {
                line.clone_from(&next);
            } else if is_single(setting) {
                continue;
            } else if next != last {
                let next = next.strip_prefix("AT").unwrap_or(&next);
                if line.len() + 1 + next.len() > JOINED_LINE_BYTES {
                    break;
                }
                line.push(';');
                line.push_str(next);
            }
            all.push(at);
            last = next;
            if is_single(setting) {
                break;
            }
        }
        (!all.is_empty()).then_some((all, line))
    }

    /// The answer to the line of [`SslContext::next_line`]. `refusal`: it was not OK, and in which words. `joins` is
    /// switched off where joined lines have shown not to work; `owns_chain`: no other program has a right to entries
    /// of "cacertex".
    pub(crate) fn answered(
        &mut self,
        refusal: Option<&str>,
        lines: &[String],
        joins: &mut Joins,
        owns_chain: bool,
        now: Instant,
    ) -> Reading {
        // The answer is from before the session was lost, or before a connection was opened: it shows nothing
        // about now.
        let Some(said) = self.said.take() else { return Reading::Unfinished };
        self.given_up.take_if(|(line, _)| *line == said);
        if said.asks {
            if self.read_at.is_some_and(|at| now.saturating_duration_since(at) > READING_GAP_MAX) {
                // What was read before the gap may have been changed in it.
                self.becomes_unconfirmed();
            }
            self.read_at = Some(now);
        }
        let reading = match said.asks {
            true => self.read(&said.about, refusal, lines, joins, owns_chain),
            false => self.written(&said.about, refusal, joins),
        };
        if reading != Reading::Unfinished || !self.stands() {
            return reading;
        }
        self.tries = 0;
        self.joined_unproven = false;
        self.read_at = Some(now);
        self.may_be_forgotten = false;
        Reading::InEffect
    }

    fn written(&mut self, about: &[usize], refusal: Option<&str>, joins: &mut Joins) -> Reading {
        let Some(refusal) = refusal else {
            about.iter().for_each(|at| self.settings[*at].state = SyncState::Written);
            self.joined_unproven |= about.len() > 1;
            return Reading::Unfinished;
        };
        let [at] = *about else {
            // Which of them it was, and whether it is joined lines that it does not take, shows when they are written
            // one by one.
            joins.writing = false;
            return Reading::Unfinished;
        };
        let setting = &mut self.settings[at];
        setting.state = match setting.need {
            Need::Asked => {
                return Reading::Failed(format!("refused the TLS setting {:?}: {refusal}", setting.key));
            }
            Need::Trust => SyncState::Refused,
            Need::IfItCan | Need::Wish => SyncState::Lacks,
        };
        log::debug!("the TLS setting {:?} is refused: {refusal}", setting.key);
        Reading::Unfinished
    }

    fn read(
        &mut self,
        about: &[usize],
        refusal: Option<&str>,
        lines: &[String],
        joins: &mut Joins,
        owns_chain: bool,
    ) -> Reading {
        let is_single = about.len() == 1;
        if refusal.is_some() && !is_single {
            joins.asking = false;
            return Reading::Unfinished;
        }
        let mut different: Vec<(usize, String)> = Vec::new();
        for at in about.iter().copied() {
            let setting = &self.settings[at];
            let value = refusal.is_none().then(|| setting.value_in(self.id, lines, is_single)).flatten();
            match value {
                Some(value) if setting.agrees(value) => self.settings[at].state = SyncState::InEffect,
                Some(value) => {
                    if let Some(why) = setting.cannot_be_changed(value, owns_chain) {
                        return Reading::Failed(why);
                    }
                    different
                        .push((at, if setting.secret { "another".to_owned() } else { value.to_owned() }));
                }
                None if !is_single => joins.asking = false,
                None => {
                    if let Some(why) = self.not_told(at, refusal) {
                        return Reading::Failed(why);
                    }
                }
            }
        }
        self.found_different(&different, joins)
    }

    /// The module does not report a setting, however it is asked. `Some`: it cannot do without.
    fn not_told(&mut self, at: usize, refusal: Option<&str>) -> Option<String> {
        let setting = &mut self.settings[at];
        let is_refused = setting.state == SyncState::Refused;
        if setting.is_chain_unknown() {
            // It has no such list at all.
            for setting in self.settings.iter_mut().filter(|setting| setting.is_chain_unknown()) {
                setting.state = SyncState::Lacks;
            }
            return None;
        }
        if setting.need != Need::Trust || is_refused && setting.may_lack {
            setting.state = SyncState::Lacks;
            return None;
        }
        let key = &setting.key;
        let refusal = refusal.map_or(String::new(), |refusal| format!(": {refusal}"));
        Some(match is_refused {
            true => format!("refused the TLS setting {key:?}{refusal}"),
            false => format!("took the TLS setting {key:?} and does not report its value{refusal}"),
        })
    }

    fn found_different(&mut self, different: &[(usize, String)], joins: &mut Joins) -> Reading {
        let is_soft = |at: usize| self.settings[at].need == Need::Wish;
        let Some((at, value)) = different.iter().min_by_key(|(at, _)| is_soft(*at)) else {
            return Reading::Unfinished;
        };
        if is_soft(*at) && self.tries >= TRIES_MAX {
            different.iter().for_each(|(at, _)| self.settings[*at].state = SyncState::InEffect);
            return Reading::Unfinished;
        }
        let setting = &self.settings[*at];
        let wanted = if setting.secret { "the one given" } else { &setting.value };
        let words =
            format!("{value} for the TLS setting {:?} of SSL context {}, not {wanted}", setting.key, self.id);
        self.generation = self.generation.wrapping_add(1);
        if self.tries >= TRIES_MAX {
            return Reading::Failed(format!(
                "has {words}, though that was written: it does not store it, or another program changes it"
            ));
        }
        self.tries += 1;
        if std::mem::take(&mut self.joined_unproven) {
            joins.writing = false;
        }
        let only_chain = different.iter().all(|(at, _)| self.settings[*at].ca_id.is_some());
        for (at, setting) in self.settings.iter_mut().enumerate() {
            // A context that has lost one has lost all.
            let is_lost = setting.ca_id.is_none() && !only_chain && setting.state != SyncState::Lacks;
            if is_lost || different.iter().any(|(other, _)| *other == at) {
                setting.state = SyncState::Due;
            }
        }
        Reading::Different(words)
    }
}

/// Whether several settings go into one line; until the module has shown that this does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joins {
    /// To write them.
    pub writing: bool,
    /// To ask for them.
    pub asking: bool,
}

/// The longest line of several settings: less than any module is known to take.
const JOINED_LINE_BYTES: usize = 255;

/// For how long a reading is good enough to open a connection by.
const FRESH: Duration = Duration::from_secs(1);

/// After a longer pause between two answers, a reading begins anew. Other commands on a slow line take their time as well.
const READING_GAP_MAX: Duration = Duration::from_secs(30);

/// How often settings that are not as they were written are written again.
const TRIES_MAX: u32 = 2;

/// Whether a setting is in effect in the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SyncState {
    /// It must be written.
    Due,
    /// The module has taken it, or had it once.
    Written,
    /// The module did not take it: it may be as wanted all the same.
    Refused,
    /// It was read back as wanted.
    InEffect,
    /// The module has no such setting, and can do without.
    Lacks,
}

/// How much depends on a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Whether the server is the right one.
    Trust,
    /// What the user has asked for.
    Asked,
    /// It must be so where the module takes it.
    IfItCan,
    /// Nothing that is promised depends on it.
    Wish,
}

/// A key of AT+QSSLCFG with the value that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: Cow<'static, str>,
    /// For "cacertex": its number, which takes the place of the context's.
    pub ca_id: Option<u8>,
    /// Everything after the context's number, as written.
    pub value: String,
    /// Whether the value must stay out of logs.
    pub secret: bool,
    need: Need,
    /// It is read back, and must be as wanted unless the module has refused it and can do without.
    is_checked: bool,
    /// The module does not list the key, but its family's manual has it.
    is_unlisted: bool,
    /// A module without the key does as wanted anyway.
    may_lack: bool,
    state: SyncState,
}

impl Setting {
    /// A setting of one context that is written and not read back.
    pub fn new(key: impl Into<Cow<'static, str>>, value: String) -> Self {
        Setting {
            key: key.into(),
            ca_id: None,
            value,
            secret: false,
            need: Need::Asked,
            is_checked: false,
            is_unlisted: false,
            may_lack: false,
            state: SyncState::Due,
        }
    }

    /// The authority `ca_id` of "cacertex", which all contexts have in common; `None` is none.
    fn chain(ca_id: u8, file: Option<&File>, is_unlisted: bool) -> Self {
        let path = file.map_or("\"\"".to_owned(), File::path);
        let mut setting = Setting {
            ca_id: Some(ca_id),
            need: Need::Trust,
            is_checked: true,
            is_unlisted,
            may_lack: file.is_none(),
            ..Setting::new("cacertex", path)
        };
        setting.state = setting.initial_state();
        setting
    }

    /// Where nothing is wanted in the common list, it is read first: the entry may be another program's.
    fn initial_state(&self) -> SyncState {
        if self.ca_id.is_some() && self.may_lack { SyncState::Written } else { SyncState::Due }
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

    /// Its value in this answer. Where nothing else was asked, the key may have another name, as the EC20's
    /// "negotiatetimeout" has.
    fn value_in<'a>(&self, context: SslContextId, lines: &'a [String], is_single: bool) -> Option<&'a str> {
        let number = self.ca_id.map_or(context.index(), usize::from);
        let is_its = |TlsSetting { key, number: its, .. }: &TlsSetting<'_>| {
            let is_same = key.eq_ignore_ascii_case(&self.key)
                || is_single && key.len() > self.key.len() && key.starts_with(&*self.key);
            is_same && usize::from(*its) == number
        };
        TlsSetting::all(lines).find(is_its).map(|setting| setting.value.unwrap_or(""))
    }

    /// Whether the value that the module reports is the one wanted. Modules differ in quotes, case, and
    /// whether the storage is in front of a file's name; a number may be written otherwise.
    fn agrees(&self, value: &str) -> bool {
        match &*self.key {
            "cacert" | "cacertex" | "clientcert" | "clientkey" => file_in(value) == file_in(&self.value),
            _ => match (number(value), number(&self.value)) {
                (Some(value), Some(wanted)) => value == wanted,
                _ => normal(value) == normal(&self.value),
            },
        }
    }

    /// Whether a connection needs it to be what the user asked for.
    pub fn is_needed(&self) -> bool {
        matches!(self.need, Need::Trust | Need::Asked) && !self.may_lack
    }

    fn is_due(&self) -> bool {
        self.state == SyncState::Due
    }

    fn is_unread(&self) -> bool {
        self.is_checked && matches!(self.state, SyncState::Written | SyncState::Refused)
    }

    fn is_refused(&self) -> bool {
        self.state == SyncState::Refused
    }

    /// Why its present value must stay. Our own files may be removed from the common list.
    fn cannot_be_changed(&self, value: &str, owns_chain: bool) -> Option<String> {
        let path = file_in(value);
        let is_ours = owns_chain || path.is_empty() || is_ours(path);
        let ca_id = self.ca_id.filter(|_| !is_ours)?;
        Some(format!(
            "has an authority of another program ({path}, \"cacertex\" {ca_id}) that would vouch for servers in all \
             SSL contexts: let that program remove it, or leave --ssl-contexts out"
        ))
    }

    /// Nothing is wanted in the common list here, and the module has not reported that there is one.
    fn is_chain_unknown(&self) -> bool {
        self.ca_id.is_some() && self.may_lack && self.is_unread()
    }
}

/// A number as modules write it, in quotes or not.
fn number(value: &str) -> Option<u32> {
    crate::profile::number(value.trim().trim_matches('"'))
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
    /// The file for some PEM texts, one after the other, in this directory of the module.
    pub fn of<'a>(kind: &str, pems: impl Iterator<Item = &'a settings::Pem>, directory: &str) -> Self {
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
        let name = AtText::new(format!("{directory}{}", stored_name(kind, &content)))
            .expect("letters, digits, hyphen, dot and slash");
        File { name, content, source }
    }

    /// Its name is in this directory of the module, with the slash after it.
    pub fn move_to(&mut self, directory: &str) {
        let name = format!("{directory}{}", without_directory(self.name.as_str()));
        self.name = AtText::new(name).expect("letters, digits, hyphen, dot and slash");
    }

    /// Its path as a setting's value.
    pub(crate) fn path(&self) -> String {
        match self.name.as_str().contains('/') {
            true => format!("\"{}\"", self.name),
            false => format!("\"UFS:{}\"", self.name),
        }
    }

    /// What the module answers to an upload that worked.
    pub(crate) fn sum(&self) -> FileSum {
        FileSum::of_content(&self.content)
    }

    /// What the answer to AT+QFUPL shows about its upload.
    pub fn upload_answered(&self, outcome: Option<&CommandOutcome>, lines: &[String]) -> Upload {
        match (FileSum::first(lines), outcome) {
            (Some(sum), Some(CommandOutcome::Ok)) if sum == self.sum() => Upload::Whole,
            (_, Some(CommandOutcome::Refused(Refusal::Cme(error))))
                if error.number() == Some(FILE_EXISTS) || error.0.contains("exist") =>
            {
                Upload::Exists
            }
            (Some(sum), _) => Upload::Different(sum),
            (None, _) => Upload::Unconfirmed,
        }
    }
}

/// The result of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// It is stored, whole.
    Whole,
    /// There was a file of this name already, which is unchanged.
    Exists,
    /// This was stored instead of it, or a refusal came after it.
    Different(FileSum),
    /// The module does not report what was stored.
    Unconfirmed,
}

/// Whether a file of this program has the bytes that it was stored with, by the hash in its name.
pub fn is_intact(name: &str, content: &[u8]) -> bool {
    let name = without_directory(name);
    name.rsplit_once('.').is_some_and(|(_, kind)| name == stored_name(kind, content))
}

/// Whether a file of this name is one of this program.
pub fn is_ours(name: &str) -> bool {
    without_directory(name).starts_with(FILE_PREFIX)
}

fn without_directory(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn stored_name(kind: &str, content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{FILE_PREFIX}{hex}.{kind}")
}

/// How the authorities of all tunnels are given to the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaStorage {
    /// One file for each context, "cacert", with all its authorities one after the other.
    Bundle,
    /// All tunnels trust the same few: a file for each authority, under the numbers of "cacertex", which
    /// all contexts have in common.
    Chain,
}

impl CaStorage {
    /// "cacertex" is one list for all contexts, so it serves only tunnels that all trust the same, and only
    /// as many as it has numbers; and not where other programs have contexts of their own (`owns_chain` is not set).
    pub(crate) fn of(tunnels: &[Arc<settings::Tunnel>], profile: &Profile, owns_chain: bool) -> Self {
        let mut sets = tunnels.iter().filter_map(|tunnel| Some(&tunnel.tls()?.authentication));
        let Some(settings::Authentication::Authorities(first)) = sets.next() else {
            return CaStorage::Bundle;
        };
        let same = sets.all(
            |set| matches!(set, settings::Authentication::Authorities(authorities) if authorities == first),
        );
        let fits = (2..=CHAIN_MAX).contains(&first.len()) && profile.has_key("cacertex") && owns_chain;
        if same && fits { CaStorage::Chain } else { CaStorage::Bundle }
    }
}

/// The files that these settings need: authorities, client certificate, client key.
pub fn files(tls: &settings::Tls, authorities: CaStorage, directory: &str) -> Vec<File> {
    let mut files = authority_files(tls, authorities, directory);
    if let Some(client) = &tls.client {
        files.push(File::of("pem", std::iter::once(&client.certificate), directory));
        files.push(File::of("key", std::iter::once(&client.key), directory));
    }
    files
}

/// The files of the authorities alone.
pub fn authority_files(tls: &settings::Tls, authorities: CaStorage, directory: &str) -> Vec<File> {
    match (&tls.authentication, authorities) {
        (settings::Authentication::Insecure, _) => Vec::new(),
        (settings::Authentication::Authorities(all), CaStorage::Bundle) => {
            vec![File::of("pem", all.iter(), directory)]
        }
        (settings::Authentication::Authorities(all), CaStorage::Chain) => {
            all.iter().map(|one| File::of("pem", std::iter::once(one), directory)).collect()
        }
    }
}

/// The settings that make an SSL context what `tls` asks for, on this module.
///
/// # Errors
/// Names the first option that the module has no key for, or whose value its key does not take.
pub fn settings(
    scheme: settings::Scheme,
    tls: &settings::Tls,
    connect_timeout: Duration,
    profile: &Profile,
    authorities: CaStorage,
) -> Result<Vec<Setting>, Failure> {
    let mut settings = Settings { profile, all: Vec::new() };
    let authenticated = tls.authentication != settings::Authentication::Insecure;
    // Without authentication nothing depends on how certificates are checked.
    let (checking, asked, basic) = match authenticated {
        true => (Need::Trust, Need::Trust, Need::Trust),
        false => (Need::Wish, Need::Asked, Need::IfItCan),
    };
    let default = settings::Tls::new(tls.authentication.clone());
    let version_option = (tls.version != default.version).then_some("--tls-version");
    settings.number(version_option, "sslversion", tls.version as u32, 0, basic)?;
    settings.cipher(tls.cipher, authenticated)?;
    if let Some(first) = authority_files(tls, authorities, profile.directory()).first() {
        settings.text("--ca", "cacert", first.path(), Need::Trust)?;
    }
    let mut level = u32::from(authenticated);
    if let Some(client) = &tls.client {
        level = 2;
        settings.client(client)?;
    }
    settings.number(None, "seclevel", level, u32::MAX, basic)?;
    let time_option = tls.check_time.map(|check| if check { "--check-time" } else { "--no-check-time" });
    let time_need = match (tls.checks_time(), tls.check_time) {
        (true, _) => asked,
        (false, Some(_)) if authenticated => Need::Asked,
        (false, _) => Need::Wish,
    };
    settings.number(time_option, "ignorelocaltime", u32::from(!tls.checks_time()), 1, time_need)?;
    if let Some(key) = profile.key("negotiatetime") {
        let seconds = negotiate_seconds(connect_timeout) as u32;
        let seconds = key.range.as_ref().map_or(seconds, |range| range.nearest(seconds));
        settings.put("negotiatetime", seconds.to_string(), Need::Wish);
    }
    match tls.sni {
        Some(true) => settings.number(Some("--sni"), "sni", 1, 0, Need::Trust)?,
        Some(false) => settings.number(Some("--no-sni"), "sni", 0, 0, Need::Trust)?,
        None if profile.may_have_key("sni") => {
            settings.number(None, "sni", 1, 1, Need::IfItCan)?;
        }
        None => {}
    }
    // What is off by default is written as off where the module has it: it may remember an older user.
    let session_key = if profile.has_key("session") && !profile.has_key("session_cache") {
        // BG95, BG96 and their like
        "session"
    } else {
        "session_cache"
    };
    for (option, key, on) in [
        ("--session-resumption", session_key, tls.session_resumption),
        ("--renegotiation", "renegotiation", tls.renegotiation),
    ] {
        let need = if on { Need::Asked } else { Need::Wish };
        settings.number(Some(option), key, u32::from(on), 0, need)?;
    }
    let chain_keys = ["ignoremulticertchainverify", "ignorecertchain"];
    let has_chain_key = chain_keys.iter().any(|key| profile.has_key(key));
    for key in chain_keys.into_iter().filter(|key| profile.may_have_key(key) || !has_chain_key) {
        // Where it has only one of them, that one does.
        let wanted = tls.ignore_chain && (profile.has_key(key) || !has_chain_key);
        settings.number(Some("--ignore-chain"), key, u32::from(wanted), 0, checking)?;
    }
    let signature = u32::from(tls.ignore_signature);
    settings.number(Some("--ignore-signature"), "ignoreinvalidcertsign", signature, 0, checking)?;
    let items = tls.ignore_certificate_items;
    settings.number(Some("--ignore-certificate"), "ignorecertitem", items, 0, checking)?;
    let others: Vec<String> = profile
        .keys
        .iter()
        .filter(|key| key.name.starts_with("ignore") && settings.all.iter().all(|it| it.key != key.name))
        .map(|key| key.name.clone())
        .collect();
    for key in others {
        settings.put(key, "0".to_owned(), checking);
    }
    if profile.may_have_key("checkhost") {
        let ignores_name = tls.ignore_certificate_items & settings::IGNORE_COMMON_NAME != 0;
        settings.put("checkhost", u8::from(authenticated && !ignores_name).to_string(), checking);
    }
    match &tls.alpn {
        None if !profile.has_key("alpn") => {}
        None => settings.put("alpn", "\"\"".to_owned(), Need::Wish),
        Some(name) => settings.text("--alpn", "alpn", format!("\"{name}\""), Need::Asked)?,
    }
    settings.datagrams(scheme, tls.version)?;
    settings.number(None, "closetimemode", 0, 0, Need::Wish)?;
    if let Some(psk) = &tls.psk {
        let value = format!("\"{}\",\"{}\"", psk.identity, psk.key.0);
        settings.text("--psk-identity", "psk", value, Need::Asked)?;
        settings.last_is_secret();
    }
    // What the module does not list goes last, a line for each.
    let (unlisted, mut all): (Vec<_>, Vec<_>) =
        settings.all.into_iter().partition(|setting| setting.is_unlisted);
    all.extend(unlisted);
    Ok(all)
}

/// "cacertex", which holds for the whole module, as it must be for these settings: any other entry would be
/// trusted in all SSL contexts. Empty where the module has no such list, or no server is authenticated.
fn chain_settings(tls: &settings::Tls, profile: &Profile, authorities: CaStorage) -> Vec<Setting> {
    if tls.authentication == settings::Authentication::Insecure || !profile.may_have_key("cacertex") {
        return Vec::new();
    }
    let trusted = match authorities {
        CaStorage::Chain => authority_files(tls, authorities, profile.directory()),
        CaStorage::Bundle => Vec::new(),
    };
    let is_unlisted = profile.is_unlisted("cacertex");
    (0..CHAIN_MAX).map(|ca_id| Setting::chain(ca_id as u8, trusted.get(ca_id), is_unlisted)).collect()
}

/// What is likely wrong where TLS fails and TCP does not, for these settings on this module, the likeliest
/// first.
pub fn likely_causes(tls: &settings::Tls, profile: &Profile) -> String {
    let name = &profile.name;
    let mut causes = Vec::new();
    if tls.cipher != settings::Cipher::ANY.0 {
        causes.push("the server does not take the cipher suite of --cipher".to_owned());
    } else if !ECDHE.iter().any(|code| profile.takes("ciphersuite", *code)) {
        causes.push(format!("no common cipher suite: {name} has no ECDHE, which most servers demand"));
    }
    match tls.sni {
        Some(false) => causes.push("the server requires its name (leave --no-sni out)".to_owned()),
        _ if !profile.has_key("sni") => {
            causes.push(format!("the server requires its name (SNI), which {name} cannot send"));
        }
        _ => {}
    }
    if let settings::Authentication::Authorities(all) = &tls.authentication {
        let signer = match all.iter().all(|one| one.source == WHOLE_STORE) {
            true => "signed by an authority that is not in the host's trust store (give --ca)",
            false => "signed by another than --ca",
        };
        let mut cause = format!("the server's certificate: {signer}, or an incomplete chain");
        if tls.check_time != Some(false) {
            cause.push_str(", or expired (or the modem's clock is wrong)");
        }
        if profile.checks_host_name() {
            cause.push_str(", or for another name");
        }
        causes.push(cause);
    }
    causes.push(match &tls.client {
        None => "the server demands a client certificate (--cert, --key)".to_owned(),
        Some(client) if client.key_password.is_some() => {
            "the password of --key-password-file is wrong, or the server does not accept the client certificate of \
             --cert"
                .to_owned()
        }
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
        settings::TlsVersion::Any | settings::TlsVersion::Tls12 => {
            "the server speaks TLS 1.3 only".to_owned()
        }
        _ => "the server does not speak the version of --tls-version".to_owned(),
    });
    causes.join("; or ")
}

/// Settings being put together for a module.
struct Settings<'a> {
    profile: &'a Profile,
    all: Vec<Setting>,
}

impl Settings<'_> {
    fn put(&mut self, key: impl Into<Cow<'static, str>>, value: String, need: Need) {
        let key = key.into();
        let is_unlisted = self.profile.is_unlisted(&key);
        // A module that does not know a setting that is off does not have it on.
        let may_lack = is_unlisted && need != Need::Asked && (value == "0" || key == "checkhost");
        let is_checked = matches!(need, Need::Trust | Need::IfItCan);
        self.all.push(Setting { need, is_checked, is_unlisted, may_lack, ..Setting::new(key, value) });
    }

    fn last_is_secret(&mut self) {
        if let Some(setting) = self.all.last_mut() {
            setting.secret = true;
        }
    }

    fn last_is_checked(&mut self) {
        if let Some(setting) = self.all.last_mut() {
            setting.is_checked = true;
        }
    }

    /// A number. `usual` is what a module without the key does anyway; `option` is named where it was given.
    fn number(
        &mut self,
        option: Option<&str>,
        key: &'static str,
        value: u32,
        usual: u32,
        need: Need,
    ) -> Result<(), Failure> {
        let has = match need {
            Need::Trust | Need::IfItCan => self.profile.may_have_key(key),
            Need::Asked | Need::Wish => self.profile.has_key(key),
        };
        match (has, self.profile.takes(key, value)) {
            (true, true) => self.put(key, value.to_string(), need),
            _ if value == usual || need == Need::Wish => {}
            (false, _) => return Err(self.lacks(option, key)),
            (true, false) => {
                let message = format!(
                    "{} does not take {value} for {key:?}{}: it takes {}",
                    self.profile.name,
                    option.map_or(String::new(), |option| format!(", which {option} needs")),
                    self.profile.key(key).map_or("", |key| key.values.as_str())
                );
                return Err(Failure::new(Kind::Usage, message));
            }
        }
        Ok(())
    }

    /// DTLS or not. A context that another program has left with DTLS on must serve no stream.
    fn datagrams(&mut self, scheme: settings::Scheme, version: settings::TlsVersion) -> Result<(), Failure> {
        if !scheme.carries_datagrams() {
            return match self.profile.has_key("dtls") {
                true => self.number(None, "dtls", 0, 0, Need::IfItCan),
                false => Ok(()),
            };
        }
        if !self.profile.has_key("dtls") {
            let message =
                format!("{} has no DTLS (no setting \"dtls\"), which dtls:// needs", self.profile.name);
            return Err(Failure::new(Kind::Usage, message));
        }
        self.put("dtls", "1".to_owned(), Need::Trust);
        let version = match version {
            settings::TlsVersion::Ssl3 | settings::TlsVersion::Tls10 | settings::TlsVersion::Tls11 => 0,
            settings::TlsVersion::Tls12 => 1,
            settings::TlsVersion::Any => 2,
        };
        // Without the key, the module's own choice does for any version.
        self.number(Some("--tls-version"), "dtlsversion", version, 2, Need::Trust)
    }

    /// Texts: the key must be there.
    fn text(&mut self, option: &str, key: &'static str, value: String, need: Need) -> Result<(), Failure> {
        if !self.profile.may_have_key(key) {
            return Err(self.lacks(Some(option), key));
        }
        self.put(key, value, need);
        Ok(())
    }

    /// Any cipher suite is only wished for: where a module cannot be set to it, its own choice does. Without
    /// authentication it is what shows that the module has forgotten the context.
    fn cipher(&mut self, code: u16, authenticated: bool) -> Result<(), Failure> {
        let is_any = code == settings::Cipher::ANY.0;
        if !self.profile.takes("ciphersuite", code.into()) {
            if is_any {
                return Ok(());
            }
            let message = format!(
                "{} does not have the cipher suite {} of --cipher: it has {}",
                self.profile.name,
                settings::Cipher(code),
                self.profile.key("ciphersuite").map_or("none", |key| key.values.as_str())
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        let need = if is_any { Need::Wish } else { Need::Asked };
        self.put("ciphersuite", format!("0X{code:04X}"), need);
        if !authenticated && self.profile.has_key("ciphersuite") {
            self.last_is_checked();
        }
        Ok(())
    }

    fn client(&mut self, client: &settings::ClientCertificate) -> Result<(), Failure> {
        let directory = self.profile.directory();
        let certificate = File::of("pem", std::iter::once(&client.certificate), directory).path();
        self.text("--cert", "clientcert", certificate, Need::Trust)?;
        let key = File::of("key", std::iter::once(&client.key), directory).path();
        match &client.key_password {
            None => self.text("--key", "clientkey", key, Need::Trust),
            Some(_) if !self.profile.takes_key_password() => {
                let message = format!(
                    "{} takes no password for a key: give --key a file without one and leave \
                     --key-password-file out",
                    self.profile.name
                );
                Err(Failure::new(Kind::Usage, message))
            }
            Some(password) => {
                self.text("--key", "clientkey", format!("{key},\"{}\"", password.0), Need::Trust)?;
                self.last_is_secret();
                Ok(())
            }
        }
    }

    fn lacks(&self, option: Option<&str>, key: &str) -> Failure {
        let name = &self.profile.name;
        let message = match (option, key) {
            (Some(option), _) => {
                format!("{name} has no setting {key:?}, which {option} needs: leave {option} out")
            }
            (None, "ignorelocaltime") => format!(
                "{name} has no setting {key:?}, so it does not check the dates of certificates: --no-check-time \
                 accepts that"
            ),
            (None, _) => {
                format!("{name} has no setting {key:?}, without which servers cannot be authenticated")
            }
        };
        Failure::new(Kind::Usage, message)
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

/// AT+QFUPL of a name that is there (FILE application note).
const FILE_EXISTS: u16 = 407;

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
    fn an_upload_is_whole_only_if_the_module_says_ok_and_its_sum_is_right() {
        let file = File {
            name: AtText::new("x").expect("a name"),
            content: b"\x12\x34\x56".to_vec(),
            source: String::new(),
        };
        let cme = |text: &str| Some(CommandOutcome::Refused(Refusal::Cme(crate::at::CmeError(text.into()))));
        let (right, wrong) = ("+QFUPL: 3,4434", "+QFUPL: 2,1234");
        let different = |size, checksum| Upload::Different(FileSum { size, checksum });
        for (line, outcome, wanted) in [
            (right, Some(CommandOutcome::Ok), Upload::Whole),
            (wrong, Some(CommandOutcome::Ok), different(2, 0x1234)),
            // A part of it is stored all the same.
            (wrong, cme("421"), different(2, 0x1234)),
            (right, cme("421"), different(3, 0x4434)),
            ("", cme("407"), Upload::Exists),
            ("", cme("file already exist"), Upload::Exists),
            ("", cme("20"), Upload::Unconfirmed),
            ("", Some(CommandOutcome::Ok), Upload::Unconfirmed),
            ("", Some(CommandOutcome::Refused(Refusal::Plain)), Upload::Unconfirmed),
            ("", None, Upload::Unconfirmed),
        ] {
            assert_eq!(
                file.upload_answered(outcome.as_ref(), &[line.to_owned()]),
                wanted,
                "{line} {outcome:?}"
            );
        }
    }

    #[test]
    fn an_answer_may_be_quoted_differently() {
        let setting = Setting::new("cacert", "\"UFS:a.pem\"".into());
        let said = |setting: &Setting, line: &str| {
            let lines = [line.to_owned()];
            setting.value_in(SslContextId::new(1).unwrap(), &lines, true).map(|value| setting.agrees(value))
        };
        for line in ["1,\"UFS:a.pem\"", "1,UFS:a.pem", "1, \"a.pem\"", "\"1\",\"UFS:a.pem\""] {
            assert_eq!(said(&setting, &format!("+QSSLCFG: \"cacert\",{line}")), Some(true), "{line}");
        }
        for line in ["1", "1,", "1,\"\"", "1,\"RAM:a.pem\"", "1,\"UFS:A.pem\""] {
            assert_eq!(said(&setting, &format!("+QSSLCFG: \"cacert\",{line}")), Some(false), "{line}");
        }
        assert_eq!(said(&setting, "+QSSLCFG: \"cacert\",2,\"UFS:a.pem\""), None, "of another context");
        assert_eq!(said(&setting, "+QSSLCFG: \"sni\",1,\"UFS:a.pem\""), None, "another key");
        let none = Setting::new("cacert", "\"\"".into());
        assert_eq!(said(&none, "+QSSLCFG: \"cacert\",1"), Some(true));
        let cipher = Setting::new("ciphersuite", "0XFFFF".into());
        assert_eq!(said(&cipher, "+QSSLCFG: \"ciphersuite\",1,0xffff"), Some(true));
        let level = Setting::new("seclevel", "1".into());
        assert_eq!(said(&level, "+QSSLCFG: \"seclevel\",1,\"1\""), Some(true));
        assert_eq!(said(&level, "+QSSLCFG: \"seclevel\",1"), Some(false), "what is not said is not so");
        let time = Setting::new("negotiatetime", "60".into());
        assert_eq!(said(&time, "+QSSLCFG: \"negotiatetimeout\",1,60"), Some(true));
    }

    fn module(identity: &str) -> Profile {
        let mut profile = Profile::unknown();
        profile.learn_identity(&["Quectel".into(), identity.into(), "Revision: R1".into()]);
        profile
    }

    fn insecure() -> settings::Tls {
        settings::Tls::new(settings::Authentication::Insecure)
    }

    fn trusting(names: &[&str]) -> settings::Tls {
        let pem = |name: &&str| settings::Pem { source: (*name).into(), bytes: name.as_bytes().to_vec() };
        settings::Tls::new(settings::Authentication::Authorities(names.iter().map(pem).collect()))
    }

    fn written(tls: &settings::Tls, profile: &Profile, authorities: CaStorage) -> Vec<String> {
        let context = SslContextId::new(0).unwrap();
        settings(settings::Scheme::Tls, tls, Duration::from_secs(5), profile, authorities)
            .expect("the module has all of this")
            .iter()
            .map(|setting| setting.write_line(context))
            .collect()
    }

    fn refused(tls: &settings::Tls, profile: &Profile) -> String {
        let scheme = settings::Scheme::Tls;
        let failure = settings(scheme, tls, Duration::from_secs(60), profile, CaStorage::Bundle).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        failure.message
    }

    #[test]
    fn an_option_that_the_module_lacks_is_named_with_the_module() {
        let ec20 = module("EC20F");
        let plain = insecure();
        assert_eq!(
            refused(&settings::Tls { sni: Some(true), ..plain.clone() }, &ec20),
            "EC20F R1 has no setting \"sni\", which --sni needs: leave --sni out"
        );
        assert_eq!(
            refused(&settings::Tls { session_resumption: true, ..plain.clone() }, &ec20),
            "EC20F R1 has no setting \"session_cache\", which --session-resumption needs: leave \
             --session-resumption out"
        );
        assert!(refused(&settings::Tls { cipher: 0xC02F, ..plain.clone() }, &ec20).starts_with(
            "EC20F R1 does not have the cipher suite TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 of --cipher"
        ));
        let all = written(&settings::Tls { sni: Some(false), ..plain }, &ec20, CaStorage::Bundle);
        assert!(all.contains(&"AT+QSSLCFG=\"sslversion\",0,3".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"negotiatetime\",0,10".to_owned()), "{all:?}");
        assert!(!all.iter().any(|line| line.contains("sni")), "{all:?}");
    }

    #[test]
    fn whether_a_context_has_dtls_is_read_back_and_a_module_without_it_is_named() {
        let of = |scheme, tls: &settings::Tls, profile: &Profile| {
            settings(scheme, tls, Duration::from_secs(60), profile, CaStorage::Bundle)
        };
        let value = |settings: &[Setting], key: &str| {
            let found = settings.iter().find(|setting| setting.key == key);
            found.map(|setting| (setting.value.clone(), setting.is_checked))
        };
        let (new, old) = (module("EG800Q"), module("EC20F"));
        for tls in [insecure(), trusting(&["a"])] {
            let stream = of(settings::Scheme::Tls, &tls, &new).expect("it can");
            assert_eq!(value(&stream, "dtls"), Some(("0".to_owned(), true)));
            for (version, wanted) in [
                (settings::TlsVersion::Tls11, "0"),
                (settings::TlsVersion::Tls12, "1"),
                (settings::TlsVersion::Any, "2"),
            ] {
                let tls = settings::Tls { version, ..tls.clone() };
                let datagrams = of(settings::Scheme::Dtls, &tls, &new).expect("it can");
                assert_eq!(value(&datagrams, "dtls"), Some(("1".to_owned(), true)));
                assert_eq!(value(&datagrams, "dtlsversion"), Some((wanted.to_owned(), true)));
            }
            let stream = of(
                settings::Scheme::Tls,
                &settings::Tls { version: settings::TlsVersion::Any, ..tls.clone() },
                &old,
            );
            assert_eq!(value(&stream.expect("it can"), "dtls"), None);
            let failure = of(settings::Scheme::Dtls, &tls, &old).unwrap_err();
            assert_eq!(failure.message, "EC20F R1 has no DTLS (no setting \"dtls\"), which dtls:// needs");
            assert_eq!(failure.kind, Kind::Usage);
        }
    }

    #[test]
    fn a_context_serves_streams_or_datagrams_and_never_both() {
        let tls = trusting(&["a"]);
        let tunnel = |transport| settings::Tunnel { transport, ..settings::test_tunnel() };
        let stream = tunnel(settings::Transport::Tls(tls.clone()));
        let datagrams = tunnel(settings::Transport::Dtls(tls.clone()));
        for (tunnel, other) in [(&stream, &datagrams), (&datagrams, &stream)] {
            let id = SslContextId::new(0).expect("a context");
            let (scheme, limit) = (tunnel.transport.scheme(), tunnel.limits.connect_timeout);
            let context = SslContext::new(id, scheme, &tls, limit, &module("EG800Q"), CaStorage::Bundle);
            let context = context.expect("the module has all of this");
            assert!(context.fits(tunnel) && !context.fits(other));
        }
    }

    #[test]
    fn the_password_of_a_clients_key_is_a_likely_cause() {
        let pem = |bytes: &[u8]| settings::Pem { source: "a.pem".into(), bytes: bytes.to_vec() };
        let client = |key_password| settings::ClientCertificate {
            certificate: pem(b"a certificate"),
            key: pem(b"a key"),
            key_password,
        };
        let of = |client| {
            let tls = settings::Tls { client: Some(client), ..insecure() };
            likely_causes(&tls, &module("EG800Q"))
        };
        let password = AtText::new("secret").map(settings::Secret).ok();
        assert!(password.is_some());
        assert!(of(client(password)).contains("the password of --key-password-file is wrong, or"));
        assert!(!of(client(None)).contains("password"));
    }

    #[test]
    fn a_likely_cause_names_no_option_that_was_not_given() {
        let of = |source: &str| {
            let root = settings::Pem { source: source.into(), bytes: b"a root".to_vec() };
            let tls = settings::Tls::new(settings::Authentication::Authorities(vec![root]));
            likely_causes(&tls, &module("EG800Q"))
        };
        assert!(of("root.pem").contains("signed by another than --ca,"), "{}", of("root.pem"));
        assert!(!of("root.pem").contains("password"), "{}", of("root.pem"));
        let store = of(WHOLE_STORE);
        assert!(store.contains("not in the host's trust store (give --ca)"), "{store}");
        assert!(!store.contains("than --ca"), "{store}");
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
        let old = settings::Tls { version: settings::TlsVersion::Tls10, ..insecure() };
        assert_eq!(
            refused(&old, &profile),
            "EG915Q R1 does not take 1 for \"sslversion\", which --tls-version needs: it takes (3,4)"
        );
        // A list that names no codes leaves the last word to the module.
        let exotic = settings::Tls { cipher: 0xC030, ..insecure() };
        let all = written(&exotic, &profile, CaStorage::Bundle);
        assert!(all.contains(&"AT+QSSLCFG=\"ciphersuite\",0,0XC030".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"negotiatetime\",0,30".to_owned()), "{all:?}");
    }

    #[test]
    fn a_bg96_has_names_of_its_own_for_chains_and_sessions() {
        let mut bg96 = module("BG96");
        bg96.learn_keys(&[
            "+QSSLCFG: \"sslversion\",(0-5),(0-4)".into(),
            "+QSSLCFG: \"ciphersuite\",(0-5),(0X0035,0XFFFF)".into(),
            "+QSSLCFG: \"seclevel\",(0-5),(0-2)".into(),
            "+QSSLCFG: \"checkhost\",(0-5),(0,1)".into(),
            "+QSSLCFG: \"ignorecertchain\",(0-5),(0,1)".into(),
            "+QSSLCFG: \"ignorelocaltime\",(0-5),(0,1)".into(),
            "+QSSLCFG: \"session\",(0-5),(0,1)".into(),
        ]);
        let tls = settings::Tls { ignore_chain: true, session_resumption: true, ..trusting(&["one"]) };
        let all = written(&tls, &bg96, CaStorage::Bundle);
        assert!(all.contains(&"AT+QSSLCFG=\"ignorecertchain\",0,1".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"checkhost\",0,1".to_owned()), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"session\",0,1".to_owned()), "{all:?}");
        assert!(!all.iter().any(|line| line.contains("session_cache")), "{all:?}");
        assert!(all.contains(&"AT+QSSLCFG=\"seclevel\",0,1".to_owned()), "{all:?}");
    }

    #[test]
    fn authorities_that_all_tunnels_share_go_into_the_modules_one_chain() {
        let tunnel = |tls| {
            let transport = settings::Transport::Tls(tls);
            Arc::new(settings::Tunnel { transport, ..settings::test_tunnel() })
        };
        let (one, two, many) = (trusting(&["a"]), trusting(&["a", "b"]), trusting(&["a"; 7]));
        let chain = |tunnels: &[&settings::Tls], module: &Profile| {
            let tunnels: Vec<_> = tunnels.iter().map(|tls| tunnel((*tls).clone())).collect();
            CaStorage::of(&tunnels, module, true) == CaStorage::Chain
        };
        let (new, old) = (module("EG800Q"), module("EC20"));
        assert!(chain(&[&two, &two], &new));
        assert!(!chain(&[&two, &two], &old), "an EC20 has no cacertex");
        assert!(!chain(&[&two, &one], &new), "the chain would be trusted by both");
        assert!(!chain(&[&two, &insecure()], &new));
        assert!(!chain(&[&one], &new) && !chain(&[&many], &new));
        let files = authority_files(&two, CaStorage::Chain, "");
        let context = SslContextId::new(3).unwrap();
        let settings = chain_settings(&two, &new, CaStorage::Chain);
        let lines: Vec<String> = settings.iter().map(|setting| setting.write_line(context)).collect();
        assert_eq!(
            lines[..3],
            [
                format!("AT+QSSLCFG=\"cacertex\",0,\"UFS:{}\"", files[0].name),
                format!("AT+QSSLCFG=\"cacertex\",1,\"UFS:{}\"", files[1].name),
                "AT+QSSLCFG=\"cacertex\",2,\"\"".to_owned(),
            ]
        );
        assert_eq!(lines.len(), CHAIN_MAX);
    }
}
