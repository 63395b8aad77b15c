//! A partition as a follower's: what it asks its leader for, and what it makes of the answer.

use std::sync::Arc;

use bytes::Bytes;
use ottla_storage::{AppendError, FetchedBatches, FetchedError, StorageError};
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
    /// The batches are broken.
    #[error(transparent)]
    Broken(FetchedError),
    /// The batches do not continue this log.
    #[error(transparent)]
    Discontinuous(AppendError),
    /// The partition is being moved to another directory, and is not cut off meanwhile.
    #[error("the partition is being moved to another directory")]
    Moving,
    /// The disk fails.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<AppendError> for FollowRefused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Storage(StorageError::Truncating) => Self::Outdated,
            AppendError::Storage(error) => Self::Storage(error),
            other => Self::Discontinuous(other),
        }
    }
}

/// How a follower's log is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It ends here.
    EndAt(Offset),
    /// It starts and ends here.
    StartAt(Offset),
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
        batches: &FetchedBatches<'_>,
        now_ms: TimestampMs,
    ) -> Result<(), FollowRefused> {
        if !self.expects(fetched.leader_epoch, fetched.offset) {
            return Err(FollowRefused::Outdated);
        }
        if batches.summary().batches > 0 {
            self.log.append_as_follower(batches, now_ms)?;
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
    /// The answer is of no use; the log is as it was.
    pub fn append_fetched(
        &self,
        fetched: &FetchedRecords<'_>,
        now_ms: TimestampMs,
    ) -> Result<(), FollowRefused> {
        // Before the owner's lock is taken: it reads all of the bytes.
        let batches = FetchedBatches::check(fetched.records, fetched.leader_epoch);
        let batches = batches.map_err(FollowRefused::Broken)?;
        let done = self
            .turn(FollowRefused::Outdated, |owner| owner.append_fetched(fetched, &batches, now_ms));
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
}

impl Partitions {
    /// Cuts off what a follower has beyond its leader; returns where its log ends then. May be
    /// waited for by a serving thread: the disk is waited for elsewhere.
    ///
    /// # Errors
    /// The partition is another than when the leader was asked, or the disk fails.
    pub async fn cut_to_leader(
        self: &Arc<Self>,
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
        self: &Arc<Self>,
        partition: &Partition,
        position: FollowerPosition,
        end: Offset,
    ) -> Result<Offset, FollowRefused> {
        self.cut_on_lane(partition, position, Cut::EndAt(end)).await
    }

    /// Throws away all that a follower has, as its leader's log starts behind it at `at`.
    ///
    /// # Errors
    /// See [`Partitions::cut_to_leader`].
    pub async fn start_over(
        self: &Arc<Self>,
        partition: &Partition,
        position: FollowerPosition,
        at: Offset,
    ) -> Result<(), FollowRefused> {
        self.cut_on_lane(partition, position, Cut::StartAt(at)).await.map(drop)
    }

    async fn cut_on_lane(
        self: &Arc<Self>,
        partition: &Partition,
        position: FollowerPosition,
        cut: Cut,
    ) -> Result<Offset, FollowRefused> {
        let (all, one) = (Arc::clone(self), partition.clone());
        let work = move || all.cut(&one, position, cut);
        let done = self.lanes.upkeep.run(partition.share(), work).await;
        // The lane is stopped when the node stops.
        let done = done.unwrap_or(Err(FollowRefused::Outdated));
        if let Err(FollowRefused::Storage(error)) = &done {
            partition.trouble(error, "replica truncation failed");
        }
        done
    }

    /// Waits for the disk, but not under the owner's lock.
    fn cut(
        &self,
        partition: &Partition,
        position: FollowerPosition,
        cut: Cut,
    ) -> Result<Offset, FollowRefused> {
        // No segment is flushed, removed or rewritten meanwhile.
        let _alone = [partition.begin_cleaning(), partition.begin_upkeep()];
        if partition.is_moving() {
            return Err(FollowRefused::Moving);
        }
        let begun = partition.turn(FollowRefused::Outdated, |owner| {
            if !owner.expects(position.leader_epoch, position.end) {
                return Err(FollowRefused::Outdated);
            }
            owner.begin_truncation(|log| match cut {
                Cut::EndAt(end) => log.begin_truncation(end),
                Cut::StartAt(at) => log.begin_reset(at).map(Some),
            })
        });
        let Some(truncation) = begun? else { return Ok(position.end) };
        // A start after a power cut must not believe what is about to go.
        let noted = self.home_of(partition).map_or(Ok(()), |home| self.checkpoint_dir(home));
        let done = noted.and_then(|()| truncation.run());
        partition.turn(FollowRefused::Outdated, |owner| owner.end_truncation(truncation, done))
    }
}
