//! Replicas that are throttled (KIP-73), as their leader treats them.

use ottla_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_records::BatchOptions;

use crate::harness::Harness;
use crate::harness::asks::{batch_of, produce_request};
use crate::harness::brokers::{heartbeat_request, send_heartbeat};
use crate::harness::replicas::{PlayedFollower, node_with_follower};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn set_config(h: &Harness, resource_type: i8, resource: &str, name: &str, value: &str) {
    let (name, value) = (name.to_owned(), Some(value.to_owned()));
    let config = AlterableConfig { name, config_operation: 0, value, ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type,
        resource_name: resource.to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = h.ask(&request, 1);
    let answer = &response.responses[0];
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
}

/// Three records of `orders-0` that a follower lacks. What it copies is not forgotten in a test's
/// time.
fn node_with_late_follower() -> (Harness, PlayedFollower) {
    let (h, follower) = node_with_follower(&["replication.quota.window.size.seconds=36000"], "b");
    let batch = batch_of(BatchOptions::default(), &["a", "b", "c"]);
    let request = ProduceRequest { acks: 1, ..produce_request("orders", 0, batch) };
    assert_eq!(h.ask(&request, 9).responses[0].partition_responses[0].error_code, 0);
    (h, follower)
}

/// How many bytes of records the follower gets from the beginning on, and the high watermark.
fn copied(h: &Harness, follower: PlayedFollower) -> (usize, i64) {
    let data = follower.fetch(h, 0, 0);
    assert_eq!(data.error_code, 0);
    (data.records.map_or(0, |it| it.len()), data.high_watermark)
}

/// The follower is fenced for a moment, and no longer in sync by that.
fn leave_in_sync_set(h: &Harness, follower: PlayedFollower) {
    let heartbeat = heartbeat_request(h, follower.id, follower.epoch);
    let leave = BrokerHeartbeatRequest { want_fence: true, ..heartbeat };
    assert!(h.ask(&leave, 1).is_fenced);
    assert!(!send_heartbeat(h, follower.id, follower.epoch).is_fenced);
}

#[test]
fn a_throttled_replica_that_is_not_in_sync_waits_when_the_quota_is_exceeded() {
    let (h, follower) = node_with_late_follower();
    let own = h.node().id;
    set_config(&h, BROKER, &own.to_string(), "leader.replication.throttled.rate", "0");
    set_config(&h, TOPIC, "orders", "leader.replication.throttled.replicas", &format!("0:{own}"));
    assert!(copied(&h, follower).0 > 0, "nothing has counted before");
    assert!(copied(&h, follower).0 > 0, "it is in sync");
    leave_in_sync_set(&h, follower);
    assert_eq!(copied(&h, follower), (0, 3), "it learns how far it is behind, and no more");
    set_config(&h, BROKER, &own.to_string(), "leader.replication.throttled.rate", "1048576");
    assert!(copied(&h, follower).0 > 0, "the quota allows it");
}

#[test]
fn replicas_of_other_partitions_and_brokers_are_not_throttled() {
    let (h, follower) = node_with_late_follower();
    let own = h.node().id;
    set_config(&h, BROKER, "", "leader.replication.throttled.rate", "0");
    leave_in_sync_set(&h, follower);
    // What is throttled, and whether the follower gets records then.
    let cases = [
        ("*".to_owned(), false),
        (format!("1:{own}"), true),
        (format!("0:{}", own + 1), true),
        (format!("1:{own},0:{own}"), false),
    ];
    set_config(&h, TOPIC, "orders", "leader.replication.throttled.replicas", "*");
    assert!(copied(&h, follower).0 > 0, "nothing has counted before");
    for (throttled, gets_records) in cases {
        set_config(&h, TOPIC, "orders", "leader.replication.throttled.replicas", &throttled);
        assert_eq!(copied(&h, follower).0 > 0, gets_records, "throttled: {throttled}");
    }
}
