//! What a test or a demo can do to a modem and read from it without using its ports.

use std::time::{Duration, Instant};

use crate::config::{Cell, Registration};
use crate::events::{Event, Power};
use crate::faults::{Faults, OpenFault};
use crate::modem::Modem;
use crate::network::Network;
use crate::session::UrcPort;
use crate::socket::Service;
use crate::store::{DriveName, FileName};

impl Modem {
    /// Reboots as after a crash or a loss of power: nothing is sent, what was on its way to the host is
    /// lost, and RDY comes after [`crate::Config::boot_time`]. It also switches a modem on that is off.
    pub fn reboot(&mut self, now: Instant) {
        self.power_lost();
        for port in &mut self.ports {
            port.output.clear();
        }
        self.power_up(now);
        self.work_since = Some(now);
    }

    /// Whether the modem is up.
    pub fn is_up(&self) -> bool {
        self.power == Power::On
    }

    /// The network deactivates a PDP context: its connections are cut, and `+QIURC: "pdpdeact"` reports it.
    pub fn drop_pdp(&mut self, context: u8, now: Instant) {
        if self.deactivate(context, now) {
            self.urc(&format!("+QIURC: \"pdpdeact\",{context}"));
        }
        self.work_since = Some(now);
    }

    /// A PDP context is still reported active, but no traffic gets through until it is activated anew: its
    /// connections are cut, and opens fail.
    pub fn wear_out_pdp(&mut self, context: u8, now: Instant) {
        let index = usize::from(context).wrapping_sub(1);
        if let Some(pdp) = self.session.pdp_contexts.get_mut(index) {
            pdp.worn_out = true;
        }
        self.cut_connections(context, now);
        self.work_since = Some(now);
    }

    /// Changes how the mobile network treats the modem. Losing the registration ends all PDP contexts.
    pub fn set_registration(&mut self, registration: Registration, now: Instant) {
        self.config.registration = registration;
        if self.session.searching_since.is_some() {
            self.search_network(now);
        }
        if !self.is_registered(now) {
            for context in 1..=self.config.pdp_contexts() {
                self.drop_pdp(context, now);
            }
        }
        self.work_since = Some(now);
    }

    /// Changes the access point without which no PDP context is activated; active ones stay.
    pub fn require_apn(&mut self, name: Option<String>) {
        self.config.required_apn = name;
    }

    /// Sets the modem's clock, in seconds since 1970.
    pub fn set_clock(&mut self, seconds: i64, now: Instant) {
        self.clock.set(seconds, now);
    }

    /// The modem's clock, in seconds since 1970.
    pub fn clock(&self, now: Instant) -> i64 {
        self.clock.seconds(now)
    }

    /// Changes the first figure of AT+CSQ.
    pub fn set_signal(&mut self, value: u8) {
        self.config.signal = value;
    }

    /// What it measures of its cell, to be changed.
    pub fn cell_mut(&mut self) -> &mut Cell {
        &mut self.config.cell
    }

    /// Sets whether name look-ups fail.
    pub fn dns_fails(&mut self, fails: bool) {
        self.config.dns_fails = fails;
    }

    /// The modem does nothing and sends nothing until then; what the host sends waits as far as there is room.
    pub fn stall(&mut self, until: Instant) {
        self.faults.stalled_until = Some(until);
    }

    /// Puts bytes on a port as they are, such as noise or a URC without a cause.
    pub fn inject(&mut self, port: usize, bytes: &[u8]) {
        self.ports[port].emit(bytes);
    }

    /// Sends a URC, given without its frame, by the URC port as soon as allowed.
    pub fn inject_urc(&mut self, text: &str, now: Instant) {
        self.schedule(now, Event::Urc(text.into()));
    }

    /// Sends bytes that another program causes, with their frame, by the URC port as soon as allowed.
    pub fn inject_foreign(&mut self, bytes: &[u8], now: Instant) {
        self.schedule(now, Event::Foreign(bytes.to_vec()));
    }

    /// An SMS arrives: it is shown, announced or only stored, as AT+CNMI sets.
    pub fn receive_sms(&mut self, text: &str, now: Instant) {
        let said = match self.session.message_indications[1] {
            0 => return,
            1 => "\r\n+CMTI: \"ME\",0\r\n".to_owned(),
            _ => format!("\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\"\r\n{text}\r\n"),
        };
        self.inject_foreign(said.as_bytes(), now);
    }

    /// The values of AT+CNMI.
    pub fn message_indications(&self) -> [u8; 5] {
        self.session.message_indications
    }

    /// The name of the port that URCs leave by, or `all`.
    pub fn urc_port(&self) -> &'static str {
        match self.session.urc_port {
            UrcPort::All => "all",
            UrcPort::One(port) => port.name(),
        }
    }

    /// Cuts this many bytes off the head of the next URC.
    pub fn cut_next_urc(&mut self, bytes: usize) {
        self.faults.urc_head_lost = bytes;
    }

    /// The next open fails with this result code; several calls are for several opens.
    pub fn fail_next_open(&mut self, code: u16) {
        self.faults.opens.push_back(OpenFault::Code(code));
    }

    /// The next open gets no answer after its OK.
    pub fn never_answer_next_open(&mut self) {
        self.faults.opens.push_back(OpenFault::Silence);
    }

    /// The next sends are answered with SEND FAIL.
    pub fn fail_next_sends(&mut self, count: u32) {
        self.faults.failing_sends = count;
    }

    /// The next send is answered with SEND FAIL and, this much later, with SEND OK: its bytes are taken. Several
    /// calls are for several sends.
    pub fn fail_next_send_for(&mut self, time: Duration) {
        self.faults.sends_late.push_back(time);
    }

    /// The final results of the next commands are lost; what comes before them is not.
    pub fn lose_next_results(&mut self, count: u32) {
        self.faults.lost_results = count;
    }

    /// A PDP context is lost, and the modem does not report it: opens fail, AT+QIACT? shows it, and its
    /// connections stay as they are.
    pub fn lose_pdp_silently(&mut self, context: u8, now: Instant) {
        let index = usize::from(context).wrapping_sub(1);
        if let Some(pdp) = self.session.pdp_contexts.get_mut(index) {
            pdp.address = None;
        }
        self.work_since = Some(now);
    }

    /// The next closes are answered with ERROR, and close nothing.
    pub fn refuse_next_closes(&mut self, count: u32) {
        self.faults.refused_closes = count;
    }

    /// Every close is answered with ERROR, and closes nothing, until the modem boots again.
    pub fn refuse_closes_until_boot(&mut self) {
        self.session.closes_refused = true;
    }

    /// The modem misses the next `+++`.
    pub fn miss_next_escapes(&mut self, count: u32) {
        self.faults.missed_escapes = count;
    }

    /// The first byte of each of the next uploads changes on its way.
    pub fn spoil_next_uploads(&mut self, count: u32) {
        self.faults.spoiled_uploads = count;
    }

    /// The next settings of SSL contexts are answered with OK and not stored.
    pub fn lose_next_settings(&mut self, count: u32) {
        self.faults.lost_settings = count;
    }

    /// The next frames of a multiplexer have a wrong FCS.
    pub fn spoil_next_frames(&mut self, count: u32) {
        self.faults.spoiled_frames = count;
    }

    /// The length field of a multiplexer's next frame has this value, at most 32767, in two octets; what follows it
    /// is as it should be.
    pub fn falsify_next_frame_length(&mut self, length: u16) {
        self.faults.frame_length = Some(length.min(32_767));
    }

    /// So many bytes at the beginning of the information of a multiplexer's next frame that has any are lost on the
    /// line; its length still counts them.
    pub fn lose_bytes_in_next_frame(&mut self, bytes: usize) {
        self.faults.frame_bytes_lost = bytes;
    }

    /// FC of the module is set on a channel of a multiplexed port, whatever room there is, until the host sends TEST.
    /// False if the channel is not open.
    pub fn hold_channel_until_test(&mut self, port: usize, dlci: u8, now: Instant) -> bool {
        self.work_since = Some(now);
        self.stick_channel(port, dlci)
    }

    /// The module closes a channel of a multiplexed port by itself: with DISC, or with DM. False if it is not open.
    pub fn end_channel(
        &mut self,
        port: usize,
        dlci: u8,
        by_disc: bool,
        now: Instant,
        network: &mut dyn Network,
    ) -> bool {
        self.work_since = Some(now);
        self.close_channel_unasked(port, dlci, by_disc, now, network)
    }

    /// Every file in flash with at least 4 bytes gets other content of the same size and checksum.
    pub fn forge_files(&mut self) {
        self.store.forge();
    }

    /// Every file in flash is deleted.
    pub fn delete_files(&mut self) {
        self.store.remove_all(DriveName::Ufs);
    }

    /// The answer to the next command is delayed by this.
    pub fn delay_next_answer(&mut self, delay: Duration) {
        self.faults.answer_delay = delay;
    }

    /// The delay of the next answer.
    pub fn answer_delay(&self) -> Duration {
        self.faults.answer_delay
    }

    /// Removes all faults that are set, except a stall.
    pub fn calm_down(&mut self) {
        let stalled_until = self.faults.stalled_until;
        self.faults = Faults { stalled_until, ..Faults::default() };
        for line in 0..self.config.ports.len() {
            self.release_stuck_channels(line);
        }
    }

    /// A TLS connection is cut, as if the network had reset it.
    pub fn close_socket(&mut self, id: u8, now: Instant) {
        self.cut_socket(Service::Tls, id, now);
    }

    /// The same with a connection of AT+QIOPEN.
    pub fn close_plain_socket(&mut self, id: u8, now: Instant) {
        self.cut_socket(Service::Plain, id, now);
    }

    fn cut_socket(&mut self, service: Service, id: u8, now: Instant) {
        if let Some(connection) = self.socket(service, id).map(|socket| socket.connection) {
            self.cut_connection(connection, now);
            self.work_since = Some(now);
        }
    }

    /// The numbers of the TLS sockets that are not free.
    pub fn sockets_in_use(&self) -> Vec<u8> {
        self.numbers(Service::Tls)
    }

    /// The numbers of the sockets of AT+QIOPEN that are not free.
    pub fn plain_sockets_in_use(&self) -> Vec<u8> {
        self.numbers(Service::Plain)
    }

    fn numbers(&self, service: Service) -> Vec<u8> {
        self.sockets(service).into_iter().map(|socket| socket.id).collect()
    }

    /// Whether a PDP context is active.
    pub fn pdp_active(&self, context: u8) -> bool {
        self.active_context(context).is_some()
    }

    /// The content of a file, by its path as in AT+QFLST.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.store.read(path)
    }

    /// Stores a file in the modem; false if the path is not a file's, or there is no room.
    pub fn put_file(&mut self, path: &str, content: &[u8]) -> bool {
        let Some(name) = FileName::parse(path) else { return false };
        let room = self.store.drive(name.drive).has_room_for(content.len());
        if room {
            self.store.put(name, content.to_vec());
        }
        room
    }
}
