//! Habits that a question shows. Their names are those of the emulator's quirks.

use super::{Survey, is_ok, is_refused};
use qssl_core::at::answers::{Answer as _, SocketState, SocketStatus, UrcPorts};
use qssl_core::at::{CommandSet, SocketId};
use qssl_core::modem::{CommandOutcome, Failure, PIN_ATTEMPTS, Refusal, UserAnswer};

impl Survey {
    /// Measures habits that need no connection.
    pub(super) fn habits(&mut self) -> Result<(), Failure> {
        self.listed_habits();
        self.refused_habit("line_settings_refused", "AT+IFC?")?;
        self.urc_port()?;
        self.refused_habit("session_query_refused", "AT+QIACT?")?;
        self.refused_habit("mux_ring_not_set", "AT+QCFG=\"urc/ri/other\"")?;
        self.either_habit("mux_urc_key_differs", "AT+QCFG=\"cmux/urcport\"", "AT+QCFG=\"emux/urcport\"")?;
        self.either_habit("pin_count_refused", PIN_ATTEMPTS[0], PIN_ATTEMPTS[1])?;
        if let Some(context) = self.spare {
            let question = format!("AT+QSSLCFG=\"seclevel\",\"{context}\"");
            self.accepted_habit("quoted_numbers", &question)?;
        }
        if let Some(socket) = self.free_socket()? {
            self.socket_habits(socket)?;
        }
        Ok(())
    }

    /// Adds a habit.
    pub(super) fn habit(&mut self, name: &str, is_so: bool, question: &str) {
        self.module.add("habits", name, is_so.to_string(), question);
    }

    /// Compares those that were found with the manual.
    pub(super) fn compare_habits(&mut self) {
        for (name, manual, tunnel, measured) in DIFFERENCES {
            if self.module.is_true("habits", name) {
                // A tunnel knows by the model where files go.
                let copes = *name != "files_in_security" || Some(self.profile.directory()) == self.directory;
                self.comparison.add(name, *manual, *tunnel, *measured, copes);
            }
        }
    }

    /// Those that the answers to test commands show.
    fn listed_habits(&mut self) {
        let close = self.answer_to("QSSLCLOSE").and_then(|lines| lines.first()).cloned();
        if let Some(line) = close.filter(|line| line.starts_with("+QSSLCLOSE:")) {
            let takes_none = !line.contains([',', '<', '[']);
            self.habit("close_without_time", takes_none, "AT+QSSLCLOSE=?");
        }
        if let Some(lines) = self.answer_to("QURCCFG")
            && let Some(UrcPorts(names)) = UrcPorts::first(lines)
        {
            let has_all = names.contains(&"all");
            self.habit("urc_port_all_refused", !has_all, "AT+QURCCFG=?");
        }
        if self.profile.lists_keys {
            let has_set = self.profile.has_key("checkhost") && self.profile.has_key("ignorecertchain");
            self.habit("host_check_set", has_set, "AT+QSSLCFG=?");
            let ciphers = self.profile.keys.iter().find(|key| key.name == "ciphersuite");
            // The EC20's manual lists them.
            if let Some(key) = ciphers.filter(|_| self.module.follows == "eg800q") {
                let is_listed = key.values.to_ascii_uppercase().contains("0X");
                self.habit("cipher_codes_listed", is_listed, "AT+QSSLCFG=?");
            }
        }
    }

    /// By which of its ports the module sends URCs now.
    fn urc_port(&mut self) -> Result<(), Failure> {
        let question = "AT+QURCCFG=\"urcport\"";
        let answer = self.refused_habit("urc_port_refused", question)?;
        let name = answer.lines.iter().find_map(|line| line.strip_prefix("+QURCCFG:")?.split('"').nth(3));
        if let Some(name) = name.map(super::module_file::masked) {
            self.comparison.row("URCs leave by", "", "moves them if it must", name, true);
        }
        Ok(())
    }

    /// A habit that is shown by the refusal of this question. Returns the answer.
    fn refused_habit(&mut self, name: &str, question: &str) -> Result<UserAnswer, Failure> {
        let answer = self.say(question)?;
        if is_ok(&answer) || is_refused(&answer) {
            self.habit(name, !is_ok(&answer), question);
        }
        Ok(answer)
    }

    /// A habit that is shown by the acceptance of this command.
    pub(super) fn accepted_habit(&mut self, name: &str, command: &str) -> Result<(), Failure> {
        let answer = self.say(command)?;
        if is_ok(&answer) || is_refused(&answer) {
            self.habit(name, is_ok(&answer), command);
        }
        Ok(())
    }

    /// A habit of a module that refuses the usual question and answers the other.
    fn either_habit(&mut self, name: &str, usual: &str, other: &str) -> Result<(), Failure> {
        if is_ok(&self.say(usual)?) {
            self.habit(name, false, usual);
        } else if is_ok(&self.say(other)?) {
            self.habit(name, true, other);
        }
        Ok(())
    }

    /// A socket that is free, the last first. None beside a daemon: it may open that socket at any time.
    pub(super) fn free_socket(&mut self) -> Result<Option<SocketId>, Failure> {
        if self.conversation.is_shared() {
            return Ok(None);
        }
        let states = self.say("AT+QSSLSTATE")?;
        if !is_ok(&states) {
            return Ok(None);
        }
        let used: Vec<SocketStatus<'_>> = SocketStatus::all(&states.lines).collect();
        let is_free = |id: &SocketId| !used.iter().any(|it| it.id == *id && it.state != SocketState::Free);
        let mut ids = (0..=u32::from(u8::MAX)).rev().filter(|number| self.profile.sockets.contains(*number));
        Ok(ids.find_map(|number| SocketId::new(number).filter(is_free)))
    }

    /// Those that commands about a free socket show.
    fn socket_habits(&mut self, socket: SocketId) -> Result<(), Failure> {
        let question = format!("AT+QSSLSTATE={socket}");
        let state = self.say(&question)?;
        if is_ok(&state) {
            let is_listed = SocketStatus::all(&state.lines).any(|it| it.set == CommandSet::Ssl);
            self.habit("free_sockets_listed", is_listed, &question);
        }
        self.accepted_habit("typed_state_query", &format!("AT+QSSLSTATE=1,{socket}"))?;
        let question = format!("AT+QSSLRECV={socket},1");
        if let Some(CommandOutcome::Refused(refusal)) = self.say(&question)?.outcome {
            self.habit("socket_errors_as_cme", refusal != Refusal::Plain, &question);
        }
        let time = if self.module.is_true("habits", "close_without_time") { "" } else { ",0" };
        self.accepted_habit("closing_free_socket_is_ok", &format!("AT+QSSLCLOSE={socket}{time}"))?;
        // A successful command clears the error of the last one, so the text is that of no error.
        if let Some(context) = self.spare
            && self.setting("seclevel", context)?.is_some()
        {
            let answer = self.say("AT+QIGETERROR")?;
            let text =
                answer.lines.iter().find_map(|line| line.strip_prefix("+QIGETERROR:")?.split_once(','));
            if let Some((code, words)) = text
                && code.trim() == "0"
                && !words.trim().is_empty()
            {
                self.module.add("codes", "0", super::text(words.trim()), "AT+QIGETERROR");
            }
        }
        Ok(())
    }
}

/// Habits that differ from the manual: what the manual says, what a tunnel does, what was measured.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("close_without_time", "AT+QSSLCLOSE takes a time", "asks AT+QSSLCLOSE=?", "takes none"),
    ("line_settings_refused", "has AT+IFC", "goes on without", "refused"),
    ("urc_port_refused", "has AT+QURCCFG", "finds the port of URCs itself", "refused"),
    ("urc_port_all_refused", "takes \"all\"", "sets one port", "not listed"),
    ("session_query_refused", "has AT+QIACT?", "asks AT+CGPADDR", "refused"),
    ("mux_urc_key_differs", "\"cmux/urcport\"", "tries both", "\"emux/urcport\""),
    ("mux_ring_not_set", "has \"urc/ri/other\"", "goes on without", "refused"),
    ("pin_count_refused", "has AT+QPINC", "asks AT+CPINR", "refused"),
    ("host_check_set", "always checks the name", "sets \"checkhost\"", "\"checkhost\""),
    ("setting_values_quoted", "plain numbers", "takes both", "numbers in quotes"),
    ("errors_as_text", "numbers of errors", "takes both", "texts"),
    ("free_sockets_listed", "lists no free socket", "takes state 0 for free", "state 0"),
    ("socket_errors_as_cme", "ERROR", "takes both", "+CME ERROR"),
    ("local_port_zero", "the local port", "compares it unless it is 0", "0"),
    ("mode_switch_refused", "has AT+QISWTMD", "keeps the mode of the open", "refused"),
    ("prompt_without_space", "a prompt with a space", "takes both", "without"),
    ("prompt_with_line_end", "a prompt without a line end", "takes both", "with CR LF"),
    ("receive_tail_short", "an empty line after read bytes", "counts the bytes", "none"),
    ("push_ends_with_line_end", "nothing after pushed bytes", "counts the bytes", "CR LF"),
    ("receive_urc_per_arrival", "recv once until all is read", "takes both", "with every arrival"),
    ("leftovers_held", "unread bytes are pushed at a switch", "reads them first", "with the next arrival"),
    ("open_result_before_ok", "OK and then +QSSLOPEN", "takes both", "+QSSLOPEN first"),
    ("open_result_without_empty_line", "an empty line before +QSSLOPEN", "takes both", "none"),
    ("closing_is_state_three", "a socket that is closing has state 4", "takes both", "3"),
    ("ok_before_connect", "CONNECT", "takes both", "OK and CONNECT"),
    ("return_unreliable", "ATO goes back to data mode", "goes on in buffer mode", "refused"),
    ("echo_stays", "ATE0 ends the echo", "ignores the echo", "it stays"),
    ("everything_echoed", "echoes command lines", "turns it off", "every byte"),
    ("mux_begins_silently", "AT+CMUX is answered with OK", "tries channels", "no answer"),
    ("mux_close_down_unanswered", "CLD is answered", "asks AT", "no answer"),
    ("used_socket_refused_at_once", "563 by URC", "takes both", "ERROR"),
    ("failed_open_keeps_socket", "frees the socket", "closes it", "keeps it"),
    ("context_forgotten_on_last_close", "keeps TLS settings", "reads them back", "reset by the last close"),
    ("urc_failures_forgotten", "tells why an open failed", "takes the URC's code", "another code"),
    ("plain_sockets_unlisted", "lists plain sockets", "tries one number after another", "none is listed"),
    ("file_download_refused", "returns files", "stores certificates anew", "refused"),
    ("file_list_empty", "lists files", "stores, and compares what exists", "none is listed"),
    ("files_in_security", "no directories", "looks at the model", "only in security/"),
];
