//! The data usage of each tunnel on each day, kept over restarts, and the budget of a calendar month.
//!
//! Days and months are in UTC, by the host's clock. The file `volume` in the state directory is text, with one line
//! per day and tunnel: `2026-11-21 NAME UP DOWN OPENS`, in bytes and TLS handshakes. It is replaced as a whole, so that
//! a loss of power leaves the old or the new one. It is written within a minute after data was moved. With a budget,
//! it is also written as soon as a thousandth of the budget is not in the file, but at most every five seconds. A
//! killed process loses no more than that.
//!
//! While the host's clock is not plausible, as after a boot without a battery, data counts for the last known day.
//! Data that was counted before any day was known goes to the first known day.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use time::{Date, OffsetDateTime};

use crate::config::Budget;
use qssl_core::modem::PLAUSIBLE_UNIX_SECONDS;
use qssl_core::relay::Moved;

/// Data usage by day and tunnel.
#[derive(Debug)]
pub struct DataUsage {
    days: BTreeMap<(Date, String), Moved>,
    budget: Option<Budget>,
    file: Option<PathBuf>,
    /// Since when the file has been out of date.
    changed_since: Option<Instant>,
    /// How much the file does not have, as the budget counts it.
    unsaved_bytes: u64,
    written_at: Option<Instant>,
    /// The last warning: the share of the budget in percent, the year and the month.
    warned: (u8, i32, u8),
    write_failed: bool,
}

impl DataUsage {
    /// Reads the usage from the state directory, if there is one. A file or a line that cannot be read causes a
    /// warning and is left out.
    pub fn open(state_directory: Option<&Path>, budget: Option<Budget>) -> DataUsage {
        let file = state_directory.map(|directory| directory.join(FILE_NAME));
        let mut usage = DataUsage {
            days: BTreeMap::new(),
            budget,
            file,
            changed_since: None,
            unsaved_bytes: 0,
            written_at: None,
            warned: (0, 0, 0),
            write_failed: false,
        };
        if let Some(path) = &usage.file {
            match read(path) {
                Ok(text) => usage.days = parse(&text, &path.display().to_string()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(directory) = state_directory.filter(|directory| !directory.is_dir()) {
                        log::warn!(
                            "--state-directory {}: there is no such directory; nothing is kept over a restart",
                            directory.display()
                        );
                    }
                }
                Err(error) => log::warn!("{} cannot be read, counting from zero: {error}", path.display()),
            }
        }
        usage
    }

    /// Changes the budget.
    pub fn set_budget(&mut self, budget: Option<Budget>) {
        self.budget = budget;
    }

    /// Counts data that was moved. `unix_seconds` is the host's clock.
    pub fn add(&mut self, moved: Vec<(String, Moved)>, unix_seconds: i64, now: Instant) {
        if moved.is_empty() {
            return;
        }
        let day = self.day(unix_seconds);
        if is_known(day) {
            self.settle(day);
        }
        for (tunnel, more) in moved {
            self.unsaved_bytes = self.unsaved_bytes.saturating_add(cost(&more));
            add(self.days.entry((day, tunnel)).or_default(), more);
        }
        while self.days.len() > ENTRIES_MAX {
            self.days.pop_first();
        }
        self.changed_since.get_or_insert(now);
        self.warn(day);
    }

    /// When the file must be written next; `None` if it is up to date, or there is no file.
    pub fn write_at(&self) -> Option<Instant> {
        let since = self.file.as_ref().and(self.changed_since)?;
        let is_much = self.budget.is_some_and(|budget| self.unsaved_bytes >= budget.bytes / 1000);
        Some(match (is_much, self.written_at) {
            (false, _) => since + WRITE_INTERVAL,
            (true, None) => since,
            (true, Some(at)) => since.max(at + SHORTEST_WRITE_INTERVAL),
        })
    }

    /// Writes the file if it is out of date.
    pub fn write(&mut self, now: Instant) {
        if self.changed_since.take().is_none() {
            return;
        }
        self.unsaved_bytes = 0;
        self.written_at = Some(now);
        let Some(path) = &self.file else { return };
        match replace(path, self.text().as_bytes()) {
            Ok(()) => self.write_failed = false,
            Err(error) => {
                if !std::mem::replace(&mut self.write_failed, true) {
                    log::warn!(
                        "{} cannot be written: {error}; the data usage is lost at the next start",
                        path.display()
                    );
                }
            }
        }
    }

    /// Payload of a tunnel in both directions: of this day, and of this month.
    pub fn of_tunnel(&self, tunnel: &str, unix_seconds: i64) -> (u64, u64) {
        let today = self.day(unix_seconds);
        let mut sums = (0, 0);
        for ((day, _), moved) in self.month(today).filter(|((_, name), _)| name == tunnel) {
            let bytes = moved.up_bytes.saturating_add(moved.down_bytes);
            sums.1 = bytes.saturating_add(sums.1);
            if *day == today {
                sums.0 = bytes.saturating_add(sums.0);
            }
        }
        sums
    }

    /// The budget, and how much of it is used in this month.
    pub fn used(&self, unix_seconds: i64) -> Option<(Budget, u64)> {
        self.budget.map(|budget| (budget, self.used_in_month(self.day(unix_seconds))))
    }

    /// Whether the budget is spent, and no further clients may be served.
    pub fn is_spent(&self, unix_seconds: i64) -> bool {
        self.used(unix_seconds).is_some_and(|(budget, used)| budget.stop && used >= budget.bytes)
    }

    /// The day by the host's clock. While that is not plausible, the last known day.
    fn day(&self, unix_seconds: i64) -> Date {
        let today = date(unix_seconds);
        let last = || self.days.keys().rev().map(|(day, _)| *day).find(|day| is_known(*day));
        if is_known(today) { today } else { last().unwrap_or(OffsetDateTime::UNIX_EPOCH.date()) }
    }

    /// Moves what was counted while no day was known to this day.
    fn settle(&mut self, day: Date) {
        while let Some(((early, _), _)) = self.days.first_key_value()
            && !is_known(*early)
        {
            let Some(((_, tunnel), moved)) = self.days.pop_first() else { break };
            add(self.days.entry((day, tunnel)).or_default(), moved);
        }
    }

    fn month(&self, day: Date) -> impl Iterator<Item = (&(Date, String), &Moved)> {
        let of_month = move |other: &Date| (other.year(), other.month()) == (day.year(), day.month());
        self.days.iter().filter(move |((other, _), _)| of_month(other))
    }

    fn used_in_month(&self, day: Date) -> u64 {
        self.month(day).fold(0, |sum, (_, moved)| cost(moved).saturating_add(sum))
    }

    /// Warns once per month about each of the shares in [`WARN_PERCENTS`].
    fn warn(&mut self, day: Date) {
        let Some(budget) = self.budget else { return };
        let used = self.used_in_month(day);
        let percent = u128::from(used) * 100 / u128::from(budget.bytes.max(1));
        let Some(reached) = WARN_PERCENTS.into_iter().rev().find(|share| percent >= u128::from(*share))
        else {
            return;
        };
        let this = (reached, day.year(), u8::from(day.month()));
        let same_month = (self.warned.1, self.warned.2) == (this.1, this.2);
        if same_month && self.warned.0 >= reached {
            return;
        }
        self.warned = this;
        let size = crate::daemon::status::size;
        let what_then = match (budget.stop, reached >= 100) {
            (true, true) => "; further clients are reset until the month is over",
            _ => "",
        };
        log::warn!(
            "{percent} % of the month's budget of {} is used ({}){what_then}",
            size(budget.bytes),
            size(used)
        );
    }

    fn text(&self) -> String {
        let mut text = String::from("# day tunnel up-bytes down-bytes handshakes\n");
        for ((day, tunnel), moved) in &self.days {
            let (year, month, day) = (day.year(), u8::from(day.month()), day.day());
            let Moved { up_bytes, down_bytes, opens } = moved;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{year:04}-{month:02}-{day:02} {tunnel} {up_bytes} {down_bytes} {opens}");
        }
        text
    }
}

/// Makes a file for payload or keys, or empties it. Only its owner may read it, regardless of the umask and
/// of its earlier permissions. The permissions of other kinds of files, such as pipes, stay as they are.
///
/// # Errors
/// Those of the file system.
pub fn private(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    if file.metadata()?.is_file() {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Replaces a file: a reader sees the old or the new one, also after a loss of power.
///
/// # Errors
/// Those of the file system; the old file is then still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(name);
    // Remove what an earlier attempt has left. A file that cannot be removed makes `create_new` fail.
    let _ = fs::remove_file(&new);
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&new, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    fs::File::open(path)?.take(FILE_LIMIT_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn parse(text: &[u8], name: &str) -> BTreeMap<(Date, String), Moved> {
    let mut days = BTreeMap::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match std::str::from_utf8(line).ok().and_then(entry) {
            Some((day, moved)) => {
                days.insert(day, moved);
            }
            None => log::warn!("{name}:{}: not a day's usage; left out", index + 1),
        }
        if days.len() > ENTRIES_MAX {
            days.pop_first();
        }
    }
    days
}

fn add(sum: &mut Moved, more: Moved) {
    sum.up_bytes = sum.up_bytes.saturating_add(more.up_bytes);
    sum.down_bytes = sum.down_bytes.saturating_add(more.down_bytes);
    sum.opens = sum.opens.saturating_add(more.opens);
}

/// What counts for the budget, in bytes.
fn cost(moved: &Moved) -> u64 {
    let handshakes = moved.opens.saturating_mul(HANDSHAKE_BYTES);
    handshakes.saturating_add(moved.up_bytes).saturating_add(moved.down_bytes)
}

fn entry(line: &str) -> Option<((Date, String), Moved)> {
    let mut words = line.split(' ');
    let mut day = words.next()?.splitn(3, '-');
    let (year, month, number) =
        (day.next()?.parse().ok()?, day.next()?.parse::<u8>().ok()?, day.next()?.parse().ok()?);
    let day = Date::from_calendar_date(year, time::Month::try_from(month).ok()?, number).ok()?;
    let tunnel = words.next()?.to_owned();
    let mut count = || words.next()?.parse().ok();
    let moved = Moved { up_bytes: count()?, down_bytes: count()?, opens: count()? };
    words.next().is_none().then_some(((day, tunnel), moved))
}

/// Whether a clock that shows this day is plausible.
fn is_known(day: Date) -> bool {
    PLAUSIBLE_UNIX_SECONDS.contains(&day.midnight().assume_utc().unix_timestamp())
}

/// The day of a time; the last possible day if it is out of range.
fn date(unix_seconds: i64) -> Date {
    OffsetDateTime::from_unix_timestamp(unix_seconds).map_or(Date::MAX, OffsetDateTime::date)
}

const FILE_NAME: &str = "volume";

/// A thousand tunnels for a month, or one for eighty years.
const ENTRIES_MAX: usize = 30_000;

const FILE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// The estimated data usage of a TLS handshake.
const HANDSHAKE_BYTES: u64 = 7_000;

/// All that was moved is in the file after this time.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The file is not written more often, because flash wears out.
const SHORTEST_WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The shares of the budget that cause a warning.
const WARN_PERCENTS: [u8; 2] = [80, 100];

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21, 12:00.
    const NOON: i64 = 1_795_262_400;
    const DAY: i64 = 86_400;

    #[allow(clippy::disallowed_methods, reason = "a moment to count from; no test depends on which")]
    fn now() -> Instant {
        Instant::now()
    }

    fn moved(up_bytes: u64, down_bytes: u64, opens: u64) -> Moved {
        Moved { up_bytes, down_bytes, opens }
    }

    #[test]
    fn usage_is_kept_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let mut usage = DataUsage::open(Some(directory.path()), None);
        assert_eq!(usage.write_at(), None);
        let now = now();
        usage.add(vec![("web".into(), moved(1, 10, 1)), ("mail".into(), moved(5, 5, 0))], NOON - DAY, now);
        usage.add(vec![("web".into(), moved(2, 20, 0))], NOON, now + Duration::from_secs(5));
        usage.add(vec![("web".into(), moved(4, 40, 0))], NOON - 40 * DAY, now);
        assert_eq!(usage.write_at(), Some(now + WRITE_INTERVAL));
        usage.write(now);
        assert_eq!(usage.write_at(), None);

        let again = DataUsage::open(Some(directory.path()), None);
        assert_eq!(again.days, usage.days);
        assert_eq!(again.of_tunnel("web", NOON), (22, 33));
        assert_eq!(again.of_tunnel("mail", NOON), (0, 10));
        assert_eq!(again.of_tunnel("web", NOON + 10 * DAY), (0, 0), "another month has begun");
        let files: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, [FILE_NAME]);
    }

    #[test]
    fn a_broken_file_costs_its_broken_lines_alone() {
        let text = "# remark\n\n2026-11-21 web 1 2 3\n2026-13-01 web 1 2 3\n2026-11-20 web 1 2\nx\n2026-11-19 web 1 2 3 4\n\
                    2026-11-22 web -1 2 3\n99999999999-1-1 a 1 1 1\n";
        assert_eq!(parse(text.as_bytes(), "volume").len(), 1);
        let directory = tempfile::tempdir().unwrap();
        let bytes = b"2026-11-20 web 1 2 3\n2026-11-21 w\xffb 1 2 3\n\0\0\xfe\n2026-11-22 web 1 2 3\n";
        fs::write(directory.path().join(FILE_NAME), bytes).unwrap();
        let read = DataUsage::open(Some(directory.path()), None);
        assert_eq!((read.days.len(), read.of_tunnel("web", NOON).1), (2, 6));
    }

    #[test]
    fn a_budget_counts_payload_and_handshakes_of_the_month() {
        let budget = Budget { bytes: 100_000, stop: true };
        let mut usage = DataUsage::open(None, Some(budget));
        usage.add(vec![("web".into(), moved(10_000, 19_999, 10))], NOON, now());
        assert_eq!(usage.used(NOON), Some((budget, 99_999)));
        assert!(!usage.is_spent(NOON));
        usage.add(vec![("mail".into(), moved(1, 0, 0))], NOON + DAY, now());
        assert!(usage.is_spent(NOON + DAY) && usage.is_spent(NOON));
        assert!(!usage.is_spent(NOON + 20 * DAY), "another month has begun");
        usage.set_budget(Some(Budget { stop: false, ..budget }));
        assert!(!usage.is_spent(NOON), "a warning is all that was asked for");
        usage.set_budget(None);
        assert_eq!(usage.used(NOON), None);
    }

    #[test]
    fn a_budget_that_is_spent_stays_spent_while_the_clock_is_not_set() {
        let budget = Some(Budget { bytes: 1000, stop: true });
        let directory = tempfile::tempdir().unwrap();
        let mut usage = DataUsage::open(Some(directory.path()), budget);
        usage.add(vec![("web".into(), moved(600, 0, 0))], NOON, now());
        usage.write(now());
        // After the next boot, the host's clock begins in 1970, or is far ahead.
        let mut usage = DataUsage::open(Some(directory.path()), budget);
        for (clock, used) in [(0, 600), (i64::MAX, 800)] {
            assert_eq!(usage.used(clock).unwrap().1, used);
            usage.add(vec![("web".into(), moved(200, 0, 0))], clock, now());
        }
        assert!(usage.is_spent(0) && usage.is_spent(i64::MAX) && usage.is_spent(NOON));
        assert!(!usage.is_spent(NOON + 20 * DAY), "another month has begun");
    }

    #[test]
    fn what_was_carried_before_any_day_was_known_counts_for_the_first_that_is() {
        let mut usage = DataUsage::open(None, Some(Budget { bytes: 1000, stop: true }));
        usage.add(vec![("web".into(), moved(600, 0, 0))], 0, now());
        usage.add(vec![("web".into(), moved(300, 0, 0))], 5 * DAY, now());
        assert_eq!(usage.of_tunnel("web", 0), (900, 900));
        usage.add(vec![("web".into(), moved(100, 0, 0))], NOON, now());
        assert_eq!(usage.of_tunnel("web", NOON), (1000, 1000));
        assert!(usage.is_spent(NOON));
    }

    #[test]
    fn a_kill_costs_a_thousandth_of_the_budget_or_a_few_seconds() {
        let budget = Some(Budget { bytes: 1_000_000, stop: true });
        let mut usage = DataUsage::open(Some(Path::new("/nonexistent")), budget);
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        usage.add(vec![("web".into(), moved(999, 0, 0))], NOON, at(0));
        assert_eq!(usage.write_at(), Some(at(60)));
        usage.add(vec![("web".into(), moved(1, 0, 0))], NOON, at(1));
        assert_eq!(usage.write_at(), Some(at(0)), "at once");
        usage.write(at(1));
        usage.add(vec![("web".into(), moved(0, 5000, 0))], NOON, at(2));
        assert_eq!(usage.write_at(), Some(at(6)), "not so soon again");
        usage.write(at(6));
        usage.add(vec![("web".into(), moved(0, 0, 1))], NOON, at(20));
        assert_eq!(usage.write_at(), Some(at(20)), "a handshake costs more than it carries");
    }

    #[test]
    fn each_share_of_the_budget_is_warned_about_once_a_month() {
        let mut usage = DataUsage::open(None, Some(Budget { bytes: 1000, stop: false }));
        let mut warnings = Vec::new();
        for (time, bytes) in [(0, 799), (0, 1), (0, 1), (0, 198), (0, 1), (0, 5000), (20, 799), (20, 1)] {
            let before = usage.warned;
            usage.add(vec![("web".into(), moved(bytes, 0, 0))], NOON + time * DAY, now());
            warnings.push(usage.warned != before);
        }
        assert_eq!(warnings, [false, true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_clock_beyond_all_calendars_still_counts() {
        let mut usage = DataUsage::open(None, None);
        usage.add(vec![("web".into(), moved(u64::MAX, 1, 1))], i64::MAX, now());
        usage.add(vec![("web".into(), moved(u64::MAX, 1, 1))], i64::MAX, now());
        assert_eq!(usage.of_tunnel("web", i64::MAX).0, u64::MAX);
    }

    #[test]
    fn a_directory_that_cannot_be_written_stops_nothing() {
        let mut usage = DataUsage::open(Some(Path::new("/nonexistent")), None);
        usage.add(vec![("web".into(), moved(1, 1, 1))], NOON, now());
        usage.write(now());
        assert!(usage.write_failed);
        assert_eq!(usage.of_tunnel("web", NOON), (2, 2));
    }
}
