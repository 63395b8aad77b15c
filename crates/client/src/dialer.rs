//! How a client reaches brokers: over TCP, or in another way that its user brings.

use std::fmt;
use std::io;

use ottla_net::peer::PendingRequest;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection's bytes, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A connection that is being made.
pub type Dialing = PendingRequest<io::Result<Box<dyn ByteStream>>>;

/// Makes connections to brokers.
///
/// [`Tcp`] is the usual one. A dialer of a process that holds a node hands out one end of a stream
/// in memory and lets the node serve the other, with the principal that the dialer was made for: no
/// socket, and no way around the node's own checks.
pub trait Dialer: fmt::Debug + Send + Sync {
    /// Connects to `host:port`, as bootstrap servers and brokers name themselves.
    fn dial(&self, address: &str) -> Dialing;
}

/// Connects over TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dialer for Tcp {
    fn dial(&self, address: &str) -> Dialing {
        let address = address.to_owned();
        Box::pin(async move {
            let stream = ottla_net::dial::connect(&address).await?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }
}
