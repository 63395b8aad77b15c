//! FindCoordinator: which broker coordinates a group or a transactional id.
//!
//! 1: of transactional ids. 4: several keys (KIP-699). 5: TRANSACTION_ABORTABLE (KIP-890). 6: of
//! share groups (KIP-932).
//!
//! Gap: there are no share groups; their keys are refused.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_types::{ErrorCode, Uuid};

use crate::guard::{Operation, Resource};
use crate::hosts::{groups, transactions};
use crate::node::Node;
use crate::request::{Api, Call};

/// One key up to version 3, several from 4 on.
pub const API: Api = Api::of(ApiKey::FindCoordinator, 0, 6);

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// The first version that knows coordinators of share groups.
const SHARE_FROM: i16 = 6;

/// Looks every key up; creates the topic that it lives in when it is asked for the first time.
pub async fn handle(
    node: &Node,
    call: &Call,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let several = call.version >= 4;
    let keys = if several { request.coordinator_keys } else { vec![request.key] };
    let mut found = Vec::new();
    for key in keys {
        found.push(find_one(node, call, request.key_type, key).await);
    }
    if several {
        return FindCoordinatorResponse { coordinators: found, ..Default::default() };
    }
    let one = found.pop().unwrap_or_default();
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..Default::default()
    }
}

async fn find_one(node: &Node, call: &Call, kind: i8, key: String) -> Coordinator {
    let refused = |code: ErrorCode, key: String| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: code.0,
        error_message: several_message(call.version, code),
        ..Default::default()
    };
    let (topic, resource, denied) = match kind {
        GROUP => (groups::TOPIC, Resource::Group(&key), ErrorCode::GROUP_AUTHORIZATION_FAILED),
        TRANSACTION => (
            transactions::TOPIC,
            Resource::TransactionalId(&key),
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        SHARE if call.version < SHARE_FROM => return refused(ErrorCode::INVALID_REQUEST, key),
        SHARE if !call.may(node, Operation::ClusterAction, Resource::Cluster) => {
            return refused(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, key);
        }
        SHARE if !is_share_key(&key) => return refused(ErrorCode::INVALID_REQUEST, key),
        // Share groups are not built yet.
        SHARE => return refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, key),
        _ => {
            let error_message = Some(ErrorCode::INVALID_REQUEST.message().to_owned());
            return Coordinator { error_message, ..refused(ErrorCode::INVALID_REQUEST, key) };
        }
    };
    if !call.may(node, Operation::Describe, resource) {
        return refused(denied, key);
    }
    if node.topic_id(topic).is_none()
        && let Err(why) = node.create_internal(topic).await
    {
        let (what, why_name) = (why.message(), why.name());
        let reason = format!("topic {topic} cannot be created: {what} ({why_name})");
        let unavailable = refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, key);
        return Coordinator { error_message: Some(reason), ..unavailable };
    }
    match node.coordinator(topic, &key, call) {
        Ok((node_id, host, port)) => Coordinator {
            key,
            node_id,
            host,
            port,
            error_message: several_message(call.version, ErrorCode::NONE),
            ..Default::default()
        },
        Err(code) => refused(code, key),
    }
}

/// Is it a group, a topic's id and a partition, as in `group:69dWuGArRy2OnZC8I8jLxg:0` (KIP-932)?
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().and_then(|text| text.parse::<i32>().ok());
    let topic = parts.next().and_then(|text| text.parse::<Uuid>().ok());
    let group = parts.next().filter(|text| !text.is_empty());
    partition.is_some() && topic.is_some() && group.is_some()
}

/// Kafka says an empty text where several keys may be asked, and the code's own text before.
fn several_message(version: i16, code: ErrorCode) -> Option<String> {
    Some(if version >= 4 { String::new() } else { code.message().to_owned() })
}

#[cfg(test)]
#[path = "find_coordinator_tests.rs"]
mod tests;
