//! Commands about the modem's files (Quectel FILE application note, and an EG800K's answers).

use std::time::Duration;

use crate::at_port::Upload;
use crate::commands::{Answer, Call, Failure, Outcome, line, ok};
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
        Failure::Error => Failure::Cme(cme::INVALID_INPUT),
        other => other,
    }))
}

impl Modem {
    fn file_name(&self, list: &[Parameter]) -> Result<FileName, Failure> {
        let path = self.parameters(list).text(0)?;
        FileName::parse(path).ok_or(Failure::Cme(cme::INVALID_FILE_NAME))
    }

    /// `AT+QFUPL="<name>"[,<size>[,<timeout s>[,<ackmode>]]]`. The timeout runs anew with every byte.
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
        Ok(Outcome::Upload(Upload { name, size, bytes: Vec::new(), timeout, due: call.now, acknowledged }))
    }

    fn download(&mut self, port: usize, list: &[Parameter]) -> Answer {
        self.parameters(list).at_most(1)?;
        let name = self.file_name(list)?;
        let content = self.store.get(&name).ok_or(Failure::Cme(cme::FILE_NOT_FOUND))?;
        let mut answer = Vec::with_capacity(content.len() + 64);
        if self.ports[port].settings.verbose {
            answer.extend(b"\r\nCONNECT\r\n");
        } else {
            answer.extend(b"1\r");
        }
        answer.extend(content);
        answer.extend(format!("\r\n+QFDWL: {},{:x}\r\n", content.len(), checksum(content)).as_bytes());
        Ok(Outcome::Raw(answer))
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
                files.map(|(name, size)| format!("+QFLST: \"{}:{name}\",{size}", drive.name())).collect()
            }
            None => {
                let name = FileName::parse(pattern).ok_or(Failure::Cme(cme::INVALID_FILE_NAME))?;
                let content = self.store.get(&name).ok_or(Failure::Cme(cme::FILE_NOT_FOUND))?;
                vec![format!("+QFLST: \"{}\",{}", name.path(), content.len())]
            }
        };
        Ok(Outcome::Done(lines))
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
        if pattern == "*" {
            self.store.remove_all(DriveName::Ufs);
        } else if let Some(drive) = pattern.strip_suffix(":*").and_then(DriveName::from_name) {
            self.store.remove_all(drive);
        } else if !self.store.remove(&self.file_name(list)?) {
            return Err(Failure::Cme(cme::FILE_NOT_FOUND));
        }
        ok()
    }
}

const DEFAULT_FILE_BYTES: u32 = 10_240;
const DEFAULT_TIMEOUT_SECONDS: u32 = 5;
