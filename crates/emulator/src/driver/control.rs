//! The socket of `--control`: a thread for each client takes an action, has the loop carry it out, and replies.

use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::Handle;
use crate::control::Action;

/// The socket, which is removed with it.
pub(super) struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket, for this user alone, and serves it on a thread. One that nobody serves any more is replaced.
    pub(super) fn serve(path: &Path, modem: Handle) -> anyhow::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                bail!("{} exists and is no socket", path.display())
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                bail!("{} is the socket of another emulated modem that runs", path.display())
            }
            Ok(_) => std::fs::remove_file(path)
                .with_context(|| format!("cannot replace the socket {}", path.display()))?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)
            .and_then(|listener| {
                std::fs::set_permissions(path, Permissions::from_mode(0o600)).map(|()| listener)
            })
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        let socket = ControlSocket { path: path.to_owned() };
        let run = move || {
            let clients = Arc::new(());
            for stream in listener.incoming().filter_map(Result::ok) {
                // Each has a thread, so a client that breaks off, or says nothing, harms only itself.
                let (modem, client) = (modem.clone(), Arc::clone(&clients));
                if Arc::strong_count(&clients) > CLIENTS_MAX {
                    continue;
                }
                let serve = move || {
                    let _ = serve_one(&stream, &modem);
                    drop(client);
                };
                let _ = std::thread::Builder::new().name("control client".into()).spawn(serve);
            }
        };
        std::thread::Builder::new().name("control".into()).spawn(run).context("no thread for --control")?;
        Ok(socket)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Failing leaves a socket that nobody serves, which the next start replaces.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve_one(stream: &UnixStream, modem: &Handle) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(stream).take(REQUEST_LIMIT_BYTES).read_until(b'\n', &mut line)?;
    let reply = match serde_json::from_slice::<Action>(&line) {
        Ok(action) => {
            let outcome = modem.with_driver(move |driver, now| driver.control(&action, now));
            outcome.unwrap_or_else(|| Err("the emulated modem has ended".into()))
        }
        Err(error) => Err(format!("not an action: {error}")),
    };
    let mut text = serde_json::to_string(&reply).map_err(io::Error::other)?;
    text.push('\n');
    let mut stream = stream;
    stream.write_all(text.as_bytes())
}

/// Has the modem of this socket do something, and returns what it says to that.
///
/// # Errors
/// No emulated modem has this socket, or it refuses.
pub fn ask(path: &Path, action: &Action) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(path)
        .with_context(|| format!("no emulated modem answers at {} (--control)", path.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(action)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut reply = String::new();
    stream.take(REPLY_LIMIT_BYTES).read_to_string(&mut reply)?;
    let reply: Result<String, String> =
        serde_json::from_str(&reply).context("the emulated modem ended before it replied")?;
    reply.map_err(anyhow::Error::msg)
}

/// How many clients are served at the same time, counted with the listener's own.
const CLIENTS_MAX: usize = 16;

/// How long a client or the modem may take for its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// A URC and its JSON.
const REQUEST_LIMIT_BYTES: u64 = 65_536;

/// The status of a modem.
const REPLY_LIMIT_BYTES: u64 = 1 << 20;
