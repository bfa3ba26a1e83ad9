//! A serial line between the program and a modem's port, which records what passes and can be cut at a byte.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// A line to a TCP port of a modem, on a free port of loopback. It stays connected to the modem when the host goes,
/// as a wire does: what the modem sends while there is no host is lost.
pub struct SerialLine {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What has passed since the host connected last.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// From the host to the modem.
    pub to_modem: Vec<u8>,
    /// From the modem to the host.
    pub from_modem: Vec<u8>,
}

/// Where the host's bytes stop.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Once the host has sent this.
    pub after: &'static [u8],
    /// And so many bytes more.
    pub bytes: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    host: Option<TcpStream>,
    passed: Passed,
    answered_at: Option<Instant>,
    /// For the host that connects next.
    next_cut: Option<Cut>,
    cutting: Cutting,
}

/// What becomes of the bytes of the host.
#[derive(Clone, Copy, Debug, Default)]
enum Cutting {
    #[default]
    Never,
    At(Cut),
    /// They are lost.
    Done,
}

impl SerialLine {
    /// A line to the port at this address.
    pub fn to(modem: SocketAddr) -> SerialLine {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let modem = TcpStream::connect(modem).expect("the modem listens");
        modem.set_nodelay(true).expect("it is TCP");
        let shared = Arc::new(Shared::default());
        let from_modem = modem.try_clone().expect("there are descriptors");
        let for_thread = Arc::clone(&shared);
        // The threads end with the test program.
        thread::spawn(move || for_thread.carry_from_modem(from_modem));
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for host in listener.incoming().flatten() {
                for_thread.serve(host, &modem);
            }
        });
        SerialLine { address, shared }
    }

    /// Its host's end, for `-d`.
    pub fn device(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// The host's end, for a test that is the host itself.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the line listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
        stream
    }

    /// What has passed since the host connected last.
    pub fn passed(&self) -> Passed {
        self.shared.lock().passed.clone()
    }

    /// Waits until no host is connected.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_free(&self) {
        let waits = |state: &mut State| state.host.is_some();
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(state.host.is_none(), "the host does not go");
    }

    /// When the first byte of the modem came since the host connected last.
    ///
    /// # Panics
    /// If none came.
    pub fn answered_at(&self) -> Instant {
        self.shared.lock().answered_at.expect("the modem has sent something")
    }

    /// The next host's bytes are lost from there on, until another host connects.
    pub fn cut_next(&self, cut: Cut) {
        self.shared.lock().next_cut = Some(cut);
    }

    /// Waits until the line is cut.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_cut(&self) {
        let waits = |state: &mut State| state.next_cut.is_some() || !matches!(state.cutting, Cutting::Done);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let sent = state.passed.to_modem.len();
        assert!(
            matches!(state.cutting, Cutting::Done),
            "the host sent {sent} bytes and never came to {:?}",
            state.cutting
        );
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut host: TcpStream, mut modem: &TcpStream) {
        host.set_nodelay(true).expect("it is TCP");
        let mut state = self.lock();
        let host_for_modem = host.try_clone().expect("there are descriptors");
        let cutting = match (state.next_cut.take(), state.cutting) {
            (Some(cut), _) => Cutting::At(cut),
            // The program has opened its port once more.
            (None, Cutting::At(cut)) => Cutting::At(cut),
            (None, Cutting::Never | Cutting::Done) => Cutting::Never,
        };
        *state = State { host: Some(host_for_modem), cutting, ..State::default() };
        drop(state);
        let mut buffer = [0; 4_096];
        // A host that is killed with unread bytes resets the connection.
        while let Ok(count @ 1..) = host.read(&mut buffer) {
            let count = self.lock().count_that_passes(&buffer[..count]);
            modem.write_all(&buffer[..count]).expect("the modem reads");
            self.changed.notify_all();
        }
        self.lock().host = None;
        self.changed.notify_all();
    }

    fn carry_from_modem(&self, mut modem: TcpStream) {
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = modem.read(&mut buffer) {
            let mut state = self.lock();
            let Some(host) = &state.host else { continue };
            let mut host = host.try_clone().expect("there are descriptors");
            state.passed.from_modem.extend_from_slice(&buffer[..count]);
            state.answered_at.get_or_insert_with(now);
            drop(state);
            // A host that has gone loses it.
            let _ = host.write_all(&buffer[..count]);
        }
    }
}

impl State {
    /// Records what passes of these bytes of the host, and returns how many do.
    fn count_that_passes(&mut self, bytes: &[u8]) -> usize {
        if let Cutting::Done = self.cutting {
            return 0;
        }
        let before = self.passed.to_modem.len();
        self.passed.to_modem.extend_from_slice(bytes);
        if let Cutting::At(cut) = self.cutting
            && let Some(at) = find(&self.passed.to_modem, cut.after)
            && let end = at + cut.after.len() + cut.bytes
            && self.passed.to_modem.len() >= end
        {
            // What has passed already cannot be called back.
            self.passed.to_modem.truncate(end.max(before));
            self.cutting = Cutting::Done;
        }
        self.passed.to_modem.len() - before
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[allow(clippy::disallowed_methods, reason = "a wire is at the edge")]
fn now() -> Instant {
    Instant::now()
}
