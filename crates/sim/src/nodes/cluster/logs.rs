//! The metadata logs of all nodes, as they lie on their disks, held against each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ottla_protocol::shared::leader_change_message::LeaderChangeMessage;
use ottla_protocol::{Decoder, Message};
use ottla_records::control::ControlKind;
use ottla_records::{Batch, batches_in};
use ottla_storage::SimDisk;
use ottla_types::{LeaderEpoch, NodeId, Offset};

use crate::invariant::Invariant;

/// Where a node has the segment of its metadata log that begins at this offset: a log that was cut
/// goes on in a new one.
fn segment_path(base: Offset) -> PathBuf {
    PathBuf::from(format!("/data/__cluster_metadata-0/{base:020}.log"))
}

/// How large a batch of control records may be when it is unpacked.
const CONTROL_BYTES_MAX: usize = 1 << 20;

/// A batch of a metadata log: two logs that have equal ones at a place are equal up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScannedBatch {
    base: Offset,
    next: Offset,
    epoch: LeaderEpoch,
    crc: u32,
}

impl ScannedBatch {
    fn of(batch: &Batch<'_>) -> Self {
        Self {
            base: batch.base_offset(),
            next: batch.next_offset(),
            epoch: batch.leader_epoch(),
            crc: batch.crc(),
        }
    }
}

/// What is known of one node's log.
#[derive(Debug, Default)]
struct ScannedLog {
    batches: Vec<ScannedBatch>,
    /// The segment that the last of them is in.
    segment: Offset,
    /// Where the last of them begins and ends in its file.
    last: usize,
    end: usize,
    /// How many of them were held against what has committed.
    checked: usize,
    /// Up to where it was committed when the node was looked at last.
    committed: Offset,
    /// The epoch in which the node was seen to lead last.
    led: LeaderEpoch,
}

/// What a node that runs says of the metadata quorum.
#[derive(Clone, Copy, Debug)]
pub struct QuorumSight {
    /// The epoch that it leads.
    pub leads: Option<LeaderEpoch>,
    /// Everything below is committed.
    pub committed: Offset,
}

/// Holds the logs of all nodes against each other.
#[derive(Debug)]
pub struct LogJudge {
    logs: Vec<ScannedLog>,
    /// All that was seen committed, from the start of the log.
    committed: Vec<ScannedBatch>,
    /// Who leads in which epoch.
    leaders: BTreeMap<LeaderEpoch, NodeId>,
}

/// A rule, and how it is broken if it is.
pub type Verdict = (Invariant, Result<(), String>);

impl LogJudge {
    /// The judge of so many nodes.
    pub fn new(nodes: usize) -> Self {
        let logs = (0..nodes).map(|_| ScannedLog { led: -1, ..ScannedLog::default() }).collect();
        Self { logs, committed: Vec::new(), leaders: BTreeMap::new() }
    }

    /// How many epochs have had a leader.
    pub fn epochs(&self) -> usize {
        self.leaders.len()
    }

    /// How many batches have committed.
    pub fn committed_batches(&self) -> usize {
        self.committed.len()
    }

    /// The offset behind all that is known to be committed.
    pub fn committed_end(&self) -> Offset {
        self.committed.last().map_or(0, |batch| batch.next)
    }

    /// The process of a node has ended: its next one begins with what is on the disk.
    pub fn forget(&mut self, node: usize) {
        self.logs[node] = ScannedLog { led: -1, ..ScannedLog::default() };
    }

    /// Looks at the log of a node on its disk, and at what the node says, if it runs.
    pub fn look(
        &mut self,
        node: usize,
        id: NodeId,
        disk: &SimDisk,
        sight: Option<QuorumSight>,
    ) -> Vec<Verdict> {
        let mut verdicts = self.scan(node, disk);
        let Some(QuorumSight { leads, committed }) = sight else { return verdicts };
        let log = &mut self.logs[node];
        let falls = committed < log.committed;
        let why = || format!("node {id}: {} was committed, now {committed}", log.committed);
        verdicts.push((Invariant::HwMonotonic, if falls { Err(why()) } else { Ok(()) }));
        log.committed = committed;
        verdicts.push((Invariant::CommittedPrefix, self.compare(node, id)));
        if let Some(epoch) = leads.filter(|epoch| self.logs[node].led != *epoch) {
            self.logs[node].led = epoch;
            verdicts.push((Invariant::ElectionSafety, self.leads(epoch, id)));
            verdicts.push((Invariant::LeaderCompleteness, self.check_complete(node, id, epoch)));
        }
        verdicts
    }

    /// Reads what has come to a log since the last look.
    fn scan(&mut self, node: usize, disk: &SimDisk) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let log = &mut self.logs[node];
        let bytes = disk.peek(&segment_path(log.segment), log.last).unwrap_or_default();
        let first = Batch::first(&bytes).ok().map(|batch| ScannedBatch::of(&batch));
        if first.as_ref() != log.batches.last() {
            // It was cut off, and what was there is another now.
            let (committed, led) = (log.committed, log.led);
            *log = ScannedLog { committed, led, ..ScannedLog::default() };
        }
        let mut leaders = Vec::new();
        loop {
            let bytes = disk.peek(&segment_path(log.segment), log.end).unwrap_or_default();
            for batch in batches_in(&bytes).map_while(Result::ok) {
                if batch.bytes().iter().take(61).all(|byte| *byte == 0) {
                    break;
                }
                leaders.extend(leader_in(&batch));
                log.batches.push(ScannedBatch::of(&batch));
                (log.last, log.end) = (log.end, log.end + batch.bytes().len());
            }
            let next = log.batches.last().map_or(0, |batch| batch.next);
            let behind = disk.peek(&segment_path(next), 0).unwrap_or_default();
            if next <= log.segment || Batch::first(&behind).is_err() {
                break;
            }
            (log.segment, log.last, log.end) = (next, 0, 0);
        }
        for (epoch, leader) in leaders {
            verdicts.push((Invariant::ElectionSafety, self.leads(epoch, leader)));
        }
        verdicts
    }

    fn leads(&mut self, epoch: LeaderEpoch, leader: NodeId) -> Result<(), String> {
        let first = *self.leaders.entry(epoch).or_insert(leader);
        if first == leader {
            return Ok(());
        }
        Err(format!("nodes {first} and {leader} lead in epoch {epoch}"))
    }

    /// Holds what has committed on a node against what has committed elsewhere.
    fn compare(&mut self, node: usize, id: NodeId) -> Result<(), String> {
        let log = &mut self.logs[node];
        let new = log.batches[log.checked..].iter().take_while(|it| it.next <= log.committed);
        for batch in new {
            match self.committed.get(log.checked) {
                None => self.committed.push(*batch),
                Some(other) if other == batch => {}
                Some(other) => {
                    return Err(format!("node {id} has {batch:?} where {other:?} has committed"));
                }
            }
            log.checked += 1;
        }
        let has = log.batches[..log.checked].last().map_or(0, |batch| batch.next);
        if has < log.committed {
            return Err(format!(
                "node {id} has its log up to {has}, and takes {} for committed",
                log.committed
            ));
        }
        Ok(())
    }

    /// A new leader has all that committed in earlier epochs.
    fn check_complete(&self, node: usize, id: NodeId, epoch: LeaderEpoch) -> Result<(), String> {
        let log = &self.logs[node];
        let earlier = self.committed.iter().take_while(|batch| batch.epoch < epoch);
        for (at, batch) in earlier.enumerate() {
            let found = log.batches.get(at);
            if found != Some(batch) {
                return Err(format!(
                    "node {id} leads in epoch {epoch} with {found:?} where {batch:?} has committed"
                ));
            }
        }
        Ok(())
    }
}

/// The leader that a batch of control records names, with its epoch.
fn leader_in(batch: &Batch<'_>) -> Option<(LeaderEpoch, NodeId)> {
    if !batch.is_control() || !batch.crc_is_right() {
        return None;
    }
    let unpacked = batch.unpack(CONTROL_BYTES_MAX).ok()?;
    let record = unpacked.records().next()?.ok()?;
    if ControlKind::of(&record) != Some(ControlKind::LeaderChange) {
        return None;
    }
    let mut value = Decoder::new(bytes::Bytes::copy_from_slice(record.value?));
    let message = LeaderChangeMessage::decode(&mut value, 0).ok()?;
    Some((batch.leader_epoch(), message.leader_id))
}
