//! The output of a process, collected line by line while it runs, so that tests can wait for a line.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::PATIENCE;

/// The lines printed so far, collected by threads that read until the end of file.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    open_sources: usize,
}

impl Log {
    /// Begins to collect the lines of these sources.
    pub fn collect(sources: Vec<Box<dyn Read + Send>>) -> Log {
        let shared = Arc::new(Shared::default());
        shared.lock().open_sources = sources.len();
        for source in sources {
            let for_thread = Arc::clone(&shared);
            thread::spawn(move || for_thread.read(source));
        }
        Log { shared }
    }

    /// Waits for the first line for which `find` returns a value.
    ///
    /// # Panics
    /// With the whole output, if the process ends without such a line or takes too long.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let found = |state: &State| state.lines.iter().find_map(|line| find(line));
        let goes_on = |state: &mut State| state.open_sources > 0 && found(state).is_none();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, goes_on);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        found(&state).unwrap_or_else(|| panic!("{what} was never said:\n{}", state.lines.join("\n")))
    }

    /// Waits until `count` lines are of this kind.
    ///
    /// # Panics
    /// As [`Log::wait_for`].
    pub fn wait_for_lines(&self, what: &str, count: usize, is_one: impl Fn(&str) -> bool) {
        let found = |state: &State| state.lines.iter().filter(|line| is_one(line)).count();
        let goes_on = |state: &mut State| state.open_sources > 0 && found(state) < count;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, goes_on);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let found = found(&state);
        assert!(found >= count, "{what} was said {found} times, not {count}:\n{}", state.lines.join("\n"));
    }

    /// Waits until the process has closed its output, and returns all lines.
    pub fn whole(&self) -> String {
        let goes_on = |state: &mut State| state.open_sources > 0;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, goes_on);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.lines.join("\n")
    }

    /// All lines so far.
    pub fn so_far(&self) -> String {
        self.shared.lock().lines.join("\n")
    }
}

impl Shared {
    fn read(&self, source: impl Read) {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            self.lock().lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            self.changed.notify_all();
            line.clear();
        }
        self.lock().open_sources -= 1;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
