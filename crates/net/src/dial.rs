//! The way out: connections to others.

use std::io;

use tokio::net::TcpStream;

/// Connects to `host:port`.
///
/// # Errors
/// The name is not known, nobody listens there, or the way there is closed.
pub(crate) async fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request must not wait for the acknowledgement of the one before it.
    stream.set_nodelay(true)?;
    Ok(stream)
}
