//! The dialogue byte by byte, for what the answers to commands do not show. The core rests meanwhile.

use std::time::{Duration, Instant};

use super::{Survey, rebooted};
use qssl_core::Kind;
use qssl_core::at::SocketId;
use qssl_core::modem::Failure;

/// What is heard on the port, and what must happen before the core may have it back.
#[derive(Default)]
pub struct Wire {
    heard: Vec<u8>,
    state: State,
    /// Whose end ends the measurement. Other programs may have connections too.
    socket: Option<SocketId>,
    /// The end of what came, to find messages that came in two parts.
    recent: Vec<u8>,
    /// Why the measurement cannot go on.
    ended: Option<(Kind, &'static str)>,
    /// How often in succession payload did not come back.
    lost: u32,
    /// The server was told to end the connection.
    may_end: bool,
}

/// What the modem takes bytes for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Commands,
    /// Nothing, until the answer to a line has come.
    Answer,
    /// A prompt for so many bytes of payload may come.
    Prompt(usize),
    /// So many bytes of payload are expected.
    Payload(usize),
    /// Payload, until an escape.
    Data,
    /// Frames of the multiplexer.
    Frames,
}

/// How a send has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendEnd {
    Ok,
    Fail,
    /// No prompt.
    Refused,
}

/// A send.
pub struct Sent {
    pub end: SendEnd,
    /// From the command to the prompt.
    pub prompt: Duration,
    /// From the last byte to the result.
    pub result: Duration,
}

/// What one AT+QSSLRECV returned.
pub struct Fetched {
    pub bytes: Vec<u8>,
    /// What came between the bytes and OK.
    pub tail: Vec<u8>,
}

impl Survey {
    /// Uses the port without the core. Afterwards the modem takes commands again, also after a failure.
    pub(super) fn on_wire<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.with_wire(Wire::default(), work)
    }

    /// The same, until this socket ends.
    pub(super) fn on_wire_of<T>(
        &mut self,
        socket: SocketId,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.with_wire(Wire { socket: Some(socket), ..Wire::default() }, work)
    }

    fn with_wire<T>(
        &mut self,
        wire: Wire,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.wire = wire;
        let outcome = work(self);
        // A signal may cut off the way back as well; the second one is the user's last word.
        if self.leave_wire().is_err() && self.leave_wire().is_err() {
            log::warn!("the modem may not take commands: its line could not be left in order");
        }
        if self.has_rebooted_here() { Err(rebooted()) } else { outcome }
    }

    /// Whether the reboot was read here, where the core does not see it.
    fn has_rebooted_here(&self) -> bool {
        matches!(self.wire.ended, Some((Kind::ModemLost, _)))
    }

    fn leave_wire(&mut self) -> Result<(), Failure> {
        if self.has_rebooted_here() {
            self.wire.state = State::Commands;
        }
        match self.wire.state {
            State::Commands => {}
            State::Answer => {
                self.hear(RESULT_LIMIT, last_line)?;
            }
            State::Prompt(missing) => {
                if self.hear(RESULT_LIMIT, prompted)? == Some(true) {
                    self.fill_up(missing)?;
                }
            }
            State::Payload(missing) => self.fill_up(missing)?,
            State::Data => {
                self.escape()?;
            }
            State::Frames => self.leave_frames()?,
        }
        self.wire.state = State::Commands;
        self.hear_silence(LAST_WORDS)?;
        self.wire.heard.clear();
        Ok(())
    }

    /// Leaves the multiplexer wherever the way into it was cut off. CLD is only taken on an open channel.
    fn leave_frames(&mut self) -> Result<(), Failure> {
        self.hear_silence(PAUSE)?;
        for turn in 0..FRAME_TURNS {
            self.write(OPEN_CHANNEL)?;
            self.hear_silence(PAUSE)?;
            self.write(CLOSE_DOWN)?;
            self.hear_silence(PAUSE)?;
            // The first ends the line that the frames have made where the modem takes commands.
            self.exchange("AT", FRAME_LIMIT)?;
            if has(&self.exchange("AT", FRAME_LIMIT)?, b"OK\r\n") {
                return Ok(());
            }
            log::debug!("the multiplexer has not ended: turn {}", turn + 1);
        }
        let left = "the modem takes no commands after AT+CMUX=0: switch it off and on";
        self.refused.push(left.to_owned());
        Ok(())
    }

    /// Gives the modem the rest of a payload.
    fn fill_up(&mut self, missing: usize) -> Result<(), Failure> {
        self.wire.heard.clear();
        self.write(&b"\n".repeat(missing))?;
        self.hear(RESULT_LIMIT, last_line)?;
        Ok(())
    }

    pub(super) fn set_state(&mut self, state: State) {
        self.wire.state = state;
    }

    /// Writes a line, which is answered when `find` finds something in what is heard; `None`: it did not come in time.
    pub(super) fn ask<T>(
        &mut self,
        line: &str,
        limit: Duration,
        find: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let state = self.wire.state;
        if state == State::Commands {
            self.wire.state = State::Answer;
        }
        self.write(format!("{line}\r").as_bytes())?;
        let found = self.hear(limit, find)?;
        self.wire.state = state;
        Ok(found)
    }

    /// Writes these bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let line = self.conversation.line();
        line.ok_or_else(|| Failure::new(Kind::Failed, "the daemon has the port"))?.write(bytes)
    }

    fn read(&mut self, until: Instant) -> Result<bool, Failure> {
        let line = self.conversation.line();
        let bytes = line.ok_or_else(|| Failure::new(Kind::Failed, "the daemon has the port"))?.read(until)?;
        self.wire.heard.extend(&bytes);
        self.wire.recent.extend(&bytes);
        let closed = self.wire.socket.map(|socket| format!("+QSSLURC: \"closed\",{socket}\r\n"));
        let closed = closed.as_ref().map(|it| (it.as_bytes(), Kind::Failed, "the connection ended"));
        for (message, kind, what) in closed.into_iter().chain(ENDS) {
            let is_expected = self.wire.may_end && kind == Kind::Failed;
            if !is_expected && has(&self.wire.recent, message) {
                self.wire.ended = Some((kind, what));
                self.has_rebooted |= kind == Kind::ModemLost;
            }
        }
        let kept = self.wire.recent.len().min(RECENT_BYTES);
        self.wire.recent.drain(..self.wire.recent.len() - kept);
        Ok(!bytes.is_empty())
    }

    /// Fails if the connection of a measurement has ended.
    pub(super) fn still_connected(&self) -> Result<(), Failure> {
        match self.wire.ended {
            None => Ok(()),
            Some((kind, what)) => {
                Err(Failure::new(kind, format!("{what} during a measurement: what follows was left out")))
            }
        }
    }

    /// The connection may end from here on: the server is told to.
    pub(super) fn may_end(&mut self) {
        self.wire.may_end = true;
    }

    /// Reads until `find` finds something in what was heard; `None`: it did not come in time.
    pub(super) fn hear<T>(
        &mut self,
        limit: Duration,
        mut find: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let until = Instant::now() + limit;
        loop {
            if let Some(found) = find(&self.wire.heard) {
                return Ok(Some(found));
            }
            // Nothing that was asked before it is answered.
            if self.has_rebooted_here() {
                return Err(rebooted());
            }
            if !self.read(until)? {
                return Ok(None);
            }
        }
    }

    /// Reads until nothing has come for this long, and takes all that was heard.
    pub(super) fn hear_silence(&mut self, quiet: Duration) -> Result<Vec<u8>, Failure> {
        let until = Instant::now() + RESULT_LIMIT;
        while self.read(Instant::now() + quiet)? && Instant::now() < until {}
        Ok(std::mem::take(&mut self.wire.heard))
    }

    /// Sends a line and waits for its last line and a short silence. Returns what came, byte by byte.
    pub(super) fn exchange(&mut self, line: &str, limit: Duration) -> Result<Vec<u8>, Failure> {
        self.wire.heard.clear();
        let begin = Instant::now();
        self.ask(line, limit, last_line)?;
        let time = begin.elapsed();
        let bytes = self.hear_silence(SETTLING)?;
        self.transcript.exchange(line, &bytes, time);
        Ok(bytes)
    }

    /// Sends this payload to a socket.
    pub(super) fn send(&mut self, socket: SocketId, payload: &[u8]) -> Result<Sent, Failure> {
        self.still_connected()?;
        let from = self.wire.heard.len();
        let command = format!("AT+QSSLSEND={socket},{}", payload.len());
        let begin = Instant::now();
        self.wire.state = State::Prompt(payload.len());
        self.write(format!("{command}\r").as_bytes())?;
        let is_prompted = self.hear(RESULT_LIMIT, |heard| prompted(&heard[from..]))?;
        let prompt = begin.elapsed();
        if is_prompted != Some(true) {
            self.wire.state = State::Commands;
            self.transcript.exchange(&command, b"\r\nERROR\r\n", prompt);
            return Ok(Sent { end: SendEnd::Refused, prompt, result: Duration::ZERO });
        }
        self.wire.state = State::Payload(payload.len());
        self.write(payload)?;
        let begin = Instant::now();
        let end = self.hear(RESULT_LIMIT, |heard| {
            let heard = &heard[from..];
            match has(heard, b"SEND OK\r\n") {
                true => Some(SendEnd::Ok),
                false => (has(heard, b"SEND FAIL\r\n") || has(heard, b"ERROR")).then_some(SendEnd::Fail),
            }
        })?;
        let result = begin.elapsed();
        self.wire.state = State::Commands;
        let Some(end) = end else {
            return Err(Failure::new(Kind::ModemSilent, format!("{command} had no result")));
        };
        self.transcript.sent(&command, payload.len(), end == SendEnd::Ok, prompt + result);
        Ok(Sent { end, prompt, result })
    }

    /// Reads from a socket in buffer mode; `None`: it is refused.
    pub(super) fn fetch(&mut self, socket: SocketId, most: usize) -> Result<Option<Fetched>, Failure> {
        let from = self.wire.heard.len();
        let begin = Instant::now();
        let command = format!("AT+QSSLRECV={socket},{most}");
        let fetched = self.ask(&command, RESULT_LIMIT, |heard| fetched(&heard[from..]))?.flatten();
        self.wire.heard.truncate(from);
        self.transcript.fetched(&command, fetched.as_ref().map(|it| it.bytes.len()), begin.elapsed());
        Ok(fetched)
    }

    /// Reads until so many bytes have come, or no more come.
    pub(super) fn fetch_all(&mut self, socket: SocketId, count: usize) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        let mut until = Instant::now() + ECHO_LIMIT;
        while all.len() < count && Instant::now() < until {
            let Some(fetched) = self.fetch(socket, self.profile.receive_max)? else { break };
            match fetched.bytes.is_empty() {
                true if self.wire.ended.is_some() => break,
                true => {
                    self.read(Instant::now() + POLL)?;
                }
                false => until = Instant::now() + ECHO_LIMIT,
            }
            all.extend(fetched.bytes);
        }
        self.wire.lost = if all.len() < count { self.wire.lost + 1 } else { 0 };
        if self.wire.lost >= LOST_MAX {
            self.wire.ended = Some((Kind::Failed, "payload no longer came back"));
        }
        self.still_connected()?;
        Ok(all)
    }

    /// Waits for so many pushed bytes, and takes them. The rest that was heard after them is the second.
    pub(super) fn pushed(
        &mut self,
        socket: SocketId,
        count: usize,
        limit: Duration,
    ) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let head = format!("+QSSLURC: \"recv\",{socket},");
        self.hear(limit, |heard| (pushed(heard, &head).0.len() >= count).then_some(()))?;
        self.still_connected()?;
        let (payload, end) = pushed(&self.wire.heard, &head);
        let rest = self.wire.heard.split_off(end);
        self.wire.heard.clear();
        self.transcript.remark(&format!("{} bytes were pushed", payload.len()));
        Ok((payload, rest))
    }

    /// Leaves data mode by `+++`; how long its answer takes, `None` if it is not answered.
    pub(super) fn escape(&mut self) -> Result<Option<Duration>, Failure> {
        let before = self.hear_silence(GUARD)?;
        if has(&before, NO_CARRIER) {
            self.wire.state = State::Commands;
            return Ok(None);
        }
        self.transcript.remark("+++ after a silence");
        let begin = Instant::now();
        self.write(b"+++")?;
        let answered = self.hear(GUARD * 3, |heard| has(heard, b"OK\r\n").then_some(()))?;
        let time = begin.elapsed();
        if answered.is_some() || has(&self.wire.heard, NO_CARRIER) {
            self.wire.state = State::Commands;
        }
        self.wire.heard.clear();
        Ok(answered.map(|()| time))
    }

    pub(super) fn heard(&self) -> &[u8] {
        &self.wire.heard
    }

    pub(super) fn forget_heard(&mut self) {
        self.wire.heard.clear();
    }
}

/// Whether the bytes have these in them.
pub fn has(bytes: &[u8], part: &[u8]) -> bool {
    position(bytes, part).is_some()
}

/// Where these bytes begin for the first time.
pub fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|it| it == part)
}

/// Whether the prompt has come, or an answer instead; `None`: neither.
fn prompted(bytes: &[u8]) -> Option<bool> {
    match has(bytes, b">") {
        true => Some(true),
        false => last_line(bytes).map(|_| false),
    }
}

/// The line that ends an answer, once it is complete.
pub fn last_line(bytes: &[u8]) -> Option<String> {
    let end = bytes.windows(2).rposition(|it| it == b"\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..end]);
    let is_last = |line: &&str| LAST.contains(line) || line.starts_with("+CME ERROR:");
    text.split("\r\n").map(str::trim).find(is_last).map(str::to_owned)
}

/// The answer to AT+QSSLRECV, once it is complete. Inner `None`: it is an error.
fn fetched(bytes: &[u8]) -> Option<Option<Fetched>> {
    const HEAD: &[u8] = b"+QSSLRECV: ";
    let Some(begin) = position(bytes, HEAD) else { return last_line(bytes).map(|_| None) };
    let after = &bytes[begin + HEAD.len()..];
    let (count, start) = number(after)?;
    let (body, rest) = after[start..].split_at_checked(count)?;
    let end = position(rest, b"OK\r\n")?;
    Some(Some(Fetched { bytes: body.to_vec(), tail: rest[..end].to_vec() }))
}

/// The payload of all complete messages, and where the last of them ends.
fn pushed(bytes: &[u8], head: &str) -> (Vec<u8>, usize) {
    let (mut payload, mut end) = (Vec::new(), 0);
    while let Some(begin) = position(&bytes[end..], head.as_bytes()) {
        let after = &bytes[end + begin + head.len()..];
        let Some((count, start)) = number(after) else { break };
        let Some((body, _)) = after[start..].split_at_checked(count) else { break };
        payload.extend(body);
        end += begin + head.len() + start + count;
    }
    (payload, end)
}

/// A number and the end of its line: where what follows begins.
fn number(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = position(bytes, b"\r\n")?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((text.split(',').next()?.trim().parse().ok()?, end + 2))
}

/// What ends data mode when the connection has ended.
pub const NO_CARRIER: &[u8] = b"\r\nNO CARRIER\r\n";

/// The messages that end a measurement, besides the end of its socket.
const ENDS: [(&[u8], Kind, &str); 2] = [
    (b"+QIURC: \"pdpdeact\",", Kind::NoDataSession, "the data session ended"),
    // At another speed the bytes before it may be damaged. Some write APP RDY. No payload of a survey has it.
    (b"RDY\r\n", Kind::ModemLost, "the modem rebooted"),
];
const RECENT_BYTES: usize = 32;

/// How often in succession payload may be lost.
const LOST_MAX: u32 = 2;

/// What ends an answer.
const LAST: [&str; 6] = ["OK", "ERROR", "CONNECT", "NO CARRIER", "SEND OK", "SEND FAIL"];

/// SABM on channel 0 (3GPP TS 27.010 5.3).
pub const OPEN_CHANNEL: &[u8] = b"\xF9\x03\x3F\x01\x1C\xF9";

/// CLD on channel 0 (3GPP TS 27.010 5.4.6.3.3), with P/F clear, which every module takes.
pub const CLOSE_DOWN: &[u8] = b"\xF9\x03\xEF\x05\xC3\x01\xF2\xF9";

/// Some modules lose what comes right after the OK to AT+CMUX.
pub const PAUSE: Duration = Duration::from_millis(200);
/// How often the way out of the multiplexer is tried, and how long an answer may take then.
const FRAME_TURNS: usize = 3;
const FRAME_LIMIT: Duration = Duration::from_secs(1);

/// How long an answer may take.
pub const RESULT_LIMIT: Duration = Duration::from_secs(20);
/// How long the server may take to return what was sent to it.
pub const ECHO_LIMIT: Duration = Duration::from_secs(10);
/// How long after an answer its last bytes may come.
const SETTLING: Duration = Duration::from_millis(60);
/// How long the line is quiet before the core has it back.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often an empty socket is read.
const POLL: Duration = Duration::from_millis(20);
/// The silence around `+++`: the manuals want 1 s.
const GUARD: Duration = Duration::from_millis(1_100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_line() {
        assert_eq!(last_line(b"\r\nOK\r"), None);
        assert_eq!(last_line(b"\r\n+X: 1\r\n\r\nOK\r\n").as_deref(), Some("OK"));
        assert_eq!(last_line(b"AT\r\r\nOK\r\n").as_deref(), Some("OK"));
        assert_eq!(last_line(b"\r\n+CME ERROR: 3\r\n").as_deref(), Some("+CME ERROR: 3"));
    }

    #[test]
    fn bytes_are_counted_and_not_searched() {
        let answer = b"\r\n+QSSLRECV: 5\r\nOK\r\n\n\r\n\r\nOK\r\n";
        assert!(fetched(&answer[..answer.len() - 1]).is_none());
        let read = fetched(answer).flatten().expect("it is complete");
        assert_eq!((read.bytes.as_slice(), read.tail.as_slice()), (&b"OK\r\n\n"[..], &b"\r\n\r\n"[..]));
        assert!(fetched(b"\r\nERROR\r\n").is_some_and(|it| it.is_none()));
        let head = "+QSSLURC: \"recv\",3,";
        let text = b"\r\n+QSSLURC: \"recv\",3,2\r\nab\r\nOK\r\n\r\n+QSSLURC: \"recv\",3,3\r\ncd";
        assert_eq!(pushed(text, head), (b"ab".to_vec(), 26));
        let endless = format!("\r\n+QSSLRECV: {0}\r\nab\r\nOK\r\n\r\n{head}{0}\r\nab", usize::MAX);
        assert!(fetched(endless.as_bytes()).is_none());
        assert_eq!(pushed(endless.as_bytes(), head), (Vec::new(), 0));
    }
}
