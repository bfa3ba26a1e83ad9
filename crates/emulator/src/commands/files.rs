//! Commands about the modem's files (Quectel FILE application note, and an EG800K's answers).

use std::time::Duration;

use crate::at_port::{Upload, UploadTarget};
use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::modem::Modem;
use crate::parser::{Kind, Parameter};
use crate::result_code::cme;
use crate::store::{DriveName, FileName, checksum};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QFUPL", Kind::Test) => {
            let free = modem.store.drive(DriveName::Ufs).free();
            line(format!("+QFUPL: <filename>,(1-{free}),(1-65535),(0,1)"))
        }
        ("QFUPL", Kind::Write(list)) => modem.upload(list, call),
        ("QFDWL", Kind::Write(list)) => modem.download(call.port, list),
        ("QFLST", Kind::Execute) => modem.list_files("*"),
        ("QFLST", Kind::Write(list)) => match modem.parameters(list).text(0) {
            Ok(pattern) => modem.list_files(pattern),
            Err(invalid) => Err(invalid.into()),
        },
        ("QFLDS", Kind::Execute) => modem.storage_used(DriveName::Ufs),
        ("QFLDS", Kind::Write(list)) => modem.storage_room(list),
        ("QFDEL", Kind::Write(list)) => modem.delete(list),
        ("QFDWL" | "QFDEL" | "QFLST" | "QFLDS", Kind::Test) => ok(),
        _ => return None,
    };
    Some(answer.map_err(|failure| match failure {
        Failure::Error if !modem.config.quirks.files_in_security => Failure::Cme(cme::INVALID_INPUT),
        other => other,
    }))
}

impl Modem {
    fn file_name(&self, list: &[Parameter]) -> Result<FileName, Failure> {
        let path = self.parameters(list).text(0)?;
        self.stored_as(path).ok_or(Failure::Cme(cme::INVALID_FILE_NAME))
    }

    /// The name under which a path is stored; `None` if it is not a valid name of a file.
    pub(crate) fn stored_as(&self, path: &str) -> Option<FileName> {
        match self.config.quirks.files_in_security {
            true => FileName::parse(path.strip_prefix(DIRECTORY)?),
            false => FileName::parse(path),
        }
    }

    /// `AT+QFUPL="<name>"[,<size>[,<timeout s>[,<ackmode>]]]`. Every byte restarts the timeout.
    fn upload(&mut self, list: &[Parameter], call: &Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(4)?;
        let name = self.file_name(list)?;
        let size = parameters.optional_number(1, 1..=u32::MAX)?.unwrap_or(DEFAULT_FILE_BYTES);
        let seconds = parameters.optional_number(2, 1..=65_535)?.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let acknowledged = parameters.optional_small(3, 0..=1)?.unwrap_or(0) == 1;
        if self.store.get(&name).is_some() {
            return Err(Failure::Cme(cme::FILE_EXISTS));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !self.store.drive(name.drive).has_room_for(size) {
            return Err(Failure::Cme(cme::DRIVE_FULL));
        }
        let timeout = Duration::from_secs(seconds.into());
        Ok(CommandOutcome::Upload(Upload {
            target: UploadTarget::File(name),
            size,
            bytes: Vec::new(),
            timeout,
            due: call.now,
            acknowledged,
        }))
    }

    fn download(&mut self, port: usize, list: &[Parameter]) -> Answer {
        self.parameters(list).at_most(1)?;
        let name = self.file_name(list)?;
        let content = self.store.get(&name).ok_or(Failure::Cme(cme::FILE_NOT_FOUND))?;
        if self.config.quirks.file_download_refused {
            return Err(Failure::Error);
        }
        let mut answer = Vec::with_capacity(content.len() + 64);
        if self.ports[port].settings.verbose {
            answer.extend(b"\r\nCONNECT\r\n");
        } else {
            answer.extend(b"1\r");
        }
        answer.extend(content);
        answer.extend(format!("\r\n+QFDWL: {},{:x}\r\n", content.len(), checksum(content)).as_bytes());
        Ok(CommandOutcome::Raw(answer))
    }

    /// `*` lists flash, `RAM:*` and `UFS:*` a storage, anything else one file.
    fn list_files(&self, pattern: &str) -> Answer {
        if self.config.quirks.file_list_empty {
            return ok();
        }
        let drive = match pattern {
            "*" => Some(DriveName::Ufs),
            _ => pattern.strip_suffix(":*").and_then(DriveName::from_name),
        };
        let lines = match drive {
            Some(drive) => {
                let files = self.store.drive(drive).files();
                let place = match self.config.quirks.files_in_security {
                    true => DIRECTORY.to_owned(),
                    false => format!("{}:", drive.name()),
                };
                files.map(|(name, size)| format!("+QFLST: \"{place}{name}\",{size}")).collect()
            }
            None => {
                let name = FileName::parse(pattern).ok_or(Failure::Cme(cme::INVALID_FILE_NAME))?;
                let content = self.store.get(&name).ok_or(Failure::Cme(cme::FILE_NOT_FOUND))?;
                vec![format!("+QFLST: \"{}\",{}", name.path(), content.len())]
            }
        };
        Ok(CommandOutcome::Done(lines))
    }

    fn storage_used(&self, drive: DriveName) -> Answer {
        let drive = self.store.drive(drive);
        let bytes: usize = drive.files().map(|(_, size)| size).sum();
        line(format!("+QFLDS: {bytes},{}", drive.files().count()))
    }

    fn storage_room(&self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(1)?;
        let name = parameters.text(0)?;
        let drive = DriveName::from_name(name).ok_or(Failure::Cme(cme::INVALID_INPUT))?;
        let drive = self.store.drive(drive);
        line(format!("+QFLDS: {},{}", drive.free(), drive.size()))
    }

    fn delete(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(1)?;
        let pattern = parameters.text(0)?;
        let named = self.stored_as(pattern);
        if named.is_some_and(|name| self.is_file_open(&name)) {
            return Err(Failure::Cme(cme::FILE_OPEN));
        }
        if pattern == "*" {
            self.store.remove_all(DriveName::Ufs);
        } else if let Some(drive) = pattern.strip_suffix(":*").and_then(DriveName::from_name) {
            self.store.remove_all(drive);
        } else if !self.store.remove(&self.file_name(list)?) {
            return Err(match self.config.quirks.files_in_security {
                true => Failure::Error,
                false => Failure::Cme(cme::FILE_NOT_FOUND),
            });
        }
        ok()
    }
}

/// Where a BG770A has its files.
const DIRECTORY: &str = "security/";

const DEFAULT_FILE_BYTES: u32 = 10_240;
const DEFAULT_TIMEOUT_SECONDS: u32 = 5;

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::testing::{Bench, seconds};

    fn bench() -> Bench {
        let mut bench = Bench::new(Config::default());
        bench.ask("ATE0");
        bench
    }

    #[test]
    fn an_upload_is_answered_with_its_checksum_and_can_be_read_back() {
        let mut bench = bench();
        assert_eq!(bench.ask("AT+QFUPL=\"ca.pem\",3,60"), "\r\nCONNECT\r\n");
        bench.type_bytes(b"\x12");
        bench.pass(seconds(59));
        bench.type_bytes(b"\x34\x56AT\r");
        assert_eq!(bench.output(), "\r\n+QFUPL: 3,4434\r\n\r\nOK\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFLST=\"*\""), "\r\n+QFLST: \"UFS:ca.pem\",3\r\n\r\nOK\r\n");
        assert_eq!(
            bench.ask("AT+QFDWL=\"UFS:ca.pem\""),
            "\r\nCONNECT\r\n\x124V\r\n+QFDWL: 3,4434\r\n\r\nOK\r\n"
        );
    }

    #[test]
    fn an_existing_name_is_refused_by_number_or_by_an_eg800ks_words() {
        let mut bench = bench();
        assert!(bench.modem.put_file("isrgx1.pem", &[0; 1939]));
        assert_eq!(bench.ask("AT+QFUPL=\"isrgx1.pem\",1939,60"), "\r\n+CME ERROR: 407\r\n");
        bench.ask("AT+CMEE=2");
        assert_eq!(bench.ask("AT+QFUPL=\"isrgx1.pem\",1939,60"), "\r\n+CME ERROR: file already exist\r\n");
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_is_stored_all_the_same() {
        let mut bench = bench();
        bench.ask("AT+QFUPL=\"isrgx1.pem\",3000,60");
        bench.type_bytes(&[7; 1939]);
        bench.pass(seconds(60));
        assert_eq!(bench.output(), "\r\n+QFUPL: 1939,7\r\n\r\n+CME ERROR: 421\r\n");
        assert_eq!(bench.modem.file("isrgx1.pem"), Some(&[7; 1939][..]));
    }

    #[test]
    fn storage_is_as_an_eg800ks_and_fills_up() {
        let mut bench = bench();
        assert_eq!(bench.ask("AT+QFLDS=\"UFS\""), "\r\n+QFLDS: 180224,286720\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFUPL=\"big\",180225"), "\r\n+CME ERROR: 403\r\n");
        assert!(bench.modem.put_file("big", &[0; 180_224]));
        assert_eq!(bench.ask("AT+QFLDS=\"UFS\""), "\r\n+QFLDS: 0,286720\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFUPL=\"small\",1"), "\r\n+CME ERROR: 403\r\n");
        assert_eq!(bench.ask("AT+QFUPL=\"RAM:small\",1"), "\r\nCONNECT\r\n");
    }

    #[test]
    fn files_in_ram_go_with_a_reboot_and_files_in_flash_stay() {
        let mut bench = bench();
        bench.modem.put_file("RAM:a", b"a");
        bench.modem.put_file("UFS:b", b"b");
        bench.modem.reboot(bench.now);
        assert_eq!((bench.modem.file("RAM:a"), bench.modem.file("b")), (None, Some(&b"b"[..])));
    }

    #[test]
    fn what_is_deleted_is_gone_and_cannot_be_deleted_again() {
        let mut bench = bench();
        bench.modem.put_file("a", b"a");
        assert_eq!(bench.ask("AT+QFDEL=\"a\""), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFDEL=\"a\""), "\r\n+CME ERROR: 405\r\n");
        assert_eq!(bench.ask("AT+QFDWL=\"a\""), "\r\n+CME ERROR: 405\r\n");
        assert_eq!(bench.ask("AT+QFDEL=a"), "\r\n+CME ERROR: 400\r\n");
    }
}
