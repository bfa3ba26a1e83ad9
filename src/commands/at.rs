//! `qssl-tunnel at`: sends one AT command to the modem, through a running daemon or directly.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use super::{
    modem_access::{Access, Conversation},
    start_logging,
};
use crate::cli::AtArgs;
use crate::config::{self, Environment};
use crate::daemon::control::policy;
use crate::daemon::exit_status::ExitStatus;
use crate::terminal::printable;
use qssl_core::Kind;
use qssl_core::at::{Command, Line};
use qssl_core::modem::Failure;

/// Sends one command and shows its answer; the exit status distinguishes `OK` from everything else.
///
/// # Errors
/// The options are wrong, or the modem or the daemon does not answer.
pub fn run(args: &AtArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    let checked = config::from_modem(&args.modem, &args.logging, environment)?;
    start_logging(checked.verbosity);
    if let Err(why) = policy::check_line(&args.command) {
        return Err(Failure::new(Kind::Usage, format!("the command {why}")).into());
    }
    if !args.force
        && let Some(message) = policy::refusal(&args.command)
    {
        return Err(Failure::new(Kind::Failed, message).into());
    }
    let access = Access::new(args.control.as_deref(), &args.modem).of_modem(&args.which);
    let mut conversation = Conversation::open(&checked.configuration, &access)?;
    let patience = patience(args.timeout);
    let secret = policy::is_secret(&args.command);
    let command = Command::Line(Line { text: args.command.clone(), patience: Some(patience), secret });
    let answer = match args.force {
        true => conversation.insist(command)?,
        false => conversation.ask(command)?,
    };
    let mut out = io::stdout().lock();
    // A script gets what the modem sent; on a terminal, only printable characters are shown.
    let is_person = out.is_terminal();
    let shown = |line: &'_ str| if is_person { printable(line).into_owned() } else { line.to_owned() };
    for line in &answer.lines {
        writeln!(out, "{}", shown(line))?;
    }
    let Some(outcome) = answer.outcome else {
        return Err(Failure::new(Kind::ModemSilent, "the modem did not answer").into());
    };
    writeln!(out, "{}", shown(&outcome.to_string()))?;
    Ok(if outcome.is_done() { ExitStatus::Done } else { ExitStatus::Failed })
}

/// How long the modem may take, according to `--timeout`.
fn patience(timeout: Option<Duration>) -> Duration {
    match timeout {
        None => USUAL_TIMEOUT,
        // As for every duration, 0 is off.
        Some(Duration::ZERO) => LONGEST_TIMEOUT,
        Some(time) => time.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT),
    }
}

const USUAL_TIMEOUT: Duration = Duration::from_secs(5);
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_zero_is_as_long_as_there_is() {
        let seconds = Duration::from_secs;
        for (given, taken) in [(None, 5), (Some(0), 600), (Some(30), 30), (Some(3600), 600)] {
            assert_eq!(patience(given.map(seconds)), seconds(taken), "{given:?}");
        }
        assert_eq!(patience(Some(Duration::from_millis(1))), seconds(1));
    }
}
