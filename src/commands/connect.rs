//! `qssl-tunnel connect` through the tunnel of a running daemon to the server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::Context as _;

use super::REPLY_LIMIT;
use super::modem_access::Access;
use crate::cli::{ConnectArgs, StreamOptions, TlsOptions};
use crate::config::{Control, Listen, Verbosity};
use crate::daemon::control::{Reply, Request};
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::{logging, status};
use qssl_core::Kind;
use qssl_core::modem::Failure;

/// Connects standard input and output through a running daemon's tunnel to this server, unless an option about
/// modem, TLS or the connection is given that could differ from the tunnel's. `None`: there is no such tunnel. A
/// daemon that `--control` names must have one, because it uses the modem.
///
/// # Errors
/// The named daemon has no such tunnel, its tunnel cannot be connected to, or standard output cannot be written.
pub fn through_daemon(args: &ConnectArgs, verbosity: Verbosity) -> anyhow::Result<Option<ExitStatus>> {
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
    // A user who may not use the control socket gets the error that the port is locked, with the daemon's name.
    let Ok(Some((mut client, path))) = access.daemon() else { return Ok(None) };
    let Reply::Status { status } = client.ask(&Request::Status, REPLY_LIMIT)? else { return Ok(None) };
    logging::start(verbosity);
    let target = args.to.to_string();
    // Not a Unix socket: it does not always distinguish a cut stream from one that has ended.
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
            "the daemon's tunnel {} has settings of its own for TLS and connections: leave out those options",
            tunnel.name
        );
        return Err(Failure::new(Kind::Usage, message).into());
    }
    log::info!("through the tunnel {} of the running daemon, with its settings", tunnel.name);
    let stream =
        TcpStream::connect(address).with_context(|| format!("the daemon's tunnel {}", tunnel.name))?;
    carry(stream).map(Some)
}

/// Moves bytes in both directions until the stream ends.
fn carry(mut stream: TcpStream) -> anyhow::Result<ExitStatus> {
    let mut up = stream.try_clone()?;
    std::thread::spawn(move || {
        // However this ends, the other direction shows the result.
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
                let message =
                    format!("the connection was cut ({error}); see the daemon's log for the reason");
                return Err(Failure::new(Kind::StreamCut, message).into());
            }
        }
    }
}
