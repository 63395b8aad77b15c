//! What connections are made of: sockets of the system, or streams in memory, which a simulation
//! delays, breaks and cuts as it likes.
//!
//! A node names no socket. It binds, accepts and connects through a [`Transport`]; what serves a
//! connection is generic over its stream, so that TCP pays nothing for the other kind.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::dial::connect_tcp;
use crate::listener::{Listener, SocketOptions, bind_tcp};

/// A connection's bytes, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// One side of a connection in memory, of whatever kind.
pub type MemoryStream = Box<dyn ByteStream>;

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send>>;

/// A network in memory.
pub trait Network: fmt::Debug + Send + Sync {
    /// Binds an address; port 0 lets the network choose.
    ///
    /// # Errors
    /// The address is in use.
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Doorstep>>;

    /// Connects to `host:port`.
    fn connect(&self, address: &str) -> Connecting;
}

/// A bound address of a network in memory. Connections that come wait until they are accepted.
pub trait Doorstep: fmt::Debug + Send {
    /// The address that is really bound.
    fn address(&self) -> SocketAddr;

    /// The next connection and its address.
    ///
    /// # Errors
    /// The network fails.
    fn poll_accept(&mut self, cx: &mut Context<'_>)
    -> Poll<io::Result<(MemoryStream, SocketAddr)>>;
}

/// How a node's connections travel. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Transport {
    /// Over the system's sockets.
    #[default]
    Tcp,
    /// Through memory.
    Memory(Arc<dyn Network>),
}

/// An address that is bound and not served yet.
#[derive(Debug)]
pub enum Bound {
    /// A socket of the system.
    Tcp(std::net::TcpListener),
    /// An address in memory.
    Memory(Box<dyn Doorstep>),
}

impl Transport {
    /// Binds `address` without a runtime; port 0 chooses one.
    ///
    /// # Errors
    /// The address is in use, not ours, or not allowed.
    pub fn bind(&self, address: SocketAddr, options: SocketOptions) -> io::Result<Bound> {
        match self {
            Self::Tcp => bind_tcp(address, options).map(Bound::Tcp),
            Self::Memory(network) => network.bind(address).map(Bound::Memory),
        }
    }

    /// Connects to `host:port`.
    #[must_use]
    pub fn connect(&self, address: &str) -> Connecting {
        match self {
            Self::Tcp => {
                let address = address.to_owned();
                Box::pin(async move {
                    let stream = connect_tcp(&address).await?;
                    Ok(Box::new(stream) as Box<dyn ByteStream>)
                })
            }
            Self::Memory(network) => network.connect(address),
        }
    }
}

impl Bound {
    /// The address that is really bound.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Memory(doorstep) => Ok(doorstep.address()),
        }
    }

    /// Begins to take connections; for a socket of the system, inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn listen(self) -> io::Result<Listener> {
        Listener::new(self)
    }
}

/// A connection that was accepted, still without a runtime: a thread of its own choice adopts it.
pub enum Socket {
    /// A socket of the system.
    Tcp(std::net::TcpStream),
    /// One side of a connection in memory.
    Memory(MemoryStream),
}

impl Socket {
    /// Adopts the connection by the runtime of this thread, if it is of the system.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn adopt(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Memory(stream) => Stream::Memory(stream),
        })
    }
}

/// A connection. Its server takes it apart first, so that the code that follows is made for
/// the one kind or the other.
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Through memory.
    Memory(MemoryStream),
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Memory(_) => "Memory",
        })
    }
}
