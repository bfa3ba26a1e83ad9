//! The value of `--control`: `PATH[,mode=0660][,owner=NAME][,group=NAME]`, or `none`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::{Control, GrammarError, Listen};

impl FromStr for Control {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        if text == "none" {
            return Ok(Control::Off);
        }
        let text = text.strip_prefix("unix:").unwrap_or(text);
        // A word without a slash is more likely a mistake than a path.
        if !text.contains('/') {
            return Err(GrammarError::new(
                "a control socket is /path or ./path, then [,mode=0660][,owner=NAME][,group=NAME], or none",
            ));
        }
        format!("unix:{text}").parse().map(Control::At)
    }
}

impl Control {
    /// The socket to listen on. `default_path` is used where no path is configured; `None` means no default.
    /// Without `mode=`, only the owner may use the socket, and the group if there is a `group=`.
    pub fn listen(&self, default_path: Option<&Path>) -> Option<Listen> {
        let listen = match self {
            Control::Off => return None,
            Control::At(listen) => listen.clone(),
            Control::Default => {
                Listen::Unix { path: default_path?.to_owned(), mode: None, owner: None, group: None }
            }
        };
        Some(match listen {
            Listen::Unix { path, mode, owner, group } => {
                let usual = if group.is_some() { 0o660 } else { 0o600 };
                Listen::Unix { path, mode: mode.or(Some(usual)), owner, group }
            }
            other => other,
        })
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Control::Off => f.write_str("none"),
            Control::Default => Ok(()),
            Control::At(listen) => {
                let text = listen.to_string();
                f.write_str(text.strip_prefix("unix:").unwrap_or(&text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_private_unless_it_has_a_group() {
        let mode = |text: &str| match text.parse::<Control>().unwrap().listen(None) {
            Some(Listen::Unix { mode, .. }) => mode,
            other => panic!("{other:?}"),
        };
        assert_eq!(mode("/run/x"), Some(0o600));
        assert_eq!(mode("/run/x,group=adm"), Some(0o660));
        assert_eq!(mode("unix:/run/x,mode=0666"), Some(0o666));
        assert_eq!("none".parse::<Control>().unwrap().listen(Some(Path::new("/run/d"))), None);
        let default = Control::Default.listen(Some(Path::new("/run/d")));
        assert!(matches!(default, Some(Listen::Unix { path, .. }) if path == Path::new("/run/d")));
        assert_eq!(Control::Default.listen(None), None);
    }

    #[test]
    fn a_socket_is_written_as_it_was_typed() {
        for text in ["none", "/run/x", "./x", "run/x", "/run/x,mode=0660,group=adm"] {
            assert_eq!(text.parse::<Control>().unwrap().to_string(), text);
        }
        for text in ["", "8443", "relative", "unix:relative", "/run/x,colour=red", "127.0.0.1:1"] {
            assert!(text.parse::<Control>().is_err(), "{text}");
        }
    }
}
