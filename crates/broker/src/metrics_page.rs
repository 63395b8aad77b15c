//! The page with a node's metrics: text over HTTP, on a loopback address, off by default
//! (`ottla.metrics.listener`).

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ottla_metrics::page;
use ottla_net::listener::{Accepted, Admission, Arrival, Bounds, Listener};
use ottla_net::page::serve_page;
use ottla_net::threads::Spawner;
use ottla_net::transport::{Bound, Stream, Transport};
use ottla_settings::Settings;

use crate::node::Node;
use crate::numbers::all_samples;
use crate::rules::{node_settings, socket_options};
use crate::start_error::StartError;

/// Where it is found.
const PATH: &str = "/metrics";
/// How many may read it at once.
const READERS_MAX: usize = 8;
/// How long a reader may take.
const READER_TIME_MAX: Duration = Duration::from_secs(10);

/// The page's address, bound and not yet served.
pub struct BoundPage {
    /// The address that is really bound.
    pub address: SocketAddr,
    bound: Bound,
}

/// Binds the address of the page, if there is to be one.
///
/// # Errors
/// It cannot be bound.
pub fn bind_page(
    transport: &Transport,
    settings: &Settings,
) -> Result<Option<BoundPage>, StartError> {
    let Some(wanted) = node_settings(settings).metrics_listener else { return Ok(None) };
    let failed = |source| StartError::Listen { address: wanted.clone(), source };
    let found = wanted.to_socket_addrs().map_err(failed)?.find(|it| it.ip().is_loopback());
    let address = found.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let bound = transport.bind(address, socket_options(settings)).map_err(failed)?;
    let address = bound.local_address().map_err(failed)?;
    Ok(Some(BoundPage { address, bound }))
}

/// Serves the page from now on, on the first of the threads.
pub async fn start_page(node: &Arc<Node>, page: BoundPage, spawner: &Spawner) {
    tracing::info!(address = %page.address, "metrics page is served at {PATH}");
    let (node, spread) = (Arc::clone(node), spawner.clone());
    spawner.spawn(0, move || accept_readers(node, page, spread)).await;
}

async fn accept_readers(node: Arc<Node>, page: BoundPage, spawner: Spawner) {
    let BoundPage { address, bound } = page;
    let bounds = Bounds { total: READERS_MAX, per_address: READERS_MAX, ..Bounds::default() };
    let admission = Admission::new(bounds);
    let mut listener: Listener = match bound.listen() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(
                %address,
                %error,
                "metrics page cannot be served; it stays closed until the next start"
            );
            return;
        }
    };
    loop {
        match listener.accept(&admission).await {
            // Refused readers try again.
            Ok(Arrival::Refused(_)) => {}
            Ok(Arrival::Accepted(reader)) => {
                let node = Arc::clone(&node);
                spawner.spawn(0, move || serve_reader(node, reader)).await;
            }
            Err(error) => {
                tracing::error!(
                    %address,
                    %error,
                    "metrics page: accepting a connection failed; retrying"
                );
                node.clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_reader(node: Arc<Node>, reader: Accepted) {
    let Accepted { socket, peer, permit } = reader;
    let text = || page(all_samples(&node));
    let served = async {
        match socket.adopt()? {
            Stream::Tcp(stream) => serve_page(stream, PATH, text).await,
            Stream::Memory(stream) => serve_page(stream, PATH, text).await,
        }
    };
    tokio::select! {
        biased;
        served = served => if let Err(error) = served {
            tracing::debug!(client = %peer, %error, "metrics page: connection lost");
        },
        () = node.clock.sleep(READER_TIME_MAX) => {
            tracing::debug!(client = %peer, "metrics page: slow connection closed");
        }
    }
    drop(permit);
}
