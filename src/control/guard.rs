//! Which commands from outside would break a tunnel, and which carry secrets.
//!
//! The judgement is by name, and on the safe side: what only asks is let through, what sets something that the
//! tunnels rely on is refused unless forced.

use crate::at::IdSet;
use crate::control::COMMAND_LIMIT_BYTES;

/// Why this line must not reach the modem, forced or not.
///
/// # Errors
/// In words, to follow the line itself.
pub fn check_line(line: &str) -> Result<(), &'static str> {
    if line.len() > COMMAND_LIMIT_BYTES {
        Err("is longer than 512 bytes")
    } else if !line.bytes().all(|byte| (0x20..0x7F).contains(&byte)) {
        Err("has something else in it than printable ASCII; one command, no line break")
    } else if !line.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("AT")) {
        Err("does not begin with AT")
    } else {
        Ok(())
    }
}

/// What this line would break, in words that follow the line; `None` if nothing. `sockets` and `ssl_contexts`
/// are the daemon's own.
pub fn harm(line: &str, sockets: IdSet, ssl_contexts: IdSet) -> Option<&'static str> {
    commands(line).find_map(|command| harm_of(&command, sockets, ssl_contexts))
}

/// Whether a PIN, a password or a key may be in this line or in its answer.
pub fn is_secret(line: &str) -> bool {
    let secret_key = |arguments: &str| {
        let arguments = arguments.to_ascii_lowercase();
        arguments.starts_with("\"psk\"") || arguments.starts_with("\"clientkey\"")
    };
    commands(line).any(|command| match command.name.as_str() {
        "+CPIN" | "+CLCK" | "+CPWD" | "+QICSGP" | "+CGAUTH" | "+QPIN" | "+CPINR" => command.form != Form::Ask,
        "+QSSLCFG" => secret_key(command.arguments),
        _ => false,
    })
}

/// Whether this line opens a connection whose result comes as a URC.
pub fn opens(line: &str) -> bool {
    commands(line)
        .any(|command| command.form == Form::Set && matches!(command.name.as_str(), "+QIOPEN" | "+QSSLOPEN"))
}

/// One command of a line.
#[derive(Debug)]
struct Command<'a> {
    /// In capitals, with its `+`; of a basic command the whole text.
    name: String,
    form: Form,
    /// Behind the `=`.
    arguments: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `AT+X?` and `AT+X=?`
    Ask,
    /// `AT+X=…`
    Set,
    /// `AT+X` and every basic command
    Do,
}

/// The commands of a line: `AT+A=1;+B?` has two.
fn commands(line: &str) -> impl Iterator<Item = Command<'_>> {
    let rest = line.get(2..).unwrap_or("");
    let mut quoted = false;
    let split = move |c: char| {
        quoted ^= c == '"';
        c == ';' && !quoted
    };
    rest.split(split).map(|text| {
        let text = text.trim();
        let extended = text.starts_with(['+', '$', '^', '%']);
        let end = if extended { text.find(['=', '?']).unwrap_or(text.len()) } else { text.len() };
        let (name, behind) = text.split_at(end);
        let (form, arguments) = match behind.strip_prefix('=') {
            Some("?") => (Form::Ask, ""),
            Some(arguments) => (Form::Set, arguments.trim()),
            None if behind.starts_with('?') => (Form::Ask, ""),
            None => (Form::Do, ""),
        };
        Command { name: name.trim().to_ascii_uppercase(), form, arguments }
    })
}

fn harm_of(command: &Command<'_>, sockets: IdSet, ssl_contexts: IdSet) -> Option<&'static str> {
    if command.form == Form::Ask {
        return None;
    }
    let number = |position: usize| {
        let field = command.arguments.split(',').nth(position)?;
        field.trim().trim_matches('"').parse::<usize>().ok()
    };
    let sets = command.form == Form::Set;
    match command.name.as_str() {
        "" | "I" | "E0" | "&V" => None,
        name if !name.starts_with(['+', '$', '^', '%']) => {
            Some("changes how the modem talks, or dials, hangs up or resets")
        }
        "+CFUN" | "+QPOWD" | "+QRST" | "+QFASTBOOT" => Some("would cut every connection"),
        "+COPS" | "+CGATT" | "+CGACT" | "+QIACT" | "+QIDEACT" | "+CGDCONT" | "+QICSGP" | "+QNETDEVCTL"
            if sets || command.name == "+QIDEACT" =>
        {
            Some("changes the data session that carries the connections")
        }
        "+IPR" | "+IFC" | "+ICF" | "+CMUX" | "+QURCCFG" | "+QICFG" | "+CMEE" | "+QSCLK" | "+QCFG" if sets => {
            Some("changes how the modem talks")
        }
        "+QISWTMD" | "+QSSLSEND" | "+QSSLRECV" | "+QSSLCLOSE"
            if number(0).is_none_or(|socket| sockets.contains(socket)) =>
        {
            Some("is about a connection of the tunnels")
        }
        "+QSSLOPEN" if number(2).is_none_or(|socket| sockets.contains(socket)) => {
            Some("would take a connection of the tunnels")
        }
        "+QSSLCFG" if command.arguments.split(',').count() > 2 => {
            let theirs = number(1).is_none_or(|context| ssl_contexts.contains(context));
            theirs.then_some("changes TLS settings of the tunnels")
        }
        "+QFUPL" | "+QFDWL" | "+QFREAD" | "+QFWRITE" | "+QISEND" | "+CMGS" | "+CMGW" | "+QSMTPBODY"
        | "+QHTTPURL" | "+QHTTPPOST" | "+QMTPUB"
            if sets =>
        {
            Some("moves data that is no text; see qssl-tunnel cert for files")
        }
        "+QFDEL" => Some("may delete certificates of the tunnels"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_harmful(line: &str) -> bool {
        let mut sockets = IdSet::first(4);
        let _ = &mut sockets;
        harm(line, sockets, IdSet::first(2)).is_some()
    }

    #[test]
    fn what_only_asks_is_let_through() {
        for line in [
            "AT",
            "ATI",
            "at+csq",
            "AT+CSQ",
            "AT+COPS?",
            "AT+CFUN?",
            "AT+CFUN=?",
            "AT+QIACT?",
            "AT+QSSLSTATE",
            "AT+QSSLSTATE=1",
            "AT+QSSLCFG=\"sni\",0",
            "AT+QFLST=\"*\"",
            "AT+QIGETERROR",
            "AT+CSQ;+COPS?",
            "AT+CPIN?",
            "AT+QPING=1,\"example.org\"",
        ] {
            assert!(!is_harmful(line), "{line}");
        }
    }

    #[test]
    fn what_would_break_a_tunnel_is_held_back() {
        for line in [
            "AT+CFUN=0",
            "AT+CFUN=1,1",
            "at+cfun=1,1",
            "AT+QIDEACT=1",
            "AT+QIDEACT",
            "ATZ",
            "AT&F",
            "AT+QPOWD",
            "AT+IPR=9600",
            "AT+IFC=0,0",
            "ATE1",
            "ATE",
            "ATH",
            "ATO",
            "ATD*99#",
            "AT+CSQ;+CFUN=0",
            "AT+CSQ; +CFUN = 0",
            "AT+QSSLCLOSE=3",
            "AT+QSSLCLOSE=x",
            "AT+QSSLSEND=0,4",
            "AT+QSSLOPEN=1,1,2,\"a\",1,0",
            "AT+QISWTMD=0,2",
            "AT+QSSLCFG=\"seclevel\",1,0",
            "AT+CMEE=0",
            "AT+QFDEL=\"*\"",
            "AT+QFUPL=\"a\",4",
            "AT+COPS=2",
            "AT+QICSGP=1,1,\"x\"",
            "AT+QURCCFG=\"urcport\",\"uart1\"",
            "AT+CMUX=0",
        ] {
            assert!(is_harmful(line), "{line}");
        }
    }

    #[test]
    fn what_is_not_ours_may_be_used() {
        for line in [
            "AT+QSSLCLOSE=4",
            "AT+QSSLOPEN=1,2,5,\"a\",1,0",
            "AT+QSSLCFG=\"seclevel\",2,0",
            "AT+QISWTMD=11,0",
        ] {
            assert!(!is_harmful(line), "{line}");
        }
    }

    #[test]
    fn a_separator_in_quotes_separates_nothing() {
        assert!(!is_harmful("AT+QPING=1,\"a;+CFUN=0\""));
        assert!(is_harmful("AT+QPING=1,\"a\";+CFUN=0"));
    }

    #[test]
    fn only_one_line_of_text_goes_through() {
        for bad in ["", "A", "A/", "+++", "CSQ", "AT\r", "AT+CSQ\nAT+CFUN=0", "AT\0", "ATé", "AT\x1a"] {
            assert!(check_line(bad).is_err(), "{bad:?}");
        }
        assert!(check_line(&format!("AT{}", "1".repeat(511))).is_err());
        assert_eq!(check_line("at+csq"), Ok(()));
    }

    #[test]
    fn opens_are_known_by_name() {
        assert!(opens("AT+QIOPEN=1,11,\"TCP\",\"a\",80") && opens("at+qsslopen=1,1,4,\"a\",443,1"));
        assert!(!opens("AT+QIOPEN?") && !opens("AT+QICLOSE=11"));
    }

    #[test]
    fn secrets_are_known_by_name() {
        for line in [
            "AT+CPIN=\"1234\"",
            "at+cpin=1234",
            "AT+QICSGP=1,1,\"a\",\"u\",\"p\",1",
            "AT+QICSGP=1",
            "AT+QSSLCFG=\"psk\",0,\"a\",\"b\"",
            "AT+QSSLCFG=\"PSK\",0",
            "AT+CSQ;+CPIN=\"1234\"",
        ] {
            assert!(is_secret(line), "{line}");
        }
        for line in ["AT+CPIN?", "AT+CSQ", "AT+QSSLCFG=\"sni\",0,1"] {
            assert!(!is_secret(line), "{line}");
        }
    }
}
