//! `qssl-tunnel listen`, `connect` and `run`: tunnels of this process, or of one that runs already.

use std::path::PathBuf;

use super::{connect, read_environment};
use crate::cli::{ConnectArgs, ListenArgs, RunArgs};
use crate::config::{self, Checked, Environment};
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::{control, logging};
use crate::event_loop::{self, DaemonOptions};

/// Serves the tunnel of the command line.
///
/// # Errors
/// The options are wrong, or the event loop cannot be set up.
pub fn listen(args: &ListenArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    serve(
        config::from_listen(args, environment)?,
        DaemonOptions { sandbox: true, ..DaemonOptions::default() },
    )
}

/// Connects standard input and output to the server, through the tunnel of a running daemon or directly through a
/// modem.
///
/// # Errors
/// The options are wrong, or the connection cannot be made or was cut.
pub fn connect(args: &ConnectArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    let checked = config::from_connect(args, environment)?;
    match connect::through_daemon(args, checked.verbosity)? {
        Some(status) => Ok(status),
        None => serve(checked, DaemonOptions { sandbox: true, ..DaemonOptions::default() }),
    }
}

/// Serves the tunnels of the configuration file, or only checks it.
///
/// # Errors
/// The options or the file are wrong, or the event loop cannot be set up.
pub fn run(args: RunArgs, environment: &Environment) -> anyhow::Result<ExitStatus> {
    let checked = config::from_run(&args, environment)?;
    if args.check {
        if !args.logging.quiet {
            print!("{}", checked.configuration.render());
        }
        return Ok(ExitStatus::Done);
    }
    // Only `run` has a file to reload, and default paths for its control socket and its state.
    let options = DaemonOptions {
        reload: Some(Box::new(move || config::from_run(&args, &read_environment()))),
        default_control_path: control::usual_paths().into_iter().next(),
        default_state_directory: std::env::var_os("STATE_DIRECTORY").map(PathBuf::from),
        runtime_directory: control::runtime_directory(),
        sandbox: true,
        files: checked.files.clone(),
    };
    serve(checked, options)
}

fn serve(checked: Checked, options: DaemonOptions) -> anyhow::Result<ExitStatus> {
    let Checked { configuration, verbosity, warnings, .. } = checked;
    logging::start(verbosity);
    for warning in warnings {
        log::warn!("{warning}");
    }
    let result = event_loop::run(configuration, options);
    log::logger().flush();
    result
}
