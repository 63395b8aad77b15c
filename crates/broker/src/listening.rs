//! The listeners of a node: bound before anything is touched, served when the node can answer.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_net::connection::{Closed, Limits, serve_requests};
use ottla_net::listener::{Accepted, Admission, Arrival, Listener};
use ottla_net::threads::Spawner;
use ottla_net::transport::{Bound, Stream, Transport};
use ottla_settings::{ListenerSetting, SettingError, Settings};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::dispatch::Serving;
use crate::node::Node;
use crate::request::{ListenerScope, Session};
use crate::rules::socket_options;
use crate::seldom::SeldomWarning;
use crate::start_error::StartError;

/// How many replies of one connection may wait for their turn.
const REPLIES_WAITING_MAX: usize = 1024;
/// How many bytes of replies may wait for a peer to read.
const UNSENT_BYTES_MAX: usize = 16 << 20;

/// A listener that is bound, not yet served.
pub struct BoundListener {
    /// What the settings say of it.
    pub setting: ListenerSetting,
    /// The address that is really bound.
    pub address: SocketAddr,
    /// Is it one of `controller.listener.names`?
    is_controllers: bool,
    bound: Bound,
}

impl BoundListener {
    /// Is it the controller's, and not for clients?
    #[must_use]
    pub const fn is_controllers(&self) -> bool {
        self.is_controllers
    }

    /// Begins to take connections, inside a runtime.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn listen(self) -> io::Result<Listener> {
        self.bound.listen()
    }
}

/// Binds the listeners.
///
/// # Errors
/// One of them cannot be bound, or there is none.
pub fn bind_listeners(
    transport: &Transport,
    settings: &Settings,
) -> Result<Vec<BoundListener>, StartError> {
    let controllers = settings.controller_listeners();
    let sockets = socket_options(settings);
    let mut all = Vec::new();
    for setting in settings.listeners()? {
        let is_controllers = controllers.contains(&setting.name);
        // The controller of a single node is reached within the process, and until there are logins
        // its listener is not opened to other machines for that.
        if is_controllers && !may_serve(&setting, settings) {
            continue;
        }
        let shown = format!("{}:{}", setting.host, setting.port);
        let failed = |source| StartError::Listen { address: shown.clone(), source };
        let host = if setting.host.is_empty() { "0.0.0.0" } else { setting.host.as_str() };
        let found = (host, setting.port).to_socket_addrs().map_err(failed)?.next();
        let address = found.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let bound = transport.bind(address, sockets).map_err(failed)?;
        let address = bound.local_address().map_err(failed)?;
        all.push(BoundListener { setting, address, is_controllers, bound });
    }
    if settings.is_broker() && all.iter().all(BoundListener::is_controllers) {
        return Err(SettingError::Missing("a listener for clients in listeners").into());
    }
    Ok(all)
}

/// Is a controller's listener bound?
fn may_serve(setting: &ListenerSetting, settings: &Settings) -> bool {
    setting.is_loopback() || settings.may_open_inter_node()
}

/// Serves connections to the listeners from now on.
pub async fn serve_listeners(node: &Arc<Node>, all: Vec<BoundListener>, spawner: &Spawner) {
    let limits = Limits {
        frame_bytes_max: node.own().request_bytes_max,
        replies_waiting_max: REPLIES_WAITING_MAX,
        unsent_bytes_max: UNSENT_BYTES_MAX,
    };
    for one in all {
        let (node, spread) = (Arc::clone(node), spawner.clone());
        spawner.spawn(0, move || accept_connections(node, one, limits, spread)).await;
    }
}

/// Takes connections and spreads them over the threads.
async fn accept_connections(node: Arc<Node>, one: BoundListener, limits: Limits, threads: Spawner) {
    let admission: Admission = node.clients.admission.clone();
    let mut listener = match one.bound.listen() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(
                listener = %one.setting.name,
                %error,
                "listener cannot accept connections; it stays closed until the next start"
            );
            return;
        }
    };
    let scope = match one.is_controllers {
        true => ListenerScope::Controller,
        false => ListenerScope::Broker,
    };
    let name: Arc<str> = Arc::from(one.setting.name);
    let failures = SeldomWarning::default();
    let mut next = 0;
    loop {
        match listener.accept(&admission).await {
            Ok(Arrival::Refused(peer)) => connection_refused(&node, peer),
            Ok(Arrival::Accepted(accepted)) => {
                next = (next + 1) % threads.count();
                let node = Arc::clone(&node);
                let session = Session::new(accepted.peer, Arc::clone(&name), scope);
                let start = move || serve_connection(node, session, accepted, limits);
                threads.spawn(next, start).await;
            }
            Err(error) => {
                if let Some(count) = failures.count(node.clock.monotonic()) {
                    tracing::error!(
                        listener = %name,
                        %error,
                        count,
                        "accepting a connection failed; retrying"
                    );
                }
                node.clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn connection_refused(node: &Node, peer: SocketAddr) {
    tracing::debug!(client = %peer, "connection refused");
    if let Some(count) = node.clients.refused.count(node.clock.monotonic()) {
        let connections = node.clients.admission.connections();
        tracing::warn!(
            client = %peer,
            count,
            connections,
            "connections refused (max.connections, max.connections.per.ip)"
        );
    }
}

async fn serve_connection(node: Arc<Node>, session: Session, accepted: Accepted, limits: Limits) {
    let Accepted { socket, peer, permit } = accepted;
    let session = Arc::new(session);
    match socket.adopt() {
        Ok(Stream::Tcp(stream)) => serve_stream(&node, session, stream, limits).await,
        Ok(Stream::Memory(stream)) => serve_stream(&node, session, stream, limits).await,
        Err(error) => {
            connection_closed(&node, peer, &format!("its socket cannot be used: {error}"))
        }
    }
    drop(permit);
}

async fn serve_stream<S>(node: &Arc<Node>, session: Arc<Session>, stream: S, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let peer = session.peer;
    let broker_of = Arc::clone(&session);
    let handler = Serving { node, session };
    let heard = Cell::new(node.clock.monotonic());
    let served = serve_requests(stream, limits, handler, || heard.set(node.clock.monotonic()));
    let closed = tokio::select! {
        biased;
        closed = served => Some(closed),
        () = idle_for(&node.clock, &heard, node.own().idle) => {
            tracing::debug!(client = %peer, "idle connection closed (connections.max.idle.ms)");
            None
        }
    };
    node.clients.telemetry.disconnected(&peer);
    if let (Some(broker), Some(_)) = (broker_of.broker(), &closed) {
        node.replicas.peers.suspect(broker);
    }
    match closed {
        None => {}
        Some(Closed::ByPeer) => tracing::debug!(client = %peer, "client closed the connection"),
        Some(Closed::Io(error)) => tracing::debug!(client = %peer, %error, "connection lost"),
        Some(why) => connection_closed(node, peer, &why.to_string()),
    }
}

/// The broker has closed a connection for what came on it.
fn connection_closed(node: &Node, peer: SocketAddr, why: &str) {
    tracing::debug!(client = %peer, why, "connection closed by the broker");
    if let Some(count) = node.clients.closed.count(node.clock.monotonic()) {
        tracing::warn!(client = %peer, why, count, "connections closed by the broker");
    }
}

/// Ends when the client has sent nothing for as long as `limit`; never without a limit.
async fn idle_for(clock: &Clock, heard: &Cell<Duration>, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let due = heard.get() + limit;
        if clock.monotonic() >= due {
            return;
        }
        clock.sleep_until(due).await;
    }
}
