use crate::harness::members::{join_group, joined_member, node_with_group, send_heartbeat};
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn join_group_makes_the_only_member_the_leader() {
    let h = node_with_group();
    let member = joined_member(&h);
    assert_eq!((member.generation_id, member.members.len()), (1, 1));
}

#[test]
fn join_group_with_a_session_timeout_beyond_the_bounds_is_refused() {
    let h = node_with_group();
    assert_eq!(join_group(&h, "", 1).error_code, ErrorCode::INVALID_SESSION_TIMEOUT.0);
}

#[test]
fn join_group_of_a_member_that_the_group_does_not_have_is_refused() {
    let h = node_with_group();
    assert_eq!(join_group(&h, "stranger", 10_000).error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
}

#[test]
fn join_group_writes_nothing_so_that_a_full_disk_keeps_no_member_out() {
    let h = node_with_group();
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    let member = joined_member(&h);
    assert_eq!(send_heartbeat(&h, &member.member_id, 1), 0);
}
