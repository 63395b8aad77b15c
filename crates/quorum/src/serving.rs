//! What a member answers to other replicas.

use bytes::Bytes;
use ottla_raft::{
    BeginAsked, ChangeAsked, EndAsked, FetchAsked, FetchVerdict, Input, ReplicaKey, RequestId,
    SnapshotAsked, SnapshotId, Standing, VoteAnswer, VoteAsked,
};
use ottla_storage::Slice;
use ottla_types::{ErrorCode, Offset};

use crate::driver::{Quorum, QuorumError};
use crate::snapshot::{read_part, snapshot_path, snapshot_size};

/// A part of a snapshot.
#[derive(Debug)]
pub struct SnapshotBytes {
    /// How large the snapshot is, in bytes.
    pub size_bytes: u64,
    /// The part.
    pub bytes: Bytes,
}

impl Quorum {
    /// Vote: another replica asks for this one's. What it promises is on the disk when this
    /// returns.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn vote_asked(
        &mut self,
        asked: VoteAsked,
        voter: Option<ReplicaKey>,
    ) -> Result<VoteAnswer, QuorumError> {
        self.answers.vote = None;
        self.step(Input::Asked { asked, voter })?;
        let answer = self.answers.vote.take();
        answer.ok_or_else(|| QuorumError::Corrupt("a vote was not answered".to_owned()))
    }

    /// BeginQuorumEpoch: another replica leads.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn begin_asked(&mut self, asked: BeginAsked) -> Result<ErrorCode, QuorumError> {
        self.answers.epoch = None;
        self.step(Input::BeginAsked(asked))?;
        Ok(self.answers.epoch.take().unwrap_or(ErrorCode::NONE))
    }

    /// EndQuorumEpoch: another replica leads no longer.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn end_asked(&mut self, asked: EndAsked) -> Result<ErrorCode, QuorumError> {
        self.answers.epoch = None;
        self.step(Input::EndAsked(asked))?;
        Ok(self.answers.epoch.take().unwrap_or(ErrorCode::NONE))
    }

    /// Fetch: another replica has everything before the position that it fetches from.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn fetched(&mut self, asked: FetchAsked) -> Result<FetchVerdict, QuorumError> {
        self.step(Input::Fetched(asked))?;
        Ok(self.raft().fetch_verdict(&asked))
    }

    /// Whole batches from `offset` on, committed or not: at least one, if there is any.
    ///
    /// # Errors
    /// The disk fails.
    pub fn batches_from(&self, offset: Offset, bytes_max: usize) -> Result<Bytes, QuorumError> {
        let upper = self.log_end();
        let slice = Slice { offset, bytes_max, at_least_one: true, upper };
        let found = self.log.view().read(slice);
        found.map_err(|error| QuorumError::Corrupt(error.to_string()))
    }

    /// Where the log starts.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log.log_start()
    }

    /// FetchSnapshot: another replica fetches a part of a snapshot.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn snapshot_asked(
        &mut self,
        asked: SnapshotAsked,
        bytes_max: usize,
    ) -> Result<Result<SnapshotBytes, ErrorCode>, QuorumError> {
        let size = self.size_of_snapshot(asked.id)?;
        if let Err(code) = self.raft().check_snapshot_fetch(&asked, size) {
            return Ok(Err(code));
        }
        self.step(Input::SnapshotFetched(asked))?;
        let path = snapshot_path(asked.id, &self.folder);
        let bytes = read_part(&*self.files, &path, asked.position, bytes_max)?;
        Ok(Ok(SnapshotBytes { size_bytes: size.unwrap_or(0), bytes }))
    }

    fn size_of_snapshot(&self, id: SnapshotId) -> Result<Option<u64>, QuorumError> {
        if !self.raft().log().snapshots().contains(&id) {
            return Ok(None);
        }
        Ok(snapshot_size(&*self.files, &snapshot_path(id, &self.folder))?)
    }

    /// A request for other voters; [`Quorum::take_change_answers`] has the answer when there is
    /// one.
    ///
    /// # Errors
    /// The disk fails, or the protocol is broken.
    pub fn change_asked(&mut self, asked: ChangeAsked) -> Result<(), QuorumError> {
        self.step(Input::ChangeAsked(asked))
    }

    /// The requests for other voters that were answered since the last call.
    pub fn take_change_answers(&mut self) -> Vec<(RequestId, ErrorCode)> {
        std::mem::take(&mut self.answers.changes)
    }

    /// The epoch that this member is in, and the leader that it tells of.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.raft().standing()
    }
}
