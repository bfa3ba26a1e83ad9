//! Hosts on this machine's own network as people type them: `HOST:PORT`, as for a [`Target`].

use std::fmt;
use std::str::FromStr;

use qssl_core::settings::Target;

use super::{GrammarError, HostPort};

impl FromStr for HostPort {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let Target { host, port } = text.parse()?;
        Ok(HostPort { host: host.as_str().to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}
