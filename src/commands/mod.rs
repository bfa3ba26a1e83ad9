//! The subcommands of `qssl-tunnel`, with a file for each.

mod at;
mod cert;
mod connect;
#[cfg(feature = "emulator")]
mod demo;
mod doctor;
pub mod modem_access;
mod status;
mod survey;
mod tunnel;
mod watch;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::Command;
use crate::config::{Environment, Verbosity};
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::logging;

/// Runs the subcommand of the command line.
///
/// # Errors
/// The command cannot be done. The error contains its exit status, unless it is a plain failure.
pub fn run(command: Command) -> anyhow::Result<ExitStatus> {
    let environment = read_environment();
    match command {
        Command::Listen(args) => tunnel::listen(&args, &environment),
        Command::Connect(args) => tunnel::connect(&args, &environment),
        Command::Run(args) => tunnel::run(*args, &environment),
        Command::Status(args) => status::run(&args, &environment),
        Command::At(args) => at::run(&args, &environment),
        Command::Cert(args) => cert::run(&args, &environment),
        Command::Doctor(args) => doctor::run(&args, &environment),
        Command::Survey(args) => survey::run(&args, &environment),
        #[cfg(feature = "emulator")]
        Command::Demo(args) => demo::run(&args, &environment),
        #[cfg(not(feature = "emulator"))]
        Command::Demo(_) => {
            let message =
                "demo is not in this build: cargo build --release --features emulator makes one that has it";
            Err(qssl_core::modem::Failure::new(ExitStatus::Usage, message).into())
        }
    }
}

/// What the checks of a configuration need to know about the host.
#[allow(clippy::disallowed_methods)] // Certificates are judged by the clock at the start.
fn read_environment() -> Environment {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Environment {
        unix_seconds: i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX),
        ssl_cert_file: std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
    }
}

/// Starts logging with warnings only: the output is the answer, and other messages are logged on request.
fn start_logging(verbosity: Verbosity) {
    logging::start(if verbosity == Verbosity::Normal { Verbosity::Quiet } else { verbosity });
}

/// How long a daemon may take to reply: it may query the modem first.
const REPLY_LIMIT: Duration = Duration::from_secs(15);
