//! The line itself: echo and empty lines byte by byte, the wires of the port, and the multiplexer.

use std::time::{Duration, Instant};

use super::wire::{CLOSE_DOWN, OPEN_CHANNEL, PAUSE, State, has, last_line};
use super::{Survey, UNDO_TRIES};
use qssl_core::Kind;
use qssl_core::at::Command;
use qssl_core::modem::Failure;

impl Survey {
    /// Asks for the settings that this program writes before its first command. A modem that does not answer now, such as
    /// one at another speed, is left as the program sets it.
    pub(super) fn ask_line(&mut self) -> Result<(), Failure> {
        if self.conversation.is_shared() {
            return Ok(());
        }
        let opened = self.conversation.open_held();
        let asked = opened.and_then(|()| self.on_wire(Self::line_settings));
        self.conversation.release();
        if asked.is_err() {
            // Nothing was changed.
            self.line_before.clear();
        }
        asked
    }

    fn line_settings(&mut self) -> Result<(), Failure> {
        for (question, name) in [("AT+CMEE?", "+CMEE:"), ("AT+IFC?", "+IFC:")] {
            let heard = self.exchange(question, FIRST_LIMIT)?;
            let is_echoed = has(&heard, format!("{question}\r").as_bytes());
            let heard = String::from_utf8_lossy(&heard);
            let value = heard.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let is_value = |value: &&str| value.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
            let Some(value) = value.filter(is_value) else { continue };
            self.line_before.push(format!("{}={value}", question.trim_end_matches('?')));
            if is_echoed && self.line_before.len() == 1 {
                // The last that is sent.
                self.line_before.insert(0, "ATE1".to_owned());
            }
        }
        let heard = self.exchange("AT&V", FIRST_LIMIT)?;
        let heard = String::from_utf8_lossy(&heard);
        if let (Some(dcd), Some(dtr)) = (stored(&heard, "&C"), stored(&heard, "&D")) {
            self.line_before.push(format!("AT&C{dcd}&D{dtr}"));
        }
        Ok(())
    }

    /// Restores what [`Survey::ask_line`] has found.
    pub(super) fn put_line_back(&mut self) {
        let lines = std::mem::take(&mut self.line_before);
        if lines.is_empty() {
            return;
        }
        // The modem may still be at work on a command that a signal has cut off. The core waits for it.
        let stopped = self.stopped.take();
        let answer = self.say("AT");
        self.stopped = match &answer {
            Err(failure @ Failure { kind: Kind::Signal(_), .. }) => Some(failure.clone()),
            _ => stopped,
        };
        if matches!(answer, Err(Failure { kind: Kind::PortUnavailable, .. })) {
            return;
        }
        for line in lines.into_iter().rev() {
            let mut answer = self.on_wire(|survey| survey.exchange(&line, ANSWER_LIMIT));
            for _ in 1..UNDO_TRIES {
                match answer {
                    Err(failure @ Failure { kind: Kind::Signal(_), .. }) => self.stopped = Some(failure),
                    Ok(heard) if last_line(&heard).is_none() => {}
                    other => {
                        answer = other;
                        break;
                    }
                }
                answer = self.on_wire(|survey| survey.exchange(&line, ANSWER_LIMIT));
            }
            let is_refused = answer.is_ok_and(|answer| last_line(&answer).as_deref() != Some("OK"));
            // A module that refuses these has not taken this program's either.
            let is_foreign = line.contains('&') && self.module.is_true("habits", "line_settings_refused");
            if is_refused && !is_foreign && !self.has_rebooted {
                self.refused.push(line);
            }
        }
    }

    /// Measures what needs the port. Beside a daemon there is nothing to measure: it has the port.
    pub(super) fn line(&mut self) -> Result<(), Failure> {
        if self.conversation.is_shared() {
            return Ok(());
        }
        // A tunnel turns the echo off, and so has this program.
        self.undo.push(Command::line("ATE0").into());
        self.on_wire(Self::echo)?;
        self.put_back();
        self.wires();
        if self.module.has("cmux", "answer") {
            self.on_wire(Self::frames)?;
        }
        Ok(())
    }

    /// AT with echo and without, and a line with nothing in it.
    fn echo(&mut self) -> Result<(), Failure> {
        let quiet = self.exchange("AT", ANSWER_LIMIT)?;
        self.habit("echo_stays", has(&quiet, b"AT\r"), "AT after ATE0");
        self.exchange("ATE1", ANSWER_LIMIT)?;
        let echoed = self.exchange("AT", ANSWER_LIMIT)?;
        let with_more = self.exchange("zzAT", ANSWER_LIMIT)?;
        self.habit("everything_echoed", has(&with_more, b"zz"), "zzAT with echo");
        self.exchange("ATE0", ANSWER_LIMIT)?;
        self.write(b"\r")?;
        let empty = self.hear_silence(Duration::from_millis(200))?;
        self.compare_bytes("AT with echo", "AT\\r\\r\\nOK\\r\\n", &echoed);
        self.compare_bytes("AT without echo", "\\r\\nOK\\r\\n", &quiet);
        self.compare_bytes("an empty line", "", &empty);
        Ok(())
    }

    /// The wires of the port, where it shows them.
    fn wires(&mut self) {
        let Some(lines) = self.lines() else { return };
        let on: Vec<&str> = [("DCD", lines.dcd), ("DSR", lines.dsr), ("CTS", lines.cts), ("RI", lines.ri)]
            .iter()
            .filter(|(_, is_on)| *is_on)
            .map(|(name, _)| *name)
            .collect();
        let measured = if on.is_empty() { "none".to_owned() } else { on.join(" ") };
        self.comparison.row("wires that are on", "", "needs none", measured, true);
    }

    /// Enters the multiplexer with the module's own parameters, and leaves it.
    fn frames(&mut self) -> Result<(), Failure> {
        self.forget_heard();
        let begin = Instant::now();
        // From here on the way back is a frame. Where the modem is not in this mode, it takes the frame for nothing.
        self.set_state(State::Frames);
        self.write(b"AT+CMUX=0\r")?;
        let is_over = |heard: &[u8]| (has(heard, b"OK\r\n") || has(heard, b"ERROR")).then_some(());
        let is_answered = self.hear(ANSWER_LIMIT, is_over)?.is_some();
        let answer = self.hear_silence(PAUSE)?;
        self.transcript.exchange("AT+CMUX=0", &answer, begin.elapsed());
        if has(&answer, b"ERROR") {
            self.set_state(State::Commands);
            self.comparison.row("AT+CMUX=0", "OK", "goes on without", "refused on this port", true);
            return Ok(());
        }
        self.write(OPEN_CHANNEL)?;
        let opened = self
            .hear(ANSWER_LIMIT, |heard| CHANNEL_OPENED.iter().any(|frame| has(heard, frame)).then_some(()))?
            .is_some();
        self.hear_silence(PAUSE)?;
        self.write(CLOSE_DOWN)?;
        let left = self.hear(ANSWER_LIMIT, |heard| has(heard, b"\x05\xC1\x01").then_some(()))?.is_some();
        self.transcript.remark("channel 0 of the multiplexer was opened and closed");
        self.hear_silence(PAUSE)?;
        self.set_state(State::Commands);
        let mut back = false;
        for _ in 0..3 {
            back = back || has(&self.exchange("AT", ANSWER_LIMIT)?, b"OK\r\n");
        }
        if !back {
            self.set_state(State::Frames);
        }
        if opened {
            self.habit("mux_begins_silently", !is_answered, "AT+CMUX=0");
            if back {
                self.habit("mux_close_down_unanswered", !left, "CLD");
            }
        }
        let measured = match (opened, back) {
            (true, true) => "in and out",
            (true, false) => "CLD does not end it",
            (false, _) => "channel 0 does not open",
        };
        self.comparison.row("multiplexer", "CMUX, basic option", "--cmux uses it", measured, opened && back);
        Ok(())
    }
}

/// The value of a setting in the answer to AT&V, `&C: 1` or `&C1`.
fn stored(answer: &str, name: &str) -> Option<u32> {
    let (_, after) = answer.split_once(name)?;
    after.trim_start_matches([':', ' ']).chars().next()?.to_digit(10)
}

/// UA on channel 0 with F set, and with F clear.
const CHANNEL_OPENED: [&[u8]; 2] = [b"\xF9\x03\x73", b"\xF9\x03\x63"];

const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long the answer to the first question may take.
const FIRST_LIMIT: Duration = Duration::from_millis(500);
