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
    verdict: Verdict,
    /// Whether the module differs from its manual.
    is_difference: bool,
}

/// Whether the tunnel copes with what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Copes,
    DoesNot,
    /// What came shows nothing about it.
    Unknown,
}

impl From<bool> for Verdict {
    fn from(copes: bool) -> Self {
        if copes { Verdict::Copes } else { Verdict::DoesNot }
    }
}

impl Comparison {
    /// Adds a difference: what the manual says, what the tunnel does about it, what was measured.
    pub fn add(
        &mut self,
        what: &str,
        manual: impl Into<String>,
        tunnel: impl Into<String>,
        measured: impl Into<String>,
        verdict: impl Into<Verdict>,
    ) {
        self.row(what, manual, tunnel, measured, verdict);
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
        verdict: impl Into<Verdict>,
    ) {
        let columns = [what.to_owned(), manual.into(), tunnel.into(), measured.into()];
        let verdict = verdict.into();
        self.rows.push(Row { columns, verdict, is_difference: verdict == Verdict::DoesNot });
    }

    /// Writes the table and its summary.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let differences: Vec<&Row> = self.rows.iter().filter(|row| row.is_difference).collect();
        let head = ["what", "manual", "tunnel", "measured", "copes"].map(str::to_owned);
        let rows =
            self.rows.iter().map(|Row { columns: [what, manual, tunnel, measured], verdict, .. }| {
                let copes = match verdict {
                    Verdict::Copes => "yes",
                    Verdict::DoesNot => "no",
                    Verdict::Unknown => "unknown",
                };
                // A gap in a table reads like a mistake.
                let filled = |text: &str| if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() };
                [what, manual, tunnel, measured, copes].map(filled)
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
        let missed = differences.iter().filter(|row| row.verdict == Verdict::DoesNot).count();
        let count = qssl_core::counted(differences.len(), "difference");
        match missed {
            0 => writeln!(out, "{count} from the manual; the tunnel copes with all"),
            missed => writeln!(out, "{count} from the manual; the tunnel does not cope with {missed}"),
        }
    }
}

/// What stands where the manual or the tunnel has nothing to say.
const NOTHING: &str = "-";

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
        comparison.row("y", "", "", "came to nothing", Verdict::Unknown);
        assert_eq!(
            shown(&comparison),
            "what        manual    tunnel      measured         copes\n\
             send_bytes  1460      asks        1024             yes\n\
             x           as it is  assumes it  \\x1b[1m          no\n\
             y           -         -           came to nothing  unknown\n\
             2 differences from the manual; the tunnel does not cope with 1\n"
        );
    }
}
