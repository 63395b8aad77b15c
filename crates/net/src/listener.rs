//! Bind and accept, with limits per node and per address.

use ottla_locks::Mutex;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::transport::{Bound, Doorstep, Socket};

/// A bound address that takes connections.
#[derive(Debug)]
pub struct Listener(ConnectionSource);

#[derive(Debug)]
enum ConnectionSource {
    Tcp(TcpListener),
    Memory(Box<dyn Doorstep>),
}

/// How sockets are set up; those of accepted connections get what the listening one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// How many connections may wait to be accepted.
    pub backlog: i32,
    /// The receive buffer, in bytes; `None` leaves it to the system.
    pub receive_bytes: Option<usize>,
    /// The send buffer, in bytes; `None` leaves it to the system.
    pub send_bytes: Option<usize>,
}

/// A connection that was let in. Dropping the permit gives its place back.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: Socket,
    /// The client's address.
    pub peer: SocketAddr,
    /// Its place among the connections.
    pub permit: Permit,
}

/// A connection that was accepted.
#[derive(Debug)]
pub enum Arrival {
    /// It was let in.
    Accepted(Accepted),
    /// There are too many, in all or from its address.
    Refused(SocketAddr),
}

impl Listener {
    pub(crate) fn new(bound: Bound) -> io::Result<Self> {
        Ok(Self(match bound {
            Bound::Tcp(socket) => ConnectionSource::Tcp(TcpListener::from_std(socket)?),
            Bound::Memory(doorstep) => ConnectionSource::Memory(doorstep),
        }))
    }

    /// The next connection: one that `admission` lets in, or one that it refuses and that is
    /// closed already.
    ///
    /// # Errors
    /// Accepting failed for a reason that is not the caller's connection (no file handles left).
    pub async fn accept(&mut self, admission: &Admission) -> io::Result<Arrival> {
        let (socket, peer, permit) = match &mut self.0 {
            ConnectionSource::Tcp(listener) => {
                let (stream, peer) = accept_tcp(listener).await?;
                let Some(permit) = admission.admit(peer.ip()) else {
                    return Ok(Arrival::Refused(peer));
                };
                // Without it a small reply waits for the peer's delayed acknowledgement: 40 ms.
                stream.set_nodelay(true)?;
                (Socket::Tcp(stream.into_std()?), peer, permit)
            }
            ConnectionSource::Memory(doorstep) => {
                let (stream, peer) = poll_fn(|cx| doorstep.poll_accept(cx)).await?;
                let Some(permit) = admission.admit(peer.ip()) else {
                    return Ok(Arrival::Refused(peer));
                };
                (Socket::Memory(stream), peer, permit)
            }
        };
        Ok(Arrival::Accepted(Accepted { socket, peer, permit }))
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Err(error) if is_passing(&error) => {}
            accepted => return accepted,
        }
    }
}

/// Binds a socket of the system without a runtime.
pub(crate) fn bind_tcp(
    address: SocketAddr,
    options: SocketOptions,
) -> io::Result<std::net::TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // "All interfaces" means both families, as in Kafka.
        socket.set_only_v6(false)?;
    }
    // Before the socket listens: the window's scale is settled when a connection is made.
    if let Some(bytes) = options.receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// The peer gave up before we looked: nothing is wrong with the listener.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// How many connections there may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// In all (`max.connections`).
    pub total: usize,
    /// From one address (`max.connections.per.ip`).
    pub per_address: usize,
    /// From these addresses (`max.connections.per.ip.overrides`).
    pub of_address: BTreeMap<IpAddr, usize>,
}

/// Counts connections against their bounds.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Guards bounds and counts, so that both are looked at together.
    counts: Arc<Mutex<ConnectionCounts>>,
}

#[derive(Debug, Default)]
struct ConnectionCounts {
    bounds: Bounds,
    total: usize,
    per_address: BTreeMap<IpAddr, usize>,
}

impl Admission {
    /// Connections within these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            counts: Arc::new(Mutex::new(ConnectionCounts {
                bounds,
                ..ConnectionCounts::default()
            })),
        }
    }

    /// Other bounds from now on; connections that there are stay.
    pub fn set(&self, bounds: Bounds) {
        self.counts.lock().bounds = bounds;
    }

    /// A place for a connection from `address`, if there is one.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Permit> {
        let mut counts = self.counts.lock();
        let here = counts.per_address.get(&address).copied().unwrap_or(0);
        let own = counts.bounds.of_address.get(&address).copied();
        let most = own.unwrap_or(counts.bounds.per_address);
        if counts.total >= counts.bounds.total || here >= most {
            return None;
        }
        counts.total += 1;
        counts.per_address.insert(address, here + 1);
        Some(Permit { counts: Arc::clone(&self.counts), address })
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.lock().total
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    /// Those of the [`Admission`] that gave it.
    counts: Arc<Mutex<ConnectionCounts>>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.total -= 1;
        if let Some(here) = counts.per_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.per_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_per_node_and_per_address_and_given_back() {
        let bounds = Bounds { total: 3, per_address: 2, of_address: BTreeMap::new() };
        let admission = Admission::new(bounds.clone());
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = admission.admit(a).expect("room");
        let _second = admission.admit(a).expect("room");
        assert!(admission.admit(a).is_none(), "two per address");
        let _third = admission.admit(b).expect("room");
        assert!(admission.admit(b).is_none(), "three in all");
        drop(first);
        assert!(admission.admit(b).is_some());
        admission.set(Bounds { total: 9, of_address: [(a, 3)].into(), ..bounds });
        let _more = [admission.admit(a), admission.admit(a)].map(|it| it.expect("room"));
        assert!(admission.admit(a).is_none(), "three for this address");
    }
}
