//! Where certificate authorities come from: `FILE`, `system:NAME`, or `system`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::GrammarError;

/// One value of `--ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaSource {
    /// A PEM file with one certificate or several.
    File(PathBuf),
    /// `system:NAME`: the one root of this name in the host's trust store.
    Named(String),
    /// `system`: the host's whole trust store.
    Whole,
}

impl FromStr for CaSource {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        match text.strip_prefix("system:").map(str::trim) {
            Some("") => Err(GrammarError::new("the name is missing: 'system:ISRG Root X1'")),
            Some(name) => Ok(CaSource::Named(name.to_owned())),
            None if text == "system" => Ok(CaSource::Whole),
            None if text.is_empty() => Err(GrammarError::new("the file is missing")),
            None => Ok(CaSource::File(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for CaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaSource::File(path) => write!(f, "{}", path.display()),
            CaSource::Named(name) => write!(f, "system:{name}"),
            CaSource::Whole => f.write_str("system"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_system_is_not_a_file() {
        assert_eq!("system:ISRG Root X1".parse(), Ok(CaSource::Named("ISRG Root X1".to_owned())));
        assert_eq!("system".parse(), Ok(CaSource::Whole));
        assert_eq!("./system".parse(), Ok(CaSource::File("./system".into())));
        assert_eq!("ca.pem".parse(), Ok(CaSource::File("ca.pem".into())));
        assert!("system:".parse::<CaSource>().is_err());
        assert!("".parse::<CaSource>().is_err());
    }
}
