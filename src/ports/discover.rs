//! Finds the modem's tty by its USB device, through sysfs.
//!
//! Names like `/dev/ttyUSB2` change when a modem re-enumerates, and some systems (OpenWrt) have no
//! `/dev/serial/by-id`, so a modem is identified by what the kernel reports about its USB device. The paths of
//! sysfs, /dev and /usr are arguments, so that tests can use their own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::OpenError;
use crate::config::Device;

/// Quectel's USB vendor id.
const QUECTEL: u16 = 0x2c7c;

/// Drivers of USB modems: their ttys have no real serial line. All others are UART adapters.
const MODEM_DRIVERS: [&str; 6] = ["option", "option1", "qcserial", "cdc_acm", "sierra", "hso"];

/// Those among them that have no way to make a modem wait (usb_wwan and sierra in the kernel; cdc_acm and hso have one).
const DROPPING_DRIVERS: [&str; 4] = ["option", "option1", "qcserial", "sierra"];

/// The directories that discovery reads.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/sys`
    pub sysfs: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
    /// `/usr`
    pub usr: PathBuf,
}

impl Host {
    /// The host that this process runs on.
    pub fn this() -> Host {
        Host { sysfs: PathBuf::from("/sys"), dev: PathBuf::from("/dev"), usr: PathBuf::from("/usr") }
    }

    /// Whether ModemManager is installed; this can change while the process runs. ModemManager uses the AT port of a
    /// Quectel modem as its primary port, so the modem port is better for us.
    fn has_modem_manager(&self) -> bool {
        let traces = ["sbin/ModemManager", "lib/udev/rules.d/77-mm-quectel-port-types.rules"];
        traces.iter().any(|trace| self.usr.join(trace).exists())
    }
}

/// The purpose of an interface of a Quectel modem, as far as its number shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The AT port (usbat).
    At,
    /// The modem port (usbmodem), which speaks AT as well.
    Modem,
    /// Diagnosis, GNSS, or unknown.
    Other,
}

/// The purpose of this interface of a modem whose ttys have these `interfaces`. Only an answer to AT proves it.
fn role(product: u16, interface: u8, interfaces: &[u8]) -> Role {
    let has = |wanted: &[u8]| wanted.iter().all(|interface| interfaces.contains(interface));
    let (at, modem) = match product {
        // EC200S, EC200A, EC200T
        0x6002 | 0x6005 | 0x6026 => (3, Some(4)),
        // EC200U: interface 3 is a log, and the modem port has a higher number.
        0x0901 => (2, interfaces.iter().max().copied().filter(|last| *last > 3)),
        // The RNDIS composition of EC2x: the first two interfaces are the network device.
        _ if has(&[2, 3, 4, 5]) && !interfaces.contains(&0) => (4, Some(5)),
        _ => (2, Some(3)),
    };
    match interface {
        _ if interface == at => Role::At,
        _ if Some(interface) == modem => Role::Modem,
        _ => Role::Other,
    }
}

/// A tty that may lead to the modem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The device to open.
    pub path: PathBuf,
    /// Its USB device; `None` if it is not on USB.
    pub usb: Option<Usb>,
}

/// The USB side of a tty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usb {
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Interface number (`bInterfaceNumber`).
    pub interface: u8,
    /// The driver of the interface, such as `option`.
    pub driver: String,
    /// Where it is plugged in, such as `1-1.2`. No two modems have the same location.
    pub location: String,
    /// The product's name.
    pub product_name: Option<String>,
    /// The manufacturer's name.
    pub manufacturer: Option<String>,
    /// The serial number. Many modems have none, or a dummy.
    pub serial: Option<String>,
}

impl Usb {
    /// Whether it is made by Quectel. Old EC20 modules have Qualcomm's vendor id, and are known only by the name.
    fn is_quectel(&self) -> bool {
        self.vendor == QUECTEL || self.manufacturer.as_deref().is_some_and(|name| name.starts_with("Quectel"))
    }
}

/// What a tty is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// A serial line, from a UART of the host or a USB adapter.
    Uart,
    /// A USB modem's own interface.
    UsbModem {
        /// The modem's name for it, usbat or usbmodem, if the interface number shows it.
        at_port: Option<&'static str>,
        /// Its driver takes everything the modem sends, and drops what it cannot keep.
        drops_unread: bool,
    },
    /// A pseudo-terminal, or a tty that sysfs does not know.
    Pseudo,
}

/// The ttys that `device` stands for, best first; never empty. For `auto` and `usb:` they are those of one modem,
/// and the caller sends AT to each until one answers. For `imei:` they are those of every Quectel modem, and
/// `AT+GSN` shows which one it is. For devices that are not ttys, nothing matches.
///
/// # Errors
/// [`OpenError::Missing`] or [`OpenError::NoModem`] if nothing matches, [`OpenError::Ambiguous`] if several modems
/// match and only one can be meant.
pub fn candidates(device: &Device, host: &Host) -> Result<Vec<Candidate>, OpenError> {
    let (name, found, is_one_modem) = match device {
        Device::Path(path) => {
            return Ok(vec![Candidate { path: path.clone(), usb: usb_of(path, host) }]);
        }
        Device::Glob(pattern) => (pattern.clone(), matching(pattern, host), false),
        Device::Auto => ("auto".to_owned(), at_ports(host, Usb::is_quectel), true),
        Device::Imei(imei) => {
            // Only the digits for the type of device are shown; the rest of the IMEI is personal.
            let visible: String = imei.chars().take(8).collect();
            (format!("imei:{visible}…"), at_ports(host, Usb::is_quectel), false)
        }
        Device::Usb { vendor, product, interface: None } => {
            let is_meant = |usb: &Usb| usb.vendor == *vendor && usb.product == *product;
            (format!("usb:{vendor:04x}:{product:04x}"), at_ports(host, is_meant), true)
        }
        Device::Usb { vendor, product, interface: Some(interface) } => {
            let is_meant =
                |usb: &Usb| usb.vendor == *vendor && usb.product == *product && usb.interface == *interface;
            let mut found = usb_ttys(host);
            found.retain(|candidate| candidate.usb.as_ref().is_some_and(is_meant));
            (format!("usb:{vendor:04x}:{product:04x},if={interface}"), found, true)
        }
        Device::Rfc2217(_) | Device::Tcp(_) | Device::Emulator(_) => {
            ("not a tty".to_owned(), Vec::new(), false)
        }
    };
    if found.is_empty() {
        let hint = hint(device, host);
        return Err(match device {
            Device::Auto => OpenError::NoModem { hint },
            _ => OpenError::Missing { name, hint },
        });
    }
    let mut modems: Vec<&Candidate> = Vec::new();
    for candidate in &found {
        let location = |one: &Candidate| one.usb.as_ref().map(|usb| usb.location.clone());
        if !modems.iter().any(|one| location(one) == location(candidate)) {
            modems.push(candidate);
        }
    }
    if is_one_modem && modems.len() > 1 {
        let found: Vec<String> = modems.iter().map(|one| one.path.display().to_string()).collect();
        return Err(OpenError::Ambiguous { name, found: found.join(", ") });
    }
    Ok(found)
}

/// What the tty at `path`, or the target of this link, is connected to.
pub fn wiring(path: &Path, host: &Host) -> Wiring {
    let Some(name) = tty_name(path) else { return Wiring::Pseudo };
    if !host.sysfs.join("class/tty").join(&name).join("device").exists() {
        return Wiring::Pseudo;
    }
    match usb_of(path, host) {
        None => Wiring::Uart,
        Some(usb) if MODEM_DRIVERS.contains(&usb.driver.as_str()) || usb.vendor == QUECTEL => {
            let at_port = match role(usb.product, usb.interface, &interfaces(&usb.location, &usb_ttys(host)))
            {
                Role::At => Some("usbat"),
                Role::Modem => Some("usbmodem"),
                Role::Other => None,
            };
            Wiring::UsbModem { at_port, drops_unread: DROPPING_DRIVERS.contains(&usb.driver.as_str()) }
        }
        Some(_) => Wiring::Uart,
    }
}

/// All ttys of the matching modems: the best one of each first, then the next best.
fn at_ports(host: &Host, is_meant: impl Fn(&Usb) -> bool) -> Vec<Candidate> {
    let mut ttys = usb_ttys(host);
    ttys.retain(|candidate| candidate.usb.as_ref().is_some_and(&is_meant));
    let has_modem_manager = host.has_modem_manager();
    let rank = |candidate: &Candidate| {
        let usb = candidate.usb.as_ref().expect("usb_ttys gives only ttys on USB");
        let role = role(usb.product, usb.interface, &interfaces(&usb.location, &ttys));
        (at_rank(role, usb.interface, has_modem_manager), usb.location.clone())
    };
    let mut ranked: Vec<_> = ttys.iter().map(|candidate| (rank(candidate), candidate.clone())).collect();
    qssl_core::sort_few(&mut ranked, |(one, _), (other, _)| one < other);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The interfaces of the ttys of one device.
fn interfaces(location: &str, ttys: &[Candidate]) -> Vec<u8> {
    let of_it = ttys.iter().filter_map(|tty| tty.usb.as_ref()).filter(|usb| usb.location == location);
    of_it.map(|usb| usb.interface).collect()
}

/// How likely it is that the port answers AT commands and that no other program uses it: lower is better.
/// Interfaces 0 and 1 are diagnosis and GNSS on most modules, so they come last.
fn at_rank(role: Role, interface: u8, has_modem_manager: bool) -> u16 {
    match (role, interface) {
        (Role::At, _) => 1,
        (Role::Modem, _) if has_modem_manager => 0,
        (Role::Modem, _) => 2,
        (Role::Other, 0 | 1) => 0x200 - u16::from(interface),
        (Role::Other, other) => 0x100 + u16::from(other),
    }
}

/// All ttys on USB, sorted by name.
pub(super) fn usb_ttys(host: &Host) -> Vec<Candidate> {
    let Ok(entries) = fs::read_dir(host.sysfs.join("class/tty")) else { return Vec::new() };
    names_in(entries)
        .into_iter()
        .filter_map(|name| {
            let path = host.dev.join(name);
            let usb = usb_of(&path, host)?;
            Some(Candidate { path, usb: Some(usb) })
        })
        .collect()
}

/// The names in this folder, in order.
fn names_in(entries: fs::ReadDir) -> Vec<OsString> {
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    qssl_core::sort_few(&mut names, |one, other| one < other);
    names
}

/// What there is that matches, in order. Each part of the pattern matches names in a folder; what cannot be read is
/// skipped.
fn matching(pattern: &str, host: &Host) -> Vec<Candidate> {
    let start = if pattern.starts_with('/') { "/" } else { "." };
    let mut paths = vec![PathBuf::from(start)];
    for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let Ok(wanted) = glob::Pattern::new(part) else { return Vec::new() };
        let is_name = !part.contains(['*', '?', '[']);
        let below = |folder: PathBuf| -> Vec<PathBuf> {
            if is_name {
                return vec![folder.join(part)];
            }
            let names = fs::read_dir(&folder).map(names_in).unwrap_or_default();
            let matching = names.iter().filter(|name| name.to_str().is_some_and(|name| wanted.matches(name)));
            matching.map(|name| folder.join(name)).collect()
        };
        paths = paths.into_iter().flat_map(below).collect();
    }
    paths.retain(|path| path.exists());
    paths.into_iter().map(|path| Candidate { usb: usb_of(&path, host), path }).collect()
}

/// The USB interface and device above a tty.
fn usb_of(path: &Path, host: &Host) -> Option<Usb> {
    let entry = host.sysfs.join("class/tty").join(tty_name(path)?).join("device");
    let start = fs::canonicalize(entry).ok()?;
    let interface = start.ancestors().find(|folder| folder.join("bInterfaceNumber").exists())?;
    let device = interface.ancestors().find(|folder| folder.join("idVendor").exists())?;
    let driver = fs::canonicalize(interface.join("driver")).ok();
    Some(Usb {
        vendor: hexadecimal(&device.join("idVendor"))?,
        product: hexadecimal(&device.join("idProduct"))?,
        interface: u8::try_from(hexadecimal(&interface.join("bInterfaceNumber"))?).ok()?,
        driver: driver.as_deref().and_then(file_name).unwrap_or_default(),
        location: file_name(device)?,
        product_name: text(&device.join("product")),
        manufacturer: text(&device.join("manufacturer")),
        serial: text(&device.join("serial")),
    })
}

/// A hint after "no such device": a modem that is plugged in but has no tty lacks its driver.
fn hint(device: &Device, host: &Host) -> String {
    let wanted = match device {
        Device::Auto | Device::Imei(_) => QUECTEL,
        Device::Usb { vendor, .. } => *vendor,
        Device::Path(_) | Device::Glob(_) => return String::new(),
        Device::Rfc2217(_) | Device::Tcp(_) | Device::Emulator(_) => return String::new(),
    };
    let Ok(entries) = fs::read_dir(host.sysfs.join("bus/usb/devices")) else { return String::new() };
    let plugged = entries
        .flatten()
        .filter(|entry| hexadecimal(&entry.path().join("idVendor")) == Some(wanted))
        .filter_map(|entry| hexadecimal(&entry.path().join("idProduct")));
    match plugged.min() {
        Some(product) => format!(
            ": usb {wanted:04x}:{product:04x} is plugged in, but no tty matches: is the kernel's option driver \
             loaded, and are product and interface right"
        ),
        None => ": no such device is plugged in".to_owned(),
    }
}

/// `ttyUSB2` for `/dev/ttyUSB2` and for links to it.
fn tty_name(path: &Path) -> Option<String> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    file_name(&target)
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

fn hexadecimal(path: &Path) -> Option<u16> {
    u16::from_str_radix(&text(path)?, 16).ok()
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    if text.is_empty() { None } else { Some(text.to_owned()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A host in its own folder, removed at the end.
    pub(in crate::ports) struct TestHost(pub(in crate::ports) Host);

    impl TestHost {
        pub(in crate::ports) fn new(test: &str) -> TestHost {
            let root = std::env::temp_dir().join(format!("qssl-discover-{}-{test}", std::process::id()));
            let host = Host { sysfs: root.join("sys"), dev: root.join("dev"), usr: root.join("usr") };
            fs::create_dir_all(host.sysfs.join("class/tty")).unwrap();
            fs::create_dir_all(host.sysfs.join("bus/usb/devices")).unwrap();
            fs::create_dir_all(&host.dev).unwrap();
            TestHost(host)
        }

        /// Plugs in a device with these interfaces and their ttys, as the kernel shows it.
        fn plug(&self, location: &str, id: (&str, &str), driver: &str, ttys: &[(u8, &str)]) {
            let sysfs = &self.0.sysfs;
            let device = sysfs.join("devices/usb1").join(location);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("idVendor"), format!("{}\n", id.0)).unwrap();
            fs::write(device.join("idProduct"), format!("{}\n", id.1)).unwrap();
            fs::write(device.join("product"), "EC25-EUX\n").unwrap();
            fs::write(device.join("manufacturer"), "Quectel\n").unwrap();
            symlink(&device, sysfs.join("bus/usb/devices").join(location)).unwrap();
            let drivers = sysfs.join("bus/usb/drivers").join(driver);
            fs::create_dir_all(&drivers).unwrap();
            for (number, tty) in ttys {
                let interface = device.join(format!("{location}:1.{number}"));
                let port = interface.join(tty);
                fs::create_dir_all(port.join("tty").join(tty)).unwrap();
                fs::write(interface.join("bInterfaceNumber"), format!("{number:02x}\n")).unwrap();
                symlink(&drivers, interface.join("driver")).unwrap();
                symlink(&port, port.join("tty").join(tty).join("device")).unwrap();
                symlink(port.join("tty").join(tty), sysfs.join("class/tty").join(tty)).unwrap();
                fs::write(self.0.dev.join(tty), "").unwrap();
            }
        }

        /// Removes a device again, as the kernel does.
        pub(in crate::ports) fn unplug(&self, location: &str) {
            let sysfs = &self.0.sysfs;
            for entry in fs::read_dir(sysfs.join("class/tty")).unwrap().flatten() {
                let leads_there = fs::read_link(entry.path())
                    .is_ok_and(|target| target.components().any(|part| part.as_os_str() == location));
                if leads_there {
                    fs::remove_file(self.0.dev.join(entry.file_name())).unwrap();
                    fs::remove_file(entry.path()).unwrap();
                }
            }
            fs::remove_file(sysfs.join("bus/usb/devices").join(location)).unwrap();
            fs::remove_dir_all(sysfs.join("devices/usb1").join(location)).unwrap();
        }

        pub(in crate::ports) fn plug_modem(&self, location: &str, first: usize) {
            let names: Vec<String> = (first..first + 4).map(|index| format!("ttyUSB{index}")).collect();
            let ttys: Vec<(u8, &str)> = (0..4).zip(names.iter().map(String::as_str)).collect();
            self.plug(location, ("2c7c", "0125"), "option", &ttys);
        }

        fn found(&self, device: &Device) -> Vec<String> {
            let found = candidates(device, &self.0).unwrap();
            found
                .iter()
                .map(|one| one.path.strip_prefix(&self.0.dev).unwrap().display().to_string())
                .collect()
        }

        fn error(&self, device: &Device) -> String {
            candidates(device, &self.0).unwrap_err().to_string()
        }
    }

    impl Drop for TestHost {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.sysfs.parent().unwrap());
        }
    }

    const EC25: Device = Device::Usb { vendor: 0x2c7c, product: 0x0125, interface: None };

    #[test]
    fn auto_takes_the_at_port_under_whatever_name_it_came_up() {
        let host = TestHost::new("auto");
        host.plug("1-2", ("0403", "6001"), "ftdi_sio", &[]);
        host.plug_modem("1-1.4", 4);
        // If the first does not answer, the next is tried; diagnosis comes last.
        assert_eq!(host.found(&Device::Auto), ["ttyUSB6", "ttyUSB7", "ttyUSB5", "ttyUSB4"]);
        assert_eq!(host.found(&EC25)[0], "ttyUSB6");
        let third = Device::Usb { vendor: 0x2c7c, product: 0x0125, interface: Some(3) };
        assert_eq!(host.found(&third), ["ttyUSB7"]);
        let usb = candidates(&Device::Auto, &host.0).unwrap().remove(0).usb.unwrap();
        assert_eq!((usb.interface, usb.location.as_str(), usb.driver.as_str()), (2, "1-1.4", "option"));
        assert_eq!(usb.product_name.as_deref(), Some("EC25-EUX"));
        assert_eq!(usb.serial, None);
    }

    #[test]
    fn interface_2_is_left_to_modem_manager() {
        let host = TestHost::new("mm");
        host.plug_modem("1-1", 0);
        assert_eq!(host.found(&Device::Auto)[0], "ttyUSB2");
        // If it is installed while we run, the next search takes it into account.
        fs::create_dir_all(host.0.usr.join("sbin")).unwrap();
        fs::write(host.0.usr.join("sbin/ModemManager"), "").unwrap();
        assert_eq!(host.found(&Device::Auto)[..2], ["ttyUSB3", "ttyUSB2"]);
        host.plug("1-3", ("2c7c", "0700"), "option", &[(0, "ttyUSB8"), (2, "ttyUSB9")]);
        assert_eq!(
            host.found(&Device::Usb { vendor: 0x2c7c, product: 0x0700, interface: None }),
            ["ttyUSB9", "ttyUSB8"]
        );
    }

    #[test]
    fn the_at_port_is_looked_for_where_the_composition_has_it() {
        type Ttys = &'static [(u8, &'static str)];
        let cases: [(&str, Ttys, &[&str]); 5] = [
            // EC25, RNDIS
            (
                "0125",
                &[(2, "ttyUSB0"), (3, "ttyUSB1"), (4, "ttyUSB2"), (5, "ttyUSB3")],
                &["ttyUSB2", "ttyUSB3"],
            ),
            // EC200U
            ("0901", &[(2, "ttyUSB0"), (3, "ttyUSB1"), (7, "ttyUSB2")], &["ttyUSB0", "ttyUSB2", "ttyUSB1"]),
            // EC200S, EC200T
            ("6002", &[(2, "ttyUSB0"), (3, "ttyUSB1"), (4, "ttyUSB2")], &["ttyUSB1", "ttyUSB2", "ttyUSB0"]),
            ("6026", &[(2, "ttyUSB0"), (3, "ttyUSB1"), (4, "ttyUSB2")], &["ttyUSB1", "ttyUSB2", "ttyUSB0"]),
            // BG95
            (
                "0700",
                &[(0, "ttyUSB0"), (1, "ttyUSB1"), (2, "ttyUSB2"), (3, "ttyUSB3")],
                &["ttyUSB2", "ttyUSB3"],
            ),
        ];
        for (product, ttys, expected) in cases {
            let host = TestHost::new(&format!("composition-{product}"));
            host.plug("1-1", ("2c7c", product), "option", ttys);
            assert_eq!(host.found(&Device::Auto)[..expected.len()], *expected, "{product}");
            assert_eq!(
                wiring(&host.0.dev.join(expected[0]), &host.0),
                Wiring::UsbModem { at_port: Some("usbat"), drops_unread: true },
                "{product}"
            );
        }
    }

    #[test]
    fn two_modems_are_not_guessed_between() {
        let host = TestHost::new("two");
        host.plug_modem("1-1", 0);
        host.plug_modem("1-2", 4);
        let message = host.error(&Device::Auto);
        assert!(message.contains("ttyUSB2") && message.contains("ttyUSB6"), "{message}");
        assert_eq!(
            host.found(&Device::Imei("867698041234567".to_owned())),
            ["ttyUSB2", "ttyUSB6", "ttyUSB3", "ttyUSB7", "ttyUSB1", "ttyUSB5", "ttyUSB0", "ttyUSB4"]
        );
    }

    #[test]
    fn a_modem_without_tty_is_told_from_no_modem() {
        let host = TestHost::new("driver");
        assert!(host.error(&EC25).ends_with(": no such device is plugged in"));
        assert_eq!(host.error(&Device::Auto), "no Quectel modem found: no such device is plugged in");
        host.plug("1-1", ("2c7c", "0125"), "none", &[]);
        assert!(host.error(&EC25).contains("2c7c:0125 is plugged in, but no tty matches"));
        let message = host.error(&Device::Imei("867698041234567".to_owned()));
        assert!(!message.contains("1234567"), "{message}");
    }

    #[test]
    fn a_pattern_takes_what_matches_in_sorted_order() {
        let host = TestHost::new("glob");
        host.plug_modem("1-1", 0);
        let pattern = format!("{}/ttyUSB[13]", host.0.dev.display());
        assert_eq!(host.found(&Device::Glob(pattern)), ["ttyUSB1", "ttyUSB3"]);
        let message = host.error(&Device::Glob("/nowhere/tty*".to_owned()));
        assert_eq!(message, "/nowhere/tty*: no such device");
    }

    #[test]
    fn flow_control_matters_only_where_a_line_is() {
        let host = TestHost::new("wiring");
        host.plug_modem("1-1", 0);
        host.plug("1-2", ("0403", "6001"), "ftdi_sio", &[(0, "ttyUSB4")]);
        host.plug("1-3", ("1fc9", "0083"), "cdc_acm", &[(0, "ttyACM0")]);
        let uart = host.0.sysfs.join("class/tty/ttyS0");
        fs::create_dir_all(uart.join("device")).unwrap();
        let wiring = |name: &str| wiring(&host.0.dev.join(name), &host.0);
        assert_eq!(wiring("ttyUSB3"), Wiring::UsbModem { at_port: Some("usbmodem"), drops_unread: true });
        assert_eq!(wiring("ttyUSB4"), Wiring::Uart);
        assert_eq!(wiring("ttyACM0"), Wiring::UsbModem { at_port: None, drops_unread: false });
        assert_eq!(wiring("ttyS0"), Wiring::Uart);
        assert_eq!(wiring("pts/3"), Wiring::Pseudo);
        symlink(host.0.dev.join("ttyUSB4"), host.0.dev.join("modem")).unwrap();
        assert_eq!(wiring("modem"), Wiring::Uart);
    }
}
