//! FindCoordinator: which node answers for a group or a transactional id.

use ottla_protocol::ApiKey;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_types::{ErrorCode, Uuid};

use crate::guard::{Operation, Resource, may};
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
        error_message: Some(message(call.version, code)),
        ..Default::default()
    };
    let (topic, resource, denied) = match kind {
        GROUP => (groups::TOPIC, Resource::Group(&key), ErrorCode::GROUP_AUTHORIZATION_FAILED),
        TRANSACTION => (
            transactions::TOPIC,
            Resource::TransactionalId(&key),
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        SHARE if call.version < SHARE_FROM || !is_share_key(&key) => {
            return refused(ErrorCode::INVALID_REQUEST, key);
        }
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
            error_message: Some(message(call.version, ErrorCode::NONE)),
            ..Default::default()
        },
        Err(code) => refused(code, key),
    }
}

/// Kafka's texts: none from the version on that asks for several keys, NONE with success before.
fn message(version: i16, code: ErrorCode) -> String {
    let text = match code {
        _ if version >= 4 => "",
        ErrorCode::NONE => code.name(),
        code => code.message(),
    };
    text.to_owned()
}

/// Does the key name a partition of a share group: `group:topic id:partition`?
fn is_share_key(key: &str) -> bool {
    let parts: Vec<&str> = key.split(':').collect();
    let [group, id, index] = parts[..] else { return false };
    !group.trim().is_empty()
        && id.parse::<Uuid>().is_ok()
        && index.parse::<i32>().is_ok_and(|it| it >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_partition_of_a_share_group_is_a_share_key() {
        let id = Uuid::of(700);
        let cases = [
            (format!("g:{id}:0"), true),
            (format!("g:{id}:-1"), false),
            (format!("g:{id}"), false),
            (format!(":{id}:0"), false),
            (format!("a:b:{id}:0"), false),
            ("g:topic:0".to_owned(), false),
            ("g".to_owned(), false),
            (String::new(), false),
        ];
        for (key, is_key) in cases {
            assert_eq!(is_share_key(&key), is_key, "{key}");
        }
    }
}
