//! A node: every part built in order, and stopped in reverse.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_metadata::{
    Cluster, Controller, ControllerCommand, Defaults, FEATURES, bootstrap_records,
};
use ottla_net::connection::{Limits, serve};
use ottla_net::listener::{Accepted, Admission, Arrival, Listener};
use ottla_net::names::{canonical_host_name, is_local_host};
use ottla_net::threads::Threads;
use ottla_partitions::{DiskFiles, Files, Keeper, Partitions};
use ottla_protocol::messages::broker_registration_request::{
    BrokerRegistrationRequest, Feature, Listener as Registered,
};
use ottla_settings::{ListenerSetting, SettingError, SettingRules, Settings, refusals};
use ottla_types::{ErrorCode, NodeId, TopicPartition, Uuid};

use crate::dirs::{DirectoryFacts, check, open_dirs, own, take_marks, take_over};
use crate::dispatch::Serving;
use crate::guard::Authorizer;
use crate::hosts::controller::ControllerThread;
use crate::levels::LogLevels;
use crate::lost;
use crate::node::{Node, Parts};
use crate::request::Session;
use crate::rules::{keeper_settings, node_settings, socket_options};
use crate::start_error::StartError;
use crate::voter::{open_quorum, voter_listeners};

/// How many replies of one connection may wait for their turn.
const REPLIES_WAITING_MAX: usize = 1024;
/// How many bytes of replies may wait for a peer to read.
const UNSENT_BYTES_MAX: usize = 16 << 20;

/// Which directories may a start format?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formatting {
    /// Only the built-in default directory, which neither a file nor an override names.
    #[default]
    DefaultDirectory,
    /// All, if all of them are empty.
    IfEmpty,
}

/// How a node is started, beside its settings.
#[derive(Debug)]
pub struct StartOptions {
    /// Which directories may be formatted.
    pub formatting: Formatting,
    /// The levels of the log.
    pub levels: Arc<dyn LogLevels>,
    /// Who may do what; without one, everything is allowed.
    pub authorizer: Option<Arc<dyn Authorizer>>,
}

/// How a node has started, for its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFacts {
    /// The node's id.
    pub node_id: NodeId,
    /// Its roles, as its settings have them.
    pub roles: Vec<String>,
    /// Did it stop cleanly before? Also true of a new one.
    pub was_clean: bool,
    /// How many partitions are open.
    pub partitions: usize,
    /// How long the metadata log and the partitions took to be read and opened.
    pub recovery_ms: u64,
    /// How long the whole start took.
    pub start_ms: u64,
}

/// A running node.
#[derive(Debug)]
pub struct Broker {
    keeper: Keeper,
    node: Arc<Node>,
    controller: ControllerThread,
    threads: Threads,
    addresses: Vec<(String, SocketAddr)>,
    formatted: bool,
    data: Vec<PathBuf>,
    facts: StartFacts,
    epoch: i64,
}

impl Broker {
    /// Starts a node: directories, metadata log, controller, listeners, partitions.
    ///
    /// # Errors
    /// Something of it fails; nothing of it runs then.
    pub fn start(
        settings: Settings,
        options: StartOptions,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let StartOptions { formatting, levels, authorizer } = options;
        let begun = clock.monotonic();
        let files: Arc<dyn Files> = Arc::new(DiskFiles);
        let id = settings.node_id()?;
        refuse_promises(&settings)?;
        // Before anything is created: an empty mount point stays empty.
        check(&*files, &settings, formatting)?;
        let bound = bind(&settings)?;
        let threads = Threads::start(network_threads())?;
        let mut dirs = open_dirs(&files, &settings)?;
        let host = bound.first().map(|it| it.setting.host.as_str());
        let voter_listeners = voter_listeners(&settings, host)?;
        let formatted = dirs.iter().all(|it| it.is_new);
        lost::check_metadata_log(&dirs, &settings)?;
        let meta = take_over(&mut dirs, &settings, &clock, &voter_listeners)?;
        let clean = dirs.iter().all(|it| it.clean.is_some()) && !formatted;
        let recovery = clock.monotonic();
        let opened = open_quorum(&files, &settings, &clock, &meta, clean)?;
        let mut cluster = Cluster::default();
        opened.records.iter().for_each(|record| cluster.apply(record));
        let lost = lost::check(&dirs, &cluster, id, &settings)?;
        let bootstrap = ottla_quorum::read_bootstrap(&files, &settings.metadata_dir())?;
        let bootstrap = if bootstrap.is_empty() { bootstrap_records() } else { bootstrap };
        let started = Arc::new(settings);
        let data: Vec<PathBuf> = started.log_dirs();
        let directories = DirectoryFacts::of_opened(&dirs, &started);
        // Nothing has changed so far: a start that was refused costs the next one no recovery.
        take_marks(&dirs)?;
        let parts = dirs
            .into_iter()
            .filter_map(|it| Some((it.dir, it.meta?.directory_id, it.clean.is_some())));
        let partitions = Arc::new(Partitions::new(id, clock.clone(), parts.collect())?);
        partitions.sweep()?;
        partitions.set_strays_aside(|place| topic_id(&cluster, id, place))?;
        lost::tell(&lost);
        let rules = SettingRules { settings: Arc::clone(&started), node: id };
        let kraft_version = opened.quorum.kraft_version();
        let controller =
            Controller::new(cluster, defaults(&started, kraft_version), Box::new(rules));
        let slot: Arc<std::sync::OnceLock<Arc<Node>>> = Arc::default();
        let told = Arc::clone(&slot);
        let tell = move |news| {
            if let Some(node) = told.get() {
                node.take(news);
            }
        };
        let controller = ControllerThread::start(clock.clone(), controller, opened.quorum, tell)?;
        let node = Arc::new(Node::new(Parts {
            clock: clock.clone(),
            id,
            cluster_id: meta.cluster_id.clone(),
            metadata_directory: meta.directory_id,
            started: Arc::clone(&started),
            partitions,
            controller: controller.handle(),
            voter_listeners,
            kraft_version,
            levels,
            authorizer,
        }));
        // Nobody else sets it.
        let _ = slot.set(Arc::clone(&node));
        let request = registration(&node, &bound, directories)?;
        let epoch = join(&controller, bootstrap, request)?;
        let addresses = bound.iter().map(|it| (it.setting.name.clone(), it.address)).collect();
        let asked = Arc::clone(&node);
        let ask = Arc::new(move || keeper_settings(&asked.cluster(), &asked.started, asked.id));
        let keeper = Keeper::start(&node.partitions, &clock, ask)?;
        let facts = start_facts(&node, clean || formatted, begun, recovery);
        let broker =
            Self { keeper, node, controller, threads, addresses, formatted, data, facts, epoch };
        broker.listen(bound)?;
        Ok(broker)
    }

    /// Formats the data directories of a node for the cluster of this id, or of a new one; says
    /// which it is. With `ignores_formatted`, those that are formatted for it stay as they are.
    ///
    /// # Errors
    /// One of them is formatted already, or for another cluster, or the disk fails.
    pub fn format(
        settings: &Settings,
        cluster_id: Option<String>,
        ignores_formatted: bool,
        clock: &Clock,
    ) -> Result<String, StartError> {
        let files: Arc<dyn Files> = Arc::new(DiskFiles);
        lost::keep_metadata(&*files, settings)?;
        let mut dirs = open_dirs(&files, settings)?;
        let known = dirs.iter().find_map(|it| Some((it.dir.path(), it.meta.as_ref()?)));
        if let Some((path, meta)) = known {
            let wanted = cluster_id.as_ref().filter(|it| **it != meta.cluster_id);
            let why = match wanted {
                Some(wanted) => format!(
                    "it is formatted already, for cluster {} and not for {wanted}",
                    meta.cluster_id
                ),
                None => "it is formatted already; --ignore-formatted leaves it as it is".to_owned(),
            };
            if wanted.is_some() || !ignores_formatted {
                return Err(StartError::Foreign { path: path.to_owned(), why });
            }
        }
        let endpoints = voter_listeners(settings, None)?;
        Ok(own(&mut dirs, settings, clock, cluster_id, &endpoints)?.cluster_id)
    }

    /// Declares data directories lost, each by its path or its id: what lay there is given up. An
    /// empty directory at that path is formatted for the cluster. Returns what was done, in lines.
    ///
    /// # Errors
    /// The directory holds data, is not one of this node's, or is one of several that may be
    /// meant; or the disk fails.
    pub fn declare_lost(
        settings: &Settings,
        names: &[String],
        clock: &Clock,
    ) -> Result<Vec<String>, StartError> {
        let files: Arc<dyn Files> = Arc::new(DiskFiles);
        lost::declare(&files, settings, names, clock)
    }

    /// The node, to be dialled in process.
    #[cfg(test)]
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The listeners and the addresses they are bound to.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.node.cluster_id
    }

    /// Was the data directory new?
    #[must_use]
    pub const fn was_formatted(&self) -> bool {
        self.formatted
    }

    /// How it has started.
    #[must_use]
    pub const fn facts(&self) -> &StartFacts {
        &self.facts
    }

    /// Returns when each of the threads that serve connections has answered.
    pub async fn answers(&self) {
        let spawner = self.threads.spawner();
        for index in 0..spawner.count() {
            let (answer, answered) = tokio::sync::oneshot::channel();
            let start = move || async move {
                // This side waits for it.
                let _ = answer.send(());
            };
            spawner.spawn(index, start).await;
            // A thread that has ended never answers; its sender is dropped.
            if answered.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The data directories.
    #[must_use]
    pub fn data(&self) -> &[PathBuf] {
        &self.data
    }

    /// Serves what was bound, and starts what runs beside.
    fn listen(&self, bound: Vec<BoundListener>) -> Result<(), StartError> {
        let admission = self.node.admission.clone();
        let limits = Limits {
            frame_bytes_max: self.node.own.request_bytes_max,
            replies_waiting_max: REPLIES_WAITING_MAX,
            unsent_bytes_max: UNSENT_BYTES_MAX,
        };
        let spawner = self.threads.spawner();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        for one in bound {
            let (node, admission, spread) =
                (Arc::clone(&self.node), admission.clone(), spawner.clone());
            runtime
                .block_on(spawner.spawn(0, move || accept(node, one, admission, limits, spread)));
        }
        let node = Arc::clone(&self.node);
        runtime.block_on(spawner.spawn(0, move || async move { node.groups.tick().await }));
        self.resume_moves()?;
        let node = Arc::clone(&self.node);
        let ticking = move || async move { node.transactions.tick(&node.markers).await };
        runtime.block_on(spawner.spawn(0, ticking));
        Ok(())
    }

    /// Goes on with moves between directories that a stop has interrupted.
    fn resume_moves(&self) -> Result<(), StartError> {
        let partitions = &self.node.partitions;
        for (place, path) in partitions.interrupted_moves()? {
            // One whose partition or directory is gone is over.
            let _ = partitions.plan_move(&place, &path);
        }
        self.node.moves.start(self.node.mover());
        Ok(())
    }

    /// Returns when every data directory has failed: the node has nothing left to serve.
    pub async fn failed(&self) {
        self.node.partitions.all_failed().await;
    }

    /// Stops: no more requests, everything on the disk, the next start need not look through it.
    ///
    /// # Errors
    /// The disk fails; the next start will look through everything.
    pub fn stop(self) -> Result<(), StartError> {
        self.threads.stop();
        let command = ControllerCommand::Stop { broker: self.node.id };
        let asked: Result<(), ErrorCode> = self.controller.handle().ask_blocking(command);
        if let Err(code) = asked {
            tracing::error!(
                code = code.name(),
                "controlled shutdown failed: the controller had stopped"
            );
        }
        if let Some(quorum) = self.controller.stop() {
            quorum.close()?;
        }
        self.keeper.stop();
        self.node.partitions.close(self.epoch)?;
        Ok(())
    }
}

/// How a node has started that began at `begun`, and to read its logs at `recovery`.
fn start_facts(node: &Node, was_clean: bool, begun: Duration, recovery: Duration) -> StartFacts {
    let millis = |since: Duration| {
        u64::try_from((node.clock.monotonic() - since).as_millis()).unwrap_or(u64::MAX)
    };
    StartFacts {
        node_id: node.id,
        roles: node.started.roles(),
        was_clean,
        partitions: node.partitions.all().len(),
        recovery_ms: millis(recovery),
        start_ms: millis(begun),
    }
}

/// One thread a core, as connections share nothing.
fn network_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The topic id of a partition that this node has according to the metadata.
fn topic_id(cluster: &Cluster, id: NodeId, place: &TopicPartition) -> Option<Uuid> {
    let topic = cluster.topic(&place.topic)?;
    let state = topic.partitions.get(&place.partition)?;
    state.replicas.contains(&id).then_some(topic.id)
}

fn defaults(settings: &Settings, kraft_version: i16) -> Defaults {
    let own = node_settings(settings);
    Defaults {
        partitions: own.partitions,
        replication_factor: own.replication_factor,
        delete_topics: own.deletes_topics,
        kraft_version,
    }
}

/// Refuses what the settings promise and this release cannot keep, before anything is touched.
fn refuse_promises(settings: &Settings) -> Result<(), SettingError> {
    let missing = refusals(settings, &is_local_host);
    if missing.is_empty() { Ok(()) } else { Err(SettingError::NotBuilt(missing)) }
}

/// A listener that is bound, not yet served.
struct BoundListener {
    setting: ListenerSetting,
    socket: std::net::TcpListener,
    address: SocketAddr,
}

fn bind(settings: &Settings) -> Result<Vec<BoundListener>, StartError> {
    let controllers = settings.controller_listeners();
    let sockets = socket_options(settings);
    let mut all = Vec::new();
    for setting in settings.listeners()? {
        // The controller of a single node is reached within the process.
        if controllers.contains(&setting.name) {
            continue;
        }
        let shown = format!("{}:{}", setting.host, setting.port);
        let failed = |source| StartError::Listen { address: shown.clone(), source };
        let host = if setting.host.is_empty() { "0.0.0.0" } else { setting.host.as_str() };
        let found = (host, setting.port).to_socket_addrs().map_err(failed)?.next();
        let address = found.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let socket = Listener::bind_std(address, sockets).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        all.push(BoundListener { setting, socket, address });
    }
    if all.is_empty() {
        return Err(SettingError::Missing("a listener for clients in listeners").into());
    }
    Ok(all)
}

/// What the node says of itself to the controller.
fn registration(
    node: &Node,
    bound: &[BoundListener],
    directories: DirectoryFacts,
) -> Result<BrokerRegistrationRequest, StartError> {
    let advertised = node.started.advertised()?;
    let listener = |it: &BoundListener| {
        let told = advertised.iter().find(|one| one.name == it.setting.name);
        let (host, port) = match told {
            Some(told) if told.port != 0 => (told.host.clone(), told.port),
            Some(told) => (told.host.clone(), it.address.port()),
            None => (it.setting.host.clone(), it.address.port()),
        };
        // Clients are sent to the machine by its name; an address that stands for all was refused.
        let host = if host.is_empty() { canonical_host_name() } else { host };
        Registered { name: it.setting.name.clone(), host, port, ..Default::default() }
    };
    let features = FEATURES.iter().map(|it| (it.name, it.lowest, it.highest));
    let features = features.chain([("kraft.version", 0, 1)]).map(|(name, low, high)| Feature {
        name: name.to_owned(),
        min_supported_version: low,
        max_supported_version: high,
        ..Default::default()
    });
    Ok(BrokerRegistrationRequest {
        broker_id: node.id,
        cluster_id: node.cluster_id.clone(),
        incarnation_id: node.clock.random_uuid(),
        listeners: bound.iter().map(listener).collect(),
        features: features.collect(),
        rack: node.own.rack.clone(),
        log_dirs: directories.ids,
        previous_broker_epoch: directories.epoch_of_clean_stop,
        ..Default::default()
    })
}

/// The first things a controller does in a node's life: begin the cluster if it is new, register
/// the node, let it serve. Returns the broker's epoch.
fn join(
    controller: &ControllerThread,
    records: Vec<ottla_protocol::metadata::MetadataRecord>,
    request: BrokerRegistrationRequest,
) -> Result<i64, StartError> {
    let broker = request.broker_id;
    let controller = controller.handle();
    let join = || {
        let () = controller.ask_blocking(ControllerCommand::Bootstrap { records })?;
        let register = ControllerCommand::RegisterBroker { request, offset: 0 };
        let registered: Result<i64, ErrorCode> = controller.ask_blocking(register)?;
        let epoch = registered?;
        let () = controller.ask_blocking(ControllerCommand::Unfence { broker })?;
        Ok(epoch)
    };
    join().map_err(StartError::Refused)
}

/// Takes connections and spreads them over the threads.
async fn accept(
    node: Arc<Node>,
    bound: BoundListener,
    admission: Admission,
    limits: Limits,
    threads: ottla_net::threads::Spawner,
) {
    let listener = match Listener::from_std(bound.socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "listener cannot be served");
            return;
        }
    };
    let name: Arc<str> = Arc::from(bound.setting.name);
    let mut next = 0;
    let mut refusals = Refusals::default();
    loop {
        match listener.accept(&admission).await {
            Ok(Arrival::Refused(peer)) => refusals.count(&node, peer),
            Ok(Arrival::Accepted(accepted)) => {
                next = (next + 1) % threads.count();
                let (node, name) = (Arc::clone(&node), Arc::clone(&name));
                let start = move || connection(node, name, accepted, limits);
                threads.spawn(next, start).await;
            }
            Err(error) => {
                tracing::error!(%error, "accepting connections failed; retrying");
                node.clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Connections that were refused since it was last told.
#[derive(Default)]
struct Refusals {
    count: u64,
    quiet_until: Duration,
}

impl Refusals {
    /// A line at most so often.
    const TOLD_EVERY: Duration = Duration::from_secs(10);

    fn count(&mut self, node: &Node, peer: SocketAddr) {
        self.count += 1;
        let now = node.clock.monotonic();
        if now < self.quiet_until {
            return;
        }
        self.quiet_until = now + Self::TOLD_EVERY;
        let count = std::mem::take(&mut self.count);
        let connections = node.admission.connections();
        tracing::warn!(
            client = %peer,
            count,
            connections,
            "connections refused (max.connections, max.connections.per.ip)"
        );
    }
}

async fn connection(node: Arc<Node>, listener: Arc<str>, accepted: Accepted, limits: Limits) {
    let Accepted { stream, peer, permit } = accepted;
    let session = Arc::new(Session::new(peer, listener));
    let stream = match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%peer, %error, "connection cannot be served");
            return;
        }
    };
    let handler = Serving { node: &node, session };
    let heard = Cell::new(node.clock.monotonic());
    let served = serve(stream, limits, handler, || heard.set(node.clock.monotonic()));
    let closed = tokio::select! {
        biased;
        closed = served => Some(closed),
        () = silence(&node.clock, &heard, node.own.idle) => {
            tracing::debug!(%peer, "idle connection closed (connections.max.idle.ms)");
            None
        }
    };
    node.telemetry.disconnected(&peer);
    match closed {
        None => {}
        Some(ottla_net::connection::Closed::ByPeer) => {
            tracing::debug!(%peer, "client closed the connection");
        }
        Some(ottla_net::connection::Closed::Io(error)) => {
            tracing::debug!(%peer, %error, "connection lost");
        }
        Some(why) => tracing::warn!(%peer, %why, "connection closed"),
    }
    drop(permit);
}

/// Ends when nothing was heard for as long as that; never without a limit.
async fn silence(clock: &Clock, heard: &Cell<Duration>, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let due = heard.get() + limit;
        if clock.monotonic() >= due {
            return;
        }
        clock.sleep_until(due).await;
    }
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
