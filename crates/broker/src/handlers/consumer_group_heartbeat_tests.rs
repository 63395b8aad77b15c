use crate::harness::Harness;
use crate::harness::members::{GROUP, mend_coordinator, node_with_group};
use ottla_partitions::Fault;
use ottla_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
use ottla_types::ErrorCode;

fn heartbeat(h: &Harness, member_epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let request = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: "member".to_owned(),
        member_epoch,
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["orders".to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    h.ask(&request, 1)
}

#[test]
fn consumer_group_heartbeat_gives_the_only_member_all_partitions() {
    let h = node_with_group();
    let joined = heartbeat(&h, 0);
    assert_eq!(joined.error_code, 0);
    assert!(joined.member_epoch > 0, "epoch {}", joined.member_epoch);
    let assignment = joined.assignment.expect("the answer has an assignment");
    assert_eq!(assignment.topic_partitions[0].partitions, [0]);
}

#[test]
fn consumer_group_heartbeat_of_another_epoch_is_refused() {
    let h = node_with_group();
    assert_eq!(heartbeat(&h, 0).error_code, 0);
    assert_eq!(heartbeat(&h, 9).error_code, ErrorCode::FENCED_MEMBER_EPOCH.0);
}

#[test]
fn consumer_group_heartbeat_that_cannot_be_written_lets_no_member_in() {
    let h = node_with_group();
    h.set_fault("__consumer_offsets-0", Some(Fault::Full));
    assert_ne!(heartbeat(&h, 0).error_code, 0);
    mend_coordinator(&h);
    assert_ne!(heartbeat(&h, 1).error_code, 0, "it has not joined");
    assert_eq!(heartbeat(&h, 0).error_code, 0);
}
