//! Which commands of users may reach the modem, with or without tunnels, and which contain secrets.
//!
//! Only commands that are known to be queries are allowed; everything else needs `--force`. Each command of a line is
//! checked by itself, and a line that can be parsed in more than one way is refused.

use qssl_core::at;

use crate::daemon::control::COMMAND_LIMIT_BYTES;

/// Checks that this line may reach the modem at all, forced or not.
///
/// # Errors
/// The reason, in words that follow the line.
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

/// What this line would break or may break, in words that follow the line; `None` if it is only a query.
pub fn harm(line: &str) -> Option<&'static str> {
    if line.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        return Some("has a quote that is not closed");
    }
    if line.split('"').skip(1).step_by(2).any(|quoted| quoted.contains(';')) {
        return Some("has a semicolon in quotes, which some modules take for the end of a command");
    }
    commands(line).find_map(|command| command.harm())
}

/// Why this line is not sent without `--force`, in words for the user; `None` if it is only a query. The rule
/// is the same with and without a daemon, so that a line has the same effect in both cases.
pub fn refusal(line: &str) -> Option<String> {
    harm(line).map(|harm| format!("{} {harm}: --force sends it all the same", shown(line)))
}

/// Whether a PIN, a password or a key may be in this line or in its answer.
pub fn is_secret(line: &str) -> bool {
    let secret_key = |arguments: &str| {
        let arguments = arguments.to_ascii_lowercase();
        ["psk", "clientkey"].iter().any(|key| arguments.trim_start_matches(['"', ' ']).starts_with(key))
    };
    commands(line).any(|command| match command.name.as_str() {
        "+CPIN" | "+CLCK" | "+CPWD" | "+QICSGP" | "+CGAUTH" | "+QPIN" | "+CPINR" => command.form != Form::Ask,
        "+QSSLCFG" => secret_key(&command.arguments),
        _ => false,
    })
}

/// The line with possible secrets masked.
pub fn shown(line: &str) -> String {
    match is_secret(line) {
        true => at::Command::secret_line(line).to_string(),
        false => line.to_owned(),
    }
}

/// Whether this line opens a connection whose result comes as a URC.
pub fn opens(line: &str) -> bool {
    commands(line)
        .any(|command| command.form == Form::Set && matches!(command.name.as_str(), "+QIOPEN" | "+QSSLOPEN"))
}

/// One command of a line.
#[derive(Debug)]
struct Command {
    /// In capitals, with its `+`; the whole text of a basic command.
    name: String,
    form: Form,
    /// What follows the `=`.
    arguments: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `AT+X?`
    Ask,
    /// `AT+X=?`
    Test,
    /// `AT+X=…`
    Set,
    /// `AT+X` and every basic command
    Do,
    /// Something else
    Odd,
}

/// The commands of a line: `AT+A=1;+B?` has two. Spaces outside quotes have no meaning (V.250, 5.2.1).
fn commands(line: &str) -> impl Iterator<Item = Command> + '_ {
    line.get(2..).unwrap_or("").split(';').map(|text| {
        let mut quoted = false;
        let text: String = text
            .chars()
            .filter(|c| {
                quoted ^= *c == '"';
                quoted || *c != ' '
            })
            .collect();
        let extended = text.starts_with(['+', '$', '^', '%', '*', '#']);
        let end = if extended { text.find(['=', '?']).unwrap_or(text.len()) } else { text.len() };
        let (name, rest) = text.split_at(end);
        let (form, arguments) = match rest.strip_prefix('=') {
            Some("?") => (Form::Test, ""),
            Some(arguments) => (Form::Set, arguments),
            None if rest == "?" => (Form::Ask, ""),
            None if rest.is_empty() => (Form::Do, ""),
            None => (Form::Odd, rest),
        };
        Command { name: name.to_ascii_uppercase(), form, arguments: arguments.to_owned() }
    })
}

impl Command {
    fn harm(&self) -> Option<&'static str> {
        let name = self.name.as_str();
        let is_plain = name
            .get(1..)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let asks = match self.form {
            Form::Do if !name.starts_with('+') => return self.basic(),
            // These two search all networks for minutes, and block the connections in the meantime.
            Form::Test => is_plain && !matches!(name, "+COPS" | "+QCOPS"),
            Form::Ask => is_plain,
            Form::Do => ASKING_ALONE.contains(&name),
            Form::Set => match ASKING_WITH.iter().find(|(known, _)| *known == name) {
                Some((_, most)) => fields(&self.arguments).is_some_and(|count| count <= *most),
                None => false,
            },
            Form::Odd => false,
        };
        if asks {
            return None;
        }
        Some(match name {
            "+CFUN" | "+QPOWD" | "+QRST" | "+QFASTBOOT" => "would cut every connection",
            "+COPS" | "+CGATT" | "+CGACT" | "+QIACT" | "+QIDEACT" | "+CGDCONT" | "+QICSGP"
            | "+QNETDEVCTL" => "changes the data session that carries the connections",
            "+IPR" | "+IFC" | "+ICF" | "+CMUX" | "+QURCCFG" | "+QICFG" | "+CMEE" | "+QSCLK" | "+QCFG" => {
                "changes how the modem answers"
            }
            "+QISWTMD" | "+QSSLSEND" | "+QSSLRECV" | "+QSSLCLOSE" | "+QSSLOPEN" => {
                "may be about a connection of the tunnels"
            }
            "+QSSLCFG" => "may change TLS settings of the tunnels",
            "+QFUPL" | "+QFDWL" | "+QFREAD" | "+QFWRITE" | "+QFOPEN" | "+QISEND" | "+CMGS" | "+CMGW"
            | "+QSMTPBODY" | "+QHTTPURL" | "+QHTTPPOST" | "+QMTPUB" => {
                "moves data that is not text; see qssl-tunnel cert for files"
            }
            "+QFDEL" => "may delete certificates of the tunnels",
            "+CPIN" | "+CLCK" | "+CPWD" => "can lock the SIM",
            _ => "is not known to be a mere query",
        })
    }

    /// A basic command, or several of them, which follow one another without a separator.
    fn basic(&self) -> Option<&'static str> {
        match self.name.as_str() {
            "" | "I" | "I0" | "E0" | "&V" => None,
            _ => Some("changes how the modem answers, or dials, hangs up or resets"),
        }
    }
}

/// The number of fields in these arguments; `None` if one is neither a number nor a text in quotes.
fn fields(arguments: &str) -> Option<usize> {
    let mut quoted = false;
    let parts = arguments.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    let mut count = 0;
    for part in parts {
        let inner = part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let is_text = inner.is_some_and(|inner| !inner.contains('"'));
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_text && !is_number {
            return None;
        }
        count += 1;
    }
    Some(count)
}

/// Commands that are queries without a question mark.
const ASKING_ALONE: [&str; 34] = [
    "+CBC",
    "+CCID",
    "+CEER",
    "+CGCONTRDP",
    "+CGMI",
    "+CGMM",
    "+CGMR",
    "+CGPADDR",
    "+CGSN",
    "+CIMI",
    "+CLAC",
    "+CNUM",
    "+CPAS",
    "+CPINR",
    "+CSQ",
    "+GMI",
    "+GMM",
    "+GMR",
    "+GSN",
    "+ICCID",
    "+QCCID",
    "+QCSQ",
    "+QFLDS",
    "+QFLST",
    "+QGMR",
    "+QICCID",
    "+QIGETERROR",
    "+QISTATE",
    "+QLTS",
    "+QNWINFO",
    "+QPINC",
    "+QSPN",
    "+QSSLSTATE",
    "+QTEMP",
];

/// Commands that are queries with at most this many arguments; with more they may change something.
const ASKING_WITH: [(&str, usize); 18] = [
    ("+CGCONTRDP", 1),
    ("+CGPADDR", 1),
    ("+CPINR", 1),
    ("+QCFG", 1),
    ("+QENG", 1),
    ("+QFLDS", 1),
    ("+QFLST", 1),
    ("+QICFG", 1),
    ("+QICSGP", 1),
    ("+QIDNSCFG", 1),
    ("+QIDNSGIP", 2),
    ("+QISTATE", 2),
    ("+QLTS", 1),
    ("+QPINC", 1),
    ("+QPING", 4),
    ("+QSSLCFG", 2),
    ("+QSSLSTATE", 2),
    ("+QURCCFG", 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn is_harmful(line: &str) -> bool {
        harm(line).is_some()
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
            "AT+QSSLCFG=\"cacertex\",5",
            "AT+QFLST=\"*\"",
            "AT+QIGETERROR",
            "AT+CSQ;+COPS?",
            "AT+CPIN?",
            "AT+CPINR",
            "AT+QPINC=\"SC\"",
            "AT+QPING=1,\"example.org\"",
            "AT+NONSENSE?",
        ] {
            assert!(!is_harmful(line), "{line}");
        }
    }

    #[test]
    fn what_is_not_known_to_ask_only_is_held_back() {
        for line in [
            "AT+CFUN=0",
            "AT+CFUN=1,1",
            "at+cfun=1,1",
            "AT+CFUN?=0",
            "AT+QIDEACT=1",
            "AT+QIDEACT",
            "ATZ",
            "AT&F",
            "AT+QPOWD",
            "AT+IPR=9600",
            "AT+IFC=0,0",
            "ATE1",
            "ATE",
            "ATE0Z",
            "ATI+CFUN=0",
            "ATH",
            "ATO",
            "ATD*99#",
            "AT+CSQ;+CFUN=0",
            "AT+CSQ; +CFUN = 0",
            "AT+CSQ;;+CFUN=0",
            "AT+QSSLCLOSE=3",
            "AT+QSSLCLOSE=x",
            "AT+QSSLSEND=0,4",
            "AT+QSSLSEND=10",
            "AT+QSSLOPEN=1,1,2,\"a\",1,0",
            "AT+QISWTMD=0,2",
            "AT+QSSLCFG=\"seclevel\",1,0",
            "AT+QSSLCFG=\"seclevel\",5,0",
            "AT+QSSLCFG=\"cacertex\",5,\"UFS:theirs.pem\"",
            "AT+QSSLCFG=\"cacertex\",5,",
            "AT+CMEE=0",
            "AT+QFDEL=\"*\"",
            "AT+QFUPL=\"a\",4",
            "AT+QFOPEN=\"qt-0.pem\",1",
            "AT+COPS=2",
            "AT+COPS=?",
            "AT+QICSGP=1,1,\"x\"",
            "AT+QURCCFG=\"urcport\",\"uart1\"",
            "AT+CMUX=0",
            "AT+CLCK=\"SC\",1,\"1234\"",
            "AT+CPIN=\"1234\"",
            "AT+NONSENSE",
            "AT+NONSENSE=1",
            "AT^RESET",
            "AT$QCRMCALL=1,1",
        ] {
            assert!(is_harmful(line), "{line}");
        }
    }

    #[test]
    fn quotes_hide_nothing() {
        for line in [
            "AT+QPING=1,\"a;+CFUN=0",
            "AT+QPING=1,\"a;+CFUN=0\"",
            "AT+QPING=1,\"a\";+CFUN=0",
            "AT+QPING=1,\"a\"\";+CFUN=0\"",
            "AT+CSQ\";+CFUN=0;\"",
            "AT+QFLST=\"*\"x",
            "AT\"+CFUN=0\"",
        ] {
            assert!(is_harmful(line), "{line}");
        }
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
            "AT+CSQ\";+CPIN=\"1234\"",
        ] {
            assert!(is_secret(line), "{line}");
        }
        for line in ["AT+CPIN?", "AT+CSQ", "AT+QSSLCFG=\"sni\",0,1"] {
            assert!(!is_secret(line), "{line}");
        }
    }
}
