//! Finds a device, and finds it again: a modem that re-enumerates gets another name.
//!
//! A path is opened as it is. If it was a USB device and is gone, the same interface of the same device is taken
//! under its new name; the device is identified by its serial number, or else by where it is plugged in. `auto`,
//! `usb:`, `imei:` and a pattern may stand for several ttys, which are tried in turn. After the last, the device is
//! missing.

use std::path::PathBuf;

use super::discover::{Candidate, Host, Usb, candidates, usb_ttys};
use super::{OpenError, Port, PortSettings};
use crate::config::Device;

/// Opens one `--device`, repeatedly.
#[derive(Debug)]
pub struct Finder {
    device: Device,
    host: Host,
    /// The USB device that was opened last.
    known: Option<Usb>,
    /// The index of the candidate that is next.
    turn: usize,
}

impl Finder {
    /// Nothing is opened yet.
    pub fn new(device: Device, host: Host) -> Self {
        Finder { device, host, known: None, turn: 0 }
    }

    /// The device as the user named it.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Opens it where it is now.
    ///
    /// # Errors
    /// As [`Port::open`].
    pub fn open(&mut self, settings: &PortSettings) -> Result<Port, OpenError> {
        if matches!(self.device, Device::Rfc2217(_) | Device::Tcp(_) | Device::Emulator(_)) {
            return Port::open(&self.device, settings);
        }
        let mut failed = None;
        loop {
            let path = match self.path() {
                Ok(path) => path,
                Err(error) => return Err(failed.unwrap_or(error)),
            };
            match Port::open_path(&path, settings) {
                Ok(port) => {
                    let opened = candidates(&Device::Path(path), &self.host);
                    self.known =
                        opened.ok().and_then(|mut all| all.pop()).and_then(|candidate| candidate.usb);
                    return Ok(port);
                }
                // Another program may use another modem, or another port of this one.
                Err(error) if matches!(self.device, Device::Imei(_)) => {
                    self.turn += 1;
                    failed = Some(failed.unwrap_or(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves on to the next candidate: the last one is another modem, or not an AT port.
    pub fn next_candidate(&mut self) {
        self.turn += 1;
        self.known = None;
    }

    fn path(&mut self) -> Result<PathBuf, OpenError> {
        if let Device::Path(path) = &self.device {
            if !path.exists()
                && let Some(moved) = self.known.as_ref().and_then(|known| self.same_device(known))
            {
                log::info!("{} is {} now", path.display(), moved.display());
                return Ok(moved);
            }
            return Ok(path.clone());
        }
        let found = candidates(&self.device, &self.host)?;
        let count = found.len();
        match found.into_iter().nth(self.turn) {
            Some(candidate) => Ok(candidate.path),
            None => {
                self.turn = 0;
                Err(match self.device {
                    Device::Auto => OpenError::NoModem { hint: format!(" ({count} asked)") },
                    _ => OpenError::NoneAnswers { name: self.device.to_string(), count },
                })
            }
        }
    }

    /// Where the same interface of the same device is now.
    fn same_device(&self, known: &Usb) -> Option<PathBuf> {
        let is_same = |candidate: &Candidate| {
            candidate.usb.as_ref().is_some_and(|usb| {
                let same_kind = (usb.vendor, usb.product, usb.interface)
                    == (known.vendor, known.product, known.interface);
                let same_one = match (&usb.serial, &known.serial) {
                    (Some(serial), Some(known)) => serial == known,
                    _ => usb.location == known.location,
                };
                same_kind && same_one
            })
        };
        usb_ttys(&self.host).into_iter().find(is_same).map(|candidate| candidate.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::discover::tests::TestHost;

    /// The finder of a port that has been open, and its path.
    fn opened_once(host: &TestHost, name: &str) -> (Finder, PathBuf) {
        let path = host.0.dev.join(name);
        let mut finder = Finder::new(Device::Path(path.clone()), host.0.clone());
        finder.known = usb_ttys(&host.0).into_iter().find(|tty| tty.path == path).and_then(|tty| tty.usb);
        (finder, path)
    }

    #[test]
    fn a_modem_that_comes_back_under_another_name_is_found() {
        let host = TestHost::new("renamed");
        host.plug_modem("1-1", 0);
        let (mut finder, path) = opened_once(&host, "ttyUSB2");
        assert_eq!(finder.path().unwrap(), path);
        host.unplug("1-1");
        // While no modem is plugged in, the error is about the path that the user typed.
        assert_eq!(finder.path().unwrap(), path);
        host.plug_modem("1-1", 5);
        assert_eq!(finder.path().unwrap(), host.0.dev.join("ttyUSB7"));
    }

    #[test]
    fn another_modem_in_another_place_is_not_taken_for_it() {
        let host = TestHost::new("stranger");
        host.plug_modem("1-1", 0);
        let (mut finder, path) = opened_once(&host, "ttyUSB2");
        host.unplug("1-1");
        host.plug_modem("1-2", 5);
        assert_eq!(finder.path().unwrap(), path);
    }

    #[test]
    fn candidates_of_an_imei_take_turns() {
        let host = TestHost::new("imei");
        host.plug_modem("1-1", 0);
        host.plug_modem("1-2", 4);
        let mut finder = Finder::new(Device::Imei("861234567890123".into()), host.0.clone());
        let first = finder.path().unwrap();
        finder.next_candidate();
        let second = finder.path().unwrap();
        assert_eq!([&first, &second], [&host.0.dev.join("ttyUSB2"), &host.0.dev.join("ttyUSB6")]);
        (0..7).for_each(|_| finder.next_candidate());
        let message = finder.path().unwrap_err().to_string();
        assert_eq!(message, "imei:***0123: 8 ports asked, and the modem answers on none");
        // The next attempt tries all of them again.
        assert_eq!(finder.path().unwrap(), first);
    }

    #[test]
    fn ports_of_one_modem_take_turns_until_one_answers() {
        let host = TestHost::new("turns");
        host.plug_modem("1-1", 0);
        let mut finder = Finder::new(Device::Auto, host.0.clone());
        for name in ["ttyUSB2", "ttyUSB3", "ttyUSB1", "ttyUSB0"] {
            assert_eq!(finder.path().unwrap(), host.0.dev.join(name));
            finder.next_candidate();
        }
        assert_eq!(finder.path().unwrap_err().to_string(), "no Quectel modem found (4 asked)");
        assert_eq!(finder.path().unwrap(), host.0.dev.join("ttyUSB2"));
    }
}
