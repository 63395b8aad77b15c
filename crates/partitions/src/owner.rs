//! The one writer of a partition; a turn of it runs on the caller's thread.

use std::sync::Arc;

use ottla_records::{
    BadRecords, Batch, BatchRules as RecordRules, RepackAs, TimestampRules, check_batches,
};
use ottla_replication::{Assignment, Beginning, Leader, NotEnoughReplicas};
use ottla_storage::{
    AppendError, Log, ProducerError, Stamp, StorageError, TruncatedLog, Truncation,
};
use ottla_types::{
    ErrorCode, LeaderEpoch, NO_OFFSET, NodeId, Offset, ProducerEpoch, ProducerId, TimestampMs,
};

use crate::following::FollowRefused;
use crate::inspect::{Inspected, SMALL_UNPACKED_BYTES_MAX, Sound, UNPACKED_BYTES_MAX};
use crate::marker::{Guard, Marker};
use crate::numbers::TopicFlow;
use crate::progress::Ends;
use crate::rules::{PartitionRules, TimestampKind};

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// The append time of its records, in milliseconds; -1 if they have their own. Of a batch that
    /// was there already, its newest timestamp.
    pub log_append_time_ms: TimestampMs,
    /// Must it be durable before it is acknowledged?
    pub awaits_disk: bool,
    /// The leader epoch in which it was appended: what later leaders commit need not be it.
    pub leader_epoch: LeaderEpoch,
}

/// On what terms a batch is appended.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Now, in milliseconds.
    pub now_ms: TimestampMs,
    /// Must enough replicas be in sync (acks=all)?
    pub for_all: bool,
    /// May it be compressed with zstd?
    pub zstd_allowed: bool,
    /// What shows that its transaction is known to go on here, if it is the first of one.
    pub guard: Option<Guard>,
}

impl Terms {
    /// Those of a batch that is acknowledged when all replicas in sync have it (acks=all).
    #[must_use]
    pub const fn for_all(now_ms: TimestampMs) -> Self {
        Self { now_ms, for_all: true, zstd_allowed: true, guard: None }
    }

    /// Those of a batch that is acknowledged when the leader has it (acks=1).
    #[must_use]
    pub const fn for_leader(now_ms: TimestampMs) -> Self {
        Self { for_all: false, ..Self::for_all(now_ms) }
    }
}

/// Where a batch went, or why it was not appended.
pub type AppendResult = Result<AppendedBatch, AppendRefusal>;

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendRefusal {
    /// The partition is led elsewhere.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// Too few replicas are in sync for acks=all.
    #[error("{} replica(s) are in sync, {} are needed", .0.in_sync, .0.required)]
    TooFewReplicas(NotEnoughReplicas),
    /// The batch breaks a rule.
    #[error(transparent)]
    Records(#[from] BadRecords),
    /// The log refuses it.
    #[error(transparent)]
    Append(AppendError),
    /// It would begin a transaction that the coordinator does not know of.
    #[error("the transaction coordinator knows no ongoing transaction in this partition")]
    Unverified,
    /// A newer coordinator has written a marker.
    #[error("a newer transaction coordinator has already written to this partition")]
    CoordinatorFenced,
    /// The disk fails.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<AppendError> for AppendRefusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Storage(error) => Self::Storage(error),
            other => Self::Append(other),
        }
    }
}

impl AppendRefusal {
    /// The error code in the answer to the client.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::TooFewReplicas(_) => ErrorCode::NOT_ENOUGH_REPLICAS,
            Self::Records(bad) => bad.code(),
            Self::Append(error) => error.code(),
            Self::Unverified => ErrorCode::INVALID_TXN_STATE,
            Self::CoordinatorFenced => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
            Self::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }

    /// Does the answer have the log's start offset beside the error? As in Kafka, with those that
    /// are found while the batch is appended.
    #[must_use]
    pub const fn tells_log_start(&self) -> bool {
        match self {
            Self::NotLeader | Self::Storage(_) => false,
            Self::Records(bad) => bad.tells_log_start(),
            _ => true,
        }
    }

    /// Which records are wrong, and what is wrong with each.
    #[must_use]
    pub fn records(&self) -> Vec<(usize, String)> {
        match self {
            Self::Records(bad) => bad.records(),
            _ => Vec::new(),
        }
    }
}

/// Log, leadership and rules of one partition.
#[derive(Debug)]
pub(crate) struct Owner {
    me: NodeId,
    pub log: Log,
    leader: Option<Leader>,
    assignment: Assignment,
    rules: PartitionRules,
    /// The high watermark while this node does not lead: that of the last checkpoint, or of the
    /// time when it led, or what its leader has told it since.
    watermark: Offset,
    /// While the log is being truncated: what the metadata has said meanwhile.
    truncating: Option<DeferredAssignment>,
    /// How many bytes had been written when the cache was last trimmed.
    trimmed: u64,
    flow: Arc<TopicFlow>,
}

/// When counts what the metadata says?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssignedWhen {
    /// At once.
    Now,
    /// When the log has been truncated.
    Truncated,
}

/// What the metadata has said while a log was being truncated; nothing, by default.
#[derive(Debug, Default)]
struct DeferredAssignment(Option<(Assignment, PartitionRules, u64)>);

/// After how many bytes the cache window moves on.
const TRIM_EVERY_BYTES: u64 = 8 << 20;
/// After how many bytes a log is made durable, so that recovery has no more than this to read.
const FLUSH_EVERY_BYTES: u64 = 64 << 20;

const _: () = assert!(TRIM_EVERY_BYTES < FLUSH_EVERY_BYTES, "what is trimmed was written out");

/// What a log needs others to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Records are waited for to be durable.
    pub sync: bool,
    /// The recovery point is far behind.
    pub flush: bool,
    /// The cache window is.
    pub trim: bool,
}

impl Owner {
    pub(crate) fn new(
        me: NodeId,
        log: Log,
        rules: PartitionRules,
        watermark: Offset,
        flow: Arc<TopicFlow>,
    ) -> Self {
        // Recovery may have cut off what the checkpoint counts.
        let watermark = watermark.min(log.log_end());
        let assignment = Assignment { leader: -1, leader_epoch: -1, ..Assignment::default() };
        let truncating = None;
        Self { me, log, leader: None, assignment, rules, watermark, truncating, trimmed: 0, flow }
    }

    /// What is counted of its topic.
    pub(crate) fn flow(&self) -> Arc<TopicFlow> {
        Arc::clone(&self.flow)
    }

    /// Ends a turn: what readers may see from now on. Transactions whose markers the high watermark
    /// has passed have ended for good.
    pub(crate) fn settle(&mut self) -> Ends {
        let ends = self.ends();
        self.log.replicated(ends.high_watermark);
        assert!(ends.are_in_order(), "the ends of a partition contradict each other: {ends:?}");
        self.log.assert_sound();
        ends
    }

    fn ends(&self) -> Ends {
        let log_start = self.log.log_start();
        let replicated = self.leader.as_ref().map_or(self.watermark, Leader::watermark);
        // With `flush.messages` or `flush.ms` set, readers see no record that a power cut could
        // undo.
        let visible =
            if self.rules.is_durable() { replicated.min(self.log.durable()) } else { replicated };
        // What was deleted need not have been durable.
        let high_watermark = visible.max(log_start);
        let unstable = self.log.first_unstable(high_watermark).unwrap_or(high_watermark);
        let leader = self.leader.as_ref();
        let log_end = self.log.log_end();
        Ends {
            log_start,
            log_end,
            high_watermark,
            // The beginning of a transaction may have been deleted.
            last_stable: unstable.clamp(log_start, high_watermark),
            leader_epoch: self.assignment.leader_epoch,
            leading: leader.is_some(),
            durable: if self.rules.is_durable() { self.log.durable() } else { log_end },
            epoch_start: leader.map_or(NO_OFFSET, Leader::epoch_start),
            enough_in_sync: leader.is_some_and(|it| it.may_append_for_all().is_ok()),
            low_watermark: leader.map_or(NO_OFFSET, |it| it.low_watermark(log_start)),
        }
    }

    pub(crate) const fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Takes over what the metadata says: who leads, who is in sync, and under which rules.
    /// `now_ms` is of a clock that is not set.
    pub(crate) fn assign(
        &mut self,
        assignment: Assignment,
        rules: PartitionRules,
        now_ms: u64,
    ) -> AssignedWhen {
        if let Some(deferred) = &mut self.truncating {
            // Where the log ends, at which a new leader begins, is known only afterwards.
            deferred.0 = Some((assignment, rules, now_ms));
            return AssignedWhen::Truncated;
        }
        if rules != self.rules {
            self.log.set_options(rules.log.clone());
        }
        let same_epoch = assignment.leader_epoch == self.assignment.leader_epoch;
        if let (Some(leader), true) = (&mut self.leader, same_epoch && assignment.leader == self.me)
        {
            leader.assigned(assignment.clone(), rules.in_sync_min);
        } else {
            if let Some(former) = self.leader.take() {
                self.watermark = former.watermark();
            }
            if assignment.leader == self.me {
                let end = self.log.log_end();
                self.log.assign_epoch(assignment.leader_epoch, end);
                let (watermark, in_sync_min) = (self.watermark, rules.in_sync_min);
                let beginning = Beginning { end, watermark, in_sync_min, now_ms };
                self.leader = Some(Leader::new(self.me, assignment.clone(), beginning));
            }
        }
        self.assignment = assignment;
        self.rules = rules;
        AssignedWhen::Now
    }

    pub(crate) const fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    pub(crate) const fn leader_mut(&mut self) -> Option<&mut Leader> {
        self.leader.as_mut()
    }

    /// The broker that this one follows, if it follows one.
    pub(crate) fn followed(&self) -> Option<NodeId> {
        let leader = self.assignment.leader;
        (leader >= 0 && leader != self.me && self.assignment.replicas.contains(&self.me))
            .then_some(leader)
    }

    /// What its leader has said of the high watermark; it never goes back.
    pub(crate) fn told_watermark(&mut self, watermark: Offset) {
        self.watermark = self.watermark.max(watermark.min(self.log.log_end()));
    }

    /// Begins to cut the log off; `None` if there is nothing to cut. What the metadata says until
    /// the end counts from then on.
    pub(crate) fn begin_truncation(
        &mut self,
        begin: impl FnOnce(&mut Log) -> Result<Option<Truncation>, StorageError>,
    ) -> Result<Option<Truncation>, FollowRefused> {
        let begun = begin(&mut self.log).map_err(FollowRefused::Storage)?;
        self.truncating = begun.is_some().then(DeferredAssignment::default);
        Ok(begun)
    }

    /// Ends what [`Owner::begin_truncation`] began; returns where the log ends.
    pub(crate) fn end_truncation(
        &mut self,
        truncation: Truncation,
        done: Result<TruncatedLog, StorageError>,
    ) -> Result<Offset, FollowRefused> {
        let end = self.log.end_truncation(truncation, done);
        self.watermark = self.watermark.clamp(self.log.log_start(), self.log.log_end());
        if let Some(DeferredAssignment(Some((assignment, rules, now_ms)))) = self.truncating.take()
        {
            self.assign(assignment, rules, now_ms);
        }
        end.map_err(FollowRefused::Storage)
    }

    pub(crate) const fn rules(&self) -> &PartitionRules {
        &self.rules
    }

    /// The background work that the log needs now.
    pub(crate) fn needs(&mut self) -> Needs {
        let written = self.log.written_bytes();
        let trim = written - self.trimmed >= TRIM_EVERY_BYTES;
        if trim {
            self.trimmed = written;
        }
        Needs {
            sync: self.log.sync_is_due(),
            flush: self.log.has_rolled() || self.log.unflushed_bytes() >= FLUSH_EVERY_BYTES,
            trim,
        }
    }

    /// Appends the batch, after it was read through: now, if it was not `inspected` before.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        terms: &Terms,
        inspected: Option<Inspected>,
    ) -> AppendResult {
        self.may_append(terms)?;
        let Some(inspected) = inspected else {
            let rules = self.record_rules(terms);
            let checked = check_batches(bytes, &rules)?;
            self.verify(&checked.batch, terms.guard)?;
            return self.write(checked.bytes(), checked.max_timestamp, terms.now_ms);
        };
        let Sound { repacked, max_timestamp } = inspected.0?;
        let bytes = repacked.as_deref().unwrap_or(bytes);
        self.verify(&Batch::first(bytes).map_err(BadRecords::Broken)?, terms.guard)?;
        self.write(bytes, max_timestamp, terms.now_ms)
    }

    /// Appends batches that came together; `None` if they must come one by one: because there is
    /// something to say about one of them, or because the log wants it so.
    pub(crate) fn append_together(
        &mut self,
        all: &[&[u8]],
        terms: &Terms,
    ) -> Result<Option<Vec<AppendedBatch>>, StorageError> {
        let mut rules = self.record_rules(terms);
        rules.unpacked_bytes_max = SMALL_UNPACKED_BYTES_MAX;
        // To compress a batch another way is work for which others should not wait.
        if rules.store_as.is_some() || self.may_append(terms).is_err() {
            return Ok(None);
        }
        let is_plain = all.iter().all(|bytes| {
            let checked = check_batches(bytes, &rules);
            checked.is_ok_and(|it| it.is_as_it_came() && !it.batch.is_transactional())
        });
        if !is_plain {
            return Ok(None);
        }
        let stamp = self.stamp(terms.now_ms);
        let appended = self.log.append_together_as_leader(all, stamp, terms.now_ms)?;
        if let Some(leader) = &mut self.leader {
            leader.appended(self.log.log_end());
        }
        let said =
            |(batch, bytes): (ottla_storage::Appended, &&[u8])| self.said(batch, bytes.len());
        Ok(appended.map(|appended| appended.into_iter().zip(all).map(said).collect()))
    }

    fn may_append(&self, terms: &Terms) -> Result<(), AppendRefusal> {
        let Some(leader) = &self.leader else { return Err(AppendRefusal::NotLeader) };
        if terms.for_all {
            leader.may_append_for_all().map_err(AppendRefusal::TooFewReplicas)?;
        }
        Ok(())
    }

    /// What is demanded of a batch.
    pub(crate) fn record_rules(&self, terms: &Terms) -> RecordRules {
        let now_ms = terms.now_ms;
        let timestamps = match self.rules.timestamps {
            TimestampKind::Create { before_max_ms, after_max_ms } => {
                TimestampRules::Create { now_ms, before_max_ms, after_max_ms }
            }
            TimestampKind::Append => TimestampRules::Append,
        };
        let level = self.rules.level;
        RecordRules {
            batch_bytes_max: self.rules.batch_bytes_max,
            zstd_allowed: terms.zstd_allowed,
            keys_needed: self.rules.compacted,
            timestamps,
            unpacked_bytes_max: UNPACKED_BYTES_MAX,
            segment_bytes_max: self.rules.log.segment_bytes,
            store_as: self.rules.compression.map(|codec| RepackAs { codec, level }),
        }
    }

    /// May the batch begin a transaction here, or go on with one?
    fn verify(&self, batch: &Batch<'_>, guard: Option<Guard>) -> Result<(), AppendRefusal> {
        let (id, epoch) = batch.producer();
        if !batch.is_transactional() {
            return Ok(());
        }
        // An epoch that is too old is refused as that, by the log.
        let is_old = self.log.producer(id).is_some_and(|it| it.epoch > epoch);
        match self.to_verify(id, epoch) {
            Some(wanted) if !is_old && guard != Some(wanted) => Err(AppendRefusal::Unverified),
            _ => Ok(()),
        }
    }

    /// Is a transaction of this producer open here? If not, what it must show to begin one.
    pub(crate) fn to_verify(&self, id: ProducerId, epoch: ProducerEpoch) -> Option<Guard> {
        let known = self.log.producer(id);
        let is_open = known.is_some_and(|it| it.open_since.is_some() && it.epoch == epoch);
        (!is_open).then(|| Guard(known.map_or(0, |it| it.ended)))
    }

    /// Has this producer already written here under a later epoch?
    pub(crate) fn is_fenced(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.log.producer(id).is_some_and(|it| epoch < it.epoch)
    }

    /// Ends a producer's transaction.
    pub(crate) fn end_transaction(&mut self, marker: &Marker, now_ms: TimestampMs) -> AppendResult {
        self.may_end(marker)?;
        let batch = marker.batch(now_ms).map_err(BadRecords::Broken)?;
        let appended = self.write_own(&batch, now_ms)?;
        if marker.is_bumped {
            self.log.keep_verified(marker.producer_id);
        }
        Ok(appended)
    }

    /// May this marker be written?
    pub(crate) fn may_end(&self, marker: &Marker) -> Result<(), AppendRefusal> {
        if self.leader.is_none() {
            return Err(AppendRefusal::NotLeader);
        }
        if let Some(known) = self.log.producer(marker.producer_id) {
            if marker.coordinator_epoch < known.coordinator_epoch {
                return Err(AppendRefusal::CoordinatorFenced);
            }
            let (sent, current) = (marker.epoch, known.epoch);
            // The epoch of a transaction's markers is larger than that of its records; the same
            // marker may come again, when nothing is open any more.
            let is_late = marker.is_bumped && sent == current && known.open_since.is_some();
            if sent < current || is_late {
                let fenced = ProducerError::Fenced { sent, current };
                return Err(AppendRefusal::Append(AppendError::Producer(fenced)));
            }
        }
        Ok(())
    }

    /// Appends a batch of a coordinator.
    pub(crate) fn write_own(&mut self, bytes: &[u8], now_ms: TimestampMs) -> AppendResult {
        self.may_write_own()?;
        let append = |log: &mut Log, stamp| log.append_as_coordinator(bytes, stamp, now_ms);
        self.put(now_ms, bytes.len(), append)
    }

    /// May a coordinator write here? What it writes is always for all replicas in sync.
    pub(crate) fn may_write_own(&self) -> Result<(), AppendRefusal> {
        let Some(leader) = &self.leader else { return Err(AppendRefusal::NotLeader) };
        leader.may_append_for_all().map_err(AppendRefusal::TooFewReplicas)
    }

    fn put(
        &mut self,
        now_ms: TimestampMs,
        bytes: usize,
        append: impl FnOnce(&mut Log, Stamp) -> Result<ottla_storage::Appended, AppendError>,
    ) -> AppendResult {
        let stamp = self.stamp(now_ms);
        let Some(leader) = &mut self.leader else { return Err(AppendRefusal::NotLeader) };
        let appended = append(&mut self.log, stamp)?;
        leader.appended(self.log.log_end());
        Ok(self.said(appended, bytes))
    }

    /// What the leader writes into a batch now.
    fn stamp(&self, now_ms: TimestampMs) -> Stamp {
        let append_time = matches!(self.rules.timestamps, TimestampKind::Append).then_some(now_ms);
        Stamp { leader_epoch: self.assignment.leader_epoch, append_time, max_timestamp: None }
    }

    /// The outcome of a batch of so many bytes that was appended.
    fn said(&self, appended: ottla_storage::Appended, bytes: usize) -> AppendedBatch {
        self.flow.appended(bytes, appended.end - appended.base_offset);
        AppendedBatch {
            base_offset: appended.base_offset,
            end: appended.end,
            log_append_time_ms: appended.append_time,
            awaits_disk: self.rules.is_durable(),
            leader_epoch: self.assignment.leader_epoch,
        }
    }

    /// Appends a producer's batch.
    fn write(
        &mut self,
        bytes: &[u8],
        max_timestamp: TimestampMs,
        now_ms: TimestampMs,
    ) -> AppendResult {
        let max_timestamp = Some(max_timestamp);
        self.put(now_ms, bytes.len(), |log, stamp| {
            log.append_as_leader(bytes, Stamp { max_timestamp, ..stamp }, now_ms)
        })
    }
}
