//! Bytes → messages: the only code that decides where a message of the modem ends.
//!
//! ```text
//!            line ended by CR or LF                     announced length > 0
//!   ┌────► Line ────────────────────► Message   Line ──────────────────────► HeaderLf ──► Payload
//!   └────────┘                                                                              │ length reached
//!                                                                                           ▼
//!                                                                    Line ◄── CR LF ── AfterPayload
//!
//!            announces free text                   its end
//!      Line ────────────────────► Foreign text ──────────────► Line
//! ```
//! Payload is framed by its announced length and by nothing else; it is not searched for terminators.
//! Whatever comes after it begins with CR LF: anything else shows that the line lost bytes of it, or added
//! some. The prompt has no line end, so it is recognised at the start of a line, and only while one is
//! expected.

use std::borrow::Cow;
use std::fmt;

use super::foreign::{self, Follows, ForeignStep, HEADS, Text};
use super::{CommandSet, READ_MAX, SocketId, fields};

/// Something the modem sent. Texts and payload are borrowed from the input or from the decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The result that ends a command.
    Final(Final<'a>),
    /// `> `: the modem waits for the announced number of bytes.
    Prompt,
    /// Something unsolicited.
    Urc(Urc),
    /// Any other line: part of an answer, or something we do not know.
    Information(&'a str),
    /// Our own command, echoed.
    Echo,
    /// What another program has the modem send: payload may follow it, which is dropped; a text that follows
    /// is skipped.
    Foreign(&'a str),
    /// Inside of such a text, what looks like the announcement of pushed payload. It is a part of the text, or the text
    /// was cut off and this is the module's own: nothing shows which, nor where the text ends.
    PushInText,
    /// `+QSSLRECV: <n>` or `+QIRD: <n>`; its payload follows unless n is 0.
    ReceivedHeader {
        /// How many bytes follow.
        length: usize,
    },
    /// A piece of what the last header announced, or of what was asked for with [`Decoder::expect_raw`].
    Payload {
        /// The piece.
        bytes: &'a [u8],
        /// How many bytes are still to come after it.
        left: usize,
    },
    /// A line that announces the impossible or has no end, or payload that does not end where it was announced
    /// to. Framing can no longer be trusted.
    Malformed(&'a str),
}

/// A final result (PROTOCOL section 1: `OK`, `ERROR`, `+CME ERROR`, `CONNECT`, `NO CARRIER`, `SEND OK`, `SEND FAIL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Final<'a> {
    /// `OK`
    Ok,
    /// `ERROR`
    Error,
    /// `+CME ERROR: …` or `+CMS ERROR: …`, a number or a text.
    CmeError(&'a str),
    /// `CONNECT`, with or without a speed after it.
    Connect,
    /// `NO CARRIER`
    NoCarrier,
    /// `SEND OK`
    SendOk,
    /// `SEND FAIL`
    SendFail,
}

/// An unsolicited result code that matters to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urc {
    /// `+QSSLURC: "recv",<id>`, or `+QIURC`: bytes wait in the module (buffer mode).
    Receivable(CommandSet, SocketId),
    /// `+QSSLURC: "recv",<id>,<len>`: the payload follows (push mode). `None`: a number no socket has.
    Pushed(CommandSet, Option<SocketId>, usize),
    /// `+QSSLURC: "closed",<id>`
    Closed(CommandSet, SocketId),
    /// `+QSSLURC: "recv",<id>,<len>,<payload>`: its payload is in the same line (AT+QICFG="viewmode"), and is skipped.
    InOneLine(CommandSet, SocketId),
    /// `+QSSLOPEN: <id>,<err>` or `+QIOPEN: <id>,<err>`; 0 is success.
    Opened(CommandSet, SocketId, u16),
    /// `+QIURC: "pdpdeact",<ctx>`
    PdpDeactivated(u8),
    /// `+QNTP: <err>[,"<time>"]`: the clock was set from the network (0), or not.
    NetworkTime(u16),
    /// `RDY`: the module has (re)booted.
    Ready,
    /// `POWERED DOWN` or `NORMAL POWER DOWN`.
    PoweredDown,
}

impl fmt::Display for Final<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Final::Ok => f.write_str("OK"),
            Final::Error => f.write_str("ERROR"),
            Final::CmeError(text) => write!(f, "+CME ERROR: {text}"),
            Final::Connect => f.write_str("CONNECT"),
            Final::NoCarrier => f.write_str("NO CARRIER"),
            Final::SendOk => f.write_str("SEND OK"),
            Final::SendFail => f.write_str("SEND FAIL"),
        }
    }
}

impl fmt::Display for Urc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Urc::Receivable(set, id) => write!(f, "{}: \"recv\",{id}", set.names().urc),
            Urc::Pushed(set, Some(id), length) => write!(f, "{}: \"recv\",{id},{length}", set.names().urc),
            Urc::Pushed(set, None, length) => write!(f, "{}: \"recv\",?,{length}", set.names().urc),
            Urc::Closed(set, id) => write!(f, "{}: \"closed\",{id}", set.names().urc),
            Urc::InOneLine(set, id) => write!(f, "{}: \"recv\",{id},***", set.names().urc),
            Urc::Opened(set, id, result) => write!(f, "{}: {id},{result}", set.names().open),
            Urc::PdpDeactivated(context) => write!(f, "+QIURC: \"pdpdeact\",{context}"),
            Urc::NetworkTime(result) => write!(f, "+QNTP: {result}"),
            Urc::Ready => f.write_str("RDY"),
            Urc::PoweredDown => f.write_str("POWERED DOWN"),
        }
    }
}

/// Finds messages in the bytes of one channel.
#[derive(Debug)]
pub struct Decoder {
    state: DecoderState,
    /// The line so far, or the line that was last returned.
    line: Vec<u8>,
    line_done: bool,
    prompt_expected: bool,
    /// A read is in flight: a line that begins its answer and has payload in it is not followed by lines.
    is_reading: bool,
    /// Payload went before the line, and no line end between them: modules send `+QSSLOPEN` and echo in this
    /// way.
    follows_payload: bool,
    /// The last lines that were sent, which a modem whose echo is on sends right after pushed payload.
    echoes: [Vec<u8>; ECHOES],
    /// What is known of our sockets.
    sockets: Numbers,
}

/// What decides of which connection a URC with a number is, and what follows it. A bit for each number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Their `recv` URCs only announce, even with a length: no payload follows.
    pub announcing: u16,
    /// Those of our plain connections. As numbers of the other command set they are another program's; so is every
    /// number of a plain connection that is not here.
    pub plain: u16,
}

impl Numbers {
    /// Whether the connection of this set and number is ours, if it is anybody's.
    fn are_ours(self, set: CommandSet, id: Option<SocketId>) -> bool {
        let is_plain = id.is_some_and(|id| self.plain & (1 << id.index()) != 0);
        is_plain == (set == CommandSet::Ip)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecoderState {
    Line,
    /// A line that announces payload, after a pause: its rest, or what a module sends that has booted.
    LateLine,
    /// The CR of a payload header was seen; its LF is not payload. `late`: after a pause, in which a module
    /// may have booted.
    HeaderLf {
        length: usize,
        late: bool,
        owner: Owner,
    },
    Payload {
        left: usize,
        owner: Owner,
    },
    /// Payload after a pause, as long as it looks like what a module sends that has booted. It is kept in
    /// `line`, whose first `framing` bytes are none of it.
    LatePayload {
        left: usize,
        framing: usize,
    },
    /// What began like a message after a pause, kept in the same way: payload of just this length, or a message after lost
    /// bytes; or `boot`, what a module says that has booted.
    LateMessage {
        left: usize,
        framing: usize,
        boot: Option<Urc>,
    },
    /// No payload followed it.
    Booted(Urc),
    /// What of that turned out to be payload, up to `end`.
    SettledPayload {
        framing: usize,
        end: usize,
    },
    /// What of it was read beyond the payload, from here on: it begins a line.
    Overread {
        from: usize,
    },
    /// Text that another program has the modem send, and how much of our last line has come back straight
    /// after what may be its end.
    ForeignText(Text, usize),
    /// After payload: CR, LF.
    AfterPayload {
        cr_seen: bool,
    },
    /// The rest of a line that is too long.
    Discarding,
}

/// Who announced payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// One of our sockets, or a command of ours.
    Ours,
    /// A URC of another program.
    Foreign,
}

impl Decoder {
    /// A decoder at the start of a line.
    pub fn new() -> Self {
        Decoder {
            state: DecoderState::Line,
            line: Vec::new(),
            line_done: false,
            prompt_expected: false,
            is_reading: false,
            follows_payload: false,
            echoes: Default::default(),
            sockets: Numbers::default(),
        }
    }

    /// Whether a `>` at the start of a line is the prompt.
    pub fn expect_prompt(&mut self, expected: bool) {
        self.prompt_expected = expected;
    }

    /// Whether a read is in flight.
    pub(crate) fn expect_received(&mut self, is_reading: bool) {
        self.is_reading = is_reading;
    }

    /// What is known of our sockets from now on.
    pub(crate) fn set_sockets(&mut self, sockets: Numbers) {
        self.sockets = sockets;
    }

    /// This line has been sent, and may come back.
    pub(crate) fn expect_echo(&mut self, line: &[u8]) {
        self.echoes.rotate_right(1);
        self.echoes[0].clear();
        self.echoes[0].extend_from_slice(line);
    }

    /// The next `length` bytes are payload, whatever they look like. `length` counts from the LF that ends
    /// the line just decoded, as after the `CONNECT` of AT+QFDWL.
    pub fn expect_raw(&mut self, length: usize) {
        self.state = match length {
            0 => DecoderState::Line,
            _ => DecoderState::HeaderLf { length, late: false, owner: Owner::Ours },
        };
    }

    /// How many bytes of an announced payload are still to come.
    pub fn payload_left(&self) -> usize {
        match self.state {
            DecoderState::HeaderLf { length, .. } => length,
            DecoderState::Payload { left, .. }
            | DecoderState::LatePayload { left, .. }
            | DecoderState::LateMessage { left, .. } => left,
            DecoderState::Line
            | DecoderState::LateLine
            | DecoderState::AfterPayload { .. }
            | DecoderState::SettledPayload { .. }
            | DecoderState::Overread { .. }
            | DecoderState::Booted(_)
            | DecoderState::ForeignText(..)
            | DecoderState::Discarding => 0,
        }
    }

    /// A pause went before what comes next. In the middle of announced payload it is compared with what a
    /// module sends that has booted meanwhile.
    pub(crate) fn resumes(&mut self) {
        self.state = match self.state {
            DecoderState::Line if self.is_inside_header() => DecoderState::LateLine,
            DecoderState::HeaderLf { length, owner: Owner::Ours, .. } => {
                DecoderState::HeaderLf { length, late: true, owner: Owner::Ours }
            }
            DecoderState::Payload { left, owner: Owner::Ours } => self.late_payload(left, b""),
            state => state,
        };
    }

    /// Whether what came after a pause is payload if no more comes soon, or else a message: it is as long as the rest of the
    /// announced payload, and is the beginning of what a module sends that has booted; or it began like a message.
    pub(crate) fn late_payload_is_open(&self) -> bool {
        matches!(self.state, DecoderState::LateMessage { .. }) || self.late_payload_framing().is_some()
    }

    /// How many bytes that are no payload are in front of it, if it is whole.
    fn late_payload_framing(&self) -> Option<usize> {
        let (left, framing, most) = match self.state {
            DecoderState::LatePayload { left, framing } => (left, framing, BOOT_CHANCE_BYTES),
            DecoderState::LateMessage { left, framing, boot }
                if boot.is_none() || !is_of_a_boot(&self.line) =>
            {
                (left, framing, usize::MAX)
            }
            _ => return None,
        };
        let is_whole = left > 0 && self.line.len() == framing + left && self.line.len() <= most;
        is_whole.then_some(framing)
    }

    /// No more has come, so it is payload, or a module has booted; [`Decoder::decode`] returns it without further input.
    /// Returns whether there was any.
    pub(crate) fn settle_late_payload(&mut self) -> bool {
        self.state = match (self.late_payload_framing(), self.state) {
            (Some(framing), _) => DecoderState::SettledPayload { framing, end: self.line.len() },
            (None, DecoderState::LateMessage { boot: Some(urc), .. }) => DecoderState::Booted(urc),
            (None, _) => return false,
        };
        true
    }

    fn late_payload(&mut self, left: usize, framing: &[u8]) -> DecoderState {
        self.line.clear();
        self.line_done = false;
        self.line.extend_from_slice(framing);
        DecoderState::LatePayload { left, framing: framing.len() }
    }

    /// Whether more of another program's text or payload is awaited.
    pub(crate) fn is_inside_foreign(&self) -> bool {
        match self.state {
            DecoderState::HeaderLf { owner, .. } | DecoderState::Payload { owner, .. } => {
                owner == Owner::Foreign
            }
            DecoderState::ForeignText(..) => true,
            _ => false,
        }
    }

    /// Whether what comes is taken for a text of another program, which has no length.
    pub(crate) fn is_inside_text(&self) -> bool {
        matches!(self.state, DecoderState::ForeignText(text, _) if !text.is_answer)
    }

    /// Whether the text that another program had the modem send has ended, if nothing more comes now.
    pub(crate) fn foreign_may_be_over(&self) -> bool {
        matches!(self.state, DecoderState::ForeignText(text, _) if text.may_be_over())
    }

    /// The rest of another program's text or payload does not come: the next byte begins a line. Returns whether any
    /// was awaited.
    pub fn give_up_foreign(&mut self) -> bool {
        let is_inside = self.is_inside_foreign();
        if is_inside {
            // Whose half an announcement is that goes on now is not known: it counts as one that has lost its head.
            let announces = |line: &[u8]| HEADS.iter().any(|head| line.starts_with(head.as_bytes()));
            let is_text = matches!(self.state, DecoderState::ForeignText(..)) && !self.line_done;
            match is_text && announces(&self.line) {
                true => drop(self.line.remove(0)),
                false => self.line.clear(),
            }
            self.state = DecoderState::Line;
            self.line_done = false;
        }
        is_inside
    }

    /// Whether the line so far announces payload: whatever ends it, its payload follows.
    pub(crate) fn is_inside_header(&self) -> bool {
        let begins_with = |head: &str| self.line.starts_with(head.as_bytes());
        matches!(self.state, DecoderState::Line | DecoderState::LateLine)
            && !self.line_done
            && (begins_with(HEADS[0]) || self.sockets.plain != 0 && begins_with(HEADS[1]))
    }

    /// Whether some part of a line or payload has arrived and the rest has not.
    pub(crate) fn is_inside_message(&self) -> bool {
        match self.state {
            DecoderState::Line | DecoderState::LateLine => !self.line.is_empty() && !self.line_done,
            DecoderState::HeaderLf { .. }
            | DecoderState::Payload { .. }
            | DecoderState::LatePayload { .. }
            | DecoderState::LateMessage { .. }
            | DecoderState::SettledPayload { .. }
            | DecoderState::Overread { .. }
            | DecoderState::Booted(_)
            | DecoderState::Discarding => true,
            DecoderState::ForeignText(text, _) => !text.may_be_over(),
            // Nothing need follow.
            DecoderState::AfterPayload { .. } => false,
        }
    }

    /// Whether what looked like the words of a module that has booted is payload up to `end`, and then something that may
    /// follow it without a line end between them.
    fn has_read_beyond_payload(&self, end: usize) -> bool {
        let Some(beyond) = self.line.get(end..).filter(|beyond| !beyond.is_empty()) else { return false };
        let echoes = self.echoes.iter().map(Vec::as_slice).filter(|echo| !echo.is_empty());
        echoes.chain(OPENED).any(|line| line.starts_with(beyond) || beyond.starts_with(line))
    }

    /// Takes a byte of another program's text into `line`. Whether it ends a line that looks like the announcement of
    /// payload: of a socket that only announces, none follows; of whichever other, the payload may end the text anywhere.
    fn ends_push_in_text(&mut self, byte: u8) -> bool {
        if !matches!(byte, b'\r' | b'\n') {
            let is_noise = self.line.is_empty() && !byte.is_ascii_graphic();
            if !is_noise && self.line.len() < LINE_MAX {
                self.line.push(byte);
            }
            return false;
        }
        make_text(&mut self.line);
        let is_push = match message(&self.line).0 {
            Message::Urc(Urc::Pushed(set, id, 1..)) => {
                let is_announcing = |id: SocketId| self.sockets.announcing & (1 << id.index()) != 0;
                !(self.sockets.are_ours(set, id) && id.is_some_and(is_announcing))
            }
            Message::Malformed(_) => true,
            _ => false,
        };
        self.line.clear();
        is_push
    }

    /// Skips a byte that may come before an echo and that no line begins with: a line end, the blank of a
    /// prompt, noise. Whether there was one.
    pub(crate) fn skip_before_echo(&mut self, input: &mut &[u8]) -> bool {
        let is_between = self.state == DecoderState::Line && (self.line.is_empty() || self.line_done);
        let is_skipped = is_between && input.first().is_some_and(|byte| !byte.is_ascii_graphic());
        if is_skipped {
            *input = &input[1..];
            self.begin_line(b"");
        }
        is_skipped
    }

    /// A line begins with these bytes, which were taken for an echo.
    pub(crate) fn begin_line(&mut self, bytes: &[u8]) {
        self.line.clear();
        self.line_done = false;
        self.line.extend_from_slice(&bytes[..bytes.len().min(LINE_MAX)]);
    }

    /// Forgets everything half-done, as after a resynchronisation.
    pub(crate) fn reset(&mut self) {
        let echoes = std::mem::take(&mut self.echoes);
        *self = Decoder { line: std::mem::take(&mut self.line), echoes, ..Decoder::new() };
        self.line.clear();
    }

    /// Takes bytes from the front of `input` until a message is complete or the input is used up.
    pub fn decode<'m, 'i: 'm>(&'m mut self, input: &mut &'i [u8]) -> Option<Message<'m>> {
        if self.line_done {
            self.line.clear();
            self.line_done = false;
        }
        loop {
            match self.state {
                DecoderState::Line | DecoderState::LateLine => {
                    if self.line.is_empty() {
                        // Empty lines, wake bytes and noise before a line mean nothing.
                        let noise = input.iter().take_while(|b| !(0x21..0x7F).contains(*b)).count();
                        *input = &input[noise..];
                        if self.prompt_expected && input.first() == Some(&b'>') {
                            *input = &input[1..];
                            self.prompt_expected = false;
                            return Some(Message::Prompt);
                        }
                    }
                    let end = input.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    let count = end.unwrap_or(input.len()).min(LINE_MAX + 1 - self.line.len());
                    self.line.extend_from_slice(&input[..count]);
                    *input = &input[count..];
                    if self.line.len() > LINE_MAX {
                        if let Some((message, missing)) = self.in_one_line() {
                            self.line_done = true;
                            self.state = after_payload(missing, Owner::Foreign);
                            return Some(message);
                        }
                        let follows = foreign::follows(&self.line, None, false);
                        self.line.truncate(SHOWN_MAX);
                        make_text(&mut self.line);
                        self.line_done = true;
                        if let Some(Follows::Text(text_state)) = follows {
                            self.state = DecoderState::ForeignText(text_state, 0);
                            return Some(Message::Foreign(text(&self.line)));
                        }
                        self.state = DecoderState::Discarding;
                        return Some(Message::Malformed(text(&self.line)));
                    }
                    let &terminator = input.first()?;
                    *input = &input[1..];
                    self.line_done = true;
                    if let Some((message, missing)) = self.in_one_line().filter(|_| !self.follows_payload) {
                        self.state = match missing.checked_sub(1) {
                            None => DecoderState::Line,
                            Some(missing) => after_payload(missing, Owner::Foreign),
                        };
                        return Some(message);
                    }
                    let socket_urc = std::str::from_utf8(&self.line).ok().and_then(socket_urc_of);
                    let is_ours = socket_urc.is_some_and(|(set, _, id)| self.sockets.are_ours(set, id));
                    let follows = foreign::follows(&self.line, Some(terminator), is_ours);
                    make_text(&mut self.line);
                    if std::mem::take(&mut self.follows_payload)
                        && !OPENED.iter().any(|opened| self.line.starts_with(opened))
                        && !self.echoes.contains(&self.line)
                    {
                        return Some(Message::Malformed(MISFRAMED));
                    }
                    let late = self.state == DecoderState::LateLine;
                    let after_header = |length, owner| match terminator {
                        b'\r' => DecoderState::HeaderLf { length, late: late && owner == Owner::Ours, owner },
                        _ => DecoderState::Payload { left: length, owner },
                    };
                    if let Some(follows) = follows {
                        let is_answer = matches!(&follows, Follows::Text(text) if text.is_answer);
                        self.state = match follows {
                            Follows::Payload(length) => after_header(length, Owner::Foreign),
                            Follows::Rest(0) => DecoderState::AfterPayload { cr_seen: false },
                            Follows::Rest(left) => DecoderState::Payload { left, owner: Owner::Foreign },
                            Follows::Text(text) => DecoderState::ForeignText(text, 0),
                            Follows::Impossible => return Some(Message::Malformed(text(&self.line))),
                        };
                        return Some(match is_answer {
                            true => Message::Information(text(&self.line).trim_end()),
                            false => Message::Foreign(text(&self.line).trim_end()),
                        });
                    }
                    if socket_urc.is_some() && !is_ours {
                        self.state = DecoderState::Line;
                        // It is another program's, and nothing follows it.
                        return Some(Message::Information(text(&self.line).trim_end()));
                    }
                    let (mut message, mut payload) = message(&self.line);
                    if let Some((set, "recv", Some(id))) = socket_urc_of(text(&self.line))
                        && self.sockets.announcing & (1 << id.index()) != 0
                    {
                        (message, payload) = (Message::Urc(Urc::Receivable(set, id)), None);
                    }
                    self.state = match payload {
                        Some(length) => after_header(length, Owner::Ours),
                        None => DecoderState::Line,
                    };
                    return Some(message);
                }
                DecoderState::HeaderLf { length, late, owner } => {
                    let has_line_feed = *input.first()? == b'\n';
                    if has_line_feed {
                        *input = &input[1..];
                    }
                    self.state = match (late, has_line_feed) {
                        // This line end may be the one in front of `RDY`.
                        (true, true) => self.late_payload(length, b"\r\n"),
                        (true, false) => self.late_payload(length, b""),
                        (false, _) => DecoderState::Payload { left: length, owner },
                    };
                }
                DecoderState::LatePayload { left, framing } => {
                    let (&byte, rest) = input.split_first()?;
                    self.line.push(byte);
                    let count = self.line.len() - framing;
                    let boot = match boot_words(&self.line) {
                        // A module sends payload without a pause: how long it is shows which of the two this is.
                        Boot::Another if count <= left => {
                            *input = rest;
                            self.state = DecoderState::LateMessage { left, framing, boot: None };
                            continue;
                        }
                        Boot::No => boot_echo(&self.line[framing..], &self.echoes[0], left),
                        boot => boot,
                    };
                    match boot {
                        // Payload can look like that: what follows shows it.
                        Boot::Said(urc) if count < left => {
                            *input = rest;
                            self.state = DecoderState::LateMessage { left, framing, boot: Some(urc) };
                            continue;
                        }
                        Boot::Said(urc) => {
                            *input = rest;
                            self.state = DecoderState::Line;
                            self.line_done = true;
                            return Some(Message::Urc(urc));
                        }
                        // A module that boots without a message, or has lost the rest: it is unknown whose bytes are
                        // missing.
                        Boot::Another if !self.has_read_beyond_payload(framing + left) => {
                            self.line_done = true;
                            self.state = DecoderState::Discarding;
                            return Some(Message::Malformed(CUT_SHORT));
                        }
                        // Where that is as long as the payload should be, `settle_late_payload` ends the wait for more.
                        Boot::Perhaps => {
                            *input = rest;
                            continue;
                        }
                        Boot::Another | Boot::No => {}
                    }
                    if count > left + 1 {
                        let end = framing + left;
                        if self.has_read_beyond_payload(end) {
                            *input = rest;
                            self.state = DecoderState::SettledPayload { framing, end };
                            continue;
                        }
                        self.line_done = true;
                        self.state = DecoderState::Discarding;
                        return Some(Message::Malformed(MISFRAMED));
                    }
                    self.line_done = true;
                    if count <= left {
                        *input = rest;
                    }
                    let count = count.min(left);
                    self.state = after_payload(left - count, Owner::Ours);
                    let bytes = &self.line[framing..framing + count];
                    return Some(Message::Payload { bytes, left: left - count });
                }
                DecoderState::LateMessage { left, framing, boot } => {
                    let end = framing + left;
                    let missing = end - self.line.len();
                    if missing > 0 {
                        if input.is_empty() {
                            return None;
                        }
                        let (bytes, rest) = input.split_at(missing.min(input.len()));
                        self.line.extend_from_slice(bytes);
                        *input = rest;
                        continue;
                    }
                    // Where nothing follows, `settle_late_payload` ends the wait for it.
                    let &next = input.first()?;
                    if let Some(urc) = boot
                        && (next != b'\r' || is_of_a_boot(&self.line))
                    {
                        self.state = DecoderState::Booted(urc);
                        continue;
                    }
                    if next != b'\r' {
                        self.line_done = true;
                        self.state = DecoderState::Discarding;
                        return Some(Message::Malformed(CUT_SHORT));
                    }
                    self.state = DecoderState::SettledPayload { framing, end };
                }
                DecoderState::SettledPayload { framing, end } => {
                    self.line_done = end == self.line.len();
                    self.state = match self.line_done {
                        true => after_payload(0, Owner::Ours),
                        false => DecoderState::Overread { from: end },
                    };
                    return Some(Message::Payload { bytes: &self.line[framing..end], left: 0 });
                }
                DecoderState::Booted(urc) => {
                    // What was kept with it is of no use after a reboot.
                    self.line_done = true;
                    self.state = DecoderState::Discarding;
                    return Some(Message::Urc(urc));
                }
                DecoderState::Overread { from } => {
                    self.line.drain(..from);
                    self.follows_payload = true;
                    self.state = DecoderState::Line;
                }
                DecoderState::ForeignText(mut text_state, came_back) => {
                    let &byte = input.first()?;
                    *input = &input[1..];
                    let came_back = match self.echoes[0].get(came_back) {
                        _ if came_back == 0 && !text_state.may_be_over() => 0,
                        Some(due) if *due == byte => came_back + 1,
                        None if came_back > 0 && byte == b'\r' => {
                            // An echo has no empty line in front of it.
                            self.state = DecoderState::Line;
                            self.line.clear();
                            return Some(Message::Echo);
                        }
                        _ => 0,
                    };
                    let step = text_state.take(byte);
                    self.state = match step {
                        ForeignStep::Over => DecoderState::Line,
                        ForeignStep::Endless => DecoderState::Discarding,
                        ForeignStep::Inside | ForeignStep::LineEnd | ForeignStep::Between => {
                            DecoderState::ForeignText(text_state, came_back)
                        }
                    };
                    if !text_state.is_answer && self.ends_push_in_text(byte) {
                        return Some(Message::PushInText);
                    }
                    match step {
                        ForeignStep::Inside if text_state.is_answer && self.line.len() < LINE_MAX => {
                            self.line.push(byte);
                        }
                        ForeignStep::LineEnd if text_state.is_answer && !self.line.is_empty() => {
                            make_text(&mut self.line);
                            self.line_done = true;
                            return Some(Message::Information(text(&self.line)));
                        }
                        ForeignStep::Over | ForeignStep::Endless => self.line.clear(),
                        _ => {}
                    }
                }
                DecoderState::Payload { left, owner } => {
                    if input.is_empty() {
                        return None;
                    }
                    let (bytes, rest) = input.split_at(left.min(input.len()));
                    *input = rest;
                    let left = left - bytes.len();
                    self.state = after_payload(left, owner);
                    return Some(Message::Payload { bytes, left });
                }
                DecoderState::AfterPayload { cr_seen } => {
                    // Wake bytes and noise between messages mean nothing.
                    let noise = input.iter().take_while(|byte| is_noise(**byte)).count();
                    *input = &input[noise..];
                    let &first = input.first()?;
                    match (cr_seen, first) {
                        (false, b'\r') => self.state = DecoderState::AfterPayload { cr_seen: true },
                        (true, b'\n') => self.state = DecoderState::Line,
                        (false, b'+' | b'A') => {
                            self.state = DecoderState::Line;
                            self.follows_payload = true;
                            continue;
                        }
                        _ => {
                            self.state = DecoderState::Discarding;
                            self.line_done = true;
                            return Some(Message::Malformed(MISFRAMED));
                        }
                    }
                    *input = &input[1..];
                }
                DecoderState::Discarding => {
                    let end = input.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    *input = &input[end.unwrap_or(input.len())..];
                    end?;
                    self.state = DecoderState::Line;
                }
            }
        }
    }
}

impl Decoder {
    /// What the line so far means that begins payload of ours in the same line, as another program has the module
    /// send it (AT+QICFG="viewmode"), and how many bytes of that are missing. Payload need not be text.
    fn in_one_line(&self) -> Option<(Message<'static>, usize)> {
        let (number, missing) = foreign::begun_payload(&self.line, self.is_reading)?;
        let name = self.line.split(|byte| *byte == b':').next()?;
        let Some(set) = CommandSet::ALL.into_iter().find(|set| set.names().urc.as_bytes() == name) else {
            return Some((Message::Foreign(READ_IN_ONE_LINE), missing));
        };
        let id = SocketId::new(number?).filter(|id| self.sockets.are_ours(set, Some(*id)))?;
        Some((Message::Urc(Urc::InOneLine(set, id)), missing))
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

/// What may follow payload without a line end between them.
const OPENED: [&[u8]; 2] = [b"+QSSLOPEN:", b"+QIOPEN:"];

const MISFRAMED: &str = "payload of another length than announced";
const READ_IN_ONE_LINE: &str = "the answer to a read, with payload in its line";
const CUT_SHORT: &str = "a message before the end of announced payload";

/// What an idle UART may let through: nothing that a message begins with.
fn is_noise(byte: u8) -> bool {
    !(0x20..0x7F).contains(&byte) && !matches!(byte, b'\r' | b'\n')
}

fn after_payload(left: usize, owner: Owner) -> DecoderState {
    match left {
        0 => DecoderState::AfterPayload { cr_seen: false },
        _ => DecoderState::Payload { left, owner },
    }
}

/// Whether bytes are what a module sends that has booted.
enum Boot {
    /// They may become that.
    Perhaps,
    /// They are, with the line ends around it.
    Said(Urc),
    /// They begin another message, by a line end, a plus, a name in capitals, a colon and a blank; or they are the echo of
    /// what was sent last.
    Another,
    No,
}

fn boot_words(bytes: &[u8]) -> Boot {
    for (words, urc) in BOOT_WORDS {
        let framed = [b"\r\n", words.as_bytes(), b"\r\n"].concat();
        if framed == bytes {
            return Boot::Said(urc);
        }
        if framed.starts_with(bytes) {
            return Boot::Perhaps;
        }
    }
    let Some(name) = bytes.strip_prefix(b"\r\n+") else { return Boot::No };
    let letters = name.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match &name[letters..] {
        _ if letters > NAME_MAX => Boot::No,
        b"" | b":" => Boot::Perhaps,
        b": " if letters > 0 => Boot::Another,
        _ => Boot::No,
    }
}

/// Whether a module can say this after it has booted: lines of text with a line end on each side, or the beginning of such.
/// It has no result for a command from before, and no sockets.
fn is_of_a_boot(mut bytes: &[u8]) -> bool {
    while !b"\r\n".starts_with(bytes) {
        let Some(line) = bytes.strip_prefix(b"\r\n") else { return false };
        let (text, end) = line.split_at(line.iter().take_while(|byte| matches!(byte, 0x20..=0x7E)).count());
        let Some(rest) = end.strip_prefix(b"\r\n") else { return b"\r\n".starts_with(end) };
        let is_of_a_socket = HEADS.iter().any(|head| text.starts_with(head.as_bytes()));
        if is_of_a_socket || matches!(message(text).0, Message::Final(_)) {
            return false;
        }
        bytes = rest;
    }
    true
}

/// A module that has booted echoes what is sent to it. `left`: how much payload is still to come.
fn boot_echo(bytes: &[u8], sent: &[u8], left: usize) -> Boot {
    match bytes.strip_suffix(b"\r") {
        Some(line) if line == sent && !sent.is_empty() && bytes.len() <= left => Boot::Another,
        _ if sent.starts_with(bytes) => Boot::Perhaps,
        _ => Boot::No,
    }
}

/// The longest name of a command or URC, in letters.
const NAME_MAX: usize = 16;

/// This few bytes of them, with the line end in front, can be the end of payload by coincidence.
const BOOT_CHANCE_BYTES: usize = 4;

/// The first words of a module that has booted, or goes down.
const BOOT_WORDS: [(&str, Urc); 7] = [
    ("RDY", Urc::Ready),
    ("APP RDY", Urc::Ready),
    ("+CFUN: 1", Urc::Ready),
    ("+CPIN: READY", Urc::Ready),
    ("+QUSIM: 1", Urc::Ready),
    ("POWERED DOWN", Urc::PoweredDown),
    ("NORMAL POWER DOWN", Urc::PoweredDown),
];

/// What a complete line means, and how many bytes of payload follow it.
pub(super) fn message(line: &[u8]) -> (Message<'_>, Option<usize>) {
    let line = text(line).trim_end();
    let plain = |message| (message, None);
    match line {
        "OK" => return plain(Message::Final(Final::Ok)),
        "ERROR" => return plain(Message::Final(Final::Error)),
        "SEND OK" => return plain(Message::Final(Final::SendOk)),
        "SEND FAIL" => return plain(Message::Final(Final::SendFail)),
        "NO CARRIER" => return plain(Message::Final(Final::NoCarrier)),
        "CONNECT" => return plain(Message::Final(Final::Connect)),
        "RDY" => return plain(Message::Urc(Urc::Ready)),
        "POWERED DOWN" | "NORMAL POWER DOWN" => return plain(Message::Urc(Urc::PoweredDown)),
        _ => {}
    }
    let Some((name, rest)) = line.split_once(':') else {
        let is_echo = line.len() >= 2 && line.as_bytes()[..2].eq_ignore_ascii_case(b"AT");
        if is_echo {
            return plain(Message::Echo);
        }
        if line.strip_prefix("CONNECT ").is_some_and(|speed| speed.bytes().all(|b| b.is_ascii_digit())) {
            return plain(Message::Final(Final::Connect));
        }
        return plain(without_name(line));
    };
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let understood = match name {
        "+CME ERROR" | "+CMS ERROR" => Some((Message::Final(Final::CmeError(rest)), None)),
        "+QSSLURC" => socket_urc(CommandSet::Ssl, rest),
        "+QIURC" => match pdp_deactivated(rest) {
            Some(urc) => Some((Message::Urc(urc), None)),
            None => socket_urc(CommandSet::Ip, rest),
        },
        "+QSSLRECV" | "+QIRD" => received_header(rest),
        "+QSSLOPEN" => opened(CommandSet::Ssl, rest).map(|urc| (Message::Urc(urc), None)),
        "+QIOPEN" => opened(CommandSet::Ip, rest).map(|urc| (Message::Urc(urc), None)),
        "+QNTP" => network_time(rest).map(|urc| (Message::Urc(urc), None)),
        _ if name.len() >= 2 && name.as_bytes()[..2].eq_ignore_ascii_case(b"AT") => {
            Some((Message::Echo, None))
        }
        _ => Some((without_name(line), None)),
    };
    understood.unwrap_or(plain(Message::Information(line)))
}

/// A line that is nothing in particular; unless it is what is left of one that announced payload.
fn without_name(line: &str) -> Message<'_> {
    match foreign::has_lost_its_head(line) {
        true => Message::Malformed(line),
        false => Message::Information(line),
    }
}

/// `+QSSLURC: "recv",4,16` · `+QIURC: "closed",4`: what it tells, and of which connection. The number is none that a socket
/// has where it is missing or out of range.
fn socket_urc_of(line: &str) -> Option<(CommandSet, &'static str, Option<SocketId>)> {
    let (name, rest) = line.split_once(':')?;
    let set = CommandSet::ALL.into_iter().find(|set| set.names().urc == name)?;
    let mut fields = fields(rest.trim_end());
    let what = fields.next()?;
    let what = ["recv", "closed"].into_iter().find(|known| *known == what)?;
    Some((set, what, fields.number().and_then(SocketId::new)))
}

/// `"recv",4` · `"recv",4,16` · `"closed",4`
fn socket_urc(set: CommandSet, rest: &str) -> Option<(Message<'_>, Option<usize>)> {
    let mut fields = fields(rest);
    match fields.next()? {
        "recv" => {
            let socket = fields.next()?;
            let id = socket.parse().ok().and_then(SocketId::new);
            match fields.next() {
                None => Some((Message::Urc(Urc::Receivable(set, id?)), None)),
                Some(length) => match length.parse::<usize>() {
                    Ok(0) => Some((Message::Urc(Urc::Pushed(set, id, 0)), None)),
                    Ok(length) if length <= PUSH_LENGTH_MAX => {
                        Some((Message::Urc(Urc::Pushed(set, id, length)), Some(length)))
                    }
                    _ => Some((Message::Malformed(rest), None)),
                },
            }
        }
        "closed" => {
            let id = fields.number().and_then(SocketId::new)?;
            Some((Message::Urc(Urc::Closed(set, id)), None))
        }
        _ => None,
    }
}

/// `15`, but not the `(0-11),(1-1500)` of the test command nor the `120,100,20` of an unread count.
fn received_header(rest: &str) -> Option<(Message<'_>, Option<usize>)> {
    if rest.starts_with('(') || rest.contains(',') {
        return None;
    }
    match rest.trim().parse::<usize>() {
        Ok(0) => Some((Message::ReceivedHeader { length: 0 }, None)),
        Ok(length) if length <= READ_MAX => Some((Message::ReceivedHeader { length }, Some(length))),
        _ => Some((Message::Malformed(rest), None)),
    }
}

/// `4,0`, but not the `(1-16),(0-5),…` of the test command.
fn opened(set: CommandSet, rest: &str) -> Option<Urc> {
    let mut fields = fields(rest);
    let id: u32 = fields.number()?;
    let error = fields.number()?;
    Some(Urc::Opened(set, SocketId::new(id)?, error))
}

/// `0,"2026/08/07,05:54:02+00"` · `565`, but not the `"pool.ntp.org",123` of the read command.
fn network_time(rest: &str) -> Option<Urc> {
    Some(Urc::NetworkTime(fields(rest).number()?))
}

/// `"pdpdeact",1`
fn pdp_deactivated(rest: &str) -> Option<Urc> {
    let mut fields = fields(rest);
    (fields.next()? == "pdpdeact").then_some(())?;
    Some(Urc::PdpDeactivated(fields.number()?))
}

/// Puts U+FFFD for what is not UTF-8: a line that noise or a wrong speed has altered is no message with the
/// noise left out, and it is distinguished from what the modem meant to send.
fn make_text(line: &mut Vec<u8>) {
    if let Cow::Owned(text) = String::from_utf8_lossy(line) {
        *line = text.into_bytes();
    }
}

/// A line that [`make_text`] has seen.
fn text(line: &[u8]) -> &str {
    std::str::from_utf8(line).expect("a line is made text when it is complete")
}

/// The longest payload that a push URC may announce, in bytes. The manuals state no maximum.
const PUSH_LENGTH_MAX: usize = 16_384;

/// The longest line, in bytes; the longest known one is a list of cipher suites of about 400.
const LINE_MAX: usize = 2_048;

/// How many of the lines that were sent may still come back: the last command, and an `AT` after it.
const ECHOES: usize = 2;

/// How much of an overlong line is shown, in bytes.
const SHOWN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// All messages of `input`, fed in pieces of `step` bytes, as text; payload pieces are joined.
    fn decode_all(input: &[u8], step: usize) -> Vec<String> {
        decode_pieces(&input.chunks(step).collect::<Vec<_>>())
    }

    fn decode_pieces(pieces: &[&[u8]]) -> Vec<String> {
        let mut decoder = Decoder::new();
        let mut all: Vec<String> = Vec::new();
        let mut payload: Vec<u8> = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(message) = decoder.decode(&mut piece) {
                match message {
                    Message::Payload { bytes, left } => {
                        payload.extend_from_slice(bytes);
                        if left == 0 {
                            all.push(format!("payload {}", payload.escape_ascii()));
                            payload.clear();
                        }
                    }
                    other => all.push(format!("{other:?}")),
                }
            }
        }
        all
    }

    fn decodes_to(input: &[u8], expected: &[&str]) {
        for step in 1..=input.len() {
            assert_eq!(decode_all(input, step), expected, "in steps of {step}");
        }
    }

    /// All messages of what comes before and after a pause, the second in pieces of `step` bytes.
    fn decode_with_pause(before: &[u8], after: &[u8], step: usize) -> Vec<String> {
        let mut decoder = Decoder::new();
        let mut all = Vec::new();
        let mut payload = Vec::new();
        let mut decode = |decoder: &mut Decoder, mut piece: &[u8]| {
            while let Some(message) = decoder.decode(&mut piece) {
                match message {
                    Message::Payload { bytes, .. } => payload.extend_from_slice(bytes),
                    other => all.push(format!("{other:?}")),
                }
            }
        };
        decode(&mut decoder, before);
        decoder.resumes();
        for piece in after.chunks(step) {
            decode(&mut decoder, piece);
        }
        decoder.settle_late_payload();
        decode(&mut decoder, b"");
        all.push(format!("payload {}", payload.escape_ascii()));
        all
    }

    /// Payload with `RDY` on a line of its own after a pause was taken for a reboot, and every connection reset.
    #[test]
    fn what_a_booted_module_says_is_payload_if_the_rest_of_the_payload_follows() {
        let pushed = |length: usize| format!("\r\n+QSSLURC: \"recv\",4,{length}\r\n01234567");
        for payload in
            ["\r\nRDY\r\nand more", "\r\nRDY\r\n\n", "\r\nAPP RDY\r\n\r\n\u{1}\r\n", "\r\nRDY\r\n\r\nOK\r\n"]
        {
            let begun = pushed(8 + payload.len());
            let after = format!("{payload}\r\nOK\r\n");
            for step in 1..after.len() {
                let all = decode_with_pause(begun.as_bytes(), after.as_bytes(), step);
                let whole = format!("payload 01234567{}", payload.as_bytes().escape_ascii());
                assert_eq!(all[1..], ["Final(Ok)".to_owned(), whole], "{step}");
            }
        }
        // What a module says after `RDY` can be as long as the rest of the payload.
        let said = "\r\nRDY\r\n\r\n+CFUN: 1\r\n\r\n+CPIN: READY\r\n";
        for left in 7..said.len() + 8 {
            for step in 1..said.len() {
                let all = decode_with_pause(pushed(8 + left).as_bytes(), said.as_bytes(), step);
                let ready = all.iter().filter(|it| *it == "Urc(Ready)").count();
                assert!(ready >= 1, "{left} {step} {all:?}");
                assert_eq!(all.last().map(String::as_str), Some("payload 01234567"), "{left} {step}");
            }
        }
    }

    #[test]
    fn behind_a_pause_inside_payload_comes_its_rest_or_what_a_module_says_that_has_booted() {
        let header = "\r\n+QSSLURC: \"recv\",4,16\r\n";
        let pushed = "Urc(Pushed(Ssl, Some(SocketId(4)), 16))";
        for step in 1..12 {
            for pause in header.len() - 3..=header.len() {
                // In the line that announces it, after its CR, after its LF.
                let (before, rest) = header.as_bytes().split_at(pause);
                let goes_on = [rest, b"\r\nRDY?\r\n01234567\r\nOK\r\n"].concat();
                let all = decode_with_pause(before, &goes_on, step);
                assert_eq!(all, [pushed, "Final(Ok)", "payload \\r\\nRDY?\\r\\n01234567"], "{pause} {step}");
                let all = decode_with_pause(before, b"\r\nRDY\r\n\r\n+CFUN: 1\r\n", step);
                assert!(all.contains(&"Urc(Ready)".to_owned()), "{pause} {step}: {all:?}");
                assert_eq!(all.last().map(String::as_str), Some("payload "), "{pause} {step}");
            }
            let begun = [header.as_bytes(), b"0123456"].concat();
            let all = decode_with_pause(&begun, b"\r\nAPP RDY\r\n", step);
            assert_eq!(all, [pushed, "Urc(Ready)", "payload 0123456"], "{step}");
            // A module that boots without a message sends something else then, or nothing.
            for (left, message) in [("0123456", "+QSSLURC: \"recv\",8"), ("0123456789ABCDE", "+CREG: 1")] {
                let begun = [header.as_bytes(), left.as_bytes()].concat();
                let said = format!("\r\n{message}\r\n");
                let all = decode_with_pause(&begun, said.as_bytes(), step);
                let cut_short = format!("Malformed({CUT_SHORT:?})");
                assert_eq!(all, [pushed, &cut_short, &format!("payload {left}")], "{message} {step}");
            }
            for goes_on in ["\r\n+5 and +6", "\r\n+QSSLURC", "\r\n+qss: 1", "\r\n: +QSS: "] {
                let length = goes_on.len();
                let header = format!("\r\n+QSSLURC: \"recv\",4,{}\r\n", length + 2);
                let after = format!("{goes_on}89\r\nOK\r\n");
                let all = decode_with_pause(header.as_bytes(), after.as_bytes(), step);
                let payload = format!("payload {}", goes_on.escape_default().to_string() + "89");
                assert_eq!(all[1..], ["Final(Ok)".to_owned(), payload], "{step}");
            }
            let all = decode_with_pause(&begun, b"\r\nAPP 789\r\nOK\r\n", step);
            assert_eq!(all, [pushed, "Final(Ok)", "payload 0123456\\r\\nAPP 789"], "{step}");
        }
    }

    /// It was once taken for a message after lost bytes, and every connection of the port was reset.
    #[test]
    fn payload_behind_a_pause_that_looks_like_a_message_is_told_from_one_by_its_length() {
        let closed = "\r\n+QSSLURC: \"closed\",1\r\n";
        let (pushed, cut_short) =
            ("Urc(Pushed(Ssl, Some(SocketId(4)), ", format!("Malformed({CUT_SHORT:?})"));
        for before in ["", "01234567"] {
            for payload in [closed, "\r\n+AB: ", &format!("{closed}{closed}and more")] {
                let begun = format!("\r\n+QSSLURC: \"recv\",4,{}\r\n{before}", before.len() + payload.len());
                let after = format!("{payload}\r\nOK\r\n");
                for step in 1..after.len() {
                    let all = decode_with_pause(begun.as_bytes(), after.as_bytes(), step);
                    assert!(all[0].starts_with(pushed), "{all:?}");
                    let whole = format!("payload {}", format!("{before}{payload}").escape_default());
                    assert_eq!(all[1..], ["Final(Ok)".to_owned(), whole], "{step}");
                }
            }
            // The rest was lost: other messages come, and do not end where it should.
            for more in 1..closed.len() {
                let length = before.len() + closed.len() + more;
                let begun = format!("\r\n+QSSLURC: \"recv\",4,{length}\r\n{before}");
                let mut decoder = Decoder::new();
                let mut input = begun.as_bytes();
                while decoder.decode(&mut input).is_some() {}
                decoder.resumes();
                assert_eq!(decoder.decode(&mut closed.as_bytes()), None);
                assert!(
                    decoder.late_payload_is_open() && !decoder.settle_late_payload(),
                    "{more}: it is not whole"
                );
                let all = decode_with_pause(begun.as_bytes(), closed.repeat(3).as_bytes(), 5);
                let (is_noticed, ends_a_line) = (all[1] == cut_short, more == closed.len() - 2);
                assert!(is_noticed != ends_a_line, "{more}: {all:?}");
            }
            // Nothing need follow payload.
            let begun = format!("\r\n+QSSLURC: \"recv\",4,{}\r\n{before}", before.len() + closed.len());
            let mut decoder = Decoder::new();
            let mut input = begun.as_bytes();
            while decoder.decode(&mut input).is_some() {}
            decoder.resumes();
            assert_eq!(decoder.decode(&mut closed.as_bytes()), None);
            assert!(decoder.settle_late_payload());
            let whole = Message::Payload { bytes: closed.as_bytes(), left: 0 };
            assert_eq!(decoder.decode(&mut &b""[..]), Some(whole));
            assert_eq!(decoder.decode(&mut &b"\r\nOK\r\n"[..]), Some(Message::Final(Final::Ok)));
        }
    }

    #[test]
    fn the_last_bytes_of_payload_behind_a_pause_wait_for_what_a_module_says_that_has_booted() {
        let header = b"\r\n+QSSLURC: \"recv\",4,1\r\n";
        let mut decoder = Decoder::new();
        let mut input = &header[..];
        assert!(matches!(decoder.decode(&mut input), Some(Message::Urc(Urc::Pushed(..)))));
        while !input.is_empty() {
            assert_eq!(decoder.decode(&mut input), None);
        }
        decoder.resumes();
        let mut again = Decoder { line: decoder.line.clone(), ..Decoder::new() };
        again.state = decoder.state;
        assert_eq!(decoder.decode(&mut &b"\r"[..]), None);
        assert!(decoder.late_payload_is_open());
        assert_eq!(decoder.decode(&mut &b"\nRDY\r\n"[..]), Some(Message::Urc(Urc::Ready)));
        assert_eq!(again.decode(&mut &b"\r"[..]), None);
        assert!(again.settle_late_payload() && !again.settle_late_payload());
        assert_eq!(again.decode(&mut &b""[..]), Some(Message::Payload { bytes: b"\r", left: 0 }));
        assert_eq!(again.decode(&mut &b"\r\nOK\r\n"[..]), Some(Message::Final(Final::Ok)));
    }

    /// It was waited for until the connections of the port were reset.
    #[test]
    fn payload_of_one_byte_after_a_pause_in_the_line_end_before_it_is_delivered() {
        let mut decoder = Decoder::new();
        let mut input = &b"\r\n+QSSLURC: \"recv\",4,1\r"[..];
        assert!(matches!(decoder.decode(&mut input), Some(Message::Urc(Urc::Pushed(..)))));
        assert_eq!(decoder.decode(&mut input), None);
        decoder.resumes();
        assert_eq!(decoder.decode(&mut &b"\n+"[..]), None, "it could begin another message");
        assert!(decoder.settle_late_payload());
        assert_eq!(decoder.decode(&mut &b""[..]), Some(Message::Payload { bytes: b"+", left: 0 }));
        assert_eq!(decoder.decode(&mut &b"\r\nOK\r\n"[..]), Some(Message::Final(Final::Ok)));
    }

    #[test]
    fn behind_a_pause_inside_payload_the_echo_of_what_was_sent_is_none_of_it() {
        let header = b"\r\n+QSSLURC: \"recv\",4,16\r\n";
        for (rest, is_echo) in [
            (&b"AT+QSSLSTATE=1\r\r\n"[..], true),
            (b"AT+QSSLSTATE=2\r\n", false),
            (b"AT+QSSLSTATE=10\r\n", false),
            (b"AT\r\n and others\r\n", false),
        ] {
            let mut decoder = Decoder::new();
            decoder.expect_echo(b"AT+QSSLSTATE=1");
            let mut input = &header[..];
            assert!(matches!(decoder.decode(&mut input), Some(Message::Urc(Urc::Pushed(..)))));
            assert_eq!(decoder.decode(&mut input), None);
            decoder.resumes();
            let (mut input, mut payload, mut is_cut_short) = (rest, 0, false);
            while let Some(message) = decoder.decode(&mut input) {
                match message {
                    Message::Payload { bytes, .. } => payload += bytes.len(),
                    message => is_cut_short |= matches!(message, Message::Malformed(CUT_SHORT)),
                }
            }
            assert_eq!(
                (payload, is_cut_short),
                (if is_echo { 0 } else { 16 }, is_echo),
                "{}",
                rest.escape_ascii()
            );
        }
    }

    #[test]
    fn field_answers_of_qsslrecv() {
        let expected = ["ReceivedHeader { length: 6 }", "payload julian", "Final(Ok)"];
        decodes_to(b"\r\n+QSSLRECV: 6\r\njulian\r\n\r\nOK\r\n", &expected);
        decodes_to(b"\r\n+QSSLRECV: 6\r\njulian\r\nOK\r\n", &expected);
        decodes_to(
            b"AT+QSSLRECV=10,1500\r\r\n+QSSLRECV: 6\r\njulian\r\n\r\nOK\r\n",
            &["Echo", expected[0], expected[1], expected[2]],
        );
        decodes_to(b"\r\n+QSSLRECV: 0\r\n\r\nOK\r\n", &["ReceivedHeader { length: 0 }", "Final(Ok)"]);
    }

    #[test]
    fn payload_is_framed_by_its_length_and_by_nothing_else() {
        decodes_to(
            b"\r\n+QSSLURC: \"recv\",4,18\r\n\r\nOK\r\nNO CARRIER\r\n\r\nOK\r\n",
            &[
                "Urc(Pushed(Ssl, Some(SocketId(4)), 18))",
                "payload \\r\\nOK\\r\\nNO CARRIER\\r\\n",
                "Final(Ok)",
            ],
        );
        decodes_to(
            b"\r\n+QSSLURC: \"recv\",0,2\r\n\n>\r\n+QSSLURC: \"closed\",0\r\n",
            &["Urc(Pushed(Ssl, Some(SocketId(0)), 2))", "payload \\n>", "Urc(Closed(Ssl, SocketId(0)))"],
        );
    }

    #[test]
    fn lost_and_added_bytes_of_payload_are_noticed_where_it_should_end() {
        let urc = |announced: usize, payload: &str| {
            let next = "\r\n+QSSLURC: \"closed\",0\r\n";
            format!("\r\n+QSSLURC: \"recv\",0,{announced}\r\n{payload}{next}").into_bytes()
        };
        for (announced, payload) in
            [(8, "1234567"), (8, "123456"), (8, "1"), (7, "12345678"), (6, "12345678")]
        {
            for step in 1..40 {
                let all = decode_all(&urc(announced, payload), step);
                assert!(all[2].starts_with("Malformed"), "{announced} {payload}: {all:?}");
            }
        }
        // Some modules put no empty line before this one.
        let expected =
            ["Urc(Pushed(Ssl, Some(SocketId(0)), 2))", "payload ok", "Urc(Opened(Ssl, SocketId(1), 0))"];
        decodes_to(b"\r\n+QSSLURC: \"recv\",0,2\r\nok+QSSLOPEN: 1,0\r\n", &expected);
        // What an idle line lets through is not part of anything.
        let expected =
            ["Urc(Pushed(Ssl, Some(SocketId(0)), 2))", "payload ok", "Urc(Closed(Ssl, SocketId(0)))"];
        decodes_to(b"\r\n+QSSLURC: \"recv\",0,2\r\nok\0\xFF\r\n+QSSLURC: \"closed\",0\r\n", &expected);
    }

    #[test]
    fn an_echo_may_stand_straight_after_payload_and_nothing_else_that_looks_like_one() {
        let said = b"\r\n+QSSLURC: \"recv\",0,2\r\nokAT+QSSLSEND=0,4\r\r\n> ";
        for (echo, is_one) in [(&b"AT+QSSLSEND=0,4"[..], true), (b"AT+QSSLSEND=1,4", false), (b"AT", false)] {
            let mut decoder = Decoder::new();
            decoder.expect_echo(echo);
            decoder.expect_prompt(true);
            let mut all = Vec::new();
            for piece in said.chunks(3) {
                let mut piece = piece;
                while let Some(message) = decoder.decode(&mut piece) {
                    all.push(format!("{message:?}"));
                }
            }
            let is_malformed = all.iter().any(|message| message.starts_with("Malformed"));
            assert_eq!(is_malformed, !is_one, "{all:?}");
            assert!(!is_one || all.last().is_some_and(|message| message == "Prompt"), "{all:?}");
        }
    }

    #[test]
    fn an_echo_may_stand_straight_after_payload_that_comes_late() {
        let echo = b"AT+QSSLSEND=0,4";
        let announced = b"\r\n+QSSLURC: \"recv\",0,";
        for byte in (0x21..0x7F).chain([b'\r', b'\n']) {
            let rest = [&b"1\r\n"[..], &[byte], echo, b"\r\r\n> "].concat();
            for split in 0..=rest.len() {
                let mut decoder = Decoder::new();
                decoder.expect_echo(echo);
                decoder.expect_prompt(true);
                let mut all = Vec::new();
                for (is_late, mut piece) in
                    [(false, &announced[..]), (true, &rest[..split]), (true, &rest[split..])]
                {
                    if is_late {
                        decoder.resumes();
                    }
                    while let Some(message) = decoder.decode(&mut piece) {
                        all.push(format!("{message:?}"));
                    }
                }
                let payload = format!("{:?}", Message::Payload { bytes: &[byte], left: 0 });
                assert_eq!(
                    all[1..].iter().filter(|message| **message == payload).count(),
                    1,
                    "{split}: {all:?}"
                );
                assert!(
                    !all.iter().any(|message| message.starts_with("Malformed")),
                    "{byte:#x}, {split}: {all:?}"
                );
                assert_eq!(all.last().map(String::as_str), Some("Prompt"), "{byte:#x}, {split}: {all:?}");
            }
        }
    }

    #[test]
    fn an_open_may_be_reported_straight_after_payload_that_comes_late() {
        for payload in [&b"\r\n"[..], b"\r\n+", b"+", b"ab"] {
            let header = format!("\r\n+QSSLURC: \"recv\",0,{}\r\n", payload.len());
            let rest = [payload, b"+QSSLOPEN: 1,0\r\n"].concat();
            for split in 0..=rest.len() {
                let mut decoder = Decoder::new();
                let mut all = Vec::new();
                for mut piece in [header.as_bytes(), &rest[..split], &rest[split..]] {
                    while let Some(message) = decoder.decode(&mut piece) {
                        all.push(format!("{message:?}"));
                    }
                    decoder.resumes();
                }
                assert!(!all.iter().any(|message| message.starts_with("Malformed")), "{split}: {all:?}");
                assert_eq!(
                    all.last().map(String::as_str),
                    Some("Urc(Opened(Ssl, SocketId(1), 0))"),
                    "{split}: {all:?}"
                );
            }
        }
    }

    #[test]
    fn a_length_only_announces_where_nothing_is_pushed() {
        let said = b"\r\n+QSSLURC: \"recv\",3,1460\r\n\r\n+QSSLURC: \"recv\",4,2\r\nOK\r\nOK\r\n";
        for step in 1..said.len() {
            let mut decoder = Decoder::new();
            decoder.set_sockets(Numbers { announcing: 1 << 3, plain: 0 });
            let mut all = Vec::new();
            for mut piece in said.chunks(step) {
                while let Some(message) = decoder.decode(&mut piece) {
                    all.push(format!("{message:?}"));
                }
            }
            assert_eq!(all[0], "Urc(Receivable(Ssl, SocketId(3)))");
            assert_eq!(all[1], "Urc(Pushed(Ssl, Some(SocketId(4)), 2))");
            assert_eq!(all.last().map(String::as_str), Some("Final(Ok)"));
            assert_eq!(all.iter().filter(|message| message.starts_with("Final")).count(), 1);
        }
    }

    #[test]
    fn a_urc_without_its_head_is_information_and_nothing_more() {
        decodes_to(
            b"QIURC: \"recv\",11\r\nAT+QSSLSTATE=11\r\r\nOK\r\n",
            &["Information(\"QIURC: \\\"recv\\\",11\")", "Echo", "Final(Ok)"],
        );
    }

    #[test]
    fn the_result_of_a_time_server_is_told_from_its_name() {
        decodes_to(
            b"\r\nOK\r\n\r\n+QNTP: 0,\"2026/08/07,05:54:02+00\"\r\n",
            &["Final(Ok)", "Urc(NetworkTime(0))"],
        );
        decodes_to(b"\r\n+QNTP: 565\r\n", &["Urc(NetworkTime(565))"]);
        decodes_to(
            b"\r\n+QNTP: \"pool.ntp.org\",123\r\n\r\nOK\r\n",
            &["Information(\"+QNTP: \\\"pool.ntp.org\\\",123\")", "Final(Ok)"],
        );
    }

    #[test]
    fn open_results_in_any_shape() {
        decodes_to(b"\r\nOK\r\n\r\n+QSSLOPEN: 1,0\r\n", &["Final(Ok)", "Urc(Opened(Ssl, SocketId(1), 0))"]);
        decodes_to(b"\r\nOK\r\n+QSSLOPEN: 0,559\r\n", &["Final(Ok)", "Urc(Opened(Ssl, SocketId(0), 559))"]);
    }

    #[test]
    fn the_prompt_is_seen_without_a_line_end_but_only_when_expected() {
        for prompt in [&b"\r\n> "[..], b"\r\n>", b">", b"\r\n> \r\n"] {
            let mut decoder = Decoder::new();
            decoder.expect_prompt(true);
            let mut input = prompt;
            assert_eq!(decoder.decode(&mut input), Some(Message::Prompt));
            assert_eq!(decoder.decode(&mut input), None);
            let mut input = &b"\r\nSEND OK\r\n"[..];
            assert_eq!(decoder.decode(&mut input), Some(Message::Final(Final::SendOk)));
        }
        decodes_to(b"\r\n> \r\nOK\r\n", &["Information(\">\")", "Final(Ok)"]);
    }

    #[test]
    fn errors_come_as_numbers_and_as_texts() {
        decodes_to(b"\r\n+CME ERROR: 10\r\n", &["Final(CmeError(\"10\"))"]);
        decodes_to(b"\r\n+CME ERROR: SIM failure\r\n", &["Final(CmeError(\"SIM failure\"))"]);
    }

    #[test]
    fn noise_before_a_line_is_skipped() {
        decodes_to(b"\xE0\0\r\nOK\r\n", &["Final(Ok)"]);
    }

    #[test]
    fn a_line_with_noise_in_it_does_not_count_as_what_is_left_of_it_without() {
        for (line, message) in [
            (&b"OK\x80junk"[..], "Information(\"OK\u{FFFD}junk\")"),
            (b"OK\xFF", "Information(\"OK\u{FFFD}\")"),
            (b"SEND OK\xC3", "Information(\"SEND OK\u{FFFD}\")"),
            (b"RDY\xFE\xFE", "Information(\"RDY\u{FFFD}\u{FFFD}\")"),
            (b"+QSSLURC: \"closed\",1\x80", "Information(\"+QSSLURC: \\\"closed\\\",1\u{FFFD}\")"),
            (b"+QSSLOPEN: 1,0\x80", "Information(\"+QSSLOPEN: 1,0\u{FFFD}\")"),
            // Its payload follows, of unknown length.
            (b"+QSSLRECV: 1\x80", "Malformed(\"1\u{FFFD}\")"),
            (b"+QSSLURC: \"recv\",1,1\x800", "Malformed(\"\\\"recv\\\",1,1\u{FFFD}0\")"),
        ] {
            let input = [b"\r\n", line, b"\r\n\r\nOK\r\n"].concat();
            decodes_to(&input, &[message, "Final(Ok)"]);
        }
        // Some report this about an operator, a network, a file.
        decodes_to(
            "\r\n+COPS: 0,0,\"Télécom\"\r\n".as_bytes(),
            &["Information(\"+COPS: 0,0,\\\"Télécom\\\"\")"],
        );
        // What is shown of a line without end is text wherever it is cut off.
        decodes_to(
            &[&[b'x'; 63][..], &"é".repeat(2_000).into_bytes()].concat(),
            &[&format!("Malformed(\"{}\u{FFFD}\")", "x".repeat(63))],
        );
    }

    #[test]
    fn impossible_lengths_are_malformed_and_impossible_ids_keep_the_framing() {
        for line in [
            "+QSSLURC: \"recv\",1,-5",
            "+QSSLURC: \"recv\",1,16385",
            "+QSSLURC: \"recv\",1,99999999999999999999999",
            "+QSSLRECV: 1501",
            "+QSSLRECV: x",
        ] {
            let input = format!("\r\n{line}\r\n");
            let all = decode_all(input.as_bytes(), 7);
            assert!(all.len() == 1 && all[0].starts_with("Malformed"), "{line}: {all:?}");
        }
        decodes_to(
            b"\r\n+QSSLURC: \"recv\",77,2\r\nOK\r\nOK\r\n",
            &["Urc(Pushed(Ssl, None, 2))", "payload OK", "Final(Ok)"],
        );
    }

    #[test]
    fn payload_in_the_line_of_its_length_is_skipped_and_whose_it_was_is_known() {
        let long = [b'z'; 9_000];
        for payload in [&b"abcd"[..], b"\xFF\xFE\xFDd", b"abc\r", b"a\r\nOK\r\n", b"", &long] {
            let header = format!("\r\n+QSSLURC: \"recv\",1,{},", payload.len());
            let input = [header.as_bytes(), payload, b"\r\nOK\r\n"].concat();
            for step in [1, 7, input.len()] {
                let mut all = decode_all(&input, step);
                all.retain(|message| !message.starts_with("payload "));
                assert_eq!(all, ["Urc(InOneLine(Ssl, SocketId(1)))", "Final(Ok)"], "{step} {payload:?}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_reported_once_and_takes_no_memory() {
        let mut input = vec![b'x'; 1_000_000];
        input.extend_from_slice(b"\r\nOK\r\n");
        let all = decode_all(&input, 1000);
        assert_eq!(all.len(), 2);
        assert!(all[0].starts_with("Malformed"));
        assert_eq!(all[1], "Final(Ok)");
    }

    #[test]
    fn test_answers_are_information() {
        decodes_to(
            b"\r\n+QSSLRECV: (0-11),(1-1500)\r\n\r\nOK\r\n",
            &["Information(\"+QSSLRECV: (0-11),(1-1500)\")", "Final(Ok)"],
        );
        let open = b"\r\n+QSSLOPEN: (1-16),(0-5),(0-11),<serveraddr>,<server_port>[,(0-2)]\r\n";
        assert!(decode_all(open, 5)[0].starts_with("Information"));
    }

    /// What the modem sends for others between two messages of ours, however its bytes are split.
    #[test]
    fn a_number_is_of_one_command_set_at_a_time() {
        let said = b"\r\n+QIURC: \"recv\",3,2\r\nhi\r\n+QSSLURC: \"recv\",3,4\r\n\r\nOK\r\n+QSSLURC: \"closed\",3\r\n\
                     \r\n+QIURC: \"recv\",3\r\n\r\n+QIURC: \"closed\",3\r\n\r\n+QIURC: \"pdpdeact\",1\r\n";
        let of_plain = [
            "Urc(Pushed(Ip, Some(SocketId(3)), 2))",
            "payload hi",
            "Foreign(\"+QSSLURC: \\\"recv\\\",3,4\")",
            "payload \\r\\nOK",
            "Information(\"+QSSLURC: \\\"closed\\\",3\")",
            "Urc(Receivable(Ip, SocketId(3)))",
            "Urc(Closed(Ip, SocketId(3)))",
            "Urc(PdpDeactivated(1))",
        ];
        let of_tls = [
            "Foreign(\"+QIURC: \\\"recv\\\",3,2\")",
            "payload hi",
            "Urc(Pushed(Ssl, Some(SocketId(3)), 4))",
            "payload \\r\\nOK",
            "Urc(Closed(Ssl, SocketId(3)))",
            "Information(\"+QIURC: \\\"recv\\\",3\")",
            "Information(\"+QIURC: \\\"closed\\\",3\")",
            "Urc(PdpDeactivated(1))",
        ];
        for (plain, expected) in [(1 << 3, of_plain), (0, of_tls)] {
            let mut decoder = Decoder::new();
            decoder.set_sockets(Numbers { announcing: 0, plain });
            let (mut input, mut all) = (&said[..], Vec::new());
            while let Some(message) = decoder.decode(&mut input) {
                all.push(match message {
                    Message::Payload { bytes, .. } => format!("payload {}", bytes.escape_ascii()),
                    other => format!("{other:?}"),
                });
            }
            assert_eq!(all, expected, "{plain}");
        }
    }

    #[test]
    fn what_other_programs_make_the_modem_say_is_not_about_us() {
        let file = include_str!("../../tests/answers/other-programs.txt");
        let entries = super::super::transcript::Transcript::parse(file).unwrap().entries;
        assert!(entries.len() > 25);
        for entry in entries {
            let super::super::transcript::Event::Modem(said) = entry.event else { panic!("{entry:?}") };
            let said = said.made_up();
            let input = [&said[..], b"\r\n+QSSLURC: \"recv\",1,2\r\nhi\r\nOK\r\n"].concat();
            let ours = |all: Vec<String>| -> Vec<String> {
                let is_ours = |one: &String| {
                    ["Urc", "Final", "Malformed", "payload hi"].iter().any(|start| one.starts_with(start))
                };
                all.into_iter().filter(is_ours).collect()
            };
            let expected = ["Urc(Pushed(Ssl, Some(SocketId(1)), 2))", "payload hi", "Final(Ok)"];
            for step in 1..=input.len() {
                assert_eq!(
                    ours(decode_all(&input, step)),
                    expected,
                    "line {} in steps of {step}",
                    entry.line
                );
            }
            for split in 1..input.len() {
                let pieces = [&input[..split], &input[split..]];
                assert_eq!(ours(decode_pieces(&pieces)), expected, "line {} split at {split}", entry.line);
            }
        }
    }

    #[test]
    fn what_does_not_come_of_another_program_is_given_up() {
        for said in [
            &b"\r\n+QIURC: \"recv\",5,52\r\n\r\n+QSS"[..],
            b"\r\n+QIURC: \"recv\",5,52\r",
            b"\r\n+CMT: \"+49\",,\"26/11/26,17:00:00+04\"\r\n",
            b"\r\n+CMT: \"+49\",,\"26/11/26,17:00:00+04\"\r\nhello\r\n",
            b"\r\n+CUSD: 0,\"hello\r\n",
            b"\r\n+QMTRECV: 0,0,\"alerts\",70,\"x\r",
        ] {
            let mut decoder = Decoder::new();
            let mut input = said;
            while decoder.decode(&mut input).is_some() {}
            assert!(decoder.is_inside_foreign() && decoder.give_up_foreign(), "{}", said.escape_ascii());
            assert!(!decoder.give_up_foreign());
            let mut input = &b"\r\nOK\r\n"[..];
            assert_eq!(decoder.decode(&mut input), Some(Message::Final(Final::Ok)));
        }
    }

    #[test]
    fn before_an_echo_nothing_is_skipped_that_a_line_could_begin_with() {
        let skipped = |decoder: &mut Decoder, mut input: &[u8]| {
            let before = input.len();
            while decoder.skip_before_echo(&mut input) {}
            before - input.len()
        };
        let mut decoder = Decoder::new();
        for (input, count) in [(&b" E"[..], 1), (b"\0\xE0 E", 3), (b"\r\nOK\r\n", 2), (b"\nOK", 1), (b"", 0)]
        {
            assert_eq!(skipped(&mut decoder, input), count, "{}", input.escape_ascii());
        }
        assert_eq!(decoder.decode(&mut &b"\r\nRING\r"[..]), Some(Message::Information("RING")));
        assert_eq!(skipped(&mut decoder, b"\nE"), 1);
        // What was taken for an echo may be the beginning of a line.
        decoder.begin_line(b"S");
        assert_eq!(decoder.decode(&mut &b"END OK\r"[..]), Some(Message::Final(Final::SendOk)));
        // Nor is anything skipped inside of a line or of payload.
        assert_eq!(decoder.decode(&mut &b"RIN"[..]), None);
        assert_eq!(skipped(&mut decoder, b" E"), 0);
        decoder.reset();
        decoder.expect_raw(3);
        assert_eq!(skipped(&mut decoder, b" E"), 0);
    }

    #[test]
    fn an_echo_straight_after_such_a_text_ends_it() {
        for said in [
            "\r\n+QMTRECV: 0,0,\"alerts\",\"plain\"\r\n",
            "\r\n+QMTRECV: 0,0,\"alerts\",\"{\r\n+QSSLURC: \"closed\",0\r\n}\"\r\n",
            "\r\n+CMT: \"+49\",,\"26/11/26,17:00:00+04\"\r\nhello\r\n",
        ] {
            let input = [said, "AT+QSSLSEND=1,4\r\r\n+QSSLURC: \"closed\",0\r\n"].concat();
            for step in 1..input.len() {
                let mut decoder = Decoder::new();
                decoder.expect_echo(b"AT+QSSLSEND=1,4");
                let mut all = Vec::new();
                for mut piece in input.as_bytes().chunks(step) {
                    while let Some(message) = decoder.decode(&mut piece) {
                        all.push(format!("{message:?}"));
                    }
                }
                assert_eq!(all[1..], ["Echo", "Urc(Closed(Ssl, SocketId(0)))"], "{input} in steps of {step}");
            }
        }
        let mut decoder = Decoder::new();
        decoder.expect_echo(b"AT+QSSLSEND=1,4");
        let mut input = &b"\r\n+CMT: \"+49\",,\"26\"\r\na\r\nAT+QSSLSEND=2\r\n+QSSLURC: \"closed\",0\r\n"[..];
        assert!(matches!(decoder.decode(&mut input), Some(Message::Foreign(_))));
        assert_eq!(decoder.decode(&mut input), None, "another line than ours is part of the text");
    }

    #[test]
    fn a_line_with_an_odd_number_of_quotes_hides_nothing() {
        let pushed = "\r\n+QSSLURC: \"recv\",0,5\r\nhello\r\n\r\nOK\r\n";
        for line in [
            "+CMTI: \"ME,3",
            "+CLIP: \"+49\",145,\"A\"B\",,\"\",0",
            "+CNAP: \"Joe\"s\"",
            "+CGEV: \"x",
            "+CREG: 2,\"x",
            "+COPS: 0,0,\"O\"2\",7",
            "+QHTTPURC: \"a\"b\"",
            "+CUSD: 0,\"5\" screens\",15",
        ] {
            let input = format!("\r\n{line}\r\n{pushed}");
            let expected = [
                &format!("Information({line:?})")[..],
                "Urc(Pushed(Ssl, Some(SocketId(0)), 5))",
                "payload hello",
                "Final(Ok)",
            ];
            decodes_to(input.as_bytes(), &expected);
        }
    }

    #[test]
    fn what_looks_like_a_push_inside_a_text_is_reported() {
        let foreign = |line: &str| format!("Foreign({line:?})");
        for (line, inside) in [
            ("+CUSD: 0,\"text", "+QSSLURC: \"recv\",0,5"),
            ("+CUSD: 0,\"a\" b", "\0+QSSLURC: \"recv\",11,1460"),
            ("+QXYZ: \"a\"b\"", "+QIURC: \"recv\",5,5"),
            ("+CMT: \"+49\",,\"26/11/26\"", "hello\r\n+QSSLURC: \"recv\",0,5"),
            ("+QMTRECV: 0,0,\"alerts\",\"x", "+QSSLURC: \"recv\",0,5"),
            ("+QMTRECV: 0,0,\"alerts\",70,\"x", "+QSSLURC: \"recv\",77,5"),
            // Its length was altered, or its head was lost.
            ("+CUSD: 0,\"text", "+QSSLURC: \"recv\",0,5x"),
            ("+CUSD: 0,\"text", "URC: \"recv\",0,5"),
        ] {
            let input = format!("\r\n{line}\r\n\r\n{inside}\r\nhello\r\n");
            decodes_to(input.as_bytes(), &[&foreign(line), "PushInText"]);
        }
        for inside in [
            "+QSSLURC: \"recv\",0",
            "+QSSLURC: \"recv\",0,0",
            "+QSSLURC: \"closed\",0",
            "x+QSSLURC: \"recv\",0,5",
            "OK",
        ] {
            let input = format!("\r\n+CUSD: 0,\"text\r\n{inside}\r\n\",15\r\n\r\nOK\r\n");
            decodes_to(input.as_bytes(), &[&foreign("+CUSD: 0,\"text"), "Final(Ok)"]);
        }
        // Of our own that are in buffer mode.
        for (inside, is_reported) in [("+QSSLURC: \"recv\",3,5", false), ("+QIURC: \"recv\",3,5", true)] {
            let mut decoder = Decoder::new();
            decoder.set_sockets(Numbers { announcing: 1 << 3, plain: 0 });
            let input = format!("\r\n+CUSD: 0,\"text\r\n{inside}\r\n\",15\r\n");
            let mut input = input.as_bytes();
            assert!(matches!(decoder.decode(&mut input), Some(Message::Foreign(_))));
            assert_eq!(decoder.decode(&mut input).is_some(), is_reported, "{inside}");
        }
    }

    #[test]
    fn an_announcement_that_ends_after_its_text_was_given_up_is_not_taken_for_a_whole_one() {
        let before = b"\r\n+CUSD: 0,\"text\r\n\r\n+QSSLURC: \"recv\",0,5";
        for cut in 1..=5 {
            let mut decoder = Decoder::new();
            let mut input = &before[..before.len() - cut];
            while decoder.decode(&mut input).is_some() {}
            assert!(decoder.give_up_foreign());
            let rest = [&before[before.len() - cut..], b"\r\nhello\r\n"].concat();
            let mut input = rest.as_slice();
            assert!(matches!(decoder.decode(&mut input), Some(Message::Malformed(_))), "{cut}");
        }
    }

    #[test]
    fn text_without_end_takes_no_memory_and_breaks_nothing() {
        let mut input = b"\r\n+QMTRECV: 0,0,\"alerts\",\"".to_vec();
        input.resize(1_000_000, b'x');
        input.extend_from_slice(b"\r\n\r\nOK\r\n");
        let all = decode_all(&input, 1000);
        assert!(all[0].starts_with("Foreign"), "{all:?}");
        assert_eq!(&all[1..], ["Final(Ok)"]);
    }

    #[test]
    fn the_text_of_stored_messages_is_an_answer_and_nothing_else() {
        decodes_to(
            b"\r\n+CMGL: 1,\"REC READ\",\"+49\",,\"26/11/26\"\r\n+QSSLURC: \"closed\",0\r\n+CMGL: 2\r\nOK\r\n\r\nOK\r\n",
            &[
                "Information(\"+CMGL: 1,\\\"REC READ\\\",\\\"+49\\\",,\\\"26/11/26\\\"\")",
                "Information(\"+QSSLURC: \\\"closed\\\",0\")",
                "Information(\"+CMGL: 2\")",
                "Information(\"OK\")",
                "Final(Ok)",
            ],
        );
        decodes_to(b"\r\n+CMGR: 0,,0\r\n\r\nOK\r\n", &["Information(\"+CMGR: 0,,0\")", "Final(Ok)"]);
    }

    #[test]
    fn payload_whose_announcement_lost_its_head_is_not_taken_for_messages() {
        for line in
            ["QSSLURC: \"recv\",0,4", "URC: \"recv\",0,4", "recv\",5,52", ",0,1460", "QIURC: \"recv\",5,52"]
        {
            let all = decode_all(format!("{line}\r\nBADX").as_bytes(), 3);
            assert!(all[0].starts_with("Malformed"), "{line}: {all:?}");
        }
        assert!(decode_all(b"RC: \"recv\",11\r\n", 5)[0].starts_with("Information"));
    }
}
