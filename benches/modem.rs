//! The modem of the bench: the emulator's core on a pseudoterminal, with far ends that cost nothing.
//!
//! It runs on a thread of the bench, so that the resources measured for a program under test are its own. With a
//! speed, bytes take as long as on a UART. Without one, the bytes of a transparent connection do not pass through
//! the emulator: the far end is at the pseudoterminal itself, so that only the programs limit the speed.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qssl_modem_emulator as emulator;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::line::Line;
use qssl_test_common::world::{FarEnd, World};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serialport::{SerialPort as _, TTYPort};

use crate::meter::Meter;

/// The settings of a modem.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The speed of the line, in bit/s; 0 means without limit.
    pub baud: u32,
    /// What the servers do.
    pub far_end: FarEnd,
    /// When the far end is at the port itself, with no modem in between.
    pub direct: Direct,
}

/// When the far end is at the port itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direct {
    /// Never: all bytes pass through the modem.
    Never,
    /// Once the modem has sent CONNECT.
    Connected,
    /// From the beginning: there is no modem.
    Always,
}

/// A running modem. Dropping it ends it.
pub struct Modem {
    path: PathBuf,
    orders: Sender<Order>,
    opened: Receiver<Instant>,
    arrived: Receiver<Instant>,
    waker: PipeWriter,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// From now on this meter counts what sinks read.
    Measure(Meter),
    /// The time at which a sink reads its next bytes is told.
    Expect,
    /// The source sends this many more bytes.
    Say(u64),
    Stop,
}

impl Modem {
    /// Switches a modem on.
    pub fn start(settings: Settings) -> Modem {
        let (master, slave) = TTYPort::pair().expect("a pseudoterminal");
        let path = PathBuf::from(slave.name().expect("it has a name"));
        set_nonblocking(borrow(&master));
        let (waker_reader, waker) = std::io::pipe().expect("a pipe");
        set_nonblocking(waker_reader.as_fd());
        let (orders, orders_receiver) = channel();
        let (opened_sender, opened) = channel();
        let (arrived_sender, arrived) = channel();
        let now = Instant::now();
        let config = emulator::Config {
            ports: vec![if settings.baud > 0 { PortName::Uart1 } else { PortName::UsbModem }],
            baud: if settings.baud > 0 { settings.baud } else { 115_200 },
            ..emulator::Config::default()
        };
        let line = |_| Line::new(settings.baud, if settings.baud > 0 { LINE_BYTES } else { BUFFER_BYTES });
        let worker = Worker {
            settings,
            master,
            _slave: slave,
            waker: waker_reader,
            orders: orders_receiver,
            core: emulator::Modem::new(config, now),
            world: World::new(settings.far_end),
            meter: None,
            to_say: 0,
            opened: opened_sender,
            arrived: arrived_sender,
            expects: false,
            lines: [line(0), line(1)],
            buffer: vec![b'.'; BUFFER_BYTES],
            answers: VecDeque::new(),
            direct: settings.direct == Direct::Always,
            output_blocked: false,
        };
        let thread = std::thread::Builder::new().name("modem".into()).spawn(move || worker.run());
        Modem { path, orders, opened, arrived, waker, thread: Some(thread.expect("a thread")) }
    }

    /// Its port.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the meter count what sinks read.
    pub fn measure(&self, meter: Meter) {
        self.order(Order::Measure(meter));
    }

    /// Lets the source send this many more bytes.
    pub fn say(&self, bytes: u64) {
        self.order(Order::Say(bytes));
    }

    /// Waits for the next AT+QSSLOPEN and returns the time at which its last byte arrived.
    pub fn next_open(&self) -> Instant {
        self.opened.recv_timeout(PATIENCE).expect("the program opens a connection")
    }

    /// Lets [`Modem::next_arrival`] tell when a sink reads the next bytes.
    pub fn expect_bytes(&self) {
        self.order(Order::Expect);
    }

    /// Waits for the bytes that are expected, and returns the time at which a sink read the first of them.
    pub fn next_arrival(&self) -> Instant {
        self.arrived.recv_timeout(PATIENCE).expect("the program sends them")
    }

    fn order(&self, order: Order) {
        // Fails when the thread has panicked, which joining it shows.
        let _ = self.orders.send(order);
        let _ = (&self.waker).write_all(b"!");
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the modem has panicked");
        }
    }
}

struct Worker {
    settings: Settings,
    master: TTYPort,
    /// Kept open, so that a program that comes and goes does not look like a broken line.
    _slave: TTYPort,
    waker: PipeReader,
    orders: Receiver<Order>,
    core: emulator::Modem,
    world: World,
    meter: Option<Meter>,
    /// How many bytes the far end at the port itself has still to send.
    to_say: u64,
    opened: Sender<Instant>,
    arrived: Sender<Instant>,
    /// The next bytes that a sink reads are to be told.
    expects: bool,
    /// To the modem, and to the host.
    lines: [Line; 2],
    buffer: Vec<u8>,
    /// Without a modem: what the far end has still to send, of each byte the complement. An echo would look to the
    /// tunnel like a modem that has booted, and would end the stream.
    answers: VecDeque<u8>,
    direct: bool,
    output_blocked: bool,
}

impl Worker {
    fn run(mut self) {
        // The deadlines of a line are exact to the microsecond.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
        loop {
            // A whole round uses one time: with a running clock, a line would always have another byte.
            let now = Instant::now();
            while self.turn(now) {}
            if !self.wait() {
                return;
            }
        }
    }

    /// Sleeps until there is something to do; false when the modem has to stop.
    fn wait(&mut self) -> bool {
        let takes_bytes = self.direct || self.lines[0].room().min(self.core.wants_bytes(0)) > 0;
        let mut wanted = if takes_bytes { PollFlags::IN } else { PollFlags::empty() };
        if self.output_blocked || (self.direct && self.to_say > 0) {
            wanted |= PollFlags::OUT;
        }
        let quantum = (self.settings.baud / 10_000).max(1) as usize;
        let lines = self.lines.iter().filter_map(|line| line.deadline_for(quantum));
        let deadline = lines.filter(|_| self.settings.baud > 0).chain(self.core.next_deadline()).min();
        let deadline = deadline.filter(|_| !self.direct);
        let rest = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let rest = rest.map(|rest| Timespec::try_from(rest).expect("no deadline is years away"));
        let mut fds =
            [PollFd::from_borrowed_fd(borrow(&self.master), wanted), PollFd::new(&self.waker, PollFlags::IN)];
        match rustix::event::poll(&mut fds, rest.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
        if fds[1].revents().contains(PollFlags::IN) {
            while self.waker.read(&mut [0; 16]).is_ok_and(|count| count > 0) {}
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Measure(meter) => self.meter = Some(meter),
                    Order::Expect => self.expects = true,
                    Order::Say(bytes) if self.settings.direct == Direct::Never => {
                        self.world.to_say += bytes;
                        self.core.network_changed(Instant::now(), &mut self.world);
                    }
                    Order::Say(bytes) => self.to_say += bytes,
                    Order::Stop => return false,
                }
            }
        }
        true
    }

    /// Moves what can be moved; true if anything moved.
    fn turn(&mut self, now: Instant) -> bool {
        if self.direct {
            return self.direct_turn();
        }
        let mut moved = false;
        if self.core.next_deadline().is_some_and(|at| at <= now) {
            self.core.deadline_passed(now, &mut self.world);
            moved = true;
        }
        let room = self.lines[0].room().min(self.core.wants_bytes(0)).min(self.buffer.len());
        if let Some(count) = read(&self.master, &mut self.buffer[..room]) {
            self.lines[0].push(&self.buffer[..count], now);
            moved = true;
        }
        let arrived = self.lines[0].arrived(now);
        let arrived = &arrived[..arrived.len().min(self.core.wants_bytes(0))];
        if !arrived.is_empty() {
            let count = arrived.len();
            self.core.received(0, arrived, now, &mut self.world);
            self.lines[0].consume(count);
            moved = true;
        }
        let taken = self.lines[1].push(self.core.output(0), now);
        if taken > 0 {
            self.core.written(0, taken, now);
            moved = true;
        }
        let arrived = self.lines[1].arrived(now);
        self.output_blocked = false;
        if !arrived.is_empty() {
            let count = write(&self.master, arrived);
            self.output_blocked = count < arrived.len();
            self.lines[1].consume(count);
            moved |= count > 0;
        }
        let (read, opened) = (std::mem::take(&mut self.world.read), std::mem::take(&mut self.world.opened));
        self.saw(read as usize);
        if read > 0 && std::mem::take(&mut self.expects) {
            // The receiver may be gone.
            let _ = self.arrived.send(now);
        }
        if opened > 0 {
            // The receiver may be gone.
            let _ = self.opened.send(now);
        }
        let silent = self.core.output(0).is_empty() && self.lines[1].is_empty() && self.lines[0].is_empty();
        self.direct = self.settings.direct == Direct::Connected && silent && self.core.modem_lines(0).dcd;
        moved
    }

    fn saw(&mut self, count: usize) {
        if let Some(meter) = self.meter.as_mut().filter(|_| count > 0) {
            meter.saw(count);
        }
    }

    /// The far end at the port itself.
    fn direct_turn(&mut self) -> bool {
        let mut moved = false;
        if let Some(count) = read(&self.master, &mut self.buffer) {
            moved = true;
            match self.settings.far_end {
                FarEnd::Sink | FarEnd::Source => self.saw(count),
                FarEnd::Echo => self.answers.extend(self.buffer[..count].iter().map(|byte| !byte)),
            }
        }
        let to_say = self.buffer.len().min(self.to_say as usize);
        if to_say > 0 {
            let count = write(&self.master, &self.buffer[..to_say]);
            self.to_say -= count as u64;
            moved |= count > 0;
        }
        let answers = self.answers.make_contiguous();
        if !answers.is_empty() {
            let count = write(&self.master, answers);
            self.output_blocked = count < answers.len();
            self.answers.drain(..count);
            moved |= count > 0;
        }
        moved
    }
}

/// `None` if there is nothing to read.
fn read(master: &TTYPort, buffer: &mut [u8]) -> Option<usize> {
    if buffer.is_empty() {
        return None;
    }
    match rustix::io::read(borrow(master), buffer) {
        Ok(count) => Some(count).filter(|count| *count > 0),
        // The kernel returns EIO when no program has the other end open.
        Err(Errno::AGAIN | Errno::INTR | Errno::IO) => None,
        Err(error) => panic!("pseudoterminal: {error}"),
    }
}

fn write(master: &TTYPort, bytes: &[u8]) -> usize {
    match rustix::io::write(borrow(master), bytes) {
        Ok(count) => count,
        Err(Errno::AGAIN | Errno::INTR) => 0,
        Err(error) => panic!("pseudoterminal: {error}"),
    }
}

fn borrow(tty: &TTYPort) -> BorrowedFd<'_> {
    // SAFETY: the TTYPort owns the descriptor and closes it only when it is dropped, which the borrow rules out
    // for as long as the result lives.
    unsafe { BorrowedFd::borrow_raw(tty.as_raw_fd()) }
}

fn set_nonblocking(fd: BorrowedFd<'_>) {
    let flags = rustix::fs::fcntl_getfl(fd).expect("an open descriptor has flags");
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).expect("they can be set");
}

/// What one direction of a line holds: 11 ms at 921600 baud, so that the loop need not be punctual.
const LINE_BYTES: usize = 1_024;
const BUFFER_BYTES: usize = 64 * 1024;

/// The longest wait for a program; a slower one has failed.
const PATIENCE: Duration = Duration::from_secs(60);
