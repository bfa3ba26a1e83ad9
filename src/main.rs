//! Arguments → configuration → run → exit status, nothing else.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use qssl_core::modem::Failure;
use qssl_tunnel::activation;
use qssl_tunnel::cli::{self, Command};
use qssl_tunnel::config::{self, Checked, Surroundings};
use qssl_tunnel::control;
use qssl_tunnel::event_loop::{self, Life};
use qssl_tunnel::exit_status::{self, ExitStatus};
use qssl_tunnel::logging;
use qssl_tunnel::terminal::{in_full, printable};
use signal_hook::consts::SIGPIPE;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let status = ExitStatus::Usage;
            eprintln!("qssl-tunnel: {} [{status}]", printable(&cli::with_variable(cli::one_line(&error))));
            return exit_status::code(status);
        }
        Err(help_or_version) => {
            // Nothing can be done where standard output is closed.
            let _ = help_or_version.print();
            return exit_status::code(ExitStatus::Done);
        }
    };
    let status = match run(cli.command) {
        Ok(status) => status,
        // Whoever read what we print has had enough: as quiet as any program that SIGPIPE ends.
        Err(error) if is_broken_pipe(&error) => ExitStatus::Signal(SIGPIPE as u8),
        Err(error) => {
            let is_usage = error.downcast_ref::<config::ConfigError>().is_some();
            match error.downcast_ref::<Failure>() {
                // It tells its id itself.
                Some(failure) => {
                    eprintln!("qssl-tunnel: {}", printable(&in_full(&error)));
                    failure.status
                }
                None => {
                    let status = if is_usage { ExitStatus::Usage } else { ExitStatus::Failed };
                    let mut text = in_full(&error);
                    if is_usage {
                        text = cli::with_variable(text);
                    }
                    eprintln!("qssl-tunnel: {} [{status}]", printable(&text));
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<std::io::Error>();
    io_error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(command: Command) -> anyhow::Result<ExitStatus> {
    let surroundings = surroundings();
    let checked = match &command {
        Command::Listen(args) => config::from_listen(args, &surroundings)?,
        Command::Connect(args) => {
            let checked = config::from_connect(args, &surroundings)?;
            if let Some(status) = qssl_tunnel::inquiry::connect(args, checked.verbosity)? {
                return Ok(status);
            }
            checked
        }
        Command::Run(args) => config::from_run(args, &surroundings)?,
        Command::Status(args) => return qssl_tunnel::inquiry::status(args, &surroundings),
        Command::At(args) => return qssl_tunnel::inquiry::at(args, &surroundings),
        Command::Cert(args) => return qssl_tunnel::certificates::run(args, &surroundings),
        Command::Doctor(args) => return qssl_tunnel::doctor::run(args, &surroundings),
        #[cfg(feature = "emulator")]
        Command::Demo(args) => return qssl_tunnel::demo::run(args, &surroundings),
        #[cfg(not(feature = "emulator"))]
        Command::Demo(_) => {
            let message =
                "demo is not in this build: cargo build --release --features emulator makes one that has it";
            return Err(Failure::new(ExitStatus::Usage, message).into());
        }
    };
    let Checked { configuration, verbosity, warnings } = checked;
    if let Command::Run(args) = &command
        && args.check
    {
        if !args.logging.quiet {
            print!("{}", configuration.render());
        }
        return Ok(ExitStatus::Done);
    }
    logging::start(verbosity);
    for warning in warnings {
        log::warn!("{warning}");
    }
    let life = life(command);
    let result = event_loop::run_daemon(configuration, life);
    log::logger().flush();
    result
}

/// Only `run` has a file to read again, and a place of its own for its control socket and its state.
fn life(command: Command) -> Life {
    let Command::Run(args) = command else { return Life::default() };
    Life {
        reload: Some(Box::new(move || config::from_run(&args, &surroundings()))),
        default_control_path: control::usual_paths().into_iter().next(),
        default_state_directory: std::env::var_os("STATE_DIRECTORY").map(PathBuf::from),
    }
}

/// What the checks of a configuration need to know of the machine.
#[allow(clippy::disallowed_methods)] // Certificates are judged by the clock at the start.
fn surroundings() -> Surroundings {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Surroundings {
        unix_seconds: i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX),
        ssl_cert_file: std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
    }
}
