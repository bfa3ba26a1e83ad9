//! Figures by the wall clock: the tunnel's own program, and others for comparison, each with a modem of its own.
//!
//! All figures are comparisons: the programs take turns, round by round, and the median of the rounds counts.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use qssl_core::settings::Mode;
use qssl_simulation::figures::Way;
use qssl_test_common::world::FarEnd;

use crate::meter::{Meter, Rate};
use crate::modem::{Direct, Modem, Settings};
use crate::program::{Carried, Program};

/// A program between a client and a modem.
pub struct Link {
    // In the order in which they are dropped.
    client: TcpStream,
    /// The program.
    pub program: Program,
    modem: Modem,
}

/// The figures of one round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// In byte/s.
    pub rate: f64,
    /// Processor time of the program, in nanoseconds per byte.
    pub cost: f64,
}

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The tunnel, which the others are compared with.
    Tunnel(Carried),
    /// The yardstick.
    Rote(Carried),
    /// socat, without any modem.
    Socat,
}

impl Link {
    /// Starts a program with one client whose connection is up. `None` if the program is not installed.
    pub fn new(who: Who, mode: Mode, baud: u32, far_end: FarEnd) -> Option<Link> {
        let direct = match (who, mode) {
            (Who::Socat, _) => Direct::Always,
            (_, Mode::Transparent) if baud == 0 => Direct::Connected,
            _ => Direct::Never,
        };
        let modem = Modem::start(Settings { baud, far_end, direct });
        let program = match who {
            Who::Tunnel(carried) => Program::tunnel(modem.path(), carried, mode, baud.max(115_200)),
            Who::Rote(carried) => Program::rote(modem.path(), carried, mode),
            Who::Socat => Program::socat(modem.path())?,
        };
        let client = program.connect();
        if who != Who::Socat {
            modem.next_open();
        }
        Some(Link { client, program, modem })
    }

    /// Moves `total` bytes, and measures after the first `skip`.
    pub fn transfer(&mut self, way: Way, skip: u64, total: u64) -> Round {
        let (mut meter, result) = Meter::new(skip, total);
        let before = self.program.taken();
        let mut buffer = vec![b'.'; PIECE_BYTES];
        match way {
            Way::Up => {
                self.modem.measure(meter);
                let mut left = total;
                while left > 0 {
                    let count = left.min(PIECE_BYTES as u64) as usize;
                    self.client.write_all(&buffer[..count]).expect("the program reads");
                    left -= count as u64;
                }
            }
            Way::Down => {
                self.modem.say(total);
                let mut left = total;
                while left > 0 {
                    let count = self.client.read(&mut buffer).expect("the program writes");
                    assert!(count > 0, "the program has ended the connection");
                    meter.saw(count);
                    left -= count as u64;
                }
            }
        }
        let rate: Rate = result.recv_timeout(PATIENCE).expect("everything arrives");
        let processor = self.program.taken().processor - before.processor;
        Round { rate: rate.per_second(), cost: processor.as_nanos() as f64 / total as f64 }
    }

    /// Sends 64 bytes and reads as many, `count` times; returns the time of each round trip.
    pub fn ping(&mut self, count: usize) -> Vec<Duration> {
        let ping = [b'.'; 64];
        let mut pong = [0; 64];
        let mut one = || {
            let begin = Instant::now();
            self.client.write_all(&ping).expect("the program reads");
            self.client.read_exact(&mut pong).expect("the program writes");
            begin.elapsed()
        };
        (0..count).map(|_| one()).collect()
    }
}

/// How long the first bytes of a client take from its connect to the server, of so many clients one after the other.
/// `is_warm`: their connections are open before they come. The server takes no time for a handshake.
pub fn first_bytes(carried: Carried, mode: Mode, is_warm: bool, count: usize) -> Vec<Duration> {
    let modem = Modem::start(Settings { baud: 0, far_end: FarEnd::Sink, direct: Direct::Never });
    let options: &[&str] = if is_warm { &["--warm", "1"] } else { &[] };
    let program = Program::tunnel_with(options, modem.path(), carried, mode, 115_200);
    if is_warm {
        modem.next_open();
    }
    let mut were_ahead = 0;
    let mut one = || {
        // The connection ahead opens, and the last client's closes.
        std::thread::sleep(Duration::from_millis(50));
        modem.expect_bytes();
        let begin = Instant::now();
        let mut client = program.connect();
        client.write_all(&[b'.'; 64]).expect("the program reads");
        let arrived = modem.next_arrival();
        // Its own open came before its bytes; that for the next client comes after them, unless it was slow to write.
        were_ahead += usize::from(modem.next_open() > arrived);
        arrived.saturating_duration_since(begin)
    };
    let times = (0..count).map(|_| one()).collect();
    assert_eq!(were_ahead > count / 2, is_warm, "{were_ahead} of {count} connections were open before");
    times
}

/// The median; of an even number of figures, the upper one.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The smallest of these times that at least this share of them does not exceed.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1]
}

const PIECE_BYTES: usize = 64 * 1024;

/// The longest wait for a transfer; a slower one has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends `bytes_each` bytes through each client, all at the same time, and reads the echoes.
pub fn echo_through(clients: &[TcpStream], bytes_each: usize) {
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                let mut client = client;
                let buffer = [b'.'; 16 * 1024];
                for _ in 0..bytes_each / buffer.len() {
                    client.write_all(&buffer).expect("the program reads");
                }
            });
            scope.spawn(move || {
                let mut client = client;
                let mut buffer = [0; 16 * 1024];
                let mut left = bytes_each / buffer.len() * buffer.len();
                while left > 0 {
                    left -= client.read(&mut buffer).expect("the program writes").min(left);
                }
            });
        }
    });
}
