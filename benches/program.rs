//! Starts the programs under test, waits until they listen, measures them from outside, and ends them.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use qssl_core::settings::Mode;

/// A program that serves TCP clients. Dropping it kills it.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start to its report that it listens.
    pub took: Duration,
}

/// What the modem's connection carries, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// A stream over TLS.
    Tls,
    /// A stream over plain TCP.
    Tcp,
    /// Datagrams over DTLS.
    Dtls,
    /// Plain datagrams.
    Udp,
}

impl Carried {
    /// Whether these are datagrams.
    pub fn is_datagrams(self) -> bool {
        matches!(self, Carried::Dtls | Carried::Udp)
    }

    /// Whether the modem encrypts.
    pub fn has_tls(self) -> bool {
        matches!(self, Carried::Tls | Carried::Dtls)
    }

    fn scheme(self) -> &'static str {
        match self {
            Carried::Tls => "",
            Carried::Tcp => "tcp://",
            Carried::Dtls => "dtls://",
            Carried::Udp => "udp://",
        }
    }
}

/// The resources that a process has used so far, as the system reports them.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Time on a processor.
    pub processor: Duration,
    /// Context switches, voluntary or not.
    pub switches: u64,
}

impl Program {
    /// The tunnel, without TLS settings, a liveness probe, or a control socket.
    pub fn tunnel(device: &Path, carried: Carried, mode: Mode, baud: u32) -> Program {
        Program::tunnel_with(&[], device, carried, mode, baud)
    }

    /// The same with these options.
    pub fn tunnel_with(options: &[&str], device: &Path, carried: Carried, mode: Mode, baud: u32) -> Program {
        let mode = word(mode);
        let baud = baud.to_string();
        let listen = if carried.is_datagrams() { "udp:127.0.0.1:0" } else { "127.0.0.1:0" };
        let target = format!("{}server.test:443", carried.scheme());
        let mut command = Command::new(env!("CARGO_BIN_EXE_qssl-tunnel"));
        command.env_clear().args(["listen", listen, "--to", &target, "-d"]).arg(device);
        command.args(["--mode", mode, "-b", &baud, "--liveness-interval", "0"]);
        command.args(carried.has_tls().then_some("--insecure")).args(options);
        let mut program = Program::start(&mut command);
        program.wait_for("ready");
        program
    }

    /// The yardstick, which is this executable itself.
    pub fn rote(device: &Path, carried: Carried, mode: Mode) -> Program {
        let this = std::env::current_exe().expect("a program has a path");
        let kind = if carried.has_tls() { "tls" } else { "plain" };
        let mode = (mode as u8).to_string();
        Program::start(Command::new(this).arg("rote").arg(device).args([kind, &mode]))
    }

    /// socat between TCP and the port; `None` where it is not installed.
    pub fn socat(device: &Path) -> Option<Program> {
        Command::new("socat").arg("-V").output().ok()?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let mut command = Command::new("socat");
        command.args(["-d", "-d", "-b", "65536"]).arg(format!("TCP-LISTEN:{port},bind=127.0.0.1"));
        Some(Program::start(command.arg(format!("OPEN:{},raw", device.display()))))
    }

    fn start(command: &mut Command) -> Program {
        let started = Instant::now();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
            child.stderr.take().map(|output| Box::new(output) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // The other side may be gone.
                    let _ = sender.send(line);
                }
            });
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Program { child, lines, address, took: Duration::ZERO };
        let line = program.wait_for("listening on ");
        program.took = started.elapsed();
        let (_, rest) = line.split_once("listening on ").expect("it was waited for");
        let address = rest.split([' ', ',']).find_map(|word| word.trim_start_matches("udp:").parse().ok());
        program.address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        program
    }

    /// A socket that sends it datagrams.
    pub fn datagrams(&self) -> UdpSocket {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        client.connect(self.address).expect("an address can be set");
        client.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
        client
    }

    /// Connects a client to it.
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("it listens");
        client.set_nodelay(true).expect("TCP");
        client
    }

    /// Waits for a line that contains these words, and returns it.
    pub fn wait_for(&mut self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => said = said + &line + "\n",
                Err(error) => panic!("{words:?} was not said ({error}), but:\n{said}"),
            }
        }
    }

    /// The resources that it has used so far.
    pub fn taken(&self) -> Taken {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut taken = Taken { processor: Duration::ZERO, switches: 0 };
        for task in std::fs::read_dir(process.join("task")).expect("it runs").flatten() {
            let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let nanoseconds = read("schedstat").split(' ').next().and_then(|first| first.parse().ok());
            taken.processor += Duration::from_nanos(nanoseconds.unwrap_or(0));
            let status = read("status");
            let switches = status.lines().filter_map(|line| line.split_once("_ctxt_switches:"));
            taken.switches += switches.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum::<u64>();
        }
        taken
    }

    /// Its resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.lines.iter() {
                eprintln!("the program said: {line}");
            }
        }
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Buffer => "buffer",
        Mode::Push => "push",
        Mode::Transparent => "transparent",
    }
}

/// The longest wait for a program; a slower one has failed.
const PATIENCE: Duration = Duration::from_secs(60);
