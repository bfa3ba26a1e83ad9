//! The data usage of each tunnel on each day, kept over restarts, and the budget of a calendar month.
//!
//! Days and months are in UTC, by the host's clock. The file `volume` in the state directory is text, with one line
//! per day and tunnel: `2026-11-21 NAME UP DOWN OPENS`, in bytes and TLS handshakes. It is replaced as a whole, so that
//! a loss of power leaves the old or the new one. It is written within a minute after data was moved. With a budget,
//! it is also written as soon as a thousandth of the budget is not in the file, but at most every five seconds. A
//! loss of power costs no more than that.
//!
//! What that file does not have yet is written to an interim file of the same form once a second, if there is a
//! directory in memory for it, where nothing wears out. A killed process leaves it to the next one, which takes the
//! larger count for each day and tunnel. systemd removes that directory before a restart, so the unit moves the file to
//! the state directory after a kill. It is removed as soon as the file in the state directory has everything.
//!
//! While the host's clock is not plausible, as after a boot without a battery, data counts for the last known day.
//! Data that was counted before any day was known goes to the first known day.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
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
    interim: Option<Interim>,
    unsaved: Option<Unsaved>,
    written_at: Option<Instant>,
    /// The last warning: the share of the budget in percent, the year and the month.
    warned: (u8, i32, u8),
    write_failed: bool,
}

/// What the file does not have.
#[derive(Debug)]
struct Unsaved {
    since: Instant,
    /// Earlier days have not changed.
    first_day: Date,
    /// How much it is, as the budget counts it.
    cost_bytes: u64,
}

/// The file that outlives the process, but not the machine.
#[derive(Debug)]
struct Interim {
    path: PathBuf,
    /// Where it may have been moved in the state directory.
    moved_to: PathBuf,
    /// When it must be written next; `None` if nothing has changed.
    write_at: Option<Instant>,
    written_at: Option<Instant>,
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
            interim: None,
            unsaved: None,
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

    /// Writes counts to this file as well until they are in the state directory, and adds what a killed process has
    /// left there. Without a state directory, nothing outlives the process. The file's directory should be in memory.
    pub fn keep_interim(&mut self, path: PathBuf, now: Instant) {
        let Some(file) = &self.file else { return };
        // A service manager that removes the directory in memory may have moved the file here before.
        let moved_to = file.with_file_name(INTERIM_NAME);
        for path in [&moved_to, &path] {
            if let Err(error) = self.take_over(path, now) {
                // What is there may be another program's, so it is not replaced either.
                log::warn!(
                    "{} cannot be read: {error}; a killed process loses up to a minute of the data usage",
                    path.display()
                );
                return;
            }
        }
        self.interim = Some(Interim { path, moved_to, write_at: None, written_at: None });
    }

    /// Adds what a killed process has left in this file, if there is one.
    fn take_over(&mut self, path: &Path, now: Instant) -> io::Result<()> {
        // In a directory that others may write to, another user could put a file there, or a pipe that is never read.
        let is_own =
            |file: &fs::Metadata| file.is_file() && file.uid() == rustix::process::geteuid().as_raw();
        let text = match fs::symlink_metadata(path) {
            Ok(file) if is_own(&file) => read(path)?,
            Ok(_) => return Err(io::Error::other("it is not a file of this user")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for ((day, tunnel), left) in parse(&text, &path.display().to_string()) {
            let moved = self.days.entry((day, tunnel)).or_default();
            let larger = larger(*moved, left);
            if *moved != larger {
                *moved = larger;
                self.note_unsaved(day, 0, now);
            }
        }
        Ok(())
    }

    fn note_unsaved(&mut self, day: Date, cost_bytes: u64, now: Instant) {
        let unsaved = self.unsaved.get_or_insert(Unsaved { since: now, first_day: day, cost_bytes: 0 });
        unsaved.first_day = unsaved.first_day.min(day);
        unsaved.cost_bytes = unsaved.cost_bytes.saturating_add(cost_bytes);
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
        let has_settled = is_known(day) && self.settle(day);
        for (tunnel, more) in moved {
            self.note_unsaved(day, cost(&more), now);
            add(self.days.entry((day, tunnel)).or_default(), more);
        }
        while self.days.len() > ENTRIES_MAX {
            self.days.pop_first();
        }
        if let Some(interim) = &mut self.interim {
            interim
                .write_at
                .get_or_insert(interim.written_at.map_or(now, |at| now.max(at + INTERIM_INTERVAL)));
        }
        if has_settled {
            // Else the next process would find the counts under both days.
            self.write(now);
        }
        self.warn(day);
    }

    /// When [`DataUsage::write_due`] has something to do; `None` if the files are up to date, or there is none.
    pub fn next_deadline(&self) -> Option<Instant> {
        let interim = self.interim.as_ref().and_then(|interim| interim.write_at);
        self.write_at().into_iter().chain(interim).min()
    }

    /// Writes the files that must be written by now.
    pub fn write_due(&mut self, now: Instant) {
        if self.write_at().is_some_and(|at| at <= now) {
            self.write(now);
        }
        self.write_interim(now);
    }

    /// When the file in the state directory must be written next; `None` if it is up to date, or there is no file.
    fn write_at(&self) -> Option<Instant> {
        let Unsaved { since, cost_bytes, .. } = *self.file.as_ref().and(self.unsaved.as_ref())?;
        let is_much = self.budget.is_some_and(|budget| cost_bytes >= budget.bytes / 1000);
        Some(match (is_much, self.written_at) {
            (false, _) => since + WRITE_INTERVAL,
            (true, None) => since,
            (true, Some(at)) => since.max(at + SHORTEST_WRITE_INTERVAL),
        })
    }

    /// Writes the file in the state directory if it is out of date.
    pub fn write(&mut self, now: Instant) {
        let Some(unsaved) = self.unsaved.take() else { return };
        self.written_at = Some(now);
        let Some(path) = &self.file else { return };
        match replace(path, self.text(Date::MIN).as_bytes()) {
            Ok(()) => {
                self.write_failed = false;
                if let Some(interim) = &mut self.interim {
                    interim.write_at = None;
                    for path in [&interim.path, &interim.moved_to] {
                        // There may be none.
                        let _ = fs::remove_file(path);
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.write_failed, true) {
                    log::warn!(
                        "{} cannot be written: {error}; the data usage is lost at the next start",
                        path.display()
                    );
                }
                self.unsaved = Some(Unsaved { since: now, cost_bytes: 0, ..unsaved });
            }
        }
    }

    fn write_interim(&mut self, now: Instant) {
        let is_due = |interim: &Interim| interim.write_at.is_some_and(|at| at <= now);
        let Some(mut interim) = self.interim.take_if(|interim| is_due(interim)) else { return };
        interim.write_at = None;
        interim.written_at = Some(now);
        let first_day = self.unsaved.as_ref().map_or(Date::MAX, |unsaved| unsaved.first_day);
        match replace(&interim.path, self.text(first_day).as_bytes()) {
            Ok(()) => self.interim = Some(interim),
            Err(error) => log::warn!(
                "{} cannot be written: {error}; a killed process loses up to a minute of the data usage",
                interim.path.display()
            ),
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

    /// Moves what was counted while no day was known to this day. Returns whether there was anything.
    fn settle(&mut self, day: Date) -> bool {
        let mut has_settled = false;
        while let Some(((early, _), _)) = self.days.first_key_value()
            && !is_known(*early)
        {
            let Some(((_, tunnel), moved)) = self.days.pop_first() else { break };
            add(self.days.entry((day, tunnel)).or_default(), moved);
            has_settled = true;
        }
        has_settled
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

    /// The days from this one on, as in a file.
    fn text(&self, first: Date) -> String {
        let mut text = String::from("# day tunnel up-bytes down-bytes handshakes\n");
        for ((day, tunnel), moved) in self.days.range((first, String::new())..) {
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

/// Whether the files of this directory are in memory, so that writing them wears nothing out.
pub fn is_in_memory(directory: &Path) -> bool {
    // Those of tmpfs and ramfs in linux/magic.h.
    const MAGIC: [i128; 2] = [0x0102_1994, 0x8584_58f6];
    rustix::fs::statfs(directory).is_ok_and(|stat| MAGIC.contains(&i128::from(stat.f_type)))
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
            None => log::warn!("{name}:{}: not a line of data usage; left out", index + 1),
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

fn larger(one: Moved, other: Moved) -> Moved {
    Moved {
        up_bytes: one.up_bytes.max(other.up_bytes),
        down_bytes: one.down_bytes.max(other.down_bytes),
        opens: one.opens.max(other.opens),
    }
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

/// The name of the interim file.
pub const INTERIM_NAME: &str = "volume.interim";

/// A thousand tunnels for a month, or one for eighty years.
const ENTRIES_MAX: usize = 30_000;

const FILE_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// The estimated data usage of a TLS handshake.
const HANDSHAKE_BYTES: u64 = 7_000;

/// All that was moved is in the file after this time.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);

/// The file is not written more often, because flash wears out.
const SHORTEST_WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The same of the interim file.
const INTERIM_INTERVAL: Duration = Duration::from_secs(1);

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
    fn a_loss_of_power_costs_a_thousandth_of_the_budget_or_a_few_seconds() {
        let budget = Some(Budget { bytes: 1_000_000, stop: true });
        let directory = tempfile::tempdir().unwrap();
        let mut usage = DataUsage::open(Some(directory.path()), budget);
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
    fn a_kill_costs_a_second() {
        let (state, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let interim = memory.path().join(INTERIM_NAME);
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let open = |seconds| {
            let mut usage = DataUsage::open(Some(state.path()), None);
            usage.keep_interim(interim.clone(), at(seconds));
            usage
        };
        let mut usage = open(0);
        usage.add(vec![("web".into(), moved(9, 90, 1))], NOON - DAY, at(0));
        usage.write(at(0));
        assert!(!interim.exists(), "the other file has everything");
        assert_eq!(usage.next_deadline(), None);
        for (seconds, due) in [(1, 1), (1, 2), (5, 5)] {
            usage.add(vec![("web".into(), moved(1, 10, 0))], NOON, at(seconds));
            assert_eq!(usage.next_deadline(), Some(at(due)));
            usage.write_due(at(due));
        }
        assert_eq!(usage.next_deadline(), Some(at(61)));
        usage.add(vec![("mail".into(), moved(1, 1, 1))], NOON, at(5));
        let text = fs::read_to_string(&interim).unwrap();
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["2026-11-21 web 3 30 0"]);
        assert_eq!(interim.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(state.path().join(FILE_NAME)).unwrap().contains("11-21"));

        // The process is killed. What the next one has found, it must write.
        let mut usage = open(6);
        assert_eq!((usage.of_tunnel("web", NOON), usage.of_tunnel("mail", NOON)), ((33, 132), (0, 0)));
        assert_eq!(usage.next_deadline(), Some(at(66)));
        usage.add(vec![("web".into(), moved(0, 0, 5))], NOON, at(7));
        usage.write_due(at(66));
        assert_eq!((interim.exists(), usage.next_deadline()), (false, None));

        // The larger count wins, whichever file has it.
        let moved_to = state.path().join(INTERIM_NAME);
        fs::write(&interim, "2026-11-21 web 1 500 1\n").unwrap();
        fs::write(&moved_to, "2026-11-21 web 600 1 1\n").unwrap();
        let mut usage = open(70);
        assert_eq!(usage.days[&(date(NOON), "web".into())], moved(600, 500, 5));
        usage.write(at(70));
        assert!(!interim.exists() && !moved_to.exists());
    }

    #[test]
    fn what_has_found_its_day_is_not_counted_twice_after_a_kill() {
        let (state, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = || {
            let mut usage = DataUsage::open(Some(state.path()), None);
            usage.keep_interim(memory.path().join(INTERIM_NAME), now());
            usage
        };
        let mut usage = open();
        usage.add(vec![("web".into(), moved(600, 0, 0))], 0, now());
        usage.write(now());
        usage.add(vec![("web".into(), moved(100, 0, 0))], NOON, now());
        usage.write_due(now());
        let mut usage = open();
        usage.add(vec![("web".into(), moved(50, 0, 0))], NOON, now());
        assert_eq!(usage.of_tunnel("web", NOON), (750, 750));
    }

    #[test]
    fn an_interim_file_that_is_not_there_for_us_costs_nothing_else() {
        let (state, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = memory.path().join("precious");
        fs::write(&precious, "2026-11-21 web 500 0 0\n").unwrap();
        let paths = ["missing/file", "link", "directory"].map(|name| memory.path().join(name));
        std::os::unix::fs::symlink(&precious, &paths[1]).unwrap();
        fs::create_dir(&paths[2]).unwrap();
        for path in &paths {
            let mut usage = DataUsage::open(Some(state.path()), None);
            usage.keep_interim(path.clone(), now());
            usage.add(vec![("web".into(), moved(1, 0, 0))], NOON, now());
            usage.write_due(now());
            assert_eq!((usage.of_tunnel("web", NOON), usage.interim.is_none()), ((1, 1), true), "{path:?}");
        }
        assert!(paths[1].is_symlink() && paths[2].is_dir() && precious.exists());
        let mut usage = DataUsage::open(None, None);
        usage.keep_interim(state.path().join(INTERIM_NAME), now());
        usage.add(vec![("web".into(), moved(1, 0, 0))], NOON, now());
        assert_eq!(usage.next_deadline(), None, "nothing is kept over a restart");
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
