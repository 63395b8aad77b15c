//! A partition as a follower's: what it asks its leader for, and what it makes of the answer.

use bytes::Bytes;
use ottla_storage::{AppendError, StorageError};
use ottla_types::{LeaderEpoch, NodeId, Offset, TimestampMs};

use crate::owner::Owner;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// From where a follower goes on, and in whose epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPosition {
    /// The broker that leads the partition.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Where this log ends: the offset to ask for.
    pub end: Offset,
    /// The epoch of its last record; -1 if it has none.
    pub last_epoch: LeaderEpoch,
    /// Where this log starts.
    pub log_start: Offset,
}

/// What a leader has answered.
#[derive(Clone, Copy, Debug)]
pub struct FetchedRecords<'a> {
    /// The epoch in which it was asked.
    pub leader_epoch: LeaderEpoch,
    /// The offset that it was asked for.
    pub offset: Offset,
    /// Batches from there on, the last of them perhaps cut.
    pub records: &'a Bytes,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Where its log starts.
    pub log_start: Offset,
}

/// Where a leader's log parts from this one: its last epoch up to the one that it was asked about,
/// and where that ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderEpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end: Offset,
}

/// Why an answer of a leader was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FollowRefused {
    /// The partition has another leader, another epoch or another end than when it was asked: the
    /// answer says nothing of now (KAFKA-18991).
    #[error("the answer is to an older request")]
    Outdated,
    /// The batches are broken, or do not continue this log.
    #[error(transparent)]
    Batches(AppendError),
    /// The disk fails.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<AppendError> for FollowRefused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Storage(error @ StorageError::Batch(_)) => {
                Self::Batches(AppendError::Storage(error))
            }
            AppendError::Storage(error) => Self::Storage(error),
            other => Self::Batches(other),
        }
    }
}

impl Owner {
    fn position(&self) -> Option<FollowerPosition> {
        let leader = self.followed()?;
        Some(FollowerPosition {
            leader,
            leader_epoch: self.assignment().leader_epoch,
            end: self.log.log_end(),
            last_epoch: self.log.view().latest_epoch(),
            log_start: self.log.log_start(),
        })
    }

    /// Is this still what the leader was asked?
    fn expects(&self, leader_epoch: LeaderEpoch, offset: Offset) -> bool {
        self.followed().is_some()
            && self.assignment().leader_epoch == leader_epoch
            && self.log.log_end() == offset
    }

    fn append_fetched(
        &mut self,
        fetched: &FetchedRecords<'_>,
        now_ms: TimestampMs,
    ) -> Result<(), FollowRefused> {
        if !self.expects(fetched.leader_epoch, fetched.offset) {
            return Err(FollowRefused::Outdated);
        }
        if !fetched.records.is_empty() {
            self.log.append_as_follower(fetched.records, now_ms)?;
        }
        self.told_watermark(fetched.high_watermark);
        let start = fetched.log_start.min(self.log.log_end());
        if start > self.log.log_start() {
            self.log.advance_log_start(start);
        }
        Ok(())
    }

    /// Where this log is to end, so that it is the leader's up to there (KIP-101, KIP-279).
    fn common_end(&self, leader: LeaderEpochEnd) -> Offset {
        let end = self.log.log_end();
        match self.log.view().end_of_epoch(leader.epoch) {
            Some((epoch, own)) if epoch == leader.epoch => own.min(leader.end).min(end),
            // The leader has an epoch that this log lacks: what it has of the last one before is
            // asked about next.
            Some((_, own)) => own.min(end),
            None => leader.end.min(end),
        }
    }
}

/// What follows. Each call takes the owner's lock for one turn.
impl Partition {
    /// The broker that this one follows, if it follows one.
    #[must_use]
    pub fn followed(&self) -> Option<NodeId> {
        self.peek(Owner::followed).flatten()
    }

    /// What to ask the leader for; `None` if this node follows none.
    #[must_use]
    pub fn position(&self) -> Option<FollowerPosition> {
        if self.has_failed() {
            return None;
        }
        self.peek(Owner::position).flatten()
    }

    /// Takes in what the leader has answered.
    ///
    /// # Errors
    /// The answer is of no use; the log is as it was, or has taken the whole batches before one
    /// that is broken.
    pub fn append_fetched(
        &self,
        fetched: &FetchedRecords<'_>,
        now_ms: TimestampMs,
    ) -> Result<(), FollowRefused> {
        let done =
            self.turn(FollowRefused::Outdated, |owner| owner.append_fetched(fetched, now_ms));
        if let Err(FollowRefused::Storage(error)) = &done {
            self.trouble(error, "replica append failed");
        }
        done
    }

    /// Must records that were fetched be durable before they are asked about as there?
    #[must_use]
    pub fn awaits_disk(&self) -> bool {
        let ends = self.ends();
        ends.durable < ends.log_end
    }

    fn truncate(&self, position: FollowerPosition, end: Offset) -> Result<Offset, FollowRefused> {
        self.turn(FollowRefused::Outdated, |owner| {
            if !owner.expects(position.leader_epoch, position.end) {
                return Err(FollowRefused::Outdated);
            }
            owner.log.truncate_to(end).map_err(FollowRefused::Storage)?;
            owner.was_cut();
            Ok(owner.log.log_end())
        })
    }

    fn start_over(&self, position: FollowerPosition, at: Offset) -> Result<(), FollowRefused> {
        self.turn(FollowRefused::Outdated, |owner| {
            if !owner.expects(position.leader_epoch, position.end) {
                return Err(FollowRefused::Outdated);
            }
            owner.log.reset_to(at, -1).map_err(FollowRefused::Storage)?;
            owner.start_watermark(at);
            Ok(())
        })
    }
}

impl Partitions {
    /// Cuts off what a follower has beyond its leader; returns where its log ends then. May be
    /// waited for by a serving thread: the disk is waited for elsewhere.
    ///
    /// # Errors
    /// The partition is another than when the leader was asked, or the disk fails.
    pub async fn cut_to_leader(
        &self,
        partition: &Partition,
        position: FollowerPosition,
        leader: LeaderEpochEnd,
    ) -> Result<Offset, FollowRefused> {
        let end = partition.peek(|owner| owner.common_end(leader));
        self.cut_to(partition, position, end.ok_or(FollowRefused::Outdated)?).await
    }

    /// As [`Partitions::cut_to_leader`], where the leader's log ends at `end`, before this one.
    ///
    /// # Errors
    /// See there.
    pub async fn cut_to(
        &self,
        partition: &Partition,
        position: FollowerPosition,
        end: Offset,
    ) -> Result<Offset, FollowRefused> {
        let cut = partition.clone();
        let done = self.lanes.upkeep.run(partition.share(), move || cut.truncate(position, end));
        let done = done.await.unwrap_or(Err(FollowRefused::Outdated));
        self.told_of_cut(partition, done)
    }

    /// Throws away all that a follower has, as its leader's log starts behind it at `at`.
    ///
    /// # Errors
    /// See [`Partitions::cut_to_leader`].
    pub async fn start_over(
        &self,
        partition: &Partition,
        position: FollowerPosition,
        at: Offset,
    ) -> Result<(), FollowRefused> {
        let cut = partition.clone();
        let done = self.lanes.upkeep.run(partition.share(), move || cut.start_over(position, at));
        let done = done.await.unwrap_or(Err(FollowRefused::Outdated));
        self.told_of_cut(partition, done)
    }

    fn told_of_cut<T>(
        &self,
        partition: &Partition,
        done: Result<T, FollowRefused>,
    ) -> Result<T, FollowRefused> {
        if let Err(FollowRefused::Storage(error)) = &done {
            partition.trouble(error, "replica truncation failed");
        }
        done
    }
}
