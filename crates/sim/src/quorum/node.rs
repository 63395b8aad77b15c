//! One node of the quorum: a replica, its log in memory, and its disk.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use ottla_raft::{
    Candidacy, Durable, Endpoint, FetchAsked, LogBatch, QuorumControl, QuorumLog, Raft, RaftSetup,
    ReplicaKey, SnapshotId, Timing, Voter, VoterSet,
};
use ottla_types::{NodeId, Offset, Uuid};

use super::log::{ReplicaLog, SimSnapshot};
use super::message::{ChangeRequester, DiskAtRestart};
use crate::log::{SimRecord, offset};

/// A node, running or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QuorumNode {
    pub key: ReplicaKey,
    pub candidacy: Candidacy,
    /// Was its disk replaced? Then its settings name no voters any more, as Kafka's guide to
    /// dynamic quorums demands: else it would begin another quorum.
    pub is_wiped: bool,
    /// Does it know pre-votes (KIP-996)?
    pub knows_pre_votes: bool,
    /// How often it has started.
    pub life: u32,
    pub disk: DiskAtRestart,
    pub live: Option<NodeMemory>,
    /// Where it runs: is a connection to it refused while it does not run, rather than lost?
    pub is_host_up: bool,
    /// How much slower than others its disk is.
    pub slowness: u64,
    /// Where its controller listens.
    pub endpoints: Vec<Endpoint>,
    /// How long its replica waits for what.
    pub timing: Timing,
}

/// A node that costs a copy only when it changes, for worlds of which there are many.
#[derive(Clone, Debug)]
pub(crate) struct SharedNode {
    node: Arc<QuorumNode>,
    /// Its hash, once that was asked for.
    print: Option<u64>,
}

impl SharedNode {
    pub fn of(node: QuorumNode) -> Self {
        Self { node: Arc::new(node), print: None }
    }

    /// The hash of all that the node is.
    pub fn print(&mut self) -> u64 {
        *self.print.get_or_insert_with(|| {
            let mut hasher = DefaultHasher::new();
            self.node.hash(&mut hasher);
            hasher.finish()
        })
    }
}

impl Deref for SharedNode {
    type Target = QuorumNode;

    fn deref(&self) -> &QuorumNode {
        &self.node
    }
}

impl DerefMut for SharedNode {
    fn deref_mut(&mut self) -> &mut QuorumNode {
        self.print = None;
        Arc::make_mut(&mut self.node)
    }
}

/// What a running node has in memory: a crash loses all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeMemory {
    pub raft: Raft,
    pub log: ReplicaLog,
    /// Writes of the quorum state that are under way, the oldest first.
    pub persisting: VecDeque<Durable>,
    /// When the last of them is done.
    pub persisted_ms: u64,
    pub high_watermark: Offset,
    pub fetch: Option<QuorumFetchUnderWay>,
    pub fetches: u64,
    /// The records of the answer that is being looked at.
    pub fetched: Vec<SimRecord>,
    /// The snapshot that is being fetched, as the leader has it.
    pub download: Option<Arc<SimSnapshot>>,
    /// On a leader: fetches that wait for something new, one for each follower.
    pub parked: Vec<ParkedFetch>,
    /// On a leader: when each node fetched last.
    pub contacts: Vec<u64>,
    /// On a leader: when its voters changed last.
    pub changed_ms: u64,
    /// On a leader: who waits for a change.
    pub changes: Vec<ChangeRequester>,
    /// The lives of those whose vote requests have come.
    pub lives: Vec<u32>,
    pub woken_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QuorumFetchUnderWay {
    pub number: u64,
    pub to: usize,
    pub since_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ParkedFetch {
    pub from: usize,
    pub life: u32,
    pub number: u64,
    pub fetch: FetchAsked,
}

/// What control records say, by the id of their record.
pub(crate) type ControlTable = BTreeMap<u64, Vec<QuorumControl>>;

/// The batch that a record stands for.
pub(crate) fn batch_of(table: &ControlTable, at: usize, record: SimRecord) -> LogBatch {
    let controls = table.get(&record.id).into_iter().flatten().cloned();
    let controls = controls.map(|control| (offset(at), control)).collect();
    LogBatch { base: offset(at), end: offset(at + 1), epoch: record.epoch, controls }
}

impl QuorumNode {
    pub fn new(id: NodeId) -> Self {
        let directory = Uuid::of(1000 + u64::from(id.unsigned_abs()));
        let (name, host) = ("CONTROLLER".to_owned(), String::new());
        Self {
            key: ReplicaKey { id, directory },
            candidacy: Candidacy::ByOperator,
            is_wiped: false,
            knows_pre_votes: true,
            life: 0,
            disk: DiskAtRestart::default(),
            live: None,
            is_host_up: true,
            slowness: 1,
            endpoints: vec![Endpoint { name, host, port: 9093 }],
            timing: Timing::default(),
        }
    }

    /// What the node says of itself where it votes.
    pub fn voter(&self) -> Voter {
        Voter { key: self.key, endpoints: self.endpoints.clone(), kraft_versions: (0, 1) }
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&mut self) {
        let wiped = u64::from(self.life) + 1;
        let id = u64::from(self.key.id.unsigned_abs());
        self.key.directory = Uuid::of(1_000_000 * wiped + 1000 + id);
        self.disk = DiskAtRestart::default();
        self.is_wiped = true;
    }

    /// The voters that its settings name.
    pub fn static_voters(&self, first: &FirstQuorum) -> VoterSet {
        if self.is_wiped { VoterSet::default() } else { first.static_voters.clone() }
    }

    /// What its disk says of the quorum.
    pub fn log_on_disk(&self, first: &FirstQuorum, table: &ControlTable) -> QuorumLog {
        let disk = &self.disk.log;
        let mut log = QuorumLog::new(self.static_voters(first));
        if self.disk.is_formatted {
            log.replaced(SnapshotId::default(), first.format.clone());
        }
        let mut snapshots = disk.snapshots.iter();
        if disk.base > 0
            && let Some(snapshot) = snapshots.next()
        {
            log.replaced(snapshot.id, snapshot.controls.clone());
        }
        for (at, record) in (disk.base..).zip(&disk.entries) {
            log.appended(&batch_of(table, at, *record));
        }
        snapshots.for_each(|snapshot| log.snapshot_taken(snapshot.id));
        log
    }

    /// Starts with what is on the disk.
    pub fn start(&mut self, first: &FirstQuorum, table: &ControlTable, nodes: usize) {
        self.disk.log.recover();
        let known = self.log_on_disk(first, table);
        let (own, candidacy, timing) = (self.voter(), self.candidacy, self.timing);
        self.life += 1;
        self.live = Some(NodeMemory {
            raft: Raft::new(RaftSetup { own, candidacy, log: known, timing }),
            log: ReplicaLog::open(&self.disk.log),
            persisting: VecDeque::new(),
            persisted_ms: 0,
            high_watermark: -1,
            fetch: None,
            fetches: 0,
            fetched: Vec::new(),
            download: None,
            parked: Vec::new(),
            contacts: vec![0; nodes],
            changed_ms: 0,
            changes: Vec::new(),
            lives: vec![0; nodes],
            woken_ms: None,
        });
    }
}

/// With which voters a quorum begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstQuorum {
    /// kraft.version 0: the voters of the settings, without directories.
    pub static_voters: VoterSet,
    /// kraft.version 1: what the disks of the first voters are formatted with.
    pub format: Vec<QuorumControl>,
}
