//! `qssl-tunnel status`: the status of a running daemon, or of the modem itself if none runs.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::modem_access::{Access, Conversation};
use super::{REPLY_LIMIT, start_logging, watch};
use crate::cli::StatusArgs;
use crate::config::{self, Environment};
use crate::daemon::control::{Client, Reply, Request};
use crate::daemon::data_usage;
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::status::{self, Status};
use crate::terminal;
use qssl_core::Kind;
use qssl_core::at::Command;
use qssl_core::modem::{Failure, Profile};
use qssl_core::radio::{self, Facts};

/// Shows the status of the daemon and its modem.
///
/// # Errors
/// The options are wrong, or neither a daemon nor a modem answers.
#[allow(clippy::disallowed_methods, reason = "an edge: it lets time pass between two looks, and measures it")]
pub fn run(args: &StatusArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    let checked = config::from_modem(&args.modem, &args.logging, environment)?;
    start_logging(checked.verbosity);
    let access = Access::new(args.control.as_deref(), &args.modem);
    let Some((mut client, path)) = access.daemon()? else {
        let needs_daemon = args.watch || args.exit_code || args.kill.is_some();
        if args.dump_recorder.is_some() || args.record_payload.is_some() || needs_daemon {
            let message = "no daemon is running; --kill, --watch, --exit-code and --dump-recorder need one";
            return Err(Failure::new(Kind::Failed, message).into());
        }
        let mut conversation = Conversation::open(&checked.configuration, &access)?;
        show(args, &of_modem(&mut conversation)?, None)?;
        return Ok(ExitStatus::Done);
    };
    if args.dump_recorder.is_some() || args.record_payload.is_some() {
        capture(&mut client, args.dump_recorder.as_deref(), args.record_payload)?;
        return Ok(ExitStatus::Done);
    }
    if let Some(number) = args.kill {
        return match client.ask(&Request::Kill { client: number }, REPLY_LIMIT)? {
            Reply::Done => Ok(ExitStatus::Done),
            other => anyhow::bail!("unexpected reply from the daemon: {other:?}"),
        };
    }
    let is_table = !args.json && !args.prometheus;
    if args.watch && is_table && io::stdout().is_terminal() && terminal::can_erase() {
        return watch::run(client, &path);
    }
    let mut before: Option<(Status, Instant)> = None;
    loop {
        let status = asked(&mut client)?;
        let now = Instant::now();
        let since = before.as_ref().map(|(status, at)| (status, now.saturating_duration_since(*at)));
        show(args, &status, since)?;
        if args.exit_code && status.state != "up" {
            let session = status.modem.session.as_deref().unwrap_or("nothing is known of the modem");
            let message = format!("clients are not served: {}: {session}", status.state);
            return Err(Failure::new(Kind::Failed, message).into());
        }
        if !args.watch {
            return Ok(ExitStatus::Done);
        }
        before = Some((status, now));
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// The daemon's status.
pub fn asked(client: &mut Client) -> anyhow::Result<Status> {
    match client.ask(&Request::Status, REPLY_LIMIT)? {
        Reply::Status { status } => Ok(*status),
        other => anyhow::bail!("unexpected reply from the daemon: {other:?}"),
    }
}

fn show(args: &StatusArgs, status: &Status, before: Option<(&Status, Duration)>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.watch && out.is_terminal() && terminal::can_erase() {
        // Clears the screen and goes to its top.
        out.write_all(b"\x1b[2J\x1b[H")?;
    }
    let text = match (args.json, args.prometheus) {
        (true, _) => status.json() + "\n",
        (_, true) => status::metrics(status, status::Format::Text),
        _ => terminal::shown(&status::table(status, before), terminal::takes_unicode()),
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Fetches the flight recorder. Further ports are written to files with `.1`, `.2` and so on after the name.
fn capture(client: &mut Client, file: Option<&Path>, payload: Option<bool>) -> anyhow::Result<()> {
    let ports = match client.ask(&Request::Transcript { payload }, REPLY_LIMIT)? {
        Reply::Transcript { ports } => ports,
        other => anyhow::bail!("unexpected reply from the daemon: {other:?}"),
    };
    let Some(file) = file else { return Ok(()) };
    for (index, port) in ports.iter().enumerate() {
        let mut name = file.as_os_str().to_owned();
        if index > 0 {
            name.push(format!(".{index}"));
        }
        data_usage::private(Path::new(&name))
            .and_then(|mut file| file.write_all(port.text.as_bytes()))
            .with_context(|| format!("cannot write {}", Path::new(&name).display()))?;
    }
    Ok(())
}

/// What a modem reports about itself when no daemon uses its port.
fn of_modem(conversation: &mut Conversation) -> Result<Status, Failure> {
    let mut status = Status {
        state: status::NO_DAEMON.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..Status::default()
    };
    let mut profile = Profile::unknown();
    profile.learn_identity(&conversation.ask(Command::line("ATI"))?.lines);
    let mut facts = Facts::default();
    for question in radio::network_questions() {
        facts.learn(&conversation.ask(question)?.lines, false);
    }
    status.modem = status::Modem {
        module: Some(profile.name),
        heard_seconds_ago: Some(0.0),
        oldest_seconds_ago: Some(0.0),
        ..status::Modem::of(&facts)
    };
    status.ports.push(status::Port {
        name: conversation.name(),
        state: "command".into(),
        ..status::Port::default()
    });
    Ok(status)
}

const WATCH_INTERVAL: Duration = Duration::from_secs(2);
