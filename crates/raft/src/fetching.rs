//! Fetches between replicas: what a leader answers to one, and what a follower asks for.

use alloc::vec::Vec;

use ottla_types::{Bug, ErrorCode, LeaderEpoch, NodeId, Offset, is_planted};

use crate::input::{LogEnd, Standing};
use crate::quorum_log::{LogBatch, QuorumLog, SnapshotId};
use crate::raft::Raft;
use crate::role::Role;
use crate::voters::ReplicaKey;

/// A fetch of the metadata log. From a replica that may vote it says that everything below its
/// position is on that replica's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchAsked {
    /// Who fetches.
    pub follower: ReplicaKey,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// Where its log ends: the offset that it fetches from, and the epoch of the record before.
    pub end: LogEnd,
    /// What it knows to be committed.
    pub high_watermark: Option<Offset>,
}

/// What a leader answers to a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchVerdict {
    /// The fetch is refused, with this code.
    Refused(ErrorCode),
    /// The logs part: this is the newest epoch of the leader that is not later than the
    /// follower's, and where it ends.
    Diverging(LogEnd),
    /// The follower fetches this snapshot first.
    Snapshot(SnapshotId),
    /// The follower is sent what comes next.
    Valid {
        /// What is committed; `None` until something of the leader's epoch is.
        high_watermark: Option<Offset>,
        /// Is there anything to tell at once, records or a later high watermark? If not the
        /// answer waits for it, as long as the request says.
        has_news: bool,
    },
}

/// What a follower reads in the answer to its fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FetchAnswer {
    /// Refused, with this code.
    Refused(ErrorCode),
    /// The logs part.
    Diverging(LogEnd),
    /// This snapshot comes first.
    Snapshot(SnapshotId),
    /// What comes next: whole batches whose checksums are right.
    Records {
        /// The leader's high watermark.
        high_watermark: Option<Offset>,
        /// The batches.
        batches: Vec<LogBatch>,
    },
}

/// A fetch was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchAnswered {
    /// Who answers.
    pub from: NodeId,
    /// The fetch.
    pub asked: FetchAsked,
    /// The epoch and the leader that the answer names.
    pub standing: Standing,
    /// The answer.
    pub answer: FetchAnswer,
}

/// FetchSnapshot: a part of a snapshot is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotAsked {
    /// Who fetches.
    pub follower: ReplicaKey,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// Which snapshot.
    pub id: SnapshotId,
    /// From which byte on.
    pub position: u64,
}

/// What has come of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotPart {
    /// How many bytes.
    pub bytes: u64,
    /// How many bytes the snapshot has.
    pub size_bytes: u64,
}

/// A fetch of a part of a snapshot was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotAnswered {
    /// Who answers.
    pub from: NodeId,
    /// The fetch.
    pub asked: SnapshotAsked,
    /// The epoch and the leader that the answer names.
    pub standing: Standing,
    /// The part, or the code with which it is refused.
    pub part: Result<SnapshotPart, ErrorCode>,
}

/// What a replica asks for next, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FollowerRequest {
    /// The log.
    Fetch {
        /// The leader; any voter or bootstrap server where none is known.
        leader: Option<NodeId>,
        /// The request.
        fetch: FetchAsked,
    },
    /// A part of a snapshot.
    FetchSnapshot {
        /// The leader.
        leader: NodeId,
        /// The request.
        fetch: SnapshotAsked,
    },
}

impl QuorumLog {
    /// What the leader of this log answers to a replica whose log ends at `end`.
    pub(crate) fn position_of(&self, end: LogEnd) -> Option<FetchVerdict> {
        let (oldest, newest) = (self.snapshots().first(), self.snapshots().last());
        if let (Some(oldest), Some(newest)) = (oldest, newest) {
            let start = self.lineage().start();
            let is_missing = end.offset == 0
                || end.offset < start.offset
                || end.offset == start.offset && end.epoch != start.epoch
                || end.epoch < oldest.epoch;
            if is_missing {
                return Some(FetchVerdict::Snapshot(*newest));
            }
        }
        self.lineage().diverging(end).map(FetchVerdict::Diverging)
    }
}

impl Raft {
    /// What this replica answers to a fetch. It looks only: before,
    /// [`Input::Fetched`](crate::Input::Fetched) takes note of the fetch. A fetch whose answer
    /// waits is looked at again when something was appended or has committed, or this replica
    /// leads no longer.
    #[must_use]
    pub fn fetch_verdict(&self, asked: &FetchAsked) -> FetchVerdict {
        let LogEnd { epoch, offset } = asked.end;
        let is_own = asked.follower.id == self.own.id;
        if is_own || epoch < 0 || offset < 0 || epoch > asked.epoch {
            return FetchVerdict::Refused(ErrorCode::INVALID_REQUEST);
        }
        if let Err(error) = self.check_leads(asked.epoch) {
            return FetchVerdict::Refused(error);
        }
        if let Some(verdict) = self.log.position_of(asked.end) {
            return verdict;
        }
        let high_watermark = self.committed();
        let has_news =
            self.log.end().offset > asked.end.offset || high_watermark > asked.high_watermark;
        FetchVerdict::Valid { high_watermark, has_news }
    }

    /// What this replica answers to the fetch of a part of a snapshot: nothing against it, or an
    /// error. `size_bytes` is the size of that snapshot, if this replica has it.
    ///
    /// # Errors
    /// The code of the answer.
    pub fn check_snapshot_fetch(
        &self,
        asked: &SnapshotAsked,
        size_bytes: Option<u64>,
    ) -> Result<(), ErrorCode> {
        if asked.follower.id == self.own.id {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        self.check_leads(asked.epoch)?;
        match size_bytes.filter(|_| !asked.id.is_bootstrap()) {
            None => Err(ErrorCode::SNAPSHOT_NOT_FOUND),
            Some(size_bytes) if asked.position >= size_bytes => {
                Err(ErrorCode::POSITION_OUT_OF_RANGE)
            }
            Some(_) => Ok(()),
        }
    }

    /// Does this replica lead the epoch in which it is asked something that only a leader
    /// answers?
    pub(crate) fn check_leads(&self, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        let own = self.durable.epoch;
        if epoch < own && !is_planted(Bug::OldFetchCounts) {
            return Err(ErrorCode::FENCED_LEADER_EPOCH);
        }
        if epoch > own {
            return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
        }
        match self.role {
            Role::Leader(_) => Ok(()),
            // It leads no longer and knows of no other: the asker tries again later.
            Role::Resigned => Err(ErrorCode::BROKER_NOT_AVAILABLE),
            _ => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    /// What to ask for next, one request at a time. Nothing while a candidate or a leader, while
    /// a snapshot is made durable, and for a replica that may vote nothing before all it has is
    /// on its disk: the leader counts on that.
    #[must_use]
    pub fn next_request(&self) -> Option<FollowerRequest> {
        let end = self.log.end();
        if self.candidacy.may_vote() && self.stored != end && !is_planted(Bug::FetchesUnstored) {
            return None;
        }
        let (follower, epoch) = (self.own, self.durable.epoch);
        let leader = match &self.role {
            // One that led before its node was started again: there may be another by now.
            Role::Unattached | Role::Resigned => None,
            Role::Follower(following) => {
                let leader = following.leader;
                if let Some(download) = following.download {
                    let (id, position) = (download.id, download.position);
                    let fetch = SnapshotAsked { follower, epoch, id, position };
                    let is_whole = download.is_whole();
                    return (!is_whole).then_some(FollowerRequest::FetchSnapshot { leader, fetch });
                }
                Some(leader)
            }
            _ => return None,
        };
        let fetch = FetchAsked { follower, epoch, end, high_watermark: self.high_watermark };
        Some(FollowerRequest::Fetch { leader, fetch })
    }
}
