//! What tests ask of a coordinator as a member of the classic group `readers`.

use bytes::Bytes;
use ottla_protocol::messages::heartbeat_request::HeartbeatRequest;
use ottla_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::messages::join_group_response::JoinGroupResponse;
use ottla_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use ottla_types::ErrorCode;

use crate::harness::Harness;
use crate::harness::asks::{ask_until, find_coordinator, node_with_topic};

/// The group.
pub const GROUP: &str = "readers";

/// A node with a topic, `orders`, and the coordinator of the group.
pub fn node_with_group() -> Harness {
    let h = node_with_topic("orders", 1);
    find_coordinator(&h, 0, GROUP);
    h
}

/// The same; the group has no member, but an offset of `orders`.
pub fn node_with_offset() -> Harness {
    let h = node_with_group();
    let partition = OffsetCommitRequestPartition { committed_offset: 5, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "orders".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let group_id = GROUP.to_owned();
    let request = OffsetCommitRequest { group_id, topics: vec![topic], ..Default::default() };
    assert_eq!(h.ask(&request, 8).topics[0].partitions[0].error_code, 0);
    h
}

/// Takes the fault from the coordinator's disk, and waits until it is loaded again if that has cost
/// it its log.
pub fn mend_coordinator(h: &Harness) {
    h.set_fault("__consumer_offsets-0", None);
    ask_until(|| (fetch_offsets(h).error_code == 0).then_some(()));
}

/// The group's offsets, by OffsetFetch in version 8.
pub fn fetch_offsets(h: &Harness) -> OffsetFetchResponseGroup {
    let group_id = GROUP.to_owned();
    let group = OffsetFetchRequestGroup { group_id, topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    h.ask(&request, 8).groups.swap_remove(0)
}

/// JoinGroup, in version 9.
pub fn join_group(h: &Harness, member_id: &str, timeout_ms: i32) -> JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol {
        name: "range".to_owned(),
        metadata: Bytes::from_static(b"m"),
        ..Default::default()
    };
    let request = JoinGroupRequest {
        group_id: GROUP.to_owned(),
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
pub fn joined_member(h: &Harness) -> JoinGroupResponse {
    let first = join_group(h, "", 10_000);
    assert_eq!(first.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
    let joined = join_group(h, &first.member_id, 10_000);
    assert_eq!((joined.error_code, &joined.leader), (0, &first.member_id));
    joined
}

/// SyncGroup of a member that leads, in version 5: the error code, and its assignment.
pub fn sync_group(h: &Harness, member: &JoinGroupResponse) -> (i16, Bytes) {
    let assignment = SyncGroupRequestAssignment {
        member_id: member.member_id.clone(),
        assignment: Bytes::from_static(b"all"),
        ..Default::default()
    };
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
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

/// Heartbeat, in version 4: the error code.
pub fn send_heartbeat(h: &Harness, member_id: &str, generation_id: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id,
        member_id: member_id.to_owned(),
        ..Default::default()
    };
    h.ask(&request, 4).error_code
}
