use crate::harness::Harness;
use crate::harness::members::{
    GROUP, joined_member, mend_coordinator, node_with_group, node_with_offset, sync_group,
};
use ottla_partitions::Fault;
use ottla_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::messages::list_groups_request::ListGroupsRequest;
use ottla_types::ErrorCode;

fn delete(h: &Harness, group: &str) -> i16 {
    let request =
        DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() };
    h.ask(&request, 2).results[0].error_code
}

fn is_listed(h: &Harness) -> bool {
    let response = h.ask(&ListGroupsRequest::default(), 4);
    response.groups.iter().any(|group| group.group_id == GROUP)
}

#[test]
fn delete_groups_forgets_a_group_without_members() {
    let h = node_with_offset();
    assert!(is_listed(&h));
    assert_eq!(delete(&h, GROUP), 0);
    assert!(!is_listed(&h));
}

#[test]
fn delete_groups_of_a_group_with_members_or_of_none_is_refused() {
    let h = node_with_group();
    assert_eq!(delete(&h, GROUP), ErrorCode::GROUP_ID_NOT_FOUND.0);
    sync_group(&h, &joined_member(&h));
    assert_eq!(delete(&h, GROUP), ErrorCode::NON_EMPTY_GROUP.0);
}

#[test]
fn delete_groups_that_cannot_be_written_keeps_the_group() {
    let h = node_with_offset();
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_ne!(delete(&h, GROUP), 0);
    mend_coordinator(&h);
    assert!(is_listed(&h));
    assert_eq!(delete(&h, GROUP), 0);
}
