//! Suggestions for misspelt words.

/// The name that `text` was probably meant to be, if one is similar enough.
pub(crate) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::normalized_damerau_levenshtein(text, name), name))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// From 0 (nothing in common) to 1 (the same). Below this a guess would be noise.
const LEAST_LIKENESS: f64 = 0.6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_nonsense_is_not() {
        let names = ["device", "baud", "flow-control"];
        assert_eq!(nearest("devcie", names.into_iter()), Some("device"));
        assert_eq!(nearest("flow_control", names.into_iter()), Some("flow-control"));
        assert_eq!(nearest("colour", names.into_iter()), None);
        assert_eq!(nearest("", names.into_iter()), None);
    }
}
