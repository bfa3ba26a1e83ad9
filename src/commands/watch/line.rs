//! One line of a screen: pieces in ink, cut at its last column.

use crate::terminal::{columns_of, columns_of_one, printable, shown};

/// What the screen can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its width.
    pub columns: usize,
    /// Its height.
    pub rows: usize,
    /// Whether it has characters beyond ASCII.
    pub unicode: bool,
    /// Whether it has colours.
    pub colour: bool,
}

/// How a piece looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// As any text.
    Plain,
    /// What needs no attention.
    Dim,
    /// What stands out.
    Strong,
    /// The head of a table.
    Head,
    /// A key.
    Key,
    /// Bytes up.
    Up,
    /// Bytes down.
    Down,
    /// As it should be.
    Good,
    /// Not as it should be.
    Fair,
    /// Wrong.
    Bad,
}

impl Ink {
    /// The parameters of SGR. Without colours what matters is bold.
    fn code(self, colour: bool) -> &'static str {
        match (self, colour) {
            (Ink::Plain, _) => "",
            (Ink::Dim, _) => "2",
            (Ink::Strong, _) => "1",
            (Ink::Head, _) => "1;4",
            (Ink::Key, _) => "7",
            (Ink::Up, true) => "36",
            (Ink::Down, true) => "35",
            (Ink::Good, true) => "32",
            (Ink::Fair, true) => "33",
            (Ink::Bad, true) => "1;31",
            (Ink::Up | Ink::Down | Ink::Good, false) => "",
            (Ink::Fair | Ink::Bad, false) => "1",
        }
    }
}

/// A line that grows to the right.
#[derive(Debug)]
pub struct Line<'a> {
    look: &'a Look,
    text: String,
    left: usize,
}

impl<'a> Line<'a> {
    /// An empty one.
    pub fn new(look: &'a Look) -> Line<'a> {
        Line { look, text: String::new(), left: look.columns }
    }

    /// Adds as much of a text as there is room for.
    pub fn put(&mut self, ink: Ink, text: &str) {
        self.cell(ink, text, self.left.min(columns_of(&self.plain(text))), false);
    }

    /// Adds a text at the right edge, if there is room for it and a space.
    pub fn put_right(&mut self, ink: Ink, text: &str) {
        let width = columns_of(&self.plain(text));
        if width < self.left {
            self.put(Ink::Plain, &" ".repeat(self.left - width));
            self.put(ink, text);
        }
    }

    /// Adds a text in so many columns: cut, or filled up with spaces, on the left for a number.
    pub fn cell(&mut self, ink: Ink, text: &str, width: usize, is_number: bool) {
        let width = width.min(self.left);
        let text = cut(&self.plain(text), width, if self.look.unicode { '…' } else { '~' });
        let space = " ".repeat(width.saturating_sub(columns_of(&text)));
        let (before, after) = if is_number { (space, String::new()) } else { (String::new(), space) };
        let code = if width > 0 { ink.code(self.look.colour) } else { "" };
        self.left -= width;
        self.text += &match code {
            "" => format!("{before}{text}{after}"),
            _ => format!("\x1b[{code}m{before}{text}{after}\x1b[0m"),
        };
    }

    /// The line, filled up with spaces.
    pub fn done(mut self) -> String {
        self.text.extend(std::iter::repeat_n(' ', self.left));
        self.text
    }

    fn plain(&self, text: &str) -> String {
        shown(&printable(text), self.look.unicode)
    }
}

/// A line that begins with what it is about.
pub fn head<'a>(look: &'a Look, text: &str) -> Line<'a> {
    let mut line = Line::new(look);
    line.cell(Ink::Dim, text, HEAD_COLUMNS, false);
    line
}

/// The text in at most so many columns, with `sign` at its end where it is longer.
fn cut(text: &str, columns: usize, sign: char) -> String {
    if columns_of(text) <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let width = columns_of_one(*c);
        let fits = width <= left;
        left = if fits { left - width } else { 0 };
        fits
    };
    let mut short: String = text.chars().take_while(fits).collect();
    if columns > 0 {
        short.push(sign);
    }
    short
}

/// A column of a table.
#[derive(Debug)]
pub struct Column {
    /// Its head.
    pub head: &'static str,
    /// It is shown on screens of this width.
    pub from: usize,
    /// The least that it takes.
    pub least: usize,
    /// The most that it takes, where there is room.
    pub most: usize,
    /// It stands at the right.
    pub is_number: bool,
}

/// The columns that are shown on a screen of this width, and how wide each is.
pub fn widths(columns: &[Column], width: usize) -> Vec<(usize, usize)> {
    let shown = columns.iter().enumerate().filter(|(_, column)| column.from <= width);
    let mut widths: Vec<(usize, usize)> = shown.map(|(index, column)| (index, column.least)).collect();
    let taken: usize = widths.iter().map(|(_, width)| width + GAP_COLUMNS).sum();
    let mut left = (width + GAP_COLUMNS).saturating_sub(taken);
    loop {
        let before = left;
        for (index, width) in &mut widths {
            if *width < columns[*index].most && left > 0 {
                *width += 1;
                left -= 1;
            }
        }
        if left == before {
            return widths;
        }
    }
}

/// The newest values of one way as a curve of so many columns, the newest at the right; the largest has the full height.
pub fn sparkline(values: &[[f64; 2]], way: usize, columns: usize, unicode: bool) -> String {
    let newest = values.get(values.len().saturating_sub(columns)..).unwrap_or_default();
    let largest = newest.iter().fold(1.0, |largest, value| value[way].max(largest));
    let steps = if unicode {
        ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        ['_', '.', ',', '-', '=', '+', '*', '#']
    };
    let mut curve = " ".repeat(columns.saturating_sub(newest.len()));
    for value in newest {
        // Nothing is the lowest step, and next to nothing the one above it.
        let height = (value[way] / largest * (steps.len() - 1) as f64).ceil() as usize;
        curve.push(steps[height.min(steps.len() - 1)]);
    }
    curve
}

/// A share as a bar, in eighths of a column.
pub fn bar(line: &mut Line<'_>, look: &Look, ink: Ink, share: f64) {
    let eighths = (share.clamp(0.0, 1.0) * (BAR_COLUMNS * 8) as f64).round() as usize;
    let (full, part) = (eighths / 8, eighths % 8);
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let (full, part, empty) = match look.unicode {
        true => ("█".repeat(full), parts[part], "·"),
        false => ("#".repeat(full), "", "."),
    };
    let rest = BAR_COLUMNS - columns_of(&full) - columns_of(part);
    line.put(ink, &(full + part));
    line.put(Ink::Dim, &empty.repeat(rest));
}

/// What comes before the facts in the upper part of the screen.
const HEAD_COLUMNS: usize = 9;
const GAP_COLUMNS: usize = 2;
const BAR_COLUMNS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_shows_it() {
        let cases = [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
            ("中国移动", 6, "中国…"),
        ];
        for (text, columns, expected) in cases {
            assert_eq!(cut(text, columns, '…'), expected);
        }
        // Half an ideograph cannot be shown, and nothing of what comes after it.
        assert_eq!(cut("中国a", 4, '…'), "中…");
    }

    #[test]
    fn curves_and_bars_have_their_height() {
        let values = [0.0, 0.1, 350.0, 700.0].map(|value| [value, 9.0]);
        assert_eq!(sparkline(&values, 0, 6, true), "  ▁▂▅█");
        assert_eq!(sparkline(&values, 0, 2, false), "=#");
        assert_eq!(sparkline(&values, 1, 2, false), "##");
        assert_eq!(sparkline(&[], 1, 2, true), "  ");
        let look = Look { columns: 10, rows: 1, unicode: true, colour: false };
        let drawn = |look: &Look, share| {
            let mut line = Line::new(look);
            bar(&mut line, look, Ink::Plain, share);
            line.done().replace("\x1b[2m", "").replace("\x1b[0m", "")
        };
        let shares = [0.0, 0.51, 1.0, f64::NAN, -1.0, 7.0];
        let bars = ["··········", "█████▏····", "██████████", "··········", "··········", "██████████"];
        assert_eq!(shares.map(|share| drawn(&look, share)), bars);
        assert_eq!(drawn(&Look { unicode: false, ..look }, 0.51), "#####.....");
    }

    #[test]
    fn columns_take_what_is_left_as_far_as_they_can() {
        let column = |from, least, most| Column { head: "", from, least, most, is_number: false };
        let columns = [column(0, 4, 6), column(20, 2, 2), column(0, 3, 90)];
        assert_eq!(widths(&columns, 19), [(0, 6), (2, 11)]);
        assert_eq!(widths(&columns, 20), [(0, 6), (1, 2), (2, 8)]);
        assert_eq!(widths(&columns, 3), [(0, 4), (2, 3)]);
    }
}
