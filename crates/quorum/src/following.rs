//! What a member takes in from other replicas: answers, records, snapshots.

use bytes::Bytes;
use ottla_raft::{
    FetchAnswer, FetchAnswered, FetchAsked, FollowerRequest, Input, KraftVersions, QuorumControl,
    SnapshotAnswered, SnapshotAsked, SnapshotId, SnapshotPart, Standing, VoteAnswer,
};
use ottla_storage::{AppendError, FetchedBatches};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId};

use crate::driver::{Quorum, QuorumError};
use crate::outgoing::PeerMessage;
use crate::replay::{Replay, whole_batches};
use crate::snapshot::Download;
use crate::wire::{FetchedPart, SnapshotFetchedPart};

impl Quorum {
    /// What is to be sent to others.
    pub fn take_outgoing(&mut self) -> Vec<PeerMessage> {
        std::mem::take(&mut self.outgoing)
    }

    /// Is anything to be sent?
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What to fetch next, and from whom; nothing before all that the member has is on its disk.
    #[must_use]
    pub fn next_request(&self) -> Option<FollowerRequest> {
        self.raft().next_request()
    }

    /// A message has told of an epoch, and perhaps of its leader.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn heard(&mut self, standing: Standing) -> Result<(), QuorumError> {
        if standing.epoch < self.epoch() {
            return Ok(());
        }
        self.step(Input::Heard(standing))
    }

    /// A voter has answered.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn voted(&mut self, standing: Standing, answer: VoteAnswer) -> Result<(), QuorumError> {
        self.heard(standing)?;
        self.step(Input::Voted(answer))
    }

    /// The connection to the leader was reset, and the leader refuses another one.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn leader_unreachable(&mut self, leader: NodeId) -> Result<(), QuorumError> {
        self.step(Input::LeaderUnreachable { leader })
    }

    /// A fetch was answered.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn fetch_answered(
        &mut self,
        from: NodeId,
        asked: FetchAsked,
        fetched: FetchedPart,
    ) -> Result<(), QuorumError> {
        let FetchedPart { standing, answer, high_watermark, records, .. } = fetched;
        let answer = match answer {
            Some(answer) => answer,
            None => {
                let (bytes, batches) = whole_batches(&records);
                self.fetched = bytes;
                FetchAnswer::Records { high_watermark, batches }
            }
        };
        let answered = FetchAnswered { from, asked, standing, answer };
        let done = self.step(Input::FetchAnswered(answered));
        self.fetched.clear();
        done
    }

    pub(crate) fn append_fetched(&mut self, batches: usize) -> Result<(), QuorumError> {
        let now_ms = self.clock.wall_ms();
        for batch in self.fetched.drain(..batches) {
            // Its epoch is for the protocol to judge, which has done so.
            let batch = FetchedBatches::check(&batch, LeaderEpoch::MAX);
            self.log.append_as_follower(&batch.map_err(AppendError::from)?, now_ms)?;
        }
        Ok(())
    }

    /// A fetch of a part of a snapshot was answered.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn snapshot_answered(
        &mut self,
        from: NodeId,
        asked: SnapshotAsked,
        fetched: SnapshotFetchedPart,
    ) -> Result<(), QuorumError> {
        let SnapshotFetchedPart { standing, part } = fetched;
        let part = part.map(|part| {
            let (bytes, size_bytes) = (part.bytes.len() as u64, part.size_bytes);
            self.part = part.bytes;
            SnapshotPart { bytes, size_bytes }
        });
        let answered = SnapshotAnswered { from, asked, standing, part };
        let done = self.step(Input::SnapshotAnswered(answered));
        self.part = Bytes::new();
        done
    }

    pub(crate) fn write_part(&mut self, id: SnapshotId, position: u64) -> Result<(), QuorumError> {
        if position == 0 {
            self.download = Some(Download::begin(&*self.files, &self.folder, id)?);
        }
        match &self.download {
            Some(download) if download.id == id => Ok(download.write(&self.part, position)?),
            _ => Err(QuorumError::Corrupt(format!("the snapshot at {} was not begun", id.end))),
        }
    }

    /// Makes a snapshot that has come as a whole one of this member's; what it says of the quorum.
    pub(crate) fn freeze_snapshot(
        &mut self,
        id: SnapshotId,
    ) -> Result<Vec<QuorumControl>, QuorumError> {
        let Some(download) = self.download.take().filter(|it| it.id == id) else {
            return Err(QuorumError::Corrupt(format!("the snapshot at {} was not begun", id.end)));
        };
        let bytes = download.finish(&*self.files)?;
        let mut replay = Replay::default();
        replay.take_snapshot(id, &bytes)
    }

    /// The leader has answered what this member has asked it for.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn change_answered(&mut self, leader: NodeId, error: ErrorCode) -> Result<(), QuorumError> {
        self.step(Input::ChangeAnswered { leader, error })
    }

    /// A node that is to become a voter has said which levels of `kraft.version` it speaks, or
    /// could not be asked.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn versions_answered(
        &mut self,
        voter: NodeId,
        versions: Result<KraftVersions, ErrorCode>,
    ) -> Result<(), QuorumError> {
        self.step(Input::VersionsAnswered { voter, versions })
    }
}
