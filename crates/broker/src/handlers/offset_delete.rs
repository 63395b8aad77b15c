//! OffsetDelete: deletes a group's committed offsets.
//!
//! KIP-496.

use ottla_coordinator::group::GroupCommand;
use ottla_protocol::ApiKey;
use ottla_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::OffsetDelete, 0, 0);

/// Asks the group's coordinator; what does not exist is refused by itself.
pub async fn handle(
    node: &Node,
    call: &Call,
    mut request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let refused =
        |code: ErrorCode| OffsetDeleteResponse { error_code: code.0, ..Default::default() };
    if !call.may(node, Operation::Delete, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    }
    if request.group_id.is_empty() {
        return refused(ErrorCode::INVALID_GROUP_ID);
    }
    let mut missing: Vec<OffsetDeleteResponseTopic> = Vec::new();
    request.topics.retain_mut(|topic| {
        let may_read = call.may(node, Operation::Read, Resource::Topic(&topic.name));
        let (here, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut topic.partitions)
            .into_iter()
            .partition(|one| may_read && node.has_partition(&topic.name, one.partition_index));
        topic.partitions = here;
        let code = if may_read {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
        };
        if !gone.is_empty() || node.topic_id(&topic.name).is_none() {
            let refused = OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: gone
                    .iter()
                    .map(|one| OffsetDeleteResponsePartition {
                        partition_index: one.partition_index,
                        error_code: code.0,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            put(&mut missing, refused);
        }
        !topic.partitions.is_empty()
    });
    let group = request.group_id.clone();
    let answer = node.coordinators.ask_group(&group, GroupCommand::DeleteOffsets(request));
    let mut answer = answer.await.unwrap_or_else(refused);
    if answer.error_code == 0 && !missing.is_empty() {
        // What does not exist comes first, each topic once.
        for topic in std::mem::take(&mut answer.topics) {
            put(&mut missing, topic);
        }
        answer.topics = missing;
    }
    answer
}

/// Adds a topic's answers to those of the same topic, if there are any.
fn put(all: &mut Vec<OffsetDeleteResponseTopic>, topic: OffsetDeleteResponseTopic) {
    match all.iter_mut().find(|it| it.name == topic.name) {
        Some(known) => known.partitions.extend(topic.partitions),
        None => all.push(topic),
    }
}

#[cfg(test)]
#[path = "offset_delete_tests.rs"]
mod tests;
