//! What a replica knows of its log: the epochs, the snapshots, and what control records say of
//! the quorum.

use alloc::vec::Vec;

use ottla_types::{Bug, LeaderEpoch, Offset, is_planted};

use crate::history::OffsetHistory;
use crate::input::LogEnd;
use crate::lineage::Lineage;
use crate::voters::VoterSet;

/// What a snapshot is of: everything below this offset, the last of it from this epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The offset behind what it holds.
    pub end: Offset,
    /// The epoch of the last record that it holds.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// Is it what a cluster begins with? That one lies on every node and is never fetched.
    #[must_use]
    pub const fn is_bootstrap(self) -> bool {
        self.end <= 0
    }

    pub(crate) const fn log_end(self) -> LogEnd {
        LogEnd { epoch: self.epoch, offset: self.end }
    }
}

/// A control record of the metadata log that changes the quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuorumControl {
    /// KRaftVersion: the level of `kraft.version`.
    KraftVersion(i16),
    /// KRaftVoters: who votes.
    Voters(VoterSet),
}

/// A batch of the log, as far as the quorum is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogBatch {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset behind its last.
    pub end: Offset,
    /// Its leader epoch.
    pub epoch: LeaderEpoch,
    /// Its records that change the quorum, with their offsets, ascending.
    pub controls: Vec<(Offset, QuorumControl)>,
}

/// A replica's log without its bytes. Voters and `kraft.version` are in force from the moment
/// their record is appended, committed or not, and go with it when the log is cut off (KIP-853).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct QuorumLog {
    lineage: Lineage,
    /// Ascending; without the one that a cluster begins with.
    snapshots: Vec<SnapshotId>,
    voters: OffsetHistory<VoterSet>,
    kraft_versions: OffsetHistory<i16>,
    static_voters: VoterSet,
}

impl QuorumLog {
    /// An empty log; `static_voters` are those of `controller.quorum.voters`, in force as long as
    /// no record names any.
    #[must_use]
    pub fn new(static_voters: VoterSet) -> Self {
        Self { static_voters, ..Self::default() }
    }

    /// A batch was appended.
    pub fn appended(&mut self, batch: &LogBatch) {
        self.lineage.appended(batch.epoch, batch.end);
        batch.controls.iter().for_each(|(offset, control)| self.set(*offset, control.clone()));
    }

    fn set(&mut self, offset: Offset, control: QuorumControl) {
        match control {
            QuorumControl::KraftVersion(version) => self.kraft_versions.set(offset, version),
            QuorumControl::Voters(voters) => self.voters.set(offset, voters),
        }
    }

    /// Everything from `end` on was cut off.
    pub fn truncated(&mut self, end: Offset) {
        self.lineage.truncated(end);
        if !is_planted(Bug::VotersNotTruncated) {
            self.voters.truncated(end);
        }
        self.kraft_versions.truncated(end);
    }

    /// The log was replaced by a snapshot that says this of the quorum, and ends there.
    pub fn replaced(&mut self, id: SnapshotId, controls: Vec<QuorumControl>) {
        self.lineage = Lineage::starting(id.log_end());
        self.snapshots.clear();
        if !id.is_bootstrap() {
            self.snapshots.push(id);
        }
        if is_planted(Bug::SnapshotKeepsVoters) {
            return;
        }
        self.voters = OffsetHistory::default();
        self.kraft_versions = OffsetHistory::default();
        controls.into_iter().for_each(|control| self.set(id.end - 1, control));
    }

    /// A snapshot of what has committed was written.
    pub fn snapshot_taken(&mut self, id: SnapshotId) {
        if !id.is_bootstrap() && self.snapshots.last().is_none_or(|last| *last < id) {
            self.snapshots.push(id);
            self.voters.trimmed(id.end - 1);
            self.kraft_versions.trimmed(id.end - 1);
        }
    }

    /// The log starts at the end of this snapshot now; older ones are gone.
    pub fn cleaned(&mut self, start: SnapshotId) {
        self.snapshots.retain(|id| *id >= start);
        self.lineage.cleaned(start.log_end());
    }

    /// The epochs of the log.
    #[must_use]
    pub const fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Where it starts.
    #[must_use]
    pub const fn start(&self) -> Offset {
        self.lineage.start().offset
    }

    /// Where it ends, on the disk or not.
    #[must_use]
    pub fn end(&self) -> LogEnd {
        self.lineage.end()
    }

    /// The snapshots, the oldest first.
    #[must_use]
    pub fn snapshots(&self) -> &[SnapshotId] {
        &self.snapshots
    }

    /// The voters in force.
    #[must_use]
    pub fn voters(&self) -> &VoterSet {
        self.voters.last().unwrap_or(&self.static_voters)
    }

    /// Where the record of the voters in force stands; `None` if they are those of the settings,
    /// less than 0 if they are those with which the cluster was formatted.
    #[must_use]
    pub fn voters_offset(&self) -> Option<Offset> {
        self.voters.last_offset()
    }

    /// The voters that were in force behind the record at `offset`, if a record named any.
    #[must_use]
    pub fn voters_at(&self, offset: Offset) -> Option<&VoterSet> {
        self.voters.at(offset)
    }

    /// The level of `kraft.version` in force.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.kraft_versions.last().copied().unwrap_or(0)
    }

    /// The level of `kraft.version` that was in force behind the record at `offset`.
    #[must_use]
    pub fn kraft_version_at(&self, offset: Offset) -> i16 {
        self.kraft_versions.at(offset).copied().unwrap_or(0)
    }

    /// The voters that were in force before the last change.
    #[must_use]
    pub fn voters_before(&self) -> &VoterSet {
        let before = self.voters_offset().and_then(|last| self.voters_at(last - 1));
        before.unwrap_or(&self.static_voters)
    }
}
