//! What real modules do that is not in the manuals, as switches.
//!
//! Every switch is off in a strict modem, which follows the manuals. The field set turns on what is
//! common in real firmware, so that drivers written against hardware run unchanged. A command line can set each
//! switch by its name.

use std::num::NonZeroU32;

macro_rules! quirks {
    ($($(#[doc = $text:literal])+ $name:ident: $in_the_field:literal,)+) => {
        /// How this modem differs from the strict reading of the manuals.
        #[derive(Clone, Debug, PartialEq, Eq, Default)]
        pub struct Quirks {
            $($(#[doc = $text])+ pub $name: bool,)+
            /// After this many opens since the last boot every further one fails with 552; `None` never does.
            pub opens_until_degraded: Option<NonZeroU32>,
            /// With more opens of a named host than this under way at once, the next fails with 564, DNS
            /// busy.
            pub dns_busy_beyond: Option<usize>,
            /// With more opens than this under way at once, the next fails with 568, operation busy.
            pub opens_busy_beyond: Option<usize>,
            /// What becomes of a datagram that AT+QIRD reads only a part of.
            pub short_read: ShortRead,
        }

        impl Quirks {
            /// The names and meanings of all switches, in the order of the declaration.
            pub const SWITCHES: &'static [(&'static str, &'static str)] =
                &[$((stringify!($name), concat!($($text),+)),)+];

            /// The lenient set: what is common on real hardware.
            pub fn field() -> Quirks {
                Quirks { $($name: $in_the_field,)+ ..Quirks::default() }
            }

            /// Turns one switch on or off by its name, in which `-` may replace `_`; false when there is
            /// no such switch.
            pub fn set(&mut self, name: &str, on: bool) -> bool {
                match name.replace('-', "_").as_str() {
                    $(stringify!($name) => self.$name = on,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

quirks! {
    /// The send prompt is `>` without the space after it.
    prompt_without_space: false,
    /// The send prompt ends with CR LF.
    prompt_with_line_end: false,
    /// Payload bytes that arrive before the prompt count as payload instead of being swallowed.
    early_payload_kept: false,
    /// The LF of a command line that ends with CR LF is dropped, up to 50 ms after the prompt, if the host has ended other
    /// lines so.
    line_feed_dropped: true,
    /// Payload is echoed while it is being collected, if commands are.
    payload_echoed: false,
    /// After the bytes of +QSSLRECV comes one CR LF and then OK, not an empty line.
    receive_tail_short: false,
    /// After the bytes of a pushed message comes CR LF.
    push_ends_with_line_end: false,
    /// +QSSLOPEN comes before the OK of its command.
    open_result_before_ok: false,
    /// +QSSLOPEN comes without the empty line before it.
    open_result_without_empty_line: false,
    /// +QSSLOPEN leaves by the URC port and not by the port of its command.
    open_result_on_urc_port: false,
    /// A transparent open is answered with OK and then CONNECT.
    ok_before_connect: false,
    /// The recv URC of buffer mode comes with every arrival, not once until the buffer was read empty.
    receive_urc_per_arrival: false,
    /// CME errors are given as texts even under CMEE=1.
    errors_as_text: false,
    /// Socket commands fail with a CME error and its number, not with a plain ERROR.
    socket_errors_as_cme: false,
    /// AT+QIGETERROR reports 0 for failures that came by URC.
    urc_failures_forgotten: true,
    /// An open on a socket in use is refused at once instead of by URC with 563.
    used_socket_refused_at_once: false,
    /// A failed open leaves the socket occupied until AT+QSSLCLOSE.
    failed_open_keeps_socket: true,
    /// Bytes left over at a switch back to push mode wait for the next arrival.
    leftovers_held: false,
    /// AT+QISWTMD to buffer or push mode is refused.
    mode_switch_refused: false,
    /// Closing the last socket of an SSL context puts the context back to its defaults.
    context_forgotten_on_last_close: false,
    /// A socket that is closing has state 3.
    closing_is_state_three: false,
    /// AT+QSSLSTATE of a free socket lists it with state 0.
    free_sockets_listed: false,
    /// The local port in AT+QSSLSTATE is always 0.
    local_port_zero: true,
    /// Closing a free socket is answered with OK.
    closing_free_socket_is_ok: true,
    /// Bytes still unread are lost when the connection was cut.
    unread_lost_when_cut: false,
    /// The year of AT+CCLK has four digits.
    four_digit_year: false,
    /// AT+QFLST lists nothing.
    file_list_empty: false,
    /// ATO always answers NO CARRIER.
    return_unreliable: false,
    /// A +++ that the modem misses reaches the server as payload.
    missed_escape_is_payload: false,
    /// AT+QIACT of an active context is answered with OK.
    second_activation_is_ok: false,
    /// Numbers may be in quotes.
    quoted_numbers: true,
    /// AT+QSSLSTATE=1,id is understood.
    typed_state_query: true,
    /// AT+QSSLRECV=id,0 answers with the counts of all, read and unread bytes.
    unread_query: true,
    /// AT+QSSLRECV of more than 1500 bytes is served with what there is room for.
    long_reads: true,
    /// AT+QSSLCFG=? of the EG800Q spells out the cipher codes.
    cipher_codes_listed: true,
    /// A pending URC leaves when a command has arrived, before its echo.
    urc_before_echo: false,
    /// A pending URC leaves between a command and its answer.
    urc_before_answer: false,
    /// A pending URC leaves while payload is being collected, before SEND OK.
    urc_before_send_result: false,
    /// A pending URC leaves between two lines of an answer.
    urc_inside_answer: false,
    /// While echo is on, every byte is echoed, not only a command line from its AT on.
    everything_echoed: false,
    /// ATE0 is answered with OK, and commands are echoed all the same.
    echo_stays: false,
    /// AT+QFDWL is refused: what was stored cannot be read back.
    file_download_refused: false,
    /// AT+QSSLCFG reports numbers in quotes.
    setting_values_quoted: false,
    /// AT+QSSLCFG=? lists neither "cacertex" nor anything that ignores errors of certificates.
    key_list_short: false,
    /// Of several AT+QSSLCFG in one line only the first is carried out.
    joined_settings_lost: false,
    /// AT+QSSLCFG="ignorecertitem" is answered with OK and changes nothing.
    ignored_items_kept: false,
    /// AT+QSSLCFG="ignorecertitem" is refused, once something is ignored.
    ignored_items_stay: false,
    /// AT+QSSLCLOSE takes no time, only the number of a socket.
    close_without_time: false,
    /// AT+QSSLCLOSE of a socket that is being opened is refused.
    close_of_opening_refused: false,
    /// The modem sleeps when a port has been quiet for 5 s, and the command line that wakes it is lost.
    sleeps: false,
    /// AT+QURCCFG is refused.
    urc_port_refused: false,
    /// AT+QURCCFG takes no "all".
    urc_port_all_refused: false,
    /// AT&C, AT&D, AT+IFC and AT+QICFG are refused, as on a BG770A.
    line_settings_refused: false,
    /// URCs of a socket leave by the port that it was opened on, whatever AT+QURCCFG sets.
    urcs_by_opener: false,
    /// URCs leave by every port, whatever AT+QURCCFG sets.
    urcs_by_every_port: false,
    /// SMS are shown when they come, and AT+CNMI does not change that.
    messages_shown: false,
    /// After a reboot nothing is sent: no RDY, no URC about SIM card and network.
    boots_silently: false,
    /// AT+QIACT? is refused: the modem does not report which data sessions it has.
    session_query_refused: false,
    /// Files lie in a directory security/, are listed without their storage, and deleting a missing one is a plain ERROR,
    /// as on a BG770A.
    files_in_security: false,
    /// AT+QPINC is refused; AT+CPINR of 3GPP 27.007 shows the attempts that are left for a PIN.
    pin_count_refused: false,
    /// CMUX: every frame with payload or messages has P/F set.
    mux_final_always: false,
    /// CMUX: UA and DM have F clear, whatever P was.
    mux_final_never: false,
    /// CMUX: the answer to a message has the P/F bit of the message.
    mux_final_in_kind: false,
    /// CMUX: only DISC and CLD with P/F clear are taken, as on a BG96.
    mux_wants_poll_clear: false,
    /// CMUX: frames with payload or messages have C/R set, as if the host had sent them.
    mux_command_bit_set: false,
    /// CMUX: SABM is answered with UA twice.
    mux_answers_sabm_twice: false,
    /// CMUX: after the UA of a channel that was closed the modem sends SABM itself.
    mux_sends_sabm: false,
    /// CMUX: MSC of the modem has 8 octets.
    mux_long_msc: false,
    /// CMUX: MSC of the modem has a break octet.
    mux_msc_with_break: false,
    /// CMUX: MSC that the host does not answer within 1 s is sent again, and payload of its channel waits.
    mux_awaits_msc_answer: false,
    /// CMUX: a URC asserts IC and clears RTC and RTR until the host's MSC or TEST, unless AT+QCFG="urc/ri/..." is off,
    /// as on an EG800Q.
    mux_ring_clears_lines: false,
    /// CMUX: a frame longer than N1 freezes the multiplexer until a boot, as on an EG25-G.
    mux_freezes_on_long_frame: false,
    /// CMUX: frames with payload are up to 64 bytes longer than N1, as on a BG95.
    mux_exceeds_frame_length: false,
    /// CMUX: AT+CMUX is not answered with OK.
    mux_begins_silently: false,
    /// CMUX: DV is never set.
    mux_carrier_never: false,
    /// CMUX: a socket is closed only by the channel that opened it.
    mux_close_by_opener_only: false,
    /// CMUX: URCs leave by every open channel, whatever AT+QCFG="cmux/urcport" sets.
    mux_urcs_everywhere: false,
    /// CMUX: the key of AT+QCFG is "emux/urcport", and "cmux/urcport" is refused, as on a BG770A.
    mux_urc_key_differs: false,
    /// CMUX: NO CARRIER of a stream comes on channel 1 as well.
    mux_end_told_on_first: false,
    /// CMUX: NO CARRIER of a stream comes on channel 1 and not on its own.
    mux_end_told_on_first_only: false,
    /// CMUX: CLD is not answered.
    mux_close_down_unanswered: false,
    /// CMUX: only commands with C/R set are taken, as on Telit's modules.
    mux_wants_command_bit: false,
    /// CMUX: what comes within 100 ms after the OK to AT+CMUX is lost, as on a BG96.
    mux_needs_pause: false,
    /// CMUX: a host that opens a line with channels of an earlier one finds CTS off until the mode ends.
    mux_holds_cts_off: false,
    /// CMUX: AT+QCFG="urc/ri/..." is refused.
    mux_ring_not_set: false,
    /// For 500 ms after the OK to AT+IPR nothing is read, as on an EG800Q.
    deaf_after_speed: false,
    /// AT+QSSLCFG also has "checkhost", without which no host name is checked, and "ignorecertchain", as on a BG96.
    host_check_set: false,
    /// Datagrams that wait are pushed as one message: where one ends cannot be known.
    pushed_datagrams_joined: false,
    /// A read yields as many waiting datagrams as it asks for bytes: where one ends cannot be known.
    read_datagrams_joined: false,
    /// An empty datagram is announced, or pushed with a length of 0.
    empty_datagrams_told: false,
    /// What is sent leaves in datagrams of at most 512 bytes.
    sent_datagrams_split: false,
    /// The close_notify of a DTLS server changes nothing: no closed comes, and the socket stays as it was.
    dtls_close_untold: false,
    /// AT+QISTATE lists no connection.
    plain_sockets_unlisted: false,
    /// Bytes still unread can be read after `closed` even if the connection was cut, as an EC20's.
    unread_kept_when_cut: true,
    /// AT+CREG and AT+CGREG report what AT+CEREG does, on a module with LTE only too.
    registered_everywhere: true,
    /// What is typed while a command is carried out waits and is read after it; what comes before a prompt is dropped.
    input_queued: false,
    /// The network activates PDP context 1 by itself, as soon as the modem is registered, as on an EC801E.
    context_active: false,
}

/// What becomes of the rest of a datagram when a read asks for less. No manual says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ShortRead {
    /// The next read gets it.
    #[default]
    KeepsRest,
    /// It is lost, as with recvfrom.
    DropsRest,
}

impl Quirks {
    /// The names of those with a number, and what the number does.
    pub const NUMBERS: [(&'static str, &'static str); 3] = [
        ("opens_until_degraded", "After N opens every further one fails with 552 until a reboot."),
        ("dns_busy_beyond", "With more than N opens by name under way the next fails with 564."),
        ("opens_busy_beyond", "With more than N opens under way the next fails with 568."),
    ];

    /// Sets one of those with a number; false when there is no such.
    pub fn set_number(&mut self, name: &str, number: u32) -> bool {
        match name {
            "opens_until_degraded" => self.opens_until_degraded = NonZeroU32::new(number),
            "dns_busy_beyond" => self.dns_busy_beyond = Some(number as usize),
            "opens_busy_beyond" => self.opens_busy_beyond = Some(number as usize),
            _ => return false,
        }
        true
    }

    /// Whether there is one of that name with a number.
    pub fn has_number(name: &str) -> bool {
        Quirks::NUMBERS.iter().any(|(known, _)| *known == name)
    }

    /// As in the manuals: every switch off.
    pub fn strict() -> Quirks {
        Quirks::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_reached_by_its_name_in_both_spellings() {
        let mut quirks = Quirks::strict();
        assert!(quirks.set("prompt-without-space", true));
        assert!(quirks.set("leftovers_held", true));
        assert!(!quirks.set("prompt", true));
        assert_eq!(quirks, Quirks { prompt_without_space: true, leftovers_held: true, ..Quirks::strict() });
    }

    #[test]
    fn every_listed_switch_changes_something() {
        for (name, _) in Quirks::SWITCHES {
            let (mut on, mut off) = (Quirks::strict(), Quirks::strict());
            assert!(on.set(name, true) && off.set(name, false), "{name}");
            assert_ne!(on, off, "{name}");
        }
    }
}
