//! The metadata quorum as the journal of the active controller.
//!
//! An append is in the log at once, and neither durable nor committed. The task of the member makes
//! it durable, however many turns that were, and other voters fetch it meanwhile. It rests on the
//! log when it has committed and this node's broker is what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_metadata::{METADATA_VERSION_FEATURE, with_versions};
use ottla_protocol::metadata::MetadataRecord;
use ottla_quorum::QuorumError;
use ottla_types::{Bug, LeaderEpoch, Offset, TimestampMs, is_planted};

use super::host::{AppendFailed, Journal};
use super::quorum_member::SharedMember;

/// A member of the quorum that leads it.
#[derive(Debug)]
pub struct QuorumJournal {
    member: SharedMember,
    /// The epoch that it leads. In a later one another controller decides, perhaps on this node.
    epoch: LeaderEpoch,
    /// Up to which offset the broker of this node is what the metadata says. Stored by the task
    /// that publishes before it lets answers leave; one that is read too early is read again then.
    published: Arc<AtomicI64>,
    /// The level of `metadata.version` behind the last record: it says how records are written.
    metadata_version: i16,
}

impl QuorumJournal {
    /// The journal of the controller that leads `epoch`, with the metadata's version at the log's
    /// end.
    #[must_use]
    pub const fn new(
        member: SharedMember,
        epoch: LeaderEpoch,
        published: Arc<AtomicI64>,
        metadata_version: i16,
    ) -> Self {
        Self { member, epoch, published, metadata_version }
    }
}

impl Journal<MetadataRecord> for QuorumJournal {
    type Error = QuorumError;

    /// Never for certain. What is volatile of the controller is small, so that a copy of it to take
    /// a decision back costs next to nothing.
    fn accepts(&self) -> bool {
        false
    }

    fn append(
        &mut self,
        records: &[MetadataRecord],
        base: Offset,
        _now_ms: TimestampMs,
    ) -> Result<Offset, AppendFailed<QuorumError>> {
        let versioned = with_versions(records.iter().cloned(), self.metadata_version);
        let epoch = self.epoch;
        let end = self.member.step(|quorum| quorum.append(epoch, base, &versioned));
        if let Err(QuorumError::Append(_)) = &end
            && self.member.view().voters > 1
        {
            // This disk is full; those of others need not be.
            let _ = self.member.step(ottla_quorum::Quorum::resign);
        }
        let end = end.map_err(|error| {
            if error.is_refusal() {
                AppendFailed::Refused(error)
            } else {
                AppendFailed::Unknown(error)
            }
        })?;
        for record in records {
            if let MetadataRecord::FeatureLevel(level) = record
                && level.name == METADATA_VERSION_FEATURE
            {
                self.metadata_version = level.feature_level;
            }
        }
        Ok(end)
    }

    fn end(&self) -> Offset {
        self.member.view().log_end.offset
    }

    /// What has committed, and is in force on this node: a client that has created a topic may
    /// produce to it as soon as the answer is there.
    fn committed(&self) -> Offset {
        if is_planted(Bug::AnswersTooEarly) {
            return self.end();
        }
        self.published.load(Ordering::Acquire)
    }

    fn log_refused(&self, error: &QuorumError) {
        tracing::warn!(%error, "metadata log append refused; the request fails, nothing has changed");
    }

    fn log_failed(&self, error: &QuorumError) {
        tracing::error!(%error, "metadata log append failed; the controller stops, and the node with it");
    }
}
