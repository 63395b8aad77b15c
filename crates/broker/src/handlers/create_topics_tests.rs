use crate::harness::Harness;
use crate::harness::asks::{batch_of, node_with_topic, produce};
use ottla_partitions::Fault;
use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::create_topics_response::CreatableTopicResult;
use ottla_records::BatchOptions;
use ottla_types::ErrorCode;

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    }
}

fn create(h: &Harness, topic: CreatableTopic, validate_only: bool) -> CreatableTopicResult {
    let request = CreateTopicsRequest { topics: vec![topic], validate_only, ..Default::default() };
    h.ask(&request, 7).topics[0].clone()
}

#[test]
fn create_topics_answers_when_the_partitions_can_be_produced_to() {
    let h = Harness::start(&[]);
    for name in ["a", "b", "c"] {
        let created = create(&h, topic(name, 2, 1), false);
        assert_eq!((created.error_code, created.num_partitions), (0, 2));
        let produced = produce(&h, name, 1, batch_of(BatchOptions::default(), &["v"]));
        assert_eq!(produced.error_code, 0, "{name}");
    }
}

#[test]
fn create_topics_that_only_validates_creates_nothing() {
    let h = Harness::start(&[]);
    assert_eq!(create(&h, topic("a", 1, 1), true).error_code, 0);
    assert_eq!(h.node().topic_id("a"), None);
}

#[test]
fn create_topics_says_what_is_wrong_with_each_topic() {
    let h = node_with_topic("orders", 1);
    let config = CreatableTopicConfig {
        name: "retention.ms".to_owned(),
        value: Some("soon".to_owned()),
        ..Default::default()
    };
    let configured = CreatableTopic { configs: vec![config], ..topic("a", 1, 1) };
    let cases = [
        (topic("orders", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS),
        (topic("a/b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION),
        (topic("a", 0, 1), ErrorCode::INVALID_PARTITIONS),
        (topic("a", 1, 2), ErrorCode::INVALID_REPLICATION_FACTOR),
        (configured, ErrorCode::INVALID_CONFIG),
    ];
    for (topic, code) in cases {
        let name = topic.name.clone();
        assert_eq!(create(&h, topic, false).error_code, code.0, "{name}");
    }
}

#[test]
fn create_topics_on_a_full_disk_is_refused_and_goes_on_when_there_is_room() {
    let h = Harness::start(&[]);
    h.set_fault("__cluster_metadata-0", Some(Fault::Full));
    let refused = create(&h, topic("a", 1, 1), false);
    assert_eq!(refused.error_code, ErrorCode::KAFKA_STORAGE_ERROR.0);
    h.set_fault("__cluster_metadata-0", None);
    assert_eq!(create(&h, topic("a", 1, 1), false).error_code, 0);
}
