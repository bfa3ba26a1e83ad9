//! Files by handle: AT+QFOPEN and its relatives (Quectel FILE application note).

use std::time::Duration;

use crate::at_port::{Upload, UploadTarget};
use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::modem::Modem;
use crate::parser::{Kind, Parameter};
use crate::result_code::cme;
use crate::session::OpenFile;
use crate::store::FileName;

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QFOPEN", Kind::Read) => modem.list_open_files(),
        ("QFOPEN", Kind::Write(list)) => modem.open_file(list),
        ("QFREAD", Kind::Write(list)) => modem.read_open_file(call.port, list),
        ("QFWRITE", Kind::Write(list)) => modem.begin_write(list, call),
        ("QFSEEK", Kind::Write(list)) => modem.seek(list),
        ("QFPOSITION", Kind::Write(list)) => {
            modem.open_file_of(list).map_or_else(Err, |file| line(format!("+QFPOSITION: {}", file.position)))
        }
        ("QFCLOSE", Kind::Write(list)) => modem.close_file(list),
        ("QFOPEN", Kind::Test) => line("+QFOPEN: <filename>,(0-2)"),
        ("QFREAD" | "QFWRITE" | "QFSEEK" | "QFPOSITION" | "QFCLOSE", Kind::Test) => ok(),
        _ => return None,
    };
    Some(answer.map_err(|failure| match failure {
        Failure::Error => Failure::Cme(cme::INVALID_INPUT),
        other => other,
    }))
}

impl Modem {
    /// `AT+QFOPEN="<name>"[,<mode>]`: 0 makes the file if there is none, 1 makes it anew, 2 only reads.
    fn open_file(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let name = self.stored_as(parameters.text(0)?).ok_or(Failure::Cme(cme::INVALID_FILE_NAME))?;
        let mode = parameters.optional_small(1, 0..=2)?.unwrap_or(0);
        let open = &self.session.open_files;
        if self.is_file_open(&name) {
            return Err(Failure::Cme(cme::FILE_OPEN));
        }
        if open.len() >= OPEN_FILES_LIMIT {
            return Err(Failure::Cme(cme::TOO_MANY_OPEN_FILES));
        }
        let exists = self.store.get(&name).is_some();
        if mode == 2 && !exists {
            return Err(Failure::Cme(cme::FILE_NOT_FOUND));
        }
        let is_free = |handle: &u32| !open.iter().any(|file| file.handle == *handle);
        let handle = (FIRST_HANDLE..).find(is_free).unwrap_or(FIRST_HANDLE);
        if mode == 1 || !exists {
            self.store.put(name.clone(), Vec::new());
        }
        self.session.open_files.push(OpenFile { handle, name, mode, position: 0 });
        line(format!("+QFOPEN: {handle}"))
    }

    fn list_open_files(&self) -> Answer {
        let files = self.session.open_files.iter();
        let lines =
            files.map(|file| format!("+QFOPEN: \"{}\",{},{}", file.name.path(), file.handle, file.mode));
        Ok(CommandOutcome::Done(lines.collect()))
    }

    pub(crate) fn is_file_open(&self, name: &FileName) -> bool {
        self.session.open_files.iter().any(|file| file.name == *name)
    }

    /// The open file whose handle is the first parameter.
    fn open_file_of(&mut self, list: &[Parameter]) -> Result<&mut OpenFile, Failure> {
        let handle = self.parameters(list).number(0, 0..=u32::MAX)?;
        let file = self.session.open_files.iter_mut().find(|file| file.handle == handle);
        file.ok_or(Failure::Cme(cme::INVALID_HANDLE))
    }

    /// `AT+QFREAD=<handle>[,<length>]`: `CONNECT <length>`, the bytes, OK; without a length all of the rest.
    fn read_open_file(&mut self, port: usize, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let wanted = parameters.optional_number(1, 1..=u32::MAX)?.unwrap_or(u32::MAX) as usize;
        let verbose = self.ports[port].settings.verbose;
        let file = self.open_file_of(list)?.clone();
        let content = self.store.get(&file.name).ok_or(Failure::Cme(cme::FILE_NOT_FOUND))?;
        let rest = content.get(file.position..).unwrap_or_default();
        let bytes = &rest[..wanted.min(rest.len())];
        if bytes.is_empty() {
            return Err(Failure::Cme(cme::READ_ZERO_BYTES));
        }
        let mut answer = match verbose {
            true => format!("\r\nCONNECT {}\r\n", bytes.len()).into_bytes(),
            false => b"1\r".to_vec(),
        };
        answer.extend(bytes);
        answer.extend(b"\r\n");
        let read = bytes.len();
        self.open_file_of(list)?.position += read;
        Ok(CommandOutcome::Raw(answer))
    }

    /// `AT+QFWRITE=<handle>[,<length>[,<timeout s>]]`: CONNECT, the bytes, `+QFWRITE: <written>,<size of the file>`, OK.
    /// Every byte restarts the timeout. Assumed: if it expires, the command ends as AT+QFUPL does.
    fn begin_write(&mut self, list: &[Parameter], call: &Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(3)?;
        let size = parameters.optional_number(1, 1..=LONGEST_WRITE_BYTES)?.unwrap_or(LONGEST_WRITE_BYTES);
        let seconds = parameters.optional_number(2, 1..=65_535)?.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let file = self.open_file_of(list)?.clone();
        if file.mode == 2 {
            return Err(Failure::Cme(cme::FILE_READ_ONLY));
        }
        let size = size as usize;
        if !self.store.drive(file.name.drive).has_room_for(size) {
            return Err(Failure::Cme(cme::DRIVE_FULL));
        }
        Ok(CommandOutcome::Upload(Upload {
            target: UploadTarget::Handle(file.handle),
            size,
            bytes: Vec::new(),
            timeout: Duration::from_secs(seconds.into()),
            due: call.now,
            acknowledged: false,
        }))
    }

    /// Writes at the position of an open file; the new size of the file.
    pub(crate) fn write_open_file(&mut self, handle: u32, bytes: &[u8]) -> usize {
        let Some(file) = self.session.open_files.iter_mut().find(|file| file.handle == handle) else {
            return 0;
        };
        let mut content = self.store.get(&file.name).unwrap_or_default().to_vec();
        let end = file.position + bytes.len();
        content.resize(content.len().max(end), 0);
        content[file.position..end].copy_from_slice(bytes);
        file.position = end;
        let size = content.len();
        self.store.put(file.name.clone(), content);
        size
    }

    /// `AT+QFSEEK=<handle>,<offset>[,<from>]`: from the beginning (0), the position (1) or the end (2). Assumed: a place
    /// after the end is refused.
    fn seek(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(3)?;
        let offset = parameters.number(1, 0..=u32::MAX)? as usize;
        let from = parameters.optional_small(2, 0..=2)?.unwrap_or(0);
        let file = self.open_file_of(list)?.clone();
        let size = self.store.get(&file.name).map_or(0, <[u8]>::len);
        let place = match from {
            0 => Some(offset),
            1 => file.position.checked_add(offset),
            _ => size.checked_sub(offset),
        };
        let place = place.filter(|place| *place <= size).ok_or(Failure::Error)?;
        self.open_file_of(list)?.position = place;
        ok()
    }

    fn close_file(&mut self, list: &[Parameter]) -> Answer {
        self.parameters(list).at_most(1)?;
        let handle = self.open_file_of(list)?.handle;
        self.session.open_files.retain(|file| file.handle != handle);
        ok()
    }
}

/// Assumed.
const OPEN_FILES_LIMIT: usize = 10;
const FIRST_HANDLE: u32 = 1;
const LONGEST_WRITE_BYTES: u32 = 10_240;
const DEFAULT_TIMEOUT_SECONDS: u32 = 5;

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::testing::{Bench, seconds};

    #[test]
    fn a_file_is_written_and_read_in_parts() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+QFOPEN=\"log\",0"), "\r\n+QFOPEN: 1\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFOPEN?"), "\r\n+QFOPEN: \"UFS:log\",1,0\r\n\r\nOK\r\n");
        for (text, answer) in [("hello ", "6,6"), ("world", "5,11")] {
            assert_eq!(bench.ask(&format!("AT+QFWRITE=1,{}", text.len())), "\r\nCONNECT\r\n");
            bench.type_bytes(text.as_bytes());
            assert_eq!(bench.output(), format!("\r\n+QFWRITE: {answer}\r\n\r\nOK\r\n"));
        }
        assert_eq!(bench.ask("AT+QFSEEK=1,4,0;+QFPOSITION=1"), "\r\n+QFPOSITION: 4\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFREAD=1,3"), "\r\nCONNECT 3\r\no w\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFREAD=1"), "\r\nCONNECT 4\r\norld\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFREAD=1"), "\r\n+CME ERROR: 402\r\n");
        assert_eq!(bench.ask("AT+QFSEEK=1,12"), "\r\n+CME ERROR: 400\r\n");
        assert_eq!(bench.ask("AT+QFDEL=\"log\""), "\r\n+CME ERROR: 426\r\n");
        assert_eq!(bench.ask("AT+QFCLOSE=1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFCLOSE=1"), "\r\n+CME ERROR: 416\r\n");
        assert_eq!(bench.modem.file("log"), Some(&b"hello world"[..]));
        bench.ask("AT+QFOPEN=\"log\",1");
        assert_eq!(bench.modem.file("log"), Some(&b""[..]));
    }

    #[test]
    fn what_cannot_be_opened_or_written_is_an_error_and_a_late_rest_too() {
        let mut bench = Bench::without_echo(Config::default());
        assert_eq!(bench.ask("AT+QFOPEN=\"none\",2"), "\r\n+CME ERROR: 405\r\n");
        bench.modem.put_file("a", b"a");
        assert_eq!(bench.ask("AT+QFOPEN=\"a\",2"), "\r\n+QFOPEN: 1\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QFOPEN=\"UFS:a\""), "\r\n+CME ERROR: 426\r\n");
        assert_eq!(bench.ask("AT+QFWRITE=1,1"), "\r\n+CME ERROR: 414\r\n");
        bench.ask("AT+QFOPEN=\"b\"");
        bench.ask("AT+QFWRITE=2,9,3");
        bench.type_bytes(b"four");
        bench.pass(seconds(3));
        assert_eq!(bench.output(), "\r\n+QFWRITE: 4,4\r\n\r\n+CME ERROR: 421\r\n");
        for number in 3..=10 {
            assert_eq!(
                bench.ask(&format!("AT+QFOPEN=\"{number}\"")),
                format!("\r\n+QFOPEN: {number}\r\n\r\nOK\r\n")
            );
        }
        assert_eq!(bench.ask("AT+QFOPEN=\"c\""), "\r\n+CME ERROR: 413\r\n");
        bench.modem.reboot(bench.now);
        bench.pass(seconds(9));
        bench.output();
        assert_eq!(bench.ask("AT+QFOPEN?"), "AT+QFOPEN?\r\r\nOK\r\n");
    }
}
