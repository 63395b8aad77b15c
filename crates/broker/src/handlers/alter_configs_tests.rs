use crate::harness::Harness;
use crate::harness::asks::node_with_topic;
use ottla_metadata::ResourceKind;
use ottla_partitions::Fault;
use ottla_protocol::messages::alter_configs_request::{
    AlterConfigsRequest, AlterConfigsResource, AlterableConfig,
};
use ottla_types::ErrorCode;

fn alter(h: &Harness, topic: &str, settings: &[(&str, &str)]) -> i16 {
    let config = |(name, value): &(&str, &str)| AlterableConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: ResourceKind::Topic as i8,
        resource_name: topic.to_owned(),
        configs: settings.iter().map(config).collect(),
        ..Default::default()
    };
    let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    h.ask(&request, 2).responses[0].error_code
}

/// The topic's own settings.
fn settings(h: &Harness) -> Vec<(String, String)> {
    let cluster = h.node().cluster();
    let all = cluster.config(ResourceKind::Topic, "orders").iter();
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[test]
fn alter_configs_replaces_all_settings_of_a_topic() {
    let h = node_with_topic("orders", 1);
    assert_eq!(alter(&h, "orders", &[("retention.ms", "1"), ("segment.ms", "2")]), 0);
    assert_eq!(settings(&h).len(), 2);
    assert_eq!(alter(&h, "orders", &[("segment.ms", "3")]), 0);
    assert_eq!(settings(&h), [("segment.ms".to_owned(), "3".to_owned())]);
}

#[test]
fn alter_configs_refuses_what_is_no_value_and_what_is_no_topic() {
    let h = node_with_topic("orders", 1);
    let invalid = ErrorCode::INVALID_CONFIG.0;
    assert_eq!(alter(&h, "orders", &[("retention.ms", "soon")]), invalid);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(alter(&h, "bills", &[("retention.ms", "1")]), unknown);
    assert_eq!(settings(&h), []);
}

#[test]
fn alter_configs_that_cannot_be_written_change_nothing() {
    let h = node_with_topic("orders", 1);
    assert_eq!(alter(&h, "orders", &[("retention.ms", "1")]), 0);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    assert_ne!(alter(&h, "orders", &[]), 0);
    assert_eq!(settings(&h).len(), 1);
}
