//! Goal of this test: the udev rule gives the right port its name, keeps ModemManager off it, and affects nothing
//! else.
//!
//! Debian 12's udevadm can neither check a rules file nor apply one to devices that are not plugged in. So the few
//! operators in the file are evaluated here, as udev(7) describes them. An unknown key or operator fails the test.

use std::collections::BTreeMap;
use std::fs;

use glob::Pattern;

use qssl_test_common::packaging::{packaging, read};

/// A folder of sysfs above the tty, or the tty itself.
#[derive(Clone, Default)]
struct Device {
    subsystem: &'static str,
    attributes: BTreeMap<&'static str, &'static str>,
}

/// A tty that appears: the tty itself first, then its parents.
struct Event {
    action: &'static str,
    chain: Vec<Device>,
    files: &'static [&'static str],
}

/// The effect of the rules.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    properties: BTreeMap<String, String>,
    symlinks: Vec<String>,
}

/// `KEY{argument} operator "value"`.
#[derive(Debug)]
struct Term {
    key: String,
    argument: String,
    operator: String,
    value: String,
}

fn terms(line: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (left, quoted) = rest.split_once('"').unwrap_or_else(|| panic!("no value in {line:?}"));
        let (value, after) = quoted.split_once('"').unwrap_or_else(|| panic!("no end of value in {line:?}"));
        let split = left.find(['=', '!', '+']).unwrap_or_else(|| panic!("no operator in {line:?}"));
        let (name, operator) = left.split_at(split);
        let (key, argument) = name.split_once('{').unwrap_or((name, "}"));
        let argument = argument.strip_suffix('}').unwrap_or_else(|| panic!("no brace in {line:?}"));
        terms.push(Term {
            key: key.to_owned(),
            argument: argument.to_owned(),
            operator: operator.to_owned(),
            value: value.to_owned(),
        });
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("no comma in {line:?}")).trim_start();
        }
    }
    terms
}

impl Event {
    fn matches(&self, term: &Term, parent: &Device, outcome: &Outcome) -> bool {
        let own = &self.chain[0];
        let pattern = Pattern::new(&term.value).expect("a pattern");
        let text = match term.key.as_str() {
            "ACTION" => Some(self.action),
            "SUBSYSTEM" => Some(own.subsystem),
            "SUBSYSTEMS" => Some(parent.subsystem),
            "ATTRS" => parent.attributes.get(term.argument.as_str()).copied(),
            // A property that is not set counts as empty.
            "ENV" => Some(outcome.properties.get(&term.argument).map_or("", String::as_str)),
            "TEST" => Some(term.value.as_str()).filter(|path| self.files.contains(path)),
            other => panic!("{other} is not known here"),
        };
        let is_equal = text.is_some_and(|text| pattern.matches(text));
        is_equal == (term.operator == "==")
    }

    /// The parent for which all match terms of a line hold; any parent, if the line has no terms for parents.
    fn matching_parent(&self, terms: &[Term], outcome: &Outcome) -> Option<&Device> {
        let is_match = |term: &&Term| matches!(term.operator.as_str(), "==" | "!=");
        self.chain
            .iter()
            .find(|parent| terms.iter().filter(is_match).all(|term| self.matches(term, parent, outcome)))
    }

    fn outcome(&self) -> Outcome {
        let text = read(packaging().join("udev/70-qssl-tunnel.rules"));
        let mut outcome = Outcome::default();
        let mut label: Option<String> = None;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let terms = terms(line);
            if let Some(wanted) = &label {
                if terms.iter().any(|term| term.key == "LABEL" && term.value == *wanted) {
                    label = None;
                }
                continue;
            }
            let Some(parent) = self.matching_parent(&terms, &outcome) else { continue };
            for term in terms.iter().filter(|term| !matches!(term.operator.as_str(), "==" | "!=")) {
                match (term.key.as_str(), term.operator.as_str()) {
                    ("GOTO", "=") => label = Some(term.value.clone()),
                    ("LABEL", "=") => {}
                    // The priority among several links with one name.
                    ("OPTIONS", "+=") => assert_eq!(term.value, "link_priority=10"),
                    ("SYMLINK", "+=") => outcome.symlinks.push(term.value.clone()),
                    ("ENV", "=") => {
                        let attribute = term.value.strip_prefix("$attr{").and_then(|s| s.strip_suffix('}'));
                        let value = match attribute {
                            Some(name) => parent.attributes.get(name).copied().unwrap_or_default(),
                            None => &term.value,
                        };
                        outcome.properties.insert(term.argument.clone(), value.to_owned());
                    }
                    _ => panic!("{term:?} is not known here"),
                }
            }
        }
        assert_eq!(label, None, "a label is missing");
        // Properties with a dot are not stored.
        outcome.properties.retain(|name, _| !name.starts_with('.'));
        outcome
    }
}

/// A tty of a USB device.
fn usb(ids: (&'static str, &'static str), manufacturer: &'static str, interface: &'static str) -> Event {
    let device = |subsystem, attributes: &[(&'static str, &'static str)]| Device {
        subsystem,
        attributes: attributes.iter().copied().collect(),
    };
    Event {
        action: "add",
        chain: vec![
            device("tty", &[]),
            device("usb-serial", &[]),
            device("usb", &[("bInterfaceNumber", interface)]),
            device("usb", &[("idVendor", ids.0), ("idProduct", ids.1), ("manufacturer", manufacturer)]),
            device("usb", &[("idVendor", "1d6b"), ("manufacturer", "Linux")]),
            device("pci", &[]),
        ],
        files: &[],
    }
}

fn ec25(interface: &'static str) -> Event {
    usb(("2c7c", "0125"), "Quectel", interface)
}

fn with_modem_manager(event: Event) -> Event {
    Event { files: &["/usr/sbin/ModemManager"], ..event }
}

fn named_and_ignored() -> Outcome {
    Outcome {
        properties: [("ID_MM_PORT_IGNORE".to_owned(), "1".to_owned())].into(),
        symlinks: vec!["qssl-tunnel".to_owned()],
    }
}

fn named() -> Outcome {
    Outcome { properties: BTreeMap::new(), symlinks: vec!["qssl-tunnel".to_owned()] }
}

#[test]
fn beside_modem_manager_interface_3_is_ours_alone() {
    for (interface, expected) in [
        ("00", Outcome::default()),
        ("01", Outcome::default()),
        ("02", Outcome::default()),
        ("03", named_and_ignored()),
    ] {
        assert_eq!(with_modem_manager(ec25(interface)).outcome(), expected, "{interface}");
    }
}

#[test]
fn without_modem_manager_interface_2_is_named() {
    for (interface, expected) in [("00", Outcome::default()), ("02", named()), ("03", Outcome::default())] {
        assert_eq!(ec25(interface).outcome(), expected, "{interface}");
    }
}

/// The same table as for `auto`.
#[test]
fn other_compositions_have_their_ports_at_other_interfaces() {
    for (product, interface, is_at, is_modem) in [
        ("6002", "02", false, false),
        ("6002", "03", true, false),
        ("6026", "04", false, true),
        ("0901", "02", true, false),
        ("0901", "03", false, false),
        ("0901", "07", false, true),
        ("0125", "04", true, false),
        ("0121", "05", false, true),
        ("0700", "02", true, false),
        ("0700", "03", false, true),
        ("0700", "04", false, false),
    ] {
        let tty = || usb(("2c7c", product), "Quectel", interface);
        let expected = |is_it, outcome| if is_it { outcome } else { Outcome::default() };
        assert_eq!(tty().outcome(), expected(is_at, named()), "{product} {interface}");
        let beside = with_modem_manager(tty()).outcome();
        assert_eq!(beside, expected(is_modem, named_and_ignored()), "{product} {interface}");
    }
}

#[test]
fn the_first_ec20_is_known_by_its_maker() {
    assert_eq!(usb(("05c6", "9215"), "Quectel, Incorporated", "02").outcome(), named());
}

#[test]
fn devices_of_others_are_left_alone() {
    for (interface, maker) in [("02", "Qualcomm"), ("03", "FTDI"), ("03", "Not Quectel")] {
        for event in [usb(("0403", "6001"), maker, interface), usb(("05c6", "9215"), maker, interface)] {
            assert_eq!(with_modem_manager(event).outcome(), Outcome::default(), "{maker}");
        }
    }
}

#[test]
fn only_ttys_are_named_and_not_when_they_go() {
    let mut network_interface = ec25("02");
    network_interface.chain[0].subsystem = "net";
    assert_eq!(network_interface.outcome(), Outcome::default());
    assert_eq!(Event { action: "remove", ..ec25("02") }.outcome(), Outcome::default());
    assert_eq!(Event { action: "change", ..ec25("02") }.outcome(), named(), "after installation");
}

#[test]
fn rules_are_read_before_modem_manager_decides() {
    let rules: Vec<_> = fs::read_dir(packaging().join("udev")).expect("the folder exists").collect();
    assert_eq!(rules.len(), 1);
    for rule in rules {
        let name = rule.expect("an entry").file_name().into_string().expect("a name in ASCII");
        let number = name.split('-').next().and_then(|number| number.parse::<u32>().ok());
        assert!(number.is_some_and(|number| number < 80), "{name}");
    }
}
