//! Configurations as the program reads them.

use clap::Parser;
use qssl_tunnel::cli::{self, Cli};
use qssl_tunnel::config::{self, Configuration, Environment};

/// The configuration from this text, in the year 2100 and with the tests' own trust store.
pub fn configuration(text: &str) -> Result<Configuration, String> {
    let Ok(Cli { command: cli::Command::Run(args) }) = Cli::try_parse_from(["qssl-tunnel", "run"]) else {
        panic!("`run` needs no arguments");
    };
    let around = Environment {
        unix_seconds: 4_102_444_800,
        ssl_cert_file: Some("tests/config_files/certificates/store.pem".into()),
    };
    let checked = config::from_text("FILE", text, &args, &around);
    checked.map(|checked| checked.configuration).map_err(|error| error.to_string())
}
