//! Goal of this test: our multiplexer and the Linux kernel's own (n_gsm) understand each other, in both roles, for
//! megabytes and a thousand opens and closes.
//!
//! The kernel runs in QEMU. `image` makes it from Debian's packages. `guest.c` is its process 1; it prints lines that
//! begin with `ok` or `not ok`.

#![allow(clippy::disallowed_methods, reason = "a serial line is at the edge")]

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use qssl_core::cmux::{DlciNumber, Mux, MuxEvent};
use qssl_modem_emulator::driver::PortLocation;
use qssl_modem_emulator::test_server::{Behaviour, ServerOptions, TestServer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::process::Signal;

use qssl_test_common::harness::{Site, Tunnel, connect, free_address, identity, patterned_bytes};
use qssl_test_common::packaging::{folder, run, said};
use qssl_test_common::qemu::Machine;
use qssl_test_common::top;

/// How much is carried each way in a test, in MiB.
const MIB: usize = 16;

/// How often a channel is opened and closed.
const OPENS: usize = 1_000;

/// Clients of the program, and what each sends and gets back. Not more: it takes some 10 s.
const CLIENTS: usize = 3;
const CLIENT_BYTES: u64 = 32 << 10;

/// Channels whose device sends back what it receives, where the kernel is the module.
const ECHOES: u8 = 3;

#[test]
fn the_kernel_as_module() {
    // Its frames may be set to carry 1,500 bytes, but it takes none of more than 1,499.
    for frame_bytes in [127, 512, 1_499] {
        let folder = folder();
        let path = folder.path().join("line");
        let listener = UnixListener::bind(&path).expect("the folder is ours");
        let machine = Guest::start(
            &format!("role=module frame_size={frame_bytes} echoes={ECHOES}"),
            &[format!("path={}", path.display())],
        );
        let (line, _) = listener.accept().expect("QEMU connects");
        machine.wait_for("ready");
        let is_long = frame_bytes == 512;
        let (bytes, opens) = if is_long { (MIB << 20, OPENS) } else { (256 << 10, 50) };
        let mut host = Host::new(line, frame_bytes, machine);
        host.open();
        host.hold();
        host.carry(bytes, opens);
        host.end_files(if is_long { 20 } else { 2 });
        host.leave();
    }
}

#[test]
fn the_kernel_as_host() {
    let options = ServerOptions {
        behaviour: Behaviour::Silent,
        identity: Some(identity().clone()),
        ..ServerOptions::default()
    };
    let silent = TestServer::start(options).expect("the server starts");
    let map = format!("--tcp 127.0.0.1:0 --map silent.test:443={}", silent.address());
    let site = Site::new(Behaviour::Echo, &map);
    let [PortLocation::Tcp(port)] = site.modem.embedded.locations() else { panic!("it has one port") };
    let machine = Guest::start(
        &format!("role=host frame_size=512 streams=2 mib={MIB} opens={OPENS}"),
        &[format!("host={},port={},nodelay=on", port.ip(), port.port())],
    );
    machine.wait_for("through");
    let counters = site.modem.embedded.report().expect("it runs").counters;
    assert_eq!((counters.mux_frames_too_long, counters.mux_flags_without_frame), (0, 0));
}

/// The program with a modem whose channels are the kernel's. In push mode, because the modem's own ports behind it show no
/// carrier and take no DTR.
#[test]
fn the_program_and_the_kernel_as_module() {
    let ports = "--tcp 127.0.0.1:0 ".repeat(4);
    let site = Site::new(
        Behaviour::Echo,
        &format!("{ports} --port-name uart1 --port-name usbmodem --port-name usbat --port-name uart2"),
    );
    let line = free_address();
    let mut sockets = vec![format!("host={},port={},server=on,wait=off,nodelay=on", line.ip(), line.port())];
    for location in site.modem.embedded.locations() {
        let PortLocation::Tcp(port) = location else { panic!("it has TCP ports") };
        sockets.push(format!("host={},port={},nodelay=on", port.ip(), port.port()));
    }
    let machine = Guest::start("role=modem", &sockets);
    machine.wait_for("ready");
    let since = Instant::now();
    let tunnel = Tunnel::verified(&[&format!("tcp://{line}")], &["--cmux", "on", "--mode", "push"]);

    let clients = [(); CLIENTS].map(|()| connect(tunnel.address()));
    let clients = clients.map(|mut client| {
        let mut writer = client.try_clone().expect("there are descriptors");
        let bytes = patterned_bytes(CLIENT_BYTES);
        let expected = bytes.clone();
        let writing = thread::spawn(move || writer.write_all(&bytes));
        thread::spawn(move || {
            let mut come = vec![0; expected.len()];
            client.read_exact(&mut come).expect("all of it comes back");
            assert!(come == expected, "other bytes came back");
            writing.join().expect("it does not panic").expect("all of it is sent");
        })
    });
    for client in clients {
        client.join().unwrap_or_else(|_| panic!("{}", tunnel.log()));
    }
    tunnel.wait_for("carries 4 channels (CMUX)");
    println!(
        "ok {CLIENTS} clients, {CLIENT_BYTES} bytes each way each, {:.1} s",
        since.elapsed().as_secs_f64()
    );
    tunnel.signal(Signal::TERM);
    tunnel.ends_with(0);
}

/// Kernel and initrd, made if they do not exist, once for all tests.
static IMAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("line_discipline");
    let output = run(Command::new(top().join("tests/line_discipline/image")).arg(&folder));
    assert!(output.status.success(), "{:?}", said(&output));
    folder
});

/// The kernel in its machine.
struct Guest {
    lines: Receiver<String>,
    _machine: Machine,
}

impl Guest {
    /// Starts a machine whose process 1 gets `variables`, and whose serial lines are these sockets.
    fn start(variables: &str, sockets: &[String]) -> Guest {
        // Not KVM, which may exist inside other virtual machines and not work.
        let machine = ["-accel", "tcg", "-m", "128", "-serial", "stdio", "-device", "virtio-serial-pci"];
        let lines = sockets.iter().enumerate().flat_map(|(index, socket)| {
            let chardev = format!("socket,id=line{index},{socket}");
            let device = format!("virtconsole,chardev=line{index}");
            ["-chardev".to_owned(), chardev, "-device".to_owned(), device]
        });
        let arguments = machine.map(str::to_owned).into_iter().chain(lines);
        let mut machine = Machine::start(&IMAGE, &format!("quiet {variables}"), arguments);
        Guest { lines: machine.lines(), _machine: machine }
    }

    /// Waits for this line.
    fn wait_for(&self, wanted: &str) {
        loop {
            let line = self.lines.recv_timeout(SILENCE_LIMIT);
            let line = line.unwrap_or_else(|_| panic!("{wanted:?} does not come"));
            assert!(!line.contains("not ok"), "{line}");
            if line == wanted {
                return;
            }
        }
    }
}

/// Our multiplexer at the other end of the line.
struct Host {
    mux: Mux,
    line: UnixStream,
    /// Bytes that came and that the multiplexer has not taken.
    input: Vec<u8>,
    events: VecDeque<MuxEvent>,
    frame_bytes: usize,
    machine: Guest,
}

impl Host {
    fn new(line: UnixStream, frame_bytes: usize, machine: Guest) -> Host {
        line.set_nonblocking(true).expect("it is a socket");
        // What is under way when the kernel holds a channel must find room there.
        sockopt::set_socket_send_buffer_size(&line, LINE_BYTES).expect("it is a socket");
        Host {
            mux: Mux::new(frame_bytes, 4, 115_200, Instant::now()),
            line,
            input: Vec::new(),
            events: VecDeque::new(),
            frame_bytes,
            machine,
        }
    }

    /// Moves bytes and time until there is nothing more to do now, or waits until there is.
    fn turn(&mut self) {
        let now = Instant::now();
        let mut moved = false;
        let mut buffer = [0; 4_096];
        if self.input.is_empty() {
            match self.line.read(&mut buffer) {
                Ok(count @ 1..) => self.input.extend_from_slice(&buffer[..count]),
                Ok(0) => panic!("the machine has ended"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
        }
        if !self.input.is_empty() {
            let count = self.mux.received(&self.input, now);
            self.input.drain(..count);
            moved |= count > 0;
        }
        if !self.mux.output().is_empty() {
            match self.line.write(self.mux.output()) {
                Ok(count) => {
                    self.mux.written(count, now);
                    moved |= count > 0;
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
            }
        }
        if self.mux.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.mux.deadline_passed(now);
            moved = true;
        }
        while let Some(event) = self.mux.poll_event() {
            assert!(
                !matches!(event, MuxEvent::Lost(_) | MuxEvent::Overrun(_) | MuxEvent::Text(_)),
                "{event:?}"
            );
            self.events.push_back(event);
            moved = true;
        }
        if !moved {
            self.wait(now);
        }
    }

    fn wait(&self, now: Instant) {
        let wants = match self.mux.output().is_empty() {
            true => PollFlags::IN,
            false => PollFlags::IN | PollFlags::OUT,
        };
        // Also for what the machine prints.
        let limit = self.mux.next_deadline().map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
        let limit = Timespec::try_from(limit).expect("it is short");
        poll(&mut [PollFd::new(&self.line, wants)], Some(&limit)).expect("the socket can be waited for");
    }

    /// Goes on until `done` finds what it waits for.
    fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Host) -> Option<T>) -> T {
        let limit = Instant::now() + SILENCE_LIMIT;
        loop {
            if let Some(value) = done(self) {
                return value;
            }
            assert!(Instant::now() < limit, "{what}: does not happen; {:?}", self.mux);
            self.turn();
        }
    }

    /// Waits for an event, and drops those before it.
    fn until_event(&mut self, what: &str, is_wanted: impl Fn(&MuxEvent) -> bool) {
        self.until(what, |host| host.events.pop_front().filter(&is_wanted));
    }

    fn open(&mut self) {
        let since = Instant::now();
        self.mux.open(since);
        self.until_event("four channels open", |event| *event == MuxEvent::Running);
        self.report("four channels are open", since);
        for dlci in DlciNumber::first(usize::from(ECHOES)) {
            self.until_device_is_open(dlci);
        }
        self.report("the devices show DTR", since);
    }

    /// The program in the machine greets when its device takes raw bytes.
    fn until_device_is_open(&mut self, dlci: DlciNumber) {
        self.until("the device is open", |host| {
            let shows_dtr = host.mux.dlci(dlci).lines().is_some_and(|lines| lines.rtc());
            (shows_dtr && host.mux.incoming(dlci) == b"!").then_some(())
        });
        self.mux.consume(dlci, 1, Instant::now());
    }

    fn echo(&mut self, dlci: DlciNumber, token: &str) {
        self.mux.send_bytes(dlci, token.as_bytes(), Instant::now());
        self.until("it comes back", |host| (host.mux.incoming(dlci) == token.as_bytes()).then_some(()));
        self.mux.consume(dlci, token.len(), Instant::now());
    }

    /// A channel that is not read is held by FC, and no other.
    fn hold(&mut self) {
        let since = Instant::now();
        let [held, other] = [1, 2].map(|number| DlciNumber::new(number).expect("it is a channel"));
        let mut transfer = Transfer::new(held, WINDOW_BYTES);
        self.until("FC holds the channel", |host| {
            transfer.send(&mut host.mux);
            host.mux.dlci(held).our_lines().filter(|lines| lines.flow_is_off())
        });
        self.echo(other, "another channel");
        self.until("all of it comes back", |host| {
            transfer.send(&mut host.mux);
            transfer.take(&mut host.mux);
            (transfer.to_come == 0).then_some(())
        });
        self.report("a channel is held by FC", since);
    }

    /// Sends `bytes` bytes over the channels with an echo, and opens and closes the last channel meanwhile.
    fn carry(&mut self, bytes: usize, opens: usize) {
        let since = Instant::now();
        let last = DlciNumber::new(4).expect("it is a channel");
        let mut transfers: Vec<_> = DlciNumber::first(usize::from(ECHOES))
            .map(|dlci| Transfer::new(dlci, bytes.div_ceil(usize::from(ECHOES))))
            .collect();
        let mut closes = 0;
        self.mux.close_channel(last, since);
        let mut progress = Instant::now();
        while closes < opens || transfers.iter().any(|transfer| transfer.to_come > 0) {
            assert!(progress.elapsed() < SILENCE_LIMIT, "nothing comes back: {:?}", self.mux);
            for transfer in &mut transfers {
                transfer.send(&mut self.mux);
                if transfer.take(&mut self.mux) {
                    progress = Instant::now();
                }
            }
            while let Some(event) = self.events.pop_front() {
                let now = Instant::now();
                match event {
                    MuxEvent::Closed(dlci) if dlci == last => {
                        closes += 1;
                        if closes < opens {
                            self.mux.open_channel(last, now);
                        }
                    }
                    MuxEvent::Opened(dlci) if dlci == last => self.mux.close_channel(last, now),
                    MuxEvent::Lines(..) => {}
                    other => panic!("{other:?}"),
                }
                if closes == opens {
                    closes += 1;
                    self.report(&format!("{opens} opens and closes"), since);
                }
            }
            self.turn();
        }
        self.report(&format!("{bytes} bytes each way on {ECHOES} channels, equal"), since);
    }

    /// DISC is an end of file for the program in the machine, and the channel can be used again after it.
    fn end_files(&mut self, rounds: usize) {
        let since = Instant::now();
        let dlci = DlciNumber::new(2).expect("it is a channel");
        for round in 0..rounds {
            self.mux.close_channel(dlci, Instant::now());
            self.until_event("the channel closes", |event| *event == MuxEvent::Closed(dlci));
            self.until("the program reads the end of file", |host| match host.machine.lines.try_recv() {
                Ok(line) => {
                    (line == format!("end of file on channel {dlci}", dlci = dlci.get())).then_some(())
                }
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => panic!("the machine has ended"),
            });
            self.mux.open_channel(dlci, Instant::now());
            self.until_device_is_open(dlci);
            self.echo(dlci, &format!("round {round}"));
        }
        self.report(&format!("{rounds} ends of file"), since);
    }

    fn leave(mut self) {
        let since = Instant::now();
        self.mux.leave(since);
        self.until_event("the mode is left", |event| *event == MuxEvent::Left);
        self.report("left", since);
        let counters = self.mux.counters(Instant::now());
        println!("{counters:?}");
        assert_eq!((counters.bad_fcs, counters.garbage_bytes, counters.unsent), (0, 0, 0));
    }

    fn report(&self, what: &str, since: Instant) {
        println!("ok N1 {}: {what}, {:.1} s", self.frame_bytes, since.elapsed().as_secs_f64());
    }
}

/// Bytes that go out on a channel, and must come back.
struct Transfer {
    dlci: DlciNumber,
    to_send: usize,
    to_come: usize,
    sent: Payload,
    expected: Payload,
}

impl Transfer {
    fn new(dlci: DlciNumber, bytes: usize) -> Transfer {
        let payload = || Payload::new(dlci.get());
        Transfer { dlci, to_send: bytes, to_come: bytes, sent: payload(), expected: payload() }
    }

    fn send(&mut self, mux: &mut Mux) {
        let most = WINDOW_BYTES.min(WINDOW_FRAMES * mux.frame_size());
        let window = most.saturating_sub(self.to_come - self.to_send);
        let count = mux.room(self.dlci).min(self.to_send).min(window);
        if count > 0 {
            let bytes = self.sent.take(count);
            assert_eq!(mux.send_bytes(self.dlci, &bytes, Instant::now()), count);
            self.to_send -= count;
        }
    }

    /// Returns whether anything came back.
    fn take(&mut self, mux: &mut Mux) -> bool {
        let count = mux.incoming(self.dlci).len();
        if count == 0 {
            return false;
        }
        let come = self.to_come;
        let expected = self.expected.take(count);
        let is_right = mux.incoming(self.dlci) == expected;
        assert!(
            is_right,
            "channel {}: other bytes came back than were sent, {come} before the end: {:?}",
            self.dlci.get(),
            mux.counters(Instant::now())
        );
        mux.consume(self.dlci, count, Instant::now());
        self.to_come = come.checked_sub(count).expect("no more comes back than was sent");
        true
    }
}

/// A stream of bytes that no two channels share (xorshift64).
struct Payload {
    state: u64,
    ready: VecDeque<u8>,
}

impl Payload {
    fn new(seed: u8) -> Payload {
        Payload { state: u64::from(seed), ready: VecDeque::new() }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.ready.len() < count {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.ready.extend(self.state.to_le_bytes());
        }
        self.ready.drain(..count).collect()
    }
}

/// What the line itself holds.
const LINE_BYTES: usize = 4_096;

/// The most bytes of a channel that are under way. This line has no speed, and the kernel drops what its buffers (640 KiB)
/// do not hold before it has sent FC.
const WINDOW_BYTES: usize = 64 * 1024;

/// The same in frames: short ones take many times their length in such a buffer.
const WINDOW_FRAMES: usize = 2_560;

/// How often the output of the machine is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a boot, or anything else, may take if QEMU emulates the processor on a busy machine.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
