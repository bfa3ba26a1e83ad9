//! Sets of socket or SSL context numbers as users type them: `0-5,7`.

use super::GrammarError;
use qssl_core::at::{IdSet, SOCKET_COUNT, SSL_CONTEXT_COUNT};

/// Reads the value of `--sockets`: numbers 0–11.
///
/// # Errors
/// Reports what is wrong with the set, or which number no module has.
pub fn sockets(text: &str) -> Result<IdSet, GrammarError> {
    parse(text, SOCKET_COUNT)
}

/// Reads the value of `--ssl-contexts`: numbers 0–5.
///
/// # Errors
/// As [`sockets`].
pub fn ssl_contexts(text: &str) -> Result<IdSet, GrammarError> {
    parse(text, SSL_CONTEXT_COUNT)
}

/// Writes a set so that it can be read again; neighbours become ranges.
pub fn format(set: IdSet) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in (0..16).filter(|number| set.contains(*number)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

fn parse(text: &str, count: usize) -> Result<IdSet, GrammarError> {
    let mut set = IdSet::empty();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first, count)?, number(last, count)?);
        if first > last {
            return Err(GrammarError::new(format!("{part} runs backwards: write {last}-{first}")));
        }
        (first..=last).for_each(|number| set.insert(number));
    }
    Ok(set)
}

fn number(text: &str, count: usize) -> Result<usize, GrammarError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(GrammarError::new("not a set of numbers: write it as 0-5,7"));
    }
    let number = text.parse::<usize>().ok().filter(|number| *number < count);
    number.ok_or_else(|| GrammarError::new(format!("{text} is out of range: numbers are 0-{}", count - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_single_numbers_add_up() {
        let set = sockets("0-5,7").expect("a set");
        assert_eq!((0..16).filter(|n| set.contains(*n)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 7]);
        assert_eq!((0..16).filter(|n| sockets("3").expect("a set").contains(*n)).collect::<Vec<_>>(), [3]);
        assert_eq!(sockets("0-11").expect("a set"), IdSet::first(SOCKET_COUNT));
    }

    #[test]
    fn what_no_module_has_is_refused() {
        for text in
            ["12", "0-12", "", ",", "1,", "-1", "5-3", "1-2-3", "a", "0 - 5", "99999999999999999999", "+1"]
        {
            assert!(sockets(text).is_err(), "{text:?}");
        }
        assert!(ssl_contexts("6").is_err());
        assert!(ssl_contexts("5").is_ok());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0-11", "0-5,7", "0,2,4", "11", "0-1"] {
            assert_eq!(format(sockets(text).expect("a set")), text);
        }
    }
}
