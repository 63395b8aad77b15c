use crate::harness::Harness;
use crate::harness::asks::{find_coordinator, node_with_topic};
use bytes::Bytes;
use ottla_partitions::Fault;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_types::ErrorCode;

fn node_with_group() -> Harness {
    let h = node_with_topic("orders", 1);
    find_coordinator(&h, 0, "readers");
    h
}

fn join(h: &Harness, member_id: &str, timeout_ms: i32) -> JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol {
        name: "range".to_owned(),
        metadata: Bytes::from_static(b"m"),
        ..Default::default()
    };
    let request = JoinGroupRequest {
        group_id: "readers".to_owned(),
        session_timeout_ms: timeout_ms,
        rebalance_timeout_ms: timeout_ms,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    h.ask(&request, 9)
}

/// The only member, which leads, in its first generation.
fn joined(h: &Harness) -> JoinGroupResponse {
    let first = join(h, "", 10_000);
    assert_eq!(first.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
    let joined = join(h, &first.member_id, 10_000);
    assert_eq!((joined.error_code, &joined.leader), (0, &first.member_id));
    joined
}

fn sync(h: &Harness, member: &JoinGroupResponse) -> (i16, Bytes) {
    let assignment = SyncGroupRequestAssignment {
        member_id: member.member_id.clone(),
        assignment: Bytes::from_static(b"all"),
        ..Default::default()
    };
    let request = SyncGroupRequest {
        group_id: "readers".to_owned(),
        generation_id: member.generation_id,
        member_id: member.member_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![assignment],
        ..Default::default()
    };
    let response = h.ask(&request, 5);
    (response.error_code, response.assignment)
}

fn heartbeat(h: &Harness, member_id: &str, generation_id: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: "readers".to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        ..Default::default()
    };
    h.ask(&request, 4).error_code
}

#[test]
fn join_group_then_sync_group_gives_the_only_member_its_assignment() {
    let h = node_with_group();
    let member = joined(&h);
    assert_eq!((member.generation_id, member.members.len()), (1, 1));
    assert_eq!(sync(&h, &member), (0, Bytes::from_static(b"all")));
    assert_eq!(heartbeat(&h, &member.member_id, 1), 0);
}

#[test]
fn heartbeat_of_another_member_or_generation_is_refused() {
    let h = node_with_group();
    let member = joined(&h);
    sync(&h, &member);
    assert_eq!(heartbeat(&h, "stranger", 1), ErrorCode::UNKNOWN_MEMBER_ID.0);
    assert_eq!(heartbeat(&h, &member.member_id, 7), ErrorCode::ILLEGAL_GENERATION.0);
}

#[test]
fn join_group_with_a_session_timeout_beyond_the_bounds_is_refused() {
    let h = node_with_group();
    assert_eq!(join(&h, "", 1).error_code, ErrorCode::INVALID_SESSION_TIMEOUT.0);
}

#[test]
fn sync_group_that_cannot_be_written_is_refused_and_can_be_repeated() {
    let h = node_with_group();
    let member = joined(&h);
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_ne!(sync(&h, &member).0, 0);
    h.set_fault("__consumer_offsets-0", None);
    assert_eq!(sync(&h, &member), (0, Bytes::from_static(b"all")));
}
