//! Records of a partition that are deleted by request (KIP-107): first by the leader, then by its
//! followers.

use std::time::Duration;

use ottla_partitions::{Partition, Waited};
use ottla_types::{ErrorCode, NO_EPOCH, NO_OFFSET, Offset, is_internal_topic};

use crate::absent::TopicKey;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::Call;

const TO_HIGH_WATERMARK: Offset = -1;

/// A deletion that the leader has done.
pub struct LeaderDeletion {
    partition: Partition,
    /// Records below it are gone.
    before: Offset,
    /// Up to where all live replicas had deleted then.
    low_watermark: Offset,
}

/// What a deletion has come to.
pub struct DeletionOutcome {
    /// Up to where all live replicas have deleted; -1 if that is not known.
    pub low_watermark: Offset,
    /// Why they have not deleted all that was asked, if so.
    pub code: ErrorCode,
}

/// A follower deletes when its leader tells it to, and says so with its next fetch.
pub async fn wait_for_followers(
    node: &Node,
    deletion: &LeaderDeletion,
    deadline: Duration,
) -> DeletionOutcome {
    let LeaderDeletion { partition, before, low_watermark } = deletion;
    let refused = |code| DeletionOutcome { low_watermark: NO_OFFSET, code };
    match partition.deleted_everywhere(*before, &node.clock, deadline).await {
        Ok(low_watermark) => DeletionOutcome { low_watermark, code: ErrorCode::NONE },
        // As in Kafka, with the low watermark as of the beginning.
        Err(Waited::TimedOut) => {
            DeletionOutcome { low_watermark: *low_watermark, code: ErrorCode::REQUEST_TIMED_OUT }
        }
        Err(_) => match node.partitions.find(partition.topic(), partition.index()) {
            Some(_) => refused(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            None => {
                refused(node.why_not_here(TopicKey::Name(partition.topic()), partition.index()))
            }
        },
    }
}

/// Moves the log start of a partition that this node leads up to `offset`.
///
/// # Errors
/// The code for the client; nothing was deleted.
pub fn begin_deletion(
    node: &Node,
    call: &Call,
    topic: &str,
    index: i32,
    offset: Offset,
) -> Result<LeaderDeletion, ErrorCode> {
    if !call.may(node, Operation::Delete, Resource::Topic(topic)) {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    let found = node.partitions.find(topic, index);
    let partition = found.ok_or_else(|| node.why_not_here(TopicKey::Name(topic), index))?;
    partition.fence(NO_EPOCH).map_err(|refused| refused.code())?;
    if is_internal_topic(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    // A topic that is only compacted keeps each key's last record for good.
    if !partition.rules().delete_allowed {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let ends = partition.ends();
    let before = if offset == TO_HIGH_WATERMARK { ends.high_watermark } else { offset };
    if before < 0 || before > ends.high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    partition.delete_before(before).map_err(|error| {
        tracing::error!(
            partition = %partition.name(),
            before,
            %error,
            "DeleteRecords failed: the log start cannot be moved; check the disk"
        );
        ErrorCode::KAFKA_STORAGE_ERROR
    })?;
    let low_watermark = partition.ends().low_watermark;
    Ok(LeaderDeletion { partition, before, low_watermark })
}
