//! FindCoordinator: which node answers for a group or a transactional id.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_types::ErrorCode;

use crate::guard::{Operation, Resource, may};
use crate::hosts::{groups, transactions};
use crate::node::Node;
use crate::request::{Api, Call};

/// One key up to version 3, several from 4 on.
pub const API: Api = Api::of(ApiKey::FindCoordinator, 0, 6);

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

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
        found.push(find(node, call, request.key_type, key).await);
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

async fn find(node: &Node, call: &Call, kind: i8, key: String) -> Coordinator {
    let refused = |code: ErrorCode, key: String| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: code.0,
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    };
    let (topic, resource, denied) = match kind {
        GROUP => (groups::TOPIC, Resource::Group(&key), ErrorCode::GROUP_AUTHORIZATION_FAILED),
        TRANSACTION => (
            transactions::TOPIC,
            Resource::TransactionalId(&key),
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        // Share groups are not built yet.
        SHARE => return refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, key),
        _ => return refused(ErrorCode::INVALID_REQUEST, key),
    };
    if !may(&call.caller.principal, Operation::Describe, resource) {
        return refused(denied, key);
    }
    if node.topic_id(topic).is_none() && node.create_internal(topic).await.is_err() {
        return refused(ErrorCode::COORDINATOR_NOT_AVAILABLE, key);
    }
    match node.coordinator(topic, &key, call) {
        Ok((node_id, host, port)) => Coordinator {
            key,
            node_id,
            host,
            port,
            error_message: several_message(call.version),
            ..Default::default()
        },
        Err(code) => refused(code, key),
    }
}

/// Kafka says an empty text with success where several keys may be asked, and NONE before.
fn several_message(version: i16) -> Option<String> {
    Some(if version >= 4 { String::new() } else { ErrorCode::NONE.name().to_owned() })
}
