use crate::harness::members::{joined_member, node_with_group, sync_group};
use bytes::Bytes;
use ottla_partitions::Fault;
use ottla_types::ErrorCode;

#[test]
fn sync_group_gives_the_only_member_its_assignment() {
    let h = node_with_group();
    let member = joined_member(&h);
    assert_eq!(sync_group(&h, &member), (0, Bytes::from_static(b"all")));
    assert_eq!(sync_group(&h, &member), (0, Bytes::from_static(b"all")), "and again");
}

#[test]
fn sync_group_of_another_generation_or_member_is_refused() {
    let h = node_with_group();
    let mut member = joined_member(&h);
    member.generation_id = 7;
    assert_eq!(sync_group(&h, &member).0, ErrorCode::ILLEGAL_GENERATION.0);
    member.member_id = "stranger".to_owned();
    assert_eq!(sync_group(&h, &member).0, ErrorCode::UNKNOWN_MEMBER_ID.0);
}

#[test]
fn sync_group_that_cannot_be_written_is_refused_and_can_be_repeated() {
    let h = node_with_group();
    let member = joined_member(&h);
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_ne!(sync_group(&h, &member).0, 0);
    h.set_fault("__consumer_offsets-0", None);
    assert_eq!(sync_group(&h, &member), (0, Bytes::from_static(b"all")));
}
