//! The last events on the wire and in the log, to find out why a run failed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

/// Starts an empty trace; with `kept` false, nothing is recorded.
pub fn begin(kept: bool) {
    LINES.with_borrow_mut(|lines| {
        lines.clear();
    });
    KEPT.set(kept);
    // Another test may have installed the logger already.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

/// Sets the time of the lines that follow.
pub fn at(time: Duration) {
    TIME.set(time);
}

/// Keeps a line.
pub fn note(line: impl FnOnce() -> String) {
    if KEPT.get() {
        let text = line();
        let text = if text.len() > 400 { text.chars().take(400).collect() } else { text };
        LINES.with_borrow_mut(|lines| {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            let time = TIME.get();
            lines.push_back(format!("{:>12.6} {text}", time.as_secs_f64()));
        });
    }
}

/// The kept log messages that are shown without `-v`.
pub fn logged() -> Vec<String> {
    let is_shown =
        |line: &&String| [" ERROR: ", " WARN: ", " INFO: "].iter().any(|level| line.contains(level));
    LINES.with_borrow(|lines| lines.iter().filter(is_shown).cloned().collect())
}

/// Bytes as a line shows them: text in full, of anything else that is long only its two ends.
pub fn shown(bytes: &[u8]) -> String {
    let is_text = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~'));
    match bytes.len() {
        count if count > 48 && !(is_text && count < 400) => {
            let (head, tail) = (&bytes[..20], &bytes[count - 20..]);
            format!("[{count}] {}…{}", head.escape_ascii(), tail.escape_ascii())
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

/// Prints what was kept.
pub fn print() {
    LINES.with_borrow(|lines| {
        for line in lines {
            eprintln!("{line}");
        }
    });
}

thread_local! {
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
    static KEPT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static TIME: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        KEPT.get()
    }

    fn log(&self, record: &log::Record<'_>) {
        note(|| format!("   {}: {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

static LOGGER: Logger = Logger;

const LINES_MAX: usize = 20_000;
