//! A node without a thread or a socket of its own: every part built in order from what it is given
//! ([`Seams`]), and stopped in reverse.
//!
//! `Broker` gives it threads, disks and TCP; the simulator its own time, disks and network.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_metadata::{
    Cluster, Controller, ControllerSettings, bootstrap_records, unbuilt_features,
};
use ottla_net::names::is_local_host;
use ottla_net::threads::Spawner;
use ottla_net::transport::Transport;
use ottla_partitions::{Files, Keeper, MetaProperties, Partitions};
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::{Endpoint, Quorum};
use ottla_settings::{SettingError, SettingRules, Settings, unbuilt_settings};
use ottla_types::{NodeId, TopicPartition, Uuid};

use crate::dirs::{DirectoryFacts, check_formatted, open_dirs, take_marks, take_over};
use crate::guard::Authorizer;
use crate::hosts::controller::ControllerHandle;
use crate::lanes::NodeLanes;
use crate::levels::LogLevels;
use crate::listening::{bind_listeners, serve_listeners};
use crate::lost;
use crate::metrics_page::{bind_page, start_page};
use crate::node::{Node, NodeFacts, Parts};
use crate::register::{join_cluster, leave_cluster, registration_request};
use crate::rules::{controller_settings, keeper_settings};
use crate::start_error::StartError;
use crate::voter::{open_quorum, voter_listeners};

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
    addresses: Vec<(String, SocketAddr)>,
    metrics_address: Option<SocketAddr>,
    formatted: bool,
    data: Vec<PathBuf>,
    facts: StartFacts,
    epoch: i64,
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
    let listeners = bind_listeners(&seams.transport, &settings)?;
    let host = listeners.first().map(|it| it.setting.host.as_str());
    let page = bind_page(&seams.transport, &settings)?;
    let metrics_address = page.as_ref().map(|page| page.address);
    let voter_listeners = voter_listeners(&settings, host)?;
    let found = find_on_disk(&seams, settings, &voter_listeners)?;
    let FoundOnDisk { started, meta, .. } = found;
    let kraft_version = found.quorum.kraft_version();
    let id = meta.node_id;
    let Seams { clock, lanes, spawner, .. } = seams;
    let rules = SettingRules { settings: Arc::clone(&started), node: id };
    let cluster = cluster_at_start(found.cluster.settled(), &found.bootstrap);
    let told = ControllerSettings {
        cluster_id: meta.cluster_id.clone(),
        kraft_version,
        own_broker: Some(meta.node_id),
        ..controller_settings(&started)
    };
    let controller = Controller::new(found.cluster, told, Box::new(rules));
    let controller = ControllerHandle::new(clock.clone(), controller, found.quorum);
    let node = Arc::new(Node::new(Parts {
        clock: clock.clone(),
        id,
        facts: NodeFacts {
            cluster_id: meta.cluster_id,
            metadata_directory: meta.directory_id,
            voter_listeners,
            kraft_version,
        },
        started: Arc::clone(&started),
        partitions: Arc::new(found.partitions),
        controller,
        levels,
        authorizer,
        lanes: lanes.clone(),
    }));
    lanes.hosts.metadata.keep_thread()?;
    let told = Arc::clone(&node);
    node.controller.serve(&lanes.hosts.metadata, move |news| match news {
        Some(news) => told.take(news),
        None => told.open_offline_partitions(),
    });
    let request = registration_request(&node, &listeners, found.directories, &cluster)?;
    let epoch = join_cluster(&node, found.bootstrap, request).await?;
    let asked = Arc::clone(&node);
    let ask = Arc::new(move || keeper_settings(&asked.cluster(), asked.started(), asked.id));
    let keeper = Keeper::start(&node.partitions, &clock, ask)?;
    let facts = start_facts(&node, found.was_clean || found.formatted, begun, found.recovery);
    let addresses = listeners.iter().map(|it| (it.setting.name.clone(), it.address)).collect();
    serve_listeners(&node, listeners, &spawner).await;
    if let Some(page) = page {
        start_page(&node, page, &spawner).await;
    }
    start_ticks(&node, &spawner).await;
    resume_moves(&node)?;
    let (data, formatted) = (started.log_dirs(), found.formatted);
    Ok(Assembled { node, keeper, lanes, addresses, metrics_address, formatted, data, facts, epoch })
}

/// What a node finds in its data directories.
struct FoundOnDisk {
    started: Arc<Settings>,
    /// What the directory with the metadata log is.
    meta: MetaProperties,
    /// The metadata as of the last stop.
    cluster: Cluster,
    /// What a new cluster begins with.
    bootstrap: Vec<MetadataRecord>,
    quorum: Quorum,
    partitions: Partitions,
    /// Were all directories new?
    formatted: bool,
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
    let meta = take_over(&mut dirs, &settings, clock, voter_listeners)?;
    let was_clean = dirs.iter().all(|it| it.clean.is_some()) && !formatted;
    let recovery = clock.monotonic();
    let opened = open_quorum(files, &settings, clock, &meta, was_clean)?;
    let mut cluster = Cluster::default();
    opened.records.iter().for_each(|record| cluster.apply(record));
    let lost = lost::check_absent_directories(&dirs, &cluster, id, &settings)?;
    let bootstrap = ottla_quorum::read_bootstrap(files, &settings.metadata_dir())?;
    let bootstrap = if bootstrap.is_empty() { bootstrap_records() } else { bootstrap };
    let directories = DirectoryFacts::of_opened(&dirs, &settings);
    // Nothing has changed so far: a start that was refused costs the next one no recovery.
    take_marks(&dirs)?;
    let parts =
        dirs.into_iter().filter_map(|it| Some((it.dir, it.meta?.directory_id, it.clean.is_some())));
    let partitions = Partitions::new(id, clock.clone(), parts.collect())?;
    let partitions = partitions.on_lanes(lanes.partitions.clone());
    partitions.sweep()?;
    partitions.set_strays_aside(|place| topic_id(&cluster, id, place))?;
    lost::log_lost_partitions(&lost);
    Ok(FoundOnDisk {
        started: Arc::new(settings),
        meta,
        cluster,
        bootstrap,
        quorum: opened.quorum,
        partitions,
        formatted,
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

    /// Stops, once no task serves any more: everything is on the disk then, and the next start need
    /// not recover it.
    ///
    /// # Errors
    /// The disk fails; the next start recovers every log.
    pub async fn stop(self) -> Result<(), StartError> {
        let Self { node, keeper, lanes, epoch, .. } = self;
        // First, as the last step of a move asks the controller.
        node.stop_moves();
        if let Err(code) = leave_cluster(&node, epoch).await {
            tracing::error!(
                node_id = ?node.id,
                error = code.name(),
                "controlled shutdown failed: the controller had stopped; the node stops without it"
            );
        }
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
fn topic_id(cluster: &Cluster, id: NodeId, place: &TopicPartition) -> Option<Uuid> {
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
fn refuse_promises(settings: &Settings) -> Result<(), SettingError> {
    let missing = unbuilt_settings(settings, &is_local_host);
    if missing.is_empty() { Ok(()) } else { Err(SettingError::NotBuilt(missing)) }
}
