//! Log lines on standard error: `2026-11-21T10:00:00.123Z info  message`, or `<6>message` where standard
//! error is the journal, which has a clock and levels of its own.
//!
//! A message is always one line: control characters are escaped. A repeated line is shown a few times, then
//! counted, and then summed up, so that a fault that lasts for days does not fill a disk. Warnings and errors that
//! differ only in numbers count as repeated: a thousand clients that fail cause one line per minute. Besides our own
//! messages there are two targets: `at` has commands and answers (debug, from `-v`), and `wire` has the transcript
//! (trace, from `-vv`).

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use env_logger::Target;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::Verbosity;
use crate::terminal::printable;

/// Starts logging to standard error; a second call changes nothing. RUST_LOG overrides `verbosity` if it is set and
/// not empty.
///
/// At the end of the process call `log::logger().flush()`, which logs the summaries that are still missing.
pub fn start(verbosity: Verbosity) {
    let style = match stderr_is_the_journal() {
        true => Style::Journal,
        false => Style::Plain,
    };
    let rust_log = std::env::var("RUST_LOG").ok();
    let logger = Logger::new(verbosity, rust_log.as_deref(), style, Target::Stderr);
    // The last events are kept even if they are not shown.
    let level = logger.inner.filter().max(LevelFilter::Info);
    if log::set_logger(LOGGER.get_or_init(|| logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// When [`sum_up`] is due. The summary of a suppressed line comes even if the line does not come again.
pub fn next_summary() -> Option<Instant> {
    LOGGER.get()?.repeats().next_summary()
}

/// Shows the summaries that are due.
pub fn sum_up(now: Instant) {
    if let Some(logger) = LOGGER.get() {
        logger.sum_up(now);
    }
}

/// The last events, the oldest first.
pub fn events() -> Vec<String> {
    LOGGER.get().map_or(Vec::new(), |logger| locked(&logger.events).iter().cloned().collect())
}

/// While it exists, what this thread logs is about one of several modems, and begins with its name.
pub struct Scope {
    before: Option<&'static str>,
}

impl Scope {
    /// About the modem with this name; `None`: about none in particular.
    pub fn new(modem: Option<&'static str>) -> Scope {
        Scope { before: MODEM.replace(modem) }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        MODEM.set(self.before);
    }
}

thread_local! {
    static MODEM: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The logger of this process.
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// What comes before the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Time and level in words.
    Plain,
    /// The syslog priority in angle brackets (sd-daemon(3)).
    Journal,
}

/// An env_logger that suppresses repeated lines, and keeps the last.
struct Logger {
    inner: env_logger::Logger,
    repeats: Mutex<Repeats>,
    /// The last events, the oldest first.
    events: Mutex<VecDeque<String>>,
}

impl Logger {
    fn new(verbosity: Verbosity, rust_log: Option<&str>, style: Style, target: Target) -> Logger {
        let filters = rust_log.filter(|filters| !filters.is_empty()).unwrap_or(filters(verbosity));
        let inner = env_logger::Builder::new()
            .parse_filters(filters)
            .target(target)
            .format(move |out, record| write_line(out, style, since_1970(), record))
            .build();
        Logger { inner, repeats: Mutex::default(), events: Mutex::default() }
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        locked(&self.repeats)
    }

    fn log_at(&self, record: &Record<'_>, now: Instant) {
        if record.level() <= Level::Info && is_ours(record.target()) && record.target() != STATISTICS {
            self.keep(record);
        }
        if !self.inner.matches(record) {
            return;
        }
        if record.level() > Level::Info {
            // Debug and trace lines were requested, and a transcript with gaps is worthless.
            return self.inner.log(record);
        }
        let (is_shown, summaries) =
            self.repeats().admit(record.level(), record.target(), record.args().to_string(), now);
        self.log_summaries(summaries);
        if is_shown {
            self.inner.log(record);
        }
    }

    fn keep(&self, record: &Record<'_>) {
        let mut line = Vec::new();
        // Writing to a vector cannot fail.
        let _ = write_line(&mut line, Style::Plain, since_1970(), record);
        let text = String::from_utf8_lossy(&line);
        let mut events = locked(&self.events);
        if events.len() >= EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(text.trim_end().chars().take(EVENT_CHARS_MAX).collect());
    }

    fn sum_up(&self, now: Instant) {
        let summaries = self.repeats().windows_passed(now);
        self.log_summaries(summaries);
    }

    fn log_summaries(&self, summaries: Vec<Summary>) {
        for Summary { level, target, message, times, varies } in summaries {
            let times = match (times, varies) {
                (1, false) => "repeated once more".to_owned(),
                (_, false) => format!("repeated {times} more times"),
                (_, true) => format!("{times} more, last"),
            };
            self.inner.log(
                &Record::builder()
                    .level(level)
                    .target(&target)
                    .args(format_args!("{times}: {message}"))
                    .build(),
            );
        }
    }
}

/// A poisoned lock only means that another thread panicked; counting goes on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    #[allow(clippy::disallowed_methods, reason = "logging is an edge: what is logged does not depend on it")]
    fn log(&self, record: &Record<'_>) {
        let Some(modem) = MODEM.get() else { return self.log_at(record, Instant::now()) };
        let mut of_modem = Record::builder();
        let of_modem = of_modem.metadata(record.metadata().clone());
        self.log_at(&of_modem.args(format_args!("{modem}: {}", record.args())).build(), Instant::now());
    }

    fn flush(&self) {
        let summaries = self.repeats().finish();
        self.log_summaries(summaries);
    }
}

/// Recent lines, and how often they came.
#[derive(Debug, Default)]
struct Repeats {
    lines: Vec<Line>,
}

/// A line that was shown, and is only counted when it comes too often.
#[derive(Debug)]
struct Line {
    level: Level,
    target: String,
    /// Its latest text.
    message: String,
    /// It came with different numbers.
    varies: bool,
    shown: u32,
    suppressed: u64,
    window: Duration,
    window_end: Instant,
}

/// How often a line was suppressed.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    level: Level,
    target: String,
    message: String,
    times: u64,
    varies: bool,
}

impl Repeats {
    /// Returns whether to show this line, and the summaries to show before it.
    fn admit(&mut self, level: Level, target: &str, message: String, now: Instant) -> (bool, Vec<Summary>) {
        let mut summaries = self.windows_passed(now);
        if message.len() > LONGEST_COUNTED_LINE_BYTES {
            return (true, summaries);
        }
        let is_same = |other: &str| {
            other == message || (level <= Level::Warn && without_numbers(other).eq(without_numbers(&message)))
        };
        let same = |line: &&mut Line| line.level == level && line.target == target && is_same(&line.message);
        if let Some(line) = self.lines.iter_mut().find(same) {
            if line.message != message {
                line.message = message;
                if !std::mem::replace(&mut line.varies, true) {
                    (line.window, line.window_end) = (KIND_WINDOW, now + KIND_WINDOW);
                }
            }
            let is_shown = line.shown < SAME_LINES_SHOWN;
            match is_shown {
                true => line.shown += 1,
                false => line.suppressed += 1,
            }
            return (is_shown, summaries);
        }
        if self.lines.len() >= LINES_COUNTED {
            let soonest = (0..self.lines.len()).min_by_key(|index| self.lines[*index].window_end);
            summaries.extend(soonest.and_then(|index| self.lines.remove(index).summary()));
        }
        let window_end = now + FIRST_WINDOW;
        let target = target.to_owned();
        self.lines.push(Line {
            level,
            target,
            message,
            varies: false,
            shown: 1,
            suppressed: 0,
            window: FIRST_WINDOW,
            window_end,
        });
        (true, summaries)
    }

    /// When the next summary of suppressed lines is due.
    fn next_summary(&self) -> Option<Instant> {
        self.lines.iter().filter(|line| line.suppressed > 0).map(|line| line.window_end).min()
    }

    /// Sums up the lines that were suppressed in a window that has ended, and doubles the window. Lines that no
    /// longer come are forgotten.
    fn windows_passed(&mut self, now: Instant) -> Vec<Summary> {
        let mut summaries = Vec::new();
        self.lines.retain_mut(|line| {
            if now < line.window_end {
                return true;
            }
            if !line.varies {
                line.window = (line.window * 2).min(LONGEST_WINDOW);
            }
            line.window_end = now + line.window;
            let summary = line.summary();
            let goes_on = summary.is_some();
            summaries.extend(summary);
            goes_on
        });
        summaries
    }

    /// All summaries that are still missing.
    fn finish(&mut self) -> Vec<Summary> {
        self.lines.drain(..).filter_map(|mut line| line.summary()).collect()
    }
}

impl Line {
    fn summary(&mut self) -> Option<Summary> {
        let times = mem::take(&mut self.suppressed);
        let (level, target, message) = (self.level, self.target.clone(), self.message.clone());
        (times > 0).then_some(Summary { level, target, message, times, varies: self.varies })
    }
}

/// The text in pieces, without its numbers, addresses and ports.
fn without_numbers(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    let pieces = text.split_inclusive(move |c| !is_part(c));
    pieces.map(move |piece| {
        let number = piece.trim_end_matches(move |c| !is_part(c));
        match number.bytes().any(|byte| byte.is_ascii_digit()) {
            true => &piece[number.len()..],
            false => piece,
        }
    })
}

/// The filters: our own messages of this verbosity, and warnings of other crates.
fn filters(verbosity: Verbosity) -> &'static str {
    match verbosity {
        Verbosity::Quiet => "warn",
        Verbosity::Normal => "warn,qssl_tunnel=info,qssl_core=info",
        Verbosity::Commands => "warn,qssl_tunnel=debug,qssl_core=debug,at=debug",
        Verbosity::Transcript => "warn,qssl_tunnel=trace,qssl_core=trace,at=trace,wire=trace",
    }
}

fn write_line(out: &mut dyn Write, style: Style, time: Duration, record: &Record<'_>) -> io::Result<()> {
    match style {
        Style::Plain => write!(out, "{} {:<5} ", timestamp(time), level_in_words(record.level()))?,
        Style::Journal => write!(out, "<{}>", priority(record.level()))?,
    }
    if !is_ours(record.target()) {
        write!(out, "{}: ", printable(record.target()))?;
    }
    writeln!(out, "{}", printable(&record.args().to_string()))
}

fn is_ours(target: &str) -> bool {
    matches!(target, "at" | "wire") || matches!(target.split("::").next(), Some("qssl_tunnel" | "qssl_core"))
}

/// RFC 3339 in UTC with milliseconds, from the time since 1970.
fn timestamp(time: Duration) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let date_time = seconds.and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    let Some(at) = date_time else {
        return format!("@{}", time.as_secs());
    };
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    let millisecond = time.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[allow(clippy::disallowed_methods, reason = "a log line says when it was written; nothing depends on it")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn level_in_words(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether standard error leads to the journal: JOURNAL_STREAM has its device and inode (systemd.exec(5)). The
/// variable alone is not enough: processes inherit it even if their standard error leads elsewhere.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(rustix::stdio::stderr()).is_ok_and(|stat| names_file(&stream, stat.st_dev, stat.st_ino))
}

fn names_file(stream: &str, device: u64, inode: u64) -> bool {
    let Some((stream_device, stream_inode)) = stream.split_once(':') else { return false };
    stream_device.parse() == Ok(device) && stream_inode.parse() == Ok(inode)
}

/// The target of lines that were asked for, and tell no event.
pub const STATISTICS: &str = "qssl_tunnel::statistics";

/// How many of the last events are kept.
const EVENTS_MAX: usize = 16;
/// Longer ones are cut.
const EVENT_CHARS_MAX: usize = 240;
/// How often the same line is shown before it is counted instead.
const SAME_LINES_SHOWN: u32 = 5;
/// The time within which a line must come again to count as repeated, and after which the first summary is due.
const FIRST_WINDOW: Duration = Duration::from_secs(10);
/// The longest interval between summaries of a line that keeps coming.
const LONGEST_WINDOW: Duration = Duration::from_secs(600);
/// How often lines that differ only in numbers are summed up.
const KIND_WINDOW: Duration = Duration::from_secs(60);
/// How many different lines are counted at once. If there are more, the one due next is summed up early.
const LINES_COUNTED: usize = 16;
/// Longer lines are always shown.
const LONGEST_COUNTED_LINE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What a logger has written.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        fn lines(&self) -> Vec<String> {
            let bytes = self.0.lock().expect("no test panics while writing");
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
        }
    }

    fn logger(verbosity: Verbosity, rust_log: Option<&str>) -> (Logger, Output) {
        let output = Output::default();
        let target = Target::Pipe(Box::new(output.clone()));
        (Logger::new(verbosity, rust_log, Style::Journal, target), output)
    }

    fn say(logger: &Logger, level: Level, target: &str, message: &str) {
        let args = format_args!("{message}");
        logger.log(&Record::builder().level(level).target(target).args(args).build());
    }

    #[allow(clippy::disallowed_methods, reason = "a moment to count from; no test depends on which")]
    fn some_moment() -> Instant {
        Instant::now()
    }

    /// Logs one message at these seconds.
    fn shown_at(logger: &Logger, start: Instant, message: &str, seconds: impl Iterator<Item = u64>) {
        for second in seconds {
            let args = format_args!("{message}");
            let record = Record::builder().level(Level::Warn).target("qssl_tunnel").args(args).build();
            logger.log_at(&record, start + Duration::from_secs(second));
        }
    }

    fn line(style: Style, time: Duration, level: Level, target: &str, message: &str) -> String {
        let mut out = Vec::new();
        let args = format_args!("{message}");
        write_line(&mut out, style, time, &Record::builder().level(level).target(target).args(args).build())
            .expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_line_has_time_level_and_message() {
        let time = Duration::from_millis(1_795_255_200_123);
        let ours = "qssl_core::relay";
        assert_eq!(
            line(Style::Plain, time, Level::Info, ours, "ready"),
            "2026-11-21T10:00:00.123Z info  ready\n"
        );
        assert_eq!(
            line(Style::Plain, time, Level::Error, ours, "gone"),
            "2026-11-21T10:00:00.123Z error gone\n"
        );
        assert_eq!(
            line(Style::Plain, Duration::ZERO, Level::Warn, "mio::poll", "odd"),
            "1970-01-01T00:00:00.000Z warn  mio::poll: odd\n"
        );
    }

    #[test]
    fn a_clock_beyond_all_dates_still_gives_a_line() {
        let said = line(Style::Plain, Duration::MAX, Level::Info, "at", "hello");
        assert_eq!(said, format!("@{} info  hello\n", u64::MAX));
    }

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        let said = levels.map(|level| line(Style::Journal, Duration::ZERO, level, "at", "x"));
        assert_eq!(said, ["<3>x\n", "<4>x\n", "<6>x\n", "<7>x\n", "<7>x\n"]);
    }

    #[test]
    fn a_message_cannot_break_out_of_its_line() {
        let said = line(Style::Journal, Duration::ZERO, Level::Info, "wire", "a\r\n<0>b\t\0\x1b[2J\u{9b}é");
        assert_eq!(said, "<6>a\\r\\n<0>b\\t\\x00\\x1b[2J\\u{9b}é\n");
    }

    #[test]
    fn each_verbosity_shows_what_the_manual_page_says() {
        let said = |verbosity| {
            let (logger, output) = logger(verbosity, None);
            say(&logger, Level::Warn, "qssl_tunnel", "warning");
            say(&logger, Level::Info, "qssl_core::relay", "connection");
            say(&logger, Level::Debug, "at", "command");
            say(&logger, Level::Trace, "wire", "transcript");
            say(&logger, Level::Info, "mio::poll", "chatter");
            say(&logger, Level::Warn, "mio::poll", "stranger");
            output.lines().iter().map(|line| line[3..].to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(said(Verbosity::Quiet), "warning mio::poll: stranger");
        assert_eq!(said(Verbosity::Normal), "warning connection mio::poll: stranger");
        assert_eq!(said(Verbosity::Commands), "warning connection command mio::poll: stranger");
        assert_eq!(said(Verbosity::Transcript), "warning connection command transcript mio::poll: stranger");
    }

    #[test]
    fn the_last_events_are_kept_whatever_is_shown() {
        let (logger, output) = logger(Verbosity::Quiet, None);
        for number in 0..=EVENTS_MAX {
            say(&logger, Level::Info, "qssl_core::relay", &format!("client {number}"));
        }
        for (level, target) in [
            (Level::Debug, "at"),
            (Level::Info, STATISTICS),
            (Level::Warn, "mio::poll"),
            (Level::Trace, "wire"),
        ] {
            say(&logger, level, target, "no event");
        }
        let events = || locked(&logger.events).iter().cloned().collect::<Vec<_>>();
        let after_time = |event: &String| event["2026-11-21T10:00:00.123".len()..].to_owned();
        let kept: Vec<String> = events().iter().map(after_time).collect();
        assert_eq!(
            kept,
            (1..=EVENTS_MAX).map(|number| format!("Z info  client {number}")).collect::<Vec<_>>()
        );
        assert_eq!(output.lines(), ["<4>mio::poll: no event"]);
        say(&logger, Level::Error, "qssl_tunnel", &"é\n".repeat(EVENT_CHARS_MAX));
        let last = events().pop().expect("it was logged");
        assert!(last.contains("Z error é\\né") && last.chars().count() == EVENT_CHARS_MAX, "{last}");
    }

    #[test]
    fn rust_log_goes_first_unless_it_is_empty() {
        let (asked, output) = logger(Verbosity::Quiet, Some("error,mio=info"));
        say(&asked, Level::Warn, "qssl_tunnel", "warning");
        say(&asked, Level::Info, "mio::poll", "chatter");
        assert_eq!(output.lines(), ["<6>mio::poll: chatter"]);

        let (empty, output) = logger(Verbosity::Quiet, Some(""));
        say(&empty, Level::Warn, "qssl_tunnel", "warning");
        assert_eq!(output.lines(), ["<4>warning"]);
    }

    #[test]
    fn a_repeated_line_is_counted_and_summed_up() {
        let (logger, output) = logger(Verbosity::Normal, None);
        let start = some_moment();
        shown_at(&logger, start, "refused", [0; 8].into_iter());
        assert_eq!(output.lines(), ["<4>refused"; 5]);
        shown_at(&logger, start, "other", [9, 10].into_iter());
        assert_eq!(output.lines()[5..], ["<4>other", "<4>repeated 3 more times: refused", "<4>other"]);
    }

    /// The summary of a flood was logged only with the next line, possibly hours later.
    #[test]
    fn what_stops_is_summed_up_all_the_same() {
        let (logger, output) = logger(Verbosity::Normal, None);
        let start = some_moment();
        shown_at(&logger, start, "refused", [0; 5].into_iter());
        assert_eq!(logger.repeats().next_summary(), None, "nothing was kept back");
        shown_at(&logger, start, "refused", [0; 3].into_iter());
        let due = logger.repeats().next_summary().expect("something was kept back");
        assert!(due <= start + KIND_WINDOW, "within a minute");
        logger.sum_up(due);
        assert_eq!(output.lines()[5..], ["<4>repeated 3 more times: refused"]);
        assert_eq!(logger.repeats().next_summary(), None);
    }

    #[test]
    fn lines_that_take_turns_are_counted_as_well() {
        let (logger, output) = logger(Verbosity::Normal, None);
        let start = some_moment();
        for _ in 0..6 {
            shown_at(&logger, start, "lost", [0].into_iter());
            shown_at(&logger, start, "found", [0].into_iter());
        }
        logger.flush();
        assert_eq!(output.lines().len(), 12);
        assert_eq!(output.lines()[10..], ["<4>repeated once more: lost", "<4>repeated once more: found"]);
        logger.flush();
        assert_eq!(output.lines().len(), 12, "nothing is told twice");
    }

    #[test]
    fn a_fault_that_lasts_for_a_day_takes_few_lines_and_no_repetition_is_lost() {
        let (logger, output) = logger(Verbosity::Normal, None);
        shown_at(&logger, some_moment(), "silent", 0..86_400);
        logger.flush();
        let lines = output.lines();
        assert!(lines.len() < 200, "{} lines", lines.len());
        let times = |line: &String| match line.strip_prefix("<4>repeated ") {
            Some(rest) => rest.split(' ').next().and_then(|times| times.parse().ok()).unwrap_or(1),
            None => 1_u64,
        };
        assert_eq!(lines.iter().map(times).sum::<u64>(), 86_400);
    }

    #[test]
    fn clients_that_fail_one_after_the_other_are_one_line_a_minute() {
        let (logger, output) = logger(Verbosity::Normal, None);
        let start = some_moment();
        for number in 0..6000_u64 {
            let message =
                format!("[2001:db8::{number:x}]:{} may not connect (--allow); reset", 40_000 + number);
            shown_at(&logger, start, &message, [number / 20].into_iter());
        }
        shown_at(&logger, start, "another warning", [300].into_iter());
        let lines = output.lines();
        assert!(lines.len() <= 5 + 5 + 1, "{lines:#?}");
        let last = &lines[lines.len() - 2];
        assert!(last.contains("more, last: [2001:db8::176f]:45999 may not"), "{last}");
    }

    #[test]
    fn connections_that_end_in_order_have_a_line_each() {
        let (logger, output) = logger(Verbosity::Normal, None);
        for number in 0..20 {
            say(&logger, Level::Info, "qssl_core::relay", &format!("127.0.0.1:{number} has ended"));
        }
        assert_eq!(output.lines().len(), 20);
    }

    #[test]
    fn what_had_stopped_is_shown_again() {
        let (logger, output) = logger(Verbosity::Normal, None);
        let start = some_moment();
        shown_at(&logger, start, "lost", [0, 60, 120, 180, 240, 300, 360].into_iter());
        assert_eq!(output.lines(), ["<4>lost"; 7]);
    }

    #[test]
    fn memory_stays_bounded_with_ever_new_lines_and_counts_are_not_lost() {
        let mut repeats = Repeats::default();
        let now = some_moment();
        let mut summaries = Vec::new();
        for _ in 0..7 {
            summaries.extend(repeats.admit(Level::Warn, "at", "same".to_owned(), now).1);
        }
        for number in 0..1000 {
            summaries.extend(repeats.admit(Level::Warn, "at", "x".repeat(number), now).1);
            let long = "x".repeat(LONGEST_COUNTED_LINE_BYTES + 1);
            assert!(repeats.admit(Level::Warn, "at", long, now).0);
        }
        assert_eq!(repeats.lines.len(), LINES_COUNTED);
        let message = "same".to_owned();
        let target = "at".to_owned();
        assert_eq!(summaries, [Summary { level: Level::Warn, target, message, times: 2, varies: false }]);
    }

    #[test]
    fn a_transcript_has_no_holes() {
        let (logger, output) = logger(Verbosity::Transcript, None);
        for _ in 0..20 {
            say(&logger, Level::Trace, "wire", "> AT");
        }
        assert_eq!(output.lines().len(), 20);
    }

    #[test]
    fn the_journal_is_recognised_by_device_and_inode_both() {
        assert!(names_file("8:4711", 8, 4711));
        for other in ["8:4712", "9:4711", "8", "", ":", "8:", "8:4711:1", "x:y", "18446744073709551616:1"] {
            assert!(!names_file(other, 8, 4711), "{other}");
        }
    }
}
