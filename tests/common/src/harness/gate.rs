//! A TCP relay that lets through as many bytes as the test allows: a slow server, or a connection that breaks.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A relay in front of one address, on a free port of loopback. Bytes from the address always pass. Bytes to it
/// pass as far as the gate is open.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    target: SocketAddr,
    /// How many bytes may still pass, of all connections together.
    allowance: u64,
    streams: Vec<TcpStream>,
    /// Clients that connect are cut off at once.
    is_shut: bool,
}

impl Gate {
    /// An open gate.
    pub fn open(target: SocketAddr) -> Gate {
        Gate::with_allowance(target, u64::MAX)
    }

    /// A closed gate.
    pub fn closed(target: SocketAddr) -> Gate {
        Gate::with_allowance(target, 0)
    }

    fn with_allowance(target: SocketAddr, allowance: u64) -> Gate {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State { target, allowance, streams: Vec::new(), is_shut: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        // The threads end with their connections, the acceptor with the test program.
        thread::spawn(move || {
            for front in listener.incoming().flatten() {
                let state = for_thread.lock();
                let (target, is_shut) = (state.target, state.is_shut);
                drop(state);
                if is_shut {
                    continue;
                }
                let Ok(back) = TcpStream::connect(target) else { continue };
                for_thread.relay(&front, &back);
            }
        });
        Gate { address, shared }
    }

    /// The address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `bytes` more bytes through.
    pub fn pass(&self, bytes: u64) {
        let mut state = self.shared.lock();
        state.allowance = state.allowance.saturating_add(bytes);
        self.shared.changed.notify_all();
    }

    /// Connects new clients to another address from now on.
    pub fn redirect(&self, target: SocketAddr) {
        self.shared.lock().target = target;
    }

    /// Lets new clients through again from now on.
    pub fn reopen(&self) {
        self.shared.lock().is_shut = false;
    }

    /// Cuts all connections, and new ones from now on.
    pub fn shut(&self) {
        let mut state = self.shared.lock();
        state.is_shut = true;
        for stream in state.streams.drain(..) {
            // The connection may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn relay(self: &Arc<Self>, front: &TcpStream, back: &TcpStream) {
        let copy = |stream: &TcpStream| stream.try_clone().expect("descriptors are not used up");
        self.lock().streams.extend([copy(front), copy(back)]);
        let (from, to, shared) = (copy(front), copy(back), Arc::clone(self));
        thread::spawn(move || {
            carry(from, to, |wanted| shared.take(wanted), |unused| shared.give_back(unused))
        });
        let (from, to) = (copy(back), copy(front));
        thread::spawn(move || carry(from, to, |wanted| wanted, |_| ()));
    }

    /// Waits until bytes may pass. Returns how many of the `wanted` bytes may.
    fn take(&self, wanted: usize) -> usize {
        let waited = self.changed.wait_while(self.lock(), |state| state.allowance == 0);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let taken = state.allowance.min(wanted as u64);
        state.allowance -= taken;
        taken as usize
    }

    fn give_back(&self, unused: usize) {
        let mut state = self.lock();
        state.allowance = state.allowance.saturating_add(unused as u64);
        self.changed.notify_all();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, may: impl Fn(usize) -> usize, unused: impl Fn(usize)) {
    let mut buffer = [0; 16_384];
    loop {
        // Before reading, so that a closed gate leaves the bytes with the sender.
        let limit = may(buffer.len());
        let result = from.read(&mut buffer[..limit]);
        unused(limit - result.as_ref().map_or(0, |count| *count));
        match result {
            Ok(count @ 1..) if to.write_all(&buffer[..count]).is_ok() => {}
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
