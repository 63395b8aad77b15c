//! One node of the quorum: a replica, its log in memory, and its disk.

use std::collections::VecDeque;

use ottla_raft::{Durable, Lineage, LogEnd, Raft, ReplicaKey, Timing, VoterSet};
use ottla_types::{LeaderEpoch, NodeId, Offset};

use super::message::{Disk, Entry, Fetch, Standing};

/// A node, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub key: ReplicaKey,
    /// How often it has started.
    pub life: u32,
    pub disk: Disk,
    pub live: Option<Live>,
    /// How much slower than others its disk is.
    pub slowness: u64,
}

/// What a running node has in memory: a crash loses all of it.
#[derive(Debug)]
pub(crate) struct Live {
    pub raft: Raft,
    pub log: Log,
    /// Writes of the quorum state that are under way, the oldest first.
    pub persisting: VecDeque<Durable>,
    /// When the last of them is done.
    pub persisted_ms: u64,
    pub high_watermark: Offset,
    pub fetch: Option<FetchUnderWay>,
    pub fetches: u64,
    /// On a leader: fetches that wait for something new, one for each follower.
    pub parked: Vec<Parked>,
    /// On a leader: when each node fetched last.
    pub contacts: Vec<u64>,
    /// The lives of those whose vote requests have come.
    pub lives: Vec<u32>,
    pub woken_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchUnderWay {
    pub number: u64,
    pub to: usize,
    pub since_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    pub from: usize,
    pub life: u32,
    pub fetch: Fetch,
}

impl Node {
    pub fn new(id: NodeId) -> Self {
        let directory = ottla_types::Uuid::of(1000 + u64::from(id.unsigned_abs()));
        let (disk, live) = (Disk::default(), None);
        Self { key: ReplicaKey { id, directory }, life: 0, disk, live, slowness: 1 }
    }

    /// Starts with what is on the disk.
    pub fn start(&mut self, voters: VoterSet, nodes: usize) {
        let log = Log::open(&self.disk.log);
        self.life += 1;
        self.live = Some(Live {
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

impl Live {
    pub fn standing(&self) -> Standing {
        Standing { epoch: self.raft.epoch(), leader: self.raft.leader() }
    }
}

/// A log of which a prefix is durable.
#[derive(Debug)]
pub(crate) struct Log {
    pub entries: Vec<Entry>,
    pub lineage: Lineage,
    /// How many entries are the same on the disk.
    pub shared: usize,
    /// Is there more on the disk than that: a tail that was cut off, but not yet there?
    pub has_stale_tail: bool,
    /// How often something was cut off; a flush that began before does not count.
    pub generation: u32,
    pub is_flushing: bool,
}

impl Log {
    fn open(disk: &[Entry]) -> Self {
        let mut log = Self {
            entries: Vec::new(),
            lineage: Lineage::default(),
            shared: disk.len(),
            has_stale_tail: false,
            generation: 0,
            is_flushing: false,
        };
        disk.iter().for_each(|entry| log.append(*entry));
        log
    }

    pub fn append(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.lineage.appended(entry.epoch, self.end());
    }

    /// Cuts everything from `end` on off.
    pub fn truncate(&mut self, end: usize) {
        self.has_stale_tail |= self.shared > end;
        self.entries.truncate(end);
        self.lineage.truncated(offset(end));
        self.shared = self.shared.min(end);
        self.generation += 1;
    }

    pub fn end(&self) -> Offset {
        offset(self.entries.len())
    }

    /// The epoch of the last of the first `count` entries.
    pub fn epoch_before(&self, count: usize) -> LeaderEpoch {
        count.checked_sub(1).map_or(0, |last| self.entries[last].epoch)
    }

    pub fn durable_end(&self) -> LogEnd {
        LogEnd { epoch: self.epoch_before(self.shared), offset: offset(self.shared) }
    }

    pub fn is_flushed(&self) -> bool {
        self.shared == self.entries.len() && !self.has_stale_tail
    }

    /// The log up to `end` is on the disk.
    pub fn flushed(&mut self, disk: &mut Vec<Entry>, end: usize) {
        disk.truncate(self.shared);
        disk.extend_from_slice(&self.entries[self.shared..end]);
        self.shared = end;
        self.has_stale_tail = false;
    }
}

/// The offset behind that many entries.
pub(crate) fn offset(count: usize) -> Offset {
    Offset::try_from(count).expect("a simulated log is short")
}

/// How many entries lie below that offset.
pub(crate) fn count(offset: Offset) -> usize {
    usize::try_from(offset).unwrap_or(0)
}
