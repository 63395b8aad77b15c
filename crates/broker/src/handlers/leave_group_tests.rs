use crate::harness::Harness;
use crate::harness::members::{
    GROUP, joined_member, mend_coordinator, node_with_group, send_heartbeat, sync_group,
};
use ottla_partitions::Fault;
use ottla_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_types::ErrorCode;

/// The error code of the request, and that of the member.
fn leave(h: &Harness, member_id: &str) -> (i16, Option<i16>) {
    let member = MemberIdentity { member_id: member_id.to_owned(), ..Default::default() };
    let request = LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        members: vec![member],
        ..Default::default()
    };
    let response = h.ask(&request, 5);
    (response.error_code, response.members.first().map(|member| member.error_code))
}

#[test]
fn leave_group_ends_a_member() {
    let h = node_with_group();
    let member = joined_member(&h);
    sync_group(&h, &member);
    assert_eq!(leave(&h, &member.member_id), (0, Some(0)));
    assert_eq!(send_heartbeat(&h, &member.member_id, 1), ErrorCode::UNKNOWN_MEMBER_ID.0);
}

#[test]
fn leave_group_of_a_member_that_the_group_does_not_have_is_refused() {
    let h = node_with_group();
    let member = joined_member(&h);
    assert_eq!(leave(&h, "stranger"), (0, Some(ErrorCode::UNKNOWN_MEMBER_ID.0)));
    assert_eq!(sync_group(&h, &member).0, 0);
}

#[test]
fn leave_group_that_cannot_be_written_keeps_the_member() {
    let h = node_with_group();
    let member = joined_member(&h);
    sync_group(&h, &member);
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_ne!(leave(&h, &member.member_id), (0, Some(0)));
    mend_coordinator(&h);
    assert_eq!(send_heartbeat(&h, &member.member_id, 1), 0);
    assert_eq!(leave(&h, &member.member_id), (0, Some(0)));
}
