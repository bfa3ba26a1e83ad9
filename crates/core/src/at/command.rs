//! The commands that we send to the modem: their bytes on the line, and how their answers end.

use std::io::Write;
use std::time::Duration;

use super::{AtText, CommandSet, PdpContextId, SocketId, SslContextId};

/// A command line. The ones of the data path are plain numbers, so that carrying bytes allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// AT+QSSLSEND=\<id>,\<len>, AT+QISEND: a prompt, then exactly `length` bytes (both manuals, 2.1.3 and 2.2.3).
    Send {
        /// The commands of its connection.
        set: CommandSet,
        /// The socket that the bytes go to.
        socket: SocketId,
        /// 1–[`super::CHUNK_MAX`].
        length: usize,
    },
    /// AT+QSSLRECV=\<id>,\<len>, AT+QIRD: `+QSSLRECV: <n>` and n bytes (2.1.4 and 2.2.4).
    Receive {
        /// The commands of its connection.
        set: CommandSet,
        /// The socket that is read.
        socket: SocketId,
        /// The most bytes wanted, 1–[`super::READ_MAX`].
        length: usize,
    },
    /// AT+QSSLOPEN (2.1.2 and 2.2.2), AT+QIOPEN.
    Open {
        /// The socket number to use.
        socket: SocketId,
        /// The data session that carries it.
        pdp: PdpContextId,
        /// What secures it.
        security: Security,
        /// Name or address of the server.
        host: AtText,
        /// Its port.
        port: u16,
        /// How bytes are carried.
        mode: AccessMode,
        /// How long the module may take in transparent mode, where the answer itself waits.
        patience: Duration,
    },
    /// AT+QSSLCLOSE=\<id>,\<timeout> (2.1.5 and 2.2.5), AT+QICLOSE.
    Close {
        /// The commands of its connection.
        set: CommandSet,
        /// The socket to close.
        socket: SocketId,
        /// 0–65535; 0 is at once, and what the module has not sent yet is dropped.
        timeout_seconds: Option<u16>,
    },
    /// AT+QSSLSTATE=\<id> (2.1.6 and 2.2.6), AT+QISTATE=1,\<id>.
    State {
        /// The commands of its connection.
        set: CommandSet,
        /// The socket asked about.
        socket: SocketId,
    },
    /// AT+QISEND=\<id>,0: how much of what was sent the server has acknowledged. Of TLS connections nothing tells it.
    SentCounts {
        /// The plain connection asked about.
        socket: SocketId,
    },
    /// AT+QISWTMD=\<id>,\<mode> (both manuals, 1.3).
    SwitchMode {
        /// The socket to switch.
        socket: SocketId,
        /// The mode to switch to.
        mode: AccessMode,
    },
    /// Any other line whose answer is some information lines and a result.
    Line(Line),
    /// AT+QFUPL: CONNECT, then the bytes, then `+QFUPL: <size>,<checksum>`.
    Upload {
        /// The name in the module's store.
        name: AtText,
        /// The file.
        content: Vec<u8>,
    },
    /// AT+QFDWL: CONNECT, the bytes, `+QFDWL: <size>,<checksum>`.
    Download {
        /// The name in the module's store.
        name: AtText,
        /// Its size as AT+QFLST reported it, which is what frames the bytes.
        size: usize,
    },
}

/// What secures a connection that is opened, and so by which commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS, with the settings of this SSL context.
    Tls(SslContextId),
    /// Nothing: plain TCP.
    Plain,
    /// Nothing: plain UDP.
    PlainDatagrams,
}

impl Security {
    /// The commands of such a connection.
    pub fn command_set(self) -> CommandSet {
        match self {
            Security::Tls(_) => CommandSet::Ssl,
            Security::Plain | Security::PlainDatagrams => CommandSet::Ip,
        }
    }
}

/// A command line given as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The line, without CR.
    pub text: String,
    /// How long the answer may take once the line has left; `None`: as long as usual.
    pub patience: Option<Duration>,
    /// Whether the text must stay out of logs.
    pub secret: bool,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.secret { f.write_str("Line(***)") } else { write!(f, "Line({:?})", self.text) }
    }
}

/// How a socket carries bytes (both manuals, 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// 0: received bytes wait in the module until AT+QSSLRECV fetches them.
    Buffer = 0,
    /// 1: received bytes come by themselves.
    Push = 1,
    /// 2: the port becomes the stream.
    Transparent = 2,
}

/// What comes between a command and its final result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// Information lines at most.
    Result,
    /// A prompt, upon which the payload is due; then `SEND OK` or `SEND FAIL`.
    Prompt,
    /// `CONNECT`, upon which the file is due.
    ConnectThenUpload,
    /// `CONNECT`, after which this many bytes come.
    ConnectThenDownload(usize),
    /// `CONNECT` is the final result: the port is in data mode.
    ConnectThenData,
}

impl Command {
    /// A line with the usual patience.
    pub fn line(text: impl Into<String>) -> Self {
        Command::Line(Line { text: text.into(), patience: None, secret: false })
    }

    /// A line whose answer may take `patience`.
    pub fn patient_line(text: impl Into<String>, patience: Duration) -> Self {
        Command::Line(Line { text: text.into(), patience: Some(patience), secret: false })
    }

    /// A line that must not be shown.
    pub fn secret_line(text: impl Into<String>) -> Self {
        Command::Line(Line { text: text.into(), patience: None, secret: true })
    }

    /// Appends the line to `out`, ended by CR alone: an LF after it would reach the modem after the command
    /// has begun and could become the first byte of a payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write!(out, "{}\r", Plain(self)).expect("a vector takes every write");
    }

    /// What comes between this command and its final result.
    pub(crate) fn expects(&self) -> Expects {
        match self {
            Command::Send { .. } => Expects::Prompt,
            Command::Upload { .. } => Expects::ConnectThenUpload,
            Command::Download { size, .. } => Expects::ConnectThenDownload(*size),
            Command::Open { mode: AccessMode::Transparent, .. } => Expects::ConnectThenData,
            _ => Expects::Result,
        }
    }

    /// How long to wait for the answer, or for its next part, from when the last byte has left the line.
    /// The manuals promise 300 ms for most; `usual` is what those may take (`--command-timeout`).
    pub fn patience(&self, usual: Duration) -> Duration {
        match self {
            Command::Line(line) => line.patience.unwrap_or(usual),
            Command::Close { timeout_seconds, .. } => {
                let seconds = timeout_seconds.unwrap_or(CLOSE_SECONDS_UNSAID);
                Duration::from_secs(seconds.into()) + usual
            }
            Command::Open { mode: AccessMode::Transparent, patience, .. } => *patience + usual,
            Command::Upload { .. } | Command::Download { .. } => {
                Duration::from_secs(UPLOAD_TIMEOUT_SECONDS) + usual
            }
            Command::SwitchMode { .. } => SWITCH_WAIT.max(usual),
            _ => usual,
        }
    }

    /// Whether it must not be lost to a module that sleeps: it could not be known whether it was carried out.
    pub(crate) fn must_arrive(&self) -> bool {
        match self {
            // A longer one cannot be filled up by what follows it before its prompt comes.
            Command::Send { length, .. } => *length <= SHORT_SEND_BYTES,
            Command::Receive { .. } | Command::Open { .. } | Command::SwitchMode { .. } => true,
            _ => false,
        }
    }

    /// How many bytes of payload follow its prompt.
    pub fn payload_length(&self) -> usize {
        match self {
            Command::Send { length, .. } => *length,
            Command::Upload { content, .. } => content.len(),
            _ => 0,
        }
    }

    /// The socket that this command is about.
    pub(crate) fn socket(&self) -> Option<SocketId> {
        match self {
            Command::Send { socket, .. }
            | Command::Receive { socket, .. }
            | Command::Open { socket, .. }
            | Command::Close { socket, .. }
            | Command::State { socket, .. }
            | Command::SentCounts { socket }
            | Command::SwitchMode { socket, .. } => Some(*socket),
            _ => None,
        }
    }

    /// The name that begins this command's information lines, such as `+QSSLRECV: `; empty where any line
    /// is part of the answer.
    pub(crate) fn answer_prefix(&self) -> &str {
        match self {
            Command::Send { set, .. } => set.names().send,
            Command::Receive { set, .. } => set.names().receive,
            Command::Open { security, .. } => security.command_set().names().open,
            Command::Close { set, .. } => set.names().close,
            Command::State { set, .. } => set.names().state,
            Command::SentCounts { .. } => "+QISEND",
            Command::SwitchMode { .. } => "+QISWTMD",
            Command::Upload { .. } => "+QFUPL",
            Command::Download { .. } => "+QFDWL",
            Command::Line(line) => {
                let name = line.text.strip_prefix("AT").unwrap_or("");
                let bare = BARE_ANSWERS.contains(&name) || name.contains(';');
                if name.starts_with('+') && !bare {
                    &name[..name.find(['=', '?', ';']).unwrap_or(name.len())]
                } else {
                    ""
                }
            }
        }
    }
}

/// What shows in logs: the command line itself, unless it is secret.
impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Command::Line(Line { secret: true, text, .. }) = self {
            return match text.find(['=', '?']) {
                Some(end) => write!(f, "{}=***", &text[..end]),
                None => f.write_str(text),
            };
        }
        Plain(self).fmt(f)
    }
}

/// The line as it is, secrets included, without CR.
struct Plain<'a>(&'a Command);

impl std::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Command::Send { set, socket, length } => write!(f, "AT{}={socket},{length}", set.names().send),
            Command::Receive { set, socket, length } => {
                write!(f, "AT{}={socket},{length}", set.names().receive)
            }
            Command::Open { socket, pdp, security: Security::Tls(ssl), host, port, mode, .. } => {
                write!(f, "AT+QSSLOPEN={pdp},{ssl},{socket},\"{host}\",{port},{}", *mode as u8)
            }
            // A local port of 0 is chosen by the module.
            Command::Open { socket, pdp, security, host, port, mode, .. } => {
                let service = if *security == Security::PlainDatagrams { "UDP" } else { "TCP" };
                write!(f, "AT+QIOPEN={pdp},{socket},\"{service}\",\"{host}\",{port},0,{}", *mode as u8)
            }
            Command::Close { set, socket, timeout_seconds: Some(seconds) } => {
                write!(f, "AT{}={socket},{seconds}", set.names().close)
            }
            Command::Close { set, socket, timeout_seconds: None } => {
                write!(f, "AT{}={socket}", set.names().close)
            }
            Command::State { set, socket } => {
                let names = set.names();
                write!(f, "AT{}{}{socket}", names.state, names.state_of_one)
            }
            Command::SentCounts { socket } => write!(f, "AT+QISEND={socket},0"),
            Command::SwitchMode { socket, mode } => write!(f, "AT+QISWTMD={socket},{}", *mode as u8),
            Command::Line(line) => f.write_str(&line.text),
            Command::Upload { name, content } => {
                write!(f, "AT+QFUPL=\"{name}\",{},{UPLOAD_TIMEOUT_SECONDS}", content.len())
            }
            Command::Download { name, .. } => write!(f, "AT+QFDWL=\"{name}\""),
        }
    }
}

/// Identity and numbers, which are answered without the command's name (3GPP TS 27.007, 5; TS 27.005).
const BARE_ANSWERS: [&str; 9] = ["+CGMI", "+CGMM", "+CGMR", "+CGSN", "+CIMI", "+GMI", "+GMM", "+GMR", "+GSN"];

/// How long AT+QSSLCLOSE takes at most where no time is given (both manuals, 2.2.5 and 2.1.5).
const CLOSE_SECONDS_UNSAID: u16 = 10;

/// How long we wait by default where the manuals promise 300 ms.
pub const USUAL_PATIENCE: Duration = Duration::from_secs(5);

/// AT+QISWTMD has taken up to 18 s on a busy EG91 (PROTOCOL section 3).
const SWITCH_WAIT: Duration = Duration::from_secs(20);

/// A send of at most this many bytes can be filled up by what a resync sends to a module that waits for payload.
const SHORT_SEND_BYTES: usize = 16;

/// The module ends an upload that has stalled for this long (FILE application note, AT+QFUPL).
pub const UPLOAD_TIMEOUT_SECONDS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(command: &Command) -> String {
        let mut out = Vec::new();
        command.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_the_user_allows_is_for_commands_that_have_no_time_of_their_own() {
        let socket = SocketId::new(4).unwrap();
        let (short, long) = (Duration::from_secs(5), Duration::from_secs(90));
        let asks = Command::State { set: CommandSet::Ssl, socket };
        assert_eq!((asks.patience(short), asks.patience(long)), (short, long));
        let switches = Command::SwitchMode { socket, mode: AccessMode::Buffer };
        assert_eq!((switches.patience(short), switches.patience(long)), (Duration::from_secs(20), long));
        let closes = Command::Close { set: CommandSet::Ssl, socket, timeout_seconds: Some(7) };
        assert_eq!(closes.patience(short), Duration::from_secs(12));
    }

    #[test]
    fn commands_are_written_as_in_the_manuals() {
        let socket = SocketId::new(4).unwrap();
        assert_eq!(bytes(&Command::Send { set: CommandSet::Ssl, socket, length: 18 }), "AT+QSSLSEND=4,18\r");
        assert_eq!(
            bytes(&Command::Close { set: CommandSet::Ssl, socket, timeout_seconds: Some(0) }),
            "AT+QSSLCLOSE=4,0\r"
        );
        assert_eq!(
            bytes(&Command::Close { set: CommandSet::Ssl, socket, timeout_seconds: None }),
            "AT+QSSLCLOSE=4\r"
        );
        let open = Command::Open {
            socket,
            pdp: PdpContextId::new(1).unwrap(),
            security: Security::Tls(SslContextId::new(1).unwrap()),
            host: AtText::new("220.180.239.201").unwrap(),
            port: 8011,
            mode: AccessMode::Push,
            patience: Duration::ZERO,
        };
        assert_eq!(bytes(&open), "AT+QSSLOPEN=1,1,4,\"220.180.239.201\",8011,1\r");
    }

    #[test]
    fn plain_connections_have_commands_of_their_own() {
        let (set, socket) = (CommandSet::Ip, SocketId::new(4).unwrap());
        for (command, line) in [
            (Command::Send { set, socket, length: 18 }, "AT+QISEND=4,18\r"),
            (Command::Receive { set, socket, length: 1460 }, "AT+QIRD=4,1460\r"),
            (Command::Close { set, socket, timeout_seconds: Some(0) }, "AT+QICLOSE=4,0\r"),
            (Command::Close { set, socket, timeout_seconds: None }, "AT+QICLOSE=4\r"),
            (Command::State { set, socket }, "AT+QISTATE=1,4\r"),
            (Command::SwitchMode { socket, mode: AccessMode::Buffer }, "AT+QISWTMD=4,0\r"),
        ] {
            assert_eq!(bytes(&command), line);
        }
        for (security, service) in [(Security::Plain, "TCP"), (Security::PlainDatagrams, "UDP")] {
            let open = Command::Open {
                socket,
                pdp: PdpContextId::new(1).unwrap(),
                security,
                host: AtText::new("220.180.239.201").unwrap(),
                port: 8011,
                mode: AccessMode::Push,
                patience: Duration::ZERO,
            };
            let line = format!("AT+QIOPEN=1,4,\"{service}\",\"220.180.239.201\",8011,0,1\r");
            assert_eq!(bytes(&open), line);
            assert_eq!(open.answer_prefix(), "+QIOPEN");
        }
    }

    #[test]
    fn a_secret_line_is_never_shown() {
        let pin = Command::secret_line("AT+CPIN=\"1234\"");
        assert_eq!(pin.to_string(), "AT+CPIN=***");
        assert_eq!(Command::secret_line("AT+CPINR").to_string(), "AT+CPINR");
        assert!(!format!("{pin:?}").contains("1234"));
        assert_eq!(pin.answer_prefix(), "+CPIN");
    }
}
