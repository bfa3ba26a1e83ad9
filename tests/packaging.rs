//! Goal of this test: what is shipped around the program is taken without a word by the tools that will read
//! it, and does what it says: the systemd units, the udev rule, the completions, the OpenWrt scripts, the Debian package, the
//! example configuration.
//!
//! The real tools are run. One that is missing fails the test and is named; `./check` installs them all.

#[path = "packaging/completions.rs"]
mod completions;
#[path = "packaging/debian.rs"]
mod debian;
#[path = "packaging/example.rs"]
mod example;
#[path = "packaging/openwrt.rs"]
mod openwrt;
#[path = "packaging/package.rs"]
mod package;
#[path = "packaging/shell.rs"]
mod shell;
#[path = "packaging/systemd.rs"]
mod systemd;
#[path = "packaging/tools.rs"]
mod tools;
#[path = "packaging/udev.rs"]
mod udev;
