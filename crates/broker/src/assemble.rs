//! A node without a thread or a socket of its own: every part built in order from what it is given
//! ([`Seams`]), and stopped in reverse.
//!
//! `Broker` gives it threads, disks and TCP; the simulator its own time, disks and network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_clock::Clock;
use ottla_metadata::{
    Cluster, Controller, ControllerSettings, bootstrap_records, unbuilt_features,
};
use ottla_net::names::is_local_host;
use ottla_net::threads::Spawner;
use ottla_net::transport::Transport;
use ottla_partitions::{Files, Keeper, MetaProperties, Partitions};
use ottla_protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::Endpoint;
use ottla_settings::{SettingError, SettingRules, Settings, unbuilt_settings};
use ottla_types::{ErrorCode, NodeId, TopicPartition, Uuid};
use tokio::sync::oneshot;

use crate::dirs::{DirectoryFacts, OpenDir, check_formatted, open_dirs, take_marks, take_over};
use crate::guard::Authorizer;
use crate::hosts::controller::{ControllerHandle, MakeController, MetadataImage, News};
use crate::hosts::controller_channel::ControllerChannel;
use crate::hosts::quorum_member::{QuorumMember, QuorumView};
use crate::hosts::quorum_peers::{PeerParts, QuorumPeers};
use crate::lanes::NodeLanes;
use crate::levels::LogLevels;
use crate::listening::{BoundListener, bind_listeners, serve_listeners};
use crate::lost;
use crate::metrics_page::{bind_page, start_page};
use crate::node::{Node, NodeFacts, Parts};
use crate::register::{
    join_cluster, keep_session, leave_cluster, registration_request, send_reports,
};
use crate::register_controller::register_controller;
use crate::rules::{controller_settings, following_rules, keeper_settings, snapshot_rules};
use crate::start_error::StartError;
use crate::voter::{
    OpenedMember, bootstrap_addresses, open_quorum, quorum_timing, voter_listeners,
};

/// What a node needs of the world.
#[derive(Clone, Debug)]
pub struct Seams {
    /// The disks.
    pub files: Arc<dyn Files>,
    /// Time and randomness.
    pub clock: Clock,
    /// Where it waits for disks, and computes for long.
    pub lanes: NodeLanes,
    /// Where its tasks run.
    pub spawner: Spawner,
    /// How its connections travel.
    pub transport: Transport,
}

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
    /// The authorizer; without one, everything is allowed.
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

/// Why a node that runs cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFailure {
    /// No data directory is left to serve from.
    #[error("every data directory has failed; see the errors in the log")]
    Directories,
    /// The controller cannot write its log.
    #[error("the controller cannot write the metadata log; see the errors in the log")]
    Controller,
}

/// A node that serves.
#[derive(Debug)]
pub struct Assembled {
    pub(crate) node: Arc<Node>,
    keeper: Keeper,
    lanes: NodeLanes,
    spawner: Spawner,
    addresses: Vec<(String, SocketAddr)>,
    metrics_address: Option<SocketAddr>,
    formatted: bool,
    data: Vec<PathBuf>,
    facts: StartFacts,
    /// The broker's epoch; -1 of a node that is none.
    epoch: i64,
    /// Has [`Assembled::leave`] been called? Set once, by the caller that stops.
    has_left: AtomicBool,
}

/// Builds a node and lets it serve: directories, metadata log, controller, partitions, listeners.
///
/// # Errors
/// A part of it fails; then no part of it runs, except tasks that end by themselves.
pub async fn assemble(
    seams: Seams,
    settings: Settings,
    options: StartOptions,
) -> Result<Assembled, StartError> {
    let StartOptions { formatting, levels, authorizer } = options;
    let begun = seams.clock.monotonic();
    refuse_promises(&settings)?;
    // Before anything is created: an empty mount point stays empty.
    check_formatted(&*seams.files, &settings, formatting)?;
    let bound = bind_listeners(&seams.transport, &settings)?;
    let (controllers, listeners): (Vec<_>, Vec<_>) =
        bound.into_iter().partition(BoundListener::is_controllers);
    let host = listeners.first().map(|it| it.setting.host.as_str());
    let page = bind_page(&seams.transport, &settings)?;
    let metrics_address = page.as_ref().map(|page| page.address);
    let voter_listeners = voter_listeners(&settings, host)?;
    let is_broker = settings.is_broker();
    let mut found = find_on_disk(&seams, settings, &voter_listeners)?;
    let cluster = cluster_at_start(found.cluster.settled(), &found.bootstrap);
    let authority = Authority { levels, authorizer };
    let (node, peers) = build_node(&seams, &mut found, voter_listeners, authority)?;
    let Seams { clock, lanes, spawner, .. } = seams;
    lanes.hosts.metadata.keep_thread()?;
    serve_metadata(&node, &lanes, std::mem::take(&mut found.image), found.is_settled);
    serve_listeners(&node, controllers, &spawner).await;
    peers.start().await;
    // Nothing asks a node that is alone where its controller is.
    let is_alone = found.is_settled && node.started().other_nodes(&is_local_host).is_none();
    if node.started().is_controller() && !is_alone {
        let told = Arc::clone(&node);
        spawner.spawn(0, move || async move { register_controller(&told).await }).await;
    }
    let mut epoch = -1;
    if is_broker {
        let request = registration_request(&node, &listeners, found.directories, &cluster)?;
        epoch = join_on(&spawner, &node, request).await?;
        let reporting = Arc::clone(&node);
        spawner.spawn(0, move || async move { send_reports(&reporting).await }).await;
    }
    let asked = Arc::clone(&node);
    let ask = Arc::new(move || keeper_settings(&asked.cluster(), asked.started(), asked.id));
    let keeper = Keeper::start(&node.partitions, &clock, ask)?;
    let facts = start_facts(&node, found.was_clean || found.holds_no_log, begun, found.recovery);
    let addresses = listeners.iter().map(|it| (it.setting.name.clone(), it.address)).collect();
    serve_listeners(&node, listeners, &spawner).await;
    if let Some(page) = page {
        start_page(&node, page, &spawner).await;
    }
    start_ticks(&node, &spawner).await;
    start_replicas(&node, &spawner).await;
    resume_moves(&node)?;
    let (data, formatted) = (node.started().log_dirs(), found.formatted);
    Ok(Assembled {
        node,
        keeper,
        lanes,
        spawner,
        addresses,
        metrics_address,
        formatted,
        data,
        facts,
        epoch,
        has_left: AtomicBool::new(false),
    })
}

/// What decides beside the node's own parts.
struct Authority {
    levels: Arc<dyn LogLevels>,
    authorizer: Option<Arc<dyn Authorizer>>,
}

/// The node, and its way to the other members of the metadata quorum; neither does anything yet.
fn build_node(
    seams: &Seams,
    found: &mut FoundOnDisk,
    voter_listeners: Vec<Endpoint>,
    authority: Authority,
) -> Result<(Arc<Node>, Arc<QuorumPeers>), StartError> {
    let FoundOnDisk { started, meta, member, .. } = found;
    let Seams { clock, lanes, spawner, transport, .. } = seams.clone();
    let peers = QuorumPeers::new(PeerParts {
        clock: clock.clone(),
        member: Arc::clone(member),
        lane: lanes.hosts.metadata.clone(),
        spawner,
        transport: transport.clone(),
        cluster_id: meta.cluster_id.clone(),
        timing: quorum_timing(started),
        following: following_rules(started),
        bootstrap: bootstrap_addresses(started)?,
    });
    let peers = Arc::new(peers);
    let (make, bootstrap) = (make_controller(started, meta), std::mem::take(&mut found.bootstrap));
    let controller = ControllerHandle::new(clock.clone(), Arc::clone(member), bootstrap, make);
    let channel = ControllerChannel::new(clock.clone(), controller.clone(), Arc::clone(&peers));
    let facts = NodeFacts { cluster_id: meta.cluster_id.clone(), voter_listeners };
    let node = Node::new(Parts {
        clock,
        id: meta.node_id,
        facts,
        started: Arc::clone(started),
        partitions: Arc::clone(&found.partitions),
        controller,
        channel,
        transport,
        levels: authority.levels,
        authorizer: authority.authorizer,
        lanes,
    });
    Ok((Arc::new(node), peers))
}

/// The node becomes what the committed metadata says from now on, and decides while it leads.
fn serve_metadata(node: &Arc<Node>, lanes: &NodeLanes, image: MetadataImage, is_settled: bool) {
    let told = Arc::clone(node);
    let mut has_strays = !is_settled;
    let publish = move |news: Option<News>| {
        let Some(news) = news else { return told.open_offline_partitions() };
        if std::mem::take(&mut has_strays) {
            told.set_strays_aside(&news.cluster);
        }
        told.take(news)
    };
    // What a node of several reads before it has caught up may be old: its partitions stay as they
    // are until it has read its own registration.
    if !is_settled && node.started().is_broker() {
        node.controller.publish_from(i64::MAX);
    }
    let rules = snapshot_rules(node.started());
    node.controller.serve(&lanes.hosts.metadata, image, rules, publish);
}

/// Registers the broker and keeps its session, on a thread that may open connections to other
/// nodes; returns its epoch.
async fn join_on(
    spawner: &Spawner,
    node: &Arc<Node>,
    request: BrokerRegistrationRequest,
) -> Result<i64, StartError> {
    let (sender, joined) = oneshot::channel();
    let node = Arc::clone(node);
    let join = move || async move {
        let joined = join_cluster(&node, request).await;
        let epoch = joined.as_ref().ok().copied();
        // The receiver waits for it.
        let _ = sender.send(joined);
        if let Some(epoch) = epoch {
            keep_session(&node, epoch).await;
        }
    };
    spawner.spawn(0, join).await;
    // A thread that ends answers nothing.
    joined.await.unwrap_or(Err(StartError::Refused(ErrorCode::NOT_CONTROLLER)))
}

/// Makes a controller for each epoch that this node leads.
fn make_controller(started: &Arc<Settings>, meta: &MetaProperties) -> MakeController {
    let (started, meta) = (Arc::clone(started), meta.clone());
    Box::new(move |cluster, kraft_version| {
        let rules = SettingRules { settings: Arc::clone(&started), node: meta.node_id };
        let settings = ControllerSettings {
            cluster_id: meta.cluster_id.clone(),
            kraft_version,
            own_broker: started.is_broker().then_some(meta.node_id),
            ..controller_settings(&started)
        };
        Controller::new(cluster, settings, Box::new(rules))
    })
}

/// What a node finds in its data directories.
struct FoundOnDisk {
    started: Arc<Settings>,
    /// What the directory with the metadata log is.
    meta: MetaProperties,
    /// The metadata as of the last stop; that of a node of several may not have committed.
    cluster: Cluster,
    /// What of it is known to have committed.
    image: MetadataImage,
    /// Is that all of it? So it is for the only voter.
    is_settled: bool,
    /// What a new cluster begins with.
    bootstrap: Vec<MetadataRecord>,
    member: Arc<QuorumMember>,
    partitions: Arc<Partitions>,
    /// Were all directories new?
    formatted: bool,
    /// Is there no log to recover, as after `ottla format`?
    holds_no_log: bool,
    was_clean: bool,
    directories: DirectoryFacts,
    /// When the metadata log began to be read.
    recovery: Duration,
}

fn find_on_disk(
    seams: &Seams,
    settings: Settings,
    voter_listeners: &[Endpoint],
) -> Result<FoundOnDisk, StartError> {
    let Seams { files, clock, lanes, .. } = seams;
    let id = settings.node_id()?;
    let mut dirs = open_dirs(files, &settings)?;
    let formatted = dirs.iter().all(|it| it.is_new);
    lost::check_metadata_log(&dirs, &settings)?;
    lost::check_voters(&dirs, &settings)?;
    let meta = take_over(&mut dirs, &settings, clock, voter_listeners)?;
    let holds_no_log = lost::holds_no_log(&dirs)?;
    let was_clean = dirs.iter().all(|it| it.clean.is_some()) && !formatted;
    let recovery = clock.monotonic();
    let OpenedMember { own, opened } = open_quorum(files, &settings, clock, &meta, was_clean)?;
    let mut cluster = Cluster::default();
    opened.records.iter().for_each(|record| cluster.apply(record));
    let quorum = opened.quorum;
    let is_settled = quorum.leads().is_some();
    let image = match is_settled {
        true => MetadataImage {
            cluster: cluster.clone(),
            next: quorum.committed(),
            ..MetadataImage::default()
        },
        false => MetadataImage::default(),
    };
    let member = Arc::new(QuorumMember::new(clock.clone(), own, quorum));
    let lost = lost::check_absent_directories(&dirs, &cluster, id, &settings)?;
    let bootstrap = ottla_quorum::read_bootstrap(files, &settings.metadata_dir())?;
    let bootstrap = if bootstrap.is_empty() { bootstrap_records() } else { bootstrap };
    let directories = DirectoryFacts::of_opened(&dirs, &settings);
    // Nothing has changed so far: a start that was refused costs the next one no recovery.
    take_marks(&dirs)?;
    let (log_dirs, metadata_dir) = (settings.log_dirs(), settings.metadata_dir());
    let is_apart =
        |it: &&OpenDir| it.dir.path() == metadata_dir && !log_dirs.contains(&metadata_dir);
    let apart = dirs.iter().find(is_apart).and_then(|it| Some(it.meta.as_ref()?.directory_id));
    let parts =
        dirs.into_iter().filter_map(|it| Some((it.dir, it.meta?.directory_id, it.clean.is_some())));
    let partitions = Partitions::new(id, clock.clone(), parts.collect())?;
    let partitions = partitions.on_lanes(lanes.partitions.clone()).with_closed(apart);
    partitions.sweep()?;
    if is_settled {
        partitions.set_strays_aside(|place| assigned_topic(&cluster, id, place))?;
    }
    lost::log_lost_partitions(&lost);
    Ok(FoundOnDisk {
        started: Arc::new(settings),
        meta,
        cluster,
        image,
        is_settled,
        bootstrap,
        member,
        partitions: Arc::new(partitions),
        formatted,
        holds_no_log,
        was_clean,
        directories,
        recovery,
    })
}

/// Starts what fires the timers of coordinators.
async fn start_ticks(node: &Arc<Node>, spawner: &Spawner) {
    let ticked = Arc::clone(node);
    spawner.spawn(0, move || async move { ticked.coordinators.tick_groups().await }).await;
    let ticked = Arc::clone(node);
    let ticking = move || async move { ticked.coordinators.tick_transactions().await };
    spawner.spawn(0, ticking).await;
}

/// Starts what copies from leaders, and what looks after the in-sync sets.
async fn start_replicas(node: &Arc<Node>, spawner: &Spawner) {
    let (following, tasks) = (Arc::clone(node), spawner.clone());
    let follow = move || async move { following.replicas.fetching.run(&tasks).await };
    spawner.spawn(0, follow).await;
    let leading = Arc::clone(node);
    spawner.spawn(0, move || async move { leading.replicas.in_sync.run().await }).await;
    let watching = Arc::clone(node);
    spawner.spawn(0, move || async move { watching.replicas.peers.run().await }).await;
}

/// Goes on with moves between directories that a stop has interrupted.
fn resume_moves(node: &Node) -> Result<(), StartError> {
    node.partitions.resume_moves()?;
    node.start_moves();
    Ok(())
}

impl Assembled {
    /// The listeners and the addresses they are bound to.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Where the page with its metrics is, if it is served.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.node.facts.cluster_id
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

    /// The data directories.
    #[must_use]
    pub fn data(&self) -> &[PathBuf] {
        &self.data
    }

    /// What this node knows of the metadata quorum.
    #[must_use]
    pub fn quorum(&self) -> QuorumView {
        self.node.controller.member().view()
    }

    /// Returns when the node cannot go on, with the reason.
    pub fn failed(&self) -> impl Future<Output = NodeFailure> + use<> {
        let node = Arc::clone(&self.node);
        async move {
            tokio::select! {
                biased;
                () = node.partitions.all_failed() => NodeFailure::Directories,
                () = node.controller.failed() => NodeFailure::Controller,
            }
        }
    }

    /// Leaves the cluster while this node still serves: others lead what it leads, if there are
    /// others, and another leads the metadata quorum.
    pub async fn leave(&self) {
        if self.has_left.swap(true, Ordering::Relaxed) {
            return;
        }
        // First, as the last step of a move asks the controller.
        self.node.stop_moves();
        let (sender, left) = oneshot::channel();
        let (node, epoch) = (Arc::clone(&self.node), self.epoch);
        let leave = move || async move {
            leave_cluster(&node, epoch).await;
            // The receiver waits for it.
            let _ = sender.send(());
        };
        self.spawner.spawn(0, leave).await;
        // A thread that has ended cannot leave.
        let _ = left.await;
    }

    /// Stops, once no task serves any more: everything is on the disk then, and the next start need
    /// not recover it.
    ///
    /// # Errors
    /// The disk fails; the next start recovers every log.
    pub async fn stop(self) -> Result<(), StartError> {
        self.node.stop_moves();
        let Self { node, keeper, lanes, epoch, .. } = self;
        lanes.hosts.stop();
        if let Some(quorum) = node.controller.stop() {
            quorum.close()?;
        }
        keeper.stop();
        node.partitions.close(epoch)?;
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
        roles: node.started().roles(),
        was_clean,
        partitions: node.partitions.all().len(),
        recovery_ms: millis(recovery),
        start_ms: millis(begun),
    }
}

/// The topic id of a partition that this node has according to the metadata.
pub(crate) fn assigned_topic(
    cluster: &Cluster,
    id: NodeId,
    place: &TopicPartition,
) -> Option<Uuid> {
    let topic = cluster.topic(&place.topic)?;
    let state = topic.partitions.get(&place.partition)?;
    state.replicas.contains(&id).then_some(topic.id)
}

/// The metadata with its first records: those that the controller of a new cluster is going to
/// write. Warns of features that Apache Kafka has brought to levels that are not built here.
fn cluster_at_start(found: &Cluster, bootstrap: &[MetadataRecord]) -> Cluster {
    let mut cluster = found.clone();
    if cluster.is_blank() {
        bootstrap.iter().for_each(|record| cluster.apply(record));
    }
    for (feature, level) in unbuilt_features(&cluster) {
        tracing::warn!(
            feature,
            level,
            "feature level is not built in this release; the cluster keeps it, for Apache Kafka"
        );
    }
    cluster
}

/// Refuses what the settings promise and this release cannot keep, before anything is touched.
///
/// # Errors
/// What it is, with what to do instead.
pub(crate) fn refuse_promises(settings: &Settings) -> Result<(), SettingError> {
    settings.static_voters()?;
    let missing = unbuilt_settings(settings, &is_local_host);
    if missing.is_empty() { Ok(()) } else { Err(SettingError::NotBuilt(missing)) }
}
