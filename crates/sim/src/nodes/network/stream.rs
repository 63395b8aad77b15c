//! One side of a simulated connection, as a stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::SimNetwork;
use super::state::SideId;

/// One side. Dropping it closes the connection; what was sent before still arrives.
#[derive(Debug)]
pub struct SideStream {
    network: SimNetwork,
    id: SideId,
}

impl SideStream {
    pub const fn new(network: SimNetwork, id: SideId) -> Self {
        Self { network, id }
    }

    /// Waits until the connection stands.
    pub async fn connected(&self) -> io::Result<()> {
        poll_fn(|cx| self.network.with(|state| state.poll_connected(self.id, cx.waker()))).await
    }
}

impl AsyncRead for SideStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.network.with(|state| state.poll_read(self.id, cx.waker(), buf))
    }
}

impl AsyncWrite for SideStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.network.with(|state| state.poll_write(self.id, cx.waker(), bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.with(|state| state.finish(self.id));
        Poll::Ready(Ok(()))
    }
}

impl Drop for SideStream {
    fn drop(&mut self) {
        self.network.with(|state| state.close(self.id));
    }
}
