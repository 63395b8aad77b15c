//! The way out: connections to others.

use std::io;

use tokio::net::TcpStream;

/// Connects to `host:port`.
///
/// # Errors
/// The name does not resolve, no process listens on the address, or it cannot be reached.
pub(crate) async fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request must not wait for the acknowledgement of the one before it.
    stream.set_nodelay(true)?;
    Ok(stream)
}
