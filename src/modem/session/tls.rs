//! What TLS needs before sockets can be opened: files in the modem, and the settings of SSL contexts.

use std::time::Instant;

use super::Step;
use crate::at::{Command, fields};
use crate::config;
use crate::exit_status::ExitStatus;
use crate::modem::Modem;
use crate::modem::channel::{Origin, Outcome};
use crate::modem::failure::{Failure, Refusal};
use crate::modem::ssl_context::{self, Authorities, File, Standing};

impl Modem {
    /// Lines of AT+QFLST: what is there already is not uploaded again.
    pub(super) fn files_listed(&mut self, lines: &[String]) {
        let stored = ssl_context::stored_files(lines);
        let mut missing: Vec<File> = Vec::new();
        for file in self.contexts.iter().flat_map(|context| context.files.iter().cloned()) {
            let there = stored
                .iter()
                .any(|(name, size)| *name == file.name.as_str() && *size == file.content.len() as u64);
            if !there && !missing.contains(&file) {
                missing.push(file);
            }
        }
        let half_there =
            missing.first().is_some_and(|file| stored.iter().any(|(name, _)| *name == file.name.as_str()));
        self.session.missing = missing;
        match self.session.missing.is_empty() {
            true => self.go_or_skip(Step::Chain),
            false if half_there => self.session.go(Step::DeleteFile),
            false => self.session.go(Step::Space),
        }
    }

    /// `+QFLDS: <free>,<total>`
    pub(super) fn space_answered(&mut self, lines: &[String], now: Instant) {
        let free = lines.iter().find_map(|line| fields(line.strip_prefix("+QFLDS:")?).number::<u64>());
        let needed: u64 = self.session.missing.iter().map(|file| file.content.len() as u64).sum();
        match free {
            Some(free) if needed > free => {
                let message = format!(
                    "the modem has {free} bytes of storage left and the certificates of {} take {needed}: give the \
                     one root that is needed with --ca FILE or --ca system:NAME, or --insecure",
                    self.session.missing.first().map_or("", |file| file.source.as_str())
                );
                self.session_failed(Failure::new(ExitStatus::SetUpFailed, message), true, now);
            }
            _ => self.session.go(Step::Upload),
        }
    }

    /// `+QFUPL: <size>,<checksum>`
    pub(super) fn uploaded(&mut self, outcome: &Outcome, lines: &[String]) {
        let Some(file) = self.session.missing.first() else { return };
        let answer = ssl_context::upload_sum(lines);
        let stored = answer == Some((file.content.len(), file.checksum())) && *outcome == Outcome::Ok;
        let exists = matches!(outcome, Outcome::Refused(Refusal::Cme(error))
            if error.number() == Some(407) || error.0.contains("exist"));
        if stored {
            self.session.missing.remove(0);
            match self.session.missing.is_empty() {
                true => self.go_or_skip(Step::Chain),
                false => self.session.go(Step::Upload),
            }
        } else if exists {
            self.session.go(Step::DeleteFile);
        } else {
            let message = format!(
                "the modem did not store {} ({} bytes, checksum {:04x}): it answered {}",
                file.source,
                file.content.len(),
                file.checksum(),
                match (answer, outcome) {
                    (Some((size, sum)), _) => format!("{size} bytes, checksum {sum:04x}"),
                    (None, Outcome::Refused(refusal)) => refusal.to_string(),
                    (None, _) => "nothing".into(),
                }
            );
            // What it has stored under this name would pass for the right one by its size, here or in a later run.
            self.session.spoiled = Some(Failure::new(ExitStatus::SetUpFailed, message));
            self.session.go(Step::DeleteFile);
        }
    }

    /// The answer to AT+QFDEL.
    pub(super) fn file_deleted(&mut self, refused: Option<String>, now: Instant) {
        let name = self.session.missing.first().map_or("", |file| file.name.as_str());
        match (self.session.spoiled.take(), refused) {
            (Some(failure), _) => self.session_failed(failure, false, now),
            (None, Some(refusal)) => {
                let message =
                    format!("the modem has another file called {name} and does not remove it ({refusal})");
                self.session_failed(Failure::new(ExitStatus::SetUpFailed, message), false, now);
            }
            (None, None) => self.session.go(Step::Space),
        }
    }

    /// "cacertex" holds for the whole module: what it should hold is written with the first context, and
    /// what else stands there is taken away where all contexts are ours.
    pub(super) fn chain_answered(&mut self, lines: &[String]) {
        let chained = self.authorities() == Authorities::Chain;
        let all_ours = self.settings.ssl_contexts == config::Modem::default().ssl_contexts;
        let Some(context) = self.contexts.first_mut() else { return };
        let trusted = match chained {
            true => ssl_context::authority_files(&context.tls, Authorities::Chain),
            false => Vec::new(),
        };
        context.settings.retain(|setting| setting.ca_id.is_none());
        for setting in ssl_context::chain_settings(&trusted, lines) {
            let ours = setting.value != "\"\"";
            if ours || all_ours {
                context.settings.push(setting);
            } else {
                log::warn!(
                    "another program has given the modem an authority (\"cacertex\" {}) that holds for all SSL \
                     contexts: servers that it vouches for are accepted as well",
                    setting.ca_id.unwrap_or_default()
                );
            }
        }
        context.standing = Standing::Unwritten(0);
    }

    /// The setting of an SSL context that must be written or asked for next.
    pub(in crate::modem) fn context_command(&mut self) -> Option<(Command, Origin)> {
        if !matches!(self.session.step, Step::Contexts | Step::Up) {
            return None;
        }
        for (index, context) in self.contexts.iter_mut().enumerate() {
            let (secret, line) = match context.standing {
                Standing::Known => continue,
                Standing::Unwritten(at) if at < context.settings.len() => {
                    let (count, line) = context.write_line(at, self.session.joins_settings);
                    (context.settings[at..at + count].iter().any(|setting| setting.secret), line)
                }
                Standing::Unwritten(_) => {
                    context.standing = Standing::Known;
                    continue;
                }
                Standing::Doubtful(at) => {
                    match context.settings.iter().enumerate().skip(at).find(|(_, setting)| setting.is_vital())
                    {
                        Some((at, setting)) => {
                            context.standing = Standing::Doubtful(at);
                            (false, setting.query_line(context.id))
                        }
                        None => {
                            context.standing = Standing::Known;
                            continue;
                        }
                    }
                }
            };
            let command = if secret { Command::secret_line(line) } else { Command::line(line) };
            return Some((command, Origin::Context(index)));
        }
        None
    }

    /// The answer to the command of [`Modem::context_command`].
    pub(in crate::modem) fn context_answered(
        &mut self,
        index: usize,
        command: &Command,
        outcome: Outcome,
        lines: &[String],
        now: Instant,
    ) {
        let name = self.profile.name.clone();
        let Some(context) = self.contexts.get_mut(index) else { return };
        let asked = match context.standing {
            Standing::Known => return,
            Standing::Unwritten(at) if at < context.settings.len() => {
                Some(context.write_line(at, self.session.joins_settings).1)
            }
            Standing::Unwritten(_) => None,
            Standing::Doubtful(at) => context.settings.get(at).map(|it| it.query_line(context.id)),
        };
        if !matches!(command, Command::Line(line) if Some(&line.text) == asked.as_ref()) {
            // It was asked before the session was lost, and the settings begin anew.
            return;
        }
        match context.standing {
            Standing::Known => {}
            Standing::Unwritten(at) => {
                let setting = &context.settings[at];
                let (count, _) = context.write_line(at, self.session.joins_settings);
                if let Outcome::Refused(refusal) = &outcome {
                    if count > 1 {
                        // Which of them it was, and whether it is joined lines that it does not take, shows
                        // when they are written one by one.
                        self.session.joins_settings = false;
                        return;
                    }
                    if setting.is_needed() {
                        let message = format!("{name} refused the TLS setting {:?}: {refusal}", setting.key);
                        self.session_failed(Failure::new(ExitStatus::SetUpFailed, message), false, now);
                        return;
                    }
                    log::debug!("{name} refused {:?}, which is only a default: {refusal}", setting.key);
                }
                context.standing = Standing::Unwritten(at + count);
            }
            Standing::Doubtful(at) => {
                let stands = outcome == Outcome::Ok && context.settings[at].stands_in(lines);
                context.standing = if stands { Standing::Doubtful(at + 1) } else { Standing::Unwritten(0) };
                if !stands {
                    log::debug!("SSL context {} has lost its settings; writing them again", context.id);
                }
            }
        }
    }
}
