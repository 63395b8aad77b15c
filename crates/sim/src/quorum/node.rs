//! One node of the quorum: a replica, its log in memory, and its disk.

use std::collections::VecDeque;

use ottla_raft::{Durable, Raft, ReplicaKey, Timing, VoterSet};
use ottla_types::{NodeId, Offset};

use super::message::{DiskAtRestart, QuorumFetch, Standing};
use crate::log::SimLog;

/// A node, running or not.
#[derive(Debug)]
pub(crate) struct QuorumNode {
    pub key: ReplicaKey,
    /// How often it has started.
    pub life: u32,
    pub disk: DiskAtRestart,
    pub live: Option<NodeMemory>,
    /// How much slower than others its disk is.
    pub slowness: u64,
}

/// What a running node has in memory: a crash loses all of it.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    pub raft: Raft,
    pub log: SimLog,
    /// Writes of the quorum state that are under way, the oldest first.
    pub persisting: VecDeque<Durable>,
    /// When the last of them is done.
    pub persisted_ms: u64,
    pub high_watermark: Offset,
    pub fetch: Option<QuorumFetchUnderWay>,
    pub fetches: u64,
    /// On a leader: fetches that wait for something new, one for each follower.
    pub parked: Vec<ParkedFetch>,
    /// On a leader: when each node fetched last.
    pub contacts: Vec<u64>,
    /// The lives of those whose vote requests have come.
    pub lives: Vec<u32>,
    pub woken_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct QuorumFetchUnderWay {
    pub number: u64,
    pub to: usize,
    pub since_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ParkedFetch {
    pub from: usize,
    pub life: u32,
    pub fetch: QuorumFetch,
}

impl QuorumNode {
    pub fn new(id: NodeId) -> Self {
        let directory = ottla_types::Uuid::of(1000 + u64::from(id.unsigned_abs()));
        let (disk, live) = (DiskAtRestart::default(), None);
        Self { key: ReplicaKey { id, directory }, life: 0, disk, live, slowness: 1 }
    }

    /// Starts with what is on the disk.
    pub fn start(&mut self, voters: VoterSet, nodes: usize) {
        let log = SimLog::open(&self.disk.log);
        self.life += 1;
        self.live = Some(NodeMemory {
            raft: Raft::new(self.key, voters, log.durable_end(), Timing::default()),
            log,
            persisting: VecDeque::new(),
            persisted_ms: 0,
            high_watermark: -1,
            fetch: None,
            fetches: 0,
            parked: Vec::new(),
            contacts: vec![0; nodes],
            lives: vec![0; nodes],
            woken_ms: None,
        });
    }
}

impl NodeMemory {
    pub fn standing(&self) -> Standing {
        Standing { epoch: self.raft.epoch(), leader: self.raft.leader() }
    }
}
