//! `qssl-tunnel survey`: measures what the tunnel assumes about a module, and writes it to a module file.
//!
//! The code is sequential, over a [`Conversation`], as in `doctor`. Payload, and what must be seen byte by byte, goes over
//! the port itself while the core rests (`wire`). What it changes for a measurement, it puts back.

// An edge: it measures how long answers take.
#![allow(clippy::disallowed_methods)]

mod comparison;
mod files;
mod habits;
mod keys;
mod line;
mod module_file;
mod payload;
mod ranges;
mod server;
mod transcript;
mod verification;
mod wire;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cli::SurveyArgs;
use crate::commands::modem_access::{Access, Conversation};
use crate::commands::start_logging;
use crate::config::{self, Environment};
use crate::daemon::exit_status::ExitStatus;
use crate::terminal::printable;
use comparison::Comparison;
use files::LISTING;
use module_file::{ModuleFile, lines, masked, text};
use qssl_core::Kind;
use qssl_core::at::answers::{
    Answer as _, Clock, ListedFile, SocketState, SocketStatus, Storage, TlsSetting,
};
use qssl_core::at::{Command, CommandSet, PdpContextId, SslContextId};
use qssl_core::modem::{CommandOutcome, Failure, Profile, QUESTIONS, UserAnswer, deactivation};
use qssl_core::settings::Scheme;
use ranges::groups;
use transcript::Transcript;
use verification::OldClock;
use wire::Wire;

/// Measures the module and writes the file.
///
/// # Errors
/// The options are wrong, the modem does not answer or has no TLS of its own, or the file cannot be written.
pub fn run(args: &SurveyArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    let checked = config::from_modem(&args.modem, &args.logging, environment)?;
    start_logging(checked.verbosity);
    if let Some(server) = &args.to
        && server.scheme != Scheme::Tls
    {
        return Err(Failure::new(Kind::Usage, "survey: the server is HOST:PORT, with TLS").into());
    }
    let authority = args
        .ca
        .as_ref()
        .map(|path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display())));
    let authority = authority.transpose()?;
    let output = Output::new(&args.output)?;
    let access = Access::new(args.control.as_deref(), &args.modem).of_modem(&args.which);
    let conversation = Conversation::open(&checked.configuration, &access)?;
    if args.to.is_some() && conversation.is_shared() {
        let message = "survey HOST:PORT needs the modem for itself: stop the daemon, or leave HOST:PORT out";
        return Err(Failure::new(Kind::Usage, message).into());
    }
    let mut all = STEPS;
    if args.to.is_some() {
        all += STEPS_WITH_SERVER + usize::from(args.ca.is_some());
    }
    let mut survey = Survey {
        conversation,
        pdp: checked.configuration.modem().settings.pdp.context,
        budget: args.budget.map_or(USUAL_BUDGET_BYTES, |budget| budget.bytes),
        spent: 0,
        profile: Profile::unknown(),
        manual: Profile::unknown(),
        module: ModuleFile::default(),
        comparison: Comparison::default(),
        answers: Vec::new(),
        transcript: Transcript::default(),
        wire: Wire::default(),
        authority,
        directory: None,
        spare: None,
        settings: Vec::new(),
        undo: Vec::new(),
        line_before: Vec::new(),
        refused: Vec::new(),
        stopped: None,
        reboots: 0,
        has_rebooted: false,
        progress: Progress { done: 0, all },
    };
    survey.transcript.server =
        args.to.as_ref().map(|server| (server.target.host.to_string(), server.target.port));
    let measured = survey.measure();
    // Without its server the file has everything else.
    let connected = match (&measured, &args.to) {
        (Ok(()), Some(server)) => survey.server(&server.target),
        _ => Ok(()),
    };
    // A reboot has put the line back, unless the core speaks to the modem after it.
    let is_put_back = survey.has_rebooted && survey.undo.is_empty();
    survey.put_back();
    if !is_put_back {
        survey.put_line_back();
    }
    let connected = connected.and(survey.stopped.take().map_or(Ok(()), Err));
    survey.progress.end();
    let is_cut_off = matches!(&connected, Err(Failure { kind: Kind::Signal(_), .. }));
    let outcome = survey.with_refused(measured.clone().and(connected));
    if measured.is_err() || is_cut_off {
        // That is when it is needed most.
        let kept = match output.keep_transcript(&mut survey.transcript)? {
            Some(path) => format!(", and the dialogue is in {}", path.display()),
            None => String::new(),
        };
        let unwritten = |Failure { kind, message }| {
            Failure::new(kind, format!("{message}; no module file was written{kept}"))
        };
        return Ok(outcome.map(|()| ExitStatus::Done).map_err(unwritten)?);
    }
    survey.compare_habits();
    output.write_module(&survey.module)?;
    let transcript = output.keep_transcript(&mut survey.transcript)?;
    output.tell(&survey, transcript)?;
    Ok(outcome.map(|()| ExitStatus::Done)?)
}

/// Where the module file and the dialogue go.
enum Output {
    /// The dialogue goes beside it.
    File { module: PathBuf, transcript: PathBuf },
    /// `-`: the module file goes to standard output, and the table to standard error.
    Standard,
}

impl Output {
    /// # Errors
    /// A file cannot be written, or what is there is not a survey's.
    fn new(path: &Path) -> anyhow::Result<Output> {
        if path == Path::new("-") {
            return Ok(Output::Standard);
        }
        // Beside the module file: report.txt for report.toml.
        let mut transcript = path.with_extension("txt");
        if transcript == path {
            transcript = path.with_extension("dialogue.txt");
        }
        for path in [path, &transcript] {
            check_writable(path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        // The user has not named this one.
        let there = std::fs::read(&transcript).unwrap_or_default();
        if !there.is_empty() && !Transcript::is_one(&there) {
            let message = format!(
                "survey: the dialogue would replace {}, which is not a survey's: name another -o FILE",
                transcript.display()
            );
            return Err(Failure::new(Kind::Usage, message).into());
        }
        Ok(Output::File { module: path.to_owned(), transcript })
    }

    fn write_module(&self, module: &ModuleFile) -> anyhow::Result<()> {
        match self {
            Output::File { module: path, .. } => std::fs::write(path, module.to_toml())
                .with_context(|| format!("cannot write {}", path.display())),
            Output::Standard => Ok(io::stdout().write_all(module.to_toml().as_bytes())?),
        }
    }

    /// Writes the dialogue, if there is one and a place for it. Returns that place.
    fn keep_transcript(&self, dialogue: &mut Transcript) -> anyhow::Result<Option<&Path>> {
        let Output::File { transcript, .. } = self else { return Ok(None) };
        if dialogue.is_empty() {
            return Ok(None);
        }
        std::fs::write(transcript, dialogue.text())
            .with_context(|| format!("cannot write {}", transcript.display()))?;
        Ok(Some(transcript))
    }

    /// Prints the table, what was left out, and where the files are.
    fn tell(&self, survey: &Survey, transcript: Option<&Path>) -> io::Result<()> {
        let mut out: Box<dyn io::Write> = match self {
            Output::File { .. } => Box::new(io::stdout().lock()),
            Output::Standard => Box::new(io::stderr().lock()),
        };
        survey.comparison.show(&mut out)?;
        for remark in survey.module.remarks.iter().filter(|remark| remark.contains("left out")) {
            writeln!(out, "{remark}")?;
        }
        if let (Output::File { module, .. }, Some(transcript)) = (self, transcript) {
            let values = survey.module.count();
            let name = printable(&survey.module.name);
            let (module, transcript) = (module.display(), transcript.display());
            writeln!(out, "{values} values of {name} are in {module}, the dialogue in {transcript}")?;
        }
        Ok(())
    }
}

/// Whether the file can be written. It is not changed, and none is left where there was none.
fn check_writable(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).open(path) {
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::OpenOptions::new().append(true).open(path).map(|_| ())
        }
        Err(error) => Err(error),
    }
}

/// The measurement.
struct Survey {
    conversation: Conversation,
    /// The data session for connections.
    pdp: PdpContextId,
    /// How many bytes connections may cost, and how many they have cost at most.
    budget: u64,
    spent: u64,
    /// What a tunnel has learnt from the same answers.
    profile: Profile,
    /// The same of its identity alone: what the manual of its family says.
    manual: Profile,
    module: ModuleFile,
    comparison: Comparison,
    /// The answers to test commands, by their names.
    answers: Vec<(&'static str, Vec<String>)>,
    transcript: Transcript,
    /// The port, without the core.
    wire: Wire,
    /// `--ca`
    authority: Option<Vec<u8>>,
    /// Where the module takes files; `None`: nowhere.
    directory: Option<&'static str>,
    /// An SSL context that no socket has, for settings.
    spare: Option<SslContextId>,
    /// What that context must have at each open: some modules forget it when the last connection has ended.
    settings: Vec<Setting>,
    /// What restores what was changed; the last comes first.
    undo: Vec<Undo>,
    /// What restores the settings of the line that every command of this program changes.
    line_before: Vec<String>,
    /// What could not be put back.
    refused: Vec<String>,
    /// A signal that came while something was put back, which goes on. The next command fails with it.
    stopped: Option<Failure>,
    /// How often the modem has rebooted, as the core counts it.
    reboots: u64,
    /// It rebooted during the survey: it has lost most of what was changed.
    has_rebooted: bool,
    progress: Progress,
}

/// What puts a change back.
enum Undo {
    Command(Command),
    /// The clock, which goes on meanwhile.
    Clock(OldClock),
}

impl From<Command> for Undo {
    fn from(command: Command) -> Self {
        Undo::Command(command)
    }
}

/// A TLS setting that is wanted for a while.
#[derive(Clone)]
struct Setting {
    key: &'static str,
    wanted: String,
    /// As the module showed it.
    before: String,
}

/// Shows which step is under way, if standard error is a terminal.
struct Progress {
    done: usize,
    all: usize,
}

impl Progress {
    fn step(&mut self, what: &str) {
        self.done += 1;
        if io::stderr().is_terminal() {
            let (full, empty) = ("#".repeat(self.done), ".".repeat(self.all.saturating_sub(self.done)));
            // The survey goes on even if the terminal cannot be written.
            let _ = write!(io::stderr(), "\r\x1b[K[{full}{empty}] {what}");
        }
    }

    fn end(&self) {
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Survey {
    fn measure(&mut self) -> Result<(), Failure> {
        self.progress.step("identity");
        self.ask_line()?;
        self.conversation.wait_until_ready()?;
        self.reboots = self.conversation.reboots();
        self.identity()?;
        self.progress.step("what the module lists");
        self.tests()?;
        self.progress.step("limits");
        self.limits()?;
        self.find_spare()?;
        self.progress.step("TLS settings");
        self.keys()?;
        self.progress.step("clock and multiplexer");
        self.clock()?;
        self.multiplexer()?;
        self.progress.step("latencies");
        self.latencies()?;
        self.progress.step("files");
        self.files()?;
        self.progress.step("habits");
        self.habits()?;
        self.progress.step("line");
        self.line()?;
        Ok(())
    }

    /// Sends a command, even if a daemon would refuse it: it is a question, or a change that is put back.
    fn insist(&mut self, command: Command) -> Result<UserAnswer, Failure> {
        if let Some(stopped) = self.stopped.take() {
            return Err(stopped);
        }
        let begin = Instant::now();
        let answer = self.conversation.insist(command.clone())?;
        self.transcript.add(&command, &answer, begin.elapsed());
        let reboots = self.conversation.reboots();
        if reboots > self.reboots {
            self.reboots = reboots;
            self.has_rebooted = true;
            return Err(rebooted());
        }
        Ok(answer)
    }

    fn say(&mut self, text: impl Into<String>) -> Result<UserAnswer, Failure> {
        self.insist(Command::line(text))
    }

    fn identity(&mut self) -> Result<(), Failure> {
        self.profile = self.conversation.identify()?;
        if let Some(seen) = self.profile.other_commands() {
            return Err(Failure::new(Kind::SetUpFailed, seen));
        }
        self.manual = self.profile.clone();
        let version = env!("CARGO_PKG_VERSION");
        let way = match self.conversation.is_shared() {
            true => "through a daemon",
            false => "directly",
        };
        self.transcript.begin(&masked(&self.profile.name), way);
        self.module.remarks.push(format!("Measured by qssl-tunnel survey {version}, {way}."));
        if self.conversation.is_shared() {
            self.left_out(
                "Beside a daemon, what needs the port or a socket was left out: the line byte by byte, the multiplexer, \
                 and habits of sockets.",
            );
        }
        for (key, command, name) in IDENTITY {
            let answer = self.say(command)?;
            // Some answer with the name of the command, and some with a word that has a blank in it.
            let line = answer.lines.iter().map(|line| line.trim()).find(|line| !line.is_empty());
            let line = line.map(|line| line.strip_prefix(name).unwrap_or(line).trim());
            let Some(line) = line.filter(|_| is_ok(&answer)) else { continue };
            if key == "manufacturer" || !line.contains(' ') {
                self.module.add("identity", key, text(&masked(line)), command);
            }
        }
        let product = self.say("ATI")?;
        if is_ok(&product) && !product.lines.is_empty() {
            self.module.add("identity", "lines", lines(&product.lines), "ATI");
        }
        let model = if self.profile.model.is_empty() { "unknown" } else { &self.profile.model };
        self.module.name = masked(model);
        Ok(())
    }

    /// Every test command that matters to a tunnel, line by line as the module answers it.
    fn tests(&mut self) -> Result<(), Failure> {
        let free = self.storage("UFS")?.map(|room| room.free_bytes.to_string());
        let mut refused = Vec::new();
        for name in TESTS {
            let question = format!("AT+{name}=?");
            let answer = self.say(&question)?;
            let is_key_question = QUESTIONS.iter().any(|it| question.ends_with(it));
            if !is_ok(&answer) {
                refused.push(question.clone());
                if name == "QSSLCFG" {
                    let seen = format!("{} has no TLS of its own: {question} is refused", self.profile.name);
                    return Err(Failure::new(Kind::SetUpFailed, seen));
                }
                continue;
            }
            if is_key_question {
                self.profile.learn_keys(&answer.lines);
            }
            // The room that is left is no habit of the module.
            let has_room = name == "QFUPL"
                && free.as_ref().is_some_and(|free| answer.lines.iter().any(|line| line.contains(free)));
            if !has_room {
                self.module.add("answers", &question, lines(&answer.lines), &question);
            }
            self.learn_limits(name, &answer.lines);
            self.answers.push((name, answer.lines));
        }
        if !refused.is_empty() {
            self.module.remarks.push(format!("Refused: {}.", refused.join(", ")));
        }
        Ok(())
    }

    /// What the answer to a test command says about limits.
    fn learn_limits(&mut self, name: &str, answer: &[String]) {
        let Some(groups) = answer.first().map(|line| groups(line)) else { return };
        let question = format!("AT+{name}=?");
        let greatest = |index: usize| groups.get(index).map(|group| group.greatest());
        match name {
            "QSSLOPEN" if groups.len() >= 3 => {
                self.add_limit("pdp_contexts", greatest(0), 1..=24, &question);
                self.add_limit(
                    "ssl_contexts",
                    greatest(1).and_then(|last| last.checked_add(1)),
                    1..=6,
                    &question,
                );
                self.add_limit(
                    "sockets",
                    greatest(2).and_then(|last| last.checked_add(1)),
                    1..=12,
                    &question,
                );
                if let Some(modes) = groups.get(3) {
                    let names: Vec<String> = ["buffer", "push", "transparent"]
                        .iter()
                        .zip(0..)
                        .filter(|(_, number)| modes.contains(*number))
                        .map(|(mode, _)| text(mode))
                        .collect();
                    if !names.is_empty() {
                        self.module.add("limits", "modes", format!("[{}]", names.join(", ")), &question);
                    }
                    if names.len() < 3 {
                        self.comparison.add(
                            "modes",
                            "buffer, push, transparent",
                            "--mode sets it",
                            names.join(" "),
                            true,
                        );
                    }
                }
            }
            "QSSLSEND" => self.add_limit("send_bytes", greatest(1), 1..=1_460, &question),
            "QSSLRECV" => self.add_limit("read_bytes", greatest(1), 1..=16_384, &question),
            "CMUX" => {
                self.module.add("cmux", "answer", text(answer[0].trim_end()), &question);
                if let Some(longest) = greatest(3).filter(|longest| (31..=32_768).contains(longest)) {
                    self.module.add("cmux", "longest", longest.to_string(), &question);
                }
            }
            _ => {}
        }
    }

    fn add_limit(
        &mut self,
        key: &str,
        value: Option<u32>,
        range: std::ops::RangeInclusive<u32>,
        question: &str,
    ) {
        let Some(value) = value.filter(|value| range.contains(value)) else { return };
        self.module.add("limits", key, value.to_string(), question);
        let manual = match key {
            "sockets" => "12",
            "ssl_contexts" => "6",
            "send_bytes" => "1460",
            "read_bytes" => "1500",
            _ if self.manual.pdp_contexts.contains(16) => "16",
            _ => "15",
        };
        if manual != value.to_string() {
            self.comparison.add(key, manual, format!("asks {question}"), value.to_string(), true);
        }
    }

    fn storage(&mut self, name: &str) -> Result<Option<Storage>, Failure> {
        let answer = self.say(format!("AT+QFLDS=\"{name}\""))?;
        Ok(Storage::first(&answer.lines).filter(|_| is_ok(&answer)))
    }

    /// Limits that are not in the answer to a test command.
    fn limits(&mut self) -> Result<(), Failure> {
        if let Some(Storage { free_bytes, total_bytes: Some(total) }) = self.storage("UFS")?
            && total <= LARGEST_STORAGE_BYTES
        {
            let question = "AT+QFLDS=\"UFS\"";
            self.module.add("limits", "storage_bytes", total.to_string(), question);
            let listed = self.say(LISTING)?;
            let bytes = ListedFile::all(&listed.lines).map(|file| file.bytes);
            let files = bytes.fold(0, u64::saturating_add);
            let occupied = total.saturating_sub(free_bytes).saturating_sub(files);
            let question = "AT+QFLDS=\"UFS\" without the files that AT+QFLST lists";
            self.module.add("limits", "storage_occupied_bytes", occupied.to_string(), question);
        }
        if let Some(Storage { total_bytes: Some(total), .. }) = self.storage("RAM")?
            && total <= LARGEST_STORAGE_BYTES
        {
            self.module.add("limits", "ram_storage_bytes", total.to_string(), "AT+QFLDS=\"RAM\"");
        }
        Ok(())
    }

    /// Looks for an SSL context that no socket has. Beside a daemon it must also have the usual settings.
    fn find_spare(&mut self) -> Result<(), Failure> {
        let states = self.say("AT+QSSLSTATE")?;
        let used: Vec<_> = SocketStatus::all(&states.lines)
            .filter(|socket| socket.state != SocketState::Free)
            .filter_map(|socket| socket.ssl)
            .collect();
        let contexts = SslContextId::all().rev().filter(|id| !used.contains(id));
        for context in
            contexts.filter(|id| self.profile.ssl_contexts.contains(id.index() as u32)).collect::<Vec<_>>()
        {
            if !self.conversation.is_shared() || self.is_untouched(context)? {
                self.spare = Some(context);
                return Ok(());
            }
        }
        self.left_out("Defaults of TLS settings were left out: no SSL context is unused.");
        Ok(())
    }

    fn is_untouched(&mut self, context: SslContextId) -> Result<bool, Failure> {
        for (key, usual) in [("seclevel", "0"), ("cacert", ""), ("negotiatetime", "300")] {
            let value = self.setting(key, context)?.map(|value| value.trim_matches('"').to_owned());
            if value.as_deref() != Some(usual) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The value of a TLS setting as the module writes it.
    fn setting(&mut self, key: &str, context: SslContextId) -> Result<Option<String>, Failure> {
        let answer = self.say(format!("AT+QSSLCFG=\"{key}\",{context}"))?;
        let value = TlsSetting::first(&answer.lines).and_then(|setting| setting.value.map(str::to_owned));
        Ok(value.filter(|_| is_ok(&answer)))
    }

    /// Sets a TLS setting to a value as the module writes it. Some write numbers in quotes, and take them only without.
    fn setting_command(key: &str, context: SslContextId, value: &str) -> Command {
        let is_path = ["cacert", "clientcert", "clientkey"].contains(&key);
        let value = if is_path { value } else { value.trim().trim_matches('"') };
        Command::line(format!("AT+QSSLCFG=\"{key}\",{context},{value}"))
    }

    /// Wants this value of a TLS setting at each open, until it is put back. A key that the module does not have is left
    /// out.
    fn want(&mut self, context: SslContextId, key: &'static str, wanted: &str) -> Result<(), Failure> {
        let Some(before) = self.setting(key, context)? else { return Ok(()) };
        if before.trim_matches('"') != wanted.trim_matches('"') {
            self.undo.push(Self::setting_command(key, context, &before).into());
        }
        self.settings.retain(|setting| setting.key != key);
        self.settings.push(Setting { key, wanted: wanted.to_owned(), before });
        Ok(())
    }

    /// Writes the settings that are wanted. Returns whether the module has taken all.
    fn renew_settings(&mut self, context: SslContextId) -> Result<bool, Failure> {
        let mut are_taken = true;
        for Setting { key, wanted, .. } in self.settings.clone() {
            are_taken &= is_ok(&self.insist(Self::setting_command(key, context, &wanted))?);
        }
        Ok(are_taken)
    }

    fn clock(&mut self) -> Result<(), Failure> {
        let answer = self.say("AT+CCLK?")?;
        let year = answer.lines.iter().find_map(|line| {
            let (_, time) = line.strip_prefix("+CCLK:")?.split_once('"')?;
            Some(time.split_once('/')?.0.len())
        });
        let form = match year {
            Some(2) => "yy/MM/dd,hh:mm:ss±zz",
            Some(4) => "yyyy/MM/dd,hh:mm:ss±zz",
            _ => return Ok(()),
        };
        self.module.add("clock", "format", text(form), "AT+CCLK?");
        if year == Some(4) {
            let copes = Clock::first(&answer.lines).is_some();
            self.comparison.add("clock.format", "two digits of the year", "takes both", "four digits", copes);
        }
        Ok(())
    }

    /// What holds in a multiplexer unless the host says otherwise. A daemon's channels have settings of their own.
    fn multiplexer(&mut self) -> Result<(), Failure> {
        if self.conversation.is_shared() || !self.module.has("cmux", "answer") {
            return Ok(());
        }
        let answer = self.say("AT+CMUX?")?;
        let numbers = answer.lines.iter().find_map(|line| {
            let numbers = line.strip_prefix("+CMUX:")?.split(',').map(|number| number.trim().parse::<u32>());
            numbers.collect::<Result<Vec<_>, _>>().ok()
        });
        if let Some([_, numbers @ ..]) = numbers.as_deref()
            && numbers.len() == CMUX_RANGES.len()
            && numbers.iter().zip(&CMUX_RANGES).all(|(number, range)| range.contains(number))
            && is_ok(&answer)
        {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            self.module.add("cmux", "defaults", format!("[{}]", numbers.join(", ")), "AT+CMUX?");
        }
        Ok(())
    }

    /// How long the module takes for AT, and for a setting.
    fn latencies(&mut self) -> Result<(), Failure> {
        let times = self.times("AT")?;
        let Some(Times { median, spread }) = times else { return Ok(()) };
        self.module.add_latency("command", &milliseconds(median), &milliseconds(spread), "AT");
        let port = printable(&self.conversation.name()).into_owned();
        let includes = match self.conversation.is_shared() {
            true => "the daemon's turn and its line".to_owned(),
            // Other names may have an address, a user, or the number of a device in them.
            false if port.starts_with("/dev/tty") => format!("the line ({port}) and this program"),
            false => "the line and this program".to_owned(),
        };
        let mut remark = format!("latencies.command includes {includes}");
        if let Some(context) = self.spare
            && let Some(value) = self.setting("seclevel", context)?
            && let Some(times) =
                self.times(&Self::setting_command("seclevel", context, &value).to_string())?
        {
            remark.push_str(&format!(
                "; a TLS setting took {}, and the slowest {} more",
                milliseconds(times.median),
                milliseconds(times.spread)
            ));
        }
        self.module.remarks.push(remark + ".");
        Ok(())
    }

    /// How long the answers to this command take; `None`: it is not answered with OK.
    fn times(&mut self, command: &str) -> Result<Option<Times>, Failure> {
        let mut times = Vec::with_capacity(TIMED);
        for _ in 0..TIMED {
            let begin = Instant::now();
            let answer = self.say(command)?;
            if !is_ok(&answer) {
                return Ok(None);
            }
            times.push(begin.elapsed());
        }
        Ok(Times::of(times))
    }

    /// The answer to a test command; `None`: it was refused.
    fn answer_to(&self, name: &str) -> Option<&[String]> {
        self.answers.iter().find(|(known, _)| *known == name).map(|(_, lines)| lines.as_slice())
    }

    /// The outcome, and what could not be put back.
    fn with_refused(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        if self.refused.is_empty() {
            return outcome;
        }
        let refused = format!(
            "could not be put back: {}; a reboot of the modem (AT+CFUN=1,1) clears TLS settings and closes sockets",
            self.refused.join(", ")
        );
        Err(match outcome {
            Ok(()) => Failure::new(Kind::Failed, refused),
            Err(Failure { kind, message }) => Failure::new(kind, format!("{message}; {refused}")),
        })
    }

    /// Closes a connection. Some modules refuse to close a socket that is free, so a refusal is only told if the socket is
    /// still open.
    fn close(&mut self, command: &Command) -> Result<UserAnswer, Failure> {
        let Command::Close { set, socket, .. } = *command else { return self.insist(command.clone()) };
        let states = match set {
            CommandSet::Ssl => "AT+QSSLSTATE",
            CommandSet::Ip => "AT+QISTATE",
        };
        let mut answer = self.insist(command.clone())?;
        for _ in 1..CLOSES {
            if is_ok(&answer) {
                return Ok(answer);
            }
            let listed = self.say(states)?;
            let is_open = |it: SocketStatus<'_>| it.id == socket && it.state != SocketState::Free;
            if is_ok(&listed) && !SocketStatus::all(&listed.lines).any(is_open) {
                return Ok(answer);
            }
            self.conversation.pause(CLOSE_PAUSE)?;
            answer = self.insist(command.clone())?;
        }
        if !is_ok(&answer) {
            let shown = command.to_string();
            let open = format!("socket {socket} is still open ({shown} is refused)");
            if !self.refused.contains(&open) {
                self.refused.push(open);
            }
        }
        Ok(answer)
    }

    /// Sends what undoes a change, again while its answer is lost. It may have been carried out, and then a module may refuse
    /// to do it again.
    fn undo_by(&mut self, command: &Command) -> Result<UserAnswer, Failure> {
        let mut answer = self.close(command)?;
        for _ in 1..UNDO_TRIES {
            if answer.outcome.is_some() {
                break;
            }
            answer = self.close(command)?;
            if is_refused(&answer) && self.is_undone(command)? {
                answer.outcome = Some(CommandOutcome::Ok);
            }
        }
        Ok(answer)
    }

    /// Whether a file is removed, or the data session has ended.
    fn is_undone(&mut self, command: &Command) -> Result<bool, Failure> {
        if *command == deactivation(self.pdp) {
            return Ok(!self.has_session()?);
        }
        let command = command.to_string();
        let Some(name) = command.strip_prefix("AT+QFDEL=") else { return Ok(false) };
        let listed = self.say(LISTING)?;
        let is_there = ListedFile::all(&listed.lines).any(|file| file.name == name.trim_matches('"'));
        Ok(is_ok(&listed) && !is_there)
    }

    /// Undoes every change, the last first.
    fn put_back(&mut self) {
        self.put_back_from(0);
    }

    /// Undoes the changes from this one on.
    fn put_back_from(&mut self, first: usize) {
        let mut stopped = self.stopped.take();
        while self.undo.len() > first
            && let Some(undo) = self.undo.pop()
        {
            let command = match undo {
                Undo::Command(command) => command,
                Undo::Clock(clock) => clock.now(),
            };
            let shown = command.to_string();
            let is_close = matches!(command, Command::Close { .. });
            let mut outcome = self.undo_by(&command);
            // The second signal is the user's last word.
            if let Err(failure @ Failure { kind: Kind::Signal(_), .. }) = &outcome
                && stopped.is_none()
            {
                stopped = Some(failure.clone());
                outcome = self.undo_by(&command);
            }
            match outcome {
                Ok(answer) if is_ok(&answer) || is_close => {}
                // The reboot has put it back.
                _ if self.has_rebooted => {}
                Ok(answer) => {
                    let why = answer.outcome.map_or("no answer".to_owned(), |outcome| outcome.to_string());
                    self.refused.push(format!("{shown} ({why})"));
                }
                Err(failure) if failure.kind == Kind::PortUnavailable => {
                    let changes = qssl_core::counted(self.undo.len() - first + 1, "change");
                    self.refused.push(format!("{changes}, the last {shown} ({failure})"));
                    self.undo.truncate(first);
                }
                Err(failure) => self.refused.push(format!("{shown} ({failure})")),
            }
        }
        self.stopped = stopped;
    }
}

fn rebooted() -> Failure {
    Failure::new(Kind::ModemLost, "the modem rebooted during the survey: what follows was left out")
}

/// What was measured of a latency.
#[derive(Clone, Copy)]
struct Times {
    median: Duration,
    /// p99 less p50
    spread: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Option<Times> {
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        // Rounded up, so that the slowest of a few counts.
        let at = |percent: usize| times[(last * percent).div_ceil(100)];
        Some(Times { median: at(50), spread: at(99) - at(50) })
    }
}

fn is_ok(answer: &UserAnswer) -> bool {
    answer.outcome == Some(CommandOutcome::Ok)
}

fn is_refused(answer: &UserAnswer) -> bool {
    matches!(answer.outcome, Some(CommandOutcome::Refused(_)))
}

/// A time with a tenth of a millisecond.
fn milliseconds(time: Duration) -> String {
    format!("{:.1}ms", time.as_secs_f64() * 1_000.0)
}

/// Key of the module file, command, and what some modules write before the answer.
const IDENTITY: [(&str, &str, &str); 3] = [
    ("manufacturer", "AT+CGMI", "+CGMI:"),
    ("model", "AT+CGMM", "+CGMM:"),
    ("revision", "AT+CGMR", "+CGMR:"),
];

/// Commands whose test form is asked. AT+COPS is none of them: it searches for networks.
const TESTS: [&str; 42] = [
    "QSSLCFG",
    "QSSLOPEN",
    "QSSLSEND",
    "QSSLRECV",
    "QSSLCLOSE",
    "QSSLSTATE",
    "QISWTMD",
    "QIOPEN",
    "QISEND",
    "QIRD",
    "QICLOSE",
    "QISTATE",
    "QISDE",
    "QICSGP",
    "QIACT",
    "QIDEACT",
    "QIDNSCFG",
    "QNTP",
    "QURCCFG",
    "QICFG",
    "QCFG",
    "CMUX",
    "IPR",
    "IFC",
    "CMEE",
    "QFUPL",
    "QFDWL",
    "QFDEL",
    "QFLST",
    "QFLDS",
    "CCLK",
    "CTZU",
    "CPIN",
    "QPINC",
    "CFUN",
    "CSQ",
    "CREG",
    "CGREG",
    "CEREG",
    "CNMI",
    "QSCLK",
    "CGDCONT",
];

/// How often a close is sent until it is accepted, and how long after the last refusal.
const CLOSES: usize = 3;
const CLOSE_PAUSE: Duration = Duration::from_millis(500);

/// How often what puts a change back is sent until it is answered.
const UNDO_TRIES: usize = 3;

/// How often a command is sent to measure its latency.
const TIMED: usize = 40;

/// What the schema takes as the numbers of AT+CMUX? after the mode.
const CMUX_RANGES: [std::ops::RangeInclusive<u32>; 8] =
    [0..=2, 1..=8, 1..=32_768, 1..=255, 0..=100, 2..=255, 1..=255, 1..=7];

/// What the schema takes as a size of storage.
const LARGEST_STORAGE_BYTES: u64 = 1 << 30;

/// The default of `--budget`.
const USUAL_BUDGET_BYTES: u64 = 1_000_000;

/// How many steps the progress has, and how many more with a server. Verification is one more.
const STEPS: usize = 9;
const STEPS_WITH_SERVER: usize = 5;
