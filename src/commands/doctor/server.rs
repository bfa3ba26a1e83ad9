//! The checks of the doctor for a server: certificates, TCP, TLS, and the cause of a TLS failure.

use std::time::Duration;

use super::trials::{Trial, trials};
use super::{Doctor, ModemAnswer, Proxy, SettingsOf};
use crate::commands::cert::LARGEST_FILE_BYTES;
use crate::commands::modem_access::{CLOSE_SECONDS, UNKNOWN_ERROR};
use crate::config::{self, Authentication, Target};
use crate::daemon::exit_status::ExitStatus;
use qssl_core::at::answers::{Answer, ListedFile, SocketStatus, Storage, TlsSetting};
use qssl_core::at::{AccessMode, AtText, Command, CommandSet, ResultCode, Security, SocketId, SslContextId};
use qssl_core::counted;
use qssl_core::modem::ssl_context::{self, CaStorage, File, Setting, Upload};
use qssl_core::modem::{CommandOutcome, Failure, OpenFailure};
use qssl_core::settings;

/// The TLS settings to examine.
struct Wanted {
    tls: config::Tls,
    settings: Vec<Setting>,
    files: Vec<File>,
    /// The SSL context that has these settings already: that of a daemon's tunnel to this server.
    stands_in: Option<SslContextId>,
}

/// An SSL context and sockets that are not in use.
struct Spare {
    context: SslContextId,
    sockets: Vec<SocketId>,
}

impl Doctor<'_> {
    /// Checks the modem's storage, and whether the certificates of the tunnel are stored or would fit.
    pub(super) fn certificates(&mut self) -> Result<(), Failure> {
        let space = self.say("AT+QFLDS=\"UFS\"")?;
        let room = Storage::first(&space.lines);
        let list = self.say("AT+QFLST=\"*\"")?;
        let stored: Vec<ListedFile<'_>> = ListedFile::all(&list.lines).collect();
        let ours = stored.iter().filter(|file| ssl_context::is_ours(file.name)).count();
        let mut seen = match room {
            Some(Storage { free_bytes, total_bytes: Some(total) }) => {
                format!("{free_bytes} of {total} bytes free")
            }
            _ => "the modem does not report its storage".to_owned(),
        };
        seen.push_str(&format!("; {} there, {ours} of this program", counted(stored.len(), "file")));
        // A daemon manages its own files.
        let tunnel = self.tunnel.filter(|_| self.settings == SettingsOf::Options);
        let tls = tunnel.and_then(|tunnel| tunnel.tls());
        let files = tls
            .map_or(Vec::new(), |tls| ssl_context::files(tls, CaStorage::Bundle, self.profile.directory()));
        let spoilt = self.spoilt_files(&stored)?;
        let is_stored = |file: &&File| {
            stored.iter().any(|there| {
                there.name == file.name.as_str()
                    && there.bytes == file.content.len() as u64
                    && !spoilt.contains(&there.name)
            })
        };
        let missing: u64 =
            files.iter().filter(|file| !is_stored(file)).map(|file| file.content.len() as u64).sum();
        let fits = room.is_none_or(|room| missing <= room.free_bytes);
        self.certificates_fit = fits;
        let (there, lacking): (Vec<&File>, Vec<&File>) = files.iter().partition(is_stored);
        let sources =
            |files: &[&File]| files.iter().map(|file| file.source.as_str()).collect::<Vec<_>>().join(", ");
        self.intact = files.iter().filter(is_stored).map(|file| file.name.to_string()).collect();
        self.stored = stored.iter().map(|file| file.name.to_owned()).collect();
        let notes = if self.settings == SettingsOf::Options { self.notes } else { &[] };
        let notes: String = notes.iter().map(|note| format!("; {note}")).collect();
        match (fits, missing) {
            _ if !spoilt.is_empty() => {
                let names = spoilt.join(", ");
                let seen = format!("{seen}; not the bytes that this program has stored: {names}");
                let advice = "another program or a fault has changed them: a tunnel stores its own again at the next data \
                              session, cert remove deletes the others";
                self.report.failed("certificates", ExitStatus::SetUpFailed, seen, advice);
            }
            (false, _) => {
                let seen =
                    format!("{seen}; to be stored: {}, {}", sources(&lacking), counted(missing, "byte"));
                let advice = "give the one root that is needed with --ca FILE or --ca system:NAME";
                self.report.failed("certificates", ExitStatus::SetUpFailed, seen, advice);
            }
            (true, 0) if !files.is_empty() => {
                let is = if there.len() == 1 { "is" } else { "are" };
                self.report.ok("certificates", format!("{seen}; {} {is} there{notes}", sources(&there)));
            }
            (true, 0) => self.report.ok("certificates", format!("{seen}{notes}")),
            (true, _) => {
                let sources = sources(&lacking);
                let seen = format!("{seen}; to be stored: {sources}, {}{notes}", counted(missing, "byte"));
                self.report.ok("certificates", seen);
            }
        }
        Ok(())
    }

    /// The files of this program whose content has changed since they were stored. A key that the module does not
    /// return cannot be compared.
    fn spoilt_files<'a>(&mut self, stored: &[ListedFile<'a>]) -> Result<Vec<&'a str>, Failure> {
        let mut spoilt = Vec::new();
        for &ListedFile { name, bytes } in stored {
            let (Ok(file_name), Ok(size)) = (AtText::new(name), usize::try_from(bytes)) else {
                continue;
            };
            if !ssl_context::is_ours(name) || size > LARGEST_FILE_BYTES {
                continue;
            }
            let answer = self.conversation.insist(Command::Download { name: file_name, size })?;
            if answer.outcome == Some(CommandOutcome::Ok) && !ssl_context::is_intact(name, &answer.file) {
                spoilt.push(name);
            }
        }
        Ok(spoilt)
    }

    /// Opens a plain TCP connection to the server, or a UDP socket if it takes datagrams, and closes it at once. Returns
    /// its result code.
    pub(super) fn open_plain(
        &mut self,
        target: &Target,
        datagrams: bool,
        limit: Duration,
    ) -> Result<u16, Failure> {
        let states = self.say("AT+QISTATE")?;
        let used: Vec<SocketStatus<'_>> = SocketStatus::all(&states.lines).collect();
        for socket in self.sockets_beside(&used) {
            let open = Command::Open {
                socket,
                pdp: self.modem.pdp.context,
                security: if datagrams { Security::PlainDatagrams } else { Security::Plain },
                host: target.host.clone(),
                port: target.port,
                mode: AccessMode::Buffer,
                patience: limit,
            };
            let close = Command::Close { set: CommandSet::Ip, socket, timeout_seconds: Some(0) };
            self.conversation.forget_opens();
            self.undo.push(close.clone());
            let answer = self.conversation.insist(open)?;
            let code = self.open_result(CommandSet::Ip, socket.index() as u8, answer.outcome, limit)?;
            self.undo.pop();
            // A number in use is another program's, and must not be closed.
            if code != ResultCode::IDENTITY_IN_USE.0 {
                // Also after a failure: the number may still be in use, and closing a free one does no harm.
                self.insist(close)?;
                return Ok(code);
            }
        }
        Ok(ResultCode::IDENTITY_IN_USE.0)
    }

    /// The numbers of `--sockets` that the module has and that are not among these, the highest first.
    fn sockets_beside(&self, used: &[SocketStatus<'_>]) -> Vec<SocketId> {
        let is_free = |id: &SocketId| {
            self.modem.sockets.contains(id.index())
                && self.profile.sockets.contains(id.index() as u32)
                && !used.iter().any(|socket| socket.id == *id)
        };
        SocketId::all().rev().filter(is_free).collect()
    }

    pub(super) fn judge_plain(&mut self, target: &Target, datagrams: bool, code: u16) {
        let Target { host, port } = target;
        match (code, &self.proxy) {
            (0, Some(Proxy { name, allows: true })) => {
                let seen = format!("{host} port {port} answers; the daemon's tunnel {name} allows it");
                self.report.ok("tcp", seen);
            }
            (_, Some(Proxy { name, allows: false })) => {
                let seen = format!("the daemon's tunnel {name} does not allow {target}");
                let advice = "its --allow-target names the servers that clients may choose";
                self.report.failed("tcp", ExitStatus::ConnectFailed, seen, advice);
            }
            (0, None) if datagrams => {
                self.report.skipped("tcp", format!("{host} port {port} takes datagrams"));
            }
            (0, None) => self.report.ok("tcp", format!("{host} port {port} answers")),
            (564 | 565, _) => self.report.skipped("tcp", "the name cannot be resolved"),
            (566, _) => {
                let advice = format!(
                    "check the port, and whether the server lets the mobile network in{}",
                    self.doubt()
                );
                let seen = format!("{host} port {port} refuses the connection or cannot be reached");
                self.report.failed("tcp", ExitStatus::ConnectFailed, seen, advice);
            }
            (code, _) => {
                let status = OpenFailure::Code(ResultCode(code)).kind();
                let doubt = self.doubt();
                let advice = doubt.trim_start_matches("; ");
                self.report.failed("tcp", status, ResultCode(code).to_string(), advice);
            }
        }
    }

    /// Checks TLS as a tunnel would use it, in an unused context. If it fails, finds the setting that causes it.
    pub(super) fn tls(
        &mut self,
        tunnel: &settings::Tunnel,
        tls: &config::Tls,
        tcp: u16,
    ) -> Result<(), Failure> {
        if tcp != 0 {
            let why = match tcp {
                564 | 565 => "the name cannot be resolved",
                _ if tunnel.carries_datagrams() => "the module opens no UDP socket to the server",
                _ => "there is no TCP connection to the server",
            };
            self.report.skipped("tls", why);
            return Ok(());
        }
        if !self.certificates_fit {
            self.report.skipped("tls", "the modem has no room for the certificates");
            return Ok(());
        }
        let Some(mut spare) = self.spare()? else {
            self.report.skipped("tls", "no SSL context or no connection of the modem is free");
            return Ok(());
        };
        let wanted = match self.wanted(tunnel, tls)? {
            Ok(wanted) => wanted,
            Err(failure) => {
                self.report.failed("tls", failure.kind, failure.message, "");
                return Ok(());
            }
        };
        let prepared = match self.store(&wanted.files)? {
            None => self.set(&spare, &wanted.settings)?,
            refused => refused,
        };
        if let Some(refused) = prepared {
            self.report.failed("tls", ExitStatus::SetUpFailed, refused, "");
            return Ok(());
        }
        let limit = tunnel.limits.connect_timeout;
        let Some(target) = &tunnel.target else { return Ok(()) };
        let Target { host, port } = target;
        let context = wanted.stands_in.unwrap_or(spare.context);
        match self.open_tls(&mut spare, context, target, limit)? {
            0 => {
                let mut seen = format!("{host} port {port} is connected");
                if wanted.stands_in.is_some() {
                    seen.push_str(" with the settings of the daemon's tunnel");
                }
                if wanted.tls.authentication == Authentication::Insecure {
                    seen.push_str("; it is not authenticated (--insecure)");
                } else if !self.profile.checks_host_name() {
                    seen.push_str(&format!(
                        "; {} does not compare names: any certificate of this authority is accepted",
                        self.profile.name
                    ));
                }
                self.report.ok("tls", seen);
            }
            566 => match self.find_cause(&mut spare, tunnel, &wanted)? {
                Some(trial) => {
                    self.report.failed("tls", ExitStatus::TlsFailed, trial.cause, trial.advice);
                }
                None => {
                    let seen = "the handshake failed with every setting that was tried";
                    let likely = ssl_context::likely_causes(&wanted.tls, &self.profile);
                    let advice = format!("likely port {port} does not speak TLS; or {likely}");
                    self.report.failed("tls", ExitStatus::TlsFailed, seen, advice);
                }
            },
            code => {
                let status = OpenFailure::Code(ResultCode(code)).kind();
                let advice = match ResultCode(code) {
                    ResultCode::TIMED_OUT if tunnel.carries_datagrams() => {
                        "the server does not answer DTLS: is this its port, and is it reached by UDP?"
                    }
                    ResultCode::TIMED_OUT => {
                        "the server accepts TCP but does not answer TLS: is this its TLS port?"
                    }
                    _ => "",
                };
                self.report.failed("tls", status, ResultCode(code).to_string(), advice);
            }
        }
        Ok(())
    }

    /// The TLS settings to examine. Inner `Err`: the module does not support them.
    fn wanted(
        &mut self,
        tunnel: &settings::Tunnel,
        tls: &config::Tls,
    ) -> Result<Result<Wanted, Failure>, Failure> {
        if let SettingsOf::DaemonsTunnel(context) = self.settings {
            let mut settings = Vec::new();
            for key in COPIED_KEYS {
                if !self.profile.has_key(key) {
                    continue;
                }
                let answer = self.say(Setting::new(key, String::new()).query_line(context))?;
                settings.extend(value_in(&answer).map(|value| Setting::new(key, value.to_owned())));
            }
            let tls = read_back(&settings);
            return Ok(Ok(Wanted { tls, settings, files: Vec::new(), stands_in: Some(context) }));
        }
        let tls = tls.clone();
        let limit = tunnel.limits.connect_timeout;
        let scheme = tunnel.transport.scheme();
        let settings = ssl_context::settings(scheme, &tls, limit, &self.profile, CaStorage::Bundle);
        let files = ssl_context::files(&tls, CaStorage::Bundle, self.profile.directory());
        Ok(settings.map(|settings| Wanted { tls, settings, files, stands_in: None }))
    }

    /// The first change with which the connection works.
    fn find_cause(
        &mut self,
        spare: &mut Spare,
        tunnel: &settings::Tunnel,
        wanted: &Wanted,
    ) -> Result<Option<Trial>, Failure> {
        let Some(target) = &tunnel.target else { return Ok(None) };
        let trials = trials(&wanted.tls, tunnel.carries_datagrams(), &self.profile, self.clock_is_right);
        let count = trials.len();
        for (index, trial) in trials.into_iter().enumerate() {
            let setting = &trial.setting;
            let progress =
                format!("tls fails: trying {} = {} ({} of {count})", setting.key, setting.value, index + 1);
            self.report.progress(&progress);
            let changed = self.insist(Command::line(trial.setting.write_line(spare.context)))?;
            if changed.error.is_some() {
                continue;
            }
            let context = spare.context;
            let code = self.open_tls(spare, context, target, tunnel.limits.connect_timeout)?;
            if code == 0 {
                return Ok(Some(trial));
            }
            if let Some(before) = wanted.settings.iter().find(|setting| setting.key == trial.setting.key) {
                self.insist(Command::line(before.write_line(spare.context)))?;
            }
        }
        Ok(None)
    }

    /// An SSL context and sockets that are not in use. If a daemon runs, a context counts as unused only if it has
    /// the module's defaults.
    fn spare(&mut self) -> Result<Option<Spare>, Failure> {
        let states = self.say("AT+QSSLSTATE")?;
        let used: Vec<SocketStatus<'_>> = SocketStatus::all(&states.lines).collect();
        let sockets = self.sockets_beside(&used);
        let contexts: Vec<SslContextId> = SslContextId::all()
            .rev()
            .filter(|id| {
                let number = id.index() as u32;
                self.modem.ssl_contexts.contains(id.index())
                    && self.profile.ssl_contexts.contains(number)
                    && !used.iter().any(|socket| socket.ssl == Some(*id))
            })
            .collect();
        for context in contexts {
            if !self.conversation.is_shared() || self.is_untouched(context)? {
                return Ok((!sockets.is_empty()).then_some(Spare { context, sockets }));
            }
        }
        Ok(None)
    }

    /// Whether the context has the settings of one that no program has changed.
    fn is_untouched(&mut self, context: SslContextId) -> Result<bool, Failure> {
        for (key, usual) in [("seclevel", "0"), ("cacert", ""), ("negotiatetime", "300")] {
            let answer = self.say(format!("AT+QSSLCFG=\"{key}\",{context}"))?;
            if value_in(&answer).map(|value| value.trim_matches('"')) != Some(usual) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stores the missing files until the end of the examination. `Some`: why that failed.
    fn store(&mut self, files: &[File]) -> Result<Option<String>, Failure> {
        for file in files {
            let name = file.name.to_string();
            if self.intact.contains(&name) {
                continue;
            }
            // The file has our name, but not our bytes.
            let is_spoilt = self.stored.contains(&name);
            if is_spoilt {
                self.insist(Command::line(format!("AT+QFDEL=\"{name}\"")))?;
            }
            let upload = Command::Upload { name: file.name.clone(), content: file.content.clone() };
            let mut answer = self.insist(upload.clone())?;
            if file.upload_answered(answer.outcome.as_ref(), &answer.lines) == Upload::Exists {
                // The file exists, but was not listed.
                let download = Command::Download { name: file.name.clone(), size: file.content.len() };
                let kept = self.conversation.insist(download)?;
                if kept.outcome != Some(CommandOutcome::Ok) || kept.file == file.content {
                    continue;
                }
                self.insist(Command::line(format!("AT+QFDEL=\"{name}\"")))?;
                answer = self.insist(upload)?;
            }
            let upload = file.upload_answered(answer.outcome.as_ref(), &answer.lines);
            // What was stored here is removed at the end, above all a spoilt file.
            let is_whole = upload == Upload::Whole;
            let is_stored = answer.error.is_none() || matches!(upload, Upload::Different(_));
            if is_stored && !(is_spoilt && is_whole) {
                self.undo.push(Command::line(format!("AT+QFDEL=\"{}\"", file.name)));
            }
            if !is_whole {
                let error = answer.error.unwrap_or("another checksum".to_owned());
                return Ok(Some(format!("the modem did not store {} ({error})", file.source)));
            }
        }
        Ok(None)
    }

    /// Writes the settings, and remembers the previous ones. `Some`: why that failed.
    fn set(&mut self, spare: &Spare, settings: &[Setting]) -> Result<Option<String>, Failure> {
        let context = spare.context;
        for setting in settings {
            let key = &*setting.key;
            let before = match setting.secret {
                // Not queried: a secret could be in the answer.
                true => Some(if key == "psk" { "\"\",\"\"" } else { "\"\"" }.to_owned()),
                false => {
                    let answer = self.say(setting.query_line(context))?;
                    value_in(&answer).map(str::to_owned)
                }
            };
            let line = setting.write_line(context);
            let command = if setting.secret { Command::secret_line(line) } else { Command::line(line) };
            let answer = self.insist(command)?;
            match (answer.error, before) {
                (None, Some(before)) => {
                    self.undo.push(Command::line(format!("AT+QSSLCFG=\"{key}\",{context},{before}")));
                }
                (None, None) => {}
                (Some(error), _) if setting.is_needed() => {
                    let name = &self.profile.name;
                    return Ok(Some(format!("{name} refused the TLS setting {key:?} ({error})")));
                }
                (Some(_), _) => {}
            }
        }
        Ok(None)
    }

    /// Opens a TLS connection, and closes it in order, so that the server keeps nothing of it. Returns its result code.
    fn open_tls(
        &mut self,
        spare: &mut Spare,
        context: SslContextId,
        target: &Target,
        limit: Duration,
    ) -> Result<u16, Failure> {
        // A socket that is still closing after one attempt is not free for the next.
        while let Some(socket) = spare.sockets.first().copied() {
            let open = Command::Open {
                socket,
                pdp: self.modem.pdp.context,
                security: Security::Tls(context),
                host: target.host.clone(),
                port: target.port,
                mode: AccessMode::Buffer,
                patience: limit,
            };
            let close_within = |seconds| {
                let timeout_seconds = self.profile.close_time.at_most(seconds);
                Command::Close { set: CommandSet::Ssl, socket, timeout_seconds }
            };
            let (orderly, at_once) = (close_within(CLOSE_SECONDS), close_within(0));
            self.conversation.forget_opens();
            self.undo.push(at_once.clone());
            let answer = self.conversation.insist(open)?;
            let code = self.open_result(CommandSet::Ssl, socket.index() as u8, answer.outcome, limit)?;
            self.undo.pop();
            if code != ResultCode::IDENTITY_IN_USE.0 {
                self.insist(if code == 0 { orderly } else { at_once })?;
                spare.sockets.rotate_left(1);
                return Ok(code);
            }
            // Another program uses it now, so it must not be closed here.
            spare.sockets.remove(0);
        }
        Ok(ResultCode::IDENTITY_IN_USE.0)
    }

    /// The result code of an open: that of its URC, or the reason for its refusal.
    fn open_result(
        &mut self,
        set: CommandSet,
        id: u8,
        outcome: Option<CommandOutcome>,
        limit: Duration,
    ) -> Result<u16, Failure> {
        let limit = if limit.is_zero() { OPEN_LIMIT } else { limit };
        match outcome {
            Some(CommandOutcome::Ok) => {
                let result = self.conversation.await_open(set, id, limit)?;
                Ok(result.unwrap_or(ResultCode::TIMED_OUT.0))
            }
            Some(CommandOutcome::Refused(refusal)) => match refusal.result_code() {
                Some(code) => Ok(code.0),
                None => Ok(self.reason()?.map_or(UNKNOWN_ERROR, |code| code.0)),
            },
            _ => Ok(UNKNOWN_ERROR),
        }
    }
}

/// The TLS settings that these stand for, as far as they are known, without the names of files.
fn read_back(settings: &[Setting]) -> config::Tls {
    let text = |key: &str| {
        let found = settings.iter().find(|setting| setting.key == key);
        found.map(|setting| setting.value.trim_matches('"'))
    };
    let number = |key: &str| text(key).and_then(|value| value.parse::<u32>().ok());
    let no_file = || config::Pem { source: String::new(), bytes: Vec::new() };
    let authentication = match number("seclevel") {
        None | Some(0) => Authentication::Insecure,
        Some(_) => Authentication::Authorities(Vec::new()),
    };
    config::Tls {
        version: match number("sslversion") {
            _ if number("dtls") == Some(1) => match number("dtlsversion") {
                Some(0) => config::TlsVersion::Tls10,
                Some(1) => config::TlsVersion::Tls12,
                _ => config::TlsVersion::Any,
            },
            Some(0) => config::TlsVersion::Ssl3,
            Some(1) => config::TlsVersion::Tls10,
            Some(2) => config::TlsVersion::Tls11,
            Some(3) => config::TlsVersion::Tls12,
            _ => config::TlsVersion::Any,
        },
        cipher: text("ciphersuite")
            .and_then(|code| u16::from_str_radix(code.get(2..)?, 16).ok())
            .unwrap_or(settings::Cipher::ANY.0),
        client: (number("seclevel") == Some(2)).then(|| config::ClientCertificate {
            certificate: no_file(),
            key: no_file(),
            key_password: None,
        }),
        sni: number("sni").map(|sni| sni == 1),
        alpn: text("alpn").filter(|name| !name.is_empty()).and_then(|name| AtText::new(name).ok()),
        check_time: number("ignorelocaltime").map(|ignored| ignored == 0),
        ignore_certificate_items: number("ignorecertitem").unwrap_or(0),
        ..config::Tls::new(authentication)
    }
}

/// The value of the TLS setting that was queried.
fn value_in(answer: &ModemAnswer) -> Option<&str> {
    TlsSetting::first(&answer.lines)?.value
}

/// The settings that are copied from another context: all except secrets.
const COPIED_KEYS: [&str; 19] = [
    "sslversion",
    "ciphersuite",
    "cacert",
    "clientcert",
    "clientkey",
    "seclevel",
    "ignorelocaltime",
    "negotiatetime",
    "sni",
    "session_cache",
    "renegotiation",
    "ignoremulticertchainverify",
    "ignorecertchain",
    "ignoreinvalidcertsign",
    "ignorecertitem",
    "checkhost",
    "alpn",
    "dtls",
    "dtlsversion",
];

/// The limit if `--connect-timeout` is off: the manuals' maximum for an open, without the negotiation.
const OPEN_LIMIT: Duration = Duration::from_secs(150);
