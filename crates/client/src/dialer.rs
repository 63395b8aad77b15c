//! How a client reaches brokers: over TCP, or in another way that its user brings.

use std::fmt;

use ottla_net::transport::{Connecting, Transport};

/// Makes connections to brokers.
///
/// [`Transport::Tcp`] is the usual one. A dialer of a process that holds a node hands out one end
/// of a stream in memory and lets the node serve the other, with the principal that the dialer was
/// made for: no socket, and no way around the node's own checks.
pub trait Dialer: fmt::Debug + Send + Sync {
    /// Connects to `host:port`, as bootstrap servers and brokers name themselves.
    fn dial(&self, address: &str) -> Connecting;
}

impl Dialer for Transport {
    fn dial(&self, address: &str) -> Connecting {
        self.connect(address)
    }
}
