//! The world around [`Forming`]: it asks the other nodes and answers them, writes the file, and
//! formats the directories in the end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_clock::Clock;
use ottla_locks::Mutex;
use ottla_net::connection::{Limits, serve_requests};
use ottla_net::listener::{Accepted, Admission, Arrival, Bounds};
use ottla_net::threads::Spawner;
use ottla_net::transport::{Stream, Transport};
use ottla_partitions::{DirState, Files, StorageError};
use ottla_quorum::{
    Endpoint, FORMING, InitialVoters, ReplicaKey, VoterSet, read_forming, remove_forming,
    write_forming,
};
use ottla_settings::{ClusterList, Settings};
use tokio::sync::oneshot;

use super::file::{read_report, write_report};
use super::wire::{FormingAsker, REQUEST_BYTES_MAX, answer_forming, ask_peer};
use super::{Forming, FormingPeer, FormingReport, FormingStage, FormingStep, Founding};
use crate::assemble::refuse_promises;
use crate::dirs::{
    NewDirectories, OpenDir, directory_states, open_dirs, own_directories, own_voter,
};
use crate::listening::{BoundListener, bind_listeners};
use crate::seldom::SeldomWarning;
use crate::start_error::StartError;

/// How long another node may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long after an answer the others are asked again: at first, and while nothing changes.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// How often the log says what is waited for.
const LOGGED_EVERY: Duration = Duration::from_secs(10);
/// How many connections are served, and for how long each of them.
const CONNECTIONS_MAX: usize = 64;
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// What a node that forms needs of the world.
#[derive(Clone, Debug)]
pub struct FormingSeams {
    /// The disks.
    pub files: Arc<dyn Files>,
    /// Time and randomness.
    pub clock: Clock,
    /// Where its tasks run.
    pub spawner: Spawner,
    /// How its connections travel.
    pub transport: Transport,
}

/// Formats the directories of a node with `ottla.cluster`, once it has found out with the others
/// whether it founds a cluster or joins one. Returns at once if there is nothing to form: the
/// directories are formatted, or a start is going to refuse them.
///
/// # Errors
/// The settings or the nodes contradict each other, or the disk fails.
pub async fn form_cluster(seams: FormingSeams, settings: &Settings) -> Result<(), StartError> {
    let Some(list) = settings.cluster_list()? else { return Ok(()) };
    refuse_promises(settings)?;
    let Some(mut disk) = FormingDisk::open(&seams.files, settings)? else { return Ok(()) };
    let key = ReplicaKey { id: settings.node_id()?, directory: seams.clock.random_uuid() };
    let mut forming = Forming::begin(list, key, disk.stored.take())?;
    let shown = Arc::new(Mutex::new(forming.report().clone()));
    let bound = bind_listeners(&seams.transport, settings)?;
    serve_forming(&seams, bound, &shown).await;
    let mut waiting = WaitingLog::default();
    loop {
        match forming.next_step(seams.clock.random_uuid())? {
            FormingStep::Persist(stage) => {
                log_stage(&stage);
                disk.persist(FormingReport { stage: stage.clone(), ..forming.report().clone() })?;
                forming.persisted(stage);
                *shown.lock() = forming.report().clone();
                waiting = WaitingLog::default();
            }
            FormingStep::Found(founding) => {
                let voters = founding_voters(settings, &founding, &forming.report().list);
                return disk.format(settings, &seams.clock, founding.cluster_id, voters);
            }
            FormingStep::Join { cluster_id } => {
                return disk.format(settings, &seams.clock, cluster_id, InitialVoters::NoneYet);
            }
            FormingStep::Wait => {
                waiting.pause(&seams.clock, &forming).await;
                ask_others(&seams, &mut forming).await;
            }
        }
    }
}

/// The first voters of a cluster, as `--initial-controllers` would name them.
fn founding_voters(settings: &Settings, founding: &Founding, list: &ClusterList) -> InitialVoters {
    let name = settings.controller_listeners().into_iter().next();
    let name = name.unwrap_or_else(|| "CONTROLLER".to_owned());
    let voters = founding.founders.iter().filter_map(|key| {
        let node = list.node(key.id)?;
        let (host, port) = (node.host.clone(), node.controller_port);
        Some(own_voter(*key, &[Endpoint { name: name.clone(), host, port }]))
    });
    InitialVoters::Given(VoterSet::of(voters))
}

fn log_stage(stage: &FormingStage) {
    match stage {
        FormingStage::Blank => {}
        FormingStage::Promised(it) => tracing::info!(
            cluster_id = %it.cluster_id,
            attempt = it.attempt,
            nodes = it.founders.len(),
            "all nodes of ottla.cluster are blank: this node promises to found a cluster with them"
        ),
        FormingStage::Decided(it) => tracing::info!(
            cluster_id = %it.cluster_id,
            nodes = it.founders.len(),
            "all nodes of ottla.cluster have promised: the cluster is founded"
        ),
        FormingStage::Joining { cluster_id } => tracing::info!(
            %cluster_id,
            "another node of ottla.cluster has a cluster: this node joins it as an observer"
        ),
    }
}

/// The directories of a node that forms, locked.
struct FormingDisk {
    files: Arc<dyn Files>,
    dirs: Vec<OpenDir>,
    metadata_dir: PathBuf,
    stored: Option<FormingReport>,
}

impl FormingDisk {
    /// Opens the directories if they are to be formatted by forming: all are blank, or the file
    /// says that a crash came before all were formatted.
    fn open(files: &Arc<dyn Files>, settings: &Settings) -> Result<Option<Self>, StartError> {
        let states = directory_states(&**files, settings)?;
        let metadata_dir = settings.metadata_dir();
        let stored = read_forming(files, &metadata_dir)?;
        if states.iter().all(|(_, state)| *state == DirState::Formatted) {
            if stored.is_some() {
                remove_forming(files, &metadata_dir)?;
            }
            return Ok(None);
        }
        let stored = stored.map(|bytes| read_report(&bytes)).transpose();
        let stored = stored
            .map_err(|why| StartError::FormingFile { path: metadata_dir.join(FORMING), why })?;
        let is_settled = matches!(
            stored.as_ref().map(|it| &it.stage),
            Some(FormingStage::Decided(_) | FormingStage::Joining { .. })
        );
        for (path, state) in &states {
            let is_blank = match state {
                DirState::Missing | DirState::Empty => true,
                DirState::Unformatted if *path == metadata_dir => holds_only_forming(files, path)?,
                DirState::Unformatted | DirState::Formatted => false,
            };
            if !is_blank && !is_settled {
                return Ok(None);
            }
        }
        let mut dirs = open_dirs(files, settings)?;
        // First, so that the others are formatted after a crash as this one says.
        dirs.sort_by_key(|it| it.dir.path() != metadata_dir);
        Ok(Some(Self { files: Arc::clone(files), dirs, metadata_dir, stored }))
    }

    fn persist(&self, report: FormingReport) -> Result<(), StartError> {
        Ok(write_forming(&self.files, &self.metadata_dir, &write_report(&report))?)
    }

    /// Formats what is not formatted yet; the file goes last.
    fn format(
        mut self,
        settings: &Settings,
        clock: &Clock,
        cluster_id: String,
        voters: InitialVoters,
    ) -> Result<(), StartError> {
        let (features, credentials) = (Vec::new(), Vec::new());
        let cluster_id = Some(cluster_id);
        let new = NewDirectories { cluster_id, voters, features, credentials };
        let meta = own_directories(&mut self.dirs, settings, clock, new)?;
        let log_dirs: Vec<String> =
            self.dirs.iter().map(|it| it.dir.path().display().to_string()).collect();
        tracing::info!(
            cluster_id = %meta.cluster_id,
            log_dirs = %log_dirs.join(","),
            "data directories formatted for the cluster"
        );
        Ok(remove_forming(&self.files, &self.metadata_dir)?)
    }
}

/// Is nothing in the directory but the file, written whole or in part?
fn holds_only_forming(files: &Arc<dyn Files>, path: &std::path::Path) -> Result<bool, StartError> {
    const HELD: [&str; 2] = [".lock", "lost+found"];
    let failed = |source| StorageError::Io { path: path.to_owned(), source };
    let listed = files.list(path).map_err(failed)?;
    Ok(listed.iter().all(|it| HELD.contains(&&*it.name) || it.name.starts_with(FORMING)))
}

/// Serves the controllers' listeners; the other ones stay closed until the node has a cluster.
async fn serve_forming(
    seams: &FormingSeams,
    bound: Vec<BoundListener>,
    shown: &Arc<Mutex<FormingReport>>,
) {
    let others = Arc::new(SeldomWarning::default());
    for one in bound.into_iter().filter(BoundListener::is_controllers) {
        let (seams, shown, others) = (seams.clone(), Arc::clone(shown), Arc::clone(&others));
        let spawner = seams.spawner.clone();
        spawner.spawn(0, move || accept_forming(seams, one, shown, others)).await;
    }
}

async fn accept_forming(
    seams: FormingSeams,
    one: BoundListener,
    shown: Arc<Mutex<FormingReport>>,
    others: Arc<SeldomWarning>,
) {
    let (total, per_address) = (CONNECTIONS_MAX, CONNECTIONS_MAX);
    let admission = Admission::new(Bounds { total, per_address, ..Bounds::default() });
    let mut listener = match one.listen() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "controller listener cannot accept connections");
            return;
        }
    };
    loop {
        match listener.accept(&admission).await {
            Ok(Arrival::Refused(peer)) => tracing::debug!(client = %peer, "connection refused"),
            Ok(Arrival::Accepted(accepted)) => {
                let (clock, shown, others) =
                    (seams.clock.clone(), Arc::clone(&shown), Arc::clone(&others));
                let serve = move || serve_asker(clock, accepted, shown, others);
                seams.spawner.spawn(0, serve).await;
            }
            Err(error) => {
                tracing::debug!(%error, "accepting a connection failed; retrying");
                seams.clock.sleep(PAUSE_FIRST).await;
            }
        }
    }
}

async fn serve_asker(
    clock: Clock,
    accepted: Accepted,
    shown: Arc<Mutex<FormingReport>>,
    others: Arc<SeldomWarning>,
) {
    let Accepted { socket, peer, permit } = accepted;
    let limits = Limits {
        frame_bytes_max: REQUEST_BYTES_MAX,
        replies_waiting_max: 4,
        unsent_bytes_max: REQUEST_BYTES_MAX,
    };
    let asked = |asker: FormingAsker| {
        let own = shown.lock().list.clone();
        if asker.list != own
            && let Some(count) = others.count(clock.monotonic())
        {
            tracing::warn!(
                client = %peer,
                peer = asker.node,
                count,
                "ottla.cluster differs: this node has {own}, but node {} has {}",
                asker.node,
                asker.list
            );
        }
    };
    let handler = async |frame| answer_forming(frame, || shown.lock().clone(), asked);
    let served = async {
        match socket.adopt() {
            Ok(Stream::Tcp(stream)) => drop(serve_requests(stream, limits, handler, || {}).await),
            Ok(Stream::Memory(it)) => drop(serve_requests(it, limits, handler, || {}).await),
            Err(error) => tracing::debug!(client = %peer, %error, "socket cannot be used"),
        }
    };
    tokio::select! {
        biased;
        () = served => {}
        () = clock.sleep(CONNECTION_LIMIT) => {}
    }
    drop(permit);
}

/// Asks all other nodes at the same time; none keeps another back.
async fn ask_others(seams: &FormingSeams, forming: &mut Forming) {
    let mut asked = Vec::new();
    for node in forming.others() {
        let (sender, answer) = oneshot::channel();
        let (seams, address) = (seams.clone(), node.controller_address());
        let own = forming.report().clone();
        let spawner = seams.spawner.clone();
        let ask = move || async move {
            let peer = tokio::select! {
                biased;
                peer = ask_peer(&seams.transport, &address, &own) => peer,
                () = seams.clock.sleep(ANSWER_LIMIT) => Err(io::ErrorKind::TimedOut.into()),
            };
            let peer =
                peer.unwrap_or_else(|error| FormingPeer::Unreachable(why_unreachable(&error)));
            // The receiver waits for it.
            let _ = sender.send(peer);
        };
        spawner.spawn(0, ask).await;
        asked.push((node.id, answer));
    }
    for (node, answer) in asked {
        // A thread that has ended asks nothing.
        let unasked = || FormingPeer::Unreachable("not asked".to_owned());
        let peer = answer.await.unwrap_or_else(|_| unasked());
        forming.heard(node, peer);
    }
}

/// The reason without the system's number.
fn why_unreachable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => {
            format!("no answer within {} s", ANSWER_LIMIT.as_secs())
        }
        io::ErrorKind::UnexpectedEof => "it closes the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// How long nothing has changed, and what the log says of it.
#[derive(Default)]
struct WaitingLog {
    pause: Duration,
    said: Vec<String>,
    said_at: Duration,
}

impl WaitingLog {
    /// Logs what is missing, when that has changed or some time has gone by, and waits.
    async fn pause(&mut self, clock: &Clock, forming: &Forming) {
        // The first time no other node has been asked yet.
        if self.pause.is_zero() && self.said.is_empty() && self.said_at.is_zero() {
            self.said_at = clock.monotonic();
            self.pause = PAUSE_FIRST;
            return;
        }
        let missing: Vec<String> = forming.missing().iter().map(ToString::to_string).collect();
        let now = clock.monotonic();
        if missing != self.said {
            self.pause = PAUSE_FIRST;
        }
        if missing != self.said || now >= self.said_at + LOGGED_EVERY {
            missing.iter().for_each(|it| tracing::info!("waiting for {it}"));
            (self.said, self.said_at) = (missing, now);
        }
        clock.sleep(self.pause).await;
        self.pause = PAUSE_LAST.min(self.pause * 2);
    }
}
