//! What a channel receives: which messages are the answer to its command, whose the payload is, and what
//! others must know.

use std::time::Instant;

use super::echo::{Echo, EchoPart};
use super::in_flight::{Answer, CommandStage, InFlight, Transfer};
use super::{Channel, ChannelState, Destination, Habit};
use crate::at::{Command, CommandOutcome, CommandSet, Expects, Message, Numbers, SocketId, Urc, begins_text};
use crate::recorder::Side;

/// What of an echo was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoTaken {
    /// Some of what came.
    Some,
    /// Nothing: words of the modem come next.
    Nothing,
    /// The modem echoes payload, and other bytes than it was sent.
    Garbled,
}

/// A command and its whole answer.
#[derive(Debug)]
pub struct Answered {
    /// The command.
    pub in_flight: InFlight,
    /// How it ended.
    pub outcome: CommandOutcome,
    /// What was received before that.
    pub answer: Answer,
    /// When the command was sent.
    pub asked_at: Instant,
}

/// What was received, as far as it concerns others than the channel.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and a box would be an allocation per message"
)]
pub enum ChannelEvent {
    /// Nothing of that kind.
    Nothing,
    /// The bytes that this socket is read for follow, and how many.
    Header(SocketId, usize),
    /// The prompt.
    Prompt,
    /// A line that may be another program's.
    OthersLine(String),
    /// What may be a push, or a part of another program's text.
    PushInText,
    /// The command in flight or the `AT` of a resync, on a channel whose echo had been switched off.
    EchoAgain,
    /// What cannot be parsed.
    Malformed(String),
    /// Something unsolicited.
    Urc(Urc),
    /// The command in flight is answered.
    Answered(Answered),
    /// `CONNECT` of a command that has been given up.
    UnwantedStream,
    /// `NO CARRIER` during a resync: the channel was a stream until now.
    StreamOver,
    /// `NO CARRIER` that answers nothing: a stream on another channel of the line may be over.
    StreamOverElsewhere,
    /// `SEND OK` while no payload has left that it could be the answer to.
    SendOk,
}

impl Channel {
    /// Decodes a message from the front of `input`, and takes it in. Payload of a socket goes to `payload`.
    pub fn receive(
        &mut self,
        input: &mut &[u8],
        sockets: Numbers,
        now: Instant,
        payload: &mut impl FnMut(SocketId, &[u8]),
    ) -> ChannelEvent {
        self.decoder.set_sockets(sockets);
        self.decoder.expect_received(self.is_asking(|command| matches!(command, Command::Receive { .. })));
        let Some(message) = self.decoder.decode(input) else { return ChannelEvent::Nothing };
        if let Some(InFlight { echo: Some(echo), .. }) = &mut self.in_flight {
            echo.message_read();
        }
        let is_noise = match &message {
            Message::Information(line) => line.contains(char::REPLACEMENT_CHARACTER),
            Message::Malformed(_) => true,
            _ => false,
        };
        if !is_noise {
            self.noises = 0;
        }
        match message {
            Message::Payload { bytes, left } => {
                match self.payload_for {
                    Destination::Nobody => self.recorder.payload(Side::Modem, bytes, left, now),
                    Destination::Answer => {
                        self.recorder.file(Side::Modem, bytes.len(), left, now);
                        self.answer.file.extend_from_slice(bytes);
                    }
                    Destination::Socket(id) => {
                        self.recorder.payload(Side::Modem, bytes, left, now);
                        payload(id, bytes);
                    }
                }
                if left == 0 {
                    self.payload_for = Destination::Nobody;
                }
            }
            Message::ReceivedHeader { length } => return self.header(length, now),
            Message::Prompt => {
                self.recorder.prompt(now);
                self.prompted(now);
                return ChannelEvent::Prompt;
            }
            Message::Echo => {
                if self.echoed() {
                    return ChannelEvent::EchoAgain;
                }
            }
            Message::Foreign(line) => {
                // It concerns other programs, and may hold a caller's number.
                self.recorder.answer(line, true, now);
                self.payload_for = Destination::Nobody;
                self.answer.has_gaps = true;
                return ChannelEvent::OthersLine(line.to_owned());
            }
            Message::Information(line)
                if self.in_flight.as_ref().is_some_and(|it| it.is_sent_in_another_form(line)) =>
            {
                self.recorder.answer(line, false, now);
                self.decoder.expect_prompt(false);
                let Some(in_flight) = self.in_flight.take() else { return ChannelEvent::Nothing };
                return ChannelEvent::Answered(Answered {
                    in_flight,
                    outcome: CommandOutcome::Ok,
                    answer: std::mem::take(&mut self.answer),
                    asked_at: self.last_said,
                });
            }
            Message::Information(line) => {
                let secret = self.in_flight.as_ref().is_some_and(InFlight::is_secret);
                self.recorder.answer(line, secret, now);
                if let ChannelState::Resync(resync) = &mut self.state {
                    resync.line_received(line);
                }
                let is_answer = self.answer.take_line(self.in_flight.as_ref(), line);
                if !is_answer {
                    log::trace!(target: "wire", "ignored: {line}");
                }
                // A text with its length may be in one line, and look like a line of the answer.
                if !is_answer || begins_text(line) {
                    return ChannelEvent::OthersLine(line.to_owned());
                }
            }
            Message::PushInText => return ChannelEvent::PushInText,
            Message::Malformed(text) => return ChannelEvent::Malformed(text.to_owned()),
            Message::Urc(urc) => {
                self.recorder.line(Side::Modem, urc, now);
                if let Urc::Pushed(_, _, length @ 1..) = urc {
                    self.announced(length, now);
                }
                return ChannelEvent::Urc(urc);
            }
            Message::Final(result) => {
                self.recorder.line(Side::Modem, result, now);
                let result = CommandOutcome::from(result);
                return self.result(result, now);
            }
        }
        ChannelEvent::Nothing
    }

    /// `+QSSLRECV: <length>` or `+QIRD: <length>`: what was asked for follows.
    fn header(&mut self, length: usize, now: Instant) -> ChannelEvent {
        let name = match &self.in_flight {
            Some(InFlight { command: command @ Command::Receive { .. }, .. }) => command.answer_prefix(),
            _ => CommandSet::Ssl.names().receive,
        };
        self.recorder.line(Side::Modem, format_args!("{name}: {length}"), now);
        if length > 0 {
            self.announced(length, now);
        }
        self.payload_for = Destination::Nobody;
        let Some(InFlight { command: Command::Receive { socket, length: asked, .. }, .. }) = &self.in_flight
        else {
            return ChannelEvent::Nothing;
        };
        self.answer.contradicts |= self.answer.received.is_some() || length > *asked;
        self.answer.received.get_or_insert(length);
        if length == 0 || self.answer.contradicts {
            return ChannelEvent::Nothing;
        }
        ChannelEvent::Header(*socket, length)
    }

    /// A final result came.
    fn result(&mut self, result: CommandOutcome, now: Instant) -> ChannelEvent {
        self.answer_is_whole(now);
        let (is_connect, is_send_ok) = (result == CommandOutcome::Connect, result == CommandOutcome::SendOk);
        let is_no_carrier = result == CommandOutcome::NoCarrier;
        if let ChannelState::Resync(resync) = &mut self.state {
            match result {
                CommandOutcome::Ok => resync.ok_received(now),
                CommandOutcome::Connect => return ChannelEvent::UnwantedStream,
                result => {
                    resync.other_result_received(now);
                    if result == CommandOutcome::NoCarrier {
                        return ChannelEvent::StreamOver;
                    }
                }
            }
            return ChannelEvent::Nothing;
        }
        if is_connect && self.connected(now) {
            // The file is due, or comes.
            return ChannelEvent::Nothing;
        }
        match self.concluded(result) {
            Some((in_flight, outcome)) => ChannelEvent::Answered(Answered {
                in_flight,
                outcome,
                answer: std::mem::take(&mut self.answer),
                asked_at: self.last_said,
            }),
            None if is_connect => ChannelEvent::UnwantedStream,
            None if is_send_ok => ChannelEvent::SendOk,
            None if is_no_carrier => ChannelEvent::StreamOverElsewhere,
            None => ChannelEvent::Nothing,
        }
    }

    /// A final result arrived. `Some` if it ends the command in flight, which is then no longer in flight.
    fn concluded(&mut self, result: CommandOutcome) -> Option<(InFlight, CommandOutcome)> {
        let in_flight = self.in_flight.as_ref()?;
        let expects = in_flight.command.expects();
        let payload_left = in_flight.stage() == CommandStage::AfterPayload;
        let ends = match (&result, expects) {
            (CommandOutcome::Refused(_), _) => true,
            (CommandOutcome::SendOk, Expects::Prompt) => payload_left,
            (CommandOutcome::SendFail, Expects::Prompt) => true,
            (CommandOutcome::Ok, Expects::Result) => true,
            (CommandOutcome::Ok, Expects::ConnectThenUpload | Expects::ConnectThenDownload(_)) => {
                payload_left
            }
            (CommandOutcome::Connect | CommandOutcome::NoCarrier, Expects::ConnectThenData) => true,
            // Some modules send OK before the CONNECT of a transparent open; anything else here answers no
            // command of ours.
            _ => false,
        };
        if !ends {
            log::debug!(target: "at", "ignored a result that ends nothing: {result:?}");
            return None;
        }
        self.decoder.expect_prompt(false);
        self.in_flight.take().map(|in_flight| (in_flight, result))
    }

    /// `CONNECT` of a file command arrived.
    fn connected(&mut self, now: Instant) -> bool {
        match self.in_flight.as_mut().and_then(|in_flight| in_flight.connected(now)) {
            None => false,
            Some(Transfer::Upload) => true,
            Some(Transfer::Download(size)) => {
                self.payload_for = Destination::Answer;
                self.decoder.expect_raw(size);
                self.announced(size, now);
                true
            }
        }
    }

    /// The answer to the command in flight is there. Its bytes did not exist before the command was sent, so the line
    /// has carried them since then.
    fn answer_is_whole(&mut self, now: Instant) {
        if self.in_flight.is_none() || self.owes_answers {
            return;
        }
        let lines: usize = self.answer.lines.iter().map(String::len).sum();
        let bits = 10 * (lines + self.answer.file.len()) as u128;
        let micros = now.saturating_duration_since(self.last_said).as_micros().max(1);
        let baud = u32::try_from(bits * 1_000_000 / micros).unwrap_or(u32::MAX);
        self.carried_baud = self.carried_baud.max(baud);
    }

    /// The payload that is announced belongs to this socket, or to none.
    pub fn payload_is_for(&mut self, socket: Option<SocketId>) {
        self.payload_for = socket.map_or(Destination::Nobody, Destination::Socket);
    }

    /// A `recv` URC came for this socket, while it is perhaps being read.
    pub fn receivable(&mut self, id: SocketId) {
        if self.is_asking(|command| matches!(command, Command::Receive { socket, .. } if *socket == id)) {
            self.answer.receivable_again = true;
        }
    }

    /// Bytes of the stream came; what is known to be payload of it goes to `payload`.
    pub fn stream_received(&mut self, bytes: &[u8], now: Instant, payload: &mut impl FnMut(&[u8])) {
        let ChannelState::Data(stream) = &mut self.state else { return };
        let bytes = stream.skip_line_feed(bytes);
        self.recorder.payload(Side::Modem, bytes, 0, now);
        stream.received(bytes, now, payload);
    }

    /// A command came back. Returns whether the echo had been switched off, which the module has forgotten then.
    fn echoed(&mut self) -> bool {
        match &mut self.in_flight {
            Some(in_flight) if in_flight.echo.is_none() => in_flight.echo = Some(Echo::default()),
            // The `AT` of a resync.
            None if matches!(self.state, ChannelState::Resync(_)) => {}
            _ => return false,
        }
        self.habit.command_came_back() && self.wire.have_silenced_echo()
    }

    /// The socket whose payload is in flight and may be echoed.
    pub fn may_echo(&self) -> Option<SocketId> {
        let may_come =
            matches!(self.habit, Habit::Unknown | Habit::Payload) && !self.decoder.is_inside_message();
        match &self.in_flight {
            Some(InFlight { command: Command::Send { socket, .. }, .. }) if may_come => Some(*socket),
            _ => None,
        }
    }

    /// Takes the echo of the payload in flight from `input`. `outgoing` begins with that payload.
    pub fn take_echo(&mut self, outgoing: &[u8], input: &mut &[u8]) -> EchoTaken {
        let Some(in_flight) = &mut self.in_flight else { return EchoTaken::Nothing };
        let sent = in_flight.payload_sent();
        let echo = in_flight.echo.as_mut().filter(|_| !input.is_empty());
        match echo.map_or(EchoPart::Words, |echo| echo.take(&outgoing[..sent], input)) {
            EchoPart::Echo(count) => *input = &input[count..],
            EchoPart::Line { line, count } => {
                self.decoder.begin_line(&outgoing[line]);
                *input = &input[count..];
            }
            EchoPart::Words if self.skip_before_echo(input) => {}
            EchoPart::Words => return EchoTaken::Nothing,
            EchoPart::Garbled => return EchoTaken::Garbled,
        }
        EchoTaken::Some
    }

    /// Skips one byte in front of the rest of the echo, if no line begins with it. Returns whether there was one.
    fn skip_before_echo(&mut self, input: &mut &[u8]) -> bool {
        let Some(&first) = input.first() else { return false };
        let is_skipped = self.owes_echo() && self.decoder.skip_before_echo(input);
        if let (true, Some(InFlight { echo: Some(echo), .. })) = (is_skipped, &mut self.in_flight) {
            echo.skipped(first);
        }
        is_skipped
    }

    /// Whether more of the payload in flight is still to be echoed: it could be taken for the modem's words.
    pub fn owes_echo(&self) -> bool {
        self.habit != Habit::CommandsOnly && self.in_flight.as_ref().is_some_and(InFlight::owes_echo)
    }

    /// A command was answered; by its echo it is learnt whether payload is echoed. `outgoing`: what its socket has to
    /// send, before what was sent is taken away.
    pub fn learn_habit(&mut self, answered: &InFlight, outcome: &CommandOutcome, outgoing: &[u8]) {
        let is_sent = matches!((&answered.command, outcome), (Command::Send { .. }, CommandOutcome::SendOk));
        self.habit.answered(answered.echo, if is_sent { outgoing } else { &[] });
    }
}
