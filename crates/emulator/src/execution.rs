//! Carries out command lines: the commands that are due, their answers, and what the port does next.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::at_port::{Escape, Mode, Payload, PayloadEnd, Upload, UploadTarget, Wait};
use crate::commands::{Call, CommandOutcome, Failure};
use crate::events::Event;
use crate::modem::{LONGEST_SEND_BYTES, Modem};
use crate::network::{Network, Transport};
use crate::parser::{Command, Kind, from_hex, parse};
use crate::result_code::{cme, cme_text, socket, socket_text};
use crate::socket::{Service, SocketState};
use crate::store::checksum;

impl Modem {
    /// A command line is complete: its first command becomes due.
    pub(crate) fn begin_command_line(&mut self, port: usize, now: Instant) {
        let state = &mut self.ports[port];
        let line = std::mem::take(&mut state.line);
        let too_long = std::mem::take(&mut state.line_too_long);
        if !too_long {
            state.last_line.clone_from(&line);
        }
        state.early_payload.clear();
        if self.config.quirks.urc_before_echo {
            self.emit_urcs(port);
            let state = &mut self.ports[port];
            if state.settings.echo {
                state.emit(&line);
                state.emit(b"\r");
            }
        }
        let text = String::from_utf8_lossy(&line);
        if self.config.mute.iter().any(|muted| text.contains(muted.as_str())) {
            return;
        }
        // A line that is too long counts as one unknown command.
        let mut commands = if too_long { parse(b"?") } else { parse(&line[2..]) };
        if self.config.quirks.joined_settings_lost && commands.iter().all(|it| it.is_write("QSSLCFG")) {
            commands.truncate(1);
        }
        self.make_due(port, commands, now);
    }

    fn make_due(&mut self, port: usize, commands: VecDeque<Command>, now: Instant) {
        let name = match commands.front() {
            Some(Command { name, kind: Kind::Write(_) }) => name.as_str(),
            _ => "",
        };
        let spreads = &self.config.facts.spreads;
        let (latency, spread) = match name {
            "QSSLSEND" | "QISEND" => (self.config.prompt_latency, spreads.prompt),
            "QSSLRECV" | "QIRD" => (self.config.receive_latency, spreads.receive),
            "QSSLCLOSE" | "QICLOSE" => (self.config.close_latency, spreads.close),
            "QIACT" | "QIDEACT" => (self.config.activation_latency, spreads.activation),
            _ => (self.config.command_latency, spreads.command),
        };
        let due = now + self.draws.around(latency, spread) + std::mem::take(&mut self.faults.answer_delay);
        self.ports[port].mode = Mode::Executing { commands, due };
    }

    /// Carries out what is due on a port; true if anything was.
    pub(crate) fn carry_out(&mut self, port: usize, now: Instant, network: &mut dyn Network) -> bool {
        let mut moved = false;
        loop {
            let guard = self.config.escape_guard;
            match &self.ports[port].mode {
                Mode::Executing { due, .. } if *due <= now => self.next_command(port, now, network),
                Mode::Sending { due, .. } if *due <= now => self.finish_send(port, now, network),
                Mode::Upload(upload) if upload.due <= now => self.finish_upload(port),
                Mode::Data { escape: Escape::Begun { first_at, .. }, .. } if *first_at + guard <= now => {
                    self.escape_was_payload(port);
                }
                Mode::Data { escape: Escape::Complete { last_at }, .. } if *last_at + guard <= now => {
                    self.escaped(port);
                }
                Mode::Waiting(Wait::Close(connection)) if self.socket_of(*connection).is_none() => {
                    self.ports[port].mode = Mode::Command;
                    self.ports[port].ok();
                }
                _ => return moved,
            }
            moved = true;
        }
    }

    fn next_command(&mut self, port: usize, now: Instant, network: &mut dyn Network) {
        let mode = std::mem::replace(&mut self.ports[port].mode, Mode::Command);
        let Mode::Executing { mut commands, .. } = mode else { return };
        let Some(command) = commands.pop_front() else {
            self.conclude(port, now);
            return;
        };
        let outcome = self.run(&mut Call { port, command: &command, now, network });
        match outcome {
            Ok(CommandOutcome::Done(lines)) => {
                self.information(port, &lines);
                self.go_on(port, commands, now);
            }
            Ok(CommandOutcome::Raw(bytes)) => {
                self.ports[port].emit(&bytes);
                self.go_on(port, commands, now);
            }
            Ok(CommandOutcome::Prompt(payload)) => self.prompt(port, payload, now),
            Ok(CommandOutcome::Send(payload)) => self.begin_sending(port, payload, now),
            Ok(CommandOutcome::Upload(mut upload)) => {
                self.ports[port].connect();
                self.ports[port].prompted_at = Some(now);
                upload.due = if upload.size == 0 { now } else { now + upload.timeout };
                self.ports[port].mode = Mode::Upload(upload);
            }
            Ok(CommandOutcome::Stream(connection)) => self.enter_data_mode(port, connection),
            Ok(CommandOutcome::Wait(wait)) => self.ports[port].mode = Mode::Waiting(wait),
            Err(failure) => self.fail(port, failure),
        }
    }

    fn go_on(&mut self, port: usize, commands: VecDeque<Command>, now: Instant) {
        if commands.is_empty() {
            self.conclude(port, now);
        } else {
            self.make_due(port, commands, now);
        }
    }

    /// The last command of a line is done.
    fn conclude(&mut self, port: usize, now: Instant) {
        let mux = self.ports[port].next_mux.take();
        let is_silent = mux.is_some() && self.config.quirks.mux_begins_silently;
        if !self.loses_result() && !is_silent {
            self.ports[port].ok();
        }
        if let Some(settings) = mux {
            self.enter_mux(port, settings, now);
        }
    }

    fn loses_result(&mut self) -> bool {
        let loses = self.faults.lost_results > 0;
        self.faults.lost_results = self.faults.lost_results.saturating_sub(1);
        loses
    }

    /// Sends the SEND OK that follows a wrong SEND FAIL.
    pub(crate) fn late_send_ok(&mut self, port: usize) {
        if !self.ports[port].in_data_mode() {
            self.information(port, &["SEND OK".into()]);
        }
    }

    /// Sends what is still due about the previous send, before the port takes another payload.
    fn hasten_send_ok(&mut self, port: usize) {
        let is_due = |event: &Event| matches!(event, Event::LateSendOk(by) if *by == port);
        let count = self.events.iter().filter(|(_, event)| is_due(event)).count();
        self.events.retain(|(_, event)| !is_due(event));
        for _ in 0..count {
            self.late_send_ok(port);
        }
    }

    /// Lines of information: CR LF, the lines, each with CR LF.
    fn information(&mut self, port: usize, lines: &[String]) {
        let Some((first, others)) = lines.split_first() else { return };
        let head = if self.ports[port].settings.verbose { "\r\n" } else { "" };
        self.ports[port].emit(format!("{head}{first}\r\n").as_bytes());
        for line in others {
            if self.config.quirks.urc_inside_answer {
                self.emit_urcs(port);
            }
            self.ports[port].emit(format!("{line}\r\n").as_bytes());
        }
    }

    pub(crate) fn fail(&mut self, port: usize, failure: Failure) {
        let quirks = &self.config.quirks;
        let state = &mut self.ports[port];
        state.next_mux = None;
        match failure {
            Failure::Error => state.error(),
            Failure::Cme(code) => state.cme_error(code, cme_text(code, &self.config), quirks.errors_as_text),
            Failure::NoCarrier => state.no_carrier(),
            Failure::Socket(code) => {
                self.session.last_error = code;
                if quirks.socket_errors_as_cme {
                    let text = socket_text(code, &self.config);
                    state.cme_error(code, text, quirks.errors_as_text);
                } else {
                    state.error();
                }
            }
        }
    }

    fn prompt(&mut self, port: usize, payload: Payload, now: Instant) {
        self.hasten_send_ok(port);
        let quirks = &self.config.quirks;
        let text: &[u8] = match (quirks.prompt_without_space, quirks.prompt_with_line_end) {
            (false, false) => b"\r\n> ",
            (true, false) => b"\r\n>",
            (false, true) => b"\r\n> \r\n",
            (true, true) => b"\r\n>\r\n",
        };
        let state = &mut self.ports[port];
        state.emit(text);
        state.prompted_at = Some(now);
        let early = std::mem::take(&mut state.early_payload);
        let mut payload = payload;
        let (_, complete) = payload.take(&early);
        state.mode = Mode::Payload(payload);
        if complete {
            self.payload_complete(port, now);
        }
    }

    /// The last byte of a payload has arrived.
    pub(crate) fn payload_complete(&mut self, port: usize, now: Instant) {
        let mode = std::mem::replace(&mut self.ports[port].mode, Mode::Command);
        if let Mode::Payload(payload) = mode {
            self.begin_sending(port, payload, now);
        }
    }

    fn begin_sending(&mut self, port: usize, payload: Payload, now: Instant) {
        let bytes = u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX);
        let per_byte: Duration = self.config.send_latency_per_byte * bytes;
        let latency = self.draws.around(self.config.send_latency, self.config.facts.spreads.send);
        let due = now + latency + per_byte;
        self.ports[port].mode = Mode::Sending { payload, due };
    }

    fn finish_send(&mut self, port: usize, now: Instant, network: &mut dyn Network) {
        let mode = std::mem::replace(&mut self.ports[port].mode, Mode::Command);
        let Mode::Sending { payload, .. } = mode else { return };
        let info = self.session.data_format.send_info;
        match self.send(&payload, now, network) {
            Ok(Sent::All(id, count)) => {
                self.counters.send_oks += 1;
                self.session.last_error = socket::OK;
                if let Some(time) = self.faults.sends_late.pop_front() {
                    self.schedule(now + time, Event::LateSendOk(port));
                    self.information(port, &["SEND FAIL".into()]);
                } else if self.loses_result() {
                    // SEND OK would have come here.
                } else if info {
                    self.send_info(port, id, socket::OK, count);
                } else {
                    self.information(port, &["SEND OK".into()]);
                }
            }
            Ok(Sent::Nothing(id, count)) => {
                self.counters.send_fails += 1;
                if info {
                    self.send_info(port, id, socket::WRITE_FAILED, count);
                } else {
                    self.information(port, &["SEND FAIL".into()]);
                }
            }
            // The manuals do not document the answer to a cancelled send.
            Ok(Sent::Cancelled) => {
                self.session.last_error = socket::SEND_CANCELLED;
                self.ports[port].ok();
            }
            Err(failure) => self.fail(port, failure),
        }
    }

    /// The result of a send under AT+QICFG="sendinfo". Its code is 0 if the bytes were taken; what it is otherwise is
    /// assumed.
    fn send_info(&mut self, port: usize, id: u8, code: u16, count: usize) {
        self.ports[port].ok();
        self.information(port, &[format!("+QISEND: {id},{code},{count}")]);
    }

    /// Whether the bytes of a payload are echoed as they come: those of AT+QISEND as AT+QISDE sets, those of AT+QSSLSEND
    /// by a quirk. Assumed: without the echo of commands there is none of payload.
    pub(crate) fn is_echoed(&self, port: usize, payload: &Payload) -> bool {
        let by_setting = payload.service == Service::Plain && self.session.sends_echoed;
        self.ports[port].settings.echo && (by_setting || self.config.quirks.payload_echoed)
    }

    /// Hands a payload to its socket: all of it or nothing.
    fn send(&mut self, payload: &Payload, now: Instant, network: &mut dyn Network) -> Result<Sent, Failure> {
        if payload.end == PayloadEnd::Cancelled {
            return Ok(Sent::Cancelled);
        }
        let decoded;
        let bytes = if self.session.data_format.hex_to_modem && payload.end != PayloadEnd::InCommand {
            decoded = from_hex(&payload.bytes).ok_or(Failure::Socket(socket::INVALID_PARAMETER))?;
            &decoded
        } else {
            &payload.bytes
        };
        if bytes.len() > LONGEST_SEND_BYTES {
            return Err(Failure::Socket(socket::INVALID_PARAMETER));
        }
        let limit = self.config.send_buffer_bytes;
        let ordered_to_fail = self.faults.failing_sends > 0;
        let is_split = self.config.quirks.sent_datagrams_split;
        let target = self.socket_of_mut(payload.connection);
        let target = target.filter(|target| target.state == SocketState::Connected);
        let target = target.ok_or(Failure::Socket(socket::CLOSED))?;
        target.unsent = network.unsent(target.connection, now);
        let full = target.send_buffer_used() + bytes.len() > limit;
        if !full && !ordered_to_fail {
            let is_split = is_split && target.transport != Transport::Tcp;
            let most = if is_split { SPLIT_DATAGRAM_BYTES } else { LONGEST_SEND_BYTES };
            bytes.chunks(most).for_each(|part| target.queue(part, payload.to));
            return Ok(Sent::All(target.id, bytes.len()));
        }
        let id = target.id;
        self.faults.failing_sends = self.faults.failing_sends.saturating_sub(1);
        Ok(Sent::Nothing(id, bytes.len()))
    }

    /// An upload is complete, or the wait for the rest of it is over; what arrived is stored in both cases.
    fn finish_upload(&mut self, port: usize) {
        let mode = std::mem::replace(&mut self.ports[port].mode, Mode::Command);
        let Mode::Upload(Upload { target, size, mut bytes, .. }) = mode else { return };
        let complete = bytes.len() == size;
        if self.faults.spoiled_uploads > 0
            && let Some(first) = bytes.first_mut()
        {
            self.faults.spoiled_uploads -= 1;
            *first ^= 0x40;
        }
        let text = match target {
            UploadTarget::File(name) => {
                let text = format!("+QFUPL: {},{:x}", bytes.len(), checksum(&bytes));
                self.store.put(name, bytes);
                text
            }
            UploadTarget::Handle(handle) => {
                let size = self.write_open_file(handle, &bytes);
                format!("+QFWRITE: {},{size}", bytes.len())
            }
        };
        self.information(port, &[text]);
        if complete {
            self.ports[port].ok();
        } else {
            self.fail(port, Failure::Cme(cme::FILE_TIMEOUT));
        }
    }
}

/// Most bytes of a datagram where a quirk splits what is sent.
const SPLIT_DATAGRAM_BYTES: usize = 512;

/// The outcome of a send.
enum Sent {
    /// The socket of this number took this many bytes, which are all.
    All(u8, usize),
    /// The socket of this number had no room for this many bytes, and took none of them.
    Nothing(u8, usize),
    Cancelled,
}
