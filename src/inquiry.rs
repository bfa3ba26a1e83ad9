//! `qssl-tunnel status` and `qssl-tunnel at`: questions to a running daemon, or to the modem itself where none runs;
//! and `qssl-tunnel connect` where a daemon has a tunnel to the server.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cli::{AtArgs, ConnectArgs, StatusArgs, StreamOptions, TlsOptions};
use crate::config::{self, Control, Listen, Surroundings, Verbosity};
use crate::control::{Client, Reply, Request, guard};
use crate::conversation::{Access, Conversation};
use crate::exit_status::ExitStatus;
use crate::logging;
use crate::status::{self, Status};
use crate::terminal::{self, printable};
use crate::volume;
use qssl_core::at::{Command, Line};
use qssl_core::error::Kind;
use qssl_core::modem::{Failure, Outcome, Profile};

/// Says one command and shows its answer; the exit status tells `OK` from everything else.
///
/// # Errors
/// The options are wrong, or the modem or the daemon cannot be asked.
pub fn at(args: &AtArgs, around: &Surroundings) -> anyhow::Result<ExitStatus> {
    let checked = config::from_modem(&args.modem, &args.logging, around)?;
    start_logging(checked.verbosity);
    if let Err(why) = guard::check_line(&args.command) {
        return Err(Failure::new(Kind::Usage, format!("the command {why}")).into());
    }
    let access = Access::new(args.control.as_deref(), &args.modem);
    let mut conversation = Conversation::open(&checked.configuration, &access)?;
    let patience = match args.timeout {
        None => USUAL_TIMEOUT,
        // As everywhere: off.
        Some(Duration::ZERO) => LONGEST_TIMEOUT,
        Some(time) => time.clamp(Duration::from_secs(1), LONGEST_TIMEOUT),
    };
    let secret = guard::is_secret(&args.command);
    let command = Command::Line(Line { text: args.command.clone(), patience: Some(patience), secret });
    let answer = match args.force {
        true => conversation.insist(command)?,
        false => conversation.ask(command)?,
    };
    let mut out = io::stdout().lock();
    // A script gets what the modem says, a person what can be shown of it.
    let is_person = out.is_terminal();
    let shown = |line: &'_ str| if is_person { printable(line).into_owned() } else { line.to_owned() };
    for line in &answer.lines {
        writeln!(out, "{}", shown(line))?;
    }
    let Some(outcome) = answer.outcome else {
        return Err(Failure::new(Kind::ModemSilent, "the modem did not answer").into());
    };
    let (text, status) = match outcome {
        Outcome::Ok => ("OK".to_owned(), ExitStatus::Done),
        Outcome::SendOk => ("SEND OK".to_owned(), ExitStatus::Done),
        Outcome::Connect => ("CONNECT".to_owned(), ExitStatus::Done),
        Outcome::SendFail => ("SEND FAIL".to_owned(), ExitStatus::Failed),
        Outcome::NoCarrier => ("NO CARRIER".to_owned(), ExitStatus::Failed),
        Outcome::Refused(qssl_core::modem::Refusal::Plain) => ("ERROR".to_owned(), ExitStatus::Failed),
        Outcome::Refused(qssl_core::modem::Refusal::Cme(error)) => {
            (format!("+CME ERROR: {}", error.0), ExitStatus::Failed)
        }
    };
    writeln!(out, "{}", shown(&text))?;
    Ok(status)
}

/// Shows how the daemon and its modem are.
///
/// # Errors
/// The options are wrong, or nobody can be asked.
#[allow(clippy::disallowed_methods, reason = "an edge: it lets time pass between two looks, and measures it")]
pub fn status(args: &StatusArgs, around: &Surroundings) -> anyhow::Result<ExitStatus> {
    let checked = config::from_modem(&args.modem, &args.logging, around)?;
    start_logging(checked.verbosity);
    let access = Access::new(args.control.as_deref(), &args.modem);
    let Some((mut client, _)) = access.daemon()? else {
        if args.dump_recorder.is_some() || args.record_payload.is_some() || args.watch || args.kill.is_some()
        {
            let message =
                "no daemon runs here: it alone has connections, a flight recorder and something to watch";
            return Err(Failure::new(Kind::Failed, message).into());
        }
        let mut conversation = Conversation::open(&checked.configuration, &access)?;
        show(args, &of_modem(&mut conversation)?, None)?;
        return Ok(ExitStatus::Done);
    };
    if args.dump_recorder.is_some() || args.record_payload.is_some() {
        dump(&mut client, args.dump_recorder.as_deref(), args.record_payload)?;
        return Ok(ExitStatus::Done);
    }
    if let Some(number) = args.kill {
        return match client.ask(&Request::Kill { client: number }, REPLY_LIMIT)? {
            Reply::Done => Ok(ExitStatus::Done),
            other => anyhow::bail!("the daemon answered something else than was asked: {other:?}"),
        };
    }
    let mut before: Option<(Status, Instant)> = None;
    loop {
        let status = match client.ask(&Request::Status, REPLY_LIMIT)? {
            Reply::Status { status } => *status,
            other => anyhow::bail!("the daemon answered something else than was asked: {other:?}"),
        };
        let now = Instant::now();
        let since = before.as_ref().map(|(status, at)| (status, now.saturating_duration_since(*at)));
        show(args, &status, since)?;
        if !args.watch {
            return Ok(ExitStatus::Done);
        }
        before = Some((status, now));
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// What is shown is the answer; that a port was opened for it is told on request.
fn start_logging(verbosity: Verbosity) {
    logging::start(if verbosity == Verbosity::Normal { Verbosity::Quiet } else { verbosity });
}

/// Connects standard input and output through the tunnel of a running daemon, if there is one to this server and
/// nothing was said about modem, TLS or the connection that could differ from the tunnel's. `None`: there is none.
/// Of the daemon that `--control` names, which has the modem, there must be one.
///
/// # Errors
/// The daemon that was named has no such tunnel, its tunnel cannot be connected to, or standard output cannot be
/// written.
pub fn connect(args: &ConnectArgs, verbosity: Verbosity) -> anyhow::Result<Option<ExitStatus>> {
    let named = match &args.process.control {
        Some(Control::Off) => return Ok(None),
        Some(Control::At(Listen::Unix { path, .. })) => Some(path.as_path()),
        _ => None,
    };
    let has_settings = args.tls != TlsOptions::default() || args.stream != StreamOptions::default();
    if has_settings && named.is_none() {
        return Ok(None);
    }
    let access = Access::new(named, &args.modem);
    // Whoever may not ask the daemon finds the port locked, with the daemon's name; where none is, a control socket
    // can be made.
    let Ok(Some((mut client, path))) = access.daemon() else { return Ok(None) };
    let Reply::Status { status } = client.ask(&Request::Status, REPLY_LIMIT)? else { return Ok(None) };
    logging::start(verbosity);
    let target = args.to.to_string();
    // A Unix socket cannot tell a stream that was cut from one that has ended.
    let address =
        |tunnel: &status::Tunnel| tunnel.listen.iter().find_map(|listen| listen.parse::<SocketAddr>().ok());
    let of_target = status.tunnels.iter().filter(|tunnel| tunnel.target == target);
    let Some((tunnel, address)) = of_target.filter_map(|tunnel| Some((tunnel, address(tunnel)?))).next()
    else {
        let message = format!(
            "the daemon at {} has no tunnel to {target} that listens on TCP: add one to its configuration",
            path.display()
        );
        if named.is_some() {
            return Err(Failure::new(Kind::Failed, message).into());
        }
        log::info!("{message}; trying the modem without it");
        return Ok(None);
    };
    if has_settings {
        let message = format!(
            "the daemon's tunnel {} has settings of its own for TLS and connections: leave those options away",
            tunnel.name
        );
        return Err(Failure::new(Kind::Usage, message).into());
    }
    log::info!("through the tunnel {} of the running daemon, with its settings", tunnel.name);
    let stream =
        TcpStream::connect(address).with_context(|| format!("the daemon's tunnel {}", tunnel.name))?;
    carry(stream).map(Some)
}

/// Carries bytes both ways until the stream ends.
fn carry(mut stream: TcpStream) -> anyhow::Result<ExitStatus> {
    let mut up = stream.try_clone()?;
    std::thread::spawn(move || {
        // However this ends, the other direction tells.
        let _ = io::copy(&mut io::stdin().lock(), &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(ExitStatus::Done),
            Ok(count) => {
                out.write_all(&buffer[..count]).context("standard output")?;
                out.flush().context("standard output")?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let message = format!("the connection was cut ({error}); the daemon's log says why");
                return Err(Failure::new(Kind::StreamCut, message).into());
            }
        }
    }
}

fn show(args: &StatusArgs, status: &Status, before: Option<(&Status, Duration)>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.watch && out.is_terminal() {
        // Clears the screen and goes to its top.
        out.write_all(b"\x1b[2J\x1b[H")?;
    }
    let text = match (args.json, args.prometheus) {
        (true, _) => status.json() + "\n",
        (_, true) => status::metrics(status),
        _ => terminal::shown(&status::table(status, before), terminal::takes_unicode()),
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Fetches the flight recorder. Further ports go into files with `.1`, `.2` and so on behind the name.
fn dump(client: &mut Client, file: Option<&Path>, payload: Option<bool>) -> anyhow::Result<()> {
    let ports = match client.ask(&Request::Transcript { payload }, REPLY_LIMIT)? {
        Reply::Transcript { ports } => ports,
        other => anyhow::bail!("the daemon answered something else than was asked: {other:?}"),
    };
    let Some(file) = file else { return Ok(()) };
    for (index, port) in ports.iter().enumerate() {
        let mut name = file.as_os_str().to_owned();
        if index > 0 {
            name.push(format!(".{index}"));
        }
        volume::private(Path::new(&name))
            .and_then(|mut file| file.write_all(port.text.as_bytes()))
            .with_context(|| format!("cannot write {}", Path::new(&name).display()))?;
    }
    Ok(())
}

/// What a modem says about itself when no daemon has its port.
fn of_modem(conversation: &mut Conversation) -> Result<Status, Failure> {
    let mut status = Status {
        state: status::NO_DAEMON.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..Status::default()
    };
    let mut profile = Profile::unknown();
    profile.learn_identity(&conversation.ask(Command::line("ATI"))?.lines);
    status.modem.module = Some(profile.name);
    for question in status::NETWORK_QUESTIONS {
        status.modem.learn(&conversation.ask(Command::line(question))?.lines);
    }
    status.modem.heard_seconds_ago = Some(0.0);
    status.ports.push(status::Port {
        name: conversation.name(),
        state: "command".into(),
        ..status::Port::default()
    });
    Ok(status)
}

/// How long the daemon may take: it may ask the modem first.
const REPLY_LIMIT: Duration = Duration::from_secs(15);

const WATCH_INTERVAL: Duration = Duration::from_secs(2);

const USUAL_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
