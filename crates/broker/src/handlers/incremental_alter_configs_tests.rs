use crate::harness::Harness;
use crate::harness::asks::node_with_topic;
use ottla_partitions::Fault;
use ottla_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_types::ErrorCode;

const TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;

fn alter(h: &Harness, topic: &str, operation: i8, value: Option<&str>) -> i16 {
    let config = AlterableConfig {
        name: "retention.ms".to_owned(),
        config_operation: operation,
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    h.ask(&request, 1).responses[0].error_code
}

/// The value of the topic's `retention.ms`, and whether it is the topic's own.
fn described(h: &Harness) -> (String, bool) {
    const OWN: i8 = 1;
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: "orders".to_owned(),
        configuration_keys: Some(vec!["retention.ms".to_owned()]),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = h.ask(&request, 4);
    let found = &response.results[0].configs[0];
    (found.value.clone().unwrap_or_default(), found.config_source == OWN)
}

#[test]
fn incremental_alter_configs_sets_a_value_and_takes_it_back() {
    let h = node_with_topic("orders", 1);
    let default = described(&h);
    assert!(!default.1);
    assert_eq!(alter(&h, "orders", SET, Some("60000")), 0);
    assert_eq!(described(&h), ("60000".to_owned(), true));
    assert_eq!(alter(&h, "orders", DELETE, None), 0);
    assert_eq!(described(&h), default);
}

#[test]
fn incremental_alter_configs_refuses_what_is_no_value_and_what_is_no_topic() {
    let h = node_with_topic("orders", 1);
    assert_eq!(alter(&h, "orders", SET, Some("soon")), ErrorCode::INVALID_CONFIG.0);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(alter(&h, "bills", SET, Some("1")), unknown);
    assert!(!described(&h).1);
}

#[test]
fn incremental_alter_configs_that_cannot_be_written_change_nothing() {
    let h = node_with_topic("orders", 1);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    assert_ne!(alter(&h, "orders", SET, Some("60000")), 0);
    assert!(!described(&h).1);
}
