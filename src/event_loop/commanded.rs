//! A modem that only answers commands, for `doctor`, `cert` and `at`: the loop without clients.

use std::io;
use std::time::{Duration, Instant};

use mio::Events;

use super::EventLoop;
use crate::config::Configuration;
use crate::ports::Port;
use crate::terminal::ending_signals;
use qssl_core::Kind;
use qssl_core::at::{Command, CommandSet};
use qssl_core::modem::{Failure, UserAnswer, UserCommand};

/// A modem that only answers commands: no tunnels and no data session. Only the ports and their wire format are set up.
pub struct Commanded {
    event_loop: EventLoop,
    events: Events,
}

impl Commanded {
    /// Nothing is opened before the first command. `configuration` has no tunnels.
    ///
    /// # Errors
    /// The event loop itself cannot be set up.
    pub fn new(configuration: Configuration) -> anyhow::Result<Self> {
        debug_assert!(configuration.tunnels.is_empty(), "tunnels would set up a data session");
        let mut event_loop = EventLoop::new(configuration, &ending_signals())?;
        event_loop.outside = Some(Outside::default());
        Ok(Commanded { event_loop, events: Events::with_capacity(16) })
    }

    /// Waits until the modem answers.
    ///
    /// # Errors
    /// The port cannot be opened, the modem is silent, or a signal came.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<Result<(), Failure>> {
        self.wait(None, |event_loop| event_loop.modems[0].relay.modem().takes_commands().then_some(()))
            .map(|ready| ready.map(|_| ()))
    }

    /// Opens a port, and holds back what the core writes to it until [`Commanded::release`]: [`Commanded::write`] comes
    /// first.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`].
    pub fn open_held(&mut self) -> anyhow::Result<Result<(), Failure>> {
        self.event_loop.outside.get_or_insert_default().is_held = true;
        let opened = self.wait(None, |event_loop| {
            let mut slots = event_loop.modems[0].ports.iter();
            slots.any(|slot| slot.connected).then_some(())
        })?;
        Ok(opened.map(|_| ()))
    }

    /// The core writes from now on.
    pub fn release(&mut self) {
        self.event_loop.outside.get_or_insert_default().is_held = false;
    }

    /// Sends a command and waits for its answer. Reports the progress of an upload: bytes sent, and bytes in total.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`]. If the modem does not answer this command, the answer has no outcome.
    pub fn ask(
        &mut self,
        command: Command,
        progress: &mut dyn FnMut(usize, usize),
    ) -> anyhow::Result<Result<UserAnswer, Failure>> {
        if let Err(failure) = self.wait_until_ready()? {
            return Ok(Err(failure));
        }
        let now = Instant::now();
        self.event_loop.now = now;
        let Some(id) = self.event_loop.modems[0].relay.command(command, now) else {
            let message = "too many commands wait for the modem";
            return Ok(Err(Failure::new(Kind::Failed, message)));
        };
        let answer = self.wait(None, |event_loop| {
            if let Some((done, all)) = event_loop.modems[0].relay.modem().upload_progress() {
                progress(done, all);
            }
            let outside = event_loop.outside.as_mut()?;
            outside.answered.take_if(|(answered, _)| *answered == id).map(|(_, answer)| answer)
        })?;
        Ok(answer.map(|answer| answer.expect("without a time limit only an answer ends the wait")))
    }

    /// The result of an open that a command has started: of a TLS connection, or of a plain TCP connection.
    /// `None`: no result came within `limit`.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`].
    pub fn await_open(
        &mut self,
        set: CommandSet,
        id: u8,
        limit: Duration,
    ) -> anyhow::Result<Result<Option<u16>, Failure>> {
        let until = Instant::now() + limit;
        self.wait(Some(until), |event_loop| {
            let opened = &mut event_loop.outside.as_mut()?.opened;
            let index = opened.iter().position(|open| (open.0, open.1) == (set, id))?;
            Some(opened.remove(index).2)
        })
    }

    /// Runs the loop for this long.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`].
    pub fn pause(&mut self, time: Duration) -> anyhow::Result<Result<(), Failure>> {
        let until = Instant::now() + time;
        self.wait(Some(until), |_| None::<()>).map(|waited| waited.map(|_| ()))
    }

    /// The ports that are open.
    pub fn port_names(&self) -> Vec<String> {
        let ports = self.event_loop.modems[0].ports.iter().filter_map(|slot| slot.port.as_ref());
        ports.map(|port| port.name().to_owned()).collect()
    }

    /// How often the modem has rebooted.
    pub fn reboots(&self) -> u64 {
        self.event_loop.modems[0].relay.modem().counters().reboots
    }

    /// Discards the results that came so far: they belong to earlier opens.
    pub fn forget_opens(&mut self) {
        if let Some(outside) = &mut self.event_loop.outside {
            outside.opened.clear();
        }
    }

    /// The first open port, past the core: no command is under way, so the core has nothing to write.
    pub fn port(&mut self) -> Option<&mut Port> {
        self.event_loop.modems[0]
            .ports
            .iter_mut()
            .filter(|slot| slot.connected)
            .find_map(|slot| slot.port.as_mut())
    }

    /// Writes these bytes to the first port as they are.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`].
    pub fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<Result<(), Failure>> {
        let until = Instant::now() + WRITE_LIMIT;
        while !bytes.is_empty() {
            match self.port().map(|port| port.write(bytes)) {
                None => return Ok(Err(gone("no port is open"))),
                Some(Ok(count)) => bytes = &bytes[count..],
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return Ok(Err(gone("the modem takes no more bytes")));
                    }
                    // Ttys report no room unless asked, so it is looked for.
                    if let Err(failure) = self.sleep(Instant::now() + ROOM_WAIT)? {
                        return Ok(Err(failure));
                    }
                }
                Some(Err(error)) => return Ok(Err(self.lost(&error))),
            }
        }
        Ok(Ok(()))
    }

    /// What the first port has received: nothing only if nothing has come until then.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`].
    pub fn read(&mut self, until: Instant) -> anyhow::Result<Result<Vec<u8>, Failure>> {
        let mut buffer = [0; 4_096];
        loop {
            let Some(port) = self.port() else { return Ok(Err(gone("no port is open"))) };
            // A device server's port keeps bytes of its own.
            let read = port.flush().and_then(|()| port.read(&mut buffer));
            match read {
                Ok(0) => {}
                Ok(count) => return Ok(Ok(buffer[..count].to_vec())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return Ok(Ok(Vec::new()));
                    }
                    if let Err(failure) = self.sleep(until)? {
                        return Ok(Err(failure));
                    }
                }
                Err(error) => return Ok(Err(self.lost(&error))),
            }
        }
    }

    /// Waits for an event, without the core.
    fn sleep(&mut self, until: Instant) -> anyhow::Result<Result<(), Failure>> {
        let event_loop = &mut self.event_loop;
        let timeout = until.saturating_duration_since(Instant::now());
        match event_loop.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        for event in &self.events {
            event_loop.mark(event);
        }
        event_loop.take_signals();
        let signal = event_loop.outside.as_mut().and_then(|outside| outside.signal.take());
        Ok(match signal {
            Some(signal) => Err(Failure::new(Kind::Signal(signal), "stopped by a signal")),
            None => Ok(()),
        })
    }

    fn lost(&mut self, error: &io::Error) -> Failure {
        if let Some(index) = self.event_loop.modems[0].ports.iter().position(|slot| slot.connected) {
            self.event_loop.now = Instant::now();
            self.event_loop.port_lost(0, index, error);
        }
        gone(&error.to_string())
    }

    /// Runs the loop until `find` finds something; `None` when `until` is reached.
    fn wait<T>(
        &mut self,
        until: Option<Instant>,
        mut find: impl FnMut(&mut EventLoop) -> Option<T>,
    ) -> anyhow::Result<Result<Option<T>, Failure>> {
        loop {
            self.event_loop.drain();
            if let Some(found) = find(&mut self.event_loop) {
                return Ok(Ok(Some(found)));
            }
            if let Some(status) = self.event_loop.stopped {
                let stopped = || Failure::new(status, "stopped");
                return Ok(Err(self.event_loop.failure(status).unwrap_or_else(stopped)));
            }
            // Taken, so that the commands that restore settings can still be sent after it.
            if let Some(signal) = self.event_loop.outside.as_mut().and_then(|it| it.signal.take()) {
                return Ok(Err(Failure::new(Kind::Signal(signal), "stopped by a signal")));
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(Ok(None));
            }
            self.event_loop.turn(&mut self.events, until)?;
        }
    }
}

fn gone(why: &str) -> Failure {
    Failure::new(Kind::PortUnavailable, why)
}

/// How long the modem may take no bytes.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// How often room is looked for.
const ROOM_WAIT: Duration = Duration::from_millis(5);

/// What came for [`Commanded`] and was not taken yet.
#[derive(Default)]
pub(super) struct Outside {
    pub answered: Option<(UserCommand, UserAnswer)>,
    /// Whether it is TLS, the number, and the result.
    pub opened: Vec<(CommandSet, u8, u16)>,
    /// The core does not write to the ports yet.
    pub is_held: bool,
    /// A signal that came and has not been reported yet.
    pub signal: Option<u8>,
}

/// How many results of opens are kept until they are taken: as many as one modem can have under way.
pub(super) const OPENED_MAX: usize = 24;
