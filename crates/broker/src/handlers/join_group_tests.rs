use crate::harness::members::{heartbeat, join, joined, node_with_group};
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn join_group_makes_the_only_member_the_leader() {
    let h = node_with_group();
    let member = joined(&h);
    assert_eq!((member.generation_id, member.members.len()), (1, 1));
}

#[test]
fn join_group_with_a_session_timeout_beyond_the_bounds_is_refused() {
    let h = node_with_group();
    assert_eq!(join(&h, "", 1).error_code, ErrorCode::INVALID_SESSION_TIMEOUT.0);
}

#[test]
fn join_group_of_a_member_that_the_group_does_not_have_is_refused() {
    let h = node_with_group();
    assert_eq!(join(&h, "stranger", 10_000).error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
}

#[test]
fn join_group_writes_nothing_so_that_a_full_disk_keeps_no_member_out() {
    let h = node_with_group();
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    let member = joined(&h);
    assert_eq!(heartbeat(&h, &member.member_id, 1), 0);
}
