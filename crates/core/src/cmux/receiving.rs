//! What the multiplexer does with frames, messages and text of the module.

use std::time::Instant;

use super::dlci::{DlciEffect, DlciNumber};
use super::frame::{Frame, Kind, Piece, Poll};
use super::message::{self, Message, Type};
use super::text::tells_of_reboot;
use super::{LastFrame, Lost, Mux, MuxEvent, MuxState, PROBE_COMMAND, Running, TEXT_EVENTS_MAX, Why};

impl Mux {
    /// Takes what it can of `input`.
    pub(super) fn decode(&mut self, input: &mut &[u8], now: Instant) {
        // Taken out of `self`, because its results borrow from it.
        let mut decoder = std::mem::take(&mut self.decoder);
        while self.may_decode() {
            match decoder.decode(input) {
                Some(Piece::Frame(frame)) => {
                    self.text.interrupted();
                    self.frame_came(frame, now);
                }
                Some(Piece::Outside(bytes)) => self.text_came(bytes, now),
                None => break,
            }
        }
        self.decoder = decoder;
        if !self.is_framed() {
            self.decoder.begin_anew();
        }
    }

    fn frame_came(&mut self, frame: Frame<'_>, now: Instant) {
        if self.is_echo(&frame) {
            if self.is_running() {
                self.lose(Lost::Echo, now);
            }
            return;
        }
        match &mut self.state {
            MuxState::Probing(_) => {
                self.state = MuxState::Found;
                self.events.push_back(MuxEvent::Found);
            }
            MuxState::Running(running) => running.frame_came(now),
            _ => {}
        }
        if frame.dlci == 0 {
            self.own_frame_came(frame, now);
        } else if let Some(dlci) = DlciNumber::new(frame.dlci).filter(|dlci| dlci.index() < self.channels) {
            self.channel_frame_came(dlci, frame, now);
        } else if !matches!(frame.kind, Kind::Ua | Kind::Dm) {
            self.send(frame.dlci, Kind::Dm, Poll::Set, &[]);
        }
        self.continue_opening(now);
    }

    /// Whether it is one of the questions that find out whether the module is there. Its answers look different.
    fn is_echo(&self, frame: &Frame<'_>) -> bool {
        if matches!(self.state, MuxState::Probing(_)) && frame.dlci == 0 && frame.kind == Kind::Sabm {
            return true;
        }
        let is_information = matches!(frame.kind, Kind::Uih | Kind::Ui);
        let own_test = Message::command(Type::Test, &self.test);
        let is_test = frame.dlci == 0
            && Message::parse(frame.information).is_some_and(|(message, _)| message == own_test);
        let is_at = matches!(self.state, MuxState::Probing(_))
            && frame.dlci == 1
            && frame.information == PROBE_COMMAND;
        is_information && (is_test || is_at)
    }

    /// A frame of DLCI 0.
    fn own_frame_came(&mut self, frame: Frame<'_>, now: Instant) {
        match (frame.kind, &mut self.state) {
            (Kind::Uih | Kind::Ui, _) => self.messages_came(frame.information, now),
            (Kind::Sabm, state) => {
                if let MuxState::Opening(opening) = state {
                    opening.sabm();
                }
                self.send(0, Kind::Ua, Poll::Set, &[]);
            }
            (Kind::Ua, MuxState::Opening(opening)) => {
                if opening.ua() {
                    self.state = MuxState::Channels { next: 0 };
                }
            }
            (Kind::Dm, MuxState::Opening(opening)) => opening.dm(),
            // It may be the answer to something older.
            (Kind::Dm, MuxState::Running(_)) => self.ask(Why::Silence, now),
            (Kind::Disc, MuxState::Running(_) | MuxState::Channels { .. } | MuxState::Closing { .. }) => {
                self.module_left(now);
                self.send(0, Kind::Ua, Poll::Set, &[]);
            }
            (Kind::Disc, _) => self.send(0, Kind::Ua, Poll::Set, &[]),
            (Kind::Ua | Kind::Dm, _) => {}
        }
    }

    /// A frame of a channel.
    fn channel_frame_came(&mut self, dlci: DlciNumber, frame: Frame<'_>, now: Instant) {
        let due = self.message_due(now);
        let is_in_use = self.has_channels();
        let channel = &mut self.dlcis[dlci.index()];
        let effects = match frame.kind {
            Kind::Sabm | Kind::Disc if !is_in_use => [Some(DlciEffect::Ua), None],
            _ if !is_in_use => [None, None],
            Kind::Sabm => channel.sabm(due),
            Kind::Ua => [channel.ua(due), None],
            Kind::Dm => [channel.dm(now), None],
            Kind::Disc => [channel.disc(now), None],
            Kind::Uih | Kind::Ui => [channel.data(frame.information), None],
        };
        for effect in effects {
            self.apply(dlci, effect, now);
        }
    }

    /// The messages in a frame of DLCI 0.
    fn messages_came(&mut self, mut information: &[u8], now: Instant) {
        let mut is_first = true;
        while let Some((message, rest)) = Message::parse(information) {
            match Type::parse(message.octet) {
                Some(kind) if message.is_command => self.command_came(kind, message.values, now),
                Some(kind) => self.answer_came(kind, message.values, now),
                // Some modules send MSC with octets after it.
                None if !is_first => return,
                None if message.is_command => {
                    let octet = information[0];
                    self.send_message(Message::answer(Type::NotSupported, &[octet]));
                }
                None => {}
            }
            if !self.is_framed() {
                return;
            }
            is_first = false;
            information = rest;
        }
    }

    fn command_came(&mut self, kind: Type, values: &[u8], now: Instant) {
        match kind {
            Type::ModemStatus => {
                let Some((dlci, lines)) = message::modem_status(values) else { return };
                // The answer goes first: until it comes some modules hold the data of that channel.
                self.send_message(Message::answer(kind, values));
                if let Some(dlci) = DlciNumber::new(dlci) {
                    let effect = self.dlcis[dlci.index()].lines_came(lines, now);
                    self.apply(dlci, effect, now);
                }
            }
            Type::FlowOn => {
                self.end_stop(now);
                self.send_message(Message::answer(kind, values));
            }
            Type::FlowOff => {
                self.stopped_since.get_or_insert(now);
                self.send_message(Message::answer(kind, values));
            }
            Type::CloseDown => {
                let was_used = !matches!(self.state, MuxState::Opening(_) | MuxState::Found);
                if was_used {
                    self.module_left(now);
                }
                self.send_message(Message::answer(kind, values));
            }
            Type::Parameters => {
                let Some((dlci, frame_size)) = message::parameters(values) else { return };
                let Some(dlci) = DlciNumber::new(dlci) else { return };
                self.dlcis[dlci.index()].limit_frame_size(frame_size);
                let values = message::with_frame_size(values, frame_size.min(self.frame_size));
                self.send_message(Message::answer(kind, &values));
            }
            Type::RemotePort => match values {
                [dlci] => {
                    let settings = [&[*dlci][..], &message::REMOTE_PORT].concat();
                    self.send_message(Message::answer(kind, &settings));
                }
                _ => self.send_message(Message::answer(kind, values)),
            },
            Type::Test | Type::PowerSaving | Type::RemoteLine | Type::Service => {
                self.send_message(Message::answer(kind, values));
            }
            // It is an answer only.
            Type::NotSupported => {}
        }
    }

    fn answer_came(&mut self, kind: Type, values: &[u8], now: Instant) {
        let is_answer = match kind {
            Type::ModemStatus => {
                let Some((dlci, lines)) = message::modem_status(values) else { return };
                if let Some(dlci) = DlciNumber::new(dlci) {
                    self.dlcis[dlci.index()].lines_answered(lines);
                }
                true
            }
            Type::Test => values == self.test,
            Type::NotSupported => true,
            Type::CloseDown if matches!(self.state, MuxState::Closing { .. }) => {
                self.end(MuxState::Plain, MuxEvent::Left, now);
                return;
            }
            _ => false,
        };
        if is_answer {
            self.counters.answers += 1;
            if let MuxState::Running(running) = &mut self.state {
                running.question = None;
            }
        }
    }

    /// Bytes came outside of frames.
    fn text_came(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some(line) = self.text.take(&mut bytes) {
            let why = if tells_of_reboot(&line) { Why::Reboot } else { Why::Text };
            if self.events.len() < TEXT_EVENTS_MAX {
                self.events.push_back(MuxEvent::Text(line));
            }
            self.ask(why, now);
        }
    }
}

impl Running {
    fn frame_came(&mut self, now: Instant) {
        self.last_frame = LastFrame::At(now);
        if self.question.is_some_and(|question| question.why < Why::Reboot) {
            self.question = None;
        }
    }
}
