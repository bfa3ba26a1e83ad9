//! Devices as users type them: a tty path or a pattern, `auto`, `usb:2c7c:0125,if=2`, `imei:…`,
//! `rfc2217://host:port`, `tcp://host:port`, `emulator:OPTIONS`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Device, GrammarError, Target};

impl Device {
    /// Whether it stands for several ttys, which are probed in turn.
    pub fn has_candidates(&self) -> bool {
        matches!(self, Device::Auto | Device::Glob(_) | Device::Imei(_) | Device::Usb { interface: None, .. })
    }

    /// Whether it always names the same port, so that giving it twice is a mistake.
    pub fn is_one_port(&self) -> bool {
        !matches!(self, Device::Emulator(_))
    }
}

impl FromStr for Device {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        if text.contains('\0') {
            return Err(GrammarError::new("a device has no NUL in its name"));
        }
        if text == "auto" {
            return Ok(Device::Auto);
        }
        if text == "emulator" || text.starts_with("emulator:") {
            return match cfg!(feature = "emulator") {
                true => {
                    Ok(Device::Emulator(text["emulator".len()..].trim_start_matches(':').trim().to_owned()))
                }
                false => {
                    Err(GrammarError::new("this build has no emulator: build it with `--features emulator`"))
                }
            };
        }
        if let Some(rest) = text.strip_prefix("usb:") {
            return usb(rest);
        }
        if let Some(imei) = text.strip_prefix("imei:") {
            let right = imei.len() == IMEI_DIGITS && imei.bytes().all(|byte| byte.is_ascii_digit());
            return right
                .then(|| Device::Imei(imei.to_owned()))
                .ok_or_else(|| GrammarError::new(format!("an IMEI has {IMEI_DIGITS} digits")));
        }
        if let Some(rest) = text.strip_prefix("rfc2217://") {
            return host_port(rest).map(Device::Rfc2217);
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return host_port(rest).map(Device::Tcp);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(GrammarError::new(format!("{scheme}:// is not known: rfc2217:// or tcp://")));
        }
        match (text.contains('/'), text.contains(['*', '?', '['])) {
            (true, true) => Ok(Device::Glob(text.to_owned())),
            (true, false) => Ok(Device::Path(PathBuf::from(text))),
            (false, _) if text.starts_with("tty") => {
                Err(GrammarError::new(format!("not a path: did you mean /dev/{text}?")))
            }
            (false, _) => Err(GrammarError::new(
                "not a device: a path such as /dev/ttyUSB2, auto, usb:VENDOR:PRODUCT, imei:NUMBER, \
                 rfc2217://HOST:PORT, tcp://HOST:PORT or emulator",
            )),
        }
    }
}

fn usb(text: &str) -> Result<Device, GrammarError> {
    let shape =
        || GrammarError::new("a USB device is usb:2c7c:0125 or, with an interface, usb:2c7c:0125,if=2");
    let (ids, interface) = match text.split_once(',') {
        Some((ids, rest)) => (ids, Some(rest.strip_prefix("if=").ok_or_else(shape)?)),
        None => (text, None),
    };
    let (vendor, product) = ids.split_once(':').ok_or_else(shape)?;
    let id = |text: &str| {
        let right = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(text, 16).ok().filter(|_| right).ok_or_else(shape)
    };
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u8>().ok().filter(|_| digits).ok_or_else(shape)
    };
    Ok(Device::Usb {
        vendor: id(vendor)?,
        product: id(product)?,
        interface: interface.map(number).transpose()?,
    })
}

/// Accepts a trailing slash, which users type after a URL.
fn host_port(text: &str) -> Result<Target, GrammarError> {
    text.strip_suffix('/').unwrap_or(text).parse()
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Path(path) => write!(f, "{}", path.display()),
            Device::Glob(pattern) => f.write_str(pattern),
            Device::Auto => f.write_str("auto"),
            Device::Usb { vendor, product, interface: None } => write!(f, "usb:{vendor:04x}:{product:04x}"),
            Device::Usb { vendor, product, interface: Some(number) } => {
                write!(f, "usb:{vendor:04x}:{product:04x},if={number}")
            }
            // The number is personal data; the last digits are enough to distinguish two modems.
            Device::Imei(imei) => {
                write!(f, "imei:***{}", imei.get(imei.len().saturating_sub(4)..).unwrap_or(""))
            }
            Device::Rfc2217(server) => write!(f, "rfc2217://{server}"),
            Device::Tcp(server) => write!(f, "tcp://{server}"),
            Device::Emulator(options) if options.is_empty() => f.write_str("emulator"),
            Device::Emulator(options) => write!(f, "emulator:{options}"),
        }
    }
}

/// 3GPP TS 23.003, 6.2.
const IMEI_DIGITS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> Device {
        text.parse().expect("a device")
    }

    fn error(text: &str) -> String {
        text.parse::<Device>().unwrap_err().to_string()
    }

    #[test]
    fn every_way_to_reach_a_modem_is_read_and_written_back() {
        for text in [
            "/dev/ttyUSB2",
            "/dev/serial/by-id/usb-Quectel-if02-port0",
            "/dev/ttyUSB*",
            "./link",
            "auto",
            "usb:2c7c:0125",
            "usb:2c7c:0125,if=2",
            "rfc2217://192.0.2.1:2217",
            "tcp://[2001:db8::1]:4000",
        ] {
            assert_eq!(device(text).to_string(), text);
        }
        assert_eq!(device("/dev/ttyUSB?"), Device::Glob("/dev/ttyUSB?".to_owned()));
        assert_eq!(device("usb:2C7C:0125"), Device::Usb { vendor: 0x2c7c, product: 0x0125, interface: None });
        assert_eq!(device("tcp://router:4000/").to_string(), "tcp://router:4000");
    }

    #[test]
    fn an_imei_is_never_shown_whole() {
        assert_eq!(device("imei:866834041234567"), Device::Imei("866834041234567".to_owned()));
        assert_eq!(device("imei:866834041234567").to_string(), "imei:***4567");
        assert_eq!(error("imei:1234"), "an IMEI has 15 digits");
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn the_emulator_takes_its_own_options() {
        assert_eq!(device("emulator"), Device::Emulator(String::new()));
        assert_eq!(device("emulator:--family ec20"), Device::Emulator("--family ec20".to_owned()));
    }

    #[cfg(not(feature = "emulator"))]
    #[test]
    fn a_build_without_the_emulator_says_so() {
        assert_eq!(error("emulator"), "this build has no emulator: build it with `--features emulator`");
    }

    #[test]
    fn a_slip_is_answered_with_what_to_type() {
        assert_eq!(error("ttyUSB2"), "not a path: did you mean /dev/ttyUSB2?");
        assert_eq!(error("http://a:1"), "http:// is not known: rfc2217:// or tcp://");
        assert_eq!(error("tcp://a"), "the port is missing: give HOST:PORT");
        for text in
            ["", "COM3", "usb:", "usb:2c7c", "usb:2c7c:12", "usb:2c7c:0125,if=", "usb:2c7c:0125,2", "a\0/b"]
        {
            assert!(text.parse::<Device>().is_err(), "{text:?}");
        }
    }
}
