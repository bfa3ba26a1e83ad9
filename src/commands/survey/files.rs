//! Files: a small one is stored, stored again, listed, fetched and removed.

use std::time::Instant;

use super::{Survey, is_ok, is_refused};
use qssl_core::at::answers::{Answer as _, FileSum, ListedFile};
use qssl_core::at::{AtText, Command, USUAL_PATIENCE};
use qssl_core::modem::{CommandOutcome, DIRECTORIES, Failure, Refusal, UserAnswer};

impl Survey {
    /// Measures what the module does with files.
    pub(super) fn files(&mut self) -> Result<(), Failure> {
        for directory in DIRECTORIES {
            let Ok(name) = AtText::new(format!("{directory}{NAME}")) else { continue };
            let remove = Command::line(format!("AT+QFDEL=\"{name}\""));
            // It may be there from a survey that was cut off. Otherwise this shows how a missing file is refused.
            let mut missing = self.insist(remove.clone())?;
            if is_ok(&missing) {
                missing = self.insist(remove.clone())?;
            }
            let upload = Command::Upload { name: name.clone(), content: CONTENT.to_vec() };
            self.undo.push(remove.clone().into());
            let stored = self.insist(upload.clone())?;
            if !is_ok(&stored) {
                // A part of it may have been stored, so it is removed in any case, and that may be refused.
                self.undo.pop();
                self.insist(remove)?;
                continue;
            }
            self.directory = Some(directory);
            let sum = FileSum::first(&stored.lines);
            if sum.is_some_and(|sum| sum != FileSum::of_content(CONTENT)) {
                self.comparison.add(
                    "checksum",
                    "XOR of pairs of bytes",
                    "compares it",
                    "another, so no file can be verified",
                    false,
                );
            }
            self.existing_name(upload.clone())?;
            self.listing(&name, directory, &missing)?;
            self.missing_file(&missing);
            let download = Command::Download { name, size: CONTENT.len() };
            let fetched = self.insist(download.clone())?;
            if is_ok(&fetched) || is_refused(&fetched) {
                self.habit("file_download_refused", !is_ok(&fetched), "AT+QFDWL of a stored file");
            }
            if is_ok(&fetched) && fetched.file != CONTENT {
                self.comparison.add("AT+QFDWL", "the file as it was", "compares it", "other bytes", false);
            }
            self.file_latencies([Command::line(LISTING), download, remove, upload])?;
            self.put_back();
            return Ok(());
        }
        self.comparison.add(
            "AT+QFUPL",
            "stores a file",
            "stores certificates",
            "no file can be stored",
            false,
        );
        Ok(())
    }

    /// What follows an upload under a name that exists.
    fn existing_name(&mut self, upload: Command) -> Result<(), Failure> {
        let again = self.insist(upload)?;
        if is_ok(&again) {
            let tunnel = "removes the old one first";
            self.comparison.add("existing file", "refuses its name", tunnel, "is replaced", true);
        }
        Ok(())
    }

    /// How the stored file is listed.
    fn listing(&mut self, name: &AtText, directory: &str, missing: &UserAnswer) -> Result<(), Failure> {
        let listed = self.say(LISTING)?;
        let is_listed = ListedFile::all(&listed.lines).any(|file| file.name == name.as_str());
        if is_ok(&listed) {
            self.habit("file_list_empty", !is_listed, LISTING);
        }
        let is_plain = missing.outcome == Some(CommandOutcome::Refused(Refusal::Plain));
        self.habit(
            "files_in_security",
            !directory.is_empty() && is_plain,
            "AT+QFUPL with and without a directory",
        );
        Ok(())
    }

    /// How long the answers to these take. The last one stores what the one before it removes.
    fn file_latencies(&mut self, commands: [Command; 4]) -> Result<(), Failure> {
        let mut times = [const { Vec::new() }; 4];
        let mut is_stored = true;
        for _ in 0..TIMED_FILES {
            for (command, times) in commands.iter().zip(&mut times) {
                let begin = Instant::now();
                is_stored = is_ok(&self.insist(command.clone())?);
                if is_stored {
                    times.push(begin.elapsed());
                }
            }
            if !is_stored {
                // A part of it may be there all the same.
                self.undo.pop();
                self.insist(commands[2].clone())?;
                break;
            }
        }
        for (command, times) in commands.iter().zip(times) {
            let line = command.to_string();
            let (name, _) = line.split_once('=').unwrap_or((&line, ""));
            self.latency_row(&format!("{name} takes"), command.patience(USUAL_PATIENCE), times);
        }
        Ok(())
    }

    /// How the removal of a missing file is refused: AT+CMEE=1 holds, so a number is expected.
    fn missing_file(&mut self, missing: &UserAnswer) {
        if let Some(CommandOutcome::Refused(Refusal::Cme(error))) = &missing.outcome {
            let is_number = error.0.trim().bytes().all(|byte| byte.is_ascii_digit());
            self.habit("errors_as_text", !is_number, "AT+QFDEL of a missing file");
        }
    }
}

pub const LISTING: &str = "AT+QFLST=\"*\"";

/// How often a file is stored and removed to measure latencies: it wears the module's memory.
const TIMED_FILES: usize = 10;

/// The name of the file that is stored for a while.
const NAME: &str = "qt-survey.txt";
const CONTENT: &[u8] = b"stored by qssl-tunnel survey, which removes it again\n";
