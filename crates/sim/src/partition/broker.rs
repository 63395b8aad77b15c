//! A broker, running or not.

use std::collections::{BTreeMap, VecDeque};

use ottla_metadata::Cluster;
use ottla_replication::Leader;
use ottla_types::{LeaderEpoch, NodeId, Offset, Uuid};

use crate::log::{SimLog, SimRecord};

#[derive(Debug)]
pub(crate) struct SimBroker {
    pub id: NodeId,
    /// How often it has started.
    pub life: u32,
    /// While it runs, what a power cut would leave; while it is down, its log.
    pub disk: Vec<SimRecord>,
    /// The high watermark in its checkpoint.
    pub checkpoint: Offset,
    /// The epoch that its last life wrote down when it stopped cleanly; -1 if it did not.
    pub clean_epoch: i64,
    /// Has it lost records that it had acknowledged, and not registered again since?
    pub has_lost: bool,
    /// How its last life ended, until it is in sync again.
    pub weakness: Option<Crash>,
    pub live: Option<BrokerMemory>,
}

/// How a broker ends without a clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Crash {
    /// The process dies; the kernel keeps what it has written.
    Process,
    /// The power fails: what was not flushed is lost.
    Power,
}

/// What a running broker has in memory.
#[derive(Debug)]
pub(crate) struct BrokerMemory {
    pub log: SimLog,
    /// The metadata as far as it has come.
    pub cluster: Cluster,
    /// How many records that is.
    pub applied: usize,
    pub part: BrokerRole,
    pub high_watermark: Offset,
    pub fetch: Option<ReplicaFetchUnderWay>,
    pub fetches: u64,
    /// The request for another in-sync set that is not answered: one at a time.
    pub asked: Option<InSyncAskedFor>,
    /// How many such requests this life has sent.
    pub requests: u64,
    /// The epoch in which the controller has registered it, as far as it was answered.
    pub registered: Option<i64>,
    /// Does it stop as soon as the controller lets it?
    pub is_stopping: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplicaFetchUnderWay {
    pub number: u64,
    pub since_ms: u64,
}

/// A request for another in-sync set, until it is answered or given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InSyncAskedFor {
    pub number: u64,
    pub since_ms: u64,
}

/// What a broker does for the partition.
#[derive(Debug)]
pub(crate) enum BrokerRole {
    Idle,
    Follower { leader: NodeId, epoch: LeaderEpoch },
    Leader(Box<Leading>),
}

#[derive(Debug)]
pub(crate) struct Leading {
    pub leader: Leader,
    /// Produce requests with acks=all: where the record of each ends.
    pub waiting: VecDeque<Offset>,
    /// The latest life of each follower that has fetched, by the epoch of its registration.
    pub lives: BTreeMap<NodeId, i64>,
}

impl SimBroker {
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            life: 0,
            disk: Vec::new(),
            checkpoint: 0,
            clean_epoch: -1,
            has_lost: false,
            weakness: None,
            live: None,
        }
    }

    /// The id of this life, or of another one.
    pub fn incarnation(id: NodeId, life: u32) -> Uuid {
        Uuid::of(1_000_000 * u64::from(id.unsigned_abs()) + 1000 + u64::from(life))
    }

    pub fn start(&mut self) {
        let log = SimLog::open(&self.disk);
        self.life += 1;
        self.live = Some(BrokerMemory {
            high_watermark: self.checkpoint.min(log.end()),
            log,
            cluster: Cluster::default(),
            applied: 0,
            part: BrokerRole::Idle,
            fetch: None,
            fetches: 0,
            asked: None,
            requests: 0,
            registered: None,
            is_stopping: false,
        });
    }

    /// The log, wherever it is.
    pub fn entries(&self) -> &[SimRecord] {
        self.live.as_ref().map_or(&self.disk, |live| &live.log.entries)
    }
}

impl BrokerMemory {
    /// The epoch of this life's registration, as soon as the metadata has it.
    pub fn broker_epoch(&self, id: NodeId, life: u32) -> Option<i64> {
        let known = self.cluster.broker(id)?;
        (known.incarnation == SimBroker::incarnation(id, life)).then_some(known.epoch)
    }

    pub fn leading(&self) -> Option<&Leading> {
        match &self.part {
            BrokerRole::Leader(leading) => Some(leading),
            _ => None,
        }
    }

    pub fn leading_mut(&mut self) -> Option<&mut Leading> {
        match &mut self.part {
            BrokerRole::Leader(leading) => Some(leading),
            _ => None,
        }
    }
}
