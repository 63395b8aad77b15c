use crate::harness::members::{heartbeat, joined, node_with_group, sync};
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn heartbeat_of_a_member_is_answered_also_while_the_disk_is_full() {
    let h = node_with_group();
    let member = joined(&h);
    sync(&h, &member);
    assert_eq!(heartbeat(&h, &member.member_id, 1), 0);
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
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
