//! What payload shows, with a server that returns it line by line and ends when a line tells it to (see the README).

use std::time::{Duration, Instant};

use super::server::{LONGEST_READ, OPEN_LIMIT};
use super::wire::{ECHO_LIMIT, NO_CARRIER, RESULT_LIMIT, SendEnd, State, has, last_line, position};
use super::{Survey, Times};
use crate::ports::Lines;
use qssl_core::Kind;
use qssl_core::at::answers::{Answer as _, SocketState, SocketStatus};
use qssl_core::at::{AccessMode, Command, Security, SocketId, SslContextId, USUAL_PATIENCE};
use qssl_core::modem::Failure;
use qssl_core::settings::Target;

/// What connections are opened with.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub socket: SocketId,
    pub context: SslContextId,
    pub target: &'a Target,
}

impl Survey {
    /// Measures what payload shows, as far as the budget goes.
    pub(super) fn payload(&mut self, place: Place<'_>) -> Result<(), Failure> {
        self.open_bytes(place)?;
        self.progress.step("payload in buffer mode");
        let mut echoes = true;
        self.with_connection(place, AccessMode::Buffer, |survey| {
            echoes = survey.first_echo(place.socket)?;
            if echoes {
                survey.switches(place.socket)?;
                survey.send_latencies(place.socket)?;
                survey.lengths(place.socket)?;
                survey.buffer_throughput(place.socket)?;
                survey.load(place.socket)?;
            }
            Ok(())
        })?;
        if !echoes {
            let message = "the server does not return what it receives: what needs that was left out";
            return Err(Failure::new(Kind::Failed, message));
        }
        self.progress.step("payload in push mode");
        self.with_connection(place, AccessMode::Push, |survey| survey.push_throughput(place.socket))?;
        self.progress.step("transparent mode");
        self.transparent(place)?;
        self.progress.step("ends of connections");
        let (mut obeys, mut rings) = (true, None);
        for (word, how) in ENDS {
            if obeys {
                self.with_connection(place, AccessMode::Buffer, |survey| {
                    obeys = survey.end(place.socket, word, how, &mut rings)?;
                    Ok(())
                })?;
            }
        }
        if let Some(rings) = rings {
            let measured = if rings { "moves" } else { "not seen" };
            self.comparison.row("RI at closed", "", "does without", measured, true);
        }
        Ok(())
    }

    /// Opens a connection, uses the port without the core, and closes. Does nothing if the mode is not taken.
    fn with_connection(
        &mut self,
        place: Place<'_>,
        mode: AccessMode,
        work: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Place { socket, context, target } = place;
        if !self.can_afford() {
            return Ok(());
        }
        if self.open(socket, Security::Tls(context), target, mode)? == 0 {
            self.on_wire_of(socket, work)?;
        }
        self.close_opened(&self.close_of(socket))?;
        Ok(())
    }

    fn open_line(&self, place: Place<'_>, mode: AccessMode) -> String {
        let (pdp, mode) = (self.pdp, mode as u8);
        let Place { socket, context, target: Target { host, port, .. } } = place;
        format!("AT+QSSLOPEN={pdp},{context},{socket},\"{host}\",{port},{mode}")
    }

    /// What an open is answered with, byte by byte.
    fn open_bytes(&mut self, place: Place<'_>) -> Result<(), Failure> {
        if !self.can_afford() {
            return Ok(());
        }
        self.renew_settings(place.context)?;
        let close = self.close_of(place.socket);
        self.undo.push(close.clone().into());
        let line = self.open_line(place, AccessMode::Buffer);
        let result = format!("+QSSLOPEN: {},", place.socket);
        self.on_wire_of(place.socket, |survey| {
            let is_over =
                |heard: &[u8]| (open_form(heard, &result).is_some() || has(heard, b"ERROR")).then_some(());
            let begin = Instant::now();
            survey.ask(&line, OPEN_LIMIT, is_over)?;
            let time = begin.elapsed();
            let heard = survey.hear_silence(Duration::from_millis(60))?;
            survey.transcript.exchange(&line, &heard, time);
            if let Some((is_first, has_empty_line)) = open_form(&heard, &result) {
                let name = "AT+QSSLOPEN until its result, byte by byte";
                survey.habit("open_result_before_ok", is_first, name);
                survey.habit("open_result_without_empty_line", !has_empty_line, name);
            }
            Ok(())
        })?;
        self.close_opened(&close)?;
        Ok(())
    }

    /// Whether so much payload, and its echo, is within the budget.
    fn affords(&mut self, bytes: usize) -> bool {
        // Records of TLS and packets have heads.
        let spent = self.spent + 2 * bytes as u64 + bytes as u64 / 5 + 200;
        if spent > self.budget {
            self.left_out("Payload was left out: --budget is spent.");
            return false;
        }
        self.spent = spent;
        true
    }

    /// The first send: the bytes around the prompt and around what is read. Returns whether the server returns it.
    fn first_echo(&mut self, socket: SocketId) -> Result<bool, Failure> {
        let payload = lines(LINE_BYTES);
        if !self.affords(payload.len() * 3) {
            return Ok(true);
        }
        let command = format!("AT+QSSLSEND={socket},{}", payload.len());
        self.set_state(State::Prompt(payload.len()));
        let prompt = self.prompt_of(&command)?;
        if prompt.is_some() {
            self.set_state(State::Payload(payload.len()));
            self.write(&payload)?;
            self.hear(RESULT_LIMIT, last_line)?;
        }
        self.set_state(State::Commands);
        self.forget_heard();
        if let Some(prompt) = prompt {
            self.prompt_habits(&prompt);
        }
        let begin = Instant::now();
        let mut fetched = None;
        while fetched.is_none() && begin.elapsed() < ECHO_LIMIT {
            fetched = self.fetch(socket, self.profile.receive_max)?.filter(|it| !it.bytes.is_empty());
            self.hear(Duration::from_millis(50), |_| None::<()>)?;
            self.forget_heard();
        }
        let Some(fetched) = fetched.filter(|it| payload.starts_with(&it.bytes)) else { return Ok(false) };
        let name = "AT+QSSLRECV, what comes after the bytes";
        if [&b"\r\n"[..], b"\r\n\r\n"].contains(&fetched.tail.as_slice()) {
            self.habit("receive_tail_short", fetched.tail == b"\r\n", name);
        } else {
            self.left_out("What follows read bytes was left out: a message came with it.");
        }
        let rest = payload.len() - fetched.bytes.len();
        if self.fetch_all(socket, rest)?.len() < rest {
            return Ok(false);
        }
        // Two arrivals without a read in between. An empty read comes first: only that makes recv come again.
        self.fetch(socket, self.profile.receive_max)?;
        self.forget_heard();
        for _ in 0..2 {
            self.send(socket, &payload)?;
            self.hear(Duration::from_millis(400), |_| None::<()>)?;
        }
        let urc = format!("\"recv\",{socket}");
        let heard = String::from_utf8_lossy(self.heard()).matches(&urc).count();
        self.forget_heard();
        let all = self.fetch_all(socket, 2 * payload.len())?;
        if (1..=2).contains(&heard) && all.len() == 2 * payload.len() {
            let name = "two arrivals without a read between them";
            self.habit("receive_urc_per_arrival", heard == 2, name);
        }
        Ok(true)
    }

    /// What comes until the prompt and shortly after it.
    fn prompt_of(&mut self, command: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.forget_heard();
        self.write(format!("{command}\r").as_bytes())?;
        let is_there = self.hear(RESULT_LIMIT, |heard| has(heard, b">").then_some(()))?.is_some();
        let bytes = self.hear_silence(Duration::from_millis(60))?;
        self.transcript.exchange(command, &bytes, Duration::ZERO);
        Ok(is_there.then_some(bytes))
    }

    /// What the prompt shows, if nothing else came with it.
    fn prompt_habits(&mut self, prompt: &[u8]) {
        let Some((has_space, has_line_end)) = prompt_form(prompt) else {
            self.left_out("The form of the prompt was left out: a message came with it.");
            return;
        };
        let name = "AT+QSSLSEND until its prompt, byte by byte";
        self.habit("prompt_without_space", !has_space, name);
        self.habit("prompt_with_line_end", has_line_end, name);
        self.compare_bytes("prompt", "\\r\\n> ", prompt);
    }

    /// Switches between buffer and push mode while the module holds data.
    fn switches(&mut self, socket: SocketId) -> Result<(), Failure> {
        let payload = lines(LINE_BYTES);
        if self.module.is_true("habits", "mode_switch_refused") || !self.affords(payload.len() * 2) {
            return Ok(());
        }
        self.send(socket, &payload)?;
        self.hear(Duration::from_millis(700), |_| None::<()>)?;
        self.forget_heard();
        if !self.switch(socket, AccessMode::Push)? {
            return Ok(());
        }
        let question = "AT+QISWTMD to push mode with unread bytes";
        let (mut got, mut rest) = self.pushed(socket, payload.len(), HELD_LIMIT)?;
        let is_held = got.is_empty();
        if is_held {
            self.send(socket, &payload)?;
            (got, rest) = self.pushed(socket, 2 * payload.len(), ECHO_LIMIT)?;
        }
        let expected = if is_held { payload.repeat(2) } else { payload };
        if got == expected {
            self.habit("leftovers_held", is_held, question);
            rest.extend(self.hear_silence(Duration::from_millis(60))?);
            let name = "what follows a pushed message";
            if rest.is_empty() || rest == b"\r\n" {
                self.habit("push_ends_with_line_end", !rest.is_empty(), name);
            }
        }
        let measured = match (got == expected, is_held) {
            (true, false) => "pushed at once",
            (true, true) => "pushed with the next arrival",
            (false, _) => "lost",
        };
        self.comparison.row(
            "unread bytes at a switch",
            "pushed",
            "waits for them",
            measured,
            got == expected,
        );
        self.switch(socket, AccessMode::Buffer)?;
        Ok(())
    }

    fn switch(&mut self, socket: SocketId, mode: AccessMode) -> Result<bool, Failure> {
        let line = format!("AT+QISWTMD={socket},{}", mode as u8);
        self.forget_heard();
        let begin = Instant::now();
        // What is pushed may come at once, and must not be taken away.
        let ends = self.ask(&line, RESULT_LIMIT, last_line)?;
        self.transcript.exchange(&line, b"\r\nOK\r\n", begin.elapsed());
        Ok(ends.as_deref() == Some("OK"))
    }

    /// How long the prompt takes, and the result, for short and long sends.
    fn send_latencies(&mut self, socket: SocketId) -> Result<(), Failure> {
        let (mut prompts, mut short, mut long) = (Vec::new(), Vec::new(), Vec::new());
        let most = self.send_max();
        let few_bytes = most.min(SHORT_BYTES);
        for (count, bytes, results) in [(SHORT_SENDS, few_bytes, &mut short), (LONG_SENDS, most, &mut long)] {
            let payload = lines(bytes);
            for _ in 0..count {
                if !self.affords(bytes) {
                    break;
                }
                let sent = self.send(socket, &payload)?;
                if sent.end == SendEnd::Ok {
                    prompts.push(sent.prompt);
                    results.push(sent.result);
                    self.fetch_all(socket, bytes)?;
                }
                self.forget_heard();
            }
        }
        self.latency_row("prompt after", USUAL_PATIENCE, prompts.clone());
        self.latency_row("SEND OK after", USUAL_PATIENCE, short.clone());
        self.add_latency("prompt", prompts, "AT+QSSLSEND until its prompt");
        let (Some(few), Some(many)) = (Times::of(short.clone()), Times::of(long)) else { return Ok(()) };
        let more = (most - few_bytes) as u32;
        let per_byte = many.median.saturating_sub(few.median) / more.max(1);
        let name = "from the last byte to SEND OK, of short and long sends";
        for time in &mut short {
            *time = time.saturating_sub(per_byte * few_bytes as u32);
        }
        self.add_latency("send", short, name);
        let value = format!("\"{:.4}ms\"", per_byte.as_secs_f64() * 1_000.0);
        self.module.add("latencies", "send_byte", value, name);
        Ok(())
    }

    /// A row for what a tunnel waits for so long.
    pub(super) fn latency_row(&mut self, what: &str, limit: Duration, times: Vec<Duration>) {
        if let Some(Times { median, spread }) = Times::of(times) {
            let (half, most) = (super::milliseconds(median), super::milliseconds(median + spread));
            let tunnel = format!("waits {} s", limit.as_secs());
            self.comparison.row(what, "", tunnel, format!("{half}, p99 {most}"), true);
        }
    }

    /// Most bytes of one send, as the module lists it.
    fn send_max(&self) -> usize {
        self.module.number("limits", "send_bytes").unwrap_or(MANUAL_SEND_BYTES)
    }

    /// The longest send and the longest read.
    fn lengths(&mut self, socket: SocketId) -> Result<(), Failure> {
        let listed = self.send_max();
        let mut longest = None;
        for bytes in [MANUAL_SEND_BYTES + 1, MANUAL_SEND_BYTES, listed, 1_024, 512] {
            if longest.is_some() || !self.affords(bytes) {
                break;
            }
            let sent = self.send(socket, &lines(bytes))?;
            if sent.end != SendEnd::Refused {
                longest = Some(bytes);
                self.fetch_all(socket, bytes)?;
            }
            self.forget_heard();
        }
        if let Some(longest) = longest {
            if longest < listed {
                let question = "AT+QSSLSEND of several lengths";
                self.module.correct("limits", "send_bytes", longest.to_string(), question);
            } else if longest <= MANUAL_SEND_BYTES {
                let question = "AT+QSSLSEND of several lengths";
                self.module.add("limits", "send_bytes", longest.to_string(), question);
            }
            let measured =
                if longest > MANUAL_SEND_BYTES { "longer is taken".into() } else { longest.to_string() };
            let tunnel = format!("sends at most {}", listed.min(MANUAL_SEND_BYTES));
            self.comparison.row("longest send", "1460", tunnel, measured, longest >= listed);
        }
        // More than one read can return.
        let sends = 3;
        let bytes = longest.unwrap_or(listed).min(listed).min(MANUAL_SEND_BYTES);
        if !self.affords(sends * bytes) {
            return Ok(());
        }
        for _ in 0..sends {
            self.send(socket, &lines(bytes))?;
        }
        self.hear(Duration::from_millis(1_000), |_| None::<()>)?;
        self.forget_heard();
        let most = self.module.number("limits", "read_bytes").unwrap_or(LONGEST_READ);
        let fetched = self.fetch(socket, most)?.map_or(0, |it| it.bytes.len());
        self.fetch_all(socket, (sends * bytes).saturating_sub(fetched))?;
        if fetched > 0 {
            self.module.add("limits", "read_bytes", fetched.to_string(), "AT+QSSLRECV with more unread");
        }
        let measured = match fetched {
            0 => format!("{most} is refused"),
            fetched => fetched.to_string(),
        };
        let tunnel = format!("asks for {}", self.profile.receive_max);
        let copes = fetched > 0 || self.profile.receive_max < most;
        self.comparison.row("longest read", "1500", tunnel, measured, copes);
        Ok(())
    }

    fn buffer_throughput(&mut self, socket: SocketId) -> Result<(), Failure> {
        if !self.affords(THROUGHPUT_BYTES) {
            return Ok(());
        }
        let (piece, count) = self.pieces();
        let begin = Instant::now();
        let mut back = Vec::new();
        for _ in 0..count {
            self.send_until_taken(socket, &piece)?;
            back.extend(self.fetch_all(socket, piece.len())?);
            self.forget_heard();
        }
        self.throughput("buffer", begin.elapsed(), piece.repeat(count) == back, back.len());
        Ok(())
    }

    /// After SEND FAIL the same bytes are sent again.
    fn send_until_taken(&mut self, socket: SocketId, piece: &[u8]) -> Result<(), Failure> {
        let until = Instant::now() + ECHO_LIMIT;
        while self.send(socket, piece)?.end == SendEnd::Fail && Instant::now() < until {
            self.hear(Duration::from_millis(200), |_| None::<()>)?;
        }
        Ok(())
    }

    fn push_throughput(&mut self, socket: SocketId) -> Result<(), Failure> {
        if !self.affords(THROUGHPUT_BYTES) {
            return Ok(());
        }
        let (piece, count) = self.pieces();
        let begin = Instant::now();
        for _ in 0..count {
            self.send_until_taken(socket, &piece)?;
        }
        let (back, _) = self.pushed(socket, count * piece.len(), RESULT_LIMIT)?;
        self.throughput("push", begin.elapsed(), back == piece.repeat(count), back.len());
        Ok(())
    }

    /// A payload of the longest send, and how many of them make a throughput.
    fn pieces(&self) -> (Vec<u8>, usize) {
        let bytes = self.send_max();
        (lines(bytes), THROUGHPUT_BYTES / bytes)
    }

    fn throughput(&mut self, mode: &str, time: Duration, is_whole: bool, bytes: usize) {
        let rate = bytes as f64 / time.as_secs_f64() / 1_000.0;
        let measured = match is_whole {
            true => format!("{rate:.1} kB/s"),
            false => "bytes were lost or changed".to_owned(),
        };
        if is_whole {
            let remark = format!("There and back in {mode} mode: {measured}, {bytes} bytes.");
            self.module.remarks.push(remark);
        }
        self.comparison.row(&format!("{mode} mode, there and back"), "", "", measured, is_whole);
    }

    /// Sends without reading until SEND FAIL, and reads it all then.
    fn load(&mut self, socket: SocketId) -> Result<(), Failure> {
        let piece = lines(self.send_max());
        let (mut taken, mut failed) = (0, false);
        while !failed && taken < LOAD_BYTES && self.affords(piece.len()) {
            failed = self.send(socket, &piece)?.end != SendEnd::Ok;
            taken += if failed { 0 } else { piece.len() };
        }
        self.forget_heard();
        if taken == 0 {
            return Ok(());
        }
        let back = self.fetch_all(socket, taken)?;
        let is_whole = back == piece.repeat(taken / piece.len());
        let goes_on = !failed || self.send(socket, &piece)?.end == SendEnd::Ok;
        let measured = match (failed, is_whole) {
            (_, false) => format!("{} of {taken} bytes came back", back.len()),
            (true, _) => format!("after {taken} bytes"),
            (false, _) => format!("not within {taken} bytes"),
        };
        let tunnel = "sends the same again";
        self.comparison.row("SEND FAIL", "when its buffer is full", tunnel, measured, is_whole && goes_on);
        Ok(())
    }

    /// Transparent mode: throughput, `+++`, ATO, and the way to buffer mode.
    fn transparent(&mut self, place: Place<'_>) -> Result<(), Failure> {
        let Place { socket, context, .. } = place;
        if !self.module.lists("limits", "modes", "transparent")
            || !self.affords(THROUGHPUT_BYTES)
            || !self.can_afford()
        {
            return Ok(());
        }
        let line = self.open_line(place, AccessMode::Transparent);
        self.renew_settings(context)?;
        let first = self.undo.len();
        let close = self.close_of(socket);
        self.undo.push(close.into());
        self.on_wire_of(socket, |survey| survey.stream(socket, &line))?;
        self.put_back_from(first);
        Ok(())
    }

    /// The stream of a transparent connection.
    fn stream(&mut self, socket: SocketId, open: &str) -> Result<(), Failure> {
        let leaves_by_dtr = self.sets_dtr()?;
        let carrier_before = self.carrier();
        self.forget_heard();
        // An interrupted survey must find its way back from here.
        self.set_state(State::Data);
        self.write(format!("{open}\r").as_bytes())?;
        let is_last = |heard: &[u8]| {
            let connected = has(heard, b"CONNECT\r\n").then_some(true);
            connected.or_else(|| has(heard, b"ERROR").then_some(false))
        };
        let opened = self.hear(OPEN_LIMIT, is_last)? == Some(true);
        let answer = self.hear_silence(Duration::from_millis(60))?;
        self.transcript.exchange(open, &answer, Duration::ZERO);
        if !opened {
            self.set_state(State::Commands);
            let measured = "refused on this port";
            self.comparison.row("transparent mode", "CONNECT", "looks for another port", measured, true);
            return Ok(());
        }
        self.habit("ok_before_connect", has(&answer, b"OK\r\n"), "AT+QSSLOPEN in transparent mode");
        let payload = lines(THROUGHPUT_BYTES);
        let begin = Instant::now();
        let mut back = 0;
        for piece in payload.chunks(10 * LINE_BYTES) {
            self.write(piece)?;
            // No more is under way than a line without flow control can lose.
            back += piece.len();
            let is_back = |heard: &[u8]| (heard.len() >= back || has(heard, NO_CARRIER)).then_some(());
            if self.hear(ECHO_LIMIT, is_back)?.is_none() || !payload.starts_with(self.heard()) {
                break;
            }
        }
        let is_whole = self.heard() == payload;
        if !is_whole {
            // Nothing more is written as payload: what comes after the end of data mode is taken for commands.
            let heard = self.heard().len();
            self.hear(Duration::from_millis(500), |heard| has(heard, NO_CARRIER).then_some(()))?;
            if has(self.heard(), NO_CARRIER) {
                self.set_state(State::Commands);
            }
            let message = format!(
                "the transparent connection ended, or lost payload, after {heard} bytes: what follows was left out"
            );
            return Err(Failure::new(Kind::Failed, message));
        }
        self.throughput("transparent", begin.elapsed(), is_whole, payload.len());
        self.forget_heard();
        let carrier_within = self.carrier();
        let Some(time) = self.escape()? else {
            self.comparison.row("+++", "OK", "needs it", "is not answered", false);
            return Ok(());
        };
        let shown = super::milliseconds(time);
        self.module.add("latencies", "escape", super::text(&shown), "+++ after 1.1 s of silence, until OK");
        self.comparison.row("+++", "OK within 1 s", "waits for OK", shown, true);
        if let (Some(before), Some(within)) = (carrier_before, carrier_within) {
            let measured = match (before, within) {
                (false, true) => "shows the connection",
                (true, true) => "always on",
                _ => "always off",
            };
            let tunnel = "uses it if it moves";
            self.comparison.row("DCD", "on during data mode", tunnel, measured, true);
        }
        self.set_state(State::Data);
        let back = self.exchange("ATO", RESULT_LIMIT)?;
        let returned = last_line(&back).as_deref() == Some("CONNECT");
        self.habit("return_unreliable", !returned, "ATO after +++");
        let tunnel = "goes on in buffer mode otherwise";
        let measured = if returned { "CONNECT" } else { "refused" };
        self.comparison.row("ATO", "CONNECT", tunnel, measured, true);
        if returned {
            let line = lines(LINE_BYTES);
            self.write(&line)?;
            let is_back = |heard: &[u8]| (heard.len() >= line.len() || has(heard, NO_CARRIER)).then_some(());
            self.hear(ECHO_LIMIT, is_back)?;
            if has(self.heard(), NO_CARRIER) {
                self.set_state(State::Commands);
                return Ok(());
            }
            let is_left = leaves_by_dtr && self.drop_dtr()?;
            if !is_left && self.escape()?.is_none() {
                return Ok(());
            }
        } else {
            self.set_state(State::Commands);
        }
        if self.switch(socket, AccessMode::Buffer)? {
            let line = lines(LINE_BYTES);
            self.forget_heard();
            let is_taken = self.send(socket, &line)?.end == SendEnd::Ok;
            let goes_on = is_taken && self.fetch_all(socket, line.len())? == line;
            let measured = if goes_on { "goes on" } else { "payload is lost" };
            self.comparison.row("transparent to buffer", "AT+QISWTMD", "switches", measured, goes_on);
        }
        Ok(())
    }

    /// Makes the loss of DTR leave data mode, as a tunnel does on a port that has it. Returns whether the modem takes that.
    fn sets_dtr(&mut self) -> Result<bool, Failure> {
        if self.set_dtr(true) != Some(true) {
            return Ok(false);
        }
        // So has the core set it.
        self.undo.push(Command::line("AT&D0").into());
        let answer = last_line(&self.exchange("AT&D1", RESULT_LIMIT)?);
        if answer.as_deref().is_some_and(|answer| answer != "OK") {
            self.undo.pop();
            self.dtr_row("AT&D1 is refused", true);
        }
        Ok(answer.as_deref() == Some("OK"))
    }

    /// Drops DTR, and raises it again. Returns whether this has ended data mode.
    fn drop_dtr(&mut self) -> Result<bool, Failure> {
        self.hear_silence(Duration::from_millis(60))?;
        let begin = Instant::now();
        self.set_dtr(false);
        let is_over = |heard: &[u8]| {
            let closed = has(heard, NO_CARRIER).then_some(true);
            closed.or_else(|| has(heard, b"OK\r\n").then_some(false))
        };
        let closes = self.hear(DTR_LIMIT, is_over);
        let time = super::milliseconds(begin.elapsed());
        self.set_dtr(true);
        let closes = closes?;
        if closes.is_some() {
            self.set_state(State::Commands);
        }
        let measured = match closes {
            Some(false) => format!("leaves data mode after {time}"),
            Some(true) => "closes the connection".to_owned(),
            None => "changes nothing".to_owned(),
        };
        self.dtr_row(measured, closes != Some(true));
        self.forget_heard();
        Ok(closes.is_some())
    }

    fn dtr_row(&mut self, measured: impl Into<String>, copes: bool) {
        let tunnel = "leaves by it, or by +++";
        self.comparison.row("loss of DTR", "AT&D1: leaves data mode", tunnel, measured, copes);
    }

    fn set_dtr(&mut self, high: bool) -> Option<bool> {
        let mut line = self.conversation.line()?;
        let port = line.port()?;
        port.kind().has_dtr.then(|| port.set_dtr(high).is_ok())
    }

    fn carrier(&mut self) -> Option<bool> {
        self.lines().map(|lines| lines.dcd)
    }

    /// The wires of the port; `None`: it does not show them.
    pub(super) fn lines(&mut self) -> Option<Lines> {
        let mut line = self.conversation.line()?;
        line.port()?.lines().ok()
    }

    /// How the end of a connection looks: the server is told to end it in this way. Returns whether it does so. `rings` gets
    /// whether RI moves then, where the port shows it.
    fn end(
        &mut self,
        socket: SocketId,
        word: &str,
        how: &str,
        rings: &mut Option<bool>,
    ) -> Result<bool, Failure> {
        if !self.affords(LINE_BYTES) {
            return Ok(false);
        }
        self.forget_heard();
        self.may_end();
        let at_rest = self.lines();
        self.send(socket, format!("{word}\n").as_bytes())?;
        if word == "rst" {
            // What the server has not read when it ends makes its system send RST.
            self.hear(Duration::from_millis(300), |_| None::<()>)?;
            self.send(socket, b"unread\n")?;
        }
        let closed = format!("\"closed\",{socket}");
        let begin = Instant::now();
        let mut told_after = None;
        while begin.elapsed() < told_after.map_or(END_LIMIT, |told| told + RING_TAIL) {
            let is_new = |heard: &[u8]| (told_after.is_none() && has(heard, closed.as_bytes())).then_some(());
            let told = self.hear(RING_LOOK, is_new)?;
            told_after = told_after.or(told.map(|()| begin.elapsed()));
            if let (Some(at_rest), Some(lines)) = (at_rest, self.lines()) {
                *rings = Some(*rings == Some(true) || lines.ri != at_rest.ri);
            }
        }
        self.forget_heard();
        let state = self.exchange(&format!("AT+QSSLSTATE={socket}"), RESULT_LIMIT)?;
        let text = String::from_utf8_lossy(&state).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let state = SocketStatus::all(&lines).find(|it| it.id == socket).map(|it| it.state);
        if told_after.is_none() && state == Some(SocketState::Connected) {
            self.left_out("The server did not end connections when told to.");
            return Ok(false);
        }
        let state_number = text.split_once("+QSSLSTATE:").and_then(|(_, after)| after.split(',').nth(5));
        if let Some(number @ ("3" | "4")) = state_number.filter(|_| told_after.is_some()) {
            self.habit("closing_is_state_three", number == "3", "AT+QSSLSTATE after closed");
        }
        let unread = self.fetch(socket, self.profile.receive_max)?.map_or(0, |it| it.bytes.len());
        let mut measured = match told_after {
            Some(time) => format!("closed after {}", super::milliseconds(time)),
            None => "no closed".to_owned(),
        };
        measured.push_str(match state {
            Some(SocketState::Connected) => ", still connected",
            Some(SocketState::Free) | None => ", gone",
            Some(_) => ", closing",
        });
        if unread > 0 {
            measured.push_str(&format!(", {unread} bytes readable"));
        }
        let is_open = self.send(socket, b"x\n")?.end == SendEnd::Ok;
        measured.push_str(if is_open { ", still takes payload" } else { ", takes no payload" });
        self.comparison.row(how, "closed", "asks AT+QSSLSTATE", measured, told_after.is_some());
        Ok(true)
    }

    /// Adds a remark once.
    pub(super) fn left_out(&mut self, remark: &str) {
        if !self.module.remarks.iter().any(|it| it == remark) {
            self.module.remarks.push(remark.to_owned());
        }
    }

    /// A row for what was written byte by byte. What is more than an answer may be personal, such as an SMS.
    pub(super) fn compare_bytes(&mut self, what: &str, manual: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if !text.split_ascii_whitespace().all(|word| ["AT", "OK", "ERROR", ">"].contains(&word)) {
            self.left_out(&format!("The bytes of \"{what}\" were left out: a message came with them."));
            return;
        }
        let measured = bytes.escape_ascii().to_string();
        self.comparison.row(what, manual, "takes both", measured, true);
    }
}

/// Whether the result of an open came before its OK, and with an empty line before it; `None`: not both have come.
fn open_form(heard: &[u8], result: &str) -> Option<(bool, bool)> {
    let (at, ok) = (position(heard, result.as_bytes())?, position(heard, b"OK\r\n")?);
    let (before, after) = heard.split_at(at);
    let is_whole = has(after, b"\r\n");
    is_whole.then(|| (at < ok, before == b"\r\n" || before.ends_with(b"\r\n\r\n")))
}

/// Whether a prompt has a space and a line end after it; `None` if these bytes are more than a prompt.
fn prompt_form(bytes: &[u8]) -> Option<(bool, bool)> {
    let begin = bytes.iter().position(|byte| !b"\r\n".contains(byte))?;
    match &bytes[begin..] {
        b">" => Some((false, false)),
        b"> " => Some((true, false)),
        b">\r\n" => Some((false, true)),
        b"> \r\n" => Some((true, true)),
        _ => None,
    }
}

/// So many bytes of payload: lines that differ, the last one of any length.
fn lines(bytes: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes + LINE_BYTES);
    let mut number = 0;
    while all.len() < bytes {
        let line = format!("qssl-tunnel survey {number:08} ");
        all.extend(format!("{line:-<99}\n").bytes());
        number += 1;
    }
    all.truncate(bytes);
    if let Some(last) = all.last_mut() {
        *last = b'\n';
    }
    all
}

/// What the server is told, and how it ends then.
const ENDS: [(&str, &str); 3] = [("end", "close_notify"), ("fin", "FIN"), ("rst", "RST")];

const LINE_BYTES: usize = 100;
const SHORT_SENDS: usize = 20;
const SHORT_BYTES: usize = 20;
const LONG_SENDS: usize = 10;
/// The most of one AT+QSSLSEND (both manuals).
const MANUAL_SEND_BYTES: usize = 1_460;
const THROUGHPUT_BYTES: usize = 20_000;
/// How much is sent without reading, at most.
const LOAD_BYTES: usize = 60_000;
/// How soon bytes that were left over are pushed.
const HELD_LIMIT: Duration = Duration::from_secs(2);
/// How long the modem may take to leave data mode when DTR is dropped.
const DTR_LIMIT: Duration = Duration::from_secs(2);
/// How soon the end of a connection is told.
const END_LIMIT: Duration = Duration::from_secs(8);
/// How often RI is looked at: it pulses for 120 ms by default. And how long after `closed`.
const RING_LOOK: Duration = Duration::from_millis(20);
const RING_TAIL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_beside_a_prompt_is_no_habit_of_it() {
        assert_eq!(prompt_form(b"\r\n> "), Some((true, false)));
        assert_eq!(prompt_form(b"\r\n>\r\n"), Some((false, true)));
        assert_eq!(prompt_form(b"\r\n> \r\n+CREG: 1\r\n"), None);
        assert_eq!(prompt_form(b"\r\n+CREG: 1\r\n\r\n> "), None);
    }

    #[test]
    fn the_result_of_an_open_is_found_before_and_after_its_ok() {
        for (heard, form) in [
            ("\r\nOK\r\n\r\n+QSSLOPEN: 1,0\r\n", Some((false, true))),
            ("\r\nOK\r\n+QSSLOPEN: 1,559\r\n", Some((false, false))),
            ("\r\n+QSSLOPEN: 1,0\r\n\r\nOK\r\n", Some((true, true))),
            ("\r\nOK\r\n\r\n+QSSLOPEN: 1,0", None),
            ("\r\nOK\r\n\r\n+QSSLOPEN: 2,0\r\n", None),
        ] {
            assert_eq!(open_form(heard.as_bytes(), "+QSSLOPEN: 1,"), form, "{heard:?}");
        }
    }

    #[test]
    fn payload_has_its_length_and_ends_with_a_line() {
        for bytes in [1, 20, 100, 101, 1_460] {
            let payload = lines(bytes);
            assert_eq!((payload.len(), payload.last()), (bytes, Some(&b'\n')));
        }
        assert_ne!(lines(200)[..100], lines(200)[100..]);
    }
}
