//! The table at the end of a survey: where the module differs from the manual.

use std::io::{self, Write};

use crate::terminal::printable;

/// The differences so far.
#[derive(Debug, Default)]
pub struct Comparison {
    differences: Vec<Difference>,
}

#[derive(Debug)]
struct Difference {
    /// What differs, manual, tunnel, measured.
    columns: [String; 4],
    copes: bool,
}

impl Comparison {
    /// Adds a difference: what the manual says, what the tunnel does about it, what was measured.
    pub fn add(
        &mut self,
        what: &str,
        manual: impl Into<String>,
        tunnel: impl Into<String>,
        measured: impl Into<String>,
        copes: bool,
    ) {
        let columns = [what.to_owned(), manual.into(), tunnel.into(), measured.into()];
        self.differences.push(Difference { columns, copes });
    }

    /// Writes the table and its summary.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.differences.is_empty() {
            return writeln!(out, "nothing that was measured differs from the manual");
        }
        let head = ["", "manual", "tunnel", "measured"].map(str::to_owned);
        let rows: Vec<[String; 4]> = std::iter::once(&head)
            .chain(self.differences.iter().map(|it| &it.columns))
            .map(|columns| columns.each_ref().map(|text| printable(text).into_owned()))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3].map(width);
        let copes = std::iter::once("copes").chain(self.differences.iter().map(|it| yes_or_no(it.copes)));
        for (row, copes) in rows.iter().zip(copes) {
            for (text, width) in row.iter().zip(widths) {
                write!(out, "{text:width$}  ")?;
            }
            writeln!(out, "{copes}")?;
        }
        let missed = self.differences.iter().filter(|it| !it.copes).count();
        let count = qssl_core::counted(self.differences.len(), "difference");
        match missed {
            0 => writeln!(out, "{count} to the manual; the tunnel copes with all"),
            missed => writeln!(out, "{count} to the manual; the tunnel does not cope with {missed}"),
        }
    }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(comparison: &Comparison) -> String {
        let mut out = Vec::new();
        comparison.show(&mut out).expect("a vector takes every write");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_columns_are_aligned_and_the_last_line_sums_up() {
        let mut comparison = Comparison::default();
        assert_eq!(shown(&comparison), "nothing that was measured differs from the manual\n");
        comparison.add("send_bytes", "1460", "asks", "1024", true);
        comparison.add("x", "as it is", "assumes it", "\x1b[1m", false);
        assert_eq!(
            shown(&comparison),
            "            manual    tunnel      measured  copes\n\
             send_bytes  1460      asks        1024      yes\n\
             x           as it is  assumes it  \\x1b[1m   no\n\
             2 differences to the manual; the tunnel does not cope with 1\n"
        );
    }
}
