//! A socket whose bytes flow: how they come ([`Flow`]), and what is known of the server's side ([`FarEnd`]).

use std::time::{Duration, Instant};

use super::far_end::Verdict;
use super::flow::Load;
use super::{Adjusted, FarEnd, Flow, Phase, Received, Socket, Switching, Witness, Witnessed};
use crate::at::CommandOutcome;
use crate::failure::Cut;

/// An open socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// How received bytes come.
    flow: Flow,
    /// What is known of its far end.
    far_end: FarEnd,
}

impl Open {
    // Questions.

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    pub(super) fn far_end(&self) -> FarEnd {
        self.far_end
    }

    /// Whether the server has closed, and everything that came before has been read.
    pub(super) fn is_read_to_its_end(&self) -> bool {
        self.far_end == FarEnd::Gone && matches!(self.flow, Flow::Push | Flow::Buffer { readable: false })
    }

    /// Whether the server has closed, by all that is known.
    pub(super) fn is_gone(&self) -> bool {
        self.far_end == FarEnd::Gone
    }

    /// How long it may be silent before it is read, or asked about, without a URC.
    pub(super) fn silence_max(&self, switching: &Switching) -> Option<Duration> {
        self.flow.silence_max(switching)
    }

    // Receiving.

    /// The URC `recv` without a length.
    pub(super) fn announced(&mut self) {
        self.flow.announced();
    }

    /// Bytes came for it.
    pub(super) fn received(&mut self, now: Instant) {
        self.far_end.received(now);
    }

    /// Nothing more can be read.
    pub(super) fn read_empty(&mut self) {
        self.flow.read_empty(false);
    }

    /// Something may wait in the module unannounced, and `closed` would not reach us either.
    pub(super) fn was_silent(&mut self) {
        self.flow.read_unasked();
        self.far_end.ask();
    }

    /// The answer to AT+QSSLRECV.
    pub(super) fn receive_answered(
        &mut self,
        length: Option<usize>,
        announced_again: bool,
        outcome: &CommandOutcome,
        now: Instant,
    ) -> Result<Received, Cut> {
        match (outcome, length) {
            (CommandOutcome::Ok, Some(0)) => {
                self.flow.read_empty(announced_again);
                Ok(Received::Bytes(0))
            }
            (CommandOutcome::Ok, Some(count)) => {
                self.far_end.received(now);
                Ok(Received::Bytes(count))
            }
            (CommandOutcome::Refused(_), None) if self.flow.read_refused() => Ok(Received::Nothing),
            _ => Err(Cut::ReceiveFailed),
        }
    }

    // Switching.

    /// Begins a switch between push and buffer mode where it is called for, and takes back one that is not sent yet.
    pub(super) fn adjust(&mut self, load: Load, switching: &Switching) {
        self.flow.adjust(load, self.far_end, switching);
    }

    /// AT+QISWTMD was answered.
    pub(super) fn mode_switched(&mut self, worked: bool) {
        self.flow.switched(worked);
    }

    /// The switch to buffer mode was not answered.
    pub(super) fn switch_unanswered(&mut self) {
        self.flow.switch_unanswered();
    }

    // The far end.

    /// The URC `closed`. In data mode the end has other words (`NO CARRIER`), and the channel confirms it.
    pub(super) fn closed(&mut self, now: Instant) {
        if !self.flow.is_stream() {
            self.far_end.closed(now);
        }
    }

    /// AT+QSSLSEND was answered with ERROR.
    pub(super) fn send_refused(&mut self) {
        self.far_end.send_refused();
    }

    /// Its stream may be over: the module is asked on another channel.
    pub(super) fn ask_beside(&mut self) {
        if self.flow.is_stream() {
            self.far_end.ask();
        }
    }

    /// URCs went to a port that is not ours: pushed bytes are lost, bytes that wait in the module are not.
    pub(super) fn urcs_were_elsewhere(&mut self) -> Result<(), Cut> {
        match self.flow {
            Flow::Buffer { .. } => {
                // `closed` may have been sent as well.
                self.was_silent();
                Ok(())
            }
            Flow::Push => Err(Cut::UrcsMissed),
            _ => Ok(()),
        }
    }

    /// It has ended, by all that is known. What waits in the module is read.
    pub(super) fn is_over(&mut self) {
        self.far_end.is_over_now();
        self.flow.read_unasked();
    }

    /// AT+QSSLSTATE was answered, and one answer is enough.
    pub(super) fn witnessed_over(&mut self, witness: Witness) {
        match witness {
            Witness::Ended | Witness::Forgeable => self.is_over(),
            Witness::Connected | Witness::Another | Witness::Unclear => self.far_end.asked_beside(),
        }
    }

    /// AT+QSSLSTATE was answered.
    pub(super) fn witnessed(&mut self, witness: Witness, now: Instant) -> Result<Witnessed, Cut> {
        if let Flow::Transparent { channel } = self.flow {
            self.far_end.asked_beside();
            // The bytes of the stream are where its channel is, and it decides what they mean.
            let is_connected = match witness {
                Witness::Connected => Some(true),
                Witness::Ended => Some(false),
                Witness::Forgeable | Witness::Another | Witness::Unclear => None,
            };
            return Ok(Witnessed::Beside { channel, is_connected });
        }
        let is_pushed = !matches!(self.flow, Flow::Buffer { .. });
        match self.far_end.answered(witness, is_pushed, now) {
            Verdict::GoesOn { is_first: true } => return Ok(Witnessed::Contradicted),
            Verdict::GoesOn { is_first: false } | Verdict::WithoutClosed => {}
            // Received bytes can still wait in the module: they are read to 0 first.
            Verdict::Gone | Verdict::ReadOn => self.flow.read_unasked(),
            Verdict::GoneWithoutClosed => {
                self.flow.read_unasked();
                return Ok(Witnessed::WithoutClosed);
            }
            Verdict::Broken(cut) => return Err(cut),
        }
        Ok(Witnessed::Nothing)
    }

    /// `closed` does not come.
    pub(super) fn closed_stays_away(&mut self, is_unread: bool, now: Instant) -> Result<(), Cut> {
        self.far_end.closed_stays_away(is_unread, now)
    }
}

impl Socket {
    /// Bytes flow.
    pub(super) fn becomes_open(&mut self, flow: Flow, far_end: FarEnd) {
        self.phase = Phase::Open(Open { flow, far_end });
    }

    /// Once the server has closed and everything was read, AT+QSSLCLOSE is next.
    pub(super) fn close_if_read(&mut self) {
        if !self.carries_datagrams() && self.open().is_some_and(Open::is_read_to_its_end) {
            self.begin_closing(true);
        }
    }

    /// The same of one that carries datagrams, of whose end nothing has to be confirmed.
    pub(super) fn close_if_over(&mut self) -> Adjusted {
        let is_over = self.carries_datagrams()
            && self.busy.is_none()
            && self.open().is_some_and(Open::is_read_to_its_end);
        if !is_over {
            return Adjusted::GoesOn;
        }
        self.close(0);
        Adjusted::IsOver
    }
}
