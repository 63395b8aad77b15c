//! DescribeProducers: the idempotent producers that a partition remembers (KIP-664).

use ottla_protocol::ApiKey;
use ottla_protocol::messages::describe_producers_request::DescribeProducersRequest;
use ottla_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use ottla_types::{ErrorCode, check_topic_name};

use crate::absent::TopicKey;
use crate::guard::{Operation, Resource};
use crate::node::Node;
use crate::request::{Api, Call};

/// Operators.
pub const API: Api = Api::of(ApiKey::DescribeProducers, 0, 0);

/// Looks at each partition.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| one(node, call, &topic.name, *index))
            .collect(),
        ..Default::default()
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn one(node: &Node, call: &Call, topic: &str, partition_index: i32) -> PartitionResponse {
    let refused = |code: ErrorCode| PartitionResponse {
        partition_index,
        error_code: code.0,
        ..Default::default()
    };
    if !call.may(node, Operation::Read, Resource::Topic(topic)) {
        return refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    if let Err(why) = check_topic_name(topic) {
        let error_message = Some(why.to_string());
        return PartitionResponse { error_message, ..refused(ErrorCode::INVALID_TOPIC_EXCEPTION) };
    }
    let Some(partition) = node.partitions.find(topic, partition_index) else {
        let code = node.why_not_here(TopicKey::Name(topic), partition_index);
        let is_known = node.cluster().topic(topic).is_some();
        let error_message = (!is_known).then(|| code.message().to_owned());
        return PartitionResponse { error_message, ..refused(code) };
    };
    let state = |(producer_id, entry): (i64, ottla_partitions::ProducerEntry)| ProducerState {
        producer_id,
        producer_epoch: i32::from(entry.epoch),
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_start_offset: entry.open_since.unwrap_or(-1),
        ..Default::default()
    };
    PartitionResponse {
        partition_index,
        active_producers: partition.producers().into_iter().map(state).collect(),
        ..Default::default()
    }
}
