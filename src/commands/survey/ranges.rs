//! The ranges that test commands list: `(0-4)`, `(0,1)`.

use std::ops::RangeInclusive;

/// The numbers in one pair of brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(Vec<RangeInclusive<u32>>);

impl Group {
    /// Reads what is between the brackets; `None` if something in it is no number, or it is empty.
    fn parse(text: &str) -> Option<Group> {
        let number = |text: &str| text.trim().parse::<u32>().ok();
        let part = |part: &str| match part.split_once('-') {
            Some((first, last)) => Some(number(first)?..=number(last)?),
            None => number(part).map(|only| only..=only),
        };
        text.split(',').map(part).collect::<Option<Vec<_>>>().map(Group)
    }

    /// The least number.
    pub fn least(&self) -> u32 {
        self.0.iter().map(|range| *range.start()).min().unwrap_or(0)
    }

    /// The greatest number.
    pub fn greatest(&self) -> u32 {
        self.0.iter().map(|range| *range.end()).max().unwrap_or(0)
    }

    /// Whether the number is one of them.
    pub fn contains(&self, number: u32) -> bool {
        self.0.iter().any(|range| range.contains(&number))
    }
}

/// All pairs of brackets with numbers in a line. Others are left out.
pub fn groups(line: &str) -> Vec<Group> {
    let inside = line.split('(').skip(1).filter_map(|part| part.split_once(')'));
    inside.filter_map(|(inside, _)| Group::parse(inside)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists_are_read_and_words_are_left_out() {
        let found = groups("+QSSLOPEN: (1-16),(0-5),(0,2),<serveraddr>,(<port>)[,(0-2)]");
        assert_eq!(found.iter().map(Group::greatest).collect::<Vec<_>>(), [16, 5, 2, 2]);
        assert_eq!(found[0].least(), 1);
        assert!(!found[2].contains(1) && found[3].contains(1));
        assert!(groups("+X: (").is_empty() && groups("+X: ()").is_empty());
    }
}
