//! The table of figures, each with its limit beside it, and the chart of some of them.

use std::fmt::Write as _;

/// Figures under headings.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Heading(String),
    Figure { name: String, value: String, limit: Option<(Limit, bool)> },
}

/// The limit of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
    /// No limit: the figure is only shown.
    None,
}

/// Two bars of the chart, in fractions of 1.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it shows.
    pub name: String,
    /// The tunnel.
    pub tunnel: f64,
    /// The yardstick, by the same measure.
    pub rote: f64,
}

impl Report {
    /// Begins a group of figures.
    pub fn heading(&mut self, text: &str) {
        eprintln!("{text}");
        self.rows.push(Row::Heading(text.to_owned()));
    }

    /// Adds a figure with its unit, shown with `digits` digits after the point.
    pub fn figure(&mut self, name: &str, value: f64, digits: usize, unit: &str, limit: Limit) {
        let met = match limit {
            Limit::AtLeast(least) => value >= least,
            Limit::AtMost(most) => value <= most,
            Limit::None => true,
        };
        let limit = (!matches!(limit, Limit::None)).then_some((limit, met));
        let gap = if unit.is_empty() { "" } else { " " };
        let value = format!("{value:.digits$}{gap}{unit}");
        eprintln!("  {name}: {value}");
        self.rows.push(Row::Figure { name: name.to_owned(), value, limit });
    }

    /// The whole report, as Markdown that is readable as plain text.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut add = |cells: [&str; 4]| {
            let [name, value, limit, met] = cells;
            let _ = writeln!(text, "| {name:<66} | {value:>14} | {limit:>7} | {met:<6} |");
        };
        add(["figure", "measured", "limit", ""]);
        add(["---", "--:", "--:", "---"]);
        for row in &self.rows {
            match row {
                Row::Heading(heading) => add([&format!("**{heading}**"), "", "", ""]),
                Row::Figure { name, value, limit: None } => add([name, value, "", ""]),
                Row::Figure { name, value, limit: Some((limit, met)) } => {
                    let limit = match limit {
                        Limit::AtLeast(least) => format!("≥ {least}"),
                        Limit::AtMost(most) => format!("≤ {most}"),
                        Limit::None => String::new(),
                    };
                    add([name, value, &limit, if *met { "met" } else { "MISSED" }]);
                }
            }
        }
        text
    }
}

/// Bars from 0 to 100 %, two for each name.
pub fn chart(title: &str, bars: &[Bar]) -> String {
    let height = TOP + bars.len() * ROW + 34;
    let mut svg = String::new();
    let mut line = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">"
    ));
    line(format!("<rect width=\"760\" height=\"{height}\" fill=\"white\"/>"));
    line(format!("<text x=\"12\" y=\"22\" font-size=\"15\">{title}</text>"));
    for percent in [0, 20, 40, 60, 80, 100] {
        let x = LEFT + WIDTH * percent / 100;
        let bottom = height - 30;
        line(format!("<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#ccc\"/>"));
        line(format!("<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{percent} %</text>", height - 12));
    }
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + index * ROW + 4;
        line(format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 8, y + 14, bar.name));
        for (place, share, colour) in [(0, bar.tunnel, "#2166ac"), (10, bar.rote, "#bbbbbb")] {
            let width = share.clamp(0.0, 1.2) * WIDTH as f64;
            line(format!(
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"9\" fill=\"{colour}\"/>",
                y + place
            ));
        }
        let figure = format!("{:.1} %", bar.tunnel * 100.0);
        line(format!("<text x=\"{}\" y=\"{}\">{figure}</text>", LEFT + WIDTH + 14, y + 14));
    }
    line("</svg>".to_owned());
    svg
}

const LEFT: usize = 210;
const WIDTH: usize = 440;
const TOP: usize = 38;
const ROW: usize = 26;
