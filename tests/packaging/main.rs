//! Goal of this test: the tools that read the files shipped with the program accept them without warnings, and the files
//! work: the systemd units, the udev rule, the completions, the OpenWrt scripts, the Debian package, and the example
//! configuration.
//!
//! The real tools are run. If one is missing, the test fails and names it; `./check` installs them all.

mod check_script;
mod completions;
mod configuration;
mod debian;
mod example;
mod openwrt;
mod shell;
mod systemd;
mod udev;
