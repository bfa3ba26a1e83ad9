//! Goal of this test: what is shipped around the program is taken without a word by the tools that will read
//! it, and does what it says: the systemd units, the udev rule, the completions, the OpenWrt scripts, the Debian package, the
//! example configuration.
//!
//! The real tools are run. One that is missing fails the test and is named; `./check` installs them all.

mod completions;
mod configuration;
mod debian;
mod example;
mod openwrt;
mod shell;
mod systemd;
mod udev;
