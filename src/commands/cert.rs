//! `qssl-tunnel cert`: the certificates and keys that are stored in the modem.
//!
//! Files of this program are named by a hash of their content, so that tunnels with the same file share it. A
//! file is checked on the host before it is stored, and its checksum is compared afterwards.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::{CertAction, CertArgs, RunArgs};
use crate::commands::modem_access::{Access, Conversation};
use crate::config::trust::{Certificate, PrivateKey, TrustError, Validity};
use crate::config::{self, Checked, Environment, Pem, Tunnel, Verbosity};
use crate::daemon::control::StoredFile;
use crate::daemon::data_usage;
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::logging;
use crate::terminal::upload_bar::UploadBar;
use crate::terminal::{self, indented_json, printable};
use qssl_core::at::answers::{Answer, FileSum, ListedFile, Storage, TlsSetting, without_storage};
use qssl_core::at::{AtText, Command, SslContextId};
use qssl_core::modem::ssl_context::{self, File, Upload};
use qssl_core::modem::{CommandOutcome, Failure, UserAnswer};
use qssl_core::{Kind, counted};

/// Does what `args` request.
///
/// # Errors
/// A [`Failure`] with its exit status, or what is wrong with the options or a file.
pub fn run(args: &CertArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    let Checked { configuration, verbosity, .. } =
        config::from_modem(&args.modem, &args.logging, environment)?;
    if verbosity > Verbosity::Normal {
        logging::start(verbosity);
    }
    check_arguments(args)?;
    let mut out = io::stdout().lock();
    if let (CertAction::Check, Some(file)) = (args.action, &args.file) {
        let judgements = judge_file(Path::new(file), args.key.as_deref(), environment.unix_seconds)?;
        return Ok(show(&mut out, &judgements, args.json)?);
    }
    // Checked before a port is opened.
    let wanted = match (args.action, &args.file) {
        (CertAction::Put, Some(file)) => Some(file_to_put(Path::new(file), environment.unix_seconds)?),
        _ => None,
    };
    let access = Access::new(args.control.as_deref(), &args.modem).of_modem(&args.which);
    let conversation = Conversation::open(&configuration, &access)?;
    let mut store = Store { conversation };
    store.conversation.wait_until_ready()?;
    match (args.action, &args.file) {
        (CertAction::Put, _) => {
            let mut file = wanted.expect("check_arguments demands a file to put");
            file.move_to(store.directory()?);
            store.put(&file)?;
            writeln!(out, "{}", file.name)?;
        }
        (CertAction::List, _) => {
            let mut listing = store.list()?;
            let known = known_files(&mut store.conversation, args, environment)?;
            listing.find_owners(&known, &store.used_in_modem()?);
            listing.show(&mut out, args.json)?;
        }
        (CertAction::Get, name) => {
            let content = store.get(&file_name(name.as_deref().unwrap_or_default())?)?;
            match &args.output {
                Some(path) => {
                    data_usage::private(path)
                        .and_then(|mut file| file.write_all(&content))
                        .with_context(|| format!("cannot write {}", path.display()))?;
                }
                None => out.write_all(&content)?,
            }
        }
        (CertAction::Remove, name) => {
            let name = file_name(name.as_deref().unwrap_or_default())?;
            let used = store.used_in_modem()?;
            store.remove(&name)?;
            for Used { by, .. } in used.iter().filter(|used| used.name == name.as_str()) {
                eprintln!(
                    "qssl-tunnel: {name} is still named by {by}; a tunnel of this program stores it again"
                );
            }
        }
        (CertAction::Prune, _) => {
            let mut kept: Vec<String> = store.used_in_modem()?.into_iter().map(|used| used.name).collect();
            kept.extend(
                known_files(&mut store.conversation, args, environment)?.into_iter().map(|file| file.name),
            );
            let removed = store.prune(&kept)?;
            for name in &removed {
                writeln!(out, "{name}")?;
            }
            if removed.is_empty() {
                eprintln!("qssl-tunnel: there is nothing to remove");
            }
        }
        (CertAction::Check, _) => {
            let judgements = store.judge(environment.unix_seconds)?;
            return Ok(show(&mut out, &judgements, args.json)?);
        }
    }
    Ok(ExitStatus::Done)
}

/// Checks that the arguments fit together.
fn check_arguments(args: &CertArgs) -> Result<(), Failure> {
    let usage = |message: &str| Err(Failure::new(Kind::Usage, message));
    match (args.action, &args.file) {
        (CertAction::Put, None) => return usage("cert put: name the file to store"),
        (CertAction::Get | CertAction::Remove, None) => {
            return usage("cert get and remove: name the file in the modem, as cert list shows it");
        }
        (CertAction::List | CertAction::Prune, Some(_)) => return usage("cert list and prune take no file"),
        _ => {}
    }
    if args.key.is_some() && (args.action != CertAction::Check || args.file.is_none()) {
        return usage("--key: is for cert check with a file");
    }
    Ok(())
}

/// The modem's files.
struct Store {
    conversation: Conversation,
}

/// The stored files, and the room for more.
#[derive(Debug, Serialize)]
struct Listing {
    /// Free storage; `None`: the modem does not report it.
    free_bytes: Option<u64>,
    /// Total storage.
    total_bytes: Option<u64>,
    files: Vec<Stored>,
}

/// A file in the modem.
#[derive(Debug, Serialize)]
struct Stored {
    name: String,
    bytes: u64,
    /// It was stored by this program.
    ours: bool,
    /// The tunnels that it belongs to, with its source, or else the settings in the modem that name it.
    used_by: Vec<String>,
}

/// A file that an SSL context of the modem names.
struct Used {
    name: String,
    /// The setting.
    by: String,
}

impl Store {
    fn say(&mut self, text: &str) -> Result<UserAnswer, Failure> {
        self.conversation.ask(Command::line(text))
    }

    /// The directory of the module in which tunnels look for files.
    fn directory(&mut self) -> Result<&'static str, Failure> {
        Ok(self.conversation.identify()?.directory())
    }

    fn list(&mut self) -> Result<Listing, Failure> {
        let list = self.say("AT+QFLST=\"*\"")?;
        // A module without files may answer with an error.
        let files = ListedFile::all(&list.lines)
            .map(|ListedFile { name, bytes }| {
                let ours = ssl_context::is_ours(name);
                Stored { ours, name: name.to_owned(), bytes, used_by: Vec::new() }
            })
            .collect();
        let room = Storage::first(&self.say("AT+QFLDS=\"UFS\"")?.lines);
        Ok(Listing {
            free_bytes: room.map(|room| room.free_bytes),
            total_bytes: room.and_then(|room| room.total_bytes),
            files,
        })
    }

    /// Stores a file, unless it is stored already.
    fn put(&mut self, file: &File) -> Result<(), Failure> {
        let size = file.content.len();
        let listing = self.list()?;
        let there = listing.files.iter().find(|stored| stored.name == file.name.as_str());
        match (there, listing.free_bytes) {
            // Name and size prove nothing. A file that cannot be read back, as keys in some modules, is stored again.
            (Some(stored), _)
                if stored.bytes == size as u64
                    && self.get(&file.name).is_ok_and(|content| content == file.content) =>
            {
                return Ok(());
            }
            (Some(_), _) => self.remove(&file.name)?,
            (None, Some(free)) if free < size as u64 => {
                let message = format!(
                    "{} takes {} and the modem has {free} left: remove what is not needed (cert prune), or \
                     give the one root",
                    file.source,
                    counted(size, "byte")
                );
                return Err(Failure::new(Kind::Failed, message));
            }
            (None, _) => {}
        }
        let mut bar = UploadBar::new(&file.source);
        let upload = Command::Upload { name: file.name.clone(), content: file.content.clone() };
        let answer = self.conversation.upload(upload, &mut |done, all| bar.show(done, all))?;
        drop(bar);
        let upload = file.upload_answered(answer.outcome.as_ref(), &answer.lines);
        if upload == Upload::Whole {
            return Ok(());
        }
        if let Upload::Different(_) = upload {
            // By its name and size it would be taken for the right file.
            self.conversation.insist(Command::line(format!("AT+QFDEL=\"{}\"", file.name)))?;
        }
        let why = match upload {
            Upload::Different(FileSum { size, checksum }) if answer.outcome == Some(CommandOutcome::Ok) => {
                format!("it has {} with the checksum {checksum:04x}", counted(size, "byte"))
            }
            _ => refusal(&answer),
        };
        let message = format!(
            "the modem did not store {} as {} ({}): {why}",
            file.source,
            file.name,
            counted(size, "byte")
        );
        Err(Failure::new(Kind::Failed, message))
    }

    /// Fetches a file and verifies its checksum.
    fn get(&mut self, name: &AtText) -> Result<Vec<u8>, Failure> {
        let listing = self.list()?;
        let Some(stored) = listing.files.iter().find(|stored| stored.name == name.as_str()) else {
            let message = format!("the modem lists no file {name}: see cert list");
            return Err(Failure::new(Kind::Failed, message));
        };
        let size = usize::try_from(stored.bytes).unwrap_or(usize::MAX);
        if size > LARGEST_FILE_BYTES {
            let message = format!("{name} has {size} bytes: that is no certificate");
            return Err(Failure::new(Kind::Failed, message));
        }
        let answer = self.conversation.insist(Command::Download { name: name.clone(), size })?;
        if answer.outcome != Some(CommandOutcome::Ok) {
            let message = format!("the modem did not return {name}: {}", refusal(&answer));
            return Err(Failure::new(Kind::Failed, message));
        }
        let came = FileSum::of_content(&answer.file);
        let sum = FileSum::first(&answer.lines);
        if came.size != size || sum.is_some_and(|sum| sum.checksum != came.checksum) {
            let message = format!("{name} did not come over whole: its checksum is wrong; try again");
            return Err(Failure::new(Kind::Failed, message));
        }
        Ok(answer.file)
    }

    fn remove(&mut self, name: &AtText) -> Result<(), Failure> {
        let answer = self.conversation.insist(Command::line(format!("AT+QFDEL=\"{name}\"")))?;
        match answer.outcome {
            Some(CommandOutcome::Ok) => Ok(()),
            _ => {
                let message = format!("the modem did not remove {name}: {}", refusal(&answer));
                Err(Failure::new(Kind::Failed, message))
            }
        }
    }

    /// Removes files of this program that are not among `kept`, and returns their names.
    fn prune(&mut self, kept: &[String]) -> Result<Vec<AtText>, Failure> {
        let mut removed = Vec::new();
        for stored in self.list()?.files {
            if stored.ours && !kept.contains(&stored.name) {
                let name = file_name(&stored.name)?;
                self.remove(&name)?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// The files that SSL contexts of the modem name now, whichever program has configured them.
    fn used_in_modem(&mut self) -> Result<Vec<Used>, Failure> {
        let mut used = Vec::new();
        let mut has_clients = false;
        let mut questions = vec![("AT+QSSLCFG=\"cacertex\"".to_owned(), "cacertex".to_owned())];
        for context in SslContextId::all() {
            for key in ["cacert", "clientcert"] {
                let by = format!("{key} of SSL context {context}");
                questions.push((format!("AT+QSSLCFG=\"{key}\",{context}"), by));
            }
        }
        for (question, by) in questions {
            for line in self.say(&question)?.lines {
                let Some(name) = TlsSetting::of(&line).and_then(|setting| setting.file()) else { continue };
                has_clients |= !name.is_empty() && question.contains("clientcert");
                used.push(Used { name: name.to_owned(), by: by.clone() });
            }
        }
        if has_clients {
            // The setting of the key is not queried: the answer could contain the key's password.
            let keys = self.list()?.files.into_iter().filter(|stored| stored.name.ends_with(".key"));
            let by = "perhaps clientkey of an SSL context";
            used.extend(keys.map(|stored| Used { name: stored.name, by: by.to_owned() }));
        }
        Ok(used)
    }

    /// Checks every stored certificate.
    fn judge(&mut self, unix_seconds: i64) -> Result<Vec<Judgement>, Failure> {
        let mut judgements = Vec::new();
        for stored in self.list()?.files {
            let is_certificate =
                [".pem", ".crt", ".cer"].iter().any(|end| stored.name.to_ascii_lowercase().ends_with(end));
            if !is_certificate {
                continue;
            }
            let content = self.get(&file_name(&stored.name)?)?;
            match Certificate::all(&content) {
                Ok(certificates) => judgements.extend(
                    certificates.iter().map(|one| Judgement::of_certificate(&stored.name, one, unix_seconds)),
                ),
                // A key may be called .pem as well.
                Err(TrustError::Other { found, .. }) if found.ends_with("PRIVATE KEY") => {}
                Err(error) => judgements.push(Judgement::bad(&stored.name, error.to_string())),
            }
        }
        Ok(judgements)
    }
}

impl Listing {
    /// Determines the owners of each file.
    fn find_owners(&mut self, known: &[StoredFile], used: &[Used]) {
        for file in &mut self.files {
            let tunnels = known.iter().filter(|known| known.name == file.name);
            file.used_by.extend(tunnels.map(|known| format!("tunnel {}: {}", known.tunnel, known.source)));
            if file.used_by.is_empty() {
                let settings = used.iter().filter(|used| used.name == file.name);
                file.used_by.extend(settings.map(|used| used.by.clone()));
            }
            file.used_by.dedup();
        }
    }

    fn show(&self, out: &mut dyn Write, as_json: bool) -> io::Result<()> {
        if as_json {
            return writeln!(out, "{}", indented_json(self)?);
        }
        if self.files.is_empty() {
            writeln!(out, "there is no file in the modem")?;
        }
        for Stored { name, bytes, ours, used_by } in &self.files {
            let mut whose = used_by.clone();
            if !ours {
                whose.insert(0, "not of this program".to_owned());
            } else if whose.is_empty() {
                whose.push("of no known tunnel".to_owned());
            }
            writeln!(out, "{}", printable(&format!("{bytes:>8}  {name}  ({})", whose.join("; "))))?;
        }
        match (self.free_bytes, self.total_bytes) {
            (Some(free), Some(total)) => writeln!(out, "{free:>8}  bytes free of {total}"),
            _ => Ok(()),
        }
    }
}

/// What the host can determine about a certificate or a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Judgement {
    file: String,
    ok: bool,
    /// What it is, and what is wrong.
    seen: String,
    /// The end of a certificate's validity.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl Judgement {
    fn good(file: &str, seen: impl Into<String>) -> Self {
        Judgement { file: file.to_owned(), ok: true, seen: seen.into(), expires: None }
    }

    fn bad(file: &str, seen: impl Into<String>) -> Self {
        Judgement { ok: false, ..Judgement::good(file, seen) }
    }

    fn of_certificate(file: &str, certificate: &Certificate, unix_seconds: i64) -> Self {
        let kind = if certificate.is_authority { "authority" } else { "no authority" };
        let who = format!("{}, {kind}", certificate.name());
        let judgement = match certificate.validity(unix_seconds) {
            Validity::Valid => {
                Judgement::good(file, format!("{who}, valid until {}", certificate.last_day()))
            }
            Validity::EndsSoon(days) => {
                let days = counted(days, "day");
                let seen = format!("{who}, expires in {days}, on {}", certificate.last_day());
                Judgement::good(file, seen)
            }
            Validity::NotYet => {
                Judgement::bad(file, format!("{who}, not valid before {}", certificate.first_day()))
            }
            Validity::Expired => {
                Judgement::bad(file, format!("{who}, expired on {}", certificate.last_day()))
            }
        };
        Judgement { expires: Some(certificate.last_day()), ..judgement }
    }
}

fn show(out: &mut dyn Write, judgements: &[Judgement], as_json: bool) -> io::Result<ExitStatus> {
    if as_json {
        writeln!(out, "{}", indented_json(judgements)?)?;
    } else {
        let unicode = terminal::takes_unicode();
        if judgements.is_empty() {
            writeln!(out, "there is no certificate in the modem")?;
        }
        for Judgement { file, ok, seen, .. } in judgements {
            let line = format!("{} {file}: {seen}", if *ok { '✓' } else { '✗' });
            writeln!(out, "{}", terminal::shown(&printable(&line), unicode))?;
        }
    }
    let all_well = judgements.iter().all(|judgement| judgement.ok);
    Ok(if all_well { ExitStatus::Done } else { ExitStatus::Failed })
}

/// Checks a file on the host, and whether the key belongs to it.
fn judge_file(path: &Path, key: Option<&Path>, unix_seconds: i64) -> anyhow::Result<Vec<Judgement>> {
    let name = path.display().to_string();
    let text = read(path)?;
    let certificates = Certificate::all(&text);
    let mut judgements: Vec<Judgement> = match (&certificates, PrivateKey::read(&text)) {
        (Ok(all), _) => all.iter().map(|one| Judgement::of_certificate(&name, one, unix_seconds)).collect(),
        (Err(_), Ok(key)) => vec![Judgement::good(
            &name,
            if key.is_encrypted { "a private key, encrypted" } else { "a private key, not encrypted" },
        )],
        (Err(error), Err(_)) => vec![Judgement::bad(&name, error.to_string())],
    };
    if let Some(path) = key {
        let name = path.display().to_string();
        let own = certificates.ok().and_then(|all| all.into_iter().next());
        judgements.push(match (PrivateKey::read(&read(path)?), own) {
            (Err(error), _) => Judgement::bad(&name, error.to_string()),
            (Ok(_), None) => Judgement::bad(&name, "there is no certificate that it could belong to"),
            (Ok(key), Some(own)) => match key.belongs_to(&own) {
                Some(true) => Judgement::good(&name, format!("belongs to {}", own.name())),
                Some(false) => Judgement::bad(&name, format!("does not belong to {}", own.name())),
                None => {
                    Judgement::good(&name, "a private key; whether it belongs there cannot be determined")
                }
            },
        });
    }
    Ok(judgements)
}

/// One or several certificates, or a key, as stored in the modem. Prints warnings on standard error.
fn file_to_put(path: &Path, unix_seconds: i64) -> anyhow::Result<File> {
    let text = read(path)?;
    let source = path.display().to_string();
    match (Certificate::all(&text), PrivateKey::read(&text)) {
        (Ok(certificates), _) => {
            for certificate in &certificates {
                let Judgement { ok, seen, .. } =
                    Judgement::of_certificate(&source, certificate, unix_seconds);
                let soon = matches!(certificate.validity(unix_seconds), Validity::EndsSoon(_));
                if !ok || soon {
                    eprintln!("qssl-tunnel: {}", printable(&format!("{source}: {seen}")));
                }
            }
            let pems: Vec<Pem> = certificates.iter().map(|one| one.to_pem(source.clone())).collect();
            Ok(File::of("pem", pems.iter(), ""))
        }
        (Err(_), Ok(key)) => {
            let pem = Pem { source, bytes: key.pem.into_bytes() };
            Ok(File::of("key", std::iter::once(&pem), ""))
        }
        (Err(error), Err(_)) => Err(Failure::new(Kind::Usage, format!("{source}: {error}")).into()),
    }
}

/// The files of all known tunnels: those of the daemon that is used, and those of a configuration.
fn known_files(
    conversation: &mut Conversation,
    args: &CertArgs,
    environment: &Environment,
) -> anyhow::Result<Vec<StoredFile>> {
    let mut known = conversation.stored_files()?;
    for file in StoredFile::of_tunnels(&configured_tunnels(args.config.as_deref(), environment)?) {
        if !known.contains(&file) {
            known.push(file);
        }
    }
    Ok(known)
}

/// The tunnels of a configuration file; none if no file is named and the default one does not exist.
fn configured_tunnels(path: Option<&Path>, environment: &Environment) -> anyhow::Result<Vec<Tunnel>> {
    if path.is_none() && !Path::new(config::DEFAULT_PATH).exists() {
        return Ok(Vec::new());
    }
    let args = RunArgs {
        config: path.map(Path::to_owned),
        check: false,
        modem: Default::default(),
        process: Default::default(),
        logging: Default::default(),
    };
    Ok(config::from_run(&args, environment)?.configuration.tunnels)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    config::secret::read_limited(path, LARGEST_FILE_BYTES as u64)
        .map_err(|reason| Failure::new(Kind::Usage, format!("{}: {reason}", path.display())))
}

/// A name that may be used in an AT command, with or without its storage.
fn file_name(text: &str) -> Result<AtText, Failure> {
    AtText::new(without_storage(text))
        .map_err(|error| Failure::new(Kind::Usage, format!("{text:?}: {error}")))
}

fn refusal(answer: &UserAnswer) -> String {
    match &answer.outcome {
        Some(CommandOutcome::Refused(refusal)) => refusal.to_string(),
        Some(_) => "unexpected answer".to_owned(),
        None => "it did not answer".to_owned(),
    }
}

/// Far above any certificate, and far below this machine's memory.
pub(crate) const LARGEST_FILE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = "tests/config_files/certificates";
    /// 2100-01-01.
    const IN_2100: i64 = 4_102_444_800;

    fn judged(file: &str, key: Option<&str>) -> Vec<(bool, String)> {
        let path = |name: &str| Path::new(DIRECTORY).join(name);
        let judgements = judge_file(&path(file), key.map(path).as_deref(), IN_2100).expect("it can be read");
        judgements.into_iter().map(|judgement| (judgement.ok, judgement.seen)).collect()
    }

    #[test]
    fn a_certificate_is_judged_by_kind_and_dates() {
        assert_eq!(
            judged("root.pem", None),
            [(true, "Example Root CA, authority, valid until 2120-01-01".into())]
        );
        assert_eq!(
            judged("old.pem", None),
            [(false, "Class 2 Authority, authority, expired on 2010-01-01".into())]
        );
        let (ok, seen) = judged("root.der", None).remove(0);
        assert!(!ok && seen.starts_with("DER, not PEM"), "{seen}");
    }

    #[test]
    fn a_key_is_told_from_another() {
        let of_key = |key| judged("client-ec.pem", Some(key)).remove(1);
        assert_eq!(of_key("key-ec-pkcs8.pem"), (true, "belongs to client two".into()));
        assert_eq!(of_key("key-rsa-pkcs8.pem"), (false, "does not belong to client two".into()));
        assert!(!of_key("root.pem").0);
        assert_eq!(judged("key-ec-encrypted.pem", None), [(true, "a private key, encrypted".into())]);
    }

    #[test]
    fn a_file_is_stored_under_the_name_that_tunnels_use() {
        let path = Path::new(DIRECTORY).join("root.pem");
        let put = file_to_put(&path, IN_2100).expect("a certificate");
        let pem = Pem { source: "ca".into(), bytes: std::fs::read(&path).expect("it exists") };
        let authority = config::Authentication::Authorities(vec![pem]);
        let used = ssl_context::files(&config::Tls::new(authority), ssl_context::CaStorage::Bundle, "");
        assert_eq!(put.name, used[0].name);
        let key = file_to_put(&Path::new(DIRECTORY).join("key-ec-sec1.pem"), IN_2100).expect("a key");
        assert!(ssl_context::is_ours(key.name.as_str()) && key.name.as_str().ends_with(".key"));
    }
}
