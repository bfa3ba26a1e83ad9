//! Servers and clients of datagrams.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::PATIENCE;

/// A server that sends every datagram back to where it came from.
pub struct UdpEcho {
    /// Where it is.
    pub address: SocketAddr,
    clients: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

impl UdpEcho {
    /// On a free port of loopback, until the test process ends.
    pub fn start() -> UdpEcho {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = socket.local_addr().expect("a bound socket has an address");
        let clients = Arc::new(Mutex::new(BTreeSet::new()));
        let of_thread = Arc::clone(&clients);
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            // A closed port of a client is reported with the next datagram, and is no reason to end.
            loop {
                let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
                of_thread.lock().unwrap_or_else(PoisonError::into_inner).insert(from);
                let _ = socket.send_to(&buffer[..count], from);
            }
        });
        UdpEcho { address, clients }
    }

    /// How many addresses have sent it something.
    pub fn client_count(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A socket that sends to this address and hears only from there.
pub fn datagrams_to(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address.ip(), 0)).expect("loopback has free ports");
    socket.connect(address).expect("an address can be set");
    socket.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
    socket
}

/// Sends this datagram to a server that echoes, and receives it.
#[track_caller]
pub fn echo_datagram(client: &UdpSocket, bytes: &[u8]) {
    client.send(bytes).expect("the tunnel reads");
    let mut buffer = [0; 65_536];
    let count = client.recv(&mut buffer).expect("the server echoes");
    assert!(&buffer[..count] == bytes, "sent {} bytes, received {count} others", bytes.len());
}
