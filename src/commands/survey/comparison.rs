//! The table at the end of a survey: what was measured, and where the module differs from the manual.

use std::io::{self, Write};

use crate::daemon::status::columns;

/// The rows so far.
#[derive(Debug, Default)]
pub struct Comparison {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// What it is about, manual, tunnel, measured.
    columns: [String; 4],
    copes: bool,
    /// Whether the module differs from its manual.
    is_difference: bool,
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
        self.row(what, manual, tunnel, measured, copes);
        if let Some(row) = self.rows.last_mut() {
            row.is_difference = true;
        }
    }

    /// Adds what was measured, whether or not the manual says the same.
    pub fn row(
        &mut self,
        what: &str,
        manual: impl Into<String>,
        tunnel: impl Into<String>,
        measured: impl Into<String>,
        copes: bool,
    ) {
        let columns = [what.to_owned(), manual.into(), tunnel.into(), measured.into()];
        self.rows.push(Row { columns, copes, is_difference: !copes });
    }

    /// Writes the table and its summary.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let differences: Vec<&Row> = self.rows.iter().filter(|row| row.is_difference).collect();
        let head = ["", "manual", "tunnel", "measured", "copes"].map(str::to_owned);
        let rows =
            self.rows.iter().map(|Row { columns: [what, manual, tunnel, measured], copes, .. }| {
                let copes = if *copes { "yes" } else { "no" };
                [what, manual, tunnel, measured, &copes.to_owned()].map(String::clone)
            });
        let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
        if rows.len() > 1 {
            for line in columns(&rows, &[]) {
                writeln!(out, "{line}")?;
            }
        }
        if differences.is_empty() {
            return writeln!(out, "nothing that was measured differs from the manual");
        }
        let missed = differences.iter().filter(|row| !row.copes).count();
        let count = qssl_core::counted(differences.len(), "difference");
        match missed {
            0 => writeln!(out, "{count} to the manual; the tunnel copes with all"),
            missed => writeln!(out, "{count} to the manual; the tunnel does not cope with {missed}"),
        }
    }
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
