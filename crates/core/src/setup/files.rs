//! Certificates and keys in the modem: listed, compared byte by byte, deleted and stored.

use std::time::Instant;

use super::ssl_context::{File, Upload};
use super::{Given, Pause, SetUp, SetupEffect, SetupStep};
use crate::at::answers::{Answer, ListedFile, Storage};
use crate::at::{AtText, Command, CommandOutcome, Line, UPLOAD_TIMEOUT_SECONDS};
use crate::counted;
use crate::error::Kind;
use crate::failure::Failure;

/// What is known of the files in the module while they are looked after.
#[derive(Debug, Default)]
pub struct Files {
    /// Listed with the right name and size: their bytes are to be compared.
    pub(super) unread: Vec<File>,
    /// To be deleted.
    pub(super) wrong: Vec<AtText>,
    /// To be stored.
    pub(super) missing: Vec<File>,
    /// Why a file that was stored is not the right one; it is being deleted.
    pub(super) spoiled: Option<Failure>,
}

/// A command that changes a file (AT+QFUPL, AT+QFDEL) and was given up: the module may carry it out late, and over what
/// was stored by another port meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateChange {
    /// The port that it was sent on. When that answers, it has been carried out.
    port: usize,
    wait: Wait,
}

/// How long a late change is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Nobody waits yet.
    Unasked,
    /// Until its port answers, or this time: another port answers.
    Until(Instant),
    /// No longer. If its port answers after all, the files have to be looked at again.
    Over,
}

/// A module that answers on another port has begun with what was sent before, and ends an upload that stalls. It may be
/// some seconds late.
const LATE_CHANGE_WAIT: std::time::Duration = std::time::Duration::from_secs(UPLOAD_TIMEOUT_SECONDS + 5);

/// Where opens fail the files are looked for each time, and their bytes compared again only after this time: a download
/// holds up everybody.
const COMPARE_PAUSE: std::time::Duration = std::time::Duration::from_secs(600);

/// Whether a file of the module may be another one after this command.
fn changes_files(command: &Command) -> bool {
    let Command::Line(line) = command else { return matches!(command, Command::Upload { .. }) };
    let text = line.text.to_ascii_uppercase();
    let is_question = |part: &str| QUESTIONS.iter().any(|question| part.contains(question));
    text.split(';').any(|part| part.contains("+QF") && !is_question(part))
}

/// The commands about files that change none.
const QUESTIONS: [&str; 4] = ["+QFLST", "+QFLDS", "+QFDWL", "+QFREAD"];

impl SetUp {
    /// Begins to look whether the certificates and keys in the module are still ours, and the clock right: files can be
    /// deleted or replaced by other programs. Connections go on meanwhile, and none is opened.
    pub fn look_after_trust(&mut self, given: &Given<'_>) {
        if self.step != SetupStep::Up {
            return;
        }
        self.effects.push_back(SetupEffect::TellTime);
        self.go_or_skip(given, SetupStep::LookAtClock);
    }

    /// A command was given up on this port. If it changes a file, it is unknown what will be stored.
    pub fn file_change_given_up(&mut self, port: usize, command: &Command) {
        if changes_files(command) {
            self.late_changes.retain(|change| change.port != port);
            self.late_changes.push(LateChange { port, wait: Wait::Unasked });
            // The bytes of the resync may have become the content of the file, with the right length.
            self.compared_at = None;
        }
    }

    /// A command from outside is over, answered or not: what it may have changed is read again before the next connection.
    pub fn changed_from_outside(&mut self, command: &Command) {
        if changes_files(command) {
            self.files_become_unconfirmed();
        }
        let is_of_tls = |line: &Line| line.text.to_ascii_uppercase().contains("+QSSLCFG");
        if matches!(command, Command::Line(line) if is_of_tls(line)) {
            self.contexts.iter_mut().for_each(|context| context.becomes_unconfirmed());
        }
    }

    /// What was compared or stored may have been changed since: all files are compared again.
    fn files_become_unconfirmed(&mut self) {
        self.compared_at = None;
        self.contexts.iter_mut().for_each(|context| context.files_become_unconfirmed());
    }

    /// These channels answer: nothing that was given up on them is still to be carried out.
    pub fn settle_late_changes(&mut self, answering: u32) {
        if self.late_changes.is_empty() {
            return;
        }
        let is_settled = |change: &LateChange| answering & (1 << change.port) != 0;
        if self.late_changes.iter().any(|change| is_settled(change) && change.wait == Wait::Over) {
            // What was stored meanwhile may have been written over.
            self.files_become_unconfirmed();
        }
        self.late_changes.retain(|change| !is_settled(change));
        if self.late_changes.is_empty() && self.step == SetupStep::ListFiles {
            self.pause = Pause::None;
        }
    }

    /// Until when no list of files can be trusted, because one may still be changed.
    fn files_may_change_until(&mut self, now: Instant) -> Option<Instant> {
        let mut last = None;
        for change in &mut self.late_changes {
            change.wait = match change.wait {
                Wait::Unasked => Wait::Until(now + LATE_CHANGE_WAIT),
                Wait::Until(until) if until <= now => Wait::Over,
                wait => wait,
            };
            if let Wait::Until(until) = change.wait {
                last = last.max(Some(until));
            }
        }
        last
    }

    /// Lines of AT+QFLST: what is there already is not stored again, if its bytes are the right ones.
    pub(super) fn files_listed(&mut self, lines: &[String], now: Instant) {
        if let Some(until) = self.files_may_change_until(now) {
            let reason = "a file transfer that was given up on another port may not be over";
            return self.wait(Failure::new(Kind::SetUpFailed, reason), until);
        }
        let files = &mut self.files;
        *files = Files::default();
        let compares = self.contexts.iter().any(|context| !context.files_stand())
            || self.compared_at.is_none_or(|at| now.saturating_duration_since(at) > COMPARE_PAUSE);
        for file in self.contexts.iter().flat_map(|context| &context.files) {
            let listed = ListedFile::all(lines).find(|listed| listed.name == file.name.as_str());
            let is_known = files.missing.contains(file) || files.unread.contains(file);
            match listed {
                _ if is_known => {}
                Some(listed) if listed.bytes != file.content.len() as u64 => {
                    files.wrong.push(file.name.clone());
                    files.missing.push(file.clone());
                }
                Some(_) if compares => files.unread.push(file.clone()),
                Some(_) => {}
                None => files.missing.push(file.clone()),
            }
        }
        if compares {
            self.compared_at = Some(now);
        }
        self.next_file();
    }

    /// What is due next about the files: compare, delete, store.
    fn next_file(&mut self) {
        let files = &self.files;
        // Nothing is opened on a context until all its files are the right ones again.
        for context in &mut self.contexts {
            context.files_missing(&files.missing);
        }
        if !files.unread.is_empty() {
            self.go(SetupStep::Compare);
        } else if !files.wrong.is_empty() {
            self.go(SetupStep::DeleteFile);
        } else if !files.missing.is_empty() {
            self.go(SetupStep::Space);
        } else if self.compared_at.is_none() {
            // Since they were listed, one may have been changed.
            self.go(SetupStep::ListFiles);
        } else {
            for context in &mut self.contexts {
                context.files_compared();
            }
            self.go(SetupStep::Contexts);
        }
    }

    /// The answer to AT+QFDWL. Name, size and checksum prove nothing: another program can have stored something else of
    /// the same. What cannot be read back, as keys in some modules, is stored anew.
    pub(super) fn compared(&mut self, outcome: Option<&CommandOutcome>, content: &[u8]) {
        let files = &mut self.files;
        if files.unread.is_empty() {
            return self.next_file();
        }
        let file = files.unread.remove(0);
        let is_read = outcome == Some(&CommandOutcome::Ok);
        if !(is_read && content == file.content) {
            match is_read {
                true => log::warn!(
                    "the modem has another file under the name {}: storing {} anew",
                    file.name,
                    file.source
                ),
                false => log::info!("the modem does not return {}: storing it again", file.name),
            }
            files.wrong.push(file.name.clone());
            files.missing.push(file);
        }
        self.next_file();
    }

    /// The answer to AT+QFLDS.
    pub(super) fn space_answered(&mut self, given: &Given<'_>, lines: &[String], now: Instant) {
        let free = Storage::first(lines).map(|storage| storage.free_bytes);
        let needed: u64 = self.files.missing.iter().map(|file| file.content.len() as u64).sum();
        match free {
            Some(free) if needed > free => {
                let message = format!(
                    "the modem has {} of storage left and the certificates of {} take {needed}: give the \
                     one root that is needed with --ca FILE or --ca system:NAME, or --insecure",
                    counted(free, "byte"),
                    self.files.missing.first().map_or("", |file| file.source.as_str())
                );
                self.failed(given, Failure::new(Kind::SetUpFailed, message), true, now);
            }
            _ => self.go(SetupStep::Upload),
        }
    }

    /// The answer to AT+QFUPL.
    pub(super) fn uploaded(&mut self, outcome: &CommandOutcome, lines: &[String]) {
        let files = &mut self.files;
        let Some(file) = files.missing.first() else { return };
        match file.upload_answered(Some(outcome), lines) {
            Upload::Whole => {
                files.missing.remove(0);
                match files.missing.is_empty() {
                    true => self.next_file(),
                    false => self.go(SetupStep::Upload),
                }
            }
            Upload::Exists => {
                files.wrong.push(file.name.clone());
                self.go(SetupStep::DeleteFile);
            }
            failed => {
                let message = format!(
                    "the modem did not store {} ({}): it answered {}",
                    file.source,
                    file.sum(),
                    match (failed, outcome) {
                        (Upload::Different(sum), _) => sum.to_string(),
                        (_, CommandOutcome::Refused(refusal)) => refusal.to_string(),
                        _ => "nothing".into(),
                    }
                );
                files.wrong.push(file.name.clone());
                // Nothing of it is left there.
                files.spoiled = Some(Failure::new(Kind::SetUpFailed, message));
                self.go(SetupStep::DeleteFile);
            }
        }
    }

    /// The answer to AT+QFDEL.
    pub(super) fn file_deleted(&mut self, given: &Given<'_>, refused: Option<String>, now: Instant) {
        let files = &mut self.files;
        if files.wrong.is_empty() {
            return self.next_file();
        }
        let name = files.wrong.remove(0);
        match (files.spoiled.take(), refused) {
            (Some(failure), _) => self.failed(given, failure, false, now),
            (None, Some(refusal)) => {
                let message =
                    format!("the modem has another file called {name} and does not remove it ({refusal})");
                self.failed(given, Failure::new(Kind::SetUpFailed, message), false, now);
            }
            (None, None) => self.next_file(),
        }
    }
}
