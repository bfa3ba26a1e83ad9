//! The control socket: how other programs query and control a running daemon.
//!
//! It is a Unix stream socket. Every process that may open it may send requests; its permissions are its only
//! protection. Both sides send JSON, one object per line. A line to the daemon has at most
//! [`REQUEST_LIMIT_BYTES`]. Every request gets exactly one reply, in order. The next request of a connection is
//! read when the reply has been sent. Unknown fields are ignored; an unknown request gets an `error`. A connection
//! that sends no request for 10 s, or does not read its reply, is closed. Of the [`CONNECTIONS_MAX`] connections,
//! two are kept for the daemon's own user and root; other users get the reply `busy` when no other is free.
//!
//! ```text
//!  > {"request":"at","command":"AT+CSQ"}
//!  < {"reply":"answer","outcome":"ok","result":"OK","lines":["+CSQ: 28,99"]}
//!  > {"request":"at","command":"AT+CFUN=0"}
//!  < {"reply":"error","id":"refused","message":"AT+CFUN=0 would cut every connection; force it if you mean it"}
//! ```
//! [`Request`] and [`Reply`] are the whole protocol, with the names of the JSON. `server` is the daemon's side and
//! `client` the other side. `policy` decides which commands would break a tunnel.

mod client;
pub(crate) mod policy;
pub(crate) mod server;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use qssl_core::at::CommandOutcome;
use qssl_core::modem::DIRECTORIES;
use qssl_core::modem::ssl_context::{self, CaStorage, File};
use serde::{Deserialize, Serialize};

use crate::config::Tunnel;
use crate::daemon::exit_status;
use crate::daemon::status::Status;

pub use client::{Client, ControlError, caught};

/// A request to a daemon: `{"request":"NAME",…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", try_from = "wire::RequestFields")]
pub enum Request {
    /// How it is. Reply: `status`. The modem is asked for signal, operator and registration if that was last done
    /// more than a minute ago.
    Status,
    /// Which of several modems the further requests of this connection are for. Reply: `done`.
    Modem {
        /// Its name.
        name: String,
    },
    /// One AT command, between the tunnels' own. Reply: `answer`.
    At {
        /// The line: begins with `AT`, printable ASCII, at most [`COMMAND_LIMIT_BYTES`].
        command: String,
        /// Send it even if it would break tunnels; no if left out.
        force: bool,
        /// How long the modem may take, 1–600 s; 5 s if left out.
        timeout_seconds: Option<u16>,
    },
    /// The result of the last `AT+QIOPEN` or `AT+QSSLOPEN` that this connection has sent by `at`, when its URC
    /// comes. Reply: `opened`.
    AwaitOpen {
        /// How long to wait, 1–600 s.
        timeout_seconds: u16,
    },
    /// Stores a file in the modem. Reply: `answer` with the line `+QFUPL: <size>,<checksum>`.
    Upload {
        /// Its name there.
        name: String,
        /// Its bytes, two hexadecimal digits each; at most [`FILE_LIMIT_BYTES`].
        content: String,
    },
    /// Fetches a file from the modem. Reply: `answer` with `content`.
    Download {
        /// Its name there.
        name: String,
        /// Its size in bytes as AT+QFLST reports it, which is what frames it; at most [`FILE_LIMIT_BYTES`].
        size: usize,
    },
    /// Which files in the modem belong to which tunnel. Reply: `stored-files`.
    StoredFiles,
    /// Resets a client. Reply: `done`.
    Kill {
        /// Its number, as `status` shows it.
        client: u64,
    },
    /// The flight recorder. Reply: `transcript`.
    Transcript {
        /// From now on record what payload consists of (`true`), or only how much there is (`false`).
        payload: Option<bool>,
    },
}

/// What the daemon replies: `{"reply":"NAME",…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case", try_from = "wire::ReplyFields")]
pub enum Reply {
    /// To `status`.
    Status {
        /// How everything is.
        status: Box<Status>,
    },
    /// The modem's answer.
    Answer {
        /// How it ended: `outcome` is `ok` or `error`, and `result` is as the modem sent it, such as `OK` or
        /// `+CME ERROR: 10`.
        #[serde(flatten, serialize_with = "wire::outcome")]
        outcome: CommandOutcome,
        /// The information lines, in order.
        lines: Vec<String>,
        /// To `download`: the bytes, two hexadecimal digits each.
        #[serde(skip_serializing_if = "String::is_empty")]
        content: String,
    },
    /// To `await-open`.
    Opened {
        /// The connection's number in the modem.
        connection: u8,
        /// 0, or the modem's result code.
        code: u16,
    },
    /// To `stored-files`: what the tunnels of the configuration need, whether it is stored yet or not.
    StoredFiles {
        /// The files, tunnel by tunnel.
        files: Vec<StoredFile>,
    },
    /// To `transcript`: one text for each port, in the notation of tests/transcripts.
    Transcript {
        /// The ports in the order of the configuration.
        ports: Vec<PortTranscript>,
    },
    /// It was done, and there is nothing to report.
    Done,
    /// It was not done.
    Error {
        /// A stable short name, one of [`exit_status::REPLY_IDS`] or of [`exit_status::TABLE`].
        id: String,
        /// Who is to blame, what happened, and what to do.
        message: String,
    },
}

/// A file with certificates or a key of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name in the modem.
    pub name: String,
    /// The tunnel's name.
    pub tunnel: String,
    /// The file it was read from, or the host's trust store.
    pub source: String,
}

impl StoredFile {
    /// The files of these tunnels in the modem, under every name that they may have there.
    pub(crate) fn of_tunnels(tunnels: &[Tunnel]) -> Vec<StoredFile> {
        let mut files: Vec<StoredFile> = Vec::new();
        for tunnel in tunnels {
            let Some(tls) = tunnel.settings.tls() else { continue };
            let of_tunnel = DIRECTORIES.iter().flat_map(|directory| {
                [CaStorage::Bundle, CaStorage::Chain].map(|how| ssl_context::files(tls, how, directory))
            });
            for File { name, source, .. } in of_tunnel.flatten() {
                let file =
                    StoredFile { name: name.to_string(), tunnel: tunnel.settings.name.clone(), source };
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        files
    }
}

/// The recording of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTranscript {
    /// The port's name.
    pub port: String,
    /// The last lines, at most [`qssl_core::recorder::LIMIT_BYTES`].
    pub text: String,
}

impl Reply {
    /// A request that was not done.
    pub fn error(id: &str, message: impl Into<String>) -> Self {
        debug_assert!(exit_status::is_known(id), "{id} is in no table");
        Reply::Error { id: id.to_owned(), message: message.into() }
    }
}

/// The default paths of a control socket, without `--control`: a daemon makes the first one, and a client tries
/// them in order.
///
/// The directory is $RUNTIME_DIRECTORY, which systemd sets for a unit with `RuntimeDirectory=`. Without it, the
/// socket of root is in /run/qssl-tunnel, and that of other users in qssl-tunnel under $XDG_RUNTIME_DIR. Clients of
/// other users try root's as well.
pub fn usual_paths() -> Vec<PathBuf> {
    paths_for(rustix::process::geteuid().is_root(), runtime_directory(), directory("XDG_RUNTIME_DIR"))
}

/// The directory that systemd has made for this process.
pub fn runtime_directory() -> Option<PathBuf> {
    directory("RUNTIME_DIRECTORY")
}

fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn paths_for(is_root: bool, runtime: Option<PathBuf>, user: Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(runtime) = runtime {
        return vec![runtime.join("control")];
    }
    let own = user.filter(|_| !is_root).map(|user| user.join("qssl-tunnel/control"));
    own.into_iter().chain([PathBuf::from("/run/qssl-tunnel/control")]).collect()
}

/// Bytes as text, two hexadecimal digits per byte.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[digit as usize]))
        .collect()
}

/// The reverse of [`to_hex`]; `None` if the text has anything else in it.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// The longest request, line end included, in bytes.
pub const REQUEST_LIMIT_BYTES: usize = 2 * FILE_LIMIT_BYTES + 1024;

/// The longest AT command, in bytes.
pub const COMMAND_LIMIT_BYTES: usize = 512;

/// The largest file that is moved to or from the modem, in bytes; many modules have less storage.
pub const FILE_LIMIT_BYTES: usize = 256 * 1024;

/// The most control connections at once; further ones wait.
pub const CONNECTIONS_MAX: usize = 8;

/// How long a command of a control connection waits for its turn.
pub const TURN_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use qssl_core::at::Refusal;

    use super::*;

    #[test]
    fn requests_are_as_documented() {
        let parsed: Request = serde_json::from_str(r#"{"request":"at","command":"AT+CSQ","new":1}"#).unwrap();
        assert_eq!(parsed, Request::At { command: "AT+CSQ".into(), force: false, timeout_seconds: None });
        assert_eq!(serde_json::to_string(&Request::Status).unwrap(), r#"{"request":"status"}"#);
        for bad in [
            "",
            "{}",
            r#"{"request":"stat"}"#,
            r#"{"request":"at"}"#,
            "[1]",
            "{\"request\":\"at\",\"command\":1}",
        ] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn replies_are_as_documented() {
        let reply = Reply::Answer {
            outcome: CommandOutcome::Ok,
            lines: vec!["+CSQ: 28,99".into()],
            content: String::new(),
        };
        assert_eq!(
            serde_json::to_string(&reply).unwrap(),
            r#"{"reply":"answer","outcome":"ok","result":"OK","lines":["+CSQ: 28,99"]}"#
        );
        let refused: Reply = serde_json::from_str(
            r#"{"reply":"answer","outcome":"error","result":"+CMS ERROR: 500","lines":[]}"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&refused).unwrap(),
            r#"{"reply":"answer","outcome":"error","result":"+CME ERROR: 500","lines":[]}"#
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let requests = [
            Request::Status,
            Request::At { command: "AT".into(), force: true, timeout_seconds: Some(9) },
            Request::AwaitOpen { timeout_seconds: 1 },
            Request::Upload { name: "a".into(), content: "00".into() },
            Request::Download { name: "a".into(), size: 1 },
            Request::Kill { client: 7 },
            Request::Modem { name: "b".into() },
            Request::Transcript { payload: Some(true) },
        ];
        for request in requests {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
        }
        let replies = [
            Reply::Status { status: Box::default() },
            Reply::Answer {
                outcome: CommandOutcome::Refused(Refusal::Plain),
                lines: vec![],
                content: "00".into(),
            },
            Reply::Opened { connection: 11, code: 566 },
            Reply::Transcript { ports: vec![PortTranscript { port: "a".into(), text: "b".into() }] },
            Reply::Done,
            Reply::error("busy", "later"),
        ];
        for reply in replies {
            let text = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply, "{text}");
        }
    }

    #[test]
    fn bytes_survive_as_text() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&all)), Some(all));
        for bad in ["0", "0g", "é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_usual_place_depends_on_who_runs_the_daemon() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(paths_for(true, path("/run/other"), None), [Path::new("/run/other/control")]);
        assert_eq!(paths_for(true, None, path("/run/user/0")), [Path::new("/run/qssl-tunnel/control")]);
        assert_eq!(
            paths_for(false, None, path("/run/user/7")),
            [Path::new("/run/user/7/qssl-tunnel/control"), Path::new("/run/qssl-tunnel/control")]
        );
        assert_eq!(paths_for(false, None, None), [Path::new("/run/qssl-tunnel/control")]);
    }
}
