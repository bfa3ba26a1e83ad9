//! Reports the daemon's state to the service manager: the datagrams of sd_notify(3), which systemd and others
//! read from the socket that NOTIFY_SOCKET names. Without that variable nothing is sent.
//!
//! Sending is written here, not taken from a library, because it must reach abstract sockets, and must not block
//! the event loop for long whatever the service manager does. Only rare messages wait for the service manager.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::terminal::printable;

/// Where the service manager listens, and how often it expects a message.
#[derive(Debug)]
pub struct Notifier {
    service_manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog_interval: Option<Duration>,
    last_status: String,
    has_failed: bool,
}

impl Notifier {
    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. A socket that cannot be used causes a warning and is
    /// ignored.
    pub fn from_env() -> Notifier {
        let variable = |name| std::env::var_os(name);
        let notifier = Notifier::from_variables(
            variable("NOTIFY_SOCKET").as_deref(),
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
        );
        notifier.unwrap_or_else(|error| {
            log::warn!("NOTIFY_SOCKET cannot be used: {error}; the service manager will get no notification");
            Notifier::silent()
        })
    }

    /// Whether a service manager listens.
    pub fn has_manager(&self) -> bool {
        self.service_manager.is_some()
    }

    /// The daemon listens: clients may connect.
    pub fn ready(&mut self) {
        self.send("READY=1", Patience::Short);
    }

    /// One line for `systemctl status`. It is sent only when it has changed.
    pub fn status(&mut self, text: &str) {
        if self.service_manager.is_none() || self.last_status == text {
            return;
        }
        self.last_status.clear();
        self.last_status.push_str(text);
        // A line break would begin another assignment.
        self.send(&format!("STATUS={}", printable(text)), Patience::None);
    }

    /// The daemon reloads its configuration; [`Notifier::ready`] ends this state. `monotonic_usec` is the time of
    /// CLOCK_MONOTONIC in microseconds ([`monotonic_usec`]).
    pub fn reloading(&mut self, monotonic_usec: u64) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={monotonic_usec}"), Patience::Short);
    }

    /// The daemon drains, and will end soon.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1", Patience::Short);
    }

    /// The daemon is not hung. It must send this every [`Notifier::watchdog_interval`].
    pub fn watchdog(&mut self) {
        self.send("WATCHDOG=1", Patience::None);
    }

    /// Half the time after which the service manager considers the daemon hung; `None` without a watchdog.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    fn silent() -> Notifier {
        Notifier {
            service_manager: None,
            watchdog_interval: None,
            last_status: String::new(),
            has_failed: false,
        }
    }

    /// Like [`Notifier::from_env`], from these values of the three variables.
    ///
    /// # Errors
    /// The name is neither a path nor an abstract name, or no socket can be made.
    pub fn from_variables(
        notify_socket: Option<&OsStr>,
        watchdog_usec: Option<&OsStr>,
        watchdog_pid: Option<&OsStr>,
    ) -> io::Result<Notifier> {
        let Some(name) = notify_socket.filter(|name| !name.is_empty()) else {
            return Ok(Notifier::silent());
        };
        let address = address(name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Notifier {
            service_manager: Some((socket, address)),
            watchdog_interval: watchdog_interval(watchdog_usec, watchdog_pid, std::process::id()),
            ..Notifier::silent()
        })
    }

    /// The socket is not connected: a service manager that was restarted has a new socket at the same address.
    fn send(&mut self, message: &str, patience: Patience) {
        let Some((socket, address)) = &self.service_manager else { return };
        let sent = socket
            .set_nonblocking(patience == Patience::None)
            .and_then(|()| socket.send_to_addr(message.as_bytes(), address));
        match sent {
            Ok(_) => self.has_failed = false,
            Err(error) => {
                if !self.has_failed {
                    let what = message.lines().next().unwrap_or_default();
                    log::warn!("the service manager did not take {what}: {error}");
                }
                self.has_failed = true;
                // A status that was not received must be sent again.
                self.last_status.clear();
            }
        }
    }
}

/// CLOCK_MONOTONIC in microseconds, as the service manager expects it.
pub fn monotonic_usec() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).expect("the monotonic clock starts at zero");
    let nanoseconds = u64::try_from(now.tv_nsec).expect("nanoseconds of a time are not negative");
    seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
}

/// How long a datagram may wait for room in the service manager's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Not at all: such messages are sent again.
    None,
    /// [`SEND_TIMEOUT`].
    Short,
}

/// A path, or `@` and an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    }
}

/// As in sd_watchdog_enabled(3), the interval applies only if WATCHDOG_PID is absent or our own process ID.
fn watchdog_interval(usec: Option<&OsStr>, pid: Option<&OsStr>, own_pid: u32) -> Option<Duration> {
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(own_pid.into())) {
        return None;
    }
    let usec = number(usec?).filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec) / 2)
}

/// How long one datagram may block the event loop when the service manager reads nothing.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A service manager's socket.
    struct Manager {
        socket: UnixDatagram,
        name: String,
        path: Option<PathBuf>,
    }

    impl Manager {
        fn at_path(test: &str) -> Manager {
            let name = format!("qssl-tunnel-notify-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).expect("the temporary directory is writable");
            Manager::new(socket, path.display().to_string(), Some(path))
        }

        fn at_abstract_name(test: &str) -> Manager {
            let name = format!("qssl-tunnel-notify-{test}-{}", std::process::id());
            let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("the name is short");
            let socket = UnixDatagram::bind_addr(&address).expect("the name is ours");
            Manager::new(socket, format!("@{name}"), None)
        }

        fn new(socket: UnixDatagram, name: String, path: Option<PathBuf>) -> Manager {
            socket.set_nonblocking(true).expect("a socket can be non-blocking");
            Manager { socket, name, path }
        }

        fn notifier(&self) -> Notifier {
            Notifier::from_variables(Some(OsStr::new(&self.name)), None, None).expect("a socket")
        }

        /// All datagrams so far. A datagram to a local socket can be received as soon as `send` returns.
        fn received(&self) -> Vec<String> {
            let mut received = Vec::new();
            let mut datagram = [0; 1000];
            while let Ok(length) = self.socket.recv(&mut datagram) {
                received.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
            }
            received
        }
    }

    impl Drop for Manager {
        fn drop(&mut self) {
            if let Some(path) = &self.path {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    #[test]
    fn a_life_is_told_over_both_kinds_of_socket() {
        for manager in [Manager::at_path("life"), Manager::at_abstract_name("life")] {
            let mut notifier = manager.notifier();
            notifier.ready();
            notifier.status("waiting for /dev/ttyUSB2");
            notifier.reloading(12_345_678);
            notifier.watchdog();
            notifier.stopping();
            assert_eq!(
                manager.received(),
                [
                    "READY=1",
                    "STATUS=waiting for /dev/ttyUSB2",
                    "RELOADING=1\nMONOTONIC_USEC=12345678",
                    "WATCHDOG=1",
                    "STOPPING=1"
                ]
            );
        }
    }

    #[test]
    fn the_same_status_is_told_once_and_is_always_one_assignment() {
        let manager = Manager::at_abstract_name("status");
        let mut notifier = manager.notifier();
        notifier.status("up");
        notifier.status("up");
        notifier.status("down\nWATCHDOG=trigger");
        notifier.status("up");
        assert_eq!(manager.received(), ["STATUS=up", "STATUS=down\\nWATCHDOG=trigger", "STATUS=up"]);
    }

    #[test]
    fn a_service_manager_that_comes_back_is_told_again() {
        let manager = Manager::at_path("back");
        let mut notifier = manager.notifier();
        notifier.status("up");
        drop(manager);
        notifier.status("down");
        let manager = Manager::at_path("back");
        notifier.status("down");
        notifier.watchdog();
        assert_eq!(manager.received(), ["STATUS=down", "WATCHDOG=1"]);
    }

    #[test]
    fn a_service_manager_that_reads_nothing_does_not_stop_us() {
        let manager = Manager::at_abstract_name("full");
        let mut notifier = manager.notifier();
        // Far more than a receive queue holds. The first message that finds it full ends the loop.
        let told = (0..100_000).take_while(|_| {
            notifier.watchdog();
            !notifier.has_failed
        });
        let told = told.count();
        assert!(told < 100_000);
        assert_eq!(manager.received().len(), told);
        notifier.watchdog();
        assert_eq!(manager.received(), ["WATCHDOG=1"]);
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        for socket in [None, Some(OsStr::new(""))] {
            let usec = OsStr::new("1000");
            let mut notifier = Notifier::from_variables(socket, Some(usec), None).expect("nothing to fail");
            notifier.ready();
            notifier.status("not sent");
            assert_eq!(notifier.watchdog_interval(), None);
            assert_eq!(notifier.last_status, "", "nothing is kept that nobody hears");
        }
    }

    #[test]
    fn a_socket_of_another_kind_is_refused() {
        let long = format!("/{}", "x".repeat(200));
        for name in ["relative", "vsock:2:1234", &long] {
            assert!(Notifier::from_variables(Some(OsStr::new(name)), None, None).is_err(), "{name}");
        }
    }

    #[test]
    fn the_watchdog_is_fed_twice_per_interval_and_only_by_whom_it_watches() {
        let interval = |usec: &str, pid: Option<&str>| {
            watchdog_interval(Some(OsStr::new(usec)), pid.map(OsStr::new), 42)
        };
        assert_eq!(interval("120000000", Some("42")), Some(Duration::from_secs(60)));
        assert_eq!(interval("120000000", None), Some(Duration::from_secs(60)));
        assert_eq!(interval("120000000", Some("43")), None);
        assert_eq!(interval("120000000", Some("x")), None);
        for usec in ["0", "", "-1", "1s", "18446744073709551616"] {
            assert_eq!(interval(usec, None), None, "{usec}");
        }
        assert_eq!(watchdog_interval(None, None, 42), None);
    }

    #[test]
    fn the_time_of_a_reload_is_in_the_unit_that_others_use() {
        let before = monotonic_usec();
        let theirs = sd_notify::NotifyState::monotonic_usec_now().expect("the clock can be read");
        let sd_notify::NotifyState::MonotonicUsec(theirs) = theirs else { panic!("{theirs:?}") };
        assert!((before.into()..=monotonic_usec().into()).contains(&theirs), "{before} {theirs}");
    }
}
