//! The fields of an information line: `"text",12,,0X0035` one after another.

use std::str::FromStr;

/// Splits what follows `+NAME: ` into its comma-separated fields.
pub(crate) fn fields(text: &str) -> Fields<'_> {
    Fields { rest: Some(text) }
}

/// The fields of a line, in order; a quoted field comes without its quotes and may contain commas.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?.trim_start_matches(' ');
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            self.rest = after.split_once(',').map(|(_, rest)| rest);
            Some(text)
        } else {
            let (field, rest) = match rest.split_once(',') {
                Some((field, rest)) => (field, Some(rest)),
                None => (rest, None),
            };
            self.rest = rest;
            Some(field.trim_end_matches(' '))
        }
    }
}

impl<'a> Fields<'a> {
    /// The next field as a number, if it is one that fits.
    pub fn number<T: FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    /// What has not been split yet.
    pub fn rest(&self) -> Option<&'a str> {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_may_contain_commas_and_empty_ones_count() {
        let all: Vec<_> = fields(r#"4,"a,b",, 7 ,"x""#).collect();
        assert_eq!(all, ["4", "a,b", "", "7", "x"]);
        assert_eq!(fields("").collect::<Vec<_>>(), [""]);
        assert_eq!(fields("\"open").collect::<Vec<_>>(), ["open"]);
    }

    #[test]
    fn a_number_that_does_not_fit_is_none() {
        assert_eq!(fields("256").number::<u8>(), None);
        assert_eq!(fields("-1").number::<u8>(), None);
        assert_eq!(fields("255").number::<u8>(), Some(255));
    }
}
