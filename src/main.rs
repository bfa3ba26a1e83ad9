//! Arguments → command → exit status, nothing else.

use std::io::{self, Write as _};
use std::process::ExitCode;

use qssl_core::modem::Failure;
use qssl_tunnel::daemon::activation;
use qssl_tunnel::daemon::exit_status::{self, ExitStatus};
use qssl_tunnel::terminal::{in_full, printable};
use qssl_tunnel::{cli, commands, config};
use signal_hook::consts::SIGPIPE;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let status = ExitStatus::Usage;
            tell(&format!("{} [{status}]", printable(&cli::with_variable(cli::one_line(&error)))));
            return exit_status::code(status);
        }
        Err(help_or_version) => {
            // Nothing can be done where standard output is closed.
            let _ = help_or_version.print();
            return exit_status::code(ExitStatus::Done);
        }
    };
    let status = match commands::run(cli.command) {
        Ok(status) => status,
        // The reader of our output has ended: exit as quietly as any program that SIGPIPE ends.
        Err(error) if is_broken_pipe(&error) => ExitStatus::Signal(SIGPIPE as u8),
        Err(error) => {
            let is_usage = error.downcast_ref::<config::ConfigError>().is_some();
            match error.downcast_ref::<Failure>() {
                // Its text contains the status already.
                Some(failure) => {
                    tell(&printable(&in_full(&error)));
                    failure.kind
                }
                None => {
                    let status = if is_usage { ExitStatus::Usage } else { ExitStatus::Failed };
                    let mut text = in_full(&error);
                    if is_usage {
                        text = cli::with_variable(text);
                    }
                    tell(&format!("{} [{status}]", printable(&text)));
                    status
                }
            }
        }
    };
    if !matches!(status, ExitStatus::Done | ExitStatus::DrainTimeout | ExitStatus::Signal(_)) {
        activation::turn_clients_away();
    }
    exit_status::code(status)
}

/// Tells why it ends. Where standard error is gone, as after a terminal was closed, the exit status still tells.
fn tell(why: &str) {
    let _ = writeln!(io::stderr(), "qssl-tunnel: {why}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<io::Error>();
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
