use crate::harness::members::{joined_member, node_with_group, send_heartbeat, sync_group};
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn heartbeat_of_a_member_is_answered_also_while_the_disk_is_full() {
    let h = node_with_group();
    let member = joined_member(&h);
    sync_group(&h, &member);
    assert_eq!(send_heartbeat(&h, &member.member_id, 1), 0);
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_eq!(send_heartbeat(&h, &member.member_id, 1), 0);
}

#[test]
fn heartbeat_of_another_member_or_generation_is_refused() {
    let h = node_with_group();
    let member = joined_member(&h);
    sync_group(&h, &member);
    assert_eq!(send_heartbeat(&h, "stranger", 1), ErrorCode::UNKNOWN_MEMBER_ID.0);
    assert_eq!(send_heartbeat(&h, &member.member_id, 7), ErrorCode::ILLEGAL_GENERATION.0);
}
