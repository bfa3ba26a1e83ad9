//! The commands that we send to the modem: their bytes on the line, and how their answers end.

use std::io::Write;
use std::time::Duration;

use super::{AtText, PdpContextId, SocketId, SslContextId};

/// A command line. The ones of the data path are plain numbers, so that carrying bytes allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// AT+QSSLSEND=\<id>,\<len>: a prompt, then exactly `length` bytes (both manuals, 2.1.3 and 2.2.3).
    Send {
        /// The socket that the bytes go to.
        socket: SocketId,
        /// 1–[`super::CHUNK_MAX`].
        length: usize,
    },
    /// AT+QSSLRECV=\<id>,\<len>: `+QSSLRECV: <n>` and n bytes (2.1.4 and 2.2.4).
    Receive {
        /// The socket that is read.
        socket: SocketId,
        /// The most bytes wanted, 1–[`super::CHUNK_MAX`].
        length: usize,
    },
    /// AT+QSSLOPEN (2.1.2 and 2.2.2).
    Open {
        /// The socket number to use.
        socket: SocketId,
        /// The data session that carries it.
        pdp: PdpContextId,
        /// The TLS settings to use.
        ssl: SslContextId,
        /// Name or address of the server.
        host: AtText,
        /// Its port.
        port: u16,
        /// How bytes are carried.
        mode: AccessMode,
        /// How long the module may take in transparent mode, where the answer itself waits.
        patience: Duration,
    },
    /// AT+QSSLCLOSE=\<id>,\<timeout> (2.1.5 and 2.2.5).
    Close {
        /// The socket to close.
        socket: SocketId,
        /// 0–65535; 0 is at once, and what the module has not sent yet is dropped.
        timeout_seconds: Option<u16>,
    },
    /// AT+QSSLSTATE=\<id> (2.1.6 and 2.2.6).
    State {
        /// The socket asked about.
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
            | Command::State { socket }
            | Command::SwitchMode { socket, .. } => Some(*socket),
            _ => None,
        }
    }

    /// The name that begins this command's information lines, such as `+QSSLRECV: `; empty where any line
    /// is part of the answer.
    pub(crate) fn answer_prefix(&self) -> &str {
        match self {
            Command::Send { .. } => "+QSSLSEND",
            Command::Receive { .. } => "+QSSLRECV",
            Command::Open { .. } => "+QSSLOPEN",
            Command::Close { .. } => "+QSSLCLOSE",
            Command::State { .. } => "+QSSLSTATE",
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
            let shown = text.find(['=', '?']).map_or(text.as_str(), |end| &text[..end]);
            return write!(f, "{shown}=***");
        }
        Plain(self).fmt(f)
    }
}

/// The line as it is, secrets included, without CR.
struct Plain<'a>(&'a Command);

impl std::fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Command::Send { socket, length } => write!(f, "AT+QSSLSEND={socket},{length}"),
            Command::Receive { socket, length } => write!(f, "AT+QSSLRECV={socket},{length}"),
            Command::Open { socket, pdp, ssl, host, port, mode, .. } => {
                write!(f, "AT+QSSLOPEN={pdp},{ssl},{socket},\"{host}\",{port},{}", *mode as u8)
            }
            Command::Close { socket, timeout_seconds: Some(seconds) } => {
                write!(f, "AT+QSSLCLOSE={socket},{seconds}")
            }
            Command::Close { socket, timeout_seconds: None } => write!(f, "AT+QSSLCLOSE={socket}"),
            Command::State { socket } => write!(f, "AT+QSSLSTATE={socket}"),
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
        let asks = Command::State { socket };
        assert_eq!((asks.patience(short), asks.patience(long)), (short, long));
        let switches = Command::SwitchMode { socket, mode: AccessMode::Buffer };
        assert_eq!((switches.patience(short), switches.patience(long)), (Duration::from_secs(20), long));
        let closes = Command::Close { socket, timeout_seconds: Some(7) };
        assert_eq!(closes.patience(short), Duration::from_secs(12));
    }

    #[test]
    fn commands_are_written_as_in_the_manuals() {
        let socket = SocketId::new(4).unwrap();
        assert_eq!(bytes(&Command::Send { socket, length: 18 }), "AT+QSSLSEND=4,18\r");
        assert_eq!(bytes(&Command::Close { socket, timeout_seconds: Some(0) }), "AT+QSSLCLOSE=4,0\r");
        assert_eq!(bytes(&Command::Close { socket, timeout_seconds: None }), "AT+QSSLCLOSE=4\r");
        let open = Command::Open {
            socket,
            pdp: PdpContextId::new(1).unwrap(),
            ssl: SslContextId::new(1).unwrap(),
            host: AtText::new("220.180.239.201").unwrap(),
            port: 8011,
            mode: AccessMode::Push,
            patience: Duration::ZERO,
        };
        assert_eq!(bytes(&open), "AT+QSSLOPEN=1,1,4,\"220.180.239.201\",8011,1\r");
    }

    #[test]
    fn a_secret_line_is_never_shown() {
        let pin = Command::secret_line("AT+CPIN=\"1234\"");
        assert_eq!(pin.to_string(), "AT+CPIN=***");
        assert!(!format!("{pin:?}").contains("1234"));
        assert_eq!(pin.answer_prefix(), "+CPIN");
    }
}
