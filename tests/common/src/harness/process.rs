//! Other programs: found or named as missing, run with a time limit, ended with the test.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};

use super::PATIENCE;
use super::log::Log;

/// The path of a program.
///
/// # Panics
/// If it is missing: a test that cannot run has not passed.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(system).map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed, and this test needs it (./check installs it)"))
}

/// The result of a program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status as in a shell: 128 + n after a signal.
    pub status: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The same, if the program succeeded.
    #[track_caller]
    pub fn expect_success(self) -> Finished {
        assert_eq!(self.status, 0, "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }
}

/// Runs a program to its end, with empty input.
pub fn run(command: &mut Command) -> Finished {
    run_with_input(command, b"")
}

/// Runs a program to its end, with this input.
///
/// # Panics
/// If it does not end in time.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let (mut stdin, mut stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let stderr = Log::collect(vec![Box::new(child.stderr.take().expect("piped"))]);
    let input = input.to_vec();
    // The program may end without reading everything; then the pipe is broken, which is no error.
    thread::spawn(move || stdin.write_all(&input));
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        // Bytes that were read before an error are kept.
        let _ = stdout.read_to_end(&mut bytes);
        bytes
    });
    let Some(status) = wait(&mut child) else {
        kill(&mut child);
        panic!("{command:?} does not end:\n{}", stderr.so_far());
    };
    let stdout = reader.join().expect("reading does not panic");
    let finished = Finished { status: shell_status(status), stdout, stderr: stderr.whole() };
    assert!(!finished.stderr.contains("panicked"), "{command:?}: {}", finished.stderr);
    finished
}

/// A program in the background. Dropping it kills it.
pub struct Running {
    child: Mutex<Child>,
    id: u32,
    /// Its output on standard output and standard error.
    pub log: Log,
    name: String,
}

impl Running {
    /// Starts it with empty input.
    pub fn start(command: &mut Command) -> Running {
        Running::start_as_set(command.stdin(Stdio::null()))
    }

    /// Starts it, and returns its standard input as well.
    pub fn start_with_input(command: &mut Command) -> (Running, ChildStdin) {
        let running = Running::start_as_set(command.stdin(Stdio::piped()));
        let input = running.child().stdin.take().expect("piped");
        (running, input)
    }

    /// Starts it with the input and output that were set, and without a log.
    pub fn start_on(command: &mut Command) -> Running {
        let name = format!("{:?}", command.get_program());
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Running { id: child.id(), child: Mutex::new(child), log: Log::collect(Vec::new()), name }
    }

    fn start_as_set(command: &mut Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = format!("{:?}", command.get_program());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let id = child.id();
        let child = Mutex::new(child);
        Running { child, id, log: Log::collect(vec![Box::new(stdout), Box::new(stderr)]), name }
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for a line that contains this text.
    pub fn wait_for(&self, text: &str) -> String {
        self.log.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits until `count` lines contain this text.
    pub fn wait_for_count(&self, text: &str, count: usize) {
        self.log.wait_for_lines(text, count, |line| line.contains(text));
    }

    /// Its whole output so far.
    pub fn log(&self) -> String {
        self.log.so_far()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is ours and not yet waited for");
    }

    /// Waits until a signal has stopped it.
    pub fn wait_until_stopped(&self) {
        let states = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let state = waitid(WaitId::Pid(self.pid()), states).expect("it is our child");
        assert!(state.is_some_and(|state| state.stopped()), "{} has ended", self.name);
    }

    /// Waits for its end. Returns the exit status as in a shell, and the whole output.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(&self) -> (i32, String) {
        let Some(status) = wait(&mut self.child()) else {
            panic!("{} does not end:\n{}", self.name, self.log.so_far());
        };
        (shell_status(status), self.log.whole())
    }

    /// Waits for its end with this exit status. Returns the whole output.
    ///
    /// # Panics
    /// If it ends in another way, or not in time.
    #[track_caller]
    pub fn ends_with(&self, status: i32) -> String {
        let (ended, log) = self.wait();
        assert_eq!(ended, status, "{log}");
        log
    }

    fn pid(&self) -> Pid {
        let pid = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        pid.expect("the system gave it this number")
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        kill(&mut self.child());
        let said = self.log.so_far();
        if thread::panicking() {
            eprintln!("--- {} said:\n{said}\n---", self.name);
        } else {
            assert!(!said.contains("panicked"), "{}: {said}", self.name);
        }
    }
}

fn kill(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// `None` if it takes too long.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process has a number");
    if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) {
        let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)) == Ok(0) {
            return None;
        }
    }
    Some(child.wait().expect("it is our child"))
}

fn shell_status(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
